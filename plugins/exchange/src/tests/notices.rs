//! Announcements, and the order of elements.

use std::sync::Mutex;

use pairwise_plugin_api::ops::{Announcement, WatchRequest, WatchScope};
use pairwise_sandbox::exchange::schema;

use super::*;
use crate::change::{ORDER_CONTACT, ORDER_EVENT};
use crate::watch::watch;

fn request() -> WatchRequest {
    let scope = |mailbox: &str| WatchScope {
        principal: Principal(mailbox.into()),
        entities: vec!["contact".into()],
        ..WatchScope::default()
    };
    WatchRequest { scopes: vec![scope(LEE), scope(KIM)] }
}

/// Edits as soon as the subscriptions are there, and listens until the edit is heard of.
fn heard(stage: &Stage, edit: impl Fn()) -> Vec<String> {
    let heard = Mutex::new(Vec::new());
    let hear = |announcement: &Announcement| {
        let mut heard = heard.lock().unwrap();
        heard.push(announcement.principal.clone().unwrap().0);
        // Each subscription begins with a look; what comes then is the edit.
        if heard.len() == 2 {
            edit();
        }
        heard.len() < 3
    };
    watch(&stage.exchange, &stage.cx, &request(), &hear).unwrap();
    let mut heard = heard.into_inner().unwrap();
    heard[..2].sort();
    heard
}

#[test]
fn a_stream_tells_of_edits() {
    let stage = Stage::new(1);
    let told = heard(&stage, || drop(stage.edit("contact", None, json!({ "Surname": "New" }), None)));
    assert_eq!(told, [KIM, LEE, LEE]);
    let streams = stage.operations(0).into_iter().filter(|operation| operation == "GetStreamingEvents").count();
    assert_eq!(streams, 1, "one connection listens to all mailboxes");
}

#[test]
fn a_stream_that_ends_is_opened_again_with_a_look() {
    let stage = Stage::new(1);
    let told = heard(&stage, || {
        stage.command("drop_subscriptions", json!({}));
        stage.edit("contact", None, json!({ "Surname": "New" }), None);
    });
    assert_eq!(told.len(), 3);
    assert!(stage.operations(0).into_iter().filter(|operation| operation == "Subscribe").count() > 2);
}

#[test]
fn where_streams_are_cut_the_server_is_asked() {
    let stage = Stage::with(1, &json!({ "auth": "basic", "notifications": "pull", "pull_seconds": 1 }));
    let told = heard(&stage, || drop(stage.edit("contact", None, json!({ "Surname": "New" }), None)));
    assert_eq!(told, [KIM, LEE, LEE]);
}

#[test]
fn elements_are_written_in_the_order_of_the_schema() {
    for (element, order) in [("Contact", ORDER_CONTACT), ("CalendarItem", ORDER_EVENT)] {
        let known = schema::children(element);
        let places: Vec<usize> = order
            .iter()
            .map(|name| {
                known.iter().position(|known| known == name).unwrap_or_else(|| panic!("{element} has no {name}"))
            })
            .collect();
        assert!(places.is_sorted(), "{element}: {order:?}");
    }
    // Our entries of an address are in its order because the fields are.
    let parts = schema::children("PhysicalAddresses/Entry");
    let ours: Vec<&str> = crate::fields::CONTACT
        .iter()
        .filter_map(|spec| match spec.place {
            crate::fields::Place::Address("Home", part) => Some(part),
            _ => None,
        })
        .collect();
    assert_eq!(ours, parts);
}
