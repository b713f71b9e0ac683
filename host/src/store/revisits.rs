//! Records that are to be read again: because a person wants it, because a write that was made of them came to nothing, or
//! because they did not answer when the map had changed.

use pairwise_plugin_api::RecordRef;

use super::transaction::{Answer, Tx, statements};
use crate::model::{LinkId, Side, Sides};

statements! {
    ADD = "INSERT OR IGNORE INTO revisit (lane, side, entity, record) VALUES (?1, ?2, ?3, ?4)";
    LIST = "SELECT side, entity, record FROM revisit WHERE lane = ?1 ORDER BY side, entity, record \
            LIMIT ?2 OFFSET ?3";
    ENDS = "SELECT left_entity, left_id, right_entity, right_id FROM link WHERE id = ?1";
    REMOVE = "DELETE FROM revisit WHERE lane = ?1 AND side = ?2 AND entity = ?3 AND record = ?4";
}

pub(super) fn add(tx: &Tx<'_>, side: Side, entity: i64, record: &str) -> Answer<()> {
    tx.run(ADD, (tx.lane(), side, entity, record))?;
    Ok(())
}

/// Both records of a link are to be read again.
pub(super) fn add_ends(tx: &Tx<'_>, link: LinkId) -> Answer<()> {
    type End = Option<(i64, String)>;
    let ends: Option<Sides<End>> = tx.one(ENDS, [link], |row| {
        let end =
            |first: usize| -> rusqlite::Result<End> { Ok(row.get::<_, Option<i64>>(first)?.zip(row.get(first + 1)?)) };
        Ok(Sides { left: end(0)?, right: end(2)? })
    })?;
    for (side, end) in ends.unwrap_or_default().iter() {
        if let Some((entity, record)) = end {
            add(tx, side, *entity, record)?;
        }
    }
    Ok(())
}

pub(super) fn list(tx: &Tx<'_>, past: usize, limit: usize) -> Answer<Vec<(Side, RecordRef)>> {
    let rows: Vec<(Side, i64, String)> =
        tx.all(LIST, (tx.lane(), limit, past), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.into_iter().map(|(side, entity, record)| Ok((side, tx.at(entity, record)?))).collect()
}

pub(super) fn visited(tx: &Tx<'_>, at: &[(Side, RecordRef)]) -> Answer<()> {
    for (side, at) in at {
        if let Some(entity) = tx.known_entity(&at.entity)? {
            tx.run(REMOVE, (tx.lane(), side, entity, &at.id))?;
        }
    }
    Ok(())
}
