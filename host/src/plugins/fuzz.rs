//! What a worker may send, what a plugin's file may hold, and what is kept about plugins.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use std::io::{self, Cursor, Read};
use std::path::Path;

use pairwise_plugin_api::manifest::Manifest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::find;
use super::frames::{Frames, ToHost, ToWorker, send};
use super::health;
use super::lock::LockFile;

const LARGEST_FRAME: u64 = 1 << 16;
const FILE: &str = "libsomething.so";

/// What comes over the socket of a worker, in either direction, in pieces of any size. The first byte says how large they
/// are.
pub fn frames(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    read::<ToHost>(bytes, piece);
    read::<ToWorker>(bytes, piece);
}

struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = to.len().min(self.1);
        self.0.read(&mut to[..length])
    }
}

/// What was read is sent and read again as the same frame; no frame is larger than is allowed.
fn read<H: Serialize + DeserializeOwned>(bytes: &[u8], piece: u8) {
    let mut frames = Frames::new(Pieces(bytes, usize::from(piece).max(1)), LARGEST_FRAME);
    while let Ok(Some(frame)) = frames.next::<H>(|| ()) {
        assert!(frame.payload().len() as u64 <= LARGEST_FRAME);
        let mut sent = Vec::new();
        send(&mut sent, frame.call, &frame.head, frame.payload()).unwrap();
        let again = Frames::new(&*sent, u64::MAX).next::<H>(|| ()).unwrap().unwrap();
        assert_eq!((again.call, again.payload()), (frame.call, frame.payload()));
        let head = |head: &H| postcard::to_stdvec(head).unwrap();
        assert_eq!(head(&again.head), head(&frame.head));
    }
}

/// A shared library, as far as it is read before it is trusted: its section, and what that says. And the files that tell which
/// libraries may be opened, and how they fared.
pub fn libraries(bytes: &[u8]) {
    let section = find::section_in(Path::new(FILE), Cursor::new(bytes)).unwrap_or(bytes.to_vec());
    assert!(section.len() <= bytes.len());
    if let Ok((stamp, manifest)) = Manifest::parse_section(&section) {
        let _ = find::check(Path::new(FILE), &stamp, &manifest);
        let written = [serde_json::to_string(&stamp).unwrap(), serde_json::to_string(&manifest).unwrap()].join("\n");
        assert_eq!(Manifest::parse_section(written.as_bytes()).unwrap(), (stamp, manifest));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lock) = LockFile::parse(Path::new("plugins.lock"), text) {
        assert_eq!(LockFile::parse(Path::new("plugins.lock"), &lock.text().unwrap()).unwrap(), lock);
    }
    health::standing_of(bytes, 1_780_000_000_000);
}
