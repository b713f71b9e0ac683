//! Links with their shadows.

use pairwise_plugin_api::{Fields, RecordRef};
use rusqlite::Row;
use rusqlite::types::{ToSql, ValueRef};

use super::aside;
use super::inbox;
use super::transaction::{Answer, Fault, Tx, statements};
use crate::model::{End, Link, LinkId, LinkState, Side, Sides};

macro_rules! columns {
    () => {
        "link.id, state, born, left_entity, left_id, left_version, left_incarnation, left_container, \
         right_entity, right_id, right_version, right_incarnation, right_container, left_fields, right_fields"
    };
}

macro_rules! update {
    () => {
        "UPDATE link SET state = ?2, born = ?3, left_version = ?4, left_incarnation = ?5, left_container = ?6, \
         right_version = ?7, right_incarnation = ?8, right_container = ?9"
    };
}

macro_rules! by_record {
    ($side:literal, $columns:expr, $join:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM link ",
            $join,
            "WHERE lane = ?1 AND ",
            $side,
            "_entity = ?2 AND ",
            $side,
            "_id = ?3"
        )
    };
}

statements! {
    BY_ID = concat!("SELECT ", columns!(), " FROM link LEFT JOIN shadow ON shadow.link = link.id WHERE link.id = ?1");
    BY_LEFT = by_record!("left", columns!(), "LEFT JOIN shadow ON shadow.link = link.id ");
    BY_RIGHT = by_record!("right", columns!(), "LEFT JOIN shadow ON shadow.link = link.id ");
    ID_BY_LEFT = by_record!("left", "id", "");
    ID_BY_RIGHT = by_record!("right", "id", "");
    PAGE = concat!(
        "SELECT ", columns!(), " FROM link LEFT JOIN shadow ON shadow.link = link.id \
         WHERE lane = ?1 AND link.id > ?2 ORDER BY link.id LIMIT ?3"
    );
    STATE = "SELECT state FROM link WHERE id = ?1 AND lane = ?2";
    BEFORE = "SELECT state, left_entity, left_id, right_entity, right_id FROM link WHERE id = ?1 AND lane = ?2";
    ENDS = "SELECT left_entity, left_id, right_entity, right_id FROM link WHERE id = ?1";
    INSERT = "INSERT INTO link (lane, state, born, left_entity, left_id, left_version, left_incarnation, left_container, \
              right_entity, right_id, right_version, right_incarnation, right_container) \
              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    UPDATE = concat!(update!(), " WHERE id = ?1");
    MOVE_LEFT = concat!(update!(), ", left_entity = ?10, left_id = ?11 WHERE id = ?1");
    MOVE_RIGHT = concat!(update!(), ", right_entity = ?10, right_id = ?11 WHERE id = ?1");
    INCARNATION_LEFT = "UPDATE link SET left_incarnation = ?3 WHERE id = ?1 AND lane = ?2";
    INCARNATION_RIGHT = "UPDATE link SET right_incarnation = ?3 WHERE id = ?1 AND lane = ?2";
    SLEEP_LEFT = "UPDATE link SET state = ?2, left_version = NULL WHERE id = ?1";
    SLEEP_RIGHT = "UPDATE link SET state = ?2, right_version = NULL WHERE id = ?1";
    PUT_SHADOW = "INSERT INTO shadow (link, left_fields, right_fields) VALUES (?1, ?2, ?3) \
                  ON CONFLICT (link) DO UPDATE SET left_fields = excluded.left_fields, right_fields = excluded.right_fields";
    DROP_SHADOW = "DELETE FROM shadow WHERE link = ?1";
    DELETE = "DELETE FROM link WHERE id = ?1";
}

const FIND: Sides<&str> = Sides { left: BY_LEFT, right: BY_RIGHT };
const MOVE: Sides<&str> = Sides { left: MOVE_LEFT, right: MOVE_RIGHT };
const INCARNATION: Sides<&str> = Sides { left: INCARNATION_LEFT, right: INCARNATION_RIGHT };
const FIND_ID: Sides<&str> = Sides { left: ID_BY_LEFT, right: ID_BY_RIGHT };

/// A link as its row says, entities still as numbers.
struct Stored {
    link: Link,
    entities: Sides<i64>,
}

fn read(tx: &Tx<'_>, row: &Row<'_>) -> rusqlite::Result<Stored> {
    let end = |first: usize| -> rusqlite::Result<(i64, Option<End>)> {
        let Some(entity) = row.get::<_, Option<i64>>(first)? else { return Ok((0, None)) };
        let end = End {
            at: RecordRef { entity: String::new(), id: row.get(first + 1)? },
            version: row.get(first + 2)?,
            incarnation: row.get(first + 3)?,
            container: row.get(first + 4)?,
        };
        Ok((entity, Some(end)))
    };
    let (left_entity, left) = end(3)?;
    let (right_entity, right) = end(8)?;
    let fields = |index: usize| -> rusqlite::Result<Option<Fields>> {
        if row.get_ref(index)? == ValueRef::Null { Ok(None) } else { tx.unpack(row, index).map(Some) }
    };
    let left_fields = fields(13)?.unwrap_or_default();
    let right_fields = fields(14)?.unwrap_or_else(|| left_fields.clone());
    Ok(Stored {
        link: Link {
            id: row.get(0)?,
            state: row.get(1)?,
            born: row.get(2)?,
            ends: Sides { left, right },
            shadows: Sides { left: left_fields, right: right_fields },
        },
        entities: Sides { left: left_entity, right: right_entity },
    })
}

fn named(tx: &Tx<'_>, stored: Stored) -> Answer<Link> {
    let Stored { mut link, entities } = stored;
    for side in Side::BOTH {
        if let Some(end) = &mut link.ends[side] {
            end.at = tx.at(entities[side], std::mem::take(&mut end.at.id))?;
        }
    }
    Ok(link)
}

pub(super) fn get(tx: &Tx<'_>, id: LinkId) -> Answer<Option<Link>> {
    tx.one(BY_ID, [id], |row| read(tx, row))?.map(|stored| named(tx, stored)).transpose()
}

/// The link that a record is an end of.
pub(super) fn of_record(tx: &Tx<'_>, side: Side, entity: i64, id: &str) -> Answer<Option<Link>> {
    tx.one(FIND[side], (tx.lane(), entity, id), |row| read(tx, row))?.map(|stored| named(tx, stored)).transpose()
}

/// The number of the link that a record is an end of.
pub(super) fn id_of_record(tx: &Tx<'_>, side: Side, entity: i64, id: &str) -> Answer<Option<LinkId>> {
    tx.one(FIND_ID[side], (tx.lane(), entity, id), |row| row.get(0))
}

pub(super) fn page(tx: &Tx<'_>, after: LinkId, limit: usize) -> Answer<Vec<Link>> {
    tx.all(PAGE, (tx.lane(), after, limit), |row| read(tx, row))?.into_iter().map(|stored| named(tx, stored)).collect()
}

/// Stores a link; answers its number, which is new if it was 0. Records that it did not tie before are no longer set aside;
/// one that it did may wait there with news that this settlement does not speak of.
pub(super) fn put(tx: &Tx<'_>, link: &Link) -> Answer<LinkId> {
    let mut entities = Sides::<Option<i64>>::default();
    for side in Side::BOTH {
        if let Some(end) = &link.ends[side] {
            entities[side] = Some(tx.entity(&end.at.entity)?);
        }
    }
    let (left, right) = (link.ends.left.as_ref(), link.ends.right.as_ref());
    let (id, before) = if link.id == 0 {
        let columns = rusqlite::params![
            tx.lane(),
            link.state,
            link.born,
            entities.left,
            left.map(|end| &end.at.id),
            left.and_then(|end| end.version.as_ref()),
            left.and_then(|end| end.incarnation.as_ref()),
            left.and_then(|end| end.container.as_ref()),
            entities.right,
            right.map(|end| &end.at.id),
            right.and_then(|end| end.version.as_ref()),
            right.and_then(|end| end.incarnation.as_ref()),
            right.and_then(|end| end.container.as_ref()),
        ];
        for side in Side::BOTH {
            take_part(tx, link, &entities, side)?;
        }
        (tx.insert(INSERT, columns).map_err(|fault| taken(fault, link))?, None)
    } else {
        let columns: &[&dyn ToSql] = rusqlite::params![
            link.id,
            link.state,
            link.born,
            left.and_then(|end| end.version.as_ref()),
            left.and_then(|end| end.incarnation.as_ref()),
            left.and_then(|end| end.container.as_ref()),
            right.and_then(|end| end.version.as_ref()),
            right.and_then(|end| end.incarnation.as_ref()),
            right.and_then(|end| end.container.as_ref()),
        ];
        (link.id, Some(update(tx, link, &entities, columns)?))
    };
    count(tx, before, Some(link.state));
    put_shadows(tx, id, before.is_some(), &link.shadows)?;
    Ok(id)
}

/// Changes a link's row; answers its state before. An index is written for each column that a statement names, so that ends
/// which stay are not named.
fn update(tx: &Tx<'_>, link: &Link, entities: &Sides<Option<i64>>, columns: &[&dyn ToSql]) -> Answer<LinkState> {
    let same = |side: Side, entity: Option<i64>, id: Option<&str>| {
        entity == entities[side] && id == link.ends[side].as_ref().map(|end| end.at.id.as_str())
    };
    let before = tx.one(BEFORE, (link.id, tx.lane()), |row| {
        let is_same = |side: Side, first: usize| -> rusqlite::Result<bool> {
            Ok(same(side, row.get(first)?, row.get_ref(first + 1)?.as_str_or_null()?))
        };
        Ok((row.get(0)?, Sides { left: is_same(Side::Left, 1)?, right: is_same(Side::Right, 3)? }))
    })?;
    let (state, stays) = before.ok_or_else(|| unknown(link.id))?;
    if stays.left && stays.right {
        tx.run(UPDATE, columns)?;
    }
    for side in Side::BOTH.into_iter().filter(|side| !stays[*side]) {
        let id = link.ends[side].as_ref().map(|end| &end.at.id);
        let columns = [columns, &[&entities[side], &id]].concat();
        tx.run(MOVE[side], &*columns).map_err(|fault| taken(fault, link))?;
        take_part(tx, link, entities, side)?;
    }
    Ok(state)
}

fn take_part(tx: &Tx<'_>, link: &Link, entities: &Sides<Option<i64>>, side: Side) -> Answer<()> {
    match (&link.ends[side], entities[side]) {
        (Some(end), Some(entity)) => aside::clear(tx, side, entity, &end.at.id).map(drop),
        _ => Ok(()),
    }
}

fn unknown(id: LinkId) -> Fault {
    Fault::Misused(format!("there is no link {id} in this lane"))
}

/// Says which records are meant when one of them is an end of another link.
fn taken(fault: Fault, link: &Link) -> Fault {
    match fault {
        Fault::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
            let id = |side: Side| link.ends[side].as_ref().map_or("", |end| end.at.id.as_str());
            Fault::Misused(format!(
                "`{}` and `{}` cannot be linked, because one of them is the end of another link",
                id(Side::Left),
                id(Side::Right)
            ))
        }
        other => other,
    }
}

fn put_shadows(tx: &Tx<'_>, id: LinkId, exists: bool, shadows: &Sides<Fields>) -> Answer<()> {
    if shadows.left.is_empty() && shadows.right.is_empty() {
        if exists {
            tx.run(DROP_SHADOW, [id])?;
        }
    } else {
        let right = (shadows.left != shadows.right).then(|| tx.pack(&shadows.right)).transpose()?;
        tx.run(PUT_SHADOW, (id, tx.pack(&shadows.left)?, right))?;
    }
    Ok(())
}

pub(super) fn set_incarnation(tx: &Tx<'_>, id: LinkId, side: Side, incarnation: &str) -> Answer<()> {
    tx.run(INCARNATION[side], (id, tx.lane(), incarnation)).map(drop)
}

/// Puts a link to sleep. The end of the side that left loses its version, which tells which side that was.
pub(super) fn sleep(tx: &Tx<'_>, id: LinkId, left: Side) -> Answer<()> {
    let before = state_of(tx, id)?;
    let statement = if left == Side::Left { SLEEP_LEFT } else { SLEEP_RIGHT };
    tx.run(statement, (id, LinkState::Dormant))?;
    count(tx, Some(before), Some(LinkState::Dormant));
    Ok(())
}

/// Gives a link up. Removals of its records that are still announced have nothing left to say.
pub(super) fn retire(tx: &Tx<'_>, id: LinkId) -> Answer<()> {
    let before = state_of(tx, id)?;
    let ends: Sides<Option<(i64, String)>> = tx
        .one(ENDS, [id], |row| {
            let end = |first: usize| -> rusqlite::Result<Option<(i64, String)>> {
                Ok(row.get::<_, Option<i64>>(first)?.zip(row.get(first + 1)?))
            };
            Ok(Sides { left: end(0)?, right: end(2)? })
        })?
        .unwrap_or_default();
    for (side, end) in ends.iter() {
        if let Some((entity, record)) = end {
            inbox::remove_removal(tx, side, *entity, record)?;
        }
    }
    tx.run(DELETE, [id])?;
    count(tx, Some(before), None);
    Ok(())
}

fn state_of(tx: &Tx<'_>, id: LinkId) -> Answer<LinkState> {
    tx.one(STATE, (id, tx.lane()), |row| row.get(0))?.ok_or_else(|| unknown(id))
}

/// Keeps the lane's number of live links.
fn count(tx: &Tx<'_>, before: Option<LinkState>, after: Option<LinkState>) {
    let live = |state: Option<LinkState>| i64::from(state == Some(LinkState::Live));
    tx.live.set(tx.live.get() + live(after) - live(before));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{LinkChange, Settlement, Store};

    fn put(link: &Link) -> Settlement {
        Settlement { link: LinkChange::Put(Box::new(link.clone())), ..Settlement::default() }
    }

    #[test]
    fn a_link_comes_back_as_it_was_put() {
        let (mut db, lease) = world();
        let mut link = linked(&mut db, &lease, "a", "a.vcf");
        link.state = LinkState::Dormant;
        link.born = Side::Right;
        link.ends.left = None;
        link.ends.right = Some(End {
            at: RecordRef::new("person", "a"),
            version: None,
            incarnation: Some("i".into()),
            container: Some("c".into()),
        });
        link.shadows.right.set("title", "Dr.");
        settle(&mut db, &lease, put(&link));
        assert_eq!(db.links(&lease, 0, 10).unwrap(), [link.clone()]);
        link.shadows = Sides::default();
        settle(&mut db, &lease, put(&link));
        assert_eq!(db.links(&lease, 0, 10).unwrap(), [link.clone()]);
        link.shadows.right.set("title", "Dr.");
        settle(&mut db, &lease, put(&link));
        assert_eq!(db.links(&lease, 0, 10).unwrap(), [link]);
    }

    #[test]
    fn an_incarnation_is_learnt_alone() {
        let (mut db, lease) = world();
        let mut link = linked(&mut db, &lease, "a", "a.vcf");
        let learnt = LinkChange::Incarnation(link.id, Side::Right, "i".into());
        settle(&mut db, &lease, Settlement { link: learnt, ..Settlement::default() });
        link.ends.right.as_mut().unwrap().incarnation = Some("i".into());
        assert_eq!(db.links(&lease, 0, 10).unwrap(), [link]);
    }

    #[test]
    fn equal_shadows_are_stored_once() {
        let (mut db, lease) = world();
        let mut link = linked(&mut db, &lease, "a", "a.vcf");
        let same = |db: &super::super::Db| -> bool {
            db.conn.query_row("SELECT right_fields IS NULL FROM shadow", [], |row| row.get(0)).unwrap()
        };
        assert!(same(&db));
        link.shadows.right.set("name/full", "A");
        settle(&mut db, &lease, put(&link));
        assert!(!same(&db));
    }

    #[test]
    fn names_of_fields_stand_in_a_table_of_their_own() {
        let (mut db, lease) = world();
        let first = linked(&mut db, &lease, "a", "a.vcf");
        let bytes = |db: &super::super::Db| -> Vec<u8> {
            db.conn.query_row("SELECT left_fields FROM shadow", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(bytes(&db), b"\x92\xff\xa1a");
        // A batch that fails takes its new names along, and they are learnt again.
        let mut other = link("b", "b.vcf");
        other.shadows.left.set("title", "Dr.");
        let fails = Settlement { link: LinkChange::Retire(77), ..Settlement::default() };
        assert!(db.settle(&lease, "run", &[put(&other), fails]).is_err());
        settle(&mut db, &lease, put(&other));
        let names: i64 = db.conn.query_row("SELECT count(*) FROM field", [], |row| row.get(0)).unwrap();
        assert_eq!(names, 2);
        assert_eq!(db.links(&lease, 0, 10).unwrap()[1].shadows, other.shadows);
        // Messages from before the table spell their names themselves.
        let old = pairwise_plugin_api::codec::encode(&first.shadows.left).unwrap();
        db.conn.execute("UPDATE shadow SET left_fields = ?1 WHERE link = ?2", (old, first.id)).unwrap();
        assert_eq!(db.links(&lease, 0, 1).unwrap(), [first]);
    }

    #[test]
    fn numbers_are_never_used_again() {
        let (mut db, lease) = world();
        let first = linked(&mut db, &lease, "a", "a.vcf").id;
        settle(&mut db, &lease, Settlement { link: LinkChange::Retire(first), ..Settlement::default() });
        assert!(linked(&mut db, &lease, "a", "a.vcf").id > first);
    }

    #[test]
    fn live_links_are_counted_as_they_change() {
        let (mut db, lease) = world();
        let ids: Vec<LinkId> = ["a", "b", "c"].map(|id| linked(&mut db, &lease, id, &format!("{id}.vcf")).id).into();
        let live = |db: &mut super::super::Db| db.memory(&lease).unwrap().live_links;
        assert_eq!(live(&mut db), 3);
        asleep(&mut db, &lease, ids[0]);
        asleep(&mut db, &lease, ids[0]);
        assert_eq!(live(&mut db), 2);
        let batch = ids.iter().map(|id| Settlement { link: LinkChange::Retire(*id), ..Default::default() });
        db.settle(&lease, "run", &batch.collect::<Vec<_>>()).unwrap();
        assert_eq!(live(&mut db), 0);
    }

    #[test]
    fn a_record_is_an_end_of_one_link_and_a_displaced_link_goes_first() {
        let (mut db, lease) = world();
        let old = linked(&mut db, &lease, "a", "a.vcf");
        let new = link("a", "b.vcf");
        let error = db.settle(&lease, "run", &[put(&new)]).unwrap_err().to_string();
        assert!(error.contains("`a` and `b.vcf`") && error.contains("another link"), "{error}");
        let retire = Settlement { link: LinkChange::Retire(old.id), ..Settlement::default() };
        db.settle(&lease, "run", &[retire, put(&new)]).unwrap();
        let links = db.links(&lease, 0, 10).unwrap();
        assert_eq!(links.len(), 1);
        assert_ne!(links[0].id, old.id);
    }

    #[test]
    fn a_link_of_another_lane_or_of_none_is_refused() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "a", "a.vcf");
        let other = db.take(&crate::model::LaneKey { stream: "other".into(), ..key() }, &holder(1), 0).unwrap();
        for change in [LinkChange::Put(Box::new(link.clone())), LinkChange::Retire(link.id)] {
            let settlement = Settlement { link: change, ..Settlement::default() };
            assert!(db.settle(&other, "run", &[settlement]).unwrap_err().to_string().contains("no link"));
        }
    }
}
