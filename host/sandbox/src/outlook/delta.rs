//! Delta queries: a token is a place in the log of changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Graph;
use super::call::{Answer, Call, Reply, decoded, encoded};
use crate::store::{Event, Happened, Item};

/// Items on a page, where the client wishes nothing.
const PAGE: usize = 50;
/// The largest page.
const LARGEST: usize = 200;

/// What a token says. Clients never look inside.
#[derive(Debug, Clone, Default)]
pub(super) struct Token {
    /// Tokens of an older generation were dropped.
    generation: u64,
    /// Changes after this place in the log.
    since: u64,
    /// Of the first round: items after this serial number.
    after: Option<u64>,
    /// Fixed by the first request.
    pub(super) select: String,
    pub(super) window: Option<(String, String)>,
}

impl Token {
    /// Of the first round, which tells only what is there.
    pub(super) fn is_first(&self) -> bool {
        self.after.is_some()
    }

    fn read(text: &str) -> Option<Token> {
        let mut parts = text.split('!');
        let mut next = || parts.next();
        let generation = next()?.parse().ok()?;
        let since = next()?.parse().ok()?;
        let after = next()?.parse().ok();
        let select = decoded(next()?);
        let window = next()?.split_once('~').map(|(from, until)| (decoded(from), decoded(until)));
        Some(Token { generation, since, after, select, window })
    }

    fn write(&self) -> String {
        let after = self.after.map_or_else(String::new, |after| after.to_string());
        let window = self.window.as_ref().map(|(from, until)| format!("{}~{}", encoded(from), encoded(until)));
        let select = encoded(&self.select);
        format!("{}!{}!{after}!{select}!{}", self.generation, self.since, window.unwrap_or_default())
    }
}

/// What a delta is asked about.
pub(super) struct Scope<'a> {
    pub(super) owner: &'a str,
    pub(super) entity: &'a str,
    pub(super) container: Option<&'a str>,
}

impl Scope<'_> {
    fn holds(&self, item: &Item) -> bool {
        self.container.is_none_or(|container| item.container.as_deref() == Some(container))
    }

    fn concerns(&self, event: &Event) -> bool {
        event.entity == self.entity
            && self.container.is_none_or(|container| event.container.as_deref() == Some(container))
    }
}

impl Graph {
    /// One page. `show` tells what an item looks like here; several lines for a series.
    pub(super) fn delta(&self, call: &Call, scope: &Scope<'_>, show: impl Fn(&Item, &Token) -> Vec<Value>) -> Answer {
        let generation = self.generation(scope.owner);
        let text = call.option("deltatoken").or_else(|| call.option("skiptoken"));
        let mut token = match text {
            None => Token {
                generation,
                after: Some(0),
                since: self.core.read(|store| store.version()),
                select: call.option("select").unwrap_or_default().to_owned(),
                window: call
                    .option("startDateTime")
                    .zip(call.option("endDateTime"))
                    .map(|(from, until)| (from.to_owned(), until.to_owned())),
            },
            Some(text) => {
                let read = Token::read(text)
                    .ok_or_else(|| Reply::error(400, "SyncStateInvalid", "The sync state is invalid."))?;
                if read.generation != generation {
                    let fresh = call.link(&[]);
                    let gone = Reply::error(
                        410,
                        "syncStateNotFound",
                        "The sync state generation is not found; a full resync is required.",
                    );
                    return Err(gone.header("Location", fresh.trim_end_matches('?')));
                }
                read
            }
        };
        let size =
            call.preference("odata.maxpagesize").and_then(|size| size.parse().ok()).unwrap_or(PAGE).clamp(1, LARGEST);
        let (lines, more) = if token.after.is_some() {
            self.first_round(scope, &mut token, size, &show)
        } else {
            self.changed(call, scope, &mut token, size, &show)
        };
        let mut body =
            json!({ "@odata.context": format!("{}/v1.0/$metadata#Collection(item)", call.base), "value": lines });
        let link = |name: &str| call.link(&[(name, token.write())]);
        if more {
            body["@odata.nextLink"] = json!(link("$skiptoken"));
        } else {
            body["@odata.deltaLink"] = json!(link("$deltatoken"));
        }
        Ok(Reply::ok(body))
    }

    /// All that is there, oldest first; then the token stands where the round began.
    fn first_round(
        &self,
        scope: &Scope<'_>,
        token: &mut Token,
        size: usize,
        show: &impl Fn(&Item, &Token) -> Vec<Value>,
    ) -> (Vec<Value>, bool) {
        let after = token.after.unwrap_or_default();
        self.core.read(|store| {
            let mut rest =
                store.items(scope.owner, scope.entity).filter(|item| item.serial > after && scope.holds(item));
            let page: Vec<&Item> = rest.by_ref().take(size).collect();
            let more = rest.next().is_some();
            let lines = page.iter().flat_map(|item| show(item, token)).collect();
            token.after = page.last().map(|item| item.serial).filter(|_| more);
            (lines, more)
        })
    }

    /// What happened since, each item once. One that left and came back is told as removed alone, as the real server does
    /// with immutable ids.
    fn changed(
        &self,
        call: &Call,
        scope: &Scope<'_>,
        token: &mut Token,
        size: usize,
        show: &impl Fn(&Item, &Token) -> Vec<Value>,
    ) -> (Vec<Value>, bool) {
        self.core.read(|store| {
            let mut last: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
            for event in store.events_since(scope.owner, token.since).iter().filter(|event| scope.concerns(event)) {
                let entry = last.entry(event.id.as_str()).or_default();
                entry.0 = event.version;
                entry.1 |= event.happened == Happened::Left;
            }
            let mut order: Vec<(u64, &str, bool)> = last.into_iter().map(|(id, (at, left))| (at, id, left)).collect();
            order.sort_unstable();
            let more = order.len() > size;
            order.truncate(size);
            let lines = order.iter().flat_map(|(_, id, left)| match store.get(id).filter(|item| scope.holds(item)) {
                Some(item) if !left => show(item, token),
                here => {
                    let reason = if here.is_some() || store.get(id).is_some() { "changed" } else { "deleted" };
                    let id = store.get(id).map_or_else(|| (*id).to_owned(), |item| super::item::shown_id(item, call));
                    vec![json!({ "id": id, "@removed": { "reason": reason } })]
                }
            });
            let lines = lines.collect();
            token.since = order.last().map(|(at, _, _)| *at).filter(|_| more).unwrap_or_else(|| store.version());
            (lines, more)
        })
    }
}
