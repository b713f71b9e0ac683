//! Links: the stored tie between two records, and what each side held when they were last settled.

use pairwise_plugin_api::{Fields, Record, RecordRef};
use serde::{Deserialize, Serialize};

use super::{Side, Sides};

/// Row number of a link; never used again for another one. 0 is a link that is not stored yet.
pub type LinkId = i64;

/// A pair of records.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Row number; 0 until it is stored.
    pub id: LinkId,
    /// The record of each side. A side is `None` while its record is being created, or when it was removed and kept off.
    pub ends: Sides<Option<End>>,
    /// What each side held when the pair was last settled: values by field-map row, in that side's own spelling. A row
    /// that is absent was never settled.
    pub shadows: Sides<Fields>,
    /// The side on which the record was created first.
    pub born: Side,
    /// Whether it takes part.
    pub state: LinkState,
}

impl Link {
    /// Takes everything out and leaves a link of nothing with nothing.
    #[must_use]
    pub fn take(&mut self) -> Link {
        let nothing =
            Link { id: 0, ends: Sides::default(), shadows: Sides::default(), born: self.born, state: self.state };
        std::mem::replace(self, nothing)
    }
}

/// Whether a link takes part in runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It does.
    Live,
    /// A side left the scope or was removed with policy `keep`: nothing is written until that side returns.
    Dormant,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct End {
    /// Entity and id.
    pub at: RecordRef,
    /// The version when it was last settled or looked at.
    pub version: Option<String>,
    /// Which of the records that may have borne the id.
    pub incarnation: Option<String>,
    /// The folder.
    pub container: Option<String>,
}

impl End {
    /// The end that a record makes.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        End {
            at: record.at.clone(),
            version: record.version.clone(),
            incarnation: record.incarnation.clone(),
            container: record.container.clone(),
        }
    }
}
