//! One transaction: the connection, the lane it concerns, and what is written at its end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pairwise_plugin_api::codec::{self, CodecError, Names};
use pairwise_plugin_api::{Millis, RecordRef};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{LaneKey, Side};

/// Declares a module's SQL: constants for the code, and a list for the test that reads every query plan.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$meta])* const $name: &str = $sql;)*
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(super) use statements;

/// Why a transaction was given up. Becomes a `StoreError`, which also names the database.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    LeaseLost(LaneKey),
    Busy {
        lane: LaneKey,
        holder: String,
    },
    /// The caller asked for something that the state does not allow.
    Misused(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

pub(super) type Answer<T> = Result<T, Fault>;

/// What stands in rows as numbers: entities, and names of fields. Nothing is ever taken out of these tables, so what was
/// committed once stays right.
#[derive(Debug, Default)]
pub(super) struct Words {
    entities: HashMap<String, i64>,
    entity_names: HashMap<i64, String>,
    fields: Names,
}

impl Words {
    fn learn(&mut self, id: i64, name: &str) {
        self.entities.insert(name.to_owned(), id);
        self.entity_names.insert(id, name.to_owned());
    }

    pub(super) fn forget(&mut self) {
        *self = Words::default();
    }
}

/// One transaction. All statements are prepared once a connection and kept.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    words: &'a RefCell<Words>,
    /// The field names are those that this transaction sees.
    fields_are_read: Cell<bool>,
    /// Statements that this transaction has used and does not use just now, by the place of their text.
    statements: RefCell<Vec<(*const str, CachedStatement<'a>)>>,
    /// Whether the lane has records that are set aside, once somebody has asked.
    pub(super) has_aside: Cell<Option<bool>>,
    /// How the last link came to be that this transaction made.
    pub(super) last_birth: Cell<Option<Option<Side>>>,
    /// The lane that is written to; set late by decisions, which first look up what they concern.
    pub(super) lane: Cell<i64>,
    /// When the transaction began.
    pub(super) now: Millis,
    /// By how many links more or fewer take part.
    pub(super) live: Cell<i64>,
    /// The rows that the connection had changed when the transaction began.
    changed_before: u64,
}

statements! {
    ENTITY_ID = "SELECT id FROM entity WHERE name = ?1";
    ENTITY_NAME = "SELECT name FROM entity WHERE id = ?1";
    ADD_ENTITY = "INSERT INTO entity (name) VALUES (?1)";
    FIELDS = "SELECT coalesce(max(id), 0) FROM field";
    FIELD_NAMES = "SELECT name FROM field ORDER BY id";
    ADD_FIELD = "INSERT INTO field (id, name) VALUES (?1, ?2)";
    LANE_MOVED = "UPDATE lane SET serial = serial + 1, live_links = live_links + ?2 WHERE id = ?1";
    MOVED = "UPDATE meta SET serial = serial + 1";
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a Connection, words: &'a RefCell<Words>, lane: i64, now: Millis) -> Self {
        Tx {
            conn,
            words,
            fields_are_read: Cell::new(false),
            statements: RefCell::default(),
            has_aside: Cell::new(None),
            last_birth: Cell::new(None),
            lane: Cell::new(lane),
            now,
            live: Cell::new(0),
            changed_before: conn.total_changes(),
        }
    }

    pub(super) fn lane(&self) -> i64 {
        self.lane.get()
    }

    /// Uses a statement. The connection keeps them by their text; within a transaction they are found without hashing it.
    fn with<T>(
        &self,
        sql: &'static str,
        act: impl FnOnce(&mut CachedStatement<'a>) -> rusqlite::Result<T>,
    ) -> Answer<T> {
        let place = self.statements.borrow().iter().position(|(text, _)| std::ptr::eq(*text, sql));
        let mut statement = match place {
            Some(place) => self.statements.borrow_mut().swap_remove(place).1,
            None => self.conn.prepare_cached(sql)?,
        };
        let answer = act(&mut statement);
        self.statements.borrow_mut().push((sql, statement));
        Ok(answer?)
    }

    /// Runs a statement; answers how many rows it changed.
    pub(super) fn run(&self, sql: &'static str, params: impl Params) -> Answer<usize> {
        self.with(sql, |statement| statement.execute(params))
    }

    /// Inserts a row and answers its number.
    pub(super) fn insert(&self, sql: &'static str, params: impl Params) -> Answer<i64> {
        self.with(sql, |statement| statement.insert(params))
    }

    /// The first row, if there is one.
    pub(super) fn one<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Answer<Option<T>> {
        self.with(sql, |statement| statement.query_row(params, read).optional())
    }

    /// All rows.
    pub(super) fn all<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Answer<Vec<T>> {
        self.with(sql, |statement| statement.query_map(params, read)?.collect())
    }

    /// A message as a column. Field names are kept in a table of their own; new ones are added in this transaction.
    pub(super) fn pack<T: Serialize + ?Sized>(&self, message: &T) -> Answer<Vec<u8>> {
        self.read_fields()?;
        let mut words = self.words.borrow_mut();
        let known = words.fields.len();
        let bytes =
            codec::encode_with(message, &mut words.fields).map_err(|error| Fault::Misused(error.to_string()))?;
        for (name, id) in words.fields.since(known).iter().zip(known + 1..) {
            self.run(ADD_FIELD, (id, &**name))?;
        }
        Ok(bytes)
    }

    /// The message of a column.
    pub(super) fn unpack<T: DeserializeOwned>(&self, row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
        self.unpack_bytes(row.get_ref(column)?.as_blob()?).map_err(|fault| match fault {
            Fault::Sqlite(error) => error,
            other => rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, format!("{other:?}").into()),
        })
    }

    /// The message of a column that was read before.
    pub(super) fn unpack_bytes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Answer<T> {
        self.read_fields()?;
        let broken = |error: CodecError| Fault::Misused(format!("a row holds what cannot be read: {error}"));
        codec::decode_with(bytes, &self.words.borrow().fields).map_err(broken)
    }

    /// Once a transaction, and only if another process has added any.
    fn read_fields(&self) -> Answer<()> {
        if self.fields_are_read.replace(true) {
            return Ok(());
        }
        let there: usize = self.one(FIELDS, [], |row| row.get(0))?.unwrap_or_default();
        if there != self.words.borrow().fields.len() {
            let names: Vec<String> = self.all(FIELD_NAMES, [], |row| row.get(0))?;
            self.words.borrow_mut().fields = names.iter().map(|name| codec::shared(name)).collect();
        }
        Ok(())
    }

    /// The number of an entity; a new one is added.
    pub(super) fn entity(&self, name: &str) -> Answer<i64> {
        if let Some(id) = self.known_entity(name)? {
            return Ok(id);
        }
        let id = self.insert(ADD_ENTITY, [name])?;
        self.words.borrow_mut().learn(id, name);
        Ok(id)
    }

    /// The number of an entity that any row may have.
    pub(super) fn known_entity(&self, name: &str) -> Answer<Option<i64>> {
        if let Some(id) = self.words.borrow().entities.get(name) {
            return Ok(Some(*id));
        }
        let id = self.one(ENTITY_ID, [name], |row| row.get(0))?;
        if let Some(id) = id {
            self.words.borrow_mut().learn(id, name);
        }
        Ok(id)
    }

    /// The record that a row names.
    pub(super) fn at(&self, entity: i64, id: String) -> Answer<RecordRef> {
        if let Some(name) = self.words.borrow().entity_names.get(&entity) {
            return Ok(RecordRef { entity: name.clone(), id });
        }
        let name: String = self.with(ENTITY_NAME, |statement| statement.query_row([entity], |row| row.get(0)))?;
        self.words.borrow_mut().learn(entity, &name);
        Ok(RecordRef { entity: name, id })
    }

    /// Counts the transaction; the last thing before it is committed. One that changed no row stays without effect, and is
    /// not written to the disk.
    pub(super) fn close(&self) -> Answer<()> {
        if self.conn.total_changes() == self.changed_before {
            return Ok(());
        }
        self.run(LANE_MOVED, (self.lane(), self.live.get()))?;
        self.run(MOVED, [])?;
        Ok(())
    }
}
