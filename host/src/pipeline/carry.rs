//! Carries how far a side was read over to another version of its plugin, before anything is read with it.
//!
//! A cursor belongs to the version that wrote it. A later version is asked to carry it over (`migrate_state`); one that knows no
//! such operation reads what a compatible version wrote as it is. What was there before is kept: where an operator goes back
//! to the earlier version, that goes on from its own cursor, and is told once more what the later one has read, which changes
//! nothing. A version never meets what a later one or another plugin has written: the side is listed anew instead, against
//! the links that exist, so that nothing is lost and nothing doubled.

use pairwise_plugin_api::ops::MigrateStateRequest;
use pairwise_plugin_api::{Class, Cursor, Failure};

use super::Stop;
use crate::model::{Author, LaneMemory, LaneReport, LaneSpec, Lease, Remote, Side, Sides, Store, Written};

pub(super) fn carry_over(
    spec: &LaneSpec,
    remotes: Sides<&dyn Remote>,
    store: &mut dyn Store,
    lease: &Lease,
    memory: &mut LaneMemory,
    report: &mut LaneReport,
) -> Result<(), Stop> {
    for side in Side::BOTH.into_iter().filter(|side| spec.reads(*side)) {
        let author = remotes[side].author();
        // Whoever took no note of the author was a host that ran one version only, as far as anybody can know.
        let by = memory.authors[side].replace(author.clone());
        if by.as_ref() == Some(&author) {
            continue;
        }
        let left = memory.cursors[side].take();
        let former = memory.former[side].take();
        let Some((by, cursor)) = by.zip(left.clone()) else {
            store.carry_over(lease, side, &author, left.as_ref(), former.as_ref())?;
            (memory.cursors[side], memory.former[side]) = (left, former);
            continue;
        };
        let left = Written { by, cursor };
        let failed = |failure| Stop::Remote { side, connection: spec.connections[side].clone(), failure };
        let usable = [Some(&left), former.as_ref()].into_iter().flatten().find(|written| author.follows(&written.by));
        let cursor = usable.map_or(Ok(None), |written| read(remotes[side], &author, written)).map_err(failed)?;
        if cursor.is_none() {
            report.notes.push(format!(
                "connection `{}` ({side}): plugin {author} cannot go on from where {} had read; everything was listed again",
                spec.connections[side], left.by
            ));
        }
        let former = Some(left).filter(|left| author.follows(&left.by));
        store.carry_over(lease, side, &author, cursor.as_ref(), former.as_ref())?;
        (memory.cursors[side], memory.former[side]) = (cursor, former);
    }
    Ok(())
}

/// What an earlier version has written, as this one reads it; `None` if it cannot.
fn read(remote: &dyn Remote, author: &Author, written: &Written) -> Result<Option<Cursor>, Failure> {
    if *author == written.by {
        return Ok(Some(written.cursor.clone()));
    }
    let request = MigrateStateRequest { from: written.by.version.to_string(), state: written.cursor.clone() };
    match remote.migrate_state(&request) {
        Ok(answer) => Ok(answer.state),
        Err(failure) if failure.class == Class::Unimplemented => {
            Ok(author.is_compatible_with(&written.by).then(|| written.cursor.clone()))
        }
        Err(failure) => Err(failure),
    }
}
