//! What is to be settled: announcements with all that is known about them.

use super::inbox::{self, Stored};
use super::transaction::{Answer, Tx};
use super::{conflicts, links};
use crate::model::{Announced, InboxId, Link, Select, Sides, Work};

/// Announcements above a row with link, partner and conflicts.
pub(super) fn work(tx: &Tx<'_>, select: Select, after: InboxId, limit: usize) -> Answer<Vec<Work>> {
    let sql = match select {
        Select::All => inbox::FREE_ABOVE,
        Select::Removals => inbox::REMOVALS_ABOVE,
    };
    let mut statement = tx.conn.prepare_cached(sql)?;
    let mut rows = statement.query((tx.lane(), after))?;
    let mut works = Vec::new();
    while works.len() < limit
        && let Some(row) = rows.next()?
    {
        let own = inbox::read(row)?;
        let link = links::of_record(tx, own.side, own.entity, &own.record)?;
        let partner = partner(tx, &own, link.as_ref())?;
        if let Some(partner) = &partner {
            // The partner stands for both if it comes first, and holds both if it is held.
            let comes_by_itself = select == Select::All || partner.gone.is_some();
            if partner.held || (partner.id < own.id && comes_by_itself) {
                continue;
            }
        }
        let conflicts = match &link {
            Some(link) => conflicts::of_link(tx, link.id)?,
            None => Vec::new(),
        };
        let row = own.id;
        let mut news = Sides::<Option<Announced>>::default();
        for stored in [Some(own), partner].into_iter().flatten() {
            let side = stored.side;
            news[side] = Some(stored.announced(tx)?);
        }
        works.push(Work { row, news, link, conflicts });
    }
    Ok(works)
}

/// The other side's announcement: of the link's other record, or the one that a match tied to it.
fn partner(tx: &Tx<'_>, own: &Stored, link: Option<&Link>) -> Answer<Option<Stored>> {
    let other = own.side.other();
    if let Some(link) = link {
        let Some(end) = &link.ends[other] else { return Ok(None) };
        return inbox::by_record(tx, other, tx.entity(&end.at.entity)?, &end.at.id);
    }
    let Some(pair) = own.pair else { return Ok(None) };
    let Some(partner) = inbox::by_id(tx, pair)? else { return Ok(None) };
    // A record that was linked since belongs to its link.
    let linked = links::id_of_record(tx, partner.side, partner.entity, &partner.record)?.is_some();
    Ok((!linked).then_some(partner))
}

/// Announcements by row.
pub(super) fn announced(tx: &Tx<'_>, rows: &[InboxId]) -> Answer<Vec<Announced>> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(stored) = inbox::by_id(tx, *row)? {
            found.push(stored.announced(tx)?);
        }
    }
    Ok(found)
}
