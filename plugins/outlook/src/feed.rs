//! The feed of changes.
//!
//! Each folder has a delta link of its own. A delta tells ids and members, but not extended properties, so that changed items
//! are read once more, twenty at a time.
//!
//! From the beginning a folder is read so: its delta is walked to the end for ids alone, which is cheap and gives the link;
//! then the folder is listed, whole records page by page; whatever changes meanwhile, the link tells later. Pages are counted
//! from the start of the folder, so that a removal in the meantime shifts one item past the reader: after a listing of
//! several pages the link is asked, and after a removal the folder is listed again.

use std::collections::BTreeSet;

use pairwise_http::{Answer, Json};
use pairwise_plugin_api::ops::{ChangesRequest, ListDetail, Scope};
use pairwise_plugin_api::{Change, Class, Context, Cursor, Failure, Name, Page, Principal, Reason, RecordRef, Result};
use serde::{Deserialize, Serialize};

use crate::connector::Outlook;
use crate::folders::{Folder, named};
use crate::graph::{PREFER, query};
use crate::kind::Kind;
use crate::read::folders_of;
use crate::record;

/// Items on one page of a delta: little more than ids. A server that finds this too much tells fewer.
const PAGE: &str = "odata.maxpagesize=500";

/// Changed items that are read one by one, in a few batches.
const FEW: usize = 40;

/// Where a round of reading stands: what a cursor holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    sources: Vec<Source>,
    /// The source that is being read.
    at: usize,
    /// The round began without a cursor.
    whole: bool,
    /// Pages were told, but the round is not at its end.
    midway: bool,
}

/// A folder, and how far it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Source {
    kind: Kind,
    /// Id of the folder.
    folder: String,
    /// Its path.
    path: String,
    /// The delta link; `None` before the delta was walked.
    delta: Option<String>,
    /// The next page of the listing, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listing: Option<String>,
    /// What the listing is of; empty for everything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filter: String,
    /// The listing has more than one page.
    #[serde(default)]
    long: bool,
    /// The listing tells no fields.
    #[serde(default)]
    brief: bool,
    /// When the window of a calendar's delta was set, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
}

impl Source {
    fn new(kind: Kind, folder: &Folder) -> Self {
        let (folder, path) = (folder.id.clone(), folder.path.clone());
        Source {
            kind,
            folder,
            path,
            delta: None,
            listing: None,
            filter: String::new(),
            long: false,
            brief: false,
            since: None,
        }
    }

    fn folder(&self) -> Folder {
        Folder { id: self.folder.clone(), path: self.path.clone(), writable: true }
    }
}

impl Place {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self> {
        serde_json::from_slice(&cursor.0)
            .map_err(|_| Failure::new(Class::CursorExpired, "the cursor is not one of this connector"))
    }

    pub(crate) fn cursor(&self) -> Result<Cursor> {
        let written = serde_json::to_vec(self).map_err(|error| Failure::new(Class::Other, error.to_string()))?;
        Ok(Cursor(written))
    }
}

/// What one request told.
struct Told {
    changes: Vec<Change>,
    answer: Answer,
}

impl Outlook {
    pub(crate) fn next_page(&self, cx: &Context, request: &ChangesRequest) -> Result<Page> {
        let mut place = match &request.cursor {
            None => Place { sources: self.sources(cx, request, &[])?, whole: true, ..Place::default() },
            Some(cursor) => Place::read(cursor)?,
        };
        if request.cursor.is_some() && !place.midway {
            place = Place { sources: self.sources(cx, request, &place.sources)?, ..Place::default() };
        }
        let reader = Reader {
            outlook: self,
            cx,
            principal: &request.principal,
            scope: &request.scope,
            fields: &request.fields,
            skip_own: request.skip_own,
            brief: request.detail == ListDetail::Ids,
        };
        let mut page = Page::default();
        while let Some(source) = place.sources.get_mut(place.at) {
            let (told, done) = reader.step(source)?;
            page.server_time = told.answer.server_time().or(page.server_time);
            page.changes.extend(told.changes);
            if done {
                place.at += 1;
            }
            if !page.changes.is_empty() {
                break;
            }
            cx.progress(0, 0);
        }
        page.more = place.at < place.sources.len();
        page.complete = place.whole && !page.more;
        page.same_store = true;
        if page.more {
            place.midway = true;
        } else {
            place = Place { sources: place.sources, ..Place::default() };
        }
        page.next = Some(place.cursor()?);
        Ok(page)
    }

    /// The folders to read: those of the scope as they are now, with what is known of them.
    fn sources(&self, cx: &Context, request: &ChangesRequest, known: &[Source]) -> Result<Vec<Source>> {
        let kinds = Kind::all_of(&request.entities)?;
        // Folders that are named are still those; without names there may be new ones.
        if !known.is_empty() && named(&request.scope)?.is_some() {
            return Ok(known.to_vec());
        }
        let mut sources = Vec::new();
        for kind in kinds {
            // `check`, with which a run begins, has read it anew.
            let tree = self.trees.get(&self.graph, cx, &request.principal, kind)?;
            for folder in folders_of(&tree, kind, &request.scope)? {
                let before = known.iter().find(|source| source.kind == kind && source.folder == folder.id);
                let source = before.map(|source| Source { path: folder.path.clone(), ..source.clone() });
                sources.push(source.unwrap_or_else(|| Source::new(kind, &folder)));
            }
        }
        if known.iter().any(|old| !sources.iter().any(|source| source.folder == old.folder)) {
            let text = "a folder of the scope was removed: the mailbox is listed again";
            return Err(Failure::new(Class::CursorExpired, text));
        }
        Ok(sources)
    }
}

/// Reads on behalf of one request.
struct Reader<'a> {
    outlook: &'a Outlook,
    cx: &'a Context,
    principal: &'a Principal,
    scope: &'a Scope,
    fields: &'a [Name],
    /// Items that are as we wrote them are not told.
    skip_own: bool,
    /// Where many items are told, they may be told without fields.
    brief: bool,
}

impl Reader<'_> {
    fn is_own(&self, line: &Json) -> bool {
        let left = |version: String| self.outlook.written.left(&self.principal.0, record::id(line), &version);
        self.skip_own && record::version(line).is_some_and(left)
    }

    /// One step of a source: what was told, and whether the source is done for this round.
    fn step(&self, source: &mut Source) -> Result<(Told, bool)> {
        if source.kind == Kind::Event {
            return self.step_of_calendar(source);
        }
        let Some(delta) = source.delta.clone() else {
            let path = self.outlook.folder_path(self.principal, source.kind, &source.folder());
            // What is selected here is what later pages tell: enough to know that an item changed, and when.
            let first = format!("{path}/delta{}", query(&[("$select", "id,lastModifiedDateTime")]));
            source.delta = Some(self.drain(&first, |_| ())?);
            return self.list_from_start(source, String::new());
        };
        if source.listing.is_some() && source.brief && !self.brief {
            // Another run left off here, to which less was enough.
            let filter = source.filter.clone();
            return self.list_from_start(source, filter);
        }
        if source.listing.is_some() {
            return self.list(source);
        }
        let (body, answer) = self.page(&delta)?;
        let (link, done) = following(&body)?;
        let changed = mentioned(&body, |line| self.is_own(line));
        if !done || changed.len() > FEW {
            return self.flood(source, &body, link, done, answer);
        }
        source.delta = Some(link);
        Ok((Told { changes: self.whole(source.kind, &changed)?, answer }, true))
    }

    fn page(&self, at: &str) -> Result<(Json, Answer)> {
        let prefer = format!("{PAGE}, {PREFER}");
        self.outlook.graph.get(self.cx, self.principal, at, &prefer, "reading changes")
    }

    /// Goes through a delta to its end, and looks at each line on the way.
    fn drain(&self, from: &str, mut look: impl FnMut(&Json)) -> Result<String> {
        let mut at = from.to_owned();
        loop {
            let (body, _) = self.page(&at)?;
            body["value"].as_array().into_iter().flatten().for_each(&mut look);
            let (link, done) = following(&body)?;
            if done {
                return Ok(link);
            }
            at = link;
            self.cx.progress(0, 0);
        }
    }

    /// Many changes, as by our own first run. Reading them one by one would use up the mailbox's requests: what was removed is
    /// asked for, and the rest is listed by the time of its change. `link` leads on, or to the next round where that is all.
    fn flood(&self, source: &mut Source, body: &Json, link: String, all: bool, answer: Answer) -> Result<(Told, bool)> {
        let (mut removed, mut oldest): (BTreeSet<String>, Option<String>) = (BTreeSet::new(), None);
        let mut look = |line: &Json| match line["lastModifiedDateTime"].as_str() {
            _ if self.is_own(line) => {}
            Some(time) if oldest.as_deref().is_none_or(|oldest| time < oldest) => oldest = Some(time.to_owned()),
            Some(_) => {}
            None => drop(removed.insert(record::id(line).to_owned())),
        };
        body["value"].as_array().into_iter().flatten().for_each(&mut look);
        source.delta = Some(if all { link } else { self.drain(&link, look)? });
        let changes = self.whole(source.kind, &removed)?;
        let Some(oldest) = oldest else { return Ok((Told { changes, answer }, true)) };
        let (mut told, done) = self.list_from_start(source, format!("lastModifiedDateTime ge {oldest}"))?;
        told.changes.retain(|change| change.record.as_ref().is_none_or(|record| !removed.contains(&record.at.id)));
        told.changes.extend(changes);
        Ok((told, done))
    }

    fn list_from_start(&self, source: &mut Source, filter: String) -> Result<(Told, bool)> {
        source.filter = filter;
        // What is read from the beginning is read whole.
        source.brief = self.brief && !source.filter.is_empty();
        source.listing = Some(self.listing(source));
        match self.list(source) {
            // Assumption: contacts can be filtered by time. A server that cannot lists all of them.
            Err(failure) if failure.class == Class::Refused && !source.filter.is_empty() => {
                self.list_from_start(source, String::new())
            }
            listed => listed,
        }
    }

    fn listing(&self, source: &Source) -> String {
        let (folder, filter) = (source.folder(), &source.filter);
        match source.brief {
            true => self.outlook.brief_listing(self.principal, source.kind, &folder, filter),
            false => self.outlook.listing(self.principal, source.kind, &folder, filter, self.fields),
        }
    }

    /// One page of a folder's listing.
    fn list(&self, source: &mut Source) -> Result<(Told, bool)> {
        let at = source.listing.take().unwrap_or_default();
        let (body, answer) = self.outlook.graph.get(self.cx, self.principal, &at, PREFER, "reading contacts")?;
        let items: Vec<&Json> = body["value"].as_array().into_iter().flatten().collect();
        let tree = self.outlook.tree_of(self.cx, self.principal, source.kind, items.iter().copied())?;
        let record = |item: &&Json| {
            Change::upsert(match source.brief {
                true => record::bare(source.kind, item, Some(&tree)),
                false => self.outlook.record(source.kind, item, Some(&tree), self.fields),
            })
        };
        let mut told = Told { changes: items.iter().map(record).collect(), answer };
        if let Some(next) = body["@odata.nextLink"].as_str() {
            (source.listing, source.long) = (Some(next.to_owned()), true);
            return Ok((told, false));
        }
        if !source.long {
            return Ok((told, true));
        }
        source.long = false;
        let (mut changed, mut removed) = (BTreeSet::new(), false);
        let begun = source.delta.clone().unwrap_or_default();
        source.delta = Some(self.drain(&begun, |line| {
            removed |= line.get("@removed").is_some();
            changed.insert(record::id(line).to_owned());
        })?);
        let again = self.whole(source.kind, &changed)?;
        told.changes.retain(|change| change.record.as_ref().is_none_or(|record| !changed.contains(&record.at.id)));
        told.changes.extend(again);
        if removed {
            source.listing = Some(self.listing(source));
        }
        Ok((told, !removed))
    }

    /// These items as they are now. One that a delta calls removed may have been moved away and back.
    fn whole(&self, kind: Kind, ids: &BTreeSet<String>) -> Result<Vec<Change>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list: Vec<&str> = ids.iter().map(String::as_str).collect();
        let items = self.outlook.items(self.cx, self.principal, kind, &list, self.fields)?;
        let tree = self.outlook.tree_of(self.cx, self.principal, kind, items.iter().flatten())?;
        let scope = tree.scope(kind, self.scope)?;
        let change = |(id, item): (&&str, Option<Json>)| {
            let at = RecordRef::new(kind.entity(), *id);
            let Some(item) = item else { return Change::removed(at, Reason::Deleted) };
            match item["parentFolderId"].as_str() {
                Some(parent) if tree.by_id(parent).is_none() => Change::removed(at, Reason::Deleted),
                Some(parent) if !scope.iter().any(|folder| folder.id == parent) => {
                    Change::removed(at, Reason::LeftScope)
                }
                _ => Change::upsert(self.outlook.record(kind, &item, Some(&tree), self.fields)),
            }
        };
        Ok(list.iter().zip(items).map(change).collect())
    }

    /// One step of a calendar, whose delta is a view of a window of time.
    fn step_of_calendar(&self, source: &mut Source) -> Result<(Told, bool)> {
        let (at, since) = match (&source.delta, source.since) {
            (Some(link), Some(since)) if !self.outlook.events.is_stale(since) => (link.clone(), since),
            _ => self.outlook.window(self.principal, &source.folder()),
        };
        let (body, answer) = self.page(&at)?;
        let ids = body["value"].as_array().into_iter().flatten().map(crate::event::subject_of);
        let ids: BTreeSet<String> = ids.map(str::to_owned).collect();
        let told = Told { changes: self.whole(Kind::Event, &ids)?, answer };
        let (link, done) = following(&body)?;
        (source.delta, source.since) = (Some(link), Some(since));
        Ok((told, done))
    }
}

/// The items that a page is about, without those whose state is known. One may stand there several times, in any order: as it
/// is now counts.
pub(crate) fn mentioned(body: &Json, is_known: impl Fn(&Json) -> bool) -> BTreeSet<String> {
    let lines = body["value"].as_array().into_iter().flatten().filter(|line| !is_known(line));
    lines.map(|line| record::id(line).to_owned()).collect()
}

/// Where a delta goes on, and whether it is at its end.
pub(crate) fn following(body: &Json) -> Result<(String, bool)> {
    let link = |name: &str| body[name].as_str().map(str::to_owned);
    match (link("@odata.nextLink"), link("@odata.deltaLink")) {
        (Some(next), _) => Ok((next, false)),
        (None, Some(delta)) => Ok((delta, true)),
        (None, None) => {
            Err(Failure::new(Class::Protocol, "a page of changes has neither a next link nor a delta link"))
        }
    }
}
