//! `pairwise.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Guard, only_true};

/// `pairwise.toml`: the host and its connections.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Where the state database lives. Relative to the configuration folder.
    #[schemars(default = "default_state_dir")]
    pub state_dir: Option<String>,
    /// Where plugins are looked for first. Relative to the configuration folder.
    #[schemars(default = "default_plugin_dir")]
    pub plugin_dir: Option<String>,
    /// Access to one system each, by name.
    pub connections: BTreeMap<String, Connection>,
    /// What is kept of the past.
    pub history: History,
    /// Limits that stop a run from doing harm, where a stream says nothing.
    pub guard: Guard,
    /// Who may change what.
    pub access: Access,
}

pub(in crate::config) fn default_state_dir() -> String {
    "state".into()
}
pub(in crate::config) fn default_plugin_dir() -> String {
    "plugins".into()
}

/// Who may change what. Everybody who can read this folder may run and look.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Users of the operating system who may change connections, profiles, plugins and logins. Without a list: the owner of
    /// the configuration folder.
    pub admins: Option<Vec<String>>,
}

/// What is kept of the past.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// How long values that lost are kept, for instance `90 days` (the default).
    pub keep: Option<String>,
}

/// Access to one system.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The plugin's id, for instance `vdir`.
    #[schemars(length(min = 1))]
    pub plugin: String,
    /// Which versions of the plugin may be used, for instance `^1.0`. Any, unless said otherwise.
    #[serde(default)]
    pub version: Option<String>,
    /// What the plugin wants to know. Its own schema says which keys there are.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Where its secrets are, by name. Never the secrets themselves.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// What this connection was granted.
    #[serde(default)]
    pub grants: Vec<String>,
    /// Whether the plugin runs in a process of its own.
    #[serde(default)]
    pub isolation: Isolation,
    /// What the plugin's process may use.
    #[serde(default)]
    pub limits: Limits,
}

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In a process of its own, within limits.
    #[default]
    Worker,
    /// In the host's process: for plugins that are trusted like the host itself.
    InProcess,
}

/// What a plugin's process may use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory for data, for instance `512 MiB` (the default).
    pub memory: Option<String>,
    /// Open files, 256 unless said otherwise.
    #[schemars(range(min = 16))]
    pub open_files: Option<u64>,
    /// How long a call may go on without progress, `60 s` unless said otherwise.
    pub soft_deadline: Option<String>,
    /// How long a call may take at all, `10 minutes` unless said otherwise.
    pub hard_deadline: Option<String>,
    /// How long starting may take, `10 s` unless said otherwise.
    pub start_deadline: Option<String>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In an environment variable.
    Env(#[schemars(length(min = 1))] String),
    /// In a file, without its last line end. Relative to the configuration folder.
    File(#[schemars(length(min = 1))] String),
    /// In what a command prints, without its last line end.
    Command(#[schemars(length(min = 1))] Vec<String>),
    /// In the host's own files.
    Kept(#[schemars(schema_with = "only_true")] bool),
}
