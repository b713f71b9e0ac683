//! What a lane remembers between runs: how far each side was read, when it was last listed whole, with which field map.

use pairwise_plugin_api::Cursor;

use super::transaction::{Answer, Tx, statements};
use super::{Db, lease};
use crate::model::{Author, LaneKey, LaneMemory, LinkState, Side, StoreResult, Written};

statements! {
    LANE = "SELECT map, live_links FROM lane WHERE id = ?1";
    NEWEST = "SELECT (SELECT coalesce(max(id), 0) FROM inbox), (SELECT coalesce(max(id), 0) FROM aside)";
    SIDE = "SELECT cursor, since_sweep, listed, author, former, former_author FROM lane_side WHERE lane = ?1 AND side = ?2";
    DOUBTS = "SELECT EXISTS (SELECT 1 FROM doubt JOIN link ON link.id = doubt.link \
              WHERE doubt.lane = ?1 AND doubt.side = ?2 AND link.state = ?3)";
    SET_CURSOR = "INSERT INTO lane_side (lane, side, cursor) VALUES (?1, ?2, ?3) \
                  ON CONFLICT (lane, side) DO UPDATE SET cursor = excluded.cursor \
                  WHERE cursor IS NOT excluded.cursor";
    CARRY_OVER = "INSERT INTO lane_side (lane, side, author, cursor, former, former_author) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                  ON CONFLICT (lane, side) DO UPDATE SET author = excluded.author, cursor = excluded.cursor, \
                  former = excluded.former, former_author = excluded.former_author";
    SWEPT = "INSERT INTO lane_side (lane, side, listed) VALUES (?1, ?2, 1) \
             ON CONFLICT (lane, side) DO UPDATE SET since_sweep = 0, listed = 1";
    RUN_BEGINS = "UPDATE lane_side SET since_sweep = since_sweep + 1 WHERE lane = ?1";
    SET_MAP = "UPDATE lane SET map = ?2 WHERE id = ?1";
    FORGET = "UPDATE lane_side SET cursor = NULL, former = NULL, former_author = NULL WHERE lane = ?1";
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
        let known: Option<Kept> = tx.one(SIDE, (tx.lane(), side), |row| {
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get(4)?, row.get(5)?)))
        })?;
        if let Some(((cursor, since, listed), (author, former, former_author))) = known {
            memory.authors[side] = read_author(author);
            memory.former[side] =
                read_author(former_author).zip(former).map(|(by, cursor)| Written { by, cursor: Cursor(cursor) });
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

/// The columns of a side: cursor, runs since a sweep, listed; author, former cursor, its author.
type Kept = ((Option<Vec<u8>>, u32, bool), (Option<String>, Option<Vec<u8>>, Option<String>));

/// What cannot be read is as good as unknown.
fn read_author(text: Option<String>) -> Option<Author> {
    text.and_then(|text| text.parse().ok())
}

pub(super) fn set(tx: &Tx<'_>, side: Side, cursor: &Cursor) -> Answer<()> {
    tx.run(SET_CURSOR, (tx.lane(), side, &cursor.0))?;
    Ok(())
}

pub(super) fn carry_over(
    tx: &Tx<'_>,
    side: Side,
    author: &Author,
    cursor: Option<&Cursor>,
    former: Option<&Written>,
) -> Answer<()> {
    let cursor = cursor.map(|cursor| &cursor.0);
    let (former, former_author) = former.map(|former| (&former.cursor.0, former.by.to_string())).unzip();
    tx.run(CARRY_OVER, (tx.lane(), side, author.to_string(), cursor, former, former_author))?;
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
