//! The demo of a CRM and a mail system, both simulated.

use owo_colors::OwoColorize;

use super::{Stage, refused};
use crate::cli::args::DemoArgs;
use crate::cli::error::Result;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::cli::report::Tense;
use crate::demo::folder::Folder;
use crate::demo::office::Office;

pub(super) fn run(mut stage: Stage<'_>, folder: Folder, args: &DemoArgs) -> Result<Exit> {
    let path = folder.path().to_owned();
    let office = Office::open(folder, args.contacts).map_err(refused)?;
    let users: Vec<String> =
        office.users().into_iter().map(|(login, mailbox)| format!("{login} ({mailbox})")).collect();
    stage.app.out.line(format_args!(
        "{}\n\nAn Infor CRM and an Outlook, both simulated but spoken to over their real protocols, and two people who use\n\
         both: {}. Their contacts do not exist.",
        format_args!("An office in {}", path.display()).bold(),
        users.join(" and "),
    ));
    stage.act(
        "A plan: what would a first run do?",
        &[
            "Contacts of the CRM that are in a person's group belong into the mailbox, entries of the mailbox into the CRM.",
            "Who is there already is found by the e-mail address. A plan writes nothing anywhere.",
        ],
        Tense::Planned,
    )?;
    stage.act(
        "The first run does just that.",
        &["A company that the CRM does not know becomes an account of it."],
        Tense::Done,
    )?;
    office.live().map_err(refused)?;
    stage.act(
        "A day passes in both systems.",
        &[
            "A new title in the CRM, a new number in a mailbox, and one person changed on both sides: what was typed last",
            "stays. Somebody new in a mailbox. A contact deleted in the CRM goes to the deleted items; an entry deleted in a",
            "mailbox leaves the group, and the CRM keeps it.",
        ],
        Tense::Done,
    )?;
    stage.act(
        "What one person changed reaches the other.",
        &["Contacts of the CRM that are in both groups: what came from one mailbox goes on into the other."],
        Tense::Done,
    )?;
    stage.act("Once more, and nothing has changed: nothing is written.", &[], Tense::Done)?;
    stage.document(&path);
    if args.stay { stay(&stage, &office, &path) } else { farewell(&stage, &path) }
}

fn farewell(stage: &Stage<'_>, path: &std::path::Path) -> Result<Exit> {
    let again = format!("demo --stay --dir {}", path.display());
    let again = crate::cli::app::command_line(None, &again);
    stage.app.out.line(format_args!(
        "\nThe two systems end with the demo. To keep them and play with {}:\n\n  {}",
        path.display(),
        again.cyan()
    ));
    Ok(stage.verdict())
}

/// Keeps the systems running, so that the folder can be played with from elsewhere.
fn stay(stage: &Stage<'_>, office: &Office, path: &std::path::Path) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    stage.app.out.line(format_args!(
        "\n{} The systems run until Ctrl-C; people's edits come through {}/control. Try elsewhere:\n",
        "Yours to play with.".bold(),
        office.sandbox().control_url()
    ));
    stage.tries(
        path,
        &[
            ("plan", "what a run would do"),
            ("sync", "a run"),
            ("connection check", "whether the systems answer"),
            ("status", "how things stand"),
            ("runs", "what happened"),
        ],
    );
    interrupt.wait();
    Ok(stage.verdict())
}
