//! What happens to a value on its way from left to right, and back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pairwise_plugin_api::{FieldType, Text, Value};

use crate::model::Transform;

/// One step, made ready.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Trim,
    Upper,
    Lower,
    /// Into E.164.
    Phone(phonenumber::country::Id),
    Zone(TimeZone),
    Date,
    Split(String),
    Join(String),
    Constant(Value),
    /// There and back.
    Lookup(BTreeMap<String, String>, BTreeMap<String, String>),
    /// Between types that are no lists.
    Cast {
        from: FieldType,
        to: FieldType,
    },
}

/// A transform that cannot be made ready.
pub(super) fn ready(transform: &Transform) -> Result<Step, String> {
    Ok(match transform {
        Transform::Trim => Step::Trim,
        Transform::Upper => Step::Upper,
        Transform::Lower => Step::Lower,
        Transform::Phone(country) => Step::Phone(
            country.parse().map_err(|_| format!("`{country}` is not a country: two capitals such as `DE`"))?,
        ),
        Transform::Zone(zone) => Step::Zone(TimeZone::get(zone).map_err(|error| error.to_string())?),
        Transform::Date => Step::Date,
        Transform::Split(at) => Step::Split(at.clone()),
        Transform::Join(with) => Step::Join(with.clone()),
        Transform::Constant(value) => Step::Constant(value.clone()),
        Transform::Lookup(there) => {
            let back = there.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
            Step::Lookup(there.clone(), back)
        }
    })
}

/// The types between which values must be carried over, `None` where they pass as they are.
pub(super) fn cast(from: FieldType, to: FieldType) -> Option<Vec<Step>> {
    use FieldType::{Bool, Float, Int, TextList, Unknown};
    if from == to || from == Unknown || to == Unknown {
        return None;
    }
    let number_like = |kind| matches!(kind, Bool | Int | Float);
    match (from == TextList, to == TextList) {
        (true, false) if !number_like(to) => Some(vec![Step::Join(", ".into())]),
        (false, true) if !number_like(from) => Some(vec![Step::Split(",".into())]),
        (true, _) => Some(vec![Step::Join(", ".into()), Step::Cast { from: FieldType::Text, to }]),
        (_, true) => Some(vec![Step::Cast { from, to: FieldType::Text }, Step::Split(",".into())]),
        _ if number_like(from) || number_like(to) => Some(vec![Step::Cast { from, to }]),
        // Addresses, numbers, dates: all of them are text.
        _ => None,
    }
}

/// The type of values after a step.
pub(super) fn kind_after(step: &Step, before: FieldType) -> FieldType {
    match step {
        Step::Date => FieldType::Date,
        Step::Split(_) => FieldType::TextList,
        Step::Join(_) => FieldType::Text,
        Step::Phone(_) => FieldType::Phone,
        Step::Constant(value) => match value {
            Value::Bool(_) => FieldType::Bool,
            Value::Int(_) => FieldType::Int,
            Value::Float(_) => FieldType::Float,
            Value::List(_) => FieldType::TextList,
            Value::Null | Value::Text(_) => FieldType::Text,
        },
        Step::Cast { to, .. } => *to,
        Step::Trim | Step::Upper | Step::Lower | Step::Zone(_) | Step::Lookup(..) => before,
    }
}

/// From left to right.
pub(super) fn forth(steps: &[Step], value: Value) -> Result<Value, String> {
    steps.iter().try_fold(value, |value, step| step.forth(value))
}

/// From right to left.
pub(super) fn back(steps: &[Step], value: Value) -> Result<Value, String> {
    steps.iter().rev().try_fold(value, |value, step| step.back(value))
}

impl Step {
    fn forth(&self, value: Value) -> Result<Value, String> {
        Ok(match self {
            Step::Zone(zone) => texts(value, |text| in_zone(&text, zone).into()),
            Step::Date => texts(value, |text| {
                text.get(..10).filter(|date| is_date(date)).map_or_else(|| text.clone(), Text::from)
            }),
            Step::Split(at) => split(value, at),
            Step::Join(with) => join(value, with),
            Step::Constant(value) => value.clone(),
            Step::Lookup(there, _) => texts(value, |text| there.get(&*text).map_or(text, Text::from)),
            Step::Cast { to, .. } => carry(value, *to)?,
            Step::Trim | Step::Upper | Step::Lower | Step::Phone(_) => self.normalise(value),
        })
    }

    /// The inverse, where there is one. A step that only normalises has none and does the same on the way back, so that a
    /// value that came back is the one that went.
    fn back(&self, value: Value) -> Result<Value, String> {
        Ok(match self {
            Step::Zone(_) => texts(value, |text| in_zone(&text, &TimeZone::UTC).into()),
            Step::Split(at) => join(value, at),
            Step::Join(with) => split(value, with),
            Step::Lookup(_, back) => texts(value, |text| back.get(&*text).map_or(text, Text::from)),
            Step::Cast { from, .. } => carry(value, *from)?,
            Step::Date | Step::Constant(_) => value,
            Step::Trim | Step::Upper | Step::Lower | Step::Phone(_) => self.normalise(value),
        })
    }

    fn normalise(&self, value: Value) -> Value {
        texts(value, |text| match self {
            Step::Trim => text.trim().into(),
            Step::Upper => text.to_uppercase().into(),
            Step::Lower => text.to_lowercase().into(),
            Step::Phone(country) => phone(&text, *country).map_or(text, Text::from),
            _ => text,
        })
    }
}

/// Does something to a text, or to each text of a list.
fn texts(value: Value, change: impl Fn(Text) -> Text) -> Value {
    match value {
        Value::Text(text) => Value::from(change(text)),
        Value::List(list) => {
            let items = list.into_iter().map(|item| match item {
                Value::Text(text) => Value::from(change(text)),
                other => other,
            });
            Value::List(items.collect())
        }
        other => other,
    }
}

/// What names no country is read as a number of this one; what is no valid number stays as it is.
fn phone(text: &str, country: phonenumber::country::Id) -> Option<String> {
    let number = phonenumber::parse(Some(country), text).ok().filter(phonenumber::is_valid)?;
    // E.164 has no room for an extension: cutting it off would lose it.
    number.extension().is_none().then(|| number.format().mode(phonenumber::Mode::E164).to_string())
}

/// The same instant by the clocks of a zone, with their offset. What names no offset is local already.
fn in_zone(text: &str, zone: &TimeZone) -> String {
    let Ok(instant) = text.trim().parse::<Timestamp>() else { return text.to_owned() };
    if *zone == TimeZone::UTC {
        return instant.to_string();
    }
    let offset = zone.to_offset(instant);
    instant.display_with_offset(offset).to_string()
}

fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok()
}

/// Items lose the white space around them; empty ones are none.
fn split(value: Value, at: &str) -> Value {
    match value {
        Value::Text(text) => {
            // `", "` as it is joined is also `","` as people type it.
            let at = Some(at.trim()).filter(|at| !at.is_empty()).unwrap_or(at);
            let items = text.split(at).map(str::trim).filter(|item| !item.is_empty());
            Value::List(items.map(Value::from).collect())
        }
        other => other,
    }
}

fn join(value: Value, with: &str) -> Value {
    // Split at `","` comes back as people write it.
    let with = if with == "," { ", " } else { with };
    match value {
        Value::List(list) => Value::from(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(with)),
        other => other,
    }
}

/// A value in another type.
fn carry(value: Value, to: FieldType) -> Result<Value, String> {
    if value.is_empty() {
        return Ok(Value::Null);
    }
    let text = value.to_string();
    let trimmed = text.trim();
    let carried = match to {
        FieldType::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(Value::Bool(true)),
            "false" | "no" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldType::Int => {
            let number = if let Value::Bool(value) = value { Some(i64::from(value)) } else { trimmed.parse().ok() };
            // `5.0` is a whole number, too.
            number.or_else(|| trimmed.strip_suffix(".0")?.parse().ok()).map(Value::Int)
        }
        FieldType::Float => trimmed.parse().ok().map(Value::Float),
        _ => Some(Value::from(text.clone())),
    };
    carried.ok_or_else(|| {
        let wanted = match to {
            FieldType::Bool => "yes or no",
            FieldType::Int => "a whole number",
            _ => "a number",
        };
        let shown: String = trimmed.chars().take(40).collect();
        format!("`{shown}` is not {wanted}")
    })
}
