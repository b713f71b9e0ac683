//! Events: what is worked out of them, their occurrences, and meetings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::properties::{mailbox, shown};
use super::recurrence::Series;
use super::times::{is_zone, moment, stored, zone};
use super::xml::{Out, Problem};
use crate::store::{Fields, Item, Store};

/// Fields of the store that no element shows: `{original start: fields}`, and the starts that were deleted.
pub(super) const EXCEPTIONS: &str = "Exceptions";
pub(super) const DELETED: &str = "DeletedOccurrences";
/// Whether this is the organizer's own copy.
pub(super) const OWN: &str = "IsOrganizer";

/// One occurrence of a series, or a single event.
#[derive(Debug, Clone)]
pub(super) struct Occurrence {
    /// Its id: the item's own, or one made of the master's.
    pub(super) id: String,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// When it would have started.
    pub(super) original: Timestamp,
    /// `Single`, `Occurrence`, `Exception`.
    pub(super) kind: &'static str,
    /// What it shows.
    pub(super) fields: Fields,
}

fn time(fields: &Fields, key: &str) -> Option<Timestamp> {
    fields.get(key).and_then(Value::as_str).and_then(|text| text.parse().ok())
}

/// The id of an occurrence.
pub(super) fn occurrence_id(master: &str, original: Timestamp) -> String {
    format!("AAMkADOcc{}", STANDARD.encode(format!("{master}|{}", original.as_second())))
}

/// The master's id and the original start that an id of an occurrence stands for.
pub(super) fn of_occurrence(id: &str) -> Option<(String, Timestamp)> {
    let bytes = STANDARD.decode(id.strip_prefix("AAMkADOcc")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (master, second) = text.rsplit_once('|')?;
    Some((master.to_owned(), Timestamp::from_second(second.parse().ok()?).ok()?))
}

fn series(fields: &Fields) -> Option<Series<'_>> {
    let recurrence = fields.get("Recurrence").filter(|value| value.is_array())?;
    Series::new(recurrence, time(fields, "Start")?, zone(&shown(fields.get("StartTimeZone").unwrap_or(&Value::Null))))
}

pub(super) fn is_master(item: &Item) -> bool {
    item.fields.get("Recurrence").is_some_and(Value::is_array)
}

/// When the occurrence of this number would be, counted from one, whether or not it was deleted.
pub(super) fn start_of(item: &Item, number: usize) -> Option<Timestamp> {
    series(&item.fields)?.starts().get(number.checked_sub(1)?).copied()
}

/// A series whose times changed has none of its exceptions and gaps any more.
pub(super) fn forget_exceptions(before: &Fields, fields: &mut Fields) {
    let moved = |name: &&str| before.get(*name) != fields.get(*name);
    if ["Start", "End", "Recurrence", "StartTimeZone", "IsAllDayEvent"].iter().any(moved) {
        fields.remove(EXCEPTIONS);
        fields.remove(DELETED);
    }
}

/// What takes place of an event: itself, or the occurrences of its series that were not deleted.
pub(super) fn occurrences(item: &Item) -> Vec<Occurrence> {
    let (Some(start), Some(end)) = (time(&item.fields, "Start"), time(&item.fields, "End")) else { return Vec::new() };
    let Some(series) = series(&item.fields) else {
        let (id, fields) = (item.id.clone(), item.fields.clone());
        return vec![Occurrence { id, start, end, original: start, kind: "Single", fields }];
    };
    let length = end.duration_since(start);
    let deleted = item.fields.get(DELETED).and_then(Value::as_array);
    let mut found = Vec::new();
    for original in series.starts() {
        let key = stored(original);
        if deleted.is_some_and(|deleted| deleted.contains(&json!(key))) {
            continue;
        }
        let changed = item.fields.get(EXCEPTIONS).and_then(|all| all.get(&key)).and_then(Value::as_object);
        let mut fields = item.fields.clone();
        for name in ["Recurrence", EXCEPTIONS, DELETED] {
            fields.remove(name);
        }
        fields.insert("Start".into(), json!(key));
        fields.insert("End".into(), json!(stored(original + length)));
        fields.insert("OriginalStart".into(), json!(key));
        fields.extend(changed.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        fields.retain(|_, value| !value.is_null());
        fields.insert("RecurrenceId".into(), json!(key));
        let kind = if changed.is_some() { "Exception" } else { "Occurrence" };
        let start = time(&fields, "Start").unwrap_or(original);
        let end = time(&fields, "End").unwrap_or(original + length);
        found.push(Occurrence { id: occurrence_id(&item.id, original), start, end, original, kind, fields });
    }
    found
}

/// What the server knows of an event beyond what it was told.
pub(super) fn complete(store: &Store, item: &Item, view: &mut Fields) {
    let master = is_master(item);
    let people = ["RequiredAttendees", "OptionalAttendees", "Resources"];
    let meeting = view.get("IsMeeting").is_some_and(|value| value == true)
        || people.iter().any(|key| view.get(*key).and_then(Value::as_array).is_some_and(|list| !list.is_empty()));
    let own = view.get(OWN) != Some(&json!(false));
    let cancelled = view.get("IsCancelled") == Some(&json!(true));
    let state = u8::from(meeting) | if own { 0 } else { 2 } | if cancelled { 4 } else { 0 };
    let organizer = view.get("Organizer").cloned().unwrap_or_else(|| organizer(store, &item.owner));
    let mut put = |name: &str, value: Value| drop(view.insert(name.to_owned(), value));
    put("IsMeeting", json!(meeting));
    put("IsCancelled", json!(cancelled));
    put("IsRecurring", json!(master));
    put("CalendarItemType", json!(if master { "RecurringMaster" } else { "Single" }));
    put(OWN, json!(own));
    put("AppointmentState", json!(state));
    put("Organizer", organizer);
    view.entry("LegacyFreeBusyStatus").or_insert(json!("Busy"));
    view.entry("IsAllDayEvent").or_insert(json!(false));
    view.entry("AppointmentSequenceNumber").or_insert(json!(0));
    view.entry("MeetingRequestWasSent").or_insert(json!(false));
    view.entry("IsResponseRequested").or_insert(json!(true));
    view.entry("ReminderIsSet").or_insert(json!(false));
    view.entry("MyResponseType").or_insert(json!(if meeting && own { "Organizer" } else { "Unknown" }));
    view.entry("DateTimeStamp")
        .or_insert(json!(stored(Timestamp::from_millisecond(item.modified).unwrap_or_default())));
    if !master {
        return;
    }
    let all = occurrences(item);
    let brief = |found: &Occurrence| json!({ "id": found.id, "Start": stored(found.start), "End": stored(found.end), "OriginalStart": stored(found.original) });
    if let Some(first) = all.first() {
        view.insert("FirstOccurrence".into(), json!([brief(first)]));
    }
    if let Some(last) = all.last().filter(|_| series(&item.fields).is_some_and(|series| !series.is_endless())) {
        view.insert("LastOccurrence".into(), json!([brief(last)]));
    }
    let changed: Vec<Value> = all.iter().filter(|found| found.kind == "Exception").map(brief).collect();
    view.insert("ModifiedOccurrences".into(), json!(changed));
}

/// What an occurrence shows: its own values, with the master's facts.
pub(super) fn view_of_occurrence(store: &Store, master: &Item, found: &Occurrence) -> Fields {
    let mut view = super::shape::view(store, &Item { fields: found.fields.clone(), ..master.clone() });
    view.insert("IsRecurring".into(), json!(found.kind != "Single"));
    view.insert("CalendarItemType".into(), json!(found.kind));
    view
}

pub(super) fn organizer(store: &Store, owner: &str) -> Value {
    let name = store
        .items(owner, super::mailbox::FOLDER)
        .next()
        .and_then(|root| root.fields.get("OwnerName").map(shown))
        .unwrap_or_else(|| owner.to_owned());
    json!({ "Name": name, "EmailAddress": owner })
}

pub(super) fn write_organizer(out: &mut Out, view: &Fields) {
    if let Some(organizer) = view.get("Organizer") {
        out.start("t:Organizer");
        mailbox(out, &shown(&organizer["Name"]), &shown(&organizer["EmailAddress"]));
        out.end();
    }
}

pub(super) fn write_occurrences(out: &mut Out, element: &str, view: &Fields) {
    let Some(list) = view.get(element).and_then(Value::as_array).filter(|list| !list.is_empty()) else { return };
    let one = |out: &mut Out, found: &Value| {
        out.empty("t:ItemId", &[("Id", &shown(&found["id"])), ("ChangeKey", "EQAAAA==")])
            .leaf("t:Start", &shown(&found["Start"]))
            .leaf("t:End", &shown(&found["End"]))
            .leaf("t:OriginalStart", &shown(&found["OriginalStart"]));
    };
    out.start(&format!("t:{element}"));
    for found in list {
        match element {
            "DeletedOccurrences" => drop(out.start("t:DeletedOccurrence").leaf("t:Start", &shown(found)).end()),
            "ModifiedOccurrences" => {
                out.start("t:Occurrence");
                one(out, found);
                out.end();
            }
            _ => one(out, found),
        }
    }
    out.end();
}

/// Puts the times of a written event into their stored form, and refuses what makes no sense. `before` is what it held.
pub(super) fn settle(fields: &mut Fields, context: Option<&str>) -> Result<(), Problem> {
    for key in ["StartTimeZone", "EndTimeZone", "MeetingTimeZone"] {
        if let Some(name) = fields.get(key).and_then(Value::as_str).filter(|name| !name.is_empty() && !is_zone(name)) {
            return Err(Problem::of_field(
                "ErrorInvalidTimeZone",
                format!("The time zone '{name}' is not known."),
                &format!("calendar:{key}"),
            ));
        }
    }
    let named = fields.get("StartTimeZone").and_then(Value::as_str).or(context).unwrap_or("UTC").to_owned();
    let tz: TimeZone = zone(context.unwrap_or(&named));
    for key in ["Start", "End"] {
        let Some(text) = fields.get(key).map(shown).filter(|text| !text.is_empty()) else { continue };
        let Some(time) = moment(&text, &tz) else {
            let text = format!("The value '{text}' is no date and time.");
            return Err(Problem::of_field("ErrorInvalidValueForProperty", text, &format!("calendar:{key}")));
        };
        fields.insert(key.to_owned(), json!(stored(time)));
    }
    fields.entry("StartTimeZone").or_insert(json!(named));
    let zone_of_start = fields.get("StartTimeZone").cloned().unwrap_or_default();
    fields.entry("EndTimeZone").or_insert(zone_of_start);
    let (Some(start), Some(end)) = (time(fields, "Start"), time(fields, "End")) else {
        return Err(Problem::of_field(
            "ErrorRequiredPropertyMissing",
            "The required property is missing.",
            "calendar:Start",
        ));
    };
    if end < start {
        return Err(Problem::new("ErrorCalendarEndDateIsEarlierThanStartDate", "EndDate is earlier than StartDate"));
    }
    if fields.get("IsAllDayEvent").map(shown).is_some_and(|text| matches!(text.as_str(), "true" | "1")) {
        // An event of whole days begins and ends at midnight of the zone that it was made in.
        let tz = zone(&named);
        let midnight = |time: Timestamp, up: bool| {
            let local = time.to_zoned(tz.clone());
            let day = local.start_of_day().ok()?;
            let whole = if up && day.timestamp() != time { day.tomorrow().ok()?.start_of_day().ok()? } else { day };
            Some(whole.timestamp())
        };
        if let (Some(from), Some(to)) = (midnight(start, false), midnight(end, true)) {
            let to = if to <= from {
                midnight(from + jiff::SignedDuration::from_hours(25), false).unwrap_or(to)
            } else {
                to
            };
            fields.insert("Start".into(), json!(stored(from)));
            fields.insert("End".into(), json!(stored(to)));
        }
    }
    for key in ["IsAllDayEvent", "ReminderIsSet", "IsResponseRequested", "AllowNewTimeProposal"] {
        if let Some(text) = fields.get(key).map(shown) {
            fields.insert(key.to_owned(), json!(matches!(text.as_str(), "true" | "1")));
        }
    }
    Ok(())
}
