//! Records out of files: reading, point reads, looking for values.
//!
//! When a record was modified, two things tell: what it says itself (`REV`, `LAST-MODIFIED`) and when its file was written. The
//! later one counts. A person who edits a card by hand leaves its `REV` as it was; so does a program that does not know the
//! property, and so do we, who keep every line that is not asked for. Only where a file's time was set back (out of an archive,
//! by a copy that keeps times) is the record's own time the later one. A copy or a restore without an edit makes a file newer,
//! too, but then nothing in the record differs from what was settled, and nobody asks when. What a synchroniser writes counts
//! from when it arrived here: later than it was typed, but never earlier than an edit that it has overwritten. A record's own
//! time that is yet to come is that of a wrong clock, and counts for nothing.

use std::collections::HashSet;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use pairwise_plugin_api::ops::FindRequest;
use pairwise_plugin_api::{Condition, Context, Failure, Fields, Found, Millis, Name, Record, RecordRef, Value};
use rustix::io::Errno;

use crate::content::{self, Kind, Part};
use crate::folder::{LARGEST_FILE, Place, ReadError, Root, Stamp, failed};
use crate::lines::Text;
use crate::scan::Seen;
use crate::values;

/// The file that was read last: the records of one file are mostly asked for one after the other.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    path: Option<String>,
    bytes: Vec<u8>,
    state: State,
    /// Of a file with several records: their parts and keys.
    parts: Vec<(Part, String)>,
}

/// Why a file that is there was not read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    TooLarge(u64),
    Refused(Errno),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::TooLarge(size) => write!(f, "{size} bytes; at most {LARGEST_FILE} are read"),
            Trouble::Refused(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Missing,
    /// It changes while it is read.
    Busy,
    Unreadable(Trouble, Stamp),
    Read(Stamp),
}

/// A record's file, open on the shelf.
#[derive(Debug)]
pub(crate) struct Loaded<'s> {
    pub(crate) bytes: &'s [u8],
    pub(crate) stamp: Stamp,
    /// The record within the file, or why the file was not read.
    pub(crate) part: Result<Part, Trouble>,
}

/// What the shelf has of a record.
#[derive(Debug)]
pub(crate) enum Shelved<'s> {
    Here(Loaded<'s>),
    Gone,
    /// Its file is there, but nobody can tell whether the record is.
    Unclear,
}

impl<'s> Shelved<'s> {
    pub(crate) fn here(self) -> Option<Loaded<'s>> {
        match self {
            Shelved::Here(loaded) => Some(loaded),
            Shelved::Gone | Shelved::Unclear => None,
        }
    }
}

impl Shelf {
    /// Finds a record; a failure only if the file system fails.
    pub(crate) fn load(&mut self, root: &Root, place: &Place) -> Result<Shelved<'_>, Failure> {
        if self.path.as_deref() != Some(&place.path) {
            self.read(root, place)?;
        }
        let stamp = match self.state {
            State::Missing => return Ok(Shelved::Gone),
            State::Unreadable(trouble, stamp) if place.key.is_none() => {
                return Ok(Shelved::Here(Loaded { bytes: &self.bytes, stamp, part: Err(trouble) }));
            }
            State::Unreadable(..) | State::Busy => return Ok(Shelved::Unclear),
            State::Read(stamp) => stamp,
        };
        let found = match &place.key {
            // The file has become one of several records: each of them has another id, and this one may be any of them.
            None if self.parts.len() > 1 => return Ok(Shelved::Unclear),
            None => self.parts.first(),
            Some(key) => self.parts.iter().find(|(_, other)| other == key),
        };
        let here = |(part, _): &(Part, String)| Loaded { bytes: &self.bytes, stamp, part: Ok(part.clone()) };
        Ok(found.map_or(Shelved::Gone, |found| Shelved::Here(here(found))))
    }

    /// Whether the file that was loaded last holds no record, or several.
    fn is_odd(&self) -> bool {
        matches!(self.state, State::Read(_)) && self.parts.len() != 1
    }

    fn read(&mut self, root: &Root, place: &Place) -> Result<(), Failure> {
        self.path = None;
        self.parts.clear();
        self.state = match root.read_into(&place.path, &mut self.bytes) {
            Ok(stamp) => State::Read(stamp),
            Err(ReadError::TooLarge(size, stamp)) => State::Unreadable(Trouble::TooLarge(size), stamp),
            Err(ReadError::Io(Errno::BUSY)) => State::Busy,
            Err(ReadError::Io(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR)) => State::Missing,
            // The file's own trouble, if it can be seen at all; else that of the whole folder.
            Err(ReadError::Io(error)) => match root.look(&place.path) {
                Ok(stamp) => State::Unreadable(Trouble::Refused(error), stamp),
                Err(error) => return Err(failed("look at", &root.show(&place.path), error)),
            },
        };
        if let State::Read(_) = self.state {
            let is_single = content::is_single(place.kind, &self.bytes);
            let text = Text::new(&self.bytes);
            let parts = content::parts(place.kind, &text);
            // Of a file with one record, nobody asks for its key but in passing.
            let keys = if is_single && place.key.is_none() {
                vec![String::new(); parts.len()]
            } else {
                content::keys(place.kind, &text, &parts)
            };
            self.parts = parts.into_iter().zip(keys).collect();
        }
        // Keys that were left out must not be looked up later.
        self.path = (self.parts.len() != 1).then(|| place.path.clone());
        Ok(())
    }
}

/// The record of a loaded file. What cannot be read is a record that says why.
pub(crate) fn record(root: &Root, place: &Place, loaded: &Loaded<'_>, wanted: &[Name]) -> Record {
    let (folder, _) = place.split();
    let written = loaded.stamp.modified / 1_000_000;
    let mut record = Record {
        at: RecordRef::new(place.kind.entity(), place.id()),
        modified: Some(written),
        container: Some(folder.to_owned()),
        ..Record::default()
    };
    let part = match &loaded.part {
        Ok(part) => part,
        Err(trouble) => {
            record.version = Some(loaded.stamp.version());
            record.conditions.push(Condition::unreadable(format!("{}: {trouble}", root.show(&place.path))));
            return record;
        }
    };
    let text = Text::new(loaded.bytes);
    record.version = Some(version(root, place, loaded, &text));
    match content::read(place.kind, &text, part) {
        Ok(reading) => {
            record.modified = Some(modified(written, reading.revision.as_deref(), now));
            record.incarnation.clone_from(&reading.uid);
            record.uid = reading.uid;
            record.occurrence = reading.occurrence;
            record.participants = reading.participants;
            record.fields = reading.fields;
            return narrowed(record, wanted);
        }
        Err(broken) => {
            let text = format!("{}: {broken}; correct or delete it", root.show(&place.path));
            record.conditions.push(Condition::unreadable(text));
        }
    }
    record
}

/// See the module's documentation.
fn modified(written: Millis, revision: Option<&str>, now: impl FnOnce() -> Millis) -> Millis {
    let told = revision.and_then(instant).filter(|told| *told > written);
    told.filter(|told| *told <= now()).unwrap_or(written)
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// What was read of a listing's next files.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Without those that are gone again.
    pub(crate) records: Vec<Record>,
    /// How many of the files these are, gone ones counted.
    pub(crate) done: usize,
    /// How many bytes were read for them.
    pub(crate) bytes: usize,
    /// New files that do not hold just one record: the listing does not say which they hold. What follows the first of them
    /// is not told.
    pub(crate) odd: Vec<String>,
}

/// Reads a listing's next files, until they come to so many bytes.
pub(crate) fn read_all(
    root: &Root,
    shelf: &mut Shelf,
    files: &[(&str, Seen)],
    most: usize,
    kind: fn(&str) -> Kind,
    wanted: &[Name],
) -> Result<Read, Failure> {
    let mut all = Read::default();
    for (id, seen) in files {
        if all.bytes >= most {
            break;
        }
        let place = Place::of(kind(id), id);
        let loaded = place.as_ref().map(|place| shelf.load(root, place)).transpose()?.and_then(Shelved::here);
        let record = place.zip(loaded).map(|(place, loaded)| {
            all.bytes += loaded.bytes.len();
            record(root, &place, &loaded, wanted)
        });
        if matches!(seen, Seen::New) && shelf.is_odd() {
            all.odd.push((*id).to_owned());
        }
        if all.odd.is_empty() {
            all.records.extend(record);
            all.done += 1;
        }
    }
    Ok(all)
}

/// The version of a loaded record: that of its file, or where the id names one of several, the digest of its text.
pub(crate) fn version(root: &Root, place: &Place, loaded: &Loaded<'_>, text: &Text<'_>) -> String {
    match &loaded.part {
        Ok(part) if place.key.is_some() => part_version(content::digest_of(text, part)),
        _ => root.version(&loaded.stamp, || Some(content::digest([loaded.bytes]))),
    }
}

pub(crate) fn part_version(digest: u64) -> String {
    format!("#{digest:016x}")
}

fn keep(fields: Fields, wanted: &[Name]) -> Fields {
    let is_wanted = |name: &Name| {
        wanted
            .iter()
            .any(|wanted| wanted == name || wanted.strip_suffix('*').is_some_and(|stem| name.starts_with(stem)))
    };
    fields.into_iter().filter(|(name, _)| is_wanted(name)).collect()
}

/// `2026-03-01T09:30:00Z` in any of its spellings, in milliseconds. A date is its midnight; without a zone it is UTC.
pub(crate) fn instant(text: &str) -> Option<Millis> {
    let (date, time) = text.trim().split_once('T').unwrap_or((text.trim(), "000000Z"));
    let mut basic = date.replace('-', "");
    basic.push('T');
    // Fractions of a second are dropped.
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-', '.']).unwrap_or(time.len()));
    basic.push_str(&clock.replace(':', ""));
    let zone = zone.trim_start_matches(|char: char| char == '.' || char.is_ascii_digit());
    basic.push_str(&if zone.is_empty() { "Z".to_owned() } else { zone.replace(':', "") });
    values::timestamp(&basic).map(|seconds| seconds * 1000)
}

/// Point reads, in the order of the ids.
pub(crate) fn get(root: &Root, at: &[RecordRef], wanted: &[Name], cx: &Context) -> Result<Vec<Found>, Failure> {
    let mut shelf = Shelf::default();
    let mut found = Vec::with_capacity(at.len());
    for at in at {
        crate::stop_if_cancelled(cx)?;
        let place = Kind::of_entity(&at.entity).and_then(|kind| Place::of(kind, &at.id));
        found.push(match &place {
            None => Found::gone(),
            Some(place) => match shelf.load(root, place)? {
                Shelved::Here(loaded) => Found::here(record(root, place, &loaded, wanted)),
                Shelved::Gone => Found::gone(),
                Shelved::Unclear => Found::default(),
            },
        });
        cx.progress(found.len() as u64, 0);
    }
    Ok(found)
}

/// One list of records for each value: those of which one of the fields holds it.
pub(crate) fn find<'i>(
    root: &Root,
    kind: Kind,
    ids: impl Iterator<Item = &'i str>,
    request: &FindRequest,
    cx: &Context,
) -> Result<Vec<Vec<Record>>, Failure> {
    let fold = |text: &str| if request.case_sensitive { text.trim().to_owned() } else { text.trim().to_lowercase() };
    let looked_for: Vec<String> = request.values.iter().map(|value| fold(value)).collect();
    let mut found = vec![Vec::new(); looked_for.len()];
    let mut shelf = Shelf::default();
    for id in ids {
        crate::stop_if_cancelled(cx)?;
        let Some(place) = Place::of(kind, id) else { continue };
        let Some(loaded) = shelf.load(root, &place)?.here() else { continue };
        let whole = record(root, &place, &loaded, &[]);
        let texts = request.by.iter().flat_map(|name| held(&whole, name));
        let held: HashSet<String> = texts.map(|text| fold(&text)).filter(|text| !text.is_empty()).collect();
        for (value, list) in looked_for.iter().zip(&mut found) {
            if held.contains(value) {
                list.push(narrowed(whole.clone(), &request.fields));
            }
        }
        cx.progress(1, 0);
    }
    Ok(found)
}

/// Records that were made without a UID, by the key that names their file.
pub(crate) fn find_by_key(
    root: &Root,
    kind: Kind,
    folders: &[String],
    keys: &[String],
    wanted: &[Name],
) -> Result<Vec<Vec<Record>>, Failure> {
    let mut shelf = Shelf::default();
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let mut list = Vec::new();
        for folder in folders {
            let slash = if folder.is_empty() { "" } else { "/" };
            let id = format!("{folder}{slash}{key}{}", kind.extension());
            let Some(place) = Place::of(kind, &id) else { continue };
            if let Some(loaded) = shelf.load(root, &place)?.here() {
                list.push(record(root, &place, &loaded, wanted));
            }
        }
        found.push(list);
    }
    Ok(found)
}

fn narrowed(mut record: Record, wanted: &[Name]) -> Record {
    if !wanted.is_empty() {
        record.fields = keep(record.fields, wanted);
    }
    record
}

fn held(record: &Record, name: &Name) -> Vec<String> {
    match record.fields.get(name) {
        Some(Value::List(list)) => list.iter().map(Value::to_string).collect(),
        Some(value) => vec![value.to_string()],
        None if &**name == "uid" => record.uid.iter().cloned().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_file_and_its_record_the_later_one_tells() {
        let day = |day: i64| day * 86_400_000;
        let told = |revision| modified(day(10), revision, || day(20));
        assert_eq!(told(None), day(10));
        assert_eq!(told(Some("1970-01-05")), day(10), "edited by hand since, or by a program that leaves it alone");
        assert_eq!(told(Some("19700116T000000Z")), day(15), "a file that came out of an archive");
        assert_eq!(told(Some("19700216T000000Z")), day(10), "a clock that is wrong");
        assert_eq!(told(Some("lately")), day(10));
    }

    #[test]
    fn instants_in_all_spellings() {
        for (text, want) in [
            ("1970-01-02T00:00:01Z", Some(86_401_000)),
            ("19700102T000001Z", Some(86_401_000)),
            ("1970-01-02T01:00:01.250+01:00", Some(86_401_000)),
            ("1970-01-02T00:00:01", Some(86_401_000)),
            ("1970-01-02", Some(86_400_000)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(instant(text), want, "{text}");
        }
    }
}
