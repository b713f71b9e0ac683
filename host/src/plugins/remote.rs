//! A session is a remote: each operation by its name.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::{
    Acknowledge, AcknowledgeRequest, Changes, ChangesRequest, Check, CheckRequest, Container, Containers,
    ContainersRequest, Description, Discover, DiscoverRequest, EnsureContainer, EnsureContainerRequest, Find,
    FindRequest, Get, GetRequest, List, ListRequest, LoginRequest, LoginResponse, Settings, SettingsRequest, Stamp,
    StampRequest, StampResponse, Users, UsersRequest, UsersResponse, WriteBatch, WriteRequest,
};
use pairwise_plugin_api::{Catalogue, Condition, Failure, Found, Outcome, Page, Record, Value};

use super::Session;
use crate::model::Remote;

impl Remote for Session {
    fn describe(&self) -> Result<Description, Failure> {
        Ok(self.description().clone())
    }
    fn discover(&self, request: &DiscoverRequest) -> Result<Catalogue, Failure> {
        self.send::<Discover>(request)
    }
    fn login(&self, request: &LoginRequest) -> Result<LoginResponse, Failure> {
        Session::login(self, request.clone())
    }
    fn check(&self, request: &CheckRequest) -> Result<Vec<Condition>, Failure> {
        self.send::<Check>(request)
    }
    fn users(&self, request: &UsersRequest) -> Result<UsersResponse, Failure> {
        self.send::<Users>(request)
    }
    fn settings(&self, request: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        self.send::<Settings>(request)
    }
    fn containers(&self, request: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        self.send::<Containers>(request)
    }
    fn ensure_container(&self, request: &EnsureContainerRequest) -> Result<Container, Failure> {
        self.send::<EnsureContainer>(request)
    }
    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure> {
        self.send::<Changes>(request)
    }
    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        self.send::<List>(request)
    }
    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        self.send::<Get>(request)
    }
    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        self.send::<Find>(request)
    }
    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        self.send::<WriteBatch>(request)
    }
    fn acknowledge(&self, request: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        self.send::<Acknowledge>(request)
    }
    fn stamp(&self, request: &StampRequest) -> Result<StampResponse, Failure> {
        self.send::<Stamp>(request)
    }
}
