//! What both sides tell about a case: announcements with their values, and fresh reads where older knowledge will not do.

use std::collections::HashMap;

use pairwise_plugin_api::{Fields, Found, Name, Reason, Record, RecordRef};

use super::absence::{gone_for_certain, gone_twice};
use super::calls::is_gone;
use super::membership;
use super::pull::{announce, gone as announced_gone, is_displaced, no_longer_wanted, quarantined, set_aside};
use super::reconcile::{Seen, Told};
use super::removal::is_echo;
use super::{Lane, Stop};
use crate::model::{
    Announced, Aside, Conflict, Guard, InboxId, Known, Link, LinkId, LinkState, News, Settlement, Side, Sides, Staged,
    Work,
};

/// A row of the inbox whose content was taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: InboxId,
    pub(super) at: RecordRef,
    pub(super) attempts: u32,
    pub(super) released: bool,
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

    /// Whether another record bears the linked id now.
    pub(super) fn is_displaced(&self, side: Side) -> bool {
        match (&self.link, &self.told[side]) {
            (Some(link), Told::Here(seen)) => is_displaced(link, side, &seen.record),
            _ => false,
        }
    }

    /// Whether the linked record is gone: by what is told, or because another one bears its id.
    pub(super) fn is_gone(&self, side: Side) -> bool {
        matches!(self.told[side], Told::Gone(_)) || self.is_displaced(side)
    }

    /// The same, and not merely out of what is kept in step.
    fn is_gone_for_good(&self, side: Side) -> bool {
        self.is_gone(side) && self.told[side] != Told::Gone(Reason::LeftScope)
    }

    /// Whether it was told that the linked record is gone, and no person had to say so.
    fn is_certainly_gone(&self, side: Side) -> bool {
        let released = self.rows[side].as_ref().is_some_and(|row| row.released);
        matches!(self.told[side], Told::Gone(_)) && !released
    }

    /// Whether a side tells just this version of its record.
    fn tells(&self, side: Side, record: &Record) -> bool {
        let Told::Here(seen) = &self.told[side] else { return false };
        record.version.is_some() && record.version == seen.record.version
    }

    /// Lets go of what a side's record holds.
    pub(super) fn forget_fields(&mut self, side: Side) {
        if let Told::Here(seen) = &mut self.told[side] {
            (seen.record.fields, seen.values) = (Fields::new(), Fields::new());
        }
    }
}

/// What both sides tell: the announcements, and fresh reads where a decision must not rest on older knowledge. What cannot be
/// looked at now is settled otherwise.
pub(super) fn look(
    lane: &mut Lane<'_>,
    page: Vec<Work>,
    settlements: &mut Vec<Settlement>,
) -> Result<Vec<Looked>, Stop> {
    let mut all = Vec::with_capacity(page.len());
    for work in page {
        if let Some(parted) = parted(lane, &work) {
            settlements.push(parted);
            lane.again = true;
            continue;
        }
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

/// A linked record that a write has met, or that was looked at for another reason, may be one that the stream's filter keeps out
/// by now: that is announced like any other leaving.
fn parted(lane: &Lane<'_>, work: &Work) -> Option<Settlement> {
    let link = work.link.as_ref()?;
    let left = |announced: &Announced| match &announced.news {
        News::Here(record) => left_filter(lane, link, announced.side, record),
        News::Gone(_) => None,
    };
    let left = work.news.iter().find_map(|(_, announced)| left(announced.as_ref()?))?;
    Some(Settlement { announce: vec![left], ..Settlement::default() })
}

fn left_filter(lane: &Lane<'_>, link: &Link, side: Side, record: &Record) -> Option<Staged> {
    let left = !is_displaced(link, side, record) && no_longer_wanted(lane, side, record);
    left.then(|| announced_gone(side, record.at.clone(), Reason::LeftScope))
}

/// What a fresh read has found that must be announced first, so that it is counted like any other before anything is deleted
/// for it: a linked record that has left, and another one that bears its id.
fn uncounted(lane: &Lane<'_>, looked: &Looked, side: Side, record: &Record) -> Option<Staged> {
    let link = looked.link.as_ref()?;
    let is_new = is_displaced(link, side, record) && !looked.is_displaced(side);
    let other =
        || (is_new && lane.guards(Guard::Displaced)).then(|| announce(lane, side, record.clone(), false, false));
    left_filter(lane, link, side, record).or_else(other)
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
        // A write may have met a record that cannot take part.
        if let News::Here(record) = &announced.news
            && let Some(aside) = set_aside(lane.spec, side, record)
            && lane.guards(Guard::Unreadable)
        {
            return Err(Box::new(aside));
        }
        looked.told[side] = match announced.news {
            News::Gone(reason) => Told::Gone(reason),
            News::Here(record) => match lane.map.translate_in(side, &record) {
                Ok(values) => Told::Here(Box::new(Seen { record: *record, values })),
                Err(problem) => {
                    return Err(Box::new(quarantined(side, &record, "untranslatable", &problem.to_string())));
                }
            },
        };
        if looked.link.as_ref().is_some_and(|link| is_echo(link, side, &looked.told[side])) {
            looked.told[side] = Told::Nothing;
        }
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
    let mut doubtful = not_as_settled(lane, side, all)?;
    let mut places = Vec::new();
    let mut at = Vec::new();
    for (place, looked) in all.iter().enumerate() {
        let Some(end) = looked.link.as_ref().and_then(|link| link.ends[side].as_ref()) else { continue };
        let dormant = looked.link.as_ref().filter(|link| link.state == LinkState::Dormant);
        let joined = matches!(looked.told[side.other()], Told::Here(_))
            && dormant.is_some_and(|link| membership::joins_again(lane.spec, link, side));
        if dormant.is_some() && end.version.is_none() && !joined {
            // It left. That it still answers does not mean that it returned.
            continue;
        }
        // What was edited here while the link slept was not taken note of.
        let wakes =
            dormant.is_some_and(|link| link.ends[side.other()].as_ref().is_none_or(|end| end.version.is_none()));
        let unsettled =
            looked.link.as_ref().is_some_and(|link| is_unsettled(lane, link, side, &looked.told[side.other()]));
        let released = looked.rows[side].as_ref().is_some_and(|row| row.released);
        // What an earlier run staged may be old by now.
        let old = looked.rows[side].as_ref().is_some_and(|row| row.id <= lane.memory.newest_inbox);
        let wanted = match (&looked.told[side], &looked.told[side.other()]) {
            (Told::Nothing, _) if looked.is_gone(side.other()) => lane.guards(Guard::FreshRead),
            (Told::Nothing, Told::Here(_)) => {
                wakes
                    || unsettled && lane.guards(Guard::Unsettled)
                    || cautious && lane.spec.writes_to(side)
                    || doubtful.contains_key(&end.at)
            }
            // One that has left answers nevertheless.
            (Told::Gone(Reason::LeftScope), _) => false,
            // What was missed, and not counted before that run was over, may have returned.
            (Told::Gone(_), _) => released || old && lane.guards(Guard::FreshRead),
            (Told::Here(_), _) => old && cautious && lane.spec.writes_to(side),
            _ => false,
        };
        if wanted {
            places.push(place);
            at.push(end.at.clone());
        }
    }
    let found = lane.get(side, &at)?;
    let mut found: Vec<(usize, RecordRef, Found)> =
        places.into_iter().zip(at).zip(found).map(|((place, at), found)| (place, at, found)).collect();
    // What was certain when it was told stays so, unless the record answers.
    found.retain(|(place, _, found)| found.record.is_some() || !all[*place].is_certainly_gone(side));
    let link_of = |place: usize| all[place].link.as_ref().map(|link| link.id);
    let gone = found.iter().filter(|(_, _, found)| is_gone(found));
    let (both, alone): (Vec<usize>, Vec<usize>) =
        gone.map(|(place, ..)| *place).partition(|place| all[*place].is_gone_for_good(side.other()));
    let links = |places: Vec<usize>| places.into_iter().filter_map(link_of).collect::<Vec<LinkId>>();
    let (both, alone) = (links(both), links(alone));
    let gone = gone_for_certain(lane, side, &alone)?;
    let gone_on_both = gone_twice(lane, side, &both)?;
    let mut waiting = Vec::new();
    for (place, at, found) in found {
        let link = all[place].link.as_ref().map(|link| link.id).filter(|_| is_gone(&found));
        let is_told = matches!(all[place].told[side], Told::Gone(_));
        if link.is_some_and(|link| gone_on_both.contains(&link) || is_told && gone.contains(&link)) {
            all[place].told[side] = Told::Gone(Reason::Deleted);
        } else if link.is_some_and(|link| gone.contains(&link)) {
            // It is announced like any other removal, so that it is counted before anything is deleted for it.
            settlements.push(Settlement {
                announce: vec![announced_gone(side, at, Reason::Deleted)],
                ..Settlement::default()
            });
            lane.again = true;
            waiting.push(place);
        } else if let Some(uncounted) =
            found.record.as_ref().and_then(|record| uncounted(lane, &all[place], side, record))
        {
            settlements.push(Settlement { announce: vec![uncounted], ..Settlement::default() });
            lane.again = true;
            waiting.push(place);
        } else if let Some(seen) = found
            .record
            .filter(|record| set_aside(lane.spec, side, record).is_none() || !lane.guards(Guard::Unreadable))
            .and_then(|record| lane.seen(side, as_told(record, doubtful.remove(&at).as_ref())))
        {
            // What was told of the same version may know better when it changed: a write of ours is later, but nobody's edit.
            if !all[place].tells(side, &seen.record) {
                all[place].told[side] = Told::Here(seen);
            }
        } else {
            // It does not answer now, or cannot be read: nothing may be concluded, so it waits.
            settlements.push(Settlement { deferred: all[place].ids(), ..Settlement::default() });
            waiting.push(place);
        }
    }
    for place in waiting.into_iter().rev() {
        all.remove(place);
    }
    Ok(())
}

/// Of the linked records of a side that tell nothing, those that may not be as their shadows say: what the ones that are set
/// aside told last was not carried over, and the ones that did not answer when they were to be read again hold what nobody
/// knows, in a row that was out of the map for a while.
fn not_as_settled(lane: &mut Lane<'_>, side: Side, all: &[Looked]) -> Result<HashMap<RecordRef, Known>, Stop> {
    let unanswered = lane.unanswered && lane.guards(Guard::Unsettled);
    if !lane.may_have_asides() && !unanswered {
        return Ok(HashMap::new());
    }
    let silent = all.iter().filter(|looked| matches!(looked.told[side], Told::Nothing));
    let at: Vec<RecordRef> =
        silent.filter_map(|looked| Some(looked.link.as_ref()?.ends[side].as_ref()?.at.clone())).collect();
    let known = lane.store.known(&lane.lease, side, &at)?;
    Ok(at.into_iter().zip(known).filter(|(_, known)| known.aside.is_some() || unanswered && known.revisit).collect())
}

/// A record that still is as it was set aside may have got its time by a write of ours, which is later, but nobody's edit.
pub(super) fn as_told(record: Record, known: Option<&Known>) -> Record {
    let Some((known, (_, version))) = known.and_then(|known| Some((known, known.aside.as_ref()?))) else {
        return record;
    };
    let is_same = version.is_some() && *version == record.version;
    Record { modified: known.aside_modified.filter(|_| is_same).or(record.modified), ..record }
}

/// Of rows that were never settled, nothing is known but what is told: what one side tells decides nothing alone.
fn is_unsettled(lane: &Lane<'_>, link: &Link, side: Side, other: &Told) -> bool {
    let Told::Here(seen) = other else { return false };
    let alone = |path: &Name| {
        let row = lane.map.row(path).filter(|row| !row.is_family() && link.shadows[side].get(path).is_none());
        // What cannot be written to a side has never been settled with it.
        row.is_some_and(|row| row.writable[side] || link.shadows[side.other()].get(path).is_none())
    };
    link.shadows[side].is_empty() || seen.values.iter().any(|(path, _)| alone(path))
}

impl Lane<'_> {
    /// A record with its values, unless it cannot be read.
    pub(super) fn seen(&self, side: Side, record: Record) -> Option<Box<Seen>> {
        let values = self.map.translate_in(side, &record).ok()?;
        Some(Box::new(Seen { record, values }))
    }
}
