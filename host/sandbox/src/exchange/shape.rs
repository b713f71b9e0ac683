//! Items as answers show them: which properties, in which order.

use std::collections::BTreeSet;

use roxmltree::Node;
use serde_json::{Value, json};

use super::calendar;
use super::mailbox::{KINDS, change_key};
use super::properties::{Path, path, shown, write_element, write_extended};
use super::schema;
use super::times::instant;
use super::xml::{Fault, Out};
use crate::store::{Fields, Item, Store};

/// What a request wants to see of an item.
#[derive(Debug, Default)]
pub(super) struct Shape {
    everything: bool,
    keys: BTreeSet<String>,
    extended: Vec<Path>,
    html: bool,
}

/// Properties that only `GetItem` shows.
const ONLY_BY_GET: &[&str] = &["Body", "TextBody", "UniqueBody", "NormalizedBody", "Attachments", "MimeContent"];

impl Shape {
    /// Reads `ItemShape`.
    pub(super) fn read(node: Node<'_, '_>) -> Result<Shape, Fault> {
        let mut shape = Shape::default();
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "BaseShape" => shape.everything = matches!(child.text(), Some("AllProperties" | "Default")),
                "BodyType" => shape.html = child.text() == Some("HTML"),
                "AdditionalProperties" => {
                    for property in child.children().filter(Node::is_element) {
                        let path = path(property)?;
                        if path.extended.is_some() {
                            shape.extended.push(path);
                        } else {
                            shape.keys.insert(path.key);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(shape)
    }

    /// Whether an element or an entry of one was asked for.
    fn wants(&self, key: &str) -> bool {
        if self.everything || self.keys.contains(key) {
            return true;
        }
        key.match_indices('/').any(|(end, _)| self.keys.contains(&key[..end]))
    }

    fn wants_any_of(&self, element: &str) -> bool {
        self.wants(element)
            || self.keys.iter().any(|key| key.strip_prefix(element).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// How an item is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// By its id: all there is.
    Get,
    /// In a listing: neither body nor attachments, and people of the organisation by their directory names.
    Listing,
}

/// An item as an element.
pub(super) fn write_item(out: &mut Out, store: &Store, item: &Item, shape: &Shape, by: By) {
    let kind = KINDS.iter().find(|(entity, _)| *entity == item.entity).map_or("Item", |(_, kind)| kind);
    write_view(out, kind, &item.id, &change_key(item), &view(store, item), shape, by);
}

/// The same, of what an item would show: an occurrence of a series has no item of its own.
pub(super) fn write_view(out: &mut Out, kind: &str, id: &str, key: &str, view: &Fields, shape: &Shape, by: By) {
    out.start(&format!("t:{kind}"));
    let order = match schema::children(kind) {
        order if order.is_empty() => schema::children("Item"),
        order => order,
    };
    for element in order {
        match element {
            "ItemId" => drop(out.empty("t:ItemId", &[("Id", id), ("ChangeKey", key)])),
            "ExtendedProperty" => {
                for path in &shape.extended {
                    if let (Some(attributes), Some(value)) = (&path.extended, view.get(&path.key))
                        && !shown(value).is_empty()
                    {
                        write_extended(out, attributes, value);
                    }
                }
            }
            _ if by == By::Listing && ONLY_BY_GET.contains(&element) => {}
            _ if !shape.wants_any_of(element) => {}
            "ParentFolderId" => {
                if let Some(parent) = view.get("ParentFolderId") {
                    out.empty("t:ParentFolderId", &[("Id", &shown(parent)), ("ChangeKey", "AQAAAA==")]);
                }
            }
            "Body" => write_body(out, view, shape.html),
            "CompleteName" => write_complete_name(out, view),
            "Organizer" => calendar::write_organizer(out, view),
            "FirstOccurrence" | "LastOccurrence" | "ModifiedOccurrences" | "DeletedOccurrences" => {
                calendar::write_occurrences(out, element, view);
            }
            "EmailAddresses" if by == By::Listing => {
                let view = with_directory_names(view);
                write_element(out, element, &view, |key| shape.wants(key));
            }
            _ => write_element(out, element, view, |key| shape.wants(key)),
        }
    }
    out.end();
}

/// All that an item shows, stored or worked out.
pub(super) fn view(store: &Store, item: &Item) -> Fields {
    let mut view = item.fields.clone();
    let class = match item.entity.as_str() {
        "contact" => "IPM.Contact",
        "event" => "IPM.Appointment",
        "list" => "IPM.DistList",
        _ => "IPM.Note",
    };
    let mut put = |name: &str, value: Value| {
        view.entry(name).or_insert(value);
    };
    put("ItemClass", json!(class));
    put("Sensitivity", json!("Normal"));
    put("Importance", json!("Normal"));
    put("HasAttachments", json!(false));
    put("DateTimeCreated", json!(instant(item.created)));
    put("DateTimeReceived", json!(instant(item.created)));
    put("DateTimeSent", json!(instant(item.created)));
    put("LastModifiedTime", json!(instant(item.modified)));
    put("LastModifiedName", json!(item.owner.split('@').next().unwrap_or_default()));
    put("ParentFolderId", json!(item.container));
    put("IsDraft", json!(false));
    put("Culture", json!("en-US"));
    put("Size", json!(item.fields.values().map(|value| shown(value).len()).sum::<usize>() + 1_024));
    match item.entity.as_str() {
        "contact" => put("HasPicture", json!(false)),
        "event" => calendar::complete(store, item, &mut view),
        _ => {}
    }
    view
}

fn write_body(out: &mut Out, view: &Fields, html: bool) {
    let Some(text) = view.get("Body").map(shown).filter(|text| !text.is_empty()) else { return };
    let stored_html = view.get("BodyType").map(shown).as_deref() == Some("HTML");
    match (stored_html, html) {
        (true, false) => out.leaf_with("t:Body", &[("BodyType", "Text")], &plain(&text)),
        (_, html) => out.leaf_with("t:Body", &[("BodyType", if html { "HTML" } else { "Text" })], &text),
    };
}

/// The text of a page, as far as a simulator needs it.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for char in html.chars() {
        match char {
            '<' => inside = true,
            '>' => inside = false,
            char if !inside => text.push(char),
            _ => {}
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").trim().to_owned()
}

fn write_complete_name(out: &mut Out, view: &Fields) {
    let parts = [
        ("Title", "0x3a45"),
        ("FirstName", "GivenName"),
        ("MiddleName", "MiddleName"),
        ("LastName", "Surname"),
        ("Suffix", "Generation"),
        ("Initials", "Initials"),
        ("FullName", "DisplayName"),
        ("Nickname", "Nickname"),
    ];
    let filled: Vec<_> = parts
        .iter()
        .filter_map(|(part, key)| Some((part, view.get(*key).map(shown).filter(|text| !text.is_empty())?)))
        .collect();
    if !filled.is_empty() {
        out.start("t:CompleteName");
        for (part, text) in filled {
            out.leaf(&format!("t:{part}"), &text);
        }
        out.end();
    }
}

/// Listings show people of the organisation by their place in its directory.
fn with_directory_names(view: &Fields) -> Fields {
    let mut view = view.clone();
    for (key, value) in &mut view {
        if let Some(local) =
            value.as_str().and_then(|text| text.strip_suffix(super::DOMAIN)).filter(|_| key.starts_with("EmailA"))
        {
            *value = json!(format!(
                "/o=Example/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn={local}"
            ));
        }
    }
    view
}
