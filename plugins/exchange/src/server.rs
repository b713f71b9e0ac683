//! The way to the server: few connections, logins that belong to a connection or to a request, back-off for all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pairwise_http::{Answer, Client, Effect, Gate, Options, Patience, Pauses, Request, Streaming};
use pairwise_plugin_api::{Class, Context, Failure, Result, tracing};

use crate::binding::{self, Binding};
use crate::group::Group;
use crate::ntlm;
use crate::oauth::OAuth;
use crate::soap::{Trouble, version};
use crate::xml::Tree;

/// How often a request is repeated while the server is busy, before the host hears of it.
const TRIES: u32 = 3;
/// The longest pause that is waited out here.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// The largest answer.
const LARGEST: u64 = 48 << 20;

/// How the server wants to know who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic,
    /// With the word that the server uses for it.
    Ntlm(&'static str),
    /// A token with each request.
    Bearer,
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// A connection to the server. It keeps one open, because NTLM logs a connection in and not a request.
#[derive(Debug)]
pub(crate) struct Line {
    client: Client,
    /// Who is logged in on it.
    known_as: Option<String>,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    options: Options,
    scheme: Mutex<Option<Scheme>>,
    idle: Mutex<Vec<Line>>,
    /// As many connections as the settings allow.
    gate: Gate,
    busy: Pauses,
    /// Logins that the server refused: asking again and again locks an account.
    refused: Mutex<Vec<Login>>,
    /// Items that one request may hold, where a larger one took the server too long.
    bearable: AtomicUsize,
    /// What ties NTLM logins to the server's certificate, once it was found out.
    binding: Mutex<Option<Binding>>,
    /// Whether they are to be tied at all.
    binds: bool,
    /// Logins that worked: the server may refuse one of these for a moment, when it is overloaded.
    worked: Mutex<Vec<String>>,
    /// Where tokens come from, where logins are made by them.
    oauth: Option<OAuth>,
}

/// A request to the server.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) login: &'a Login,
    /// The mailbox that it is about, for the server's own routing.
    pub(crate) anchor: Option<&'a str>,
    pub(crate) body: String,
    pub(crate) effect: Effect,
    pub(crate) timeout: Option<Duration>,
    /// The group that the request belongs to.
    pub(crate) group: Option<&'a Group>,
}

impl Ask<'_> {
    /// How many items it is about.
    fn items(&self) -> usize {
        ["<t:ItemId ", "<t:FieldURIOrConstant>"].iter().map(|one| self.body.matches(one).count()).sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// A server that was not asked yet.
    pub(crate) fn new(
        url: String,
        scheme: Option<Scheme>,
        options: Options,
        connections: usize,
        binds: bool,
        oauth: Option<OAuth>,
    ) -> Result<Self> {
        let options =
            Options { idle_connections: 1, patience: Patience::NONE, max_body: LARGEST, redirects: 0, ..options };
        // Whatever cannot be used in the options is told now.
        let first = Line { client: Client::new(options.clone())?, known_as: None };
        Ok(Server {
            url,
            options,
            scheme: Mutex::new(scheme),
            idle: Mutex::new(vec![first]),
            gate: Gate::new(connections),
            busy: Pauses::new(LONGEST_PAUSE),
            refused: Mutex::default(),
            bearable: AtomicUsize::new(usize::MAX),
            binding: Mutex::default(),
            binds,
            worked: Mutex::default(),
            oauth,
        })
    }

    /// So many items at most, as far as the server has shown what it can bear.
    pub(crate) fn bears(&self, batch: usize) -> usize {
        batch.min(self.bearable.load(Ordering::Relaxed))
    }

    /// A request of so many items took too long: later ones hold half of it.
    pub(crate) fn spare(&self, batch: usize) {
        self.bearable.fetch_min((batch / 2).max(1), Ordering::Relaxed);
    }

    /// A login that was given anew may be tried again.
    pub(crate) fn forgive(&self, login: &Login) {
        lock(&self.refused).retain(|refused| refused.user != login.user);
    }

    /// Sends a request and reads the answer; again while the server is busy and the pause is short.
    pub(crate) fn ask(&self, cx: &Context, ask: &Ask<'_>) -> Result<(Tree, Option<i64>)> {
        let mailbox = ask.anchor.unwrap_or(&ask.login.user);
        let mut sent = 0;
        loop {
            self.wait_while_busy(cx)?;
            let _permit = self.gate.pass(cx, "", 1)?;
            sent += 1;
            let mut line = self.line()?;
            let got = self.send(cx, &mut line, ask);
            lock(&self.idle).push(line);
            let answer = got?;
            if let Some(group) = ask.group {
                group.learn(&answer);
            }
            let trouble = match answer.status {
                200 => return Ok((self.read(&answer)?, answer.server_time())),
                500 => Self::fault(&answer),
                _ => None,
            };
            let Some(trouble) = trouble else { return Err(self.failure(&answer)) };
            if trouble.is("ErrorTimeoutExpired") {
                self.spare(ask.items());
            }
            let failure = trouble.failure(mailbox, ask.effect != Effect::None);
            if failure.class != Class::Throttled {
                return Err(failure);
            }
            let pause = Duration::from_millis(failure.retry_after_ms.unwrap_or(1_000));
            self.busy.note("", pause);
            tracing::info!(code = trouble.code, pause_ms = pause.as_millis() as u64, "the server asks for a pause");
            if sent >= TRIES || pause > LONGEST_PAUSE {
                return Err(failure);
            }
        }
    }

    /// Sends a request whose answer does not end soon.
    pub(crate) fn stream(&self, cx: &Context, ask: &Ask<'_>) -> Result<Streaming> {
        self.wait_while_busy(cx)?;
        let line = Line { client: Client::new(self.options.clone())?, known_as: None };
        let (scheme, ready) = self.scheme(cx, &line, ask.login)?;
        let authorization = match (scheme, ready) {
            (_, Some(ready)) => ready,
            (Scheme::Bearer, None) => self.bearer(cx, &line, ask.login)?,
            (Scheme::Basic, None) => basic(ask.login),
            (Scheme::Ntlm(word), None) => self.shake_hands(cx, &line, ask.login, word)?,
        };
        let request = self.request(ask).header("Authorization", authorization);
        let streaming = line.client.open(cx, &request)?;
        match streaming.answer.status {
            200 => Ok(streaming),
            401 => Err(self.refuse(ask.login)),
            _ => Err(self.failure(&streaming.answer)),
        }
    }

    fn line(&self) -> Result<Line> {
        match lock(&self.idle).pop() {
            Some(line) => Ok(line),
            None => Ok(Line { client: Client::new(self.options.clone())?, known_as: None }),
        }
    }

    fn wait_while_busy(&self, cx: &Context) -> Result<()> {
        self.busy.wait(cx, "", |_| "the server has asked to be left alone".to_owned())
    }

    /// A request that can be found again in the server's records, as its answer can: see [`Self::failure`].
    fn post(&self, body: &str) -> Request {
        let request = Request::post(&self.url).body("text/xml; charset=utf-8", body);
        request.identified().header("return-client-request-id", "true")
    }

    fn request(&self, ask: &Ask<'_>) -> Request {
        let mut request = self.post(ask.body.as_str()).effect(ask.effect);
        if let Some(anchor) = ask.group.map(|group| group.anchor()).or(ask.anchor) {
            request = request.header("X-AnchorMailbox", anchor);
        }
        if let Some(group) = ask.group {
            request = group.mark(request);
        }
        match ask.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        }
    }

    /// Sends a request as somebody who is logged in.
    fn send(&self, cx: &Context, line: &mut Line, ask: &Ask<'_>) -> Result<Answer> {
        if lock(&self.refused).contains(ask.login) {
            return Err(self.refuse(ask.login));
        }
        line.client.secrets().add(&ask.login.password);
        let (scheme, mut ready) = self.scheme(cx, line, ask.login)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let request = self.request(ask);
            let request = match (scheme, ready.take()) {
                (_, Some(ready)) => request.header("Authorization", ready),
                (Scheme::Bearer, None) => request.header("Authorization", self.bearer(cx, line, ask.login)?),
                (Scheme::Basic, None) => request.header("Authorization", basic(ask.login)),
                (Scheme::Ntlm(_), None) if line.known_as.as_deref() == Some(&ask.login.user) => request,
                (Scheme::Ntlm(word), None) => {
                    let authenticate = self.shake_hands(cx, line, ask.login, word)?;
                    request.header("Authorization", authenticate)
                }
            };
            let was_known = line.known_as.take().is_some();
            let answer = line.client.once(cx, &request)?;
            if answer.status != 401 {
                line.known_as = Some(ask.login.user.clone());
                let mut worked = lock(&self.worked);
                if !worked.contains(&ask.login.user) {
                    worked.push(ask.login.user.clone());
                }
                return Ok(answer);
            }
            // The server's certificate may be another one by now.
            lock(&self.binding).take();
            let renews = self.oauth.as_ref().map(OAuth::refused).is_some();
            // The connection was closed and made anew, the token has ended, or the server is overloaded: once more, and no loop.
            let may_pass = renews || was_known || lock(&self.worked).contains(&ask.login.user);
            if tries > 1 || !may_pass {
                return Err(self.refuse(ask.login));
            }
        }
    }

    fn bearer(&self, cx: &Context, line: &Line, login: &Login) -> Result<String> {
        let none = || Failure::config("auth", "no login server is known that gives tokens");
        self.oauth.as_ref().ok_or_else(none)?.authorization(cx, &line.client, &login.password)
    }

    /// The way to log in. Where it is not known, the first message of NTLM asks for it, and is not wasted if the server takes
    /// NTLM: then the login is ready, too.
    fn scheme(&self, cx: &Context, line: &Line, login: &Login) -> Result<(Scheme, Option<String>)> {
        if let Some(scheme) = *lock(&self.scheme) {
            return Ok((scheme, None));
        }
        let answer = self.hello(cx, line, login, "NTLM")?;
        let offers = |word: &str| offers(&answer, word);
        let (scheme, ready) = if let Some(ready) = self.authenticate(&answer, login, "NTLM") {
            (Scheme::Ntlm("NTLM"), Some(ready))
        } else if offers("NTLM") {
            (Scheme::Ntlm("NTLM"), None)
        } else if offers("Negotiate") {
            (Scheme::Ntlm("Negotiate"), None)
        } else if offers("Basic") {
            (Scheme::Basic, None)
        } else {
            return Err(Failure::config("auth", format!("{} offers neither NTLM nor Basic logins", self.url)));
        };
        *lock(&self.scheme) = Some(scheme);
        Ok((scheme, ready))
    }

    /// Sends the first message of NTLM. Only a server that asks for a login says anything about logins: one that is out of order
    /// or busy does not.
    fn hello(&self, cx: &Context, line: &Line, login: &Login, word: &str) -> Result<Answer> {
        let hello = self.post("").reads().header("Authorization", format!("{word} {}", STANDARD.encode(ntlm::hello())));
        let answer = line.client.once(cx, &hello)?;
        match answer.status {
            401 => Ok(answer),
            500 => {
                Err(Self::fault(&answer)
                    .map_or_else(|| self.failure(&answer), |fault| fault.failure(&login.user, false)))
            }
            _ => Err(self.failure(&answer)),
        }
    }

    /// The first two messages of NTLM; what the third one says.
    fn shake_hands(&self, cx: &Context, line: &Line, login: &Login, word: &str) -> Result<String> {
        let answer = self.hello(cx, line, login, word)?;
        self.authenticate(&answer, login, word).ok_or_else(|| {
            if offers(&answer, word) {
                return Failure::new(Class::Transient, format!("{}: the server broke an {word} login off", self.url));
            }
            Failure::config("auth", format!("{} does not take NTLM logins; say `auth = \"basic\"`", self.url))
        })
    }

    /// The third message of NTLM, if the answer holds the second.
    fn authenticate(&self, answer: &Answer, login: &Login, word: &str) -> Option<String> {
        let prefix = format!("{word} ");
        let challenge = answer.all("www-authenticate").find_map(|value| value.strip_prefix(&prefix))?;
        let message = ntlm::answer(&STANDARD.decode(challenge.trim()).ok()?, login, self.binding())?;
        Some(format!("{word} {}", STANDARD.encode(message)))
    }

    /// What ties a login to the server's certificate. Where it cannot be found out, the login goes without: most servers take
    /// it so.
    fn binding(&self) -> Option<Binding> {
        let mut known = lock(&self.binding);
        if known.is_none() && self.binds {
            *known = binding::of_server(&self.url, self.options.proxy.as_deref()).unwrap_or_else(|error| {
                tracing::warn!("the certificate that ties NTLM logins to a connection was not told: {error}");
                None
            });
        }
        *known
    }

    fn refuse(&self, login: &Login) -> Failure {
        let mut refused = lock(&self.refused);
        if !refused.contains(login) {
            refused.push(login.clone());
        }
        if self.oauth.is_some() {
            let text = format!(
                "{} takes no tokens of the application `{}`: it must be known to Exchange, and `scope` must name this server",
                self.url, login.user
            );
            return Failure::new(Class::Auth, text);
        }
        Failure::new(
            Class::Auth,
            format!(
                "{} refused the login of `{}`: check name and password; a server with Extended Protection refuses right ones, too, \
                 where the address is not its own https address: that of something between that has a certificate of its own",
                self.url, login.user
            ),
        )
    }

    fn read(&self, answer: &Answer) -> Result<Tree> {
        let envelope = Tree::parse(&answer.text()).map_err(|error| {
            let text = format!("{} is not the address of Exchange Web Services: {error}", self.url);
            if answer.text().trim_start().starts_with("<?xml") {
                let mut failure =
                    Failure::new(Class::Transient, format!("{}: an answer cannot be read: {error}", self.url));
                if answer.effect != Effect::None {
                    failure = failure.unknown_outcome();
                }
                return failure;
            }
            Failure::config("url", text)
        })?;
        match version(envelope.root()) {
            Some((major, _)) if major < 15 => Err(Failure::config(
                "url",
                format!("{} is Exchange of version {major}; 2013 SP1 (version 15) or newer is needed", self.url),
            )),
            _ => Ok(envelope),
        }
    }

    /// What an answer of status 500 says.
    fn fault(answer: &Answer) -> Option<Trouble> {
        Trouble::of_fault(Tree::parse(&answer.text()).ok()?.root())
    }

    fn failure(&self, answer: &Answer) -> Failure {
        match answer.status {
            404 | 405 | 410 => Failure::config(
                "url",
                format!(
                    "{} is not the address of Exchange Web Services ({}); it usually ends with /EWS/Exchange.asmx",
                    self.url,
                    answer.spelled()
                ),
            ),
            300..=399 => {
                let mut failure =
                    answer.failure_saying(format!("{} answers that it is elsewhere ({})", self.url, answer.spelled()));
                failure.class = Class::Transient;
                failure
            }
            403 => Failure::new(
                Class::Refused,
                format!(
                    "{} may not be used by this account ({}): EWS may be switched off for it",
                    self.url,
                    answer.spelled()
                ),
            ),
            _ => {
                let mut failure = answer.failure("Exchange Web Services");
                if let Some(id) = answer.header("client-request-id") {
                    failure.text.push_str(&format!(" (request {id})"));
                }
                failure
            }
        }
    }
}

/// Whether a refusal offers this way to log in.
fn offers(answer: &Answer, word: &str) -> bool {
    answer
        .all("www-authenticate")
        .flat_map(|value| value.split([' ', ',']))
        .any(|offer| offer.eq_ignore_ascii_case(word))
}

fn basic(login: &Login) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", login.user, login.password)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_request_for_whoever_runs_the_server() {
        let server =
            Server::new("https://mail.example.com".to_owned(), None, Options::default(), 1, false, None).unwrap();
        let answer = |headers: &[(&str, &str)]| Answer {
            status: 503,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Vec::new(),
            asked: "POST https://mail.example.com".to_owned(),
            effect: Effect::None,
        };
        assert!(server.failure(&answer(&[("client-request-id", "4711")])).text.ends_with(" (request 4711)"));
        assert!(!server.failure(&answer(&[])).text.contains("request "));
    }
}
