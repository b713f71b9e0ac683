//! A calendar on premises and one in the cloud, kept alike by the preset `mirror`: series with the occurrences that differ.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use pairwise_sandbox::Options;
use pairwise_sandbox::faults::{Fault, Match};
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_tests::office::Office;
use serde_json::{Value, json};

const LEE: &str = "lee@example.com";

struct Calendars {
    office: Office,
}

/// A day near today; the view of a calendar in the cloud is one of a window of time.
fn day(days: i64) -> Date {
    Zoned::now().date().checked_add(days.days()).unwrap()
}

/// Nine in Berlin on that day, as Exchange keeps it.
fn nine(days: i64) -> String {
    let nine = day(days).at(9, 0, 0, 0).in_tz("Europe/Berlin").unwrap();
    nine.timestamp().to_string()
}

impl Calendars {
    fn new() -> Calendars {
        let systems = vec!["exchange".to_owned(), "outlook".to_owned()];
        let office = Office::start(Options { systems, users: 1, contacts: 0, ..Options::default() });
        office.world.put(
            "profiles/team.toml",
            &format!(
                "preset = \"mirror\"\nleft = \"exchange\"\nright = \"outlook\"\nenabled = true\n[[users]]\nleft = {LEE:?}\n\
                 right = {LEE:?}\n[streams.contacts]\nenabled = false\n[streams.calendar]\nenabled = true\n"
            ),
        );
        Calendars { office }
    }

    fn sync(&self) -> Value {
        let (ran, json) = self.office.world.json(["sync"]);
        assert!(matches!(ran.code, Some(0 | 1)), "{}\n{}", ran.stdout, ran.stderr);
        json["runs"][0].clone()
    }

    fn quiet(&self) {
        let run = self.sync();
        for (side, what) in
            ["left", "right"].iter().flat_map(|side| ["created", "updated", "deleted"].map(|it| (side, it)))
        {
            assert_eq!(run[side][what], 0, "{run:#}");
        }
    }

    fn edit(&self, system: &str, id: Option<&str>, fields: Value) {
        let (id, fields) = (id.map(str::to_owned), fields.as_object().unwrap().clone());
        let edit = Edit { entity: "event".into(), user: LEE.into(), id, fields, ..Edit::default() };
        self.office.sandbox.edit(system, edit).unwrap();
    }

    /// The only event.
    fn event(&self, system: &str) -> Item {
        let mut events = self.office.sandbox.records(system, Some("event"), Some(LEE));
        assert_eq!(events.len(), 1, "{system}");
        events.remove(0)
    }

    /// A daily series of ten, begun on premises.
    fn series(&self) {
        self.edit(
            "exchange",
            None,
            json!({
                "Subject": "Stand-up", "Start": nine(2), "End": nine(2).replace(":00:00Z", ":30:00Z"),
                "StartTimeZone": "W. Europe Standard Time",
                "Recurrence": [
                    { "name": "DailyRecurrence", "Interval": "1" },
                    { "name": "NumberedRecurrence", "StartDate": day(2).to_string(), "NumberOfOccurrences": "10" },
                ],
            }),
        );
    }
}

#[test]
fn single_occurrences_travel_both_ways() {
    let calendars = Calendars::new();
    calendars.series();
    // One was called off and one has another title before anything was synchronised.
    let id = calendars.event("exchange").id;
    let differs = json!({ "Exceptions": { nine(4): { "Subject": "Planning" } }, "DeletedOccurrences": [nine(3)] });
    calendars.edit("exchange", Some(&id), differs);
    calendars.sync();
    let there = calendars.event("outlook");
    assert_eq!(there.fields["subject"], "Stand-up");
    assert_eq!(there.fields["#cancelled"], json!([day(3).to_string()]));
    assert_eq!(there.fields["#exceptions"][day(4).to_string()]["subject"], "Planning");
    calendars.sync();
    calendars.quiet();

    // In the cloud somebody calls another one off, and moves the planning to another room.
    calendars.office.sandbox.core("outlook").write(|store, now| {
        store.change(now, &there.id, |fields| {
            let subject = json!("Planning");
            fields.insert("#cancelled".into(), json!([day(3).to_string(), day(6).to_string()]));
            fields.insert(
                "#exceptions".into(),
                json!({ day(4).to_string(): { "subject": subject, "location": { "displayName": "Room 9" } } }),
            );
        });
    });
    calendars.sync();
    let here = calendars.event("exchange");
    assert_eq!(here.fields["DeletedOccurrences"], json!([nine(3), nine(6)]));
    assert_eq!(here.fields["Exceptions"][nine(4)]["Location"], "Room 9");
    assert_eq!(here.fields["Exceptions"][nine(4)]["Subject"], "Planning");
    calendars.sync();
    calendars.quiet();

    // The whole series takes longer from now on: what differed differs still.
    calendars.edit("exchange", Some(&here.id), json!({ "End": nine(2).replace(":00:00Z", ":45:00Z") }));
    calendars.sync();
    let there = calendars.event("outlook");
    assert!(there.fields["end"]["dateTime"].as_str().unwrap().contains("T09:45"), "{}", there.fields["end"]);
    assert_eq!(there.fields["#cancelled"], json!([day(3).to_string(), day(6).to_string()]));
    assert_eq!(there.fields["#exceptions"][day(4).to_string()]["location"]["displayName"], "Room 9");
    calendars.sync();
    calendars.quiet();
}

/// One day without the room and the agenda of the others, on either side.
#[test]
fn what_one_occurrence_lacks_is_lacking_there_too() {
    let calendars = Calendars::new();
    calendars.series();
    let id = calendars.event("exchange").id;
    let without = json!({ "Location": "Room 1", "Body": "As always", "Exceptions": { nine(4): { "Location": null } } });
    calendars.edit("exchange", Some(&id), without);
    calendars.sync();
    let there = calendars.event("outlook");
    assert_eq!(there.fields["location"]["displayName"], "Room 1");
    let exception = &there.fields["#exceptions"][day(4).to_string()];
    assert_eq!(exception["location"]["displayName"], "", "{exception}");
    calendars.sync();
    calendars.quiet();

    calendars.office.sandbox.core("outlook").write(|store, now| {
        store.change(now, &there.id, |fields| {
            let (room, body) = (json!({ "displayName": "" }), json!({ "contentType": "text", "content": "" }));
            let days = json!({ day(4).to_string(): { "location": room }, day(5).to_string(): { "body": body } });
            fields.insert("#exceptions".into(), days);
        });
    });
    calendars.sync();
    let exceptions = calendars.event("exchange").fields["Exceptions"].clone();
    assert_eq!(
        (exceptions[nine(4)].get("Location"), exceptions[nine(5)].get("Body")),
        (Some(&Value::Null), Some(&Value::Null))
    );
    calendars.sync();
    calendars.quiet();
}

/// The series was made, and the answer to one of its occurrences was lost: the next run completes it, and nobody has it twice.
#[test]
fn a_series_that_was_made_in_part_is_completed() {
    let calendars = Calendars::new();
    calendars.series();
    let id = calendars.event("exchange").id;
    calendars.edit("exchange", Some(&id), json!({ "DeletedOccurrences": [nine(3)] }));
    let on = Match { method: Some("DELETE".into()), ..Match::default() };
    let fault = Fault { matching: on, status: Some(500), times: Some(1), ..Fault::default() };
    calendars.office.sandbox.fault("outlook", fault);
    for _ in 0..3 {
        calendars.sync();
    }
    assert_eq!(calendars.event("outlook").fields["#cancelled"], json!([day(3).to_string()]));
    assert_eq!(calendars.event("exchange").fields["DeletedOccurrences"], json!([nine(3)]));
    calendars.quiet();
}
