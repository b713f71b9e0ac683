//! The connector `outlook`: contacts and calendars of mailboxes in Microsoft 365, through Microsoft Graph.
//!
//! ```toml
//! [connections.office]
//! plugin   = "outlook"
//! settings = { tenant = "example.com", client_id = "…" }
//! secrets  = { client_secret = { file = "office.secret" } }
//! ```
//!
//! **Principals** are mailboxes, by address or id. With a client secret the application reaches all that it was permitted;
//! with a person's consent, what that person reaches. See `auth.rs`.
//!
//! **Records.** Entities are `contact` and `event`; folders and calendars are containers, known by their path. Versions are
//! change keys. Ids are immutable ones, so that they survive a move within the mailbox. The key of a create
//! and the UID of the counterpart stay with the item as named properties, and the incarnation is the store's own search key.
//! The connector `exchange` sees the same ones: a mailbox that moves to the cloud makes no duplicates.
//!
//! **Changes** come from delta queries, one for each folder; a delta that the server dropped starts over. See `feed.rs`.
//!
//! With a `notification_url` that Graph reaches, changes are announced as they happen. See `notify.rs`.
//!
//! **Writes** go in batches of twenty, updates and removals on the condition that nobody else was there. Only changed fields
//! are sent; lists and addresses, which Graph replaces whole, with what stands in them. See `write.rs`.

mod auth;
mod batch;
mod certificate;
mod connector;
mod contact;
mod event;
mod feed;
mod folders;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod graph;
mod kind;
mod notify;
mod occurrences;
mod property;
mod read;
mod record;
mod recurrence;
mod series;
mod settings;
mod users;
mod write;
mod zones;

#[cfg(test)]
mod tests;

pub use connector::Outlook;
pub use settings::{Config, SignIn};

pairwise_plugin_api::pairwise_plugin! { manifest: include_str!("../plugin.json"), connector: Outlook }
