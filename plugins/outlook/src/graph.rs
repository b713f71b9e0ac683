//! Requests to Microsoft Graph: addresses, headers, logins, and what refusals mean.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pairwise_http::{Answer, Client, Gate, Json, Options, Pauses, Permit, Request, base_url};
use pairwise_plugin_api::{Class, Context, Failure, Principal, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::{Issuer, Tokens};
use crate::batch::LONGEST_PAUSE;
use crate::settings::Config;

/// The protocol allows four requests at a time for each mailbox; parts of a batch count one by one.
pub(crate) const IN_FLIGHT: usize = 4;

/// Without the first ids change when an item moves, so that it goes with every request that tells or takes ids. Without the
/// second texts come as HTML.
pub(crate) const PREFER: &str = "IdType=\"ImmutableId\", outlook.body-content-type=\"text\"";

/// What may stand in a path or a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A part of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// `?$a=…&$b=…`; empty values are left out.
pub(crate) fn query(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().filter(|(_, value)| !value.is_empty());
    let parts: Vec<String> = parts.map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// Access to Graph.
#[derive(Debug)]
pub(crate) struct Graph {
    client: Client,
    config: Config,
    tokens: Tokens,
    gate: Gate,
    /// Mailboxes that want to be left alone, and until when.
    busy: Pauses,
    /// `https://graph.microsoft.com`
    url: String,
    login_url: String,
}

/// What Graph says about a refusal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: String,
    message: String,
    request: String,
}

impl Problem {
    pub(crate) fn of(status: u16, body: &Json) -> Self {
        let error = &body["error"];
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let inner = if error["innerError"].is_object() { &error["innerError"] } else { &error["innererror"] };
        Problem {
            status,
            code: text(&error["code"]),
            message: text(&error["message"]),
            request: text(&inner["request-id"]),
        }
    }

    /// True where what the cursor points at is no longer there.
    pub(crate) fn is_lost_sync(&self) -> bool {
        let code = self.code.to_ascii_lowercase();
        self.status == 410 || code.starts_with("syncstate") || code == "resyncrequired"
    }

    /// For people.
    pub(crate) fn said(&self) -> String {
        let mut said = match (self.code.as_str(), self.message.as_str()) {
            ("", "") => format!("status {}", self.status),
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        if !self.request.is_empty() {
            said.push_str(&format!(" (request {})", self.request));
        }
        said
    }
}

/// What a refusal of a token wants the next one to say: a claims challenge.
fn claims(answer: &Answer) -> Option<String> {
    let (_, rest) = answer.all("www-authenticate").find_map(|challenge| challenge.split_once("claims=\""))?;
    let encoded = rest.split('"').next()?.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    serde_json::from_str::<Json>(&claims).is_ok_and(|claims| claims.is_object()).then_some(claims)
}

impl Graph {
    pub(crate) fn new(config: Config) -> Result<Self> {
        let (url, login_url) = (base_url("url", &config.url)?, base_url("login_url", &config.login_url)?);
        let options = Options { ca_file: config.ca_file.clone(), proxy: config.proxy.clone(), ..Options::default() };
        Ok(Graph {
            client: Client::new(options)?,
            tokens: Tokens::default(),
            gate: Gate::new(IN_FLIGHT),
            busy: Pauses::new(LONGEST_PAUSE),
            config,
            url,
            login_url,
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) fn issuer(&self) -> Issuer<'_> {
        Issuer { client: &self.client, config: &self.config, login_url: &self.login_url, graph_url: &self.url }
    }

    /// The path of a principal's mailbox: `/users/lee%40example.com`.
    pub(crate) fn mailbox(&self, principal: &Principal) -> String {
        match Some(principal.0.as_str()).filter(|name| !name.is_empty()).or(self.config.mailbox.as_deref()) {
            Some(name) => format!("/users/{}", segment(name)),
            None => "/me".to_owned(),
        }
    }

    /// Waits until so many requests to the mailbox may start. One that wants to be left alone for long is not asked at all:
    /// what is refused counts, too.
    pub(crate) fn pass(&self, cx: &Context, principal: &Principal, share: usize) -> Result<Permit<'_>> {
        let mailbox = self.mailbox(principal);
        let said =
            |pause: Duration| format!("the server has asked for a pause of {} s for this mailbox", pause.as_secs());
        self.busy.wait(cx, &mailbox, said)?;
        self.gate.pass(cx, &mailbox, share)
    }

    /// The mailbox wants to be left alone for so long. Short pauses are kept by whoever was told of them.
    pub(crate) fn leave_alone(&self, principal: &Principal, pause: Option<Duration>) {
        if let Some(pause) = pause.filter(|pause| *pause > LONGEST_PAUSE) {
            self.busy.note(&self.mailbox(principal), pause);
        }
    }

    /// Sends a request with the principal's token; a token that is refused is renewed once, and once more if it has to say more
    /// than usual. `at` is a path, or a whole address that Graph gave us.
    pub(crate) fn send(&self, cx: &Context, principal: &Principal, mut request: Request) -> Result<Answer> {
        if !request.url.contains("://") {
            request.url = format!("{}/v1.0{}", self.url, request.url);
        } else if !request.url.starts_with(&format!("{}/", self.url)) {
            // A token must not be sent to a server that a cursor or an answer names.
            let text = format!("the server led to {}, which is not `url`", pairwise_http::shown(&request.url));
            return Err(Failure::new(Class::CursorExpired, text));
        }
        // A token that is good may still not say enough.
        let (mut renewed, mut challenged) = (false, false);
        loop {
            let token = self.tokens.token(cx, &self.issuer(), principal)?;
            let sent = request.clone().identified().header("Authorization", format!("Bearer {token}"));
            let answer = self.client.send(cx, &sent)?;
            if answer.status == 429 {
                self.leave_alone(principal, answer.retry_after());
            }
            let claims = claims(&answer);
            let once = if claims.is_some() { &mut challenged } else { &mut renewed };
            if answer.status != 401 || std::mem::replace(once, true) {
                return Ok(answer);
            }
            self.tokens.refused(principal, &token, claims);
        }
    }

    /// Reads JSON. `doing` says what for: "reading contacts".
    pub(crate) fn get(
        &self,
        cx: &Context,
        principal: &Principal,
        at: &str,
        prefer: &str,
        doing: &str,
    ) -> Result<(Json, Answer)> {
        let _permit = self.pass(cx, principal, 1)?;
        let request = Request::get(at).header("Prefer", prefer).header("Accept", "application/json");
        let answer = self.send(cx, principal, request)?;
        let body = self.json(&answer, principal, doing)?;
        Ok((body, answer))
    }

    /// The JSON of an answer that went well.
    pub(crate) fn json(&self, answer: &Answer, principal: &Principal, doing: &str) -> Result<Json> {
        if !answer.is_success() {
            return Err(self.failure(answer, principal, doing));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            let text =
                format!("{doing}: {} did not answer with JSON: `url` is not that of Microsoft Graph", answer.asked);
            Failure::config("url", text)
        })
    }

    /// What a refusal of a whole request means.
    pub(crate) fn failure(&self, answer: &Answer, principal: &Principal, doing: &str) -> Failure {
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        let problem = Problem::of(answer.status, &body);
        if problem.code.is_empty() && answer.status == 401 {
            let text = format!("{doing}: {} does not refuse a login as Microsoft Graph does: check `url`", self.url);
            return Failure::new(Class::Auth, text);
        }
        if problem.code.is_empty() && answer.status != 410 {
            return answer.failure(doing);
        }
        self.explain(&problem, principal, doing).unwrap_or_else(|| {
            answer.failure_saying(format!(
                "{doing}: {} answered {}: {}",
                answer.asked,
                answer.spelled(),
                problem.said()
            ))
        })
    }

    /// Refusals that concern the mailbox or the login as a whole.
    pub(crate) fn explain(&self, problem: &Problem, principal: &Principal, doing: &str) -> Option<Failure> {
        let said = self.client.secrets().hide(&problem.said());
        let mailbox = match (principal.0.as_str(), self.config.mailbox.as_deref()) {
            ("", None) => "of the person who signed in".to_owned(),
            ("", Some(name)) | (name, _) => format!("`{name}`"),
        };
        let failure = match (problem.status, problem.code.as_str()) {
            (401, _) => {
                Failure::new(Class::Auth, format!("{doing}: the token is not accepted: sign in again ({said})"))
            }
            (403, _) => Failure::new(
                Class::Auth,
                format!(
                    "{doing}: the application may not use the mailbox {mailbox}: grant it `Contacts.ReadWrite` and \
                     `Calendars.ReadWrite`, and let its scope include this mailbox ({said})"
                ),
            ),
            (404, "MailboxNotEnabledForRESTAPI" | "MailboxNotSupportedForRESTAPI" | "MailboxNotFound") => Failure::new(
                Class::Config,
                format!(
                    "{doing}: the mailbox {mailbox} is not in the cloud: use the connector `exchange` for it, or give it a \
                     licence ({said})"
                ),
            ),
            (404, "ErrorInvalidUser" | "ResourceNotFound" | "Request_ResourceNotFound") => Failure::new(
                Class::Config,
                format!(
                    "{doing}: there is no mailbox {mailbox} in this organisation: correct the profile's users ({said})"
                ),
            ),
            _ if problem.is_lost_sync() => Failure::new(
                Class::CursorExpired,
                format!("{doing}: the server dropped the state of the feed ({said})"),
            ),
            _ => return None,
        };
        Some(failure)
    }
}
