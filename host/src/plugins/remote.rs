//! A session is a remote: each operation by its name.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::{
    Acknowledge, AcknowledgeRequest, Changes, ChangesRequest, Check, CheckRequest, Container, Containers,
    ContainersRequest, Description, Discover, DiscoverRequest, EnsureContainer, EnsureContainerRequest, Find,
    FindRequest, Get, GetRequest, List, ListRequest, LoginRequest, LoginResponse, MigrateState, MigrateStateRequest,
    MigrateStateResponse, Settings, SettingsRequest, Stamp, StampRequest, StampResponse, Users, UsersRequest,
    UsersResponse, WriteBatch, WriteRequest,
};
use pairwise_plugin_api::{
    Catalogue, Certainty, Class, Condition, Failure, Found, Outcome, Page, Principal, Record, Status, Value,
};

use super::Session;
use crate::model::{Author, Remote};

impl Remote for Session {
    fn author(&self) -> Author {
        let manifest = &self.spec().plugin.manifest;
        Author { plugin: manifest.id.clone(), version: manifest.version.clone() }
    }
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
        self.still_logged_in(&request.principal, || self.send::<Check>(request))
    }
    fn users(&self, request: &UsersRequest) -> Result<UsersResponse, Failure> {
        self.send::<Users>(request)
    }
    fn settings(&self, request: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        self.logged_in(&request.principal, || self.send::<Settings>(request))
    }
    fn containers(&self, request: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        self.logged_in(&request.principal, || self.send::<Containers>(request))
    }
    fn ensure_container(&self, request: &EnsureContainerRequest) -> Result<Container, Failure> {
        self.logged_in(&request.principal, || self.send::<EnsureContainer>(request))
    }
    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure> {
        self.logged_in(&request.principal, || self.send::<Changes>(request))
    }
    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        self.logged_in(&request.principal, || self.send::<List>(request))
    }
    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        self.logged_in(&request.principal, || self.send::<Get>(request))
    }
    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        self.logged_in(&request.principal, || self.send::<Find>(request))
    }
    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = self.logged_in(&request.principal, || self.send::<WriteBatch>(request))?;
        let is_refused = |outcome: &Outcome| outcome.status == Status::Auth;
        // A session may be cut between two writes of a call.
        if outcomes.len() == request.writes.len()
            && outcomes.iter().any(is_refused)
            && self.log_in_anew(&request.principal)
        {
            let places: Vec<usize> = (0..outcomes.len()).filter(|place| is_refused(&outcomes[*place])).collect();
            let writes = places.iter().map(|place| request.writes[*place].clone()).collect();
            let rest = self.send::<WriteBatch>(&WriteRequest { writes, ..request.clone() });
            let rest = rest.unwrap_or_else(|failure| places.iter().map(|_| failed(&failure)).collect());
            places.into_iter().zip(rest).for_each(|(place, outcome)| outcomes[place] = outcome);
        }
        Ok(outcomes)
    }
    fn acknowledge(&self, request: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        self.logged_in(&request.principal, || self.send::<Acknowledge>(request))
    }
    fn stamp(&self, request: &StampRequest) -> Result<StampResponse, Failure> {
        self.logged_in(&request.principal, || self.send::<Stamp>(request))
    }
    fn migrate_state(&self, request: &MigrateStateRequest) -> Result<MigrateStateResponse, Failure> {
        self.send::<MigrateState>(request)
    }
}

impl Session {
    /// A call that works only for who is logged in, and so shows that the login is good.
    fn logged_in<T>(&self, principal: &Principal, call: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
        let answer = self.still_logged_in(principal, call)?;
        self.login_works(principal);
        Ok(answer)
    }

    /// Makes a call. Where a login that was good is refused now, a token or a session has run out: the principal is logged in
    /// again and the call is made once more. A login that never was good is not tried again, which would lock accounts.
    fn still_logged_in<T>(&self, principal: &Principal, call: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
        match call() {
            Err(failure)
                if failure.class == Class::Auth
                    && failure.certainty == Certainty::NotSent
                    && self.log_in_anew(principal) =>
            {
                call()
            }
            answer => answer,
        }
    }
}

/// What a call that failed means for one of its writes.
fn failed(failure: &Failure) -> Outcome {
    let status = match (failure.certainty, failure.class) {
        (Certainty::Unknown, _) => Status::Unknown,
        (_, Class::Auth) => Status::Auth,
        (_, Class::Throttled) => Status::Throttled,
        _ => Status::NotSent,
    };
    Outcome { text: failure.text.clone(), retry_after_ms: failure.retry_after_ms, ..Outcome::of(status) }
}
