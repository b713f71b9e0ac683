//! The connector `mock`: a system of scripted records that does what a tester tells it to, well or badly.
//!
//! Everything is a setting, written in the connection's section of `pairwise.toml` or in a script that it names:
//!
//! ```toml
//! [connections.crm]
//! plugin   = "mock"
//! settings = { script = "crm.toml", state_dir = "crm" }
//! ```
//!
//! ```toml
#![doc = include_str!("../example.toml")]
//! ```
//!
//! **What goes wrong**, and how to choose when: [`faults::Fault`], [`faults::Effect`]. **What a tester finds afterwards:**
//! with `state_dir` the records outlive the worker, may be edited between calls, and each call leaves a line in a journal
//! beside them: [`journal`]. Without one, all is forgotten when the worker ends, counts of faults included: a fault that kills
//! the worker then strikes again in the next one.
//!
//! Entities are `contact` and `event` with the native names of [`catalogue`]; scopes select by `folder` and `group` where
//! `abilities.containers` and `abilities.membership` are on.

pub mod catalogue;
mod connector;
pub mod desk;
pub mod faults;
pub mod journal;
pub mod people;
pub mod settings;
pub mod world;

#[cfg(test)]
mod tests;

pub use connector::Mock;

pairwise_plugin_api::pairwise_plugin! { manifest: include_str!("../plugin.json"), connector: Mock }
