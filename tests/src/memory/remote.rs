//! The operations of a system in memory.

use std::collections::BTreeMap;

use pairwise_host::model::{Author, Remote};
use pairwise_plugin_api::ops::{
    AcknowledgeRequest, ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest,
    EnsureContainerRequest, FindRequest, GetRequest, ListDetail, ListRequest, LoginRequest, LoginResponse,
    MigrateStateRequest, MigrateStateResponse, Scope, SettingsRequest, StampRequest, StampResponse, UsersRequest,
    UsersResponse, WriteRequest,
};
use pairwise_plugin_api::{
    Catalogue, Change, Class, Condition, Cursor, Entity, EntityKind, Failure, Field, FieldType, Fields, Found, Outcome,
    Page, Principal, Record, RecordRef, Value, Write,
};

use semver::Version;

use super::{ACCOUNTS, Event, FIELDS, Memory, State, Trouble};

fn position(cursor: Option<&Cursor>) -> usize {
    cursor.and_then(|cursor| std::str::from_utf8(&cursor.0).ok()).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn cursor(position: usize) -> Option<Cursor> {
    Some(Cursor(position.to_string().into_bytes()))
}

impl State {
    fn called(&mut self, call: &'static str, principal: &Principal) {
        self.calls.push(call);
        self.principals.insert(principal.0.clone());
    }

    /// Whether the scope shows a record.
    fn shows(&self, scope: &Scope, record: &Record) -> bool {
        record.container.is_none()
            && !self.hidden.contains(&record.at.id)
            && (!scope.contains_key("group") || self.members.contains(&record.at.id))
    }
}

impl Remote for Memory {
    fn author(&self) -> Author {
        Author { plugin: "memory".into(), version: Version::new(1, 0, 0) }
    }

    fn describe(&self) -> Result<Description, Failure> {
        Ok(Description { capabilities: self.abilities.clone(), target: self.name.clone(), identity: self.name.clone() })
    }

    fn discover(&self, _: &DiscoverRequest) -> Result<Catalogue, Failure> {
        let numbers = self.state().numbers.clone();
        let field = |path: &&str| {
            let is_number = numbers.iter().any(|number| **number == **path);
            let kind = if is_number { FieldType::Int } else { FieldType::Text };
            let field = Field::new(self.native(path), kind).path(*path);
            let field = if path.starts_with("emails/") { field.caseless() } else { field };
            if self.crm && *path == "organizations/1/name" { field.read_only() } else { field }
        };
        let mut fields: Vec<Field> = FIELDS.iter().map(field).collect();
        let entity = |name: &str, label: &str, kind, fields| Entity {
            name: name.into(),
            label: label.into(),
            kind,
            fields,
            selectors: vec![],
        };
        if !self.crm {
            return Ok(Catalogue { entities: vec![entity(self.entity, "Contact", EntityKind::Contact, fields)] });
        }
        let reference = Field::new("Account", FieldType::Text);
        fields.push(Field { reference: Some(ACCOUNTS.into()), required: true, ..reference });
        let account = ["AccountName", "Type", "Status", "Owner", "AccountManager"];
        let account = account.iter().map(|name| Field::new(*name, FieldType::Text)).collect();
        Ok(Catalogue {
            entities: vec![
                entity(self.entity, "Contact", EntityKind::Contact, fields),
                entity(ACCOUNTS, "Account", EntityKind::Other, account),
            ],
        })
    }

    fn login(&self, _: &LoginRequest) -> Result<LoginResponse, Failure> {
        Ok(LoginResponse::default())
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Condition>, Failure> {
        let mut state = self.state();
        state.called("check", &request.principal);
        Ok(state.conditions.clone())
    }

    fn users(&self, _: &UsersRequest) -> Result<UsersResponse, Failure> {
        Err(Failure::unimplemented("users"))
    }

    fn settings(&self, _: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        Err(Failure::unimplemented("settings"))
    }

    fn containers(&self, request: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        let mut state = self.state();
        state.called("containers", &request.principal);
        let container = |path: &String| Container { id: path.clone(), path: path.clone(), ..Container::default() };
        Ok(state.folders.iter().map(container).collect())
    }

    fn ensure_container(&self, request: &EnsureContainerRequest) -> Result<Container, Failure> {
        let mut state = self.state();
        state.called("ensure_container", &request.principal);
        if !state.folders.contains(&request.path) {
            state.folders.push(request.path.clone());
        }
        Ok(Container { id: request.path.clone(), path: request.path.clone(), writable: true, columns: Vec::new() })
    }

    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure> {
        let mut state = self.state();
        state.called("changes", &request.principal);
        let in_scope =
            |record: &&Record| request.entities.contains(&record.at.entity) && state.shows(&request.scope, record);
        let changes = if let Some(since) = &request.cursor {
            // Of each record the last that happened.
            let mut last: BTreeMap<RecordRef, Change> = BTreeMap::new();
            for event in state.events.iter().skip(position(Some(since))) {
                match event {
                    Event::Gone(at, reason) => {
                        last.insert(at.clone(), Change::removed(at.clone(), *reason));
                    }
                    Event::Here(id) => {
                        if let Some(record) = state.records.get(id).filter(in_scope) {
                            last.insert(record.at.clone(), Change::upsert(record.clone()));
                        }
                    }
                }
            }
            last.into_values().collect()
        } else {
            state.records.values().filter(in_scope).cloned().map(Change::upsert).collect()
        };
        Ok(Page {
            changes,
            next: cursor(state.events.len()),
            more: false,
            complete: !state.incomplete,
            same_store: true,
            server_time: state.server_time,
        })
    }

    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        let mut state = self.state();
        state.called("list", &request.principal);
        let start = position(request.page.as_ref());
        let shown: Vec<&Record> = state
            .records
            .values()
            .filter(|record| request.entities.contains(&record.at.entity) && state.shows(&request.scope, record))
            .collect();
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
            next: cursor(end),
            more,
            complete: !more && !state.incomplete,
            same_store: true,
            server_time: state.server_time,
        })
    }

    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        let mut state = self.state();
        state.called("get", &request.principal);
        let found = |at: &RecordRef| state.records.get(&at.id).cloned().map_or_else(Found::gone, Found::here);
        Ok(request.at.iter().map(found).collect())
    }

    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        let mut state = self.state();
        state.called("find", &request.principal);
        let find = |value: &String| -> Vec<Record> {
            if request.by.is_empty() {
                return state.keys.get(value).and_then(|id| state.records.get(id)).cloned().into_iter().collect();
            }
            let is = |text: &str| match request.case_sensitive {
                true => text == value,
                false => text.eq_ignore_ascii_case(value),
            };
            let hit = |record: &&Record| {
                record.at.entity == request.entity
                    && (!request.scope.contains_key("group") || state.members.contains(&record.at.id))
                    && request.by.iter().any(|name| match &**name {
                        "uid" => record.uid.as_deref() == Some(value),
                        name => record.fields.text(name).is_some_and(is),
                    })
            };
            state.records.values().filter(hit).cloned().collect()
        };
        Ok(request.values.iter().map(find).collect())
    }

    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        let mut state = self.state();
        state.called("write", &request.principal);
        let joins = request.scope.contains_key("group");
        let trouble = state.troubles.pop_front();
        let lost = || Failure::new(Class::Crashed, "the connection broke").unknown_outcome();
        match &trouble {
            Some(Trouble::Busy) => return Err(Failure::new(Class::Transient, "too busy")),
            Some(Trouble::NotSent) => return Err(Failure::new(Class::Refused, "out of order")),
            Some(Trouble::Vanished) => return Err(lost()),
            Some(Trouble::Edited(id, field, value)) => state.edit(id, self.native(field), value),
            _ => {}
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (place, write) in request.writes.iter().enumerate() {
            let refused = trouble == Some(Trouble::RefusesFirst) && place == 0;
            outcomes.push(if refused {
                Outcome::refused("too_long", "the name is too long")
            } else {
                let done = if trouble == Some(Trouble::Touched) { Fields::new() } else { write.fields.clone() };
                state.apply(&Write { fields: done, ..write.clone() }, joins, self.crm)
            });
        }
        if matches!(trouble, Some(Trouble::AnswerLost | Trouble::Touched)) { Err(lost()) } else { Ok(outcomes) }
    }

    fn acknowledge(&self, _: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        Err(Failure::unimplemented("acknowledge"))
    }

    fn stamp(&self, _: &StampRequest) -> Result<StampResponse, Failure> {
        Err(Failure::unimplemented("stamp"))
    }

    fn migrate_state(&self, _: &MigrateStateRequest) -> Result<MigrateStateResponse, Failure> {
        Err(Failure::unimplemented("migrate_state"))
    }
}
