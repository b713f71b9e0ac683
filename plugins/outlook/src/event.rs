//! Events: single ones and series. A series is one record; its occurrences that differ are overrides of its fields.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use pairwise_http::{Json, Object, json};
use pairwise_plugin_api::{
    Answer, Condition, Entity, EntityKind, Field, FieldType, Fields, Level, Name, Participant, ParticipantKind,
    Principal, Record, Role, Severity, Value, Write, overrides,
};

use crate::connector::Outlook;
use crate::folders::{FOLDER, Folder};
use crate::graph::query;
use crate::property::{self, OWN};
use crate::settings::Config;
use crate::{recurrence, series, zones};

/// The members of an event that are asked for.
const SELECT: &str = "id,changeKey,createdDateTime,lastModifiedDateTime,subject,body,start,end,originalStartTimeZone,isAllDay,\
                      location,showAs,sensitivity,importance,categories,isReminderOn,reminderMinutesBeforeStart,type,\
                      seriesMasterId,recurrence,iCalUId,isCancelled,isOrganizer,organizer,attendees,originalStart";

/// A view of a calendar is looked at anew after so many days, because its window stays where it was.
const STALE_DAYS: i64 = 7;

const DAY: i64 = 86_400_000;

/// Fields: native name, canonical path, type, whether it can be written.
const FIELDS: &[(&str, &str, FieldType, bool)] = &[
    ("subject", "title", FieldType::Text, true),
    ("body", "description", FieldType::Text, true),
    ("location", "locations/1/name", FieldType::Text, true),
    ("start", "start", FieldType::DateTime, true),
    ("end", "end", FieldType::DateTime, true),
    ("timeZone", "timeZone", FieldType::Text, true),
    ("isAllDay", "showWithoutTime", FieldType::Bool, true),
    ("showAs", "freeBusyStatus", FieldType::Text, true),
    ("sensitivity", "privacy", FieldType::Text, true),
    ("importance", "", FieldType::Text, true),
    ("categories", "keywords", FieldType::TextList, true),
    ("reminder", "alerts/1/minutes", FieldType::Int, true),
    (recurrence::FIELD, recurrence::PATH, FieldType::TextList, true),
    ("isCancelled", "status", FieldType::Text, false),
    ("recurring", "recurring", FieldType::Bool, false),
    ("iCalUId", "uid", FieldType::Text, false),
    ("originalStart", "recurrenceId", FieldType::DateTime, false),
    ("isOrganizer", "isOrganizer", FieldType::Bool, false),
    ("organizerIsInternal", "organizerIsInternal", FieldType::Bool, false),
];

/// Fields that are written together, because the server judges them together.
const TIMES: &[&str] = &["start", "end", "timeZone", "isAllDay", recurrence::FIELD];

/// One way of looking at events.
#[derive(Debug)]
pub(crate) struct Shape {
    past_days: i64,
    future_days: i64,
}

impl Shape {
    pub(crate) fn new(config: &Config) -> Self {
        Shape { past_days: i64::from(config.past_days), future_days: i64::from(config.future_days) }
    }

    pub(crate) fn entity(&self) -> Entity {
        let field = |(name, path, kind, writable): &(&str, &str, FieldType, bool)| {
            let length = (*name == "subject" || *name == "location").then_some(255);
            let field = Field { length, ..Field::new(*name, *kind).path(*path) };
            if *writable { field } else { field.read_only() }
        };
        Entity {
            name: "event".to_owned(),
            label: "Events".to_owned(),
            kind: EntityKind::Event,
            fields: FIELDS.iter().map(field).chain([overrides::family()]).collect(),
            selectors: vec![FOLDER.to_owned()],
        }
    }

    pub(crate) fn select(&self) -> String {
        SELECT.to_owned()
    }

    pub(crate) fn expand(&self) -> String {
        property::expand(OWN.into_iter())
    }

    /// What is asked for only of one event by its id, as Graph tells it only there: which occurrences of a series differ.
    pub(crate) fn of_series(&self) -> (String, String) {
        (format!("{},{}", self.select(), series::CANCELLED), format!("{},{}", self.expand(), series::EXCEPTIONS))
    }

    /// The view's window was set at this time: whether it should move on.
    pub(crate) fn is_stale(&self, since: i64) -> bool {
        Timestamp::now().as_millisecond() - since > STALE_DAYS * DAY
    }

    /// Fills a record with what an event tells.
    pub(crate) fn fill(&self, event: &Json, _expanded: bool, record: &mut Record) {
        let mut fields = Fields::new();
        let mut set = |name: &str, value: Value| drop(fields.set(name, value));
        let text = |member: &Json| match member.as_str() {
            Some(text) if !text.trim().is_empty() => Value::from(tidy(text)),
            _ => Value::Null,
        };
        set("subject", text(&event["subject"]));
        set("body", text(&event["body"]["content"]));
        set("location", text(&event["location"]["displayName"]));
        let is_series = event["type"] == "seriesMaster";
        let all_day = event["isAllDay"].as_bool().unwrap_or_default();
        let zone = event["originalStartTimeZone"].as_str().unwrap_or("UTC");
        let known = if zones::is_utc(zone) { None } else { zones::iana(zone) };
        if known.is_none() && !zones::is_utc(zone) && is_series && !all_day {
            record.conditions.push(unknown_zone(zone));
        }
        let time = |moment: &Json| read_time(moment, all_day, known.as_deref());
        set("start", time(&event["start"]));
        set("end", time(&event["end"]));
        set("timeZone", known.clone().filter(|_| !all_day).map_or(Value::Null, Value::from));
        set("isAllDay", Value::Bool(all_day));
        // Busy is what an event is that says nothing of it.
        let is_free = matches!(event["showAs"].as_str(), Some("free" | "workingElsewhere"));
        set("showAs", if is_free { Value::from("free") } else { Value::Null });
        set(
            "sensitivity",
            match event["sensitivity"].as_str() {
                Some("private" | "personal") => Value::from("private"),
                Some("confidential") => Value::from("secret"),
                _ => Value::Null,
            },
        );
        set("importance", text(&event["importance"]));
        let categories = event["categories"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        set("categories", if categories.is_empty() { Value::Null } else { Value::from(categories) });
        let reminder = event["reminderMinutesBeforeStart"].as_i64();
        let reminds = event["isReminderOn"].as_bool().unwrap_or_default();
        set("reminder", reminder.filter(|_| reminds).map_or(Value::Null, Value::Int));
        set(recurrence::FIELD, recurrence::read(&event["recurrence"], known.as_deref(), all_day));
        let cancelled = event["isCancelled"].as_bool().unwrap_or_default();
        set("isCancelled", Value::from(if cancelled { "cancelled" } else { "confirmed" }));
        set("recurring", Value::Bool(is_series || event["seriesMasterId"].as_str().is_some()));
        set("iCalUId", text(&event["iCalUId"]));
        set("originalStart", text(&event["originalStart"]));
        set("isOrganizer", event["isOrganizer"].as_bool().map_or(Value::Null, Value::Bool));
        let (organizer, people) = people(event);
        let internal =
            organizer.as_ref().map_or(Value::Null, |person| Value::Bool(person.kind == ParticipantKind::Internal));
        set("organizerIsInternal", internal);
        if is_series {
            series::add(&mut fields, event, |occurrence| {
                let mut told = Record::default();
                self.fill(&as_one_of(occurrence, event), false, &mut told);
                told.fields
            });
        }
        record.fields = fields;
        record.participants = organizer.into_iter().chain(people).collect();
        // The calendar's own UID cannot be chosen: that of the counterpart stands beside it.
        record.uid = record.uid.take().or_else(|| event["iCalUId"].as_str().map(str::to_owned));
        record.occurrence = event["originalStart"].as_str().map(str::to_owned);
    }

    pub(crate) fn needs_present(&self, fields: &Fields) -> bool {
        self.has_times(fields) || !overrides::of(fields).is_empty()
    }

    fn has_times(&self, fields: &Fields) -> bool {
        TIMES.iter().any(|name| fields.get(name).is_some())
    }

    /// The JSON of a write, and the fields that it leaves out.
    pub(crate) fn write(&self, write: &Write, present: &Json) -> (Object, Vec<Name>) {
        let mut body = Object::new();
        let mut refused = Vec::new();
        for (name, value) in write.fields.iter() {
            let plain = value.to_string();
            let mut put = |member: &str, value: Json| drop(body.insert(member.to_owned(), value));
            match &**name {
                "subject" => put("subject", json!(plain)),
                "body" => put("body", json!({ "contentType": "text", "content": plain })),
                "location" => put("location", json!({ "displayName": plain })),
                "showAs" => put("showAs", json!(if plain == "free" { "free" } else { "busy" })),
                "sensitivity" => put(
                    "sensitivity",
                    json!(match plain.as_str() {
                        "private" => "private",
                        "secret" => "confidential",
                        _ => "normal",
                    }),
                ),
                "importance" => put("importance", json!(if plain.is_empty() { "normal" } else { plain.as_str() })),
                "categories" => put(
                    "categories",
                    match value {
                        Value::List(list) => list.iter().map(|value| json!(value.to_string())).collect(),
                        _ if plain.is_empty() => json!([]),
                        _ => json!([plain]),
                    },
                ),
                "reminder" => {
                    put("isReminderOn", json!(!value.is_empty()));
                    if let Value::Int(minutes) = value {
                        put("reminderMinutesBeforeStart", json!(minutes));
                    }
                }
                name if TIMES.contains(&name) => {}
                // Occurrences are written after their series.
                name if overrides::parts(name).is_some() => {}
                _ => refused.push(name.clone()),
            }
        }
        if self.has_times(&write.fields) {
            let mut now = Record::default();
            if !present.is_null() {
                self.fill(present, false, &mut now);
            }
            write_times(&write.fields, &now.fields, &mut body, &mut refused);
        }
        // Whoever is named gets mail from the server: people are written only if that is wanted.
        if let Some(people) = write.participants.as_ref().filter(|_| write.invite) {
            let attendees = people.iter().filter(|person| person.role != Role::Organizer).map(attendee);
            body.insert("attendees".to_owned(), attendees.collect());
        }
        (body, refused)
    }

    /// The JSON of a write of one occurrence, which then holds all of this.
    pub(crate) fn write_occurrence(&self, write: &Write, mut whole: Fields) -> Object {
        // The rule is the series' own.
        whole.remove(recurrence::FIELD);
        let plain = write.fields.iter().filter(|(name, _)| !TIMES.contains(&&***name));
        let plain =
            Write { fields: plain.map(|(name, value)| (name.clone(), value.clone())).collect(), ..write.clone() };
        let (mut body, _) = self.write(&plain, &Json::Null);
        if self.has_times(&write.fields) {
            write_times(&write.fields, &whole, &mut body, &mut Vec::new());
        }
        body
    }
}

/// Start and end go together, each with its zone. `now` is what the event holds beside what is written.
fn write_times(fields: &Fields, now: &Fields, body: &mut Object, refused: &mut Vec<Name>) {
    let value = |name: &str| fields.get(name).or_else(|| now.get(name)).cloned().unwrap_or_default();
    let zone = value("timeZone").as_text().map(str::to_owned);
    let start = value("start").to_string();
    let all_day = value("isAllDay") == Value::Bool(true) || !start.contains('T');
    let moment = |text: &str| {
        let clock = text.trim_end_matches('Z');
        let clock = if clock.contains('T') { clock.to_owned() } else { format!("{clock}T00:00:00") };
        let clock = if all_day { format!("{}T00:00:00", clock.get(..10)?) } else { clock };
        clock.parse::<DateTime>().ok()?;
        let zone = zone.as_deref().filter(|_| !text.ends_with('Z') && !all_day);
        Some(json!({ "dateTime": clock, "timeZone": zone.map_or_else(|| "UTC".to_owned(), zones::wire) }))
    };
    let changes = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    if changes(&["start", "end", "timeZone", "isAllDay"]) {
        match (moment(&start), moment(&value("end").to_string())) {
            (Some(start), Some(end)) => {
                body.insert("isAllDay".to_owned(), json!(all_day));
                body.insert("start".to_owned(), start);
                body.insert("end".to_owned(), end);
            }
            _ => refused
                .extend(["start", "end"].iter().filter(|name| fields.get(name).is_some()).map(|name| Arc::from(*name))),
        }
    }
    let rule = value(recurrence::FIELD);
    // The range of a series begins with its start, so that it moves along.
    if fields.get(recurrence::FIELD).is_some() || (changes(&["start"]) && !rule.is_empty()) {
        match recurrence::write(&rule, &start, zone.as_deref()) {
            Some(recurrence) => drop(body.insert("recurrence".to_owned(), recurrence)),
            None => refused.push(Arc::from(recurrence::FIELD)),
        }
    }
}

impl Outlook {
    /// The address of a calendar's changes within the window of now, and when that was set.
    pub(crate) fn window(&self, principal: &Principal, folder: &Folder) -> (String, i64) {
        let now = Timestamp::now().as_millisecond();
        let day = |days: i64| {
            let moment = Timestamp::from_millisecond(now + days * DAY).unwrap_or_default();
            moment.strftime("%Y-%m-%dT00:00:00Z").to_string()
        };
        let (from, until) = (day(-self.events.past_days), day(self.events.future_days));
        let items = self.folder_path(principal, crate::kind::Kind::Event, folder);
        let calendar = items.trim_end_matches("/events");
        let window = query(&[("startDateTime", &from), ("endDateTime", &until)]);
        (format!("{calendar}/calendarView/delta{window}"), now)
    }
}

/// The event that a line of a calendar's changes is about: of an occurrence its series.
pub(crate) fn subject_of(line: &Json) -> &str {
    line["seriesMasterId"].as_str().filter(|id| !id.is_empty()).unwrap_or_else(|| crate::record::id(line))
}

/// `2026-12-01T10:00:00.0000000`, in UTC, on the clocks of the event's own zone. A whole day has a date only.
fn read_time(moment: &Json, all_day: bool, zone: Option<&str>) -> Value {
    let Some(text) = moment["dateTime"].as_str() else { return Value::Null };
    if all_day {
        return text.get(..10).map_or(Value::Null, Value::from);
    }
    let Ok(read) = text.trim_end_matches('Z').parse::<DateTime>() else { return Value::from(text) };
    let printed = |time: DateTime| time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let told = moment["timeZone"].as_str().unwrap_or("UTC");
    if !zones::is_utc(told) {
        return Value::from(printed(read));
    }
    match zone.and_then(|zone| zones::local(read, zone)) {
        Some(local) => Value::from(printed(local)),
        None => Value::from(format!("{}Z", printed(read))),
    }
}

/// An occurrence is told by the clocks of its series.
fn as_one_of(occurrence: &Json, series: &Json) -> Json {
    let mut one = occurrence.as_object().cloned().unwrap_or_default();
    one.insert("originalStartTimeZone", series["originalStartTimeZone"].clone());
    Json::Object(one)
}

fn unknown_zone(zone: &str) -> Condition {
    Condition {
        code: "unknown_time_zone".to_owned(),
        level: Level::Record,
        severity: Severity::Error,
        subject: "timeZone".to_owned(),
        text: format!("the series is in the time zone `{zone}`, which is none that is known: give it one that is"),
    }
}

/// Servers end texts with line ends of their own.
fn tidy(text: &str) -> String {
    text.replace("\r\n", "\n").trim_end().to_owned()
}

/// The organizer and the attendees.
fn people(event: &Json) -> (Option<Participant>, Vec<Participant>) {
    let address = |person: &Json| person["emailAddress"]["address"].as_str().unwrap_or_default().to_owned();
    let name = |person: &Json| person["emailAddress"]["name"].as_str().unwrap_or_default().to_owned();
    let organizer = &event["organizer"];
    let domain = |address: &str| address.rsplit('@').next().unwrap_or_default().to_lowercase();
    let home = domain(&address(organizer));
    let organizer = (!address(organizer).is_empty()).then(|| Participant {
        key: address(organizer).to_lowercase(),
        address: address(organizer),
        name: name(organizer),
        role: Role::Organizer,
        // Assumption: an event that the mailbox organizes is the only sign of its own domain.
        kind: match event["isOrganizer"].as_bool() {
            Some(true) => ParticipantKind::Internal,
            _ => ParticipantKind::Unknown,
        },
        ..Participant::default()
    });
    let is_home = event["isOrganizer"].as_bool() == Some(true);
    let attendee = |person: &Json| Participant {
        key: address(person).to_lowercase(),
        address: address(person),
        name: name(person),
        role: match person["type"].as_str() {
            Some("optional") => Role::Optional,
            Some("resource") => Role::Resource,
            _ => Role::Required,
        },
        answer: match person["status"]["response"].as_str() {
            Some("accepted" | "organizer") => Answer::Accepted,
            Some("tentativelyAccepted") => Answer::Tentative,
            Some("declined") => Answer::Declined,
            _ => Answer::NeedsAction,
        },
        kind: match person["type"].as_str() {
            Some("resource") => ParticipantKind::Resource,
            _ if is_home && domain(&address(person)) == home => ParticipantKind::Internal,
            _ if is_home => ParticipantKind::External,
            _ => ParticipantKind::Unknown,
        },
        ..Participant::default()
    };
    (organizer, event["attendees"].as_array().into_iter().flatten().map(attendee).collect())
}

fn attendee(person: &Participant) -> Json {
    let kind = match person.role {
        Role::Optional => "optional",
        Role::Resource => "resource",
        _ => "required",
    };
    json!({ "type": kind, "emailAddress": { "address": person.address, "name": person.name } })
}
