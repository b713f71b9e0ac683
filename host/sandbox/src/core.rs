//! What a simulator is given to stand on.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::journal::Journal;
use crate::store::Store;

/// The ground of one system: its store, its view of the clock, its journal and faults. Cloning gives another handle to the
/// same.
#[derive(Clone)]
pub struct Core(Arc<Ground>);

struct Ground {
    base_url: String,
    seed: u64,
    clock: Arc<Clock>,
    skew: AtomicI64,
    // As many as like may look at the same time, as at a real server.
    store: RwLock<Store>,
    changed: watch::Sender<u64>,
    faults: Faults,
    journal: Journal,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("base_url", &self.0.base_url).finish_non_exhaustive()
    }
}

impl Core {
    /// An empty ground for a system that answers at this URL.
    #[must_use]
    pub fn new(base_url: String, clock: Arc<Clock>, seed: u64) -> Self {
        Core(Arc::new(Ground {
            base_url,
            seed,
            clock,
            skew: AtomicI64::new(0),
            store: RwLock::default(),
            changed: watch::Sender::new(0),
            faults: Faults::new(seed),
            journal: Journal::default(),
        }))
    }

    /// `http://127.0.0.1:PORT`, where the system's paths begin; no slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    /// The seed, for whatever a simulator draws by lot.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The time in milliseconds since 1970, as this system believes it.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.0.clock.now() + self.0.skew.load(Ordering::Relaxed)
    }

    /// The clock that all systems share.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Sets by how many milliseconds this system's clock is ahead.
    pub fn set_skew(&self, milliseconds: i64) {
        self.0.skew.store(milliseconds, Ordering::Relaxed);
    }

    /// Looks into the store.
    pub fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.0.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the store at this system's time, in one step for everybody else, and wakes who waits for changes.
    pub fn write<T>(&self, work: impl FnOnce(&mut Store, i64) -> T) -> T {
        let (done, before, after) = {
            let mut store = self.0.store.write().unwrap_or_else(PoisonError::into_inner);
            let before = store.version();
            (work(&mut store, self.now()), before, store.version())
        };
        if after != before {
            self.0.changed.send_replace(after);
        }
        done
    }

    /// Changes each time that the store did: what a notification waits for.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The faults of this system. They are applied to whole requests before the simulator sees them; one that answers many
    /// requests in one (a batch) asks for each part as well.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The journal of this system.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }
}
