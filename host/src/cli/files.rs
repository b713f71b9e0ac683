//! Commands that write configuration files: they add to what is there, keep every comment, and replace a file as a whole.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value as Json;
use toml_edit::{DocumentMut, Key, value};

use super::error::{Error, Result};
use crate::config::{HOST_FILE, Profile};

/// Says in its file whether a profile runs.
pub(super) fn enable(profile: &Profile, enabled: bool) -> Result<()> {
    let text = read(&profile.file)?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error| Error::usage(format!("{}: {error}", profile.file.display()), "put the file right first"))?;
    document["enabled"] = value(enabled);
    replace(&profile.file, &document.to_string())
}

/// A profile to start from.
pub(super) fn new_profile(
    folder: &Path,
    name: &str,
    preset: &str,
    left: &str,
    right: &str,
) -> Result<std::path::PathBuf> {
    check_name("profile", name)?;
    let file = folder.join("profiles").join(format!("{name}.toml"));
    if file.exists() {
        return Err(Error::usage(
            format!("{} is there already", file.display()),
            "choose another name, or edit that file",
        ));
    }
    fs::create_dir_all(folder.join("profiles")).map_err(|error| unwritable(&file, &error))?;
    let text = format!(
        "# Pairs two connections. `pairwise profile check {name}` says whether it would work, `pairwise plan {name}` what it\n\
         # would do, `pairwise profile enable {name}` lets it run.\n\
         preset  = {preset}\n\
         left    = {left}\n\
         right   = {right}\n\
         enabled = false\n\
         \n\
         # When it runs once `pairwise serve` runs: {{ every = \"30 minutes\" }}, {{ daily = \"02:30\", zone = \"Europe/Berlin\" }}, …\n\
         # schedule = {{ every = \"30 minutes\" }}\n\
         \n\
         # What the preset says may be said otherwise here; `pairwise profile show {name}` prints all of it.\n\
         # [streams.contacts]\n\
         # conflict = {{ winner = \"latest\", per = \"field\", tie = \"left\" }}\n\
         # fields   = [ {{ left = \"notes/1\", right = \"notes/1\", direction = \"left_to_right\" }} ]\n",
        preset = value(preset),
        left = value(left),
        right = value(right),
    );
    replace(&file, &text)?;
    Ok(file)
}

/// A connection to start from, with every setting that its plugin knows.
pub(super) fn add_connection(folder: &Path, name: &str, plugin: &str, schema: Option<&Json>) -> Result<()> {
    check_name("connection", name)?;
    let file = folder.join(HOST_FILE);
    let mut text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "# The host and its connections. Paths start at this folder.\nstate_dir = \"state\"\n".to_owned()
        }
        Err(error) => return Err(unreadable(&file, &error)),
    };
    let key = Key::new(name);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "\n[connections.{key}]\nplugin = {}\n", value(plugin));
    let _ = writeln!(
        text,
        "# secrets = {{ password = {{ env = \"…\" }} }}   # or {{ file = \"…\" }}, {{ command = [\"…\"] }}"
    );
    if let Some(properties) = schema.and_then(|schema| schema.get("properties")).and_then(Json::as_object) {
        let _ = write!(text, "\n[connections.{key}.settings]\n");
        for (setting, property) in properties {
            describe(&mut text, schema, setting, property);
        }
    }
    fs::create_dir_all(folder).map_err(|error| unwritable(&file, &error))?;
    replace(&file, &text)
}

/// One setting: required ones to be filled in, the others as comments.
fn describe(text: &mut String, schema: Option<&Json>, setting: &str, property: &Json) {
    let required = schema
        .and_then(|schema| schema.get("required"))
        .and_then(Json::as_array)
        .is_some_and(|required| required.iter().any(|key| key == setting));
    for line in property.get("description").and_then(Json::as_str).unwrap_or_default().lines() {
        let _ = writeln!(text, "# {line}");
    }
    let usual = match property.get("default").filter(|default| !default.is_null()) {
        Some(default) => default.to_string(),
        None => match property.get("type").and_then(Json::as_str) {
            Some("boolean") => "false".into(),
            Some("integer" | "number") => "0".into(),
            Some("array") => "[]".into(),
            Some("object") => "{}".into(),
            _ => "\"\"".into(),
        },
    };
    let (mark, note) = if required { ("", "   # required") } else { ("# ", "") };
    let _ = writeln!(text, "{mark}{} = {usual}{note}", Key::new(setting));
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::usage(format!("`{name}` cannot be the name of a {what}"), "use letters, digits, `_`, `-` and `.`"))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|error| unreadable(file, &error))
}

/// A reader meets the old file or the new one, never half of it.
fn replace(file: &Path, text: &str) -> Result<()> {
    let temporary = file.with_extension("toml.tmp");
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, file));
    written.map_err(|error| {
        // What is left of it is worth nothing.
        let _ = fs::remove_file(&temporary);
        unwritable(file, &error)
    })
}

fn unreadable(file: &Path, error: &io::Error) -> Error {
    Error::usage(format!("cannot read {}: {error}", file.display()), "check the file's rights")
}

fn unwritable(file: &Path, error: &io::Error) -> Error {
    Error::usage(format!("cannot write {}: {error}", file.display()), "check the rights of the folder and the file")
}
