//! The rules of the preset `infor-crm-outlook` for changes, removals and runs (IC-34 and following), held by the real pipeline and
//! store between a CRM and a mailbox in memory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_host::chance::Chance;
use pairwise_host::model::{Holder, LaneState, Side, Store};
use pairwise_plugin_api::{Condition, Level, Severity};
use pairwise_tests::memory::{ACCOUNTS, Trouble};
use pairwise_tests::rules::{crm, fine, pair, person, settled, written};
use pairwise_tests::twins::World;

#[test]
fn rule_ic_34_ic_35_ic_36_the_later_record_wins_whole_and_the_crm_a_tie() {
    for (left_at, right_at, winner) in
        [(9_000, 5_000, Side::Left), (5_000, 9_000, Side::Right), (5_000, 5_400, Side::Left)]
    {
        let (mut world, there) = pair();
        world.left.at(left_at);
        world.left.edit("a", "titles/1/name", "of the CRM");
        world.right.at(right_at);
        world.right.edit(&there, "notes/1", "of the mailbox");
        settled(&mut world);
        let (title, note) = if winner == Side::Left { ("of the CRM", "") } else { ("", "of the mailbox") };
        for (side, id) in [(&world.left, "a"), (&world.right, there.as_str())] {
            assert_eq!((side.field(id, "titles/1/name"), side.field(id, "notes/1")), (title.into(), note.into()));
        }
        let lost = if winner == Side::Left { "of the mailbox" } else { "of the CRM" };
        let history = format!("{:?}", world.db.history_of_record("a").unwrap());
        assert!(history.contains(lost), "{history}");
    }
}

/// The company follows the CRM whatever happens: that it moved there is no reason to lose what was typed in the mailbox before.
#[test]
fn rule_ic_35_ic_46_a_company_that_moves_takes_no_edit_along() {
    for (left_at, right_at) in [(9_000, 5_000), (5_000, 9_000)] {
        let (mut world, there) = pair();
        world.left.at(left_at);
        world.left.edit("a", "organizations/1/name", "Moved Inc.");
        world.right.at(right_at);
        world.right.edit(&there, "notes/1", "of the mailbox");
        settled(&mut world);
        for (side, id) in [(&world.left, "a"), (&world.right, there.as_str())] {
            let held = (side.field(id, "organizations/1/name"), side.field(id, "notes/1"));
            assert_eq!(held, ("Moved Inc.".into(), "of the mailbox".into()));
        }
    }
}

/// The CRM fails until the attempts are over: what it was to receive is not forgotten, and nothing travels the other way.
#[test]
fn rule_ic_34_a_first_match_whose_write_keeps_failing_stays_as_it_was_decided() {
    for trouble in [Trouble::Vanished, Trouble::NotSent, Trouble::AnswerLost] {
        let mut world = World::of_crm("");
        world.left.at(5_000);
        world.left.put("a", &[("emails/1/address", "lee@example.com"), ("titles/1/name", "old")]);
        world.right.at(9_000);
        world.right.put("b", &[("emails/1/address", "lee@example.com"), ("titles/1/name", "new")]);
        for run in 0..6 {
            (0..8).for_each(|_| world.left.trouble(trouble.clone()));
            world.run();
            if run == 2 {
                world.left.at(6_000);
                world.left.edit("a", "notes/1", "a remark");
            }
        }
        world.left.calm();
        for row in world.db.quarantine(&world.spec.key, 0, 10).unwrap() {
            assert!(world.db.retry_quarantined(row.id).unwrap());
        }
        world.run();
        let report = world.run();
        for (side, id) in [(&world.left, "a"), (&world.right, "b")] {
            assert_eq!(side.field(id, "titles/1/name"), "new", "{trouble:?} {report:#?}");
        }
    }
}

/// A write that was done in part makes the record younger than the value that it was to receive.
#[test]
fn rule_ic_34_a_write_of_ours_is_no_later_edit() {
    let (mut world, there) = pair();
    world.left.at(5_000);
    world.left.edit("a", "titles/1/name", "of the CRM");
    world.right.at(9_000);
    world.right.edit(&there, "titles/1/name", "of the mailbox");
    world.left.trouble(Trouble::Touched);
    world.left.at(90_000);
    world.run();
    world.left.calm();
    settled(&mut world);
    for (side, id) in [(&world.left, "a"), (&world.right, there.as_str())] {
        assert_eq!(side.field(id, "titles/1/name"), "of the mailbox");
    }
}

#[test]
fn rule_ic_37_times_are_corrected_by_the_servers_clocks() {
    let (mut world, there) = pair();
    // The CRM's clock is ten minutes ahead: its edit is the earlier one, although its time is the later one.
    let now = world.chance.now() + 60_000;
    world.left.tell_time(now + 600_000);
    world.right.tell_time(now);
    world.left.at(now + 600_000 - 30_000);
    world.left.edit("a", "titles/1/name", "earlier");
    world.right.at(now - 10_000);
    world.right.edit(&there, "titles/1/name", "later");
    let report = world.run();
    fine(&report);
    assert_eq!(world.left.field("a", "titles/1/name"), "later");
    assert!(report.notes.iter().any(|note| note.contains("clock")), "{report:#?}");
}

#[test]
fn rule_ic_38_a_deletion_in_the_crm_moves_the_entry_to_the_deleted_items() {
    let (mut world, there) = pair();
    world.left.delete("a");
    world.right.edit(&there, "notes/1", "edited unseen"); // D9
    settled(&mut world);
    assert_eq!(world.right.trashed(), std::slice::from_ref(&there));
    assert_eq!(world.right.field(&there, "notes/1"), "edited unseen", "with all its fields");
    assert!(world.left.ids().is_empty());
}

#[test]
fn rule_ic_39_without_deleted_items_a_folder_takes_their_place_or_the_entry_stays() {
    for folders in [true, false] {
        let mut world = crm();
        world.right.abilities.trash = false;
        world.right.abilities.create_containers = folders;
        world.left.put("a", &person("Ann", "Lee", "ann@x"));
        settled(&mut world);
        let there = world.right.ids().remove(0);
        world.left.delete("a");
        let report = settled(&mut world);
        assert_eq!(world.right.ids(), std::slice::from_ref(&there), "nothing is destroyed");
        assert_eq!(world.right.folder(&there), folders.then(|| "Deleted contacts".to_owned()));
        assert_eq!(report.right.deleted, u64::from(folders), "{report:#?}");
        assert_eq!(report.notes.iter().any(|note| note.contains("no deleted items")), !folders, "{report:#?}");
        assert!(world.left.ids().is_empty(), "nor comes it back");
    }
}

#[test]
fn rule_ic_40_ic_41_a_deleted_entry_leaves_the_group_and_stays_away() {
    let (mut world, there) = pair();
    world.right.delete(&there);
    world.left.edit("a", "titles/1/name", "edited meanwhile"); // D9
    let report = settled(&mut world);
    assert_eq!(report.left.deleted, 1, "{report:#?}");
    assert!(world.left.members().is_empty());
    assert_eq!(world.left.ids(), ["a"]);
    assert_eq!(world.left.field("a", "titles/1/name"), "edited meanwhile");
    world.left.edit("a", "titles/1/name", "later");
    assert_eq!(written(&world.run()), 0);
    assert!(world.right.ids().is_empty());
}

#[test]
fn rule_ic_42_an_entry_that_is_moved_away_leaves_the_group_and_may_return() {
    let (mut world, there) = pair();
    world.right.file(&there, Some("Private"));
    settled(&mut world);
    assert!(world.left.members().is_empty());
    assert_eq!((world.left.ids(), world.right.folder(&there)), (vec!["a".to_owned()], Some("Private".into())));
    world.right.file(&there, None);
    settled(&mut world);
    assert_eq!(
        (world.left.members(), world.left.ids(), world.right.ids()),
        (vec!["a".into()], vec!["a".into()], vec![there])
    );
}

#[test]
fn rule_ic_43_who_leaves_the_group_keeps_his_entry_and_is_no_longer_kept_in_step() {
    let (mut world, there) = pair();
    world.left.leave("a");
    settled(&mut world);
    world.right.edit(&there, "titles/1/name", "alone");
    world.left.edit("a", "notes/1", "alone");
    settled(&mut world);
    assert_eq!((world.left.ids(), world.right.ids()), (vec!["a".to_owned()], vec![there.clone()]));
    assert_eq!((world.left.field("a", "titles/1/name"), world.right.field(&there, "notes/1")), ("".into(), "".into()));
    // Back in the group it is the same pair again.
    world.left.join("a");
    settled(&mut world);
    assert_eq!((world.left.ids().len(), world.right.ids().len()), (1, 1));
}

#[test]
fn rule_ic_43_who_left_unseen_is_found_out_by_listing_the_group() {
    let (mut world, there) = pair();
    world.left.abilities.tombstones = false;
    world.left.abilities.feed = false;
    world.left.put("b", &person("Bob", "Lee", "bob@x"));
    fine(&world.run());
    world.left.leave("a");
    world.run();
    world.run();
    world.right.edit(&there, "titles/1/name", "alone");
    settled(&mut world);
    assert_eq!(world.left.field("a", "titles/1/name"), "");
}

#[test]
fn rule_ic_44_ic_46_the_company_follows_the_crm_and_never_leads() {
    let (mut world, there) = pair();
    world.right.edit(&there, "organizations/1/name", "Mine");
    settled(&mut world);
    assert_eq!(
        (world.left.field("a", "organizations/1/name"), world.right.field(&there, "organizations/1/name")),
        ("Acme".into(), "Acme".into())
    );
    assert_eq!(world.left.ids_of(ACCOUNTS), ["acme"]);
    world.left.edit("a", "organizations/1/name", "Moved Inc.");
    settled(&mut world);
    assert_eq!(world.right.field(&there, "organizations/1/name"), "Moved Inc.");
    // D6: `repair = "on_change"` leaves what was typed there.
    let fields = "streams.contacts.fields = [ { left = \"AccountName\", right = \"organizations/1/name\", \
                  direction = \"left_to_right\", repair = \"on_change\" } ]";
    world.spec = pairwise_tests::lanes::infor_crm_outlook(fields);
    world.right.edit(&there, "organizations/1/name", "Mine");
    settled(&mut world);
    assert_eq!(world.right.field(&there, "organizations/1/name"), "Mine");
}

#[test]
fn rule_ic_48_a_second_run_of_the_lane_is_refused_while_one_is_active() {
    let (mut world, there) = pair();
    let other = Holder { boot: "elsewhere".into(), pid: 7, started: 7, since: world.chance.now() };
    let lease = world.db.take(&world.spec.key, &other, world.chance.now()).unwrap();
    world.right.edit(&there, "titles/1/name", "meanwhile");
    // Another machine's run: nobody can tell whether it lives, so that its lease must run out.
    world.chance.advance(-60_000);
    let report = world.run();
    assert_eq!(report.state, LaneState::Busy, "{report:#?}");
    assert!(report.error.unwrap().contains("another run is active"));
    assert_eq!(world.left.field("a", "titles/1/name"), "");
    world.db.release(&lease).unwrap();
    settled(&mut world);
}

#[test]
fn rule_ic_50_a_missing_group_stops_the_lane_before_any_write() {
    let mut world = crm();
    world.right.put("b", &person("Ann", "Lee", "ann@x"));
    let text = "there is no group `Contact Sync`".to_owned();
    world.left.complain(Condition {
        code: "group_missing".into(),
        level: Level::Stream,
        severity: Severity::Error,
        text,
        ..Condition::default()
    });
    let report = world.run();
    assert_eq!(report.state, LaneState::Misconfigured);
    assert!(report.error.as_ref().unwrap().contains("no group `Contact Sync`"), "{report:#?}");
    assert!(world.left.take_writes().is_empty() && world.right.take_writes().is_empty());
    assert!(!world.left.take_calls().contains(&"changes"));
}

#[test]
fn rule_ic_40_a_side_without_groups_is_refused_and_never_deleted_from() {
    let mut world = crm();
    world.left.abilities.membership = false;
    world.left.put("a", &person("Ann", "Lee", "ann@x"));
    assert_eq!(world.run().state, LaneState::Misconfigured);
    assert!(world.right.ids().is_empty());
}

#[test]
fn rule_ic_51_direction() {
    for (direction, left, right) in [("both", 2, 2), ("left_to_right", 1, 2), ("right_to_left", 2, 1)] {
        let mut world = World::of_crm(&format!("streams.contacts.direction = \"{direction}\""));
        world.left.put("a", &person("Ann", "Lee", "ann@x"));
        world.right.put("b", &person("Bob", "Lee", "bob@x"));
        fine(&world.run());
        assert_eq!((world.left.ids().len(), world.right.ids().len()), (left, right), "{direction}");
    }
}

#[test]
fn rule_ic_53_many_that_vanish_are_not_believed() {
    for (all, gone, held) in [(100, 60, 60), (1_000, 51, 51), (1_000, 50, 0), (100, 9, 0)] {
        let mut world = crm();
        for n in 0..all {
            world.left.put(&format!("l{n:04}"), &person("Ann", &format!("Lee{n}"), &format!("l{n}@x")));
        }
        fine(&world.run());
        world.right.take_writes();
        for n in 0..gone {
            world.left.delete(&format!("l{n:04}"));
        }
        let report = world.run();
        assert_eq!(report.held, held, "{gone} of {all}: {report:#?}");
        assert_eq!(world.right.take_writes().len() as u64, gone - held);
    }
}
