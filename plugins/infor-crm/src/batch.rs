//! Several requests in one, each with an answer of its own. A server without batches gets them one by one.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use pairwise_http::{Effect, Json, Method, Object, Request, abreast};
use pairwise_plugin_api::{Certainty, Class, Context, Failure, Result};

use crate::login::Login;
use crate::query::{entry, url};
use crate::server::Server;
use crate::wire::{self, Diagnosis, Entry, unquoted};

/// Batches in one call of writes: several, so that a group that new records join is written once for all of them.
pub(crate) const BATCHES_IN_CALL: u32 = 4;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) method: Method,
    /// Of a creation there is none yet.
    pub(crate) key: Option<String>,
    /// The state that the record must still be in.
    pub(crate) etag: Option<String>,
    pub(crate) body: Entry,
}

/// Its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    pub(crate) status: u16,
    /// Members of the record, as far as they were told.
    pub(crate) entry: Entry,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) retry_after_ms: Option<u64>,
}

impl Done {
    /// The key that the server gave or knows.
    pub(crate) fn key(&self) -> Option<&str> {
        wire::key(&self.entry)
    }
}

/// Sends items to a feed: an answer for each, in order, or why there is none.
pub(crate) fn execute(
    server: &Server,
    cx: &Context,
    login: &Login,
    feed: &str,
    items: &[Item],
) -> Vec<std::result::Result<Done, Failure>> {
    let chunks: Vec<&[Item]> = items.chunks(server.config.batch.max(1) as usize).collect();
    let answers = abreast(&chunks, server.config.parallel as usize, |items| chunk(server, cx, login, feed, items));
    answers.into_iter().flatten().collect()
}

fn chunk(
    server: &Server,
    cx: &Context,
    login: &Login,
    feed: &str,
    items: &[Item],
) -> Vec<std::result::Result<Done, Failure>> {
    if items.len() > 1 && !server.no_batches.load(Ordering::Relaxed) {
        match together(server, cx, login, feed, items) {
            Ok(Some(done)) => return done.into_iter().map(Ok).collect(),
            Ok(None) => server.no_batches.store(true, Ordering::Relaxed),
            Err(failure) => return items.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
    let mut broken: Option<Failure> = None;
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        // After one that found no server, the others would find none, either.
        let answer = match &broken {
            Some(failure) => Err(Failure { certainty: Certainty::NotSent, ..failure.clone() }),
            None => alone(server, cx, login, feed, item),
        };
        broken = broken.or(answer.as_ref().err().cloned());
        answers.push(answer);
    }
    answers
}

/// Statuses of records: whether they are there, gone or forbidden.
pub(crate) fn statuses(
    server: &Server,
    cx: &Context,
    login: &Login,
    feed: &str,
    keys: &[String],
) -> Result<HashMap<String, u16>> {
    let item = |key: &String| Item { method: Method::Get, key: Some(key.clone()), etag: None, body: Object::new() };
    let items: Vec<Item> = keys.iter().map(item).collect();
    let answers = execute(server, cx, login, feed, &items);
    let status = |answer: Result<Done>| match answer?.status {
        // It says nothing of the record, and must not be taken for an answer that does.
        status @ (429 | 500..) => {
            let text = format!("asking whether records of {feed} are still there: the server answered {status}");
            Err(Failure::new(Class::Transient, text))
        }
        status => Ok(status),
    };
    keys.iter().zip(answers).map(|(key, answer)| Ok((key.clone(), status(answer)?))).collect()
}

/// `None` if the server knows no batches.
fn together(server: &Server, cx: &Context, login: &Login, feed: &str, items: &[Item]) -> Result<Option<Vec<Done>>> {
    let place = server.place.dynamic(feed);
    let resources: Vec<Json> = items.iter().map(|item| resource(&place, item)).collect();
    let reads = items.iter().all(|item| item.method == Method::Get);
    let effect = if reads { Effect::None } else { Effect::Once };
    let body = Json::Object(Object::from_iter([("$resources", Json::List(resources))]));
    let request = server.request(Method::Post, &url(&format!("{place}/$batch"), &[]), &body, effect);
    let answer = server.send(cx, login, &request)?;
    if [405, 501].contains(&answer.status) || (answer.status == 404 && Diagnosis::of(&answer.body).is_none()) {
        return Ok(None);
    }
    let doing = format!("writing {feed}");
    if !answer.is_success() {
        return Err(server.failure(login, &answer, &doing));
    }
    let unreadable = || {
        let text = format!("{doing}: the answer to a batch of {} does not fit it", items.len());
        let failure = Failure::new(Class::Protocol, text);
        if reads { failure } else { failure.unknown_outcome() }
    };
    let answer = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    let Json::Object(mut answer) = answer else { return Err(unreadable()) };
    match answer.remove("$resources") {
        Some(Json::List(resources)) if resources.len() == items.len() => {
            let parts: Vec<Done> =
                resources.into_iter().map(|resource| done(resource).ok_or_else(unreadable)).collect::<Result<_>>()?;
            parts.iter().for_each(|part| server.heed(part));
            Ok(Some(parts))
        }
        _ => Err(unreadable()),
    }
}

fn resource(place: &str, item: &Item) -> Json {
    let mut resource = item.body.clone();
    let at = item.key.as_ref().map_or_else(|| place.to_owned(), |key| entry(place, key));
    resource.insert("$httpMethod", item.method.name().into());
    resource.insert("$url", at.into());
    if let Some(key) = &item.key {
        resource.insert("$key", key.as_str().into());
    }
    if let Some(etag) = &item.etag {
        resource.insert("$ifMatch", etag.as_str().into());
    }
    Json::Object(resource)
}

/// The answer to one item of a batch.
pub(crate) fn done(resource: Json) -> Option<Done> {
    let diagnosis = Diagnosis::in_json(&resource);
    let Json::Object(mut entry) = resource else { return None };
    let status = entry.get("$httpStatus").and_then(|status| match status {
        Json::Number(number) => number.as_u64(),
        Json::Text(text) => text.trim().parse().ok(),
        _ => None,
    })?;
    let diagnosis = diagnosis.unwrap_or_else(|| Diagnosis {
        message: wire::text(&entry, "$httpMessage").unwrap_or_default().to_owned(),
        ..Diagnosis::default()
    });
    if wire::key(&entry).is_none()
        && let Some(key) =
            wire::text(&entry, "$location").and_then(key_in).or_else(|| wire::text(&entry, "$url").and_then(key_in))
    {
        entry.insert("$key", key.into());
    }
    Some(Done { status: u16::try_from(status).ok()?, entry, diagnosis, retry_after_ms: None })
}

/// The key at the end of a record's address: `…/contacts('C1')`.
fn key_in(address: &str) -> Option<String> {
    let inside = address.rsplit_once('(')?.1.split(')').next()?;
    let plain = percent_encoding::percent_decode_str(inside).decode_utf8_lossy();
    let key = plain.trim_matches(['\'', '"', ' ']).to_owned();
    (!key.is_empty()).then_some(key)
}

fn alone(server: &Server, cx: &Context, login: &Login, feed: &str, item: &Item) -> Result<Done> {
    let place = server.place.dynamic(feed);
    let at = url(&item.key.as_ref().map_or_else(|| place.clone(), |key| entry(&place, key)), &[]);
    let effect = match item.method {
        Method::Get => Effect::None,
        _ => Effect::Once,
    };
    let mut request = match item.method {
        Method::Get | Method::Delete => Request::new(item.method, at).effect(effect),
        method => server.request(method, &at, &Json::Object(item.body.clone()), effect),
    };
    if let Some(etag) = &item.etag {
        request = request.header("If-Match", etag.as_str());
    }
    let answer = server.send(cx, login, &request)?;
    let mut entry = match serde_json::from_slice(&answer.body) {
        Ok(Json::Object(entry)) => entry,
        _ => Object::new(),
    };
    if let Some(etag) = answer.header("etag").filter(|_| !entry.contains_key("$etag")) {
        entry.insert("$etag", unquoted(etag).into());
    }
    if let Some(key) = answer.header("location").and_then(key_in).filter(|_| wire::key(&entry).is_none()) {
        entry.insert("$key", key.into());
    }
    Ok(Done {
        status: answer.status,
        entry,
        diagnosis: Diagnosis::of(&answer.body).unwrap_or_default(),
        retry_after_ms: answer.retry_after().and_then(|pause| u64::try_from(pause.as_millis()).ok()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_http::json;

    use super::*;

    #[test]
    fn items_look_as_the_sheet_says() {
        let body = json!({ "WorkPhone": "1" }).as_object().unwrap().clone();
        let item = Item { method: Method::Put, key: Some("C1".into()), etag: Some("x=".into()), body };
        let expected = json!({ "$httpMethod": "PUT", "$url": "http://crm/contacts('C1')", "$key": "C1", "$ifMatch": "x=",
                               "WorkPhone": "1" });
        assert_eq!(resource("http://crm/contacts", &item), expected);
    }

    #[test]
    fn answers_are_read() {
        let made =
            done(json!({ "$httpStatus": 201, "$location": "http://crm/contacts('CDEMOA000009')", "$etag": "y" }));
        assert_eq!(made.unwrap().key(), Some("CDEMOA000009"));
        let refused = done(json!({ "$httpStatus": "400", "$httpMessage": "too long" })).unwrap();
        assert_eq!((refused.status, refused.diagnosis.message.as_str()), (400, "too long"));
        assert!(done(json!({ "$key": "C1" })).is_none());
        assert_eq!(key_in("http://crm/contacts(%22C1%22)").as_deref(), Some("C1"));
    }
}
