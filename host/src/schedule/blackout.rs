//! Times in which nothing starts by itself. A run that a person starts is not held back.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use crate::config::{Schedule, units};

/// When a start that is due now is made up for: the end of the blackout that it falls into, or of the last of several that
/// follow on each other. `None` if it may start. `zone` is that of the machine.
#[must_use]
pub fn postponed(schedule: &Schedule, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let mut until = None;
    // Each blackout may end in another one; more often than that they would go on for ever.
    for _ in 0..=schedule.blackout.len() {
        let at = until.unwrap_or(now);
        let end = schedule.blackout.iter().filter_map(|blackout| {
            let named = blackout.zone.as_deref().or(schedule.zone.as_deref());
            let zone = named.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(|| zone.clone());
            let (from, to) = (units::time_of_day(&blackout.from)?, units::time_of_day(&blackout.to)?);
            end_of(at, from, to, zone)
        });
        match end.max() {
            Some(end) => until = Some(end),
            None => break,
        }
    }
    until
}

/// The end of the span of each day that a point in time lies in. The span may go over midnight.
fn end_of(at: Timestamp, from: civil::Time, to: civil::Time, zone: TimeZone) -> Option<Timestamp> {
    let today = at.to_zoned(zone.clone()).date();
    // One that began yesterday may still last.
    [today.yesterday().ok()?, today].into_iter().find_map(|day| {
        let last = if to <= from { day.tomorrow().ok()? } else { day };
        let moment = |day: civil::Date, time| Some(zone.to_zoned(day.to_datetime(time)).ok()?.timestamp());
        let (begin, end) = (moment(day, from)?, moment(last, to)?);
        (begin <= at && at < end && at.duration_until(end) > SignedDuration::ZERO).then_some(end)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    /// IC-49: a start that falls into a blackout waits for its end.
    #[test]
    fn rule_ic_49_a_start_waits_for_the_end_of_a_blackout() {
        let berlin = |from: &str, to: &str| (from.to_owned(), to.to_owned(), Some("Europe/Berlin".to_owned()));
        let lunch = [berlin("12:00", "12:45")];
        let night = [berlin("22:00", "06:00")];
        let chain = [berlin("12:00", "13:00"), berlin("13:00", "14:00")];
        let machine = [("12:00".to_owned(), "12:45".to_owned(), None)];
        type Case<'a> = (&'a [(String, String, Option<String>)], &'a str, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&lunch, "2026-03-02T10:59:59Z", None),
            (&lunch, "2026-03-02T11:00:00Z", Some("2026-03-02T11:45:00Z")),
            (&lunch, "2026-03-02T11:44:59Z", Some("2026-03-02T11:45:00Z")),
            (&lunch, "2026-03-02T11:45:00Z", None),
            // In summer the clocks there are two hours ahead.
            (&lunch, "2026-07-01T10:10:00Z", Some("2026-07-01T10:45:00Z")),
            (&lunch, "2026-07-01T11:10:00Z", None),
            // Over midnight, and over the night in which an hour is left out.
            (&night, "2026-03-02T21:30:00Z", Some("2026-03-03T05:00:00Z")),
            (&night, "2026-03-03T04:30:00Z", Some("2026-03-03T05:00:00Z")),
            (&night, "2026-03-28T22:00:00Z", Some("2026-03-29T04:00:00Z")),
            (&chain, "2026-03-02T11:30:00Z", Some("2026-03-02T13:00:00Z")),
            (&machine, "2026-03-02T12:30:00Z", Some("2026-03-02T12:45:00Z")),
            (&[], "2026-03-02T12:30:00Z", None),
        ];
        for (blackout, now, until) in cases {
            let blackout = blackout.iter().map(|(from, to, zone)| crate::config::raw::Blackout {
                from: from.clone(),
                to: to.clone(),
                zone: zone.clone(),
            });
            let schedule = Schedule { blackout: blackout.collect(), ..Schedule::default() };
            let found = postponed(&schedule, now.parse().unwrap(), &TimeZone::UTC);
            assert_eq!(found, until.map(|until| until.parse().unwrap()), "{now} {:?}", schedule.blackout);
        }
    }
}
