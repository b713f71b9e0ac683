//! What `tests/fuzz` does with bytes that a server sent, and with rules that come from elsewhere.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use jiff::civil::date;
use pairwise_plugin_api::{Action, Cursor, Write};

use crate::change::Change;
use crate::event::Times;
use crate::item;
use crate::kind::Kind;
use crate::ntlm;
use crate::read::Memory;
use crate::recurrence;
use crate::server::Login;
use crate::soap::{self, Message, Trouble};
use crate::times::zone;
use crate::watch;
use crate::xml::{Node, TYPES, Tree, Writer};

/// No answer nests deeper.
const DEEPEST: usize = 101;

/// Documents begin with `<`; before a cursor, the second message of a login and a rule of another system stands a letter.
pub fn ews(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'c', cursor)) => {
            if let Ok(memory) = Memory::read(Some(&Cursor(cursor.to_vec()))) {
                assert_eq!(Memory::read(Some(&memory.write())).unwrap(), memory);
            }
        }
        Some((b'n', message)) => {
            let login = Login { user: "EXAMPLE\\lee".into(), password: "secret".into() };
            ntlm::answer(message, &login, None);
        }
        Some((b'r', rule)) => {
            let rule = String::from_utf8_lossy(rule);
            if let Ok(xml) = recurrence::to_xml(&rule, date(2027, 3, 22), &zone("Europe/London").unwrap()) {
                Tree::parse(&xml).unwrap();
            }
        }
        _ => document(bytes),
    }
}

/// Read as every kind of answer. The tree is not deep, and its texts can be written again.
fn document(bytes: &[u8]) {
    let mut stream = bytes;
    while let Some(end) = watch::end_of_envelope(stream) {
        stream = &stream[end..];
    }
    let Ok(document) = Tree::parse(&String::from_utf8_lossy(bytes)) else { return };
    let trouble = Trouble::of_fault(document.root()).unwrap_or_default();
    let _ = (trouble.failure("lee@example.com", true), trouble.outcome(), soap::version(document.root()));
    for message in soap::messages(document.root()) {
        if let Message::Wrong(trouble) = message {
            let _ = (trouble.failure("lee@example.com", false), trouble.outcome());
        }
    }
    element(document.root(), 1);
}

fn element(node: Node<'_>, depth: usize) {
    assert!(depth <= DEEPEST);
    let text: String =
        node.text().chars().filter(|char| *char >= ' ' && !matches!(char, '\u{fffe}' | '\u{ffff}')).collect();
    let mut out = Writer::new();
    out.start_with("t:A", &[("xmlns:t", TYPES)]).leaf_with("t:B", &[("Note", &text)], &text);
    let again = Tree::parse(&out.done()).unwrap();
    let leaf = again.root().child("B").unwrap();
    assert_eq!((leaf.text(), leaf.attribute("Note")), (text.as_str(), Some(text.as_str())));
    for kind in Kind::ALL {
        read_as(kind, node);
    }
    series(node);
    node.children().for_each(|child| element(child, depth + 1));
}

/// An item: what was read of it can be written.
fn read_as(kind: Kind, node: Node<'_>) {
    let extended = ["Region".to_owned()];
    let Some(read) = item::read(&item::Telling::of(kind, &extended, &[]), node, "lee@example.com") else { return };
    for action in [Action::Create, Action::Update] {
        let write = Write { action, fields: read.record.fields.clone(), key: "key".into(), ..Write::default() };
        let times = Times { current: read.record.fields.clone(), home: "Europe/London".into() };
        let Ok(mut change) = Change::of(kind, &write, &extended, &times) else { continue };
        change.mark(kind, &write);
        let mut out = Writer::new();
        out.start_with("t:A", &[("xmlns:t", TYPES)]);
        match action {
            Action::Create => change.write_item(kind, &mut out),
            _ => change.write_updates(kind, &mut out),
        }
        let written = out.done();
        assert!(Tree::parse(&written).is_ok(), "{written}");
    }
}

/// A rule that the server can hold comes back as it is.
fn series(node: Node<'_>) {
    let (start, london) = (Some("2027-03-22T09:00:00"), zone("Europe/London").unwrap());
    let Some(rule) = recurrence::from_xml(node, start, &london) else { return };
    let around = |rule: &str| {
        let xml = recurrence::to_xml(rule, date(2027, 3, 22), &london).ok()?;
        recurrence::from_xml(Tree::parse(&xml).unwrap().root(), start, &london)
    };
    if let Some(once) = around(&rule) {
        assert_eq!(around(&once).as_ref(), Some(&once), "{rule}");
    }
}

#[cfg(test)]
#[test]
fn corpora_are_replayed() {
    pairwise_replay::corpora(&[("ews", ews)]);
}
