//! The order of elements in messages, as data (`schema.txt`), and what a server says of a message that breaks it.

use std::collections::HashMap;
use std::sync::LazyLock;

use roxmltree::Node;

/// Namespace of messages.
pub const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
/// Namespace of types.
pub const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::read(include_str!("schema.txt")));

/// A place in a sequence.
#[derive(Debug, Clone)]
struct Place {
    /// What may stand there, with its namespace: one of them.
    names: Vec<(&'static str, String)>,
    many: bool,
}

#[derive(Debug, Default)]
struct Schema {
    rules: HashMap<String, Vec<Place>>,
}

impl Schema {
    fn read(text: &str) -> Schema {
        let mut schema = Schema::default();
        let mut parts: HashMap<String, Vec<Place>> = HashMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let Some((name, children)) = line.split_once(" = ").or_else(|| line.split_once(" =")) else { continue };
            let mut places: Vec<Place> = Vec::new();
            let mut choice: Option<Vec<(&'static str, String)>> = None;
            for word in children.split_whitespace() {
                if let Some(part) = word.strip_prefix('@') {
                    places.extend(parts.get(part).cloned().unwrap_or_default());
                    continue;
                }
                let (opens, word) = word.strip_prefix('(').map_or((false, word), |rest| (true, rest));
                let (many, word) = word.strip_suffix('*').map_or((false, word), |rest| (true, rest));
                let (closes, word) = word.strip_suffix(')').map_or((false, word), |rest| (true, rest));
                if opens {
                    choice = Some(Vec::new());
                }
                match &mut choice {
                    Some(names) => names.push(qualified(word)),
                    None => places.push(Place { names: vec![qualified(word)], many }),
                }
                if closes {
                    places.push(Place { names: choice.take().unwrap_or_default(), many });
                }
            }
            match name.strip_prefix('@') {
                Some(part) => drop(parts.insert(part.to_owned(), places)),
                None => drop(schema.rules.insert(name.trim().to_owned(), places)),
            }
        }
        schema
    }

    fn rule(&self, node: Node<'_, '_>) -> Option<&Vec<Place>> {
        let name = label(node);
        let within = node.parent_element().map(|parent| format!("{}/{name}", label(parent)));
        within.and_then(|within| self.rules.get(&within)).or_else(|| self.rules.get(&name))
    }
}

/// The children of a type in their order, for writing: `Contact`, `CalendarItem`.
#[must_use]
pub fn children(name: &str) -> Vec<&'static str> {
    let places = SCHEMA.rules.get(name).into_iter().flatten();
    places.flat_map(|place| &place.names).map(|(_, name)| name.as_str()).collect()
}

/// Whether a message of this name can be asked.
#[must_use]
pub fn knows(operation: &str) -> bool {
    SCHEMA.rules.contains_key(&format!("m:{operation}"))
}

fn qualified(word: &str) -> (&'static str, String) {
    match word.strip_prefix("m:") {
        Some(name) => (MESSAGES, name.to_owned()),
        None => (TYPES, word.to_owned()),
    }
}

fn label(node: Node<'_, '_>) -> String {
    let name = node.tag_name();
    if name.namespace() == Some(MESSAGES) { format!("m:{}", name.name()) } else { name.name().to_owned() }
}

/// Where a message breaks the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// As the server words it.
    pub text: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub position: u32,
}

/// Holds an element and everything beneath it against the schema.
///
/// # Errors
/// The first element that stands where it may not.
pub fn validate(node: Node<'_, '_>) -> Result<(), Violation> {
    if let Some(places) = SCHEMA.rule(node) {
        let mut at = 0;
        let mut used = false;
        for child in node.children().filter(Node::is_element) {
            let name = child.tag_name();
            let is = |place: &Place| {
                place.names.iter().any(|(space, known)| name.namespace() == Some(*space) && name.name() == known)
            };
            let from = if used && places.get(at).is_some_and(|place| !place.many) { at + 1 } else { at };
            match places.iter().enumerate().skip(from).find(|(_, place)| is(place)) {
                Some((index, _)) => (at, used) = (index, true),
                None => return Err(violation(node, child, places.get(from..).unwrap_or_default())),
            }
        }
    }
    node.children().filter(Node::is_element).try_for_each(validate)
}

fn violation(node: Node<'_, '_>, child: Node<'_, '_>, rest: &[Place]) -> Violation {
    let quoted = |node: Node<'_, '_>| {
        format!("'{}' in namespace '{}'", node.tag_name().name(), node.tag_name().namespace().unwrap_or_default())
    };
    let expected: Vec<&str> =
        rest.iter().flat_map(|place| &place.names).map(|(_, name)| name.as_str()).take(8).collect();
    let position = child.document().text_pos_at(child.range().start);
    Violation {
        text: format!(
            "The element {} has invalid child element {}. List of possible elements expected: '{}'.",
            quoted(node),
            quoted(child),
            expected.join(", ")
        ),
        line: position.row,
        position: position.col,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use roxmltree::Document;

    use super::*;

    fn check(inner: &str) -> Result<(), Violation> {
        let text = format!("<t:Contact xmlns:t='{TYPES}' xmlns:m='{MESSAGES}'>\n{inner}</t:Contact>");
        validate(Document::parse(&text).unwrap().root_element())
    }

    #[test]
    fn the_order_of_elements_counts() {
        assert_eq!(check("<t:Subject/><t:GivenName/><t:Surname/>"), Ok(()));
        let wrong = check("<t:Surname/><t:GivenName/>").unwrap_err();
        assert!(wrong.text.contains("invalid child element 'GivenName'"), "{}", wrong.text);
        assert_eq!((wrong.line, wrong.position), (2, 13));
    }

    #[test]
    fn unknown_and_repeated_elements_are_refused() {
        assert!(check("<t:GivenName/><t:GivenName/>").is_err());
        assert!(check("<t:Shoesize/>").is_err());
        assert!(check("<m:GivenName/>").is_err());
        let entry = "<t:Entry Key='Business'><t:Street/><t:City/></t:Entry>";
        assert_eq!(check(&format!("<t:PhysicalAddresses>{entry}{entry}</t:PhysicalAddresses>")), Ok(()));
        assert!(check("<t:PhysicalAddresses><t:Entry><t:City/><t:Street/></t:Entry></t:PhysicalAddresses>").is_err());
    }
}
