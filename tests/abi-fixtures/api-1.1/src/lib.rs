//! Made up: 1.1, with a slot, a root field and a host function more than 1.0. All but `raw.rs` and `entry.rs` is that of 1.0.
//!
//! A vendor implements [`Connector`], hands it to [`pairwise_plugin!`], and needs no other crate: [`serde`], [`schemars`] and
//! [`tracing`] are re-exported. `README.md` says what a plugin must do and shows a complete one.
#![warn(missing_docs)]

#[path = "../../api-1.0/src/capability.rs"]
pub mod capability;
#[path = "../../api-1.0/src/catalogue.rs"]
pub mod catalogue;
#[path = "../../api-1.0/src/codec.rs"]
pub mod codec;
#[path = "../../api-1.0/src/compat.rs"]
pub mod compat;
#[path = "../../api-1.0/src/connector.rs"]
pub mod connector;
#[path = "../../api-1.0/src/context.rs"]
pub mod context;
#[path = "../../api-1.0/src/delta.rs"]
pub mod delta;
mod entry;
#[path = "../../api-1.0/src/failure.rs"]
pub mod failure;
#[path = "../../api-1.0/src/forward.rs"]
mod forward;
#[path = "../../api-1.0/src/guard.rs"]
mod guard;
#[path = "../../api-1.0/src/header.rs"]
pub mod header;
#[path = "../../api-1.0/src/manifest.rs"]
pub mod manifest;
#[path = "../../api-1.0/src/ops.rs"]
pub mod ops;
#[doc(hidden)]
pub mod raw;
#[path = "../../api-1.0/src/record.rs"]
pub mod record;
#[path = "../../api-1.0/src/value.rs"]
pub mod value;
#[path = "../../api-1.0/src/write.rs"]
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
pub use {schemars, serde, tracing};

/// What the macro writes into a plugin.
#[doc(hidden)]
pub mod __macro {
    pub use abi_stable::library::LibHeader;

    pub use crate::compat::{joined, joined_len};
    pub use crate::entry::{flags, library, section_parts};
    pub use crate::header::PluginHeader;
    pub use crate::manifest::assert_current;
}

/// What a plugin of this version finds where the host has the function of 1.1.
#[must_use]
pub fn host_function_of_1_1() -> Option<u32> {
    context::host()?.later().map(|later| later())
}
