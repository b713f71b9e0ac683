//! What somebody wants to write, checked and respelled, before anything is stored.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::model::{self, Entity, Kind, Property};
use super::settings::Access;
use super::view::View;
use crate::store::Fields;

/// Checked values for one record, and for addresses that come nested in it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Null clears.
    pub(super) fields: Fields,
    /// Relation, the entity it leads to, and what to write there.
    pub(super) nested: Vec<(String, &'static Entity, Draft)>,
}

impl Draft {
    /// Reads what was sent. Properties that do not exist, are set by the server or may not be written are left out.
    pub(super) fn read(view: &View<'_>, entity: &Entity, sent: &Map<String, Value>) -> Result<Draft, Refusal> {
        let mut draft = Draft::default();
        for (name, value) in sent.iter().filter(|(name, _)| !name.starts_with('$')) {
            if let Some(property) = entity.property(name) {
                if property.is_set_by_server() || !may_write(view, entity, &property.name)? {
                    continue;
                }
                let value = property_value(view, entity, property, value)?;
                draft.fields.insert(property.name.clone(), value);
            } else if let Some(relation) = entity.relation(name).filter(|relation| !relation.many) {
                if !may_write(view, entity, &relation.name)? {
                    continue;
                }
                let target = model::by_name(&relation.target);
                match reference(value) {
                    Some(key) => {
                        view.find(target, key).ok_or_else(|| {
                            Refusal::rule(format!(
                                "{} refers to {}('{key}'), which is not there.",
                                relation.name, target.path
                            ))
                        })?;
                        draft.fields.insert(relation.name.clone(), json!(key));
                    }
                    None if value.is_null() && relation.required => {
                        return Err(Refusal::rule(format!("{} is required.", relation.name)));
                    }
                    None if value.is_null() => drop(draft.fields.insert(relation.name.clone(), Value::Null)),
                    None => {
                        let (true, Some(inner)) = (target.name.ends_with("Address"), value.as_object()) else {
                            continue;
                        };
                        draft.nested.push((relation.name.clone(), target, Draft::read(view, target, inner)?));
                    }
                }
            }
        }
        Ok(draft)
    }
}

fn may_write(view: &View<'_>, entity: &Entity, name: &str) -> Result<bool, Refusal> {
    let may = view.settings.field_access(view.user, &entity.path, name) == Access::Write;
    if !may && view.settings.refuse_read_only {
        return Err(Refusal::new(403, "ApplicationDiagnosis", format!("{name} is read-only for you.")));
    }
    Ok(may)
}

/// The key that a reference holds: `{"$key": "A1"}`, or the bare key.
fn reference(value: &Value) -> Option<&str> {
    let key = value.as_str().or_else(|| value.get("$key").and_then(Value::as_str))?.trim();
    (!key.is_empty()).then_some(key)
}

fn property_value(view: &View<'_>, entity: &Entity, property: &Property, value: &Value) -> Result<Value, Refusal> {
    let wrong = || Refusal::rule(format!("'{value}' is no value for {}.{}.", entity.name, property.name));
    if value.is_null() {
        return Ok(Value::Null);
    }
    Ok(match property.kind {
        Kind::Bool => match value {
            Value::Bool(_) => value.clone(),
            Value::String(text) => json!(matches!(text.to_lowercase().as_str(), "t" | "true" | "1")),
            _ => return Err(wrong()),
        },
        Kind::Int | Kind::Number => match value {
            Value::Number(_) => value.clone(),
            Value::String(text) if text.trim().is_empty() => Value::Null,
            Value::String(text) => json!(text.trim().parse::<f64>().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        },
        Kind::Date => match value.as_str().map(str::trim) {
            Some("") => Value::Null,
            Some(text) => json!(read_date(text).ok_or_else(wrong)?.to_string()),
            None => return Err(wrong()),
        },
        Kind::Enum => {
            let named = value.as_str().filter(|name| entity.values.contains_key(*name)).map(str::to_owned);
            let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
            let by_number = || entity.values.iter().find(|(_, is)| Some(**is) == number).map(|(name, _)| name.clone());
            json!(named.or_else(by_number).ok_or_else(wrong)?)
        }
        Kind::List => value.as_array().map(|_| value.clone()).ok_or_else(wrong)?,
        Kind::Text | Kind::Phone | Kind::Memo | Kind::Id | Kind::Computed => {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return Err(wrong()),
            };
            let text = if view.settings.respell { respell(&text, property.kind) } else { text };
            if let Some(length) = property.length.filter(|length| text.chars().count() > *length) {
                let name = &property.name;
                return Err(Refusal::rule(format!(
                    "{name} is longer than the {length} characters that there is room for."
                )));
            }
            if text.is_empty() { Value::Null } else { json!(text) }
        }
    })
}

/// The server's own spelling: no blanks at the ends; American telephone numbers are digits. An assumption.
fn respell(text: &str, kind: Kind) -> String {
    let text = text.trim();
    if kind == Kind::Phone && text.chars().all(|c| c.is_ascii_digit() || " ()-.".contains(c)) {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if digits.len() == 10 {
            return digits;
        }
    }
    text.to_owned()
}

/// `/Date(ms)/`, `/Date(ms+0000)/`, or ISO with or without time and zone.
pub(super) fn read_date(text: &str) -> Option<Timestamp> {
    if let Some(inside) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        let end = inside.get(1..)?.find(['+', '-']).map_or(inside.len(), |at| at + 1);
        return Timestamp::from_millisecond(inside.get(..end)?.parse().ok()?).ok();
    }
    let utc = |time: DateTime| time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp());
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<DateTime>().ok().and_then(utc))
        .or_else(|| text.parse::<Date>().ok().map(DateTime::from).and_then(utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_in_three_spellings() {
        let second = Timestamp::from_second(1_384_992_000).ok();
        for text in ["/Date(1384992000000)/", "/Date(1384992000000+0000)/", "2013-11-21T00:00:00+00:00", "2013-11-21"] {
            assert_eq!(read_date(text), second, "{text}");
        }
        assert_eq!(read_date("/Date(-86400000)/"), Timestamp::from_second(-86_400).ok());
        assert_eq!(read_date("soon"), None);
    }

    #[test]
    fn telephone_numbers_are_respelled() {
        assert_eq!(respell(" (602) 555-1234 ", Kind::Phone), "6025551234");
        assert_eq!(respell("+49 40 1234", Kind::Phone), "+49 40 1234");
        assert_eq!(respell("(602) 555-1234", Kind::Text), "(602) 555-1234");
    }
}
