//! The state database as a whole: how large it gets, and what a full disk does to it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../benches/cards/mod.rs"]
mod cards;

use std::path::Path;

use cards::{intent, settled, staged};
use pairwise_host::model::{
    Holder, LaneKey, Lease, LinkChange, News, Select, Settlement, Side, Staged, Store, StoreError, StoreResult,
};
use pairwise_host::store::Db;
use pairwise_plugin_api::Cursor;

const BATCH: usize = 500;

fn lease(db: &mut Db) -> Lease {
    let key = LaneKey { profile: "p".into(), user: String::new(), stream: "contacts".into() };
    db.take(&key, &Holder { boot: String::new(), pid: 1, started: 1, since: 0 }, 0).unwrap()
}

/// Takes over `count` cards from the left to the right, as a first run does.
fn first_run(db: &mut Db, lease: &Lease, count: usize) -> StoreResult<()> {
    let all: Vec<Staged> = (0..count).map(|n| staged(Side::Left, n)).collect();
    for batch in all.chunks(BATCH) {
        db.stage(lease, batch, None)?;
    }
    loop {
        let page = db.work(lease, Select::All, 0, BATCH)?;
        if page.is_empty() {
            return Ok(());
        }
        let mut intents: Vec<_> = page
            .iter()
            .filter_map(|work| match work.news.left.as_ref().map(|told| (told.id, &told.news)) {
                Some((row, News::Here(record))) => Some(intent(row, record)),
                _ => None,
            })
            .collect();
        db.intend(lease, "run", &mut intents, &[])?;
        let batch: Vec<_> = intents.into_iter().map(settled).collect();
        db.settle(lease, "run", &batch)?;
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

#[test]
fn a_link_takes_two_and_a_half_kilobytes_at_most() {
    const COUNT: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairwise.db");
    let mut db = Db::open(&path).unwrap();
    let lease = lease(&mut db);
    first_run(&mut db, &lease, COUNT).unwrap();
    db.release(&lease).unwrap();
    drop(db);
    let each = size(&path) / COUNT as u64;
    assert!(each <= 2_500, "{each} bytes a link");
}

#[test]
fn what_a_big_run_needed_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairwise.db");
    let mut db = Db::open(&path).unwrap();
    let lease = lease(&mut db);
    let all: Vec<Staged> = (0..4_000).map(|n| staged(Side::Left, n)).collect();
    db.stage(&lease, &all, None).unwrap();
    let full = db.bytes().unwrap();
    let settled = all.iter().map(|staged| db.known(&lease, Side::Left, std::slice::from_ref(&staged.at)));
    let settled = settled.map(|known| known.unwrap()[0].inbox.as_ref().unwrap().0).collect();
    db.settle(&lease, "run", &[Settlement { settled, ..Settlement::default() }]).unwrap();
    db.release(&lease).unwrap();
    assert!(db.bytes().unwrap() < full / 4);
    drop(db);
    assert!(size(&path) < full / 4);
}

/// One step of a run; it is repeated until there is room for it.
type Step = fn(&mut Db, &Lease) -> StoreResult<()>;

const HISTORY: &[Step] = &[
    |db, lease| {
        let batch: Vec<Staged> = (0..120).map(|n| staged(Side::Left, n)).collect();
        db.stage(lease, &batch, Some((Side::Left, &Cursor(vec![1; 5000]))))
    },
    |db, lease| {
        let page = db.work(lease, Select::All, 0, 60)?;
        let mut intents: Vec<_> = page
            .iter()
            .filter_map(|work| match work.news.left.as_ref().map(|told| (told.id, &told.news)) {
                Some((row, News::Here(record))) => Some(intent(row, record)),
                _ => None,
            })
            .collect();
        db.intend(lease, "run", &mut intents, &[])
    },
    |db, lease| {
        let batch: Vec<_> = db.open_intents(lease, Side::Right, 0, 10_000)?.into_iter().map(settled).collect();
        db.settle(lease, "run", &batch)
    },
    |db, lease| {
        let batch: Vec<Staged> = (80..200).map(|n| staged(Side::Right, n)).collect();
        db.stage(lease, &batch, Some((Side::Right, &Cursor(vec![2; 9000]))))
    },
    |db, lease| {
        let links = db.links(lease, 0, 20)?;
        let retired = |id| Settlement { link: LinkChange::Retire(id), ..Settlement::default() };
        db.settle(lease, "run", &links.iter().map(|link| retired(link.id)).collect::<Vec<_>>())
    },
];

/// Everything that a run can see.
fn sight(db: &mut Db, lease: &Lease) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}",
        db.memory(lease).unwrap(),
        db.links(lease, 0, 10_000).unwrap(),
        db.work(lease, Select::All, 0, 10_000).unwrap(),
        db.open_intents(lease, Side::Right, 0, 10_000).unwrap(),
    )
}

/// The disk is full at every page that the history needs. Each time the step changes nothing and can be done again.
#[test]
fn a_full_disk_stops_between_two_states() {
    let mut reference = Db::in_memory().unwrap();
    let reference_lease = lease(&mut reference);
    let folder = tempfile::tempdir().unwrap();
    let mut db = Db::open(&folder.path().join("pairwise.db")).unwrap();
    let own = lease(&mut db);
    let mut pages = u32::try_from(db.bytes().unwrap() / 8192).unwrap();
    let mut full = 0;
    for step in HISTORY {
        let before = sight(&mut db, &own);
        step(&mut reference, &reference_lease).unwrap();
        loop {
            db.limit_pages(pages).unwrap();
            match step(&mut db, &own) {
                Ok(()) => break,
                Err(StoreError::Full { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            assert_eq!(sight(&mut db, &own), before);
            pages += 1;
            full += 1;
        }
        assert_eq!(sight(&mut db, &own), sight(&mut reference, &reference_lease));
    }
    assert!(full > 20, "the disk was full {full} times only");
}
