//! Which records take part: predicates of a stream, judged one record at a time.

use std::borrow::Cow;

use pairwise_plugin_api::{FieldType, Fields, Millis, Record, Value};

use crate::model::value::{self, Compare, parse_time};
use crate::model::{Predicate, Test, When};

/// The first predicate that the record does not satisfy.
///
/// A name is looked up among the record's native fields first, then among its translated values. What the record does not
/// tell is taken for empty.
#[must_use]
pub fn refuses<'a>(tests: &'a [Predicate], record: &Record, values: &Fields, now: Millis) -> Option<&'a Predicate> {
    let seen = Seen { record, values, now };
    tests.iter().find(|predicate| !seen.satisfies(&predicate.test))
}

struct Seen<'a> {
    record: &'a Record,
    values: &'a Fields,
    now: Millis,
}

impl Seen<'_> {
    fn satisfies(&self, test: &Test) -> bool {
        match test {
            Test::Present(name) => !is_empty(self.value(name)),
            Test::Absent(name) => is_empty(self.value(name)),
            Test::In(name, wanted) => is_one_of(self.value(name), wanted),
            Test::NotIn(name, unwanted) => !is_one_of(self.value(name), unwanted),
            Test::Before(name, when) => self.time(name).zip(self.when(when)).is_some_and(|(time, limit)| time < limit),
            Test::After(name, when) => self.time(name).zip(self.when(when)).is_some_and(|(time, limit)| time > limit),
            Test::Any(tests) => tests.iter().any(|test| self.satisfies(test)),
        }
    }

    fn value(&self, name: &str) -> &Value {
        self.record.fields.get(name).or_else(|| self.values.get(name)).unwrap_or(&Value::Null)
    }

    fn time(&self, name: &str) -> Option<Millis> {
        self.value(name).as_text().and_then(parse_time)
    }

    fn when(&self, when: &When) -> Option<Millis> {
        match when {
            When::Now => Some(self.now),
            When::At(text) => parse_time(text),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.trim().is_empty(),
        value => value.is_empty(),
    }
}

/// Whether the value, or one value of a list, is among these. A flag that is not set is `false`.
fn is_one_of(value: &Value, candidates: &[Value]) -> bool {
    let items = match value {
        Value::List(list) if !list.is_empty() => list.as_slice(),
        value => std::slice::from_ref(value),
    };
    items.iter().any(|item| candidates.iter().any(|candidate| equal(item, candidate)))
}

fn equal(item: &Value, candidate: &Value) -> bool {
    let (kind, item) = match candidate {
        Value::Bool(_) if is_empty(item) => (FieldType::Bool, Cow::Owned(Value::Bool(false))),
        Value::Bool(_) => (FieldType::Bool, Cow::Borrowed(item)),
        Value::Int(_) | Value::Float(_) => (FieldType::Float, Cow::Borrowed(item)),
        _ => (FieldType::Text, Cow::Borrowed(item)),
    };
    value::same(Compare { kind, ..Compare::default() }, &item, candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Millis = 1_772_366_400_000; // 2026-03-01T12:00:00Z

    fn check(test: Test, field: &str, value: impl Into<Value>, expected: bool) {
        let record = Record { fields: [(field, value)].into_iter().collect(), ..Record::default() };
        let predicates = [Predicate { test, reason: "reason".into() }];
        assert_eq!(refuses(&predicates, &record, &Fields::new(), NOON).is_none(), expected, "{record:?}");
    }

    #[test]
    fn each_test_holds_where_it_should() {
        let name = || "f".into();
        let list = |items: &[&str]| Value::List(items.iter().map(|item| Value::from(*item)).collect());
        check(Test::Present(name()), "f", "x", true);
        check(Test::Present(name()), "f", " ", false);
        check(Test::Absent(name()), "other", "x", true);
        check(Test::In(name(), vec!["a".into(), "b".into()]), "f", "b", true);
        check(Test::In(name(), vec!["a".into()]), "f", list(&["x", "a"]), true);
        check(Test::In(name(), vec!["a".into()]), "f", "A", false);
        check(Test::In(name(), vec![false.into()]), "other", "x", true);
        check(Test::In(name(), vec![true.into()]), "f", "true", true);
        check(Test::In(name(), vec![5.into()]), "f", Value::Float(5.0), true);
        check(Test::NotIn(name(), vec!["a".into()]), "f", list(&["x", "a"]), false);
        check(Test::NotIn(name(), vec!["a".into()]), "other", "x", true);
        check(Test::After(name(), When::Now), "f", "2026-03-01T13:00:00+00:30", true);
        check(Test::After(name(), When::Now), "f", "2026-03-01T13:00:00+02:00", false);
        check(Test::After(name(), When::Now), "f", "2026-03-02", true);
        check(Test::After(name(), When::Now), "f", "soon", false);
        check(Test::Before(name(), When::At("2026-01-01".into())), "f", "2025-12-31", true);
        check(Test::Any(vec![Test::Present("no".into()), Test::Present(name())]), "f", "x", true);
    }

    #[test]
    fn the_first_refusal_is_named_and_translated_values_count() {
        let tests = [
            Predicate { test: Test::Present("title".into()), reason: "untitled".into() },
            Predicate { test: Test::Present("start".into()), reason: "no_start".into() },
        ];
        let values: Fields = [("title", "Lunch")].into_iter().collect();
        let refused = refuses(&tests, &Record::default(), &values, NOON);
        assert_eq!(refused.map(|predicate| predicate.reason.as_str()), Some("no_start"));
    }
}
