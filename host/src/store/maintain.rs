//! Care of the database as a whole: backup, restore, compaction, scratch copies, pages given back.

use std::fs;
use std::path::{Path, PathBuf};

use pairwise_plugin_api::Millis;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use serde::Serialize;

use super::transaction::{Answer, Tx, statements};
use super::{Db, Environment, births, history, lanes, lease, runs};
use crate::model::{StoreError, StoreResult};
use crate::store::lanes::Mark;

/// Pages are given back to the file system when more than this share of them is free, in percent…
const FREE_SHARE: i64 = 5;
/// …and more than so many.
const FREE_PAGES: i64 = 128;

statements! {
    MARK = "SELECT lineage, restored, serial FROM meta";
    RESTORED = "UPDATE meta SET restored = restored + 1, serial = serial + 1";
    FREE_LANES = "UPDATE lane SET holder = NULL, serial = serial + 1";
    FORGET_CURSORS = "UPDATE lane_side SET cursor = NULL, former = NULL, former_author = NULL";
    FORGET_DOUBTS = "DELETE FROM doubt";
}

/// What [`Db::compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file after.
    pub after: u64,
    /// Entries of the history that were too old.
    pub history: usize,
    /// Runs that were too old.
    pub runs: usize,
}

/// What [`Db::restore`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Where the database is now that was there before, if there was one.
    pub kept: Option<PathBuf>,
    /// Where the restored state stands.
    pub mark: Mark,
}

impl Db {
    /// Where the whole state stands.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn mark(&mut self) -> StoreResult<Mark> {
        self.read(0, mark)
    }

    /// Where one lane's state stands: moves with each change of it, and with nothing else. A plan that was made at another
    /// mark is stale.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn lane_mark(&mut self, lane: &crate::model::LaneKey) -> StoreResult<Mark> {
        self.read(0, |tx| {
            let serial = match lease::find(tx, lane)? {
                Some(lane) => lanes::state(tx, lane)?.1,
                None => 0,
            };
            Ok(Mark { serial, ..mark(tx)? })
        })
    }

    /// A private copy on which a plan can be run. It knows no leases, lies where the system keeps temporary files, and is
    /// gone when it is dropped.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn snapshot(&self) -> StoreResult<Db> {
        let path = format!("{} (copy)", self.path);
        let fail = |error| super::store_error(&path, error);
        // An empty name is SQLite's own temporary database: on disk beyond the page cache, deleted when closed.
        let mut copy =
            if self.in_memory { Connection::open_in_memory() } else { Connection::open("") }.map_err(fail)?;
        copy_all(&self.conn, &mut copy).map_err(fail)?;
        for pragma in ["journal_mode = MEMORY", "synchronous = OFF"] {
            copy.execute_batch(&format!("PRAGMA {pragma}")).map_err(fail)?;
        }
        let copy = Db::over(copy, path.clone(), self.in_memory, self.environment.clone())?;
        copy.conn.execute_batch(super::FREE_COPY).map_err(fail)?;
        Ok(copy)
    }

    /// Writes a copy of the database to a new file.
    ///
    /// # Errors
    /// If the file is there already, or cannot be written.
    pub fn backup(&self, to: &Path) -> StoreResult<()> {
        if to.exists() {
            let reason = "the file is there already: choose another name, or move it away".to_owned();
            return Err(StoreError::Backup { path: to.display().to_string(), reason });
        }
        let partial = with_suffix(to, ".partial");
        let fail = |error| super::store_error(&to.display().to_string(), error);
        let io = |error: std::io::Error| {
            let reason = format!("it cannot be written: {error}; name a file in a folder that you may write to");
            StoreError::Backup { path: to.display().to_string(), reason }
        };
        crate::os::create_private(&partial).map_err(io)?;
        let written = Connection::open(&partial).and_then(|mut copy| {
            copy_all(&self.conn, &mut copy)?;
            // One file that can be carried about: no log beside it.
            copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
            copy.close().map_err(|(_, error)| error)
        });
        if let Err(error) = written {
            // What is left of it is worth nothing; the first error is the one to tell.
            let _ = fs::remove_file(&partial);
            return Err(fail(error));
        }
        fs::rename(&partial, to).map_err(io)?;
        crate::os::sync_folder_of(to);
        Ok(())
    }

    /// Puts a backup in the place of the database at `path`, which is kept beside it.
    ///
    /// The lineage stays and the count of restores grows, so that saved plans are refused. What the backup knows of cursors
    /// is forgotten: the next run of each lane lists both sides whole and finds what happened since. Open intents stay: the
    /// next run asks for their outcome.
    ///
    /// # Errors
    /// If the backup is not a whole database of ours, or another process is at work on the present one.
    pub fn restore(path: &Path, backup: &Path, environment: Environment) -> StoreResult<Restored> {
        let incoming = with_suffix(path, ".restoring");
        let io = |error: std::io::Error| open_error(path, &error);
        Db::check_backup(backup)?;
        refuse_if_in_use(path, &environment)?;
        remove_database(&incoming).map_err(io)?;
        crate::os::create_private(&incoming).map_err(io)?;
        let mark = prepare(backup, &incoming, environment).inspect_err(|_| {
            // The present database was not touched; a half-made copy is worth nothing.
            let _ = remove_database(&incoming);
        })?;
        let kept = set_aside(path).map_err(io)?;
        fs::rename(&incoming, path).map_err(io)?;
        crate::os::sync_folder_of(path);
        Ok(Restored { kept, mark })
    }

    /// Whether a file could be put back. Nothing is written.
    ///
    /// # Errors
    /// If it is not a whole database of ours.
    pub fn check_backup(backup: &Path) -> StoreResult<()> {
        open_backup(backup).map(drop)
    }

    /// Tells the state that it was put back to an earlier point. Part of [`Db::restore`].
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn mark_restored(&mut self) -> StoreResult<Mark> {
        self.transact(|tx| {
            for sql in [RESTORED, FREE_LANES, FORGET_CURSORS, FORGET_DOUBTS] {
                tx.run(sql, [])?;
            }
            mark(tx)
        })
    }

    /// Forgets history and runs from before a time; answers how many of each.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget(&mut self, keep_since: Millis) -> StoreResult<(usize, usize)> {
        self.transact(|tx| {
            births::prune(tx, keep_since)?;
            Ok((history::prune(tx, keep_since)?, runs::prune(tx, keep_since)?))
        })
    }

    /// Forgets history and runs from before a time, and rewrites the file without gaps.
    ///
    /// # Errors
    /// If the database cannot be written; rewriting needs as much space again.
    pub fn compact(&mut self, keep_since: Millis) -> StoreResult<Compacted> {
        let before = self.bytes()?;
        let (history, runs) = self.forget(keep_since)?;
        let result = self.conn.execute_batch("VACUUM").and_then(|()| checkpoint(&self.conn));
        result.map_err(|error| super::store_error(&self.path, error))?;
        Ok(Compacted { before, after: self.bytes()?, history, runs })
    }

    /// What is wrong with the file, by SQLite's own check; empty if it is sound.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn integrity(&self) -> StoreResult<Vec<String>> {
        let check = || {
            let mut statement = self.conn.prepare("PRAGMA integrity_check(10)")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        let mut found = check().map_err(|error| super::store_error(&self.path, error))?;
        found.retain(|line| line != "ok");
        Ok(found)
    }

    /// Bytes of the database without its log.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn bytes(&self) -> StoreResult<u64> {
        let bytes = pragma(&self.conn, "page_count").and_then(|pages| Ok(pages * pragma(&self.conn, "page_size")?));
        let bytes = bytes.map_err(|error| super::store_error(&self.path, error))?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Refuses to let the database grow beyond so many pages, as a full disk would. For tests.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn limit_pages(&mut self, pages: u32) -> StoreResult<()> {
        self.conn
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .map_err(|error| super::store_error(&self.path, error))
    }

    /// Gives free pages back to the file system when a big run has left many. It is not worth failing a run for.
    pub(super) fn give_back_pages(&self) {
        let done = (|| {
            let free = pragma(&self.conn, "freelist_count")?;
            if free > FREE_PAGES && free * 100 > pragma(&self.conn, "page_count")? * FREE_SHARE {
                // Each row that it returns is a page.
                let mut statement = self.conn.prepare("PRAGMA incremental_vacuum")?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
            }
            Ok::<(), rusqlite::Error>(())
        })();
        if let Err(error) = done {
            tracing::debug!(database = self.path, %error, "free pages stay in the file");
        }
    }
}

fn mark(tx: &Tx<'_>) -> Answer<Mark> {
    let mark = tx
        .conn
        .prepare_cached(MARK)?
        .query_row([], |row| Ok(Mark { lineage: row.get(0)?, restored: row.get(1)?, serial: row.get(2)? }))?;
    Ok(mark)
}

fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Copies a database in one step, under one read lock.
fn copy_all(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    to.busy_timeout(super::BUSY)?;
    let backup = Backup::new(from, to)?;
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("another process is writing".into()),
        )),
    }
}

/// Makes the new database beside the present one: checked, on the present schema, told that it was restored.
fn prepare(backup: &Path, incoming: &Path, environment: Environment) -> StoreResult<Mark> {
    let fail = |error| super::store_error(&backup.display().to_string(), error);
    let source = open_backup(backup)?;
    let mut copy = Connection::open(incoming).map_err(fail)?;
    copy_all(&source, &mut copy).map_err(fail)?;
    copy.close().map_err(|(_, error)| fail(error))?;
    let mut db = Db::open_with(incoming, environment)?;
    let mark = db.mark_restored()?;
    checkpoint(&db.conn).map_err(fail)?;
    db.conn.close().map_err(|(_, error)| fail(error))?;
    Ok(mark)
}

/// Opens a file that a backup was written to, whole as it is.
fn open_backup(backup: &Path) -> StoreResult<Connection> {
    let none = |reason: String| StoreError::Backup { path: backup.display().to_string(), reason };
    if !backup.is_file() {
        return Err(none("there is no such file: name a file that `pairwise state backup` wrote".to_owned()));
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let unreadable =
        |error: rusqlite::Error| none(format!("it is damaged or cannot be read ({error}): use another one"));
    let source = Connection::open_with_flags(backup, flags).map_err(unreadable)?;
    match super::refuse_strange(&source, backup) {
        Err(StoreError::Open { .. }) => {
            Err(none("this is no state of Pairwise: name a file that `pairwise state backup` wrote".to_owned()))
        }
        refused => refused,
    }?;
    let found: String = source.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(unreadable)?;
    if found != "ok" {
        return Err(none(format!("it is damaged ({found}): use another one")));
    }
    Ok(source)
}

/// A run that is active would go on writing to the old file.
fn refuse_if_in_use(path: &Path, environment: &Environment) -> StoreResult<()> {
    if !path.exists() {
        return Ok(());
    }
    // A database that cannot be opened is what a backup is for.
    let Ok(mut present) = Db::open_with(path, environment.clone()) else { return Ok(()) };
    for lane in present.status()? {
        if let Some(holder) = lane.holder.filter(|holder| (environment.is_alive)(holder)) {
            return Err(StoreError::Busy { lane: lane.lane.to_string(), holder: lease::describe(&holder) });
        }
    }
    Ok(())
}

/// Keeps the present database under another name, log included.
fn set_aside(path: &Path) -> std::io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let kept = (1..).map(|n| with_suffix(path, &format!(".before-restore-{n}"))).find(|kept| !kept.exists());
    let Some(kept) = kept else { return Ok(None) };
    for suffix in LOGS {
        let log = with_suffix(path, suffix);
        if log.exists() {
            fs::rename(&log, with_suffix(&kept, suffix))?;
        }
    }
    // A second name, so that there is a database at `path` at every moment: a missing one would be made anew, empty. Only
    // where the file system knows no second names, it is moved.
    fs::hard_link(path, &kept).or_else(|_| fs::rename(path, &kept))?;
    Ok(Some(kept))
}

/// What SQLite keeps beside a database.
const LOGS: [&str; 2] = ["-wal", "-shm"];

fn remove_database(path: &Path) -> std::io::Result<()> {
    for file in LOGS.iter().map(|suffix| with_suffix(path, suffix)).chain([path.to_owned()]) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn open_error(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Open { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::chance::Chance;
    use crate::model::{LinkChange, Lost, Settlement, Side, Store};
    use pairwise_plugin_api::Cursor;

    #[test]
    fn a_snapshot_is_another_database_that_nobody_leases() {
        let (mut db, lease) = world();
        stage(&mut db, &lease, &[here(Side::Left, "a", "1")]);
        let mut copy = db.snapshot().unwrap();
        let own = copy.take(&key(), &holder(2), 0).unwrap();
        assert_eq!(sketch(&all_work(&mut copy, &own)), ["a - -"]);
        linked(&mut copy, &own, "a", "a.vcf");
        assert!(db.links(&lease, 0, 10).unwrap().is_empty());
        stage(&mut db, &lease, &[here(Side::Left, "b", "1")]);
        assert_eq!(all_work(&mut copy, &own).len(), 1);
    }

    #[test]
    fn a_snapshot_of_a_file_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let mut db = Db::open_with(&folder.path().join("p.db"), environment(&clock)).unwrap();
        let lease = db.take(&key(), &holder(1), clock.now()).unwrap();
        linked(&mut db, &lease, "a", "a.vcf");
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let before = files();
        let mut copy = db.snapshot().unwrap();
        let own = copy.take(&key(), &holder(2), 0).unwrap();
        assert_eq!(copy.links(&own, 0, 10).unwrap(), db.links(&lease, 0, 10).unwrap());
        linked(&mut copy, &own, "b", "b.vcf");
        assert!(
            copy.settle(&own, "run", &[Settlement { link: LinkChange::Retire(99), ..Default::default() }]).is_err()
        );
        assert_eq!(copy.links(&own, 0, 10).unwrap().len(), 2);
        assert_eq!(files(), before);
        drop(copy);
        assert_eq!(files(), before);
    }

    #[test]
    fn backup_and_restore() {
        let folder = tempfile::tempdir().unwrap();
        let (path, backup) = (folder.path().join("p.db"), folder.path().join("backup.db"));
        let clock = Clock::new();
        let mut db = Db::open_with(&path, environment(&clock)).unwrap();
        let lease = db.take(&key(), &holder(1), clock.now()).unwrap();
        linked(&mut db, &lease, "a", "a.vcf");
        db.stage(&lease, &[], Some((Side::Left, &Cursor(vec![1])))).unwrap();
        db.backup(&backup).unwrap();
        assert!(db.backup(&backup).unwrap_err().to_string().contains("there already"));
        linked(&mut db, &lease, "b", "b.vcf");
        let before = db.mark().unwrap();

        let error = Db::restore(&path, &backup, environment(&clock)).unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        db.release(&lease).unwrap();
        drop(db);
        let restored = Db::restore(&path, &backup, environment(&clock)).unwrap();
        assert_eq!((&restored.mark.lineage, restored.mark.restored), (&before.lineage, 1));

        let mut db = Db::open_with(&path, environment(&clock)).unwrap();
        let lease = db.take(&key(), &holder(2), clock.now()).unwrap();
        assert_eq!(db.links(&lease, 0, 10).unwrap().len(), 1);
        assert_eq!(db.memory(&lease).unwrap().cursors.left, None, "both sides are listed whole");
        let mut kept = Db::open_with(&restored.kept.unwrap(), environment(&clock)).unwrap();
        assert_eq!(kept.status().unwrap()[0].links, 2);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
        names.sort();
        assert_eq!(names, ["backup.db", "p.db", "p.db.before-restore-1"]);
    }

    #[test]
    fn a_restore_takes_whole_databases_of_ours_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.db");
        let clock = Clock::new();
        let mut db = Db::open_with(&path, environment(&clock)).unwrap();
        let mark = db.mark().unwrap();
        let refuse = |backup: &Path| Db::restore(&path, backup, environment(&clock)).unwrap_err().to_string();
        assert!(refuse(&folder.path().join("none")).contains("no such file"));
        let text = folder.path().join("text");
        fs::write(&text, "no database, but longer than the header of one, so that it is looked at".repeat(20)).unwrap();
        assert!(refuse(&text).contains("no state of Pairwise"));
        let strange = folder.path().join("strange.db");
        Connection::open(&strange).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(refuse(&strange).contains("no state of Pairwise"));
        let newer = folder.path().join("newer.db");
        db.backup(&newer).unwrap();
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Db::restore(&path, &newer, environment(&clock)), Err(StoreError::Newer { found: 99, .. })));
        let damaged = folder.path().join("damaged.db");
        db.backup(&damaged).unwrap();
        let mut bytes = fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8000].fill(0xa5);
        fs::write(&damaged, bytes).unwrap();
        assert!(refuse(&damaged).contains("damaged"));
        assert_eq!(db.mark().unwrap(), mark);
        assert_eq!(db.mark().unwrap(), Db::open_with(&path, environment(&clock)).unwrap().mark().unwrap());
    }

    #[test]
    fn a_database_that_cannot_be_read_any_more_can_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, backup) = (folder.path().join("p.db"), folder.path().join("backup.db"));
        let clock = Clock::new();
        Db::open_with(&path, environment(&clock)).unwrap().backup(&backup).unwrap();
        fs::write(&path, vec![7; 20_000]).unwrap();
        assert!(Db::open_with(&path, environment(&clock)).is_err());
        let restored = Db::restore(&path, &backup, environment(&clock)).unwrap();
        assert_eq!(fs::read(restored.kept.unwrap()).unwrap(), vec![7; 20_000]);
        assert!(Db::open_with(&path, environment(&clock)).is_ok());
    }

    #[test]
    fn compaction_forgets_what_is_old() {
        let clock = Clock::new();
        let mut db = Db::in_memory_with(environment(&clock)).unwrap();
        let lease = db.take(&key(), &holder(1), clock.now()).unwrap();
        for day in 0..10 {
            db.start_run(&format!("r{day}"), "command", "0").unwrap();
            let history = Lost {
                link: 1,
                side: Side::Left,
                at: at("a"),
                label: "x".repeat(100_000),
                op: "update".into(),
                reason: "latest".into(),
                values: Vec::new(),
            };
            db.intend(&lease, "run", &mut [], &[history]).unwrap();
            clock.advance(86_400_000);
        }
        let done = db.compact(clock.now() - 3 * 86_400_000).unwrap();
        assert_eq!((done.history, done.runs), (7, 7));
        assert!(done.after < done.before / 2);
        assert_eq!((db.history_of_link(1).unwrap().len(), db.runs(100).unwrap().len()), (3, 3));
    }
}
