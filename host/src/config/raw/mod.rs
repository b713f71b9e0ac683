//! The files as written. These types are the one description of what may stand in them: JSON Schemas are made from them, every
//! file is checked against its schema, and only what passed is read into them.

mod host;
mod profile;
mod schedule;
mod stream;

use schemars::JsonSchema;
use serde::Deserialize;

pub use host::{Access, Connection, History, Host, Isolation, Limits, Secret};
pub(in crate::config) use host::{default_plugin_dir, default_state_dir};
pub use profile::{Directory, DirectoryFrom, Grants, Interlock, InterlockAction, Login, Profile, User};
pub use schedule::{Align, Blackout, CatchUp, MonthDay, Schedule, Weekday};
pub use stream::{
    Case, Conflict, Create, Field, Guard, Identity, Lookup, MapKind, Match, MatchKeys, Never, OnUpdate, Predicate,
    Reference, Removals, Removed, Scalar, Several, SeveralTable, Step, Stream, Trash, WithoutKey,
};

use crate::model::Side;

/// Something for either side.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerSide<T> {
    /// For the left one.
    pub left: Option<T>,
    /// For the right one.
    pub right: Option<T>,
}

impl<T> Default for PerSide<T> {
    fn default() -> Self {
        PerSide { left: None, right: None }
    }
}

impl<T> PerSide<T> {
    /// What is said for a side.
    pub fn get(&self, side: Side) -> Option<&T> {
        match side {
            Side::Left => self.left.as_ref(),
            Side::Right => self.right.as_ref(),
        }
    }
}

/// One thing for both sides, or one for each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Both<T> {
    /// For both.
    Same(T),
    /// For each.
    Each(PerSide<T>),
}

impl<T> Both<T> {
    /// What is said for a side.
    pub fn get(&self, side: Side) -> Option<&T> {
        match self {
            Both::Same(value) => Some(value),
            Both::Each(sides) => sides.get(side),
        }
    }
}

/// One thing, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// As a list.
    pub fn list(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

fn only_true(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "const": true })
}
