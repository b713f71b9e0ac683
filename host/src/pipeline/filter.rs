//! Which records take part: predicates of a stream, judged one record at a time.

use std::borrow::Cow;

use pairwise_plugin_api::{Catalogue, FieldType, Fields, Millis, Name, Record, Value};

use super::translate::{MapProblem, native_name};
use crate::model::value::{self, Compare, parse_time};
use crate::model::{Predicate, Side, Sides, Test, When};

/// A lane's predicates, their fields named as each side names them: a filter may look at fields that do not travel.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// What a record without a link must satisfy.
    pub admit: Sides<Vec<Predicate>>,
    /// What a record with a link must go on satisfying.
    pub follow: Sides<Vec<Predicate>>,
}

impl Filters {
    /// Looks the fields of a lane's predicates up.
    ///
    /// # Errors
    /// If a side has no such field.
    pub fn compile(
        admit: &Sides<Vec<Predicate>>,
        follow: &Sides<Vec<Predicate>>,
        entities: &Sides<Vec<String>>,
        catalogues: &Sides<Catalogue>,
    ) -> Result<Filters, MapProblem> {
        let mut filters = Filters { admit: admit.clone(), follow: follow.clone() };
        for side in Side::BOTH {
            for predicate in filters.admit[side].iter_mut().chain(&mut filters.follow[side]) {
                name_natively(&mut predicate.test, &|name: &Name| {
                    native_name(side, &entities[side], &catalogues[side], name)
                })?;
            }
        }
        Ok(filters)
    }

    /// The fields that a side's predicates look at.
    pub(super) fn fields(&self, side: Side) -> Vec<Name> {
        let mut names = Vec::new();
        for predicate in self.admit[side].iter().chain(&self.follow[side]) {
            collect_names(&predicate.test, &mut names);
        }
        names
    }
}

fn collect_names(test: &Test, names: &mut Vec<Name>) {
    match test {
        Test::Present(name)
        | Test::Absent(name)
        | Test::In(name, _)
        | Test::NotIn(name, _)
        | Test::Before(name, _)
        | Test::After(name, _) => names.push(name.clone()),
        Test::Any(tests) => tests.iter().for_each(|test| collect_names(test, names)),
    }
}

fn name_natively(test: &mut Test, native: &dyn Fn(&Name) -> Result<Name, MapProblem>) -> Result<(), MapProblem> {
    match test {
        Test::Present(name)
        | Test::Absent(name)
        | Test::In(name, _)
        | Test::NotIn(name, _)
        | Test::Before(name, _)
        | Test::After(name, _) => *name = native(name)?,
        Test::Any(tests) => tests.iter_mut().try_for_each(|test| name_natively(test, native))?,
    }
    Ok(())
}

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
        Value::List(list) if !list.is_empty() => list,
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
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
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
    fn a_filter_may_look_at_fields_that_do_not_travel() {
        use pairwise_plugin_api::{Entity, Field};

        let fields = vec![Field::new("Recurring", FieldType::Bool).path("recurring")];
        let side = Catalogue { entities: vec![Entity { name: "event".into(), fields, ..Entity::default() }] };
        let catalogues = Sides { left: side.clone(), right: side };
        let entities = Sides::from_fn(|_| vec!["event".to_owned()]);
        let unless = |name: &str| Predicate {
            test: Test::Any(vec![Test::In(name.into(), vec![false.into()])]),
            reason: "recurring".into(),
        };
        let mut admit = Sides { left: vec![unless("recurring")], right: Vec::new() };
        let filters = Filters::compile(&admit, &Sides::default(), &entities, &catalogues).unwrap();
        let series = Record { fields: [("Recurring", true)].into_iter().collect(), ..Record::default() };
        assert!(refuses(&filters.admit.left, &series, &Fields::new(), NOON).is_some());

        admit.right = vec![unless("recuring")];
        let problem = Filters::compile(&admit, &Sides::default(), &entities, &catalogues).unwrap_err();
        assert_eq!(problem.to_string(), "the right side has no field `recuring`; did you mean `Recurring`?");
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
