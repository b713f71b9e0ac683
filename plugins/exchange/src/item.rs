//! Items as records.

use pairwise_plugin_api::{Condition, Fields, Name, Record, RecordRef, Value};

use crate::event;
use crate::fields::{KEY, Place, SEARCH_KEY, Shape, Spec, UID};
use crate::kind::{EXTENDED, Kind, property_of};
use crate::series::Series;
use crate::times::{day_of, millis};
use crate::xml::Node;

/// An item that was read.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) record: Record,
    /// The key of the create that made it.
    pub(crate) key: Option<String>,
    /// The folder it lies in, by its id.
    pub(crate) folder: Option<String>,
    /// Of a series: which of its occurrences differ.
    pub(crate) series: Option<Series>,
}

/// Id and change key.
pub(crate) fn id_of(item: Node<'_>) -> Option<(String, Option<String>)> {
    let id = item.child("ItemId")?;
    Some((id.attribute("Id")?.to_owned(), id.attribute("ChangeKey").map(str::to_owned)))
}

/// What items are to tell, and in which order: each name is one text for all of them.
#[derive(Debug)]
pub(crate) struct Telling {
    kind: Kind,
    fields: Vec<(Name, Source)>,
}

/// Where a field is.
#[derive(Debug)]
enum Source {
    Spec(&'static Spec),
    /// A property of our own set, by its name.
    Own(String),
}

impl Telling {
    /// Of the fields of a kind, with those that the settings add, only these; none means all. What fields of events are made
    /// of by more than one property is told always.
    pub(crate) fn of(kind: Kind, extended: &[String], wanted: &[Name]) -> Telling {
        let specs = kind.specs().iter().filter(|spec| spec.shape != Shape::Own);
        let specs = specs.map(|spec| (Name::from(spec.name), Source::Spec(spec)));
        let own = extended.iter().map(|name| (format!("{EXTENDED}{name}").into(), Source::Own(property_of(name))));
        let is_wanted = |(name, _): &(Name, Source)| wanted.is_empty() || wanted.contains(name);
        let mut fields: Vec<(Name, Source)> = specs.chain(own).filter(is_wanted).collect();
        fields.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Telling { kind, fields }
    }
}

/// Reads an item of `GetItem`; `None` if it is of another kind. `mailbox` is whose it is.
pub(crate) fn read(telling: &Telling, item: Node<'_>, mailbox: &str) -> Option<Read> {
    let kind = telling.kind;
    if item.name() != kind.element() || !kind.takes(item.text_of("ItemClass").unwrap_or_default()) {
        return None;
    }
    let (id, version) = id_of(item)?;
    let mut fields = Fields::with_capacity(telling.fields.len());
    for (name, source) in &telling.fields {
        let told = match source {
            Source::Spec(spec) => value(item, spec),
            Source::Own(property) => Some(own_property(item, property).map_or(Value::Null, Value::from)),
        };
        if let Some(value) = told {
            fields.set(name.clone(), value);
        }
    }
    let mut record = Record {
        at: RecordRef::new(kind.entity(), id),
        version,
        incarnation: tagged(item, SEARCH_KEY).map(str::to_owned),
        created: item.text_of("DateTimeCreated").and_then(millis),
        modified: item.text_of("LastModifiedTime").and_then(millis),
        uid: own_property(item, UID),
        fields,
        ..Record::default()
    };
    let series = if kind == Kind::Event { event::read(item, mailbox, &mut record) } else { None };
    let folder = item.child("ParentFolderId").and_then(|folder| folder.attribute("Id")).map(str::to_owned);
    Some(Read { record, key: own_property(item, KEY), folder, series })
}

/// A record that the server would not show.
pub(crate) fn unreadable(kind: Kind, id: &str, version: Option<String>, text: &str) -> Record {
    Record {
        at: RecordRef::new(kind.entity(), id),
        version,
        conditions: vec![Condition::unreadable(text)],
        ..Record::default()
    }
}

/// A record as it was asked for. Of contacts nothing else was read.
pub(crate) fn as_asked(kind: Kind, record: Record, wanted: &[Name]) -> Record {
    match kind {
        Kind::Contact => record,
        Kind::Event => only(record, wanted),
    }
}

/// Only these fields, if any are named.
pub(crate) fn only(mut record: Record, wanted: &[Name]) -> Record {
    if !wanted.is_empty() {
        record.fields = record.fields.into_iter().filter(|(name, _)| wanted.contains(name)).collect();
    }
    record
}

/// The value of a field; `None` if the server does not tell it.
fn value(item: Node<'_>, spec: &Spec) -> Option<Value> {
    let text = match spec.place {
        Place::Element(name) => {
            let Some(element) = item.child(name) else { return Some(Value::Null) };
            if spec.shape == Shape::Strings {
                let texts: Vec<Value> = element.children().map(|child| Value::from(child.text())).collect();
                return Some(if texts.is_empty() { Value::Null } else { Value::from(texts) });
            }
            element.text()
        }
        Place::Entry(parent, _, key) => entry(item, parent, key).map(Node::text).unwrap_or_default(),
        Place::Address(kind, part) => {
            entry(item, "PhysicalAddresses", kind).and_then(|entry| entry.text_of(part)).unwrap_or_default()
        }
        Place::Tag(tag) => tagged(item, tag).unwrap_or_default(),
        Place::Numbered(id) => extended(item, |uri| uri.attribute("PropertyId") == Some(id)).unwrap_or_default(),
    };
    // The directory's own name of somebody inside: no address, and nobody's edit.
    if text.starts_with("/o=") || text.starts_with("/O=") {
        return None;
    }
    Some(of_wire(spec, text))
}

fn of_wire(spec: &Spec, text: &str) -> Value {
    let filled = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
    match spec.shape {
        Shape::Lines => filled(text.replace("\r\n", "\n").trim_end_matches('\n')),
        Shape::Day if text.is_empty() => Value::Null,
        Shape::Day => day_of(text).map_or_else(|| filled(text), Value::from),
        Shape::Word(words) => filled(words.iter().find(|(wire, _)| *wire == text).map_or("", |(_, word)| word)),
        _ => filled(text),
    }
}

fn entry<'a>(item: Node<'a>, parent: &str, key: &str) -> Option<Node<'a>> {
    item.child(parent)?.all("Entry").find(|entry| entry.attribute("Key") == Some(key))
}

/// A property that was asked for by its tag.
fn tagged<'a>(item: Node<'a>, tag: &str) -> Option<&'a str> {
    extended(item, |uri| uri.attribute("PropertyTag").is_some_and(|known| known.eq_ignore_ascii_case(tag)))
}

/// A property of our own set.
fn own_property(item: Node<'_>, name: &str) -> Option<String> {
    extended(item, |uri| uri.attribute("PropertyName") == Some(name)).map(str::to_owned)
}

fn extended(item: Node<'_>, is: impl Fn(Node<'_>) -> bool) -> Option<&str> {
    let property = item.all("ExtendedProperty").find(|property| property.child("ExtendedFieldURI").is_some_and(&is))?;
    property.text_of("Value")
}
