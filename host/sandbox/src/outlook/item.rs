//! Items as Graph shows them: ids of two kinds, change keys, times, selected members.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, Reply};
use crate::store::{Fields, Item};

/// The member that holds extended properties; it is shown only where it is asked for.
pub(super) const PROPERTIES: &str = "singleValueExtendedProperties";

/// The store's own key of an item, which stays when the item moves.
pub(super) const SEARCH_KEY: &str = "Binary 0x300B";

/// A moment as Graph writes it.
pub(super) fn moment(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Immutable ids are what the store holds.
pub(super) fn immutable(number: u64) -> String {
    format!("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{number:012}")
}

/// The other kind of id holds the folder as well, and so changes with it.
pub(super) fn shown_id(item: &Item, call: &Call) -> String {
    if call.immutable_ids() { item.id.clone() } else { passing(&item.id, item.container.as_deref()) }
}

/// The id that an item has in a folder.
pub(super) fn passing(id: &str, container: Option<&str>) -> String {
    if !id.starts_with("AAkALg") {
        return id.to_owned();
    }
    let number = &id[id.len() - 12..];
    format!("AAMkAD{:08x}-{number}=", fold(container.unwrap_or_default()))
}

/// The store's id for whatever kind of id stands in a path; the folder must still be the right one.
pub(super) fn stored_id(shown: &str) -> String {
    match shown.strip_prefix("AAMkAD").and_then(|rest| rest.split_once('-')) {
        Some((_, number)) => format!("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{}", number.trim_end_matches('=')),
        None => shown.to_owned(),
    }
}

/// Whether an id of the changing kind is that of the item where it is now.
pub(super) fn is_current(shown: &str, item: &Item) -> bool {
    match shown.strip_prefix("AAMkAD").and_then(|rest| rest.split_once('-')) {
        Some((folder, _)) => folder == format!("{:08x}", fold(item.container.as_deref().unwrap_or_default())),
        None => true,
    }
}

fn fold(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

pub(super) fn change_key(version: u64) -> String {
    format!("EQAAABYAAAB{version:010X}")
}

pub(super) fn etag(item: &Item) -> String {
    format!("W/\"{}\"", change_key(item.version))
}

/// Refuses a write whose condition does not hold.
pub(super) fn precondition(call: &Call, item: &Item) -> Result<(), Reply> {
    match call.if_match.as_deref() {
        None | Some("*") => Ok(()),
        Some(tag) if tag == etag(item) => Ok(()),
        Some(_) => Err(Reply::error(
            412,
            "ErrorIrresolvableConflict",
            "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.",
        )),
    }
}

/// What every item shows.
pub(super) fn head(item: &Item, call: &Call) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("@odata.etag".to_owned(), json!(etag(item)));
    shown.insert("id".to_owned(), json!(shown_id(item, call)));
    shown.insert("changeKey".to_owned(), json!(change_key(item.version)));
    shown.insert("createdDateTime".to_owned(), json!(moment(item.created)));
    shown.insert("lastModifiedDateTime".to_owned(), json!(moment(item.modified)));
    shown
}

/// Keeps what `$select` names, adds what `$expand` names.
pub(super) fn choose(mut shown: Map<String, Value>, item: &Item, select: &str, expand: &str) -> Value {
    shown.remove(PROPERTIES);
    if !select.is_empty() {
        let wanted: Vec<&str> = select.split(',').map(str::trim).collect();
        shown.retain(|name, _| name.starts_with('@') || name == "id" || wanted.contains(&name.as_str()));
    }
    let ids = expanded(expand);
    if !ids.is_empty() {
        let held = item.fields.get(PROPERTIES).and_then(Value::as_array);
        let asked = |property: &&Value| {
            property["id"].as_str().is_some_and(|id| ids.iter().any(|wanted| same_property(id, wanted)))
        };
        let found: Vec<&Value> = held.into_iter().flatten().filter(asked).collect();
        if !found.is_empty() {
            shown.insert(PROPERTIES.to_owned(), json!(found));
        }
    }
    Value::Object(shown)
}

/// The ids in `singleValueExtendedProperties($filter=id eq 'a' or id eq 'b')`.
fn expanded(expand: &str) -> Vec<String> {
    if !expand.to_ascii_lowercase().contains("singlevalueextendedproperties") {
        return Vec::new();
    }
    expand.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Names of properties are case-sensitive, all else is not.
pub(super) fn same_property(one: &str, other: &str) -> bool {
    let split = |id: &str| {
        let (head, name) = id.split_once(" Name ").map_or((id, ""), |(head, name)| (head, name));
        (head.to_ascii_lowercase(), name.to_owned())
    };
    split(one) == split(other)
}

/// Takes extended properties over into an item's fields: each by its id; null and empty ones go.
pub(super) fn set_properties(fields: &mut Fields, properties: &[Value]) -> Result<(), Reply> {
    let mut held: Vec<Value> = fields.get(PROPERTIES).and_then(Value::as_array).cloned().unwrap_or_default();
    for property in properties {
        let id = property["id"].as_str().unwrap_or_default();
        let words: Vec<&str> = id.split(' ').collect();
        let kinds = ["String", "Integer", "Boolean", "SystemTime", "Binary", "Double", "Short", "Long", "CLSID"];
        let shaped = match words.as_slice() {
            [_, tag] => tag.starts_with("0x"),
            [_, guid, how, ..] => guid.starts_with('{') && ["Name", "Id"].contains(how),
            _ => false,
        };
        if !shaped || !kinds.contains(&words[0]) {
            return Err(Reply::error(400, "ErrorInvalidArgument", &format!("The property id '{id}' is not valid.")));
        }
        held.retain(|known| !known["id"].as_str().is_some_and(|known| same_property(known, id)));
        match &property["value"] {
            Value::Null => {}
            Value::String(value) => held.push(json!({ "id": id, "value": value })),
            other => held.push(json!({ "id": id, "value": other.to_string() })),
        }
    }
    fields.insert(PROPERTIES.to_owned(), Value::Array(held));
    Ok(())
}
