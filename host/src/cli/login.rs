//! `connection login` and `connection reset`: logins that the host keeps, typed and forgotten.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use owo_colors::OwoColorize;
use pairwise_plugin_api::Principal;
use pairwise_plugin_api::ops::Ask;
use secrecy::SecretString;
use serde_json::json;

use super::app::App;
use super::connection::exit_of;
use super::error::{Error, Result};
use super::exit::Exit;
use super::output::plural;
use crate::chance::{Chance, Real};
use crate::config::{Problems, edit};
use crate::model::Side;
use crate::os;
use crate::schedule::{self, Unready};
use crate::store::Db;

pub(super) fn login(app: &App, name: &str, user: Option<String>, named: &[String]) -> Result<Exit> {
    let config = app.config()?;
    let plugins = app.plugins(&config)?;
    let principal = Principal(user.unwrap_or_default());
    let wanted = schedule::typed_secrets(&config, &plugins, name, &principal, named).map_err(refused)?;
    let mut typed = BTreeMap::new();
    for (secret, meaning) in wanted {
        let whose = if principal.is_connection() { name.to_owned() } else { format!("{} on {name}", principal.0) };
        let meaning = if meaning.is_empty() { String::new() } else { format!(" ({meaning})") };
        let text = ask(&format!("`{secret}` of {whose}{meaning}: "))
            .map_err(|error| Error::usage(format!("no `{secret}` was given: {error}"), "type it, or pipe it in"))?;
        if text.is_empty() {
            return Err(Error::usage(format!("no `{secret}` was given"), "type it, or pipe it in: one line for each"));
        }
        typed.insert(secret, SecretString::from(text));
    }
    schedule::log_in(&config, &plugins, name, &principal, &typed, &sign_in).map_err(refused)?;
    app.out.document(&json!({ "connection": name, "user": principal.0, "kept": typed.keys().collect::<Vec<_>>() }));
    app.out.line(format_args!("{} Logged in to `{name}`; the login is kept.", "✓".green()));
    Ok(Exit::Done)
}

fn refused(unready: Unready) -> Error {
    Error { exit: exit_of(&unready), problems: unready.problems }
}

/// Tells the person where to sign in, and waits a while. Ctrl-C ends it.
fn sign_in(ask: &Ask) -> bool {
    if !ask.text.is_empty() {
        anstream::eprintln!("{}", ask.text);
    }
    std::thread::sleep(Duration::from_millis(ask.wait_ms));
    true
}

/// One line of standard input; typed on a terminal, nobody sees it.
fn ask(question: &str) -> std::io::Result<String> {
    let mut line = String::new();
    if std::io::stdin().is_terminal() {
        write!(anstream::stderr(), "{question}")?;
        let hidden = os::Hidden::typing();
        std::io::stdin().read_line(&mut line)?;
        drop(hidden);
        writeln!(anstream::stderr())?;
    } else {
        std::io::stdin().read_line(&mut line)?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

pub(super) fn reset(app: &App, name: &str) -> Result<Exit> {
    let config = app.config()?;
    config.connection(name).map_err(Problems::from)?;
    let uses = |profile: &&crate::config::Profile| Side::BOTH.iter().any(|side| profile.connections[*side] == name);
    let profiles: Vec<_> = config.profiles.iter().filter(uses).collect();
    let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
    let known =
        if names.is_empty() { String::new() } else { format!(", and all that is known of {}", names.join(", ")) };
    app.confirm(&format!("Forget the logins of `{name}`{known}? No record is touched."))?;
    // First nothing may run, then nothing may be known, and last nobody can log in: a reset that stops halfway is repeated.
    for profile in profiles.iter().filter(|profile| profile.enabled) {
        edit::set_enabled(&profile.file, false)?;
    }
    let mut links = 0;
    let database = config.database();
    if database.exists() {
        let mut db = Db::open(&database)?;
        let now = Real::new().now();
        for lane in db.lanes()?.into_iter().filter(|lane| names.contains(&lane.profile.as_str())) {
            links += db.forget_lane(&lane, &os::this_process(now), now)?;
        }
    }
    let vault = config.vault();
    vault.kept().forget(name).map_err(|error| {
        Error::internal(format!("the logins under {} cannot be removed: {error}", vault.kept().folder().display()))
    })?;
    app.out.document(&json!({ "connection": name, "disabled": names, "links": links }));
    app.out.line(format_args!(
        "Forgot the logins of `{name}` and {}; {} disabled.",
        plural(links, "link", "links"),
        if names.is_empty() { "no profile was".to_owned() } else { format!("{} is", names.join(", ")) }
    ));
    app.out.line(format_args!("  {}", app.command(&format!("connection check {name}")).cyan()));
    Ok(Exit::Done)
}
