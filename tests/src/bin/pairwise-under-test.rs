//! The program, built for the tests of this crate: cargo tells a test only where the executables of its own package are.

fn main() -> std::process::ExitCode {
    pairwise_host::cli::main()
}
