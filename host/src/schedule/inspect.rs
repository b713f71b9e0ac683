//! Looks at lanes and connections without running anything: they are opened, logged in and asked whether work could start.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::{CheckRequest, Description, DiscoverRequest};
use pairwise_plugin_api::{Condition, Failure, Level, Principal, Severity};

use super::interlock::Gate;
use super::ready::{self, Unready};
use super::scratch::Scratch;
use super::{Selected, runner};
use crate::config::{Config, Problem};
use crate::model::{LaneKey, LaneSpec, Remote, Side, Sides};
use crate::pipeline::filter::Filters;
use crate::pipeline::resolve::References;
use crate::pipeline::translate::FieldMap;
use crate::plugins::{self, OpenError, Plugin, PluginName, Plugins, SandboxStatus, Session, SessionSpec};

/// What was found out about a lane.
#[derive(Debug)]
pub struct Inspected {
    /// Which.
    pub key: LaneKey,
    /// Why it could not run now.
    pub unready: Option<Unready>,
    /// What each side said.
    pub conditions: Sides<Vec<Condition>>,
    /// How fields travel, if both sides could be asked.
    pub map: Option<FieldMap>,
}

/// What was found out about a connection.
#[derive(Debug)]
pub struct Visited {
    /// Its plugin.
    pub plugin: PluginName,
    /// What it can do and where it leads.
    pub description: Description,
    /// What it said.
    pub conditions: Vec<Condition>,
    /// What its worker is kept from; `None` without a worker.
    pub sandbox: Option<SandboxStatus>,
}

/// Looks at lanes.
#[must_use]
pub fn inspect(config: &Config, plugins: &Plugins, selected: &[Selected<'_>]) -> Vec<Inspected> {
    let scratch = Scratch::new(config);
    // A profile may be looked at while another program is at work: only grants count here.
    let gate = Gate::default();
    let admitted = gate.admitted(selected);
    let sessions = ready::open(config, scratch.path(), ready::check(config, plugins, &admitted), None);
    let refused = runner::refused(config, plugins, &admitted, &sessions, scratch.path());
    let lanes = selected.iter().flat_map(|selected| selected.lanes.iter().map(move |lane| (selected, *lane)));
    let look = |(selected, lane): (&Selected<'_>, &LaneSpec)| {
        let mut found = Inspected { key: lane.key.clone(), unready: None, conditions: Sides::default(), map: None };
        let admitted = gate.admits(selected.profile, &lane.key);
        match admitted.and_then(|()| runner::pair(lane, &selected.profile.name, &sessions, &refused)) {
            Ok(pair) => found.look(config, selected, lane, pair),
            Err(unready) => found.unready = Some(unready),
        }
        found
    };
    lanes.map(look).collect()
}

impl Inspected {
    fn look(&mut self, config: &Config, selected: &Selected<'_>, lane: &LaneSpec, pair: Sides<&Session>) {
        let mut catalogues = Sides::default();
        for side in Side::BOTH {
            let principal = lane.principals[side].clone();
            let request = CheckRequest {
                principal: principal.clone(),
                scope: lane.scope[side].clone(),
                entities: lane.entities[side].clone(),
                write: lane.writes_to(side),
            };
            let asked = pair[side].check(&request).and_then(|conditions| {
                self.conditions[side] = conditions;
                pair[side].discover(&DiscoverRequest { principal, ..DiscoverRequest::default() })
            });
            match asked {
                Ok(catalogue) => catalogues[side] = catalogue,
                Err(failure) => {
                    self.unready = Some(unable(config, &lane.connections[side], &failure));
                    return;
                }
            }
            if let Some(condition) = self.conditions[side].iter().find(|condition| lane.is_blocked_by(condition)) {
                let problem =
                    Problem::new(format!("connection `{}` ({side}): {}", lane.connections[side], condition.text));
                self.unready = Some(problem.into());
            }
        }
        let map = FieldMap::compile(&lane.map, lane.direction, &lane.entities, &catalogues);
        let filters = Filters::compile(&lane.admit, &lane.follow, &lane.entities, &catalogues);
        let map = map.and_then(|map| filters.map(|_| map));
        match map.and_then(|map| References::compile(lane, &map, &catalogues).map(|_| map)) {
            Ok(map) => self.map = Some(map),
            Err(problem) => {
                let (side, word) = problem.culprit();
                let message = format!("`{}` does not fit its connections: {problem}", lane.key);
                self.unready = Some(selected.profile.problem(&lane.key.stream, side, word, message).into());
            }
        }
    }
}

/// Whether a plugin loads here, and what it is kept from.
///
/// # Errors
/// Why it does not load.
pub fn probe(config: &Config, plugin: &Plugin) -> Result<SandboxStatus, OpenError> {
    let scratch = Scratch::new(config);
    let nothing = serde_json::Value::Object(serde_json::Map::new());
    plugins::probe(SessionSpec::new("probe", plugin.clone(), nothing, &*config.folder, scratch.path()))
}

/// Looks at one connection.
///
/// # Errors
/// Why it cannot be worked with.
pub fn visit(config: &Config, plugins: &Plugins, name: &str) -> Result<Visited, Unready> {
    let scratch = Scratch::new(config);
    let checked = ready::check_one(config, plugins, name)?;
    let opened = checked.open(config, scratch.path(), None)?;
    let look = |principal: &Principal| {
        let session = opened.of(principal)?;
        let request = CheckRequest { principal: principal.clone(), ..CheckRequest::default() };
        let conditions = session.check(&request).map_err(|failure| unable(config, name, &failure))?;
        if let Some(condition) = conditions.iter().find(|condition| blocks(condition)) {
            return Err(Problem::new(format!("connection `{name}`: {}", condition.text)).into());
        }
        Ok(Visited {
            plugin: session.spec().plugin.name(),
            description: session.description().clone(),
            conditions,
            sandbox: session.sandbox(),
        })
    };
    let mut found: Option<Result<Visited, Unready>> = None;
    for principal in checked.principals() {
        found = Some(match (found, look(principal)) {
            (None, found) => found,
            (Some(Ok(before)), Ok(mut visited)) => {
                visited.conditions.extend(before.conditions);
                Ok(visited)
            }
            (Some(Err(mut before)), Err(more)) => {
                before.problems.extend(more.problems.iter().cloned());
                Err(before)
            }
            (Some(Err(unready)), Ok(_)) | (Some(Ok(_)), Err(unready)) => Err(unready),
        });
    }
    found.unwrap_or_else(|| Err(Problem::new(format!("connection `{name}` has no login")).into()))
}

/// Whether a condition keeps work from starting.
pub(super) fn blocks(condition: &Condition) -> bool {
    condition.severity == Severity::Error && matches!(condition.level, Level::Profile | Level::Stream | Level::User)
}

/// A call that failed says what is wrong in the words of the connection's file where that is what must change.
pub(super) fn unable(config: &Config, connection: &str, failure: &Failure) -> Unready {
    match config.connection(connection) {
        Ok(connection) => ready::failed(connection, failure),
        Err(problem) => problem.into(),
    }
}

/// Connections that are used by no profile or by several, by name, with the profiles that use them.
#[must_use]
pub fn uses(config: &Config) -> BTreeMap<&str, Vec<&str>> {
    let mut uses: BTreeMap<&str, Vec<&str>> =
        config.connections.keys().map(|name| (name.as_str(), Vec::new())).collect();
    for profile in &config.profiles {
        for side in Side::BOTH {
            uses.entry(&profile.connections[side]).or_default().push(&profile.name);
        }
    }
    uses
}
