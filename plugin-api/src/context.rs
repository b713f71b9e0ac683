//! What a connector can ask of its host during a call.

/// Handed to every operation.
#[derive(Debug, Clone, Default)]
pub struct Context {}

impl Context {
    /// A context without a host behind it, for a connector's own unit tests: never cancelled, progress goes nowhere.
    #[must_use]
    pub fn detached() -> Self {
        Context::default()
    }
    /// True once the host has asked this call to stop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        false
    }
    /// Tells that something got done, and so extends the call's soft deadline. `total` is 0 where it is not known.
    pub fn progress(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
}
