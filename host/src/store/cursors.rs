//! What a lane remembers between runs: how far each side was read, when it was last listed whole, with which field map.

use pairwise_plugin_api::Cursor;

use super::transaction::{Answer, Tx, statements};
use super::{Db, lease};
use crate::model::{LaneKey, LaneMemory, LinkState, Side, StoreResult};

statements! {
    LANE = "SELECT map, live_links FROM lane WHERE id = ?1";
    NEWEST = "SELECT (SELECT coalesce(max(id), 0) FROM inbox), (SELECT coalesce(max(id), 0) FROM aside)";
    SIDE = "SELECT cursor, since_sweep, listed FROM lane_side WHERE lane = ?1 AND side = ?2";
    DOUBTS = "SELECT EXISTS (SELECT 1 FROM doubt JOIN link ON link.id = doubt.link \
              WHERE doubt.lane = ?1 AND doubt.side = ?2 AND link.state = ?3)";
    SET_CURSOR = "INSERT INTO lane_side (lane, side, cursor) VALUES (?1, ?2, ?3) \
                  ON CONFLICT (lane, side) DO UPDATE SET cursor = excluded.cursor";
    SWEPT = "INSERT INTO lane_side (lane, side, listed) VALUES (?1, ?2, 1) \
             ON CONFLICT (lane, side) DO UPDATE SET since_sweep = 0, listed = 1";
    RUN_BEGINS = "UPDATE lane_side SET since_sweep = since_sweep + 1 WHERE lane = ?1";
    SET_MAP = "UPDATE lane SET map = ?2 WHERE id = ?1";
    FORGET = "UPDATE lane_side SET cursor = NULL, listed = 0 WHERE lane = ?1";
}

pub(super) fn memory(tx: &Tx<'_>) -> Answer<LaneMemory> {
    let mut memory = LaneMemory::default();
    if let Some((map, live)) = tx.one(LANE, [tx.lane()], |row| Ok((row.get(0)?, row.get(1)?)))? {
        (memory.map, memory.live_links) = (map, live);
    }
    if let Some((inbox, aside)) = tx.one(NEWEST, [], |row| Ok((row.get(0)?, row.get(1)?)))? {
        (memory.newest_inbox, memory.newest_aside) = (inbox, aside);
    }
    for side in Side::BOTH {
        let known: Option<(Option<Vec<u8>>, u32, bool)> =
            tx.one(SIDE, (tx.lane(), side), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if let Some((cursor, since, listed)) = known {
            memory.listed[side] = listed;
            memory.cursors[side] = cursor.map(Cursor);
            memory.doubts[side] =
                tx.one(DOUBTS, (tx.lane(), side, LinkState::Live), |row| row.get(0))?.unwrap_or_default();
            // The present run was counted when it began.
            memory.since_sweep[side] = since.saturating_sub(1);
        }
    }
    Ok(memory)
}

pub(super) fn set(tx: &Tx<'_>, side: Side, cursor: &Cursor) -> Answer<()> {
    tx.run(SET_CURSOR, (tx.lane(), side, &cursor.0))?;
    Ok(())
}

/// The side was listed whole.
pub(super) fn swept(tx: &Tx<'_>, side: Side) -> Answer<()> {
    tx.run(SWEPT, (tx.lane(), side))?;
    Ok(())
}

/// One run more since each side was listed whole.
pub(super) fn run_begins(tx: &Tx<'_>) -> Answer<()> {
    tx.run(RUN_BEGINS, [tx.lane()])?;
    Ok(())
}

pub(super) fn remember_map(tx: &Tx<'_>, fingerprint: &str) -> Answer<()> {
    tx.run(SET_MAP, (tx.lane(), fingerprint))?;
    Ok(())
}

impl Db {
    /// Forgets how far both sides of a lane were read: its next run lists them whole.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget_cursors(&mut self, lane: &LaneKey) -> StoreResult<()> {
        self.decide(|tx| {
            if let Some(lane) = lease::find(tx, lane)? {
                tx.lane.set(lane);
                tx.run(FORGET, [lane])?;
            }
            Ok(())
        })
    }
}
