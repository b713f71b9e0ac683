//! The contract between the Pairwise host and its connector plugins.
//!
//! A vendor implements [`Connector`], hands it to [`pairwise_plugin!`], and needs no other crate: [`serde`], [`schemars`] and
//! [`tracing`] are re-exported. `README.md` says what a plugin must do and shows a complete one.
#![warn(missing_docs)]

pub mod capability;
pub mod catalogue;
pub mod codec;
pub mod compat;
pub mod connector;
pub mod context;
pub mod delta;
mod entry;
pub mod failure;
mod fields;
mod forward;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod guard;
pub mod header;
pub mod manifest;
pub mod ops;
pub mod overrides;
#[doc(hidden)]
pub mod raw;
pub mod record;
pub mod value;
pub mod write;

pub use capability::{Capabilities, CreateKey, Invitations};
pub use catalogue::{Catalogue, Entity, EntityKind, Field, FieldType, Shows};
pub use connector::{Connector, Result};
pub use context::Context;
pub use delta::{Absent, Change, Cursor, Found, Page, Reason, Removed};
pub use failure::{Certainty, Class, Failure};
pub use fields::{Fields, Outline};
pub use record::{
    Answer, Condition, Level, Millis, Participant, ParticipantKind, Principal, Record, RecordRef, Role, Severity,
};
pub use value::{Name, Text, Value};
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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
