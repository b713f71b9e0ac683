//! The worker process: one connector in it, a socket to the host, nothing else.
//!
//! The main thread reads frames, answers pings and marks calls as cancelled; calls run on threads of their own. When the socket
//! ends, the host is gone and so is the worker.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{process, thread};

use rustix::process::{Signal, getpid, kill_process_group};

use super::ahead::{Ahead, Answer, Begun, following};
use super::callbacks::Hooks;
use super::error::PluginName;
use super::frames::{Frame, Frames, Hello, PROTOCOL, ToHost, ToWorker, send};
use super::instance::Instance;
use super::load::{self, Opening};
use super::sandbox;
use crate::BUILD;

/// The hidden first argument that turns the host into a worker.
pub const ARGUMENT: &str = "__worker";

/// The first frame must fit into this; it says how large the others may be.
const FIRST_FRAME: u64 = 1 << 20;

/// Lines of the log that wait to be sent. More are counted and dropped: a log must never hold up a call.
const LOG_QUEUE: usize = 1024;

/// Between two frames of progress of one call: connectors may tell it for each record, and the host needs it for deadlines.
const TELL_EVERY: Duration = Duration::from_millis(20);

static HOST: OnceLock<Host> = OnceLock::new();

/// What the binary does when its first argument is [`ARGUMENT`].
#[must_use]
pub fn main() -> ExitCode {
    crate::os::stand_back();
    match host_socket().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // This is read by the host as a line of the worker's error output.
            let _ = writeln!(io::stderr(), "worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The socket comes as standard input, which needs no code between fork and exec. It moves away, so that a plugin that reads
/// its standard input finds nothing.
fn host_socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr().map_err(|_| io::Error::other("workers are started by Pairwise itself"))?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket)
}

fn serve(socket: UnixStream) -> io::Result<()> {
    let mut frames = Frames::new(BufReader::new(socket.try_clone()?), FIRST_FRAME);
    let hello = expect(&mut frames, |head| match head {
        ToWorker::Hello(hello) => Some(hello),
        _ => None,
    })?;
    let Hello { protocol, build, log_level, largest_frame, sandbox: policy } = hello.0;
    if (protocol, build.as_str()) != (PROTOCOL, BUILD) {
        let why = format!("host and worker are two builds, {build} and {BUILD}; start Pairwise again");
        return send(&socket, 0, &ToHost::LoadFailed { why }, &[]);
    }
    frames.allow(largest_frame);
    let ((id, version, library), load) = expect(&mut frames, |head| match head {
        ToWorker::Load { id, version, library } => Some((id, version, library)),
        _ => None,
    })?;
    let library = PathBuf::from(library);

    // The library's constructors run when it is opened, ahead of every check, so this comes first.
    match sandbox::apply(&policy, &library) {
        Ok(status) => send(&socket, 0, &ToHost::Hello { build: BUILD.to_owned(), sandbox: status }, &[])?,
        Err(why) => return send(&socket, 0, &ToHost::LoadFailed { why }, &[]),
    }
    let version = version.parse().map_err(io::Error::other)?;
    let (logs, lines) = sync_channel(LOG_QUEUE);
    let host = HOST.get_or_init(|| Host::new(socket, log_level, logs));
    thread::Builder::new().name("log".to_owned()).spawn(move || pass_on(host, &lines))?;
    let opening = Opening { name: PluginName { id, version }, library, in_process: false };
    let root = match load::open(&opening, host) {
        Ok(root) => root,
        Err(error) => return host.send(0, &ToHost::LoadFailed { why: error.to_string() }, &[]),
    };
    let instance = match Instance::create(root, load.payload()) {
        Ok(instance) => Arc::new(instance),
        Err(failure) => return host.send(0, &ToHost::Refused(failure.into()), &[]),
    };
    host.send(0, &ToHost::Ready, &[])?;
    attend(&mut frames, host, &instance)
}

/// The next frame, which must be the one that `pick` takes.
fn expect<T>(
    frames: &mut Frames<BufReader<UnixStream>>,
    pick: impl FnOnce(ToWorker) -> Option<T>,
) -> io::Result<(T, Frame<()>)> {
    let frame = frames.next(|| ())?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (head, rest) = frame.split();
    Ok((pick(head).ok_or_else(|| io::Error::other("the host began with another frame"))?, rest))
}

/// The control thread, from the moment the connector is there.
fn attend(frames: &mut Frames<BufReader<UnixStream>>, host: &'static Host, instance: &Arc<Instance>) -> io::Result<()> {
    let callers = Callers::default();
    loop {
        let Ok(Some(frame)) = frames.next::<ToWorker>(|| ()) else { vanish() };
        match frame.head {
            ToWorker::Call { op, ahead } => {
                host.calls().insert(frame.call, Running::for_call(Some(frame.call)));
                let (instance, others) = (Arc::clone(instance), callers.clone());
                let others = Some(others).filter(|_| ahead);
                callers.run(Box::new(move || host.answer(&instance, others, op, &frame)))?;
            }
            ToWorker::Cancel => host.cancel(instance, Some(frame.call)),
            ToWorker::Ping => host.send(0, &ToHost::Pong, &[])?,
            ToWorker::Shutdown => {
                host.cancel(instance, None);
                if let Err(failure) = instance.shutdown() {
                    host.log(2, "shutdown", &failure.text, &[]);
                }
                host.flush_log();
                return Ok(());
            }
            ToWorker::Hello(_) | ToWorker::Load { .. } => {
                return Err(io::Error::other("the host began again"));
            }
        }
    }
}

/// The host is gone: nobody wants to know how this ends. Whatever the plugin started ends, too.
fn vanish() -> ! {
    let _ = kill_process_group(getpid(), Signal::KILL);
    process::abort()
}

/// Threads that carry out calls; kept for the next call when one is done. The host bounds how many there are.
#[derive(Clone, Default)]
struct Callers {
    idle: Arc<Mutex<Vec<Sender<Job>>>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Callers {
    fn run(&self, mut job: Job) -> io::Result<()> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        if let Some(caller) = waiting {
            match caller.send(job) {
                Ok(()) => return Ok(()),
                Err(refused) => job = refused.0,
            }
        }
        let (sender, jobs) = channel::<Job>();
        let all = Arc::clone(&self.idle);
        thread::Builder::new().name("call".to_owned()).spawn(move || {
            job();
            loop {
                all.lock().unwrap_or_else(PoisonError::into_inner).push(sender.clone());
                match jobs.recv() {
                    Ok(job) => job(),
                    Err(_) => return,
                }
            }
        })?;
        Ok(())
    }
}

/// A call that runs.
#[derive(Debug, Default)]
struct Running {
    cancelled: bool,
    /// When progress was last told.
    told: Option<Instant>,
    /// The host's call that waits for it: itself, or the one that has asked for a page that was begun ahead.
    waited_for: Option<u64>,
}

impl Running {
    fn for_call(call: Option<u64>) -> Self {
        Running { waited_for: call, ..Running::default() }
    }
}

/// The host numbers its calls from one; those that read ahead are numbered from here.
static NEXT_AHEAD: AtomicU64 = AtomicU64::new(1 << 63);

/// The host, as the worker sees it.
struct Host {
    socket: Mutex<UnixStream>,
    log_level: u8,
    logs: SyncSender<Log>,
    dropped: AtomicU64,
    /// The calls that run.
    calls: Mutex<HashMap<u64, Running>>,
    ahead: Ahead,
}

enum Log {
    Line {
        level: u8,
        target: String,
        message: String,
        fields: Vec<u8>,
    },
    /// Answered when everything before it is sent.
    Flush(Sender<()>),
}

impl Host {
    fn new(socket: UnixStream, log_level: u8, logs: SyncSender<Log>) -> Self {
        let (dropped, calls) = (AtomicU64::new(0), Mutex::new(HashMap::new()));
        Host { socket: Mutex::new(socket), log_level, logs, dropped, calls, ahead: Ahead::default() }
    }

    fn send(&self, call: u64, head: &ToHost, payload: &[u8]) -> io::Result<()> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        send(&*socket, call, head, payload)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Running>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a call. With `others` the page after the one that it answers is begun.
    fn answer(&'static self, instance: &Arc<Instance>, others: Option<Callers>, op: u32, frame: &Frame<ToWorker>) {
        let begun = self.ahead.take(op, frame.payload());
        let answer = begun.and_then(|begun| self.wait_for(instance, begun, frame.call));
        let answer = answer.unwrap_or_else(|| instance.call(op, frame.call, frame.payload()));
        if let (Some(others), Ok(page)) = (others, &answer)
            && let Some(next) = following(op, frame.payload(), page)
        {
            self.read_ahead(instance, &others, op, next);
        }
        self.calls().remove(&frame.call);
        let sent = match answer {
            Ok(payload) => self.send(frame.call, &ToHost::Return, &payload),
            Err(failure) => self.send(frame.call, &ToHost::Fail(failure.into()), &[]),
        };
        if sent.is_err() {
            vanish();
        }
    }

    fn read_ahead(&'static self, instance: &Arc<Instance>, others: &Callers, op: u32, request: Vec<u8>) {
        let call = NEXT_AHEAD.fetch_add(1, Ordering::Relaxed);
        self.calls().insert(call, Running::for_call(None));
        let sender = self.ahead.begin(op, request.clone(), call);
        let instance = Arc::clone(instance);
        let job = move || {
            let answer = instance.call(op, call, &request);
            self.calls().remove(&call);
            // Nobody may have asked for it.
            let _ = sender.send(answer);
        };
        // Without a thread for it, the page is read when it is asked for.
        let _ = others.run(Box::new(job));
    }

    /// The answer of a call that was begun ahead, which the host waits for from now on.
    fn wait_for(&self, instance: &Instance, begun: Begun, call: u64) -> Option<Answer> {
        let mut calls = self.calls();
        let is_cancelled = calls.get(&call).is_some_and(|running| running.cancelled);
        if let Some(running) = calls.get_mut(&begun.call) {
            running.waited_for = Some(call);
            running.cancelled |= is_cancelled;
        }
        drop(calls);
        if is_cancelled {
            instance.cancel(begun.call);
        }
        begun.answer.recv().ok()
    }

    /// Asks the calls to stop that the host's call waits for, or those that nobody waits for.
    fn cancel(&self, instance: &Instance, call: Option<u64>) {
        let mut asked = Vec::new();
        for (id, running) in self.calls().iter_mut().filter(|(_, running)| running.waited_for == call) {
            running.cancelled = true;
            asked.push(*id);
        }
        asked.into_iter().for_each(|call| instance.cancel(call));
    }

    fn flush_log(&self) {
        let (done, wait) = channel();
        if self.logs.send(Log::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

/// Sends the lines of the log, apart from the calls that write them.
fn pass_on(host: &Host, lines: &Receiver<Log>) {
    while let Ok(entry) = lines.recv() {
        match entry {
            Log::Line { level, target, message, fields } => {
                let dropped = host.dropped.swap(0, Ordering::Relaxed);
                if host.send(0, &ToHost::Log { level, target, message, dropped }, &fields).is_err() {
                    return;
                }
            }
            Log::Flush(done) => drop(done),
        }
    }
}

impl Hooks for Host {
    fn log_enabled(&self, level: u8) -> bool {
        level <= self.log_level
    }

    fn log(&self, level: u8, target: &str, message: &str, fields: &[u8]) {
        let (target, message, fields) = (target.to_owned(), message.to_owned(), fields.to_vec());
        if self.logs.try_send(Log::Line { level, target, message, fields }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn cancelled(&self, call: u64) -> bool {
        self.calls().get(&call).is_some_and(|running| running.cancelled)
    }

    fn progress(&self, call: u64, done: u64, total: u64) {
        let now = Instant::now();
        let mut calls = self.calls();
        let Some(running) = calls.get_mut(&call) else { return };
        if running.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        let Some(call) = running.waited_for else { return };
        running.told = Some(now);
        drop(calls);
        let _ = self.send(call, &ToHost::Progress { done, total }, &[]);
    }

    fn emit(&self, call: u64, kind: u32, message: &[u8]) -> bool {
        self.send(call, &ToHost::Emit { kind }, message).is_ok()
    }
}
