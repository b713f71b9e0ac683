//! The command line: the one place that wires all layers together. One file per command or small group of commands.

mod access;
mod app;
mod args;
mod config;
mod conflicts;
mod connection;
#[cfg(feature = "sandbox")]
mod demo;
mod doctor;
mod error;
mod exit;
mod history;
mod holds;
mod interrupt;
mod logging;
mod login;
mod output;
mod plugin;
mod profile;
mod progress;
mod quarantine;
mod report;
mod runs;
#[cfg(feature = "sandbox")]
mod sandbox;
mod state;
mod sync;
mod version;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use app::App;
use args::{Cli, Command, ConfigCommand};
use error::{Error, Result};
use exit::Exit;
use output::{Format, Out};

use crate::plugins::worker;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything else: a worker locks itself in while it has one thread and no open file.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == worker::ARGUMENT) {
        return worker::main();
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let out = Out { format: cli.global.format };
    let ended = catch_unwind(AssertUnwindSafe(|| run(cli)))
        .unwrap_or_else(|_| Err(Error::internal("pairwise came upon an error of its own; what was settled stands")));
    match ended {
        Ok(exit) => exit,
        Err(error) => fail(out, &error),
    }
    .into()
}

fn parse() -> std::result::Result<Cli, Exit> {
    let command = Cli::command().version(version::line());
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if !error.use_stderr() {
            // Help and version: what was asked for.
            let _ = error.print();
            return Exit::Done;
        }
        if wants_json() {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ").trim_end();
            return fail(Out { format: Format::Json }, &Error::usage(text, "see `pairwise --help`"));
        }
        let _ = error.print();
        Exit::Usage
    })
}

/// Whether the arguments that could not be parsed asked for JSON.
fn wants_json() -> bool {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments.windows(2).any(|pair| pair == ["--format", "json"])
}

/// Tells an error: on standard error for eyes, as the document for programs.
fn fail(out: Out, error: &Error) -> Exit {
    out.document(&error.document());
    anstream::eprintln!("{error}");
    error.exit
}

fn run(cli: Cli) -> Result<Exit> {
    logging::start(cli.global.verbose, cli.global.log.as_deref())?;
    let app = App::new(cli.global);
    access::check(&app, &cli.command)?;
    match cli.command {
        #[cfg(feature = "sandbox")]
        Command::Demo(args) => demo::run(&app, &args),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Profile(command) => profile::run(&app, command),
        Command::Plan(args) => sync::plan(&app, &args),
        Command::Sync(args) => sync::sync(&app, args),
        Command::Status => runs::status(&app),
        Command::Runs { last } => runs::runs(&app, last),
        Command::Run(command) => runs::run(&app, command),
        Command::Conflicts(command) => conflicts::run(&app, command),
        Command::Quarantine(command) => quarantine::run(&app, command),
        Command::Holds(command) => holds::run(&app, command),
        Command::History { id } => history::run(&app, &id),
        Command::Connection(command) => connection::run(&app, command),
        Command::Plugin(command) => plugin::run(&app, command),
        Command::State(command) => state::run(&app, command),
        Command::Doctor => doctor::run(&app),
        Command::Config(ConfigCommand::Schema { file }) => config::schema(&app, file),
        Command::Completions { shell } => completions(&app, shell),
    }
}

fn completions(app: &App, shell: clap_complete::Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pairwise", &mut script);
    let script = String::from_utf8_lossy(&script);
    app.out.document(&serde_json::json!({ "shell": shell.to_string(), "script": script }));
    if !app.out.json() {
        app.out.verbatim(script);
    }
    Ok(Exit::Done)
}
