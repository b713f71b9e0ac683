//! Fills in fields of new records that point at other records: looks those up, and makes what is missing first.
//!
//! What is made here has no link and no intent. Its name is its key: whoever comes again, after a crash or in the next run,
//! looks for that name before anything is made.

use std::collections::{BTreeMap, HashMap, HashSet};

use pairwise_plugin_api::ops::{FindRequest, Scope};
use pairwise_plugin_api::{Action, Catalogue, Entity, Millis, Name, Outcome, Record, RecordRef, Status, Write};

use super::decide::Case;
use super::reconcile::Told;
use super::translate::{FieldMap, MapProblem};
use super::{Lane, Stop};
use crate::model::value::canonical_text;
use crate::model::{
    Aside, FieldChange, Item, LaneSpec, Lookup, Missing, Op, Reference, Referent, Settlement, Side, Sides, nearest,
};

/// So many names are remembered within a run.
const REMEMBERED: usize = 10_000;

/// A lane's references, checked.
#[derive(Debug, Default)]
pub struct References {
    /// Whether a record without it is refused.
    required: Vec<bool>,
    /// What was found out in this run, by reference and name.
    known: HashMap<(usize, String), Found>,
}

/// What is known about a name.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    /// The id of the record that is called so.
    Here(String),
    /// There is none, and none is wanted.
    Nothing,
    /// Whoever refers to it is set aside: code and sentence.
    Refused(String, String),
    /// It may have been made, or not: to be looked for in the next run.
    Unknown,
}

impl References {
    /// Checks a lane's references against the catalogues.
    ///
    /// # Errors
    /// If a side has no such entity or field, or a name is made of a field that does not travel.
    pub fn compile(spec: &LaneSpec, map: &FieldMap, catalogues: &Sides<Catalogue>) -> Result<References, MapProblem> {
        let mut required = Vec::with_capacity(spec.references.len());
        for reference in &spec.references {
            let side = reference.side;
            let entity = entity(side, &catalogues[side], spec.entities[side].first().map_or("", String::as_str))?;
            required.push(field(side, entity, &reference.field)?.required);
            for lookup in &reference.tries {
                field(side, self::entity(side, &catalogues[side], &lookup.entity)?, &lookup.by)?;
            }
            if let Some(first) = reference.tries.first() {
                let target = self::entity(side, &catalogues[side], &first.entity)?;
                for (name, _) in reference.set.iter() {
                    field(side, target, name)?;
                }
            }
            let mut paths = reference.value.iter().flat_map(crate::model::Template::paths);
            if let Some(path) = paths.find(|path| map.row(path).is_none()) {
                let known = map.rows().iter().map(|row| &*row.key);
                let near = nearest(path, known).map(Name::from);
                return Err(MapProblem::NoField { side: side.other(), name: path.clone(), near });
            }
        }
        Ok(References { required, known: HashMap::new() })
    }
}

fn entity<'a>(side: Side, catalogue: &'a Catalogue, name: &str) -> Result<&'a Entity, MapProblem> {
    catalogue.entity(name).ok_or_else(|| {
        let known: Vec<&str> = catalogue.entities.iter().map(|entity| entity.name.as_str()).collect();
        MapProblem::NoEntity { side, name: name.to_owned(), known: known.join(", ") }
    })
}

fn field<'a>(side: Side, entity: &'a Entity, name: &Name) -> Result<&'a pairwise_plugin_api::Field, MapProblem> {
    entity.field(name).ok_or_else(|| {
        let near = nearest(name, entity.fields.iter().map(|field| &*field.name)).map(Name::from);
        MapProblem::NoField { side, name: name.clone(), near }
    })
}

/// Gives the new records among these cases their references. Cases for which that cannot be done are settled otherwise.
pub(super) fn resolve(
    lane: &mut Lane<'_>,
    cases: &mut Vec<Case>,
    settlements: &mut Vec<Settlement>,
) -> Result<(), Stop> {
    let spec = lane.spec;
    for (index, reference) in spec.references.iter().enumerate() {
        let names: Vec<Option<String>> = cases.iter().map(|case| name_for(reference, case)).collect();
        let wanted: HashSet<&String> = names.iter().flatten().filter(|name| !name.is_empty()).collect();
        let known = &lane.references.known;
        let mut fresh: Vec<String> =
            wanted.into_iter().filter(|name| !known.contains_key(&(index, (*name).clone()))).cloned().collect();
        fresh.sort_unstable();
        find_out(lane, index, reference, fresh)?;
        let mut kept = Vec::with_capacity(cases.len());
        for (mut case, name) in cases.drain(..).zip(names) {
            match name.map(|name| lane.referred(index, reference, &name)) {
                None | Some(Found::Nothing) => {}
                Some(Found::Here(id)) => {
                    case.references.set(reference.field.clone(), id);
                }
                Some(Found::Refused(code, text)) => {
                    let aside = refused(&case, reference.side.other(), code, text);
                    lane.tell_aside(&aside);
                    settlements.push(Settlement { aside: vec![aside], ..Settlement::default() });
                    continue;
                }
                Some(Found::Unknown) => {
                    lane.report.side(reference.side).failed += 1;
                    settlements.push(Settlement { deferred: case.looked.ids(), ..Settlement::default() });
                    continue;
                }
            }
            kept.push(case);
        }
        *cases = kept;
    }
    Ok(())
}

/// What the record is called that a new record refers to; `None` where none is made.
fn name_for(reference: &Reference, case: &Case) -> Option<String> {
    let planned = case.judgement.writes[reference.side].as_ref()?;
    if !matches!(planned.op, Op::Create | Op::Recreate) {
        return None;
    }
    let source = reference.side.other();
    let values = match &case.looked.told[source] {
        Told::Here(seen) => &seen.values,
        _ => case.looked.link.as_ref().map_or(&planned.asked, |link| &link.shadows[source]),
    };
    let filled = reference.value.iter().map(|template| template.fill(values));
    Some(filled.into_iter().find(|text| !text.is_empty()).unwrap_or_default())
}

fn refused(case: &Case, side: Side, code: String, text: String) -> Aside {
    let end = case.judgement.link.ends[side].clone().unwrap_or_default();
    Aside { label: case.label.clone(), ..Aside::of(side, end.at, end.version, code, text) }
}

/// Looks names up, and makes what is missing.
fn find_out(lane: &mut Lane<'_>, index: usize, reference: &Reference, fresh: Vec<String>) -> Result<(), Stop> {
    if lane.references.known.len() + fresh.len() > REMEMBERED {
        lane.references.known.retain(|_, found| *found == Found::Unknown);
    }
    for names in fresh.chunks(lane.batch()) {
        let mut missing: Vec<String> = names.to_vec();
        for lookup in &reference.tries {
            if missing.is_empty() {
                break;
            }
            let found = look_up(lane, reference.side, lookup, &missing)?;
            missing.retain(|name| !found.contains_key(name));
            lane.references.known.extend(found.into_iter().map(|(name, found)| ((index, name), found)));
        }
        let made = match (reference.missing, reference.tries.first()) {
            (Missing::Create, Some(lookup)) => make(lane, reference, lookup, &missing)?,
            (Missing::Skip, _) => missing
                .into_iter()
                .map(|name| {
                    let text = format!("`{name}`, to which `{}` would refer, is not there", reference.field);
                    (name, Found::Refused("reference_missing".to_owned(), text))
                })
                .collect(),
            _ => missing.into_iter().map(|name| (name, Found::Nothing)).collect(),
        };
        lane.references.known.extend(made.into_iter().map(|(name, found)| ((index, name), found)));
    }
    Ok(())
}

fn look_up(lane: &Lane<'_>, side: Side, lookup: &Lookup, names: &[String]) -> Result<BTreeMap<String, Found>, Stop> {
    let request = FindRequest {
        principal: lane.spec.principals[side].clone(),
        scope: Scope::new(),
        entity: lookup.entity.clone(),
        by: vec![lookup.by.clone()],
        values: names.to_vec(),
        case_sensitive: lookup.case_sensitive,
        fields: vec![lookup.by.clone()],
    };
    let answered = lane.must(side, |remote| remote.find(&request))?;
    if answered.len() != names.len() {
        let text = format!("`find` of {} values answered {} lists", names.len(), answered.len());
        return Err(lane.contract(side, text));
    }
    let called =
        names.iter().zip(answered).filter_map(|(name, records)| Some((name.clone(), pick(lookup, name, records)?)));
    Ok(called.collect())
}

/// The record that is meant. Servers compare as they like: here it is what the profile says.
fn pick(lookup: &Lookup, name: &str, mut records: Vec<Record>) -> Option<Found> {
    let is = |record: &Record| {
        let held = record.fields.text(&lookup.by).unwrap_or_default();
        canonical_text(held, !lookup.case_sensitive) == canonical_text(name, !lookup.case_sensitive)
    };
    records.retain(is);
    if lookup.pick == Referent::Skip && records.len() > 1 {
        let text = format!("{} records of `{}` are called `{name}`", records.len(), lookup.entity);
        return Some(Found::Refused("reference_ambiguous".to_owned(), text));
    }
    let age = |record: &Record| (record.created.unwrap_or(Millis::MAX), record.at.id.clone());
    let found = match lookup.pick {
        Referent::Newest => records.into_iter().max_by_key(age),
        _ => records.into_iter().min_by_key(age),
    };
    found.map(|record| Found::Here(record.at.id))
}

/// Makes records of these names.
fn make(
    lane: &mut Lane<'_>,
    reference: &Reference,
    lookup: &Lookup,
    names: &[String],
) -> Result<Vec<(String, Found)>, Stop> {
    let side = reference.side;
    let mut made = Vec::with_capacity(names.len());
    for chunk in names.chunks(lane.largest_call(side)) {
        let write = |name: &String| {
            let mut fields = reference.set.clone();
            fields.set(lookup.by.clone(), name.as_str());
            let at = RecordRef::new(&*lookup.entity, "");
            Write { action: Action::Create, at, fields, key: lane.chance.id(), ..Write::default() }
        };
        let writes: Vec<Write> = chunk.iter().map(write).collect();
        let items: Vec<Item> = writes.iter().zip(chunk).map(|(write, name)| item(side, write, name)).collect();
        let outcomes = match lane.write(side, writes) {
            Ok(outcomes) => outcomes,
            Err((_, stop)) if stop.ends_run() => return Err(stop),
            Err((status, _)) => chunk.iter().map(|_| Outcome::of(status)).collect(),
        };
        for ((name, outcome), item) in chunk.iter().zip(outcomes).zip(items) {
            let found = match outcome {
                Outcome { status: Status::Applied | Status::Exists, record: Some(record), .. } => {
                    lane.report.side(side).created += 1;
                    lane.tell(item);
                    Found::Here(record.at.id)
                }
                Outcome { status: Status::Refused, code, text, .. } => {
                    let text = format!("the {side} refused to make `{name}`, to which it refers: {text}");
                    Found::Refused(code, text)
                }
                _ => Found::Unknown,
            };
            made.push((name.clone(), found));
        }
    }
    Ok(made)
}

/// A record that is made because another refers to it, as a line of a plan.
fn item(side: Side, write: &Write, name: &str) -> Item {
    let change = |(path, new): (&Name, &pairwise_plugin_api::Value)| FieldChange {
        path: path.clone(),
        old: pairwise_plugin_api::Value::Null,
        new: new.clone(),
        from: side.other(),
    };
    Item {
        op: Op::Create,
        side,
        entity: write.at.entity.clone(),
        id: String::new(),
        other_id: String::new(),
        label: name.to_owned(),
        reason: "referred_to".to_owned(),
        held: false,
        fields: write.fields.iter().map(change).collect(),
    }
}

impl Lane<'_> {
    /// What is known about a name that a new record refers to.
    fn referred(&self, index: usize, reference: &Reference, name: &str) -> Found {
        if !name.is_empty() {
            return self.references.known.get(&(index, name.to_owned())).cloned().unwrap_or(Found::Unknown);
        }
        if !self.references.required.get(index).copied().unwrap_or(false) {
            return Found::Nothing;
        }
        let text = format!(
            "`{}` must refer to a record, and nothing says to which: fill in what its `value` is made of",
            reference.field
        );
        Found::Refused("reference_unnamed".to_owned(), text)
    }
}
