//! The files as written. These types are the one description of what may stand in them: JSON Schemas are made from them, every
//! file is checked against its schema, and only what passed is read into them.

use std::collections::BTreeMap;

use pairwise_plugin_api::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{Direction, MapChange, Per, Removal, Repair, Scan, Several, Side, Winner};

/// `pairwise.toml`: the host and its connections.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Where the state database lives. Relative to the configuration folder.
    #[schemars(default = "default_state_dir")]
    pub state_dir: Option<String>,
    /// Where plugins are looked for first. Relative to the configuration folder.
    #[schemars(default = "default_plugin_dir")]
    pub plugin_dir: Option<String>,
    /// Access to one system each, by name.
    pub connections: BTreeMap<String, Connection>,
    /// What is kept of the past.
    pub history: History,
    /// Limits that stop a run from doing harm, where a stream says nothing.
    pub guard: Guard,
}

pub(super) fn default_state_dir() -> String {
    "state".into()
}
pub(super) fn default_plugin_dir() -> String {
    "plugins".into()
}

/// What is kept of the past.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// How long values that lost are kept, for instance `90 days` (the default).
    pub keep: Option<String>,
}

/// Access to one system.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The plugin's id, for instance `vdir`.
    #[schemars(length(min = 1))]
    pub plugin: String,
    /// Which versions of the plugin may be used, for instance `^1.0`. Any, unless said otherwise.
    #[serde(default)]
    pub version: Option<String>,
    /// What the plugin wants to know. Its own schema says which keys there are.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Where its secrets are, by name. Never the secrets themselves.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// Whether the plugin runs in a process of its own.
    #[serde(default)]
    pub isolation: Isolation,
    /// What the plugin's process may use.
    #[serde(default)]
    pub limits: Limits,
}

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In a process of its own, within limits.
    #[default]
    Worker,
    /// In the host's process: for plugins that are trusted like the host itself.
    InProcess,
}

/// What a plugin's process may use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory for data, for instance `512 MiB` (the default).
    pub memory: Option<String>,
    /// Open files, 256 unless said otherwise.
    #[schemars(range(min = 16))]
    pub open_files: Option<u64>,
    /// How long a call may go on without progress, `60 s` unless said otherwise.
    pub soft_deadline: Option<String>,
    /// How long a call may take at all, `10 minutes` unless said otherwise.
    pub hard_deadline: Option<String>,
    /// How long starting may take, `10 s` unless said otherwise.
    pub start_deadline: Option<String>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In an environment variable.
    Env(#[schemars(length(min = 1))] String),
    /// In a file, without its last line end. Relative to the configuration folder.
    File(#[schemars(length(min = 1))] String),
    /// In what a command prints, without its last line end.
    Command(#[schemars(length(min = 1))] Vec<String>),
    /// In the host's own files.
    Kept(#[schemars(schema_with = "only_true")] bool),
}

fn only_true(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "const": true })
}

/// `profiles/NAME.toml`: pairs two connections.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the profile starts from; its own keys replace the preset's.
    #[serde(default)]
    pub preset: Option<String>,
    /// One connection.
    #[schemars(length(min = 1))]
    pub left: String,
    /// The other one.
    #[schemars(length(min = 1))]
    pub right: String,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When streams run that have no schedule of their own.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Where the list of people comes from.
    #[serde(default)]
    pub directory: Directory,
    /// People, where the connections work for people.
    #[serde(default)]
    pub users: Vec<User>,
    /// What is kept in step, by name: `contacts`, `calendar`.
    #[serde(default)]
    pub streams: BTreeMap<String, Stream>,
}

fn yes() -> bool {
    true
}

/// Where the list of people comes from.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// `profile`: from `[[users]]`. `none`: one lane for each stream. Unless said otherwise: `profile` if there are users.
    pub from: Option<DirectoryFrom>,
    /// Which logins are used.
    pub login: PerSide<Login>,
}

/// Where the list of people comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryFrom {
    /// From `[[users]]`.
    Profile,
    /// There is none.
    None,
}

/// Whose login a side uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The connection's, for everybody.
    #[default]
    Shared,
    /// Each person's own.
    Own,
}

/// A person on both sides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Who it is on the left.
    #[serde(default)]
    pub left: Option<String>,
    /// Who it is on the right.
    #[serde(default)]
    pub right: Option<String>,
    /// Whether this person takes part.
    #[serde(default = "yes")]
    pub active: bool,
    /// Where this person's own secrets are.
    #[serde(default)]
    pub secrets: PerSide<BTreeMap<String, Secret>>,
}

/// Something for either side.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerSide<T> {
    /// For the left one.
    pub left: Option<T>,
    /// For the right one.
    pub right: Option<T>,
}

impl<T> Default for PerSide<T> {
    fn default() -> Self {
        PerSide { left: None, right: None }
    }
}

impl<T> PerSide<T> {
    /// What is said for a side.
    pub fn get(&self, side: Side) -> Option<&T> {
        match side {
            Side::Left => self.left.as_ref(),
            Side::Right => self.right.as_ref(),
        }
    }
}

/// One thing for both sides, or one for each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Both<T> {
    /// For both.
    Same(T),
    /// For each.
    Each(PerSide<T>),
}

impl<T> Both<T> {
    /// What is said for a side.
    pub fn get(&self, side: Side) -> Option<&T> {
        match self {
            Both::Same(value) => Some(value),
            Both::Each(sides) => sides.get(side),
        }
    }
}

/// One thing, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// As a list.
    pub fn list(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// One kind of record that is kept in step.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// Whether it runs; true unless said otherwise.
    pub enabled: Option<bool>,
    /// Which way records travel; `both` unless said otherwise.
    pub direction: Option<Direction>,
    /// What takes part, by the names of each side's catalogue. The first one is what a new record becomes.
    pub entities: PerSide<Vec<String>>,
    /// Where: selectors of the entity.
    pub scope: PerSide<BTreeMap<String, OneOrMany<Scalar>>>,
    /// How changes are found.
    pub scan: Option<Both<Scan>>,
    /// Every so many runs a side with a feed is listed whole; 20 unless said otherwise, 0 is never.
    pub sweep_every: Option<u32>,
    /// When it runs.
    pub schedule: Option<Schedule>,
    /// What a record must satisfy to be taken up.
    pub admit: PerSide<Vec<Predicate>>,
    /// What a record must go on satisfying; otherwise its link sleeps.
    pub follow: PerSide<Vec<Predicate>>,
    /// How records find each other that are not linked yet.
    #[serde(rename = "match")]
    pub matching: Option<Match>,
    /// Whether a side may be given new records.
    pub create: PerSide<Create>,
    /// Whether a side's records may be changed.
    pub update: PerSide<bool>,
    /// One-way streams: when a target that was changed by others is put right.
    pub repair: Option<Repair>,
    /// Who wins when both sides changed.
    pub conflict: Conflict,
    /// What a removal on one side does to the other.
    pub removed: PerSide<Removed>,
    /// Limits that stop a run from doing harm.
    pub guard: Guard,
    /// Whether the field map starts from all that both sides have, or holds only the rows listed.
    pub map: Option<MapKind>,
    /// What happens when the field map is not the one of the last run.
    pub map_change: Option<MapChange>,
    /// Rows of the field map.
    pub fields: Vec<Field>,
    /// Fields that do not travel.
    pub without: Vec<String>,
    /// How often a record may fail in a passing way before it is set aside; 5 unless said otherwise.
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// Records in one page; 500 unless said otherwise.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: Option<u32>,
}

/// Whether a side may be given new records.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Create {
    /// Whether it may; true for a side that the direction writes to.
    pub allow: Option<bool>,
}

/// A condition on a record: a field with one test, or several conditions of which one must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Predicate {
    /// Native name or canonical path.
    pub field: Option<String>,
    /// The field is this.
    pub is: Option<Scalar>,
    /// The field is not this.
    pub is_not: Option<Scalar>,
    /// The field is one of these.
    #[serde(rename = "in")]
    pub one_of: Option<Vec<Scalar>>,
    /// The field is none of these.
    pub not_in: Option<Vec<Scalar>>,
    /// The field, a list, holds this.
    pub has: Option<Scalar>,
    /// The field is filled, or empty.
    pub present: Option<bool>,
    /// The field's time lies before `now`, a date, or an RFC 3339 time.
    pub before: Option<String>,
    /// The field's time lies after `now`, a date, or an RFC 3339 time.
    pub after: Option<String>,
    /// One of these holds.
    pub any: Option<Vec<Predicate>>,
    /// A word for reports, for instance `not_flagged`.
    pub reason: Option<String>,
}

/// A value without parts.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Int(value) => Value::Int(value),
            Scalar::Float(value) => Value::Float(value),
            Scalar::Text(value) => Value::Text(value),
        }
    }
}

/// How records find each other that are not linked yet.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Match {
    /// Not at all: each gets a new counterpart.
    Word(Never),
    /// By keys.
    Keys(MatchKeys),
}

/// Not at all.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// Not at all.
    Never,
}

/// Matching by keys.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MatchKeys {
    /// In their order; each a canonical path, or a list of paths that must all be equal. `*` stands for any index; `uid` is
    /// the record's UID.
    #[schemars(length(min = 1))]
    pub keys: Vec<OneOrMany<String>>,
    /// Whether case counts; `ignore` unless said otherwise.
    pub case: Option<Case>,
    /// What becomes of a record without any key: `create`.
    pub without_key: Option<WithoutKey>,
    /// What becomes of a record with several candidates; `hold` unless said otherwise.
    pub several: Option<Both<Several>>,
    /// Who wins where two filled values differ at the first match; `hold` unless said otherwise.
    pub differ: Option<Winner>,
}

/// Whether case counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// It does not.
    Ignore,
    /// It does.
    Exact,
}

/// What becomes of a record without any key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutKey {
    /// It is taken for a new record.
    Create,
}

/// Who wins when both sides changed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conflict {
    /// Who wins; `latest` unless said otherwise.
    pub winner: Option<Winner>,
    /// Whether a side wins whole records or single fields; `field` unless said otherwise.
    pub per: Option<Per>,
    /// Who wins if both changed at the same time; `left` unless said otherwise.
    pub tie: Option<Side>,
    /// A server whose clock is further off is warned of; `300 s` unless said otherwise.
    pub max_skew: Option<String>,
}

/// What a removal on one side does to the other.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Removed {
    /// After a deletion; `keep` unless said otherwise.
    pub deleted: Option<Removal>,
    /// After a record left the scope; `keep` unless said otherwise.
    pub left_scope: Option<Removal>,
    /// Whether it also wins over an edit of the other side that nobody has seen yet.
    pub beats_edit: Option<bool>,
}

/// Limits that stop a run from doing harm.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Removals of one run.
    pub removals: Removals,
    /// Suspicion that a record is another one under the same id.
    pub identity: Identity,
}

/// Removals of one run that wait for a person: more than this share, and more than this number.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Removals {
    /// Of all links; 0.25 unless said otherwise.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: Option<f64>,
    /// 5 unless said otherwise.
    pub above: Option<u64>,
}

/// Suspicion that a record is another one under the same id.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// If all of these change at once.
    pub fields: Vec<String>,
}

/// Where a field map starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MapKind {
    /// From every canonical path that both sides have.
    Join,
    /// From nothing: only rows that are listed.
    Listed,
}

/// A row of the field map.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Field {
    /// Native name or canonical path; of a list the first that is not empty is read, and the first is written.
    pub left: Option<OneOrMany<String>>,
    /// The same on the right.
    pub right: Option<OneOrMany<String>>,
    /// Which way values travel; as the stream unless said otherwise. `none` takes the row out.
    pub direction: Option<Direction>,
    /// Which way values travel when a record is created; as `direction` unless said otherwise.
    pub on_create: Option<Direction>,
    /// Who wins, if not as the stream says.
    pub winner: Option<Winner>,
    /// What happens to values on their way from left to right; back again where it can be undone.
    pub transform: Option<OneOrMany<Step>>,
}

/// One step of a value's way.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// White space at both ends goes.
    Trim,
    /// Into capitals.
    Upper,
    /// Into small letters.
    Lower,
    /// Only the date of a date and time.
    Date,
    /// A telephone number in E.164, read with this country as default: `{ phone = "DE" }`.
    Phone(String),
    /// A time in another zone: `{ zone = "Europe/Berlin" }`.
    Zone(String),
    /// Cut at this text into a list.
    Split(#[schemars(length(min = 1))] String),
    /// A list joined by this text.
    Join(String),
    /// Always this value.
    Constant(Scalar),
    /// Looked up in a table; what is not in it stays.
    Lookup(BTreeMap<String, String>),
}

/// When something runs. One kind: `every`, `times_a_day`, `daily`, `weekly`, `monthly`, `cron` or `manual`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// For instance `30 minutes`.
    pub every: Option<String>,
    /// So many times, evenly spread.
    #[schemars(range(min = 1, max = 1440))]
    pub times_a_day: Option<u32>,
    /// At these times, for instance `02:30`.
    pub daily: Option<OneOrMany<String>>,
    /// On these days, `at` a time.
    pub weekly: Option<Vec<Weekday>>,
    /// On these days of the month, `at` a time.
    pub monthly: Option<Vec<MonthDay>>,
    /// Minute, hour, day, month, weekday.
    pub cron: Option<String>,
    /// Only by command.
    #[schemars(schema_with = "only_true")]
    pub manual: Option<bool>,
    /// The time of `weekly` and `monthly`.
    pub at: Option<String>,
    /// The zone of all times, for instance `Europe/Berlin`; the machine's unless said otherwise.
    pub zone: Option<String>,
    /// Where `every` and `times_a_day` count from.
    pub align: Option<Align>,
    /// Whether it also runs when the host starts.
    pub at_start: Option<bool>,
    /// Whether a run that was missed is made up for.
    pub catch_up: Option<CatchUp>,
    /// A shorter interval is warned of.
    pub warn_below: Option<String>,
    /// Times in which nothing starts.
    pub blackout: Vec<Blackout>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "days are days")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A day of the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MonthDay(#[schemars(range(min = 1, max = 31))] pub u8);

/// Where an interval counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// From midnight.
    Clock,
    /// From the start of the host.
    Start,
}

/// What becomes of runs that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One run makes up for all.
    Once,
    /// Nothing.
    Never,
}

/// A time in which nothing starts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blackout {
    /// First minute, for instance `12:00`.
    pub from: String,
    /// Minute after the last.
    pub to: String,
    /// The zone; the schedule's unless said otherwise.
    #[serde(default)]
    pub zone: Option<String>,
}
