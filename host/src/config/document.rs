//! TOML as written: a tree in which every key and value knows its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};
use toml::de::{DeTable, DeValue};

use super::problem::{Mark, Problem, Source};

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub tree: Tree,
    /// Where it stands. Of a table with a header: the header.
    pub mark: Mark,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Anything without parts.
    Leaf(Json),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Entry>),
}

/// A value in a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where its key stands.
    pub key: Mark,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything that is not TOML.
    pub fn parse(name: &str, text: &str) -> Result<Node, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let source = Source { name: name.into(), text: without_secrets(text, table.get_ref()) };
            let source = Arc::new(source);
            let mut problems = Vec::new();
            let mark = Mark { source: source.clone(), span: 0..0 };
            let node = Node { tree: table_node(&source, table.get_ref(), &mut problems), mark };
            return if problems.is_empty() { Ok(node) } else { Err(problems) };
        }
        // What the parts of a broken file mean is not known, so any line may hold a secret: only lines that do not look it
        // are shown.
        let source = Arc::new(Source { name: name.into(), text: without_suspects(text) });
        Err(errors
            .iter()
            .map(|error| {
                let span = error.span().unwrap_or(0..0);
                let mark =
                    Mark { source: source.clone(), span: span.start..span.end.max(span.start + 1).min(text.len()) };
                Problem::at(&mark, "this is not valid TOML", error.message())
            })
            .collect())
    }

    /// An empty table.
    #[must_use]
    pub fn empty(name: &str) -> Node {
        let source = Arc::new(Source { name: name.into(), text: String::new() });
        Node { tree: Tree::Table(BTreeMap::new()), mark: Mark { source, span: 0..0 } }
    }

    /// The value at a JSON pointer.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Node> {
        parts(pointer).try_fold(self, |node, part| match &node.tree {
            Tree::Leaf(_) => None,
            Tree::List(list) => list.get(part.parse::<usize>().ok()?),
            Tree::Table(table) => table.get(&part).map(|entry| &entry.node),
        })
    }

    /// Where the key at a JSON pointer stands; of a member of a list: the member itself. What is not there is looked for
    /// in the innermost table that is.
    #[must_use]
    pub fn place(&self, pointer: &str) -> &Mark {
        let mut place = &self.mark;
        let mut node = self;
        for part in parts(pointer) {
            let next = match &node.tree {
                Tree::Leaf(_) => None,
                Tree::List(list) => {
                    part.parse::<usize>().ok().and_then(|index| list.get(index)).map(|node| (&node.mark, node))
                }
                Tree::Table(table) => table.get(&part).map(|entry| (&entry.key, &entry.node)),
            };
            let Some((mark, inner)) = next else { break };
            (place, node) = (mark, inner);
        }
        place
    }

    /// The value of a key, if this is a table that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.table().and_then(|table| table.get(key)).map(|entry| &entry.node)
    }

    /// The table, if it is one.
    #[must_use]
    pub fn table(&self) -> Option<&BTreeMap<String, Entry>> {
        match &self.tree {
            Tree::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The members, if it is a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Node]> {
        match &self.tree {
            Tree::List(list) => Some(list),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Leaf(Json::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Without the places.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.tree {
            Tree::Leaf(value) => value.clone(),
            Tree::List(list) => Json::Array(list.iter().map(Node::to_json).collect()),
            Tree::Table(table) => Json::Object(
                table.iter().map(|(key, entry)| (key.clone(), entry.node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// The parts of a JSON pointer.
fn parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// A JSON pointer of these parts.
#[must_use]
pub fn pointer<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    parts.into_iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// `/streams/contacts/fields/0` as people write it: `streams.contacts.fields[0]`.
#[must_use]
pub fn dotted(pointer: &str) -> String {
    parts(pointer).fold(String::new(), |path, part| match part.parse::<usize>() {
        Ok(index) => format!("{path}[{index}]"),
        Err(_) if path.is_empty() => part,
        Err(_) => format!("{path}.{part}"),
    })
}

fn table_node(source: &Arc<Source>, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Tree {
    let entries = table.iter().map(|(key, value)| {
        let mark = Mark { source: source.clone(), span: key.span() };
        (key.get_ref().to_string(), Entry { key: mark, node: node(source, value.get_ref(), value.span(), problems) })
    });
    Tree::Table(entries.collect())
}

fn node(source: &Arc<Source>, value: &DeValue<'_>, span: Range<usize>, problems: &mut Vec<Problem>) -> Node {
    let mark = Mark { source: source.clone(), span };
    let tree = match value {
        DeValue::String(text) => Tree::Leaf(Json::String(text.to_string())),
        DeValue::Boolean(value) => Tree::Leaf(Json::Bool(*value)),
        DeValue::Datetime(value) => Tree::Leaf(Json::String(value.to_string())),
        DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
            Ok(value) => Tree::Leaf(Json::Number(value.into())),
            Err(_) => {
                problems.push(Problem::at(&mark, "this number is too large", "expected at most 9223372036854775807"));
                Tree::Leaf(Json::Null)
            }
        },
        DeValue::Float(value) => match value.as_str().parse().ok().and_then(Number::from_f64) {
            Some(value) => Tree::Leaf(Json::Number(value)),
            None => {
                problems.push(Problem::at(&mark, "this is not a number that can be used", "expected a finite number"));
                Tree::Leaf(Json::Null)
            }
        },
        DeValue::Array(list) => {
            Tree::List(list.iter().map(|item| node(source, item.get_ref(), item.span(), problems)).collect())
        }
        DeValue::Table(table) => table_node(source, table, problems),
    };
    Node { tree, mark }
}

/// The text with everything starred out that stands under a key `secrets` and is no reference to a secret's place.
fn without_secrets(text: &str, table: &DeTable<'_>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    hide(&mut bytes, &DeValue::Table(table.clone()), false);
    // Only whole values of the text were replaced, by ASCII.
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hide(bytes: &mut [u8], value: &DeValue<'_>, secret: bool) {
    let table = match value {
        DeValue::Table(table) => table.iter().map(|(key, value)| (key.get_ref().as_ref(), value)).collect(),
        DeValue::Array(list) => list.iter().map(|value| ("", value)).collect::<Vec<_>>(),
        _ => return,
    };
    for (key, value) in table {
        let inside = (secret || key == "secrets") && !matches!(key, "env" | "file" | "command" | "kept");
        match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) => hide(bytes, value.get_ref(), inside),
            _ if inside => {
                if let Some(bytes) = bytes.get_mut(value.span()) {
                    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
                }
            }
            _ => {}
        }
    }
}

/// The text with lines starred out that look as if they held a secret.
fn without_suspects(text: &str) -> String {
    let suspect = |line: &str| {
        let line = line.to_lowercase();
        ["secret", "password", "passwd", "token", "credential", "key"].iter().any(|word| line.contains(word))
    };
    let lines = text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
        Some(line) if suspect(line) => "*".repeat(line.len()) + "\n",
        None if suspect(line) => "*".repeat(line.len()),
        _ => line.to_owned(),
    });
    lines.collect()
}
