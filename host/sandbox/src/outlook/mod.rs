//! Outlook, as Microsoft Graph shows it: contacts and calendars of the mailboxes of one organisation, and its login server.
//!
//! Logins: tenant `example.com`, one application with a client secret; people sign in by device code or refresh token. The
//! login server answers on the same port (`/{tenant}/oauth2/v2.0/…`), Graph under `/v1.0/`.
//!
//! A person's edits name the members of Graph; containers are folders by name (`CRM`), absent = the default folder.
//!
//! # Commands
//! | command | arguments | does |
//! |---|---|---|
//! | `drop_tokens` | `user?` | delta tokens end: 410 |
//! | `expire_tokens` | | access tokens end: 401 |
//! | `withdraw_consent` | | refresh tokens end |
//! | `strict_refresh` | `on` | a refresh token works once |
//! | `sign_in` | `user` | a refresh token of that person |
//! | `approve_device` | `user`, `user_code?` | a person types a device's code |
//! | `secret` | `value` | the application has another secret |
//! | `certificate` | `pem` | the application has this certificate, too |
//! | `demand_claims` | `claims`, `interactive?` | tokens must say this: those that do not are refused with a claims challenge |
//! | `mailbox` | `user`, `state`: `here`, `on_premises`, `missing`, `forbidden` | what answers for a mailbox |
//! | `import` | `user`, `contact` | a contact arrives with its mailbox, from elsewhere: its properties stay, the store's own key too |
//! | `lifecycle` | `event` | a notice about all subscriptions: `reauthorizationRequired`, `subscriptionRemoved`, `missed` |
//! | `bump` | `user`, `id?` | change keys move although nothing changed |
//! | `moving_keys` | `on` | the change key of a new item moves by itself with the next request |
//! | `empty_pages` | `on` | listings begin with an empty page that has a next link |
//! | `limits` | `requests?`, `in_flight?` | requests in ten minutes, and at a time, for each mailbox |

mod call;
mod certificate;
mod contacts;
mod delta;
mod events;
mod expand;
mod filter;
mod folders;
mod item;
mod lists;
mod mailbox;
mod oauth;
mod people;
mod photos;
mod subscriptions;
mod translate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use self::call::{Answer, Call, Reply, either};
use self::oauth::{Bearer, Issued};
use crate::core::Core;
use crate::faults::{Asked, Fault};
use crate::journal::Entry;
use crate::population::Population;
use crate::system::{About, Complaint, Edit, Login, System};

/// The largest batch.
const BATCH: usize = 20;

/// A mailbox.
#[derive(Debug, Clone)]
struct Mailbox {
    /// The address, which is also the owner of its items.
    user: String,
    /// The directory's id.
    id: String,
    name: String,
    state: String,
    /// Delta tokens of older generations are not known any more.
    generation: u64,
    /// Requests since the beginning of the ten minutes.
    requests: (i64, u64),
    /// New items whose change key will move by itself.
    moving: Vec<String>,
    in_flight: usize,
    categories: Vec<lists::Category>,
}

/// Everything beside the items.
#[derive(Debug)]
struct State {
    mailboxes: Vec<Mailbox>,
    issued: Issued,
    moving_keys: bool,
    empty_pages: bool,
    most_requests: u64,
    most_in_flight: usize,
    subscriptions: HashMap<String, subscriptions::Subscription>,
    /// How far the notifications have come, by mailbox.
    told: HashMap<String, u64>,
    /// Pictures, by the contact's id.
    photos: HashMap<String, Vec<u8>>,
}

/// The system.
pub(crate) struct Graph {
    core: Core,
    state: Mutex<State>,
    /// What runs the servers: notifications are sent from there, whoever caused them.
    runtime: Option<Handle>,
}

/// As [`SYSTEMS`](crate::systems::SYSTEMS) asks for it.
pub fn build(core: Core) -> Arc<dyn System> {
    let state = State {
        mailboxes: Vec::new(),
        issued: Issued::default(),
        moving_keys: false,
        empty_pages: false,
        most_requests: 10_000,
        most_in_flight: 4,
        subscriptions: HashMap::new(),
        told: HashMap::new(),
        photos: HashMap::new(),
    };
    Arc::new(Graph { core, state: Mutex::new(state), runtime: Handle::try_current().ok() })
}

impl System for Graph {
    fn populate(&self, people: &Population) {
        for (index, user) in people.users.iter().enumerate() {
            self.state().mailboxes.push(Mailbox {
                user: user.email.clone(),
                id: format!("{:08x}-1111-4222-8333-444455556666", index + 1),
                name: format!("{} {}", user.given, user.surname),
                state: "here".to_owned(),
                generation: 1,
                requests: (0, 0),
                moving: Vec::new(),
                in_flight: 0,
                categories: lists::Category::first(),
            });
            self.make_mailbox(&user.email);
            for contact in people.contacts_of(index).filter(|contact| contact.in_mailbox) {
                let body = contacts::of_person(&contact.person, &contact.company);
                let folder = folders::default_folder(&user.email);
                // The members of a made-up person are those of a contact.
                let _ = self.make_item(&user.email, "contact", &folder, |fields| contacts::set(fields, &body));
            }
        }
    }

    fn url(&self) -> String {
        self.core.base_url().to_owned()
    }

    fn logins(&self) -> Vec<Login> {
        let state = self.state();
        let settings = |mailbox: Option<&str>| {
            let mut settings = json!({
                "tenant": oauth::TENANT,
                "client_id": oauth::CLIENT,
                "url": self.core.base_url(),
                "login_url": self.core.base_url(),
            });
            if let Some(mailbox) = mailbox {
                settings["mailbox"] = json!(mailbox);
            }
            settings.as_object().cloned().unwrap_or_default()
        };
        let secrets = json!({ "client_secret": state.issued.secret }).as_object().cloned().unwrap_or_default();
        let users = state.mailboxes.iter().map(|mailbox| Login {
            user: mailbox.user.clone(),
            settings: settings(None),
            secrets: secrets.clone(),
        });
        let first = state.mailboxes.first().map(|mailbox| mailbox.user.as_str());
        let whole = Login { user: String::new(), settings: settings(first), secrets: secrets.clone() };
        users.chain([whole]).collect()
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(move |request: Request| {
            let graph = Arc::clone(&self);
            async move { graph.serve(request).await }
        })
    }

    fn about(&self, request: &Parts, body: &[u8]) -> About {
        let call = Call::of(request, &[], self.core.base_url());
        let words = call.words();
        if words.get(1).is_some_and(|word| word == "oauth2") {
            return About { operation: words.last().cloned(), user: None };
        }
        if words.first().is_some_and(|word| word == "$batch") {
            // Parts that read are told from parts that write, so that a fault can choose.
            let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
            let writes = parsed["requests"].as_array().into_iter().flatten().any(|part| part["method"] != "GET");
            let operation = if writes { "batch write" } else { "batch read" };
            return About { operation: Some(operation.to_owned()), user: None };
        }
        let user = self.mailbox_of(&call).map(|mailbox| mailbox.user);
        About { operation: Some(operation(&call)), user }
    }

    fn refuse(&self, fault: &Fault, about: &About) -> Response {
        if matches!(about.operation.as_deref(), Some("token" | "devicecode")) {
            let error = fault.code.clone().unwrap_or_else(|| "temporarily_unavailable".to_owned());
            let body = json!({ "error": error, "error_description": "AADSTS90033: A transient error has occurred.", "error_codes": [90033] });
            return waiting(Reply::json(fault.status.unwrap_or(503), body), fault).into_response();
        }
        refusal(fault).into_response()
    }

    fn edit(&self, edit: Edit) -> Result<String, Complaint> {
        self.edit_as_person(edit)
    }

    fn delete(&self, user: &str, id: &str) -> Result<(), Complaint> {
        self.delete_as_person(user, id)
    }

    fn command(&self, name: &str, arguments: &Value) -> Result<Value, Complaint> {
        self.obey(name, arguments)
    }
}

/// The answer that a fault stands for.
fn refusal(fault: &Fault) -> Reply {
    let status = fault.status.unwrap_or(503);
    let code = fault.code.clone().unwrap_or_else(|| {
        match status {
            401 => "InvalidAuthenticationToken",
            403 => "ErrorAccessDenied",
            404 => "ErrorItemNotFound",
            410 => "syncStateNotFound",
            412 => "ErrorIrresolvableConflict",
            429 => "ApplicationThrottled",
            500 => "ErrorInternalServerTransientError",
            504 => "UnknownError",
            _ => "ServiceUnavailable",
        }
        .to_owned()
    });
    let message = fault.message.clone().unwrap_or_else(|| "The service is not available now.".to_owned());
    waiting(Reply::error(status, &code, &message), fault)
}

fn waiting(reply: Reply, fault: &Fault) -> Reply {
    match fault.retry_after {
        Some(seconds) => reply.header("Retry-After", seconds.to_string()),
        None => reply,
    }
}

/// What Graph would call a request: its method and the kinds of things in its path.
fn operation(call: &Call) -> String {
    let kinds =
        call.words().into_iter().filter(|word| word.chars().all(|c| c.is_ascii_alphabetic() || "$().".contains(c)));
    let skip = |word: &String| ["users", "me"].contains(&word.as_str());
    format!("{} {}", call.method, kinds.filter(|word| !skip(word)).collect::<Vec<_>>().join("/"))
}

impl Graph {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let call = Call::of(&parts, &body, self.core.base_url());
        let words = call.words();
        if let [tenant, .., what] = words.as_slice()
            && (words.get(1).is_some_and(|word| word == "oauth2") || what == "openid-configuration")
        {
            let issued = &mut self.state().issued;
            return either(issued.handle(tenant, what, &body, &call.base, self.core.now())).into_response();
        }
        if call.garbled {
            return Reply::error(400, "BadRequest", "Unable to read JSON request payload.").into_response();
        }
        if words.first().is_some_and(|word| word == "subscriptions") {
            return either(self.subscribe(&call).await).into_response();
        }
        let reply = if words.first().is_some_and(|word| word == "$batch") {
            either(self.batch(&call))
        } else {
            either(self.admitted(&call))
        };
        self.tell_subscribers();
        reply.into_response()
    }

    /// The journal and the faults see each part.
    fn batch(&self, call: &Call) -> Answer {
        self.authenticate(call)?;
        let Some(parts) = call.body["requests"].as_array().filter(|parts| !parts.is_empty()) else {
            return Err(Reply::error(400, "BadRequest", "Invalid batch payload format."));
        };
        if parts.len() > BATCH {
            let message = format!("Number of batch request steps exceeds the maximum value of {BATCH}.");
            return Err(Reply::error(400, "BadRequest", &message));
        }
        let ids: Vec<&Value> = parts.iter().map(|part| &part["id"]).collect();
        if ids.iter().enumerate().any(|(at, id)| !id.is_string() || ids[..at].contains(id)) {
            return Err(Reply::error(400, "BadRequest", "Every request of a batch needs an id of its own."));
        }
        let carrier = self.core.journal().last();
        let mut statuses: HashMap<String, u16> = HashMap::new();
        let mut responses = Vec::new();
        for part in parts {
            let needs = part["dependsOn"].as_array().or_else(|| part["depends_on"].as_array());
            let failed = needs
                .into_iter()
                .flatten()
                .any(|needed| needed.as_str().is_some_and(|id| statuses.get(id).is_none_or(|status| *status >= 400)));
            let reply = if failed {
                Reply::error(424, "FailedDependency", "A request that this one depends on failed.")
            } else {
                self.part(part, call, carrier)
            };
            statuses.insert(part["id"].as_str().unwrap_or_default().to_owned(), reply.status);
            responses.push(reply.into_part(&part["id"]));
        }
        // Answers come in any order.
        responses.reverse();
        Ok(Reply::ok(json!({ "responses": responses })))
    }

    fn part(&self, part: &Value, around: &Call, carrier: u64) -> Reply {
        let call = Call::of_part(part, around);
        if !part["body"].is_null() && !has_content_type(part) {
            return Reply::error(
                400,
                "BadRequest",
                "Write request id : the body of a part needs a Content-Type header.",
            );
        }
        let user = self.mailbox_of(&call).map(|mailbox| mailbox.user);
        let operation = operation(&call);
        let path = format!("/v1.0/{}", call.path.join("/"));
        let fault = self.core.faults().take(Asked {
            method: &call.method,
            path: &path,
            operation: Some(&operation),
            user: user.as_deref(),
        });
        let failing = fault.as_ref().filter(|fault| fault.fails());
        let reply = match failing {
            Some(fault) if !fault.after_effect => refusal(fault),
            Some(fault) => {
                let _ = self.admitted(&call);
                refusal(fault)
            }
            None => either(self.admitted(&call)),
        };
        self.core.journal().part(Entry {
            time: self.core.now(),
            method: call.method.clone(),
            path: part["url"].as_str().unwrap_or_default().to_owned(),
            operation: Some(operation),
            user,
            body: if call.body.is_null() { String::new() } else { call.body.to_string() },
            status: Some(reply.status),
            fault: fault.is_some(),
            part_of: Some(carrier),
            ..Entry::default()
        });
        reply
    }

    /// Who is asking.
    fn authenticate(&self, call: &Call) -> Result<Bearer, Reply> {
        let issued = &self.state().issued;
        let bearer = call.token.as_deref().and_then(|token| issued.bearer(token, self.core.now()));
        if let Some(challenge) =
            call.token.as_deref().filter(|_| bearer.is_some()).and_then(|token| issued.challenge(token))
        {
            let message = "Continuous access evaluation resulted in challenge with result: InteractionRequired";
            return Err(Reply::error(401, "InvalidAuthenticationToken", message).header("WWW-Authenticate", challenge));
        }
        bearer.ok_or_else(|| {
            let message = "Lifetime validation failed, the token is expired.";
            let challenge =
                "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\"";
            Reply::error(401, "InvalidAuthenticationToken", message).header("WWW-Authenticate", challenge)
        })
    }

    fn generation(&self, user: &str) -> u64 {
        self.state().mailboxes.iter().find(|mailbox| mailbox.user == user).map_or(1, |mailbox| mailbox.generation)
    }

    /// The mailbox that a path names.
    fn mailbox_of(&self, call: &Call) -> Option<Mailbox> {
        let state = self.state();
        let name = match call.words().first().map(String::as_str) {
            Some("me") => state.issued.holder(call.token.as_deref()?)?,
            Some("users") => call.path.get(1)?.clone(),
            _ => return None,
        };
        let named = |mailbox: &&Mailbox| mailbox.user.eq_ignore_ascii_case(&name) || mailbox.id == name;
        state.mailboxes.iter().find(named).cloned()
    }
}

fn has_content_type(part: &Value) -> bool {
    let headers = part["headers"].as_object();
    headers.is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")))
}
