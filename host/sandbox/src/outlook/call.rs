//! One request to Graph, alone or as a part of a batch, and its answer.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// A request.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    /// In capitals.
    pub(super) method: String,
    /// The parts of the path behind the version, percent signs resolved.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    /// `http://host:port` as the client called it.
    pub(super) base: String,
    pub(super) token: Option<String>,
    pub(super) prefer: String,
    pub(super) if_match: Option<String>,
    pub(super) body: Value,
    /// The body is there, but is no JSON.
    pub(super) garbled: bool,
    /// A body that is not meant to be any.
    pub(super) bytes: Vec<u8>,
}

impl Call {
    pub(super) fn of(parts: &Parts, body: &[u8], base: &str) -> Self {
        let header = |name: &str| text(&parts.headers, name);
        let base = header("host").map_or_else(|| base.to_owned(), |host| format!("http://{host}"));
        let media = header("content-type").is_some_and(|kind| kind.starts_with("image/"));
        let (body, bytes) = if media { (&[][..], body.to_vec()) } else { (body, Vec::new()) };
        let parsed = serde_json::from_slice(body);
        let mut call = Call {
            method: parts.method.as_str().to_ascii_uppercase(),
            base,
            token: bearer(&parts.headers),
            prefer: header("prefer").unwrap_or_default(),
            if_match: header("if-match"),
            garbled: !body.is_empty() && parsed.is_err(),
            body: parsed.unwrap_or_default(),
            bytes,
            ..Call::default()
        };
        call.aim(parts.uri.path_and_query().map_or("/", |path| path.as_str()));
        call
    }

    /// A part of a batch. Official clients write whole addresses where the protocol wants relative ones.
    pub(super) fn of_part(part: &Value, around: &Call) -> Self {
        let header = |name: &str| {
            let headers = part["headers"].as_object()?;
            let (_, value) = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            value.as_str().map(str::to_owned)
        };
        let mut call = Call {
            method: part["method"].as_str().unwrap_or("GET").to_ascii_uppercase(),
            base: around.base.clone(),
            token: around.token.clone(),
            prefer: header("prefer").unwrap_or_default(),
            if_match: header("if-match"),
            body: part.get("body").cloned().unwrap_or_default(),
            ..Call::default()
        };
        let url = part["url"].as_str().unwrap_or_default();
        call.aim(url.strip_prefix(&around.base).unwrap_or(url));
        call
    }

    fn aim(&mut self, url: &str) {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        if parts.first().is_some_and(|first| ["v1.0", "beta"].contains(&first.as_str())) {
            parts.remove(0);
        }
        self.path = parts;
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        };
        self.query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    }

    /// A query option, with or without its dollar sign, in any case.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let named = |known: &str| known.trim_start_matches('$').eq_ignore_ascii_case(name);
        self.query.iter().find(|(known, _)| named(known)).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.option(name)?.parse().ok()
    }

    /// A preference, without its quotes.
    pub(super) fn preference(&self, name: &str) -> Option<String> {
        let mut wishes = self.prefer.split(',').filter_map(|wish| wish.trim().split_once('='));
        let (_, value) = wishes.find(|(known, _)| known.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim().trim_matches('"').to_owned())
    }

    pub(super) fn immutable_ids(&self) -> bool {
        self.preference("IdType").is_some_and(|kind| kind.eq_ignore_ascii_case("ImmutableId"))
    }

    /// The path as a pattern to match on: lower case for what names a kind of thing.
    pub(super) fn words(&self) -> Vec<String> {
        self.path.iter().map(|part| part.to_ascii_lowercase()).collect()
    }

    /// The address of this request with other options.
    pub(super) fn link(&self, options: &[(&str, String)]) -> String {
        let path: Vec<String> = self.path.iter().map(|part| encoded(part)).collect();
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        format!("{}/v1.0/{}?{}", self.base, path.join("/"), options.join("&"))
    }
}

pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let header = text(headers, "authorization")?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// What kind an answer in JSON says that it is.
const JSON: &str = "application/json; odata.metadata=minimal";

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
    /// Instead of JSON: what kind it is, and what it is.
    media: Option<(&'static str, Vec<u8>)>,
}

/// What a handler gives back; a refusal is an answer, too.
pub(super) type Answer = Result<Reply, Reply>;

impl Reply {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Reply { status, headers: Vec::new(), body, media: None }
    }

    pub(super) fn ok(body: Value) -> Self {
        Reply::json(200, body)
    }

    pub(super) fn empty(status: u16) -> Self {
        Reply::json(status, Value::Null)
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let inner = json!({
            "date": "2026-11-22T00:00:00",
            "request-id": "00000000-0000-4000-8000-000000000001",
            "client-request-id": "00000000-0000-4000-8000-000000000001",
        });
        Reply::json(status, json!({ "error": { "code": code, "message": message, "innerError": inner } }))
    }

    pub(super) fn not_found() -> Self {
        Reply::error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    }

    pub(super) fn bad(message: &str) -> Self {
        Reply::error(400, "ErrorInvalidRequest", message)
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn bytes(mut self, kind: &'static str, bytes: Vec<u8>) -> Self {
        self.media = Some((kind, bytes));
        self
    }

    pub(super) fn into_response(self) -> Response {
        if let Some((kind, bytes)) = self.media {
            return (StatusCode::OK, [("content-type", kind)], bytes).into_response();
        }
        let body = if self.body.is_null() { Body::empty() } else { Body::from(self.body.to_string()) };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if !self.body.is_null() {
            headers.insert("content-type", HeaderValue::from_static(JSON));
        }
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        response
    }

    /// As it stands in the answer of a batch.
    pub(super) fn into_part(self, id: &Value) -> Value {
        let mut headers: serde_json::Map<String, Value> =
            self.headers.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        let (kind, body) = match self.media {
            // Bytes travel as text.
            Some((kind, bytes)) => (kind, Value::String(super::oauth::base64(&bytes))),
            None => (JSON, self.body),
        };
        if !body.is_null() {
            headers.insert("Content-Type".to_owned(), kind.into());
        }
        json!({ "id": id, "status": self.status, "headers": headers, "body": body })
    }
}

/// What both an answer and a refusal carry.
pub(super) fn either(answer: Answer) -> Reply {
    answer.unwrap_or_else(|refusal| refusal)
}
