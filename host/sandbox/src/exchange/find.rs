//! `FindItem`: listings of a folder, restrictions, and what takes place in a stretch of time.

use jiff::tz::TimeZone;
use roxmltree::Node;
use serde_json::Value;

use super::calendar::{occurrences, view_of_occurrence};
use super::call::{Body, Call, Part, child, inside, number};
use super::mailbox::{asked_folder, change_key, contents};
use super::properties::{path, shown};
use super::shape::{By, Shape, view, write_item, write_view};
use super::times::{moment, zone};
use super::xml::{Fault, Out, Problem, answer};
use crate::store::{Fields, Item, Store};

/// The largest page, unless a command says otherwise.
pub(super) const LARGEST: usize = 1_000;
/// The longest stretch of a calendar.
const LONGEST_DAYS: i64 = 2 * 366;

impl Call<'_> {
    pub(super) fn find_item(&self) -> Body {
        let shape = match child(self.request, "ItemShape") {
            Some(shape) => Shape::read(shape)?,
            None => Shape::default(),
        };
        let restriction = child(self.request, "Restriction");
        if let Some(restriction) = restriction {
            check(restriction)?;
        }
        let calendar = child(self.request, "CalendarView");
        let results: Vec<Part> = self.exchange.core.read(|store| {
            let one = |node: Node<'_, '_>| {
                let folder = asked_folder(store, &self.mailbox, node)?;
                match calendar {
                    Some(window) => self.calendar_view(store, folder, window, &shape),
                    None => Ok(self.page(store, folder, restriction, &shape)),
                }
            };
            inside(self.request, "ParentFolderIds").into_iter().map(one).collect()
        });
        Ok(answer("FindItem", &results, ""))
    }

    fn page(&self, store: &Store, folder: &Item, restriction: Option<Node<'_, '_>>, shape: &Shape) -> String {
        let paging = child(self.request, "IndexedPageItemView");
        let largest = self.exchange.largest_page();
        let most = paging.and_then(|paging| number(paging, "MaxEntriesReturned")).unwrap_or(largest).min(largest);
        let offset = paging.and_then(|paging| number(paging, "Offset")).unwrap_or(0);
        let mut found: Vec<&Item> = contents(store, folder)
            .filter(|item| restriction.is_none_or(|restriction| fits(restriction, &view(store, item))))
            .collect();
        for order in inside(self.request, "SortOrder").into_iter().rev() {
            let Some(Ok(by)) = order.children().find(Node::is_element).map(path) else { continue };
            found.sort_by_cached_key(|item| view(store, item).get(&by.key).map(shown).unwrap_or_default());
            if order.attribute("Order") == Some("Descending") {
                found.reverse();
            }
        }
        let mut out = Out::new();
        let total = found.len();
        let next = (offset + most).min(total);
        root(&mut out, Some(next), total, next >= total);
        for item in found.into_iter().skip(offset).take(most) {
            write_item(&mut out, store, item, shape, By::Listing);
        }
        out.done()
    }

    fn calendar_view(&self, store: &Store, folder: &Item, window: Node<'_, '_>, shape: &Shape) -> Part {
        let context = self.zone.as_deref().map_or(TimeZone::UTC, zone);
        let edge = |name: &str| window.attribute(name).and_then(|text| moment(text, &context));
        let (Some(from), Some(until)) = (edge("StartDate"), edge("EndDate")) else {
            return Err(Problem::new("ErrorInvalidRequest", "A calendar view needs a start and an end."));
        };
        if until.duration_since(from).as_hours() / 24 > LONGEST_DAYS {
            return Err(Problem::new(
                "ErrorCalendarViewRangeTooBig",
                "The specified view range exceeds the maximum range of two years.",
            ));
        }
        let most = number(window, "MaxEntriesReturned").unwrap_or(LARGEST).min(LARGEST);
        let mut found: Vec<_> = contents(store, folder)
            .filter(|item| item.entity == "event")
            .flat_map(|item| occurrences(item).into_iter().map(move |found| (item, found)))
            .filter(|(_, found)| found.start < until && (found.end > from || found.start >= from))
            .collect();
        found.sort_by_key(|(_, found)| found.start);
        let mut out = Out::new();
        root(&mut out, None, found.len(), found.len() <= most);
        for (item, found) in found.iter().take(most) {
            let view = view_of_occurrence(store, item, found);
            write_view(&mut out, "CalendarItem", &found.id, &change_key(item), &view, shape, By::Listing);
        }
        Ok(out.done())
    }
}

fn root(out: &mut Out, next: Option<usize>, total: usize, last: bool) {
    let (next, total) = (next.map(|next| next.to_string()), total.to_string());
    let mut attributes =
        vec![("TotalItemsInView", total.as_str()), ("IncludesLastItemInRange", if last { "true" } else { "false" })];
    if let Some(next) = &next {
        attributes.insert(0, ("IndexedPagingOffset", next));
    }
    out.start_with("m:RootFolder", &attributes).start("t:Items");
}

/// Whether every property in a restriction has a name that the server knows.
fn check(node: Node<'_, '_>) -> Result<(), Fault> {
    if matches!(node.tag_name().name(), "FieldURI" | "IndexedFieldURI" | "ExtendedFieldURI") {
        path(node)?;
    }
    node.children().filter(Node::is_element).try_for_each(check)
}

/// Whether an item is what a restriction asks for.
pub(super) fn fits(node: Node<'_, '_>, fields: &Fields) -> bool {
    let mut parts = node.children().filter(Node::is_element);
    let test = |node: Node<'_, '_>| fits(node, fields);
    match node.tag_name().name() {
        "Restriction" | "And" => parts.all(test),
        "Or" => parts.any(test),
        "Not" => !parts.any(test),
        "Exists" => parts.next().is_some_and(|path| !values(path, fields).is_empty()),
        "Contains" => {
            let (Some(of), Some(constant)) = (parts.next(), parts.next()) else { return false };
            contains(node, &values(of, fields), constant.attribute("Value").unwrap_or_default())
        }
        name => {
            let (Some(of), Some(other)) = (parts.next(), parts.next()) else { return false };
            let left = values(of, fields);
            let right = match other.children().find(Node::is_element) {
                Some(constant) if constant.tag_name().name() == "Constant" => {
                    vec![constant.attribute("Value").unwrap_or_default().to_owned()]
                }
                Some(path) => values(path, fields),
                None => Vec::new(),
            };
            compare(name, &left, &right)
        }
    }
}

/// The values of a property; none if it is empty.
fn values(node: Node<'_, '_>, fields: &Fields) -> Vec<String> {
    let Ok(path) = path(node) else { return Vec::new() };
    let values = match fields.get(&path.key) {
        Some(Value::Array(list)) => list.iter().map(shown).collect(),
        Some(value) => vec![shown(value)],
        None => Vec::new(),
    };
    values.into_iter().filter(|value| !value.is_empty()).collect()
}

/// Texts are compared without case, as the store does.
fn compare(how: &str, left: &[String], right: &[String]) -> bool {
    let lower = |list: &[String]| list.iter().map(|text| text.to_lowercase()).collect::<Vec<_>>();
    let (left, right) = (lower(left), lower(right));
    let any = |test: fn(&String, &String) -> bool| left.iter().any(|a| right.iter().any(|b| test(a, b)));
    match how {
        "IsEqualTo" => any(|a, b| a == b),
        "IsNotEqualTo" => !any(|a, b| a == b),
        "IsGreaterThan" => any(|a, b| a > b),
        "IsGreaterThanOrEqualTo" => any(|a, b| a >= b),
        "IsLessThan" => any(|a, b| a < b),
        "IsLessThanOrEqualTo" => any(|a, b| a <= b),
        _ => false,
    }
}

fn contains(node: Node<'_, '_>, values: &[String], wanted: &str) -> bool {
    let exact = matches!(node.attribute("ContainmentComparison"), Some("Exact") | None);
    let spelled = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let wanted = spelled(wanted);
    values.iter().map(|value| spelled(value)).any(|value| match node.attribute("ContainmentMode") {
        Some("FullString") => value == wanted,
        Some("Prefixed") => value.starts_with(&wanted),
        Some("PrefixOnWords" | "ExactPhrase") => value.split_whitespace().any(|word| word.starts_with(&wanted)),
        _ => value.contains(&wanted),
    })
}
