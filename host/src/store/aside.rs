//! Records that are set aside: quarantined because of an error, or refused by a filter or a right.

use pairwise_plugin_api::{Millis, RecordRef};
use serde::Serialize;

use super::transaction::{Answer, Tx, statements};
use super::{Db, inbox, lanes, links, revisits};
use crate::model::{Aside, AsideId, AsideKind, LaneKey, Side, StoreResult};

statements! {
    PUT = "INSERT INTO aside (lane, side, entity, record, version, kind, label, code, text, run, at, modified) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
           ON CONFLICT (lane, side, entity, record) DO UPDATE SET version = excluded.version, kind = excluded.kind, \
           label = excluded.label, code = excluded.code, text = excluded.text, run = excluded.run, at = excluded.at, \
           modified = excluded.modified";
    ANY = "SELECT EXISTS (SELECT 1 FROM aside WHERE lane = ?1)";
    CLEAR = "DELETE FROM aside WHERE lane = ?1 AND side = ?2 AND entity = ?3 AND record = ?4";
    PAGE = "SELECT id, lane, side, entity, record, version, kind, label, code, text, run, at FROM aside \
            WHERE lane = ?1 AND kind = 0 AND id > ?2 ORDER BY id LIMIT ?3";
    LOOSE = "SELECT id, entity, record FROM aside \
             WHERE lane = ?1 AND side = ?2 AND kind = 0 AND code <> 'maybe_made' AND id > ?3 ORDER BY id LIMIT ?4";
    ONE = "SELECT id, lane, side, entity, record, version, kind, label, code, text, run, at FROM aside WHERE id = ?1";
    DELETE = "DELETE FROM aside WHERE id = ?1";
    REFUSE = "UPDATE aside SET kind = 1 WHERE id = ?1";
}

/// A quarantined record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuarantineRow {
    /// Its number.
    pub id: AsideId,
    /// Where.
    #[serde(flatten)]
    pub lane: LaneKey,
    /// Whose.
    pub side: Side,
    /// The entity there.
    pub entity: String,
    /// The record there.
    pub record: String,
    /// At which version; a newer one is looked at again by itself.
    pub version: Option<String>,
    /// Quarantined, or dropped by a person.
    pub kind: AsideKind,
    /// What a person calls it.
    pub label: String,
    /// Stable word.
    pub code: String,
    /// What was found, what was expected, what to do.
    pub text: String,
    /// In which run.
    pub run: String,
    /// When.
    pub at: Millis,
}

/// Sets a record aside in place of its announcement.
pub(super) fn put(tx: &Tx<'_>, run: &str, aside: &Aside) -> Answer<()> {
    let entity = tx.entity(&aside.at.entity)?;
    inbox::remove_record(tx, aside.side, entity, &aside.at.id)?;
    tx.has_aside.set(Some(true));
    tx.run(
        PUT,
        rusqlite::params![
            tx.lane(),
            aside.side,
            entity,
            aside.at.id,
            aside.version,
            aside.kind,
            aside.label,
            aside.code,
            aside.text,
            run,
            tx.now,
            aside.modified
        ],
    )?;
    Ok(())
}

/// A record takes part again. Answers whether it was set aside.
pub(super) fn clear(tx: &Tx<'_>, side: Side, entity: i64, record: &str) -> Answer<bool> {
    // Mostly there is nothing to clear in the whole lane, and one look is enough for a batch.
    let any = match tx.has_aside.get() {
        Some(any) => any,
        None => tx.one(ANY, [tx.lane()], |row| row.get(0))?.unwrap_or_default(),
    };
    tx.has_aside.set(Some(any));
    Ok(any && tx.run(CLEAR, (tx.lane(), side, entity, record))? > 0)
}

/// Quarantined records of a side without a link, above a number, of which nobody must say first whether they are to take part.
pub(super) fn loose(tx: &Tx<'_>, side: Side, after: AsideId, limit: usize) -> Answer<Vec<(AsideId, RecordRef)>> {
    let rows: Vec<(AsideId, i64, String)> =
        tx.all(LOOSE, (tx.lane(), side, after, limit), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut loose = Vec::with_capacity(rows.len());
    for (id, entity, record) in rows {
        if links::id_of_record(tx, side, entity, &record)?.is_none() {
            loose.push((id, tx.at(entity, record)?));
        }
    }
    Ok(loose)
}

struct Stored {
    lane: i64,
    entity: i64,
    row: QuarantineRow,
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        lane: row.get(1)?,
        entity: row.get(3)?,
        row: QuarantineRow {
            id: row.get(0)?,
            lane: LaneKey { profile: String::new(), user: String::new(), stream: String::new() },
            side: row.get(2)?,
            entity: String::new(),
            record: row.get(4)?,
            version: row.get(5)?,
            kind: row.get(6)?,
            label: row.get(7)?,
            code: row.get(8)?,
            text: row.get(9)?,
            run: row.get(10)?,
            at: row.get(11)?,
        },
    })
}

fn named(tx: &Tx<'_>, stored: Stored) -> Answer<QuarantineRow> {
    let Stored { lane, entity, mut row } = stored;
    row.lane = lanes::key(tx, lane)?;
    row.entity = tx.at(entity, String::new())?.entity;
    Ok(row)
}

impl Db {
    /// Quarantined records of a lane above a number.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn quarantine(&mut self, lane: &LaneKey, after: AsideId, limit: usize) -> StoreResult<Vec<QuarantineRow>> {
        self.read_lane(lane, |tx| {
            tx.all(PAGE, (tx.lane(), after, limit), read)?.into_iter().map(|stored| named(tx, stored)).collect()
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn quarantined(&mut self, id: AsideId) -> StoreResult<Option<QuarantineRow>> {
        self.read(0, |tx| tx.one(ONE, [id], read)?.map(|stored| named(tx, stored)).transpose())
    }

    /// The next run reads the record and its counterpart again. Answers false if there is no such record.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn retry_quarantined(&mut self, id: AsideId) -> StoreResult<bool> {
        self.decide(|tx| {
            let Some(Stored { lane, entity, row }) = tx.one(ONE, [id], read)? else { return Ok(false) };
            tx.lane.set(lane);
            tx.run(DELETE, [id])?;
            revisits::add(tx, row.side, entity, &row.record)?;
            // What was refused may have come from its counterpart.
            if let Some(link) = links::id_of_record(tx, row.side, entity, &row.record)? {
                revisits::add_ends(tx, link)?;
            }
            Ok(true)
        })
    }

    /// The record is no longer shown and stays out until it changes. Answers false if there is no such record.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn drop_quarantined(&mut self, id: AsideId) -> StoreResult<bool> {
        self.decide(|tx| {
            let Some(Stored { lane, .. }) = tx.one(ONE, [id], read)? else { return Ok(false) };
            tx.lane.set(lane);
            tx.run(REFUSE, [id])?;
            Ok(true)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Lease, LinkChange, Settlement, Store};

    fn put_aside(db: &mut Db, lease: &Lease, id: &str, kind: AsideKind) {
        let aside = Aside {
            side: Side::Left,
            at: at(id),
            version: Some("1".into()),
            modified: Some(7),
            label: id.to_uppercase(),
            kind,
            code: "broken".into(),
            text: "line 3 is no line".into(),
        };
        settle(db, lease, Settlement { aside: vec![aside], ..Settlement::default() });
    }

    fn known(db: &mut Db, lease: &Lease, id: &str) -> bool {
        db.known(lease, Side::Left, &[at(id)]).unwrap()[0].aside.is_some()
    }

    #[test]
    fn a_record_set_aside_is_announced_no_more_until_it_takes_part_again() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "a", "1"), here(Side::Left, "b", "1")]);
        for id in ["a", "b", "c"] {
            put_aside(&mut db, &lease, id, AsideKind::Quarantined);
        }
        assert!(all_work(&mut db, &lease).is_empty());
        assert_eq!(db.known(&lease, Side::Left, &[at("a")]).unwrap()[0].aside_modified, Some(7));
        stage(&mut db, &lease, &[here(Side::Left, "a", "2"), gone(Side::Left, "c")]);
        settle(
            &mut db,
            &lease,
            Settlement { link: LinkChange::Put(Box::new(link("b", "b.vcf"))), ..Default::default() },
        );
        assert_eq!(["a", "b", "c"].map(|id| known(&mut db, &lease, id)), [false; 3]);
    }

    #[test]
    fn people_see_the_quarantine_and_decide() {
        let (mut db, lease) = world();
        for (id, kind) in [("a", AsideKind::Quarantined), ("b", AsideKind::Refused), ("c", AsideKind::Quarantined)] {
            put_aside(&mut db, &lease, id, kind);
        }
        let list = db.quarantine(&key(), 0, 10).unwrap();
        assert_eq!(list.iter().map(|row| row.label.as_str()).collect::<Vec<_>>(), ["A", "C"]);
        assert_eq!(db.quarantine(&key(), list[0].id, 10).unwrap(), list[1..]);
        assert_eq!(db.quarantined(list[0].id).unwrap().as_ref(), Some(&list[0]));
        let mark = db.lane_mark(&key()).unwrap();

        assert!(db.retry_quarantined(list[0].id).unwrap());
        assert_eq!(db.revisits(&lease, 0, 10).unwrap(), [(Side::Left, at("a"))]);
        assert!(!known(&mut db, &lease, "a"));
        let mut revisit = |id: &str| db.known(&lease, Side::Left, &[at(id)]).unwrap()[0].revisit;
        assert_eq!(["a", "b"].map(&mut revisit), [true, false]);
        db.visited(&lease, &[(Side::Left, at("a"))]).unwrap();
        assert!(db.revisits(&lease, 0, 10).unwrap().is_empty());

        assert!(db.drop_quarantined(list[1].id).unwrap());
        assert!(db.quarantine(&key(), 0, 10).unwrap().is_empty());
        assert!(known(&mut db, &lease, "c"), "a dropped record stays out at its version");
        assert!(!db.retry_quarantined(99).unwrap() && !db.drop_quarantined(99).unwrap());
        assert_ne!(db.lane_mark(&key()).unwrap(), mark, "a decision makes plans stale");
    }
}
