//! A plan is what a run does, also where people share the contacts of a CRM.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_sandbox::Options;
use pairwise_sandbox::system::Edit;
use pairwise_tests::office::Office;
use serde_json::{Value, json};

/// What each lane writes, by side: created, updated, deleted.
fn written(told: &Value) -> Vec<(String, [u64; 6])> {
    let runs = told["runs"].as_array().unwrap();
    let count = |run: &Value, side: &str, what: &str| run[side][what].as_u64().unwrap();
    let lane = |run: &Value| {
        let counts = ["left", "right"].map(|side| ["created", "updated", "deleted"].map(|what| count(run, side, what)));
        let [[a, b, c], [d, e, f]] = counts;
        (run["user"].as_str().unwrap().to_owned(), [a, b, c, d, e, f])
    };
    runs.iter().map(lane).collect()
}

/// Two people of a CRM with a group each, and their mailboxes.
fn office() -> Office {
    let systems = vec!["infor-crm".to_owned(), "outlook".to_owned()];
    let office = Office::start(Options { systems, users: 2, contacts: 60, ..Options::default() });
    let group = "[streams.contacts]\nscope.left.group = \"Contact Sync\"\n";
    office.pair("infor-crm-outlook", "infor-crm", "outlook", &["contact_sync"], group);
    office
}

/// A plan, then the run that it foretells.
fn foretold(office: &Office) {
    let planned = office.world.json(["plan"]).1;
    let done = office.world.json(["sync"]).1;
    assert_eq!(written(&planned), written(&done), "{planned:#}");
}

/// Both met somebody of a company that nobody knew: the first lane makes the account, the second one uses it.
#[test]
fn what_one_lane_makes_the_next_one_finds() {
    let office = office();
    for user in ["lee@example.com", "kim@example.com"] {
        let fields = json!({
            "givenName": "Ada", "surname": "Byron", "companyName": "Analytical Engines",
            "emailAddresses": [{ "address": "ada@engines.example" }],
        });
        let fields = fields.as_object().cloned().unwrap();
        let edit = Edit { entity: "contact".into(), user: user.into(), fields, ..Edit::default() };
        office.sandbox.edit("outlook", edit).unwrap();
    }
    foretold(&office);
    let accounts = office.items("accounts");
    assert_eq!(accounts.iter().filter(|account| account.fields["AccountName"] == "Analytical Engines").count(), 1);
}

/// What one of them types in the own mailbox goes to the CRM, and from there to the other's mailbox in the same run.
#[test]
fn what_one_lane_changes_the_next_one_is_told() {
    let office = office();
    let shared = office.members();
    let join = json!({ "user": "kim", "group": "Contact Sync", "ids": shared[..3] });
    office.sandbox.command("infor-crm", "join", &join).unwrap();
    for _ in 0..2 {
        office.world.run(["sync"]).exits(0);
    }
    let address = office.by_id(&shared[0]).fields["Email"].as_str().unwrap().to_owned();
    let entries = office.sandbox.records("outlook", Some("contact"), Some("lee@example.com"));
    let entry = entries.iter().find(|entry| entry.fields["emailAddresses"].to_string().contains(&address)).unwrap();
    let fields = json!({ "mobilePhone": "+49 40 4711" }).as_object().cloned().unwrap();
    let edit = Edit { user: "lee@example.com".into(), id: Some(entry.id.clone()), fields, ..Edit::default() };
    office.sandbox.advance(std::time::Duration::from_secs(60));
    office.sandbox.edit("outlook", edit).unwrap();
    foretold(&office);
    let entries = office.sandbox.records("outlook", Some("contact"), Some("kim@example.com"));
    assert_eq!(
        entries.iter().filter(|entry| entry.fields.get("mobilePhone") == Some(&json!("+49 40 4711"))).count(),
        1
    );
}
