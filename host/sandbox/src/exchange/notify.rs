//! Notifications: subscriptions, events on request, and events that stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes, HttpBody as Stream};
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::sync::mpsc;

use super::Exchange;
use super::call::{Body, Call, Part, child, inside, text};
use super::mailbox::{FOLDER, asked_folder, change_key};
use super::times::instant;
use super::xml::{Fault, Out, Problem, answer, envelope};
use crate::store::{Event, Happened, Store};

/// The most subscriptions in one stream.
const MOST: usize = 200;
/// A stream says at least so often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(45);

/// Somebody who wants to hear of changes.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    mailbox: String,
    /// The server behind the address that knows it.
    back_end: u64,
    /// None: all folders.
    folders: Option<Vec<String>>,
    kinds: Vec<String>,
    /// Told up to this place in the log.
    told: u64,
    /// When it ends, unless events are asked for before; never for a stream.
    ends: Option<i64>,
    timeout_minutes: i64,
}

/// The subscriptions of the server.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<String, Subscription>,
    made: u64,
}

impl Subscriptions {
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    fn get(&mut self, id: &str, now: i64) -> Result<&mut Subscription, Problem> {
        let ended = self.all.get(id).is_some_and(|found| found.ends.is_some_and(|ends| ends < now));
        if ended {
            self.all.remove(id);
        }
        self.all
            .get_mut(id)
            .ok_or_else(|| Problem::new("ErrorSubscriptionNotFound", "The subscription could not be found."))
    }
}

fn watermark(place: u64) -> String {
    format!("AQAAAP{place:016X}AAAB")
}

fn of_watermark(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("AQAAAP")?.get(..16)?, 16).ok()
}

impl Call<'_> {
    pub(super) fn subscribe(&self) -> Body {
        let pull = child(self.request, "PullSubscriptionRequest");
        let Some(request) = pull.or_else(|| child(self.request, "StreamingSubscriptionRequest")) else {
            let problem = Problem::new("ErrorInvalidSubscriptionRequest", "Push subscriptions are not taken here.");
            return Ok(answer("Subscribe", &[Err(problem)], ""));
        };
        let now = self.exchange.core.now();
        let made: Part = (|| {
            let (folders, place) = self.exchange.core.read(|store| {
                let wanted = inside(request, "FolderIds");
                let found: Result<Vec<String>, Problem> = wanted
                    .iter()
                    .map(|node| asked_folder(store, &self.mailbox, *node).map(|folder| folder.id.clone()))
                    .collect();
                found.map(|found| (found, store.version()))
            })?;
            let everywhere = matches!(request.attribute("SubscribeToAllFolders"), Some("true" | "1"));
            let minutes = text(request, "Timeout").parse().unwrap_or(30);
            if pull.is_some() && !(1..=1_440).contains(&minutes) {
                return Err(Problem::new("ErrorInvalidPullSubscriptionTimeout", "The timeout must be from 1 to 1440."));
            }
            let told = of_watermark(text(request, "Watermark")).unwrap_or(place);
            let subscription = Subscription {
                mailbox: self.mailbox.clone(),
                back_end: self.back_end,
                folders: (!everywhere).then_some(folders),
                kinds: inside(request, "EventTypes").iter().filter_map(|kind| kind.text()).map(str::to_owned).collect(),
                told,
                ends: pull.map(|_| now + minutes * 60_000),
                timeout_minutes: minutes,
            };
            let mut state = self.exchange.state();
            state.subscriptions.made += 1;
            let id = format!("JwB{:012}{}", state.subscriptions.made, self.mailbox.replace(['@', '.'], ""));
            state.subscriptions.all.insert(id.clone(), subscription);
            let mut out = Out::new();
            out.leaf("m:SubscriptionId", &id);
            if pull.is_some() {
                out.leaf("m:Watermark", &watermark(told));
            }
            Ok(out.done())
        })();
        Ok(answer("Subscribe", &[made], ""))
    }

    pub(super) fn unsubscribe(&self) -> Body {
        let id = text(self.request, "SubscriptionId");
        let gone = self.exchange.state().subscriptions.all.remove(id).map(|_| String::new());
        let result =
            gone.ok_or_else(|| Problem::new("ErrorSubscriptionNotFound", "The subscription could not be found."));
        Ok(answer("Unsubscribe", &[result], ""))
    }

    pub(super) fn get_events(&self) -> Body {
        let id = text(self.request, "SubscriptionId");
        let now = self.exchange.core.now();
        let result: Part = (|| {
            let mut subscription = self.exchange.state().subscriptions.get(id, now)?.clone();
            let Some(place) = of_watermark(text(self.request, "Watermark")) else {
                return Err(Problem::new("ErrorInvalidWatermark", "The watermark is invalid."));
            };
            subscription.told = place;
            let (events, until) =
                self.exchange.core.read(|store| (written(store, &subscription, true), store.version()));
            let mut out = Out::new();
            out.start("m:Notification")
                .leaf("t:SubscriptionId", id)
                .leaf("t:PreviousWatermark", &watermark(place))
                .leaf("t:MoreEvents", "false");
            if events.is_empty() {
                out.start("t:StatusEvent").leaf("t:Watermark", &watermark(until)).end();
            }
            out.raw(&events.concat());
            let mut state = self.exchange.state();
            let kept = state.subscriptions.get(id, now)?;
            kept.told = until;
            kept.ends = Some(now + kept.timeout_minutes * 60_000);
            Ok(out.done())
        })();
        Ok(answer("GetEvents", &[result], ""))
    }

    /// Answers as long as the client wants: a whole envelope for each thing that there is to tell.
    pub(super) fn get_streaming_events(&self, exchange: Arc<Exchange>) -> Result<Response, Fault> {
        let ids: Vec<String> =
            inside(self.request, "SubscriptionIds").iter().filter_map(|id| id.text()).map(str::to_owned).collect();
        let minutes: u64 = text(self.request, "ConnectionTimeout").parse().unwrap_or(30);
        if ids.is_empty() || ids.len() > MOST || !(1..=30).contains(&minutes) {
            return Err(Fault::new(
                "ErrorInvalidRequest",
                "A stream takes 1 to 200 subscriptions and 1 to 30 minutes.",
            ));
        }
        let elsewhere = |id: &&String| {
            let state = self.exchange.state();
            state.subscriptions.all.get(*id).is_some_and(|known| known.back_end != self.back_end)
        };
        if let Some(id) = ids.iter().find(elsewhere) {
            let problem = Problem::new("ErrorProxyRequestNotAllowed", "The subscription is on another server.");
            let lost =
                format!("<m:ErrorSubscriptionIds><m:SubscriptionId>{id}</m:SubscriptionId></m:ErrorSubscriptionIds>");
            let body = envelope(&answer("GetStreamingEvents", &[Err(problem)], &lost));
            return Ok(super::xml_answer(StatusCode::OK, body));
        }
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(stream(exchange, ids, minutes, sender));
        let body = HttpBody::new(Chunks(receiver));
        let mut answer = Response::new(body);
        let kind = header::HeaderValue::from_static("text/xml; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(answer)
    }
}

/// What follows in a stream.
struct Chunks(mpsc::Receiver<String>);

impl Stream for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|text| Ok(http_body::Frame::data(Bytes::from(text)))))
    }
}

async fn stream(exchange: Arc<Exchange>, ids: Vec<String>, minutes: u64, to: mpsc::Sender<String>) {
    let status = |status: &str| {
        let mut out = Out::new();
        out.leaf("m:ConnectionStatus", status);
        envelope(&answer("GetStreamingEvents", &[Ok(out.done())], ""))
    };
    let mut changes = exchange.core.changes();
    let mut clock = exchange.core.clock().moves();
    let ends = exchange.core.now() + i64::try_from(minutes).unwrap_or(30) * 60_000;
    if to.send(status("OK")).await.is_err() {
        return;
    }
    let epoch = exchange.state().stream_epoch;
    loop {
        let now = exchange.core.now();
        if now >= ends || exchange.state().stream_epoch != epoch {
            let _ = to.send(status("Closed")).await;
            return;
        }
        let told = match tell(&exchange, &ids, now) {
            Ok(told) => told,
            Err((problem, id)) => {
                let lost = format!(
                    "<m:ErrorSubscriptionIds><m:SubscriptionId>{id}</m:SubscriptionId></m:ErrorSubscriptionIds>"
                );
                let _ = to.send(envelope(&answer("GetStreamingEvents", &[Err(problem)], &lost))).await;
                return;
            }
        };
        if let Some(told) = told {
            if to.send(envelope(&told)).await.is_err() {
                return;
            }
            continue;
        }
        let left = Duration::from_millis(u64::try_from(ends - now).unwrap_or(0));
        tokio::select! {
            _ = changes.changed() => {}
            _ = clock.changed() => {}
            () = to.closed() => return,
            () = tokio::time::sleep(left.min(HEARTBEAT)) => {
                if to.send(status("OK")).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What is new for these subscriptions, as the body of an answer.
fn tell(exchange: &Exchange, ids: &[String], now: i64) -> Result<Option<String>, (Problem, String)> {
    let mut notifications = Out::new();
    let mut any = false;
    for id in ids {
        let subscription =
            exchange.state().subscriptions.get(id, now).map_err(|problem| (problem, id.clone()))?.clone();
        let (events, until) = exchange.core.read(|store| (written(store, &subscription, false), store.version()));
        if let Ok(kept) = exchange.state().subscriptions.get(id, now) {
            kept.told = until;
        }
        if !events.is_empty() {
            any = true;
            notifications.start("m:Notification").leaf("t:SubscriptionId", id);
            notifications.raw(&events.concat()).end();
        }
    }
    let payload = format!("<m:Notifications>{}</m:Notifications>", notifications.done());
    Ok(any.then(|| answer("GetStreamingEvents", &[Ok(payload)], "")))
}

/// The events that a subscription was not told yet.
fn written(store: &Store, subscription: &Subscription, with_watermark: bool) -> Vec<String> {
    let events = store.events_since(&subscription.mailbox, subscription.told);
    let concerns = |event: &&Event| {
        let folders = subscription.folders.as_ref();
        folders.is_none_or(|folders| event.container.as_ref().is_some_and(|folder| folders.contains(folder)))
    };
    let mut told = Vec::new();
    for (index, event) in events.iter().enumerate().filter(|(_, event)| concerns(event)) {
        // A move is a departure that an arrival follows at once.
        let is_move = |left: &Event, arrived: &Event| {
            left.happened == Happened::Left
                && arrived.happened == Happened::Arrived
                && left.version + 1 == arrived.version
        };
        let from = index.checked_sub(1).and_then(|before| events.get(before)).filter(|before| is_move(before, event));
        let to = events.get(index + 1).filter(|after| is_move(event, after));
        let (name, shown, origin) = match (event.happened, from, to) {
            (Happened::Arrived, Some(from), _) => ("MovedEvent", event, Some(from)),
            (Happened::Left, _, Some(to))
                if subscription
                    .folders
                    .as_ref()
                    .is_some_and(|folders| to.container.as_ref().is_none_or(|folder| !folders.contains(folder))) =>
            {
                ("MovedEvent", to, Some(event))
            }
            (Happened::Left, _, Some(_)) => continue,
            (Happened::Arrived, ..) => ("CreatedEvent", event, None),
            (Happened::Changed, ..) => ("ModifiedEvent", event, None),
            (Happened::Left, ..) => ("DeletedEvent", event, None),
        };
        if subscription.kinds.iter().any(|kind| kind == name) {
            told.push(write(store, name, shown, origin, with_watermark));
        }
    }
    told
}

fn write(store: &Store, name: &str, event: &Event, origin: Option<&Event>, with_watermark: bool) -> String {
    let key = store.get(&event.id).map_or_else(|| "AQAAAA==".to_owned(), change_key);
    let kind = if event.entity == FOLDER { "FolderId" } else { "ItemId" };
    let place = |container: &Option<String>| container.clone().unwrap_or_default();
    let mut out = Out::new();
    out.start(&format!("t:{name}"));
    if with_watermark {
        out.leaf("t:Watermark", &watermark(event.version));
    }
    out.leaf("t:TimeStamp", &instant(event.time))
        .empty(&format!("t:{kind}"), &[("Id", &event.id), ("ChangeKey", &key)])
        .empty("t:ParentFolderId", &[("Id", &place(&event.container)), ("ChangeKey", "AQAAAA==")]);
    if let Some(origin) = origin {
        out.empty(&format!("t:Old{kind}"), &[("Id", &origin.id), ("ChangeKey", "AQAAAA==")])
            .empty("t:OldParentFolderId", &[("Id", &place(&origin.container)), ("ChangeKey", "AQAAAA==")]);
    }
    out.done()
}
