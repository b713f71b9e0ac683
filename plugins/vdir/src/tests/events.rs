//! Calendars: what is read from them, what an edit leaves alone, what arrives in a second folder.

use pairwise_plugin_api::{Answer, Fields, Participant, Role, Value, Write};

use super::fixture;
use crate::content::{self, Kind, Part, Reading};
use crate::draft::Edited;
use crate::lines::Text;
use crate::property::Format;

pub(super) const FILES: [&str; 7] = [
    "outlook.ics",
    "apple-series.ics",
    "google-export.ics",
    "evolution.ics",
    "lotus-notes.ics",
    "exchange-occurrence.ics",
    "thunderbird-series.ics",
];

fn parts(bytes: &[u8]) -> Vec<Part> {
    content::parts(Kind::Event, &Text::new(bytes))
}

pub(super) fn read(bytes: &[u8]) -> Vec<Reading> {
    let text = Text::new(bytes);
    parts(bytes).iter().map(|part| content::read(Kind::Event, &text, part).unwrap()).collect()
}

fn filled(fields: &Fields) -> Vec<String> {
    fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name} = {value}")).collect()
}

pub(super) fn edit(bytes: &[u8], at: usize, fields: &[(&str, Value)]) -> String {
    let write = Write { fields: fields.iter().cloned().collect(), ..Write::default() };
    let text = Text::new(bytes);
    let edit = content::edit(Kind::Event, &text, &parts(bytes)[at], &write).unwrap();
    assert!(edit.refused.is_empty(), "{:?}", edit.refused);
    String::from_utf8(content::replace(&text, &edit.changes)).unwrap()
}

pub(super) fn create(fields: &Fields) -> String {
    let write = Write { fields: fields.clone(), uid: fields.text("uid").map(str::to_owned), ..Write::default() };
    let Edited { bytes, refused } = content::create(Kind::Event, &write, Format::V30);
    assert!(refused.is_empty(), "{refused:?}");
    String::from_utf8(bytes).unwrap()
}

#[test]
fn values() {
    for (file, at, wanted) in [
        (
            "outlook.ics",
            0,
            &[
                ("title", "Fräsmaschinen: Angebote"),
                ("description", "Angebote vergleichen; bitte Muster mitbringen.\n\nDanke, Ines\n"),
                ("locations/1/name", "Raum 3, Süd"),
                ("start", "2025-03-18T09:30:00"),
                ("end", "2025-03-18T11:00:00"),
                ("timeZone", "Europe/Berlin"),
                ("freeBusyStatus", "busy"),
                ("privacy", "public"),
                ("form/title", "SUMMARY;LANGUAGE=de"),
                ("made/METHOD", "REQUEST"),
            ][..],
        ),
        (
            "apple-series.ics",
            0,
            &[
                ("title", "Tide table"),
                ("start", "2025-04-07T09:00:00"),
                ("timeZone", "Europe/London"),
                ("made/X-WR-CALNAME", "Harbour"),
            ],
        ),
        (
            "google-export.ics",
            0,
            &[("start", "2025-08-14"), ("end", "2025-08-15"), ("freeBusyStatus", "free"), ("status", "confirmed")],
        ),
        ("google-export.ics", 1, &[("start", "2025-03-22T04:30:00Z"), ("status", "tentative")]),
        (
            "evolution.ics",
            0,
            &[("start", "2025-03-03T14:00:00"), ("end", "2025-03-03T15:30:00"), ("timeZone", "Europe/Paris")],
        ),
        ("lotus-notes.ics", 0, &[("start", "2025-03-20T10:00:00"), ("title", "Export papers")]),
        (
            "exchange-occurrence.ics",
            0,
            &[("recurrenceId", "2025-03-25T14:00:00"), ("timeZone", "Customized Time Zone")],
        ),
    ] {
        let fields = &read(&fixture(file))[at].fields;
        for (name, value) in wanted {
            assert_eq!(fields.text(name), Some(*value), "{file}: {name} in {:#?}", filled(fields));
        }
    }
    let of = |file: &str| read(&fixture(file)).remove(0).fields;
    assert_eq!(of("outlook.ics").get("alerts/1/minutes"), Some(&Value::Int(15)));
    assert_eq!(of("outlook.ics").get("form/alerts/1"), None, "a plain alarm");
    assert_eq!(of("apple-series.ics").get("alerts/1/minutes"), Some(&Value::Int(30)));
    assert_eq!(of("apple-series.ics").get("recurring"), Some(&Value::Bool(true)));
    assert_eq!(of("google-export.ics").get("showWithoutTime"), Some(&Value::Bool(true)));
    assert_eq!(of("evolution.ics").get("recurring"), Some(&Value::Bool(false)));
    assert!(of("exchange-occurrence.ics").get("property/VTIMEZONE").is_some(), "a zone that only the file knows");
    assert!(of("outlook.ics").get("property/VTIMEZONE").is_none(), "a zone that everybody knows");
}

#[test]
fn a_series_with_its_exceptions_is_one_record_and_tasks_are_none() {
    let series = fixture("apple-series.ics");
    assert_eq!(parts(&series).len(), 1);
    assert_eq!(parts(&series)[0].blocks.len(), 2);
    let Some(Value::List(exceptions)) = read(&series)[0].fields.get("property/VEVENT").cloned() else { panic!() };
    assert!(exceptions[0].to_string().contains("SUMMARY:Tide table (late)"));
    assert_eq!(parts(&fixture("google-export.ics")).len(), 2);
    assert!(parts(&fixture("thunderbird-task.ics")).is_empty());
    assert_eq!(read(&fixture("exchange-occurrence.ics"))[0].occurrence.as_deref(), Some("2025-03-25T14:00:00"));
    assert_eq!(parts(b"").len(), 1, "an empty file is a broken record");
}

#[test]
fn participants_are_told() {
    let people = read(&fixture("google-export.ics")).remove(1).participants;
    let told: Vec<_> = people.iter().map(|person| (person.address.as_str(), person.role, person.answer)).collect();
    assert_eq!(
        told,
        [
            ("ravi@subramanian-textiles.example", Role::Organizer, Answer::NeedsAction),
            ("ravi@subramanian-textiles.example", Role::Required, Answer::Accepted),
            ("chidi@harbour.example", Role::Optional, Answer::Declined),
        ]
    );
    assert_eq!(people[1].name, "Ravi Subramanian");
    let outlook = read(&fixture("outlook.ics")).remove(0).participants;
    assert!(outlook.iter().any(|person| person.role == Role::Resource && person.name == "Besprechungsraum 3"));
}

/// Lines that are in only one of the two texts.
fn difference(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let only = |these: &str, others: &str| {
        let others: Vec<&str> = others.split_inclusive('\n').collect();
        these.split_inclusive('\n').filter(|line| !others.contains(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    (only(before, after), only(after, before))
}

#[test]
fn an_edit_touches_its_lines_only() {
    for (file, at, fields, gone, new) in [
        ("outlook.ics", 0, vec![("title", "Neu".into())], 1, vec!["SUMMARY;LANGUAGE=de:Neu\r\n"]),
        (
            "outlook.ics",
            0,
            vec![("start", "2025-03-18T10:00:00".into())],
            1,
            vec!["DTSTART;TZID=W. Europe Standard Time:20250318T100000\r\n"],
        ),
        ("outlook.ics", 0, vec![("alerts/1/minutes", 30.into())], 1, vec!["TRIGGER:-PT30M\r\n"]),
        ("apple-series.ics", 0, vec![("alerts/1/minutes", 45.into())], 1, vec!["TRIGGER:-PT45M\r\n"]),
        (
            "evolution.ics",
            0,
            vec![("end", "2025-03-03T16:00:00".into())],
            1,
            vec!["DTEND;TZID=/freeassociation.sourceforge.net/Europe/Paris:20250303T160000\r\n"],
        ),
        ("google-export.ics", 1, vec![("status", "confirmed".into())], 1, vec![]),
        ("google-export.ics", 0, vec![("keywords", vec!["Family".into()].into())], 0, vec!["CATEGORIES:Family\r\n"]),
        ("lotus-notes.ics", 0, vec![("locations/1/name", "Kai 4".into())], 0, vec!["LOCATION:Kai 4\r\n"]),
        ("apple-series.ics", 0, vec![("property/VEVENT", Value::Null)], 6, vec![]),
    ] {
        let before = fixture(file);
        let after = edit(&before, at, &fields);
        let (lost, added) = difference(&String::from_utf8(before.clone()).unwrap(), &after);
        assert!(lost.len() <= gone && added == new, "{file} {fields:?}: {lost:?} {added:?}");
        let held = read(after.as_bytes()).remove(at).fields;
        for (name, value) in fields {
            assert_eq!(held.get(name).cloned().unwrap_or_default(), value, "{file} {name}");
        }
        assert_eq!(edit(&before, at, &[]).as_bytes(), before);
    }
}

#[test]
fn times_change_their_kind() {
    let before = fixture("outlook.ics");
    let day = edit(
        &before,
        0,
        &[
            ("start", "2025-03-18".into()),
            ("end", "2025-03-19".into()),
            ("timeZone", Value::Null),
            ("showWithoutTime", true.into()),
        ],
    );
    assert!(day.contains("DTSTART;VALUE=DATE:20250318\r\n") && day.contains("DTEND;VALUE=DATE:20250319\r\n"), "{day}");
    let zone = edit(&before, 0, &[("timeZone", "America/New_York".into())]);
    assert!(zone.contains("DTSTART;TZID=America/New_York:20250318T093000\r\n"), "{zone}");
    assert!(
        zone.contains("TZID:America/New_York\r\n") && zone.contains("TZNAME:EDT"),
        "its definition comes along: {zone}"
    );
    let utc = edit(&before, 0, &[("start", "2025-03-18T09:30:00+01:00".into()), ("timeZone", Value::Null)]);
    assert!(utc.contains("DTSTART:20250318T083000Z\r\n"), "{utc}");
    // A duration moves with the start only if the end does.
    let later = edit(&fixture("evolution.ics"), 0, &[("start", "2025-03-03T14:30:00".into())]);
    assert!(
        later.contains("DTEND;TZID=/freeassociation.sourceforge.net/Europe/Paris:20250303T153000")
            && !later.contains("DURATION")
    );
}

#[test]
fn everything_arrives_in_a_second_folder() {
    for file in FILES {
        for reading in read(&fixture(file)) {
            let copy = create(&reading.fields);
            let arrived = read(copy.as_bytes()).remove(0);
            assert_eq!(filled(&arrived.fields), filled(&reading.fields), "{file}\n{copy}");
            assert_eq!((arrived.uid, arrived.occurrence), (reading.uid, reading.occurrence), "{file}");
            assert_eq!(arrived.participants, reading.participants);
            assert!(copy.lines().all(|line| line.len() <= 75), "{copy}");
        }
    }
}

#[test]
fn a_new_event_is_valid() {
    let fields: Fields = [
        ("title", Value::from("Lunch; with, Ada")),
        ("start", "2026-07-01T12:00:00".into()),
        ("end", "2026-07-01T13:00:00".into()),
        ("timeZone", "Europe/Berlin".into()),
        ("alerts/1/minutes", 10.into()),
    ]
    .into_iter()
    .collect();
    let people = vec![
        Participant {
            address: "ada@example.org".into(),
            name: "Ada, Countess".into(),
            role: Role::Organizer,
            ..Participant::default()
        },
        Participant { address: "bob@example.org".into(), answer: Answer::Accepted, ..Participant::default() },
    ];
    let write = Write { fields, participants: Some(people), key: "KEY1".into(), ..Write::default() };
    let bytes = content::create(Kind::Event, &write, Format::V30).bytes;
    let text = String::from_utf8(bytes.clone()).unwrap();
    for line in [
        "UID:KEY1\r\n",
        "SUMMARY:Lunch\\; with\\, Ada\r\n",
        "DTSTART;TZID=Europe/Berlin:20260701T120000\r\n",
        "TZID:Europe/Berlin\r\n",
        "TRIGGER:-PT10M\r\n",
        "ORGANIZER;CN=\"Ada, Countess\":mailto:ada@example.org\r\n",
        "ATTENDEE;PARTSTAT=ACCEPTED;ROLE=REQ-PARTICIPANT:mailto:bob@example.org\r\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(text.contains("DTSTAMP:2"));
    let reading = read(&bytes).remove(0);
    assert_eq!(reading.participants.len(), 2);
    assert_eq!(reading.fields.text("end"), Some("2026-07-01T13:00:00"));
}

#[test]
fn one_event_of_several_is_edited_and_removed() {
    let file = fixture("google-export.ics");
    let original = String::from_utf8(file.clone()).unwrap();
    let after = edit(&file, 1, &[("title", "Renamed".into())]);
    let birthday = &original[..original.find("BEGIN:VEVENT\r\nDTSTART:2025").unwrap()];
    assert!(after.starts_with(birthday) && after.contains("SUMMARY:Renamed\r\n"));
    let text = Text::new(&file);
    let removed = content::alone(Kind::Event, &text, &parts(&file)[0]);
    assert_eq!(read(&removed)[0].uid.as_deref(), Some("0117birthday@google.example"));
    assert_eq!(
        content::keys(Kind::Event, &text, &parts(&file)),
        ["0117birthday@google.example", "0118meeting@google.example"]
    );
}

#[test]
fn broken_calendars_say_where() {
    for (file, error) in [
        ("", "line 1: no BEGIN:VEVENT"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\n", "line 1: no BEGIN:VEVENT"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nSUMMARY:x\n", "line 4: the file ends without END:VEVENT"),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nBEGIN:VALARM\nEND:VEVENT\nEND:VCALENDAR\n",
            "line 5: the file ends without END:VEVENT",
        ),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nwhat is this\nEND:VEVENT\nEND:VCALENDAR\n",
            "line 3: `what is this` is no content",
        ),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n", "line 2: the event has no DTSTART"),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:soon\nEND:VEVENT\nEND:VCALENDAR\n",
            "line 3: the event has no DTSTART",
        ),
    ] {
        let text = Text::new(file.as_bytes());
        let parts = parts(file.as_bytes());
        let broken = content::read(Kind::Event, &text, &parts[0]).unwrap_err().to_string();
        assert!(broken.starts_with(error), "{file}: {broken}");
    }
}
