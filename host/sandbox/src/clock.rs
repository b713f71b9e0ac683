//! One clock for all systems. It runs with the real time or stands still, and a test can move it; each system may be wrong
//! by a skew of its own.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How the clock begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Start {
    /// It shows the real time, and runs with it.
    #[default]
    Now,
    /// It stands still at this time (milliseconds since 1970) until it is moved.
    At(i64),
}

/// The clock. Times are milliseconds since 1970.
#[derive(Debug)]
pub struct Clock {
    start: Start,
    ahead: Mutex<i64>,
    moved: watch::Sender<i64>,
}

impl Clock {
    /// A clock that begins so.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Clock { start, ahead: Mutex::new(0), moved: watch::Sender::new(0) }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> i64 {
        let base = match self.start {
            Start::Now => Timestamp::now().as_millisecond(),
            Start::At(time) => time,
        };
        base + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock, usually forwards, and wakes who waits for that.
    pub fn advance(&self, milliseconds: i64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead += milliseconds;
        self.moved.send_replace(*ahead);
    }

    /// Changes each time that the clock is moved: what waits for a time (a subscription that ends) waits for this as well.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<i64> {
        self.moved.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_moves_only_when_it_is_moved() {
        let clock = Clock::new(Start::At(1_000));
        assert_eq!((clock.now(), clock.now()), (1_000, 1_000));
        let mut moves = clock.moves();
        clock.advance(5_000);
        assert_eq!(clock.now(), 6_000);
        assert!(moves.has_changed().unwrap_or_default());
        assert_eq!(*moves.borrow_and_update(), 5_000);
    }
}
