//! What a plugin says about itself in its file, readable without running it: the build stamp and `plugin.json`.

use std::collections::BTreeSet;
use std::fmt;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `plugin.json`, as the vendor writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What configurations name: lower-case letters, digits and hyphens, a letter first, at most 64.
    pub id: String,
    /// For people.
    pub name: String,
    /// Who makes it.
    pub vendor: String,
    /// Version of the plugin; equal to that of its crate.
    pub version: Version,
    /// The oldest host it works with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_host: Option<Version>,
    /// Names of the operations it has, beside those that every connector has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<String>,
    /// Abilities in words, for listings. What holds with given settings, `describe` tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Entities it knows, for listings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<String>,
    /// Secrets that `login` wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Hosts it talks to, for the administrator: names, or `settings.KEY`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts_wanted: Vec<String>,
    /// TCP ports it connects to. None: no network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports_wanted: Vec<Port>,
    /// Files and folders it works in. None: no files. A file that is to be written stands for its folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths_wanted: Vec<PathWanted>,
    /// Where its documentation is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// It only pretends: for tests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mock: bool,
    /// JSON Schema of the settings, written by the test that the macro makes.
    #[serde(default)]
    pub config_schema: serde_json::Value,
}

/// A secret that `login` wants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Secret {
    /// Its key under `secrets`.
    pub name: String,
    /// Nothing works without it.
    #[serde(default)]
    pub required: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Nobody can type it: a person signs in, and the login gives it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_sign_in: bool,
}

/// A port: `443`, or `"settings.url"` for the port of a URL or the number in a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// Always this one.
    Number(u16),
    /// The setting that tells it, written `settings.KEY`.
    Setting(String),
}

/// A path: `settings.KEY:ro`, `settings.KEY:rw`, or an absolute path in place of the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathWanted {
    /// The setting that tells it, or the path itself.
    pub at: PathAt,
    /// To be written, too.
    pub write: bool,
}

/// Where a wanted path is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathAt {
    /// In this setting.
    Setting(String),
    /// Here.
    Fixed(String),
}

impl fmt::Display for PathWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = if self.write { "rw" } else { "ro" };
        match &self.at {
            PathAt::Setting(key) => write!(f, "settings.{key}:{access}"),
            PathAt::Fixed(path) => write!(f, "{path}:{access}"),
        }
    }
}

impl Serialize for PathWanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathWanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = match text.rsplit_once(':') {
            Some((at, "ro")) => Some((at, false)),
            Some((at, "rw")) => Some((at, true)),
            _ => None,
        };
        let parsed = parts.and_then(|(at, write)| {
            let at = match at.strip_prefix("settings.") {
                Some(key) => PathAt::Setting(key.to_owned()),
                None if at.starts_with('/') => PathAt::Fixed(at.to_owned()),
                None => return None,
            };
            Some(PathWanted { at, write })
        });
        parsed.ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is not `settings.KEY` or an absolute path, then `:ro` or `:rw`"))
        })
    }
}

/// What the compiler says about a plugin. Written by the macro in front of `plugin.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Version of this crate that it was built against.
    pub plugin_api: Version,
    /// [`crate::header::EPOCH`] of that version.
    pub abi_epoch: u32,
    /// [`crate::compat::TARGET`].
    pub target: String,
    /// Built with debug assertions.
    #[serde(default)]
    pub debug: bool,
    /// `unwind` or `abort`.
    #[serde(default)]
    pub panic: String,
}

/// Bytes that are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The stamp.
    #[error("its build stamp cannot be read: {0}")]
    Stamp(String),
    /// The JSON.
    #[error("its plugin.json cannot be read: {0}")]
    Json(String),
    /// A member.
    #[error("`{member}` in its plugin.json is `{value}`: expected {expected}")]
    Member {
        /// Which.
        member: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
}

impl Manifest {
    /// Reads `plugin.json`.
    ///
    /// # Errors
    /// What cannot be read or makes no sense.
    pub fn parse(json: &str) -> Result<Self, ManifestError> {
        let manifest: Manifest = serde_json::from_str(json).map_err(|error| ManifestError::Json(error.to_string()))?;
        manifest.checked()
    }

    /// Reads the whole section of a plugin's file.
    ///
    /// # Errors
    /// What cannot be read or makes no sense.
    pub fn parse_section(bytes: &[u8]) -> Result<(Stamp, Self), ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|error| ManifestError::Stamp(error.to_string()))?;
        let (stamp, json) = text.split_once('\n').ok_or_else(|| ManifestError::Stamp("it has one line".to_owned()))?;
        let stamp = serde_json::from_str(stamp).map_err(|error| ManifestError::Stamp(error.to_string()))?;
        Ok((stamp, Manifest::parse(json)?))
    }

    fn checked(self) -> Result<Self, ManifestError> {
        let wrong =
            |member, value: &str, expected| Err(ManifestError::Member { member, value: value.to_owned(), expected });
        if !is_id(&self.id) {
            return wrong("id", &self.id, "lower-case letters, digits and hyphens, a letter first, at most 64");
        }
        if self.name.trim().is_empty() {
            return wrong("name", &self.name, "a name for people");
        }
        if !(self.config_schema.is_object() || self.config_schema.is_null()) {
            return wrong("config_schema", &self.config_schema.to_string(), "a JSON Schema, which is an object");
        }
        for port in &self.ports_wanted {
            match port {
                Port::Number(0) => return wrong("ports_wanted", "0", "a port from 1 to 65535"),
                Port::Setting(text) if !text.starts_with("settings.") => {
                    return wrong("ports_wanted", text, "a port, or `settings.KEY`");
                }
                _ => {}
            }
        }
        let mut names = BTreeSet::new();
        match self.secrets.iter().find(|secret| secret.name.is_empty() || !names.insert(&secret.name)) {
            Some(secret) => wrong("secrets", &secret.name, "names, each once"),
            None => Ok(self),
        }
    }
}

fn is_id(id: &str) -> bool {
    id.len() <= 64
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// What the test that the macro makes does: `plugin.json` fits the crate it lies in. With `PAIRWISE_BLESS` set, version and
/// schema are written into it.
///
/// # Panics
/// With what does not fit.
#[doc(hidden)]
pub fn assert_current(folder: &str, version: &str, schema: schemars::Schema) {
    use std::fs;
    let path = format!("{folder}/plugin.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let written = Manifest::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut current = written.clone();
    current.version = version.parse().unwrap_or_else(|error| panic!("the crate's version {version}: {error}"));
    current.config_schema = schema.to_value();
    let known = serde_json::to_value(&current).unwrap_or_default();
    let given: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
    for key in given.keys() {
        assert!(known.get(key).is_some() || key == "mock", "{path}: unknown or empty member `{key}`");
    }
    for op in &written.ops {
        assert!(crate::ops::ALL.iter().any(|(_, name)| name == op), "{path}: `{op}` in `ops` is no operation");
    }
    if written == current {
        return;
    }
    assert!(
        std::env::var_os("PAIRWISE_BLESS").is_some(),
        "{path}: version or config_schema is not that of the crate: run the test again with PAIRWISE_BLESS=1"
    );
    let json = serde_json::to_string_pretty(&current).unwrap_or_else(|error| panic!("{path}: {error}"));
    fs::write(&path, json + "\n").unwrap_or_else(|error| panic!("{path}: {error}"));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const JSON: &str = r#"{ "id": "vdir", "name": "Folders", "vendor": "Pairwise", "version": "0.1.0", "later": 1,
        "paths_wanted": ["settings.path:rw", "/etc/ssl:ro"], "ports_wanted": [443, "settings.url"] }"#;

    #[test]
    fn a_manifest_is_read_and_unknown_members_are_ignored() {
        let manifest = Manifest::parse(JSON).unwrap();
        assert_eq!(manifest.paths_wanted[0], PathWanted { at: PathAt::Setting("path".into()), write: true });
        assert_eq!(manifest.paths_wanted[1].to_string(), "/etc/ssl:ro");
        assert_eq!(manifest.ports_wanted, [Port::Number(443), Port::Setting("settings.url".into())]);
        assert_eq!(Manifest::parse(&serde_json::to_string(&manifest).unwrap()).unwrap(), manifest);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |from: &str, to: &str| Manifest::parse(&JSON.replace(from, to)).unwrap_err().to_string();
        assert!(refused("\"vdir\"", "\"V dir\"").contains("`id`"));
        assert!(refused("0.1.0", "${project.version}").contains("plugin.json"));
        assert!(refused("path:rw", "path:rx").contains("settings.path:rx"));
        assert!(refused("443", "0").contains("ports_wanted"));
    }

    #[test]
    fn the_section_is_stamp_and_manifest() {
        let stamp = r#"{"plugin_api":"1.0.0","abi_epoch":1,"target":"x86_64-linux-gnu","debug":true,"panic":"unwind"}"#;
        let (stamp, manifest) = Manifest::parse_section(format!("{stamp}\n{JSON}").as_bytes()).unwrap();
        assert_eq!((stamp.abi_epoch, manifest.id.as_str()), (1, "vdir"));
        assert!(matches!(Manifest::parse_section(b"{}"), Err(ManifestError::Stamp(_))));
    }
}
