//! Calls to a side: passing failures are tried again with the server's own back-off, and answers must fit their questions.

use pairwise_plugin_api::ops::GetRequest;
use pairwise_plugin_api::{Absent, Certainty, Class, Failure, Found, RecordRef};

use super::{Lane, Stop};
use crate::model::{Remote, Side};

/// How often a call that certainly had no effect is tried.
const TRIES: u32 = 4;
/// The first pause between two tries; it doubles.
const FIRST_PAUSE_MS: u64 = 250;
/// The longest pause that a server may ask for within a run.
const LONGEST_PAUSE_MS: u64 = 60_000;

impl Lane<'_> {
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
                    self.chance.pause(failure.retry_after_ms.unwrap_or(pause).min(LONGEST_PAUSE_MS));
                    pause *= 2;
                }
                answer => return answer,
            }
        }
        call(self.remotes[side])
    }

    /// The same, where a failure ends the lane's run.
    pub(super) fn must<T>(&self, side: Side, call: impl FnMut(&dyn Remote) -> Result<T, Failure>) -> Result<T, Stop> {
        self.call(side, call).map_err(|failure| self.stop(side, failure))
    }

    /// Records by id, in batches.
    pub(super) fn get(&self, side: Side, at: &[RecordRef]) -> Result<Vec<Found>, Stop> {
        let mut all = Vec::with_capacity(at.len());
        for chunk in at.chunks(self.batch()) {
            let request = GetRequest {
                principal: self.spec.principals[side].clone(),
                scope: self.spec.scope[side].clone(),
                at: chunk.to_vec(),
                fields: Vec::new(),
            };
            let found = self.must(side, |remote| remote.get(&request))?;
            if found.len() != chunk.len() {
                return Err(self.contract(side, format!("`get` of {} ids answered {}", chunk.len(), found.len())));
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
