//! Logs: errors on standard error, more with `-v`, everything with `--log FILE`. What a run comes to is told by its report.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::error::{Error, Result};
use super::progress::BARS;

/// Sets the process's subscriber.
pub(crate) fn start(verbose: u8, file: Option<&Path>) -> Result<()> {
    let level = match verbose {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let console = fmt::layer()
        .with_writer(|| Stderr)
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never)
        .with_target(verbose > 1)
        .without_time()
        .with_filter(
            EnvFilter::builder().with_default_directive(level.into()).with_env_var("PAIRWISE_LOG").from_env_lossy(),
        );
    let file = file.map(open).transpose()?;
    let file = file.map(|file| fmt::layer().json().with_writer(Mutex::new(file)).with_filter(LevelFilter::DEBUG));
    // A subscriber that is set already (tests in one process) is as good.
    let _ = tracing_subscriber::registry().with(console).with(file).try_init();
    Ok(())
}

fn open(path: &Path) -> Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        Error::usage(
            format!("cannot write the log file {}: {error}", path.display()),
            "name a file in a folder that you may write to: --log FILE",
        )
    })
}

/// Standard error, above the progress bars.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
