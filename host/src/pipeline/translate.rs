//! Native fields to canonical ones and back.
//!
//! A [`FieldMap`] is compiled once per run from a stream's map and both catalogues. Values are canonical between the stages:
//! named by the row of the map, in the spelling of the side that they came from.

use std::collections::HashMap;

use pairwise_plugin_api::{Catalogue, Field, Fields, Name, Record};
use sha2::{Digest, Sha256};

use crate::model::value::Compare;
use crate::model::{Direction, MapSpec, Side, Sides, Winner};

/// A stream's field map, ready for use.
#[derive(Debug, Clone)]
pub struct FieldMap {
    rows: Vec<Row>,
    by_key: HashMap<Name, usize>,
    by_native: Sides<HashMap<Name, Slot>>,
    families: Vec<usize>,
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
    /// When two values are the same.
    pub compare: Compare,
    /// Whether each side can be written.
    pub writable: Sides<bool>,
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
}

/// Where a native name leads.
#[derive(Debug, Clone)]
enum Slot {
    /// To these rows.
    Rows(Vec<usize>),
}

/// A field map that cannot work with the catalogues of the two sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapProblem {
    /// The catalogue has no such entity.
    #[error("the {side} side has no entity `{entity}`; it has: {known}")]
    NoEntity {
        /// Which side.
        side: Side,
        /// What was asked for.
        entity: String,
        /// What there is.
        known: String,
    },
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
    /// Compiles the map of a stream.
    ///
    /// # Errors
    /// If an entity or a field is not in its catalogue, or a row cannot work the way it is written.
    pub fn compile(
        map: &MapSpec,
        direction: Direction,
        entities: &Sides<Vec<String>>,
        catalogues: &Sides<Catalogue>,
    ) -> Result<FieldMap, MapProblem> {
        let left = fields_of(Side::Left, entities, catalogues)?;
        let right = fields_of(Side::Right, entities, catalogues)?;
        let mut rows = Vec::new();
        if map.join {
            for field in left.iter().filter(|field| !field.path.is_empty()) {
                let Some(other) = right.iter().find(|other| other.path == field.path) else { continue };
                if rows.iter().any(|row: &Row| row.key == field.path) || map.without.contains(&field.path) {
                    continue;
                }
                rows.push(Row {
                    key: field.path.clone(),
                    native: Sides { left: vec![field.name.clone()], right: vec![other.name.clone()] },
                    direction: if field.create_only || other.create_only { Direction::None } else { direction },
                    on_create: direction,
                    winner: None,
                    compare: Compare {
                        kind: field.kind,
                        caseless: field.caseless || other.caseless,
                        ordered: field.ordered && other.ordered,
                    },
                    writable: Sides { left: field.writable, right: other.writable },
                });
            }
        }
        Ok(FieldMap::index(rows))
    }

    fn index(mut rows: Vec<Row>) -> FieldMap {
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let mut by_native: Sides<HashMap<Name, Slot>> = Sides::default();
        let mut hash = Sha256::new();
        for (index, row) in rows.iter().enumerate() {
            hash.update(format!("{}|{:?}|{:?}\n", row.key, row.native, row.direction));
            for side in Side::BOTH {
                for name in &row.native[side] {
                    let Slot::Rows(list) =
                        by_native[side].entry(name.clone()).or_insert_with(|| Slot::Rows(Vec::new()));
                    list.push(index);
                }
            }
        }
        let by_key = rows.iter().enumerate().map(|(index, row)| (row.key.clone(), index)).collect();
        let families = rows.iter().enumerate().filter(|(_, row)| row.is_family()).map(|(index, _)| index).collect();
        let fingerprint = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        FieldMap { rows, by_key, by_native, families, fingerprint }
    }

    /// All rows, in the order of their keys.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a key; a member of an open family leads to its family's row.
    #[must_use]
    pub fn row(&self, key: &str) -> Option<&Row> {
        let index = self
            .by_key
            .get(key)
            .copied()
            .or_else(|| self.families.iter().copied().find(|index| tail(&self.rows[*index].key, key).is_some()))?;
        Some(&self.rows[index])
    }

    /// Changes whenever values would be translated differently.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The record's mapped fields by row. What the record does not tell stays absent.
    ///
    /// # Errors
    /// If a value is not of the kind that the catalogue says.
    pub fn translate_in(&self, side: Side, record: &Record) -> Result<Fields, TranslateProblem> {
        let mut values = Fields::new();
        for (name, value) in record.fields.iter() {
            if let Some(Slot::Rows(rows)) = self.by_native[side].get(name) {
                for row in rows {
                    values.set(self.rows[*row].key.clone(), value.clone());
                }
            } else {
                for row in self.families.iter().map(|index| &self.rows[*index]) {
                    if let Some(tail) = row.native[side].first().and_then(|family| tail(family, name)) {
                        values.set(member(&row.key, tail), value.clone());
                        break;
                    }
                }
            }
        }
        Ok(values)
    }

    /// The native fields to be written to `side`: of rows whose direction reaches it and which it can write.
    ///
    /// # Errors
    /// If a value cannot be carried by the side's field.
    pub fn translate_out(&self, side: Side, values: &Fields, create: bool) -> Result<Fields, TranslateProblem> {
        let mut fields = Fields::new();
        for (key, value) in values.iter() {
            let Some(row) = self.row(key).filter(|row| row.reaches(side, create)) else { continue };
            let Some(native) = row.native[side].first() else { continue };
            let name = tail(&row.key, key).map_or_else(|| native.clone(), |tail| member(native, tail));
            fields.set(name, value.clone());
        }
        Ok(fields)
    }
}

fn fields_of<'a>(
    side: Side,
    entities: &Sides<Vec<String>>,
    catalogues: &'a Sides<Catalogue>,
) -> Result<Vec<&'a Field>, MapProblem> {
    let mut fields = Vec::new();
    for name in &entities[side] {
        let entity = catalogues[side].entity(name).ok_or_else(|| MapProblem::NoEntity {
            side,
            entity: name.clone(),
            known: catalogues[side].entities.iter().map(|entity| entity.name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        fields.extend(&entity.fields);
    }
    Ok(fields)
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
