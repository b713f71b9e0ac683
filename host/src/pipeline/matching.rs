//! Ties records without a link together, or finds that a person must.
//!
//! Keys are tried in order over all records at once. A key ties two records if each is the other's only candidate by that
//! key; so the outcome does not depend on the order in which records were read. Whoever had candidates and was tied by no
//! key is doubtful, together with the candidates that are left.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use pairwise_plugin_api::ops::{FindRequest, Scope};
use pairwise_plugin_api::{Failure, Fields, Name, Record, RecordRef};

use super::calls::Ahead;
use super::doubtful::{self, Candidate};
use super::keys::fits;
use super::pull::{announce, set_aside};
use super::translate::FieldMap;
use super::{Lane, Stop};
use crate::model::{
    Announced, Hold, HoldKind, InboxId, KeyGroup, LaneSpec, MatchPolicy, Matching, News, Pick, Several, Side, Sides,
    Within,
};

pub(super) fn match_unlinked(lane: &mut Lane<'_>) -> Result<(), Stop> {
    let Matching::Keys(policy) = &lane.spec.matching else { return Ok(()) };
    for side in Side::BOTH {
        let unseen = !lane.spec.reads(side) || policy.within[side] == Within::System;
        if unseen && lane.spec.reads(side.other()) {
            look_up_candidates(lane, side, policy)?;
        }
        offer_quarantined(lane, side)?;
    }
    let mut doubtful = Vec::new();
    for rank in 0..policy.keys.len() {
        let rank = u8::try_from(rank).unwrap_or(u8::MAX);
        let pairs = unique_pairs(lane, rank, &mut doubtful)?;
        for chunk in pairs.chunks(lane.batch()) {
            lane.store.pair(&lane.lease, chunk)?;
        }
        let paired: HashSet<InboxId> = pairs.iter().flat_map(|(left, right)| [*left, *right]).collect();
        for group in &mut doubtful {
            for side in Side::BOTH {
                group.rows[side].retain(|row| !paired.contains(row));
            }
        }
        lane.breathe()?;
    }
    doubtful.retain(|group| !group.rows.left.is_empty() && !group.rows.right.is_empty());
    settle_doubtful(lane, policy, doubtful)?;
    lane.store.drop_candidates(&lane.lease)?;
    Ok(())
}

/// Pairs that are each other's only candidates by one key. All other candidates are added to `doubtful`.
fn unique_pairs(lane: &mut Lane<'_>, rank: u8, doubtful: &mut Vec<KeyGroup>) -> Result<Vec<(InboxId, InboxId)>, Stop> {
    let mut candidates: Vec<(InboxId, InboxId)> = Vec::new();
    let mut crowded: HashSet<InboxId> = HashSet::new();
    lane.store.key_groups(&lane.lease, rank, &mut |group| {
        if let ([left], [right]) = (group.rows.left.as_slice(), group.rows.right.as_slice()) {
            candidates.push((*left, *right));
        } else {
            crowded.extend(group.rows.left.iter().chain(&group.rows.right));
            doubtful.push(group);
        }
    })?;
    candidates.sort_unstable();
    candidates.dedup();
    let mut times: HashMap<InboxId, u32> = HashMap::with_capacity(candidates.len() * 2);
    for (left, right) in &candidates {
        *times.entry(*left).or_default() += 1;
        *times.entry(*right).or_default() += 1;
    }
    let unique = |row: &InboxId| times.get(row) == Some(&1) && !crowded.contains(row);
    let (pairs, others): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|(left, right)| unique(left) && unique(right));
    doubtful.extend(
        others.into_iter().map(|(left, right)| KeyGroup { rows: Sides { left: vec![left], right: vec![right] } }),
    );
    Ok(pairs)
}

/// What the policy says about records that several others may be.
fn settle_doubtful(lane: &mut Lane<'_>, policy: &MatchPolicy, groups: Vec<KeyGroup>) -> Result<(), Stop> {
    let mut taken: HashSet<InboxId> = HashSet::new();
    let mut holds: Vec<Hold> = Vec::new();
    let waits = |side: Side| policy.several[side] == Several::all(Pick::Hold);
    for (group, edges) in connected(groups) {
        if !(waits(Side::Left) && waits(Side::Right)) {
            let known = candidates(lane, policy, &group)?;
            if let Some(pairs) = doubtful::choose(policy, &lane.map, &edges, &known) {
                lane.store.pair(&lane.lease, &pairs)?;
                continue;
            }
        }
        let rows: Vec<InboxId> =
            group.rows.left.iter().chain(&group.rows.right).copied().filter(|row| taken.insert(*row)).collect();
        let labelled = lane.labels(&rows)?;
        let names: Vec<&str> = labelled.iter().take(4).map(|(_, label)| label.as_str()).collect();
        holds.push(Hold {
            kind: HoldKind::Match,
            side: None,
            summary: format!(
                "{} record(s) on the left and {} on the right may be the same ({}): nothing was done with them; see \
                 `pairwise holds show`, then pair them or release them as separate records",
                group.rows.left.len(),
                group.rows.right.len(),
                names.join(", ")
            ),
            rows: labelled,
        });
    }
    for hold in &holds {
        lane.report.held += hold.rows.len() as u64;
        lane.report.notes.push(hold.summary.clone());
    }
    if !holds.is_empty() {
        lane.store.hold(&lane.lease, &holds, &lane.options.run)?;
    }
    Ok(())
}

/// What the policy looks at of the records of a group.
fn candidates(
    lane: &mut Lane<'_>,
    policy: &MatchPolicy,
    group: &KeyGroup,
) -> Result<HashMap<InboxId, Candidate>, Stop> {
    let rows: Vec<InboxId> = group.rows.left.iter().chain(&group.rows.right).copied().collect();
    let compared = |path: &Name| Side::BOTH.into_iter().any(|side| policy.several[side].equal.contains(path));
    let mut known = HashMap::with_capacity(rows.len());
    for chunk in rows.chunks(lane.batch()) {
        for announced in lane.store.announced(&lane.lease, chunk)? {
            let News::Here(record) = &announced.news else { continue };
            let values = lane.map.translate_in(announced.side, record).unwrap_or_default();
            let values = values.into_iter().filter(|(path, _)| compared(path)).collect();
            let candidate = Candidate { created: record.created, id: announced.at.id, values };
            known.insert(announced.id, candidate);
        }
    }
    Ok(known)
}

/// Groups that share a record become one, so that a person sees all of them together; with the pairs that share a key.
fn connected(groups: Vec<KeyGroup>) -> Vec<(KeyGroup, Vec<(InboxId, InboxId)>)> {
    let mut of: HashMap<InboxId, usize> = HashMap::new();
    type Joined = (KeyGroup, Vec<(InboxId, InboxId)>);
    let mut joined: Vec<Option<Joined>> = Vec::new();
    for group in groups {
        let members: Vec<InboxId> = group.rows.left.iter().chain(&group.rows.right).copied().collect();
        let mut meets: Vec<usize> = members.iter().filter_map(|row| of.get(row).copied()).collect();
        meets.sort_unstable();
        meets.dedup();
        let rights = &group.rows.right;
        let mut edges: Vec<_> =
            group.rows.left.iter().flat_map(|left| rights.iter().map(move |right| (*left, *right))).collect();
        let mut whole = group;
        for index in meets {
            if let Some((other, others)) = joined[index].take() {
                for side in Side::BOTH {
                    whole.rows[side].extend(&other.rows[side]);
                }
                edges.extend(others);
            }
        }
        for side in Side::BOTH {
            whole.rows[side].sort_unstable();
            whole.rows[side].dedup();
        }
        edges.sort_unstable();
        edges.dedup();
        for row in whole.rows.left.iter().chain(&whole.rows.right) {
            of.insert(*row, joined.len());
        }
        joined.push(Some((whole, edges)));
    }
    joined.into_iter().flatten().collect()
}

/// The records that were found, for each value.
type Answer = Result<Vec<Vec<Record>>, Failure>;

/// Candidates for unlinked records of the other side are looked up where they are not pulled: in the target of a one-way
/// stream, and outside of the scope. While some are taken in, the next are asked for.
fn look_up_candidates(lane: &mut Lane<'_>, target: Side, policy: &MatchPolicy) -> Result<(), Stop> {
    let mut asked: VecDeque<Ahead<Answer>> = VecDeque::new();
    let mut looked_up = HashSet::new();
    let mut after = 0;
    loop {
        let unmatched = lane.store.unmatched(&lane.lease, target.other(), after, lane.batch())?;
        let Some(last) = unmatched.last() else { break };
        after = last.id;
        for request in questions(lane, target, policy, &unmatched, &mut looked_up) {
            if asked.len() == lane.calls_at_once(target)
                && let Some(first) = asked.pop_front()
            {
                take_candidates(lane, target, first.wait())?;
            }
            let caller = lane.caller();
            asked.push_back(lane.crew.ahead(move || caller.call(target, |remote| remote.find(&request))));
        }
        lane.breathe()?;
    }
    asked.into_iter().try_for_each(|answer| take_candidates(lane, target, answer.wait()))
}

/// What a side is asked to find the candidates of some records of the other one. What was `looked_up` is not asked for again:
/// many share an address, and whoever bears it is a candidate already.
fn questions(
    lane: &Lane<'_>,
    target: Side,
    policy: &MatchPolicy,
    unmatched: &[Announced],
    looked_up: &mut HashSet<u64>,
) -> Vec<FindRequest> {
    let scope = match policy.within[target] {
        Within::Scope => lane.spec.scope[target].clone(),
        Within::System => Scope::new(),
    };
    let translated = |announced: &Announced| match &announced.news {
        News::Here(record) => Some((lane.map.translate_in(target.other(), record).ok()?, record.uid.clone())),
        News::Gone(_) => None,
    };
    let translated: Vec<(Fields, Option<String>)> = unmatched.iter().filter_map(translated).collect();
    let mut questions = Vec::new();
    for (rank, key) in policy.keys.iter().enumerate() {
        let by: Vec<Name> = native_names(lane, target, key);
        if by.is_empty() {
            continue;
        }
        let values = translated.iter().flat_map(|(fields, uid)| wanted(key, fields, uid.as_deref()));
        let mut values: Vec<String> = values.filter(|value| looked_up.insert(print(rank, value))).collect();
        values.sort_unstable();
        questions.extend(values.chunks(lane.batch()).map(|values| FindRequest {
            principal: lane.spec.principals[target].clone(),
            scope: scope.clone(),
            entity: lane.spec.entities[target].first().cloned().unwrap_or_default(),
            by: by.clone(),
            values: values.to_vec(),
            case_sensitive: policy.case_sensitive,
            fields: lane.fields[target].clone(),
        }));
    }
    questions
}

/// Stands for a value of a key.
fn print(rank: usize, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (rank, value).hash(&mut hasher);
    hasher.finish()
}

/// Stages those of the records that a side has found that have neither link nor announcement.
fn take_candidates(lane: &mut Lane<'_>, target: Side, found: Answer) -> Result<(), Stop> {
    let found = found.map_err(|failure| lane.stop(target, failure))?;
    let records: Vec<_> = found.into_iter().flatten().collect();
    if records.is_empty() {
        return Ok(());
    }
    let at: Vec<RecordRef> = records.iter().map(|record| record.at.clone()).collect();
    let known = lane.store.known(&lane.lease, target, &at)?;
    let mut met = HashSet::new();
    let staged: Vec<_> = records
        .into_iter()
        .zip(known)
        // What the scope itself announced stays announced.
        .filter(|(record, known)| {
            let announced = lane.spec.reads(target) && known.inbox.is_some();
            known.link.is_none() && !announced && met.insert(record.at.clone())
        })
        .map(|(record, _)| announce(lane, target, record, true, true))
        .collect();
    Ok(lane.store.stage(&lane.lease, &staged, None)?)
}

/// A record that could not be carried over may have got its counterpart by other hands since, and is a candidate of what is
/// new on the other side.
fn offer_quarantined(lane: &mut Lane<'_>, side: Side) -> Result<(), Stop> {
    if !lane.may_have_asides() || lane.store.unmatched(&lane.lease, side.other(), 0, 1)?.is_empty() {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let page = lane.store.loose_asides(&lane.lease, side, after, lane.batch())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        let at: Vec<RecordRef> = page.into_iter().map(|(_, at)| at).collect();
        let found = lane.get(side, &at)?.into_iter().filter_map(|found| found.record);
        let readable = found.filter(|record| set_aside(lane.spec, side, record).is_none());
        let staged: Vec<_> = readable.map(|record| announce(lane, side, record, true, true)).collect();
        lane.store.stage(&lane.lease, &staged, None)?;
        lane.breathe()?;
    }
}

/// The rows of a map that match keys are made of.
pub(super) fn rows_of_keys(spec: &LaneSpec, map: &FieldMap) -> FieldMap {
    match &spec.matching {
        Matching::Never => FieldMap::default(),
        Matching::Keys(policy) => map.only(|row| policy.keys.iter().flatten().any(|path| fits(path, &row.key))),
    }
}

/// The values to look a record up by: those of the key's first part. The other parts are compared afterwards.
fn wanted(key: &[Name], values: &Fields, uid: Option<&str>) -> Vec<String> {
    let Some(path) = key.first() else { return Vec::new() };
    if &**path == UID {
        return uid.map(str::to_owned).into_iter().collect();
    }
    values
        .iter()
        .filter(|(name, _)| fits(path, name))
        .filter_map(|(_, value)| value.as_text().filter(|text| !text.is_empty()).map(str::to_owned))
        .collect()
}

/// The fields of a side that the key's first part stands for.
fn native_names(lane: &Lane<'_>, side: Side, key: &[Name]) -> Vec<Name> {
    let Some(path) = key.first() else { return Vec::new() };
    if &**path == UID {
        return if lane.abilities[side].uid { vec![path.clone()] } else { Vec::new() };
    }
    let rows = lane.map.rows().iter().filter(|row| fits(path, &row.key));
    rows.filter_map(|row| row.native[side].first().cloned()).collect()
}

/// The key part that stands for a record's UID; connectors that declare UIDs look records up by this name.
const UID: &str = "uid";
