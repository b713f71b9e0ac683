//! One request, from its target to its answer; also each part of a batch.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Body, Refusal, reason};
use super::entry::{Writer, related};
use super::model::{self, Entity};
use super::settings::{Settings, User};
use super::shape::Shape;
use super::target::{Selector, Target};
use super::view::{View, etag};
use super::write::Change;
use crate::core::Core;
use crate::faults::Asked;
use crate::journal::Entry;

/// A request whose user is known.
pub(super) struct Ask<'a> {
    pub(super) core: &'a Core,
    pub(super) settings: &'a Settings,
    pub(super) user: &'a User,
    pub(super) method: &'a str,
    pub(super) target: &'a Target,
    pub(super) if_match: Option<&'a str>,
    pub(super) if_none_match: Option<&'a str>,
    /// The body as JSON has it; null where there is none.
    pub(super) body: &'a Value,
    /// The number of the request in the journal; 0 inside a batch.
    pub(super) number: u64,
}

impl Ask<'_> {
    /// `http://127.0.0.1:1234/sdata/slx`
    fn base(&self) -> String {
        format!("{}{}/slx", self.core.base_url(), self.target.root)
    }

    fn read<T>(&self, look: impl FnOnce(&Writer<'_>) -> T) -> T {
        let now = self.core.now();
        self.core.read(|store| {
            let view = View { store, settings: self.settings, user: self.user };
            look(&Writer { view, base: self.base(), now })
        })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Change<'_>) -> T) -> T {
        self.core.write(|store, now| work(&mut Change { store, settings: self.settings, user: self.user, now }))
    }

    pub(super) fn answer(&self) -> Result<Answer, Refusal> {
        let target = self.target;
        if self.settings.off {
            return Err(Refusal::new(404, "ApplicationUnavailable", "SData is switched off on this server."));
        }
        if target.contract != "dynamic" && self.settings.is_ancient() {
            return Err(Refusal::new(
                404,
                "ContractNotFound",
                format!("The contract '{}' is not known.", target.contract),
            ));
        }
        if target.kind.is_empty() {
            return self.kinds();
        }
        if target.kind.eq_ignore_ascii_case("$service") {
            return self.service();
        }
        let known = model::by_path(&target.contract, &target.kind).filter(|entity| self.is_offered(entity));
        let entity = known.ok_or_else(|| {
            Refusal::new(404, "ResourceKindNotFound", format!("The resource kind '{}' is not available.", target.kind))
        })?;
        let rest: Vec<String> = target.rest.iter().map(|part| part.to_lowercase()).collect();
        match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => self.resource(entity),
            ["$batch"] => self.batch(),
            ["$template"] => self.template(entity),
            ["$queries", "execute"] if entity.name == "Group" => self.members(),
            [relation] if !relation.starts_with('$') => self.related(entity, relation),
            _ => Err(Refusal::bad_url(format!("'{}' is not known here.", target.rest.join("/")))),
        }
    }

    fn is_offered(&self, entity: &Entity) -> bool {
        let old = self.settings.is_old() && ["SystemOption", "LeadAddress"].contains(&entity.name.as_str());
        !old && !self.settings.kinds_off.contains(&entity.path)
    }

    fn resource(&self, entity: &Entity) -> Result<Answer, Refusal> {
        let key = match &self.target.selector {
            Some(Selector::Key(key)) => Some(key.as_str()),
            Some(Selector::Condition(_)) => Some(""),
            None => None,
        };
        match (self.method, key) {
            ("GET", None | Some("")) => self.read(|writer| writer.feed(self.target, entity, None)).map(feed),
            ("GET", Some(key)) => self.entry(entity, key, 200),
            ("POST", None) => {
                let key = self.write(|change| change.create(entity, object(self.body)?))?;
                let mut answer = self.entry(entity, &key, 201)?;
                answer.location = Some(self.read(|writer| writer.url(entity, &key)));
                Ok(answer)
            }
            ("PUT", Some(key)) if !key.is_empty() => {
                let done = self.write(|change| change.update(entity, key, object(self.body)?, self.if_match));
                self.with_current(entity, key, done)?;
                self.entry(entity, key, 200)
            }
            ("DELETE", Some(key)) if !key.is_empty() => {
                let done = self.write(|change| change.delete(entity, key, self.if_match));
                self.with_current(entity, key, done)?;
                Ok(Answer::new(200, Body::Empty))
            }
            _ => Err(Refusal::new(405, "ApplicationDiagnosis", format!("{} is not possible here.", self.method))),
        }
    }

    /// A refusal because somebody else was faster shows the entry as it is now.
    fn with_current(&self, entity: &Entity, key: &str, done: Result<(), Refusal>) -> Result<(), Refusal> {
        done.map_err(|refusal| match (refusal.status, self.entry(entity, key, 200)) {
            (412, Ok(Answer { body: Body::Entry(entry), .. })) => Refusal::stale(entry),
            _ => refusal,
        })
    }

    fn entry(&self, entity: &Entity, key: &str, status: u16) -> Result<Answer, Refusal> {
        self.read(|writer| {
            let item = writer.view.find(entity, key).ok_or_else(|| Refusal::not_found(&entity.path, key))?;
            if self.method == "GET" && self.if_none_match.map(|etag| etag.trim_matches('"')) == Some(&etag(item)) {
                return Ok(Answer { etag: Some(etag(item)), ..Answer::new(304, Body::Empty) });
            }
            Ok(Answer::entry(status, writer.entry(entity, item, &Shape::of(&self.target.query))))
        })
    }

    fn related(&self, entity: &Entity, name: &str) -> Result<Answer, Refusal> {
        let Some(Selector::Key(key)) = &self.target.selector else {
            return Err(Refusal::bad_url("A relation needs an entry."));
        };
        let relation = entity.relation(name).ok_or_else(|| Refusal::bad_url(format!("'{name}' is no relation.")))?;
        let other = model::by_name(&relation.target);
        self.read(|writer| {
            let item = writer.view.find(entity, key).ok_or_else(|| Refusal::not_found(&entity.path, key))?;
            if relation.many {
                return writer.feed(self.target, other, Some(related(&writer.view, item, other))).map(feed);
            }
            let key = item.fields.get(&relation.name).and_then(Value::as_str).unwrap_or_default();
            let found = writer.view.find(other, key).ok_or_else(|| Refusal::not_found(&other.path, key))?;
            Ok(Answer::entry(200, writer.entry(other, found, &Shape::of(&self.target.query))))
        })
    }

    /// An entry to start from.
    fn template(&self, entity: &Entity) -> Result<Answer, Refusal> {
        let mut entry = Map::from_iter([("$descriptor".to_owned(), json!(""))]);
        entry.extend(entity.properties.iter().map(|property| (property.name.clone(), Value::Null)));
        if entity.relation("Owner").is_some() {
            entry.insert("Owner".into(), json!({ "$key": self.user.default_owner }));
        }
        Ok(Answer::new(200, Body::Entry(Value::Object(entry))))
    }

    /// The resource kinds that are offered.
    fn kinds(&self) -> Result<Answer, Refusal> {
        let offered = model::all().filter(|entity| entity.contract == self.target.contract && self.is_offered(entity));
        let kinds: Vec<Value> = offered
            .map(|entity| {
                let url = format!("{}/{}/-/{}", self.base(), entity.contract, entity.path);
                json!({ "$key": entity.path, "$descriptor": entity.path, "$url": url, "name": entity.path })
            })
            .collect();
        let total = kinds.len();
        let kinds = json!({
            "$descriptor": "Sage SalesLogix | Resource kinds",
            "$totalResults": total, "$startIndex": 1, "$itemsPerPage": total, "$resources": kinds,
        });
        Ok(feed(kinds))
    }

    /// Who am I. Before version 8 it does not say what the user may do.
    fn service(&self) -> Result<Answer, Refusal> {
        let operation = self.target.rest.first().map(|name| name.to_lowercase()).unwrap_or_default();
        let is_here = self.target.contract == "system" && operation == "getcurrentuser";
        if !is_here {
            return Err(Refusal::bad_url("There is no such service."));
        }
        if self.method != "POST" {
            return Err(Refusal::new(405, "ApplicationDiagnosis", "A service is called by POST."));
        }
        let mut response = json!({
            "userId": format!("{:<16}", self.user.id),
            "userName": self.user.login,
            "prettyName": self.user.pretty_name(),
            "userDescription": self.user.pretty_name(),
            "roles": ["Standard User"],
        });
        if !self.settings.is_old() {
            response["securedActions"] =
                json!(["Entities/Contact/Add", "Entities/Contact/Edit", "Entities/Account/Add"]);
        }
        Ok(Answer::new(200, Body::Plain(json!({ "$descriptor": "getCurrentUser", "response": response }))))
    }

    /// The members of a group, in the columns of its layout.
    fn members(&self) -> Result<Answer, Refusal> {
        let groups = model::by_name("Group");
        let contacts = model::by_name("Contact");
        let query = &self.target.query;
        self.read(|writer| {
            let selected = match &self.target.selector {
                Some(Selector::Key(key)) => Some(key.as_str()),
                _ => query.get("_groupid"),
            };
            let group = match selected {
                Some(key) => writer.view.find(groups, key),
                None => writer.view.search(groups, None).into_iter().find(|group| {
                    let is = |field: &str, wanted: &str| {
                        group.fields.get(field).and_then(Value::as_str) == query.get(wanted)
                    };
                    is("name", "_name") && is("family", "_family")
                }),
            };
            let group = group.ok_or_else(|| Refusal::not_found("groups", selected.unwrap_or_default()))?;
            let ids = group.fields.get("adHocIds").and_then(Value::as_array).into_iter().flatten();
            let contact = |id: &Value| writer.view.find(contacts, id.as_str()?);
            let found = ids.filter_map(contact).collect();
            let mut page = writer.feed(self.target, contacts, Some(found))?;
            let shape = Shape::of(query);
            for row in page["$resources"].as_array_mut().into_iter().flatten() {
                *row = columns(row, &shape);
            }
            Ok(feed(page))
        })
    }

    /// Many requests in one, each on its own: nothing is undone when one fails.
    fn batch(&self) -> Result<Answer, Refusal> {
        if self.method != "POST" {
            return Err(Refusal::new(405, "ApplicationDiagnosis", "A batch is sent by POST."));
        }
        let items = self.body["$resources"].as_array().ok_or_else(|| Refusal::rule("A batch has entries."))?;
        if items.len() > self.settings.largest_batch {
            let largest = self.settings.largest_batch;
            return Err(Refusal::rule(format!("A batch has at most {largest} entries.")));
        }
        let answers: Vec<Value> = items.iter().map(|item| self.part(item)).collect();
        let total = answers.len();
        let answers =
            json!({ "$totalResults": total, "$startIndex": 1, "$itemsPerPage": total, "$resources": answers });
        Ok(feed(answers))
    }

    fn part(&self, item: &Value) -> Value {
        let method = item["$httpMethod"].as_str().unwrap_or("GET").to_uppercase();
        let kind = &self.target.kind;
        let path = match (item["$url"].as_str(), item["$key"].as_str()) {
            (Some(url), _) if method != "POST" || url.contains('(') => url.to_owned(),
            (_, Some(key)) => format!("{}/{}/-/{kind}('{key}')", self.base(), self.target.contract),
            _ => format!("{}/{}/-/{kind}", self.base(), self.target.contract),
        };
        let answer = self.part_answer(&method, &path, item);
        let mut shown = match &answer {
            Ok(Answer { body: Body::Entry(entry), .. }) => entry.clone(),
            Ok(_) => json!({}),
            Err(Refusal { current: Some(current), .. }) => match &current.body {
                Body::Entry(entry) => entry.clone(),
                _ => json!({}),
            },
            Err(refusal) => json!({ "$diagnoses": [refusal.diagnosis()] }),
        };
        let (status, location) = match &answer {
            Ok(answer) => (answer.status, answer.location.clone()),
            Err(refusal) => (refusal.status, None),
        };
        shown["$httpStatus"] = json!(status);
        shown["$httpMessage"] = json!(reason(status));
        shown["$httpMethod"] = json!(method);
        if let Some(location) = location {
            shown["$location"] = json!(location);
        }
        if shown["$url"].is_null() {
            shown["$url"] = json!(path);
        }
        shown
    }

    fn part_answer(&self, method: &str, path: &str, item: &Value) -> Result<Answer, Refusal> {
        // An address of this server, however the client calls it.
        let local = path.find("/sdata/").or_else(|| path.find("/slxclient/")).map_or(path, |at| &path[at..]);
        let target = Target::parse(local)?;
        let operation = target.operation();
        let user = Some(self.user.login.as_str());
        let asked = Asked { method, path: local, operation: Some(&operation), user };
        let fault = self.core.faults().take(asked);
        let if_match = item["$ifMatch"].as_str();
        let ask = Ask { method, target: &target, if_match, if_none_match: None, body: item, number: 0, ..*self };
        let nested = ["$batch", "$queries"].iter().any(|part| target.rest.iter().any(|rest| rest == part));
        let work = || if nested { Err(Refusal::bad_url("A part of a batch is one entry.")) } else { ask.answer() };
        let answer = match &fault {
            Some(fault) if fault.fails() => {
                if fault.after_effect {
                    drop(work());
                }
                let status = fault.status.unwrap_or(500);
                let code = fault.code.as_deref().unwrap_or("ApplicationDiagnosis");
                Err(Refusal::new(status, code, fault.message.clone().unwrap_or_else(|| reason(status).to_owned())))
            }
            _ => work(),
        };
        let status = answer.as_ref().map_or_else(|refusal| refusal.status, |answer| answer.status);
        self.core.journal().part(Entry {
            time: self.core.now(),
            method: method.to_owned(),
            path: local.to_owned(),
            operation: Some(operation),
            user: user.map(str::to_owned),
            body: item.to_string(),
            status: Some(status),
            fault: fault.is_some(),
            part_of: Some(self.number),
            ..Entry::default()
        });
        answer
    }
}

fn feed(feed: Value) -> Answer {
    Answer::new(200, Body::Feed(feed))
}

fn object(body: &Value) -> Result<&Map<String, Value>, Refusal> {
    body.as_object().ok_or_else(|| Refusal::rule("The body holds no entry."))
}

/// Upper-case aliases, the key under `CONTACTID`.
fn columns(row: &Value, shape: &Shape) -> Value {
    const LAYOUT: [&str; 6] = ["LastName", "FirstName", "AccountName", "WorkPhone", "Email", "ModifyDate"];
    let mut columns = Map::from_iter([("CONTACTID".to_owned(), row["$key"].clone())]);
    let selected = matches!(shape, Shape::Only(_));
    for (name, value) in row.as_object().into_iter().flatten() {
        if !name.starts_with('$') && (selected || LAYOUT.contains(&name.as_str())) {
            columns.insert(name.to_uppercase(), value.clone());
        }
    }
    Value::Object(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aliases_in_capitals() {
        let row = json!({ "$key": "C1", "LastName": "Abbott", "Spouse": "x" });
        let shape = Shape::All(super::super::shape::Tree::default());
        assert_eq!(columns(&row, &shape), json!({ "CONTACTID": "C1", "LASTNAME": "Abbott" }));
    }
}
