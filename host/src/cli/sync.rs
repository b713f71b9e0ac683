//! `sync` and `plan`: the same selection and the same decisions, once carried out and once only shown.

use std::sync::Arc;

use owo_colors::OwoColorize;

use super::app::App;
use super::args::{PlanArgs, RunArgs, SyncArgs};
use super::error::{Error, Result};
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::progress::Watch;
use super::report::{self, Document, Tense};
use crate::config::Config;
use crate::model::{LaneReport, LaneSpec, Observer, RunOptions};
use crate::plugins::Interrupted;
use crate::schedule::{Job, Outcome, SavedPlan, Selected, select};

/// `sync`.
pub(super) fn sync(app: &App, args: SyncArgs) -> Result<Exit> {
    let config = app.config()?;
    let saved = args.plan.as_deref().map(|file| SavedPlan::read(file).map(|plan| (file, plan))).transpose()?;
    let selected = match &saved {
        Some((_, plan)) => planned(&config, plan)?,
        None => chosen(&config, &args.run)?,
    };
    if selected.is_empty() {
        return nothing(app, &config);
    }
    let outcome = with_job(app, &config, &selected, &args.run, |job| {
        Ok(job.sync(saved.as_ref().map(|(file, plan)| (*file, plan)))?)
    })?;
    app.out.document(&Document::new(&without_items(outcome.reports.clone()), &outcome.problems));
    Ok(tell(app, &outcome, Tense::Done))
}

/// `plan`.
pub(super) fn plan(app: &App, args: &PlanArgs) -> Result<Exit> {
    let config = app.config()?;
    let selected = chosen(&config, &args.run)?;
    if selected.is_empty() {
        return nothing(app, &config);
    }
    let (outcome, marks) = with_job(app, &config, &selected, &args.run, |job| Ok(job.plan()?))?;
    if let Some(file) = &args.out {
        SavedPlan::new(&outcome.reports, marks).write(file)?;
    }
    app.out.document(&Document::new(&outcome.reports, &outcome.problems));
    for lane in &outcome.reports {
        report::items(app.out, lane);
    }
    app.out.line("");
    let exit = tell(app, &outcome, Tense::Planned);
    if let Some(file) = &args.out {
        let command = app.command(&format!("sync --plan {}", file.display()));
        app.out.line(format_args!("\nSaved. Do exactly this: {}", command.cyan()));
    }
    Ok(exit)
}

/// One run, or a plan of one, for its outcome, untold.
#[cfg(feature = "sandbox")]
pub(super) fn run_once(app: &App, args: &RunArgs, tense: Tense) -> Result<Outcome> {
    let config = app.config()?;
    let selected = chosen(&config, args)?;
    with_job(app, &config, &selected, args, |job| match tense {
        Tense::Done => Ok(job.sync(None)?),
        Tense::Planned => Ok(job.plan()?.0),
    })
}

/// Puts together what a run needs.
fn with_job<T>(
    app: &App,
    config: &Config,
    selected: &[Selected<'_>],
    args: &RunArgs,
    act: impl FnOnce(&Job<'_>) -> Result<T>,
) -> Result<T> {
    let plugins = app.plugins(config)?;
    let interrupt = Interrupt::listen()?;
    let watch = |lane: &LaneSpec| -> Box<dyn Observer> {
        Box::new(Watch::new(app.out, &interrupt, &lane.key.to_string(), lane.connections.clone()))
    };
    let options = RunOptions {
        full: args.full,
        prefer: args.prefer.map(Into::into),
        allow_deletes: args.allow_deletes,
        ..RunOptions::default()
    };
    let raised = interrupt.clone();
    let interrupted: Interrupted = Arc::new(move || raised.raised());
    act(&Job { config, plugins: &plugins, selected, options, interrupted, watch: &watch })
}

fn chosen<'a>(config: &'a Config, args: &RunArgs) -> Result<Vec<Selected<'a>>> {
    select(config, &args.profiles, args.user.as_deref(), args.stream.as_deref())
        .map_err(|problem| Error::new(Exit::Usage, problem))
}

/// The lanes of a saved plan.
fn planned<'a>(config: &'a Config, plan: &SavedPlan) -> Result<Vec<Selected<'a>>> {
    let mut selected: Vec<Selected<'a>> = Vec::new();
    for planned in &plan.lanes {
        let profile = config.profile(&planned.key.profile).map_err(|problem| Error::new(Exit::Usage, problem))?;
        let Some(lane) = profile.lanes().iter().find(|lane| lane.key == planned.key) else {
            return Err(Error::usage(
                format!("the plan is about {}, which the profile does not have any more", planned.key),
                format!("make a new plan: `{}`", super::app::command_line(None, "plan --out FILE")),
            ));
        };
        match selected.iter_mut().find(|other| other.profile.name == profile.name) {
            Some(other) => other.lanes.push(lane),
            None => selected.push(Selected { profile, lanes: vec![lane] }),
        }
    }
    Ok(selected)
}

fn nothing(app: &App, config: &Config) -> Result<Exit> {
    if config.profiles.is_empty() {
        return Err(Error::usage(
            format!("{} holds no profile", config.folder.join("profiles").display()),
            "make one: `pairwise profile new NAME --preset mirror --left C --right C`",
        ));
    }
    app.out.document(&Document::new(&[], &crate::config::Problems::default()));
    app.out.line(format_args!(
        "Nothing to do: no profile is enabled. Enable one: {}",
        app.command("profile enable NAME").cyan()
    ));
    Ok(Exit::Done)
}

/// Shows what became of the lanes, and what is wrong with those that could not begin.
fn tell(app: &App, outcome: &Outcome, tense: Tense) -> Exit {
    // The problems are shown whole, with the lines of the files that they speak of: no need to say them twice.
    let begun = outcome.reports.iter().filter(|report| !outcome.unready.contains(&report.key));
    let begun: Vec<LaneReport> = begun.cloned().collect();
    report::lanes(app.out, &begun, tense, &|verb| app.command(verb));
    if !outcome.problems.is_empty() {
        let left_out = outcome.unready.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        anstream::eprintln!("{}\n\n{} {left_out}", outcome.problems.render(true), "did not begin:".red().bold());
    }
    Exit::of_lanes(&outcome.reports)
}

fn without_items(mut reports: Vec<LaneReport>) -> Vec<LaneReport> {
    reports.iter_mut().for_each(|report| report.items = None);
    reports
}
