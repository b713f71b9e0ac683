//! What `pairwise demo` shows, and people for tests: everything made up, the same each time.

mod playground;
mod programs;

pub use playground::{Playground, PlaygroundError};
