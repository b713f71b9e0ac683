//! The pipeline over two systems in memory: what a person would see after each run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_host::model::{
    Direction, LaneState, OnCondition, Op, Predicate, Removal, Repair, Scan, Side, Test, Winner,
};
use pairwise_host::store::Chosen;
use pairwise_plugin_api::{Condition, Level};
use pairwise_tests::lanes::mirror;
use pairwise_tests::memory::{Memory, Trouble};
use pairwise_tests::rules::{fine, written};
use pairwise_tests::twins::World;

fn people(world: &World, count: usize) {
    for n in 0..count {
        let (name, mail) = (format!("Person {n}"), format!("p{n}@example.org"));
        world.left.put(&format!("l{n:03}"), &[("name/full", &name), ("emails/1/address", &mail)]);
    }
}

#[test]
fn a_first_run_copies_and_a_second_is_quiet() {
    let mut world = World::default();
    people(&world, 45);
    let report = world.run();
    fine(&report);
    assert_eq!((report.right.created, report.left.created), (45, 0));
    assert_eq!(world.left.column("name/full"), world.right.column("name/full"));
    world.left.take_writes();
    world.right.take_writes();
    let report = world.run();
    fine(&report);
    assert_eq!(written(&report), 0);
    assert!(world.right.take_writes().is_empty() && world.left.take_writes().is_empty());
}

#[test]
fn the_same_people_under_other_ids_are_linked_and_not_doubled() {
    let mut world = World::default();
    people(&world, 30);
    for n in 0..30 {
        let mail = format!("P{n}@Example.org");
        world.right.put(&format!("r{n:03}"), &[("name/full", &format!("Person {n}")), ("emails/1/address", &mail)]);
    }
    let report = world.run();
    fine(&report);
    assert_eq!(report.adopted, 30);
    assert_eq!((world.left.ids().len(), world.right.ids().len()), (30, 30));
    assert_eq!(written(&world.run()), 0);
}

#[test]
fn edits_of_different_fields_on_both_sides_survive() {
    let mut world = World::default();
    world.left.put("a", &[("name/full", "Ada"), ("emails/1/address", "ada@example.org")]);
    world.run();
    let there = world.right.ids().remove(0);
    world.left.edit("a", "titles/1/name", "Countess");
    world.right.edit(&there, "notes/1", "likes engines");
    let report = world.run();
    fine(&report);
    for (side, id) in [(&world.left, "a"), (&world.right, there.as_str())] {
        assert_eq!(side.field(id, "titles/1/name"), "Countess");
        assert_eq!(side.field(id, "notes/1"), "likes engines");
    }
    // Only what changed is sent.
    let updates = world.left.take_writes();
    assert_eq!(updates.last().unwrap().fields.len(), 1);
    assert_eq!(written(&world.run()), 0);
}

#[test]
fn the_latest_edit_of_one_field_wins_and_the_loser_is_in_history() {
    let mut world = World::default();
    world.left.put("a", &[("name/full", "Ada"), ("emails/1/address", "ada@example.org")]);
    world.run();
    let there = world.right.ids().remove(0);
    world.left.at(1_000);
    world.left.edit("a", "titles/1/name", "earlier");
    world.right.at(2_000);
    world.right.edit(&there, "titles/1/name", "later");
    fine(&world.run());
    assert_eq!(world.left.field("a", "titles/1/name"), "later");
    assert_eq!(world.right.field(&there, "titles/1/name"), "later");
    let history = format!("{:?}", world.db.history_of_record("a").unwrap());
    assert!(history.contains("earlier"), "{history}");
}

#[test]
fn a_deletion_travels_and_an_unseen_edit_beats_it() {
    let mut world = World::default();
    people(&world, 30);
    world.run();
    let (first, second) = (right_of(&world, "Person 0"), right_of(&world, "Person 1"));
    world.left.delete("l000");
    world.left.delete("l001");
    world.right.edit(&second, "notes/1", "call back");
    let report = world.run();
    fine(&report);
    assert!(!world.right.ids().contains(&first));
    assert_eq!(report.right.deleted, 1);
    assert_eq!(report.left.created, 1, "{report:#?}");
    assert!(world.left.column("notes/1").contains(&"call back".to_owned()));
    let report = world.run();
    assert_eq!(written(&report), 0, "{report:#?}");
}

fn right_of(world: &World, name: &str) -> String {
    world.right.ids().into_iter().find(|id| world.right.field(id, "name/full") == name).unwrap()
}

#[test]
fn mass_deletion_is_held_and_a_release_does_just_that() {
    let mut world = World::default();
    people(&world, 100);
    world.run();
    for id in world.left.ids().iter().skip(1) {
        world.left.delete(id);
    }
    world.left.put("new", &[("name/full", "Newcomer")]);
    let report = world.run();
    assert_eq!(report.held, 99, "{report:#?}");
    assert_eq!(report.right.deleted, 0);
    // The rest of the lane goes on.
    assert_eq!(report.right.created, 1);
    assert_eq!(report.state, LaneState::Partial);
    let report = world.run();
    assert_eq!((written(&report), report.held), (0, 0), "what is held is not counted again: {report:#?}");
    let hold = world.db.holds(0, 10).unwrap().remove(0);
    world.db.release_hold(hold.id).unwrap();
    let report = world.run();
    assert_eq!(report.right.deleted, 99, "{report:#?}");
    assert_eq!(world.right.ids().len(), 2);
}

#[test]
fn an_emptied_side_deletes_nothing() {
    let mut world = World::default();
    people(&world, 4);
    world.run();
    for id in world.left.ids() {
        world.left.delete(&id);
    }
    let report = world.run();
    assert_eq!(report.state, LaneState::Guarded, "{report:#?}");
    assert!(report.notes.iter().any(|note| note.contains("now lists none")));
    assert_eq!(world.right.ids().len(), 4);
}

#[test]
fn a_listing_that_leaves_out_records_deletes_nothing() {
    let mut world = World::default();
    people(&world, 10);
    world.run();
    world.left.hide(&["l001", "l002"]);
    let report = world.run();
    assert_eq!(world.right.ids().len(), 10);
    assert!(report.notes.iter().any(|note| note.contains("left out 2 record(s)")), "{report:#?}");
    world.left.hide(&[]);
    world.left.incomplete(true);
    world.left.delete("l003");
    world.run();
    assert_eq!(world.right.ids().len(), 10);
    world.left.incomplete(false);
    fine(&world.run());
    assert_eq!(world.right.ids().len(), 9);
}

#[test]
fn without_authoritative_reads_an_absence_is_believed_the_second_time() {
    let mut world = World::default();
    world.left.abilities.authoritative_get = false;
    people(&world, 10);
    world.run();
    world.left.delete("l003");
    fine(&world.run());
    assert_eq!(world.right.ids().len(), 10);
    fine(&world.run());
    assert_eq!(world.right.ids().len(), 9);
}

#[test]
fn a_lost_answer_makes_no_duplicate() {
    for trouble in [Trouble::AnswerLost, Trouble::Vanished] {
        for key in [
            pairwise_plugin_api::CreateKey::Takes,
            pairwise_plugin_api::CreateKey::Searchable,
            pairwise_plugin_api::CreateKey::None,
        ] {
            let mut world = World::default();
            world.right.abilities.create_key = key;
            people(&world, 30);
            world.right.trouble(trouble.clone());
            world.run();
            let report = world.run();
            assert_eq!(world.right.ids().len(), 30, "{trouble:?} {key:?} {report:#?}");
            let report = world.run();
            assert_eq!(written(&report), 0, "{trouble:?} {key:?} {report:#?}");
        }
    }
}

#[test]
fn a_lost_answer_of_an_update_is_no_edit() {
    let mut world = World::default();
    world.left.put("a", &[("name/full", "Ada"), ("emails/1/address", "ada@example.org")]);
    world.run();
    world.left.edit("a", "notes/1", "first");
    world.right.trouble(Trouble::AnswerLost);
    world.run();
    world.left.edit("a", "notes/1", "second");
    fine(&world.run());
    let there = world.right.ids().remove(0);
    assert_eq!(world.right.field(&there, "notes/1"), "second");
    assert_eq!(world.left.field("a", "notes/1"), "second");
    assert_eq!(written(&world.run()), 0);
}

/// A side that is listed whole tells also of the record that is about to be removed.
#[test]
fn a_record_whose_removal_was_not_answered_is_no_newcomer() {
    let mut world = World::default();
    world.right = Memory::mailbox("right");
    people(&world, 3);
    world.run();
    world.left.delete("l000");
    world.right.trouble(Trouble::AnswerLost);
    world.spec.scan.right = Scan::Full;
    let report = world.run();
    assert_eq!((world.left.ids().len(), world.right.ids().len()), (2, 2), "{report:#?}");
    assert_eq!(written(&world.run()), 0);
}

/// What a stream says about a code counts, whatever the system thinks of it.
#[test]
fn a_stream_says_what_a_condition_means() {
    let condition = |level| Condition {
        code: "no_country".into(),
        level,
        text: "the country has no code".into(),
        ..Condition::default()
    };
    let cases = [
        (None, (2, 0, 0, 1)),
        (Some(OnCondition::Allow), (2, 0, 0, 0)),
        (Some(OnCondition::Report), (2, 0, 0, 1)),
        (Some(OnCondition::Skip), (1, 1, 0, 0)),
        (Some(OnCondition::Fail), (1, 0, 1, 0)),
    ];
    for (on, expected) in cases {
        let mut world = World::default();
        people(&world, 2);
        let id = world.left.ids().remove(0);
        world.left.remark(&id, condition(Level::Field));
        world.spec.conditions = on.map(|on| ("no_country".to_owned(), on)).into_iter().collect();
        let report = world.run();
        let told = report.notes.iter().filter(|note| note.contains("no_country")).count();
        assert_eq!((report.right.created, report.refused, report.quarantined, told), expected, "{on:?}: {report:#?}");
    }
    // Of a whole side: nothing begins, or it does.
    for (on, state) in [(OnCondition::Fail, LaneState::Misconfigured), (OnCondition::Report, LaneState::Done)] {
        let mut world = World::default();
        people(&world, 1);
        world.left.complain(condition(Level::Stream));
        world.spec.conditions = [("no_country".to_owned(), on)].into();
        assert_eq!(world.run().state, state, "{on:?}");
    }
}

#[test]
fn one_refused_record_stops_only_itself() {
    let mut world = World::default();
    people(&world, 30);
    world.right.trouble(Trouble::RefusesFirst);
    let report = world.run();
    assert_eq!((report.quarantined, report.right.created), (1, 29), "{report:#?}");
    assert_eq!(report.state, LaneState::Partial);
    // It is not tried again while nothing changes, and tried again when it does.
    let report = world.run();
    fine(&report);
    assert_eq!(written(&report), 0);
    world.left.edit("l000", "name/full", "Shorter");
    assert_eq!(world.run().right.created, 1);
}

#[test]
fn shared_addresses_are_told_apart_by_name_and_phone_or_held() {
    let mut world = World::default();
    let family = [("emails/1/address", "home@example.org")];
    let with = |name: &'static str, phone: &'static str| {
        let mut fields = vec![("name/full", name), ("phones/work/number", phone)];
        fields.extend(family);
        fields
    };
    world.left.put("l1", &with("Ann", "+49 30 1111111"));
    world.left.put("l2", &with("Bob", "+49 30 2222222"));
    world.left.put("l3", &with("Cleo", ""));
    world.right.put("r1", &with("Ann", "030 1111111"));
    world.right.put("r2", &with("Bob", "030 2222222"));
    world.right.put("r3", &with("Cleopatra", ""));
    let report = world.run();
    assert_eq!(report.adopted, 2, "{report:#?}");
    assert_eq!(report.held, 2, "{report:#?}");
    assert_eq!((world.left.ids().len(), world.right.ids().len()), (3, 3));
    assert_eq!(world.run().state, LaneState::Done);
}

#[test]
fn different_values_at_the_first_match_wait_for_a_person() {
    let mut world = World::default();
    world
        .left
        .put("a", &[("name/full", "Ada"), ("emails/1/address", "ada@example.org"), ("titles/1/name", "Countess")]);
    world.right.put(
        "b",
        &[("name/full", "Ada"), ("emails/1/address", "ada@example.org"), ("titles/1/name", "Lady"), ("notes/1", "x")],
    );
    let report = world.run();
    assert_eq!((report.conflicts, report.adopted), (1, 1), "{report:#?}");
    assert_eq!(world.left.field("a", "notes/1"), "x", "an empty value is filled");
    assert_eq!(world.left.field("a", "titles/1/name"), "Countess");
    assert_eq!(world.right.field("b", "titles/1/name"), "Lady");
    assert_eq!(world.run().conflicts, 0, "a standing conflict is not told again");
    let conflict = world.db.conflicts(&world.spec.key, 0, 10).unwrap().remove(0);
    world.db.decide_conflicts(&Chosen::One(conflict.id), Winner::Right).unwrap();
    fine(&world.run());
    assert_eq!(world.left.field("a", "titles/1/name"), "Lady");
    assert!(world.db.conflicts(&world.spec.key, 0, 10).unwrap().is_empty());
    assert_eq!(written(&world.run()), 0);
}

/// A call that fails is made again at once, and its writes again in the same run. What is left counts once, and says why.
#[test]
fn what_was_not_done_counts_once_and_says_why() {
    let mut world = World::default();
    people(&world, 3);
    (0..4).for_each(|_| world.right.trouble(Trouble::Busy));
    let report = world.run();
    fine(&report);
    assert_eq!((report.right.created, report.right.failed), (3, 0), "done after all: {report:#?}");
    world.left.edit("l001", "notes/1", "changed");
    (0..100).for_each(|_| world.right.trouble(Trouble::Busy));
    let report = world.run();
    assert_eq!((report.state, report.right.failed), (LaneState::Partial, 1), "{report:#?}");
    let says_why = |note: &String| note.contains("1 write(s) were not done") && note.contains("too busy");
    assert!(report.notes.iter().any(says_why), "{report:#?}");
}

#[test]
fn a_reused_id_is_another_record() {
    let mut world = World::default();
    people(&world, 10);
    world.run();
    world.left.put("l004", &[("name/full", "Somebody else")]);
    fine(&world.run());
    let names = world.right.column("name/full");
    assert!(names.contains(&"Somebody else".to_owned()) && !names.contains(&"Person 4".to_owned()), "{names:?}");
    assert_eq!(names.len(), 10);
    assert_eq!(written(&world.run()), 0);
}

#[test]
fn a_one_way_copy_never_writes_its_source_and_restores_what_the_target_lost() {
    let mut spec = mirror();
    spec.direction = Direction::LeftToRight;
    spec.repair = Repair::OnChange;
    spec.removed[Side::Right].deleted = Removal::Restore;
    let mut world = World::new(spec);
    world.right.put("old", &[("name/full", "Person 3"), ("emails/1/address", "p3@example.org")]);
    world.right.put("other", &[("name/full", "Nobody's business")]);
    people(&world, 10);
    let report = world.run();
    fine(&report);
    assert_eq!((report.adopted, report.right.created, world.right.ids().len()), (1, 9, 11), "{report:#?}");
    let there = right_of(&world, "Person 5");
    world.right.delete(&there);
    fine(&world.run());
    assert_eq!(world.right.ids().len(), 10, "the target is not looked at before the source changes");
    world.left.edit("l005", "notes/1", "changed");
    fine(&world.run());
    assert_eq!(world.right.field(&right_of(&world, "Person 5"), "notes/1"), "changed");
    assert!(world.left.take_writes().is_empty());
    assert_eq!(written(&world.run()), 0);
    world.left.edit("l005", "titles/1/name", "Head");
    fine(&world.run());
    let done: Vec<String> = world.db.history_of_record("l005").unwrap().into_iter().map(|row| row.op).collect();
    assert_eq!(done, ["create", "recreate", "update"], "also where nothing was overwritten");
}

#[test]
fn the_plan_lists_what_the_run_does() {
    let mut world = World::default();
    people(&world, 3);
    let report = world.run();
    let items = report.items.unwrap();
    assert_eq!(items.len(), 3);
    assert!(items.iter().all(|item| item.op == Op::Create && item.side == Side::Right && !item.fields.is_empty()));
}

#[test]
fn a_swapped_side_is_held() {
    let mut world = World::default();
    people(&world, 20);
    world.run();
    for n in 0..20 {
        world.left.put(&format!("l{n:03}"), &[("name/full", &format!("Stranger {n}"))]);
    }
    let report = world.run();
    assert_eq!((report.held, written(&report)), (20, 0), "{report:#?}");
    assert_eq!(report.state, LaneState::Guarded);
    let hold = world.db.holds(0, 10).unwrap().remove(0);
    world.db.release_hold(hold.id).unwrap();
    fine(&world.run());
    assert_eq!(world.right.column("name/full"), world.left.column("name/full"));
    assert_eq!(world.right.ids().len(), 20);
}

#[test]
fn a_person_who_changes_altogether_is_held() {
    let mut world = World::default();
    world.spec.guard.identity = vec!["name/full".into(), "emails/1/address".into()];
    people(&world, 3);
    world.run();
    world.left.edit("l001", "name/full", "Married Name");
    fine(&world.run());
    world.left.edit("l001", "name/full", "Somebody Else");
    world.left.edit("l001", "emails/1/address", "else@example.org");
    let report = world.run();
    assert_eq!((report.held, written(&report)), (1, 0), "{report:#?}");
    let hold = world.db.holds(0, 10).unwrap().remove(0);
    world.db.release_hold(hold.id).unwrap();
    assert_eq!(world.run().right.updated, 1);
}

#[test]
fn leaving_a_filter_is_no_deletion() {
    let mut world = World::default();
    let wanted = Predicate { test: Test::Absent("notes/1".into()), reason: "has_a_note".into() };
    world.spec.admit[Side::Left] = vec![wanted.clone()];
    world.spec.follow[Side::Left] = vec![wanted];
    people(&world, 3);
    world.left.edit("l002", "notes/1", "private");
    let report = world.run();
    assert_eq!((report.right.created, report.refused), (2, 1), "{report:#?}");
    world.left.edit("l001", "notes/1", "private, too");
    world.left.edit("l001", "titles/1/name", "kept here");
    let report = world.run();
    assert_eq!(written(&report), 0, "{report:#?}");
    assert_eq!(world.right.ids().len(), 2);
    world.left.edit("l001", "notes/1", "");
    let report = world.run();
    assert_eq!((report.right.created, report.right.updated), (0, 1), "the link wakes: {report:#?}");
    assert_eq!(world.right.column("titles/1/name"), ["", "kept here"]);
}

#[test]
fn a_known_conflict_is_no_unseen_edit() {
    let mut world = World::default();
    let mail = ("emails/1/address", "ada@example.org");
    world.left.put("a", &[("name/full", "Ada"), mail, ("titles/1/name", "Countess")]);
    world.right.put("b", &[("name/full", "Ada"), mail, ("titles/1/name", "Lady")]);
    world.left.put("c", &[("name/full", "Charles")]);
    assert_eq!(world.run().conflicts, 1);
    world.left.delete("a");
    let report = world.run();
    assert_eq!((report.right.deleted, report.left.created), (1, 0), "{report:#?}");
}

#[test]
fn a_moved_record_keeps_its_counterpart() {
    let mut world = World::default();
    people(&world, 10);
    world.run();
    for n in 0..10 {
        world.left.rename(&format!("l{n:03}"), &format!("moved-{n:03}"));
    }
    world.left.edit("moved-003", "notes/1", "moved and changed");
    let before = world.right.ids();
    let report = world.run();
    fine(&report);
    assert_eq!((report.right.updated, written(&report)), (1, 1), "{report:#?}");
    assert_eq!(world.right.ids(), before);
    assert!(world.right.column("notes/1").contains(&"moved and changed".to_owned()));
    assert_eq!(written(&world.run()), 0);
}

/// A record that was just made is changed by nobody but us: whoever edits the one that it was made of, wins, however soon.
#[test]
fn an_edit_right_after_the_creation_of_the_counterpart_is_kept() {
    let mut world = World::of_crm("");
    world.right.at(1_000);
    world.right.put("b", &[("name/surname", "Byron"), ("emails/1/address", "ada@x")]);
    // The account's name travels back in the same run, and meets the edit.
    world.left.at(5_400);
    world.right.at(5_500);
    world.right.trouble(Trouble::Edited("b".into(), "phones/work/number", "1"));
    for _ in 0..2 {
        let report = world.run();
        assert_eq!(report.state, LaneState::Done, "{report:#?}");
    }
    let there = world.left.one("emails/1/address", "ada@x");
    for (side, id) in [(&world.left, there.as_str()), (&world.right, "b")] {
        assert_eq!(
            (side.field(id, "phones/work/number"), side.field(id, "organizations/1/name")),
            ("1".into(), "Byron".into())
        );
    }
}
