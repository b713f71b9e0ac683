//! What `tests/fuzz` does with bytes from outside: files as other programs may leave them, and cursors.
#![allow(clippy::unwrap_used, reason = "a target fails where a promise does not hold")]

use std::ops::Range;

use pairwise_plugin_api::{Cursor, Fields, Write};

use crate::content::{self, Kind, Part, Reading};
use crate::folder::{self, Place};
use crate::lines::Text;
use crate::property::Format;
use crate::scan::Memory;

/// A file of vCards.
pub fn cards(bytes: &[u8]) {
    file(Kind::Contact, bytes);
}

/// An iCalendar file.
pub fn calendars(bytes: &[u8]) {
    file(Kind::Event, bytes);
}

/// Whatever a file holds: its records lie in it one after the other, an edit that changes nothing leaves every byte, and what
/// can be read arrives in a second folder.
fn file(kind: Kind, bytes: &[u8]) {
    let text = Text::new(bytes);
    assert_eq!(&*text.bytes(0..text.as_str().len()), bytes, "the text is the file");
    let parts = content::parts(kind, &text);
    lies_apart(&parts, text.as_str().len());
    let keys = content::keys(kind, &text, &parts);
    assert_eq!(keys.len(), parts.len());
    for (part, key) in parts.iter().zip(&keys) {
        let place = Place { kind, path: format!("a{}", kind.extension()), key: Some(key.clone()) };
        assert_eq!(Place::of(kind, &place.id()), Some(place), "the id leads to the record");
        for block in &part.blocks {
            if let Ok(lines) = text.lines(block.span.clone(), block.line) {
                let ends: Vec<Range<usize>> = lines.iter().map(|line| line.span.clone()).collect();
                assert!(ends.windows(2).all(|two| two[0].end == two[1].start), "no byte between two lines");
            }
        }
        if let Ok(reading) = content::read(kind, &text, part) {
            stays(kind, bytes, &text, part, &Fields::new());
            stays(kind, bytes, &text, part, &reading.fields);
            arrives(kind, &reading);
        }
    }
}

fn lies_apart(parts: &[Part], length: usize) {
    let mut spans: Vec<Range<usize>> =
        parts.iter().flat_map(|part| part.blocks.iter().map(|block| block.span.clone())).collect();
    spans.sort_by_key(|span| span.start);
    assert!(spans.windows(2).all(|two| two[0].end <= two[1].start), "{spans:?}");
    assert!(spans.last().is_none_or(|last| last.end <= length));
}

/// Writing what is there changes no byte.
fn stays(kind: Kind, bytes: &[u8], text: &Text<'_>, part: &Part, fields: &Fields) {
    let write = Write { fields: fields.clone(), ..Write::default() };
    let edit = content::edit(kind, text, part, &write).unwrap();
    let after = content::replace(text, &edit.changes);
    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let other = lines(&after).into_iter().zip(lines(bytes)).find(|(now, before)| now != before);
    let shown = other.map(|(now, before)| (now.escape_ascii().to_string(), before.escape_ascii().to_string()));
    assert!(after == bytes, "an edit of nothing wrote {shown:?}");
}

/// A copy of a record can be read, and a copy of the copy says the same.
fn arrives(kind: Kind, reading: &Reading) {
    let copy = |fields: &Fields, uid: Option<&str>| {
        let write =
            Write { fields: fields.clone(), uid: uid.map(str::to_owned), key: "key".into(), ..Write::default() };
        content::create(kind, &write, Format::V30).bytes
    };
    let first = copy(&reading.fields, reading.uid.as_deref());
    let text = Text::new(&first);
    let parts = content::parts(kind, &text);
    assert_eq!(parts.len(), 1, "{}", text.as_str());
    let again = content::read(kind, &text, &parts[0]).unwrap_or_else(|broken| panic!("{broken}\n{}", text.as_str()));
    stays(kind, &first, &text, &parts[0], &again.fields);
}

/// What a listing left for the next one, and the ids of records.
pub fn folder_cursors(bytes: &[u8]) {
    if let Some(memory) = Memory::of(&Cursor(bytes.to_vec())) {
        assert_eq!(Memory::of(&memory.cursor().unwrap()), Some(memory));
    }
    let Ok(id) = std::str::from_utf8(bytes) else { return };
    for place in Kind::ALL.into_iter().filter_map(|kind| Place::of(kind, id)) {
        assert_eq!(place.id(), id);
        assert!(folder::is_safe(&place.path));
        folder::decode_name(&place.path);
    }
}

#[cfg(test)]
#[test]
fn corpora_are_replayed() {
    pairwise_replay::corpora(&[("cards", cards), ("calendars", calendars), ("folder_cursors", folder_cursors)]);
}
