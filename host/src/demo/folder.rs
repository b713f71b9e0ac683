//! The folder of a demo: a configuration folder, marked, so that it may be made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pairwise_sandbox::StartError;
use pairwise_sandbox::system::Complaint;

/// Marks a folder that a demo has made.
const MARK: &str = ".pairwise-demo";
/// What demos make in it.
const MADE: [&str; 6] = ["address-books", "profiles", "secrets", "state", "crm", "crm.toml"];

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Somebody else's folder.
    #[error("{0} is not empty and was not made by `pairwise demo`")]
    NotOurs(PathBuf),
    /// The file system says no.
    #[error("cannot write {path}: {error}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The simulated systems do not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A person's edit in them is not possible.
    #[error("the sandbox refused an edit: {0}")]
    Edit(#[from] Complaint),
}

/// A folder that is ours.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes this folder. What an earlier demo made there goes away.
    ///
    /// # Errors
    /// If it holds anything else, or cannot be written.
    pub fn take(path: &Path) -> Result<Folder, DemoError> {
        let folder = Folder(path.to_owned());
        make(path)?;
        let mut rest = fs::read_dir(path).map_err(|error| io_error(path, error))?;
        if !path.join(MARK).is_file() {
            if rest.next().is_some() {
                return Err(DemoError::NotOurs(path.to_owned()));
            }
            folder.write(MARK, "Made by `pairwise demo`, which may replace everything in this folder.\n")?;
        }
        MADE.iter().try_for_each(|made| remove(&path.join(made)))?;
        Ok(folder)
    }

    /// A folder that is ours already.
    #[must_use]
    pub fn ours(path: &Path) -> Folder {
        Folder(path.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders on the way to it.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let path = self.0.join(name);
        path.parent().map_or(Ok(()), make)?;
        fs::write(&path, text).map_err(|error| io_error(&path, error))
    }
}

pub(super) fn make(folder: &Path) -> Result<(), DemoError> {
    fs::create_dir_all(folder).map_err(|error| io_error(folder, error))
}

pub(super) fn remove(path: &Path) -> Result<(), DemoError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

pub(super) fn io_error(path: &Path, error: io::Error) -> DemoError {
    DemoError::Io { path: path.to_owned(), error }
}
