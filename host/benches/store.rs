//! The store at ten thousand records of about the size of the benchmark's cards: `cargo bench -p pairwise-host --bench store`.
//!
//! Each figure is one whole pass over 10,000 records, in batches of 500 as the pipeline makes them, over a database file in
//! the temporary folder (`TMPDIR` chooses another).
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

mod cards;

use cards::{intent, settled, staged};
use divan::Bencher;
use pairwise_host::model::{Holder, Intent, LaneKey, Lease, News, Select, Settlement, Side, Staged, Store};
use pairwise_host::store::Db;
use pairwise_plugin_api::{Record, RecordRef};
use tempfile::TempDir;

const RECORDS: usize = 10_000;
const BATCH: usize = 500;

fn main() {
    divan::main();
}

struct World {
    db: Db,
    lease: Lease,
    _folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut db = Db::open(&folder.path().join("pairwise.db")).unwrap();
        let key = LaneKey { profile: "bench".into(), user: String::new(), stream: "contacts".into() };
        let holder = Holder { boot: String::new(), pid: 1, started: 1, since: 0 };
        let lease = db.take(&key, &holder, 0).unwrap();
        World { db, lease, _folder: folder }
    }

    fn staged(sides: &[Side]) -> Self {
        let mut world = World::new();
        for side in sides {
            let all: Vec<Staged> = (0..RECORDS).map(|n| staged(*side, n)).collect();
            world.stage(&all);
        }
        world
    }

    fn linked() -> Self {
        let mut world = World::staged(&[Side::Left]);
        let calls = world.calls();
        world.create(calls);
        world
    }

    /// The creates that the announcements lead to, call by call.
    fn calls(&mut self) -> Vec<Vec<Intent>> {
        let works = self.work();
        works.chunks(BATCH).map(|batch| batch.iter().map(|(row, record)| intent(*row, record)).collect()).collect()
    }

    fn stage(&mut self, all: &[Staged]) {
        for batch in all.chunks(BATCH) {
            self.db.stage(&self.lease, batch, None).unwrap();
        }
    }

    /// All announcements, page by page; of two that belong together the left one.
    fn work(&mut self) -> Vec<(i64, Record)> {
        let (mut after, mut rows) = (0, Vec::with_capacity(RECORDS));
        loop {
            let page = self.db.work(&self.lease, Select::All, after, BATCH).unwrap();
            let Some(last) = page.last() else { return rows };
            after = last.row;
            for work in page {
                let told = work.news.left.or(work.news.right).unwrap();
                if let News::Here(record) = told.news {
                    rows.push((told.id, *record));
                }
            }
        }
    }

    /// Creates on the right what stands on the left.
    fn create(&mut self, calls: Vec<Vec<Intent>>) {
        for mut intents in calls {
            self.db.intend(&self.lease, "run", &mut intents, &[]).unwrap();
            let settlements: Vec<Settlement> = intents.into_iter().map(settled).collect();
            self.db.settle(&self.lease, "run", &settlements).unwrap();
        }
    }
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn stage(bencher: Bencher<'_, '_>) {
    let all: Vec<Staged> = (0..RECORDS).map(|n| staged(Side::Left, n)).collect();
    bencher.with_inputs(World::new).bench_local_refs(|world| world.stage(&all));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn known(bencher: Bencher<'_, '_>) {
    let mut world = World::linked();
    let at: Vec<RecordRef> = (0..RECORDS).map(|n| staged(Side::Right, n).at).collect();
    bencher.bench_local(|| {
        at.chunks(BATCH).map(|at| world.db.known(&world.lease, Side::Right, at).unwrap().len()).sum::<usize>()
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn work(bencher: Bencher<'_, '_>) {
    let mut world = World::staged(&[Side::Left]);
    bencher.bench_local(|| world.work().len());
}

/// Announcements of both sides for each of 10,000 links.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn work_linked(bencher: Bencher<'_, '_>) {
    let mut world = World::linked();
    for side in Side::BOTH {
        let all: Vec<Staged> = (0..RECORDS).map(|n| staged(side, n)).collect();
        world.stage(&all);
    }
    bencher.bench_local(|| world.work().len());
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn intend_and_settle(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| {
            let mut world = World::staged(&[Side::Left]);
            let calls = world.calls();
            (world, calls)
        })
        .bench_local_refs(|(world, calls)| world.create(std::mem::take(calls)));
}

/// Three match keys over 10,000 records of each side.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn key_groups(bencher: Bencher<'_, '_>) {
    let mut world = World::staged(&Side::BOTH);
    bencher.bench_local(|| {
        let mut groups = 0;
        for rank in 0..3 {
            world.db.key_groups(&world.lease, rank, &mut |_| groups += 1).unwrap();
        }
        groups
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn snapshot(bencher: Bencher<'_, '_>) {
    let world = World::linked();
    bencher.bench_local(|| world.db.snapshot().unwrap());
}
