//! Notifications: subscriptions that are kept alive, and what Graph sends to our address because of them.
//!
//! A notification is a hint; the delta is the truth. A mailbox that takes no subscription is asked as often as the schedule
//! says, like one of a connection without an address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pairwise_http::{Json, Method, Request, json};
use pairwise_plugin_api::ops::{Announcement, ReceiveRequest, ReceiveResponse, WatchRequest, WatchResponse};
use pairwise_plugin_api::{Context, Millis, Principal, RecordRef, Result, tracing};
use percent_encoding::percent_decode_str;

use crate::connector::Outlook;
use crate::graph::PREFER;
use crate::kind::Kind;
use crate::record::millis;

/// After so long a mailbox that took no subscription is asked again.
const AGAIN: Millis = 3_600_000;

/// The longest time between two looks at what is due, or has become urgent.
const GLANCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });

/// The subscriptions of a connection.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// What every notification must bring along.
    secret: String,
    known: Mutex<HashMap<String, (Principal, Kind)>>,
    /// Those that Graph wants something done about, and whether it has ended them.
    urgent: Mutex<HashMap<String, bool>>,
}

/// One thing that is listened to.
struct Wish {
    principal: Principal,
    kind: Kind,
    resource: String,
    /// Its subscription, while it has one.
    id: Option<String>,
    /// When something has to be done about it.
    due: Millis,
}

impl Default for Subscriptions {
    fn default() -> Self {
        // Hashers are seeded by the operating system.
        let random = || RandomState::new().hash_one("clientState");
        Subscriptions {
            secret: format!("{:016x}{:016x}", random(), random()),
            known: Mutex::default(),
            urgent: Mutex::default(),
        }
    }
}

impl Subscriptions {
    fn known(&self) -> MutexGuard<'_, HashMap<String, (Principal, Kind)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn urgent(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.urgent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while there is none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Takes as long for a wrong secret as for the right one.
    fn trusts(&self, secret: &str) -> bool {
        let differ = self.secret.bytes().zip(secret.bytes()).fold(0, |differ, (one, other)| differ | (one ^ other));
        secret.len() == self.secret.len() && differ == 0
    }
}

impl Outlook {
    /// How long a subscription is to live; what is granted may be less.
    fn life(&self) -> Millis {
        Millis::from(self.graph.config().subscription_minutes) * 60_000
    }

    /// Keeps the subscriptions alive until the call is cancelled, and then ends them.
    pub(crate) fn listen(&self, cx: &Context, request: &WatchRequest) -> Result<WatchResponse> {
        let mut wishes = self.wishes(cx, request)?;
        while !cx.cancelled() {
            let now = Timestamp::now().as_millisecond();
            for (id, ended) in self.subscriptions.urgent().drain() {
                for wish in wishes.iter_mut().filter(|wish| wish.id.as_ref() == Some(&id)) {
                    wish.due = now;
                    wish.id.take_if(|_| ended);
                }
            }
            for wish in wishes.iter_mut().filter(|wish| wish.due <= now) {
                self.keep_alive(cx, wish, now);
            }
            let next = wishes.iter().map(|wish| wish.due).min().unwrap_or(now + self.life());
            let pause = Duration::from_millis(u64::try_from(next - now).unwrap_or_default().max(1));
            cx.wait(pause.min(GLANCE));
        }
        for Wish { principal, id, .. } in &wishes {
            if let Some(id) = id {
                // The call is cancelled, and no request would leave under it.
                let request = Request::new(Method::Delete, format!("/subscriptions/{id}"));
                let _ = self.graph.send(&Context::detached(), principal, request);
            }
        }
        self.subscriptions.known().clear();
        Ok(WatchResponse::default())
    }

    fn wishes(&self, cx: &Context, request: &WatchRequest) -> Result<Vec<Wish>> {
        let mut wishes: Vec<Wish> = Vec::new();
        for watched in &request.scopes {
            for kind in Kind::all_of(&watched.entities)? {
                let tree = self.trees.get(&self.graph, cx, &watched.principal, kind)?;
                for folder in tree.scope(kind, &watched.scope)? {
                    let resource = match kind {
                        // Events are told for the mailbox as a whole.
                        Kind::Event => format!("{}/events", self.graph.mailbox(&watched.principal)),
                        Kind::Contact => self.folder_path(&watched.principal, kind, folder),
                    };
                    if !wishes.iter().any(|known| known.resource == resource) {
                        let principal = watched.principal.clone();
                        wishes.push(Wish { principal, kind, resource, id: None, due: 0 });
                    }
                }
            }
        }
        Ok(wishes)
    }

    /// Makes or renews a subscription. One that does not work leaves the mailbox to its schedule.
    fn keep_alive(&self, cx: &Context, wish: &mut Wish, now: Millis) {
        let until = Timestamp::from_millisecond(now + self.life()).unwrap_or_default();
        let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let request = match &wish.id {
            Some(id) => Request::new(Method::Patch, format!("/subscriptions/{id}"))
                .body("application/json", json!({ "expirationDateTime": until }).to_string()),
            None => {
                let address = self.graph.config().notification_url.as_deref().unwrap_or_default();
                let body = json!({
                    "changeType": "created,updated,deleted",
                    "notificationUrl": address,
                    "lifecycleNotificationUrl": address,
                    "resource": percent_decode_str(&wish.resource).decode_utf8_lossy(),
                    "expirationDateTime": until,
                    "clientState": self.subscriptions.secret,
                });
                Request::post("/subscriptions").body("application/json", body.to_string())
            }
        };
        let answer = self.graph.send(cx, &wish.principal, request.header("Prefer", PREFER));
        let told = answer.and_then(|answer| self.graph.json(&answer, &wish.principal, "subscribing to changes"));
        match told {
            Ok(told) => {
                let id = told["id"].as_str().unwrap_or_default().to_owned();
                let granted = millis(&told["expirationDateTime"]).unwrap_or(now + self.life());
                wish.due = now + (granted - now) / 2;
                self.subscriptions.known().insert(id.clone(), (wish.principal.clone(), wish.kind));
                let is_new = wish.id.replace(id).is_none();
                if is_new {
                    // What happened before the subscription began is announced by nobody else.
                    cx.announce(&Announcement { principal: Some(wish.principal.clone()), at: Vec::new() });
                }
            }
            Err(failure) => {
                // One that ended meanwhile is made anew at once.
                let ended = wish.id.take().is_some();
                wish.due = if ended { now } else { now + AGAIN };
                tracing::warn!(resource = wish.resource, "no notifications: {failure}");
            }
        }
    }

    /// Takes what Graph sends: a question whether we are there, or notifications.
    pub(crate) fn heed(&self, request: &ReceiveRequest) -> ReceiveResponse {
        let answer = |status, body: String| ReceiveResponse {
            status,
            content_type: "text/plain".to_owned(),
            body,
            ..ReceiveResponse::default()
        };
        let token = request.query.split('&').find_map(|pair| pair.strip_prefix("validationToken="));
        if let Some(token) = token {
            let plain = token.replace('+', " ");
            return answer(200, percent_decode_str(&plain).decode_utf8_lossy().into_owned());
        }
        let Ok(body) = serde_json::from_slice::<Json>(&request.body.0) else {
            return answer(400, String::new());
        };
        let notices = body["value"].as_array().into_iter().flatten();
        let announcements = notices.filter_map(|notice| self.announcement(notice)).collect();
        ReceiveResponse { announcements, ..answer(202, String::new()) }
    }

    /// What a notification says; nothing, if it is not for us.
    fn announcement(&self, notice: &Json) -> Option<Announcement> {
        if !self.subscriptions.trusts(notice["clientState"].as_str()?) {
            return None;
        }
        let known = self.subscriptions.known().get(notice["subscriptionId"].as_str()?).cloned();
        let (principal, kind) = known?;
        // A notice about the subscription itself names no item: whoever gets it looks.
        let item = notice["resourceData"]["id"].as_str().filter(|_| notice["lifecycleEvent"].is_null());
        let id = || notice["subscriptionId"].as_str().unwrap_or_default().to_owned();
        match notice["lifecycleEvent"].as_str() {
            Some("subscriptionRemoved") => drop(self.subscriptions.urgent().insert(id(), true)),
            // To renew it authorizes it, too.
            Some("reauthorizationRequired") => drop(self.subscriptions.urgent().insert(id(), false)),
            _ => {}
        }
        let at = item.map(|id| RecordRef::new(kind.entity(), id));
        Some(Announcement { principal: Some(principal), at: at.into_iter().collect() })
    }
}
