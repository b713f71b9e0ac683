//! Exit codes: what a script learns from a run without reading its output.

use std::process::ExitCode;

use crate::model::{LaneReport, LaneState};

/// How a command ended. Where several hold, the one that stands last here is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Exit {
    /// All is done.
    #[default]
    Done,
    /// Done, but something was set aside or waits: for a person, or for another run that is active.
    Waiting,
    /// A guard stopped the run before it wrote anything.
    Guarded,
    /// A system could not be reached or refused the login.
    Unreachable,
    /// Wrong arguments or configuration.
    Usage,
    /// Stopped by Ctrl-C.
    Interrupted,
    /// An error of the host itself.
    Internal,
}

impl Exit {
    /// The number that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Waiting => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Guarded => 4,
            Exit::Internal => 5,
            Exit::Interrupted => 130,
        }
    }

    /// What one lane's report amounts to.
    pub(crate) fn of_lane(report: &LaneReport) -> Exit {
        match report.state {
            LaneState::Done if report.conflicts + report.quarantined + report.held == 0 => Exit::Done,
            LaneState::Done | LaneState::Partial | LaneState::Busy => Exit::Waiting,
            LaneState::Guarded => Exit::Guarded,
            LaneState::Unreachable => Exit::Unreachable,
            LaneState::Misconfigured => Exit::Usage,
            LaneState::Cancelled => Exit::Interrupted,
            LaneState::Failed => Exit::Internal,
        }
    }

    /// What several lanes amount to. That a guard stopped everything before writing is only told if nothing was written.
    pub(crate) fn of_lanes(reports: &[LaneReport]) -> Exit {
        let worst = reports.iter().map(Exit::of_lane).max().unwrap_or_default();
        let written = reports.iter().any(|report| report.left.written() + report.right.written() > 0);
        if worst == Exit::Guarded && written { Exit::Waiting } else { worst }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LaneKey;

    fn report(state: LaneState, created: u64) -> LaneReport {
        let mut report = LaneReport::new(LaneKey { profile: "p".into(), user: String::new(), stream: "s".into() });
        report.state = state;
        report.right.created = created;
        report
    }

    #[test]
    fn five_comes_before_two_three_four_and_one() {
        let mut states = vec![LaneState::Done];
        for (state, code) in [
            (LaneState::Partial, 1),
            (LaneState::Busy, 1),
            (LaneState::Guarded, 4),
            (LaneState::Unreachable, 3),
            (LaneState::Misconfigured, 2),
            (LaneState::Failed, 5),
        ] {
            states.push(state);
            let reports: Vec<_> = states.iter().map(|state| report(*state, 0)).collect();
            assert_eq!(Exit::of_lanes(&reports).code(), code, "{states:?}");
        }
    }

    #[test]
    fn a_guard_is_only_told_where_nothing_was_written() {
        assert_eq!(Exit::of_lanes(&[report(LaneState::Guarded, 0), report(LaneState::Done, 0)]).code(), 4);
        assert_eq!(Exit::of_lanes(&[report(LaneState::Guarded, 0), report(LaneState::Done, 3)]).code(), 1);
    }

    #[test]
    fn what_waits_is_told_even_of_a_lane_that_calls_itself_done() {
        let mut quiet = report(LaneState::Done, 0);
        assert_eq!(Exit::of_lane(&quiet), Exit::Done);
        quiet.held = 1;
        assert_eq!(Exit::of_lane(&quiet), Exit::Waiting);
    }
}
