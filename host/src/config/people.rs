//! The people of a profile: who they are on each side, what they were granted, and what they may set for themselves.

use std::collections::BTreeMap;

use pairwise_plugin_api::Principal;

use super::Connection;
use super::document::{Entry, Node, Tree, dotted, pointer};
use super::preset::{self, Preset};
use super::problem::{Problem, Problems};
use super::profile::User;
use super::raw::{self, DirectoryFrom, Login};
use super::stream::{self, Around};
use crate::model::{LaneSpec, Side, Sides};

/// The people as meant.
pub(super) fn users(raw: &raw::Profile, root: &Node, problems: &mut Problems) -> Vec<User> {
    if raw.directory.from == Some(DirectoryFrom::Profile) && raw.users.is_empty() {
        let mark = root.place("/directory/from");
        problems
            .push(Problem::at(mark, "this profile lists no users", "").help("add a [[users]] table for each person"));
    }
    let mut users: Vec<User> = Vec::new();
    for (index, user) in raw.users.iter().enumerate() {
        let at = pointer(["users", &index.to_string()]);
        let said = Sides { left: user.left.clone(), right: user.right.clone() };
        let Some(name) = said.left.clone().or(said.right.clone()).filter(|name| !name.is_empty()) else {
            problems.push(Problem::at(root.place(&at), "this user is nobody", "expected `left` or `right`, or both"));
            continue;
        };
        for (side, principal) in said.iter() {
            let twice =
                users.iter().any(|user| principal.as_ref().is_some_and(|name| *name == user.principals[side].0));
            if twice {
                let mark = root.at(&format!("{at}/{side}")).map_or(&root.mark, |node| &node.mark);
                let message = format!("this user is listed twice on the {side}");
                problems.push(
                    Problem::at(mark, message, "expected every person once")
                        .help("two pairs on one mailbox would mix two people's records"),
                );
            }
        }
        let secrets = Sides::from_fn(|side| user.secrets.get(side).cloned().unwrap_or_default());
        for (side, secrets) in secrets.iter() {
            if user.active && secrets.is_empty() && raw.directory.login.get(side) == Some(&Login::Own) {
                let problem = Problem::at(root.place(&at), format!("`{name}` has no login for the {side}"), "");
                problems.push(
                    problem.help(format!("add for instance secrets.{side} = {{ password = {{ env = \"…\" }} }}")),
                );
            }
        }
        let principals = Sides::from_fn(|side| Principal(said[side].clone().unwrap_or_default()));
        users.push(User { name, principals, active: user.active, secrets });
    }
    users
}

/// One lane for each active person and each stream, with what the person may set.
pub(super) fn lanes(
    raw: &raw::Profile,
    preset: Option<&Preset>,
    around: &Around<'_>,
    templates: &[LaneSpec],
    users: &[User],
) -> Result<Vec<LaneSpec>, Problems> {
    let mut problems = Problems::default();
    let mut lanes = Vec::new();
    for (index, user) in users.iter().enumerate() {
        let own = Own { raw, preset, root: around.root, at: pointer(["users", &index.to_string(), "streams"]) };
        own.check(templates, &mut problems);
        for template in templates.iter().filter(|_| user.active) {
            let stream = &template.key.stream;
            let mut lane = match own.root_with(stream) {
                Some(root) => match raw_stream(&root, stream) {
                    Ok(raw) => stream::lane(&Around { root: &root, ..*around }, stream, &raw, &mut problems),
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                },
                None => template.clone(),
            };
            lane.key.user.clone_from(&user.name);
            lane.principals = user.principals.clone();
            lanes.push(lane);
        }
    }
    problems.check().map(|()| lanes)
}

fn raw_stream(root: &Node, stream: &str) -> Result<raw::Stream, Problem> {
    let node = root.at(&pointer(["streams", stream])).unwrap_or(root);
    serde_json::from_value(node.to_json())
        .map_err(|error| Problem::at(&node.mark, "this stream cannot be read", error.to_string()))
}

/// What a person sets for streams.
struct Own<'a> {
    raw: &'a raw::Profile,
    preset: Option<&'a Preset>,
    root: &'a Node,
    /// Where it stands.
    at: String,
}

impl Own<'_> {
    /// The profile's tree with the person's own settings of a stream over it; `None` if there are none.
    fn root_with(&self, stream: &str) -> Option<Node> {
        let over = self.root.at(&format!("{}{}", self.at, pointer([stream])))?;
        let base = self.root.at(&pointer(["streams", stream]))?;
        let mut root = self.root.clone();
        let Tree::Table(tables) = &mut root.tree else { return None };
        let streams = tables.get_mut("streams")?;
        let Tree::Table(streams) = &mut streams.node.tree else { return None };
        streams.insert(stream.to_owned(), Entry { key: over.mark.clone(), node: preset::merge(base, over) });
        Some(root)
    }

    /// Whether the person may set what is set here.
    fn check(&self, templates: &[LaneSpec], problems: &mut Problems) {
        let Some(node) = self.root.at(&self.at) else { return };
        let mut path = vec!["streams".to_owned()];
        preset::leaves(node, &mut path, &mut |path, mark| {
            let key = dotted(&pointer(path.iter().map(String::as_str)));
            let locked = self.raw.locked.iter().find(|pattern| preset::touches(pattern, path));
            if let Some(pattern) = locked {
                let problem = Problem::at(mark, format!("`{key}` is locked for everybody"), "take this out");
                problems.push(problem.help(format!("an administrator locked `{pattern}` in this profile")));
            } else if let Some((preset, row)) = self.preset.and_then(|preset| Some((preset, preset.locks(path)?))) {
                let message = format!("preset `{}` does not let `{key}` be set", preset.name);
                problems.push(Problem::at(mark, message, "take this out").also(row, "it is locked here"));
            } else if !self.raw.per_user.iter().any(|pattern| preset::covers(pattern, path)) {
                let problem = Problem::at(mark, format!("`{key}` cannot be set for one person"), "take this out");
                problems.push(match self.raw.per_user.as_slice() {
                    [] => problem.help("this profile lets nothing be set for one person; see `per_user`"),
                    keys => problem.help(format!("what can be: {}", keys.join(", "))),
                });
            }
        });
        let known = |name: &str| templates.iter().any(|template| template.key.stream == name);
        for (name, entry) in node.table().into_iter().flatten().filter(|(name, _)| !known(name)) {
            problems.push(Problem::at(&entry.key, format!("no stream `{name}` runs here"), "take this out"));
        }
    }
}

/// Who lacks a grant: a person, or (`None`) everybody, because a connection lacks it.
pub(super) fn denied(
    raw: &raw::Profile,
    around: &Around<'_>,
    connections: &BTreeMap<String, Connection>,
    users: &[User],
) -> Vec<(Option<String>, Problem)> {
    let mut denied = Vec::new();
    for (side, name) in around.connections.iter() {
        let needed = if side == Side::Left { &raw.grants.left } else { &raw.grants.right };
        let Some(connection) = connections.get(name) else { continue };
        if let Some(grant) = needed.iter().find(|grant| !connection.grants.contains(grant)) {
            let message =
                format!("connection `{name}` lacks the grant `{grant}`, which profile `{}` needs", around.profile);
            let help = format!("an administrator gives it in pairwise.toml: grants = [\"{grant}\"]");
            denied.push((None, connection.problem("", message, "").help(help)));
        }
    }
    let Some(first) = raw.grants.users.first() else { return denied };
    if users.is_empty() || raw.directory.from == Some(DirectoryFrom::None) {
        let message =
            format!("profile `{}` works only for people with the grant `{first}`, and lists none", around.profile);
        let problem = Problem::at(&around.root.mark, message, "");
        denied.push((None, problem.help("add a [[users]] table for each person")));
    }
    for (index, user) in raw.users.iter().enumerate() {
        let Some(name) = user.left.clone().or(user.right.clone()) else { continue };
        if let Some(grant) = raw.grants.users.iter().find(|grant| !user.grants.contains(grant)) {
            let mark = around.root.place(&pointer(["users", &index.to_string()]));
            let problem = Problem::at(mark, format!("`{name}` lacks the grant `{grant}`"), "");
            let help = format!("an administrator gives it: add grants = [\"{grant}\"] to this person");
            denied.push((Some(name), problem.help(help)));
        }
    }
    denied
}
