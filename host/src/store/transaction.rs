//! One transaction: the connection, the lane it concerns, and what is written at its end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pairwise_plugin_api::{Millis, RecordRef};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::model::LaneKey;

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

/// Entities by number and by name. Nothing is ever taken out of the table, so what was committed once stays right.
#[derive(Debug, Default)]
pub(super) struct Entities {
    ids: HashMap<String, i64>,
    names: HashMap<i64, String>,
}

impl Entities {
    fn learn(&mut self, id: i64, name: &str) {
        self.ids.insert(name.to_owned(), id);
        self.names.insert(id, name.to_owned());
    }

    pub(super) fn forget(&mut self) {
        *self = Entities::default();
    }
}

/// One transaction. All statements are prepared once a connection and kept.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    entities: &'a RefCell<Entities>,
    /// The lane that is written to; set late by decisions, which first look up what they concern.
    pub(super) lane: Cell<i64>,
    /// When the transaction began.
    pub(super) now: Millis,
    /// By how many links more or fewer take part.
    pub(super) live: Cell<i64>,
}

statements! {
    ENTITY_ID = "SELECT id FROM entity WHERE name = ?1";
    ENTITY_NAME = "SELECT name FROM entity WHERE id = ?1";
    ADD_ENTITY = "INSERT INTO entity (name) VALUES (?1)";
    LANE_MOVED = "UPDATE lane SET serial = serial + 1, live_links = live_links + ?2 WHERE id = ?1";
    MOVED = "UPDATE meta SET serial = serial + 1";
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a Connection, entities: &'a RefCell<Entities>, lane: i64, now: Millis) -> Self {
        Tx { conn, entities, lane: Cell::new(lane), now, live: Cell::new(0) }
    }

    pub(super) fn lane(&self) -> i64 {
        self.lane.get()
    }

    /// Runs a statement; answers how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Answer<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// Inserts a row and answers its number.
    pub(super) fn insert(&self, sql: &str, params: impl Params) -> Answer<i64> {
        Ok(self.conn.prepare_cached(sql)?.insert(params)?)
    }

    /// The first row, if there is one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Answer<Option<T>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// All rows.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Answer<Vec<T>> {
        Ok(self.conn.prepare_cached(sql)?.query_map(params, read)?.collect::<Result<_, _>>()?)
    }

    /// The number of an entity; a new one is added.
    pub(super) fn entity(&self, name: &str) -> Answer<i64> {
        if let Some(id) = self.known_entity(name)? {
            return Ok(id);
        }
        let id = self.insert(ADD_ENTITY, [name])?;
        self.entities.borrow_mut().learn(id, name);
        Ok(id)
    }

    /// The number of an entity that any row may have.
    pub(super) fn known_entity(&self, name: &str) -> Answer<Option<i64>> {
        if let Some(id) = self.entities.borrow().ids.get(name) {
            return Ok(Some(*id));
        }
        let id = self.one(ENTITY_ID, [name], |row| row.get(0))?;
        if let Some(id) = id {
            self.entities.borrow_mut().learn(id, name);
        }
        Ok(id)
    }

    /// The record that a row names.
    pub(super) fn at(&self, entity: i64, id: String) -> Answer<RecordRef> {
        if let Some(name) = self.entities.borrow().names.get(&entity) {
            return Ok(RecordRef { entity: name.clone(), id });
        }
        let name: String = self.conn.prepare_cached(ENTITY_NAME)?.query_row([entity], |row| row.get(0))?;
        self.entities.borrow_mut().learn(entity, &name);
        Ok(RecordRef { entity: name, id })
    }

    /// Counts the transaction; the last thing before it is committed.
    pub(super) fn close(&self) -> Answer<()> {
        self.run(LANE_MOVED, (self.lane(), self.live.get()))?;
        self.run(MOVED, [])?;
        Ok(())
    }
}
