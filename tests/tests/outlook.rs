//! A folder of cards and a mailbox in the cloud, kept alike by the program.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use pairwise_sandbox::Options;
use pairwise_sandbox::faults::Fault;
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_tests::office::Office;
use pairwise_tests::people::{Crowd, Person};
use pairwise_tests::world::cards;
use serde_json::{Value, json};

const LEE: &str = "lee@example.com";

/// A mailbox with so many contacts, an empty folder of cards, and the profile `people` that mirrors them.
fn office(contacts: u32, more: &str) -> Office {
    seeded(contacts, more, 1)
}

fn seeded(contacts: u32, more: &str, seed: u64) -> Office {
    let (systems, spread) = (vec!["outlook".into()], Spread::Mailbox);
    let options = Options { systems, contacts, spread, users: 1, seed, ..Options::default() };
    let office = Office::start(options);
    fs::create_dir(office.world.left()).unwrap();
    let connections = office.world.text("pairwise.toml");
    let left = "[connections.left]\nplugin = \"vdir\"\nsettings = { path = \"left\", trash = \"trash\" }\n";
    office.world.put("pairwise.toml", &format!("{connections}\n{left}"));
    let profile = "preset = \"mirror\"\nleft = \"left\"\nright = \"outlook\"\nenabled = true\n";
    office.world.put("profiles/people.toml", &format!("{profile}{more}\n"));
    office
}

/// One run, which ends with this exit code; what it says of its first lane.
fn sync(office: &Office, code: i32) -> Value {
    let (ran, json) = office.world.json(["sync"]);
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
    json["runs"][0].clone()
}

fn items(office: &Office) -> Vec<Item> {
    let all = office.sandbox.records("outlook", Some("contact"), Some(LEE));
    all.into_iter().filter(|item| !item.container.as_deref().unwrap_or_default().contains("deleteditems")).collect()
}

/// The entry of a person, who is known by the first address.
fn item(office: &Office, person: &Person) -> Item {
    items(office).into_iter().find(|item| item.fields["emailAddresses"][0]["address"] == person.emails[0]).unwrap()
}

/// A person's edit in the mailbox.
fn edit(office: &Office, id: Option<&str>, fields: Value) -> String {
    let fields = fields.as_object().unwrap().clone();
    let id = id.map(str::to_owned);
    office
        .sandbox
        .edit("outlook", Edit { entity: "contact".into(), user: LEE.into(), id, fields, container: None })
        .unwrap()
}

/// What was asked since, the parts of batches left out.
fn requests(office: &Office, since: u64) -> Vec<String> {
    let all = office.sandbox.requests("outlook", since).into_iter().filter(|entry| entry.part_of.is_none());
    all.map(|entry| format!("{} {}", entry.method, entry.path)).collect()
}

fn last(office: &Office) -> u64 {
    office.sandbox.core("outlook").journal().last()
}

#[test]
fn a_folder_and_a_mailbox_are_kept_alike() {
    let office = office(30, "");
    let crowd = Crowd::tidy(77);
    for number in 0..20 {
        let person = crowd.person(number);
        fs::write(office.world.left().join(person.file_name()), person.card()).unwrap();
    }
    let run = sync(&office, 0);
    assert_eq!((run["left"]["created"].as_u64(), run["right"]["created"].as_u64()), (Some(30), Some(20)), "{run}");
    assert_eq!((cards(&office.world.left()).len(), items(&office).len()), (50, 50));

    // What was written comes back as a change, and is none.
    let run = sync(&office, 0);
    assert_eq!((run["left"]["updated"].as_u64(), run["right"]["updated"].as_u64()), (Some(0), Some(0)), "{run}");
    let since = last(&office);
    sync(&office, 0);
    let quiet = requests(&office, since);
    assert!(quiet.len() <= 4 && !quiet.iter().any(|request| request.starts_with("PATCH")), "{quiet:#?}");

    // Edits on both sides, of different people and of one.
    let there = crowd.person(1);
    edit(
        &office,
        Some(&item(&office, &there).id),
        json!({ "jobTitle": "Captain", "businessPhones": ["+49 30 1", "+49 30 2"] }),
    );
    let here = crowd.person(2);
    let path = office.world.left().join(here.file_name());
    let card = fs::read_to_string(&path).unwrap();
    let changed: Vec<String> = card
        .lines()
        .map(|line| if line.starts_with("TITLE") { "TITLE:Cook".to_owned() } else { line.to_owned() })
        .collect();
    fs::write(&path, changed.join("\r\n") + "\r\n").unwrap();
    edit(&office, Some(&item(&office, &here).id), json!({ "mobilePhone": "+1 555 0100" }));
    edit(&office, None, json!({ "givenName": "Nemo", "surname": "Nobody" }));
    fs::remove_file(office.world.left().join(crowd.person(3).file_name())).unwrap();
    office.sandbox.delete("outlook", LEE, &item(&office, &crowd.person(4)).id).unwrap();
    let since = last(&office);
    let run = sync(&office, 0);
    assert_eq!(run["conflicts"], 0, "{run}");
    let text = fs::read_to_string(office.world.left().join(there.file_name())).unwrap();
    assert!(text.contains("TITLE:Captain") && text.contains("+49 30 2"), "{text}");
    let cook = item(&office, &here);
    assert_eq!(cook.fields["jobTitle"], "Cook");
    assert!(fs::read_to_string(&path).unwrap().contains("+1 555 0100"));
    assert_eq!((cards(&office.world.left()).len(), items(&office).len()), (49, 49));
    let trashed = office.sandbox.records("outlook", Some("contact"), Some(LEE)).len() - items(&office).len();
    assert_eq!(trashed, 2, "one by a person, one by us");
    let patches = office.sandbox.requests("outlook", since).into_iter().filter(|entry| entry.method == "PATCH");
    let bodies: Vec<String> = patches.map(|entry| entry.body).collect();
    assert_eq!(bodies, ["{\"jobTitle\":\"Cook\"}"], "changed fields only");
    sync(&office, 0);
    let since = last(&office);
    sync(&office, 0);
    assert!(requests(&office, since).len() <= 4);
}

#[test]
fn a_dropped_token_costs_a_listing_and_no_record() {
    let office = office(25, "");
    sync(&office, 0);
    office.sandbox.command("outlook", "drop_tokens", &json!({})).unwrap();
    edit(&office, Some(&items(&office)[0].id), json!({ "jobTitle": "Captain" }));
    office.sandbox.delete("outlook", LEE, &items(&office)[1].id).unwrap();
    let run = sync(&office, 0);
    assert_eq!(
        (run["left"]["updated"].as_u64(), run["left"]["deleted"].as_u64(), run["left"]["created"].as_u64()),
        (Some(1), Some(1), Some(0)),
        "{run}"
    );
    assert_eq!((cards(&office.world.left()).len(), items(&office).len()), (24, 24));
}

#[test]
fn each_way_to_be_refused_has_its_own_message_and_writes_nothing() {
    let office = office(3, "");
    let config = office.world.text("pairwise.toml");
    let check = |code: i32, words: &str| {
        let ran = office.world.run(["connection", "check", "outlook"]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code == Some(code) && said.contains(words), "{code} {words}: {:?}\n{said}", ran.code);
    };
    check(0, "outlook");
    let secret = |value: &str| office.sandbox.command("outlook", "secret", &json!({ "value": value })).unwrap();
    secret("another one");
    check(3, "`client_secret` is wrong");
    secret("pairwise~sandbox~secret");
    office.world.put("pairwise.toml", &config.replace("\"example.com\"", "\"elsewhere.com\""));
    check(2, "no organisation `elsewhere.com`");
    office.world.put("pairwise.toml", &config.replace("\"lee@example.com\"", "\"nobody@example.com\""));
    check(2, "no mailbox `nobody@example.com`");
    let url = office.sandbox.info("outlook").url;
    office.world.put("pairwise.toml", &config.replace(&url, &format!("{url}/elsewhere")));
    check(2, "login_url");
    office.world.put("pairwise.toml", &config.replace(&url, "http://127.0.0.1:9"));
    check(3, "cannot be reached");
    office.world.put("pairwise.toml", &config);
    for (state, code, words) in [("on_premises", 2, "`exchange`"), ("forbidden", 3, "Contacts.ReadWrite")] {
        office.sandbox.command("outlook", "mailbox", &json!({ "user": LEE, "state": state })).unwrap();
        check(code, words);
    }
    assert!(cards(&office.world.left()).is_empty());
}

#[test]
fn a_calendar_of_files_and_one_in_the_cloud_are_kept_alike() {
    let office = office(0, "[streams.contacts]\nenabled = false\n[streams.calendar]\nenabled = true");
    let day = |days: i32| (jiff::Zoned::now().date() + jiff::Span::new().days(days)).strftime("%Y%m%d").to_string();
    let weekly = format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nBEGIN:VEVENT\r\nUID:weekly\r\nDTSTAMP:20260101T000000Z\r\n\
         SUMMARY:Weekly\r\nDTSTART;TZID=Europe/Berlin:{0}T090000\r\nDTEND;TZID=Europe/Berlin:{0}T100000\r\nRRULE:FREQ=WEEKLY;COUNT=5\r\n\
         LOCATION:Room 1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        day(2)
    );
    fs::write(office.world.left().join("weekly.ics"), weekly).unwrap();
    let clock = |days: i32, hour: u8| {
        let date = jiff::Zoned::now().date() + jiff::Span::new().days(days);
        json!({ "dateTime": format!("{date}T{hour:02}:00:00"), "timeZone": "W. Europe Standard Time" })
    };
    let person = |id: Option<&str>, fields: Value| {
        let fields = fields.as_object().unwrap().clone();
        let edit =
            Edit { entity: "event".into(), user: LEE.into(), id: id.map(str::to_owned), fields, container: None };
        office.sandbox.edit("outlook", edit).unwrap()
    };
    let id = person(None, json!({ "subject": "Talk", "start": clock(3, 14), "end": clock(3, 15) }));
    let run = sync(&office, 0);
    assert_eq!((run["left"]["created"].as_u64(), run["right"]["created"].as_u64()), (Some(1), Some(1)), "{run}");
    let events = office.sandbox.records("outlook", Some("event"), Some(LEE));
    let weekly = events.iter().find(|item| item.fields["subject"] == "Weekly").unwrap();
    assert_eq!(weekly.fields["recurrence"]["pattern"]["type"], "weekly", "{:#?}", weekly.fields);
    assert_eq!(weekly.fields["start"]["timeZone"], "W. Europe Standard Time");
    let files = || cards(&office.world.left());
    let talk = files().into_iter().find(|(_, text)| text.contains("SUMMARY:Talk")).unwrap().1;
    assert!(talk.contains(&format!("DTSTART;TZID=Europe/Berlin:{}T140000", day(3))), "{talk}");

    sync(&office, 0);
    let since = last(&office);
    let run = sync(&office, 0);
    assert_eq!((run["left"]["updated"].as_u64(), run["right"]["updated"].as_u64()), (Some(0), Some(0)), "{run}");
    assert!(requests(&office, since).len() <= 4, "{:#?}", requests(&office, since));

    person(Some(&id), json!({ "start": clock(4, 16), "end": clock(4, 17), "subject": "Talk, later" }));
    person(Some(&weekly.id), json!({ "location": { "displayName": "Room 2" } }));
    sync(&office, 0);
    let text: String = files().into_iter().map(|(_, text)| text).collect();
    assert!(
        text.contains(&format!("DTSTART;TZID=Europe/Berlin:{}T160000", day(4))) && text.contains("LOCATION:Room 2"),
        "{text}"
    );
    assert!(text.contains("RRULE:FREQ=WEEKLY;COUNT=5"), "{text}");
}

/// Whatever goes wrong on the way, in the end each card has its entry and each entry its card, once, with the edits of both
/// sides. `PAIRWISE_SEEDS` tries more histories than are tried by itself.
#[test]
fn faults_change_nothing_in_the_end() {
    let seeds = std::env::var("PAIRWISE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    for seed in 1..=seeds {
        let office = seeded(60, "", seed);
        let crowd = Crowd::tidy(500 + seed);
        for number in 0..30 {
            let person = crowd.person(number);
            fs::write(office.world.left().join(person.file_name()), person.card()).unwrap();
        }
        office.sandbox.command("outlook", "moving_keys", &json!({})).unwrap();
        let status = |status: u16| Fault { status: Some(status), ..Fault::default() };
        for fault in [
            Fault { retry_after: Some(0), ..status(429) },
            Fault { retry_after: Some(0), ..status(503) },
            status(500),
            Fault { after_effect: true, ..status(504) },
            Fault { drop_connection: true, ..Fault::default() },
            Fault { drop_connection: true, after_effect: true, ..Fault::default() },
        ] {
            office.sandbox.fault("outlook", Fault { times: Some(0), chance: Some(0.018), ..fault });
        }
        for round in 0..5 {
            let ran = office.world.run(["sync"]);
            assert!([Some(0), Some(1), Some(3)].contains(&ran.code), "seed {seed}: {ran:?}");
            match round {
                1 => drop(office.sandbox.command("outlook", "drop_tokens", &json!({}))),
                2 => {
                    edit(&office, Some(&items(&office)[3].id), json!({ "jobTitle": "Theirs" }));
                    let path = office.world.left().join(crowd.person(7).file_name());
                    let card = fs::read_to_string(&path).unwrap();
                    let lines = card.lines().map(|line| if line.starts_with("TITLE") { "TITLE:Ours" } else { line });
                    fs::write(path, lines.collect::<Vec<_>>().join("\r\n") + "\r\n").unwrap();
                    office.sandbox.command("outlook", "expire_tokens", &json!({})).unwrap();
                }
                _ => {}
            }
        }
        office.sandbox.core("outlook").faults().clear();
        for _ in 0..3 {
            office.world.run(["quarantine", "retry", "--all"]);
            office.world.run(["sync"]);
        }
        let mut names: Vec<String> = items(&office)
            .iter()
            .map(|item| format!("{}{}", item.fields["displayName"], item.fields["emailAddresses"]))
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!((count, names.len()), (90, 90), "seed {seed}: no entry is missing, none is there twice");
        let texts: Vec<String> = cards(&office.world.left()).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts.len(), 90, "seed {seed}");
        assert!(texts.iter().any(|text| text.contains("TITLE:Theirs")), "seed {seed}");
        assert_eq!(item(&office, &crowd.person(7)).fields["jobTitle"], "Ours", "seed {seed}");
        let since = last(&office);
        sync(&office, 0);
        let writes = office.sandbox.requests("outlook", since).into_iter().filter(|entry| {
            ["PATCH", "DELETE"].contains(&entry.method.as_str()) || (entry.part_of.is_some() && entry.method == "POST")
        });
        assert_eq!(writes.count(), 0, "seed {seed}: in the end nothing is left to do");
    }
}

/// A connection whose token a person gives by signing in on another device, and then never again.
#[test]
fn a_sign_in_is_kept_and_renewed() {
    let office = office(3, "");
    office.sandbox.command("outlook", "strict_refresh", &json!({})).unwrap();
    let config = office.world.text("pairwise.toml");
    let (head, tail) = config.split_once("secrets").unwrap();
    let rest = tail.split_once('\n').unwrap().1;
    let head = head.replace("settings = { ", "settings = { sign_in = \"delegated\", ");
    let config = format!("{head}secrets = {{ refresh_token = {{ kept = true }} }}\n{rest}");
    office.world.put("pairwise.toml", &config);
    let ran = office.world.run(["connection", "check", "outlook"]);
    assert!(ran.stderr.contains("connection login"), "{ran:?}");
    let mut login = office.world.start(["connection", "login", "outlook"]);
    while office.sandbox.command("outlook", "approve_device", &json!({ "user": LEE })).is_err() {
        assert!(login.try_wait().unwrap().is_none(), "it ended before anybody could sign in");
        std::thread::yield_now();
    }
    assert_eq!(login.wait().unwrap().code(), Some(0));
    for _ in 0..2 {
        // Each login hands out a new token, and the old one is worth nothing.
        sync(&office, 0);
    }
    assert_eq!(cards(&office.world.left()).len(), 3);
    office.sandbox.command("outlook", "withdraw_consent", &json!({})).unwrap();
    let ran = office.world.run(["connection", "check", "outlook"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("sign in again"), "{ran:?}");
}
