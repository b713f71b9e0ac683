//! What a condition says of a record.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Operator;
use super::parse::Expression;
use crate::infor_crm::answer::Refusal;
use crate::infor_crm::model::{self, Entity};

/// A value while a condition is worked out.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::infor_crm) enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// Milliseconds since 1970.
    Time(i64),
}

/// Order as the database has it: null first.
pub(in crate::infor_crm) trait Compare {
    fn order(&self, other: &Self) -> Ordering;
}

impl Compare for Scalar {
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Scalar::Null, Scalar::Null) => Ordering::Equal,
            (Scalar::Null, _) => Ordering::Less,
            (_, Scalar::Null) => Ordering::Greater,
            (left, right) => left.compare(right).unwrap_or(Ordering::Equal),
        }
    }
}

impl Scalar {
    /// `None` if one is null, or they cannot be compared.
    fn compare(&self, other: &Scalar) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
            (Scalar::Number(a), Scalar::Number(b)) => a.partial_cmp(b),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            (Scalar::Time(a), Scalar::Time(b)) => Some(a.cmp(b)),
            // Flags are stored as T and F, and people write them so.
            (Scalar::Bool(a), Scalar::Text(b)) => Some(a.cmp(&matches!(b.as_str(), "T" | "true"))),
            (Scalar::Text(_), Scalar::Bool(_)) => other.compare(self).map(Ordering::reverse),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Scalar::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A condition on the records of one entity.
#[derive(Debug, Clone)]
pub(in crate::infor_crm) struct Condition {
    expression: Expression,
    /// Relations that its paths go through. A record for which one of them leads nowhere is left out, as by an inner join.
    through: BTreeSet<Vec<String>>,
    now: i64,
}

const FUNCTIONS: [&str; 20] = [
    "concat",
    "left",
    "right",
    "length",
    "lower",
    "upper",
    "substring",
    "trim",
    "abs",
    "floor",
    "round",
    "sign",
    "currenttimestamp",
    "dateadd",
    "datesub",
    "year",
    "month",
    "day",
    "hour",
    "minute",
];

impl Condition {
    /// Looks up all names.
    pub(in crate::infor_crm) fn new(expression: Expression, entity: &Entity, now: i64) -> Result<Self, Refusal> {
        let mut through = BTreeSet::new();
        visit(&expression, &mut |part| match part {
            Expression::Path(path) => {
                check(entity, path)?;
                through.extend((1..path.len()).map(|depth| path[..depth].to_vec()));
                Ok(())
            }
            Expression::Call(name, _) if !FUNCTIONS.contains(&name.as_str()) && name != "second" => {
                Err(Refusal::bad_where(format!("The function '{name}' is not known.")))
            }
            _ => Ok(()),
        })?;
        Ok(Condition { expression, through, now })
    }

    /// Whether a record fulfils it. `look` gives the value at a path, or of a relation the key that it holds.
    pub(in crate::infor_crm) fn holds(&self, look: &dyn Fn(&[String]) -> Scalar) -> bool {
        self.through.iter().all(|path| look(path) != Scalar::Null)
            && eval(&self.expression, look, self.now) == Scalar::Bool(true)
    }

    /// The earliest change time, of the record or one of its addresses, of records that can fulfil it, if it says one.
    pub(in crate::infor_crm) fn changed_since(&self) -> Option<i64> {
        since(&self.expression)
    }

    /// The keys of records that can fulfil it, if it names them.
    pub(in crate::infor_crm) fn keys(&self, entity: &Entity) -> Option<Vec<&str>> {
        let is_key =
            |path: &Expression| matches!(path, Expression::Path(path) if path.len() == 1 && entity.is_key(&path[0]));
        conjuncts(&self.expression).into_iter().find_map(|part| match part {
            Expression::Binary(Operator::Eq, path, key) if is_key(path) => match &**key {
                Expression::Text(key) => Some(vec![key.as_str()]),
                _ => None,
            },
            Expression::In(path, keys) if is_key(path) => keys
                .iter()
                .map(|key| match key {
                    Expression::Text(key) => Some(key.as_str()),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }
}

fn since(expression: &Expression) -> Option<i64> {
    let bound = |path: &Expression, time: &Expression| match (path, time) {
        (Expression::Path(path), Expression::Time(time)) if is_modify_date(path) => Some(*time),
        _ => None,
    };
    match expression {
        Expression::Binary(Operator::Gt | Operator::Ge, path, time) => bound(path, time),
        Expression::Between(path, low, _) => bound(path, low),
        Expression::Binary(Operator::And, left, right) => since(left).max(since(right)),
        Expression::Binary(Operator::Or, left, right) => since(left).zip(since(right)).map(|(a, b)| a.min(b)),
        _ => None,
    }
}

fn is_modify_date(path: &[String]) -> bool {
    let own = path.last().is_some_and(|name| name.eq_ignore_ascii_case("ModifyDate"));
    own && match path {
        [_] => true,
        [relation, _] => ["address", "shippingaddress"].contains(&relation.to_lowercase().as_str()),
        _ => false,
    }
}

/// The parts of which all must hold.
fn conjuncts(expression: &Expression) -> Vec<&Expression> {
    match expression {
        Expression::Binary(Operator::And, left, right) => [conjuncts(left), conjuncts(right)].concat(),
        other => vec![other],
    }
}

fn visit<'a>(
    expression: &'a Expression,
    see: &mut dyn FnMut(&'a Expression) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    see(expression)?;
    match expression {
        Expression::Not(inner) | Expression::Negative(inner) => visit(inner, see),
        Expression::Binary(_, left, right) => visit(left, see).and_then(|()| visit(right, see)),
        Expression::Between(value, low, high) => [value, low, high].into_iter().try_for_each(|part| visit(part, see)),
        Expression::In(value, list) => {
            visit(value, see)?;
            list.iter().try_for_each(|part| visit(part, see))
        }
        Expression::Call(_, arguments) => arguments.iter().try_for_each(|part| visit(part, see)),
        _ => Ok(()),
    }
}

fn check(entity: &Entity, path: &[String]) -> Result<(), Refusal> {
    let unknown = |entity: &Entity, name: &str| {
        Refusal::rule(format!("could not resolve property: {name} of: Sage.SalesLogix.Entities.{}", entity.name))
    };
    let Some((last, relations)) = path.split_last() else { return Ok(()) };
    let mut at = entity;
    for name in relations {
        at = model::by_name(&at.relation(name).filter(|found| !found.many).ok_or_else(|| unknown(at, name))?.target);
    }
    let known = at.is_key(last) || at.property(last).is_some() || at.relation(last).is_some_and(|found| !found.many);
    if known { Ok(()) } else { Err(unknown(at, last)) }
}

fn eval(expression: &Expression, look: &dyn Fn(&[String]) -> Scalar, now: i64) -> Scalar {
    let value = |part: &Expression| eval(part, look, now);
    match expression {
        Expression::Text(text) => Scalar::Text(text.clone()),
        Expression::Number(number) => Scalar::Number(*number),
        Expression::Time(time) => Scalar::Time(*time),
        Expression::Bool(is) => Scalar::Bool(*is),
        Expression::Null => Scalar::Null,
        Expression::Path(path) => look(path),
        Expression::Not(inner) => match value(inner) {
            Scalar::Bool(is) => Scalar::Bool(!is),
            _ => Scalar::Null,
        },
        Expression::Negative(inner) => value(inner).number().map_or(Scalar::Null, |number| Scalar::Number(-number)),
        Expression::Between(of, low, high) => {
            let (of, low, high) = (value(of), value(low), value(high));
            let above = of.compare(&low).map(Ordering::is_ge);
            let below = of.compare(&high).map(Ordering::is_le);
            above.zip(below).map_or(Scalar::Null, |(above, below)| Scalar::Bool(above && below))
        }
        Expression::In(of, list) => {
            let of = value(of);
            if of == Scalar::Null {
                return Scalar::Null;
            }
            Scalar::Bool(list.iter().any(|item| of.compare(&value(item)) == Some(Ordering::Equal)))
        }
        Expression::Call(name, arguments) => call(name, &arguments.iter().map(value).collect::<Vec<_>>(), now),
        Expression::Binary(operator, left, right) => binary(*operator, &value(left), &value(right), right),
    }
}

fn binary(operator: Operator, left: &Scalar, right: &Scalar, written: &Expression) -> Scalar {
    let ordered =
        |test: fn(Ordering) -> bool| left.compare(right).map_or(Scalar::Null, |order| Scalar::Bool(test(order)));
    let numbers = |work: fn(f64, f64) -> f64| match (left.number(), right.number()) {
        (Some(left), Some(right)) => Scalar::Number(work(left, right)),
        _ => Scalar::Null,
    };
    match operator {
        Operator::And => match (left, right) {
            (Scalar::Bool(false), _) | (_, Scalar::Bool(false)) => Scalar::Bool(false),
            (Scalar::Bool(true), Scalar::Bool(true)) => Scalar::Bool(true),
            _ => Scalar::Null,
        },
        Operator::Or => match (left, right) {
            (Scalar::Bool(true), _) | (_, Scalar::Bool(true)) => Scalar::Bool(true),
            (Scalar::Bool(false), Scalar::Bool(false)) => Scalar::Bool(false),
            _ => Scalar::Null,
        },
        // Only a null that is written asks whether there is a value.
        Operator::Eq if *written == Expression::Null => Scalar::Bool(*left == Scalar::Null),
        Operator::Ne if *written == Expression::Null => Scalar::Bool(*left != Scalar::Null),
        Operator::Eq => ordered(Ordering::is_eq),
        Operator::Ne => ordered(Ordering::is_ne),
        Operator::Lt => ordered(Ordering::is_lt),
        Operator::Le => ordered(Ordering::is_le),
        Operator::Gt => ordered(Ordering::is_gt),
        Operator::Ge => ordered(Ordering::is_ge),
        Operator::Like => match (left.text(), right.text()) {
            (Some(text), Some(pattern)) => Scalar::Bool(like(text, pattern)),
            _ => Scalar::Null,
        },
        Operator::Plus => numbers(|left, right| left + right),
        Operator::Minus => numbers(|left, right| left - right),
        Operator::Mul => numbers(|left, right| left * right),
        Operator::Div => numbers(|left, right| left / right),
        Operator::Mod => numbers(|left, right| left % right),
    }
}

/// `%` stands for any text, `_` for one character.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => (t, p) = (t + 1, p + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (t, p) = (from + 1, star + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

fn call(name: &str, arguments: &[Scalar], now: i64) -> Scalar {
    let text = |index: usize| arguments.get(index).and_then(Scalar::text);
    let number = |index: usize| arguments.get(index).and_then(Scalar::number);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of characters in a condition")]
    let count = |index: usize| number(index).map(|number| number.max(0.0) as usize);
    let of_text = |work: &dyn Fn(&str) -> String| text(0).map_or(Scalar::Null, |text| Scalar::Text(work(text)));
    let of_number = |work: fn(f64) -> f64| number(0).map_or(Scalar::Null, |number| Scalar::Number(work(number)));
    let part = |pick: fn(&jiff::Zoned) -> i32| match arguments.first() {
        Some(Scalar::Time(time)) => {
            let time = Timestamp::from_millisecond(*time).unwrap_or_default().to_zoned(TimeZone::UTC);
            Scalar::Number(f64::from(pick(&time)))
        }
        _ => Scalar::Null,
    };
    #[allow(clippy::cast_possible_truncation, reason = "days in milliseconds")]
    let days = |sign: f64| match (arguments.first(), number(1)) {
        (Some(Scalar::Time(time)), Some(days)) => Scalar::Time(time + (sign * days * 86_400_000.0) as i64),
        _ => Scalar::Null,
    };
    match name {
        "concat" => Scalar::Text(arguments.iter().filter_map(Scalar::text).collect()),
        "left" => of_text(&|text| text.chars().take(count(1).unwrap_or(0)).collect()),
        "right" => of_text(&|text| {
            let skip = text.chars().count().saturating_sub(count(1).unwrap_or(0));
            text.chars().skip(skip).collect()
        }),
        // Positions count from 1.
        "substring" => of_text(&|text| {
            let start = count(1).unwrap_or(1).saturating_sub(1);
            text.chars().skip(start).take(count(2).unwrap_or(usize::MAX)).collect()
        }),
        "lower" => of_text(&str::to_lowercase),
        "upper" => of_text(&str::to_uppercase),
        "trim" => of_text(&|text| text.trim().to_owned()),
        #[allow(clippy::cast_precision_loss, reason = "the length of a text")]
        "length" => text(0).map_or(Scalar::Null, |text| Scalar::Number(text.chars().count() as f64)),
        "abs" => of_number(f64::abs),
        "floor" => of_number(f64::floor),
        "round" => of_number(f64::round),
        "sign" => of_number(|number| if number == 0.0 { 0.0 } else { number.signum() }),
        "currenttimestamp" => Scalar::Time(now),
        "dateadd" => days(1.0),
        "datesub" => days(-1.0),
        "year" => part(|time| i32::from(time.year())),
        "month" => part(|time| i32::from(time.month())),
        "day" => part(|time| i32::from(time.day())),
        "hour" => part(|time| i32::from(time.hour())),
        "minute" => part(|time| i32::from(time.minute())),
        "second" => part(|time| i32::from(time.second())),
        _ => Scalar::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infor_crm::condition::parse;

    fn holds(text: &str) -> bool {
        let expression = parse(text, 0).expect("a good condition");
        let condition = Condition::new(expression, model::by_name("Contact"), 1_000).expect("names that are there");
        condition.holds(&|path| match path.join(".").as_str() {
            "LastName" => Scalar::Text("O'Hara".into()),
            "Email" | "Address" | "Address.City" => Scalar::Null,
            "Account" => Scalar::Text("A1".into()),
            "Account.AccountName" => Scalar::Text("Abbott Ltd.".into()),
            "DoNotEmail" => Scalar::Bool(true),
            "YearGraduated" => Scalar::Number(1999.0),
            "ModifyDate" => Scalar::Time(86_400_000),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn conditions_hold() {
        for text in [
            "LastName eq 'O''Hara'",
            "upper(LastName) eq \"O'HARA\"",
            "LastName like 'O%ra' and LastName like '_''%'",
            "LastName in ('x', 'O''Hara')",
            "DoNotEmail",
            "DoNotEmail eq true and DoNotEmail eq 'T'",
            "not (LastName eq 'x')",
            "Email eq null and LastName ne null",
            "YearGraduated between 1990 and 2000",
            "YearGraduated mod 100 eq 99 and -YearGraduated lt 0 and YearGraduated eq 1998 + 1",
            "ModifyDate ge @1970-01-02T00:00:00Z@ and day(ModifyDate) eq 2",
            "ModifyDate lt dateAdd(currentTimestamp(), 2)",
            "Account.AccountName eq 'Abbott Ltd.'",
            "concat(left(LastName, 2), right(LastName, 1)) eq \"O'a\" and length(LastName) eq 6",
            "substring(LastName, 3, 2) eq 'Ha' and trim(' a ') eq 'a'",
        ] {
            assert!(holds(text), "{text}");
        }
    }

    #[test]
    fn null_is_neither_true_nor_false() {
        for text in ["Email eq 'x'", "Email ne 'x'", "not (Email eq 'x')", "LastName eq 'o''hara'"] {
            assert!(!holds(text), "{text}");
        }
        assert!(holds("Email eq 'x' or LastName eq 'O''Hara'"));
        // Through a relation that leads nowhere the whole record is left out.
        assert!(!holds("Address.City eq 'x' or LastName eq 'O''Hara'"));
    }

    #[test]
    fn names_must_be_there() {
        let refuse = |text: &str| {
            let expression = parse(text, 0).expect("good syntax");
            Condition::new(expression, model::by_name("Contact"), 0).expect_err(text).code
        };
        assert_eq!(refuse("Colour eq 'red'"), "ApplicationDiagnosis");
        assert_eq!(refuse("Account.Colour eq 'red'"), "ApplicationDiagnosis");
        assert_eq!(refuse("Addresses.City eq 'x'"), "ApplicationDiagnosis");
        assert_eq!(refuse("replace(LastName, 'a', 'b') eq 'x'"), "BadWhereSyntax");
    }

    #[test]
    fn what_narrows_a_search_is_found() {
        let contact = model::by_name("Contact");
        let read = |text: &str| Condition::new(parse(text, 0).expect("good"), contact, 0).expect("known");
        assert_eq!(read("LastName ne 'x' and ModifyDate gt @1970-01-01T00:00:01Z@").changed_since(), Some(1_000));
        assert_eq!(read("ModifyDate gt @1970-01-01@ or LastName eq 'x'").changed_since(), None);
        let either = read("ModifyDate gt @1970-01-01T00:00:02Z@ or Address.ModifyDate ge @1970-01-01T00:00:01Z@");
        assert_eq!(either.changed_since(), Some(1_000));
        assert_eq!(read("Id in ('C1','C2')").keys(contact), Some(vec!["C1", "C2"]));
        assert_eq!(read("ContactId eq 'C1'").keys(contact), Some(vec!["C1"]));
    }
}
