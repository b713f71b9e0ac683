//! What complete listings did not show.

use super::inbox;
use super::links;
use super::transaction::{Answer, Tx, statements};
use crate::model::{AsideId, InboxId, LinkId, Seen, Side, Sides};
use pairwise_plugin_api::RecordRef;

statements! {
    LINKS = "SELECT id FROM link WHERE lane = ?1 AND id > ?2 ORDER BY id";
    LEFT_END = "SELECT state = 0 OR left_version IS NOT NULL, left_entity, left_id FROM link WHERE id = ?1";
    RIGHT_END = "SELECT state = 0 OR right_version IS NOT NULL, right_entity, right_id FROM link WHERE id = ?1";
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

/// Links whose record was not seen, and had not left before. Only their numbers are read of those that were.
pub(super) fn unseen_links(
    tx: &Tx<'_>,
    side: Side,
    seen: &Seen,
    after: LinkId,
    limit: usize,
) -> Answer<Vec<(LinkId, RecordRef)>> {
    type Row = (bool, Option<i64>, Option<String>);
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
        if let Some((true, Some(entity), Some(record))) = end {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{LinkChange, Settlement, Staged, Store};

    fn seen(rows: &[i64]) -> Seen {
        let mut seen = Seen::default();
        rows.iter().for_each(|row| seen.mark(*row));
        seen
    }

    #[test]
    fn links_with_a_record_there_are_missed_unless_it_had_left() {
        let (mut db, lease) = world();
        let ids: Vec<LinkId> =
            ["a", "b", "c", "d"].map(|id| linked(&mut db, &lease, id, &format!("{id}.vcf")).id).into();
        for (link, side) in [(ids[1], Side::Right), (ids[2], Side::Left)] {
            let mut link = db.links(&lease, link - 1, 1).unwrap().remove(0);
            link.ends[side].as_mut().unwrap().version = None;
            settle(&mut db, &lease, Settlement { link: LinkChange::Put(Box::new(link)), ..Default::default() });
        }
        asleep(&mut db, &lease, ids[1]);
        asleep(&mut db, &lease, ids[2]);
        let mut half = link("e", "-");
        half.ends.right = None;
        settle(&mut db, &lease, Settlement { link: LinkChange::Put(Box::new(half)), ..Default::default() });
        let unseen = db.unseen_links(&lease, Side::Right, &seen(&ids[..1]), 0, 10).unwrap();
        assert_eq!(unseen, [(ids[2], at("c.vcf")), (ids[3], at("d.vcf"))]);
        assert_eq!(db.unseen_links(&lease, Side::Right, &seen(&[]), ids[0], 1).unwrap(), unseen[..1]);
    }

    #[test]
    fn a_doubt_has_a_start_and_ends_with_a_sighting() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "a", "a.vcf").id;
        let other = linked(&mut db, &lease, "b", "b.vcf").id;
        let doubt = |db: &mut super::super::Db, side, run: &str| db.doubt(&lease, side, run, &[link, other]).unwrap();
        assert!(doubt(&mut db, Side::Left, "1").is_empty());
        assert!(doubt(&mut db, Side::Left, "1").is_empty(), "the same run is no second witness");
        assert!(doubt(&mut db, Side::Right, "2").is_empty(), "nor is the other side");
        assert_eq!(doubt(&mut db, Side::Left, "2"), [link, other]);
        db.swept(&lease, Side::Left, &seen(&[other]), None).unwrap();
        stage(&mut db, &lease, &[here(Side::Right, "a.vcf", "2")]);
        assert_eq!(doubt(&mut db, Side::Left, "3"), [link]);
        assert_eq!(doubt(&mut db, Side::Right, "3"), [other]);
    }

    #[test]
    fn a_link_that_goes_takes_its_doubts_along() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "a", "a.vcf").id;
        db.doubt(&lease, Side::Left, "1", &[link]).unwrap();
        settle(&mut db, &lease, Settlement { link: LinkChange::Retire(link), ..Settlement::default() });
        let left: i64 = db.conn.query_row("SELECT count(*) FROM doubt", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_a_whole_listing_did_not_show_is_forgotten() {
        let (mut db, lease) = world();
        linked(&mut db, &lease, "linked", "linked.vcf");
        let candidate = Staged { candidate: true, ..here(Side::Left, "candidate", "1") };
        stage(&mut db, &lease, &[here(Side::Left, "shown", "1"), here(Side::Left, "hidden", "1"), candidate]);
        stage(&mut db, &lease, &[here(Side::Left, "linked", "2"), here(Side::Right, "other", "1")]);
        let shown = row(&mut db, &lease, Side::Left, "shown").unwrap();
        let newest = db.memory(&lease).unwrap().newest_inbox;
        stage(&mut db, &lease, &[here(Side::Left, "new", "1")]);
        db.forget_unseen(&lease, Side::Left, (&Seen::default(), 0), (&seen(&[shown]), newest)).unwrap();
        assert_eq!(
            sketch(&all_work(&mut db, &lease)),
            ["shown - -", "candidate - -", "linked - 1", "- other -", "new - -"]
        );
    }

    #[test]
    fn runs_since_the_last_whole_listing_are_counted() {
        let (mut db, mut lease) = world();
        db.swept(&lease, Side::Left, &Seen::default(), None).unwrap();
        for expected in 0..3 {
            db.release(&lease).unwrap();
            lease = db.take(&key(), &holder(1), 0).unwrap();
            assert_eq!(db.memory(&lease).unwrap().since_sweep, Sides { left: expected, right: 0 });
        }
        db.swept(&lease, Side::Left, &Seen::default(), None).unwrap();
        assert_eq!(db.memory(&lease).unwrap().since_sweep.left, 0);
    }
}
