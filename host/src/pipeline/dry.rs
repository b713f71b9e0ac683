//! A remote that reads and never writes: what a plan runs against.

use std::collections::{BTreeMap, HashMap};

use pairwise_plugin_api::ops::{
    AcknowledgeRequest, ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest,
    EnsureContainerRequest, FindRequest, GetRequest, ListRequest, LoginRequest, LoginResponse, MigrateStateRequest,
    MigrateStateResponse, SettingsRequest, StampRequest, StampResponse, UsersRequest, UsersResponse, WriteRequest,
};
use pairwise_plugin_api::{
    Action, Catalogue, Change, Condition, Failure, Fields, Found, Name, Outcome, Page, Record, RecordRef, Status,
    Value, Write,
};

use super::calls::is_gone;
use super::drafts::{Drafts, is_about};
use crate::model::{Author, Remote};

/// What stands in front of the id that a create would have got. No record bears it: plans blank it out.
pub const PLANNED: &str = "planned:";

/// Hands every read on to the remote behind it, and answers every write as if it had been done. What was written so, reads
/// tell from then on, also to the lanes that come later in the plan: they would meet it in a run.
#[allow(missing_debug_implementations, reason = "a remote has no text form")]
pub struct DryRun<'a> {
    remote: &'a dyn Remote,
    drafts: &'a Drafts,
    /// The entities of the lane.
    own: &'a [String],
}

impl<'a> DryRun<'a> {
    /// Over this remote, for a lane of these entities. `drafts` belong to its connection, for the time of one plan.
    #[must_use]
    pub fn new(remote: &'a dyn Remote, drafts: &'a Drafts, own: &'a [String]) -> Self {
        DryRun { remote, drafts, own }
    }

    /// Whether what is written for one person is there for all, as in a system whose groups are more than places.
    fn is_shared(&self) -> Result<bool, Failure> {
        Ok(self.remote.describe()?.capabilities.membership)
    }

    /// What writes would be answered that are meant for records which have changed, or are not there any more: nobody may have
    /// told it yet.
    fn moved(&self, request: &WriteRequest) -> Result<HashMap<RecordRef, Outcome>, Failure> {
        let meant = |write: &&Write| write.action != Action::Create && !write.at.id.starts_with(PLANNED);
        let writes: Vec<&Write> = request.writes.iter().filter(meant).collect();
        if writes.is_empty() {
            return Ok(HashMap::new());
        }
        let at = writes.iter().map(|write| write.at.clone()).collect();
        let (principal, scope) = (request.principal.clone(), request.scope.clone());
        let found = self.get(&GetRequest { principal, scope, at, ..GetRequest::default() })?;
        let mut moved = HashMap::new();
        for (write, found) in writes.into_iter().zip(found) {
            let is_other = |record: &Record| record.version.is_some() && record.version != write.expect;
            if is_gone(&found) {
                moved.insert(write.at.clone(), Outcome::of(Status::Gone));
            } else if let Some(record) = found.record.filter(|record| write.expect.is_some() && is_other(record)) {
                moved.insert(write.at.clone(), Outcome { record: Some(record), ..Outcome::of(Status::Conflict) });
            }
        }
        Ok(moved)
    }

    /// What new records show of those that they refer to, in the order of the writes.
    fn shown(&self, request: &WriteRequest) -> Result<Vec<Fields>, Failure> {
        let mut shown = vec![Fields::new(); request.writes.len()];
        let creates = |write: &Write| write.action == Action::Create;
        if !request.writes.iter().any(creates) {
            return Ok(shown);
        }
        let asked = DiscoverRequest { principal: request.principal.clone(), ..DiscoverRequest::default() };
        let catalogue = self.remote.discover(&asked)?;
        let mut wanted: Vec<(usize, &Name, &Name, RecordRef)> = Vec::new();
        for (place, write) in request.writes.iter().enumerate().filter(|(_, write)| creates(write)) {
            let Some(entity) = catalogue.entity(&write.at.entity) else { continue };
            for (field, shows) in entity.fields.iter().filter_map(|field| Some((field, field.shows.as_ref()?))) {
                let of = entity.field(&shows.reference).and_then(|reference| reference.reference.clone());
                if let Some((of, key)) = of.zip(write.fields.text(&shows.reference)) {
                    wanted.push((place, &field.name, &shows.field, RecordRef::new(of, key)));
                }
            }
        }
        let at = wanted.iter().map(|(.., at)| at.clone()).collect();
        let found = self.get(&GetRequest { principal: request.principal.clone(), at, ..GetRequest::default() })?;
        for ((place, name, of, _), found) in wanted.into_iter().zip(found) {
            if let Some(value) = found.record.and_then(|record| record.fields.get(of).cloned()) {
                shown[place].set(name.clone(), value);
            }
        }
        Ok(shown)
    }
}

/// The version that a write would leave, or the id of what it would make: no system gives the like.
fn planned(write: &Write) -> String {
    format!("{PLANNED}{}", write.key)
}

impl Remote for DryRun<'_> {
    fn author(&self) -> Author {
        self.remote.author()
    }

    fn describe(&self) -> Result<Description, Failure> {
        self.remote.describe()
    }

    fn discover(&self, request: &DiscoverRequest) -> Result<Catalogue, Failure> {
        self.remote.discover(request)
    }

    fn login(&self, request: &LoginRequest) -> Result<LoginResponse, Failure> {
        self.remote.login(request)
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Condition>, Failure> {
        self.remote.check(request)
    }

    fn users(&self, request: &UsersRequest) -> Result<UsersResponse, Failure> {
        self.remote.users(request)
    }

    fn settings(&self, request: &SettingsRequest) -> Result<BTreeMap<String, Value>, Failure> {
        self.remote.settings(request)
    }

    fn containers(&self, request: &ContainersRequest) -> Result<Vec<Container>, Failure> {
        self.remote.containers(request)
    }

    /// The container if it is there, else one as it would be made.
    fn ensure_container(&self, request: &EnsureContainerRequest) -> Result<Container, Failure> {
        let there = ContainersRequest { principal: request.principal.clone(), entity: request.entity.clone() };
        let found = self.remote.containers(&there)?.into_iter().find(|container| container.path == request.path);
        Ok(found.unwrap_or_else(|| Container {
            id: format!("{PLANNED}{}", request.path),
            path: request.path.clone(),
            columns: request.columns.clone(),
            writable: true,
        }))
    }

    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure> {
        let mut page = self.remote.changes(request)?;
        let shared = self.is_shared()?;
        self.drafts.apply(&request.principal, &mut page);
        if shared && !page.more {
            // What earlier lanes have changed of this one's records.
            let told = |at: &RecordRef| page.changes.iter().any(|change| is_about(change, at));
            let at = self.drafts.changed_by_others(&request.principal, &request.entities);
            let at: Vec<RecordRef> = at.into_iter().filter(|at| !told(at)).collect();
            let (principal, scope) = (request.principal.clone(), request.scope.clone());
            if !at.is_empty() {
                let found = self.get(&GetRequest { principal, scope, at, ..GetRequest::default() })?;
                page.changes.extend(found.into_iter().filter_map(|found| found.record).map(Change::upsert));
            }
        }
        Ok(page)
    }

    fn list(&self, request: &ListRequest) -> Result<Page, Failure> {
        let mut page = self.remote.list(request)?;
        self.drafts.apply(&request.principal, &mut page);
        Ok(page)
    }

    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure> {
        let (made, there): (Vec<&RecordRef>, Vec<&RecordRef>) =
            request.at.iter().partition(|at| at.id.starts_with(PLANNED));
        let mut found: HashMap<&RecordRef, Found> = HashMap::with_capacity(request.at.len());
        if !there.is_empty() {
            let at = there.iter().map(|at| (*at).clone()).collect();
            let told = self.remote.get(&GetRequest { at, ..request.clone() })?;
            found
                .extend(there.into_iter().zip(told).map(|(at, told)| (at, self.drafts.over(&request.principal, told))));
        }
        found.extend(made.into_iter().map(|at| (at, self.drafts.made(at))));
        Ok(request.at.iter().map(|at| found.get(at).cloned().unwrap_or_default()).collect())
    }

    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure> {
        let mut found = self.remote.find(request)?;
        // What a lane makes of its own kind is its person's, and whether another one sees it is for the system's rights to say.
        // What it makes for others to refer to is there for all.
        let shared = !self.own.contains(&request.entity) && self.is_shared()?;
        for (value, records) in request.values.iter().zip(&mut found) {
            records.extend(self.drafts.find(request, value, shared));
        }
        Ok(found)
    }

    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure> {
        let mut moved = self.moved(request)?;
        let outcome = |(write, shown): (&Write, Fields)| {
            if let Some(outcome) = moved.remove(&write.at) {
                return outcome;
            }
            let mut record = Record { at: write.at.clone(), version: Some(planned(write)), ..Record::default() };
            if write.action == Action::Create {
                record.at.id = planned(write);
                (record.container, record.uid, record.fields) = (write.container.clone(), write.uid.clone(), shown);
            }
            self.drafts.note(&request.principal, write, &record);
            Outcome::applied(record)
        };
        Ok(request.writes.iter().zip(self.shown(request)?).map(outcome).collect())
    }

    fn acknowledge(&self, request: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure> {
        Ok(request.items.iter().map(|_| Outcome::of(Status::Applied)).collect())
    }

    /// The mark that is there; a new one is not set.
    fn stamp(&self, request: &StampRequest) -> Result<StampResponse, Failure> {
        self.remote.stamp(&StampRequest { put: None, expect: None, ..request.clone() })
    }

    fn migrate_state(&self, request: &MigrateStateRequest) -> Result<MigrateStateResponse, Failure> {
        self.remote.migrate_state(request)
    }
}
