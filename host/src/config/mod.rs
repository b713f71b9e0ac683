//! Configuration: read as written (`document`, `raw`), checked at its places (`check`, `problem`), layered (`preset`), and
//! turned into what is meant (`profile`, `stream`).
//!
//! One folder holds it all: `pairwise.toml` for the host and its connections, `profiles/*.toml` with one profile each.

pub mod check;
pub mod document;
pub mod edit;
pub mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod kept;
pub mod preset;
pub mod problem;
pub mod raw;
pub mod schema;
pub mod secret;
pub mod units;

mod connection;
mod people;
mod profile;
mod schedule;
mod stream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use connection::{Connection, Limits};
pub use find::{HOST_FILE, NotFound};
pub use problem::{Problem, Problems};
pub use profile::{Profile, User};
pub use raw::{Interlock, InterlockAction, Isolation, Schedule, Secret};
pub use secret::{SecretError, Vault};

use crate::model::nearest;
use document::Node;

/// How long values that lost are kept.
const KEEP_HISTORY: &str = "90 days";

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The configuration folder; relative paths start there.
    pub folder: PathBuf,
    /// Where state lives.
    pub state_dir: PathBuf,
    /// Where plugins are looked for first.
    pub plugin_dir: PathBuf,
    /// How long values that lost are kept.
    pub keep_history: Duration,
    /// Access to one system each, by name.
    pub connections: BTreeMap<String, Connection>,
    /// All profiles, in the order of their names.
    pub profiles: Vec<Profile>,
    /// Users of the operating system who may change things; `None`: the owner of the folder.
    pub admins: Option<Vec<String>>,
}

impl Config {
    /// Reads and checks a configuration folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(folder: &Path) -> Result<Config, Problems> {
        let mut problems = Problems::default();
        let mut host = read(&folder.join(HOST_FILE), HOST_FILE).unwrap_or_else(|found| {
            problems.extend(found);
            None
        });
        if let Some(node) = &host {
            let wrong = schema::HOST.check(node, "");
            if !wrong.is_empty() {
                problems.extend(wrong);
                host = None;
            }
        }
        let (raw, connections, keep_history) = match &host {
            Some(node) => read_host(folder, node, &mut problems),
            None => (raw::Host::default(), BTreeMap::new(), Duration::ZERO),
        };
        let mut profiles = Vec::new();
        for (name, file) in profile_files(folder).unwrap_or_else(|found| {
            problems.push(found);
            Vec::new()
        }) {
            let tree = read(&file, &format!("profiles/{name}.toml"));
            match tree {
                // Without connections every profile would be wrong for a reason that is told already.
                Ok(Some(node)) if host.is_some() => {
                    match Profile::read(&name, &file, &node, &connections, &raw.guard) {
                        Ok(profile) => profiles.push(profile),
                        Err(found) => problems.extend(found.iter().cloned()),
                    }
                }
                Ok(Some(node)) => problems.extend(schema::PROFILE.check(&node, "")),
                Ok(None) => {}
                Err(found) => problems.extend(found),
            }
        }
        let running: Vec<&Profile> = profiles.iter().filter(|profile| profile.enabled).collect();
        for (index, a) in running.iter().enumerate() {
            problems.extend(running[index + 1..].iter().filter_map(|b| profile::overlaps(a, b)));
        }
        problems.check()?;
        let path = |said: Option<String>, usual: fn() -> String| folder.join(said.unwrap_or_else(usual));
        Ok(Config {
            folder: folder.into(),
            state_dir: path(raw.state_dir, raw::default_state_dir),
            plugin_dir: path(raw.plugin_dir, raw::default_plugin_dir),
            keep_history,
            connections,
            profiles,
            admins: raw.access.admins,
        })
    }

    /// The state database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("pairwise.db")
    }

    /// The copies of plugins that are opened.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.state_dir.join("cache")
    }

    /// A connection by its name.
    ///
    /// # Errors
    /// If there is none; names the nearest one.
    pub fn connection(&self, name: &str) -> Result<&Connection, Problem> {
        self.connections.get(name).ok_or_else(|| {
            absent(
                "connection",
                name,
                self.connections.keys().map(String::as_str),
                "make one with `pairwise connection add`",
            )
        })
    }

    /// A profile by its name.
    ///
    /// # Errors
    /// If there is none; names the nearest one.
    pub fn profile(&self, name: &str) -> Result<&Profile, Problem> {
        self.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| {
            absent(
                "profile",
                name,
                self.profiles.iter().map(|profile| profile.name.as_str()),
                "make one with `pairwise profile new`",
            )
        })
    }

    /// Reads secrets.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::new(&self.folder, &self.state_dir)
    }
}

fn absent<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>, none: &str) -> Problem {
    let known: Vec<&str> = known.collect();
    let help = match (known.is_empty(), nearest(name, known.iter().copied())) {
        (true, _) => none.to_owned(),
        (false, Some(near)) => format!("did you mean `{near}`?"),
        (false, None) => format!("there are: {}", known.join(", ")),
    };
    Problem::new(format!("there is no {what} `{name}`")).help(help)
}

/// Reads a TOML file; `None` if it is empty of meaning only because it is not there and need not be.
fn read(file: &Path, name: &str) -> Result<Option<Node>, Vec<Problem>> {
    let bytes = fs::read(file).map_err(|error| {
        vec![
            Problem::new(format!("cannot read {}: {error}", file.display()))
                .help("check that the file is there and readable by this user"),
        ]
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        vec![Problem::new(format!("{name}:{line}: this is not UTF-8")).help("save the file as UTF-8")]
    })?;
    Node::parse(name, &text).map(Some)
}

fn read_host(
    folder: &Path,
    node: &Node,
    problems: &mut Problems,
) -> (raw::Host, BTreeMap<String, Connection>, Duration) {
    let raw: raw::Host = match serde_json::from_value(node.to_json()) {
        Ok(raw) => raw,
        Err(error) => {
            problems.push(Problem::at(&node.mark, "this file cannot be read", error.to_string()));
            raw::Host::default()
        }
    };
    let mut connections = BTreeMap::new();
    for (name, raw) in &raw.connections {
        let connection = Connection::read(name, raw, folder, node, problems);
        connections.insert(name.clone(), connection);
    }
    let keep = raw.history.keep.as_deref().unwrap_or(KEEP_HISTORY);
    let keep = units::duration(keep).unwrap_or_else(|| {
        let mark = node.at("/history/keep").map_or(&node.mark, |node| &node.mark);
        problems.push(Problem::at(mark, "`history.keep` is not a duration", "expected for instance `90 days`"));
        Duration::ZERO
    });
    (raw, connections, keep)
}

/// Names and files of all profiles, in the order of their names.
fn profile_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Problem> {
    let folder = folder.join("profiles");
    let unreadable =
        |error: std::io::Error| Problem::new(format!("cannot read the folder {}: {error}", folder.display()));
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|extension| extension == "toml") && !name.is_empty() && !name.starts_with('.') {
            files.push((name, path));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
