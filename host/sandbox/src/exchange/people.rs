//! What people have in their mailboxes, and what they do there themselves.

use serde_json::{Value, json};

use super::items::{as_stored, finish, make, relocate, throw_away};
use super::mailbox::{self, FOLDER, folder, folders_beneath, make_folders, object};
use super::properties::shown;
use super::xml::Problem;
use super::{Exchange, SERVICE};
use crate::people::Person;
use crate::population::{Contact, Population};
use crate::store::{Fields, Store};
use crate::system::{Complaint, Edit};

impl Exchange {
    pub(super) fn fill(&self, people: &Population) {
        let mut state = self.state();
        state.doorman.add(SERVICE.0, SERVICE.1);
        for user in &people.users {
            state.doorman.add(&user.login, &user.password);
            state.logins.push((user.email.clone(), user.login.clone(), user.password.clone()));
        }
        drop(state);
        self.core.write(|store, at| {
            for (number, user) in people.users.iter().enumerate() {
                make_folders(store, at, &user.email);
                let root = folder(store, &user.email, "root").map(|root| root.id.clone()).unwrap_or_default();
                let name = format!("{} {}", user.given, user.surname);
                store.change(at, &root, |fields| drop(fields.insert("OwnerName".into(), json!(name))));
                let Some(contacts) = folder(store, &user.email, "contacts").map(|folder| folder.id.clone()) else {
                    continue;
                };
                for contact in people.contacts_of(number).filter(|contact| contact.in_mailbox) {
                    let _ = make(store, at, &user.email, &contacts, "contact", fields(contact), None);
                }
            }
        });
    }

    pub(super) fn edited(&self, edit: Edit) -> Result<String, Complaint> {
        self.core.write(|store, at| {
            let container = match &edit.container {
                Some(name) => Some(place(store, &edit.user, name)?),
                None => None,
            };
            let Some(id) = edit.id else {
                return made(store, at, &edit.user, &edit.entity, container, edit.fields);
            };
            let item = store.get(&id).filter(|item| item.owner == edit.user || edit.user.is_empty()).cloned();
            let item = item.ok_or_else(|| Complaint::NoSuchRecord(id.clone()))?;
            if edit.fields.is_empty() && container.is_none() {
                store.touch(at, &id);
                return Ok(id);
            }
            if !edit.fields.is_empty() {
                let mut fields = item.fields.clone();
                merge(&mut fields, edit.fields);
                finish(&item.entity, &mut fields, Some(&item.fields), None).map_err(complaint)?;
                store.change(at, &id, |stored| *stored = fields);
            }
            match container {
                Some(container) if item.entity == FOLDER => {
                    store.relocate(at, &id, Some(&container), None);
                    Ok(id)
                }
                Some(container) => relocate(store, at, &id, &container).map_err(complaint),
                None => Ok(id),
            }
        })
    }

    pub(super) fn deleted(&self, user: &str, id: &str) -> Result<(), Complaint> {
        self.core.write(|store, at| {
            let item = store.get(id).filter(|item| item.owner == user || user.is_empty()).cloned();
            let item = item.ok_or_else(|| Complaint::NoSuchRecord(id.to_owned()))?;
            throw_away(store, at, &item, "MoveToDeletedItems");
            Ok(())
        })
    }
}

fn made(
    store: &mut Store,
    at: i64,
    user: &str,
    entity: &str,
    container: Option<String>,
    given: Fields,
) -> Result<String, Complaint> {
    let default = match entity {
        "contact" | "list" => "contacts",
        "event" => "calendar",
        FOLDER => "msgfolderroot",
        other => {
            return Err(Complaint::Senseless(format!(
                "a mailbox has no `{other}`; it has contact, event, list, folder"
            )));
        }
    };
    let here = match container {
        Some(container) => container,
        None => folder(store, user, default)
            .map(|folder| folder.id.clone())
            .ok_or_else(|| Complaint::Senseless(format!("there is no mailbox `{user}`")))?,
    };
    let mut fields = Fields::new();
    merge(&mut fields, given);
    if entity == FOLDER {
        let parent = store.get(&here).cloned().ok_or_else(|| Complaint::NoSuchRecord(here.clone()))?;
        let text = |key: &str| fields.get(key).map(shown).unwrap_or_default();
        let class = Some(text("FolderClass")).filter(|class| !class.is_empty()).unwrap_or_else(|| "IPF.Contact".into());
        return super::folders::make_folder(store, at, &parent, &text("DisplayName"), &class).map_err(complaint);
    }
    make(store, at, user, &here, entity, fields, None).map_err(complaint)
}

fn merge(fields: &mut Fields, new: Fields) {
    for (key, value) in new {
        match value {
            Value::Null => drop(fields.remove(&key)),
            value => drop(fields.insert(key, as_stored(value))),
        }
    }
}

fn complaint(problem: Problem) -> Complaint {
    Complaint::Senseless(format!("{}: {}", problem.code, problem.text))
}

/// A folder by its id, its distinguished id, or its name.
fn place(store: &Store, user: &str, name: &str) -> Result<String, Complaint> {
    if store.get(name).is_some_and(|item| item.entity == FOLDER) {
        return Ok(name.to_owned());
    }
    let known = folder(store, user, name).map(|folder| folder.id.clone());
    let named = || {
        let root = folder(store, user, "root")?;
        let all = folders_beneath(store, root);
        let found = all.iter().find(|folder| folder.fields.get("DisplayName").map(shown).as_deref() == Some(name));
        found.map(|folder| folder.id.clone())
    };
    known.or_else(named).ok_or_else(|| Complaint::NoSuchRecord(name.to_owned()))
}

/// Takes an item out of the deleted items, back to a folder.
pub(super) fn in_trash(store: &Store, id: &str) -> bool {
    store.get(id).and_then(|item| item.container.as_deref()).is_some_and(|folder| mailbox::is_trash(store, folder))
}

/// A contact as Outlook would have stored it.
fn fields(contact: &Contact) -> Fields {
    let person: &Person = &contact.person;
    let mut fields = object(json!({
        "GivenName": person.given,
        "Surname": person.surname,
        "DisplayName": person.full_name(),
        "FileAs": format!("{}, {}", person.surname, person.given),
        "FileAsMapping": "LastCommaFirst",
        "CompanyName": contact.company,
        "Department": person.unit,
        "JobTitle": person.title,
        "PhoneNumbers/BusinessPhone": person.phones[0],
        "PhoneNumbers/MobilePhone": person.phones[1],
        "PhoneNumbers/HomePhone": person.phones[2],
        "PhysicalAddresses/Business/Street": person.street,
        "PhysicalAddresses/Business/City": person.town,
        "PhysicalAddresses/Business/State": person.region,
        "PhysicalAddresses/Business/PostalCode": person.postcode,
        "PhysicalAddresses/Business/CountryOrRegion": person.country,
        "BusinessHomePage": person.web,
        "Body": person.note,
        "BodyType": "Text",
        "Categories": person.categories,
    }));
    if !person.birthday.is_empty() {
        fields.insert("Birthday".into(), json!(format!("{}T00:00:00Z", person.birthday)));
    }
    for (number, address) in (1..=3).zip(&person.emails) {
        fields.insert(format!("EmailAddresses/EmailAddress{number}"), json!(address));
    }
    fields.retain(|_, value| !shown(value).is_empty());
    fields
}
