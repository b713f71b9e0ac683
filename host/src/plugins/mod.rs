//! Plugins: finding, locking, opening and running them. The only part of the host that knows libraries and processes.
//!
//! From a name in the configuration to a connector that answers:
//!
//! ```text
//! Plugins::open(installation)      look at files; no code of theirs runs        find, lock
//! Plugins::resolve(id, version)    the locked file, or why not                   registry
//! check_settings(manifest, …)      the settings against the plugin's schema
//! SessionSpec::new(…)              connection, plugin, settings, folders
//! Session::open(spec)              a copy in the cache, a worker, a connector    cache, process, worker, load
//! session.list(…), write(…), …     `model::Remote`                               frames, session
//! ```
//!
//! The binary has one duty: when its first argument is [`worker::ARGUMENT`], it returns [`worker::main()`] before it does
//! anything else.
//!
//! What must stay true: a file is opened only from the cache, under its hash; nothing of a plugin runs in this process unless its
//! connection says `in-process`; an outcome that nobody knows is never reported as known.

mod ahead;
mod cache;
mod callbacks;
mod error;
mod find;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod health;
mod inside;
mod instance;
mod load;
mod lock;
mod logs;
mod process;
mod registry;
mod remote;
mod sandbox;
#[cfg(target_os = "linux")]
mod sandbox_linux;
mod session;
pub mod worker;

use std::fmt;
use std::time::Duration;

use pairwise_plugin_api::manifest::Manifest;
use pairwise_plugin_api::{Class, Failure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use error::{LoadError, OpenError, PluginName};
pub use logs::TARGET as LOG_TARGET;
pub use registry::{Installation, LockChange, LockState, Plugin, PluginStatus, Plugins};
pub use sandbox::{Landlock, Sandbox, Status as SandboxStatus};
pub use session::{Interrupted, KeepSecrets, Session, SessionSpec, probe};

/// Where a connector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In a process of its own.
    #[default]
    Worker,
    /// In the host: for trusted bundles and tests. Its crash is the host's, and its deadlines cannot be enforced.
    InProcess,
}

/// How much a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Open files.
    pub files: u64,
    /// Bytes of one message, in either direction.
    pub largest_message: u64,
    /// How much of the sandbox there must be.
    pub sandbox: Sandbox,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 512 << 20, files: 1024, largest_message: 64 << 20, sandbox: Sandbox::BestEffort }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the start of a worker until its connector is there.
    pub startup: Duration,
    /// Without progress; then a call is asked to stop.
    pub soft: Duration,
    /// In all; then its worker is ended.
    pub hard: Duration,
    /// Between asking a worker to go and making it go.
    pub grace: Duration,
    /// Silence after which it is asked for a sign of life; three without one, and it is ended.
    pub heartbeat: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            startup: Duration::from_secs(10),
            soft: Duration::from_secs(60),
            hard: Duration::from_secs(600),
            grace: Duration::from_secs(2),
            heartbeat: Duration::from_secs(5),
        }
    }
}

/// A setting that is not what the plugin's schema asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// Path within the settings, parts separated by `.`; empty for the whole.
    pub setting: String,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.setting.is_empty() {
            write!(f, "settings: {}", self.text)
        } else {
            write!(f, "settings.{}: {}", self.setting, self.text)
        }
    }
}

/// Compares settings with the schema of a plugin; runs none of its code. A plugin without a usable schema says itself what it
/// does not like, when it is started.
#[must_use]
pub fn check_settings(manifest: &Manifest, settings: &Value) -> Vec<SettingProblem> {
    let Ok(schema) = jsonschema::validator_for(&manifest.config_schema) else { return Vec::new() };
    let problems = schema.iter_errors(settings).map(|error| SettingProblem {
        setting: error.instance_path().to_string().trim_start_matches('/').replace('/', "."),
        text: error.to_string(),
    });
    problems.collect()
}

/// What a call's failure is, once its soft deadline is over: a connector that stopped because it was asked to did not get on.
fn overdue(failure: Failure, soft: Duration) -> Failure {
    if failure.class != Class::Cancelled {
        return failure;
    }
    let text = format!("no progress for {soft:?}, and so the call was stopped: {}", failure.text);
    Failure { class: Class::Deadline, text, ..failure }
}
