//! What keeps a lane from beginning before anything is opened: a missing grant, and the mark of a foreign program.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::Selected;
use super::ready::Unready;
use crate::config::{Config, Interlock, InterlockAction, Problem, Profile};
use crate::model::{LaneKey, LaneSpec, LaneState};

/// A mark that does not answer by then is not known.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of the lanes that were asked for may begin.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Profiles with a mark: what is known about it.
    marks: BTreeMap<String, Mark>,
}

#[derive(Debug)]
enum Mark {
    /// The run goes on and says so.
    Warns(String),
    /// The run does not begin.
    Blocks(Unready),
}

impl Gate {
    /// Looks at the marks of all profiles that were asked for.
    pub(super) fn look(config: &Config, selected: &[Selected<'_>]) -> Gate {
        let mark =
            |selected: &Selected<'_>| Some((selected.profile.name.clone(), mark(&config.folder, selected.profile)?));
        Gate { marks: selected.iter().filter_map(mark).collect() }
    }

    /// Whether a lane may begin.
    pub(super) fn admits(&self, profile: &Profile, lane: &LaneKey) -> Result<(), Unready> {
        if let Some(problem) = profile.denied(lane) {
            tracing::warn!(%lane, "denied: {}", problem.message);
            return Err(problem.clone().into());
        }
        match self.marks.get(&profile.name) {
            Some(Mark::Blocks(unready)) => Err(unready.clone()),
            _ => Ok(()),
        }
    }

    /// What a lane's report says about the profile's mark.
    pub(super) fn note(&self, profile: &Profile) -> Option<String> {
        match self.marks.get(&profile.name) {
            Some(Mark::Warns(text)) => Some(text.clone()),
            _ => None,
        }
    }

    /// Those lanes that may begin.
    pub(super) fn admitted<'a>(&self, selected: &[Selected<'a>]) -> Vec<Selected<'a>> {
        let lanes = |selected: &Selected<'a>| -> Vec<&'a LaneSpec> {
            let lanes = selected.lanes.iter().copied();
            lanes.filter(|lane| self.admits(selected.profile, &lane.key).is_ok()).collect()
        };
        let admitted = selected.iter().map(|selected| Selected { profile: selected.profile, lanes: lanes(selected) });
        admitted.filter(|selected| !selected.lanes.is_empty()).collect()
    }
}

fn mark(folder: &Path, profile: &Profile) -> Option<Mark> {
    let Interlock { file, url, action } = &profile.interlock;
    let there = file.as_ref().map(|file| folder.join(file)).filter(|file| file.exists());
    let text = match (there, url) {
        (Some(file), _) => format!("{} is there", file.display()),
        (None, Some(url)) => told(url)?,
        (None, None) => return None,
    };
    let text = format!("profile `{}`: another program is at work ({text})", profile.name);
    Some(match action {
        InterlockAction::Warn => Mark::Warns(format!("{text}; running both at once is not recommended")),
        InterlockAction::Block => {
            let problem = Problem::new(text).help("nothing was read or written; run again once it is done");
            Mark::Blocks(Unready { state: LaneState::Guarded, problems: problem.into() })
        }
    })
}

/// What an address says: `None` if it says that nobody is at work. One that cannot be asked may stand for anything.
fn told(url: &str) -> Option<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
    match agent.get(url).call() {
        Ok(answer) if answer.status().is_success() => Some(format!("{url} says so")),
        Ok(answer) if [404, 410].contains(&answer.status().as_u16()) => None,
        Ok(answer) => Some(format!("{url} answers {}, which tells nothing", answer.status())),
        Err(error) => Some(format!("{url} cannot be asked: {error}")),
    }
}
