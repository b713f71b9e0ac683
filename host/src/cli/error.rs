//! What a command answers when it cannot do what it was asked: exit code, a sentence, where, and the next step.

use std::fmt;

use super::exit::Exit;
use crate::config::edit::EditError;
use crate::config::problem::{Problem, Problems};
use crate::model::StoreError;
use crate::plugins::LoadError;
use crate::schedule::{PlanError, RunError};

/// The answer of everything in `cli`.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command ended early.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    /// The exit code.
    pub(crate) exit: Exit,
    /// At least one.
    pub(crate) problems: Problems,
}

impl Error {
    pub(crate) fn new(exit: Exit, problem: Problem) -> Self {
        Error { exit, problems: problem.into() }
    }

    /// Wrong arguments or configuration, and what to do about it.
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Error::new(Exit::Usage, Problem::new(message).help(help))
    }

    /// An error of the host itself.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Error::new(Exit::Internal, Problem::new(message))
    }

    /// As the one document that `--format json` prints.
    pub(crate) fn document(&self) -> serde_json::Value {
        serde_json::json!({ "error": { "exit": self.exit.code(), "problems": self.problems } })
    }
}

/// With colours; standard error takes them off where they are not wanted.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.render(true))
    }
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Error { exit: Exit::Usage, problems }
    }
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        Error::new(Exit::Usage, Problem::new(error.to_string()))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            // Something that a person puts right before the next run.
            StoreError::Newer { .. }
            | StoreError::Open { .. }
            | StoreError::Backup { .. }
            | StoreError::Full { .. } => Exit::Usage,
            // A command that was refused, for as long as a run is active.
            StoreError::Busy { .. } => Exit::Usage,
            StoreError::LeaseLost { .. } | StoreError::Failed { .. } => Exit::Internal,
        };
        Error::new(exit, Problem::new(error.to_string()))
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Error::new(Exit::Usage, Problem::new(error.to_string()))
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        if let PlanError::Store(error) = error {
            return error.into();
        }
        Error::new(Exit::Usage, Problem::new(error.to_string()))
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => error.into(),
            RunError::Plan(error) => error.into(),
        }
    }
}
