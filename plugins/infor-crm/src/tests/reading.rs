//! Pages, looks for changes, single records, searches.

use pairwise_plugin_api::Absent;

use super::*;

#[test]
fn a_group_is_told_page_by_page() {
    let world = World::of(230);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    assert_eq!(changes.len(), 230);
    let held = world.held("contacts");
    for record in upserts(&changes) {
        let there = held.iter().find(|item| item.id == record.at.id).unwrap();
        for name in ["FirstName", "LastName", "Email", "WorkPhone", "Title"] {
            let told = record.fields.get(name).unwrap();
            assert_eq!(told.as_text(), there.fields.get(name).and_then(Json::as_str), "{name} of {}", record.at.id);
        }
        assert!(record.fields.text("AccountName").is_some() && record.fields.text("Account").is_some());
        assert!(record.fields.text("Address/City").is_some() && record.version.is_some());
        assert_eq!((record.created, record.modified.is_some()), (Some(there.created), true));
    }
}

#[test]
fn without_a_group_everything_visible_is_told() {
    let world = World::of(120);
    let (changes, cursor) = world.pull(&Scope::new(), "contacts", None).unwrap();
    // One in five of the other user's contacts is for that user alone.
    assert!(changes.len() > 120 && changes.len() < 240, "{}", changes.len());
    let (leads, _) = world.pull(&Scope::new(), "leads", None).unwrap();
    assert!(upserts(&leads).iter().all(|lead| lead.fields.text("Company").is_some()));
    assert_eq!(leads.len(), 24);
    let (accounts, _) = world.pull(&Scope::new(), "accounts", None).unwrap();
    assert!(upserts(&accounts).iter().all(|account| account.fields.text("Type") == Some("Customer")));
    let (notes, _) = world.pull(&Scope::new(), "history", None).unwrap();
    assert!(upserts(&notes).iter().any(|note| note.fields.text("LongNotes").is_some()));

    let first = ids(&changes)[0].to_owned();
    world.edit(&first, json!({ "WorkPhone": "+49 40 1" }));
    let (changes, _) = world.pull(&Scope::new(), "contacts", Some(cursor)).unwrap();
    assert_eq!(ids(&changes), [first]);
}

#[test]
fn a_quiet_run_asks_four_times_at_most() {
    for auth in ["digest", "both"] {
        let world = World::of(150);
        world.server(json!({ "auth": auth }));
        let (_, cursor) = world.pull(&in_group(), "contacts", None).unwrap();

        // The next run is another process: it logs in anew.
        let world = World { crm: connect(&world.sandbox.info(CRM).url, json!({})), ..world };
        world.log_in("lee", "lee-secret");
        let before = world.asked();
        assert_eq!(world.check(in_group()).unwrap(), [""; 0]);
        let (changes, _) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
        assert_eq!(changes, []);
        assert!(world.asked() - before <= 4, "{} requests", world.asked() - before);
        assert_eq!(world.writes(), [""; 0]);
    }
}

/// IC-1, IC-8, IC-46: what is told by the next look.
#[test]
fn every_kind_of_change_is_told_once() {
    let world = World::of(20);
    let (changes, mut cursor) = world.pull(&in_group(), "contacts", None).unwrap();
    let ids_: Vec<String> = ids(&changes).into_iter().map(str::to_owned).collect();
    let look = |cursor: &mut Cursor| {
        let (changes, next) = world.pull(&in_group(), "contacts", Some(cursor.clone())).unwrap();
        *cursor = next;
        changes
    };
    world.edit(&ids_[0], json!({ "WorkPhone": "+49 40 1" }));
    let changes = look(&mut cursor);
    assert_eq!(ids(&changes), [ids_[0].as_str()]);
    assert_eq!(upserts(&changes)[0].fields.text("WorkPhone"), Some("+49 40 1"));
    assert_eq!(look(&mut cursor), [], "told once, although the past is looked at again");

    // An address changes by itself: its owner's date of change stays.
    let address = world.holds("contacts", &ids_[1]).unwrap().fields["Address"].as_str().unwrap().to_owned();
    world.edit(&address, json!({ "City": "Elsewhere" }));
    let changes = look(&mut cursor);
    assert_eq!(ids(&changes), [ids_[1].as_str()]);
    assert_eq!(upserts(&changes)[0].fields.text("Address/City"), Some("Elsewhere"));

    // Another account.
    let other = world.held("accounts").into_iter().last().unwrap();
    world.edit(&ids_[2], json!({ "Account": { "$key": other.id } }));
    let changes = look(&mut cursor);
    assert_eq!(upserts(&changes)[0].fields.text("AccountName"), other.fields["AccountName"].as_str());

    // Two changes in a row, one second apart and less.
    world.edit(&ids_[3], json!({ "Title": "One" }));
    assert_eq!(upserts(&look(&mut cursor))[0].fields.text("Title"), Some("One"));
    world.edit(&ids_[3], json!({ "Title": "Two" }));
    assert_eq!(upserts(&look(&mut cursor))[0].fields.text("Title"), Some("Two"));

    // Whoever is not in the group is nobody's business, until they join it: without a change of the record.
    let outside = World::members(&world);
    let stranger = world.held("contacts").into_iter().find(|item| !outside.contains(&item.id)).unwrap().id;
    world.edit(&stranger, json!({ "Title": "Stranger" }));
    assert_eq!(look(&mut cursor), []);
    world.command("join", json!({ "user": "lee", "group": GROUP, "ids": [stranger] }));
    assert_eq!(ids(&look(&mut cursor)), [stranger.as_str()]);
}

/// IC-38, IC-43, IC-53: deleted, left, and merely not visible.
#[test]
fn what_is_missing_has_its_reason() {
    let world = World::of(30);
    let (changes, cursor) = world.pull(&in_group(), "contacts", None).unwrap();
    let all: Vec<String> = ids(&changes).into_iter().map(str::to_owned).collect();
    world.sandbox.delete(CRM, "admin", &all[0]).unwrap();
    world.command("leave", json!({ "user": "lee", "group": GROUP, "ids": [all[1]] }));
    // The login loses the right to see its own records.
    world.command("rights", json!({ "owner": "SDEMOA000001", "user": "lee", "access": "none" }));
    let (changes, cursor) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
    assert_eq!(removed(&changes), [(all[0].as_str(), Reason::Deleted), (all[1].as_str(), Reason::LeftScope)]);
    assert_eq!(upserts(&changes), [] as [&Record; 0]);
    assert_eq!(world.pull(&in_group(), "contacts", Some(cursor)).unwrap().0, []);

    let hidden = world.held("contacts").into_iter().find(|item| item.fields["Owner"] == "SDEMOA000001").unwrap().id;
    let request = GetRequest {
        principal: lee(),
        scope: in_group(),
        at: vec![contact(&all[0]), contact(&hidden), contact(&all[1])],
        fields: vec!["LastName".into()],
    };
    let found = world.crm.get(&world.cx, request).unwrap();
    assert_eq!((&found[0].record, found[0].absent), (&None, Absent::Gone));
    assert_eq!((&found[1].record, found[1].absent), (&None, Absent::Hidden));
    assert_eq!(found[2].record.as_ref().map(|record| record.fields.len()), Some(1));
}

/// What changed long after the last look, and what many changed shortly before it.
#[test]
fn a_crowded_past_is_read_once() {
    let world = World::of(600);
    let (changes, cursor) = world.pull(&in_group(), "contacts", None).unwrap();
    for record in upserts(&changes) {
        world.edit(&record.at.id, json!({ "Department": "New" }));
    }
    let (changes, cursor) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
    assert_eq!(changes.len(), 600);
    let before = world.asked();
    let (changes, cursor) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
    assert_eq!((changes.len(), world.asked() - before), (0, 3), "group, contacts, addresses");
    let one = world.members()[300].clone();
    world.edit(&one, json!({ "Department": "Newer" }));
    let (changes, _) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
    assert_eq!(ids(&changes), [one.as_str()]);
}

/// IC-12, IC-14, IC-21, IC-45, IC-52: any of several addresses, exactly; many values in one request.
#[test]
fn records_are_found_by_many_values_at_once() {
    let world = World::of(20);
    let some: Vec<Item> = world.held("contacts").into_iter().take(3).collect();
    let email = |place: usize| some[place].fields["Email"].as_str().unwrap().to_owned();
    world.edit(&some[2].id, json!({ "Email3": "third@example.com" }));
    let by = ["Email", "SecondaryEmail", "Email3"];
    let before = world.asked();
    let found = world.find("contacts", &by, &[&email(0), "third@example.com", "nobody@example.com"], true);
    assert_eq!(world.asked() - before, 2, "one request, and the answer to the challenge");
    assert!(found[0].contains(&some[0].id) && found[1].contains(&some[2].id) && found[2].is_empty());
    let shouted = email(0).to_uppercase();
    assert!(world.find("contacts", &by, &[&shouted], true)[0].is_empty());
    assert!(world.find("contacts", &by, &[&shouted], false)[0].contains(&some[0].id));

    let account = world.held("accounts").into_iter().next().unwrap();
    let name = account.fields["AccountName"].as_str().unwrap();
    assert!(world.find("accounts", &["AccountName"], &[name, "O'Hara \\ Söhne + Co"], true)[0].contains(&account.id));
    let city = world.held("addresses")[0].fields["City"].as_str().unwrap().to_owned();
    assert!(!world.find("contacts", &["Address/City"], &[&city], true)[0].is_empty());

    // What a copy in a mailbox knows them by; keys of another site are strangers here.
    let uids = [&format!("{}@127.0.0.1", some[1].id), &format!("{}@crm.example.com", some[1].id), "uid-of-a-card"];
    assert_eq!(world.find("contacts", &["uid"], &uids, true), [vec![some[1].id.clone()], vec![], vec![]]);
}

#[test]
fn the_people_of_the_site_are_told_by_pages() {
    let world = World::with(0, json!({ "username": "admin", "page": 2 }));
    world.log_in("", "admin-secret");
    let (mut told, mut page) = (Vec::new(), None);
    loop {
        let answer = world.crm.users(&world.cx, UsersRequest { page }).unwrap();
        told.extend(answer.users);
        page = answer.next;
        if page.is_none() {
            break;
        }
    }
    let lee = told.iter().find(|user| user.principal.0 == "lee").unwrap();
    assert_eq!((lee.address.as_str(), lee.name.as_str(), lee.active), ("lee@example.com", "Lee Hunter", true));
    world.sandbox.core(CRM).write(|store, now| {
        store.change(now, "UDEMOA000001", |fields| drop(fields.insert("Type".into(), json!("Retired"))));
    });
    let page = Some(Cursor(b"UDEMOA000000".to_vec()));
    let told = world.crm.users(&world.cx, UsersRequest { page }).unwrap().users;
    assert!(told.iter().any(|user| user.principal.0 == "lee" && !user.active), "{told:?}");
}

#[test]
fn a_listing_tells_ids_alone() {
    let world = World::of(10);
    let request = ListRequest {
        principal: lee(),
        scope: in_group(),
        entities: vec!["contacts".into()],
        limit: 100,
        detail: ListDetail::Ids,
        ..ListRequest::default()
    };
    let page = world.crm.list(&world.cx, request).unwrap();
    assert!(page.complete && page.same_store && !page.more);
    assert_eq!(page.changes.len(), 10);
    assert!(upserts(&page.changes).iter().all(|record| record.fields.is_empty() && record.version.is_some()));
}

/// IC-11: a field that the login may not see is not told, which is not the same as empty.
#[test]
fn rule_ic_11_a_hidden_field_is_not_told() {
    let world = World::of(5);
    world.command("field", json!({ "user": "lee", "field": "contacts.WorkPhone", "access": "none" }));
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    assert!(upserts(&changes).iter().all(|record| record.fields.get("WorkPhone").is_none()));
}

/// IC-37: only the server's own dates count, so that a clock that is wrong, or is put back, hides nothing; and what shows late,
/// because it took long, is seen in the overlap.
#[test]
fn clocks_that_differ_hide_nothing() {
    let world = World::of(10);
    let core = world.sandbox.core(CRM);
    let (changes, mut cursor) = world.pull(&in_group(), "contacts", None).unwrap();
    let people: Vec<String> = ids(&changes).into_iter().map(str::to_owned).collect();
    for (place, skew) in [3_600_000, -3_600_000, 0].into_iter().enumerate() {
        core.set_skew(skew);
        world.edit(&people[place], json!({ "Title": "Changed" }));
        let (changes, next) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
        assert!(ids(&changes).contains(&people[place].as_str()), "{skew}");
        let (changes, next) = world.pull(&in_group(), "contacts", Some(next)).unwrap();
        assert_eq!(changes, [], "{skew}");
        cursor = next;
    }
    // Begun before the last look, done after it.
    core.write(|store, now| {
        store.change(now - 60_000, &people[5], |fields| {
            fields.insert("Title".into(), json!("Late"));
        });
    });
    let (changes, _) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
    assert_eq!(ids(&changes), [people[5].as_str()]);
}
