//! What the connector to a simulated system answers.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::{ChangesRequest, FindRequest, GetRequest, ListDetail, ListRequest};
use pairwise_plugin_api::{
    Absent, Action, Catalogue, Change, Class, Condition, CreateKey, Entity, EntityKind, Failure, Field, FieldType,
    Fields, Found, Outcome, Page, Reason, Record, RecordRef, Status, Write,
};

use super::super::cursor::Place;
use super::{ADDRESS, ENTITY, Effect, Event, FIELDS, PRIVATE, State, System, Weather, is_one_of, owner, plain};

impl System {
    /// The fields.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        let field = |(place, name): (usize, &&str)| {
            let field = Field::new(*name, FieldType::Text).path(*name);
            if place == ADDRESS { field.caseless() } else { field }
        };
        let private = Field::new(PRIVATE, FieldType::Bool);
        Catalogue {
            entities: vec![Entity {
                name: ENTITY.into(),
                label: "Contacts".into(),
                kind: EntityKind::Contact,
                fields: FIELDS.iter().enumerate().map(field).chain([private]).collect(),
                selectors: vec![],
            }],
        }
    }

    /// A page of changes.
    ///
    /// # Errors
    /// If the cursor is not known any more.
    pub fn changes(&self, request: &ChangesRequest, now: i64) -> Result<Page, Failure> {
        let state = self.state();
        let limit = request.limit.max(1) as usize;
        let place = match &request.cursor {
            None => Place { kind: 'l', generation: state.generation, at: state.events.len(), after: String::new() },
            Some(cursor) => Place::parse(cursor)
                .filter(|place| place.generation == state.generation)
                .ok_or_else(|| Failure::new(Class::CursorExpired, "the cursor is not known any more"))?,
        };
        if place.kind == 'l' {
            let (changes, last, more) = state.slice(&place.after, limit);
            let next = match last {
                Some(last) if more => Place { after: last, ..place.clone() },
                _ => Place { kind: 'e', after: String::new(), ..place.clone() },
            };
            let complete = !more && state.weather != Weather::Truncated;
            let changes = changes.into_iter().map(|record| Change::upsert(state.shown(record))).collect();
            let more = more && state.weather != Weather::Truncated;
            return Ok(Page { changes, next: Some(next.cursor()), more, complete, ..self.page(&state, now) });
        }
        // A system that hides records tells nothing of what happened to them, either.
        let hides = matches!(state.weather, Weather::Blackout | Weather::HalfView | Weather::Emptied);
        let last = if hides { place.at } else { state.events.len() };
        let end = (place.at + limit).min(last);
        let mut told: BTreeMap<&str, Option<Change>> = BTreeMap::new();
        for event in &state.events[place.at.min(end)..end] {
            match event {
                Event::Gone(id, reason) => {
                    let removed =
                        self.abilities.tombstones.then(|| Change::removed(RecordRef::new(ENTITY, id), *reason));
                    told.insert(id, removed);
                }
                Event::Here(id) => {
                    // A record that is gone by now is told by its tombstone.
                    if let Some(record) = state.records.get(id).filter(|_| !state.outside.contains(id)) {
                        told.insert(id, Some(Change::upsert(state.shown(record.clone()))));
                    }
                }
            }
        }
        let next = Place { at: end, ..place };
        Ok(Page {
            changes: told.into_values().flatten().collect(),
            next: Some(next.cursor()),
            more: end < last,
            complete: true,
            ..self.page(&state, now)
        })
    }

    /// A page of a listing.
    #[must_use]
    pub fn list(&self, request: &ListRequest, now: i64) -> Page {
        let state = self.state();
        let after = request.page.as_ref().and_then(Place::parse).map(|place| place.after).unwrap_or_default();
        let (records, last, more) = state.slice(&after, request.limit.max(1) as usize);
        let changes = records
            .into_iter()
            .map(|record| match request.detail {
                ListDetail::Full => Change::upsert(state.shown(record)),
                ListDetail::Ids => {
                    Change::upsert(Record { at: record.at, version: record.version, ..Record::default() })
                }
            })
            .collect();
        let truncated = state.weather == Weather::Truncated;
        let next = Place { kind: 'l', generation: state.generation, at: 0, after: last.unwrap_or(after) };
        Page {
            changes,
            next: Some(next.cursor()),
            more: more && !truncated,
            complete: !more && !truncated,
            ..self.page(&state, now)
        }
    }

    fn page(&self, state: &State, now: i64) -> Page {
        let server_time = self.abilities.server_time.then_some(now + state.skew);
        Page { same_store: true, server_time, ..Page::default() }
    }

    /// Records by id.
    #[must_use]
    pub fn get(&self, request: &GetRequest) -> Vec<Found> {
        let state = self.state();
        let found = |at: &RecordRef| match state.records.get(&at.id) {
            Some(record) if !state.hides(&at.id) => Found::here(state.shown(record.clone())),
            // Whoever declares that his reads are authoritative does not say that a hidden record is gone.
            Some(_) if self.abilities.authoritative_get && state.weather != Weather::Emptied => {
                Found { record: None, absent: Absent::Hidden }
            }
            _ => Found::gone(),
        };
        request.at.iter().map(found).collect()
    }

    /// Records by a value, or by the key of their creation.
    #[must_use]
    pub fn find(&self, request: &FindRequest) -> Vec<Vec<Record>> {
        let state = self.state();
        let find = |value: &String| -> Vec<Record> {
            if request.by.is_empty() {
                let id = state.keys.get(value).filter(|_| self.abilities.create_key == CreateKey::Searchable);
                return id.and_then(|id| state.records.get(id)).cloned().into_iter().collect();
            }
            let hit = |record: &&Record| {
                request.by.iter().any(|name| match &**name {
                    "uid" => record.uid.as_deref() == Some(value),
                    name => record.fields.text(name).is_some_and(|text| plain(text) == plain(value)),
                })
            };
            let shows = |record: &&Record| {
                let outside = !request.scope.is_empty() && state.outside.contains(&record.at.id);
                !outside && !state.hides(&record.at.id)
            };
            state.records.values().filter(hit).filter(shows).cloned().collect()
        };
        request.values.iter().map(find).collect()
    }

    /// One write, and what it did.
    pub fn write(&self, write: &Write, now: i64) -> (Outcome, Option<Effect>) {
        let mut state = self.state();
        let current = state.records.get(&write.at.id).cloned();
        let effect = |id: &str, before: Option<&Record>| Effect {
            action: write.action,
            id: id.to_owned(),
            who: owner(before.map_or(&write.fields, |record| &record.fields)),
            before: before.map(|record| record.fields.clone()),
            asked: write.fields.clone(),
        };
        let poisoned = |fields: &Fields| owner(fields).is_some_and(|who| is_one_of(who, state.poison));
        if poisoned(current.as_ref().map_or(&write.fields, |record| &record.fields)) {
            return (Outcome::refused("poisoned", "the record is refused"), None);
        }
        let busy = |fields: &Fields| owner(fields).is_some_and(|who| is_one_of(who, state.busy));
        if busy(current.as_ref().map_or(&write.fields, |record| &record.fields)) {
            return (Outcome::of(Status::NotSent), None);
        }
        let Some(current) = current.filter(|_| write.action != Action::Create) else {
            if write.action != Action::Create {
                return (Outcome::of(Status::Gone), None);
            }
            if let Some(exists) = self.already_there(&state, write) {
                let record = exists.record.map(|record| state.shown(record));
                return (Outcome { record, ..exists }, None);
            }
            let id = format!("{}{}", self.side.name(), state.counter + 1);
            let record = self.add(&mut state, id.clone(), write.fields.clone(), write.uid.clone(), now);
            state.keys.insert(write.key.clone(), id.clone());
            return (Outcome::applied(state.shown(record)), Some(effect(&id, None)));
        };
        if self.abilities.conditional_writes && write.expect.is_some() && write.expect != current.version {
            let current = state.shown(current);
            return (Outcome { record: Some(current), ..Outcome::of(Status::Conflict) }, None);
        }
        if matches!(write.action, Action::Include | Action::Exclude) {
            let outside = write.action == Action::Exclude;
            let moves = outside != state.outside.contains(&write.at.id);
            if moves {
                state.set_outside(&write.at.id, outside);
            }
            let effect = moves.then(|| effect(&write.at.id, Some(&current)));
            return (Outcome::applied(state.shown(current)), effect);
        }
        let effect = effect(&write.at.id, Some(&current));
        if write.action == Action::Update {
            let mut record = current;
            for (name, value) in write.fields.iter() {
                record.fields.set(name.clone(), self.spelled(name, value));
            }
            self.stamp(&mut state, &mut record, now);
            state.events.push(Event::Here(write.at.id.clone()));
            state.records.insert(write.at.id.clone(), record.clone());
            return (Outcome::applied(state.shown(record)), Some(effect));
        }
        state.remove(&write.at.id);
        (Outcome::applied(current), Some(effect))
    }

    fn already_there(&self, state: &State, write: &Write) -> Option<Outcome> {
        let takes = self.abilities.create_key == CreateKey::Takes;
        let exists = |record: &Record| Outcome { record: Some(record.clone()), ..Outcome::of(Status::Exists) };
        let by_key = state.keys.get(&write.key).filter(|_| takes).and_then(|id| state.records.get(id));
        if let Some(record) = by_key {
            return Some(Outcome { code: Outcome::BY_KEY.into(), ..exists(record) });
        }
        let same_uid = |record: &&Record| self.abilities.uid && write.uid.is_some() && record.uid == write.uid;
        state.records.values().find(same_uid).map(exists)
    }
}

impl State {
    /// A record leaves the folder that is kept in step, or comes back.
    pub(super) fn set_outside(&mut self, id: &str, outside: bool) {
        if outside {
            self.outside.insert(id.to_owned());
            self.events.push(Event::Gone(id.to_owned(), Reason::LeftScope));
        } else {
            self.outside.remove(id);
            self.events.push(Event::Here(id.to_owned()));
        }
    }

    /// A record goes, and the key of its creation with it: whoever gets its id was made by somebody else.
    pub(super) fn remove(&mut self, id: &str) {
        if self.records.remove(id).is_some() {
            self.keys.retain(|_, of| of != id);
            self.outside.remove(id);
            self.events.push(Event::Gone(id.to_owned(), Reason::Deleted));
        }
    }

    fn hides(&self, id: &str) -> bool {
        match self.weather {
            Weather::Blackout | Weather::Emptied => true,
            Weather::HalfView => id.bytes().last().is_some_and(|digit| digit % 2 == 0),
            _ => false,
        }
    }

    /// Records behind an id, the last of them, and whether there are more.
    fn slice(&self, after: &str, limit: usize) -> (Vec<Record>, Option<String>, bool) {
        let omitted = |id: &str| {
            let every_other = self.weather == Weather::Omits && id.bytes().last().is_some_and(|digit| digit % 2 == 0);
            self.hides(id) || every_other || self.outside.contains(id)
        };
        let behind = self.records.iter().filter(|(id, _)| id.as_str() > after && !omitted(id));
        let mut records: Vec<Record> = behind.take(limit + 1).map(|(_, record)| record.clone()).collect();
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().map(|record| record.at.id.clone());
        (records, last, more)
    }

    fn shown(&self, mut record: Record) -> Record {
        if owner(&record.fields).is_some_and(|who| is_one_of(who, self.unreadable)) {
            record.fields = Fields::new();
            record.conditions.push(Condition::unreadable("line 3 is no line"));
        }
        record
    }
}
