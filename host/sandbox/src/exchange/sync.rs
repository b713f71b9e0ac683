//! `SyncFolderItems`: what changed in a folder since a state that only the server understands.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::call::{Body, Call, Part, child, inside, text};
use super::mailbox::{FOLDER, asked_folder, contents};
use super::shape::{By, Shape, write_item};
use super::xml::{Fault, Out, Problem, answer};
use crate::store::{Happened, Item, Store};

/// The largest page.
const LARGEST: usize = 512;

/// Where a client stands in the log of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    folder: String,
    hierarchy: bool,
    /// The client knows everything up to here.
    pub(super) since: u64,
    /// It is being told what happened up to here; 0 between two rounds.
    until: u64,
    /// Changes from this place in the log on were told; 0 before the first page.
    told: u64,
}

impl State {
    pub(super) fn fresh(folder: &str, hierarchy: bool, until: u64) -> Self {
        State { folder: folder.to_owned(), hierarchy, since: 0, until, told: 0 }
    }

    /// Everything up to here was told.
    pub(super) fn settled(folder: &str, hierarchy: bool, since: u64) -> Self {
        State { since, ..State::fresh(folder, hierarchy, 0) }
    }

    /// As the client keeps it; states of an older epoch were dropped.
    pub(super) fn write(&self, epoch: u64) -> String {
        let State { folder, hierarchy, since, until, told } = self;
        // The real ones are as long as that, and grow.
        let padding = "H4sIAAA=".repeat(16);
        STANDARD.encode(format!("{epoch}|{folder}|{hierarchy}|{since}|{until}|{told}|{padding}"))
    }

    pub(super) fn read(text: &str, folder: &str, hierarchy: bool, epoch: u64) -> Result<State, Problem> {
        let parsed = || {
            let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
            let parts: Vec<&str> = text.split('|').collect();
            let state = State {
                folder: (*parts.get(1)?).to_owned(),
                hierarchy: *parts.get(2)? == "true",
                since: parts.get(3)?.parse().ok()?,
                until: parts.get(4)?.parse().ok()?,
                told: parts.get(5)?.parse().ok()?,
            };
            let fits = parts.first()?.parse() == Ok(epoch) && state.folder == folder && state.hierarchy == hierarchy;
            fits.then_some(state)
        };
        parsed().ok_or_else(|| {
            Problem::new("ErrorInvalidSyncStateData", "Synchronization state data is corrupt or otherwise invalid.")
        })
    }
}

/// What is sent beside an error.
pub(super) const ALWAYS: &str = "<m:SyncState/><m:IncludesLastItemInRange>true</m:IncludesLastItemInRange>";

impl Call<'_> {
    pub(super) fn sync_folder_items(&self) -> Body {
        let most: usize = text(self.request, "MaxChangesReturned").parse().unwrap_or(0);
        if !(1..=LARGEST).contains(&most) {
            let text = format!(
                "The request failed schema validation: The 'MaxChangesReturned' element is invalid - The value '{most}' is \
                 invalid according to its datatype - it must be from 1 to {LARGEST}."
            );
            return Err(Fault::new("ErrorSchemaValidation", text));
        }
        let shape = match child(self.request, "ItemShape") {
            Some(shape) => Shape::read(shape)?,
            None => Shape::default(),
        };
        let ignored: Vec<&str> =
            inside(self.request, "Ignore").into_iter().filter_map(|node| node.attribute("Id")).collect();
        let epoch = self.exchange.sync_epoch();
        let result = self.exchange.core.read(|store| -> Part {
            let Some(node) = inside(self.request, "SyncFolderId").into_iter().next() else {
                return Err(Problem::new("ErrorSyncFolderNotFound", "No folder was given."));
            };
            let folder = asked_folder(store, &self.mailbox, node).map_err(|problem| match problem.code {
                "ErrorFolderNotFound" => Problem::new("ErrorSyncFolderNotFound", problem.text),
                _ => problem,
            })?;
            let mut state = match text(self.request, "SyncState") {
                "" => State::fresh(&folder.id, false, 0),
                given => State::read(given, &folder.id, false, epoch)?,
            };
            if state.until == 0 {
                (state.until, state.told) = (store.version(), 0);
            }
            let all = changes(store, folder, state.since, state.until);
            let rest: Vec<&Net> = all.iter().filter(|change| state.told == 0 || change.version < state.told).collect();
            let page = &rest[..rest.len().min(most)];
            let last = page.len() == rest.len();
            let next = match page.last() {
                Some(told) if !last => State { told: told.version, ..state.clone() },
                _ => State { since: state.until, until: 0, told: 0, ..state.clone() },
            };
            let mut out = Out::new();
            out.leaf("m:SyncState", &next.write(epoch))
                .leaf("m:IncludesLastItemInRange", if last { "true" } else { "false" })
                .start("m:Changes");
            for change in page {
                let here = store.get(&change.id).filter(|item| item.container.as_deref() == Some(&folder.id));
                match (change.gone, here) {
                    _ if ignored.contains(&change.id.as_str()) => {}
                    (true, _) => drop(out.start("t:Delete").empty("t:ItemId", &[("Id", &change.id)]).end()),
                    // It went while the pages were told: the next round says so.
                    (false, None) => {}
                    (false, Some(item)) => {
                        out.start(if change.new { "t:Create" } else { "t:Update" });
                        write_item(&mut out, store, item, &shape, By::Listing);
                        out.end();
                    }
                }
            }
            Ok(out.done())
        });
        Ok(answer("SyncFolderItems", &[result], ALWAYS))
    }
}

/// What became of one item between two places in the log.
struct Net {
    id: String,
    version: u64,
    new: bool,
    gone: bool,
}

/// Newest first. What was made and deleted in between does not appear.
fn changes(store: &Store, folder: &Item, since: u64, until: u64) -> Vec<Net> {
    let mut net: Vec<Net> = if since == 0 {
        // What was changed since the first page is for the next round.
        let present = contents(store, folder).filter(|item| item.version <= until);
        present.map(|item| Net { id: item.id.clone(), version: item.version, new: true, gone: false }).collect()
    } else {
        let mut found: BTreeMap<&str, Net> = BTreeMap::new();
        let events = store.events_since(&folder.owner, since).iter().take_while(|event| event.version <= until);
        for event in events.filter(|event| event.container.as_deref() == Some(&folder.id) && event.entity != FOLDER) {
            let arrived = event.happened == Happened::Arrived;
            let entry = found.entry(&event.id).or_insert_with(|| Net {
                id: event.id.clone(),
                version: 0,
                new: arrived,
                gone: false,
            });
            entry.version = event.version;
            entry.gone = event.happened == Happened::Left;
        }
        found.into_values().filter(|change| !(change.new && change.gone)).collect()
    };
    net.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.id.cmp(&b.id)));
    net
}
