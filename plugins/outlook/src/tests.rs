//! The connector against the simulator of the sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod contacts;
mod events;
mod faults;
mod notify;
mod world;
