//! What the tests of the whole program share: a world to run it in, the plugins, people, and outside programs as judges.
#![allow(clippy::expect_used, reason = "a test may panic")]

pub mod apart;
pub mod crm;
pub mod judges;
pub mod lanes;
pub mod memory;
pub mod migration;
pub mod office;
pub mod processes;
pub mod rules;
pub mod sim;
pub mod stage;
pub mod twins;
pub mod world;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::path::PathBuf;

pub use pairwise_sandbox::people;

/// The folder of the test that is running: cargo lays the plugins that this crate depends on beside it.
fn deps() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.parent().expect("a test lies in a folder").to_path_buf()
}

/// The library of a plugin of this workspace, freshly built.
///
/// # Panics
/// If the plugin is not among the dev-dependencies of this crate.
#[must_use]
pub fn plugin_path(id: &str) -> PathBuf {
    let path = deps().join(format!("{DLL_PREFIX}pairwise_{}{DLL_SUFFIX}", id.replace('-', "_")));
    assert!(path.is_file(), "{} is not there: add pairwise-{id} to the dev-dependencies of tests", path.display());
    path
}

/// The program, freshly built.
///
/// # Panics
/// If it was not built, which cargo does for the tests of this crate.
#[must_use]
pub fn program() -> PathBuf {
    let path = deps().with_file_name(format!("pairwise-under-test{EXE_SUFFIX}"));
    assert!(path.is_file(), "{} is not there: run the tests of this crate with cargo test or nextest", path.display());
    path
}
