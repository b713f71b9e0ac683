//! The settings, in the order in which a tester meets them: what is there, what the system can do, how it misbehaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pairwise_plugin_api::ops::ALL;
use pairwise_plugin_api::{Capabilities, Condition, CreateKey, EntityKind, Failure, FieldType, Level, Severity, Value};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::faults::Fault;

/// The section `settings` of a connection, and the script that it may name: both take the same keys. What stands in the
/// section beats what the script says; lists are joined, the script's first.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A TOML file with any of these settings except `script` and `state_dir`.
    pub script: Option<PathBuf>,
    /// A folder that keeps the records and a journal of calls from one process to the next, made if it is not there.
    /// Absent: memory only.
    pub state_dir: Option<PathBuf>,
    /// Records that are made up, always the same for the same numbers.
    pub generate: Option<Generate>,
    /// Records written out. One with the id of a generated record stands in its place.
    pub records: Vec<RecordSetting>,
    /// Further entities, and further fields of `contact` and `event`.
    pub entities: Vec<EntitySetting>,
    /// People that the system knows.
    pub users: Vec<UserSetting>,
    /// What `settings` answers.
    pub remote_settings: BTreeMap<String, serde_json::Value>,
    /// What the system can do.
    pub abilities: Option<Abilities>,
    /// The largest page of a feed or listing; 100 if not set.
    pub page_size: Option<u32>,
    /// How this version of the plugin writes cursors.
    pub cursors: Option<Cursors>,
    /// The system's clock minus this machine's, in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// Where the ids of new records come from.
    pub ids: Option<Ids>,
    /// What the system does to values before it stores them.
    pub respell: Vec<Respell>,
    /// Who may log in.
    pub login: Option<Login>,
    /// What `check` answers.
    pub conditions: Vec<ConditionSetting>,
    /// Milliseconds that each call takes, by operation; `any` for those not named.
    pub latency_ms: BTreeMap<String, u64>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
}

/// Cursors as a plugin writes them that changes from version to version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cursors {
    /// The form in which they are written; what is of another form is refused.
    pub form: u32,
    /// The forms that `migrate_state` can carry over to this one; absent: there is no such operation.
    pub carries: Option<BTreeSet<u32>>,
}

/// How many records are made up.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Generate {
    /// How many people.
    pub contacts: u32,
    /// How many appointments.
    pub events: u32,
    /// Another seed, other people.
    pub seed: u64,
    /// The number of the first one. Person 7 of a seed is the same in every connection, so 1 to 100 here and 51 to 150
    /// there overlap by half.
    pub first: u32,
}

/// One record written out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordSetting {
    /// Its entity; `contact` if not set.
    #[serde(default = "contact")]
    pub entity: String,
    /// Its id.
    pub id: String,
    /// The key that it shares with its copies elsewhere.
    pub uid: Option<String>,
    /// The folder it is in.
    pub container: Option<String>,
    /// The groups it belongs to.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Values by native name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub fields: BTreeMap<String, Value>,
    /// What the system says about it, for instance `code = "unreadable"`, `severity = "error"`.
    #[serde(default)]
    pub conditions: Vec<ConditionSetting>,
}

fn contact() -> String {
    "contact".into()
}

/// An entity, or further fields of one that is there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySetting {
    /// Its name.
    pub name: String,
    /// `contact`, `event` or `other`.
    #[serde(default, deserialize_with = "exact")]
    #[schemars(with = "String")]
    pub kind: EntityKind,
    /// Its fields. One with the name of a field that is there stands in its place.
    #[serde(default)]
    pub fields: Vec<FieldSetting>,
}

/// A field of an entity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSetting {
    /// Native name; one that ends in `/*` is an open family.
    pub name: String,
    /// Canonical path.
    #[serde(default)]
    pub path: String,
    /// `text`, `email`, `phone`, `url`, `bool`, `int`, `float`, `date`, `date_time` or `text_list`.
    #[serde(default, rename = "type", deserialize_with = "exact")]
    #[schemars(with = "String")]
    pub kind: FieldType,
    /// The longest text, in UTF-16 code units; a longer one is refused unless `respell` shortens it.
    pub length: Option<u32>,
    /// The system alone sets it: a write that names it is applied without it.
    #[serde(default)]
    pub read_only: bool,
    /// A create without it is refused.
    #[serde(default)]
    pub required: bool,
    /// The entity that its value points at.
    pub reference: Option<String>,
    /// Upper and lower case are the same.
    #[serde(default)]
    pub caseless: bool,
}

/// A person that the system knows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSetting {
    /// How calls name the person.
    pub principal: String,
    /// E-mail address as the system spells it.
    #[serde(default)]
    pub address: String,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// May not be worked for.
    #[serde(default)]
    pub inactive: bool,
    /// Settings of this person in the system.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// What the system can do. The default is a strong system: a feed with tombstones, keys, conditional writes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Abilities {
    /// `changes` is there; without it the host lists.
    pub feed: bool,
    /// The feed tells removals.
    pub tombstones: bool,
    /// `get` says `gone` rather than `hidden`.
    pub authoritative_get: bool,
    /// `expect` is honoured.
    pub conditional_writes: bool,
    /// `takes`, `searchable` or `none`.
    #[serde(deserialize_with = "exact")]
    #[schemars(with = "String")]
    pub create_key: CreateKey,
    /// Records carry an incarnation.
    pub incarnation: bool,
    /// Records carry a UID, and no two have the same.
    pub uid: bool,
    /// `include` and `exclude` are there, and the selector `group`.
    pub membership: bool,
    /// Folders are there, and the selector `folder`.
    pub containers: bool,
    /// `trash` is there.
    pub trash: bool,
    /// Pages carry the system's clock.
    pub server_time: bool,
    /// `stamp` is there.
    pub stamp: bool,
    /// The states that `acknowledge` takes.
    pub acknowledge: Vec<String>,
    /// The answer to a write carries the fields as they were stored.
    pub answers_fields: bool,
    /// The most writes in one call.
    #[schemars(range(min = 1))]
    pub largest_batch: u32,
    /// Calls at the same time.
    #[schemars(range(min = 1))]
    pub max_parallel: u32,
}

impl Default for Abilities {
    fn default() -> Self {
        Abilities {
            feed: true,
            tombstones: true,
            authoritative_get: true,
            conditional_writes: true,
            create_key: CreateKey::Takes,
            incarnation: true,
            uid: true,
            membership: false,
            containers: false,
            trash: false,
            server_time: true,
            stamp: false,
            acknowledge: Vec::new(),
            answers_fields: true,
            largest_batch: 100,
            max_parallel: 1,
        }
    }
}

impl Abilities {
    /// The same in the words of the plugin API.
    pub fn declared(&self) -> Capabilities {
        Capabilities {
            feed: self.feed,
            tombstones: self.feed && self.tombstones,
            authoritative_get: self.authoritative_get,
            conditional_writes: self.conditional_writes,
            create_key: self.create_key,
            incarnation: self.incarnation,
            uid: self.uid,
            membership: self.membership,
            containers: self.containers,
            create_containers: self.containers,
            trash: self.trash,
            server_time: self.server_time,
            stamp: self.stamp,
            acknowledge: self.acknowledge.clone(),
            largest_batch: self.largest_batch,
            max_parallel: self.max_parallel,
            max_parallel_per_principal: self.max_parallel,
            ..Capabilities::default()
        }
    }
}

/// Where the ids of new records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// Never used before.
    #[default]
    Fresh,
    /// That of a deleted record, if there is one.
    Reuse,
}

/// What the system does to the values of one field before it stores them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respell {
    /// Native name.
    pub field: String,
    /// How letters change.
    #[serde(rename = "to")]
    pub spelling: Option<Spelling>,
    /// Longer text is cut to this many characters, silently.
    pub length: Option<usize>,
}

/// How letters change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// `ada@example.org`
    Lower,
    /// `ADA@EXAMPLE.ORG`
    Upper,
    /// Digits and a leading `+` only.
    Digits,
    /// One space between words, none at the ends.
    Squeezed,
}

/// Who may log in.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// The names of secrets that must come with `login`. With any, no call is answered before its principal is logged in.
    pub secrets: Vec<String>,
    /// What the secrets must be, by name. Tests only: real passwords do not belong here.
    pub accepts: BTreeMap<String, String>,
    /// The name of a secret that changes with each login and is to be kept.
    pub rotates: Option<String>,
}

/// Something the system says about itself, a user or a record.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionSetting {
    /// Stable word.
    pub code: String,
    /// `profile`, `stream`, `user`, `record`, `field` or `participant`.
    #[serde(default, deserialize_with = "exact")]
    #[schemars(with = "String")]
    pub level: Level,
    /// `info`, `warning` or `error`.
    #[serde(default, deserialize_with = "exact")]
    #[schemars(with = "String")]
    pub severity: Severity,
    /// The field, participant or user.
    #[serde(default)]
    pub subject: String,
    /// A sentence for people.
    #[serde(default)]
    pub text: String,
}

impl From<ConditionSetting> for Condition {
    fn from(from: ConditionSetting) -> Self {
        Condition {
            code: from.code,
            level: from.level,
            severity: from.severity,
            subject: from.subject,
            text: from.text,
        }
    }
}

impl Config {
    /// Reads the script, if one is named, and checks what the types cannot.
    pub fn resolve(self) -> Result<Config, Failure> {
        let config = match &self.script {
            Some(path) => {
                let script = read(path)?;
                self.over(script)
            }
            None => self,
        };
        config.check()?;
        Ok(config)
    }

    fn over(self, mut script: Config) -> Config {
        script.records.extend(self.records);
        script.entities.extend(self.entities);
        script.users.extend(self.users);
        script.remote_settings.extend(self.remote_settings);
        script.respell.extend(self.respell);
        script.conditions.extend(self.conditions);
        script.latency_ms.extend(self.latency_ms);
        script.faults.extend(self.faults);
        Config {
            script: self.script,
            state_dir: self.state_dir,
            generate: self.generate.or(script.generate),
            abilities: self.abilities.or(script.abilities),
            page_size: self.page_size.or(script.page_size),
            cursors: self.cursors.or(script.cursors),
            clock_skew_ms: self.clock_skew_ms.or(script.clock_skew_ms),
            ids: self.ids.or(script.ids),
            login: self.login.or(script.login),
            ..script
        }
    }

    fn check(&self) -> Result<(), Failure> {
        for name in self.latency_ms.keys().filter(|name| *name != "any") {
            known_operation("latency_ms", name)?;
        }
        if self.page_size == Some(0) {
            return Err(Failure::config("page_size", "`page_size` is 0; at least 1 is needed to get anywhere"));
        }
        let abilities = self.abilities.clone().unwrap_or_default();
        if abilities.largest_batch == 0 || abilities.max_parallel == 0 {
            return Err(Failure::config("abilities", "`largest_batch` and `max_parallel` must be at least 1"));
        }
        self.faults.iter().enumerate().try_for_each(|(index, fault)| fault.check(index))
    }

    /// How long a call of this operation takes.
    pub fn latency(&self, operation: &str) -> u64 {
        self.latency_ms.get(operation).or_else(|| self.latency_ms.get("any")).copied().unwrap_or(0)
    }
}

/// Refuses a name that is no operation.
pub fn known_operation(setting: &str, name: &str) -> Result<(), Failure> {
    if ALL.iter().any(|(_, known)| *known == name) {
        return Ok(());
    }
    let names: Vec<&str> = ALL.iter().map(|(_, name)| *name).collect();
    Err(Failure::config(setting, format!("`{name}` in `{setting}` is no operation; there are {}", names.join(", "))))
}

/// A word of the plugin API. There an unknown one means "of a newer version"; in a file that a person wrote it is a slip.
pub fn exact<'de, D: Deserializer<'de>, T: DeserializeOwned + Serialize>(deserializer: D) -> Result<T, D::Error> {
    let word = serde_json::Value::String(String::deserialize(deserializer)?);
    let value: T = serde_json::from_value(word.clone()).map_err(D::Error::custom)?;
    match serde_json::to_value(&value) {
        Ok(back) if back == word => Ok(value),
        _ => Err(D::Error::custom(format!("{word} is not one of the words that may stand here"))),
    }
}

/// The same for a setting that may be left out.
pub fn exact_option<'de, D: Deserializer<'de>, T: DeserializeOwned + Serialize>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    exact(deserializer).map(Some)
}

fn read(path: &Path) -> Result<Config, Failure> {
    let problem = |text: String| Failure::config("script", text);
    let text = std::fs::read_to_string(path)
        .map_err(|error| problem(format!("cannot read the script {}: {error}", path.display())))?;
    let script: Config = toml::from_str(&text).map_err(|error| problem(format!("{}: {error}", path.display())))?;
    if script.script.is_some() || script.state_dir.is_some() {
        // The host opens to the worker only what the connection itself names.
        let text = "`script` and `state_dir` stand in the connection's settings, not in a script";
        return Err(problem(format!("{}: {text}", path.display())));
    }
    Ok(script)
}
