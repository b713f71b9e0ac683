//! One worker process, as the host sees it: start, calls, deadlines, death.
//!
//! A thread per worker reads its frames and hands them to whoever waits for them; another one reads its error output. The
//! process is its own group, so that whatever it starts ends with it.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pairwise_plugin_api::Failure;
use rustix::process::{Pid, Signal, kill_process_group};

use super::frames::{Frame, Frames, Hello, PROTOCOL, ToHost, ToWorker, send};
use super::load::Opening;
use super::logs::{self, PluginLog};
use super::sandbox;
use super::{Deadlines, overdue};
use crate::{BUILD, lock};

/// Variables that a worker inherits; everything else is the host's own business.
const ENVIRONMENT: &[&str] = &[
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// So many pings without an answer, and the worker is dead to us.
const MISSED_PONGS: u32 = 3;

/// Bytes on their way to the other end of the socket.
const SEND_BUFFER: usize = 1 << 20;

/// The last lines of the error output, kept for the report of a death.
const LAST_WORDS: usize = 5;
const LONGEST_LINE: usize = 500;

/// What is started.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    /// The host's executable.
    pub executable: &'a Path,
    pub opening: &'a Opening,
    pub connection: &'a str,
    /// A message.
    pub settings: &'a [u8],
    pub policy: &'a sandbox::Policy,
    pub deadlines: Deadlines,
    pub largest_frame: u64,
}

/// Why a worker is not there.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The process died or hung: trying again may help.
    Failed(String),
    /// The library does not fit: trying again is useless.
    Unusable(String),
    /// The connector refused its settings or could not be made with them.
    Refused(Failure, sandbox::Status),
}

/// A worker process.
#[derive(Debug)]
pub(super) struct Worker {
    socket: Mutex<UnixStream>,
    waiting: Mutex<HashMap<u64, Sender<Event>>>,
    life: Mutex<Life>,
    died: Condvar,
    deadlines: Deadlines,
    log: Arc<PluginLog>,
    sandbox: Mutex<sandbox::Status>,
}

#[derive(Debug)]
struct Life {
    group: Pid,
    /// False from the moment its number may belong to another process.
    signals: bool,
    /// Why we ended it, if we did.
    ended_because: Option<String>,
    /// How it ended.
    death: Option<String>,
    /// Before, it has no time for pings; the start-up deadline watches over it.
    ready: bool,
    missed: u32,
}

/// What comes for a call.
#[derive(Debug)]
pub(super) enum Event {
    Answer(Frame<()>),
    Failed(Failure),
    Progress,
    Emitted(u32, Frame<()>),
}

/// How a call came out, if not with an answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The plugin said so.
    Failed(Failure),
    /// The worker was dead before it had the request.
    Unsent(String),
    /// The worker died.
    Died(String),
    /// It took too long; the worker was ended.
    Overran(String),
}

impl Worker {
    /// Starts a worker and waits until its connector is there.
    pub(super) fn start(launch: &Launch<'_>) -> Result<Arc<Self>, NotStarted> {
        let failed = |what: &str, error: io::Error| NotStarted::Failed(format!("{what}: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed("no socket for the worker", error))?;
        // So that a page mostly fits: who sends it need not wait for who reads it. The system may give less.
        for end in [&ours, &theirs] {
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, SEND_BUFFER);
        }
        ours.set_read_timeout(Some(launch.deadlines.heartbeat)).map_err(|error| failed("socket", error))?;
        ours.set_write_timeout(Some(launch.deadlines.startup)).map_err(|error| failed("socket", error))?;
        let reading = ours.try_clone().map_err(|error| failed("socket", error))?;
        let mut child = command(launch, theirs).spawn().map_err(|error| failed("the worker did not start", error))?;
        let errors = child.stderr.take();

        let (group, name) = (Pid::from_child(&child), launch.opening.name.clone());
        let life = Life { group, signals: true, ended_because: None, death: None, ready: false, missed: 0 };
        let worker = Arc::new(Worker {
            socket: Mutex::new(ours),
            waiting: Mutex::default(),
            life: Mutex::new(life),
            died: Condvar::new(),
            deadlines: launch.deadlines,
            log: Arc::new(PluginLog::new(name.clone(), launch.connection)),
            sandbox: Mutex::default(),
        });
        let (started, news) = channel();
        let reader = (Arc::clone(&worker), Frames::new(BufReader::new(reading), launch.largest_frame));
        let spawned = thread::Builder::new()
            .name(format!("worker {}", launch.connection))
            .spawn(move || reader.0.read(reader.1, child, errors, &started));
        if let Err(error) = spawned {
            let _ = kill_process_group(group, Signal::KILL);
            return Err(failed("no thread for the worker", error));
        }

        let hello = Hello {
            protocol: PROTOCOL,
            build: BUILD.to_owned(),
            log_level: logs::level(),
            largest_frame: launch.largest_frame,
            sandbox: launch.policy.clone(),
        };
        let library = launch.opening.library.to_string_lossy().into_owned();
        let load = ToWorker::Load { id: name.id, version: name.version.to_string(), library };
        // Both at once: the worker has nothing to ask in between. Should it be dead already, its death says why.
        let _ = worker.send(0, &ToWorker::Hello(hello), &[]);
        let _ = worker.send(0, &load, launch.settings);
        worker.ready(&news)
    }

    /// Waits for the outcome of the start.
    fn ready(self: Arc<Self>, news: &Receiver<ToHost>) -> Result<Arc<Self>, NotStarted> {
        let end = Instant::now() + self.deadlines.startup;
        loop {
            match news.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(ToHost::Ready) => {
                    lock(&self.life).ready = true;
                    return Ok(self);
                }
                Ok(ToHost::Hello { sandbox, .. }) => *lock(&self.sandbox) = sandbox,
                Ok(ToHost::LoadFailed { why }) => {
                    self.end("its library cannot be used");
                    return Err(NotStarted::Unusable(why));
                }
                Ok(ToHost::Refused(failure)) => {
                    self.end("it refused its settings");
                    return Err(NotStarted::Refused(failure.into(), self.sandbox()));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let why = format!("it was not ready after {:?}", self.deadlines.startup);
                    self.end(&why);
                    return Err(NotStarted::Failed(why));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(NotStarted::Failed(self.death())),
            }
        }
    }

    /// What the sandbox came to.
    pub(super) fn sandbox(&self) -> sandbox::Status {
        lock(&self.sandbox).clone()
    }

    /// The process id, for people and tests.
    pub(super) fn id(&self) -> u32 {
        lock(&self.life).group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether calls can be sent to it.
    pub(super) fn lives(&self) -> bool {
        let life = lock(&self.life);
        life.death.is_none() && life.ended_because.is_none()
    }

    /// Sends a call and waits for its answer.
    ///
    /// The soft deadline counts from the last progress; when it is over, the call is asked to stop. The hard one counts from the
    /// beginning; when it is over, the worker is ended. `None` waits for as long as the worker lives.
    pub(super) fn call(
        &self,
        call: u64,
        op: u32,
        ahead: bool,
        request: &[u8],
        limits: Option<(Duration, Duration)>,
        mut emitted: impl FnMut(u32, &[u8]),
    ) -> Result<Frame<()>, Broken> {
        let (sender, events) = channel();
        {
            // Under the lock of life: who dies afterwards finds the call and tells it.
            let life = lock(&self.life);
            if let Some(death) = &life.death {
                return Err(Broken::Unsent(death.clone()));
            }
            lock(&self.waiting).insert(call, sender);
        }
        if let Err(error) = self.send(call, &ToWorker::Call { op, ahead }, request) {
            // A frame that is not whole is not carried out.
            return Err(Broken::Unsent(self.refused(&error)));
        }
        let began = Instant::now();
        let hard = limits.map(|(_, hard)| began + hard);
        let mut soft = limits.map(|(soft, _)| began + soft);
        loop {
            let next = soft.into_iter().chain(hard).min();
            let event = match next {
                Some(next) => events.recv_timeout(next.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Answer(frame)) => return Ok(frame),
                Ok(Event::Failed(failure)) => {
                    return Err(Broken::Failed(match limits {
                        Some((waited, _)) if soft.is_none() => overdue(failure, waited),
                        _ => failure,
                    }));
                }
                Ok(Event::Progress) => {
                    if let (Some(soft), Some((extension, _))) = (&mut soft, limits) {
                        *soft = Instant::now() + extension;
                    }
                }
                Ok(Event::Emitted(kind, frame)) => emitted(kind, frame.payload()),
                Err(RecvTimeoutError::Disconnected) => return Err(Broken::Died(self.death())),
                Err(RecvTimeoutError::Timeout) if hard.is_some_and(|hard| hard <= Instant::now()) => {
                    lock(&self.waiting).remove(&call);
                    let why = format!(
                        "a call overran its deadline of {:?}",
                        hard.map_or_else(Duration::default, |hard| hard - began)
                    );
                    self.end(&why);
                    return Err(Broken::Overran(why));
                }
                Err(RecvTimeoutError::Timeout) => {
                    soft = None;
                    self.cancel(call);
                }
            }
        }
    }

    /// Ends a worker that does not read, and tells how it ended. One that has closed its socket is ending by itself.
    fn refused(&self, error: &io::Error) -> String {
        let closed = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if !(closed && self.wait_for_death(self.deadlines.grace)) {
            self.end(&format!("it does not take requests: {error}"));
        }
        self.death()
    }

    /// Asks a call to stop.
    pub(super) fn cancel(&self, call: u64) {
        let _ = self.send(call, &ToWorker::Cancel, &[]);
    }

    /// Asks all calls to stop.
    pub(super) fn cancel_all(&self) {
        let calls: Vec<u64> = lock(&self.waiting).keys().copied().collect();
        calls.into_iter().for_each(|call| self.cancel(call));
    }

    /// Lets it finish, and ends it if it does not. True if it went by itself.
    pub(super) fn shut_down(&self) -> bool {
        lock(&self.life).ended_because.get_or_insert_with(|| "it was shut down".to_owned());
        let _ = self.send(0, &ToWorker::Shutdown, &[]);
        let went = self.wait_for_death(self.deadlines.grace);
        if !went {
            self.end("it did not shut down");
        }
        went
    }

    /// Ends it: politely, then not. Returns when it is gone.
    pub(super) fn end(&self, why: &str) {
        lock(&self.life).ended_because.get_or_insert_with(|| why.to_owned());
        for signal in [Signal::TERM, Signal::KILL] {
            self.signal(signal);
            if self.wait_for_death(self.deadlines.grace) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let life = lock(&self.life);
        if life.signals {
            let _ = kill_process_group(life.group, signal);
        }
    }

    fn wait_for_death(&self, time: Duration) -> bool {
        let life = lock(&self.life);
        let waited = self.died.wait_timeout_while(life, time, |life| life.death.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.death.is_some()
    }

    /// How it ended.
    pub(super) fn death(&self) -> String {
        let life = lock(&self.life);
        life.death.clone().unwrap_or_else(|| "the worker is gone".to_owned())
    }

    fn send(&self, call: u64, head: &ToWorker, payload: &[u8]) -> io::Result<()> {
        send(&*lock(&self.socket), call, head, payload)
    }

    /// The reading thread: frames until the socket ends, then the end of the process.
    fn read(
        &self,
        mut frames: Frames<BufReader<UnixStream>>,
        mut child: Child,
        errors: Option<ChildStderr>,
        started: &Sender<ToHost>,
    ) {
        let words = Arc::new(Mutex::new(Vec::new()));
        let heard = errors.map(|errors| self.hear(errors, Arc::clone(&words)));
        let stopped = loop {
            match frames.next::<ToHost>(|| self.beat()) {
                Ok(Some(frame)) => self.take(frame, started),
                Ok(None) => break None,
                // It died and left frames unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = stopped {
            lock(&self.life).ended_because.get_or_insert_with(|| format!("it cannot be understood: {error}"));
        }
        // Without its socket it is of no use. Whatever it was doing, its exit status is settled or will be this signal.
        self.signal(Signal::KILL);
        lock(&self.life).signals = false;
        let status = child.wait();
        if let Some(heard) = heard {
            // Until the end of its error output, which something that escaped from its group may still hold open.
            let _ = heard.recv_timeout(self.deadlines.grace);
        }
        self.bury(status, &lock(&words));
    }

    /// Tells everybody how it ended.
    fn bury(&self, status: io::Result<ExitStatus>, words: &[String]) {
        let mut life = lock(&self.life);
        let how = match (&life.ended_because, status) {
            (Some(why), _) => format!("the worker was ended: {why}"),
            (None, Err(error)) => format!("the worker is gone: {error}"),
            (None, Ok(status)) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("the worker died of signal {signal}{}", signal_name(signal)),
                (None, Some(code)) => format!("the worker exited by itself with code {code}"),
                (None, None) => "the worker is gone".to_owned(),
            },
        };
        let said = if words.is_empty() { String::new() } else { format!("; it said: {}", words.join(" | ")) };
        life.death = Some(how + &said);
        // Dropping the senders wakes who waits for an answer.
        lock(&self.waiting).clear();
        drop(life);
        self.died.notify_all();
    }

    /// Reads its error output: allocation failures and stack overflows are told nowhere else. What is returned ends with it.
    fn hear(&self, errors: ChildStderr, words: Arc<Mutex<Vec<String>>>) -> Receiver<()> {
        let (log, (end, ended)) = (Arc::clone(&self.log), channel());
        let hear = move || {
            let _end: Sender<()> = end;
            for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
                let line: String = String::from_utf8_lossy(&line).trim().chars().take(LONGEST_LINE).collect();
                if line.is_empty() {
                    continue;
                }
                log.line(2, "stderr", &line, &[], 0);
                let mut words = lock(&words);
                if words.len() == LAST_WORDS {
                    words.remove(0);
                }
                words.push(line);
            }
        };
        // Without the thread its words are lost; it will find its error output closed.
        let _ = thread::Builder::new().name("worker stderr".to_owned()).spawn(hear);
        ended
    }

    fn take(&self, frame: Frame<ToHost>, started: &Sender<ToHost>) {
        lock(&self.life).missed = 0;
        let (head, frame) = frame.split();
        let call = frame.call;
        match head {
            ToHost::Return => self.finish(call, Event::Answer(frame)),
            ToHost::Fail(failure) => self.finish(call, Event::Failed(failure.into())),
            ToHost::Progress { .. } => self.tell(call, Event::Progress),
            ToHost::Emit { kind } => self.tell(call, Event::Emitted(kind, frame)),
            ToHost::Log { level, target, message, dropped } => {
                self.log.line(level, &target, &message, frame.payload(), dropped);
            }
            ToHost::Pong => {}
            head => drop(started.send(head)),
        }
    }

    fn finish(&self, call: u64, event: Event) {
        // A call that nobody waits for any more was given up.
        if let Some(waiting) = lock(&self.waiting).remove(&call) {
            let _ = waiting.send(event);
        }
    }

    fn tell(&self, call: u64, event: Event) {
        if let Some(waiting) = lock(&self.waiting).get(&call) {
            let _ = waiting.send(event);
        }
    }

    /// Nothing came for a while: asks for a sign of life, and ends a worker that gives none.
    fn beat(&self) {
        let missed = {
            let mut life = lock(&self.life);
            life.missed += u32::from(life.ready);
            life.missed
        };
        if missed > MISSED_PONGS {
            lock(&self.life).ended_because.get_or_insert_with(|| "it does not answer pings".to_owned());
            self.signal(Signal::KILL);
        } else if let Ok(socket) = self.socket.try_lock() {
            // Whoever holds the socket is sending; that shows soon enough whether it still reads.
            let _ = send(&*socket, 0, &ToWorker::Ping, &[]);
        }
    }
}

fn command(launch: &Launch<'_>, socket: UnixStream) -> Command {
    let mut command = Command::new(launch.executable);
    command
        .arg0(format!("pairwise worker {} {}", launch.connection, launch.opening.name.id))
        .arg(super::worker::ARGUMENT)
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        // A worker has few threads, and glibc would keep freed memory for each of them apart. With less than two, those of
        // two calls wait for each other.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
