//! A sandbox and a connector that is logged in to it.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::{ChangesRequest, LoginRequest, Scope, WriteRequest};
use pairwise_plugin_api::{
    Action, Change, Class, Connector, Context, Cursor, Failure, Fields, Outcome, Principal, Record, RecordRef, Removed,
    Write,
};
use pairwise_sandbox::system::Edit;
use pairwise_sandbox::{Options, Sandbox};
use serde_json::{Value as Json, json};

use crate::{Config, Outlook, SignIn};

pub(super) const LEE: &str = "lee@example.com";

pub(super) struct World {
    pub(super) sandbox: Sandbox,
    pub(super) outlook: Outlook,
    pub(super) cx: Context,
}

/// The mailbox of most tests.
pub(super) fn lee() -> Principal {
    Principal(LEE.into())
}

pub(super) fn config(sandbox: &Sandbox, change: impl FnOnce(&mut Json)) -> Config {
    let mut settings = json!(sandbox.info("outlook").logins[0].settings);
    change(&mut settings);
    serde_json::from_value(settings).unwrap()
}

impl World {
    /// So many contacts in the mailbox.
    pub(super) fn of(contacts: u32) -> World {
        World::with(contacts, |_| {})
    }

    pub(super) fn with(contacts: u32, change: impl FnOnce(&mut Json)) -> World {
        let options = Options {
            systems: vec!["outlook".into()],
            contacts,
            spread: pairwise_sandbox::population::Spread::Mailbox,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).unwrap();
        let cx = Context::detached();
        let outlook = Outlook::create(config(&sandbox, change), &cx).unwrap();
        let world = World { sandbox, outlook, cx };
        if world.outlook.graph.config().sign_in == SignIn::Application {
            world.log_in(&[("client_secret", "pairwise~sandbox~secret")]).unwrap();
        }
        world
    }

    pub(super) fn log_in(&self, secrets: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Failure> {
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = LoginRequest { principal: lee(), secrets };
        Ok(self.outlook.login(&self.cx, request)?.keep)
    }

    pub(super) fn command(&self, name: &str, arguments: Json) -> Json {
        self.sandbox.command("outlook", name, &arguments).unwrap()
    }

    /// A person's edit.
    pub(super) fn edit(&self, id: Option<&str>, fields: Json, container: Option<&str>) -> String {
        let edit = Edit {
            entity: "contact".into(),
            user: LEE.into(),
            id: id.map(str::to_owned),
            fields: fields.as_object().unwrap().clone(),
            container: container.map(str::to_owned),
        };
        self.sandbox.edit("outlook", edit).unwrap()
    }

    /// All pages of a round.
    pub(super) fn changes(&self, entity: &str, scope: &Scope, cursor: Option<Cursor>) -> Result<Round, Failure> {
        let request = ChangesRequest { cursor, ..changes(entity, scope) };
        self.round(request)
    }

    pub(super) fn round(&self, mut request: ChangesRequest) -> Result<Round, Failure> {
        let mut round = Round::default();
        loop {
            let page = self.outlook.changes(&self.cx, request.clone())?;
            round.pages += 1;
            for change in page.changes {
                match change {
                    Change { record: Some(record), .. } => round.records.push(record),
                    Change { removed: Some(removed), .. } => round.removed.push(removed),
                    Change { .. } => panic!("an empty line"),
                }
            }
            round.complete = page.complete;
            round.cursor.clone_from(&page.next);
            if !page.more {
                return Ok(round);
            }
            request.cursor = page.next;
        }
    }

    pub(super) fn write(&self, writes: Vec<Write>) -> Vec<Outcome> {
        let request = WriteRequest { principal: lee(), writes, ..WriteRequest::default() };
        self.outlook.write(&self.cx, request).unwrap()
    }

    /// Requests since a number, batches counted once.
    pub(super) fn requests(&self, since: u64) -> Vec<pairwise_sandbox::journal::Entry> {
        let all = self.sandbox.requests("outlook", since);
        all.into_iter().filter(|entry| entry.part_of.is_none()).collect()
    }

    pub(super) fn last(&self) -> u64 {
        self.sandbox.core("outlook").journal().last()
    }
}

pub(super) fn changes(entity: &str, scope: &Scope) -> ChangesRequest {
    ChangesRequest {
        principal: lee(),
        scope: scope.clone(),
        entities: vec![entity.into()],
        limit: 500,
        ..ChangesRequest::default()
    }
}

#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) records: Vec<Record>,
    pub(super) removed: Vec<Removed>,
    pub(super) cursor: Option<Cursor>,
    pub(super) complete: bool,
    pub(super) pages: usize,
}

pub(super) fn create(key: &str, fields: &[(&str, &str)]) -> Write {
    let fields: Fields = fields.iter().copied().collect();
    Write { at: RecordRef::new("contact", ""), action: Action::Create, key: key.into(), fields, ..Write::default() }
}

pub(super) fn update(record: &Record, fields: Fields) -> Write {
    Write {
        at: record.at.clone(),
        action: Action::Update,
        key: "U".into(),
        expect: record.version.clone(),
        fields,
        ..Write::default()
    }
}

pub(super) fn class(failure: Result<impl Sized, Failure>) -> (Class, String) {
    failure.map(drop).map_or_else(|failure| (failure.class, failure.text), |()| panic!("it did not fail"))
}
