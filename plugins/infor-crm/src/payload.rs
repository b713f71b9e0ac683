//! Fields of a write become the members of an entry.

use std::collections::HashMap;

use pairwise_http::{Json, Object, json};
use pairwise_plugin_api::{Action, Millis, Name, Outcome, Value, Write};

use crate::entity::{ACCOUNT_NAME, Kind, SELF, STREET, STREET_LINE, USERS, address_field, extra};
use crate::identity::Identity;
use crate::settings::Config;
use crate::wire::{self, Entry};

/// What a write sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    /// Members of the record itself.
    pub(crate) own: Entry,
    /// Members of its addresses, in the order of the relations.
    pub(crate) addresses: [Entry; 2],
    /// Fields that cannot be written.
    pub(crate) refused: Vec<Name>,
}

/// The members that a write's fields become, or why it can never be done.
pub(crate) fn payload(
    kind: &'static Kind,
    config: &Config,
    identity: &Identity,
    now: Millis,
    write: &Write,
) -> Result<Payload, Box<Outcome>> {
    let mut payload = Payload::default();
    for (name, value) in write.fields.iter() {
        if let Some(column) = kind.column(name) {
            match wire::json(value, column.kind).filter(|_| column.is_writable()) {
                Some(json) => drop(payload.own.insert(name.to_string(), json)),
                // Only the server sets it, or it has no form for such a value.
                None => payload.refused.push(name.clone()),
            }
        } else if let Some(reference) = kind.reference(name) {
            let json = match value.as_text() {
                Some(SELF) if reference.entity == USERS => json!({ "$key": identity.user }),
                Some(key) if !key.is_empty() => json!({ "$key": key }),
                _ => Json::Null,
            };
            payload.own.insert(name.to_string(), json);
        } else if let Some(field) = address_field(kind, config, name) {
            let address = &mut payload.addresses[field.relation];
            match field.property {
                Some(property) => {
                    let json = wire::json(value, Default::default()).unwrap_or(Json::Null);
                    address.insert(property.to_owned(), json);
                }
                None => street(name, value, address)?,
            }
        } else if **name == *ACCOUNT_NAME && kind.shows_account() {
            payload.refused.push(name.clone());
        } else if extra(config, kind).any(|extra| extra == &**name) {
            payload.own.insert(name.to_string(), wire::json(value, Default::default()).unwrap_or(Json::Null));
        } else {
            let text = format!("`{}` has no field `{name}`", kind.entity);
            return Err(Outcome { field: Some(name.clone()), ..Outcome::refused("unknown_field", text) }.into());
        }
    }
    if write.action == Action::Create {
        // What is empty is not sent with a new record.
        payload.own.retain(|_, value| !value.is_null());
        payload.addresses.iter_mut().for_each(|address| address.retain(|_, value| !value.is_null()));
        if kind.entity == "history" {
            note(config, identity, now, &mut payload.own);
        }
    }
    Ok(payload)
}

/// The lines of a street in their four properties.
fn street(name: &Name, value: &Value, address: &mut Entry) -> Result<(), Box<Outcome>> {
    let text = value.as_text().unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    if lines.len() > STREET.len() {
        let rest = lines.split_off(STREET.len() - 1);
        lines.push(rest.iter().filter(|line| !line.is_empty()).cloned().collect::<Vec<_>>().join(", "));
    }
    if let Some(long) = lines.iter().find(|line| line.encode_utf16().count() > STREET_LINE) {
        let text = format!(
            "a line of the street has {} characters, Infor CRM takes {STREET_LINE}: shorten it",
            long.encode_utf16().count()
        );
        return Err(Outcome { field: Some(name.clone()), ..Outcome::refused("too_long", text) }.into());
    }
    let mut lines = lines.into_iter();
    for property in STREET {
        let line = lines.next().filter(|line| !line.is_empty());
        address.insert(property.to_owned(), line.map_or(Json::Null, Json::from));
    }
    Ok(())
}

/// What a note needs beside its text.
fn note(config: &Config, identity: &Identity, now: Millis, note: &mut Entry) {
    let mut put = |name: &str, value: Json| {
        note.or_insert(name, || value);
    };
    put("Type", config.history_type.as_str().into());
    put("UserId", identity.user.as_str().into());
    if !identity.name.is_empty() {
        put("UserName", identity.name.as_str().into());
    }
    put("CompletedUser", identity.user.as_str().into());
    put("CompletedDate", wire::date(now));
    put("Duration", 0.into());
    put("Timeless", false.into());
    let completed = note.get("CompletedDate").cloned().unwrap_or(Json::Null);
    for date in ["StartDate", "OriginalDate"] {
        note.or_insert(date, || completed.clone());
    }
    if let Some(text) = wire::text(note, "LongNotes").map(beginning) {
        note.or_insert("Notes", || Json::from(text));
    }
}

/// The first 250 characters, as lists of notes show them.
fn beginning(text: &str) -> String {
    text.chars().take(250).collect()
}

/// What a note copies from the record that it is about.
pub(crate) fn about(note: &mut Entry, parents: &HashMap<String, Entry>) {
    let parent = |property: &str| wire::text(note, property).and_then(|key| parents.get(key));
    let mut copies: Object = Object::new();
    let member = |entry: &Entry, name: &str| entry.get(name).cloned().unwrap_or(Json::Null);
    let person = |entry: &Entry| {
        let part = |name: &str| wire::text(entry, name).unwrap_or_default().to_owned();
        let name = format!("{}, {}", part("LastName"), part("FirstName"));
        Json::from(name.trim_matches([',', ' ']).chars().take(64).collect::<String>())
    };
    if let Some(contact) = parent("ContactId") {
        copies.insert("ContactName", person(contact));
        let account = wire::related(contact, "Account");
        if let Some(key) = account.and_then(wire::key) {
            copies.insert("AccountId", key.into());
        }
        copies.insert("AccountName", account.map_or(Json::Null, |account| member(account, ACCOUNT_NAME)));
    }
    if let Some(lead) = parent("LeadId") {
        copies.insert("LeadName", person(lead));
        copies.insert("AccountName", member(lead, "Company"));
    }
    for (name, value) in copies.into_iter().filter(|(_, value)| !value.is_null()) {
        note.or_insert(name, || value);
    }
}

/// Fields whose value was not taken: the server kept another one that is no other spelling of it. Security of fields shows
/// only so.
pub(crate) fn ignored(write: &Write, stored: &pairwise_plugin_api::Fields) -> Vec<Name> {
    let kept_out = write.fields.iter().filter(|(name, sent)| {
        if sent.as_text() == Some(SELF) {
            return false;
        }
        // A field that is not told back is one that this login may not see; it was not written, either.
        stored.get(name).is_none_or(|stored| !is_spelling(sent, stored))
    });
    kept_out.map(|(name, _)| name.clone()).collect()
}

/// Whether one value is another spelling of the other: other case, other blanks and signs, or cut.
fn is_spelling(sent: &Value, stored: &Value) -> bool {
    if sent == stored || (sent.is_empty() && stored.is_empty()) {
        return true;
    }
    let bare = |value: &Value| -> String {
        value.to_string().chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (sent, stored) = (bare(sent), bare(stored));
    match (sent.is_empty(), stored.is_empty()) {
        (false, false) => {
            sent == stored || sent.starts_with(&stored) || stored.ends_with(&sent) || sent.ends_with(&stored)
        }
        (sent, stored) => sent == stored,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_plugin_api::{Fields, RecordRef};

    use super::*;
    use crate::identity::Edition;
    use crate::tests::config;

    fn me() -> Identity {
        Identity {
            user: "UDEMOA000001".into(),
            name: "Hunter, Lee".into(),
            edition: Edition::V8,
            version: "8.0".into(),
            admin: false,
        }
    }

    fn of(entity: &str, action: Action, fields: &[(&str, Value)]) -> Result<Payload, Box<Outcome>> {
        let fields: Fields = fields.iter().map(|(name, value)| (*name, value.clone())).collect();
        let write = Write { action, at: RecordRef::new(entity, ""), fields, ..Write::default() };
        payload(Kind::of(entity).unwrap(), &config("http://crm.example.com"), &me(), 86_400_000, &write)
    }

    #[test]
    fn fields_become_members() {
        let fields = [
            ("LastName", "Abbott".into()),
            ("FirstName", Value::Null),
            ("Birthday", "1970-01-02".into()),
            ("Account", "ADEMOA000001".into()),
            ("AccountManager", SELF.into()),
            ("AccountName", "Abbott Ltd.".into()),
            ("ModifyDate", "2026-01-01T00:00:00Z".into()),
            ("Address/Street", "1 Road\nRear".into()),
            ("Address/City", "Phoenix".into()),
        ];
        let made = of("contacts", Action::Create, &fields).unwrap();
        let own = json!({ "LastName": "Abbott", "Birthday": "/Date(86400000)/", "Account": { "$key": "ADEMOA000001" },
                          "AccountManager": { "$key": "UDEMOA000001" } });
        assert_eq!(Json::Object(made.own), own);
        assert_eq!(
            Json::Object(made.addresses[0].clone()),
            json!({ "Address1": "1 Road", "Address2": "Rear", "City": "Phoenix" })
        );
        assert_eq!(made.refused, ["AccountName".into(), "ModifyDate".into()] as [Name; 2]);

        let changed = of("contacts", Action::Update, &fields[1..2]).unwrap();
        assert_eq!(Json::Object(changed.own), json!({ "FirstName": null }), "empties the field");
    }

    #[test]
    fn a_street_has_four_lines_of_64_characters() {
        let long = "a\nb\nc\nd\ne";
        let made = of("leads", Action::Update, &[("Address/Street", long.into())]).unwrap();
        assert_eq!(made.addresses[0]["Address4"], "d, e");
        let refused = of("leads", Action::Update, &[("Address/Street", "x".repeat(65).into())]).unwrap_err();
        assert_eq!(refused.code, "too_long");
    }

    #[test]
    fn a_note_is_about_somebody() {
        let text = "x".repeat(300);
        let mut note =
            of("history", Action::Create, &[("LongNotes", text.into()), ("ContactId", "C1".into())]).unwrap().own;
        let contact = json!({ "$key": "C1", "FirstName": "John", "LastName": "Abbott",
                              "Account": { "$key": "A1", "AccountName": "Abbott Ltd." } });
        about(&mut note, &HashMap::from([("C1".to_owned(), contact.as_object().unwrap().clone())]));
        assert_eq!((note["Type"].as_str(), note["UserId"].as_str()), (Some("atNote"), Some("UDEMOA000001")));
        assert_eq!(note["UserName"].as_str(), Some("Hunter, Lee"));
        assert_eq!(note["Notes"].as_str().map(str::len), Some(250));
        assert_eq!((note["ContactName"].as_str(), note["AccountId"].as_str()), (Some("Abbott, John"), Some("A1")));
        assert_eq!((note["AccountName"].as_str(), note.get("LeadId")), (Some("Abbott Ltd."), None));
    }

    #[test]
    fn another_spelling_is_no_refusal() {
        let pairs = [
            ("(555) 123-4567", "5551234567", true),
            ("Abbott ", "abbott", true),
            ("A long text", "A long", true),
            ("5551", "7772", false),
            ("5551", "", false),
            ("", "5551", false),
        ];
        for (sent, stored, same) in pairs {
            assert_eq!(is_spelling(&sent.into(), &stored.into()), same, "{sent} {stored}");
        }
    }
}
