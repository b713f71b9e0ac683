//! Contact folders.

use serde_json::{Value, json};

use super::Graph;
use super::call::{Answer, Call, Reply};
use super::item;
use crate::store::{Fields, Item};

/// The folder that every mailbox has.
pub(super) fn default_folder(user: &str) -> String {
    format!("AQMkADAwATM-{}-contacts=", tag(user))
}

pub(super) fn deleted_items(user: &str) -> String {
    format!("AQMkADAwATM-{}-deleteditems=", tag(user))
}

pub(super) fn default_calendar(user: &str) -> String {
    format!("AQMkADAwATM-{}-calendar=", tag(user))
}

/// Addresses within ids.
fn tag(user: &str) -> String {
    user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A folder as it is shown.
pub(super) fn show(folder: &Item, call: &Call) -> Value {
    let mut shown = item::head(folder, call);
    ["changeKey", "createdDateTime", "lastModifiedDateTime", "@odata.etag"]
        .iter()
        .for_each(|name| drop(shown.remove(*name)));
    shown.insert("displayName".to_owned(), folder.fields["displayName"].clone());
    shown.insert("parentFolderId".to_owned(), json!(folder.container));
    Value::Object(shown)
}

impl Graph {
    /// The folders that a new mailbox has.
    pub(super) fn make_mailbox(&self, user: &str) {
        let named = |name: &str| Fields::from_iter([("displayName".to_owned(), json!(name))]);
        self.core.write(|store, now| {
            store.insert(now, user, "folder", &default_folder(user), None, named("Contacts"));
            let calendar =
                Fields::from_iter([("name".to_owned(), json!("Calendar")), ("isDefault".to_owned(), json!(true))]);
            store.insert(now, user, "calendar", &default_calendar(user), None, calendar);
        });
    }

    /// A folder by its id or well-known name.
    pub(super) fn folder(&self, user: &str, id: &str) -> Result<Item, Reply> {
        let id = if id.eq_ignore_ascii_case("contacts") { default_folder(user) } else { id.to_owned() };
        let found = self.core.read(|store| store.get(&id).cloned());
        let here = found.filter(|item| item.owner == user && item.entity == "folder");
        here.ok_or_else(Reply::not_found)
    }

    /// `contactFolders` and `childFolders`: the folders within one; the default folder itself is not listed.
    pub(super) fn contact_folders(&self, call: &Call, user: &str, within: &str) -> Answer {
        match call.method.as_str() {
            "GET" => {
                let kept = |item: &Item| item.container.as_deref() == Some(within);
                self.list(call, user, "folder", kept, |item| show(item, call), |item| show(item, call))
            }
            "POST" => {
                let name = call.body["displayName"].as_str().unwrap_or_default().trim().to_owned();
                if name.is_empty() {
                    return Err(Reply::bad("The folder needs a displayName."));
                }
                self.make_folder(user, within, &name).map(|folder| Reply::json(201, show(&folder, call)))
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    pub(super) fn make_folder(&self, user: &str, within: &str, name: &str) -> Result<Item, Reply> {
        self.core.write(|store, now| {
            let same = |item: &Item| {
                item.container.as_deref() == Some(within) && item.fields["displayName"].as_str() == Some(name)
            };
            if store.items(user, "folder").any(same) {
                return Err(Reply::error(409, "ErrorFolderExists", "A folder with the specified name already exists."));
            }
            let id = format!("AQMkADAwATM-{}-{}=", tag(user), store.next_number());
            let fields = Fields::from_iter([("displayName".to_owned(), json!(name))]);
            Ok(store.insert(now, user, "folder", &id, Some(within), fields).clone())
        })
    }

    pub(super) fn one_folder(&self, call: &Call, user: &str, folder: &Item, words: &[&str]) -> Answer {
        match (call.method.as_str(), words) {
            ("GET", []) => Ok(Reply::ok(show(folder, call))),
            ("PATCH", []) => {
                let name = call.body["displayName"].clone();
                let changed = self.change_item(folder, |fields| {
                    fields.insert("displayName".to_owned(), name);
                    Ok(())
                })?;
                Ok(Reply::ok(show(&changed, call)))
            }
            ("DELETE", []) if folder.id == default_folder(user) => {
                Err(Reply::error(403, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted."))
            }
            ("DELETE", []) => {
                self.core.write(|store, now| {
                    let bin = deleted_items(user);
                    store.relocate(now, &folder.id, Some(&bin), None);
                    let inside = |item: &&Item| item.container.as_deref() == Some(folder.id.as_str());
                    let ids: Vec<String> =
                        store.items(user, "contact").filter(inside).map(|item| item.id.clone()).collect();
                    for id in &ids {
                        store.relocate(now, id, Some(&bin), None);
                    }
                });
                Ok(Reply::empty(204))
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }
}
