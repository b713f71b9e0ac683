//! Configuration folders.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use std::fs;
use std::path::PathBuf;

use super::{Config, HOST_FILE, edit};

/// Stands between `pairwise.toml` and a profile.
const PROFILE: &[u8] = b"\n# profile\n";

/// A folder with `pairwise.toml` and one profile. Whatever is wrong is told in words and as JSON; what is right means lanes, and
/// can be turned off and on by a command.
pub fn configuration(bytes: &[u8]) {
    let middle = bytes.windows(PROFILE.len()).position(|window| window == PROFILE);
    let (host, profile) = middle.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + PROFILE.len()..]));
    let folder = Folder::new(host, profile);
    let Folder(path) = &folder;
    match Config::load(path) {
        Ok(config) => {
            for connection in config.connections.values() {
                let _ = connection.settings(&serde_json::json!({ "type": "object", "required": ["url"] }));
            }
            assert!(config.profiles.iter().all(|profile| !profile.enabled || !profile.lanes().is_empty()));
        }
        Err(problems) => {
            assert!(!problems.to_string().is_empty());
            serde_json::to_value(&problems).unwrap();
        }
    }
    let file = path.join("profiles/people.toml");
    if edit::set_enabled(&file, false).is_ok() {
        assert!(!edit::set_enabled(&file, false).unwrap(), "it is off");
        assert!(edit::set_enabled(&file, true).unwrap(), "it was off");
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(host: &[u8], profile: &[u8]) -> Self {
        let thread = std::thread::current().id();
        let folder = std::env::temp_dir().join(format!("pairwise-fuzz-{}-{thread:?}", std::process::id()));
        fs::create_dir_all(folder.join("profiles")).unwrap();
        fs::write(folder.join(HOST_FILE), host).unwrap();
        fs::write(folder.join("profiles/people.toml"), profile).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
