//! Settling: what becomes of announcements, intents and links, a batch in one transaction.
//!
//! The order within one settlement is fixed. Intents go before the link that they hold; the link stands before records are
//! announced again, because whether a record is linked decides how it is staged.

use super::transaction::{Answer, Tx};
use super::{aside, births, conflicts, inbox, intents, links, revisits};
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
    let link = change(tx, run, &settlement.link)?;
    for record in &settlement.aside {
        aside::put(tx, run, record)?;
    }
    inbox::stage(tx, &settlement.announce)?;
    for (side, at) in &settlement.revisit {
        revisits::add(tx, *side, tx.entity(&at.entity)?, &at.id)?;
    }
    if let (Some(open), Some(link)) = (&settlement.conflicts, link) {
        conflicts::replace(tx, run, link, open)?;
    }
    Ok(())
}

/// Changes the link; answers its number unless it is left alone or given up.
fn change(tx: &Tx<'_>, run: &str, change: &LinkChange) -> Answer<Option<LinkId>> {
    match change {
        LinkChange::Keep => Ok(None),
        LinkChange::Put(link) => births::put(tx, run, link, None).map(Some),
        LinkChange::Incarnation(id, side, incarnation) => {
            links::set_incarnation(tx, *id, *side, incarnation).map(|()| Some(*id))
        }
        LinkChange::Retire(id) => links::retire(tx, *id).map(|()| None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use crate::model::{Aside, AsideKind, Settlement, Side, Store};

    /// At first refused, then read again, then linked: within one settlement the later word stands.
    #[test]
    fn the_order_within_a_settlement_is_fixed() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "a", "1")]);
        let first = row(&mut db, &lease, Side::Left, "a").unwrap();
        let settlement = Settlement {
            settled: vec![first],
            link: crate::model::LinkChange::Put(Box::new(link("a", "a.vcf"))),
            announce: vec![here(Side::Left, "a", "2"), gone(Side::Right, "a.vcf"), gone(Side::Right, "b.vcf")],
            ..Settlement::default()
        };
        settle(&mut db, &lease, settlement);
        let works = all_work(&mut db, &lease);
        assert_eq!(sketch(&works), ["a !a.vcf 1"]);
        assert_ne!(works[0].news.left.as_ref().unwrap().id, first);
    }

    #[test]
    fn one_bad_settlement_undoes_its_batch() {
        let (mut db, lease) = world();
        let good = Settlement {
            link: crate::model::LinkChange::Put(Box::new(link("a", "a.vcf"))),
            aside: vec![Aside {
                side: Side::Left,
                at: crate::store::testing::at("q"),
                version: None,
                modified: None,
                label: "q".into(),
                kind: AsideKind::Quarantined,
                code: "c".into(),
                text: "t".into(),
            }],
            ..Settlement::default()
        };
        let bad = Settlement { link: crate::model::LinkChange::Retire(77), ..Settlement::default() };
        let before = db.mark().unwrap();
        assert!(db.settle(&lease, "run", &[good.clone(), bad]).is_err());
        assert_eq!(db.mark().unwrap(), before);
        assert!(db.links(&lease, 0, 10).unwrap().is_empty());
        // What was learnt in the transaction that failed is forgotten with it.
        settle(&mut db, &lease, good);
        assert_eq!(db.links(&lease, 0, 10).unwrap()[0].ends.left.as_ref().unwrap().at, at("a"));
    }
}
