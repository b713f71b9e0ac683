//! What one run was asked to do, and who watches it.

use super::{Item, Side};

/// What one run was asked to do, beyond its lane's settings.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Names the run in history and holds.
    pub run: String,
    /// List both sides whole, whatever the cursors say.
    pub full: bool,
    /// In this run this side wins.
    pub prefer: Option<Side>,
    /// In this run up to so many removals per side are allowed, whatever the guard says.
    pub allow_deletes: Option<u64>,
    /// Only these operations, of a saved plan; anything else waits.
    pub only: Option<Vec<Item>>,
    /// How many operations the report lists one by one; the rest is counted.
    pub list_items: usize,
    /// Let calls to the sides be under way while the host works on. A simulator does without, for the sake of one order.
    pub overlap: bool,
}

/// Where in a lane's path a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the stages of the pipeline, explained there")]
pub enum Stage {
    Prepare,
    Recover,
    Pull(Side),
    Match,
    Guard,
    Settle,
    Report,
}

/// Watches a run: progress bars, and a person's wish to stop.
pub trait Observer: Send + Sync {
    /// A stage begins.
    fn stage(&self, stage: Stage) {
        let _ = stage;
    }
    /// So many records of so many are through the stage; 0 where the number is not known.
    fn progress(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
    /// True once a person wants the run to stop: it finishes the batch in hand.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Observer for Unwatched {}
