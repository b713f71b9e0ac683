//! Fields whose two values wait for a person, and what was decided.

use pairwise_plugin_api::{Fields, Millis, RecordRef, Value};
use serde::Serialize;

use super::codes::Packed;
use super::transaction::{Answer, Tx, statements};
use super::{Db, lanes, links, revisits};
use crate::model::{Conflict, LaneKey, Link, LinkId, Side, Sides, StoreResult, Winner};

statements! {
    OF_LINK = "SELECT id, path, left_value, right_value, left_modified, right_modified, decision \
               FROM conflict WHERE link = ?1 ORDER BY path";
    PUT = "INSERT INTO conflict (lane, link, path, left_value, right_value, left_modified, right_modified, decision, run, at) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
           ON CONFLICT (link, path) DO UPDATE SET left_value = excluded.left_value, right_value = excluded.right_value, \
           left_modified = excluded.left_modified, right_modified = excluded.right_modified, decision = excluded.decision";
    CLOSE = "DELETE FROM conflict WHERE id = ?1";
    PAGE = "SELECT id, link, decision, run, at, path, left_value, right_value, left_modified, right_modified \
            FROM conflict WHERE lane = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    ONE = "SELECT id, link, decision, run, at, path, left_value, right_value, left_modified, right_modified, lane \
           FROM conflict WHERE id = ?1";
    DECIDE = "UPDATE conflict SET decision = ?2 WHERE id = ?1";
    LANE_OF_LINK = "SELECT lane FROM conflict WHERE link = ?1 LIMIT 1";
    IDS_OF_LINK = "SELECT id, link FROM conflict WHERE link = ?1";
    IDS_OF_LANE = "SELECT id, link FROM conflict WHERE lane = ?1";
}

/// A field that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConflictRow {
    /// Its number.
    pub id: i64,
    /// Where.
    #[serde(flatten)]
    pub lane: LaneKey,
    /// The link.
    pub link: LinkId,
    /// The record of each side.
    pub records: Sides<Option<RecordRef>>,
    /// What a person calls it.
    pub label: String,
    /// Row of the field map.
    pub path: String,
    /// The values of both sides.
    pub values: Sides<Value>,
    /// When each side last changed the record, if it tells.
    pub modified: Sides<Option<Millis>>,
    /// What a person decided; the next run carries it out.
    pub decision: Option<Winner>,
    /// The run that found it.
    pub run: String,
    /// When.
    pub at: Millis,
}

/// Which conflicts a decision is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// One field.
    One(i64),
    /// All fields of one link.
    Link(LinkId),
    /// All of a lane.
    Lane(LaneKey),
}

pub(super) fn of_link(tx: &Tx<'_>, link: LinkId) -> Answer<Vec<Conflict>> {
    Ok(numbered(tx, link)?.into_iter().map(|(_, conflict)| conflict).collect())
}

fn numbered(tx: &Tx<'_>, link: LinkId) -> Answer<Vec<(i64, Conflict)>> {
    tx.all(OF_LINK, [link], |row| {
        Ok((
            row.get(0)?,
            Conflict {
                path: row.get(1)?,
                values: Sides { left: value(row, 2)?, right: value(row, 3)? },
                modified: Sides { left: row.get(4)?, right: row.get(5)? },
                decision: row.get(6)?,
            },
        ))
    })
}

fn value(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Value> {
    row.get::<_, Packed<Value>>(index).map(|packed| packed.0)
}

/// Stores the open conflicts of a link in place of those that were there. A conflict over the same field keeps its number,
/// and a decision that a person took meanwhile as long as the values are those that he saw.
pub(super) fn replace(tx: &Tx<'_>, run: &str, link: LinkId, open: &[Conflict]) -> Answer<()> {
    let before = numbered(tx, link)?;
    for (id, old) in &before {
        if !open.iter().any(|new| new.path == old.path) {
            tx.run(CLOSE, [id])?;
        }
    }
    for new in open {
        let old = before.iter().map(|(_, old)| old).find(|old| old.path == new.path && old.values == new.values);
        let decision = new.decision.or(old.and_then(|old| old.decision));
        tx.run(
            PUT,
            rusqlite::params![
                tx.lane(),
                link,
                new.path,
                Packed(&new.values.left),
                Packed(&new.values.right),
                new.modified.left,
                new.modified.right,
                decision,
                run,
                tx.now
            ],
        )?;
    }
    Ok(())
}

/// The row of a conflict, its link still to be looked up.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<ConflictRow> {
    Ok(ConflictRow {
        id: row.get(0)?,
        lane: LaneKey { profile: String::new(), user: String::new(), stream: String::new() },
        link: row.get(1)?,
        records: Sides::default(),
        label: String::new(),
        decision: row.get(2)?,
        run: row.get(3)?,
        at: row.get(4)?,
        path: row.get(5)?,
        values: Sides { left: value(row, 6)?, right: value(row, 7)? },
        modified: Sides { left: row.get(8)?, right: row.get(9)? },
    })
}

fn named(tx: &Tx<'_>, lane: i64, mut row: ConflictRow) -> Answer<ConflictRow> {
    row.lane = lanes::key(tx, lane)?;
    if let Some(link) = links::get(tx, row.link)? {
        row.label = label(&link);
        row.records = Sides::from_fn(|side| link.ends[side].as_ref().map(|end| end.at.clone()));
    }
    Ok(row)
}

/// What a person calls a link: its name where a shadow tells one, else an id.
fn label(link: &Link) -> String {
    const NAMES: [&str; 4] = ["name/full", "title", "emails/1/address", "organizations/1/name"];
    let named = |fields: &Fields| NAMES.iter().find_map(|name| fields.text(name).map(str::to_owned));
    let id = || Side::BOTH.iter().find_map(|side| link.ends[*side].as_ref().map(|end| end.at.id.clone()));
    named(&link.shadows.left).or_else(|| named(&link.shadows.right)).or_else(id).unwrap_or_default()
}

impl Db {
    /// Conflicts of a lane above a number.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn conflicts(&mut self, lane: &LaneKey, after: i64, limit: usize) -> StoreResult<Vec<ConflictRow>> {
        self.read_lane(lane, |tx| {
            tx.all(PAGE, (tx.lane(), after, limit), read)?.into_iter().map(|row| named(tx, tx.lane(), row)).collect()
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn conflict(&mut self, id: i64) -> StoreResult<Option<ConflictRow>> {
        self.read(0, |tx| {
            let found = tx.one(ONE, [id], |row| Ok((row.get(10)?, read(row)?)))?;
            found.map(|(lane, row)| named(tx, lane, row)).transpose()
        })
    }

    /// Notes a person's decision; the next run reads the records again and carries it out. Answers the number of fields.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn decide_conflicts(&mut self, chosen: &Chosen, winner: Winner) -> StoreResult<usize> {
        self.decide(|tx| {
            let pair = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, LinkId>(1)?));
            let (lane, rows) = match chosen {
                Chosen::One(id) => match tx.one(ONE, [id], |row| Ok((row.get(10)?, pair(row)?)))? {
                    Some((lane, row)) => (Some(lane), vec![row]),
                    None => (None, Vec::new()),
                },
                Chosen::Link(link) => {
                    (tx.one(LANE_OF_LINK, [link], |row| row.get(0))?, tx.all(IDS_OF_LINK, [link], pair)?)
                }
                Chosen::Lane(key) => match super::lease::find(tx, key)? {
                    Some(lane) => (Some(lane), tx.all(IDS_OF_LANE, [lane], pair)?),
                    None => (None, Vec::new()),
                },
            };
            let Some(lane) = lane else { return Ok(0) };
            tx.lane.set(lane);
            for (id, link) in &rows {
                tx.run(DECIDE, (id, winner))?;
                revisits::add_ends(tx, *link)?;
            }
            Ok(rows.len())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Lease, LinkChange, Settlement, Store};

    fn conflict(path: &str, left: &str) -> Conflict {
        Conflict {
            path: path.into(),
            values: Sides { left: left.into(), right: "r".into() },
            modified: Sides { left: Some(5), right: None },
            decision: None,
        }
    }

    fn note(db: &mut Db, lease: &Lease, link: &Link, open: Vec<Conflict>) {
        let change = LinkChange::Put(Box::new(link.clone()));
        settle(db, lease, Settlement { link: change, conflicts: Some(open), ..Settlement::default() });
    }

    #[test]
    fn a_decision_stands_while_the_values_do() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "Ada", "a.vcf");
        note(&mut db, &lease, &link, vec![conflict("title", "x"), conflict("note", "y")]);
        let rows = db.conflicts(&key(), 0, 10).unwrap();
        assert_eq!(rows.iter().map(|row| row.path.as_str()).collect::<Vec<_>>(), ["title", "note"]);
        assert_eq!((rows[0].label.as_str(), rows[0].records.right.clone()), ("Ada", Some(at("a.vcf"))));
        assert_eq!(db.conflict(rows[1].id).unwrap().as_ref(), Some(&rows[1]));

        assert_eq!(db.decide_conflicts(&Chosen::One(rows[0].id), Winner::Left).unwrap(), 1);
        assert_eq!(db.revisits(&lease, 0, 10).unwrap(), [(Side::Left, at("Ada")), (Side::Right, at("a.vcf"))]);
        note(&mut db, &lease, &link, vec![conflict("title", "x"), conflict("note", "y")]);
        assert_eq!(db.conflict(rows[0].id).unwrap().unwrap().decision, Some(Winner::Left));
        stage(&mut db, &lease, &[here(Side::Left, "Ada", "2")]);
        let told = all_work(&mut db, &lease).remove(0).conflicts;
        assert_eq!(
            told.iter().map(|c| (c.path.as_str(), c.decision)).collect::<Vec<_>>(),
            [("note", None), ("title", Some(Winner::Left))]
        );

        note(&mut db, &lease, &link, vec![conflict("title", "z")]);
        let rows = db.conflicts(&key(), 0, 10).unwrap();
        assert_eq!((rows.len(), rows[0].decision), (1, None), "another value is another question");
        note(&mut db, &lease, &link, Vec::new());
        assert!(db.conflicts(&key(), 0, 10).unwrap().is_empty());
    }

    #[test]
    fn all_of_a_link_or_of_a_lane_are_decided_at_once() {
        let (mut db, lease) = world();
        let one = linked(&mut db, &lease, "a", "a.vcf");
        let two = linked(&mut db, &lease, "b", "b.vcf");
        note(&mut db, &lease, &one, vec![conflict("title", "x"), conflict("note", "y")]);
        note(&mut db, &lease, &two, vec![conflict("title", "x")]);
        assert_eq!(db.decide_conflicts(&Chosen::Link(one.id), Winner::Right).unwrap(), 2);
        assert_eq!(db.status().unwrap()[0].conflicts, 1);
        assert_eq!(db.decide_conflicts(&Chosen::Lane(key()), Winner::Latest).unwrap(), 3);
        assert_eq!(db.decide_conflicts(&Chosen::One(99), Winner::Latest).unwrap(), 0);
        let other = LaneKey { stream: "other".into(), ..key() };
        assert_eq!(db.decide_conflicts(&Chosen::Lane(other), Winner::Latest).unwrap(), 0);
        assert_eq!(db.revisits(&lease, 0, 10).unwrap().len(), 4);
        settle(&mut db, &lease, Settlement { link: LinkChange::Retire(one.id), ..Settlement::default() });
        assert_eq!(db.conflicts(&key(), 0, 10).unwrap().len(), 1);
    }
}
