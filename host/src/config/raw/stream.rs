//! A stream of a profile or preset.

use std::collections::BTreeMap;

use pairwise_plugin_api::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Both, OneOrMany, PerSide, Schedule};
use crate::model::{
    Direction, MapChange, Missing, NoTrash, OnCondition, Per, Pick, Referent, Removal, Repair, Scan, Side, Winner,
    Within,
};

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
    /// Where: selectors of the entity. With `join = ["created", "linked"]` such records are put into the list or group.
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
    /// What `trash` means on a side without deleted items.
    pub trash: Trash,
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
    /// Fields of new records that point at other records, by native name.
    pub references: BTreeMap<String, Reference>,
    /// What is done about conditions that a system tells, by their code: `{ no_country = "skip" }`.
    pub conditions: BTreeMap<String, OnCondition>,
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
            Scalar::Text(value) => Value::from(value),
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
    /// Where candidates are looked for; in the stream's `scope` unless said otherwise.
    pub within: Option<Both<Within>>,
    /// What becomes of a record with several candidates on a side; `hold` unless said otherwise.
    pub several: Option<Both<Several>>,
    /// Who wins where two filled values differ at the first match; `hold` unless said otherwise.
    pub differ: Option<Winner>,
}

/// What becomes of a record with several candidates.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Several {
    /// In a word.
    Word(Pick),
    /// After a look at other fields.
    Table(SeveralTable),
}

/// What becomes of a record with several candidates, after a look at other fields.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SeveralTable {
    /// Canonical paths: only candidates that are equal in all of them count.
    pub equal: Vec<String>,
    /// If several count; `hold` unless said otherwise.
    pub pick: Option<Pick>,
    /// If none counts; `hold` unless said otherwise.
    pub none: Option<Pick>,
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
    /// After a deletion; `keep` unless said otherwise. Where nothing may be written to the other side, its record stays, and is
    /// made again on this one as soon as it changes.
    pub deleted: Option<Removal>,
    /// After a record left the scope; `keep` unless said otherwise.
    pub left_scope: Option<Removal>,
    /// Whether it also wins over an edit of the other side that nobody has seen yet.
    pub beats_edit: Option<bool>,
}

/// What `trash` means on a side without deleted items.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trash {
    /// A folder that takes their place; it is made where the system can make folders.
    pub fallback: Option<String>,
    /// Where there is no such folder either; `delete` unless said otherwise.
    pub none: Option<NoTrash>,
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
    /// More than this wait in any case, whatever their share.
    pub count: Option<u64>,
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
    /// Of a one-way row: when a target that was changed by others is put right; each time that it is read unless said
    /// otherwise.
    pub repair: Option<Repair>,
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

/// A field of new records that points at a record of another entity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Whose field it is.
    pub side: Side,
    /// What the other record is called: text with canonical paths in braces, for instance `{organizations/1/name}`. Of a list
    /// the first one that is not empty.
    pub value: OneOrMany<String>,
    /// Where it is looked for, in this order.
    #[serde(rename = "try")]
    #[schemars(length(min = 1))]
    pub tries: Vec<Lookup>,
    /// If it is nowhere; `drop` unless said otherwise.
    #[serde(default)]
    pub missing: Missing,
    /// What a new one is given beside its name, by native name; `$self` is the login's own id.
    #[serde(default)]
    pub set: BTreeMap<String, Scalar>,
    /// What an update of the record does with the field.
    #[serde(default)]
    pub on_update: OnUpdate,
}

/// One place where a referenced record is looked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Which entity.
    pub entity: String,
    /// The field that holds what it is called.
    pub by: String,
    /// Whether case counts; `exact` unless said otherwise.
    #[serde(default)]
    pub case: Option<Case>,
    /// If several are called so; `oldest` unless said otherwise.
    #[serde(default)]
    pub pick: Referent,
}

/// What an update of a record does with a field that points at another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUpdate {
    /// Nothing: it is filled when the record is made.
    #[default]
    Ignore,
}
