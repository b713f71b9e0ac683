//! Independent readers look at the events that are written here: `icalendar` and `vobject` from PyPI, through
//! `tests/judge_events.py`. They compare a calendar as it came with what a second folder got, and with what an edit left of it.

use std::process::Command;

use pairwise_plugin_api::{Answer, Participant, Role, Value, Write};
use serde_json::json;

use super::events::{FILES, create, edit, read};
use super::fixture;
use crate::content::{self, Kind};
use crate::property::Format;

/// The cases of one judgement.
#[derive(Default)]
struct Bench(Vec<(String, Option<String>, serde_json::Value)>);

impl Bench {
    /// What became of a calendar, and what was meant to change in it, as iCalendar calls it.
    fn case(&mut self, before: Option<&[u8]>, after: String, uid: Option<&str>, changed: serde_json::Value) {
        let before = before.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        self.0.push((after, before, json!({ "uid": uid, "changed": changed })));
    }

    fn judge(self) {
        let folder = tempfile::TempDir::new().unwrap();
        let mut cases = serde_json::Map::new();
        for (number, (after, before, meant)) in self.0.into_iter().enumerate() {
            let name = format!("{number:03}");
            std::fs::write(folder.path().join(format!("{name}.after.ics")), after).unwrap();
            if let Some(before) = before {
                std::fs::write(folder.path().join(format!("{name}.before.ics")), before).unwrap();
            }
            cases.insert(name, meant);
        }
        std::fs::write(folder.path().join("events.json"), serde_json::Value::Object(cases).to_string()).unwrap();
        let python = std::env::var("PAIRWISE_PYTHON").unwrap_or_else(|_| "python3".into());
        let judge = format!("{}/tests/judge_events.py", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(python).arg(judge).arg(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

/// Series, exceptions, zones that only a file knows, alarms of all kinds, days, people, what no field carries.
#[test]
#[ignore = "needs Python with icalendar and vobject; PAIRWISE_PYTHON names the interpreter"]
fn judges_find_every_event_in_a_second_folder() {
    let mut bench = Bench::default();
    for file in FILES {
        let bytes = fixture(file);
        for reading in read(&bytes) {
            bench.case(Some(&bytes), create(&reading.fields), reading.uid.as_deref(), json!({}));
        }
    }
    bench.judge();
}

#[test]
#[ignore = "needs Python with icalendar and vobject; PAIRWISE_PYTHON names the interpreter"]
fn judges_find_that_an_edit_changed_what_was_meant_and_nothing_else() {
    let mut bench = Bench::default();
    for (file, at, fields, changed) in [
        (
            "thunderbird-series.ics",
            0,
            vec![("title", "Rada; nowa, \"druga\"".into())],
            json!({ "SUMMARY": "Rada; nowa, \"druga\"" }),
        ),
        (
            "thunderbird-series.ics",
            0,
            vec![("alerts/1/minutes", 30.into())],
            json!({ "BEGIN:VALARM": [
                { "ACTION": "DISPLAY", "DESCRIPTION": "Jutro rada", "TRIGGER": "-1 day, 23:30:00" },
                {
                    "ACTION": "EMAIL",
                    "ATTENDEE": "mailto:ewa@example.org",
                    "DESCRIPTION": "Napisz protokół",
                    "DURATION": "0:10:00",
                    "REPEAT": "2",
                    "SUMMARY": "Protokół",
                    "TRIGGER": "0:15:00",
                },
            ] }),
        ),
        (
            "thunderbird-series.ics",
            0,
            vec![("start", "2025-01-14T18:00:00".into()), ("end", "2025-01-14T19:00:00".into())],
            json!({ "DTSTART": "2025-01-14T17:00:00+00:00", "DTEND": "2025-01-14T18:00:00+00:00" }),
        ),
        (
            "thunderbird-series.ics",
            1,
            vec![("start", "2025-07-08".into()), ("end", "2025-07-20".into())],
            json!({ "DTSTART": "2025-07-08", "DTEND": "2025-07-20" }),
        ),
        ("apple-series.ics", 0, vec![("description", "one\ntwo".into())], json!({ "DESCRIPTION": "one\ntwo" })),
        (
            "outlook.ics",
            0,
            vec![("timeZone", "America/New_York".into())],
            json!({ "DTSTART": "2025-03-18T13:30:00+00:00", "DTEND": "2025-03-18T15:00:00+00:00" }),
        ),
        (
            "outlook.ics",
            0,
            vec![
                ("start", "2025-03-18".into()),
                ("end", "2025-03-19".into()),
                ("timeZone", Value::Null),
                ("showWithoutTime", true.into()),
            ],
            json!({ "DTSTART": "2025-03-18", "DTEND": "2025-03-19" }),
        ),
        ("exchange-occurrence.ics", 0, vec![("status", "tentative".into())], json!({ "STATUS": "TENTATIVE" })),
        (
            "google-export.ics",
            1,
            vec![("locations/1/name", "Quay 4; left".into())],
            json!({ "LOCATION": "Quay 4; left" }),
        ),
    ] {
        let bytes = fixture(file);
        let uid = read(&bytes)[at].uid.clone();
        bench.case(Some(&bytes), edit(&bytes, at, &fields), uid.as_deref(), changed);
    }
    bench.judge();
}

#[test]
#[ignore = "needs Python with icalendar and vobject; PAIRWISE_PYTHON names the interpreter"]
fn judges_read_what_other_systems_send() {
    let person = |address: &str, name: &str, role, answer| Participant {
        address: address.into(),
        name: name.into(),
        role,
        answer,
        ..Participant::default()
    };
    let mut bench = Bench::default();
    for (fields, changed) in [
        (
            vec![
                ("title", Value::from("Lunch; with, Ada")),
                ("start", "2026-07-01T12:00:00".into()),
                ("end", "2026-07-01T13:00:00".into()),
                ("timeZone", "Europe/Berlin".into()),
                ("alerts/1/minutes", 10.into()),
                ("keywords", vec!["A B".into(), "C".into()].into()),
                ("freeBusyStatus", "free".into()),
                ("privacy", "private".into()),
            ],
            json!({
                "SUMMARY": "Lunch; with, Ada",
                "DTSTART": "2026-07-01T10:00:00+00:00",
                "DTEND": "2026-07-01T11:00:00+00:00",
                "BEGIN:VALARM": [{ "ACTION": "DISPLAY", "DESCRIPTION": "Reminder", "TRIGGER": "-1 day, 23:50:00" }],
                "CATEGORIES": ["A B", "C"],
                "TRANSP": "TRANSPARENT",
                "CLASS": "PRIVATE",
                "ORGANIZER": "mailto:ada@example.org",
                "ATTENDEE": ["mailto:bob@example.org", "mailto:room@example.org"],
            }),
        ),
        (
            vec![
                ("title", "Holiday".into()),
                ("start", "2026-12-24".into()),
                ("end", "2026-12-27".into()),
                ("showWithoutTime", true.into()),
            ],
            json!({ "SUMMARY": "Holiday", "DTSTART": "2026-12-24", "DTEND": "2026-12-27" }),
        ),
        (
            vec![
                ("title", "Call".into()),
                ("start", "2026-11-01T05:30:00Z".into()),
                ("end", "2026-11-01T06:30:00Z".into()),
                ("timeZone", "America/New_York".into()),
            ],
            // The hour that there is twice.
            json!({ "DTSTART": "2026-11-01T05:30:00+00:00", "DTEND": "2026-11-01T06:30:00+00:00" }),
        ),
    ] {
        let people = vec![
            person("ada@example.org", "Ada, Countess", Role::Organizer, Answer::Accepted),
            person("bob@example.org", "Bob \"the\" Builder", Role::Required, Answer::Accepted),
            person("room@example.org", "Room 3", Role::Resource, Answer::NeedsAction),
        ];
        let write = Write {
            fields: fields.into_iter().collect(),
            participants: Some(people),
            key: "KEY1".into(),
            ..Write::default()
        };
        let bytes = content::create(Kind::Event, &write, Format::V30).bytes;
        bench.case(None, String::from_utf8(bytes).unwrap(), None, changed);
    }
    bench.judge();
}
