//! What a person or an administrator does in this system, and what a test does to it.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::model::{self, Entity};
use super::settings::{Access, IfMatch, Settings};
use super::write::{Change, convert, set_members};
use super::{InforCrm, data};
use crate::store::Store;
use crate::system::{Complaint, Edit};

fn complaint(refusal: Refusal) -> Complaint {
    Complaint::Senseless(refusal.message)
}

/// The rules hold for people too, but nobody sends an etag by hand.
fn by_hand(settings: &Settings) -> Settings {
    Settings { if_match: IfMatch::Optional, ..settings.clone() }
}

pub(super) fn edit(crm: &InforCrm, edit: Edit) -> Result<String, Complaint> {
    let settings = by_hand(&crm.settings());
    let user = InforCrm::person(&settings, &edit.user)?;
    crm.core.write(|store, now| {
        let entity = match &edit.id {
            Some(id) => entity_of(store, id)?,
            None => model::by_place(&edit.entity).ok_or_else(|| {
                let known: Vec<&str> = model::all().map(|entity| entity.path.as_str()).collect();
                Complaint::Senseless(format!("there is no entity `{}`; there are: {}", edit.entity, known.join(", ")))
            })?,
        };
        let mut change = Change { store, settings: &settings, user: &user, now };
        let id = match edit.id {
            Some(id) => change.update(entity, entity.key_of(&id), &edit.fields, None).map(|()| id),
            None => change.create(entity, &edit.fields),
        };
        let id = id.map_err(complaint)?;
        if let Some(container) = &edit.container {
            let group = group(store, &user.id, container)?;
            set_members(store, now, &group, &|ids| join(ids, &id));
        }
        Ok(id)
    })
}

pub(super) fn delete(crm: &InforCrm, user: &str, id: &str) -> Result<(), Complaint> {
    let settings = by_hand(&crm.settings());
    let user = InforCrm::person(&settings, user)?;
    crm.core.write(|store, now| {
        let entity = entity_of(store, id)?;
        Change { store, settings: &settings, user: &user, now }
            .delete(entity, entity.key_of(id), None)
            .map_err(complaint)
    })
}

fn entity_of(store: &Store, id: &str) -> Result<&'static Entity, Complaint> {
    let item = store.get(id).ok_or_else(|| Complaint::NoSuchRecord(id.to_owned()))?;
    model::by_place(&item.entity).ok_or_else(|| Complaint::NoSuchRecord(id.to_owned()))
}

fn join(ids: &mut Vec<String>, id: &str) {
    if !ids.iter().any(|there| there == id) {
        ids.push(id.to_owned());
    }
}

/// A group by its key, or by its name among the user's own.
fn group(store: &Store, user: &str, wanted: &str) -> Result<String, Complaint> {
    let text = |fields: &crate::store::Fields, name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut groups = store.items("", "groups").filter(|group| {
        let own = text(&group.fields, "userId").as_deref() == Some(user);
        group.id == wanted || (own && text(&group.fields, "name").as_deref() == Some(wanted))
    });
    let found = groups.next().map(|group| group.id.clone());
    found.ok_or_else(|| Complaint::Senseless(format!("there is no group `{wanted}`")))
}

pub(super) fn command(crm: &InforCrm, name: &str, arguments: &Value) -> Result<Value, Complaint> {
    let text = |name: &str| {
        let missing = || Complaint::Senseless(format!("`{name}` is missing"));
        arguments[name].as_str().map(str::to_owned).ok_or_else(missing)
    };
    let access = || {
        let access = serde_json::from_value::<Access>(arguments["access"].clone());
        access.map_err(|_| Complaint::Senseless("`access` is one of none, read, write".into()))
    };
    match name {
        "settings" => crm.change_settings(|settings| {
            let changes = arguments.as_object().cloned().unwrap_or_default();
            *settings = settings.changed(&changes).map_err(|wrong| Complaint::Senseless(wrong.to_string()))?;
            let version = data::version(settings);
            crm.core.write(|store, now| store.change(now, data::VERSION, |fields| *fields = version).is_some());
            Ok(json!(settings))
        }),
        "user" => crm.change_settings(|settings| {
            let login = text("login")?;
            let user = settings.users.iter_mut().find(|user| user.login == login);
            let user = user.ok_or_else(|| Complaint::Senseless(format!("there is no user `{login}`")))?;
            let mut changed = json!(user);
            for (name, value) in arguments.as_object().into_iter().flatten() {
                changed[name] = value.clone();
            }
            *user = serde_json::from_value(changed).map_err(|wrong| Complaint::Senseless(wrong.to_string()))?;
            Ok(json!(user))
        }),
        "rights" => crm.change_settings(|settings| {
            let user = InforCrm::person(settings, &text("user")?)?;
            settings.rights.entry(text("owner")?).or_default().insert(user.id, access()?);
            Ok(json!({}))
        }),
        "field" => crm.change_settings(|settings| {
            let user = InforCrm::person(settings, &text("user")?)?;
            settings.fields.entry(user.login).or_default().insert(text("field")?, access()?);
            Ok(json!({}))
        }),
        "join" | "leave" => {
            let user = InforCrm::person(&crm.settings(), &text("user")?)?;
            let ids: Vec<String> = serde_json::from_value(arguments["ids"].clone())
                .map_err(|_| Complaint::Senseless("`ids` is a list of keys".into()))?;
            crm.core.write(|store, now| {
                let group = group(store, &user.id, &text("group")?)?;
                set_members(store, now, &group, &|members| {
                    if name == "join" {
                        ids.iter().for_each(|id| join(members, id));
                    } else {
                        members.retain(|member| !ids.contains(member));
                    }
                });
                Ok(json!({ "group": group }))
            })
        }
        "convert" => {
            let settings = by_hand(&crm.settings());
            let user = InforCrm::person(&settings, &text("user")?)?;
            let id = text("id")?;
            crm.core.write(|store, now| {
                let contact = convert(&mut Change { store, settings: &settings, user: &user, now }, &id);
                contact.map(|id| json!({ "id": id })).map_err(complaint)
            })
        }
        "end_sessions" => {
            crm.logins.end_sessions();
            Ok(json!({}))
        }
        "touch" => {
            let id = text("id")?;
            let touched = crm.core.write(|store, now| store.touch(now, &id).is_some());
            if touched { Ok(json!({})) } else { Err(Complaint::NoSuchRecord(id)) }
        }
        other => Err(Complaint::NoSuchCommand(other.to_owned())),
    }
}
