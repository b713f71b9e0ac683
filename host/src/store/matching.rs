//! How records without a link find each other: match keys, candidates, pairs.

use super::codes::digest_column;
use super::inbox;
use super::transaction::{Answer, Fault, Tx, statements};
use super::{holds, links};
use crate::model::{Announced, HoldKind, InboxId, KeyGroup, Side, Sides};

statements! {
    KEYS = "SELECT digest, side, inbox FROM match_key WHERE lane = ?1 AND rank = ?2 ORDER BY digest, side, inbox";
    FREE_ROW = "SELECT side, entity, record FROM inbox \
                WHERE id = ?1 AND pair IS NULL AND hold IS NULL AND released = 0";
    UNMATCHED = "SELECT id, entity, record FROM inbox WHERE lane = ?1 AND hold IS NULL AND id > ?3 AND side = ?2 \
                 AND reason IS NULL AND pair IS NULL AND released = 0 AND candidate = 0 ORDER BY id";
    SIDE_OF = "SELECT side FROM inbox WHERE id = ?1 AND lane = ?2";
    SET_PAIR = "UPDATE inbox SET pair = ?2 WHERE id = ?1";
    CANDIDATES = "SELECT id FROM inbox WHERE lane = ?1 AND candidate = 1 AND pair IS NULL AND hold IS NULL";
    HELD_WITH = "SELECT inbox.hold FROM match_key JOIN inbox ON inbox.id = match_key.inbox \
                 WHERE match_key.lane = ?1 AND match_key.rank = ?2 AND match_key.digest = ?3 AND hold IS NOT NULL LIMIT 1";
}

/// Visits the groups of one key. Whether a row is still free is asked only where both sides have one.
pub(super) fn key_groups(tx: &Tx<'_>, rank: u8, visit: &mut dyn FnMut(KeyGroup)) -> Answer<()> {
    let mut statement = tx.conn.prepare_cached(KEYS)?;
    let mut rows = statement.query((tx.lane(), rank))?;
    let (mut present, mut group) = (None::<i64>, KeyGroup::default());
    loop {
        let next: Option<(i64, Side, InboxId)> = match rows.next()? {
            Some(row) => Some((row.get(0)?, row.get(1)?, row.get(2)?)),
            None => None,
        };
        if present != next.map(|(digest, ..)| digest) {
            visit_free(tx, std::mem::take(&mut group), visit)?;
        }
        let Some((digest, side, id)) = next else { return Ok(()) };
        present = Some(digest);
        group.rows[side].push(id);
    }
}

fn visit_free(tx: &Tx<'_>, mut group: KeyGroup, visit: &mut dyn FnMut(KeyGroup)) -> Answer<()> {
    for side in Side::BOTH {
        if group.rows[side.other()].is_empty() {
            return Ok(());
        }
        let mut free = Vec::with_capacity(group.rows[side].len());
        for id in std::mem::take(&mut group.rows[side]) {
            if is_free(tx, id)? {
                free.push(id);
            }
        }
        group.rows[side] = free;
    }
    if !group.rows.left.is_empty() && !group.rows.right.is_empty() {
        visit(group);
    }
    Ok(())
}

/// Neither linked, paired nor held, and not declared new by a person.
fn is_free(tx: &Tx<'_>, id: InboxId) -> Answer<bool> {
    let row: Option<(Side, i64, String)> = tx.one(FREE_ROW, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((side, entity, record)) = row else { return Ok(false) };
    Ok(links::id_of_record(tx, side, entity, &record)?.is_none())
}

/// Announcements of one side for which candidates may be looked up elsewhere.
pub(super) fn unmatched(tx: &Tx<'_>, side: Side, after: InboxId, limit: usize) -> Answer<Vec<Announced>> {
    let mut statement = tx.conn.prepare_cached(UNMATCHED)?;
    let mut rows = statement.query((tx.lane(), side, after))?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let (id, entity, record): (InboxId, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if links::id_of_record(tx, side, entity, &record)?.is_none()
            && let Some(stored) = inbox::by_id(tx, id)?
        {
            found.push(stored.announced(tx)?);
        }
    }
    Ok(found)
}

/// Ties announcements together.
pub(super) fn pair(tx: &Tx<'_>, pairs: &[(InboxId, InboxId)]) -> Answer<()> {
    for (left, right) in pairs {
        let sides = Sides { left: side_of(tx, *left)?, right: side_of(tx, *right)? };
        if (sides.left, sides.right) != (Some(Side::Left), Some(Side::Right)) {
            return Err(Fault::Misused(format!("announcements {left} and {right} are not one of each side")));
        }
        tx.run(SET_PAIR, (left, right))?;
        tx.run(SET_PAIR, (right, left))?;
    }
    Ok(())
}

fn side_of(tx: &Tx<'_>, id: InboxId) -> Answer<Option<Side>> {
    tx.one(SIDE_OF, (id, tx.lane()), |row| row.get(0))
}

/// Forgets candidates that were paired with nothing. Those that a person looks at stay.
pub(super) fn drop_candidates(tx: &Tx<'_>) -> Answer<()> {
    let rows: Vec<InboxId> = tx.all(CANDIDATES, [tx.lane()], |row| row.get(0))?;
    for id in rows {
        inbox::remove(tx, id)?;
    }
    Ok(())
}

/// A record arrives that shares a key with records which wait for a person: their question has changed, so all of them are
/// matched again.
pub(super) fn free_groups_of(tx: &Tx<'_>, keys: &[(u8, u64)]) -> Answer<()> {
    if keys.is_empty() || !holds::any(tx, HoldKind::Match)? {
        return Ok(());
    }
    for (rank, digest) in keys {
        while let Some(hold) =
            tx.one(HELD_WITH, (tx.lane(), rank, digest_column(*digest)), |row| row.get::<_, i64>(0))?
        {
            holds::dissolve(tx, hold)?;
        }
    }
    Ok(())
}
