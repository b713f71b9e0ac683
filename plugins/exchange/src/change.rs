//! What a write sends: the elements of a new item in the order of the schema, and of a changed one each property by itself.

use pairwise_plugin_api::{Name, Outcome, Value, Write, overrides};

use crate::event::{self, Times};
use crate::fields::{KEY, Place, Shape, Spec, UID, uri, write_own_uri};
use crate::kind::{EXTENDED, Kind, property_of};
use crate::times::moment_of_day;
use crate::xml::Writer;

/// The order in which the schema wants the elements that we write.
pub(crate) const ORDER_CONTACT: &[&str] = &[
    "Sensitivity",
    "Body",
    "Categories",
    "ExtendedProperty",
    "FileAs",
    "FileAsMapping",
    "DisplayName",
    "GivenName",
    "Initials",
    "MiddleName",
    "Nickname",
    "CompanyName",
    "EmailAddresses",
    "PhysicalAddresses",
    "PhoneNumbers",
    "AssistantName",
    "Birthday",
    "BusinessHomePage",
    "Children",
    "Companies",
    "Department",
    "Generation",
    "ImAddresses",
    "JobTitle",
    "Manager",
    "OfficeLocation",
    "PostalAddressIndex",
    "Profession",
    "SpouseName",
    "Surname",
    "WeddingAnniversary",
];
pub(crate) const ORDER_EVENT: &[&str] = &[
    "Subject",
    "Sensitivity",
    "Body",
    "Categories",
    "Importance",
    "ReminderIsSet",
    "ReminderMinutesBeforeStart",
    "ExtendedProperty",
    "UID",
    "Start",
    "End",
    "IsAllDayEvent",
    "LegacyFreeBusyStatus",
    "Location",
    "RequiredAttendees",
    "OptionalAttendees",
    "Resources",
    "Recurrence",
    "StartTimeZone",
    "EndTimeZone",
];

/// One property of a write.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// The element that it stands in.
    pub(crate) element: &'static str,
    property: Property,
    content: Content,
}

/// What a piece is called in a request.
#[derive(Debug, Clone)]
enum Property {
    At(Place),
    /// Of our own set: as XML.
    Own(String),
}

impl Property {
    fn write_uri(&self, out: &mut Writer) {
        match self {
            Property::At(place) => place.write_uri(out),
            Property::Own(uri) => drop(out.raw(uri)),
        }
    }
}

#[derive(Debug, Clone)]
enum Content {
    /// It has no value any more.
    Nothing,
    /// The whole element, or the whole extended property, as XML.
    Whole(String),
    /// The text of the element.
    Text(String),
    /// The text of an entry of the element, by its key.
    Entry(&'static str, String),
    /// The text of a part of the address of this kind.
    Address(&'static str, &'static str, String),
}

/// All that a write sends of an item.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) pieces: Vec<Piece>,
    /// Fields that cannot be written.
    pub(crate) refused: Vec<Name>,
}

/// What the server cannot hold: an outcome instead of a request.
pub(crate) type Refused = Box<Outcome>;

impl Piece {
    /// An element of its own.
    pub(crate) fn element(name: &'static str, xml: String) -> Piece {
        Piece { element: name, property: Property::At(Place::Element(name)), content: Content::Whole(xml) }
    }

    /// An element of its own without a value.
    pub(crate) fn nothing(name: &'static str) -> Piece {
        Piece { element: name, property: Property::At(Place::Element(name)), content: Content::Nothing }
    }

    fn own_property(name: &str, value: Option<&str>) -> Piece {
        let mut of = Writer::new();
        write_own_uri(&mut of, name);
        extended(Property::Own(of.done()), value)
    }
}

fn extended(property: Property, value: Option<&str>) -> Piece {
    let content = value.map_or(Content::Nothing, |value| {
        let mut out = Writer::new();
        property.write_uri(out.start("t:ExtendedProperty"));
        out.leaf("t:Value", value).end();
        Content::Whole(out.done())
    });
    Piece { element: "ExtendedProperty", property, content }
}

impl Change {
    /// What a write means for an item of this kind. `times` is what an event holds now, where that is needed.
    pub(crate) fn of(kind: Kind, write: &Write, known: &[String], times: &Times) -> Result<Change, Refused> {
        let mut change = Change::default();
        // In the order of the schema, which counts within addresses as well.
        for spec in kind.specs().iter().filter(|spec| spec.writable && spec.shape != Shape::Own) {
            if let Some(value) = write.fields.get(spec.name) {
                change.pieces.push(piece(spec, value)?);
            }
        }
        // Mostly that is all of them.
        let others = if change.pieces.len() == write.fields.len() { None } else { Some(write.fields.iter()) };
        for (name, value) in others.into_iter().flatten() {
            match (kind.spec(name), name.strip_prefix(EXTENDED)) {
                (Some(spec), _) if spec.writable => {}
                (None, Some(own)) if known.iter().any(|known| known == own) => {
                    let text = value.to_string();
                    let text = Some(text.as_str()).filter(|text| !text.is_empty());
                    change.pieces.push(Piece::own_property(&property_of(own), text));
                }
                // Occurrences are written after their series.
                _ if kind == Kind::Event && overrides::parts(name).is_some() => {}
                _ => change.refused.push(name.clone()),
            }
        }
        if kind == Kind::Event {
            event::change(write, times, &mut change)?;
        }
        Ok(change)
    }

    /// What every new item bears beside its fields.
    pub(crate) fn mark(&mut self, kind: Kind, write: &Write) {
        self.pieces.push(Piece::own_property(KEY, Some(&write.key)));
        if let Some(uid) = &write.uid {
            self.pieces.push(Piece::own_property(UID, Some(uid)));
            if kind == Kind::Event {
                self.pieces.push(Piece::element("UID", leaf("UID", uid)));
            }
        }
        let has = |element: &str| self.pieces.iter().any(|piece| piece.element == element);
        // Without it a list in Outlook shows a contact without a name.
        if kind == Kind::Contact && !has("FileAs") && (has("Surname") || has("GivenName")) {
            self.pieces.push(Piece::element("FileAsMapping", leaf("FileAsMapping", "LastCommaFirst")));
        }
    }

    /// The item of a create.
    pub(crate) fn write_item(&self, kind: Kind, out: &mut Writer) {
        let order = match kind {
            Kind::Contact => ORDER_CONTACT,
            Kind::Event => ORDER_EVENT,
        };
        let place = |piece: &Piece| order.iter().position(|element| *element == piece.element);
        let mut pieces: Vec<(usize, &Piece)> =
            self.pieces.iter().filter_map(|piece| Some((place(piece)?, piece))).collect();
        pieces.sort_by_key(|(place, _)| *place);
        out.start(format!("t:{}", kind.element()));
        for pieces in pieces.chunk_by(|(one, _), (other, _)| one == other) {
            let mut is_open = false;
            let mut open = |out: &mut Writer, element: &str| {
                if !std::mem::replace(&mut is_open, true) {
                    out.start(format!("t:{element}"));
                }
            };
            let mut address = None;
            for (_, piece) in pieces {
                match &piece.content {
                    Content::Nothing => {}
                    Content::Whole(xml) => drop(out.raw(xml)),
                    Content::Text(text) => drop(out.typed(piece.element, &[], text)),
                    Content::Entry(key, text) => {
                        open(out, piece.element);
                        out.typed("Entry", &[("Key", key)], text);
                    }
                    // The parts of one address stand together.
                    Content::Address(of, part, text) => {
                        open(out, piece.element);
                        if address != Some(*of) {
                            if address.replace(*of).is_some() {
                                out.end();
                            }
                            out.start_with("t:Entry", &[("Key", of)]);
                        }
                        out.typed(part, &[], text);
                    }
                }
            }
            if address.is_some() {
                out.end();
            }
            if is_open {
                out.end();
            }
        }
        out.end();
    }

    /// The updates of a change: one property each.
    pub(crate) fn write_updates(&self, kind: Kind, out: &mut Writer) {
        out.start("t:Updates");
        for piece in &self.pieces {
            if let Content::Nothing = piece.content {
                piece.property.write_uri(out.start("t:DeleteItemField"));
                out.end();
                continue;
            }
            piece.property.write_uri(out.start("t:SetItemField"));
            out.start(format!("t:{}", kind.element()));
            match &piece.content {
                Content::Nothing => {}
                Content::Whole(xml) => drop(out.raw(xml)),
                Content::Text(text) => drop(out.typed(piece.element, &[], text)),
                Content::Entry(key, text) => {
                    out.start(format!("t:{}", piece.element)).typed("Entry", &[("Key", key)], text).end();
                }
                Content::Address(of, part, text) => {
                    out.start(format!("t:{}", piece.element)).start_with("t:Entry", &[("Key", of)]);
                    out.typed(part, &[], text).end().end();
                }
            }
            out.end().end();
        }
        out.end();
    }
}

pub(crate) fn leaf(element: &str, text: &str) -> String {
    let mut out = Writer::new();
    out.typed(element, &[], text);
    out.done()
}

fn piece(spec: &'static Spec, value: &Value) -> Result<Piece, Refused> {
    let property = Property::At(spec.place);
    let Some(text) = to_wire(spec, value)? else {
        let element = match spec.place {
            Place::Element(element) | Place::Entry(element, ..) => element,
            Place::Address(..) => "PhysicalAddresses",
            Place::Tag(_) | Place::Numbered(_) => "ExtendedProperty",
        };
        return Ok(Piece { element, property, content: Content::Nothing });
    };
    Ok(match spec.place {
        Place::Element(element) => {
            let content = match spec.shape {
                Shape::Strings => Content::Whole(strings(element, value)),
                Shape::Lines => {
                    let mut out = Writer::new();
                    out.typed("Body", &[("BodyType", "Text")], &text);
                    Content::Whole(out.done())
                }
                _ => Content::Text(text),
            };
            Piece { element, property, content }
        }
        Place::Entry(element, _, key) => Piece { element, property, content: Content::Entry(key, text) },
        Place::Address(kind, part) => {
            Piece { element: "PhysicalAddresses", property, content: Content::Address(kind, part, text) }
        }
        Place::Tag(_) | Place::Numbered(_) => extended(property, Some(&text)),
    })
}

fn strings(element: &str, value: &Value) -> String {
    let mut out = Writer::new();
    out.start(format!("t:{element}"));
    match value {
        Value::List(list) => list.iter().for_each(|text| {
            out.leaf("t:String", &text.to_string());
        }),
        other => {
            out.leaf("t:String", &other.to_string());
        }
    }
    out.done()
}

/// The text of a value on the wire; `None` if it is to be cleared.
fn to_wire(spec: &Spec, value: &Value) -> Result<Option<String>, Refused> {
    let name = spec.name;
    let text = value.to_string();
    match spec.shape {
        Shape::Word(words) => {
            let found = words.iter().find(|(_, word)| *word == text).map(|(wire, _)| (*wire).to_owned());
            found.map(Some).ok_or_else(|| {
                let known: Vec<&str> = words.iter().map(|(_, word)| *word).filter(|word| !word.is_empty()).collect();
                refused("unknown_word", name, format!("`{text}` is none of {} in `{name}`", known.join(", ")))
            })
        }
        _ if value.is_empty() => Ok(None),
        Shape::Lines => Ok(Some(text.replace("\r\n", "\n").replace('\n', "\r\n"))),
        Shape::Day => moment_of_day(&text).map(Some).ok_or_else(|| {
            refused("no_date", name, format!("`{text}` in `{name}` is no date with year, month and day"))
        }),
        _ => Ok(Some(text)),
    }
}

pub(crate) fn refused(code: &str, field: &str, text: String) -> Refused {
    Box::new(Outcome { field: Some(field.into()), ..Outcome::refused(code, text) })
}

/// The field of ours that the server's name of a property stands for.
pub(crate) fn field_of(kind: Kind, property: &str) -> Option<Name> {
    let spec = kind.specs().iter().find(|spec| match spec.place {
        Place::Element(name) => uri(name) == property,
        Place::Entry(_, word, _) => property == format!("contacts:{word}"),
        Place::Address(_, part) => property == format!("contacts:PhysicalAddress:{part}"),
        Place::Tag(tag) | Place::Numbered(tag) => property.eq_ignore_ascii_case(tag),
    });
    spec.map(|spec| spec.name.into())
}
