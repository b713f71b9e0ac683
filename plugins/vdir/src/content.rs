//! What records a file holds, whichever kind it is: the one place that tells vCards from calendars.

use std::collections::HashMap;
use std::ops::Range;

use pairwise_plugin_api::{Fields, Name, Participant, Write};
use sha2::{Digest, Sha256};

use crate::card::{self, Card};
use crate::draft::Edited;
use crate::event;
use crate::lines::{Broken, Text};
use crate::property::Format;

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Contact,
    Event,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Contact, Kind::Event];

    /// The entity's name in the catalogue.
    pub(crate) fn entity(self) -> &'static str {
        match self {
            Kind::Contact => "contact",
            Kind::Event => "event",
        }
    }

    pub(crate) fn of_entity(entity: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.entity() == entity)
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Kind::Contact => ".vcf",
            Kind::Event => ".ics",
        }
    }

    /// By the file's name. Hidden files are none of ours.
    pub(crate) fn of_file(name: &[u8]) -> Option<Self> {
        let end = name.get(name.len().checked_sub(4)?..)?;
        let kind = Kind::ALL.into_iter().find(|kind| end.eq_ignore_ascii_case(kind.extension().as_bytes()));
        kind.filter(|_| name[0] != b'.')
    }
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) span: Range<usize>,
    /// The number of its first line, counted from 1.
    pub(crate) line: usize,
}

/// One record of a file: a card, or an event with its exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) blocks: Vec<Block>,
}

/// The records of a file, in its order. None for a calendar that holds tasks or journals only.
pub(crate) fn parts(kind: Kind, text: &Text<'_>) -> Vec<Part> {
    match kind {
        Kind::Contact => card::cut(text.as_str()).into_iter().map(|block| Part { blocks: vec![block] }).collect(),
        Kind::Event => event::cut(text),
    }
}

/// True if the file certainly holds one record, decided without reading it whole: the common case.
pub(crate) fn is_single(kind: Kind, bytes: &[u8]) -> bool {
    let count = |line: &[u8]| {
        bytes.split(|byte| *byte == b'\n').filter(|raw| raw.trim_ascii().eq_ignore_ascii_case(line)).count()
    };
    match kind {
        Kind::Contact => count(b"BEGIN:VCARD") <= 1,
        Kind::Event => count(b"BEGIN:VEVENT") == 1,
    }
}

/// The names of the records of a file with several: stable while cards come and go around them. The UID, else a digest of
/// what identifies the card for a person.
pub(crate) fn keys(kind: Kind, text: &Text<'_>, parts: &[Part]) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(parts.len());
    let key = |part: &Part| {
        let key = match kind {
            Kind::Contact => card::identity(text, &part.blocks[0]),
            Kind::Event => event::identity(text, part),
        };
        let key = escape_key(&key.unwrap_or_else(|text| format!("{:016x}", digest([text.as_bytes()]))));
        let count = seen.entry(key.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count == 1 { key } else { format!("{key}~{count}") }
    };
    parts.iter().map(key).collect()
}

/// The UID of a record.
pub(crate) fn uid(kind: Kind, text: &Text<'_>, part: &Part) -> Option<String> {
    match kind {
        Kind::Contact => card::identity(text, &part.blocks[0]).ok(),
        Kind::Event => event::identity(text, part).ok(),
    }
}

/// Characters that need no thought in an id stay.
fn escape_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:@+{}()=,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The first eight bytes of SHA-256.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// The digest of one record of a file with several.
pub(crate) fn digest_of(text: &Text<'_>, part: &Part) -> u64 {
    let bytes: Vec<_> = part.blocks.iter().map(|block| text.bytes(block.span.clone())).collect();
    digest(bytes.iter().map(|bytes| &**bytes))
}

/// What a record says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) uid: Option<String>,
    /// When a program last changed it, as it says.
    pub(crate) revision: Option<String>,
    pub(crate) occurrence: Option<String>,
    pub(crate) participants: Vec<Participant>,
    pub(crate) fields: Fields,
}

pub(crate) fn read(kind: Kind, text: &Text<'_>, part: &Part) -> Result<Reading, Broken> {
    match kind {
        Kind::Contact => {
            let card = Card::parse(text, part.blocks[0].span.clone(), part.blocks[0].line)?;
            Ok(Reading {
                uid: card.uid().map(str::to_owned),
                revision: card.revision().map(str::to_owned),
                fields: card.fields()?,
                ..Reading::default()
            })
        }
        Kind::Event => event::read(text, part),
    }
}

/// New bytes in place of a part of a file; an empty part is a place between two bytes.
pub(crate) type Change = (Range<usize>, Vec<u8>);

/// An edit of one record of a file.
#[derive(Debug, Default)]
pub(crate) struct Edit {
    pub(crate) changes: Vec<Change>,
    /// Fields that could not be written.
    pub(crate) refused: Vec<Name>,
}

pub(crate) fn edit(kind: Kind, text: &Text<'_>, part: &Part, write: &Write) -> Result<Edit, Broken> {
    match kind {
        Kind::Contact => {
            let Block { span, line } = part.blocks[0].clone();
            let Edited { bytes, refused } = Card::parse(text, span.clone(), line)?.edit(&write.fields, false);
            Ok(Edit { changes: vec![(span, bytes)], refused })
        }
        Kind::Event => event::edit(text, part, write),
    }
}

/// The file after changes, which are in order and do not overlap.
pub(crate) fn replace(text: &Text<'_>, changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.as_str().len() + 512);
    let mut at = 0;
    for (span, new) in changes {
        out.extend(&*text.bytes(at..span.start));
        out.extend(new);
        at = span.end;
    }
    out.extend(&*text.bytes(at..text.as_str().len()));
    out
}

/// A new file with one record. `version` is that of vCards that do not come from another card.
pub(crate) fn create(kind: Kind, write: &Write, version: Format) -> Edited {
    match kind {
        Kind::Contact => card::create(&write.fields, write.uid.as_deref(), version),
        Kind::Event => event::create(write),
    }
}

/// The UID that a new record gets. An event must have one: the write's key stands in.
pub(crate) fn uid_of_new(kind: Kind, write: &Write) -> Option<&str> {
    match kind {
        Kind::Contact => write.uid.as_deref(),
        Kind::Event => Some(write.uid.as_deref().unwrap_or(&write.key)),
    }
}

/// One record of a file as a file of its own.
pub(crate) fn alone(kind: Kind, text: &Text<'_>, part: &Part) -> Vec<u8> {
    match kind {
        Kind::Contact => text.bytes(part.blocks[0].span.clone()).into_owned(),
        Kind::Event => event::alone(text, part),
    }
}
