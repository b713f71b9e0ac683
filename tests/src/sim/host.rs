//! One process of the program: the real pipeline, with a point before and after each transaction and each call.
//!
//! The host of the product has no test code in it. What it takes from the world outside are four traits (`Store`, `Remote`,
//! `Chance`, `Observer`), and here they are wrapped: at any point the process may die, a person may act, or another host may
//! run from its beginning to its end, while this one sleeps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use pairwise_host::chance::Chance;
use pairwise_host::model::{
    Announced, AsideId, Author, Guard, Hold, Holder, InboxId, Intent, IntentId, KeyGroup, Known, LaneKey, LaneMemory,
    Lease, Link, LinkId, Lost, Observer, Remote, Seen, Select, Settlement, Side, Stage, Staged, Store, StoreError,
    StoreResult, Work, Written,
};
use pairwise_host::store::Db;
use pairwise_plugin_api::ops::{
    AcknowledgeRequest, ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest,
    EnsureContainerRequest, FindRequest, GetRequest, ListRequest, LoginRequest, LoginResponse, MigrateStateRequest,
    MigrateStateResponse, SettingsRequest, StampRequest, StampResponse, UsersRequest, UsersResponse, WriteRequest,
};
use pairwise_plugin_api::{
    Catalogue, Class, Condition, Cursor, Failure, Found, Outcome, Page, Record, RecordRef, Status, Value,
};

use super::plugin::Plugin;
use super::script::{Fault, Twist};
use super::switch::Switch;
use super::system::Weather;
use super::world::{World, locked};

/// What unwinds a process that dies.
#[derive(Debug)]
pub(super) struct Death;

/// A process.
#[derive(Debug)]
pub(super) struct Host<'w> {
    world: &'w World,
    /// What is to happen, the next one last.
    twists: Mutex<Vec<(u32, Twist)>>,
    faults: Mutex<Vec<Fault>>,
    points: AtomicU32,
}

impl<'w> Host<'w> {
    pub(super) fn new(world: &'w World, twists: &[(u32, Twist)]) -> Self {
        let mut twists = twists.to_vec();
        twists.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Host { world, twists: Mutex::new(twists), faults: Mutex::default(), points: AtomicU32::new(0) }
    }

    /// How many points this host has passed.
    pub(super) fn points(&self) -> u32 {
        self.points.load(Ordering::Relaxed)
    }

    fn pass(&self, point: &'static str) {
        let at = self.points.fetch_add(1, Ordering::Relaxed) + 1;
        self.world.note(point);
        self.world.tell(|| format!("  {at} {point}"));
        loop {
            let twist = locked(&self.twists).pop_if(|(when, _)| *when <= at);
            match twist {
                None => return,
                Some((_, Twist::Die)) => {
                    self.world.note("death");
                    // No hook is called: a death is not told as a panic.
                    std::panic::resume_unwind(Box::new(Death));
                }
                Some((_, Twist::Fault(fault))) => locked(&self.faults).push(fault),
                Some((_, Twist::Deed(deed))) => self.world.deed(deed),
                Some((_, Twist::Rival(sleep))) => {
                    self.world.time.advance(sleep);
                    // What this host has missed, it would miss again.
                    self.world.clear_up();
                    self.world.run(&[]);
                }
            }
        }
    }

    fn fault(&self) -> Option<Fault> {
        let fault = locked(&self.faults).pop()?;
        self.world.tell(|| format!("  ! {fault:?}"));
        Some(fault)
    }
}

impl Observer for Host<'_> {
    fn stage(&self, _: Stage) {
        self.pass("stage");
    }

    fn guards(&self, guard: Guard) -> bool {
        self.world.mark(&format!("{guard:?}"));
        self.world.tell(|| format!("  guard {guard:?}"));
        !self.world.lacks(Switch::Guard(guard))
    }
}

/// The state as one process sees it.
#[derive(Debug)]
pub(super) struct Ledger<'h, 'w>(pub(super) &'h Host<'w>);

impl Ledger<'_, '_> {
    fn db(&self) -> MutexGuard<'_, Db> {
        self.0.world.db()
    }

    /// Whoever lost the lease goes on as if he had it, where nothing fences him off.
    fn fenced(&self, lease: &Lease) -> Lease {
        let world = self.0.world;
        let lost = world.newest_lease().filter(|newest| world.lacks(Switch::Fence) && newest.epoch != lease.epoch);
        let Some(newest) = lost else { return lease.clone() };
        let zombie = Holder { boot: "boot".into(), pid: 0, started: 1, since: 0 };
        match self.db().take(&lease.key, &zombie, world.time.now()) {
            Ok(stolen) => {
                world.took(&stolen);
                stolen
            }
            Err(_) => newest,
        }
    }

    /// One transaction that writes, with a point before and one behind.
    fn transact<T>(
        &self,
        (before, after): (&'static str, &'static str),
        lease: &Lease,
        act: impl FnOnce(&mut Db, &Lease) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.0.pass(before);
        let lease = self.fenced(lease);
        let done = act(&mut self.db(), &lease);
        self.passed(after, done)
    }

    /// The point behind a transaction.
    fn passed<T>(&self, after: &'static str, done: StoreResult<T>) -> StoreResult<T> {
        match &done {
            Ok(_) => self.0.world.note("ok"),
            Err(error) => {
                self.0.world.note("failed");
                self.0.world.mark(match error {
                    StoreError::LeaseLost { .. } => "lease lost",
                    StoreError::Busy { .. } => "lease is held",
                    StoreError::Full { .. } => "disk full",
                    _ => "state failed",
                });
            }
        }
        self.0.pass(after);
        done
    }
}

impl Store for Ledger<'_, '_> {
    fn take(&mut self, key: &LaneKey, holder: &Holder, now: i64) -> StoreResult<Lease> {
        self.0.pass("take");
        let taken = self.db().take(key, holder, now);
        let lease = self.passed("taken", taken)?;
        self.0.world.took(&lease);
        Ok(lease)
    }

    fn renew(&mut self, lease: &Lease, now: i64) -> StoreResult<()> {
        self.transact(("renew", "renewed"), lease, |db, lease| db.renew(lease, now))
    }

    fn release(&mut self, lease: &Lease) -> StoreResult<()> {
        self.transact(("release", "released"), lease, |db, lease| db.release(lease))
    }

    fn memory(&mut self, lease: &Lease) -> StoreResult<LaneMemory> {
        self.db().memory(lease)
    }

    fn known(&mut self, lease: &Lease, side: Side, at: &[RecordRef]) -> StoreResult<Vec<Known>> {
        self.db().known(lease, side, at)
    }

    fn stage(&mut self, lease: &Lease, staged: &[Staged], cursor: Option<(Side, &Cursor)>) -> StoreResult<()> {
        if self.0.world.lacks(Switch::CursorFirst) && cursor.is_some() {
            self.transact(("cursor", "cursor kept"), lease, |db, lease| db.stage(lease, &[], cursor))?;
            return self.transact(("stage", "staged"), lease, |db, lease| db.stage(lease, staged, None));
        }
        self.transact(("stage", "staged"), lease, |db, lease| db.stage(lease, staged, cursor))
    }

    fn carry_over(
        &mut self,
        lease: &Lease,
        side: Side,
        author: &Author,
        cursor: Option<&Cursor>,
        former: Option<&Written>,
    ) -> StoreResult<()> {
        if !self.0.world.upgrades {
            return self.db().carry_over(lease, side, author, cursor, former);
        }
        self.transact(("carry", "carried"), lease, |db, lease| db.carry_over(lease, side, author, cursor, former))
    }

    fn unseen_links(
        &mut self,
        lease: &Lease,
        side: Side,
        seen: &Seen,
        after: LinkId,
        limit: usize,
    ) -> StoreResult<Vec<(LinkId, RecordRef)>> {
        self.db().unseen_links(lease, side, seen, after, limit)
    }

    fn forget_unseen(
        &mut self,
        lease: &Lease,
        side: Side,
        aside: (&Seen, AsideId),
        inbox: (&Seen, InboxId),
    ) -> StoreResult<()> {
        self.transact(("forget", "forgotten"), lease, |db, lease| db.forget_unseen(lease, side, aside, inbox))
    }

    fn doubt(&mut self, lease: &Lease, side: Side, run: &str, links: &[LinkId]) -> StoreResult<Vec<LinkId>> {
        self.transact(("doubt", "doubted"), lease, |db, lease| db.doubt(lease, side, run, links))
    }

    fn swept(&mut self, lease: &Lease, side: Side, seen: &Seen, cursor: Option<&Cursor>) -> StoreResult<()> {
        self.transact(("sweep", "swept"), lease, |db, lease| db.swept(lease, side, seen, cursor))
    }

    fn revisits(&mut self, lease: &Lease, past: usize, limit: usize) -> StoreResult<Vec<(Side, RecordRef)>> {
        self.db().revisits(lease, past, limit)
    }

    fn visited(&mut self, lease: &Lease, at: &[(Side, RecordRef)]) -> StoreResult<()> {
        self.transact(("visit", "visited"), lease, |db, lease| db.visited(lease, at))
    }

    fn announced(&mut self, lease: &Lease, rows: &[InboxId]) -> StoreResult<Vec<Announced>> {
        self.db().announced(lease, rows)
    }

    fn key_groups(&mut self, lease: &Lease, rank: u8, visit: &mut dyn FnMut(KeyGroup)) -> StoreResult<()> {
        self.db().key_groups(lease, rank, visit)
    }

    fn unmatched(&mut self, lease: &Lease, side: Side, after: InboxId, limit: usize) -> StoreResult<Vec<Announced>> {
        self.db().unmatched(lease, side, after, limit)
    }

    fn loose_asides(
        &mut self,
        lease: &Lease,
        side: Side,
        after: AsideId,
        limit: usize,
    ) -> StoreResult<Vec<(AsideId, RecordRef)>> {
        self.db().loose_asides(lease, side, after, limit)
    }

    fn pair(&mut self, lease: &Lease, pairs: &[(InboxId, InboxId)]) -> StoreResult<()> {
        self.transact(("pair", "paired"), lease, |db, lease| db.pair(lease, pairs))
    }

    fn drop_candidates(&mut self, lease: &Lease) -> StoreResult<()> {
        self.transact(("drop", "dropped"), lease, |db, lease| db.drop_candidates(lease))
    }

    fn hold(&mut self, lease: &Lease, holds: &[Hold], run: &str) -> StoreResult<()> {
        self.transact(("hold", "held"), lease, |db, lease| db.hold(lease, holds, run))
    }

    fn work(&mut self, lease: &Lease, select: Select, after: InboxId, limit: usize) -> StoreResult<Vec<Work>> {
        self.db().work(lease, select, after, limit)
    }

    fn intend(&mut self, lease: &Lease, run: &str, intents: &mut [Intent], history: &[Lost]) -> StoreResult<()> {
        history.iter().for_each(|lost| self.0.world.tells_of(lost.link));
        self.transact(("intend", "intended"), lease, |db, lease| {
            db.intend(lease, run, intents, history)?;
            self.0.world.intends(intents);
            Ok(())
        })
    }

    fn open_intents(&mut self, lease: &Lease, side: Side, after: IntentId, limit: usize) -> StoreResult<Vec<Intent>> {
        self.db().open_intents(lease, side, after, limit)
    }

    fn open_intents_of(&mut self, lease: &Lease, link: LinkId) -> StoreResult<Vec<Intent>> {
        self.db().open_intents_of(lease, link)
    }

    fn settle(&mut self, lease: &Lease, run: &str, batch: &[Settlement]) -> StoreResult<()> {
        if self.0.world.lacks(Switch::TornSettle) {
            for settlement in batch {
                let Settlement { settled, closed, .. } = settlement.clone();
                let first = Settlement { settled, closed, ..Settlement::default() };
                self.transact(("settle half", "half settled"), lease, |db, lease| db.settle(lease, run, &[first]))?;
                let rest = Settlement { settled: Vec::new(), closed: Vec::new(), ..settlement.clone() };
                self.transact(("settle", "settled"), lease, |db, lease| db.settle(lease, run, &[rest]))?;
            }
            return Ok(());
        }
        let settled = self.transact(("settle", "settled"), lease, |db, lease| db.settle(lease, run, batch));
        if settled.is_ok() {
            self.0.world.settled(batch.iter().flat_map(|settlement| &settlement.closed));
        }
        settled
    }

    fn remember_map(&mut self, lease: &Lease, fingerprint: &str) -> StoreResult<()> {
        self.transact(("map", "mapped"), lease, |db, lease| db.remember_map(lease, fingerprint))
    }

    fn links(&mut self, lease: &Lease, after: LinkId, limit: usize) -> StoreResult<Vec<Link>> {
        self.db().links(lease, after, limit)
    }
}

/// A system as one process reaches it.
#[derive(Debug)]
pub(super) struct Port<'h, 'w> {
    pub(super) host: &'h Host<'w>,
    pub(super) side: Side,
}

/// How long a plugin may take for a call.
const DEADLINE_MS: i64 = 70_000;

impl Port<'_, '_> {
    fn system(&self) -> &super::system::System {
        &self.host.world.systems[self.side]
    }

    fn now(&self) -> i64 {
        self.host.world.time.now()
    }

    /// A call that only reads.
    fn read<T>(&self, name: &'static str, act: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.host.pass(name);
        match self.host.fault() {
            None | Some(Fault::Mixed | Fault::Shuffled | Fault::Unsent) => act(),
            Some(fault) => Err(self.failure(fault).0),
        }
    }

    /// Pages, which may come in another order.
    fn page(&self, name: &'static str, act: impl FnOnce() -> Result<Page, Failure>) -> Result<Page, Failure> {
        self.host.pass(name);
        let page = match self.host.fault() {
            None | Some(Fault::Mixed | Fault::Unsent) => act(),
            Some(Fault::Shuffled) => act().map(|mut page| {
                page.changes.reverse();
                page
            }),
            Some(fault) => Err(self.failure(fault).0),
        };
        self.host
            .world
            .tell(|| format!("  {} {name}: {}", self.side, page.as_ref().map_or("no page".into(), contents)));
        page
    }

    /// Records as they are told where nobody knows which of those they are that had their id.
    fn anonymous(&self, mut page: Page) -> Page {
        if self.host.world.lacks(Switch::Incarnation) {
            let records = page.changes.iter_mut().filter_map(|change| change.record.as_mut());
            records.for_each(|record| record.incarnation = None);
        }
        self.plugin().signed(page)
    }

    fn plugin(&self) -> Plugin {
        locked(&self.host.world.plugins)[self.side].clone()
    }

    /// What the system means by a cursor. None that this version of the plugin cannot read is ever given to it.
    fn read_cursor(&self, cursor: Option<&Cursor>) -> Option<Cursor> {
        let read = self.plugin().read(cursor?);
        read.map_err(|unread| self.host.world.oracle().complain("P14", unread)).ok()
    }

    /// What is told, and how many writes are done nevertheless.
    fn failure(&self, fault: Fault) -> (Failure, u32) {
        let failed = |class, text| Failure::new(class, text);
        match fault {
            Fault::NotSent | Fault::Mixed | Fault::Shuffled | Fault::Unsent => {
                (failed(Class::Transient, "no connection"), 0)
            }
            Fault::Throttled => (Failure { retry_after_ms: Some(2_000), ..failed(Class::Throttled, "slow down") }, 0),
            Fault::Refused => (failed(Class::Refused, "not today"), 0),
            Fault::Auth => (failed(Class::Auth, "the login was refused"), 0),
            Fault::Lost(done) => (failed(Class::Crashed, "the connection broke"), done),
            Fault::Late(done) => {
                self.host.world.time.advance(DEADLINE_MS);
                (failed(Class::Deadline, "no answer in time"), done)
            }
            Fault::Panic(done) => (failed(Class::Panic, "the plugin panicked"), done),
        }
    }
}

impl Remote for Port<'_, '_> {
    fn author(&self) -> Author {
        Author { plugin: self.side.to_string(), version: self.plugin().version() }
    }

    fn describe(&self) -> Result<Description, Failure> {
        self.read("describe", || {
            let mut capabilities = self.system().abilities.clone();
            capabilities.incarnation &= !self.host.world.lacks(Switch::Incarnation);
            Ok(Description { capabilities, target: self.side.to_string(), identity: self.side.to_string() })
        })
    }

    fn discover(&self, _: &DiscoverRequest) -> Result<Catalogue, Failure> {
        self.read("discover", || Ok(self.system().catalogue()))
    }

    fn login(&self, _: &LoginRequest) -> Result<LoginResponse, Failure> {
        Ok(LoginResponse::default())
    }

    fn check(&self, _: &CheckRequest) -> Result<Vec<Condition>, Failure> {
        self.read("check", || Ok(Vec::new()))
    }

    fn users(&self, _: &UsersRequest) -> Result<UsersResponse, Failure> {
        Err(Failure::unimplemented("users"))
    }

    fn settings(&self, _: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        Err(Failure::unimplemented("settings"))
    }

    fn containers(&self, _: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        Err(Failure::unimplemented("containers"))
    }

    fn ensure_container(&self, _: &EnsureContainerRequest) -> Result<Container, Failure> {
        Err(Failure::unimplemented("ensure_container"))
    }

    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure> {
        let request = ChangesRequest { cursor: self.read_cursor(request.cursor.as_ref()), ..request.clone() };
        self.page("changes", || self.system().changes(&request, self.now())).map(|page| self.anonymous(page))
    }

    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        let (page, previous) = (self.read_cursor(request.page.as_ref()), self.read_cursor(request.previous.as_ref()));
        let request = ListRequest { page, previous, ..request.clone() };
        self.page("list", || Ok(self.system().list(&request, self.now()))).map(|page| self.anonymous(page))
    }

    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        self.read("get", || Ok(self.system().get(request)))
    }

    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        self.read("find", || Ok(self.system().find(request)))
    }

    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        self.host.pass("write");
        let weather = self.system().present_weather();
        let lasting = match weather {
            Weather::Deaf => Some(Fault::Lost(u32::MAX)),
            Weather::Dumb => Some(Fault::Lost(0)),
            Weather::Busy | Weather::Emptied => Some(Fault::Unsent),
            _ => None,
        };
        let fault = self.host.fault().or(lasting);
        let (failure, done) = match fault {
            None | Some(Fault::Mixed | Fault::Shuffled | Fault::Unsent) => (None, u32::MAX),
            Some(fault) => {
                let (failure, done) = self.failure(fault);
                let done = if weather == Weather::Emptied { 0 } else { done };
                let unknown = matches!(fault, Fault::Lost(_) | Fault::Late(_) | Fault::Panic(_));
                (Some(if unknown { failure.unknown_outcome() } else { failure }), done)
            }
        };
        let mut outcomes = Vec::with_capacity(request.writes.len());
        for (place, write) in (0..).zip(&request.writes) {
            if place >= done {
                break;
            }
            let answered = match (fault, place) {
                (Some(Fault::Mixed), 0) | (Some(Fault::Unsent), _) => Some(Status::NotSent),
                (Some(Fault::Mixed), 1) => Some(Status::Throttled),
                (Some(Fault::Mixed), 2) => Some(Status::Unknown),
                _ => None,
            };
            outcomes.push(match answered {
                Some(status) => Outcome::of(status),
                None => self.host.world.write(self.side, write),
            });
        }
        self.host.pass("written");
        match failure {
            Some(failure) => {
                self.host.world.doubt();
                Err(failure)
            }
            None => Ok(outcomes),
        }
    }

    fn acknowledge(&self, _: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        Err(Failure::unimplemented("acknowledge"))
    }

    fn stamp(&self, _: &StampRequest) -> Result<StampResponse, Failure> {
        Err(Failure::unimplemented("stamp"))
    }

    fn migrate_state(&self, request: &MigrateStateRequest) -> Result<MigrateStateResponse, Failure> {
        self.host.world.mark("state migrated");
        self.read("migrate", || self.plugin().migrate(request))
    }
}

/// Which records a page tells of.
fn contents(page: &Page) -> String {
    let ids = page.changes.iter().map(|change| match (&change.record, &change.removed) {
        (Some(record), _) => record.at.id.clone(),
        (None, Some(removed)) => format!("without {}", removed.at.id),
        (None, None) => String::new(),
    });
    let end = if page.more { ", and more" } else { "" };
    format!("{}{end}", ids.collect::<Vec<_>>().join(" "))
}
