//! Properties of items: how EWS names them, and where they lie in the store.
//!
//! An item's fields in the store bear the names of EWS elements: `GivenName`, `EmailAddresses/EmailAddress1`,
//! `PhysicalAddresses/Business/Street`, `Categories`. A property that has an element is stored under it, however it was
//! written: given name and property 0x3A06 are one. Properties without an element are stored as
//! `{c11ff724-aa03-4555-9952-8fa248a11c3e}/PairwiseKey`, `{…}/0x8062` or `0x3a45`.

use roxmltree::Node;
use serde_json::{Value, json};

use super::schema;
use super::xml::{Fault, Out, Problem};
use crate::store::Fields;

/// The longest text that a property of a contact holds, in UTF-16 code units. *Assumption*: Outlook's own limit; the store
/// takes more in some of them.
pub(super) const LONGEST: usize = 255;

const ADDRESS: &str = "{00062004-0000-0000-c000-000000000046}";
const COMMON: &str = "{00062008-0000-0000-c000-000000000046}";
const APPOINTMENT: &str = "{00062002-0000-0000-c000-000000000046}";
const PUBLIC_STRINGS: &str = "{00020329-0000-0000-c000-000000000046}";
const MEETING: &str = "{6ed8da90-450b-101b-98da-00aa003f1305}";

/// Properties that have an element: tag, or place in a property set.
const TAGS: &[(u16, &str)] = &[
    (0x0036, "Sensitivity"),
    (0x0037, "Subject"),
    (0x001a, "ItemClass"),
    (0x1000, "Body"),
    (0x3001, "DisplayName"),
    (0x3a02, "PhoneNumbers/Callback"),
    (0x3a05, "Generation"),
    (0x3a06, "GivenName"),
    (0x3a08, "PhoneNumbers/BusinessPhone"),
    (0x3a09, "PhoneNumbers/HomePhone"),
    (0x3a0a, "Initials"),
    (0x3a11, "Surname"),
    (0x3a16, "CompanyName"),
    (0x3a17, "JobTitle"),
    (0x3a18, "Department"),
    (0x3a19, "OfficeLocation"),
    (0x3a1a, "PhoneNumbers/PrimaryPhone"),
    (0x3a1b, "PhoneNumbers/BusinessPhone2"),
    (0x3a1c, "PhoneNumbers/MobilePhone"),
    (0x3a1d, "PhoneNumbers/RadioPhone"),
    (0x3a1e, "PhoneNumbers/CarPhone"),
    (0x3a1f, "PhoneNumbers/OtherTelephone"),
    (0x3a21, "PhoneNumbers/Pager"),
    (0x3a23, "PhoneNumbers/OtherFax"),
    (0x3a24, "PhoneNumbers/BusinessFax"),
    (0x3a25, "PhoneNumbers/HomeFax"),
    (0x3a2c, "PhoneNumbers/Telex"),
    (0x3a2d, "PhoneNumbers/Isdn"),
    (0x3a2e, "PhoneNumbers/AssistantPhone"),
    (0x3a2f, "PhoneNumbers/HomePhone2"),
    (0x3a30, "AssistantName"),
    (0x3a41, "WeddingAnniversary"),
    (0x3a42, "Birthday"),
    (0x3a44, "MiddleName"),
    (0x3a46, "Profession"),
    (0x3a48, "SpouseName"),
    (0x3a4b, "PhoneNumbers/TtyTddPhone"),
    (0x3a4e, "Manager"),
    (0x3a4f, "Nickname"),
    (0x3a51, "BusinessHomePage"),
    (0x3a57, "PhoneNumbers/CompanyMainPhone"),
    (0x3a58, "Children"),
    (0x3a59, "PhysicalAddresses/Home/City"),
    (0x3a5a, "PhysicalAddresses/Home/CountryOrRegion"),
    (0x3a5b, "PhysicalAddresses/Home/PostalCode"),
    (0x3a5c, "PhysicalAddresses/Home/State"),
    (0x3a5d, "PhysicalAddresses/Home/Street"),
    (0x3a5f, "PhysicalAddresses/Other/City"),
    (0x3a60, "PhysicalAddresses/Other/CountryOrRegion"),
    (0x3a61, "PhysicalAddresses/Other/PostalCode"),
    (0x3a62, "PhysicalAddresses/Other/State"),
    (0x3a63, "PhysicalAddresses/Other/Street"),
];

const NAMED: &[(&str, u32, &str)] = &[
    (ADDRESS, 0x8005, "FileAs"),
    (ADDRESS, 0x8022, "PostalAddressIndex"),
    (ADDRESS, 0x8045, "PhysicalAddresses/Business/Street"),
    (ADDRESS, 0x8046, "PhysicalAddresses/Business/City"),
    (ADDRESS, 0x8047, "PhysicalAddresses/Business/State"),
    (ADDRESS, 0x8048, "PhysicalAddresses/Business/PostalCode"),
    (ADDRESS, 0x8049, "PhysicalAddresses/Business/CountryOrRegion"),
    (ADDRESS, 0x8062, "ImAddresses/ImAddress1"),
    (ADDRESS, 0x8083, "EmailAddresses/EmailAddress1"),
    (ADDRESS, 0x8093, "EmailAddresses/EmailAddress2"),
    (ADDRESS, 0x80a3, "EmailAddresses/EmailAddress3"),
    (COMMON, 0x8539, "Companies"),
];

/// Elements that hold a list of texts.
const LISTS: &[&str] = &["Categories", "Children", "Companies"];
/// Elements that hold entries with a key, and the word for them in a field's name.
const INDEXED: &[(&str, &str)] =
    &[("EmailAddresses", "EmailAddress"), ("PhoneNumbers", "PhoneNumber"), ("ImAddresses", "ImAddress")];
/// Elements that hold attendees.
const PEOPLE: &[&str] = &["RequiredAttendees", "OptionalAttendees", "Resources"];
/// Elements that a client may not write.
const COMPUTED: &[&str] = &[
    "ItemId",
    "ParentFolderId",
    "DateTimeReceived",
    "Size",
    "IsDraft",
    "DateTimeSent",
    "DateTimeCreated",
    "HasAttachments",
    "LastModifiedName",
    "LastModifiedTime",
    "CompleteName",
    "HasPicture",
    "IsMeeting",
    "IsCancelled",
    "IsRecurring",
    "MeetingRequestWasSent",
    "CalendarItemType",
    "MyResponseType",
    "Organizer",
    "AppointmentSequenceNumber",
    "AppointmentState",
    "FirstOccurrence",
    "LastOccurrence",
    "ModifiedOccurrences",
    "DeletedOccurrences",
    "IsOrganizer",
    "OriginalStart",
    "RecurrenceId",
    "DisplayCc",
    "DisplayTo",
    "EffectiveRights",
    "ConversationId",
    "InstanceKey",
];

/// What the names of fields begin with.
const URIS: &[&str] = &[
    "folder",
    "item",
    "message",
    "meeting",
    "meetingRequest",
    "calendar",
    "task",
    "contacts",
    "distributionlist",
    "postitem",
    "conversation",
    "persona",
];

/// A property, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Where it lies in the store; of an element with entries, all of them.
    pub(super) key: String,
    /// What names it in the answer: the attributes of the extended field, if it is one.
    pub(super) extended: Option<Vec<(String, String)>>,
    /// As a field's name, for messages.
    pub(super) uri: String,
}

/// Reads `FieldURI`, `IndexedFieldURI` or `ExtendedFieldURI`.
pub(super) fn path(node: Node<'_, '_>) -> Result<Path, Fault> {
    let attribute = |name: &str| node.attribute(name).unwrap_or_default();
    let uri = attribute("FieldURI").to_owned();
    match node.tag_name().name() {
        "FieldURI" => {
            let element = uri.split_once(':').map_or("", |(_, element)| element);
            // Names of newer schemas than the one whose order we know are taken, and never answered.
            if !URIS.iter().any(|prefix| uri.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(':'))) {
                return Err(Fault::new(
                    "ErrorSchemaValidation",
                    format!(
                        "The request failed schema validation: The 'FieldURI' attribute is invalid - The value '{uri}' is invalid according to its datatype."
                    ),
                ));
            }
            Ok(Path { key: element.to_owned(), extended: None, uri })
        }
        "IndexedFieldURI" => {
            let index = attribute("FieldIndex");
            let key = match uri.strip_prefix("contacts:PhysicalAddress:") {
                Some(part) => format!("PhysicalAddresses/{index}/{part}"),
                None => {
                    let word = uri.strip_prefix("contacts:").unwrap_or_default();
                    let parent = INDEXED.iter().find(|(_, name)| *name == word).map_or("", |(parent, _)| parent);
                    format!("{parent}/{index}")
                }
            };
            Ok(Path { key, extended: None, uri })
        }
        _ => {
            let attributes: Vec<(String, String)> = node
                .attributes()
                .map(|attribute| (attribute.name().to_owned(), attribute.value().to_owned()))
                .collect();
            let name = extended_name(node).ok_or_else(|| {
                Fault::new(
                    "ErrorInvalidExtendedProperty",
                    "The combination of extended property attributes is invalid.",
                )
            })?;
            Ok(Path { key: element_of(&name).unwrap_or(name.clone()), extended: Some(attributes), uri: name })
        }
    }
}

/// `{set}/name`, `{set}/0x8083`, `0x3a45`.
fn extended_name(node: Node<'_, '_>) -> Option<String> {
    if let Some(tag) = node.attribute("PropertyTag") {
        return Some(format!("{:#06x}", number(tag)?));
    }
    let set = match (node.attribute("DistinguishedPropertySetId"), node.attribute("PropertySetId")) {
        (Some("Address"), _) => ADDRESS.to_owned(),
        (Some("Common"), _) => COMMON.to_owned(),
        (Some("Appointment"), _) => APPOINTMENT.to_owned(),
        (Some("PublicStrings"), _) => PUBLIC_STRINGS.to_owned(),
        (Some("Meeting"), _) => MEETING.to_owned(),
        (Some(other), _) => format!("{{{}}}", other.to_lowercase()),
        (None, Some(guid)) => format!("{{{}}}", guid.to_lowercase()),
        (None, None) => return None,
    };
    match (node.attribute("PropertyName"), node.attribute("PropertyId")) {
        (Some(name), None) => Some(format!("{set}/{name}")),
        (None, Some(id)) => Some(format!("{set}/{:#06x}", number(id)?)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The element that shows an extended property, if there is one.
fn element_of(name: &str) -> Option<String> {
    if name == format!("{PUBLIC_STRINGS}/Keywords") {
        return Some("Categories".to_owned());
    }
    let tag = number(name).and_then(|tag| TAGS.iter().find(|(known, _)| u32::from(*known) == tag).map(|(_, key)| *key));
    let named = || {
        let (set, id) = name.split_once('/')?;
        NAMED.iter().find(|(known, of, _)| *known == set && number(id) == Some(*of)).map(|(_, _, key)| *key)
    };
    tag.or_else(named).map(str::to_owned)
}

fn texts(node: Node<'_, '_>) -> Value {
    node.children().filter(Node::is_element).map(|child| child.text().unwrap_or_default()).collect()
}

fn text_of(node: Node<'_, '_>) -> Value {
    Value::from(node.text().unwrap_or_default())
}

/// Reads the elements of an item into fields.
pub(super) fn read_item(item: Node<'_, '_>) -> Result<Fields, Problem> {
    let mut fields = Fields::new();
    for node in item.children().filter(Node::is_element) {
        read_element(node, &mut fields)?;
    }
    Ok(fields)
}

fn read_element(node: Node<'_, '_>, fields: &mut Fields) -> Result<(), Problem> {
    let name = node.tag_name().name();
    let mut put = |key: String, value: Value| {
        limit(&key, &value)?;
        fields.insert(key, value);
        Ok(())
    };
    if COMPUTED.contains(&name) {
        return Err(Problem::of_field(
            "ErrorInvalidPropertySet",
            "Set action is invalid for property.",
            &format!("item:{name}"),
        ));
    }
    let children = || node.children().filter(Node::is_element);
    if LISTS.contains(&name) {
        return put(name.to_owned(), texts(node));
    }
    if INDEXED.iter().any(|(parent, _)| *parent == name) {
        return children().try_for_each(|entry| {
            put(format!("{name}/{}", entry.attribute("Key").unwrap_or_default()), text_of(entry))
        });
    }
    if PEOPLE.contains(&name) {
        return put(name.to_owned(), children().map(attendee).collect());
    }
    match name {
        "PhysicalAddresses" => {
            for entry in children() {
                let key = entry.attribute("Key").unwrap_or_default();
                for part in entry.children().filter(Node::is_element) {
                    put(format!("PhysicalAddresses/{key}/{}", part.tag_name().name()), text_of(part))?;
                }
            }
            Ok(())
        }
        "ExtendedProperty" => {
            let Some(uri) = children().find(|child| child.tag_name().name() == "ExtendedFieldURI") else {
                return Ok(());
            };
            let path = path(uri).map_err(|fault| Problem::new("ErrorInvalidExtendedProperty", fault.text))?;
            match children().next_back() {
                Some(value) if value.tag_name().name() == "Values" => put(path.key, texts(value)),
                Some(value) => put(path.key, text_of(value)),
                None => Ok(()),
            }
        }
        "Body" => {
            put("BodyType".to_owned(), Value::from(node.attribute("BodyType").unwrap_or("Text")))?;
            put(name.to_owned(), text_of(node))
        }
        "StartTimeZone" | "EndTimeZone" | "MeetingTimeZone" => {
            let id = node.attribute("Id").or(node.attribute("TimeZoneName")).unwrap_or_default();
            put(name.to_owned(), Value::from(id))
        }
        "Recurrence" => put(name.to_owned(), recurrence(node)),
        _ => put(name.to_owned(), text_of(node)),
    }
}

/// `[pattern, range]`, each with its name and the texts of its elements.
fn recurrence(node: Node<'_, '_>) -> Value {
    node.children()
        .filter(Node::is_element)
        .map(|part| {
            let mut inner = Fields::from_iter([("name".to_owned(), Value::from(part.tag_name().name()))]);
            for child in part.children().filter(Node::is_element) {
                inner.insert(child.tag_name().name().to_owned(), text_of(child));
            }
            Value::Object(inner)
        })
        .collect()
}

fn attendee(node: Node<'_, '_>) -> Value {
    let inside = |name: &str| {
        let found = node.descendants().find(|child| child.tag_name().name() == name);
        found.and_then(|child| child.text()).unwrap_or_default().to_owned()
    };
    let address = inside("EmailAddress");
    let name = Some(inside("Name")).filter(|name| !name.is_empty()).unwrap_or_else(|| address.clone());
    // What a client says of an answer is ignored: only the attendee gives one.
    json!({ "Name": name, "EmailAddress": address, "ResponseType": "Unknown" })
}

fn limit(key: &str, value: &Value) -> Result<(), Problem> {
    let free = ["Body", "PhysicalAddresses", "{", "0x", "Subject", "Location", "Children"];
    let long = |text: &str| text.encode_utf16().count() > LONGEST && !free.iter().any(|name| key.starts_with(name));
    match value {
        Value::String(text) if long(text) => Err(Problem::of_field(
            "ErrorDataSizeLimitExceeded",
            format!("The data is larger than the maximum allowed size of {LONGEST} characters."),
            &uri_of(key),
        )),
        _ => Ok(()),
    }
}

/// The name of the field that a stored property belongs to, for messages.
pub(super) fn uri_of(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    match parts[..] {
        ["PhysicalAddresses", _, part] => format!("contacts:PhysicalAddress:{part}"),
        [parent, _] => match INDEXED.iter().find(|(known, _)| *known == parent) {
            Some((_, word)) => format!("contacts:{word}"),
            None => key.to_owned(),
        },
        _ => {
            let of = |kind: &str| schema::children(kind).contains(&key);
            let prefix = if of("Item") {
                "item"
            } else if of("CalendarItem") {
                "calendar"
            } else {
                "contacts"
            };
            format!("{prefix}:{key}")
        }
    }
}

/// Writes one property as the element that shows it. `wanted` tells which entries of an element with entries are asked for.
pub(super) fn write_element(out: &mut Out, name: &str, fields: &Fields, wanted: impl Fn(&str) -> bool) {
    let text = |key: &str| fields.get(key).map(shown).filter(|text| !text.is_empty());
    if LISTS.contains(&name) {
        if let Some(Value::Array(list)) = fields.get(name).filter(|list| list.as_array().is_some_and(|l| !l.is_empty()))
        {
            out.start(&format!("t:{name}"));
            out.leaves("t:String", list).end();
        }
        return;
    }
    if INDEXED.iter().any(|(parent, _)| *parent == name) {
        let entries: Vec<(&str, String)> = entries(fields, name, &wanted).collect();
        if !entries.is_empty() {
            out.start(&format!("t:{name}"));
            for (key, value) in entries {
                out.leaf_with("t:Entry", &[("Key", key)], &value);
            }
            out.end();
        }
        return;
    }
    match name {
        "PhysicalAddresses" => {
            let mut inner = Out::new();
            for kind in ["Business", "Home", "Other"] {
                let prefix = format!("PhysicalAddresses/{kind}");
                let parts: Vec<(&str, String)> = schema::children("PhysicalAddresses/Entry")
                    .into_iter()
                    .filter(|part| wanted(&format!("{prefix}/{part}")))
                    .filter_map(|part| Some((part, text(&format!("{prefix}/{part}"))?)))
                    .collect();
                if !parts.is_empty() {
                    inner.start_with("t:Entry", &[("Key", kind)]);
                    for (part, value) in parts {
                        inner.leaf(&format!("t:{part}"), &value);
                    }
                    inner.end();
                }
            }
            let inner = inner.done();
            if !inner.is_empty() {
                out.start("t:PhysicalAddresses").raw(&inner).end();
            }
        }
        "StartTimeZone" | "EndTimeZone" => {
            if let Some(id) = text(name) {
                out.empty(&format!("t:{name}"), &[("Id", &id), ("Name", &id)]);
            }
        }
        "Recurrence" => {
            if let Some(Value::Array(parts)) = fields.get(name) {
                write_recurrence(out, parts);
            }
        }
        _ if PEOPLE.contains(&name) => {
            if let Some(Value::Array(people)) = fields.get(name).filter(|l| l.as_array().is_some_and(|l| !l.is_empty()))
            {
                out.start(&format!("t:{name}"));
                for person in people {
                    out.start("t:Attendee");
                    mailbox(out, &shown(&person["Name"]), &shown(&person["EmailAddress"]));
                    out.leaf("t:ResponseType", &shown(&person["ResponseType"])).end();
                }
                out.end();
            }
        }
        _ => {
            if let Some(value) = text(name) {
                out.leaf(&format!("t:{name}"), &value);
            }
        }
    }
}

fn write_recurrence(out: &mut Out, parts: &[Value]) {
    out.start("t:Recurrence");
    for part in parts {
        let name = shown(&part["name"]);
        out.start(&format!("t:{name}"));
        for child in schema::children(&name) {
            if let Some(value) = part.get(child) {
                out.leaf(&format!("t:{child}"), &shown(value));
            }
        }
        out.end();
    }
    out.end();
}

pub(super) fn mailbox(out: &mut Out, name: &str, address: &str) {
    out.start("t:Mailbox")
        .leaf("t:Name", name)
        .leaf("t:EmailAddress", address)
        .leaf("t:RoutingType", "SMTP")
        .leaf("t:MailboxType", "Mailbox")
        .end();
}

fn entries<'a>(
    fields: &'a Fields,
    parent: &'a str,
    wanted: &impl Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a str, String)> {
    fields.iter().filter_map(move |(key, value)| {
        let entry = key.strip_prefix(parent)?.strip_prefix('/')?;
        let value = shown(value);
        (!value.is_empty() && wanted(key)).then_some((entry, value))
    })
}

/// Writes an extended property, with the attributes that it was asked for by.
pub(super) fn write_extended(out: &mut Out, attributes: &[(String, String)], value: &Value) {
    let attributes: Vec<(&str, &str)> =
        attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    out.start("t:ExtendedProperty").empty("t:ExtendedFieldURI", &attributes);
    match value {
        Value::Array(list) => {
            out.start("t:Values");
            out.leaves("t:Value", list).end();
        }
        value => drop(out.leaf("t:Value", &shown(value))),
    }
    out.end();
}

/// A stored value as text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
