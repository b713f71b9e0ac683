//! How messages become bytes: MessagePack with named members, and field names sent once a message.
//!
//! Members are named so that both ends may be of different age: a reader ignores members it does not know and takes the
//! default for members it does not find. The names of *record fields* repeat in every record; inside one message each of
//! them is written out once and afterwards by its number, counted from 0 in the order of first occurrence.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::value::{Fields, Name};

/// Bytes that are not the message that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {expected}: {reason}")]
pub struct CodecError {
    /// The Rust type that was to be read or written, without its path.
    pub expected: &'static str,
    /// What MessagePack found instead.
    pub reason: String,
}

thread_local! {
    static WRITING: RefCell<Option<Written>> = const { RefCell::new(None) };
    static READING: RefCell<Option<Vec<Name>>> = const { RefCell::new(None) };
}

/// The names that a message has written out, sorted, each with its number.
///
/// Records tell their names in order, and mostly the same ones: a name is either greater than all before it, or the one
/// that followed its predecessor the last time. Both are found without a search, and without hashing.
#[derive(Default)]
struct Written {
    names: Vec<(Name, u32)>,
    /// Where the next name is expected.
    next: usize,
}

impl Written {
    /// The number of a name that was written out already; otherwise gives it the next one.
    fn number(&mut self, name: &Name) -> Option<u32> {
        let place = match self.names.get(self.next) {
            Some((expected, _)) if expected == name => Ok(self.next),
            None if self.names.last().is_none_or(|(last, _)| last < name) => Err(self.next),
            _ => self.names.binary_search_by(|(other, _)| other.cmp(name)),
        };
        let (place, number) = match place {
            Ok(place) => (place, Some(self.names[place].1)),
            Err(place) => {
                let number = u32::try_from(self.names.len()).ok()?;
                self.names.insert(place, (name.clone(), number));
                (place, None)
            }
        };
        self.next = place + 1;
        number
    }
}

/// Clears the table of names at the end of a message, whichever way it ends.
struct Scope(fn());

impl Drop for Scope {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Writes a message.
///
/// # Errors
/// If a value cannot be written, for instance a map whose length is unknown.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Vec<u8>, CodecError> {
    WRITING.set(Some(Written::default()));
    let _scope = Scope(|| WRITING.set(None));
    rmp_serde::to_vec_named(message).map_err(|error| problem::<T>(&error))
}

/// Reads a message; bytes after its end are an error.
///
/// # Errors
/// If the bytes are not a message of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    READING.set(Some(Vec::new()));
    let _scope = Scope(|| READING.set(None));
    let mut rest = bytes;
    let message = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest)).map_err(|error| problem::<T>(&error))?;
    if rest.is_empty() { Ok(message) } else { Err(problem::<T>(&format!("{} bytes after its end", rest.len()))) }
}

fn problem<T: ?Sized>(reason: &dyn fmt::Display) -> CodecError {
    let name = std::any::type_name::<T>();
    CodecError { expected: name.rsplit("::").next().unwrap_or(name), reason: reason.to_string() }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.len() * 2))?;
        for (name, value) in self.iter() {
            match number_of(name) {
                Some(number) => seq.serialize_element(&number)?,
                None => seq.serialize_element(&**name)?,
            }
            seq.serialize_element(value)?;
        }
        seq.end()
    }
}

/// See [`Written::number`]; outside a message every name is written out.
fn number_of(name: &Name) -> Option<u32> {
    WRITING.with_borrow_mut(|written| written.as_mut()?.number(name))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of names and values in turn")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::new();
                while let Some(WireName(name)) = seq.next_element()? {
                    let value = seq
                        .next_element::<crate::Value>()?
                        .ok_or_else(|| de::Error::custom(format!("field `{name}` has no value")))?;
                    if fields.set(name.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("field `{name}` is there twice")));
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_seq(FieldsVisitor)
    }
}

struct WireName(Name);

impl<'de> Deserialize<'de> for WireName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = WireName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name, or the number of one that stood before")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireName, E> {
                let name = Name::from(text);
                READING.with_borrow_mut(|table| table.as_mut().map(|table| table.push(name.clone())));
                Ok(WireName(name))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<WireName, E> {
                READING
                    .with_borrow(|table| {
                        table.as_ref().and_then(|table| table.get(usize::try_from(number).ok()?).cloned())
                    })
                    .map(WireName)
                    .ok_or_else(|| E::custom(format!("field name number {number} was never written out")))
            }
        }
        deserializer.deserialize_any(NameVisitor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::Value;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Two {
        first: Fields,
        second: Fields,
    }

    #[test]
    fn names_are_written_once() {
        let fields: Fields = [("emails/1/address", "ada@example.org"), ("name/full", "Ada")].into_iter().collect();
        let two = Two { first: fields.clone(), second: fields };
        let bytes = encode(&two).unwrap();
        assert_eq!(bytes.windows(9).filter(|window| window == b"name/full").count(), 1);
        assert_eq!(decode::<Two>(&bytes).unwrap(), two);
    }

    #[test]
    fn records_of_any_shape_come_back() {
        let record = |names: &[&str]| names.iter().map(|name| (*name, *name)).collect::<Fields>();
        let shapes: &[&[&str]] =
            &[&["b", "d", "f"], &["b", "d", "f"], &["a", "d", "e"], &[], &["f"], &["a", "b", "c", "d", "e", "f", "g"]];
        let page: Vec<Fields> = shapes.iter().map(|names| record(names)).collect();
        let bytes = encode(&page).unwrap();
        assert_eq!(decode::<Vec<Fields>>(&bytes).unwrap(), page);
        // Numbers are given in the order of first occurrence, whatever the order of the alphabet.
        assert_eq!(bytes, encode(&decode::<Vec<Fields>>(&bytes).unwrap()).unwrap());
        assert!(encode(&[record(&["b", "d"]), record(&["a", "b"])]).unwrap().ends_with(b"\xa1a\xa1a\x00\xa1b"));
    }

    #[test]
    fn a_broken_message_is_an_error_that_says_why() {
        let number_first = rmp_serde::to_vec(&(7u8, "x")).unwrap();
        assert!(decode::<Fields>(&number_first).unwrap_err().reason.contains("number 7 was never written out"));
        let twice = rmp_serde::to_vec(&("a", 1, "a", 2)).unwrap();
        assert!(decode::<Fields>(&twice).unwrap_err().reason.contains("`a` is there twice"));
        let odd = rmp_serde::to_vec(&("a", 1, "b")).unwrap();
        assert!(decode::<Fields>(&odd).unwrap_err().reason.contains("`b` has no value"));
        assert!(decode::<Value>(b"\xc0\xc0").unwrap_err().reason.contains("after its end"));
    }

    #[test]
    fn every_kind_of_value_survives() {
        let value = Value::List(vec![Value::Null, true.into(), (-5).into(), Value::Float(1.5), "ü\n".into()]);
        assert_eq!(decode::<Value>(&encode(&value).unwrap()).unwrap(), value);
    }
}
