//! Texts of servers and libraries, without what nobody may read in them.

use std::sync::{PoisonError, RwLock};

/// Shorter ones would take ordinary words out of the text; they are taken out where they stand alone.
const SHORT: usize = 6;

/// The secrets that were sent, so that an answer that repeats one does not carry it into a log.
#[derive(Default)]
pub struct Secrets(RwLock<Vec<String>>);

impl Secrets {
    /// Remembers a secret.
    pub fn add(&self, secret: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !secret.is_empty() && !known.iter().any(|other| other == secret) {
            known.push(secret.to_owned());
            // One that holds another one goes first.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// Forgets a secret that is not used any more, such as a token that ran out.
    pub fn forget(&self, secret: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|other| other != secret);
    }

    /// The text without any of them.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().fold(text.to_owned(), |text, secret| {
            if secret.len() >= SHORT {
                return text.replace(secret.as_str(), "…");
            }
            let inside = |c: char| c.is_alphanumeric();
            let mut cleaned = String::with_capacity(text.len());
            let mut from = 0;
            for (at, found) in text.match_indices(secret.as_str()) {
                let alone = !text[..at].ends_with(inside) && !text[at + found.len()..].starts_with(inside);
                cleaned.push_str(&text[from..at]);
                cleaned.push_str(if alone { "…" } else { found });
                from = at + found.len();
            }
            cleaned + &text[from..]
        })
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Secrets({})", known.len())
    }
}
