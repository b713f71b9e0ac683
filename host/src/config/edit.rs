//! Changes to configuration files by commands. Comments and layout stay as they are; new files are commented, to start from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pairwise_plugin_api::manifest::Secret;
use serde_json::Value as Json;
use toml_edit::{DocumentMut, Item, Value};

use super::find::HOST_FILE;
use super::preset;
use super::problem::suggest;
use crate::model::Sides;

/// A change that was not made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// There is one already.
    #[error("{what} `{name}` is there already, in {}: choose another name, or edit it", .file.display())]
    Exists {
        /// `profile` or `connection`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where.
        file: PathBuf,
    },
    /// A name that cannot be one.
    #[error("`{0}` cannot be a name: use letters, digits, `_`, `-` and `.`, and do not start with `.`")]
    Name(String),
    /// No such preset.
    #[error("there is no preset `{name}`; {suggestion}")]
    Preset {
        /// What was asked for.
        name: String,
        /// The nearest one, or all.
        suggestion: String,
    },
    /// The file as it stands, or as it would become, is not TOML.
    #[error("{} cannot be changed by a command: {reason}; edit it by hand", .file.display())]
    Toml {
        /// Which.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("{}: {error}", .file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Turns a profile on or off. Answers whether it was changed.
///
/// # Errors
/// If the file cannot be read, understood or written.
pub fn set_enabled(file: &Path, enabled: bool) -> Result<bool, EditError> {
    let text = read(file)?;
    let mut document: DocumentMut = text.parse().map_err(|error| toml_error(file, &error))?;
    match document.get_mut("enabled").and_then(Item::as_value_mut) {
        // A profile that says nothing is on.
        said if said.as_deref().map_or(Some(true), Value::as_bool) == Some(enabled) => return Ok(false),
        Some(value) => {
            // The white space and comment beside a value belong to it.
            let decor = value.decor().clone();
            *value = Value::from(enabled);
            *value.decor_mut() = decor;
        }
        None => {
            document.insert("enabled", toml_edit::value(enabled));
        }
    }
    write(file, &document.to_string())?;
    Ok(true)
}

/// Writes a commented profile to start from. It is off, so that nothing moves before a plan was looked at.
///
/// # Errors
/// If there is such a profile, or no such preset, or the file cannot be written.
pub fn new_profile(folder: &Path, name: &str, preset: &str, connections: &Sides<String>) -> Result<PathBuf, EditError> {
    check_name(name)?;
    let Some(text) = preset::text(preset) else {
        return Err(EditError::Preset { name: preset.into(), suggestion: suggest(preset, preset::names()) });
    };
    let file = folder.join("profiles").join(format!("{name}.toml"));
    if file.exists() {
        return Err(EditError::Exists { what: "profile", name: name.into(), file });
    }
    let quoted = |text: &str| Value::from(text).to_string();
    let mut profile = format!(
        "# Keeps two connections in step. Look at `pairwise plan {name}` before `pairwise profile enable {name}`.\n\
         preset  = {}\nleft    = {}\nright   = {}\nenabled = false\n\n\
         # When `pairwise serve` runs it:\n\
         # schedule = {{ every = \"30 minutes\" }}\n\n\
         # People, where the connections work for people:\n\
         # [[users]]\n# left  = \"lee\"\n# right = \"lee@example.com\"\n\n\
         # What the preset says. Write a key without its `#` to change it:\n",
        quoted(preset),
        quoted(&connections.left),
        quoted(&connections.right),
    );
    for line in text.lines().skip_while(|line| !line.starts_with('[')) {
        profile.push_str(if line.is_empty() { "#\n" } else { "# " });
        if !line.is_empty() {
            profile.push_str(line);
            profile.push('\n');
        }
    }
    write(&file, &profile)?;
    Ok(file)
}

/// Adds a commented connection to `pairwise.toml`, which is made if it is not there. With the plugin's schema its settings are
/// written out: those it needs to be filled in, the others as comments; so are the secrets that it asks for.
///
/// # Errors
/// If there is such a connection, or the file cannot be read, understood or written.
pub fn add_connection(
    folder: &Path,
    name: &str,
    plugin: &str,
    schema: Option<&Json>,
    secrets: &[Secret],
) -> Result<PathBuf, EditError> {
    check_name(name)?;
    let file = folder.join(HOST_FILE);
    let mut text = if file.exists() { read(&file)? } else { HOST_START.to_owned() };
    let document: DocumentMut = text.parse().map_err(|error| toml_error(&file, &error))?;
    if document.get("connections").is_some_and(|connections| connections.get(name).is_some()) {
        return Err(EditError::Exists { what: "connection", name: name.into(), file });
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&connection(name, plugin, schema, secrets));
    // A table written in another style (`connections = { … }`) cannot simply be added to.
    text.parse::<DocumentMut>().map_err(|error| toml_error(&file, &error))?;
    write(&file, &text)?;
    Ok(file)
}

const HOST_START: &str = "\
# The host and its connections. Relative paths start at this folder.
# state_dir  = \"state\"
# plugin_dir = \"plugins\"
";

fn connection(name: &str, plugin: &str, schema: Option<&Json>, secrets: &[Secret]) -> String {
    let key = toml_edit::Key::new(name).to_string();
    let mut text = format!(
        "\n[connections.{key}]\nplugin = {}\n# version = \"^1.0\"\n# isolation = \"worker\"         # \"in-process\" for plugins trusted like the host\n",
        Value::from(plugin)
    );
    let properties = schema.and_then(|schema| schema.get("properties")).and_then(Json::as_object);
    let required: Vec<&str> = schema
        .and_then(|schema| schema.get("required")?.as_array())
        .map(|keys| keys.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
        text.push_str(&format!("\n[connections.{key}.settings]\n"));
        let (needed, others): (Vec<_>, Vec<_>) =
            properties.iter().partition(|(key, _)| required.contains(&key.as_str()));
        for (key, property) in needed.into_iter().chain(others) {
            let hash = if required.contains(&key.as_str()) { "" } else { "# " };
            let description = property.get("description").and_then(Json::as_str).unwrap_or_default();
            text.extend(description.lines().map(|line| format!("# {line}\n")));
            let note = if hash.is_empty() { "   # required" } else { "" };
            text.push_str(&format!("{hash}{} = {}{note}\n", toml_edit::Key::new(key.as_str()), example(property)));
        }
    }
    let variable: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if !secrets.is_empty() {
        text.push_str(&format!(
            "\n# Where its secrets are: {{ env = \"…\" }}, {{ file = \"…\" }}, {{ command = [\"…\"] }} or {{ kept = true }}. Never the \
             secrets themselves.\n# [connections.{key}.secrets]\n"
        ));
    }
    for Secret { name, required, text: meaning, .. } in secrets {
        let needed = if *required { "required" } else { "optional" };
        let meaning = if meaning.is_empty() { needed.to_owned() } else { format!("{needed}: {meaning}") };
        let variable = format!("{variable}_{}", name.to_ascii_uppercase());
        text.push_str(&format!("# {name} = {{ env = \"{variable}\" }}     # {meaning}\n"));
    }
    text
}

/// A value that shows what is wanted: the default, else one of the type.
fn example(property: &Json) -> String {
    let types = property.get("type");
    let is = |wanted: &str| match types {
        Some(Json::String(kind)) => kind == wanted,
        Some(Json::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
        _ => false,
    };
    let default = property.get("default").filter(|value| !value.is_null()).and_then(toml_value);
    let choice = || property.get("enum").and_then(|values| toml_value(values.get(0)?));
    default.or_else(choice).unwrap_or_else(|| {
        if is("boolean") {
            "false".into()
        } else if is("integer") {
            property.get("minimum").map_or("0".into(), ToString::to_string)
        } else if is("number") {
            "0.0".into()
        } else if is("array") {
            "[]".into()
        } else if is("object") {
            "{}".into()
        } else {
            "\"…\"".into()
        }
    })
}

fn toml_value(value: &Json) -> Option<String> {
    serde::Serialize::serialize(value, toml_edit::ser::ValueSerializer::new()).ok().map(|value| value.to_string())
}

fn check_name(name: &str) -> Result<(), EditError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(fits) {
        return Err(EditError::Name(name.into()));
    }
    Ok(())
}

fn toml_error(file: &Path, error: &toml_edit::TomlError) -> EditError {
    EditError::Toml { file: file.into(), reason: error.message().to_owned() }
}

fn read(file: &Path) -> Result<String, EditError> {
    fs::read_to_string(file).map_err(|error| EditError::Io { file: file.into(), error })
}

/// Replaces the file as a whole, so that whoever reads it meanwhile sees the old or the new one.
fn write(file: &Path, text: &str) -> Result<(), EditError> {
    let replace = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = file.with_extension("toml.new");
        fs::write(&new, text)?;
        if let Ok(old) = fs::metadata(file) {
            fs::set_permissions(&new, old.permissions())?;
        }
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, file)
    };
    replace().map_err(|error| EditError::Io { file: file.into(), error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::config::Config;
    use serde_json::json;

    fn toggled(text: &str, enabled: bool) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        fs::write(&file, text).unwrap();
        let changed = set_enabled(&file, enabled).unwrap();
        (changed, fs::read_to_string(&file).unwrap())
    }

    #[test]
    fn comments_and_layout_stay() {
        let text = "# mine\nleft   =  'a'\nenabled = false   # not yet\n\n[streams.contacts]\n";
        assert_eq!(toggled(text, true), (true, text.replace("false", "true")));
        assert_eq!(toggled(text, false), (false, text.to_owned()));
        let text = "left = 'a'   # left\n\n[streams.contacts]\nmap = 'join'\n";
        assert_eq!(toggled(text, false), (true, text.replace("# left\n", "# left\nenabled = false\n")));
        assert_eq!(toggled(text, true), (false, text.to_owned()));
    }

    #[test]
    fn new_files_are_valid_and_refuse_to_replace_others() {
        let folder = tempfile::tempdir().unwrap();
        let schema = json!({
            "properties": {
                "path": {"type": "string", "format": "path", "description": "The folder.\nMore."},
                "trash": {"type": ["string", "null"], "description": "Where deleted files go."},
                "create_path": {"type": "boolean", "default": false},
                "page": {"type": "integer", "minimum": 1},
            },
            "required": ["path"],
        });
        let folder = folder.path();
        add_connection(folder, "a", "vdir", Some(&schema), &[]).unwrap();
        add_connection(folder, "b.c", "vdir", None, &[]).unwrap();
        let pair = Sides { left: "a".to_owned(), right: "b.c".to_owned() };
        let file = new_profile(folder, "cards", "mirror", &pair).unwrap();
        let config = Config::load(folder).unwrap();
        assert!(!config.profile("cards").unwrap().enabled);
        assert_eq!(
            config.connection("a").unwrap().settings(&schema).unwrap()["path"],
            folder.join("…").to_str().unwrap()
        );
        set_enabled(&file, true).unwrap();
        assert!(Config::load(folder).unwrap().profile("cards").unwrap().enabled);

        let again = new_profile(folder, "cards", "mirror", &pair).unwrap_err().to_string();
        assert!(again.starts_with("profile `cards` is there already, in "), "{again}");
        assert!(
            add_connection(folder, "a", "vdir", None, &[])
                .unwrap_err()
                .to_string()
                .starts_with("connection `a` is there already")
        );
        assert_eq!(
            new_profile(folder, "x", "miror", &pair).unwrap_err().to_string(),
            "there is no preset `miror`; did you mean `mirror`?"
        );
        assert!(matches!(new_profile(folder, "../x", "mirror", &pair), Err(EditError::Name(_))));
    }

    #[test]
    fn the_files_to_start_from_are_commented() {
        let schema = json!({"properties": {
            "trash": {"type": "string", "description": "Where deleted files go."},
            "path": {"type": "string", "description": "The folder."},
        }, "required": ["path"]});
        let secret = |name: &str, required, text: &str| Secret {
            name: name.into(),
            required,
            text: text.into(),
            ..Secret::default()
        };
        let secrets = [secret("password", true, "Of the account"), secret("token", false, "")];
        assert!(!connection("cards", "vdir", Some(&schema), &[]).contains("secrets"));
        assert_eq!(
            connection("cards", "vdir", Some(&schema), &secrets),
            r#"
[connections.cards]
plugin = "vdir"
# version = "^1.0"
# isolation = "worker"         # "in-process" for plugins trusted like the host

[connections.cards.settings]
# The folder.
path = "…"   # required
# Where deleted files go.
# trash = "…"

# Where its secrets are: { env = "…" }, { file = "…" }, { command = ["…"] } or { kept = true }. Never the secrets themselves.
# [connections.cards.secrets]
# password = { env = "CARDS_PASSWORD" }     # required: Of the account
# token = { env = "CARDS_TOKEN" }     # optional
"#
        );
    }

    #[test]
    fn connections_in_another_style_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let text = "connections = { a = { plugin = 'vdir' } }\n";
        fs::write(folder.path().join(HOST_FILE), text).unwrap();
        let error = add_connection(folder.path(), "b", "vdir", None, &[]).unwrap_err();
        assert!(matches!(error, EditError::Toml { .. }), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(HOST_FILE)).unwrap(), text);
    }
}
