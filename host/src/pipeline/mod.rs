//! The path of a record, as one piece of synchronous code for all pairs.
//!
//!     prepare → recover → pull left, pull right → translate → filter → match → absence → reconcile → guard → apply → commit → report
//!
//! It knows no plugin, no configuration file and no SQL: it talks to two [`Remote`]s, a [`Store`] and [`Chance`]. A plan is
//! this same code over a scratch copy of the store and remotes that send no writes, so that a plan is what a run does.

mod dry;
pub mod filter;
pub mod keys;
pub mod translate;

pub use dry::{DryRun, PLANNED};

use crate::chance::Chance;
use crate::model::{LaneReport, LaneSpec, Observer, Remote, RunOptions, Sides, Store};

/// Runs one lane once.
pub fn run(
    lane: &LaneSpec,
    remotes: Sides<&dyn Remote>,
    store: &mut dyn Store,
    chance: &dyn Chance,
    options: &RunOptions,
    observer: &dyn Observer,
) -> LaneReport {
    let _ = (remotes, store, chance, options, observer);
    LaneReport::new(lane.key.clone())
}
