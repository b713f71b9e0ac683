//! What was done to records: the values that lost, kept with side, time and run until they are too old, and how each link came
//! to be.

use pairwise_plugin_api::{Millis, RecordRef, Value};
use serde::Serialize;

use super::births::{self, Birth};
use super::codes::Packed;
use super::transaction::{Answer, Tx, statements};
use super::{Db, lanes, links};
use crate::model::{LaneKey, LinkId, Lost, Side, StoreResult};

statements! {
    ADD = "INSERT INTO history (lane, link, side, entity, record, label, op, reason, run, at, lost) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    OF_LINK = "SELECT id, lane, link, side, entity, record, label, op, reason, run, at, lost FROM history \
               WHERE link = ?1 ORDER BY id";
    LINKS_THEN = "SELECT link FROM history WHERE record = ?1";
    LINKS_NOW = "SELECT link.id FROM lane CROSS JOIN entity CROSS JOIN link \
                 WHERE link.lane = lane.id AND link.left_entity = entity.id AND link.left_id = ?1 \
                 UNION ALL SELECT link.id FROM lane CROSS JOIN entity CROSS JOIN link \
                 WHERE link.lane = lane.id AND link.right_entity = entity.id AND link.right_id = ?1";
    LANE = "SELECT lane FROM link WHERE id = ?1";
    LANE_THEN = "SELECT lane FROM history WHERE link = ?1 LIMIT 1";
    PRUNE = "DELETE FROM history WHERE at < ?1";
}

/// One entry of a record's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryRow {
    /// Its number; `None` for how the link came to be.
    pub id: Option<i64>,
    /// Where.
    #[serde(flatten)]
    pub lane: LaneKey,
    /// The link at that time.
    pub link: LinkId,
    /// The side on which the values stood.
    pub side: Side,
    /// The entity there.
    pub entity: String,
    /// The record there.
    pub record: String,
    /// What a person calls it.
    pub label: String,
    /// What was done: `create` and `pair` say how the link came to be.
    pub op: String,
    /// Why, in a stable word.
    pub reason: String,
    /// In which run.
    pub run: String,
    /// When.
    pub at: Millis,
    /// The values.
    pub values: Vec<LostValue>,
}

/// A value that lost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LostValue {
    /// The field.
    pub field: String,
    /// What stood there.
    pub old: Value,
    /// What took its place.
    pub new: Value,
}

/// Keeps what lost. A link that was not stored yet when it lost is found by its record.
pub(super) fn add(tx: &Tx<'_>, run: &str, lost: &Lost) -> Answer<()> {
    let entity = tx.entity(&lost.at.entity)?;
    let link = match lost.link {
        0 => links::id_of_record(tx, lost.side, entity, &lost.at.id)?.unwrap_or_default(),
        known => known,
    };
    tx.run(
        ADD,
        rusqlite::params![
            tx.lane(),
            link,
            lost.side,
            entity,
            lost.at.id,
            lost.label,
            lost.op,
            lost.reason,
            run,
            tx.now,
            Packed(&lost.values)
        ],
    )?;
    Ok(())
}

/// Forgets what is older.
pub(super) fn prune(tx: &Tx<'_>, before: Millis) -> Answer<usize> {
    tx.run(PRUNE, [before])
}

impl Db {
    /// All that was ever done to a record, on both sides, under whichever link. `record` is an id of either side.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn history_of_record(&mut self, record: &str) -> StoreResult<Vec<HistoryRow>> {
        self.read(0, |tx| {
            let mut links: Vec<LinkId> = tx.all(LINKS_THEN, [record], |row| row.get(0))?;
            links.extend(tx.all(LINKS_NOW, [record], |row| row.get::<_, LinkId>(0))?);
            links.sort_unstable();
            links.dedup();
            let mut rows = Vec::new();
            for link in links {
                let lost = of_link(tx, link)?;
                rows.extend(birth(tx, link, &lost)?);
                rows.extend(lost);
            }
            Ok(rows)
        })
    }

    /// All that was ever done to the records of a link.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn history_of_link(&mut self, link: LinkId) -> StoreResult<Vec<HistoryRow>> {
        self.read(0, |tx| of_link(tx, link))
    }
}

/// How a link came to be. A link that is gone is known by what it has lost.
fn birth(tx: &Tx<'_>, link: LinkId, lost: &[HistoryRow]) -> Answer<Option<HistoryRow>> {
    let stored = links::get(tx, link)?;
    let lane = match &stored {
        Some(_) => tx.one(LANE, [link], |row| row.get(0))?,
        None => tx.one(LANE_THEN, [link], |row| row.get(0))?,
    };
    let Some(lane): Option<i64> = lane else { return Ok(None) };
    let Some(Birth { side, run, at }) = births::of_link(tx, lane, link)? else { return Ok(None) };
    let (op, reason, side) = match side {
        Some(side) => ("create", "new_on_other_side", side),
        None => ("pair", "matched", Side::Right),
    };
    let end = stored.and_then(|link| link.ends[side].clone()).map(|end| end.at);
    let told = lost.iter().rev().find(|row| row.side == side);
    let Some(record) = end.or_else(|| told.map(|row| RecordRef::new(&row.entity, &row.record))) else {
        return Ok(None);
    };
    let label = lost.last().map_or_else(|| record.id.clone(), |row| row.label.clone());
    Ok(Some(HistoryRow {
        id: None,
        lane: lanes::key(tx, lane)?,
        link,
        side,
        entity: record.entity,
        record: record.id,
        label,
        op: op.to_owned(),
        reason: reason.to_owned(),
        run,
        at,
        values: Vec::new(),
    }))
}

fn of_link(tx: &Tx<'_>, link: LinkId) -> Answer<Vec<HistoryRow>> {
    type Values = Vec<(String, Value, Value)>;
    let mut statement = tx.conn.prepare_cached(OF_LINK)?;
    let mut rows = statement.query([link])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let at = tx.at(row.get(4)?, row.get(5)?)?;
        let Packed(values): Packed<Values> = row.get(11)?;
        found.push(HistoryRow {
            id: Some(row.get(0)?),
            lane: lanes::key(tx, row.get(1)?)?,
            link: row.get(2)?,
            side: row.get(3)?,
            entity: at.entity,
            record: at.id,
            label: row.get(6)?,
            op: row.get(7)?,
            reason: row.get(8)?,
            run: row.get(9)?,
            at: row.get(10)?,
            values: values.into_iter().map(|(field, old, new)| LostValue { field, old, new }).collect(),
        });
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{LinkChange, Settlement, Store};

    #[test]
    fn a_record_is_followed_through_its_links() {
        let (mut db, lease) = world();
        let first = linked(&mut db, &lease, "a", "a.vcf").id;
        let lost = |link: LinkId, side: Side, id: &str, old: &str| Lost {
            link,
            side,
            at: RecordRef::new("contact", id),
            label: "Ada".into(),
            op: "update".into(),
            reason: "latest".into(),
            values: vec![("title".into(), old.into(), "Dr.".into())],
        };
        db.intend(&lease, "run", &mut [], &[lost(first, Side::Right, "a.vcf", "one")]).unwrap();
        settle(&mut db, &lease, Settlement { link: LinkChange::Retire(first), ..Settlement::default() });
        let second = linked(&mut db, &lease, "a", "b.vcf").id;
        db.intend(&lease, "run", &mut [], &[lost(second, Side::Left, "a", "two")]).unwrap();
        db.intend(&lease, "run", &mut [], &[lost(second, Side::Right, "b.vcf", "three")]).unwrap();
        let old = |rows: Vec<HistoryRow>| {
            let told = |row: &HistoryRow| row.values.first().map_or(row.op.clone(), |value| value.old.to_string());
            rows.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(old(db.history_of_record("a").unwrap()), ["pair", "two", "three"]);
        assert_eq!(old(db.history_of_record("a.vcf").unwrap()), ["pair", "one"]);
        assert_eq!(old(db.history_of_link(first).unwrap()), ["one"]);
        let row = &db.history_of_record("b.vcf").unwrap()[2];
        assert_eq!((row.lane.clone(), row.side, row.entity.as_str()), (key(), Side::Right, "contact"));
        assert!(db.history_of_record("nobody").unwrap().is_empty());
    }
}
