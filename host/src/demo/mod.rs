//! What `pairwise demo` shows, and people for tests: everything made up, the same each time.

mod playground;
mod programs;

pub use pairwise_sandbox::people;
pub use playground::{Playground, PlaygroundError};
