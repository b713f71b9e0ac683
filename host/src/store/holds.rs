//! Announcements that wait for a person, and what can be decided about them.

use pairwise_plugin_api::{Millis, Reason, RecordRef};
use serde::Serialize;

use super::codes::Gone;
use super::transaction::{Answer, Tx, statements};
use super::{Db, aside, inbox, lanes, links, matching};
use crate::model::{Aside, AsideKind, Hold, HoldId, HoldKind, InboxId, LaneKey, LinkState, Side, StoreResult};

statements! {
    ANY = "SELECT 1 FROM hold WHERE lane = ?1 AND kind = ?2 LIMIT 1";
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

/// Whether the lane holds anything of a kind.
pub(super) fn any(tx: &Tx<'_>, kind: HoldKind) -> Answer<bool> {
    Ok(tx.one(ANY, (tx.lane(), kind), |_| Ok(()))?.is_some())
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
            links::set_state(tx, link, LinkState::Dormant)
        }
        (None, _) if !row.candidate => {
            let dropped = Aside {
                side: row.side,
                at: RecordRef::new(&row.entity, &row.record),
                version: row.version.clone(),
                label: row.label.clone(),
                kind: AsideKind::Refused,
                code: "dropped".into(),
                text: format!("dropped from hold {}: {}", hold.id, hold.summary),
            };
            aside::put(tx, &hold.run, &dropped)
        }
        _ => inbox::remove(tx, row.row),
    }
}
