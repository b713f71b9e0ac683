//! Announcements that wait for a person, and what can be decided about them.

use pairwise_plugin_api::{Millis, Reason, RecordRef};
use serde::Serialize;

use super::codes::Gone;
use super::transaction::{Answer, Tx, statements};
use super::{Db, aside, inbox, lanes, links, matching};
use crate::model::{Aside, AsideKind, Hold, HoldId, HoldKind, InboxId, LaneKey, Side, StoreResult};

statements! {
    ADD = "INSERT INTO hold (lane, kind, side, summary, run, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    HELD_BY = "SELECT hold FROM inbox WHERE id = ?1 AND lane = ?2";
    HOLD_ROW = "UPDATE inbox SET hold = ?2, label = ?3, released = 0 WHERE id = ?1";
    MERGE = "UPDATE inbox SET hold = ?2 WHERE hold = ?1";
    KIND = "SELECT kind FROM hold WHERE id = ?1";
    IS_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM inbox WHERE hold = ?1)";
    FREE_ALL = "UPDATE inbox SET hold = NULL, label = NULL WHERE hold = ?1";
    RELEASE_ALL = "UPDATE inbox SET hold = NULL, label = NULL, released = 1 WHERE hold = ?1";
    FREE_ROW = "UPDATE inbox SET hold = NULL, label = NULL WHERE id = ?1";
    DELETE = "DELETE FROM hold WHERE id = ?1";
    PAGE = "SELECT id, lane, kind, side, summary, run, at, (SELECT count(*) FROM inbox WHERE inbox.hold = hold.id) \
            FROM hold WHERE id > ?1 ORDER BY id LIMIT ?2";
    ONE = "SELECT id, lane, kind, side, summary, run, at, (SELECT count(*) FROM inbox WHERE inbox.hold = hold.id) \
           FROM hold WHERE id = ?1";
    ROWS = "SELECT id, side, entity, record, version, reason, candidate, coalesce(label, record) \
            FROM inbox WHERE hold = ?1 ORDER BY id";
}

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoldRow {
    /// Its number.
    pub id: HoldId,
    /// Where.
    #[serde(flatten)]
    pub lane: LaneKey,
    /// What kind.
    pub kind: HoldKind,
    /// The side that the held operations would write to, where it is one.
    pub side: Option<Side>,
    /// What was found, why it stops, how to go on.
    pub summary: String,
    /// The run that found it.
    pub run: String,
    /// When.
    pub at: Millis,
    /// How many announcements wait.
    pub count: u64,
}

/// An announcement that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldRow {
    /// Its number.
    pub row: InboxId,
    /// The side that announced it.
    pub side: Side,
    /// The entity there.
    pub entity: String,
    /// The record there.
    pub record: String,
    /// Its version.
    pub version: Option<String>,
    /// Why it is gone, if it is.
    pub removed: Option<Reason>,
    /// It was looked up and not announced.
    pub candidate: bool,
    /// What a person calls it.
    pub label: String,
}

/// Makes announcements wait. Two questions about matching that share a record are one question.
pub(super) fn hold(tx: &Tx<'_>, run: &str, wanted: &Hold) -> Answer<()> {
    let mut rows = Vec::with_capacity(wanted.rows.len());
    for (row, label) in &wanted.rows {
        if let Some(before) = tx.one(HELD_BY, (row, tx.lane()), |row| row.get::<_, Option<HoldId>>(0))? {
            rows.push((*row, label, before));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let id = tx.insert(ADD, (tx.lane(), wanted.kind, wanted.side, &wanted.summary, run, tx.now))?;
    for (row, label, _) in &rows {
        tx.run(HOLD_ROW, (row, id, label))?;
    }
    let mut before: Vec<HoldId> = rows.into_iter().filter_map(|(.., before)| before).collect();
    before.sort_unstable();
    before.dedup();
    for old in before {
        if wanted.kind == HoldKind::Match && kind(tx, old)? == Some(HoldKind::Match) {
            tx.run(MERGE, (old, id))?;
        }
        delete_if_empty(tx, old)?;
    }
    Ok(())
}

fn kind(tx: &Tx<'_>, hold: HoldId) -> Answer<Option<HoldKind>> {
    tx.one(KIND, [hold], |row| row.get(0))
}

fn delete_if_empty(tx: &Tx<'_>, hold: HoldId) -> Answer<()> {
    if tx.one(IS_EMPTY, [hold], |row| row.get(0))?.unwrap_or(false) {
        tx.run(DELETE, [hold])?;
    }
    Ok(())
}

/// An announcement has left a hold. A question about matching has changed thereby and is asked anew.
pub(super) fn departed(tx: &Tx<'_>, hold: HoldId) -> Answer<()> {
    match kind(tx, hold)? {
        Some(HoldKind::Match) => dissolve(tx, hold),
        Some(_) => delete_if_empty(tx, hold),
        None => Ok(()),
    }
}

/// Lets all announcements of a hold go, undecided.
pub(super) fn dissolve(tx: &Tx<'_>, hold: HoldId) -> Answer<()> {
    tx.run(FREE_ALL, [hold])?;
    tx.run(DELETE, [hold])?;
    Ok(())
}

struct Stored {
    lane: i64,
    row: HoldRow,
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        lane: row.get(1)?,
        row: HoldRow {
            id: row.get(0)?,
            lane: LaneKey { profile: String::new(), user: String::new(), stream: String::new() },
            kind: row.get(2)?,
            side: row.get(3)?,
            summary: row.get(4)?,
            run: row.get(5)?,
            at: row.get(6)?,
            count: row.get(7)?,
        },
    })
}

fn named(tx: &Tx<'_>, Stored { lane, mut row }: Stored) -> Answer<HoldRow> {
    row.lane = lanes::key(tx, lane)?;
    Ok(row)
}

fn rows(tx: &Tx<'_>, hold: HoldId) -> Answer<Vec<HeldRow>> {
    let mut statement = tx.conn.prepare_cached(ROWS)?;
    let mut rows = statement.query([hold])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        let at = tx.at(row.get(2)?, row.get(3)?)?;
        held.push(HeldRow {
            row: row.get(0)?,
            side: row.get(1)?,
            entity: at.entity,
            record: at.id,
            version: row.get(4)?,
            removed: row.get::<_, Option<Gone>>(5)?.map(|gone| gone.0),
            candidate: row.get(6)?,
            label: row.get(7)?,
        });
    }
    Ok(held)
}

impl Db {
    /// Holds above a number.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn holds(&mut self, after: HoldId, limit: usize) -> StoreResult<Vec<HoldRow>> {
        self.read(0, |tx| tx.all(PAGE, (after, limit), read)?.into_iter().map(|stored| named(tx, stored)).collect())
    }

    /// One hold, with what waits in it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn held(&mut self, id: HoldId) -> StoreResult<Option<(HoldRow, Vec<HeldRow>)>> {
        self.read(0, |tx| match tx.one(ONE, [id], read)? {
            Some(stored) => Ok(Some((named(tx, stored)?, rows(tx, id)?))),
            None => Ok(None),
        })
    }

    /// Lets exactly these announcements through: removals are carried out, doubtful records are taken for new ones.
    /// Answers how many, or `None` if there is no such hold.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn release_hold(&mut self, id: HoldId) -> StoreResult<Option<usize>> {
        self.decide(|tx| {
            let Some(Stored { lane, .. }) = tx.one(ONE, [id], read)? else { return Ok(None) };
            tx.lane.set(lane);
            let released = tx.run(RELEASE_ALL, [id])?;
            tx.run(DELETE, [id])?;
            Ok(Some(released))
        })
    }

    /// Throws the announcements away. What was to be removed stays, and its link sleeps until the other record returns;
    /// a doubtful or suspicious record stays out until it changes. Answers how many, or `None` if there is no such hold.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn drop_hold(&mut self, id: HoldId) -> StoreResult<Option<usize>> {
        self.decide(|tx| {
            let Some(Stored { lane, row: hold }) = tx.one(ONE, [id], read)? else { return Ok(None) };
            tx.lane.set(lane);
            let rows = rows(tx, id)?;
            tx.run(FREE_ALL, [id])?;
            tx.run(DELETE, [id])?;
            for row in &rows {
                drop_row(tx, &hold, row)?;
            }
            Ok(Some(rows.len()))
        })
    }

    /// Decides a question about matching: these two records are one. What else waits in the hold is matched again unless
    /// it still has a counterpart there. Answers false if the two are not a left and a right record of this hold.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn pair_held(&mut self, id: HoldId, left: &str, right: &str) -> StoreResult<bool> {
        self.decide(|tx| {
            let Some(Stored { lane, .. }) = tx.one(ONE, [id], read)? else { return Ok(false) };
            tx.lane.set(lane);
            let rows = rows(tx, id)?;
            let find = |side: Side, record: &str| {
                rows.iter().find(|row| row.side == side && row.record == record).map(|row| row.row)
            };
            let (Some(left), Some(right)) = (find(Side::Left, left), find(Side::Right, right)) else {
                return Ok(false);
            };
            for row in [left, right] {
                tx.run(FREE_ROW, [row])?;
            }
            matching::pair(tx, &[(left, right)])?;
            let remains = |side: Side| rows.iter().any(|row| row.side == side && row.row != left && row.row != right);
            if !remains(Side::Left) || !remains(Side::Right) {
                dissolve(tx, id)?;
            }
            Ok(true)
        })
    }
}

fn drop_row(tx: &Tx<'_>, hold: &HoldRow, row: &HeldRow) -> Answer<()> {
    let entity = tx.entity(&row.entity)?;
    let link = links::id_of_record(tx, row.side, entity, &row.record)?;
    match (row.removed, link) {
        (Some(_), Some(link)) => {
            inbox::remove(tx, row.row)?;
            links::sleep(tx, link, row.side)
        }
        (None, _) if !row.candidate => {
            let text = format!("dropped from hold {}: {}", hold.id, hold.summary);
            let at = RecordRef::new(&row.entity, &row.record);
            let dropped = Aside {
                label: row.label.clone(),
                kind: AsideKind::Refused,
                ..Aside::of(row.side, at, row.version.clone(), "dropped", text)
            };
            aside::put(tx, &hold.run, &dropped)
        }
        _ => inbox::remove(tx, row.row),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{End, LinkState};
    use crate::model::{Lease, News, Select, Store};

    fn hold(db: &mut Db, lease: &Lease, kind: HoldKind, rows: &[(Side, &str)]) -> HoldId {
        let rows = rows.iter().map(|(side, id)| (row(db, lease, *side, id).unwrap(), id.to_uppercase())).collect();
        db.hold(lease, &[Hold { kind, side: None, summary: "why".into(), rows }], "run").unwrap();
        db.holds(0, 100).unwrap().last().unwrap().id
    }

    fn two_removals() -> (Db, Lease, HoldId) {
        let (mut db, lease) = world();
        linked(&mut db, &lease, "a", "a.vcf");
        linked(&mut db, &lease, "b", "b.vcf");
        stage(&mut db, &lease, &[gone(Side::Left, "a"), gone(Side::Left, "b")]);
        let id = hold(&mut db, &lease, HoldKind::Removals, &[(Side::Left, "a"), (Side::Left, "b")]);
        (db, lease, id)
    }

    #[test]
    fn a_release_lets_exactly_its_rows_through() {
        let (mut db, lease, id) = two_removals();
        linked(&mut db, &lease, "c", "c.vcf");
        stage(&mut db, &lease, &[gone(Side::Left, "a"), gone(Side::Left, "c")]);
        assert_eq!(sketch(&db.work(&lease, Select::Removals, 0, 10).unwrap()), ["!c - 3"]);
        let (shown, rows) = db.held(id).unwrap().unwrap();
        assert_eq!((shown.count, shown.kind, shown.lane), (2, HoldKind::Removals, key()));
        assert_eq!(rows.iter().map(|row| row.label.as_str()).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(rows[0].removed, Some(Reason::Deleted));

        assert_eq!(db.release_hold(id).unwrap(), Some(2));
        let works = db.work(&lease, Select::Removals, 0, 10).unwrap();
        let released: Vec<bool> = works.iter().map(|work| work.news.left.as_ref().unwrap().released).collect();
        assert_eq!(released, [true, true, false]);
        stage(&mut db, &lease, &[gone(Side::Left, "a")]);
        assert!(db.work(&lease, Select::Removals, 0, 1).unwrap()[0].news.left.as_ref().unwrap().released);
        assert_eq!((db.release_hold(id).unwrap(), db.held(id).unwrap()), (None, None));
    }

    #[test]
    fn dropped_removals_put_their_links_to_sleep() {
        let (mut db, lease, id) = two_removals();
        assert_eq!(db.drop_hold(id).unwrap(), Some(2));
        assert!(all_work(&mut db, &lease).is_empty());
        assert_eq!(db.memory(&lease).unwrap().live_links, 0);
        let links = db.links(&lease, 0, 10).unwrap();
        assert!(links.iter().all(|link| link.state == LinkState::Dormant));
        // So that it wakes when the record returns, and by nothing else.
        let version = |end: &Option<End>| end.as_ref().and_then(|end| end.version.clone());
        assert!(links.iter().all(|link| version(&link.ends.left).is_none() && version(&link.ends.right).is_some()));
        assert!(db.holds(0, 10).unwrap().is_empty());
        assert_eq!(db.drop_hold(id).unwrap(), None);
    }

    #[test]
    fn dropped_doubts_stay_out_until_they_change() {
        let (mut db, lease) = world();
        let candidate = crate::model::Staged { candidate: true, ..here(Side::Right, "x", "1") };
        stage(&mut db, &lease, &[here(Side::Left, "a", "1"), candidate]);
        let id = hold(&mut db, &lease, HoldKind::Match, &[(Side::Left, "a"), (Side::Right, "x")]);
        db.drop_hold(id).unwrap();
        let known = |db: &mut Db, side, id: &str| db.known(&lease, side, &[at(id)]).unwrap().remove(0);
        assert_eq!(known(&mut db, Side::Left, "a").aside.unwrap().1.as_deref(), Some("1"));
        assert_eq!(known(&mut db, Side::Right, "x"), crate::model::Known::default());
        assert!(db.quarantine(&key(), 0, 10).unwrap().is_empty(), "it is no error");
    }

    fn question() -> (Db, Lease, HoldId) {
        let (mut db, lease) = world();
        let keyed = |side, id: &str| keyed(side, id, &[(0, 1)]);
        stage(&mut db, &lease, &[keyed(Side::Left, "a"), keyed(Side::Left, "b"), keyed(Side::Right, "x")]);
        let rows = [(Side::Left, "a"), (Side::Left, "b"), (Side::Right, "x")];
        let id = hold(&mut db, &lease, HoldKind::Match, &rows);
        (db, lease, id)
    }

    #[test]
    fn a_person_pairs_two_and_the_rest_is_matched_again() {
        let (mut db, lease, id) = question();
        assert!(!db.pair_held(id, "x", "a").unwrap() && !db.pair_held(id, "a", "y").unwrap());
        assert!(!db.pair_held(99, "a", "x").unwrap());
        assert!(all_work(&mut db, &lease).is_empty());
        assert!(db.pair_held(id, "b", "x").unwrap());
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["a - -", "b x -"]);
        assert!(db.holds(0, 10).unwrap().is_empty());
    }

    #[test]
    fn what_still_has_a_counterpart_in_the_hold_goes_on_waiting() {
        let (mut db, lease, old) = question();
        stage(&mut db, &lease, &[here(Side::Right, "y", "1")]);
        let rows = [(Side::Left, "a"), (Side::Right, "y")];
        let id = hold(&mut db, &lease, HoldKind::Match, &rows);
        assert_eq!(db.holds(0, 10).unwrap().len(), 1, "two questions that share a record are one");
        assert_eq!((db.held(old).unwrap(), db.held(id).unwrap().unwrap().1.len()), (None, 4));
        assert!(db.pair_held(id, "b", "x").unwrap());
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["b x -"]);
        assert_eq!(db.held(id).unwrap().unwrap().0.count, 2);
    }

    #[test]
    fn released_doubts_are_new_records_and_asked_about_no_more() {
        let (mut db, lease, id) = question();
        db.release_hold(id).unwrap();
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["a - -", "b - -", "- x -"]);
        let mut groups = 0;
        db.key_groups(&lease, 0, &mut |_| groups += 1).unwrap();
        assert_eq!(groups, 0);
        assert!(db.unmatched(&lease, Side::Left, 0, 10).unwrap().is_empty());
    }

    #[test]
    fn rows_that_are_gone_make_no_hold() {
        let (mut db, lease) = world();
        let nothing =
            Hold { kind: HoldKind::Removals, side: None, summary: String::new(), rows: vec![(5, "x".into())] };
        db.hold(&lease, &[nothing], "run").unwrap();
        assert!(db.holds(0, 10).unwrap().is_empty());
    }

    #[test]
    fn a_changed_suspect_is_looked_at_again() {
        let (mut db, lease) = world();
        linked(&mut db, &lease, "a", "a.vcf");
        stage(&mut db, &lease, &[here(Side::Left, "a", "2")]);
        hold(&mut db, &lease, HoldKind::Identity, &[(Side::Left, "a")]);
        stage(&mut db, &lease, &[here(Side::Left, "a", "3")]);
        assert!(db.holds(0, 10).unwrap().is_empty());
        assert!(matches!(all_work(&mut db, &lease)[0].news.left.as_ref().unwrap().news, News::Here(_)));
    }
}
