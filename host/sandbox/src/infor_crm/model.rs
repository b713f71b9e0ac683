//! The entities: names, types, lengths and relations, from `model.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The relation of an entity to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    /// The name of the other entity.
    pub(super) target: String,
    pub(super) many: bool,
    pub(super) required: bool,
}

/// What values a property has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Phone,
    Memo,
    Id,
    Date,
    Bool,
    Int,
    Number,
    Enum,
    List,
    /// Read-only, made of others.
    Computed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In characters.
    pub(super) length: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) contract: String,
    pub(super) path: String,
    /// The first letter of its keys.
    pub(super) prefix: String,
    /// The name of the property that holds the key.
    pub(super) key: String,
    /// `{LastName}, {FirstName}`
    pub(super) descriptor: String,
    pub(super) properties: Vec<Property>,
    pub(super) relations: Vec<Relation>,
    /// The values of its property of kind `Enum`.
    pub(super) values: BTreeMap<String, i64>,
    by_name: BTreeMap<String, usize>,
}

/// Properties that the server sets; writes to them are ignored.
const SET_BY_SERVER: [&str; 7] =
    ["createdate", "createuser", "modifydate", "modifyuser", "lastnameupper", "accountnameupper", "companyupper"];

impl Entity {
    /// A property; names are matched without regard to case.
    pub(super) fn property(&self, name: &str) -> Option<&Property> {
        self.by_name.get(&name.to_lowercase()).map(|index| &self.properties[*index])
    }

    pub(super) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name.eq_ignore_ascii_case(name))
    }

    /// Whether this is what the key is called: by its own name, or simply `Id`.
    pub(super) fn is_key(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("id") || name.eq_ignore_ascii_case("$key") || name.eq_ignore_ascii_case(&self.key)
    }

    /// The entity's records in the store.
    pub(super) fn place(&self) -> &str {
        &self.path
    }

    /// The id in the store of the record with this key. People and their logins have equal keys.
    pub(super) fn store_id(&self, key: &str) -> String {
        match self.name.as_str() {
            "UserInfo" | "SystemOption" => format!("{}:{key}", self.path),
            _ => key.to_owned(),
        }
    }

    /// The key of the record with this id in the store.
    pub(super) fn key_of<'a>(&self, store_id: &'a str) -> &'a str {
        match self.name.as_str() {
            "UserInfo" | "SystemOption" => store_id.split_once(':').map_or(store_id, |(_, key)| key),
            _ => store_id,
        }
    }
}

impl Property {
    pub(super) fn is_set_by_server(&self) -> bool {
        self.kind == Kind::Computed || SET_BY_SERVER.contains(&self.name.to_lowercase().as_str())
    }
}

/// An entity by its resource kind (`contacts`), in any case.
pub(super) fn by_path(contract: &str, path: &str) -> Option<&'static Entity> {
    MODEL.iter().find(|entity| entity.contract == contract && entity.path.eq_ignore_ascii_case(path))
}

/// An entity by its resource kind, in whichever contract.
pub(super) fn by_place(path: &str) -> Option<&'static Entity> {
    MODEL.iter().find(|entity| entity.path.eq_ignore_ascii_case(path))
}

/// All entities.
pub(super) fn all() -> impl Iterator<Item = &'static Entity> {
    MODEL.iter()
}

/// An entity by its name (`Contact`), which the model itself uses.
#[allow(clippy::expect_used, reason = "names come from the model; a test reads them all")]
pub(super) fn by_name(name: &str) -> &'static Entity {
    MODEL.iter().find(|entity| entity.name == name).expect("an entity of the model")
}

#[derive(Deserialize)]
struct Written {
    name: String,
    contract: String,
    path: String,
    prefix: String,
    key: String,
    descriptor: String,
    properties: Vec<String>,
    one: Vec<String>,
    many: Vec<String>,
    #[serde(default, rename = "enum")]
    values: BTreeMap<String, i64>,
}

#[allow(clippy::expect_used, reason = "the file is part of the program; a test reads it")]
static MODEL: LazyLock<Vec<Entity>> = LazyLock::new(|| {
    let written: Vec<Written> = serde_json::from_str(include_str!("model.json")).expect("model.json is well formed");
    written.into_iter().map(Entity::from).collect()
});

impl From<Written> for Entity {
    fn from(written: Written) -> Self {
        let properties: Vec<Property> = written.properties.iter().map(|line| property(line)).collect();
        let by_name = (0..).zip(&properties).map(|(index, property)| (property.name.to_lowercase(), index)).collect();
        let one = written.one.iter().map(|line| relation(line, false));
        let many = written.many.iter().map(|line| relation(line, true));
        Entity {
            relations: one.chain(many).collect(),
            name: written.name,
            contract: written.contract,
            path: written.path,
            prefix: written.prefix,
            key: written.key,
            descriptor: written.descriptor,
            properties,
            values: written.values,
            by_name,
        }
    }
}

/// `LastName Text 32`
fn property(line: &str) -> Property {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default().to_owned();
    let kind = match words.next().unwrap_or_default() {
        "Phone" => Kind::Phone,
        "Memo" => Kind::Memo,
        "Id" => Kind::Id,
        "Date" => Kind::Date,
        "Bool" => Kind::Bool,
        "Int" => Kind::Int,
        "Number" => Kind::Number,
        "Enum" => Kind::Enum,
        "List" => Kind::List,
        "Computed" => Kind::Computed,
        _ => Kind::Text,
    };
    Property { name, kind, length: words.next().and_then(|length| length.parse().ok()) }
}

/// `Account Account required`
fn relation(line: &str, many: bool) -> Relation {
    let mut words = line.split(' ');
    Relation {
        name: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        many,
        required: words.next() == Some("required"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_holds_together() {
        for entity in all() {
            for relation in &entity.relations {
                assert!(!by_name(&relation.target).path.is_empty(), "{}.{}", entity.name, relation.name);
            }
            assert!(entity.properties.iter().any(|property| property.kind == Kind::Enum) != entity.values.is_empty());
        }
        let contact = by_name("Contact");
        let last = contact.property("LASTNAME").map(|property| (property.kind, property.length));
        assert_eq!(last, Some((Kind::Text, Some(32))));
        assert!(contact.is_key("Id") && contact.is_key("contactid") && !contact.is_key("accountid"));
        assert!(contact.relation("account").is_some_and(|relation| relation.required && !relation.many));
    }
}
