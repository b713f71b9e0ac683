//! A remote system in memory: what the pipeline's own tests talk to, where a process would only be in the way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_host::model::Remote;
use pairwise_plugin_api::ops::{
    AcknowledgeRequest, ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest,
    EnsureContainerRequest, FindRequest, GetRequest, ListDetail, ListRequest, LoginRequest, LoginResponse,
    SettingsRequest, StampRequest, StampResponse, UsersRequest, UsersResponse, WriteRequest,
};
use pairwise_plugin_api::{
    Action, Capabilities, Catalogue, Change, Class, Condition, CreateKey, Cursor, Entity, EntityKind, Failure, Field,
    FieldType, Fields, Found, Outcome, Page, Record, RecordRef, Status, Value, Write,
};

/// The one entity.
pub const ENTITY: &str = "contact";

/// Its fields, by canonical path.
pub const FIELDS: &[&str] =
    &["name/full", "emails/1/address", "emails/2/address", "phones/work/number", "titles/1/name", "notes/1"];

/// What happens to the next calls of `write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The call fails before it does anything.
    NotSent,
    /// The work is done, but the answer is lost.
    AnswerLost,
    /// Nothing is done, and nobody knows.
    Vanished,
    /// The first write of the call is refused for good.
    RefusesFirst,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Record>,
    keys: BTreeMap<String, String>,
    versions: u64,
    clock: i64,
    hidden: Vec<String>,
    incomplete: bool,
    troubles: VecDeque<Trouble>,
    writes: Vec<Write>,
    calls: Vec<&'static str>,
}

/// A system with records of one entity.
#[derive(Debug)]
pub struct Memory {
    name: String,
    /// What it can do.
    pub abilities: Capabilities,
    state: Mutex<State>,
}

impl Memory {
    /// An empty system with listings, authoritative reads, conditional writes and create keys.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let abilities = Capabilities {
            authoritative_get: true,
            conditional_writes: true,
            create_key: CreateKey::Takes,
            incarnation: true,
            uid: true,
            largest_batch: 50,
            ..Capabilities::default()
        };
        Memory { name: name.to_owned(), abilities, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person makes a record.
    pub fn put(&self, id: &str, fields: &[(&str, &str)]) {
        let mut state = self.state();
        let mut record = Record { at: RecordRef::new(ENTITY, id), ..Record::default() };
        record.incarnation = Some(format!("born-{}", state.versions + 1));
        record.fields = FIELDS.iter().map(|name| (*name, Value::Null)).collect();
        for (name, value) in fields {
            record.fields.set(*name, *value);
        }
        state.stamp(&mut record);
        state.records.insert(id.to_owned(), record);
    }

    /// A person edits one field.
    ///
    /// # Panics
    /// If there is no such record.
    #[allow(clippy::expect_used, reason = "a test that edits what is not there is wrong")]
    pub fn edit(&self, id: &str, field: &str, value: &str) {
        let mut state = self.state();
        let mut record = state.records.get(id).cloned().expect("the record is there");
        record.fields.set(field, value);
        state.stamp(&mut record);
        state.records.insert(id.to_owned(), record);
    }

    /// A person deletes a record.
    pub fn delete(&self, id: &str) {
        self.state().records.remove(id);
    }

    /// A person moves a record: it has another id, and is the same.
    ///
    /// # Panics
    /// If there is no such record.
    #[allow(clippy::expect_used, reason = "a test that moves what is not there is wrong")]
    pub fn rename(&self, from: &str, to: &str) {
        let mut state = self.state();
        let mut record = state.records.remove(from).expect("the record is there");
        record.at.id = to.to_owned();
        state.stamp(&mut record);
        state.records.insert(to.to_owned(), record);
    }

    /// Moves the system's clock.
    pub fn at(&self, time: i64) {
        self.state().clock = time;
    }

    /// Records that listings leave out although they are there.
    pub fn hide(&self, ids: &[&str]) {
        self.state().hidden = ids.iter().map(|id| (*id).to_owned()).collect();
    }

    /// Whether listings say that they are not complete.
    pub fn incomplete(&self, incomplete: bool) {
        self.state().incomplete = incomplete;
    }

    /// The next call of `write` goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.state().troubles.push_back(trouble);
    }

    /// All ids, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.state().records.keys().cloned().collect()
    }

    /// A field of a record; empty where the record or the field is not there.
    #[must_use]
    pub fn field(&self, id: &str, field: &str) -> String {
        self.state()
            .records
            .get(id)
            .and_then(|record| record.fields.get(field))
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// The values of one field over all records, sorted.
    #[must_use]
    pub fn column(&self, field: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .state()
            .records
            .values()
            .map(|record| record.fields.get(field).map(ToString::to_string).unwrap_or_default())
            .collect();
        values.sort_unstable();
        values
    }

    /// Writes since the last time this was asked.
    pub fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.state().writes)
    }

    /// Names of the calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state().calls)
    }
}

impl State {
    fn stamp(&mut self, record: &mut Record) {
        self.versions += 1;
        record.version = Some(self.versions.to_string());
        record.modified = Some(self.clock);
    }

    fn apply(&mut self, write: &Write) -> Outcome {
        self.writes.push(write.clone());
        let current = self.records.get(&write.at.id).cloned();
        match (write.action, current) {
            (Action::Create, _) => {
                if let Some(record) = self.keys.get(&write.key).and_then(|id| self.records.get(id)) {
                    return Outcome { record: Some(record.clone()), ..Outcome::of(Status::Exists) };
                }
                let id = format!("new-{:04}", self.versions + 1);
                let mut record =
                    Record { at: RecordRef::new(ENTITY, &id), uid: write.uid.clone(), ..Record::default() };
                record.incarnation = Some(format!("born-{}", self.versions + 1));
                record.fields = FIELDS.iter().map(|name| (*name, Value::Null)).collect();
                overwrite(&mut record.fields, &write.fields);
                self.stamp(&mut record);
                self.keys.insert(write.key.clone(), id.clone());
                self.records.insert(id, record.clone());
                Outcome::applied(record)
            }
            (_, None) => Outcome::of(Status::Gone),
            (_, Some(current)) if write.expect.is_some() && write.expect != current.version => {
                Outcome { record: Some(current), ..Outcome::of(Status::Conflict) }
            }
            (Action::Update, Some(mut record)) => {
                overwrite(&mut record.fields, &write.fields);
                self.stamp(&mut record);
                self.records.insert(write.at.id.clone(), record.clone());
                Outcome::applied(record)
            }
            (_, Some(record)) => {
                self.records.remove(&write.at.id);
                Outcome::applied(record)
            }
        }
    }
}

fn overwrite(fields: &mut Fields, with: &Fields) {
    for (name, value) in with.iter() {
        fields.set(name.clone(), value.clone());
    }
}

fn position(cursor: Option<&Cursor>) -> usize {
    cursor.and_then(|cursor| std::str::from_utf8(&cursor.0).ok()).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Remote for Memory {
    fn describe(&self) -> Result<Description, Failure> {
        Ok(Description { capabilities: self.abilities.clone(), target: self.name.clone(), identity: self.name.clone() })
    }

    fn discover(&self, _: &DiscoverRequest) -> Result<Catalogue, Failure> {
        let field = |path: &&str| {
            let field = Field::new(*path, FieldType::Text).path(*path);
            if path.starts_with("emails/") { field.caseless() } else { field }
        };
        let fields = FIELDS.iter().map(field).collect();
        let entity = Entity {
            name: ENTITY.into(),
            label: "Contact".into(),
            kind: EntityKind::Contact,
            fields,
            selectors: vec![],
        };
        Ok(Catalogue { entities: vec![entity] })
    }

    fn login(&self, _: &LoginRequest) -> Result<LoginResponse, Failure> {
        Ok(LoginResponse::default())
    }

    fn check(&self, _: &CheckRequest) -> Result<Vec<Condition>, Failure> {
        Ok(Vec::new())
    }

    fn users(&self, _: &UsersRequest) -> Result<UsersResponse, Failure> {
        Err(Failure::unimplemented("users"))
    }

    fn settings(&self, _: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        Err(Failure::unimplemented("settings"))
    }

    fn containers(&self, _: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        Err(Failure::unimplemented("containers"))
    }

    fn ensure_container(&self, _: &EnsureContainerRequest) -> Result<Container, Failure> {
        Err(Failure::unimplemented("ensure_container"))
    }

    fn changes(&self, _: &ChangesRequest) -> Result<Page, Failure> {
        Err(Failure::unimplemented("changes"))
    }

    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        let mut state = self.state();
        state.calls.push("list");
        let start = position(request.page.as_ref());
        let shown: Vec<&Record> =
            state.records.values().filter(|record| !state.hidden.contains(&record.at.id)).collect();
        let changes: Vec<Change> = shown
            .iter()
            .skip(start)
            .take(request.limit as usize)
            .map(|record| {
                Change::upsert(match request.detail {
                    ListDetail::Full => (*record).clone(),
                    ListDetail::Ids => {
                        Record { at: record.at.clone(), version: record.version.clone(), ..Record::default() }
                    }
                })
            })
            .collect();
        let end = start + changes.len();
        let more = end < shown.len();
        Ok(Page {
            changes,
            next: Some(Cursor(end.to_string().into_bytes())),
            more,
            complete: !more && !state.incomplete,
            same_store: true,
            server_time: None,
        })
    }

    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        let mut state = self.state();
        state.calls.push("get");
        Ok(request
            .at
            .iter()
            .map(|at| state.records.get(&at.id).cloned().map_or_else(Found::gone, Found::here))
            .collect())
    }

    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        let mut state = self.state();
        state.calls.push("find");
        let find = |value: &String| -> Vec<Record> {
            if request.by.is_empty() {
                return state.keys.get(value).and_then(|id| state.records.get(id)).cloned().into_iter().collect();
            }
            let hit = |record: &&Record| {
                request.by.iter().any(|name| match &**name {
                    "uid" => record.uid.as_deref() == Some(value),
                    name => record.fields.text(name).is_some_and(|text| text.eq_ignore_ascii_case(value)),
                })
            };
            state.records.values().filter(hit).cloned().collect()
        };
        Ok(request.values.iter().map(find).collect())
    }

    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        let mut state = self.state();
        state.calls.push("write");
        let trouble = state.troubles.pop_front();
        let lost = || Failure::new(Class::Crashed, "the connection broke").unknown_outcome();
        match trouble {
            Some(Trouble::NotSent) => return Err(Failure::new(Class::Refused, "out of order")),
            Some(Trouble::Vanished) => return Err(lost()),
            _ => {}
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (place, write) in request.writes.iter().enumerate() {
            let refused = trouble == Some(Trouble::RefusesFirst) && place == 0;
            outcomes.push(if refused {
                Outcome::refused("too_long", "the name is too long")
            } else {
                state.apply(write)
            });
        }
        if trouble == Some(Trouble::AnswerLost) { Err(lost()) } else { Ok(outcomes) }
    }

    fn acknowledge(&self, _: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        Err(Failure::unimplemented("acknowledge"))
    }

    fn stamp(&self, _: &StampRequest) -> Result<StampResponse, Failure> {
        Err(Failure::unimplemented("stamp"))
    }
}
