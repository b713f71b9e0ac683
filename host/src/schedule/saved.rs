//! A saved plan: what `plan --out` writes and `sync --plan` does, as long as the state is the one it was made from.

use std::path::Path;

use pairwise_plugin_api::Millis;
use serde::{Deserialize, Serialize};

use crate::chance::{Chance, Real};
use crate::model::{Item, LaneKey, LaneReport, StoreError};
use crate::store::{Db, Mark};

/// Grows when the file's shape changes.
const FORMAT: u32 = 1;

/// A plan in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// Shape of this file.
    format: u32,
    /// When it was made.
    pub made: Millis,
    /// Lane by lane what is to be done.
    pub lanes: Vec<PlannedLane>,
}

/// One lane of a saved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedLane {
    /// Which.
    #[serde(flatten)]
    pub key: LaneKey,
    /// Where the lane's state stood.
    pub mark: Mark,
    /// Its operations.
    pub items: Vec<Item>,
}

/// A saved plan that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PlanError {
    #[error("cannot read the plan {file}: {reason}; make one with `pairwise plan --out FILE`")]
    Unreadable { file: String, reason: String },
    #[error("cannot write the plan {file}: {reason}")]
    Unwritable { file: String, reason: String },
    #[error("the plan {file} was made by another installation, or before a backup was restored; make a new one")]
    Foreign { file: String },
    #[error("the plan {file} is stale: {lane} has moved since it was made; nothing was done, make a new one")]
    Stale { file: String, lane: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SavedPlan {
    /// The plan that these reports are, made where the lanes' state stood at these marks.
    #[must_use]
    pub fn new(reports: &[LaneReport], marks: Vec<Mark>) -> Self {
        let planned = |(report, mark): (&LaneReport, Mark)| PlannedLane {
            key: report.key.clone(),
            mark,
            items: report.items.clone().unwrap_or_default(),
        };
        SavedPlan { format: FORMAT, made: Real::new().now(), lanes: reports.iter().zip(marks).map(planned).collect() }
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`PlanError::Unwritable`].
    pub fn write(&self, file: &Path) -> Result<(), PlanError> {
        let unwritable = |reason: String| PlanError::Unwritable { file: file.display().to_string(), reason };
        let text = self.text().map_err(|error| unwritable(error.to_string()))?;
        std::fs::write(file, text).map_err(|error| unwritable(error.to_string()))
    }

    /// The text of its file.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`PlanError::Unreadable`].
    pub fn read(file: &Path) -> Result<Self, PlanError> {
        let unreadable = |reason: String| PlanError::Unreadable { file: file.display().to_string(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        SavedPlan::parse(file, &text)
    }

    /// Reads the file's text.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, PlanError> {
        let unreadable = |reason: String| PlanError::Unreadable { file: file.display().to_string(), reason };
        let plan: SavedPlan = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if plan.format != FORMAT {
            return Err(unreadable(format!("it has format {}, this version knows {FORMAT}", plan.format)));
        }
        Ok(plan)
    }

    /// Refuses a plan of which any lane has moved since.
    pub(super) fn check(&self, file: &Path, db: &mut Db) -> Result<(), PlanError> {
        let file = file.display().to_string();
        for lane in &self.lanes {
            let now = db.lane_mark(&lane.key)?;
            // A lane that has never run is the same in every database.
            let same_database = (&now.lineage, now.restored) == (&lane.mark.lineage, lane.mark.restored);
            if !same_database && lane.mark.serial != 0 {
                return Err(PlanError::Foreign { file });
            }
            if now.serial != lane.mark.serial {
                return Err(PlanError::Stale { file, lane: lane.key.to_string() });
            }
        }
        Ok(())
    }

    /// The operations of a lane.
    pub(super) fn items(&self, key: &LaneKey) -> Vec<Item> {
        self.lanes.iter().find(|lane| lane.key == *key).map_or_else(Vec::new, |lane| lane.items.clone())
    }
}
