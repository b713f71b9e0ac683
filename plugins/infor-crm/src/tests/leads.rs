//! Leads that become contacts are not taken for deleted.

use pairwise_plugin_api::{Absent, Status};

use super::*;

fn lead(id: &str) -> RecordRef {
    RecordRef::new("leads", id)
}

fn in_leads() -> Scope {
    Scope::from([("group".to_owned(), Value::from("Prospects"))])
}

/// Three leads with addresses, in a group of their own.
fn prospects(world: &World) -> Vec<String> {
    let group = json!({ "family": "Lead", "name": "Prospects" }).as_object().unwrap().clone().into_iter().collect();
    let edit = Edit { entity: "groups".into(), user: "lee".into(), fields: group, ..Edit::default() };
    world.sandbox.edit(CRM, edit).unwrap();
    let leads: Vec<String> = world.held("leads").into_iter().take(3).map(|item| item.id).collect();
    for (number, id) in leads.iter().enumerate() {
        world.edit(id, json!({ "Email": format!("lead{number}@example.com") }));
    }
    world.command("join", json!({ "user": "lee", "group": "Prospects", "ids": leads }));
    leads
}

fn convert(world: &World, id: &str) -> String {
    world.sandbox.command(CRM, "convert", &json!({ "user": "lee", "id": id })).unwrap()["id"].as_str().unwrap().into()
}

fn absent(world: &World, scope: Scope, id: &str) -> Absent {
    let request = GetRequest { principal: lee(), scope, at: vec![lead(id)], fields: Vec::new() };
    let found = world.crm.get(&world.cx, request).unwrap().pop().unwrap();
    assert!(found.record.is_none());
    found.absent
}

/// Of a group: the feed itself tells what became of its members.
#[test]
fn a_converted_lead_has_left_and_a_deleted_one_is_deleted() {
    let world = World::of(30);
    let leads = prospects(&world);
    let (changes, cursor) = world.pull(&in_leads(), "leads", None).unwrap();
    assert_eq!(changes.len(), 3);
    let record = upserts(&changes).into_iter().find(|record| record.at.id == leads[0]).unwrap().clone();
    let contact = convert(&world, &leads[0]);
    // What people write there afterwards does not hide it.
    world.edit(&contact, json!({ "SecondaryEmail": "Lead0@Example.com", "Email": "new@example.com" }));
    world.sandbox.delete(CRM, "admin", &leads[1]).unwrap();
    assert_eq!(absent(&world, in_leads(), &leads[0]), Absent::Hidden);
    assert_eq!(absent(&world, in_leads(), &leads[1]), Absent::Gone);
    let written = world.write(&in_leads(), vec![update(&record, fields([("Title", "Ours")]))]).unwrap();
    assert_eq!((written[0].status, written[0].code.as_str()), (Status::Refused, "converted"));

    // Another process reads on from the cursor alone.
    let world = World { crm: connect(&world.sandbox.info(CRM).url, json!({})), ..world };
    world.log_in("lee", "lee-secret");
    let (changes, cursor) = world.pull(&in_leads(), "leads", Some(cursor)).unwrap();
    let mut told = removed(&changes);
    told.sort_unstable_by_key(|(id, _)| leads.iter().position(|lead| lead == id));
    assert_eq!(told, [(leads[0].as_str(), Reason::LeftScope), (leads[1].as_str(), Reason::Deleted)]);
    assert_eq!(world.pull(&in_leads(), "leads", Some(cursor)).unwrap().0, []);
}

/// Without a group only a listing shows who is missing: it is told who was there before, also by another process, and also
/// where fields are asked for that say nothing of addresses.
#[test]
fn a_listing_knows_who_was_converted() {
    let world = World::of(30);
    let leads = prospects(&world);
    let list = |world: &World, previous: Option<Cursor>| {
        let mut request = ChangesRequest {
            principal: lee(),
            entities: vec!["leads".into()],
            previous,
            limit: 10,
            fields: vec!["LastName".into()],
            ..ChangesRequest::default()
        };
        let mut changes = Vec::new();
        loop {
            let page = world.crm.changes(&world.cx, request.clone()).unwrap();
            changes.extend(page.changes);
            request.cursor = page.next;
            if !page.more {
                return (changes, request.cursor.unwrap());
            }
        }
    };
    let (changes, mut cursor) = list(&world, None);
    assert!(changes.len() >= 3 && removed(&changes).is_empty());
    let before = changes.len();
    convert(&world, &leads[0]);
    world.sandbox.delete(CRM, "admin", &leads[1]).unwrap();
    // The host believes no absence before it has seen it twice.
    for _ in 0..2 {
        let other = World { crm: connect(&world.sandbox.info(CRM).url, json!({})), ..World::of(0) };
        other.log_in("lee", "lee-secret");
        let (changes, next) = list(&other, Some(cursor));
        assert_eq!(removed(&changes), [(leads[0].as_str(), Reason::LeftScope)]);
        assert_eq!(upserts(&changes).len(), before - 2);
        assert_eq!(absent(&other, Scope::new(), &leads[0]), Absent::Hidden);
        assert_eq!(absent(&other, Scope::new(), &leads[1]), Absent::Gone);
        cursor = next;
    }
}
