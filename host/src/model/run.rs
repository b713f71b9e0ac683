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

/// A rule that keeps a run from doing harm. Each is asked for by name where it is about to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// Absence is believed only while another record of the side answers.
    Canary,
    /// Absence is believed the second time.
    Grace,
    /// A listing that omits a record which still answers proves nothing.
    Omitted,
    /// Nor does one that says that it is not complete.
    Incomplete,
    /// While a side's listing is not complete, new records of the other side wait.
    Partial,
    /// A counterpart is read before it is removed, and so is what an earlier run was told is gone.
    FreshRead,
    /// A pair with rows that were never settled is read on both sides.
    Unsettled,
    /// A record that cannot be read is not one without values.
    Unreadable,
    /// Another incarnation under a linked id is another record.
    Reused,
    /// Too many removals wait for a person.
    MassRemoval,
    /// So do all removals of a side that lists nothing any more.
    Emptied,
    /// So do many reused ids at once.
    Displaced,
    /// Nothing is written to a link while a write to it is open.
    Blocked,
    /// Strangers wait while a record may have been made that nobody has found.
    Unsure,
    /// What became of an open write is asked.
    Asking,
    /// A record that is found under our key may be linked already.
    Taken,
    /// A record that is found under our key may hold something else than we asked for.
    NotOurs,
    /// A write of ours that is met again is nobody's edit.
    OwnWrite,
    /// What a side told before a write of ours is told again as it is after it.
    ToldAgain,
    /// A record that is given up is expected at the version that was settled last.
    OldVersion,
    /// A change of the map is no edit.
    Remap,
    /// Writes name the version that they are meant for.
    Conditional,
    /// What is overwritten goes into history before.
    History,
    /// A refused record stops only itself.
    OneRecord,
    /// A record that fails again and again is set aside.
    Attempts,
    /// A cursor that has expired leads to a listing.
    Relist,
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
    /// A guard is about to act, and does so unless this is false. Only a simulator says so: it takes guards away, to see that
    /// its tests miss them.
    fn guards(&self, guard: Guard) -> bool {
        let _ = guard;
        true
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
