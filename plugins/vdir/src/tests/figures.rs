//! What the operations cost. Run with `cargo test --release -p pairwise-vdir figures -- --ignored --nocapture`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use pairwise_plugin_api::ops::{GetRequest, ListDetail, ListRequest, WriteRequest};
use pairwise_plugin_api::{Action, Connector, Context, Fields, RecordRef, Status, Write};
use tempfile::TempDir;

use super::fixture;
use crate::{Config, Vdir};

/// Cards; `PAIRWISE_CARDS` changes it.
const CARDS: usize = 10_000;

#[test]
#[ignore = "measures, asserts nothing"]
fn figures() {
    let count = std::env::var("PAIRWISE_CARDS").map_or(CARDS, |text| text.parse().unwrap());
    let dir =
        std::env::var("PAIRWISE_DIR").map_or_else(|_| TempDir::new().unwrap(), |dir| TempDir::new_in(dir).unwrap());
    let card = String::from_utf8(fixture("evolution-3.0.vcf")).unwrap();
    let card = card.lines().filter(|line| line.len() < 40).collect::<Vec<_>>().join("\r\n") + "\r\n";
    for number in 0..count {
        let text = card.replace("00000017", &format!("{number:08}"));
        fs::write(dir.path().join(format!("{number:08}.vcf")), text).unwrap();
    }
    println!("{count} cards of {} bytes", card.len());
    let cx = Context::detached();
    let open = |path: PathBuf| {
        let config = Config { path, create_path: true, trash: None, version: crate::CardVersion::V30 };
        Vdir::create(config, &cx).unwrap()
    };
    let vdir = open(dir.path().to_owned());
    let list = |previous: Option<pairwise_plugin_api::Cursor>| {
        let mut ids = Vec::new();
        let mut page = None;
        loop {
            let request = ListRequest {
                entities: vec!["contact".into()],
                limit: 1000,
                detail: ListDetail::Ids,
                page,
                previous: previous.clone(),
                ..ListRequest::default()
            };
            let told = vdir.list(&cx, request).unwrap();
            ids.extend(told.changes.into_iter().map(|change| change.record.unwrap().at));
            if !told.more {
                return (ids, told.next);
            }
            page = told.next;
        }
    };
    let time = |what: &str, each: usize, start: Instant| {
        let all = start.elapsed();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
        let (ms, us) = (all.as_secs_f64() * 1e3, all.as_secs_f64() * 1e6 / each as f64);
        println!("{what:<14} {ms:8.1} ms {us:8.1} µs each   peak {peak}");
    };
    let start = Instant::now();
    let (ids, cursor) = list(None);
    time("first listing", count, start);
    let start = Instant::now();
    list(cursor);
    time("listing", count, start);
    let start = Instant::now();
    let mut records = Vec::new();
    for at in ids.chunks(500) {
        let request = GetRequest { at: at.to_vec(), ..GetRequest::default() };
        records.extend(vdir.get(&cx, request).unwrap().into_iter().map(|found| found.record.unwrap()));
    }
    time("get", count, start);
    let other = open(dir.path().join("copy"));
    let writes: Vec<Write> = records
        .iter()
        .enumerate()
        .map(|(number, record)| Write {
            action: Action::Create,
            at: RecordRef::new("contact", ""),
            key: format!("K{number}"),
            uid: record.uid.clone(),
            fields: record.fields.clone(),
            ..Write::default()
        })
        .collect();
    let start = Instant::now();
    for writes in writes.chunks(500) {
        let request = WriteRequest { writes: writes.to_vec(), ..WriteRequest::default() };
        assert!(other.write(&cx, request).unwrap().iter().all(|outcome| outcome.status == Status::Applied));
    }
    time("create", count, start);
    let changed: Vec<Write> = records
        .iter()
        .take(count / 10)
        .map(|record| Write {
            action: Action::Update,
            at: record.at.clone(),
            expect: record.version.clone(),
            key: "U".into(),
            fields: [("titles/1/name", "Changed")].into_iter().collect::<Fields>(),
            ..Write::default()
        })
        .collect();
    let start = Instant::now();
    for writes in changed.chunks(500) {
        vdir.write(&cx, WriteRequest { writes: writes.to_vec(), ..WriteRequest::default() }).unwrap();
    }
    time("update", changed.len(), start);
}
