//! `profile`: which connections are paired, and how.

use comfy_table::{Cell, Color};
use owo_colors::OwoColorize;
use pairwise_plugin_api::Severity;
use serde_json::json;

use super::app::App;
use super::args::ProfileCommand;
use super::connection::exit_of;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output;
use crate::config::{Config, Problem, Problems, Profile, edit};
use crate::model::{Direction, Side, Sides};
use crate::pipeline::translate::{FieldMap, Row};
use crate::schedule::{self, Inspected, Selected};

pub(super) fn run(app: &App, command: ProfileCommand) -> Result<Exit> {
    match command {
        ProfileCommand::List => list(app),
        ProfileCommand::Show { profile } => show(app, &profile),
        ProfileCommand::New { profile, preset, left, right } => new(app, &profile, &preset, &left, &right),
        ProfileCommand::Check { profile } => check(app, profile),
        ProfileCommand::Enable { profile } => switch(app, &profile, true),
        ProfileCommand::Disable { profile } => switch(app, &profile, false),
        ProfileCommand::Fields { profile, stream } => fields(app, &profile, stream.as_deref()),
    }
}

fn list(app: &App) -> Result<Exit> {
    let config = app.config()?;
    let rows = config.profiles.iter().map(|profile| {
        json!({
            "name": profile.name,
            "enabled": profile.enabled,
            "preset": profile.preset,
            "left": profile.connections.left,
            "right": profile.connections.right,
            "lanes": profile.lanes().iter().map(|lane| &lane.key).collect::<Vec<_>>(),
        })
    });
    app.out.document(&json!({ "profiles": rows.collect::<Vec<_>>() }));
    let mut table = output::table(&["Profile", "Preset", "Left", "Right", "Streams", ""]);
    for profile in &config.profiles {
        let (word, color) = if profile.enabled { ("enabled", Color::Green) } else { ("disabled", Color::Grey) };
        table.add_row([
            Cell::new(&profile.name),
            Cell::new(profile.preset.as_deref().unwrap_or("–")),
            Cell::new(&profile.connections.left),
            Cell::new(&profile.connections.right),
            Cell::new(streams(profile)),
            Cell::new(word).fg(color),
        ]);
    }
    app.out.table(&table);
    Ok(Exit::Done)
}

/// `contacts →, calendar ↔`, and for how many people.
fn streams(profile: &Profile) -> String {
    let mut words: Vec<String> = Vec::new();
    for lane in profile.lanes() {
        let word = format!("{} {}", lane.key.stream, arrow(lane.direction));
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let users = profile.users.iter().filter(|user| user.active).count();
    if users > 0 { format!("{} for {users}", words.join(", ")) } else { words.join(", ") }
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "↔",
        Direction::LeftToRight => "→",
        Direction::RightToLeft => "←",
        Direction::None => "off",
    }
}

fn show(app: &App, name: &str) -> Result<Exit> {
    let config = app.config()?;
    let profile = named(&config, name)?;
    let merged = profile.merged();
    app.out.document(&json!({ "name": profile.name, "file": profile.file, "profile": merged }));
    app.out.line(format_args!("# {}: its own keys over those of its preset", profile.file.display()).dimmed());
    let text = toml::to_string_pretty(&merged).map_err(|error| Error::internal(error.to_string()))?;
    app.out.line(text.trim_end());
    Ok(Exit::Done)
}

fn new(app: &App, name: &str, preset: &str, left: &str, right: &str) -> Result<Exit> {
    let config = app.config()?;
    for connection in [left, right] {
        config.connection(connection).map_err(usage)?;
    }
    let connections = Sides { left: left.to_owned(), right: right.to_owned() };
    let file = edit::new_profile(&config.folder, name, preset, &connections)?;
    app.out.document(&json!({ "profile": name, "file": file }));
    app.out.line(format_args!(
        "Wrote {}. It is not enabled yet.
",
        file.display()
    ));
    for (command, does) in
        [("profile check", "whether it would work"), ("plan", "what it would do"), ("profile enable", "let it run")]
    {
        app.out.line(format_args!("  {}   {}", app.command(&format!("{command} {name}")).cyan(), does.dimmed()));
    }
    Ok(Exit::Done)
}

fn switch(app: &App, name: &str, enabled: bool) -> Result<Exit> {
    let config = app.config()?;
    let profile = named(&config, name)?;
    if profile.enabled != enabled {
        edit::set_enabled(&profile.file, enabled)?;
        if let Err(error) = app.config() {
            // Two enabled profiles may be one too many: the file is put back as it was.
            edit::set_enabled(&profile.file, !enabled)?;
            return Err(error);
        }
    }
    app.out.document(&json!({ "profile": name, "enabled": enabled }));
    app.out.line(format_args!("`{name}` is {}.", if enabled { "enabled" } else { "disabled" }));
    Ok(Exit::Done)
}

fn check(app: &App, name: Option<String>) -> Result<Exit> {
    let config = app.config()?;
    let plugins = app.plugins(&config)?;
    // By name also those that are not enabled: a profile is checked before it is.
    let names = match name {
        Some(name) => vec![named(&config, &name)?.name.clone()],
        None => config.profiles.iter().map(|profile| profile.name.clone()).collect(),
    };
    let selected = if names.is_empty() { Vec::new() } else { select(&config, &names, None)? };
    let mut exit = Exit::Done;
    let mut told = Problems::default();
    let inspected = schedule::inspect(&config, &plugins, &selected);
    app.out.document(&json!({ "lanes": inspected.iter().map(document).collect::<Vec<_>>() }));
    for lane in &inspected {
        match &lane.unready {
            Some(unready) => {
                exit = exit.max(exit_of(unready));
                told.extend(unready.problems.iter().cloned());
                app.out.line(format_args!("{} {}", "✗".red(), lane.key));
            }
            None => {
                let fields = lane.map.as_ref().map_or(0, |map| map.rows().len());
                app.out.line(format_args!(
                    "{} {}  {}",
                    "✓".green(),
                    lane.key,
                    format_args!("{fields} fields").dimmed()
                ));
            }
        }
        for (side, conditions) in lane.conditions.iter() {
            for condition in conditions.iter().filter(|condition| condition.severity != Severity::Info) {
                app.out.line(format_args!("    {} {side}: {}", "note:".yellow(), condition.text));
            }
        }
    }
    if !told.is_empty() {
        anstream::eprintln!("\n{}", told.render(true));
    }
    Ok(exit)
}

fn document(lane: &Inspected) -> serde_json::Value {
    json!({
        "profile": lane.key.profile,
        "user": lane.key.user,
        "stream": lane.key.stream,
        "ok": lane.unready.is_none(),
        "problems": lane.unready.as_ref().map(|unready| &unready.problems),
        "conditions": lane.conditions,
        "fields": lane.map.as_ref().map(|map| map.rows().len()),
    })
}

fn fields(app: &App, name: &str, stream: Option<&str>) -> Result<Exit> {
    let config = app.config()?;
    let plugins = app.plugins(&config)?;
    let selected = select(&config, &[name.to_owned()], stream)?;
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    for lane in schedule::inspect(&config, &plugins, &selected) {
        let Some(map) = &lane.map else {
            if let Some(unready) = &lane.unready {
                exit = exit.max(exit_of(unready));
                anstream::eprintln!("{}", unready.problems.render(true));
            }
            continue;
        };
        app.out.line(format_args!("{}", lane.key.bold()));
        app.out.table(&field_table(map));
        app.out.line("");
        documents.push(json!({
            "profile": lane.key.profile,
            "user": lane.key.user,
            "stream": lane.key.stream,
            "fields": map.rows().iter().map(field_document).collect::<Vec<_>>(),
        }));
    }
    app.out.document(&json!({ "lanes": documents }));
    Ok(exit)
}

fn field_table(map: &FieldMap) -> comfy_table::Table {
    let mut table = output::table(&["Left", "", "Right", "Path"]);
    for row in map.rows() {
        table.add_row([
            Cell::new(row.native.left.join(", ")),
            Cell::new(arrow(travels(row))),
            Cell::new(row.native.right.join(", ")),
            Cell::new(&row.key).fg(Color::Grey),
        ]);
    }
    table
}

fn field_document(row: &Row) -> serde_json::Value {
    json!({
        "path": &*row.key,
        "left": row.native.left.iter().map(|name| &**name).collect::<Vec<_>>(),
        "right": row.native.right.iter().map(|name| &**name).collect::<Vec<_>>(),
        "direction": travels(row),
    })
}

/// Which way values of a row can travel, once it is asked which sides can be written.
fn travels(row: &Row) -> Direction {
    match (row.reaches(Side::Left, false), row.reaches(Side::Right, false)) {
        (true, true) => Direction::Both,
        (false, true) => Direction::LeftToRight,
        (true, false) => Direction::RightToLeft,
        (false, false) => Direction::None,
    }
}

fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Profile> {
    config.profile(name).map_err(usage)
}

fn select<'a>(config: &'a Config, names: &[String], stream: Option<&str>) -> Result<Vec<Selected<'a>>> {
    schedule::select(config, names, None, stream).map_err(usage)
}

fn usage(problem: Problem) -> Error {
    Error::new(Exit::Usage, problem)
}
