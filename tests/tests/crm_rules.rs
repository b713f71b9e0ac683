//! The rules of the preset `infor-crm-outlook`, held by the real pipeline and store between a CRM and a mailbox in memory.
//! The preset is read as the program reads it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_host::chance::Chance;
use pairwise_host::model::{Holder, LaneReport, LaneState, Side, Store};
use pairwise_plugin_api::{Action, Condition, Level, Severity};
use pairwise_tests::memory::{ACCOUNTS, Trouble};
use pairwise_tests::twins::World;

fn crm() -> World {
    World::of_crm("")
}

#[track_caller]
fn fine(report: &LaneReport) {
    assert_eq!(report.state, LaneState::Done, "{report:#?}");
}

fn written(report: &LaneReport) -> u64 {
    report.left.written() + report.right.written()
}

/// Runs until nothing is left to do: the first run must do everything.
#[track_caller]
fn settled(world: &mut World) -> LaneReport {
    let report = world.run();
    fine(&report);
    quiet(world);
    report
}

/// IC-6: a second run writes nothing.
#[track_caller]
fn quiet(world: &mut World) {
    world.left.take_writes();
    world.right.take_writes();
    let again = world.run();
    fine(&again);
    assert_eq!(written(&again), 0, "the run after it: {again:#?}");
    assert!(world.left.take_writes().is_empty() && world.right.take_writes().is_empty());
}

fn person<'a>(given: &'a str, surname: &'a str, mail: &'a str) -> [(&'a str, &'a str); 3] {
    [("name/given", given), ("name/surname", surname), ("emails/1/address", mail)]
}

/// A member of the group and its entry, linked.
fn pair() -> (World, String) {
    let mut world = crm();
    world.left.put_account("acme", "Acme", 1);
    world.left.put("a", &person("Ann", "Lee", "ann@x"));
    world.left.edit("a", "organizations/1/name", "Acme");
    settled(&mut world);
    let there = world.right.one("emails/1/address", "ann@x");
    (world, there)
}

#[test]
fn rule_ic_01_ic_02_a_change_travels_either_way_and_alone() {
    let (mut world, there) = pair();
    world.left.edit("a", "phones/work/number", "1");
    settled(&mut world);
    assert_eq!(world.right.field(&there, "phones/work/number"), "1");
    world.right.edit(&there, "phones/work/number", "2");
    world.left.take_writes();
    fine(&world.run());
    assert_eq!(world.left.field("a", "phones/work/number"), "2");
    let writes = world.left.take_writes();
    assert_eq!(writes[0].fields.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["phones/work/number"]);
}

#[test]
fn rule_ic_06_random_edits_on_both_sides_end_equal() {
    let mut world = crm();
    for n in 0..20 {
        world.left.put(&format!("l{n}"), &person("Ann", &format!("Left{n}"), &format!("l{n}@x")));
        world.right.put(&format!("r{n}"), &person("Bob", &format!("Right{n}"), &format!("r{n}@x")));
    }
    settled(&mut world);
    for n in 0..10 {
        let (left, right) = (world.left.one("emails/1/address", &format!("r{n}@x")), format!("r{}", n + 5));
        world.left.edit(&left, "notes/1", &format!("left {n}"));
        world.right.edit(&right, "titles/1/name", &format!("right {n}"));
    }
    settled(&mut world);
    for field in ["name/surname", "notes/1", "titles/1/name", "emails/1/address", "organizations/1/name"] {
        assert_eq!(world.left.column(field), world.right.column(field), "{field}");
    }
}

#[test]
fn rule_ic_07_unmapped_fields_are_never_sent() {
    let mut world = World::of_crm("streams.contacts.without = [\"notes/1\"]");
    world.left.put("a", &[&person("Ann", "Lee", "ann@x")[..], &[("notes/1", "of the CRM")]].concat());
    world.right.put("b", &[&person("Bob", "Lee", "bob@x")[..], &[("notes/1", "of the mailbox")]].concat());
    fine(&world.run());
    let writes = [world.left.take_writes(), world.right.take_writes()].concat();
    assert!(writes.iter().all(|write| write.fields.get("notes/1").is_none()), "{writes:#?}");
    assert_eq!(
        (world.left.column("notes/1"), world.right.column("notes/1")),
        (vec![String::new(), "of the CRM".into()], vec![String::new(), "of the mailbox".into()])
    );
}

#[test]
fn rule_ic_08_ic_09_new_on_either_side_comes_to_the_other() {
    let (mut world, _) = pair();
    world.left.put_outside("b", &person("Bob", "Lee", "bob@x"));
    assert_eq!(written(&world.run()), 0, "nobody in the group, nobody's business");
    world.left.join("b");
    assert_eq!(settled(&mut world).right.created, 1);
    world.right.put("c", &person("Cid", "Lee", "cid@x"));
    settled(&mut world);
    assert_eq!(world.left.column("emails/1/address"), ["ann@x", "bob@x", "cid@x"]);
}

#[test]
fn rule_ic_10_every_call_names_the_person() {
    let (world, _) = pair();
    assert_eq!(world.left.principals(), ["lee"]);
    assert_eq!(world.right.principals(), ["lee@example.com"]);
}

#[test]
fn rule_ic_11_a_field_that_may_not_be_written_is_told_once_and_fails_nothing() {
    let (mut world, there) = pair();
    world.left.lock(&["titles/1/name"]);
    world.right.edit(&there, "titles/1/name", "Boss");
    world.right.edit(&there, "phones/work/number", "3");
    let report = world.run();
    fine(&report);
    let told: Vec<_> = report.notes.iter().filter(|note| note.contains("titles/1/name")).collect();
    assert_eq!(told.len(), 1, "{report:#?}");
    assert_eq!(
        (world.left.field("a", "phones/work/number"), world.left.field("a", "titles/1/name")),
        ("3".into(), "".into())
    );
    quiet(&mut world);
    assert_eq!(world.right.field(&there, "titles/1/name"), "Boss", "what was typed there stays there");
}

#[test]
fn rule_ic_11_what_a_system_remarks_on_many_records_is_told_once() {
    let mut world = crm();
    for n in 0..3 {
        let id = format!("l{n}");
        world.left.put(&id, &person("Ann", &format!("Lee{n}"), &format!("l{n}@x")));
        let text = "some fields are hidden from this login".to_owned();
        let remark = Condition { code: "hidden_fields".into(), text, ..Condition::default() };
        world.left.remark(&id, remark);
    }
    let report = world.run();
    fine(&report);
    assert_eq!((report.right.created, report.notes.len()), (3, 1), "{report:#?}");
    assert!(report.notes[0].contains("hidden_fields, 3 record(s)"), "{report:#?}");
}

#[test]
fn rule_ic_12_ic_33_the_same_address_is_linked_and_joins_the_group() {
    for address in ["emails/1/address", "emails/2/address"] {
        let mut world = crm();
        world.left.put_outside("a", &[("name/surname", "Lee"), ("emails/2/address", "ann@x")]);
        world.right.put("b", &[("name/surname", "Lee"), (address, "ann@x")]);
        let report = settled(&mut world);
        assert_eq!((report.adopted, report.left.created, report.right.created), (1, 0, 0), "{report:#?}");
        assert_eq!(world.left.members(), ["a"]);
        assert_eq!(world.left.ids(), ["a"]);
    }
}

#[test]
fn rule_ic_12_a_member_and_an_entry_with_one_address_are_one() {
    // D11: a new member of the group is linked to the entry that is there.
    let mut world = crm();
    world.left.put("a", &person("Ann", "Lee", "ann@x"));
    world.right.put("b", &person("Ann", "Lee", "ann@x"));
    let report = settled(&mut world);
    assert_eq!((report.adopted, world.left.ids().len(), world.right.ids().len()), (1, 1, 1));
}

#[test]
fn rule_ic_13_a_link_outlives_its_address() {
    let (mut world, there) = pair();
    world.right.edit(&there, "emails/1/address", "new@x");
    let report = settled(&mut world);
    assert_eq!((report.left.updated, report.left.created), (1, 0));
    assert_eq!(world.left.field("a", "emails/1/address"), "new@x");
}

#[test]
fn rule_ic_14_ic_15_other_case_or_address_is_somebody_else() {
    for mail in ["Lee@x", "other@x"] {
        let mut world = crm();
        world.left.put("a", &person("Ann", "Lee", "lee@x"));
        world.right.put("b", &person("Ann", "Lee", mail));
        settled(&mut world);
        assert_eq!((world.left.ids().len(), world.right.ids().len()), (2, 2), "{mail}");
    }
}

#[test]
fn rule_ic_16_ic_17_of_several_in_the_crm_the_names_decide() {
    for (given, adopted, contacts) in [("Bob", 1, 2), ("Cid", 0, 3)] {
        let mut world = crm();
        world.left.put_outside("a", &person("Ann", "Lee", "office@x"));
        world.left.put_outside("b", &person("Bob", "Lee", "office@x"));
        world.right.put("r", &person(given, "Lee", "office@x"));
        let report = settled(&mut world);
        assert_eq!((report.adopted, world.left.ids().len()), (adopted, contacts), "{given}");
        let joined = world.left.members();
        assert_eq!(joined.len(), 1);
        assert_eq!(world.left.field(&joined[0], "name/given"), given);
    }
}

#[test]
fn rule_ic_18_of_several_entries_the_oldest_is_linked() {
    let mut world = crm();
    world.left.put("a", &person("Ann", "Lee", "office@x"));
    world.right.at(2_000);
    world.right.put("b", &person("Bob", "Lee", "office@x"));
    world.right.at(1_000);
    world.right.put("c", &person("Cid", "Lee", "office@x"));
    world.left.at(500_000);
    world.left.edit("a", "titles/1/name", "linked");
    settled(&mut world);
    assert_eq!(
        (world.right.field("c", "titles/1/name"), world.right.field("b", "titles/1/name")),
        ("linked".into(), "".into())
    );
}

#[test]
fn rule_ic_19_ic_20_an_entry_without_address_becomes_one_new_contact() {
    let mut world = crm();
    world.left.put_outside("a", &[("name/surname", "Lee"), ("name/given", "Ann")]);
    world.right.put("b", &[("name/surname", "Lee"), ("name/given", "Ann"), ("phones/work/number", "1")]);
    fine(&world.run());
    let creates: Vec<_> = world.left.take_writes().into_iter().filter(|write| write.action == Action::Create).collect();
    assert_eq!(creates.iter().filter(|write| write.at.entity != ACCOUNTS).count(), 1);
    let new = world.left.one("phones/work/number", "1");
    assert_eq!(world.left.field(&new, "name/given"), "Ann");
}

/// An entry of a company; answers the account that its contact got.
fn account_of(world: &mut World, company: &str) -> String {
    world.right.put("b", &[&person("Ann", "Lee", "ann@x")[..], &[("organizations/1/name", company)]].concat());
    settled(world);
    let contact = world.left.one("emails/1/address", "ann@x");
    world.left.field(&contact, "Account")
}

#[test]
fn rule_ic_21_ic_22_the_first_account_of_that_name_is_used() {
    let mut world = crm();
    world.left.put_account("newer", "Abbott Ltd.", 2_000);
    world.left.put_account("older", "Abbott Ltd.", 1_000);
    assert_eq!(account_of(&mut world, "Abbott Ltd."), "older");
    assert_eq!(world.left.ids_of(ACCOUNTS).len(), 2);
}

#[test]
fn rule_ic_23_to_ic_28_ic_31_a_missing_account_is_made_first() {
    let mut world = crm();
    world.right.put(
        "b",
        &[&person("Ann", "Lee", "ann@x")[..], &[("organizations/1/name", "  Acme "), ("phones/work/number", "1")]]
            .concat(),
    );
    fine(&world.run());
    let writes = world.left.take_writes();
    let made: Vec<&str> = writes.iter().map(|write| write.at.entity.as_str()).collect();
    assert_eq!(made, [ACCOUNTS, "contacts"], "the account comes before its contact");
    let account: Vec<String> = writes[0].fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // Nothing else, above all no address and no telephone number (IC-31). `$self` is the login's own id (IC-27).
    assert_eq!(
        account,
        ["AccountManager=$self", "AccountName=Acme", "Owner=SYST00000001", "Status=Active", "Type=Prospect"]
    );
    world.right.edit("b", "phones/work/number", "2");
    fine(&world.run());
    assert!(world.left.take_writes().iter().all(|write| write.at.entity != ACCOUNTS));
}

#[test]
fn rule_ic_29_ic_30_without_a_company_the_persons_name_is_the_accounts() {
    let mut world = crm();
    world.right.put("b", &person("Ann", "Lee", "ann@x"));
    world.right.put("c", &person("Ann", "Lee", "other@x"));
    world.right.put("d", &[("name/surname", "Only"), ("emails/1/address", "only@x")]);
    settled(&mut world);
    let mut accounts: Vec<_> =
        world.left.ids_of(ACCOUNTS).iter().map(|id| world.left.field(id, "AccountName")).collect();
    accounts.sort_unstable();
    assert_eq!(accounts, ["Lee, Ann", "Only"], "equal names make one account");
}

#[test]
fn rule_ic_23_an_account_whose_answer_was_lost_is_not_made_twice() {
    let mut world = crm();
    world.right.put("b", &person("Ann", "Lee", "ann@x"));
    world.left.trouble(Trouble::AnswerLost);
    world.run();
    let report = world.run();
    fine(&report);
    assert_eq!((world.left.ids_of(ACCOUNTS).len(), world.left.ids().len()), (1, 1), "{report:#?}");
    quiet(&mut world);
}

#[test]
fn rule_ic_32_a_created_contact_is_a_member_of_the_group() {
    let mut world = crm();
    world.right.put("b", &person("Ann", "Lee", "ann@x"));
    settled(&mut world);
    assert_eq!(world.left.members(), world.left.ids());
}

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
fn rule_ic_45_ic_52_only_the_exact_name_is_the_same_account() {
    for other in ["abbott ltd.", "Abbott", "Abbott Ltd"] {
        let mut world = crm();
        world.left.put_account("there", other, 1);
        let account = account_of(&mut world, "Abbott Ltd.");
        assert_ne!(account, "there", "{other}");
        assert_eq!(world.left.ids_of(ACCOUNTS).len(), 2);
    }
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
    assert_eq!(report.state, LaneState::Unreachable, "{report:#?}");
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
