//! The connector as the host sees it, against the simulator.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod groups;
mod leads;
mod reading;
mod shipping;
mod trouble;
mod writing;

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::*;
use pairwise_plugin_api::{
    Action, Change, Connector, Context, Cursor, Failure, Fields, Outcome, Principal, Reason, Record, RecordRef, Result,
    Value, Write,
};
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_sandbox::{Options, Sandbox};
use serde_json::{Value as Json, json};

use crate::{Config, InforCrm};

const CRM: &str = "infor-crm";
const GROUP: &str = "Contact Sync";

/// Settings with everything else as it is by itself.
pub(crate) fn config(url: &str) -> Config {
    serde_json::from_value(json!({ "url": url })).unwrap()
}

/// A simulated server, and the connector logged in to it as `lee`.
struct World {
    sandbox: Sandbox,
    crm: InforCrm,
    cx: Context,
}

impl World {
    /// With so many contacts in the group.
    fn of(contacts: u32) -> World {
        World::with(contacts, json!({}))
    }

    /// With settings of the connection, too.
    fn with(contacts: u32, settings: Json) -> World {
        let options =
            Options { systems: vec![CRM.into()], users: 2, contacts, spread: Spread::Crm, ..Options::default() };
        let sandbox = Sandbox::start(options).unwrap();
        let crm = connect(&sandbox.info(CRM).url, settings);
        let world = World { sandbox, crm, cx: Context::detached() };
        world.log_in("lee", "lee-secret");
        world
    }

    fn log_in(&self, user: &str, password: &str) {
        let secrets = BTreeMap::from([("password".to_owned(), password.to_owned())]);
        self.crm.login(&self.cx, LoginRequest { principal: Principal(user.into()), secrets }).unwrap();
    }

    /// Changes how the server behaves.
    fn server(&self, settings: Json) {
        self.sandbox.command(CRM, "settings", &settings).unwrap();
    }

    fn command(&self, name: &str, arguments: Json) {
        self.sandbox.command(CRM, name, &arguments).unwrap();
    }

    /// A person's edit.
    fn edit(&self, id: &str, fields: Json) {
        let fields = fields.as_object().unwrap().clone().into_iter().collect();
        self.sandbox.edit(CRM, Edit { user: "lee".into(), id: Some(id.into()), fields, ..Edit::default() }).unwrap();
    }

    fn held(&self, entity: &str) -> Vec<Item> {
        self.sandbox.records(CRM, Some(entity), None)
    }

    fn holds(&self, entity: &str, id: &str) -> Option<Item> {
        self.held(entity).into_iter().find(|item| item.id == id)
    }

    /// The keys of the group's members.
    fn members(&self) -> Vec<String> {
        let mut groups = self.held("groups").into_iter();
        let own = |item: &Item| item.fields["name"] == GROUP && item.fields["userId"] == "UDEMOA000001";
        let group = groups.find(own).unwrap();
        serde_json::from_value(group.fields["adHocIds"].clone()).unwrap()
    }

    /// How many requests the server got so far, parts of batches not counted.
    fn asked(&self) -> usize {
        self.sandbox.requests(CRM, 0).iter().filter(|request| request.part_of.is_none()).count()
    }

    /// Requests that wrote, or tried to.
    fn writes(&self) -> Vec<String> {
        let requests = self.sandbox.requests(CRM, 0);
        let writes = requests.iter().filter(|request| {
            let asks = request
                .operation
                .as_deref()
                .is_some_and(|operation| operation.starts_with("$service") || operation.ends_with("$batch"));
            request.method != "GET" && !asks
        });
        writes.map(|request| format!("{} {} {}", request.method, request.path, request.body)).collect()
    }

    fn check(&self, scope: Scope) -> Result<Vec<String>> {
        let request = CheckRequest { principal: lee(), scope, entities: vec!["contacts".into()], write: true };
        Ok(self.crm.check(&self.cx, request)?.into_iter().map(|condition| condition.code).collect())
    }

    /// All pages from a cursor on, and where the next look begins.
    fn pull(&self, scope: &Scope, entity: &str, cursor: Option<Cursor>) -> Result<(Vec<Change>, Cursor)> {
        let mut request = ChangesRequest {
            principal: lee(),
            scope: scope.clone(),
            entities: vec![entity.into()],
            cursor,
            limit: 100,
            fields: Vec::new(),
            ..ChangesRequest::default()
        };
        let mut changes = Vec::new();
        loop {
            let page = self.crm.changes(&self.cx, request.clone())?;
            assert!(page.server_time.is_some());
            changes.extend(page.changes);
            request.cursor = page.next;
            if !page.more {
                return Ok((changes, request.cursor.unwrap()));
            }
        }
    }

    fn write(&self, scope: &Scope, writes: Vec<Write>) -> Result<Vec<Outcome>> {
        self.crm
            .write(&self.cx, WriteRequest { principal: lee(), scope: scope.clone(), writes, ..WriteRequest::default() })
    }

    fn one(&self, write: Write) -> Outcome {
        self.write(&in_group(), vec![write]).unwrap().pop().unwrap()
    }

    fn get(&self, id: &str) -> Option<Record> {
        let request = GetRequest { principal: lee(), scope: in_group(), at: vec![contact(id)], fields: Vec::new() };
        self.crm.get(&self.cx, request).unwrap().pop().unwrap().record
    }

    fn find(&self, entity: &str, by: &[&str], values: &[&str], exact: bool) -> Vec<Vec<String>> {
        let request = FindRequest {
            principal: lee(),
            entity: entity.into(),
            by: by.iter().map(|name| (*name).into()).collect(),
            values: values.iter().map(|value| (*value).into()).collect(),
            case_sensitive: exact,
            ..FindRequest::default()
        };
        let found = self.crm.find(&self.cx, request).unwrap();
        found.into_iter().map(|records| records.into_iter().map(|record| record.at.id).collect()).collect()
    }
}

fn connect(url: &str, settings: Json) -> InforCrm {
    let mut all = json!({ "url": url });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    InforCrm::create(serde_json::from_value(all).unwrap(), &Context::detached()).unwrap()
}

fn lee() -> Principal {
    Principal("lee".into())
}

fn in_group() -> Scope {
    Scope::from([("group".to_owned(), Value::from(GROUP))])
}

fn contact(id: &str) -> RecordRef {
    RecordRef::new("contacts", id)
}

fn upserts(changes: &[Change]) -> Vec<&Record> {
    changes.iter().filter_map(|change| change.record.as_ref()).collect()
}

fn ids(changes: &[Change]) -> Vec<&str> {
    upserts(changes).into_iter().map(|record| record.at.id.as_str()).collect()
}

fn removed(changes: &[Change]) -> Vec<(&str, Reason)> {
    let removed = changes.iter().filter_map(|change| change.removed.as_ref());
    removed.map(|removed| (removed.at.id.as_str(), removed.reason)).collect()
}

fn fields<const N: usize>(fields: [(&str, &str); N]) -> Fields {
    fields.into_iter().collect()
}

fn create(entity: &str, fields: Fields) -> Write {
    Write { action: Action::Create, at: RecordRef::new(entity, ""), fields, key: "k".into(), ..Write::default() }
}

/// On condition that the record is as it was read.
fn update(record: &Record, fields: Fields) -> Write {
    let (at, expect) = (record.at.clone(), record.version.clone());
    Write { action: Action::Update, at, fields, expect, ..Write::default() }
}

fn failure<T: std::fmt::Debug>(result: Result<T>) -> Failure {
    result.unwrap_err()
}
