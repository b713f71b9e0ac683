//! Writes, and what became of each.

use serde::{Deserialize, Serialize};

use crate::fields::Fields;
use crate::record::{Participant, Record, RecordRef};
use crate::value::Name;

/// One write.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Write {
    /// What to do.
    pub action: Action,
    /// Which record; of a create only the entity is set.
    pub at: RecordRef,
    /// Of a create: where it goes. Of an update: where it moves, if it is to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Native names. Of an update only what changes; a field that is not named keeps its value, `Null` empties it.
    pub fields: Fields,
    /// Attendees, where they are part of the write; all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<Participant>>,
    /// Of an update or delete: the version that the record must still have, where the connector declares conditional writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Idempotency key. The same key never comes with another payload; at most 26 characters, letters and digits.
    pub key: String,
    /// The UID that the new record shares with its counterpart, where the connector declares UIDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether the server sends invitations.
    pub invite: bool,
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make a new record.
    Create,
    /// Change the named fields.
    Update,
    /// Delete for good.
    Delete,
    /// Move to the system's deleted items.
    Trash,
    /// Add to the scope's list or group.
    Include,
    /// Take out of the scope's list or group.
    Exclude,
    /// An action of a newer API version: answer `refused`.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What became of one write. A call answers one outcome for each write, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// What became of it.
    pub status: Status,
    /// `applied`, `exists`: the record's place, version and incarnation, and, as far as the system tells them, the fields
    /// as it stored them. `conflict`: the record as it stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Fields that were left out because the principal may not write them; the rest was applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_fields: Vec<Name>,
    /// `refused`: stable code, for instance `too_long`. `exists`: [`Outcome::BY_KEY`] where the record certainly is the one
    /// that this very create has made before, and does not merely bear the same UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// `refused`: the field, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Name>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// `throttled`: milliseconds to wait, if the server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Outcome {
    /// The [`code`](Outcome::code) of an `exists` that was found by the key of the create.
    pub const BY_KEY: &str = "key";

    /// Applied.
    #[must_use]
    pub fn applied(record: Record) -> Self {
        Outcome { status: Status::Applied, record: Some(record), ..Outcome::default() }
    }

    /// Without a record.
    #[must_use]
    pub fn of(status: Status) -> Self {
        Outcome { status, ..Outcome::default() }
    }

    /// Refused for good.
    pub fn refused(code: impl Into<String>, text: impl Into<String>) -> Self {
        Outcome { status: Status::Refused, code: code.into(), text: text.into(), ..Outcome::default() }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Done, durably as far as the system promises.
    Applied,
    /// A create whose key (or UID) is already there; nothing was written.
    Exists,
    /// The version is not the expected one; nothing was written.
    Conflict,
    /// The record does not exist any more.
    Gone,
    /// The system will never take this write as it is.
    Refused,
    /// Certainly not done; may be tried again.
    NotSent,
    /// The system asks to slow down; certainly not done.
    Throttled,
    /// The login is not accepted (any more); certainly not done.
    Auth,
    /// Nobody knows whether it was done.
    #[default]
    #[serde(other)]
    Unknown,
}
