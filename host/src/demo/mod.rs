//! The demonstration, and the made-up people that it and the tests work with.

mod lands;
pub mod people;
