//! Databases in memory that are used again: emptied, or made equal to another one, row by row.
//!
//! To make the tables and to prepare all statements takes longer than what a short test does with them. What is used again keeps
//! both.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{Db, Environment, store_error};
use crate::model::StoreResult;

/// Where SQLite counts the numbers that it has given away.
const NUMBERS: &str = "sqlite_sequence";

impl Db {
    /// An empty database in memory, over the connection of one that nobody needs any more.
    ///
    /// # Errors
    /// If its rows cannot be deleted.
    pub fn begin_anew(mut self, environment: Environment) -> StoreResult<Db> {
        let done = (|| {
            let all = self.conn.unchecked_transaction()?;
            empty(&all)?;
            all.prepare_cached(super::BEGIN)?.execute([environment.chance.id()])?;
            all.commit()
        })();
        done.map_err(|error| store_error(&self.path, error))?;
        self.words.get_mut().forget();
        self.environment = environment;
        Ok(self)
    }

    /// A copy as [`Db::snapshot`] makes one, over the connection of a database in memory that nobody needs any more.
    ///
    /// # Errors
    /// If its rows cannot be replaced.
    pub fn snapshot_over(&self, mut copy: Db) -> StoreResult<Db> {
        let done = (|| {
            let all = copy.conn.unchecked_transaction()?;
            empty(&all)?;
            for table in tables(&self.conn)?.iter().filter(|table| *table != NUMBERS) {
                copy_rows(&self.conn, &all, table)?;
            }
            all.prepare_cached("DELETE FROM sqlite_sequence")?.execute([])?;
            copy_rows(&self.conn, &all, NUMBERS)?;
            all.prepare_cached(super::FREE_COPY)?.execute([])?;
            all.commit()
        })();
        done.map_err(|error| store_error(&copy.path, error))?;
        copy.words.get_mut().forget();
        copy.environment = self.environment.clone();
        Ok(copy)
    }

    /// Forgets what is not in the tables, as a process does that ends.
    pub fn forget_process(&mut self) {
        self.words.get_mut().forget();
    }
}

/// Names of all tables; what a row refers to comes before it.
fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn empty(conn: &Connection) -> rusqlite::Result<()> {
    for table in tables(conn)?.iter().rev() {
        conn.prepare_cached(&format!("DELETE FROM {table}"))?.execute([])?;
    }
    Ok(())
}

fn copy_rows(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<()> {
    let mut read = from.prepare_cached(&format!("SELECT * FROM {table}"))?;
    let columns = read.column_count();
    let places = vec!["?"; columns].join(", ");
    let mut write = to.prepare_cached(&format!("INSERT INTO {table} VALUES ({places})"))?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>()?;
        write.execute(params_from_iter(values))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Side, Store};

    /// All rows, in the order of the tables.
    fn content(db: &Db) -> Vec<String> {
        let mut told = Vec::new();
        for table in tables(&db.conn).unwrap() {
            let mut read = db.conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = read.column_count();
            let mut rows = read.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values: Vec<Value> = (0..columns).map(|column| row.get(column).unwrap()).collect();
                told.push(format!("{table} {values:?}"));
            }
        }
        told
    }

    #[test]
    fn what_is_used_again_is_as_new() {
        let (mut db, lease) = world();
        let fresh = content(&Db::in_memory_with(db.environment.clone()).unwrap());
        linked(&mut db, &lease, "a", "a.vcf");
        stage(&mut db, &lease, &[here(Side::Left, "b", "1")]);
        let environment = db.environment.clone();
        let copy = db.snapshot_over(Db::in_memory_with(environment.clone()).unwrap()).unwrap();
        assert_eq!(content(&copy), content(&db.snapshot().unwrap()));
        let mut again = copy.begin_anew(environment).unwrap();
        assert_eq!(content(&again), fresh);
        let lease = again.take(&key(), &holder(1), 1).unwrap();
        let link = linked(&mut again, &lease, "c", "c.vcf");
        let same = db.begin_anew(again.environment.clone()).unwrap();
        assert_eq!((link.id, content(&same)), (1, fresh));
    }
}
