//! Why a plugin cannot be used. Each message names the plugin or file, what was found and expected, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use pairwise_plugin_api::Failure;
use pairwise_plugin_api::compat::Incompatible;
use pairwise_plugin_api::manifest::ManifestError;
use semver::{Version, VersionReq};

/// A plugin by its id and version, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginName {
    /// Id of the manifest.
    pub id: String,
    /// Version of the manifest.
    pub version: Version,
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin `{}` {}", self.id, self.version)
    }
}

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LoadError {
    #[error("no plugin `{id}` is installed{}; looked in {}; `pairwise plugin list` shows what is there",
        nearest.as_ref().map_or(String::new(), |name| format!(", did you mean `{name}`?")), Paths(places))]
    Unknown { id: String, nearest: Option<String>, places: Vec<PathBuf> },

    #[error("plugin `{id}`: no installed version satisfies `{wanted}`; installed: {}", Listed(available))]
    NoVersion { id: String, wanted: VersionReq, available: Vec<Version> },

    #[error("{name} at {} is not locked; check where it comes from, then run `pairwise plugin lock`", file.display())]
    NotLocked { name: Box<PluginName>, file: PathBuf },

    #[error(
        "{name}: {} is not the file that was locked: its SHA-256 is {found}, {} says {locked}; \
         if the file was replaced on purpose, run `pairwise plugin lock`",
        file.display(), lock.display()
    )]
    OtherFile { name: Box<PluginName>, file: PathBuf, lock: PathBuf, found: String, locked: String },

    #[error(
        "{name} is locked in {}, but its file is neither in the cache nor in {}; put it back, or run `pairwise plugin lock`",
        lock.display(), Paths(places)
    )]
    Missing { name: Box<PluginName>, lock: PathBuf, places: Vec<PathBuf> },

    #[error(
        "{name}: {} has no hash for {target}, only for {}; run `pairwise plugin lock` on this machine",
        lock.display(), targets.join(", ")
    )]
    NoArtifact { name: Box<PluginName>, lock: PathBuf, target: String, targets: Vec<String> },

    #[error("{}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },

    #[error("{} is not a Pairwise plugin: {why}", file.display())]
    NotAPlugin { file: PathBuf, why: String },

    #[error("{} is damaged: {why}; install it again", file.display())]
    Damaged { file: PathBuf, why: String },

    #[error("{}: {source}; this is the vendor's mistake", file.display())]
    Manifest { file: PathBuf, source: ManifestError },

    #[error("{name} at {} cannot be used by this host: {source}", file.display())]
    Incompatible { name: Box<PluginName>, file: PathBuf, source: Incompatible },

    #[error("{name} at {} was built for {found}, this host is {}; install the file for this system", file.display(),
        pairwise_plugin_api::compat::TARGET)]
    Target { name: Box<PluginName>, file: PathBuf, found: String },

    #[error("{name} needs Pairwise {wanted} or later, this is {}; upgrade Pairwise or install an older plugin",
        env!("CARGO_PKG_VERSION"))]
    HostTooOld { name: Box<PluginName>, wanted: Version },

    #[error("{}: {why}; restore it, or remove it and run `pairwise plugin lock`", file.display())]
    Lock { file: PathBuf, why: String },

    #[error("cannot keep a copy of {name} in {}: {source}; the folder must be writable and have room", folder.display())]
    Cache { name: Box<PluginName>, folder: PathBuf, source: io::Error },

    #[error("{name} cannot be opened: {why}")]
    Open { name: Box<PluginName>, why: String },

    #[error(
        "{name} does not fit this host: its binary interface differs from that of plugin API {host} ({}); \
         it was built for {plugin}; the vendor has to rebuild it",
        differences.join("; ")
    )]
    Layout { name: Box<PluginName>, plugin: Version, host: Version, differences: Vec<String> },

    #[error(
        "{name} was built with panic = \"abort\" and would end this process at its first panic; \
         set isolation = \"worker\" for its connections"
    )]
    AbortsInProcess { name: Box<PluginName> },

    #[error("{name} did not start: {why}")]
    Start { name: Box<PluginName>, why: String },

    /// What stopped the loading in a worker, which has said it all.
    #[error("{0}")]
    InWorker(String),

    #[error(
        "{name} is set aside since {failures} failures in ten minutes, the last one: {last}; \
         when the cause is gone, run `pairwise plugin lock`"
    )]
    Quarantined { name: Box<PluginName>, failures: usize, last: String },

    #[error("{name} needs `{setting}` to be {expected}")]
    Setting { name: Box<PluginName>, setting: String, expected: String },
}

/// Why a connection cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The plugin cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The plugin runs, but refused the settings or failed.
    #[error("connection `{connection}`: {failure}")]
    Refused {
        /// Which connection.
        connection: String,
        /// What the plugin said.
        failure: Failure,
    },
    /// The settings are not what the plugin's schema asks for.
    #[error("connection `{connection}`: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Settings {
        /// Which connection.
        connection: String,
        /// All of them.
        problems: Vec<super::SettingProblem>,
    },
}

struct Paths<'a>(&'a [PathBuf]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&if shown.is_empty() { "no folder".to_owned() } else { shown.join(", ") })
    }
}

struct Listed<'a>(&'a [Version]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&shown.join(", "))
    }
}
