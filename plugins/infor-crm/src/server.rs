//! Requests to the server on behalf of a login, and what its refusals mean.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pairwise_http::{
    Answer, Client, Effect, Gate, Json, Method, Options, OwnWrites, Patience, Pauses, Refusal, Request,
};
use pairwise_plugin_api::{Class, Context, Failure, Millis, Principal, Result, tracing};
use secrecy::SecretString;

use crate::batch::Done;
use crate::login::Login;
use crate::settings::{Config, Place};
use crate::wire::{Diagnosis, Feed};

/// How the server begins when one of its workers is in trouble: it is left alone for a while.
const TROUBLE: &str = "We're sorry";
/// The longest such while that is waited out here.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Part of the trace of an error that says that a password has run out.
const EXPIRED: &str = "User.Rules.IsValidPassword";

/// The site.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) place: Place,
    pub(crate) config: Config,
    client: Client,
    gate: Gate,
    /// The whole site, by its root.
    troubled: Pauses,
    logins: RwLock<HashMap<Principal, Arc<Login>>>,
    /// Names of accounts by their keys: a contact that is written carries its account's name.
    pub(crate) accounts: Mutex<HashMap<String, String>>,
    clock: Mutex<Option<Millis>>,
    /// Tags of records, and dates of their addresses, by login.
    pub(crate) written: OwnWrites,
    /// The server was found to know no batches.
    pub(crate) no_batches: AtomicBool,
}

impl Server {
    pub(crate) fn new(config: Config) -> Result<Self> {
        let place = Place::of(&config.url)?;
        let options = Options {
            ca_file: config.ca_file.clone(),
            proxy: config.proxy.clone(),
            connect_timeout: Duration::from_secs(15),
            timeout: config.timeout(),
            // The host tries again, too.
            patience: Patience { tries: 2, repeats_500: false, ..Patience::default() },
            ..Options::default()
        };
        Ok(Server {
            place,
            client: Client::new(options)?,
            gate: Gate::new(config.parallel as usize),
            troubled: Pauses::new(LONGEST_WAIT),
            config,
            logins: RwLock::default(),
            accounts: Mutex::default(),
            clock: Mutex::default(),
            written: OwnWrites::default(),
            no_batches: AtomicBool::new(false),
        })
    }

    /// Takes a principal's login in. Nothing is sent: the first request shows whether it is good.
    pub(crate) fn log_in(&self, principal: Principal, user: String, password: String) {
        self.client.secrets().add(&password);
        let login = Login::new(user, SecretString::from(password), self.config.login, self.place.is_private());
        self.logins.write().unwrap_or_else(PoisonError::into_inner).insert(principal, Arc::new(login));
    }

    pub(crate) fn login(&self, principal: &Principal) -> Result<Arc<Login>> {
        let logins = self.logins.read().unwrap_or_else(PoisonError::into_inner);
        logins.get(principal).cloned().ok_or_else(|| {
            let who = if principal.is_connection() { "the connection" } else { &principal.0 };
            Failure::new(Class::Auth, format!("{who} is not logged in to Infor CRM"))
        })
    }

    /// The server's clock at its last answer.
    pub(crate) fn clock(&self) -> Option<Millis> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request with the login in it; once more if the server wants the login in another way. A status is no failure here,
    /// but 401.
    pub(crate) fn send(&self, cx: &Context, login: &Login, request: &Request) -> Result<Answer> {
        let _permit = self.gate.pass(cx, &login.user, 1)?;
        let _first = login.first();
        let mut tries = 0;
        loop {
            let cookies = if self.place.is_web_client() { login.cookies() } else { None };
            let header = login.authorization(request.method.name(), &request.url).filter(|_| cookies.is_none());
            let authorized = match (&cookies, &header) {
                (Some(cookies), _) => request.clone().header("Cookie", cookies.as_str()),
                (None, Some(header)) => request.clone().header("Authorization", header.as_str()),
                (None, None) => request.clone(),
            };
            self.troubled.wait(cx, self.place.root(), |pause| {
                format!("Infor CRM said that it is in trouble; it is asked again in {} s", pause.as_secs().max(1))
            })?;
            let answer = self.client.send(cx, &authorized)?;
            if is_in_trouble(&answer) {
                self.leave_alone(self.pause(&answer));
            }
            // A search of many values takes many requests: each answer is a step.
            cx.progress(0, 0);
            if let Some(time) = answer.server_time() {
                *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
            }
            if self.place.is_web_client() {
                login.keep_cookies(&answer);
            }
            if answer.status != 401 {
                return Ok(answer);
            }
            // The session is over: the login itself counts again.
            if cookies.is_some() && login.forget_cookies() {
                continue;
            }
            tries += 1;
            if tries > 2 || !login.learn(&answer, header.as_deref()) {
                return Err(self.refused_login(login, &answer));
            }
        }
    }

    /// A part of a batch failed so. Whether it is the server that is in trouble shows in what it says.
    pub(crate) fn heed(&self, part: &Done) {
        if part.status == 500 && part.diagnosis.message.starts_with(TROUBLE) {
            self.leave_alone(self.usual_pause());
        }
    }

    fn leave_alone(&self, pause: Duration) {
        tracing::warn!(at = self.place.root(), ?pause, "the server is in trouble and left alone for a while");
        self.troubled.note(self.place.root(), pause);
    }

    /// How long a server in trouble is left alone.
    fn pause(&self, answer: &Answer) -> Duration {
        answer.retry_after().unwrap_or_else(|| self.usual_pause())
    }

    fn usual_pause(&self) -> Duration {
        Duration::from_secs(self.config.backoff_seconds.into())
    }

    /// Reads JSON.
    pub(crate) fn get(&self, cx: &Context, login: &Login, url: &str, doing: &str) -> Result<Json> {
        let answer = self.send(cx, login, &Request::get(url))?;
        self.json(login, &answer, doing)
    }

    /// Reads a feed.
    pub(crate) fn feed(&self, cx: &Context, login: &Login, url: &str, doing: &str) -> Result<Feed> {
        let json = self.get(cx, login, url, doing)?;
        Feed::of(json).ok_or_else(|| {
            let text = format!("{doing}: {} answered something that is no feed", pairwise_http::shown(url));
            Failure::new(Class::Protocol, text)
        })
    }

    /// A request with a JSON body.
    pub(crate) fn request(&self, method: Method, url: &str, body: &Json, effect: Effect) -> Request {
        Request::new(method, url).body("application/json", body.to_string()).effect(effect)
    }

    /// The body of a successful answer.
    pub(crate) fn json(&self, login: &Login, answer: &Answer, doing: &str) -> Result<Json> {
        if !answer.is_success() {
            return Err(self.failure(login, answer, doing));
        }
        serde_json::from_slice(&answer.body).map_err(|_| match speaks_atom(answer) {
            true => too_old(doing),
            false => Failure::config("url", self.not_sdata(doing)),
        })
    }

    /// What a refusal means.
    pub(crate) fn failure(&self, login: &Login, answer: &Answer, doing: &str) -> Failure {
        if is_in_trouble(answer) {
            let mut failure = answer.failure_saying(format!("{doing}: the server says that it is in trouble"));
            failure.class = Class::Throttled;
            failure.retry_after_ms = u64::try_from(self.pause(answer).as_millis()).ok();
            return failure;
        }
        let Some(diagnosis) = Diagnosis::of(&answer.body) else {
            return match answer.refusal() {
                Refusal::Missing | Refusal::Final if speaks_atom(answer) => too_old(doing),
                Refusal::Login => self.refused_login(login, answer),
                Refusal::Forbidden => Failure::new(Class::Auth, self.no_right(login, doing)),
                Refusal::Missing | Refusal::Elsewhere => Failure::config("url", self.not_sdata(doing)),
                _ => lasting(answer, answer.failure(doing)),
            };
        };
        if diagnosis.trace.contains(EXPIRED) {
            let text =
                format!("the password of Infor CRM user `{}` has run out: set a new one there first", login.user);
            return Failure::new(Class::Auth, text);
        }
        let said = self.client.secrets().hide(&diagnosis.message);
        match (answer.status, diagnosis.code.as_str()) {
            (403, _) => Failure::new(Class::Auth, format!("{} ({said})", self.no_right(login, doing))),
            (_, "ResourceKindNotFound") => Failure::new(
                Class::NotFound,
                format!("{doing}: this feed is not enabled for SData on the server; its administrator can enable it"),
            ),
            (
                _,
                "ApplicationNotFound"
                | "ApplicationUnavailable"
                | "ContractNotFound"
                | "DatasetNotFound"
                | "BadUrlSyntax",
            ) => Failure::config("url", format!("{} ({said})", self.not_sdata(doing))),
            _ => {
                let mut failure =
                    answer.failure_saying(format!("{doing}: the server answered {}: {said}", answer.spelled()));
                if diagnosis.severity == "Transient" {
                    failure.class = Class::Transient;
                    return failure;
                }
                lasting(answer, failure)
            }
        }
    }

    fn not_sdata(&self, doing: &str) -> String {
        if self.place.is_web_client() {
            return format!(
                "{doing}: no feed answers at the web client's address ({}), which may want the login of a browser: give the site \
                 alone, so that its SData portal is asked",
                self.place.root()
            );
        }
        format!(
            "{doing}: SData is not enabled at this address ({}): check the address, or ask the server's administrator to deploy \
             the SData portal",
            self.place.root()
        )
    }

    fn no_right(&self, login: &Login, doing: &str) -> String {
        format!("{doing}: Infor CRM user `{}` has no right to do this over SData", login.user)
    }

    fn refused_login(&self, login: &Login, answer: &Answer) -> Failure {
        if let Some(diagnosis) = Diagnosis::of(&answer.body).filter(|diagnosis| diagnosis.trace.contains(EXPIRED)) {
            let said = self.client.secrets().hide(&diagnosis.message);
            let text = format!("the password of Infor CRM user `{}` has run out ({said})", login.user);
            return Failure::new(Class::Auth, text);
        }
        let text = if login.wants_basic(answer) {
            format!(
                "the server wants the password of `{}` in a form that anybody on the way can read (Basic): use an https address, \
                 or say `login = \"basic\"`",
                login.user
            )
        } else if answer.header("www-authenticate").is_none() {
            format!(
                "{} refuses user `{}` and names no way to log in, as Infor CRM does: check the address",
                self.place.root(),
                login.user
            )
        } else {
            format!("Infor CRM does not accept user `{}`: the user name or the password is wrong", login.user)
        };
        Failure::new(Class::Auth, text)
    }
}

/// A server error that may be that of one worker.
fn is_in_trouble(answer: &Answer) -> bool {
    let says = |text: &str| text.trim_start().starts_with(TROUBLE);
    answer.status == 500
        && Diagnosis::of(&answer.body).map_or_else(|| says(&answer.text()), |diagnosis| says(&diagnosis.message))
}

/// Any other server error does not pass by itself: nothing is gained by asking again at once.
fn lasting(answer: &Answer, failure: Failure) -> Failure {
    if answer.status == 500 { Failure { class: Class::Protocol, ..failure } } else { failure }
}

/// JSON was asked for, and the answer is SData in Atom.
fn speaks_atom(answer: &Answer) -> bool {
    answer.header("content-type").is_some_and(|kind| kind.contains("xml")) && answer.text().contains("schemas.sage.com")
}

fn too_old(doing: &str) -> Failure {
    let text = format!(
        "{doing}: the server speaks Atom only, as versions before 7.5.4 do; only 7.5.4 and 8 are supported: update the server"
    );
    Failure::config("url", text)
}
