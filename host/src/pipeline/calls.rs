//! Calls to a side: passing failures are tried again with the server's own back-off, and answers must fit their questions.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope};

use pairwise_plugin_api::ops::GetRequest;
use pairwise_plugin_api::{Absent, Certainty, Class, Failure, Found, RecordRef};

use super::{Lane, Stop};
use crate::chance::Chance;
use crate::lock;
use crate::model::{Observer, Remote, Side, Sides};

/// How often a call that certainly had no effect is tried.
const TRIES: u32 = 4;
/// The first pause between two tries; it doubles.
const FIRST_PAUSE_MS: u64 = 250;
/// The longest pause that a server may ask for within a run.
const LONGEST_PAUSE_MS: u64 = 60_000;

/// Makes calls, from any thread.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) remotes: Sides<&'a dyn Remote>,
    pub(super) chance: &'a dyn Chance,
    pub(super) observer: &'a dyn Observer,
}

impl Caller<'_> {
    /// Makes a call; passing failures that had no effect are tried again.
    pub(super) fn call<T>(
        &self,
        side: Side,
        mut call: impl FnMut(&dyn Remote) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut pause = FIRST_PAUSE_MS;
        for _ in 1..TRIES {
            match call(self.remotes[side]) {
                Err(failure) if passes(&failure) && !self.observer.cancelled() => {
                    let pause_ms = failure.retry_after_ms.unwrap_or(pause).min(LONGEST_PAUSE_MS);
                    self.chance.pause_unless(pause_ms, &|| self.observer.cancelled());
                    pause *= 2;
                }
                answer => return answer,
            }
        }
        call(self.remotes[side])
    }
}

/// Threads that make calls while the lane goes on, and last as long as its run: a thread that is started for one call gets its
/// turn only when the one that starts it gives way, which is later than the call should be on its way.
///
/// A simulator does without, so that the order of calls is the same each time.
pub(super) struct Crew<'a> {
    hands: Vec<Sender<Job<'a>>>,
    /// Places in `hands`. Who was idle last works first: what it has freed is room for what comes.
    idle: Arc<Mutex<Vec<usize>>>,
}

type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

impl<'a> Crew<'a> {
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, 'a>, size: usize) -> Self {
        let hire = |_| {
            let (sender, jobs) = channel::<Job<'a>>();
            scope.spawn(move || jobs.into_iter().for_each(|job| job()));
            sender
        };
        Crew { hands: (0..size).map(hire).collect(), idle: Arc::new(Mutex::new((0..size).collect())) }
    }

    /// Has something done; without threads at once.
    pub(super) fn ahead<T: Send + 'a>(&self, work: impl FnOnce() -> T + Send + 'a) -> Ahead<T> {
        if self.hands.is_empty() {
            return Ahead::Done(work());
        }
        let hand = lock(&self.idle).pop();
        let (answer, answered) = channel();
        let all = Arc::clone(&self.idle);
        let job = move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            lock(&all).extend(hand);
            // Nobody may wait for it any more.
            let _ = answer.send(done);
        };
        // Where all are busy the first takes it up later. It is taken: a hand lasts as long as this end of its channel.
        let _ = self.hands[hand.unwrap_or(0)].send(Box::new(job));
        Ahead::Flying(answered)
    }
}

/// What was asked for ahead of its time.
pub(super) enum Ahead<T> {
    Done(T),
    Flying(Receiver<thread::Result<T>>),
}

impl<T> Ahead<T> {
    pub(super) fn wait(self) -> T {
        match self {
            Ahead::Done(done) => done,
            Ahead::Flying(answered) => match answered.recv() {
                Ok(answer) => answer.unwrap_or_else(|panic| resume_unwind(panic)),
                Err(gone) => resume_unwind(Box::new(gone.to_string())),
            },
        }
    }
}

impl<'a> Lane<'a> {
    pub(super) fn caller(&self) -> Caller<'a> {
        Caller { remotes: self.remotes, chance: self.chance, observer: self.observer }
    }

    /// See [`Caller::call`].
    pub(super) fn call<T>(
        &self,
        side: Side,
        call: impl FnMut(&dyn Remote) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.caller().call(side, call)
    }

    /// The same, where a failure ends the lane's run.
    pub(super) fn must<T>(&self, side: Side, call: impl FnMut(&dyn Remote) -> Result<T, Failure>) -> Result<T, Stop> {
        self.call(side, call).map_err(|failure| self.stop(side, failure))
    }

    /// Writes in one call.
    pub(super) fn largest_call(&self, side: Side) -> usize {
        (self.abilities[side].largest_batch.max(1) as usize).min(self.batch())
    }

    /// Records by id, in batches.
    pub(super) fn get(&self, side: Side, at: &[RecordRef]) -> Result<Vec<Found>, Stop> {
        let mut all = Vec::with_capacity(at.len());
        for chunk in at.chunks(self.batch()) {
            let request = GetRequest {
                principal: self.spec.principals[side].clone(),
                scope: self.spec.scope[side].clone(),
                at: chunk.to_vec(),
                fields: self.fields[side].clone(),
            };
            let found = self.must(side, |remote| remote.get(&request))?;
            if found.len() != chunk.len() {
                return Err(self.contract(side, format!("`get` of {} ids answered {}", chunk.len(), found.len())));
            }
            if found.iter().any(|found| found.record.is_some()) {
                self.answers[side].set(true);
            }
            all.extend(found);
        }
        Ok(all)
    }

    pub(super) fn stop(&self, side: Side, failure: Failure) -> Stop {
        Stop::Remote { side, connection: self.spec.connections[side].clone(), failure }
    }

    pub(super) fn contract(&self, side: Side, text: String) -> Stop {
        Stop::Contract { side, connection: self.spec.connections[side].clone(), text }
    }
}

/// Whether a failed call may simply be made again.
fn passes(failure: &Failure) -> bool {
    failure.certainty == Certainty::NotSent
        && matches!(failure.class, Class::Transient | Class::Throttled | Class::Crashed | Class::Deadline)
}

/// Whether an answer of `get` says that the record is gone for certain.
pub(super) fn is_gone(found: &Found) -> bool {
    found.record.is_none() && found.absent == Absent::Gone
}
