//! The preset `infor-crm-outlook` by the whole program: a simulated Infor CRM, and a folder of cards as the mailbox.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use pairwise_sandbox::faults::{Fault, Match};
use pairwise_sandbox::store::Item;
use pairwise_tests::crm::CRM;
use pairwise_tests::office::Office;
use pairwise_tests::world::cards;
use serde_json::{Value, json};

/// A CRM and a folder of cards, which the preset pairs for Lee.
struct Pair(Office);

impl Deref for Pair {
    type Target = Office;

    fn deref(&self) -> &Office {
        &self.0
    }
}

impl Pair {
    /// Lee's group of so many contacts, and an empty folder.
    fn of(contacts: u32) -> Pair {
        let pair = Pair::empty(contacts);
        pair.sync();
        pair
    }

    /// The same, before the first run.
    fn empty(contacts: u32) -> Pair {
        Pair::seeded(contacts, 1)
    }

    fn seeded(contacts: u32, seed: u64) -> Pair {
        let office = Office::with_cards(contacts, seed, "admin", ", trash = \"trash\"");
        fs::create_dir(office.world.right().join("contacts")).unwrap();
        office.world.put("lee.secret", "lee-secret");
        office.world.put(
            "profiles/sales.toml",
            "preset = \"infor-crm-outlook\"\nleft = \"crm\"\nright = \"cards\"\nenabled = true\n\n\
             [[users]]\nleft = \"lee\"\nright = \"lee@example.com\"\n\
             secrets = { left = { password = { file = \"lee.secret\" } } }\ngrants = [\"contact_sync\"]\n\n\
             [streams.contacts]\nscope.left.group = \"Contact Sync\"\n",
        );
        Pair(office)
    }

    fn folder(&self) -> PathBuf {
        self.world.right().join("contacts")
    }

    fn sync(&self) -> Value {
        self.world.json(["sync"]).0.exits(0).json()["runs"][0].clone()
    }

    /// Nothing is written, and few requests are enough. What changed in the second that was still running when it was read is
    /// read once more.
    fn quiet(&self) {
        self.sandbox.advance(Duration::from_secs(2));
        self.asks_at_most(6);
        self.asks_at_most(4);
    }

    fn asks_at_most(&self, enough: usize) {
        let before = self.last(CRM);
        let run = self.sync();
        for side in ["left", "right"] {
            for what in ["created", "updated", "deleted"] {
                assert_eq!(run[side][what], 0, "{side} {what}: {run:#}");
            }
        }
        let requests = self.sandbox.requests(CRM, before);
        let asked: Vec<String> = requests
            .iter()
            .filter(|request| request.part_of.is_none())
            .map(|request| format!("{} {} {:?}", request.method, request.path, request.status))
            .collect();
        assert!(asked.len() <= enough, "{asked:#?}");
        assert!(requests.iter().all(|request| request.method == "GET"), "{asked:#?}");
    }

    /// A person's edit of a card: this line goes, that one comes.
    fn edit_card(&self, with: &str, line: &str, instead: &str) {
        let (name, card) = self.card_with(&self.folder(), with);
        let lines = card.replace("\r\n ", "");
        let kept: Vec<&str> = lines.lines().filter(|other| line.is_empty() || !other.starts_with(line)).collect();
        let text = kept.join("\r\n").replace("END:VCARD", &format!("{instead}\r\nEND:VCARD\r\n"));
        let path = self.folder().join(name);
        fs::write(&path, text).unwrap();
        // Clearly after what the CRM did last: its clock is told in seconds, and in the same second the CRM wins (IC-36).
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5)).unwrap();
    }

    /// A member of the group with its address.
    fn member(&self, place: usize) -> (String, String) {
        let item = self.by_id(&self.members()[place]);
        (item.id.clone(), item.fields["Email"].as_str().unwrap().to_owned())
    }

    fn command(&self, name: &str, arguments: &Value) {
        self.sandbox.command(CRM, name, arguments).unwrap();
    }

    fn card(&self, name: &str, lines: &str) {
        let text = format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{name}\r\n{lines}\r\nEND:VCARD\r\n");
        self.world.put(&format!("right/contacts/{name}.vcf"), &text);
    }
}

#[test]
fn rule_ic_12_to_33_the_first_sync_links_and_creates() {
    let pair = Pair::empty(40);
    let members = pair.members();
    let first = pair.items("contacts").into_iter().find(|item| item.id == members[0]).unwrap();
    let email = first.fields["Email"].as_str().unwrap();
    // IC-12: an entry with the address of a member is linked.
    pair.card("known", &format!("FN:Somebody\r\nN:Somebody;;;;\r\nEMAIL:{email}"));
    // IC-33: so is one with the address of a contact outside of the group, which joins it.
    let stranger = pair.items("contacts").into_iter().find(|item| {
        !members.contains(&item.id) && item.fields["Owner"] == "SYST00000001" && item.fields.contains_key("Email")
    });
    let stranger = stranger.unwrap();
    pair.card("stranger", &format!("FN:S\r\nN:S;;;;\r\nEMAIL:{}", stranger.fields["Email"].as_str().unwrap()));
    // IC-21: a new one of a known company; IC-23 to IC-28: of a new one; IC-29: of none.
    let company = pair.items("accounts")[3].fields["AccountName"].as_str().unwrap().to_owned();
    let escaped = company.replace(',', "\\,");
    pair.card("old-firm", &format!("FN:Ada L\r\nN:Lovelace;Ada;;;\r\nEMAIL:ada@new.example\r\nORG:{escaped}"));
    pair.card("new-firm", "FN:Charles B\r\nN:Babbage;Charles;;;\r\nEMAIL:charles@new.example\r\nORG:  Analytical Engines \r\nTEL;TYPE=work:+44 20 1");
    pair.card("no-firm", "FN:Mary S\r\nN:Somerville;Mary;;;\r\nEMAIL:mary@new.example");
    let accounts = pair.items("accounts").len();
    let run = pair.sync();
    assert_eq!(run["left"]["created"], 5, "three contacts, two accounts: {run:#}");
    assert_eq!(pair.items("accounts").len(), accounts + 2);
    let account = |item: &Item| {
        let key = item.fields["Account"].as_str().unwrap().to_owned();
        pair.items("accounts").into_iter().find(|account| account.id == key).unwrap()
    };
    assert_eq!(
        account(&pair.contact("Email", "ada@new.example")).fields["AccountName"].as_str(),
        Some(company.as_str())
    );
    let made = account(&pair.contact("Email", "charles@new.example")).fields;
    let field = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(
        [
            field("AccountName"),
            field("Type"),
            field("Status"),
            field("Owner"),
            field("AccountManager"),
            field("MainPhone")
        ],
        ["Analytical Engines", "Prospect", "Active", "SYST00000001", "UDEMOA000001", ""]
    );
    assert_eq!(account(&pair.contact("Email", "mary@new.example")).fields["AccountName"], "Somerville, Mary");
    let now = pair.members();
    for email in ["ada@new.example", "charles@new.example", "mary@new.example"] {
        assert!(now.contains(&pair.contact("Email", email).id), "{email}");
    }
    assert!(now.contains(&stranger.id));
    assert_eq!(now.len(), 44);
    assert_eq!(cards(&pair.folder()).len(), 44);
    pair.sync();
    pair.quiet();
}

#[test]
fn rule_ic_38_40_41_43_46_what_removals_and_moves_mean() {
    let pair = Pair::of(20);
    let [left, deleted, dropped, moved] = [0, 1, 2, 3].map(|place| pair.member(place));
    // IC-40: a deleted entry leaves the group; the contact stays as it is.
    let before = pair.by_id(&dropped.0);
    fs::remove_file(pair.folder().join(pair.card_with(&pair.folder(), &dropped.1).0)).unwrap();
    // IC-38: a deleted contact's entry goes to the deleted items. IC-43: one that left the group keeps its entry.
    pair.sandbox.delete(CRM, "admin", &deleted.0).unwrap();
    pair.command("leave", &json!({ "user": "lee", "group": "Contact Sync", "ids": [left.0] }));
    // IC-46: the company follows the account.
    let other = pair.items("accounts")[5].clone();
    pair.edit_contact(&moved.0, json!({ "Account": { "$key": other.id } }));
    let run = pair.sync();
    assert_eq!((&run["right"]["deleted"], &run["right"]["updated"]), (&json!(1), &json!(1)), "{run:#}");
    assert!(fs::read_dir(pair.world.path("trash")).unwrap().count() > 0);
    assert!(!pair.members().contains(&dropped.0));
    assert_eq!(pair.by_id(&dropped.0), before);
    pair.card_with(&pair.folder(), &left.1);
    let shown = other.fields["AccountName"].as_str().unwrap().split(',').next().unwrap().to_owned();
    assert!(pair.card_with(&pair.folder(), &moved.1).1.replace("\r\n ", "").contains(&shown));
    // IC-41: nobody comes back by itself. The first run still hears of what we wrote.
    pair.sync();
    pair.quiet();
    assert_eq!(cards(&pair.folder()).len(), 18);
}

/// IC-2, IC-7, IC-31, IC-44: an edit sends its field alone; an edited company changes neither contact nor account.
#[test]
fn rule_ic_44_an_edited_company_is_put_back() {
    let pair = Pair::of(10);
    let (id, email) = pair.member(4);
    let before = (pair.by_id(&id).fields["Account"].clone(), pair.items("accounts"));
    pair.edit_card(&email, "ORG", "ORG:Somewhere Else\r\nTEL;TYPE=pager:4711");
    pair.sync();
    let after = pair.by_id(&id);
    assert_eq!((after.fields["Account"].clone(), pair.items("accounts")), before);
    assert_eq!(after.fields["Pager"], "4711");
    pair.sync();
    assert!(!pair.card_with(&pair.folder(), &email).1.contains("Somewhere Else"));
    pair.quiet();
}

/// IC-34 to IC-36: the record that changed last wins, whole.
#[test]
fn rule_ic_34_the_latest_change_wins() {
    let pair = Pair::of(6);
    let (id, email) = pair.member(2);
    pair.edit_contact(&id, json!({ "Title": "Theirs", "Department": "Theirs" }));
    // The card changes afterwards, by the clock of its file.
    pair.edit_card(&email, "TITLE", "TITLE:Ours");
    pair.sync();
    assert_eq!(pair.by_id(&id).fields["Title"], "Ours");
    pair.sync();
    pair.quiet();
}

/// IC-11: a field that the login may not write stays as it is, and the rest is written.
#[test]
fn rule_ic_11_a_field_that_may_not_be_written_is_reported() {
    let pair = Pair::of(6);
    let (id, email) = pair.member(2);
    let title = pair.by_id(&id).fields.get("Title").cloned();
    pair.command("field", &json!({ "user": "lee", "field": "contacts.Title", "access": "read" }));
    pair.edit_card(&email, "TITLE", "TITLE:Ours\r\nTEL;TYPE=pager:4712");
    let run = pair.sync();
    assert_eq!(run["state"], "done", "{run:#}");
    let after = pair.by_id(&id);
    assert_eq!((after.fields.get("Title").cloned(), after.fields["Pager"].as_str()), (title, Some("4712")));
    pair.sync();
    pair.quiet();
}

/// IC-3, IC-4: without a grant nothing is asked of anybody.
#[test]
fn rule_ic_03_without_a_grant_nothing_is_asked() {
    let pair = Pair::empty(3);
    let profile = pair.world.text("profiles/sales.toml");
    pair.world.put("profiles/sales.toml", &profile.replace("grants = [\"contact_sync\"]", "grants = []"));
    let ran = pair.world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("contact_sync"), "{}", ran.stderr);
    assert_eq!(pair.sandbox.requests(CRM, 0), []);
}

/// IC-53: contacts that cannot be seen any more are not deleted ones.
#[test]
fn rule_ic_53_what_is_hidden_is_not_deleted() {
    let pair = Pair::of(100);
    pair.command("rights", &json!({ "owner": "SDEMOA000001", "user": "lee", "access": "none" }));
    for _ in 0..2 {
        pair.world.run(["sync", "--full"]);
    }
    assert_eq!(cards(&pair.folder()).len(), 100);
    pair.quiet();
}

/// The old version keeps who belongs in the contacts themselves.
#[test]
fn version_7_5_4_is_kept_in_step_too() {
    let pair = Pair::empty(10);
    pair.command("settings", &json!({ "edition": "7.5.4" }));
    let host = pair.world.text("pairwise.toml").replace("username =", "edition = \"7.5.4\", username =");
    pair.world.put("pairwise.toml", &host);
    pair.card("ada", "FN:Ada L\r\nN:Lovelace;Ada;;;\r\nEMAIL:ada@new.example");
    let theirs = pair.items("contacts")[0].clone();
    let email = theirs.fields["Email"].as_str().unwrap().to_owned();
    pair.card("theirs", &format!("FN:T\r\nN:T;;;;\r\nEMAIL:{email}"));
    pair.sync();
    for item in [pair.contact("Email", "ada@new.example"), pair.by_id(&theirs.id)] {
        assert_eq!(item.fields["Categories"], "sync:Contact Sync");
    }
    pair.sync();
    let ada = pair.contact("Email", "ada@new.example");
    fs::remove_file(pair.folder().join(pair.card_with(&pair.folder(), "ada@new.example").0)).unwrap();
    pair.sync();
    assert_eq!(pair.by_id(&ada.id).fields.get("Categories"), None);
    pair.edit_contact(&theirs.id, json!({ "Title": "Still here" }));
    pair.sync();
    pair.card_with(&pair.folder(), "Still here");
    pair.quiet();
}

/// Whatever goes wrong on the way, in the end each entry has its contact in the group and each member its entry, once; each
/// company has one account; the edits of both sides are there. `PAIRWISE_SEEDS` tries more histories than are tried by itself.
#[test]
fn storms_change_nothing_in_the_end() {
    let seeds = std::env::var("PAIRWISE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    for seed in 1..=seeds {
        let pair = Pair::seeded(30, seed);
        let (contacts, accounts) = (pair.items("contacts").len(), pair.items("accounts").len());
        for number in 0..20 {
            let lines = format!(
                "FN:Ada {number}\r\nN:Lovelace {number};Ada;;;\r\nEMAIL:ada{number}@example.com\r\nORG:Firm {}\r\n\
                 ADR;TYPE=work:;;{number} Road;Bath;;;",
                number / 5
            );
            pair.card(&format!("new-{number}"), &lines);
        }
        for fault in [
            Fault { status: Some(503), retry_after: Some(0), ..Fault::default() },
            Fault { status: Some(500), retry_after: Some(0), ..Fault::default() },
            Fault { status: Some(429), retry_after: Some(0), ..Fault::default() },
            Fault {
                matching: Match { method: Some("PUT".into()), ..Match::default() },
                status: Some(412),
                ..Fault::default()
            },
            Fault { drop_connection: true, ..Fault::default() },
            Fault { drop_connection: true, after_effect: true, ..Fault::default() },
            Fault { status: Some(500), retry_after: Some(0), after_effect: true, ..Fault::default() },
        ] {
            pair.sandbox.fault(CRM, Fault { times: Some(0), chance: Some(0.02), ..fault });
        }
        for round in 0..4 {
            let ran = pair.world.run(["sync"]);
            assert!([Some(0), Some(1), Some(3)].contains(&ran.code), "seed {seed}: {ran:?}");
            if round == 1 {
                pair.edit_contact(&pair.members()[1], json!({ "Title": "Theirs" }));
                pair.edit_card("ada7@example.com", "TITLE", "TITLE:Ours");
            }
        }
        pair.sandbox.core(CRM).faults().clear();
        for _ in 0..3 {
            pair.world.run(["quarantine", "retry", "--all"]);
            pair.world.run(["sync"]);
        }
        let (held, now) = (pair.items("contacts"), pair.members());
        let emails: Vec<String> = (0..20).map(|number| format!("ada{number}@example.com")).collect();
        for email in &emails {
            let of: Vec<&Item> = held.iter().filter(|item| item.fields.get("Email") == Some(&json!(email))).collect();
            assert_eq!(of.len(), 1, "seed {seed}: {email}");
            assert!(now.contains(&of[0].id), "seed {seed}: {email} is in the group");
        }
        assert_eq!((held.len(), now.len()), (contacts + 20, 50), "seed {seed}");
        assert_eq!(pair.items("accounts").len(), accounts + 4, "seed {seed}: one account for each company");
        assert_eq!(cards(&pair.folder()).len(), 50, "seed {seed}");
        pair.card_with(&pair.folder(), "Theirs");
        let ours = pair.contact("Email", "ada7@example.com");
        assert_eq!(ours.fields.get("Title"), Some(&json!("Ours")), "seed {seed}");
        pair.quiet();
    }
}

/// Where only people have logins, a connection is checked as each of them who may be read.
#[test]
fn a_connection_without_a_login_of_its_own_is_checked_as_its_users() {
    let pair = Pair::empty(3);
    let host = pair.world.text("pairwise.toml");
    let own: Vec<&str> = host.lines().filter(|line| !line.starts_with("secrets")).collect();
    pair.world.put("pairwise.toml", &own.join("\n").replace(", username = \"admin\"", ""));
    let check = || pair.world.run(["connection", "check", "crm"]);
    check().exits(0);
    pair.world.put("lee.secret", "wrong");
    let ran = check().exits(3);
    assert!(ran.stderr.contains("does not accept user `lee`"), "{}", ran.stderr);
    // Nobody logs in who lacks the grant.
    let profile = pair.world.text("profiles/sales.toml");
    pair.world.put("profiles/sales.toml", &profile.replace("grants = [\"contact_sync\"]\n", ""));
    let ran = check().exits(2);
    assert!(ran.stderr.contains("no secret `password`"), "{}", ran.stderr);
}

/// What many cards share is looked up once, whatever their number.
#[test]
fn a_shared_address_is_looked_up_once() {
    let pair = Pair::empty(0);
    let config = pair.world.text("profiles/sales.toml");
    pair.world.put("profiles/sales.toml", &format!("{config}batch = 20\n"));
    for number in 0..70 {
        let card = format!(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-{number}\r\nFN:Person {number}\r\nN:{number};Person;;;\r\n\
             EMAIL:office@shared.example\r\nEMAIL:p{number}@shared.example\r\nEND:VCARD\r\n"
        );
        fs::write(pair.folder().join(format!("{number}.vcf")), card).unwrap();
    }
    assert_eq!(pair.sync()["left"]["created"], 140, "seventy contacts with their accounts");
    let asks = |text: &str| {
        let asked = pair.sandbox.requests(CRM, 0);
        asked.iter().filter(|request| request.method == "GET" && request.path.contains(text)).count()
    };
    assert_eq!((asks("office@shared.example"), asks("p69@shared.example")), (1, 1));
}
