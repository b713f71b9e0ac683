//! Gives the build an id: host and worker, which must be one build, compare it.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../plugin-api/src");
    let mut hash = DefaultHasher::new();
    for name in ["TARGET", "PROFILE", "CARGO_PKG_VERSION"] {
        env::var(name).unwrap_or_default().hash(&mut hash);
    }
    take_in(Path::new("src"), &mut hash)?;
    take_in(Path::new("../plugin-api/src"), &mut hash)?;
    println!("cargo::rustc-env=PAIRWISE_BUILD={:016x}", hash.finish());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux")
        && env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu")
    {
        // A megabyte of relocations that every process, host or worker, would read at its start fits into some kilobytes.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    Ok(())
}

fn take_in(folder: &Path, hash: &mut DefaultHasher) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            take_in(&entry.path(), hash)?;
        } else {
            entry.file_name().hash(hash);
            fs::read(entry.path())?.hash(hash);
        }
    }
    Ok(())
}
