//! How records without a link find each other: match keys, candidates, pairs.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::codes::Keys;
use super::inbox;
use super::transaction::{Answer, Fault, Tx, statements};
use super::{holds, links};
use crate::model::{Announced, HoldId, HoldKind, InboxId, KeyGroup, Side, Sides};

statements! {
    KEYS = "SELECT id, side, keys FROM inbox \
            WHERE lane = ?1 AND hold IS NULL AND keys IS NOT NULL AND pair IS NULL AND released = 0 \
            AND EXISTS (SELECT 1 FROM inbox WHERE lane = ?1 AND side = 0 AND keys IS NOT NULL) \
            AND EXISTS (SELECT 1 FROM inbox WHERE lane = ?1 AND side = 1 AND keys IS NOT NULL)";
    RECORD = "SELECT side, entity, record FROM inbox WHERE id = ?1";
    UNMATCHED = "SELECT id, entity, record FROM inbox WHERE lane = ?1 AND hold IS NULL AND id > ?3 AND side = ?2 \
                 AND reason IS NULL AND pair IS NULL AND released = 0 AND candidate = 0 ORDER BY id";
    SIDE_OF = "SELECT side FROM inbox WHERE id = ?1 AND lane = ?2";
    SET_PAIR = "UPDATE inbox SET pair = ?2 WHERE id = ?1";
    CANDIDATES = "SELECT id FROM inbox WHERE lane = ?1 AND candidate = 1 AND pair IS NULL AND hold IS NULL";
    QUESTIONS = "SELECT hold.id, inbox.keys FROM hold JOIN inbox ON inbox.hold = hold.id \
                 WHERE hold.lane = ?1 AND hold.kind = ?2 AND inbox.keys IS NOT NULL";
}

/// Visits the groups of one key, in the order of their digests. Sixteen bytes for each value of the key are held meanwhile; where
/// one side has no keys at all, the other one is not read.
pub(super) fn key_groups(tx: &Tx<'_>, rank: u8, visit: &mut dyn FnMut(KeyGroup)) -> Answer<()> {
    let mut values: Vec<(u64, Row)> = Vec::new();
    let mut statement = tx.conn.prepare_cached(KEYS)?;
    let mut rows = statement.query([tx.lane()])?;
    while let Some(row) = rows.next()? {
        let row_of_key = Row::new(row.get(0)?, row.get(1)?);
        let Keys(keys) = row.get(2)?;
        values.extend(keys.into_iter().filter(|(of, _)| *of == rank).map(|(_, digest)| (digest, row_of_key)));
    }
    drop(rows);
    values.sort_unstable();
    values.dedup();
    for group in values.chunk_by(|(one, _), (other, _)| one == other) {
        visit_free(tx, group, visit)?;
    }
    Ok(())
}

/// An announcement's number and side in one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row(i64);

impl Row {
    fn new(id: InboxId, side: Side) -> Self {
        Row(id << 1 | i64::from(side == Side::Right))
    }

    fn id(self) -> InboxId {
        self.0 >> 1
    }

    fn side(self) -> Side {
        if self.0 & 1 == 0 { Side::Left } else { Side::Right }
    }
}

/// Whether a row was linked since it was staged is asked only where both sides have one.
fn visit_free(tx: &Tx<'_>, rows: &[(u64, Row)], visit: &mut dyn FnMut(KeyGroup)) -> Answer<()> {
    let stands_on = |side: Side| rows.iter().any(|(_, row)| row.side() == side);
    if !stands_on(Side::Left) || !stands_on(Side::Right) {
        return Ok(());
    }
    let mut group = KeyGroup::default();
    for (_, row) in rows {
        if !is_linked(tx, row.id())? {
            group.rows[row.side()].push(row.id());
        }
    }
    if !group.rows.left.is_empty() && !group.rows.right.is_empty() {
        visit(group);
    }
    Ok(())
}

fn is_linked(tx: &Tx<'_>, id: InboxId) -> Answer<bool> {
    let row: Option<(Side, i64, String)> = tx.one(RECORD, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((side, entity, record)) = row else { return Ok(false) };
    Ok(links::id_of_record(tx, side, entity, &record)?.is_some())
}

/// Announcements of one side for which candidates may be looked up elsewhere.
pub(super) fn unmatched(tx: &Tx<'_>, side: Side, after: InboxId, limit: usize) -> Answer<Vec<Announced>> {
    let mut statement = tx.conn.prepare_cached(UNMATCHED)?;
    let mut rows = statement.query((tx.lane(), side, after))?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let (id, entity, record): (InboxId, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if links::id_of_record(tx, side, entity, &record)?.is_none()
            && let Some(stored) = inbox::by_id(tx, id)?
        {
            found.push(stored.announced(tx)?);
        }
    }
    Ok(found)
}

/// Ties announcements together.
pub(super) fn pair(tx: &Tx<'_>, pairs: &[(InboxId, InboxId)]) -> Answer<()> {
    for (left, right) in pairs {
        let sides = Sides { left: side_of(tx, *left)?, right: side_of(tx, *right)? };
        if (sides.left, sides.right) != (Some(Side::Left), Some(Side::Right)) {
            return Err(Fault::Misused(format!("announcements {left} and {right} are not one of each side")));
        }
        tx.run(SET_PAIR, (left, right))?;
        tx.run(SET_PAIR, (right, left))?;
    }
    Ok(())
}

fn side_of(tx: &Tx<'_>, id: InboxId) -> Answer<Option<Side>> {
    tx.one(SIDE_OF, (id, tx.lane()), |row| row.get(0))
}

/// Forgets candidates that were paired with nothing. Those that a person looks at stay.
pub(super) fn drop_candidates(tx: &Tx<'_>) -> Answer<()> {
    let rows: Vec<InboxId> = tx.all(CANDIDATES, [tx.lane()], |row| row.get(0))?;
    for id in rows {
        inbox::remove(tx, id)?;
    }
    Ok(())
}

/// The keys of records that wait for a person to say which of them are one; read when the first arriving record has keys.
#[derive(Default)]
pub(super) struct Questions(OnceCell<HashMap<(u8, u64), Vec<HoldId>>>);

impl Questions {
    /// A record arrives that shares a key with such records: the question has changed, so all of them are matched again.
    pub(super) fn ask_again(&self, tx: &Tx<'_>, keys: &[(u8, u64)]) -> Answer<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let asked = match self.0.get() {
            Some(asked) => asked,
            None => {
                let asked = read_questions(tx)?;
                self.0.get_or_init(|| asked)
            }
        };
        for hold in keys.iter().filter_map(|key| asked.get(key)).flatten() {
            holds::dissolve(tx, *hold)?;
        }
        Ok(())
    }
}

fn read_questions(tx: &Tx<'_>) -> Answer<HashMap<(u8, u64), Vec<HoldId>>> {
    let held: Vec<(HoldId, Keys)> =
        tx.all(QUESTIONS, (tx.lane(), HoldKind::Match), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut asked: HashMap<(u8, u64), Vec<HoldId>> = HashMap::new();
    for (hold, Keys(keys)) in held {
        for key in keys {
            asked.entry(key).or_default().push(hold);
        }
    }
    Ok(asked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Hold, LaneKey, Lease, Settlement, Staged, Store};
    use crate::store::Db;

    fn groups(db: &mut Db, lease: &Lease, rank: u8) -> Vec<(Vec<InboxId>, Vec<InboxId>)> {
        let mut groups = Vec::new();
        db.key_groups(lease, rank, &mut |group| groups.push((group.rows.left, group.rows.right))).unwrap();
        groups
    }

    fn rows(db: &mut Db, lease: &Lease, ids: &[(Side, &str)]) -> Vec<InboxId> {
        ids.iter().map(|(side, id)| row(db, lease, *side, id).unwrap()).collect()
    }

    fn hold(db: &mut Db, lease: &Lease, rows: &[InboxId]) {
        let rows = rows.iter().map(|row| (*row, "x".into())).collect();
        db.hold(lease, &[Hold { kind: HoldKind::Match, side: None, summary: "which?".into(), rows }], "run").unwrap();
    }

    #[test]
    fn groups_share_a_value_and_stand_on_both_sides() {
        let (mut db, lease) = world();
        let big = u64::MAX;
        stage(
            &mut db,
            &lease,
            &[
                keyed(Side::Left, "a", &[(0, 1), (1, big)]),
                keyed(Side::Left, "b", &[(0, 2), (0, 2)]),
                keyed(Side::Left, "c", &[(1, big)]),
                keyed(Side::Right, "x", &[(0, 1), (1, big)]),
                keyed(Side::Right, "y", &[(0, 3)]),
            ],
        );
        let r = rows(&mut db, &lease, &[(Side::Left, "a"), (Side::Left, "c"), (Side::Right, "x")]);
        assert_eq!(groups(&mut db, &lease, 0), [(vec![r[0]], vec![r[2]])]);
        assert_eq!(groups(&mut db, &lease, 1), [(vec![r[0], r[1]], vec![r[2]])]);
        assert!(groups(&mut db, &lease, 2).is_empty());
    }

    #[test]
    fn linked_paired_and_held_rows_are_in_no_group() {
        let (mut db, lease) = world();
        let both = |id: &str, key: u64| [keyed(Side::Left, id, &[(0, key)]), keyed(Side::Right, id, &[(0, key)])];
        for (id, key) in [("linked", 1), ("paired", 2), ("held", 3), ("free", 4)] {
            stage(&mut db, &lease, &both(id, key));
        }
        assert_eq!(groups(&mut db, &lease, 0).len(), 4);
        linked(&mut db, &lease, "linked", "elsewhere");
        let r = rows(&mut db, &lease, &[(Side::Left, "paired"), (Side::Right, "paired"), (Side::Right, "held")]);
        db.pair(&lease, &[(r[0], r[1])]).unwrap();
        hold(&mut db, &lease, &r[2..]);
        let free = rows(&mut db, &lease, &[(Side::Left, "free"), (Side::Right, "free")]);
        assert_eq!(groups(&mut db, &lease, 0), [(vec![free[0]], vec![free[1]])]);
        let unmatched = db.unmatched(&lease, Side::Left, 0, 10).unwrap();
        assert_eq!(unmatched.iter().map(|told| told.at.id.as_str()).collect::<Vec<_>>(), ["held", "free"]);
        assert_eq!(db.unmatched(&lease, Side::Left, unmatched[0].id, 10).unwrap(), unmatched[1..]);
    }

    #[test]
    fn only_one_of_each_side_is_a_pair() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "a", "1"), here(Side::Left, "b", "1")]);
        let r = rows(&mut db, &lease, &[(Side::Left, "a"), (Side::Left, "b")]);
        assert!(db.pair(&lease, &[(r[0], r[1])]).unwrap_err().to_string().contains("not one of each side"));
        assert!(db.pair(&lease, &[(r[0], 999)]).is_err());
    }

    #[test]
    fn a_pair_whose_one_half_was_linked_elsewhere_is_none() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "a", "1"), here(Side::Right, "x", "1")]);
        let r = rows(&mut db, &lease, &[(Side::Left, "a"), (Side::Right, "x")]);
        db.pair(&lease, &[(r[0], r[1])]).unwrap();
        let link = linked(&mut db, &lease, "b", "x");
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["a - -".to_owned(), format!("- x {}", link.id)]);
    }

    #[test]
    fn candidates_without_a_partner_are_forgotten() {
        let (mut db, lease) = world();
        let candidate = |id: &str| Staged { candidate: true, ..keyed(Side::Right, id, &[(0, 1)]) };
        stage(&mut db, &lease, &[here(Side::Left, "a", "1"), candidate("x"), candidate("y"), candidate("z")]);
        let r = rows(&mut db, &lease, &[(Side::Left, "a"), (Side::Right, "x"), (Side::Right, "z")]);
        db.pair(&lease, &[(r[0], r[1])]).unwrap();
        hold(&mut db, &lease, &r[2..]);
        db.drop_candidates(&lease).unwrap();
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["a x -"]);
        assert_eq!(row(&mut db, &lease, Side::Right, "y"), None);
        assert!(row(&mut db, &lease, Side::Right, "z").is_some());
    }

    #[test]
    fn a_newcomer_with_the_same_key_asks_the_question_anew() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[keyed(Side::Left, "a", &[(0, 1)]), keyed(Side::Right, "x", &[(0, 1)])]);
        let r = rows(&mut db, &lease, &[(Side::Left, "a"), (Side::Right, "x")]);
        hold(&mut db, &lease, &r);
        let other = db.take(&LaneKey { stream: "other".into(), ..key() }, &holder(1), 0).unwrap();
        stage(&mut db, &other, &[keyed(Side::Right, "y", &[(0, 1)])]);
        stage(&mut db, &lease, &[keyed(Side::Right, "z", &[(0, 2)])]);
        assert_eq!(db.holds(0, 10).unwrap().len(), 1);
        stage(&mut db, &lease, &[keyed(Side::Right, "y", &[(0, 1)])]);
        assert!(db.holds(0, 10).unwrap().is_empty());
        assert_eq!(groups(&mut db, &lease, 0)[0].1.len(), 2);
    }

    #[test]
    fn a_question_that_lost_one_of_its_records_is_asked_anew() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[keyed(Side::Left, "a", &[(0, 1)]), keyed(Side::Right, "x", &[(0, 1)])]);
        let r = rows(&mut db, &lease, &[(Side::Left, "a"), (Side::Right, "x")]);
        hold(&mut db, &lease, &r);
        settle(&mut db, &lease, Settlement { settled: vec![r[1]], ..Settlement::default() });
        assert!(db.holds(0, 10).unwrap().is_empty());
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["a - -"]);
    }
}
