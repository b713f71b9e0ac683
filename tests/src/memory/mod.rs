//! A remote system in memory: what the pipeline's own tests talk to, where a process would only be in the way.
//!
//! A plain one has records of one entity and is listed. [`Memory::crm`] has accounts beside its contacts, a group that a
//! contact may belong to, and a feed; [`Memory::mailbox`] has folders, deleted items and a feed.

mod remote;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_plugin_api::{
    Action, Capabilities, Condition, CreateKey, Fields, Name, Outcome, Reason, Record, RecordRef, Status, Value, Write,
};

/// The contacts of a plain system and of a mailbox.
pub const ENTITY: &str = "contact";
/// The contacts of a [`Memory::crm`].
pub const CONTACTS: &str = "contacts";
/// What they point at.
pub const ACCOUNTS: &str = "accounts";

/// Fields of a contact, by canonical path.
pub const FIELDS: &[&str] = &[
    "name/full",
    "name/given",
    "name/surname",
    "emails/1/address",
    "emails/2/address",
    "phones/work/number",
    "titles/1/name",
    "organizations/1/name",
    "notes/1",
];

/// The field of a [`Memory::crm`] that shows the account's name, in the place of `organizations/1/name`.
pub const ACCOUNT_NAME: &str = "AccountName";

/// What happens to the next calls of `write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The call fails before it does anything.
    NotSent,
    /// The same, and it may go better the next time.
    Busy,
    /// The work is done, but the answer is lost.
    AnswerLost,
    /// Nothing is done, and nobody knows.
    Vanished,
    /// Of each write nothing is done but the time of the change, and nobody knows.
    Touched,
    /// The first write of the call is refused for good.
    RefusesFirst,
    /// A person was faster: edits this record in this field.
    Edited(String, &'static str, &'static str),
}

/// What a feed tells of a record since a point in time.
#[derive(Debug, Clone)]
enum Event {
    Here(String),
    Gone(RecordRef, Reason),
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Record>,
    trash: BTreeMap<String, Record>,
    members: BTreeSet<String>,
    folders: Vec<String>,
    events: Vec<Event>,
    keys: BTreeMap<String, String>,
    versions: u64,
    clock: i64,
    server_time: Option<i64>,
    hidden: Vec<String>,
    unwritable: Vec<Name>,
    numbers: Vec<Name>,
    conditions: Vec<Condition>,
    incomplete: bool,
    troubles: VecDeque<Trouble>,
    writes: Vec<Write>,
    calls: Vec<&'static str>,
    principals: BTreeSet<String>,
}

/// A system with contacts.
#[derive(Debug)]
pub struct Memory {
    name: String,
    /// What it can do.
    pub abilities: Capabilities,
    /// Contacts belong to accounts.
    crm: bool,
    entity: &'static str,
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
        Memory { name: name.to_owned(), abilities, crm: false, entity: ENTITY, state: Mutex::default() }
    }

    /// A system with accounts, a group and a feed, that shares no UIDs and keeps no keys.
    #[must_use]
    pub fn crm(name: &str) -> Self {
        let mut memory = Memory::new(name);
        (memory.crm, memory.entity) = (true, CONTACTS);
        memory.abilities = Capabilities {
            feed: true,
            tombstones: true,
            membership: true,
            uid: false,
            create_key: CreateKey::None,
            ..memory.abilities
        };
        memory
    }

    /// A system with folders, deleted items and a feed.
    #[must_use]
    pub fn mailbox(name: &str) -> Self {
        let mut memory = Memory::new(name);
        memory.abilities = Capabilities {
            feed: true,
            tombstones: true,
            trash: true,
            containers: true,
            create_containers: true,
            uid: false,
            create_key: CreateKey::Searchable,
            ..memory.abilities
        };
        memory
    }

    /// What the system calls a field.
    fn native<'a>(&self, path: &'a str) -> &'a str {
        if self.crm && path == "organizations/1/name" { ACCOUNT_NAME } else { path }
    }

    /// The fields of an empty contact.
    fn fields(&self) -> Fields {
        FIELDS.iter().map(|path| (self.native(path), Value::Null)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person makes a contact; where there is a group, in it.
    pub fn put(&self, id: &str, fields: &[(&str, &str)]) {
        self.put_outside(id, fields);
        if self.abilities.membership {
            self.join(id);
        }
    }

    /// A person makes a contact that belongs to no group.
    pub fn put_outside(&self, id: &str, fields: &[(&str, &str)]) {
        let mut state = self.state();
        let mut record = Record { at: RecordRef::new(self.entity, id), ..Record::default() };
        record.fields = self.fields();
        for (name, value) in fields {
            record.fields.set(self.native(name), *value);
        }
        state.add(record);
    }

    /// A person makes an account, at this time.
    pub fn put_account(&self, id: &str, name: &str, created: i64) {
        let mut state = self.state();
        let fields = [(ACCOUNT_NAME, Value::from(name))].into_iter().collect();
        state.add(Record { at: RecordRef::new(ACCOUNTS, id), fields, ..Record::default() });
        if let Some(record) = state.records.get_mut(id) {
            record.created = Some(created);
        }
    }

    /// A person edits one field.
    ///
    /// # Panics
    /// If there is no such record.
    pub fn edit(&self, id: &str, field: &str, value: &str) {
        self.state().edit(id, self.native(field), value);
    }

    /// A person deletes a record; where there are deleted items, it lies there.
    pub fn delete(&self, id: &str) {
        let mut state = self.state();
        state.remove(id, Reason::Deleted);
    }

    /// A person puts a contact into the group.
    pub fn join(&self, id: &str) {
        let mut state = self.state();
        state.members.insert(id.to_owned());
        state.events.push(Event::Here(id.to_owned()));
    }

    /// A person takes a contact out of the group.
    pub fn leave(&self, id: &str) {
        let mut state = self.state();
        state.members.remove(id);
        state.events.push(Event::Gone(RecordRef::new(self.entity, id), Reason::LeftScope));
    }

    /// A person moves an entry to another folder, or back (`None`).
    ///
    /// # Panics
    /// If there is no such record.
    #[allow(clippy::expect_used, reason = "a test that moves what is not there is wrong")]
    pub fn file(&self, id: &str, folder: Option<&str>) {
        let mut state = self.state();
        let mut record = state.records.get(id).cloned().expect("the record is there");
        state.place(&mut record, folder);
        state.records.insert(id.to_owned(), record);
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

    /// Moves the system's clock, which stamps records.
    pub fn at(&self, time: i64) {
        self.state().clock = time;
    }

    /// The time that the server tells with its pages.
    pub fn tell_time(&self, time: i64) {
        self.state().server_time = Some(time);
    }

    /// Records that listings leave out although they are there.
    pub fn hide(&self, ids: &[&str]) {
        self.state().hidden = ids.iter().map(|id| (*id).to_owned()).collect();
    }

    /// Fields that nobody may write.
    pub fn lock(&self, fields: &[&str]) {
        self.state().unwritable = fields.iter().map(|name| Name::from(*name)).collect();
    }

    /// Fields that hold numbers from now on.
    pub fn count_in(&self, paths: &[&str]) {
        self.state().numbers = paths.iter().map(|path| Name::from(*path)).collect();
    }

    /// What the system says about a record from now on.
    ///
    /// # Panics
    /// If there is no such record.
    #[allow(clippy::expect_used, reason = "a test that speaks of what is not there is wrong")]
    pub fn remark(&self, id: &str, condition: Condition) {
        self.state().records.get_mut(id).expect("the record is there").conditions.push(condition);
    }

    /// What `check` answers.
    pub fn complain(&self, condition: Condition) {
        self.state().conditions.push(condition);
    }

    /// Whether listings say that they are not complete.
    pub fn incomplete(&self, incomplete: bool) {
        self.state().incomplete = incomplete;
    }

    /// The next call of `write` goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.state().troubles.push_back(trouble);
    }

    /// What was to go wrong does not.
    pub fn calm(&self) {
        self.state().troubles.clear();
    }

    /// The ids of all contacts, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.ids_of(self.entity)
    }

    /// The ids of all records of an entity, in order.
    #[must_use]
    pub fn ids_of(&self, entity: &str) -> Vec<String> {
        let state = self.state();
        let records = state.records.values().filter(|record| record.at.entity == entity);
        records.map(|record| record.at.id.clone()).collect()
    }

    /// The ids in the group, in order.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        self.state().members.iter().cloned().collect()
    }

    /// The ids in the deleted items, in order.
    #[must_use]
    pub fn trashed(&self) -> Vec<String> {
        self.state().trash.keys().cloned().collect()
    }

    /// The folder that a record lies in.
    #[must_use]
    pub fn folder(&self, id: &str) -> Option<String> {
        self.state().records.get(id).and_then(|record| record.container.clone())
    }

    /// A field of a record, also of one in the deleted items; empty where the record or the field is not there.
    #[must_use]
    pub fn field(&self, id: &str, field: &str) -> String {
        let state = self.state();
        let record = state.records.get(id).or_else(|| state.trash.get(id));
        record.and_then(|record| record.fields.get(self.native(field))).map(ToString::to_string).unwrap_or_default()
    }

    /// The values of one field over all contacts, sorted.
    #[must_use]
    pub fn column(&self, field: &str) -> Vec<String> {
        let mut values: Vec<String> = self.ids().iter().map(|id| self.field(id, field)).collect();
        values.sort_unstable();
        values
    }

    /// The one contact whose field holds this.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[must_use]
    pub fn one(&self, field: &str, value: &str) -> String {
        let ids: Vec<String> = self.ids().into_iter().filter(|id| self.field(id, field) == value).collect();
        assert_eq!(ids.len(), 1, "`{}` holds {ids:?} with {field} = {value}", self.name);
        ids.into_iter().next().unwrap_or_default()
    }

    /// Writes since the last time this was asked.
    pub fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.state().writes)
    }

    /// Names of the calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state().calls)
    }

    /// On whose behalf calls were made.
    #[must_use]
    pub fn principals(&self) -> Vec<String> {
        self.state().principals.iter().cloned().collect()
    }
}

impl State {
    fn stamp(&mut self, record: &mut Record) {
        self.versions += 1;
        record.version = Some(self.versions.to_string());
        record.modified = Some(self.clock);
    }

    #[allow(clippy::expect_used, reason = "a test that edits what is not there is wrong")]
    fn edit(&mut self, id: &str, field: &str, value: &str) {
        let mut record = self.records.get(id).cloned().expect("the record is there");
        record.fields.set(field, value);
        self.stamp(&mut record);
        self.records.insert(id.to_owned(), record);
        self.events.push(Event::Here(id.to_owned()));
    }

    /// A new record.
    fn add(&mut self, mut record: Record) {
        record.incarnation = Some(format!("born-{}", self.versions + 1));
        record.created = Some(self.clock);
        self.stamp(&mut record);
        self.events.push(Event::Here(record.at.id.clone()));
        self.records.insert(record.at.id.clone(), record);
    }

    fn remove(&mut self, id: &str, reason: Reason) -> Option<Record> {
        let record = self.records.remove(id)?;
        self.members.remove(id);
        self.events.push(Event::Gone(record.at.clone(), reason));
        self.trash.insert(id.to_owned(), record.clone());
        Some(record)
    }

    /// Moves a record to a folder; those with a folder of their own are outside of the scope.
    fn place(&mut self, record: &mut Record, folder: Option<&str>) {
        record.container = folder.map(str::to_owned);
        self.stamp(record);
        self.events.push(match folder {
            None => Event::Here(record.at.id.clone()),
            Some(_) => Event::Gone(record.at.clone(), Reason::LeftScope),
        });
    }

    fn apply(&mut self, write: &Write, joins: bool, crm: bool) -> Outcome {
        self.writes.push(write.clone());
        let current = self.records.get(&write.at.id).cloned();
        match (write.action, current) {
            (Action::Create, _) => self.create(write, joins, crm),
            (_, None) => Outcome::of(Status::Gone),
            (Action::Include, Some(record)) => {
                self.members.insert(write.at.id.clone());
                self.events.push(Event::Here(write.at.id.clone()));
                Outcome::applied(record)
            }
            (Action::Exclude, Some(record)) => {
                self.members.remove(&write.at.id);
                self.events.push(Event::Gone(record.at.clone(), Reason::LeftScope));
                Outcome::applied(record)
            }
            (_, Some(current)) if write.expect.is_some() && write.expect != current.version => {
                Outcome { record: Some(current), ..Outcome::of(Status::Conflict) }
            }
            (Action::Update, Some(mut record)) => {
                let refused = self.overwrite(&mut record.fields, &write.fields);
                self.stamp(&mut record);
                self.events.push(Event::Here(write.at.id.clone()));
                if let Some(folder) = &write.container {
                    self.place(&mut record, Some(folder));
                }
                self.records.insert(write.at.id.clone(), record.clone());
                Outcome { refused_fields: refused, ..Outcome::applied(record) }
            }
            (_, Some(_)) => self.remove(&write.at.id, Reason::Deleted).map_or_else(Outcome::default, Outcome::applied),
        }
    }

    fn create(&mut self, write: &Write, joins: bool, crm: bool) -> Outcome {
        if let Some(record) = self.keys.get(&write.key).and_then(|id| self.records.get(id)) {
            return Outcome { record: Some(record.clone()), ..Outcome::of(Status::Exists) };
        }
        let contact = write.at.entity != ACCOUNTS;
        let account = write.fields.text("Account").and_then(|id| self.records.get(id)).cloned();
        if crm && contact && account.is_none() {
            return Outcome::refused("no_account", "a contact needs an account");
        }
        let id = format!("new-{:04}", self.versions + 1);
        let mut record =
            Record { at: RecordRef::new(&*write.at.entity, &id), uid: write.uid.clone(), ..Record::default() };
        if contact {
            record.fields = FIELDS.iter().map(|name| (*name, Value::Null)).collect();
            if crm {
                record.fields.remove("organizations/1/name");
            }
        }
        let refused = self.overwrite(&mut record.fields, &write.fields);
        if let Some(account) = account {
            record.fields.set(ACCOUNT_NAME, account.fields.text(ACCOUNT_NAME).unwrap_or_default());
        }
        if joins && contact {
            self.members.insert(id.clone());
        }
        self.keys.insert(write.key.clone(), id.clone());
        self.add(record);
        let record = self.records.get(&id).cloned().unwrap_or_default();
        Outcome { refused_fields: refused, ..Outcome::applied(record) }
    }

    /// Answers what may not be written.
    fn overwrite(&self, fields: &mut Fields, with: &Fields) -> Vec<Name> {
        let (refused, taken): (Vec<_>, Vec<_>) = with.iter().partition(|(name, _)| self.unwritable.contains(name));
        for (name, value) in taken {
            fields.set(name.clone(), value.clone());
        }
        refused.into_iter().map(|(name, _)| name.clone()).collect()
    }
}
