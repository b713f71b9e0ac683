//! Outside programs that judge what we write.
//!
//! `PAIRWISE_JUDGES` names a Python environment in whose folder `node_modules` lies, too; `.ci/run` makes one, and its list of
//! packages is the only one. Where a program is missing a test says so and is skipped, except in CI (`CI=true`), where it fails.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of the environment, for instance `python` or `vdirsyncer`; `None` if the test is to be skipped.
///
/// # Panics
/// In CI, if the program is missing.
#[must_use]
pub fn judge(program: &str) -> Option<PathBuf> {
    found(&format!("bin/{program}"))
}

/// Node, and the folder of modules with this package in it; `None` if the test is to be skipped.
///
/// # Panics
/// In CI, if the package is missing.
#[must_use]
pub fn node(package: &str) -> Option<(PathBuf, PathBuf)> {
    let modules = found(&format!("node_modules/{package}/package.json"))?.parent()?.parent()?.to_path_buf();
    Some((PathBuf::from("node"), modules))
}

/// A program of ours that lets a judge work with a simulator.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(name)
}

/// Runs a judge to its end.
///
/// # Panics
/// If it does not say at its end that it is satisfied.
pub fn is_satisfied(program: &mut Command) {
    let output = program.output().unwrap_or_else(|error| panic!("{}: {error}", program.get_program().display()));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("satisfied\n"), "{said}\n{complained}");
}

fn found(what: &str) -> Option<PathBuf> {
    let place = env::var_os("PAIRWISE_JUDGES").map(|judges| PathBuf::from(judges).join(what));
    if let Some(path) = place.as_ref().filter(|path| path.is_file()) {
        return Some(path.clone());
    }
    let missing = match place {
        Some(path) => format!("{} is not there", path.display()),
        None => format!("PAIRWISE_JUDGES names no environment with {what}"),
    };
    assert!(env::var("CI").as_deref() != Ok("true"), "{missing}; .ci/run makes one");
    println!("skipped: {missing}");
    None
}
