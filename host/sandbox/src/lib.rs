//! The sandbox: stateful simulators of the systems that Pairwise connects.
//!
//! Each simulator speaks its system's wire protocol over HTTP on loopback, as a server does that knows nothing of Pairwise.
//! All of them stand on one [core](core::Core): a store with versions and a log of changes, a clock that can be moved, a
//! journal of requests, faults that are asked for in advance, and made-up [people](population::Population). A control API
//! lets a test look into a system, edit as a person would, and break things.
//!
//! # Use
//! ```no_run
//! # fn main() -> Result<(), pairwise_sandbox::StartError> {
//! use pairwise_sandbox::{Options, Sandbox};
//! let sandbox = Sandbox::start(Options { contacts: 20, ..Options::default() })?;
//! println!("{}", sandbox.control_url());
//! # Ok(()) }
//! ```
//! The servers stop when the [`Sandbox`] is dropped.
//!
//! # Adding a system
//! 1. A module (`src/exchange/`, say) with a type that implements [`system::System`], built from a [`core::Core`].
//! 2. One line in [`systems::SYSTEMS`].
//!
//! Each system has a listener of its own, so that its paths are those of the real server. What is common to all is done
//! before a request arrives there: it is journaled, faults are applied, the answer's `Date` follows the system's clock.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic"))]

pub mod clock;
mod connection;
mod control;
pub mod core;
pub mod exchange;
pub mod faults;
mod form;
pub mod infor_crm;
pub mod journal;
pub mod outlook;
pub mod people;
pub mod population;
mod sandbox;
pub mod store;
pub mod system;
pub mod systems;
#[cfg(test)]
mod tests;
mod wire;

pub use connection::Connection;
pub use population::Options;
pub use sandbox::{Sandbox, StartError, SystemInfo};
