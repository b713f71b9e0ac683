//! Time zones: Windows names on the wire, IANA names in fields.
//!
//! Only a zone that a Windows name stands for exactly is written by it: `Europe/Amsterdam` stays what it is, and does not come
//! back as `Europe/Berlin`.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use strum::IntoEnumIterator;
use windows_timezones::WindowsTimezone;

/// The IANA name of a zone, whoever named it; `None` for zones that somebody made up.
pub(crate) fn iana(name: &str) -> Option<String> {
    if let Ok(windows) = WindowsTimezone::from_str(name) {
        return Some(windows.tzdb_id().to_owned());
    }
    TimeZone::get(name).ok()?.iana_name().map(str::to_owned)
}

/// The name that is written.
pub(crate) fn wire(iana: &str) -> String {
    let exact = WindowsTimezone::iter().find(|zone| zone.tzdb_id() == iana);
    exact.map_or_else(|| iana.to_owned(), |zone| zone.name().to_owned())
}

/// True for zones without daylight saving that mean UTC.
pub(crate) fn is_utc(name: &str) -> bool {
    ["UTC", "Etc/UTC", "Etc/GMT", "GMT", "tzone://Microsoft/Utc"].iter().any(|utc| name.eq_ignore_ascii_case(utc))
}

/// A moment of UTC on the clocks of a zone.
pub(crate) fn local(utc: DateTime, iana: &str) -> Option<DateTime> {
    let instant = utc.to_zoned(TimeZone::UTC).ok()?;
    Some(instant.with_time_zone(TimeZone::get(iana).ok()?).datetime())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn windows_names_go_there_and_back() {
        for zone in WindowsTimezone::iter() {
            assert_eq!(iana(zone.name()).as_deref(), Some(zone.tzdb_id()), "{}", zone.name());
            assert_eq!(wire(zone.tzdb_id()), zone.name());
        }
        assert_eq!(wire("Europe/Amsterdam"), "Europe/Amsterdam");
        assert_eq!(iana("Europe/Amsterdam").as_deref(), Some("Europe/Amsterdam"));
        assert_eq!(iana("tzone://Microsoft/Custom"), None);
    }

    #[test]
    fn clocks_follow_the_zone() {
        let utc: DateTime = "2026-07-01T07:30:00".parse().unwrap();
        assert_eq!(local(utc, "Europe/Berlin").unwrap().to_string(), "2026-07-01T09:30:00");
    }
}
