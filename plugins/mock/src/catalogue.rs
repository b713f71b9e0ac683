//! Entities and fields: native names as a CRM would spell them, each with its canonical path.

use pairwise_plugin_api::{Catalogue, Entity, EntityKind, Field, FieldType};

use crate::settings::{EntitySetting, FieldSetting};

use FieldType::{Bool, Date, DateTime, Email, Int, Phone, Text, TextList, Url};

const CONTACT: &[(&str, &str, FieldType)] = &[
    ("Kind", "kind", Text),
    ("Title", "name/title", Text),
    ("FirstName", "name/given", Text),
    ("MiddleName", "name/given2", Text),
    ("LastName", "name/surname", Text),
    ("Suffix", "name/generation", Text),
    ("FullName", "name/full", Text),
    ("Nickname", "nicknames/1/name", Text),
    ("JobTitle", "titles/1/name", Text),
    ("Company", "organizations/1/name", Text),
    ("Department", "organizations/1/unit", Text),
    ("Email1", "emails/1/address", Email),
    ("Email2", "emails/2/address", Email),
    ("Email3", "emails/3/address", Email),
    ("WorkPhone", "phones/work/number", Phone),
    ("WorkPhone2", "phones/work2/number", Phone),
    ("HomePhone", "phones/home/number", Phone),
    ("HomePhone2", "phones/home2/number", Phone),
    ("MobilePhone", "phones/mobile/number", Phone),
    ("WorkFax", "phones/workFax/number", Phone),
    ("HomeFax", "phones/homeFax/number", Phone),
    ("OtherFax", "phones/otherFax/number", Phone),
    ("Pager", "phones/pager/number", Phone),
    ("OtherPhone", "phones/other/number", Phone),
    ("AssistantPhone", "phones/assistant/number", Phone),
    ("CompanyPhone", "phones/company/number", Phone),
    ("CarPhone", "phones/car/number", Phone),
    ("WorkStreet", "addresses/work/street", Text),
    ("WorkCity", "addresses/work/locality", Text),
    ("WorkState", "addresses/work/region", Text),
    ("WorkZip", "addresses/work/postcode", Text),
    ("WorkCountry", "addresses/work/country", Text),
    ("HomeStreet", "addresses/home/street", Text),
    ("HomeCity", "addresses/home/locality", Text),
    ("HomeState", "addresses/home/region", Text),
    ("HomeZip", "addresses/home/postcode", Text),
    ("HomeCountry", "addresses/home/country", Text),
    ("OtherStreet", "addresses/other/street", Text),
    ("OtherCity", "addresses/other/locality", Text),
    ("OtherState", "addresses/other/region", Text),
    ("OtherZip", "addresses/other/postcode", Text),
    ("OtherCountry", "addresses/other/country", Text),
    ("PreferredAddress", "addresses/preferred", Text),
    ("WebPage", "links/work", Url),
    ("Birthday", "anniversaries/birth", Date),
    ("Anniversary", "anniversaries/wedding", Date),
    ("Assistant", "relations/assistant", Text),
    ("Manager", "relations/manager", Text),
    ("Spouse", "relations/spouse", Text),
    ("Notes", "notes/1", Text),
    ("Categories", "keywords", TextList),
    ("Privacy", "privacy", Text),
    ("Extra/*", "extended/*", Text),
];

const EVENT: &[(&str, &str, FieldType)] = &[
    ("Subject", "title", Text),
    ("Description", "description", Text),
    ("Start", "start", DateTime),
    ("End", "end", DateTime),
    ("TimeZone", "timeZone", Text),
    ("AllDay", "showWithoutTime", Bool),
    ("Location", "locations/1/name", Text),
    ("Status", "status", Text),
    ("ShowAs", "freeBusyStatus", Text),
    ("Privacy", "privacy", Text),
    ("Reminder", "alerts/1/minutes", Int),
    ("Categories", "keywords", TextList),
    ("Extra/*", "extended/*", Text),
];

const EVENT_READ_ONLY: &[(&str, &str)] =
    &[("Recurring", "recurring"), ("IsOrganizer", "isOrganizer"), ("OrganizerIsInternal", "organizerIsInternal")];

/// The catalogue with what the settings add.
pub fn catalogue(further: &[EntitySetting], selectors: &[String]) -> Catalogue {
    let mut events = fields(EVENT);
    events.extend(EVENT_READ_ONLY.iter().map(|(name, path)| Field::new(*name, Bool).path(*path).read_only()));
    let mut entities = vec![
        entity("contact", "Contacts", EntityKind::Contact, fields(CONTACT), selectors),
        entity("event", "Appointments", EntityKind::Event, events, selectors),
    ];
    for setting in further {
        let known = entities.iter().position(|entity| entity.name == setting.name);
        let index = known.unwrap_or_else(|| {
            entities.push(entity(&setting.name, &setting.name, setting.kind, Vec::new(), selectors));
            entities.len() - 1
        });
        let fields = &mut entities[index].fields;
        for field in &setting.fields {
            fields.retain(|known| *known.name != *field.name);
            fields.push(further_field(field));
        }
    }
    Catalogue { entities }
}

fn entity(name: &str, label: &str, kind: EntityKind, fields: Vec<Field>, selectors: &[String]) -> Entity {
    Entity { name: name.into(), label: label.into(), kind, fields, selectors: selectors.to_vec() }
}

fn fields(table: &[(&str, &str, FieldType)]) -> Vec<Field> {
    table
        .iter()
        .map(|(name, path, kind)| {
            let field = Field::new(*name, *kind).path(*path);
            if *kind == Email { field.caseless() } else { field }
        })
        .collect()
}

fn further_field(setting: &FieldSetting) -> Field {
    Field {
        path: setting.path.as_str().into(),
        length: setting.length,
        writable: !setting.read_only,
        required: setting.required,
        reference: setting.reference.clone(),
        caseless: setting.caseless,
        ..Field::new(setting.name.as_str(), setting.kind)
    }
}
