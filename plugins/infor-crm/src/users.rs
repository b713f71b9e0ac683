//! The people of the site: who may log in, and how to reach them.

use pairwise_http::Json;
use pairwise_plugin_api::ops::{User, UsersRequest, UsersResponse};
use pairwise_plugin_api::{Class, Context, Cursor, Failure, Principal, Result};

use crate::entity::USERS;
use crate::query::{literal, url};
use crate::records::selected_by_keys;
use crate::server::Server;
use crate::wire::{Entry, key, text};

/// The feed with names and addresses; its keys are those of the users.
const PEOPLE: &str = "userInfo";

/// Kinds of users that are nobody's login: those who left, patterns for new ones, programs.
const NOBODY: [&str; 3] = ["Retired", "Template", "AddOn"];

/// A page of them, in the order of their keys.
pub(crate) fn users(server: &Server, cx: &Context, request: &UsersRequest) -> Result<UsersResponse> {
    let login = server.login(&Principal::connection())?;
    let after = request.page.as_ref().map(|page| String::from_utf8(page.0.clone())).transpose();
    let after = after.map_err(|_| Failure::new(Class::CursorExpired, "the page is none of this connector"))?;
    let condition = after.map(|after| format!("Id gt {}", literal(&after))).unwrap_or_default();
    let count = server.config.page.to_string();
    let mut asked = vec![("select", "UserName,Type,Enabled"), ("orderBy", "Id"), ("count", count.as_str())];
    if !condition.is_empty() {
        asked.push(("where", &condition));
    }
    let place = url(&server.place.dynamic(USERS), &asked);
    let feed = server.feed(cx, &login, &place, "reading users")?;
    let keys: Vec<String> = feed.entries.iter().filter_map(key).map(str::to_owned).collect();
    let people = selected_by_keys(server, cx, &login, PEOPLE, "FirstName,LastName,Email", &keys)?;
    let user = |entry: &Entry| {
        let info = people.get(key(entry)?);
        let told = |name: &str| info.and_then(|info| text(info, name)).unwrap_or_default().trim();
        let disabled = matches!(entry.get("Enabled"), Some(Json::Bool(false)))
            || text(entry, "Enabled").is_some_and(|text| matches!(text, "F" | "false"));
        Some(User {
            principal: Principal(text(entry, "UserName")?.trim().to_owned()),
            address: told("Email").to_owned(),
            name: format!("{} {}", told("FirstName"), told("LastName")).trim().to_owned(),
            active: !disabled && !text(entry, "Type").is_some_and(|kind| NOBODY.contains(&kind)),
            ..User::default()
        })
    };
    let users = feed.entries.iter().filter_map(user).collect();
    let told = u64::try_from(feed.entries.len()).unwrap_or(u64::MAX);
    let more = feed.total.map_or(told >= u64::from(server.config.page), |total| total > told);
    let next = keys.last().filter(|_| more).map(|last| Cursor(last.clone().into_bytes()));
    Ok(UsersResponse { users, next })
}
