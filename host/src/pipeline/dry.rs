//! A remote that reads and never writes: what a plan runs against.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::{
    AcknowledgeRequest, ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest,
    EnsureContainerRequest, FindRequest, GetRequest, ListRequest, LoginRequest, LoginResponse, SettingsRequest,
    StampRequest, StampResponse, UsersRequest, UsersResponse, WriteRequest,
};
use pairwise_plugin_api::{
    Action, Catalogue, Condition, Failure, Found, Outcome, Page, Record, RecordRef, Status, Value,
};

use crate::model::Remote;

/// What stands in front of the id that a create would have got. No record bears it: plans blank it out.
pub const PLANNED: &str = "planned:";

/// Hands every read on to the remote behind it and answers every write as if it had been done.
#[allow(missing_debug_implementations, reason = "a remote has no text form")]
pub struct DryRun<'a>(pub &'a dyn Remote);

impl Remote for DryRun<'_> {
    fn describe(&self) -> Result<Description, Failure> {
        self.0.describe()
    }

    fn discover(&self, request: &DiscoverRequest) -> Result<Catalogue, Failure> {
        self.0.discover(request)
    }

    fn login(&self, request: &LoginRequest) -> Result<LoginResponse, Failure> {
        self.0.login(request)
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Condition>, Failure> {
        self.0.check(request)
    }

    fn users(&self, request: &UsersRequest) -> Result<UsersResponse, Failure> {
        self.0.users(request)
    }

    fn settings(&self, request: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        self.0.settings(request)
    }

    fn containers(&self, request: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        self.0.containers(request)
    }

    /// The container if it is there, else one as it would be made.
    fn ensure_container(&self, request: &EnsureContainerRequest) -> Result<Container, Failure> {
        let there = ContainersRequest { principal: request.principal.clone(), entity: request.entity.clone() };
        let found = self.0.containers(&there)?.into_iter().find(|container| container.path == request.path);
        Ok(found.unwrap_or_else(|| Container {
            id: format!("{PLANNED}{}", request.path),
            path: request.path.clone(),
            columns: request.columns.clone(),
            writable: true,
        }))
    }

    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure> {
        self.0.changes(request)
    }

    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        self.0.list(request)
    }

    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        self.0.get(request)
    }

    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        self.0.find(request)
    }

    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        let outcome = |write: &pairwise_plugin_api::Write| {
            let at = match write.action {
                Action::Create => RecordRef::new(&*write.at.entity, format!("{PLANNED}{}", write.key)),
                _ => write.at.clone(),
            };
            let (container, uid) = (write.container.clone(), write.uid.clone());
            Outcome::applied(Record { at, container, uid, ..Record::default() })
        };
        Ok(request.writes.iter().map(outcome).collect())
    }

    fn acknowledge(&self, request: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        Ok(request.items.iter().map(|_| Outcome::of(Status::Applied)).collect())
    }

    /// The mark that is there; a new one is not set.
    fn stamp(&self, request: &StampRequest) -> Result<StampResponse, Failure> {
        self.0.stamp(&StampRequest { put: None, expect: None, ..request.clone() })
    }
}
