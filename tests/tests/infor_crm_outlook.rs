//! The preset `infor-crm-outlook` by the whole program, over the wire: a simulated Infor CRM on the left, and on the right a
//! mailbox that speaks Graph, then the same one that speaks EWS.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::Deref;
use std::time::Duration;

use pairwise_sandbox::Options;
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::{Fields, Item};
use pairwise_sandbox::system::Edit;
use pairwise_tests::crm::CRM;
use pairwise_tests::office::Office;
use serde_json::{Value, json};

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

impl Deref for Pair {
    type Target = Office;

    fn deref(&self) -> &Office {
        &self.office
    }
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

    /// Deletes an entry or moves it to another folder of contacts.
    fn delete_entry(&self, id: &str) {
        self.office.sandbox.delete(self.mail, LEES, id).unwrap();
    }

    /// A person's own fields, as the mail system calls them.
    fn native(&self, given: &str, surname: &str, mail: &str, company: &str) -> Fields {
        object(match self.mail {
            "exchange" => {
                json!({ "GivenName": given, "Surname": surname, "EmailAddresses/EmailAddress1": mail, "CompanyName": company })
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
        pair.edit_entry(
            &there,
            json!({ "mobilePhone": "+49 40 4712" }),
            json!({ "PhoneNumbers/MobilePhone": "+49 40 4712" }),
        );
        let since = pair.last(CRM);
        pair.settle();
        let puts = pair.writes(CRM, since);
        assert!(puts.len() == 1 && puts[0].ends_with(r#"{"Mobile":"+49 40 4712"}"#), "{puts:?}");
        assert_eq!(pair.contact("Mobile", "+49 40 4712").id, id);
    });
}

#[test]
fn rule_ic_20_to_ic_32_a_mailbox_comes_into_the_crm() {
    with_both(40, Spread::Mailbox, |pair| {
        let (entries, before) = (pair.entries().len(), pair.contacts().len());
        let run = pair.settle();
        assert_eq!(pair.contacts().len(), before + entries, "{run}");
        assert_eq!(pair.members().len(), entries);
    });
}

/// IC-3, IC-4: a person without the grant is refused by its name, and nothing is asked on that person's behalf.
#[test]
fn rule_ic_03_ic_04_nothing_happens_without_a_grant() {
    let pair = Pair::of("outlook", 10, Spread::Crm, GROUP);
    let granted = pair.office.world.text("profiles/sales.toml");
    pair.office.world.put("profiles/sales.toml", &granted.replace("grants  = [\"contact_sync\"]", ""));
    let ran = pair.office.world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("`lee` lacks the grant `contact_sync`"), "{}", ran.stderr);
    assert_eq!((pair.last(CRM), pair.last("outlook")), (0, 0), "no request");

    let systems = vec![CRM.to_owned(), "outlook".to_owned()];
    let office = Office::start(Options { systems, users: 2, contacts: 10, spread: Spread::Crm, ..Options::default() });
    office.pair("infor-crm-outlook", CRM, "outlook", &["contact_sync"], GROUP);
    let profile = office.world.text("profiles/sales.toml");
    let (rest, last) = profile.rsplit_once("grants  = [\"contact_sync\"]").unwrap();
    office.world.put("profiles/sales.toml", &format!("{rest}{last}"));
    let (ran, json) = office.world.json(["sync"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    let states: Vec<_> = json["runs"].as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "misconfigured"], "{json}");
    let users: Vec<_> = office.sandbox.requests(CRM, 0).into_iter().filter_map(|request| request.user).collect();
    assert!(users.iter().all(|user| user == LEE), "{users:?}");
}

#[test]
fn rule_ic_05_only_administrators_change_things() {
    let pair = Pair::of("outlook", 5, Spread::Crm, GROUP);
    let host = pair.office.world.text("pairwise.toml");
    pair.office.world.put("pairwise.toml", &format!("{host}\n[access]\nadmins = [\"somebody-else\"]\n"));
    let refused = [
        vec!["profile", "disable", "sales"],
        vec!["profile", "new", "other", "--preset", "mirror", "--left", CRM, "--right", "outlook"],
        vec!["connection", "add", "more", "--plugin", "vdir"],
        vec!["--yes", "connection", "reset", "outlook"],
        vec!["connection", "login", "outlook"],
    ];
    for command in refused {
        let ran = pair.office.world.run(&command).exits(2);
        assert!(ran.stderr.contains("somebody-else") && ran.stderr.contains("may not"), "{command:?}: {}", ran.stderr);
    }
    assert!(pair.office.world.text("profiles/sales.toml").contains("enabled = true"));
    // To run and to look is everybody's right.
    pair.office.world.run(["plan"]).exits(0);
    pair.office.world.run(["sync"]).exits(0);
    pair.office.world.run(["status"]).exits(0);
}

#[test]
fn rule_ic_10_the_crm_is_used_with_the_persons_own_login() {
    with_both(10, Spread::Mixed, |pair| {
        pair.sync();
        let users: Vec<_> =
            pair.office.sandbox.requests(CRM, 0).into_iter().filter_map(|request| request.user).collect();
        assert!(!users.is_empty() && users.iter().all(|user| user == LEE), "{users:?}");
    });
}

#[test]
fn rule_ic_12_ic_33_people_of_both_systems_are_linked_and_not_doubled() {
    with_both(40, Spread::Both, |pair| {
        let (contacts, entries) = (pair.contacts().len(), pair.entries().len());
        let run = pair.settle();
        assert!(run["adopted"].as_u64().unwrap() > 30, "{run}");
        let made = |side: &str| run[side]["created"].as_u64().unwrap();
        // Shared and missing addresses make a few new ones; most are tied.
        assert!(made("left") < 20 && made("right") < 10, "{run}");
        assert!(pair.contacts().len() < contacts + 10 && pair.entries().len() < entries + 10);
    });
}

#[test]
fn rule_ic_21_to_ic_28_an_account_is_found_or_made() {
    with_both(5, Spread::Crm, |pair| {
        let there = pair.items("accounts")[0].fields["AccountName"].as_str().unwrap().to_owned();
        let before = pair.items("accounts").len();
        pair.put_entry("Ada", "Byron", "ada@engines.example", "Analytical Engines");
        pair.put_entry("Ben", "Byron", "ben@engines.example", "Analytical Engines");
        pair.put_entry("Cid", "Byron", "cid@engines.example", &there);
        let since = pair.last(CRM);
        pair.settle();
        let accounts = pair.items("accounts");
        assert_eq!(accounts.len(), before + 1, "one for equal names");
        let account = accounts.iter().find(|item| item.fields["AccountName"] == "Analytical Engines").unwrap();
        assert_eq!([&account.fields["Type"], &account.fields["Status"]], [&json!("Prospect"), &json!("Active")]);
        let text = serde_json::to_string(&account.fields).unwrap();
        assert!(text.contains("SYST00000001") && text.contains("UDEMOA000001"), "owner and manager: {text}");
        let posts: Vec<String> = pair.writes(CRM, since);
        let first = |what: &str| posts.iter().position(|post| post.contains(what)).unwrap();
        assert!(first("Prospect") < first("Byron"), "{posts:#?}");
        let company = |email: &str| pair.contact("Email", email).fields["AccountName"].clone();
        assert_eq!(
            (company("ada@engines.example"), company("cid@engines.example")),
            (json!("Analytical Engines"), json!(there))
        );
        assert!(pair.members().contains(&pair.contact("Email", "ben@engines.example").id), "IC-32");
    });
}

#[test]
fn rule_ic_29_ic_46_an_account_is_named_after_who_has_no_company() {
    with_both(5, Spread::Crm, |pair| {
        pair.put_entry("Ada", "Byron", "ada@engines.example", "");
        pair.settle();
        assert_eq!(pair.contact("Email", "ada@engines.example").fields["AccountName"], "Byron, Ada");
        pair.entry("Byron, Ada");
    });
}

#[test]
fn rule_ic_34_the_later_edit_wins_the_record() {
    with_both(10, Spread::Crm, |pair| {
        pair.settle();
        let (one, two) = (pair.members()[0].clone(), pair.members()[1].clone());
        let ends = [&one, &two].map(|id| pair.entry(&pair.email(id)).id);
        let later = || pair.office.sandbox.advance(Duration::from_secs(60));
        let title = |id: &str, text: &str| pair.edit_contact(id, json!({ "Title": text }));
        let job = |id: &str, text: &str| pair.edit_entry(id, json!({ "jobTitle": text }), json!({ "JobTitle": text }));
        later();
        title(&one, "earlier in the CRM");
        job(&ends[1], "earlier in the mailbox");
        later();
        job(&ends[0], "later in the mailbox");
        title(&two, "later in the CRM");
        pair.settle();
        assert_eq!(
            (pair.contact("Title", "later in the mailbox").id, pair.contact("Title", "later in the CRM").id),
            (one, two)
        );
        pair.entry("later in the mailbox");
        pair.entry("later in the CRM");
    });
}

#[test]
fn rule_ic_38_ic_43_deletions_and_departures_in_the_crm() {
    with_both(20, Spread::Crm, |pair| {
        pair.settle();
        let (deleted, left) = (pair.members()[0].clone(), pair.members()[1].clone());
        let (deleted_mail, left_mail) = (pair.email(&deleted), pair.email(&left));
        let there = pair.entry(&deleted_mail).id;
        pair.office.sandbox.delete(CRM, "admin", &deleted).unwrap();
        let leave = json!({ "user": LEE, "group": "Contact Sync", "ids": [left] });
        pair.office.sandbox.command(CRM, "leave", &leave).unwrap();
        let before = pair.entries().len();
        pair.settle();
        assert_eq!(pair.entries().len(), before - 1);
        let all = pair.office.sandbox.records(pair.mail, Some("contact"), Some(LEES));
        let text = |item: &Item| Value::Object(item.fields.clone()).to_string();
        assert!(all.iter().any(|item| text(item).contains(&deleted_mail)), "in the deleted items: {there}");
        pair.entry(&left_mail);
        // IC-43: no longer kept in step.
        pair.edit_contact(&left, json!({ "Title": "out of step" }));
        pair.settle();
        assert!(!pair.entries().iter().any(|item| text(item).contains("out of step")));
    });
}

#[test]
fn rule_ic_40_ic_41_a_deleted_entry_leaves_the_group() {
    with_both(20, Spread::Crm, |pair| {
        pair.settle();
        let id = pair.members()[0].clone();
        let (entry, count) = (pair.entry(&pair.email(&id)).id, pair.contacts().len());
        pair.delete_entry(&entry);
        let since = pair.last(CRM);
        pair.settle();
        assert!(!pair.members().contains(&id));
        assert_eq!(pair.contacts().len(), count);
        assert!(pair.writes(CRM, since).iter().all(|write| !write.starts_with("DELETE")));
        pair.settle();
        assert_eq!(pair.entries().len(), pair.members().len());
    });
}

#[test]
fn rule_ic_44_the_company_never_leads() {
    with_both(10, Spread::Crm, |pair| {
        pair.settle();
        let id = pair.members()[0].clone();
        let (mail, accounts) = (pair.email(&id), pair.items("accounts"));
        let company = pair.contact("Email", &mail).fields["AccountName"].clone();
        pair.edit_entry(&pair.entry(&mail).id, json!({ "companyName": "Mine" }), json!({ "CompanyName": "Mine" }));
        pair.settle();
        let entry = pair.entry(&mail);
        assert!(Value::Object(entry.fields).to_string().contains(company.as_str().unwrap()));
        assert_eq!(pair.items("accounts"), accounts);
    });
}

#[test]
fn rule_ic_47_another_program_at_work_warns_or_blocks() {
    let pair = Pair::of("outlook", 5, Spread::Crm, &format!("[interlock]\nfile = \"remote.running\"\n{GROUP}"));
    pair.office.world.put("remote.running", "");
    let run = pair.sync();
    assert!(run["notes"][0].as_str().unwrap().contains("remote.running"), "warned: {run}");
    let profile = pair.office.world.text("profiles/sales.toml");
    let blocking = profile.replace("file = \"remote.running\"", "file = \"remote.running\"\naction = \"block\"");
    pair.office.world.put("profiles/sales.toml", &blocking);
    let since = (pair.last(CRM), pair.last("outlook"));
    let ran = pair.office.world.run(["sync"]).exits(4);
    assert!(ran.stderr.contains("another program is at work"), "{}", ran.stderr);
    assert_eq!((pair.last(CRM), pair.last("outlook")), since, "no request");
    std::fs::remove_file(pair.office.world.path("remote.running")).unwrap();
    pair.sync();
    // The mark may be an address: 200 says that somebody is at work, 404 that nobody is.
    for (status, code) in [("200 OK", 4), ("404 Not Found", 0)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/running", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 2048]);
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        });
        let by_url = blocking.replace("file = \"remote.running\"", &format!("url = \"{url}\""));
        pair.office.world.put("profiles/sales.toml", &by_url);
        pair.office.world.run(["sync"]).exits(code);
        answering.join().unwrap();
    }
}

#[test]
fn rule_ic_50_without_its_group_nothing_is_written() {
    let pair = Pair::of("outlook", 5, Spread::Both, &GROUP.replace("Contact Sync", "No Such Group"));
    let ran = pair.office.world.run(["sync"]).exits(2);
    assert!(
        ran.stdout.contains("No Such Group") || ran.stderr.contains("No Such Group"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert!(pair.writes(CRM, 0).is_empty() && pair.writes("outlook", 0).is_empty());
    // Nor is it forgotten: the preset requires the key, of the profile or of each person.
    let profile = pair.office.world.text("profiles/sales.toml");
    let without = profile.replace("scope.left.group = \"No Such Group\"", "");
    pair.office.world.put("profiles/sales.toml", &without);
    let ran = pair.office.world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("`streams.contacts.scope.left.group` is missing"), "{}", ran.stderr);
    let own = without.replace("grants ", "streams.contacts.scope.left.group = \"Contact Sync\"\ngrants ");
    pair.office.world.put("profiles/sales.toml", &own);
    pair.sync();
}

#[test]
fn rule_ic_51_a_locked_key_is_nobodys_to_set() {
    let pair = Pair::of("outlook", 5, Spread::Crm, GROUP);
    let profile = pair.office.world.text("profiles/sales.toml");
    let own = "streams.contacts.direction = \"left_to_right\"\ngrants ";
    pair.office.world.put("profiles/sales.toml", &profile.replacen("grants ", own, 1));
    let ran = pair.office.world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("`streams.contacts.direction` cannot be set for one person"), "{}", ran.stderr);
    let may = "per_user = [\"streams.contacts.direction\"]\n";
    pair.office.world.put("profiles/sales.toml", &format!("{may}{}", profile.replacen("grants ", own, 1)));
    pair.sync();
    let locked = "locked = [\"streams.*.direction\"]\n";
    pair.office.world.put("profiles/sales.toml", &format!("{locked}{may}{}", profile.replacen("grants ", own, 1)));
    let ran = pair.office.world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("`streams.contacts.direction` is locked for everybody"), "{}", ran.stderr);
}

#[test]
fn rule_ic_53_rights_that_vanish_delete_nothing() {
    with_both(100, Spread::Crm, |pair| {
        pair.settle();
        let (members, entries) = (pair.members(), pair.entries().len());
        for id in members.iter().take(60) {
            pair.office.sandbox.delete(CRM, "admin", id).unwrap();
        }
        let (ran, json) = pair.office.world.json(["sync"]);
        assert_eq!(ran.code, Some(4), "{json}");
        assert_eq!(json["runs"][0]["held"], 60, "{json}");
        assert_eq!(pair.entries().len(), entries);
    });
}

/// The CRM's second address is the mailbox's other one, where the connection asks for it.
#[test]
fn shipping_addresses_travel_where_they_are_wanted() {
    with_both(3, Spread::Crm, |pair| {
        let id = pair.members()[0].clone();
        pair.edit_contact(&id, json!({ "ShippingAddress": { "Address1": "1 Dock", "City": "York" } }));
        pair.settle();
        let there = pair.entry(&pair.email(&id));
        assert!(!Value::Object(there.fields).to_string().contains("York"), "{}: not asked for", pair.mail);

        let config = pair.world.text("pairwise.toml");
        let ours = "plugin   = \"infor-crm\"\nsettings = { ";
        pair.world.put("pairwise.toml", &config.replace(ours, &format!("{ours}shipping_address = true, ")));
        let (ran, _) = pair.world.json(["sync", "--full"]);
        ran.exits(0);
        pair.settle();
        let there = pair.entry("York");
        assert!(Value::Object(there.fields.clone()).to_string().contains("1 Dock"), "{:?}", there.fields);
        pair.edit_entry(
            &there.id,
            json!({ "otherAddress": { "street": "1 Dock", "city": "Hull" } }),
            json!({ "PhysicalAddresses/Other/City": "Hull" }),
        );
        let own = pair.by_id(&id).fields["Address"].clone();
        pair.settle();
        let key = pair.by_id(&id).fields["ShippingAddress"].clone();
        let address = pair.items("addresses").into_iter().find(|item| json!(item.id) == key).unwrap();
        assert_eq!((&address.fields["City"], &address.fields["Address1"]), (&json!("Hull"), &json!("1 Dock")));
        assert_eq!(pair.by_id(&id).fields["Address"], own);
    });
}
