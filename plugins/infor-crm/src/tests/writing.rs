//! Creations, updates, deletions, and what the server makes of them.

use pairwise_plugin_api::Status;
use pairwise_sandbox::faults::{Fault, Match};

use super::*;

/// IC-20, IC-31, IC-32: one request makes the contact with its address; it is in the group afterwards.
#[test]
fn a_contact_is_created_whole() {
    let world = World::of(3);
    let account = world.held("accounts")[0].clone();
    let asked = [
        ("LastName", "Lovelace"),
        ("FirstName", "Ada"),
        ("Email", "ada@example.com"),
        ("WorkPhone", "(602) 555-1234"),
        ("Birthday", "1815-12-10"),
        ("Account", account.id.as_str()),
        ("Address/Street", "12 St James's Square\nFirst floor"),
        ("Address/City", "London"),
    ];
    let outcome = world.one(create("contacts", fields(asked)));
    assert_eq!((outcome.status, &outcome.refused_fields), (Status::Applied, &vec![]));
    let told = outcome.record.unwrap();
    assert_eq!(told.fields.text("WorkPhone"), Some("6025551234"), "as the server spells it");
    assert_eq!(told.fields.text("AccountName"), account.fields["AccountName"].as_str());
    assert_eq!(told.fields.text("Address/Street"), Some("12 St James's Square\nFirst floor"));
    assert_eq!(told.fields.text("Birthday"), Some("1815-12-10"));
    assert!(world.members().contains(&told.at.id));
    assert_eq!(world.holds("accounts", &account.id).unwrap().fields, account.fields);
    assert_eq!(world.get(&told.at.id).unwrap().version, told.version);
}

/// IC-24 to IC-28: an account as the preset makes it, before its contact.
#[test]
fn an_account_is_created_for_a_contact() {
    let world = World::of(1);
    assert!(world.check(in_group()).unwrap().is_empty());
    let account = create(
        "accounts",
        fields([
            ("AccountName", "Analytical Engines"),
            ("Type", "Prospect"),
            ("Status", "Active"),
            ("Owner", "SYST00000001"),
            ("AccountManager", "$self"),
        ]),
    );
    let made = world.one(account);
    assert_eq!((made.status, &made.refused_fields), (Status::Applied, &vec![]));
    let at = made.record.unwrap().at;
    let held = world.holds("accounts", &at.id).unwrap().fields;
    assert_eq!((held["AccountManager"].as_str(), held["Owner"].as_str()), (Some("UDEMOA000001"), Some("SYST00000001")));
    let before = world.asked();
    let made = world.one(create("contacts", fields([("LastName", "Lovelace"), ("Account", &at.id)])));
    assert_eq!(made.record.unwrap().fields.text("AccountName"), Some("Analytical Engines"));
    assert_eq!(world.asked() - before, 2, "contact, and the group, which was read a moment ago");
    assert!(!world.members().contains(&at.id), "accounts are in no group of contacts");
}

#[test]
fn a_batch_takes_few_requests() {
    let world = World::of(1);
    let account = world.held("accounts")[0].id.clone();
    let names: Vec<String> = (0..50).map(|number| format!("Person {number}")).collect();
    let person = |name: &String| {
        create("contacts", fields([("LastName", name), ("Account", &account), ("Address/City", "Bath")]))
    };
    world.one(person(&"First".to_owned()));
    let before = world.asked();
    let outcomes = world.write(&in_group(), names.iter().map(person).collect()).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    let told: Vec<_> =
        outcomes.iter().map(|outcome| outcome.record.as_ref().unwrap().fields.text("LastName")).collect();
    assert_eq!(told, names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>(), "in order");
    assert_eq!(world.asked() - before, 3, "batch, values as stored, group");
    assert_eq!(world.members().len(), 52);
}

/// What servers and the proxies before them take is a setting.
#[test]
fn batches_and_addresses_are_as_long_as_the_settings_say() {
    let world = World::with(40, json!({ "batch": 10, "longest_url": 1000 }));
    assert_eq!(world.crm.describe(&world.cx).unwrap().capabilities.largest_batch, 40);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let writes = upserts(&changes).into_iter().map(|record| update(record, fields([("Title", "Dr")]))).collect();
    let outcomes = world.write(&in_group(), writes).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    let asked = world.sandbox.requests(CRM, 0);
    let parts = |number: u64| asked.iter().filter(|request| request.part_of == Some(number)).count();
    let batches: Vec<usize> =
        asked.iter().filter(|request| request.path.contains("batch")).map(|request| parts(request.number)).collect();
    assert_eq!(batches, [10; 4]);
    let base = world.sandbox.info(CRM).base_url.len();
    assert!(asked.iter().filter(|request| request.part_of.is_none()).all(|request| base + request.path.len() <= 1_000));
}

/// IC-2, IC-7: only what changed is sent.
#[test]
fn rule_ic_2_an_update_sends_its_fields_alone() {
    let world = World::of(3);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let record = upserts(&changes)[0].clone();
    let outcome = world.one(update(&record, fields([("WorkPhone", "+49 40 1")])));
    assert_eq!(outcome.status, Status::Applied);
    assert_ne!(outcome.record.unwrap().version, record.version);
    let writes = world.writes();
    assert_eq!(writes.len(), 1);
    assert!(writes[0].starts_with("PUT ") && writes[0].ends_with(r#" {"WorkPhone":"+49 40 1"}"#), "{writes:?}");
}

#[test]
fn an_address_is_written_on_its_own() {
    let world = World::of(3);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let record = upserts(&changes)[0].clone();
    let outcome = world.one(update(&record, fields([("Address/City", "Bath"), ("Title", "Dr")])));
    assert_eq!(outcome.status, Status::Applied);
    let told = outcome.record.unwrap();
    assert_eq!((told.fields.text("Address/City"), told.fields.text("Title")), (Some("Bath"), Some("Dr")));
    assert_eq!(told.fields.text("Address/Street"), record.fields.text("Address/Street"));

    let bare =
        world.one(create("contacts", fields([("LastName", "Bare"), ("Account", &world.held("accounts")[0].id)])));
    let bare = bare.record.unwrap();
    assert_eq!(bare.fields.get("Address/City"), Some(&Value::Null));
    let told = world.one(update(&bare, fields([("Address/City", "York")]))).record.unwrap();
    assert_eq!(told.fields.text("Address/City"), Some("York"));

    let (leads, _) = world.pull(&Scope::new(), "leads", None).unwrap();
    let lead = upserts(&leads)[0].clone();
    let told = world.write(&Scope::new(), vec![update(&lead, fields([("Address/City", "Hull")]))]).unwrap();
    assert_eq!(told[0].record.as_ref().unwrap().fields.text("Address/City"), Some("Hull"));
}

/// IC-34: a write that came too late shows the record as it is.
#[test]
fn a_clash_is_told_with_the_record() {
    let world = World::of(4);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let records: Vec<Record> = upserts(&changes).into_iter().cloned().collect();
    world.edit(&records[0].at.id, json!({ "Title": "Theirs" }));
    let address = world.holds("contacts", &records[1].at.id).unwrap().fields["Address"].as_str().unwrap().to_owned();
    world.edit(&address, json!({ "City": "Theirs" }));
    let outcomes = world
        .write(
            &in_group(),
            vec![
                update(&records[0], fields([("Title", "Ours")])),
                update(&records[1], fields([("Address/City", "Ours"), ("Title", "Ours")])),
                update(&records[2], fields([("Title", "Ours")])),
            ],
        )
        .unwrap();
    let status: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(status, [Status::Conflict, Status::Conflict, Status::Applied]);
    let current = |place: usize| outcomes[place].record.clone().unwrap();
    assert_eq!(current(0).fields.text("Title"), Some("Theirs"));
    assert_eq!(current(1).fields.text("Address/City"), Some("Theirs"));
    // With what was told, the next write succeeds.
    assert_eq!(world.one(update(&current(0), fields([("Title", "Ours")]))).status, Status::Applied);
    assert_eq!(world.one(update(&current(1), fields([("Address/City", "Ours")]))).status, Status::Applied);
}

/// IC-11: a field that the login may not write is left out and told, whether the server ignores or refuses it.
#[test]
fn rule_ic_11_a_read_only_field_is_left_out() {
    for refuse in [false, true] {
        let world = World::of(2);
        world.server(json!({ "refuse_read_only": refuse }));
        world.command("field", json!({ "user": "lee", "field": "contacts.Title", "access": "read" }));
        let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
        let record = upserts(&changes)[0].clone();
        let outcome = world.one(update(&record, fields([("Title", "Ours"), ("Department", "Ours")])));
        assert_eq!(
            (outcome.status, outcome.refused_fields.as_slice()),
            (Status::Applied, &["Title".into()][..]),
            "{refuse}"
        );
        assert_eq!(outcome.record.unwrap().fields.text("Department"), Some("Ours"));
    }
}

#[test]
fn a_refusal_names_its_reason() {
    let world = World::of(2);
    let account = world.held("accounts")[0].id.clone();
    let outcomes = world
        .write(
            &in_group(),
            vec![
                create("contacts", fields([("FirstName", "Nobody"), ("Account", &account)])),
                create("contacts", fields([("LastName", "No account")])),
                create("contacts", fields([("LastName", "Good"), ("Account", &account)])),
                create("contacts", fields([("Shoe", "44")])),
            ],
        )
        .unwrap();
    let codes: Vec<(Status, &str)> = outcomes.iter().map(|outcome| (outcome.status, outcome.code.as_str())).collect();
    let rejected = (Status::Refused, "rejected");
    assert_eq!(codes, [rejected, rejected, (Status::Applied, ""), (Status::Refused, "unknown_field")]);
    assert!(outcomes[0].text.contains("LastName") && outcomes[1].text.contains("Account"));
}

#[test]
fn what_is_gone_or_hidden_is_told_apart() {
    let world = World::of(30);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let records: Vec<Record> = upserts(&changes).into_iter().cloned().collect();
    let own = |record: &&Record| record.fields.text("Owner") == Some("SDEMOA000001");
    let hidden = records.iter().find(own).unwrap();
    let (gone, deleted) = (records.iter().find(|r| !own(r)).unwrap(), records.iter().rev().find(|r| !own(r)).unwrap());
    world.sandbox.delete(CRM, "admin", &gone.at.id).unwrap();
    world.command("rights", json!({ "owner": "SDEMOA000001", "user": "lee", "access": "none" }));
    assert_eq!(world.one(update(gone, fields([("Title", "Ours")]))).status, Status::Gone);
    let outcome = world.one(update(hidden, fields([("Title", "Ours")])));
    assert_eq!((outcome.status, outcome.code.as_str()), (Status::Refused, "not_visible"));
    let delete = |record: &Record| Write { action: Action::Delete, ..update(record, Fields::new()) };
    assert_eq!(world.one(delete(deleted)).status, Status::Applied);
    assert!(world.holds("contacts", &deleted.at.id).is_none());
    assert_eq!(world.one(delete(deleted)).status, Status::Gone);
}

/// A lost answer leaves nobody knowing; the record is found by its address.
#[test]
fn a_lost_answer_is_unknown() {
    let world = World::of(1);
    let account = world.held("accounts")[0].id.clone();
    let person = |name: &str, email: &str| {
        create("contacts", fields([("LastName", name), ("Email", email), ("Account", &account)]))
    };
    for count in [1, 2] {
        let operation = Some(if count == 1 { "contacts" } else { "contacts/$batch" }.to_owned());
        world.sandbox.fault(
            CRM,
            Fault {
                matching: Match { method: Some("POST".into()), operation, ..Match::default() },
                drop_connection: true,
                after_effect: true,
                ..Fault::default()
            },
        );
        let emails: Vec<String> = (0..count).map(|number| format!("lost-{count}-{number}@example.com")).collect();
        let writes = emails.iter().map(|email| person("Lost", email)).collect();
        let outcomes = world.write(&in_group(), writes).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.status == Status::Unknown), "{outcomes:?}");
        let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
        assert!(world.find("contacts", &["Email"], &emails, true).iter().all(|found| found.len() == 1));
    }
}

/// AO-66, AO-73: a note about a contact, which changes the contact's state.
#[test]
fn a_note_is_about_a_contact() {
    let world = World::of(2);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let record = upserts(&changes)[0].clone();
    let note = create("history", fields([("ContactId", record.at.id.as_str()), ("LongNotes", "Message sent.")]));
    let made = world.write(&Scope::new(), vec![note]).unwrap().pop().unwrap();
    assert_eq!(made.status, Status::Applied);
    let held = world.holds("history", &made.record.unwrap().at.id).unwrap().fields;
    assert_eq!((held["Type"].as_str(), held["Notes"].as_str()), (Some("atNote"), Some("Message sent.")));
    assert_eq!(held["AccountId"].as_str(), record.fields.text("Account"));
    assert!(held["ContactName"].as_str().unwrap().contains(", "));
    assert_ne!(world.get(&record.at.id).unwrap().version, record.version);
}

/// A server whose updates need no condition, and one without batches.
#[test]
fn servers_differ() {
    let world = World::of(3);
    world.server(json!({ "if_match": "optional" }));
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let records = upserts(&changes);
    world.sandbox.fault(
        CRM,
        Fault {
            matching: Match { operation: Some("contacts/$batch".into()), ..Match::default() },
            status: Some(501),
            times: Some(0),
            ..Fault::default()
        },
    );
    let writes = records.iter().map(|record| update(record, fields([("Title", "One by one")]))).collect();
    let outcomes = world.write(&in_group(), writes).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied), "{outcomes:?}");
    // Without a condition of the host's, too, the record is written in the state that it was read in.
    let blind = Write { expect: None, ..update(records[0], fields([("Title", "Blind")])) };
    assert_eq!(world.one(blind).status, Status::Applied);
}

/// A creation that clashes with what is there: the record, where it is certain which one; otherwise a refusal with a name.
#[test]
fn a_creation_that_clashes_tells_what_is_there() {
    let world = World::of(2);
    let account = world.held("accounts")[0].id.clone();
    let ada = |first: &str, email: &str| {
        let names = [("LastName", "Lovelace"), ("FirstName", first), ("Email", email), ("Account", &account)];
        create("contacts", fields(names))
    };
    let clash = |after_effect: bool| {
        let matching = Match { method: Some("POST".into()), operation: Some("contacts".into()), ..Match::default() };
        world.sandbox.fault(CRM, Fault { matching, status: Some(409), after_effect, ..Fault::default() });
    };
    // The creation before it was done, and its answer lost.
    clash(true);
    let there = world.one(ada("Ada", "ada@example.com"));
    let made = world.held("contacts").into_iter().find(|item| item.fields["LastName"] == "Lovelace").unwrap();
    assert_eq!((there.status, there.record.unwrap().at.id), (Status::Exists, made.id));

    for (first, email) in [("Augusta", "ada@example.com"), ("Ada", "nobody@example.com")] {
        clash(false);
        let refused = world.one(ada(first, email));
        assert_eq!((refused.status, refused.code.as_str()), (Status::Refused, "conflict"), "{first} {email}");
    }
    let several = world.write(&in_group(), vec![ada("Bo", "bo@example.com"), ada("Cy", "cy@example.com")]).unwrap();
    assert!(several.iter().all(|outcome| outcome.status == Status::Applied));
    let (bo, dy) = (ada("Bo", "bo@example.com"), ada("Dy", "dy@example.com"));
    clash(false);
    let statuses: Vec<Status> =
        world.write(&in_group(), vec![bo, dy]).unwrap().iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Exists, Status::Applied], "a part of a batch, too");
}
