//! What a connector can ask of its host during a call.

use std::future::Future;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use abi_stable::std_types::RSlice;

use crate::codec;
use crate::ops::Announcement;
use crate::raw::HostApi_Ref;

/// The kind of message that [`Context::announce`] emits.
pub const ANNOUNCEMENT: u32 = 1;

/// A wait looks at least so often whether it was cancelled, should nobody wake it.
const GLANCE: Duration = Duration::from_millis(50);

static HOST: OnceLock<HostApi_Ref> = OnceLock::new();
static RUNTIME: OnceLock<std::io::Result<tokio::runtime::Runtime>> = OnceLock::new();
static CANCEL: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Keeps the host's functions for as long as the library is loaded; false if they were there already.
pub(crate) fn install(host: HostApi_Ref) -> bool {
    HOST.set(host).is_ok()
}

pub(crate) fn host() -> Option<HostApi_Ref> {
    HOST.get().copied()
}

/// Some call was cancelled: whoever waits looks whether it was his.
pub(crate) fn wake() {
    let _guard = CANCEL.0.lock().unwrap_or_else(PoisonError::into_inner);
    CANCEL.1.notify_all();
}

/// Handed to every operation.
///
/// Logging needs no context: the macros of [`tracing`] reach the host's log from every thread of the plugin, with their fields;
/// spans are not carried over.
#[derive(Debug, Clone, Default)]
pub struct Context {
    call: Option<u64>,
}

impl Context {
    /// A context without a host behind it, for a connector's own unit tests: never cancelled, progress goes nowhere.
    #[must_use]
    pub fn detached() -> Self {
        Context::default()
    }

    pub(crate) fn of_call(call: u64) -> Self {
        Context { call: Some(call) }
    }

    fn attached(&self) -> Option<(HostApi_Ref, u64)> {
        Some((host()?, self.call?))
    }

    /// True once the host has asked this call to stop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.attached().is_some_and(|(host, call)| host.cancelled()(host.token(), call))
    }

    /// Tells that something got done, and so extends the call's soft deadline. `total` is 0 where it is not known.
    pub fn progress(&self, done: u64, total: u64) {
        if let Some((host, call)) = self.attached() {
            host.progress()(host.token(), call, done, total);
        }
    }

    /// Tells the host that something changed, from `watch`. False if the host does not want to hear more.
    pub fn announce(&self, announcement: &Announcement) -> bool {
        let Some((host, call)) = self.attached() else { return true };
        codec::encode(announcement)
            .is_ok_and(|bytes| host.emit()(host.token(), call, ANNOUNCEMENT, RSlice::from_slice(&bytes)) == 0)
    }

    /// Waits, but no longer than until the call is cancelled; true if it was.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut guard = CANCEL.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.cancelled() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard = CANCEL.1.wait_timeout(guard, left.min(GLANCE)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Runs a future to its end, on a runtime of this plugin that is made at its first use. It drives timers, and sockets if
    /// the plugin switches on tokio's `net`.
    ///
    /// # Panics
    /// If the system refuses the runtime, or if called from inside another `block_on`.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build());
        match runtime {
            Ok(runtime) => runtime.block_on(future),
            Err(error) => panic!("no runtime for block_on: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_context_works() {
        let cx = Context::detached();
        cx.progress(1, 2);
        assert!(!cx.cancelled() && !cx.wait(Duration::from_millis(1)) && cx.announce(&Announcement::default()));
        let timer = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        };
        assert_eq!(cx.block_on(timer), 7);
    }
}
