//! How many requests are under way at once for one mailbox or login.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pairwise_plugin_api::{Class, Context, Failure, Result};

/// Whoever waits looks at least so often whether the host still wants the answer.
const GLANCE: Duration = Duration::from_millis(50);

/// Lets a number of requests through for each key, and the others wait.
#[derive(Debug)]
pub struct Gate {
    width: usize,
    passing: Mutex<HashMap<String, usize>>,
    left: Condvar,
}

/// The right to have requests under way; given back when it is dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    gate: &'a Gate,
    key: String,
    share: usize,
}

impl Gate {
    /// A gate that is so wide for each key.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Gate { width: width.max(1), passing: Mutex::default(), left: Condvar::new() }
    }

    /// Waits until `share` requests may start for this key; more than the gate is wide counts as its width.
    ///
    /// # Errors
    /// If the host cancels the call meanwhile.
    pub fn pass(&self, cx: &Context, key: &str, share: usize) -> Result<Permit<'_>> {
        let share = share.clamp(1, self.width);
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        while passing.get(key).copied().unwrap_or_default() + share > self.width {
            if cx.cancelled() {
                return Err(Failure::new(Class::Cancelled, "the host asked to stop"));
            }
            passing = self.left.wait_timeout(passing, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        *passing.entry(key.to_owned()).or_default() += share;
        Ok(Permit { gate: self, key: key.to_owned(), share })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut passing = self.gate.passing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = passing.get_mut(&self.key) {
            *count = count.saturating_sub(self.share);
            if *count == 0 {
                passing.remove(&self.key);
            }
        }
        drop(passing);
        self.gate.left.notify_all();
    }
}
