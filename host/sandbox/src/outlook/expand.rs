//! Occurrences of an event in a span of time.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::{Span, ToSpan};
use serde_json::{Map, Value};

use super::events::{CANCELLED, EXCEPTIONS, millis, zone};
use crate::store::Fields;

/// A series without an end is followed so far.
const MOST: usize = 2_000;

/// One of them; times in milliseconds.
pub(super) struct Occurrence {
    /// The day in the rule, which names it.
    pub(super) date: String,
    pub(super) original: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    /// What differs from the series.
    pub(super) exception: Option<Map<String, Value>>,
}

/// The occurrences that touch a span; a single event is its own only one.
pub(super) fn occurrences(fields: &Fields, from: i64, until: i64) -> Vec<Occurrence> {
    let (Some(start), Some(end)) = (millis(&fields["start"]), millis(&fields["end"])) else { return Vec::new() };
    let touches = |one: &Occurrence| one.start < until && one.end.max(one.start + 1) > from;
    let recurrence = fields.get("recurrence").filter(|rule| !rule.is_null());
    let clock: Option<DateTime> = fields["start"]["dateTime"].as_str().and_then(|text| text.parse().ok());
    let (Some(rule), Some(clock)) = (recurrence, clock) else {
        let one = Occurrence { date: String::new(), original: start, start, end, exception: None };
        return if touches(&one) { vec![one] } else { Vec::new() };
    };
    let zone = zone(fields["start"]["timeZone"].as_str().unwrap_or("UTC"));
    let gaps = fields.get(CANCELLED).and_then(Value::as_array);
    let exceptions = fields.get(EXCEPTIONS).and_then(Value::as_object);
    let mut found = Vec::new();
    for date in dates(rule, clock.date()) {
        let at = zone.as_ref().and_then(|zone| date.to_datetime(clock.time()).to_zoned(zone.clone()).ok());
        let Some(original) = at.map(|at| at.timestamp().as_millisecond()) else { continue };
        if original >= until && exceptions.is_none() {
            break;
        }
        let name = date.to_string();
        if gaps.into_iter().flatten().any(|gap| gap.as_str() == Some(&name)) {
            continue;
        }
        let exception = exceptions.and_then(|all| all.get(&name)).and_then(Value::as_object).cloned();
        let moved = |member: &str| exception.as_ref().and_then(|changes| millis(changes.get(member)?));
        let starts = moved("start").unwrap_or(original);
        let ends = moved("end").unwrap_or(starts + (end - start));
        let one = Occurrence { date: name, original, start: starts, end: ends, exception };
        if touches(&one) {
            found.push(one);
        }
    }
    found
}

/// The days of a rule, oldest first.
fn dates(rule: &Value, first: Date) -> Vec<Date> {
    let (pattern, range) = (&rule["pattern"], &rule["range"]);
    let interval = pattern["interval"].as_i64().unwrap_or(1).max(1);
    let last: Option<Date> = (range["type"] == "endDate").then(|| range["endDate"].as_str()?.parse().ok()).flatten();
    let most = match range["numberOfOccurrences"].as_u64() {
        Some(count) if range["type"] == "numbered" => usize::try_from(count).unwrap_or(MOST).min(MOST),
        _ => MOST,
    };
    let kind = pattern["type"].as_str().unwrap_or("daily");
    let named = pattern["daysOfWeek"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let days: Vec<Weekday> = named.filter_map(weekday).collect();
    let week_start = pattern["firstDayOfWeek"].as_str().and_then(weekday).unwrap_or(Weekday::Sunday);
    let mut found = Vec::new();
    for round in 0.. {
        let step = round * interval;
        let span = match kind {
            "daily" => Span::new().try_days(step),
            "weekly" => Span::new().try_weeks(step),
            "absoluteMonthly" | "relativeMonthly" => Span::new().try_months(step),
            _ => Span::new().try_years(step),
        };
        let period = match kind {
            "daily" => first,
            "weekly" => first.saturating_sub(i64::from(first.weekday().since(week_start)).days()),
            _ => first.first_of_month(),
        };
        let Some(period) = span.ok().and_then(|span| period.checked_add(span).ok()) else { return found };
        let month = pattern["month"].as_i64().and_then(|month| i8::try_from(month).ok());
        let within = match kind {
            "daily" => vec![period],
            "weekly" => (0..7)
                .map(|day| period.saturating_add(i64::from(day).days()))
                .filter(|day| days.contains(&day.weekday()))
                .collect(),
            "absoluteMonthly" | "absoluteYearly" => {
                let day = pattern["dayOfMonth"].as_i64().and_then(|day| i8::try_from(day).ok()).unwrap_or(1);
                let month = if kind == "absoluteYearly" { month.unwrap_or(period.month()) } else { period.month() };
                // Short months end earlier.
                Date::new(period.year(), month, 1)
                    .map(|begin| vec![begin.with().day(day.min(begin.days_in_month())).build().unwrap_or(begin)])
                    .unwrap_or_default()
            }
            _ => {
                let month = if kind == "relativeYearly" { month.unwrap_or(period.month()) } else { period.month() };
                nth(period.year(), month, &days, pattern["index"].as_str().unwrap_or("first")).into_iter().collect()
            }
        };
        for day in within.into_iter().filter(|day| *day >= first) {
            if last.is_some_and(|last| day > last) || found.len() >= most {
                return found;
            }
            found.push(day);
        }
        if round > i64::try_from(MOST).unwrap_or(i64::MAX) {
            return found;
        }
    }
    found
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name.to_ascii_lowercase().as_str() {
        "monday" => Weekday::Monday,
        "tuesday" => Weekday::Tuesday,
        "wednesday" => Weekday::Wednesday,
        "thursday" => Weekday::Thursday,
        "friday" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return None,
    })
}

/// The second Tuesday, the last working day.
fn nth(year: i16, month: i8, days: &[Weekday], index: &str) -> Option<Date> {
    let begin = Date::new(year, month, 1).ok()?;
    let fits: Vec<Date> = (0..begin.days_in_month())
        .map(|day| begin.saturating_add(i64::from(day).days()))
        .filter(|day| days.contains(&day.weekday()))
        .collect();
    match index {
        "second" => fits.get(1),
        "third" => fits.get(2),
        "fourth" => fits.get(3),
        "last" => fits.last(),
        _ => fits.first(),
    }
    .copied()
}
