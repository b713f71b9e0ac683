//! Events: times, attendees, series.

use super::*;

fn meeting() -> Vec<(&'static str, Value)> {
    vec![
        ("Subject", "Review".into()),
        ("Start", "2026-12-01T10:00:00".into()),
        ("End", "2026-12-01T11:00:00".into()),
        ("StartTimeZone", "Europe/Berlin".into()),
        ("IsAllDayEvent", false.into()),
        ("Location", "R1".into()),
        ("Body", "agenda".into()),
        ("LegacyFreeBusyStatus", "free".into()),
        ("ReminderMinutesBeforeStart", Value::Int(15)),
    ]
}

fn invited(address: &str) -> Participant {
    Participant { address: address.into(), name: address.into(), role: Role::Required, ..Participant::default() }
}

#[test]
fn an_event_comes_back_as_it_was_written() {
    let stage = Stage::new(0);
    let write = Write { uid: Some("uid-1@example.org".into()), ..create("event", "E1", &meeting()) };
    let made = stage.one(write);
    assert_eq!(made.status, Status::Applied, "{made:?}");
    let record = made.record.unwrap();
    for (name, value) in meeting() {
        assert_eq!(record.fields.get(name), Some(&value), "{name}");
    }
    assert_eq!(record.uid.as_deref(), Some("uid-1@example.org"));
    assert_eq!(stage.items("event")[0].fields["Start"], json!("2026-12-01T09:00:00Z"));
    assert_eq!(stage.items("event")[0].fields["StartTimeZone"], json!("W. Europe Standard Time"));
    assert_eq!(stage.find("event", &[], &["E1"])[0][0].at, record.at);
    assert_eq!(stage.find("event", &["uid"], &["uid-1@example.org"])[0][0].at, record.at);
    // A later end alone: the zone and the start stay.
    let longer = stage.one(update(&record, &[("End", "2026-12-01T12:30:00".into())])).record.unwrap();
    assert_eq!(longer.fields.text("End"), Some("2026-12-01T12:30:00"));
    assert_eq!(stage.items("event")[0].fields["Start"], json!("2026-12-01T09:00:00Z"));
    // Another zone, the same time on the wall.
    let moved = stage.one(update(&longer, &[("StartTimeZone", "Europe/London".into())])).record.unwrap();
    assert_eq!(moved.fields.text("Start"), Some("2026-12-01T10:00:00"));
    assert_eq!(stage.items("event")[0].fields["Start"], json!("2026-12-01T10:00:00Z"));
    let calm = stage.one(update(&moved, &[("ReminderMinutesBeforeStart", Value::Null)])).record.unwrap();
    assert_eq!(calm.fields.get("ReminderMinutesBeforeStart"), Some(&Value::Null));
}

#[test]
fn the_importance_of_an_event_is_kept() {
    let stage = Stage::new(0);
    let record = stage.one(create("event", "E1", &meeting())).record.unwrap();
    assert_eq!(record.fields.text("Importance"), Some("normal"), "as the server has it where nobody says");
    let high = stage.one(update(&record, &[("Importance", "high".into())])).record.unwrap();
    assert_eq!(stage.items("event")[0].fields["Importance"], json!("High"));
    assert_eq!(high.fields.text("Importance"), Some("high"));
    let plain = stage.one(update(&high, &[("Importance", Value::Null)])).record.unwrap();
    assert_eq!(plain.fields.text("Importance"), Some("normal"));
    let odd = stage.one(update(&plain, &[("Importance", "urgent".into())]));
    assert_eq!((odd.status, odd.code.as_str()), (Status::Refused, "unknown_word"));
}

#[test]
fn whole_days_begin_and_end_in_the_zone_of_the_mailbox() {
    let stage = Stage::new(0);
    let day = [
        ("Subject", "Day off".into()),
        ("Start", "2026-12-05".into()),
        ("End", "2026-12-07".into()),
        ("IsAllDayEvent", true.into()),
    ];
    let record = stage.one(create("event", "E1", &day)).record.unwrap();
    assert_eq!(stage.items("event")[0].fields["Start"], json!("2026-12-04T23:00:00Z"));
    for (name, value) in day {
        assert_eq!(record.fields.get(name), Some(&value), "{name}");
    }
    assert_eq!(record.fields.get("StartTimeZone"), Some(&Value::Null));
}

#[test]
fn nobody_is_told_of_a_meeting_unless_it_is_asked_for() {
    let stage = Stage::new(0);
    let mails = || stage.command("mails", json!({ "user": LEE })).as_array().unwrap().len();
    let write = Write { participants: Some(vec![invited(KIM)]), ..create("event", "E1", &meeting()) };
    let record = stage.one(write.clone()).record.unwrap();
    assert_eq!((record.participants.len(), mails()), (2, 0));
    assert_eq!(record.participants[0].role, Role::Organizer);
    let record = stage.one(update(&record, &[("Location", "R2".into())])).record.unwrap();
    let more = Write { participants: Some(vec![invited(KIM), invited("out@example.org")]), ..update(&record, &[]) };
    let record = stage.one(more).record.unwrap();
    assert_eq!(record.participants.len(), 3);
    let trash = Write { action: Action::Trash, at: record.at, expect: record.version, ..Write::default() };
    assert_eq!((stage.one(trash).status, mails()), (Status::Applied, 0));
    let loud = stage.one(Write { invite: true, key: "E2".into(), ..write }).record.unwrap();
    assert_eq!(mails(), 1);
    let copies = stage.sandbox.records("exchange", Some("event"), Some(KIM));
    assert_eq!((copies.len(), &copies[0].fields["Subject"]), (1, &json!("Review")));
    assert!(copies[0].fields.keys().all(|key| !key.contains("PairwiseKey")));
    let cancel = Write { action: Action::Trash, at: loud.at, expect: loud.version, invite: true, ..Write::default() };
    assert_eq!((stage.one(cancel).status, mails()), (Status::Applied, 2));
}

/// A weekly series of five, on Tuesdays at ten in Berlin.
fn series() -> Vec<(&'static str, Value)> {
    let rule = Value::from(vec!["RRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=5".into()]);
    meeting().into_iter().chain([("recurrence", rule)]).collect()
}

/// The name of an override of an occurrence of [`series`].
fn of(day: &str, path: &str) -> String {
    format!("recurrenceOverrides/2026-12-{day}T10:00:00/{path}")
}

fn overridden(record: &Record) -> Vec<(String, String)> {
    record
        .fields
        .with_prefix("recurrenceOverrides/")
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn a_series_is_one_record_and_keeps_its_exceptions() {
    let stage = Stage::new(0);
    let record = stage.one(create("event", "E1", &series())).record.unwrap();
    let rule = series().pop().unwrap().1;
    assert_eq!((record.fields.get("recurrence"), record.fields.get("recurring")), (Some(&rule), Some(&true.into())));
    assert_eq!(overridden(&record), []);
    // A person moves one occurrence to another room and an hour later, and takes another one out.
    let exceptions = json!({ "2026-12-15T09:00:00Z": {
        "Subject": "Elsewhere", "Location": "R9", "Start": "2026-12-15T10:00:00Z", "End": "2026-12-15T11:00:00Z",
    } });
    let id = &record.at.id;
    stage.edit(
        "event",
        Some(id),
        json!({ "Exceptions": exceptions, "DeletedOccurrences": ["2026-12-22T09:00:00Z"] }),
        None,
    );
    let since = stage.now();
    let page = stage.changes("event", None);
    assert_eq!(stage.operations(since), ["SyncFolderItems", "GetItem", "GetItem"], "all exceptions at once");
    let [series] = records(&page)[..] else { panic!("one record") };
    let left_out = Value::from(vec!["EXDATE;TZID=Europe/Berlin:20261222T100000".into()]);
    assert_eq!(series.fields.get("leftOut"), Some(&left_out));
    let told = [
        (of("15", "end"), "2026-12-15T12:00:00".to_owned()),
        (of("15", "locations/1/name"), "R9".to_owned()),
        (of("15", "start"), "2026-12-15T11:00:00".to_owned()),
        (of("15", "title"), "Elsewhere".to_owned()),
        (of("22", "excluded"), "true".to_owned()),
    ];
    assert_eq!(overridden(series), told);
    let since = stage.now();
    let renamed = stage.one(update(series, &[("Subject", "Weekly".into())]));
    assert_eq!(renamed.status, Status::Applied);
    let sent = stage.asked(since).into_iter().find(|entry| entry.operation.as_deref() == Some("UpdateItem")).unwrap();
    assert!(!sent.body.contains("Recurrence"), "{}", sent.body);
    let item = stage.items("event").pop().unwrap();
    assert_eq!((&item.fields["Exceptions"], &item.fields["Subject"]), (&exceptions, &json!("Weekly")));
}

#[test]
fn single_occurrences_are_written() {
    let stage = Stage::new(0);
    let gap = of("08", "excluded");
    let moved = [(of("15", "start"), "2026-12-15T14:00:00"), (of("15", "end"), "2026-12-15T15:30:00")];
    let (start, end) = (moved[0].0.as_str(), moved[1].0.as_str());
    let mut fields: Fields = series().into_iter().collect();
    fields.set(gap.as_str(), true);
    moved.iter().for_each(|(name, value)| drop(fields.set(name.as_str(), *value)));
    let made = stage.one(Write { fields, ..create("event", "E1", &[]) });
    assert_eq!((made.status, made.refused_fields.len()), (Status::Applied, 0), "{made:?}");
    let record = made.record.unwrap();
    let told = vec![
        (gap.clone(), "true".to_owned()),
        (end.to_owned(), moved[1].1.to_owned()),
        (start.to_owned(), moved[0].1.to_owned()),
    ];
    assert_eq!(overridden(&record), told);
    let item = stage.items("event").pop().unwrap();
    assert_eq!(item.fields["DeletedOccurrences"], json!(["2026-12-08T09:00:00Z"]));
    assert_eq!(item.fields["Exceptions"]["2026-12-15T09:00:00Z"]["Start"], json!("2026-12-15T13:00:00Z"));

    // Another time of the whole series: the server forgets its exceptions, the connector does not.
    let longer = stage.one(update(&record, &[("End", "2026-12-01T11:30:00".into())])).record.unwrap();
    assert_eq!(overridden(&longer), told, "what was moved stays where it was moved to");

    // The moved one goes back to its place and gets another room; one that there never was cannot be changed.
    let since = stage.now();
    let (room, never) = (of("15", "locations/1/name"), of("16", "title"));
    let back = [
        (start, Value::Null),
        (end, Value::Null),
        (room.as_str(), "R9".into()),
        (never.as_str(), "On a Wednesday".into()),
    ];
    let back: Fields = back.into_iter().collect();
    let outcome = stage.one(Write { fields: back, ..update(&longer, &[]) });
    assert_eq!((outcome.status, outcome.refused_fields), (Status::Applied, vec![never.as_str().into()]));
    let record = outcome.record.unwrap();
    assert_eq!(overridden(&record), [told[0].clone(), (room, "R9".to_owned())]);
    assert_eq!(
        stage.operations(since).iter().filter(|name| *name == "UpdateItem").count(),
        1,
        "the series is not touched"
    );

    // What was taken out cannot be put back, and an old version is a conflict.
    let again =
        stage.one(Write { fields: [(gap.as_str(), Value::Null)].into_iter().collect(), ..update(&record, &[]) });
    assert_eq!(again.refused_fields, vec![gap.as_str().into()]);
    let stale = Write { fields: [(gap.as_str(), true)].into_iter().collect(), ..update(&longer, &[]) };
    assert_eq!(stage.one(stale).status, Status::Conflict);
}

/// What one occurrence lacks although its series has it.
#[test]
fn an_occurrence_may_lack_what_its_series_has() {
    let stage = Stage::new(0);
    let cleared = of("15", "cleared");
    let mut fields: Fields = series().into_iter().collect();
    fields.set(cleared.as_str(), "description locations/1/name");
    let made = stage.one(Write { fields, ..create("event", "E1", &[]) });
    assert_eq!((made.status, made.refused_fields.len()), (Status::Applied, 0), "{made:?}");
    let record = made.record.unwrap();
    assert_eq!(overridden(&record), [(cleared.clone(), "description locations/1/name".to_owned())]);
    let exception = stage.items("event")[0].fields["Exceptions"]["2026-12-15T09:00:00Z"].clone();
    assert_eq!((&exception["Location"], &exception["Body"]), (&Json::Null, &Json::Null), "{exception}");
    assert_eq!(exception["Subject"], Json::Null, "which is as in the series");

    // One of the two comes back.
    let less: Fields = [(cleared.as_str(), "description")].into_iter().collect();
    let record = stage.one(Write { fields: less, ..update(&record, &[]) }).record.unwrap();
    assert_eq!(overridden(&record), [(cleared.clone(), "description".to_owned())]);
    let none: Fields = [(cleared.as_str(), Value::Null)].into_iter().collect();
    let record = stage.one(Write { fields: none, ..update(&record, &[]) }).record.unwrap();
    assert_eq!(overridden(&record), []);
}

#[test]
fn an_answer_lost_between_a_series_and_its_occurrences_is_told_as_unknown() {
    let stage = Stage::new(0);
    let mut fields: Fields = series().into_iter().collect();
    fields.set(of("08", "excluded").as_str(), true);
    stage.fault(json!({ "match": { "operation": "DeleteItem" }, "drop_connection": true, "times": 0 }));
    let made = stage.one(Write { fields, ..create("event", "E1", &[]) });
    assert_eq!(made.status, Status::Unknown, "{made:?}");
    assert_eq!(stage.find("event", &[], &["E1"])[0].len(), 1, "the host finds it by its key");
}

#[test]
fn rules_that_exchange_cannot_hold_are_refused() {
    let stage = Stage::new(0);
    let mut fields = series();
    let odd = Value::from(vec!["RRULE:FREQ=YEARLY;INTERVAL=2".into()]);
    fields.retain(|(name, _)| *name != "recurrence");
    fields.push(("recurrence", odd));
    let refused = stage.one(create("event", "E2", &fields));
    assert_eq!((refused.status, refused.code.as_str()), (Status::Refused, "unsupported_recurrence"));
}
