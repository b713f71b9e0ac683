//! Creating, changing and deleting records, with the rules of the application.

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::draft::Draft;
use super::model::{self, Entity};
use super::settings::{Access, IfMatch, Settings, User};
use super::view::{View, etag, iso};
use crate::store::{Item, Store};

/// Entities that can be written over SData.
const WRITABLE: [&str; 8] = ["Contact", "Account", "Lead", "LeadAddress", "Address", "History", "Activity", "Group"];

/// A change to the store, by a user.
pub(super) struct Change<'a> {
    pub(super) store: &'a mut Store,
    pub(super) settings: &'a Settings,
    pub(super) user: &'a User,
    pub(super) now: i64,
}

/// What a conditional request names: `If-Match`, with or without quotes.
pub(super) type Expected<'a> = Option<&'a str>;

impl Change<'_> {
    fn view(&self) -> View<'_> {
        View { store: self.store, settings: self.settings, user: self.user }
    }

    fn writable(&self, entity: &Entity) -> Result<(), Refusal> {
        if !WRITABLE.contains(&entity.name.as_str()) || (entity.name == "Group" && self.settings.is_old()) {
            return Err(Refusal::new(405, "ApplicationDiagnosis", format!("{} cannot be written.", entity.path)));
        }
        Ok(())
    }

    /// Makes a record; the answer is its key.
    pub(super) fn create(&mut self, entity: &Entity, sent: &Map<String, Value>) -> Result<String, Refusal> {
        self.writable(entity)?;
        let mut draft = Draft::read(&self.view(), entity, sent)?;
        draft.fields.retain(|_, value| !value.is_null());
        self.defaults(entity, &mut draft);
        self.rules(entity, |name| draft.fields.get(name).cloned().unwrap_or_default())?;
        let key = new_key(self.store, &entity.prefix);
        draft.fields.insert("CreateUser".into(), json!(self.user.id));
        draft.fields.insert("ModifyUser".into(), json!(self.user.id));
        self.store.insert(self.now, "", entity.place(), &entity.store_id(&key), None, draft.fields);
        for (relation, target, inner) in draft.nested {
            self.address(entity, &key, &relation, target, inner);
        }
        self.after(entity, &key);
        Ok(key)
    }

    /// Values that the server fills in.
    fn defaults(&self, entity: &Entity, draft: &mut Draft) {
        let mut default = |name: &str, value: Value| {
            if entity.relation(name).is_some() || entity.property(name).is_some() {
                draft.fields.entry(name).or_insert(value);
            }
        };
        default("Owner", json!(self.user.default_owner));
        default("AccountManager", json!(self.user.id));
        match entity.name.as_str() {
            "History" => {
                for date in ["StartDate", "CompletedDate", "OriginalDate"] {
                    default(date, json!(iso(self.now)));
                }
                default("CompletedUser", json!(self.user.id));
            }
            "Group" => {
                default("userId", json!(self.user.id));
                default("isAdHoc", json!(true));
                default("isHidden", json!(false));
                default("version", json!(1));
                default("adHocIds", json!([]));
                let family = draft.fields.get("family").and_then(Value::as_str).unwrap_or_default().to_uppercase();
                draft.fields.entry("mainTable").or_insert(json!(family));
                let name = draft.fields.get("name").cloned().unwrap_or_default();
                draft.fields.entry("displayName").or_insert(name);
            }
            _ => {}
        }
        self.company_name(entity, draft);
    }

    /// A contact holds a copy of its account's name.
    fn company_name(&self, entity: &Entity, draft: &mut Draft) {
        let account = draft.fields.get("Account").and_then(Value::as_str);
        if let (Some(account), "Contact") = (account.and_then(|key| self.store.get(key)), entity.name.as_str()) {
            draft.fields.insert("AccountName".into(), account.fields.get("AccountName").cloned().unwrap_or_default());
        }
    }

    /// What a record must have.
    fn rules(&self, entity: &Entity, value: impl Fn(&str) -> Value) -> Result<(), Refusal> {
        let mut needed: Vec<&str> = match entity.name.as_str() {
            "Contact" => vec!["Account", "Owner"],
            "Account" => vec!["AccountName", "Owner"],
            "Lead" => vec!["Owner"],
            "History" | "Activity" => vec!["Type"],
            "Address" => vec!["EntityId"],
            "LeadAddress" => vec!["LeadId"],
            "Group" => vec!["name", "family"],
            _ => vec![],
        };
        if self.settings.last_name_required && ["Contact", "Lead"].contains(&entity.name.as_str()) {
            needed.push("LastName");
        }
        match needed.into_iter().find(|name| value(name).is_null()) {
            Some(name) => Err(Refusal::rule(format!("{name} is required for a {}.", entity.name))),
            None => Ok(()),
        }
    }

    /// Changes a record: only what was sent.
    pub(super) fn update(
        &mut self,
        entity: &Entity,
        key: &str,
        sent: &Map<String, Value>,
        expected: Expected<'_>,
    ) -> Result<(), Refusal> {
        self.writable(entity)?;
        let item = self.view().find(entity, key).ok_or_else(|| Refusal::not_found(&entity.path, key))?.clone();
        self.may_write(entity, &item)?;
        if expected.is_none() && self.settings.if_match == IfMatch::Required {
            return Err(Refusal::new(400, "BadQueryParameter", "The header If-Match is missing."));
        }
        current(&item, expected)?;
        let mut draft = Draft::read(&self.view(), entity, sent)?;
        self.company_name(entity, &mut draft);
        self.rules(entity, |name| {
            draft.fields.get(name).or_else(|| item.fields.get(name)).cloned().unwrap_or_default()
        })?;
        let differs = |(name, value): (&String, &Value)| item.fields.get(name).unwrap_or(&Value::Null) != value;
        if draft.fields.iter().any(differs) {
            let user = json!(self.user.id);
            self.store.change(self.now, &item.id, |fields| {
                fields.extend(draft.fields);
                fields.retain(|_, value| !value.is_null());
                fields.insert("ModifyUser".into(), user);
            });
        }
        for (relation, target, inner) in draft.nested {
            self.address(entity, key, &relation, target, inner);
        }
        self.renamed(entity, &item);
        Ok(())
    }

    fn may_write(&self, entity: &Entity, item: &Item) -> Result<(), Refusal> {
        match self.view().access(entity, item) {
            Access::Write => Ok(()),
            _ => Err(Refusal::new(403, "ApplicationDiagnosis", "You may read this record, but not change it.")),
        }
    }

    /// Writes an address that came nested in another record. Its owner's change time stays.
    fn address(&mut self, entity: &Entity, owner: &str, relation: &str, target: &Entity, draft: Draft) {
        let now = self.now;
        let there = self.store.get(owner).and_then(|item| item.fields.get(relation)).and_then(Value::as_str);
        if let Some(key) = there.map(str::to_owned).filter(|key| self.store.get(key).is_some()) {
            let differs = |item: &Item| {
                draft.fields.iter().any(|(name, value)| item.fields.get(name).unwrap_or(&Value::Null) != value)
            };
            if self.store.get(&key).is_some_and(differs) {
                self.store.change(now, &key, |fields| {
                    fields.extend(draft.fields);
                    fields.retain(|_, value| !value.is_null());
                });
            }
            return;
        }
        let key = new_key(self.store, &target.prefix);
        let mut fields = draft.fields;
        fields.retain(|_, value| !value.is_null());
        fields.insert(if target.name == "LeadAddress" { "LeadId" } else { "EntityId" }.into(), json!(owner));
        fields.insert("IsPrimary".into(), json!(relation == "Address"));
        fields.insert("CreateUser".into(), json!(self.user.id));
        self.store.insert(now, "", target.place(), &key, None, fields);
        self.store.change(now, &entity.store_id(owner), |fields| {
            fields.insert(relation.to_owned(), json!(key));
        });
    }

    /// A note is a change of the record it is about.
    fn after(&mut self, entity: &Entity, key: &str) {
        if entity.name != "History" {
            return;
        }
        let Some(note) = self.store.get(key) else { return };
        let about = ["ContactId", "LeadId"].iter().find_map(|name| note.fields.get(*name)?.as_str().map(str::to_owned));
        let (Some(about), now, user) = (about, self.now, self.user.id.clone()) else { return };
        self.store.change(now, &about, |fields| {
            fields.insert("LastHistoryDate".into(), json!(iso(now)));
            fields.insert("LastHistoryBy".into(), json!(user));
            fields.insert("ModifyUser".into(), json!(user));
        });
    }

    /// When an account gets another name, its contacts' copies follow.
    fn renamed(&mut self, entity: &Entity, before: &Item) {
        let name = |item: Option<&Item>| item.and_then(|item| item.fields.get("AccountName").cloned());
        let after = name(self.store.get(&before.id));
        if entity.name != "Account" || after == name(Some(before)) {
            return;
        }
        let contacts = self.store.items("", "contacts");
        let its = contacts.filter(|contact| contact.fields.get("Account").and_then(Value::as_str) == Some(&before.id));
        let its: Vec<String> = its.map(|contact| contact.id.clone()).collect();
        for key in its {
            self.store.change(self.now, &key, |fields| {
                fields.insert("AccountName".into(), after.clone().unwrap_or_default());
            });
        }
    }

    /// Deletes a record with what hangs on it.
    pub(super) fn delete(&mut self, entity: &Entity, key: &str, expected: Expected<'_>) -> Result<(), Refusal> {
        self.writable(entity)?;
        let item = self.view().find(entity, key).ok_or_else(|| Refusal::not_found(&entity.path, key))?.clone();
        self.may_write(entity, &item)?;
        current(&item, expected)?;
        let holds = |other: &Item, name: &str| other.fields.get(name).and_then(Value::as_str) == Some(key);
        if entity.name == "Account" && self.store.items("", "contacts").any(|contact| holds(contact, "Account")) {
            return Err(Refusal::new(409, "ApplicationDiagnosis", "The account has contacts."));
        }
        let addresses = ["addresses", "leadAddresses"].into_iter().flat_map(|kind| self.store.items("", kind));
        let its = addresses.filter(|address| holds(address, "EntityId") || holds(address, "LeadId"));
        let its: Vec<String> = its.map(|address| address.id.clone()).collect();
        for address in its {
            self.store.remove(self.now, &address);
        }
        self.store.remove(self.now, &item.id);
        let groups: Vec<String> = self.store.items("", "groups").map(|group| group.id.clone()).collect();
        for group in groups {
            set_members(self.store, self.now, &group, &|ids| ids.retain(|id| id != key));
        }
        Ok(())
    }
}

/// Changes who is in an ad hoc group; nothing happens where nothing changes.
pub(super) fn set_members(store: &mut Store, now: i64, group: &str, edit: &dyn Fn(&mut Vec<String>)) {
    let Some(item) = store.get(group) else { return };
    let before: Vec<String> = item
        .fields
        .get("adHocIds")
        .and_then(Value::as_array)
        .map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let mut after = before.clone();
    edit(&mut after);
    if after != before {
        store.change(now, group, |fields| {
            fields.insert("adHocIds".into(), json!(after));
        });
    }
}

fn current(item: &Item, expected: Expected<'_>) -> Result<(), Refusal> {
    match expected.map(|etag| etag.trim().trim_matches('"')) {
        None | Some("*") => Ok(()),
        Some(expected) if expected == etag(item) => Ok(()),
        // Who catches this puts the entry in.
        Some(_) => Err(Refusal::stale(Value::Null)),
    }
}

/// The entity's letter, the site, and a number in base 36: twelve characters.
pub(super) fn new_key(store: &mut Store, prefix: &str) -> String {
    let mut number = store.next_number();
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        let value = u8::try_from(number % 36).unwrap_or_default();
        *digit = if value < 10 { b'0' + value } else { b'A' + value - 10 };
        number /= 36;
    }
    format!("{prefix}DEMOA{}", String::from_utf8_lossy(&digits))
}

/// A lead becomes a contact of a new account, and is no lead any more; the answer is the contact's key.
pub(super) fn convert(change: &mut Change<'_>, lead: &str) -> Result<String, Refusal> {
    let entity = model::by_name("Lead");
    let item = change.view().find(entity, lead).ok_or_else(|| Refusal::not_found("leads", lead))?.clone();
    let text = |name: &str| item.fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let company = if text("Company").is_empty() { text("LastName") } else { text("Company") };
    let account = Map::from_iter([("AccountName".to_owned(), json!(company)), ("Type".to_owned(), json!("Lead"))]);
    let account = change.create(model::by_name("Account"), &account)?;
    let mut contact = item.fields.clone();
    contact.insert("Account".into(), json!(account));
    contact.remove("Address");
    let contact = change.create(model::by_name("Contact"), &contact)?;
    change.delete(entity, lead, None)?;
    Ok(contact)
}
