//! Mailboxes: ids, change keys, folders.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;
use serde_json::{Value, json};

use super::properties::shown;
use super::xml::{Out, Problem};
use crate::store::{Fields, Item, Store};

/// What an item is in the store, and what EWS calls it.
pub(super) const KINDS: &[(&str, &str)] =
    &[("contact", "Contact"), ("event", "CalendarItem"), ("list", "DistributionList"), ("mail", "Message")];
pub(super) const FOLDER: &str = "folder";

/// Folders that every mailbox has: distinguished id, parent, name, class.
const FOLDERS: &[(&str, &str, &str, &str)] = &[
    ("root", "", "", ""),
    ("msgfolderroot", "root", "Top of Information Store", "IPF.Note"),
    ("recoverableitemsroot", "root", "Recoverable Items", ""),
    ("recoverableitemsdeletions", "recoverableitemsroot", "Deletions", ""),
    ("inbox", "msgfolderroot", "Inbox", "IPF.Note"),
    ("drafts", "msgfolderroot", "Drafts", "IPF.Note"),
    ("sentitems", "msgfolderroot", "Sent Items", "IPF.Note"),
    ("outbox", "msgfolderroot", "Outbox", "IPF.Note"),
    ("deleteditems", "msgfolderroot", "Deleted Items", "IPF.Note"),
    ("junkemail", "msgfolderroot", "Junk E-Mail", "IPF.Note"),
    ("calendar", "msgfolderroot", "Calendar", "IPF.Appointment"),
    ("contacts", "msgfolderroot", "Contacts", "IPF.Contact"),
    ("recipientcache", "contacts", "Recipient Cache", "IPF.Contact.RecipientCache"),
    ("tasks", "msgfolderroot", "Tasks", "IPF.Task"),
    ("notes", "msgfolderroot", "Notes", "IPF.StickyNote"),
];

/// An id that was not given before: opaque, case-sensitive, as long as the real ones look.
pub(super) fn new_id(store: &mut Store, owner: &str, kind: u8) -> String {
    let number = store.next_number();
    let mut bytes = vec![0x01, kind];
    bytes.extend(fold(owner).to_be_bytes());
    bytes.extend([0x07, 0x00, 0x8e, 0x51]);
    // Neighbours differ in all of their characters, case included.
    bytes.extend(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend([0; 14]);
    format!("AAMkAD{}", STANDARD.encode(bytes))
}

/// FNV-1a.
fn fold(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(super) fn change_key(item: &Item) -> String {
    format!("EQAAABYAAAB{}", STANDARD.encode([&[0x6f, 0x11][..], &item.version.to_be_bytes()].concat()))
}

/// The key that an item keeps wherever it is moved (`PidTagSearchKey`).
pub(super) const SEARCH_KEY: &str = "0x300b";

pub(super) fn new_search_key(store: &mut Store, owner: &str) -> Value {
    let number = store.next_number();
    json!(STANDARD.encode([fold(owner).to_be_bytes(), number.to_be_bytes()].concat()))
}

/// Makes the folders of a new mailbox.
pub(super) fn make_folders(store: &mut Store, at: i64, owner: &str) {
    for (distinguished, parent, name, class) in FOLDERS {
        let container = folder(store, owner, parent).map(|folder| folder.id.clone());
        let fields = json!({ "Distinguished": distinguished, "DisplayName": name, "FolderClass": class });
        let id = new_id(store, owner, b'f');
        store.insert(at, owner, FOLDER, &id, container.as_deref(), object(fields));
    }
}

pub(super) fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

/// A folder by its distinguished id.
pub(super) fn folder<'s>(store: &'s Store, owner: &str, distinguished: &str) -> Option<&'s Item> {
    store.items(owner, FOLDER).find(|item| item.fields.get("Distinguished") == Some(&Value::from(distinguished)))
}

/// The folders directly in a folder.
pub(super) fn subfolders<'s>(store: &'s Store, of: &'s Item) -> impl Iterator<Item = &'s Item> {
    store.items(&of.owner, FOLDER).filter(|item| item.container.as_deref() == Some(&of.id))
}

/// All folders beneath a folder, parents first.
pub(super) fn folders_beneath<'s>(store: &'s Store, of: &'s Item) -> Vec<&'s Item> {
    let mut found: Vec<&Item> = subfolders(store, of).collect();
    let mut next = 0;
    while let Some(folder) = found.get(next).copied() {
        found.extend(subfolders(store, folder));
        next += 1;
    }
    found
}

/// What lies in a folder, folders left out.
pub(super) fn contents<'s>(store: &'s Store, folder: &'s Item) -> impl Iterator<Item = &'s Item> {
    let of = |(kind, _): &'s (&str, &str)| store.items(&folder.owner, kind);
    KINDS.iter().flat_map(of).filter(|item| item.container.as_deref() == Some(&folder.id))
}

/// Whether a folder is, or lies in, the deleted items.
pub(super) fn is_trash(store: &Store, folder: &str) -> bool {
    let mut at = store.get(folder);
    while let Some(folder) = at {
        let name = folder.fields.get("Distinguished").map(shown).unwrap_or_default();
        if matches!(name.as_str(), "deleteditems" | "recoverableitemsroot") {
            return true;
        }
        at = folder.container.as_deref().and_then(|parent| store.get(parent));
    }
    false
}

/// What a request says of a folder: its element's children are ids.
pub(super) fn asked_folder<'s>(store: &'s Store, owner: &str, node: Node<'_, '_>) -> Result<&'s Item, Problem> {
    let id = node.attribute("Id").unwrap_or_default();
    if node.tag_name().name() == "DistinguishedFolderId" {
        let named = node.descendants().find(|child| child.tag_name().name() == "EmailAddress");
        if named.and_then(|address| address.text()).is_some_and(|address| !address.eq_ignore_ascii_case(owner)) {
            return Err(Problem::new("ErrorAccessDenied", "Access is denied. Check credentials and try again."));
        }
        let found = folder(store, owner, id);
        return found.ok_or_else(|| {
            Problem::new("ErrorFolderNotFound", "The specified folder could not be found in the store.")
        });
    }
    store
        .get(id)
        .filter(|item| item.owner == owner && item.entity == FOLDER)
        .ok_or_else(|| Problem::new("ErrorFolderNotFound", "The specified folder could not be found in the store."))
}

/// A folder as an element.
pub(super) fn write_folder(out: &mut Out, store: &Store, folder: &Item) {
    let text = |name: &str| folder.fields.get(name).map(shown).unwrap_or_default();
    let class = text("FolderClass");
    let element = match class.split('.').nth(1) {
        Some("Contact") => "t:ContactsFolder",
        Some("Appointment") => "t:CalendarFolder",
        _ => "t:Folder",
    };
    out.start(element).empty("t:FolderId", &[("Id", &folder.id), ("ChangeKey", &change_key(folder))]);
    if let Some(parent) = &folder.container {
        out.empty("t:ParentFolderId", &[("Id", parent), ("ChangeKey", "AQAAAA==")]);
    }
    if !class.is_empty() {
        out.leaf("t:FolderClass", &class);
    }
    out.leaf("t:DisplayName", &text("DisplayName"))
        .leaf("t:TotalCount", &contents(store, folder).count().to_string())
        .leaf("t:ChildFolderCount", &subfolders(store, folder).count().to_string());
    if element == "t:Folder" {
        out.leaf("t:UnreadCount", "0");
    }
    out.end();
}
