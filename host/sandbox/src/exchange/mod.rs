//! Exchange Server on premises, as its Web Services (EWS) show it: mailboxes with contacts, calendars and folders.
//!
//! One account, [`SERVICE`], may impersonate every mailbox; each user has a login of their own. Items are `contact`, `event`,
//! `list`, `mail` and `folder`; their fields bear the names of EWS elements (`GivenName`, `EmailAddresses/EmailAddress1`,
//! `PhysicalAddresses/Business/Street`, `Categories`), extended properties those of `properties.rs`. Requests are held against
//! `schema.txt` as the real server does.
//!
//! An edit without fields moves the change key alone. Containers are named by id, distinguished id or display name.
//!
//! # Commands
//! | command | arguments | does |
//! |---|---|---|
//! | `drop_sync_states` | – | no sync state is valid any more |
//! | `drop_subscriptions` | – | no subscription is known any more |
//! | `cut_streams` | – | open streams say that they are closed |
//! | `auth` | `{basic, ntlm, oauth}` | which logins are taken; at first the first two |
//! | `end_tokens` | – | tokens of the login server (`/adfs/oauth2/token`) end |
//! | `largest_page` | `{count}` | the most items or folders on one page of a search |
//! | `back_ends` | `{count}` | so many servers stand behind the address, and each knows its own subscriptions alone |
//! | `extended_protection` | `{hash}` | NTLM logins must be bound to the certificate with this hash, as hexadecimal digits |
//! | `impersonation` | `{user?, allowed}` | the right to act for a mailbox, or for all |
//! | `lose_mailbox` | `{user, lost}` | the mailbox was moved to the cloud |
//! | `touch` | `{user}` | the server moves the change keys of all items of a mailbox |
//! | `empty_trash` | `{user}` | the deleted items are gone for good |
//! | `mails` | `{user}` | what left the mailbox: who was written to |

mod calendar;
mod call;
mod directory;
mod find;
mod folders;
mod items;
mod login;
mod mailbox;
mod meetings;
mod notify;
mod people;
mod properties;
mod recurrence;
pub mod schema;
mod shape;
mod sync;
mod times;
mod xml;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use roxmltree::{Document, Node};
use serde_json::{Value, json};

use self::call::{Call, child, inside};
use self::login::Doorman;
use self::xml::{Fault, envelope};
use crate::Connection;
use crate::core::Core;
use crate::faults::Fault as Struck;
use crate::population::Population;
use crate::system::{About, Complaint, Edit, Login, System};

/// The account that may impersonate: login and password.
pub const SERVICE: (&str, &str) = ("svc-pairwise", "svc-secret");
/// What all addresses of the organisation end with.
pub(crate) const DOMAIN: &str = "@example.com";
/// The path of the real server, in any case.
const PATH: &str = "/ews/exchange.asmx";
/// A request larger than this is refused, as the server's default is.
const LARGEST: usize = 10 << 20;

/// The cookie that names a server behind the address.
const BACK_END: &str = "X-BackEndOverrideCookie";

/// The headers by which a client finds its request in the server's records, and has its answers name it.
const REQUEST_ID: &str = "client-request-id";
const RETURN_ID: &str = "return-client-request-id";

/// Requests for one mailbox at the same time (`EWSMaxConcurrency`).
const MOST_AT_ONCE: u32 = 27;

/// Versions that a request may name.
const VERSIONS: &[&str] = &[
    "Exchange2007",
    "Exchange2007_SP1",
    "Exchange2010",
    "Exchange2010_SP1",
    "Exchange2010_SP2",
    "Exchange2013",
    "Exchange2013_SP1",
    "Exchange2015",
    "Exchange2016",
    "V2015_10_05",
    "V2016_01_06",
    "V2017_04_14",
    "V2017_07_11",
    "V2018_01_08",
];

/// The server.
#[derive(Debug)]
pub struct Exchange {
    core: Core,
    state: Mutex<Memory>,
}

/// What the server knows beside the mailboxes.
#[derive(Debug, Default)]
struct Memory {
    doorman: Doorman,
    subscriptions: notify::Subscriptions,
    /// Address, login, password.
    logins: Vec<(String, String, String)>,
    /// Sync states of an older epoch are not valid any more.
    sync_epoch: u64,
    stream_epoch: u64,
    /// Servers behind the address; 0 as well as 1 is one.
    back_ends: u64,
    /// Of searches, where it is not the usual one.
    largest_page: Option<usize>,
    may_not_impersonate: bool,
    not_impersonable: BTreeSet<String>,
    lost: BTreeSet<String>,
}

impl Exchange {
    /// A server without mailboxes.
    #[must_use]
    pub fn build(core: Core) -> Arc<dyn System> {
        Arc::new(Exchange { core, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_epoch(&self) -> u64 {
        self.state().sync_epoch
    }

    /// The most entries on a page of a search.
    fn largest_page(&self) -> usize {
        self.state().largest_page.unwrap_or(find::LARGEST)
    }

    /// Whether so many requests for a mailbox are under way that the server takes no more.
    fn is_crowded(&self, mailbox: &str) -> bool {
        self.core.journal().in_flight(Some(mailbox)) > MOST_AT_ONCE
    }

    /// The server behind the address that a request goes to: the one that its cookie names, else that of the mailbox which it is
    /// said to be about.
    fn back_end(&self, headers: &HeaderMap) -> u64 {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = text("cookie").split(';').filter_map(|cookie| cookie.trim().strip_prefix(BACK_END)).next();
        let count = self.state().back_ends.max(1);
        let anchor = || text("x-anchormailbox").bytes().map(u64::from).sum::<u64>();
        named.and_then(|cookie| cookie.strip_prefix('=')?.parse().ok()).unwrap_or_else(anchor) % count
    }

    /// Answers a request of a login.
    fn answer(self: &Arc<Self>, login: &str, body: &str, back_end: u64) -> Result<Response, Fault> {
        let document = Document::parse(body).map_err(|error| {
            Fault::new("ErrorSchemaValidation", format!("The request failed schema validation: {error}"))
        })?;
        let part = |name: &str| child(document.root_element(), name);
        let request = part("Body").and_then(|body| body.children().find(Node::is_element));
        let Some(request) = request.filter(|request| schema::knows(request.tag_name().name())) else {
            return Err(Fault::new(
                "ErrorSchemaValidation",
                "The request failed schema validation: no such operation.",
            ));
        };
        let header = part("Header");
        if let Some(version) = header.and_then(|header| child(header, "RequestServerVersion")) {
            let name = version.attribute("Version").unwrap_or_default();
            if !VERSIONS.contains(&name) {
                return Err(Fault::new(
                    "ErrorInvalidServerVersion",
                    format!("The specified server version is invalid: {name}."),
                ));
            }
        }
        schema::validate(request).map_err(|wrong| {
            let text = format!("The request failed schema validation: {}", wrong.text);
            let details = format!(
                "<t:LineNumber>{}</t:LineNumber><t:LinePosition>{}</t:LinePosition><t:Violation>{}</t:Violation>",
                wrong.line,
                wrong.position,
                wrong.text.replace(['<', '&'], " ")
            );
            Fault { details, ..Fault::new("ErrorSchemaValidation", text) }
        })?;
        let mailbox = self.mailbox(login, header)?;
        if self.is_crowded(&mailbox) {
            return Err(Fault::new(
                "ErrorExceededConnectionCount",
                "You have exceeded the available concurrent connections.",
            ));
        }
        let zone = header.and_then(|header| {
            header
                .descendants()
                .find(|node| node.tag_name().name() == "TimeZoneDefinition")?
                .attribute("Id")
                .map(str::to_owned)
        });
        let call = Call { exchange: self, mailbox, zone, back_end, request };
        let body = match request.tag_name().name() {
            "GetFolder" => call.get_folder(),
            "FindFolder" => call.find_folder(),
            "CreateFolder" => call.create_folder(),
            "DeleteFolder" => call.delete_folder(),
            "SyncFolderHierarchy" => call.sync_folder_hierarchy(),
            "SyncFolderItems" => call.sync_folder_items(),
            "FindItem" => call.find_item(),
            "GetItem" => call.get_item(),
            "CreateItem" => call.create_item(),
            "UpdateItem" => call.update_item(),
            "DeleteItem" => call.delete_item(),
            "MoveItem" => call.move_item(),
            "ResolveNames" => call.resolve_names(),
            "GetServerTimeZones" => call.get_server_time_zones(),
            "ConvertId" => call.convert_id(),
            "Subscribe" => call.subscribe(),
            "Unsubscribe" => call.unsubscribe(),
            "GetEvents" => call.get_events(),
            "GetStreamingEvents" => return call.get_streaming_events(Arc::clone(self)),
            other => Err(Fault::new("ErrorNotImplemented", format!("{other} is not there."))),
        }?;
        Ok(xml_answer(StatusCode::OK, envelope(&body)))
    }

    /// The mailbox that a request works in: that of the login, or the impersonated one.
    fn mailbox(&self, login: &str, header: Option<Node<'_, '_>>) -> Result<String, Fault> {
        let sid = header.and_then(|header| child(header, "ExchangeImpersonation"));
        let missing = || Fault::new("ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it.");
        let state = self.state();
        let address = match sid {
            None => format!("{login}{DOMAIN}"),
            Some(sid) => {
                let named = inside(sid, "ConnectingSID");
                let [named] = named[..] else {
                    return Err(Fault::new(
                        "ErrorInvalidExchangeImpersonationHeaderData",
                        "ExchangeImpersonation must have exactly one identity.",
                    ));
                };
                let address = named.text().unwrap_or_default().trim().to_lowercase();
                let own = address == format!("{login}{DOMAIN}");
                let may =
                    login == SERVICE.0 && !state.may_not_impersonate && !state.not_impersonable.contains(&address);
                if !own && !may {
                    return Err(Fault::new(
                        "ErrorImpersonateUserDenied",
                        "The account does not have permission to impersonate the requested user.",
                    ));
                }
                address
            }
        };
        if state.lost.contains(&address) {
            return Err(missing());
        }
        drop(state);
        let there = self.core.read(|store| mailbox::folder(store, &address, "root").is_some());
        // The service account has no mailbox; it may still ask what concerns none.
        if there || (sid.is_none() && login == SERVICE.0) { Ok(address) } else { Err(missing()) }
    }
}

fn xml_answer(status: StatusCode, body: String) -> Response {
    let kind = HeaderValue::from_static("text/xml; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

async fn handle(
    State(exchange): State<Arc<Exchange>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path().eq_ignore_ascii_case(login::TOKENS) && method == Method::POST {
        let scope = format!("{}/.default", exchange.core.base_url());
        return exchange.state().doorman.grant(&body, &scope);
    }
    if !uri.path().eq_ignore_ascii_case(PATH) {
        return (StatusCode::NOT_FOUND, "<html><body>404 - File or directory not found.</body></html>").into_response();
    }
    let login = match exchange.state().doorman.admit(&headers, connection.id) {
        Ok(login) => login,
        Err(answer) => return *answer,
    };
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if body.len() > LARGEST {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let back_end = exchange.back_end(&headers);
    let answered = exchange.answer(&login, &String::from_utf8_lossy(&body), back_end);
    let mut answer = answered.unwrap_or_else(|fault| xml_answer(StatusCode::INTERNAL_SERVER_ERROR, fault.envelope()));
    let prefers = is_true(&headers, "x-preferserveraffinity");
    if let Some(id) = headers.get(REQUEST_ID).filter(|_| is_true(&headers, RETURN_ID)) {
        answer.headers_mut().insert(REQUEST_ID, id.clone());
    }
    if let Ok(cookie) = HeaderValue::from_str(&format!("{BACK_END}={back_end}; path=/; HttpOnly"))
        && prefers
    {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

fn is_true(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

impl System for Exchange {
    fn populate(&self, people: &Population) {
        self.fill(people);
    }

    fn url(&self) -> String {
        format!("{}/EWS/Exchange.asmx", self.core.base_url())
    }

    fn logins(&self) -> Vec<Login> {
        let login = |user: &str, name: &str, password: &str| Login {
            user: user.to_owned(),
            settings: mailbox::object(json!({ "username": format!("{}\\{name}", login::REALM) })),
            secrets: mailbox::object(json!({ "password": password })),
        };
        let state = self.state();
        let users = state.logins.iter().map(|(address, name, password)| login(address, name, password));
        users.chain([login("", SERVICE.0, SERVICE.1)]).collect()
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(handle).with_state(self)
    }

    fn about(&self, request: &Parts, body: &[u8]) -> About {
        if request.uri.path().eq_ignore_ascii_case(login::TOKENS) {
            return About { operation: Some("token".to_owned()), user: None };
        }
        let text = String::from_utf8_lossy(body);
        let anchor = request.headers.get("x-anchormailbox").and_then(|value| value.to_str().ok()).map(str::to_owned);
        About { operation: operation(&text), user: impersonated(&text).or(anchor) }
    }

    fn refuse(&self, fault: &Struck, about: &About) -> Response {
        let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
        let text = fault.message.clone().unwrap_or_else(|| "The operation failed.".to_owned());
        match fault.code.as_deref() {
            Some("ErrorServerBusy") => {
                let wait = fault.retry_after.unwrap_or(1) * 1_000;
                xml_answer(StatusCode::INTERNAL_SERVER_ERROR, Fault::busy(wait).envelope())
            }
            Some("ErrorInvalidSyncStateData") => {
                let problem = xml::Problem::new("ErrorInvalidSyncStateData", text);
                let operation = about.operation.as_deref().unwrap_or("SyncFolderItems");
                xml_answer(StatusCode::OK, envelope(&xml::answer(operation, &[Err(problem)], sync::ALWAYS)))
            }
            Some(code) => {
                xml_answer(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Fault::new(code, text).envelope())
            }
            None => {
                let mut answer = (status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), text).into_response();
                if let Some(seconds) = fault.retry_after {
                    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                answer
            }
        }
    }

    fn edit(&self, edit: Edit) -> Result<String, Complaint> {
        self.edited(edit)
    }

    fn delete(&self, user: &str, id: &str) -> Result<(), Complaint> {
        self.deleted(user, id)
    }

    fn command(&self, name: &str, arguments: &Value) -> Result<Value, Complaint> {
        let user = arguments.get("user").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let says = |key: &str, or: bool| arguments.get(key).and_then(Value::as_bool).unwrap_or(or);
        match name {
            "drop_sync_states" => self.state().sync_epoch += 1,
            "drop_subscriptions" => self.state().subscriptions.clear(),
            "cut_streams" => self.state().stream_epoch += 1,
            "largest_page" => {
                let count = arguments.get("count").and_then(Value::as_u64);
                self.state().largest_page = count.and_then(|count| usize::try_from(count).ok());
            }
            "back_ends" => {
                self.state().back_ends = arguments.get("count").and_then(Value::as_u64).unwrap_or(1);
            }
            "auth" => {
                let mut state = self.state();
                state.doorman.no_basic = !says("basic", true);
                state.doorman.no_ntlm = !says("ntlm", true);
                state.doorman.oauth = says("oauth", false);
            }
            "end_tokens" => self.state().doorman.end_tokens(),
            "extended_protection" => {
                let digits = arguments.get("hash").and_then(Value::as_str).unwrap_or_default();
                let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
                let hash: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
                let hash = hash.ok_or_else(|| Complaint::Senseless("`hash` is no hexadecimal number".to_owned()))?;
                self.state().doorman.demand_binding(Some(hash.as_slice()).filter(|hash| !hash.is_empty()));
            }
            "impersonation" if user.is_empty() => self.state().may_not_impersonate = !says("allowed", true),
            "impersonation" if says("allowed", true) => drop(self.state().not_impersonable.remove(&user)),
            "impersonation" => drop(self.state().not_impersonable.insert(user)),
            "lose_mailbox" if says("lost", true) => drop(self.state().lost.insert(user)),
            "lose_mailbox" => drop(self.state().lost.remove(&user)),
            "touch" => self.core.write(|store, at| {
                let ids: Vec<String> =
                    store.all().filter(|item| item.owner == user).map(|item| item.id.clone()).collect();
                for id in &ids {
                    store.touch(at, id);
                }
            }),
            "empty_trash" => self.core.write(|store, at| {
                let thrown = store.all().filter(|item| item.owner == user && people::in_trash(store, &item.id));
                let ids: Vec<String> = thrown.map(|item| item.id.clone()).collect();
                for id in &ids {
                    store.remove(at, id);
                }
            }),
            "mails" => {
                return Ok(self.core.read(|store| {
                    store.items(&user, "mail").map(|mail| Value::Object(mail.fields.clone())).collect()
                }));
            }
            other => return Err(Complaint::NoSuchCommand(other.to_owned())),
        }
        // Streams look again at what they are told.
        self.core.clock().advance(0);
        Ok(json!({}))
    }
}

/// The name of the first element in the body.
fn operation(text: &str) -> Option<String> {
    let body = text.find(":Body").or_else(|| text.find("<Body"))?;
    let rest = &text[body..];
    let element = &rest[rest.find('>')? + 1..].trim_start().strip_prefix('<')?;
    let name = element.split([' ', '>', '/', '\n', '\r', '\t']).next()?;
    Some(name.rsplit(':').next().unwrap_or(name).to_owned())
}

fn impersonated(text: &str) -> Option<String> {
    let from = text.find("ConnectingSID>")? + "ConnectingSID>".len();
    let inner = &text[from..];
    let address = &inner[inner[1..].find('>')? + 2..];
    Some(address.split('<').next()?.trim().to_lowercase())
}
