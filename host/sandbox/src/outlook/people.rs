//! What people do in their mailboxes, and what a tester does to the system.

use serde_json::{Value, json};

use super::call::Reply;
use super::certificate::Certificate;
use super::item::{self, PROPERTIES};
use super::{Graph, contacts, events, folders};
use crate::store::Item;
use crate::system::{Complaint, Edit};

fn senseless(refusal: Reply) -> Complaint {
    match refusal.status {
        404 => Complaint::NoSuchRecord(refusal.body["error"]["message"].as_str().unwrap_or_default().to_owned()),
        _ => Complaint::Senseless(refusal.body["error"]["message"].as_str().unwrap_or_default().to_owned()),
    }
}

impl Graph {
    pub(super) fn edit_as_person(&self, edit: Edit) -> Result<String, Complaint> {
        let Edit { entity, user, id, fields, container } = edit;
        if !self.state().mailboxes.iter().any(|mailbox| mailbox.user == user) {
            return Err(Complaint::Senseless(format!("there is no mailbox `{user}`")));
        }
        let folder = container.map(|name| self.named_folder(&user, &entity, &name)).transpose()?;
        let done = match id {
            Some(id) => {
                let item = self.core.read(|store| store.get(&id).cloned()).filter(|item| item.owner == user);
                let item = item.ok_or_else(|| Complaint::NoSuchRecord(id.clone()))?;
                if let Some(folder) = &folder {
                    self.core.write(|store, now| {
                        store.relocate(now, &id, Some(folder), None);
                    });
                }
                if !fields.is_empty() {
                    self.change_item(&item, |held| set(&item.entity, held, &fields)).map_err(senseless)?;
                }
                id
            }
            None if entity == "folder" => {
                let name = fields.get("displayName").and_then(Value::as_str).unwrap_or_default();
                self.make_folder(&user, &folders::default_folder(&user), name).map_err(senseless)?.id
            }
            None => {
                let entity = if entity.is_empty() { "contact" } else { entity.as_str() };
                let default =
                    if entity == "event" { folders::default_calendar(&user) } else { folders::default_folder(&user) };
                let folder = folder.unwrap_or(default);
                self.make_item(&user, entity, &folder, |held| set(entity, held, &fields)).map_err(senseless)?.id
            }
        };
        self.tell_subscribers();
        Ok(done)
    }

    /// A folder by its name; `Deleted Items` is one, too.
    fn named_folder(&self, user: &str, entity: &str, name: &str) -> Result<String, Complaint> {
        if name.eq_ignore_ascii_case("Deleted Items") {
            return Ok(folders::deleted_items(user));
        }
        if entity != "event" && ["", "contacts"].contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(folders::default_folder(user));
        }
        let (kind, member) = if entity == "event" { ("calendar", "name") } else { ("folder", "displayName") };
        let called = |item: &&Item| item.id == name || item.fields.get(member).and_then(Value::as_str) == Some(name);
        let found = self.core.read(|store| store.items(user, kind).find(called).map(|item| item.id.clone()));
        found.ok_or_else(|| Complaint::Senseless(format!("`{user}` has no folder `{name}`")))
    }

    pub(super) fn delete_as_person(&self, user: &str, id: &str) -> Result<(), Complaint> {
        let moved = self.core.write(|store, now| {
            let owner = store.get(id).map(|item| item.owner.clone())?;
            if !user.is_empty() && user != owner {
                return None;
            }
            store.relocate(now, id, Some(&folders::deleted_items(&owner)), None).map(|_| ())
        });
        self.tell_subscribers();
        moved.ok_or_else(|| Complaint::NoSuchRecord(id.to_owned()))
    }

    /// A contact that comes with its whole mailbox: under a new id, with everything else that it had.
    fn import(&self, user: &str, contact: &Value) -> Result<String, Reply> {
        let body = super::mailbox::members(contact)?;
        let item = self.make_item(user, "contact", &folders::default_folder(user), |held| contacts::set(held, body))?;
        let properties = contact[PROPERTIES].as_array().map_or(&[][..], Vec::as_slice);
        self.change_item(&item, |held| item::set_properties(held, properties))?;
        Ok(item.id)
    }

    pub(super) fn obey(&self, name: &str, arguments: &Value) -> Result<Value, Complaint> {
        let text = |member: &str| arguments[member].as_str().unwrap_or_default().to_owned();
        let on = arguments["on"].as_bool().unwrap_or(true);
        let mut state = self.state();
        match name {
            "drop_tokens" => {
                let user = text("user");
                let named = state.mailboxes.iter_mut().filter(|mailbox| user.is_empty() || mailbox.user == user);
                named.for_each(|mailbox| mailbox.generation += 1);
            }
            "expire_tokens" => state.issued.end_tokens(),
            "withdraw_consent" => state.issued.end_consents(),
            "strict_refresh" => state.issued.strict = on,
            "sign_in" => {
                let token = state.issued.consent(&text("user"));
                return Ok(json!({ "refresh_token": token }));
            }
            "approve_device" => {
                if !state.issued.approve(&text("user_code"), &text("user")) {
                    return Err(Complaint::Senseless("no device waits for this code".into()));
                }
            }
            "secret" => state.issued.secret = text("value"),
            "certificate" => {
                let certificate = Certificate::of_pem(&text("pem"));
                let certificate = certificate.ok_or_else(|| Complaint::Senseless("`pem` is no certificate".into()))?;
                state.issued.certificate = Some(certificate);
            }
            "demand_claims" => {
                state.issued.demand(text("claims"), arguments["interactive"].as_bool().unwrap_or_default());
            }
            "mailbox" => {
                let (user, wanted) = (text("user"), text("state"));
                let mailbox = state.mailboxes.iter_mut().find(|mailbox| mailbox.user == user);
                let mailbox = mailbox.ok_or_else(|| Complaint::Senseless(format!("there is no mailbox `{user}`")))?;
                mailbox.state = wanted;
            }
            "moving_keys" => state.moving_keys = on,
            "empty_pages" => state.empty_pages = on,
            "limits" => {
                if let Some(requests) = arguments["requests"].as_u64() {
                    state.most_requests = requests;
                }
                if let Some(most) = arguments["in_flight"].as_u64() {
                    state.most_in_flight = usize::try_from(most).unwrap_or(usize::MAX);
                }
            }
            "import" => {
                drop(state);
                let id = self.import(&text("user"), &arguments["contact"]).map_err(senseless)?;
                return Ok(json!({ "id": id }));
            }
            "lifecycle" => {
                drop(state);
                self.tell_lifecycle(&text("event"));
            }
            "bump" => {
                drop(state);
                let (user, id) = (text("user"), text("id"));
                self.core.write(|store, now| {
                    let items = store.items(&user, "contact").chain(store.items(&user, "event"));
                    let ids: Vec<String> =
                        items.map(|item| item.id.clone()).filter(|known| id.is_empty() || *known == id).collect();
                    for id in &ids {
                        store.touch(now, id);
                    }
                });
            }
            other => return Err(Complaint::NoSuchCommand(other.to_owned())),
        }
        Ok(json!({}))
    }
}

fn set(entity: &str, held: &mut crate::store::Fields, fields: &crate::store::Fields) -> Result<(), Reply> {
    match entity {
        "contact" => contacts::set(held, fields),
        "event" => events::set(held, fields),
        _ => {
            held.extend(fields.clone());
            Ok(())
        }
    }
}
