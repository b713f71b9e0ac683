//! A series and its occurrences: how those that differ are told, as overrides of the series' fields.
//!
//! Graph names an occurrence by the day on which its rule puts it (`OID.<series>.<day>`); a rule of Graph puts no two on one day.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use pairwise_http::Json;
use pairwise_plugin_api::{Fields, overrides};

/// What an occurrence may do otherwise than its series: path and field.
const MEMBERS: &[(&str, &str)] = &[
    ("title", "subject"),
    ("description", "body"),
    ("locations/1/name", "location"),
    ("start", START),
    ("end", END),
    ("showWithoutTime", ALL_DAY),
    ("freeBusyStatus", "showAs"),
    ("privacy", "sensitivity"),
    ("keywords", "categories"),
    ("alerts/1/minutes", "reminder"),
];

const START: &str = "start";
const END: &str = "end";
const ALL_DAY: &str = "isAllDay";
const ZONE: &str = "timeZone";

/// The members of a series that tell of its occurrences.
pub(crate) const CANCELLED: &str = "cancelledOccurrences";
pub(crate) const EXCEPTIONS: &str = "exceptionOccurrences";

/// The field that an override is about.
pub(crate) fn field_of(path: &str) -> Option<&'static str> {
    MEMBERS.iter().find(|(known, _)| *known == path).map(|(_, field)| *field)
}

/// The day that names an occurrence, of what Graph tells of it.
pub(crate) fn day(occurrence: &Json) -> Option<&str> {
    day_of(occurrence["occurrenceId"].as_str().or_else(|| occurrence["id"].as_str())?)
}

fn day_of(id: &str) -> Option<&str> {
    id.strip_prefix("OID.")?.rsplit_once('.').map(|(_, day)| day).filter(|day| day.parse::<Date>().is_ok())
}

/// Adds to the fields of a series what its occurrences do otherwise. `read` tells the fields of an occurrence.
pub(crate) fn add(fields: &mut Fields, series: &Json, read: impl Fn(&Json) -> Fields) {
    for id in series[CANCELLED].as_array().into_iter().flatten().filter_map(Json::as_str) {
        if let Some(key) = day_of(id).and_then(|day| key(fields, day)) {
            fields.set(overrides::name(&key, overrides::EXCLUDED), true);
        }
    }
    for occurrence in series[EXCEPTIONS].as_array().into_iter().flatten() {
        let key = match day(occurrence) {
            Some(day) => key(fields, day),
            None => occurrence["originalStart"].as_str().and_then(|moment| local(fields, moment)),
        };
        let Some((key, plain)) = key.and_then(|key| Some((key.clone(), plain(fields, &key)?))) else { continue };
        let told = read(occurrence);
        let mut members = Fields::new();
        for (path, field) in MEMBERS {
            if let Some(value) = told.get(field) {
                overrides::note(&mut members, path, value.clone(), plain.get(field));
            }
        }
        overrides::put(fields, &key, members);
    }
}

/// When the occurrence of this day would have been, on the clocks of its series.
fn key(series: &Fields, day: &str) -> Option<String> {
    let start = clock(series.text(START)?)?;
    let date: Date = day.parse().ok()?;
    Some(printed(date.to_datetime(start.time())))
}

/// The same of a moment.
fn local(series: &Fields, moment: &str) -> Option<String> {
    let moment: Timestamp = moment.parse().ok()?;
    Some(printed(moment.to_zoned(zone(series)?).datetime()))
}

fn printed(time: DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn zone(series: &Fields) -> Option<TimeZone> {
    series.text(ZONE).map_or(Some(TimeZone::UTC), |zone| TimeZone::get(zone).ok())
}

/// The moment that an override names.
pub(crate) fn moment(series: &Fields, key: &str) -> Option<Timestamp> {
    key.parse::<DateTime>().ok()?.to_zoned(zone(series)?).ok().map(|zoned| zoned.timestamp())
}

/// A time of a field, on the clocks of the event.
fn clock(text: &str) -> Option<DateTime> {
    text.trim_end_matches('Z').parse().or_else(|_| format!("{text}T00:00:00").parse()).ok()
}

/// What an occurrence holds that differs in nothing.
pub(crate) fn plain(series: &Fields, key: &str) -> Option<Fields> {
    let (start, end) = (series.text(START)?, series.text(END)?);
    let original: DateTime = key.parse().ok()?;
    let ends = original.checked_add(clock(start)?.duration_until(clock(end)?)).ok()?;
    let like = |time: DateTime| match start {
        _ if !start.contains('T') => time.date().to_string(),
        _ if start.ends_with('Z') => format!("{}Z", printed(time)),
        _ => printed(time),
    };
    let mut fields = series.clone();
    fields.set(START, like(original));
    fields.set(END, like(ends));
    Some(fields)
}
