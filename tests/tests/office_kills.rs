//! A CRM and a mail system in one process, the program in another, its plugins in workers: killed at random moments while
//! people go on working, and run again.
//!
//! `PAIRWISE_KILLS` asks for more kills than are struck by themselves, `PAIRWISE_KILLS_SEED` for those of one seed.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use pairwise_sandbox::journal::Entry;
use pairwise_sandbox::system::Edit;
use pairwise_tests::apart::Apart;
use pairwise_tests::processes::tree;
use pairwise_tests::sim::dice::Dice;
use serde_json::{Value, json};

const CRM: &str = "infor-crm";
/// Contacts of each of the two users.
const CONTACTS: u32 = 20;
/// Longer than anything takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// A plugin that falls over five times in ten minutes waits for an administrator.
const FALLS: usize = 3;
/// Deletions that the guard lets through.
const DELETIONS: usize = 4;

/// A mail system, and where its contacts hold what is looked at.
struct Mail {
    name: &'static str,
    email: &'static str,
    title: &'static str,
    mobile: &'static str,
    company: &'static str,
}

const MAILS: [Mail; 2] = [
    Mail {
        name: "outlook",
        email: "/emailAddresses/0/address",
        title: "/jobTitle",
        mobile: "/mobilePhone",
        company: "/companyName",
    },
    Mail {
        name: "exchange",
        email: "/EmailAddresses~1EmailAddress1",
        title: "/JobTitle",
        mobile: "/PhoneNumbers~1MobilePhone",
        company: "/CompanyName",
    },
];

impl Mail {
    /// Fields of a record, as the system calls them.
    fn fields(&self, values: &[(&'static str, String)]) -> Value {
        let field = |(place, value): &(&'static str, String)| match (self.name, *place) {
            ("outlook", place) if place == self.email => ("emailAddresses".to_owned(), json!([{ "address": value }])),
            _ => (place[1..].replace("~1", "/"), json!(value)),
        };
        Value::Object(values.iter().map(field).collect())
    }
}

fn text<'a>(record: &'a Value, place: &str) -> &'a str {
    record["fields"].pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// Somebody whose card is edited on one side only, so that what was typed last is what both sides show in the end.
#[derive(Debug)]
struct Person {
    at_crm: bool,
    id: String,
    user: String,
    /// What was typed last.
    typed: Option<String>,
    deleted: bool,
}

/// An office and what people did in it.
struct Life<'m> {
    office: Apart,
    mail: &'m Mail,
    /// By address, which nobody shares.
    people: BTreeMap<String, Person>,
    dice: Dice,
    /// The newest request to each system that was seen.
    last: BTreeMap<&'m str, u64>,
    typed: usize,
    deletions: usize,
}

impl<'m> Life<'m> {
    fn new(mail: &'m Mail, seed: u64) -> Life<'m> {
        let scope = "[streams.contacts]\nscope.left.group = \"Contact Sync\"\n";
        let grants = ["contact_sync"];
        let office = Apart::start([CRM, mail.name], CONTACTS, seed, "infor-crm-outlook", &grants, scope);
        let cards: Vec<(bool, Value)> = [(true, CRM, "contacts"), (false, mail.name, "contact")]
            .into_iter()
            .flat_map(|(at_crm, system, entity)| {
                office.records(system, entity).into_iter().map(move |record| (at_crm, record))
            })
            .collect();
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for address in cards.iter().flat_map(|(_, card)| addresses(&card["fields"])) {
            *held.entry(address).or_default() += 1;
        }
        let person = |(at_crm, card): &(bool, Value)| {
            let email = text(card, if *at_crm { "/Email" } else { mail.email }).to_owned();
            let [id, user] = ["id", "owner"].map(|name| card[name].as_str().unwrap().to_owned());
            // Those who meet a counterpart in the first run may change their addresses by that.
            let alone = addresses(&card["fields"]).iter().all(|address| held[address] == 1);
            let person = Person { at_crm: *at_crm, id, user, typed: None, deleted: false };
            (alone && !email.is_empty()).then_some((email, person))
        };
        let people = cards.iter().filter_map(person).collect();
        Life { office, mail, people, dice: Dice::new(seed), last: BTreeMap::new(), typed: 0, deletions: 0 }
    }

    /// People edit, make and delete; nobody touches what somebody else touches on the other side.
    fn go_on(&mut self) {
        for _ in 0..3 {
            self.typed += 1;
            let number = self.typed;
            let at = self.dice.below(self.people.len() as u32) as usize;
            let (_, person) = self.people.iter_mut().nth(at).unwrap();
            if person.deleted {
                continue;
            }
            let (system, entity, typed, fields) = if person.at_crm {
                let typed = format!("Chair {number}");
                (CRM, "contacts", typed.clone(), json!({ "Title": typed }))
            } else {
                let typed = format!("+44 7700 9{number:05}");
                (self.mail.name, "contact", typed.clone(), self.mail.fields(&[(self.mail.mobile, typed)]))
            };
            if self.deletions < DELETIONS && self.dice.below(12) == 0 {
                self.deletions += 1;
                person.deleted = true;
                self.office.delete(system, &person.user, &person.id);
            } else {
                person.typed = Some(typed);
                let fields = fields.as_object().unwrap().clone();
                let (entity, user, id) = (entity.into(), person.user.clone(), Some(person.id.clone()));
                self.office.edit(system, &Edit { entity, user, id, fields, ..Edit::default() });
            }
        }
        if self.dice.below(3) == 0 {
            self.meet_somebody();
        }
        self.office.advance(60);
    }

    /// Somebody new in a mailbox.
    fn meet_somebody(&mut self) {
        let email = format!("ada{}@engines.example", self.typed);
        let mobile = format!("+44 7700 8{:05}", self.typed);
        let values = [
            (self.mail.email, email.clone()),
            (self.mail.mobile, mobile.clone()),
            (self.mail.company, "Analytical Engines".to_owned()),
        ];
        let mut fields = self.mail.fields(&values).as_object().unwrap().clone();
        let names = if self.mail.name == "outlook" { ["givenName", "surname"] } else { ["GivenName", "Surname"] };
        fields.insert(names[0].into(), "Ada".into());
        fields.insert(names[1].into(), format!("Byron {}", self.typed).into());
        let user = "lee@example.com".to_owned();
        let edit = Edit { entity: "contact".into(), user: user.clone(), fields, ..Edit::default() };
        let id = self.office.edit(self.mail.name, &edit);
        self.people.insert(email, Person { at_crm: false, id, user, typed: Some(mobile), deleted: false });
    }

    /// Starts a run and strikes once it has sent so many requests; `None` if it was over before.
    fn strike(&mut self, whom: Whom) -> Option<usize> {
        let system = if self.dice.below(2) == 0 { CRM } else { self.mail.name };
        let last = self.last.entry(system).or_default();
        *last = self.office.requests(system, *last).last().map_or(*last, |entry| entry.number);
        let reached = *last + u64::from(self.dice.below(15));
        let moment = Duration::from_micros(self.dice.below(5_000).into());
        let mut run = self.office.world.start(["sync"]);
        let begun = Instant::now();
        while self.office.requests(system, reached).is_empty() {
            if run.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for request {reached} to {system}");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Not only between two requests.
        std::thread::sleep(moment);
        let workers = tree(run.id()).split_off(1);
        let mut struck = 0;
        if whom != Whom::Host && !workers.is_empty() {
            let worker = workers[self.dice.below(workers.len() as u32) as usize];
            struck += usize::from(kill(worker));
        }
        if whom != Whom::Worker {
            struck += usize::from(kill(run.id()));
        }
        ended(&mut run);
        (struck > 0).then_some(struck)
    }
}

/// All addresses that stand anywhere in a record, each once.
fn addresses(fields: &Value) -> BTreeSet<String> {
    match fields {
        Value::String(text) if text.contains('@') => [text.to_lowercase()].into(),
        Value::Array(list) => list.iter().flat_map(addresses).collect(),
        Value::Object(members) => members.values().flat_map(addresses).collect(),
        _ => BTreeSet::new(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Host,
    Worker,
    Both,
}

/// False if it was gone by itself.
fn kill(process: u32) -> bool {
    Command::new("kill").args(["-KILL", &process.to_string()]).output().unwrap().status.success()
}

fn ended(run: &mut Child) {
    let begun = Instant::now();
    while run.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the run does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills until it is enough; the runs after that have nobody to fear.
fn history(mail: &Mail, seed: u64, kills: usize) {
    println!("PAIRWISE_KILLS_SEED={seed} with {}", mail.name);
    let mut life = Life::new(mail, seed);
    let (mut struck, mut fallen, mut rounds) = (0, 0, 0);
    while struck < kills {
        rounds += 1;
        assert!(rounds < 10 * kills, "{struck} kills in {rounds} runs");
        life.go_on();
        let whom = [Whom::Host, Whom::Worker, Whom::Both][rounds % 3];
        struck += life.strike(whom).unwrap_or_default();
        fallen += usize::from(whom == Whom::Worker);
        if fallen == FALLS {
            // An administrator looks at the plugins, and lets them run.
            fallen = 0;
            life.office.world.run(["plugin", "lock"]).exits(0);
        }
    }
    life.office.world.run(["plugin", "lock"]).exits(0);
    quiet_in_the_end(&life.office);
    nobody_is_missing_or_twice(&life);
    println!("{struck} kills in {rounds} runs, {} people", life.people.len());
}

fn quiet_in_the_end(office: &Apart) {
    let written = |report: &Value| -> u64 {
        let sides = report["runs"].as_array().unwrap().iter().flat_map(|run| [&run["left"], &run["right"]]);
        sides.flat_map(|side| ["created", "updated", "deleted"].map(|what| side[what].as_u64().unwrap())).sum()
    };
    let mut last = Vec::new();
    for _ in 0..8 {
        let (ran, report) = office.world.json(["sync"]);
        last.push(written(&report));
        if last.ends_with(&[0, 0]) {
            assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
            let (_, status) = office.world.json(["status"]);
            for lane in status["lanes"].as_array().unwrap() {
                assert_eq!(lane["open_intents"], 0, "{lane}");
            }
            return;
        }
    }
    panic!("writes of the last runs: {last:?}");
}

fn nobody_is_missing_or_twice(life: &Life<'_>) {
    let mail = life.mail;
    let contacts = life.office.records(CRM, "contacts");
    let entries = life.office.records(mail.name, "contact");
    let folders = life.office.records(mail.name, "folder");
    let thrown_away = |entry: &&Value| {
        let folder = folders.iter().find(|folder| folder["id"] == entry["container"]);
        let names = folder.map(|folder| ["/displayName", "/DisplayName"].map(|name| text(folder, name)).concat());
        let container = entry["container"].as_str().unwrap_or_default();
        format!("{container} {}", names.unwrap_or_default()).to_lowercase().contains("deleted")
    };
    let entries: Vec<&Value> = entries.iter().filter(|entry| !thrown_away(entry)).collect();
    let made_in_mail = creates(&life.office.requests(mail.name, 0));
    let made_in_crm = creates(&life.office.requests(CRM, 0));
    for (email, person) in &life.people {
        let here: Vec<&Value> = contacts.iter().filter(|contact| text(contact, "/Email") == email).collect();
        let there: Vec<&&Value> = entries.iter().filter(|entry| text(entry, mail.email) == email).collect();
        let shown = || format!("{email} {person:?}: {here:#?} {there:#?}");
        let (wanted_here, wanted_there) = match (person.deleted, person.at_crm) {
            (false, _) => (1, 1),
            (true, true) => (0, 0),
            // The CRM keeps whom a mailbox deletes, if it ever heard of them.
            (true, false) => (here.len().min(1), 0),
        };
        assert_eq!((here.len(), there.len()), (wanted_here, wanted_there), "{}", shown());
        if let (Some(typed), false) = (&person.typed, person.deleted) {
            let held = match person.at_crm {
                true => [text(here[0], "/Title"), text(there[0], mail.title)],
                false => [text(here[0], "/Mobile"), text(there[0], mail.mobile)],
            };
            assert_eq!(held.map(digits), [digits(typed), digits(typed)], "{}", shown());
        }
        // Also those that somebody tidied up later would have been there for a while.
        let (at_home, elsewhere) = match person.at_crm {
            true => (&made_in_crm, &made_in_mail),
            false => (&made_in_mail, &made_in_crm),
        };
        let made = |bodies: &[String]| bodies.iter().filter(|body| body.contains(email.as_str())).count();
        assert_eq!(made(at_home), 0, "made again where it was: {}", shown());
        assert!(made(elsewhere) <= 1, "made twice: {}", shown());
    }
}

/// Telephone numbers may be spelled in several ways.
fn digits(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if text.starts_with('+') { digits } else { text.to_owned() }
}

/// The bodies of successful creates.
fn creates(journal: &[Entry]) -> Vec<String> {
    let creates = journal.iter().filter(|entry| {
        let makes = entry.method == "POST" && !entry.path.contains("$batch") && !entry.path.contains("getCurrentUser");
        let soap = entry.operation.as_deref().is_none_or(|operation| operation == "CreateItem");
        makes && soap && matches!(entry.status, Some(200 | 201))
    });
    creates.map(|entry| entry.body.clone()).collect()
}

#[test]
fn kills_lose_nothing_and_double_nobody() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let kills = number("PAIRWISE_KILLS").unwrap_or(56) as usize;
    let seeds: Vec<u64> = match number("PAIRWISE_KILLS_SEED") {
        Some(seed) => vec![seed],
        // Histories of a length that one keeps in mind.
        None => (1..=(kills / 2).div_ceil(28) as u64).collect(),
    };
    for seed in &seeds {
        for mail in &MAILS {
            history(mail, *seed, kills / 2 / seeds.len());
        }
    }
}
