//! The connector `exchange`: contacts and calendars of mailboxes on an Exchange Server, over Exchange Web Services (EWS).
//!
//! One account acts for many mailboxes over few connections. What changed comes from `SyncFolderItems`, the items themselves
//! from batches of `GetItem`; a change sends the properties that changed and the change key that they were seen with. A new item
//! bears the key of its create in a named property, so that a repeated create finds it.
//!
//! What happens to a record: `server` carries requests, `soap` reads what they say, `desk` is one mailbox; `read` and `write`
//! are the operations; `fields` tells where EWS keeps each field, `item` and `event` read it, `change` writes it.

mod binding;
mod change;
mod connector;
mod desk;
mod event;
mod fields;
mod folders;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod group;
mod item;
mod kind;
mod ntlm;
mod oauth;
mod occurrences;
mod read;
mod recurrence;
mod series;
mod server;
mod settings;
mod soap;
mod times;
mod watch;
mod write;
mod xml;

#[cfg(test)]
mod tests;

pub use connector::Exchange;
pub use settings::{Access, Auth, Config, Notifications};

pairwise_plugin_api::pairwise_plugin! {
    manifest: include_str!("../plugin.json"),
    connector: Exchange,
}
