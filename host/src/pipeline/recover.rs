//! Finds out what became of writes whose outcome was never learnt, before anything new is written to their links.
//!
//! Window of danger: between the remote's effect and our settlement. An intent covers it from both sides, because it was
//! durable before the call. Here the remote is asked, not guessed.

use pairwise_plugin_api::ops::{FindRequest, Scope};
use pairwise_plugin_api::{Action, Class, CreateKey, Found, Outcome, Reason, Record, RecordRef, Status, Value, Write};

use super::absence::gone_for_certain;
use super::calls::is_gone;
use super::commit::Part;
use super::pull::{announce, gone};
use super::translate::Row;
use super::{Lane, Stop};
use crate::model::value::same;
use crate::model::{Guard, Intent, LinkChange, LinkId, Settlement, Side, Sides, Stage};

pub(super) fn recover(lane: &mut Lane<'_>) -> Result<(), Stop> {
    lane.unsure = Sides::default();
    let open = lane.store.open_intents(&lane.lease)?;
    if open.is_empty() {
        return Ok(());
    }
    lane.observer.stage(Stage::Recover);
    lane.blocked.clear();
    if !lane.guards(Guard::Asking) {
        return forget(lane, &open);
    }
    for side in Side::BOTH {
        let mut of_side: Vec<Intent> = open.iter().filter(|intent| intent.side == side).cloned().collect();
        for intent in &mut of_side {
            let sent = Record { fields: intent.write.fields.clone(), ..Record::default() };
            intent.asked = lane.map.translate_in(side, &sent).unwrap_or_default();
        }
        for batch in of_side.chunks(lane.batch()) {
            lane.breathe()?;
            let (creates, others): (Vec<&Intent>, Vec<&Intent>) =
                batch.iter().partition(|intent| intent.write.action == Action::Create);
            let answers = created(lane, side, &creates)?;
            settle(lane, creates.into_iter().zip(answers), Lane::adopt_created)?;
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
            lane.unsure[intent.side] |= intent.write.action == Action::Create;
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

/// What became of a create, and whether a record that was there already certainly bears our key.
type Made = (Outcome, bool);

/// Were they created? Where the remote takes keys, sending the same create again answers that by itself.
fn created(lane: &mut Lane<'_>, side: Side, intents: &[&Intent]) -> Result<Vec<Option<Made>>, Stop> {
    let found = match lane.abilities[side].create_key {
        CreateKey::Takes => intents.iter().map(|_| Some(None)).collect(),
        CreateKey::Searchable => by_key(lane, side, intents)?,
        CreateKey::None => intents.iter().map(|intent| by_nature(lane, intent)).collect::<Result<_, _>>()?,
    };
    let by_key = lane.abilities[side].create_key == CreateKey::Searchable;
    let mut outcomes: Vec<Option<Made>> = intents.iter().map(|_| None).collect();
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    for (place, found) in found.into_iter().enumerate() {
        match found {
            Some(None) => missing.push(place),
            Some(Some(record)) => there.push((place, record)),
            None => {}
        }
    }
    let joined = joined(lane, side, &there)?;
    for ((place, record), joined) in there.into_iter().zip(joined) {
        let found = Outcome { record: Some(record), ..Outcome::of(Status::Exists) };
        outcomes[place] = joined.then_some((found, by_key));
    }
    let writes = missing.iter().map(|place| intents[*place].write.clone()).collect();
    for (place, outcome) in missing.into_iter().zip(again(lane, side, writes)?) {
        // Without a UID it is only our key by which the remote can know it.
        outcomes[place] = outcome.map(|outcome| (outcome, intents[place].write.uid.is_none()));
    }
    Ok(outcomes)
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

/// `None`: the remote does not answer. `Some(None)`: there is none.
fn by_key(lane: &mut Lane<'_>, side: Side, intents: &[&Intent]) -> Result<Vec<Option<Option<Record>>>, Stop> {
    let mut all: Vec<Option<Option<Record>>> = Vec::with_capacity(intents.len());
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
                all.extend(found.into_iter().map(|records| Some(records.into_iter().next())));
            }
            Ok(found) => {
                return Err(lane.contract(side, format!("`find` of {} keys answered {}", same.len(), found.len())));
            }
            Err(failure) if failure.class == Class::Transient => all.extend(same.iter().map(|_| None)),
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

/// A remote without keys is asked for a record that holds just what we asked for and has no link.
fn by_nature(lane: &mut Lane<'_>, intent: &Intent) -> Result<Option<Option<Record>>, Stop> {
    let side = intent.side;
    let Some((path, value)) = NATURAL.iter().find_map(|path| intent.asked.text(path).map(|value| (*path, value)))
    else {
        return Ok(None);
    };
    let Some(row) = lane.map.row(path) else { return Ok(None) };
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
        Err(failure) if matches!(failure.class, Class::Transient | Class::Unimplemented) => return Ok(None),
        Err(failure) => return Err(lane.stop(side, failure)),
    };
    let at: Vec<RecordRef> = found.iter().map(|record| record.at.clone()).collect();
    let known = lane.store.known(&lane.lease, side, &at)?;
    let mut ours: Vec<Record> = found
        .into_iter()
        .zip(known)
        .filter(|(record, known)| known.link.is_none() && lane.holds_what_we_asked(intent, record))
        .map(|(record, _)| record)
        .collect();
    // Two that fit are one too many to guess.
    Ok(match ours.len() {
        0 => Some(None),
        1 => Some(ours.pop()),
        _ => None,
    })
}

/// Fields by which a record is looked up where nothing better is there.
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
    let rows: Vec<_> =
        intent.asked.iter().filter_map(|(path, asked)| Some((path, asked, lane.map.row(path)?))).collect();
    let holds =
        |path: &str, asked: &Value, row: &Row| values.get(path).is_some_and(|now| same(row.compare, now, asked));
    let was_done = !lane.abilities[side].partial_updates
        && rows.iter().any(|(path, asked, row)| {
            holds(path, asked, row) && before(path).is_some_and(|before| !same(row.compare, before, asked))
        });
    for (path, asked, row) in rows {
        let now = values.get(path).filter(|_| holds(path, asked, row));
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

impl Lane<'_> {
    /// Makes settlements durable.
    fn settle_all(&mut self, settlements: &mut Vec<Settlement>) -> Result<(), Stop> {
        if !settlements.is_empty() {
            self.store.settle(&self.lease, &self.options.run, settlements)?;
            settlements.clear();
        }
        Ok(())
    }

    /// What the repeated or found create means for its link. Announcements stay: they are compared with the new shadows.
    fn adopt_created(
        &mut self,
        intent: &Intent,
        (outcome, ours): Made,
        before: &mut Vec<Settlement>,
    ) -> Result<Option<Settlement>, Stop> {
        let mut settlement = Settlement::default();
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
                if self.settle_existing(&mut intent, (outcome, ours), &mut link, &mut settlement)? == Part::Done {
                    self.report.side(intent.side).created += 1;
                }
            }
            Status::Unknown => return Ok(None),
            // Certainly not there: its announcement makes it anew.
            _ => {
                settlement.link = LinkChange::Retire(link.id);
                return Ok(Some(settlement));
            }
        }
        settlement.link = if link.ends[intent.side].is_some() {
            LinkChange::Put(Box::new(link))
        } else {
            LinkChange::Retire(link.id)
        };
        Ok(Some(settlement))
    }
}
