//! The folder: opening, reading, names and versions of its files. What only Linux has is here and in `write`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use pairwise_plugin_api::{Class, Failure};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, fstatfs, openat, statat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::content::Kind;
use crate::scan::subfolders;

/// A file larger than this is not read.
pub(crate) const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Where a file system's clock is not known to be this machine's, a file younger than this is taken for unsettled.
const YOUNG: i64 = 2_000_000_000;

/// File systems of this machine that stamp files from the kernel's own clock: ext, XFS, Btrfs, tmpfs, F2FS, overlayfs, ZFS.
const LOCAL: [u64; 7] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x794C_7630, 0x2FC1_2FC1];

/// The folder of a connection, open.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    is_local: bool,
    /// Device and inode of the folder for deleted files, if it is there: it is none of the containers.
    trash: Option<(u64, u64)>,
}

impl Root {
    pub(crate) fn open(path: &Path, trash: Option<&Path>) -> Result<Self, Failure> {
        let fd = openat(rustix::fs::CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| missing(path, error))?;
        let stat = fstat(&fd).map_err(|error| missing(path, error))?;
        let kind = fstatfs(&fd).map(|stat| stat.f_type).unwrap_or_default();
        let trash = trash.and_then(|trash| rustix::fs::stat(trash).ok()).map(|stat| (stat.st_dev, stat.st_ino));
        Ok(Root {
            path: path.to_owned(),
            device: stat.st_dev,
            inode: stat.st_ino,
            is_local: u64::try_from(kind).is_ok_and(|kind| LOCAL.contains(&(kind & 0xFFFF_FFFF))),
            trash,
            fd,
        })
    }

    /// A path for messages.
    pub(crate) fn show(&self, id: &str) -> String {
        self.path.join(id).display().to_string()
    }

    pub(crate) fn open_folder(&self, folder: &str) -> rustix::io::Result<OwnedFd> {
        let at = if folder.is_empty() { b".".into() } else { decode_name(folder) };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.fd, &*at, flags, Mode::empty())
    }

    /// Whether a folder is the one for deleted files.
    pub(crate) fn is_trash(&self, folder: &Stat) -> bool {
        self.trash == Some((folder.st_dev, folder.st_ino))
    }

    /// All folders by their relative path, the root (empty) first. What cannot be read makes the answer incomplete.
    pub(crate) fn folders(&self, complete: &mut bool) -> Result<Vec<String>, Failure> {
        let mut folders = vec![String::new()];
        let mut next = 0;
        while next < folders.len() {
            let folder = folders[next].clone();
            next += 1;
            let names = self.open_folder(&folder).and_then(|opened| {
                let stat = fstat(&opened)?;
                if self.is_trash(&stat) { Ok(None) } else { subfolders(&opened).map(Some) }
            });
            match names {
                Ok(Some(names)) => {
                    for name in names {
                        let mut path = folder.clone();
                        if !path.is_empty() {
                            path.push('/');
                        }
                        encode_name(&name, &mut path);
                        folders.push(path);
                    }
                }
                Ok(None) => {
                    next -= 1;
                    folders.remove(next);
                }
                Err(Errno::NOENT) if !folder.is_empty() => {}
                Err(error) if folder.is_empty() => return Err(failed("list", &self.show(""), error)),
                Err(_) => *complete = false,
            }
        }
        Ok(folders)
    }

    /// Looks at a file without opening it.
    pub(crate) fn look(&self, path: &str) -> rustix::io::Result<Stamp> {
        statat(&self.fd, &*decode_name(path), AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stamp::of(&stat))
    }

    /// Reads a file and what its version was meanwhile.
    pub(crate) fn read_into(&self, path: &str, buffer: &mut Vec<u8>) -> Result<Stamp, ReadError> {
        let name = decode_name(path);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = |flags| openat(&self.fd, &*name, flags, Mode::empty());
        // A file that is being written in place is read again.
        for _ in 0..3 {
            // When somebody has read a file is no news, and would be written to the disk. Only its owner may leave it out.
            let file = match open(flags | OFlags::NOATIME) {
                Err(Errno::PERM) => open(flags),
                opened => opened,
            }?;
            let before = fstat(&file)?;
            let size = u64::try_from(before.st_size).unwrap_or(0);
            if size > LARGEST_FILE {
                return Err(ReadError::TooLarge(size, Stamp::of(&before)));
            }
            buffer.clear();
            buffer.reserve(usize::try_from(size).unwrap_or(0) + 1);
            // A file that has grown meanwhile has another stamp.
            while (buffer.len() as u64) < size.max(1)
                && rustix::io::read(&file, rustix::buffer::spare_capacity(buffer))? > 0
            {
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(64 * 1024);
                }
                if buffer.len() as u64 > LARGEST_FILE {
                    return Err(ReadError::TooLarge(buffer.len() as u64, Stamp::of(&before)));
                }
            }
            let stamp = Stamp::of(&fstat(&file)?);
            if stamp == Stamp::of(&before) {
                return Ok(stamp);
            }
        }
        Err(ReadError::Io(Errno::BUSY))
    }

    /// True if the file could be changed once more without a trace in its stamp.
    pub(crate) fn is_unsettled(&self, stamp: &Stamp) -> bool {
        let is_fine = self.is_local && stamp.changed % 1_000_000_000 != 0;
        if is_fine { stamp.changed >= coarse_now() } else { stamp.changed > coarse_now() - YOUNG }
    }

    /// The version of a file: settled ones by their stamp; others have their content in it, so that they are read again.
    pub(crate) fn version(&self, stamp: &Stamp, content: impl FnOnce() -> Option<u64>) -> String {
        let unsettled = if self.is_unsettled(stamp) { content() } else { None };
        match unsettled {
            Some(digest) => format!("{}~{digest:016x}", stamp.version()),
            None => stamp.version(),
        }
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(Errno),
    TooLarge(u64, Stamp),
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        ReadError::Io(error)
    }
}

/// What the file system tells about a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    pub(crate) size: i64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) changed: i64,
}

impl Stamp {
    #[allow(clippy::cast_possible_wrap, reason = "nanoseconds are below a thousand million")]
    pub(crate) fn of(stat: &Stat) -> Self {
        let nanos = |seconds: i64, nanos: u64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos as i64);
        Stamp {
            inode: stat.st_ino,
            size: stat.st_size,
            modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    pub(crate) fn version(&self) -> String {
        let Stamp { inode, size, modified, changed } = self;
        format!("{inode:x}-{size:x}-{changed:x}-{:x}", changed.wrapping_sub(*modified))
    }

    /// Whether the content is the same: a rename changes nothing else.
    pub(crate) fn same_content(&self, other: &Stamp) -> bool {
        (self.inode, self.size, self.modified) == (other.inode, other.size, other.modified)
    }
}

/// The clock from which the kernel takes the times of files: it advances in ticks.
pub(crate) fn coarse_now() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// A file's name as part of an id. Bytes that are not UTF-8 become `%XX`.
pub(crate) fn encode_name(name: &[u8], id: &mut String) {
    for chunk in name.utf8_chunks() {
        id.push_str(chunk.valid());
        for byte in chunk.invalid() {
            id.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The path of an id. Only names that are no UTF-8 were escaped, and only bytes from 0x80 on: others stand for themselves.
pub(crate) fn decode_name(path: &str) -> Cow<'_, [u8]> {
    let bytes = path.as_bytes();
    if !bytes.contains(&b'%') {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let code =
            path.get(index + 1..index + 3).filter(|_| *byte == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|code| *code >= 0x80) {
            Some(code) => {
                out.push(code);
                index += 3;
            }
            None => {
                out.push(*byte);
                index += 1;
            }
        }
    }
    // `%C3%BC` written out in a name that is UTF-8 is not an escape.
    if std::str::from_utf8(&out).is_ok() { bytes.into() } else { out.into() }
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// The file, relative to the root.
    pub(crate) path: String,
    /// Which of several records of the file.
    pub(crate) key: Option<String>,
}

impl Place {
    /// Reads an id; `None` if it cannot be one.
    pub(crate) fn of(kind: Kind, id: &str) -> Option<Self> {
        let ends = |path: &str| Kind::of_file(path.rsplit('/').next()?.as_bytes()).filter(|found| *found == kind);
        let split = id.match_indices('#').find(|(at, _)| ends(&id[..*at]).is_some());
        let (path, key) = match (ends(id), split) {
            (Some(_), None) => (id, None),
            (_, Some((at, _))) => (&id[..at], Some(id[at + 1..].to_owned())),
            _ => return None,
        };
        is_safe(path).then(|| Place { kind, path: path.to_owned(), key })
    }

    /// The id that leads here.
    pub(crate) fn id(&self) -> String {
        match &self.key {
            Some(key) => format!("{}#{key}", self.path),
            None => self.path.clone(),
        }
    }

    /// The folder and the file's name in it.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }
}

/// True for a relative path that stays inside, through folders that are not hidden.
pub(crate) fn is_safe(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// The message of a folder that is not there.
pub(crate) fn missing(path: &Path, error: Errno) -> Failure {
    let what = match error {
        Errno::NOENT => "does not exist",
        Errno::NOTDIR => "is not a folder",
        Errno::ACCESS | Errno::PERM => "may not be read",
        _ => "cannot be opened",
    };
    let text = format!(
        "the folder {} {what} ({error}): check the setting `path`, and that its volume is mounted",
        path.display()
    );
    Failure::new(Class::Transient, text)
}

pub(crate) fn failed(verb: &str, what: &str, error: Errno) -> Failure {
    Failure::new(Class::Transient, format!("cannot {verb} {what}: {error}"))
}
