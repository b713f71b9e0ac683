//! The whole program between a simulated Exchange Server and a folder of cards, and the server before its judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::process::Command;

use pairwise_sandbox::people::{Crowd, write_cards};
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_sandbox::{Options, Sandbox};
use pairwise_tests::judges::{is_satisfied, judge, script};
use pairwise_tests::world::{Ran, World, cards};
use serde_json::{Value, json};

const MAIL: &str = "exchange";
const LEE: &str = "lee@example.com";
const WRITES: [&str; 5] = ["CreateItem", "UpdateItem", "DeleteItem", "MoveItem", "CreateFolder"];

/// A folder `left`, Lee's mailbox as the connection `mail`, and the profile `people` that keeps them alike.
struct Pair {
    sandbox: Sandbox,
    world: World,
}

impl Pair {
    fn of(contacts: u32) -> Pair {
        let options = Options { systems: vec![MAIL.into()], contacts, spread: Spread::Mailbox, ..Options::default() };
        let pair = Pair { sandbox: Sandbox::start(options).unwrap(), world: World::empty() };
        fs::create_dir(pair.world.left()).unwrap();
        pair.connect(&pair.sandbox.info(MAIL).url, "svc-secret", LEE);
        let head = "preset = \"mirror\"\nleft = \"folder\"\nright = \"mail\"\nenabled = true\n";
        pair.world.put("profiles/people.toml", &format!("{head}\n[streams.calendar]\nenabled = true\n"));
        pair
    }

    fn connect(&self, url: &str, password: &str, mailbox: &str) {
        self.world.put("mail.secret", password);
        let settings = format!(
            "{{ url = \"{url}\", username = \"EXAMPLE\\\\svc-pairwise\", mailbox = \"{mailbox}\", time_zone = \"Europe/Berlin\" }}"
        );
        self.world.put(
            "pairwise.toml",
            &format!(
                "[connections.folder]\nplugin = \"vdir\"\nsettings = {{ path = \"left\" }}\n\n[connections.mail]\n\
                 plugin = \"exchange\"\nsettings = {settings}\nsecrets = {{ password = {{ file = \"mail.secret\" }} }}\n"
            ),
        );
    }

    fn sync(&self, stream: &str) -> Value {
        self.world.json(["sync", "--stream", stream]).0.exits(0).json()["runs"][0].clone()
    }

    fn cards(&self) -> Vec<(String, String)> {
        cards(&self.world.left())
    }

    fn items(&self, entity: &str) -> Vec<Item> {
        let folders = self.sandbox.records(MAIL, Some("folder"), Some(LEE));
        let is_home = |item: &Item| {
            let home = folders.iter().find(|folder| Some(&folder.id) == item.container.as_ref());
            home.is_some_and(|home| ["contacts", "calendar"].iter().any(|name| home.fields["Distinguished"] == *name))
        };
        self.sandbox.records(MAIL, Some(entity), Some(LEE)).into_iter().filter(is_home).collect()
    }

    fn edit(&self, id: &str, fields: Value) {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        let edit = Edit { user: LEE.into(), id: Some(id.to_owned()), fields, ..Edit::default() };
        self.sandbox.edit(MAIL, edit).unwrap();
    }

    /// Edits the card of somebody, as a person would.
    fn edit_card(&self, holds: &str, from: &str, to: &str) {
        let (name, text) = self.cards().into_iter().find(|(_, text)| text.contains(holds)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.world.left().join(name), text.replacen(from, to, 1)).unwrap();
    }

    /// What was asked since then: how many requests, and those that write.
    fn asked(&self, since: u64) -> (usize, Vec<String>) {
        let entries = self.sandbox.requests(MAIL, since);
        let operations = entries.iter().filter_map(|entry| entry.operation.clone());
        (entries.len(), operations.filter(|name| WRITES.contains(&name.as_str())).collect())
    }

    fn now(&self) -> u64 {
        self.sandbox.core(MAIL).journal().last()
    }

    fn is_quiet(&self, stream: &str) {
        let since = self.now();
        let run = self.sync(stream);
        assert_eq!((run["left"]["updated"].as_u64(), run["right"]["updated"].as_u64()), (Some(0), Some(0)), "{run}");
        let (requests, writes) = self.asked(since);
        let all: Vec<_> =
            self.sandbox.requests(MAIL, since).into_iter().map(|entry| (entry.operation, entry.status)).collect();
        assert!(requests <= 4 && writes.is_empty(), "{all:?}");
    }
}

#[test]
fn a_folder_and_a_mailbox_are_kept_alike() {
    let pair = Pair::of(40);
    let run = pair.sync("contacts");
    assert_eq!(run["left"]["created"], json!(40), "{run}");
    assert_eq!(pair.cards().len(), 40);
    pair.is_quiet("contacts");

    let [a, b, c, d, ..] = &pair.items("contact")[..] else { panic!("contacts") };
    let name = |item: &Item| item.fields["DisplayName"].as_str().unwrap().to_owned();
    pair.edit_card(&format!("FN:{}", name(a)), "END:VCARD", "X-KEPT:as it was\r\nROLE:x\r\nEND:VCARD");
    let title = a.fields["JobTitle"].as_str().unwrap();
    pair.edit_card(&format!("FN:{}", name(a)), &format!("TITLE:{title}"), "TITLE:Chief Engineer");
    pair.edit(&b.id, json!({ "PhoneNumbers/MobilePhone": "+44 7700 900999", "Categories": ["Key", "New"] }));
    let (thrown, _) = pair.cards().into_iter().find(|(_, text)| text.contains(&format!("FN:{}", name(c)))).unwrap();
    fs::remove_file(pair.world.left().join(thrown)).unwrap();
    pair.sandbox.delete(MAIL, LEE, &d.id).unwrap();
    let since = pair.now();
    pair.sync("contacts");
    let updates: Vec<_> = pair
        .sandbox
        .requests(MAIL, since)
        .into_iter()
        .filter(|entry| entry.operation.as_deref() == Some("UpdateItem"))
        .collect();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].body.matches("ItemField>").count(), 2, "only what changed is sent: {}", updates[0].body);
    let now = pair.items("contact");
    assert_eq!((now.len(), pair.cards().len()), (38, 38));
    assert_eq!(now.iter().find(|item| item.id == a.id).unwrap().fields["JobTitle"], json!("Chief Engineer"));
    let card = pair.cards().into_iter().find(|(_, text)| text.contains("900999")).unwrap().1;
    assert!(card.contains("CATEGORIES:Key,New") && card.contains(&format!("FN:{}", name(b))), "{card}");
    let trashed = pair.sandbox.records(MAIL, Some("contact"), Some(LEE)).len() - now.len();
    assert_eq!(trashed, 2, "one by the person, one by us");
    pair.is_quiet("contacts");
}

#[test]
fn cards_go_into_an_empty_mailbox_with_few_requests() {
    let pair = Pair::of(0);
    write_cards(&pair.world.left(), Crowd::tidy(3), 0..300).unwrap();
    let since = pair.now();
    let run = pair.sync("contacts");
    assert_eq!(run["right"]["created"], json!(300), "{run}");
    let (requests, writes) = pair.asked(since);
    println!("{requests} requests for 300 new contacts, {} of them writes", writes.len());
    assert!(requests <= 12, "{requests} requests for 300 contacts");
    // What was written is told once more as a change, and is none.
    assert_eq!(pair.sync("contacts")["right"]["updated"], json!(0));
    pair.is_quiet("contacts");
}

#[test]
fn a_lost_answer_makes_no_second_contact() {
    let pair = Pair::of(0);
    write_cards(&pair.world.left(), Crowd::tidy(3), 0..30).unwrap();
    let fault = json!({ "match": { "operation": "CreateItem" }, "drop_connection": true, "after_effect": true });
    pair.sandbox.fault(MAIL, serde_json::from_value(fault).unwrap());
    pair.world.json(["sync", "--stream", "contacts"]);
    pair.sync("contacts");
    assert_eq!((pair.items("contact").len(), pair.cards().len()), (30, 30));
    pair.sandbox.command(MAIL, "drop_sync_states", &json!({})).unwrap();
    pair.sync("contacts");
    assert_eq!((pair.items("contact").len(), pair.cards().len()), (30, 30));
    pair.sandbox.command(MAIL, "touch", &json!({ "user": LEE })).unwrap();
    pair.is_quiet_after_touch();
}

impl Pair {
    /// Change keys that moved by themselves are no edits.
    fn is_quiet_after_touch(&self) {
        let since = self.now();
        self.sync("contacts");
        assert!(self.asked(since).1.is_empty());
    }
}

#[test]
fn a_contact_that_a_person_moves_is_not_deleted_on_the_other_side() {
    let pair = Pair::of(4);
    let scope = "scope.right = { folder = [\"contacts\", \"CRM\"] }";
    let head = "preset = \"mirror\"\nleft = \"folder\"\nright = \"mail\"\nenabled = true\n";
    pair.world.put("profiles/people.toml", &format!("{head}\n[streams.contacts]\n{scope}\n"));
    let folder = |name: &str| {
        let fields = [("DisplayName".to_owned(), json!(name))].into_iter().collect();
        let edit = Edit {
            entity: "folder".into(),
            user: LEE.into(),
            fields,
            container: Some("contacts".into()),
            ..Edit::default()
        };
        pair.sandbox.edit(MAIL, edit).unwrap();
    };
    folder("CRM");
    folder("Private");
    pair.sync("contacts");
    let before = pair.cards();
    let [a, b, c, ..] = &pair.items("contact")[..] else { panic!("contacts") };
    let to = |item: &Item, container: &str| {
        let id = Some(item.id.clone());
        let edit = Edit { user: LEE.into(), id, container: Some(container.into()), ..Edit::default() };
        pair.sandbox.edit(MAIL, edit).unwrap()
    };
    let moved = to(a, "CRM");
    to(b, "Private");
    to(c, "deleteditems");
    let run = pair.sync("contacts");
    assert_eq!((run["left"]["created"].clone(), run["left"]["deleted"].clone()), (json!(0), json!(1)), "{run}");
    let now = pair.cards();
    assert_eq!(now.len(), 3, "only what was thrown away is gone");
    let name = |item: &Item| format!("FN:{}", item.fields["DisplayName"].as_str().unwrap());
    assert!(now.iter().all(|card| before.contains(card)) && now.iter().all(|(_, text)| !text.contains(&name(c))));
    // The link has followed: an edit of the card arrives in the other folder.
    pair.edit_card(&name(a), "END:VCARD", "NICKNAME:Moved\r\nEND:VCARD");
    pair.sync("contacts");
    let there =
        pair.sandbox.records(MAIL, Some("contact"), Some(LEE)).into_iter().find(|item| item.id == moved).unwrap();
    assert_eq!(there.fields["Nickname"], json!("Moved"));
}

#[test]
fn events_and_series_travel_both_ways() {
    let pair = Pair::of(0);
    let event = |uid: &str, lines: &str| {
        format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20261101T000000Z\r\n\
             {lines}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        )
    };
    let times = "DTSTART;TZID=Europe/Berlin:20261201T100000\r\nDTEND;TZID=Europe/Berlin:20261201T110000";
    let put =
        |name: &str, lines: &str| fs::write(pair.world.left().join(format!("{name}.ics")), event(name, lines)).unwrap();
    put("single", &format!("SUMMARY:Review\r\n{times}\r\nLOCATION:R1"));
    put("series", &format!("SUMMARY:Weekly\r\n{times}\r\nRRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=5"));
    put("day", "SUMMARY:Day off\r\nDTSTART;VALUE=DATE:20261205\r\nDTEND;VALUE=DATE:20261206");
    let run = pair.sync("calendar");
    assert_eq!(run["right"]["created"], json!(3), "{run}");
    let item = |subject: &str| pair.items("event").into_iter().find(|item| item.fields["Subject"] == subject).unwrap();
    assert_eq!(item("Review").fields["Start"], json!("2026-12-01T09:00:00Z"));
    assert_eq!(item("Review").fields["UID"], json!("single"));
    assert_eq!(item("Weekly").fields["Recurrence"][0]["name"], json!("WeeklyRecurrence"));
    assert_eq!(item("Day off").fields["IsAllDayEvent"], json!(true));
    pair.is_quiet("calendar");
    pair.edit(
        &item("Weekly").id,
        json!({ "Location": "R9", "Exceptions": { "2026-12-15T09:00:00Z": { "Subject": "Elsewhere" } } }),
    );
    pair.edit_card("SUMMARY:Review", "SUMMARY:Review", "SUMMARY:Reviewed");
    pair.sync("calendar");
    let series = pair.cards().into_iter().find(|(name, _)| name == "series.ics").unwrap().1;
    assert!(series.contains("LOCATION:R9") && series.contains("RRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=5"), "{series}");
    assert_eq!(item("Weekly").fields["Exceptions"]["2026-12-15T09:00:00Z"]["Subject"], json!("Elsewhere"));
    assert_eq!(item("Reviewed").fields["Location"], json!("R1"));
    assert_eq!(pair.sandbox.command(MAIL, "mails", &json!({ "user": LEE })).unwrap(), json!([]));
    pair.is_quiet("calendar");
}

#[test]
fn each_mistake_in_a_connection_is_named() {
    let pair = Pair::of(2);
    let info = pair.sandbox.info(MAIL);
    let says = |code: i32, words: &str| {
        let ran: Ran = pair.world.run(["connection", "check", "mail"]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code == Some(code) && said.contains(words), "{code} {words}: {:?} {said}", ran.code);
    };
    says(0, "");
    pair.connect(&info.url, "wrong", LEE);
    says(3, "refused the login");
    pair.connect(&format!("{}/owa", info.base_url), "svc-secret", LEE);
    says(2, "EWS/Exchange.asmx");
    pair.connect("http://127.0.0.1:9", "svc-secret", LEE);
    says(3, "cannot be reached");
    pair.connect(&info.url, "svc-secret", "nobody@example.com");
    says(2, "no mailbox nobody@example.com");
    pair.connect(&info.url, "svc-secret", LEE);
    let config = pair.world.text("pairwise.toml");
    pair.world.put("pairwise.toml", &config.replace("url =", "server_version = \"Exchange2099\", url ="));
    says(2, "server_version");
    pair.world.put("pairwise.toml", &config);
    pair.sandbox.command(MAIL, "impersonation", &json!({ "allowed": false })).unwrap();
    says(2, "ApplicationImpersonation");
    let since = pair.now();
    pair.world.json(["sync"]).0.exits(2);
    assert!(pair.asked(since).1.is_empty());
}

#[test]
fn exchangelib_works_with_exchange() {
    let Some(python) = judge("python") else { return };
    let options = Options { systems: vec![MAIL.into()], contacts: 20, users: 3, ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let info = sandbox.info(MAIL);
    let mut program = Command::new(python);
    program.arg(script("exchange.py"));
    program.args([&info.url, sandbox.control_url(), &info.logins[0].user, &info.logins[1].user]);
    program.args(["svc-pairwise", "svc-secret"]).env("NO_PROXY", "127.0.0.1");
    is_satisfied(&mut program);
}
