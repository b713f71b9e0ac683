//! Addresses of records, written before their owners.

use pairwise_http::{Json, Method, json};
use pairwise_plugin_api::{Action, Outcome, Status};

use crate::batch::{Item, execute};
use crate::entity::{AddressKind, Kind, RELATIONS, STREET};
use crate::payload::Payload;
use crate::records::selected_by_keys;
use crate::wire::{Entry, etag, millis};
use crate::write::{Job, Writer, failed};

/// The feed of addresses.
const FEED: &str = "addresses";
/// What an address is for, in the order of the relations: how the system marks it.
const MARKS: [&str; 2] = ["IsPrimary", "IsMailing"];

/// Puts the addresses of a new record into it.
pub(crate) fn nest(payload: &mut Payload) {
    for ((relation, mark), address) in RELATIONS.iter().zip(MARKS).zip(&mut payload.addresses) {
        if !address.is_empty() {
            let mut address = std::mem::take(address);
            address.insert(mark, true.into());
            payload.own.insert((*relation).to_owned(), Json::Object(address));
        }
    }
}

impl Writer<'_> {
    /// Addresses of updates that have records of their own. Afterwards what is left is the record itself.
    pub(crate) fn addresses(&self, kind: &'static Kind, jobs: &mut [Job<'_>]) {
        let mut jobs: Vec<&mut Job<'_>> =
            jobs.iter_mut().filter(|job| job.is_open() && job.write.action == Action::Update).collect();
        self.part(&mut jobs);
        for at in 0..RELATIONS.len() {
            self.addresses_at(at, kind, &mut jobs);
        }
    }

    /// One record may be both addresses of its owner. Where they are to differ from now on, the shipping address becomes a
    /// record of its own.
    fn part(&self, jobs: &mut [&mut Job<'_>]) {
        let shared = |job: &&mut &mut Job<'_>| {
            let own = job.version.key(0);
            !job.payload.addresses[1].is_empty() && own.is_some() && own == job.version.key(1)
        };
        let mut jobs: Vec<&mut &mut Job<'_>> = jobs.iter_mut().filter(shared).collect();
        let keys: Vec<String> = jobs.iter().filter_map(|job| job.version.key(0).map(str::to_owned)).collect();
        if keys.is_empty() {
            return;
        }
        let parts = format!("{},City,State,PostalCode,Country,County", STREET.join(","));
        let found = selected_by_keys(self.server, self.cx, self.login, FEED, &parts, &keys);
        for job in &mut jobs {
            let now = match &found {
                Ok(found) => found.get(job.version.key(0).unwrap_or_default()),
                Err(failure) => {
                    job.outcome = Some(failed(failure));
                    continue;
                }
            };
            let Some(now) = now else {
                job.outcome = Some(Outcome::of(Status::Conflict));
                continue;
            };
            let [own, shipping] = &job.payload.addresses;
            let (own, shipping) = (with(now, own), with(now, shipping));
            job.payload.addresses[1].clear();
            if own == shipping {
                // One request changes both.
                job.payload.addresses[0] = own;
                continue;
            }
            job.version.addresses[1] = None;
            if shipping.is_empty() {
                job.payload.own.insert(RELATIONS[1], Json::Null);
            } else {
                job.payload.addresses[1] = shipping;
            }
        }
    }

    fn addresses_at(&self, at: usize, kind: &'static Kind, jobs: &mut [&mut Job<'_>]) {
        let mut jobs: Vec<&mut Job<'_>> = jobs.iter_mut().map(|job| &mut **job).filter(|job| job.is_open()).collect();
        for job in &mut jobs {
            // Nothing is not written where nothing is.
            if job.version.addresses[at].is_none() && job.payload.addresses[at].values().all(Json::is_null) {
                job.payload.addresses[at].clear();
            }
        }
        jobs.retain(|job| !job.payload.addresses[at].is_empty());
        if jobs.is_empty() {
            return;
        }
        if kind.address == AddressKind::Nested {
            for job in jobs {
                // Without a key: with one it would only be referred to.
                let address = std::mem::take(&mut job.payload.addresses[at]);
                job.payload.own.insert(RELATIONS[at], Json::Object(address));
            }
            return;
        }
        self.tags_of_addresses(at, &mut jobs);
        jobs.retain(|job| job.is_open());
        let item = |job: &&mut Job<'_>| {
            let mut body = job.payload.addresses[at].clone();
            match &job.version.addresses[at] {
                Some(address) => {
                    Item { method: Method::Put, key: Some(address.key.clone()), etag: Some(address.etag.clone()), body }
                }
                None => {
                    body.retain(|_, value| !value.is_null());
                    body.insert("EntityId", job.write.at.id.as_str().into());
                    body.insert(MARKS[at], true.into());
                    Item { method: Method::Post, key: None, etag: None, body }
                }
            }
        };
        let items: Vec<Item> = jobs.iter().map(item).collect();
        let answers = execute(self.server, self.cx, self.login, FEED, &items);
        for (job, answer) in jobs.into_iter().zip(answers) {
            job.payload.addresses[at].clear();
            match answer {
                Ok(done) if (200..300).contains(&done.status) => {
                    if let Some(key) = done.key().filter(|_| job.version.addresses[at].is_none()) {
                        job.payload.own.insert(RELATIONS[at], json!({ "$key": key }));
                    }
                }
                // Somebody else changed or removed the address: the record is to be looked at again.
                Ok(done) if [404, 410, 412].contains(&done.status) => job.outcome = Some(Outcome::of(Status::Conflict)),
                Ok(done) => job.outcome = Some(self.refusal(kind, job.write, &done)),
                Err(failure) => job.outcome = Some(failed(&failure)),
            }
        }
    }

    /// Where records are told without the tags of their addresses, these are asked for.
    fn tags_of_addresses(&self, at: usize, jobs: &mut [&mut Job<'_>]) {
        let untagged =
            |job: &&mut &mut Job<'_>| job.version.addresses[at].as_ref().is_some_and(|address| address.etag.is_empty());
        let mut jobs: Vec<&mut &mut Job<'_>> = jobs.iter_mut().filter(untagged).collect();
        let keys: Vec<String> = jobs.iter().filter_map(|job| job.version.key(at).map(str::to_owned)).collect();
        if keys.is_empty() {
            return;
        }
        let found = selected_by_keys(self.server, self.cx, self.login, FEED, "ModifyDate", &keys);
        for job in &mut jobs {
            let Some(address) = &mut job.version.addresses[at] else { continue };
            match &found {
                Err(failure) => job.outcome = Some(failed(failure)),
                Ok(found) => match found.get(&address.key) {
                    Some(entry) if entry.get("ModifyDate").and_then(millis).unwrap_or_default() == address.modified => {
                        address.etag = etag(entry).unwrap_or_default().to_owned();
                    }
                    _ => job.outcome = Some(Outcome::of(Status::Conflict)),
                },
            }
        }
    }
}

/// An address as it is with these changes: what is not empty.
fn with(now: &Entry, changes: &Entry) -> Entry {
    let told = now.iter().filter(|(name, _)| !name.starts_with('$'));
    let mut all: Entry = told.map(|(name, value)| (name.clone(), value.clone())).collect();
    all.extend(changes.iter().map(|(name, value)| (name.clone(), value.clone())));
    all.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    all
}
