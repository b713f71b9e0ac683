//! XML as EWS speaks it: a small tree that answers are read into, and a writer that keeps the order of what it is given.

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use smol_str::SmolStr;

/// Elements within elements; the answers of EWS need about twenty.
const DEEPEST: usize = 100;
/// Elements of one answer: a page of records has some ten thousand.
const MOST: usize = 2_000_000;

/// Bytes that most of what is written has at most: a property of an item.
const USUAL: usize = 256;

/// The namespaces of EWS, as far as they tell elements apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Soap,
    Messages,
    Types,
    Errors,
    Other,
}

pub(crate) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
pub(crate) const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
const ERRORS: &str = "http://schemas.microsoft.com/exchange/services/2006/errors";

impl Space {
    fn of(namespace: ResolveResult<'_>) -> Self {
        let ResolveResult::Bound(namespace) = namespace else { return Space::Other };
        let is = |known: &str| namespace.as_ref() == known;
        match () {
            () if is(TYPES) => Space::Types,
            () if is(MESSAGES) => Space::Messages,
            () if is(SOAP) => Space::Soap,
            () if is(ERRORS) => Space::Errors,
            () => Space::Other,
        }
    }
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) space: Space,
    // Names and most texts are short: they lie within.
    pub(crate) name: SmolStr,
    attributes: Vec<(SmolStr, SmolStr)>,
    pub(crate) children: Vec<Node>,
    text: SmolStr,
}

/// Text that is no answer of EWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is no XML: {0}")]
    Broken(String),
    #[error("its elements lie more than {DEEPEST} deep")]
    Deep,
    #[error("it has more than {MOST} elements")]
    Large,
    #[error("it holds a document type, which no answer does")]
    Doctype,
    #[error("it ends too early")]
    Short,
}

impl Node {
    /// Reads a whole document.
    pub(crate) fn parse(text: &str) -> Result<Node, Unreadable> {
        let broken = |error: &dyn std::fmt::Display| Unreadable::Broken(error.to_string());
        let mut reader = NsReader::from_str(text);
        let mut open: Vec<Node> = Vec::new();
        let mut count = 0;
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|error| broken(&error))?;
            match event {
                Event::Start(start) | Event::Empty(start) if count >= MOST => {
                    drop(start);
                    return Err(Unreadable::Large);
                }
                Event::Start(start) => {
                    count += 1;
                    if open.len() >= DEEPEST {
                        return Err(Unreadable::Deep);
                    }
                    open.push(Node::opened(Space::of(namespace), &start)?);
                }
                Event::Empty(start) => {
                    count += 1;
                    let node = Node::opened(Space::of(namespace), &start)?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
                Event::End(_) => {
                    let Some(node) = open.pop() else { return Err(Unreadable::Short) };
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
                Event::Text(text) => open.last_mut().into_iter().for_each(|node| node.says(&text.xml10_content())),
                Event::CData(text) => open.last_mut().into_iter().for_each(|node| node.says(&text.xml10_content())),
                Event::GeneralRef(name) => {
                    let char = match name.resolve_char_ref().map_err(|error| broken(&error))? {
                        Some(char) => Some(char.to_string()),
                        None => quick_xml::escape::resolve_xml_entity(&name).map(str::to_owned),
                    };
                    let char =
                        char.ok_or_else(|| Unreadable::Broken("an entity that it does not define".to_owned()))?;
                    open.last_mut().into_iter().for_each(|node| node.says(&char));
                }
                Event::DocType(_) => return Err(Unreadable::Doctype),
                Event::Eof => return Err(Unreadable::Short),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            }
        }
    }

    fn opened(space: Space, start: &BytesStart<'_>) -> Result<Node, Unreadable> {
        let broken = |error: &dyn std::fmt::Display| Unreadable::Broken(error.to_string());
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| broken(&error))?;
            let name = SmolStr::new(attribute.key.local_name().as_ref());
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|error| broken(&error))?;
            attributes.push((name, SmolStr::new(value)));
        }
        let name = SmolStr::new(start.local_name().as_ref());
        Ok(Node { space, name, attributes, children: Vec::new(), text: SmolStr::default() })
    }

    /// Adds to its text, which mostly comes in one piece.
    fn says(&mut self, more: &str) {
        self.text = if self.text.is_empty() { SmolStr::new(more) } else { SmolStr::from_iter([&*self.text, more]) };
    }

    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The element at the end of a path of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// All children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Its text as it stands.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a child, if it is there and not empty.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(Node::text).filter(|text| !text.is_empty())
    }

    /// An attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A truth of the wire.
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text.trim(), "true" | "1")
}

/// Writes elements one after the other.
#[derive(Debug)]
pub(crate) struct Writer {
    text: String,
    open: Vec<Cow<'static, str>>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Writer { text: String::with_capacity(USUAL), open: Vec::new() }
    }

    /// Opens an element.
    pub(crate) fn start(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        self.start_with(name, &[])
    }

    /// Opens an element with attributes.
    pub(crate) fn start_with(&mut self, name: impl Into<Cow<'static, str>>, attributes: &[(&str, &str)]) -> &mut Self {
        let name = name.into();
        self.tag("", &name, attributes);
        self.text.push('>');
        self.open.push(name);
        self
    }

    /// Closes what was opened last.
    pub(crate) fn end(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            self.close("", &name);
        }
        self
    }

    /// An element with text.
    pub(crate) fn leaf(&mut self, name: &str, text: &str) -> &mut Self {
        self.leaf_with(name, &[], text)
    }

    /// An element with attributes and text.
    pub(crate) fn leaf_with(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) -> &mut Self {
        self.element("", name, attributes, text)
    }

    /// The same of one of the types.
    pub(crate) fn typed(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) -> &mut Self {
        self.element("t:", name, attributes, text)
    }

    fn element(&mut self, prefix: &str, name: &str, attributes: &[(&str, &str)], text: &str) -> &mut Self {
        self.tag(prefix, name, attributes);
        self.text.push('>');
        escape(text, &mut self.text);
        self.close(prefix, name);
        self
    }

    /// An element with attributes alone.
    pub(crate) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.tag("", name, attributes);
        self.text.push_str("/>");
        self
    }

    /// XML that was written elsewhere.
    pub(crate) fn raw(&mut self, xml: &str) -> &mut Self {
        self.text.push_str(xml);
        self
    }

    /// Closes everything; the text.
    pub(crate) fn done(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.text
    }

    fn tag(&mut self, prefix: &str, name: &str, attributes: &[(&str, &str)]) {
        self.text.push('<');
        self.text.push_str(prefix);
        self.text.push_str(name);
        for (key, value) in attributes {
            self.text.push(' ');
            self.text.push_str(key);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }

    fn close(&mut self, prefix: &str, name: &str) {
        self.text.push_str("</");
        self.text.push_str(prefix);
        self.text.push_str(name);
        self.text.push('>');
    }
}

/// Characters that XML 1.0 cannot carry in any form are left out: they come from broken sources and mean nothing.
fn escape(text: &str, out: &mut String) {
    let is_plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'&' | b'<' | b'>' | b'"' | 0xef);
    let plain = text.bytes().position(|byte| !is_plain(byte)).unwrap_or(text.len());
    // What begins with the last of them may be one of the two signs that XML does not know.
    let (plain, rest) = text.split_at(plain);
    out.push_str(plain);
    for char in rest.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(char),
            char if (char as u32) < 0x20 || matches!(char, '\u{fffe}' | '\u{ffff}') => {}
            char => out.push(char),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::new();
        writer
            .start_with("t:Contact", &[("xmlns:t", TYPES), ("Note", "a \"b\" <c>")])
            .leaf("t:CompanyName", "Söhne & <Co>\r\n\u{1}zwei")
            .empty("t:Empty", &[])
            .end();
        let node = Node::parse(&writer.done()).unwrap();
        assert_eq!(
            (node.space, node.name.as_str(), node.attribute("Note")),
            (Space::Types, "Contact", Some("a \"b\" <c>"))
        );
        assert_eq!(node.text_of("CompanyName"), Some("Söhne & <Co>\r\nzwei"));
        assert_eq!(node.text_of("Empty"), None);
    }

    #[test]
    fn prefixes_do_not_matter() {
        let node = Node::parse(&format!("<a:x xmlns:a='{MESSAGES}'><y xmlns='{TYPES}'>1</y></a:x>")).unwrap();
        assert_eq!((node.space, node.children[0].space), (Space::Messages, Space::Types));
    }

    #[test]
    fn what_cannot_be_an_answer_is_refused() {
        assert_eq!(Node::parse(&"<a>".repeat(200)), Err(Unreadable::Deep));
        assert_eq!(Node::parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), Err(Unreadable::Doctype));
        assert_eq!(Node::parse("<a><b></b>"), Err(Unreadable::Short));
        assert!(matches!(Node::parse("<a>&b;</a>"), Err(Unreadable::Broken(_))));
        assert!(matches!(Node::parse("no XML"), Err(Unreadable::Short | Unreadable::Broken(_))));
    }
}
