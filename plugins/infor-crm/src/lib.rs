//! The connector `infor-crm`: contacts, accounts, leads, notes and ad hoc groups of Infor CRM (SalesLogix) over SData.
//!
//! ```toml
//! [connections.crm]
//! plugin   = "infor-crm"
//! settings = { url = "https://crm.example.com" }
//! secrets  = { password = { env = "CRM_PASSWORD" } }
//! ```
//!
//! Versions 7.5.4 and 8 are supported, in the cloud and on premises. Each principal works with its own login, so that the
//! system's own rights decide what it sees and writes.
//!
//! **Scope.** `group` names an ad hoc group; joining and leaving it are writes. In 7.5.4 groups cannot be written: a word in a
//! text property of the contact says that it belongs.
//!
//! **Changes** are found by dates of change, members by reading the group, deletions by what is missing in it. See the module `feed`.
//!
//! **Fields.** `Account` and other references hold the key of the other record; in those that refer to users, `$self` stands for
//! the login's own. `AccountName` shows the account's name and is never written. An address is written as
//! `Address/Street`, `Address/City` and so on, and belongs to the contact's version; with `shipping_address` there is
//! `ShippingAddress/Street` and so on, too.
//!
//! **Conditions** that `check` tells: `group_missing`, `group_by_marker`, `entity_not_enabled`, `unknown_selector`, `not_admin`,
//! `version`. **Codes** of refused writes: `rejected`, `conflict`, `converted`, `forbidden`, `not_visible`, `too_long`, `no_group`,
//! `unknown_field`, `unknown_entity`, `unsupported`.

mod addresses;
mod batch;
mod check;
mod columns;
mod connector;
mod cursor;
mod entity;
mod feed;
mod find;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod groups;
mod identity;
mod leads;
mod login;
mod payload;
mod query;
mod records;
mod server;
mod settings;
mod users;
mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use connector::InforCrm;
pub use settings::{Config, Expected, LoginKind};

pairwise_plugin_api::pairwise_plugin! { manifest: include_str!("../plugin.json"), connector: InforCrm }
