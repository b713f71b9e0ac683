//! The program; see [`pairwise_host::cli`].

fn main() -> std::process::ExitCode {
    pairwise_host::cli::main()
}
