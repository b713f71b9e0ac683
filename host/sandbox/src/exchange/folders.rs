//! Folders: looking, finding, making, and what changed in the tree.

use roxmltree::Node;
use serde_json::json;

use super::call::{Body, Call, Part, child, inside, number, text};
use super::mailbox::{FOLDER, asked_folder, folders_beneath, new_id, object, subfolders, write_folder};
use super::properties::shown;
use super::sync::State;
use super::xml::{Out, Problem, answer};
use crate::store::{Happened, Item, Store};

impl Call<'_> {
    pub(super) fn get_folder(&self) -> Body {
        let asked = inside(self.request, "FolderIds");
        let results: Vec<Part> = self.exchange.core.read(|store| {
            let one = |node: &Node<'_, '_>| {
                let folder = asked_folder(store, &self.mailbox, *node)?;
                let mut out = Out::new();
                out.start("m:Folders");
                write_folder(&mut out, store, folder);
                Ok(out.done())
            };
            asked.iter().map(one).collect()
        });
        Ok(answer("GetFolder", &results, "<m:Folders/>"))
    }

    pub(super) fn find_folder(&self) -> Body {
        let deep = self.request.attribute("Traversal") == Some("Deep");
        let view = child(self.request, "IndexedPageFolderView");
        let largest = self.exchange.largest_page();
        let most = view.and_then(|view| number(view, "MaxEntriesReturned")).unwrap_or(largest).min(largest);
        let offset = view.and_then(|view| number(view, "Offset")).unwrap_or(0);
        let restriction = child(self.request, "Restriction");
        let results: Vec<Part> = self.exchange.core.read(|store| {
            let one = |node: Node<'_, '_>| {
                let parent = asked_folder(store, &self.mailbox, node)?;
                let mut found: Vec<&Item> =
                    if deep { folders_beneath(store, parent) } else { subfolders(store, parent).collect() };
                if let Some(restriction) = restriction {
                    found.retain(|folder| super::find::fits(restriction, &folder.fields));
                }
                let page: Vec<&Item> = found.iter().skip(offset).take(most).copied().collect();
                let next = offset + page.len();
                let mut out = Out::new();
                out.start_with(
                    "m:RootFolder",
                    &[
                        ("IndexedPagingOffset", &next.to_string()),
                        ("TotalItemsInView", &found.len().to_string()),
                        ("IncludesLastItemInRange", if next >= found.len() { "true" } else { "false" }),
                    ],
                );
                out.start("t:Folders");
                page.into_iter().for_each(|folder| write_folder(&mut out, store, folder));
                Ok(out.done())
            };
            inside(self.request, "ParentFolderIds").into_iter().map(one).collect()
        });
        Ok(answer("FindFolder", &results, ""))
    }

    pub(super) fn create_folder(&self) -> Body {
        let parent = inside(self.request, "ParentFolderId").into_iter().next();
        let wanted = inside(self.request, "Folders");
        let results: Vec<Part> = self.exchange.core.write(|store, at| {
            let mut one = |node: Node<'_, '_>| {
                let parent =
                    parent.ok_or_else(|| Problem::new("ErrorFolderNotFound", "No parent folder was given."))?;
                let parent = asked_folder(store, &self.mailbox, parent)?.clone();
                let class = match (node.tag_name().name(), text(node, "FolderClass")) {
                    ("ContactsFolder", "") => "IPF.Contact",
                    ("CalendarFolder", "") => "IPF.Appointment",
                    (_, "") => "IPF.Note",
                    (_, class) => class,
                };
                let id = make_folder(store, at, &parent, text(node, "DisplayName"), class)?;
                let mut out = Out::new();
                if let Some(folder) = store.get(&id) {
                    out.start("m:Folders");
                    write_folder(&mut out, store, folder);
                }
                Ok(out.done())
            };
            wanted.into_iter().map(&mut one).collect()
        });
        Ok(answer("CreateFolder", &results, "<m:Folders/>"))
    }

    pub(super) fn delete_folder(&self) -> Body {
        let results: Vec<Part> = self.exchange.core.write(|store, at| {
            let mut one = |node: Node<'_, '_>| {
                let folder = asked_folder(store, &self.mailbox, node)?.clone();
                if folder.fields.contains_key("Distinguished") {
                    return Err(Problem::new(
                        "ErrorDeleteDistinguishedFolder",
                        "Distinguished folders cannot be deleted.",
                    ));
                }
                for inner in folders_beneath(store, &folder).into_iter().chain([&folder]).cloned().collect::<Vec<_>>() {
                    let items: Vec<String> =
                        super::mailbox::contents(store, &inner).map(|item| item.id.clone()).collect();
                    items.iter().for_each(|id| drop(store.remove(at, id)));
                    store.remove(at, &inner.id);
                }
                Ok(String::new())
            };
            inside(self.request, "FolderIds").into_iter().map(&mut one).collect()
        });
        Ok(answer("DeleteFolder", &results, ""))
    }

    /// The tree beneath a folder, as it changed.
    pub(super) fn sync_folder_hierarchy(&self) -> Body {
        let given = text(self.request, "SyncState");
        let result = self.exchange.core.read(|store| -> Part {
            let root = match inside(self.request, "SyncFolderId").first() {
                Some(node) => asked_folder(store, &self.mailbox, *node)?,
                None => {
                    super::mailbox::folder(store, &self.mailbox, "msgfolderroot").ok_or_else(Problem::item_not_found)?
                }
            };
            let state = match given {
                "" => State::fresh(&root.id, true, store.version()),
                given => State::read(given, &root.id, true, self.exchange.sync_epoch())?,
            };
            let mut out = Out::new();
            let next = State::settled(&root.id, true, store.version());
            out.leaf("m:SyncState", &next.write(self.exchange.sync_epoch()))
                .leaf("m:IncludesLastFolderInRange", "true")
                .start("m:Changes");
            for folder in folders_beneath(store, root) {
                let name = match (folder.version > state.since, store_made_since(store, folder, state.since)) {
                    (_, true) => "t:Create",
                    (true, false) => "t:Update",
                    (false, false) => continue,
                };
                out.start(name);
                write_folder(&mut out, store, folder);
                out.end();
            }
            let since = if given.is_empty() { store.version() } else { state.since };
            for event in store.events_since(&self.mailbox, since) {
                if event.entity == FOLDER && event.happened == Happened::Left && store.get(&event.id).is_none() {
                    out.start("t:Delete").empty("t:FolderId", &[("Id", &event.id)]).end();
                }
            }
            Ok(out.done())
        });
        Ok(answer(
            "SyncFolderHierarchy",
            &[result],
            "<m:SyncState/><m:IncludesLastFolderInRange>true</m:IncludesLastFolderInRange>",
        ))
    }
}

/// Whether a folder is new since a place in the log; the beginning knows nothing.
fn store_made_since(store: &Store, folder: &Item, since: u64) -> bool {
    let arrived = |event: &crate::store::Event| event.id == folder.id && event.happened == Happened::Arrived;
    since == 0 || store.events_since(&folder.owner, since).iter().any(arrived)
}

/// Makes a folder; its id.
pub(super) fn make_folder(
    store: &mut Store,
    at: i64,
    parent: &Item,
    name: &str,
    class: &str,
) -> Result<String, Problem> {
    if name.is_empty() {
        return Err(Problem::new("ErrorFolderSaveFailed", "A folder needs a name."));
    }
    let same = |folder: &Item| {
        folder.fields.get("DisplayName").map(shown).is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    if subfolders(store, parent).any(same) {
        return Err(Problem::new(
            "ErrorFolderExists",
            format!("A folder with the specified name already exists., {name}"),
        ));
    }
    let id = new_id(store, &parent.owner, b'f');
    let fields = object(json!({ "DisplayName": name, "FolderClass": class }));
    store.insert(at, &parent.owner, FOLDER, &id, Some(&parent.id), fields);
    Ok(id)
}
