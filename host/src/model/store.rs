//! The port to the state of lanes: five transactions, and the questions that the stages ask between them.
//!
//! Every method that writes is one transaction. It first checks that the lease is still ours and otherwise changes nothing
//! and answers [`StoreError::LeaseLost`].

use pairwise_plugin_api::{Cursor, Fields, Millis, Reason, Record, RecordRef, Write};
use serde::{Deserialize, Serialize};

use super::{Author, End, LaneKey, Link, LinkId, Side, Sides, Written};

/// Row number of an announcement.
pub type InboxId = i64;
/// Row number of an intent.
pub type IntentId = i64;
/// Row number of a record that is set aside.
pub type AsideId = i64;
/// Row number of a hold.
pub type HoldId = i64;

/// A store that does not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another run holds the lane.
    #[error("another run is active on {lane}: {holder}; wait for it, or stop it")]
    Busy {
        /// Which lane.
        lane: String,
        /// Process and since when.
        holder: String,
    },
    /// Somebody took the lease over while we were asleep. Nothing was changed.
    #[error("the lease on {lane} was taken over by another run; nothing was written, run again")]
    LeaseLost {
        /// Which lane.
        lane: String,
    },
    /// The disk is full. Nothing was changed.
    #[error("no space left for the state database {path}: free some space and run again; nothing was lost")]
    Full {
        /// The database.
        path: String,
    },
    /// The database was written by a newer version of this program.
    #[error(
        "the state database {path} has schema {found}, this version knows {known}: use a newer pairwise, or restore a backup"
    )]
    Newer {
        /// The database.
        path: String,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A backup cannot be written, or what was named is none.
    #[error("backup {path}: {reason}")]
    Backup {
        /// The file.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// It cannot be opened or made.
    #[error("cannot open the state database {path}: {reason}")]
    Open {
        /// The database.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Anything else.
    #[error("the state database {path} failed: {reason}")]
    Failed {
        /// The database.
        path: String,
        /// What SQLite said.
        reason: String,
    },
}

/// The answer of every method.
pub type StoreResult<T> = Result<T, StoreError>;

/// Who runs: names a process so exactly that it can be told dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Changes when the machine starts.
    pub boot: String,
    /// Process id.
    pub pid: u32,
    /// When the process started, in the operating system's own unit: tells a reused process id.
    pub started: u64,
    /// When the lease was taken.
    pub since: Millis,
}

/// The right to write one lane's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which lane.
    pub key: LaneKey,
    /// Its row number.
    pub lane: i64,
    /// Grows with each taking; a transaction with another epoch changes nothing.
    pub epoch: i64,
}

/// What a lane remembers between runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LaneMemory {
    /// How far each side was read.
    pub cursors: Sides<Option<Cursor>>,
    /// Who wrote that; `None` before anybody did, and where a host did that took no note of it.
    pub authors: Sides<Option<Author>>,
    /// What an earlier version of the plugin had written when the present one took over.
    pub former: Sides<Option<Written>>,
    /// Fingerprint of the field map that the shadows were made with: of those rows of it that say the same in all of them.
    pub map: Option<String>,
    /// Runs since each side was last listed whole.
    pub since_sweep: Sides<u32>,
    /// Whether each side was ever listed to its end: until then, its cursor stands in the middle of the first listing.
    pub listed: Sides<bool>,
    /// Whether a listing of each side has missed a record of a live link, which nobody has seen since.
    pub doubts: Sides<bool>,
    /// Links that take part.
    pub live_links: u64,
    /// The newest announcement; rows above it are of this run.
    pub newest_inbox: InboxId,
    /// The newest record that is set aside; rows above it are of this run.
    pub newest_aside: AsideId,
}

/// What the store knows of a record that a side told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Its link, with the version that was last seen there.
    pub link: Option<(LinkId, Option<String>)>,
    /// The incarnation of the linked record.
    pub incarnation: Option<String>,
    /// It was set aside at this version.
    pub aside: Option<(AsideId, Option<String>)>,
    /// When that was changed last, as it was told.
    pub aside_modified: Option<Millis>,
    /// It is announced already, with this version.
    pub inbox: Option<(InboxId, Option<String>)>,
    /// It is to be read again, and has not answered since that is so.
    pub revisit: bool,
}

/// An announcement that is to be staged. It replaces an earlier one of the same record and lifts a hold on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// Whose.
    pub side: Side,
    /// Which record.
    pub at: RecordRef,
    /// Its version.
    pub version: Option<String>,
    /// What happened.
    pub news: News,
    /// Match keys: rank of the key in the policy, and a digest of its value. Only for records without a link.
    pub keys: Vec<(u8, u64)>,
    /// True for a record that was looked up as a match candidate and not announced: without a match it is forgotten.
    pub candidate: bool,
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It is there, like this.
    Here(Box<Record>),
    /// It is gone, certainly.
    Gone(Reason),
}

/// An announcement with all that is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Where [`Store::work`] goes on after it.
    pub row: InboxId,
    /// The announcements of each side; at least one.
    pub news: Sides<Option<Announced>>,
    /// The link, if there is one. Two announcements without a link were paired by a match.
    pub link: Option<Link>,
    /// Fields of the link that wait for a person, or were decided by one.
    pub conflicts: Vec<Conflict>,
}

/// One staged announcement.
#[derive(Debug, Clone, PartialEq)]
pub struct Announced {
    /// Row number.
    pub id: InboxId,
    /// Whose.
    pub side: Side,
    /// Which record.
    pub at: RecordRef,
    /// What happened.
    pub news: News,
    /// How often settling it failed in a passing way.
    pub attempts: u32,
    /// A removal that a person has released from a hold.
    pub released: bool,
    /// See [`Staged::candidate`].
    pub candidate: bool,
}

/// A field whose two values wait for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Row of the field map.
    pub path: String,
    /// The values of both sides when it was last looked at.
    pub values: Sides<pairwise_plugin_api::Value>,
    /// When each side last changed the record, if it tells.
    pub modified: Sides<Option<Millis>>,
    /// What a person decided.
    pub decision: Option<super::Winner>,
}

/// A write whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Row number; 0 until it is stored.
    pub id: IntentId,
    /// The call it was sent with: all intents of one call share it.
    pub call: String,
    /// The link as it stands. Of a create it is stored together with the intent, its end on `side` still `None`.
    pub link: Link,
    /// The side that is written to.
    pub side: Side,
    /// The frozen payload. Sent again only as it is.
    pub write: Write,
    /// The payload by field-map row: what both shadows become where the remote confirms it. Of an earlier run's only the rows
    /// count that have left the map since: what it asked for in the others is translated back from its payload.
    pub asked: Fields,
    /// The source's end, and what it holds beside `asked`. Once the write is settled, its shadow is both together.
    pub source: Option<(End, Fields)>,
    /// Of an update of a record that had told something itself: when it had changed, and its values by field-map row. Of a
    /// create: when the record changed that it is made of. A write of ours is a later change, but nobody's edit.
    pub before: Option<(Option<Millis>, Fields)>,
    /// Of a create: the record stood there before, and is made again.
    pub again: bool,
    /// The announcements it answers.
    pub inbox: Vec<InboxId>,
}

/// What is to be made of announcements, intents and a link, in one transaction together with others of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settlement {
    /// Announcements that are settled.
    pub settled: Vec<InboxId>,
    /// Announcements that stay for the next run; their attempts are counted.
    pub deferred: Vec<InboxId>,
    /// Intents that are closed.
    pub closed: Vec<IntentId>,
    /// What becomes of the link.
    pub link: LinkChange,
    /// Announcements to stage: a record read again.
    pub announce: Vec<Staged>,
    /// Open conflicts of the link that `link` puts replacing those stored; `None` leaves them.
    /// A link that is given up takes its conflicts along.
    pub conflicts: Option<Vec<Conflict>>,
    /// Records that are set aside.
    pub aside: Vec<Aside>,
    /// Records that the next run to which they answer reads again and announces.
    pub revisit: Vec<(Side, RecordRef)>,
}

/// What becomes of a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum LinkChange {
    /// Nothing.
    #[default]
    Keep,
    /// It is stored like this; id 0 makes a new one.
    Put(Box<Link>),
    /// Only the incarnation of its record on a side becomes known.
    Incarnation(LinkId, Side, String),
    /// It is given up.
    Retire(LinkId),
}

/// What a write does to a linked record, kept with its intent: the values that perish by it, which may be none.
#[derive(Debug, Clone, PartialEq)]
pub struct Lost {
    /// The link they belonged to.
    pub link: LinkId,
    /// The side on which they stood.
    pub side: Side,
    /// The record there.
    pub at: RecordRef,
    /// What a person calls it.
    pub label: String,
    /// What was done: `update`, `recreate`, `delete`, `conflict`.
    pub op: String,
    /// Why, in a stable word.
    pub reason: String,
    /// Field, value that lost, value that took its place.
    pub values: Vec<(String, pairwise_plugin_api::Value, pairwise_plugin_api::Value)>,
}

/// A record that does not take part.
#[derive(Debug, Clone, PartialEq)]
pub struct Aside {
    /// Whose.
    pub side: Side,
    /// Which record.
    pub at: RecordRef,
    /// At this version; a newer one is looked at again.
    pub version: Option<String>,
    /// When it was changed last, as it was told: of that version a write of ours may be later, but is nobody's edit.
    pub modified: Option<Millis>,
    /// What a person calls it.
    pub label: String,
    /// Set aside because of an error (quarantine), or merely not wanted (a filter, a right).
    pub kind: AsideKind,
    /// Stable word.
    pub code: String,
    /// A sentence for people.
    pub text: String,
}

impl Aside {
    /// One that cannot take part, called by its id.
    #[must_use]
    pub fn of(
        side: Side,
        at: RecordRef,
        version: Option<String>,
        code: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let (label, kind) = (at.id.clone(), AsideKind::Quarantined);
        Aside { side, at, version, modified: None, label, kind, code: code.into(), text: text.into() }
    }
}

/// Why a record does not take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsideKind {
    /// A permanent error; shown by `quarantine`.
    Quarantined,
    /// A filter or a right keeps it out; counted, not shown as a problem.
    Refused,
}

/// Announcements that wait for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// What kind.
    pub kind: HoldKind,
    /// The side that the held operations would write to, where it is one.
    pub side: Option<Side>,
    /// A sentence for people: what was found, why it stops, how to go on.
    pub summary: String,
    /// The announcements, each with what a person calls the record.
    pub rows: Vec<(InboxId, String)>,
}

/// Why something waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// More removals than the guard allows.
    Removals,
    /// A side that was full is empty.
    Emptied,
    /// Several records may be the counterpart.
    Match,
    /// All identifying fields changed at once.
    Identity,
}

/// Records of a match group: all that share one value of one key and are neither linked, paired nor held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyGroup {
    /// Announcements of each side; both are non-empty.
    pub rows: Sides<Vec<InboxId>>,
}

/// Row numbers that were seen, as bits.
#[derive(Debug, Clone, Default)]
pub struct Seen(Vec<u64>);

impl Seen {
    /// Marks a row. Row numbers are positive.
    pub fn mark(&mut self, row: i64) {
        let Ok(row) = usize::try_from(row) else { return };
        if self.0.len() <= row / 64 {
            self.0.resize(row / 64 + 1, 0);
        }
        self.0[row / 64] |= 1 << (row % 64);
    }

    /// Whether it was marked.
    #[must_use]
    pub fn contains(&self, row: i64) -> bool {
        usize::try_from(row).is_ok_and(|row| self.0.get(row / 64).is_some_and(|word| word & (1 << (row % 64)) != 0))
    }
}

/// Selects announcements for [`Store::work`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// All that are not held.
    All,
    /// Only removals that are not held.
    Removals,
}

/// The state of lanes.
pub trait Store {
    /// Takes the lane's lease: at once if it is free, its holder's process is dead, or its time is over.
    fn take(&mut self, key: &LaneKey, holder: &Holder, now: Millis) -> StoreResult<Lease>;

    /// Prolongs the lease.
    fn renew(&mut self, lease: &Lease, now: Millis) -> StoreResult<()>;

    /// Gives the lease back.
    fn release(&mut self, lease: &Lease) -> StoreResult<()>;

    /// What the lane remembers.
    fn memory(&mut self, lease: &Lease) -> StoreResult<LaneMemory>;

    /// What is known of records that a side told, in their order.
    fn known(&mut self, lease: &Lease, side: Side, at: &[RecordRef]) -> StoreResult<Vec<Known>>;

    /// Stages announcements; with `cursor` also how far the side was read, in the same transaction.
    fn stage(&mut self, lease: &Lease, staged: &[Staged], cursor: Option<(Side, &Cursor)>) -> StoreResult<()>;

    /// Another plugin, or another version, reads a side from now on. `cursor` is what it goes on from; `former` is what its
    /// forerunner had written.
    fn carry_over(
        &mut self,
        lease: &Lease,
        side: Side,
        author: &Author,
        cursor: Option<&Cursor>,
        former: Option<&Written>,
    ) -> StoreResult<()>;

    /// Links whose record on `side` was not seen in a complete listing, and had not left before, above `after`, in the order of
    /// their ids.
    fn unseen_links(
        &mut self,
        lease: &Lease,
        side: Side,
        seen: &Seen,
        after: LinkId,
        limit: usize,
    ) -> StoreResult<Vec<(LinkId, RecordRef)>>;

    /// Forgets records set aside and unlinked announcements of `side` that a complete listing did not show: those of
    /// earlier runs, up to the rows that `memory` told, and not marked.
    fn forget_unseen(
        &mut self,
        lease: &Lease,
        side: Side,
        aside: (&Seen, AsideId),
        inbox: (&Seen, InboxId),
    ) -> StoreResult<()>;

    /// Notes that links were not seen on `side` in this run; answers those that an earlier run had not seen either, without
    /// a sighting between.
    fn doubt(&mut self, lease: &Lease, side: Side, run: &str, links: &[LinkId]) -> StoreResult<Vec<LinkId>>;

    /// Ends the doubt about all links that are marked in `seen`, counts a whole listing of the side, and moves the cursor
    /// behind it. All at once: a cursor in the middle of a listing must not pass for one behind it.
    fn swept(&mut self, lease: &Lease, side: Side, seen: &Seen, cursor: Option<&Cursor>) -> StoreResult<()>;

    /// Records that are to be read again, with their side, behind the first `past` of them.
    fn revisits(&mut self, lease: &Lease, past: usize, limit: usize) -> StoreResult<Vec<(Side, RecordRef)>>;

    /// Takes them off that list.
    fn visited(&mut self, lease: &Lease, at: &[(Side, RecordRef)]) -> StoreResult<()>;

    /// Announcements by row, in the order of `rows`; rows that are gone are left out.
    fn announced(&mut self, lease: &Lease, rows: &[InboxId]) -> StoreResult<Vec<Announced>>;

    /// Visits the groups of one match key that have unlinked, unpaired, unheld announcements of both sides.
    fn key_groups(&mut self, lease: &Lease, rank: u8, visit: &mut dyn FnMut(KeyGroup)) -> StoreResult<()>;

    /// Announcements without link or partner of one side, for looking up candidates elsewhere.
    fn unmatched(&mut self, lease: &Lease, side: Side, after: InboxId, limit: usize) -> StoreResult<Vec<Announced>>;

    /// Quarantined records of one side without a link, above a number: they may be the counterparts of new ones.
    fn loose_asides(
        &mut self,
        lease: &Lease,
        side: Side,
        after: AsideId,
        limit: usize,
    ) -> StoreResult<Vec<(AsideId, RecordRef)>>;

    /// Ties announcements of left and right together, so that they are settled as one.
    fn pair(&mut self, lease: &Lease, pairs: &[(InboxId, InboxId)]) -> StoreResult<()>;

    /// Forgets candidates that were paired with nothing.
    fn drop_candidates(&mut self, lease: &Lease) -> StoreResult<()>;

    /// Makes announcements wait for a person. Rows that are held already are added to the new hold.
    fn hold(&mut self, lease: &Lease, holds: &[Hold], run: &str) -> StoreResult<()>;

    /// Announcements above `after` in the order of their rows, with link, partner and conflicts. Of two that belong together
    /// and are both selected, the lower row stands for both; neither comes if one is held.
    fn work(&mut self, lease: &Lease, select: Select, after: InboxId, limit: usize) -> StoreResult<Vec<Work>>;

    /// Writes intents, the links of creates, and the history of what is about to be overwritten, before they are sent.
    /// Row numbers are filled in.
    fn intend(&mut self, lease: &Lease, run: &str, intents: &mut [Intent], history: &[Lost]) -> StoreResult<()>;

    /// Intents towards a side whose outcome is not known, above `after` in their order.
    fn open_intents(&mut self, lease: &Lease, side: Side, after: IntentId, limit: usize) -> StoreResult<Vec<Intent>>;

    /// Those of one link.
    fn open_intents_of(&mut self, lease: &Lease, link: LinkId) -> StoreResult<Vec<Intent>>;

    /// Settles a batch.
    fn settle(&mut self, lease: &Lease, run: &str, batch: &[Settlement]) -> StoreResult<()>;

    /// Remembers the fingerprint of the field map that shadows are made with from now on.
    fn remember_map(&mut self, lease: &Lease, fingerprint: &str) -> StoreResult<()>;

    /// Links above `after`, for re-deriving shadows after a change of the map.
    fn links(&mut self, lease: &Lease, after: LinkId, limit: usize) -> StoreResult<Vec<Link>>;
}
