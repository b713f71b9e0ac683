//! A mailbox that moves from Exchange to Outlook while its contacts are kept in step with a CRM: the same people stay the same
//! people, whether the profile goes on with the other connection or a new one takes its place.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use pairwise_sandbox::Options;
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_tests::migration;
use pairwise_tests::office::Office;
use serde_json::{Value, json};

const CRM: &str = "infor-crm";
const LEE: &str = "lee@example.com";
const GROUP: &str = "[streams.contacts]\nscope.left.group = \"Contact Sync\"\n";

/// An office whose mailboxes are on premises, as long as they have not moved.
struct Moving {
    office: Office,
}

impl Moving {
    /// Contacts of the CRM are in the mailbox, a person of the mailbox is in the CRM, and all is quiet.
    fn settled() -> Moving {
        let systems = vec![CRM.to_owned(), "exchange".to_owned(), "outlook".to_owned()];
        let office =
            Office::start(Options { systems, users: 1, contacts: 40, spread: Spread::Crm, ..Options::default() });
        office.pair("infor-crm-outlook", CRM, "exchange", &["contact_sync"], GROUP);
        let moving = Moving { office };
        moving.edit(
            "exchange",
            None,
            json!({
                "GivenName": "Grace", "Surname": "Hopper", "DisplayName": "Grace Hopper", "CompanyName": "Navy",
                "EmailAddresses/EmailAddress1": "grace@navy.example",
            }),
        );
        moving.sync();
        moving.sync();
        moving.quiet();
        moving
    }

    fn sync(&self) -> Value {
        let (ran, json) = self.office.world.json(["sync"]);
        assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
        json["runs"][0].clone()
    }

    /// A run that writes nothing.
    fn quiet(&self) {
        let run = self.sync();
        for (side, what) in
            ["left", "right"].iter().flat_map(|side| ["created", "updated", "deleted", "unlinked"].map(|it| (side, it)))
        {
            assert_eq!(run[side][what], 0, "{run:#}");
        }
    }

    fn edit(&self, system: &str, id: Option<&str>, fields: Value) {
        let (entity, user) = if system == CRM { ("contacts", "lee") } else { ("contact", LEE) };
        let (id, fields) = (id.map(str::to_owned), fields.as_object().unwrap().clone());
        let edit = Edit { entity: entity.into(), user: user.into(), id, fields, ..Edit::default() };
        self.office.sandbox.edit(system, edit).unwrap();
    }

    fn contacts(&self) -> Vec<Item> {
        self.office.sandbox.records(CRM, Some("contacts"), None)
    }

    fn contact(&self, surname: &str) -> Item {
        self.contacts().into_iter().find(|item| item.fields["LastName"] == surname).expect("a contact of this name")
    }

    /// What lies in the mailbox in the cloud, by surname and given name.
    fn entries(&self) -> BTreeMap<String, Item> {
        let all = self.office.sandbox.records("outlook", Some("contact"), Some(LEE));
        let count = all.len();
        let text =
            |item: &Item, name: &str| item.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let named = |item: Item| (format!("{}, {}", text(&item, "surname"), text(&item, "givenName")), item);
        let entries: BTreeMap<String, Item> = all.into_iter().map(named).collect();
        assert_eq!(entries.len(), count, "nobody is there twice");
        entries
    }

    /// The values of an extended property of each entry.
    fn properties(&self, id: &str) -> BTreeMap<String, String> {
        let property = |item: &Item| {
            let all = item.fields.get("singleValueExtendedProperties")?.as_array()?;
            let found = all.iter().find(|property| property["id"].as_str().is_some_and(|known| known.ends_with(id)))?;
            Some(found["value"].as_str()?.to_owned())
        };
        self.entries().into_iter().filter_map(|(name, item)| Some((name, property(&item)?))).collect()
    }

    /// What people do in the time of the move: one edit on each side, and somebody new on each side.
    fn life_goes_on(&self) {
        let entries = self.entries();
        let mut names = entries.keys();
        let (in_mailbox, in_crm) = (names.next().unwrap(), names.next().unwrap());
        self.edit("outlook", Some(&entries[in_mailbox].id), json!({ "mobilePhone": "+49 40 4711" }));
        let surname = in_crm.split(", ").next().unwrap();
        self.edit(CRM, Some(&self.contact(surname).id), json!({ "Title": "Head of Everything" }));
        self.edit(
            "outlook",
            None,
            json!({
                "givenName": "Ada", "surname": "Byron", "displayName": "Ada Byron", "companyName": "Engines",
                "emailAddresses": [{ "address": "ada@engines.example" }],
            }),
        );
    }

    /// Everything that happened has arrived, nobody is there twice, and nothing is left to do.
    fn arrived(&self, before: usize) {
        assert_eq!(self.contacts().len(), before + 1, "Ada came into the CRM, and nobody else");
        assert_eq!(self.contact("Byron").fields["FirstName"], "Ada");
        let of = |field: &str, value: &str| {
            self.contacts().into_iter().filter(|item| item.fields.get(field) == Some(&json!(value))).count()
        };
        assert_eq!(of("Mobile", "+49 40 4711"), 1, "the edit in the mailbox");
        let titles = self
            .entries()
            .into_values()
            .filter(|item| item.fields.get("jobTitle") == Some(&json!("Head of Everything")));
        assert_eq!(titles.count(), 1, "the edit in the CRM");
        self.sync();
        self.quiet();
    }
}

#[test]
fn a_profile_goes_on_with_the_mailbox_in_the_cloud() {
    let moving = Moving::settled();
    let before = moving.contacts().len();
    migration::to_the_cloud(&moving.office.sandbox, LEE);
    let (keys, people) = (moving.properties("PairwiseKey"), moving.entries().len());
    moving.life_goes_on();
    moving.office.pair("infor-crm-outlook", CRM, "outlook", &["contact_sync"], GROUP);
    let run = moving.sync();
    // Ada and her company.
    assert_eq!((&run["left"]["created"], &run["right"]["created"]), (&json!(2), &json!(0)), "{run:#}");
    assert_eq!((&run["left"]["deleted"], &run["right"]["deleted"]), (&json!(0), &json!(0)), "{run:#}");
    moving.arrived(before);
    assert_eq!(moving.entries().len(), people + 1);
    assert_eq!(moving.properties("PairwiseKey"), keys, "what a create of ours wrote stays with its item");
}

/// By what the old profile wrote into the entries that it made, else by their addresses.
#[test]
fn a_new_profile_finds_the_people_of_the_old_one() {
    let moving = Moving::settled();
    let before = moving.contacts().len();
    migration::to_the_cloud(&moving.office.sandbox, LEE);
    let people = moving.entries().len();
    moving.life_goes_on();
    moving.office.pair("infor-crm-outlook", CRM, "outlook", &["contact_sync"], GROUP);
    let profile = moving.office.world.path("profiles");
    std::fs::rename(profile.join("sales.toml"), profile.join("cloud.toml")).unwrap();
    let run = moving.sync();
    // Ada and her company.
    assert_eq!((&run["left"]["created"], &run["right"]["created"]), (&json!(2), &json!(0)), "{run:#}");
    moving.arrived(before);
    assert_eq!(moving.entries().len(), people + 1);
}
