//! What a run decided and did, as data that can be printed, counted and compared. A plan and a report are the same thing.

use pairwise_plugin_api::{Name, Value};
use serde::{Deserialize, Serialize};

use super::{LaneKey, Side, Sides};

/// What became of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneReport {
    /// Which.
    #[serde(flatten)]
    pub key: LaneKey,
    /// How it ended.
    pub state: LaneState,
    /// Why, where it did not end well: a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The word in the lane's settings that the error is about, and its side: whoever has the file can find its place.
    #[serde(skip)]
    pub culprit: Option<(Side, String)>,
    /// Writes to the left side.
    pub left: Counts,
    /// Writes to the right side.
    pub right: Counts,
    /// Fields that wait for a person's decision.
    pub conflicts: u64,
    /// Records that were set aside in this run.
    pub quarantined: u64,
    /// Operations that wait for a person.
    pub held: u64,
    /// Questions to users.
    pub offers: u64,
    /// Records that were read because they are new or changed.
    pub pulled: Sides<u64>,
    /// Pairs of existing records that were linked.
    pub adopted: u64,
    /// Records that a filter, a right or a policy kept out.
    pub refused: u64,
    /// Wall time.
    pub duration_ms: u64,
    /// Things worth knowing: guards that tripped, warnings of a side.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// Each operation; of plans and, up to a limit, of runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub items: Option<Vec<Item>>,
}

impl LaneReport {
    /// Nothing yet.
    #[must_use]
    pub fn new(key: LaneKey) -> Self {
        LaneReport {
            key,
            state: LaneState::Done,
            error: None,
            culprit: None,
            left: Counts::default(),
            right: Counts::default(),
            conflicts: 0,
            quarantined: 0,
            held: 0,
            offers: 0,
            pulled: Sides::default(),
            adopted: 0,
            refused: 0,
            duration_ms: 0,
            notes: Vec::new(),
            items: None,
        }
    }

    /// The counts of a side.
    pub fn side(&mut self, side: Side) -> &mut Counts {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }
}

/// How a lane's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// Through, and nothing waits.
    Done,
    /// Through, but something was set aside or waits for a person.
    Partial,
    /// A guard stopped it before anything was written.
    Guarded,
    /// Another run works on it; nothing was done.
    Busy,
    /// A side could not be reached or refused the login.
    Unreachable,
    /// A setting or a precondition is not met.
    Misconfigured,
    /// Stopped by a person; what was settled stands.
    Cancelled,
    /// An error of the host itself.
    Failed,
}

/// Writes to one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Records made.
    pub created: u64,
    /// Records changed.
    pub updated: u64,
    /// Records deleted, trashed or excluded.
    pub deleted: u64,
    /// Ties given up without a write.
    pub unlinked: u64,
    /// Writes that were not done and will be tried again.
    pub failed: u64,
}

impl Counts {
    /// Whether the side was written to.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.created + self.updated + self.deleted
    }
}

/// One operation of a plan or run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What.
    pub op: Op,
    /// The side that is written to.
    pub side: Side,
    /// The entity there.
    pub entity: String,
    /// The record there; empty while it does not exist.
    pub id: String,
    /// The record on the other side.
    pub other_id: String,
    /// What a person calls the record.
    pub label: String,
    /// Why, in a stable word.
    pub reason: String,
    /// Whether it waits for a person.
    pub held: bool,
    /// Field by field.
    pub fields: Vec<FieldChange>,
}

impl Item {
    /// Whether it is the same operation: on the same record, with the same values. Labels and reasons may differ.
    #[must_use]
    pub fn same_as(&self, other: &Item) -> bool {
        let values = |item: &Item| -> Vec<(Name, Value)> {
            item.fields.iter().map(|field| (field.path.clone(), field.new.clone())).collect()
        };
        (self.op, self.side, &self.id, &self.other_id) == (other.op, other.side, &other.id, &other.other_id)
            && values(self) == values(other)
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Makes a record.
    Create,
    /// Changes fields.
    Update,
    /// Makes a record again that went missing.
    Recreate,
    /// Deletes or trashes.
    Delete,
    /// Adds to the scope's list or group.
    Include,
    /// Takes out of the scope's list or group.
    Exclude,
    /// Gives up the tie.
    Unlink,
    /// Ties two existing records together.
    Adopt,
    /// Leaves a field to a person.
    Conflict,
    /// Sets a record aside.
    Quarantine,
}

/// One field of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Row of the field map.
    pub path: Name,
    /// What stands there, as far as is known.
    pub old: Value,
    /// What is to stand there.
    pub new: Value,
    /// Where the new value comes from.
    pub from: Side,
}
