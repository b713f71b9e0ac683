//! Who asks: Basic and Digest (RFC 7616 with MD5), in `Authorization` or `X-Authorization`, or a cookie of the web client.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::settings::{Auth, Settings, User};

/// What the challenge calls this server. An assumption, as the order of the challenges is.
const REALM: &str = "Infor CRM";
/// How long a nonce is good, in milliseconds.
const FRESH: i64 = 300_000;
pub(super) const COOKIE: &str = "SlxSession";

/// Nonces that were given out, with their time; and sessions with their login.
#[derive(Debug, Default)]
pub(super) struct Logins {
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    nonces: BTreeMap<String, i64>,
    sessions: BTreeMap<String, String>,
    count: u64,
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// No or wrong credentials.
    Unknown,
    /// The right ones, with a nonce that is too old.
    Stale,
    /// A known user who may not use SData.
    NoRight,
    /// The password has expired.
    Expired,
}

/// The login that a request names, whether or not it is right: for the journal.
pub(super) fn named(headers: &HeaderMap) -> Option<String> {
    match credentials(headers)? {
        Credentials::Basic { user, .. } => Some(user),
        Credentials::Digest(mut fields) => fields.remove("username"),
    }
}

enum Credentials {
    Basic { user: String, password: String },
    Digest(BTreeMap<String, String>),
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let header = headers.get("authorization").or_else(|| headers.get("x-authorization"))?.to_str().ok()?;
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        return Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() });
    }
    scheme.eq_ignore_ascii_case("digest").then(|| Credentials::Digest(fields(rest)))
}

/// `name="value", name=value`; quotes may hold commas.
fn fields(text: &str) -> BTreeMap<String, String> {
    let (mut fields, mut rest) = (BTreeMap::new(), text);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        fields.insert(name.trim().to_lowercase(), value.trim().to_owned());
        rest = after.trim_start().strip_prefix(',').unwrap_or("");
    }
    fields
}

impl Logins {
    /// The user whose request this is.
    pub(super) fn check(
        &self,
        settings: &Settings,
        now: i64,
        method: &str,
        uri: &str,
        headers: &HeaderMap,
    ) -> Result<User, Denied> {
        let user = match credentials(headers) {
            Some(Credentials::Basic { user, password }) if settings.auth != Auth::Digest => {
                settings.user(&user).filter(|known| known.password == password)
            }
            Some(Credentials::Digest(fields)) if settings.auth != Auth::Basic => {
                self.by_digest(settings, now, method, uri, &fields)?
            }
            _ => self.by_cookie(settings, headers),
        };
        let user = user.ok_or(Denied::Unknown)?;
        if user.expired {
            return Err(Denied::Expired);
        }
        if user.sdata { Ok(user.clone()) } else { Err(Denied::NoRight) }
    }

    fn by_digest<'a>(
        &self,
        settings: &'a Settings,
        now: i64,
        method: &str,
        uri: &str,
        fields: &BTreeMap<String, String>,
    ) -> Result<Option<&'a User>, Denied> {
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let Some(user) = settings.user(field("username")) else { return Ok(None) };
        if field("realm") != REALM || field("uri") != uri || field("qop") != "auth" {
            return Ok(None);
        }
        let secret = hash(&format!("{}:{REALM}:{}", field("username"), user.password));
        let request = hash(&format!("{method}:{uri}"));
        let middle = [field("nonce"), field("nc"), field("cnonce"), field("qop")].join(":");
        if hash(&format!("{secret}:{middle}:{request}")) != field("response") {
            return Ok(None);
        }
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = given.nonces.get(field("nonce")).is_some_and(|made| (now - made).abs() <= FRESH);
        if fresh { Ok(Some(user)) } else { Err(Denied::Stale) }
    }

    fn by_cookie<'a>(&self, settings: &'a Settings, headers: &HeaderMap) -> Option<&'a User> {
        let cookies = headers.get("cookie")?.to_str().ok()?;
        let session = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.sessions.get(session).and_then(|login| settings.user(login))
    }

    /// No session counts any more.
    pub(super) fn end_sessions(&self) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).sessions.clear();
    }

    /// A session for a cookie.
    pub(super) fn session(&self, user: &User) -> String {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.count += 1;
        let session = hash(&format!("session {} {}", given.count, user.login));
        given.sessions.insert(session.clone(), user.login.clone());
        session
    }

    /// What a request without a login is told: Digest first, then Basic.
    pub(super) fn challenges(&self, settings: &Settings, now: i64, stale: bool) -> Vec<String> {
        let mut challenges = Vec::new();
        if settings.auth != Auth::Basic {
            let nonce = {
                let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
                given.nonces.retain(|_, made| (now - *made).abs() <= FRESH);
                given.count += 1;
                let nonce = hash(&format!("nonce {} {now}", given.count));
                given.nonces.insert(nonce.clone(), now);
                nonce
            };
            let stale = if stale { ", stale=true" } else { "" };
            let opaque = hash(REALM);
            challenges.push(format!(
                "Digest realm=\"{REALM}\", nonce=\"{nonce}\", opaque=\"{opaque}\", qop=\"auth\", algorithm=MD5{stale}"
            ));
        }
        if settings.auth != Auth::Digest {
            challenges.push(format!("Basic realm=\"{REALM}\""));
        }
        challenges
    }
}

fn hash(text: &str) -> String {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_field_by_field() {
        let read = fields("username=\"lee\", realm=\"a, b\", nc=00000001, uri=\"/x?a='1'\"");
        assert_eq!(read["username"], "lee");
        assert_eq!((read["realm"].as_str(), read["nc"].as_str()), ("a, b", "00000001"));
        assert_eq!(read["uri"], "/x?a='1'");
    }

    /// The example of RFC 2617, section 3.5.
    #[test]
    fn the_hash_is_the_standards() {
        let secret = hash("Mufasa:testrealm@host.com:Circle Of Life");
        let request = hash("GET:/dir/index.html");
        let middle = "dcd98b7102dd2f0e8b11d0f600bfb0c093:00000001:0a4f113b:auth";
        assert_eq!(hash(&format!("{secret}:{middle}:{request}")), "6629fae49393a05397450978507c4ef1");
    }
}
