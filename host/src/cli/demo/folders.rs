//! The demo of two address books in files.

use owo_colors::OwoColorize;

use super::{Stage, refused};
use crate::cli::error::Result;
use crate::cli::exit::Exit;
use crate::cli::report::Tense;
use crate::demo::Playground;
use crate::demo::folder::Folder;

pub(super) fn run(mut stage: Stage<'_>, folder: Folder, contacts: u32) -> Result<Exit> {
    let path = folder.path().to_owned();
    let playground = Playground::make(folder, contacts).map_err(refused)?;
    stage.app.out.line(format_args!(
        "{}\n\nTwo address books of people who do not exist: {} files on the desk, {} on the phone, written by different\n\
         programs under different names. Beside them a CRM that only pretends, copied into an archive.",
        format_args!("A playground in {}", path.display()).bold(),
        playground.count("desk"),
        playground.count("phone")
    ));
    stage.act(
        "The first run: who is who?",
        &[
            "The same people are matched by their e-mail addresses, others are copied across. Where both sides fill a field",
            "differently nobody knows who is right: that waits. A broken file is set aside, the others go on.",
        ],
        Tense::Done,
    )?;
    playground.live().map_err(refused)?;
    stage.act(
        "A day passes: somebody edits, somebody throws a card away.",
        &[
            "One person got a new title on the desk and a note on the phone: both survive. One card was thrown away on the",
            "phone: it goes to the trash on the desk.",
        ],
        Tense::Done,
    )?;
    let lost = playground.lose_most().map_err(refused)?;
    stage.act(
        "An accident: most of the phone's cards are gone.",
        &[&format!("{lost} files disappeared at once. No deletion is carried out before a person has looked.")],
        Tense::Done,
    )?;
    stage.act("Once more, and nothing has changed: nothing is written.", &[], Tense::Done)?;
    stage.document(&path);
    stage.app.out.line(format_args!(
        "\n{} Change a file in {} and try:\n",
        "Yours to play with.".bold(),
        path.join("address-books").display()
    ));
    stage.tries(
        &path,
        &[
            ("plan", "what a run would do"),
            ("conflicts list", "fields to decide"),
            ("holds list", "the removals that were held"),
            ("quarantine list", "the broken file"),
            ("status", "how things stand"),
        ],
    );
    Ok(stage.verdict())
}
