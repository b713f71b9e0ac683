//! A history before it happens: two systems, a profile, and what people, hosts and the weather do one after the other.
//!
//! A script is drawn from a seed and is data from then on: it can be printed on one line, played again, and made shorter by
//! leaving things out, since nothing in it depends on what came before.

use pairwise_host::model::{
    ConflictPolicy, Direction, FieldRow, LaneSpec, MapChange, MapSpec, Matching, Per, Pick, Predicate, Removal, Repair,
    Scan, Several, Side, Sides, Test, Winner,
};
use pairwise_plugin_api::{Capabilities, CreateKey, Name};
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::system::{FIELDS, Human, PRIVATE, Weather};
use crate::lanes::mirror;

/// A history before it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Times, ids and spellings come from it.
    pub seed: u64,
    /// What does not change.
    pub setting: Setting,
    /// What happens.
    pub steps: Vec<Step>,
}

/// The systems, and what the profile says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// What each system can do.
    pub abilities: Sides<Capabilities>,
    /// It spells what it is given in its own way.
    pub respells: Sides<bool>,
    /// It tells times in whole seconds.
    pub coarse: Sides<bool>,
    /// How far its clock is ahead, in milliseconds.
    pub skew: Sides<i64>,
    /// Which way the stream goes.
    pub direction: Direction,
    /// When the target of a one-way stream is put right.
    pub repair: Repair,
    /// Whole listings instead of a feed.
    pub full_scan: bool,
    /// Whole listings every so many runs.
    pub sweep_every: u32,
    /// Who wins.
    pub winner: Winner,
    /// What a side wins.
    pub per: Per,
    /// Who wins of two at the same time.
    pub tie: Side,
    /// Who wins at the first match; `None`: there is no matching.
    pub matching: Option<Winner>,
    /// Records are also matched by their UID.
    pub by_uid: bool,
    /// Rows of the map that are not both ways by the stream's policy.
    pub rows: Vec<RowSetting>,
    /// What becomes of new rows of the map.
    pub map_change: MapChange,
    /// What a deletion on the left does to the right, and one on the right to the left.
    pub deleted: (Removal, Removal),
    /// Whether it also wins over an edit that nobody has seen.
    pub beats_edit: bool,
    /// How records of a side leave without being deleted.
    pub parting: Sides<Option<Parting>>,
    /// What that does to the other side, as `deleted`.
    pub parted: (Removal, Removal),
    /// Whose counterpart returns joins the folder again that it was taken out of.
    pub joins: bool,
    /// More removals than these are held.
    pub removals_above: u64,
    /// Records in a page.
    pub batch: u32,
    /// How often a record may fail.
    pub attempts: u32,
}

/// How a record leaves without being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parting {
    /// A filter keeps it out from then on.
    Filter,
    /// It is moved out of the folder that is kept in step.
    Folder,
}

/// A row of the map.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RowSetting {
    /// Place in [`FIELDS`].
    pub field: usize,
    /// Which way its values travel.
    pub direction: Direction,
    /// Who wins, if not as the stream says.
    pub winner: Option<Winner>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A person does something.
    Deed(Deed),
    /// A host runs; at its so-manieth point something happens.
    Run(Vec<(u32, Twist)>),
    /// A plan is made, and a host runs.
    Plan,
    /// The weather of a system changes.
    Weather(Side, Weather),
    /// A system forgets how far it was read.
    LoseCursors(Side),
    /// The host's clock is set.
    Clock(i64),
    /// A system's clock is set.
    Skew(Side, i64),
    /// Time passes.
    Wait(i64),
    /// The state is backed up.
    Backup,
    /// The last backup is put back.
    Restore,
    /// A row of the map is taken out, or put in again.
    Remap(usize),
    /// The state may grow by so many pages only; `None`: as far as it wants.
    Disk(Option<u32>),
    /// A system refuses to write this human's record.
    Poison(Side, Option<Human>),
    /// A system is too busy whenever it is to write this human's record.
    Busy(Side, Option<Human>),
    /// A system cannot read this human's record.
    Garble(Side, Option<Human>),
    /// Another version of a side's plugin takes over.
    Upgrade(Side, Upgrade),
}

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Makes a record of somebody who is not there on this side.
    Create(Side, Human),
    /// Types into a field, or empties it.
    Edit(Side, Human, usize, bool),
    /// Deletes the record of this human.
    Delete(Side, Human),
    /// Takes the record of this human out of what is kept in step, or puts it back.
    Part(Side, Human),
    /// Deletes the record of the first, and makes one of the second, who gets its id.
    Reuse(Side, Human, Human),
    /// Makes a record of the second out of a copy of the first one's, whose UID it bears, too.
    Copy(Side, Human, Human),
    /// Makes a record of somebody on both sides, with one address.
    Twin(Human),
    /// Brings one card into both sides, which bears one UID and two addresses.
    Card(Human),
}

/// What happens in the middle of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Twist {
    /// The host dies; the state is opened again.
    Die,
    /// The next call goes wrong.
    Fault(Fault),
    /// A person does something.
    Deed(Deed),
    /// The host sleeps for so many milliseconds while another one runs.
    Rival(i64),
}

/// Which version of a plugin takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upgrade {
    /// The next minor one.
    Minor(Carries),
    /// The next major one.
    Major(Carries),
    /// The one before.
    Back,
}

/// What a version makes of a cursor that another one has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Carries {
    /// It knows no such operation.
    #[default]
    Unasked,
    /// It carries it over.
    Whole,
    /// It cannot read it.
    Nothing,
}

/// How a call goes wrong. A number says how many of its writes are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// It does not get there.
    NotSent,
    /// The system asks to slow down.
    Throttled,
    /// The system refuses the call.
    Refused,
    /// The login is refused.
    Auth,
    /// Its answer is lost.
    Lost(u32),
    /// It takes too long.
    Late(u32),
    /// The plugin panics.
    Panic(u32),
    /// Its page comes in another order.
    Shuffled,
    /// The first write is answered as not sent, the second as throttled, the third as unknown, and only the others are done.
    Mixed,
    /// Each write is answered as not sent.
    Unsent,
}

impl Default for Setting {
    fn default() -> Self {
        let strong = Capabilities {
            feed: true,
            tombstones: true,
            authoritative_get: true,
            conditional_writes: true,
            create_key: CreateKey::Takes,
            incarnation: true,
            largest_batch: 3,
            ..Capabilities::default()
        };
        Setting {
            abilities: Sides { left: strong.clone(), right: strong },
            respells: Sides::default(),
            coarse: Sides::default(),
            skew: Sides::default(),
            direction: Direction::Both,
            repair: Repair::EveryRun,
            full_scan: false,
            sweep_every: 0,
            winner: Winner::Latest,
            per: Per::Field,
            tie: Side::Left,
            matching: Some(Winner::Hold),
            by_uid: true,
            rows: Vec::new(),
            map_change: MapChange::Ask,
            deleted: (Removal::Delete, Removal::Delete),
            beats_edit: false,
            parting: Sides::default(),
            parted: (Removal::Keep, Removal::Keep),
            joins: false,
            removals_above: 5,
            batch: 3,
            attempts: 3,
        }
    }
}

impl Setting {
    /// Whether records can be taken out of a side's folder without being deleted.
    pub(super) fn has_folder(&self, side: Side) -> bool {
        self.parting[side] == Some(Parting::Folder)
    }

    /// Who wins a field.
    #[must_use]
    pub fn winner_of(&self, field: usize) -> Winner {
        let row = self.rows.iter().find(|row| row.field == field);
        row.and_then(|row| row.winner).unwrap_or(self.winner)
    }

    /// The lane; without the rows of `out`.
    #[must_use]
    pub fn lane(&self, out: &[usize]) -> LaneSpec {
        let mut lane = mirror();
        lane.direction = self.direction;
        lane.repair = self.repair;
        lane.scan = Sides::from_fn(|_| if self.full_scan { Scan::Full } else { Scan::Feed });
        // Without tombstones only a whole listing finds a removal.
        let silent = Side::BOTH.iter().any(|side| self.abilities[*side].feed && !self.abilities[*side].tombstones);
        lane.sweep_every = if silent { self.sweep_every.max(1) } else { self.sweep_every };
        lane.conflict = ConflictPolicy { winner: self.winner, per: self.per, tie: self.tie, max_skew_ms: 300_000 };
        match (self.matching, &mut lane.matching) {
            (Some(differ), Matching::Keys(policy)) => {
                policy.differ = differ;
                policy.several = Sides::from_fn(|_| Several::all(Pick::Hold));
                let uid = self.by_uid.then(|| vec![Name::from("uid")]);
                policy.keys = uid.into_iter().chain([vec![Name::from("emails/*/address")]]).collect();
            }
            (_, matching) => *matching = Matching::Never,
        }
        // Nobody can be taken out of what is no folder.
        let possible = |removal: Removal, side: Side| match removal {
            Removal::Exclude if !self.has_folder(side.other()) => Removal::Keep,
            removal => removal,
        };
        lane.removed.left.deleted = possible(self.deleted.0, Side::Left);
        lane.removed.right.deleted = possible(self.deleted.1, Side::Right);
        (lane.removed.left.beats_edit, lane.removed.right.beats_edit) = (self.beats_edit, self.beats_edit);
        lane.removed.left.left_scope = possible(self.parted.0, Side::Left);
        lane.removed.right.left_scope = possible(self.parted.1, Side::Right);
        for side in Side::BOTH {
            match self.parting[side] {
                None => {}
                Some(Parting::Filter) => {
                    let test = Test::NotIn(PRIVATE.into(), vec![true.into()]);
                    let predicate = Predicate { test, reason: PRIVATE.to_owned() };
                    lane.admit[side].push(predicate.clone());
                    lane.follow[side].push(predicate);
                }
                Some(Parting::Folder) => drop(lane.scope[side].insert("folder".to_owned(), "people".into())),
            }
        }
        lane.guard.removals_above = self.removals_above;
        lane.guard.removals_share = 0.25;
        lane.join = Sides::from_fn(|side| self.joins && self.has_folder(side));
        let row = |row: &RowSetting| FieldRow {
            left: vec![FIELDS[row.field].into()],
            right: vec![FIELDS[row.field].into()],
            direction: row.direction,
            on_create: row.direction,
            winner: row.winner,
            repair: None,
            transform: Vec::new(),
        };
        lane.map = MapSpec {
            join: true,
            rows: self.rows.iter().map(row).collect(),
            without: out.iter().map(|field| FIELDS[*field].into()).collect(),
            reads: Vec::new(),
        };
        lane.map_change = self.map_change;
        lane.batch = self.batch;
        lane.attempts = self.attempts;
        lane
    }
}

impl Script {
    /// The history of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Script {
        let mut dice = Dice::new(seed);
        let (setting, steps) = super::draw::history(&mut dice);
        Script { seed, setting, steps }
    }

    /// On one line, as [`Script::read`] reads it. What is as in the plainest setting is left out.
    #[must_use]
    pub fn line(&self) -> String {
        let mut script = serde_json::to_value(self).expect("a script has a text form");
        let plain = serde_json::to_value(Setting::default()).expect("a setting has a text form");
        leave_out(&mut script["setting"], &plain);
        script.to_string()
    }

    /// A script from its line, or the history of a seed.
    ///
    /// # Errors
    /// With what is wrong with the line.
    pub fn read(line: &str) -> Result<Script, serde_json::Error> {
        let line = line.trim().trim_start_matches("seed:");
        line.parse().map(Script::of).or_else(|_| {
            let mut script: serde_json::Value = serde_json::from_str(line)?;
            let plain = serde_json::to_value(Setting::default())?;
            put_in(&mut script["setting"], &plain);
            serde_json::from_value(script)
        })
    }
}

/// Leaves members out that are as in `plain`.
fn leave_out(value: &mut serde_json::Value, plain: &serde_json::Value) {
    let (Some(members), Some(plain)) = (value.as_object_mut(), plain.as_object()) else { return };
    members.retain(|name, member| Some(&*member) != plain.get(name));
    for (name, member) in members {
        plain.get(name).into_iter().for_each(|plain| leave_out(member, plain));
    }
}

/// The inverse.
fn put_in(value: &mut serde_json::Value, plain: &serde_json::Value) {
    let (Some(members), Some(plain)) = (value.as_object_mut(), plain.as_object()) else { return };
    for (name, plain) in plain {
        match members.get_mut(name) {
            Some(member) => put_in(member, plain),
            None => drop(members.insert(name.clone(), plain.clone())),
        }
    }
}
