//! Contacts: reading, the feed, writing.

use pairwise_plugin_api::ops::{
    ChangesRequest, CheckRequest, ContainersRequest, EnsureContainerRequest, FindRequest, GetRequest, ListDetail,
    LoginRequest, Scope, UsersRequest,
};
use pairwise_plugin_api::{
    Absent, Action, Connector, Fields, Principal, Reason, Record, RecordRef, Status, Value, Write,
};
use serde_json::json;

use super::world::{LEE, World, changes, create, lee, update};

fn everything() -> Scope {
    Scope::new()
}

fn folder(name: &str) -> Scope {
    Scope::from([("folder".to_owned(), Value::from(name))])
}

#[test]
fn a_mailbox_is_read_whole_and_then_by_changes() {
    let world = World::of(600);
    let begun = world.last();
    let first = world.changes("contact", &everything(), None).unwrap();
    assert_eq!((first.records.len(), first.complete), (600, true));
    assert!(first.pages >= 3, "{} pages", first.pages);
    let requests = world.requests(begun).len();
    assert!(requests <= 12, "{requests} requests for 600 contacts");
    let record = &first.records[0];
    assert!(record.version.is_some() && record.modified.is_some() && record.container.as_deref() == Some(""));

    let quiet = world.last();
    let none = world.changes("contact", &everything(), first.cursor).unwrap();
    assert_eq!((none.records.len(), none.removed.len(), world.requests(quiet).len()), (0, 0, 1));

    let changed = record.at.id.as_str();
    world.edit(Some(changed), json!({ "jobTitle": "Captain" }), None);
    let made = world.edit(None, json!({ "givenName": "Nemo" }), None);
    let gone = &first.records[1].at.id;
    world.sandbox.delete("outlook", LEE, gone).unwrap();
    let next = world.changes("contact", &everything(), none.cursor).unwrap();
    let title = |id: &str| {
        let record = next.records.iter().find(|record| record.at.id == id).unwrap();
        record.fields.text("jobTitle").map(str::to_owned)
    };
    assert_eq!((next.records.len(), title(changed), title(&made)), (2, Some("Captain".into()), None));
    assert_eq!((next.removed.len(), &next.removed[0].at.id, next.removed[0].reason), (1, gone, Reason::Deleted));
}

#[test]
fn many_changes_at_once_are_listed_and_not_read_one_by_one() {
    let world = World::of(300);
    let first = world.changes("contact", &everything(), None).unwrap();
    world.sandbox.advance(std::time::Duration::from_secs(60));
    let writes = (0..450).map(|number| create(&format!("KEY{number:03}"), &[("surname", "Curie")])).collect::<Vec<_>>();
    for chunk in writes.chunks(100) {
        world.write(chunk.to_vec());
    }
    world.sandbox.delete("outlook", LEE, &first.records[0].at.id).unwrap();
    let since = world.last();
    let told = world.changes("contact", &everything(), first.cursor).unwrap();
    assert_eq!((told.records.len(), told.removed.len()), (450, 1));
    assert!(world.requests(since).len() <= 8, "{:#?}", world.requests(since).len());
    let quiet = world.changes("contact", &everything(), told.cursor).unwrap();
    assert_eq!((quiet.records.len(), quiet.removed.len()), (0, 0));
}

#[test]
fn whoever_knows_what_was_written_is_told_briefly_who_it_is() {
    let world = World::of(0);
    let first = world.changes("contact", &everything(), None).unwrap();
    let writes: Vec<Write> =
        (0..1_100).map(|number| create(&format!("KEY{number:03}"), &[("surname", "Curie")])).collect();
    let outcomes = writes.chunks(100).flat_map(|chunk| world.write(chunk.to_vec()));
    let made: Vec<Record> = outcomes.filter_map(|outcome| outcome.record).collect();
    let ids = ChangesRequest { cursor: first.cursor, detail: ListDetail::Ids, ..changes("contact", &everything()) };
    let told = world.round(ids.clone()).unwrap();
    let version = |record: &Record| (record.at.id.clone(), record.version.clone());
    let sorted = |records: &[Record]| {
        let mut versions: Vec<_> = records.iter().map(version).collect();
        versions.sort();
        versions
    };
    assert_eq!((told.records.len(), made.len()), (1_100, 1_100));
    assert!(sorted(&told.records) == sorted(&made), "not the versions that the writes were answered with");
    assert!(told.records.iter().all(|record| record.incarnation.is_some() && record.fields.is_empty()));
    // Who goes on from the middle of it, and wants records whole, gets them.
    let midway = world.outlook.changes(&world.cx, ids).unwrap();
    assert!(midway.more);
    let whole = world.changes("contact", &everything(), midway.next).unwrap();
    assert!(whole.records.len() == 1_100 && whole.records.iter().all(|record| !record.fields.is_empty()));
}

#[test]
fn a_removal_during_the_listing_shifts_nobody_past_the_reader() {
    let world = World::of(600);
    let mut request =
        ChangesRequest { principal: lee(), entities: vec!["contact".into()], limit: 500, ..ChangesRequest::default() };
    let mut told = std::collections::BTreeSet::new();
    let mut gone = std::collections::BTreeSet::new();
    for page in 0.. {
        let got = world.outlook.changes(&world.cx, request.clone()).unwrap();
        for change in got.changes {
            match (change.record, change.removed) {
                (Some(record), _) => drop(told.insert(record.at.id)),
                (_, Some(removed)) => drop(gone.insert(removed.at.id)),
                _ => panic!("an empty line"),
            }
        }
        if page == 0 {
            let first = told.iter().next().unwrap().clone();
            world.sandbox.delete("outlook", LEE, &first).unwrap();
        }
        request.cursor = got.next;
        if !got.more {
            assert!(got.complete);
            break;
        }
    }
    assert_eq!((told.len(), gone.len()), (600, 1));
}

#[test]
fn fields_travel_there_and_back() {
    let world = World::with(0, |settings| settings["extended"] = json!(["region"]));
    let entity = world.outlook.contacts.entity();
    let mut fields = Fields::new();
    for field in entity.fields.iter().filter(|field| field.writable) {
        let value = match &*field.name {
            "birthday" => Value::from("--02-29"),
            "weddingAnniversary" => Value::from("1999-12-31"),
            "categories" | "children" | "imAddresses" => Value::from(vec!["one".into(), "two".into()]),
            "preferredAddress" => Value::from("home"),
            "sensitivity" => Value::from("private"),
            "personalNotes" => Value::from("first line\nsecond line"),
            name => Value::from(format!("{name}'s \"value\"")),
        };
        fields.set(field.name.clone(), value);
    }
    let uid = Some("uid-1".to_owned());
    let outcome = world.write(vec![Write { fields: fields.clone(), uid: uid.clone(), ..create("K1", &[]) }]).remove(0);
    assert_eq!((outcome.status, outcome.refused_fields.len()), (Status::Applied, 0), "{outcome:?}");
    let made = outcome.record.unwrap();
    let read = world.changes("contact", &everything(), None).unwrap().records.remove(0);
    assert_eq!((&read.at, &read.version, &read.uid), (&made.at, &made.version, &uid));
    assert!(read.incarnation.is_some());
    for (name, value) in fields.iter() {
        assert_eq!(read.fields.get(name), Some(value), "{name}");
    }
    // What the answer to the write told is what a reader sees.
    for (name, value) in made.fields.iter() {
        assert_eq!(read.fields.get(name), Some(value), "{name}");
    }
    let cleared: Fields = fields.iter().map(|(name, _)| (name.clone(), Value::Null)).collect();
    let outcome = world.write(vec![update(&read, cleared)]).remove(0);
    assert_eq!((outcome.status, outcome.refused_fields.len()), (Status::Applied, 0), "{outcome:?}");
    let read = world.changes("contact", &everything(), None).unwrap().records.remove(0);
    let filled: Vec<_> = read.fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| &**name).collect();
    assert_eq!(filled, ["sensitivity"], "which is `public` again");
}

#[test]
fn only_changed_fields_are_sent_and_lists_with_what_stands_in_them() {
    let world = World::of(0);
    let id = world.edit(
        None,
        json!({
            "givenName": "Ada", "surname": "Lovelace", "mobilePhone": "1", "businessPhones": ["2", "3"],
            "emailAddresses": [{ "name": "Work", "address": "a@example.com" }, { "name": "Home", "address": "b@example.com" }],
            "businessAddress": { "street": "S", "city": "C" },
        }),
        None,
    );
    let read = world.changes("contact", &everything(), None).unwrap().records.remove(0);
    let body = |fields: &[(&str, &str)]| {
        let since = world.last();
        let now = world.outlook.get(&world.cx, one(&id)).unwrap().remove(0).record.unwrap();
        let outcome = world.write(vec![update(&now, fields.iter().copied().collect())]).remove(0);
        assert_eq!(outcome.status, Status::Applied, "{outcome:?}");
        let mut patches = world.sandbox.requests("outlook", since).into_iter().filter(|entry| entry.method == "PATCH");
        serde_json::from_str::<serde_json::Value>(&patches.next_back().unwrap().body).unwrap()
    };
    assert_eq!(read.at.id, id);
    assert_eq!(body(&[("mobilePhone", "9")]), json!({ "mobilePhone": "9" }));
    assert_eq!(body(&[("businessPhones/1", "8")]), json!({ "businessPhones": ["8", "3"] }));
    let mails = json!([{ "name": "Work", "address": "a@example.com" }, { "address": "c@example.com" }]);
    assert_eq!(body(&[("emailAddresses/2", "c@example.com")]), json!({ "emailAddresses": mails }));
    assert_eq!(body(&[("businessAddress/city", "D")]), json!({ "businessAddress": { "street": "S", "city": "D" } }));
}

fn one(id: &str) -> GetRequest {
    GetRequest { principal: lee(), at: vec![RecordRef::new("contact", id)], ..GetRequest::default() }
}

#[test]
fn a_hundred_creates_take_few_requests_and_can_be_found_by_their_keys() {
    let world = World::of(0);
    let writes = (0..100)
        .map(|number| create(&format!("KEY{number:03}"), &[("surname", "Curie"), ("emailAddresses/1", "m@x.org")]));
    let since = world.last();
    let outcomes = world.write(writes.collect());
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    let count = world.requests(since).len();
    assert!(count <= 8, "{count} requests");
    let find = |by: &[&str], values: &[&str]| {
        let request = FindRequest {
            principal: lee(),
            entity: "contact".into(),
            by: by.iter().map(|name| (*name).into()).collect(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            ..FindRequest::default()
        };
        let found = world.outlook.find(&world.cx, request).unwrap();
        found.into_iter().map(|records| records.len()).collect::<Vec<_>>()
    };
    assert_eq!(find(&[], &["KEY007", "KEY1000", "KEY099"]), [1, 0, 1]);
    assert_eq!(find(&["emailAddresses/1", "emailAddresses/2"], &["M@X.org", "n@x.org"]), [100, 0]);
    assert_eq!(find(&["surname"], &["curie"]), [100]);
    world.write(vec![Write { uid: Some("a 'uid'".into()), ..create("U", &[]) }]);
    assert_eq!(find(&["uid"], &["a 'uid'", "another"]), [1, 0]);
}

#[test]
fn whoever_was_there_before_is_not_overwritten() {
    let world = World::of(1);
    let record = world.changes("contact", &everything(), None).unwrap().records.remove(0);
    world.edit(Some(&record.at.id), json!({ "jobTitle": "Captain" }), None);
    let wanted: Fields = [("jobTitle", "Cook")].into_iter().collect();
    let outcome = world.write(vec![update(&record, wanted.clone())]).remove(0);
    let now = outcome.record.unwrap();
    assert_eq!((outcome.status, now.fields.text("jobTitle")), (Status::Conflict, Some("Captain")));
    assert_eq!(world.write(vec![update(&now, wanted.clone())])[0].status, Status::Applied);
    // The key of an item that nobody touched moves by itself.
    world.command("bump", json!({ "user": LEE }));
    let outcome = world.write(vec![update(&now, wanted)]).remove(0);
    assert_eq!(outcome.status, Status::Conflict);
}

#[test]
fn trashed_items_are_gone_and_in_the_deleted_items() {
    let world = World::of(3);
    let records = world.changes("contact", &everything(), None).unwrap().records;
    let action = |record: &pairwise_plugin_api::Record, action| Write { action, ..update(record, Fields::new()) };
    let outcomes = world.write(vec![action(&records[0], Action::Trash), action(&records[1], Action::Delete)]);
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied), "{outcomes:?}");
    let left = world.sandbox.records("outlook", Some("contact"), Some(LEE));
    let at = |id: &str| left.iter().find(|item| item.id == id).map(|item| item.container.clone().unwrap());
    assert!(at(&records[0].at.id).unwrap().contains("deleteditems"));
    assert_eq!(at(&records[1].at.id), None);
    let found = world
        .outlook
        .get(&world.cx, GetRequest { at: records.iter().map(|record| record.at.clone()).collect(), ..one("") });
    let found: Vec<_> = found.unwrap().into_iter().map(|found| (found.record.is_some(), found.absent)).collect();
    assert_eq!(found, [(false, Absent::Gone), (false, Absent::Gone), (true, Absent::Hidden)]);
    // Nobody sees what is changed in the deleted items.
    let unseen = Write { expect: None, ..update(&records[0], [("jobTitle", "x")].into_iter().collect()) };
    assert_eq!(
        world
            .write(vec![unseen, action(&records[1], Action::Trash)])
            .iter()
            .map(|outcome| outcome.status)
            .collect::<Vec<_>>(),
        [Status::Gone, Status::Gone]
    );
}

#[test]
fn folders_are_containers() {
    let world = World::of(2);
    let ensure = |path: &str| {
        let request = EnsureContainerRequest {
            principal: lee(),
            entity: "contact".into(),
            path: path.into(),
            ..EnsureContainerRequest::default()
        };
        world.outlook.ensure_container(&world.cx, request).unwrap().id
    };
    assert_eq!(
        (ensure("CRM/Leads"), ensure("CRM"), ensure("contacts")),
        ("CRM/Leads".into(), "CRM".into(), String::new())
    );
    let paths: Vec<String> = world
        .outlook
        .containers(&world.cx, ContainersRequest { principal: lee(), entity: "contact".into() })
        .unwrap()
        .into_iter()
        .map(|container| container.path)
        .collect();
    assert_eq!(paths, ["", "CRM", "CRM/Leads"]);
    let first = world.changes("contact", &folder("CRM"), None).unwrap();
    assert!(first.records.is_empty() && first.complete);
    let made =
        world.write(vec![Write { container: Some("CRM".into()), ..create("K", &[("surname", "Noether")]) }]).remove(0);
    let made = made.record.unwrap();
    assert_eq!(made.container.as_deref(), Some("CRM"));
    // A person moves an item out of the folder: it left the scope, and is no deletion.
    let told = world.changes("contact", &folder("CRM"), first.cursor).unwrap();
    assert_eq!(told.records.len(), 1);
    world.edit(Some(&made.at.id), json!({}), Some("contacts"));
    let told = world.changes("contact", &folder("CRM"), told.cursor).unwrap();
    assert_eq!((told.records.len(), told.removed[0].reason), (0, Reason::LeftScope));
    // Away and back between two looks is no removal at all.
    world.edit(Some(&made.at.id), json!({}), Some("CRM"));
    let there = world.changes("contact", &folder("CRM"), told.cursor).unwrap();
    world.edit(Some(&made.at.id), json!({}), Some("contacts"));
    world.edit(Some(&made.at.id), json!({}), Some("CRM"));
    let back = world.changes("contact", &folder("CRM"), there.cursor).unwrap();
    assert_eq!((there.records.len(), back.records.len(), back.removed.len()), (1, 1, 0));
    // We move it: Graph makes it anew, with its key.
    let moved = Write { container: Some("CRM/Leads".into()), ..update(&back.records[0], Fields::new()) };
    let moved = world.write(vec![moved]).remove(0).record.unwrap();
    assert_eq!((moved.container.as_deref(), moved.fields.text("surname")), (Some("CRM/Leads"), Some("Noether")));
    let found = world.outlook.get(&world.cx, one(&moved.at.id)).unwrap().remove(0).record.unwrap();
    assert_eq!((found.incarnation == moved.incarnation, moved.at.id == made.at.id), (true, false));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let world = World::of(0);
    let request = |scope| CheckRequest { principal: lee(), scope, entities: vec!["contact".into()], write: true };
    assert!(world.outlook.check(&world.cx, request(folder("contacts"))).unwrap().is_empty());
    let conditions = world.outlook.check(&world.cx, request(folder("CRM"))).unwrap();
    assert!(conditions[0].text.contains("no folder `CRM`"), "{}", conditions[0].text);
}

#[test]
fn what_the_server_refuses_is_refused_alone() {
    let world = World::of(0);
    let long = "x".repeat(300);
    let outcomes = world.write(vec![
        create("A", &[("surname", "Good")]),
        create("B", &[("surname", &long)]),
        create("C", &[("surname", "Good")]),
    ]);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Applied, Status::Refused, Status::Applied]);
    assert_eq!(
        (outcomes[1].code.as_str(), outcomes[1].text.contains("surname")),
        ("invalid", true),
        "{}",
        outcomes[1].text
    );
}

#[test]
fn the_people_of_the_organisation_are_told() {
    let world = World::of(0);
    let secrets = [("client_secret".to_owned(), "pairwise~sandbox~secret".to_owned())].into();
    let request = LoginRequest { principal: Principal::connection(), secrets };
    world.outlook.login(&world.cx, request).unwrap();
    let told = world.outlook.users(&world.cx, UsersRequest::default()).unwrap();
    let lee = told.users.iter().find(|user| user.address == LEE).unwrap();
    assert_eq!((&lee.principal.0[..], &lee.name[..], lee.active, told.next), (LEE, "Lee Hunter", true, None));
}
