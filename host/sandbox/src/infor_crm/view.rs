//! The records as one login sees them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::condition::{Condition, Scalar};
use super::model::{self, Entity, Kind, Property};
use super::settings::{Access, EVERYONE, Settings, User};
use crate::store::{Item, Store};

/// A store, looked at by a user.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) store: &'a Store,
    pub(super) settings: &'a Settings,
    pub(super) user: &'a User,
}

impl<'a> View<'a> {
    /// What the user may do with a record.
    pub(super) fn access(&self, entity: &Entity, item: &Item) -> Access {
        let text = |name: &str| item.fields.get(name).and_then(Value::as_str).unwrap_or_default();
        match entity.name.as_str() {
            "Contact" | "Account" | "Lead" => self.settings.access(self.user, text("Owner")),
            "Address" => self.access_by_key(&["Contact", "Account"], text("EntityId")),
            "LeadAddress" => self.access_by_key(&["Lead"], text("LeadId")),
            "History" | "Activity" => {
                let about = ["ContactId", "AccountId", "LeadId"].map(text).into_iter().find(|key| !key.is_empty());
                about.map_or(Access::Write, |key| self.access_by_key(&["Contact", "Account", "Lead"], key))
            }
            "Group" if self.user.is_admin() || text("userId") == self.user.id => Access::Write,
            "Group" if text("releasedTo") == EVERYONE => Access::Read,
            "Group" => Access::None,
            _ => Access::Read,
        }
    }

    fn access_by_key(&self, entities: &[&str], key: &str) -> Access {
        let Some(item) = self.store.get(key) else { return Access::Write };
        let entity = entities.iter().map(|name| model::by_name(name)).find(|entity| entity.place() == item.entity);
        entity.map_or(Access::None, |entity| self.access(entity, item))
    }

    /// A record by its key, if the user sees it.
    pub(super) fn find(&self, entity: &Entity, key: &str) -> Option<&'a Item> {
        let item = self.store.get(&entity.store_id(key.trim()))?;
        (item.entity == entity.place() && self.access(entity, item) > Access::None).then_some(item)
    }

    /// The records of a kind that the user sees and that fulfil a condition, in order of their keys.
    pub(super) fn search(&self, entity: &Entity, condition: Option<&Condition>) -> Vec<&'a Item> {
        let narrowed = condition.and_then(|condition| condition.keys(entity));
        let candidates: Box<dyn Iterator<Item = &'a Item>> =
            match (narrowed, condition.and_then(Condition::changed_since)) {
                (Some(keys), _) => Box::new(keys.into_iter().filter_map(|key| self.store.get(&entity.store_id(key)))),
                (None, Some(time)) => Box::new(self.store.changed_since("", time).flat_map(|item| {
                    let whose = self.text(item, "EntityId").or_else(|| self.text(item, "LeadId"));
                    [Some(item), whose.and_then(|key| self.store.get(key))].into_iter().flatten()
                })),
                (None, None) => Box::new(self.store.items("", entity.place())),
            };
        let seen = candidates.filter(|item| item.entity == entity.place() && self.access(entity, item) > Access::None);
        let mut found: Vec<&Item> = seen
            .filter(|item| condition.is_none_or(|condition| condition.holds(&|path| self.scalar(entity, item, path))))
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        found
    }

    /// The value at a path, for conditions and orders.
    pub(super) fn scalar(&self, entity: &Entity, item: &Item, path: &[String]) -> Scalar {
        let Some((name, rest)) = path.split_first() else { return Scalar::Null };
        if entity.is_key(name) {
            return Scalar::Text(entity.key_of(&item.id).to_owned());
        }
        if let Some(relation) = entity.relation(name) {
            let Some(key) = self.text(item, &relation.name) else { return Scalar::Null };
            let target = model::by_name(&relation.target);
            return match (rest.is_empty(), self.find(target, key)) {
                (true, _) => Scalar::Text(key.to_owned()),
                (false, Some(other)) => self.scalar(target, other, rest),
                (false, None) => Scalar::Null,
            };
        }
        let Some(property) = entity.property(name) else { return Scalar::Null };
        match (self.value(entity, item, property), property.kind) {
            (Some(Value::String(text)), Kind::Date) => {
                text.parse::<Timestamp>().map_or(Scalar::Null, |time| Scalar::Time(time.as_millisecond()))
            }
            (Some(Value::String(text)), _) => Scalar::Text(text),
            (Some(Value::Number(number)), _) => number.as_f64().map_or(Scalar::Null, Scalar::Number),
            (Some(Value::Bool(is)), _) => Scalar::Bool(is),
            _ => Scalar::Null,
        }
    }

    fn text<'b>(&self, item: &'b Item, name: &str) -> Option<&'b str> {
        item.fields.get(name).and_then(Value::as_str)
    }

    /// A property's value, dates in ISO form; `None` if the user may not see it.
    pub(super) fn value(&self, entity: &Entity, item: &Item, property: &Property) -> Option<Value> {
        if self.settings.field_access(self.user, &entity.path, &property.name) == Access::None {
            return None;
        }
        Some(match property.name.to_lowercase().as_str() {
            "createdate" => json!(iso(item.created)),
            "modifydate" => json!(iso(item.modified)),
            "lastnameupper" => upper(self.text(item, "LastName")),
            "accountnameupper" => upper(self.text(item, "AccountName")),
            "companyupper" => upper(self.text(item, "Company")),
            _ if property.kind == Kind::Computed => computed(item, &property.name),
            _ => match (item.fields.get(&property.name), property.kind) {
                (Some(value), _) => value.clone(),
                (None, Kind::Bool) => json!(false),
                (None, _) => Value::Null,
            },
        })
    }
}

fn upper(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| json!(text.to_uppercase()))
}

/// A time as it is stored.
pub(super) fn iso(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

/// Names and addresses that are put together from others.
fn computed(item: &Item, name: &str) -> Value {
    let text = |name: &str| item.fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let join = |parts: &[&str], between: &str| {
        let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        parts.join(between)
    };
    let (first, last) = (text("FirstName"), text("LastName"));
    let joined = match name {
        "NameLF" | "LeadNameLastFirst" => join(&[last, first], ", "),
        "Name" | "FullName" | "LeadNameFirstLast" => join(&[first, last], " "),
        "LeadFullName" => join(&[first, text("MiddleName"), last], " "),
        "NamePFL" | "LeadNamePrefixFirstLast" => join(&[text("Prefix"), first, last], " "),
        "CityStateZip" | "CityStatePostal" | "LeadCtyStZip" => {
            join(&[&join(&[text("City"), text("State")], ", "), text("PostalCode")], " ")
        }
        "StreetAddress" => join(&["Address1", "Address2", "Address3", "Address4"].map(text), "\r\n"),
        "FullAddress" => {
            let place = join(&[&join(&[text("City"), text("State")], ", "), text("PostalCode")], " ");
            join(&[text("Address1"), text("Address2"), text("Address3"), &place, text("Country")], "\r\n")
        }
        "EndDate" => text("StartDate").to_owned(),
        _ => String::new(),
    };
    if joined.is_empty() { Value::Null } else { json!(joined) }
}

/// The version of a record, as `ETag` and `If-Match` carry it.
pub(super) fn etag(item: &Item) -> String {
    use base64::Engine as _;
    let mixed = item.version.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    base64::engine::general_purpose::STANDARD.encode(mixed.to_be_bytes())
}
