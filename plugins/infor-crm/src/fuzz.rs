//! What `tests/fuzz` does with bytes that a server sent, and with cursors.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use pairwise_http::{Answer, Effect, Json};
use pairwise_plugin_api::{Action, Cursor, FieldType, Write};

use crate::batch;
use crate::cursor::State;
use crate::entity::{KINDS, Kind};
use crate::groups;
use crate::identity::{Edition, Identity};
use crate::login::Login;
use crate::payload::payload;
use crate::records::{Reading, Version};
use crate::server::Server;
use crate::settings::{Config, LoginKind};
use crate::wire::{self, Diagnosis, Entry, Feed};

/// A cursor; or an answer: its status, two headers in a line each, and its body, in JSON or Atom.
pub fn sdata(bytes: &[u8]) {
    if bytes.first() == Some(&b'{') {
        return cursor(bytes);
    }
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (status, kind, challenge) = (line(), line(), line());
    let answer = Answer {
        status: status.trim().parse().unwrap_or(200),
        headers: vec![
            ("content-type".to_owned(), kind.clone()),
            ("retry-after".to_owned(), kind),
            ("date".to_owned(), challenge.clone()),
            ("www-authenticate".to_owned(), challenge),
        ],
        body: parts.next().unwrap_or_default().to_vec(),
        asked: "GET https://crm.example.com/sdata/slx".to_owned(),
        effect: Effect::None,
    };
    let server =
        Server::new(serde_json::from_value(serde_json::json!({ "url": "https://crm.example.com" })).unwrap()).unwrap();
    let login = Login::new("lee".into(), "secret".to_owned().into(), LoginKind::Auto, true);
    if login.learn(&answer, None) {
        login.authorization("GET", "https://crm.example.com/sdata/slx/dynamic/-/contacts");
    }
    let _ = (answer.server_time(), answer.retry_after(), login.wants_basic(&answer));
    match server.json(&login, &answer, "reading the contacts") {
        Ok(json) => document(&server.config, json),
        Err(failure) => assert!(!failure.text.is_empty()),
    }
}

fn document(config: &Config, json: Json) {
    let _ = (Diagnosis::in_json(&json), batch::done(json.clone()));
    if let Some(entry) = json.as_object() {
        let _ = groups::group_of(entry, "Contact Sync", "contact");
        KINDS.iter().for_each(|kind| entry_of(kind, config, entry));
    }
    for entry in Feed::of(json).unwrap_or_default().entries {
        KINDS.iter().for_each(|kind| entry_of(kind, config, &entry));
    }
}

/// A record's version leads back to its tags, and what was read can be written and means the same.
fn entry_of(kind: &'static Kind, config: &Config, entry: &Entry) {
    for (name, json) in entry.iter() {
        let of = kind.column(name).map_or(FieldType::Text, |column| column.kind);
        let value = wire::value(json, of);
        if let Some(again) = wire::json(&value, of) {
            assert_eq!(wire::value(&again, of), value, "{name} {json} {again}");
        }
    }
    let Some(record) = Reading::of(kind, config, &[]).record(entry) else { return };
    let version = Version::of(entry);
    assert_eq!(version.as_ref().map(Version::to_string), record.version);
    assert_eq!(version.as_ref().map(|version| Version::parse(&version.to_string())), version);
    let identity =
        Identity { user: "U1".into(), name: "Lee".into(), edition: Edition::V8, version: "8.5".into(), admin: false };
    for action in [Action::Create, Action::Update] {
        let write = Write { action, fields: record.fields.clone(), ..Write::default() };
        let _ = payload(kind, config, &identity, 0, &write);
    }
}

/// How far a feed was read.
fn cursor(bytes: &[u8]) {
    let cursor = Cursor(bytes.to_vec());
    let Ok(state) = serde_json::from_slice::<State>(bytes) else { return };
    let entities: Vec<String> = state.parts.iter().map(|part| part.entity.clone()).collect();
    let group = state.parts.first().and_then(|part| part.group.as_deref());
    if let Ok(state) = State::of(&cursor).and_then(|state| state.checked(&entities, group)) {
        assert_eq!(State::of(&state.cursor().unwrap()).unwrap(), state);
    }
}

#[cfg(test)]
#[test]
fn corpora_are_replayed() {
    pairwise_replay::corpora(&[("sdata", sdata)]);
}
