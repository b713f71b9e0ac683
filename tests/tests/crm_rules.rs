//! The rules of the preset `infor-crm-outlook`, held by the real pipeline and store between a CRM and a mailbox in memory.
//! The preset is read as the program reads it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_plugin_api::{Action, Condition};
use pairwise_tests::memory::{ACCOUNTS, Trouble};
use pairwise_tests::rules::{crm, fine, pair, person, quiet, settled, written};
use pairwise_tests::twins::World;

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
fn rule_ic_45_ic_52_only_the_exact_name_is_the_same_account() {
    for other in ["abbott ltd.", "Abbott", "Abbott Ltd"] {
        let mut world = crm();
        world.left.put_account("there", other, 1);
        let account = account_of(&mut world, "Abbott Ltd.");
        assert_ne!(account, "there", "{other}");
        assert_eq!(world.left.ids_of(ACCOUNTS).len(), 2);
    }
}
