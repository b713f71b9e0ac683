//! The journal of requests: what a test reads to see who asked for what, and that nothing was written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Bytes of bodies that are kept; beyond that the oldest entries are forgotten.
const KEPT: usize = 64 << 20;

/// One request and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up from 1 in each system.
    pub number: u64,
    /// When it arrived, by the sandbox's clock.
    pub time: i64,
    /// Of HTTP.
    pub method: String,
    /// With the query.
    pub path: String,
    /// What the system calls it: a SOAP action, a resource.
    pub operation: Option<String>,
    /// Whose login came with it.
    pub user: Option<String>,
    /// Without those that carry a login.
    pub headers: BTreeMap<String, String>,
    /// As text.
    pub body: String,
    /// Of the answer; absent while it is not there, and where the connection was dropped.
    pub status: Option<u16>,
    /// Whether a fault was applied.
    pub fault: bool,
    /// A part of a batch: the request that carried it has this number.
    pub part_of: Option<u64>,
    /// Requests of the same user that were under way, this one included.
    pub in_flight: u32,
}

/// The number of a request in the journal: among the extensions of the request that a simulator gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub u64);

/// All requests to one system.
#[derive(Debug, Default)]
pub struct Journal {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    last: u64,
    bytes: usize,
    in_flight: BTreeMap<Option<String>, u32>,
}

impl Journal {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has arrived; the answer is its number.
    pub fn begin(&self, entry: Entry) -> u64 {
        let mut kept = self.kept();
        let under_way = kept.in_flight.entry(entry.user.clone()).or_default();
        *under_way += 1;
        let in_flight = *under_way;
        kept.add(Entry { in_flight, ..entry })
    }

    /// It was answered, or dropped.
    pub fn end(&self, number: u64, status: Option<u16>, fault: bool) {
        let mut kept = self.kept();
        let first = kept.entries.front().map_or(0, |entry| entry.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let Some(entry) = place.and_then(|place| kept.entries.get_mut(place)) else { return };
        (entry.status, entry.fault) = (status, fault);
        let user = entry.user.clone();
        if let Some(under_way) = kept.in_flight.get_mut(&user) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// A part of a batch, with what became of it.
    pub fn part(&self, entry: Entry) {
        self.kept().add(entry);
    }

    /// The entries after this number, oldest first.
    #[must_use]
    pub fn since(&self, number: u64) -> Vec<Entry> {
        self.kept().entries.iter().filter(|entry| entry.number > number).cloned().collect()
    }

    /// The number of the newest entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.kept().last
    }

    /// The requests of this user that are under way.
    #[must_use]
    pub fn in_flight(&self, user: Option<&str>) -> u32 {
        self.kept().in_flight.get(&user.map(str::to_owned)).copied().unwrap_or_default()
    }
}

impl Kept {
    fn add(&mut self, entry: Entry) -> u64 {
        self.last += 1;
        self.bytes += entry.body.len() + entry.path.len();
        self.entries.push_back(Entry { number: self.last, ..entry });
        while self.bytes > KEPT {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.body.len() + oldest.path.len();
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_numbered_and_counted_while_they_run() {
        let journal = Journal::default();
        let lee = |path: &str| Entry { user: Some("lee".into()), path: path.into(), ..Entry::default() };
        let first = journal.begin(lee("/a"));
        let second = journal.begin(lee("/b"));
        assert_eq!((first, second, journal.in_flight(Some("lee"))), (1, 2, 2));
        journal.end(first, Some(200), false);
        journal.end(second, None, true);
        assert_eq!(journal.in_flight(Some("lee")), 0);
        let seen: Vec<_> =
            journal.since(1).into_iter().map(|entry| (entry.path, entry.status, entry.in_flight)).collect();
        assert_eq!(seen, [("/b".to_owned(), None, 2)]);
    }
}
