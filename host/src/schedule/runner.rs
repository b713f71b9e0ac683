//! One run: the lanes that were asked for, one after the other, each through the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use super::interlock::Gate;
use super::ready::{self, Checked, Sessions, Unready};
use super::scratch::Scratch;
use super::{SavedPlan, Selected};
use crate::chance::{Chance, Real};
use crate::config::{Config, Problem, Problems, Profile};
use crate::model::{LaneKey, LaneReport, LaneSpec, LaneState, Observer, Remote, RunOptions, Side, Sides, StoreError};
use crate::os;
use crate::pipeline::{self, Drafts, DryRun};
use crate::plugins::{Interrupted, Plugins, Session};
use crate::store::{Db, Mark};

/// So many operations of a lane are kept with its run; the rest is counted.
const KEPT_ITEMS: usize = 200;

/// What is to be run, and who watches.
#[allow(missing_debug_implementations, reason = "a watch has no text form")]
pub struct Job<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What is installed.
    pub plugins: &'a Plugins,
    /// Profiles and lanes.
    pub selected: &'a [Selected<'a>],
    /// What was asked for. Run id, list and dryness are filled in here.
    pub options: RunOptions,
    /// Whether somebody wants the run to stop.
    pub interrupted: Interrupted,
    /// Makes the watch on one lane.
    pub watch: &'a dyn Fn(&LaneSpec) -> Box<dyn Observer>,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Lane by lane, in the order of the profiles.
    pub reports: Vec<LaneReport>,
    /// Lanes that could not begin.
    pub unready: Vec<LaneKey>,
    /// Why not.
    pub problems: Problems,
}

/// Why there was no run at all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Plan(#[from] super::PlanError),
}

impl Job<'_> {
    /// Runs the lanes, and stores what became of each.
    ///
    /// # Errors
    /// If the state database cannot be used, or `saved` was made from another state. Then nothing was touched.
    pub fn sync(&self, saved: Option<(&Path, &SavedPlan)>) -> Result<Outcome, RunError> {
        let gate = Gate::look(self.config, self.selected);
        let admitted = gate.admitted(self.selected);
        let checked = ready::check(self.config, self.plugins, &admitted);
        if !self.anything_ready(&gate, &checked) {
            return Ok(self.nothing(&gate, &checked));
        }
        let cache = self.config.cache();
        // Connectors start while the database is opened: each waits for the disk, or for a server.
        let (db, sessions) = thread::scope(|scope| {
            let config = self.config;
            let opening = scope.spawn(move || database(config, saved));
            let sessions = ready::open(config, &cache, checked, Some(&self.interrupted));
            (opening.join().unwrap_or_else(|panic| resume_unwind(panic)), sessions)
        });
        let mut db = db?;
        let refused = refused(self.config, self.plugins, &admitted, &sessions, &cache);
        let chance = Real::new();
        let run = chance.id();
        db.start_run(&run, "command", env!("CARGO_PKG_VERSION"))?;
        let mut outcome = Outcome::default();
        for (selected, lane) in self.lanes() {
            let only = saved.map(|(_, plan)| plan.items(&lane.key));
            let options =
                RunOptions { run: run.clone(), list_items: KEPT_ITEMS, only, overlap: true, ..self.options.clone() };
            let report =
                self.lane(selected.profile, lane, (&gate, &sessions, &refused), &mut outcome, |remotes, observer| {
                    let remotes = Sides { left: remotes.left as &dyn Remote, right: remotes.right as &dyn Remote };
                    let holder = os::this_process(chance.now());
                    pipeline::run(lane, remotes, &mut db, &chance, &options, observer, &holder)
                });
            db.finish_lane(&run, &report)?;
            outcome.reports.push(report);
        }
        db.finish_run(&run)?;
        let kept = i64::try_from(self.config.keep_history.as_millis()).unwrap_or(i64::MAX);
        db.forget(chance.now().saturating_sub(kept))?;
        // Connectors end while the log of the database is written back.
        thread::scope(|scope| {
            scope.spawn(|| drop(sessions));
            drop(db);
        });
        Ok(outcome)
    }

    /// Decides what `sync` would do, over a copy of the state and with connectors that are asked for no write. Answers also
    /// where the state of each lane stands, for saving the plan.
    ///
    /// # Errors
    /// If the state database cannot be read.
    pub fn plan(&self) -> Result<(Outcome, Vec<Mark>), RunError> {
        let gate = Gate::look(self.config, self.selected);
        let admitted = gate.admitted(self.selected);
        let checked = ready::check(self.config, self.plugins, &admitted);
        let database = self.config.database();
        let mut db = if database.exists() { Db::open(&database)? } else { Db::in_memory()? };
        let cache = Scratch::new(self.config);
        let sessions = ready::open(self.config, cache.path(), checked, Some(&self.interrupted));
        let refused = refused(self.config, self.plugins, &admitted, &sessions, cache.path());
        let chance = Real::new();
        let options = RunOptions { run: chance.id(), list_items: usize::MAX, overlap: true, ..self.options.clone() };
        let mut outcome = Outcome::default();
        let mut marks = Vec::new();
        let mut copy = db.snapshot()?;
        let names = self.lanes().flat_map(|(_, lane)| [&lane.connections.left, &lane.connections.right]);
        let drafts: BTreeMap<&String, Drafts> = names.map(|name| (name, Drafts::new(chance.now()))).collect();
        for (selected, lane) in self.lanes() {
            marks.push(db.lane_mark(&lane.key)?);
            let report =
                self.lane(selected.profile, lane, (&gate, &sessions, &refused), &mut outcome, |remotes, observer| {
                    let dry = Sides::from_fn(|side| {
                        DryRun::new(remotes[side], &drafts[&lane.connections[side]], &lane.entities[side])
                    });
                    let remotes = Sides { left: &dry.left as &dyn Remote, right: &dry.right as &dyn Remote };
                    let holder = os::this_process(chance.now());
                    pipeline::run(lane, remotes, &mut copy, &chance, &options, observer, &holder)
                });
            outcome.reports.push(report);
        }
        Ok((outcome, marks))
    }

    fn lanes(&self) -> impl Iterator<Item = (&Selected<'_>, &LaneSpec)> {
        self.selected.iter().flat_map(|selected| selected.lanes.iter().map(move |lane| (selected, *lane)))
    }

    /// One lane, or why it cannot run.
    fn lane(
        &self,
        profile: &Profile,
        lane: &LaneSpec,
        (gate, sessions, refused): (&Gate, &Sessions, &BTreeMap<String, Unready>),
        outcome: &mut Outcome,
        run: impl FnOnce(Sides<&Session>, &dyn Observer) -> LaneReport,
    ) -> LaneReport {
        let admitted = gate.admits(profile, &lane.key);
        let remotes = match admitted.and_then(|()| pair(lane, &profile.name, sessions, refused)) {
            Ok(remotes) => remotes,
            Err(unready) => return unready.report(lane, outcome),
        };
        let observer = (self.watch)(lane);
        if observer.cancelled() {
            let mut report = LaneReport::new(lane.key.clone());
            report.state = LaneState::Cancelled;
            report.error = Some("stopped before it began".into());
            return report;
        }
        tracing::info!(lane = %lane.key, "begins");
        let mut report = run(remotes, &*observer);
        report.notes.extend(gate.note(profile));
        if let Some((side, word)) = &report.culprit {
            let message = report.error.take().unwrap_or_default();
            let problem = profile.problem(&lane.key.stream, *side, word, message);
            report.error = Some(problem.sentence());
            outcome.unready.push(lane.key.clone());
            outcome.problems.push(problem);
        }
        tracing::info!(lane = %lane.key, state = ?report.state, duration_ms = report.duration_ms, "ended");
        report
    }

    fn anything_ready(&self, gate: &Gate, checked: &Checked<'_>) -> bool {
        self.lanes().any(|(selected, lane)| begins(gate, selected.profile, lane, checked).is_ok())
    }

    /// The outcome when no lane is ready: nothing was opened, nothing is stored.
    fn nothing(&self, gate: &Gate, checked: &Checked<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        for (selected, lane) in self.lanes() {
            if let Err(unready) = begins(gate, selected.profile, lane, checked) {
                let report = unready.report(lane, &mut outcome);
                outcome.reports.push(report);
            }
        }
        outcome
    }
}

/// The state database, if it stands where a saved plan was made.
fn database(config: &Config, saved: Option<(&Path, &SavedPlan)>) -> Result<Db, RunError> {
    let mut db = Db::open(&config.database())?;
    if let Some((file, plan)) = saved {
        plan.check(file, &mut db)?;
    }
    Ok(db)
}

/// Whether a lane could begin, as far as that is known before anything is opened.
fn begins(gate: &Gate, profile: &Profile, lane: &LaneSpec, checked: &Checked<'_>) -> Result<(), Unready> {
    gate.admits(profile, &lane.key)?;
    ready_pair(lane, checked)
}

/// Whether both sides of a lane are ready, as far as that is known before anything is opened.
fn ready_pair(lane: &LaneSpec, checked: &Checked<'_>) -> Result<(), Unready> {
    let side = |side: Side| match checked.get(&lane.connections[side]) {
        Some(Ok(ready)) => ready.allows(&lane.principals[side]),
        Some(Err(unready)) => Err(unready.clone()),
        None => Err(not_opened(lane, side)),
    };
    both(side(Side::Left), side(Side::Right)).map(|_| ())
}

fn not_opened(lane: &LaneSpec, side: Side) -> Unready {
    Problem::new(format!("connection `{}` was not opened", lane.connections[side])).into()
}

/// Both, or all that is wrong with either.
fn both<T>(left: Result<T, Unready>, right: Result<T, Unready>) -> Result<Sides<T>, Unready> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok(Sides { left, right }),
        (Err(left), Err(right)) => Err(left.and(right)),
        (Err(unready), Ok(_)) | (Ok(_), Err(unready)) => Err(unready),
    }
}

/// The two sessions of a lane, or why it cannot run.
pub(super) fn pair<'a>(
    lane: &LaneSpec,
    profile: &str,
    sessions: &'a Sessions,
    refused: &BTreeMap<String, Unready>,
) -> Result<Sides<&'a Session>, Unready> {
    let session = |side: Side| match sessions.get(&lane.connections[side]) {
        Some(Ok(opened)) => opened.of(&lane.principals[side]),
        Some(Err(unready)) => Err(unready.clone()),
        None => Err(not_opened(lane, side)),
    };
    let pair = both(session(Side::Left), session(Side::Right))?;
    refused.get(profile).map_or(Ok(pair), |refused| Err(refused.clone()))
}

/// Profiles that must not run because of what their connections lead to. Enabled profiles that were not asked for are
/// looked at, too, where they use the same plugins.
pub(super) fn refused(
    config: &Config,
    plugins: &Plugins,
    selected: &[Selected<'_>],
    sessions: &Sessions,
    cache: &Path,
) -> BTreeMap<String, Unready> {
    let mut known: BTreeMap<String, String> = sessions
        .iter()
        .filter_map(|(name, session)| Some((name.clone(), session.as_ref().ok()?.description().identity.clone())))
        .collect();
    let used = |profile: &Profile| -> BTreeSet<&str> {
        let names = profile.connections.iter().map(|(_, name)| name);
        names.filter_map(|name| Some(config.connections.get(name)?.plugin.as_str())).collect()
    };
    let asked: Vec<BTreeSet<&str>> = selected.iter().map(|selected| used(selected.profile)).collect();
    let others = config.profiles.iter().filter(|other| other.enabled && asked.contains(&used(other)));
    let names: BTreeSet<&str> =
        others.flat_map(|other| [other.connections.left.as_str(), other.connections.right.as_str()]).collect();
    let unseen: Vec<&str> = names.into_iter().filter(|name| !sessions.contains_key(*name)).collect();
    known.extend(ready::look(config, plugins, cache, &unseen));
    ready::identities(config, selected, &|name| known.get(name).cloned().unwrap_or_default())
}

impl Unready {
    /// Both at once.
    #[must_use]
    fn and(mut self, other: Unready) -> Unready {
        self.problems.extend(other.problems.iter().cloned());
        // A mistake that a person has to put right is told before a system that does not answer.
        if other.state == LaneState::Misconfigured {
            self.state = other.state;
        }
        self
    }

    /// The report of a lane that could not begin.
    fn report(&self, lane: &LaneSpec, outcome: &mut Outcome) -> LaneReport {
        outcome.problems.extend(self.problems.iter().cloned());
        outcome.unready.push(lane.key.clone());
        let sentences: Vec<String> = self.problems.iter().map(Problem::sentence).collect();
        let mut report = LaneReport::new(lane.key.clone());
        report.state = self.state;
        report.error = Some(sentences.join("; "));
        report
    }
}
