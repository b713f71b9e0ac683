//! The connector: abilities, and the operations one by one.

use pairwise_http::{Json, Object, OwnWrites};
use pairwise_plugin_api::ops::{
    ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest, EnsureContainerRequest,
    FindRequest, GetRequest, INTERACTIVE, ListDetail, ListRequest, LoginRequest, LoginResponse, Operation,
    ReceiveRequest, ReceiveResponse, UsersRequest, UsersResponse, Watch, WatchRequest, WatchResponse, WriteRequest,
};
use pairwise_plugin_api::{
    Capabilities, Catalogue, Class, Condition, Connector, Context, CreateKey, Failure, Fields, Found, Invitations,
    Level, Name, Outcome, Page, Record, Result, Severity, Write,
};

use crate::contact;
use crate::event;
use crate::folders::{Trees, container, named};
use crate::graph::{Graph, IN_FLIGHT};
use crate::kind::Kind;
use crate::notify::Subscriptions;
use crate::settings::{Config, SignIn};

/// Writes in one call: five batches.
const LARGEST_BATCH: u32 = 100;

/// Calls at the same time: mailboxes do not wait for each other.
const PARALLEL: u32 = 16;

/// The connector. What a call leaves for the next one can all be made again.
#[derive(Debug)]
pub struct Outlook {
    pub(crate) graph: Graph,
    pub(crate) trees: Trees,
    pub(crate) contacts: contact::Shape,
    pub(crate) events: event::Shape,
    pub(crate) subscriptions: Subscriptions,
    /// Changes of items. One that was made is read again: its answer does not tell what the store gave it.
    pub(crate) written: OwnWrites,
}

impl Outlook {
    /// What is asked for of an item that is to tell these fields; none means all. Those of an event belong together.
    pub(crate) fn select(&self, kind: Kind, fields: &[Name]) -> String {
        match kind {
            Kind::Contact => self.contacts.select(fields),
            Kind::Event => self.events.select(),
        }
    }

    pub(crate) fn expand(&self, kind: Kind, fields: &[Name]) -> String {
        match kind {
            Kind::Contact => self.contacts.expand(fields),
            Kind::Event => self.events.expand(),
        }
    }

    pub(crate) fn needs_present(&self, kind: Kind, fields: &Fields) -> bool {
        match kind {
            Kind::Contact => self.contacts.needs_present(fields),
            Kind::Event => self.events.needs_present(fields),
        }
    }

    /// The JSON of a write, and the fields that it leaves out.
    pub(crate) fn body(&self, kind: Kind, write: &Write, present: &Json) -> (Object, Vec<Name>) {
        match kind {
            Kind::Contact => self.contacts.write(&write.fields, present),
            Kind::Event => self.events.write(write, present),
        }
    }
}

impl Connector for Outlook {
    type Config = Config;

    fn create(config: Config, _cx: &Context) -> Result<Self> {
        for (setting, value) in [("tenant", &config.tenant), ("client_id", &config.client_id)] {
            if value.trim().is_empty() {
                return Err(Failure::config(setting, format!("`{setting}` is empty")));
            }
        }
        Ok(Outlook {
            contacts: contact::Shape::new(&config.extended),
            events: event::Shape::new(&config),
            graph: Graph::new(config)?,
            trees: Trees::default(),
            subscriptions: Subscriptions::default(),
            written: OwnWrites::default(),
        })
    }

    fn describe(&self, _cx: &Context) -> Result<Description> {
        let config = self.graph.config();
        let (url, tenant) = (self.graph.url(), config.tenant.to_lowercase());
        Ok(Description {
            capabilities: Capabilities {
                feed: true,
                tombstones: true,
                authoritative_get: true,
                conditional_writes: true,
                create_key: CreateKey::Searchable,
                incarnation: true,
                uid: true,
                containers: true,
                create_containers: true,
                trash: true,
                invitations: Invitations::Always,
                watch: config.notification_url.is_some(),
                receive: config.notification_url.is_some(),
                server_time: true,
                largest_batch: LARGEST_BATCH,
                max_parallel: PARALLEL,
                max_parallel_per_principal: IN_FLIGHT as u32,
                ..Capabilities::default()
            },
            target: format!("{url} ({tenant})"),
            identity: format!("{url} {tenant} {}", config.mailbox.as_deref().unwrap_or_default().to_lowercase()),
        })
    }

    fn discover(&self, _cx: &Context, request: DiscoverRequest) -> Result<Catalogue> {
        let mut entities = vec![self.contacts.entity(), self.events.entity()];
        if let Some(wanted) = &request.entity {
            Kind::of(wanted)?;
            entities.retain(|entity| entity.name == *wanted);
        }
        Ok(Catalogue { entities })
    }

    fn login(&self, cx: &Context, request: LoginRequest) -> Result<LoginResponse> {
        let LoginRequest { principal, secrets } = request;
        if secrets.contains_key(INTERACTIVE) && self.graph.config().sign_in == SignIn::Delegated {
            return self.graph.issuer().sign_in(cx, &secrets);
        }
        let keep = self.graph.tokens().log_in(cx, &self.graph.issuer(), principal, secrets)?;
        Ok(LoginResponse { keep, ask: None })
    }

    fn users(&self, cx: &Context, request: UsersRequest) -> Result<UsersResponse> {
        self.directory(cx, &request)
    }

    fn check(&self, cx: &Context, request: CheckRequest) -> Result<Vec<Condition>> {
        let config = self.graph.config();
        let mailbox_known =
            !request.principal.is_connection() || config.mailbox.is_some() || config.sign_in == SignIn::Delegated;
        if !mailbox_known {
            // The application itself has no mailbox: its login is all that can be looked at.
            return Ok(Vec::new());
        }
        for kind in Kind::all_of(&request.entities)? {
            let tree = self.trees.read(&self.graph, cx, &request.principal, kind)?;
            if named(&request.scope)?.is_none() {
                continue;
            }
            if let Err(failure) = tree.scope(kind, &request.scope) {
                return Ok(vec![Condition {
                    code: "unknown_folder".to_owned(),
                    level: Level::Stream,
                    severity: Severity::Error,
                    subject: crate::folders::FOLDER.to_owned(),
                    text: failure.text,
                }]);
            }
        }
        Ok(Vec::new())
    }

    fn containers(&self, cx: &Context, request: ContainersRequest) -> Result<Vec<Container>> {
        let kind = Kind::of(&request.entity)?;
        let tree = self.trees.read(&self.graph, cx, &request.principal, kind)?;
        Ok(tree.folders.iter().map(container).collect())
    }

    fn ensure_container(&self, cx: &Context, request: EnsureContainerRequest) -> Result<Container> {
        let kind = Kind::of(&request.entity)?;
        let folder = self.trees.ensure(&self.graph, cx, &request.principal, kind, &request.path)?;
        Ok(container(&folder))
    }

    fn changes(&self, cx: &Context, request: ChangesRequest) -> Result<Page> {
        self.next_page(cx, &request)
    }

    fn list(&self, cx: &Context, request: ListRequest) -> Result<Page> {
        // A listing is the feed from its beginning.
        let changes = ChangesRequest {
            principal: request.principal,
            scope: request.scope,
            entities: request.entities,
            cursor: request.page,
            previous: request.previous,
            limit: request.limit,
            fields: request.fields,
            skip_own: false,
            detail: ListDetail::Full,
        };
        let mut page = self.next_page(cx, &changes)?;
        page.changes.retain(|change| change.record.is_some());
        page.next = page.next.filter(|_| page.more);
        Ok(page)
    }

    fn get(&self, cx: &Context, request: GetRequest) -> Result<Vec<Found>> {
        self.get_records(cx, &request)
    }

    fn find(&self, cx: &Context, request: FindRequest) -> Result<Vec<Vec<Record>>> {
        self.find_records(cx, &request)
    }

    fn watch(&self, cx: &Context, request: WatchRequest) -> Result<WatchResponse> {
        if self.graph.config().notification_url.is_none() {
            return Err(Failure::unimplemented(Watch::NAME));
        }
        self.listen(cx, &request)
    }

    fn receive(&self, _cx: &Context, request: ReceiveRequest) -> Result<ReceiveResponse> {
        Ok(self.heed(&request))
    }

    fn write(&self, cx: &Context, request: WriteRequest) -> Result<Vec<Outcome>> {
        if request.writes.len() > LARGEST_BATCH as usize {
            let text = format!("{} writes in one call; this connector takes {LARGEST_BATCH}", request.writes.len());
            return Err(Failure::new(Class::Refused, text));
        }
        self.write_all(cx, &request)
    }
}
