//! Steps on files that leave them whole: temporary files, renames that replace nothing by accident, folders, and the lock.

use std::path::Path;
use std::time::{Duration, Instant};

use pairwise_plugin_api::{Class, Context, Failure};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, flock, fstat, fsync,
    futimens, linkat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::folder::{Root, Stamp, decode_name};

/// Names of temporary files.
const TEMPORARY: (&str, &str) = (".pairwise-", ".tmp");

/// So long a batch waits for another process to finish its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps other processes from writing here until `unlock`.
pub(crate) fn lock(root: &Root, cx: &Context) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match flock(&root.fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                if cx.wait(Duration::from_millis(5)) {
                    return crate::stop_if_cancelled(cx);
                }
            }
            Err(Errno::WOULDBLOCK) => {
                let text = format!("another run writes to {}; try again when it has ended", root.path.display());
                return Err(Failure::new(Class::Transient, text));
            }
            // File systems without locks have no second writer to fear but a person.
            _ => return Ok(()),
        }
    }
}

pub(crate) fn unlock(root: &Root) {
    let _ = flock(&root.fd, FlockOperation::Unlock);
}

pub(crate) fn temporary_name(key: &str, number: usize) -> String {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    format!("{}{key}-{number}{}", TEMPORARY.0, TEMPORARY.1)
}

/// Removes temporary files that a killed process left.
pub(crate) fn sweep(folder: &OwnedFd) {
    let Ok(names) = rustix::fs::Dir::read_from(folder) else { return };
    for entry in names.flatten() {
        let name = entry.file_name().to_bytes();
        if name.starts_with(TEMPORARY.0.as_bytes()) && name.ends_with(TEMPORARY.1.as_bytes()) {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

pub(crate) fn create_file(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(folder, name, flags, Mode::from_raw_mode(0o666))
}

pub(crate) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The kernel stamps files by a clock that advances in ticks, of 10 ms at most. A new file is dated back by two of them: a
/// change by somebody else right after the rename then shows in its stamp, and nobody has to wait for the next tick.
pub(crate) fn date_back(file: &OwnedFd) -> Result<Stamp, Errno> {
    const BACK: i64 = 20_000_000;
    let modified = Stamp::of(&fstat(file)?).modified - BACK;
    let time =
        |nanos: i64| Timespec { tv_sec: nanos.div_euclid(1_000_000_000), tv_nsec: nanos.rem_euclid(1_000_000_000) };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(file, &Timestamps { last_access, last_modification: time(modified) })?;
    Ok(Stamp::of(&fstat(file)?))
}

/// The new file may be read and written by whom the old one could, as far as this process may say so.
pub(crate) fn take_over_rights(root: &Root, path: &str, file: &OwnedFd) -> Result<(), Errno> {
    let old = statat(&root.fd, &*decode_name(path), AtFlags::SYMLINK_NOFOLLOW)?;
    let new = fstat(file)?;
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
        let owner = rustix::fs::Uid::from_raw(old.st_uid);
        let group = rustix::fs::Gid::from_raw(old.st_gid);
        let _ = rustix::fs::fchown(file, Some(owner), Some(group));
    }
    if old.st_mode != new.st_mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(old.st_mode))?;
    }
    Ok(())
}

/// A rename that never replaces a file.
pub(crate) fn rename_new(from: &OwnedFd, name: &[u8], into: &OwnedFd, new: &[u8]) -> Result<(), Errno> {
    match renameat_with(from, name, into, new, RenameFlags::NOREPLACE) {
        // File systems that do not know the flag: a second name fails where there is a file, and then the first one goes.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(from, name, into, new, AtFlags::empty())?;
            unlinkat(from, name, AtFlags::empty())
        }
        result => result,
    }
}

/// Renames to the wanted name, or to the first of `name-2.vcf`, `name-3.vcf`, … that is free.
pub(crate) fn rename_to_free_name(from: &OwnedFd, name: &[u8], into: &OwnedFd, wanted: &[u8]) -> Result<(), Errno> {
    let (stem, end) = wanted.split_at(wanted.len().saturating_sub(4));
    let mut result = rename_new(from, name, into, wanted);
    for number in 2..10_000 {
        if result != Err(Errno::EXIST) {
            break;
        }
        let other = [stem, format!("-{number}").as_bytes(), end].concat();
        result = rename_new(from, name, into, &other);
    }
    result
}

pub(crate) fn open_trash(trash: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(rustix::fs::CWD, trash, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            std::fs::create_dir_all(trash).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            openat(rustix::fs::CWD, trash, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Opens a subfolder, and makes it and those above it where they are missing, durably.
pub(crate) fn make_folder(root: &Root, folder: &str) -> Result<OwnedFd, Errno> {
    match root.open_folder(folder) {
        Err(Errno::NOENT) if !folder.is_empty() => {
            let (parent, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            let above = make_folder(root, parent)?;
            match rustix::fs::mkdirat(&above, &*decode_name(name), Mode::from_raw_mode(0o777)) {
                Ok(()) => fsync(&above)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            root.open_folder(folder)
        }
        opened => opened,
    }
}
