//! What all commands share: the arguments of every command, the configuration, the state.

use std::io::{IsTerminal, Write};

use super::args::Global;
use super::error::{Error, Result};
use super::output::Out;
use crate::config::{self, Config, HOST_FILE};
use crate::plugins::{Installation, Plugins};
use crate::store::Db;

/// One invocation.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) out: Out,
}

impl App {
    pub(crate) fn new(global: Global) -> App {
        let out = Out { format: global.format };
        App { global, out }
    }

    /// The configuration, checked.
    pub(crate) fn config(&self) -> Result<Config> {
        let folder = config::find::find(self.global.config.as_deref()).map_err(|missing| {
            let places = missing.looked_at.join(" or ");
            Error::usage(format!("no configuration: there is no {HOST_FILE} in {places}"), missing.remedy)
        })?;
        Ok(Config::load(&folder)?)
    }

    /// What is installed.
    pub(crate) fn plugins(&self, config: &Config) -> Result<Plugins> {
        let installation =
            Installation::new(Some(config.plugin_dir.clone()), config.folder.join("plugins.lock"), config.cache());
        Ok(Plugins::open(installation)?)
    }

    /// The state of this configuration.
    pub(crate) fn state(&self) -> Result<Db> {
        self.state_of(&self.config()?)
    }

    /// The state, to look at and decide in. Before the first run there is none, and none is made.
    pub(crate) fn state_of(&self, config: &Config) -> Result<Db> {
        let database = config.database();
        Ok(if database.exists() { Db::open(&database)? } else { Db::in_memory()? })
    }

    /// A command line that a person can type next, with this configuration.
    pub(crate) fn command(&self, command: &str) -> String {
        command_line(self.global.config.as_deref(), command)
    }

    /// Asks back. Without a terminal to ask on, `--yes` must have been given.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        if self.global.yes {
            return Ok(());
        }
        let unasked = || Error::usage(format!("not confirmed: {question}"), "add --yes to do it without being asked");
        if self.out.json() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(unasked());
        }
        let mut answer = String::new();
        let asked =
            write!(anstream::stderr(), "{question} [y/N] ").and_then(|()| std::io::stdin().read_line(&mut answer));
        match asked {
            Ok(_) if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") => Ok(()),
            _ => Err(unasked()),
        }
    }
}

/// The program as it was started, so that what is printed can be typed.
pub(crate) fn command_line(config: Option<&std::path::Path>, command: &str) -> String {
    let program = std::env::args_os().next().map(|program| program.to_string_lossy().into_owned());
    let program = program.filter(|program| !program.is_empty()).unwrap_or_else(|| "pairwise".into());
    match config {
        Some(folder) => format!("{program} --config {} {command}", quoted(&folder.to_string_lossy())),
        None => format!("{program} {command}"),
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("/srv/people"), "/srv/people");
        assert_eq!(quoted("Ann's people"), r"'Ann'\''s people'");
    }
}
