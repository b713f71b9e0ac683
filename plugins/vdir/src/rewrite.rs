//! What a file holds after a batch of writes to its records. Pure: nothing is read or written here.

use std::collections::{BTreeSet, HashMap, VecDeque};

use pairwise_plugin_api::{Action, Name, Write};

use crate::content::{self, Change, Kind};
use crate::folder::{Place, Stamp};
use crate::lines::Text;
use crate::records::part_version;

/// A file and what is to happen to its records.
#[derive(Debug)]
pub(crate) struct Order<'w> {
    pub(crate) kind: Kind,
    pub(crate) bytes: &'w [u8],
    pub(crate) stamp: Stamp,
    /// The file's whole content as a version knows it, for files that were seen before they were settled.
    pub(crate) digest: u64,
    /// The writes, each with its number in the batch.
    pub(crate) writes: Vec<(usize, &'w Write)>,
    /// Whether there is a trash folder.
    pub(crate) trash: bool,
}

/// What becomes of the file.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fate: Fate,
    /// The folder that it moves to.
    pub(crate) container: Option<String>,
    /// Records for the trash folder, each as a file of its own, while the file goes on.
    pub(crate) discarded: Vec<Vec<u8>>,
    pub(crate) done: Vec<Done>,
    /// Writes that are not done.
    pub(crate) refused: Vec<(usize, Refused)>,
    /// Fields of writes that are done but for these.
    pub(crate) refused_fields: Vec<(usize, Vec<Name>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    #[default]
    Kept,
    Removed,
    Trashed,
}

/// Why a write is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    Gone,
    /// The record has another version than the write expects.
    Conflict(Place),
    /// The record cannot be read.
    Broken(String),
}

/// A write that is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) index: usize,
    /// Of several records of the file: its key and version.
    pub(crate) part: Option<(String, String)>,
    pub(crate) uid: Option<String>,
    /// The record is no more.
    pub(crate) gone: bool,
}

/// Applies the writes. Those that concern different records of the file are done at once; a second write to the same record
/// starts another round.
pub(crate) fn rewrite(order: &Order<'_>) -> Rewritten {
    let mut result = Rewritten { bytes: order.bytes.to_vec(), ..Rewritten::default() };
    let mut queue: VecDeque<(usize, &Write)> = order.writes.iter().copied().collect();
    while !queue.is_empty() {
        let before = std::mem::take(&mut result.bytes);
        result.bytes = round(order, &before, &mut queue, &mut result);
    }
    result
}

fn round(order: &Order<'_>, bytes: &[u8], queue: &mut VecDeque<(usize, &Write)>, result: &mut Rewritten) -> Vec<u8> {
    let text = Text::new(bytes);
    let parts = if result.fate == Fate::Kept { content::parts(order.kind, &text) } else { Vec::new() };
    let alone = parts.len() == 1;
    let by_key = queue.iter().any(|(_, write)| write.at.id.contains('#'));
    let keys = if by_key { content::keys(order.kind, &text, &parts) } else { Vec::new() };
    let at_key: HashMap<&str, usize> = keys.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect();
    let mut changes: Vec<Change> = Vec::new();
    let mut touched: BTreeSet<usize> = BTreeSet::new();
    let mut removed: BTreeSet<usize> = BTreeSet::new();
    let mut updated: Vec<Updated> = Vec::new();
    while let Some((index, write)) = queue.front().copied() {
        let place = Place::of(order.kind, &write.at.id);
        let at = place.as_ref().and_then(|place| match &place.key {
            Some(key) => at_key.get(key.as_str()).copied(),
            None => alone.then_some(0),
        });
        let (Some(place), Some(at)) = (place, at) else {
            result.refused.push((index, Refused::Gone));
            queue.pop_front();
            continue;
        };
        if touched.contains(&at) {
            break;
        }
        let part = &parts[at];
        let is_expected = write.expect.as_deref().is_none_or(|expect| match place.key {
            None => matches(expect, order),
            Some(_) => expect == part_version(content::digest_of(&text, part)),
        });
        if !is_expected {
            result.refused.push((index, Refused::Conflict(place)));
        } else if write.action == Action::Update {
            match content::edit(order.kind, &text, part, write) {
                Err(broken) => result.refused.push((index, Refused::Broken(broken.to_string()))),
                // New definitions of zones stand in one place: let them not be written twice.
                Ok(edit) if edit.changes.iter().any(|change| clashes(change, &changes)) => break,
                Ok(edit) => {
                    changes.extend(edit.changes);
                    if !edit.refused.is_empty() {
                        result.refused_fields.push((index, edit.refused));
                    }
                    if alone {
                        result.container = write.container.clone().or(result.container.take());
                    }
                    updated.push(Updated { index, at, keyed: place.key.is_some() });
                    touched.insert(at);
                }
            }
        } else {
            let to_trash = order.trash && write.action == Action::Trash;
            if alone {
                result.fate = if to_trash { Fate::Trashed } else { Fate::Removed };
            } else {
                changes.extend(part.blocks.iter().map(|block| (block.span.clone(), Vec::new())));
                result.discarded.extend(to_trash.then(|| content::alone(order.kind, &text, part)));
            }
            result.done.push(Done { index, part: None, uid: None, gone: true });
            touched.insert(at);
            removed.insert(at);
        }
        queue.pop_front();
        if result.fate != Fate::Kept {
            return bytes.to_vec();
        }
    }
    if !parts.is_empty() && removed.len() == parts.len() {
        result.fate = Fate::Removed;
        return bytes.to_vec();
    }
    changes.sort_by_key(|(span, _)| (span.start, span.end));
    let after = content::replace(&text, &changes);
    result.done.extend(report(order.kind, &after, &updated, &removed));
    after
}

/// A record that an update changed.
struct Updated {
    index: usize,
    /// Which one of the file it was.
    at: usize,
    /// Its id names one of several.
    keyed: bool,
}

/// The keys and versions that updated records have now. Records keep their order, so each has moved by those removed before it.
fn report(kind: Kind, bytes: &[u8], updated: &[Updated], removed: &BTreeSet<usize>) -> Vec<Done> {
    let text = Text::new(bytes);
    let parts = content::parts(kind, &text);
    let by_key = updated.iter().any(|updated| updated.keyed);
    let keys = if by_key { content::keys(kind, &text, &parts) } else { Vec::new() };
    let done = |updated: &Updated| {
        let now = updated.at - removed.range(..updated.at).count();
        let version = parts.get(now).map(|part| part_version(content::digest_of(&text, part)));
        Done {
            index: updated.index,
            part: keys.get(now).cloned().zip(version).filter(|_| updated.keyed),
            uid: parts.get(now).and_then(|part| content::uid(kind, &text, part)),
            gone: false,
        }
    };
    updated.iter().map(done).collect()
}

fn clashes(change: &Change, others: &[Change]) -> bool {
    let (span, _) = change;
    others.iter().any(|(other, _)| span.start < other.end && other.start < span.end || span == other)
}

/// True if the file is still the one that the host has seen.
fn matches(expect: &str, order: &Order<'_>) -> bool {
    match expect.split_once('~') {
        Some((seen, hash)) => seen == order.stamp.version() && hash == format!("{:016x}", order.digest),
        None => expect == order.stamp.version(),
    }
}
