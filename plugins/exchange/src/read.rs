//! Reading: what changed, listings, records by id, records by values.

use std::collections::HashMap;

use pairwise_http::abreast;
use pairwise_plugin_api::ops::{ChangesRequest, FindRequest, GetRequest, ListDetail, ListRequest, Scope};
use pairwise_plugin_api::{
    Absent, Change, Class, Cursor, Failure, Fields, Found, Name, Page, Reason, Record, RecordRef, Result, Value,
};
use serde_json::json;

use crate::desk::{Desk, Folder};
use crate::fields::{KEY, SEARCH_KEY, UID, write_own_uri};
use crate::folders::Place;
use crate::item::{self, Read, Telling, as_asked, id_of, only, unreadable};
use crate::kind::{EXTENDED, Kind, property_of};
use crate::soap::{Trouble, is_stumble};
use crate::xml::{Node, Writer, is_true};

/// The most changes that the server tells in one answer.
const MOST_CHANGES: usize = 512;
/// The most values that one restriction compares with.
const MOST_VALUES: usize = 25;
/// The name by which the host looks for what was moved.
const INCARNATION: &str = "incarnation";
/// Items on one page of what a search finds.
const MOST_FOUND: &str = "1000";

/// How far each folder of a scope was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Entity, folder, sync state.
    states: Vec<(String, String, String)>,
    /// The folder that is being told, by its place in the scope.
    at: usize,
    /// Everything is told, from the beginning.
    whole: bool,
}

impl Memory {
    pub(crate) fn read(cursor: Option<&Cursor>) -> Result<Memory> {
        let Some(cursor) = cursor else { return Ok(Memory { whole: true, ..Memory::default() }) };
        let parsed = || {
            let value: serde_json::Value = serde_json::from_slice(&cursor.0).ok()?;
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let state = |one: &serde_json::Value| Some((text(one.get(0)?)?, text(one.get(1)?)?, text(one.get(2)?)?));
            Some(Memory {
                states: value.get("states")?.as_array()?.iter().map(state).collect::<Option<_>>()?,
                at: usize::try_from(value.get("at")?.as_u64()?).ok()?,
                whole: value.get("whole")?.as_bool()?,
            })
        };
        parsed().ok_or_else(|| Failure::new(Class::CursorExpired, "the cursor is none of this connector"))
    }

    pub(crate) fn write(&self) -> Cursor {
        Cursor(json!({ "states": self.states, "at": self.at, "whole": self.whole }).to_string().into_bytes())
    }

    fn state(&self, place: &Place) -> Option<&str> {
        let is = |(entity, folder, _): &&(String, String, String)| {
            entity == place.kind.entity() && folder == place.folder.key()
        };
        self.states.iter().find(is).map(|(_, _, state)| state.as_str()).filter(|state| !state.is_empty())
    }

    fn set(&mut self, place: &Place, state: String) {
        let (entity, folder) = (place.kind.entity().to_owned(), place.folder.key().to_owned());
        self.states.retain(|(of, id, _)| (of, id) != (&entity, &folder));
        self.states.push((entity, folder, state));
    }
}

/// One line of `SyncFolderItems`.
enum Line {
    Here(String, Option<String>),
    Gone(String),
}

/// What one answer of `SyncFolderItems` tells.
struct Told {
    lines: Vec<Line>,
    state: String,
    last: bool,
    server_time: Option<i64>,
}

/// Requests of one call that read items at the same time.
const AT_ONCE: usize = 2;

/// What a page is to tell of records.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    detail: ListDetail,
    fields: &'a [Name],
    /// Not of those that are as we wrote them.
    skip_own: bool,
}

/// The kinds that a request names.
pub(crate) fn kinds(entities: &[String]) -> Result<Vec<Kind>> {
    if entities.is_empty() {
        return Ok(Kind::ALL.to_vec());
    }
    entities.iter().map(|entity| Kind::of(entity)).collect()
}

impl Desk<'_> {
    /// The folders of a scope, of all kinds that are asked for.
    pub(crate) fn all_places(&self, entities: &[String], scope: &Scope) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for kind in kinds(entities)? {
            places.extend(self.places(kind, scope)?);
        }
        Ok(places)
    }

    /// A page of what changed.
    pub(crate) fn changes(&self, request: &ChangesRequest) -> Result<Page> {
        let memory = Memory::read(request.cursor.as_ref())?;
        let wanted = Wanted { detail: ListDetail::Full, fields: &request.fields, skip_own: request.skip_own };
        self.page(&request.entities, &request.scope, memory, request.limit, wanted)
    }

    /// A page of everything: the same feed, from its beginning.
    pub(crate) fn list(&self, request: &ListRequest) -> Result<Page> {
        let memory = Memory::read(request.page.as_ref())?;
        let wanted = Wanted { detail: request.detail, fields: &request.fields, skip_own: false };
        let mut page = self.page(&request.entities, &request.scope, memory, request.limit, wanted)?;
        if !page.more {
            page.next = None;
            page.same_store = true;
        }
        Ok(page)
    }

    fn page(
        &self,
        entities: &[String],
        scope: &Scope,
        mut memory: Memory,
        limit: u32,
        wanted: Wanted<'_>,
    ) -> Result<Page> {
        let places = self.all_places(entities, scope)?;
        let limit = usize::try_from(limit).unwrap_or(MOST_CHANGES).clamp(1, MOST_CHANGES);
        let mut page = Page::default();
        let mut most = limit;
        while let Some(place) = places.get(memory.at) {
            let told = self.sync(place, memory.state(place), most)?;
            page.server_time = told.server_time;
            self.take(place, told.lines, wanted, &mut page)?;
            memory.set(place, told.state);
            if told.last {
                memory.at += 1;
            }
            self.cx.progress(page.changes.len() as u64, 0);
            if page.changes.len() >= limit {
                break;
            }
            // After one that told nothing but our own writes more of them are to be expected, which take no room.
            most = if page.changes.is_empty() { MOST_CHANGES } else { limit - page.changes.len() };
        }
        page.more = memory.at < places.len();
        page.complete = !page.more && memory.whole;
        if !page.more {
            (memory.at, memory.whole) = (0, false);
        }
        page.next = Some(memory.write());
        Ok(page)
    }

    fn sync(&self, place: &Place, state: Option<&str>, most: usize) -> Result<Told> {
        let mut body = Writer::new();
        body.start("m:SyncFolderItems")
            .start("m:ItemShape")
            .leaf("t:BaseShape", "IdOnly")
            .end()
            .start("m:SyncFolderId");
        self.write_folder(&mut body, &place.folder);
        body.end();
        if let Some(state) = state {
            body.leaf("m:SyncState", state);
        }
        body.leaf("m:MaxChangesReturned", &most.to_string());
        let answer = self.read(&body.done())?;
        let message = answer.one().map_err(|trouble| self.fail(&trouble))?;
        let changes = message.child("Changes").into_iter().flat_map(Node::children);
        let line = |change: Node<'_>| match change.name() {
            "Create" | "Update" => {
                let item = change.child(place.kind.element())?;
                id_of(item).map(|(id, version)| Line::Here(id, version))
            }
            "Delete" => change.child("ItemId")?.attribute("Id").map(|id| Line::Gone(id.to_owned())),
            _ => None,
        };
        Ok(Told {
            lines: changes.filter_map(line).collect(),
            state: message.text_of("SyncState").unwrap_or_default().to_owned(),
            last: message.text_of("IncludesLastItemInRange").is_none_or(is_true),
            server_time: answer.server_time,
        })
    }

    /// Adds lines to a page, with the records that they speak of.
    fn take(
        &self,
        place: &Place,
        mut lines: Vec<Line>,
        Wanted { detail, fields, skip_own }: Wanted<'_>,
        page: &mut Page,
    ) -> Result<()> {
        if skip_own {
            let own = |line: &Line| match line {
                Line::Here(id, version) => {
                    version.as_ref().is_some_and(|version| self.exchange.written.left(&self.mailbox, id, version))
                }
                Line::Gone(_) => false,
            };
            lines.retain(|line| !own(line));
        }
        let entity = place.kind.entity();
        let container = Some(place.path.clone());
        let wanted: Vec<(String, Option<String>)> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Here(id, version) => Some((id.clone(), version.clone())),
                Line::Gone(_) => None,
            })
            .collect();
        let mut read: HashMap<String, Result2> = HashMap::new();
        if detail == ListDetail::Full {
            let ids: Vec<&str> = wanted.iter().map(|(id, _)| id.as_str()).collect();
            read = ids.iter().map(|id| (*id).to_owned()).zip(self.items(place.kind, &ids, fields)?).collect();
        }
        let known = |id: &str| page_has(page, id);
        let mut changes = Vec::new();
        for line in lines {
            match line {
                Line::Gone(id) => changes.push(Change::removed(RecordRef::new(entity, id), Reason::Unknown)),
                Line::Here(id, _) if known(&id) => {}
                Line::Here(id, version) if detail == ListDetail::Ids => {
                    let at = RecordRef::new(entity, id);
                    changes.push(Change::upsert(Record { at, version, ..Record::default() }));
                }
                Line::Here(id, version) => match read.remove(&id) {
                    Some(Ok(Some(found))) => {
                        let record = Record { container: container.clone(), ..found.record };
                        changes.push(Change::upsert(as_asked(place.kind, record, fields)));
                    }
                    // Another kind of item; or it went meanwhile, which the next round tells.
                    Some(Ok(None)) | None => {}
                    Some(Err(trouble)) if trouble.is("ErrorItemNotFound") => {}
                    Some(Err(trouble)) => {
                        let text = format!("the server cannot read this item: {} ({})", trouble.text, trouble.code);
                        changes.push(Change::upsert(unreadable(place.kind, &id, version, &text)));
                    }
                },
            }
        }
        page.changes.extend(changes);
        Ok(())
    }

    /// Records by id.
    pub(crate) fn get(&self, request: &GetRequest) -> Result<Vec<Found>> {
        let mut found: Vec<Found> = request.at.iter().map(|_| Found::default()).collect();
        for kind in Kind::ALL {
            let places: Vec<usize> =
                (0..request.at.len()).filter(|place| request.at[*place].entity == kind.entity()).collect();
            let ids: Vec<&str> = places.iter().map(|place| request.at[*place].id.as_str()).collect();
            for (place, read) in places.iter().zip(self.items(kind, &ids, &request.fields)?) {
                found[*place] = match read {
                    Ok(Some(read)) => Found::here(as_asked(kind, self.placed(read), &request.fields)),
                    Ok(None) => Found::gone(),
                    Err(trouble) if is_gone(&trouble) => Found::gone(),
                    Err(trouble) if trouble.is("ErrorAccessDenied") => Found { record: None, absent: Absent::Hidden },
                    Err(trouble) => {
                        let text = format!("the server cannot read this item: {} ({})", trouble.text, trouble.code);
                        Found::here(unreadable(kind, &request.at[*place].id, None, &text))
                    }
                };
            }
        }
        Ok(found)
    }

    fn placed(&self, read: Read) -> Record {
        let container = self.path_of(read.folder.as_deref());
        Record { container, ..read.record }
    }

    /// Items by id, in batches, with these fields (none means all): what was read, or what is wrong with each.
    pub(crate) fn items(&self, kind: Kind, ids: &[&str], fields: &[Name]) -> Result<Vec<Result2>> {
        let mut all = Vec::with_capacity(ids.len());
        let mut size = self.exchange.batch();
        let mut rest = ids;
        while !rest.is_empty() {
            let chunks: Vec<&[&str]> = rest.chunks(size).collect();
            for (chunk, read) in chunks.iter().zip(abreast(&chunks, AT_ONCE, |chunk| self.chunk(kind, chunk, fields))) {
                match read {
                    Ok(read) => {
                        all.extend(read);
                        self.cx.progress(all.len() as u64, ids.len() as u64);
                    }
                    // One item that the server stumbles over must not take the others with it.
                    Err(failure) if is_stumble(&failure) && chunk.len() > 1 => {
                        size = chunk.len().div_ceil(2);
                        break;
                    }
                    Err(failure) if is_stumble(&failure) && ids.len() > 1 => {
                        // A server that stumbles over each of them is out of order.
                        if all.len() + 1 == ids.len() && all.iter().all(|read: &Result2| read.is_err()) {
                            return Err(failure);
                        }
                        let code = "ErrorInternalServerError".to_owned();
                        all.push(Err(Trouble { code, text: failure.text, ..Trouble::default() }));
                    }
                    Err(failure) => return Err(failure),
                }
                rest = &rest[chunk.len()..];
            }
        }
        Ok(all)
    }

    fn chunk(&self, kind: Kind, ids: &[&str], fields: &[Name]) -> Result<Vec<Result2>> {
        let answer = self.read(&self.get_body(kind, ids, fields))?;
        let messages = answer.messages();
        if messages.len() != ids.len() {
            let text = format!("{} items were answered with {} messages", ids.len(), messages.len());
            return Err(Failure::new(Class::Protocol, text));
        }
        let telling = Telling::of(kind, &self.exchange.config.extended, fields);
        let read = |message: Node<'_>| {
            let item = message.child("Items").and_then(Node::first)?;
            item::read(&telling, item, self.name())
        };
        let mut items: Vec<Result2> = messages.into_iter().map(|message| message.fine().map(read)).collect();
        self.add_exceptions(&mut items)?;
        Ok(items)
    }

    /// The request for items by their ids, with these fields.
    pub(crate) fn get_body(&self, kind: Kind, ids: &[&str], fields: &[Name]) -> String {
        let mut body = Writer::new();
        body.start("m:GetItem");
        kind.write_shape(&mut body, &self.exchange.config.extended, fields);
        body.start("m:ItemIds");
        for id in ids {
            body.empty("t:ItemId", &[("Id", id)]);
        }
        body.done()
    }

    /// Records whose fields have one of the values, or that bear one of the keys.
    pub(crate) fn find(&self, request: &FindRequest) -> Result<Vec<Vec<Record>>> {
        let kind = Kind::of(&request.entity)?;
        let places = if request.scope.is_empty() { self.everywhere(kind)? } else { self.places(kind, &request.scope)? };
        let mut uris = Vec::new();
        for name in &request.by {
            let mut uri = Writer::new();
            match (kind.spec(name), name.strip_prefix(EXTENDED)) {
                _ if &**name == "uid" => write_own_uri(&mut uri, UID),
                _ if &**name == INCARNATION => {
                    uri.empty("t:ExtendedFieldURI", &[("PropertyTag", SEARCH_KEY), ("PropertyType", "Binary")]);
                }
                (Some(spec), _) => spec.place.write_uri(&mut uri),
                (None, Some(name)) => write_own_uri(&mut uri, &property_of(name)),
                (None, None) => {
                    return Err(Failure::new(Class::NotFound, format!("a {} has no field `{name}`", kind.entity())));
                }
            }
            uris.push(uri.done());
        }
        if uris.is_empty() {
            let mut uri = Writer::new();
            write_own_uri(&mut uri, KEY);
            uris.push(uri.done());
        }
        // What is compared must be read, too.
        let mut wanted = request.fields.clone();
        if !wanted.is_empty() {
            wanted.extend(request.by.iter().cloned());
        }
        let mut found = Vec::with_capacity(request.values.len());
        for values in request.values.chunks((MOST_VALUES / uris.len()).max(1)) {
            let ids = self.search(&places, &uris, values)?;
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let read: Vec<Read> =
                self.items(kind, &ids, &wanted)?.into_iter().filter_map(|read| read.ok().flatten()).collect();
            for value in values {
                let fits = |read: &&Read| bears(read, &request.by, value, request.case_sensitive);
                let records = read.iter().filter(fits).map(|read| only(self.placed(read.clone()), &request.fields));
                let mut records: Vec<Record> = records.collect();
                // Of copies with one key the oldest is the one that was made with it.
                records.sort_by_key(|record| record.created);
                found.push(records);
            }
        }
        Ok(found)
    }

    /// All folders of a kind, wherever they are; the deleted items are none.
    fn everywhere(&self, kind: Kind) -> Result<Vec<Place>> {
        let all = self.tree(kind, "/")?;
        let trash = self.id_of(&Folder::Known("deleteditems"))?;
        let trash = all.iter().find(|found| Some(&found.id) == trash.as_ref()).map(|found| format!("{}/", found.path));
        let is_trash = |path: &str| trash.as_deref().is_some_and(|trash| path.starts_with(trash));
        let wanted = all.into_iter().filter(|found| found.class == kind.folder_class() && !is_trash(&found.path));
        Ok(wanted.map(|found| Place { kind, path: found.path, folder: Folder::Id(found.id) }).collect())
    }

    /// The ids of items whose properties have one of the values.
    fn search(&self, places: &[Place], uris: &[String], values: &[String]) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let mut offset = Some(0);
        while let Some(from) = offset {
            offset = self.search_from(from, places, uris, values, &mut ids)?;
        }
        Ok(ids)
    }

    /// A page of them; where the next one begins.
    fn search_from(
        &self,
        from: u64,
        places: &[Place],
        uris: &[String],
        values: &[String],
        ids: &mut Vec<String>,
    ) -> Result<Option<u64>> {
        let mut body = Writer::new();
        body.start_with("m:FindItem", &[("Traversal", "Shallow")])
            .start("m:ItemShape")
            .leaf("t:BaseShape", "IdOnly")
            .end()
            .empty(
                "m:IndexedPageItemView",
                &[("MaxEntriesReturned", MOST_FOUND), ("Offset", &from.to_string()), ("BasePoint", "Beginning")],
            )
            .start("m:Restriction");
        let single = uris.len() * values.len() == 1;
        if !single {
            body.start("t:Or");
        }
        for uri in uris {
            for value in values {
                body.start("t:IsEqualTo")
                    .raw(uri)
                    .start("t:FieldURIOrConstant")
                    .empty("t:Constant", &[("Value", value)]);
                body.end().end();
            }
        }
        if !single {
            body.end();
        }
        body.end().start("m:ParentFolderIds");
        for place in places {
            self.write_folder(&mut body, &place.folder);
        }
        let answer = self.read(&body.done())?;
        let mut next = None;
        for message in answer.messages() {
            let message = message.fine().map_err(|trouble| self.fail(&trouble))?;
            let Some(root) = message.child("RootFolder") else { continue };
            let items = root.child("Items").into_iter().flat_map(Node::children);
            ids.extend(items.filter_map(id_of).map(|(id, _)| id));
            next = next.max(next_offset(root).filter(|next| *next > from));
        }
        Ok(next)
    }
}

/// Where the next page of a view begins, if there is one.
pub(crate) fn next_offset(root: Node<'_>) -> Option<u64> {
    let more = root.attribute("IncludesLastItemInRange").is_some_and(|last| !is_true(last));
    root.attribute("IndexedPagingOffset").filter(|_| more)?.parse().ok()
}

/// An item that was read: none if it is of another kind; or what is wrong with it.
pub(crate) type Result2 = std::result::Result<Option<Read>, Trouble>;

pub(crate) fn is_gone(trouble: &Trouble) -> bool {
    trouble.is("ErrorItemNotFound") || trouble.is("ErrorInvalidIdMalformed") || trouble.is("ErrorInvalidId")
}

fn page_has(page: &Page, id: &str) -> bool {
    page.changes.iter().any(|change| change.record.as_ref().is_some_and(|record| record.at.id == id))
}

/// Whether a record bears the value, in one of these fields or as its key.
fn bears(read: &Read, by: &[Name], value: &str, case_sensitive: bool) -> bool {
    let same = |text: &str| if case_sensitive { text == value } else { text.to_lowercase() == value.to_lowercase() };
    if by.is_empty() {
        return read.key.as_deref() == Some(value);
    }
    let fields: &Fields = &read.record.fields;
    by.iter().any(|name| match fields.get(name) {
        _ if &**name == "uid" => read.record.uid.as_deref().is_some_and(same),
        _ if &**name == INCARNATION => read.record.incarnation.as_deref() == Some(value),
        Some(Value::List(list)) => list.iter().any(|text| same(&text.to_string())),
        Some(text) => same(&text.to_string()),
        None => false,
    })
}
