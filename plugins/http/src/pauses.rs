//! Servers and mailboxes that want to be left alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pairwise_plugin_api::{Class, Context, Failure, Result};

/// Until when each of them is not to be asked.
#[derive(Debug)]
pub struct Pauses {
    longest: Duration,
    until: Mutex<HashMap<String, Instant>>,
}

impl Pauses {
    /// Pauses of which those up to the `longest` are waited out; the others are the host's business.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Pauses { longest, until: Mutex::default() }
    }

    /// The one of this key wants to be left alone for so long.
    pub fn note(&self, key: &str, pause: Duration) {
        self.until().insert(key.to_owned(), Instant::now() + pause);
    }

    /// Waits until the one of this key may be asked again. `said` is what people are told of a pause that is too long.
    ///
    /// # Errors
    /// If the pause is too long to be waited out, or the host cancels the call meanwhile.
    pub fn wait(&self, cx: &Context, key: &str, said: impl FnOnce(Duration) -> String) -> Result<()> {
        let until = self.until().get(key).copied();
        let pause = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if pause > self.longest {
            let mut failure = Failure::new(Class::Throttled, said(pause));
            failure.retry_after_ms = u64::try_from(pause.as_millis()).ok();
            return Err(failure);
        }
        if !pause.is_zero() && cx.wait(pause) {
            return Err(Failure::new(Class::Cancelled, "the host asked to stop"));
        }
        Ok(())
    }

    fn until(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
