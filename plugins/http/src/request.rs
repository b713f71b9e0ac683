//! What is asked of a server.

use std::sync::Arc;
use std::time::Duration;

/// The header of a request's own id.
const REQUEST_ID: &str = "client-request-id";

/// A random one, of version 4.
#[must_use]
pub fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{bits:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// The methods that our protocols use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes, or asks in its body.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// As it stands in the request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// What a request does to the server, and so whether it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It reads: sent again at will, and its failure never leaves a doubt.
    None,
    /// It changes something, and twice is the same as once: sent again at will.
    Repeatable,
    /// It changes something each time: sent again only if it certainly was not done.
    Once,
}

/// A request. Its effect follows from the method unless said otherwise.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Where, in full.
    pub url: String,
    /// Headers, in their order.
    pub headers: Vec<(String, String)>,
    /// Body: one piece of memory, however often it is sent.
    pub body: Option<Arc<Vec<u8>>>,
    /// What it does.
    pub effect: Effect,
    /// How long it may take, where that is not what the client's options say.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        let effect = match method {
            Method::Get => Effect::None,
            Method::Put | Method::Delete => Effect::Repeatable,
            Method::Post | Method::Patch => Effect::Once,
        };
        Request { method, url: url.into(), headers: Vec::new(), body: None, effect, timeout: None }
    }

    /// A `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Request::new(Method::Get, url)
    }

    /// A `POST`.
    pub fn post(url: impl Into<String>) -> Self {
        Request::new(Method::Post, url)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With an id of its own, by which the people who run a server of Microsoft find the call in its records.
    #[must_use]
    pub fn identified(self) -> Self {
        self.header(REQUEST_ID, uuid())
    }

    /// The id that it bears.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == REQUEST_ID).map(|(_, value)| value.as_str())
    }

    /// With a body of this content type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(Arc::new(body.into()));
        self.header("Content-Type", content_type)
    }

    /// With the fields of a form as its body.
    #[must_use]
    pub fn form<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// With this effect.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// It only reads, whatever its method.
    #[must_use]
    pub fn reads(self) -> Self {
        self.effect(Effect::None)
    }

    /// It may take this long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// Headers and body may hold secrets, and the query much else: the method and the place will do.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.name(), crate::shown(&self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_no_two_are_the_same() {
        let request = Request::get("https://mail.example.com").identified();
        let id = request.id().unwrap_or_default();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id}");
        assert_ne!(request.id(), Request::get("https://mail.example.com").identified().id());
    }
}
