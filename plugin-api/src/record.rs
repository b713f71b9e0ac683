//! Records, and what a system says about them beside their fields.

use serde::{Deserialize, Serialize};

use crate::fields::Fields;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
pub type Millis = i64;

/// On whose behalf a call is made: one person's mailbox or login, or the connection itself (empty).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Principal(pub String);

impl Principal {
    /// The connection itself, with the credentials of its own section.
    #[must_use]
    pub const fn connection() -> Self {
        Principal(String::new())
    }

    /// True for [`Principal::connection`].
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a record is: its entity and its id in the system.
///
/// The id is opaque to the host, stable as long as the record lives where it is, and unique within the entity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RecordRef {
    /// A name from the connector's catalogue.
    pub entity: String,
    /// The system's id, as text.
    pub id: String,
}

impl RecordRef {
    /// A reference to record `id` of `entity`.
    pub fn new(entity: impl Into<String>, id: impl Into<String>) -> Self {
        RecordRef { entity: entity.into(), id: id.into() }
    }
}

/// One record as the system holds it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Entity and id. Where a call concerns one entity only, the entity is still written.
    pub at: RecordRef,
    /// Changes whenever the record changes: an ETag, a change key, a digest. Equal versions mean equal records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Tells two records apart that had the same id one after the other: a creation stamp, a UID. Never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// When it was created, by the system's own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Millis>,
    /// When a person or program last changed it, by the system's own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<Millis>,
    /// The folder it is in, by the id that [`crate::ops::Containers`] tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// A key that stays the same when the record is copied to another system: an iCalendar or vCard UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The original start in UTC of one occurrence of a series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurrence: Option<String>,
    /// The values, by native name.
    pub fields: Fields,
    /// Attendees, of calendar records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub participants: Vec<Participant>,
    /// What only the system knows: not permitted, opted out, unreadable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One attendee of an event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Participant {
    /// Which row of the system this is; empty where rows have no key.
    pub key: String,
    /// E-mail address as the system spells it.
    pub address: String,
    /// Display name.
    pub name: String,
    /// What this person is to the event.
    pub role: Role,
    /// What this person answered.
    pub answer: Answer,
    /// Inside the organisation, outside of it, or a room.
    pub kind: ParticipantKind,
    /// The principal, where the system knows that the participant is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// What the system says about this row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A participant's part in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Invites and decides.
    Organizer,
    /// Must be there.
    #[default]
    Required,
    /// May be there.
    Optional,
    /// A room or thing.
    Resource,
    /// A role of a newer API version.
    #[serde(other)]
    Unknown,
}

/// A participant's answer to an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// None yet.
    #[default]
    NeedsAction,
    /// Comes.
    Accepted,
    /// May come.
    Tentative,
    /// Does not come.
    Declined,
    /// An answer of a newer API version.
    #[serde(other)]
    Unknown,
}

/// Where a participant belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantKind {
    /// A user of the system.
    Internal,
    /// Somebody else.
    External,
    /// A room or thing.
    Resource,
    /// The system does not tell.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Something that only the system knows about a record, a user or itself. The profile says what follows from a code.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Stable, `snake_case`, listed in the plugin's documentation. [`Condition::UNREADABLE`] is known to the host.
    pub code: String,
    /// What it concerns.
    pub level: Level,
    /// What the host does where the profile says nothing.
    pub severity: Severity,
    /// The field, participant, user or setting; empty where `level` says enough.
    pub subject: String,
    /// A sentence for people: what was found, what was expected, what to do.
    pub text: String,
}

impl Condition {
    /// The record cannot be read: a broken file, a body that does not parse. The host sets it aside and goes on.
    pub const UNREADABLE: &'static str = "unreadable";

    /// An unreadable record: [`Condition::UNREADABLE`] at record level, severity error.
    pub fn unreadable(text: impl Into<String>) -> Self {
        Condition {
            code: Self::UNREADABLE.into(),
            level: Level::Record,
            severity: Severity::Error,
            subject: String::new(),
            text: text.into(),
        }
    }
}

/// What a [`Condition`] concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The connection and so every profile on it.
    Profile,
    /// One stream.
    Stream,
    /// One principal.
    User,
    /// One record.
    #[default]
    Record,
    /// One field of a record.
    Field,
    /// One participant of a record.
    Participant,
    /// A level of a newer API version.
    #[serde(other)]
    Unknown,
}

/// What follows from a [`Condition`] unless the profile says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Told, nothing else.
    Info,
    /// Told once a run, work goes on.
    #[default]
    Warning,
    /// What it concerns is left out.
    Error,
}
