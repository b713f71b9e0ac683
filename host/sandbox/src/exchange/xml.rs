//! Writes XML: elements in the order in which they are pushed.

use std::fmt::Write;

use roxmltree::{Document, Node};
use serde_json::Value;

use super::properties::shown;
use super::schema::{MESSAGES, TYPES, validate};

/// Namespace of the envelope.
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Namespace of what a fault tells.
const ERRORS: &str = "http://schemas.microsoft.com/exchange/services/2006/errors";

/// A text that grows.
#[derive(Debug, Default)]
pub(super) struct Out {
    text: String,
    open: Vec<String>,
}

impl Out {
    pub(super) fn new() -> Self {
        Out::default()
    }

    /// Opens an element.
    pub(super) fn start(&mut self, name: &str) -> &mut Self {
        self.start_with(name, &[])
    }

    /// Opens an element with attributes.
    pub(super) fn start_with(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.tag(name, attributes);
        self.text.push('>');
        self.open.push(name.to_owned());
        self
    }

    /// Closes the element that was opened last.
    pub(super) fn end(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            let _ = write!(self.text, "</{name}>");
        }
        self
    }

    /// An element with text.
    pub(super) fn leaf(&mut self, name: &str, text: &str) -> &mut Self {
        self.leaf_with(name, &[], text)
    }

    /// An element with attributes and text.
    pub(super) fn leaf_with(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) -> &mut Self {
        self.tag(name, attributes);
        if text.is_empty() {
            self.text.push_str("/>");
            return self;
        }
        self.text.push('>');
        escape(text, &mut self.text);
        let _ = write!(self.text, "</{name}>");
        self
    }

    /// An element with the text of each value.
    pub(super) fn leaves(&mut self, name: &str, values: &[Value]) -> &mut Self {
        for value in values {
            self.leaf(name, &shown(value));
        }
        self
    }

    /// An empty element with attributes.
    pub(super) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.leaf_with(name, attributes, "")
    }

    /// XML that was written elsewhere.
    pub(super) fn raw(&mut self, xml: &str) -> &mut Self {
        self.text.push_str(xml);
        self
    }

    pub(super) fn done(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.text
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        let _ = write!(self.text, "<{name}");
        for (key, value) in attributes {
            let _ = write!(self.text, " {key}=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }
}

/// Characters that XML cannot carry are left out, as the server does.
fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\n' | '\t' => out.push(char),
            char if (char as u32) < 0x20 || matches!(char, '\u{fffe}' | '\u{ffff}') => {}
            char => out.push(char),
        }
    }
}

/// A whole answer. Our own ones are held against the schema, too; builds for use do without.
pub(super) fn envelope(body: &str) -> String {
    let text = enveloped(body);
    debug_assert!(is_valid(&text), "an answer breaks the schema: {text}");
    text
}

fn is_valid(text: &str) -> bool {
    let Ok(document) = Document::parse(text) else { return false };
    let body = document.root_element().children().rfind(Node::is_element);
    body.is_some_and(|body| body.children().filter(Node::is_element).all(|answer| validate(answer).is_ok()))
}

fn enveloped(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"{SOAP}\"><s:Header>\
         <h:ServerVersionInfo MajorVersion=\"15\" MinorVersion=\"2\" MajorBuildNumber=\"2562\" MinorBuildNumber=\"17\" \
         Version=\"V2017_07_11\" xmlns:h=\"{TYPES}\"/></s:Header>\
         <s:Body xmlns:m=\"{MESSAGES}\" xmlns:t=\"{TYPES}\">{body}</s:Body></s:Envelope>"
    )
}

/// What goes wrong with a whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) text: String,
    /// What `MessageXml` holds, as XML.
    pub(super) details: String,
}

impl Fault {
    pub(super) fn new(code: &str, text: impl Into<String>) -> Self {
        Fault { code: code.to_owned(), text: text.into(), details: String::new() }
    }

    /// A server that wants to be left alone for a while.
    pub(super) fn busy(milliseconds: u64) -> Self {
        let details = format!("<t:Value Name=\"BackOffMilliseconds\">{milliseconds}</t:Value>");
        let text = "The server cannot service this request right now. Try again later.";
        Fault { details, ..Fault::new("ErrorServerBusy", text) }
    }

    pub(super) fn envelope(&self) -> String {
        let mut out = Out::new();
        out.start("s:Fault")
            .leaf_with("faultcode", &[("xmlns:a", TYPES)], &format!("a:{}", self.code))
            .leaf_with("faultstring", &[("xml:lang", "en-US")], &self.text)
            .start("detail")
            .leaf_with("e:ResponseCode", &[("xmlns:e", ERRORS)], &self.code)
            .leaf_with("e:Message", &[("xmlns:e", ERRORS)], &self.text);
        if !self.details.is_empty() {
            out.start("t:MessageXml").raw(&self.details).end();
        }
        envelope(&out.done())
    }
}

/// What goes wrong with one item or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) text: String,
    /// What `MessageXml` holds, as XML.
    pub(super) details: String,
}

impl Problem {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Problem { code, text: text.into(), details: String::new() }
    }

    /// Of one field.
    pub(super) fn of_field(code: &'static str, text: impl Into<String>, uri: &str) -> Self {
        let mut details = Out::new();
        details.empty("t:FieldURI", &[("FieldURI", uri)]);
        Problem { details: details.done(), ..Problem::new(code, text) }
    }

    pub(super) fn item_not_found() -> Self {
        Problem::new("ErrorItemNotFound", "The specified object was not found in the store.")
    }
}

/// One response message: its payload, or what went wrong. `always` is sent with a problem as well.
pub(super) fn message(out: &mut Out, operation: &str, result: &Result<String, Problem>, always: &str) {
    let name = format!("m:{operation}ResponseMessage");
    match result {
        Ok(payload) => {
            out.start_with(&name, &[("ResponseClass", "Success")]).leaf("m:ResponseCode", "NoError").raw(payload).end();
        }
        Err(problem) => {
            out.start_with(&name, &[("ResponseClass", "Error")])
                .leaf("m:MessageText", &problem.text)
                .leaf("m:ResponseCode", problem.code)
                .leaf("m:DescriptiveLinkKey", "0");
            if !problem.details.is_empty() {
                out.start("m:MessageXml").raw(&problem.details).end();
            }
            out.raw(always).end();
        }
    }
}

/// The body of an answer with one message for each thing asked.
pub(super) fn answer(operation: &str, results: &[Result<String, Problem>], always: &str) -> String {
    let mut out = Out::new();
    out.start(&format!("m:{operation}Response")).start("m:ResponseMessages");
    for result in results {
        message(&mut out, operation, result, always);
    }
    out.done()
}
