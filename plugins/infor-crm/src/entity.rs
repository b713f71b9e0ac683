//! The records of the system: which feed each kind has, what it refers to, and its fields as the host sees them.

use std::borrow::Cow;

use pairwise_plugin_api::{Catalogue, Class, Entity, EntityKind, Failure, Field, FieldType, Name, Result, Shows};

use crate::columns;
use crate::settings::Config;

/// A property of an entity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: FieldType,
    /// 0 where there is no limit.
    length: u32,
    path: &'static str,
    writable: bool,
}

impl Column {
    pub(crate) const fn new(name: &'static str, kind: FieldType, length: u32) -> Self {
        Column { name, kind, length, path: "", writable: true }
    }

    pub(crate) const fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    pub(crate) const fn read_only(mut self) -> Self {
        self.writable = false;
        self
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }
}

/// A property whose value is another record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    pub(crate) name: &'static str,
    /// The feed of the other record.
    pub(crate) entity: &'static str,
    required: bool,
}

/// What the address of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressKind {
    /// There is none.
    None,
    /// A record of the feed `addresses`, written there.
    Own,
    /// Written nested in its owner: its feed is not there in every version.
    Nested,
}

/// A kind of record.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The entity's name, which is also that of its feed.
    pub(crate) entity: &'static str,
    label: &'static str,
    record: EntityKind,
    /// The family of its ad hoc groups, where there are any.
    pub(crate) family: Option<&'static str>,
    pub(crate) columns: &'static [Column],
    pub(crate) references: &'static [Reference],
    pub(crate) address: AddressKind,
    /// What is asked for of each record, without the shipping address.
    select: &'static str,
}

const fn reference(name: &'static str, entity: &'static str) -> Reference {
    Reference { name, entity, required: false }
}

/// All kinds.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        entity: "contacts",
        label: "Contacts",
        record: EntityKind::Contact,
        family: Some("Contact"),
        columns: columns::CONTACTS,
        references: &[
            Reference { name: "Account", entity: "accounts", required: true },
            reference("AccountManager", USERS),
            reference("Owner", "owners"),
        ],
        address: AddressKind::Own,
        select: "*,Account/AccountName,AccountManager/UserName,Owner/OwnerDescription,Address/*",
    },
    Kind {
        entity: "accounts",
        label: "Accounts",
        record: EntityKind::Other,
        family: Some("Account"),
        columns: columns::ACCOUNTS,
        references: &[
            reference("AccountManager", USERS),
            reference("LeadSource", "leadsources"),
            reference("Owner", "owners"),
        ],
        address: AddressKind::Own,
        select: "*,AccountManager/UserName,LeadSource/Description,Owner/OwnerDescription,Address/*",
    },
    Kind {
        entity: "leads",
        label: "Leads",
        record: EntityKind::Contact,
        family: Some("Lead"),
        columns: columns::LEADS,
        references: &[
            reference("AccountManager", USERS),
            reference("LeadSource", "leadsources"),
            reference("Owner", "owners"),
        ],
        address: AddressKind::Nested,
        select: "*,AccountManager/UserName,LeadSource/Description,Owner/OwnerDescription,Address/*",
    },
    Kind {
        entity: "history",
        label: "Notes and history",
        record: EntityKind::Other,
        family: None,
        columns: columns::HISTORY,
        references: &[],
        address: AddressKind::None,
        select: "*",
    },
];

/// The feed of users: a field that refers to it takes [`SELF`].
pub(crate) const USERS: &str = "users";
/// Stands for the login's own user in a field that refers to one.
pub(crate) const SELF: &str = "$self";
/// The relation that carries the address.
pub(crate) const ADDRESS: &str = "Address";
/// The one that carries the shipping address, of records whose addresses are records of their own.
pub(crate) const SHIPPING: &str = "ShippingAddress";
/// Both, in the order in which versions and payloads hold them.
pub(crate) const RELATIONS: [&str; 2] = [ADDRESS, SHIPPING];
/// The field of a contact that shows its account's name; it follows the account and is never written.
pub(crate) const ACCOUNT_NAME: &str = "AccountName";
/// The field that refers to the account.
const ACCOUNT: &str = "Account";

/// The lines of a street, in their order.
pub(crate) const STREET: [&str; 4] = ["Address1", "Address2", "Address3", "Address4"];
/// The longest line of a street.
pub(crate) const STREET_LINE: usize = 64;

/// A part of an address as a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressField {
    pub(crate) name: &'static str,
    /// Which of the [`RELATIONS`] carries it.
    pub(crate) relation: usize,
    /// None for the street, which has four.
    pub(crate) property: Option<&'static str>,
    length: u32,
    path: &'static str,
}

/// The longest street, with the ends of its lines.
const STREET_LENGTH: u32 = 4 * STREET_LINE as u32 + 3;

/// The parts of the address that a relation, by its place among them, carries to a kind of addresses.
macro_rules! address {
    (@ $relation:literal, $at:literal, $part:literal, $property:expr, $length:expr, $path:expr) => {
        AddressField {
            name: concat!($relation, "/", $part),
            relation: $at,
            property: $property,
            length: $length,
            path: $path,
        }
    };
    ($relation:literal, $at:literal, $kind:literal) => {
        [
            address!(@ $relation, $at, "Street", None, STREET_LENGTH, concat!("addresses/", $kind, "/street")),
            address!(@ $relation, $at, "City", Some("City"), 32, concat!("addresses/", $kind, "/locality")),
            address!(@ $relation, $at, "State", Some("State"), 32, concat!("addresses/", $kind, "/region")),
            address!(@ $relation, $at, "PostalCode", Some("PostalCode"), 24, concat!("addresses/", $kind, "/postcode")),
            address!(@ $relation, $at, "Country", Some("Country"), 32, concat!("addresses/", $kind, "/country")),
            address!(@ $relation, $at, "County", Some("County"), 32, ""),
        ]
    };
}

const ADDRESS_FIELDS: [[AddressField; 6]; 2] =
    [address!("Address", 0, "work"), address!("ShippingAddress", 1, "other")];

/// The parts of the addresses that records of this kind tell.
pub(crate) fn address_fields(kind: &Kind, config: &Config) -> impl Iterator<Item = &'static AddressField> {
    ADDRESS_FIELDS.iter().take(kind.relations(config).len()).flatten()
}

/// One of them by its name.
pub(crate) fn address_field(kind: &Kind, config: &Config, name: &str) -> Option<&'static AddressField> {
    address_fields(kind, config).find(|field| field.name == name)
}

impl Kind {
    /// A kind by its entity's name.
    pub(crate) fn of(entity: &str) -> Result<&'static Kind> {
        KINDS.iter().find(|kind| kind.entity == entity).ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.entity).collect();
            let text = format!("Infor CRM has no entity `{entity}` here; it has {}", known.join(", "));
            Failure::new(Class::NotFound, text)
        })
    }

    /// The type of a plain property; text for one that a site has added.
    pub(crate) fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(crate) fn reference(&self, name: &str) -> Option<&'static Reference> {
        self.references.iter().find(|reference| reference.name == name)
    }

    /// The relations that carry its addresses.
    pub(crate) fn relations(&self, config: &Config) -> &'static [&'static str] {
        match self.address {
            AddressKind::None => &[],
            AddressKind::Own if config.shipping_address => &RELATIONS,
            AddressKind::Own | AddressKind::Nested => &[ADDRESS],
        }
    }

    /// What is asked for of each record.
    pub(crate) fn select(&self, config: &Config) -> Cow<'static, str> {
        if self.relations(config).contains(&SHIPPING) {
            Cow::Owned(format!("{},{SHIPPING}/*", self.select))
        } else {
            Cow::Borrowed(self.select)
        }
    }

    /// Its account's name is shown with it.
    pub(crate) fn shows_account(&self) -> bool {
        self.reference(ACCOUNT).is_some()
    }
}

/// The selector of a scope: an ad hoc group, by its name.
pub(crate) const GROUP: &str = "group";

/// Entities and fields; with `only`, those of one entity.
pub(crate) fn catalogue(config: &Config, only: Option<&str>) -> Result<Catalogue> {
    if let Some(entity) = only {
        Kind::of(entity)?;
    }
    let kinds = KINDS.iter().filter(|kind| only.is_none_or(|only| kind.entity == only));
    Ok(Catalogue { entities: kinds.map(|kind| entity(kind, config)).collect() })
}

/// Names of the text properties that the site has added to an entity.
pub(crate) fn extra<'a>(config: &'a Config, kind: &'static Kind) -> impl Iterator<Item = &'a str> {
    let names = config.extra_fields.get(kind.entity).into_iter().flatten();
    names.map(String::as_str).filter(|name| kind.column(name).is_none())
}

fn entity(kind: &'static Kind, config: &Config) -> Entity {
    let mut fields: Vec<Field> = kind.columns.iter().map(field).collect();
    if kind.shows_account() {
        let shows = Some(Shows { reference: ACCOUNT.into(), field: ACCOUNT_NAME.into() });
        let name = Field::new(ACCOUNT_NAME, FieldType::Text).path("organizations/1/name").read_only();
        fields.push(Field { shows, ..name });
    }
    fields.extend(kind.references.iter().map(|reference| Field {
        reference: Some(reference.entity.to_owned()),
        required: reference.required,
        ..Field::new(reference.name, FieldType::Text)
    }));
    fields.extend(
        address_fields(kind, config).map(|field| Field {
            length: Some(field.length),
            ..Field::new(field.name, FieldType::Text).path(field.path)
        }),
    );
    fields.extend(extra(config, kind).map(|name| Field::new(name, FieldType::Text)));
    Entity {
        name: kind.entity.to_owned(),
        label: kind.label.to_owned(),
        kind: kind.record,
        fields,
        selectors: kind.family.iter().map(|_| GROUP.to_owned()).collect(),
    }
}

fn field(column: &Column) -> Field {
    Field {
        length: (column.length > 0).then_some(column.length),
        writable: column.writable,
        path: Name::from(column.path),
        ..Field::new(column.name, column.kind)
    }
}
