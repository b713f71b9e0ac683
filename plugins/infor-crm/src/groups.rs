//! Ad hoc groups: who belongs to one, and joining and leaving it.
//!
//! Version 8 keeps the members in the group, which is written as a whole, so that a write that lost a race starts over. The
//! groups of 7.5.4 can only be read: there a word in a text property of the record says that it belongs to a group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pairwise_http::{Effect, Json, Method, Object};
use pairwise_plugin_api::ops::Scope;
use pairwise_plugin_api::{Class, Context, Failure, Result, Value};

use crate::entity::{GROUP, Kind};
use crate::login::Login;
use crate::query::{entry, literal, url};
use crate::server::Server;
use crate::wire::{Entry, etag, key, millis, text, unquoted};

/// A group that was read so short a time ago need not be read again before it is written: the write is conditional.
const FRESH: Duration = Duration::from_secs(30);
/// How often a membership is written again after somebody else changed the group meanwhile.
const RACES: u32 = 8;

/// An ad hoc group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    key: String,
    name: String,
    family: &'static str,
    etag: Option<String>,
    pub(crate) members: BTreeSet<String>,
}

/// The group that a scope names.
pub(crate) fn selected(scope: &Scope) -> Result<Option<String>> {
    if let Some(unknown) = scope.keys().find(|key| *key != GROUP) {
        let text = format!("Infor CRM has no selector `{unknown}`; it has `{GROUP}`");
        return Err(Failure::new(Class::Config, text));
    }
    match scope.get(GROUP) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(name)) if !name.trim().is_empty() => Ok(Some(name.trim().to_owned())),
        Some(other) => {
            let text = format!("`{GROUP}` is `{other}`; expected the name of one ad hoc group");
            Err(Failure::new(Class::Config, text))
        }
    }
}

/// Reads a group by its name; `None` if there is none that this login can see.
pub(crate) fn read(server: &Server, cx: &Context, login: &Login, kind: &Kind, name: &str) -> Result<Option<Group>> {
    let family = kind.family.ok_or_else(|| {
        Failure::new(Class::Config, format!("there are no groups of `{}`: leave `{GROUP}` out", kind.entity))
    })?;
    let wanted =
        format!("upper(family) eq {} and name eq {} and isAdHoc", literal(&family.to_uppercase()), literal(name));
    let groups = url(&server.place.system("groups"), &[("where", &wanted), ("include", "adHocIds"), ("count", "100")]);
    let found = match server.feed(cx, login, &groups, "reading the contact sync group") {
        Ok(found) => found.entries,
        // Where the feed of groups is not there at all, no group is.
        Err(failure) if failure.class == Class::NotFound => Vec::new(),
        Err(failure) => return Err(failure),
    };
    // Somebody who may see several releases of a group is told all of them.
    let release = |entry: &Entry| {
        let version = entry.get("version").map(|version| version.as_f64().unwrap_or_default()).unwrap_or_default();
        let modified = entry.get("modifyDate").and_then(millis).unwrap_or_default();
        (version, modified)
    };
    let newest = found
        .into_iter()
        .filter(|group| text(group, "name") == Some(name))
        .max_by(|a, b| release(a).partial_cmp(&release(b)).unwrap_or(std::cmp::Ordering::Equal));
    let Some(newest) = newest else { return Ok(None) };
    let group = group_of(&newest, name, family)?;
    login.known().group = Some((Instant::now(), group.clone()));
    Ok(Some(group))
}

/// The same, or what was read a moment ago.
pub(crate) fn recent(server: &Server, cx: &Context, login: &Login, kind: &Kind, name: &str) -> Result<Option<Group>> {
    let known = login.known().group.clone();
    match known {
        Some((at, group)) if group.name == name && kind.family == Some(group.family) && at.elapsed() < FRESH => {
            Ok(Some(group))
        }
        _ => read(server, cx, login, kind, name),
    }
}

/// What was read by the check before a run; taken once, so that the next look is a new one.
pub(crate) fn checked(server: &Server, cx: &Context, login: &Login, kind: &Kind, name: &str) -> Result<Option<Group>> {
    let group = recent(server, cx, login, kind, name);
    login.known().group = None;
    group
}

pub(crate) fn group_of(entry: &Entry, name: &str, family: &'static str) -> Result<Group> {
    let broken = |what: &str| {
        let text = format!("the group `{name}` was told without {what}");
        Failure::new(Class::Protocol, text)
    };
    let ids = entry.get("adHocIds").ok_or_else(|| broken("its members (`adHocIds`)"))?;
    // A list of texts; a relation with entries is read, too.
    let list = ids.as_array().or_else(|| ids.get("$resources")?.as_array());
    let member = |id: &Json| id.as_str().or_else(|| id.get("$key")?.as_str()).map(|id| id.trim().to_owned());
    Ok(Group {
        key: key(entry).ok_or_else(|| broken("its key"))?.to_owned(),
        name: name.to_owned(),
        family,
        etag: etag(entry).map(str::to_owned),
        members: list.into_iter().flatten().filter_map(member).collect(),
    })
}

/// That a group is not there.
pub(crate) fn missing(login: &Login, name: &str) -> Failure {
    let text = format!(
        "there is no ad hoc group `{name}` that Infor CRM user `{}` can see: create it in Infor CRM, or correct the stream's \
         `scope`",
        login.user
    );
    Failure::new(Class::Config, text)
}

/// Lets records join and leave a group. Whoever is in or out already stays so.
pub(crate) fn change(
    server: &Server,
    cx: &Context,
    login: &Login,
    kind: &Kind,
    name: &str,
    joining: &[&str],
    leaving: &[&str],
) -> Result<()> {
    // Calls of one login would only overtake each other.
    let _turn = login.turn();
    for _ in 0..RACES {
        let Some(mut group) = recent(server, cx, login, kind, name)? else { return Err(missing(login, name)) };
        let before = group.members.len();
        group.members.extend(joining.iter().map(|id| (*id).to_owned()));
        let joined = group.members.len() > before;
        let mut left = false;
        for id in leaving {
            left |= group.members.remove(*id);
        }
        if !joined && !left {
            return Ok(());
        }
        let members: Json = group.members.iter().map(Json::from).collect();
        let place = url(&entry(&server.place.system("groups"), &group.key), &[]);
        let body = Json::Object(Object::from_iter([("adHocIds", members)]));
        let mut request = server.request(Method::Put, &place, &body, Effect::Repeatable);
        if let Some(etag) = &group.etag {
            request = request.header("If-Match", etag.as_str());
        }
        login.known().group = None;
        let answer = server.send(cx, login, &request)?;
        match answer.status {
            412 => continue,
            405 | 501 => {
                let text = format!("the group `{name}` cannot be written on this server (7.5.4 only reads groups)");
                return Err(Failure::new(Class::Refused, text));
            }
            _ => {}
        }
        let body = server.json(login, &answer, "changing the contact sync group")?;
        group.etag = body.as_object().and_then(etag).or_else(|| answer.header("etag").map(unquoted)).map(str::to_owned);
        if group.etag.is_some() {
            login.known().group = Some((Instant::now(), group));
        }
        return Ok(());
    }
    let text =
        format!("the group `{name}` was changed by others again and again while it was to be written; try again");
    Err(Failure::new(Class::Transient, text))
}

/// The word that marks a member in version 7.5.4.
pub(crate) fn marker(name: &str) -> String {
    // What separates words may not stand in one.
    format!("sync:{}", name.replace([';', ','], " "))
}

/// Whether a text of words holds this one.
pub(crate) fn is_marked(words: &str, marker: &str) -> bool {
    words.split([';', ',']).any(|word| word.trim() == marker)
}

/// The text with the word; `None` if it is there.
pub(crate) fn marked(words: &str, marker: &str) -> Option<String> {
    let words = words.trim();
    (!is_marked(words, marker)).then(|| if words.is_empty() { marker.to_owned() } else { format!("{words}; {marker}") })
}

/// The text without the word; `None` if it is not there.
pub(crate) fn unmarked(words: &str, marker: &str) -> Option<String> {
    is_marked(words, marker).then(|| {
        let rest = words.split([';', ',']).map(str::trim).filter(|word| *word != marker && !word.is_empty());
        rest.collect::<Vec<_>>().join("; ")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_http::json;

    use super::*;

    #[test]
    fn words_mark_members() {
        let word = marker("Contact Sync");
        assert_eq!(marked("", &word).unwrap(), "sync:Contact Sync");
        let both = marked("VIP, Partner", &word).unwrap();
        assert_eq!(both, "VIP, Partner; sync:Contact Sync");
        assert_eq!(marked(&both, &word), None);
        assert_eq!(unmarked(&both, &word).unwrap(), "VIP; Partner");
        assert_eq!(unmarked("VIP", &word), None);
        assert!(!is_marked("sync:Contact Sync 2", &word), "part of a word is no word");
    }

    #[test]
    fn a_scope_names_one_group() {
        let scope = |name: &str, value: Value| Scope::from([(name.to_owned(), value)]);
        assert_eq!(selected(&Scope::new()).unwrap(), None);
        assert_eq!(selected(&scope("group", " Friends ".into())).unwrap().as_deref(), Some("Friends"));
        assert_eq!(selected(&scope("folder", "x".into())).unwrap_err().class, Class::Config);
        assert_eq!(selected(&scope("group", Value::Bool(true))).unwrap_err().class, Class::Config);
    }

    #[test]
    fn members_are_read_from_the_sheets_list() {
        let entry = json!({ "$key": "pDEMOA000001", "$etag": "x", "name": "Sync", "adHocIds": ["CDEMOA000001 ", "CDEMOA000002"] });
        let group = group_of(entry.as_object().unwrap(), "Sync", "Contact").unwrap();
        assert_eq!(group.members.iter().collect::<Vec<_>>(), ["CDEMOA000001", "CDEMOA000002"]);
        assert!(group_of(json!({ "$key": "p" }).as_object().unwrap(), "Sync", "Contact").is_err());
    }
}
