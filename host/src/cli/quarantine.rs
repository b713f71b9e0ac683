//! `quarantine`: records that were set aside after an error. The others of their lanes went on.

use comfy_table::Cell;
use owo_colors::OwoColorize;

use super::app::App;
use super::args::QuarantineCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output::{self, plural, short};
use crate::store::{Db, QuarantineRow};

/// Rows asked for at once.
const PAGE: usize = 500;

pub(super) fn run(app: &App, command: QuarantineCommand) -> Result<Exit> {
    match command {
        QuarantineCommand::List => list(app),
        QuarantineCommand::Show { id } => show(app, id),
        QuarantineCommand::Retry { ids, all } => retry(app, ids, all),
        QuarantineCommand::Drop { ids } => drop(app, &ids),
    }
}

fn list(app: &App) -> Result<Exit> {
    let rows = all(&mut app.state()?)?;
    app.out.document(&serde_json::json!({ "quarantine": rows }));
    if rows.is_empty() {
        app.out.line("Nothing was set aside.");
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["Id", "Lane", "Side", "Record", "Why"]);
    for row in &rows {
        let name = if row.label.is_empty() { &row.record } else { &row.label };
        table.add_row([
            Cell::new(row.id),
            Cell::new(&row.lane),
            Cell::new(row.side),
            Cell::new(short(name, 40)),
            Cell::new(format!("{}: {}", row.code, short(&row.text, 90))),
        ]);
    }
    app.out.table(&table);
    app.out.line(format_args!(
        "\nA record that changes is looked at again by itself. At once: {}",
        app.command("quarantine retry ID").cyan()
    ));
    Ok(Exit::Done)
}

fn show(app: &App, id: i64) -> Result<Exit> {
    let row = app.state()?.quarantined(id)?.ok_or_else(|| unknown(app, id))?;
    app.out.document(&row);
    app.out.line(format_args!("{}  {}", row.label.bold(), row.lane.dimmed()));
    app.out.line(format_args!("  record  {} ({}, {})", row.record, row.entity, row.side));
    app.out.line(format_args!("  since   {} (run {})", output::time(row.at), row.run));
    app.out.line(format_args!("  why     {}: {}", row.code.yellow(), row.text));
    Ok(Exit::Done)
}

fn retry(app: &App, ids: Vec<i64>, every: bool) -> Result<Exit> {
    let mut db = app.state()?;
    let ids = if every { all(&mut db)?.iter().map(|row| row.id).collect() } else { ids };
    for id in &ids {
        if !db.retry_quarantined(*id)? {
            return Err(unknown(app, *id));
        }
    }
    app.out.document(&serde_json::json!({ "retried": ids }));
    app.out.line(format_args!(
        "{} looked at again by the next run: {}",
        plural(ids.len() as u64, "record is", "records are"),
        app.command("sync").cyan()
    ));
    Ok(Exit::Done)
}

fn drop(app: &App, ids: &[i64]) -> Result<Exit> {
    let mut db = app.state()?;
    for id in ids {
        if !db.drop_quarantined(*id)? {
            return Err(unknown(app, *id));
        }
    }
    app.out.document(&serde_json::json!({ "dropped": ids }));
    app.out.line(format_args!("{} left alone until changed.", plural(ids.len() as u64, "record is", "records are")));
    Ok(Exit::Done)
}

fn all(db: &mut Db) -> Result<Vec<QuarantineRow>> {
    let mut rows = Vec::new();
    for lane in db.lanes()? {
        let mut after = 0;
        loop {
            let page = db.quarantine(&lane, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            rows.extend(page);
        }
    }
    Ok(rows)
}

fn unknown(app: &App, id: i64) -> Error {
    Error::usage(format!("there is no quarantined record {id}"), format!("see `{}`", app.command("quarantine list")))
}
