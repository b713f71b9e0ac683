//! `plugin`: what is installed, what it says about itself, what is locked.

use std::path::Path;

use comfy_table::{Cell, Color};
use owo_colors::OwoColorize;
use pairwise_plugin_api::manifest::Port;
use serde_json::json;

use super::app::App;
use super::args::PluginCommand;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output;
use crate::plugins::PluginStatus;
use crate::schedule;

/// So much of a hash tells files apart for people.
const HASH_WIDTH: usize = 12;

pub(super) fn run(app: &App, command: PluginCommand) -> Result<Exit> {
    match command {
        PluginCommand::List => list(app),
        PluginCommand::Inspect { file } => inspect(app, &file),
        PluginCommand::Lock { ids } => lock(app, &ids),
    }
}

fn list(app: &App) -> Result<Exit> {
    let config = app.config()?;
    let found = app.plugins(&config)?.list();
    app.out.document(&json!({ "plugins": found }));
    if found.is_empty() {
        app.out.line(format_args!("No plugin was found in {} or beside the program.", config.plugin_dir.display()));
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["Plugin", "Version", "API", "State", "File"]);
    for plugin in &found {
        let (id, version) = match &plugin.manifest {
            Some(manifest) => (manifest.id.clone(), manifest.version.to_string()),
            None => ("–".to_owned(), String::new()),
        };
        let api = plugin.stamp.as_ref().map(|stamp| stamp.plugin_api.to_string()).unwrap_or_default();
        table.add_row([
            Cell::new(id),
            Cell::new(version),
            Cell::new(api),
            state(plugin),
            Cell::new(plugin.file.display()),
        ]);
    }
    app.out.table(&table);
    for plugin in &found {
        if let Some(problem) = &plugin.problem {
            app.out.line(format_args!("{} {problem}", "problem:".red()));
        }
    }
    Ok(Exit::Done)
}

fn state(plugin: &PluginStatus) -> Cell {
    match (&plugin.problem, &plugin.lock) {
        (Some(_), Some(lock)) => Cell::new(format!("unusable, {lock}")).fg(Color::Red),
        (Some(_), None) => Cell::new("unusable").fg(Color::Red),
        (None, Some(lock)) => Cell::new(lock).fg(Color::Green),
        (None, None) => Cell::new("usable").fg(Color::Green),
    }
}

fn inspect(app: &App, file: &Path) -> Result<Exit> {
    let config = app.config()?;
    let plugins = app.plugins(&config)?;
    let known = plugins.list();
    let by_id =
        |plugin: &&PluginStatus| plugin.manifest.as_ref().is_some_and(|manifest| Path::new(&manifest.id) == file);
    let status = match known.iter().find(by_id).filter(|_| !file.exists()) {
        Some(status) => status.clone(),
        None => plugins.inspect(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned())),
    };
    if status.manifest.is_none() {
        let problem = status.problem.unwrap_or_else(|| format!("{} says nothing about itself", file.display()));
        let help = format!("name a plugin or a file of one: see `{}`", app.command("plugin list"));
        return Err(Error::usage(problem, help));
    }
    // What no look at the file shows: whether it loads. Only a plugin that may be used is run.
    let probed = match (&status.problem, &status.manifest) {
        (None, Some(manifest)) => {
            let requirement = semver::VersionReq {
                comparators: vec![semver::Comparator {
                    op: semver::Op::Exact,
                    major: manifest.version.major,
                    minor: Some(manifest.version.minor),
                    patch: Some(manifest.version.patch),
                    pre: manifest.version.pre.clone(),
                }],
            };
            let plugin = plugins.resolve(&manifest.id, &requirement)?;
            Some(schedule::probe(&config, &plugin).map_err(|error| error.to_string()))
        }
        _ => None,
    };
    app.out.document(&json!({
        "plugin": status,
        "loads": probed.as_ref().map(std::result::Result::is_ok),
        "sandbox": probed.as_ref().and_then(|probed| probed.as_ref().ok()),
        "load_problem": probed.as_ref().and_then(|probed| probed.as_ref().err()),
    }));
    show(app, &status);
    match &probed {
        Some(Ok(sandbox)) => app.out.line(format_args!("  loads      {}; sandbox: {sandbox}", "yes".green())),
        Some(Err(problem)) => app.out.line(format_args!("  loads      {}: {problem}", "no".red())),
        None => {}
    }
    if let Some(problem) = &status.problem {
        app.out.line(format_args!("  usable     {}: {problem}", "no".red()));
    }
    Ok(if probed.is_some_and(|probed| probed.is_ok()) { Exit::Done } else { Exit::Usage })
}

fn show(app: &App, status: &PluginStatus) {
    let out = app.out;
    match &status.manifest {
        Some(manifest) => {
            out.line(format_args!("{} {}  {}", manifest.name.bold(), manifest.version, manifest.id.dimmed()))
        }
        None => out.line(status.file.display().bold()),
    }
    out.line(format_args!("  file       {}", status.file.display()));
    if let Some(hash) = &status.sha256 {
        out.line(format_args!("  sha256     {hash}"));
    }
    if let Some(lock) = &status.lock {
        out.line(format_args!("  lock       {lock}"));
    }
    if let Some(stamp) = &status.stamp {
        out.line(format_args!("  built for  plugin API {}, {}", stamp.plugin_api, stamp.target));
    }
    let Some(manifest) = &status.manifest else { return };
    out.line(format_args!("  vendor     {}", manifest.vendor));
    for (name, words) in
        [("can", &manifest.capabilities), ("entities", &manifest.entities), ("operations", &manifest.ops)]
    {
        if !words.is_empty() {
            out.line(format_args!("  {name:<10} {}", words.join(", ")));
        }
    }
    let paths: Vec<String> = manifest.paths_wanted.iter().map(ToString::to_string).collect();
    let ports: Vec<String> = manifest.ports_wanted.iter().map(port).collect();
    for (name, wanted) in [("files", paths), ("hosts", manifest.hosts_wanted.clone()), ("ports", ports)] {
        out.line(format_args!(
            "  {name:<10} {}",
            if wanted.is_empty() { "none".to_owned() } else { wanted.join(", ") }
        ));
    }
    for secret in &manifest.secrets {
        let required = if secret.required { "required" } else { "optional" };
        out.line(format_args!("  secret     {} ({required})  {}", secret.name, secret.text.dimmed()));
    }
    settings(app, &manifest.config_schema);
}

fn port(port: &Port) -> String {
    match port {
        Port::Number(number) => number.to_string(),
        Port::Setting(setting) => setting.clone(),
    }
}

fn settings(app: &App, schema: &serde_json::Value) {
    let Some(properties) = schema.get("properties").and_then(|properties| properties.as_object()) else { return };
    let required = |name: &str| {
        schema.get("required").and_then(|list| list.as_array()).is_some_and(|list| list.iter().any(|key| key == name))
    };
    app.out.line("  settings");
    for (name, property) in properties {
        let text = property.get("description").and_then(|text| text.as_str()).unwrap_or_default();
        let mark = if required(name) { " (required)" } else { "" };
        app.out.line(format_args!("    {}{mark}  {}", name.cyan(), output::short(text, 100).dimmed()));
    }
}

fn lock(app: &App, ids: &[String]) -> Result<Exit> {
    let config = app.config()?;
    let mut plugins = app.plugins(&config)?;
    let changes = plugins.lock(ids)?;
    app.out.document(&json!({ "locked": changes }));
    for change in &changes {
        let word = if change.changed { "locked".green().to_string() } else { "as before".dimmed().to_string() };
        let hash = &change.sha256[..HASH_WIDTH.min(change.sha256.len())];
        app.out.line(format_args!("{word}  {} {}  {hash}  {}", change.id, change.version, change.file.display()));
    }
    if changes.is_empty() {
        app.out.line("No plugin was found that could be locked.");
    }
    Ok(Exit::Done)
}
