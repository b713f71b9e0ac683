//! Plays a script: two systems, one state, one clock, and as many hosts as it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pairwise_host::chance::Chance;
use pairwise_host::model::{
    Holder, Intent, IntentId, LaneReport, LaneSpec, Lease, LinkId, Remote, RunOptions, Side, Sides,
};
use pairwise_host::pipeline;
use pairwise_host::store::{Db, Environment, LaneStatus};
use pairwise_plugin_api::{Action, CreateKey, Outcome, Record, Write};

use super::dice::Dice;
use super::host::{Death, Host, Ledger, Port};
use super::oracle::{Broken, Oracle, Scope};
use super::plugin::Plugin;
use super::pool;
use super::script::{Parting, Script, Setting, Step, Twist};
use super::switch::Switch;
use super::system::{Effect, Human, System, Weather, plain};
use crate::twins::Seeded;

/// What a history came to.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What is broken; empty if all is well.
    pub broken: Vec<Broken>,
    /// Over every point, every effect and what stands in the end: equal for equal histories.
    pub trace: u64,
    /// Runs of hosts.
    pub runs: u32,
    /// Points that the last run of the script passed, for stepping.
    pub points: u32,
    /// How often each guard acted, and what else was met.
    pub marks: BTreeMap<String, u64>,
}

/// A world in which a script is played.
#[derive(Debug)]
pub(super) struct World {
    pub(super) systems: Sides<System>,
    pub(super) time: Arc<Seeded>,
    setting: Setting,
    /// Sides that refuse a record at some time.
    refuses: Sides<bool>,
    spec: Mutex<LaneSpec>,
    out: Mutex<Vec<usize>>,
    db: Mutex<Db>,
    /// Its pages are counted: it is nobody else's before, nor later.
    fills_disk: bool,
    backup: Mutex<Option<Db>>,
    replaced: Mutex<Vec<Db>>,
    /// The plugins of both sides.
    pub(super) plugins: Mutex<Sides<Plugin>>,
    /// Whether they are ever another version.
    pub(super) upgrades: bool,
    oracle: Mutex<Oracle>,
    /// Accidents of typing.
    dice: Mutex<Dice>,
    trace: Mutex<DefaultHasher>,
    dead: Arc<Mutex<BTreeSet<u32>>>,
    half_seen: Mutex<BTreeSet<Side>>,
    /// How far the oracle may go.
    scope: Mutex<Scope>,
    /// Sides from which the present run removed records.
    removals: Mutex<Vec<Side>>,
    /// Removals that a person has released.
    released: AtomicU32,
    runs: AtomicU32,
    /// Points that the last run passed, and the last run of the script.
    passed: AtomicU32,
    points: AtomicU32,
    /// Writes of hosts that had an effect.
    effects: AtomicU32,
    /// Effects of creates and updates that no host has settled yet, and how their intents name what they are about.
    unsettled: Mutex<Vec<(Side, String, Effect)>>,
    /// What each intent is about.
    intended: Mutex<BTreeMap<IntentId, (Side, String)>>,
    missing: Vec<Switch>,
    /// What happens is told on standard error.
    aloud: bool,
    marks: Mutex<BTreeMap<String, u64>>,
    lease: Mutex<Option<Lease>>,
    /// Links of which something was written to history.
    storied: Mutex<BTreeSet<LinkId>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays a script to its end.
#[must_use]
pub fn play(script: &Script) -> Verdict {
    play_without(script, &[])
}

/// Plays a script where some mechanisms are missing.
#[must_use]
pub fn play_without(script: &Script, missing: &[Switch]) -> Verdict {
    play_as(script, missing, false)
}

/// The same; `aloud` tells each point and each write on standard error.
#[must_use]
pub fn play_as(script: &Script, missing: &[Switch], aloud: bool) -> Verdict {
    let mut world = World::new(script);
    world.missing = missing.to_vec();
    world.aloud = aloud;
    if world.lacks(Switch::Sweep) {
        locked(&world.spec).sweep_every = 0;
    }
    world.through(script)
}

impl World {
    fn new(script: &Script) -> World {
        let time = Arc::new(Seeded::new(script.seed));
        let dead: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
        let graves = dead.clone();
        let environment = Environment {
            chance: time.clone(),
            is_alive: Arc::new(move |holder| !locked(&graves).contains(&holder.pid)),
        };
        let setting = script.setting.clone();
        let fills_disk = script.steps.iter().any(|step| matches!(step, Step::Disk(_)));
        let system = |side: Side| {
            let mut abilities = setting.abilities[side].clone();
            abilities.containers = setting.parting[side] == Some(Parting::Folder);
            abilities.membership = abilities.containers;
            System::new(side, abilities, setting.respells[side], setting.coarse[side], setting.skew[side])
        };
        World {
            systems: Sides::from_fn(system),
            time,
            spec: Mutex::new(setting.lane(&[])),
            out: Mutex::default(),
            db: Mutex::new(if fills_disk { pool::fresh(environment) } else { pool::empty(environment) }),
            fills_disk,
            backup: Mutex::default(),
            replaced: Mutex::default(),
            plugins: Mutex::default(),
            upgrades: script.steps.iter().any(|step| matches!(step, Step::Upgrade(..))),
            oracle: Mutex::default(),
            dice: Mutex::new(Dice::new(script.seed ^ 0xACC1_DE47)),
            trace: Mutex::default(),
            dead,
            half_seen: Mutex::default(),
            scope: Mutex::new(Scope::of(&setting)),
            removals: Mutex::default(),
            released: AtomicU32::new(0),
            runs: AtomicU32::new(0),
            passed: AtomicU32::new(0),
            points: AtomicU32::new(0),
            effects: AtomicU32::new(0),
            unsettled: Mutex::default(),
            intended: Mutex::default(),
            missing: Vec::new(),
            aloud: false,
            marks: Mutex::default(),
            lease: Mutex::default(),
            storied: Mutex::default(),
            refuses: Sides::from_fn(|side| {
                script.steps.iter().any(|step| matches!(step, Step::Poison(of, Some(_)) if *of == side))
            }),
            setting,
        }
    }

    pub(super) fn db(&self) -> MutexGuard<'_, Db> {
        locked(&self.db)
    }

    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        locked(&self.oracle)
    }

    pub(super) fn note(&self, what: impl Hash) {
        what.hash(&mut *locked(&self.trace));
    }

    /// Tells a reader what happens, where he wants to know it.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            eprintln!("{}", what());
        }
    }

    /// Counts something that was met.
    pub(super) fn mark(&self, what: &str) {
        let mut marks = locked(&self.marks);
        match marks.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(marks.insert(what.to_owned(), 1)),
        }
    }

    /// Whether a mechanism is missing.
    pub(super) fn lacks(&self, switch: Switch) -> bool {
        self.missing.contains(&switch)
    }

    /// A host has written to history of this link.
    pub(super) fn tells_of(&self, link: LinkId) {
        locked(&self.storied).insert(link);
    }

    /// A host has taken the lease.
    pub(super) fn took(&self, lease: &Lease) {
        *locked(&self.lease) = Some(lease.clone());
    }

    /// Of the host that took it last.
    pub(super) fn newest_lease(&self) -> Option<Lease> {
        locked(&self.lease).clone()
    }

    /// From the first step to the judgement.
    fn through(self, script: &Script) -> Verdict {
        for step in &script.steps {
            self.tell(|| format!("= {step:?}"));
            self.step(step);
        }
        super::ending::end(&self);
        let verdict = self.verdict();
        if !self.fills_disk {
            pool::give_back(self.db.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        verdict
    }

    fn verdict(&self) -> Verdict {
        for (_, system) in self.systems.iter() {
            self.note(format!("{:?}", system.truth()));
        }
        Verdict {
            broken: self.oracle().broken.clone(),
            trace: locked(&self.trace).finish(),
            runs: self.runs.load(Ordering::Relaxed),
            points: self.points.load(Ordering::Relaxed),
            marks: locked(&self.marks).clone(),
        }
    }

    fn step(&self, step: &Step) {
        match step {
            Step::Deed(deed) => self.deed(*deed),
            Step::Plan => {
                self.rehearse();
                self.clear_up();
            }
            Step::Run(twists) => {
                self.run(twists);
                self.points.store(self.passed.load(Ordering::Relaxed), Ordering::Relaxed);
                self.clear_up();
            }
            Step::Weather(side, weather) => self.weather(*side, *weather),
            Step::LoseCursors(side) => self.systems[*side].lose_cursors(),
            Step::Wait(by) => self.time.advance(*by),
            Step::Clock(by) => {
                locked(&self.scope).true_times = false;
                self.time.advance(*by);
            }
            Step::Skew(side, ahead) => {
                locked(&self.scope).true_times = false;
                self.systems[*side].skew(*ahead);
            }
            Step::Backup => *locked(&self.backup) = self.db().snapshot().ok(),
            Step::Restore => self.restore(),
            Step::Remap(field) => self.remap(*field),
            Step::Disk(pages) => self.limit(*pages),
            Step::Poison(side, who) => self.systems[*side].poison(*who),
            Step::Busy(side, who) => self.systems[*side].busy(*who),
            Step::Upgrade(side, upgrade) => locked(&self.plugins)[*side].upgrade(*upgrade),
            Step::Garble(side, who) => {
                locked(&self.scope).true_times = false;
                self.systems[*side].garble(*who, self.time.now());
            }
        }
    }

    /// A run is over, or another one begins meanwhile: whoever was seen by half is seen whole. See [`Self::weather`].
    pub(super) fn clear_up(&self) {
        for side in Side::BOTH.into_iter().filter(|side| !self.systems[*side].abilities.authoritative_get) {
            self.systems[side].clear_up(Weather::HalfView);
        }
    }

    /// Whoever cannot say for certain that a record is gone is believed the second time: such a system is seen by half only
    /// once, for one run.
    fn weather(&self, side: Side, weather: Weather) {
        let weak = !self.systems[side].abilities.authoritative_get;
        if weather == Weather::HalfView && weak && !locked(&self.half_seen).insert(side) {
            return;
        }
        // Where a side is not listed, nothing tells that it was put aside.
        let listed = self.setting.full_scan || !self.systems[side].abilities.feed;
        if weather == Weather::Emptied && !(listed && self.spec().reads(side)) {
            return;
        }
        locked(&self.scope).silent |= matches!(weather, Weather::Blackout | Weather::HalfView | Weather::Truncated);
        self.systems[side].weather(weather);
    }

    /// One write of a host, judged.
    pub(super) fn write(&self, side: Side, write: &Write) -> Outcome {
        let mut write = write.clone();
        if self.lacks(Switch::FreshKeys) {
            write.key = self.time.id();
        }
        let write = &write;
        let (outcome, effect) = self.systems[side].write(write, self.time.now());
        self.tell(|| {
            let fields: Vec<_> = write.fields.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            format!("  {side} {:?} {} {} -> {:?}", write.action, write.at.id, fields.join(" "), outcome.status)
        });
        self.note((side, &write.at.id, format!("{:?}", outcome.status)));
        self.mark(&format!("{:?} was answered {:?}", write.action, outcome.status));
        if let Some(effect) = effect {
            self.effects.fetch_add(1, Ordering::Relaxed);
            if matches!(effect.action, Action::Delete | Action::Trash) {
                locked(&self.removals).push(side);
            }
            // A create that is refused when it is sent again is known by what it holds.
            let asked_again = effect.action == Action::Create && self.refuses[side];
            let known_by = if effect.action == Action::Create && !asked_again { &write.key } else { &effect.id };
            if matches!(effect.action, Action::Create | Action::Update) {
                locked(&self.unsettled).push((side, known_by.clone(), effect.clone()));
            }
            let of = |side: Side| effect.who.map_or_else(Vec::new, |who| self.systems[side].records_of(who));
            self.oracle().written(side, &effect, &of(side.other()), &of(side));
        }
        outcome
    }

    /// One run of the pipeline.
    pub(super) fn run_over(
        &self,
        host: &Host<'_>,
        spec: &LaneSpec,
        remotes: Sides<&dyn Remote>,
    ) -> std::thread::Result<LaneReport> {
        let pid = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let options = RunOptions { run: format!("run-{pid}"), list_items: usize::MAX, ..RunOptions::default() };
        let holder = Holder { boot: "boot".into(), pid, started: 1, since: self.time.now() };
        let run = || pipeline::run(spec, remotes, &mut Ledger(host), &*self.time, &options, host, &holder);
        let ran = catch_unwind(AssertUnwindSafe(run));
        locked(&self.dead).insert(pid);
        ran
    }

    /// A host runs; what becomes of it, unless it dies.
    pub(super) fn run(&self, twists: &[(u32, Twist)]) -> Option<LaneReport> {
        self.time.advance(1_000);
        let host = Host::new(self, twists);
        let spec = locked(&self.spec).clone();
        let live = self.status().map_or(0, |status| status.live);
        locked(&self.removals).clear();
        let (left, right) = (Port { host: &host, side: Side::Left }, Port { host: &host, side: Side::Right });
        let ran = self.run_over(&host, &spec, Sides { left: &left as _, right: &right as _ });
        self.passed.store(host.points(), Ordering::Relaxed);
        self.judge_removals(live);
        self.doubt();
        match ran {
            Ok(report) => {
                self.tell(|| format!("- {:?} {:?} {:?}", report.state, report.error, report.notes));
                self.note(format!("{:?} {:?}", report.state, report.error));
                Some(report)
            }
            Err(cause) if cause.is::<Death>() => {
                self.mark("death");
                // Every other time nothing is left of the process but the file.
                if host.points().is_multiple_of(2) {
                    self.db().forget_process();
                }
                None
            }
            Err(cause) => {
                let text = cause.downcast_ref::<String>().cloned();
                let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                self.oracle().complain("P16", format!("the host panicked: {}", text.unwrap_or_default()));
                None
            }
        }
    }

    /// No run removes more from a side than its limit, unless a person has said so.
    fn judge_removals(&self, live: u64) {
        let removals = std::mem::take(&mut *locked(&self.removals));
        for side in Side::BOTH {
            let count = removals.iter().filter(|of| **of == side).count() as u64;
            let released = u64::from(self.released.load(Ordering::Relaxed));
            let unasked = count.saturating_sub(released);
            if unasked > self.setting.removals_above && unasked * 4 > live {
                self.oracle()
                    .complain("P10", format!("{count} of {live} records were removed on the {side} in one run"));
            }
        }
    }

    /// A host means to write.
    pub(super) fn intends(&self, intents: &[Intent]) {
        let name = |write: &Write| if write.at.id.is_empty() { write.key.clone() } else { write.at.id.clone() };
        let about = |intent: &Intent| (intent.id, (intent.side, name(&intent.write)));
        locked(&self.intended).extend(intents.iter().map(about));
    }

    /// A host has settled what became of these intents.
    pub(super) fn settled<'i>(&self, closed: impl Iterator<Item = &'i IntentId>) {
        for (side, name) in closed.filter_map(|intent| locked(&self.intended).remove(intent)) {
            locked(&self.unsettled).retain(|(of, known_by, _)| (*of, known_by) != (side, &name));
        }
    }

    /// What became of the writes so far is not told.
    pub(super) fn doubt(&self) {
        for (side, _, effect) in std::mem::take(&mut *locked(&self.unsettled)) {
            let keyless = self.systems[side].abilities.create_key == CreateKey::None || self.refuses[side];
            if effect.action == Action::Create && keyless {
                self.oracle().guessed(side, &effect);
            }
            if effect.action == Action::Create && !self.refuses[side] {
                self.oracle().never_learnt(&effect);
            } else {
                self.oracle().doubt(&effect);
            }
        }
    }

    /// Whether a host has made a record of this human, and may not have learnt so.
    pub(super) fn is_unlearnt(&self, who: Human) -> bool {
        let made = |(_, _, effect): &(Side, String, Effect)| effect.action == Action::Create && effect.who == Some(who);
        locked(&self.unsettled).iter().any(made) || self.oracle().was_unlearnt(who)
    }

    /// How many writes of hosts had an effect so far.
    pub(super) fn effects(&self) -> u32 {
        self.effects.load(Ordering::Relaxed)
    }

    fn restore(&self) {
        locked(&self.scope).restored = true;
        let Some(backup) = locked(&self.backup).as_ref().and_then(|backup| backup.snapshot().ok()) else { return };
        let replaced = std::mem::replace(&mut *self.db(), backup);
        let _ = self.db().mark_restored();
        locked(&self.replaced).push(replaced);
    }

    /// All values that are in history, also in databases that a backup was put in the place of: they are kept beside it.
    pub(super) fn history(&self) -> BTreeSet<String> {
        let links = locked(&self.storied).clone();
        let mut values = past(&mut self.db(), &links);
        locked(&self.replaced).iter_mut().for_each(|db| values.extend(past(db, &links)));
        values
    }

    fn remap(&self, field: usize) {
        locked(&self.scope).remapped.insert(field);
        let mut out = locked(&self.out);
        match out.iter().position(|one| *one == field) {
            Some(place) => drop(out.remove(place)),
            None => out.push(field),
        }
        *locked(&self.spec) = self.setting.lane(&out);
    }

    pub(super) fn limit(&self, pages: Option<u32>) {
        let mut db = self.db();
        let used = db.bytes().unwrap_or_default() / 4096;
        let limit = pages.map_or(u32::MAX >> 1, |more| used as u32 + more);
        let _ = db.limit_pages(limit);
    }

    /// How records of a side leave without being deleted.
    pub(super) fn parting(&self, side: Side) -> Option<Parting> {
        self.setting.parting[side]
    }

    /// Whether records are found by their UID on both sides before any is made.
    pub(super) fn matches_by_uid(&self) -> bool {
        self.setting.by_uid && self.setting.matching.is_some()
    }

    /// Accidents of typing and deciding.
    pub(super) fn dice(&self) -> MutexGuard<'_, Dice> {
        locked(&self.dice)
    }

    /// A person has released so many removals.
    pub(super) fn releases(&self, count: usize) {
        self.released.fetch_add(count as u32, Ordering::Relaxed);
    }

    /// The lane as it is now.
    pub(super) fn spec(&self) -> LaneSpec {
        locked(&self.spec).clone()
    }

    /// How the lane stands.
    pub(super) fn status(&self) -> Option<LaneStatus> {
        self.db().status().ok()?.pop()
    }

    /// The weather is fine from now on.
    pub(super) fn calm(&self) {
        for (_, system) in self.systems.iter() {
            system.weather(Weather::Fine);
        }
        self.limit(None);
    }

    /// What was refused or unreadable is so no more.
    pub(super) fn heal(&self) {
        for (_, system) in self.systems.iter() {
            system.poison(None);
            system.busy(None);
            system.garble(None, self.time.now());
        }
    }

    /// What stands on both sides.
    pub(super) fn records(&self) -> Sides<Vec<Record>> {
        Sides::from_fn(|side| self.systems[side].truth())
    }

    /// How far the oracle may go.
    pub(super) fn scope(&self) -> Scope {
        let mut scope = locked(&self.scope).clone();
        scope.apart = self.apart();
        scope.outside = Sides::from_fn(|side| {
            let ids = self.systems[side].truth().into_iter().map(|record| record.at.id);
            ids.filter(|id| self.systems[side].is_outside(id)).collect()
        });
        scope.one_way.extend(locked(&self.out).iter().copied());
        scope
    }
}

/// Values that lost.
fn past(db: &mut Db, links: &BTreeSet<LinkId>) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for link in links {
        let rows = db.history_of_link(*link).unwrap_or_default();
        values.extend(rows.iter().flat_map(|row| &row.values).filter_map(|value| value.old.as_text()).map(plain));
    }
    values
}
