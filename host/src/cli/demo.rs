//! `demo`: makes a playground, lets things happen in it, and synchronises after each.

use std::path::{Path, PathBuf};

use owo_colors::OwoColorize;
use serde_json::json;

use super::app::{App, command_line};
use super::args::{DemoArgs, RunArgs};
use super::error::{Error, Result};
use super::exit::Exit;
use super::report::{self, Tense};
use super::sync;
use crate::chance::{Chance, Real};
use crate::config::Problem;
use crate::demo::{Playground, PlaygroundError};
use crate::schedule::Outcome;

/// One act of the demo, with what the run after it came to.
struct Act {
    title: &'static str,
    outcome: Outcome,
}

pub(super) fn run(app: &App, args: &DemoArgs) -> Result<Exit> {
    let folder = match &args.dir {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("pairwise-demo-{}", Real::new().id().to_lowercase())),
    };
    let playground = Playground::make(&folder, args.contacts).map_err(refused)?;
    // From here on the playground is the configuration.
    let app = App { global: super::args::Global { config: Some(folder.clone()), ..app.global.clone() }, out: app.out };
    introduce(&app, &playground);

    let mut acts = Vec::new();
    act(
        &app,
        &mut acts,
        "The first run: who is who?",
        &[
            "The same people are matched by their e-mail addresses, others are copied across. Where both sides fill a field",
            "differently nobody knows who is right: that waits. A broken file is set aside, the others go on.",
        ],
    )?;
    playground.live().map_err(refused)?;
    act(
        &app,
        &mut acts,
        "A day passes: somebody edits, somebody throws a card away.",
        &[
            "One person got a new title on the desk and a note on the phone: both survive. One card was thrown away on the",
            "phone: it goes to the trash on the desk.",
        ],
    )?;
    let lost = playground.lose_most().map_err(refused)?;
    act(
        &app,
        &mut acts,
        "An accident: most of the phone's cards are gone.",
        &[&format!("{lost} files disappeared at once. No deletion is carried out before a person has looked.")],
    )?;
    act(&app, &mut acts, "Once more, and nothing has changed: nothing is written.", &[])?;

    app.out.document(&json!({
        "folder": folder,
        "acts": acts.iter().map(|act| json!({ "title": act.title, "runs": act.outcome.reports })).collect::<Vec<_>>(),
    }));
    farewell(&app, &folder);
    Ok(verdict(&acts))
}

fn introduce(app: &App, playground: &Playground) {
    app.out.line(format_args!(
        "{}\n\nTwo address books of people who do not exist: {} files on the desk, {} on the phone, written by different\n\
         programs under different names. Beside them a CRM that only pretends, copied into an archive.",
        format_args!("A playground in {}", playground.folder().display()).bold(),
        playground.count("desk"),
        playground.count("phone")
    ));
}

/// Tells what is about to be seen, and runs.
fn act(app: &App, acts: &mut Vec<Act>, title: &'static str, explanation: &[&str]) -> Result<()> {
    app.out.line(format_args!("\n{} {}", format_args!("{}.", acts.len() + 1).cyan().bold(), title.bold()));
    for line in explanation {
        app.out.line(format_args!("   {}", line.dimmed()));
    }
    app.out.line("");
    let all =
        RunArgs { profiles: Vec::new(), user: None, stream: None, full: false, prefer: None, allow_deletes: None };
    let outcome = sync::run_once(app, &all)?;
    report::lanes(app.out, &outcome.reports, Tense::Done, &|verb| app.command(verb));
    if !outcome.problems.is_empty() {
        return Err(outcome.problems.into());
    }
    let interrupted = Exit::of_lanes(&outcome.reports) == Exit::Interrupted;
    acts.push(Act { title, outcome });
    if interrupted {
        return Err(Error::new(Exit::Interrupted, Problem::new("stopped; the playground stays as it is")));
    }
    Ok(())
}

fn farewell(app: &App, folder: &Path) {
    app.out.line(format_args!(
        "\n{} Change a file in {} and try:\n",
        "Yours to play with.".bold(),
        books(folder).display()
    ));
    let tries = [
        ("plan", "what a run would do"),
        ("conflicts list", "fields to decide"),
        ("holds list", "the removals that were held"),
        ("quarantine list", "the broken file"),
        ("status", "how things stand"),
    ]
    .map(|(command, does)| (command_line(Some(folder), command), does));
    let width = tries.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
    for (command, does) in tries {
        app.out.line(format_args!("  {}  {}", format_args!("{command:<width$}").cyan(), does.dimmed()));
    }
}

fn books(folder: &Path) -> PathBuf {
    folder.join("address-books")
}

/// A demo is well if it showed what it is there to show: that things wait is part of it.
fn verdict(acts: &[Act]) -> Exit {
    let ended = acts.iter().map(|act| Exit::of_lanes(&act.outcome.reports)).max().unwrap_or_default();
    let harmless = matches!(ended, Exit::Done | Exit::Waiting | Exit::Guarded);
    if harmless { Exit::Done } else { ended }
}

fn refused(error: PlaygroundError) -> Error {
    let help = match &error {
        PlaygroundError::NotOurs(_) => "name an empty folder, or one that does not exist: `pairwise demo --dir DIR`",
        PlaygroundError::Io { .. } => "name a folder that you may write to: `pairwise demo --dir DIR`",
    };
    Error::usage(error.to_string(), help)
}
