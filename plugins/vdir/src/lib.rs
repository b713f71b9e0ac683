//! The connector `vdir`: a folder of vCard and iCalendar files, as other programs write them.
//!
//! ```toml
//! [connections.cards]
//! plugin   = "vdir"
//! settings = { path = "cards", trash = "cards-deleted" }
//! ```
//!
//! `README.md` says what users see. In short:
//!
//! **Layout.** Subfolders are containers. `.vcf` files hold records of entity `contact`, `.ics` files of entity `event`. Hidden
//! files and folders, symbolic links, `*.tmp` and files that hold tasks only are left out.
//!
//! **Ids.** A record's id is the path of its file. A file with several records has `path#key` for each, where the key is the
//! UID, else a digest of the name; so a record keeps its id while others come and go around it, also when it is the last one.
//!
//! **Versions.** Inode, size and times of the file; a listing opens no file that it has seen before. See `scan.rs`.
//!
//! **Fields.** Lines are cut by `vparser` and read by `calcard`; an edit rewrites the lines of the changed fields and leaves
//! every other byte. What no field carries travels between two folders in open families. See `slots.rs`.
//!
//! **Writes** are atomic and durable. See `write.rs`.

mod calendar;
mod card;
mod catalogue;
mod connector;
mod content;
mod draft;
mod durable;
mod event;
mod folder;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod lines;
mod pages;
mod people;
mod property;
mod records;
mod rewrite;
mod scan;
mod slots;
mod times;
mod values;
mod write;

#[cfg(test)]
mod tests;

use pairwise_plugin_api::{Class, Context, Failure};

pub use connector::{CardVersion, Config, Vdir};

pairwise_plugin_api::pairwise_plugin! { manifest: include_str!("../plugin.json"), connector: Vdir }

/// Ends a call that the host does not want any more.
fn stop_if_cancelled(cx: &Context) -> Result<(), Failure> {
    if cx.cancelled() { Err(Failure::new(Class::Cancelled, "the host asked to stop")) } else { Ok(()) }
}
