//! The state of all lanes in one SQLite database. The only module with SQL.
//!
//! Everything rests on five transactions and their order, and each is one method of [`Store`](crate::model::Store): *take* the lease; *stage*
//! announcements together with the cursor; *intend* writes before they are sent; *settle* them; *set aside* what cannot be
//! settled (a part of settling). A method that writes begins its transaction with a write lock, compares the lease's epoch,
//! and commits or changes nothing. The log is synced at each commit, so that what was committed outlives a power cut.
//!
//! - `schema` draws the tables and says what each keeps true.
//! - `lease`, `cursors`, `inbox`, `matching`, `absence`, `work`, `intents`, `settle`, `links` are the port's methods, in the
//!   order in which a run needs them.
//! - `conflicts`, `holds`, `aside`, `history`, `runs`, `lanes` are also what people see and decide.
//! - `maintain` cares for the file, and `again` for databases in memory that are used again.
//!
//! Decisions of people need no lease: each is one transaction, too, and a run meets it before or after.

mod absence;
mod again;
mod aside;
mod births;
mod codes;
mod conflicts;
mod cursors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod history;
mod holds;
mod inbox;
mod intents;
mod lanes;
mod lease;
mod links;
mod maintain;
mod matching;
mod port;
mod revisits;
mod runs;
mod schema;
mod settle;
mod transaction;
mod work;

#[cfg(any(test, fuzzing))]
mod testing;

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

pub use aside::QuarantineRow;
pub use conflicts::{Chosen, ConflictRow};
pub use history::{HistoryRow, LostValue};
pub use holds::{HeldRow, HoldRow};
pub use lanes::{LaneStatus, LastRun, Mark};
pub use lease::LEASE_MS;
pub use maintain::{Compacted, Restored};
pub use runs::RunRow;

use crate::chance::{Chance, Real};
use crate::model::{Holder, LaneKey, Lease, StoreError, StoreResult};
use transaction::{Answer, Fault, Tx, Words};

/// How long a transaction waits for another process's.
const BUSY: Duration = Duration::from_secs(10);
/// Between two tries of what SQLite itself does not wait for.
const PAUSE: Duration = Duration::from_millis(20);
/// Pages kept in memory, in KiB.
const CACHE_KIB: i64 = 512;
/// The log is cut back to this size when its content has gone into the database.
const LOG_LIMIT: i64 = 8 << 20;
/// Prepared statements kept; there are fewer.
const STATEMENTS: usize = 256;
/// The first row of a new database.
const BEGIN: &str = "INSERT OR IGNORE INTO meta VALUES (1, ?1, 0, 0)";
/// Nobody holds a copy.
const FREE_COPY: &str = "UPDATE lane SET holder = NULL";

/// Tells whether a holder's process may still live.
pub type Liveness = dyn Fn(&Holder) -> bool + Send + Sync;

/// What the store takes from the world outside. A simulator puts its own in its place.
#[derive(Clone)]
pub struct Environment {
    /// Time and ids.
    pub chance: Arc<dyn Chance>,
    /// False for a holder that is certainly dead.
    pub is_alive: Arc<Liveness>,
}

impl Default for Environment {
    fn default() -> Self {
        Environment { chance: Arc::new(Real::new()), is_alive: Arc::new(crate::os::is_alive) }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// The state database.
pub struct Db {
    conn: Connection,
    path: String,
    in_memory: bool,
    environment: Environment,
    words: RefCell<Words>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({})", self.path)
    }
}

impl Db {
    /// Opens the database of a state folder; both are made if they are not there.
    ///
    /// # Errors
    /// If the folder cannot be written, the file is not a database of ours, or is of a newer version. Nothing was touched.
    pub fn open(path: &Path) -> StoreResult<Db> {
        Db::open_with(path, Environment::default())
    }

    /// Opens the database in a given environment.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_with(path: &Path, environment: Environment) -> StoreResult<Db> {
        let name = path.display().to_string();
        let open = |reason: String| StoreError::Open { path: name.clone(), reason };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                open(format!("the folder {} cannot be made: {error}; check `state_dir`", folder.display()))
            })?;
        }
        crate::os::create_private(path).map_err(|error| {
            open(format!("{error}; check `state_dir`, and that you may write to the folder and the file"))
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(|error| store_error(&name, error))?;
        conn.busy_timeout(BUSY).map_err(|error| store_error(&name, error))?;
        refuse_strange(&conn, path)?;
        let log = prepare_file(&conn).map_err(|error| store_error(&name, error))?;
        if log != "wal" {
            return Err(open(format!(
                "its file system allows no write-ahead log (SQLite keeps `{log}`): put `state_dir` on a local disk"
            )));
        }
        Db::over(conn, name, false, environment)
    }

    /// An empty database in memory.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn in_memory() -> StoreResult<Db> {
        Db::in_memory_with(Environment::default())
    }

    /// An empty database in memory, in a given environment.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn in_memory_with(environment: Environment) -> StoreResult<Db> {
        let name = "in memory".to_owned();
        let conn = Connection::open_in_memory().map_err(|error| store_error(&name, error))?;
        Db::over(conn, name, true, environment)
    }

    /// Brings an open database to the present schema.
    fn over(mut conn: Connection, path: String, in_memory: bool, environment: Environment) -> StoreResult<Db> {
        let fail = |error| store_error(&path, error);
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        // What a statement's plan is does not hang on its parameters, so that a statement is prepared only once.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(fail)?;
        conn.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fail)?;
        conn.set_transaction_behavior(TransactionBehavior::Immediate);
        if schema_of(&conn).map_err(fail)? < schema::VERSION
            && let Err(error) = schema::MIGRATIONS.to_latest(&mut conn)
        {
            // Another process may have been faster.
            if schema_of(&conn).map_err(fail)? != schema::VERSION {
                return Err(migration_error(&path, error));
            }
        }
        if conn.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0)).map_err(fail)? == 0 {
            conn.execute(BEGIN, [environment.chance.id()]).map_err(fail)?;
        }
        Ok(Db { conn, path, in_memory, environment, words: RefCell::default() })
    }

    /// One transaction that writes, under no lease.
    fn transact<T>(&mut self, act: impl FnOnce(&Tx<'_>) -> Answer<T>) -> StoreResult<T> {
        let result = transact(&self.conn, &self.words, &self.environment, 0, act);
        if result.is_err() {
            // It may have learnt words that were rolled back.
            self.words.get_mut().forget();
        }
        result.map_err(|fault| store_fault(&self.path, fault))
    }

    /// One transaction that changes a lane's state, under its lease.
    fn write<T>(&mut self, lease: &Lease, act: impl FnOnce(&Tx<'_>) -> Answer<T>) -> StoreResult<T> {
        self.transact(|tx| {
            tx.lane.set(lease.lane);
            lease::check(tx, lease)?;
            let value = act(tx)?;
            tx.close()?;
            Ok(value)
        })
    }

    /// One transaction that changes a lane's state by a person's decision. `act` says which lane.
    fn decide<T>(&mut self, act: impl FnOnce(&Tx<'_>) -> Answer<T>) -> StoreResult<T> {
        self.transact(|tx| {
            let value = act(tx)?;
            tx.close()?;
            Ok(value)
        })
    }

    /// One transaction that reads.
    fn read<T>(&mut self, lane: i64, act: impl FnOnce(&Tx<'_>) -> Answer<T>) -> StoreResult<T> {
        let result = (|| {
            let guard = rusqlite::Transaction::new_unchecked(&self.conn, TransactionBehavior::Deferred)?;
            act(&Tx::new(&guard, &self.words, lane, 0))
        })();
        result.map_err(|fault| store_fault(&self.path, fault))
    }

    /// One transaction that reads a lane; of a lane that never ran there is nothing to read.
    fn read_lane<T: Default>(&mut self, lane: &LaneKey, act: impl FnOnce(&Tx<'_>) -> Answer<T>) -> StoreResult<T> {
        self.read(0, |tx| match lease::find(tx, lane)? {
            Some(id) => {
                tx.lane.set(id);
                act(tx)
            }
            None => Ok(T::default()),
        })
    }
}

fn transact<T>(
    conn: &Connection,
    words: &RefCell<Words>,
    environment: &Environment,
    lane: i64,
    act: impl FnOnce(&Tx<'_>) -> Answer<T>,
) -> Answer<T> {
    let guard = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let value = act(&Tx::new(&guard, words, lane, environment.chance.now()))?;
    guard.commit()?;
    Ok(value)
}

/// Refuses a file that is not ours or that a newer version wrote. Nothing is written before.
fn refuse_strange(conn: &Connection, path: &Path) -> StoreResult<()> {
    let name = path.display().to_string();
    let fail = |error| store_error(&name, error);
    // One view of all three: another process may be making the database just now.
    let look = || {
        let view = conn.unchecked_transaction()?;
        let tables: i64 = view.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let application: i32 = view.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        Ok((tables, application, schema_of(&view)?))
    };
    let (tables, application, found) = patiently(look).map_err(fail)?;
    if application != schema::APPLICATION_ID && (application != 0 || tables != 0 || found != 0) {
        let reason = "it is a database of another program: move it away, or choose another `state_dir`".to_owned();
        return Err(StoreError::Open { path: name, reason });
    }
    if found > schema::VERSION {
        return Err(StoreError::Newer { path: name, found, known: schema::VERSION });
    }
    Ok(())
}

/// Tries again while another process is making the database: SQLite's own waiting leaves out the change of the log's kind.
fn patiently<T>(mut step: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let begun = Instant::now();
    loop {
        match step() {
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn schema_of(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Sets what a file keeps for life (page size, vacuuming) and what each connection sets. Answers the kind of log.
fn prepare_file(conn: &Connection) -> rusqlite::Result<String> {
    let pages: u64 = patiently(|| conn.query_row("PRAGMA page_count", [], |row| row.get(0)))?;
    if pages == 0 {
        conn.pragma_update(None, "page_size", schema::PAGE_SIZE)?;
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let log = patiently(|| conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.query_row(&format!("PRAGMA journal_size_limit = {LOG_LIMIT}"), [], |_| Ok(()))?;
    Ok(log)
}

fn migration_error(path: &str, error: rusqlite_migration::Error) -> StoreError {
    match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => store_error(path, err),
        other => StoreError::Failed { path: path.to_owned(), reason: format!("its schema cannot be updated: {other}") },
    }
}

fn store_fault(path: &str, fault: Fault) -> StoreError {
    match fault {
        Fault::Sqlite(error) => store_error(path, error),
        Fault::LeaseLost(lane) => StoreError::LeaseLost { lane: lane.to_string() },
        Fault::Busy { lane, holder } => StoreError::Busy { lane: lane.to_string(), holder },
        Fault::Misused(reason) => StoreError::Failed { path: path.to_owned(), reason },
    }
}

fn store_error(path: &str, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    let open = |reason: &str| StoreError::Open { path: path.clone(), reason: reason.to_owned() };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::NotADatabase) => {
            open("it is not a database: move it away, or put a backup back with `pairwise state restore`")
        }
        Some(ErrorCode::CannotOpen) => open("it cannot be opened: check `state_dir` and the rights of folder and file"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            open("it cannot be written: check the rights of folder and file")
        }
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Failed {
            path,
            reason: format!("it is damaged ({error}): put a backup back with `pairwise state restore`"),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Failed {
            path,
            reason: format!("another process has locked it for more than {} seconds: try again", BUSY.as_secs()),
        },
        _ => StoreError::Failed { path, reason: error.to_string() },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::testing::*;
    use super::*;
    use crate::model::{Side, Store};

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join("pairwise.db");
        let clock = Clock::new();
        let mut db = Db::open_with(&path, environment(&clock)).unwrap();
        let lease = db.take(&key(), &holder(13), clock.now()).unwrap();
        linked(&mut db, &lease, "a", "a.vcf");
        stage(&mut db, &lease, &[here(Side::Left, "b", "1")]);
        let mark = db.mark().unwrap();
        drop(db);
        let mut db = Db::open_with(&path, environment(&clock)).unwrap();
        assert_eq!(db.mark().unwrap(), mark);
        let lease = db.take(&key(), &holder(1), clock.now()).unwrap();
        assert_eq!((db.links(&lease, 0, 9).unwrap().len(), sketch(&all_work(&mut db, &lease)).len()), (1, 1));
    }

    #[test]
    fn the_file_is_durable_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairwise.db");
        let db = Db::open(&path).unwrap();
        let pragma = |name: &str| -> String {
            db.conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get_ref(0).map(|v| format!("{v:?}"))).unwrap()
        };
        assert!(pragma("journal_mode").contains("Text"));
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(pragma("foreign_keys"), "Integer(1)");
        assert_eq!(pragma("auto_vacuum"), "Integer(2)");
        assert_eq!(pragma("page_size"), format!("Integer({})", schema::PAGE_SIZE));
        #[cfg(unix)]
        for file in fs::read_dir(folder.path()).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
        }
    }

    /// Whatever cannot be opened is named with the way out, and left as it is.
    #[test]
    fn what_is_not_ours_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("text"), "a text that somebody keeps under this name\n".repeat(40)).unwrap();
        Connection::open(file("other")).unwrap().execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1").unwrap();
        drop(Db::open(&file("newer")).unwrap());
        Connection::open(file("newer")).unwrap().pragma_update(None, "user_version", 7).unwrap();
        for (name, expected) in [
            ("text", "it is not a database: move it away, or put a backup back with `pairwise state restore`"),
            ("other", "it is a database of another program: move it away, or choose another `state_dir`"),
            ("newer", "has schema 7, this version knows 6: use a newer pairwise, or restore a backup"),
            ("text/pairwise.db", "cannot be made"),
        ] {
            let before: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
            let bytes = fs::read(file(name)).ok();
            let error = Db::open(&file(name)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name.split('/').next().unwrap()), "{error}");
            assert_eq!(fs::read(file(name)).ok(), bytes);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before.len());
        }
        assert!(Db::open(folder.path()).unwrap_err().to_string().contains("cannot open the state database"));
    }

    #[test]
    fn several_processes_may_make_the_database_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairwise.db");
        let open = || Db::open(&path).unwrap().mark().unwrap().lineage;
        let lineages: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(lineages.iter().all(|lineage| *lineage == lineages[0]), "{lineages:?}");
    }
}
