//! Plugins are opened from a copy that is named by its content.
//!
//! A file that is replaced while it is mapped kills the process that maps it; one that is renamed over is silently not seen.
//! Neither can happen to `cache/<sha256>/lib.so`: it is written once, whole, and never again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{LoadError, PluginName};
use super::find::{sha256, sha256_of};

/// The folder of one content.
pub(super) fn folder(cache: &Path, hash: &str) -> PathBuf {
    cache.join(hash)
}

fn library(cache: &Path, hash: &str) -> PathBuf {
    folder(cache, hash).join(format!("lib.{}", std::env::consts::DLL_EXTENSION))
}

/// Whether a whole copy is there; it is read through, each time.
pub(super) fn holds(cache: &Path, hash: &str) -> Option<PathBuf> {
    let copy = library(cache, hash);
    (sha256_of(&copy).ok()? == hash).then_some(copy)
}

/// The copy of `file`, whose content is `hash`; made if it is not there.
pub(super) fn place(cache: &Path, name: &PluginName, file: &Path, hash: &str) -> Result<PathBuf, LoadError> {
    if let Some(copy) = holds(cache, hash) {
        return Ok(copy);
    }
    let copy = library(cache, hash);
    copy_into(&copy, file, hash).map_err(|source| LoadError::Cache {
        name: name.clone().into(),
        folder: cache.to_owned(),
        source,
    })?;
    Ok(copy)
}

/// Removes the copies of all contents but these. Workers that still run one keep it until they end.
pub(super) fn sweep(cache: &Path, keep: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_hash = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if name.to_str().is_some_and(|name| is_hash(name) && !keep(name)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn copy_into(copy: &Path, file: &Path, hash: &str) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = copy.parent().unwrap_or(copy);
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{}.{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let written = (|| {
        let mut target = File::create_new(&temporary)?;
        let found = sha256(File::open(file)?, |piece| target.write_all(piece))?;
        if found != hash {
            return Err(io::Error::other(format!("{} changed while it was copied", file.display())));
        }
        target.set_permissions(fs::Permissions::from_mode(0o444))?;
        // A worker of another session or process may be opening a copy that was made meanwhile, and is let to that file
        // only: a whole one stays. One that is damaged, and any on a file system without links, is replaced.
        if fs::hard_link(&temporary, copy).is_err() && sha256_of(copy).ok().as_deref() != Some(hash) {
            fs::rename(&temporary, copy)?;
        }
        // Nothing waits for the disk: a copy that a power failure cuts off does not have its hash, and is made again.
        Ok(())
    })();
    // Of no use to anybody any more; after a rename there is nothing left to remove.
    let _ = fs::remove_file(&temporary);
    written
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_another_session_made_meanwhile_stays() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.so");
        fs::write(&file, "library").unwrap();
        let hash = sha256_of(&file).unwrap();
        let copy = library(folder.path(), &hash);
        copy_into(&copy, &file, &hash).unwrap();
        let first = fs::metadata(&copy).unwrap().ino();
        copy_into(&copy, &file, &hash).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().ino(), first);
        assert_eq!(fs::read_dir(copy.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_is_made_once_and_checked_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.so");
        fs::write(&file, "content").unwrap();
        let hash = sha256_of(&file).unwrap();
        let cache = folder.path().join("cache");
        let name = PluginName { id: "x".into(), version: semver::Version::new(1, 0, 0) };
        assert!(holds(&cache, &hash).is_none());
        let copy = place(&cache, &name, &file, &hash).unwrap();
        assert_eq!(copy, cache.join(&hash).join("lib.so"));
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o444);

        // A copy that nobody mentions goes, anything else in the folder stays.
        fs::create_dir(cache.join("other")).unwrap();
        sweep(&cache, |known| known == hash).unwrap();
        assert!(copy.exists() && cache.join("other").exists());
        sweep(&cache, |_| false).unwrap();
        assert!(!copy.exists() && cache.join("other").exists());
        place(&cache, &name, &file, &hash).unwrap();

        // Somebody meddled with the copy: it is made anew.
        fs::remove_file(&copy).unwrap();
        fs::write(&copy, "cut").unwrap();
        assert_eq!(place(&cache, &name, &file, &hash).unwrap(), copy);
        assert_eq!(fs::read(&copy).unwrap(), b"content");

        // The source changed after it was hashed: nothing is kept.
        fs::write(&file, "other").unwrap();
        fs::remove_file(&copy).unwrap();
        let error = place(&cache, &name, &file, &hash).unwrap_err().to_string();
        assert!(error.contains("changed while it was copied"), "{error}");
        assert_eq!(fs::read_dir(cache.join(&hash)).unwrap().count(), 0);
    }
}
