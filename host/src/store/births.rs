//! Where links come from: which run made them, and whether by making a record or by finding a pair.
//!
//! Links are numbered in the order in which they are made, and a lane's links are made by one run at a time. So a batch of new
//! ones takes a single row, that of the first: it speaks of all links of the lane from there to the next row. That costs the
//! first run of a large address book next to nothing.

use pairwise_plugin_api::Millis;

use super::links;
use super::transaction::{Answer, Tx, statements};
use crate::model::{Link, LinkId, Side};

statements! {
    ADD = "INSERT INTO birth (lane, first, side, run, at) VALUES (?1, ?2, ?3, ?4, ?5)";
    OF_LINK = "SELECT side, run, at FROM birth WHERE lane = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    PRUNE = "DELETE FROM birth WHERE at < ?1";
}

/// How a link came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Birth {
    /// The side on which a record was made; `None` where both were there.
    pub(super) side: Option<Side>,
    /// By which run.
    pub(super) run: String,
    /// When.
    pub(super) at: Millis,
}

/// Stores a link, and of a new one how it came to be.
pub(super) fn put(tx: &Tx<'_>, run: &str, link: &Link, side: Option<Side>) -> Answer<LinkId> {
    let id = links::put(tx, link)?;
    if link.id == 0 && tx.last_birth.replace(Some(side)) != Some(side) {
        tx.run(ADD, (tx.lane(), id, side, run, tx.now))?;
    }
    Ok(id)
}

/// How a link of a lane came to be, also one that is gone; `None` for one that is older than what is kept.
pub(super) fn of_link(tx: &Tx<'_>, lane: i64, link: LinkId) -> Answer<Option<Birth>> {
    tx.one(OF_LINK, (lane, link), |row| Ok(Birth { side: row.get(0)?, run: row.get(1)?, at: row.get(2)? }))
}

/// Forgets what is older.
pub(super) fn prune(tx: &Tx<'_>, before: Millis) -> Answer<usize> {
    tx.run(PRUNE, [before])
}
