//! Edits: which lines of a sheet change so that its fields hold new values, and how the new lines read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use pairwise_plugin_api::{Fields, Name, Value};

use crate::lines::{Encoded, Line, Text, split_escaped};
use crate::property::{Format, Property, escape, escape_whole, render_with_head_of};
use crate::slots::{
    COMPOSED, EXTENDED, EXTENDED_PROPERTY, FORM, MADE, PROPERTY, Shape, Sheet, Slot, form_of, read_slots,
};

/// The changed text, and the fields that are not known, cannot be written, or whose value makes no sense.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    pub(crate) bytes: Vec<u8>,
    pub(crate) refused: Vec<Name>,
}

/// A sheet while it is edited.
#[derive(Debug)]
pub(crate) struct Draft<'s, 'a> {
    sheet: &'s Sheet<'a>,
    /// What each slot's line is to say.
    pub(crate) slots: Vec<Option<Property<'a>>>,
    line_of: Vec<Option<usize>>,
    /// Slots whose line this edit began: what it says is known without reading it.
    begun: Vec<bool>,
    /// Lines that are to say something else, or nothing.
    replaced: BTreeMap<usize, Option<Property<'a>>>,
    /// New lines, and the line that each of them follows; the others go to the end.
    added: Vec<(Option<usize>, Property<'a>)>,
    /// Lines in place of others that are no properties, and at the end: whole components.
    raw: BTreeMap<usize, String>,
    raw_end: String,
    refused: Vec<Name>,
}

impl<'s, 'a> Draft<'s, 'a> {
    pub(crate) fn new(sheet: &'s Sheet<'a>) -> Self {
        let filled = |slot| sheet.at(slot).filter(|property| !property.is_empty()).cloned();
        Draft {
            sheet,
            slots: (0..sheet.schema.slots.len()).map(filled).collect(),
            line_of: sheet.line_of.clone(),
            begun: vec![false; sheet.schema.slots.len()],
            replaced: BTreeMap::new(),
            added: Vec::new(),
            raw: BTreeMap::new(),
            raw_end: String::new(),
            refused: Vec::new(),
        }
    }

    /// Takes in what is to be written. Forms first: what they say about a field is the old value, and gives way.
    pub(crate) fn apply(&mut self, fields: &'a Fields) {
        let own = self.sheet.schema.own;
        let foreign = |name: &Name| !own.contains(&&**name);
        for (name, value) in fields.with_prefix(FORM).filter(|(name, _)| foreign(name)) {
            self.set_form(name, value);
        }
        // Both are in the order of the names.
        let names = &(self.sheet.schema.names)().sorted;
        let mut next = 0;
        for (name, value) in fields.iter().filter(|(name, _)| foreign(name)) {
            next += names[next..].iter().take_while(|known| !Arc::ptr_eq(known, name) && *known < name).count();
            if names.get(next) == Some(name) {
                self.set_field(name, next, value);
            } else if let Some(property) = name.strip_prefix(PROPERTY) {
                self.set_others(name, property, value);
            } else if let Some(tail) = name.strip_prefix(EXTENDED) {
                self.set_extended(name, tail, value);
            } else if !name.starts_with(FORM) && !name.starts_with(MADE) {
                self.refuse(name);
            }
        }
    }

    pub(crate) fn refuse(&mut self, name: &Name) {
        self.refused.push(name.clone());
    }

    fn set_form(&mut self, name: &Name, value: &'a Value) {
        let slots = self.sheet.schema.slots;
        let Some(index) = slots.iter().position(|slot| name.strip_prefix(FORM) == Some(slot.key)) else {
            return self.refuse(name);
        };
        let slot = &slots[index];
        if self.form_now(index).as_deref() == value.as_text().filter(|text| !text.is_empty()) {
            return;
        }
        let Property { value: old, params, .. } = self.slots[index].take().unwrap_or_default();
        let mut property = match value {
            value if value.is_empty() => Property::new(slot.property, slot.types, ""),
            Value::Text(text) => match Property::parse(text) {
                Some(property) => property,
                None => return self.refuse(name),
            },
            _ => return self.refuse(name),
        };
        property.value = match slot.shape {
            Shape::Parts(positions, width) => fill_template(&property.value, &old, positions, width).into(),
            Shape::First => {
                let first = split_escaped(&old, ',').next().unwrap_or_default();
                format!("{first}{}", property.value.strip_prefix('*').unwrap_or_default()).into()
            }
            Shape::Date => property.value.strip_prefix('=').map_or(old, |date| date.to_owned().into()),
            _ => old,
        };
        // Which address is preferred is a field of its own.
        if let Some((name, values)) = params.into_iter().find(|(name, _)| slot.property == "ADR" && name == "PREF") {
            property.set(name, values);
        }
        self.slots[index] = Some(property);
    }

    fn form_now(&self, index: usize) -> Option<String> {
        let property = self.slots[index].as_ref()?;
        let values = read_slots(self.sheet.schema, &[(index, property)])?.pop()?;
        form_of(&self.sheet.schema.slots[index], property, &values)
    }

    fn set_field(&mut self, name: &Name, rank: usize, value: &'a Value) {
        let schema = self.sheet.schema;
        let (index, field) = (schema.names)().places[rank];
        let slot = &schema.slots[index];
        let held = self.slots[index].take();
        let reads_so = match &held {
            None => value.is_empty(),
            Some(_) if self.begun[index] => value.is_empty(),
            Some(property) => self.reads_as(index, field, property, value),
        };
        if reads_so {
            self.slots[index] = held;
            return;
        }
        self.begun[index] |= held.is_none();
        let mut property = held.unwrap_or_else(|| Property::new(slot.property, slot.types, ""));
        match new_value(slot, field, &property, value, self.sheet.format) {
            Some(value) => property.value = value,
            None => self.refuse(name),
        }
        self.slots[index] = Some(property);
    }

    /// True if the line says this already, however it spells it.
    fn reads_as(&self, slot: usize, field: usize, property: &Property<'_>, value: &Value) -> bool {
        if property.is_empty() {
            return value.is_empty();
        }
        let read = read_slots(self.sheet.schema, &[(slot, property)]);
        let now = read.and_then(|mut slots| Some(slots.pop()?.swap_remove(field)));
        now.is_some_and(|now| now == *value || (now.is_empty() && value.is_empty()))
    }

    fn set_others(&mut self, name: &Name, wanted: &str, value: &'a Value) {
        let texts: Option<Vec<&'a str>> = match value {
            Value::Null => Some(Vec::new()),
            Value::Text(text) => Some(vec![text]),
            Value::List(list) => list.iter().map(Value::as_text).collect(),
            _ => None,
        };
        let is_silent = self.sheet.schema.silent.iter().chain(self.sheet.schema.made).any(|name| *name == wanted);
        let Some(texts) = texts.filter(|_| !is_silent) else { return self.refuse(name) };
        let parse = |text: &'a str| Property::parse(text).filter(|found| found.name.eq_ignore_ascii_case(wanted));
        let mut asked: Vec<(&str, Option<Property<'a>>)> = texts.into_iter().map(|text| (text, parse(text))).collect();
        let mut last = None;
        let mut gone = Vec::new();
        for (index, property) in self.sheet.properties.iter().enumerate() {
            let Some(property) = property.as_ref().filter(|property| property.name.eq_ignore_ascii_case(wanted)) else {
                continue;
            };
            last = Some(index);
            if self.sheet.slot_of[index].is_some() || self.sheet.schema.is_silence(property) {
                continue;
            }
            // A line that is asked for as it is told stays, whatever sense its text makes: quotes within quotes make none.
            let told = property.to_string();
            match asked.iter().position(|(text, parsed)| *text == told || parsed.as_ref() == Some(property)) {
                Some(kept) => drop(asked.remove(kept)),
                None => gone.push(index),
            }
        }
        let Some(new) = asked.into_iter().map(|(_, parsed)| parsed).collect::<Option<Vec<_>>>() else {
            return self.refuse(name);
        };
        self.replaced.extend(gone.into_iter().map(|index| (index, None)));
        self.added.extend(new.into_iter().map(|property| (last, property)));
    }

    fn set_extended(&mut self, name: &Name, tail: &str, value: &Value) {
        if tail.is_empty() || !tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return self.refuse(name);
        }
        let property = format!("{EXTENDED_PROPERTY}{tail}");
        let mut new = Property::new(property.clone(), &[], escape(value.to_string().into(), self.sheet.format));
        let same = |found: &Option<Property<'_>>| {
            found.as_ref().is_some_and(|found| found.name.eq_ignore_ascii_case(&property))
        };
        let line = self.sheet.properties.iter().position(same);
        match line {
            Some(line) if value.is_empty() => drop(self.replaced.insert(line, None)),
            Some(line) => {
                new.name = self.sheet.lines[line].name.clone();
                self.replaced.insert(line, Some(new));
            }
            None if value.is_empty() => {}
            None => self.added.push((None, new)),
        }
    }

    /// Other lines in place of one.
    pub(crate) fn replace_raw(&mut self, line: usize, text: String) {
        self.raw.insert(line, text);
    }

    /// Further lines at the end.
    pub(crate) fn append_raw(&mut self, text: String) {
        self.raw_end.push_str(&text);
    }

    /// The lines as they stand, except for what was edited. A new line goes behind the last of its name, else to the end.
    pub(crate) fn print(mut self, text: &Text<'_>, newline: &str) -> Edited {
        self.keep_rows();
        self.keep_order();
        let others = std::mem::take(&mut self.added);
        for slot in 0..self.slots.len() {
            self.place(slot);
        }
        self.added.extend(others);
        let lines = &self.sheet.lines;
        let end = lines.iter().rposition(|line| line.is("END")).unwrap_or(lines.len());
        let mut bytes = Vec::with_capacity(lines.last().map_or(0, |line| line.span.end - lines[0].span.start) + 256);
        for (index, line) in lines.iter().enumerate() {
            if index == end {
                self.print_added(None, newline, &mut bytes);
                bytes.extend(self.raw_end.as_bytes());
            }
            if let Some(raw) = self.raw.get(&index) {
                bytes.extend(raw.as_bytes());
                continue;
            }
            match self.replaced.get(&index) {
                Some(Some(new)) => bytes.extend(self.render(index, new, newline).as_bytes()),
                Some(None) => {}
                None => bytes.extend(&*text.bytes(line.span.clone())),
            }
            self.print_added(Some(index), newline, &mut bytes);
        }
        Edited { bytes, refused: self.refused }
    }

    fn print_added(&self, after: Option<usize>, newline: &str, bytes: &mut Vec<u8>) {
        for (_, property) in self.added.iter().filter(|(place, _)| *place == after) {
            if !bytes.is_empty() && !bytes.ends_with(b"\n") {
                bytes.extend(newline.as_bytes());
            }
            bytes.extend(property.render(self.sheet.format, newline).as_bytes());
        }
    }

    /// A line in place of another one. Where the value alone is new, what stands before the colon stays as it was written.
    fn render(&self, line: usize, new: &Property<'_>, newline: &str) -> String {
        let old = &self.sheet.lines[line];
        let same_head = self.sheet.properties[line].as_ref().is_some_and(|before| before.head() == new.head());
        if same_head && keeps_head(old, &new.value) {
            render_with_head_of(old, &new.value, self.sheet.format, newline)
        } else {
            new.render(self.sheet.format, newline)
        }
    }

    /// Decides what becomes of a slot's line.
    fn place(&mut self, slot: usize) {
        let line = self.line_of[slot];
        let before = line.and_then(|line| self.sheet.properties[line].as_ref());
        match (line, before, self.slots[slot].take()) {
            (Some(_), Some(before), Some(new)) if *before == new => {}
            // A line that was empty before the edit is nobody's business.
            (Some(_), Some(before), None) if before.is_empty() => {}
            (Some(line), _, new) => drop(self.replaced.insert(line, new)),
            (None, _, Some(new)) => {
                let has_name =
                    |found: &Option<Property<'_>>| found.as_ref().is_some_and(|found| found.name == new.name);
                let last = self.sheet.properties.iter().rposition(has_name);
                self.added.push((last, new));
            }
            (None, _, None) => {}
        }
    }

    /// The places of a row are taken by preference, then by order. If an edit of the preference would send values to other
    /// places, the values change lines.
    fn keep_order(&mut self) {
        for row in self.sheet.schema.rows {
            let line = |slot: usize| self.line_of[slot].and_then(|line| self.sheet.properties[line].as_ref());
            let filled: Vec<usize> = row.iter().copied().filter(|slot| self.slots[*slot].is_some()).collect();
            // Empty lines that stay take a place, too.
            let stays = |slot: &usize| self.slots[*slot].is_some() || line(*slot).is_some_and(Property::is_empty);
            let order: Vec<(u32, usize)> = row
                .iter()
                .filter(|slot| stays(slot))
                .map(|slot| {
                    let property = self.slots[*slot].as_ref().or(line(*slot));
                    (preference(property), self.line_of[*slot].unwrap_or(usize::MAX))
                })
                .collect();
            if order.is_sorted() {
                continue;
            }
            let mut lines: Vec<usize> = row.iter().filter_map(|slot| self.line_of[*slot].take()).collect();
            lines.sort_unstable();
            let mut lines = lines.into_iter();
            for slot in filled {
                self.line_of[slot] = lines.next();
            }
            // Lines that no value needs any more.
            self.replaced.extend(lines.map(|line| (line, None)));
        }
    }

    /// A slot that was emptied loses its line, unless it holds the place for a later one of its row.
    fn keep_rows(&mut self) {
        let filled: Vec<bool> =
            self.slots.iter().map(|slot| slot.as_ref().is_some_and(|slot| !slot.is_empty())).collect();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let row =
                self.sheet.schema.rows.iter().find_map(|row| Some(&row[row.iter().position(|i| *i == index)? + 1..]));
            let holds_place = row.is_some_and(|later| later.iter().any(|later| filled[*later]));
            if filled[index] {
                continue;
            }
            let was_empty = self.sheet.at(index).is_some_and(Property::is_empty);
            *slot = match slot.take() {
                empty @ Some(_) if holds_place => empty,
                None if holds_place && !was_empty => {
                    let spec = &self.sheet.schema.slots[index];
                    Some(Property::new(spec.property, spec.types, ""))
                }
                _ => None,
            };
        }
    }

    /// Fills a slot that the format demands, in a way that says it is no field's value.
    pub(crate) fn compose(&mut self, slot: usize, value: String) {
        let spec = &self.sheet.schema.slots[slot];
        let mut property = Property::new(spec.property, spec.types, value);
        property.set(COMPOSED, vec!["composed".into()]);
        self.slots[slot] = Some(property);
    }

    /// True if the file has a line for the slot that is not empty, composed or not.
    pub(crate) fn had(&self, slot: usize) -> bool {
        let line = self.sheet.line_of[slot].and_then(|line| self.sheet.properties[line].as_ref());
        line.is_some_and(|property| !property.is_empty())
    }
}

/// Whether a new value can stand behind the old head: it must be of the type that the head says.
fn keeps_head(line: &Line<'_>, value: &str) -> bool {
    let type_holds = line.params.iter().filter(|param| param.name == "VALUE").all(|param| {
        let kind = param.values.first().map(|kind| kind.to_ascii_lowercase()).unwrap_or_default();
        match kind.as_str() {
            "date" => value.starts_with(|char: char| char.is_ascii_digit()) && !value.contains('T'),
            "uri" | "url" => line.is("URL"),
            _ => kind == "text",
        }
    });
    type_holds && line.encoding() != Encoded::Base64
}

fn fill_template(template: &str, old: &str, positions: &[usize], width: usize) -> String {
    let old: Vec<&str> = split_escaped(old, ';').collect();
    let template: Vec<&str> = if template.is_empty() { Vec::new() } else { split_escaped(template, ';').collect() };
    let count = template.len().max(width);
    let part = |index: usize| match template.get(index) {
        Some(part) if part.starts_with('=') => &part[1..],
        Some(&"") if !positions.contains(&index) => "",
        _ if positions.contains(&index) => old.get(index).copied().unwrap_or_default(),
        _ => "",
    };
    (0..count).map(part).collect::<Vec<_>>().join(";")
}

/// The value of a slot's line after one of its fields was set; `None` if the field cannot hold it.
fn new_value<'v>(
    slot: &Slot,
    field: usize,
    property: &Property<'_>,
    value: &'v Value,
    format: Format,
) -> Option<Cow<'v, str>> {
    let text: Cow<'v, str> = match value {
        Value::Null => "".into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(list) if matches!(slot.shape, Shape::List) => {
            let texts: Option<Vec<_>> =
                list.iter().map(|item| Some(escape(item.as_text()?.trim().into(), Format::V30))).collect();
            return Some(texts?.join(",").into());
        }
        other => other.to_string().into(),
    };
    Some(match slot.shape {
        Shape::Text => escape(text, format),
        Shape::Whole => escape_whole(text),
        Shape::List => escape(text, Format::V30),
        Shape::First => {
            let rest = split_escaped(&property.value, ',').next().map_or("", |first| &property.value[first.len()..]);
            let first = escape(text, Format::V30);
            if rest.is_empty() { first } else { format!("{first}{rest}").into() }
        }
        Shape::Word(words) => {
            let known = words.iter().find(|(_, word)| text.eq_ignore_ascii_case(word));
            known.map_or_else(|| escape(text, format), |(file, _)| (*file).into())
        }
        Shape::Date => spell_date(text, property, format),
        Shape::Parts(positions, width) => {
            let position = positions[field];
            let part = escape(text, if slot.property == "ORG" { format } else { Format::V30 });
            let mut parts: Vec<&str> = split_escaped(&property.value, ';').collect();
            parts.resize(parts.len().max(width).max(position + 1), "");
            parts[position] = &part;
            while parts.len() > width && parts.last().is_some_and(|part| part.is_empty()) {
                parts.pop();
            }
            parts.join(";").into()
        }
    })
}

/// In the manner of the line that stood there, else of the version.
fn spell_date<'v>(text: Cow<'v, str>, property: &Property<'_>, format: Format) -> Cow<'v, str> {
    let extended = if property.value.is_empty() {
        format != Format::V40
    } else {
        property.value.trim_start_matches('-').contains('-')
    };
    if let (Some(year), Some(rest)) = (property.first("X-APPLE-OMIT-YEAR"), text.strip_prefix("--")) {
        return format!("{year}-{rest}").into();
    }
    match text.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] if !extended => text.replace('-', "").into(),
        [b'-', b'-', rest @ ..] if !extended && rest.len() == 5 => format!("--{}", text[2..].replace('-', "")).into(),
        _ => escape(text, format),
    }
}

/// The number of the preference that a line states. Lines without one come last, and an empty line is not preferred.
pub(crate) fn preference(property: Option<&Property<'_>>) -> u32 {
    let stated = property.filter(|property| !property.is_empty()).and_then(|property| property.first("PREF"));
    stated.and_then(|text| text.parse().ok()).unwrap_or(101)
}
