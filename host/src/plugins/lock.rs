//! `plugins.lock`: which file each plugin version is. Written by commands only.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::error::LoadError;

const FORMAT: u32 = 1;
const INTRODUCTION: &str =
    "# Written by `pairwise plugin lock`. Says which file each plugin version is; any other file is refused.\n\n";

/// The content of `plugins.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockFile {
    format: u32,
    #[serde(default, rename = "plugin", skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Locked>,
}

impl Default for LockFile {
    fn default() -> Self {
        LockFile { format: FORMAT, plugins: Vec::new() }
    }
}

/// One plugin version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locked {
    pub id: String,
    pub version: Version,
    /// Where its file came from, for people.
    pub source: String,
    pub plugin_api: Version,
    pub abi_epoch: u32,
    /// One for each system that uses this lock file.
    #[serde(rename = "artifact")]
    pub artifacts: Vec<Artifact>,
}

/// The file for one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Artifact {
    pub target: String,
    pub sha256: String,
}

impl LockFile {
    /// Reads it; a file that is not there locks nothing.
    pub(super) fn read(file: &Path) -> Result<Self, LoadError> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockFile::default()),
            Err(source) => return Err(LoadError::Unreadable { file: file.to_owned(), source }),
        };
        LockFile::parse(file, &text)
    }

    /// Reads the file's text.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, LoadError> {
        let wrong = |why: String| LoadError::Lock { file: file.to_owned(), why };
        let lock: LockFile = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        if lock.format != FORMAT {
            return Err(wrong(format!("its format is {}, this Pairwise reads format {FORMAT}", lock.format)));
        }
        Ok(lock)
    }

    /// Replaces the file as a whole.
    pub(super) fn write(&self, file: &Path) -> Result<(), LoadError> {
        let write = || {
            let text = self.text()?;
            let temporary = file.with_extension("lock.tmp");
            let mut target = File::create(&temporary)?;
            target.write_all(text.as_bytes())?;
            target.sync_all()?;
            fs::rename(&temporary, file)
        };
        write().map_err(|source| LoadError::Unreadable { file: file.to_owned(), source })
    }

    /// The text of the file.
    pub(super) fn text(&self) -> io::Result<String> {
        toml::to_string(self).map(|text| format!("{INTRODUCTION}{text}")).map_err(io::Error::other)
    }

    pub(super) fn of(&self, id: &str, version: &Version) -> Option<&Locked> {
        self.plugins.iter().find(|locked| locked.id == id && locked.version == *version)
    }

    /// Puts a plugin version in; hashes for other systems stay. True if that changed anything.
    pub(super) fn put(&mut self, locked: Locked) -> bool {
        let before = self.clone();
        match self.plugins.iter_mut().find(|other| (&other.id, &other.version) == (&locked.id, &locked.version)) {
            Some(other) => {
                let kept = std::mem::take(&mut other.artifacts);
                *other = locked;
                let foreign = kept.into_iter().filter(|old| other.artifacts.iter().all(|new| new.target != old.target));
                let foreign: Vec<Artifact> = foreign.collect();
                other.artifacts.extend(foreign);
                other.artifacts.sort_by(|one, two| one.target.cmp(&two.target));
            }
            None => self.plugins.push(locked),
        }
        self.plugins.sort_by(|one, two| (&one.id, &one.version).cmp(&(&two.id, &two.version)));
        *self != before
    }
}

impl Locked {
    /// The hash for this system.
    pub(super) fn hash(&self, target: &str) -> Option<&str> {
        self.artifacts.iter().find(|artifact| artifact.target == target).map(|artifact| artifact.sha256.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn locked(target: &str, sha256: &str) -> Locked {
        Locked {
            id: "vdir".into(),
            version: Version::new(1, 2, 3),
            source: "plugins/vdir.so".into(),
            plugin_api: Version::new(1, 0, 0),
            abi_epoch: 1,
            artifacts: vec![Artifact { target: target.into(), sha256: sha256.into() }],
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugins.lock");
        let mut lock = LockFile::read(&file).unwrap();
        assert!(lock.put(locked("a", "00")) && lock.put(locked("b", "11")) && lock.put(locked("a", "22")));
        assert!(!lock.put(locked("a", "22")));
        lock.write(&file).unwrap();
        let read = LockFile::read(&file).unwrap();
        assert_eq!(read, lock);
        let plugin = read.of("vdir", &Version::new(1, 2, 3)).unwrap();
        assert_eq!((plugin.hash("a"), plugin.hash("b"), plugin.hash("c")), (Some("22"), Some("11"), None));
    }

    #[test]
    fn a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugins.lock");
        fs::write(&file, "format = 1\n[[plugin]]\nid = 3\n").unwrap();
        assert!(LockFile::read(&file).unwrap_err().to_string().contains("line 3"));
        fs::write(&file, "format = 2\n").unwrap();
        assert!(LockFile::read(&file).unwrap_err().to_string().contains("format 1"));
    }
}
