//! Field values and field lists: what a record carries, in a form that every connector can make.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field's name: a connector's native name or a canonical path. Cheap to clone, because a page repeats few names often.
pub type Name = Arc<str>;

/// The text of a value: cheap to clone, and short ones (up to 23 bytes, as most are) need no memory of their own. It derefs to
/// `str`; `Text::from` or `.into()` makes it of a `&str` or a `String`.
pub type Text = smol_str::SmolStr;

/// The value of one field.
///
/// `Null` says "known to be empty". A field that was not asked for, or that the system does not tell, is **absent** from
/// [`Fields`]; absent is never taken for empty.
///
/// Dates and times are text: RFC 3339 for instants (`2026-03-01T09:30:00Z`), `2026-03-01` for dates,
/// `2026-03-01T09:30:00` for local times whose zone stands in a field of its own. Decimals that must not be rounded are
/// text, too.
///
/// ```
/// use pairwise_plugin_api::Value;
/// assert!(Value::from("").is_empty());
/// assert!(Value::Null.is_empty());
/// assert!(!Value::from(false).is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Known to be empty.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number that may be rounded.
    Float(f64),
    /// Text, in UTF-8 with `\n` between lines.
    Text(Text),
    /// Several values; the field's catalogue entry says whether their order means something.
    List(Box<[Value]>),
}

impl Value {
    /// True for `Null`, the empty text and the empty list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::List(list) => list.is_empty(),
            _ => false,
        }
    }

    /// The text of a `Text`, else `None`.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text.into())
    }
}
impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Value::Text(text)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl From<Vec<Value>> for Value {
    fn from(list: Vec<Value>) -> Self {
        Value::List(list.into())
    }
}

/// As a person reads it: a list is joined with `, `, empty is nothing.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::List(list) => {
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    value.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => list.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing, a boolean, a number, text or a list of these")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| E::custom("a whole number above 9223372036854775807"))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }
    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        // The length is the sender's word: it is no reason to reserve memory.
        let mut list = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(64));
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::from(list))
    }
}

/// The fields of a record, sorted by name, each name once.
///
/// On the wire this is one flat array `[name, value, name, value, …]` in which a name is text at its first occurrence in a
/// message and afterwards its number (the first name is 0): a page of 500 records sends each name once. See [`crate::codec`].
///
/// ```
/// use pairwise_plugin_api::{Fields, Value};
/// let mut fields = Fields::new();
/// fields.set("name/full", "Ada Lovelace");
/// fields.set("emails/1/address", Value::Null);
/// assert_eq!(fields.text("name/full"), Some("Ada Lovelace"));
/// assert_eq!(fields.get("emails/1/address"), Some(&Value::Null));   // known to be empty
/// assert_eq!(fields.get("notes/1"), None);                          // not told
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(Vec<(Name, Value)>);

impl Fields {
    /// No field at all.
    #[must_use]
    pub const fn new() -> Self {
        Fields(Vec::new())
    }

    /// No field yet, with room for so many.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Fields(Vec::with_capacity(fields))
    }

    /// The value of a field, or `None` if the record does not tell it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.position(name).ok().map(|index| &self.0[index].1)
    }

    /// The text of a field, if it is there, is text, and is not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text).filter(|text| !text.is_empty())
    }

    /// Sets a field; what it held before is returned.
    pub fn set(&mut self, name: impl Into<Name>, value: impl Into<Value>) -> Option<Value> {
        let (name, value) = (name.into(), value.into());
        // Connectors and decoders mostly add in order: appending needs no search.
        if self.0.last().is_none_or(|(last, _)| **last < *name) {
            self.0.push((name, value));
            return None;
        }
        match self.position(&name) {
            Ok(index) => Some(std::mem::replace(&mut self.0[index].1, value)),
            Err(index) => {
                self.0.insert(index, (name, value));
                None
            }
        }
    }

    /// Adds a field whose name is known to come after all others. Not checked in release builds: the host builds lists so whose
    /// order it has looked at before, where comparing names again would be most of the work.
    #[doc(hidden)]
    pub fn push(&mut self, name: Name, value: Value) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < name), "`{name}` does not come last");
        self.0.push((name, value));
    }

    /// The greatest name.
    #[doc(hidden)]
    #[must_use]
    pub fn last_name(&self) -> Option<&Name> {
        self.0.last().map(|(name, _)| name)
    }

    /// Adds a field that must not be there; otherwise its name is given back.
    pub(crate) fn add(&mut self, name: Name, value: Value) -> Result<(), Name> {
        if self.0.last().is_none_or(|(last, _)| last < &name) {
            self.0.push((name, value));
            return Ok(());
        }
        match self.position(&name) {
            Ok(_) => Err(name),
            Err(index) => {
                self.0.insert(index, (name, value));
                Ok(())
            }
        }
    }

    /// Sets all fields of another list, as [`Fields::set`] does one by one, in a single pass over both.
    pub fn extend(&mut self, other: Fields) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        if self.0.last().zip(other.0.first()).is_none_or(|((last, _), (first, _))| last < first) {
            self.0.extend(other.0);
            return;
        }
        let room = self.0.len() + other.0.len();
        let mut own = std::mem::replace(&mut self.0, Vec::with_capacity(room)).into_iter().peekable();
        for (name, value) in other.0 {
            while let Some(before) = own.next_if(|(own, _)| *own < name) {
                self.0.push(before);
            }
            own.next_if(|(own, _)| *own == name);
            self.0.push((name, value));
        }
        self.0.extend(own);
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.position(name).ok().map(|index| self.0.remove(index).1)
    }

    /// All fields, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> + Clone {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// All fields whose name starts with `prefix`, in order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Name, &'a Value)> {
        let start = self.0.partition_point(|(name, _)| **name < *prefix);
        self.0[start..].iter().take_while(move |(name, _)| name.starts_with(prefix)).map(|(name, value)| (name, value))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

impl<N: Into<Name>, V: Into<Value>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let iter = iter.into_iter();
        let mut fields = Fields::with_capacity(iter.size_hint().0);
        for (name, value) in iter {
            fields.set(name, value);
        }
        fields
    }
}

impl IntoIterator for Fields {
    type Item = (Name, Value);
    type IntoIter = std::vec::IntoIter<(Name, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

// A page is thousands of these: text of up to 23 bytes lies within.
const _: () = assert!(size_of::<Value>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extending_is_setting_one_by_one() {
        let fields = |names: &str| names.chars().map(|name| (name.to_string(), names)).collect::<Fields>();
        for (own, other) in
            [("", "abc"), ("abc", ""), ("ab", "cd"), ("cd", "ab"), ("ace", "bcd"), ("b", "abc"), ("abc", "b")]
        {
            let mut one_by_one = fields(own);
            for (name, value) in fields(other) {
                one_by_one.set(name, value);
            }
            let mut extended = fields(own);
            extended.extend(fields(other));
            assert_eq!(extended, one_by_one, "{own} and {other}");
        }
    }
}
