//! Notifications: subscriptions that are validated, and what they tell.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use pairwise_plugin_api::ops::{Announcement, ReceiveRequest, WatchRequest, WatchScope};
use pairwise_plugin_api::{Connector, Context, Cursor, RecordRef};
use serde_json::json;

use super::world::{World, lee};

#[test]
fn changes_are_announced_to_whoever_subscribed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hooks/office", listener.local_addr().unwrap());
    let world = std::sync::Arc::new(World::with(0, |settings| {
        settings["notification_url"] = json!(address);
        settings["subscription_minutes"] = json!(90);
    }));
    let (told, announced) = mpsc::channel::<Announcement>();
    let host = std::sync::Arc::clone(&world);
    // The host's side: every request goes to the connector, and its answer back.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            stream.read_line(&mut line).unwrap();
            let query = line.split([' ', '?']).nth(2).unwrap_or_default().to_owned();
            loop {
                let mut header = String::new();
                stream.read_line(&mut header).unwrap();
                if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let request = ReceiveRequest { query, body: Cursor(body), ..ReceiveRequest::default() };
            let answer = host.outlook.receive(&Context::detached(), request).unwrap();
            let (status, body) = (answer.status, answer.body);
            write!(stream.get_mut(), "HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            answer.announcements.into_iter().for_each(|one| drop(told.send(one)));
        }
    });
    let watcher = std::sync::Arc::clone(&world);
    std::thread::spawn(move || {
        let scope = WatchScope { principal: lee(), entities: vec!["contact".into()], ..WatchScope::default() };
        watcher.outlook.watch(&Context::detached(), WatchRequest { scopes: vec![scope] })
    });
    let subscribed =
        || world.requests(0).iter().any(|entry| entry.path.ends_with("/subscriptions") && entry.status == Some(201));
    while !subscribed() || !world.outlook.describe(&world.cx).unwrap().capabilities.watch {
        std::thread::yield_now();
    }
    // The answer must have come back before its subscription is known here.
    while world.outlook.subscriptions.is_empty() {
        std::thread::yield_now();
    }
    let wanted = world.requests(0).into_iter().find(|entry| entry.path.ends_with("/subscriptions")).unwrap();
    let body: serde_json::Value = serde_json::from_str(&wanted.body).unwrap();
    let until: jiff::Timestamp = body["expirationDateTime"].as_str().unwrap().parse().unwrap();
    let minutes = until.duration_since(jiff::Timestamp::now()).as_mins();
    assert!((80..=90).contains(&minutes), "as long as the settings say: {minutes}");
    let id = world.edit(None, json!({ "surname": "Nobody" }), None);
    let announcement = announced.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert_eq!((announcement.principal, announcement.at), (Some(lee()), vec![RecordRef::new("contact", id)]));
    // Graph wants a subscription to be authorized again, and then ends it: the connector sees to both.
    let asked = |method: &str, status: u16| {
        let ours = |entry: &&pairwise_sandbox::journal::Entry| entry.path.contains("/subscriptions");
        let entries = world.requests(0);
        entries.iter().filter(ours).filter(|entry| entry.method == method && entry.status == Some(status)).count()
    };
    for (event, method, status) in [("reauthorizationRequired", "PATCH", 200), ("subscriptionRemoved", "POST", 201)] {
        let before = asked(method, status);
        world.sandbox.command("outlook", "lifecycle", &json!({ "event": event })).unwrap();
        let hint = announced.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        assert_eq!((hint.principal, hint.at), (Some(lee()), Vec::new()), "{event}: somebody looks");
        while asked(method, status) == before {
            std::thread::yield_now();
        }
    }
    let forged = json!({ "value": [{ "subscriptionId": "x", "clientState": "guess", "resourceData": { "id": "1" } }] });
    let request = ReceiveRequest { body: Cursor(forged.to_string().into_bytes()), ..ReceiveRequest::default() };
    let answer = world.outlook.receive(&world.cx, request).unwrap();
    assert_eq!((answer.status, answer.announcements.len()), (202, 0));
}
