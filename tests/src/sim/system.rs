//! A system that people and hosts work on at the same time.
//!
//! The remotes of [`crate::memory`] play scenes that a test sets up by hand. This one is another thing: each of its abilities
//! can be taken away, it spells what it is given in its own way, it can lose its cursors, hide records and be refused, and it
//! tells what each write did, so that an oracle can judge it. It knows nothing of hosts that die: that is `host`.

mod answers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_host::model::Side;
use pairwise_plugin_api::{Action, Capabilities, Fields, Reason, Record, RecordRef, Value};
use serde::{Deserialize, Serialize};

/// What records are called.
pub const ENTITY: &str = "contact";
/// The fields, by canonical path. The second is an address: upper and lower case are the same, and records are matched by it.
pub const FIELDS: [&str; 4] = ["name/full", "emails/1/address", "notes/1", "titles/1/name"];
/// What a person sets where a record is nobody else's business. It does not travel.
pub const PRIVATE: &str = "private";
/// The place of the address in [`FIELDS`].
pub const ADDRESS: usize = 1;

/// Somebody who is kept in both systems.
pub type Human = u8;
/// So many humans there are at a time: numbers that differ by a multiple of it follow one another in one slot.
pub const SLOTS: Human = 20;

/// The form in which values are compared here, by rules of its own and not by the host's.
#[must_use]
pub fn plain(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whose value this is: each begins with `h`, the number of the human, and something that is no digit.
#[must_use]
pub fn whose(text: &str) -> Option<Human> {
    let plain = plain(text);
    let digits = plain.strip_prefix('h')?;
    digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// What a system does wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Weather {
    /// Nothing.
    #[default]
    Fine,
    /// It shows no record at all, as a replica that has just been started.
    Blackout,
    /// It does not show every other record.
    HalfView,
    /// Its listings end early, and say so.
    Truncated,
    /// Its listings leave out every other record that still answers when it is asked for.
    Omits,
    /// It does what it is told, and no answer arrives.
    Deaf,
    /// It does nothing, and no answer arrives.
    Dumb,
    /// It answers each write that it was not done.
    Busy,
    /// It was put aside, as a disk that is not mounted: all of its records are gone as far as it can tell, and it takes no write.
    Emptied,
}

/// What one write did.
#[derive(Debug, Clone)]
pub struct Effect {
    /// What was done.
    pub action: Action,
    /// The record.
    pub id: String,
    /// Whose it is.
    pub who: Option<Human>,
    /// Its fields before, if it was there.
    pub before: Option<Fields>,
    /// What was asked for.
    pub asked: Fields,
}

#[derive(Debug, Clone)]
enum Event {
    Here(String),
    Gone(String, Reason),
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Record>,
    /// Records that are there, but no longer in the folder that is kept in step.
    outside: BTreeSet<String>,
    events: Vec<Event>,
    /// Cursors of earlier generations are not known any more.
    generation: u32,
    counter: u64,
    keys: HashMap<String, String>,
    weather: Weather,
    poison: Option<Human>,
    busy: Option<Human>,
    unreadable: Option<Human>,
    /// How far this system's clock is ahead.
    skew: i64,
}

/// A system with contacts.
#[derive(Debug)]
pub struct System {
    /// Which side it stands on.
    pub side: Side,
    /// What it can do.
    pub abilities: Capabilities,
    /// It stores addresses in capitals, cuts white space, and ends notes with a line.
    respells: bool,
    /// It tells times in whole seconds.
    coarse: bool,
    state: Mutex<State>,
}

impl System {
    /// An empty system.
    #[must_use]
    pub fn new(side: Side, abilities: Capabilities, respells: bool, coarse: bool, skew: i64) -> Self {
        System { side, abilities, respells, coarse, state: Mutex::new(State { skew, ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A process of the host may die in the middle of a call; the system goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the system stores it.
    fn spelled(&self, field: &str, value: &Value) -> Value {
        let Some(text) = value.as_text().filter(|text| self.respells && !text.trim().is_empty()) else {
            return value.clone();
        };
        let text = text.trim();
        Value::from(match field {
            "emails/1/address" => text.to_uppercase(),
            "notes/1" => format!("{text}\r\n"),
            _ => text.to_owned(),
        })
    }

    fn stamp(&self, state: &mut State, record: &mut Record, now: i64) {
        state.counter += 1;
        record.version = Some(format!("v{}", state.counter));
        let now = now + state.skew;
        record.modified = Some(if self.coarse { now.div_euclid(1000) * 1000 } else { now });
    }

    fn add(&self, state: &mut State, id: String, fields: Fields, uid: Option<String>, now: i64) -> Record {
        state.counter += 1;
        let mut record = Record { at: RecordRef::new(ENTITY, &id), ..Record::default() };
        record.incarnation = self.abilities.incarnation.then(|| format!("i{}", state.counter));
        record.uid = self.abilities.uid.then(|| uid.unwrap_or_else(|| format!("{}-{}", self.side, state.counter)));
        record.fields = FIELDS.iter().map(|name| (*name, Value::Null)).collect();
        for (name, value) in fields.iter() {
            record.fields.set(name.clone(), self.spelled(name, value));
        }
        self.stamp(state, &mut record, now);
        record.created = record.modified;
        state.events.push(Event::Here(id.clone()));
        state.records.insert(id, record.clone());
        record
    }

    /// A person makes a record. Answers its id.
    pub fn create(&self, fields: Fields, uid: Option<String>, now: i64) -> String {
        let mut state = self.state();
        let id = format!("{}{}", self.side.name(), state.counter + 1);
        self.add(&mut state, id.clone(), fields, uid, now);
        id
    }

    /// A person edits one field.
    pub fn edit(&self, id: &str, field: &str, value: &str, now: i64) {
        let mut state = self.state();
        let Some(mut record) = state.records.get(id).cloned() else { return };
        record.fields.set(field, self.spelled(field, &Value::from(value)));
        self.stamp(&mut state, &mut record, now);
        state.records.insert(id.to_owned(), record);
        state.events.push(Event::Here(id.to_owned()));
    }

    /// A person says whether a record is private.
    pub fn set_private(&self, id: &str, private: bool, now: i64) {
        let mut state = self.state();
        let Some(mut record) = state.records.get(id).cloned() else { return };
        record.fields.set(PRIVATE, private);
        self.stamp(&mut state, &mut record, now);
        state.records.insert(id.to_owned(), record);
        state.events.push(Event::Here(id.to_owned()));
    }

    /// A person moves a record out of the folder that is kept in step, or back into it.
    pub fn set_outside(&self, id: &str, outside: bool) {
        self.state().set_outside(id, outside);
    }

    /// Whether it is in the folder that is kept in step.
    #[must_use]
    pub fn is_outside(&self, id: &str) -> bool {
        self.state().outside.contains(id)
    }

    /// Somebody deletes a record.
    pub fn delete(&self, id: &str) {
        let mut state = self.state();
        state.remove(id);
    }

    /// A person deletes a record, and makes another one that gets its id.
    pub fn reuse(&self, id: &str, fields: Fields, now: i64) {
        self.delete(id);
        let mut state = self.state();
        self.add(&mut state, id.to_owned(), fields, None, now);
    }

    /// All records, by id, as they really are.
    #[must_use]
    pub fn truth(&self) -> Vec<Record> {
        self.state().records.values().cloned().collect()
    }

    /// The records of a human, as they really are.
    #[must_use]
    pub fn records_of(&self, who: Human) -> Vec<Record> {
        self.state().records.values().filter(|record| owner(&record.fields) == Some(who)).cloned().collect()
    }

    /// What it does wrong from now on.
    pub fn weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// What it does wrong now.
    #[must_use]
    pub fn present_weather(&self) -> Weather {
        self.state().weather
    }

    /// It does no longer do this wrong.
    pub fn clear_up(&self, weather: Weather) {
        let mut state = self.state();
        if state.weather == weather {
            state.weather = Weather::Fine;
        }
    }

    /// Humans whose records are refused or cannot be read now.
    #[must_use]
    pub fn troubled(&self) -> Vec<Human> {
        let state = self.state();
        let slots = [state.poison, state.busy, state.unreadable];
        (0..Human::MAX).filter(|who| slots.iter().any(|slot| is_one_of(*who, *slot))).collect()
    }

    /// Whether there is a record that cannot be read.
    #[must_use]
    pub fn is_garbled(&self) -> bool {
        self.state().unreadable.is_some()
    }

    /// It forgets how far anybody has read.
    pub fn lose_cursors(&self) {
        self.state().generation += 1;
    }

    /// It refuses to write this human's record from now on.
    pub fn poison(&self, who: Option<Human>) {
        self.state().poison = who;
    }

    /// It is too busy for a write to this human's record from now on.
    pub fn busy(&self, who: Option<Human>) {
        self.state().busy = who;
    }

    /// Whether there is a record for which it is too busy.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state().busy.is_some()
    }

    /// A record gets another UID.
    pub fn reidentify(&self, id: &str, now: i64) {
        let mut state = self.state();
        let Some(mut record) = state.records.get(id).cloned() else { return };
        record.uid = Some(format!("{}-{}", self.side, state.counter + 1));
        self.stamp(&mut state, &mut record, now);
        state.records.insert(id.to_owned(), record);
        state.events.push(Event::Here(id.to_owned()));
    }

    /// This human's record cannot be read from now on. Announced, as it is a change.
    pub fn garble(&self, who: Option<Human>, now: i64) {
        let mut state = self.state();
        let was = std::mem::replace(&mut state.unreadable, who);
        let touched: Vec<String> = state
            .records
            .values()
            .filter(|record| owner(&record.fields).is_some_and(|owner| is_one_of(owner, who) || is_one_of(owner, was)))
            .map(|record| record.at.id.clone())
            .collect();
        for id in touched {
            let Some(mut record) = state.records.get(&id).cloned() else { continue };
            self.stamp(&mut state, &mut record, now);
            state.records.insert(id.clone(), record);
            state.events.push(Event::Here(id));
        }
    }

    /// Sets its clock.
    pub fn skew(&self, ahead: i64) {
        self.state().skew = ahead;
    }
}

/// Whether a human stands in this slot.
fn is_one_of(who: Human, slot: Option<Human>) -> bool {
    slot.is_some_and(|slot| who % SLOTS == slot % SLOTS)
}

/// Whose record this is.
#[must_use]
pub fn owner(fields: &Fields) -> Option<Human> {
    fields.iter().find_map(|(_, value)| value.as_text().and_then(whose))
}

/// Whether a person has said that it is nobody else's business.
#[must_use]
pub fn is_private(record: &Record) -> bool {
    record.fields.get(PRIVATE) == Some(&Value::Bool(true))
}
