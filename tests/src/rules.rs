//! What the tests of the pipeline and of its presets in memory share.

use pairwise_host::model::{LaneReport, LaneState};

use crate::twins::World;

/// A CRM and a mailbox, paired by the preset.
#[must_use]
pub fn crm() -> World {
    World::of_crm("")
}

/// A run that did everything; says why if it did not.
///
/// # Panics
/// With the report, otherwise.
#[track_caller]
pub fn fine(report: &LaneReport) {
    assert_eq!(report.state, LaneState::Done, "{report:#?}");
}

/// How much a run wrote on both sides.
#[must_use]
pub fn written(report: &LaneReport) -> u64 {
    report.left.written() + report.right.written()
}

/// Runs until nothing is left to do: the first run must do everything.
///
/// # Panics
/// If it does not.
#[track_caller]
#[allow(clippy::must_use_candidate, reason = "that it settles may be all that a test asks")]
pub fn settled(world: &mut World) -> LaneReport {
    let report = world.run();
    fine(&report);
    quiet(world);
    report
}

/// IC-6: a second run writes nothing.
///
/// # Panics
/// If it does.
#[track_caller]
pub fn quiet(world: &mut World) {
    world.left.take_writes();
    world.right.take_writes();
    let again = world.run();
    fine(&again);
    assert_eq!(written(&again), 0, "the run after it: {again:#?}");
    assert!(world.left.take_writes().is_empty() && world.right.take_writes().is_empty());
}

/// A person's fields.
#[must_use]
pub fn person<'a>(given: &'a str, surname: &'a str, mail: &'a str) -> [(&'a str, &'a str); 3] {
    [("name/given", given), ("name/surname", surname), ("emails/1/address", mail)]
}

/// A member of the group and its entry, linked; the entry's id.
#[must_use]
pub fn pair() -> (World, String) {
    let mut world = crm();
    world.left.put_account("acme", "Acme", 1);
    world.left.put("a", &person("Ann", "Lee", "ann@x"));
    world.left.edit("a", "organizations/1/name", "Acme");
    settled(&mut world);
    let there = world.right.one("emails/1/address", "ann@x");
    (world, there)
}
