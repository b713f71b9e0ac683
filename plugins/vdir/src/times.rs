//! Dates, times and zones of calendars: from files to fields and back.

use calcard::common::PartialDateTime;
use calcard::common::timezone::Tz;
use calcard::icalendar::{ICalendar, ICalendarComponentType, ICalendarProperty, ICalendarValue};
use calcard::{Entry, Parser};
use std::str::FromStr;

/// A day or a moment, with the zone that it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    date: PartialDateTime,
    /// The IANA zone, or what the file calls a zone of its own; `None` for days, UTC and floating times.
    pub(crate) zone: Option<String>,
}

impl Moment {
    /// `20260301`, `20260301T093000`, `20260301T093000Z`.
    pub(crate) fn of_file(value: &str, zone: Option<String>) -> Option<Self> {
        let mut date = PartialDateTime::default();
        let is_whole = date.parse_timestamp(&mut value.trim().as_bytes().iter().peekable(), false);
        let is_known = is_whole && (!date.has_time() || date.to_date_time().is_some());
        let zone = zone.filter(|_| date.has_time() && !date.has_zone());
        is_known.then_some(Moment { date, zone })
    }

    /// `2026-03-01`, `2026-03-01T09:30:00`, or an instant of RFC 3339. Instants are kept in UTC.
    pub(crate) fn of_field(text: &str, zone: Option<&str>) -> Option<Self> {
        let (date, time) = text.trim().split_once('T').unwrap_or((text.trim(), ""));
        let (clock, offset) = time.split_at(time.find(['Z', '+', '-', '.']).unwrap_or(time.len()));
        let offset = offset.trim_start_matches(|char: char| char == '.' || char.is_ascii_digit());
        let mut basic = date.replace('-', "");
        if !time.is_empty() {
            let clock = clock.replace(':', "");
            basic.push_str(&format!("T{clock:0<6}{}", offset.replace(':', "")));
        }
        if basic.len() < 8 || !basic.as_bytes()[..8].iter().all(u8::is_ascii_digit) {
            return None;
        }
        let moment = Moment::of_file(&basic, zone.map(str::to_owned))?;
        Some(if moment.date.has_zone() { Moment::of_utc(moment.date.to_timestamp()?) } else { moment })
    }

    pub(crate) fn of_utc(seconds: i64) -> Self {
        Moment { date: PartialDateTime::from_utc_timestamp(seconds), zone: None }
    }

    pub(crate) fn now() -> Self {
        Moment { date: PartialDateTime::now(), zone: None }
    }

    pub(crate) fn is_day(&self) -> bool {
        !self.date.has_time()
    }

    pub(crate) fn is_utc(&self) -> bool {
        self.date.has_zone()
    }

    /// As a field holds it.
    pub(crate) fn field(&self) -> String {
        self.print("-", ":")
    }

    /// As a file holds it.
    pub(crate) fn file(&self) -> String {
        self.print("", "")
    }

    fn print(&self, dash: &str, colon: &str) -> String {
        let PartialDateTime { year, month, day, hour, minute, second, .. } = self.date;
        let (year, month, day) = (year.unwrap_or(0), month.unwrap_or(1), day.unwrap_or(1));
        let mut text = format!("{year:04}{dash}{month:02}{dash}{day:02}");
        if let Some(hour) = hour {
            let (minute, second) = (minute.unwrap_or(0), second.unwrap_or(0));
            text.push_str(&format!("T{hour:02}{colon}{minute:02}{colon}{second:02}"));
            if self.is_utc() {
                text.push('Z');
            }
        }
        text
    }

    /// The day of a moment.
    pub(crate) fn day(&self) -> Self {
        let PartialDateTime { year, month, day, .. } = self.date;
        Moment { date: PartialDateTime { year, month, day, ..PartialDateTime::default() }, zone: None }
    }

    /// The midnight of a day; a moment stays.
    pub(crate) fn with_clock(mut self, zone: Option<&str>) -> Self {
        if self.is_day() {
            (self.date.hour, self.date.minute, self.date.second) = (Some(0), Some(0), Some(0));
            self.zone = zone.map(str::to_owned);
        }
        self
    }

    /// Seconds since 1970; `None` without a zone that is known.
    pub(crate) fn instant(&self) -> Option<i64> {
        if self.is_utc() {
            return self.date.to_timestamp();
        }
        let zone = Tz::from_str(self.zone.as_deref()?).ok()?;
        Some(self.date.to_date_time()?.to_date_time_with_tz(zone)?.timestamp())
    }

    /// The same instant, written as another moment is.
    pub(crate) fn written_like(self, other: &Moment) -> Self {
        if self.is_day() || self.zone == other.zone && self.is_utc() == other.is_utc() {
            return self;
        }
        let Some(instant) = self.instant() else { return self };
        if other.is_utc() {
            return Moment::of_utc(instant);
        }
        let Some(zone) = other.zone.as_deref().and_then(|zone| Tz::from_str(zone).ok()) else { return self };
        let utc = PartialDateTime::from_utc_timestamp(instant);
        let there = utc.to_date_time().and_then(|utc| utc.to_date_time_with_tz(Tz::UTC));
        let Some(there) = there else { return self };
        let local = there.with_timezone(&zone).naive_local().and_utc().timestamp();
        Moment { date: PartialDateTime::from_naive_timestamp(local), zone: other.zone.clone() }
    }

    /// Later by so many seconds on the clock.
    pub(crate) fn plus(&self, seconds: i64) -> Option<Self> {
        if self.is_day() {
            let midnight = self.clone().with_clock(None);
            return Some(midnight.plus(seconds)?.day());
        }
        if self.is_utc() {
            return Some(Moment::of_utc(self.date.to_timestamp()?.checked_add(seconds)?));
        }
        let clock = self.date.to_date_time()?.date_time.and_utc().timestamp().checked_add(seconds)?;
        Some(Moment { date: PartialDateTime::from_naive_timestamp(clock), zone: self.zone.clone() })
    }
}

/// `PT1H30M`, `-P1D` in seconds.
pub(crate) fn duration(value: &str) -> Option<i64> {
    let text = format!("BEGIN:VEVENT\nDURATION:{}\nEND:VEVENT\n", value.trim());
    let Entry::ICalendar(event) = Parser::new(&text).strict().entry() else { return None };
    match event.components.first()?.entries.first()?.values.first()? {
        ICalendarValue::Duration(duration) => Some(duration.as_seconds()),
        _ => None,
    }
}

/// The IANA name of a zone, whoever named it: `W. Europe Standard Time`, `/example.org/Europe/Berlin`.
pub(crate) fn iana_zone(name: &str) -> Option<String> {
    let known = |name: &str| Tz::from_str(name).ok().and_then(|zone| zone.name().map(|name| name.into_owned()));
    known(name).or_else(|| {
        // Prefixes of several programs end in the IANA name.
        name.match_indices('/').find_map(|(at, _)| known(&name[at + 1..]))
    })
}

/// What a file says about a zone that it uses, with line ends `\r\n`; `None` for a zone that nobody knows.
pub(crate) fn zone_definition(zone: &str, from: &Moment) -> Option<String> {
    let start = from.clone().with_clock(Some(zone)).day().file();
    let text = format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;TZID={zone}:{start}T000000\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    );
    let mut calendar = ICalendar::parse(&text).ok()?;
    calendar.add_missing_timezones();
    let defines = |component: &calcard::icalendar::ICalendarComponent| {
        component.component_type == ICalendarComponentType::VTimezone
            && component.property(&ICalendarProperty::Tzid).is_some()
    };
    if !calendar.components.iter().any(defines) {
        return None;
    }
    let printed = calendar.to_string();
    let start = printed.find("BEGIN:VTIMEZONE")?;
    let end = printed.find("END:VTIMEZONE")? + "END:VTIMEZONE\r\n".len();
    Some(printed.get(start..end)?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests {
    use super::*;

    #[test]
    fn moments_of_files_and_fields() {
        let berlin = Some("Europe/Berlin".to_owned());
        for (file, field, zone) in [
            ("20260301", "2026-03-01", None),
            ("20260301T093000", "2026-03-01T09:30:00", None),
            ("20260301T093000Z", "2026-03-01T09:30:00Z", None),
            ("20260301T093000", "2026-03-01T09:30:00", berlin.clone()),
        ] {
            let moment = Moment::of_file(file, zone.clone()).unwrap();
            assert_eq!(moment.field(), field);
            assert_eq!(Moment::of_field(field, zone.as_deref()).unwrap(), moment);
            assert_eq!(moment.file(), file);
        }
        assert_eq!(Moment::of_field("2026-03-01T10:30:00.5+01:00", None).unwrap().field(), "2026-03-01T09:30:00Z");
        assert!(Moment::of_file("tomorrow", None).is_none() && Moment::of_field("2026", None).is_none());
        let moment = Moment::of_file("20260701T093000", berlin).unwrap();
        assert_eq!(moment.instant(), Moment::of_file("20260701T073000Z", None).unwrap().instant());
        let utc = Moment::of_file("20260701T073000Z", None).unwrap();
        assert_eq!(utc.clone().written_like(&moment), moment);
        assert_eq!(moment.clone().written_like(&utc), utc);
        assert_eq!(moment.plus(86_400).unwrap().field(), "2026-07-02T09:30:00");
        assert_eq!(Moment::of_file("20260228", None).unwrap().plus(86_400).unwrap().field(), "2026-03-01");
    }

    #[test]
    fn zones_and_durations() {
        assert_eq!(duration("PT1H30M"), Some(5_400));
        assert_eq!(duration("-P1DT15M"), Some(-87_300));
        assert_eq!(duration("soon"), None);
        for name in [
            "Europe/Berlin",
            "W. Europe Standard Time",
            "/freeassociation.sourceforge.net/Europe/Berlin",
            "/mozilla.org/20070129_1/Europe/Berlin",
        ] {
            assert_eq!(iana_zone(name).as_deref(), Some("Europe/Berlin"), "{name}");
        }
        assert_eq!(iana_zone("Customized Time Zone"), None);
        let from = Moment::of_file("20260301T093000", None).unwrap();
        let definition = zone_definition("Europe/Berlin", &from).unwrap();
        assert!(
            definition.starts_with("BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\n") && definition.contains("RRULE"),
            "{definition}"
        );
        assert!(zone_definition("Nowhere/Land", &from).is_none());
    }
}
