//! `doctor`: the whole installation, part by part, and what to do about each that is not well.

use owo_colors::OwoColorize;
use serde::Serialize;

use super::app::App;
use super::connection::exit_of;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output;
use crate::chance::{Chance, Real};
use crate::config::Config;
use crate::model::StoreError;
use crate::plugins::Plugins;
use crate::schedule::{self, Selected};
use crate::store::Db;

/// 2024-01-01T00:00:00Z: an earlier clock has lost its battery, and "latest wins" would go wrong.
const PLAUSIBLE: i64 = 1_704_067_200_000;

/// How one part of the installation is.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    part: String,
    state: Health,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Well,
    Warning,
    Ill,
}

/// All that was found.
#[derive(Debug, Default)]
struct Findings {
    all: Vec<Finding>,
    exit: Exit,
}

impl Findings {
    fn well(&mut self, part: &str, text: impl Into<String>) {
        self.push(part, Health::Well, text.into(), None);
    }

    fn warn(&mut self, part: &str, text: impl Into<String>, help: &str) {
        self.push(part, Health::Warning, text.into(), Some(help.to_owned()));
    }

    fn ill(&mut self, part: &str, exit: Exit, text: impl Into<String>, help: Option<String>) {
        self.exit = self.exit.max(exit);
        self.push(part, Health::Ill, text.into(), help);
    }

    fn push(&mut self, part: &str, state: Health, text: String, help: Option<String>) {
        self.all.push(Finding { part: part.to_owned(), state, text, help });
    }
}

pub(super) fn run(app: &App) -> Result<Exit> {
    let mut found = Findings::default();
    found.well("pairwise", super::version::line());
    clock(&mut found);
    match app.config() {
        Ok(config) => {
            let text = format!(
                "{}: {}, {}",
                config.folder.display(),
                output::plural(config.connections.len() as u64, "connection", "connections"),
                output::plural(config.profiles.len() as u64, "profile", "profiles")
            );
            found.well("configuration", text);
            state(app, &config, &mut found);
            match app.plugins(&config) {
                Ok(plugins) => {
                    libraries(app, &config, &plugins, &mut found);
                    connections(&config, &plugins, &mut found);
                    profiles(&config, &plugins, &mut found);
                }
                Err(error) => ill(&mut found, "plugins.lock", &error),
            }
        }
        Err(error) => ill(&mut found, "configuration", &error),
    }
    show(app, &found);
    Ok(found.exit)
}

fn ill(found: &mut Findings, part: &str, error: &Error) {
    for problem in error.problems.iter() {
        found.ill(part, error.exit, problem.sentence(), None);
    }
}

fn clock(found: &mut Findings) {
    let now = Real::new().now();
    if now < PLAUSIBLE {
        let text = format!("this machine believes it is {}", output::time(now));
        found.ill("clock", Exit::Usage, text, Some("set the clock: who changed last is decided by it".into()));
    } else {
        found.well("clock", output::time(now));
    }
}

fn state(app: &App, config: &Config, found: &mut Findings) {
    let database = config.database();
    if !database.exists() {
        return match writable(config) {
            Ok(()) => found.well("state", format!("{} will be made by the first run", database.display())),
            Err(error) => {
                let text = format!("{} cannot be written: {error}", config.state_dir.display());
                found.ill("state", Exit::Usage, text, Some("set `state_dir` to a folder that you may write to".into()));
            }
        };
    }
    let examined = Db::open(&database).and_then(|mut db| Ok((db.integrity()?, db.bytes()?, db.lanes()?.len())));
    match examined {
        Ok((damage, bytes, lanes)) if damage.is_empty() => {
            let lanes = output::plural(lanes as u64, "lane", "lanes");
            found.well("state", format!("{}: sound, {} kB, {lanes}", database.display(), bytes / 1000));
        }
        Ok((damage, ..)) => {
            let text = format!("{} is damaged: {}", database.display(), damage.join("; "));
            found.ill(
                "state",
                Exit::Internal,
                text,
                Some(format!("put a backup back: `{}`", app.command("state restore FILE"))),
            );
        }
        Err(error @ StoreError::Failed { .. }) => found.ill("state", Exit::Internal, error.to_string(), None),
        Err(error) => found.ill("state", Exit::Usage, error.to_string(), None),
    }
}

/// Whether the state folder, or the innermost folder on the way to it that is there, can be written. Nothing is left behind.
fn writable(config: &Config) -> std::io::Result<()> {
    let folder = config.state_dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(&config.folder);
    let probe = folder.join(format!(".pairwise-doctor-{}", Real::new().id()));
    std::fs::write(&probe, "")?;
    std::fs::remove_file(probe)
}

fn libraries(app: &App, config: &Config, plugins: &Plugins, found: &mut Findings) {
    let used: Vec<&str> = config.connections.values().map(|connection| connection.plugin.as_str()).collect();
    let mut probed = Vec::new();
    for connection in config.connections.values() {
        let part = format!("plugin {}", connection.plugin);
        let plugin = match plugins.resolve(&connection.plugin, &connection.version) {
            Ok(plugin) => plugin,
            Err(error) => {
                found.ill(&part, Exit::Usage, error.to_string(), None);
                continue;
            }
        };
        let name = plugin.name();
        if probed.contains(&plugin.sha256) {
            continue;
        }
        probed.push(plugin.sha256.clone());
        match schedule::probe(config, &plugin) {
            Ok(sandbox) if sandbox.missing.is_empty() => {
                found.well(&part, format!("{} loads, {}; sandbox: {sandbox}", name.version, plugin.lock));
            }
            Ok(sandbox) => {
                let text = format!("{} loads, {}; sandbox: {sandbox}", name.version, plugin.lock);
                let help =
                    "a newer kernel has Landlock and seccomp; until then the plugin is trusted with more than it needs";
                found.warn(&part, text, help);
            }
            Err(error) => found.ill(&part, Exit::Usage, error.to_string(), None),
        }
    }
    for plugin in plugins.list() {
        let unused = plugin.manifest.as_ref().is_none_or(|manifest| !used.contains(&manifest.id.as_str()));
        if let Some(problem) = plugin.problem.filter(|_| unused) {
            found.warn(
                &format!("file {}", plugin.file.display()),
                problem,
                &format!("see `{}`", app.command("plugin list")),
            );
        }
    }
}

fn connections(config: &Config, plugins: &Plugins, found: &mut Findings) {
    for name in config.connections.keys() {
        let part = format!("connection {name}");
        match schedule::visit(config, plugins, name) {
            Ok(visited) => found.well(&part, visited.description.target),
            Err(unready) => {
                let exit = exit_of(&unready);
                for problem in unready.problems.iter() {
                    found.ill(&part, exit, problem.sentence(), None);
                }
            }
        }
    }
}

/// Whether a run could start: what the sides say to the streams that work on them. What was said of a connection is not
/// said again.
fn profiles(config: &Config, plugins: &Plugins, found: &mut Findings) {
    let selected = match schedule::select(config, &[], None, None) {
        Ok(selected) => selected,
        Err(problem) => return found.ill("profiles", Exit::Usage, problem.sentence(), None),
    };
    let lanes = schedule::inspect(config, plugins, &selected);
    for Selected { profile, .. } in &selected {
        let part = format!("profile {}", profile.name);
        let mine: Vec<_> = lanes.iter().filter(|lane| lane.key.profile == profile.name).collect();
        let ready = mine.iter().filter(|lane| lane.unready.is_none()).count();
        for unready in mine.iter().filter_map(|lane| lane.unready.as_ref()) {
            for problem in unready.problems.iter() {
                let text = problem.sentence();
                if !found.all.iter().any(|finding| finding.text == text) {
                    found.ill(&part, exit_of(unready), text, None);
                }
            }
        }
        if ready == mine.len() {
            found.well(&part, format!("{} could start", output::plural(ready as u64, "lane", "lanes")));
        }
    }
    for profile in config.profiles.iter().filter(|profile| !profile.enabled) {
        found.well(&format!("profile {}", profile.name), "is not enabled");
    }
}

fn show(app: &App, found: &Findings) {
    app.out.document(&serde_json::json!({ "ok": found.exit == Exit::Done, "findings": found.all }));
    let width = found.all.iter().map(|finding| finding.part.chars().count()).max().unwrap_or(0).min(40);
    for finding in &found.all {
        let mark = match finding.state {
            Health::Well => "✓".green().to_string(),
            Health::Warning => "!".yellow().to_string(),
            Health::Ill => "✗".red().to_string(),
        };
        app.out.line(format_args!("{mark} {:<width$}  {}", finding.part, finding.text));
        if let Some(help) = &finding.help {
            app.out.line(format_args!("  {:<width$}  {} {help}", "", "→".cyan()));
        }
    }
    if found.exit == Exit::Done {
        app.out.line(format_args!("\n{}", "All is well.".green().bold()));
    }
}
