//! XML as EWS speaks it: a small tree that answers are read into, and a writer that keeps the order of what it is given.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Elements within elements; the answers of EWS need about twenty.
const DEEPEST: usize = 100;
/// Elements of one answer: a page of records has some ten thousand.
const MOST: usize = 2_000_000;

/// Bytes that most of what is written has at most: a property of an item.
const USUAL: usize = 256;

pub(crate) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
pub(crate) const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";

/// A document. Its elements stand one after the other as they begin, and their names and texts in one text: answers hold many
/// thousand of them, which are not worth memory of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    elements: Vec<Element>,
    attributes: Vec<(Range<usize>, Range<usize>)>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    name: Range<usize>,
    attributes: Range<usize>,
    text: Range<usize>,
    /// The first element that does not lie within it.
    end: usize,
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

impl Unreadable {
    fn broken(error: impl std::fmt::Display) -> Self {
        Unreadable::Broken(error.to_string())
    }
}

impl Tree {
    /// Reads a whole document. Prefixes are left out: no name of EWS means two things.
    pub(crate) fn parse(text: &str) -> Result<Tree, Unreadable> {
        let mut reader = Reader::from_str(text);
        let mut tree = Tree { text: String::with_capacity(text.len() / 2), ..Tree::default() };
        let mut open: Vec<usize> = Vec::new();
        loop {
            match reader.read_event().map_err(Unreadable::broken)? {
                Event::Start(start) => {
                    if open.len() >= DEEPEST {
                        return Err(Unreadable::Deep);
                    }
                    open.push(tree.elements.len());
                    tree.opens(&start)?;
                }
                Event::Empty(start) => {
                    tree.opens(&start)?;
                    if open.is_empty() {
                        return Ok(tree);
                    }
                }
                Event::End(_) => {
                    let Some(at) = open.pop() else { return Err(Unreadable::Short) };
                    tree.elements[at].end = tree.elements.len();
                    if open.is_empty() {
                        return Ok(tree);
                    }
                }
                Event::Text(text) => tree.says(&open, &text.xml10_content()),
                Event::CData(text) => tree.says(&open, &text.xml10_content()),
                Event::GeneralRef(name) => match name.resolve_char_ref().map_err(Unreadable::broken)? {
                    Some(char) => tree.says(&open, char.encode_utf8(&mut [0; 4])),
                    None => match quick_xml::escape::resolve_xml_entity(&name) {
                        Some(text) => tree.says(&open, text),
                        None => return Err(Unreadable::broken("an entity that it does not define")),
                    },
                },
                Event::DocType(_) => return Err(Unreadable::Doctype),
                Event::Eof => return Err(Unreadable::Short),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            }
        }
    }

    fn opens(&mut self, start: &BytesStart<'_>) -> Result<(), Unreadable> {
        if self.elements.len() >= MOST {
            return Err(Unreadable::Large);
        }
        let name = self.keep(start.local_name().as_ref());
        let first = self.attributes.len();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(Unreadable::broken)?;
            let value = quick_xml::escape::unescape(&attribute.value).map_err(Unreadable::broken)?;
            let pair = (self.keep(attribute.key.local_name().as_ref()), self.keep(&value));
            self.attributes.push(pair);
        }
        let end = self.elements.len() + 1;
        self.elements.push(Element { name, attributes: first..self.attributes.len(), text: 0..0, end });
        Ok(())
    }

    /// Adds to the text of the innermost of the open elements. Behind an element within it nothing of meaning stands.
    fn says(&mut self, open: &[usize], more: &str) {
        let Some(at) = open.last().filter(|at| **at + 1 == self.elements.len()) else { return };
        let said = self.keep(more);
        let text = &mut self.elements[*at].text;
        *text = if Range::is_empty(text) { said } else { text.start..said.end };
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The outermost element.
    pub(crate) fn root(&self) -> Node<'_> {
        Node { tree: self, at: 0 }
    }
}

/// An element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    tree: &'a Tree,
    at: usize,
}

impl<'a> Node<'a> {
    fn element(self) -> &'a Element {
        &self.tree.elements[self.at]
    }

    /// Its name, without a prefix.
    pub(crate) fn name(self) -> &'a str {
        &self.tree.text[self.element().name.clone()]
    }

    /// Its text as it stands.
    pub(crate) fn text(self) -> &'a str {
        &self.tree.text[self.element().text.clone()]
    }

    /// The elements within it, not those within these.
    pub(crate) fn children(self) -> impl Iterator<Item = Node<'a>> {
        let (tree, end) = (self.tree, self.element().end);
        let first = Some(self.at + 1).filter(|at| *at < end);
        let next = move |at: &usize| Some(tree.elements[*at].end).filter(|at| *at < end);
        std::iter::successors(first, next).map(move |at| Node { tree, at })
    }

    /// The first child.
    pub(crate) fn first(self) -> Option<Node<'a>> {
        self.children().next()
    }

    /// The first child of this name.
    pub(crate) fn child(self, name: &str) -> Option<Node<'a>> {
        self.children().find(|child| child.name() == name)
    }

    /// The element at the end of a path of names.
    pub(crate) fn at(self, path: &[&str]) -> Option<Node<'a>> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// All children of this name.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Node<'a>> {
        self.children().filter(move |child| child.name() == name)
    }

    /// The text of a child, if it is there and not empty.
    pub(crate) fn text_of(self, name: &str) -> Option<&'a str> {
        self.child(name).map(Node::text).filter(|text| !text.is_empty())
    }

    /// An attribute.
    pub(crate) fn attribute(self, name: &str) -> Option<&'a str> {
        let attributes = &self.tree.attributes[self.element().attributes.clone()];
        let found = attributes.iter().find(|(known, _)| &self.tree.text[known.clone()] == name);
        found.map(|(_, value)| &self.tree.text[value.clone()])
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
        let tree = Tree::parse(&writer.done()).unwrap();
        let node = tree.root();
        assert_eq!((node.name(), node.attribute("Note")), ("Contact", Some("a \"b\" <c>")));
        assert_eq!(node.text_of("CompanyName"), Some("Söhne & <Co>\r\nzwei"));
        assert_eq!(node.text_of("Empty"), None);
    }

    #[test]
    fn prefixes_do_not_matter() {
        let tree = Tree::parse(&format!("<a:x xmlns:a='{MESSAGES}'><y xmlns='{TYPES}'>1</y></a:x>")).unwrap();
        let names: Vec<&str> = [tree.root()].into_iter().chain(tree.root().children()).map(Node::name).collect();
        assert_eq!(names, ["x", "y"]);
    }

    #[test]
    fn elements_lie_where_they_began() {
        let tree =
            Tree::parse("<a> <b>1<c/><c>2</c> </b><!-- 3 --><b>4<![CDATA[<5>]]>&amp;<!-- 6 -->7</b> </a>").unwrap();
        let root = tree.root();
        assert_eq!(root.all("b").map(Node::text).collect::<Vec<_>>(), ["1", "4<5>&7"]);
        assert_eq!(root.first().map(|b| b.children().map(Node::text).collect()), Some(vec!["", "2"]));
        assert_eq!((root.text_of("c"), root.at(&["b", "c"]).map(Node::text)), (None, Some("")));
    }

    #[test]
    fn what_cannot_be_an_answer_is_refused() {
        assert_eq!(Tree::parse(&"<a>".repeat(200)), Err(Unreadable::Deep));
        assert_eq!(Tree::parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), Err(Unreadable::Doctype));
        assert_eq!(Tree::parse("<a><b></b>"), Err(Unreadable::Short));
        assert!(matches!(Tree::parse("<a>&b;</a>"), Err(Unreadable::Broken(_))));
        assert!(matches!(Tree::parse("no XML"), Err(Unreadable::Short | Unreadable::Broken(_))));
    }
}
