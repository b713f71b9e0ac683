//! Announcing changes: streams that the server tells, or questions from time to time. An event is a reason to look, and no more.

use std::collections::HashMap;
use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pairwise_http::{Effect, Streaming};
use pairwise_plugin_api::ops::{Announcement, WatchRequest, WatchScope};
use pairwise_plugin_api::{Class, Context, Failure, Principal, Result, tracing};

use crate::connector::Exchange;
use crate::desk::Desk;
use crate::group::Group;
use crate::server::Ask;
use crate::settings::Notifications;
use crate::soap::{Message, messages};
use crate::xml::{Node, Tree, Writer};

/// Minutes that a stream stays open.
const OPEN_MINUTES: u64 = 10;
/// The most subscriptions of one stream.
const MOST: usize = 200;
/// How long it takes to notice that the call is cancelled, or that a stream has fallen silent.
const GLANCE: Duration = Duration::from_millis(200);
/// How long events are collected before they are announced: one edit makes several.
const COLLECT: Duration = Duration::from_secs(2);
/// The first pause after a stream was lost; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Bytes of the largest envelope of a stream; those of the server have some thousand.
const LARGEST_ENVELOPE: usize = 4 << 20;
/// The request whose events are asked for.
const PULL: &str = "m:PullSubscriptionRequest";
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

/// Subscribes to the folders of a scope; the id and where it begins.
fn subscribe(desk: &Desk<'_>, group: &Group, scope: &WatchScope, kind: &'static str) -> Result<(String, String)> {
    let mut body = Writer::new();
    body.start("m:Subscribe").start(kind).start("t:FolderIds");
    for place in desk.all_places(&scope.entities, &scope.scope)? {
        desk.write_folder(&mut body, &place.folder);
    }
    body.end().start("t:EventTypes");
    for event in EVENTS {
        body.leaf("t:EventType", event);
    }
    body.end();
    if kind == PULL {
        body.leaf("t:Timeout", "60");
    }
    let answer = desk.read_in(group, &body.done())?;
    let message = answer.one().map_err(|trouble| desk.fail(&trouble))?;
    let text = |name: &str| message.text_of(name).unwrap_or_default().to_owned();
    Ok((text("SubscriptionId"), text("Watermark")))
}

/// The same for a mailbox among others: one that is denied or gone is left to its schedule, and is no reason to hear of none.
fn subscribe_if_possible(
    desk: &Desk<'_>,
    group: &Group,
    scope: &WatchScope,
    kind: &'static str,
) -> Result<Option<(String, String)>> {
    match subscribe(desk, group, scope, kind) {
        Ok(subscription) => Ok(Some(subscription)),
        Err(failure) if matches!(failure.class, Class::Refused | Class::NotFound) => {
            tracing::warn!(mailbox = desk.name(), "no notifications: {failure}");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// What happened before a subscription is never told: each one begins with a look.
fn announce_all(hear: Hear<'_>, of: impl IntoIterator<Item = Principal>) -> bool {
    of.into_iter().all(|principal| hear(&Announcement { principal: Some(principal), at: Vec::new() }))
}

/// Listens to streams, each of as many mailboxes as one takes, until one ends (`false`) or the host has enough (`true`).
fn stream(exchange: &Exchange, cx: &Context, request: &WatchRequest, hear: Hear<'_>) -> Result<bool> {
    let mut subscriptions = Subscriptions::new();
    let (sender, receiver) = mpsc::sync_channel(16);
    let mut streams = Vec::new();
    for scopes in request.scopes.chunks(MOST) {
        let Some(first) = scopes.first() else { continue };
        let anchor = Desk::of(exchange, cx, &first.principal)?;
        let group = Group::of(anchor.name());
        let mut body = Writer::new();
        body.start("m:GetStreamingEvents").start("m:SubscriptionIds");
        let mut opener = None;
        for scope in scopes {
            let desk = Desk::of(exchange, cx, &scope.principal)?;
            if let Some((id, _)) = subscribe_if_possible(&desk, &group, scope, "m:StreamingSubscriptionRequest")? {
                body.leaf("t:SubscriptionId", &id);
                subscriptions.insert(id, scope.principal.clone());
                opener.get_or_insert(desk);
            }
        }
        body.end().leaf("m:ConnectionTimeout", &OPEN_MINUTES.to_string());
        if let Some(desk) = opener {
            let timeout = Some(Duration::from_secs(OPEN_MINUTES * 60 + 60));
            let ask = desk.request(&body.done(), Effect::None, timeout);
            streams.push(exchange.server.stream(cx, &Ask { group: Some(&group), ..ask })?);
        }
    }
    if streams.is_empty() {
        return Ok(cx.wait(LONGEST_PAUSE));
    }
    if !announce_all(hear, subscriptions.values().cloned()) {
        return Ok(true);
    }
    let mut heard = vec![Instant::now(); streams.len()];
    for (number, streaming) in streams.into_iter().enumerate() {
        let sender = sender.clone();
        // A read blocks for as long as the server is silent; the call must not. The thread ends with the stream.
        thread::spawn(move || {
            forward(streaming, |envelope| sender.send((number, Some(envelope))).is_ok());
            sender.send((number, None))
        });
    }
    let silence = Duration::from_secs(exchange.config.silence_seconds.max(1).into());
    loop {
        // Connections die without a word.
        if heard.iter().any(|heard| heard.elapsed() > silence) {
            return Ok(false);
        }
        if let Some(ended) = listen(cx, &receiver, &mut heard, &subscriptions, hear)? {
            return Ok(ended);
        }
    }
}

/// Cuts the stream into envelopes, for as long as somebody wants them. It ends where one grows beyond all reason.
fn forward(mut streaming: Streaming, to: impl Fn(String) -> bool) {
    let mut reader = streaming.reader();
    let (mut pending, mut chunk) = (Vec::new(), [0_u8; 8 * 1024]);
    while let Ok(count @ 1..) = reader.read(&mut chunk) {
        pending.extend_from_slice(&chunk[..count]);
        while let Some(end) = end_of_envelope(&pending) {
            let envelope = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..end);
            if !to(envelope) {
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

/// What a stream says: its number and an envelope, none at its end.
type Said = (usize, Option<String>);

/// Takes what the streams say next, if they say anything for now. The answer is that of [`stream`], once it is known.
fn listen(
    cx: &Context,
    from: &mpsc::Receiver<Said>,
    heard: &mut [Instant],
    subscriptions: &Subscriptions,
    hear: Hear<'_>,
) -> Result<Option<bool>> {
    if cx.cancelled() {
        return Ok(Some(true));
    }
    let mut said = match from.recv_timeout(GLANCE) {
        Ok(said) => vec![said],
        Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
        Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Some(false)),
    };
    if said[0].1.as_deref().is_some_and(concerns) {
        if cx.wait(COLLECT) {
            return Ok(Some(true));
        }
        said.extend(from.try_iter());
    }
    let mut changed: Vec<&Principal> = Vec::new();
    for (number, envelope) in &said {
        heard[*number] = Instant::now();
        let Some(Ok(envelope)) = envelope.as_deref().map(Tree::parse) else { return Ok(Some(false)) };
        for message in messages(envelope.root()) {
            match message {
                Message::Wrong(trouble) => {
                    return Err(Failure::new(Class::NotFound, format!("a subscription was lost ({})", trouble.code)));
                }
                Message::Fine(message) if message.text_of("ConnectionStatus") == Some("Closed") => {
                    return Ok(Some(false));
                }
                Message::Fine(message) => {
                    let all = message.child("Notifications").into_iter().flat_map(Node::children);
                    for id in all.filter_map(|one| one.text_of("SubscriptionId")) {
                        changed.extend(subscriptions.get(id).filter(|of| !changed.contains(of)));
                    }
                }
            }
        }
    }
    let is_enough = !announce_all(hear, changed.into_iter().cloned());
    Ok(is_enough.then_some(true))
}

fn concerns(envelope: &str) -> bool {
    envelope.contains("Notifications>")
}

/// Asks each mailbox from time to time.
fn pull(exchange: &Exchange, cx: &Context, request: &WatchRequest, hear: Hear<'_>) -> Result<bool> {
    let mut watched = Vec::new();
    for scope in &request.scopes {
        let desk = Desk::of(exchange, cx, &scope.principal)?;
        let group = Group::of(desk.name());
        if let Some(subscription) = subscribe_if_possible(&desk, &group, scope, PULL)? {
            watched.push((scope.principal.clone(), group, subscription));
        }
    }
    if !announce_all(hear, watched.iter().map(|(principal, ..)| principal.clone())) {
        return Ok(true);
    }
    loop {
        if cx.wait(Duration::from_secs(exchange.config.pull_seconds.max(1).into())) {
            return Ok(true);
        }
        for (principal, group, (id, watermark)) in &mut watched {
            let desk = Desk::of(exchange, cx, principal)?;
            let mut body = Writer::new();
            body.start("m:GetEvents").leaf("m:SubscriptionId", id).leaf("m:Watermark", watermark);
            let answer = desk.read_in(group, &body.done())?;
            let Ok(message) = answer.one() else { return Ok(false) };
            let Some(notification) = message.child("Notification") else { continue };
            let events = || notification.children().filter(|child| child.name().ends_with("Event"));
            if let Some(last) = events().filter_map(|event| event.text_of("Watermark")).last() {
                *watermark = last.to_owned();
            }
            if events().any(|event| event.name() != "StatusEvent") && !announce_all(hear, [principal.clone()]) {
                return Ok(true);
            }
        }
    }
}
