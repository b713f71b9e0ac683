//! The shipping address, where the settings ask for it.

use pairwise_plugin_api::Status;

use super::*;

const STREET: &str = "ShippingAddress/Street";
const CITY: &str = "ShippingAddress/City";

/// A server, and the connector that keeps shipping addresses.
fn world() -> World {
    World::with(3, json!({ "shipping_address": true }))
}

fn first(world: &World) -> Record {
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    upserts(&changes)[0].clone()
}

/// The record that one of a contact's relations leads to.
fn address(world: &World, contact: &str, relation: &str) -> Option<Item> {
    let contact = world.holds("contacts", contact).unwrap();
    world.holds("addresses", contact.fields.get(relation)?.as_str()?)
}

#[test]
fn it_is_a_field_only_where_it_is_wanted() {
    let names = |world: &World| {
        let catalogue = world
            .crm
            .discover(&world.cx, DiscoverRequest { entity: Some("contacts".into()), ..DiscoverRequest::default() })
            .unwrap();
        catalogue.entities[0].fields.iter().filter(|field| field.name.starts_with("Shipping")).count()
    };
    assert_eq!((names(&World::of(0)), names(&world())), (0, 6));
    let plain = World::of(1);
    let outcome = plain.one(update(&first(&plain), fields([(CITY, "York")])));
    assert_eq!((outcome.status, outcome.code.as_str()), (Status::Refused, "unknown_field"));
}

#[test]
fn it_is_made_changed_and_emptied_on_its_own() {
    let world = world();
    let account = world.held("accounts")[0].id.clone();
    let made = world.one(create(
        "contacts",
        fields([("LastName", "Lovelace"), ("Account", &account), ("Address/City", "London"), (CITY, "Bath")]),
    ));
    let told = made.record.unwrap();
    assert_eq!((told.fields.text("Address/City"), told.fields.text(CITY)), (Some("London"), Some("Bath")));

    // A contact that has none gets one.
    let record = first(&world);
    assert_eq!(record.fields.get(CITY), Some(&Value::Null));
    let outcome = world.one(update(&record, fields([(STREET, "1 Dock\nGate 2"), (CITY, "Hull"), ("Title", "Dr")])));
    let told = outcome.record.unwrap();
    assert_eq!((told.fields.text(STREET), told.fields.text("Title")), (Some("1 Dock\nGate 2"), Some("Dr")));
    assert_eq!(told.fields.text("Address/City"), record.fields.text("Address/City"));

    // Both change with one write, each in the state that it was told in.
    let outcome = world.one(update(&told, fields([("Address/City", "Leeds"), (CITY, "Goole")])));
    assert_eq!(outcome.status, Status::Applied);
    let both = outcome.record.unwrap();
    assert_eq!((both.fields.text("Address/City"), both.fields.text(CITY)), (Some("Leeds"), Some("Goole")));
    let stale = world.one(update(&told, fields([(CITY, "Grimsby")])));
    assert_eq!(stale.status, Status::Conflict, "somebody was faster");
    assert_eq!(stale.record.unwrap().fields.text(CITY), Some("Goole"));

    let empty = Fields::from_iter([(STREET, Value::Null), (CITY, Value::Null)]);
    let outcome = world.one(update(&both, empty));
    let told = outcome.record.unwrap();
    assert_eq!((told.fields.get(STREET), told.fields.get(CITY)), (Some(&Value::Null), Some(&Value::Null)));
    assert_eq!(told.fields.text("Address/City"), Some("Leeds"));
}

/// The system lets one record be both addresses of a contact.
#[test]
fn one_record_that_is_both_addresses_is_parted_where_they_differ() {
    let world = world();
    let id = first(&world).at.id;
    let shared = address(&world, &id, "Address").unwrap();
    world.edit(&id, json!({ "ShippingAddress": { "$key": shared.id } }));
    let record = first(&world);
    assert_eq!(record.fields.text(CITY), record.fields.text("Address/City"));

    // Where both are to be the same, they stay one.
    let outcome = world.one(update(&record, fields([("Address/City", "Leeds"), (CITY, "Leeds")])));
    assert_eq!(outcome.status, Status::Applied);
    let record = outcome.record.unwrap();
    assert_eq!((record.fields.text("Address/City"), record.fields.text(CITY)), (Some("Leeds"), Some("Leeds")));
    assert_eq!(address(&world, &id, "ShippingAddress").unwrap().id, shared.id);

    let outcome = world.one(update(&record, fields([(CITY, "Hull")])));
    let record = outcome.record.unwrap();
    assert_eq!((record.fields.text("Address/City"), record.fields.text(CITY)), (Some("Leeds"), Some("Hull")));
    assert_eq!(record.fields.text(STREET), record.fields.text("Address/Street"), "the rest is as it was");
    assert_ne!(address(&world, &id, "ShippingAddress").unwrap().id, shared.id);

    // What is both and is to be nothing there is no longer referred to.
    world.edit(&id, json!({ "ShippingAddress": { "$key": shared.id } }));
    let record = first(&world);
    let nothing = ["Street", "City", "State", "PostalCode", "Country", "County"];
    let nothing = nothing.map(|part| (format!("ShippingAddress/{part}"), Value::Null));
    let nothing = nothing.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let record = world.one(update(&record, nothing)).record.unwrap();
    assert_eq!((record.fields.text("Address/City"), record.fields.get(CITY)), (Some("Leeds"), Some(&Value::Null)));
    assert!(address(&world, &id, "ShippingAddress").is_none() && world.holds("addresses", &shared.id).is_some());
}

#[test]
fn its_changes_are_told_once() {
    let world = world();
    let account = world.held("accounts")[0].id.clone();
    let made = create("contacts", fields([("LastName", "Lovelace"), ("Account", &account), (CITY, "Bath")]));
    let id = world.one(made).record.unwrap().at.id;
    let (_, cursor) = world.pull(&in_group(), "contacts", None).unwrap();
    let shipping = address(&world, &id, "ShippingAddress").unwrap().id;
    world.edit(&shipping, json!({ "City": "York" }));
    let (changes, cursor) = world.pull(&in_group(), "contacts", Some(cursor)).unwrap();
    assert_eq!(ids(&changes), [id.as_str()]);
    assert_eq!(upserts(&changes)[0].fields.text(CITY), Some("York"));
    assert_eq!(world.pull(&in_group(), "contacts", Some(cursor)).unwrap().0, []);
    assert_eq!(world.find("contacts", &[CITY], &["York"], true), [[id]]);
}
