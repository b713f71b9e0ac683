//! A connection as meant: its plugin, its settings, what its worker may use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::VersionReq;
use serde_json::{Map, Value as Json};

use super::check::{Owner, Schema};
use super::document::{Node, pointer};
use super::problem::{Problem, Problems};
use super::raw::{self, Isolation, Secret};
use super::units;

/// Access to one system.
#[derive(Debug, Clone)]
pub struct Connection {
    /// How profiles name it.
    pub name: String,
    /// The plugin's id.
    pub plugin: String,
    /// Which versions of the plugin may be used.
    pub version: VersionReq,
    /// Where its secrets are.
    pub secrets: BTreeMap<String, Secret>,
    /// What it was granted.
    pub grants: Vec<String>,
    /// Where the plugin runs.
    pub isolation: Isolation,
    /// What its process may use.
    pub limits: Limits,
    settings: Map<String, Json>,
    folder: PathBuf,
    root: Node,
}

/// What a plugin's process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of data.
    pub memory: u64,
    /// Open files.
    pub open_files: u64,
    /// How long a call may go on without progress.
    pub soft_deadline: Duration,
    /// How long a call may take at all.
    pub hard_deadline: Duration,
    /// How long starting may take.
    pub start_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 512 << 20,
            open_files: 256,
            soft_deadline: Duration::from_secs(60),
            hard_deadline: Duration::from_secs(600),
            start_deadline: Duration::from_secs(10),
        }
    }
}

impl Connection {
    /// The settings for the plugin, checked against its schema; paths are made absolute.
    ///
    /// # Errors
    /// Everything that the schema refuses, at its place in `pairwise.toml`.
    pub fn settings(&self, schema: &Json) -> Result<Json, Problems> {
        let mut problems = Problems::default();
        // Without a table for settings, what is missing is missing in the connection.
        let at = self.pointer("/settings");
        if self.root.at(&at).is_some() {
            problems.extend(Schema::new(schema.clone(), Owner::Plugin).check(&self.root, &at));
        } else {
            let required =
                schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
            problems.extend(required.map(|key| {
                self.problem("", format!("connection `{}` has no setting `{key}`", self.name), "")
                    .help(format!("plugin `{}` needs it: add settings = {{ {key} = … }}", self.plugin))
            }));
        }
        problems.check()?;
        let mut settings = Json::Object(self.settings.clone());
        absolute_paths(schema, schema, &mut settings, &self.folder);
        Ok(settings)
    }

    /// A mistake that was found later. `pointer` leads from the connection's table to its place: `/settings/path`, `/plugin`;
    /// what does not stand in the file is shown at the innermost table that does.
    #[must_use]
    pub fn problem(&self, pointer: &str, message: impl Into<String>, expected: impl Into<String>) -> Problem {
        let at = self.pointer(pointer);
        let mark = match self.root.at(&at) {
            Some(node) if node.table().is_none() => &node.mark,
            _ => self.root.place(&at),
        };
        Problem::at(mark, message, expected)
    }

    fn pointer(&self, inner: &str) -> String {
        format!("{}{inner}", pointer(["connections", &self.name]))
    }

    /// Reads a connection's table.
    pub(super) fn read(
        name: &str,
        raw: &raw::Connection,
        folder: &Path,
        root: &Node,
        problems: &mut Problems,
    ) -> Connection {
        let at = |path: &[&str]| {
            let at = pointer(["connections", name].into_iter().chain(path.iter().copied()));
            root.at(&at).filter(|node| node.table().is_none()).map_or(root.place(&at), |node| &node.mark)
        };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
            let expected = "expected letters, digits, `_`, `-` and `.`";
            problems.push(Problem::at(at(&[]), format!("`{name}` cannot be the name of a connection"), expected));
        }
        let version = raw.version.as_deref().map_or(Ok(VersionReq::STAR), VersionReq::parse).unwrap_or_else(|error| {
            let message = format!("the version requirement of `{name}` is not valid: {error}");
            problems.push(Problem::at(
                at(&["version"]),
                message,
                "expected for instance `^1.0`, `>=1.2, <2` or `=1.4.2`",
            ));
            VersionReq::STAR
        });
        let usual = Limits::default();
        let mut time = |key: &str, said: &Option<String>, usual: Duration| match said.as_deref().map(units::duration) {
            None => usual,
            Some(Some(said)) if !said.is_zero() => said,
            Some(_) => {
                problems.push(Problem::at(
                    at(&["limits", key]),
                    format!("`{key}` is not a duration"),
                    "expected for instance `60 s`",
                ));
                usual
            }
        };
        let mut limits = Limits {
            memory: usual.memory,
            open_files: raw.limits.open_files.unwrap_or(usual.open_files),
            soft_deadline: time("soft_deadline", &raw.limits.soft_deadline, usual.soft_deadline),
            hard_deadline: time("hard_deadline", &raw.limits.hard_deadline, usual.hard_deadline),
            start_deadline: time("start_deadline", &raw.limits.start_deadline, usual.start_deadline),
        };
        match raw.limits.memory.as_deref().map(units::size) {
            None => {}
            Some(Some(memory)) if memory >= 16 << 20 => limits.memory = memory,
            Some(_) => problems.push(Problem::at(
                at(&["limits", "memory"]),
                "`memory` is not a size",
                "expected at least `16 MiB`, for instance `512 MiB`",
            )),
        }
        if limits.hard_deadline < limits.soft_deadline {
            let problem =
                Problem::at(at(&["limits", "hard_deadline"]), "the hard deadline lies before the soft one", "");
            problems.push(
                problem.help("the soft one counts from the last progress, the hard one from the start of the call"),
            );
        }
        Connection {
            name: name.into(),
            plugin: raw.plugin.clone(),
            version,
            secrets: raw.secrets.clone(),
            grants: raw.grants.clone(),
            isolation: raw.isolation,
            limits,
            settings: raw.settings.clone().into_iter().collect(),
            folder: folder.into(),
            root: root.clone(),
        }
    }
}

/// Makes every text absolute that the schema marks with `"format": "path"`.
fn absolute_paths(root: &Json, schema: &Json, value: &mut Json, folder: &Path) {
    let schema = match schema.get("$ref").and_then(Json::as_str).and_then(|path| root.pointer(path.strip_prefix('#')?))
    {
        Some(target) => target,
        None => schema,
    };
    for key in ["anyOf", "oneOf", "allOf"] {
        for form in schema.get(key).and_then(Json::as_array).into_iter().flatten() {
            absolute_paths(root, form, value, folder);
        }
    }
    match value {
        Json::String(text) if schema.get("format").and_then(Json::as_str) == Some("path") => {
            // Joining an absolute path gives that path.
            if let Some(path) = folder.join(&*text).to_str() {
                *text = path.to_owned();
            }
        }
        Json::Object(object) => {
            for (key, value) in object {
                let own = schema.get("properties").and_then(|properties| properties.get(key));
                if let Some(schema) = own.or_else(|| schema.get("additionalProperties")) {
                    absolute_paths(root, schema, value, folder);
                }
            }
        }
        Json::Array(list) => {
            if let Some(schema) = schema.get("items") {
                list.iter_mut().for_each(|value| absolute_paths(root, schema, value, folder));
            }
        }
        _ => {}
    }
}
