//! Logins: OAuth 2.0 by client secret, by certificate or by a person's consent, and the tokens that come of them.
//!
//! A token is renewed five minutes before it ends, and when the server refuses it. A refresh token rotates: the new one goes
//! to the host with the answer of `login`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use pairwise_http::{Answer, Client, Json, Refusal, Request, Token, seconds};
use pairwise_plugin_api::ops::{Ask, LoginResponse};
use pairwise_plugin_api::{Class, Context, Failure, Principal, Result};
use serde::Deserialize;

use crate::certificate::{self, Certificate};
use crate::settings::{Config, SignIn};

/// The names of the secrets.
pub(crate) const CLIENT_SECRET: &str = "client_secret";
pub(crate) const CLIENT_CERTIFICATE: &str = "client_certificate";
pub(crate) const REFRESH_TOKEN: &str = "refresh_token";

/// What a login that is repeated brings along.
const DEVICE_CODE: &str = "device_code";

/// What a person consents to.
const DELEGATED: &str = "Contacts.ReadWrite Calendars.ReadWrite MailboxSettings.Read offline_access";

/// Seconds of the longest pause between two questions whether a person has signed in.
const LONGEST_INTERVAL: u64 = 60;

/// Who is logged in, with what.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// One entry for each set of credentials: principals that share theirs share a token.
    logins: Mutex<HashMap<String, Arc<Mutex<Login>>>>,
    /// Which login a principal has.
    of: Mutex<BTreeMap<Principal, String>>,
}

#[derive(Default)]
struct Login {
    secrets: BTreeMap<String, String>,
    token: Option<Token>,
    /// What the next token must say beside the usual, because the server refused one that did not.
    claims: Option<String>,
}

/// Tokens and secrets are not for eyes.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("secrets", &self.secrets.keys()).finish_non_exhaustive()
    }
}

/// What the login server grants.
struct Granted {
    token: Token,
    refresh_token: Option<String>,
}

/// A sign-in on another device.
#[derive(Deserialize)]
struct Begun {
    device_code: String,
    message: String,
    #[serde(default)]
    interval: Json,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Denied {
    error: String,
    error_description: String,
    error_codes: Vec<u32>,
}

/// What tokens are asked with.
pub(crate) struct Issuer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) config: &'a Config,
    /// Checked addresses, without a slash at the end.
    pub(crate) login_url: &'a str,
    pub(crate) graph_url: &'a str,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tokens {
    /// Logs a principal in; answers secrets that changed.
    pub(crate) fn log_in(
        &self,
        cx: &Context,
        issuer: &Issuer<'_>,
        principal: Principal,
        secrets: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let key = match issuer.config.sign_in {
            SignIn::Application => secrets.get(CLIENT_CERTIFICATE).or_else(|| secrets.get(CLIENT_SECRET)),
            SignIn::Delegated => secrets.get(REFRESH_TOKEN),
        };
        let Some(key) = key.filter(|secret| !secret.is_empty()) else { return Err(missing(issuer.config)) };
        secrets.values().for_each(|secret| issuer.client.secrets().add(secret));
        let login = {
            let mut logins = lock(&self.logins);
            Arc::clone(logins.entry(key.clone()).or_default())
        };
        lock(&self.of).insert(principal, key.clone());
        let mut login = lock(&login);
        if login.secrets.is_empty() {
            login.secrets = secrets;
        }
        if usable(&login).is_some() {
            return Ok(BTreeMap::new());
        }
        login.renew(cx, issuer)
    }

    /// A token that works on behalf of this principal, as far as is known here.
    pub(crate) fn token(&self, cx: &Context, issuer: &Issuer<'_>, principal: &Principal) -> Result<String> {
        let login = self.login(principal)?;
        let mut login = lock(&login);
        if let Some(token) = usable(&login) {
            return Ok(token);
        }
        login.renew(cx, issuer)?;
        usable(&login).ok_or_else(|| Failure::new(Class::Auth, "the login server gave a token that has ended already"))
    }

    /// The server refused this token. `claims` is what it wants the next one to say.
    pub(crate) fn refused(&self, principal: &Principal, refused: &str, claims: Option<String>) {
        if let Ok(login) = self.login(principal) {
            let mut login = lock(&login);
            if login.token.as_ref().is_some_and(|token| token.text() == refused) {
                login.token = None;
                login.claims = claims;
            }
        }
    }

    fn login(&self, principal: &Principal) -> Result<Arc<Mutex<Login>>> {
        let of = lock(&self.of);
        let key = of.get(principal).or_else(|| of.get(&Principal::connection()));
        let login = key.and_then(|key| lock(&self.logins).get(key).cloned());
        login.ok_or_else(|| Failure::new(Class::Auth, format!("nobody has logged in for `{}`", principal.0)))
    }
}

fn usable(login: &Login) -> Option<String> {
    login.token.as_ref().and_then(Token::usable).map(str::to_owned)
}

fn missing(config: &Config) -> Failure {
    let text = match config.sign_in {
        SignIn::Application => {
            "the connection has no `client_secret` and no `client_certificate`: add one of them to `secrets`, or say \
             `sign_in = \"delegated\"` if a person signs in"
        }
        SignIn::Delegated => {
            "nobody has signed in yet: `pairwise connection login` asks a person to, and keeps the `refresh_token`"
        }
    };
    Failure::new(Class::Auth, text)
}

impl Login {
    /// Gets a new token; answers secrets that changed.
    fn renew(&mut self, cx: &Context, issuer: &Issuer<'_>) -> Result<BTreeMap<String, String>> {
        let secret = |name: &str| self.secrets.get(name).map(String::as_str).unwrap_or_default();
        let scope = format!("{}/.default", issuer.graph_url);
        let mut form = vec![("client_id", issuer.config.client_id.as_str())];
        match issuer.config.sign_in {
            SignIn::Application => form.extend([("grant_type", "client_credentials"), ("scope", &scope)]),
            SignIn::Delegated => {
                form.extend([("grant_type", "refresh_token"), ("scope", DELEGATED)]);
                form.push((REFRESH_TOKEN, secret(REFRESH_TOKEN)));
            }
        }
        let proof = issuer.proof(&self.secrets)?;
        form.extend(proof.iter().map(|(name, value)| (*name, value.as_str())));
        form.extend(self.claims.as_deref().map(|claims| ("claims", claims)));
        let granted = issuer.grant(cx, &form)?;
        self.claims = None;
        issuer.client.secrets().add(granted.token.text());
        if let Some(old) = self.token.replace(granted.token) {
            issuer.client.secrets().forget(old.text());
        }
        let mut changed = BTreeMap::new();
        if let Some(new) = granted.refresh_token.filter(|new| new != secret(REFRESH_TOKEN)) {
            issuer.client.secrets().add(&new);
            self.secrets.insert(REFRESH_TOKEN.to_owned(), new.clone());
            changed.insert(REFRESH_TOKEN.to_owned(), new);
        }
        Ok(changed)
    }
}

impl Issuer<'_> {
    fn address(&self, what: &str) -> String {
        format!("{}/{}/oauth2/v2.0/{what}", self.login_url, crate::graph::segment(&self.config.tenant))
    }

    /// What shows that it is the application that asks, as far as it has any.
    fn proof(&self, secrets: &BTreeMap<String, String>) -> Result<Vec<(&'static str, String)>> {
        if let Some(pem) = secrets.get(CLIENT_CERTIFICATE) {
            let now = Timestamp::now().as_second();
            let statement = Certificate::read(pem)?.statement(&self.config.client_id, &self.address("token"), now)?;
            return Ok(vec![("client_assertion_type", certificate::KIND.to_owned()), ("client_assertion", statement)]);
        }
        Ok(secrets.get(CLIENT_SECRET).map(|secret| (CLIENT_SECRET, secret.clone())).into_iter().collect())
    }

    fn ask(&self, cx: &Context, what: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let url = self.address(what);
        // A token that is granted twice does no harm.
        let request = Request::post(url).form(form.iter().copied()).header("Accept", "application/json").reads();
        self.client.send(cx, &request)
    }

    /// One step of signing a person in on another device: the first asks for a code, the others whether it was entered.
    pub(crate) fn sign_in(&self, cx: &Context, secrets: &BTreeMap<String, String>) -> Result<LoginResponse> {
        let mut form = vec![("client_id", self.config.client_id.as_str())];
        let Some(code) = secrets.get(DEVICE_CODE) else {
            form.push(("scope", DELEGATED));
            let answer = self.ask(cx, "devicecode", &form)?;
            if !answer.is_success() {
                return Err(self.denied(&answer));
            }
            let begun: Begun = serde_json::from_slice(&answer.body).map_err(|_| self.no_login_server(&answer))?;
            self.client.secrets().add(&begun.device_code);
            let secrets = BTreeMap::from([(DEVICE_CODE.to_owned(), begun.device_code)]);
            let wait_ms = seconds(&begun.interval).unwrap_or(5).min(LONGEST_INTERVAL) * 1000;
            return Ok(LoginResponse {
                ask: Some(Ask { text: begun.message, wait_ms, secrets }),
                ..LoginResponse::default()
            });
        };
        self.client.secrets().add(code);
        form.extend([("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code)]);
        let proof = self.proof(secrets)?;
        form.extend(proof.iter().map(|(name, value)| (*name, value.as_str())));
        let answer = self.ask(cx, "token", &form)?;
        let denied: Denied = serde_json::from_slice(&answer.body).unwrap_or_default();
        let wait_ms = match denied.error.as_str() {
            "authorization_pending" => 2_000,
            "slow_down" => 10_000,
            _ if !answer.is_success() => return Err(self.denied(&answer)),
            _ => {
                let granted = self.read(&answer)?;
                let keep = granted.refresh_token.map(|token| (REFRESH_TOKEN.to_owned(), token));
                return Ok(LoginResponse { keep: keep.into_iter().collect(), ask: None });
            }
        };
        let ask = Ask { wait_ms, ..Ask::default() };
        Ok(LoginResponse { ask: Some(ask), ..LoginResponse::default() })
    }

    fn grant(&self, cx: &Context, form: &[(&str, &str)]) -> Result<Granted> {
        let answer = self.ask(cx, "token", form)?;
        if !answer.is_success() {
            return Err(self.denied(&answer));
        }
        self.read(&answer)
    }

    fn no_login_server(&self, answer: &Answer) -> Failure {
        let text = format!("{} did not answer as a login server of Microsoft does: correct `login_url`", answer.asked);
        Failure::config("login_url", text)
    }

    fn read(&self, answer: &Answer) -> Result<Granted> {
        let granted: Json = serde_json::from_slice(&answer.body).map_err(|_| self.no_login_server(answer))?;
        let token = Token::granted(&granted).ok_or_else(|| self.no_login_server(answer))?;
        Ok(Granted { token, refresh_token: granted["refresh_token"].as_str().map(str::to_owned) })
    }

    /// Why there is no token, and what to do about it.
    fn denied(&self, answer: &Answer) -> Failure {
        let Ok(denied) = serde_json::from_slice::<Denied>(&answer.body) else {
            return match answer.refusal() {
                // Whoever answers so does not speak of logins.
                Refusal::Final | Refusal::Missing | Refusal::Elsewhere => self.no_login_server(answer),
                _ => answer.failure("signing in"),
            };
        };
        let Config { tenant, client_id, .. } = self.config;
        let said = self.client.secrets().hide(denied.error_description.lines().next().unwrap_or_default());
        let auth = |text: &str| Failure::new(Class::Auth, format!("{text} ({said})"));
        match denied.error_codes.first() {
            Some(90_002 | 900_023) => Failure::config(
                "tenant",
                format!("there is no organisation `{tenant}`: correct `tenant`, an id or a domain ({said})"),
            ),
            Some(700_016) => Failure::config(
                "client_id",
                format!("the organisation `{tenant}` knows no application `{client_id}`: correct `client_id` ({said})"),
            ),
            Some(7_000_215) => auth("the `client_secret` is wrong: it is the secret's value that counts, not its id"),
            Some(7_000_222) => {
                auth("the `client_secret` has expired: make a new one in the application's registration")
            }
            Some(700_027) => auth(
                "the login server does not know the certificate in `client_certificate`: upload it to the application's \
                 registration, or set the clock of this machine",
            ),
            Some(65_001) => {
                auth("nobody has consented to what the application asks for: an administrator must grant it")
            }
            _ => match denied.error.as_str() {
                "invalid_grant" => {
                    auth("the sign-in has expired or was withdrawn: sign in again with `pairwise connection login`")
                }
                "interaction_required" => auth(
                    "the organisation asks whoever signs in for more than before, such as a second factor: sign in again with \
                     `pairwise connection login`",
                ),
                "invalid_client" | "unauthorized_client" => {
                    auth("the login server refuses the application's credentials")
                }
                _ => answer.failure_saying(format!("signing in: {} ({said})", answer.spelled())),
            },
        }
    }
}
