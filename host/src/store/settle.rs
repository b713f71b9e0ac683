//! Settling: what becomes of announcements, intents and links, a batch in one transaction.
//!
//! The order within one settlement is fixed. Intents go before the link that they hold; the link stands before records are
//! announced again, because whether a record is linked decides how it is staged.

use super::transaction::{Answer, Tx};
use super::{aside, conflicts, history, inbox, intents, links};
use crate::model::{LinkChange, LinkId, Settlement};

pub(super) fn settle(tx: &Tx<'_>, run: &str, batch: &[Settlement]) -> Answer<()> {
    for settlement in batch {
        one(tx, run, settlement)?;
    }
    Ok(())
}

fn one(tx: &Tx<'_>, run: &str, settlement: &Settlement) -> Answer<()> {
    for intent in &settlement.closed {
        intents::close(tx, *intent)?;
    }
    for row in &settlement.settled {
        inbox::remove(tx, *row)?;
    }
    for row in &settlement.deferred {
        inbox::defer(tx, *row)?;
    }
    let link = change(tx, &settlement.link)?;
    for record in &settlement.aside {
        aside::put(tx, run, record)?;
    }
    for staged in &settlement.announce {
        inbox::stage(tx, staged)?;
    }
    if let (Some(open), Some(link)) = (&settlement.conflicts, link) {
        conflicts::replace(tx, run, link, open)?;
    }
    if let Some(lost) = &settlement.history {
        history::add(tx, run, lost, link.unwrap_or(0))?;
    }
    Ok(())
}

/// Changes the link; answers its number unless it is left alone or given up.
fn change(tx: &Tx<'_>, change: &LinkChange) -> Answer<Option<LinkId>> {
    match change {
        LinkChange::Keep => Ok(None),
        LinkChange::Put(link) => links::put(tx, link).map(Some),
        LinkChange::State(id, state) => links::set_state(tx, *id, *state).map(|()| Some(*id)),
        LinkChange::Retire(id) => links::retire(tx, *id).map(|()| None),
    }
}
