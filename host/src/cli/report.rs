//! What a run did or would do, for eyes: a line per lane, then what waits and the command that decides it.

use comfy_table::{Cell, Color};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::output::{self, Out};
use crate::config::Problems;
use crate::model::{Counts, Item, LaneReport, LaneState, Op, Side};

/// Values in a plan are cut to so many characters.
const VALUE_WIDTH: usize = 48;
/// So many operations of a lane are shown; JSON has all.
const SHOWN: usize = 200;

/// The document of `sync` and `plan`.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    runs: &'a [LaneReport],
    /// Why profiles were not ready.
    #[serde(skip_serializing_if = "Problems::is_empty")]
    problems: &'a Problems,
}

impl<'a> Document<'a> {
    pub(crate) fn new(runs: &'a [LaneReport], problems: &'a Problems) -> Self {
        Document { runs, problems }
    }
}

/// Whether it has happened or would happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tense {
    /// A run.
    Done,
    /// A plan.
    Planned,
}

/// One line for each lane, then the reasons of those that did not end well, then what waits.
pub(crate) fn lanes(out: Out, reports: &[LaneReport], tense: Tense, command: &dyn Fn(&str) -> String) {
    if reports.is_empty() {
        return;
    }
    let mut table = output::table(&["Lane", "Read", "To the left", "To the right", "Linked", "State", "Time"]);
    for report in reports {
        table.add_row([
            Cell::new(&report.key),
            output::count(report.pulled.left + report.pulled.right),
            Cell::new(moved(&report.left)),
            Cell::new(moved(&report.right)),
            output::count(report.adopted),
            state(report),
            Cell::new(output::span(report.duration_ms)),
        ]);
    }
    out.table(&table);
    for report in reports {
        reasons(out, report);
    }
    waiting(out, reports, tense, command);
}

/// `2 new, 1 changed, 3 gone`, or a dash.
pub(crate) fn moved(counts: &Counts) -> String {
    let parts: Vec<String> = [
        (counts.created, "new"),
        (counts.updated, "changed"),
        (counts.deleted, "removed"),
        (counts.unlinked, "unlinked"),
        (counts.failed, "failed"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    if parts.is_empty() { "–".into() } else { parts.join(", ") }
}

fn state(report: &LaneReport) -> Cell {
    let (word, color) = state_word(report.state);
    Cell::new(word).fg(color)
}

/// A lane's end in a word, with its colour.
pub(crate) fn state_word(state: LaneState) -> (&'static str, Color) {
    match state {
        LaneState::Done => ("done", Color::Green),
        LaneState::Partial => ("waits for you", Color::Yellow),
        LaneState::Guarded => ("stopped by a guard", Color::Yellow),
        LaneState::Busy => ("busy", Color::Yellow),
        LaneState::Unreachable => ("unreachable", Color::Red),
        LaneState::Misconfigured => ("misconfigured", Color::Red),
        LaneState::Cancelled => ("stopped", Color::Yellow),
        LaneState::Failed => ("failed", Color::Red),
    }
}

fn reasons(out: Out, report: &LaneReport) {
    if report.error.is_none() && report.notes.is_empty() {
        return;
    }
    out.line(format_args!("\n{}", report.key.bold()));
    if let Some(error) = &report.error {
        out.line(format_args!("  {} {error}", "stopped:".red()));
    }
    for note in &report.notes {
        out.line(format_args!("  {} {note}", "note:".yellow()));
    }
}

fn waiting(out: Out, reports: &[LaneReport], tense: Tense, command: &dyn Fn(&str) -> String) {
    let sum = |count: fn(&LaneReport) -> u64| reports.iter().map(count).sum::<u64>();
    let rows = [
        (
            sum(|report| report.conflicts),
            "field changed on both sides",
            "fields changed on both sides",
            "conflicts list",
        ),
        (sum(|report| report.held), "operation held", "operations held", "holds list"),
        (sum(|report| report.quarantined), "record set aside", "records set aside", "quarantine list"),
    ];
    if rows.iter().all(|(number, ..)| *number == 0) {
        return;
    }
    out.line(match tense {
        Tense::Done => format!("\n{}", "Waiting for you".bold()),
        Tense::Planned => format!("\n{}", "Would wait for you".bold()),
    });
    for (number, one, many, verb) in rows {
        if number > 0 {
            let what = output::plural(number, one, many);
            match tense {
                Tense::Done => out.line(format_args!("  {what:<34}{}", command(verb).cyan())),
                Tense::Planned => out.line(format_args!("  {what}")),
            }
        }
    }
}

/// Every operation of a lane, field by field.
pub(crate) fn items(out: Out, report: &LaneReport) {
    let Some(items) = report.items.as_deref().filter(|items| !items.is_empty()) else { return };
    out.line(format_args!("\n{}", report.key.bold()));
    for item in items.iter().take(SHOWN) {
        self::item(out, item);
    }
    if items.len() > SHOWN {
        out.line(format_args!("  … and {} more; --format json tells them all", items.len() - SHOWN));
    }
}

fn item(out: Out, item: &Item) {
    let label = if item.label.is_empty() { &item.id } else { &item.label };
    let line = format!("{} {:<9} {:<5}  {}", sign(item.op), verb(item.op), item.side.name(), output::short(label, 48));
    let line = match item.op {
        Op::Create | Op::Recreate => line.green().to_string(),
        Op::Update | Op::Adopt | Op::Include => line.cyan().to_string(),
        Op::Delete | Op::Unlink | Op::Exclude => line.red().to_string(),
        Op::Conflict | Op::Quarantine => line.yellow().to_string(),
    };
    let held = if item.held { " (waits)".yellow().to_string() } else { String::new() };
    let id = if item.id.is_empty() { &item.other_id } else { &item.id };
    out.line(format_args!("  {line}{held}  {}", format_args!("{}  {id}", item.reason).dimmed()));
    if matches!(item.op, Op::Create | Op::Recreate) {
        return;
    }
    for field in &item.fields {
        let old = output::short(&field.old.to_string(), VALUE_WIDTH);
        let new = output::short(&field.new.to_string(), VALUE_WIDTH);
        let arrow = match field.from {
            Side::Left => "→",
            Side::Right => "←",
        };
        out.line(format_args!("        {}  {old:?} {arrow} {new:?}", field.path.dimmed()));
    }
}

fn sign(op: Op) -> char {
    match op {
        Op::Create | Op::Recreate => '+',
        Op::Update | Op::Include => '~',
        Op::Delete | Op::Unlink | Op::Exclude => '-',
        Op::Adopt => '=',
        Op::Conflict | Op::Quarantine => '!',
    }
}

/// An operation in a word.
pub(crate) fn verb(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Recreate => "recreate",
        Op::Delete => "delete",
        Op::Include => "join",
        Op::Exclude => "leave",
        Op::Unlink => "unlink",
        Op::Adopt => "link",
        Op::Conflict => "conflict",
        Op::Quarantine => "set aside",
    }
}
