//! A principal's login: how it is put into requests, and what is known about it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use pairwise_http::Answer;
use pairwise_plugin_api::Cursor;
use secrecy::{ExposeSecret, SecretString};

use crate::cursor::State;
use crate::groups::Group;
use crate::identity::Identity;
use crate::settings::LoginKind;

/// A user of the system.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    password: SecretString,
    kind: LoginKind,
    /// Basic may be read by nobody on the way.
    private: bool,
    scheme: Mutex<Scheme>,
    first: Mutex<()>,
    /// Cookies by which the web client knows who has logged in: name and value.
    cookies: Mutex<Vec<(String, String)>>,
    known: Mutex<Known>,
    turn: Mutex<()>,
}

/// What the server was found to take.
#[derive(Debug, Default)]
enum Scheme {
    /// Not known yet.
    #[default]
    Open,
    Basic,
    /// With the number that the server gave; it is used again, as the scheme allows.
    Digest(Box<WwwAuthenticateHeader>),
}

/// What was found out about a login; all of it can be found out again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Where a round of reading stands, so that its cursor need not be read again.
    pub(crate) midway: Option<(Cursor, State)>,
    pub(crate) identity: Option<Identity>,
    /// The group that was read last, and when.
    pub(crate) group: Option<(Instant, Group)>,
    /// Groups that streams work in, with the entities that belong to them.
    pub(crate) streams: BTreeSet<(String, String)>,
    /// Addresses of leads, by their keys.
    pub(crate) leads: HashMap<String, String>,
}

impl Known {
    /// The state that was left off at with this cursor. It is taken out: a round goes on once.
    pub(crate) fn resume(&mut self, cursor: &Cursor) -> Option<State> {
        self.midway.take().filter(|(known, _)| known == cursor).map(|(_, state)| state)
    }

    /// A stream works in a group with these entities.
    pub(crate) fn note_stream(&mut self, group: &str, entities: &[String]) {
        self.streams.extend(entities.iter().map(|entity| (group.to_owned(), entity.clone())));
    }

    /// Whether new records of an entity belong to a group: not those that are only made because another one refers to them.
    pub(crate) fn belongs(&self, group: &str, entity: &str) -> bool {
        let mut here = self.streams.iter().filter(|(name, _)| name == group).peekable();
        here.peek().is_none() || here.any(|(_, of)| of == entity)
    }
}

impl Login {
    pub(crate) fn new(user: String, password: SecretString, kind: LoginKind, private: bool) -> Self {
        let scheme = match kind {
            LoginKind::Basic => Scheme::Basic,
            LoginKind::Auto if private => Scheme::Basic,
            LoginKind::Auto | LoginKind::Digest => Scheme::Open,
        };
        Login {
            user,
            password,
            kind,
            private,
            scheme: Mutex::new(scheme),
            first: Mutex::default(),
            cookies: Mutex::default(),
            known: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change a group.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to ask for the server's way, as long as it is not known. Whoever waits for it meanwhile need not be refused.
    pub(crate) fn first(&self) -> Option<MutexGuard<'_, ()>> {
        let unknown = matches!(*self.scheme(), Scheme::Open);
        unknown.then(|| self.first.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn scheme(&self) -> MutexGuard<'_, Scheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cookies that go in the place of a login, if the server has given any.
    pub(crate) fn cookies(&self) -> Option<String> {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Keeps the cookies of an answer; one without a value is no more.
    pub(crate) fn keep_cookies(&self, answer: &Answer) {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in answer.cookies() {
            cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// The server does not know them any more. False if there are none.
    pub(crate) fn forget_cookies(&self) -> bool {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::take(&mut *cookies).is_empty()
    }

    /// The header of the next request, if the server's way is known.
    pub(crate) fn authorization(&self, method: &'static str, url: &str) -> Option<String> {
        match &mut *self.scheme() {
            Scheme::Open => None,
            Scheme::Basic => {
                let pair = format!("{}:{}", self.user, self.password.expose_secret());
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Scheme::Digest(challenge) => {
                let context = AuthContext::new_with_method(
                    self.user.as_str(),
                    self.password.expose_secret(),
                    path_of(url),
                    None::<&[u8]>,
                    HttpMethod(method.into()),
                );
                challenge.respond(&context).ok().map(|header| header.to_string())
            }
        }
    }

    /// Learns from a refusal what the server wants. False if nothing of it is new: then the login itself is wrong.
    pub(crate) fn learn(&self, answer: &Answer, sent: Option<&str>) -> bool {
        let (mut digest, mut basic) = (None, false);
        // The reader of challenges falls over characters that no challenge has.
        for offer in answer.all("www-authenticate").filter(|offer| offer.is_ascii()) {
            let scheme = offer.trim_start().split(' ').next().unwrap_or_default();
            if scheme.eq_ignore_ascii_case("digest") {
                digest = digest.or_else(|| digest_auth::parse(offer).ok());
            }
            basic |= scheme.eq_ignore_ascii_case("basic");
        }
        let tried = |scheme: &str| sent.is_some_and(|sent| sent.starts_with(scheme));
        let mut scheme = self.scheme();
        match digest {
            // A number that ran out is refused, too, and the server says so.
            Some(challenge) if self.kind != LoginKind::Basic && (!tried("Digest") || challenge.stale) => {
                *scheme = Scheme::Digest(Box::new(challenge));
                true
            }
            _ if basic && !tried("Basic") && !tried("Digest") && self.kind == LoginKind::Auto && self.private => {
                *scheme = Scheme::Basic;
                true
            }
            _ => false,
        }
    }

    /// Whether the server offers nothing but what this login must not use.
    pub(crate) fn wants_basic(&self, answer: &Answer) -> bool {
        let offers = |scheme: &str| {
            let begins = |value: &str| value.get(..scheme.len()).is_some_and(|v| v.eq_ignore_ascii_case(scheme));
            answer.all("www-authenticate").any(begins)
        };
        matches!(*self.scheme(), Scheme::Open) && offers("basic") && !offers("digest")
    }
}

/// Path and query of an address, as they stand in the request.
fn path_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or("/", |slash| &url[start + slash..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_http::Effect;

    use super::*;

    fn login(kind: LoginKind, private: bool) -> Login {
        Login::new("lee".into(), "secret".to_owned().into(), kind, private)
    }

    fn refusal(offers: &[&str]) -> Answer {
        let headers = offers.iter().map(|offer| ("www-authenticate".to_owned(), (*offer).to_owned())).collect();
        Answer { status: 401, headers, body: Vec::new(), asked: "GET http://crm".into(), effect: Effect::None }
    }

    const DIGEST: &str = r#"Digest realm="SData", nonce="abc", qop="auth", algorithm=MD5"#;
    const STALE: &str = r#"Digest realm="SData", nonce="def", qop="auth", algorithm=MD5, stale=true"#;

    #[test]
    fn over_https_basic_goes_at_once() {
        let login = login(LoginKind::Auto, true);
        assert_eq!(login.authorization("GET", "https://crm/sdata").unwrap(), "Basic bGVlOnNlY3JldA==");
        assert!(login.learn(&refusal(&[DIGEST, "Basic realm=\"SData\""]), Some("Basic x")));
        assert!(login.authorization("GET", "https://crm/sdata").unwrap().starts_with("Digest "));
    }

    #[test]
    fn over_http_the_password_is_never_readable() {
        let login = login(LoginKind::Auto, false);
        assert_eq!(login.authorization("GET", "http://crm/sdata"), None);
        let only_basic = refusal(&["Basic realm=\"SData\""]);
        assert!(!login.learn(&only_basic, None) && login.wants_basic(&only_basic));
        assert!(login.learn(&refusal(&[DIGEST, "Basic realm=\"SData\""]), None));
        let header = login.authorization("GET", "http://crm/sdata/slx?a='b'").unwrap();
        assert!(header.contains("uri=\"/sdata/slx?a='b'\"") && header.contains("nc=00000001"), "{header}");
        let header = login.authorization("GET", "http://crm/sdata").unwrap();
        assert!(header.contains("nc=00000002"), "the number is used again: {header}");
    }

    #[test]
    fn a_wrong_password_is_told_from_a_number_that_ran_out() {
        let login = login(LoginKind::Digest, false);
        assert!(login.learn(&refusal(&[DIGEST]), None));
        assert!(!login.learn(&refusal(&[DIGEST]), Some("Digest x")));
        assert!(login.learn(&refusal(&[STALE]), Some("Digest x")));
    }
}
