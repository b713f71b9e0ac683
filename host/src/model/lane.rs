//! A lane as meant: preset and profile merged, checked and free of text. `config` makes it, the pipeline obeys it.

use std::collections::BTreeMap;
use std::fmt;

use pairwise_plugin_api::ops::Scope;
use pairwise_plugin_api::{Condition, Level, Name, Principal, Severity, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reference, Side, Sides};

/// Profile, user pair and stream: the unit of work, state, locking and failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaneKey {
    /// The profile's name.
    pub profile: String,
    /// The user pair's name; empty where a profile has no users.
    pub user: String,
    /// The stream's name.
    pub stream: String,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.user.is_empty() {
            write!(f, "{}/{}", self.profile, self.stream)
        } else {
            write!(f, "{}/{}/{}", self.profile, self.user, self.stream)
        }
    }
}

/// Everything that one lane's run obeys.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneSpec {
    /// Which lane.
    pub key: LaneKey,
    /// The connection of each side, for messages.
    pub connections: Sides<String>,
    /// On whose behalf each side is called.
    pub principals: Sides<Principal>,
    /// What takes part. The first one is what a new record becomes.
    pub entities: Sides<Vec<String>>,
    /// Where.
    pub scope: Sides<Scope>,
    /// Whether records that are linked join the scope's list or group, if they are not in it yet.
    pub join: Sides<bool>,
    /// Which way records travel.
    pub direction: Direction,
    /// How changes are found.
    pub scan: Sides<Scan>,
    /// Every so many runs a side with a feed is listed whole.
    pub sweep_every: u32,
    /// What a record without a link must satisfy.
    pub admit: Sides<Vec<Predicate>>,
    /// What a record with a link must go on satisfying; otherwise its link sleeps.
    pub follow: Sides<Vec<Predicate>>,
    /// How records without a link find each other.
    pub matching: Matching,
    /// Whether a side may be given new records.
    pub create: Sides<bool>,
    /// Whether a side's records may be changed.
    pub update: Sides<bool>,
    /// One-way streams: when a target that was changed by others is put right.
    pub repair: Repair,
    /// Who wins.
    pub conflict: ConflictPolicy,
    /// `removed[side]`: what a removal on `side` does to the other side.
    pub removed: Sides<RemovalPolicy>,
    /// What `trash` means on a side without deleted items.
    pub trash: TrashPolicy,
    /// Limits that stop a run from doing harm.
    pub guard: GuardPolicy,
    /// Which fields travel, and how.
    pub map: MapSpec,
    /// Fields of new records that point at other records.
    pub references: Vec<Reference>,
    /// What happens when the field map is not the one of the last run.
    pub map_change: MapChange,
    /// What is done about conditions that a side tells, by their code; others count by their severity.
    pub conditions: BTreeMap<String, OnCondition>,
    /// How often a record may fail in a passing way before it is set aside.
    pub attempts: u32,
    /// Records in one page, and writes in one call unless the connector takes fewer.
    pub batch: u32,
}

/// What a stream does about a condition, of a record or of a whole side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCondition {
    /// Nothing.
    Allow,
    /// It is told once a run.
    Report,
    /// The record does not take part; of a side it is told.
    Skip,
    /// The record is quarantined; of a side nothing begins.
    Fail,
}

impl LaneSpec {
    /// What is done about a condition: as the stream says for its code, else by its severity.
    #[must_use]
    pub fn on(&self, condition: &Condition) -> OnCondition {
        let said = self.conditions.get(&condition.code).copied();
        said.unwrap_or(match condition.severity {
            Severity::Error => OnCondition::Fail,
            Severity::Warning => OnCondition::Report,
            Severity::Info => OnCondition::Allow,
        })
    }

    /// Whether work cannot begin because of what a side says of itself.
    #[must_use]
    pub fn is_blocked_by(&self, condition: &Condition) -> bool {
        let whole = matches!(condition.level, Level::Profile | Level::Stream | Level::User);
        whole && self.on(condition) == OnCondition::Fail
    }

    /// Whether a removal on the other side may ask for this on `side`.
    #[must_use]
    pub fn may_ask(&self, side: Side, removal: Removal) -> bool {
        let policy = &self.removed[side.other()];
        self.writes_to(side) && (policy.deleted == removal || policy.left_scope == removal)
    }

    /// Whether the stream's direction writes to this side.
    #[must_use]
    pub fn writes_to(&self, side: Side) -> bool {
        match self.direction {
            Direction::Both => true,
            Direction::LeftToRight => side == Side::Right,
            Direction::RightToLeft => side == Side::Left,
            Direction::None => false,
        }
    }

    /// Whether changes of this side are looked for. The target of a one-way stream that repairs with the source's next
    /// change is read only when it is about to be written.
    #[must_use]
    pub fn reads(&self, side: Side) -> bool {
        self.writes_to(side.other()) || (self.writes_to(side) && self.repair == Repair::EveryRun)
    }
}

/// Which way records travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both ways.
    Both,
    /// The left side is the authority.
    LeftToRight,
    /// The right side is the authority.
    RightToLeft,
    /// Not at all.
    None,
}

impl Direction {
    /// Whether values travel towards `side`.
    #[must_use]
    pub fn reaches(self, side: Side) -> bool {
        matches!(
            (self, side),
            (Direction::Both, _) | (Direction::LeftToRight, Side::Right) | (Direction::RightToLeft, Side::Left)
        )
    }
}

/// How a side's changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scan {
    /// By the connector's feed, else by listing ids and versions.
    Feed,
    /// By listing whole records each run.
    Full,
}

/// A condition on a record, as data. A refusal carries the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    /// What must hold.
    pub test: Test,
    /// Stable word for reports, for instance `not_flagged`.
    pub reason: String,
}

/// What a [`Predicate`] tests. Fields are native names or canonical paths.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The field is not empty.
    Present(Name),
    /// The field is empty.
    Absent(Name),
    /// The field is one of these values; of a list: any of its values is.
    In(Name, Vec<Value>),
    /// The field is none of these values.
    NotIn(Name, Vec<Value>),
    /// The date or time lies before.
    Before(Name, When),
    /// The date or time lies after.
    After(Name, When),
    /// One of these holds.
    Any(Vec<Test>),
}

/// A point in time of a [`Test`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// When the run started.
    Now,
    /// A fixed time, as RFC 3339 text or a date.
    At(String),
}

/// How records without a link find each other.
#[derive(Debug, Clone, PartialEq)]
pub enum Matching {
    /// Never: each record gets a new counterpart.
    Never,
    /// By keys.
    Keys(MatchPolicy),
}

/// Matching by keys.
///
/// Keys are tried in order over all records at once, so that the outcome does not depend on the order of the records. A key
/// ties two records together if each is the other's only candidate. Records that have candidates but were tied by no key are
/// *doubtful*.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchPolicy {
    /// Each key is a list of canonical paths that must all be equal; `*` stands for any index. `uid` is the record's UID.
    pub keys: Vec<Vec<Name>>,
    /// Whether case counts.
    pub case_sensitive: bool,
    /// Where candidates of each side are looked for.
    pub within: Sides<Within>,
    /// `several[side]`: what becomes of a record that has several candidates on `side`.
    pub several: Sides<Several>,
    /// At the first match two filled values may differ: who wins. `Hold` waits for a person, field by field.
    pub differ: Winner,
}

/// Where candidates are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// Among the records of the stream's scope.
    #[default]
    Scope,
    /// Everywhere in the system: a record need not be in the scope's list or group yet.
    System,
}

/// What becomes of a record with several candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Several {
    /// Only candidates that are equal in all of these count; empty: all count.
    pub equal: Vec<Name>,
    /// If several count.
    pub pick: Pick,
    /// If none counts.
    pub none: Pick,
}

impl Several {
    /// Without looking at other fields.
    #[must_use]
    pub fn all(pick: Pick) -> Self {
        Several { equal: Vec::new(), pick, none: pick }
    }
}

/// What becomes of a record with several candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// It waits for a person, together with its candidates.
    Hold,
    /// The candidate that was created first, then the smallest id.
    Oldest,
    /// It is taken for a new record.
    Create,
}

/// When a one-way target is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// In each run: the target is read, too.
    EveryRun,
    /// With the next change of the source.
    OnChange,
}

/// Who wins when both sides changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictPolicy {
    /// Who wins.
    pub winner: Winner,
    /// Whether a side wins whole records or single fields.
    pub per: Per,
    /// Who wins if both changed at the same time, or no time is known.
    pub tie: Side,
    /// A server whose clock is further off than this is warned of; milliseconds.
    pub max_skew_ms: i64,
}

/// Who wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// The side that changed last.
    Latest,
    /// Always the left side.
    Left,
    /// Always the right side.
    Right,
    /// A person decides.
    Hold,
}

/// What a side wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The whole record: also fields that only the loser changed.
    Record,
    /// Each field on its own.
    Field,
}

/// What a removal on one side does to the other. Where nothing may be written there, its record stays, and is made again on the
/// first side as soon as it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovalPolicy {
    /// After a deletion.
    pub deleted: Removal,
    /// After a record left the scope.
    pub left_scope: Removal,
    /// Whether it also wins over an edit of the other side that nobody has seen yet.
    pub beats_edit: bool,
}

/// What follows from a removal, on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// Nothing; the link sleeps.
    Keep,
    /// Into the system's deleted items; where there are none, see [`TrashPolicy`].
    Trash,
    /// Deleted for good.
    Delete,
    /// Out of the scope's list or group.
    Exclude,
    /// Made again on the side where it went missing. Whoever left the scope is still there, and is kept.
    Restore,
}

/// What becomes of a record that belongs into the deleted items of a system that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashPolicy {
    /// It is moved to this folder, where the system can make folders.
    pub fallback: Option<String>,
    /// If that cannot be done either.
    pub none: NoTrash,
}

/// What becomes of a record that can be moved nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoTrash {
    /// It stays, its link sleeps, and the run says so.
    Keep,
    /// It is deleted for good.
    #[default]
    Delete,
}

/// Limits that stop a run from doing harm.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardPolicy {
    /// More removals than this share of the lane's links, and more than `removals_above`, are held.
    pub removals_share: f64,
    /// See `removals_share`.
    pub removals_above: u64,
    /// More removals than this are held, whatever their share.
    pub removals_count: Option<u64>,
    /// If all of these change at once, the record is suspected to be another one under the same id, and held.
    pub identity: Vec<Name>,
}

/// Which fields travel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MapSpec {
    /// Start from every canonical path that both sides have.
    pub join: bool,
    /// Rows that are added to the join or replace its rows.
    pub rows: Vec<FieldRow>,
    /// Canonical paths or native names that do not travel.
    pub without: Vec<Name>,
    /// Canonical paths that are read even where they do not travel, because something is made of them.
    pub reads: Vec<Name>,
}

/// One row of a profile's field map.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldRow {
    /// Native names or canonical paths; of several the first that is not empty is read, and the first is written.
    pub left: Vec<Name>,
    /// The same on the right.
    pub right: Vec<Name>,
    /// Which way values travel; `None` takes the row out.
    pub direction: Direction,
    /// Which way values travel when a record is created; as `direction` unless said otherwise.
    pub on_create: Direction,
    /// Who wins, if not as the stream says.
    pub winner: Option<Winner>,
    /// Of a one-way row: when a target that was changed by others is put right, if not each time that it is read.
    pub repair: Option<Repair>,
    /// What happens to values on their way, left to right. Right to left is the inverse, where there is one.
    pub transform: Vec<Transform>,
}

/// One step of a value's way.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// White space at both ends goes.
    Trim,
    /// Into capitals.
    Upper,
    /// Into small letters.
    Lower,
    /// A telephone number in E.164, read with this country as default (`DE`).
    Phone(String),
    /// A date or time in another zone (`Europe/Berlin`).
    Zone(String),
    /// Only the date of a date and time.
    Date,
    /// Cut at this text into a list. The inverse joins.
    Split(String),
    /// A list joined by this text. The inverse cuts.
    Join(String),
    /// Always this value.
    Constant(Value),
    /// Looked up; what is not in the table stays. The inverse looks up the other way.
    Lookup(BTreeMap<String, String>),
}

/// What happens when the field map is not the one of the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MapChange {
    /// Two filled values that differ wait for a person.
    Ask,
    /// The source's values are sent: in a one-way row of all records, also of those that stand as they were settled; in a row
    /// that goes both ways where two filled values differ, those of the side that wins a conflict.
    Resend,
    /// The left side's values win.
    LeftWins,
    /// The right side's values win.
    RightWins,
}
