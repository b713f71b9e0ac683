//! What the system holds: records with what it knows about each, in the order of their last change.

use std::collections::{BTreeMap, BTreeSet};

use pairwise_plugin_api::ops::{Acknowledgement, Scope};
use pairwise_plugin_api::{Change, Condition, Millis, Participant, Reason, RecordRef, Value};
use serde::{Deserialize, Serialize};

use crate::settings::{Config, RecordSetting};

/// One record as a person would write it down.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the members of `pairwise_plugin_api::Record`, and the groups that it belongs to")]
pub struct Content {
    #[serde(flatten)]
    pub at: RecordRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    pub fields: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub participants: Vec<Participant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl From<RecordSetting> for Content {
    fn from(setting: RecordSetting) -> Self {
        Content {
            at: RecordRef::new(setting.entity, setting.id),
            uid: setting.uid,
            container: setting.container,
            groups: setting.groups,
            fields: setting.fields,
            participants: Vec::new(),
            conditions: setting.conditions.into_iter().map(Condition::from).collect(),
        }
    }
}

impl Content {
    /// Whether a scope, its selectors united, has this record in it.
    pub fn belongs_to(&self, scope: &Scope) -> bool {
        let names = |selected: &Value, name: &str| match selected {
            Value::List(list) => list.iter().any(|value| value.as_text() == Some(name)),
            value => value.as_text() == Some(name),
        };
        scope.is_empty()
            || scope.iter().any(|(selector, selected)| match selector.as_str() {
                "folder" => self.container.as_ref().is_some_and(|name| names(selected, name)),
                "group" => self.groups.iter().any(|name| names(selected, name)),
                _ => false,
            })
    }

    fn digest(&self) -> u64 {
        digest(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}

/// FNV-1a: the same in every process, which is all that is asked of it.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What the system knows about a record beside its content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The number of its last change; its version.
    pub changed: u64,
    /// The number of the change that made it; its incarnation.
    pub born: u64,
    /// When that was.
    pub created: Millis,
    /// When the last change was.
    pub modified: Millis,
    /// The idempotency key that it was created with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Of the content at that change: any other is an edit in the file.
    digest: u64,
}

/// A record with its facts.
#[derive(Debug, Clone)]
pub struct Row {
    /// What people see.
    pub content: Content,
    /// What the system knows.
    pub facts: Facts,
}

/// The system's whole memory, as the state file holds it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// For people to look at and to edit: what is changed here, added or taken out is a change of the system.
    pub records: Vec<Content>,
    /// The mock's own notes: leave them alone.
    pub notes: Notes,
}

/// What the system remembers beside its records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named by what they are")]
pub struct Notes {
    /// Tells this store from any other.
    pub store: String,
    /// How many changes there were.
    pub sequence: u64,
    facts: Vec<(RecordRef, Facts)>,
    /// Removed records, with the number of the change that removed them.
    gone: Vec<(RecordRef, u64)>,
    pub trash: Vec<Content>,
    pub containers: BTreeSet<String>,
    pub stamps: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, String>,
    pub acknowledged: Vec<Acknowledgement>,
}

/// The records, and what is remembered beside them.
#[derive(Debug, Default)]
pub struct World {
    /// All that is there.
    pub rows: BTreeMap<RecordRef, Row>,
    gone: BTreeMap<RecordRef, u64>,
    /// Who changed when: each record that is or was there, once.
    log: BTreeMap<u64, RecordRef>,
    keys: BTreeMap<String, RecordRef>,
    uids: BTreeMap<String, RecordRef>,
    /// Everything else.
    pub notes: Notes,
}

impl World {
    /// The world that the settings describe.
    pub fn new(config: &Config, store: String, now: Millis) -> World {
        let mut world = World { notes: Notes { store, ..Notes::default() }, ..World::default() };
        for content in crate::people::generate(&config.generate.clone().unwrap_or_default()) {
            world.put(content, String::new(), now);
        }
        for setting in &config.records {
            world.put(setting.clone().into(), String::new(), now);
        }
        world
    }

    /// The world that a state file holds. What differs from the notes was edited by a person, just now.
    pub fn from_state(state: State, now: Millis) -> World {
        let State { records, mut notes } = state;
        let mut facts: BTreeMap<RecordRef, Facts> = std::mem::take(&mut notes.facts).into_iter().collect();
        let mut world =
            World { gone: std::mem::take(&mut notes.gone).into_iter().collect(), notes, ..World::default() };
        world.log = world.gone.iter().map(|(at, number)| (*number, at.clone())).collect();
        let mut edited = Vec::new();
        for content in records {
            match facts.remove(&content.at) {
                Some(facts) if facts.digest == content.digest() => {
                    world.log.insert(facts.changed, content.at.clone());
                    world.index(&content, &facts);
                    world.rows.insert(content.at.clone(), Row { content, facts });
                }
                Some(facts) => {
                    world.rows.insert(content.at.clone(), Row { content: content.clone(), facts });
                    edited.push(content);
                }
                None => edited.push(content),
            }
        }
        for content in edited {
            world.put(content, String::new(), now);
        }
        for (at, facts) in facts {
            world.rows.insert(at.clone(), Row { content: Content::default(), facts });
            world.take(&at);
        }
        world
    }

    /// What goes into the state file.
    pub fn state(&self) -> State {
        let mut notes = self.notes.clone();
        notes.facts = self.rows.iter().map(|(at, row)| (at.clone(), row.facts.clone())).collect();
        notes.gone = self.gone.iter().map(|(at, number)| (at.clone(), *number)).collect();
        State { records: self.rows.values().map(|row| row.content.clone()).collect(), notes }
    }

    /// Puts a record where its id says, new or changed; the key is that of a create.
    pub fn put(&mut self, content: Content, key: String, now: Millis) {
        self.notes.sequence += 1;
        let number = self.notes.sequence;
        let before = self.rows.remove(&content.at).map(|row| {
            self.forget(&row);
            row.facts
        });
        if let Some(number) = self.gone.remove(&content.at) {
            self.log.remove(&number);
        }
        let facts = match before {
            Some(facts) => Facts { changed: number, modified: now, digest: content.digest(), ..facts },
            None => {
                let digest = content.digest();
                Facts { changed: number, born: number, created: now, modified: now, key, digest }
            }
        };
        self.log.insert(number, content.at.clone());
        self.index(&content, &facts);
        self.rows.insert(content.at.clone(), Row { content, facts });
    }

    /// Takes a record away.
    pub fn take(&mut self, at: &RecordRef) -> Option<Row> {
        let row = self.rows.remove(at)?;
        self.forget(&row);
        self.notes.sequence += 1;
        self.log.insert(self.notes.sequence, at.clone());
        self.gone.insert(at.clone(), self.notes.sequence);
        Some(row)
    }

    fn index(&mut self, content: &Content, facts: &Facts) {
        if !facts.key.is_empty() {
            self.keys.insert(facts.key.clone(), content.at.clone());
        }
        if let Some(uid) = &content.uid {
            self.uids.insert(uid.clone(), content.at.clone());
        }
    }

    fn forget(&mut self, row: &Row) {
        self.log.remove(&row.facts.changed);
        self.keys.remove(&row.facts.key);
        if let Some(uid) = &row.content.uid {
            self.uids.remove(uid);
        }
    }

    /// The record that was created with a key.
    pub fn by_key(&self, key: &str) -> Option<&Row> {
        self.rows.get(self.keys.get(key)?)
    }

    /// The record with a UID.
    pub fn by_uid(&self, uid: &str) -> Option<&Row> {
        self.rows.get(self.uids.get(uid)?)
    }

    /// An id for a new record: never used before, or that of the record that was removed first.
    pub fn new_id(&self, entity: &str, reuse: bool) -> String {
        let removed = self.gone.iter().filter(|(at, _)| at.entity == entity).min_by_key(|(_, number)| **number);
        if let (true, Some((at, _))) = (reuse, removed) {
            return at.id.clone();
        }
        let initial = entity.chars().next().unwrap_or('r');
        let mut number = self.notes.sequence;
        loop {
            number += 1;
            let at = RecordRef::new(entity, format!("{initial}-n{number}"));
            if !self.rows.contains_key(&at) && !self.gone.contains_key(&at) {
                return at.id;
            }
        }
    }

    /// Whose last change came after number `since`, oldest first, with the number of that change.
    pub fn changed_since(&self, since: u64) -> impl Iterator<Item = (u64, &RecordRef, Option<&Row>)> {
        self.log.range(since + 1..).map(|(number, at)| (*number, at, self.rows.get(at)))
    }
}

/// The line of a feed for a record that is not there, or not in scope.
pub fn removed(at: &RecordRef, there: bool) -> Change {
    Change::removed(at.clone(), if there { Reason::LeftScope } else { Reason::Deleted })
}
