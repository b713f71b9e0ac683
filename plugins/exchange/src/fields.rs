//! The fields of contacts and events: their names, their canonical paths, and where EWS keeps them. In the order of the schema.

use pairwise_plugin_api::FieldType;
use pairwise_plugin_api::FieldType::{Bool, DateTime, Email, Int, Phone, Text, TextList, Url};

use crate::xml::Writer;

/// The property set of all installations, shared with the connector of the same mailboxes in the cloud.
pub(crate) const OWN_SET: &str = "c11ff724-aa03-4555-9952-8fa248a11c3e";
/// The key of the create that made an item.
pub(crate) const KEY: &str = "PairwiseKey";
/// The UID that an item shares with its counterpart.
pub(crate) const UID: &str = "PairwiseUid";
/// What an item keeps wherever it is moved (`PidTagSearchKey`), and a copy does not share.
pub(crate) const SEARCH_KEY: &str = "0x300B";

/// Most of a contact's texts hold so much, in UTF-16 code units. *Assumption*: Outlook's own limit; servers take more in some.
const LONGEST: u32 = 255;

/// Where EWS keeps a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// An element of its own.
    Element(&'static str),
    /// An entry of an element, by its key: `("EmailAddresses", "EmailAddress", "EmailAddress1")`.
    Entry(&'static str, &'static str, &'static str),
    /// A part of an address.
    Address(&'static str, &'static str),
    /// A property without an element, by its tag.
    Tag(&'static str),
    /// The same, by its number among those of addresses.
    Numbered(&'static str),
}

/// How a field's value is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    /// Lines end in CR LF there.
    Lines,
    /// A day, kept as a moment.
    Day,
    /// A list of texts.
    Strings,
    /// A word for a word; the first one stands for no value.
    Word(&'static [(&'static str, &'static str)]),
    /// It takes more than one property: `event.rs` reads and writes it.
    Own,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) kind: FieldType,
    pub(crate) place: Place,
    pub(crate) shape: Shape,
    pub(crate) writable: bool,
}

impl Spec {
    /// The longest text.
    pub(crate) fn length(&self) -> Option<u32> {
        let limited = matches!(self.kind, Text | Email | Phone | Url)
            && matches!(self.shape, Shape::Plain)
            && !matches!(self.place, Place::Address(..) | Place::Tag(_) | Place::Numbered(_));
        limited.then_some(LONGEST)
    }
}

const fn text(name: &'static str, path: &'static str) -> Spec {
    Spec { name, path, kind: Text, place: Place::Element(name), shape: Shape::Plain, writable: true }
}

const fn entry(kind: FieldType, of: (&'static str, &'static str), name: &'static str, path: &'static str) -> Spec {
    Spec { name, path, kind, place: Place::Entry(of.0, of.1, name), shape: Shape::Plain, writable: true }
}

const fn part(name: &'static str, of: (&'static str, &'static str), path: &'static str) -> Spec {
    Spec { name, path, kind: Text, place: Place::Address(of.0, of.1), shape: Shape::Plain, writable: true }
}

const fn own(name: &'static str, path: &'static str, kind: FieldType, writable: bool) -> Spec {
    Spec { name, path, kind, place: Place::Element(name), shape: Shape::Own, writable }
}

const MAIL: (&str, &str) = ("EmailAddresses", "EmailAddress");
const TEL: (&str, &str) = ("PhoneNumbers", "PhoneNumber");
const IM: (&str, &str) = ("ImAddresses", "ImAddress");

const SENSITIVITY: &[(&str, &str)] = &[
    ("Normal", ""),
    ("Private", "private"),
    ("Confidential", "secret"),
    ("Personal", "private"),
    ("Normal", "public"),
];
const PREFERRED: &[(&str, &str)] = &[("None", ""), ("Business", "work"), ("Home", "home"), ("Other", "other")];

const PRIVACY: Spec = Spec { shape: Shape::Word(SENSITIVITY), ..text("Sensitivity", "privacy") };
const IMPORTANCE: &[(&str, &str)] = &[("Normal", "normal"), ("Low", "low"), ("High", "high"), ("Normal", "")];

const BODY: Spec = Spec { shape: Shape::Lines, ..text("Body", "notes/1") };
const CATEGORIES: Spec = Spec { kind: TextList, shape: Shape::Strings, ..text("Categories", "keywords") };

/// Contacts.
pub(crate) const CONTACT: &[Spec] = &[
    PRIVACY,
    BODY,
    CATEGORIES,
    Spec { place: Place::Tag("0x3A45"), ..text("Title", "name/title") },
    Spec { place: Place::Numbered("32842"), ..text("BusinessPostOfficeBox", "") },
    Spec { place: Place::Tag("0x3A5E"), ..text("HomePostOfficeBox", "") },
    Spec { place: Place::Tag("0x3A64"), ..text("OtherPostOfficeBox", "") },
    Spec { place: Place::Tag("0x3A50"), kind: Url, ..text("PersonalHomePage", "links/home") },
    text("FileAs", ""),
    text("DisplayName", "name/full"),
    text("GivenName", "name/given"),
    text("Initials", ""),
    text("MiddleName", "name/given2"),
    text("Nickname", "nicknames/1/name"),
    text("CompanyName", "organizations/1/name"),
    entry(Email, MAIL, "EmailAddress1", "emails/1/address"),
    entry(Email, MAIL, "EmailAddress2", "emails/2/address"),
    entry(Email, MAIL, "EmailAddress3", "emails/3/address"),
    part("BusinessStreet", ("Business", "Street"), "addresses/work/street"),
    part("BusinessCity", ("Business", "City"), "addresses/work/locality"),
    part("BusinessState", ("Business", "State"), "addresses/work/region"),
    part("BusinessCountryOrRegion", ("Business", "CountryOrRegion"), "addresses/work/country"),
    part("BusinessPostalCode", ("Business", "PostalCode"), "addresses/work/postcode"),
    part("HomeStreet", ("Home", "Street"), "addresses/home/street"),
    part("HomeCity", ("Home", "City"), "addresses/home/locality"),
    part("HomeState", ("Home", "State"), "addresses/home/region"),
    part("HomeCountryOrRegion", ("Home", "CountryOrRegion"), "addresses/home/country"),
    part("HomePostalCode", ("Home", "PostalCode"), "addresses/home/postcode"),
    part("OtherStreet", ("Other", "Street"), "addresses/other/street"),
    part("OtherCity", ("Other", "City"), "addresses/other/locality"),
    part("OtherState", ("Other", "State"), "addresses/other/region"),
    part("OtherCountryOrRegion", ("Other", "CountryOrRegion"), "addresses/other/country"),
    part("OtherPostalCode", ("Other", "PostalCode"), "addresses/other/postcode"),
    entry(Phone, TEL, "AssistantPhone", "phones/assistant/number"),
    entry(Phone, TEL, "BusinessFax", "phones/workFax/number"),
    entry(Phone, TEL, "BusinessPhone", "phones/work/number"),
    entry(Phone, TEL, "BusinessPhone2", "phones/work2/number"),
    entry(Phone, TEL, "Callback", ""),
    entry(Phone, TEL, "CarPhone", "phones/car/number"),
    entry(Phone, TEL, "CompanyMainPhone", "phones/company/number"),
    entry(Phone, TEL, "HomeFax", "phones/homeFax/number"),
    entry(Phone, TEL, "HomePhone", "phones/home/number"),
    entry(Phone, TEL, "HomePhone2", "phones/home2/number"),
    entry(Phone, TEL, "Isdn", ""),
    entry(Phone, TEL, "MobilePhone", "phones/mobile/number"),
    entry(Phone, TEL, "OtherFax", "phones/otherFax/number"),
    entry(Phone, TEL, "OtherTelephone", "phones/other/number"),
    entry(Phone, TEL, "Pager", "phones/pager/number"),
    entry(Phone, TEL, "PrimaryPhone", ""),
    entry(Phone, TEL, "RadioPhone", ""),
    entry(Phone, TEL, "Telex", ""),
    entry(Phone, TEL, "TtyTddPhone", ""),
    text("AssistantName", "relations/assistant"),
    Spec { kind: FieldType::Date, shape: Shape::Day, ..text("Birthday", "anniversaries/birth") },
    Spec { kind: Url, ..text("BusinessHomePage", "links/work") },
    Spec { kind: TextList, shape: Shape::Strings, ..text("Children", "") },
    Spec { kind: TextList, shape: Shape::Strings, ..text("Companies", "") },
    text("Department", "organizations/1/unit"),
    text("Generation", "name/generation"),
    entry(Text, IM, "ImAddress1", ""),
    entry(Text, IM, "ImAddress2", ""),
    entry(Text, IM, "ImAddress3", ""),
    text("JobTitle", "titles/1/name"),
    text("Manager", "relations/manager"),
    text("OfficeLocation", ""),
    Spec { shape: Shape::Word(PREFERRED), ..text("PostalAddressIndex", "addresses/preferred") },
    text("Profession", ""),
    text("SpouseName", "relations/spouse"),
    text("Surname", "name/surname"),
    Spec { kind: FieldType::Date, shape: Shape::Day, ..text("WeddingAnniversary", "anniversaries/wedding") },
];

/// Busy is what an event is that says nothing of it.
const BUSY: &[(&str, &str)] = &[
    ("Busy", ""),
    ("Busy", "busy"),
    ("Free", "free"),
    ("Tentative", "busy"),
    ("OOF", "busy"),
    ("WorkingElsewhere", "free"),
];

/// Events.
pub(crate) const EVENT: &[Spec] = &[
    text("Subject", "title"),
    PRIVACY,
    Spec { path: "description", ..BODY },
    CATEGORIES,
    Spec { shape: Shape::Word(IMPORTANCE), ..text("Importance", "") },
    own("ReminderMinutesBeforeStart", "alerts/1/minutes", Int, true),
    own("UID", "uid", Text, false),
    own("RecurrenceId", "recurrenceId", DateTime, false),
    own("Start", "start", DateTime, true),
    own("End", "end", DateTime, true),
    own("IsAllDayEvent", "showWithoutTime", Bool, true),
    Spec { shape: Shape::Word(BUSY), ..text("LegacyFreeBusyStatus", "freeBusyStatus") },
    text("Location", "locations/1/name"),
    own("IsCancelled", "status", Text, false),
    own("recurring", "recurring", Bool, false),
    own("isOrganizer", "isOrganizer", Bool, false),
    own("organizerIsInternal", "organizerIsInternal", Bool, false),
    own("recurrence", "ical/property/RRULE", TextList, true),
    own("leftOut", "ical/property/EXDATE", TextList, false),
    own("StartTimeZone", "timeZone", Text, true),
];

impl Place {
    /// The property as a request names it: `contacts:GivenName`.
    pub(crate) fn write_uri(self, out: &mut Writer) {
        match self {
            Place::Element(name) => out.empty("t:FieldURI", &[("FieldURI", &uri(name))]),
            Place::Entry(_, word, key) => {
                out.empty("t:IndexedFieldURI", &[("FieldURI", &format!("contacts:{word}")), ("FieldIndex", key)])
            }
            Place::Address(kind, part) => {
                let uri = format!("contacts:PhysicalAddress:{part}");
                out.empty("t:IndexedFieldURI", &[("FieldURI", &uri), ("FieldIndex", kind)])
            }
            Place::Tag(tag) => out.empty("t:ExtendedFieldURI", &[("PropertyTag", tag), ("PropertyType", "String")]),
            Place::Numbered(id) => out.empty(
                "t:ExtendedFieldURI",
                &[("DistinguishedPropertySetId", "Address"), ("PropertyId", id), ("PropertyType", "String")],
            ),
        };
    }
}

/// The name of the field that an element belongs to.
pub(crate) fn uri(element: &str) -> String {
    const ITEM: &[&str] = &[
        "ItemClass",
        "Subject",
        "Sensitivity",
        "Body",
        "Categories",
        "Importance",
        "ReminderIsSet",
        "ReminderMinutesBeforeStart",
        "LastModifiedTime",
        "DateTimeCreated",
        "ParentFolderId",
    ];
    const CALENDAR: &[&str] = &[
        "UID",
        "RecurrenceId",
        "Start",
        "End",
        "OriginalStart",
        "IsAllDayEvent",
        "LegacyFreeBusyStatus",
        "Location",
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
        "EndTimeZone",
        "IsOrganizer",
    ];
    let group = if ITEM.contains(&element) {
        "item"
    } else if CALENDAR.contains(&element) {
        "calendar"
    } else {
        "contacts"
    };
    format!("{group}:{element}")
}

/// A property of our own set.
pub(crate) fn write_own_uri(out: &mut Writer, name: &str) {
    out.empty("t:ExtendedFieldURI", &[("PropertySetId", OWN_SET), ("PropertyName", name), ("PropertyType", "String")]);
}
