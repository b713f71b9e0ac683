//! Contacts: which field stands where in Graph's JSON, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use pairwise_http::{Json, Object, json};
use pairwise_plugin_api::{Entity, EntityKind, Field, FieldType, Fields, Name, Value};

use crate::property::{self, OWN, POSTAL_ADDRESS, SENSITIVITY};

/// Where a field stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A member of the contact.
    Text(&'static str),
    /// A date, kept as a moment of that day.
    Date(&'static str),
    /// A list of texts.
    List(&'static str),
    /// One of a list of numbers.
    Nth(&'static str, usize),
    /// One of the e-mail addresses.
    Mail(usize),
    /// A part of an address.
    Part(&'static str, &'static str),
    /// A property that only an extended property tells.
    Property(&'static str),
    /// The same, a date.
    PropertyDate(&'static str),
    /// The same, a number that stands for a word.
    PropertyWord(&'static str, &'static [(&'static str, &'static str)]),
}

use Place::{Date, List, Mail, Nth, Part, Property, PropertyDate, PropertyWord, Text};

const PRIVACY: &[(&str, &str)] = &[("0", "public"), ("1", "private"), ("2", "private"), ("3", "secret")];
const PREFERRED: &[(&str, &str)] = &[("1", "home"), ("2", "work"), ("3", "other")];

/// The native name, the canonical path, the place. Outlook's slots that Graph has no member for are properties of the store.
const FIELDS: &[(&str, &str, Place)] = &[
    ("displayName", "name/full", Text("displayName")),
    ("givenName", "name/given", Text("givenName")),
    ("middleName", "name/given2", Text("middleName")),
    ("surname", "name/surname", Text("surname")),
    ("title", "name/title", Text("title")),
    ("generation", "name/generation", Text("generation")),
    ("nickName", "nicknames/1/name", Text("nickName")),
    ("initials", "", Text("initials")),
    ("fileAs", "", Text("fileAs")),
    ("companyName", "organizations/1/name", Text("companyName")),
    ("department", "organizations/1/unit", Text("department")),
    ("jobTitle", "titles/1/name", Text("jobTitle")),
    ("profession", "", Text("profession")),
    ("officeLocation", "", Text("officeLocation")),
    ("manager", "relations/manager", Text("manager")),
    ("assistantName", "relations/assistant", Text("assistantName")),
    ("spouseName", "relations/spouse", Text("spouseName")),
    ("children", "", List("children")),
    ("yomiGivenName", "", Text("yomiGivenName")),
    ("yomiSurname", "", Text("yomiSurname")),
    ("yomiCompanyName", "", Text("yomiCompanyName")),
    ("emailAddresses/1", "emails/1/address", Mail(0)),
    ("emailAddresses/2", "emails/2/address", Mail(1)),
    ("emailAddresses/3", "emails/3/address", Mail(2)),
    ("businessPhones/1", "phones/work/number", Nth("businessPhones", 0)),
    ("businessPhones/2", "phones/work2/number", Nth("businessPhones", 1)),
    ("homePhones/1", "phones/home/number", Nth("homePhones", 0)),
    ("homePhones/2", "phones/home2/number", Nth("homePhones", 1)),
    ("mobilePhone", "phones/mobile/number", Text("mobilePhone")),
    ("businessFax", "phones/workFax/number", Property("String 0x3A24")),
    ("homeFax", "phones/homeFax/number", Property("String 0x3A25")),
    ("otherFax", "phones/otherFax/number", Property("String 0x3A23")),
    ("pager", "phones/pager/number", Property("String 0x3A21")),
    ("otherPhone", "phones/other/number", Property("String 0x3A1F")),
    ("assistantPhone", "phones/assistant/number", Property("String 0x3A2E")),
    ("companyPhone", "phones/company/number", Property("String 0x3A57")),
    ("carPhone", "phones/car/number", Property("String 0x3A1E")),
    ("imAddresses", "", List("imAddresses")),
    ("businessHomePage", "links/work", Text("businessHomePage")),
    ("businessAddress/street", "addresses/work/street", Part("businessAddress", "street")),
    ("businessAddress/city", "addresses/work/locality", Part("businessAddress", "city")),
    ("businessAddress/state", "addresses/work/region", Part("businessAddress", "state")),
    ("businessAddress/postalCode", "addresses/work/postcode", Part("businessAddress", "postalCode")),
    ("businessAddress/countryOrRegion", "addresses/work/country", Part("businessAddress", "countryOrRegion")),
    ("homeAddress/street", "addresses/home/street", Part("homeAddress", "street")),
    ("homeAddress/city", "addresses/home/locality", Part("homeAddress", "city")),
    ("homeAddress/state", "addresses/home/region", Part("homeAddress", "state")),
    ("homeAddress/postalCode", "addresses/home/postcode", Part("homeAddress", "postalCode")),
    ("homeAddress/countryOrRegion", "addresses/home/country", Part("homeAddress", "countryOrRegion")),
    ("otherAddress/street", "addresses/other/street", Part("otherAddress", "street")),
    ("otherAddress/city", "addresses/other/locality", Part("otherAddress", "city")),
    ("otherAddress/state", "addresses/other/region", Part("otherAddress", "state")),
    ("otherAddress/postalCode", "addresses/other/postcode", Part("otherAddress", "postalCode")),
    ("otherAddress/countryOrRegion", "addresses/other/country", Part("otherAddress", "countryOrRegion")),
    ("preferredAddress", "addresses/preferred", PropertyWord(POSTAL_ADDRESS, PREFERRED)),
    ("birthday", "anniversaries/birth", Date("birthday")),
    ("weddingAnniversary", "anniversaries/wedding", PropertyDate("SystemTime 0x3A41")),
    ("personalNotes", "notes/1", Text("personalNotes")),
    ("categories", "keywords", List("categories")),
    ("sensitivity", "privacy", PropertyWord(SENSITIVITY, PRIVACY)),
];

/// The member that holds the e-mail addresses.
const MAILS: &str = "emailAddresses";

/// Dates without a year are kept in this one, as Outlook does.
const NO_YEAR: &str = "1604";

/// Long texts; everything else is bounded by the store's columns.
const LONG: &[&str] = &["personalNotes", "imAddresses", "categories", "children"];

/// The longest text of an ordinary property, in UTF-16 code units. Assumption: the limit of Exchange's own address book.
const LENGTH: u32 = 255;

fn is_wanted(fields: &[Name], name: &Name) -> bool {
    fields.is_empty() || fields.contains(name)
}

/// One way of looking at contacts: the fixed fields and those that the settings add.
#[derive(Debug)]
pub(crate) struct Shape {
    places: Vec<(Name, Place)>,
    /// Fields `extended/NAME`, each with the id of its property.
    extended: Vec<(Name, String)>,
}

impl Shape {
    pub(crate) fn new(extended: &[String]) -> Self {
        let extended = extended.iter().map(|name| (Arc::from(format!("extended/{name}")), property::named(name)));
        let mut places: Vec<(Name, Place)> = FIELDS.iter().map(|(name, _, place)| (Arc::from(*name), *place)).collect();
        // In the order in which records hold them.
        places.sort_by(|(one, _), (other, _)| one.cmp(other));
        Shape { places, extended: extended.collect() }
    }

    pub(crate) fn entity(&self) -> Entity {
        let mut fields: Vec<Field> = FIELDS.iter().map(|(name, path, place)| field(name, path, *place)).collect();
        let extended = self.extended.iter().map(|(name, _)| Field {
            length: Some(LENGTH),
            ..Field::new(name.clone(), FieldType::Text).path(name.clone())
        });
        fields.extend(extended);
        Entity {
            name: "contact".to_owned(),
            label: "Contacts".to_owned(),
            kind: EntityKind::Contact,
            fields,
            selectors: vec![crate::folders::FOLDER.to_owned()],
        }
    }

    /// The members that are asked for, for these fields; none means all.
    pub(crate) fn select(&self, fields: &[Name]) -> String {
        let mut members = vec!["id", "changeKey", "parentFolderId", "createdDateTime", "lastModifiedDateTime"];
        for (_, place) in self.places.iter().filter(|(name, _)| is_wanted(fields, name)) {
            let member = match place {
                Text(member) | Date(member) | List(member) | Nth(member, _) | Part(member, _) => member,
                Mail(_) => &MAILS,
                Property(_) | PropertyDate(_) | PropertyWord(..) => continue,
            };
            if members.last() != Some(member) {
                members.push(member);
            }
        }
        members.join(",")
    }

    /// The extended properties that are asked for, in the same way.
    pub(crate) fn expand(&self, fields: &[Name]) -> String {
        let places = self.places.iter().filter(|(name, _)| is_wanted(fields, name));
        let of_places = places.filter_map(|(_, place)| match place {
            Property(id) | PropertyDate(id) | PropertyWord(id, _) => Some(*id),
            _ => None,
        });
        let extended = self.extended.iter().filter(|(name, _)| is_wanted(fields, name));
        let ids = OWN.into_iter().chain(of_places).chain(extended.map(|(_, id)| id.as_str()));
        property::expand(ids)
    }

    /// These fields of a contact; none means all. `expanded` says that extended properties were asked for: one that is not
    /// there is empty.
    pub(crate) fn read(&self, contact: &Json, expanded: bool, wanted: &[Name]) -> Fields {
        let mut fields = Fields::new();
        for (name, place) in self.places.iter().filter(|(name, _)| is_wanted(wanted, name)) {
            let value = match place {
                Text(member) => member_of(contact, member, text),
                Date(member) => member_of(contact, member, |value| value.as_str().map_or(Value::Null, day)),
                List(member) => member_of(contact, member, |value| {
                    let texts: Vec<Value> =
                        value.as_array().into_iter().flatten().map(text).filter(|text| !text.is_empty()).collect();
                    if texts.is_empty() { Value::Null } else { Value::from(texts) }
                }),
                Nth(member, at) => member_of(contact, member, |value| text(&value[at])),
                Mail(at) => member_of(contact, MAILS, |value| text(&value[at]["address"])),
                Part(member, part) => member_of(contact, member, |value| text(&value[part])),
                Property(id) => property_of(contact, id, expanded, |text| Value::from(text)),
                PropertyDate(id) => property_of(contact, id, expanded, day),
                PropertyWord(id, words) => property_of(contact, id, expanded, |number| {
                    let word = words.iter().find(|(known, _)| *known == number);
                    word.map_or(Value::Null, |(_, word)| Value::from(*word))
                }),
            };
            if let Some(value) = value {
                fields.set(name.clone(), value);
            }
        }
        for (name, id) in self.extended.iter().filter(|(name, _)| is_wanted(wanted, name)) {
            if let Some(value) = property_of(contact, id, expanded, |text| Value::from(text)) {
                fields.set(name.clone(), value);
            }
        }
        fields
    }

    /// True if these fields can only be written together with what stands beside them in the contact now.
    pub(crate) fn needs_present(&self, fields: &Fields) -> bool {
        self.places
            .iter()
            .any(|(name, place)| matches!(place, Nth(..) | Mail(_) | Part(..)) && fields.get(name).is_some())
    }

    /// The JSON that sets these fields, and the names of those that nothing here can hold. `present` is the contact as it
    /// is: lists and addresses are sent whole.
    pub(crate) fn write(&self, fields: &Fields, present: &Json) -> (Object, Vec<Name>) {
        let mut body = Object::new();
        let mut properties = Vec::new();
        let mut refused = Vec::new();
        // What is sent whole begins as it is now.
        let mut lists: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        let mut addresses: BTreeMap<&str, Object> = BTreeMap::new();
        let held = |member: &str| present[member].as_array().cloned().unwrap_or_default();
        for (name, value) in fields.iter() {
            if let Some((_, id)) = self.extended.iter().find(|(extended, _)| extended == name) {
                properties.push(property::value(id, &value.to_string()));
                continue;
            }
            let Ok(known) = self.places.binary_search_by(|(known, _)| known.cmp(name)) else {
                refused.push(name.clone());
                continue;
            };
            let (_, place) = &self.places[known];
            let plain = value.to_string();
            match place {
                Text(member) => drop(body.insert((*member).to_owned(), or_null(&plain))),
                Date(member) => match moment(value) {
                    Some(moment) => drop(body.insert((*member).to_owned(), moment)),
                    None => refused.push(name.clone()),
                },
                List(member) => {
                    let texts = match value {
                        Value::List(list) => list.iter().map(ToString::to_string).collect(),
                        _ if plain.is_empty() => Vec::new(),
                        _ => vec![plain],
                    };
                    body.insert((*member).to_owned(), json!(texts));
                }
                Nth(member, at) => {
                    set_at(lists.entry(member).or_insert_with(|| held(member)), *at, or_null(&plain));
                }
                Mail(at) => {
                    let list = lists.entry(MAILS).or_insert_with(|| held(MAILS));
                    let same = list.get(*at).is_some_and(|held| held["address"].as_str() == Some(plain.as_str()));
                    if !same {
                        set_at(list, *at, if plain.is_empty() { Json::Null } else { json!({ "address": plain }) });
                    }
                }
                Part(member, part) => {
                    let now = || present[*member].as_object().cloned().unwrap_or_default();
                    let address = addresses.entry(member).or_insert_with(now);
                    address.insert((*part).to_owned(), or_null(&plain));
                }
                Property(id) => properties.push(property::value(id, &plain)),
                PropertyDate(id) => match moment(value) {
                    Some(moment) => properties.push(property::value(id, moment.as_str().unwrap_or_default())),
                    None => refused.push(name.clone()),
                },
                PropertyWord(id, words) => match words.iter().find(|(_, word)| *word == plain) {
                    Some((number, _)) => properties.push(property::value(id, number)),
                    None if plain.is_empty() => properties.push(property::value(id, "0")),
                    None => refused.push(name.clone()),
                },
            }
        }
        for (member, mut list) in lists {
            list.retain(|entry| !entry.is_null());
            body.insert(member.to_owned(), Json::List(list));
        }
        body.extend(addresses.into_iter().map(|(member, address)| (member.to_owned(), Json::Object(address))));
        if !properties.is_empty() {
            body.insert(property::MEMBER.to_owned(), Json::List(properties));
        }
        (body, refused)
    }
}

fn field(name: &str, path: &str, place: Place) -> Field {
    let kind = match place {
        Mail(_) => FieldType::Email,
        Date(_) | PropertyDate(_) => FieldType::Date,
        List(_) => FieldType::TextList,
        _ if path.starts_with("phones/") => FieldType::Phone,
        _ if path.starts_with("links/") => FieldType::Url,
        _ => FieldType::Text,
    };
    let bounded = matches!(kind, FieldType::Text | FieldType::Email | FieldType::Phone | FieldType::Url)
        && !LONG.contains(&name)
        && !matches!(place, PropertyWord(..));
    let field = Field { length: bounded.then_some(LENGTH), ..Field::new(name, kind).path(path) };
    if kind == FieldType::Email { field.caseless() } else { field }
}

/// A member that was told.
fn member_of(contact: &Json, member: &str, read: impl Fn(&Json) -> Value) -> Option<Value> {
    contact.get(member).map(read)
}

/// Clearing an extended property means writing it empty: both count as empty.
fn property_of(contact: &Json, id: &str, expanded: bool, read: impl Fn(&str) -> Value) -> Option<Value> {
    match property::find(contact, id) {
        Some(value) if !value.is_empty() => Some(read(value)),
        Some(_) => Some(Value::Null),
        None => expanded.then_some(Value::Null),
    }
}

fn text(value: &Json) -> Value {
    match value {
        Json::Text(text) if text.is_empty() => Value::Null,
        Json::Text(text) if text.contains('\r') => Value::from(text.replace("\r\n", "\n")),
        Json::Text(text) => Value::Text(text.clone()),
        _ => Value::Null,
    }
}

fn or_null(text: &str) -> Json {
    if text.is_empty() { Json::Null } else { json!(text) }
}

fn set_at(list: &mut Vec<Json>, at: usize, value: Json) {
    if list.len() <= at {
        list.resize(at + 1, Json::Null);
    }
    list[at] = value;
}

/// The day of a moment: `1604-03-01T11:59:00Z` is `--03-01`.
fn day(moment: &str) -> Value {
    let Some(date) = moment.get(..10) else { return Value::Null };
    match date.strip_prefix(NO_YEAR) {
        Some(rest) => Value::from(format!("-{rest}")),
        None => Value::from(date),
    }
}

/// A moment at noon of a day, so that no zone makes another day of it; null clears; `None` for what is no day.
fn moment(value: &Value) -> Option<Json> {
    let text = value.to_string();
    if text.is_empty() {
        return Some(Json::Null);
    }
    let date = match text.strip_prefix("--") {
        Some(rest) => format!("{NO_YEAR}-{rest}"),
        None => text.get(..10)?.to_owned(),
    };
    date.parse::<jiff::civil::Date>().ok()?;
    Some(json!(format!("{date}T11:59:00Z")))
}
