//! Announced changes, staged until they are settled.
//!
//! An announcement that says the same as the one that is there changes nothing. One that says something else takes its place
//! under a new number, so that a late settlement of the old number cannot take news away that nobody has read.

use pairwise_plugin_api::{RecordRef, codec};
use rusqlite::Row;

use super::codes::{Gone, Keys, digest_column};
use super::transaction::{Answer, Fault, Tx, statements};
use super::{absence, aside, holds, links, matching};
use crate::model::{Announced, InboxId, Known, News, Side, Sides, Staged};

macro_rules! known {
    ($side:literal) => {
        concat!(
            "SELECT link.id, link.",
            $side,
            "_version, aside.id, aside.version, inbox.id, inbox.version, link.",
            $side,
            "_incarnation \
             FROM (SELECT 1) \
             LEFT JOIN link ON link.lane = ?1 AND link.",
            $side,
            "_entity = ?3 AND link.",
            $side,
            "_id = ?4 \
             LEFT JOIN aside ON aside.lane = ?1 AND aside.side = ?2 AND aside.entity = ?3 AND aside.record = ?4 \
             LEFT JOIN inbox ON inbox.lane = ?1 AND inbox.side = ?2 AND inbox.entity = ?3 AND inbox.record = ?4"
        )
    };
}

macro_rules! news {
    ($where:literal) => {
        concat!(
            "SELECT id, side, entity, inbox.record, reason, attempts, released, candidate, pair, hold, body.record \
             FROM inbox LEFT JOIN body ON body.inbox = inbox.id WHERE ",
            $where
        )
    };
}

statements! {
    KNOWN_LEFT = known!("left");
    KNOWN_RIGHT = known!("right");
    BY_ID = news!("id = ?1 AND lane = ?2");
    BY_RECORD = news!("lane = ?1 AND side = ?2 AND entity = ?3 AND inbox.record = ?4");
    FREE = news!("lane = ?1 AND hold IS NULL AND id > ?2 ORDER BY id");
    REMOVALS = news!("lane = ?1 AND hold IS NULL AND reason IS NOT NULL AND id > ?2 ORDER BY id");
    EARLIER = "SELECT id, version, reason, candidate, keys FROM inbox \
               WHERE lane = ?1 AND side = ?2 AND entity = ?3 AND record = ?4";
    REMOVAL = "SELECT id FROM inbox WHERE lane = ?1 AND side = ?2 AND entity = ?3 AND record = ?4 AND reason IS NOT NULL";
    SAME_BODY = "SELECT record = ?2 FROM body WHERE inbox = ?1";
    ADD = "INSERT INTO inbox (lane, side, entity, record, version, reason, candidate, keys) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    ADD_BODY = "INSERT INTO body (inbox, record) VALUES (?1, ?2)";
    ADD_KEY = "INSERT OR IGNORE INTO match_key (lane, rank, digest, side, inbox) VALUES (?1, ?2, ?3, ?4, ?5)";
    DROP_KEY = "DELETE FROM match_key WHERE lane = ?1 AND rank = ?2 AND digest = ?3 AND side = ?4 AND inbox = ?5";
    NO_CANDIDATE = "UPDATE inbox SET candidate = 0 WHERE id = ?1";
    REMOVE = "DELETE FROM inbox WHERE id = ?1 AND lane = ?2 RETURNING side, pair, hold, keys";
    UNPAIR = "UPDATE inbox SET pair = NULL WHERE id = ?1";
    DEFER = "UPDATE inbox SET attempts = attempts + 1 WHERE id = ?1 AND lane = ?2";
}

const KNOWN: Sides<&str> = Sides { left: KNOWN_LEFT, right: KNOWN_RIGHT };

/// All that wait and are not held, above a row.
pub(super) const FREE_ABOVE: &str = FREE;
/// The removals among them.
pub(super) const REMOVALS_ABOVE: &str = REMOVALS;

/// An announcement as its row says, entity still as a number.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: InboxId,
    pub(super) side: Side,
    pub(super) entity: i64,
    pub(super) record: String,
    pub(super) gone: Option<Gone>,
    pub(super) attempts: u32,
    pub(super) released: bool,
    pub(super) candidate: bool,
    pub(super) pair: Option<InboxId>,
    pub(super) held: bool,
    pub(super) body: Option<Vec<u8>>,
}

/// Reads the columns of the statements above.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        side: row.get(1)?,
        entity: row.get(2)?,
        record: row.get(3)?,
        gone: row.get(4)?,
        attempts: row.get(5)?,
        released: row.get(6)?,
        candidate: row.get(7)?,
        pair: row.get(8)?,
        held: row.get::<_, Option<i64>>(9)?.is_some(),
        body: row.get(10)?,
    })
}

impl Stored {
    pub(super) fn announced(self, tx: &Tx<'_>) -> Answer<Announced> {
        let news = match (self.gone, self.body) {
            (Some(Gone(reason)), _) => News::Gone(reason),
            (None, Some(bytes)) => News::Here(Box::new(codec::decode(&bytes).map_err(rusqlite_read)?)),
            (None, None) => return Err(Fault::Misused(format!("announcement {} has lost its record", self.id))),
        };
        Ok(Announced {
            id: self.id,
            side: self.side,
            at: tx.at(self.entity, self.record)?,
            news,
            attempts: self.attempts,
            released: self.released,
            candidate: self.candidate,
        })
    }
}

fn rusqlite_read(error: codec::CodecError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(10, rusqlite::types::Type::Blob, Box::new(error))
}

pub(super) fn by_id(tx: &Tx<'_>, id: InboxId) -> Answer<Option<Stored>> {
    tx.one(BY_ID, (id, tx.lane()), read)
}

pub(super) fn by_record(tx: &Tx<'_>, side: Side, entity: i64, record: &str) -> Answer<Option<Stored>> {
    tx.one(BY_RECORD, (tx.lane(), side, entity, record), read)
}

/// What is known of one record.
pub(super) fn known(tx: &Tx<'_>, side: Side, at: &RecordRef) -> Answer<Known> {
    let Some(entity) = tx.known_entity(&at.entity)? else { return Ok(Known::default()) };
    let known = tx.one(KNOWN[side], (tx.lane(), side, entity, &at.id), |row| {
        let both = |first: usize| -> rusqlite::Result<Option<(i64, Option<String>)>> {
            Ok(match row.get(first)? {
                Some(id) => Some((id, row.get(first + 1)?)),
                None => None,
            })
        };
        Ok(Known { link: both(0)?, incarnation: row.get(6)?, aside: both(2)?, inbox: both(4)? })
    })?;
    Ok(known.unwrap_or_default())
}

/// Stages one announcement.
pub(super) fn stage(tx: &Tx<'_>, staged: &Staged) -> Answer<()> {
    let (side, record) = (staged.side, &staged.at.id);
    let entity = tx.entity(&staged.at.entity)?;
    let link = links::id_of_record(tx, side, entity, record)?;
    let earlier = tx.one(EARLIER, (tx.lane(), side, entity, record), |row| {
        Ok(Earlier {
            id: row.get(0)?,
            version: row.get(1)?,
            gone: row.get(2)?,
            candidate: row.get(3)?,
            keys: row.get::<_, Option<Keys>>(4)?.map_or_else(Vec::new, |keys| keys.0),
        })
    })?;

    if staged.candidate {
        // It is a candidate only as long as nobody has announced or linked it.
        if link.is_some() || earlier.as_ref().is_some_and(|earlier| !earlier.candidate) {
            return Ok(());
        }
    } else {
        aside::clear(tx, side, entity, record)?;
    }

    let (gone, body) = match &staged.news {
        News::Gone(reason) => (Some(Gone(*reason)), None),
        News::Here(record) => (None, Some(codec::encode(record).map_err(|error| Fault::Misused(error.to_string()))?)),
    };
    match link {
        Some(link) if gone.is_none() => absence::sighted(tx, side, link)?,
        None if gone.is_some() => {
            if let Some(earlier) = earlier {
                remove(tx, earlier.id)?;
            }
            return Ok(());
        }
        _ => {}
    }

    let keys: &[(u8, u64)] = if link.is_none() { &staged.keys } else { &[] };
    if let Some(earlier) = earlier {
        if earlier.says(tx, staged, gone, body.as_deref(), keys)? {
            if earlier.candidate && !staged.candidate {
                tx.run(NO_CANDIDATE, [earlier.id])?;
            }
            return Ok(());
        }
        remove(tx, earlier.id)?;
    }
    let packed = (!keys.is_empty()).then(|| Keys(keys.to_vec()));
    let id = tx.insert(ADD, (tx.lane(), side, entity, record, &staged.version, gone, staged.candidate, packed))?;
    if let Some(body) = body {
        tx.run(ADD_BODY, (id, body))?;
    }
    matching::free_groups_of(tx, keys)?;
    for (rank, digest) in keys {
        tx.run(ADD_KEY, (tx.lane(), rank, digest_column(*digest), side, id))?;
    }
    Ok(())
}

/// The announcement that an arriving one meets.
struct Earlier {
    id: InboxId,
    version: Option<String>,
    gone: Option<Gone>,
    candidate: bool,
    keys: Vec<(u8, u64)>,
}

impl Earlier {
    /// Whether it says what the arriving one says. Records without a version are compared byte by byte.
    fn says(
        &self,
        tx: &Tx<'_>,
        staged: &Staged,
        gone: Option<Gone>,
        body: Option<&[u8]>,
        keys: &[(u8, u64)],
    ) -> Answer<bool> {
        if self.gone != gone || self.version != staged.version || self.keys != keys {
            return Ok(false);
        }
        match body {
            Some(body) if staged.version.is_none() => {
                Ok(tx.one(SAME_BODY, (self.id, body), |row| row.get(0))?.unwrap_or(false))
            }
            _ => Ok(true),
        }
    }
}

/// Takes an announcement out, with its record, its keys, its pair and its place in a hold.
pub(super) fn remove(tx: &Tx<'_>, id: InboxId) -> Answer<()> {
    type Left = (Side, Option<InboxId>, Option<i64>, Option<Keys>);
    let left: Option<Left> =
        tx.one(REMOVE, (id, tx.lane()), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let Some((side, pair, hold, keys)) = left else { return Ok(()) };
    for (rank, digest) in keys.map_or_else(Vec::new, |keys| keys.0) {
        tx.run(DROP_KEY, (tx.lane(), rank, digest_column(digest), side, id))?;
    }
    if let Some(pair) = pair {
        tx.run(UNPAIR, [pair])?;
    }
    if let Some(hold) = hold {
        holds::departed(tx, hold)?;
    }
    Ok(())
}

/// Takes the announcement of a record out, if there is one.
pub(super) fn remove_record(tx: &Tx<'_>, side: Side, entity: i64, record: &str) -> Answer<()> {
    match tx.one(EARLIER, (tx.lane(), side, entity, record), |row| row.get(0))? {
        Some(id) => remove(tx, id),
        None => Ok(()),
    }
}

/// Takes the removal of a record out, if it was announced.
pub(super) fn remove_removal(tx: &Tx<'_>, side: Side, entity: i64, record: &str) -> Answer<()> {
    match tx.one(REMOVAL, (tx.lane(), side, entity, record), |row| row.get(0))? {
        Some(id) => remove(tx, id),
        None => Ok(()),
    }
}

/// Counts an attempt that failed in a passing way.
pub(super) fn defer(tx: &Tx<'_>, id: InboxId) -> Answer<()> {
    tx.run(DEFER, (id, tx.lane()))?;
    Ok(())
}
