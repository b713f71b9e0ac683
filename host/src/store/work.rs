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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Hold, HoldKind, Side, Store};

    #[test]
    fn a_pair_comes_once_at_its_lower_row() {
        let (mut db, lease) = world();
        let first = linked(&mut db, &lease, "a", "a.vcf");
        let second = linked(&mut db, &lease, "b", "b.vcf");
        stage(&mut db, &lease, &[here(Side::Left, "a", "2"), here(Side::Right, "b.vcf", "2")]);
        stage(&mut db, &lease, &[here(Side::Left, "b", "2"), here(Side::Right, "a.vcf", "2")]);
        let works = all_work(&mut db, &lease);
        assert_eq!(sketch(&works), [format!("a a.vcf {}", first.id), format!("b b.vcf {}", second.id)]);
        let page = db.work(&lease, Select::All, 0, 1).unwrap();
        let rest = db.work(&lease, Select::All, page[0].row, 10).unwrap();
        assert_eq!([page, rest].concat(), works);
    }

    #[test]
    fn removals_are_paged_by_their_own_rows() {
        let (mut db, lease) = world();
        let ids: Vec<_> = ["a", "b"].map(|id| linked(&mut db, &lease, id, &format!("{id}.vcf")).id).into();
        stage(&mut db, &lease, &[here(Side::Left, "a", "2"), here(Side::Left, "b", "2"), here(Side::Left, "c", "1")]);
        stage(&mut db, &lease, &[gone(Side::Right, "a.vcf"), gone(Side::Right, "b.vcf")]);
        let mut seen = Vec::new();
        let mut after = 0;
        while let Some(work) = db.work(&lease, Select::Removals, after, 1).unwrap().pop() {
            after = work.row;
            seen.extend(sketch(&[work]));
        }
        assert_eq!(seen, [format!("a !a.vcf {}", ids[0]), format!("b !b.vcf {}", ids[1])]);
    }

    #[test]
    fn gone_on_both_sides_is_one_removal() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "a", "a.vcf");
        stage(&mut db, &lease, &[gone(Side::Right, "a.vcf"), gone(Side::Left, "a")]);
        let removals = db.work(&lease, Select::Removals, 0, 10).unwrap();
        assert_eq!(sketch(&removals), [format!("!a !a.vcf {}", link.id)]);
    }

    #[test]
    fn whoever_belongs_to_a_held_row_waits_with_it() {
        let (mut db, lease) = world();
        linked(&mut db, &lease, "a", "a.vcf");
        stage(&mut db, &lease, &[here(Side::Left, "a", "2"), gone(Side::Right, "a.vcf"), here(Side::Left, "b", "1")]);
        let removal = row(&mut db, &lease, Side::Right, "a.vcf").unwrap();
        let hold = Hold {
            kind: HoldKind::Removals,
            side: Some(Side::Left),
            summary: String::new(),
            rows: vec![(removal, "A".into())],
        };
        db.hold(&lease, &[hold], "run").unwrap();
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["b - -"]);
        assert!(db.work(&lease, Select::Removals, 0, 10).unwrap().is_empty());
    }

    #[test]
    fn lanes_do_not_see_each_other() {
        let (mut db, lease) = world();
        let other = db.take(&crate::model::LaneKey { stream: "calendar".into(), ..key() }, &holder(1), 0).unwrap();
        stage(&mut db, &lease, &[here(Side::Left, "a", "1")]);
        linked(&mut db, &lease, "b", "b.vcf");
        assert!(all_work(&mut db, &other).is_empty());
        assert!(db.links(&other, 0, 10).unwrap().is_empty());
        linked(&mut db, &other, "b", "b.vcf");
        let own = row(&mut db, &lease, Side::Left, "a").unwrap();
        assert!(db.announced(&other, &[own]).unwrap().is_empty());
        db.settle(&other, "run", &[crate::model::Settlement { settled: vec![own], ..Default::default() }]).unwrap();
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["a - -"]);
        assert_eq!(db.announced(&lease, &[own, own + 1]).unwrap().len(), 1);
    }
}
