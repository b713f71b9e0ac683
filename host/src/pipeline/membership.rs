//! Joins records to the list or group of their scope: those that were linked from outside of it, and those whose counterpart
//! returned. To join twice is harmless, so that no intent is needed: what is not known to be done is done again.

use std::collections::HashSet;

use pairwise_plugin_api::{Action, RecordRef, Status, Write};

use super::{Lane, Stop};
use crate::model::{Aside, InboxId, Item, LaneSpec, Link, LinkState, News, Op, Settlement, Side, Work};

/// Somebody who is to join.
struct Joining {
    /// The work that waits for it.
    row: InboxId,
    at: RecordRef,
    other: RecordRef,
}

/// Joins whoever a page asks for. Answers the rows of those that could not be joined: nothing is done with them in this run.
pub(super) fn join(lane: &mut Lane<'_>, page: &[Work]) -> Result<HashSet<InboxId>, Stop> {
    let mut outside = HashSet::new();
    for side in Side::BOTH.into_iter().filter(|side| lane.spec.join[*side] && lane.spec.writes_to(*side)) {
        let joining: Vec<Joining> = page.iter().filter_map(|work| wanted(side, work)).collect();
        for chunk in joining.chunks(lane.largest_call(side)) {
            outside.extend(send(lane, side, chunk)?);
        }
    }
    Ok(outside)
}

/// The record that must join before the work can be done.
fn wanted(side: Side, work: &Work) -> Option<Joining> {
    let there = |side: Side| work.news[side].as_ref().filter(|told| matches!(told.news, News::Here(_)));
    let other = there(side.other())?;
    let at = match &work.link {
        // A candidate was found outside of the scope: who is in it is announced.
        None => there(side).filter(|told| told.candidate)?.at.clone(),
        Some(link) => {
            let joins = there(side).is_none() && left_both(link);
            link.ends[side].as_ref().filter(|_| joins)?.at.clone()
        }
    };
    Some(Joining { row: work.row, at, other: other.at.clone() })
}

/// Whether a record that left joins again as soon as its counterpart, which left too, is there.
pub(super) fn joins_again(spec: &LaneSpec, link: &Link, side: Side) -> bool {
    spec.join[side] && spec.writes_to(side) && left_both(link)
}

fn left_both(link: &Link) -> bool {
    let left = |side: Side| link.ends[side].as_ref().is_some_and(|end| end.version.is_none());
    link.state == LinkState::Dormant && Side::BOTH.into_iter().all(left)
}

fn send(lane: &mut Lane<'_>, side: Side, joining: &[Joining]) -> Result<Vec<InboxId>, Stop> {
    let write = |joining: &Joining| Write {
        action: Action::Include,
        at: joining.at.clone(),
        key: lane.chance.id(),
        ..Write::default()
    };
    let outcomes = match lane.write(side, joining.iter().map(write).collect()) {
        Ok(outcomes) => outcomes,
        Err((_, stop)) if stop.ends_run() => return Err(stop),
        Err(_) => {
            lane.report.side(side).failed += joining.len() as u64;
            return Ok(joining.iter().map(|joining| joining.row).collect());
        }
    };
    let mut outside = Vec::new();
    let mut aside = Vec::new();
    for (joining, outcome) in joining.iter().zip(outcomes) {
        match outcome.status {
            // One that is gone meanwhile is told by its side.
            Status::Applied | Status::Exists | Status::Gone => {
                lane.wrote[side] = true;
                lane.tell(Item {
                    op: Op::Include,
                    side,
                    entity: joining.at.entity.clone(),
                    id: joining.at.id.clone(),
                    other_id: joining.other.id.clone(),
                    label: joining.at.id.clone(),
                    reason: "linked".to_owned(),
                    held: false,
                    fields: Vec::new(),
                });
                continue;
            }
            Status::Refused => {
                let text = format!("`{}` cannot join the {side}'s list or group: {}", joining.at.id, outcome.text);
                aside.push(Aside::of(side.other(), joining.other.clone(), None, outcome.code, text));
            }
            _ => lane.report.side(side).failed += 1,
        }
        outside.push(joining.row);
    }
    for aside in &aside {
        lane.tell_aside(aside);
    }
    if !aside.is_empty() {
        lane.store.settle(&lane.lease, &lane.options.run, &[Settlement { aside, ..Settlement::default() }])?;
    }
    Ok(outside)
}
