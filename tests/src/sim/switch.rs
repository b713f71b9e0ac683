//! Mechanisms that can be taken away, to see that the histories miss them: guards of the pipeline by their names, and what the
//! ports rest on, by spoiling what passes them.

use std::collections::BTreeMap;

use pairwise_host::model::Guard;

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// A guard of the pipeline.
    Guard(Guard),
    /// Whoever lost the lease goes on writing.
    Fence,
    /// The cursor is kept before what was read on the way to it.
    CursorFirst,
    /// What belongs to one settlement is settled in several transactions.
    TornSettle,
    /// A create that is sent again has another key.
    FreshKeys,
    /// Records do not tell which of those they are that had their id.
    Incarnation,
    /// No whole listing comes but the first.
    Sweep,
}

/// All guards of the pipeline.
pub const GUARDS: [Guard; 26] = [
    Guard::Canary,
    Guard::Grace,
    Guard::Omitted,
    Guard::Incomplete,
    Guard::Partial,
    Guard::FreshRead,
    Guard::Unsettled,
    Guard::Unreadable,
    Guard::Reused,
    Guard::MassRemoval,
    Guard::Emptied,
    Guard::Displaced,
    Guard::Blocked,
    Guard::Unsure,
    Guard::Asking,
    Guard::Taken,
    Guard::NotOurs,
    Guard::OwnWrite,
    Guard::ToldAgain,
    Guard::OldVersion,
    Guard::Remap,
    Guard::Conditional,
    Guard::History,
    Guard::OneRecord,
    Guard::Attempts,
    Guard::Relist,
];

/// What else can be taken away.
const PORTS: [Switch; 6] =
    [Switch::Fence, Switch::CursorFirst, Switch::TornSettle, Switch::FreshKeys, Switch::Incarnation, Switch::Sweep];

impl Switch {
    /// All mechanisms.
    pub fn all() -> impl Iterator<Item = Switch> {
        GUARDS.into_iter().map(Switch::Guard).chain(PORTS)
    }

    /// As a script's line names it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Switch::Guard(guard) => format!("{guard:?}"),
            port => format!("{port:?}"),
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Switch> {
        Switch::all().find(|switch| switch.name() == name)
    }

    /// Whether a history has met it, and so may miss it.
    #[must_use]
    pub fn was_met(self, marks: &BTreeMap<String, u64>) -> bool {
        !matches!(self, Switch::Guard(_)) || marks.contains_key(&self.name())
    }
}
