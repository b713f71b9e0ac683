//! The connector: the operations one by one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_http::{Options, OwnWrites, base_url};
use pairwise_plugin_api::ops::{
    ChangesRequest, CheckRequest, Container, ContainersRequest, Description, DiscoverRequest, EnsureContainerRequest,
    FindRequest, GetRequest, ListRequest, LoginRequest, LoginResponse, Problem, WatchRequest, WatchResponse,
    WriteRequest,
};
use pairwise_plugin_api::{
    Capabilities, Catalogue, Class, Condition, Connector, Context, CreateKey, Failure, Found, Invitations, Level,
    Outcome, Page, Principal, Record, Result, Severity,
};

use crate::desk::Desk;
use crate::kind::{Kind, catalogue};
use crate::oauth::OAuth;
use crate::server::{Login, Scheme, Server};
use crate::settings::{Access, Auth, Config};
use crate::times;
use crate::xml::Writer;

/// Ids of folders by mailbox, kind and path.
type FolderIds = HashMap<(String, Kind, String), String>;
/// Paths of folders by mailbox and id.
type FolderPaths = HashMap<(String, String), String>;

/// The connector. What a call leaves for the next one can all be asked for again.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) config: Config,
    pub(crate) server: Server,
    logins: Mutex<HashMap<Principal, Login>>,
    folder_ids: Mutex<FolderIds>,
    folder_paths: Mutex<FolderPaths>,
    pub(crate) written: OwnWrites,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// Items in one request.
    pub(crate) fn batch(&self) -> usize {
        self.server.bears(usize::try_from(self.config.batch).unwrap_or(100).clamp(1, 500))
    }

    pub(crate) fn folder_ids(&self) -> MutexGuard<'_, FolderIds> {
        lock(&self.folder_ids)
    }

    pub(crate) fn folder_paths(&self) -> MutexGuard<'_, FolderPaths> {
        lock(&self.folder_paths)
    }

    /// The login that is used for a principal, and whether it is the principal's own.
    pub(crate) fn login_of(&self, principal: &Principal) -> Result<(Login, bool)> {
        let logins = lock(&self.logins);
        if let Some(login) = logins.get(principal).filter(|_| !principal.is_connection()) {
            return Ok((login.clone(), true));
        }
        let shared = logins.get(&Principal::connection()).cloned();
        shared.map(|login| (login, false)).ok_or_else(|| {
            let secret = if self.config.auth == Auth::OAuth { "client_secret" } else { "password" };
            Failure::new(Class::Auth, format!("no password is known: give the connection the secret `{secret}`"))
        })
    }
}

impl Connector for Exchange {
    type Config = Config;

    fn create(config: Config, _cx: &Context) -> Result<Self> {
        let url = base_url("url", &config.url)?;
        let scheme = match config.auth {
            Auth::Auto => None,
            Auth::Basic => Some(Scheme::Basic),
            Auth::Ntlm => Some(Scheme::Ntlm("NTLM")),
            Auth::OAuth => Some(Scheme::Bearer),
        };
        let oauth = if config.auth == Auth::OAuth { Some(OAuth::of(&config, &url)?) } else { None };
        let options = Options { ca_file: config.ca_file.clone(), proxy: config.proxy.clone(), ..Options::default() };
        let server = Server::new(url, scheme, options, config.connections as usize, config.channel_binding, oauth)?;
        Ok(Exchange {
            config,
            server,
            logins: Mutex::default(),
            folder_ids: Mutex::default(),
            folder_paths: Mutex::default(),
            written: OwnWrites::default(),
        })
    }

    fn describe(&self, _cx: &Context) -> Result<Description> {
        let capabilities = Capabilities {
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
            invitations: Invitations::ByChoice,
            watch: true,
            server_time: true,
            largest_batch: self.config.batch.clamp(1, 500),
            max_parallel: self.config.connections.clamp(1, 20),
            max_parallel_per_principal: self.config.connections.clamp(1, 2),
            ..Capabilities::default()
        };
        let identity = match &self.config.mailbox {
            Some(mailbox) => format!("{}#{}", self.config.url.to_lowercase(), mailbox.to_lowercase()),
            None => self.config.url.to_lowercase(),
        };
        Ok(Description { capabilities, target: self.config.url.clone(), identity })
    }

    fn validate(&self, _cx: &Context) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        if times::windows(&self.config.time_zone).is_none() || times::zone(&self.config.time_zone).is_none() {
            problems.push(Problem {
                setting: "time_zone".to_owned(),
                text: format!(
                    "nobody knows the time zone `{}`: expected a name such as `Europe/Berlin` or `W. Europe Standard Time`",
                    self.config.time_zone
                ),
            });
        }
        if self.config.auth == Auth::OAuth && self.config.access != Access::Impersonation {
            let text =
                "an application that logs in by token acts for the owners of mailboxes: expected `impersonation`";
            problems.push(Problem { setting: "access".to_owned(), text: text.to_owned() });
        }
        if self.config.username.trim().is_empty() && self.config.auth != Auth::OAuth {
            let text = "the account is not named: expected `DOMAIN\\name` or `name@example.com`".to_owned();
            problems.push(Problem { setting: "username".to_owned(), text });
        }
        Ok(problems)
    }

    fn discover(&self, _cx: &Context, request: DiscoverRequest) -> Result<Catalogue> {
        let only = request.entity.as_deref().map(Kind::of).transpose()?;
        Ok(catalogue(only, &self.config.extended))
    }

    fn login(&self, _cx: &Context, request: LoginRequest) -> Result<LoginResponse> {
        if self.config.auth == Auth::OAuth {
            // One application for all mailboxes.
            if let Some(secret) = request.secrets.get("client_secret") {
                let login = Login { user: self.config.client_id.clone().unwrap_or_default(), password: secret.clone() };
                self.server.forgive(&login);
                lock(&self.logins).insert(Principal::connection(), login);
            }
            return Ok(LoginResponse::default());
        }
        let Some(password) = request.secrets.get("password") else {
            // A mailbox of the profile that brings no login of its own is reached with that of the connection.
            return Ok(LoginResponse::default());
        };
        // Without a name of its own a mailbox is reached by the connection's account, which it is handed here.
        let (owner, user) = match (request.secrets.get("username"), self.config.access) {
            (Some(user), _) => (request.principal, user.clone()),
            (None, Access::Own) if !request.principal.is_connection() => {
                (request.principal.clone(), request.principal.0)
            }
            (None, _) => (Principal::connection(), self.config.username.clone()),
        };
        let login = Login { user, password: password.clone() };
        self.server.forgive(&login);
        lock(&self.logins).insert(owner, login);
        Ok(LoginResponse::default())
    }

    fn check(&self, cx: &Context, request: CheckRequest) -> Result<Vec<Condition>> {
        let desk = Desk::of(self, cx, &request.principal)?;
        let looked = if desk.mailbox.is_empty() && self.config.access == Access::Impersonation {
            // The account need not have a mailbox: what concerns none must be answered.
            let mut body = Writer::new();
            body.start_with("m:GetServerTimeZones", &[("ReturnFullTimeZoneData", "false")])
                .start("m:Ids")
                .leaf("t:Id", "UTC");
            desk.read(&body.done())
                .map(|_| ())
                .and_then(|()| if request.entities.is_empty() { Ok(()) } else { self.look(&desk, &request) })
        } else {
            self.look(&desk, &request)
        };
        match looked {
            Ok(()) => Ok(Vec::new()),
            Err(failure) if matches!(failure.class, Class::Refused | Class::NotFound) => {
                let level = if request.principal.is_connection() { Level::Profile } else { Level::User };
                Ok(vec![Condition {
                    code: "mailbox_unusable".to_owned(),
                    level,
                    severity: Severity::Error,
                    subject: desk.name().to_owned(),
                    text: failure.text,
                }])
            }
            Err(failure) => Err(failure),
        }
    }

    fn containers(&self, cx: &Context, request: ContainersRequest) -> Result<Vec<Container>> {
        Desk::of(self, cx, &request.principal)?.containers(Kind::of(&request.entity)?)
    }

    fn ensure_container(&self, cx: &Context, request: EnsureContainerRequest) -> Result<Container> {
        let place = Desk::of(self, cx, &request.principal)?.ensure(Kind::of(&request.entity)?, &request.path)?;
        Ok(Container { id: place.path, path: request.path, writable: true, ..Container::default() })
    }

    fn changes(&self, cx: &Context, request: ChangesRequest) -> Result<Page> {
        Desk::of(self, cx, &request.principal)?.changes(&request)
    }

    fn list(&self, cx: &Context, request: ListRequest) -> Result<Page> {
        Desk::of(self, cx, &request.principal)?.list(&request)
    }

    fn get(&self, cx: &Context, request: GetRequest) -> Result<Vec<Found>> {
        Desk::of(self, cx, &request.principal)?.get(&request)
    }

    fn find(&self, cx: &Context, request: FindRequest) -> Result<Vec<Vec<Record>>> {
        Desk::of(self, cx, &request.principal)?.find(&request)
    }

    fn write(&self, cx: &Context, request: WriteRequest) -> Result<Vec<Outcome>> {
        Desk::of(self, cx, &request.principal)?.write_all(&request)
    }

    fn watch(&self, cx: &Context, request: WatchRequest) -> Result<WatchResponse> {
        crate::watch::watch(self, cx, &request, &|announcement| cx.announce(announcement))?;
        Ok(WatchResponse::default())
    }
}

impl Exchange {
    fn look(&self, desk: &Desk<'_>, request: &CheckRequest) -> Result<()> {
        let places = desk.all_places(&request.entities, &request.scope)?;
        desk.look_at(&places)
    }
}
