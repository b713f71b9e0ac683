//! What the server answers, before it is written as JSON or Atom; and what it says when it refuses.

use serde_json::{Value, json};

/// An answer that is not yet spelled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Body,
    pub(super) etag: Option<String>,
    pub(super) location: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Empty,
    /// An entry, as JSON has it.
    Entry(Value),
    /// A feed, as JSON has it.
    Feed(Value),
    /// Neither: JSON alone.
    Plain(Value),
}

impl Answer {
    pub(super) fn new(status: u16, body: Body) -> Self {
        Answer { status, body, etag: None, location: None }
    }

    /// An entry with its etag.
    pub(super) fn entry(status: u16, entry: Value) -> Self {
        let etag = entry["$etag"].as_str().map(str::to_owned);
        Answer { status, etag, body: Body::Entry(entry), location: None }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) severity: &'static str,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) stack: Option<String>,
    /// The entry as it is: what a conditional request that failed is answered with.
    pub(super) current: Option<Box<Answer>>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let severity = if status == 503 { "Transient" } else { "Error" };
        Refusal { status, severity, code: code.into(), message: message.into(), stack: None, current: None }
    }

    pub(super) fn bad_where(message: impl Into<String>) -> Self {
        Refusal::new(400, "BadWhereSyntax", message)
    }

    pub(super) fn bad_url(message: impl Into<String>) -> Self {
        Refusal::new(404, "BadUrlSyntax", message)
    }

    /// A rule of the application.
    pub(super) fn rule(message: impl Into<String>) -> Self {
        Refusal::new(400, "ApplicationDiagnosis", message)
    }

    pub(super) fn not_found(kind: &str, key: &str) -> Self {
        Refusal::new(404, "ApplicationDiagnosis", format!("{kind}('{key}') was not found."))
    }

    /// The entry was changed since.
    pub(super) fn stale(current: Value) -> Self {
        let answer = Answer::entry(412, current);
        Refusal {
            current: Some(Box::new(answer)),
            ..Refusal::new(412, "ApplicationDiagnosis", "The entry was changed by somebody else.")
        }
    }

    /// As an item of the array of diagnoses.
    pub(super) fn diagnosis(&self) -> Value {
        json!({
            "severity": self.severity,
            "sdataCode": self.code,
            "applicationCode": null,
            "message": self.message,
            "stackTrace": self.stack,
            "payloadPath": null,
        })
    }
}

/// The text of a status.
pub(super) fn reason(status: u16) -> &'static str {
    let known = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.unwrap_or("Unknown")
}
