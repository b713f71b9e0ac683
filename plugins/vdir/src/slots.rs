//! Lines and fields: which line carries which field, how a record is read from lines, and which lines an edit touches.
//!
//! A **slot** is a place for one line that the catalogue knows: the second e-mail address, the home address, the name. What a
//! slot's line holds beside the slot's fields (group, parameters, further components) is its **form**. All other lines are
//! **properties**, carried as they are. So a card is, without loss, its slots' fields + `form/*` + `property/*` + `made/*`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pairwise_plugin_api::codec::shared;
use pairwise_plugin_api::{Fields, Name, Outline, Value};

use crate::lines::{Broken, Line, split_escaped};
use crate::property::{Format, Property};
use crate::values::{Reader, Reading, Values, has_time, print_date};

/// The open families, each with a stem that its members start with.
pub(crate) const PROPERTY: &str = "property/";
pub(crate) const FORM: &str = "form/";
pub(crate) const MADE: &str = "made/";
pub(crate) const EXTENDED: &str = "extended/";

/// The property that holds `extended/region` is `X-PAIRWISE-region`.
pub(crate) const EXTENDED_PROPERTY: &str = "X-PAIRWISE-";

/// Marks a value that was composed because its format demands the line; it is no field's value.
pub(crate) const COMPOSED: &str = "X-PAIRWISE";

/// A place for one line.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Names the slot's form: `emails/1`.
    pub(crate) key: &'static str,
    /// The property that a new line gets.
    pub(crate) property: &'static str,
    /// The `TYPE` that a new line gets.
    pub(crate) types: &'static [&'static str],
    pub(crate) shape: Shape,
    /// The fields, by native name, which is also the canonical path.
    pub(crate) fields: &'static [&'static str],
}

/// How a slot's fields stand in its value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// One text.
    Text,
    /// One address, number or URI: separators are part of it.
    Whole,
    /// A date.
    Date,
    /// A word out of a list: as it stands in the file, as it stands in the field.
    Word(&'static [(&'static str, &'static str)]),
    /// The first text of a list.
    First,
    /// All texts of a list.
    List,
    /// Some components: for each field its position, and how many components there are.
    Parts(&'static [usize], usize),
}

/// What a kind of record looks like.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) slots: &'static [Slot],
    /// For each line the slot that it takes.
    pub(crate) assign: fn(&[Option<Property<'_>>]) -> Vec<Option<usize>>,
    /// Lines that say how and when the card was made: carried on create only.
    pub(crate) made: &'static [&'static str],
    /// Lines that are no fields at all: `BEGIN`, `UID`.
    pub(crate) silent: &'static [&'static str],
    /// Fields of the record that the schema's own module reads and writes.
    pub(crate) own: &'static [&'static str],
    /// Slots that keep an empty line in the file as long as a later one of their row is filled.
    pub(crate) rows: &'static [&'static [usize]],
    /// The native name of every field of every slot, sorted; and where each slot's fields stand in it.
    pub(crate) names: fn() -> &'static Names,
}

impl Schema {
    /// An empty line of a property that has slots says nothing.
    pub(crate) fn is_silence(&self, property: &Property<'_>) -> bool {
        property.is_empty() && self.slots.iter().any(|slot| slot.property == property.name)
    }
}

/// The fields of a schema in the order in which records hold them.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) sorted: Vec<Name>,
    outline: Outline,
    /// For each slot the ranks of its fields.
    ranks: Vec<Vec<usize>>,
    /// For each rank the slot, and which of its fields.
    pub(crate) places: Vec<(usize, usize)>,
}

impl Names {
    pub(crate) fn of(slots: &[Slot]) -> Self {
        let mut sorted: Vec<Name> =
            slots.iter().flat_map(|slot| slot.fields.iter().map(|&name| shared(name))).collect();
        sorted.sort();
        let rank = |name: &&str| sorted.partition_point(|other| **other < **name);
        let ranks: Vec<Vec<usize>> = slots.iter().map(|slot| slot.fields.iter().map(&rank).collect()).collect();
        let mut places = vec![(0, 0); sorted.len()];
        for (slot, ranks) in ranks.iter().enumerate() {
            for (field, rank) in ranks.iter().enumerate() {
                places[*rank] = (slot, field);
            }
        }
        Names { outline: sorted.iter().cloned().collect(), sorted, ranks, places }
    }
}

/// The lines of one flat block (a card, an event without its alarms) and what they stand for.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    pub(crate) schema: &'static Schema,
    pub(crate) format: Format,
    pub(crate) lines: Vec<Line<'a>>,
    /// What each line says; `None` for lines that are no fields.
    pub(crate) properties: Vec<Option<Property<'a>>>,
    pub(crate) slot_of: Vec<Option<usize>>,
    pub(crate) line_of: Vec<Option<usize>>,
}

impl<'a> Sheet<'a> {
    pub(crate) fn new(schema: &'static Schema, format: Format, lines: Vec<Line<'a>>) -> Self {
        let silent =
            |line: &Line<'_>| !line.has_colon || schema.silent.iter().chain(schema.made).any(|name| line.is(name));
        let properties: Vec<_> = lines.iter().map(|line| (!silent(line)).then(|| Property::of(line, format))).collect();
        let slot_of = (schema.assign)(&properties);
        let mut line_of = vec![None; schema.slots.len()];
        for (line, slot) in slot_of.iter().enumerate() {
            if let Some(slot) = slot {
                line_of[*slot] = Some(line);
            }
        }
        Sheet { schema, format, lines, properties, slot_of, line_of }
    }

    /// What the line of a slot says.
    pub(crate) fn at(&self, slot: usize) -> Option<&Property<'a>> {
        self.properties[self.line_of[slot]?].as_ref().filter(|property| property.param(COMPOSED).is_empty())
    }

    /// The text of a silent line, as it stands.
    pub(crate) fn silent(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|line| line.has_colon && line.is(name)).map(|line| &*line.value)
    }

    /// The fields of all slots (empty ones as `Null`), the forms, the other properties and what travels on create.
    pub(crate) fn read(&self) -> Result<Fields, Broken> {
        let names = (self.schema.names)();
        let mut values = vec![Value::Null; names.sorted.len()];
        let filled: Vec<(usize, &Property<'_>)> = (0..self.schema.slots.len())
            .filter_map(|slot| Some((slot, self.at(slot)?)))
            .filter(|(_, property)| !property.is_empty())
            .collect();
        let mut forms = Vec::new();
        let read = read_slots(self.schema, &filled).ok_or_else(|| {
            let line = self.lines.first().map_or(1, |line| line.number);
            Broken::new(line, "the values of this card cannot be told apart from its lines")
        })?;
        for ((slot, property), slot_values) in filled.into_iter().zip(read) {
            let spec = &self.schema.slots[slot];
            let form = form_of(spec, property, &slot_values);
            for (rank, value) in names.ranks[slot].iter().zip(slot_values) {
                values[*rank] = value;
            }
            forms.extend(form.map(|form| (format!("{FORM}{}", spec.key), Value::from(form))));
        }
        let mut fields = Fields::within(&names.outline);
        for (name, value) in names.sorted.iter().zip(values) {
            fields.put(name, value);
        }
        for (name, form) in forms {
            fields.set(name, form);
        }
        for (name, lines) in self.others() {
            let list = lines.into_iter().map(|line| Value::from(line.to_string())).collect::<Vec<_>>();
            fields.set(format!("{PROPERTY}{name}"), list);
        }
        for (name, value) in self.extended() {
            fields.set(name, value);
        }
        for name in self.schema.made {
            if let Some(value) = self.silent(name).filter(|value| !value.is_empty()) {
                fields.set(format!("{MADE}{name}"), value);
            }
        }
        Ok(fields)
    }

    /// Fields that this format has no property for.
    fn extended(&self) -> Vec<(String, Value)> {
        let lines: Vec<&Property<'_>> =
            self.properties.iter().flatten().filter(|property| is_extended(&property.name)).collect();
        if lines.is_empty() {
            return Vec::new();
        }
        let mut reader = Reader::new();
        for property in &lines {
            reader.add(Reading::Text, &property.value);
        }
        let name = |property: &Property<'_>| format!("{EXTENDED}{}", &property.name[EXTENDED_PROPERTY.len()..]);
        let values = reader.read().unwrap_or_default();
        lines.into_iter().zip(values).map(|(property, mut values)| (name(property), values.text(0).into())).collect()
    }

    /// Properties without a slot, by name in capitals. Empty lines of properties that have slots say nothing.
    fn others(&self) -> BTreeMap<String, Vec<&Property<'a>>> {
        let mut others: BTreeMap<String, Vec<&Property<'a>>> = BTreeMap::new();
        for (property, slot) in self.properties.iter().zip(&self.slot_of) {
            let Some(property) = property.as_ref().filter(|_| slot.is_none()) else { continue };
            if self.schema.is_silence(property) || is_extended(&property.name) {
                continue;
            }
            others.entry(property.name.to_ascii_uppercase()).or_default().push(property);
        }
        others
    }
}

fn is_extended(property: &str) -> bool {
    property.get(..EXTENDED_PROPERTY.len()).is_some_and(|start| start.eq_ignore_ascii_case(EXTENDED_PROPERTY))
}

/// The values of each slot's fields, read all at once.
pub(crate) fn read_slots(schema: &Schema, filled: &[(usize, &Property<'_>)]) -> Option<Vec<Vec<Value>>> {
    let mut reader = Reader::new();
    for (slot, property) in filled {
        let slot = &schema.slots[*slot];
        reader.add(reading(slot), &property.value);
    }
    let read = reader.read()?;
    Some(
        filled
            .iter()
            .zip(read)
            .map(|((slot, property), values)| field_values(&schema.slots[*slot], property, values))
            .collect(),
    )
}

fn reading(slot: &Slot) -> Reading {
    match slot.shape {
        Shape::Text | Shape::Whole | Shape::Word(_) => Reading::Text,
        Shape::Date => Reading::Date,
        Shape::First | Shape::List => Reading::List,
        Shape::Parts(..) if slot.property == "ORG" => Reading::Components,
        Shape::Parts(..) => Reading::Lists,
    }
}

fn field_values(slot: &Slot, property: &Property<'_>, mut values: Values) -> Vec<Value> {
    let text = |text: String| if text.is_empty() { Value::Null } else { Value::from(text) };
    match slot.shape {
        Shape::Text | Shape::First => vec![text(values.text(0))],
        Shape::Whole => vec![text(values.text(0).trim().to_owned())],
        Shape::Date => {
            let mut date = values.date().and_then(print_date).unwrap_or_else(|| values.text(0));
            // Apple has no dates without a year; it writes one and says that it means none.
            let omitted = property.first("X-APPLE-OMIT-YEAR").filter(|year| year.len() == 4);
            if let Some(rest) = omitted.and_then(|year| date.strip_prefix(year)) {
                date = format!("-{rest}");
            }
            vec![text(date)]
        }
        Shape::Word(words) => {
            let word = values.text(0).trim().to_owned();
            let known = words.iter().find(|(file, _)| word.eq_ignore_ascii_case(file));
            vec![text(known.map_or(word, |(_, field)| (*field).to_owned()))]
        }
        Shape::List => {
            let list: Vec<Value> = values.texts().into_iter().map(Value::from).collect();
            vec![if list.is_empty() { Value::Null } else { Value::from(list) }]
        }
        Shape::Parts(positions, _) => positions.iter().map(|position| text(values.text(*position))).collect(),
    }
}

/// What a line holds beside its slot's fields, if it is not what a new line would hold.
///
/// `item1.ADR;TYPE=DOM:=PO Box 1;;*;*;*;*;*`: the head, and of values with components the ones that no field carries. `*`
/// stands for what the field says.
pub(crate) fn form_of(slot: &Slot, property: &Property<'_>, values: &[Value]) -> Option<String> {
    let rest = match slot.shape {
        Shape::Date => {
            let only_date = values
                .first()
                .and_then(Value::as_text)
                .is_some_and(|text| !has_clock(&property.value) || text == property.value);
            (!only_date).then(|| format!("={}", property.value))
        }
        Shape::First => split_escaped(&property.value, ',')
            .next()
            .filter(|first| first.len() < property.value.len())
            .map(|first| format!("*{}", &property.value[first.len()..])),
        Shape::Parts(positions, width) => parts_template(slot, positions, width, &property.value),
        _ => None,
    };
    let mut property = Cow::Borrowed(property);
    if slot.property == "ADR" && !property.param("PREF").is_empty() {
        property.to_mut().remove("PREF");
    }
    let is_plain = property.group.is_empty()
        && property.name == slot.property
        && property.params.iter().all(|(name, _)| name == "TYPE")
        && property.param("TYPE").iter().map(|value| &**value).eq(slot.types.iter().copied());
    match rest {
        None if is_plain => None,
        None => Some(property.head()),
        Some(rest) => Some(format!("{}:{rest}", property.head())),
    }
}

fn has_clock(value: &str) -> bool {
    if !value.contains('T') {
        return false;
    }
    let mut reader = Reader::new();
    reader.add(Reading::Date, value);
    reader.read().is_some_and(|values| values.first().and_then(Values::date).is_some_and(has_time))
}

fn parts_template(slot: &Slot, positions: &[usize], width: usize, value: &str) -> Option<String> {
    let is_list = |part: &str| reading(slot) == Reading::Lists && split_escaped(part, ',').count() > 1;
    let mut says_more = false;
    let mut template: Vec<String> = Vec::new();
    let parts: Vec<&str> = split_escaped(value, ';').collect();
    for index in 0..parts.len().max(width) {
        let part = parts.get(index).copied().unwrap_or_default();
        if positions.contains(&index) && !is_list(part) {
            template.push("*".into());
        } else if part.is_empty() {
            template.push(String::new());
        } else {
            says_more = true;
            template.push(format!("={part}"));
        }
    }
    says_more.then(|| template.join(";"))
}
