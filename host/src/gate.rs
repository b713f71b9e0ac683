//! How many calls of one kind run at one time.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::lock;

/// Lets so many calls through at one time.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { free: Mutex::new(1), freed: Condvar::new() }
    }
}

/// The right to make one call; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a Gate);

impl Gate {
    /// From one call to `all`.
    pub(crate) fn widen(&self, all: usize) {
        *lock(&self.free) = all;
    }

    /// Waits for its turn.
    pub(crate) fn enter(&self) -> Permit<'_> {
        let free = self.freed.wait_while(lock(&self.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}
