//! What the lanes of a plan would have written to one connection so far.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_plugin_api::ops::FindRequest;
use pairwise_plugin_api::{Action, Change, Fields, Found, Millis, Page, Principal, Record, RecordRef, Write};

/// Writes that a plan did not send.
#[derive(Debug, Default)]
pub struct Drafts {
    /// When the plan is made: what it changes was changed now.
    now: Millis,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// New records, with the key of their creation and for whom they were made.
    made: Vec<(Principal, String, Record)>,
    changed: BTreeMap<RecordRef, Changed>,
    /// Records that are gone.
    gone: Vec<RecordRef>,
}

/// What is new of a record that is there.
#[derive(Debug, Default)]
struct Changed {
    /// For whom it was changed last.
    by: Principal,
    /// Since then. What is meant for another version has not seen the change.
    version: Option<String>,
    fields: Fields,
}

impl Drafts {
    /// None yet.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Drafts { now, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write that was answered so.
    pub(super) fn note(&self, principal: &Principal, write: &Write, answered: &Record) {
        let mut held = self.held();
        match write.action {
            Action::Create => {
                let mut record = Record { created: Some(self.now), modified: Some(self.now), ..answered.clone() };
                record.fields.extend(write.fields.clone());
                held.made.push((principal.clone(), write.key.clone(), record));
            }
            Action::Update => {
                if let Some((.., made)) = held.made.iter_mut().find(|(.., made)| made.at == write.at) {
                    made.version.clone_from(&answered.version);
                    made.fields.extend(write.fields.clone());
                    return;
                }
                let changed = held.changed.entry(write.at.clone()).or_default();
                changed.by = principal.clone();
                changed.version.clone_from(&answered.version);
                changed.fields.extend(write.fields.clone());
            }
            Action::Trash | Action::Delete => {
                held.made.retain(|(.., made)| made.at != write.at);
                held.gone.push(write.at.clone());
            }
            _ => {}
        }
    }

    /// A page as it would be told by now.
    pub(super) fn apply(&self, principal: &Principal, page: &mut Page) {
        for record in page.changes.iter_mut().filter_map(|change| change.record.as_mut()) {
            self.change(principal, record);
        }
    }

    /// What was found, as it would be told by now.
    pub(super) fn over(&self, principal: &Principal, mut found: Found) -> Found {
        match &mut found.record {
            Some(record) if self.held().gone.contains(&record.at) => return Found::gone(),
            Some(record) => self.change(principal, record),
            None => {}
        }
        found
    }

    fn change(&self, principal: &Principal, record: &mut Record) {
        if let Some(changed) = self.held().changed.get(&record.at) {
            record.version.clone_from(&changed.version);
            // A listing of ids and versions tells no fields.
            if !record.fields.is_empty() {
                record.fields.extend(changed.fields.clone());
            }
            if changed.by != *principal {
                record.modified = Some(self.now);
            }
        }
    }

    /// A record that the plan makes.
    pub(super) fn made(&self, at: &RecordRef) -> Found {
        let held = self.held();
        let made = held.made.iter().find(|(.., made)| made.at == *at);
        made.map_or_else(Found::gone, |(.., made)| Found::here(made.clone()))
    }

    /// Records of these entities that were changed for somebody else.
    pub(super) fn changed_by_others(&self, principal: &Principal, entities: &[String]) -> Vec<RecordRef> {
        let held = self.held();
        let others =
            held.changed.iter().filter(|(at, changed)| changed.by != *principal && entities.contains(&at.entity));
        others.map(|(at, _)| at.clone()).collect()
    }

    /// Records that the plan makes and that hold a value. A person's own place shows nothing that was made for another one.
    pub(super) fn find(&self, request: &FindRequest, value: &str, shared: bool) -> Vec<Record> {
        let same = |text: &str| match request.case_sensitive {
            true => text == value,
            false => text.to_lowercase() == value.to_lowercase(),
        };
        let fits = |(by, key, record): &&(Principal, String, Record)| {
            let visible = *by == request.principal || (shared && request.scope.is_empty());
            let holds = match request.by.as_slice() {
                [] => key == value,
                names => names.iter().any(|name| match &**name {
                    "uid" => record.uid.as_deref().is_some_and(same),
                    name => record.fields.text(name).is_some_and(same),
                }),
            };
            visible && holds && record.at.entity == request.entity
        };
        self.held().made.iter().filter(fits).map(|(.., record)| record.clone()).collect()
    }
}

/// Whether a line of a page is about this record.
pub(super) fn is_about(change: &Change, at: &RecordRef) -> bool {
    let record = change.record.as_ref().map(|record| &record.at);
    record.or(change.removed.as_ref().map(|removed| &removed.at)) == Some(at)
}
