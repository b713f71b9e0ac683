//! What a system tells about changes: pages, cursors, removals.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::{Millis, Record, RecordRef};

/// A connector's own token for "from here on". The host keeps it, never looks inside, and never keeps one that is ahead of
/// what it has durably taken over.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Cursor(pub Vec<u8>);

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CursorVisitor;
        impl<'de> Visitor<'de> for CursorVisitor {
            type Value = Cursor;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a cursor")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cursor, E> {
                Ok(Cursor(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Cursor, E> {
                Ok(Cursor(bytes))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cursor, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Cursor(bytes))
            }
        }
        deserializer.deserialize_byte_buf(CursorVisitor)
    }
}

/// One page of a feed or listing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// What the page tells, in the system's order. No record stands twice in one page.
    pub changes: Vec<Change>,
    /// Where to go on: the next page while `more`, otherwise where the next run starts. `None` on the last page of a listing
    /// of a system that has nothing to remember.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// There is another page.
    pub more: bool,
    /// Of a listing's last page: everything in scope was told, nothing was skipped for lack of rights, time or memory.
    /// Without it the host concludes nothing from what is missing.
    pub complete: bool,
    /// Of a listing's last page: the store is the one that the cursor of an earlier listing came from. False after a
    /// volume was swapped or a mailbox recreated; the host then believes no absence before it has seen it twice.
    pub same_store: bool,
    /// The server's clock when it answered, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Millis>,
}

/// One line of a page: a record that is there, or one that is not there any more. Exactly one of the two members is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// Created or changed. In a listing of ids only `at` and `version` are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
}

impl Change {
    /// A record that is there.
    #[must_use]
    pub fn upsert(record: Record) -> Self {
        Change { record: Some(record), removed: None }
    }

    /// A record that is not there any more.
    #[must_use]
    pub fn removed(at: RecordRef, reason: Reason) -> Self {
        Change { record: None, removed: Some(Removed { at, reason }) }
    }
}

/// A record that is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Removed {
    /// Which.
    pub at: RecordRef,
    /// Why, as far as the system tells.
    pub reason: Reason,
}

/// Why a record is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was deleted.
    Deleted,
    /// It still exists, but no longer belongs to what was asked for.
    LeftScope,
    /// The system does not tell; it may merely be invisible. The host asks before it believes.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What `get` answers for one id.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// The record, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Without a record: gone, or merely not visible.
    pub absent: Absent,
}

impl Found {
    /// It is there.
    #[must_use]
    pub fn here(record: Record) -> Self {
        Found { record: Some(record), absent: Absent::Hidden }
    }

    /// It is gone.
    #[must_use]
    pub fn gone() -> Self {
        Found { record: None, absent: Absent::Gone }
    }
}

/// What it means that `get` did not find a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// Deleted.
    Gone,
    /// Not visible to this principal, or not answered now; nothing follows from it.
    #[default]
    #[serde(other)]
    Hidden,
}
