//! Announced changes, staged until they are settled.
//!
//! An announcement that says the same as the one that is there changes nothing. One that says something else takes its place
//! under a new number, so that a late settlement of the old number cannot take news away that nobody has read.

use std::cmp::Ordering;

use pairwise_plugin_api::RecordRef;
use rusqlite::Row;

use super::codes::{Gone, Keys};
use super::matching::Questions;
use super::transaction::{Answer, Fault, Tx, statements};
use super::{absence, aside, holds, links, revisits};
use crate::model::{Announced, HoldId, InboxId, Known, News, Side, Sides, Staged};

/// A side's links, in the order of their records, from one on.
macro_rules! linked {
    ($side:literal) => {
        concat!(
            "SELECT ",
            $side,
            "_id, id, ",
            $side,
            "_version, ",
            $side,
            "_incarnation FROM link WHERE lane = ?1 AND ",
            $side,
            "_entity = ?3 AND ",
            $side,
            "_id >= ?4 ORDER BY ",
            $side,
            "_id"
        )
    };
}

/// What is set aside, announced or to be read again of a side, likewise.
macro_rules! waiting {
    ($table:literal, $more:literal) => {
        concat!(
            "SELECT record",
            $more,
            " FROM ",
            $table,
            " WHERE lane = ?1 AND side = ?2 AND entity = ?3 AND record >= ?4 ORDER BY record"
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
    LINKED_LEFT = linked!("left");
    LINKED_RIGHT = linked!("right");
    SET_ASIDE = waiting!("aside", ", id, version, modified");
    ANNOUNCED = waiting!("inbox", ", id, version");
    REVISITED = waiting!("revisit", "");
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
    NO_CANDIDATE = "UPDATE inbox SET candidate = 0 WHERE id = ?1";
    TIES = "SELECT pair, hold FROM inbox WHERE id = ?1 AND lane = ?2";
    REMOVE = "DELETE FROM inbox WHERE id = ?1";
    REMOVE_BODY = "DELETE FROM body WHERE inbox = ?1";
    UNPAIR = "UPDATE inbox SET pair = NULL WHERE id = ?1";
    DEFER = "UPDATE inbox SET attempts = attempts + 1 WHERE id = ?1 AND lane = ?2";
}

const LINKED: Sides<&str> = Sides { left: LINKED_LEFT, right: LINKED_RIGHT };

/// So many rows that nobody asked for are passed before the next one asked for is looked up.
const PASSED: usize = 4;

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
            (None, Some(bytes)) => News::Here(Box::new(tx.unpack_bytes(&bytes)?)),
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

pub(super) fn by_id(tx: &Tx<'_>, id: InboxId) -> Answer<Option<Stored>> {
    tx.one(BY_ID, (id, tx.lane()), read)
}

pub(super) fn by_record(tx: &Tx<'_>, side: Side, entity: i64, record: &str) -> Answer<Option<Stored>> {
    tx.one(BY_RECORD, (tx.lane(), side, entity, record), read)
}

/// What is known of each record.
pub(super) fn known(tx: &Tx<'_>, side: Side, at: &[RecordRef]) -> Answer<Vec<Known>> {
    let mut order: Vec<usize> = (0..at.len()).collect();
    order.sort_by_key(|place| &at[*place]);
    let mut known = vec![Known::default(); at.len()];
    along(tx, LINKED[side], side, at, &order, |place, row| {
        known[place].link = Some((row.get(1)?, row.get(2)?));
        known[place].incarnation = row.get(3)?;
        Ok(())
    })?;
    along(tx, SET_ASIDE, side, at, &order, |place, row| {
        known[place].aside = Some((row.get(1)?, row.get(2)?));
        known[place].aside_modified = row.get(3)?;
        Ok(())
    })?;
    along(tx, ANNOUNCED, side, at, &order, |place, row| {
        known[place].inbox = Some((row.get(1)?, row.get(2)?));
        Ok(())
    })?;
    along(tx, REVISITED, side, at, &order, |place, _| {
        known[place].revisit = true;
        Ok(())
    })?;
    Ok(known)
}

/// Walks along an index and the records asked for, both in one order. Most listings ask for nearly all that is there, and a
/// step costs much less than a look-up.
fn along(
    tx: &Tx<'_>,
    from: &str,
    side: Side,
    at: &[RecordRef],
    order: &[usize],
    mut found: impl FnMut(usize, &Row<'_>) -> rusqlite::Result<()>,
) -> Answer<()> {
    let mut statement = tx.conn.prepare_cached(from)?;
    let mut ahead = order;
    while let [first, rest @ ..] = ahead {
        let first = &at[*first];
        let Some(entity) = tx.known_entity(&first.entity)? else {
            ahead = rest;
            continue;
        };
        let mut rows = statement.query((tx.lane(), side, entity, &first.id))?;
        let mut row = rows.next()?;
        let mut passed = 0;
        while let [asked, rest @ ..] = ahead
            && at[*asked].entity == first.entity
            && passed <= PASSED
        {
            if let Some(there) = row {
                let id = there.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
                match id.cmp(at[*asked].id.as_bytes()) {
                    Ordering::Less => {
                        row = rows.next()?;
                        passed += 1;
                        continue;
                    }
                    Ordering::Equal => found(*asked, there)?,
                    Ordering::Greater => {}
                }
            }
            passed = 0;
            ahead = rest;
        }
    }
    Ok(())
}

/// Stages announcements.
pub(super) fn stage(tx: &Tx<'_>, staged: &[Staged]) -> Answer<()> {
    let questions = Questions::default();
    staged.iter().try_for_each(|staged| stage_one(tx, staged, &questions))
}

fn stage_one(tx: &Tx<'_>, staged: &Staged, questions: &Questions) -> Answer<()> {
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
    } else if aside::clear(tx, side, entity, record)?
        && let Some(link) = link
    {
        // As if a person had asked for it: its counterpart may have told something that could not be carried over, either.
        revisits::add_ends(tx, link)?;
    }

    let (gone, body) = match &staged.news {
        News::Gone(reason) => (Some(Gone(*reason)), None),
        News::Here(record) => (None, Some(tx.pack(record)?)),
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
    questions.ask_again(tx, keys)
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

/// Takes an announcement out, with its record, its pair and its place in a hold.
pub(super) fn remove(tx: &Tx<'_>, id: InboxId) -> Answer<()> {
    type Left = (Option<InboxId>, Option<HoldId>);
    // Not `RETURNING`, for which SQLite makes a table of its own each time.
    let left: Option<Left> = tx.one(TIES, (id, tx.lane()), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((pair, hold)) = left else { return Ok(()) };
    tx.run(REMOVE, [id])?;
    tx.run(REMOVE_BODY, [id])?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::{Known, News, RecordRef, Side, Staged};
    use crate::model::{Hold, HoldKind, LinkChange, Settlement, Store};
    use pairwise_plugin_api::Cursor;

    #[test]
    fn the_same_news_change_nothing_and_other_news_get_another_number() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "ada", "1")]);
        let first = row(&mut db, &lease, Side::Left, "ada").unwrap();
        settle(&mut db, &lease, Settlement { deferred: vec![first], ..Settlement::default() });
        stage(&mut db, &lease, &[here(Side::Left, "ada", "1")]);
        assert_eq!(row(&mut db, &lease, Side::Left, "ada"), Some(first));
        assert_eq!(all_work(&mut db, &lease)[0].news.left.as_ref().unwrap().attempts, 1);

        stage(&mut db, &lease, &[here(Side::Left, "ada", "2")]);
        let second = row(&mut db, &lease, Side::Left, "ada").unwrap();
        assert!(second > first);
        assert_eq!(all_work(&mut db, &lease)[0].news.left.as_ref().unwrap().attempts, 0);
        settle(&mut db, &lease, Settlement { settled: vec![first], ..Settlement::default() });
        assert_eq!(row(&mut db, &lease, Side::Left, "ada"), Some(second), "news that nobody has read stay");
    }

    #[test]
    fn without_versions_records_are_compared() {
        let (mut db, lease) = world();
        let told = |name: &str| {
            let mut staged = here(Side::Left, "ada", "");
            staged.version = None;
            if let News::Here(record) = &mut staged.news {
                record.fields.set("name/full", name);
            }
            staged
        };
        stage(&mut db, &lease, &[told("Ada")]);
        let first = row(&mut db, &lease, Side::Left, "ada");
        stage(&mut db, &lease, &[told("Ada")]);
        assert_eq!(row(&mut db, &lease, Side::Left, "ada"), first);
        stage(&mut db, &lease, &[told("Ada King")]);
        assert_ne!(row(&mut db, &lease, Side::Left, "ada"), first);
    }

    #[test]
    fn a_removal_of_an_unlinked_record_leaves_nothing() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[keyed(Side::Left, "ada", &[(0, 7)])]);
        stage(&mut db, &lease, &[gone(Side::Left, "ada"), gone(Side::Left, "bob")]);
        assert!(all_work(&mut db, &lease).is_empty());
        let bodies: i64 = db.conn.query_row("SELECT count(*) FROM body", [], |row| row.get(0)).unwrap();
        assert_eq!(bodies, 0);
    }

    #[test]
    fn a_removal_of_a_linked_record_is_kept_and_a_return_takes_its_place() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "ada", "ada.vcf");
        stage(&mut db, &lease, &[gone(Side::Left, "ada")]);
        assert_eq!(sketch(&all_work(&mut db, &lease)), [format!("!ada - {}", link.id)]);
        stage(&mut db, &lease, &[here(Side::Left, "ada", "2")]);
        assert_eq!(sketch(&all_work(&mut db, &lease)), [format!("ada - {}", link.id)]);
    }

    #[test]
    fn news_lift_a_hold_and_a_pair() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "ada", "1"), here(Side::Right, "ada.vcf", "1")]);
        let left = row(&mut db, &lease, Side::Left, "ada").unwrap();
        let right = row(&mut db, &lease, Side::Right, "ada.vcf").unwrap();
        db.pair(&lease, &[(left, right)]).unwrap();
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["ada ada.vcf -"]);
        stage(&mut db, &lease, &[here(Side::Left, "ada", "2")]);
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["- ada.vcf -", "ada - -"]);

        let hold =
            Hold { kind: HoldKind::Identity, side: None, summary: String::new(), rows: vec![(right, "Ada".into())] };
        db.hold(&lease, &[hold], "run").unwrap();
        stage(&mut db, &lease, &[here(Side::Right, "ada.vcf", "1")]);
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["ada - -"], "the same news stay held");
        stage(&mut db, &lease, &[here(Side::Right, "ada.vcf", "2")]);
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["ada - -", "- ada.vcf -"]);
        assert!(db.holds(0, 10).unwrap().is_empty());
    }

    #[test]
    fn a_candidate_never_takes_the_place_of_an_announcement() {
        let (mut db, lease) = world();
        linked(&mut db, &lease, "cy", "cy.vcf");
        let candidate = |id: &str, version: &str| Staged { candidate: true, ..here(Side::Right, id, version) };
        stage(&mut db, &lease, &[here(Side::Right, "ada.vcf", "2"), candidate("bob.vcf", "1")]);
        stage(
            &mut db,
            &lease,
            &[candidate("ada.vcf", "1"), candidate("cy.vcf", "1"), here(Side::Right, "bob.vcf", "1")],
        );
        let works = all_work(&mut db, &lease);
        assert_eq!(sketch(&works), ["- ada.vcf -", "- bob.vcf -"]);
        assert!(works.iter().all(|work| !work.news.right.as_ref().unwrap().candidate));
    }

    #[test]
    fn the_cursor_is_staged_with_what_was_read_on_the_way_to_it() {
        let (mut db, lease) = world();
        let pages = db.bytes().unwrap() / u64::from(super::super::schema::PAGE_SIZE);
        db.limit_pages(u32::try_from(pages).unwrap() + 1).unwrap();
        let many: Vec<Staged> = (0..1000).map(|n| here(Side::Left, &format!("r{n}"), "1")).collect();
        let cursor = Cursor(vec![9]);
        let error = db.stage(&lease, &many, Some((Side::Left, &cursor))).unwrap_err();
        assert!(matches!(error, crate::model::StoreError::Full { .. }), "{error}");
        assert_eq!(db.memory(&lease).unwrap().cursors.left, None);
        assert!(all_work(&mut db, &lease).is_empty());
        db.limit_pages(100_000).unwrap();
        db.stage(&lease, &many, Some((Side::Left, &cursor))).unwrap();
        assert_eq!(db.memory(&lease).unwrap().cursors.left, Some(cursor));
        assert_eq!(all_work(&mut db, &lease).len(), 1000);
    }

    #[test]
    fn what_is_known_comes_in_the_order_asked() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "ada", "ada.vcf");
        stage(&mut db, &lease, &[here(Side::Left, "bob", "5")]);
        let aside = crate::model::Aside {
            side: Side::Left,
            at: at("cy"),
            version: Some("6".into()),
            modified: None,
            label: "Cy".into(),
            kind: crate::model::AsideKind::Refused,
            code: "filter".into(),
            text: "kept out".into(),
        };
        settle(&mut db, &lease, Settlement { aside: vec![aside], ..Settlement::default() });
        let other = RecordRef::new("event", "ada");
        let known = db.known(&lease, Side::Left, &[at("cy"), at("ada"), at("bob"), at("dan"), other]).unwrap();
        assert_eq!(known[0].aside.as_ref().unwrap().1.as_deref(), Some("6"));
        assert_eq!(known[1].link, Some((link.id, Some("1".into()))));
        assert_eq!(known[2].inbox.as_ref().unwrap().1.as_deref(), Some("5"));
        assert_eq!(known[3..], [Known::default(), Known::default()]);
        assert_eq!(db.known(&lease, Side::Right, &[at("ada")]).unwrap(), [Known::default()]);
    }

    #[test]
    fn what_is_known_is_found_in_any_order_and_behind_any_gap() {
        let (mut db, lease) = world();
        let id = |n: usize| format!("r{n:02}");
        for n in (0..60).step_by(2) {
            linked(&mut db, &lease, &id(n), &format!("{}.vcf", id(n)));
        }
        stage(&mut db, &lease, &[here(Side::Left, &id(31), "9")]);
        for asked in [
            (0..60).collect::<Vec<_>>(),
            (0..60).rev().collect(),
            vec![58, 0, 1, 31, 30, 30, 2, 40, 4, 99, 5],
            (0..60).step_by(17).collect(),
        ] {
            let at: Vec<RecordRef> = asked.iter().map(|n| at(&id(*n))).collect();
            let known = db.known(&lease, Side::Left, &at).unwrap();
            for (known, at) in known.iter().zip(&at) {
                let alone = db.known(&lease, Side::Left, std::slice::from_ref(at)).unwrap().remove(0);
                assert_eq!(*known, alone, "{at:?} in {asked:?}");
            }
            for (known, n) in known.iter().zip(&asked) {
                assert_eq!(known.link.is_some(), *n < 60 && n % 2 == 0, "{n} in {asked:?}");
                assert_eq!(known.inbox.is_some(), *n == 31, "{n} in {asked:?}");
            }
        }
    }

    #[test]
    fn a_given_up_link_takes_the_removals_of_its_records_along() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "ada", "ada.vcf");
        stage(&mut db, &lease, &[gone(Side::Left, "ada"), here(Side::Right, "ada.vcf", "2")]);
        settle(&mut db, &lease, Settlement { link: LinkChange::Retire(link.id), ..Settlement::default() });
        assert_eq!(sketch(&all_work(&mut db, &lease)), ["- ada.vcf -"]);
    }
}
