//! What the connectors over HTTP share: one client, and one reading of what can go wrong on the way.
//!
//! ```no_run
//! use pairwise_http::{Client, Options, Request, base_url};
//! use pairwise_plugin_api::Context;
//!
//! let base = base_url("url", "https://crm.example.com/sdata")?;
//! let client = Client::new(Options::default())?;
//! let answer = client.send(&Context::detached(), &Request::get(format!("{base}/contacts")))?;
//! if !answer.is_success() {
//!     return Err(answer.failure("reading the contacts"));
//! }
//! # Ok::<(), pairwise_plugin_api::Failure>(())
//! ```
//!
//! **Certainty.** The host repeats what certainly had no effect and asks before it repeats the rest, so each failure says which
//! it is. A request that reads has none. A request whose body was never asked for by the connection was not sent. A status
//! below 500 is a refusal. Everything else is unknown. See [`Effect`].
//!
//! **Repeats.** [`Client::send`] repeats what may be repeated, a few times and within the [`Patience`] of its options; a server
//! that asks for more time gets it from the host, which has other work meanwhile. It stops when the host cancels the call.
//!
//! **Secrets** that the client knows are taken out of every text, and addresses are shown without their query.

mod abreast;
mod answer;
mod client;
mod gate;
mod json;
mod own;
mod pauses;
mod place;
mod request;
mod secrets;
mod token;
mod transport;

#[cfg(test)]
mod tests;

pub use abreast::abreast;
pub use answer::{Answer, Refusal};
pub use client::{Client, Options, Patience, Streaming};
pub use gate::{Gate, Permit};
pub use json::{Json, Object, Place};
pub use own::OwnWrites;
pub use pauses::Pauses;
pub use place::{base_url, shown};
pub use request::{Effect, Method, Request, uuid};
pub use secrets::Secrets;
pub use token::{Token, seconds};

/// For [`json!`].
#[doc(hidden)]
pub use serde_json as __serde_json;
