//! A series and its occurrences: how those that differ are told, as overrides of the series' fields.

use jiff::Timestamp;
use jiff::civil::DateTime;
use pairwise_plugin_api::{Fields, Record, Value, overrides};

use crate::event::{ALL_DAY, Clock, END, START};
use crate::fields::{EVENT, Spec};
use crate::times::moment;
use crate::xml::Node;

/// What an occurrence may do otherwise than its series.
const PATHS: &[&str] = &[
    "title",
    "privacy",
    "description",
    "keywords",
    "alerts/1/minutes",
    "start",
    "end",
    "showWithoutTime",
    "freeBusyStatus",
    "locations/1/name",
];

/// The field of an event that an override is about.
pub(crate) fn field_of(path: &str) -> Option<&'static Spec> {
    EVENT.iter().filter(|spec| PATHS.contains(&spec.path)).find(|spec| spec.path == path)
}

/// What there is to know of a series beside its fields.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    clock: Clock,
    /// Occurrences that differ: when they would have been, and their ids.
    pub(crate) exceptions: Vec<(Timestamp, String)>,
}

impl Series {
    /// Reads what the series tells by itself: occurrences that were taken out of it are added to the record.
    pub(crate) fn of(master: Node<'_>, clock: Clock, record: &mut Record) -> Series {
        let within = |list: &str, name: &'static str| {
            let list = master.child(list);
            list.map(|list| list.all(name).collect::<Vec<_>>()).unwrap_or_default()
        };
        let start = |one: Node<'_>, name: &str| one.text_of(name).and_then(moment);
        let excluded = within("DeletedOccurrences", "DeletedOccurrence");
        let exceptions = within("ModifiedOccurrences", "Occurrence");
        let exceptions = exceptions
            .into_iter()
            .filter_map(|one| Some((start(one, "OriginalStart")?, one.child("ItemId")?.attribute("Id")?.to_owned())));
        let series = Series { clock, exceptions: exceptions.collect() };
        for original in excluded.into_iter().filter_map(|one| start(one, "Start")) {
            record.fields.set(overrides::name(&series.key(original), overrides::EXCLUDED), true);
        }
        series
    }

    /// The original start as overrides name it.
    fn key(&self, original: Timestamp) -> String {
        self.civil(original).strftime("%Y-%m-%dT%H:%M:%S").to_string()
    }

    fn civil(&self, time: Timestamp) -> DateTime {
        time.to_zoned(self.clock.tz.clone()).datetime()
    }

    /// The moment that an override names.
    pub(crate) fn original(&self, key: &str) -> Option<Timestamp> {
        let local: DateTime = key.parse().ok()?;
        local.to_zoned(self.clock.tz.clone()).ok().map(|zoned| zoned.timestamp())
    }

    /// What an occurrence holds that differs in nothing.
    pub(crate) fn plain(&self, master: &Fields, original: Timestamp) -> Fields {
        let all_day = master.get(ALL_DAY) == Some(&Value::Bool(true));
        let clock = |name: &str| {
            let text = master.text(name)?;
            text.trim_end_matches('Z').parse::<DateTime>().or_else(|_| format!("{text}T00:00:00").parse()).ok()
        };
        let mut fields = master.clone();
        // The same time on the wall, also where the clocks are changed in between.
        let ends = clock(START).zip(clock(END)).and_then(|(start, end)| {
            let ends = self.civil(original).checked_add(start.duration_until(end)).ok()?;
            Some(ends.to_zoned(self.clock.tz.clone()).ok()?.timestamp())
        });
        fields.set(START, self.clock.told(original, all_day));
        fields.set(END, self.clock.told(ends.unwrap_or(original), all_day));
        fields
    }

    /// Adds to a series what one of its occurrences does otherwise. `occurrence` is what was read of it, `item` the same as the
    /// server tells it.
    pub(crate) fn add(&self, record: &mut Record, original: Timestamp, occurrence: &Fields, item: Node<'_>) {
        let plain = self.plain(&record.fields, original);
        let all_day = occurrence.get(ALL_DAY) == Some(&Value::Bool(true));
        let time = |name: &str| item.text_of(name).and_then(moment).map(|time| self.clock.told(time, all_day));
        let mut members = Fields::new();
        for spec in PATHS.iter().filter_map(|path| field_of(path)) {
            let value = match spec.name {
                START | END => time(spec.name),
                name => occurrence.get(name).cloned(),
            };
            if let Some(value) = value {
                overrides::note(&mut members, spec.path, value, plain.get(spec.name));
            }
        }
        overrides::put(&mut record.fields, &self.key(original), members);
    }
}
