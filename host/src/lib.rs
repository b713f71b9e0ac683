//! Pairwise: a plugin host that keeps contacts and calendars in step.

pub mod chance;
pub mod cli;
pub mod config;
#[cfg(feature = "sandbox")]
pub mod demo;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub(crate) mod gate;
pub mod model;
pub mod os;
pub mod pipeline;
pub mod plugins;
pub mod schedule;
pub mod store;

/// What a mutex guards, also after a thread has panicked with it: nothing here is left half changed.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Identifies this build: equal for equal sources, target and profile.
pub const BUILD: &str = env!("PAIRWISE_BUILD");
