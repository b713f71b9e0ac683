//! Faults that are asked for in advance.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Which requests a fault is for. What is absent matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// `GET`, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the path with its query, percent signs resolved, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the system calls it, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Whose login comes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What goes wrong with the next requests that match.
///
/// With neither status nor dropped connection it only takes longer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Which requests.
    #[serde(rename = "match")]
    pub matching: Match,
    /// Of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The system's own error code (`ErrorServerBusy`, `syncStateNotFound`, `ApplicationDiagnosis`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The text that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Seconds, said as the system says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// How long the request waits before anything happens.
    pub delay_ms: u64,
    /// Instead of an answer the connection ends.
    pub drop_connection: bool,
    /// The work is done first, and the answer lost.
    pub after_effect: bool,
    /// How many matching requests pass before.
    pub skip: u32,
    /// How many requests fail so; absent = 1, 0 = all from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The share of the matching requests that it strikes, from the sandbox's seed; absent = all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
}

impl Fault {
    /// Whether the request fails, and does not only take longer.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.status.is_some() || self.code.is_some() || self.drop_connection
    }
}

/// A request, as faults look at it.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "named as in `Match`")]
pub struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub operation: Option<&'a str>,
    pub user: Option<&'a str>,
}

/// The faults of one system that have not happened yet.
#[derive(Debug)]
pub struct Faults {
    waiting: Mutex<(Vec<Fault>, Rng)>,
}

impl Faults {
    /// None; chances are drawn from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Faults { waiting: Mutex::new((Vec::new(), Rng::with_seed(seed))) }
    }

    fn waiting(&self) -> MutexGuard<'_, (Vec<Fault>, Rng)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more. Of several that match a request the oldest strikes.
    pub fn add(&self, fault: Fault) {
        self.waiting().0.push(fault);
    }

    /// Chances are drawn from this seed from now on: equal sandboxes meet different luck.
    pub fn reseed(&self, seed: u64) {
        self.waiting().1 = Rng::with_seed(seed);
    }

    /// No more faults.
    pub fn clear(&self) {
        self.waiting().0.clear();
    }

    /// Those that are still to come.
    #[must_use]
    pub fn pending(&self) -> Vec<Fault> {
        self.waiting().0.clone()
    }

    /// The fault that strikes this request, if any; it counts as happened.
    pub fn take(&self, asked: Asked<'_>) -> Option<Fault> {
        let (waiting, rng) = &mut *self.waiting();
        for index in 0..waiting.len() {
            let fault = &mut waiting[index];
            if !fault.matching.fits(asked) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.chance.is_some_and(|chance| rng.f64() >= chance) {
                continue;
            }
            let struck = fault.clone();
            match fault.times.unwrap_or(1) {
                0 => {}
                1 => drop(waiting.remove(index)),
                more => fault.times = Some(more - 1),
            }
            return Some(struck);
        }
        None
    }
}

impl Match {
    fn fits(&self, asked: Asked<'_>) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is.is_some_and(|is| is.eq_ignore_ascii_case(wanted)))
        };
        let within = |part: &String| asked.path.to_lowercase().contains(&part.to_lowercase());
        same(&self.method, Some(asked.method))
            && same(&self.operation, asked.operation)
            && same(&self.user, asked.user)
            && self.path.as_ref().is_none_or(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Asked<'_> {
        Asked { method: "GET", path, ..Asked::default() }
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_says() {
        let faults = Faults::new(1);
        let matching = Match { method: Some("get".into()), path: Some("/Contacts".into()), ..Match::default() };
        faults.add(Fault { matching, status: Some(503), skip: 1, times: Some(2), ..Fault::default() });
        let struck =
            ["/x", "/contacts", "/contacts?a", "/CONTACTS", "/contacts"].map(|path| faults.take(get(path)).is_some());
        assert_eq!(struck, [false, false, true, true, false]);
        assert!(faults.pending().is_empty());
    }

    #[test]
    fn chances_come_from_the_seed() {
        let strikes = |seed| {
            let faults = Faults::new(seed);
            faults.add(Fault { status: Some(500), times: Some(0), chance: Some(0.1), ..Fault::default() });
            (0..1_000).map(|_| faults.take(get("/")).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        let count = strikes(7).into_iter().filter(|struck| *struck).count();
        assert!((60..140).contains(&count), "{count} of 1000");
    }
}
