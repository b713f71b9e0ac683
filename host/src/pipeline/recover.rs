//! Finds out what became of writes whose outcome was never learnt, before anything new is written to their links.
//!
//! Window of danger: between the remote's effect and our settlement. An intent covers it from both sides, because it was
//! durable before the call. Here the remote is asked, not guessed.

use std::collections::HashSet;

use pairwise_plugin_api::ops::{FindRequest, Scope};
use pairwise_plugin_api::{Action, Class, CreateKey, Found, Outcome, Reason, Record, RecordRef, Status, Value, Write};

use super::absence::gone_for_certain;
use super::apply;
use super::calls::is_gone;
use super::commit::Part;
use super::existing::{Stands, Whose, bears_our_key};
use super::keys::match_keys;
use super::pull::{announce, gone};
use super::translate::{FieldMap, Row};
use super::{Lane, Stop};
use crate::model::value::same;
use crate::model::{Aside, Guard, Intent, LinkChange, LinkId, Matching, Settlement, Side, Sides, Stage};

pub(super) fn recover(lane: &mut Lane<'_>) -> Result<(), Stop> {
    lane.unsure = Sides::default();
    let mut any = false;
    for side in Side::BOTH {
        let mut after = 0;
        loop {
            let mut batch = lane.store.open_intents(&lane.lease, side, after, lane.batch())?;
            let Some(last) = batch.last() else { break };
            after = last.id;
            if !any {
                any = true;
                lane.observer.stage(Stage::Recover);
                lane.blocked.clear();
            }
            if !lane.guards(Guard::Asking) {
                forget(lane, &batch)?;
                continue;
            }
            lane.breathe()?;
            for intent in &mut batch {
                let sent = Record { fields: intent.write.fields.clone(), ..Record::default() };
                let left_map = std::mem::take(&mut intent.asked).into_iter();
                intent.asked = lane.map.translate_in(side, &sent).unwrap_or_default();
                intent.asked.extend(left_map.filter(|(path, _)| lane.map.row(path).is_none()).collect());
            }
            let (creates, others): (Vec<&Intent>, Vec<&Intent>) =
                batch.iter().partition(|intent| intent.write.action == Action::Create);
            let answers = created(lane, side, &creates)?;
            // Of a create that was told of it is known which record it may be.
            lane.unsure[side] |= answers.iter().any(|(_, made)| made.is_none());
            settle(lane, answers.into_iter(), Lane::adopt_created)?;
            let at: Vec<RecordRef> = others.iter().map(|intent| intent.write.at.clone()).collect();
            let answers = lane.get(side, &at)?;
            let gone = others.iter().zip(&answers).filter(|(_, found)| is_gone(found));
            let gone: Vec<LinkId> = gone.map(|(intent, _)| intent.link.id).collect();
            let gone = gone_for_certain(lane, side, &gone)?;
            let certain = |intent: &Intent, found: &Found| !is_gone(found) || gone.contains(&intent.link.id);
            let told: Vec<Option<Found>> =
                others.iter().zip(answers).map(|(intent, found)| certain(intent, &found).then_some(found)).collect();
            settle(lane, others.into_iter().zip(told), looked_at)?;
        }
    }
    Ok(())
}

/// Takes it that nothing became of any of them: what happens without asking.
fn forget(lane: &mut Lane<'_>, open: &[Intent]) -> Result<(), Stop> {
    let forgotten = |intent: &Intent| {
        let made = intent.write.action == Action::Create && intent.link.ends[intent.side].is_none();
        let link = if made { LinkChange::Retire(intent.link.id) } else { LinkChange::Keep };
        Settlement { closed: vec![intent.id], link, ..Settlement::default() }
    };
    lane.settle_all(&mut open.iter().map(forgotten).collect())
}

/// Settles what the remote has told of a batch of intents, in few transactions; where it does not tell now (`None`), nothing
/// is written to the link.
fn settle<'i, 'l, A>(
    lane: &mut Lane<'l>,
    told: impl Iterator<Item = (&'i Intent, Option<A>)>,
    mean: impl Fn(&mut Lane<'l>, &Intent, A, &mut Vec<Settlement>) -> Result<Option<Settlement>, Stop>,
) -> Result<(), Stop> {
    let mut settlements = Vec::new();
    for (intent, answer) in told {
        let meant = answer.map(|answer| mean(lane, intent, answer, &mut settlements)).transpose()?.flatten();
        let Some(mut settlement) = meant else {
            lane.blocked.insert(intent.link.id);
            continue;
        };
        settlement.closed.push(intent.id);
        if lane.open.remove(&intent.id) {
            let counts = lane.report.side(intent.side);
            counts.failed = counts.failed.saturating_sub(1);
        }
        settlements.push(settlement);
    }
    lane.settle_all(&mut settlements)
}

/// What became of a create.
enum Made {
    /// The remote's answer, and whose a record is that was there already.
    Answered(Box<Outcome>, Whose),
    /// One of these may be it, and nobody can tell.
    Doubtful(Vec<Record>),
}

/// What a search for a record that may have been made has found.
enum Search {
    /// The remote does not answer.
    Unanswered,
    /// There is none.
    Nobody,
    One(Box<Record>),
    /// Some that it may be.
    Several(Vec<Record>),
}

/// Were they created? Where the remote takes keys, sending the same create again answers that by itself. `None`: it does not
/// tell now. They come in the order in which they are to be settled: a record that one create was found to have made is not
/// what another one has met that was sent again.
fn created<'i>(
    lane: &mut Lane<'_>,
    side: Side,
    intents: &[&'i Intent],
) -> Result<Vec<(&'i Intent, Option<Made>)>, Stop> {
    let create_key = lane.abilities[side].create_key;
    let (takes_keys, knows_keys) = (create_key == CreateKey::Takes, create_key != CreateKey::None);
    let found = match create_key {
        CreateKey::Takes => intents.iter().map(|_| Search::Nobody).collect(),
        CreateKey::Searchable => by_key(lane, side, intents)?,
        CreateKey::None => intents.iter().map(|intent| by_nature(lane, intent)).collect::<Result<_, _>>()?,
    };
    let by_key = create_key == CreateKey::Searchable;
    let mut made: Vec<Option<Made>> = intents.iter().map(|_| None).collect();
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    let mut sort = |place: usize, found: Search, missing: &mut Vec<usize>| match found {
        Search::Nobody => missing.push(place),
        Search::One(record) => there.push((place, *record)),
        Search::Several(records) => made[place] = Some(Made::Doubtful(records)),
        Search::Unanswered => {}
    };
    found.into_iter().enumerate().for_each(|(place, found)| sort(place, found, &mut missing));
    let writes = missing.iter().map(|place| intents[*place].write.clone()).collect();
    let mut repeated = Vec::new();
    for (place, outcome) in missing.into_iter().zip(again(lane, side, writes)?) {
        match outcome {
            // That it was not done this time does not say that it was not done the first time.
            None => {}
            Some(Outcome { status: Status::NotSent | Status::Throttled | Status::Auth | Status::Unknown, .. }) => {}
            Some(outcome) if takes_keys && outcome.status == Status::Refused => {
                let mut nowhere = Vec::new();
                sort(place, by_nature(lane, intents[place])?, &mut nowhere);
                repeated.extend(nowhere.into_iter().map(|place| (place, outcome.clone())));
            }
            Some(outcome) => repeated.push((place, outcome)),
        }
    }
    lane.tied = repeated.iter().filter_map(|(place, outcome)| apply::made(intents[*place], outcome)).collect();
    for (place, outcome) in repeated {
        let intent = intents[place];
        // By its key ours would have been told, or found before; where there is none, the first time may have made it.
        let whose = Whose::of(bears_our_key(&intent.write, &outcome), intent.again && knows_keys);
        made[place] = Some(Made::Answered(Box::new(outcome), whose));
    }
    let found_at: HashSet<usize> = there.iter().map(|(place, _)| *place).collect();
    let joined = joined(lane, side, &there)?;
    for ((place, record), joined) in there.into_iter().zip(joined) {
        let found = Outcome { record: Some(record), ..Outcome::of(Status::Exists) };
        let ours = by_key || lane.holds_most_of_what_we_asked(intents[place], found.record.as_ref());
        // What was searched for, and edited beyond that, may be ours all the same.
        made[place] = joined.then_some(Made::Answered(Box::new(found), Whose::of(ours, false)));
    }
    let all = intents.iter().copied().zip(made).enumerate();
    let (found, others): (Vec<_>, Vec<_>) = all.partition(|(place, _)| found_at.contains(place));
    Ok(found.into_iter().chain(others).map(|(_, told)| told).collect())
}

/// Sends writes, as many at once as the side takes. `None`: nobody knows what became of it.
fn again(lane: &Lane<'_>, side: Side, writes: Vec<Write>) -> Result<Vec<Option<Outcome>>, Stop> {
    let mut outcomes = Vec::with_capacity(writes.len());
    for chunk in writes.chunks(lane.largest_call(side)) {
        match lane.write(side, chunk.to_vec()) {
            Ok(answers) => outcomes.extend(answers.into_iter().map(Some)),
            Err((Status::Unknown, stop)) if !stop.ends_run() => outcomes.extend(chunk.iter().map(|_| None)),
            Err((_, stop)) => return Err(stop),
        }
    }
    Ok(outcomes)
}

fn by_key(lane: &mut Lane<'_>, side: Side, intents: &[&Intent]) -> Result<Vec<Search>, Stop> {
    let mut all = Vec::with_capacity(intents.len());
    // One request looks in one entity.
    for same in intents.chunk_by(|a, b| a.write.at.entity == b.write.at.entity) {
        let request = FindRequest {
            principal: lane.spec.principals[side].clone(),
            entity: same.first().map(|intent| intent.write.at.entity.clone()).unwrap_or_default(),
            values: same.iter().map(|intent| intent.write.key.clone()).collect(),
            case_sensitive: true,
            fields: lane.fields[side].clone(),
            ..FindRequest::default()
        };
        match lane.call(side, |remote| remote.find(&request)) {
            Ok(found) if found.len() == same.len() => {
                let first = |records: Vec<Record>| records.into_iter().next().map(Box::new);
                all.extend(found.into_iter().map(|records| first(records).map_or(Search::Nobody, Search::One)));
            }
            Ok(found) => {
                return Err(lane.contract(side, format!("`find` of {} keys answered {}", same.len(), found.len())));
            }
            Err(failure) if failure.class == Class::Transient => all.extend(same.iter().map(|_| Search::Unanswered)),
            Err(failure) => return Err(lane.stop(side, failure)),
        }
    }
    Ok(all)
}

/// Where belonging to the scope is a relation, a record may have been made and its joining lost. False if that is not known
/// now, either.
fn joined(lane: &Lane<'_>, side: Side, found: &[(usize, Record)]) -> Result<Vec<bool>, Stop> {
    if !lane.abilities[side].membership || lane.spec.scope[side].is_empty() {
        return Ok(vec![true; found.len()]);
    }
    let include = |(_, record): &(usize, Record)| Write {
        action: Action::Include,
        at: record.at.clone(),
        key: lane.chance.id(),
        ..Write::default()
    };
    let outcomes = again(lane, side, found.iter().map(include).collect())?;
    Ok(outcomes.into_iter().map(|outcome| outcome.is_some_and(|outcome| outcome.status == Status::Applied)).collect())
}

/// A remote without keys is asked for a record without a link that holds just what we asked for. Where somebody has edited it
/// since, it is the one that a match would tie; where nothing would tie them, a person must say.
fn by_nature(lane: &mut Lane<'_>, intent: &Intent) -> Result<Search, Stop> {
    let side = intent.side;
    let Some((row, value)) = natural(&lane.map, intent) else { return Ok(Search::Nobody) };
    // A record that has not joined its scope yet is found outside of it.
    let scope = if lane.abilities[side].membership { Scope::default() } else { lane.spec.scope[side].clone() };
    let request = FindRequest {
        principal: lane.spec.principals[side].clone(),
        scope,
        entity: intent.write.at.entity.clone(),
        by: row.native[side].clone(),
        values: vec![value.to_owned()],
        case_sensitive: false,
        fields: lane.fields[side].clone(),
    };
    let found = match lane.call(side, |remote| remote.find(&request)) {
        Ok(found) => found.into_iter().flatten().collect::<Vec<_>>(),
        Err(failure) if matches!(failure.class, Class::Transient | Class::Unimplemented) => {
            return Ok(Search::Unanswered);
        }
        Err(failure) => return Err(lane.stop(side, failure)),
    };
    let at: Vec<RecordRef> = found.iter().map(|record| record.at.clone()).collect();
    let known = lane.store.known(&lane.lease, side, &at)?;
    let loose = found.into_iter().zip(known).filter(|(_, known)| known.link.is_none()).map(|(record, _)| record);
    let (mut just_it, others): (Vec<Record>, Vec<Record>) =
        loose.partition(|record| lane.holds_what_we_asked(intent, record));
    let (mut matching, others): (Vec<Record>, Vec<Record>) =
        others.into_iter().partition(|record| lane.would_match(intent, record));
    Ok(match (just_it.len(), matching.len(), others.len()) {
        (0, 0, 0) => Search::Nobody,
        (1, ..) => Search::One(Box::new(just_it.remove(0))),
        (0, 1, _) => Search::One(Box::new(matching.remove(0))),
        _ => Search::Several([just_it, matching, others].concat()),
    })
}

/// What a record is looked up by where nothing better is there.
fn natural<'a>(map: &'a FieldMap, intent: &'a Intent) -> Option<(&'a Row, &'a str)> {
    NATURAL.iter().find_map(|path| map.row(path).zip(intent.asked.text(path)))
}

/// Fields by which a record is looked up, the best first.
const NATURAL: &[&str] = &["emails/1/address", "name/full", "name/surname", "title"];

/// What a fresh look at an updated or removed record means.
fn looked_at(
    lane: &mut Lane<'_>,
    intent: &Intent,
    found: Found,
    _before: &mut Vec<Settlement>,
) -> Result<Option<Settlement>, Stop> {
    let is_update = intent.write.action == Action::Update;
    Ok(match (is_gone(&found), found.record) {
        (true, _) if is_update => {
            let announce = vec![gone(intent.side, intent.write.at.clone(), Reason::Deleted)];
            Some(Settlement { announce, ..Settlement::default() })
        }
        (true, _) => {
            lane.report.side(intent.side).deleted += 1;
            // What it had told of itself is over, too: without its link it would pass for a new record.
            let announce = vec![gone(intent.side, intent.write.at.clone(), Reason::Deleted)];
            Some(Settlement { link: LinkChange::Retire(intent.link.id), announce, ..Settlement::default() })
        }
        (false, Some(record)) if is_update => Some(updated(lane, intent, record)),
        // A record that is still there was not removed; the removal is decided again from its announcement.
        (false, Some(_)) => Some(Settlement::default()),
        (false, None) => None,
    })
}

/// Rows that hold what we asked for are settled; the record is announced, and everything else is decided afresh. If one of
/// them held something else before, all of the write was done, and whatever differs from it was edited since; unless this side
/// writes records in parts.
fn updated(lane: &mut Lane<'_>, intent: &Intent, record: Record) -> Settlement {
    let side = intent.side;
    let mut link = intent.link.clone();
    let values = lane.map.translate_in(side, &record).unwrap_or_default();
    let before = |path: &str| {
        let told = intent.before.as_ref().and_then(|(_, values)| values.get(path));
        told.or_else(|| intent.link.shadows[side].get(path))
    };
    // What has left the map since is not read.
    let held = |path: &str, asked: &Value| {
        let row = lane.map.row(path)?;
        values.get(path).filter(|now| same(row.compare, now, asked)).zip(Some(row))
    };
    let was_done = !lane.abilities[side].partial_updates
        && intent.asked.iter().any(|(path, asked)| {
            let before = before(path);
            held(path, asked).zip(before).is_some_and(|((_, row), before)| !same(row.compare, before, asked))
        });
    for (path, asked) in intent.asked.iter() {
        let now = held(path, asked).map(|(now, _)| now);
        if let Some(stands) = now.or(was_done.then_some(asked)) {
            link.shadows[side].set(path.clone(), stands.clone());
            link.shadows[side.other()].set(path.clone(), asked.clone());
        }
    }
    if lane.holds_what_we_asked(intent, &record) {
        lane.report.side(side).updated += 1;
    }
    let record = lane.unless_edited(intent, record);
    let announce = vec![announce(lane, side, record, false, false)];
    Settlement { link: LinkChange::Put(Box::new(link)), announce, ..Settlement::default() }
}

/// The record that a create was made of.
pub(super) fn source(intent: &Intent) -> Option<(Side, RecordRef)> {
    intent.source.as_ref().map(|(end, _)| (intent.side.other(), end.at.clone()))
}

impl Lane<'_> {
    /// Makes settlements durable.
    fn settle_all(&mut self, settlements: &mut Vec<Settlement>) -> Result<(), Stop> {
        if !settlements.is_empty() {
            self.store.settle(&self.lease, &self.options.run, settlements)?;
            settlements.clear();
            self.tie_pairs()?;
        }
        Ok(())
    }

    /// Whether a record that was found by what it holds, and that somebody has edited, is ours nevertheless: of the values by
    /// which it was not found most are those that we asked for.
    fn holds_most_of_what_we_asked(&self, intent: &Intent, record: Option<&Record>) -> bool {
        let found_by = natural(&self.map, intent).map_or("", |(row, _)| &row.key);
        let all = record.and_then(|record| self.standing(intent, record)).unwrap_or_default();
        let others = all.into_iter().filter(|(path, _)| ***path != *found_by);
        let (standing, edited): (Vec<_>, Vec<_>) = others.partition(|(_, stands)| *stands == Stands::AsAsked);
        !standing.is_empty() && standing.len() >= edited.len()
    }

    /// Whether a match would tie a record to the one that a create was made of.
    fn would_match(&self, intent: &Intent, record: &Record) -> bool {
        let Matching::Keys(policy) = &self.spec.matching else { return false };
        let Ok(values) = self.keys.translate_in(intent.side, record) else { return false };
        let asked = match_keys(policy, &intent.asked, intent.write.uid.as_deref());
        match_keys(policy, &values, record.uid.as_deref()).iter().any(|key| asked.contains(key))
    }

    /// Neither the record that was to be made nor those that may be it take part until a person has looked at them.
    fn set_doubtful_aside(&mut self, intent: &Intent, records: &[Record], settlement: &mut Settlement) {
        let side = intent.side;
        let ids: Vec<&str> = records.iter().take(4).map(|record| record.at.id.as_str()).collect();
        let ids = ids.join("`, `");
        let text = format!(
            "it may have been made on the {side} as `{ids}`, and was edited since: the answer to the write was lost. Delete \
             what is there twice, then `pairwise quarantine retry`"
        );
        let source = intent.source.iter().map(|(end, _)| (side.other(), &end.at, &end.version));
        let found = records.iter().map(|record| (side, &record.at, &record.version));
        for (side, at, version) in source.chain(found) {
            let aside = Aside::of(side, at.clone(), version.clone(), "maybe_made", text.clone());
            self.tell_aside(&aside);
            settlement.aside.push(aside);
        }
        settlement.link = LinkChange::Retire(intent.link.id);
    }

    /// What the repeated or found create means for its link. Announcements stay: they are compared with the new shadows.
    fn adopt_created(
        &mut self,
        intent: &Intent,
        made: Made,
        before: &mut Vec<Settlement>,
    ) -> Result<Option<Settlement>, Stop> {
        let mut settlement = Settlement::default();
        let (outcome, whose) = match made {
            Made::Answered(outcome, whose) => (*outcome, whose),
            Made::Doubtful(records) => {
                self.set_doubtful_aside(intent, &records, &mut settlement);
                return Ok(Some(settlement));
            }
        };
        let mut link = intent.link.clone();
        let mut intent = intent.clone();
        match outcome.status {
            Status::Applied => {
                self.settle_told(&mut intent, outcome, &mut link, &mut settlement);
                self.report.side(intent.side).created += 1;
            }
            Status::Exists => {
                // Whether the record is linked already must be known, also if it was linked a moment ago.
                self.settle_all(before)?;
                match self.settle_existing(&mut intent, (outcome, whose), &mut link, &mut settlement)? {
                    Part::Done => self.report.side(intent.side).created += 1,
                    Part::Open => return Ok(None),
                    Part::Again | Part::Refused => {}
                }
            }
            // Certainly not there: its announcement makes it anew. One that was to be made again may have none any more.
            _ => {
                settlement.link = LinkChange::Retire(link.id);
                settlement.revisit.extend(source(&intent));
                return Ok(Some(settlement));
            }
        }
        settlement.link = if link.ends[intent.side].is_some() {
            LinkChange::Put(Box::new(link))
        } else if intent.again {
            // That it had a counterpart is known by its link.
            LinkChange::Keep
        } else {
            LinkChange::Retire(link.id)
        };
        Ok(Some(settlement))
    }
}
