//! What the remote system can carry. The host promises nothing that is not declared here; the conformance kit tests what is.

use serde::{Deserialize, Serialize};

/// The abilities of one connector with its present settings.
///
/// The default is the weakest system: listings only, no conditional writes, no keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// `changes` tells what changed since a cursor. Without it the host lists and compares versions.
    pub feed: bool,
    /// The feed tells removals. Without it a periodic listing finds them.
    pub tombstones: bool,
    /// `get` answers `Gone` only for records that are really gone, at once: no replica that lags, no hidden records.
    pub authoritative_get: bool,
    /// `list` takes a time window.
    pub window: bool,
    /// `list` can expand series into occurrences.
    pub expand: bool,
    /// `write` refuses an update or delete whose `expect` is not the present version.
    pub conditional_writes: bool,
    /// An update whose outcome is not known may have been done in part, because a record is kept in parts.
    pub partial_updates: bool,
    /// What happens to the key of a create.
    pub create_key: CreateKey,
    /// Records carry an incarnation.
    pub incarnation: bool,
    /// Records carry a UID that other systems share.
    pub uid: bool,
    /// `write` knows `include` and `exclude`.
    pub membership: bool,
    /// `containers` lists folders.
    pub containers: bool,
    /// `ensure_container` makes folders.
    pub create_containers: bool,
    /// `write` knows `trash`.
    pub trash: bool,
    /// Who sends invitations.
    pub invitations: Invitations,
    /// `watch` announces changes.
    pub watch: bool,
    /// `receive` takes HTTP notifications.
    pub receive: bool,
    /// Pages carry the server's clock.
    pub server_time: bool,
    /// `stamp` is there.
    pub stamp: bool,
    /// The states that `acknowledge` understands; empty where it is not there.
    pub acknowledge: Vec<String>,
    /// The largest number of writes in one call, at least 1.
    pub largest_batch: u32,
    /// Calls at the same time for the whole connection, at least 1.
    pub max_parallel: u32,
    /// Calls at the same time for one principal, at least 1.
    pub max_parallel_per_principal: u32,
}

impl Default for Capabilities {
    fn default() -> Self {
        Capabilities {
            feed: false,
            tombstones: false,
            authoritative_get: false,
            window: false,
            expand: false,
            conditional_writes: false,
            partial_updates: false,
            create_key: CreateKey::None,
            incarnation: false,
            uid: false,
            membership: false,
            containers: false,
            create_containers: false,
            trash: false,
            invitations: Invitations::None,
            watch: false,
            receive: false,
            server_time: false,
            stamp: false,
            acknowledge: Vec::new(),
            largest_batch: 100,
            max_parallel: 1,
            max_parallel_per_principal: 1,
        }
    }
}

/// What a system does with the idempotency key of a create. The promise "never a duplicate" follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreateKey {
    /// A second create with the same key answers `exists`: never a duplicate.
    Takes,
    /// The key is kept with the record and `find` looks it up: no duplicate at rest.
    Searchable,
    /// Nothing: the host asks by the natural key, and a person decides where that is doubtful.
    #[default]
    #[serde(other)]
    None,
}

/// Who sends invitations when an event with participants is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invitations {
    /// The write says whether the server sends them.
    ByChoice,
    /// The server always does.
    Always,
    /// Nobody does.
    #[default]
    #[serde(other)]
    None,
}
