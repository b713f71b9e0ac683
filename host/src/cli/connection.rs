//! `connection`: access to one system each.

use comfy_table::Cell;
use owo_colors::OwoColorize;
use pairwise_plugin_api::Severity;
use serde_json::json;

use super::app::App;
use super::args::ConnectionCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::login;
use super::output;
use crate::config::problem::suggest;
use crate::config::{HOST_FILE, Problems, edit};
use crate::model::LaneState;
use crate::plugins::{Installation, Plugins};
use crate::schedule::{self, Unready, Visited};

pub(super) fn run(app: &App, command: ConnectionCommand) -> Result<Exit> {
    match command {
        ConnectionCommand::List => list(app),
        ConnectionCommand::Check { connection } => check(app, connection),
        ConnectionCommand::Login { connection, user, secret } => login::login(app, &connection, user, &secret),
        ConnectionCommand::Reset { connection } => login::reset(app, &connection),
        ConnectionCommand::Add { name, plugin } => add(app, &name, &plugin),
    }
}

fn list(app: &App) -> Result<Exit> {
    let config = app.config()?;
    let uses = schedule::uses(&config);
    let rows = config.connections.values().map(|connection| {
        json!({
            "name": connection.name,
            "plugin": connection.plugin,
            "version": connection.version.to_string(),
            "profiles": uses.get(connection.name.as_str()),
        })
    });
    app.out.document(&json!({ "connections": rows.collect::<Vec<_>>() }));
    let mut table = output::table(&["Connection", "Plugin", "Version", "Profiles"]);
    for connection in config.connections.values() {
        let profiles = uses.get(connection.name.as_str()).map(|names| names.join(", ")).unwrap_or_default();
        table.add_row([
            Cell::new(&connection.name),
            Cell::new(&connection.plugin),
            Cell::new(&connection.version),
            Cell::new(profiles),
        ]);
    }
    app.out.table(&table);
    Ok(Exit::Done)
}

fn add(app: &App, name: &str, plugin: &str) -> Result<Exit> {
    // A folder without a configuration becomes one.
    let (folder, config) = match app.config() {
        Ok(config) => (config.folder.clone(), Some(config)),
        Err(error) => match &app.global.config {
            Some(folder) if !folder.join(HOST_FILE).exists() => (folder.clone(), None),
            _ => return Err(error),
        },
    };
    let installed = match &config {
        Some(config) => app.plugins(config)?,
        None => Plugins::open(Installation::new(None, folder.join("plugins.lock"), folder.join("state/cache")))?,
    };
    let known = installed.list().into_iter().filter_map(|found| found.manifest).find(|manifest| manifest.id == plugin);
    let Some(known) = known else {
        let ids = installed.ids();
        let help = suggest(plugin, ids.iter().map(String::as_str));
        return Err(Error::usage(format!("no plugin `{plugin}` is installed"), help));
    };
    edit::add_connection(&folder, name, plugin, Some(&known.config_schema), &known.secrets)?;
    let file = folder.join(HOST_FILE);
    app.out.document(&json!({ "connection": name, "file": file }));
    app.out.line(format_args!("Wrote `[connections.{name}]` into {}. Fill in what is required, then:", file.display()));
    app.out.line(format_args!("  {}", app.command(&format!("connection check {name}")).cyan()));
    Ok(Exit::Done)
}

fn check(app: &App, connection: Option<String>) -> Result<Exit> {
    let config = app.config()?;
    let plugins = app.plugins(&config)?;
    let names = match connection {
        Some(name) => vec![config.connection(&name).map_err(Problems::from)?.name.clone()],
        None => config.connections.keys().cloned().collect(),
    };
    let mut exit = Exit::Done;
    let mut rows = Vec::new();
    for name in names {
        match schedule::visit(&config, &plugins, &name) {
            Ok(visited) => {
                show(app, &name, &visited);
                rows.push(json!({
                    "name": name,
                    "ok": true,
                    "target": visited.description.target,
                    "plugin": visited.plugin.id,
                    "version": visited.plugin.version,
                    "capabilities": visited.description.capabilities,
                    "conditions": visited.conditions,
                    "sandbox": visited.sandbox,
                }));
            }
            Err(unready) => {
                exit = exit.max(exit_of(&unready));
                app.out.line(format_args!("{} {name}", "✗".red()));
                anstream::eprintln!("{}", unready.problems.render(true));
                rows.push(json!({ "name": name, "ok": false, "problems": unready.problems }));
            }
        }
    }
    app.out.document(&json!({ "connections": rows }));
    Ok(exit)
}

fn show(app: &App, name: &str, visited: &Visited) {
    app.out.line(format_args!(
        "{} {name}  {} {}  {}",
        "✓".green(),
        visited.plugin.id,
        visited.plugin.version.dimmed(),
        visited.description.target
    ));
    for condition in visited.conditions.iter().filter(|condition| condition.severity != Severity::Info) {
        app.out.line(format_args!("    {} {}", "note:".yellow(), condition.text));
    }
    if let Some(sandbox) = &visited.sandbox {
        app.out.line(format_args!("    {} {sandbox}", "sandbox:".dimmed()));
    }
}

/// The exit code of something that could not be opened.
pub(super) fn exit_of(unready: &Unready) -> Exit {
    match unready.state {
        LaneState::Unreachable => Exit::Unreachable,
        LaneState::Failed => Exit::Internal,
        _ => Exit::Usage,
    }
}
