//! Decides whether "not there" means "deleted". Nothing else in the host does.
//!
//! A record that a listing does not show is believed gone only if the listing was complete, a point read agrees, and either
//! that point read is authoritative, or an earlier run had missed the record, too, and another record of the side answers
//! now. A listing that leaves out a record which still answers proves nothing about any other.

use std::collections::{HashMap, HashSet};

use pairwise_plugin_api::ops::FindRequest;
use pairwise_plugin_api::{Class, Cursor, Reason, Record, RecordRef};

use super::calls::is_gone;
use super::pull::{gone, is_another};
use super::{Lane, Stop};
use crate::model::{End, Guard, Known, Link, LinkChange, LinkId, LinkState, News, Seen, Settlement, Side, Staged};

/// What a listing showed.
#[derive(Debug, Default)]
pub(super) struct Sighted {
    pub(super) links: Seen,
    aside: Seen,
    inbox: Seen,
    /// Any record at all.
    count: u64,
}

impl Sighted {
    pub(super) fn note(&mut self, known: &Known) {
        self.count += 1;
        if let Some((link, _)) = &known.link {
            self.links.mark(*link);
        }
        if let Some((aside, _)) = &known.aside {
            self.aside.mark(*aside);
        }
        if let Some((inbox, _)) = &known.inbox {
            self.inbox.mark(*inbox);
        }
    }
}

/// What a side said about its listing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    pub(super) complete: bool,
    pub(super) same_store: bool,
}

/// Draws the conclusions of a whole listing and saves the cursor together with them.
pub(super) fn conclude(
    lane: &mut Lane<'_>,
    side: Side,
    sighted: &Sighted,
    listing: Listing,
    cursor: Option<&Cursor>,
) -> Result<(), Stop> {
    if !listing.complete && lane.guards(Guard::Incomplete) {
        incomplete(lane, side);
        return Ok(());
    }
    let Missing { gone: mut missing, hidden, omitted } = missing(lane, side, sighted)?;
    let left = left_scope(lane, side, &omitted)?;
    if omitted.len() > left.len() && !lane.guards(Guard::Omitted) {
        missing.extend(omitted);
    } else if omitted.len() > left.len() {
        let omitted = omitted.len() - left.len();
        lane.report.notes.push(format!(
            "connection `{}` ({side}): the listing left out {omitted} record(s) that still answer; nothing was concluded \
             from it, it is read again in the next run",
            lane.spec.connections[side]
        ));
        return Ok(());
    }
    let missing = follow_moves(lane, side, missing, hidden)?;
    lane.emptied[side] = sighted.count == 0 && had_any(lane, side)?;
    let mut believed = missing;
    if !(lane.abilities[side].authoritative_get && listing.same_store) {
        let answers = sighted.count > 0 || !left.is_empty();
        if !answers && !believed.is_empty() && lane.guards(Guard::Canary) {
            // What a side that shows nothing at all does not show is not missed: it is no first time either.
            lane.report.notes.push(format!(
                "connection `{}` ({side}): the listing showed no record at all; nothing was concluded from it, it is read \
                 again in the next run",
                lane.spec.connections[side]
            ));
            return Ok(());
        }
        let links: Vec<LinkId> = believed.iter().map(|(link, _)| *link).collect();
        let mut again = Seen::default();
        for link in lane.store.doubt(&lane.lease, side, &lane.options.run, &links)? {
            again.mark(link);
        }
        let grace = |link: LinkId| again.contains(link) || !lane.guards(Guard::Grace);
        believed.retain(|(link, _)| grace(*link));
    }
    let (aside, inbox) = (lane.memory.newest_aside, lane.memory.newest_inbox);
    lane.store.forget_unseen(&lane.lease, side, (&sighted.aside, aside), (&sighted.inbox, inbox))?;
    let mut staged = Vec::with_capacity(lane.batch());
    let believed = believed.into_iter().map(|(_, at)| (at, Reason::Deleted));
    for (at, reason) in believed.chain(left.into_iter().map(|at| (at, Reason::LeftScope))) {
        staged.push(gone(side, at, reason));
        if staged.len() == lane.batch() {
            lane.store.stage(&lane.lease, &staged, None)?;
            staged.clear();
        }
    }
    lane.store.stage(&lane.lease, &staged, None)?;
    Ok(lane.store.swept(&lane.lease, side, &sighted.links, cursor)?)
}

/// Counterparts of the other side's new records may be among those that a listing did not show.
pub(super) fn incomplete(lane: &mut Lane<'_>, side: Side) {
    lane.partial[side] = true;
    lane.report.notes.push(format!(
        "connection `{}` ({side}): the listing was not complete; nothing was concluded from what it did not show, and new \
         records of the other side wait",
        lane.spec.connections[side]
    ));
}

/// Whether a side had any record that is linked, and has not left: also one whose counterpart has left is expected there.
fn had_any(lane: &mut Lane<'_>, side: Side) -> Result<bool, Stop> {
    let mut after = 0;
    loop {
        let links = lane.store.links(&lane.lease, after, lane.batch())?;
        let Some(last) = links.last() else { return Ok(false) };
        after = last.id;
        let stayed = |link: &Link, end: &End| link.state == LinkState::Live || end.version.is_some();
        if links.iter().any(|link| link.ends[side].as_ref().is_some_and(|end| stayed(link, end))) {
            return Ok(true);
        }
    }
}

/// Linked records that a listing did not show, by what a point read says of them.
#[derive(Default)]
struct Missing {
    gone: Vec<(LinkId, RecordRef)>,
    /// They do not answer; nothing follows from it, unless they turn up elsewhere.
    hidden: Vec<(LinkId, RecordRef)>,
    /// They still answer: either the listing cannot be believed, or they left its scope.
    omitted: Vec<(LinkId, RecordRef)>,
}

/// Asks for every linked record that the listing did not show.
fn missing(lane: &mut Lane<'_>, side: Side, sighted: &Sighted) -> Result<Missing, Stop> {
    let mut missing = Missing::default();
    let mut after = 0;
    loop {
        let unseen = lane.store.unseen_links(&lane.lease, side, &sighted.links, after, lane.batch())?;
        let Some((last, _)) = unseen.last() else { return Ok(missing) };
        after = *last;
        let at: Vec<RecordRef> = unseen.iter().map(|(_, at)| at.clone()).collect();
        let found = lane.get(side, &at)?;
        let answers = at.into_iter().zip(&found).filter(|(_, found)| found.record.is_some());
        let answers: Vec<RecordRef> = answers.map(|(at, _)| at).collect();
        let mut known = lane.store.known(&lane.lease, side, &answers)?.into_iter();
        for (found, unseen) in found.into_iter().zip(unseen) {
            let is_other =
                |record: &Record| known.next().is_some_and(|known| is_another(known.incarnation.as_ref(), record));
            if is_gone(&found) || found.record.as_ref().is_some_and(is_other) && lane.guards(Guard::Reused) {
                missing.gone.push(unseen);
            } else if found.record.is_some() {
                missing.omitted.push(unseen);
            } else {
                missing.hidden.push(unseen);
            }
        }
        lane.breathe()?;
    }
}

/// Of records that a listing leaves out although they answer: those that left the folder, list or group that was listed. They
/// are believed to have left once two runs in a row did not see them there; until then the listing is not believed.
fn left_scope(lane: &mut Lane<'_>, side: Side, omitted: &[(LinkId, RecordRef)]) -> Result<Vec<RecordRef>, Stop> {
    let can_leave = lane.abilities[side].membership || lane.abilities[side].containers;
    if omitted.is_empty() || lane.spec.scope[side].is_empty() || !can_leave {
        return Ok(Vec::new());
    }
    let links: Vec<LinkId> = omitted.iter().map(|(link, _)| *link).collect();
    let again = lane.store.doubt(&lane.lease, side, &lane.options.run, &links)?;
    let left = omitted.iter().filter(|(link, _)| again.contains(link)).map(|(_, at)| at.clone());
    Ok(left.collect())
}

/// A record that is missing under its old id and arrived under a new one, with the same incarnation, was moved: its link
/// follows it. Answers those that are gone for good.
fn follow_moves(
    lane: &mut Lane<'_>,
    side: Side,
    gone: Vec<(LinkId, RecordRef)>,
    hidden: Vec<(LinkId, RecordRef)>,
) -> Result<Vec<(LinkId, RecordRef)>, Stop> {
    if gone.is_empty() && hidden.is_empty() {
        return Ok(gone);
    }
    let mut arrived = arrivals(lane, side)?;
    if arrived.is_empty() {
        return Ok(gone);
    }
    let mut batch = Vec::new();
    let mut remain = Vec::new();
    for (missing, is_gone) in
        gone.into_iter().map(|gone| (gone, true)).chain(hidden.into_iter().map(|one| (one, false)))
    {
        let link = lane.store.links(&lane.lease, missing.0 - 1, 1)?.pop().filter(|link| link.id == missing.0);
        let moved = link.and_then(|mut link| {
            let incarnation = link.ends[side].as_ref()?.incarnation.clone()?;
            link.ends[side] = Some(arrived.remove(&incarnation)??);
            Some(link)
        });
        match moved {
            Some(link) => batch.push(Settlement { link: LinkChange::Put(Box::new(link)), ..Settlement::default() }),
            None if is_gone => remain.push(missing),
            None => {}
        }
    }
    lane.store.settle(&lane.lease, &lane.options.run, &batch)?;
    Ok(remain)
}

/// Announced records of a side without a link, by their incarnation; `None` where two bear the same.
fn arrivals(lane: &mut Lane<'_>, side: Side) -> Result<HashMap<String, Option<End>>, Stop> {
    let mut arrived = HashMap::new();
    let mut after = 0;
    loop {
        let unmatched = lane.store.unmatched(&lane.lease, side, after, lane.batch())?;
        let Some(last) = unmatched.last() else { return Ok(arrived) };
        after = last.id;
        for announced in &unmatched {
            let News::Here(record) = &announced.news else { continue };
            let Some(incarnation) = &record.incarnation else { continue };
            let alone = !arrived.contains_key(incarnation);
            arrived.insert(incarnation.clone(), alone.then(|| End::of(record)));
        }
    }
}

/// Of linked records that a point read says are gone: those that are. Where such a read is not authoritative, an earlier run
/// must have missed them, too, and another record of the side must answer now.
pub(super) fn gone_for_certain(lane: &mut Lane<'_>, side: Side, links: &[LinkId]) -> Result<HashSet<LinkId>, Stop> {
    let gone = gone_twice(lane, side, links)?;
    if lane.abilities[side].authoritative_get || gone.is_empty() {
        return Ok(gone.into_iter().collect());
    }
    let mut after = 0;
    while !lane.answers[side].get() {
        // The first links may be just those that are gone.
        let others = lane.store.links(&lane.lease, after, lane.batch())?;
        let Some(last) = others.last() else { break };
        after = last.id;
        let at: Vec<RecordRef> = others.into_iter().filter_map(|link| Some(link.ends[side].clone()?.at)).collect();
        lane.get(side, &at)?;
    }
    let mut after = 0;
    while !lane.answers[side].get() {
        let new = lane.store.unmatched(&lane.lease, side, after, lane.batch())?;
        let Some(last) = new.last() else { break };
        after = last.id;
        let at: Vec<RecordRef> = new.into_iter().map(|announced| announced.at).collect();
        lane.get(side, &at)?;
    }
    let canary = lane.answers[side].get() || !lane.guards(Guard::Canary);
    Ok(gone.into_iter().filter(|_| canary).collect())
}

/// The same where nothing is deleted for it, because the counterpart is gone: that another record answers is not asked for.
/// What a side that lists nothing does not show is not missed.
pub(super) fn gone_twice(lane: &mut Lane<'_>, side: Side, links: &[LinkId]) -> Result<Vec<LinkId>, Stop> {
    if links.is_empty() || lane.abilities[side].authoritative_get {
        return Ok(links.to_vec());
    }
    if lane.emptied[side] && lane.guards(Guard::Emptied) {
        return Ok(Vec::new());
    }
    let again = lane.store.doubt(&lane.lease, side, &lane.options.run, links)?;
    let grace = again.len() == links.len() || lane.guards(Guard::Grace);
    Ok(if grace { again } else { links.to_vec() })
}

/// Where a linked record is that is gone under its id.
enum Whereabouts {
    /// Under another id in the scope: its link follows it.
    Here,
    /// Somewhere else in the system.
    Elsewhere,
}

/// Looks for records that are gone under their ids by what never changes of them. A system that cannot look so tells nothing.
fn whereabouts(
    lane: &mut Lane<'_>,
    side: Side,
    missing: &[(LinkId, RecordRef, Option<String>)],
) -> Result<HashMap<LinkId, Whereabouts>, Stop> {
    let mut known = HashMap::new();
    let wanted: Vec<_> = missing.iter().filter_map(|(link, at, same)| Some((*link, at, same.clone()?))).collect();
    let Some((_, first, _)) = wanted.first().filter(|_| lane.abilities[side].incarnation) else { return Ok(known) };
    let mut request = FindRequest {
        principal: lane.spec.principals[side].clone(),
        scope: lane.spec.scope[side].clone(),
        entity: first.entity.clone(),
        by: vec![INCARNATION.into()],
        values: wanted.iter().map(|(_, _, same)| same.clone()).collect(),
        case_sensitive: true,
        ..FindRequest::default()
    };
    let mut batch = Vec::new();
    for whole in [false, true] {
        if whole {
            request.scope.clear();
        }
        let found = match lane.call(side, |remote| remote.find(&request)) {
            Ok(found) => found,
            Err(failure) if matches!(failure.class, Class::Unimplemented | Class::NotFound | Class::Refused) => break,
            Err(failure) => return Err(lane.stop(side, failure)),
        };
        for ((link, at, _), mut found) in wanted.iter().zip(found) {
            // Of two that bear the same nobody knows which one it was.
            let Some(record) = found.pop().filter(|record| found.is_empty() && record.at != **at) else { continue };
            if whole {
                known.entry(*link).or_insert(Whereabouts::Elsewhere);
            } else if let Some(mut link) =
                lane.store.links(&lane.lease, link - 1, 1)?.pop().filter(|one| one.id == *link)
            {
                known.insert(link.id, Whereabouts::Here);
                link.ends[side] = Some(End::of(&record));
                batch.push(Settlement { link: LinkChange::Put(Box::new(link)), ..Settlement::default() });
            }
        }
        if known.len() == wanted.len() {
            break;
        }
    }
    lane.store.settle(&lane.lease, &lane.options.run, &batch)?;
    Ok(known)
}

/// The name by which `find` looks records up by their incarnation, where a connector can.
const INCARNATION: &str = "incarnation";

/// Removals that a feed tells. Those whose reason it does not know are asked for one by one.
pub(super) fn confirm(
    lane: &mut Lane<'_>,
    side: Side,
    removals: Vec<(RecordRef, Reason)>,
) -> Result<Vec<Staged>, Stop> {
    let (unknown, certain): (Vec<_>, Vec<_>) = removals.into_iter().partition(|(_, reason)| *reason == Reason::Unknown);
    let mut staged: Vec<Staged> = certain.into_iter().map(|(at, reason)| gone(side, at, reason)).collect();
    if unknown.is_empty() {
        return Ok(staged);
    }
    let at: Vec<RecordRef> = unknown.into_iter().map(|(at, _)| at).collect();
    let known = lane.store.known(&lane.lease, side, &at)?;
    // Of a record without a link nothing is concluded: it only leaves the inbox, if it is there.
    let (linked, loose): (Vec<_>, Vec<_>) = at.into_iter().zip(known).partition(|(_, known)| known.link.is_some());
    staged.extend(loose.into_iter().map(|(at, _)| gone(side, at, Reason::Deleted)));
    let at: Vec<RecordRef> = linked.iter().map(|(at, _)| at.clone()).collect();
    let found = lane.get(side, &at)?;
    let mut doubtful: Vec<(LinkId, RecordRef)> = Vec::new();
    let mut missing: Vec<(LinkId, RecordRef, Option<String>)> = Vec::new();
    for ((at, known), found) in linked.into_iter().zip(found) {
        if let Some((link, _)) = known.link.filter(|_| is_gone(&found)) {
            missing.push((link, at, known.incarnation));
        }
    }
    let mut whereabouts = whereabouts(lane, side, &missing)?;
    for (link, at, _) in missing {
        match whereabouts.remove(&link) {
            Some(Whereabouts::Here) => {}
            Some(Whereabouts::Elsewhere) => staged.push(gone(side, at, Reason::LeftScope)),
            None => doubtful.push((link, at)),
        }
    }
    let links: Vec<LinkId> = doubtful.iter().map(|(link, _)| *link).collect();
    let certain = gone_for_certain(lane, side, &links)?;
    let doubtful = doubtful.into_iter().filter(|(link, _)| certain.contains(link));
    staged.extend(doubtful.map(|(_, at)| gone(side, at, Reason::Deleted)));
    Ok(staged)
}
