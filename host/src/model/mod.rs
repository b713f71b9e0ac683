//! Pure words: what the parts of the host say to each other. Imports `plugin-api` only; no I/O here.

mod author;
mod lane;
mod link;
mod plan;
mod reference;
mod remote;
mod run;
mod side;
mod spell;
mod store;
pub mod value;

pub use author::{Author, Written};
pub use lane::{
    ConflictPolicy, Direction, FieldRow, GuardPolicy, LaneKey, LaneSpec, MapChange, MapSpec, MatchPolicy, Matching,
    NoTrash, OnCondition, Per, Pick, Predicate, Removal, RemovalPolicy, Repair, Scan, Several, Test, Transform,
    TrashPolicy, When, Winner, Within,
};
pub use link::{End, Link, LinkId, LinkState};
pub use plan::{Counts, FieldChange, Item, LaneReport, LaneState, Op};
pub use reference::{Lookup, Missing, Reference, Referent, Template};
pub use remote::Remote;
pub use run::{Guard, Observer, RunOptions, Stage, Unwatched};
pub use side::{Side, Sides};
pub use spell::nearest;
pub use store::{
    Announced, Aside, AsideId, AsideKind, Conflict, Hold, HoldId, HoldKind, Holder, InboxId, Intent, IntentId,
    KeyGroup, Known, LaneMemory, Lease, LinkChange, Lost, News, Seen, Select, Settlement, Staged, Store, StoreError,
    StoreResult, Work,
};
