//! What this process has written itself, so that a feed that tells it again need not be read again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many records are remembered at most; the oldest knowledge goes at once, and its records are read again.
const MOST: usize = 200_000;

/// The states in which writes have left records. Only fingerprints are kept.
#[derive(Debug, Default)]
pub struct OwnWrites(Mutex<HashMap<u64, u64>>);

impl OwnWrites {
    /// A write has left the record `id` of `place` (a mailbox, a login, a feed) in this state.
    pub fn note(&self, place: &str, id: &str, state: &str) {
        let mut known = self.known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(print(&(place, id)), print(&state));
    }

    /// Whether a write has left the record in just this state.
    #[must_use]
    pub fn left(&self, place: &str, id: &str, state: &str) -> bool {
        self.known().get(&print(&(place, id))) == Some(&print(&state))
    }

    /// Whether a write has left the record in any state.
    #[must_use]
    pub fn knows(&self, place: &str, id: &str) -> bool {
        self.known().contains_key(&print(&(place, id)))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn print(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_that_a_write_left_is_ours() {
        let own = OwnWrites::default();
        own.note("lee", "1", "a");
        assert!(own.left("lee", "1", "a"));
        assert!(!own.left("lee", "1", "b") && !own.left("kim", "1", "a") && !own.left("lee", "2", "a"));
        own.note("lee", "1", "b");
        assert!(own.left("lee", "1", "b") && !own.left("lee", "1", "a"));
    }
}
