//! Events: fields that take several properties, attendees, and series.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pairwise_plugin_api::{
    Action, Answer, Condition, Fields, Participant, ParticipantKind, Record, Role, Value, Write,
};

use crate::change::{Change, Piece, Refused, leaf, refused};
use crate::recurrence;
use crate::series::Series;
use crate::times::{field, iana, moment, of_field, windows, written, zone};
use crate::xml::{Node, Writer, is_true};

pub(crate) const START: &str = "Start";
pub(crate) const END: &str = "End";
pub(crate) const ALL_DAY: &str = "IsAllDayEvent";
pub(crate) const ZONE: &str = "StartTimeZone";
const REMINDER: &str = "ReminderMinutesBeforeStart";
/// The rule of a series, and the occurrences that were taken out of it, as lines of iCalendar.
const RRULE: &str = "recurrence";
const LEFT_OUT: &str = "leftOut";

const ROLES: [(&str, Role); 3] =
    [("RequiredAttendees", Role::Required), ("OptionalAttendees", Role::Optional), ("Resources", Role::Resource)];

/// What a write of times has to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    /// What the event holds now, as it was read; not needed for new ones.
    pub(crate) current: Fields,
    /// The zone of the mailbox: days begin and end there.
    pub(crate) home: String,
}

/// Whether an update needs to know what the event holds now: its other times, and the occurrences that differ, which the
/// server forgets together with the old times.
pub(crate) fn needs_current(write: &Write) -> bool {
    write.action == Action::Update
        && [START, END, ALL_DAY, ZONE, RRULE].iter().any(|name| write.fields.get(name).is_some())
}

/// Reads what makes an event of an item into its record; of a series also which of its occurrences differ.
pub(crate) fn read(item: Node<'_>, mailbox: &str, record: &mut Record) -> Option<Series> {
    let text = |name: &str| item.text_of(name);
    let fields = &mut record.fields;
    let kind = text("CalendarItemType").unwrap_or("Single");
    let all_day = text(ALL_DAY).is_some_and(is_true);
    let named = item.child(ZONE).and_then(|zone| zone.attribute("Id")).unwrap_or("UTC");
    let known = iana(named);
    let is_utc = matches!(named, "UTC" | "tzone://Microsoft/Utc") || known.is_none();
    // The instants of a single event are right whatever its zone is called; those of a series are not.
    if known.is_none() && !is_utc_name(named) && (kind == "RecurringMaster" || all_day) {
        record.conditions.push(Condition {
            code: "unknown_time_zone".to_owned(),
            ..Condition::unreadable(format!("nobody knows the time zone `{named}` that this event is written in"))
        });
    }
    let clock = Clock { tz: known.and_then(zone).unwrap_or(TimeZone::UTC), is_utc };
    let told = |time: Option<&str>| time.and_then(moment).map_or(Value::Null, |time| clock.told(time, all_day));
    fields.set(START, told(text(START)));
    fields.set(END, told(text(END)));
    fields.set(ALL_DAY, all_day);
    fields.set(ZONE, known.filter(|_| !is_utc && !all_day).map_or(Value::Null, Value::from));
    let minutes = text(REMINDER).and_then(|text| text.parse::<i64>().ok());
    let reminds = text("ReminderIsSet").is_some_and(is_true);
    fields.set(REMINDER, minutes.filter(|_| reminds).map_or(Value::Null, Value::from));
    fields.set("UID", text("UID").map_or(Value::Null, Value::from));
    let original = text("RecurrenceId").and_then(moment).map(|time| field(time, &TimeZone::UTC, true));
    fields.set("RecurrenceId", original.clone().map_or(Value::Null, Value::from));
    fields.set(
        "IsCancelled",
        if text("IsCancelled").is_some_and(is_true) { Value::from("cancelled") } else { Value::Null },
    );
    fields.set("recurring", kind != "Single");
    let meeting = text("IsMeeting").is_some_and(is_true);
    let own = text("IsOrganizer").map(is_true).or(text("MyResponseType").map(|answer| answer == "Organizer"));
    fields.set("isOrganizer", !meeting || own.unwrap_or(false));
    let organizer = item.at(&["Organizer", "Mailbox"]);
    let address = organizer.and_then(|organizer| organizer.text_of("EmailAddress")).unwrap_or_default();
    fields.set("organizerIsInternal", !meeting || same_domain(address, mailbox));
    let rule = item.child("Recurrence").and_then(|found| recurrence::from_xml(found, fields.text(START), &clock.tz));
    fields.set(RRULE, rule.map_or(Value::Null, |rule| vec![Value::from(format!("RRULE:{rule}"))].into()));
    let deleted = item.child("DeletedOccurrences").into_iter().flat_map(|all| all.all("DeletedOccurrence"));
    let left_out: Vec<Value> =
        deleted.filter_map(|one| left_out(one.text_of("Start")?, &clock.tz, known, is_utc, all_day)).collect();
    fields.set(LEFT_OUT, if left_out.is_empty() { Value::Null } else { left_out.into() });
    record.uid = text("UID").map(str::to_owned).or(record.uid.take());
    record.occurrence = original.filter(|_| matches!(kind, "Occurrence" | "Exception"));
    if meeting {
        record.participants = participants(item, organizer, mailbox);
    }
    (kind == "RecurringMaster").then(|| Series::of(item, clock, record))
}

/// The clock that an event is told by.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    pub(crate) tz: TimeZone,
    is_utc: bool,
}

impl Clock {
    /// A moment as a field: of whole days the date alone.
    pub(crate) fn told(&self, time: Timestamp, all_day: bool) -> Value {
        match all_day {
            true => time.to_zoned(self.tz.clone()).date().to_string().into(),
            false => field(time, &self.tz, self.is_utc).into(),
        }
    }
}

fn is_utc_name(name: &str) -> bool {
    matches!(name, "" | "UTC" | "tzone://Microsoft/Utc")
}

fn left_out(start: &str, tz: &TimeZone, zone: Option<&str>, is_utc: bool, all_day: bool) -> Option<Value> {
    let time = moment(start)?;
    let local = time.to_zoned(tz.clone());
    Some(Value::from(match zone {
        _ if all_day => format!("EXDATE;VALUE=DATE:{}", local.strftime("%Y%m%d")),
        Some(zone) if !is_utc => format!("EXDATE;TZID={zone}:{}", local.strftime("%Y%m%dT%H%M%S")),
        _ => format!("EXDATE:{}", time.strftime("%Y%m%dT%H%M%SZ")),
    }))
}

fn same_domain(a: &str, b: &str) -> bool {
    let domain = |address: &str| address.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
    domain(a).is_some() && domain(a) == domain(b)
}

fn participants(item: Node<'_>, organizer: Option<Node<'_>>, mailbox: &str) -> Vec<Participant> {
    let one = |person: Node<'_>, role: Role, answer: Answer| {
        let text = |name: &str| person.text_of(name).unwrap_or_default().to_owned();
        let address = text("EmailAddress");
        let kind = match role {
            Role::Resource => ParticipantKind::Resource,
            _ if same_domain(&address, mailbox) => ParticipantKind::Internal,
            _ => ParticipantKind::External,
        };
        Participant { address, name: text("Name"), role, answer, kind, ..Participant::default() }
    };
    let mut all: Vec<Participant> =
        organizer.map(|organizer| one(organizer, Role::Organizer, Answer::Accepted)).into_iter().collect();
    for (element, role) in ROLES {
        for attendee in item.child(element).into_iter().flat_map(|people| people.all("Attendee")) {
            let answer = match attendee.text_of("ResponseType") {
                Some("Accept" | "Organizer") => Answer::Accepted,
                Some("Tentative") => Answer::Tentative,
                Some("Decline") => Answer::Declined,
                _ => Answer::NeedsAction,
            };
            all.extend(attendee.child("Mailbox").map(|person| one(person, role, answer)));
        }
    }
    all
}

/// What a write of an event sends beside its plain fields.
pub(crate) fn change(write: &Write, times: &Times, change: &mut Change) -> Result<(), Refused> {
    let new = write.action == Action::Create;
    match write.fields.get(REMINDER) {
        Some(Value::Int(minutes)) => {
            change.pieces.push(Piece::element("ReminderIsSet", leaf("ReminderIsSet", "true")));
            change.pieces.push(Piece::element(REMINDER, leaf(REMINDER, &minutes.to_string())));
        }
        None if !new => {}
        // Left to itself the server reminds of every new event.
        _ => change.pieces.push(Piece::element("ReminderIsSet", leaf("ReminderIsSet", "false"))),
    }
    set_times(write, times, new, change)?;
    if let Some(people) = &write.participants {
        for (element, role) in ROLES {
            let invited: Vec<&Participant> = people.iter().filter(|person| person.role == role).collect();
            if !invited.is_empty() {
                change.pieces.push(Piece::element(element, attendees(element, &invited)));
            } else if !new {
                change.pieces.push(Piece::nothing(element));
            }
        }
    }
    Ok(())
}

fn attendees(element: &str, people: &[&Participant]) -> String {
    let mut out = Writer::new();
    out.start(format!("t:{element}"));
    for person in people {
        out.start("t:Attendee").start("t:Mailbox");
        if !person.name.is_empty() {
            out.leaf("t:Name", &person.name);
        }
        out.leaf("t:EmailAddress", &person.address).end().end();
    }
    out.done()
}

fn set_times(write: &Write, times: &Times, new: bool, change: &mut Change) -> Result<(), Refused> {
    let given = |name: &str| write.fields.get(name).is_some();
    let value = |name: &str| write.fields.get(name).or_else(|| times.current.get(name));
    let text = |name: &str| value(name).map(ToString::to_string).filter(|text| !text.is_empty());
    if ![START, END, ALL_DAY, ZONE, RRULE].iter().any(|name| given(name)) {
        return Ok(());
    }
    let start = text(START).ok_or_else(|| refused("no_start", START, "an event needs a start".to_owned()))?;
    let is_day = |text: &str| !text.contains('T');
    let all_day = value(ALL_DAY).is_some_and(|value| *value == Value::Bool(true)) || is_day(&start);
    let named = match text(ZONE) {
        Some(name) if !all_day => name,
        _ if all_day => times.home.clone(),
        _ if start.ends_with('Z') => "UTC".to_owned(),
        _ => times.home.clone(),
    };
    let unknown = || refused("unknown_time_zone", ZONE, format!("Exchange knows no time zone `{named}`"));
    let windows = windows(&named).ok_or_else(unknown)?;
    let tz = zone(&named).ok_or_else(unknown)?;
    let at = |name: &'static str, text: &str| {
        of_field(text, &tz).ok_or_else(|| refused("no_time", name, format!("`{text}` is no date and time")))
    };
    let from = at(START, &start)?;
    let until = match text(END) {
        Some(end) => at(END, &end)?,
        None if all_day => from + jiff::SignedDuration::from_hours(24),
        None => from,
    };
    let moved = given(ZONE) || given(ALL_DAY);
    let mut put = |name: &'static str, xml: String| change.pieces.push(Piece::element(name, xml));
    if new || given(START) || moved {
        put(START, leaf(START, &written(from, &tz)));
    }
    if new || given(END) || moved {
        put(END, leaf(END, &written(until, &tz)));
    }
    if new || given(ALL_DAY) {
        put(ALL_DAY, leaf(ALL_DAY, if all_day { "true" } else { "false" }));
    }
    if new || moved {
        for name in [ZONE, "EndTimeZone"] {
            let mut out = Writer::new();
            out.empty(&format!("t:{name}"), &[("Id", windows)]);
            put(name, out.done());
        }
    }
    match write.fields.get(RRULE).map(first_line) {
        None => {}
        Some(None) if new => {}
        Some(None) => change.pieces.push(Piece::nothing("Recurrence")),
        Some(Some(rule)) => {
            let day = from.to_zoned(tz.clone()).date();
            let xml = recurrence::to_xml(&rule, day, &tz).map_err(|why| {
                refused(
                    "unsupported_recurrence",
                    RRULE,
                    format!("`{rule}` cannot be kept: {why}; make it single events"),
                )
            })?;
            change.pieces.push(Piece::element("Recurrence", xml));
        }
    }
    Ok(())
}

/// The rule of `RRULE:…`, of one line.
fn first_line(value: &Value) -> Option<String> {
    let line = match value {
        Value::List(lines) => lines.first()?.to_string(),
        other => other.to_string(),
    };
    let rule = line.split_once(':').map_or(line.as_str(), |(_, rule)| rule).trim().to_uppercase();
    (!rule.is_empty()).then_some(rule)
}
