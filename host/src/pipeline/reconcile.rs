//! Decides, without any I/O, what becomes of a link: three-way per field against the shadows.
//!
//! Each side has a shadow of its own, in its own spelling. A value that equals its side's shadow was not changed there,
//! however the other side spells it; so our own writes are no changes, and a respelling never travels back to its author.

use pairwise_plugin_api::{Fields, Millis, Name, Reason, Record, Value};

use super::removal::{asleep, is_echo, removed, restore, sleep};
use super::translate::{FieldMap, Row};
use crate::model::value::same;
use crate::model::{
    Conflict, Direction, End, FieldChange, LaneSpec, Link, LinkState, MapChange, Op, Per, Removal, Repair, Side, Sides,
    Winner,
};

/// Systems tell times in whole seconds: two that are nearer than this are the same.
const SAME_TIME_MS: Millis = 1_000;

/// What a side tells about its end of a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Nothing new: it is as its shadow says.
    Nothing,
    /// The record is there, with these values by field-map row.
    Here(Box<Seen>),
    /// The record is gone, certainly.
    Gone(Reason),
}

/// A record that was read, and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// As the connector gave it.
    pub record: Record,
    /// Translated.
    pub values: Fields,
}

/// How a run decides, beyond the lane's own settings.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The lane's settings.
    pub lane: &'a LaneSpec,
    /// The field map.
    pub map: &'a FieldMap,
    /// In this run this side wins.
    pub prefer: Option<Side>,
    /// Rows that were never settled are new in the map: its change says who wins. Otherwise it is a first match.
    pub map_changed: bool,
    /// Whether changes are listed field by field for people.
    pub explain: bool,
    /// How far each server's clock is ahead of ours, as far as it is known.
    pub skew: Sides<Millis>,
    /// Sides that have no deleted items, nor a folder in their place, and whose records then stay.
    pub keeps: Sides<bool>,
}

/// What is to be done about a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The link with everything that needs no write: new versions, shadows of equal and of accepted values.
    pub link: Link,
    /// At most one write for each side.
    pub writes: Sides<Option<Planned>>,
    /// Whether the link lives on once the writes are done.
    pub fate: Fate,
    /// Fields that wait for a person.
    pub conflicts: Vec<Conflict>,
    /// Values that lose: side, and what is written to history before it is overwritten.
    pub lost: Sides<Vec<(String, Value, Value)>>,
}

/// What becomes of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It lives on.
    Stays,
    /// It is given up.
    Ends,
}

/// A write that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What.
    pub op: Op,
    /// Of a deletion: how.
    pub removal: Option<Removal>,
    /// Values by field-map row: of an update what changes, of a create everything.
    pub asked: Fields,
    /// Of a create: what the source holds beside that. It does not travel, but its shadow knows it from now on.
    pub unsent: Fields,
    /// For people and plans.
    pub changes: Vec<FieldChange>,
    /// Why, in a stable word.
    pub reason: &'static str,
}

/// Decides about a link of which at least one side tells something.
#[must_use]
pub fn judge(rules: Rules<'_>, link: &Link, told: &Sides<Told>, conflicts: &[Conflict]) -> Judgement {
    if Side::BOTH.into_iter().any(|side| is_echo(link, side, &told[side])) {
        let heard = |side: Side| if is_echo(link, side, &told[side]) { Told::Nothing } else { told[side].clone() };
        return judge(rules, link, &Sides::from_fn(heard), conflicts);
    }
    match (&told.left, &told.right) {
        // Both are still there: neither is new when it returns.
        (Told::Gone(Reason::LeftScope), Told::Gone(Reason::LeftScope)) => {
            sleep(&sleep(link, Side::Left).link, Side::Right)
        }
        (Told::Gone(_), Told::Gone(_)) => Judgement::ends(link),
        (Told::Gone(reason), other) => removed(rules, link, Side::Left, *reason, other, conflicts),
        (other, Told::Gone(reason)) => removed(rules, link, Side::Right, *reason, other, conflicts),
        _ if link.state == LinkState::Dormant => asleep(rules, link, told, conflicts),
        (Told::Here(_), Told::Nothing) if link.ends.right.is_none() => {
            restore(rules, link, Side::Right, &told.left, "missing")
        }
        (Told::Nothing, Told::Here(_)) if link.ends.left.is_none() => {
            restore(rules, link, Side::Left, &told.right, "missing")
        }
        _ => merge(rules, link, told, conflicts),
    }
}

impl Judgement {
    pub(super) fn stays(link: Link) -> Self {
        Judgement { link, writes: Sides::default(), fate: Fate::Stays, conflicts: Vec::new(), lost: Sides::default() }
    }

    pub(super) fn ends(link: &Link) -> Self {
        Judgement { fate: Fate::Ends, ..Judgement::stays(link.clone()) }
    }
}

/// What a record without a counterpart becomes on the other side.
#[must_use]
pub fn creation(rules: Rules<'_>, target: Side, values: &Fields, op: Op, reason: &'static str) -> Planned {
    let (mut asked, mut unsent) = (Fields::within(values.outline()), Fields::within(values.outline()));
    let mut changes = Vec::new();
    for (path, value) in values.iter() {
        let Some(row) = rules.map.row(path) else { continue };
        if !row.reaches(target, true) || value.is_empty() {
            unsent.put(path, value.clone());
            continue;
        }
        asked.put(path, value.clone());
        if rules.explain {
            changes.push(FieldChange {
                path: path.clone(),
                old: Value::Null,
                new: value.clone(),
                from: target.other(),
            });
        }
    }
    changes.shrink_to_fit();
    Planned { op, removal: None, asked, unsent, changes, reason }
}

/// Both records are there, as far as we know.
pub(super) fn merge(rules: Rules<'_>, link: &Link, told: &Sides<Told>, conflicts: &[Conflict]) -> Judgement {
    let mut judgement = Judgement::stays(link.clone());
    refresh_ends(&mut judgement.link, told);
    let modified = Sides::from_fn(|side| match &told[side] {
        Told::Here(seen) => seen.record.modified.map(|time| time - rules.skew[side]),
        _ => None,
    });
    // With record granularity one side wins all rows as soon as both sides changed anything. Rows that go one way are
    // nobody's to win, and a change in one is no reason for the other side to lose what was typed there.
    let contested = |path: &Name| rules.map.row(path).is_some_and(|row| one_way(row).is_none());
    let record_winner = (rules.lane.conflict.per == Per::Record
        && Side::BOTH.into_iter().all(|side| match &told[side] {
            Told::Here(seen) => changed_rows(rules, link, side, seen).any(contested),
            _ => false,
        }))
    .then(|| winner(rules, rules.lane.conflict.winner, &modified));

    let mut asked: Sides<Fields> = Sides::default();
    let mut changes: Sides<Vec<FieldChange>> = Sides::default();

    for path in paths(rules.map, link, told, conflicts) {
        let Some(row) = rules.map.row(&path) else { continue };
        let open = conflicts.iter().find(|conflict| *conflict.path == *path);
        let field = Field::look(row, &path, link, told, open);
        match verdict(rules, row, &field, open, record_winner, &modified) {
            Verdict::Unknown => {}
            Verdict::Settled => {
                for side in Side::BOTH {
                    set_or_clear(&mut judgement.link.shadows[side], &path, &field.now[side]);
                }
            }
            Verdict::Accept(side) => set_or_clear(&mut judgement.link.shadows[side], &path, &field.now[side]),
            Verdict::Wait => judgement.conflicts.push(Conflict {
                path: path.to_string(),
                values: Sides::from_fn(|side| field.now[side].clone().unwrap_or_default()),
                modified: Sides::from_fn(|side| {
                    modified[side].or_else(|| open.and_then(|conflict| conflict.modified[side]))
                }),
                decision: None,
            }),
            Verdict::Write { to, lost } => {
                let from = to.other();
                let new = field.now[from].clone().unwrap_or_default();
                let old = field.now[to].clone().unwrap_or_default();
                if lost && !old.is_empty() {
                    judgement.lost[to].push((path.to_string(), old.clone(), new.clone()));
                }
                asked[to].set(path.clone(), new.clone());
                if rules.explain {
                    changes[to].push(FieldChange { path: path.clone(), old, new, from });
                }
            }
        }
    }
    for to in Side::BOTH {
        if asked[to].is_empty() {
            continue;
        }
        judgement.writes[to] = Some(Planned {
            op: Op::Update,
            removal: None,
            asked: std::mem::take(&mut asked[to]),
            unsent: Fields::new(),
            changes: std::mem::take(&mut changes[to]),
            reason: "changed_on_other_side",
        });
    }
    judgement
}

/// One row of a link: what stands on each side, and what stood there.
struct Field {
    /// The present value; `None` where a side tells nothing of it and never did.
    now: Sides<Option<Value>>,
    changed: Sides<bool>,
    /// False for a row that was never settled, as after a first match or with a new row in the map.
    settled: bool,
}

impl Field {
    fn look(row: &Row, path: &Name, link: &Link, told: &Sides<Told>, open: Option<&Conflict>) -> Field {
        // A member of an open family that a whole record does not carry is not there. Any other field that a record does not
        // carry was merely not told.
        let absent = row.is_family().then_some(Value::Null);
        let fresh = link.shadows.left.is_empty() && link.shadows.right.is_empty();
        let last_known = |side: Side| {
            let conflicting = open.map(|conflict| conflict.values[side].clone());
            conflicting.or_else(|| link.shadows[side].get(path).cloned())
        };
        let now = Sides::from_fn(|side| match &told[side] {
            Told::Here(seen) => seen.values.get(path).cloned().or(absent.clone()).or_else(|| last_known(side)),
            _ => last_known(side).or_else(|| if fresh { None } else { absent.clone() }),
        });
        let shadow = Sides::from_fn(|side| {
            link.shadows[side].get(path).cloned().or_else(|| if fresh { None } else { absent.clone() })
        });
        let changed = Sides::from_fn(|side| match (&now[side], &shadow[side]) {
            (Some(now), Some(shadow)) => !same(row.compare, now, shadow),
            (now, _) => now.is_some(),
        });
        Field { now, changed, settled: shadow.left.is_some() && shadow.right.is_some() }
    }
}

enum Verdict {
    /// A side never told this row: nothing can be decided.
    Unknown,
    /// Both sides hold the same.
    Settled,
    /// This side's value is taken note of and travels nowhere.
    Accept(Side),
    /// A person decides.
    Wait,
    /// The other side's value goes to this side; `lost` if a value that somebody typed perishes.
    Write { to: Side, lost: bool },
}

fn verdict(
    rules: Rules<'_>,
    row: &Row,
    field: &Field,
    open: Option<&Conflict>,
    record_winner: Option<Winner>,
    modified: &Sides<Option<Millis>>,
) -> Verdict {
    let (Some(left), Some(right)) = (&field.now.left, &field.now.right) else {
        // Only one side has this field; what it holds is no news for the other.
        return match (&field.now.left, &field.now.right) {
            (Some(_), None) => Verdict::Accept(Side::Left),
            (None, Some(_)) => Verdict::Accept(Side::Right),
            _ => Verdict::Unknown,
        };
    };
    if same(row.compare, left, right) {
        return Verdict::Settled;
    }
    if row.direction == Direction::None {
        // Carried on create only: each side may keep its own, and nobody is asked.
        return Verdict::Settled;
    }
    if let Some(conflict) = open {
        return match conflict.decision {
            None => Verdict::Wait,
            Some(decision) => {
                let modified = Sides::from_fn(|side| modified[side].or(conflict.modified[side]));
                won(rules, row, field, winner(rules, decision, &modified))
            }
        };
    }
    if !field.settled {
        return first_meeting(rules, row, field, modified);
    }
    match (field.changed.left, field.changed.right, record_winner.filter(|_| one_way(row).is_none())) {
        // Settled with different spellings, and nobody touched it since.
        (false, false, _) => Verdict::Settled,
        (_, _, Some(Winner::Hold)) => Verdict::Wait,
        (_, _, Some(side)) => won(rules, row, field, side),
        (true, false, None) => travels(rules, row, field, Side::Left),
        (false, true, None) => travels(rules, row, field, Side::Right),
        (true, true, None) => {
            let policy = row.winner.unwrap_or(rules.lane.conflict.winner);
            match one_way(row) {
                Some(source) => travels(rules, row, field, source),
                None => won(rules, row, field, winner(rules, policy, modified)),
            }
        }
    }
}

/// Two values that were never compared before: an empty one is filled; of two filled ones the policy picks.
fn first_meeting(rules: Rules<'_>, row: &Row, field: &Field, modified: &Sides<Option<Millis>>) -> Verdict {
    let empty = Sides::from_fn(|side: Side| field.now[side].as_ref().is_none_or(Value::is_empty));
    match (empty.left, empty.right) {
        (true, _) if row.direction.reaches(Side::Left) => return travels(rules, row, field, Side::Right),
        (_, true) if row.direction.reaches(Side::Right) => return travels(rules, row, field, Side::Left),
        _ => {}
    }
    if let Some(source) = one_way(row) {
        return travels(rules, row, field, source);
    }
    let policy = if rules.map_changed {
        match rules.lane.map_change {
            MapChange::Ask => Winner::Hold,
            MapChange::Resend => row.winner.unwrap_or(rules.lane.conflict.winner),
            MapChange::LeftWins => Winner::Left,
            MapChange::RightWins => Winner::Right,
        }
    } else {
        match &rules.lane.matching {
            crate::model::Matching::Keys(policy) => policy.differ,
            crate::model::Matching::Never => rules.lane.conflict.winner,
        }
    };
    won(rules, row, field, winner(rules, policy, modified))
}

/// The side whose values travel in a one-way row.
pub(super) fn one_way(row: &Row) -> Option<Side> {
    match row.direction {
        Direction::LeftToRight => Some(Side::Left),
        Direction::RightToLeft => Some(Side::Right),
        _ => None,
    }
}

/// The policy's answer, never `Latest`.
fn winner(rules: Rules<'_>, policy: Winner, modified: &Sides<Option<Millis>>) -> Winner {
    let side_wins = |side| if side == Side::Left { Winner::Left } else { Winner::Right };
    if let Some(side) = rules.prefer {
        return side_wins(side);
    }
    match policy {
        Winner::Latest => side_wins(match (modified.left, modified.right) {
            (Some(left), Some(right)) if left - right >= SAME_TIME_MS => Side::Left,
            (Some(left), Some(right)) if right - left >= SAME_TIME_MS => Side::Right,
            _ => rules.lane.conflict.tie,
        }),
        policy => policy,
    }
}

fn won(rules: Rules<'_>, row: &Row, field: &Field, winner: Winner) -> Verdict {
    match winner {
        Winner::Left => travels(rules, row, field, Side::Left),
        Winner::Right => travels(rules, row, field, Side::Right),
        Winner::Hold | Winner::Latest => Verdict::Wait,
    }
}

/// A value goes from `from` to the other side if the row's direction and the lane's rights allow it.
fn travels(rules: Rules<'_>, row: &Row, field: &Field, from: Side) -> Verdict {
    let to = from.other();
    if row.reaches(to, false) && rules.lane.update[to] {
        // What the other side held was typed by somebody if it is not what we last put there.
        return Verdict::Write { to, lost: true };
    }
    // A change of a one-way target is put back; where nothing may be written it is taken note of.
    let back = row.repair == Repair::EveryRun && row.reaches(from, false) && rules.lane.update[from];
    if back && field.settled && one_way(row) == Some(to) {
        return Verdict::Write { to: from, lost: true };
    }
    Verdict::Accept(from)
}

/// All rows that either side or a shadow speaks of, in order, each once.
fn paths(map: &FieldMap, link: &Link, told: &Sides<Told>, conflicts: &[Conflict]) -> Vec<Name> {
    let mut paths: Vec<Name> = conflicts.iter().map(|conflict| Name::from(&*conflict.path)).collect();
    for side in Side::BOTH {
        if let Told::Here(seen) = &told[side] {
            paths.extend(seen.values.iter().map(|(path, _)| path.clone()));
        }
        paths.extend(link.shadows[side].iter().map(|(path, _)| path.clone()).filter(|path| map.row(path).is_some()));
    }
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The rows in which a side differs from its shadow and that would travel to the other side.
pub(super) fn changed_rows<'a>(
    rules: Rules<'a>,
    link: &'a Link,
    side: Side,
    seen: &'a Seen,
) -> impl Iterator<Item = &'a Name> + 'a {
    let missing = link.shadows[side]
        .iter()
        .filter(move |(path, shadow)| {
            let of_family = |row: &Row| row.is_family() && row.direction.reaches(side.other());
            !shadow.is_empty() && seen.values.get(path).is_none() && rules.map.row(path).is_some_and(of_family)
        })
        .map(|(path, _)| path);
    seen.values
        .iter()
        .filter(move |(path, value)| {
            rules.map.row(path).is_some_and(|row| {
                row.direction.reaches(side.other())
                    && match link.shadows[side].get(path) {
                        Some(shadow) => !same(row.compare, value, shadow),
                        None => !value.is_empty(),
                    }
            })
        })
        .map(|(path, _)| path)
        .chain(missing)
}

pub(super) fn refresh_ends(link: &mut Link, told: &Sides<Told>) {
    for side in Side::BOTH {
        if let Told::Here(seen) = &told[side] {
            link.ends[side] = Some(End::of(&seen.record));
        }
    }
}

/// Shadows keep no empty members of open families: they would pile up.
fn set_or_clear(shadow: &mut Fields, path: &Name, value: &Option<Value>) {
    match value {
        Some(value) => {
            shadow.set(path.clone(), value.clone());
        }
        None => {
            shadow.remove(path);
        }
    }
}
