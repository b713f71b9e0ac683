//! A call that failed as a whole.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a call failed, and whether it may have had an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// Whether the call may have had an effect. Reads are always `NotSent`.
    pub certainty: Certainty,
    /// A sentence for people: what was tried, what was expected, what to do. No secrets.
    pub text: String,
    /// Milliseconds to wait, where the server said.
    pub retry_after_ms: Option<u64>,
    /// The setting that is at fault.
    pub setting: Option<String>,
}

impl Failure {
    /// A failure that certainly had no effect.
    pub fn new(class: Class, text: impl Into<String>) -> Self {
        Failure { class, certainty: Certainty::NotSent, text: text.into(), retry_after_ms: None, setting: None }
    }

    /// The same, but nobody knows whether the call had an effect.
    #[must_use]
    pub fn unknown_outcome(mut self) -> Self {
        self.certainty = Certainty::Unknown;
        self
    }

    /// A setting that cannot work.
    pub fn config(setting: impl Into<String>, text: impl Into<String>) -> Self {
        let mut failure = Failure::new(Class::Config, text);
        failure.setting = Some(setting.into());
        failure
    }

    /// An operation that this connector does not have.
    #[must_use]
    pub fn unimplemented(operation: &str) -> Self {
        Failure::new(Class::Unimplemented, format!("this connector has no operation `{operation}`"))
    }
}

/// Classes of failures. Open in both directions: a class of a newer API version is kept as its number and treated as
/// [`Class::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(pub u32);

#[allow(non_upper_case_globals, reason = "they read like the variants of the enum that they cannot be")]
impl Class {
    /// Anything else.
    pub const Other: Class = Class(0);
    /// The login was refused or has expired.
    pub const Auth: Class = Class(1);
    /// A setting cannot work. Trying again is useless.
    pub const Config: Class = Class(2);
    /// The system cannot be reached or is out of order now.
    pub const Transient: Class = Class(3);
    /// The system asks to slow down.
    pub const Throttled: Class = Class(4);
    /// What was asked for does not exist.
    pub const NotFound: Class = Class(5);
    /// The system will never do this.
    pub const Refused: Class = Class(6);
    /// The connector has no such operation.
    pub const Unimplemented: Class = Class(7);
    /// The host asked to stop.
    pub const Cancelled: Class = Class(8);
    /// The cursor is no longer valid: start over with a listing.
    pub const CursorExpired: Class = Class(9);
    /// A message that the other end could not read.
    pub const Protocol: Class = Class(10);
    /// The plugin panicked. Its instance is not used again.
    pub const Panic: Class = Class(100);
    /// The instance panicked before.
    pub const Poisoned: Class = Class(101);
    /// The worker process died.
    pub const Crashed: Class = Class(102);
    /// The call took longer than its deadline and was killed.
    pub const Deadline: Class = Class(103);

    /// The class in a word, as in logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Auth => "auth",
            Class::Config => "config",
            Class::Transient => "transient",
            Class::Throttled => "throttled",
            Class::NotFound => "not_found",
            Class::Refused => "refused",
            Class::Unimplemented => "unimplemented",
            Class::Cancelled => "cancelled",
            Class::CursorExpired => "cursor_expired",
            Class::Protocol => "protocol",
            Class::Panic => "panic",
            Class::Poisoned => "poisoned",
            Class::Crashed => "crashed",
            Class::Deadline => "deadline",
            _ => "other",
        }
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

/// Whether a failed call may have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Certainly none.
    NotSent,
    /// Nobody knows.
    #[default]
    #[serde(other)]
    Unknown,
}
