//! Writes: in batches, each on condition that the record is as it was taken for.
//!
//! A contact's address is a record of its own and is written first, so that a clash there leaves the contact alone: see
//! `addresses`. Joining and leaving a group comes last, for all records of a call at once.

use std::collections::HashMap;

use jiff::Timestamp;
use pairwise_http::{Method, json};
use pairwise_plugin_api::ops::WriteRequest;
use pairwise_plugin_api::{
    Action, Certainty, Class, Context, Failure, Millis, Name, Outcome, Principal, Record, RecordRef, Result, Status,
    Text, Write,
};

use crate::addresses::nest;
use crate::batch::{Done, Item, execute};
use crate::entity::{Kind, RELATIONS};
use crate::find::standing;
use crate::groups::{self, marked, marker, unmarked};
use crate::identity::{Edition, Identity, identity};
use crate::leads::{self, LEADS};
use crate::login::Login;
use crate::payload::{Payload, about, ignored, payload};
use crate::records::{Reading, Version, by_keys, is_whole, selected_by_keys};
use crate::server::Server;
use crate::wire::{self, Entry, etag, related, text};

/// How often a record is sent again without a field that its login may not write.
const WITHOUT: u32 = 4;
/// Names of accounts that are remembered.
const NAMES: usize = 20_000;

/// Writes of one principal.
pub(crate) struct Writer<'a> {
    pub(crate) server: &'a Server,
    pub(crate) cx: &'a Context,
    pub(crate) login: &'a Login,
    principal: &'a Principal,
    pub(crate) identity: Identity,
    /// The group that the scope names.
    pub(crate) group: Option<String>,
    /// The fields that outcomes are to tell; none means all.
    pub(crate) fields: &'a [Name],
}

/// One create, update or delete on its way.
pub(crate) struct Job<'w> {
    /// Its place in the call.
    place: usize,
    pub(crate) write: &'w Write,
    pub(crate) payload: Payload,
    pub(crate) version: Version,
    /// What became of it, once that is certain.
    pub(crate) outcome: Option<Outcome>,
    /// The record as the server told it after the write or the clash.
    entry: Option<Entry>,
}

impl Job<'_> {
    pub(crate) fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    fn key(&self) -> Option<String> {
        Some(self.write.at.id.clone()).filter(|key| !key.is_empty())
    }
}

/// One call: an outcome for each write, in order.
pub(crate) fn write(server: &Server, cx: &Context, request: &WriteRequest) -> Result<Vec<Outcome>> {
    let login = server.login(&request.principal)?;
    let identity = identity(server, cx, &login)?;
    let writer = Writer {
        server,
        cx,
        login: &login,
        principal: &request.principal,
        identity,
        group: groups::selected(&request.scope)?,
        fields: &request.fields,
    };
    let mut outcomes: Vec<Outcome> = request.writes.iter().map(|_| Outcome::of(Status::NotSent)).collect();
    let mut entities: Vec<&str> = request.writes.iter().map(|write| write.at.entity.as_str()).collect();
    entities.sort_unstable();
    entities.dedup();
    for entity in entities {
        let writes = request.writes.iter().enumerate().filter(|(_, write)| write.at.entity == entity);
        match Kind::of(entity) {
            Ok(kind) => writer.of_kind(kind, writes.collect(), &mut outcomes),
            Err(failure) => {
                writes
                    .for_each(|(place, _)| outcomes[place] = Outcome::refused("unknown_entity", failure.text.clone()));
            }
        }
    }
    Ok(outcomes)
}

impl Writer<'_> {
    fn of_kind(&self, kind: &'static Kind, writes: Vec<(usize, &Write)>, outcomes: &mut [Outcome]) {
        let (members, records): (Vec<_>, Vec<_>) =
            writes.into_iter().partition(|(_, write)| matches!(write.action, Action::Include | Action::Exclude));
        let mut jobs: Vec<Job<'_>> = records.into_iter().map(|(place, write)| self.job(kind, place, write)).collect();
        self.look_before(kind, &mut jobs);
        self.addresses(kind, &mut jobs);
        self.own(kind, &mut jobs);
        self.read_back(kind, &mut jobs);
        let mut joining: Vec<String> = Vec::new();
        for job in jobs {
            let outcome = job.outcome.unwrap_or_default();
            if job.write.action == Action::Create && outcome.status == Status::Applied {
                joining.extend(outcome.record.as_ref().map(|record| record.at.id.clone()));
            }
            outcomes[job.place] = outcome;
        }
        self.memberships(kind, &joining, &members, outcomes);
    }

    fn now(&self) -> Millis {
        self.server.clock().unwrap_or_else(|| Timestamp::now().as_millisecond())
    }

    fn job<'w>(&self, kind: &'static Kind, place: usize, write: &'w Write) -> Job<'w> {
        let version = write.expect.as_deref().map(Version::parse).unwrap_or_default();
        let mut job = Job { place, write, payload: Payload::default(), version, outcome: None, entry: None };
        match write.action {
            Action::Delete => {}
            Action::Create | Action::Update => {
                match payload(kind, &self.server.config, &self.identity, self.now(), write) {
                    Ok(payload) => job.payload = payload,
                    Err(refused) => job.outcome = Some(*refused),
                }
            }
            action => job.outcome = Some(Outcome::refused("unsupported", format!("Infor CRM knows no `{action:?}`"))),
        }
        if write.action == Action::Create {
            nest(&mut job.payload);
        }
        let marks =
            write.action == Action::Create && self.identity.edition == Edition::V754 && kind.entity == "contacts";
        if let Some(name) = self.group.as_ref().filter(|_| marks) {
            let property = self.server.config.sync_marker_property.as_str();
            let words = text(&job.payload.own, property).unwrap_or_default();
            if let Some(words) = marked(words, &marker(name)) {
                job.payload.own.insert(property.to_owned(), words.into());
            }
        }
        job
    }

    /// What must be known before anything is sent: states that nobody told us, names of accounts, parents of notes.
    fn look_before(&self, kind: &'static Kind, jobs: &mut [Job<'_>]) {
        let blind =
            |job: &&mut Job<'_>| job.is_open() && job.write.action != Action::Create && job.version.etag.is_empty();
        let mut unknown: Vec<&mut Job<'_>> = jobs.iter_mut().filter(blind).collect();
        let keys: Vec<String> = unknown.iter().filter_map(|job| job.key()).collect();
        if !keys.is_empty() {
            let found = by_keys(self.server, self.cx, self.login, kind, &[], &keys);
            for job in &mut unknown {
                match &found {
                    Err(failure) => job.outcome = Some(failed(failure)),
                    Ok(found) => match found.get(&job.write.at.id) {
                        None => job.outcome = Some(self.absent(kind, &job.write.at, 404)),
                        Some(entry) if job.version.etag.is_empty() => {
                            job.version = Version::of(entry).unwrap_or_default();
                        }
                        Some(_) => {}
                    },
                }
            }
        }
        if kind.shows_account() {
            self.name_accounts(jobs);
        }
        if kind.entity == "history" {
            self.name_parents(jobs);
        }
    }

    /// A contact carries a copy of its account's name.
    fn name_accounts(&self, jobs: &mut [Job<'_>]) {
        let account = |job: &Job<'_>| related(&job.payload.own, "Account").and_then(wire::key).map(str::to_owned);
        let known = self.server.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut names: HashMap<String, String> = HashMap::with_capacity(jobs.len());
        let mut unknown: Vec<String> = Vec::new();
        for key in jobs.iter().filter_map(account) {
            match known.get(&key) {
                Some(name) => drop(names.insert(key, name.clone())),
                None => unknown.push(key),
            }
        }
        drop(known);
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            // Without the name the server fills it in, or leaves it empty; neither is worth a failure.
            let found = selected_by_keys(self.server, self.cx, self.login, "accounts", "AccountName", &unknown);
            for (key, entry) in found.unwrap_or_default() {
                names.extend(text(&entry, "AccountName").map(|name| (key, name.to_owned())));
            }
            self.remember(names.iter());
        }
        for job in jobs {
            if let Some(name) = account(job).and_then(|key| names.get(&key)) {
                job.payload.own.insert("AccountName", name.as_str().into());
            }
        }
    }

    fn remember<'n>(&self, names: impl Iterator<Item = (&'n String, &'n String)>) {
        let mut known = self.server.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() > NAMES {
            known.clear();
        }
        known.extend(names.map(|(key, name)| (key.clone(), name.clone())));
    }

    fn name_parents(&self, jobs: &mut [Job<'_>]) {
        for (property, feed) in [("ContactId", "contacts"), ("LeadId", "leads")] {
            let keys: Vec<String> =
                jobs.iter().filter_map(|job| text(&job.payload.own, property)).map(str::to_owned).collect();
            if keys.is_empty() {
                continue;
            }
            let select = if feed == "contacts" {
                "FirstName,LastName,Account/AccountName"
            } else {
                "FirstName,LastName,Company"
            };
            if let Ok(parents) = selected_by_keys(self.server, self.cx, self.login, feed, select, &keys) {
                jobs.iter_mut().for_each(|job| about(&mut job.payload.own, &parents));
            }
        }
    }

    /// The records themselves.
    fn own(&self, kind: &'static Kind, jobs: &mut [Job<'_>]) {
        for _ in 0..WITHOUT {
            // An update whose address was all of it is done.
            let sends = |job: &&mut Job<'_>| {
                job.is_open() && (job.write.action != Action::Update || !job.payload.own.is_empty())
            };
            let mut sent: Vec<&mut Job<'_>> = jobs.iter_mut().filter(sends).collect();
            if sent.is_empty() {
                break;
            }
            let items: Vec<Item> = sent.iter().map(|job| item(job)).collect();
            let answers = execute(self.server, self.cx, self.login, kind.entity, &items);
            for (job, answer) in sent.iter_mut().zip(answers) {
                match answer {
                    Err(failure) => job.outcome = Some(failed(&failure)),
                    Ok(done) => self.absorb(kind, job, done),
                }
            }
        }
        for job in jobs.iter_mut().filter(|job| job.is_open()) {
            job.outcome = Some(Outcome::of(Status::Applied));
        }
    }

    fn absorb(&self, kind: &'static Kind, job: &mut Job<'_>, done: Done) {
        let deletes = job.write.action == Action::Delete;
        match done.status {
            200..300 if deletes => job.outcome = Some(Outcome::of(Status::Applied)),
            200..300 => {
                job.outcome = Some(Outcome::of(Status::Applied));
                job.entry = Some(done.entry);
            }
            412 => {
                job.outcome = Some(Outcome::of(Status::Conflict));
                job.entry = Some(done.entry);
            }
            404 | 410 if deletes => job.outcome = Some(Outcome::of(Status::Gone)),
            409 if job.write.action == Action::Create => {
                job.outcome = Some(match standing(self.server, self.cx, self.principal, kind, &job.write.fields) {
                    Ok(Some(record)) => Outcome { record: Some(record), ..Outcome::of(Status::Exists) },
                    Ok(None) => self.refusal(kind, job.write, &done),
                    Err(failure) => failed(&failure),
                });
            }
            // One field that may not be written: the others are sent without it.
            403 => match named_field(&done, &job.payload.own) {
                Some(member) => {
                    job.payload.own.remove(&member);
                    job.payload.refused.push(field_of(&member).into());
                }
                None => job.outcome = Some(self.refusal(kind, job.write, &done)),
            },
            _ => job.outcome = Some(self.refusal(kind, job.write, &done)),
        }
    }

    /// What a status that is no success means for a write.
    pub(crate) fn refusal(&self, kind: &'static Kind, write: &Write, done: &Done) -> Outcome {
        if let Some(outcome) = of_diagnosis(done) {
            return outcome;
        }
        let said = done.diagnosis.message.as_str();
        let text = if said.is_empty() { format!("the server answered {}", done.status) } else { said.to_owned() };
        let refused = |code: &str| {
            let field =
                done.diagnosis.path.as_deref().map(|path| path.rsplit(['/', '.']).next().unwrap_or(path).into());
            Outcome { field, ..Outcome::refused(code, text.clone()) }
        };
        match done.status {
            401 => Outcome { text, ..Outcome::of(Status::Auth) },
            403 => refused("forbidden"),
            404 | 410 => self.absent(kind, &write.at, done.status),
            409 => refused("conflict"),
            429 => Outcome { text, retry_after_ms: done.retry_after_ms, ..Outcome::of(Status::Throttled) },
            500.. => Outcome { text, ..Outcome::of(Status::Unknown) },
            _ => refused("rejected"),
        }
    }

    /// A record that is not found: gone, or merely not visible any more. A group still names what is not visible.
    fn absent(&self, kind: &'static Kind, at: &RecordRef, status: u16) -> Outcome {
        let hidden = || {
            let text = "the record is not there, or this login may not see it any more; nothing is concluded from that";
            Outcome::refused("not_visible", text)
        };
        if kind.entity == LEADS {
            let gone = [at.id.clone()];
            match leads::converted(self.server, self.cx, self.login, self.principal, &gone) {
                Ok(converted) if converted.is_empty() => {}
                Ok(_) => {
                    return Outcome::refused("converted", "the lead has become a contact, and is no lead any more");
                }
                Err(failure) => return failed(&failure),
            }
        }
        match &self.group {
            _ if status == 410 => Outcome::of(Status::Gone),
            Some(name) if self.identity.edition == Edition::V8 => {
                match groups::recent(self.server, self.cx, self.login, kind, name) {
                    Ok(Some(group)) if !group.members.contains(&at.id) => Outcome::of(Status::Gone),
                    _ => hidden(),
                }
            }
            _ => hidden(),
        }
    }

    /// Records as they are now, where the answers did not tell: after a write, and after a clash.
    fn read_back(&self, kind: &'static Kind, jobs: &mut [Job<'_>]) {
        let tells = |job: &Job<'_>| {
            let status = job.outcome.as_ref().map(|outcome| outcome.status);
            job.write.action != Action::Delete && status == Some(Status::Applied) || status == Some(Status::Conflict)
        };
        let key = |job: &Job<'_>| {
            let told = job.entry.as_ref().and_then(wire::key).map(str::to_owned);
            told.filter(|_| job.write.action == Action::Create).or_else(|| job.key())
        };
        let partial = |job: &&Job<'_>| {
            tells(job) && !job.entry.as_ref().is_some_and(|entry| is_whole(kind, &self.server.config, entry))
        };
        let keys: Vec<String> = jobs.iter().filter(partial).filter_map(key).collect();
        // What was written must be read, too, to see what the server made of it.
        let mut fields = self.fields.to_vec();
        if !fields.is_empty() {
            fields.extend(jobs.iter().flat_map(|job| job.write.fields.iter()).map(|(name, _)| name.clone()));
            fields.sort_unstable();
            fields.dedup();
        }
        let mut found = if keys.is_empty() {
            HashMap::new()
        } else {
            by_keys(self.server, self.cx, self.login, kind, &fields, &keys).unwrap_or_default()
        };
        let reading = Reading::of(kind, &self.server.config, &fields);
        for job in jobs.iter_mut().filter(|job| tells(job)) {
            let Some(key) = key(job) else {
                // A creation whose key nobody told: it must be found again.
                job.outcome = Some(Outcome::of(Status::Unknown));
                continue;
            };
            let read = found.remove(&key);
            let entry = read.or_else(|| job.entry.take());
            let told = entry.as_ref().and_then(|entry| reading.record(entry));
            let told = told.unwrap_or_else(|| Record { at: RecordRef::new(kind.entity, key), ..Record::default() });
            let Some(outcome) = &mut job.outcome else { continue };
            if outcome.status == Status::Applied {
                self.note_own(&told);
                outcome.refused_fields = std::mem::take(&mut job.payload.refused);
                if !told.fields.is_empty() {
                    let ignored = ignored(job.write, &told.fields);
                    outcome.refused_fields.extend(ignored);
                    outcome.refused_fields.sort_unstable();
                    outcome.refused_fields.dedup();
                }
            }
            if kind.entity == "accounts"
                && let Some(name) = told.fields.text("AccountName").map(str::to_owned)
            {
                self.remember([(&told.at.id, &name)].into_iter());
            }
            outcome.record = Some(told);
        }
    }

    /// Remembers in what state a write has left a record: the feed will tell it again.
    fn note_own(&self, told: &Record) {
        let Some(version) = told.version.as_deref().map(Version::parse) else { return };
        let (written, user, key) = (&self.server.written, &self.login.user, &told.at.id);
        written.note(user, key, &version.etag);
        for address in version.addresses.iter().flatten() {
            written.note(user, &address.key, &address.modified.to_string());
        }
    }

    /// New records and those that are to join go into the group; those that are to leave go out.
    fn memberships(
        &self,
        kind: &'static Kind,
        created: &[String],
        members: &[(usize, &Write)],
        outcomes: &mut [Outcome],
    ) {
        let Some(name) = &self.group else {
            for (place, _) in members {
                outcomes[*place] = Outcome::refused("no_group", "the stream's scope names no `group` to join or leave");
            }
            return;
        };
        let of = |action: Action| {
            let keys = members.iter().filter(move |(_, write)| write.action == action);
            keys.map(|(_, write)| write.at.id.as_str())
        };
        let mut joining: Vec<&str> = of(Action::Include).collect();
        let leaving: Vec<&str> = of(Action::Exclude).collect();
        let result = if self.identity.edition == Edition::V754 {
            self.mark(kind, name, &joining, &leaving)
        } else {
            if self.login.known().belongs(name, kind.entity) {
                joining.extend(created.iter().map(String::as_str));
            }
            if joining.is_empty() && leaving.is_empty() {
                return;
            }
            groups::change(self.server, self.cx, self.login, kind, name, &joining, &leaving)
        };
        if let Err(failure) = &result {
            pairwise_plugin_api::tracing::warn!(group = name.as_str(), "the group could not be changed: {failure}");
            // A record that has yet to join is not done; the host looks for it and lets it join. One that never can is.
            let lasting = [Class::Refused, Class::Config].contains(&failure.class);
            let made = |outcome: &&mut Outcome| {
                let key = outcome.record.as_ref().map(|record| &record.at).filter(|at| at.entity == kind.entity);
                outcome.status == Status::Applied && key.is_some_and(|at| created.contains(&at.id))
            };
            for outcome in outcomes.iter_mut().filter(made).filter(|_| !lasting) {
                *outcome = Outcome { text: failure.text.clone(), ..Outcome::of(Status::Unknown) };
            }
        }
        for (place, _) in members {
            outcomes[*place] = match &result {
                Ok(()) => Outcome::of(Status::Applied),
                Err(failure) => failed(failure),
            };
        }
    }

    /// Version 7.5.4: puts the word into the records, and takes it out.
    fn mark(&self, kind: &'static Kind, name: &str, joining: &[&str], leaving: &[&str]) -> Result<()> {
        let keys: Vec<String> = joining.iter().chain(leaving).map(|key| (*key).to_owned()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let (property, marker) = (self.server.config.sync_marker_property.as_str(), marker(name));
        let found = selected_by_keys(self.server, self.cx, self.login, kind.entity, property, &keys)?;
        let item = |(key, joins): (&str, bool)| {
            let entry = found.get(key)?;
            let words = text(entry, property).unwrap_or_default();
            let words = if joins { marked(words, &marker) } else { unmarked(words, &marker) }?;
            let body = json!({ property: words }).as_object().cloned()?;
            Some(Item { method: Method::Put, key: Some(key.to_owned()), etag: etag(entry).map(str::to_owned), body })
        };
        let joins = joining.iter().map(|key| (*key, true)).chain(leaving.iter().map(|key| (*key, false)));
        let items: Vec<Item> = joins.filter_map(item).collect();
        for answer in execute(self.server, self.cx, self.login, kind.entity, &items) {
            let done = answer?;
            if !(200..300).contains(&done.status) && ![404, 410].contains(&done.status) {
                let text = format!("marking the members of `{name}`: {} {}", done.status, done.diagnosis.message);
                return Err(Failure::new(Class::Transient, text));
            }
        }
        Ok(())
    }
}

fn item(job: &Job<'_>) -> Item {
    let (method, key) = match job.write.action {
        Action::Create => (Method::Post, None),
        Action::Delete => (Method::Delete, job.key()),
        _ => (Method::Put, job.key()),
    };
    let etag = Some(job.version.etag.clone()).filter(|etag| !etag.is_empty());
    Item { method, key, etag, body: job.payload.own.clone() }
}

/// The member of a payload that a refusal names.
fn named_field(done: &Done, own: &Entry) -> Option<Text> {
    let Done { diagnosis, .. } = done;
    let in_path = diagnosis.path.as_deref().and_then(|path| path.rsplit(['/', '.']).next());
    let word = |name: &str| diagnosis.message.split(|c: char| !c.is_alphanumeric()).any(|word| word == name);
    let named = own.keys().find(|name| in_path == Some(name.as_str()) || word(name));
    named.filter(|_| own.len() > 1).cloned()
}

/// What the server itself says of a refusal: that it may go better the next time.
pub(crate) fn of_diagnosis(done: &Done) -> Option<Outcome> {
    let passes = (400..500).contains(&done.status) && done.diagnosis.severity == "Transient";
    passes.then(|| Outcome { text: done.diagnosis.message.clone(), ..Outcome::of(Status::NotSent) })
}

/// The field that a member of an entry belongs to.
fn field_of(member: &str) -> String {
    if RELATIONS.contains(&member) { format!("{member}/Street") } else { member.to_owned() }
}

/// What a call that failed means for each write in it.
pub(crate) fn failed(failure: &Failure) -> Outcome {
    let status = match (failure.certainty, failure.class) {
        (Certainty::Unknown, _) => Status::Unknown,
        (_, Class::Auth) => Status::Auth,
        (_, Class::Throttled) => Status::Throttled,
        (_, Class::Refused | Class::Config | Class::NotFound) => {
            return Outcome::refused("rejected", failure.text.clone());
        }
        _ => Status::NotSent,
    };
    Outcome { text: failure.text.clone(), retry_after_ms: failure.retry_after_ms, ..Outcome::of(status) }
}
