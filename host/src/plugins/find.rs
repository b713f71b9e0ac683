//! Discovery: which files are plugins, and what they say about themselves. Runs no code of theirs.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, FileKind, ReadRef, elf};
use pairwise_plugin_api::compat::{self, accepts};
use pairwise_plugin_api::header::SECTION;
use pairwise_plugin_api::manifest::{Manifest, Stamp};
use semver::Version;
use sha2::{Digest, Sha256};

use super::error::{LoadError, PluginName};

/// A shared library that was looked at.
#[derive(Debug)]
pub(super) struct Candidate {
    pub file: PathBuf,
    /// It lies beside an executable in a folder that cargo builds into.
    pub development: bool,
    pub content: Result<(Stamp, Manifest), LoadError>,
}

/// Where plugins are looked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub plugin_dir: Option<PathBuf>,
    /// The folder of the executable.
    pub beside: Option<PathBuf>,
}

impl Places {
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let deps = self.beside.as_ref().map(|folder| folder.join("deps"));
        self.plugin_dir.clone().into_iter().chain(self.beside.clone()).chain(deps).collect()
    }

    /// All plugins, in the order of the places; the same version in a later place is not told again.
    pub(super) fn scan(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for folder in self.all() {
            let ours = self.plugin_dir.as_ref() == Some(&folder);
            let beside = self.beside.as_ref().is_some_and(|beside| folder == *beside || folder == beside.join("deps"));
            let development = beside && is_cargo_target(&folder);
            for file in libraries_in(&folder) {
                let content = read(&file);
                // Beside an executable lie all kinds of libraries; in the plugin folder, one that is no plugin is a mistake.
                if !ours && matches!(content, Err(LoadError::NotAPlugin { .. } | LoadError::Unreadable { .. })) {
                    continue;
                }
                let same = |other: &&mut Candidate| match (&other.content, &content) {
                    (Ok((_, one)), Ok((_, two))) => (&one.id, &one.version) == (&two.id, &two.version),
                    _ => false,
                };
                let candidate = match candidates.iter_mut().find(same) {
                    // `cargo build` fills the one folder and `cargo test` the other: the later one holds what was meant.
                    Some(known) if known.development && development && is_newer(&file, &known.file) => known,
                    Some(_) => continue,
                    None => {
                        candidates.push(Candidate { file, development, content });
                        continue;
                    }
                };
                *candidate = Candidate { file, development, content };
            }
        }
        candidates
    }
}

fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION))
        .collect();
    files.sort();
    files
}

fn is_newer(file: &Path, other: &Path) -> bool {
    let built = |file: &Path| file.metadata().and_then(|data| data.modified()).ok();
    built(file) > built(other)
}

/// `target/debug` or its `deps`: cargo keeps its fingerprints there.
fn is_cargo_target(folder: &Path) -> bool {
    let profile = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    profile.join(".fingerprint").is_dir()
}

/// What a file says about itself, and whether this host could use it.
pub(super) fn read(file: &Path) -> Result<(Stamp, Manifest), LoadError> {
    let bytes = section(file)?;
    Manifest::parse_section(&bytes).map_err(|source| LoadError::Manifest { file: file.to_owned(), source })
}

/// Whether this host could use a plugin that says this about itself.
pub(super) fn check(file: &Path, stamp: &Stamp, manifest: &Manifest) -> Result<(), LoadError> {
    let name = Box::new(PluginName { id: manifest.id.clone(), version: manifest.version.clone() });
    let file = file.to_owned();
    if let Err(source) = accepts(&stamp.plugin_api, stamp.abi_epoch) {
        return Err(LoadError::Incompatible { name, file, source });
    }
    if stamp.target != compat::TARGET {
        return Err(LoadError::Target { name, file, found: stamp.target.clone() });
    }
    match &manifest.min_host {
        Some(wanted) if *wanted > host_version() => Err(LoadError::HostTooOld { name, wanted: wanted.clone() }),
        _ => Ok(()),
    }
}

fn host_version() -> Version {
    Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or(Version::new(0, 0, 0))
}

/// The bytes of a plugin's section, without mapping the file: a file that is cut short is an error, not a signal.
pub(super) fn section(file: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { file: file.to_owned(), source };
    let opened = File::open(file).map_err(unreadable)?;
    if !opened.metadata().map_err(unreadable)?.is_file() {
        return Err(LoadError::NotAPlugin { file: file.to_owned(), why: "it is not a file".to_owned() });
    }
    section_in(file, opened)
}

/// The same, of a file that is open.
pub(super) fn section_in(file: &Path, mut opened: impl Read + Seek) -> Result<Vec<u8>, LoadError> {
    let not = |why: &str| LoadError::NotAPlugin { file: file.to_owned(), why: why.to_owned() };
    let damaged = |why: object::Error| LoadError::Damaged { file: file.to_owned(), why: why.to_string() };
    let unreadable = |source| LoadError::Unreadable { file: file.to_owned(), source };

    let mut magic = Vec::new();
    opened.by_ref().take(4).read_to_end(&mut magic).map_err(unreadable)?;
    if magic != *b"\x7fELF" {
        return Err(not("it is not a shared library"));
    }
    let cache = object::ReadCache::new(opened);
    let found = match FileKind::parse(&cache).map_err(damaged)? {
        FileKind::Elf32 => section_of::<elf::FileHeader32<Endianness>>(&cache),
        _ => section_of::<elf::FileHeader64<Endianness>>(&cache),
    };
    found.map_err(damaged)?.ok_or_else(|| not("it is a shared library, but without a Pairwise manifest"))
}

/// Reads the list of sections and this one. The tables of symbols, which are as large as all else, are left alone.
fn section_of<'a, Elf: FileHeader<Endian = Endianness>>(data: impl ReadRef<'a>) -> object::Result<Option<Vec<u8>>> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let found = header.sections(endian, data)?.section_by_name(endian, SECTION.as_bytes());
    found.map(|(_, section)| section.data(endian, data).map(<[u8]>::to_vec)).transpose()
}

/// SHA-256 of a stream, in hexadecimal; `each` sees every piece.
pub(super) fn sha256(mut stream: impl Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 128 * 1024];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            len => {
                hash.update(&piece[..len]);
                each(&piece[..len])?;
            }
        }
    }
}

/// SHA-256 of a file.
pub(super) fn sha256_of(file: &Path) -> Result<String, LoadError> {
    File::open(file)
        .and_then(|opened| sha256(opened, |_| Ok(())))
        .map_err(|source| LoadError::Unreadable { file: file.to_owned(), source })
}
