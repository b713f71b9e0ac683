//! What single occurrences of a series do otherwise, as JSCalendar's `recurrenceOverrides`: an open family of fields.
//!
//! A member is named after the original start of its occurrence, on the clocks of the series, and the canonical path of what
//! differs there: `recurrenceOverrides/2027-03-29T09:00:00/title`. An occurrence that does not take place has the one member
//! `excluded`; what one lacks although its series has it is named by the member `cleared`. What an occurrence does as its
//! series does has no member, so that an exception that became like the others again is one no more.

use std::collections::BTreeMap;

use crate::fields::Fields;
use crate::value::{Name, Value};
use crate::{Field, FieldType};

/// What the names of all members start with.
const FAMILY: &str = "recurrenceOverrides/";

/// The path of an occurrence that does not take place; its value is true.
pub const EXCLUDED: &str = "excluded";

/// The path of what an occurrence lacks although its series has it: canonical paths in their order, with blanks between them.
pub const CLEARED: &str = "cleared";

/// Whether an occurrence with these members does not take place.
#[must_use]
pub fn is_excluded(members: &Fields) -> bool {
    members.get(EXCLUDED) == Some(&Value::Bool(true))
}

/// What makes an occurrence that has the members `held` one that has those that are `wanted`, where its series holds `plain`:
/// the fields to write, and all that it holds then. `field` names the field of a path, if occurrences may differ there.
///
/// ```
/// use pairwise_plugin_api::{Fields, Value, overrides};
/// let wanted: Fields = [("title", "Planning"), (overrides::CLEARED, "locations/1/name")].into_iter().collect();
/// let held: Fields = [("description", "in the garden")].into_iter().collect();
/// const PATHS: [&str; 3] = ["title", "locations/1/name", "description"];
/// let plain = PATHS.map(|path| (path, "as usual")).into_iter().collect();
/// let field = |path: &str| PATHS.into_iter().find(|known| *known == path);
/// let (fields, _) = overrides::change(&wanted, &held, &plain, field);
/// let held = |path| fields.get(path).cloned().unwrap();
/// assert_eq!((held("title"), held("locations/1/name")), (Value::from("Planning"), Value::Null));
/// assert_eq!(held("description"), Value::from("as usual"));
/// ```
pub fn change(
    wanted: &Fields,
    held: &Fields,
    plain: &Fields,
    field: impl Fn(&str) -> Option<&'static str>,
) -> (Fields, Fields) {
    let (mut fields, mut whole) = (Fields::new(), plain.clone());
    for path in paths(wanted).chain(paths(held)) {
        let Some(field) = field(path) else { continue };
        let value = value_at(wanted, path, plain.get(field));
        whole.set(field, value.clone());
        fields.set(field, value);
    }
    (fields, whole)
}

/// Where an occurrence with these members differs from its series.
fn paths(members: &Fields) -> impl Iterator<Item = &str> {
    let own = members.iter().map(|(path, _)| &**path).filter(|path| ![EXCLUDED, CLEARED].contains(path));
    own.chain(cleared(members))
}

fn cleared(members: &Fields) -> impl Iterator<Item = &str> {
    members.text(CLEARED).unwrap_or_default().split_whitespace()
}

/// What an occurrence with these members holds at a path where its series holds `plain`.
fn value_at(members: &Fields, path: &str, plain: Option<&Value>) -> Value {
    if cleared(members).any(|cleared| cleared == path) {
        return Value::Null;
    }
    members.get(path).or(plain).cloned().unwrap_or_default()
}

/// Notes what an occurrence holds at a path where its series holds `plain`: nothing, where both hold the same.
pub fn note(members: &mut Fields, path: &str, value: Value, plain: Option<&Value>) {
    let is_plain = plain.map_or(value.is_empty(), |plain| *plain == value || (plain.is_empty() && value.is_empty()));
    if is_plain {
        return;
    }
    if value.is_empty() {
        let mut all: Vec<&str> = cleared(members).chain([path]).collect();
        all.sort_unstable();
        let all = all.join(" ");
        members.set(CLEARED, all);
    } else {
        members.set(path, value);
    }
}

/// Adds the members of the occurrence that would have started at `original` to the fields of its series.
pub fn put(fields: &mut Fields, original: &str, members: Fields) {
    for (path, value) in members {
        fields.set(name(original, &path), value);
    }
}

/// The open family, for a catalogue.
#[must_use]
pub fn family() -> Field {
    let name = format!("{FAMILY}*");
    Field::new(name.as_str(), FieldType::Text).path(name.as_str())
}

/// The name of a member.
#[must_use]
pub fn name(original: &str, path: &str) -> Name {
    Name::from(format!("{FAMILY}{original}/{path}"))
}

/// The original start and the path that a member is named after; `None` for any other field.
#[must_use]
pub fn parts(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(FAMILY)?.split_once('/').filter(|(original, path)| !original.is_empty() && !path.is_empty())
}

/// The overrides among the fields of a record or write: values by path, by original start.
///
/// ```
/// use pairwise_plugin_api::{Fields, overrides};
/// let name = overrides::name("2027-03-29T09:00:00", "locations/1/name");
/// let fields: Fields = [("title", "Weekly"), (&*name, "Room 9")].into_iter().collect();
/// let all = overrides::of(&fields);
/// assert_eq!(all["2027-03-29T09:00:00"].text("locations/1/name"), Some("Room 9"));
/// ```
#[must_use]
pub fn of(fields: &Fields) -> BTreeMap<String, Fields> {
    let mut all: BTreeMap<String, Fields> = BTreeMap::new();
    for (name, value) in fields.with_prefix(FAMILY) {
        if let Some((original, path)) = parts(name) {
            all.entry(original.to_owned()).or_default().set(path, value.clone());
        }
    }
    all
}
