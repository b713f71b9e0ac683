//! "The same value": the one place that decides it.
//!
//! Systems respell what they store: they compose accents, change line ends, cut white space, capitalise addresses, reorder
//! lists. Such a respelling is no edit. Two values are the same if their canonical forms are equal.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use pairwise_plugin_api::{FieldType, Millis, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What the catalogue says about how values of a field compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Compare {
    /// What values look like.
    pub kind: FieldType,
    /// Upper and lower case are the same.
    pub caseless: bool,
    /// The order of a list means something.
    pub ordered: bool,
}

/// Whether two values are the same.
#[must_use]
pub fn same(how: Compare, a: &Value, b: &Value) -> bool {
    a == b || canonical(how, a) == canonical(how, b)
}

/// A digest of the canonical form: equal for values that are the same, on any machine and in any version, because match keys
/// are stored.
#[must_use]
pub fn digest(how: Compare, value: &Value) -> u64 {
    let mut bytes = Vec::new();
    canonical(how, value).write(&mut bytes);
    digest_of(&bytes)
}

/// The first eight bytes of SHA-256.
pub(crate) fn digest_of(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// A text without the accidents of its spelling: composed (NFC), `\n` between lines, no white space at its ends; with
/// `caseless` also without the difference between capitals and small letters.
#[must_use]
pub fn canonical_text(text: &str, caseless: bool) -> Cow<'_, str> {
    let text = text.trim();
    if text.is_ascii() {
        let text = line_ends(text);
        return if caseless && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            text
        };
    }
    let composed = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => line_ends(text),
        _ => Cow::Owned(line_ends(&text.nfc().collect::<String>()).into_owned()),
    };
    if caseless { Cow::Owned(fold(&composed)) } else { composed }
}

/// Upper case first makes `ß` and `SS`, `ς` and `Σ` equal; composing again, because mapping may take characters apart.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// An instant, a local time or a date; what names no zone is taken as UTC.
#[must_use]
pub fn parse_time(text: &str) -> Option<Millis> {
    let text = text.trim();
    let local =
        |text: &str| text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    text.parse::<Timestamp>().ok().or_else(|| local(text)).map(Timestamp::as_millisecond)
}

/// The canonical form of a value. A float is its bits, so that every value equals itself.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Canonical<'a> {
    Empty,
    Bool(bool),
    Int(i64),
    Float(u64),
    Instant(i64),
    Text(Cow<'a, str>),
    List(Vec<Canonical<'a>>),
}

fn canonical(how: Compare, value: &Value) -> Canonical<'_> {
    match value {
        Value::Null => Canonical::Empty,
        Value::Bool(value) => Canonical::Bool(*value),
        Value::Int(value) => Canonical::Int(*value),
        Value::Float(value) => number(*value),
        Value::Text(text) => typed(how, text),
        Value::List(list) => {
            let mut list: Vec<Canonical<'_>> =
                list.iter().map(|value| canonical(how, value)).filter(|value| *value != Canonical::Empty).collect();
            if !how.ordered {
                list.sort();
                list.dedup();
            }
            if list.is_empty() { Canonical::Empty } else { Canonical::List(list) }
        }
    }
}

/// Text of a field whose values are not text for their owner.
fn typed(how: Compare, text: &str) -> Canonical<'_> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Canonical::Empty;
    }
    let typed = match how.kind {
        FieldType::Bool => trimmed.parse().ok().map(Canonical::Bool),
        FieldType::Int | FieldType::Float => {
            trimmed.parse().ok().map(Canonical::Int).or_else(|| trimmed.parse().ok().map(number))
        }
        FieldType::DateTime => {
            trimmed.parse::<Timestamp>().ok().map(|instant| Canonical::Instant(instant.as_millisecond()))
        }
        _ => None,
    };
    typed.unwrap_or_else(|| Canonical::Text(canonical_text(text, how.caseless)))
}

/// A number without a fraction is a whole number, wherever it came from.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked by the comparison")]
fn number<'a>(value: f64) -> Canonical<'a> {
    // Up to 2^53 every whole number has exactly one float.
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        Canonical::Int(value as i64)
    } else {
        Canonical::Float(value.to_bits())
    }
}

impl Canonical<'_> {
    /// Unambiguous bytes: a tag, and the length before what has one.
    fn write(&self, out: &mut Vec<u8>) {
        let tagged = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(bytes);
        };
        match self {
            Canonical::Empty => out.push(0),
            Canonical::Bool(value) => tagged(out, 1, &[u8::from(*value)]),
            Canonical::Int(value) => tagged(out, 2, &value.to_be_bytes()),
            Canonical::Float(value) => tagged(out, 3, &value.to_be_bytes()),
            Canonical::Instant(value) => tagged(out, 4, &value.to_be_bytes()),
            Canonical::Text(text) => {
                tagged(out, 5, &(text.len() as u64).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Canonical::List(list) => {
                tagged(out, 6, &(list.len() as u64).to_be_bytes());
                for value in list {
                    value.write(out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(how: Compare, a: impl Into<Value>, b: impl Into<Value>, expected: bool) {
        let (a, b) = (a.into(), b.into());
        assert_eq!(same(how, &a, &b), expected, "{a:?} and {b:?}");
        assert_eq!(digest(how, &a) == digest(how, &b), expected, "digests of {a:?} and {b:?}");
    }

    #[test]
    fn respellings_are_the_same_value() {
        let plain = Compare::default();
        check(plain, "Ren\u{e9}", "Rene\u{301}", true);
        check(plain, "a\r\nb\r\n", "a\nb", true);
        check(plain, "  x ", "x", true);
        check(plain, "", Value::Null, true);
        check(plain, " ", Value::from(vec![]), true);
        check(plain, "A", "a", false);
        check(plain, false, Value::Null, false);
        check(plain, 5, Value::Float(5.0), true);
        check(plain, 5, Value::Float(5.5), false);
        check(plain, 5, "5", false);
    }

    #[test]
    fn the_catalogue_says_what_counts() {
        let caseless = Compare { caseless: true, ..Compare::default() };
        check(caseless, "Ada@Example.COM", "ada@example.com", true);
        check(caseless, "Stra\u{df}e", "STRASSE", true);
        check(caseless, "\u{39f}\u{3b4}\u{3bf}\u{3c2}", "\u{39f}\u{394}\u{39f}\u{3a3}", true);
        let number = Compare { kind: FieldType::Float, ..Compare::default() };
        check(number, "5.0", 5, true);
        let time = Compare { kind: FieldType::DateTime, ..Compare::default() };
        check(time, "2026-03-01T09:30:00Z", "2026-03-01T10:30:00+01:00", true);
        check(time, "2026-03-01T09:30:00", "2026-03-01T09:30:00Z", false);
    }

    #[test]
    fn lists_are_sets_unless_ordered() {
        let list = |names: &[&str]| Value::List(names.iter().map(|name| Value::from(*name)).collect());
        let ordered = Compare { ordered: true, ..Compare::default() };
        check(Compare::default(), list(&["a", "b"]), list(&["b", "a", "a", ""]), true);
        check(ordered, list(&["a", "b"]), list(&["b", "a"]), false);
        check(ordered, list(&["a", ""]), list(&["a"]), true);
    }
}
