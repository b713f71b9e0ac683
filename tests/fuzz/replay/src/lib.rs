//! Calls a crate's fuzz targets with the inputs that lie in `tests/fuzz/corpus`: what `cargo fuzz` does without its luck.
//!
//! A crate that reads bytes from outside has a module `fuzz` with a table of its targets, and one test that hands it to
//! [`corpora`]. The programs in `tests/fuzz` call the same functions with bytes that nobody thought of.

use std::fs;
use std::path::{Path, PathBuf};

/// A target: the name of its corpus, and what is done with each input. It panics where a promise does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// Every input of every target's corpus.
///
/// # Panics
/// If a target does, or if it has no corpus.
#[allow(clippy::expect_used, reason = "a test may panic")]
pub fn corpora(targets: &[Target]) {
    for (name, target) in targets {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{}: no input", folder(name).display());
        for input in inputs {
            // The test's harness shows what was printed once something has gone wrong.
            println!("{}", input.display());
            target(&fs::read(&input).expect("an input can be read"));
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(name)
}

fn inputs(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).into_iter().flatten();
    let mut inputs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    inputs.sort();
    inputs
}
