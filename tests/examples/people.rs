//! Writes made-up people into a folder, for benchmarks and for trying things out:
//! `cargo run --release -p pairwise-tests --example people -- FOLDER COUNT [SEED [FIRST]]`.

use std::path::Path;
use std::process::ExitCode;

use pairwise_tests::people::{Crowd, write_cards};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u32| args.get(index).map_or(Some(default), |text| text.parse().ok());
    let (Some(folder), Some(count), Some(seed), Some(first)) = (args.first(), number(1, 0), number(2, 1), number(3, 0))
    else {
        eprintln!("people FOLDER COUNT [SEED [FIRST]]");
        return ExitCode::from(2);
    };
    let folder = Path::new(folder);
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| write_cards(folder, Crowd::tidy(seed.into()), first..first.saturating_add(count)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
