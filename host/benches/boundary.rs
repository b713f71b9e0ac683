//! What a page of 500 records with 25 fields costs on its way from a plugin.
//!
//! `decode` is the yardstick: the same bytes, read in this process. `inside` and `worker` are whole calls to the mock: it makes
//! the page, writes it, and the host reads it. `transport` carries the same bytes, and nobody makes or reads them: what a worker
//! costs beside `decode`. `round_trip` is a call with nothing in it, `open` a connection from nothing to its first answer.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::path::PathBuf;

use divan::Bencher;
use divan::counter::ItemsCount;
use pairwise_host::model::Remote;
use pairwise_host::plugins::{Installation, Isolation, Plugins, Session, SessionSpec};
use pairwise_plugin_api::ops::{ListRequest, MigrateState, MigrateStateRequest, Validate, ValidateRequest};
use pairwise_plugin_api::{Cursor, Page, codec};
use semver::VersionReq;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const RECORDS: usize = 500;
const FIELDS: usize = 25;

fn main() {
    divan::main();
}

fn session(folder: &TempDir, isolation: Isolation, settings: Value) -> Session {
    let cache = folder.path().join("cache");
    let plugins = Plugins::open(Installation::new(None, folder.path().join("plugins.lock"), cache.clone())).unwrap();
    let plugin = plugins.resolve("mock", &VersionReq::STAR).unwrap();
    let mut spec = SessionSpec::new("bench", plugin, settings, folder.path(), cache);
    (spec.isolation, spec.executable) = (isolation, PathBuf::from(env!("CARGO_BIN_EXE_pairwise")));
    Session::open(spec).unwrap()
}

fn full(folder: &TempDir, isolation: Isolation) -> Session {
    let record = |number| {
        let field = |field| (format!("Field{field:02}"), json!(format!("value {field} of record {number}")));
        let fields: Map<String, Value> = (0..FIELDS).map(field).collect();
        json!({ "id": format!("r{number:06}"), "fields": fields })
    };
    let fields: Vec<Value> = (0..FIELDS).map(|field| json!({ "name": format!("Field{field:02}") })).collect();
    let settings = json!({
        "entities": [{ "name": "contact", "fields": fields }],
        "records": (0..RECORDS).map(record).collect::<Vec<_>>(),
        "page_size": RECORDS,
    });
    session(folder, isolation, settings)
}

fn page(session: &Session) -> Page {
    let limit = u32::try_from(RECORDS).unwrap();
    let page =
        session.list(&ListRequest { entities: vec!["contact".into()], limit, ..ListRequest::default() }).unwrap();
    assert_eq!(page.changes.len(), RECORDS);
    assert!(page.changes[0].record.as_ref().unwrap().fields.len() >= FIELDS);
    page
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = codec::encode(&page(&full(&folder, Isolation::InProcess))).unwrap();
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| codec::decode::<Page>(&bytes).unwrap());
}

#[divan::bench(args = [Isolation::InProcess, Isolation::Worker])]
fn transport(bencher: Bencher<'_, '_>, isolation: Isolation) {
    let folder = tempfile::tempdir().unwrap();
    let session = full(&folder, isolation);
    let state = Cursor(codec::encode(&page(&session)).unwrap());
    let request = MigrateStateRequest { from: String::new(), state };
    // The mock has no such operation: the bytes are carried there and let go.
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| session.send::<MigrateState>(&request).unwrap_err());
}

#[divan::bench(args = [Isolation::InProcess, Isolation::Worker])]
fn call(bencher: Bencher<'_, '_>, isolation: Isolation) {
    let folder = tempfile::tempdir().unwrap();
    let session = full(&folder, isolation);
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| page(&session));
}

#[divan::bench(args = [Isolation::InProcess, Isolation::Worker])]
fn round_trip(bencher: Bencher<'_, '_>, isolation: Isolation) {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&folder, isolation, json!({}));
    bencher.bench(|| session.send::<Validate>(&ValidateRequest::default()).unwrap());
}

#[divan::bench(args = [Isolation::InProcess, Isolation::Worker])]
fn open(bencher: Bencher<'_, '_>, isolation: Isolation) {
    let folder = tempfile::tempdir().unwrap();
    bencher.bench(|| session(&folder, isolation, json!({})));
}
