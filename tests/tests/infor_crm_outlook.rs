//! The preset `infor-crm-outlook` by the whole program, over the wire: a simulated Infor CRM on the left, and on the right a
//! mailbox that speaks Graph, then the same one that speaks EWS.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use pairwise_sandbox::Options;
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::{Fields, Item};
use pairwise_sandbox::system::Edit;
use pairwise_tests::office::Office;
use serde_json::{Value, json};

const CRM: &str = "infor-crm";
const LEE: &str = "lee";
const LEES: &str = "lee@example.com";
const GROUP: &str = "[streams.contacts]\nscope.left.group = \"Contact Sync\"\n";

/// A CRM and a mail system, and Lee, who works with both.
struct Pair {
    office: Office,
    mail: &'static str,
}

/// Runs a test with either mail system.
fn with_both(contacts: u32, spread: Spread, test: impl Fn(&Pair)) {
    for mail in ["outlook", "exchange"] {
        println!("with {mail}");
        test(&Pair::of(mail, contacts, spread, GROUP));
    }
}

fn object(value: Value) -> Fields {
    value.as_object().cloned().unwrap()
}

impl Pair {
    fn of(mail: &'static str, contacts: u32, spread: Spread, more: &str) -> Pair {
        let systems = vec![CRM.to_owned(), mail.to_owned()];
        let office = Office::start(Options { systems, users: 1, contacts, spread, ..Options::default() });
        office.pair("infor-crm-outlook", CRM, mail, &["contact_sync"], more);
        Pair { office, mail }
    }

    fn sync(&self) -> Value {
        let (ran, json) = self.office.world.json(["sync"]);
        assert_eq!(ran.code, Some(0), "{}: {}\n{}", self.mail, ran.stdout, ran.stderr);
        json["runs"][0].clone()
    }

    /// A run that must do everything, and one after it that finds nothing to do (IC-6).
    fn settle(&self) -> Value {
        let run = self.sync();
        let marks = (self.last(CRM), self.last(self.mail));
        let again = self.sync();
        for (side, count) in
            ["left", "right"].iter().flat_map(|side| ["created", "updated", "deleted"].map(|it| (side, it)))
        {
            assert_eq!(again[side][count], 0, "{}: the run after it: {again}", self.mail);
        }
        let writes: Vec<String> = [(CRM, marks.0), (self.mail, marks.1)]
            .iter()
            .flat_map(|(system, since)| self.writes(system, *since))
            .collect();
        assert!(writes.is_empty(), "{}: {writes:#?}", self.mail);
        run
    }

    fn last(&self, system: &str) -> u64 {
        self.office.sandbox.core(system).journal().last()
    }

    /// Requests since then that wrote, as method and path or operation.
    fn writes(&self, system: &str, since: u64) -> Vec<String> {
        let requests = self.office.sandbox.requests(system, since);
        let soap = ["CreateItem", "UpdateItem", "DeleteItem", "MoveItem", "CreateFolder"];
        let writes = requests.into_iter().filter(|request| {
            let operation = request.operation.as_deref().unwrap_or_default();
            let other =
                ["$batch", "/token", "$service", "subscriptions"].iter().any(|part| request.path.contains(part));
            match system {
                "exchange" => soap.contains(&operation),
                _ => request.method != "GET" && !other && request.status != Some(401),
            }
        });
        writes.map(|request| format!("{} {} {}", request.method, request.path, request.body)).collect()
    }

    fn contacts(&self) -> Vec<Item> {
        self.office.sandbox.records(CRM, Some("contacts"), None)
    }

    fn members(&self) -> Vec<String> {
        let groups = self.office.sandbox.records(CRM, Some("groups"), None);
        let group = groups.iter().find(|group| group.fields["userId"] == "UDEMOA000001").unwrap();
        serde_json::from_value(group.fields["adHocIds"].clone()).unwrap()
    }

    /// Somebody's contact in the CRM, by a field.
    fn contact(&self, field: &str, value: &str) -> Item {
        let found = self.contacts().into_iter().find(|item| item.fields.get(field) == Some(&json!(value)));
        found.unwrap_or_else(|| panic!("no contact with {field} = {value}"))
    }

    fn edit_contact(&self, id: &str, fields: Value) {
        let edit = Edit { user: LEE.into(), id: Some(id.into()), fields: object(fields), ..Edit::default() };
        self.office.sandbox.edit(CRM, edit).unwrap();
    }

    /// Lee's entries, those in the deleted items left out.
    fn entries(&self) -> Vec<Item> {
        let folders = self.office.sandbox.records(self.mail, Some("folder"), Some(LEES));
        let home = |item: &Item| match self.mail {
            "exchange" => folders.iter().any(|folder| {
                Some(&folder.id) == item.container.as_ref() && folder.fields["Distinguished"] == "contacts"
            }),
            _ => !item.container.as_deref().unwrap_or_default().contains("deleteditems"),
        };
        self.office.sandbox.records(self.mail, Some("contact"), Some(LEES)).into_iter().filter(home).collect()
    }

    /// A person's own fields, as the mail system calls them.
    fn native(&self, given: &str, surname: &str, mail: &str, company: &str) -> Fields {
        object(match self.mail {
            "exchange" => {
                json!({ "GivenName": given, "Surname": surname, "EmailAddress1": mail, "CompanyName": company })
            }
            _ => {
                json!({ "givenName": given, "surname": surname, "companyName": company, "emailAddresses": [{ "address": mail }] })
            }
        })
    }

    fn put_entry(&self, given: &str, surname: &str, mail: &str, company: &str) -> String {
        let fields = self.native(given, surname, mail, company);
        let edit = Edit { entity: "contact".into(), user: LEES.into(), fields, ..Edit::default() };
        self.office.sandbox.edit(self.mail, edit).unwrap()
    }

    fn edit_entry(&self, id: &str, graph: Value, ews: Value) {
        let fields = object(if self.mail == "exchange" { ews } else { graph });
        let edit = Edit { entity: "contact".into(), user: LEES.into(), id: Some(id.into()), fields, container: None };
        self.office.sandbox.edit(self.mail, edit).unwrap();
    }

    /// The entry that holds a text.
    fn entry(&self, text: &str) -> Item {
        let found =
            self.entries().into_iter().find(|item| Value::Object(item.fields.clone()).to_string().contains(text));
        found.unwrap_or_else(|| panic!("{}: no entry with `{text}`", self.mail))
    }

    fn email(&self, id: &str) -> String {
        let contact = self.contacts().into_iter().find(|item| item.id == id).unwrap();
        contact.fields["Email"].as_str().unwrap().to_owned()
    }
}

#[test]
fn rule_ic_08_a_group_comes_into_an_empty_mailbox_and_edits_travel() {
    with_both(60, Spread::Crm, |pair| {
        let members = pair.members().len();
        let run = pair.settle();
        assert_eq!(run["right"]["created"], members, "{run}");
        assert_eq!(pair.entries().len(), members);
        // IC-1, IC-2: only what changed goes over the wire.
        let id = pair.members()[0].clone();
        let there = pair.entry(&pair.email(&id)).id;
        pair.edit_contact(&id, json!({ "Title": "Head of Everything" }));
        pair.settle();
        pair.entry("Head of Everything");
        pair.edit_entry(&there, json!({ "mobilePhone": "+49 40 4712" }), json!({ "MobilePhone": "+49 40 4712" }));
        let since = pair.last(CRM);
        pair.settle();
        let puts: Vec<String> =
            pair.writes(CRM, since).iter().map(|put| put.rsplit(' ').next().unwrap().to_owned()).collect();
        println!("{puts:?}");
        assert_eq!(pair.contact("Mobile", "+49 40 4712").id, id);
    });
}

#[test]
fn rule_ic_20_to_ic_32_a_mailbox_comes_into_the_crm() {
    with_both(40, Spread::Mailbox, |pair| {
        let (entries, before) = (pair.entries().len(), pair.contacts().len());
        let run = pair.settle();
        println!("{run}");
        assert_eq!(pair.contacts().len(), before + entries, "{run}");
        assert_eq!(pair.members().len(), entries);
    });
}
