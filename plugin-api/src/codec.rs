//! How messages become bytes: MessagePack with named members, and field names sent once a message.
//!
//! Members are named so that both ends may be of different age: a reader ignores members it does not know and takes the
//! default for members it does not find. The names of *record fields* repeat in every record; inside one message each of
//! them is written out once and afterwards by its number, counted from 0 in the order of first occurrence.
//!
//! Who keeps many messages may keep their field names apart, in [`Names`]: then no message spells any of them. Such a name
//! is a negative number, -1 for the first, so that both kinds of message can be told apart name by name.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::de::{self, DeserializeOwned, DeserializeSeed, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fields::{Fields, Outline};
use crate::value::Name;

/// Bytes that are not the message that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {expected}: {reason}")]
pub struct CodecError {
    /// The Rust type that was to be read or written, without its path.
    pub expected: &'static str,
    /// What MessagePack found instead.
    pub reason: String,
}

/// How many names ahead one is looked for before it is searched among all.
const LOOK_AHEAD: usize = 16;

/// Bytes that a message mostly has at least: a record or a list of them.
const USUAL_MESSAGE: usize = 1024;

thread_local! {
    static WRITING: RefCell<Option<Written>> = const { RefCell::new(None) };
    static READING: RefCell<Option<Read>> = const { RefCell::new(None) };
    /// The outline of the last fields that were read: records mostly have the names of the one before.
    static LAST_READ: RefCell<Outline> = RefCell::default();
    /// The bytes of the last message that was written: most are as long as the one before, and one that grows is there twice.
    static LAST_LENGTH: Cell<usize> = const { Cell::new(0) };
}

/// A name that others may have, too, so that most comparisons are of one and the same. So many are kept, for ever.
static SHARED: LazyLock<Mutex<HashSet<Name>>> = LazyLock::new(Mutex::default);
const MOST_SHARED: usize = 10_000;

/// The one [`Name`] of this spelling in this process, as long as there are not too many.
#[must_use]
pub fn shared(name: &str) -> Name {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = shared.get(name) {
        return known.clone();
    }
    let name = Name::from(name);
    if shared.len() < MOST_SHARED {
        shared.insert(name.clone());
    }
    name
}

/// Field names with numbers, kept apart from the messages that use them. A number stays with its name for ever, so that
/// older messages can be read as long as the names are kept.
///
/// ```
/// use pairwise_plugin_api::{Fields, codec};
/// let mut names = codec::Names::default();
/// let fields: Fields = [("name/full", "Ada Lovelace")].into_iter().collect();
/// let bytes = codec::encode_with(&fields, &mut names)?;
/// assert_eq!(names.since(0), ["name/full".into()]);   // to be kept before the bytes are
/// assert_eq!(codec::decode_with::<Fields>(&bytes, &names)?, fields);
/// # Ok::<(), codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Names {
    written: Written,
    by_number: Arc<Vec<Name>>,
}

impl Names {
    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// True if there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The names in the order of their numbers, without the first `known`.
    #[must_use]
    pub fn since(&self, known: usize) -> &[Name] {
        self.by_number.get(known..).unwrap_or_default()
    }
}

impl FromIterator<Name> for Names {
    /// In the order of their numbers.
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        let by_number: Vec<Name> = names.into_iter().collect();
        let mut sorted: Vec<(Name, i64)> = by_number.iter().cloned().zip((0..).map(kept_number)).collect();
        sorted.sort();
        Names { written: Written { names: sorted, next: 0, kept: true }, by_number: Arc::new(by_number) }
    }
}

/// The number on the wire of a name that is kept apart.
fn kept_number(place: i64) -> i64 {
    -1 - place
}

/// The names that a message has written out, or that are kept apart: sorted, each with its number.
///
/// Records tell their names in order, and mostly the same ones, if with gaps: a name is either greater than all before it, or
/// one of those that followed its predecessor the last time. Both are found without a search, and without hashing.
#[derive(Debug, Clone, Default)]
struct Written {
    names: Vec<(Name, i64)>,
    /// Where the next name is expected.
    next: usize,
    /// New names are kept apart, too.
    kept: bool,
}

impl Written {
    /// The number of a name; `None` where it gets one now and is to be written out.
    fn number(&mut self, name: &Name) -> Option<i64> {
        let ahead = self.names.iter().skip(self.next).take(LOOK_AHEAD);
        let place = match ahead.clone().position(|(ahead, _)| Arc::ptr_eq(ahead, name)) {
            Some(gap) => Ok(self.next + gap),
            None if ahead.len() == 0 && self.names.last().is_none_or(|(last, _)| last < name) => Err(self.next),
            None => self.names.binary_search_by(|(other, _)| other.cmp(name)),
        };
        let (place, number) = match place {
            Ok(place) => (place, Some(self.names[place].1)),
            Err(place) => {
                let number = i64::try_from(self.names.len()).ok()?;
                let number = if self.kept { kept_number(number) } else { number };
                self.names.insert(place, (name.clone(), number));
                (place, self.kept.then_some(number))
            }
        };
        self.next = place + 1;
        number
    }
}

/// The names that a message can mean by numbers.
#[derive(Debug, Default)]
struct Read {
    written_out: Vec<Name>,
    kept: Arc<Vec<Name>>,
}

impl Read {
    fn name(&self, number: i64) -> Option<&Name> {
        match usize::try_from(number) {
            Ok(number) => self.written_out.get(number),
            Err(_) => self.kept.get(usize::try_from(kept_number(number)).ok()?),
        }
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
    write(message)
}

/// Writes a message whose field names are kept apart. Names that are new to it are added.
///
/// # Errors
/// As [`encode`].
pub fn encode_with<T: Serialize + ?Sized>(message: &T, names: &mut Names) -> Result<Vec<u8>, CodecError> {
    let written = Written { kept: true, ..std::mem::take(&mut names.written) };
    WRITING.set(Some(written));
    let _scope = Scope(|| WRITING.set(None));
    let bytes = write(message);
    names.written = WRITING.take().unwrap_or_default();
    let known = names.by_number.len();
    if names.written.names.len() > known {
        let mut new: Vec<&(Name, i64)> =
            names.written.names.iter().filter(|(_, number)| kept_number(*number) >= known as i64).collect();
        new.sort_by_key(|(_, number)| kept_number(*number));
        Arc::make_mut(&mut names.by_number).extend(new.into_iter().map(|(name, _)| name.clone()));
    }
    bytes
}

fn write<T: Serialize + ?Sized>(message: &T) -> Result<Vec<u8>, CodecError> {
    let last = LAST_LENGTH.get();
    let mut bytes = Vec::with_capacity(USUAL_MESSAGE.max(last + last / 8));
    rmp_serde::encode::write_named(&mut bytes, message).map_err(|error| problem::<T>(&error))?;
    LAST_LENGTH.set(bytes.len());
    Ok(bytes)
}

/// Reads a message; bytes after its end are an error.
///
/// # Errors
/// If the bytes are not a message of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    read(bytes, Read::default())
}

/// Reads a message whose field names may be kept apart.
///
/// # Errors
/// As [`decode`], and if a name is not among those that were kept.
pub fn decode_with<T: DeserializeOwned>(bytes: &[u8], names: &Names) -> Result<T, CodecError> {
    read(bytes, Read { written_out: Vec::new(), kept: names.by_number.clone() })
}

fn read<T: DeserializeOwned>(bytes: &[u8], names: Read) -> Result<T, CodecError> {
    READING.set(Some(names));
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
        // Taken out once for all fields: values hold no fields, so nobody else asks for it meanwhile. After an error there
        // is no message that it could serve.
        let mut written = WRITING.take();
        let mut seq = serializer.serialize_seq(Some(self.len() * 2))?;
        for (name, value) in self.iter() {
            // Outside a message every name is written out.
            match written.as_mut().and_then(|written| written.number(name)) {
                Some(number) => seq.serialize_element(&number)?,
                None => seq.serialize_element(&**name)?,
            }
            seq.serialize_element(value)?;
        }
        WRITING.set(written);
        seq.end()
    }
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
                // Taken out once for all fields, as in writing.
                let mut names = READING.take();
                let mut outline = LAST_READ.take();
                let mut fields = Fields::within(&outline);
                while let Some(name) = seq.next_element_seed(WireName(names.as_mut()))? {
                    let name = match &name {
                        Named::Out(name) => name,
                        Named::Known(number) => {
                            names.as_ref().and_then(|names| names.name(*number)).ok_or_else(|| {
                                de::Error::custom(format!("field name number {number} was never written out"))
                            })?
                        }
                    };
                    let value = seq
                        .next_element::<crate::Value>()?
                        .ok_or_else(|| de::Error::custom(format!("field `{name}` has no value")))?;
                    if !fields.add(name, value) {
                        return Err(de::Error::custom(format!("field `{name}` is there twice")));
                    }
                }
                if fields.is_strange() {
                    outline = fields.iter().map(|(name, _)| name.clone()).collect();
                }
                LAST_READ.set(outline);
                READING.set(names);
                Ok(fields)
            }
        }
        deserializer.deserialize_seq(FieldsVisitor)
    }
}

/// Reads a name, written out or by its number.
struct WireName<'n>(Option<&'n mut Read>);

/// A name as it stands in a message.
enum Named {
    Out(Name),
    Known(i64),
}

impl<'de> DeserializeSeed<'de> for WireName<'_> {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for WireName<'_> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name, or the number of one")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Named, E> {
        let name = shared(text);
        if let Some(names) = self.0 {
            names.written_out.push(name.clone());
        }
        Ok(Named::Out(name))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Named, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Named, E> {
        Ok(Named::Known(number))
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
    fn names_that_are_kept_apart_are_not_written_at_all() {
        let record = |names: &[&str]| names.iter().map(|name| (*name, *name)).collect::<Fields>();
        let mut names: Names = ["m".into(), "b".into()].into_iter().collect();
        let page = vec![record(&["b", "d", "m"]), record(&["a", "d"]), record(&["b", "d", "m"])];
        let bytes = encode_with(&page, &mut names).unwrap();
        assert_eq!(names.since(2), ["d".into(), "a".into()]);
        assert!(bytes.starts_with(b"\x93\x96\xfe\xa1b\xfd\xa1d\xff\xa1m\x94\xfc\xa1a"), "{bytes:x?}");
        assert_eq!(decode_with::<Vec<Fields>>(&bytes, &names).unwrap(), page);
        // Names that were read back give the same numbers, and older messages are read beside newer ones.
        let mut again: Names = names.since(0).iter().cloned().collect();
        assert_eq!(encode_with(&page, &mut again).unwrap(), bytes);
        assert_eq!(decode_with::<Vec<Fields>>(&encode(&page).unwrap(), &again).unwrap(), page);
        let stranger = decode::<Vec<Fields>>(&bytes).unwrap_err();
        assert!(stranger.reason.contains("number -2 was never written out"), "{stranger}");
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
        let value = Value::from(vec![Value::Null, true.into(), (-5).into(), Value::Float(1.5), "ü\n".into()]);
        assert_eq!(decode::<Value>(&encode(&value).unwrap()).unwrap(), value);
    }
}
