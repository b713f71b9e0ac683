//! A folder and a mailbox while the server fails in every way that it can: the end is that of a calm day.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::{env, fs};

use pairwise_sandbox::people::{Crowd, write_cards};
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_sandbox::{Options, Sandbox};
use pairwise_tests::world::{World, cards};
use serde_json::{Value, json};

const MAIL: &str = "exchange";
const LEE: &str = "lee@example.com";

/// One in ten requests goes wrong, each time in another way.
fn faults() -> Vec<Value> {
    let often = |mut fault: Value| {
        fault["times"] = json!(0);
        fault["chance"] = json!(0.1 / 7.0);
        fault
    };
    [
        json!({ "drop_connection": true }),
        json!({ "drop_connection": true, "after_effect": true }),
        json!({ "status": 503 }),
        json!({ "status": 503, "after_effect": true }),
        json!({ "code": "ErrorServerBusy", "retry_after": 0 }),
        json!({ "code": "ErrorInternalServerTransientError", "after_effect": true }),
        json!({ "match": { "operation": "SyncFolderItems" }, "code": "ErrorInvalidSyncStateData" }),
    ]
    .map(often)
    .to_vec()
}

struct Storm {
    sandbox: Sandbox,
    world: World,
}

impl Storm {
    fn of(seed: u64, stormy: bool) -> Storm {
        let options =
            Options { systems: vec![MAIL.into()], contacts: 12, spread: Spread::Mailbox, seed, ..Options::default() };
        let storm = Storm { sandbox: Sandbox::start(options).unwrap(), world: World::empty() };
        fs::create_dir(storm.world.left()).unwrap();
        write_cards(&storm.world.left(), Crowd::tidy(seed + 1_000), 0..25).unwrap();
        storm.world.put("mail.secret", "svc-secret");
        let url = storm.sandbox.info(MAIL).url;
        storm.world.put(
            "pairwise.toml",
            &format!(
                "[connections.folder]\nplugin = \"vdir\"\nsettings = {{ path = \"left\" }}\n\n[connections.mail]\nplugin = \"exchange\"\n\
                 settings = {{ url = \"{url}\", username = \"svc-pairwise\", auth = \"basic\", mailbox = \"{LEE}\", batch = 5 }}\n\
                 secrets = {{ password = {{ file = \"mail.secret\" }} }}\n"
            ),
        );
        let head = "preset = \"mirror\"\nleft = \"folder\"\nright = \"mail\"\nenabled = true\n";
        storm.world.put(
            "profiles/people.toml",
            &format!("{head}\n[streams.contacts]\nguard = {{ removals = {{ above = 50 }} }}\n"),
        );
        if stormy {
            for fault in faults() {
                storm.sandbox.fault(MAIL, serde_json::from_value(fault).unwrap());
            }
        }
        storm
    }

    /// Runs until nothing happens any more.
    fn settle(&self) {
        for _ in 0..12 {
            let (ran, json) = self.world.json(["sync"]);
            let run = &json["runs"][0];
            let moved = ["left", "right"].iter().any(|side| {
                ["created", "updated", "deleted", "failed"].iter().any(|what| run[*side][*what].as_u64() != Some(0))
            });
            if ran.code == Some(0) && !moved {
                return;
            }
        }
    }

    fn calm(&self) {
        self.sandbox.core(MAIL).faults().clear();
        self.settle();
    }

    /// People work on both sides.
    fn live(&self) {
        let entries = self.sandbox.records(MAIL, Some("contact"), Some(LEE));
        let address = |item: &Item| item.fields.get("EmailAddresses/EmailAddress1")?.as_str().map(str::to_owned);
        let by_name: BTreeMap<String, &str> =
            entries.iter().filter_map(|item| Some((address(item)?, item.id.as_str()))).collect();
        for (count, (mail, id)) in by_name.iter().enumerate() {
            match count % 6 {
                0 => drop(self.edit(Some(id), json!({ "JobTitle": format!("Edited in the mailbox {mail}") }))),
                1 => self.edit_card(mail, "END:VCARD", &format!("X-NOTE:a\r\nNICKNAME:nick {mail}\r\nEND:VCARD")),
                2 => drop(self.sandbox.delete(MAIL, LEE, id)),
                _ => {}
            }
        }
        self.edit(None, json!({ "GivenName": "New", "Surname": "Person", "DisplayName": "New Person", "EmailAddresses/EmailAddress1": "new@person.example" }));
    }

    fn edit(&self, id: Option<&str>, fields: Value) -> String {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        let edit =
            Edit { entity: "contact".into(), user: LEE.into(), id: id.map(str::to_owned), fields, ..Edit::default() };
        self.sandbox.edit(MAIL, edit).unwrap()
    }

    fn edit_card(&self, holds: &str, from: &str, to: &str) {
        let found = cards(&self.world.left()).into_iter().find(|(_, text)| text.contains(holds));
        let Some((name, text)) = found else { return };
        fs::write(self.world.left().join(name), text.replacen(from, to, 1)).unwrap();
    }

    /// What both sides hold, without names and ids that chance gives.
    fn state(&self) -> (Vec<Vec<String>>, Vec<String>) {
        let folders = self.sandbox.records(MAIL, Some("folder"), Some(LEE));
        let home = folders.iter().find(|folder| folder.fields["Distinguished"] == "contacts").unwrap();
        let items = self.sandbox.records(MAIL, Some("contact"), Some(LEE));
        let mut held: Vec<Vec<String>> = items
            .iter()
            .filter(|item| item.container.as_deref() == Some(&home.id))
            .map(|item| {
                let fields = item.fields.iter().filter(|(name, _)| !name.starts_with('{') && !name.starts_with("0x"));
                fields.map(|(name, value)| format!("{name}={value}")).collect()
            })
            .collect();
        held.sort();
        let mut lines: Vec<String> = cards(&self.world.left())
            .into_iter()
            .map(|(_, text)| {
                let mut lines: Vec<&str> =
                    text.lines().filter(|line| !line.starts_with("UID") && !line.starts_with("REV")).collect();
                lines.sort_unstable();
                lines.join("\n")
            })
            .collect();
        lines.sort();
        (held, lines)
    }

    fn day(seed: u64, stormy: bool) -> Storm {
        let storm = Storm::of(seed, stormy);
        storm.settle();
        if stormy {
            // The edits are those of the calm day: what is there must be the same.
            storm.calm();
            for fault in faults() {
                storm.sandbox.fault(MAIL, serde_json::from_value(fault).unwrap());
            }
        }
        storm.live();
        storm.settle();
        storm.calm();
        storm
    }
}

/// `PAIRWISE_STORMS` asks for more than the few of every day.
#[test]
fn a_storm_changes_nothing_in_the_end() {
    let storms: u64 = env::var("PAIRWISE_STORMS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for seed in 1..=storms {
        let (calm, storm) = (Storm::day(seed, false).state(), Storm::day(seed, true).state());
        assert_eq!(calm.0.len(), storm.0.len(), "contacts, seed {seed}");
        assert_eq!(calm.0, storm.0, "seed {seed}");
        assert_eq!(calm.1, storm.1, "seed {seed}");
    }
}
