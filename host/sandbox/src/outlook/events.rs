//! Calendars and events: single ones, series with exceptions, views of a span of time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::call::{Answer, Call, Reply};
use super::delta::{Scope, Token};
use super::expand::{Occurrence, occurrences};
use super::item::{self, PROPERTIES};
use super::mailbox::{is_delta, members};
use super::{Graph, folders};
use crate::store::{Fields, Item};

/// Members that a client sets; all of them are shown.
const MEMBERS: &[&str] = &[
    "subject",
    "body",
    "start",
    "end",
    "originalStartTimeZone",
    "originalEndTimeZone",
    "isAllDay",
    "location",
    "locations",
    "showAs",
    "sensitivity",
    "importance",
    "categories",
    "isReminderOn",
    "reminderMinutesBeforeStart",
    "recurrence",
    "attendees",
    "responseRequested",
    "isOnlineMeeting",
    "onlineMeetingProvider",
    "transactionId",
    "allowNewTimeProposals",
    "hideAttendees",
    "isDraft",
    "bodyPreview",
];
/// Members that only the server sets.
const SERVER: &[&str] = &[
    "id",
    "changeKey",
    "createdDateTime",
    "lastModifiedDateTime",
    "iCalUId",
    "type",
    "seriesMasterId",
    "isOrganizer",
    "organizer",
    "responseStatus",
    "isCancelled",
    "webLink",
    "originalStart",
    "hasAttachments",
    "onlineMeeting",
    "onlineMeetingUrl",
    "occurrenceId",
    "uid",
];
/// Occurrences that were cancelled and exceptions, by their original start: what only the store holds.
pub(super) const CANCELLED: &str = "#cancelled";
pub(super) const EXCEPTIONS: &str = "#exceptions";

const MOST_ATTENDEES: usize = 500;

pub(super) fn handle(graph: &Graph, call: &Call, user: &str, rest: &[String], words: &[&str]) -> Answer {
    let default = folders::default_calendar(user);
    let (calendar, inner) = match words {
        ["events", ..] => (default, words),
        ["calendar", inner @ ..] => (default, inner),
        ["calendars"] => return graph.calendars(call, user),
        ["calendars", _, inner @ ..] => (graph.calendar(user, &rest[1])?.id, inner),
        _ => (default, words),
    };
    let depth = rest.len() - inner.len();
    match (call.method.as_str(), inner) {
        ("GET", []) => graph.calendar(user, &calendar).map(|item| Reply::ok(show_calendar(&item, call))),
        ("GET", ["events"]) => {
            let kept = |item: &Item| item.container.as_deref() == Some(calendar.as_str());
            let shown = |item: &Item| graph.event(call, item);
            graph.list(call, user, "event", kept, shown, shown)
        }
        ("POST", ["events"]) => graph.create_event(call, user, &calendar),
        ("GET", ["events", delta]) if is_delta(delta) => {
            let scope = Scope { owner: user, entity: "event", container: Some(&calendar) };
            graph.delta(call, &scope, |item, _| vec![graph.event(call, item)])
        }
        ("GET", ["calendarview"]) => graph.view(call, user, &calendar),
        ("GET", ["calendarview", delta]) if is_delta(delta) => graph.view_delta(call, user, &calendar),
        (_, ["events", _, more @ ..]) => graph.one_event(call, user, &rest[depth + 1], more),
        _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
    }
}

fn show_calendar(calendar: &Item, call: &Call) -> Value {
    json!({
        "id": item::shown_id(calendar, call),
        "name": calendar.fields["name"],
        "isDefaultCalendar": calendar.fields.get("isDefault").is_some(),
        "canEdit": true,
        "canShare": true,
        "canViewPrivateItems": true,
        "color": "auto",
        "changeKey": item::change_key(calendar.version),
        "owner": { "name": calendar.owner, "address": calendar.owner },
    })
}

impl Graph {
    pub(super) fn calendar(&self, user: &str, id: &str) -> Result<Item, Reply> {
        let found = self.core.read(|store| store.get(id).cloned());
        found.filter(|item| item.owner == user && item.entity == "calendar").ok_or_else(Reply::not_found)
    }

    fn calendars(&self, call: &Call, user: &str) -> Answer {
        match call.method.as_str() {
            "GET" => {
                let shown = |item: &Item| show_calendar(item, call);
                self.list(call, user, "calendar", |_| true, shown, shown)
            }
            "POST" => {
                let name = call.body["name"].as_str().unwrap_or_default().to_owned();
                let made = self.core.write(|store, now| {
                    let id =
                        format!("{}{}=", folders::default_calendar(user).trim_end_matches('='), store.next_number());
                    let fields = Fields::from_iter([("name".to_owned(), json!(name))]);
                    store.insert(now, user, "calendar", &id, None, fields).clone()
                });
                Ok(Reply::json(201, show_calendar(&made, call)))
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    /// An event as it is shown, its times in UTC unless the client wishes another zone.
    pub(super) fn event(&self, call: &Call, event: &Item) -> Value {
        let (select, expand) = (call.option("select").unwrap_or_default(), call.option("expand").unwrap_or_default());
        item::choose(self.whole_event(call, event), event, select, expand)
    }

    fn whole_event(&self, call: &Call, event: &Item) -> Map<String, Value> {
        let mut shown = item::head(event, call);
        for name in MEMBERS {
            shown.insert((*name).to_owned(), event.fields.get(*name).cloned().unwrap_or_default());
        }
        let all_day = event.fields["isAllDay"] == true;
        let wished = call.preference("outlook.timezone").unwrap_or_else(|| "UTC".to_owned());
        for name in ["start", "end"] {
            shown.insert(name.to_owned(), in_zone(&event.fields[name], &wished, all_day));
        }
        if call.preference("outlook.body-content-type").is_none_or(|kind| kind != "text") {
            let text = event.fields["body"]["content"].as_str().unwrap_or_default();
            let html = format!("<html><body>\r\n{}\r\n</body></html>\r\n", text.trim_end());
            shown.insert("body".to_owned(), json!({ "contentType": "html", "content": html }));
        }
        let series = !event.fields.get("recurrence").is_none_or(Value::is_null);
        let people = event.fields.get("organizer").cloned();
        let mine = people.is_none();
        let organizer =
            people.unwrap_or_else(|| json!({ "emailAddress": { "name": event.owner, "address": event.owner } }));
        shown.insert("type".to_owned(), json!(if series { "seriesMaster" } else { "singleInstance" }));
        shown.insert("seriesMasterId".to_owned(), Value::Null);
        shown.insert(
            "iCalUId".to_owned(),
            event
                .fields
                .get("iCalUId")
                .cloned()
                .unwrap_or_else(|| json!(format!("040000008200E00074C5B7101A82E008{}", event.id))),
        );
        shown.insert("isOrganizer".to_owned(), json!(mine));
        shown.insert("organizer".to_owned(), organizer);
        let response = if mine { "organizer" } else { "notResponded" };
        shown.insert(
            "responseStatus".to_owned(),
            event
                .fields
                .get("responseStatus")
                .cloned()
                .unwrap_or_else(|| json!({ "response": response, "time": "0001-01-01T00:00:00Z" })),
        );
        shown.insert("isCancelled".to_owned(), event.fields.get("isCancelled").cloned().unwrap_or(json!(false)));
        shown.insert("webLink".to_owned(), json!(format!("https://outlook.office365.com/owa/?itemid={}", event.id)));
        shown
    }

    fn create_event(&self, call: &Call, user: &str, calendar: &str) -> Answer {
        let body = members(&call.body)?;
        if let Some(transaction) = body.get("transactionId").and_then(Value::as_str) {
            let same = |item: &&Item| item.fields.get("transactionId").and_then(Value::as_str) == Some(transaction);
            if let Some(there) = self.core.read(|store| store.items(user, "event").find(same).cloned()) {
                return Ok(Reply::json(201, self.event(call, &there)));
            }
        }
        for needed in ["start", "end"] {
            if !body.contains_key(needed) {
                return Err(Reply::error(400, "ErrorPropertyValidationFailure", &format!("The event needs {needed}.")));
            }
        }
        let made = self.make_item(user, "event", calendar, |fields| set(fields, body))?;
        Ok(Reply::json(201, self.event(call, &made)))
    }

    fn one_event(&self, call: &Call, user: &str, shown: &str, words: &[&str]) -> Answer {
        if let Some(part) = shown.strip_prefix("OID.") {
            return self.one_occurrence(call, user, part, words);
        }
        let event = self.item(user, "event", shown)?;
        let binned = event.container.as_deref() == Some(folders::deleted_items(user).as_str());
        if binned {
            return Err(Reply::not_found());
        }
        match (call.method.as_str(), words) {
            ("GET", []) => Ok(Reply::ok(self.series(call, &event))),
            ("PATCH", []) => {
                item::precondition(call, &event)?;
                let changed = self.change_item(&event, |fields| {
                    let before = fields.clone();
                    set(fields, members(&call.body)?)?;
                    forget_exceptions(&before, fields);
                    Ok(())
                })?;
                Ok(Reply::ok(self.event(call, &changed)))
            }
            ("DELETE", []) => self.remove_item(call, &event, false),
            ("POST", ["permanentdelete" | "microsoft.graph.permanentdelete"]) => self.remove_item(call, &event, true),
            ("GET", ["instances"]) => {
                let (from, until) = span(call)?;
                let select = call.option("select").unwrap_or_default();
                let chosen = |one: Value| match one {
                    Value::Object(one) => item::choose(one, &event, select, ""),
                    other => other,
                };
                let page: Vec<Value> = occurrences(&event.fields, from, until)
                    .iter()
                    .map(|one| chosen(self.occurrence(call, &event, one, false)))
                    .collect();
                Ok(Reply::ok(json!({ "value": page })))
            }
            ("POST", ["cancel"]) => self.remove_item(call, &event, false).map(|_| Reply::empty(202)),
            ("POST", [answer @ ("accept" | "decline" | "tentativelyaccept")]) => {
                let response = match *answer {
                    "accept" => "accepted",
                    "decline" => "declined",
                    _ => "tentativelyAccepted",
                };
                self.change_item(&event, |fields| {
                    fields.insert("responseStatus".to_owned(), json!({ "response": response }));
                    Ok(())
                })?;
                Ok(Reply::empty(202))
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    /// An event by its id: of a series the occurrences that differ, where they are asked for.
    fn series(&self, call: &Call, event: &Item) -> Value {
        let mut shown = self.event(call, event);
        let asks = |option: &str, member: &str| call.option(option).is_some_and(|list| list.contains(member));
        let name = |date: &Value| format!("OID.{}.{}", item::shown_id(event, call), date.as_str().unwrap_or_default());
        if asks("select", "cancelledOccurrences") {
            let gaps = event.fields.get(CANCELLED).and_then(Value::as_array);
            shown["cancelledOccurrences"] = gaps.into_iter().flatten().map(name).collect();
        }
        if asks("expand", "exceptionOccurrences") {
            let all = occurrences(&event.fields, i64::MIN, i64::MAX);
            let exceptions = all.iter().filter(|one| one.exception.is_some());
            shown["exceptionOccurrences"] =
                exceptions.map(|one| without_properties(self.occurrence(call, event, one, false))).collect();
        }
        shown
    }

    /// One occurrence of a series: `OID.<series>.<date>`. Changing it makes an exception, deleting it a gap.
    fn one_occurrence(&self, call: &Call, user: &str, part: &str, words: &[&str]) -> Answer {
        let (series, date) = part.rsplit_once('.').ok_or_else(Reply::not_found)?;
        let event = self.item(user, "event", series)?;
        let all = occurrences(&event.fields, i64::MIN, i64::MAX);
        let one = all.iter().find(|one| one.date == date).ok_or_else(Reply::not_found)?;
        match (call.method.as_str(), words) {
            ("GET", []) => Ok(Reply::ok(self.occurrence(call, &event, one, false))),
            ("PATCH", []) => {
                let changes = members(&call.body)?;
                if changes.contains_key("recurrence") {
                    let message = "The recurrence can be changed only on the series master.";
                    return Err(Reply::error(400, "ErrorPropertyValidationFailure", message));
                }
                let changed = self.change_item(&event, |fields| {
                    let mut known = fields.get(EXCEPTIONS).and_then(Value::as_object).cloned().unwrap_or_default();
                    let entry = known.entry(date).or_insert_with(|| json!({}));
                    if let Some(entry) = entry.as_object_mut() {
                        // What is written is checked and respelled as for any event.
                        let mut whole = fields.clone();
                        ["recurrence", EXCEPTIONS, CANCELLED].iter().for_each(|name| drop(whole.remove(*name)));
                        whole.extend(entry.clone());
                        set(&mut whole, changes)?;
                        let written = changes.keys().filter_map(|name| Some((name.clone(), whole.get(name)?.clone())));
                        entry.extend(written.collect::<Vec<_>>());
                    }
                    fields.insert(EXCEPTIONS.to_owned(), Value::Object(known));
                    Ok(())
                })?;
                let all = occurrences(&changed.fields, i64::MIN, i64::MAX);
                let one = all.iter().find(|one| one.date == date).ok_or_else(Reply::not_found)?;
                Ok(Reply::ok(self.occurrence(call, &changed, one, false)))
            }
            ("DELETE", []) => {
                self.change_item(&event, |fields| {
                    let mut gaps = fields.get(CANCELLED).and_then(Value::as_array).cloned().unwrap_or_default();
                    gaps.push(json!(date));
                    fields.insert(CANCELLED.to_owned(), Value::Array(gaps));
                    Ok(())
                })?;
                Ok(Reply::empty(204))
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    /// An occurrence as it is shown; a delta tells next to nothing of it.
    fn occurrence(&self, call: &Call, series: &Item, one: &Occurrence, bare: bool) -> Value {
        let id = format!("OID.{}.{}", item::shown_id(series, call), one.date);
        let kind = if one.exception.is_some() { "exception" } else { "occurrence" };
        let utc = |moment: i64| {
            let text = Timestamp::from_millisecond(moment)
                .unwrap_or_default()
                .strftime("%Y-%m-%dT%H:%M:%S.0000000")
                .to_string();
            json!({ "dateTime": text, "timeZone": "UTC" })
        };
        let mut shown = if bare { Map::new() } else { self.whole_event(call, series) };
        for (name, value) in one.exception.iter().flatten() {
            shown.insert(name.clone(), value.clone());
        }
        let lines = [
            ("@odata.etag", json!(item::etag(series))),
            ("id", json!(id)),
            ("occurrenceId", json!(id)),
            ("type", json!(kind)),
            ("seriesMasterId", json!(item::shown_id(series, call))),
            ("start", utc(one.start)),
            ("end", utc(one.end)),
        ];
        shown.extend(lines.map(|(name, value)| (name.to_owned(), value)));
        if !bare {
            shown.insert("recurrence".to_owned(), Value::Null);
            shown.insert("originalStart".to_owned(), json!(item::moment(one.original)));
        }
        Value::Object(shown)
    }

    /// Singles and occurrences in a span of time, no series.
    fn view(&self, call: &Call, user: &str, calendar: &str) -> Answer {
        let (from, until) = span(call)?;
        let lines = self.core.read(|store| {
            let here = store.items(user, "event").filter(|item| item.container.as_deref() == Some(calendar));
            here.flat_map(|event| self.lines(call, event, from, until, false)).collect::<Vec<_>>()
        });
        Ok(Reply::ok(json!({ "value": lines })))
    }

    fn view_delta(&self, call: &Call, user: &str, calendar: &str) -> Answer {
        if call.option("deltatoken").is_none() && call.option("skiptoken").is_none() {
            span(call)?;
        }
        if call.option("select").is_some() {
            return Err(Reply::error(400, "ErrorInvalidUrlQuery", "$select is not supported with this delta query."));
        }
        let scope = Scope { owner: user, entity: "event", container: Some(calendar) };
        self.delta(call, &scope, |event, token: &Token| {
            let (from, until) = token.window.clone().unwrap_or_default();
            let lines =
                self.lines(call, event, instant(&from).unwrap_or_default(), instant(&until).unwrap_or(i64::MAX), true);
            if lines.is_empty() && !token.is_first() {
                // It is outside of the window by now, or never was in it.
                return vec![json!({ "id": item::shown_id(event, call), "@removed": { "reason": "deleted" } })];
            }
            lines
        })
    }

    fn lines(&self, call: &Call, event: &Item, from: i64, until: i64, bare: bool) -> Vec<Value> {
        if event.fields.get("recurrence").is_none_or(Value::is_null) {
            let within = occurrences(&event.fields, from, until);
            return within
                .iter()
                .map(|_| Value::Object(self.whole_event(call, event)))
                .map(without_properties)
                .collect();
        }
        let within = occurrences(&event.fields, from, until);
        let mut lines: Vec<Value> =
            within.iter().map(|one| self.occurrence(call, event, one, bare)).map(without_properties).collect();
        if bare && !lines.is_empty() {
            lines.push(without_properties(Value::Object(self.whole_event(call, event))));
        }
        lines
    }
}

/// A series whose times changed has none of its exceptions and gaps any more.
fn forget_exceptions(before: &Fields, fields: &mut Fields) {
    if ["start", "end", "isAllDay", "recurrence"].iter().any(|name| before.get(*name) != fields.get(*name)) {
        fields.remove(EXCEPTIONS);
        fields.remove(CANCELLED);
    }
}

fn without_properties(mut shown: Value) -> Value {
    if let Some(shown) = shown.as_object_mut() {
        shown.remove(PROPERTIES);
    }
    shown
}

/// The span of a view; times without an offset mean UTC.
fn span(call: &Call) -> Result<(i64, i64), Reply> {
    let moment = |name: &str| call.option(name).and_then(instant);
    moment("startDateTime").zip(moment("endDateTime")).ok_or_else(|| {
        Reply::error(400, "ErrorInvalidParameter", "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.")
    })
}

pub(super) fn instant(text: &str) -> Option<i64> {
    let stamp = text.parse::<Timestamp>().or_else(|_| format!("{text}Z").parse());
    stamp.ok().map(Timestamp::as_millisecond)
}

/// The zone of a name of Windows or of IANA, as far as the sandbox knows names of Windows.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let iana = match name {
        "UTC" | "tzone://Microsoft/Utc" => "UTC",
        "W. Europe Standard Time" => "Europe/Berlin",
        "Romance Standard Time" => "Europe/Paris",
        "GMT Standard Time" => "Europe/London",
        "Eastern Standard Time" => "America/New_York",
        "Pacific Standard Time" => "America/Los_Angeles",
        "Tokyo Standard Time" => "Asia/Tokyo",
        "India Standard Time" => "Asia/Kolkata",
        other => other,
    };
    TimeZone::get(iana).ok()
}

/// When a time of an event is, in milliseconds.
pub(super) fn millis(time: &Value) -> Option<i64> {
    let clock: DateTime = time["dateTime"].as_str()?.trim_end_matches('Z').parse().ok()?;
    let zone = zone(time["timeZone"].as_str().unwrap_or("UTC"))?;
    Some(clock.to_zoned(zone).ok()?.timestamp().as_millisecond())
}

/// A time on the clocks of another zone. Whole days are the same everywhere.
fn in_zone(time: &Value, wished: &str, all_day: bool) -> Value {
    let (Some(at), Some(there)) = (millis(time), zone(wished)) else { return time.clone() };
    if all_day {
        return json!({ "dateTime": time["dateTime"], "timeZone": wished });
    }
    let clock = Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(there);
    json!({ "dateTime": clock.strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": wished })
}

/// Takes a body over into an event's fields.
pub(super) fn set(fields: &mut Fields, body: &Map<String, Value>) -> Result<(), Reply> {
    let wrong = |message: &str| Reply::error(400, "ErrorPropertyValidationFailure", message);
    for (name, value) in body {
        match name.as_str() {
            PROPERTIES => item::set_properties(fields, value.as_array().map_or(&[][..], Vec::as_slice))?,
            "start" | "end" => {
                if millis(value).is_none() {
                    return Err(wrong(&format!("The {name} of the event is not a time in a known zone.")));
                }
                let clock: DateTime =
                    value["dateTime"].as_str().unwrap_or_default().trim_end_matches('Z').parse().unwrap_or_default();
                let text = clock.strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string();
                let zone = value["timeZone"].as_str().unwrap_or("UTC");
                fields.insert(name.clone(), json!({ "dateTime": text, "timeZone": zone }));
                let original = if name == "start" { "originalStartTimeZone" } else { "originalEndTimeZone" };
                fields.insert(original.to_owned(), json!(zone));
            }
            // What is read back differs from what was written.
            "body" => {
                let text = value["content"].as_str().unwrap_or_default().replace("\r\n", "\n");
                let text = strip_tags(&text).trim_end().replace('\n', "\r\n");
                fields.insert(name.clone(), json!({ "contentType": "text", "content": format!("{text}\r\n") }));
            }
            "attendees" if value.as_array().is_some_and(|people| people.len() > MOST_ATTENDEES) => {
                return Err(wrong("An event takes at most 500 attendees."));
            }
            "attendees" => {
                let before = fields.remove(name).unwrap_or_default();
                fields.insert(name.clone(), invited(value, &before));
            }
            _ if name.starts_with('@') || SERVER.contains(&name.as_str()) => {}
            _ if MEMBERS.contains(&name.as_str()) => drop(fields.insert(name.clone(), value.clone())),
            _ => {
                let message = format!("The property '{name}' does not exist on type 'microsoft.graph.event'.");
                return Err(Reply::error(400, "RequestBodyRead", &message));
            }
        }
    }
    for (name, value) in [("showAs", "busy"), ("sensitivity", "normal"), ("importance", "normal")] {
        fields.entry(name).or_insert_with(|| json!(value));
    }
    for (name, value) in [
        ("isAllDay", json!(false)),
        ("categories", json!([])),
        ("attendees", json!([])),
        ("isReminderOn", json!(false)),
        ("body", json!({ "contentType": "text", "content": "" })),
    ] {
        fields.entry(name).or_insert(value);
    }
    let (start, end) = (millis(&fields["start"]), millis(&fields["end"]));
    if start > end {
        return Err(wrong("The end of the event is before its start."));
    }
    let midnight = |time: &Value| time["dateTime"].as_str().is_some_and(|text| text[10..].starts_with("T00:00:00"));
    if fields["isAllDay"] == true
        && (!midnight(&fields["start"])
            || !midnight(&fields["end"])
            || fields["start"]["timeZone"] != fields["end"]["timeZone"])
    {
        return Err(wrong("An event of whole days begins and ends at midnight, in one time zone."));
    }
    let begins = fields["start"]["dateTime"].as_str().map(|text| text[..10].to_owned());
    if let Some(range) = fields.get("recurrence").and_then(|recurrence| recurrence.get("range"))
        && range["startDate"].as_str() != begins.as_deref()
    {
        return Err(wrong("The range of the recurrence begins on another day than the event."));
    }
    Ok(())
}

/// Who is invited, with what each of them has answered.
fn invited(people: &Value, before: &Value) -> Value {
    let person = |person: &Value| {
        let at = &person["emailAddress"]["address"];
        let known = before.as_array().into_iter().flatten().find(|known| known["emailAddress"]["address"] == *at);
        let unanswered = || json!({ "response": "none", "time": "0001-01-01T00:00:00Z" });
        let status = person.get("status").or_else(|| known?.get("status"));
        json!({
            "type": person.get("type").cloned().unwrap_or_else(|| json!("required")),
            "status": status.cloned().unwrap_or_else(unanswered),
            "emailAddress": { "name": person["emailAddress"].get("name").unwrap_or(at), "address": at },
        })
    };
    people.as_array().into_iter().flatten().map(person).collect()
}

fn strip_tags(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let (mut plain, mut inside) = (String::new(), false);
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => plain.push(c),
            _ => {}
        }
    }
    plain.trim().to_owned()
}
