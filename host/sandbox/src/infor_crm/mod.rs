//! Infor CRM (formerly SalesLogix) with its SData portal: contacts, accounts, leads, addresses, notes, ad hoc groups, users
//! and their rights, in JSON and Atom, by Basic and Digest.
//!
//! It begins as edition 8.1. Users are those of the population, and the administrator (`admin`, `admin-secret`). Each user has
//! an ad hoc group `Contact Sync` with those of their contacts that the CRM holds. Most contacts belong to everyone, one in
//! five to the user alone.
//!
//! # Records
//! Entities are called by their resource kinds (`contacts`, `accounts`, `leads`, `addresses`, `leadAddresses`, `history`,
//! `groups`, …). A reference is the key of the other record. A person's edit may hold an address as a nested object; its
//! `container` is the key or name of a group that the record is put into.
//!
//! # Commands
//! | command | arguments | does |
//! |---|---|---|
//! | `settings` | names and values (`edition`, `auth`, `if_match`, `off`, `kinds_off`, `largest_page`, `zone_minutes`, …) | changes how the server behaves; answers all settings |
//! | `user` | `login`, then `password`, `sdata`, `expired` | changes a login |
//! | `rights` | `owner`, `user` (a login), `access`: `none`, `read`, `write` | what a user may do with an owner's records |
//! | `field` | `user`, `field` (`contacts.WorkPhone`), `access` | what a user may do with a field |
//! | `join`, `leave` | `user`, `group` (key or name), `ids` | a person changes who is in a group |
//! | `convert` | `user`, `id` | a person makes a lead a contact; answers its `id` |
//! | `end_sessions` | – | the cookies of the web client count no more |
//! | `touch` | `id` | moves a record's etag although nothing changed |

mod answer;
mod atom;
mod auth;
mod commands;
mod condition;
mod data;
mod draft;
mod entry;
mod model;
mod perform;
mod serve;
mod settings;
mod shape;
mod target;
#[cfg(test)]
mod tests;
mod view;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Value, json};

use crate::core::Core;
use crate::faults::Fault;
use crate::population::Population;
use crate::store::{Item, Store};
use crate::system::{About, Complaint, Edit, Login, System};

use auth::Logins;
use settings::{Access, Settings, User};
use view::View;

/// The simulator.
pub struct InforCrm {
    core: Core,
    settings: Mutex<Arc<Settings>>,
    logins: Logins,
}

impl fmt::Debug for InforCrm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InforCrm").field("core", &self.core).finish_non_exhaustive()
    }
}

impl InforCrm {
    /// An empty one.
    #[must_use]
    pub fn new(core: Core) -> Self {
        InforCrm { core, settings: Mutex::default(), logins: Logins::default() }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_settings<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        change(Arc::make_mut(&mut self.settings.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A user by login; the administrator where none is named.
    fn person(settings: &Settings, login: &str) -> Result<User, Complaint> {
        let login = if login.is_empty() { "admin" } else { login };
        let known = settings.user(login).cloned();
        known.ok_or_else(|| Complaint::Senseless(format!("there is no user `{login}`")))
    }
}

impl System for InforCrm {
    fn populate(&self, people: &Population) {
        self.change_settings(|settings| self.core.write(|store, now| data::populate(store, now, settings, people)));
    }

    fn url(&self) -> String {
        format!("{}/sdata", self.core.base_url())
    }

    fn logins(&self) -> Vec<Login> {
        let settings = self.settings();
        // The administrator's login is the one that a whole connection may use.
        let login = |user: &User| Login {
            user: if user.is_admin() { String::new() } else { user.login.clone() },
            settings: [("username".to_owned(), json!(user.login))].into_iter().collect(),
            secrets: [("password".to_owned(), json!(user.password))].into_iter().collect(),
        };
        settings.users.iter().map(login).collect()
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(move |request| serve::serve(Arc::clone(&self), request))
    }

    fn about(&self, request: &Parts, body: &[u8]) -> About {
        serve::about(request, body)
    }

    fn refuse(&self, fault: &Fault, _: &About) -> Response {
        serve::refuse(fault)
    }

    fn edit(&self, edit: Edit) -> Result<String, Complaint> {
        commands::edit(self, edit)
    }

    fn delete(&self, user: &str, id: &str) -> Result<(), Complaint> {
        commands::delete(self, user, id)
    }

    fn command(&self, name: &str, arguments: &Value) -> Result<Value, Complaint> {
        commands::command(self, name, arguments)
    }

    fn sees(&self, store: &Store, user: &str, item: &Item) -> bool {
        let settings = self.settings();
        let Some(user) = settings.user(user) else { return false };
        let view = View { store, settings: &settings, user };
        model::by_place(&item.entity).is_some_and(|entity| view.access(entity, item) > Access::None)
    }
}
