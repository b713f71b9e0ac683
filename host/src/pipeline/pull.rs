//! Reads what changed on one side and stages it in the inbox, page by page; the cursor goes with the last of it.
//!
//! A side with a feed tells its changes. A side without one is listed: ids and versions first, and only records whose version
//! is not the one we know are read. Both ways end in the same announcements.

use std::collections::{HashMap, HashSet};

use pairwise_plugin_api::ops::{ChangesRequest, ListDetail, ListRequest};
use pairwise_plugin_api::{Change, Class, Cursor, Failure, Level, Millis, Page, Reason, Record, RecordRef, Removed};

use super::absence::{self, Sighted};
use super::calls::Ahead;
use super::keys::match_keys;
use super::look::as_told;
use super::{Lane, Stop, filter};
use crate::model::{
    Aside, AsideKind, Guard, Known, LaneSpec, Link, LinkChange, Matching, News, OnCondition, Scan, Settlement, Side,
    Staged,
};

/// What a side is asked for first.
pub(super) enum Ask {
    /// What changed since a cursor; without one everything that is there.
    Feed(ChangesRequest),
    /// What changed since a cursor that was read up to in this very run: mostly what the run has written itself.
    Echo(ChangesRequest),
    /// Everything in scope.
    List(ListRequest),
}

/// A page that was asked for, and when it was answered.
pub(super) type Asked = Ahead<(Result<Page, Failure>, Millis)>;

impl Ask {
    /// Decided by what the side can do, how far it was read, and whether it is to be listed whole.
    pub(super) fn of(lane: &Lane<'_>, side: Side) -> Ask {
        let cursor = lane.memory.cursors[side].clone();
        if lane.abilities[side].feed {
            let sweep_due = lane.spec.sweep_every > 0 && lane.memory.since_sweep[side] + 1 >= lane.spec.sweep_every;
            // A record that was missed is to be missed, or seen, again.
            let doubts = lane.memory.doubts[side];
            let whole = lane.options.full || lane.spec.scan[side] == Scan::Full || sweep_due || doubts;
            let (cursor, previous) = if whole { (None, cursor) } else { (cursor, None) };
            return Ask::Feed(ChangesRequest { previous, ..Ask::since(lane, side, cursor) });
        }
        // The first listing needs every record anyway.
        let whole = cursor.is_none() || lane.spec.scan[side] == Scan::Full;
        Ask::List(ListRequest {
            principal: lane.spec.principals[side].clone(),
            scope: lane.spec.scope[side].clone(),
            entities: lane.spec.entities[side].clone(),
            previous: cursor,
            limit: if whole { lane.page(side) } else { LIST_PAGE },
            detail: if whole { ListDetail::Full } else { ListDetail::Ids },
            fields: lane.fields[side].clone(),
            ..ListRequest::default()
        })
    }

    fn since(lane: &Lane<'_>, side: Side, cursor: Option<Cursor>) -> ChangesRequest {
        ChangesRequest {
            principal: lane.spec.principals[side].clone(),
            scope: lane.spec.scope[side].clone(),
            entities: lane.spec.entities[side].clone(),
            cursor,
            limit: lane.page(side),
            fields: lane.fields[side].clone(),
            skip_own: lane.knows_own_writes(),
            ..ChangesRequest::default()
        }
    }

    /// Where the first page begins.
    fn beginning(&self) -> Option<Cursor> {
        match self {
            Ask::Feed(request) | Ask::Echo(request) => request.cursor.clone(),
            Ask::List(request) => request.page.clone(),
        }
    }

    /// Asks, and does not wait for the answer.
    pub(super) fn start(&self, lane: &Lane<'_>, side: Side) -> Asked {
        self.from(lane, side, self.beginning())
    }

    fn from(&self, lane: &Lane<'_>, side: Side, from: Option<Cursor>) -> Asked {
        let caller = lane.caller();
        match self {
            Ask::Feed(request) | Ask::Echo(request) => {
                let request = ChangesRequest { cursor: from, ..request.clone() };
                lane.crew.ahead(move || (caller.call(side, |remote| remote.changes(&request)), caller.chance.now()))
            }
            Ask::List(request) => {
                let request = ListRequest { page: from, ..request.clone() };
                lane.crew.ahead(move || (caller.call(side, |remote| remote.list(&request)), caller.chance.now()))
            }
        }
    }
}

/// Pulls one side, whose first page was asked for before.
pub(super) fn pull(lane: &mut Lane<'_>, side: Side, ask: &Ask, first: Asked) -> Result<(), Stop> {
    let taken_up = !lane.memory.listed[side] && matches!(ask, Ask::Feed(request) if request.cursor.is_some());
    match pages(lane, side, ask, first) {
        Err(Stop::Remote { failure, .. })
            if failure.class == Class::CursorExpired && lane.observer.guards(Guard::Relist) =>
        {
            lane.report.notes.push(format!(
                "connection `{}` ({side}): the server no longer knows how far it was read; everything was listed again",
                lane.spec.connections[side]
            ));
            read_on(lane, side, None)
        }
        Ok(()) if taken_up => {
            // What was made since that listing began stands in no part of it, and the other side may tell its twin by now.
            let memory = lane.store.memory(&lane.lease)?;
            lane.memory.listed[side] = memory.listed[side];
            if memory.listed[side] { read_on(lane, side, memory.cursors[side].clone()) } else { Ok(()) }
        }
        done => done,
    }
}

/// Reads what a feed tells from a cursor on; without one everything that is there.
fn read_on(lane: &mut Lane<'_>, side: Side, cursor: Option<Cursor>) -> Result<(), Stop> {
    let ask = Ask::Feed(Ask::since(lane, side, cursor));
    let first = ask.start(lane, side);
    pages(lane, side, &ask, first)
}

/// Reads on, at the end of a run that wrote: the feed tells what the run has done, while the connector still knows what that
/// was, and the next run begins with what others did. That which others did meanwhile is staged for it.
pub(super) fn hear_echoes(lane: &mut Lane<'_>) -> Result<(), Stop> {
    for side in Side::BOTH {
        let tells = lane.abilities[side].feed && lane.spec.reads(side) && lane.knows_own_writes();
        if !tells || !lane.wrote[side] {
            continue;
        }
        let mut memory = lane.store.memory(&lane.lease)?;
        let Some(cursor) = memory.cursors[side].take().filter(|_| memory.listed[side]) else { continue };
        let ask = Ask::since(lane, side, Some(cursor));
        let ask = Ask::Echo(ChangesRequest { detail: ListDetail::Ids, ..ask });
        let first = ask.start(lane, side);
        match pages(lane, side, &ask, first) {
            // The run's own work is done, and the next run asks again.
            Err(Stop::Remote { failure, .. }) => {
                tracing::debug!(%side, "the echo of our writes was not heard: {failure}")
            }
            heard => heard?,
        }
    }
    Ok(())
}

/// Goes through the pages of a feed or listing. While one is worked on, the next is asked for.
fn pages(lane: &mut Lane<'_>, side: Side, ask: &Ask, first: Asked) -> Result<(), Stop> {
    let mut sighted = Sighted::default();
    let mut from = ask.beginning();
    let mut ahead = first;
    loop {
        lane.breathe()?;
        let (answer, answered) = ahead.wait();
        let page = answer.map_err(|failure| lane.stop(side, failure))?;
        check_progress(lane, side, &page, from.as_ref())?;
        if from == ask.beginning() {
            // Later pages may have been read before they were asked for.
            measure_skew(lane, side, &page, answered);
        }
        if !page.more {
            return take(lane, side, ask, &mut sighted, page);
        }
        from.clone_from(&page.next);
        ahead = ask.from(lane, side, from.clone());
        take(lane, side, ask, &mut sighted, page)?;
    }
}

/// Stages one page, and with the last one of a listing what follows from it.
fn take(lane: &mut Lane<'_>, side: Side, ask: &Ask, sighted: &mut Sighted, page: Page) -> Result<(), Stop> {
    let known = known_of(lane, side, &page)?;
    let mut arrived = Vec::new();
    let mut removals = Vec::new();
    let mut learnt = Vec::new();
    for (change, known) in page.changes.into_iter().zip(known) {
        match change {
            Change { record: Some(record), .. } => {
                sighted.note(&known);
                lane.answers[side].set(true);
                let is_news = match ask {
                    Ask::Feed(_) => !is_set_aside(&record, &known),
                    Ask::Echo(_) if is_as_known(&record, &known) => match (&known, &record.incarnation) {
                        // A side may tell who a record is only now.
                        (Known { link: Some((link, _)), incarnation: None, .. }, Some(now)) => {
                            learnt.push(LinkChange::Incarnation(*link, side, now.clone()));
                            false
                        }
                        (known, now) => now.is_some() && known.incarnation != *now,
                    },
                    Ask::Echo(_) => true,
                    Ask::List(_) => !is_as_known(&record, &known),
                };
                if is_news {
                    arrived.push((record, known));
                }
            }
            Change { removed: Some(Removed { at, reason }), .. } => removals.push((at, reason)),
            Change { record: None, removed: None } => {}
        }
    }
    match ask {
        Ask::List(request) if request.detail == ListDetail::Ids => arrived = read(lane, side, arrived)?,
        Ask::Echo(_) => {
            let is_brief = |(record, _): &(Record, Known)| record.fields.is_empty() && record.conditions.is_empty();
            let brief: Vec<_> = arrived.extract_if(.., |one| is_brief(one)).collect();
            if brief.len() > lane.batch().div_ceil(4) {
                // One by one that would take too many requests; a feed from here on tells them whole.
                let text = "others have changed much meanwhile, which the next run reads";
                return Err(lane.stop(side, Failure::new(Class::Transient, text)));
            }
            arrived.extend(read(lane, side, brief)?);
            let learnt: Vec<_> = learnt.into_iter().map(|link| Settlement { link, ..Settlement::default() }).collect();
            if !learnt.is_empty() {
                lane.store.settle(&lane.lease, &lane.options.run, &learnt)?;
            }
        }
        _ => {}
    }
    let mut staged = stage_all(lane, side, arrived)?;
    staged.extend(absence::confirm(lane, side, removals)?);
    let next = page.next.as_ref();
    let same_store = match ask {
        // The end of a first listing that an earlier run has begun.
        Ask::Feed(request) if request.cursor.is_some() && !page.more && !lane.memory.listed[side] => {
            if !page.complete && lane.guards(Guard::Incomplete) {
                absence::incomplete(lane, side);
                return Ok(lane.store.stage(&lane.lease, &staged, None)?);
            }
            lane.store.stage(&lane.lease, &staged, None)?;
            return Ok(lane.store.swept(&lane.lease, side, &sighted.links, next)?);
        }
        // A feed's cursor may go along with each page. Of listings only the first may be left off and taken up again: from the
        // end of a part nobody can tell what is missing, and only then nothing can be.
        Ask::Feed(request) | Ask::Echo(request) if request.cursor.is_some() || page.more => {
            let next = next.filter(|_| request.cursor.is_some() || !lane.memory.listed[side]);
            return Ok(lane.store.stage(&lane.lease, &staged, next.map(|next| (side, next)))?);
        }
        Ask::Feed(_) | Ask::Echo(_) => true,
        Ask::List(request) => request.previous.is_none() || page.same_store,
    };
    lane.store.stage(&lane.lease, &staged, None)?;
    if page.more {
        return Ok(());
    }
    // Absences of a whole listing are staged before the cursor moves past it.
    let listing = absence::Listing { complete: page.complete, same_store };
    absence::conclude(lane, side, sighted, listing, next)
}

/// Ids and versions in one page of a listing.
const LIST_PAGE: u32 = 500;

/// Reads records that a listing of ids showed to be new or changed. One that is gone again is for the next run.
fn read(lane: &mut Lane<'_>, side: Side, fresh: Vec<(Record, Known)>) -> Result<Vec<(Record, Known)>, Stop> {
    let at: Vec<RecordRef> = fresh.iter().map(|(record, _)| record.at.clone()).collect();
    let found = lane.get(side, &at)?;
    Ok(found
        .into_iter()
        .zip(fresh)
        .filter_map(|(found, (_, known))| found.record.map(|record| (record, known)))
        .collect())
}

/// Records that somebody wants looked at again: decided conflicts, quarantine retries. Those that neither answer nor are gone
/// for certain are asked for again by the next run.
pub(super) fn revisit(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let mut unanswered = 0;
    loop {
        let mut wanted = lane.store.revisits(&lane.lease, unanswered, lane.batch())?;
        if wanted.is_empty() {
            return Ok(());
        }
        for side in Side::BOTH {
            let at: Vec<RecordRef> = wanted.iter().filter(|(of, _)| *of == side).map(|(_, at)| at.clone()).collect();
            if at.is_empty() {
                continue;
            }
            let known = lane.store.known(&lane.lease, side, &at)?;
            let found = lane.get(side, &at)?;
            let mut arrived = Vec::new();
            let mut removals = Vec::new();
            let mut silent = HashSet::new();
            for ((at, known), found) in at.into_iter().zip(known).zip(found) {
                let is_gone = super::calls::is_gone(&found);
                if let Some(record) = found.record {
                    arrived.push((as_told(record, Some(&known)), known));
                    continue;
                }
                silent.insert(at.clone());
                if is_gone {
                    removals.push((at, Reason::Unknown));
                }
            }
            let mut staged = stage_all(lane, side, arrived)?;
            let certain = absence::confirm(lane, side, removals)?;
            silent.retain(|at| certain.iter().all(|gone| gone.at != *at));
            staged.extend(certain);
            lane.store.stage(&lane.lease, &staged, None)?;
            unanswered += silent.len();
            wanted.retain(|(of, at)| *of != side || !silent.contains(at));
        }
        lane.store.visited(&lane.lease, &wanted)?;
        lane.unanswered = unanswered > 0;
        lane.breathe()?;
    }
}

/// Makes announcements of records; unreadable ones are set aside instead, and the others go on.
fn stage_all(lane: &mut Lane<'_>, side: Side, arrived: Vec<(Record, Known)>) -> Result<Vec<Staged>, Stop> {
    let mut staged = Vec::with_capacity(arrived.len());
    let mut aside = Vec::new();
    for (record, known) in arrived {
        lane.report.pulled[side] += 1;
        for remark in record.conditions.iter().filter(|condition| lane.spec.on(condition) == OnCondition::Report) {
            let told = lane.remarks.entry((side, remark.code.clone()));
            told.or_insert_with(|| (remark.text.clone(), 0)).1 += 1;
        }
        if let Some(kept_out) = set_aside(lane.spec, side, &record) {
            aside.push(kept_out);
        } else if known.link.is_some() && no_longer_wanted(lane, side, &record) {
            let is_gone = is_another(known.incarnation.as_ref(), &record) && lane.guards(Guard::Reused);
            staged.push(gone(side, record.at, if is_gone { Reason::Deleted } else { Reason::LeftScope }));
        } else {
            if is_another(known.incarnation.as_ref(), &record) {
                lane.displaced[side].insert(record.at.clone());
            }
            staged.push(announce(lane, side, record, known.link.is_none(), false));
        }
    }
    lane.observer.progress(lane.report.pulled[side], 0);
    if !aside.is_empty() {
        lane.quarantine(aside)?;
    }
    Ok(staged)
}

/// Whether a record is another one than that which bore its id before.
pub(super) fn is_another(then: Option<&String>, record: &Record) -> bool {
    then.zip(record.incarnation.as_ref()).is_some_and(|(then, now)| then != now)
}

/// The same, of the record that bears the id of a link's end.
pub(super) fn is_displaced(link: &Link, side: Side, record: &Record) -> bool {
    is_another(link.ends[side].as_ref().and_then(|end| end.incarnation.as_ref()), record)
}

/// A linked record that no longer satisfies the stream's `follow` has left the scope, which is no deletion.
pub(super) fn no_longer_wanted(lane: &Lane<'_>, side: Side, record: &Record) -> bool {
    let tests = &lane.filters.follow[side];
    if tests.is_empty() {
        return false;
    }
    let values = lane.map.translate_in(side, record).unwrap_or_default();
    filter::refuses(tests, record, &values, lane.started).is_some()
}

/// Measures how far the server's clock is off; times of its records are corrected by it.
fn measure_skew(lane: &mut Lane<'_>, side: Side, page: &Page, answered: Millis) {
    let Some(server) = page.server_time else { return };
    let skew = server - answered;
    let warned = lane.skew[side].abs() > lane.spec.conflict.max_skew_ms;
    lane.skew[side] = skew;
    if !warned && skew.abs() > lane.spec.conflict.max_skew_ms {
        lane.report.notes.push(format!(
            "connection `{}` ({side}): the server's clock is {} s {}; times are corrected by it, but set the clock right",
            lane.spec.connections[side],
            skew.abs() / 1000,
            if skew > 0 { "ahead" } else { "behind" }
        ));
    }
}

impl Lane<'_> {
    /// Records in one page. Where a side bears several calls at a time, one call reads as many: it knows what to ask for next
    /// while it reads.
    fn page(&self, side: Side) -> u32 {
        self.spec.batch.saturating_mul(u32::try_from(self.calls_at_once(side)).unwrap_or(1))
    }

    /// Whether the answers to our writes settle all that there is to know of what we wrote. What a record does not carry of an
    /// open family counts as empty, so that only a read of the whole record does.
    fn knows_own_writes(&self) -> bool {
        Side::BOTH.into_iter().all(|side| self.map.natives(side).is_some())
    }

    /// Sets records aside and tells so.
    pub(super) fn quarantine(&mut self, aside: Vec<Aside>) -> Result<(), Stop> {
        for aside in &aside {
            self.tell_aside(aside);
        }
        let batch = [Settlement { aside, ..Settlement::default() }];
        Ok(self.store.settle(&self.lease, &self.options.run, &batch)?)
    }
}

/// An announcement of a record that is there, with its match keys if it has no link.
pub(super) fn announce(lane: &Lane<'_>, side: Side, record: Record, unlinked: bool, candidate: bool) -> Staged {
    let keys = match &lane.spec.matching {
        Matching::Keys(policy) if unlinked => lane
            .keys
            .translate_in(side, &record)
            .map(|values| match_keys(policy, &values, record.uid.as_deref()))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    Staged {
        side,
        at: record.at.clone(),
        version: record.version.clone(),
        news: News::Here(Box::new(record)),
        keys,
        candidate,
    }
}

/// An announcement of a record that is gone.
pub(super) fn gone(side: Side, at: RecordRef, reason: Reason) -> Staged {
    Staged { side, at, version: None, news: News::Gone(reason), keys: Vec::new(), candidate: false }
}

/// A record that a condition keeps out, as it is set aside; `None` for one that takes part.
pub(super) fn set_aside(spec: &LaneSpec, side: Side, record: &Record) -> Option<Aside> {
    record.conditions.iter().find_map(|condition| {
        let kind = match spec.on(condition) {
            OnCondition::Skip => AsideKind::Refused,
            // What is wrong with a part of it keeps the record out only where the stream says so.
            OnCondition::Fail if condition.level == Level::Record || spec.conditions.contains_key(&condition.code) => {
                AsideKind::Quarantined
            }
            _ => return None,
        };
        Some(Aside { kind, ..quarantined(side, record, &condition.code, &condition.text) })
    })
}

/// A record that cannot take part, as it is set aside.
pub(super) fn quarantined(side: Side, record: &Record, code: &str, text: &str) -> Aside {
    Aside::of(side, record.at.clone(), record.version.clone(), code, text)
}

/// Whether the record is as it was when we last settled it, set it aside or staged it.
fn is_as_known(record: &Record, known: &Known) -> bool {
    let Some(version) = &record.version else { return false };
    let same = |known: &Option<String>| known.as_ref() == Some(version);
    known.inbox.as_ref().map_or_else(
        || {
            known.link.as_ref().is_some_and(|(_, known)| same(known))
                || known.aside.as_ref().is_some_and(|(_, known)| same(known))
        },
        |(_, known)| same(known),
    )
}

/// Whether it was set aside just as it is. A feed that tells it again tells nothing new.
fn is_set_aside(record: &Record, known: &Known) -> bool {
    let of = |aside: &(_, Option<String>)| aside.1.is_some() && aside.1 == record.version;
    known.aside.as_ref().is_some_and(of)
}

/// What the store knows of each line of a page, in order.
fn known_of(lane: &mut Lane<'_>, side: Side, page: &Page) -> Result<Vec<Known>, Stop> {
    let at: Vec<RecordRef> = page
        .changes
        .iter()
        .map(|change| match (&change.record, &change.removed) {
            (Some(record), _) => record.at.clone(),
            (None, Some(removed)) => removed.at.clone(),
            (None, None) => RecordRef::default(),
        })
        .collect();
    let mut places: HashMap<&RecordRef, ()> = HashMap::with_capacity(at.len());
    if let Some(twice) = at.iter().find(|at| places.insert(at, ()).is_some()) {
        return Err(lane.contract(side, format!("`{}` stands twice in one page", twice.id)));
    }
    Ok(lane.store.known(&lane.lease, side, &at)?)
}

/// A page that leads to itself would be read for ever.
fn check_progress(lane: &Lane<'_>, side: Side, page: &Page, asked: Option<&Cursor>) -> Result<(), Stop> {
    if page.more && (page.next.is_none() || page.next.as_ref() == asked) {
        return Err(lane.contract(side, "a page says that there is more, but leads nowhere".to_owned()));
    }
    Ok(())
}
