//! What a worker may do: worked out here from manifest and settings, put in force by the worker before it opens the library.

use std::fmt;
use std::path::{Path, PathBuf};

use pairwise_plugin_api::manifest::{Manifest, PathAt, Port};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much of the sandbox there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// As much as this kernel has.
    #[default]
    BestEffort,
    /// All of it, or the worker does not start.
    Required,
    /// None, for finding out whether the sandbox is what breaks a plugin.
    Off,
}

/// What one worker may do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Policy {
    pub sandbox: Sandbox,
    /// Bytes of data, stacks and heap.
    pub memory: u64,
    /// Open files.
    pub files: u64,
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
    /// TCP ports it may connect to.
    pub ports: Vec<u16>,
}

/// What of it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Files and ports: `full`, `partial` (an older kernel) or `none`.
    pub landlock: Landlock,
    /// Starting programs, tracing and the like are refused.
    pub seccomp: bool,
    /// Memory, open files, core dumps.
    pub rlimits: bool,
    /// Why something is missing.
    pub missing: Vec<String>,
}

/// How far Landlock goes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Landlock {
    /// Files, ports, signals.
    Full,
    /// What an older kernel knows.
    Partial,
    /// Nothing.
    #[default]
    None,
}

impl Status {
    /// Everything that this host knows to ask for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.landlock == Landlock::Full && self.seccomp && self.rlimits
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = match self.landlock {
            Landlock::Full => "landlock full",
            Landlock::Partial => "landlock partial",
            Landlock::None => "no landlock",
        };
        let seccomp = if self.seccomp { "seccomp" } else { "no seccomp" };
        let rlimits = if self.rlimits { "limits" } else { "no limits" };
        write!(f, "{landlock}, {seccomp}, {rlimits}")
    }
}

/// Puts the policy in force; says what came of it.
///
/// # Errors
/// If less came of it than there must be.
pub(super) fn apply(policy: &Policy, library: &Path) -> Result<Status, String> {
    let mut status = Status::default();
    if policy.sandbox == Sandbox::Off {
        status.missing.push("switched off".to_owned());
        return Ok(status);
    }
    #[cfg(target_os = "linux")]
    super::sandbox_linux::apply(policy, library, &mut status);
    #[cfg(not(target_os = "linux"))]
    status.missing.push(format!("there is none for {} around {}", std::env::consts::OS, library.display()));
    if policy.sandbox == Sandbox::Required && !(status.is_full() && status.missing.is_empty()) {
        return Err(format!("the sandbox is incomplete ({status}; {})", status.missing.join("; ")));
    }
    Ok(status)
}

impl Policy {
    /// What a plugin with these settings may touch. Settings are absolute by now.
    pub(super) fn allow(&mut self, manifest: &Manifest, settings: &Value) {
        for wanted in &manifest.paths_wanted {
            let paths = match &wanted.at {
                PathAt::Fixed(path) => vec![path.as_str()],
                PathAt::Setting(key) => texts(setting(settings, key)),
            };
            let list = if wanted.write { &mut self.write } else { &mut self.read };
            list.extend(paths.into_iter().map(|path| reach(Path::new(path), wanted.write)));
        }
        for wanted in &manifest.ports_wanted {
            match wanted {
                Port::Number(port) => self.ports.push(*port),
                Port::Setting(name) => {
                    let value = name.strip_prefix("settings.").and_then(|key| setting(settings, key));
                    self.ports.extend(value.and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()));
                    self.ports.extend(texts(value).into_iter().filter_map(port_of));
                }
            }
        }
        if !self.ports.is_empty() {
            let proxies = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
            let proxies = proxies.iter().filter_map(|name| std::env::var(name).ok());
            self.ports.extend(proxies.filter_map(|url| port_of(&url)));
        }
    }
}

/// Makes the paths among the settings absolute: relative ones start at the configuration folder.
pub(super) fn absolute(manifest: &Manifest, settings: &mut Value, base: &Path) {
    for wanted in &manifest.paths_wanted {
        let PathAt::Setting(key) = &wanted.at else { continue };
        let Some(value) = settings.pointer_mut(&format!("/{}", key.replace('.', "/"))) else { continue };
        let values = match value {
            Value::Array(values) => values.iter_mut().collect(),
            value => vec![value],
        };
        for value in values {
            if let Value::String(path) = value {
                *path = base.join(&*path).to_string_lossy().into_owned();
            }
        }
    }
}

fn setting<'a>(settings: &'a Value, key: &str) -> Option<&'a Value> {
    settings.pointer(&format!("/{}", key.replace('.', "/")))
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// What must be allowed for a path: of what is to be made yet, the nearest folder that is there; of a file that is to be written,
/// its folder, because files are replaced by renaming.
fn reach(path: &Path, write: bool) -> PathBuf {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    match there.parent() {
        Some(folder) if write && there.is_file() => folder.to_owned(),
        _ => there.to_owned(),
    }
}

/// The port of a URL, or a number.
fn port_of(text: &str) -> Option<u16> {
    let Some((scheme, rest)) = text.split_once("://") else { return text.parse().ok() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().ok(),
        _ => match scheme.to_ascii_lowercase().as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_read_from_urls() {
        let ports =
            ["https://example.com/a:1", "http://u:p@[::1]:8080/x", "http://[::1]/", "8443", "ftp://x", "nonsense"];
        assert_eq!(ports.map(port_of), [Some(443), Some(8080), Some(80), Some(8443), None, None]);
    }

    #[test]
    fn manifest_and_settings_give_the_policy() {
        let manifest = Manifest::parse(
            r#"{ "id": "x", "name": "X", "vendor": "V", "version": "1.0.0", "ports_wanted": [25, "settings.server.url"],
                 "paths_wanted": ["settings.path:rw", "settings.trash:rw", "/etc/ssl:ro"] }"#,
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut settings = json!({ "path": "new/folder", "server": { "url": "https://example.com:444" } });
        absolute(&manifest, &mut settings, folder.path());
        assert_eq!(settings["path"], folder.path().join("new/folder").to_str().unwrap());
        let mut policy = Policy::default();
        policy.allow(&manifest, &settings);
        assert_eq!(policy.write, [folder.path()]);
        assert_eq!(&policy.ports[..2], [25, 444]);

        let file = folder.path().join("state.json");
        std::fs::write(&file, "").unwrap();
        assert_eq!((reach(&file, true), reach(&file, false)), (folder.path().to_owned(), file.clone()));
    }
}
