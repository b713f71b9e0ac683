//! What `pairwise demo` shows: everything made up, the same each time.

pub mod folder;
pub mod office;
mod playground;
mod programs;

pub use playground::Playground;
