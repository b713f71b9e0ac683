//! What a vendor writes: one type, one trait.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::catalogue::Catalogue;
use crate::context::Context;
use crate::delta::{Found, Page};
use crate::failure::Failure;
use crate::ops::*;
use crate::record::{Condition, Record};
use crate::value::Value;
use crate::write::Outcome;

/// The answer of every operation.
pub type Result<T> = std::result::Result<T, Failure>;

/// Access to one system. One value is made for each connection and lives as long as its worker.
///
/// **Threads.** Calls come from several threads at once, at most [`Capabilities::max_parallel`] of them. They block.
///
/// **Time.** A call should look at [`Context::cancelled`] between two requests and call [`Context::progress`] when something
/// got done; a call that does neither is killed together with its process at its deadline.
///
/// **Panics** are caught and reported; the instance is not used again.
///
/// **Ownership.** Nothing is kept on disk by a connector. What must survive a call travels in cursors.
///
/// [`Capabilities::max_parallel`]: crate::Capabilities::max_parallel
pub trait Connector: Send + Sync + Sized + 'static {
    /// The settings of a connection, as its section in `pairwise.toml` holds them. No secrets: they come with `login`.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes the connector. No requests are sent yet.
    ///
    /// # Errors
    /// [`Class::Config`](crate::Class::Config) naming the setting that cannot work.
    fn create(config: Self::Config, cx: &Context) -> Result<Self>;

    /// Abilities with these settings.
    fn describe(&self, cx: &Context) -> Result<Description>;

    /// Entities and fields.
    fn discover(&self, cx: &Context, request: DiscoverRequest) -> Result<Catalogue>;

    /// Whether work could start now. Must not write.
    fn check(&self, cx: &Context, request: CheckRequest) -> Result<Vec<Condition>>;

    /// A page of everything in scope.
    fn list(&self, cx: &Context, request: ListRequest) -> Result<Page>;

    /// Records by id, in the order of the ids.
    fn get(&self, cx: &Context, request: GetRequest) -> Result<Vec<Found>>;

    /// A batch of writes: one outcome each, in order. A failure of one record is an outcome; a failure of the call is an
    /// error, and says whether it may have had an effect.
    fn write(&self, cx: &Context, request: WriteRequest) -> Result<Vec<Outcome>>;

    /// Looks at the settings beyond their schema.
    fn validate(&self, cx: &Context) -> Result<Vec<Problem>> {
        let _ = cx;
        Ok(Vec::new())
    }

    /// Logs a principal in.
    fn login(&self, cx: &Context, request: LoginRequest) -> Result<LoginResponse> {
        let _ = (cx, request);
        Ok(LoginResponse::default())
    }

    /// The people the system knows.
    fn users(&self, cx: &Context, request: UsersRequest) -> Result<UsersResponse> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Users::NAME))
    }

    /// Settings that are kept in the remote system.
    fn settings(&self, cx: &Context, request: SettingsRequest) -> Result<BTreeMap<String, Value>> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Settings::NAME))
    }

    /// Settings that an administrator might want.
    fn suggest(&self, cx: &Context, request: SuggestRequest) -> Result<BTreeMap<String, Value>> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Suggest::NAME))
    }

    /// Folders, lists, groups.
    fn containers(&self, cx: &Context, request: ContainersRequest) -> Result<Vec<Container>> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Containers::NAME))
    }

    /// Finds a folder by its path, or makes it.
    fn ensure_container(&self, cx: &Context, request: EnsureContainerRequest) -> Result<Container> {
        let _ = (cx, request);
        Err(Failure::unimplemented(EnsureContainer::NAME))
    }

    /// A page of what changed since a cursor.
    fn changes(&self, cx: &Context, request: ChangesRequest) -> Result<Page> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Changes::NAME))
    }

    /// Records by a field's values or by create keys: one list for each value, in order.
    fn find(&self, cx: &Context, request: FindRequest) -> Result<Vec<Vec<Record>>> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Find::NAME))
    }

    /// Tells the source what became of its records.
    fn acknowledge(&self, cx: &Context, request: AcknowledgeRequest) -> Result<Vec<Outcome>> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Acknowledge::NAME))
    }

    /// Reads or sets the mark that ties a scope to one host database.
    fn stamp(&self, cx: &Context, request: StampRequest) -> Result<StampResponse> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Stamp::NAME))
    }

    /// Announces changes until it is cancelled.
    fn watch(&self, cx: &Context, request: WatchRequest) -> Result<WatchResponse> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Watch::NAME))
    }

    /// Takes an HTTP notification.
    fn receive(&self, cx: &Context, request: ReceiveRequest) -> Result<ReceiveResponse> {
        let _ = (cx, request);
        Err(Failure::unimplemented(Receive::NAME))
    }

    /// Carries what an earlier version of the plugin has written over to this one. Asked once, before the first use. Without it,
    /// what a compatible version has written is taken as it is, and anything else leads to a listing.
    fn migrate_state(&self, cx: &Context, request: MigrateStateRequest) -> Result<MigrateStateResponse> {
        let _ = (cx, request);
        Err(Failure::unimplemented(MigrateState::NAME))
    }

    /// The last call. Whatever is still to be finished, is finished here.
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}
