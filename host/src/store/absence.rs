//! What complete listings did not show.

use super::inbox;
use super::links;
use super::transaction::{Answer, Tx, statements};
use crate::model::{AsideId, InboxId, LinkId, LinkState, Seen, Side, Sides};
use pairwise_plugin_api::RecordRef;

statements! {
    LINKS = "SELECT id FROM link WHERE lane = ?1 AND id > ?2 ORDER BY id";
    LEFT_END = "SELECT state, left_entity, left_id FROM link WHERE id = ?1";
    RIGHT_END = "SELECT state, right_entity, right_id FROM link WHERE id = ?1";
    ASIDE = "SELECT id FROM aside WHERE lane = ?1 AND side = ?2 AND id <= ?3";
    FORGET_ASIDE = "DELETE FROM aside WHERE id = ?1";
    ANNOUNCED = "SELECT id, entity, record FROM inbox WHERE lane = ?1 AND side = ?2 AND id <= ?3";
    IS_CANDIDATE = "SELECT candidate FROM inbox WHERE id = ?1";
    DOUBTED_SINCE = "SELECT run FROM doubt WHERE lane = ?1 AND side = ?2 AND link = ?3";
    DOUBT = "INSERT INTO doubt (lane, side, link, run) VALUES (?1, ?2, ?3, ?4)";
    DOUBTED = "SELECT link FROM doubt WHERE lane = ?1 AND side = ?2";
    SIGHTED = "DELETE FROM doubt WHERE lane = ?1 AND side = ?2 AND link = ?3";
}

const END: Sides<&str> = Sides { left: LEFT_END, right: RIGHT_END };

/// Live links whose record was not seen. Only their numbers are read of those that were.
pub(super) fn unseen_links(
    tx: &Tx<'_>,
    side: Side,
    seen: &Seen,
    after: LinkId,
    limit: usize,
) -> Answer<Vec<(LinkId, RecordRef)>> {
    type Row = (LinkState, Option<i64>, Option<String>);
    let mut statement = tx.conn.prepare_cached(LINKS)?;
    let mut rows = statement.query((tx.lane(), after))?;
    let mut unseen = Vec::new();
    while unseen.len() < limit
        && let Some(row) = rows.next()?
    {
        let id: LinkId = row.get(0)?;
        if seen.contains(id) {
            continue;
        }
        let end: Option<Row> = tx.one(END[side], [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if let Some((LinkState::Live, Some(entity), Some(record))) = end {
            unseen.push((id, tx.at(entity, record)?));
        }
    }
    Ok(unseen)
}

/// Forgets records that were set aside and unlinked announcements. A candidate was not announced and is not missed.
pub(super) fn forget_unseen(tx: &Tx<'_>, side: Side, aside: (&Seen, AsideId), inbox: (&Seen, InboxId)) -> Answer<()> {
    let gone: Vec<i64> = unmarked(tx, ASIDE, side, aside, |_| Ok(true))?;
    for id in gone {
        tx.run(FORGET_ASIDE, [id])?;
    }
    let gone: Vec<InboxId> = unmarked(tx, ANNOUNCED, side, inbox, |row| {
        let (id, entity, record): (InboxId, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let candidate = tx.one(IS_CANDIDATE, [id], |row| row.get(0))?.unwrap_or(false);
        Ok(!candidate && links::id_of_record(tx, side, entity, &record)?.is_none())
    })?;
    for id in gone {
        inbox::remove(tx, id)?;
    }
    Ok(())
}

fn unmarked(
    tx: &Tx<'_>,
    sql: &str,
    side: Side,
    (seen, newest): (&Seen, i64),
    mut wanted: impl FnMut(&rusqlite::Row<'_>) -> Answer<bool>,
) -> Answer<Vec<i64>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let mut rows = statement.query((tx.lane(), side, newest))?;
    let mut unmarked = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if !seen.contains(id) && wanted(row)? {
            unmarked.push(id);
        }
    }
    Ok(unmarked)
}

/// Notes that links were not seen; answers those that an earlier run missed already.
pub(super) fn doubt(tx: &Tx<'_>, side: Side, run: &str, missing: &[LinkId]) -> Answer<Vec<LinkId>> {
    let mut confirmed = Vec::new();
    for link in missing {
        match tx.one(DOUBTED_SINCE, (tx.lane(), side, link), |row| row.get::<_, String>(0))? {
            Some(since) if since != run => confirmed.push(*link),
            Some(_) => {}
            None => {
                tx.run(DOUBT, (tx.lane(), side, link, run))?;
            }
        }
    }
    Ok(confirmed)
}

/// The record of a link was seen.
pub(super) fn sighted(tx: &Tx<'_>, side: Side, link: LinkId) -> Answer<()> {
    tx.run(SIGHTED, (tx.lane(), side, link))?;
    Ok(())
}

/// Ends the doubt about links that were seen.
pub(super) fn end_doubts(tx: &Tx<'_>, side: Side, seen: &Seen) -> Answer<()> {
    let doubted: Vec<LinkId> = tx.all(DOUBTED, (tx.lane(), side), |row| row.get(0))?;
    for link in doubted.into_iter().filter(|link| seen.contains(*link)) {
        sighted(tx, side, link)?;
    }
    Ok(())
}
