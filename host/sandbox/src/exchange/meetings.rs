//! Meetings: who is told of them, the copies in other mailboxes, and answers.

use serde_json::{Value, json};

use super::calendar::{DELETED, EXCEPTIONS, OWN, organizer};
use super::items::{make, throw_away};
use super::mailbox::{self, object};
use super::properties::shown;
use super::xml::Problem;
use crate::store::{Fields, Item, Store};

const PEOPLE: [&str; 3] = ["RequiredAttendees", "OptionalAttendees", "Resources"];

/// Whether mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mail {
    None,
    All,
    Changed,
}

impl Mail {
    pub(super) fn of(attribute: Option<&str>) -> Self {
        match attribute {
            Some("SendOnlyToAll" | "SendToAllAndSaveCopy") => Mail::All,
            Some("SendOnlyToChanged" | "SendToChangedAndSaveCopy") => Mail::Changed,
            _ => Mail::None,
        }
    }
}

/// What happened to a meeting.
#[derive(Debug, Clone, Copy)]
pub(super) enum Occasion<'a> {
    Made,
    /// From these fields.
    Changed(&'a Fields),
    Cancelled,
}

fn attendees(fields: &Fields) -> Vec<String> {
    let people = PEOPLE.iter().filter_map(|key| fields.get(*key).and_then(Value::as_array)).flatten();
    people.map(|person| shown(&person["EmailAddress"]).to_lowercase()).collect()
}

/// Sends what is to be sent, and keeps the copies in other mailboxes of the organisation in step.
pub(super) fn tell(store: &mut Store, at: i64, id: &str, mail: Mail, occasion: Occasion<'_>) {
    let Some(item) = store.get(id).filter(|item| item.entity == "event").cloned() else { return };
    let now = attendees(&item.fields);
    if now.is_empty() || mail == Mail::None || item.fields.get(OWN) == Some(&json!(false)) {
        return;
    }
    let before = match occasion {
        Occasion::Changed(before) => attendees(before),
        _ => now.clone(),
    };
    let same_people = before == now;
    // A changed list of attendees tells everybody, whatever was asked for.
    let to = match (mail, occasion) {
        (Mail::Changed, Occasion::Changed(_)) if same_people => Vec::new(),
        _ => now.clone(),
    };
    let kind = match occasion {
        Occasion::Cancelled => "IPM.Schedule.Meeting.Canceled",
        _ => "IPM.Schedule.Meeting.Request",
    };
    for address in &to {
        send(store, at, &item, address, kind);
        copy(store, at, &item, address, matches!(occasion, Occasion::Cancelled));
    }
    if !matches!(occasion, Occasion::Cancelled) {
        store.change(at, id, |fields| {
            fields.insert("MeetingRequestWasSent".into(), json!(true));
        });
    }
}

/// A mail that left: it lies in the sent items.
fn send(store: &mut Store, at: i64, item: &Item, to: &str, class: &str) {
    let Some(sent) = mailbox::folder(store, &item.owner, "sentitems").map(|folder| folder.id.clone()) else { return };
    let subject = item.fields.get("Subject").cloned().unwrap_or_default();
    let fields = object(json!({ "To": to, "ItemClass": class, "Subject": subject }));
    let _ = make(store, at, &item.owner, &sent, "mail", fields, None);
}

/// The attendee's copy.
fn copy(store: &mut Store, at: i64, item: &Item, address: &str, cancelled: bool) {
    let Some(calendar) = mailbox::folder(store, address, "calendar").map(|folder| folder.id.clone()) else { return };
    let uid = item.fields.get("UID").cloned().unwrap_or_default();
    let known =
        store.items(address, "event").find(|copy| copy.fields.get("UID") == Some(&uid)).map(|copy| copy.id.clone());
    let mut fields = item.fields.clone();
    // What a program keeps with its own item stays there.
    fields.retain(|key, _| !key.starts_with('{') && !key.starts_with("0x") && key != "Categories");
    let organizer = organizer(store, &item.owner);
    fields.insert("Organizer".into(), organizer);
    fields.insert(OWN.into(), json!(false));
    fields.insert("IsMeeting".into(), json!(true));
    if cancelled {
        fields.insert("IsCancelled".into(), json!(true));
    }
    match known {
        Some(known) => drop(store.change(at, &known, |copy| copy.extend(fields))),
        None if cancelled => {}
        None => {
            fields.insert("MyResponseType".into(), json!("NoResponseReceived"));
            let _ = make(store, at, address, &calendar, "event", fields, None);
        }
    }
}

/// An attendee answers. The organizer's list shows it; a declined meeting goes to the deleted items.
pub(super) fn reply(store: &mut Store, at: i64, owner: &str, id: &str, how: &str) -> Result<String, Problem> {
    let item = store.get(id).filter(|item| item.owner == owner).cloned().ok_or_else(Problem::item_not_found)?;
    let answer = match how {
        "AcceptItem" => "Accept",
        "TentativelyAcceptItem" => "Tentative",
        _ => "Decline",
    };
    store.change(at, id, |fields| {
        fields.insert("MyResponseType".into(), json!(answer));
    });
    let organizer = item.fields.get("Organizer").map(|organizer| shown(&organizer["EmailAddress"])).unwrap_or_default();
    let uid = item.fields.get("UID");
    let own =
        store.items(&organizer, "event").find(|event| event.fields.get("UID") == uid).map(|event| event.id.clone());
    if let Some(own) = own {
        store.change(at, &own, |fields| {
            for key in PEOPLE {
                for person in fields.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
                    if shown(&person["EmailAddress"]).eq_ignore_ascii_case(owner) {
                        person["ResponseType"] = json!(answer);
                    }
                }
            }
        });
    }
    if answer == "Decline" {
        throw_away(store, at, &item, "MoveToDeletedItems");
    }
    Ok(id.to_owned())
}

/// Takes one occurrence out of a series.
pub(super) fn drop_occurrence(fields: &mut Fields, start: &str) {
    if let Some(all) = fields.get_mut(EXCEPTIONS).and_then(Value::as_object_mut) {
        all.remove(start);
    }
    let deleted = fields.entry(DELETED).or_insert_with(|| json!([]));
    if let Some(deleted) = deleted.as_array_mut() {
        deleted.push(json!(start));
    }
}
