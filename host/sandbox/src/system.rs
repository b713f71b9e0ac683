//! What a simulator implements.
//!
//! A simulator is built from a [`Core`](crate::core::Core) (see [`SYSTEMS`](crate::systems::SYSTEMS)), keeps its records in
//! the core's store, and answers on a listener of its own: its router begins at `/`, with the paths of the real server. For
//! every request the sandbox does this, in order:
//!
//! 1. reads the whole body and asks [`System::about`] whose request it is and what the system calls it;
//! 2. writes it to the journal;
//! 3. if a fault strikes that is not `after_effect`: waits, then answers by [`System::refuse`] or drops the connection;
//! 4. lets the router answer; an `after_effect` fault throws that answer away;
//! 5. sets `Date` to the system's time, and completes the line of the journal.
//!
//! A handler finds the [`Connection`](crate::Connection) that a request came on in its extensions
//! (`ConnectInfo<Connection>`), for logins that belong to a connection.

use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::faults::Fault;
use crate::population::Population;
use crate::store::{Fields, Item, Store};

/// One simulated system.
pub trait System: Send + Sync {
    /// Fills the store. Called once, before the first request.
    fn populate(&self, people: &Population);

    /// The URL that an administrator would write into a connection's settings.
    fn url(&self) -> String;

    /// Logins that work, users first.
    fn logins(&self) -> Vec<Login>;

    /// The paths of the real server.
    fn router(self: Arc<Self>) -> Router;

    /// Whose request this is and what the system calls it. Must not change anything: a fault may still strike it.
    fn about(&self, request: &Parts, body: &[u8]) -> About;

    /// The answer to a request that a fault strikes, in the system's own form; `Retry-After` included where it is a header.
    fn refuse(&self, fault: &Fault, about: &About) -> Response;

    /// A person makes a record (no id) or edits one, in the system's own way: versions, times and notifications follow. The
    /// answer is the record's id. Fields that are absent keep their value; null clears.
    ///
    /// # Errors
    /// If the person's edit makes no sense, for instance because there is no such record.
    fn edit(&self, edit: Edit) -> Result<String, Complaint>;

    /// A person deletes a record, as the system's own client would (to the deleted items, where there are any).
    ///
    /// # Errors
    /// If there is no such record.
    fn delete(&self, user: &str, id: &str) -> Result<(), Complaint>;

    /// Something that only this system has: drop tokens, hide a record, change a right, switch a mode. Each simulator lists
    /// its commands in the documentation of its module.
    ///
    /// # Errors
    /// If there is no such command, or its arguments make no sense.
    fn command(&self, name: &str, arguments: &Value) -> Result<Value, Complaint> {
        let _ = arguments;
        Err(Complaint::NoSuchCommand(name.to_owned()))
    }

    /// Whether a record is among those of a user or mailbox, when somebody asks what a system holds.
    fn sees(&self, store: &Store, user: &str, item: &Item) -> bool {
        let _ = store;
        item.owner == user
    }

    /// The clock was moved: what ends by time ends now.
    fn clock_moved(&self) {}
}

/// A login of a system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// As a profile's user pair names the user or mailbox; empty for a login of the whole connection.
    pub user: String,
    /// What goes into the connection's settings: `username`, `tenant`, `client_id`.
    pub settings: Fields,
    /// What goes into its secrets: `password`, `client_secret`.
    pub secrets: Fields,
}

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What the system calls it: a SOAP action, a resource.
    pub operation: Option<String>,
    /// Whose login or mailbox it is.
    pub user: Option<String>,
}

/// A person's edit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edit {
    /// Of a new record.
    pub entity: String,
    /// Who edits: the user or mailbox.
    pub user: String,
    /// Of a record that is there; absent = a new one.
    pub id: Option<String>,
    /// The fields to set.
    pub fields: Fields,
    /// The folder, list or group to put it into.
    pub container: Option<String>,
}

/// Why a person's edit or a command is not possible.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Complaint {
    #[error("there is no record `{0}`")]
    NoSuchRecord(String),
    #[error("there is no command `{0}`")]
    NoSuchCommand(String),
    #[error("{0}")]
    Senseless(String),
}
