//! `conflicts`: fields that changed on both sides and wait for a decision.

use comfy_table::Cell;
use owo_colors::OwoColorize;

use super::app::App;
use super::args::ConflictsCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output::{self, plural, short};
use crate::model::{Side, Winner};
use crate::store::{Chosen, ConflictRow, Db};

/// Rows asked for at once.
const PAGE: usize = 500;
/// Values in a list are cut to so many characters.
const VALUE_WIDTH: usize = 32;

pub(super) fn run(app: &App, command: ConflictsCommand) -> Result<Exit> {
    match command {
        ConflictsCommand::List => list(app),
        ConflictsCommand::Show { id } => show(app, id),
        ConflictsCommand::Resolve { ids, all, prefer } => resolve(app, &ids, all, prefer.into()),
    }
}

fn list(app: &App) -> Result<Exit> {
    let rows = all(&mut app.state()?)?;
    app.out.document(&serde_json::json!({ "conflicts": rows }));
    if rows.is_empty() {
        app.out.line("No conflicts.");
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["Id", "Lane", "Record", "Field", "Left", "Right", "Decision"]);
    for row in &rows {
        table.add_row([
            Cell::new(row.id),
            Cell::new(&row.lane),
            Cell::new(short(&row.label, VALUE_WIDTH)),
            Cell::new(&row.path),
            Cell::new(short(&row.values.left.to_string(), VALUE_WIDTH)),
            Cell::new(short(&row.values.right.to_string(), VALUE_WIDTH)),
            Cell::new(row.decision.map_or("open", word)),
        ]);
    }
    app.out.table(&table);
    if rows.iter().any(|row| row.decision.is_none()) {
        app.out
            .line(format_args!("\nDecide: {}", app.command("conflicts resolve ID --prefer left|right|latest").cyan()));
    }
    Ok(Exit::Done)
}

fn show(app: &App, id: i64) -> Result<Exit> {
    let row = app.state()?.conflict(id)?.ok_or_else(|| unknown(app, id))?;
    app.out.document(&row);
    app.out.line(format_args!("{}  {}  {}", row.label.bold(), row.path, row.lane.dimmed()));
    for side in Side::BOTH {
        let modified = row.modified[side].map_or(String::new(), |at| format!("  changed {}", output::time(at)));
        let record = row.records[side].as_ref().map_or(String::new(), |at| format!("  {}", at.id));
        app.out.line(format_args!("\n{}{}{}", side.bold(), record.dimmed(), modified.dimmed()));
        app.out.line(&row.values[side]);
    }
    match row.decision {
        Some(winner) => app.out.line(format_args!("\nDecided: {}. The next run carries it out.", word(winner))),
        None => app.out.line(format_args!(
            "\nDecide: {}",
            app.command(&format!("conflicts resolve {id} --prefer left|right|latest")).cyan()
        )),
    }
    Ok(Exit::Done)
}

fn resolve(app: &App, ids: &[i64], every: bool, winner: Winner) -> Result<Exit> {
    let mut db = app.state()?;
    if let Some(id) = ids.iter().find(|id| !matches!(db.conflict(**id), Ok(Some(_)))) {
        return Err(unknown(app, *id));
    }
    let open = if every { all(&mut db)?.len() } else { ids.len() };
    if every && open > 0 {
        app.confirm(&format!("Let {} win {}?", word(winner), plural(open as u64, "conflict", "conflicts")))?;
    }
    let mut decided = 0;
    if every {
        for lane in db.lanes()? {
            decided += db.decide_conflicts(&Chosen::Lane(lane), winner)?;
        }
    } else {
        for id in ids {
            decided += db.decide_conflicts(&Chosen::One(*id), winner)?;
        }
    }
    app.out.document(&serde_json::json!({ "decided": decided }));
    app.out.line(format_args!(
        "{} decided: {}. The next run carries it out: {}",
        plural(decided as u64, "field", "fields"),
        word(winner),
        app.command("sync").cyan()
    ));
    Ok(Exit::Done)
}

fn all(db: &mut Db) -> Result<Vec<ConflictRow>> {
    let mut rows = Vec::new();
    for lane in db.lanes()? {
        let mut after = 0;
        loop {
            let page = db.conflicts(&lane, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            rows.extend(page);
        }
    }
    Ok(rows)
}

fn word(winner: Winner) -> &'static str {
    match winner {
        Winner::Latest => "the side that changed last",
        Winner::Left => "left",
        Winner::Right => "right",
        Winner::Hold => "open",
    }
}

fn unknown(app: &App, id: i64) -> Error {
    Error::usage(format!("there is no conflict {id}"), format!("see `{}`", app.command("conflicts list")))
}
