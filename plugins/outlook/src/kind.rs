//! The two kinds of records that a mailbox keeps for us.

use pairwise_plugin_api::{Class, Failure, Result};
use serde::{Deserialize, Serialize};

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Contacts, in contact folders.
    Contact,
    /// Events, in calendars.
    Event,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Contact, Kind::Event];

    /// The entity of the catalogue.
    pub(crate) fn entity(self) -> &'static str {
        match self {
            Kind::Contact => "contact",
            Kind::Event => "event",
        }
    }

    /// The part of a path under which items answer by their id.
    pub(crate) fn collection(self) -> &'static str {
        match self {
            Kind::Contact => "contacts",
            Kind::Event => "events",
        }
    }

    /// What the folder is called that every mailbox has.
    pub(crate) fn default_name(self) -> &'static str {
        match self {
            Kind::Contact => "contacts",
            Kind::Event => "calendar",
        }
    }

    pub(crate) fn of(entity: &str) -> Result<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.entity() == entity).ok_or_else(|| {
            let text = format!("a mailbox has no entity `{entity}`; it has `contact` and `event`");
            Failure::new(Class::NotFound, text)
        })
    }

    /// The kinds that are named; all where none is.
    pub(crate) fn all_of(entities: &[String]) -> Result<Vec<Kind>> {
        if entities.is_empty() {
            Ok(Kind::ALL.to_vec())
        } else {
            entities.iter().map(|entity| Kind::of(entity)).collect()
        }
    }
}
