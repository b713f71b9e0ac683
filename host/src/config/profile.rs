//! A profile as meant: its preset laid under it, its users and streams checked, its lanes ready to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pairwise_plugin_api::Principal;

use super::document::{Node, pointer};
use super::problem::{Problem, Problems, suggest};
use super::raw::{self, DirectoryFrom, Interlock, Schedule, Secret};
use super::stream::{self, Around};
use super::{Connection, people, preset, schedule, schema};
use crate::model::{Direction, LaneKey, LaneSpec, Side, Sides, nearest};

/// Pairs two connections.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The name of its file, without `.toml`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Whether it runs.
    pub enabled: bool,
    /// The preset it starts from.
    pub preset: Option<String>,
    /// The names of its connections.
    pub connections: Sides<String>,
    /// Its people; empty where the connections work for nobody in particular.
    pub users: Vec<User>,
    /// When streams run, by stream. A stream without an entry runs by command only.
    pub schedules: BTreeMap<String, Schedule>,
    /// A foreign program that must not run at the same time.
    pub interlock: Interlock,
    denied: Vec<(Option<String>, Problem)>,
    lanes: Vec<LaneSpec>,
    root: Node,
}

/// A person on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// How lanes and messages name the pair.
    pub name: String,
    /// Who it is on each side.
    pub principals: Sides<Principal>,
    /// Whether the person takes part.
    pub active: bool,
    /// The person's own secrets, where a side asks for them.
    pub secrets: Sides<BTreeMap<String, Secret>>,
}

impl Profile {
    /// What runs: one lane for each active user (or one for nobody in particular) and each stream that is on.
    #[must_use]
    pub fn lanes(&self) -> &[LaneSpec] {
        &self.lanes
    }

    /// The secrets with which a lane logs in on a side: the user's own, or `None` for the connection's.
    #[must_use]
    pub fn own_secrets(&self, lane: &LaneKey, side: Side) -> Option<&BTreeMap<String, Secret>> {
        let user = self.users.iter().find(|user| user.name == lane.user)?;
        Some(&user.secrets[side]).filter(|secrets| !secrets.is_empty())
    }

    /// The grant that a lane lacks. Without it nothing of the lane is read or written.
    #[must_use]
    pub fn denied(&self, lane: &LaneKey) -> Option<&Problem> {
        let concerns = |user: &Option<String>| user.as_ref().is_none_or(|user| *user == lane.user);
        self.denied.iter().find(|(user, _)| concerns(user)).map(|(_, problem)| problem)
    }

    /// The profile as it is meant: its keys over the preset's.
    #[must_use]
    pub fn merged(&self) -> serde_json::Value {
        self.root.to_json()
    }

    /// A mistake that was found later in one of a person's own secrets.
    #[must_use]
    pub fn secret_problem(&self, user: &str, side: Side, secret: &str, message: impl Into<String>) -> Problem {
        let index = self.users.iter().position(|other| other.name == user).unwrap_or_default().to_string();
        let at = pointer(["users", &index, "secrets", side.name(), secret]);
        Problem::at(self.root.place(&at), message, "")
    }

    /// A mistake that was found later, at the place where `stream` names `word` for a side: a field, an entity, a selector.
    #[must_use]
    pub fn problem(&self, stream: &str, side: Side, word: &str, message: impl Into<String>) -> Problem {
        let at = pointer(["streams", stream]);
        let place = self.root.at(&at).and_then(|node| {
            // First where it cannot be meant for the other side.
            find_word(node, word, side.other().name()).or_else(|| find_word(node, word, ""))
        });
        Problem::at(place.unwrap_or_else(|| self.root.place(&at)), message, "")
    }

    /// Reads a profile's tree.
    pub(super) fn read(
        name: &str,
        file: &Path,
        written: &Node,
        connections: &BTreeMap<String, Connection>,
        guard: &raw::Guard,
    ) -> Result<Profile, Problems> {
        let mut problems = Problems::default();
        problems.extend(schema::PROFILE.check(written, ""));
        let named = written.get("preset").and_then(|node| Some((node.text()?, &node.mark)));
        let preset =
            named.and_then(|(name, mark)| preset::find(name, mark).map_err(|found| problems.extend(found)).ok());
        std::mem::take(&mut problems).check()?;

        let root = match &preset {
            Some(preset) => preset.under(written).map_err(Problems::from)?,
            None => written.clone(),
        };
        let raw: raw::Profile = serde_json::from_value(root.to_json()).map_err(|error| {
            Problems::from(Problem::at(&root.mark, "this profile cannot be read", error.to_string()))
        })?;

        let pair = Sides { left: raw.left.clone(), right: raw.right.clone() };
        for (side, name) in pair.iter() {
            let mark = root.at(&pointer([side.name()])).map_or(&root.mark, |node| &node.mark);
            match connections.get(name) {
                Some(connection) => problems
                    .extend(preset.as_ref().and_then(|preset| preset.refuses_plugin(side, &connection.plugin, mark))),
                None => {
                    let known = connections.keys().map(String::as_str);
                    let problem = Problem::at(mark, format!("there is no connection `{name}`"), suggest(name, known));
                    problems.push(problem.help(format!("connections are made in pairwise.toml: [connections.{name}]")));
                }
            }
        }
        if pair.left == pair.right {
            let mark = root.at("/right").map_or(&root.mark, |node| &node.mark);
            problems.push(Problem::at(
                mark,
                "a connection cannot be paired with itself",
                "expected another connection",
            ));
        }

        let users = people::users(&raw, &root, &mut problems);
        let around = Around { profile: name, root: &root, connections: &pair, guard };
        let mut schedules = BTreeMap::new();
        let mut templates = Vec::new();
        if let Some(all) = &raw.schedule {
            schedule::check(all, &root, &["schedule"], &mut problems);
        }
        let nameless = |stream: &raw::Stream| {
            Side::BOTH.into_iter().all(|side| stream.entities.get(side).is_none_or(|entities| entities.is_empty()))
        };
        for (stream, raw_stream) in &raw.streams {
            let known = raw.streams.iter().filter(|(_, other)| !nameless(other)).map(|(name, _)| name.as_str());
            if nameless(raw_stream)
                && let Some(meant) = nearest(stream, known)
            {
                let at = pointer(["streams", stream]);
                let message = format!("this profile has no stream `{stream}`");
                let problem = Problem::at(root.place(&at), message, format!("did you mean `{meant}`?"));
                let help =
                    "a stream of its own says what takes part on each side: entities = { left = [\"contact\"], … }";
                problems.push(problem.help(help));
                continue;
            }
            if let Some(own) = &raw_stream.schedule {
                schedule::check(own, &root, &["streams", stream, "schedule"], &mut problems);
            }
            schedules.extend(raw_stream.schedule.clone().or(raw.schedule.clone()).map(|when| (stream.clone(), when)));
            let lane = stream::lane(&around, stream, raw_stream, &mut problems);
            if raw_stream.enabled != Some(false) && lane.direction != Direction::None {
                templates.push(lane);
            }
        }
        if raw.streams.is_empty() {
            let problem = Problem::at(&root.mark, "this profile has no streams", "");
            problems
                .push(problem.help("name a preset (`preset = \"mirror\"`), or describe a stream: [streams.contacts]"));
        }
        problems.check()?;

        let lanes = if raw.users.is_empty() || raw.directory.from == Some(DirectoryFrom::None) {
            templates
        } else {
            people::lanes(&raw, preset.as_ref(), &around, &templates, &users)?
        };
        let denied = people::denied(&raw, &around, connections, &users);
        Ok(Profile {
            name: name.into(),
            file: file.into(),
            enabled: raw.enabled,
            preset: raw.preset,
            connections: pair,
            users,
            schedules,
            interlock: raw.interlock,
            denied,
            lanes,
            root,
        })
    }

    /// Where the profile names its left connection.
    #[must_use]
    pub fn mark(&self) -> &super::problem::Mark {
        self.root.at("/left").map_or(&self.root.mark, |node| &node.mark)
    }
}

/// Where a tree first holds a text, or has it as a key; what stands under the key `skipped` is passed over.
fn find_word<'a>(node: &'a Node, word: &str, skipped: &str) -> Option<&'a super::problem::Mark> {
    if node.text() == Some(word) {
        return Some(&node.mark);
    }
    let entries = node.table().into_iter().flatten().filter(|(key, _)| *key != skipped);
    let mut entries =
        entries.map(|(key, entry)| if key == word { Some(&entry.key) } else { find_word(&entry.node, word, skipped) });
    let found = entries.find_map(|found| found);
    found.or_else(|| node.list().into_iter().flatten().find_map(|item| find_word(item, word, skipped)))
}

/// Two profiles that would work on the same records: same connections in either order, same people, a kind of record in
/// common.
pub(super) fn overlaps(a: &Profile, b: &Profile) -> Option<Problem> {
    let straight = a.connections == b.connections;
    let crossed = a.connections.left == b.connections.right && a.connections.right == b.connections.left;
    if !(straight || crossed) {
        return None;
    }
    let clash = a.lanes.iter().find_map(|mine| {
        let other = b.lanes.iter().find(|theirs| {
            Side::BOTH.into_iter().all(|side| {
                let there = if straight { side } else { side.other() };
                mine.principals[side] == theirs.principals[there]
                    && mine.scope[side] == theirs.scope[there]
                    && mine.entities[side].iter().any(|entity| theirs.entities[there].contains(entity))
            })
        })?;
        Some((mine, other))
    })?;
    let message = format!("profiles `{}` and `{}` work on the same records", a.name, b.name);
    let label = format!("`{}` pairs the same connections", clash.1.key);
    let problem = Problem::at(b.mark(), message, label).also(a.mark(), format!("`{}` pairs them here", clash.0.key));
    Some(problem.help("give them different streams, users or scopes, or disable one: `pairwise profile disable`"))
}
