//! Durations, sizes and times of day as people write them.

use std::time::Duration;

use jiff::civil::Time;
use jiff::{Span, SpanRelativeTo};

/// `30 minutes`, `2h 30m`, `90 days`. A day has 24 hours.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// `512 MiB`, `1 GiB`, `64000000`.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// `02:30`, `02:30:15`.
#[must_use]
pub fn time_of_day(text: &str) -> Option<Time> {
    text.contains(':').then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_people_write_them() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("300 s"), Some(300));
        assert_eq!(seconds("30 minutes"), Some(1800));
        assert_eq!(seconds("1 hour"), Some(3600));
        assert_eq!(seconds("2h 30m"), Some(9000));
        assert_eq!(seconds("90 days"), Some(90 * 86_400));
        assert_eq!(seconds("300"), None);
        assert_eq!(seconds("-5 s"), None);
        assert_eq!(seconds("1 month"), None);
        assert_eq!(size("512 MiB"), Some(512 << 20));
        assert_eq!(size("10kB"), Some(10_000));
        assert_eq!(size("7 apples"), None);
        assert_eq!(size(""), None);
        assert_eq!(time_of_day("02:30").map(|time| (time.hour(), time.minute())), Some((2, 30)));
        assert_eq!(time_of_day("25:00"), None);
    }
}
