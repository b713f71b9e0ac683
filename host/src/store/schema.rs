//! The tables, each with the invariant that it keeps. Migrations are only ever added, never changed.
//!
//! What is scanned is kept small: the large part of a row (a record, two shadows) lies in a table beside it. Lanes,
//! entities and words are small integers. What a lane owns starts with the lane in some index, so that no lane's work grows
//! with another lane.

use rusqlite_migration::{M, Migrations};

/// In the file's header: tells our databases from those of other programs.
pub(super) const APPLICATION_ID: i32 = 0x5057_5331;

/// Links pack well into pages of this size.
pub(super) const PAGE_SIZE: u32 = 8192;

const STEPS: &[M<'_>] =
    &[M::up(FIRST), M::up(FIELD_NAMES), M::up(LISTED), M::up(AUTHORS), M::up(BIRTHS), M::up(MODIFIED)];

/// All steps to the present schema.
pub(super) const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

/// The schema that this version knows.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Names of fields, which bodies, intents and shadows mean by their place here. A row is older than the first message that
/// needs it, and stays. Messages from before this table spell their names themselves, and are read as they are.
const FIELD_NAMES: &str = "
CREATE TABLE field (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE
) STRICT;
";

/// Whether a side was ever listed to its end. Until then its cursor stands in the middle of the first listing.
const LISTED: &str = "
ALTER TABLE lane_side ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
UPDATE lane_side SET listed = 1;
";

/// Which plugin, in which version, wrote a cursor, as `id version`; and what it had found there when it took over from another
/// version of itself.
const AUTHORS: &str = "
ALTER TABLE lane_side ADD COLUMN author TEXT;
ALTER TABLE lane_side ADD COLUMN former BLOB;
ALTER TABLE lane_side ADD COLUMN former_author TEXT;
";

/// Which run made the links of a lane, from this one to the one of the next row, and on which side it made a record for them;
/// NULL where both records were there.
const BIRTHS: &str = "
CREATE TABLE birth (
    lane   INTEGER NOT NULL REFERENCES lane,
    first  INTEGER NOT NULL,
    side   INTEGER,
    run    TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (lane, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX birth_at ON birth (at);
";

/// When what is set aside was changed last, as it was told.
const MODIFIED: &str = "
ALTER TABLE aside ADD COLUMN modified INTEGER;
";

const FIRST: &str = "
PRAGMA application_id = 0x50575331;

-- One row. `lineage` is drawn when the database is made and stays with its backups; `restored` counts restores;
-- `serial` grows with every transaction that writes.
CREATE TABLE meta (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    lineage   TEXT    NOT NULL,
    restored  INTEGER NOT NULL,
    serial    INTEGER NOT NULL
) STRICT;

-- `epoch` grows with every taking of the lease; only the holder of the present epoch writes. `serial` grows with every
-- change of the lane's state: a saved plan is stale as soon as it moved. `live_links` is the number of its links in state
-- live, counted in the transaction that changes it.
CREATE TABLE lane (
    id          INTEGER PRIMARY KEY,
    profile     TEXT    NOT NULL,
    user        TEXT    NOT NULL,
    stream      TEXT    NOT NULL,
    epoch       INTEGER NOT NULL DEFAULT 0,
    holder      TEXT,
    renewed     INTEGER NOT NULL DEFAULT 0,
    serial      INTEGER NOT NULL DEFAULT 0,
    live_links  INTEGER NOT NULL DEFAULT 0,
    map         TEXT,
    UNIQUE (profile, user, stream)
) STRICT;

-- The cursor is written in the transaction that stages what was read up to it.
CREATE TABLE lane_side (
    lane         INTEGER NOT NULL REFERENCES lane,
    side         INTEGER NOT NULL,
    cursor       BLOB,
    since_sweep  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (lane, side)
) STRICT;

-- Names are only ever added, so no column that holds such a number needs to be guarded.
CREATE TABLE entity (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE
) STRICT;

-- A number is never given to a second link. A record is the end of one link of its lane at most.
CREATE TABLE link (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    lane               INTEGER NOT NULL REFERENCES lane,
    state              INTEGER NOT NULL,
    born               INTEGER NOT NULL,
    left_entity        INTEGER,
    left_id            TEXT,
    left_version       TEXT,
    left_incarnation   TEXT,
    left_container     TEXT,
    right_entity       INTEGER,
    right_id           TEXT,
    right_version      TEXT,
    right_incarnation  TEXT,
    right_container    TEXT
) STRICT;
CREATE INDEX link_lane ON link (lane);
CREATE UNIQUE INDEX link_left ON link (lane, left_entity, left_id) WHERE left_id IS NOT NULL;
CREATE UNIQUE INDEX link_right ON link (lane, right_entity, right_id) WHERE right_id IS NOT NULL;

-- No row: both are empty. `right_fields` is NULL where both are the same.
CREATE TABLE shadow (
    link          INTEGER PRIMARY KEY REFERENCES link ON DELETE CASCADE,
    left_fields   BLOB NOT NULL,
    right_fields  BLOB
) STRICT;

-- A link whose record a complete listing did not show, since which run. A sighting removes the row.
CREATE TABLE doubt (
    lane  INTEGER NOT NULL REFERENCES lane,
    side  INTEGER NOT NULL,
    link  INTEGER NOT NULL REFERENCES link ON DELETE CASCADE,
    run   TEXT    NOT NULL,
    PRIMARY KEY (lane, side, link)
) STRICT, WITHOUT ROWID;
CREATE INDEX doubt_link ON doubt (link);

CREATE TABLE hold (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    lane     INTEGER NOT NULL REFERENCES lane,
    kind     INTEGER NOT NULL,
    side     INTEGER,
    summary  TEXT    NOT NULL,
    run      TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX hold_lane ON hold (lane, kind);

-- One row for each record that announced something. News that differ get a new number, so that whoever settles a number
-- settles exactly the news that he read. Which link a row belongs to is never stored: it is looked up by the record.
CREATE TABLE inbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    lane       INTEGER NOT NULL REFERENCES lane,
    side       INTEGER NOT NULL,
    entity     INTEGER NOT NULL,
    record     TEXT    NOT NULL,
    version    TEXT,
    reason     INTEGER,
    attempts   INTEGER NOT NULL DEFAULT 0,
    candidate  INTEGER NOT NULL DEFAULT 0,
    released   INTEGER NOT NULL DEFAULT 0,
    pair       INTEGER,
    hold       INTEGER REFERENCES hold,
    label      TEXT,
    keys       BLOB
) STRICT;
CREATE UNIQUE INDEX inbox_record ON inbox (lane, side, entity, record);
CREATE INDEX inbox_free ON inbox (lane) WHERE hold IS NULL;
CREATE INDEX inbox_removal ON inbox (lane) WHERE hold IS NULL AND reason IS NOT NULL;
CREATE INDEX inbox_candidate ON inbox (lane) WHERE candidate = 1;
CREATE INDEX inbox_hold ON inbox (hold) WHERE hold IS NOT NULL;

-- The record of an announcement that is not a removal. It is deleted with it by the same function: a cascade would make
-- SQLite save every page that it touches, for each of ten thousand rows.
CREATE TABLE body (
    inbox   INTEGER PRIMARY KEY,
    record  BLOB NOT NULL
) STRICT;

-- A record that does not take part at this version.
CREATE TABLE aside (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    lane     INTEGER NOT NULL REFERENCES lane,
    side     INTEGER NOT NULL,
    entity   INTEGER NOT NULL,
    record   TEXT    NOT NULL,
    version  TEXT,
    kind     INTEGER NOT NULL,
    label    TEXT    NOT NULL,
    code     TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    run      TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX aside_record ON aside (lane, side, entity, record);
CREATE INDEX aside_quarantined ON aside (lane) WHERE kind = 0;

-- Records that are to be read again.
CREATE TABLE revisit (
    lane    INTEGER NOT NULL REFERENCES lane,
    side    INTEGER NOT NULL,
    entity  INTEGER NOT NULL,
    record  TEXT    NOT NULL,
    PRIMARY KEY (lane, side, entity, record)
) STRICT, WITHOUT ROWID;

-- A write whose outcome is open. A side of a link is written to by one at a time; a link with an open one cannot go.
CREATE TABLE intent (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    lane  INTEGER NOT NULL REFERENCES lane,
    link  INTEGER NOT NULL REFERENCES link,
    side  INTEGER NOT NULL,
    call  TEXT    NOT NULL,
    body  BLOB    NOT NULL,
    UNIQUE (link, side)
) STRICT;
CREATE INDEX intent_lane ON intent (lane);

CREATE TABLE conflict (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    lane            INTEGER NOT NULL REFERENCES lane,
    link            INTEGER NOT NULL REFERENCES link ON DELETE CASCADE,
    path            TEXT    NOT NULL,
    left_value      BLOB    NOT NULL,
    right_value     BLOB    NOT NULL,
    left_modified   INTEGER,
    right_modified  INTEGER,
    decision        INTEGER,
    run             TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    UNIQUE (link, path)
) STRICT;
CREATE INDEX conflict_lane ON conflict (lane);

-- Values that lost. Outlives its link, and goes only by its age.
CREATE TABLE history (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    lane    INTEGER NOT NULL REFERENCES lane,
    link    INTEGER NOT NULL,
    side    INTEGER NOT NULL,
    entity  INTEGER NOT NULL,
    record  TEXT    NOT NULL,
    label   TEXT    NOT NULL,
    op      TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    run     TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    lost    BLOB    NOT NULL
) STRICT;
CREATE INDEX history_link ON history (link);
CREATE INDEX history_record ON history (record);
CREATE INDEX history_at ON history (at);

-- Row numbers are in the order of starting. `finished` stays NULL if the run was killed.
CREATE TABLE run (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT    NOT NULL UNIQUE,
    trigger   TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    started   INTEGER NOT NULL,
    finished  INTEGER
) STRICT;
CREATE INDEX run_started ON run (started);

CREATE TABLE run_lane (
    run     INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    lane    INTEGER NOT NULL REFERENCES lane,
    report  TEXT    NOT NULL,
    UNIQUE (run, lane)
) STRICT;
CREATE INDEX run_lane_lane ON run_lane (lane, run);
";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::store::{
        Db, absence, aside, births, conflicts, cursors, history, holds, inbox, intents, lanes, lease, links, maintain,
        matching, revisits, runs, transaction,
    };

    #[test]
    fn the_steps_make_a_schema_of_ours() {
        MIGRATIONS.validate().unwrap();
        let db = Db::in_memory().unwrap();
        let id: i32 = db.conn.query_row("PRAGMA application_id", [], |row| row.get(0)).unwrap();
        assert_eq!(id, APPLICATION_ID);
    }

    /// Tables that stay small whatever is synchronised.
    const SMALL: [&str; 4] = ["lane", "entity", "field", "meta"];

    /// Statements that people ask for now and then, and that by their nature visit all rows.
    const RARE: [&str; 3] = ["FORGET_CURSORS", "FORGET_DOUBTS", "FREE_LANES"];

    #[test]
    fn every_statement_finds_its_rows_by_an_index() {
        let db = Db::in_memory().unwrap();
        let all = [
            absence::STATEMENTS,
            aside::STATEMENTS,
            births::STATEMENTS,
            conflicts::STATEMENTS,
            cursors::STATEMENTS,
            history::STATEMENTS,
            holds::STATEMENTS,
            inbox::STATEMENTS,
            intents::STATEMENTS,
            lanes::STATEMENTS,
            lease::STATEMENTS,
            links::STATEMENTS,
            maintain::STATEMENTS,
            matching::STATEMENTS,
            revisits::STATEMENTS,
            runs::STATEMENTS,
            transaction::STATEMENTS,
        ];
        let mut bad = Vec::new();
        for (name, sql) in all.into_iter().flatten() {
            let mut statement = db.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            for n in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(n, 1).unwrap();
            }
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().unwrap() {
                let step: String = row.get(3).unwrap();
                let scanned = step.strip_prefix("SCAN ").filter(|rest| !rest.starts_with(['(', 'C']));
                let scans =
                    scanned.and_then(|rest| rest.split(' ').next()).is_some_and(|table| !SMALL.contains(&table));
                // In the order of its key and up to a limit, a table is not read as a whole.
                let bounded = sql.contains("LIMIT ?");
                if ((scans && !bounded) || step.contains("TEMP B-TREE"))
                    && !RARE.iter().any(|rare| name.ends_with(rare))
                {
                    bad.push(format!("{name}: {step}\n    {sql}"));
                }
            }
        }
        assert!(bad.is_empty(), "{}", bad.join("\n"));
    }
}
