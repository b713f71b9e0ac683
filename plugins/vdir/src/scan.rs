//! Which records there are, by looking at folders and not at files.
//!
//! A file's inode, size, change time and modification time are its version. Files are opened only where these cannot tell
//! everything: a file that was changed so lately that a further change could leave no trace in them; and a file that holds no
//! record or several. Which files these are, the cursor of the last listing remembers; new and changed ones are looked at.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::panic::resume_unwind;
use std::thread;

use pairwise_plugin_api::serde::{Deserialize, Serialize};
use pairwise_plugin_api::{Context, Cursor, Failure, codec};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, RawDir, Stat, statat};

use crate::content::{self, Kind, digest};
use crate::folder::{Root, Stamp, encode_name, failed};
use crate::lines::Text;

/// Files are opened by at most so many threads, each of which has at least so many to open.
const MOST_THREADS: usize = 4;
const FILES_A_THREAD: usize = 250;

/// One line of a listing.
#[derive(Debug)]
struct Entry {
    start: u32,
    length: u32,
    seen: Seen,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen {
    /// A file with one record.
    File(Stamp),
    /// A file that nobody has looked at yet.
    New,
    /// A record of a file with several: the digest of its text.
    Part(u64),
}

/// When files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// While they are listed.
    Now,
    /// By whoever reads them.
    Later,
}

/// What a listing leaves for the next one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
pub(crate) struct Memory {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// When it began, in nanoseconds, by the clock that stamps files.
    pub(crate) started: i64,
    /// The kinds that were listed.
    pub(crate) kinds: Vec<String>,
    /// Digests of the folders that were there: path and inode. A folder that was moved here brings old files along.
    pub(crate) folders: Vec<u64>,
    /// Digests of the paths of files that do not hold exactly one record.
    pub(crate) odd: Vec<u64>,
    /// Within a listing: the last id of the page.
    pub(crate) after: Option<String>,
}

impl Memory {
    pub(crate) fn of(cursor: &Cursor) -> Option<Self> {
        codec::decode(&cursor.0).ok()
    }

    pub(crate) fn cursor(&self) -> Result<Cursor, Failure> {
        codec::encode(self)
            .map(Cursor)
            .map_err(|error| Failure::new(pairwise_plugin_api::Class::Other, error.to_string()))
    }
}

/// What is there, sorted by id. 100,000 files take about 9 MB.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    names: String,
    entries: Vec<Entry>,
    pub(crate) memory: Memory,
    /// False if a folder could not be read.
    pub(crate) complete: bool,
}

impl Listing {
    fn push(&mut self, id: &str, seen: Seen) {
        // Ids of more than 4 GiB together would take more memory than a worker has.
        let (Ok(start), Ok(length)) = (u32::try_from(self.names.len()), u32::try_from(id.len())) else { return };
        self.names.push_str(id);
        self.entries.push(Entry { start, length, seen });
    }

    fn id(&self, entry: &Entry) -> &str {
        let start = entry.start as usize;
        &self.names[start..start + entry.length as usize]
    }

    /// Ids and what was seen, behind an id.
    pub(crate) fn after<'a>(&'a self, id: Option<&str>) -> impl Iterator<Item = (&'a str, Seen)> {
        let start = id.map_or(0, |id| self.entries.partition_point(|entry| self.id(entry) <= id));
        self.entries[start..].iter().map(|entry| (self.id(entry), entry.seen))
    }

    /// Looks into new files that were found not to hold just one record.
    pub(crate) fn expand(&mut self, root: &Root, odd: &[String], cx: &Context) -> Result<(), Failure> {
        let mut doubtful = Vec::with_capacity(odd.len());
        for id in odd {
            let Ok(index) = self.entries.binary_search_by(|entry| self.id(entry).cmp(id)) else { continue };
            // By now it may hold one. If it is gone, whoever reads it sees that.
            if let (Some(kind), Ok(stamp)) = (Kind::of_file(id.as_bytes()), root.look(id)) {
                self.entries[index].seen = Seen::File(stamp);
                doubtful.push(Doubtful { index, kind, was_odd: false });
            }
        }
        self.look_into(root, &doubtful, cx)?;
        self.sort();
        Ok(())
    }

    /// Opens files, in the order of their entries, and puts what they hold in the place of those that do not hold one record.
    fn look_into(&mut self, root: &Root, files: &[Doubtful], cx: &Context) -> Result<(), Failure> {
        let found = abreast(files, |files| {
            let mut buffer = Vec::new();
            let mut found = Vec::new();
            for file in files {
                crate::stop_if_cancelled(cx)?;
                let held = file.look(root, self.id(&self.entries[file.index]), &mut buffer);
                found.extend(held.map(|held| (file.index, held)));
            }
            Ok(found)
        })?;
        if found.is_empty() {
            return Ok(());
        }
        let mut found = found.into_iter().peekable();
        for (index, entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            let Some((_, held)) = found.next_if(|(odd, _)| *odd == index) else {
                self.entries.push(entry);
                continue;
            };
            let id = self.id(&entry).to_owned();
            self.memory.odd.push(digest([id.as_bytes()]));
            for (key, digest) in held {
                self.push(&format!("{id}#{key}"), Seen::Part(digest));
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| self.id(a).cmp(self.id(b)));
        self.entries = entries;
        self.memory.folders.sort_unstable();
        self.memory.odd.sort_unstable();
    }
}

/// An entry whose file has to be opened.
#[derive(Debug, Clone, Copy)]
struct Doubtful {
    index: usize,
    kind: Kind,
    /// The last listing found no record in it, or several. One that held several keeps the ids of its records when a single
    /// one is left.
    was_odd: bool,
}

impl Doubtful {
    /// What a file holds that does not hold one record under its own id: names and digests of its records.
    fn look(&self, root: &Root, id: &str, buffer: &mut Vec<u8>) -> Option<Vec<(String, u64)>> {
        // What cannot be read now, or is too large, is a broken record: `get` says so.
        if root.read_into(id, buffer).is_err() || !self.was_odd && content::is_single(self.kind, buffer) {
            return None;
        }
        let text = Text::new(buffer);
        let parts = content::parts(self.kind, &text);
        let digests = parts.iter().map(|part| content::digest_of(&text, part));
        (parts.len() != 1 || self.was_odd)
            .then(|| content::keys(self.kind, &text, &parts).into_iter().zip(digests).collect())
    }
}

/// Looks at many files in several threads: what takes the time is the kernel's.
fn abreast<T: Send>(
    files: &[Doubtful],
    look: impl Fn(&[Doubtful]) -> Result<Vec<T>, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let share = files.len().div_ceil(threads).max(FILES_A_THREAD);
    let look = &look;
    thread::scope(|scope| {
        let mut shares = files.chunks(share);
        let first = shares.next().unwrap_or_default();
        let start = |files| {
            let builder = thread::Builder::new().name("look".to_owned());
            builder.spawn_scoped(scope, move || look(files)).map_err(|_| files)
        };
        let others: Vec<_> = shares.map(start).collect();
        let mut found = look(first)?;
        for other in others {
            found.extend(match other {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic))?,
                // Without a thread it takes longer.
                Err(files) => look(files)?,
            });
        }
        Ok(found)
    })
}

/// Looks at the folders.
pub(crate) fn scan(
    root: &Root,
    kinds: &[Kind],
    wanted: impl Fn(&str) -> bool,
    previous: Option<&Memory>,
    look: Look,
    cx: &Context,
) -> Result<Listing, Failure> {
    let names: Vec<String> = kinds.iter().map(|kind| kind.entity().to_owned()).collect();
    let mut scan = Scan {
        root,
        kinds,
        previous: previous
            .filter(|memory| (memory.device, memory.inode) == (root.device, root.inode) && memory.kinds == names),
        look,
        listing: Listing { complete: true, ..Listing::default() },
        doubtful: Vec::new(),
    };
    scan.listing.memory = Memory {
        device: root.device,
        inode: root.inode,
        started: crate::folder::coarse_now(),
        kinds: names,
        ..Memory::default()
    };
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        if cx.cancelled() {
            return Err(Failure::new(pairwise_plugin_api::Class::Cancelled, "the listing was stopped"));
        }
        let is_wanted = wanted(&folder);
        folders.extend(scan.folder(&folder, is_wanted)?);
        cx.progress(scan.listing.entries.len() as u64, 0);
    }
    let Scan { mut listing, doubtful, .. } = scan;
    listing.look_into(root, &doubtful, cx)?;
    listing.sort();
    Ok(listing)
}

struct Scan<'a> {
    root: &'a Root,
    kinds: &'a [Kind],
    previous: Option<&'a Memory>,
    look: Look,
    listing: Listing,
    doubtful: Vec<Doubtful>,
}

impl Scan<'_> {
    /// Takes in a folder's files, if they are wanted; answers its subfolders.
    fn folder(&mut self, folder: &str, is_wanted: bool) -> Result<Vec<String>, Failure> {
        let opened = match self.root.open_folder(folder) {
            Ok(opened) => opened,
            Err(error) if folder.is_empty() => return Err(failed("list", &self.root.show(""), error)),
            Err(error) => {
                self.listing.complete &= error == rustix::io::Errno::NOENT;
                return Ok(Vec::new());
            }
        };
        let itself = rustix::fs::fstat(&opened).map_err(|error| failed("look at", &self.root.show(folder), error))?;
        if self.root.is_trash(&itself) {
            return Ok(Vec::new());
        }
        let key = digest([folder.as_bytes(), b"\n", &itself.st_ino.to_le_bytes()]);
        let is_known = self.previous.is_some_and(|memory| memory.folders.binary_search(&key).is_ok());
        if is_wanted {
            self.listing.memory.folders.push(key);
        }
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut subfolders = Vec::new();
        let mut space = [MaybeUninit::uninit(); 32 * 1024];
        let mut names = RawDir::new(&opened, &mut space);
        let mut id = String::new();
        while let Some(entry) = names.next() {
            let entry = entry.map_err(|error| failed("list", &self.root.show(folder), error))?;
            let name = entry.file_name().to_bytes();
            let kind = Kind::of_file(name).filter(|kind| is_wanted && self.kinds.contains(kind));
            // A file that vanishes while we look is not there.
            let Some((file_type, stat)) = type_of(&opened, entry.file_name(), entry.file_type()) else { continue };
            id.clear();
            id.push_str(&prefix);
            encode_name(name, &mut id);
            match (file_type, kind) {
                _ if is_subfolder(name, file_type) => subfolders.push(id.clone()),
                (FileType::RegularFile, Some(_)) if self.look == Look::Later && !self.was_odd(&id) => {
                    self.listing.push(&id, Seen::New);
                }
                (FileType::RegularFile, Some(kind)) => {
                    let Some(stat) = stat.or_else(|| look_at(&opened, entry.file_name())) else { continue };
                    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                        self.file(kind, &id, &stat, is_known);
                    }
                }
                _ => {}
            }
        }
        Ok(subfolders)
    }

    /// Whether the last listing found no record in a file, or several.
    fn was_odd(&self, id: &str) -> bool {
        let known = self.previous.filter(|memory| !memory.odd.is_empty());
        known.is_some_and(|memory| memory.odd.binary_search(&digest([id.as_bytes()])).is_ok())
    }

    fn file(&mut self, kind: Kind, id: &str, stat: &Stat, folder_is_known: bool) {
        let stamp = Stamp::of(stat);
        let was_odd = self.was_odd(id);
        let is_as_it_was = folder_is_known && self.previous.is_some_and(|memory| stamp.changed < memory.started);
        if !is_as_it_was || was_odd {
            self.doubtful.push(Doubtful { index: self.listing.entries.len(), kind, was_odd });
        }
        self.listing.push(id, Seen::File(stamp));
    }
}

fn look_at(folder: &OwnedFd, name: &CStr) -> Option<Stat> {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// What an entry of a folder is, as told with its name; else it is looked at. `None` if it has vanished.
fn type_of(folder: &OwnedFd, name: &CStr, told: FileType) -> Option<(FileType, Option<Stat>)> {
    if told != FileType::Unknown {
        return Some((told, None));
    }
    let stat = look_at(folder, name)?;
    Some((FileType::from_raw_mode(stat.st_mode), Some(stat)))
}

/// Hidden folders are none.
fn is_subfolder(name: &[u8], file_type: FileType) -> bool {
    file_type == FileType::Directory && !name.starts_with(b".")
}

/// The subfolders of a folder.
pub(crate) fn subfolders(folder: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let file_type = type_of(folder, entry.file_name(), entry.file_type());
        if file_type.is_some_and(|(file_type, _)| is_subfolder(name, file_type)) {
            found.push(name.to_vec());
        }
    }
    Ok(found)
}
