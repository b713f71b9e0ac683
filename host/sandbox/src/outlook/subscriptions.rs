//! Change notifications: subscriptions that are validated, end by time, and tell a URL what changed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Graph;
use super::call::{Answer, Call, Reply, encoded};
use super::events::instant;
use super::item;
use crate::store::{Event, Happened, Item, Store};

/// The longest life of a subscription to contacts and events, and the shortest.
const LONGEST: i64 = 10_080 * 60_000;
const SHORTEST: i64 = 45 * 60_000;

/// How long the receiver may take to answer with the validation token.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct Subscription {
    user: String,
    entity: &'static str,
    resource: String,
    url: String,
    /// Where notices about the subscription itself go.
    lifecycle_url: String,
    secret: String,
    kinds: String,
    /// Items are named by ids that stay when they are moved.
    immutable: bool,
    until: i64,
}

impl Graph {
    pub(super) async fn subscribe(&self, call: &Call) -> Answer {
        self.authenticate(call)?;
        let id = call.path.get(1).cloned().unwrap_or_default();
        match (call.method.as_str(), call.path.len()) {
            ("POST", 1) => self.create_subscription(call).await,
            ("GET", 1) => {
                let state = self.state();
                let all: Vec<Value> = state.subscriptions.iter().map(|(id, known)| known.show(id)).collect();
                Ok(Reply::ok(json!({ "value": all })))
            }
            ("POST", 3) => self.renewed(&id, None),
            ("PATCH", 2) => {
                let until = call.body["expirationDateTime"].as_str().and_then(instant);
                self.renewed(&id, Some(until.ok_or_else(|| Reply::bad("expirationDateTime is missing."))?))
            }
            ("GET", 2) => self.renewed(&id, None),
            ("DELETE", 2) => {
                let known = self.state().subscriptions.remove(&id);
                known.map(|_| Reply::empty(204)).ok_or_else(gone)
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }

    async fn create_subscription(&self, call: &Call) -> Answer {
        let text = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
        let resource = text("resource");
        let inner = Call {
            path: resource.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            ..call.clone()
        };
        let mailbox =
            self.mailbox_of(&inner).ok_or_else(|| Reply::error(404, "ResourceNotFound", "Resource not found."))?;
        let entity = if resource.to_ascii_lowercase().contains("contact") { "contact" } else { "event" };
        let until = text("expirationDateTime");
        let until = instant(&until).ok_or_else(|| Reply::bad("expirationDateTime is missing."))?;
        let until = bounded(until, self.core.now())?;
        let url = text("notificationUrl");
        for url in [url.clone(), text("lifecycleNotificationUrl")].iter().filter(|url| !url.is_empty()) {
            if !validates(url).await {
                return Err(Reply::error(400, "InvalidRequest", "Subscription validation request failed."));
            }
        }
        let subscription = Subscription {
            user: mailbox.user.clone(),
            entity,
            resource,
            url,
            lifecycle_url: text("lifecycleNotificationUrl"),
            secret: text("clientState"),
            kinds: text("changeType"),
            immutable: call.immutable_ids(),
            until,
        };
        let id = self.core.write(|store, _| format!("5ab5c21b-0000-4000-8000-{:012}", store.next_number()));
        let version = self.core.read(Store::version);
        let mut state = self.state();
        state.told.entry(mailbox.user).or_insert(version);
        let shown = subscription.show(&id);
        state.subscriptions.insert(id, subscription);
        Ok(Reply::json(201, shown))
    }

    fn renewed(&self, id: &str, until: Option<i64>) -> Answer {
        let now = self.core.now();
        let mut state = self.state();
        let known = state.subscriptions.get_mut(id).filter(|known| known.until > now).ok_or_else(gone)?;
        if let Some(until) = until {
            known.until = bounded(until, now)?;
        }
        Ok(Reply::ok(known.show(id)))
    }

    /// Says something about the subscriptions themselves: `reauthorizationRequired`, `missed`, or `subscriptionRemoved`, after
    /// which they are not there any more.
    pub(super) fn tell_lifecycle(&self, event: &str) {
        let mut state = self.state();
        let all = state.subscriptions.clone();
        if event == "subscriptionRemoved" {
            state.subscriptions.clear();
        }
        drop(state);
        let Some(runtime) = &self.runtime else { return };
        for (id, known) in all.into_iter().filter(|(_, known)| !known.lifecycle_url.is_empty()) {
            let notice = json!({
                "subscriptionId": id,
                "subscriptionExpirationDateTime": item::moment(known.until),
                "clientState": known.secret,
                "tenantId": super::oauth::TENANT_ID,
                "lifecycleEvent": event,
            });
            let body = json!({ "value": [notice] }).to_string();
            runtime.spawn(async move { post(&known.lifecycle_url, "application/json", &body).await });
        }
    }

    /// Sends what changed since the last time, each change to whoever asked for it. Nobody waits for the receiver.
    pub(super) fn tell_subscribers(&self) {
        let now = self.core.now();
        let mut state = self.state();
        if state.subscriptions.is_empty() {
            return;
        }
        state.subscriptions.retain(|_, known| known.until > now);
        let all: Vec<(String, Subscription)> = state.subscriptions.clone().into_iter().collect();
        let told = state.told.clone();
        let version = self.core.read(Store::version);
        state.told.values_mut().for_each(|told| *told = version);
        drop(state);
        for (id, known) in all {
            let since = told.get(&known.user).copied().unwrap_or(version);
            let lines: Vec<Value> = self.core.read(|store| {
                let events = store.events_since(&known.user, since).iter().filter(|event| event.entity == known.entity);
                let lines = events.filter_map(|event| {
                    let kind = match event.happened {
                        Happened::Arrived => "created",
                        Happened::Changed => "updated",
                        Happened::Left => "deleted",
                    };
                    known.kinds.contains(kind).then(|| known.notice(&id, kind, event, store.get(&event.id)))
                });
                lines.collect()
            });
            if let (false, Some(runtime)) = (lines.is_empty(), &self.runtime) {
                let body = json!({ "value": lines }).to_string();
                runtime.spawn(async move { post(&known.url, "application/json", &body).await });
            }
        }
    }
}

fn gone() -> Reply {
    Reply::error(404, "ResourceNotFound", "The object was not found.")
}

fn bounded(until: i64, now: i64) -> Result<i64, Reply> {
    if until - now > LONGEST {
        return Err(Reply::error(
            400,
            "InvalidRequest",
            "Subscription expiration can only be 10080 minutes in the future.",
        ));
    }
    Ok(until.max(now + SHORTEST))
}

impl Subscription {
    fn show(&self, id: &str) -> Value {
        json!({
            "id": id,
            "resource": self.resource,
            "changeType": self.kinds,
            "clientState": self.secret,
            "notificationUrl": self.url,
            "expirationDateTime": item::moment(self.until),
            "applicationId": super::oauth::CLIENT,
        })
    }

    fn notice(&self, id: &str, kind: &str, event: &Event, item: Option<&Item>) -> Value {
        let place = event.container.as_deref();
        let about = if self.immutable { event.id.clone() } else { item::passing(&event.id, place) };
        let resource = format!("{}/{about}", self.resource.trim_start_matches('/'));
        json!({
            "subscriptionId": id,
            "subscriptionExpirationDateTime": item::moment(self.until),
            "clientState": self.secret,
            "changeType": kind,
            "resource": resource,
            "tenantId": super::oauth::TENANT_ID,
            "resourceData": {
                "@odata.type": format!("#Microsoft.Graph.{}", self.entity),
                "@odata.id": resource,
                "@odata.etag": item.map(item::etag),
                "id": about,
            },
        })
    }
}

/// The receiver must answer with the token, as text, and with nothing else.
async fn validates(url: &str) -> bool {
    let token = "Validation: Testing client application reachability + 1";
    let sep = if url.contains('?') { '&' } else { '?' };
    let asked = format!("{url}{sep}validationToken={}", encoded(token));
    match tokio::time::timeout(PATIENCE, post(&asked, "text/plain", "")).await {
        Ok(Some((200, body))) => body == token,
        _ => false,
    }
}

/// A plain request to a receiver on loopback: status and body.
async fn post(url: &str, content_type: &str, body: &str) -> Option<(u16, String)> {
    let (host, path) =
        url.strip_prefix("http://")?.split_once('/').map_or((url.strip_prefix("http://")?, ""), |found| found);
    let mut stream = TcpStream::connect(host).await.ok()?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
