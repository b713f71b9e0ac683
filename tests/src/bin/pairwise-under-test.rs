//! The program, built for the tests of this crate: cargo tells a test only where the executables of its own package are.

use std::process::ExitCode;

use pairwise_host::plugins::worker;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == worker::ARGUMENT) {
        return worker::main();
    }
    ExitCode::SUCCESS
}
