//! `sandbox`: simulated systems until somebody stops them. The first line of output tells programs where they are.

use std::io::Write;

use pairwise_sandbox::{Options, Sandbox};
use serde_json::json;

use super::args::SandboxArgs;
use super::error::{Error, Result};
use super::exit::Exit;
use super::interrupt::Interrupt;

pub(super) fn run(args: &SandboxArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let options = Options {
        systems: args.systems.clone(),
        users: args.users,
        contacts: args.contacts,
        seed: args.seed,
        port: args.port,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options)
        .map_err(|refused| Error::usage(refused.to_string(), "see `pairwise sandbox --help`"))?;
    let place = json!({ "control_url": sandbox.control_url(), "systems": sandbox.systems() });
    // A program reads this through a pipe, and waits for it.
    let mut out = std::io::stdout().lock();
    let told = writeln!(out, "{place}").and_then(|()| out.flush());
    told.map_err(|error| Error::internal(format!("cannot write to standard output: {error}")))?;
    anstream::eprintln!("The sandbox runs until Ctrl-C; its control API is {}/control.", sandbox.control_url());
    interrupt.wait();
    Ok(Exit::Interrupted)
}
