//! The contract between the Pairwise host and its connector plugins.
#![warn(missing_docs)]

pub mod capability;
pub mod catalogue;
pub mod codec;
pub mod connector;
pub mod context;
pub mod delta;
pub mod failure;
pub mod ops;
pub mod record;
pub mod value;
pub mod write;

pub use capability::{Capabilities, CreateKey, Invitations};
pub use catalogue::{Catalogue, Entity, EntityKind, Field, FieldType};
pub use connector::{Connector, Result};
pub use context::Context;
pub use delta::{Absent, Change, Cursor, Found, Page, Reason, Removed};
pub use failure::{Certainty, Class, Failure};
pub use record::{
    Answer, Condition, Level, Millis, Participant, ParticipantKind, Principal, Record, RecordRef, Role, Severity,
};
pub use value::{Fields, Name, Value};
pub use write::{Action, Outcome, Status, Write};
