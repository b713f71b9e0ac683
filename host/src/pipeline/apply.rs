//! Goes through the inbox page by page: look, decide, write down, send, settle.
//!
//! Of each page, all intents are durable before the first call, and all outcomes are settled in one transaction after the
//! last one. A process that dies between the two leaves open intents, and `recover` finds out what became of them.

use std::collections::HashMap;

use pairwise_plugin_api::ops::WriteRequest;
use pairwise_plugin_api::{Action, Certainty, Class, Failure, Outcome, Reason, Record, RecordRef, Status, Write};

use super::calls::is_gone;
use super::reconcile::{Fate, Judgement, Planned, Seen, Told, creation, judge};
use super::translate::label;
use super::{Lane, Stop, filter};
use crate::model::value::same;
use crate::model::{
    Aside, AsideKind, Conflict, End, Hold, HoldKind, InboxId, Intent, Item, Link, LinkChange, LinkState, Lost, News,
    Op, Removal, Select, Settlement, Side, Sides, Work,
};

/// A row of the inbox whose content was taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: InboxId,
    pub(super) at: RecordRef,
    pub(super) attempts: u32,
    released: bool,
}

/// Announcements of a link, of a pair or of a newcomer, and what both sides tell.
pub(super) struct Looked {
    pub(super) rows: Sides<Option<Row>>,
    pub(super) link: Option<Link>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) told: Sides<Told>,
}

impl Looked {
    pub(super) fn ids(&self) -> Vec<InboxId> {
        self.rows.iter().filter_map(|(_, row)| row.as_ref().map(|row| row.id)).collect()
    }
}

/// A case whose writes are to be sent.
pub(super) struct Case {
    pub(super) looked: Looked,
    pub(super) judgement: Judgement,
    pub(super) label: String,
    /// The side on which another record bears the linked id now.
    pub(super) reused: Option<Side>,
    /// The case as lines of a plan, where somebody wants them.
    pub(super) items: Vec<Item>,
    /// Places of its intents in the page's list.
    pub(super) intents: Vec<usize>,
}

/// Settles what the inbox holds, as far as it can be settled now.
pub(super) fn drain(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let mut after = 0;
    let mut done = 0;
    loop {
        lane.breathe()?;
        let mut page = lane.store.work(&lane.lease, Select::All, after, lane.batch())?;
        // What adoption settled at once makes room for more of the inbox.
        while adopt(lane, &page)? {
            page = lane.store.work(&lane.lease, Select::All, after, lane.batch())?;
        }
        let Some(last) = page.last() else { return Ok(()) };
        after = last.row;
        done += page.len() as u64;
        let mut settlements = Vec::new();
        let mut cases = Vec::new();
        let mut holds = Vec::new();
        for looked in look(lane, page, &mut settlements)? {
            decide(lane, looked, &mut cases, &mut settlements, &mut holds);
        }
        if !holds.is_empty() {
            lane.store.hold(&lane.lease, &holds, &lane.options.run)?;
        }
        send(lane, cases, settlements)?;
        lane.observer.progress(done, 0);
    }
}

/// Gives each pair that a match has found a link. If the two records differ nowhere, that settles them; otherwise they come
/// again as announcements of a link that was never settled. Answers whether there was any pair.
fn adopt(lane: &mut Lane<'_>, page: &[Work]) -> Result<bool, Stop> {
    let mut batch = Vec::new();
    for work in page {
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

/// What both sides tell: the announcements, and fresh reads where a decision must not rest on older knowledge. What cannot be
/// looked at now is settled otherwise.
fn look(lane: &mut Lane<'_>, page: Vec<Work>, settlements: &mut Vec<Settlement>) -> Result<Vec<Looked>, Stop> {
    let mut all = Vec::with_capacity(page.len());
    for work in page {
        match translated(lane, work) {
            Ok(looked) => all.push(looked),
            Err(aside) => {
                lane.tell_aside(&aside);
                settlements.push(Settlement { aside: vec![*aside], ..Settlement::default() });
            }
        }
    }
    for side in Side::BOTH {
        read_afresh(lane, side, &mut all, settlements)?;
    }
    Ok(all)
}

fn translated(lane: &Lane<'_>, work: Work) -> Result<Looked, Box<Aside>> {
    let mut looked = Looked {
        rows: Sides::default(),
        link: work.link,
        conflicts: work.conflicts,
        told: Sides::from_fn(|_| Told::Nothing),
    };
    for announced in [work.news.left, work.news.right].into_iter().flatten() {
        let side = announced.side;
        looked.told[side] = match announced.news {
            News::Gone(reason) => Told::Gone(reason),
            News::Here(record) => match lane.map.translate_in(side, &record) {
                Ok(values) => Told::Here(Box::new(Seen { record: *record, values })),
                Err(problem) => return Err(Box::new(untranslatable(side, &record, &problem.to_string()))),
            },
        };
        looked.rows[side] = Some(Row {
            id: announced.id,
            at: announced.at,
            attempts: announced.attempts,
            released: announced.released,
        });
    }
    Ok(looked)
}

fn read_afresh(
    lane: &mut Lane<'_>,
    side: Side,
    all: &mut Vec<Looked>,
    settlements: &mut Vec<Settlement>,
) -> Result<(), Stop> {
    let cautious = !lane.abilities[side].conditional_writes || !lane.spec.reads(side);
    let mut places = Vec::new();
    let mut at = Vec::new();
    for (place, looked) in all.iter().enumerate() {
        let Some(end) = looked.link.as_ref().and_then(|link| link.ends[side].as_ref()) else { continue };
        let released = looked.rows[side].as_ref().is_some_and(|row| row.released);
        let wanted = match (&looked.told[side], &looked.told[side.other()]) {
            (Told::Nothing, Told::Gone(_)) => true,
            (Told::Nothing, Told::Here(_)) => cautious && lane.spec.writes_to(side),
            (Told::Gone(_), _) => released,
            _ => false,
        };
        if wanted {
            places.push(place);
            at.push(end.at.clone());
        }
    }
    let found = lane.get(side, &at)?;
    let mut waiting = Vec::new();
    for (place, found) in places.into_iter().zip(found) {
        if is_gone(&found) {
            all[place].told[side] = Told::Gone(Reason::Deleted);
        } else if let Some(seen) = found.record.and_then(|record| lane.seen(side, record)) {
            all[place].told[side] = Told::Here(seen);
        } else {
            // It does not answer now: nothing may be concluded, so it waits.
            settlements.push(Settlement { deferred: all[place].ids(), ..Settlement::default() });
            waiting.push(place);
        }
    }
    for place in waiting.into_iter().rev() {
        all.remove(place);
    }
    Ok(())
}

/// Decides one case: it either needs no more than a settlement, or becomes a case whose writes are to be sent.
fn decide(
    lane: &mut Lane<'_>,
    looked: Looked,
    cases: &mut Vec<Case>,
    settlements: &mut Vec<Settlement>,
    holds: &mut Vec<Hold>,
) {
    if looked.link.as_ref().is_some_and(|link| lane.blocked.contains(&link.id)) {
        return;
    }
    if let Some(hold) = suspicious(lane, &looked) {
        lane.report.held += 1;
        lane.report.notes.push(hold.summary.clone());
        holds.push(hold);
        return;
    }
    let reused = looked.link.as_ref().and_then(|link| displaced(link, &looked.told));
    let judged = match (&looked.link, reused) {
        (Some(link), Some(side)) => Ok(judge_reused(lane, link, &looked.told, side)),
        (Some(link), None) => Ok(judge(lane.rules(), link, &looked.told, &looked.conflicts)),
        (None, _) => newcomer(lane, &looked.told),
    };
    let judgement = match judged {
        Ok(judgement) => judgement,
        Err(aside) => {
            let mut settlement = Settlement { settled: looked.ids(), ..Settlement::default() };
            if let Some(aside) = aside {
                lane.tell_aside(&aside);
                settlement.aside.push(*aside);
            }
            settlements.push(settlement);
            return;
        }
    };
    let label = name(&judgement, &looked);
    let mut case = Case { looked, judgement, label, reused, items: Vec::new(), intents: Vec::new() };
    if lane.explains() {
        case.items = items(&case);
    }
    if let Some(allowed) = &lane.options.only
        && !case.items.iter().all(|item| allowed.iter().any(|planned| planned.same_as(item)))
    {
        lane.unplanned += 1;
        return;
    }
    cases.push(case);
}

/// All fields that identify a person changed at once: it may be another person under the same id.
fn suspicious(lane: &Lane<'_>, looked: &Looked) -> Option<Hold> {
    let link = looked.link.as_ref()?;
    let fields = &lane.spec.guard.identity;
    let changed = |side: Side, seen: &Seen| {
        fields.iter().all(|path| {
            let row = lane.map.row(path);
            match (row, link.shadows[side].get(path), seen.values.get(path)) {
                (Some(row), Some(then), Some(now)) => {
                    !then.is_empty() && !now.is_empty() && !same(row.compare, then, now)
                }
                _ => false,
            }
        })
    };
    let (side, row, seen) = Side::BOTH.into_iter().find_map(|side| match (&looked.told[side], &looked.rows[side]) {
        (Told::Here(seen), Some(row)) if !fields.is_empty() && !row.released && changed(side, seen) => {
            Some((side, row, seen))
        }
        _ => None,
    })?;
    let (then, now) = (label(&link.shadows[side], &row.at.id), label(&seen.values, &row.at.id));
    let summary = format!(
        "`{}` on the {side} was {then} and is now {now}: all of {} changed at once. It waits; `pairwise holds release ID` \
         carries the change over",
        row.at.id,
        fields.iter().map(|path| &**path).collect::<Vec<_>>().join(", ")
    );
    Some(Hold { kind: HoldKind::Identity, side: Some(side.other()), summary, rows: vec![(row.id, now)] })
}

/// A record without a link: it is created on the other side, or it is kept out for a reason. `Err(None)` is no problem.
fn newcomer(lane: &Lane<'_>, told: &Sides<Told>) -> Result<Judgement, Option<Box<Aside>>> {
    let (side, seen) = match (&told.left, &told.right) {
        (Told::Here(seen), Told::Nothing) => (Side::Left, seen),
        (Told::Nothing, Told::Here(seen)) => (Side::Right, seen),
        _ => return Err(None),
    };
    let target = side.other();
    let refused = |code: &str, text: String| {
        Err(Some(Box::new(Aside {
            side,
            at: seen.record.at.clone(),
            version: seen.record.version.clone(),
            label: label(&seen.values, &seen.record.at.id),
            kind: AsideKind::Refused,
            code: code.to_owned(),
            text,
        })))
    };
    if let Some(predicate) = filter::refuses(&lane.spec.admit[side], &seen.record, &seen.values, lane.started) {
        return refused(&predicate.reason, format!("the stream's filter keeps it out: {}", predicate.reason));
    }
    if !lane.spec.writes_to(target) || !lane.spec.create[target] {
        return refused("no_right_to_create", format!("the stream makes no new records on the {target}"));
    }
    let mut judgement = Judgement {
        link: Link { id: 0, ends: Sides::default(), shadows: Sides::default(), born: side, state: LinkState::Live },
        writes: Sides::default(),
        fate: Fate::Stays,
        conflicts: Vec::new(),
        lost: Sides::default(),
    };
    judgement.link.ends[side] = Some(End::of(&seen.record));
    judgement.writes[target] = Some(creation(lane.rules(), target, &seen.values, Op::Create, "new_on_other_side"));
    Ok(judgement)
}

/// The side on which another record bears the linked id now.
fn displaced(link: &Link, told: &Sides<Told>) -> Option<Side> {
    Side::BOTH.into_iter().find(|side| match (&told[*side], &link.ends[*side]) {
        (Told::Here(seen), Some(end)) => {
            matches!((&seen.record.incarnation, &end.incarnation), (Some(now), Some(then)) if now != then)
        }
        _ => false,
    })
}

/// A reused id is another record: the linked one is gone, and the new one is announced as a newcomer once the link is.
fn judge_reused(lane: &Lane<'_>, link: &Link, told: &Sides<Told>, side: Side) -> Judgement {
    let mut told = told.clone();
    told[side] = Told::Gone(Reason::Deleted);
    let mut judgement = judge(lane.rules(), link, &told, &[]);
    if judgement.writes[side].is_none() {
        // Whatever the policy keeps, this id belongs to somebody else now.
        judgement.fate = Fate::Ends;
    }
    judgement
}

fn untranslatable(side: Side, record: &Record, text: &str) -> Aside {
    Aside {
        side,
        at: record.at.clone(),
        version: record.version.clone(),
        label: record.at.id.clone(),
        kind: AsideKind::Quarantined,
        code: "untranslatable".to_owned(),
        text: text.to_owned(),
    }
}

/// What a person calls the record.
fn name(judgement: &Judgement, looked: &Looked) -> String {
    let id = looked.rows.iter().find_map(|(_, row)| row.as_ref().map(|row| row.at.id.as_str())).unwrap_or_default();
    for side in Side::BOTH {
        if let Told::Here(seen) = &looked.told[side] {
            return label(&seen.values, id);
        }
    }
    label(&judgement.link.shadows.left, id)
}

/// The case as lines of a plan.
fn items(case: &Case) -> Vec<Item> {
    let id_of = |side: Side| {
        let known = case.judgement.link.ends[side].as_ref().map(|end| end.at.clone());
        let linked = || case.looked.link.as_ref().and_then(|link| link.ends[side].as_ref()).map(|end| end.at.clone());
        known.or_else(linked).unwrap_or_default()
    };
    let mut items: Vec<Item> = Side::BOTH
        .into_iter()
        .filter_map(|side| {
            let planned = case.judgement.writes[side].as_ref()?;
            let (at, other) = (id_of(side), id_of(side.other()));
            Some(Item {
                op: planned.op,
                side,
                entity: if at.entity.is_empty() { other.entity.clone() } else { at.entity },
                id: at.id,
                other_id: other.id,
                label: case.label.clone(),
                reason: planned.reason.to_owned(),
                held: false,
                fields: planned.changes.clone(),
            })
        })
        .collect();
    if items.is_empty() && case.judgement.fate == Fate::Ends && case.looked.link.is_some() {
        let (left, right) = (id_of(Side::Left), id_of(Side::Right));
        items.push(Item {
            op: Op::Unlink,
            side: Side::Right,
            entity: right.entity,
            id: right.id,
            other_id: left.id,
            label: case.label.clone(),
            reason: "gone_on_both_sides".to_owned(),
            held: false,
            fields: Vec::new(),
        });
    }
    items
}

/// Writes the page's intents down, sends them side by side, and settles everything together.
fn send(lane: &mut Lane<'_>, mut cases: Vec<Case>, mut settlements: Vec<Settlement>) -> Result<(), Stop> {
    let mut intents: Vec<Intent> = Vec::new();
    let mut history: Vec<Lost> = Vec::new();
    for case in &mut cases {
        for side in Side::BOTH {
            let Some(planned) = case.judgement.writes[side].take() else { continue };
            history.extend(lost(case, side, &planned));
            match payload(lane, case, side, planned) {
                Ok(Some(intent)) => {
                    case.intents.push(intents.len());
                    intents.push(intent);
                }
                Ok(None) => {}
                Err(aside) => {
                    lane.tell_aside(&aside);
                    settlements.push(Settlement { aside: vec![*aside], ..Settlement::default() });
                }
            }
        }
    }
    let mut calls: Vec<(Side, String, Vec<usize>)> = Vec::new();
    for side in Side::BOTH {
        let places: Vec<usize> =
            intents.iter().enumerate().filter(|(_, intent)| intent.side == side).map(|(place, _)| place).collect();
        let size = (lane.abilities[side].largest_batch.max(1) as usize).min(lane.batch());
        for chunk in places.chunks(size) {
            let call = lane.chance.id();
            for place in chunk {
                intents[*place].call.clone_from(&call);
            }
            calls.push((side, call, chunk.to_vec()));
        }
    }
    if !intents.is_empty() {
        lane.store.intend(&lane.lease, &lane.options.run, &mut intents, &history)?;
    }
    let mut outcomes: HashMap<usize, Outcome> = HashMap::with_capacity(intents.len());
    let mut broken = None;
    for (side, _, places) in calls {
        if broken.is_some() {
            outcomes.extend(places.into_iter().map(|place| (place, Outcome::of(Status::NotSent))));
            continue;
        }
        let answered = lane.write(side, places.iter().map(|place| intents[*place].write.clone()).collect());
        match answered {
            Ok(answers) => outcomes.extend(places.into_iter().zip(answers)),
            Err((status, stop)) => {
                outcomes.extend(
                    places.into_iter().map(|place| (place, Outcome { text: stop.explain().1, ..Outcome::of(status) })),
                );
                broken = stop.ends_run().then_some(stop);
            }
        }
    }
    for case in cases {
        let parts = case
            .intents
            .iter()
            .map(|place| (&intents[*place], outcomes.remove(place).unwrap_or_else(|| Outcome::of(Status::Unknown))));
        let parts: Vec<_> = parts.collect();
        settlements.push(lane.commit(case, parts)?);
    }
    lane.store.settle(&lane.lease, &lane.options.run, &settlements)?;
    broken.map_or(Ok(()), Err)
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
    if planned.op == Op::Delete {
        let Some(end) = &case.judgement.link.ends[side] else { return Ok(None) };
        write.action = match planned.removal {
            Some(Removal::Trash) if lane.abilities[side].trash => Action::Trash,
            Some(Removal::Exclude) if lane.abilities[side].membership => Action::Exclude,
            _ => Action::Delete,
        };
        write.at = end.at.clone();
        write.expect = lane.expected(side, end);
    } else {
        write.fields = lane.map.translate_out(side, &planned.asked, creates).map_err(|problem| {
            let end = case.judgement.link.ends[source_side].clone().unwrap_or_default();
            Box::new(Aside {
                side: source_side,
                at: end.at,
                version: end.version,
                label: case.label.clone(),
                kind: AsideKind::Quarantined,
                code: "untranslatable".to_owned(),
                text: problem.to_string(),
            })
        })?;
        if creates {
            write.action = Action::Create;
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
    Ok(Some(Intent {
        id: 0,
        call: String::new(),
        link: case.judgement.link.clone(),
        side,
        write,
        asked: planned.asked,
        source: source_end.map(|end| (end, planned.source)),
        inbox: case.looked.ids(),
    }))
}

/// What the write overwrites, for history.
fn lost(case: &mut Case, side: Side, planned: &Planned) -> Option<Lost> {
    let values = std::mem::take(&mut case.judgement.lost[side]);
    let link = case.looked.link.as_ref()?;
    (!values.is_empty()).then(|| Lost {
        link: link.id,
        side,
        at: link.ends[side].as_ref().map(|end| end.at.clone()).unwrap_or_default(),
        label: case.label.clone(),
        op: if planned.op == Op::Delete { "delete" } else { "update" }.to_owned(),
        reason: planned.reason.to_owned(),
        values,
    })
}

impl Lane<'_> {
    /// A record with its values, unless it cannot be read.
    pub(super) fn seen(&self, side: Side, record: Record) -> Option<Box<Seen>> {
        let values = self.map.translate_in(side, &record).ok()?;
        Some(Box::new(Seen { record, values }))
    }

    /// Whether anybody wants to see operations field by field.
    pub(super) fn explains(&self) -> bool {
        self.options.list_items > 0 || self.options.only.is_some()
    }

    /// The version that a conditional write names.
    fn expected(&self, side: Side, end: &End) -> Option<String> {
        end.version.clone().filter(|_| self.abilities[side].conditional_writes)
    }

    /// One call; failures that had no effect are tried again. A failed call says what became of each of its writes.
    pub(super) fn write(&self, side: Side, writes: Vec<Write>) -> Result<Vec<Outcome>, (Status, Stop)> {
        let count = writes.len();
        let request = WriteRequest {
            principal: self.spec.principals[side].clone(),
            scope: self.spec.scope[side].clone(),
            writes,
        };
        match self.call(side, |remote| remote.write(request.clone())) {
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
