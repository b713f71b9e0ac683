//! What the connector says about its records. Native names are the canonical paths.

use pairwise_plugin_api::{Catalogue, Entity, EntityKind, Field, FieldType};

use crate::content::Kind;
use crate::slots::{EXTENDED, FORM, MADE, PROPERTY, Schema, Shape};
use crate::{card, event};

/// Both kinds, or one of them.
pub(crate) fn catalogue(only: Option<Kind>) -> Catalogue {
    let entities = Kind::ALL.into_iter().filter(|kind| only.is_none_or(|only| only == *kind));
    Catalogue { entities: entities.map(entity).collect() }
}

fn entity(kind: Kind) -> Entity {
    let (label, entity_kind, family, mut fields) = match kind {
        Kind::Contact => ("Contacts (vCard files)", EntityKind::Contact, "vcard", contact_fields()),
        Kind::Event => ("Events (iCalendar files)", EntityKind::Event, "ical", event_fields()),
    };
    let open = |stem: &str, path: String, label: &str| Field {
        label: label.to_owned(),
        ..Field::new(format!("{stem}*"), FieldType::Text).path(path)
    };
    fields.push(open(EXTENDED, format!("{EXTENDED}*"), "Further fields, kept as X-PAIRWISE properties"));
    fields.push(Field {
        kind: FieldType::TextList,
        ..open(PROPERTY, format!("{family}/{PROPERTY}*"), "Properties that no field carries")
    });
    fields.push(open(FORM, format!("{family}/{FORM}*"), "Groups, parameters and components beside the fields"));
    fields.push(open(MADE, format!("{family}/{MADE}*"), "How and when the file was made").create_only());
    Entity {
        name: kind.entity().to_owned(),
        label: label.to_owned(),
        kind: entity_kind,
        fields,
        selectors: SELECTORS.map(str::to_owned).to_vec(),
    }
}

/// The selector of a scope: one subfolder or several, by their ids.
pub(crate) const CONTAINER: &str = "container";
/// Its names: mailboxes call it a folder, and a folder of files can stand for one.
pub(crate) const SELECTORS: [&str; 2] = [CONTAINER, "folder"];

fn contact_fields() -> Vec<Field> {
    let mut fields = slot_fields(&card::CONTACT);
    fields.push(text(card::PREFERRED));
    fields
}

fn event_fields() -> Vec<Field> {
    let mut fields = slot_fields(&event::EVENT);
    fields.extend(event::FIELDS.iter().map(|(name, kind, writable)| {
        let field = Field::new(*name, *kind).path(*name);
        if *writable { field } else { field.read_only() }
    }));
    fields
}

fn slot_fields(schema: &Schema) -> Vec<Field> {
    let mut fields = Vec::new();
    for slot in schema.slots {
        for name in slot.fields {
            let kind = match slot.shape {
                Shape::Date => FieldType::Date,
                Shape::List => FieldType::TextList,
                _ if slot.property == "EMAIL" => FieldType::Email,
                _ if slot.property == "TEL" => FieldType::Phone,
                _ if slot.property == "URL" => FieldType::Url,
                _ => FieldType::Text,
            };
            let field = Field { kind, ..text(name) };
            fields.push(if kind == FieldType::Email { field.caseless() } else { field });
        }
    }
    fields
}

fn text(name: &'static str) -> Field {
    Field::new(name, FieldType::Text).path(name)
}
