//! Picks, without any I/O, the counterparts of records that several others may be.

use std::collections::{HashMap, HashSet};

use pairwise_plugin_api::{Fields, Millis};

use super::translate::FieldMap;
use crate::model::value::same;
use crate::model::{InboxId, MatchPolicy, Pick, Several, Side};

/// What is looked at of a record.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidate {
    pub(super) created: Option<Millis>,
    pub(super) id: String,
    /// The values that a policy compares.
    pub(super) values: Fields,
}

/// The pairs of a group in which records share keys along `edges`; whoever is in no pair is a new record. `None`: a person
/// must look at the group.
///
/// Records are gone through in the order of their creation, then of their ids, so that the order of listing does not matter.
pub(super) fn choose(
    policy: &MatchPolicy,
    map: &FieldMap,
    edges: &[(InboxId, InboxId)],
    known: &HashMap<InboxId, Candidate>,
) -> Option<Vec<(InboxId, InboxId)>> {
    let age = |row: &InboxId| {
        let candidate = known.get(row);
        (candidate.and_then(|it| it.created).unwrap_or(Millis::MAX), candidate.map(|it| it.id.clone()), *row)
    };
    let mut rights: Vec<InboxId> = edges.iter().map(|(_, right)| *right).collect();
    rights.sort_by_cached_key(age);
    rights.dedup();
    let mut taken: HashSet<InboxId> = HashSet::new();
    let mut pairs = Vec::new();
    for right in rights {
        let mut lefts: Vec<InboxId> = edges.iter().filter(|(_, to)| *to == right).map(|(left, _)| *left).collect();
        lefts.sort_by_cached_key(age);
        let equal = |several: &Several, left: InboxId| alike(map, several, known.get(&left), known.get(&right));
        let lefts = match wanted(&policy.several[Side::Left], lefts, |left| equal(&policy.several[Side::Left], left)) {
            Wanted::Rows(lefts) => lefts,
            Wanted::Nobody => continue,
            Wanted::Person => return None,
        };
        for left in lefts {
            let rivals: Vec<InboxId> = edges.iter().filter(|(from, _)| *from == left).map(|(_, to)| *to).collect();
            let policy = &policy.several[Side::Right];
            let fits = match wanted(policy, rivals, |rival| alike(map, policy, known.get(&left), known.get(&rival))) {
                Wanted::Rows(rivals) => rivals.contains(&right),
                Wanted::Nobody => false,
                Wanted::Person => return None,
            };
            if fits && taken.insert(left) {
                pairs.push((left, right));
                break;
            }
        }
    }
    Some(pairs)
}

enum Wanted {
    /// One of these, the first that is free.
    Rows(Vec<InboxId>),
    /// None of them.
    Nobody,
    /// A person says which.
    Person,
}

/// The candidates that count.
fn wanted(several: &Several, candidates: Vec<InboxId>, equal: impl Fn(InboxId) -> bool) -> Wanted {
    if candidates.len() < 2 {
        return Wanted::Rows(candidates);
    }
    let (rows, pick) = if several.equal.is_empty() {
        (candidates, several.pick)
    } else {
        let (alike, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|row| equal(*row));
        match alike.len() {
            0 => (others, several.none),
            1 => return Wanted::Rows(alike),
            _ => (alike, several.pick),
        }
    };
    match pick {
        Pick::Oldest => Wanted::Rows(rows),
        Pick::Create => Wanted::Nobody,
        Pick::Hold => Wanted::Person,
    }
}

/// Whether two records are equal in everything that the policy compares.
fn alike(map: &FieldMap, several: &Several, left: Option<&Candidate>, right: Option<&Candidate>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return false };
    several.equal.iter().all(|path| {
        let compare = map.row(path).map(|row| row.compare).unwrap_or_default();
        let value = |candidate: &Candidate| candidate.values.get(path).cloned().unwrap_or_default();
        same(compare, &value(left), &value(right))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Sides, Winner};

    const LEFTS: i64 = 0;
    const RIGHTS: i64 = 100;

    /// Left and right records as `name created`, all of which share one key; answers the pairs as `left-right`.
    fn chosen(left: Several, right: Several, lefts: &[(&str, i64)], rights: &[(&str, i64)]) -> Option<Vec<String>> {
        let policy = MatchPolicy {
            keys: Vec::new(),
            case_sensitive: true,
            within: Sides::default(),
            several: Sides { left, right },
            differ: Winner::Latest,
        };
        let mut known = HashMap::new();
        for (base, side) in [(LEFTS, lefts), (RIGHTS, rights)] {
            for (row, (name, created)) in (base + 1..).zip(side) {
                let values = [("name/full", *name)].into_iter().collect();
                known.insert(row, Candidate { created: Some(*created), id: format!("{row}"), values });
            }
        }
        let edges: Vec<_> = (1..=lefts.len() as i64)
            .flat_map(|left| (1..=rights.len() as i64).map(move |right| (LEFTS + left, RIGHTS + right)))
            .collect();
        let pairs = choose(&policy, &FieldMap::default(), &edges, &known)?;
        Some(pairs.into_iter().map(|(left, right)| format!("{left}-{}", right - RIGHTS)).collect())
    }

    fn named() -> Several {
        Several { equal: vec!["name/full".into()], pick: Pick::Oldest, none: Pick::Create }
    }

    #[test]
    fn the_policy_of_the_crowded_side_decides() {
        let oldest = || Several::all(Pick::Oldest);
        type Case<'a> = (Several, Several, &'a [(&'a str, i64)], &'a [(&'a str, i64)], Option<&'a [&'a str]>);
        let cases: &[Case<'_>] = &[
            // IC-16: of several the one with the same name.
            (named(), oldest(), &[("Ann", 1), ("Bob", 2)], &[("Bob", 9)], Some(&["2-1"])),
            // IC-17: none with the same name.
            (named(), oldest(), &[("Ann", 1), ("Bob", 2)], &[("Cid", 9)], Some(&[])),
            // A single one needs no name; of several on the other side the oldest is tied, whatever the order of listing.
            (named(), oldest(), &[("Ann", 1)], &[("Bob", 9), ("Cid", 8)], Some(&["1-2"])),
            // Both crowded: names lead.
            (named(), oldest(), &[("Ann", 1), ("Bob", 2)], &[("Bob", 9), ("Ann", 8)], Some(&["1-2", "2-1"])),
            // The same name twice: the oldest, and the second goes to the other.
            (named(), oldest(), &[("Ann", 5), ("Ann", 2)], &[("Ann", 9), ("Ann", 8)], Some(&["2-2", "1-1"])),
            // Equal ages: the smaller id.
            (oldest(), oldest(), &[("Ann", 1), ("Bob", 1)], &[("Cid", 1)], Some(&["1-1"])),
            (Several::all(Pick::Create), oldest(), &[("Ann", 1), ("Bob", 2)], &[("Cid", 1)], Some(&[])),
            (Several::all(Pick::Hold), oldest(), &[("Ann", 1), ("Bob", 2)], &[("Cid", 1)], None),
            (oldest(), Several::all(Pick::Hold), &[("Ann", 1)], &[("Cid", 1), ("Dan", 2)], None),
        ];
        for (left, right, lefts, rights, expected) in cases {
            let found = chosen(left.clone(), right.clone(), lefts, rights);
            let expected = expected.map(|pairs| pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{lefts:?} and {rights:?}");
        }
    }
}
