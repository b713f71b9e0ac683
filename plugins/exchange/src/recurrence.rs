//! When a series takes place: the patterns of EWS, and the rules of iCalendar.
//!
//! EWS has six patterns. A rule that none of them can hold is refused: a series must not become another one.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::times::of_field;
use crate::xml::{Node, Writer};

const DAYS: [(&str, &str); 7] = [
    ("MO", "Monday"),
    ("TU", "Tuesday"),
    ("WE", "Wednesday"),
    ("TH", "Thursday"),
    ("FR", "Friday"),
    ("SA", "Saturday"),
    ("SU", "Sunday"),
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const PLACES: [(&str, &str); 5] = [("1", "First"), ("2", "Second"), ("3", "Third"), ("4", "Fourth"), ("-1", "Last")];

/// What stands for several days at once.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Day", &["MO", "TU", "WE", "TH", "FR", "SA", "SU"]),
    ("Weekday", &["MO", "TU", "WE", "TH", "FR"]),
    ("WeekendDay", &["SA", "SU"]),
];

/// Why a rule cannot be held.
pub(crate) type Why = &'static str;

/// `Recurrence` of a rule, for a series that starts on this day.
pub(crate) fn to_xml(rule: &str, start: Date, zone: &TimeZone) -> Result<String, Why> {
    let parts: BTreeMap<&str, &str> = rule.split(';').filter_map(|part| part.split_once('=')).collect();
    let get = |name: &str| parts.get(name).copied();
    let known = ["FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"];
    if parts.keys().any(|part| !known.contains(part)) {
        return Err("it has a part that Exchange does not know");
    }
    let mut out = Writer::new();
    out.start("t:Recurrence");
    pattern(&mut out, &get, start)?;
    let day = start.to_string();
    match (get("COUNT"), get("UNTIL")) {
        (Some(count), _) => {
            out.start("t:NumberedRecurrence").leaf("t:StartDate", &day).leaf("t:NumberOfOccurrences", count).end();
        }
        (None, Some(until)) => {
            let until = until_day(until, zone).ok_or("its UNTIL is no date")?;
            out.start("t:EndDateRecurrence").leaf("t:StartDate", &day).leaf("t:EndDate", &until.to_string()).end();
        }
        (None, None) => {
            out.start("t:NoEndRecurrence").leaf("t:StartDate", &day).end();
        }
    }
    Ok(out.done())
}

fn pattern<'a>(out: &mut Writer, get: &impl Fn(&str) -> Option<&'a str>, start: Date) -> Result<(), Why> {
    let interval = get("INTERVAL").unwrap_or("1");
    let days: Vec<&str> = get("BYDAY").map(|days| days.split(',').collect()).unwrap_or_default();
    match get("FREQ").unwrap_or_default() {
        "DAILY" => {
            if get("BYMONTH").or(get("BYMONTHDAY")).or(get("BYSETPOS")).is_some()
                || (!days.is_empty() && interval != "1")
            {
                return Err("Exchange has no daily series that leaves out months or days of months");
            }
            if days.is_empty() {
                out.start("t:DailyRecurrence").leaf("t:Interval", interval).end();
            } else {
                weekly(out, interval, &days, get("WKST"))?;
            }
        }
        "WEEKLY" => {
            if get("BYMONTH").or(get("BYMONTHDAY")).or(get("BYSETPOS")).is_some() {
                return Err("Exchange has no weekly series that leaves out months or days of months");
            }
            let own = [code(start.weekday())];
            weekly(out, interval, if days.is_empty() { &own } else { &days }, get("WKST"))?;
        }
        "MONTHLY" => {
            if get("BYMONTH").is_some() {
                return Err("Exchange has no monthly series that leaves out months");
            }
            match chosen(get, &days, start)? {
                Chosen::Day(day) => {
                    out.start("t:AbsoluteMonthlyRecurrence")
                        .leaf("t:Interval", interval)
                        .leaf("t:DayOfMonth", &day)
                        .end();
                }
                Chosen::Weekday(days, index) => {
                    out.start("t:RelativeMonthlyRecurrence")
                        .leaf("t:Interval", interval)
                        .leaf("t:DaysOfWeek", days)
                        .leaf("t:DayOfWeekIndex", index)
                        .end();
                }
            }
        }
        "YEARLY" => {
            if interval != "1" {
                return Err("Exchange has no series that takes place every few years");
            }
            let month = get("BYMONTH").map_or(Some(start.month()), |month| month.parse().ok());
            let month =
                month.and_then(|month| usize::try_from(month - 1).ok()).and_then(|month| MONTHS.get(month).copied());
            let month = month.ok_or("Exchange has no yearly series in several months")?;
            match chosen(get, &days, start)? {
                Chosen::Day(day) => {
                    out.start("t:AbsoluteYearlyRecurrence").leaf("t:DayOfMonth", &day).leaf("t:Month", month).end();
                }
                Chosen::Weekday(days, index) => {
                    out.start("t:RelativeYearlyRecurrence")
                        .leaf("t:DaysOfWeek", days)
                        .leaf("t:DayOfWeekIndex", index)
                        .leaf("t:Month", month)
                        .end();
                }
            }
        }
        _ => return Err("Exchange has no series of this frequency"),
    }
    Ok(())
}

fn weekly(out: &mut Writer, interval: &str, days: &[&str], first: Option<&str>) -> Result<(), Why> {
    let names: Option<Vec<&str>> = days.iter().map(|day| day_name(day)).collect();
    let names = names.ok_or("a weekly series cannot name the week of a day")?;
    out.start("t:WeeklyRecurrence").leaf("t:Interval", interval).leaf("t:DaysOfWeek", &names.join(" "));
    out.leaf("t:FirstDayOfWeek", first.and_then(day_name).unwrap_or("Monday")).end();
    Ok(())
}

/// Which day of a month.
enum Chosen {
    Day(String),
    Weekday(&'static str, &'static str),
}

fn chosen<'a>(get: &impl Fn(&str) -> Option<&'a str>, days: &[&str], start: Date) -> Result<Chosen, Why> {
    let place =
        |text: &str| PLACES.iter().find(|(known, _)| *known == text.trim_start_matches('+')).map(|(_, name)| *name);
    let too_many = "Exchange has no series on several days of a month";
    match (get("BYMONTHDAY"), days, get("BYSETPOS")) {
        (Some("-1"), [], None) => Ok(Chosen::Weekday("Day", "Last")),
        (Some(day), [], None) => match day.parse::<u8>() {
            Ok(1..=31) => Ok(Chosen::Day(day.to_owned())),
            _ => Err(too_many),
        },
        (None, [], None) => Ok(Chosen::Day(start.day().to_string())),
        (None, [day], None) if day.len() > 2 => {
            let (index, day) = day.split_at_checked(day.len() - 2).ok_or(too_many)?;
            Ok(Chosen::Weekday(
                day_name(day).ok_or(too_many)?,
                place(index).ok_or("Exchange counts weekdays up to four, or the last")?,
            ))
        }
        (None, days, Some(position)) => {
            let index = place(position).ok_or(too_many)?;
            let mut wanted: Vec<&str> = days.to_vec();
            wanted.sort_unstable();
            let group = GROUPS.iter().find(|(_, members)| {
                let mut members = members.to_vec();
                members.sort_unstable();
                members == wanted
            });
            match (group, days) {
                (Some((name, _)), _) => Ok(Chosen::Weekday(name, index)),
                (None, [day]) => Ok(Chosen::Weekday(day_name(day).ok_or(too_many)?, index)),
                _ => Err(too_many),
            }
        }
        _ => Err(too_many),
    }
}

fn day_name(code: &str) -> Option<&'static str> {
    DAYS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

fn code(day: Weekday) -> &'static str {
    let place = usize::try_from(day.to_monday_zero_offset()).unwrap_or(0);
    DAYS.get(place).map_or("MO", |(code, _)| code)
}

/// `20270501T215959Z` or `20270501`, as a day in this zone.
fn until_day(text: &str, zone: &TimeZone) -> Option<Date> {
    let dashed = |text: &str| Some(format!("{}-{}-{}", text.get(..4)?, text.get(4..6)?, text.get(6..8)?));
    let date = dashed(text)?;
    match text.get(9..15).filter(|_| text.ends_with('Z')) {
        Some(time) => {
            let instant = format!("{date}T{}:{}:{}Z", time.get(..2)?, time.get(2..4)?, time.get(4..)?);
            Some(of_field(&instant, zone)?.to_zoned(zone.clone()).date())
        }
        None => date.parse().ok(),
    }
}

/// The rule of a `Recurrence` in this zone; `None` if it is of a kind that we do not know.
pub(crate) fn from_xml(recurrence: Node<'_>, start: Option<&str>, zone: &TimeZone) -> Option<String> {
    let pattern = recurrence.children().find(|part| part.child("StartDate").is_none())?;
    let range = recurrence.children().find(|part| part.child("StartDate").is_some())?;
    let text = |name: &str| pattern.text_of(name).unwrap_or_default();
    let codes = || {
        let names = text("DaysOfWeek").split_whitespace();
        let days: Vec<&str> = names
            .flat_map(|name| match GROUPS.iter().find(|(group, _)| *group == name) {
                Some((_, members)) => members.to_vec(),
                None => DAYS.iter().filter(|(_, day)| *day == name).map(|(code, _)| *code).collect(),
            })
            .collect();
        days
    };
    let relative = || {
        let index = PLACES.iter().find(|(_, name)| *name == text("DayOfWeekIndex")).map(|(place, _)| *place)?;
        let days = codes();
        Some(match days[..] {
            [day] => format!("BYDAY={index}{day}"),
            _ => format!("BYDAY={};BYSETPOS={index}", days.join(",")),
        })
    };
    let month = || MONTHS.iter().position(|month| *month == text("Month")).map(|place| place + 1);
    let mut rule = match pattern.name() {
        "DailyRecurrence" => "FREQ=DAILY".to_owned(),
        "WeeklyRecurrence" => {
            let mut rule = format!("FREQ=WEEKLY;BYDAY={}", codes().join(","));
            let first = DAYS.iter().find(|(_, name)| *name == text("FirstDayOfWeek")).map(|(code, _)| *code);
            if let Some(first) = first.filter(|first| *first != "MO") {
                rule.push_str(&format!(";WKST={first}"));
            }
            rule
        }
        "AbsoluteMonthlyRecurrence" => format!("FREQ=MONTHLY;BYMONTHDAY={}", text("DayOfMonth")),
        "RelativeMonthlyRecurrence" => format!("FREQ=MONTHLY;{}", relative()?),
        "AbsoluteYearlyRecurrence" => format!("FREQ=YEARLY;BYMONTH={};BYMONTHDAY={}", month()?, text("DayOfMonth")),
        "RelativeYearlyRecurrence" => format!("FREQ=YEARLY;BYMONTH={};{}", month()?, relative()?),
        _ => return None,
    };
    if !matches!(text("Interval"), "" | "1") {
        rule.push_str(&format!(";INTERVAL={}", text("Interval")));
    }
    if let Some(count) = range.text_of("NumberOfOccurrences") {
        rule.push_str(&format!(";COUNT={count}"));
    } else if let Some(end) = range.text_of("EndDate") {
        let day: Date = end.get(..10)?.parse().ok()?;
        // An instant for series that have times, at their end of that day.
        let until = if start.is_some_and(|start| start.contains('T')) {
            let end = day.at(23, 59, 59, 0).to_zoned(zone.clone()).ok()?.with_time_zone(TimeZone::UTC);
            end.strftime("%Y%m%dT%H%M%SZ").to_string()
        } else {
            day.strftime("%Y%m%d").to_string()
        };
        rule.push_str(&format!(";UNTIL={until}"));
    }
    Some(rule)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::xml::Tree;

    fn around(rule: &str) -> Result<String, Why> {
        let start = "2027-03-22".parse().unwrap();
        let xml = to_xml(rule, start, &TimeZone::UTC)?;
        Ok(from_xml(Tree::parse(&xml).unwrap().root(), Some("2027-03-22T09:00:00"), &TimeZone::UTC).unwrap())
    }

    #[test]
    fn rules_that_exchange_can_hold_come_back() {
        for rule in [
            "FREQ=DAILY",
            "FREQ=DAILY;INTERVAL=3;COUNT=5",
            "FREQ=WEEKLY;BYDAY=MO,TH;INTERVAL=2",
            "FREQ=WEEKLY;BYDAY=MO;WKST=SU",
            "FREQ=MONTHLY;BYMONTHDAY=31",
            "FREQ=MONTHLY;BYDAY=2TU",
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=22",
            "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;UNTIL=20301231T235959Z",
        ] {
            assert_eq!(around(rule).as_deref(), Ok(rule));
        }
        assert_eq!(around("FREQ=WEEKLY").as_deref(), Ok("FREQ=WEEKLY;BYDAY=MO"));
        assert_eq!(around("FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR").as_deref(), Ok("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"));
    }

    #[test]
    fn a_series_does_not_grow_by_a_day_where_clocks_are_ahead() {
        let (start, zone) = ("2027-03-22".parse().unwrap(), TimeZone::get("Europe/London").unwrap());
        let xml = |rule: &str| to_xml(rule, start, &zone).unwrap();
        let summer = xml("FREQ=DAILY;UNTIL=20270630T225959Z");
        assert!(summer.contains("<t:EndDate>2027-06-30</t:EndDate>"), "{summer}");
        let rule = from_xml(Tree::parse(&summer).unwrap().root(), Some("2027-03-22T09:00:00"), &zone).unwrap();
        assert_eq!(rule, "FREQ=DAILY;UNTIL=20270630T225959Z");
    }

    #[test]
    fn other_rules_are_refused() {
        for rule in [
            "FREQ=YEARLY;INTERVAL=2",
            "FREQ=MONTHLY;BYDAY=MO,TU",
            "FREQ=MONTHLY;BYMONTHDAY=1,15",
            "FREQ=HOURLY",
            "FREQ=MONTHLY;BYDAY=5MO",
            "FREQ=DAILY;BYHOUR=9",
        ] {
            assert!(around(rule).is_err(), "{rule}");
        }
    }
}
