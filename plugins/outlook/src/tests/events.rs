//! Events: zones, whole days, series with exceptions, people.

use jiff::{Timestamp, ToSpan};
use pairwise_plugin_api::ops::Scope;
use pairwise_plugin_api::{Action, Answer, Fields, Participant, Record, RecordRef, Role, Status, Value, Write};
use pairwise_sandbox::system::Edit;
use serde_json::{Value as Json, json};

use super::world::{LEE, World, update};

/// Nine in the morning of a day near today.
fn nine(days: i64) -> String {
    let day = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().checked_add(days.days()).unwrap();
    format!("{day}T09:00:00")
}

fn ten(days: i64) -> String {
    nine(days).replace("T09", "T10")
}

fn event(key: &str, fields: &[(&str, Value)]) -> Write {
    let fields: Fields = fields.iter().cloned().collect();
    Write { at: RecordRef::new("event", ""), action: Action::Create, key: key.into(), fields, ..Write::default() }
}

fn told(world: &World) -> Vec<Record> {
    world.changes("event", &Scope::new(), None).unwrap().records
}

/// A person's edit in the calendar.
fn edit(world: &World, id: Option<&str>, fields: Json) -> String {
    let fields = fields.as_object().unwrap().clone();
    let edit = Edit { entity: "event".into(), user: LEE.into(), id: id.map(str::to_owned), fields, container: None };
    world.sandbox.edit("outlook", edit).unwrap()
}

fn series(days: i64) -> Json {
    let start = nine(days);
    json!({
        "subject": "Daily",
        "start": { "dateTime": start, "timeZone": "W. Europe Standard Time" },
        "end": { "dateTime": start.replace("T09:00", "T09:15"), "timeZone": "W. Europe Standard Time" },
        "recurrence": {
            "pattern": { "type": "daily", "interval": 1 },
            "range": { "type": "numbered", "startDate": &start[..10], "numberOfOccurrences": 5 },
        },
    })
}

#[test]
fn an_event_travels_there_and_back() {
    let world = World::of(0);
    let fields = [
        ("subject", "Review".into()),
        ("body", "Bring\nfigures".into()),
        ("location", "Room 1".into()),
        ("start", nine(3).into()),
        ("end", ten(3).into()),
        ("timeZone", "Europe/Berlin".into()),
        ("isAllDay", false.into()),
        ("showAs", "free".into()),
        ("sensitivity", "secret".into()),
        ("importance", "high".into()),
        ("categories", Value::from(vec!["one".into()])),
        ("reminder", Value::Int(30)),
    ];
    let outcome = world.write(vec![event("K", &fields)]).remove(0);
    assert_eq!(outcome.status, Status::Applied, "{outcome:?}");
    let made = outcome.record.unwrap();
    let read = told(&world).remove(0);
    assert_eq!((&read.at, &read.version), (&made.at, &made.version));
    assert_eq!(read.fields, made.fields);
    for (name, value) in &fields {
        assert_eq!(read.fields.get(name), Some(value), "{name}");
    }
    assert_eq!(read.fields.get("isOrganizer"), Some(&Value::Bool(true)));
    assert_eq!((read.fields.get("recurring"), read.uid.is_some()), (Some(&Value::Bool(false)), true));
    // A new time alone: the zone goes along.
    let later: Fields = [("start", ten(3)), ("end", ten(3).replace("T10", "T11"))].into_iter().collect();
    let since = world.last();
    let outcome = world.write(vec![update(&read, later)]).remove(0);
    assert_eq!(outcome.status, Status::Applied, "{outcome:?}");
    let patch = world.sandbox.requests("outlook", since).into_iter().find(|entry| entry.method == "PATCH").unwrap();
    let body: Json = serde_json::from_str(&patch.body).unwrap();
    assert_eq!(body["start"], json!({ "dateTime": ten(3), "timeZone": "W. Europe Standard Time" }));
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    let read = outcome.record.unwrap();
    assert_eq!(
        (read.fields.text("start"), read.fields.text("timeZone")),
        (Some(ten(3).as_str()), Some("Europe/Berlin"))
    );
}

#[test]
fn whole_days_are_dates() {
    let world = World::of(0);
    let (first, last) = (nine(1)[..10].to_owned(), nine(3)[..10].to_owned());
    let fields = [
        ("subject", "Fair".into()),
        ("start", first.as_str().into()),
        ("end", last.as_str().into()),
        ("isAllDay", true.into()),
    ];
    assert_eq!(world.write(vec![event("K", &fields)])[0].status, Status::Applied);
    edit(
        &world,
        None,
        json!({
            "subject": "Holiday", "isAllDay": true,
            "start": { "dateTime": format!("{first}T00:00:00"), "timeZone": "Tokyo Standard Time" },
            "end": { "dateTime": format!("{last}T00:00:00"), "timeZone": "Tokyo Standard Time" },
        }),
    );
    let read = told(&world);
    assert_eq!(read.len(), 2);
    for record in read {
        let text = |name: &str| record.fields.text(name).map(str::to_owned);
        assert_eq!((text("start"), text("end"), text("timeZone")), (Some(first.clone()), Some(last.clone()), None));
    }
}

/// The name of an override of the occurrence of a day.
fn of(days: i64, path: &str) -> String {
    format!("recurrenceOverrides/{}/{path}", nine(days))
}

fn overridden(record: &Record) -> Vec<(String, String)> {
    record
        .fields
        .with_prefix("recurrenceOverrides/")
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn a_series_is_one_record_and_its_exceptions_stay() {
    let world = World::of(0);
    let id = edit(&world, None, series(1));
    let first = world.changes("event", &Scope::new(), None).unwrap();
    assert_eq!(first.records.len(), 1, "occurrences are no records");
    let rule = first.records[0].fields.get("recurrence").cloned();
    assert_eq!(rule, Some(Value::from(vec!["RRULE:FREQ=DAILY;COUNT=5".into()])));
    assert_eq!(first.records[0].fields.get("recurring"), Some(&Value::Bool(true)));
    // A person moves one occurrence and removes another.
    let moved = nine(2)[..10].to_owned();
    world.sandbox.core("outlook").write(|store, now| {
        store.change(now, &id, |fields| {
            fields.insert("#exceptions".into(), json!({ moved: { "subject": "Daily, in another room" } }));
            fields.insert("#cancelled".into(), json!([&nine(4)[..10]]));
        });
    });
    let next = world.changes("event", &Scope::new(), first.cursor).unwrap();
    assert_eq!((next.records.len(), next.removed.len()), (1, 0));
    let told = [(of(2, "title"), "Daily, in another room".to_owned()), (of(4, "excluded"), "true".to_owned())];
    assert_eq!(overridden(&next.records[0]), told);
    let title: Fields = [("subject", "Stand-up")].into_iter().collect();
    let outcome = world.write(vec![update(&next.records[0], title)]).remove(0);
    assert_eq!(outcome.status, Status::Applied, "{outcome:?}");
    let item = world.sandbox.core("outlook").read(|store| store.get(&id).cloned()).unwrap();
    assert_eq!(item.fields["subject"], "Stand-up");
    assert_eq!(item.fields["#exceptions"][&nine(2)[..10]]["subject"], "Daily, in another room");
    assert!(item.fields["#cancelled"].as_array().is_some_and(|gaps| gaps.len() == 1));
}

#[test]
fn single_occurrences_are_written() {
    let world = World::of(0);
    let gap = of(3, "excluded");
    let (start, end) = (of(4, "start"), of(4, "end"));
    let rule = Value::from(vec!["RRULE:FREQ=DAILY;COUNT=5".into()]);
    let fields = [
        ("subject", "Daily".into()),
        ("start", nine(2).into()),
        ("end", ten(2).into()),
        ("timeZone", "Europe/Berlin".into()),
        ("recurrence", rule),
        (gap.as_str(), true.into()),
        (start.as_str(), nine(4).replace("T09", "T14").into()),
        (end.as_str(), nine(4).replace("T09", "T16").into()),
    ];
    let outcome = world.write(vec![event("K", &fields)]).remove(0);
    assert_eq!((outcome.status, outcome.refused_fields.len()), (Status::Applied, 0), "{outcome:?}");
    let record = outcome.record.unwrap();
    let told = vec![
        (gap.clone(), "true".to_owned()),
        (end.clone(), nine(4).replace("T09", "T16")),
        (start.clone(), nine(4).replace("T09", "T14")),
    ];
    assert_eq!(overridden(&record), told);
    assert_eq!(overridden(&world.changes("event", &Scope::new(), None).unwrap().records[0]), told);

    // Another time of the whole series: the server forgets its exceptions, the connector does not.
    let longer: Fields = [("end", ten(2).replace("T10", "T11"))].into_iter().collect();
    let record = world.write(vec![update(&record, longer)]).remove(0).record.unwrap();
    assert_eq!(overridden(&record), told);

    // The moved one goes back to its place and gets another room; one that there never was cannot be changed.
    let (room, never) = (of(4, "locations/1/name"), of(30, "title"));
    let back: Fields = [
        (start.as_str(), Value::Null),
        (end.as_str(), Value::Null),
        (room.as_str(), "R9".into()),
        (never.as_str(), "Much later".into()),
    ]
    .into_iter()
    .collect();
    let stale = record.clone();
    let outcome = world.write(vec![update(&record, back)]).remove(0);
    assert_eq!((outcome.status, outcome.refused_fields), (Status::Applied, vec![never.as_str().into()]));
    let record = outcome.record.unwrap();
    assert_eq!(overridden(&record), [told[0].clone(), (room, "R9".to_owned())]);

    // What was taken out cannot be put back, and an old version is a conflict.
    let again: Fields = [(gap.as_str(), Value::Null)].into_iter().collect();
    assert_eq!(world.write(vec![update(&record, again)])[0].refused_fields, vec![gap.as_str().into()]);
    let late: Fields = [(of(5, "excluded").as_str(), Value::from(true))].into_iter().collect();
    assert_eq!(world.write(vec![update(&stale, late)])[0].status, Status::Conflict);
}

/// What one occurrence lacks although its series has it.
#[test]
fn an_occurrence_may_lack_what_its_series_has() {
    let world = World::of(0);
    let cleared = of(4, "cleared");
    let fields = [
        ("subject", "Daily".into()),
        ("start", nine(2).into()),
        ("end", ten(2).into()),
        ("timeZone", "Europe/Berlin".into()),
        ("location", "R1".into()),
        ("body", "agenda".into()),
        ("reminder", Value::Int(15)),
        ("recurrence", Value::from(vec!["RRULE:FREQ=DAILY;COUNT=5".into()])),
        (cleared.as_str(), "alerts/1/minutes description locations/1/name".into()),
    ];
    let outcome = world.write(vec![event("K", &fields)]).remove(0);
    assert_eq!((outcome.status, outcome.refused_fields.len()), (Status::Applied, 0), "{outcome:?}");
    let record = outcome.record.unwrap();
    let told = |paths: &str| [(cleared.clone(), paths.to_owned())];
    assert_eq!(overridden(&record), told("alerts/1/minutes description locations/1/name"));
    assert_eq!(record.fields.text("location"), Some("R1"));
    let less: Fields = [(cleared.as_str(), "locations/1/name")].into_iter().collect();
    let record = world.write(vec![update(&record, less)]).remove(0).record.unwrap();
    assert_eq!(overridden(&record), told("locations/1/name"));
}

#[test]
fn rules_go_there_and_back() {
    let world = World::of(0);
    let start = "2026-12-01T09:00:00"; // a Tuesday
    let rules = [
        "FREQ=DAILY;COUNT=5",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH",
        "FREQ=WEEKLY;UNTIL=20270301T225959Z;BYDAY=TU",
        "FREQ=MONTHLY;BYMONTHDAY=1",
        "FREQ=MONTHLY;COUNT=3;BYDAY=1TU",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1",
        "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=1",
        "FREQ=YEARLY;BYMONTH=12;BYDAY=1TU",
    ];
    let write = |rule: &str| {
        let fields = [
            ("subject", Value::from(rule)),
            ("start", start.into()),
            ("end", "2026-12-01T10:00:00".into()),
            ("timeZone", "Europe/Berlin".into()),
            ("recurrence", Value::from(vec![format!("RRULE:{rule}").into()])),
        ];
        world.write(vec![event("K", &fields)]).remove(0)
    };
    for rule in rules {
        let outcome = write(rule);
        assert_eq!((outcome.status, &outcome.refused_fields), (Status::Applied, &Vec::new()), "{rule}");
        let read = outcome.record.unwrap();
        assert_eq!(read.fields.get("recurrence"), Some(&Value::from(vec![format!("RRULE:{rule}").into()])), "{rule}");
    }
    for rule in ["FREQ=HOURLY", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=DAILY;BYHOUR=9"] {
        assert_eq!(write(rule).refused_fields, ["recurrence".into()], "{rule}");
    }
}

#[test]
fn nobody_gets_mail_unless_that_is_wanted() {
    let world = World::of(0);
    let people = vec![
        Participant { address: LEE.into(), role: Role::Organizer, ..Participant::default() },
        Participant { address: "kim@example.com".into(), role: Role::Optional, ..Participant::default() },
    ];
    let fields = [("subject", "Talk".into()), ("start", nine(1).into()), ("end", ten(1).into())];
    let quiet = Write { participants: Some(people.clone()), ..event("A", &fields) };
    let loud = Write { participants: Some(people), invite: true, ..event("B", &fields) };
    let outcomes = world.write(vec![quiet, loud]);
    let invited = |at: usize| {
        outcomes[at]
            .record
            .as_ref()
            .unwrap()
            .participants
            .iter()
            .filter(|person| person.role != Role::Organizer)
            .count()
    };
    assert_eq!((invited(0), invited(1)), (0, 1));
    let person = outcomes[1].record.as_ref().unwrap().participants[1].clone();
    assert_eq!(
        (person.address.as_str(), person.role, person.answer),
        ("kim@example.com", Role::Optional, Answer::NeedsAction)
    );
}

#[test]
fn the_calendar_is_read_by_changes() {
    let world = World::of(0);
    let make = |days: i64| {
        edit(
            &world,
            None,
            json!({
                "subject": format!("in {days} days"),
                "start": { "dateTime": nine(days), "timeZone": "UTC" },
                "end": { "dateTime": ten(days), "timeZone": "UTC" },
            }),
        )
    };
    let (near, other) = (make(10), make(20));
    make(5_000);
    let first = world.changes("event", &Scope::new(), None).unwrap();
    assert_eq!((first.records.len(), first.complete), (2, true), "what is far away is not read");
    let start = first.records[0].fields.text("start").unwrap();
    assert!(start.ends_with("T09:00:00Z"), "{start}");
    let since = world.last();
    let quiet = world.changes("event", &Scope::new(), first.cursor).unwrap();
    assert_eq!((quiet.records.len(), world.requests(since).len()), (0, 1));
    world.sandbox.delete("outlook", LEE, &near).unwrap();
    // Moved out of the window: it is there, at another time.
    edit(
        &world,
        Some(&other),
        json!({ "start": { "dateTime": nine(4_000), "timeZone": "UTC" }, "end": { "dateTime": ten(4_000), "timeZone": "UTC" } }),
    );
    let next = world.changes("event", &Scope::new(), quiet.cursor).unwrap();
    assert_eq!((next.removed.len(), next.removed[0].at.id.as_str()), (1, near.as_str()));
    assert_eq!(next.records[0].fields.text("start"), Some(format!("{}Z", nine(4_000)).as_str()));
}
