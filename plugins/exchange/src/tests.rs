//! The connector against the simulated server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use pairwise_plugin_api::ops::{
    ChangesRequest, CheckRequest, ContainersRequest, EnsureContainerRequest, FindRequest, GetRequest, LoginRequest,
    WriteRequest,
};
use pairwise_plugin_api::{
    Action, Certainty, Change, Class, Connector, Context, Cursor, Failure, Fields, Outcome, Page, Participant,
    Principal, Record, RecordRef, Role, Status, Value, Write,
};
use pairwise_sandbox::faults::Fault;
use pairwise_sandbox::journal::Entry;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_sandbox::{Options, Sandbox};
use serde_json::{Value as Json, json};

use crate::{Config, Exchange};

const LEE: &str = "lee@example.com";
const KIM: &str = "kim@example.com";

mod contacts;
mod events;
mod notices;
mod tls;
mod troubles;

/// A server with some mailboxes, and the connector to it.
pub(crate) struct Stage {
    sandbox: Sandbox,
    exchange: Exchange,
    cx: Context,
}

impl Stage {
    fn new(contacts: u32) -> Stage {
        Stage::with(contacts, &json!({ "auth": "basic", "time_zone": "Europe/Berlin", "extended": ["region"] }))
    }

    fn with(contacts: u32, settings: &Json) -> Stage {
        let options = Options {
            systems: vec!["exchange".into()],
            contacts,
            users: 2,
            spread: pairwise_sandbox::population::Spread::Mailbox,
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).unwrap();
        let exchange = connect(&sandbox, settings, "svc-secret");
        Stage { sandbox, exchange, cx: Context::detached() }
    }

    fn changes(&self, entity: &str, cursor: Option<Cursor>) -> Page {
        self.changes_of(request(entity, cursor)).unwrap()
    }

    fn changes_of(&self, request: ChangesRequest) -> Result<Page, Failure> {
        self.exchange.changes(&self.cx, request)
    }

    fn write(&self, writes: Vec<Write>) -> Vec<Outcome> {
        let request = WriteRequest { principal: Principal(LEE.into()), writes, ..WriteRequest::default() };
        self.exchange.write(&self.cx, request).unwrap()
    }

    fn one(&self, write: Write) -> Outcome {
        self.write(vec![write]).pop().unwrap()
    }

    fn get(&self, entity: &str, id: &str) -> Option<Record> {
        let at = vec![RecordRef::new(entity, id)];
        let request = GetRequest { principal: Principal(LEE.into()), at, ..GetRequest::default() };
        self.exchange.get(&self.cx, request).unwrap().pop().unwrap().record
    }

    fn find(&self, entity: &str, by: &[&str], values: &[&str]) -> Vec<Vec<Record>> {
        let request = FindRequest {
            principal: Principal(LEE.into()),
            entity: entity.into(),
            by: by.iter().map(|name| (*name).into()).collect(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            case_sensitive: true,
            ..FindRequest::default()
        };
        self.exchange.find(&self.cx, request).unwrap()
    }

    fn edit(&self, entity: &str, id: Option<&str>, fields: Json, container: Option<&str>) -> String {
        let Json::Object(fields) = fields else { panic!("fields are an object") };
        let edit = Edit {
            entity: entity.into(),
            user: LEE.into(),
            id: id.map(str::to_owned),
            fields,
            container: container.map(str::to_owned),
        };
        self.sandbox.edit("exchange", edit).unwrap()
    }

    fn items(&self, entity: &str) -> Vec<Item> {
        self.sandbox.records("exchange", Some(entity), Some(LEE))
    }

    fn command(&self, name: &str, arguments: Json) -> Json {
        self.sandbox.command("exchange", name, &arguments).unwrap()
    }

    fn fault(&self, fault: Json) {
        let fault: Fault = serde_json::from_value(fault).unwrap();
        self.sandbox.fault("exchange", fault);
    }

    /// What was asked since then.
    fn asked(&self, since: u64) -> Vec<Entry> {
        self.sandbox.requests("exchange", since)
    }

    fn operations(&self, since: u64) -> Vec<String> {
        self.asked(since).into_iter().filter_map(|entry| entry.operation).collect()
    }

    fn now(&self) -> u64 {
        self.sandbox.core("exchange").journal().last()
    }
}

fn connect(sandbox: &Sandbox, settings: &Json, password: &str) -> Exchange {
    let mut settings = settings.clone();
    settings["url"] = settings.get("url").cloned().unwrap_or(json!(sandbox.info("exchange").url));
    settings["username"] = json!("EXAMPLE\\svc-pairwise");
    let config: Config = serde_json::from_value(settings).unwrap();
    let exchange = Exchange::create(config, &Context::detached()).unwrap();
    let secrets = [("password".to_owned(), password.to_owned())].into();
    exchange.login(&Context::detached(), LoginRequest { principal: Principal::connection(), secrets }).unwrap();
    exchange
}

fn request(entity: &str, cursor: Option<Cursor>) -> ChangesRequest {
    ChangesRequest {
        principal: Principal(LEE.into()),
        entities: vec![entity.into()],
        cursor,
        limit: 100,
        ..ChangesRequest::default()
    }
}

fn create(entity: &str, key: &str, fields: &[(&str, Value)]) -> Write {
    let fields: Fields = fields.iter().map(|(name, value)| (*name, value.clone())).collect();
    Write { action: Action::Create, at: RecordRef::new(entity, ""), key: key.into(), fields, ..Write::default() }
}

fn update(record: &Record, fields: &[(&str, Value)]) -> Write {
    let fields: Fields = fields.iter().map(|(name, value)| (*name, value.clone())).collect();
    let expect = record.version.clone();
    Write { action: Action::Update, at: record.at.clone(), expect, key: "K".into(), fields, ..Write::default() }
}

fn records(page: &Page) -> Vec<&Record> {
    page.changes.iter().filter_map(|change| change.record.as_ref()).collect()
}

fn removed(page: &Page) -> Vec<&str> {
    page.changes.iter().filter_map(|change: &Change| Some(change.removed.as_ref()?.at.id.as_str())).collect()
}
