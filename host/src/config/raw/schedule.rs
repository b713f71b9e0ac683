//! When something runs.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{OneOrMany, only_true};

/// When something runs. One kind: `every`, `times_a_day`, `daily`, `weekly`, `monthly`, `cron` or `manual`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// For instance `30 minutes`.
    pub every: Option<String>,
    /// So many times, evenly spread.
    #[schemars(range(min = 1, max = 1440))]
    pub times_a_day: Option<u32>,
    /// At these times, for instance `02:30`.
    pub daily: Option<OneOrMany<String>>,
    /// On these days, `at` a time.
    pub weekly: Option<Vec<Weekday>>,
    /// On these days of the month, `at` a time.
    pub monthly: Option<Vec<MonthDay>>,
    /// Minute, hour, day, month, weekday.
    pub cron: Option<String>,
    /// Only by command.
    #[schemars(schema_with = "only_true")]
    pub manual: Option<bool>,
    /// The time of `weekly` and `monthly`.
    pub at: Option<String>,
    /// The zone of all times, for instance `Europe/Berlin`; the machine's unless said otherwise.
    pub zone: Option<String>,
    /// Where `every` and `times_a_day` count from.
    pub align: Option<Align>,
    /// Whether it also runs when the host starts.
    pub at_start: Option<bool>,
    /// Whether a run that was missed is made up for.
    pub catch_up: Option<CatchUp>,
    /// A shorter interval is warned of.
    pub warn_below: Option<String>,
    /// Times in which nothing starts.
    pub blackout: Vec<Blackout>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "days are days")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A day of the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MonthDay(#[schemars(range(min = 1, max = 31))] pub u8);

/// Where an interval counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// From midnight.
    Clock,
    /// From the start of the host.
    Start,
}

/// What becomes of runs that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One run makes up for all.
    Once,
    /// Nothing.
    Never,
}

/// A time in which nothing starts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blackout {
    /// First minute, for instance `12:00`.
    pub from: String,
    /// Minute after the last.
    pub to: String,
    /// The zone; the schedule's unless said otherwise.
    #[serde(default)]
    pub zone: Option<String>,
}
