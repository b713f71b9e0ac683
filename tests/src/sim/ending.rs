//! The end of each history: faults stop, time goes on, a person looks at what waits, and then all must be well.

use pairwise_host::model::Side;

use super::oracle::Broken;
use super::system::Human;
use super::world::World;

/// Runs in which one record may still be refused.
const POISONED: u32 = 8;
/// So many runs in a row write nothing.
const QUIET: u32 = 5;
/// Within so many.
const LIMIT: u32 = 30;

/// Lets the world come to rest, and judges it.
pub(super) fn end(world: &World) {
    world.calm();
    let troubled: Vec<Human> = world.systems.iter().flat_map(|(_, system)| system.troubled()).collect();
    for _ in 0..POISONED {
        world.time.advance(120_000);
        world.run(&[]);
        world.attend(&troubled);
    }
    judge_others(world, &troubled);
    world.heal();
    rest(world);
    let scope = world.scope();
    let records = world.records();
    let history = world.history();
    let status = world.status();
    let mut oracle = world.oracle();
    let last = Side::BOTH.into_iter().any(|side| scope.doubts_the_last(side, &records));
    if let Some(status) = status.filter(|_| !last) {
        if status.waiting + status.held > 0 {
            oracle.complain("P3", format!("{} announcement(s) wait for ever", status.waiting + status.held));
        }
        if status.open_intents > 0 {
            oracle.complain("P3", format!("{} intent(s) are open for ever", status.open_intents));
        }
    }
    let broken = oracle.judge_convergence(&records, &scope, &[]);
    oracle.broken.extend(broken);
    oracle.judge_values(&records, &history, &scope);
}

/// While some records are refused, all others have come to rest.
fn judge_others(world: &World, troubled: &[Human]) {
    let (records, scope, status) = (world.records(), world.scope(), world.status());
    let mut oracle = world.oracle();
    // A removal that cannot be done goes on waiting, and so does what is to be compared with a record that cannot be read;
    // what may have been made is asked for again and again.
    let waits = troubled.iter().any(|who| oracle.is_to_go(*who, &scope));
    let waits = waits || world.systems.iter().any(|(_, system)| system.is_garbled());
    let last = Side::BOTH.into_iter().any(|side| scope.doubts_the_last(side, &records));
    if let Some(status) =
        status.as_ref().filter(|status| status.waiting > 0 && status.open_intents == 0 && !waits && !last)
    {
        let found = format!("after {POISONED} runs {} announcement(s) wait, and nobody is asked", status.waiting);
        oracle.complain("P9", found);
    }
    // While nobody knows whether a record was made, strangers wait; a system that is too busy for it does not tell.
    let unknown = status.is_some_and(|status| status.open_intents > 0);
    let busy = world.systems.iter().any(|(_, system)| system.is_busy());
    if unknown && busy {
        return;
    }
    for Broken { found, .. } in oracle.judge_convergence(&records, &scope, troubled) {
        oracle.complain("P9", format!("after {POISONED} runs: {found}"));
    }
}

fn rest(world: &World) {
    let mut quiet = 0;
    for _ in 0..LIMIT {
        let before = world.effects();
        world.time.advance(120_000);
        world.run(&[]);
        let attended = world.attend(&[]);
        quiet = if world.effects() == before && !attended { quiet + 1 } else { 0 };
        if quiet == QUIET {
            return;
        }
    }
    world.oracle().complain("P5", format!("after {LIMIT} runs there is still something to write"));
}
