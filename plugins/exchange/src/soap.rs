//! Envelopes: what every request begins with, and what an answer or fault says.

use pairwise_plugin_api::{Certainty, Class, Failure, Outcome, Status};

use crate::xml::{MESSAGES, Node, SOAP, TYPES, Writer};

/// A request, ready to be sent.
pub(crate) fn envelope(version: &str, mailbox: Option<&str>, body: &str) -> String {
    let mut out = Writer::new();
    out.raw("<?xml version=\"1.0\" encoding=\"utf-8\"?>")
        .start_with("s:Envelope", &[("xmlns:s", SOAP), ("xmlns:m", MESSAGES), ("xmlns:t", TYPES)])
        .start("s:Header")
        .empty("t:RequestServerVersion", &[("Version", version)]);
    if let Some(mailbox) = mailbox {
        out.start("t:ExchangeImpersonation").start("t:ConnectingSID").leaf("t:PrimarySmtpAddress", mailbox).end().end();
    }
    // Times come back in UTC, whatever the mailbox is set to.
    out.start("t:TimeZoneContext").empty("t:TimeZoneDefinition", &[("Id", "UTC")]).end().end();
    out.start("s:Body").raw(body);
    out.done()
}

/// What the server says is wrong, with a whole request or with a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: String,
    pub(crate) text: String,
    /// How long it wants to be left alone.
    pub(crate) back_off_ms: Option<u64>,
    /// The field that is at fault, as the server names it.
    pub(crate) field: Option<String>,
}

impl Trouble {
    fn with_details(mut self, details: Option<Node<'_>>) -> Self {
        for node in details.into_iter().flat_map(Node::children) {
            match (node.name(), node.attribute("Name")) {
                ("Value", Some("BackOffMilliseconds")) => self.back_off_ms = node.text().trim().parse().ok(),
                // The error that another one hides: it says what to do.
                ("Value", Some("InnerErrorResponseCode")) if self.is("ErrorInternalServerError") => {
                    self.code = node.text().trim().to_owned();
                }
                ("Value", Some("InnerErrorMessageText")) if !node.text().is_empty() => {
                    self.text = node.text().trim().to_owned();
                }
                ("FieldURI" | "IndexedFieldURI", _) => self.field = node.attribute("FieldURI").map(str::to_owned),
                ("ExtendedFieldURI", _) => {
                    self.field = node.attribute("PropertyName").or(node.attribute("PropertyTag")).map(str::to_owned);
                }
                _ => {}
            }
        }
        self
    }

    /// Reads a fault.
    pub(crate) fn of_fault(envelope: Node<'_>) -> Option<Trouble> {
        let fault = envelope.at(&["Body", "Fault"])?;
        let detail = fault.child("detail").or_else(|| fault.child("Detail"));
        let said = |name: &str| detail.and_then(|detail| detail.text_of(name)).map(str::to_owned);
        let fallback = fault.text_of("faultcode").map(|code| code.rsplit(':').next().unwrap_or(code).to_owned());
        let trouble = Trouble {
            code: said("ResponseCode").or(fallback).unwrap_or_default(),
            text: said("Message").or_else(|| fault.text_of("faultstring").map(str::to_owned)).unwrap_or_default(),
            ..Trouble::default()
        };
        Some(trouble.with_details(detail.and_then(|detail| detail.child("MessageXml"))))
    }

    fn of_message(message: Node<'_>) -> Trouble {
        let said = |name: &str| message.text_of(name).unwrap_or_default().to_owned();
        let trouble = Trouble { code: said("ResponseCode"), text: said("MessageText"), ..Trouble::default() };
        trouble.with_details(message.child("MessageXml"))
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// The server asks to slow down.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ErrorServerBusy"
                | "ErrorExceededConnectionCount"
                | "ErrorTooManyObjectsOpened"
                | "ErrorConcurrentSyncCalls"
        )
    }

    /// It may pass by itself.
    fn passes(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ErrorInternalServerTransientError"
                | "ErrorInternalServerError"
                | "ErrorMailboxStoreUnavailable"
                | "ErrorMailboxMoveInProgress"
                | "ErrorMailboxFailover"
                | "ErrorConnectionFailed"
                | "ErrorADUnavailable"
                | "ErrorADOperation"
                | "ErrorNoRespondingCASInDestinationSite"
                | "ErrorTimeoutExpired"
                | "ErrorBatchProcessingStopped"
        )
    }

    /// Nobody knows whether the request had an effect.
    fn is_in_doubt(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ErrorInternalServerTransientError"
                | "ErrorInternalServerError"
                | "ErrorConnectionFailed"
                | "ErrorTimeoutExpired"
        )
    }

    /// What it means for a whole call. `mailbox` names who was worked for.
    pub(crate) fn failure(&self, mailbox: &str, writes: bool) -> Failure {
        let code = &self.code;
        let (class, setting, text) = match code.as_str() {
            _ if self.is_busy() => (Class::Throttled, None, format!("the server asks to slow down ({code})")),
            "ErrorInvalidSyncStateData" | "ErrorSyncFolderNotFound" => {
                (Class::CursorExpired, None, format!("the server no longer knows how far {mailbox} was read ({code})"))
            }
            "ErrorImpersonateUserDenied" | "ErrorImpersonationFailed" | "ErrorImpersonationDenied" => (
                Class::Refused,
                None,
                format!(
                    "the account may not work in the mailbox {mailbox} ({code}): give it the management role \
                     ApplicationImpersonation with a scope that includes this mailbox, then wait some minutes until all servers know"
                ),
            ),
            "ErrorNonExistentMailbox"
            | "ErrorMissingEmailAddress"
            | "ErrorProxyRequestNotAllowed"
            | "ErrorMailboxNotFound"
            | "ErrorNoPrimarySmtpAddress"
            | "ErrorInvalidSmtpAddress"
            | "ErrorInvalidExchangeImpersonationHeaderData" => (
                Class::NotFound,
                None,
                format!(
                    "there is no mailbox {mailbox} on this server ({code}): write its primary address; a mailbox that was moved \
                     to the cloud is reached with the plugin `outlook`"
                ),
            ),
            "ErrorInvalidServerVersion" | "ErrorIncorrectSchemaVersion" => (
                Class::Config,
                Some("server_version"),
                format!(
                    "the server does not speak the version that is asked for ({code}): Exchange 2013 SP1 or newer is needed"
                ),
            ),
            "ErrorSchemaValidation" | "ErrorInvalidRequest" => {
                (Class::Refused, None, format!("the server does not understand the request ({code}): {}", self.text))
            }
            "ErrorFolderNotFound" => {
                (Class::NotFound, None, format!("the folder is not in the mailbox {mailbox} ({code})"))
            }
            "ErrorAccessDenied" => {
                (Class::Refused, None, format!("the account may not do this in the mailbox {mailbox} ({code})"))
            }
            "ErrorQuotaExceeded" => (Class::Refused, None, format!("the mailbox {mailbox} is full ({code})")),
            _ if self.passes() => {
                (Class::Transient, None, format!("the server cannot answer now ({code}): {}", self.text))
            }
            _ => (Class::Refused, None, format!("the server refused ({code}): {}", self.text)),
        };
        let mut failure = Failure::new(class, text);
        failure.setting = setting.map(str::to_owned);
        failure.retry_after_ms = self.back_off_ms.or((class == Class::Throttled).then_some(DEFAULT_BACK_OFF_MS));
        if writes && self.is_in_doubt() {
            failure.certainty = Certainty::Unknown;
        }
        failure
    }

    /// What it means for one write.
    pub(crate) fn outcome(&self) -> Outcome {
        let status = match self.code.as_str() {
            "ErrorItemNotFound" | "ErrorCalendarOccurrenceIsDeletedFromRecurrence" => Status::Gone,
            "ErrorIrresolvableConflict"
            | "ErrorStaleObject"
            | "ErrorChangeKeyRequired"
            | "ErrorChangeKeyRequiredForWriteOperations" => Status::Conflict,
            "ErrorBatchProcessingStopped" => Status::NotSent,
            _ if self.is_busy() => Status::Throttled,
            _ if self.is_in_doubt() => Status::Unknown,
            _ if self.passes() => Status::NotSent,
            _ => Status::Refused,
        };
        Outcome {
            code: if status == Status::Refused { snake(&self.code) } else { String::new() },
            text: format!("{} ({})", self.text, self.code),
            retry_after_ms: self.back_off_ms,
            ..Outcome::of(status)
        }
    }
}

/// Whether the server stumbled over what a request is about, rather than being out of order: `failure` says so with the code.
pub(crate) fn is_stumble(failure: &Failure) -> bool {
    let codes = ["(ErrorInternalServerError)", "(ErrorTimeoutExpired)"];
    failure.class == Class::Transient && codes.iter().any(|code| failure.text.contains(code))
}

/// How long to wait where a busy server does not say.
const DEFAULT_BACK_OFF_MS: u64 = 60_000;

/// `ErrorItemSave` as `item_save`.
fn snake(code: &str) -> String {
    let mut name = String::new();
    for char in code.strip_prefix("Error").unwrap_or(code).chars() {
        if char.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(char.to_ascii_lowercase());
    }
    name
}

/// One response message.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Fine(Node<'a>),
    Wrong(Trouble),
}

impl<'a> Message<'a> {
    /// Its payload, or what is wrong.
    pub(crate) fn fine(self) -> Result<Node<'a>, Trouble> {
        match self {
            Message::Fine(node) => Ok(node),
            Message::Wrong(trouble) => Err(trouble),
        }
    }
}

/// The response messages of an answer, in the order of what was asked.
pub(crate) fn messages(envelope: Node<'_>) -> Vec<Message<'_>> {
    let answer = envelope.child("Body").and_then(Node::first);
    let messages = answer.and_then(|answer| answer.child("ResponseMessages"));
    messages
        .into_iter()
        .flat_map(Node::children)
        .map(|message| match message.attribute("ResponseClass") {
            Some("Success") => Message::Fine(message),
            _ if message.text_of("ResponseCode") == Some("NoError") => Message::Fine(message),
            _ => Message::Wrong(Trouble::of_message(message)),
        })
        .collect()
}

/// The server's version, if it told it: `(15, 2)`.
pub(crate) fn version(envelope: Node<'_>) -> Option<(u32, u32)> {
    let info = envelope.at(&["Header", "ServerVersionInfo"])?;
    let part = |name: &str| info.attribute(name).and_then(|text| text.parse().ok());
    Some((part("MajorVersion")?, part("MinorVersion")?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::xml::Tree;

    #[test]
    fn an_error_that_another_one_hides_is_told() {
        let envelope = format!(
            "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:m=\"{MESSAGES}\" xmlns:t=\"{TYPES}\"><s:Body><m:UpdateItemResponse>\
             <m:ResponseMessages><m:UpdateItemResponseMessage ResponseClass=\"Error\">\
             <m:MessageText>An internal server error occurred.</m:MessageText>\
             <m:ResponseCode>ErrorInternalServerError</m:ResponseCode><m:MessageXml>\
             <t:Value Name=\"InnerErrorMessageText\">The mailbox is full.</t:Value>\
             <t:Value Name=\"InnerErrorResponseCode\">ErrorQuotaExceeded</t:Value></m:MessageXml>\
             </m:UpdateItemResponseMessage></m:ResponseMessages></m:UpdateItemResponse></s:Body></s:Envelope>"
        );
        let tree = Tree::parse(&envelope).unwrap();
        let trouble = messages(tree.root()).pop().unwrap().fine().unwrap_err();
        assert_eq!((trouble.code.as_str(), trouble.text.as_str()), ("ErrorQuotaExceeded", "The mailbox is full."));
        assert_eq!((trouble.outcome().status, trouble.outcome().code.as_str()), (Status::Refused, "quota_exceeded"));
    }
}
