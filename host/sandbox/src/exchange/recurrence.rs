//! When a series takes place.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::properties::shown;
use super::times::{at, day};

/// A series that never ends is followed this far.
const HORIZON_YEARS: i16 = 20;
/// More occurrences than that are not looked at.
const MOST: usize = 5_000;

/// A pattern and its range, as stored.
pub(super) struct Series<'a> {
    pattern: &'a Value,
    range: &'a Value,
    start: Timestamp,
    zone: TimeZone,
}

impl<'a> Series<'a> {
    pub(super) fn new(recurrence: &'a Value, start: Timestamp, zone: TimeZone) -> Option<Self> {
        let parts = recurrence.as_array()?;
        Some(Series { pattern: parts.first()?, range: parts.get(1)?, start, zone })
    }

    /// True for a series without an end.
    pub(super) fn is_endless(&self) -> bool {
        shown(&self.range["name"]) == "NoEndRecurrence"
    }

    /// The starts of all occurrences, deleted ones included.
    pub(super) fn starts(&self) -> Vec<Timestamp> {
        let first = at(self.start, &self.zone);
        let from = day(&shown(&self.range["StartDate"])).unwrap_or_else(|| first.date());
        let last = day(&shown(&self.range["EndDate"]))
            .unwrap_or_else(|| from.checked_add(i64::from(HORIZON_YEARS).years()).unwrap_or(Date::MAX));
        let most = self.number("NumberOfOccurrences", &self.range["NumberOfOccurrences"]).unwrap_or(MOST).min(MOST);
        let days = self.days(from, last, most);
        days.into_iter()
            .filter_map(|date| date.to_datetime(first.time()).to_zoned(self.zone.clone()).ok())
            .map(|zoned| zoned.timestamp())
            .collect()
    }

    fn number(&self, _: &str, value: &Value) -> Option<usize> {
        shown(value).parse().ok()
    }

    fn days(&self, from: Date, last: Date, most: usize) -> Vec<Date> {
        let name = shown(&self.pattern["name"]);
        let text = |key: &str| shown(&self.pattern[key]);
        let interval = text("Interval").parse::<i64>().unwrap_or(1).max(1);
        let weekdays = weekdays(&text("DaysOfWeek"));
        let month = month(&text("Month"));
        let of_month = text("DayOfMonth").parse::<i8>().unwrap_or(1);
        let index = text("DayOfWeekIndex");
        let mut days = Vec::new();
        let mut period = match name.as_str() {
            "WeeklyRecurrence" => {
                let begins = weekday(&text("FirstDayOfWeek")).unwrap_or(Weekday::Sunday);
                from.checked_sub(i64::from(from.weekday().since(begins)).days()).unwrap_or(from)
            }
            "AbsoluteMonthlyRecurrence" | "RelativeMonthlyRecurrence" => from.first_of_month(),
            "AbsoluteYearlyRecurrence" | "RelativeYearlyRecurrence" => from.first_of_year(),
            _ => from,
        };
        while period <= last && days.len() < most {
            let (candidates, step) = match name.as_str() {
                "DailyRecurrence" => (vec![period], interval.days()),
                "WeeklyRecurrence" => {
                    let week = (0..7).filter_map(|offset: i64| period.checked_add(offset.days()).ok());
                    (week.filter(|date| weekdays.contains(&date.weekday())).collect(), interval.weeks())
                }
                "AbsoluteMonthlyRecurrence" => (vec![clamp(period, of_month)], interval.months()),
                "RelativeMonthlyRecurrence" => (relative(period, &weekdays, &index), interval.months()),
                "AbsoluteYearlyRecurrence" => {
                    let of = Date::new(period.year(), month, 1).unwrap_or(period);
                    (vec![clamp(of, of_month)], 1.years())
                }
                _ => {
                    let of = Date::new(period.year(), month, 1).unwrap_or(period);
                    (relative(of, &weekdays, &index), 1.years())
                }
            };
            days.extend(candidates.into_iter().filter(|date| *date >= from && *date <= last));
            match period.checked_add(step) {
                Ok(next) => period = next,
                Err(_) => break,
            }
        }
        days.truncate(most);
        days
    }
}

/// The 31st of a short month is its last day.
fn clamp(month: Date, day: i8) -> Date {
    Date::new(month.year(), month.month(), day.min(month.days_in_month())).unwrap_or(month)
}

/// `First … Fourth Last` of the days that fit.
fn relative(month: Date, weekdays: &[Weekday], index: &str) -> Vec<Date> {
    let fitting: Vec<Date> = (1..=month.days_in_month())
        .filter_map(|day| Date::new(month.year(), month.month(), day).ok())
        .filter(|date| weekdays.contains(&date.weekday()))
        .collect();
    let place = ["First", "Second", "Third", "Fourth"].iter().position(|name| *name == index);
    let found = place.map_or_else(|| fitting.last(), |place| fitting.get(place));
    found.copied().into_iter().collect()
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name {
        "Sunday" => Weekday::Sunday,
        "Monday" => Weekday::Monday,
        "Tuesday" => Weekday::Tuesday,
        "Wednesday" => Weekday::Wednesday,
        "Thursday" => Weekday::Thursday,
        "Friday" => Weekday::Friday,
        "Saturday" => Weekday::Saturday,
        _ => return None,
    })
}

fn weekdays(names: &str) -> Vec<Weekday> {
    let work = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    let rest = [Weekday::Saturday, Weekday::Sunday];
    names
        .split_whitespace()
        .flat_map(|name| match name {
            "Day" => [&work[..], &rest[..]].concat(),
            "Weekday" => work.to_vec(),
            "WeekendDay" => rest.to_vec(),
            name => weekday(name).into_iter().collect(),
        })
        .collect()
}

fn month(name: &str) -> i8 {
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
    let place = MONTHS.iter().position(|month| *month == name).unwrap_or(0);
    i8::try_from(place + 1).unwrap_or(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::super::times::{stored, zone};
    use super::*;

    fn starts(pattern: Value, range: Value) -> Vec<String> {
        let recurrence = json!([pattern, range]);
        let start = "2026-03-23T08:00:00Z".parse().unwrap();
        let series = Series::new(&recurrence, start, zone("W. Europe Standard Time")).unwrap();
        series.starts().into_iter().map(stored).collect()
    }

    #[test]
    fn a_weekly_series_keeps_its_time_of_day_when_the_clocks_change() {
        let weekly = json!({ "name": "WeeklyRecurrence", "Interval": "1", "DaysOfWeek": "Monday Thursday" });
        let three = json!({ "name": "NumberedRecurrence", "StartDate": "2026-03-23", "NumberOfOccurrences": "3" });
        assert_eq!(starts(weekly, three), ["2026-03-23T08:00:00Z", "2026-03-26T08:00:00Z", "2026-03-30T07:00:00Z"]);
    }

    #[test]
    fn the_last_weekday_of_a_month() {
        let last = json!({ "name": "RelativeMonthlyRecurrence", "Interval": "1", "DaysOfWeek": "Weekday", "DayOfWeekIndex": "Last" });
        let until = json!({ "name": "EndDateRecurrence", "StartDate": "2026-03-23", "EndDate": "2026-05-31" });
        assert_eq!(starts(last, until), ["2026-03-31T07:00:00Z", "2026-04-30T07:00:00Z", "2026-05-29T07:00:00Z"]);
    }
}
