//! Whether work could start: the feeds, the group, the version, the rights.

use pairwise_plugin_api::ops::CheckRequest;
use pairwise_plugin_api::{Class, Condition, Context, Failure, Level, Result, Severity};

use crate::entity::Kind;
use crate::groups;
use crate::identity::{Edition, identity};
use crate::login::Login;
use crate::query::url;
use crate::server::Server;
use crate::settings::Expected;

/// What stands in the way.
///
/// A group is read here once, and the run's first look takes it over: a quiet run asks for it only once.
pub(crate) fn check(server: &Server, cx: &Context, request: &CheckRequest) -> Result<Vec<Condition>> {
    let login = server.login(&request.principal)?;
    let mut conditions = Vec::new();
    let group = match groups::selected(&request.scope) {
        Ok(group) => group,
        Err(failure) => return Ok(vec![condition("unknown_selector", Level::Stream, Severity::Error, failure.text)]),
    };
    if request.entities.is_empty() {
        let me = identity(server, cx, &login)?;
        let text = format!("Infor CRM {}, logged in as `{}` ({})", me.version, login.user, me.user);
        conditions.push(condition("version", Level::Profile, Severity::Info, text));
        conditions.extend(enabled(server, cx, &login, "contacts", Level::Profile)?);
    }
    if server.config.require_admin && !identity(server, cx, &login)?.admin {
        let text =
            format!("Infor CRM user `{}` has no administrator rights; this connection requires them", login.user);
        conditions.push(condition("not_admin", Level::Profile, Severity::Error, text));
    }
    match group {
        Some(name) => {
            login.known().note_stream(&name, &request.entities);
            conditions.extend(group_there(server, cx, &login, &request.entities, &name)?);
        }
        None => {
            for entity in &request.entities {
                conditions.extend(enabled(server, cx, &login, entity, Level::Stream)?);
            }
        }
    }
    Ok(conditions)
}

fn group_there(
    server: &Server,
    cx: &Context,
    login: &Login,
    entities: &[String],
    name: &str,
) -> Result<Option<Condition>> {
    let kind = Kind::of(entities.first().map_or("contacts", String::as_str))?;
    let by_marker = |what: &str| {
        let text = format!(
            "{what}: the members of `{name}` are those with `{}` in `{}`",
            groups::marker(name),
            server.config.sync_marker_property
        );
        condition("group_by_marker", Level::Stream, Severity::Info, text)
    };
    // The version is looked at before the first record is read, and before any is written.
    if server.config.edition == Expected::V754 {
        return Ok(Some(by_marker("groups of version 7.5.4 cannot be written")));
    }
    if groups::read(server, cx, login, kind, name)?.is_some() {
        return Ok(None);
    }
    Ok(Some(match identity(server, cx, login)?.edition {
        Edition::V754 => by_marker("groups of version 7.5.4 cannot be written"),
        Edition::V8 => condition("group_missing", Level::Stream, Severity::Error, groups::missing(login, name).text),
    }))
}

/// Whether a feed answers this login.
fn enabled(server: &Server, cx: &Context, login: &Login, entity: &str, level: Level) -> Result<Option<Condition>> {
    let kind = Kind::of(entity)?;
    let one = url(&server.place.dynamic(kind.entity), &[("select", "ModifyDate"), ("count", "1")]);
    match server.feed(cx, login, &one, &format!("looking at {}", kind.entity)) {
        Ok(_) => Ok(None),
        Err(Failure { class: Class::NotFound, text, .. }) => {
            Ok(Some(condition("entity_not_enabled", level, Severity::Error, text)))
        }
        Err(failure) => Err(failure),
    }
}

fn condition(code: &str, level: Level, severity: Severity, text: String) -> Condition {
    Condition { code: code.to_owned(), level, severity, subject: String::new(), text }
}
