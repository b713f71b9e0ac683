//! Reads what changed on one side and stages it in the inbox, page by page; the cursor goes with the last of it.
//!
//! A side with a feed tells its changes. A side without one is listed: ids and versions first, and only records whose version
//! is not the one we know are read. Both ways end in the same announcements.

use std::collections::HashMap;
use std::thread;

use pairwise_plugin_api::ops::{ChangesRequest, ListDetail, ListRequest};
use pairwise_plugin_api::{Change, Class, Cursor, Failure, Page, Reason, Record, RecordRef, Removed, Severity};

use super::absence::{self, Sighted};
use super::calls::Ahead;
use super::keys::match_keys;
use super::{Lane, Stop, filter};
use crate::model::{Aside, AsideKind, Known, Matching, News, Remote, Scan, Settlement, Side, Staged};

/// Pulls one side.
pub(super) fn pull(lane: &mut Lane<'_>, side: Side) -> Result<(), Stop> {
    let ability = &lane.abilities[side];
    let cursor = lane.memory.cursors[side].clone();
    let sweep_due = lane.spec.sweep_every > 0 && lane.memory.since_sweep[side] + 1 >= lane.spec.sweep_every;
    let whole = lane.options.full || lane.spec.scan[side] == Scan::Full;
    if !ability.feed {
        return list(lane, side, cursor);
    }
    if whole || sweep_due || cursor.is_none() {
        // From the beginning: a feed without a cursor tells everything that is there, and is a listing, too.
        return feed(lane, side, None);
    }
    match feed(lane, side, cursor) {
        Err(Stop::Remote { failure, .. }) if failure.class == Class::CursorExpired => {
            lane.report.notes.push(format!(
                "connection `{}` ({side}): the server no longer knows how far it was read; everything was listed again",
                lane.spec.connections[side]
            ));
            feed(lane, side, None)
        }
        done => done,
    }
}

fn feed(lane: &mut Lane<'_>, side: Side, since: Option<Cursor>) -> Result<(), Stop> {
    let whole = since.is_none();
    let mut sighted = Sighted::default();
    let request = ChangesRequest {
        principal: lane.spec.principals[side].clone(),
        scope: lane.spec.scope[side].clone(),
        entities: lane.spec.entities[side].clone(),
        cursor: since,
        limit: lane.spec.batch,
        fields: Vec::new(),
    };
    let ask = |cursor: Option<Cursor>| ChangesRequest { cursor, ..request.clone() };
    pages(
        lane,
        side,
        ask,
        |remote, request| remote.changes(request),
        request.cursor.clone(),
        |lane, page, known| {
            let mut arrived = Vec::new();
            let mut removals = Vec::new();
            for (change, known) in page.changes.into_iter().zip(known) {
                match change {
                    Change { record: Some(record), .. } => {
                        sighted.note(&known);
                        arrived.push((record, known));
                    }
                    Change { removed: Some(Removed { at, reason }), .. } => removals.push((at, reason)),
                    Change { record: None, removed: None } => {}
                }
            }
            let mut staged = stage_all(lane, side, arrived)?;
            staged.extend(absence::confirm(lane, side, removals)?);
            let next = page.next.as_ref();
            if whole && !page.more {
                // Absences of a whole listing are staged before the cursor moves past it.
                lane.store.stage(&lane.lease, &staged, None)?;
                let listing = absence::Listing { complete: page.complete, same_store: true };
                return absence::conclude(lane, side, &sighted, listing, next);
            }
            Ok(lane.store.stage(&lane.lease, &staged, next.map(|next| (side, next)))?)
        },
    )
}

fn list(lane: &mut Lane<'_>, side: Side, previous: Option<Cursor>) -> Result<(), Stop> {
    // The first listing needs every record anyway.
    let first = previous.is_none();
    let whole = first || lane.spec.scan[side] == Scan::Full;
    let mut sighted = Sighted::default();
    let request = ListRequest {
        principal: lane.spec.principals[side].clone(),
        scope: lane.spec.scope[side].clone(),
        entities: lane.spec.entities[side].clone(),
        previous,
        limit: if whole { lane.spec.batch } else { LIST_PAGE },
        detail: if whole { ListDetail::Full } else { ListDetail::Ids },
        ..ListRequest::default()
    };
    let ask = |page: Option<Cursor>| ListRequest { page, ..request.clone() };
    pages(
        lane,
        side,
        ask,
        |remote, request| remote.list(request),
        None,
        |lane, page, known| {
            let mut fresh = Vec::new();
            for (change, known) in page.changes.into_iter().zip(known) {
                let Some(record) = change.record else { continue };
                sighted.note(&known);
                if !is_as_known(&record, &known) {
                    fresh.push((record, known));
                }
            }
            let arrived = if whole { fresh } else { read(lane, side, fresh)? };
            let staged = stage_all(lane, side, arrived)?;
            lane.store.stage(&lane.lease, &staged, None)?;
            if page.more {
                return Ok(());
            }
            let listing = absence::Listing { complete: page.complete, same_store: first || page.same_store };
            absence::conclude(lane, side, &sighted, listing, page.next.as_ref())
        },
    )
}

/// Goes through the pages of a feed or listing. While one is worked on, the next is asked for.
fn pages<R: Send>(
    lane: &mut Lane<'_>,
    side: Side,
    ask: impl Fn(Option<Cursor>) -> R,
    call: impl Fn(&dyn Remote, &R) -> Result<Page, Failure> + Copy + Send + Sync,
    start: Option<Cursor>,
    mut each: impl FnMut(&mut Lane<'_>, Page, Vec<Known>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let caller = lane.caller();
    let overlap = lane.options.overlap;
    thread::scope(|scope| {
        let fetch = |from: Option<Cursor>| {
            let request = ask(from);
            Ahead::start(scope, overlap, move || caller.call(side, |remote| call(remote, &request)))
        };
        let mut from = start;
        let mut ahead = fetch(from.clone());
        loop {
            lane.breathe()?;
            let page = ahead.wait().map_err(|failure| lane.stop(side, failure))?;
            check_progress(lane, side, &page, from.as_ref())?;
            measure_skew(lane, side, &page);
            if !page.more {
                let known = known_of(lane, side, &page)?;
                return each(lane, page, known);
            }
            from.clone_from(&page.next);
            ahead = fetch(from.clone());
            let known = known_of(lane, side, &page)?;
            each(lane, page, known)?;
        }
    })
}

/// Ids and versions in one page of a listing.
const LIST_PAGE: u32 = 5_000;

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

/// Records that somebody wants looked at again: decided conflicts, quarantine retries.
pub(super) fn revisit(lane: &mut Lane<'_>) -> Result<(), Stop> {
    loop {
        let wanted = lane.store.revisits(&lane.lease, lane.batch())?;
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
            let mut staged = Vec::new();
            for ((at, known), found) in at.into_iter().zip(known).zip(found) {
                if super::calls::is_gone(&found) {
                    staged.push(gone(side, at, Reason::Deleted));
                } else if let Some(record) = found.record {
                    arrived.push((record, known));
                }
            }
            staged.extend(stage_all(lane, side, arrived)?);
            lane.store.stage(&lane.lease, &staged, None)?;
        }
        lane.store.visited(&lane.lease, &wanted)?;
        lane.breathe()?;
    }
}

/// Makes announcements of records; unreadable ones are set aside instead, and the others go on.
fn stage_all(lane: &mut Lane<'_>, side: Side, arrived: Vec<(Record, Known)>) -> Result<Vec<Staged>, Stop> {
    let mut staged = Vec::with_capacity(arrived.len());
    let mut aside = Vec::new();
    for (record, known) in arrived {
        lane.report.pulled[side] += 1;
        if let Some((code, text)) = problem(&record) {
            aside.push(quarantined(side, &record, code, text));
        } else if known.link.is_some() && no_longer_wanted(lane, side, &record) {
            staged.push(gone(side, record.at, Reason::LeftScope));
        } else {
            if matches!((&known.incarnation, &record.incarnation), (Some(then), Some(now)) if then != now) {
                lane.displaced[side].push(record.at.clone());
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

/// A linked record that no longer satisfies the stream's `follow` has left the scope, which is no deletion.
fn no_longer_wanted(lane: &Lane<'_>, side: Side, record: &Record) -> bool {
    let tests = &lane.filters.follow[side];
    if tests.is_empty() {
        return false;
    }
    let values = lane.map.translate_in(side, record).unwrap_or_default();
    filter::refuses(tests, record, &values, lane.started).is_some()
}

/// Measures how far the server's clock is off; times of its records are corrected by it.
fn measure_skew(lane: &mut Lane<'_>, side: Side, page: &Page) {
    let Some(server) = page.server_time else { return };
    let skew = server - lane.chance.now();
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

/// A condition that keeps the whole record out.
fn problem(record: &Record) -> Option<(&str, &str)> {
    record
        .conditions
        .iter()
        .find(|condition| {
            condition.level == pairwise_plugin_api::Level::Record && condition.severity == Severity::Error
        })
        .map(|condition| (condition.code.as_str(), condition.text.as_str()))
}

fn quarantined(side: Side, record: &Record, code: &str, text: &str) -> Aside {
    Aside {
        side,
        at: record.at.clone(),
        version: record.version.clone(),
        label: record.at.id.clone(),
        kind: AsideKind::Quarantined,
        code: code.to_owned(),
        text: text.to_owned(),
    }
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
