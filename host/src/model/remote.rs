//! The port to one side of a lane: what the pipeline asks of a connector, wherever it runs.

use pairwise_plugin_api::ops::{
    AcknowledgeRequest, ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest,
    EnsureContainerRequest, FindRequest, GetRequest, ListRequest, LoginRequest, LoginResponse, MigrateStateRequest,
    MigrateStateResponse, SettingsRequest, StampRequest, StampResponse, UsersRequest, UsersResponse, WriteRequest,
};
use pairwise_plugin_api::{Catalogue, Condition, Failure, Found, Outcome, Page, Record, Value};

use super::Author;

/// The operations of `plugin-api` that the pipeline uses. Calls block until they are answered or their deadline is over; a
/// dead or hung plugin is a [`Failure`] like any other, with its certainty.
///
/// Implemented by a session (a plugin in its worker or in this process), by the dry run that a plan uses, and by the
/// remotes of the simulator.
#[allow(missing_docs, reason = "each method is the operation of the same name in `pairwise_plugin_api::ops`")]
pub trait Remote: Send + Sync {
    /// Who writes the cursors that this remote tells: no operation, it is known without asking.
    fn author(&self) -> Author;
    fn describe(&self) -> Result<Description, Failure>;
    fn discover(&self, request: &DiscoverRequest) -> Result<Catalogue, Failure>;
    fn login(&self, request: &LoginRequest) -> Result<LoginResponse, Failure>;
    fn check(&self, request: &CheckRequest) -> Result<Vec<Condition>, Failure>;
    fn users(&self, request: &UsersRequest) -> Result<UsersResponse, Failure>;
    fn settings(&self, request: &SettingsRequest) -> Result<std::collections::BTreeMap<String, Value>, Failure>;
    fn containers(&self, request: &ContainersRequest) -> Result<Vec<Container>, Failure>;
    fn ensure_container(&self, request: &EnsureContainerRequest) -> Result<Container, Failure>;
    fn changes(&self, request: &ChangesRequest) -> Result<Page, Failure>;
    fn list(&self, request: &ListRequest) -> Result<Page, Failure>;
    fn get(&self, request: &GetRequest) -> Result<Vec<Found>, Failure>;
    fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>, Failure>;
    fn write(&self, request: &WriteRequest) -> Result<Vec<Outcome>, Failure>;
    fn acknowledge(&self, request: &AcknowledgeRequest) -> Result<Vec<Outcome>, Failure>;
    fn stamp(&self, request: &StampRequest) -> Result<StampResponse, Failure>;
    fn migrate_state(&self, request: &MigrateStateRequest) -> Result<MigrateStateResponse, Failure>;
}
