//! Ctrl-C: the first one asks the run to stop after the batch in hand, the second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::error::{Error, Result};
use super::exit::Exit;

/// Set by the first Ctrl-C.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes the signals over. Commands that run no lane leave them as they are: there Ctrl-C ends the process at once.
    pub(crate) fn listen() -> Result<Interrupt> {
        static LISTENING: OnceLock<Interrupt> = OnceLock::new();
        if let Some(flag) = LISTENING.get() {
            return Ok(flag.clone());
        }
        let flag = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // Registered first, so that it sees the flag as the signal before has left it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                i32::from(Exit::Interrupted.code()),
                flag.0.clone(),
            )
            .and_then(|_| signal_hook::flag::register(signal, flag.0.clone()))
            .map_err(|error| Error::internal(format!("cannot listen to signals: {error}")))?;
        }
        Ok(LISTENING.get_or_init(|| flag).clone())
    }

    /// Waits for it.
    #[cfg(feature = "sandbox")]
    pub(crate) fn wait(&self) {
        while !self.raised() {
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
    }

    /// Whether the run is to stop.
    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
