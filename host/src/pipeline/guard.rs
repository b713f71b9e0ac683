//! Stops a run from doing harm: more removals than the limit, or a side that was full and is empty, wait for a person. The
//! rest of the lane goes on.

use pairwise_plugin_api::RecordRef;

use super::pull::is_displaced;
use super::reconcile::{Told, judge};
use super::translate::label;
use super::{Lane, Stop};
use crate::model::{Announced, Guard, GuardPolicy, Hold, HoldKind, InboxId, News, Select, Side, Sides};

/// Removals that would be written to one side.
#[derive(Debug, Default)]
struct Wanted {
    rows: Vec<(InboxId, String)>,
    /// Those that a person has released before.
    released: u64,
}

/// Counts the deletions that the staged removals lead to, before any of them is sent, and holds them if they are too many,
/// together with those that the run has done already.
pub(super) fn hold_removals(lane: &mut Lane<'_>) -> Result<(), Stop> {
    lane.counted = lane.store.memory(&lane.lease)?.newest_inbox;
    let mut wanted: Sides<Wanted> = Sides::default();
    let mut after = 0;
    loop {
        let page = lane.store.work(&lane.lease, Select::Removals, after, lane.batch())?;
        let Some(last) = page.last() else { break };
        after = last.row;
        for work in page {
            let Some(link) = &work.link else { continue };
            let told = Sides::from_fn(|side| match &work.news[side] {
                Some(announced) => match &announced.news {
                    News::Gone(reason) => Told::Gone(*reason),
                    News::Here(record) => lane.seen(side, (**record).clone()).map_or(Told::Nothing, Told::Here),
                },
                None => Told::Nothing,
            });
            let judgement = judge(lane.rules(), link, &told, &work.conflicts);
            for target in Side::BOTH {
                let from = target.other();
                let deletes = judgement.writes[target].as_ref().is_some_and(|planned| planned.removal.is_some());
                // For what a side that lists nothing does not show nothing is made again, and no link is given up, also where
                // the other end is gone, too: what returns would be a new record.
                let emptied = lane.emptied[from] && lane.guards(Guard::Emptied);
                let is_gone = |announced: &&Announced| matches!(announced.news, News::Gone(_));
                let counts = |announced: &&Announced| deletes || emptied && is_gone(announced);
                let Some(announced) = work.news[from].as_ref().filter(counts) else { continue };
                if announced.released {
                    wanted[target].released += 1;
                } else {
                    wanted[target].rows.push((announced.id, label(&link.shadows[target], &announced.at.id)));
                }
            }
        }
        lane.breathe()?;
    }
    for target in Side::BOTH {
        let Wanted { rows, released } = std::mem::take(&mut wanted[target]);
        hold_if_too_many(lane, target, rows, released)?;
    }
    Ok(())
}

fn hold_if_too_many(
    lane: &mut Lane<'_>,
    target: Side,
    rows: Vec<(InboxId, String)>,
    released: u64,
) -> Result<(), Stop> {
    let count = rows.len() as u64;
    // Another record under a linked id is a removal, too.
    let others = lane.report.side(target).deleted + lane.displaced[target.other()].len() as u64;
    let (policy, all) = (&lane.spec.guard, lane.memory.live_links);
    let emptied = lane.emptied[target.other()];
    let allowed = lane.options.allow_deletes.is_some_and(|allowed| count + released + others <= allowed);
    let too_many = lane.too_many(count + others) && lane.guards(Guard::MassRemoval);
    if count == 0 || allowed || !(too_many || emptied && lane.guards(Guard::Emptied)) {
        return Ok(());
    }
    let from = target.other();
    let connection = &lane.spec.connections[from];
    let (kind, what) = if emptied {
        (
            HoldKind::Emptied,
            format!("connection `{connection}` ({from}) held {all} linked record(s) and now lists none"),
        )
    } else {
        (
            HoldKind::Removals,
            format!(
                "{count} of {all} linked record(s) are gone on connection `{connection}` ({from}), more than {}",
                limit(policy)
            ),
        )
    };
    let summary = format!(
        "{what}: none of them was removed on the {target}. If this is right, run `pairwise holds release ID`; if it is not, \
         put the records back and run again"
    );
    lane.wait(Hold { kind, side: Some(target), summary, rows })
}

/// Those reused ids count, too, that an earlier run, or an earlier round of this one, was told of and has not come to.
pub(super) fn recall_displaced(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let mut after = 0;
    loop {
        let page = lane.store.work(&lane.lease, Select::All, after, lane.batch())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.row;
        for work in page {
            for side in Side::BOTH {
                let Some(announced) = work.news[side].as_ref().filter(|announced| !announced.released) else {
                    continue;
                };
                let News::Here(record) = &announced.news else { continue };
                if work.link.as_ref().is_some_and(|link| is_displaced(link, side, record)) {
                    lane.displaced[side].insert(announced.at.clone());
                }
            }
        }
        lane.breathe()?;
    }
}

/// Many reused ids at once mean that a side was swapped or restored, not that many people changed.
pub(super) fn hold_displaced(lane: &mut Lane<'_>) -> Result<(), Stop> {
    for side in Side::BOTH {
        // Together with what the run has removed for others already.
        let count = lane.displaced[side].len() as u64 + lane.report.side(side.other()).deleted;
        if !(lane.too_many(count) && lane.guards(Guard::Displaced)) {
            continue;
        }
        let at: Vec<RecordRef> = lane.displaced[side].iter().cloned().collect();
        let known = lane.store.known(&lane.lease, side, &at)?;
        let told: Vec<InboxId> = known.into_iter().filter_map(|known| known.inbox.map(|(row, _)| row)).collect();
        // Those that a person has released go on, also if they are told again.
        let mut rows: Vec<InboxId> = Vec::with_capacity(told.len());
        for chunk in told.chunks(lane.batch()) {
            let announced = lane.store.announced(&lane.lease, chunk)?;
            rows.extend(announced.iter().filter(|row| !row.released).map(|row| row.id));
        }
        if rows.is_empty() {
            continue;
        }
        lane.displaced[side].clear();
        let rows = lane.labels(&rows)?;
        let summary = format!(
            "{} of {} linked record(s) on connection `{}` ({side}) are other records under the same ids: it may have been \
             swapped or restored. Nothing was done with them. If this is right, run `pairwise holds release ID`; if it is \
             not, put the records back and run again",
            rows.len(),
            lane.memory.live_links,
            lane.spec.connections[side]
        );
        lane.wait(Hold { kind: HoldKind::Identity, side: Some(side.other()), summary, rows })?;
    }
    Ok(())
}

/// The limit, in words.
fn limit(policy: &GuardPolicy) -> String {
    let share = format!("{:.0} % and more than {}", policy.removals_share * 100.0, policy.removals_above);
    match policy.removals_count {
        Some(count) => format!("{share}, or more than {count}"),
        None => share,
    }
}

impl Lane<'_> {
    fn too_many(&self, count: u64) -> bool {
        let policy = &self.spec.guard;
        #[allow(clippy::cast_precision_loss, reason = "a share of a count: the last digits do not matter")]
        let share = count as f64 / self.memory.live_links.max(1) as f64;
        let by_share = count > policy.removals_above && share > policy.removals_share;
        by_share || policy.removals_count.is_some_and(|most| count > most)
    }

    /// Makes announcements wait for a person, and says so.
    fn wait(&mut self, hold: Hold) -> Result<(), Stop> {
        self.report.held += hold.rows.len() as u64;
        self.report.notes.push(hold.summary.clone());
        self.guarded = true;
        Ok(self.store.hold(&self.lease, &[hold], &self.options.run)?)
    }
}
