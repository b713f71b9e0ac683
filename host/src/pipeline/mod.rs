//! The path of a record, as one piece of synchronous code for all pairs.
//!
//! ```text
//! prepare → recover → pull left, pull right → translate → filter → match → absence
//!         → reconcile → resolve → guard → apply → commit → report
//! ```
//!
//! It knows no plugin, no configuration file and no SQL: it talks to two [`Remote`]s, a [`Store`] and [`Chance`]. A plan is
//! this same code over a scratch copy of the store and remotes that send no writes, so that a plan is what a run does.
//!
//! What must stay true, whatever happens between two lines of it:
//!
//! * Nothing is sent before its intent is durable; nothing is forgotten before its settlement is.
//! * An announcement leaves the inbox only in the transaction that makes its outcome durable.
//! * The cursor of a side is saved only together with the last announcement that was read on the way to it.
//! * A removal is acted on only if `absence` was certain of it and `guard` let it pass.

mod absence;
mod apply;
mod calls;
mod carry;
mod commit;
mod decide;
mod doubtful;
mod drafts;
mod dry;
mod existing;
pub mod filter;
mod guard;
pub mod keys;
mod look;
mod matching;
mod membership;
mod prepare;
mod pull;
pub mod reconcile;
mod recover;
mod removal;
mod report;
pub mod resolve;
pub mod translate;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::thread;

use pairwise_plugin_api::{Capabilities, Class, Failure, Millis, Name, RecordRef};

pub use drafts::Drafts;
pub use dry::{DryRun, PLANNED};

use crate::chance::Chance;
use crate::gate::Gate;
use crate::model::{
    Guard, Holder, InboxId, IntentId, LaneMemory, LaneReport, LaneSpec, LaneState, Lease, LinkId, Observer, Remote,
    RunOptions, Side, Sides, Stage, Store, StoreError,
};
use calls::Crew;
use translate::{FieldMap, MapProblem};

/// How often the inbox is gone through in one run: a record whose version clashed is decided again, at most so often.
const ROUNDS: u32 = 3;
/// Calls to the two sides that are under way at the same time; of those that write, to one side, where it allows that: while
/// one is on the wire, another is put together or read.
const CALLS_AT_ONCE: usize = 2;
/// How long before its end a lease is prolonged.
const RENEW_EVERY_MS: Millis = 15_000;

/// Runs one lane once. Whatever goes wrong is told in the report; what was settled stands.
pub fn run(
    spec: &LaneSpec,
    remotes: Sides<&dyn Remote>,
    store: &mut dyn Store,
    chance: &dyn Chance,
    options: &RunOptions,
    observer: &dyn Observer,
    holder: &Holder,
) -> LaneReport {
    let started = chance.now();
    let mut report = LaneReport::new(spec.key.clone());
    if options.list_items > 0 {
        report.items = Some(Vec::new());
    }
    let ended = match store.take(&spec.key, holder, started) {
        Err(error) => Err(Stop::Store(error)),
        Ok(lease) => {
            let ended = thread::scope(|scope| {
                let crew = Crew::start(scope, if options.overlap { CALLS_AT_ONCE } else { 0 });
                run_leased(spec, remotes, store, chance, options, observer, lease.clone(), crew, &mut report)
            });
            // A lease that cannot be given back runs out by itself.
            let released = store.release(&lease).map_err(Stop::Store);
            ended.and_then(|guarded| released.map(|()| guarded))
        }
    };
    let (ended, guarded) = match ended {
        Ok(guarded) => (Ok(()), guarded),
        Err(stop) => (Err(stop), false),
    };
    report::close(&mut report, ended, chance.now() - started, guarded);
    report
}

#[allow(clippy::too_many_arguments, reason = "the one place where a run's parts are put together")]
fn run_leased<'a>(
    spec: &'a LaneSpec,
    remotes: Sides<&'a dyn Remote>,
    store: &'a mut dyn Store,
    chance: &'a dyn Chance,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    lease: Lease,
    crew: Crew<'a>,
    report: &'a mut LaneReport,
) -> Result<bool, Stop> {
    observer.stage(Stage::Prepare);
    let prepared = prepare::prepare(spec, remotes, store, &lease, report)?;
    let mut lane = Lane {
        spec,
        remotes,
        store,
        chance,
        options,
        observer,
        started: chance.now(),
        renewed: chance.now(),
        lease,
        crew,
        turns: Sides::default(),
        abilities: prepared.abilities,
        keys: matching::rows_of_keys(spec, &prepared.map),
        fields: Sides::from_fn(|side| wanted(&prepared.map, &prepared.filters, side)),
        map: prepared.map,
        filters: prepared.filters,
        references: prepared.references,
        unwritable: BTreeMap::new(),
        remarks: BTreeMap::new(),
        map_changed: prepared.map_changed,
        memory: prepared.memory,
        displaced: Sides::default(),
        skew: Sides::default(),
        keeps: prepared.keeps,
        trash: Sides::default(),
        answers: Sides::default(),
        emptied: Sides::default(),
        unanswered: false,
        guarded: false,
        counted: 0,
        blocked: HashSet::new(),
        unsure: Sides::default(),
        partial: Sides::default(),
        open: HashSet::new(),
        tied: HashSet::new(),
        pairs: Vec::new(),
        same_folders: prepared.same_folders,
        unplanned: 0,
        undone: HashSet::new(),
        why_undone: Sides::default(),
        again: false,
        wrote: Sides::default(),
        report,
    };
    for side in Side::BOTH {
        lane.turns[side].widen(lane.calls_at_once(side));
    }
    recover::recover(&mut lane)?;
    if lane.map_changed && lane.guards(Guard::Remap) {
        prepare::remap(&mut lane)?;
    }
    guard::recall_displaced(&mut lane)?;
    // Both sides begin at once; they are taken in one after the other.
    let mut asked = Vec::new();
    for side in Side::BOTH.into_iter().filter(|side| spec.reads(*side)) {
        let ask = pull::Ask::of(&lane, side);
        let first = ask.start(&lane, side);
        asked.push((side, ask, first));
    }
    for (side, ask, first) in asked {
        observer.stage(Stage::Pull(side));
        pull::pull(&mut lane, side, &ask, first)?;
    }
    pull::revisit(&mut lane)?;
    observer.stage(Stage::Match);
    matching::match_unlinked(&mut lane)?;
    for _ in 0..ROUNDS {
        lane.again = false;
        observer.stage(Stage::Guard);
        guard::hold_displaced(&mut lane)?;
        guard::hold_removals(&mut lane)?;
        observer.stage(Stage::Settle);
        apply::drain(&mut lane)?;
        if !lane.again {
            break;
        }
        recover::recover(&mut lane)?;
        matching::match_unlinked(&mut lane)?;
        lane.displaced = Sides::default();
        guard::recall_displaced(&mut lane)?;
    }
    observer.stage(Stage::Report);
    pull::hear_echoes(&mut lane)?;
    prepare::finish(&mut lane)?;
    Ok(lane.guarded)
}

/// The fields that a lane reads of a side's records, by native name; none means all.
fn wanted(map: &FieldMap, filters: &filter::Filters, side: Side) -> Vec<Name> {
    let Some(mut names) = map.natives(side) else { return Vec::new() };
    names.extend(filters.fields(side));
    names.sort_unstable();
    names.dedup();
    names
}

/// One lane's run: what all stages share.
struct Lane<'a> {
    spec: &'a LaneSpec,
    remotes: Sides<&'a dyn Remote>,
    store: &'a mut dyn Store,
    chance: &'a dyn Chance,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    /// When the run began; what `now` means in predicates.
    started: Millis,
    renewed: Millis,
    lease: Lease,
    crew: Crew<'a>,
    /// Calls that write to a side, as many at a time as it bears.
    turns: Sides<Arc<Gate>>,
    abilities: Sides<Capabilities>,
    map: FieldMap,
    /// What records are asked for on each side: the fields that travel and those that predicates look at. None means all.
    fields: Sides<Vec<Name>>,
    filters: filter::Filters,
    /// What new records refer to.
    references: resolve::References,
    /// Fields that a side did not let us write, and in how many records: told once at the end.
    unwritable: BTreeMap<(Side, Name), u64>,
    /// What a side remarks on its records without keeping them out, by code: the first sentence, and how many there are.
    remarks: BTreeMap<(Side, String), (String, u64)>,
    /// The rows of the map that match keys are made of.
    keys: FieldMap,
    map_changed: bool,
    memory: LaneMemory,
    /// Records of each side whose linked id belongs to another record now.
    displaced: Sides<BTreeSet<RecordRef>>,
    /// How far each server's clock is ahead of ours; added to no time that is stored.
    skew: Sides<Millis>,
    /// Sides without deleted items, nor a folder in their place, whose records then stay.
    keeps: Sides<bool>,
    /// The folders that take the place of deleted items, once they were needed.
    trash: Sides<Option<String>>,
    /// Sides that have shown any record in this run.
    answers: Sides<Cell<bool>>,
    /// Sides that had records and now list none.
    emptied: Sides<bool>,
    /// Records that were to be read again have not answered.
    unanswered: bool,
    /// A guard held removals back.
    guarded: bool,
    /// The last announcement that the guard has counted: a removal that was announced since waits for its next look.
    counted: InboxId,
    /// Links with a write whose outcome is unknown: nothing more is written to them in this run.
    blocked: HashSet<LinkId>,
    /// Sides where a record may have been made that nobody has found yet: one without a link may be that.
    unsure: Sides<bool>,
    /// Sides whose listing was not complete: a new record of the other side waits, because it may be there already.
    partial: Sides<bool>,
    /// Records that the creates of the page that is being settled have made, or met: each is the end of one link only.
    tied: HashSet<(Side, RecordRef)>,
    /// Announcements, of the left and of the right, that turned out to be a pair.
    pairs: Vec<(InboxId, InboxId)>,
    /// New records go into a folder of the same path.
    same_folders: bool,
    /// Operations that a saved plan does not list.
    unplanned: u64,
    /// Writes of this run whose outcome is unknown so far; they are counted as failed until it is found out.
    open: HashSet<IntentId>,
    /// Writes that were not done, by the announcement that they carry on.
    undone: HashSet<(Side, InboxId)>,
    /// Why the first of them was not.
    why_undone: Sides<Option<String>>,
    /// Something was put back into the inbox and should be looked at once more.
    again: bool,
    /// Sides that this run has changed.
    wrote: Sides<bool>,
    report: &'a mut LaneReport,
}

impl Lane<'_> {
    fn rules(&self) -> reconcile::Rules<'_> {
        reconcile::Rules {
            lane: self.spec,
            map: &self.map,
            prefer: self.options.prefer,
            map_changed: self.map_changed,
            explain: self.explains(),
            skew: self.skew,
            keeps: self.keeps,
        }
    }

    /// Whether a guard acts.
    fn guards(&self, guard: Guard) -> bool {
        self.observer.guards(guard)
    }

    /// Whether any record may be set aside, by an earlier run or by this one.
    fn may_have_asides(&self) -> bool {
        self.memory.newest_aside > 0 || self.report.quarantined > 0
    }

    fn batch(&self) -> usize {
        self.spec.batch.max(1) as usize
    }

    /// Between two batches: a person may want to stop, and the lease must not run out.
    fn breathe(&mut self) -> Result<(), Stop> {
        if self.observer.cancelled() {
            return Err(Stop::Cancelled);
        }
        let now = self.chance.now();
        if now - self.renewed >= RENEW_EVERY_MS {
            self.store.renew(&self.lease, now)?;
            self.renewed = now;
        }
        Ok(())
    }
}

/// Why a lane's run ends early. What was settled stands.
#[derive(Debug)]
enum Stop {
    /// A call to a side failed for good.
    Remote { side: Side, connection: String, failure: Failure },
    /// A side says that work cannot start.
    Blocked { side: Side, connection: String, text: String },
    /// The field map does not fit the two sides.
    Map(MapProblem),
    /// The state database.
    Store(StoreError),
    /// A person wants it.
    Cancelled,
    /// A message between host and plugin that breaks the contract.
    Contract { side: Side, connection: String, text: String },
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Store(error)
    }
}

impl From<MapProblem> for Stop {
    fn from(problem: MapProblem) -> Self {
        Stop::Map(problem)
    }
}

impl Stop {
    /// Whether going on with other records is pointless.
    fn ends_run(&self) -> bool {
        match self {
            Stop::Remote { failure, .. } => ends_run(failure),
            _ => true,
        }
    }

    /// How the lane ended, and a sentence for people.
    fn explain(&self) -> (LaneState, String) {
        match self {
            Stop::Remote { side, connection, failure } => {
                let state = match failure.class {
                    Class::Config => LaneState::Misconfigured,
                    Class::Cancelled => LaneState::Cancelled,
                    Class::Auth
                    | Class::Transient
                    | Class::Throttled
                    | Class::Panic
                    | Class::Poisoned
                    | Class::Crashed
                    | Class::Deadline => LaneState::Unreachable,
                    _ => LaneState::Failed,
                };
                (state, format!("connection `{connection}` ({side}): {failure}"))
            }
            Stop::Blocked { side, connection, text } => {
                (LaneState::Misconfigured, format!("connection `{connection}` ({side}): {text}"))
            }
            Stop::Map(problem) => (LaneState::Misconfigured, problem.to_string()),
            Stop::Store(error @ StoreError::Busy { .. }) => (LaneState::Busy, error.to_string()),
            Stop::Store(error) => (LaneState::Failed, error.to_string()),
            Stop::Cancelled => (LaneState::Cancelled, "stopped on request; what was settled stands".to_owned()),
            Stop::Contract { side, connection, text } => (
                LaneState::Failed,
                format!(
                    "connection `{connection}` ({side}): the plugin broke the contract: {text}; report it to its vendor"
                ),
            ),
        }
    }
}

/// Whether after this failure of a call going on with other records is pointless.
fn ends_run(failure: &Failure) -> bool {
    !matches!(
        failure.class,
        Class::Transient | Class::Throttled | Class::Panic | Class::Poisoned | Class::Crashed | Class::Deadline
    )
}
