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

/// One mailbox that is denied or gone is that mailbox's trouble.
#[test]
fn a_mailbox_that_is_denied_does_not_silence_the_others() {
    for settings in [json!({ "auth": "basic" }), json!({ "auth": "basic", "notifications": "pull", "pull_seconds": 1 })]
    {
        let stage = Stage::with(1, &settings);
        stage.command("impersonation", json!({ "user": KIM, "allowed": false }));
        let heard = Mutex::new(0);
        let hear = |announcement: &Announcement| {
            assert_eq!(announcement.principal, Some(Principal(LEE.into())));
            let mut heard = heard.lock().unwrap();
            *heard += 1;
            if *heard == 1 {
                stage.edit("contact", None, json!({ "Surname": "New" }), None);
            }
            *heard < 2
        };
        watch(&stage.exchange, &stage.cx, &request(), &hear).unwrap();
        assert_eq!(heard.into_inner().unwrap(), 2);
    }
}

/// Behind the address of an organisation stand several servers, and each knows only the subscriptions that it has made.
#[test]
fn the_mailboxes_of_a_stream_stay_on_one_server() {
    let stage = Stage::new(1);
    stage.command("back_ends", json!({ "count": 3 }));
    let anchors = [LEE, KIM].map(|mailbox| mailbox.bytes().map(u64::from).sum::<u64>() % 3);
    assert_ne!(anchors[0], anchors[1], "each is at home on another one");
    let told = heard(&stage, || drop(stage.edit("contact", None, json!({ "Surname": "New" }), None)));
    assert_eq!(told, [KIM, LEE, LEE]);
    let asked = stage.asked(0);
    let about = |operation: &str| {
        let asked = asked.iter().filter(|entry| entry.operation.as_deref() == Some(operation)).collect::<Vec<_>>();
        let anchor = |entry: &&pairwise_sandbox::journal::Entry| entry.headers["x-anchormailbox"] == LEE;
        assert!(asked.iter().all(anchor), "{operation}");
        asked.len()
    };
    assert_eq!((about("Subscribe"), about("GetStreamingEvents")), (2, 1));
}

/// A stream takes no more than 200 subscriptions.
#[test]
fn many_mailboxes_have_several_streams() {
    let stage = Stage::new(1);
    let mut request = request();
    request.scopes = vec![request.scopes[0].clone(); 201];
    let heard = Mutex::new(0);
    let hear = |_: &Announcement| {
        let mut heard = heard.lock().unwrap();
        *heard += 1;
        *heard < 201
    };
    watch(&stage.exchange, &stage.cx, &request, &hear).unwrap();
    let streams = stage.operations(0).into_iter().filter(|operation| operation == "GetStreamingEvents").count();
    assert_eq!(streams, 2);
}

/// A connection that died without a word is noticed.
#[test]
fn a_silent_stream_is_opened_again() {
    let stage = Stage::with(1, &json!({ "auth": "basic", "silence_seconds": 1 }));
    let heard = Mutex::new(0);
    let hear = |_: &Announcement| {
        let mut heard = heard.lock().unwrap();
        *heard += 1;
        *heard < 4
    };
    watch(&stage.exchange, &stage.cx, &request(), &hear).unwrap();
    let streams = stage.operations(0).into_iter().filter(|operation| operation == "GetStreamingEvents").count();
    assert_eq!(streams, 2, "nobody edited anything");
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
