//! Opens the sides, asks them whether work can start, and compiles the field map. Nothing is written to a side here.

use pairwise_plugin_api::ops::{CheckRequest, DiscoverRequest};
use pairwise_plugin_api::{Capabilities, Failure, Name};

use super::filter::Filters;
use super::pull::is_displaced;
use super::reconcile::one_way;
use super::resolve::References;
use super::translate::FieldMap;
use super::{Lane, Stop, carry};
use crate::model::value::same;
use crate::model::{
    LaneMemory, LaneReport, LaneSpec, Lease, Link, LinkChange, LinkState, MapChange, News, NoTrash, OnCondition,
    Remote, Removal, Settlement, Side, Sides, Staged, Store,
};

/// What `prepare` finds out.
pub(super) struct Prepared {
    pub(super) abilities: Sides<Capabilities>,
    pub(super) map: FieldMap,
    pub(super) filters: Filters,
    pub(super) references: References,
    pub(super) map_changed: bool,
    pub(super) memory: LaneMemory,
    pub(super) same_folders: bool,
    pub(super) keeps: Sides<bool>,
}

pub(super) fn prepare(
    spec: &LaneSpec,
    remotes: Sides<&dyn Remote>,
    store: &mut dyn Store,
    lease: &Lease,
    report: &mut LaneReport,
) -> Result<Prepared, Stop> {
    let failed =
        |side: Side| move |failure: Failure| Stop::Remote { side, connection: spec.connections[side].clone(), failure };
    let mut abilities = Sides::default();
    let mut catalogues = Sides::default();
    for side in Side::BOTH {
        abilities[side] = remotes[side].describe().map_err(failed(side))?.capabilities;
        let conditions = remotes[side]
            .check(&CheckRequest {
                principal: spec.principals[side].clone(),
                scope: spec.scope[side].clone(),
                entities: spec.entities[side].clone(),
                write: spec.writes_to(side),
            })
            .map_err(failed(side))?;
        for condition in conditions {
            let connection = spec.connections[side].clone();
            if spec.is_blocked_by(&condition) {
                return Err(Stop::Blocked { side, connection, text: condition.text });
            }
            if spec.on(&condition) != OnCondition::Allow {
                report.notes.push(format!("connection `{connection}` ({side}): {}", condition.text));
            }
        }
        catalogues[side] = remotes[side]
            .discover(&DiscoverRequest { principal: spec.principals[side].clone(), ..DiscoverRequest::default() })
            .map_err(failed(side))?;
    }
    let map = FieldMap::compile(&spec.map, spec.direction, &spec.entities, &catalogues)?;
    let filters = Filters::compile(&spec.admit, &spec.follow, &spec.entities, &catalogues)?;
    let references = References::compile(spec, &map, &catalogues)?;
    let mut memory = store.memory(lease)?;
    carry::carry_over(spec, remotes, store, lease, &mut memory, report)?;
    let map_changed = memory.map.as_ref().is_some_and(|old| *old != map.fingerprint());
    // What is settled from now on is settled by this map, also if the run does not come to its end: then only the rows that it
    // shares with the map before hold what they did.
    let settled = memory.map.as_ref().map_or_else(|| map.fingerprint().to_owned(), |old| map.fingerprint_since(old));
    if memory.map.as_ref() != Some(&settled) {
        store.remember_map(lease, &settled)?;
        memory.map = Some(settled);
    }
    // Where both sides name folders by their path, a record keeps its folder.
    let same_folders =
        Side::BOTH.into_iter().all(|side| abilities[side].containers && abilities[side].create_containers);
    let keeps = removals_that_work(spec, &abilities, report)?;
    Ok(Prepared { abilities, map, filters, references, map_changed, memory, same_folders, keeps })
}

/// Whether the sides can do what removals ask of them. Answers the sides where a record stays that cannot be thrown away.
fn removals_that_work(
    spec: &LaneSpec,
    abilities: &Sides<Capabilities>,
    report: &mut LaneReport,
) -> Result<Sides<bool>, Stop> {
    let mut keeps = Sides::default();
    for side in Side::BOTH {
        let connection = &spec.connections[side];
        if !abilities[side].membership && (spec.join[side] || spec.may_ask(side, Removal::Exclude)) {
            // To take a record out of a list must never become its deletion.
            let text = "its records belong to no list or group that could be written, which this stream asks for; take \
                        `join` and `exclude` out, or name another connection";
            return Err(Stop::Blocked { side, connection: connection.clone(), text: text.to_owned() });
        }
        let folder = spec.trash.fallback.is_some() && abilities[side].create_containers;
        keeps[side] = !abilities[side].trash && !folder && spec.trash.none == NoTrash::Keep;
        if keeps[side] && spec.may_ask(side, Removal::Trash) {
            report.notes.push(format!(
                "connection `{connection}` ({side}) has no deleted items and no folder in their place: what is deleted on the \
                 other side stays there, and is no longer kept in step"
            ));
        }
    }
    Ok(keeps)
}

/// A changed mapping is not an edit: before anything is pulled, the shadows of the rows that changed are derived again from
/// what both sides hold. A row that did not change keeps its shadows, so that an edit that nobody has seen yet stays one. So
/// does one that has left the map: when it returns, what it holds is no edit against the deletion of its record. A changed
/// row in which both sides still stand as they were settled keeps them, too; one in which they are equal is settled; any
/// other counts as never settled, and `reconcile` asks the policy for a change of the map. Where that is to send again, a row
/// that goes one way counts as never settled also where both sides still stand as they were. Where only one side still stands
/// as it was settled, it keeps its shadow: nobody has edited it there.
///
/// A pair of which one record does not answer is looked at as soon as both do: nothing else would tell of a row that is new.
/// One that the new map cannot read is looked at, too, and set aside.
pub(super) fn remap(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let unchanged = lane.map.unchanged_since(lane.memory.map.as_deref().unwrap_or_default());
    let mut after = 0;
    loop {
        let links = lane.store.links(&lane.lease, after, lane.batch())?;
        let Some(last) = links.last() else { return Ok(()) };
        after = last.id;
        let mut told = Sides::from_fn(|_| vec![None; links.len()]);
        for side in Side::BOTH {
            let (places, at): (Vec<usize>, Vec<_>) = links
                .iter()
                .enumerate()
                .filter_map(|(place, link)| link.ends[side].as_ref().map(|end| (place, end.at.clone())))
                .unzip();
            for (place, found) in places.into_iter().zip(lane.get(side, &at)?) {
                told[side][place] = found.record;
            }
        }
        let mut batch = Vec::new();
        for (place, mut link) in links.into_iter().enumerate() {
            let (Some(left), Some(right)) = (told.left[place].take(), told.right[place].take()) else {
                batch.push(looked_at_again(&link, &Side::BOTH));
                continue;
            };
            // That another record bears the id is told, and counted, when the side is read.
            if is_displaced(&link, Side::Left, &left) || is_displaced(&link, Side::Right, &right) {
                continue;
            }
            let values = Sides { left: &left, right: &right };
            let values = Sides::from_fn(|side| lane.map.translate_in(side, values[side]));
            let unreadable: Vec<Side> = Side::BOTH.into_iter().filter(|side| values[*side].is_err()).collect();
            let (Ok(left_values), Ok(right_values)) = (values.left, values.right) else {
                batch.push(looked_at_again(&link, &unreadable));
                continue;
            };
            let old = std::mem::take(&mut link.shadows);
            for side in Side::BOTH {
                let stays = |path: &Name| unchanged.contains(path) || lane.map.row(path).is_none();
                let kept = old[side].iter().filter(|(path, _)| stays(path));
                link.shadows[side] = kept.map(|(path, value)| (path.clone(), value.clone())).collect();
            }
            for (path, left_value) in left_values.iter().filter(|(path, _)| !unchanged.contains(*path)) {
                let (Some(row), Some(right_value)) = (lane.map.row(path), right_values.get(path)) else { continue };
                let now = Sides { left: left_value, right: right_value };
                let stands = Sides::from_fn(|side| {
                    old[side].get(path).is_some_and(|shadow| same(row.compare, shadow, now[side]))
                });
                let resent = lane.spec.map_change == MapChange::Resend && one_way(row).is_some();
                let untouched = stands.left && stands.right && !resent;
                let is_settled = untouched || same(row.compare, left_value, right_value);
                for side in Side::BOTH {
                    if is_settled || stands[side] && !stands[side.other()] {
                        link.shadows[side].set(path.clone(), now[side].clone());
                    }
                }
            }
            // One that sleeps is woken by nothing but the return of its record.
            let told = [(Side::Left, left), (Side::Right, right)].into_iter();
            let announce = told
                .filter(|_| link.state == LinkState::Live)
                .map(|(side, record)| Staged {
                    side,
                    at: record.at.clone(),
                    version: record.version.clone(),
                    news: News::Here(Box::new(record)),
                    keys: Vec::new(),
                    candidate: false,
                })
                .collect();
            batch.push(Settlement { link: LinkChange::Put(Box::new(link)), announce, ..Settlement::default() });
        }
        lane.store.settle(&lane.lease, &lane.options.run, &batch)?;
        lane.breathe()?;
    }
}

fn looked_at_again(link: &Link, sides: &[Side]) -> Settlement {
    let ends = sides.iter().filter(|_| link.state == LinkState::Live);
    let revisit = ends.filter_map(|side| Some((*side, link.ends[*side].as_ref()?.at.clone()))).collect();
    Settlement { revisit, ..Settlement::default() }
}

/// The last word of a run that went through.
pub(super) fn finish(lane: &mut Lane<'_>) -> Result<(), Stop> {
    if lane.unplanned > 0 {
        lane.report.held += lane.unplanned;
        lane.report
            .notes
            .push(format!("{} operation(s) that the plan does not list wait for the next run", lane.unplanned));
    }
    for ((side, field), count) in std::mem::take(&mut lane.unwritable) {
        lane.report.notes.push(format!(
            "connection `{}` ({side}): `{field}` of {count} record(s) was not written, because the login may not change it",
            lane.spec.connections[side]
        ));
    }
    lane.tell_undone();
    for ((side, code), (text, count)) in std::mem::take(&mut lane.remarks) {
        let connection = &lane.spec.connections[side];
        lane.report.notes.push(format!("connection `{connection}` ({side}): {text} ({code}, {count} record(s))"));
    }
    if lane.memory.map.as_deref() != Some(lane.map.fingerprint()) {
        lane.store.remember_map(&lane.lease, lane.map.fingerprint())?;
    }
    Ok(())
}
