//! What records of a system look like: entities, their fields, and the canonical path of each field.

use serde::{Deserialize, Serialize};

use crate::value::Name;

/// The answer of `discover`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Catalogue {
    /// What the system keeps.
    pub entities: Vec<Entity>,
}

impl Catalogue {
    /// An entity by its name.
    #[must_use]
    pub fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.iter().find(|entity| entity.name == name)
    }
}

/// One kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entity {
    /// Native name, used in every call.
    pub name: String,
    /// For people.
    pub label: String,
    /// What it is in canonical words: decides which streams it can take part in.
    pub kind: EntityKind,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The selectors that a scope may name, for instance `folder` or `group`.
    pub selectors: Vec<String>,
}

impl Entity {
    /// A field by its native name, members of an open family included.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.matches(name))
    }
}

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A person or organisation with JSContact paths.
    Contact,
    /// An appointment with JSCalendar paths.
    Event,
    /// Anything else: accounts, lists, notes.
    #[default]
    #[serde(other)]
    Other,
}

/// One field of an entity.
///
/// A name that ends in `/*` is an **open family**: each record may carry any number of fields whose names start with what
/// stands before the `*`, and the same tail belongs to the canonical path. Two connectors that share a family's path carry
/// all of its members to each other unread.
///
/// ```
/// use pairwise_plugin_api::{Field, FieldType};
/// let family = Field::new("property/*", FieldType::Text).path("vcard/property/*");
/// assert!(family.is_open() && family.matches("property/X-PHONETIC"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Field {
    /// Native name.
    pub name: Name,
    /// Canonical path (JSContact or JSCalendar property path); empty where the field has no counterpart elsewhere.
    pub path: Name,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What values look like.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The longest text, in UTF-16 code units as most systems count, if there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// False for fields that only the system sets.
    pub writable: bool,
    /// A create without it is refused.
    pub required: bool,
    /// Travels when a record is made and is never compared or changed afterwards: which program wrote it, in which version
    /// of a format. The default map gives it a direction on create and none later.
    pub create_only: bool,
    /// The entity that the value points at, if it is a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What it shows of the record that another field refers to, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shows: Option<Shows>,
    /// For lists: true where the order of the values means something.
    pub ordered: bool,
    /// True where upper and lower case are the same to the system, as in e-mail addresses.
    pub caseless: bool,
}

/// A value that a record shows of another one: a contact its account's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shows {
    /// The field of the same record that refers to the other one.
    pub reference: Name,
    /// The other one's field.
    pub field: Name,
}

impl Field {
    /// A writable field without a canonical path.
    pub fn new(name: impl Into<Name>, kind: FieldType) -> Self {
        Field { name: name.into(), kind, writable: true, ..Field::default() }
    }

    /// With a canonical path.
    #[must_use]
    pub fn path(mut self, path: impl Into<Name>) -> Self {
        self.path = path.into();
        self
    }

    /// Only the system sets it.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.writable = false;
        self
    }

    /// Travels when a record is made, and never again.
    #[must_use]
    pub fn create_only(mut self) -> Self {
        self.create_only = true;
        self
    }

    /// Upper and lower case are the same.
    #[must_use]
    pub fn caseless(mut self) -> Self {
        self.caseless = true;
        self
    }

    /// True for an open family.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.name.ends_with("/*")
    }

    /// True if `name` is this field, or a member of this open family.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(stem) if self.is_open() => name.len() > stem.len() && name.starts_with(stem),
            _ => *self.name == *name,
        }
    }
}

/// What a field's values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text.
    #[default]
    Text,
    /// Text that is an e-mail address.
    Email,
    /// Text that is a telephone number.
    Phone,
    /// Text that is a URL.
    Url,
    /// Yes or no.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `2026-03-01`; `--03-01` where the year is not known.
    Date,
    /// RFC 3339, or local time without an offset.
    DateTime,
    /// Several texts.
    TextList,
    /// A type of a newer API version: carried, never interpreted.
    #[serde(other)]
    Unknown,
}
