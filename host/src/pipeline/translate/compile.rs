//! From a stream's map and both catalogues to the rows of a [`FieldMap`].

use pairwise_plugin_api::codec::shared;
use pairwise_plugin_api::{Catalogue, Entity, Field, Name};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use super::{FieldMap, Row, Source, member, steps, tail};
use crate::model::value::Compare;
use crate::model::{Direction, FieldRow, MapSpec, Repair, Side, Sides, Transform, Winner, nearest};

/// A field map that cannot work with the catalogues of the two sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapProblem {
    /// The catalogue has no such entity.
    #[error("the {side} side has no entity `{name}`; it has: {known}")]
    NoEntity {
        /// Which side.
        side: Side,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No entity of the lane has such a field.
    #[error("the {side} side has no field `{name}`{}", near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    NoField {
        /// Which side.
        side: Side,
        /// What was asked for.
        name: Name,
        /// The field whose name or path is spelled most alike.
        near: Option<Name>,
    },
    /// Nothing would travel.
    #[error("no field travels: the two sides have no canonical path in common, and no row is listed")]
    Empty,
    /// A row would have to write a field that cannot be written.
    #[error("the {side} side cannot write `{name}`; give the row another direction")]
    ReadOnly {
        /// Which side.
        side: Side,
        /// The field.
        name: Name,
    },
    /// A transform that cannot be done.
    #[error("the transform of `{name}` cannot work: {reason}")]
    Transform {
        /// The row.
        name: Name,
        /// Why.
        reason: String,
    },
}

impl MapProblem {
    /// The word that the profile would have to change, and the side that it is about.
    #[must_use]
    pub fn culprit(&self) -> (Side, &str) {
        match self {
            MapProblem::NoEntity { side, name, .. } => (*side, name),
            MapProblem::NoField { side, name, .. } | MapProblem::ReadOnly { side, name } => (*side, name),
            MapProblem::Transform { name, .. } => (Side::Left, name),
            MapProblem::Empty => (Side::Left, "map"),
        }
    }
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
        let known = Sides {
            left: Known::new(Side::Left, &entities.left, &catalogues.left)?,
            right: Known::new(Side::Right, &entities.right, &catalogues.right)?,
        };
        let mut drafts = if map.join { joined(&known, direction) } else { Vec::new() };
        for row in &map.rows {
            let listed = listed(&known, row, direction)?;
            // A listed row takes the place of the joined ones that begin with one of its fields.
            drafts.retain(|draft| !draft.joined || !listed.iter().any(|row| row.begins_like(draft)));
            drafts.extend(listed);
        }
        let mut left_out = map.without.clone();
        for name in &map.without {
            if Side::BOTH.into_iter().all(|side| known[side].called(name).is_empty()) {
                return Err(known.left.no_field(name));
            }
            drafts.iter_mut().filter(|draft| draft.is_called(name)).for_each(Draft::take_out);
        }
        let (drafts, gone): (Vec<Draft<'_>>, Vec<Draft<'_>>) =
            drafts.into_iter().partition(|draft| draft.travels() || draft.is_one_of(&map.reads));
        left_out.extend(gone.iter().flat_map(|draft| draft.names().cloned()));
        if let Some(stuck) = gone.iter().find(|draft| !draft.joined && draft.direction != Direction::None) {
            let side = if stuck.direction.reaches(Side::Right) { Side::Right } else { Side::Left };
            let name = stuck.found[side].first().map(|found| found.native.clone()).unwrap_or_default();
            return Err(MapProblem::ReadOnly { side, name });
        }
        if drafts.is_empty() {
            return Err(MapProblem::Empty);
        }
        index(drafts, &left_out)
    }
}

/// The native name of a field that may be named by its canonical path.
pub(in crate::pipeline) fn native_name(
    side: Side,
    entities: &[String],
    catalogue: &Catalogue,
    name: &Name,
) -> Result<Name, MapProblem> {
    let known = Known::new(side, entities, catalogue)?;
    known.field(name).map(|found| found.native).ok_or_else(|| known.no_field(name))
}

/// The fields that a lane's entities have on one side.
struct Known<'a> {
    side: Side,
    entities: Vec<&'a Entity>,
}

/// A field of the catalogue, or one member of an open family.
#[derive(Clone)]
struct Found<'a> {
    native: Name,
    path: Name,
    field: &'a Field,
}

impl<'a> Known<'a> {
    fn new(side: Side, entities: &[String], catalogue: &'a Catalogue) -> Result<Self, MapProblem> {
        let find = |name: &String| {
            catalogue.entity(name).ok_or_else(|| {
                let known: Vec<&str> = catalogue.entities.iter().map(|entity| entity.name.as_str()).collect();
                MapProblem::NoEntity { side, name: name.clone(), known: known.join(", ") }
            })
        };
        Ok(Known { side, entities: entities.iter().map(find).collect::<Result<_, _>>()? })
    }

    fn fields(&self) -> impl Iterator<Item = &'a Field> {
        self.entities.iter().flat_map(|entity| &entity.fields)
    }

    /// The field of this name: a native name first, then a canonical path, then a member of an open family.
    fn field(&self, name: &Name) -> Option<Found<'a>> {
        let whole = |field: &'a Field| Found { native: field.name.clone(), path: field.path.clone(), field };
        let native = self.fields().find(|field| field.name == *name);
        let path = || self.fields().find(|field| field.path == *name);
        native.or_else(path).map(whole).or_else(|| {
            self.fields().filter(|field| field.is_open()).find_map(|field| {
                let tail = tail(&field.name, name).or_else(|| tail(&field.path, name))?;
                let path = if field.path.is_empty() { Name::default() } else { member(&field.path, tail) };
                Some(Found { native: member(&field.name, tail), path, field })
            })
        })
    }

    /// The fields beneath a name that is no field itself: `addresses/work` stands for its street, city and all.
    fn beneath(&self, name: &str) -> Vec<Found<'a>> {
        let under = |whole: &str| {
            whole.strip_prefix(name).is_some_and(|rest| rest.starts_with(['/', '.']) && !rest.ends_with("/*"))
        };
        let fields = self.fields().filter(|field| under(&field.path) || under(&field.name));
        fields.map(|field| Found { native: field.name.clone(), path: field.path.clone(), field }).collect()
    }

    /// Whatever the name stands for.
    fn called(&self, name: &Name) -> Vec<Found<'a>> {
        self.field(name).map_or_else(|| self.beneath(name), |found| vec![found])
    }

    /// All fields with this canonical path, each entity's own.
    fn with_path(&self, path: &Name) -> Vec<Found<'a>> {
        let fields = self.fields().filter(|field| field.path == *path);
        fields.map(|field| Found { native: field.name.clone(), path: path.clone(), field }).collect()
    }

    /// The member of an open family that has this canonical path.
    fn in_family(&self, path: &Name) -> Option<Found<'a>> {
        self.fields().filter(|field| field.is_open() && !path.ends_with("/*")).find_map(|field| {
            let native = member(&field.name, tail(&field.path, path)?);
            Some(Found { native, path: path.clone(), field })
        })
    }

    fn no_field(&self, name: &Name) -> MapProblem {
        let names = self.fields().flat_map(|field| [&field.name, &field.path]).filter(|name| !name.is_empty());
        let near = nearest(name, names.map(|known| &**known)).map(Name::from);
        MapProblem::NoField { side: self.side, name: name.clone(), near }
    }
}

/// A row that is being made.
#[derive(Clone)]
struct Draft<'a> {
    joined: bool,
    found: Sides<Vec<Found<'a>>>,
    direction: Direction,
    on_create: Direction,
    winner: Option<Winner>,
    repair: Option<Repair>,
    transform: &'a [Transform],
}

impl Draft<'_> {
    fn names(&self) -> impl Iterator<Item = &Name> {
        Side::BOTH.into_iter().flat_map(|side| &self.found[side]).map(|found| &found.native)
    }

    fn begins_like(&self, other: &Draft<'_>) -> bool {
        Side::BOTH.into_iter().any(|side| match (self.found[side].first(), other.found[side].first()) {
            (Some(mine), Some(theirs)) => mine.native == theirs.native,
            _ => false,
        })
    }

    /// Whether this is, or lies beneath, what `without` names.
    fn is_called(&self, name: &str) -> bool {
        let found = Side::BOTH.into_iter().flat_map(|side| &self.found[side]);
        let is =
            |whole: &str| whole.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']));
        found.clone().any(|found| is(&found.path) || is(&found.native))
    }

    fn is_one_of(&self, paths: &[Name]) -> bool {
        Side::BOTH.into_iter().flat_map(|side| &self.found[side]).any(|found| paths.contains(&found.path))
    }

    fn take_out(&mut self) {
        (self.direction, self.on_create) = (Direction::None, Direction::None);
    }

    fn travels(&self) -> bool {
        Side::BOTH.into_iter().any(|side| {
            let writable = self.found[side].first().is_some_and(|found| found.field.writable);
            writable && (self.direction.reaches(side) || self.on_create.reaches(side))
        })
    }
}

/// Every canonical path that both sides have, also where only one of them has a field for it and the other an open family.
fn joined<'a>(known: &Sides<Known<'a>>, direction: Direction) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    let fields = Side::BOTH.into_iter().flat_map(|side| known[side].fields());
    for field in fields.filter(|field| !field.path.is_empty()) {
        let found = Sides::from_fn(|side| match known[side].with_path(&field.path) {
            none if none.is_empty() => known[side].in_family(&field.path).into_iter().collect(),
            fields => fields,
        });
        let seen = drafts.iter().any(|draft| draft.found.left.iter().any(|left| left.path == field.path));
        if seen || found.left.is_empty() || found.right.is_empty() {
            continue;
        }
        let create_only = Side::BOTH.into_iter().any(|side| found[side].iter().any(|found| found.field.create_only));
        let later = if create_only { Direction::None } else { direction };
        drafts.push(Draft {
            joined: true,
            found,
            direction: later,
            on_create: direction,
            winner: None,
            repair: None,
            transform: &[],
        });
    }
    drafts
}

/// What a row of the profile stands for: itself, or a row for each field beneath its names.
fn listed<'a>(known: &Sides<Known<'a>>, row: &'a FieldRow, stream: Direction) -> Result<Vec<Draft<'a>>, MapProblem> {
    let draft = |found| Draft {
        joined: false,
        found,
        direction: meet(row.direction, stream),
        on_create: meet(row.on_create, stream),
        winner: row.winner,
        repair: row.repair,
        transform: &row.transform,
    };
    let names = Sides { left: &row.left, right: &row.right };
    let mut found = Sides::<Vec<Found<'a>>>::default();
    let mut whole = true;
    for (side, names) in names.iter() {
        for name in *names {
            match known[side].field(name) {
                Some(field) => found[side].push(field),
                None if names.len() == 1 && !known[side].beneath(name).is_empty() => {
                    whole = false;
                    found[side] = known[side].beneath(name);
                }
                None => return Err(known[side].no_field(name)),
            }
        }
    }
    if whole {
        return Ok(vec![draft(found)]);
    }
    // The parts of both sides that bear the same last name: street and street.
    let mut parts = Vec::new();
    for left in &found.left {
        let last = |found: &Found<'_>| found.path.rsplit('/').next().map(str::to_owned);
        parts.extend(
            found
                .right
                .iter()
                .find(|right| last(right) == last(left))
                .map(|right| draft(Sides { left: vec![left.clone()], right: vec![right.clone()] })),
        );
    }
    match (parts.is_empty(), row.right.first()) {
        (true, Some(name)) => Err(known.right.no_field(name)),
        _ => Ok(parts),
    }
}

/// What both allow.
fn meet(a: Direction, b: Direction) -> Direction {
    match (a, b) {
        (Direction::Both, other) | (other, Direction::Both) => other,
        (a, b) if a == b => a,
        _ => Direction::None,
    }
}

/// A line of the fingerprint: changes whenever values of the row would be translated differently.
fn digest(row: &Row, transform: &[Transform]) -> String {
    let Row { key, native, direction, on_create, compare, .. } = row;
    let told = format!("{key} {native:?} {direction:?} {on_create:?} {:?} {transform:?}", compare.kind);
    let digest: String = Sha256::digest(told).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    digest + "\n"
}

/// Makes rows of the drafts, and the ways to find them.
fn index(drafts: Vec<Draft<'_>>, left_out: &[Name]) -> Result<FieldMap, MapProblem> {
    let mut rows: Vec<(Row, &[Transform])> = Vec::new();
    for draft in &drafts {
        let key = key(draft, &rows);
        rows.push((finish(draft, key)?, draft.transform));
    }
    rows.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));

    let fingerprint = rows.iter().map(|(row, transform)| digest(row, transform)).collect();

    let constants: Vec<usize> = (0..rows.len()).filter(|index| rows[*index].0.native.left.is_empty()).collect();
    let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    let single = || rows.iter().filter(|row| !row.is_family());
    let mut map = FieldMap {
        fingerprint,
        constants,
        keys: single().map(|row| row.key.clone()).collect(),
        names: Sides::from_fn(|side| single().filter_map(|row| row.native[side].first().cloned()).collect()),
        ..FieldMap::default()
    };
    let mut by_native: Sides<BTreeMap<Name, Vec<Source>>> = Sides::default();
    for (index, row) in rows.iter().enumerate() {
        if row.is_family() {
            map.families.push(index);
        }
        for side in Side::BOTH {
            for (rank, name) in row.native[side].iter().enumerate() {
                by_native[side].entry(name.clone()).or_default().push(Source { row: index, rank });
            }
        }
    }
    // A member of a family that has a row of its own, or none at all, does not travel with its family.
    let own =
        rows.iter().filter(|row| !row.is_family()).flat_map(|row| row.native.left.iter().chain(&row.native.right));
    for name in own.chain(left_out) {
        for family in map.families.iter().map(|index| &rows[*index]) {
            let natives = Sides::from_fn(|side| family.native[side].first().cloned().unwrap_or_default());
            let tail = [&natives.left, &natives.right, &family.key].into_iter().find_map(|family| tail(family, name));
            for side in Side::BOTH {
                let blocked = tail.map(|tail| member(&natives[side], tail));
                blocked.map(|blocked| by_native[side].entry(blocked).or_default());
            }
        }
    }
    map.rows = rows;
    map.by_native = Sides::from_fn(|side| std::mem::take(&mut by_native[side]).into_iter().collect());
    Ok(map)
}

/// The canonical path, else a native name; never one that another row has.
fn key(draft: &Draft<'_>, rows: &[(Row, &[Transform])]) -> Name {
    let first = |side: Side| draft.found[side].first();
    let candidates = [
        first(Side::Left).map(|found| found.path.clone()),
        first(Side::Right).map(|found| found.path.clone()),
        first(Side::Left).map(|found| found.native.clone()),
        first(Side::Right).map(|found| found.native.clone()),
    ];
    let free = |key: &Name| !key.is_empty() && !rows.iter().any(|(row, _)| row.key == *key);
    let both = || draft.names().map(|name| &**name).collect::<Vec<_>>().join(" - ").into();
    candidates.into_iter().flatten().find(free).unwrap_or_else(both)
}

fn finish(draft: &Draft<'_>, key: Name) -> Result<Row, MapProblem> {
    let field = |side: Side| draft.found[side].first().map(|found| found.field);
    let any = |says: fn(&Field) -> bool| Side::BOTH.into_iter().filter_map(field).any(says);
    let mut steps = Vec::new();
    for transform in draft.transform {
        steps.push(steps::ready(transform).map_err(|reason| MapProblem::Transform { name: key.clone(), reason })?);
    }
    let kinds = Sides::from_fn(|side| field(side).map(|field| field.kind).unwrap_or_default());
    let arriving = steps.iter().fold(kinds.left, |kind, step| steps::kind_after(step, kind));
    steps.extend(steps::cast(arriving, kinds.right).into_iter().flatten());
    Ok(Row {
        key: shared(&key),
        native: Sides::from_fn(|side| draft.found[side].iter().map(|found| shared(&found.native)).collect()),
        direction: draft.direction,
        on_create: draft.on_create,
        winner: draft.winner,
        repair: draft.repair.unwrap_or(Repair::EveryRun),
        compare: Compare {
            kind: kinds.right,
            caseless: any(|field| field.caseless),
            ordered: Side::BOTH.into_iter().filter_map(field).all(|field| field.ordered),
        },
        writable: Sides::from_fn(|side| field(side).is_some_and(|field| field.writable)),
        length: Sides::from_fn(|side| field(side).and_then(|field| field.length)),
        steps: steps.into(),
    })
}
