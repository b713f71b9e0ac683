//! What the CRM holds at the start.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::model;
use super::settings::{ADMIN, Access, EVERYONE, Settings, User};
use super::view::iso;
use super::write::Change;
use crate::people::Person;
use crate::population::{Contact, Population};
use crate::store::{Fields, Store};

/// The group that each user's contacts are in.
const GROUP: &str = "Contact Sync";
/// A team that all users are in.
const TEAM: &str = "FDEMOA000001";
/// Records are made one a second, in the weeks before now.
const APART: i64 = 1_000;

pub(super) fn populate(store: &mut Store, now: i64, settings: &mut Settings, people: &Population) {
    let began = now - APART * (10 * i64::try_from(people.contacts.len()).unwrap_or(0) + 86_400);
    settings.users = users(people);
    for user in &settings.users {
        if !user.is_admin() {
            settings.rights.entry(user.default_owner.clone()).or_default().insert(user.id.clone(), Access::Write);
            settings.rights.entry(TEAM.into()).or_default().insert(user.id.clone(), Access::Write);
        }
    }
    directory(store, began, settings, people);
    Filler { store, settings, now: began, accounts: BTreeMap::new() }.fill(people);
}

fn users(people: &Population) -> Vec<User> {
    let users = (1..).zip(&people.users).map(|(number, user)| User {
        login: user.login.clone(),
        password: user.password.clone(),
        id: format!("UDEMOA{number:06}"),
        given: user.given.clone(),
        surname: user.surname.clone(),
        default_owner: format!("SDEMOA{number:06}"),
        sdata: true,
        expired: false,
    });
    let admin = User {
        login: "admin".into(),
        password: "admin-secret".into(),
        id: ADMIN.into(),
        given: String::new(),
        surname: "Administrator".into(),
        default_owner: EVERYONE.into(),
        sdata: true,
        expired: false,
    };
    users.chain([admin]).collect()
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Users, owners, sources of leads, options.
fn directory(store: &mut Store, at: i64, settings: &Settings, people: &Population) {
    let mut add = |kind: &str, key: &str, fields: Fields| {
        let entity = model::by_place(kind);
        let id = entity.map_or_else(|| key.to_owned(), |entity| entity.store_id(key));
        store.insert(at, "", kind, &id, None, fields);
    };
    for (key, name, kind) in [(EVERYONE, "Everyone", "System"), (TEAM, "Sales", "Team")] {
        add("owners", key, fields([("OwnerDescription", json!(name)), ("Type", json!(kind))]));
    }
    for user in &settings.users {
        let name = user.pretty_name();
        let email = people.users.iter().find(|person| person.login == user.login).map(|person| person.email.clone());
        if !user.is_admin() {
            add("owners", &user.default_owner, fields([("OwnerDescription", json!(name)), ("Type", json!("User"))]));
        }
        let kind = if user.is_admin() { "Admin" } else { "Network" };
        let owner = json!(user.default_owner);
        add(
            "users",
            &user.id,
            fields([
                ("UserName", json!(user.login)),
                ("Type", json!(kind)),
                ("Enabled", json!(true)),
                ("DefaultOwner", owner),
            ]),
        );
        add(
            "userInfo",
            &user.id,
            fields([
                ("UserName", json!(user.login)),
                ("FirstName", json!(user.given)),
                ("LastName", json!(user.surname)),
                ("Email", json!(email)),
            ]),
        );
    }
    for (number, name) in (1..).zip(["Web", "Trade show", "Referral"]) {
        add("leadsources", &format!("LDEMOA{number:06}"), fields([("Description", json!(name))]));
    }
    add("systemOptions", "DatabaseVersion", version(settings));
}

/// Where that option is in the store.
pub(super) const VERSION: &str = "systemOptions:DatabaseVersion";

/// The option that tells the edition.
pub(super) fn version(settings: &Settings) -> Fields {
    fields([("name", json!("DatabaseVersion")), ("value", json!(format!("{}.0", settings.edition)))])
}

struct Filler<'a> {
    store: &'a mut Store,
    settings: &'a Settings,
    now: i64,
    accounts: BTreeMap<String, String>,
}

impl Filler<'_> {
    #[allow(clippy::expect_used, reason = "made-up people keep to the rules; a test fills a server with thousands")]
    fn create(&mut self, entity: &str, user: &User, sent: &Map<String, Value>) -> String {
        self.now += APART;
        let mut change = Change { store: self.store, settings: self.settings, user, now: self.now };
        change.create(model::by_name(entity), sent).expect("a record that keeps to the rules")
    }

    fn fill(&mut self, people: &Population) {
        let settings = self.settings;
        for (index, user) in settings.users.iter().enumerate().filter(|(_, user)| !user.is_admin()) {
            let mut members = Vec::new();
            for contact in people.contacts_of(index) {
                if contact.in_crm {
                    members.push(self.contact(user, contact));
                }
                if contact.person.number.is_multiple_of(10) {
                    self.lead(user, &contact.person);
                }
            }
            let group = fields([("family", json!("Contact")), ("name", json!(GROUP)), ("adHocIds", json!(members))]);
            self.create("Group", user, &group);
        }
        let shared = fields([
            ("family", json!("Contact")),
            ("name", json!("All Contacts")),
            ("isAdHoc", json!(false)),
            ("releasedTo", json!(EVERYONE)),
        ]);
        if let Some(admin) = settings.users.iter().find(|user| user.is_admin()) {
            self.create("Group", admin, &shared);
        }
    }

    /// The account of a company, made when it is first met. The first of all companies is there twice.
    fn account(&mut self, user: &User, contact: &Contact) -> String {
        let name = if contact.company.is_empty() { contact.person.full_name() } else { contact.company.clone() };
        if let Some(key) = self.accounts.get(&name) {
            return key.clone();
        }
        let person = &contact.person;
        let sent = fields([
            ("AccountName", json!(name)),
            ("Type", json!("Customer")),
            ("Status", json!("Active")),
            ("MainPhone", json!(person.phones[0])),
            ("WebAddress", json!(person.web)),
            ("Owner", json!({ "$key": EVERYONE })),
            ("Address", address(person)),
        ]);
        let key = self.create("Account", user, &sent);
        if self.accounts.is_empty() {
            self.create("Account", user, &sent);
        }
        self.accounts.insert(name, key.clone());
        key
    }

    fn contact(&mut self, user: &User, contact: &Contact) -> String {
        let account = self.account(user, contact);
        let person = &contact.person;
        let owner = if person.number % 5 == 4 { &user.default_owner } else { EVERYONE };
        let birthday = format!("{}T00:00:00Z", person.birthday);
        let sent = fields([
            ("FirstName", json!(person.given)),
            ("LastName", json!(person.surname)),
            ("Title", json!(person.title)),
            ("Department", json!(person.unit)),
            ("Email", json!(person.emails.first())),
            ("SecondaryEmail", json!(person.emails.get(1))),
            ("WorkPhone", json!(person.phones[0])),
            ("Mobile", json!(person.phones[1])),
            ("HomePhone", json!(person.phones[2])),
            ("WebAddress", json!(person.web)),
            ("Birthday", json!(birthday)),
            ("Type", json!(person.categories.first())),
            ("UserField1", json!(person.region)),
            ("Owner", json!({ "$key": owner })),
            ("Account", json!({ "$key": account })),
            ("Address", address(person)),
        ]);
        let key = self.create("Contact", user, &sent);
        if person.number.is_multiple_of(5) {
            let note = fields([
                ("Type", json!("atNote")),
                ("Description", json!("First call")),
                ("Notes", json!(person.note)),
                ("LongNotes", json!(person.note)),
                ("UserId", json!(user.id)),
                ("ContactId", json!(key)),
                ("AccountId", json!(account)),
                ("CompletedDate", json!(iso(self.now))),
            ]);
            self.create("History", user, &note);
        }
        key
    }

    fn lead(&mut self, user: &User, person: &Person) {
        let sent = fields([
            ("FirstName", json!(person.surname)),
            ("LastName", json!(person.given)),
            ("Company", json!(person.organization)),
            ("Email", json!(person.emails.first().map(|email| format!("lead.{email}")))),
            ("WorkPhone", json!(person.phones[0])),
            ("Status", json!("New")),
            ("Owner", json!({ "$key": EVERYONE })),
            ("LeadSource", json!({ "$key": "LDEMOA000001" })),
            ("Address", address(person)),
        ]);
        self.create("Lead", user, &sent);
    }
}

fn address(person: &Person) -> Value {
    json!({
        "Address1": person.street,
        "City": person.town,
        "State": person.region,
        "PostalCode": person.postcode,
        "Country": person.country,
        "Description": "Office",
    })
}
