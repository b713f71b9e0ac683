//! Histories that never happened: the real pipeline and the real store between two systems, people who work on both at the
//! same time, faults, deaths and other hosts, all drawn from one seed, and an oracle that knows what people typed.
//!
//! [`Script::of`] draws a history, [`play`] plays it and tells what is broken. The same script gives the same history, down
//! to the last call. The page `CORRECTNESS.md` of this crate says which property is judged where.

mod cursor;
mod deeds;
pub mod dice;
mod draw;
mod ending;
mod host;
mod mutate;
pub mod oracle;
mod person;
mod plugin;
mod pool;
mod rehearse;
pub mod script;
pub mod shrink;
pub mod switch;
pub mod system;
mod world;

pub use mutate::{is_promised, mutant};
pub use oracle::Broken;
pub use script::Script;
pub use shrink::{needs_all, shrink};
pub use switch::Switch;
pub use world::{Verdict, play, play_as, play_without};
