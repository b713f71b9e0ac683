//! Runs: which lanes, with which connectors, in which order. What waits, retries and repeats lives here.
//!
//! ```text
//! select(config, …)          the profiles and lanes that were asked for             select
//! Gate::look(…)              grants, and marks of foreign programs                 interlock
//! ready::check(…)            all that can be known without running a plugin         ready
//! ready::open(…)             one session per connection, logged in; identities      ready
//! Job::sync(), Job::plan()   lane by lane through the pipeline                      runner, saved
//! inspect(…), visit(…)       the same up to the first record                        inspect
//! log_in(…)                  one login, tried and then kept                         login
//! ```
//!
//! What must stay true: nothing is opened before everything that was asked for is checked, so that a slip in a file is told
//! before anything is touched; a profile that is not ready does not stop the others.

mod blackout;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inspect;
mod interlock;
mod login;
mod ready;
mod runner;
mod saved;
mod scratch;
mod select;

pub use blackout::postponed;
pub use inspect::{Inspected, Visited, inspect, probe, uses, visit};
pub use login::{log_in, typed_secrets};
pub use ready::Unready;
pub use runner::{Job, Outcome, RunError};
pub use saved::{PlanError, PlannedLane, SavedPlan};
pub use select::{Selected, select};
