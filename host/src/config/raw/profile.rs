//! `profiles/*.toml`, without its streams.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PerSide, Schedule, Secret, Stream};

/// `profiles/NAME.toml`: pairs two connections.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the profile starts from; its own keys replace the preset's.
    #[serde(default)]
    pub preset: Option<String>,
    /// One connection.
    #[schemars(length(min = 1))]
    pub left: String,
    /// The other one.
    #[schemars(length(min = 1))]
    pub right: String,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When streams run that have no schedule of their own.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Where the list of people comes from.
    #[serde(default)]
    pub directory: Directory,
    /// Grants without which nobody works here.
    #[serde(default)]
    pub grants: Grants,
    /// Keys that a person's own settings may not set, whatever `per_user` says; `*` stands for one step.
    #[serde(default)]
    pub locked: Vec<String>,
    /// Keys that a person's own settings under `[[users]]` may set, for instance `streams.contacts.scope.left.group`.
    #[serde(default)]
    pub per_user: Vec<String>,
    /// A foreign program that must not run at the same time.
    #[serde(default)]
    pub interlock: Interlock,
    /// People, where the connections work for people.
    #[serde(default)]
    pub users: Vec<User>,
    /// What is kept in step, by name: `contacts`, `calendar`.
    #[serde(default)]
    pub streams: BTreeMap<String, Stream>,
}

/// Grants without which nobody works here. An administrator gives them, in `[[users]]` or in the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Each person needs these.
    pub users: Vec<String>,
    /// The left connection needs these.
    pub left: Vec<String>,
    /// The right connection needs these.
    pub right: Vec<String>,
}

/// A foreign program that must not run at the same time, by the mark that it leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Interlock {
    /// The mark is that this file is there. Relative to the configuration folder.
    #[schemars(length(min = 1))]
    pub file: Option<String>,
    /// The mark is that this address answers with success.
    #[schemars(length(min = 1))]
    pub url: Option<String>,
    /// What follows; `warn` unless said otherwise.
    pub action: InterlockAction,
}

/// What follows from the mark of a foreign program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterlockAction {
    /// The run goes on and says so.
    #[default]
    Warn,
    /// The run does not begin.
    Block,
}

fn yes() -> bool {
    true
}

/// Where the list of people comes from.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// `profile`: from `[[users]]`. `none`: one lane for each stream. Unless said otherwise: `profile` if there are users.
    pub from: Option<DirectoryFrom>,
    /// Which logins are used.
    pub login: PerSide<Login>,
}

/// Where the list of people comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryFrom {
    /// From `[[users]]`.
    Profile,
    /// There is none.
    None,
}

/// Whose login a side uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The connection's, for everybody.
    #[default]
    Shared,
    /// Each person's own.
    Own,
}

/// A person on both sides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Who it is on the left.
    #[serde(default)]
    pub left: Option<String>,
    /// Who it is on the right.
    #[serde(default)]
    pub right: Option<String>,
    /// Whether this person takes part.
    #[serde(default = "yes")]
    pub active: bool,
    /// What this person was granted.
    #[serde(default)]
    pub grants: Vec<String>,
    /// This person's own settings of streams, as far as `per_user` lets them be set.
    #[serde(default)]
    pub streams: BTreeMap<String, Stream>,
    /// Where this person's own secrets are.
    #[serde(default)]
    pub secrets: PerSide<BTreeMap<String, Secret>>,
}
