//! Opening a library: from the moment its code may run. Everything that can be checked without that was checked before.
#![allow(
    unsafe_code,
    reason = "a library's symbols have the types that its checked header promises, which no compiler sees"
)]

use std::error::Error;
use std::path::PathBuf;
use std::slice;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use abi_stable::library::{LibHeader, lib_header_from_path};
use libloading::Library;
use pairwise_plugin_api::Failure;
use pairwise_plugin_api::compat::{self, accepts};
use pairwise_plugin_api::header::{MAGIC, PANIC_ABORT, PluginHeader, SYMBOL};
use pairwise_plugin_api::manifest::Manifest;
use pairwise_plugin_api::raw::PluginRoot_Ref;

use super::callbacks::{Hooks, host_api};
use super::error::{LoadError, PluginName};
use super::find;

/// Characters of a reason that was written for programmers.
const LONGEST_REASON: usize = 300;

/// What is opened.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub name: PluginName,
    /// In the cache.
    pub library: PathBuf,
    /// In this very process: then a library that cannot unwind is refused.
    pub in_process: bool,
}

/// Opens a library, checks all it says about itself, and lends it the host's functions.
pub(super) fn open(opening: &Opening, hooks: &'static dyn Hooks) -> Result<PluginRoot_Ref, LoadError> {
    let name = &opening.name;
    let header = header(opening)?;
    let (flags, api) = (header.flags, header.api);
    let manifest = manifest(opening, header)?;
    if (&manifest.id, &manifest.version) != (&name.id, &name.version) {
        let why = format!("its file calls itself `{}` {}", manifest.id, manifest.version);
        return Err(failed(name, why));
    }
    if opening.in_process && flags & PANIC_ABORT != 0 {
        return Err(LoadError::AbortsInProcess { name: name.clone().into() });
    }

    let library = lib_header_from_path(&opening.library).map_err(|error| failed(name, in_one_line(&error)))?;
    check_layout(name, api, library)?;
    // SAFETY: its layout is the one that was just checked.
    let root = unsafe { library.unchecked_layout::<PluginRoot_Ref>() };
    let root = root.map_err(|error| failed(name, error.to_string()))?;
    root.init()(host_api(hooks))
        .into_result()
        .map_err(|error| LoadError::Start { name: name.clone().into(), why: Failure::from(error).text })?;
    Ok(root)
}

fn failed(name: &PluginName, why: String) -> LoadError {
    LoadError::Open { name: name.clone().into(), why }
}

/// Our own header, before anything of abi_stable is touched.
fn header(opening: &Opening) -> Result<&'static PluginHeader, LoadError> {
    let name = &opening.name;
    // SAFETY: opening runs the library's constructors. It is the file that was locked, and in a worker nothing is in their
    // reach that the sandbox does not allow.
    let library = unsafe { Library::new(&opening.library) }.map_err(|error| failed(name, in_one_line(&error)))?;
    // Libraries are never unloaded: their threads and thread-locals would be left without code.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the symbol is used as raw bytes until its magic number was seen.
    let symbol = unsafe { library.get::<*const PluginHeader>(SYMBOL.as_bytes()) };
    let at: *const PluginHeader = match symbol {
        Ok(symbol) => *symbol,
        Err(_) => return Err(failed(name, format!("it does not export `{SYMBOL}`"))),
    };
    // SAFETY: a symbol of that name points at least at a magic number; if it is not ours, nothing more is read.
    let magic = unsafe { at.cast::<[u8; 16]>().read_unaligned() };
    if magic != MAGIC || !at.is_aligned() {
        return Err(failed(name, format!("what it exports as `{SYMBOL}` is not a plugin header")));
    }
    // SAFETY: it is a plugin header, lives as long as the library, and is constant; epoch 1 has all the members of this type.
    let header = unsafe { &*at };
    if (header.size as usize) < size_of::<PluginHeader>() {
        return Err(failed(name, format!("its header has {} bytes, too few", header.size)));
    }
    accepts(&compat::version(header.api), header.epoch).map_err(|source| LoadError::Incompatible {
        name: name.clone().into(),
        file: opening.library.clone(),
        source,
    })?;
    Ok(header)
}

/// What the header says must be what was read from the file.
fn manifest(opening: &Opening, header: &PluginHeader) -> Result<Manifest, LoadError> {
    let in_file = find::section(&opening.library)?;
    // SAFETY: the header of a library of this epoch points at its own constant bytes.
    let in_memory = unsafe { slice::from_raw_parts(header.section, header.section_len) };
    if in_file != in_memory {
        return Err(failed(&opening.name, "its header and its file tell two different manifests".to_owned()));
    }
    let parsed = Manifest::parse_section(&in_file);
    parsed.map(|(_, manifest)| manifest).map_err(|source| LoadError::Manifest { file: opening.library.clone(), source })
}

/// The layout check of abi_stable, but in the right direction and without its memory.
///
/// abi_stable lets the *library* be the newer one only, so the older one is passed as the expected one, whichever side it is
/// on. And it remembers the widest layout that any library had, so that the order of loading decides; hence fresh globals.
fn check_layout(name: &PluginName, api: [u32; 3], library: &'static LibHeader) -> Result<(), LoadError> {
    let ours = <PluginRoot_Ref as StableAbi>::LAYOUT;
    let theirs = library.layout().ok_or_else(|| failed(name, "it hides the layout of its types".to_owned()))?;
    let globals = CheckingGlobals::new();
    let checked = if api[1] >= compat::API[1] {
        check_layout_compatibility_with_globals(ours, theirs, &globals)
    } else {
        check_layout_compatibility_with_globals(theirs, ours, &globals)
    };
    checked.map_err(|errors| {
        let text = errors.to_string();
        tracing::debug!(plugin.id = name.id, %text, "layout check");
        LoadError::Layout {
            name: name.clone().into(),
            plugin: compat::version(api),
            host: compat::version(compat::API),
            differences: differences(&text),
        }
    })
}

/// abi_stable prints every type it met, a thousand lines; a person wants the three that begin with `Error:`.
fn differences(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(error) = line.strip_prefix("Error:") else { continue };
        let values = lines.by_ref().take(4).filter(|line| !line.is_empty() && line.len() < 60);
        let line = std::iter::once(error.trim()).chain(values).collect::<Vec<_>>().join(" ");
        if found.len() < 5 && !found.contains(&line) {
            found.push(line);
        }
    }
    found
}

/// An error with its causes, which libloading does not tell unasked, as one line that is not too long.
fn in_one_line(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_error_is_three_lines() {
        let text = "Compared <this>:\n  --- Type Layout ---\n    many lines\nError:incompatible type size\n    Expected:\n    \
                    96\n    Found:\n    104\nmore\nError:unexpected field\n";
        assert_eq!(differences(text), ["incompatible type size Expected: 96 Found: 104", "unexpected field"]);
    }
}
