//! Times of the wire: instants in UTC, and zones by their Windows names.

use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use windows_timezones::WindowsTimezone;

/// Milliseconds since 1970 as the server writes them.
pub(super) fn instant(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A zone by its Windows name; UTC where nobody knows the name.
pub(super) fn zone(name: &str) -> TimeZone {
    let known = WindowsTimezone::from_str(name).ok().and_then(|zone| TimeZone::get(zone.tzdb_id()).ok());
    known.unwrap_or(TimeZone::UTC)
}

/// Whether the server has a zone of this name.
pub(super) fn is_zone(name: &str) -> bool {
    WindowsTimezone::from_str(name).is_ok()
}

/// Reads a moment: with `Z` or an offset as it stands, else in this zone.
pub(super) fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(Date::into))?;
    local.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// The day of a text that may go on with a time or an offset.
pub(super) fn day(text: &str) -> Option<Date> {
    text.get(..10)?.parse().ok()
}

/// The stored form of a moment.
pub(super) fn stored(time: Timestamp) -> String {
    instant(time.as_millisecond())
}

pub(super) fn at(time: Timestamp, zone: &TimeZone) -> Zoned {
    time.to_zoned(zone.clone())
}
