//! Recurrence: the rules of iCalendar and the patterns of Graph.
//!
//! The field holds lines as calendar files do (`RRULE:FREQ=WEEKLY;BYDAY=MO`), so that two calendars carry rules to each other.
//! A rule that Graph has no pattern for is refused rather than bent.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use pairwise_http::{Json, Object, json};
use pairwise_plugin_api::Value;

/// The native name and the canonical path.
pub(crate) const FIELD: &str = "recurrence";
pub(crate) const PATH: &str = "ical/property/RRULE";

const DAYS: [(&str, &str); 7] = [
    ("MO", "monday"),
    ("TU", "tuesday"),
    ("WE", "wednesday"),
    ("TH", "thursday"),
    ("FR", "friday"),
    ("SA", "saturday"),
    ("SU", "sunday"),
];

const ORDER: [(&str, &str); 5] = [("1", "first"), ("2", "second"), ("3", "third"), ("4", "fourth"), ("-1", "last")];

/// The field of a pattern; null for what does not recur.
pub(crate) fn read(recurrence: &Json, zone: Option<&str>, all_day: bool) -> Value {
    match rule(recurrence, zone, all_day) {
        Some(rule) => Value::from(vec![Value::from(format!("RRULE:{rule}"))]),
        None => Value::Null,
    }
}

fn rule(recurrence: &Json, zone: Option<&str>, all_day: bool) -> Option<String> {
    let pattern = &recurrence["pattern"];
    let days = || -> Vec<&str> {
        let named = pattern["daysOfWeek"].as_array().into_iter().flatten().filter_map(Json::as_str);
        named
            .filter_map(|name| DAYS.iter().find(|(_, day)| day.eq_ignore_ascii_case(name)))
            .map(|(day, _)| *day)
            .collect()
    };
    let index = || {
        let name = pattern["index"].as_str().unwrap_or("first");
        ORDER.iter().find(|(_, word)| *word == name).map_or("1", |(number, _)| number)
    };
    // Several days and an index: one set, of which one is taken.
    let nth = || match days().as_slice() {
        [day] => format!("BYDAY={}{day}", index()),
        days => format!("BYDAY={};BYSETPOS={}", days.join(","), index()),
    };
    let number = |member: &str| pattern[member].as_i64().unwrap_or(1);
    let (frequency, by) = match pattern["type"].as_str()? {
        "daily" => ("DAILY", String::new()),
        "weekly" => ("WEEKLY", format!("BYDAY={}", days().join(","))),
        "absoluteMonthly" => ("MONTHLY", format!("BYMONTHDAY={}", number("dayOfMonth"))),
        "relativeMonthly" => ("MONTHLY", nth()),
        "absoluteYearly" => ("YEARLY", format!("BYMONTH={};BYMONTHDAY={}", number("month"), number("dayOfMonth"))),
        "relativeYearly" => ("YEARLY", format!("BYMONTH={};{}", number("month"), nth())),
        _ => return None,
    };
    let mut parts = vec![format!("FREQ={frequency}")];
    let range = &recurrence["range"];
    match range["type"].as_str() {
        Some("endDate") => parts.push(format!("UNTIL={}", until(range["endDate"].as_str()?, zone, all_day)?)),
        Some("numbered") => parts.push(format!("COUNT={}", range["numberOfOccurrences"].as_i64()?)),
        _ => {}
    }
    if number("interval") > 1 {
        parts.push(format!("INTERVAL={}", number("interval")));
    }
    parts.extend(Some(by).filter(|by| !by.is_empty()));
    let first = pattern["firstDayOfWeek"].as_str().and_then(|name| DAYS.iter().find(|(_, day)| *day == name));
    if let Some((day, _)) = first.filter(|(day, _)| frequency == "WEEKLY" && number("interval") > 1 && *day != "MO") {
        parts.push(format!("WKST={day}"));
    }
    Some(parts.join(";"))
}

/// The last day as a rule says it: a day for whole days, else the end of that day in UTC.
fn until(day: &str, zone: Option<&str>, all_day: bool) -> Option<String> {
    let date: Date = day.parse().ok()?;
    if all_day {
        return Some(date.strftime("%Y%m%d").to_string());
    }
    let zone = zone.map_or(Some(TimeZone::UTC), |zone| TimeZone::get(zone).ok())?;
    let end = date.at(23, 59, 59, 0).to_zoned(zone).ok()?.with_time_zone(TimeZone::UTC);
    Some(end.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// The pattern of a field, for a series that starts so; null for what does not recur; `None` for rules that Graph lacks.
pub(crate) fn write(field: &Value, start: &str, zone: Option<&str>) -> Option<Json> {
    let lines: Vec<String> = match field {
        Value::List(list) => list.iter().map(Value::to_string).collect(),
        value if value.is_empty() => Vec::new(),
        value => vec![value.to_string()],
    };
    let [line] = lines.as_slice() else { return lines.is_empty().then_some(Json::Null) };
    let rule = line.strip_prefix("RRULE:").unwrap_or(line);
    let mut parts: Vec<(&str, &str)> = rule.split(';').filter_map(|part| part.split_once('=')).collect();
    let mut take = |name: &str| {
        let at = parts.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(parts.remove(at).1)
    };
    let begins: Date = start.get(..10)?.parse().ok()?;
    let frequency = take("FREQ")?.to_ascii_uppercase();
    let interval: u32 = take("INTERVAL").map_or(Some(1), |text| text.parse().ok())?;
    let mut pattern = Object::from_iter([("interval".to_owned(), json!(interval))]);
    if let Some(first) = take("WKST") {
        pattern.insert("firstDayOfWeek".to_owned(), json!(day(first)?));
    }
    let (by_day, position) = (take("BYDAY"), take("BYSETPOS"));
    let (month_day, month) = (take("BYMONTHDAY"), take("BYMONTH"));
    let number =
        |text: Option<&str>, default: i8| text.map_or(Some(i64::from(default)), |text| text.parse::<i64>().ok());
    let kind = match (frequency.as_str(), by_day) {
        ("DAILY", None) => "daily",
        ("WEEKLY", _) => {
            let today = DAYS[usize::from(begins.weekday().to_monday_zero_offset().unsigned_abs())].0;
            let days: Option<Vec<&str>> = by_day.unwrap_or(today).split(',').map(day).collect();
            pattern.insert("daysOfWeek".to_owned(), json!(days?));
            "weekly"
        }
        ("MONTHLY", None) => {
            let day = number(month_day, begins.day()).filter(|day| *day > 0)?;
            pattern.insert("dayOfMonth".to_owned(), json!(day));
            "absoluteMonthly"
        }
        ("YEARLY", None) => {
            let day = number(month_day, begins.day()).filter(|day| *day > 0)?;
            pattern.insert("dayOfMonth".to_owned(), json!(day));
            pattern.insert("month".to_owned(), json!(number(month, begins.month())?));
            "absoluteYearly"
        }
        ("MONTHLY" | "YEARLY", Some(days)) if month_day.is_none() => {
            let (index, days) = nth(days, position)?;
            pattern.insert("index".to_owned(), json!(index));
            pattern.insert("daysOfWeek".to_owned(), json!(days));
            if frequency == "YEARLY" {
                pattern.insert("month".to_owned(), json!(number(month, begins.month())?));
                "relativeYearly"
            } else {
                "relativeMonthly"
            }
        }
        _ => return None,
    };
    if (frequency == "DAILY" || frequency == "WEEKLY") && (month_day.is_some() || month.is_some() || position.is_some())
        || frequency == "MONTHLY" && month.is_some()
    {
        return None;
    }
    pattern.insert("type".to_owned(), json!(kind));
    let mut range = Object::from_iter([("startDate".to_owned(), json!(begins.to_string()))]);
    if let Some(zone) = zone {
        range.insert("recurrenceTimeZone".to_owned(), json!(crate::zones::wire(zone)));
    }
    match (take("COUNT"), take("UNTIL")) {
        (Some(count), None) => {
            range.insert("type".to_owned(), json!("numbered"));
            range.insert("numberOfOccurrences".to_owned(), json!(count.parse::<u32>().ok()?));
        }
        (None, Some(until)) => {
            range.insert("type".to_owned(), json!("endDate"));
            range.insert("endDate".to_owned(), json!(last_day(until, zone)?));
        }
        (None, None) => drop(range.insert("type".to_owned(), json!("noEnd"))),
        _ => return None,
    }
    // What is left is a part that no pattern has.
    parts.is_empty().then(|| json!({ "pattern": pattern, "range": range }))
}

fn day(code: &str) -> Option<&'static str> {
    DAYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(code.trim())).map(|(_, name)| *name)
}

/// `2TU`, or `MO,TU,WE,TH,FR` of which one is taken.
fn nth(days: &str, position: Option<&str>) -> Option<(&'static str, Vec<&'static str>)> {
    let order = |number: &str| {
        let number = number.trim_start_matches('+');
        ORDER.iter().find(|(known, _)| *known == number).map(|(_, word)| *word)
    };
    if let Some(position) = position {
        return Some((order(position)?, days.split(',').map(day).collect::<Option<_>>()?));
    }
    let (number, code) = days.split_at_checked(days.len().checked_sub(2)?)?;
    Some((order(number)?, vec![day(code)?]))
}

/// The day of the last occurrence at most, on the clocks of the series.
fn last_day(until: &str, zone: Option<&str>) -> Option<String> {
    let (year, month, rest) = (until.get(..4)?, until.get(4..6)?, until.get(6..8)?);
    let day: Date = format!("{year}-{month}-{rest}").parse().ok()?;
    let Some(clock) = until.split_once('T').map(|(_, clock)| clock) else { return Some(day.to_string()) };
    let number = |range: std::ops::Range<usize>| clock.get(range)?.parse::<i8>().ok();
    let time = Time::new(number(0..2)?, number(2..4)?, number(4..6)?, 0).ok()?;
    let moment: DateTime = day.to_datetime(time);
    let local = match zone.filter(|_| until.ends_with('Z')) {
        Some(zone) => crate::zones::local(moment, zone)?,
        None => moment,
    };
    Some(local.date().to_string())
}
