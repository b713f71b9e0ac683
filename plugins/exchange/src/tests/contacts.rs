//! Contacts: reading, writing, moving, finding.

use super::*;

fn ada() -> Vec<(&'static str, Value)> {
    vec![
        ("GivenName", "Ada".into()),
        ("Surname", "Lovelace".into()),
        ("DisplayName", "Ada Lovelace".into()),
        ("Title", "Lady".into()),
        ("CompanyName", "Engines & Söhne".into()),
        ("EmailAddress1", "ada@example.org".into()),
        ("EmailAddress2", "a@example.net".into()),
        ("BusinessPhone", "+44 1".into()),
        ("MobilePhone", "+44 2".into()),
        ("BusinessStreet", "S 1".into()),
        ("BusinessCity", "London".into()),
        ("HomeCity", "Ockham".into()),
        ("BusinessPostOfficeBox", "PO 1".into()),
        ("HomePostOfficeBox", "PO 2".into()),
        ("OtherPostOfficeBox", "PO 3".into()),
        ("Children", Value::from(vec!["Byron".into(), "Anne".into()])),
        ("Companies", Value::from(vec!["Babbage & Co".into()])),
        ("Birthday", "1815-12-10".into()),
        ("Body", "first\nsecond".into()),
        ("Categories", Value::from(vec!["Key".into(), "VIP".into()])),
        ("Sensitivity", "private".into()),
        ("PostalAddressIndex", "home".into()),
        ("extended/region", "South".into()),
    ]
}

#[test]
fn a_contact_comes_back_as_it_was_written() {
    let stage = Stage::new(0);
    let made = stage.one(create("contact", "KEY1", &ada()));
    assert_eq!(made.status, Status::Applied, "{made:?}");
    let record = made.record.unwrap();
    for (name, value) in ada() {
        assert_eq!(record.fields.get(name), Some(&value), "{name}");
    }
    assert_eq!(record.fields.get("JobTitle"), Some(&Value::Null));
    assert!(record.incarnation.is_some() && record.version.is_some() && record.created.is_some());
    assert_eq!(stage.get("contact", &record.at.id).unwrap().fields, record.fields);
    let stored = stage.items("contact").pop().unwrap();
    // Where Outlook looks for them.
    let boxes = ["{00062004-0000-0000-c000-000000000046}/0x804a", "0x3a5e", "0x3a64"];
    assert_eq!(boxes.map(|key| &stored.fields[key]), ["PO 1", "PO 2", "PO 3"]);
    assert_eq!(stored.fields["FileAs"], json!("Lovelace, Ada"));
    assert_eq!(stored.fields["{c11ff724-aa03-4555-9952-8fa248a11c3e}/PairwiseKey"], json!("KEY1"));
}

#[test]
fn an_update_sends_what_changed_and_nothing_else() {
    let stage = Stage::new(0);
    let record = stage.one(create("contact", "KEY1", &ada())).record.unwrap();
    let since = stage.now();
    let change =
        [("CompanyName", "Analytical".into()), ("EmailAddress2", Value::Null), ("BusinessCity", "Bath".into())];
    let changed = stage.one(update(&record, &change));
    assert_eq!(changed.status, Status::Applied, "{changed:?}");
    let sent = stage.asked(since).into_iter().find(|entry| entry.operation.as_deref() == Some("UpdateItem")).unwrap();
    assert_eq!(sent.body.matches("<t:SetItemField>").count(), 2);
    assert_eq!(sent.body.matches("<t:DeleteItemField>").count(), 1);
    assert!(!sent.body.contains("Lovelace") && !sent.body.contains("ada@example.org"), "{}", sent.body);
    let now = changed.record.unwrap();
    assert_ne!(now.version, record.version);
    assert_eq!(
        (now.fields.text("CompanyName"), now.fields.get("EmailAddress2")),
        (Some("Analytical"), Some(&Value::Null))
    );
    assert_eq!((now.fields.text("BusinessStreet"), now.fields.text("BusinessCity")), (Some("S 1"), Some("Bath")));
}

#[test]
fn every_field_can_be_cleared() {
    let stage = Stage::new(0);
    let record = stage.one(create("contact", "KEY1", &ada())).record.unwrap();
    let nothing: Vec<(&str, Value)> = ada().into_iter().map(|(name, _)| (name, Value::Null)).collect();
    let cleared = stage.one(update(&record, &nothing));
    assert_eq!(cleared.status, Status::Applied, "{cleared:?}");
    let fields = cleared.record.unwrap().fields;
    for (name, _) in ada() {
        assert_eq!(fields.get(name), Some(&Value::Null), "{name}");
    }
}

#[test]
fn an_old_version_is_a_conflict_that_tells_the_present_one() {
    let stage = Stage::new(0);
    let record = stage.one(create("contact", "KEY1", &ada())).record.unwrap();
    stage.edit("contact", Some(&record.at.id), json!({ "JobTitle": "Countess" }), None);
    let late = stage.one(update(&record, &[("CompanyName", "X".into())]));
    assert_eq!(late.status, Status::Conflict);
    assert_eq!(late.record.unwrap().fields.text("JobTitle"), Some("Countess"));
    let trash =
        Write { action: Action::Trash, at: record.at.clone(), expect: record.version.clone(), ..Write::default() };
    assert_eq!(stage.one(trash).status, Status::Conflict, "a removal under an old version, too");
    assert_eq!(stage.items("contact").pop().unwrap().fields["CompanyName"], json!("Engines & Söhne"));
}

#[test]
fn changes_are_told_once_and_from_a_lost_state_all_over() {
    let stage = Stage::new(230);
    let (mut cursor, mut seen, mut pages) = (None, 0, 0);
    let page = loop {
        let page = stage.changes("contact", cursor);
        (seen, pages) = (seen + records(&page).len(), pages + 1);
        if !page.more {
            break page;
        }
        assert!(!page.complete);
        cursor = page.next.clone();
    };
    assert_eq!((seen, pages, page.complete), (230, 3, true));
    assert!(page.server_time.is_some());
    let quiet = stage.changes("contact", page.next);
    assert_eq!((quiet.changes.len(), quiet.more, quiet.complete), (0, false, false));
    let first = stage.items("contact").remove(0);
    stage.edit("contact", Some(&first.id), json!({ "JobTitle": "Chief" }), None);
    let second = stage.items("contact").remove(1);
    stage.sandbox.delete("exchange", LEE, &second.id).unwrap();
    let made = stage.edit("contact", None, json!({ "Surname": "New" }), None);
    stage.edit("list", None, json!({ "DisplayName": "A distribution list" }), None);
    let page = stage.changes("contact", quiet.next.clone());
    let ids: Vec<&str> = records(&page).iter().map(|record| record.at.id.as_str()).collect();
    assert_eq!(ids, [made.as_str(), first.id.as_str()]);
    assert_eq!(removed(&page), [second.id.as_str()]);
    stage.command("drop_sync_states", json!({}));
    let lost = stage.changes_of(request("contact", page.next)).unwrap_err();
    assert_eq!(lost.class, Class::CursorExpired);
}

#[test]
fn a_quiet_look_is_one_request() {
    let stage = Stage::new(300);
    let mut cursor = None;
    while let Some(page) = Some(stage.changes("contact", cursor.take())) {
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    let since = stage.now();
    stage.changes("contact", cursor);
    assert_eq!(stage.operations(since), ["SyncFolderItems"]);
}

#[test]
fn a_hundred_creates_take_two_requests() {
    let stage = Stage::new(0);
    let since = stage.now();
    let writes =
        (0..100).map(|number| create("contact", &format!("K{number}"), &[("Surname", format!("S{number}").into())]));
    let outcomes = stage.write(writes.collect());
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    assert_eq!(stage.operations(since), ["CreateItem", "GetItem"]);
}

#[test]
fn records_are_found_by_key_and_by_value() {
    let stage = Stage::new(20);
    let record = stage.one(create("contact", "KEY1", &ada())).record.unwrap();
    let found = stage.find("contact", &[], &["KEY1", "KEY2"]);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(found[0][0].at, record.at);
    let found = stage.find("contact", &["EmailAddress1", "EmailAddress2"], &["a@example.net", "A@example.net", "none"]);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0], "case counts where it is said to");
    // A copy that a person makes bears the same key: both are told, the older one first.
    let mut copy = stage.items("contact").pop().unwrap().fields;
    copy.remove("0x300b");
    stage.edit("contact", None, Json::Object(copy), None);
    let found = stage.find("contact", &[], &["KEY1"]);
    assert_eq!((found[0].len(), &found[0][0].at), (2, &record.at));
    assert_ne!(found[0][0].incarnation, found[0][1].incarnation);
}

#[test]
fn the_trash_is_the_deleted_items() {
    let stage = Stage::new(0);
    let record = stage.one(create("contact", "KEY1", &ada())).record.unwrap();
    let since = stage.now();
    let trash =
        Write { action: Action::Trash, at: record.at.clone(), expect: record.version.clone(), ..Write::default() };
    assert_eq!(stage.one(trash.clone()).status, Status::Applied);
    assert!(stage.operations(since).contains(&"MoveItem".to_owned()));
    let item = stage.items("contact").pop().unwrap();
    let folder = stage.items("folder").into_iter().find(|folder| Some(&folder.id) == item.container.as_ref()).unwrap();
    assert_eq!(folder.fields["Distinguished"], json!("deleteditems"));
    assert_eq!(item.fields["Surname"], json!("Lovelace"), "nothing of it is lost");
    assert_eq!(stage.one(trash).status, Status::Gone);
    assert!(stage.get("contact", &record.at.id).is_none());
    assert!(stage.find("contact", &[], &["KEY1"])[0].is_empty(), "what was thrown away is not found");
}

#[test]
fn a_moved_contact_keeps_its_incarnation() {
    let stage = Stage::new(0);
    let record = stage.one(create("contact", "KEY1", &ada())).record.unwrap();
    stage.edit("folder", None, json!({ "DisplayName": "CRM" }), Some("contacts"));
    let moved = stage.edit("contact", Some(&record.at.id), json!({}), Some("CRM"));
    assert_ne!(moved, record.at.id);
    let there = stage.get("contact", &moved).unwrap();
    assert_eq!(there.incarnation, record.incarnation);
    assert_eq!(stage.find("contact", &[], &["KEY1"])[0][0].at.id, moved, "and its key");
}

#[test]
fn folders_are_named_by_their_paths() {
    let stage = Stage::new(3);
    let principal = Principal(LEE.into());
    let ensure = |path: &str| {
        let request = EnsureContainerRequest {
            principal: principal.clone(),
            entity: "contact".into(),
            path: path.into(),
            ..EnsureContainerRequest::default()
        };
        stage.exchange.ensure_container(&stage.cx, request).unwrap().id
    };
    assert_eq!(
        (ensure("contacts"), ensure("CRM/Leads"), ensure("CRM/Leads")),
        (String::new(), "CRM/Leads".into(), "CRM/Leads".into())
    );
    let request = ContainersRequest { principal, entity: "contact".into() };
    let paths: Vec<String> =
        stage.exchange.containers(&stage.cx, request).unwrap().into_iter().map(|folder| folder.id).collect();
    assert_eq!(paths, ["", "CRM", "CRM/Leads"], "caches of the server are left out");
    let mut scoped = request_in("CRM/Leads");
    assert!(records(&stage.changes_of(scoped.clone()).unwrap()).is_empty());
    stage.edit("contact", None, json!({ "Surname": "Lead" }), Some("Leads"));
    let page = stage.changes_of(scoped.clone()).unwrap();
    assert_eq!(records(&page)[0].container.as_deref(), Some("CRM/Leads"));
    scoped.scope = [("folder".to_owned(), Value::from(vec!["contacts".into(), "CRM/Leads".into()]))].into();
    assert_eq!(records(&stage.changes_of(scoped).unwrap()).len(), 4);
    assert_eq!(stage.changes_of(request_in("Nowhere")).unwrap_err().class, Class::NotFound);
}

/// What does not fit a page is on the next one: entries of a search as well as folders.
#[test]
fn searches_are_read_to_their_end() {
    let stage = Stage::new(0);
    let write = |number: usize| create("contact", &format!("KEY{number}"), &[("CompanyName", "Everybody's".into())]);
    stage.write((0..7).map(write).collect());
    for folder in ["CRM", "Leads", "Partners"] {
        stage.edit("folder", None, json!({ "DisplayName": folder }), Some("contacts"));
    }
    stage.command("largest_page", json!({ "count": 2 }));
    assert_eq!(stage.find("contact", &["CompanyName"], &["Everybody's", "Nobody's"])[0].len(), 7);
    assert!(stage.changes_of(request_in("Partners")).is_ok());
    let request = ContainersRequest { principal: Principal(LEE.into()), entity: "contact".into() };
    assert_eq!(stage.exchange.containers(&stage.cx, request).unwrap().len(), 4);
}

fn request_in(folder: &str) -> ChangesRequest {
    ChangesRequest { scope: [("folder".to_owned(), folder.into())].into(), ..request("contact", None) }
}
