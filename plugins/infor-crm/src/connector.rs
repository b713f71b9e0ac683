//! The operations of the plugin API.

use std::collections::BTreeSet;

use pairwise_plugin_api::ops::*;
use pairwise_plugin_api::{
    Absent, Capabilities, Catalogue, Change, Class, Condition, Connector, Context, CreateKey, Failure, Found, Outcome,
    Page, Record, Result,
};

use crate::batch;
use crate::check;
use crate::cursor::State;
use crate::entity::{Kind, catalogue};
use crate::feed::Reader;
use crate::find;
use crate::groups;
use crate::leads::{self, LEADS};
use crate::records::{Reading, by_keys};
use crate::server::Server;
use crate::settings::Config;
use crate::users;
use crate::write;

/// Calls at the same time for the whole connection, in multiples of those for one login.
const LOGINS_AT_ONCE: u32 = 4;

/// Infor CRM over SData.
#[derive(Debug)]
pub struct InforCrm {
    server: Server,
}

impl Connector for InforCrm {
    type Config = Config;

    fn create(config: Config, _cx: &Context) -> Result<Self> {
        if !["atNote", "atEMail"].contains(&config.history_type.as_str()) {
            let text = format!("`history_type` is `{}`; expected `atNote` or `atEMail`", config.history_type);
            return Err(Failure::config("history_type", text));
        }
        Ok(InforCrm { server: Server::new(config)? })
    }

    fn describe(&self, _cx: &Context) -> Result<Description> {
        let parallel = self.server.config.parallel.max(1);
        Ok(Description {
            capabilities: Capabilities {
                feed: true,
                conditional_writes: true,
                // An address is a record of its own.
                partial_updates: true,
                create_key: CreateKey::None,
                uid: true,
                membership: true,
                server_time: true,
                largest_batch: self.server.config.batch.max(1).saturating_mul(batch::BATCHES_IN_CALL),
                max_parallel: parallel * LOGINS_AT_ONCE,
                max_parallel_per_principal: parallel,
                ..Capabilities::default()
            },
            target: self.server.place.root().to_owned(),
            identity: self.server.place.root().to_lowercase(),
        })
    }

    fn discover(&self, _cx: &Context, request: DiscoverRequest) -> Result<Catalogue> {
        catalogue(&self.server.config, request.entity.as_deref())
    }

    fn login(&self, _cx: &Context, request: LoginRequest) -> Result<LoginResponse> {
        let LoginRequest { principal, mut secrets } = request;
        let password = secrets.remove("password").ok_or_else(|| {
            Failure::new(Class::Auth, "the secret `password` is missing: set it for the connection or for the user")
        })?;
        // Who has a login of its own is named by the profile; a shared login names its user itself.
        let own = (!principal.is_connection()).then(|| principal.0.clone());
        let user =
            secrets.remove("username").or(own).or_else(|| self.server.config.username.clone()).ok_or_else(|| {
                Failure::config(
                    "username",
                    "the connection itself has no user: set `username`, or let a profile's users log in",
                )
            })?;
        self.server.log_in(principal, user, password);
        Ok(LoginResponse::default())
    }

    fn users(&self, cx: &Context, request: UsersRequest) -> Result<UsersResponse> {
        users::users(&self.server, cx, &request)
    }

    fn check(&self, cx: &Context, request: CheckRequest) -> Result<Vec<Condition>> {
        check::check(&self.server, cx, &request)
    }

    fn changes(&self, cx: &Context, request: ChangesRequest) -> Result<Page> {
        let login = self.server.login(&request.principal)?;
        let group = groups::selected(&request.scope)?;
        if let Some(name) = &group {
            login.known().note_stream(name, &request.entities);
        }
        let group = group.as_deref();
        // What another process has met of leads; this one remembers what it meets itself.
        let learn = |state: &State| login.known().leads.extend(state.leads());
        let state = match request.cursor {
            Some(cursor) => {
                let known = login.known().resume(&cursor);
                let is_read = known.is_none();
                let state = known.map_or_else(|| State::of(&cursor), Ok)?.checked(&request.entities, group)?;
                if is_read {
                    learn(&state);
                }
                Some(state)
            }
            None => None,
        };
        let listed = request.previous.as_ref().filter(|_| state.is_none()).and_then(|cursor| State::of(cursor).ok());
        listed.iter().for_each(learn);
        let (fields, skip_own) = (request.fields.as_slice(), request.skip_own);
        let reader =
            Reader { server: &self.server, cx, login: &login, principal: &request.principal, fields, skip_own };
        let (page, state) = reader.changes(state, listed, &request.entities, group, request.limit)?;
        login.known().midway = page.next.clone().filter(|_| page.more).map(|cursor| (cursor, state));
        Ok(page)
    }

    fn list(&self, cx: &Context, request: ListRequest) -> Result<Page> {
        let mut page = self.changes(
            cx,
            ChangesRequest {
                principal: request.principal,
                scope: request.scope,
                entities: request.entities,
                cursor: request.page,
                previous: request.previous,
                limit: request.limit,
                fields: request.fields,
                skip_own: false,
                ..ChangesRequest::default()
            },
        )?;
        if request.detail == ListDetail::Ids {
            let brief = |record: Record| Record { at: record.at, version: record.version, ..Record::default() };
            page.changes = page
                .changes
                .into_iter()
                .filter_map(|change| change.record.map(|record| Change::upsert(brief(record))))
                .collect();
        }
        Ok(page)
    }

    fn get(&self, cx: &Context, request: GetRequest) -> Result<Vec<Found>> {
        let login = self.server.login(&request.principal)?;
        let group = groups::selected(&request.scope)?;
        let mut answers: Vec<Found> = request.at.iter().map(|_| Found::default()).collect();
        let mut entities: Vec<&str> = request.at.iter().map(|at| at.entity.as_str()).collect();
        entities.sort_unstable();
        entities.dedup();
        for entity in entities {
            let kind = Kind::of(entity)?;
            let places: Vec<usize> =
                request.at.iter().enumerate().filter(|(_, at)| at.entity == entity).map(|(place, _)| place).collect();
            let keys: Vec<String> = places.iter().map(|place| request.at[*place].id.clone()).collect();
            let found = by_keys(&self.server, cx, &login, kind, &request.fields, &keys)?;
            let reading = Reading::of(kind, &self.server.config, &request.fields);
            for (place, key) in places.iter().zip(&keys) {
                if let Some(record) = found.get(key).and_then(|entry| reading.record(entry)) {
                    answers[*place] = Found::here(record);
                }
            }
            let absent: Vec<String> = keys.iter().filter(|key| !found.contains_key(*key)).cloned().collect();
            if absent.is_empty() {
                continue;
            }
            // What is not visible is answered like what is gone, and only a group still names it.
            let members = match &group {
                Some(name) => groups::recent(&self.server, cx, &login, kind, name)?.map(|group| group.members),
                None => None,
            };
            let statuses = batch::statuses(&self.server, cx, &login, kind.entity, &absent)?;
            let converted = if kind.entity == LEADS {
                leads::converted(&self.server, cx, &login, &request.principal, &absent)?
            } else {
                BTreeSet::new()
            };
            for (place, key) in places.iter().zip(&keys) {
                let gone = statuses.get(key).is_some_and(|status| [404, 410].contains(status));
                if gone && !converted.contains(key) && !members.as_ref().is_some_and(|members| members.contains(key)) {
                    answers[*place].absent = Absent::Gone;
                }
            }
        }
        Ok(answers)
    }

    fn find(&self, cx: &Context, request: FindRequest) -> Result<Vec<Vec<Record>>> {
        find::find(&self.server, cx, &request)
    }

    fn write(&self, cx: &Context, request: WriteRequest) -> Result<Vec<Outcome>> {
        write::write(&self.server, cx, &request)
    }
}
