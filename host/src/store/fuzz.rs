//! The state database with one column of one row replaced, and whole files that claim to be one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use std::cell::RefCell;
use std::fs;

use pairwise_plugin_api::{Action, Cursor, Write};
use rusqlite::types::Value;

use super::Db;
use super::testing::*;
use crate::model::{
    Aside, AsideKind, Conflict, Hold, HoldKind, Intent, LaneReport, Lease, Link, LinkChange, Lost, Select, Settlement,
    Side, Sides, Store, StoreResult,
};

/// Every column whose content is more than a number or a name.
const COLUMNS: &[(&str, &str)] = &[
    ("body", "record"),
    ("shadow", "left_fields"),
    ("shadow", "right_fields"),
    ("intent", "body"),
    ("inbox", "keys"),
    ("conflict", "left_value"),
    ("history", "lost"),
    ("lane_side", "cursor"),
    ("run_lane", "report"),
    ("lane", "holder"),
    ("lane", "map"),
];

thread_local! {
    static WORLD: RefCell<(Db, Lease)> = RefCell::new(furnished());
}

/// The first byte says which column holds the rest; beyond the columns, the rest is a whole file. It is read or refused.
pub fn state(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    match COLUMNS.get(usize::from(which)) {
        Some((table, column)) => WORLD.with_borrow_mut(|(db, lease)| column_holds(db, lease, table, column, bytes)),
        None => file_holds(bytes),
    }
}

fn column_holds(db: &mut Db, lease: &Lease, table: &str, column: &str, bytes: &[u8]) {
    let select = format!("SELECT rowid, {column} FROM {table} LIMIT 1");
    let (row, before): (i64, Value) = db.conn.query_row(&select, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let new = match before {
        Value::Text(_) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        _ => Value::Blob(bytes.to_vec()),
    };
    let update = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
    db.conn.execute(&update, (new, row)).unwrap();
    // One unreadable row hides nothing of the others' tables.
    for read in READERS {
        let _ = read(db, lease);
    }
    db.conn.execute(&update, (before, row)).unwrap();
    for read in READERS {
        read(db, lease).unwrap();
    }
}

type Reader = fn(&mut Db, &Lease) -> StoreResult<()>;

const READERS: &[Reader] = &[
    |db, lease| db.memory(lease).map(drop),
    |db, lease| db.work(lease, Select::All, 0, 10).map(drop),
    |db, lease| db.links(lease, 0, 10).map(drop),
    |db, lease| db.open_intents(lease, Side::Right, 0, 100).map(drop),
    |db, lease| db.unmatched(lease, Side::Left, 0, 10).map(drop),
    |db, lease| db.key_groups(lease, 0, &mut |_| ()),
    |db, _| db.conflicts(&key(), 0, 10).map(drop),
    |db, _| db.history_of_link(1).map(drop),
    |db, _| db.holds(0, 10).map(drop),
    |db, _| db.held(1).map(drop),
    |db, _| db.quarantine(&key(), 0, 10).map(drop),
    |db, _| db.runs(10).map(drop),
    |db, _| db.show_run("run").map(drop),
    |db, _| db.status().map(drop),
    |db, _| db.lane_mark(&key()).map(drop),
];

/// A database with a row in every table that is read.
fn furnished() -> (Db, Lease) {
    let (mut db, lease) = world();
    let link = linked(&mut db, &lease, "ada", "ada.vcf");
    linked(&mut db, &lease, "eve", "eve.vcf");
    let conflict = Conflict {
        path: "title".into(),
        values: Sides { left: "a".into(), right: "b".into() },
        modified: Sides::default(),
        decision: None,
    };
    let lost = Lost {
        link: link.id,
        side: Side::Right,
        at: at("ada.vcf"),
        label: "Ada".into(),
        op: "update".into(),
        reason: "conflict".into(),
        values: vec![("title".into(), "a".into(), "b".into())],
    };
    let aside = Aside {
        side: Side::Left,
        at: at("odd"),
        version: None,
        modified: None,
        label: "Odd".into(),
        kind: AsideKind::Quarantined,
        code: "broken".into(),
        text: "no".into(),
    };
    let settlement = Settlement {
        link: LinkChange::Put(Box::new(link.clone())),
        conflicts: Some(vec![conflict]),
        aside: vec![aside],
        ..Settlement::default()
    };
    settle(&mut db, &lease, settlement);
    db.intend(&lease, "run", &mut [], &[lost]).unwrap();
    let staged =
        [keyed(Side::Left, "bob", &[(0, 7)]), keyed(Side::Right, "bob.vcf", &[(0, 7)]), gone(Side::Left, "eve")];
    db.stage(&lease, &staged, Some((Side::Left, &Cursor(vec![1])))).unwrap();
    let held = row(&mut db, &lease, Side::Left, "eve").unwrap();
    let hold = Hold { kind: HoldKind::Removals, side: None, summary: "why".into(), rows: vec![(held, "Eve".into())] };
    db.hold(&lease, &[hold], "run").unwrap();
    let link =
        Link { id: 0, ends: Sides { left: Some(end("kit", "1")), right: None }, ..super::testing::link("kit", "-") };
    let write = Write { action: Action::Create, key: "key".into(), ..Write::default() };
    let intent = Intent {
        id: 0,
        call: "call".into(),
        link,
        side: Side::Right,
        write,
        asked: pairwise_plugin_api::Fields::new(),
        source: Some((end("kit", "1"), pairwise_plugin_api::Fields::new())),
        before: None,
        again: false,
        inbox: Vec::new(),
    };
    db.intend(&lease, "run", &mut [intent], &[]).unwrap();
    db.start_run("run", "command", "0.1.0").unwrap();
    db.finish_lane("run", &LaneReport::new(key())).unwrap();
    db.remember_map(&lease, "map").unwrap();
    (db, lease)
}

fn file_holds(bytes: &[u8]) {
    let thread = std::thread::current().id();
    let path = std::env::temp_dir().join(format!("pairwise-fuzz-{}-{thread:?}.db", std::process::id()));
    fs::write(&path, bytes).unwrap();
    if let Ok(mut db) = Db::open(&path) {
        let _ = db.status();
        let _ = db.runs(10);
        let _ = db.integrity();
    }
    for file in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{file}", path.display()));
    }
}
