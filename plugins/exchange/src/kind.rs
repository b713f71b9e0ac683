//! The two kinds of records, and what is asked of the server to read one.

use pairwise_plugin_api::{Catalogue, Class, Entity, EntityKind, Failure, Field, FieldType, Name, Result, overrides};

use crate::fields::{CONTACT, EVENT, KEY, Place, SEARCH_KEY, Spec, UID, uri, write_own_uri};
use crate::xml::Writer;

/// Contacts or events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Contact,
    Event,
}

/// Properties of an item that no field carries, and of an event those that several fields are made of.
const BESIDE: &[&str] = &["ParentFolderId", "ItemClass", "LastModifiedTime", "DateTimeCreated"];
const BESIDE_EVENT: &[&str] = &[
    "ReminderIsSet",
    "ReminderMinutesBeforeStart",
    "UID",
    "RecurrenceId",
    "Start",
    "End",
    "IsAllDayEvent",
    "IsMeeting",
    "IsCancelled",
    "IsRecurring",
    "CalendarItemType",
    "MyResponseType",
    "Organizer",
    "RequiredAttendees",
    "OptionalAttendees",
    "Resources",
    "Recurrence",
    "ModifiedOccurrences",
    "DeletedOccurrences",
    "StartTimeZone",
    "IsOrganizer",
];

/// The selector of a scope.
pub(crate) const FOLDER: &str = "folder";

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Contact, Kind::Event];

    pub(crate) fn of(entity: &str) -> Result<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.entity() == entity).ok_or_else(|| {
            let text = format!("a mailbox has no entity `{entity}`; it has `contact` and `event`");
            Failure::new(Class::NotFound, text)
        })
    }

    pub(crate) fn entity(self) -> &'static str {
        match self {
            Kind::Contact => "contact",
            Kind::Event => "event",
        }
    }

    /// The element of an item.
    pub(crate) fn element(self) -> &'static str {
        match self {
            Kind::Contact => "Contact",
            Kind::Event => "CalendarItem",
        }
    }

    /// The folder where new ones go, by its distinguished id.
    pub(crate) fn home(self) -> &'static str {
        match self {
            Kind::Contact => "contacts",
            Kind::Event => "calendar",
        }
    }

    /// The class of its folders. Classes beneath that of contacts are caches of the server.
    pub(crate) fn folder_class(self) -> &'static str {
        match self {
            Kind::Contact => "IPF.Contact",
            Kind::Event => "IPF.Appointment",
        }
    }

    /// Whether an item of this class is one: folders hold distribution lists and odd things as well.
    pub(crate) fn takes(self, class: &str) -> bool {
        let own = match self {
            Kind::Contact => "IPM.Contact",
            Kind::Event => "IPM.Appointment",
        };
        class.is_empty() || class == own || class.strip_prefix(own).is_some_and(|rest| rest.starts_with('.'))
    }

    pub(crate) fn specs(self) -> &'static [Spec] {
        match self {
            Kind::Contact => CONTACT,
            Kind::Event => EVENT,
        }
    }

    pub(crate) fn spec(self, name: &str) -> Option<&'static Spec> {
        self.specs().iter().find(|spec| spec.name == name)
    }

    /// What is asked of an item: everything that we read.
    pub(crate) fn write_shape(self, out: &mut Writer, extended: &[String], fields: &[Name]) {
        // Fields of events are made of more than one property each.
        let wanted =
            |name: &str| self == Kind::Event || fields.is_empty() || fields.iter().any(|field| **field == *name);
        let mut elements: Vec<&str> = BESIDE.to_vec();
        if self == Kind::Event {
            elements.extend(BESIDE_EVENT);
        }
        let mut tags = Vec::new();
        for spec in self.specs().iter().filter(|spec| wanted(spec.name)) {
            match spec.place {
                Place::Element(_) if spec.shape == crate::fields::Shape::Own => {}
                Place::Element(name) | Place::Entry(name, ..) if !elements.contains(&name) => elements.push(name),
                Place::Address(..) if !elements.contains(&"PhysicalAddresses") => elements.push("PhysicalAddresses"),
                Place::Tag(_) | Place::Numbered(_) => tags.push(spec.place),
                _ => {}
            }
        }
        out.start("m:ItemShape")
            .leaf("t:BaseShape", "IdOnly")
            .leaf("t:BodyType", "Text")
            .start("t:AdditionalProperties");
        for element in elements {
            out.empty("t:FieldURI", &[("FieldURI", &uri(element))]);
        }
        tags.into_iter().for_each(|tag| tag.write_uri(out));
        out.empty("t:ExtendedFieldURI", &[("PropertyTag", SEARCH_KEY), ("PropertyType", "Binary")]);
        for name in [KEY, UID] {
            write_own_uri(out, name);
        }
        for name in extended.iter().filter(|name| wanted(&format!("{EXTENDED}{name}"))) {
            write_own_uri(out, &property_of(name));
        }
        out.end().end();
    }

    fn entity_of(self, extended: &[String]) -> Entity {
        let mut fields: Vec<Field> = self
            .specs()
            .iter()
            .map(|spec| {
                let field = Field::new(spec.name, spec.kind).path(spec.path);
                let field = Field { length: spec.length(), writable: spec.writable, ..field };
                if spec.kind == FieldType::Email { field.caseless() } else { field }
            })
            .collect();
        for name in extended {
            let path = format!("{EXTENDED}{name}");
            fields.push(Field::new(path.as_str(), FieldType::Text).path(path.as_str()));
        }
        if self == Kind::Event {
            fields.push(overrides::family());
        }
        let (label, kind) = match self {
            Kind::Contact => ("Contacts", EntityKind::Contact),
            Kind::Event => ("Calendar", EntityKind::Event),
        };
        Entity {
            name: self.entity().to_owned(),
            label: label.to_owned(),
            kind,
            fields,
            selectors: vec![FOLDER.to_owned()],
        }
    }
}

/// Fields that are kept as named properties, under the names that the settings list.
pub(crate) const EXTENDED: &str = "extended/";

/// The property that keeps `extended/NAME`; the connector of the same mailboxes in the cloud calls it so, too.
pub(crate) fn property_of(name: &str) -> String {
    format!("Pairwise-{name}")
}

/// Both kinds, or one of them.
pub(crate) fn catalogue(only: Option<Kind>, extended: &[String]) -> Catalogue {
    let wanted = Kind::ALL.into_iter().filter(|kind| only.is_none_or(|only| only == *kind));
    Catalogue { entities: wanted.map(|kind| kind.entity_of(extended)).collect() }
}
