//! An installation of plugins, without a configuration and without the program around it; and plugins of other ages.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::new_without_default, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use pairwise_host::plugins::{Installation, Plugin, Plugins, SessionSpec};
use semver::VersionReq;
use serde_json::Value;
use tempfile::TempDir;

use crate::{deps, program};

/// An installation in a temporary folder.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
}

impl Stage {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Stage { folder: tempfile::tempdir().unwrap() }
    }

    /// The place of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// With the plugins of this workspace beside the executable.
    #[must_use]
    pub fn development(&self) -> Plugins {
        let installation = Installation::new(None, self.path("plugins.lock"), self.path("cache"));
        Plugins::open(installation).unwrap()
    }

    /// With a plugin folder only.
    #[must_use]
    pub fn installed(&self) -> Plugins {
        let (plugins, lock) = (self.path("plugins"), self.path("plugins.lock"));
        fs::create_dir_all(&plugins).unwrap();
        let mut installation = Installation::new(Some(plugins), lock, self.path("cache"));
        installation.beside = None;
        Plugins::open(installation).unwrap()
    }

    /// Puts a file into the plugin folder.
    pub fn install(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::create_dir_all(self.path("plugins")).unwrap();
        let file = self.path("plugins").join(name);
        fs::write(&file, content).unwrap();
        file
    }

    /// A connection named `crm`, its worker the freshly built program.
    #[must_use]
    pub fn spec(&self, plugin: Plugin, settings: Value) -> SessionSpec {
        let mut spec = SessionSpec::new("crm", plugin, settings, self.folder.path(), self.path("cache"));
        spec.executable = program();
        spec
    }

    /// A connection to the mock of this workspace.
    #[must_use]
    pub fn mock(&self, settings: Value) -> SessionSpec {
        self.spec(self.development().resolve("mock", &VersionReq::STAR).unwrap(), settings)
    }
}

/// The folder of `tests/abi-fixtures` with everything built, which takes a minute the first time: its dependencies are its own.
#[must_use]
pub fn fixtures() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/abi-fixtures/Cargo.toml");
        let target = deps().ancestors().nth(2).unwrap().join("abi-fixtures");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir"]).arg(&target);
        assert!(build.status().unwrap().success(), "{build:?}");
        target.join("debug")
    })
}
