//! Records as entries and feeds, in the form that JSON has.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::condition::{Compare, Condition, Scalar, parse};
use super::model::{self, Entity, Kind};
use super::shape::Shape;
use super::target::{Query, Selector, Target};
use super::view::{View, etag};
use crate::store::Item;

/// What must not stand in a query as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'&').add(b'+').add(b'%').add(b'<').add(b'>');

/// Writes what a login sees.
pub(super) struct Writer<'a> {
    pub(super) view: View<'a>,
    /// `http://host/sdata/slx`
    pub(super) base: String,
    pub(super) now: i64,
}

impl Writer<'_> {
    pub(super) fn url(&self, entity: &Entity, key: &str) -> String {
        format!("{}/{}/-/{}('{key}')", self.base, entity.contract, entity.path)
    }

    /// One entry.
    pub(super) fn entry(&self, entity: &Entity, item: &Item, shape: &Shape) -> Value {
        let key = entity.key_of(&item.id);
        let mut entry = Map::new();
        entry.insert("$key".into(), json!(key));
        entry.insert("$url".into(), json!(self.url(entity, key)));
        entry.insert("$descriptor".into(), json!(descriptor(entity, item)));
        entry.insert("$etag".into(), json!(etag(item)));
        entry.insert("$updated".into(), json!(json_date(item.modified)));
        entry.insert("$httpStatus".into(), json!(200));
        if shape.includes("$permissions") {
            entry.insert("$permissions".into(), json!([]));
        }
        for property in entity.properties.iter().filter(|property| shape.shows(&property.name)) {
            if property.kind == Kind::List && !shape.includes(&property.name) {
                continue;
            }
            let value = self.view.value(entity, item, property);
            let value = match (value, property.kind) {
                (Some(Value::String(time)), Kind::Date) => {
                    time.parse::<jiff::Timestamp>().map(|time| json!(json_date(time.as_millisecond()))).ok()
                }
                (value, _) => value,
            };
            if let Some(value) = value {
                entry.insert(property.name.clone(), value);
            }
        }
        for relation in &entity.relations {
            let Some(below) = shape.relation(&relation.name) else { continue };
            let target = model::by_name(&relation.target);
            let value = if relation.many {
                self.many(entity, item, &relation.name, target, below.as_ref())
            } else {
                let key = item.fields.get(&relation.name).and_then(Value::as_str);
                key.map_or(Value::Null, |key| self.one(target, key, below.as_ref()))
            };
            entry.insert(relation.name.clone(), value);
        }
        Value::Object(entry)
    }

    fn one(&self, target: &Entity, key: &str, shape: Option<&Shape>) -> Value {
        match (shape, self.view.find(target, key)) {
            (Some(shape), Some(other)) => self.entry(target, other, shape),
            _ => json!({
                "$key": key,
                "$url": self.url(target, key),
                "$lookup": format!("{}/{}/-/{}", self.base, target.contract, target.path),
            }),
        }
    }

    fn many(&self, entity: &Entity, item: &Item, name: &str, target: &Entity, shape: Option<&Shape>) -> Value {
        let mut path = name.to_owned();
        path[..1].make_ascii_lowercase();
        let url = format!("{}/{path}", self.url(entity, &item.id));
        let Some(shape) = shape else { return json!({ "$url": url }) };
        let others = related(&self.view, item, target);
        let entries: Vec<Value> = others.into_iter().map(|other| self.entry(target, other, shape)).collect();
        json!({ "$url": url, "$resources": entries })
    }

    /// A page of the entries that a query asks for.
    pub(super) fn feed(&self, target: &Target, entity: &Entity, within: Option<Vec<&Item>>) -> Result<Value, Refusal> {
        let condition = self.condition(target, entity)?;
        let mut found = match within {
            None => self.view.search(entity, condition.as_ref()),
            Some(items) => {
                let holds = |item: &Item| {
                    let look = |path: &[String]| self.view.scalar(entity, item, path);
                    condition.as_ref().is_none_or(|condition| condition.holds(&look))
                };
                items.into_iter().filter(|item| holds(item)).collect()
            }
        };
        self.sort(entity, &mut found, target.query.get("orderby"))?;
        let shape = Shape::of(&target.query);
        let page = Page::of(&target.query, self.view.settings.page, self.view.settings.largest_page)?;
        let shown = found.iter().skip(page.start - 1).take(page.count);
        let entries: Vec<Value> = shown.map(|item| self.entry(entity, item, &shape)).collect();
        Ok(page.feed(self, target, entity, found.len(), entries))
    }

    /// The condition of a query: `where`, or what stands in the parentheses.
    fn condition(&self, target: &Target, entity: &Entity) -> Result<Option<Condition>, Refusal> {
        let written = target.query.condition(self.view.settings.plus_is_blank)?;
        let selected = match &target.selector {
            Some(Selector::Condition(text)) => Some(text.clone()),
            _ => None,
        };
        let Some(text) = written.or(selected) else { return Ok(None) };
        let expression = parse(&text, self.view.settings.zone_minutes)?;
        Condition::new(expression, entity, self.now).map(Some)
    }

    fn sort(&self, entity: &Entity, items: &mut [&Item], order: Option<&str>) -> Result<(), Refusal> {
        let mut keys: Vec<(Vec<String>, bool)> = Vec::new();
        for part in order.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (path, direction) = part.split_once(' ').unwrap_or((part, "asc"));
            let descending = match direction.trim().to_lowercase().as_str() {
                "asc" => false,
                "desc" => true,
                other => return Err(Refusal::new(400, "BadQueryParameter", format!("'{other}' is no order."))),
            };
            let path: Vec<String> = path.split(['.', '/']).map(str::to_owned).collect();
            if path.len() == 1 && !entity.is_key(&path[0]) && entity.property(&path[0]).is_none() {
                return Err(Refusal::rule(format!("could not resolve property: {} of: {}", path[0], entity.name)));
            }
            keys.push((path, descending));
        }
        let values = |item: &Item| keys.iter().map(|(path, _)| self.view.scalar(entity, item, path)).collect();
        let mut sorted: Vec<(Vec<Scalar>, &Item)> = items.iter().map(|item| (values(item), *item)).collect();
        sorted.sort_by(|(a, _), (b, _)| {
            let orders = a.iter().zip(b).zip(&keys).map(
                |((a, b), (_, descending))| {
                    if *descending { b.order(a) } else { a.order(b) }
                },
            );
            orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        for (place, (_, item)) in items.iter_mut().zip(sorted) {
            *place = item;
        }
        Ok(())
    }
}

/// The records that a relation to many leads to.
pub(super) fn related<'a>(view: &View<'a>, item: &Item, target: &Entity) -> Vec<&'a Item> {
    let back = match (target.name.as_str(), item.entity.as_str()) {
        ("Address", _) => "EntityId",
        ("LeadAddress", _) => "LeadId",
        _ => "Account",
    };
    let here = Some(item.id.as_str());
    let mut found = view.search(target, None);
    found.retain(|other| other.fields.get(back).and_then(Value::as_str) == here);
    found
}

/// Which entries of a feed are asked for.
pub(super) struct Page {
    pub(super) start: usize,
    pub(super) count: usize,
}

impl Page {
    /// Positions count from 1; 0 is taken for 1. Too large a page is cut.
    pub(super) fn of(query: &Query, default: usize, largest: usize) -> Result<Page, Refusal> {
        let start = query.number("startindex")?.unwrap_or(1).max(1);
        let count = query.number("count")?.unwrap_or(default).min(largest);
        Ok(Page { start, count })
    }

    pub(super) fn feed(
        &self,
        writer: &Writer<'_>,
        target: &Target,
        entity: &Entity,
        total: usize,
        entries: Vec<Value>,
    ) -> Value {
        let tail: String = target.rest.iter().map(|part| format!("/{part}")).collect();
        let key = match &target.selector {
            Some(Selector::Key(key)) => format!("('{key}')"),
            _ => String::new(),
        };
        let url = format!("{}/{}/-/{}{key}{tail}", writer.base, entity.contract, entity.path);
        let mut feed = Map::new();
        feed.insert("$descriptor".into(), json!(format!("Sage SalesLogix | {}", title(&entity.path))));
        feed.insert("$url".into(), json!(url));
        feed.insert("$totalResults".into(), json!(total));
        feed.insert("$startIndex".into(), json!(self.start));
        feed.insert("$itemsPerPage".into(), json!(self.count));
        feed.insert("$first".into(), json!(format!("{url}?{}", self.query(&target.query, 1))));
        let next = self.start + entries.len();
        if !entries.is_empty() && next <= total {
            feed.insert("$next".into(), json!(format!("{url}?{}", self.query(&target.query, next))));
        }
        feed.insert("$resources".into(), Value::Array(entries));
        Value::Object(feed)
    }

    fn query(&self, query: &Query, start: usize) -> String {
        let mut pairs: Vec<String> = query
            .pairs()
            .filter(|(name, _)| !["startindex", "count"].contains(name))
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)))
            .collect();
        pairs.push(format!("startIndex={start}"));
        pairs.push(format!("count={}", self.count));
        pairs.join("&")
    }
}

fn title(path: &str) -> String {
    let mut title = path.to_owned();
    title[..1].make_ascii_uppercase();
    title
}

/// `{LastName}, {FirstName}` with the values in place.
fn descriptor(entity: &Entity, item: &Item) -> String {
    let (mut text, mut rest) = (String::new(), entity.descriptor.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(item.fields.get(name).and_then(Value::as_str).unwrap_or_default());
        rest = after;
    }
    text + rest
}

/// `/Date(1384992000000)/`
pub(super) fn json_date(milliseconds: i64) -> String {
    format!("/Date({milliseconds})/")
}
