//! When streams run: checked here and kept for the scheduler.

use super::document::{Node, pointer};
use super::problem::{Problem, Problems, one_of};
use super::raw::{OneOrMany, Schedule};
use super::stream::zone_exists;
use super::units;

/// Notes what is wrong with the schedule at a path.
pub(super) fn check(schedule: &Schedule, root: &Node, path: &[&str], problems: &mut Problems) {
    let at = pointer(path.iter().copied());
    let mut wrong = |key: &str, message: String, expected: &str| {
        let key = format!("{at}{}", pointer([key].into_iter().filter(|key| !key.is_empty())));
        let mark = root.at(&key).filter(|node| node.table().is_none()).map_or(root.place(&key), |node| &node.mark);
        problems.push(Problem::at(mark, message, expected));
    };

    let kinds = [
        ("every", schedule.every.is_some()),
        ("times_a_day", schedule.times_a_day.is_some()),
        ("daily", schedule.daily.is_some()),
        ("weekly", schedule.weekly.is_some()),
        ("monthly", schedule.monthly.is_some()),
        ("cron", schedule.cron.is_some()),
        ("manual", schedule.manual.is_some()),
    ];
    let said: Vec<&str> = kinds.iter().filter(|(_, said)| *said).map(|(kind, _)| *kind).collect();
    match said.as_slice() {
        [_] => {}
        [] => wrong(
            "",
            "this schedule does not say when".into(),
            &format!("expected {}", one_of(&kinds.map(|(kind, _)| kind))),
        ),
        [_, second, ..] => {
            wrong(second, "a schedule has one kind".into(), &format!("expected only one of {}", one_of(&said)))
        }
    }

    let duration = "expected for instance `30 minutes`, `2 hours` or `90 s`";
    for (key, text) in [("every", &schedule.every), ("warn_below", &schedule.warn_below)] {
        if text.as_ref().is_some_and(|text| units::duration(text).is_none_or(|duration| duration.is_zero())) {
            wrong(key, format!("`{key}` is not a duration"), duration);
        }
    }
    let time = "expected a time of day such as `02:30`";
    let times = schedule.daily.iter().flat_map(OneOrMany::list);
    if times.clone().any(|text| units::time_of_day(text).is_none()) || schedule.daily.is_some() && times.count() == 0 {
        wrong("daily", "`daily` is not a time of day".into(), time);
    }
    if schedule.at.as_ref().is_some_and(|text| units::time_of_day(text).is_none()) {
        wrong("at", "`at` is not a time of day".into(), time);
    }
    for kind in ["weekly", "monthly"] {
        if said == [kind] && schedule.at.is_none() {
            wrong(kind, format!("`{kind}` does not say at what time"), "expected `at = \"02:30\"` beside it");
        }
    }
    if schedule.cron.as_ref().is_some_and(|cron| cron.split_whitespace().count() != 5) {
        wrong(
            "cron",
            "`cron` does not have five parts".into(),
            "expected minute, hour, day, month and weekday, for instance `30 2 * * mon-fri`",
        );
    }
    if let Some(Err(expected)) = schedule.zone.as_deref().map(zone_exists) {
        wrong("zone", "there is no such time zone".into(), &expected);
    }
    for (index, blackout) in schedule.blackout.iter().enumerate() {
        if [&blackout.from, &blackout.to].into_iter().any(|text| units::time_of_day(text).is_none()) {
            wrong("blackout", format!("blackout {} is not a span of time", index + 1), time);
        }
        if let Some(Err(expected)) = blackout.zone.as_deref().map(zone_exists) {
            wrong("blackout", format!("blackout {} names no time zone", index + 1), &expected);
        }
    }
}
