//! Items: reading, making, changing, moving, deleting.

use jiff::Timestamp;
use roxmltree::Node;
use serde_json::{Value, json};

use super::calendar::{self, EXCEPTIONS, of_occurrence};
use super::call::{Body, Call, Part, child, inside, text};
use super::mailbox::{self, KINDS, SEARCH_KEY, asked_folder, change_key, new_id, new_search_key};
use super::meetings::{self, Mail};
use super::properties::{path, read_item, shown};
use super::shape::{By, Shape, write_item, write_view};
use super::times::stored;
use super::xml::{Fault, Out, Problem, answer};
use crate::store::{Fields, Item, Store};

/// What an id in a request stands for.
enum Asked<'s> {
    Item(&'s Item),
    Occurrence(&'s Item, Box<calendar::Occurrence>),
}

impl Asked<'_> {
    fn item(&self) -> &Item {
        match self {
            Asked::Item(item) | Asked::Occurrence(item, _) => item,
        }
    }
}

impl Call<'_> {
    fn asked<'s>(&self, store: &'s Store, node: Node<'_, '_>) -> Result<Asked<'s>, Problem> {
        let mine = |id: &str| {
            let found = store.get(id).filter(|item| item.owner == self.mailbox && item.entity != mailbox::FOLDER);
            found.ok_or_else(Problem::item_not_found)
        };
        let at = |master: &'s Item, original: Timestamp| {
            let found = calendar::occurrences(master).into_iter().find(|found| found.original == original);
            found.map(|found| Asked::Occurrence(master, Box::new(found)))
        };
        match node.tag_name().name() {
            "OccurrenceItemId" => {
                let master = mine(node.attribute("RecurringMasterId").unwrap_or_default())?;
                let index: usize = node.attribute("InstanceIndex").and_then(|text| text.parse().ok()).unwrap_or(0);
                let original = calendar::start_of(master, index).ok_or_else(|| {
                    Problem::new("ErrorCalendarOccurrenceIndexIsOutOfRecurrenceRange", "The occurrence does not exist.")
                })?;
                at(master, original).ok_or_else(|| {
                    Problem::new("ErrorCalendarOccurrenceIsDeletedFromRecurrence", "The occurrence was deleted.")
                })
            }
            "RecurringMasterItemId" => {
                let id = node.attribute("OccurrenceId").unwrap_or_default();
                mine(&of_occurrence(id).ok_or_else(Problem::item_not_found)?.0).map(Asked::Item)
            }
            _ => {
                let id = node.attribute("Id").unwrap_or_default();
                match of_occurrence(id) {
                    Some((master, original)) => at(mine(&master)?, original).ok_or_else(Problem::item_not_found),
                    None => mine(id).map(Asked::Item),
                }
            }
        }
    }

    pub(super) fn get_item(&self) -> Body {
        let shape = match child(self.request, "ItemShape") {
            Some(shape) => Shape::read(shape)?,
            None => Shape::default(),
        };
        let results: Vec<Part> = self.exchange.core.read(|store| {
            let one = |node: Node<'_, '_>| {
                let asked = self.asked(store, node)?;
                if asked.item().fields.get("Unreadable").is_some() {
                    return Err(Problem::new(
                        "ErrorInternalServerError",
                        "An internal server error occurred. MapiReplyToBlob",
                    ));
                }
                let mut out = Out::new();
                out.start("m:Items");
                match &asked {
                    Asked::Item(item) => write_item(&mut out, store, item, &shape, By::Get),
                    Asked::Occurrence(master, found) => {
                        let view = calendar::view_of_occurrence(store, master, found);
                        write_view(&mut out, "CalendarItem", &found.id, &change_key(master), &view, &shape, By::Get);
                    }
                }
                Ok(out.done())
            };
            inside(self.request, "ItemIds").into_iter().map(one).collect()
        });
        Ok(answer("GetItem", &results, "<m:Items/>"))
    }

    pub(super) fn create_item(&self) -> Body {
        let mail = self.request.attribute("SendMeetingInvitations");
        let folder = inside(self.request, "SavedItemFolderId").into_iter().next();
        let items = inside(self.request, "Items");
        let replies = ["AcceptItem", "TentativelyAcceptItem", "DeclineItem"];
        if mail.is_none() && items.iter().any(|item| item.tag_name().name() == "CalendarItem") {
            return Err(Fault::new(
                "ErrorSendMeetingInvitationsRequired",
                "Send invitations is required for calendar items.",
            ));
        }
        let results: Vec<Part> = self.exchange.core.write(|store, at| {
            let mut one = |node: Node<'_, '_>| {
                let name = node.tag_name().name();
                if replies.contains(&name) {
                    let referred = child(node, "ReferenceItemId").and_then(|id| id.attribute("Id")).unwrap_or_default();
                    return meetings::reply(store, at, &self.mailbox, referred, name).map(|id| ids(store, &[id]));
                }
                let Some((entity, _)) = KINDS.iter().find(|(_, kind)| *kind == name) else {
                    return Err(Problem::new(
                        "ErrorCannotCreateCalendarItemInNonCalendarFolder",
                        "Such items cannot be made.",
                    ));
                };
                let default = if *entity == "event" { "calendar" } else { "contacts" };
                let folder = match folder {
                    Some(node) => asked_folder(store, &self.mailbox, node)?,
                    None => mailbox::folder(store, &self.mailbox, default).ok_or_else(Problem::item_not_found)?,
                };
                let folder = folder.id.clone();
                let fields = read_item(node)?;
                let id = make(store, at, &self.mailbox, &folder, entity, fields, self.zone.as_deref())?;
                meetings::tell(store, at, &id, Mail::of(mail), meetings::Occasion::Made);
                Ok(ids(store, &[id]))
            };
            items.into_iter().map(&mut one).collect()
        });
        Ok(answer("CreateItem", &results, "<m:Items/>"))
    }

    pub(super) fn update_item(&self) -> Body {
        let resolution = self.request.attribute("ConflictResolution").unwrap_or("AutoResolve");
        let mail = self.request.attribute("SendMeetingInvitationsOrCancellations");
        let results: Vec<Part> = self.exchange.core.write(|store, at| {
            let mut one = |change: Node<'_, '_>| {
                let id = change.children().find(Node::is_element).ok_or_else(Problem::item_not_found)?;
                let (item, occurrence) = match self.asked(store, id)? {
                    Asked::Item(item) => (item.clone(), None),
                    Asked::Occurrence(item, found) => (item.clone(), Some(found)),
                };
                if item.entity == "event" && mail.is_none() {
                    return Err(Problem::new(
                        "ErrorSendMeetingInvitationsOrCancellationsRequired",
                        "SendMeetingInvitationsOrCancellations attribute is required for calendar items.",
                    ));
                }
                let given = id.attribute("ChangeKey").unwrap_or_default();
                let stale = !given.is_empty() && given != change_key(&item);
                match (resolution, given.is_empty(), stale) {
                    ("AutoResolve" | "NeverOverwrite", true, _) => {
                        return Err(Problem::new("ErrorChangeKeyRequired", "The item Change Key is required for this operation."));
                    }
                    ("NeverOverwrite", _, true) => {
                        return Err(Problem::new(
                            "ErrorIrresolvableConflict",
                            "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.",
                        ));
                    }
                    _ => {}
                }
                let before = occurrence.as_ref().map_or_else(|| item.fields.clone(), |found| found.fields.clone());
                let mut fields = before.clone();
                for update in inside(change, "Updates") {
                    apply(update, &mut fields)?;
                }
                finish(&item.entity, &mut fields, Some(&before), self.zone.as_deref())?;
                if occurrence.is_none() {
                    calendar::forget_exceptions(&before, &mut fields);
                }
                store.change(at, &item.id, |stored| match &occurrence {
                    None => *stored = fields,
                    Some(found) => except(stored, &stored_start(found), &before, fields),
                });
                meetings::tell(store, at, &item.id, Mail::of(mail), meetings::Occasion::Changed(&before));
                let mut out = Out::new();
                let shown = match occurrence {
                    Some(found) => with_key(store, &item.id, &found.id),
                    None => ids(store, std::slice::from_ref(&item.id)),
                };
                out.raw(&shown).start("m:ConflictResults").leaf("t:Count", "0");
                Ok(out.done())
            };
            inside(self.request, "ItemChanges").into_iter().map(&mut one).collect()
        });
        Ok(answer("UpdateItem", &results, "<m:Items/>"))
    }

    pub(super) fn delete_item(&self) -> Body {
        let how = self.request.attribute("DeleteType").unwrap_or("HardDelete");
        let mail = self.request.attribute("SendMeetingCancellations");
        let results: Vec<Part> = self.exchange.core.write(|store, at| {
            let mut one = |node: Node<'_, '_>| {
                let (item, occurrence) = match self.asked(store, node)? {
                    Asked::Item(item) => (item.clone(), None),
                    Asked::Occurrence(item, found) => (item.clone(), Some(stored_start(&found))),
                };
                if item.entity == "event" && mail.is_none() {
                    return Err(Problem::new(
                        "ErrorSendMeetingCancellationsRequired",
                        "SendMeetingCancellations attribute is required for calendar items.",
                    ));
                }
                if let Some(start) = occurrence {
                    store.change(at, &item.id, |fields| meetings::drop_occurrence(fields, &start));
                    return Ok(String::new());
                }
                meetings::tell(store, at, &item.id, Mail::of(mail), meetings::Occasion::Cancelled);
                throw_away(store, at, &item, how);
                Ok(String::new())
            };
            inside(self.request, "ItemIds").into_iter().map(&mut one).collect()
        });
        Ok(answer("DeleteItem", &results, ""))
    }

    pub(super) fn move_item(&self) -> Body {
        let to = inside(self.request, "ToFolderId").into_iter().next();
        let wants_ids = text(self.request, "ReturnNewItemIds") != "false";
        let results: Vec<Part> = self.exchange.core.write(|store, at| {
            let mut one = |node: Node<'_, '_>| {
                let to = to.ok_or_else(|| Problem::new("ErrorMoveCopyFailed", "No folder was given."))?;
                let to = asked_folder(store, &self.mailbox, to)?.id.clone();
                let id = self.asked(store, node)?.item().id.clone();
                let moved = relocate(store, at, &id, &to)?;
                Ok(if wants_ids { ids(store, &[moved]) } else { "<m:Items/>".to_owned() })
            };
            inside(self.request, "ItemIds").into_iter().map(&mut one).collect()
        });
        Ok(answer("MoveItem", &results, "<m:Items/>"))
    }
}

/// Makes an item; its id.
pub(super) fn make(
    store: &mut Store,
    at: i64,
    owner: &str,
    folder: &str,
    entity: &str,
    mut fields: Fields,
    zone: Option<&str>,
) -> Result<String, Problem> {
    finish(entity, &mut fields, None, zone)?;
    let id = new_id(store, owner, b'i');
    let search_key = new_search_key(store, owner);
    fields.insert(SEARCH_KEY.to_owned(), search_key);
    if entity == "event" {
        fields.entry("UID").or_insert_with(|| json!(format!("040000008200E00074C5B7101A82E008{:0>48}", hex(&id))));
    }
    store.insert(at, owner, entity, &id, Some(folder), fields);
    Ok(id)
}

/// The last characters of an id, as digits of a global object id.
fn hex(id: &str) -> String {
    id.bytes().rev().skip(18).take(16).map(|byte| format!("{byte:02X}")).collect()
}

/// Moves an item; it gets another id.
pub(super) fn relocate(store: &mut Store, at: i64, id: &str, to: &str) -> Result<String, Problem> {
    let owner = store.get(id).ok_or_else(Problem::item_not_found)?.owner.clone();
    let new = new_id(store, &owner, b'i');
    let modified = store.get(id).map_or(at, |item| item.modified);
    // A move is no edit: the time of the last change stays.
    store.relocate(modified, id, Some(to), Some(&new));
    Ok(new)
}

/// Deletes as a client asks for it.
pub(super) fn throw_away(store: &mut Store, at: i64, item: &Item, how: &str) {
    let to = match how {
        "MoveToDeletedItems" => "deleteditems",
        "SoftDelete" => "recoverableitemsdeletions",
        _ => "",
    };
    match mailbox::folder(store, &item.owner, to).map(|folder| folder.id.clone()) {
        Some(trash) if item.container.as_deref() != Some(&trash) => drop(relocate(store, at, &item.id, &trash)),
        _ => drop(store.remove(at, &item.id)),
    }
}

/// What follows from what was written: composed names, times.
pub(super) fn finish(
    entity: &str,
    fields: &mut Fields,
    before: Option<&Fields>,
    zone: Option<&str>,
) -> Result<(), Problem> {
    if entity == "event" {
        return calendar::settle(fields, zone);
    }
    if entity != "contact" {
        return Ok(());
    }
    let text = |key: &str| fields.get(key).map(shown).unwrap_or_default();
    let named = |key: &str| before.is_none_or(|before| before.get(key) != fields.get(key));
    let renamed = ["GivenName", "MiddleName", "Surname", "CompanyName", "FileAsMapping"].into_iter().any(named);
    let (given, middle, last, company) = (text("GivenName"), text("MiddleName"), text("Surname"), text("CompanyName"));
    let join =
        |parts: &[&str], by: &str| parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(by);
    let first = join(&[&given, &middle], " ");
    let file_as = match text("FileAsMapping").as_str() {
        "LastCommaFirst" => Some(join(&[&last, &first], ", ")),
        "FirstSpaceLast" => Some(join(&[&first, &last], " ")),
        "Company" => Some(company.clone()),
        "LastCommaFirstCompany" => Some(join(&[&join(&[&last, &first], ", "), &company], "\r\n")),
        _ => None,
    };
    let display = text("DisplayName");
    if let Some(file_as) = file_as.filter(|text| renamed && !text.is_empty()) {
        fields.insert("FileAs".into(), json!(file_as));
        if display.is_empty() {
            fields.insert("DisplayName".into(), json!(join(&[&first, &last], " ")));
        }
    }
    // The subject of a contact is how it is shown.
    let display = fields.get("DisplayName").cloned().unwrap_or_default();
    if !shown(&display).is_empty() {
        fields.insert("Subject".into(), display);
    }
    Ok(())
}

/// One `SetItemField` or `DeleteItemField`.
fn apply(update: Node<'_, '_>, fields: &mut Fields) -> Result<(), Problem> {
    let mut parts = update.children().filter(Node::is_element);
    let Some(of) = parts.next() else { return Ok(()) };
    let path = path(of).map_err(|fault| Problem::new("ErrorInvalidPropertySet", fault.text))?;
    match update.tag_name().name() {
        "DeleteItemField" => {
            if ["Start", "End", "Subject", "ItemClass", "UID"].contains(&path.key.as_str())
                && path.uri.starts_with("calendar:")
            {
                return Err(Problem::of_field("ErrorInvalidPropertyDelete", "Property can not be deleted.", &path.uri));
            }
            fields.remove(&path.key);
            Ok(())
        }
        "SetItemField" => {
            let Some(item) = parts.next() else { return Ok(()) };
            let children = item.children().filter(Node::is_element).count();
            let new = read_item(item)?;
            let whole = ["EmailAddresses", "PhoneNumbers", "PhysicalAddresses"].contains(&path.key.as_str());
            if children != 1 || whole || !new.keys().any(|key| *key == path.key) {
                return Err(Problem::of_field(
                    "ErrorIncorrectUpdatePropertyCount",
                    "An object within a change description must contain one and only one property to modify.",
                    &path.uri,
                ));
            }
            for (key, value) in new {
                if key == path.key || (path.key == "Body" && key == "BodyType") {
                    fields.insert(key, value);
                }
            }
            Ok(())
        }
        other => {
            Err(Problem::new("ErrorInvalidPropertyAppend", format!("{other} is not supported for this property.")))
        }
    }
}

/// Keeps what differs from the series as an exception.
fn except(master: &mut Fields, start: &str, before: &Fields, after: Fields) {
    // What the series has and the occurrence has not is kept as such.
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let mut changed: Fields = gone.collect();
    changed.extend(after.into_iter().filter(|(key, value)| before.get(key) != Some(value)));
    let all = master.entry(EXCEPTIONS).or_insert_with(|| json!({}));
    if let Some(all) = all.as_object_mut() {
        let one = all.entry(start).or_insert_with(|| json!({}));
        if let Some(one) = one.as_object_mut() {
            one.extend(changed);
        }
    }
}

fn stored_start(found: &calendar::Occurrence) -> String {
    stored(found.original)
}

/// `m:Items` with the ids of items.
pub(super) fn ids(store: &Store, of: &[String]) -> String {
    let mut out = Out::new();
    out.start("m:Items");
    for item in of.iter().filter_map(|id| store.get(id)) {
        let kind = KINDS.iter().find(|(entity, _)| *entity == item.entity).map_or("Item", |(_, kind)| kind);
        out.start(&format!("t:{kind}")).empty("t:ItemId", &[("Id", &item.id), ("ChangeKey", &change_key(item))]).end();
    }
    out.done()
}

fn with_key(store: &Store, master: &str, id: &str) -> String {
    let key = store.get(master).map(change_key).unwrap_or_default();
    let mut out = Out::new();
    out.start("m:Items").start("t:CalendarItem").empty("t:ItemId", &[("Id", id), ("ChangeKey", &key)]);
    out.done()
}

/// The stored text of a field, as a person's edit gives it.
pub(super) fn as_stored(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        other => other,
    }
}
