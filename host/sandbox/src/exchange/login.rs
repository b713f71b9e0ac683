//! Logins: Basic, NTLM, which belongs to a connection and not to a request, and tokens of the organisation's login server.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use ntlmclient::{ChallengeMessage, Credentials, Flags, Message, TargetInfoEntry, TargetInfoType};
use serde_json::json;

use crate::form::Form;

/// The domain that logins belong to: `EXAMPLE\lee`.
pub(super) const REALM: &str = "EXAMPLE";

/// Who may log in, how, and who has.
#[derive(Debug, Default)]
pub(super) struct Doorman {
    passwords: HashMap<String, String>,
    pub(super) no_basic: bool,
    pub(super) no_ntlm: bool,
    /// Extended Protection: what NTLM logins must be bound to, as MD5 of the channel bindings.
    binding: Option<[u8; 16]>,
    /// By connection: what was asked of the client, then who it is.
    challenges: HashMap<u64, [u8; 8]>,
    known: HashMap<u64, String>,
    asked: u64,
    /// Tokens are taken, too.
    pub(super) oauth: bool,
    tokens: HashSet<String>,
}

/// Where the login server gives tokens.
pub(super) const TOKENS: &str = "/adfs/oauth2/token";
/// The one application that it knows, which acts as [`SERVICE`](super::SERVICE) does: id and secret.
pub(super) const APPLICATION: (&str, &str) = ("0f0c8a52-6a1e-4c86-9d2b-5a1c9a3b7e44", "app-secret");

impl Doorman {
    pub(super) fn add(&mut self, login: &str, password: &str) {
        self.passwords.insert(login.to_lowercase(), password.to_owned());
    }

    /// Extended Protection: NTLM logins must be bound to the certificate with this hash (RFC 5929, `tls-server-end-point`).
    pub(super) fn demand_binding(&mut self, hash: Option<&[u8]>) {
        self.binding = hash.map(|hash| {
            let data = [b"tls-server-end-point:", hash].concat();
            let length = u32::try_from(data.len()).unwrap_or_default().to_le_bytes();
            Md5::digest([[0; 16].as_slice(), &length, &data].concat()).into()
        });
    }

    /// Who asks, or the answer that asks for a login.
    ///
    /// # Errors
    /// The answer to send instead.
    pub(super) fn admit(&mut self, headers: &HeaderMap, connection: u64) -> Result<String, Box<Response>> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, rest) = given.split_once(' ').unwrap_or((given, ""));
        let bytes = STANDARD.decode(rest.trim()).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("Basic") && !self.no_basic {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let (login, password) = text.split_once(':').unwrap_or((&text, ""));
            let login = plain(login);
            return match self.passwords.get(&login) {
                Some(known) if known == password => Ok(login),
                _ => Err(self.ask()),
            };
        }
        if scheme.eq_ignore_ascii_case("Bearer") && self.oauth {
            let known = self.tokens.contains(rest.trim());
            return if known { Ok(super::SERVICE.0.to_owned()) } else { Err(self.ask()) };
        }
        if ["NTLM", "Negotiate"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) && !self.no_ntlm {
            return self.negotiate(scheme, &bytes, connection);
        }
        self.known.get(&connection).filter(|_| given.is_empty()).cloned().ok_or_else(|| self.ask())
    }

    /// All tokens end now.
    pub(super) fn end_tokens(&mut self) {
        self.tokens.clear();
    }

    /// What the login server answers to a form; `scope` is what tokens are for.
    pub(super) fn grant(&mut self, form: &[u8], scope: &str) -> Response {
        let denied = |status, error: &str, why: &str| {
            (status, Json(json!({ "error": error, "error_description": why }))).into_response()
        };
        let form = Form::read(form);
        let is = |name: &str, value: &str| form.get(name) == value;
        if !is("grant_type", "client_credentials") {
            return denied(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "MSIS9611: The grant type is not supported.",
            );
        }
        if !is("client_id", APPLICATION.0) || !is("client_secret", APPLICATION.1) {
            return denied(StatusCode::UNAUTHORIZED, "invalid_client", "MSIS9607: The credentials are not valid.");
        }
        if !is("scope", scope) {
            return denied(StatusCode::BAD_REQUEST, "invalid_scope", "MSIS9329: The scope is not valid.");
        }
        self.asked += 1;
        let token = format!("token-{:016x}", self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.tokens.insert(token.clone());
        Json(json!({ "token_type": "bearer", "expires_in": 3_600, "access_token": token })).into_response()
    }

    fn negotiate(&mut self, scheme: &str, bytes: &[u8], connection: u64) -> Result<String, Box<Response>> {
        // Of the first message only its kind matters.
        if bytes.starts_with(b"NTLMSSP\0\x01") {
            return Err(self.challenge(scheme, connection));
        }
        let proof = Proof::read(bytes).ok_or_else(|| self.ask())?;
        let login = plain(&proof.user);
        let challenge = self.challenges.remove(&connection);
        let proven = challenge
            .zip(self.passwords.get(&login))
            .is_some_and(|(challenge, password)| proof.holds(challenge, password));
        let bound = self.binding.is_none() || self.binding == proof.binding();
        if !proven || !bound {
            return Err(self.ask());
        }
        self.known.insert(connection, login.clone());
        Ok(login)
    }

    fn challenge(&mut self, scheme: &str, connection: u64) -> Box<Response> {
        self.asked += 1;
        let challenge = self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        self.challenges.insert(connection, challenge);
        self.known.remove(&connection);
        answer_with(&format!("{scheme} {}", STANDARD.encode(challenge_message(challenge))))
    }

    fn ask(&self) -> Box<Response> {
        let mut answer = StatusCode::UNAUTHORIZED.into_response();
        let mut offer = |text: &'static str| {
            answer.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(text));
        };
        if self.oauth {
            offer("Bearer client_id=\"00000002-0000-0ff1-ce00-000000000000\", trusted_issuers=\"\"");
        }
        if !self.no_ntlm {
            offer("NTLM");
        }
        if !self.no_basic {
            offer("Basic realm=\"exchange.example.com\"");
        }
        Box::new(answer)
    }
}

fn answer_with(offer: &str) -> Box<Response> {
    let mut answer = StatusCode::UNAUTHORIZED.into_response();
    if let Ok(value) = HeaderValue::from_str(offer) {
        answer.headers_mut().append(header::WWW_AUTHENTICATE, value);
    }
    Box::new(answer)
}

/// `EXAMPLE\lee` and `lee@example.com` are `lee`.
fn plain(login: &str) -> String {
    let name = login.rsplit('\\').next().unwrap_or_default().to_lowercase();
    name.strip_suffix(super::DOMAIN).unwrap_or(&name).to_owned()
}

fn challenge_message(challenge: [u8; 8]) -> Vec<u8> {
    let entry = |entry_type, text: &str| TargetInfoEntry::from_string(entry_type, text);
    let message = Message::Challenge(ChallengeMessage {
        target_name: REALM.to_owned(),
        flags: Flags::NEGOTIATE_UNICODE
            | Flags::REQUEST_TARGET
            | Flags::NEGOTIATE_NTLM
            | Flags::NEGOTIATE_ALWAYS_SIGN
            | Flags::TARGET_TYPE_DOMAIN
            | Flags::NEGOTIATE_NTLM2_KEY
            | Flags::NEGOTIATE_TARGET_INFO
            | Flags::NEGOTIATE_128BIT
            | Flags::NEGOTIATE_56BIT,
        challenge,
        context: (0, 0),
        target_information: vec![
            entry(TargetInfoType::NtDomain, REALM),
            entry(TargetInfoType::NtServer, "EX1"),
            entry(TargetInfoType::DnsDomain, "example.com"),
            entry(TargetInfoType::DnsServer, "ex1.example.com"),
            TargetInfoEntry { entry_type: TargetInfoType::Terminator, data: Vec::new() },
        ],
        os_version: ntlmclient::OsVersion::default(),
    });
    message.to_bytes().unwrap_or_default()
}

/// The third message: who it is, and the proof that the password is known.
struct Proof {
    user: String,
    domain: String,
    response: Vec<u8>,
}

impl Proof {
    fn read(bytes: &[u8]) -> Option<Proof> {
        if !bytes.starts_with(b"NTLMSSP\0\x03") {
            return None;
        }
        // Each part has a length and, four bytes on, a place.
        let part = |at: usize| {
            let length = u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?) as usize;
            let from = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
            bytes.get(from..from.checked_add(length)?)
        };
        let text = |at: usize| {
            let units: Vec<u16> =
                part(at)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        };
        Some(Proof { response: part(20)?.to_vec(), domain: text(28)?, user: text(36)? })
    }

    /// What it is bound to, which the proof covers as well.
    fn binding(&self) -> Option<[u8; 16]> {
        const CHANNEL_BINDINGS: u16 = 10;
        // Behind the proof: versions, a time, a challenge; then pairs of a number and a value.
        let mut pairs = self.response.get(44..)?;
        loop {
            let (head, rest) = pairs.split_at_checked(4)?;
            let (number, length) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
            let (value, rest) = rest.split_at_checked(length.into())?;
            match number {
                0 => return None,
                CHANNEL_BINDINGS => return value.try_into().ok(),
                _ => pairs = rest,
            }
        }
    }

    /// Whether it was made with this password. Only version 2 is taken.
    fn holds(&self, challenge: [u8; 8], password: &str) -> bool {
        if self.response.len() < 44 {
            return false;
        }
        let (proof, rest) = self.response.split_at(16);
        let credentials =
            Credentials { username: self.user.clone(), password: password.to_owned(), domain: self.domain.clone() };
        let key = ntlmclient::ntlm_v2_password_func(&credentials);
        let Ok(mut hmac) = Hmac::<Md5>::new_from_slice(&key) else { return false };
        hmac.update(&challenge);
        hmac.update(rest);
        hmac.verify_slice(proof).is_ok()
    }
}
