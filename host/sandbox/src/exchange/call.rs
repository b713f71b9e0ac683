//! One request: who asks, for which mailbox, and what.

use roxmltree::Node;

use super::Exchange;
use super::xml::{Fault, Problem};

/// A request that was let in.
pub(super) struct Call<'a> {
    pub(super) exchange: &'a Exchange,
    /// The mailbox that is worked in.
    pub(super) mailbox: String,
    /// The Windows name of the zone that the client names for times without one.
    pub(super) zone: Option<String>,
    /// The server behind the address that answers.
    pub(super) back_end: u64,
    /// The operation's element.
    pub(super) request: Node<'a, 'a>,
}

/// What came of a part of a request: the payload, or what is wrong with that part.
pub(super) type Part = Result<String, Problem>;
/// The body of an answer.
pub(super) type Body = Result<String, Fault>;

/// The child of this name.
pub(super) fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

/// The elements in the child of this name.
pub(super) fn inside<'a>(node: Node<'a, 'a>, name: &str) -> Vec<Node<'a, 'a>> {
    child(node, name).into_iter().flat_map(|child| child.children()).filter(Node::is_element).collect()
}

/// The text of the child of this name.
pub(super) fn text<'a>(node: Node<'a, 'a>, name: &str) -> &'a str {
    child(node, name).and_then(|child| child.text()).unwrap_or_default().trim()
}

pub(super) fn number(node: Node<'_, '_>, name: &str) -> Option<usize> {
    node.attribute(name).and_then(|text| text.parse().ok())
}
