//! A mailbox answers: limits first, then the resource that the path names.

use serde_json::{Map, Value, json};

use super::call::{Answer, Call, Reply, either};
use super::oauth::Bearer;
use super::{Graph, Mailbox, contacts, events, folders, item, lists};
use crate::store::{Fields, Item};

/// Requests are counted over so long.
const PERIOD: i64 = 600_000;

/// Entries on a page of a listing, where the client does not say.
const TOP: usize = 10;
const MOST: usize = 999;

/// Gives a place in the row back.
struct Turn<'a>(&'a Graph, String);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(mailbox) = state.mailboxes.iter_mut().find(|mailbox| mailbox.user == self.1) {
            mailbox.in_flight = mailbox.in_flight.saturating_sub(1);
        }
    }
}

impl Graph {
    /// One request, unless there are too many.
    pub(super) fn admitted(&self, call: &Call) -> Answer {
        let bearer = self.authenticate(call)?;
        let words = call.words();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["users"] => return Ok(self.list_users()),
            ["users", _, ..] | ["me", ..] => {}
            _ => return Err(Reply::error(404, "ResourceNotFound", "Resource not found for the segment.")),
        }
        if words[0] == "me" && bearer == Bearer::Application {
            let message = "/me request is only valid with delegated authentication flow.";
            return Err(Reply::error(400, "BadRequest", message));
        }
        let Some(mailbox) = self.mailbox_of(call) else {
            let name = call.path.get(1).cloned().unwrap_or_default();
            return Err(Reply::error(404, "ErrorInvalidUser", &format!("The requested user '{name}' is invalid.")));
        };
        if let Bearer::Person(person) = &bearer
            && *person != mailbox.user
        {
            return Err(Reply::error(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."));
        }
        let rest = call.path[if words[0] == "me" { 1 } else { 2 }..].to_vec();
        if rest.is_empty() {
            return Ok(Reply::ok(user(&mailbox)));
        }
        match mailbox.state.as_str() {
            "on_premises" => {
                let message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
                return Err(Reply::error(404, "MailboxNotEnabledForRESTAPI", message));
            }
            "missing" => {
                let message = format!("The requested user '{}' is invalid.", mailbox.user);
                return Err(Reply::error(404, "ErrorInvalidUser", &message));
            }
            "forbidden" => {
                return Err(Reply::error(
                    403,
                    "ErrorAccessDenied",
                    "Access is denied. Check credentials and try again.",
                ));
            }
            _ => {}
        }
        let _turn = self.take_turn(&mailbox.user)?;
        self.move_keys(&mailbox.user);
        self.resource(call, &mailbox, &rest)
    }

    fn take_turn(&self, user: &str) -> Result<Turn<'_>, Reply> {
        let now = self.core.now();
        let mut state = self.state();
        let (requests, in_flight) = (state.most_requests, state.most_in_flight);
        let Some(mailbox) = state.mailboxes.iter_mut().find(|mailbox| mailbox.user == user) else {
            return Err(Reply::not_found());
        };
        let busy = |message: &str, seconds: i64| {
            Err(Reply::error(429, "ApplicationThrottled", message).header("Retry-After", seconds.max(1).to_string()))
        };
        if now - mailbox.requests.0 >= PERIOD {
            mailbox.requests = (now, 0);
        }
        if mailbox.requests.1 >= requests {
            let seconds = (mailbox.requests.0 + PERIOD - now) / 1000;
            return busy("Application is over its RequestCount limit.", seconds);
        }
        if mailbox.in_flight >= in_flight {
            return busy("Application is over its MailboxConcurrency limit.", 1);
        }
        mailbox.requests.1 += 1;
        mailbox.in_flight += 1;
        Ok(Turn(self, user.to_owned()))
    }

    /// Change keys that move by themselves do so between two requests.
    fn move_keys(&self, user: &str) {
        let mut state = self.state();
        let Some(mailbox) = state.mailboxes.iter_mut().find(|mailbox| mailbox.user == user) else { return };
        let moving = std::mem::take(&mut mailbox.moving);
        drop(state);
        if !moving.is_empty() {
            self.core.write(|store, now| {
                for id in &moving {
                    store.touch(now, id);
                }
            });
        }
    }

    fn resource(&self, call: &Call, mailbox: &Mailbox, rest: &[String]) -> Answer {
        let words: Vec<String> = rest.iter().map(|word| word.to_ascii_lowercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let user = mailbox.user.as_str();
        let method = call.method.as_str();
        match (method, words.as_slice()) {
            (_, ["contacts" | "contactfolders", ..]) => self.contact_resource(call, user, rest, &words),
            (_, ["events" | "calendar" | "calendars" | "calendarview", ..]) => {
                self.calendar_resource(call, user, rest, &words)
            }
            ("GET", ["mailboxsettings"]) => {
                Ok(Reply::ok(json!({ "timeZone": "W. Europe Standard Time", "userPurpose": "user" })))
            }
            ("GET", ["mailboxsettings", "timezone"]) => Ok(Reply::ok(json!({ "value": "W. Europe Standard Time" }))),
            (_, ["outlook", "mastercategories"]) => self.categories(call, user, None),
            (_, ["outlook", "mastercategories", id]) => self.categories(call, user, Some(id)),
            ("GET", ["outlook", zones]) => lists::time_zones(zones),
            ("POST", ["translateexchangeids" | "microsoft.graph.translateexchangeids"]) => {
                self.translate_ids(call, user)
            }
            _ => Err(Reply::error(404, "ResourceNotFound", "Resource not found for the segment.")),
        }
    }

    fn list_users(&self) -> Reply {
        Reply::ok(json!({ "value": self.state().mailboxes.iter().map(user).collect::<Vec<_>>() }))
    }

    fn contact_resource(&self, call: &Call, user: &str, rest: &[String], words: &[&str]) -> Answer {
        let default = folders::default_folder(user);
        match (call.method.as_str(), words) {
            ("GET", ["contacts"]) => self.list_contacts(call, user, &default),
            ("POST", ["contacts"]) => self.create_contact(call, user, &default),
            ("GET", ["contacts", delta]) if is_delta(delta) => self.contact_delta(call, user, &default),
            (_, ["contacts", _, ..]) => self.one_contact(call, user, &rest[1], &words[2..]),
            (_, ["contactfolders"]) => self.contact_folders(call, user, &default),
            ("GET", ["contactfolders", delta]) if is_delta(delta) => {
                let scope = super::delta::Scope { owner: user, entity: "folder", container: None };
                self.delta(call, &scope, |item, _| vec![folders::show(item, call)])
            }
            (_, ["contactfolders", _, inner @ ..]) => {
                let folder = self.folder(user, &rest[1])?;
                match (call.method.as_str(), inner) {
                    ("GET", ["contacts"]) => self.list_contacts(call, user, &folder.id),
                    ("POST", ["contacts"]) => self.create_contact(call, user, &folder.id),
                    ("GET", ["contacts", delta]) if is_delta(delta) => self.contact_delta(call, user, &folder.id),
                    (_, ["contacts", _, ..]) => self.one_contact(call, user, &rest[3], &inner[2..]),
                    (_, ["childfolders"]) => self.contact_folders(call, user, &folder.id),
                    _ => self.one_folder(call, user, &folder, inner),
                }
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    fn list_contacts(&self, call: &Call, user: &str, folder: &str) -> Answer {
        let show = |item: &Item| contacts::show(item, call, "", "");
        let kept = |item: &Item| item.container.as_deref() == Some(folder);
        self.list(call, user, "contact", kept, show, |item| {
            contacts::show(
                item,
                call,
                call.option("select").unwrap_or_default(),
                call.option("expand").unwrap_or_default(),
            )
        })
    }

    /// A listing by pages; filters look at the whole item.
    pub(super) fn list(
        &self,
        call: &Call,
        user: &str,
        entity: &str,
        kept: impl Fn(&Item) -> bool,
        whole: impl Fn(&Item) -> Value,
        show: impl Fn(&Item) -> Value,
    ) -> Answer {
        let filter =
            call.option("filter").filter(|text| !text.is_empty()).map(super::filter::Filter::parse).transpose()?;
        let top = call.number("top").or_else(|| call.preference("odata.maxpagesize")?.parse().ok()).unwrap_or(TOP);
        if top == 0 || top > MOST + 1 {
            return Err(Reply::error(400, "ErrorInvalidUrlQuery", "The value of $top must be between 1 and 1000."));
        }
        let skip = call.number("skip").unwrap_or_default();
        let link = |skip: usize| {
            let mut options: Vec<(&str, String)> = Vec::new();
            for name in ["select", "expand", "filter", "orderby"] {
                options.extend(call.option(name).map(|value| (name, value.to_owned())));
            }
            let options: Vec<(String, String)> =
                options.into_iter().map(|(name, value)| (format!("${name}"), value)).collect();
            let mut all: Vec<(&str, String)> =
                options.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            all.extend([("$top", top.to_string()), ("$skip", skip.to_string())]);
            call.link(&all)
        };
        if self.state().empty_pages && call.option("skip").is_none() {
            return Ok(Reply::ok(json!({ "value": [], "@odata.nextLink": link(0) })));
        }
        let (page, more) = self.core.read(|store| {
            let fits =
                |item: &&Item| kept(item) && filter.as_ref().is_none_or(|filter| filter.fits(item, &whole(item)));
            let mut rest = store.items(user, entity).filter(fits).skip(skip);
            let page: Vec<Value> = rest.by_ref().take(top).map(&show).collect();
            (page, rest.next().is_some())
        });
        let mut body =
            json!({ "@odata.context": format!("{}/v1.0/$metadata#Collection({entity})", call.base), "value": page });
        if more {
            body["@odata.nextLink"] = json!(link(skip + top));
        }
        Ok(Reply::ok(body))
    }

    fn contact_delta(&self, call: &Call, user: &str, folder: &str) -> Answer {
        for refused in ["filter", "orderby", "search", "expand"] {
            if call.option(refused).is_some() {
                let message = format!("${refused} is not supported with delta queries on this resource.");
                return Err(Reply::error(400, "ErrorInvalidUrlQuery", &message));
            }
        }
        let scope = super::delta::Scope { owner: user, entity: "contact", container: Some(folder) };
        self.delta(call, &scope, |item, token| vec![contacts::show(item, call, &token.select, "")])
    }

    fn create_contact(&self, call: &Call, user: &str, folder: &str) -> Answer {
        let body = members(&call.body)?;
        let item = self.make_item(user, "contact", folder, |fields| contacts::set(fields, body))?;
        Ok(Reply::json(201, self.contact(call, &item)))
    }

    fn contact(&self, call: &Call, item: &Item) -> Value {
        contacts::show(item, call, call.option("select").unwrap_or_default(), call.option("expand").unwrap_or_default())
    }

    /// An item of this mailbox and kind, wherever it lies.
    pub(super) fn item(&self, user: &str, entity: &str, shown: &str) -> Result<Item, Reply> {
        if !(shown.starts_with("AAMkAD") || shown.starts_with("AAkALg") || shown.starts_with("OID.")) {
            return Err(Reply::error(400, "ErrorInvalidIdMalformed", "Id is malformed."));
        }
        let found = self.core.read(|store| store.get(&item::stored_id(shown)).cloned());
        let fits = |item: &Item| item.owner == user && item.entity == entity && item::is_current(shown, item);
        found.filter(fits).ok_or_else(Reply::not_found)
    }

    fn one_contact(&self, call: &Call, user: &str, shown: &str, words: &[&str]) -> Answer {
        let item = self.item(user, "contact", shown)?;
        match (call.method.as_str(), words) {
            ("GET", []) => Ok(Reply::ok(self.contact(call, &item))),
            ("PATCH", []) => {
                item::precondition(call, &item)?;
                let changed = self.change_item(&item, |fields| contacts::set(fields, members(&call.body)?))?;
                Ok(Reply::ok(self.contact(call, &changed)))
            }
            ("DELETE", []) => self.remove_item(call, &item, false),
            ("POST", ["permanentdelete" | "microsoft.graph.permanentdelete"]) => self.remove_item(call, &item, true),
            (_, ["photo", words @ ..]) => self.photo(call, &item, words),
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    /// Makes an item; its change key may move by itself afterwards.
    pub(super) fn make_item(
        &self,
        user: &str,
        entity: &str,
        folder: &str,
        set: impl FnOnce(&mut Fields) -> Result<(), Reply>,
    ) -> Result<Item, Reply> {
        let mut fields = Fields::new();
        set(&mut fields)?;
        let item = self.core.write(|store, now| {
            let number = store.next_number();
            let id = item::immutable(number);
            // Nobody may set the store's own key.
            let key = json!([{ "id": item::SEARCH_KEY, "value": super::oauth::base64(format!("key{number:013}").as_bytes()) }]);
            let _ = item::set_properties(&mut fields, key.as_array().map_or(&[][..], Vec::as_slice));
            store.insert(now, user, entity, &id, Some(folder), fields).clone()
        });
        let mut state = self.state();
        if state.moving_keys
            && let Some(mailbox) = state.mailboxes.iter_mut().find(|mailbox| mailbox.user == user)
        {
            mailbox.moving.push(item.id.clone());
        }
        Ok(item)
    }

    pub(super) fn change_item(
        &self,
        item: &Item,
        set: impl FnOnce(&mut Fields) -> Result<(), Reply>,
    ) -> Result<Item, Reply> {
        let mut fields = item.fields.clone();
        set(&mut fields)?;
        let changed = self.core.write(|store, now| store.change(now, &item.id, |held| *held = fields).cloned());
        changed.ok_or_else(Reply::not_found)
    }

    /// To the deleted items, or for good.
    pub(super) fn remove_item(&self, call: &Call, item: &Item, for_good: bool) -> Answer {
        item::precondition(call, item)?;
        self.core.write(|store, now| {
            let bin = folders::deleted_items(&item.owner);
            if for_good || item.container.as_deref() == Some(bin.as_str()) {
                store.remove(now, &item.id);
            } else {
                store.relocate(now, &item.id, Some(&bin), None);
            }
        });
        Ok(Reply::empty(204))
    }
}

/// A body's members.
pub(super) fn members(body: &Value) -> Result<&Map<String, Value>, Reply> {
    body.as_object().ok_or_else(|| Reply::error(400, "RequestBodyRead", "The request body is not an object."))
}

/// The three spellings of a delta.
pub(super) fn is_delta(word: &str) -> bool {
    ["delta", "delta()", "microsoft.graph.delta()", "microsoft.graph.delta"].contains(&word)
}

fn user(mailbox: &Mailbox) -> Value {
    json!({
        "id": mailbox.id,
        "userPrincipalName": mailbox.user,
        "mail": mailbox.user,
        "displayName": mailbox.name,
        "accountEnabled": true,
    })
}

/// Events answer through the same door.
impl Graph {
    fn calendar_resource(&self, call: &Call, user: &str, rest: &[String], words: &[&str]) -> Answer {
        Ok(either(events::handle(self, call, user, rest, words)))
    }
}
