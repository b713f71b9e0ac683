//! JSON as servers of contacts speak it: many small objects with the same short names and texts.
//!
//! Most names and texts of a record fit where they stand, so that an object takes one piece of memory instead of three for each
//! of its members. It reads like [`serde_json::Value`], and comes from one.

use std::fmt;
use std::ops::Index;

use pairwise_plugin_api::Text;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

/// Any JSON.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    List(Vec<Json>),
    Object(Object),
}

/// An object. Its members stay in their order, which means nothing.
#[derive(Debug, Clone, Default)]
pub struct Object(Vec<(Text, Json)>);

/// What `serde_json::json!` makes, as [`Json`].
#[macro_export]
macro_rules! json {
    ($($json:tt)+) => { $crate::Json::from($crate::__serde_json::json!($($json)+)) };
}

static NULL: Json = Json::Null;

impl Json {
    /// A text, else `None`.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list, else `None`.
    #[must_use]
    pub fn as_array(&self) -> Option<&Vec<Json>> {
        match self {
            Json::List(list) => Some(list),
            _ => None,
        }
    }

    /// An object, else `None`.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A truth, else `None`.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number that is whole, else `None`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.number()?.as_i64()
    }

    /// A number that is whole and not negative, else `None`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.number()?.as_u64()
    }

    /// A number, else `None`.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.number()?.as_f64()
    }

    fn number(&self) -> Option<&Number> {
        match self {
            Json::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    /// An object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self, Json::Object(_))
    }

    /// The entries of a list; of anything else there are none.
    #[must_use]
    pub fn into_list(self) -> Vec<Json> {
        match self {
            Json::List(list) => list,
            _ => Vec::new(),
        }
    }

    /// A member of an object, or an entry of a list.
    pub fn get<P: Place>(&self, place: P) -> Option<&Json> {
        place.of(self)
    }
}

/// Where something stands in an object or list.
pub trait Place {
    /// What stands there.
    fn of(self, json: &Json) -> Option<&Json>;
}

impl Place for &str {
    fn of(self, json: &Json) -> Option<&Json> {
        json.as_object()?.get(self)
    }
}

impl Place for usize {
    fn of(self, json: &Json) -> Option<&Json> {
        json.as_array()?.get(self)
    }
}

impl<P: Place + Copy> Place for &P {
    fn of(self, json: &Json) -> Option<&Json> {
        (*self).of(json)
    }
}

/// What is not there is null.
impl<P: Place> Index<P> for Json {
    type Output = Json;
    fn index(&self, place: P) -> &Json {
        place.of(self).unwrap_or(&NULL)
    }
}

impl Object {
    /// One without members.
    #[must_use]
    pub fn new() -> Self {
        Object::default()
    }

    /// A member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether there is such a member.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a member; what it was before.
    pub fn insert(&mut self, name: impl Into<Text>, value: Json) -> Option<Json> {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => Some(std::mem::replace(before, value)),
            None => {
                self.0.push((name, value));
                None
            }
        }
    }

    /// A member, which is set if it is not there yet.
    pub fn or_insert(&mut self, name: impl Into<Text>, value: impl FnOnce() -> Json) -> &mut Json {
        let name = name.into();
        let at = self.0.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.0.push((name, value()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    /// Keeps the members that fit.
    pub fn retain(&mut self, mut fits: impl FnMut(&str, &Json) -> bool) {
        self.0.retain(|(name, value)| fits(name, value));
    }

    /// Takes all members out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The members.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Json)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The names of the members.
    pub fn keys(&self) -> impl Iterator<Item = &Text> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The values of the members.
    pub fn values(&self) -> impl Iterator<Item = &Json> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq<&str> for Json {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == Some(text)
    }
}

impl FromIterator<Json> for Json {
    fn from_iter<I: IntoIterator<Item = Json>>(list: I) -> Self {
        Json::List(list.into_iter().collect())
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

/// What is not there is null.
impl Index<&str> for Object {
    type Output = Json;
    fn index(&self, name: &str) -> &Json {
        self.get(name).unwrap_or(&NULL)
    }
}

impl IntoIterator for Object {
    type Item = (Text, Json);
    type IntoIter = std::vec::IntoIter<(Text, Json)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<N: Into<Text>> Extend<(N, Json)> for Object {
    fn extend<I: IntoIterator<Item = (N, Json)>>(&mut self, members: I) {
        for (name, value) in members {
            self.insert(name, value);
        }
    }
}

impl<N: Into<Text>> FromIterator<(N, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (N, Json)>>(members: I) -> Self {
        let mut object = Object::new();
        object.extend(members);
        object
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Number(number) => Json::Number(number),
            Value::String(text) => Json::Text(text.into()),
            Value::Array(list) => Json::List(list.into_iter().map(Json::from).collect()),
            Value::Object(members) => {
                Json::Object(Object(members.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
            }
        }
    }
}

macro_rules! from {
    ($($type:ty => $one:ident $make:expr),+ $(,)?) => {
        $(impl From<$type> for Json {
            fn from($one: $type) -> Self {
                $make
            }
        })+
    };
}

from! {
    &str => text Json::Text(text.into()),
    String => text Json::Text(text.into()),
    &String => text Json::Text(text.into()),
    Text => text Json::Text(text),
    bool => value Json::Bool(value),
    i32 => number Json::Number(number.into()),
    i64 => number Json::Number(number.into()),
    u64 => number Json::Number(number.into()),
    f64 => number Number::from_f64(number).map_or(Json::Null, Json::Number),
    Vec<Json> => list Json::List(list),
    Object => object Json::Object(object),
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(number) => number.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(list) => {
                let mut out = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|one| out.serialize_element(one))?;
                out.end()
            }
            Json::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.len()))?;
        self.iter().try_for_each(|(name, value)| out.serialize_entry(name.as_str(), value))?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Like(0).deserialize(deserializer)
    }
}

/// Reads what probably has so many members, as the one before it in a list.
#[derive(Clone, Copy)]
struct Like(usize);

impl<'de> DeserializeSeed<'de> for Like {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Like {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::from(number))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::from(number))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Ok(Json::from(number))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::from(text))
    }
    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::from(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut all: Vec<Json> = Vec::new();
        while let Some(one) =
            list.next_element_seed(Like(all.last().and_then(Json::as_object).map_or(0, Object::len)))?
        {
            all.push(one);
        }
        Ok(Json::List(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut all = Vec::with_capacity(self.0);
        while let Some(Named(name)) = members.next_key()? {
            all.push((name, members.next_value()?));
        }
        Ok(Json::Object(Object(all)))
    }
}

/// The name of a member.
struct Named(Text);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Named;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Named, E> {
                Ok(Named(name.into()))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = r#"{"a":null,"b":[1,-2,0.5,true,"ö\"\n"],"c":[{"x":{}},{"x":"a text longer than lies within"}]}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(json.to_string(), text);
        assert_eq!(serde_json::from_str::<Value>(text).map(Json::from).unwrap(), json);
        assert_eq!((json["b"][1].as_i64(), json["b"][9].as_i64(), json["d"]["e"].is_null()), (Some(-2), None, true));
    }

    #[test]
    fn the_order_of_members_means_nothing() {
        assert_eq!(json!({ "a": 1, "b": 2 }), json!({ "b": 2, "a": 1 }));
        assert_ne!(json!({ "a": 1 }), json!({ "b": 1 }));
    }

    #[test]
    fn members_come_and_go() {
        let mut object = Object::from_iter([("a", json!(1)), ("b", json!(2))]);
        assert_eq!((object.insert("a", json!(3)), object.remove("b")), (Some(json!(1)), Some(json!(2))));
        object.or_insert("a", || json!(4));
        object.or_insert("c", || json!(5));
        assert_eq!(Json::Object(object), json!({ "a": 3, "c": 5 }));
    }
}
