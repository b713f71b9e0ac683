//! `demo`: makes something to synchronise, lets things happen in it, and synchronises after each.

mod folders;
mod office;

use std::path::Path;

use owo_colors::OwoColorize;
use serde_json::json;

use super::app::{App, command_line};
use super::args::{DemoArgs, Global, RunArgs};
use super::error::{Error, Result};
use super::exit::Exit;
use super::report::{self, Tense};
use super::sync;
use crate::chance::{Chance, Real};
use crate::config::{Connection, Problem};
use crate::demo::folder::{DemoError, Folder};
use crate::plugins::LoadError;
use crate::schedule::Outcome;

pub(super) fn run(app: &App, args: &DemoArgs) -> Result<Exit> {
    let path = match &args.dir {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("pairwise-demo-{}", Real::new().id().to_lowercase())),
    };
    let folder = Folder::take(&path).map_err(refused)?;
    // From here on the folder is the configuration.
    let app = App { global: Global { config: Some(path), ..app.global.clone() }, out: app.out };
    let stage = Stage { app: &app, acts: Vec::new() };
    if args.folders { folders::run(stage, folder, args.contacts) } else { office::run(stage, folder, args) }
}

/// Where the acts are shown.
struct Stage<'a> {
    app: &'a App,
    acts: Vec<Act>,
}

/// One act, with what the run in it came to.
struct Act {
    title: &'static str,
    outcome: Outcome,
}

impl Stage<'_> {
    /// Tells what is about to be seen, and runs, or only plans.
    fn act(&mut self, title: &'static str, explanation: &[&str], tense: Tense) -> Result<()> {
        let out = self.app.out;
        out.line(format_args!("\n{} {}", format_args!("{}.", self.acts.len() + 1).cyan().bold(), title.bold()));
        for line in explanation {
            out.line(format_args!("   {}", line.dimmed()));
        }
        out.line("");
        if self.acts.is_empty() {
            self.lock_plugins()?;
        }
        let all =
            RunArgs { profiles: Vec::new(), user: None, stream: None, full: false, prefer: None, allow_deletes: None };
        let outcome = sync::run_once(self.app, &all, tense)?;
        report::lanes(out, &outcome.reports, tense, &|verb| self.app.command(verb));
        if !outcome.problems.is_empty() {
            return Err(outcome.problems.into());
        }
        let interrupted = Exit::of_lanes(&outcome.reports) == Exit::Interrupted;
        self.acts.push(Act { title, outcome });
        if interrupted {
            return Err(Error::new(Exit::Interrupted, Problem::new("stopped; the folder stays as it is")));
        }
        Ok(())
    }

    /// An installed program finds its plugins beside it and unlocked. Who wants to see them at work need not lock them first:
    /// the lock is the folder's own.
    fn lock_plugins(&self) -> Result<()> {
        let config = self.app.config()?;
        let mut plugins = self.app.plugins(&config)?;
        let unlocked = |plugin: &Connection| {
            let found = plugins.resolve(&plugin.plugin, &plugin.version);
            matches!(found, Err(LoadError::NotLocked { .. })).then(|| plugin.plugin.clone())
        };
        let mut ids: Vec<String> = config.connections.values().filter_map(unlocked).collect();
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            plugins.lock(&ids)?;
        }
        Ok(())
    }

    /// The document, for programs.
    fn document(&self, folder: &Path) {
        let act = |act: &Act| json!({ "title": act.title, "runs": act.outcome.reports });
        let acts: Vec<_> = self.acts.iter().map(act).collect();
        self.app.out.document(&json!({ "folder": folder, "acts": acts }));
    }

    /// Commands to try.
    fn tries(&self, folder: &Path, commands: &[(&str, &str)]) {
        let tries: Vec<_> = commands.iter().map(|(verb, does)| (command_line(Some(folder), verb), does)).collect();
        let width = tries.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
        for (command, does) in tries {
            self.app.out.line(format_args!("  {}  {}", format_args!("{command:<width$}").cyan(), does.dimmed()));
        }
    }

    /// A demo is well if it showed what it is there to show: that things wait is part of it.
    fn verdict(&self) -> Exit {
        let ended = self.acts.iter().map(|act| Exit::of_lanes(&act.outcome.reports)).max().unwrap_or_default();
        let harmless = matches!(ended, Exit::Done | Exit::Waiting | Exit::Guarded);
        if harmless { Exit::Done } else { ended }
    }
}

fn refused(error: DemoError) -> Error {
    let help = match &error {
        DemoError::NotOurs(_) => "name an empty folder, or one that does not exist: `pairwise demo --dir DIR`",
        DemoError::Io { .. } => "name a folder that you may write to: `pairwise demo --dir DIR`",
        DemoError::Start(_) | DemoError::Edit(_) => return Error::internal(error.to_string()),
    };
    Error::usage(error.to_string(), help)
}
