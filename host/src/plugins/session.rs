//! One connection in use: its connector, wherever it runs, and what happens when it falls over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use abi_stable::std_types::RVec;
use pairwise_plugin_api::context::ANNOUNCEMENT;
use pairwise_plugin_api::ops::{
    Announcement, Describe, DescribeRequest, Description, Login, Operation, Watch, WatchRequest,
};
use pairwise_plugin_api::ops::{LoginRequest, LoginResponse};
use pairwise_plugin_api::{Class, Failure, Principal, codec};
use serde_json::Value;

use super::error::{LoadError, OpenError};
use super::frames::Frame;
use super::health::{Health, Standing};
use super::instance::{Instance, settings_message};
use super::load::Opening;
use super::process::{Broken, Launch, NotStarted, Worker};
use super::registry::Plugin;
use super::sandbox::{self, Policy};
use super::{Deadlines, Isolation, Limits, cache, inside};
use crate::chance::{Chance, Real};
use crate::gate::Gate;
use crate::lock;

/// Takes secrets that a login has changed, so that they are kept.
pub type KeepSecrets = Arc<dyn Fn(&Principal, &BTreeMap<String, String>) + Send + Sync>;

/// Tells whether somebody wants everything to stop.
pub type Interrupted = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a connection is made of.
#[derive(Clone)]
pub struct SessionSpec {
    /// Its name in the configuration.
    pub connection: String,
    /// From [`Plugins::resolve`](super::Plugins::resolve).
    pub plugin: Plugin,
    /// Its settings; relative paths among them start at `base_dir`.
    pub settings: Value,
    /// The configuration folder.
    pub base_dir: PathBuf,
    /// As in [`Installation`](super::Installation).
    pub cache_dir: PathBuf,
    /// Where the connector runs.
    pub isolation: Isolation,
    /// How much it may use.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// The executable that becomes the worker; this one, unless a test says otherwise.
    pub executable: PathBuf,
    /// Takes rotated secrets when a restarted connector is logged in again.
    pub keep: Option<KeepSecrets>,
    /// Ends the pause before a connector that fell over is started again.
    pub interrupted: Option<Interrupted>,
}

impl SessionSpec {
    /// With what is usual.
    pub fn new(
        connection: impl Into<String>,
        plugin: Plugin,
        settings: Value,
        base_dir: impl Into<PathBuf>,
        cache_dir: impl Into<PathBuf>,
    ) -> Self {
        SessionSpec {
            connection: connection.into(),
            plugin,
            settings,
            base_dir: base_dir.into(),
            cache_dir: cache_dir.into(),
            isolation: Isolation::default(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            executable: this_executable(),
            keep: None,
            interrupted: None,
        }
    }
}

impl std::fmt::Debug for SessionSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.plugin.name().to_string();
        f.debug_struct("SessionSpec")
            .field("connection", &self.connection)
            .field("plugin", &name)
            .finish_non_exhaustive()
    }
}

/// The link to the executable rather than its path: it stays the same file when an upgrade replaces that on disk.
fn this_executable() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_default()
}

/// One connection in use. Implements [`Remote`](crate::model::Remote); dropping it shuts the connector down.
#[derive(Debug)]
pub struct Session {
    spec: SessionSpec,
    opening: Opening,
    /// A message.
    settings: Vec<u8>,
    policy: Policy,
    health: Health,
    chance: Real,
    seat: Mutex<Seat>,
    gate: Gate,
    /// How often all calls were asked to stop.
    cancels: AtomicU64,
    description: Description,
    /// Who is logged in, to log them in again after a restart.
    logins: Mutex<BTreeMap<Principal, LoginRequest>>,
    /// Principals whose login was good for a call since it was made.
    working: Mutex<BTreeSet<Principal>>,
}

/// Where the connector is at present.
#[derive(Debug, Clone)]
enum Seat {
    Empty,
    Worker(Arc<Worker>),
    Inside(Arc<Instance>),
}

/// The bytes of an answer, wherever they lie.
enum Answer {
    Frame(Frame<()>),
    Inside(RVec<u8>),
}

impl Deref for Answer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Answer::Frame(frame) => frame.payload(),
            Answer::Inside(bytes) => bytes,
        }
    }
}

/// Calls are numbered in the whole process: connectors inside it share one table.
fn next_call() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Session {
    /// Starts the connector and asks what it can do.
    ///
    /// # Errors
    /// If the settings do not fit, the plugin cannot be loaded, or it refuses.
    pub fn open(spec: SessionSpec) -> Result<Self, OpenError> {
        let connection = spec.connection.clone();
        let problems = super::check_settings(&spec.plugin.manifest, &spec.settings);
        if !problems.is_empty() {
            return Err(OpenError::Settings { connection, problems });
        }
        let mut session = Session::prepare(spec)?;
        session.seated()?;
        let description = session.send::<Describe>(&DescribeRequest::default());
        session.description = description.map_err(|failure| OpenError::Refused { connection, failure })?;
        session.gate.widen(session.description.capabilities.max_parallel.max(1) as usize);
        Ok(session)
    }

    /// Everything up to the start.
    fn prepare(mut spec: SessionSpec) -> Result<Self, OpenError> {
        sandbox::absolute(&spec.plugin.manifest, &mut spec.settings, &spec.base_dir);
        let Limits { memory, files, sandbox, .. } = spec.limits;
        let mut policy = Policy { sandbox, memory, files, ..Policy::default() };
        policy.allow(&spec.plugin.manifest, &spec.settings);
        let settings = settings_message(&spec.settings)
            .map_err(|failure| OpenError::Refused { connection: spec.connection.clone(), failure })?;

        let (name, hash) = (spec.plugin.name(), &spec.plugin.sha256);
        let library = cache::place(&spec.cache_dir, &name, &spec.plugin.file, hash)?;
        let opening = Opening { name, library, in_process: spec.isolation == Isolation::InProcess };
        let health = Health::of(&spec.cache_dir, hash);
        Ok(Session {
            opening,
            settings,
            policy,
            health,
            chance: Real::new(),
            seat: Mutex::new(Seat::Empty),
            gate: Gate::default(),
            cancels: AtomicU64::new(0),
            description: Description::default(),
            logins: Mutex::default(),
            working: Mutex::default(),
            spec,
        })
    }

    /// What it was opened with.
    #[must_use]
    pub fn spec(&self) -> &SessionSpec {
        &self.spec
    }

    /// What the connector said about itself when it was opened.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the sandbox of its worker came to; `None` where there is no worker.
    #[must_use]
    pub fn sandbox(&self) -> Option<sandbox::Status> {
        self.worker().map(|worker| worker.sandbox())
    }

    /// The process id of its worker, if it has one at present.
    #[must_use]
    pub fn worker_id(&self) -> Option<u32> {
        self.worker().map(|worker| worker.id())
    }

    /// Asks all its calls to stop, also those that wait for the connector to be started again.
    pub fn cancel(&self) {
        self.cancels.fetch_add(1, Ordering::Relaxed);
        match &*lock(&self.seat) {
            Seat::Worker(worker) => worker.cancel_all(),
            Seat::Inside(instance) => inside::cancel_all(instance),
            Seat::Empty => {}
        }
    }

    /// Carries out an operation. Logins go through [`Session::login`].
    ///
    /// # Errors
    /// What the connector answered, or what became of it. After a crash, a panic or an overrun the next call starts it anew.
    pub fn send<O: Operation>(&self, request: &O::Request) -> Result<O::Response, Failure> {
        let request = codec::encode(request).map_err(|error| Failure::new(Class::Protocol, error.to_string()))?;
        let _permit = self.gate.enter();
        let call = next_call();
        let answer = match self.seated_for_call()? {
            Seat::Inside(instance) => {
                let answer = inside::call(&instance, call, O::OP, &request, Some(self.spec.deadlines.soft));
                self.examine::<O, _>(&Seat::Inside(instance), answer.map(Answer::Inside).map_err(Broken::Failed))
            }
            Seat::Worker(worker) => {
                let limits = (self.spec.deadlines.soft, self.spec.deadlines.hard);
                let ahead = self.description.capabilities.max_parallel_per_principal > 1;
                let answer = worker.call(call, O::OP, ahead, &request, Some(limits), |_, _| ());
                self.examine::<O, _>(&Seat::Worker(worker), answer.map(Answer::Frame))
            }
            Seat::Empty => Err(self.failure(Class::Crashed, "is not running")),
        }?;
        self.read::<O>(&answer)
    }

    /// Logs a principal in, and again whenever the connector had to be started anew.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn login(&self, request: LoginRequest) -> Result<LoginResponse, Failure> {
        let response = self.send::<Login>(&request)?;
        self.remember(request, &response);
        Ok(response)
    }

    /// Notes that the login of a principal was good for a call.
    pub(super) fn login_works(&self, principal: &Principal) {
        if let Some(login) = self.login_of(principal) {
            lock(&self.working).insert(login);
        }
    }

    /// Logs a principal in again, once after its login was good for something. Whether that helped, the next call shows.
    pub(super) fn log_in_anew(&self, principal: &Principal) -> bool {
        let was_good = self.login_of(principal).filter(|login| lock(&self.working).remove(login));
        let Some(login) = was_good.and_then(|login| lock(&self.logins).get(&login).cloned()) else { return false };
        tracing::info!(connection = self.spec.connection, "a login that was good is refused: logging in again");
        match self.login(login.clone()) {
            Ok(response) => {
                self.keep(&login.principal, &response);
                true
            }
            Err(failure) => {
                tracing::warn!(connection = self.spec.connection, "logging in again: {failure}");
                false
            }
        }
    }

    /// Whose login a principal's calls use: its own, or that of the connection.
    fn login_of(&self, principal: &Principal) -> Option<Principal> {
        let logins = lock(&self.logins);
        let connection = Principal::connection();
        [principal, &connection].into_iter().find(|login| logins.contains_key(*login)).cloned()
    }

    fn keep(&self, principal: &Principal, response: &LoginResponse) {
        if let Some(keep) = self.spec.keep.as_ref().filter(|_| !response.keep.is_empty()) {
            keep(principal, &response.keep);
        }
    }

    /// Listens until the connector ends it or the session is cancelled.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn watch(&self, request: &WatchRequest, mut heard: impl FnMut(Announcement)) -> Result<(), Failure> {
        let request = codec::encode(request).map_err(|error| Failure::new(Class::Protocol, error.to_string()))?;
        let call = next_call();
        let emitted = |kind, message: &[u8]| match codec::decode(message) {
            Ok(announcement) if kind == ANNOUNCEMENT => heard(announcement),
            // A message of a newer API version.
            _ => tracing::debug!(connection = self.spec.connection, kind, "unknown message from a plugin"),
        };
        match self.seated_for_call()? {
            Seat::Inside(instance) => {
                let answer = inside::listen(&instance, call, Watch::OP, &request, emitted);
                self.examine::<Watch, _>(&Seat::Inside(instance), answer.map_err(Broken::Failed)).map(drop)
            }
            Seat::Worker(worker) => {
                let answer = worker.call(call, Watch::OP, false, &request, None, emitted);
                self.examine::<Watch, _>(&Seat::Worker(worker), answer).map(drop)
            }
            Seat::Empty => Err(self.failure(Class::Crashed, "is not running")),
        }
    }

    fn worker(&self) -> Option<Arc<Worker>> {
        match &*lock(&self.seat) {
            Seat::Worker(worker) => Some(Arc::clone(worker)),
            _ => None,
        }
    }

    fn read<O: Operation>(&self, answer: &[u8]) -> Result<O::Response, Failure> {
        codec::decode(answer).map_err(|error| {
            let failure = self.failure(Class::Protocol, &format!("answered `{}` with {error}", O::NAME));
            if O::WRITES { failure.unknown_outcome() } else { failure }
        })
    }

    fn failure(&self, class: Class, what: &str) -> Failure {
        Failure::new(class, format!("connection `{}`: {} {what}", self.spec.connection, self.opening.name))
    }

    /// Judges how a call came out. A connector that fell over is not asked again.
    fn examine<O: Operation, T>(&self, seat: &Seat, answer: Result<T, Broken>) -> Result<T, Failure> {
        let (failure, fell, silent) = match answer {
            Ok(answer) => return Ok(answer),
            Err(Broken::Failed(failure)) => {
                let fell = matches!(failure.class, Class::Panic | Class::Poisoned);
                (failure, fell, false)
            }
            Err(Broken::Unsent(how)) => {
                self.give_up(seat, &how);
                return Err(self.failure(Class::Crashed, &format!("had fallen over before `{}`: {how}", O::NAME)));
            }
            Err(Broken::Died(how)) => {
                (self.failure(Class::Crashed, &format!("failed in `{}`: {how}", O::NAME)), true, true)
            }
            Err(Broken::Overran(how)) => {
                (self.failure(Class::Deadline, &format!("failed in `{}`: {how}", O::NAME)), true, true)
            }
        };
        if fell {
            self.give_up(seat, &failure.text);
        }
        // What the plugin says itself stands; what its worker could not say any more is not known.
        Err(if silent && O::WRITES { failure.unknown_outcome() } else { failure })
    }

    /// Leaves a connector that fell over; counted once, however many calls it took with it.
    fn give_up(&self, fallen: &Seat, why: &str) {
        let mut seat = lock(&self.seat);
        let same = match (&*seat, fallen) {
            (Seat::Worker(one), Seat::Worker(two)) => Arc::ptr_eq(one, two),
            (Seat::Inside(one), Seat::Inside(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        if !same {
            return;
        }
        *seat = Seat::Empty;
        drop(seat);
        tracing::warn!(connection = self.spec.connection, "{why}");
        self.health.fell(self.chance.now(), why);
        if let Seat::Worker(worker) = fallen {
            worker.end("it fell over");
        }
    }

    fn seated_for_call(&self) -> Result<Seat, Failure> {
        self.seated().map_err(|error| match error {
            OpenError::Refused { failure, .. } => failure,
            error => Failure::new(Class::Crashed, format!("connection `{}`: {error}", self.spec.connection)),
        })
    }

    /// The connector, started if it is not there.
    fn seated(&self) -> Result<Seat, OpenError> {
        let dead = match &*lock(&self.seat) {
            Seat::Empty => None,
            Seat::Worker(worker) if !worker.lives() => Some(Arc::clone(worker)),
            seat => return Ok(seat.clone()),
        };
        if let Some(worker) = dead {
            let why = self.failure(Class::Crashed, &format!("fell over between two calls: {}", worker.death()));
            self.give_up(&Seat::Worker(worker), &why.text);
        }
        self.rest()?;
        let mut seat = lock(&self.seat);
        if matches!(&*seat, Seat::Empty) {
            *seat = self.start()?;
        }
        Ok(seat.clone())
    }

    /// Waits as long as the plugin's past asks for, unless somebody wants to stop; refuses one that was set aside.
    fn rest(&self) -> Result<(), OpenError> {
        let pause = match self.health.standing(self.chance.now()) {
            Standing::Quarantined { failures, last } => {
                return Err(LoadError::Quarantined { name: self.opening.name.clone().into(), failures, last }.into());
            }
            Standing::Usable { pause } if pause.is_zero() => return Ok(()),
            // Up to half as long again, so that connections that fell together do not rise together.
            Standing::Usable { pause } => pause + pause.mul_f64((self.chance.random() % 512) as f64 / 1024.0),
        };
        let connection = &self.spec.connection;
        tracing::info!(connection, "{} fell over lately and is started again in {pause:.1?}", self.opening.name);
        let cancels = self.cancels.load(Ordering::Relaxed);
        let interrupted = || self.spec.interrupted.as_ref().is_some_and(|interrupted| interrupted());
        let stop = || interrupted() || self.cancels.load(Ordering::Relaxed) != cancels;
        if self.chance.pause_unless(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), &stop) {
            let failure = self.failure(Class::Cancelled, "was not started again: everything is to stop");
            return Err(OpenError::Refused { connection: connection.clone(), failure });
        }
        Ok(())
    }

    fn start(&self) -> Result<Seat, OpenError> {
        let refused = |failure| OpenError::Refused { connection: self.spec.connection.clone(), failure };
        let seat = match self.spec.isolation {
            Isolation::InProcess => {
                let root = inside::open(&self.opening, &self.spec.plugin.sha256)?;
                Seat::Inside(Arc::new(Instance::create(root, &self.settings).map_err(refused)?))
            }
            Isolation::Worker => Seat::Worker(self.start_worker()?),
        };
        self.log_in_again(&seat).map_err(refused)?;
        Ok(seat)
    }

    fn start_worker(&self) -> Result<Arc<Worker>, OpenError> {
        let name = self.opening.name.clone();
        self.launch().map_err(|not| match not {
            NotStarted::Refused(failure, _) => OpenError::Refused { connection: self.spec.connection.clone(), failure },
            NotStarted::Unusable(why) => LoadError::InWorker(why).into(),
            NotStarted::Failed(why) => {
                self.health.fell(self.chance.now(), &why);
                LoadError::Start { name: name.clone().into(), why }.into()
            }
        })
    }

    fn launch(&self) -> Result<Arc<Worker>, NotStarted> {
        Worker::start(&Launch {
            executable: &self.spec.executable,
            opening: &self.opening,
            connection: &self.spec.connection,
            settings: &self.settings,
            policy: &self.policy,
            deadlines: self.spec.deadlines,
            largest_frame: self.spec.limits.largest_message,
        })
    }

    /// A connector that was started anew knows nobody.
    fn log_in_again(&self, seat: &Seat) -> Result<(), Failure> {
        let logins: Vec<LoginRequest> = lock(&self.logins).values().cloned().collect();
        for login in logins {
            let request = codec::encode(&login).map_err(|error| Failure::new(Class::Protocol, error.to_string()))?;
            let (call, Deadlines { soft, hard, .. }) = (next_call(), self.spec.deadlines);
            let answer = match seat {
                Seat::Inside(instance) => {
                    inside::call(instance, call, Login::OP, &request, Some(soft)).map(Answer::Inside)
                }
                Seat::Worker(worker) => {
                    let answer = worker.call(call, Login::OP, false, &request, Some((soft, hard)), |_, _| ());
                    answer.map(Answer::Frame).map_err(|broken| match broken {
                        Broken::Failed(failure) => failure,
                        Broken::Unsent(how) | Broken::Died(how) | Broken::Overran(how) => {
                            self.failure(Class::Crashed, &format!("failed when it was logged in again: {how}"))
                        }
                    })
                }
                Seat::Empty => return Ok(()),
            };
            let response: LoginResponse = self.read::<Login>(&answer?)?;
            self.keep(&login.principal, &response);
            self.remember(login, &response);
        }
        Ok(())
    }

    fn remember(&self, mut request: LoginRequest, response: &LoginResponse) {
        request.secrets.extend(response.keep.clone());
        lock(&self.logins).insert(request.principal.clone(), request);
    }
}

/// Starts a worker and lets it go, to see what no look at the file shows: whether the library fits, and what the sandbox comes
/// to on this machine. The settings may be empty: a connector that refuses them has been loaded all the same.
///
/// # Errors
/// If it does not fit or does not start.
pub fn probe(spec: SessionSpec) -> Result<sandbox::Status, OpenError> {
    let session = Session::prepare(spec)?;
    match session.launch() {
        Ok(worker) => {
            worker.shut_down();
            Ok(worker.sandbox())
        }
        Err(NotStarted::Refused(_, sandbox)) => Ok(sandbox),
        Err(NotStarted::Unusable(why)) => Err(LoadError::InWorker(why).into()),
        Err(NotStarted::Failed(why)) => Err(LoadError::Start { name: session.opening.name.clone().into(), why }.into()),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        match std::mem::replace(&mut *lock(&self.seat), Seat::Empty) {
            Seat::Worker(worker) => {
                if worker.lives() && !worker.shut_down() {
                    tracing::warn!(connection = self.spec.connection, "the plugin did not shut down in time");
                }
            }
            Seat::Inside(instance) => {
                if let Err(failure) = instance.shutdown() {
                    tracing::warn!(connection = self.spec.connection, "{failure}");
                }
            }
            Seat::Empty => {}
        }
    }
}
