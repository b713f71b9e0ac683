//! The pairing of Infor CRM with a mailbox by the whole program, with either mailbox connector on the right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use pairwise_sandbox::Options;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_tests::office::Office;
use serde_json::{Value, json};

const CRM: &str = "infor-crm";
const LEE: &str = "lee@example.com";

/// A mailbox system, and how it spells what the tests look at.
struct Mailbox {
    name: &'static str,
    title: &'static str,
    surname: &'static str,
    /// Operations and methods that write.
    writes: fn(&pairwise_sandbox::journal::Entry) -> bool,
}

const MAILBOXES: [Mailbox; 2] = [
    Mailbox {
        name: "exchange",
        title: "JobTitle",
        surname: "Surname",
        writes: |entry| {
            let operation = entry.operation.as_deref().unwrap_or_default();
            ["CreateItem", "UpdateItem", "DeleteItem", "MoveItem"].contains(&operation)
        },
    },
    Mailbox {
        name: "outlook",
        title: "jobTitle",
        surname: "surname",
        writes: |entry| entry.method != "GET" && !entry.path.contains("$batch") && !entry.path.contains("token"),
    },
];

struct Pair<'a> {
    office: Office,
    mailbox: &'a Mailbox,
}

impl<'a> Pair<'a> {
    fn of(mailbox: &'a Mailbox, contacts: u32) -> Pair<'a> {
        let systems = vec![CRM.to_owned(), mailbox.name.to_owned()];
        let office = Office::start(Options { systems, contacts, users: 2, ..Options::default() });
        let more = "[streams.contacts]\nscope.left.group = \"Contact Sync\"\n";
        office.pair("infor-crm-outlook", CRM, mailbox.name, &["contact_sync"], more);
        Pair { office, mailbox }
    }

    fn sync(&self) -> Value {
        let (ran, json) = self.office.world.json(["sync"]);
        assert!(matches!(ran.code, Some(0 | 1)), "{}\n{}", ran.stdout, ran.stderr);
        json
    }

    /// What lies in Lee's folder of contacts.
    fn entries(&self) -> Vec<Item> {
        let all = self.office.sandbox.records(self.mailbox.name, Some("contact"), Some(LEE));
        let of = |item: &Item| item.container.clone().unwrap_or_default();
        // Most of them lie at home; the deleted items hold few.
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        all.iter().for_each(|item| *counts.entry(of(item)).or_default() += 1);
        let home = counts.into_iter().max_by_key(|(_, count)| *count).map(|(home, _)| home).unwrap_or_default();
        all.into_iter().filter(|item| of(item) == home).collect()
    }

    fn contact(&self, surname: &str) -> Option<Item> {
        let all = self.office.sandbox.records(CRM, Some("contacts"), None);
        all.into_iter().find(|item| item.fields["LastName"] == surname)
    }

    fn entry(&self, surname: &str) -> Option<Item> {
        self.entries()
            .into_iter()
            .find(|item| item.fields.get(self.mailbox.surname).is_some_and(|name| name == surname))
    }

    fn edit(&self, system: &str, user: &str, id: Option<&str>, fields: Value) -> String {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        let entity = if system == CRM { "contacts" } else { "contact" }.to_owned();
        let edit = Edit { entity, user: user.into(), id: id.map(str::to_owned), fields, ..Edit::default() };
        self.office.sandbox.edit(system, edit).unwrap()
    }

    /// An entry as the mailbox spells it.
    fn person(&self, surname: &str) -> Value {
        let mail = format!("ada@{}.example", surname.to_lowercase());
        match self.mailbox.name {
            "exchange" => json!({
                "GivenName": "Ada", "Surname": surname, "DisplayName": format!("Ada {surname}"), "CompanyName": "Engines",
                "EmailAddresses/EmailAddress1": mail,
            }),
            _ => json!({
                "givenName": "Ada", "surname": surname, "displayName": format!("Ada {surname}"), "companyName": "Engines",
                "emailAddresses": [{ "address": mail }],
            }),
        }
    }

    fn requests(&self, since: u64) -> Vec<pairwise_sandbox::journal::Entry> {
        let entries = self.office.sandbox.requests(self.mailbox.name, since);
        entries.into_iter().filter(|entry| entry.part_of.is_none()).collect()
    }

    fn now(&self) -> u64 {
        self.office.sandbox.core(self.mailbox.name).journal().last()
    }
}

/// IC-1, IC-2, IC-6, IC-9, IC-38, IC-40, over the wire of both systems.
#[test]
fn a_crm_and_a_mailbox_are_kept_alike() {
    for mailbox in &MAILBOXES {
        let pair = Pair::of(mailbox, 30);
        let first = pair.sync();
        assert_eq!(first["runs"].as_array().unwrap().len(), 2, "{first}");
        let new = pair.person("Newcomer");
        pair.edit(mailbox.name, LEE, None, new);
        pair.sync();
        let contact = pair.contact("Newcomer").expect("IC-9: the entry became a contact");
        pair.edit(CRM, "lee", Some(&contact.id), json!({ "Title": "Countess" }));
        pair.sync();
        let entry = pair.entry("Newcomer").unwrap();
        assert_eq!(entry.fields[mailbox.title], json!("Countess"), "IC-1, {}", mailbox.name);
        let title = [(mailbox.title.to_owned(), json!("Lady"))].into_iter().collect();
        pair.edit(mailbox.name, LEE, Some(&entry.id), Value::Object(title));
        pair.sync();
        assert_eq!(pair.contact("Newcomer").unwrap().fields["Title"], json!("Lady"), "IC-2, {}", mailbox.name);
        // IC-6: nothing is left to do, and a quiet run asks little.
        pair.sync();
        let since = pair.now();
        pair.sync();
        let asked = pair.requests(since);
        assert!(asked.iter().all(|entry| !(mailbox.writes)(entry)), "{}", mailbox.name);
        let told: Vec<_> = asked.iter().map(|entry| (entry.operation.clone(), entry.path.clone())).collect();
        assert!(asked.len() <= 8, "{}: two lanes, {told:?}", mailbox.name);
        // IC-40: an entry that is thrown away leaves its contact in the CRM; IC-41: it does not come back.
        pair.office.sandbox.delete(mailbox.name, LEE, &entry.id).unwrap();
        pair.sync();
        pair.sync();
        assert!(pair.entry("Newcomer").is_none() && pair.contact("Newcomer").is_some(), "IC-40, {}", mailbox.name);
    }
}

/// IC-38: what is deleted in the CRM lies in the deleted items, whole.
#[test]
fn what_the_crm_deletes_lies_in_the_deleted_items() {
    for mailbox in &MAILBOXES {
        let pair = Pair::of(mailbox, 30);
        let entry = pair.edit(mailbox.name, LEE, None, pair.person("Leaver"));
        pair.sync();
        let contact = pair.contact("Leaver").unwrap();
        pair.office.sandbox.delete(CRM, "lee", &contact.id).unwrap();
        // The CRM tells no deletions, and hides what a login may not see: two sweeps of its keys must agree.
        for _ in 0..2 {
            let (ran, json) = pair.office.world.json(["sync", "--full"]);
            assert!(matches!(ran.code, Some(0 | 1)), "{json}");
        }
        assert!(pair.entry("Leaver").is_none(), "IC-38, {}: {entry} is still there", mailbox.name);
        let all = pair.office.sandbox.records(mailbox.name, Some("contact"), Some(LEE));
        let thrown = all.iter().find(|item| item.fields.get(mailbox.surname).is_some_and(|name| name == "Leaver"));
        assert!(thrown.is_some(), "IC-38, {}: it is not destroyed", mailbox.name);
    }
}

/// IC-42: an entry that its owner moves to another folder stays there, and is no longer kept alike.
#[test]
fn what_its_owner_moves_to_another_folder_stays_there() {
    let pair = Pair::of(&MAILBOXES[0], 30);
    let entry = pair.edit("exchange", LEE, None, pair.person("Mover"));
    pair.sync();
    let fields = [("DisplayName".to_owned(), json!("Private"))].into_iter().collect();
    let place = Some("contacts".to_owned());
    let folder = Edit { entity: "folder".into(), user: LEE.into(), fields, container: place, ..Edit::default() };
    pair.office.sandbox.edit("exchange", folder).unwrap();
    let moved = Edit { user: LEE.into(), id: Some(entry), container: Some("Private".into()), ..Edit::default() };
    let moved = pair.office.sandbox.edit("exchange", moved).unwrap();
    pair.sync();
    let contact = pair.contact("Mover").expect("IC-42: the contact stays");
    pair.edit(CRM, "lee", Some(&contact.id), json!({ "Title": "Unheard" }));
    pair.sync();
    let all = pair.office.sandbox.records("exchange", Some("contact"), Some(LEE));
    let there = all.iter().find(|item| item.id == moved).expect("IC-42: the entry stays");
    assert_eq!(there.fields.get("JobTitle"), None);
    assert!(pair.entry("Mover").is_none(), "IC-42: nor does it come back");
}
