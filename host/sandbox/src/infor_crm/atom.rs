//! The same entries and feeds as Atom, and back.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use roxmltree::{Document, Node};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::draft::read_date;
use super::model::{self, Entity};

const ATOM: &str = "http://www.w3.org/2005/Atom";
const SDATA: &str = "http://schemas.sage.com/sdata/2008/1";
const HTTP: &str = "http://schemas.sage.com/sdata/http/2008/1";
const OPENSEARCH: &str = "http://a9.com/-/spec/opensearch/1.1/";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const SLX: &str = "http://schemas.sage.com/dynamic/2007";

type Xml = Writer<Vec<u8>>;

/// Writes an entry.
pub(super) fn entry(entity: Option<&Entity>, value: &Value) -> String {
    document(|xml| write_entry(xml, entity, value, true))
}

/// Writes a feed.
pub(super) fn feed(entity: Option<&Entity>, value: &Value) -> String {
    document(|xml| {
        let mut root = BytesStart::new("feed");
        namespaces(&mut root);
        event(xml, Event::Start(root));
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        leaf(xml, "id", &text("$url"));
        leaf(xml, "title", &text("$descriptor"));
        open(xml, "author");
        leaf(xml, "name", "slx");
        close(xml, "author");
        for (name, member) in [
            ("opensearch:totalResults", "$totalResults"),
            ("opensearch:startIndex", "$startIndex"),
            ("opensearch:itemsPerPage", "$itemsPerPage"),
        ] {
            leaf(xml, name, &value[member].to_string());
        }
        for (relation, member) in [("first", "$first"), ("next", "$next")] {
            if let Some(url) = value[member].as_str() {
                let link = BytesStart::new("link").with_attributes([("rel", relation), ("href", url)]);
                event(xml, Event::Empty(link));
            }
        }
        for resource in value["$resources"].as_array().into_iter().flatten() {
            write_entry(xml, entity, resource, false);
        }
        close(xml, "feed");
    })
}

/// Writes what was wrong.
pub(super) fn diagnoses(list: &[Value]) -> String {
    document(|xml| {
        let root = BytesStart::new("sdata:diagnoses").with_attributes([("xmlns:sdata", SDATA)]);
        event(xml, Event::Start(root));
        for diagnosis in list {
            open(xml, "sdata:diagnosis");
            for (name, value) in diagnosis.as_object().into_iter().flatten() {
                if let Some(text) = value.as_str() {
                    leaf(xml, &format!("sdata:{name}"), text);
                }
            }
            close(xml, "sdata:diagnosis");
        }
        close(xml, "sdata:diagnoses");
    })
}

fn document(content: impl FnOnce(&mut Xml)) -> String {
    let mut xml = Writer::new(Vec::new());
    event(&mut xml, Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)));
    content(&mut xml);
    String::from_utf8(xml.into_inner()).unwrap_or_default()
}

/// Writing to memory does not fail.
fn event(xml: &mut Xml, event: Event<'_>) {
    let _ = xml.write_event(event);
}

fn open(xml: &mut Xml, name: &str) {
    event(xml, Event::Start(BytesStart::new(name)));
}

fn close(xml: &mut Xml, name: &str) {
    event(xml, Event::End(BytesEnd::new(name)));
}

fn leaf(xml: &mut Xml, name: &str, text: &str) {
    open(xml, name);
    // XML has no control characters, not even escaped.
    let clean: String = text.chars().filter(|c| !c.is_control() || "\t\n\r".contains(*c)).collect();
    event(xml, Event::Text(BytesText::new(&clean)));
    close(xml, name);
}

fn namespaces(element: &mut BytesStart<'_>) {
    for (name, uri) in [
        ("xmlns", ATOM),
        ("xmlns:sdata", SDATA),
        ("xmlns:http", HTTP),
        ("xmlns:opensearch", OPENSEARCH),
        ("xmlns:xsi", XSI),
        ("xmlns:slx", SLX),
    ] {
        element.push_attribute((name, uri));
    }
}

fn write_entry(xml: &mut Xml, entity: Option<&Entity>, value: &Value, whole: bool) {
    let mut root = BytesStart::new("entry");
    if whole {
        namespaces(&mut root);
    }
    event(xml, Event::Start(root));
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    leaf(xml, "id", &text("$url"));
    leaf(xml, "title", &text("$descriptor"));
    leaf(xml, "updated", &iso(&text("$updated")));
    for (name, member) in [
        ("http:etag", "$etag"),
        ("http:httpStatus", "$httpStatus"),
        ("http:httpMessage", "$httpMessage"),
        ("http:httpMethod", "$httpMethod"),
        ("http:location", "$location"),
    ] {
        match &value[member] {
            Value::String(text) => leaf(xml, name, text),
            Value::Number(number) => leaf(xml, name, &number.to_string()),
            _ => {}
        }
    }
    if let Some(entity) = entity.filter(|_| value.get("$key").is_some()) {
        open(xml, "sdata:payload");
        payload(xml, &entity.name, Some(entity), value);
        close(xml, "sdata:payload");
    }
    close(xml, "entry");
}

/// An entity, a reference, or a collection, as an element of this name.
fn payload(xml: &mut Xml, name: &str, entity: Option<&Entity>, value: &Value) {
    let tag = format!("slx:{name}");
    let mut element = BytesStart::new(tag.clone());
    if let Some(key) = value["$key"].as_str() {
        element.push_attribute(("sdata:key", key));
    }
    if let Some(url) = value["$url"].as_str() {
        element.push_attribute(("sdata:uri", url));
    }
    event(xml, Event::Start(element));
    for item in value["$resources"].as_array().into_iter().flatten() {
        payload(xml, entity.map_or("Item", |entity| &entity.name), entity, item);
    }
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with('$')) {
        let tag = format!("slx:{name}");
        match value {
            Value::Null => {
                event(xml, Event::Empty(BytesStart::new(tag).with_attributes([("xsi:nil", "true")])));
            }
            Value::Object(_) => {
                let relation = entity.and_then(|entity| entity.relation(name));
                payload(xml, name, relation.map(|relation| model::by_name(&relation.target)), value);
            }
            Value::Array(items) => {
                open(xml, &tag);
                for item in items {
                    leaf(xml, "slx:item", item.as_str().unwrap_or_default());
                }
                close(xml, &tag);
            }
            Value::String(text) => leaf(xml, &tag, &iso(text)),
            other => leaf(xml, &tag, &other.to_string()),
        }
    }
    close(xml, &tag);
}

/// A date of JSON as Atom has it; anything else as it is.
fn iso(text: &str) -> String {
    match text.strip_prefix("/Date(").and_then(|_| read_date(text)) {
        Some(time) => time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        None => text.to_owned(),
    }
}

/// Reads an entry or a feed into the form that JSON has.
pub(super) fn read(text: &str) -> Result<Value, Refusal> {
    let wrong = |problem: &dyn std::fmt::Display| Refusal::rule(format!("The body is no Atom entry: {problem}."));
    // A library of the vendor begins with a byte-order mark.
    let document = Document::parse(text.trim_start_matches('\u{feff}')).map_err(|problem| wrong(&problem))?;
    let root = document.root_element();
    match root.tag_name().name() {
        "entry" => Ok(read_entry(root)),
        "feed" => {
            let entries = root.children().filter(|node| node.has_tag_name((ATOM, "entry")));
            Ok(json!({ "$resources": entries.map(read_entry).collect::<Vec<_>>() }))
        }
        other => Err(wrong(&format!("it begins with '{other}'"))),
    }
}

fn read_entry(entry: Node<'_, '_>) -> Value {
    let child = |space: &'static str, name: &'static str| {
        entry.children().find(|node| node.has_tag_name((space, name))).and_then(|node| node.text()).map(str::trim)
    };
    let payload = entry.children().find(|node| node.has_tag_name((SDATA, "payload")));
    let mut read = payload.and_then(|payload| payload.first_element_child()).map(read_payload).unwrap_or_default();
    for (member, text) in [
        ("$httpMethod", child(HTTP, "httpMethod")),
        ("$ifMatch", child(HTTP, "ifMatch")),
        ("$url", child(ATOM, "id").filter(|id| id.contains("://"))),
    ] {
        if let Some(text) = text {
            read.insert(member.into(), json!(text));
        }
    }
    Value::Object(read)
}

fn read_payload(element: Node<'_, '_>) -> Map<String, Value> {
    let mut read = Map::new();
    if let Some(key) = element.attribute((SDATA, "key")) {
        read.insert("$key".into(), json!(key));
    }
    for child in element.children().filter(Node::is_element) {
        let nil = child.attribute((XSI, "nil")).is_some_and(|nil| nil == "true" || nil == "1");
        let is_entry = child.attribute((SDATA, "key")).is_some() || child.first_element_child().is_some();
        let value = match (nil, is_entry) {
            (true, _) => Value::Null,
            (false, true) => Value::Object(read_payload(child)),
            (false, false) => json!(child.text().unwrap_or_default()),
        };
        read.insert(child.tag_name().name().to_owned(), value);
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let contact = model::by_name("Contact");
        let value = json!({
            "$key": "C1", "$url": "http://host/contacts('C1')", "$descriptor": "A <& B", "$updated": "/Date(1384992000000)/",
            "$etag": "abc=", "LastName": "Æ & <b>\r\nc", "Birthday": null, "DoNotEmail": false,
            "ModifyDate": "/Date(1384992000000)/", "Account": { "$key": "A1" },
            "Addresses": { "$resources": [{ "$key": "a1", "City": "Łódź" }] },
        });
        let written = entry(Some(contact), &value);
        assert!(written.contains("<updated>2013-11-21T00:00:00+00:00</updated>"), "{written}");
        assert!(written.contains("<http:etag>abc=</http:etag>"));
        let back = read(&written).expect("what we write");
        assert_eq!((&back["$key"], &back["$url"]), (&json!("C1"), &json!("http://host/contacts('C1')")));
        assert_eq!(back["Birthday"], Value::Null);
        assert_eq!(back["DoNotEmail"], json!("false"));
        assert_eq!(back["ModifyDate"], json!("2013-11-21T00:00:00+00:00"));
        assert_eq!(back["Account"], json!({ "$key": "A1" }));
        assert_eq!(back["Addresses"]["Address"]["City"], json!("Łódź"));
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_mistake() {
        let text = format!("\u{feff}<entry xmlns=\"{ATOM}\"/>");
        assert_eq!(read(&text), Ok(json!({})));
        assert_eq!(read("<entry").expect_err("not closed").code, "ApplicationDiagnosis");
    }
}
