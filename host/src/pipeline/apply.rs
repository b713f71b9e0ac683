//! Goes through the inbox page by page: look, decide, write down, send, settle.
//!
//! Of each page, all intents are durable before the first call, and all outcomes are settled in one transaction after the
//! last one. A process that dies between the two leaves open intents, and `recover` finds out what became of them.

use std::collections::{HashSet, VecDeque};
use std::panic::resume_unwind;
use std::{iter, thread};

use pairwise_plugin_api::ops::{EnsureContainerRequest, WriteRequest};
use pairwise_plugin_api::{Action, Certainty, Class, Failure, Fields, Outcome, RecordRef, Status, Write};

use super::calls::Ahead;
use super::decide::{Case, decide};
use super::look::look;
use super::membership;
use super::reconcile::{Planned, Told, judge};
use super::resolve::resolve;
use super::translate::label;
use super::{CALLS_AT_ONCE, Lane, Stop, ends_run};
use crate::model::{
    Aside, End, Guard, InboxId, Intent, Item, Link, LinkChange, LinkId, LinkState, Lost, News, Op, Removal, Select,
    Settlement, Side, Sides, Work,
};

/// Settles what the inbox holds, as far as it can be settled now. While the writes of one page are under way, the page before
/// it is settled and the page after it is decided; where the sides bear more than one call, two pages are under way.
pub(super) fn drain(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let mut flying = VecDeque::new();
    let ended = take_off(lane, &mut flying);
    // Whatever stopped the run, writes that were sent are settled.
    flying.into_iter().fold(ended, |ended, flight| {
        let landed = settle(lane, flight.wait());
        ended.and(landed)
    })
}

fn take_off(lane: &mut Lane<'_>, flying: &mut VecDeque<Flight>) -> Result<(), Stop> {
    let mut after = 0;
    let mut done = 0;
    loop {
        lane.breathe()?;
        let mut page = lane.store.work(&lane.lease, Select::All, after, lane.batch())?;
        let mut outside = membership::join(lane, &page)?;
        // What adoption settled at once makes room for more of the inbox.
        while adopt(lane, &page, &outside)? {
            page = lane.store.work(&lane.lease, Select::All, after, lane.batch())?;
            outside.extend(membership::join(lane, &page)?);
        }
        let Some(last) = page.last() else { return Ok(()) };
        after = last.row;
        done += page.len() as u64;
        // A link whose write is under way is settled with that write, together with all that was told of it.
        let busy: HashSet<LinkId> = flying.iter().flat_map(Flight::links).collect();
        page.retain(|work| !outside.contains(&work.row));
        page.retain(|work| work.link.as_ref().is_none_or(|link| !busy.contains(&link.id)));
        let mut settlements = Vec::new();
        let mut cases = Vec::with_capacity(page.len());
        let mut holds = Vec::new();
        for looked in look(lane, page, &mut settlements)? {
            decide(lane, looked, &mut cases, &mut settlements, &mut holds);
        }
        if !holds.is_empty() {
            lane.store.hold(&lane.lease, &holds, &lane.options.run)?;
        }
        if !lane.spec.references.is_empty() {
            resolve(lane, &mut cases, &mut settlements)?;
        }
        let ready = write_down(lane, cases, settlements)?;
        let mut landed = Vec::new();
        while !lane.has_room(flying, &ready)
            && let Some(before) = flying.pop_front()
        {
            landed.push(before.wait());
        }
        flying.push_back(start(lane, ready));
        for before in landed {
            settle(lane, before)?;
        }
        lane.observer.progress(done, 0);
    }
}

/// Gives each pair that a match has found a link. If the two records differ nowhere, that settles them; otherwise they come
/// again as announcements of a link that was never settled. Those that could not join their group wait, and so do all while one of
/// them may be what a write has made whose answer was lost. Answers whether there was any pair.
fn adopt(lane: &mut Lane<'_>, page: &[Work], outside: &HashSet<InboxId>) -> Result<bool, Stop> {
    if (lane.unsure.left || lane.unsure.right) && lane.guards(Guard::Unsure) {
        return Ok(false);
    }
    let mut batch = Vec::new();
    for work in page.iter().filter(|work| !outside.contains(&work.row)) {
        let (None, Some(left), Some(right)) = (&work.link, &work.news.left, &work.news.right) else { continue };
        let (News::Here(left_record), News::Here(right_record)) = (&left.news, &right.news) else { continue };
        let mut link = Link {
            id: 0,
            ends: Sides { left: Some(End::of(left_record)), right: Some(End::of(right_record)) },
            shadows: Sides::default(),
            born: Side::Left,
            state: LinkState::Live,
        };
        let mut settled = Vec::new();
        let mut name = left.at.id.clone();
        if let (Some(seen_left), Some(seen_right)) =
            (lane.seen(Side::Left, (**left_record).clone()), lane.seen(Side::Right, (**right_record).clone()))
        {
            name = label(&seen_left.values, &left.at.id);
            let told = Sides { left: Told::Here(seen_left), right: Told::Here(seen_right) };
            let judgement = judge(lane.rules(), &link, &told, &[]);
            let idle = judgement.writes.left.is_none() && judgement.writes.right.is_none();
            if idle && judgement.conflicts.is_empty() {
                link = judgement.link;
                settled = vec![left.id, right.id];
            }
        }
        lane.report.adopted += 1;
        lane.tell(Item {
            op: Op::Adopt,
            side: Side::Right,
            entity: right.at.entity.clone(),
            id: right.at.id.clone(),
            other_id: left.at.id.clone(),
            label: name,
            reason: "matched".to_owned(),
            held: false,
            fields: Vec::new(),
        });
        batch.push(Settlement { settled, link: LinkChange::Put(Box::new(link)), ..Settlement::default() });
    }
    if batch.is_empty() {
        return Ok(false);
    }
    lane.store.settle(&lane.lease, &lane.options.run, &batch)?;
    Ok(true)
}

/// A page whose intents are durable.
struct Ready {
    cases: Vec<Case>,
    settlements: Vec<Settlement>,
    intents: Vec<Intent>,
    /// Places in `intents`, call by call.
    calls: Vec<(Side, Vec<usize>)>,
}

/// A page whose writes are under way.
struct Flight {
    page: Ready,
    answers: Ahead<Vec<Answer>>,
}

/// The answer of one call.
type Answer = Result<Vec<Outcome>, Failure>;

impl Flight {
    fn links(&self) -> impl Iterator<Item = LinkId> {
        self.page.intents.iter().map(|intent| intent.link.id)
    }

    fn wait(self) -> (Ready, Vec<Answer>) {
        (self.page, self.answers.wait())
    }
}

/// Writes a page's intents down.
fn write_down(lane: &mut Lane<'_>, mut cases: Vec<Case>, settlements: Vec<Settlement>) -> Result<Ready, Stop> {
    let mut intents: Vec<Intent> = Vec::with_capacity(cases.len());
    let mut history: Vec<Lost> = Vec::new();
    for case in &mut cases {
        for side in Side::BOTH {
            let Some(planned) = case.judgement.writes[side].take() else { continue };
            if planned.removal == Some(Removal::Trash) && !lane.abilities[side].trash {
                lane.find_trash(side)?;
            }
            let done = done(case, side, &planned).filter(|_| lane.guards(Guard::History));
            match payload(lane, case, side, planned) {
                Ok(Some(intent)) => {
                    case.intents.push(intents.len());
                    intents.push(intent);
                    history.extend(done);
                }
                Ok(None) => {}
                Err(aside) => {
                    lane.tell_aside(&aside);
                    case.untranslatable.push(*aside);
                }
            }
        }
    }
    let mut calls = Vec::new();
    for side in Side::BOTH {
        let places: Vec<usize> =
            intents.iter().enumerate().filter(|(_, intent)| intent.side == side).map(|(place, _)| place).collect();
        for chunk in places.chunks(lane.largest_call(side)) {
            let call = lane.chance.id();
            for place in chunk {
                intents[*place].call.clone_from(&call);
            }
            calls.push((side, chunk.to_vec()));
        }
    }
    if !intents.is_empty() {
        lane.store.intend(&lane.lease, &lane.options.run, &mut intents, &history)?;
    }
    // While the writes are under way, only what they overwrite is still needed, and the record that bears another's id.
    for case in cases.iter_mut().filter(|case| !case.reused.left && !case.reused.right) {
        for side in Side::BOTH {
            if !case.intents.iter().any(|place| intents[*place].side == side) {
                case.looked.forget_fields(side);
            }
        }
    }
    Ok(Ready { cases, settlements, intents, calls })
}

/// Sends a page's writes, as many calls at a time as the sides bear, until one fails in a way that makes the others pointless.
fn start(lane: &Lane<'_>, mut page: Ready) -> Flight {
    let caller = lane.caller();
    let requests: Vec<(Side, WriteRequest)> = page
        .calls
        .iter()
        .map(|(side, places)| {
            // What is durable by now need not be kept here, too.
            let writes = places.iter().map(|place| frozen(&mut page.intents[*place])).collect();
            (*side, lane.request(*side, writes))
        })
        .collect();
    if requests.is_empty() {
        return Flight { page, answers: Ahead::Done(Vec::new()) };
    }
    let at_once = Sides::from_fn(|side| lane.calls_at_once(side));
    let turns = lane.turns.clone();
    let answers = lane.crew.ahead(move || {
        let call = |(side, request): &(Side, WriteRequest)| {
            let _turn = turns[*side].enter();
            caller.call(*side, |remote| remote.write(request))
        };
        let mut answers = Vec::with_capacity(requests.len());
        // Requests of one side stand together.
        for requests in requests.chunk_by(|(one, _), (two, _)| one == two) {
            for requests in requests.chunks(requests.first().map_or(1, |(side, _)| at_once[*side])) {
                answers.extend(thread::scope(|scope| {
                    let others: Vec<_> =
                        requests[1..].iter().map(|request| scope.spawn(move || call(request))).collect();
                    let first = call(&requests[0]);
                    let others = others.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
                    iter::once(first).chain(others).collect::<Vec<Answer>>()
                }));
                if answers.iter().any(|answer: &Answer| answer.as_ref().is_err_and(ends_run)) {
                    return answers;
                }
            }
        }
        answers
    });
    Flight { page, answers }
}

/// Settles a page whose calls were answered, in one transaction.
fn settle(lane: &mut Lane<'_>, (page, answers): (Ready, Vec<Answer>)) -> Result<(), Stop> {
    let Ready { cases, mut settlements, intents, calls } = page;
    let mut outcomes: Vec<Option<Outcome>> = intents.iter().map(|_| Some(Outcome::of(Status::NotSent))).collect();
    let mut broken = None;
    for ((side, places), answer) in calls.into_iter().zip(answers) {
        match lane.checked(side, places.len(), answer) {
            Ok(answers) => {
                for (place, outcome) in places.into_iter().zip(answers) {
                    outcomes[place] = Some(outcome);
                }
            }
            Err((status, stop)) => {
                for place in places {
                    outcomes[place] = Some(Outcome { text: stop.explain().1, ..Outcome::of(status) });
                }
                broken = broken.or(stop.ends_run().then_some(stop));
            }
        }
    }
    for (intent, outcome) in intents.iter().zip(&outcomes) {
        let is_lost = outcome.as_ref().is_some_and(|outcome| outcome.status == Status::Unknown);
        lane.unsure[intent.side] |= is_lost && intent.write.action == Action::Create;
    }
    // Only a create that has met a record asks what the others have made.
    let met = outcomes.iter().flatten().any(|outcome| outcome.status == Status::Exists);
    let told = intents.iter().zip(&outcomes).filter(|_| met);
    lane.tied = told.filter_map(|(intent, outcome)| made(intent, outcome.as_ref()?)).collect();
    let mut intents: Vec<Option<Intent>> = intents.into_iter().map(Some).collect();
    for case in cases {
        let parts = case.intents.iter().filter_map(|place| intents[*place].take().zip(outcomes[*place].take()));
        let parts: Vec<_> = parts.collect();
        settlements.push(lane.commit(case, parts)?);
    }
    lane.store.settle(&lane.lease, &lane.options.run, &settlements)?;
    lane.tie_pairs()?;
    broken.map_or(Ok(()), Err)
}

/// The record that a create has just made.
pub(super) fn made(intent: &Intent, outcome: &Outcome) -> Option<(Side, RecordRef)> {
    let creates = (outcome.status, intent.write.action) == (Status::Applied, Action::Create);
    outcome.record.as_ref().filter(|_| creates).map(|record| (intent.side, record.at.clone()))
}

/// The payload that is sent. The intent keeps where it goes; its fields are durable by now, and not held twice.
fn frozen(intent: &mut Intent) -> Write {
    let fields = std::mem::take(&mut intent.write.fields);
    Write { fields, ..intent.write.clone() }
}

/// The frozen payload of a planned write; `None` if nothing of it can be written to that side.
fn payload(lane: &Lane<'_>, case: &Case, side: Side, planned: Planned) -> Result<Option<Intent>, Box<Aside>> {
    let source_side = side.other();
    let source = match &case.looked.told[source_side] {
        Told::Here(seen) => Some(&seen.record),
        _ => None,
    };
    let creates = matches!(planned.op, Op::Create | Op::Recreate);
    let mut write = Write { key: lane.chance.id(), ..Write::default() };
    if let Some(removal) = planned.removal {
        let Some(end) = &case.judgement.link.ends[side] else { return Ok(None) };
        write.action = match removal {
            Removal::Trash if lane.abilities[side].trash => Action::Trash,
            Removal::Trash if lane.trash[side].is_some() => Action::Update,
            Removal::Exclude => Action::Exclude,
            _ => Action::Delete,
        };
        if write.action == Action::Update {
            write.container.clone_from(&lane.trash[side]);
        }
        write.at = end.at.clone();
        write.expect = lane.expected(side, end);
    } else {
        write.fields = lane.map.translate_out(side, &planned.asked, creates).map_err(|problem| {
            let end = case.judgement.link.ends[source_side].clone().unwrap_or_default();
            let aside = Aside::of(source_side, end.at, end.version, "untranslatable", problem.to_string());
            Box::new(Aside { label: case.label.clone(), ..aside })
        })?;
        if creates {
            write.action = Action::Create;
            for (name, value) in case.references.iter() {
                write.fields.set(name.clone(), value.clone());
            }
            write.at = RecordRef::new(lane.spec.entities[side].first().cloned().unwrap_or_default(), "");
            write.uid = source.and_then(|record| record.uid.clone()).filter(|_| lane.abilities[side].uid);
            write.container = source.and_then(|record| record.container.clone()).filter(|_| lane.same_folders);
        } else {
            let Some(end) = &case.judgement.link.ends[side] else { return Ok(None) };
            if write.fields.is_empty() {
                return Ok(None);
            }
            write.action = Action::Update;
            write.at = end.at.clone();
            write.expect = lane.expected(side, end);
        }
    }
    let source_end = case.judgement.link.ends[source_side].clone();
    let before = match (&case.looked.told[side], source) {
        (Told::Here(seen), _) if write.action == Action::Update => Some((seen.record.modified, seen.values.clone())),
        // By the clock of the side on which it is made.
        (_, Some(source)) if creates => {
            Some((source.modified.map(|time| time - lane.skew[source_side] + lane.skew[side]), Fields::new()))
        }
        _ => None,
    };
    Ok(Some(Intent {
        id: 0,
        call: String::new(),
        link: case.judgement.link.clone(),
        side,
        write,
        asked: planned.asked,
        source: source_end.map(|end| (end, planned.unsent)),
        before,
        again: planned.op == Op::Recreate,
        inbox: case.looked.ids(),
    }))
}

/// What the write does to a record that has a link, and the values that perish by it, for history. How a link came to be is
/// kept elsewhere.
fn done(case: &mut Case, side: Side, planned: &Planned) -> Option<Lost> {
    let values = std::mem::take(&mut case.judgement.lost[side]);
    let link = case.looked.link.as_ref()?;
    Some(Lost {
        link: link.id,
        side,
        at: link.ends[side].as_ref()?.at.clone(),
        label: case.label.clone(),
        op: match planned.op {
            _ if planned.removal.is_some() => "delete",
            Op::Recreate => "recreate",
            _ => "update",
        }
        .to_owned(),
        reason: planned.reason.to_owned(),
        values,
    })
}

impl Lane<'_> {
    /// Ties announcements that turned out to be a pair, once they have no links any more.
    pub(super) fn tie_pairs(&mut self) -> Result<(), Stop> {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.sort_unstable();
        pairs.dedup();
        if pairs.is_empty() {
            return Ok(());
        }
        // One of them may have been set aside.
        let rows: Vec<InboxId> = pairs.iter().flat_map(|(left, right)| [*left, *right]).collect();
        let there: HashSet<InboxId> = self.store.announced(&self.lease, &rows)?.iter().map(|row| row.id).collect();
        pairs.retain(|(left, right)| there.contains(left) && there.contains(right));
        Ok(self.store.pair(&self.lease, &pairs)?)
    }

    /// Finds or makes the folder that takes the place of deleted items.
    fn find_trash(&mut self, side: Side) -> Result<(), Stop> {
        let able = self.trash[side].is_none() && self.abilities[side].create_containers;
        let Some(path) = self.spec.trash.fallback.clone().filter(|_| able) else { return Ok(()) };
        let request = EnsureContainerRequest {
            principal: self.spec.principals[side].clone(),
            entity: self.spec.entities[side].first().cloned().unwrap_or_default(),
            path,
            columns: Vec::new(),
        };
        self.trash[side] = Some(self.must(side, |remote| remote.ensure_container(&request))?.id);
        Ok(())
    }

    /// The version that a conditional write names.
    fn expected(&self, side: Side, end: &End) -> Option<String> {
        end.version.clone().filter(|_| self.abilities[side].conditional_writes && self.guards(Guard::Conditional))
    }

    /// Calls that write to a side at the same time.
    pub(super) fn calls_at_once(&self, side: Side) -> usize {
        match self.abilities[side].max_parallel_per_principal {
            _ if !self.options.overlap => 1,
            limit => (limit as usize).clamp(1, CALLS_AT_ONCE),
        }
    }

    /// Whether a page may take off beside those that are under way. Where a side bears more than one call, those of the next
    /// page wait for their turn, so that none is missed between two pages.
    fn has_room(&self, flying: &VecDeque<Flight>, next: &Ready) -> bool {
        let writes = |page: &Ready, side: Side| page.calls.iter().any(|(of, _)| *of == side);
        let fits = |side: Side| {
            self.calls_at_once(side) > 1
                || !writes(next, side)
                || !flying.iter().any(|flight| writes(&flight.page, side))
        };
        flying.len() < CALLS_AT_ONCE && (flying.is_empty() || Side::BOTH.into_iter().all(fits))
    }

    fn request(&self, side: Side, writes: Vec<Write>) -> WriteRequest {
        WriteRequest {
            principal: self.spec.principals[side].clone(),
            scope: self.spec.scope[side].clone(),
            writes,
            fields: self.fields[side].clone(),
        }
    }

    /// One call; failures that had no effect are tried again. A failed call says what became of each of its writes.
    pub(super) fn write(&self, side: Side, writes: Vec<Write>) -> Result<Vec<Outcome>, (Status, Stop)> {
        let count = writes.len();
        let request = self.request(side, writes);
        self.checked(side, count, self.call(side, |remote| remote.write(&request)))
    }

    fn checked(&self, side: Side, count: usize, answer: Answer) -> Result<Vec<Outcome>, (Status, Stop)> {
        match answer {
            Ok(outcomes) if outcomes.len() == count => Ok(outcomes),
            Ok(outcomes) => {
                let text = format!("{count} writes were answered with {} outcomes", outcomes.len());
                Err((Status::Unknown, self.contract(side, text)))
            }
            Err(failure) => Err((status_of(&failure), self.stop(side, failure))),
        }
    }
}

fn status_of(failure: &Failure) -> Status {
    match (failure.certainty, failure.class) {
        (Certainty::Unknown, _) => Status::Unknown,
        (_, Class::Auth) => Status::Auth,
        (_, Class::Throttled) => Status::Throttled,
        _ => Status::NotSent,
    }
}
