//! What `tests/fuzz` does with bytes that Graph or anybody on the way to our address sent, and with cursors and rules.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use pairwise_http::{Json, json};
use pairwise_plugin_api::ops::ReceiveRequest;
use pairwise_plugin_api::{Action, Connector, Context, Cursor, Value, Write};

use crate::batch::{Reply, all_went_well};
use crate::connector::Outlook;
use crate::feed::{self, Place};
use crate::graph::Problem;
use crate::kind::Kind;
use crate::recurrence;

thread_local! {
    static OUTLOOK: Outlook = {
        let settings = serde_json::json!({ "tenant": "example.com", "client_id": "app", "extended": ["Region"] });
        Outlook::create(serde_json::from_value(settings).unwrap(), &Context::detached()).unwrap()
    };
}

/// Documents begin with a bracket; before a cursor, a notification and a rule of another system stands a letter.
pub fn graph(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'c', cursor)) => {
            if let Ok(place) = Place::read(&Cursor(cursor.to_vec())) {
                let cursor = place.cursor().unwrap();
                assert_eq!(Place::read(&cursor).unwrap().cursor().unwrap(), cursor);
            }
        }
        Some((b'n', request)) => notification(request),
        Some((b'r', rule)) => {
            let rule = Value::from(String::from_utf8_lossy(rule).into_owned());
            for zone in [None, Some("Europe/London"), Some("nowhere")] {
                if let Some(pattern) = recurrence::write(&rule, "2027-03-22T09:00:00", zone) {
                    let _ = recurrence::read(&pattern, zone, false);
                }
            }
        }
        _ => document(bytes),
    }
}

/// What anybody may send to our address: a line of query, then the body.
fn notification(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let body = Cursor(lines.next().unwrap_or_default().to_vec());
    let answer = OUTLOOK.with(|outlook| outlook.heed(&ReceiveRequest { query, body, ..ReceiveRequest::default() }));
    assert!(answer.announcements.is_empty(), "nobody knows the secret");
}

/// Read as a page, an answer to a batch, a refusal, an item.
fn document(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Json>(bytes) else { return };
    let _ = Problem::of(400, &document).said();
    if let Ok((link, _)) = feed::following(&document) {
        assert!(document.to_string().contains(&json!(link).to_string()));
    }
    let _ = feed::mentioned(&document, |_| false);
    let goes_well = all_went_well(bytes);
    for response in document["responses"].as_array().into_iter().flatten() {
        let reply = Reply::of(response.clone());
        assert!(!goes_well || reply.status != 429, "the next batch would have been sent");
        let _ = reply.problem().said();
    }
    OUTLOOK.with(|outlook| {
        item(outlook, &document);
        document["value"].as_array().into_iter().flatten().for_each(|one| item(outlook, one));
    });
}

/// What was read of an item can be written over it.
fn item(outlook: &Outlook, item: &Json) {
    for kind in Kind::ALL {
        let record = outlook.record(kind, item, None, &[]);
        for (action, present) in [(Action::Create, &Json::Null), (Action::Update, item)] {
            let fields = record.fields.clone();
            let write = Write { action, fields, participants: Some(record.participants.clone()), ..Write::default() };
            let _ = outlook.body(kind, &write, present);
        }
    }
    series(&item["recurrence"]);
}

/// A rule that Graph can hold comes back as it is.
fn series(recurrence: &Json) {
    let (start, zone) = ("2027-03-22T09:00:00", Some("Europe/London"));
    let around = |rule: &Value| recurrence::write(rule, start, zone).map(|json| recurrence::read(&json, zone, false));
    if let Some(once) = around(&recurrence::read(recurrence, zone, false)) {
        assert_eq!(around(&once).as_ref(), Some(&once));
    }
}

#[cfg(test)]
#[test]
fn corpora_are_replayed() {
    pairwise_replay::corpora(&[("graph", graph)]);
}
