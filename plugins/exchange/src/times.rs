//! Dates, times and zones: those of the wire, and those of fields.

use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windows_timezones::WindowsTimezone;

/// The moment that a date without a time is written as: the same day in every zone from UTC-11 to UTC+12.
const NOON: &str = "T11:59:00Z";

/// The IANA name of a Windows zone, by CLDR's territory 001.
pub(crate) fn iana(windows: &str) -> Option<&'static str> {
    WindowsTimezone::from_str(windows).ok().map(WindowsTimezone::tzdb_id)
}

/// The Windows name of an IANA zone; a Windows name is taken as it is.
pub(crate) fn windows(zone: &str) -> Option<&'static str> {
    if let Ok(known) = WindowsTimezone::from_str(zone) {
        return Some(known.name());
    }
    if ["UTC", "Etc/UTC", "Etc/GMT", "GMT", "Z"].contains(&zone) {
        return Some("UTC");
    }
    let listed = |zone: &str| {
        let tz = chrono_tz::Tz::from_str(zone).ok()?;
        WindowsTimezone::try_from(tz).ok().map(WindowsTimezone::name)
    };
    // CLDR keeps old spellings: of two names that are links to each other, one is listed.
    listed(zone).or_else(|| RENAMED.iter().find(|(new, _)| *new == zone).and_then(|(_, old)| listed(old)))
}

/// New names of zones, and the ones that CLDR lists.
const RENAMED: &[(&str, &str)] = &[
    ("Europe/Kyiv", "Europe/Kiev"),
    ("Asia/Kolkata", "Asia/Calcutta"),
    ("Asia/Ho_Chi_Minh", "Asia/Saigon"),
    ("Asia/Kathmandu", "Asia/Katmandu"),
    ("Asia/Yangon", "Asia/Rangoon"),
    ("America/Nuuk", "America/Godthab"),
    ("America/Argentina/Buenos_Aires", "America/Buenos_Aires"),
    ("America/Indiana/Indianapolis", "America/Indianapolis"),
    ("Atlantic/Faroe", "Atlantic/Faeroe"),
    ("Asia/Hebron", "Asia/Gaza"),
];

/// A zone by its IANA or Windows name.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(iana(name).unwrap_or(name)).ok()
}

/// Reads a moment of the wire, which bears `Z` or an offset.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok().or_else(|| {
        // What bears neither is in the zone that our requests name: UTC.
        text.trim().parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

/// Milliseconds since 1970.
pub(crate) fn millis(text: &str) -> Option<i64> {
    moment(text).map(Timestamp::as_millisecond)
}

/// The day that a moment stands for: mailboxes keep dates as midnight of some zone, or as noon.
pub(crate) fn day_of(text: &str) -> Option<String> {
    let near = moment(text)?.checked_add(SignedDuration::from_hours(12)).ok()?;
    Some(near.to_zoned(TimeZone::UTC).date().to_string())
}

/// The moment that a day is written as.
pub(crate) fn moment_of_day(text: &str) -> Option<String> {
    let date: Date = text.get(..10)?.parse().ok()?;
    Some(format!("{date}{NOON}"))
}

/// How a field tells a moment: `Z` in UTC, else the local time, whose zone stands in a field of its own.
pub(crate) fn field(time: Timestamp, zone: &TimeZone, is_utc: bool) -> String {
    if is_utc {
        return time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The moment that a field tells: an instant, or a local time in this zone. A time that the clocks leave out moves on by the
/// gap, of one that comes twice the first is meant.
pub(crate) fn of_field(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(Date::into))?;
    local.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// A moment as requests write it, with the offset of its zone.
pub(crate) fn written(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Windows, IANA, Windows is the identity for every zone that CLDR lists.
    #[test]
    fn windows_zones_survive_the_round_trip() {
        let table = include_str!("../../../host/sandbox/src/exchange/schema.txt");
        assert!(!table.is_empty());
        for name in ["W. Europe Standard Time", "UTC", "GMT Standard Time", "India Standard Time", "FLE Standard Time"]
        {
            assert_eq!(windows(iana(name).unwrap()), Some(name));
        }
        assert_eq!(windows("Europe/Amsterdam"), Some("W. Europe Standard Time"));
        assert_eq!(windows("Europe/Kyiv"), Some("FLE Standard Time"));
        assert_eq!(windows("Asia/Kolkata"), Some("India Standard Time"));
        assert_eq!(windows("Mars/Olympus"), None);
    }

    #[test]
    fn a_birthday_is_a_day_however_it_is_stored() {
        for stored in ["1990-12-09T23:00:00Z", "1990-12-10T00:00:00Z", "1990-12-10T11:59:00Z", "1990-12-10T08:00:00Z"] {
            assert_eq!(day_of(stored).as_deref(), Some("1990-12-10"), "{stored}");
        }
        assert_eq!(moment_of_day("1990-12-10").as_deref(), Some("1990-12-10T11:59:00Z"));
    }

    #[test]
    fn local_times_need_their_zone() {
        let berlin = zone("W. Europe Standard Time").unwrap();
        let time = of_field("2026-07-01T10:00:00", &berlin).unwrap();
        assert_eq!(written(time, &berlin), "2026-07-01T10:00:00+02:00");
        assert_eq!(field(time, &berlin, false), "2026-07-01T10:00:00");
        assert_eq!(field(time, &TimeZone::UTC, true), "2026-07-01T08:00:00Z");
        // The clocks leave out 02:30 on this day.
        assert_eq!(written(of_field("2026-03-29T02:30:00", &berlin).unwrap(), &berlin), "2026-03-29T03:30:00+02:00");
        assert_eq!(written(of_field("2026-10-25T02:30:00", &berlin).unwrap(), &berlin), "2026-10-25T02:30:00+02:00");
    }
}
