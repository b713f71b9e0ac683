//! Contacts: their members, their limits, and what the server makes of what it is sent.

use serde_json::{Map, Value, json};

use super::call::{Call, Reply};
use super::item::{self, PROPERTIES};
use crate::people::Person;
use crate::store::{Fields, Item};

const TEXTS: &[&str] = &[
    "assistantName",
    "birthday",
    "businessHomePage",
    "companyName",
    "department",
    "displayName",
    "fileAs",
    "generation",
    "givenName",
    "initials",
    "jobTitle",
    "manager",
    "middleName",
    "mobilePhone",
    "nickName",
    "officeLocation",
    "personalNotes",
    "profession",
    "spouseName",
    "surname",
    "title",
    "yomiCompanyName",
    "yomiGivenName",
    "yomiSurname",
];
/// Lists, and how many entries each takes.
const LISTS: &[(&str, usize)] = &[
    ("businessPhones", 2),
    ("categories", 100),
    ("children", 100),
    ("emailAddresses", 3),
    ("homePhones", 2),
    ("imAddresses", 3),
];
const ADDRESSES: &[&str] = &["businessAddress", "homeAddress", "otherAddress"];

/// The longest text of a member, in UTF-16 code units. Assumption: that of Exchange's address book.
const LENGTH: usize = 255;

/// Set while the server composes the display name.
const COMPOSED: &str = "#composed";

/// A contact as it is shown.
pub(super) fn show(item: &Item, call: &Call, select: &str, expand: &str) -> Value {
    let mut shown = item::head(item, call);
    shown.insert("parentFolderId".to_owned(), json!(item.container));
    for name in TEXTS {
        shown.insert((*name).to_owned(), item.fields.get(*name).cloned().unwrap_or_default());
    }
    for (name, _) in LISTS {
        shown.insert((*name).to_owned(), item.fields.get(*name).cloned().unwrap_or_else(|| json!([])));
    }
    for name in ADDRESSES {
        shown.insert((*name).to_owned(), item.fields.get(*name).cloned().unwrap_or_else(|| json!({})));
    }
    item::choose(shown, item, select, expand)
}

/// Takes a body over into a contact's fields.
pub(super) fn set(fields: &mut Fields, body: &Map<String, Value>) -> Result<(), Reply> {
    for (name, value) in body {
        match name.as_str() {
            PROPERTIES => item::set_properties(fields, value.as_array().map_or(&[][..], Vec::as_slice))?,
            _ if name.starts_with('@') => {}
            "id" | "changeKey" | "createdDateTime" | "lastModifiedDateTime" | "parentFolderId" | "photo" | "flag" => {}
            "primaryEmailAddress" | "secondaryEmailAddress" | "tertiaryEmailAddress" => {}
            _ if TEXTS.contains(&name.as_str()) => set_text(fields, name, value)?,
            _ if ADDRESSES.contains(&name.as_str()) => {
                let mut parts = value.as_object().cloned().unwrap_or_default();
                parts.retain(|part, value| !part.starts_with('@') && !value.is_null());
                parts.values().try_for_each(|value| measure(name, value))?;
                fields.insert(name.clone(), Value::Object(parts));
            }
            _ => match LISTS.iter().find(|(known, _)| known == name) {
                Some((_, most)) => set_list(fields, name, value, *most)?,
                None => {
                    let message = format!("The property '{name}' does not exist on type 'microsoft.graph.contact'.");
                    return Err(Reply::error(400, "RequestBodyRead", &message));
                }
            },
        }
    }
    compose(fields, body);
    Ok(())
}

fn measure(name: &str, value: &Value) -> Result<(), Reply> {
    let long = value.as_str().is_some_and(|text| text.encode_utf16().count() > LENGTH);
    if long && name != "personalNotes" {
        let message = format!("The property '{name}' is longer than {LENGTH} characters.");
        return Err(Reply::error(400, "ErrorPropertyValidationFailure", &message));
    }
    Ok(())
}

fn set_text(fields: &mut Fields, name: &str, value: &Value) -> Result<(), Reply> {
    measure(name, value)?;
    let value = match value {
        Value::String(text) if text.is_empty() => Value::Null,
        // Notes are kept with the line ends of Windows.
        Value::String(text) if name == "personalNotes" => json!(text.replace("\r\n", "\n").replace('\n', "\r\n")),
        Value::String(text) if name == "birthday" && text.get(..10).is_none() => {
            return Err(Reply::error(
                400,
                "RequestBodyRead",
                "Cannot convert the literal to the expected type 'Edm.DateTimeOffset'.",
            ));
        }
        Value::String(_) | Value::Null => value.clone(),
        _ => return Err(Reply::error(400, "RequestBodyRead", &format!("'{name}' is no text."))),
    };
    fields.insert(name.to_owned(), value);
    Ok(())
}

fn set_list(fields: &mut Fields, name: &str, value: &Value, most: usize) -> Result<(), Reply> {
    let mut list = value.as_array().cloned().unwrap_or_default();
    if list.len() > most {
        let message = format!(
            "The multi value property {}{} has {} entries, that exceeds the max allowed value of {most}.",
            name[..1].to_uppercase(),
            &name[1..],
            list.len()
        );
        return Err(Reply::error(400, "ErrorPropertyValidationFailure", &message));
    }
    if name == "emailAddresses" {
        list.retain(|entry| entry["address"].as_str().is_some_and(|address| !address.is_empty()));
        for entry in &mut list {
            measure(name, &entry["address"])?;
            let named = entry["name"].as_str().is_some_and(|name| !name.is_empty());
            let name = if named { entry["name"].clone() } else { entry["address"].clone() };
            *entry = json!({ "name": name, "address": entry["address"] });
        }
    } else {
        list.retain(|entry| entry.as_str().is_some_and(|text| !text.is_empty()));
        list.iter().try_for_each(|entry| measure(name, entry))?;
    }
    fields.insert(name.to_owned(), Value::Array(list));
    Ok(())
}

/// A display name that nobody gave is composed, and follows the name.
fn compose(fields: &mut Fields, body: &Map<String, Value>) {
    let text = |fields: &Fields, name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if body.get("displayName").is_some_and(|name| name.as_str().is_some_and(|name| !name.is_empty())) {
        fields.remove(COMPOSED);
    } else if text(fields, "displayName").is_empty() {
        fields.insert(COMPOSED.to_owned(), json!(true));
    }
    let (given, surname) = (text(fields, "givenName"), text(fields, "surname"));
    if fields.contains_key(COMPOSED) {
        let name = format!("{given} {surname}").trim().to_owned();
        let name = if name.is_empty() { text(fields, "companyName") } else { name };
        fields.insert("displayName".to_owned(), if name.is_empty() { Value::Null } else { json!(name) });
    }
    if !body.contains_key("fileAs") {
        let parts: Vec<String> = [surname, given].into_iter().filter(|part| !part.is_empty()).collect();
        let name = if parts.is_empty() { text(fields, "companyName") } else { parts.join(", ") };
        fields.insert("fileAs".to_owned(), json!(name));
    }
}

/// A made-up person as a contact.
pub(super) fn of_person(person: &Person, company: &str) -> Map<String, Value> {
    let mails: Vec<Value> = person.emails.iter().take(3).map(|mail| json!({ "address": mail })).collect();
    let address = json!({
        "street": person.street,
        "city": person.town,
        "state": person.region,
        "postalCode": person.postcode,
        "countryOrRegion": person.country,
    });
    let body = json!({
        "givenName": person.given,
        "surname": person.surname,
        "displayName": person.full_name(),
        "companyName": company,
        "department": person.unit,
        "jobTitle": person.title,
        "emailAddresses": mails,
        "businessPhones": [person.phones[0]],
        "mobilePhone": person.phones[1],
        "homePhones": [person.phones[2]],
        "businessAddress": address,
        "birthday": format!("{}T11:59:00Z", person.birthday),
        "businessHomePage": person.web,
        "categories": person.categories,
        "personalNotes": person.note,
    });
    match body {
        Value::Object(body) => body,
        _ => Map::new(),
    }
}
