//! `status`, `runs`, `run show`: what happened, and how things stand.

use comfy_table::Cell;
use owo_colors::OwoColorize;

use super::app::App;
use super::args::RunCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output;
use super::report::{self, Tense};
use crate::chance::{Chance, Real};
use crate::config::Config;
use crate::model::{LaneReport, LaneState};
use crate::schedule;
use crate::store::{LaneStatus, RunRow};

/// How far back `run show` looks for the beginning of an id.
const RECENT: usize = 1000;
/// So much of a run's id is shown in lists: time and a little more.
const ID_WIDTH: usize = 14;

pub(super) fn status(app: &App) -> Result<Exit> {
    // A configuration that cannot be read is told before an empty state is.
    let config = app.config()?;
    let mut lanes = app.state_of(&config)?.status()?;
    // Single operations are what `run show` is for.
    lanes.iter_mut().filter_map(|lane| lane.last.as_mut()).for_each(|last| last.report.items = None);
    let postponed = postponed(&config);
    app.out.document(&serde_json::json!({ "lanes": lanes, "postponed": postponed }));
    for (stream, until) in &postponed {
        app.out.line(format_args!("{stream}: nothing starts by itself before {until} (blackout)").yellow());
    }
    if lanes.is_empty() {
        app.out.line(format_args!("Nothing has run yet. See what would happen: {}", app.command("plan").cyan()));
        return Ok(Exit::Done);
    }
    let mut table =
        output::table(&["Lane", "Linked", "Conflicts", "Held", "Set aside", "Unsettled", "Last run", "State"]);
    for lane in &lanes {
        let (word, color) = lane_state(lane);
        table.add_row([
            Cell::new(&lane.lane),
            output::count(lane.live),
            output::count(lane.conflicts),
            output::count(lane.held),
            output::count(lane.quarantined),
            output::count(lane.waiting + lane.open_intents),
            Cell::new(lane.last.as_ref().map_or_else(|| "never".to_owned(), |last| output::time(last.started))),
            Cell::new(word).fg(color),
        ]);
    }
    app.out.table(&table);
    Ok(Exit::Done)
}

/// Streams in a blackout now, with its end. A run by hand is not held back.
fn postponed(config: &Config) -> std::collections::BTreeMap<String, String> {
    let now = jiff::Timestamp::from_millisecond(Real::new().now()).unwrap_or_default();
    let zone = jiff::tz::TimeZone::system();
    let schedules = config.profiles.iter().filter(|profile| profile.enabled).flat_map(|profile| {
        profile.schedules.iter().map(|(stream, schedule)| (format!("{}/{stream}", profile.name), schedule))
    });
    let ends = schedules.filter_map(|(name, schedule)| {
        let until = schedule::postponed(schedule, now, &zone)?;
        Some((name, until.to_string()))
    });
    ends.collect()
}

fn lane_state(lane: &LaneStatus) -> (String, comfy_table::Color) {
    if let Some(holder) = lane.holder.as_ref().filter(|holder| crate::os::is_alive(holder)) {
        return (format!("running (process {})", holder.pid), comfy_table::Color::Cyan);
    }
    match &lane.last {
        Some(last) => {
            let waits = lane.conflicts + lane.held + lane.quarantined > 0;
            let state = match last.report.state {
                LaneState::Done if waits => LaneState::Partial,
                state => state,
            };
            let (word, color) = report::state_word(state);
            (word.to_owned(), color)
        }
        None => ("never ran".to_owned(), comfy_table::Color::Grey),
    }
}

pub(super) fn runs(app: &App, last: usize) -> Result<Exit> {
    let runs = app.state()?.runs(last)?;
    app.out.document(&serde_json::json!({ "runs": runs }));
    if runs.is_empty() {
        app.out.line("Nothing has run yet.");
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["Run", "Began", "Lane", "To the left", "To the right", "State", "Time"]);
    for run in &runs {
        let (id, began) = (&run.id[..run.id.len().min(ID_WIDTH)], output::time(run.started));
        if run.lanes.is_empty() {
            table.add_row([Cell::new(id), Cell::new(&began), Cell::new(unfinished(run))]);
        }
        for (index, lane) in run.lanes.iter().enumerate() {
            let (word, color) = report::state_word(lane.state);
            table.add_row([
                Cell::new(if index == 0 { id } else { "" }),
                Cell::new(if index == 0 { began.as_str() } else { "" }),
                Cell::new(&lane.key),
                Cell::new(report::moved(&lane.left)),
                Cell::new(report::moved(&lane.right)),
                Cell::new(word).fg(color),
                Cell::new(output::span(lane.duration_ms)),
            ]);
        }
    }
    app.out.table(&table);
    Ok(Exit::Done)
}

fn unfinished(run: &RunRow) -> &'static str {
    if run.finished.is_some() { "no lane" } else { "running, or killed" }
}

pub(super) fn run(app: &App, command: RunCommand) -> Result<Exit> {
    let RunCommand::Show { id } = command;
    let mut db = app.state()?;
    let run = match db.show_run(&id)? {
        Some(run) => run,
        None => {
            let starting: Vec<String> =
                db.runs(RECENT)?.into_iter().map(|run| run.id).filter(|other| other.starts_with(&id)).collect();
            let [only] = starting.as_slice() else { return Err(unknown(app, &id, starting.len())) };
            db.show_run(only)?.ok_or_else(|| unknown(app, &id, 0))?
        }
    };
    app.out.document(&run);
    app.out.line(format_args!("Run {}  {}  began {}", run.id.bold(), run.trigger.dimmed(), output::time(run.started)));
    if run.finished.is_none() {
        app.out.line("It is running, or was killed.".yellow());
    }
    app.out.line("");
    report::lanes(app.out, &run.lanes, Tense::Done, &|verb| app.command(verb));
    for lane in &run.lanes {
        report::items(app.out, lane);
        untold(app, lane);
    }
    Ok(Exit::Done)
}

/// A long run's operations are not all kept.
fn untold(app: &App, lane: &LaneReport) {
    let done = lane.left.written() + lane.right.written();
    let told = lane.items.as_ref().map_or(0, Vec::len) as u64;
    if done > told {
        app.out.line(format_args!("  … and {} more", done - told));
    }
}

fn unknown(app: &App, id: &str, matching: usize) -> Error {
    let message = match matching {
        0 => format!("there is no run `{id}`"),
        number => format!("{number} runs start with `{id}`"),
    };
    Error::usage(message, format!("see `{}`", app.command("runs")))
}
