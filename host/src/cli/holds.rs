//! `holds`: operations that a guard stopped, and matches that only a person can decide.

use comfy_table::Cell;
use owo_colors::OwoColorize;

use super::app::App;
use super::args::HoldsCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output::{self, plural, short};
use crate::model::HoldKind;
use crate::store::{Db, HeldRow, HoldRow};

/// Rows asked for at once.
const PAGE: usize = 500;

pub(super) fn run(app: &App, command: HoldsCommand) -> Result<Exit> {
    match command {
        HoldsCommand::List => list(app),
        HoldsCommand::Show { id } => show(app, id),
        HoldsCommand::Release { id } => release(app, id),
        HoldsCommand::Drop { id } => drop(app, id),
        HoldsCommand::Pair { id, left, right } => pair(app, id, &left, &right),
    }
}

fn list(app: &App) -> Result<Exit> {
    let rows = all(&mut app.state()?)?;
    app.out.document(&serde_json::json!({ "holds": rows }));
    if rows.is_empty() {
        app.out.line("Nothing is held.");
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["Id", "Lane", "Kind", "Records", "Since", "Why"]);
    for row in &rows {
        table.add_row([
            Cell::new(row.id),
            Cell::new(&row.lane),
            Cell::new(word(row.kind)),
            output::count(row.count),
            Cell::new(output::time(row.at)),
            Cell::new(&row.summary),
        ]);
    }
    app.out.table(&table);
    app.out.line(format_args!("\nLook: {}", app.command("holds show ID").cyan()));
    Ok(Exit::Done)
}

fn show(app: &App, id: i64) -> Result<Exit> {
    let (hold, rows) = find(app, &mut app.state()?, id)?;
    app.out.document(&serde_json::json!({ "hold": hold, "rows": rows }));
    app.out.line(format_args!("{}  {}\n", hold.summary.bold(), hold.lane.dimmed()));
    let mut table = output::table(&["Side", "Record", "Name", "What happened"]);
    for row in &rows {
        table.add_row([
            Cell::new(row.side),
            Cell::new(&row.record),
            Cell::new(short(&row.label, 48)),
            Cell::new(happened(row)),
        ]);
    }
    app.out.table(&table);
    app.out.line("");
    for (does, command) in decisions(hold.kind) {
        app.out.line(format_args!("{does:<44}{}", app.command(&command.replace("ID", &id.to_string())).cyan()));
    }
    Ok(Exit::Done)
}

fn release(app: &App, id: i64) -> Result<Exit> {
    let mut db = app.state()?;
    let (hold, rows) = find(app, &mut db, id)?;
    let what = plural(rows.len() as u64, "record", "records");
    app.confirm(&match hold.kind {
        HoldKind::Removals | HoldKind::Emptied => format!("Let the next run carry out the removal of {what}?"),
        HoldKind::Match => format!("Take {what} for new ones?"),
        HoldKind::Identity => format!("Take {what} as changed?"),
    })?;
    let released = db.release_hold(id)?.unwrap_or(0);
    app.out.document(&serde_json::json!({ "released": released }));
    app.out.line(format_args!("{what} released. The next run carries it out: {}", app.command("sync").cyan()));
    Ok(Exit::Done)
}

fn drop(app: &App, id: i64) -> Result<Exit> {
    let mut db = app.state()?;
    let (hold, rows) = find(app, &mut db, id)?;
    let what = plural(rows.len() as u64, "record", "records");
    app.confirm(&match hold.kind {
        HoldKind::Removals | HoldKind::Emptied => {
            format!("Keep {what} that went missing on the other side, and stop following them?")
        }
        HoldKind::Match | HoldKind::Identity => format!("Leave {what} alone until changed?"),
    })?;
    let dropped = db.drop_hold(id)?.unwrap_or(0);
    app.out.document(&serde_json::json!({ "dropped": dropped }));
    app.out.line(format_args!("{what} left as they are."));
    Ok(Exit::Done)
}

fn pair(app: &App, id: i64, left: &str, right: &str) -> Result<Exit> {
    let mut db = app.state()?;
    find(app, &mut db, id)?;
    if !db.pair_held(id, left, right)? {
        return Err(Error::usage(
            format!("hold {id} has no record `{left}` on the left together with `{right}` on the right"),
            format!("see `{}`", app.command(&format!("holds show {id}"))),
        ));
    }
    app.out.document(&serde_json::json!({ "paired": { "left": left, "right": right } }));
    app.out.line(format_args!("Noted. The next run links them: {}", app.command("sync").cyan()));
    Ok(Exit::Done)
}

fn find(app: &App, db: &mut Db, id: i64) -> Result<(HoldRow, Vec<HeldRow>)> {
    db.held(id)?
        .ok_or_else(|| Error::usage(format!("there is no hold {id}"), format!("see `{}`", app.command("holds list"))))
}

fn all(db: &mut Db) -> Result<Vec<HoldRow>> {
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let page = db.holds(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = last.id;
        rows.extend(page);
    }
}

fn word(kind: HoldKind) -> &'static str {
    match kind {
        HoldKind::Removals => "many removals",
        HoldKind::Emptied => "emptied side",
        HoldKind::Match => "doubtful match",
        HoldKind::Identity => "another identity",
    }
}

fn happened(row: &HeldRow) -> &'static str {
    match (row.removed, row.candidate) {
        (Some(_), _) => "is gone",
        (None, true) => "may be the counterpart",
        (None, false) => "is new or changed",
    }
}

fn decisions(kind: HoldKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        HoldKind::Removals | HoldKind::Emptied => {
            &[("Remove exactly these on the other side:", "holds release ID"), ("Keep them there:", "holds drop ID")]
        }
        HoldKind::Match => &[
            ("These two are the same:", "holds pair ID LEFT-RECORD RIGHT-RECORD"),
            ("They are all different people:", "holds release ID"),
            ("Leave them alone:", "holds drop ID"),
        ],
        HoldKind::Identity => {
            &[("It is still the same one, take the change:", "holds release ID"), ("Leave it alone:", "holds drop ID")]
        }
    }
}
