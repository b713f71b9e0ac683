//! The operations: one number, one request and one response each. Numbers are for ever; new operations get new ones, and new
//! members of a message are optional. An operation that a connector does not have answers [`Class::Unimplemented`].
//!
//! [`Class::Unimplemented`]: crate::Class::Unimplemented

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::catalogue::Catalogue;
use crate::delta::{Cursor, Found, Page};
use crate::record::{Condition, Millis, Principal, Record, RecordRef};
use crate::value::{Name, Value};
use crate::write::{Outcome, Write};

/// An operation: its number on the wire and its two messages.
pub trait Operation {
    /// Number on the wire; never used again for anything else.
    const OP: u32;
    /// Name in logs and messages.
    const NAME: &'static str;
    /// True where a failed call may have changed something in the remote system.
    const WRITES: bool;
    /// What is asked.
    type Request: Serialize + DeserializeOwned;
    /// What is answered.
    type Response: Serialize + DeserializeOwned;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $number:literal $name:literal $op:ident($request:ty) -> $response:ty, writes: $writes:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $op;
            impl Operation for $op {
                const OP: u32 = $number;
                const NAME: &'static str = $name;
                const WRITES: bool = $writes;
                type Request = $request;
                type Response = $response;
            }
        )*
        /// Every operation of this API version: number and name.
        pub const ALL: &[(u32, &str)] = &[$(($number, $name)),*];

        /// Whether a failed call of this operation may have changed something. Nobody knows what unknown operations do.
        #[must_use]
        pub fn writes(op: u32) -> bool {
            match op {
                $($number => $writes,)*
                _ => true,
            }
        }
    };
}

operations! {
    /// What the connector can do with its present settings. Needs no connection to the system.
    1 "describe" Describe(DescribeRequest) -> Description, writes: false;
    /// Looks at the settings beyond their schema. Needs no connection to the system.
    2 "validate" Validate(ValidateRequest) -> Vec<Problem>, writes: false;
    /// Entities and fields.
    3 "discover" Discover(DiscoverRequest) -> Catalogue, writes: false;
    /// Logs a principal in. Called before any other call for that principal, and again after an `auth` failure.
    4 "login" Login(LoginRequest) -> LoginResponse, writes: false;
    /// Whether this principal could work in this scope now.
    5 "check" Check(CheckRequest) -> Vec<Condition>, writes: false;
    /// The people the system knows.
    6 "users" Users(UsersRequest) -> UsersResponse, writes: false;
    /// Settings of synchronisation that are kept in the remote system.
    7 "settings" Settings(SettingsRequest) -> BTreeMap<String, Value>, writes: false;
    /// Settings that an administrator might want, for instance a field table.
    8 "suggest" Suggest(SuggestRequest) -> BTreeMap<String, Value>, writes: false;
    /// Folders, lists, groups.
    9 "containers" Containers(ContainersRequest) -> Vec<Container>, writes: false;
    /// Finds a folder by its path, or makes it.
    10 "ensure_container" EnsureContainer(EnsureContainerRequest) -> Container, writes: true;
    /// A page of what changed since a cursor.
    11 "changes" Changes(ChangesRequest) -> Page, writes: false;
    /// A page of everything in scope.
    12 "list" List(ListRequest) -> Page, writes: false;
    /// Records by id, in the order of the ids.
    13 "get" Get(GetRequest) -> Vec<Found>, writes: false;
    /// Records by a field's values or by create keys: one list for each value, in order.
    14 "find" Find(FindRequest) -> Vec<Vec<Record>>, writes: false;
    /// A batch of writes: one outcome each, in order.
    15 "write" WriteBatch(WriteRequest) -> Vec<Outcome>, writes: true;
    /// Tells the source what became of its records: one outcome each, in order. Repeats are harmless.
    16 "acknowledge" Acknowledge(AcknowledgeRequest) -> Vec<Outcome>, writes: true;
    /// Reads or sets the mark that ties a scope to one host database.
    17 "stamp" Stamp(StampRequest) -> StampResponse, writes: true;
    /// Announces changes with `Context::announce` until it is cancelled. Runs on a thread of its own.
    18 "watch" Watch(WatchRequest) -> WatchResponse, writes: false;
    /// Takes an HTTP notification.
    19 "receive" Receive(ReceiveRequest) -> ReceiveResponse, writes: false;
    /// Carries a cursor or other state of an older plugin version over to this one.
    20 "migrate_state" MigrateState(MigrateStateRequest) -> MigrateStateResponse, writes: false;
}

/// Which part of a system a stream works in: selectors of the entity, united. An empty scope is everything.
pub type Scope = BTreeMap<String, Value>;

/// Request of [`Describe`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DescribeRequest {}

/// Response of [`Describe`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// Abilities with the present settings.
    pub capabilities: Capabilities,
    /// What the connection leads to, for people: a URL, a folder. No secrets.
    pub target: String,
    /// Equal for two connections that lead to the same store, so that no profile pairs a store with itself; empty where
    /// the connector cannot tell.
    pub identity: String,
}

/// Request of [`Validate`]: the settings are those that the connector was created with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ValidateRequest {}

/// A setting that will not work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The setting's key.
    pub setting: String,
    /// What is wrong, what was expected, what to do.
    pub text: String,
}

/// Request of [`Discover`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscoverRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Only this entity.
    pub entity: Option<String>,
    /// Only the fields of this container, where containers have columns of their own.
    pub container: Option<String>,
}

/// Request of [`Login`].
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LoginRequest {
    /// Who logs in.
    pub principal: Principal,
    /// Secrets by name. Never printed.
    pub secrets: BTreeMap<String, String>,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.secrets.keys().collect();
        f.debug_struct("LoginRequest").field("principal", &self.principal).field("secrets", &names).finish()
    }
}

/// Response of [`Login`].
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LoginResponse {
    /// Secrets that changed and are to be kept: rotated tokens.
    pub keep: BTreeMap<String, String>,
    /// What a person has to do before the login can go on; only where [`INTERACTIVE`] was among the secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
}

/// Among the secrets of a login, with any value: a person is there, who can be asked to sign in.
pub const INTERACTIVE: &str = "interactive";

/// What a person is asked to do. The login is then repeated until it asks no more.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// For the person: where to go, and what to enter there.
    pub text: String,
    /// How long to wait before the login is repeated.
    pub wait_ms: u64,
    /// Secrets that the repeated login gets in addition. Never printed.
    pub secrets: BTreeMap<String, String>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("text", &self.text).field("wait_ms", &self.wait_ms).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LoginResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginResponse").field("keep", &self.keep.keys().collect::<Vec<_>>()).finish()
    }
}

/// Request of [`Check`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where.
    pub scope: Scope,
    /// Entities that are to be read or written.
    pub entities: Vec<String>,
    /// Whether anything is to be written.
    pub write: bool,
}

/// Request of [`Users`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UsersRequest {
    /// Where to go on.
    pub page: Option<Cursor>,
}

/// Response of [`Users`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UsersResponse {
    /// A page of people.
    pub users: Vec<User>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// A person that a system knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// How calls name the person.
    pub principal: Principal,
    /// E-mail address as the system spells it.
    pub address: String,
    /// Display name.
    pub name: String,
    /// May be worked for.
    pub active: bool,
    /// Settings of this person in the system.
    pub settings: BTreeMap<String, Value>,
}

/// Request of [`Settings`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsRequest {
    /// One person's, or the connection's.
    pub principal: Principal,
}

/// Request of [`Suggest`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SuggestRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// What for; the topics stand in the plugin's documentation.
    pub topic: String,
}

/// Request of [`Containers`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainersRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Containers that hold this entity.
    pub entity: String,
}

/// A folder, list or group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// How records and writes name it.
    pub id: String,
    /// Path for people, parts separated by `/`.
    pub path: String,
    /// Columns, where containers have their own.
    pub columns: Vec<Name>,
    /// May be written.
    pub writable: bool,
}

/// Request of [`EnsureContainer`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EnsureContainerRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// What it is to hold.
    pub entity: String,
    /// Path, parts separated by `/`.
    pub path: String,
    /// Columns it must have.
    pub columns: Vec<Name>,
}

/// Request of [`Changes`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangesRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where.
    pub scope: Scope,
    /// Which entities.
    pub entities: Vec<String>,
    /// Since when; `None` is from the beginning: everything that is there now.
    pub cursor: Option<Cursor>,
    /// Without a cursor: where reading stood before, if it ever did. What is missing since may be explained by it.
    pub previous: Option<Cursor>,
    /// The largest page that is wanted; the connector may answer with fewer.
    pub limit: u32,
    /// Only these fields; empty is all.
    pub fields: Vec<Name>,
    /// A record that still is as a write of this connector left it, and whose outcome told all there is to tell, may be left
    /// out: the host knows it.
    pub skip_own: bool,
    /// With [`ListDetail::Ids`] records may be told without fields, by id, version and incarnation: most of what is expected is
    /// known to the host, and it asks for the others.
    pub detail: ListDetail,
}

/// Request of [`List`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where.
    pub scope: Scope,
    /// Which entities.
    pub entities: Vec<String>,
    /// `Page::next` of the page before; `None` starts.
    pub page: Option<Cursor>,
    /// `Page::next` of the last page of the listing before, if there was one: tells `Page::same_store`, and may save work.
    pub previous: Option<Cursor>,
    /// The largest page that is wanted; the connector may answer with fewer.
    pub limit: u32,
    /// Only records in this window, where the connector declares windows.
    pub window: Option<Window>,
    /// Ids and versions, or whole records.
    pub detail: ListDetail,
    /// Only these fields; empty is all.
    pub fields: Vec<Name>,
    /// Occurrences of series up to this time, where the connector declares expansion.
    pub expand_until: Option<Millis>,
}

/// How much a listing tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListDetail {
    /// Ids and versions.
    Ids,
    /// Whole records.
    #[default]
    #[serde(other)]
    Full,
}

/// A span of time; either end may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Records that end after this.
    pub from: Option<Millis>,
    /// Records that start before this.
    pub until: Option<Millis>,
}

/// Request of [`Get`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GetRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where.
    pub scope: Scope,
    /// Which records.
    pub at: Vec<RecordRef>,
    /// Only these fields; empty is all.
    pub fields: Vec<Name>,
}

/// Request of [`Find`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FindRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where; empty is the whole system.
    pub scope: Scope,
    /// Which entity.
    pub entity: String,
    /// Native field names whose values are compared with any of the values; empty looks for create keys.
    pub by: Vec<Name>,
    /// What is looked for.
    pub values: Vec<String>,
    /// Whether case counts.
    pub case_sensitive: bool,
    /// Only these fields; empty is all.
    pub fields: Vec<Name>,
}

/// Request of [`WriteBatch`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where: what `include` and `exclude` speak of, and where a create without a container goes.
    pub scope: Scope,
    /// At most [`Capabilities::largest_batch`].
    pub writes: Vec<Write>,
    /// Of the records in the outcomes only these fields are wanted; empty is all. A connector may tell more.
    pub fields: Vec<Name>,
}

/// Request of [`Acknowledge`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AcknowledgeRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// What became of what.
    pub items: Vec<Acknowledgement>,
}

/// What became of one record or participant of the source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledgement {
    /// The source's record; empty for the run as a whole.
    pub at: RecordRef,
    /// The participant's row, where it is about one.
    pub participant: String,
    /// One of [`Capabilities::acknowledge`].
    pub state: String,
    /// The record on the other side, where there is one.
    pub counterpart: Option<RecordRef>,
    /// The event key, where there is one.
    pub uid: Option<String>,
}

/// Request of [`Stamp`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StampRequest {
    /// On whose behalf.
    pub principal: Principal,
    /// Where.
    pub scope: Scope,
    /// The mark to set; `None` only reads.
    pub put: Option<String>,
    /// The mark that must be there before; a mismatch writes nothing.
    pub expect: Option<String>,
}

/// Response of [`Stamp`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StampResponse {
    /// The mark that is there now.
    pub stamp: Option<String>,
}

/// Request of [`Watch`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchRequest {
    /// What to listen to.
    pub scopes: Vec<WatchScope>,
}

/// One thing to listen to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchScope {
    /// Whose.
    pub principal: Principal,
    /// Where.
    pub scope: Scope,
    /// Which entities.
    pub entities: Vec<String>,
}

/// Response of [`Watch`], when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchResponse {}

/// Something changed: the body of `Context::announce` and of [`ReceiveResponse`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Announcement {
    /// Whose record, if the system tells.
    pub principal: Option<Principal>,
    /// Which records; empty means "look".
    pub at: Vec<RecordRef>,
}

/// Request of [`Receive`]: an HTTP request that came in for this connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceiveRequest {
    /// In capitals.
    pub method: String,
    /// Query string, undecoded.
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// At most 1 MiB.
    pub body: Cursor,
    /// Entities of the streams that listen.
    pub entities: Vec<String>,
}

/// Response of [`Receive`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceiveResponse {
    /// HTTP status.
    pub status: u16,
    /// Content type of the body.
    pub content_type: String,
    /// The answer's body.
    pub body: String,
    /// What it says.
    pub announcements: Vec<Announcement>,
}

/// Request of [`MigrateState`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrateStateRequest {
    /// The plugin version that wrote the state: an earlier one of the same plugin.
    pub from: String,
    /// The state.
    pub state: Cursor,
}

/// Response of [`MigrateState`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrateStateResponse {
    /// The state for this version; `None`: it cannot be carried over, start with a listing.
    pub state: Option<Cursor>,
}
