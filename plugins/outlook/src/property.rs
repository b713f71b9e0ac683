//! Extended properties: what Graph has no members for, and our own key on each item that we made.
//!
//! The connector for Exchange sees the same properties in the same store, so that a mailbox that moves to the cloud keeps its
//! keys.

use pairwise_http::{Json, json};

/// The idempotency key of the create that made an item. The same property as the connector `exchange` writes.
pub(crate) const KEY: &str = "String {c11ff724-aa03-4555-9952-8fa248a11c3e} Name PairwiseKey";

/// The UID that an item shares with its counterpart in another system; also that of `exchange`.
pub(crate) const UID: &str = "String {c11ff724-aa03-4555-9952-8fa248a11c3e} Name PairwiseUid";

/// The store's own key of an item. It stays when the item, or its whole mailbox, moves.
pub(crate) const SEARCH_KEY: &str = "Binary 0x300B";

/// What is asked for with every item.
pub(crate) const OWN: [&str; 3] = [KEY, UID, SEARCH_KEY];

/// Which of the addresses is the mailing address.
pub(crate) const POSTAL_ADDRESS: &str = "Integer {00062004-0000-0000-C000-000000000046} Id 0x8022";

/// Whether an item is private.
pub(crate) const SENSITIVITY: &str = "Integer 0x0036";

/// The member that holds them.
pub(crate) const MEMBER: &str = "singleValueExtendedProperties";

/// The property that keeps `extended/NAME`.
pub(crate) fn named(name: &str) -> String {
    format!("String {{c11ff724-aa03-4555-9952-8fa248a11c3e}} Name Pairwise-{name}")
}

/// What `$expand` asks for.
pub(crate) fn expand<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let tests: Vec<String> = ids.map(|id| format!("id eq '{}'", quoted(id))).collect();
    format!("{MEMBER}($filter={})", tests.join(" or "))
}

/// What `$filter` asks for: items whose property has this value.
pub(crate) fn filter(id: &str, value: &str) -> String {
    format!("{MEMBER}/any(ep: ep/id eq '{}' and ep/value eq '{}')", quoted(id), quoted(value))
}

/// A text within quotes of a filter.
pub(crate) fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// As it is written.
pub(crate) fn value(id: &str, value: &str) -> Json {
    json!({ "id": id, "value": value })
}

/// The value of a property, if the item tells it. Servers spell ids in their own way.
pub(crate) fn find<'a>(item: &'a Json, id: &str) -> Option<&'a str> {
    let properties = item[MEMBER].as_array()?;
    let found = properties.iter().find(|property| property["id"].as_str().is_some_and(|held| same_id(held, id)))?;
    found["value"].as_str()
}

/// Names are case-sensitive; types, GUIDs and tags are not, and tags may lose their zeros.
fn same_id(one: &str, other: &str) -> bool {
    // Most differ in their last sign.
    let last = |id: &str| id.trim_end().bytes().last().map(|byte| byte.to_ascii_lowercase());
    if one == other || last(one) != last(other) {
        return one == other;
    }
    let named = |id| <str>::split_once(id, " Name ").unwrap_or((id, ""));
    let ((head, name), (other_head, other_name)) = (named(one), named(other));
    let digits = |part: &str| {
        let (prefix, digits) = part.split_at_checked(2)?;
        prefix.eq_ignore_ascii_case("0x").then(|| digits.trim_start_matches('0').to_owned())
    };
    let same = |(one, other): (&str, &str)| {
        one.eq_ignore_ascii_case(other)
            || digits(one).zip(digits(other)).is_some_and(|(one, other)| one.eq_ignore_ascii_case(&other))
    };
    let count = |head: &str| head.split_whitespace().count();
    name == other_name
        && head.split_whitespace().zip(other_head.split_whitespace()).all(same)
        && count(head) == count(other_head)
}
