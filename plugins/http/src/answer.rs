//! What a server answered, and what a status means where the protocol says nothing better.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use pairwise_plugin_api::{Certainty, Class, Failure, Millis};

use crate::request::Effect;

/// The longest pause that is believed; a server that asks for more is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// So much of a body that explains a refusal is shown.
const EXCERPT: usize = 300;

/// An answer, read to its end.
#[derive(Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// What the request was, for messages: `GET https://…`.
    pub asked: String,
    /// What the request does.
    pub effect: Effect,
}

impl Answer {
    /// True for statuses from 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of a name, which is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All headers of a name, which is given in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The cookies that it sets: names and values.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.all("set-cookie").filter_map(|cookie| cookie.split(';').next()?.split_once('='));
        pairs.map(|(name, value)| (name.trim(), value.trim()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        // To look whether it is right is faster than to look for what is wrong.
        match std::str::from_utf8(&self.body) {
            Ok(text) => text.into(),
            Err(_) => String::from_utf8_lossy(&self.body),
        }
    }

    /// The server's clock when it answered.
    #[must_use]
    pub fn server_time(&self) -> Option<Millis> {
        date(self.header("date")?).map(Timestamp::as_millisecond)
    }

    /// How long the server asks to wait: in seconds, or until a date by its own clock.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        let pause = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let now = self.header("date").and_then(date).unwrap_or_else(Timestamp::now);
                Duration::try_from(date(text)?.duration_since(now)).unwrap_or_default()
            }
        };
        Some(pause.min(LONGEST_PAUSE))
    }

    /// What the status means, where the protocol tells nothing better.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::of(self.status)
    }

    /// The failure that the status stands for. `doing` says what was tried: "reading the contacts".
    #[must_use]
    pub fn failure(&self, doing: &str) -> Failure {
        let excerpt = self.excerpt();
        let because = if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") };
        self.failure_saying(format!("{doing}: {} answered {}{because}", self.asked, self.spelled()))
    }

    /// The same, in the caller's words.
    #[must_use]
    pub fn failure_saying(&self, text: impl Into<String>) -> Failure {
        let refusal = self.refusal();
        let mut failure = Failure::new(refusal.class(), text);
        failure.certainty = match self.effect {
            Effect::None => Certainty::NotSent,
            _ => refusal.certainty(),
        };
        failure.retry_after_ms = self.retry_after().and_then(|pause| u64::try_from(pause.as_millis()).ok());
        failure
    }

    /// The status with its name.
    #[must_use]
    pub fn spelled(&self) -> String {
        let name = ureq::http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        match name {
            Some(name) => format!("{} {name}", self.status),
            None => self.status.to_string(),
        }
    }

    /// The start of a body that is text for people, on one line.
    fn excerpt(&self) -> String {
        let text = self.text();
        let is_page = text.trim_start().starts_with('<');
        if is_page || text.contains('\u{fffd}') {
            return String::new();
        }
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(EXCERPT) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// Bodies are records of people.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {} ({} bytes)", self.status, self.asked, self.body.len())
    }
}

/// A date in a header.
fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

/// Statuses in the words of the plugin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 401: the login is not accepted.
    Login,
    /// 403: the login may not do this.
    Forbidden,
    /// 404, 410: it is not there.
    Missing,
    /// 409, 412: something else is there than was expected.
    Conflict,
    /// 429: slow down.
    Throttled,
    /// 408, 425 and those from 500 that pass: try again later.
    Passing,
    /// 3xx: what is asked for is somewhere else.
    Elsewhere,
    /// Anything else: it will never do this.
    Final,
}

impl Refusal {
    /// What a status means.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            401 => Refusal::Login,
            403 => Refusal::Forbidden,
            404 | 410 => Refusal::Missing,
            409 | 412 => Refusal::Conflict,
            429 => Refusal::Throttled,
            501 | 505 => Refusal::Final,
            408 | 425 | 500.. => Refusal::Passing,
            300..=399 => Refusal::Elsewhere,
            _ => Refusal::Final,
        }
    }

    /// The class of the failure.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Refusal::Login => Class::Auth,
            Refusal::Missing => Class::NotFound,
            Refusal::Throttled => Class::Throttled,
            Refusal::Passing => Class::Transient,
            Refusal::Elsewhere => Class::Config,
            Refusal::Forbidden | Refusal::Conflict | Refusal::Final => Class::Refused,
        }
    }

    /// A server that stumbled may have done the work before it did; all others refused to.
    #[must_use]
    pub fn certainty(self) -> Certainty {
        if self == Refusal::Passing { Certainty::Unknown } else { Certainty::NotSent }
    }
}
