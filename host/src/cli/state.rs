//! `state`: the database as a file.

use std::path::Path;

use super::app::App;
use super::args::StateCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output::{plural, time};
use crate::chance::{Chance, Real};
use crate::store::{Db, Environment};

/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

pub(super) fn run(app: &App, command: StateCommand) -> Result<Exit> {
    match command {
        StateCommand::Backup { file } => backup(app, &file),
        StateCommand::Restore { file } => restore(app, &file),
        StateCommand::Compact { keep } => compact(app, keep),
    }
}

fn backup(app: &App, file: &Path) -> Result<Exit> {
    let path = app.config()?.database();
    if !path.exists() {
        return Err(Error::usage(
            format!("there is no state yet: {} does not exist", path.display()),
            format!("run `{}` first", app.command("sync")),
        ));
    }
    let db = Db::open(&path)?;
    db.backup(file)?;
    app.out.document(&serde_json::json!({ "file": file, "bytes": db.bytes()? }));
    app.out.line(format_args!("Wrote {}.", file.display()));
    Ok(Exit::Done)
}

fn restore(app: &App, file: &Path) -> Result<Exit> {
    let path = app.config()?.database();
    Db::check_backup(file)?;
    app.confirm(&format!("Put {} in the place of {}?", file.display(), path.display()))?;
    let restored = Db::restore(&path, file, Environment::default())?;
    app.out.document(&serde_json::json!({ "kept": restored.kept, "mark": restored.mark }));
    app.out.line("Restored. The next run of each lane lists both sides whole.");
    if let Some(kept) = restored.kept {
        app.out.line(format_args!("The state before is kept in {}.", kept.display()));
    }
    Ok(Exit::Done)
}

fn compact(app: &App, days: Option<u32>) -> Result<Exit> {
    let config = app.config()?;
    let kept = match days {
        Some(days) => i64::from(days) * DAY,
        None => i64::try_from(config.keep_history.as_millis()).unwrap_or(i64::MAX),
    };
    let since = Real::new().now().saturating_sub(kept);
    let done = app.state_of(&config)?.compact(since)?;
    app.out.document(&serde_json::json!({
        "bytes_before": done.before, "bytes_after": done.after, "history": done.history, "runs": done.runs,
    }));
    app.out.line(format_args!(
        "Forgot {} and {} from before {}; {} kB became {} kB.",
        plural(done.history as u64, "overwritten value", "overwritten values"),
        plural(done.runs as u64, "run", "runs"),
        time(since),
        done.before / 1000,
        done.after / 1000
    ));
    Ok(Exit::Done)
}
