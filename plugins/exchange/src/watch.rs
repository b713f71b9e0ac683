//! Announcing changes: streams that the server tells, or questions from time to time. An event is a reason to look, and no more.

use std::collections::HashMap;
use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pairwise_http::{Effect, Streaming};
use pairwise_plugin_api::ops::{Announcement, WatchRequest};
use pairwise_plugin_api::{Class, Context, Failure, Principal, Result, tracing};

use crate::connector::Exchange;
use crate::desk::Desk;
use crate::settings::Notifications;
use crate::soap::{Message, messages};
use crate::xml::{Node, Writer};

/// Minutes that a stream stays open.
const OPEN_MINUTES: u64 = 10;
/// The most subscriptions of one stream.
const MOST: usize = 200;
/// How long events are collected before they are announced: one edit makes several.
const COLLECT: Duration = Duration::from_secs(2);
/// The first pause after a stream was lost; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Bytes of the largest envelope of a stream; those of the server have some thousand.
const LARGEST_ENVELOPE: usize = 4 << 20;
/// What is listened to.
const EVENTS: [&str; 4] = ["CreatedEvent", "DeletedEvent", "ModifiedEvent", "MovedEvent"];

/// Who hears of changes; false once there is enough.
pub(crate) type Hear<'a> = &'a dyn Fn(&Announcement) -> bool;

/// Announces changes until the host has enough.
pub(crate) fn watch(exchange: &Exchange, cx: &Context, request: &WatchRequest, hear: Hear<'_>) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match exchange.config.notifications {
            Notifications::Streaming => stream(exchange, cx, request, hear),
            Notifications::Pull => pull(exchange, cx, request, hear),
        };
        match lost {
            Ok(true) => return Ok(()),
            Ok(false) => pause = FIRST_PAUSE,
            Err(failure) if matches!(failure.class, Class::Transient | Class::Throttled | Class::NotFound) => {
                tracing::info!(error = %failure, "notifications were interrupted");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(failure) if failure.class == Class::Cancelled => return Ok(()),
            Err(failure) => return Err(failure),
        }
        if cx.wait(pause) {
            return Ok(());
        }
    }
}

/// Whose each subscription is.
type Subscriptions = HashMap<String, Principal>;

fn subscribe(
    desk: &Desk<'_>,
    request: &pairwise_plugin_api::ops::WatchScope,
    kind: &'static str,
) -> Result<(String, String)> {
    let mut body = Writer::new();
    body.start("m:Subscribe").start(kind).start("t:FolderIds");
    for place in desk.all_places(&request.entities, &request.scope)? {
        desk.write_folder(&mut body, &place.folder);
    }
    body.end().start("t:EventTypes");
    for event in EVENTS {
        body.leaf("t:EventType", event);
    }
    body.end();
    if kind == "m:PullSubscriptionRequest" {
        body.leaf("t:Timeout", "60");
    }
    let answer = desk.read(&body.done())?;
    let message = answer.one().map_err(|trouble| desk.fail(&trouble))?;
    let text = |name: &str| message.text_of(name).unwrap_or_default().to_owned();
    Ok((text("SubscriptionId"), text("Watermark")))
}

/// What happened before a subscription is never told: each one begins with a look.
fn announce_all(hear: Hear<'_>, of: impl IntoIterator<Item = Principal>) -> bool {
    of.into_iter().all(|principal| hear(&Announcement { principal: Some(principal), at: Vec::new() }))
}

/// Listens to a stream until it ends (`false`) or the host has enough (`true`).
fn stream(exchange: &Exchange, cx: &Context, request: &WatchRequest, hear: Hear<'_>) -> Result<bool> {
    let mut subscriptions = Subscriptions::new();
    for scope in request.scopes.iter().take(MOST) {
        let desk = Desk::of(exchange, cx, &scope.principal)?;
        let (id, _) = subscribe(&desk, scope, "m:StreamingSubscriptionRequest")?;
        subscriptions.insert(id, scope.principal.clone());
    }
    let Some(first) = request.scopes.first() else { return Ok(cx.wait(LONGEST_PAUSE)) };
    if !announce_all(hear, subscriptions.values().cloned()) {
        return Ok(true);
    }
    let desk = Desk::of(exchange, cx, &first.principal)?;
    let mut body = Writer::new();
    body.start("m:GetStreamingEvents").start("m:SubscriptionIds");
    for id in subscriptions.keys() {
        body.leaf("t:SubscriptionId", id);
    }
    body.end().leaf("m:ConnectionTimeout", &OPEN_MINUTES.to_string());
    let ask = desk.request(&body.done(), Effect::None, Some(Duration::from_secs(OPEN_MINUTES * 60 + 60)));
    let streaming = exchange.server.stream(cx, &ask)?;
    let (sender, receiver) = mpsc::sync_channel(16);
    // A read blocks for as long as the server is silent; the call must not. The thread ends with the stream.
    thread::spawn(move || forward(streaming, &sender));
    listen(cx, &receiver, &subscriptions, hear)
}

/// Cuts the stream into envelopes. It ends where one grows beyond all reason.
fn forward(mut streaming: Streaming, to: &mpsc::SyncSender<String>) {
    let mut reader = streaming.reader();
    let (mut pending, mut chunk) = (Vec::new(), [0_u8; 8 * 1024]);
    while let Ok(count @ 1..) = reader.read(&mut chunk) {
        pending.extend_from_slice(&chunk[..count]);
        while let Some(end) = end_of_envelope(&pending) {
            let envelope = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..end);
            if to.send(envelope).is_err() {
                return;
            }
        }
        if pending.len() > LARGEST_ENVELOPE {
            return;
        }
    }
}

/// Behind the end tag of the first envelope.
pub(crate) fn end_of_envelope(bytes: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"Envelope>";
    let mut ends = bytes.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let at = ends.find(|(at, _)| {
        // `</Envelope>`, or with a prefix.
        let opened = bytes[..*at].iter().rposition(|byte| *byte == b'<');
        opened.is_some_and(|open| bytes.get(open + 1) == Some(&b'/'))
    });
    at.map(|(at, _)| at + NAME.len())
}

fn listen(cx: &Context, from: &mpsc::Receiver<String>, subscriptions: &Subscriptions, hear: Hear<'_>) -> Result<bool> {
    loop {
        if cx.cancelled() {
            return Ok(true);
        }
        let first = match from.recv_timeout(Duration::from_millis(200)) {
            Ok(envelope) => envelope,
            Err(mpsc::RecvTimeoutError::Timeout) => continue,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(false),
        };
        let mut told = vec![first];
        if concerns(&told[0]) {
            if cx.wait(COLLECT) {
                return Ok(true);
            }
            told.extend(from.try_iter());
        }
        let mut changed: Vec<&Principal> = Vec::new();
        for envelope in &told {
            let Ok(envelope) = Node::parse(envelope) else { return Ok(false) };
            for message in messages(&envelope) {
                match message {
                    Message::Wrong(trouble) => {
                        return Err(Failure::new(
                            Class::NotFound,
                            format!("a subscription was lost ({})", trouble.code),
                        ));
                    }
                    Message::Fine(message) if message.text_of("ConnectionStatus") == Some("Closed") => {
                        return Ok(false);
                    }
                    Message::Fine(message) => {
                        let all = message.child("Notifications").into_iter().flat_map(|all| &all.children);
                        for id in all.filter_map(|one| one.text_of("SubscriptionId")) {
                            changed.extend(subscriptions.get(id).filter(|of| !changed.contains(of)));
                        }
                    }
                }
            }
        }
        if !announce_all(hear, changed.into_iter().cloned()) {
            return Ok(true);
        }
    }
}

fn concerns(envelope: &str) -> bool {
    envelope.contains("Notifications>")
}

/// Asks each mailbox from time to time.
fn pull(exchange: &Exchange, cx: &Context, request: &WatchRequest, hear: Hear<'_>) -> Result<bool> {
    let mut watched = Vec::new();
    for scope in &request.scopes {
        let desk = Desk::of(exchange, cx, &scope.principal)?;
        let subscription = subscribe(&desk, scope, "m:PullSubscriptionRequest")?;
        watched.push((scope.principal.clone(), subscription));
    }
    if !announce_all(hear, watched.iter().map(|(principal, _)| principal.clone())) {
        return Ok(true);
    }
    loop {
        if cx.wait(Duration::from_secs(exchange.config.pull_seconds.max(1).into())) {
            return Ok(true);
        }
        for (principal, (id, watermark)) in &mut watched {
            let desk = Desk::of(exchange, cx, principal)?;
            let mut body = Writer::new();
            body.start("m:GetEvents").leaf("m:SubscriptionId", id).leaf("m:Watermark", watermark);
            let answer = desk.read(&body.done())?;
            let Ok(message) = answer.one() else { return Ok(false) };
            let Some(notification) = message.child("Notification") else { continue };
            let events = || notification.children.iter().filter(|child| child.name.ends_with("Event"));
            if let Some(last) = events().filter_map(|event| event.text_of("Watermark")).next_back() {
                *watermark = last.to_owned();
            }
            if events().any(|event| event.name != "StatusEvent") && !announce_all(hear, [principal.clone()]) {
                return Ok(true);
            }
        }
    }
}
