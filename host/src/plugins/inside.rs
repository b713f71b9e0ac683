//! A connector in this very process, for trusted bundles and tests.
//!
//! Panics are still caught, but nothing else is: a crash ends the host, and a call that overruns can only be asked to stop.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use abi_stable::std_types::RVec;
use pairwise_plugin_api::Failure;
use pairwise_plugin_api::raw::PluginRoot_Ref;

use super::callbacks::Hooks;
use super::error::LoadError;
use super::instance::Instance;
use super::load::{self, Opening};
use super::logs::{self, PluginLog};
use super::overdue;

/// Libraries that are open, by the hash of their content. They stay open.
static OPEN: LazyLock<Mutex<HashMap<String, PluginRoot_Ref>>> = LazyLock::new(Mutex::default);

/// Calls that run in this process.
static CALLS: LazyLock<Mutex<HashMap<u64, Running>>> = LazyLock::new(Mutex::default);

struct Running {
    instance: usize,
    /// When it is asked to stop.
    soft: Option<Instant>,
    extension: Duration,
    cancelled: bool,
    emitted: Option<Sender<(u32, Vec<u8>)>>,
}

fn calls() -> MutexGuard<'static, HashMap<u64, Running>> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a library, or finds it open.
pub(super) fn open(opening: &Opening, hash: &str) -> Result<PluginRoot_Ref, LoadError> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(root) = open.get(hash) {
        return Ok(*root);
    }
    let hooks = Box::leak(Box::new(Inside { log: PluginLog::new(opening.name.clone(), "") }));
    let root = load::open(opening, hooks)?;
    open.insert(hash.to_owned(), root);
    Ok(root)
}

/// Carries out a call on this thread.
pub(super) fn call(
    instance: &Instance,
    call: u64,
    op: u32,
    request: &[u8],
    soft: Option<Duration>,
) -> Result<RVec<u8>, Failure> {
    run(instance, call, op, request, soft, None)
}

/// Carries out a call on a thread of its own, and hands over what it emits.
pub(super) fn listen(
    instance: &Instance,
    call: u64,
    op: u32,
    request: &[u8],
    mut emitted: impl FnMut(u32, &[u8]),
) -> Result<RVec<u8>, Failure> {
    let (sender, messages) = channel();
    thread::scope(|scope| {
        let running = scope.spawn(|| run(instance, call, op, request, None, Some(sender)));
        for (kind, message) in messages {
            emitted(kind, &message);
        }
        running.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}

fn run(
    instance: &Instance,
    call: u64,
    op: u32,
    request: &[u8],
    soft: Option<Duration>,
    emitted: Option<Sender<(u32, Vec<u8>)>>,
) -> Result<RVec<u8>, Failure> {
    let running = Running {
        instance: address(instance),
        soft: soft.map(|soft| Instant::now() + soft),
        extension: soft.unwrap_or_default(),
        cancelled: false,
        emitted,
    };
    calls().insert(call, running);
    let answer = instance.call(op, call, request);
    let ended = calls().remove(&call);
    answer.map_err(|failure| match (soft, ended) {
        (Some(soft), Some(running)) if !running.cancelled => overdue(failure, soft),
        _ => failure,
    })
}

/// Asks all calls of a connector to stop.
pub(super) fn cancel_all(instance: &Instance) {
    let of_instance = |(call, running): (&u64, &mut Running)| {
        running.cancelled |= running.instance == address(instance);
        running.cancelled.then_some(*call)
    };
    let calls: Vec<u64> = calls().iter_mut().filter_map(of_instance).collect();
    calls.into_iter().for_each(|call| instance.cancel(call));
}

/// Tells connectors apart that are there at the same time.
fn address(instance: &Instance) -> usize {
    std::ptr::from_ref(instance).addr()
}

/// The host of a library in this process.
struct Inside {
    log: PluginLog,
}

impl Hooks for Inside {
    fn log_enabled(&self, level: u8) -> bool {
        level <= logs::level()
    }

    fn log(&self, level: u8, target: &str, message: &str, fields: &[u8]) {
        self.log.line(level, target, message, fields, 0);
    }

    fn cancelled(&self, call: u64) -> bool {
        calls()
            .get(&call)
            .is_some_and(|running| running.cancelled || running.soft.is_some_and(|soft| soft <= Instant::now()))
    }

    fn progress(&self, call: u64, _done: u64, _total: u64) {
        if let Some(running) = calls().get_mut(&call)
            && let Some(soft) = &mut running.soft
        {
            *soft = Instant::now() + running.extension;
        }
    }

    fn emit(&self, call: u64, kind: u32, message: &[u8]) -> bool {
        calls().get(&call).is_some_and(|running| {
            running.emitted.as_ref().is_some_and(|emitted| emitted.send((kind, message.to_vec())).is_ok())
        })
    }
}
