//! The fuzz targets of the host, see `tests/fuzz`: what it reads from workers, files and its own state.
#![allow(missing_docs, reason = "the targets say it")]

pub use crate::config::fuzz::configuration;
pub use crate::plugins::fuzz::{frames, libraries};
pub use crate::schedule::fuzz::plans;
pub use crate::store::fuzz::state;

#[cfg(test)]
#[test]
fn corpora_are_replayed() {
    pairwise_replay::corpora(&[
        ("configuration", configuration),
        ("frames", frames),
        ("libraries", libraries),
        ("plans", plans),
        ("state", state),
    ]);
}
