//! `history`: all that was ever done to one record, with the values that lost.

use owo_colors::OwoColorize;

use super::app::App;
use super::error::Result;
use super::exit::Exit;
use super::output::{self, short};

/// Values are cut to so many characters; JSON has them whole.
const VALUE_WIDTH: usize = 64;

pub(super) fn run(app: &App, id: &str) -> Result<Exit> {
    let rows = app.state()?.history_of_record(id)?;
    app.out.document(&serde_json::json!({ "history": rows }));
    if rows.is_empty() {
        app.out.line(format_args!("Nothing was ever done to `{id}`, or longer ago than history is kept."));
    }
    for row in &rows {
        app.out.line(format_args!(
            "{}  {} {} ({})  {}",
            output::time(row.at).dimmed(),
            row.op.bold(),
            row.label,
            row.side,
            row.reason.dimmed()
        ));
        for value in &row.values {
            let old = short(&value.old.to_string(), VALUE_WIDTH);
            let new = short(&value.new.to_string(), VALUE_WIDTH);
            app.out.line(format_args!(
                "    {}  {} → {}",
                value.field.dimmed(),
                format!("{old:?}").red(),
                format!("{new:?}").green()
            ));
        }
    }
    Ok(Exit::Done)
}
