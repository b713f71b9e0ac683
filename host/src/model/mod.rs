//! Pure words: what the parts of the host say to each other. Imports `plugin-api` only; no I/O here.

mod remote;
mod side;

pub use remote::Remote;
pub use side::{Side, Sides};
