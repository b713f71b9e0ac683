//! A call that failed as a whole.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::raw::RawError;

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

/// Whatever of a failure may grow: `RawError::detail`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Detail {
    certainty: Certainty,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<String>,
}

impl Failure {
    /// Its parts as they travel: class, text, and a message with the rest.
    #[must_use]
    pub fn into_parts(self) -> (u32, String, Vec<u8>) {
        let Failure { class, certainty, text, retry_after_ms, setting } = self;
        let detail = codec::encode(&Detail { certainty, retry_after_ms, setting }).unwrap_or_default();
        (class.0, text, detail)
    }

    /// From its parts. A detail that cannot be read leaves the outcome unknown, which is the careful reading.
    #[must_use]
    pub fn from_parts(class: u32, text: String, detail: &[u8]) -> Self {
        let Detail { certainty, retry_after_ms, setting } = codec::decode(detail).unwrap_or_default();
        Failure { class: Class(class), certainty, text, retry_after_ms, setting }
    }
}

impl From<Failure> for RawError {
    fn from(failure: Failure) -> Self {
        let (code, message, detail) = failure.into_parts();
        RawError { code, message: message.into(), detail: detail.into() }
    }
}

impl From<RawError> for Failure {
    fn from(error: RawError) -> Self {
        Failure::from_parts(error.code, error.message.into(), &error.detail)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_boundary() {
        let mut failure = Failure::new(Class::Throttled, "slow down").unknown_outcome();
        failure.retry_after_ms = Some(1500);
        assert_eq!(Failure::from(RawError::from(failure.clone())), failure);
        let config = Failure::config("url", "not a URL");
        assert_eq!(Failure::from(RawError::from(config.clone())), config);
    }

    #[test]
    fn a_detail_that_cannot_be_read_leaves_the_outcome_unknown() {
        assert_eq!(Failure::from_parts(3, String::new(), b"\xc1").certainty, Certainty::Unknown);
    }
}
