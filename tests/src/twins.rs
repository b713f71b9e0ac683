//! A lane between two systems in memory, over the real pipeline and the real store.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pairwise_host::chance::Chance;
use pairwise_host::model::{Holder, LaneReport, LaneSpec, RunOptions, Sides, Unwatched};
use pairwise_host::pipeline;
use pairwise_host::store::Db;

use crate::lanes::{infor_crm_outlook, mirror};
use crate::memory::Memory;

/// Time and randomness from a seed; a pause moves the clock.
#[derive(Debug)]
pub struct Seeded {
    now: AtomicI64,
    drawn: AtomicU64,
}

impl Seeded {
    /// Starts in the year 2026.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Seeded { now: AtomicI64::new(1_780_000_000_000), drawn: AtomicU64::new(seed) }
    }

    /// Lets time pass.
    pub fn advance(&self, milliseconds: i64) {
        self.now.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Chance for Seeded {
    fn now(&self) -> i64 {
        self.now.fetch_add(1, Ordering::Relaxed)
    }

    fn pause(&self, milliseconds: u64) {
        self.advance(i64::try_from(milliseconds).unwrap_or(0));
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        let mut z = self.drawn.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Two systems, a store, and the lane between them.
#[derive(Debug)]
pub struct World {
    /// The left system.
    pub left: Memory,
    /// The right system.
    pub right: Memory,
    /// The lane's settings.
    pub spec: LaneSpec,
    /// The state.
    pub db: Db,
    /// Time.
    pub chance: Seeded,
    runs: u32,
}

impl Default for World {
    fn default() -> Self {
        World::new(mirror())
    }
}

impl World {
    /// Two empty systems.
    ///
    /// # Panics
    /// If SQLite cannot open a database in memory.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test without a database cannot go on")]
    pub fn new(spec: LaneSpec) -> Self {
        World {
            left: Memory::new("one"),
            right: Memory::new("two"),
            spec,
            db: Db::in_memory().expect("a database in memory"),
            chance: Seeded::new(1),
            runs: 0,
        }
    }

    /// The preset `infor-crm-outlook` for one person, between a CRM and a mailbox; with more keys of the profile.
    #[must_use]
    pub fn of_crm(more: &str) -> Self {
        let mut world = World::new(infor_crm_outlook(more));
        (world.left, world.right) = (Memory::crm("crm"), Memory::mailbox("office"));
        world
    }

    /// One run.
    pub fn run(&mut self) -> LaneReport {
        self.run_with(RunOptions { list_items: 1_000, ..RunOptions::default() })
    }

    /// One run with options.
    pub fn run_with(&mut self, options: RunOptions) -> LaneReport {
        self.runs += 1;
        self.chance.advance(60_000);
        let options = RunOptions { run: format!("run-{}", self.runs), ..options };
        let holder = Holder { boot: "boot".into(), pid: 1, started: 1, since: self.chance.now() };
        let remotes = Sides { left: &self.left as _, right: &self.right as _ };
        pipeline::run(&self.spec, remotes, &mut self.db, &self.chance, &options, &Unwatched, &holder)
    }
}
