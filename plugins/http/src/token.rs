//! Access tokens of OAuth 2.0, and how long one is used.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Json;

/// So long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(300);
/// Seconds of the longest life of a token that is believed. They live for an hour or a day.
const LONGEST_LIFE: u64 = 7 * 86_400;
/// Seconds that one lives where nobody says.
const USUAL_LIFE: u64 = 3_600;

/// A token.
#[derive(Clone)]
pub struct Token {
    text: String,
    until: Instant,
}

impl Token {
    /// The one that a login server's answer holds.
    #[must_use]
    pub fn granted(answer: &Json) -> Option<Token> {
        let text = answer["access_token"].as_str().filter(|text| !text.is_empty())?.to_owned();
        let lifetime = Duration::from_secs(seconds(&answer["expires_in"]).unwrap_or(USUAL_LIFE).min(LONGEST_LIFE));
        // A token that lives no longer than the margin is used for half of its life.
        let until = Instant::now() + lifetime.saturating_sub(MARGIN).max(lifetime / 2);
        Some(Token { text, until })
    }

    /// As it goes into a request, also where its time is up.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same while its time is not up.
    #[must_use]
    pub fn usable(&self) -> Option<&str> {
        (self.until > Instant::now()).then_some(&self.text)
    }
}

/// It is as good as a password.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Some login servers write numbers as text.
#[must_use]
pub fn seconds(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let left = |expires: Json| {
            let token = Token::granted(&json!({ "access_token": "t", "expires_in": expires })).unwrap();
            (token.until - Instant::now()).as_secs_f64().round() as u64
        };
        assert_eq!((left(json!(3_600)), left(json!("3600")), left(Json::Null)), (3_300, 3_300, 3_300));
        assert_eq!((left(json!(100)), left(json!(u64::MAX))), (50, LONGEST_LIFE - 300));
        let ended = Token::granted(&json!({ "access_token": "t", "expires_in": 0 })).unwrap();
        assert_eq!((ended.usable(), ended.text()), (None, "t"));
        assert!(Token::granted(&json!({ "access_token": "" })).is_none() && Token::granted(&json!([])).is_none());
    }
}
