//! A place for plugin copies that leaves nothing behind.

use std::path::{Path, PathBuf};

use crate::chance::{Chance, Real};
use crate::config::Config;

/// The folder of plugin copies that a command uses which leaves nothing behind: the installation's, or before
/// its first run one that goes with the command.
pub(super) struct Scratch {
    path: PathBuf,
    temporary: bool,
}

impl Scratch {
    pub(super) fn new(config: &Config) -> Self {
        let path = config.cache();
        if path.is_dir() {
            return Scratch { path, temporary: false };
        }
        Scratch { path: std::env::temp_dir().join(format!("pairwise-{}", Real::new().id())), temporary: true }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("the temporary folder {} cannot be removed: {error}", self.path.display());
        }
    }
}
