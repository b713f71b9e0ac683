//! Finds out what became of writes whose outcome was never learnt, before anything new is written to their links.
//!
//! Window of danger: between the remote's effect and our settlement. An intent covers it from both sides, because it was
//! durable before the call. Here the remote is asked, not guessed.

use pairwise_plugin_api::ops::{FindRequest, Scope};
use pairwise_plugin_api::{Action, Class, CreateKey, Outcome, Record, RecordRef, Status, Write};

use super::calls::is_gone;
use super::commit::Part;
use super::pull::{announce, gone};
use super::{Lane, Stop};
use crate::model::value::same;
use crate::model::{Intent, LinkChange, Settlement, Stage};

pub(super) fn recover(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let open = lane.store.open_intents(&lane.lease)?;
    if open.is_empty() {
        return Ok(());
    }
    lane.observer.stage(Stage::Recover);
    lane.blocked.clear();
    for mut intent in open {
        lane.breathe()?;
        let sent = Record { fields: intent.write.fields.clone(), ..Record::default() };
        intent.asked = lane.map.translate_in(intent.side, &sent).unwrap_or_default();
        match settle(lane, &intent)? {
            Some(mut settlement) => {
                settlement.closed.push(intent.id);
                if lane.open.remove(&intent.id) {
                    let counts = lane.report.side(intent.side);
                    counts.failed = counts.failed.saturating_sub(1);
                }
                lane.store.settle(&lane.lease, &lane.options.run, &[settlement])?;
            }
            None => {
                lane.blocked.insert(intent.link.id);
            }
        }
    }
    Ok(())
}

/// The settlement of one intent, or `None` if the remote does not tell now.
fn settle(lane: &mut Lane<'_>, intent: &Intent) -> Result<Option<Settlement>, Stop> {
    match intent.write.action {
        Action::Create => created(lane, intent),
        Action::Update => updated(lane, intent),
        _ => removed(lane, intent),
    }
}

/// Was it created? Where the remote takes keys, sending the same create again answers that by itself.
fn created(lane: &mut Lane<'_>, intent: &Intent) -> Result<Option<Settlement>, Stop> {
    let side = intent.side;
    let found = match lane.abilities[side].create_key {
        CreateKey::Takes => None,
        CreateKey::Searchable => match by_key(lane, intent)? {
            Some(found) => found,
            None => return Ok(None),
        },
        CreateKey::None => match by_nature(lane, intent)? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    if let Some(record) = &found
        && !joined(lane, intent, record)?
    {
        return Ok(None);
    }
    let outcome = match found {
        Some(record) => Outcome { record: Some(record), ..Outcome::of(Status::Exists) },
        None => match lane.write(side, vec![intent.write.clone()]) {
            Ok(mut outcomes) => outcomes.pop().unwrap_or_default(),
            Err((Status::Unknown, stop)) if !stop.ends_run() => return Ok(None),
            Err((_, stop)) => return Err(stop),
        },
    };
    lane.adopt_created(intent, outcome)
}

/// `None`: the remote does not answer. `Some(None)`: there is none.
fn by_key(lane: &mut Lane<'_>, intent: &Intent) -> Result<Option<Option<Record>>, Stop> {
    let request = FindRequest {
        principal: lane.spec.principals[intent.side].clone(),
        entity: intent.write.at.entity.clone(),
        values: vec![intent.write.key.clone()],
        case_sensitive: true,
        ..FindRequest::default()
    };
    match lane.call(intent.side, |remote| remote.find(&request)) {
        Ok(found) => Ok(Some(found.into_iter().flatten().next())),
        Err(failure) if failure.class == Class::Transient => Ok(None),
        Err(failure) => Err(lane.stop(intent.side, failure)),
    }
}

/// Where belonging to the scope is a relation, a record may have been made and its joining lost. False if that is not known
/// now, either.
fn joined(lane: &Lane<'_>, intent: &Intent, record: &Record) -> Result<bool, Stop> {
    let side = intent.side;
    if !lane.abilities[side].membership || lane.spec.scope[side].is_empty() {
        return Ok(true);
    }
    let write = Write { action: Action::Include, at: record.at.clone(), key: lane.chance.id(), ..Write::default() };
    match lane.write(side, vec![write]) {
        Ok(outcomes) => Ok(outcomes.first().is_some_and(|outcome| outcome.status == Status::Applied)),
        Err((_, stop)) if stop.ends_run() => Err(stop),
        Err(_) => Ok(false),
    }
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
        ..FindRequest::default()
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

/// Rows that hold what we asked for are settled; the record is announced, and everything else is decided afresh.
fn updated(lane: &mut Lane<'_>, intent: &Intent) -> Result<Option<Settlement>, Stop> {
    let side = intent.side;
    let at = intent.write.at.clone();
    let Some(found) = lane.get(side, std::slice::from_ref(&at))?.pop() else { return Ok(None) };
    if is_gone(&found) {
        return Ok(Some(Settlement {
            announce: vec![gone(side, at, pairwise_plugin_api::Reason::Deleted)],
            ..Settlement::default()
        }));
    }
    let Some(record) = found.record else { return Ok(None) };
    let mut link = intent.link.clone();
    let values = lane.map.translate_in(side, &record).unwrap_or_default();
    for (path, asked) in intent.asked.iter() {
        let Some((row, value)) = lane.map.row(path).zip(values.get(path)) else { continue };
        if same(row.compare, value, asked) {
            link.shadows[side].set(path.clone(), value.clone());
            link.shadows[side.other()].set(path.clone(), asked.clone());
        }
    }
    if lane.holds_what_we_asked(intent, &record) {
        lane.report.side(side).updated += 1;
    }
    let announce = vec![announce(lane, side, record, false, false)];
    Ok(Some(Settlement { link: LinkChange::Put(Box::new(link)), announce, ..Settlement::default() }))
}

/// A record that is still there was not removed; the removal is decided again from its announcement.
fn removed(lane: &mut Lane<'_>, intent: &Intent) -> Result<Option<Settlement>, Stop> {
    let at = intent.write.at.clone();
    let Some(found) = lane.get(intent.side, std::slice::from_ref(&at))?.pop() else { return Ok(None) };
    if is_gone(&found) {
        lane.report.side(intent.side).deleted += 1;
        return Ok(Some(Settlement { link: LinkChange::Retire(intent.link.id), ..Settlement::default() }));
    }
    Ok(found.record.is_some().then(Settlement::default))
}

impl Lane<'_> {
    /// What the repeated or found create means for its link. Announcements stay: they are compared with the new shadows.
    fn adopt_created(&mut self, intent: &Intent, outcome: Outcome) -> Result<Option<Settlement>, Stop> {
        let mut settlement = Settlement::default();
        let mut link = intent.link.clone();
        let mut intent = intent.clone();
        match outcome.status {
            Status::Applied => {
                self.settle_write(&mut intent, &outcome, &mut link);
                self.report.side(intent.side).created += 1;
            }
            Status::Exists => {
                if self.settle_existing(&mut intent, outcome, &mut link, &mut settlement)? == Part::Done {
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
