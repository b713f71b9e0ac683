//! Native fields to canonical ones and back.
//!
//! A [`FieldMap`] is compiled once per run from a stream's map and both catalogues. Between the stages values are canonical:
//! named by the row of the map, and of the form that the right side has. A row without transforms, between fields of one
//! type, changes nothing, so that most of translating is renaming.
//!
//! The left side's values come in through the row's steps and go out through their inverse. The right side's values go both
//! ways, out and in again, if the row reaches the left side: so each side tells a value as the other would after having
//! received it, and what a run wrote is no change in the next one.

mod compile;
mod steps;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pairwise_plugin_api::{Fields, Name, Outline, Record, Value};

use crate::model::value::Compare;
use crate::model::{Direction, Repair, Side, Sides, Winner};

pub use compile::MapProblem;
pub(super) use compile::native_name;
use steps::Step;

/// How many rows ahead of the last one the next is looked for before it is searched among all.
const LOOK_AHEAD: usize = 16;

/// A stream's field map, ready for use.
#[derive(Debug, Default)]
pub struct FieldMap {
    /// Sorted by key.
    rows: Vec<Row>,
    /// Where the next key is expected: rows are mostly asked for in their order.
    expected: AtomicUsize,
    /// Sorted by native name.
    by_native: Sides<Vec<(Name, Vec<Source>)>>,
    families: Vec<usize>,
    members: Members,
    constants: Vec<usize>,
    /// The keys of what is read; members of open families stand beside it.
    keys: Outline,
    /// What either side calls what is written to it.
    names: Sides<Outline>,
    fingerprint: String,
}

/// One row of a field map.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Canonical path, or the left native name where there is none; an open family ends in `/*`.
    pub key: Name,
    /// Native names on each side: the first one that is not empty is read, the first is written.
    pub native: Sides<Vec<Name>>,
    /// Which way changes travel.
    pub direction: Direction,
    /// Which way values travel when a record is created.
    pub on_create: Direction,
    /// Who wins, if not as the stream says.
    pub winner: Option<Winner>,
    /// Of a one-way row: when a target that was changed by others is put right.
    pub repair: Repair,
    /// When two values are the same.
    pub compare: Compare,
    /// Whether each side can be written.
    pub writable: Sides<bool>,
    /// The longest text that each side takes, in UTF-16 code units.
    length: Sides<Option<u32>>,
    /// What happens to values from left to right.
    steps: Arc<[Step]>,
}

impl Row {
    /// Whether a value of this row may be written to `side`.
    #[must_use]
    pub fn reaches(&self, side: Side, create: bool) -> bool {
        let direction = if create { self.on_create } else { self.direction };
        self.writable[side] && direction.reaches(side)
    }

    /// Whether this row stands for all members of an open family.
    #[must_use]
    pub fn is_family(&self) -> bool {
        self.key.ends_with("/*")
    }

    /// What a side calls the field that is written; `key` may be a member of the row's family.
    fn name(&self, side: Side, key: &str) -> Option<Name> {
        let native = self.native[side].first()?;
        Some(tail(&self.key, key).map_or_else(|| native.clone(), |tail| member(native, tail)))
    }

    /// A native value as the rest of the run sees it.
    fn take_in(&self, side: Side, value: &Value) -> Result<Value, String> {
        if self.steps.is_empty() {
            return Ok(value.clone());
        }
        match side {
            Side::Left => steps::forth(&self.steps, value.clone()),
            Side::Right if self.reaches(Side::Left, false) || self.reaches(Side::Left, true) => {
                steps::forth(&self.steps, steps::back(&self.steps, value.clone())?)
            }
            Side::Right => Ok(value.clone()),
        }
    }

    /// A value as the side is to hold it.
    fn give_out(&self, side: Side, value: &Value) -> Result<Value, String> {
        let value = match side {
            Side::Left if !self.steps.is_empty() => steps::back(&self.steps, value.clone())?,
            _ => value.clone(),
        };
        match (self.length[side], &value) {
            // Bytes are never fewer than UTF-16 code units, so that counting is rarely needed.
            (Some(limit), Value::Text(text))
                if text.len() > limit as usize && text.encode_utf16().count() > limit as usize =>
            {
                Err(format!(
                    "the text has {} characters, the {side} side takes {limit}: shorten it",
                    text.encode_utf16().count()
                ))
            }
            _ => Ok(value),
        }
    }
}

/// Where a native field leads: to a row, of whose names it is the `rank`th.
#[derive(Debug, Clone, Copy)]
struct Source {
    row: usize,
    rank: usize,
}

/// A record that cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct TranslateProblem {
    /// Row of the map.
    pub field: Name,
    /// A sentence for people.
    pub text: String,
}

impl FieldMap {
    /// All rows, in the order of their keys.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a key; a member of an open family leads to its family's row.
    #[must_use]
    pub fn row(&self, key: &str) -> Option<&Row> {
        let expected = self.expected.load(Ordering::Relaxed);
        // One and the same text, a few rows on: most keys are asked for by the rows' own names.
        let ahead = self.rows.iter().skip(expected).take(LOOK_AHEAD).position(|row| std::ptr::eq(&*row.key, key));
        let place = match ahead {
            Some(gap) => Ok(expected + gap),
            None => self.rows.binary_search_by(|row| (*row.key).cmp(key)),
        };
        match place {
            Ok(place) => {
                self.expected.store(place + 1, Ordering::Relaxed);
                Some(&self.rows[place])
            }
            Err(_) => self.families.iter().map(|index| &self.rows[*index]).find(|row| tail(&row.key, key).is_some()),
        }
    }

    /// What a side calls the field of a key.
    #[must_use]
    pub fn native(&self, side: Side, key: &str) -> Option<Name> {
        self.row(key)?.name(side, key)
    }

    /// The same map, which reads only some of its rows.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Row) -> bool) -> FieldMap {
        let only = |places: &[usize]| places.iter().copied().filter(|place| wanted(&self.rows[*place])).collect();
        let mut by_native = self.by_native.clone();
        for side in Side::BOTH {
            for (_, sources) in &mut by_native[side] {
                sources.retain(|source| wanted(&self.rows[source.row]));
            }
        }
        FieldMap {
            keys: self.rows.iter().filter(|row| wanted(row)).map(|row| row.key.clone()).collect(),
            rows: self.rows.clone(),
            expected: AtomicUsize::default(),
            by_native,
            families: only(&self.families),
            members: Members::default(),
            constants: only(&self.constants),
            names: self.names.clone(),
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// The native fields of a side that values are made of; `None` where an open family may take in any field.
    pub(super) fn natives(&self, side: Side) -> Option<Vec<Name>> {
        let in_family = self.families.iter().any(|row| !self.rows[*row].native[side].is_empty());
        (!in_family).then(|| self.by_native[side].iter().map(|(name, _)| name.clone()).collect())
    }

    /// Changes whenever values would be translated differently. A line for each row.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The keys of rows that translate as they did in the map of an older fingerprint. What an open family stands for depends
    /// on the other rows, so that it is not among them.
    #[must_use]
    pub fn unchanged_since(&self, older: &str) -> HashSet<Name> {
        self.shared_with(older).map(|(row, _)| row.key.clone()).collect()
    }

    /// The fingerprint of those rows: of shadows that were made with the older map and are made with this one.
    #[must_use]
    pub fn fingerprint_since(&self, older: &str) -> String {
        if older == self.fingerprint {
            return older.to_owned();
        }
        self.shared_with(older).map(|(_, line)| line).collect()
    }

    fn shared_with(&self, older: &str) -> impl Iterator<Item = (&Row, &str)> {
        let older: HashSet<&str> = older.split_inclusive('\n').collect();
        let rows = self.rows.iter().zip(self.fingerprint.split_inclusive('\n'));
        rows.filter(move |(row, line)| !row.is_family() && older.contains(line))
    }

    /// The record's mapped fields by row. What the record does not tell stays absent.
    ///
    /// # Errors
    /// If a value is not of the kind that the catalogue says.
    pub fn translate_in(&self, side: Side, record: &Record) -> Result<Fields, TranslateProblem> {
        let mut values = Fields::within(&self.keys);
        // Values of rows with several names, until it is known which one counts: row, rank, value.
        let mut candidates: Vec<(usize, usize, &Value)> = Vec::new();
        // Both are in the order of the names.
        let mut natives = self.by_native[side].iter().peekable();
        for (name, value) in record.fields.iter() {
            while natives.next_if(|(native, _)| native != name && native < name).is_some() {}
            match natives.peek().filter(|(native, _)| native == name) {
                Some((_, sources)) => {
                    for source in sources {
                        let row = &self.rows[source.row];
                        if row.native[side].len() > 1 {
                            candidates.push((source.row, source.rank, value));
                        } else {
                            values.put(&row.key, taken(row, side, &row.key, value)?);
                        }
                    }
                }
                None => {
                    if let Some((row, key)) = self.family(side, name) {
                        let value = taken(row, side, &key, value)?;
                        values.put(&key, value);
                    }
                }
            }
        }
        // In each row those that are filled come first, then by rank.
        candidates.sort_by_key(|(row, rank, value)| (*row, value.is_empty(), *rank));
        candidates.dedup_by_key(|(row, ..)| *row);
        for (row, _, value) in candidates {
            let row = &self.rows[row];
            values.put(&row.key, taken(row, side, &row.key, value)?);
        }
        if side == Side::Left {
            for row in self.constants.iter().map(|index| &self.rows[*index]) {
                values.put(&row.key, taken(row, side, &row.key, &Value::Null)?);
            }
        }
        Ok(values)
    }

    /// The native fields to be written to `side`: of rows whose direction reaches it and which it can write.
    ///
    /// # Errors
    /// If a value cannot be carried by the side's field.
    pub fn translate_out(&self, side: Side, values: &Fields, create: bool) -> Result<Fields, TranslateProblem> {
        let mut fields = Fields::within(&self.names[side]);
        for (key, value) in values.iter() {
            let Some(row) = self.row(key).filter(|row| row.reaches(side, create)) else { continue };
            let Some(native) = row.native[side].first() else { continue };
            let name = match tail(&row.key, key) {
                Some(tail) => self.members.of(native, &row.key, key, tail),
                None => native.clone(),
            };
            let value = row.give_out(side, value).map_err(|text| TranslateProblem { field: key.clone(), text })?;
            fields.put(&name, value);
        }
        Ok(fields)
    }

    /// The row of the open family that a native name belongs to, and its key there.
    fn family(&self, side: Side, name: &Name) -> Option<(&Row, Name)> {
        self.families.iter().map(|index| &self.rows[*index]).find_map(|row| {
            let native = row.native[side].first()?;
            let tail = tail(native, name)?;
            Some((row, self.members.of(&row.key, native, name, tail)))
        })
    }
}

fn taken(row: &Row, side: Side, key: &Name, value: &Value) -> Result<Value, TranslateProblem> {
    row.take_in(side, value).map_err(|text| TranslateProblem { field: key.clone(), text })
}

/// Members of open families under the names that other families have for them. Many records have the same ones, and a name
/// that is the same text each time is quickly found among others.
#[derive(Debug, Default)]
struct Members(Mutex<HashMap<Name, Vec<(Name, Name)>>>);

/// So many are remembered.
const MOST_MEMBERS: usize = 10_000;

impl Members {
    /// What `family` calls the member that another one calls `name`; its tail is the same.
    fn of(&self, family: &Name, other: &Name, name: &Name, tail: &str) -> Name {
        if family == other {
            return name.clone();
        }
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = members.get(name).and_then(|known| known.iter().find(|(of, _)| Arc::ptr_eq(of, family))) {
            return known.1.clone();
        }
        let member = member(family, tail);
        if members.len() < MOST_MEMBERS {
            members.entry(name.clone()).or_default().push((family.clone(), member.clone()));
        }
        member
    }
}

/// What a member of an open family has in the place of the `*`.
fn tail<'a>(family: &str, name: &'a str) -> Option<&'a str> {
    let stem = family.strip_suffix('*').filter(|stem| stem.ends_with('/'))?;
    name.strip_prefix(stem).filter(|tail| !tail.is_empty() && *tail != "*")
}

/// A member of an open family by its tail.
fn member(family: &str, tail: &str) -> Name {
    let stem = family.strip_suffix('*').unwrap_or(family);
    Name::from(format!("{stem}{tail}"))
}

/// What a person calls a record: the full name, title or e-mail address, else its id.
#[must_use]
pub fn label(values: &Fields, record_id: &str) -> String {
    let parts = [values.text("name/given"), values.text("name/surname")];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    values
        .text("name/full")
        .or(Some(name.as_str()).filter(|name| !name.is_empty()))
        .or_else(|| values.text("title"))
        .or_else(|| values.text("organizations/1/name"))
        .or_else(|| {
            values.with_prefix("emails/").find_map(|(_, value)| value.as_text().filter(|text| !text.is_empty()))
        })
        .unwrap_or(record_id)
        .to_owned()
}

#[cfg(test)]
mod tests;
