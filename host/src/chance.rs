//! The only source of time, ids and randomness. A simulator puts its own in its place, and the same seed gives the same run.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use pairwise_plugin_api::Millis;
use ulid::Ulid;

/// So often somebody who waits looks whether to stop.
const LOOK_UP_MS: u64 = 50;

/// Time, ids and randomness.
pub trait Chance: Send + Sync {
    /// Now, by this machine's clock.
    fn now(&self) -> Millis;

    /// Uniform over all values.
    fn random(&self) -> u64;

    /// Waits. A simulator moves its clock instead.
    fn pause(&self, milliseconds: u64);

    /// Waits, and looks now and then whether to stop. True if it stopped before the end.
    fn pause_unless(&self, milliseconds: u64, stop: &dyn Fn() -> bool) -> bool {
        let mut left = milliseconds;
        while left > 0 && !stop() {
            let slice = left.min(LOOK_UP_MS);
            self.pause(slice);
            left -= slice;
        }
        left > 0
    }

    /// A fresh id: 26 letters and digits, unique over all hosts, in the order of time.
    fn id(&self) -> String {
        let random = (u128::from(self.random()) << 64) | u128::from(self.random());
        Ulid::from_parts(u64::try_from(self.now()).unwrap_or(0), random).to_string()
    }
}

/// The machine's clock and a generator seeded by the operating system.
#[derive(Debug)]
pub struct Real(Mutex<fastrand::Rng>);

impl Real {
    /// A new generator.
    #[must_use]
    pub fn new() -> Self {
        Real(Mutex::new(fastrand::Rng::new()))
    }
}

impl Default for Real {
    fn default() -> Self {
        Real::new()
    }
}

impl Chance for Real {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    fn pause(&self, milliseconds: u64) {
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    }

    fn random(&self) -> u64 {
        // A thread that panicked while drawing a number has not broken the generator.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).u64(..)
    }
}
