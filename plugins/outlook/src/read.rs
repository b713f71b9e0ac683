//! Reading items: by id in batches, whole folders, and by what they hold.

use std::collections::HashMap;
use std::sync::Arc;

use pairwise_http::Json;
use pairwise_plugin_api::ops::{FindRequest, GetRequest, Scope};
use pairwise_plugin_api::{Class, Context, Failure, Found, Name, Principal, Record, Result, Value};

use crate::batch::{Part, Reply};
use crate::connector::Outlook;
use crate::folders::{Folder, Tree};
use crate::graph::{PREFER, query, segment};
use crate::kind::Kind;
use crate::property::{self, KEY, UID};
use crate::record;

/// Items on one page of a listing.
pub(crate) const LISTED: &str = "250";

/// Members of items that are listed briefly, and how many stand on one page: the most that the server tells.
const BRIEF: &str = "id,changeKey,parentFolderId";
const LISTED_BRIEFLY: &str = "999";

/// Values that one filter asks for. Longer ones are refused as too complex.
const FILTERED: usize = 15;

impl Outlook {
    /// The request for one item, with all that a record of these fields needs.
    pub(crate) fn item(&self, principal: &Principal, kind: Kind, id: &str, fields: &[Name]) -> Part {
        let (select, expand) = match kind {
            Kind::Contact => (self.select(kind, fields), self.expand(kind, fields)),
            Kind::Event => self.events.of_series(),
        };
        let query = query(&[("$select", &select), ("$expand", &expand)]);
        let mailbox = self.graph.mailbox(principal);
        Part::get(format!("{mailbox}/{}/{}{query}", kind.collection(), segment(id)))
    }

    /// Items by id, in their order; `None` where there is none.
    pub(crate) fn items(
        &self,
        cx: &Context,
        principal: &Principal,
        kind: Kind,
        ids: &[&str],
        fields: &[Name],
    ) -> Result<Vec<Option<Json>>> {
        let parts: Vec<Part> = ids.iter().map(|id| self.item(principal, kind, id, fields)).collect();
        let doing = format!("reading {}s", kind.entity());
        let replies = self.graph.read_all(cx, principal, &parts, &doing)?;
        let item = |reply: Reply| match reply.status {
            200 => Ok(Some(reply.body)),
            // Ids of another mailbox or system are malformed here.
            404 => Ok(None),
            400 if reply.problem().code.starts_with("ErrorInvalidId") => Ok(None),
            _ => Err(Failure::new(Class::Other, format!("{doing}: {}", reply.problem().said()))),
        };
        replies.into_iter().map(item).collect()
    }

    /// The tree of folders in which all of these items lie, as far as they lie in it at all: one that was made meanwhile must
    /// not pass for the deleted items.
    pub(crate) fn tree_of<'a>(
        &self,
        cx: &Context,
        principal: &Principal,
        kind: Kind,
        mut items: impl Iterator<Item = &'a Json>,
    ) -> Result<Arc<Tree>> {
        let tree = self.trees.get(&self.graph, cx, principal, kind)?;
        let strange = |item: &Json| item["parentFolderId"].as_str().is_some_and(|id| tree.by_id(id).is_none());
        if items.any(strange) { self.trees.read(&self.graph, cx, principal, kind) } else { Ok(tree) }
    }

    pub(crate) fn get_records(&self, cx: &Context, request: &GetRequest) -> Result<Vec<Found>> {
        let mut found = vec![Found::gone(); request.at.len()];
        for kind in Kind::ALL {
            let places: Vec<usize> =
                (0..request.at.len()).filter(|place| request.at[*place].entity == kind.entity()).collect();
            if places.is_empty() {
                continue;
            }
            let ids: Vec<&str> = places.iter().map(|place| request.at[*place].id.as_str()).collect();
            let items = self.items(cx, &request.principal, kind, &ids, &request.fields)?;
            let tree = self.tree_of(cx, &request.principal, kind, items.iter().flatten())?;
            let scope = tree.scope(kind, &request.scope)?;
            for (place, item) in places.into_iter().zip(items) {
                if let Some(item) = item {
                    found[place] = self.found(kind, &item, &tree, &scope, &request.fields);
                }
            }
        }
        Ok(found)
    }

    /// What an item is to somebody who works in these folders. One that lies in no folder of its kind was deleted.
    fn found(&self, kind: Kind, item: &Json, tree: &Tree, scope: &[&Folder], fields: &[Name]) -> Found {
        match item["parentFolderId"].as_str() {
            Some(parent) if tree.by_id(parent).is_none() => Found::gone(),
            Some(parent) if !scope.iter().any(|folder| folder.id == parent) => Found::default(),
            _ => Found::here(self.record(kind, item, Some(tree), fields)),
        }
    }

    /// A whole record.
    pub(crate) fn record(&self, kind: Kind, item: &Json, tree: Option<&Tree>, fields: &[Name]) -> Record {
        let mut made = record::bare(kind, item, tree);
        match kind {
            Kind::Contact => made.fields = self.contacts.read(item, true, fields),
            Kind::Event => {
                self.events.fill(item, true, &mut made);
                made.fields = record::keep(made.fields, fields);
            }
        }
        made
    }

    /// The address of a folder's items: all that a record needs, by pages.
    pub(crate) fn listing(
        &self,
        principal: &Principal,
        kind: Kind,
        folder: &Folder,
        filter: &str,
        fields: &[Name],
    ) -> String {
        let (select, expand) = (self.select(kind, fields), self.expand(kind, fields));
        let query = query(&[("$select", &select), ("$expand", &expand), ("$filter", filter), ("$top", LISTED)]);
        format!("{}{query}", self.folder_path(principal, kind, folder))
    }

    /// The same with no more than what tells which state of which item it is.
    pub(crate) fn brief_listing(&self, principal: &Principal, kind: Kind, folder: &Folder, filter: &str) -> String {
        let expand = property::expand([property::SEARCH_KEY].into_iter());
        let query = query(&[("$select", BRIEF), ("$expand", &expand), ("$filter", filter), ("$top", LISTED_BRIEFLY)]);
        format!("{}{query}", self.folder_path(principal, kind, folder))
    }

    /// The path of a folder's items.
    pub(crate) fn folder_path(&self, principal: &Principal, kind: Kind, folder: &Folder) -> String {
        let mailbox = self.graph.mailbox(principal);
        match kind {
            // The default folder needs no id.
            Kind::Contact if folder.path.is_empty() => format!("{mailbox}/contacts"),
            Kind::Contact => format!("{mailbox}/contactFolders/{}/contacts", segment(&folder.id)),
            Kind::Event if folder.path.is_empty() => format!("{mailbox}/calendar/events"),
            Kind::Event => format!("{mailbox}/calendars/{}/events", segment(&folder.id)),
        }
    }

    pub(crate) fn find_records(&self, cx: &Context, request: &FindRequest) -> Result<Vec<Vec<Record>>> {
        let kind = Kind::of(&request.entity)?;
        let tree = self.trees.read(&self.graph, cx, &request.principal, kind)?;
        let folders = tree.scope(kind, &request.scope)?;
        let mut found: HashMap<String, Vec<Record>> = HashMap::new();
        let fold = |text: &str| if request.case_sensitive { text.to_owned() } else { text.to_lowercase() };
        let wanted: std::collections::HashSet<String> = request.values.iter().map(|value| fold(value)).collect();
        let mut take = |item: &Json| {
            let record = self.record(kind, item, Some(&tree), &[]);
            for value in values(item, &record, &request.by) {
                let value = fold(&value);
                if wanted.contains(&value) {
                    let list = found.entry(value).or_default();
                    if !list.iter().any(|known| known.at == record.at) {
                        list.push(record.clone());
                    }
                }
            }
        };
        // What is compared must be read, too.
        let mut fields = request.fields.clone();
        if !fields.is_empty() {
            fields.extend(request.by.iter().cloned());
        }
        // What Graph cannot search is looked through.
        let filters = self.filters(kind, request).unwrap_or_else(|| vec![String::new()]);
        let listing = |folder, filter: &String| self.listing(&request.principal, kind, folder, filter, &fields);
        let pages: Vec<String> =
            folders.iter().flat_map(|folder| filters.iter().map(move |filter| listing(folder, filter))).collect();
        for first in pages {
            let mut at = Some(first);
            while let Some(url) = at {
                let doing = format!("looking for {}s", kind.entity());
                let (body, _) = self.graph.get(cx, &request.principal, &url, PREFER, &doing)?;
                for item in body["value"].as_array().into_iter().flatten() {
                    take(item);
                }
                at = body["@odata.nextLink"].as_str().map(str::to_owned);
                cx.progress(0, 0);
            }
        }
        if kind == Kind::Event {
            self.complete(cx, &request.principal, &tree, found.values_mut().flatten())?;
        }
        let answer = |value: &String| {
            let records = found.get(&fold(value)).cloned().unwrap_or_default();
            records.into_iter().map(|mut record| {
                record.fields = record::keep(record.fields, &request.fields);
                record
            })
        };
        Ok(request.values.iter().map(|value| answer(value).collect()).collect())
    }

    /// A listing does not tell which occurrences of a series differ.
    fn complete<'a>(
        &self,
        cx: &Context,
        principal: &Principal,
        tree: &Tree,
        found: impl Iterator<Item = &'a mut Record>,
    ) -> Result<()> {
        let series: Vec<&mut Record> =
            found.filter(|record| record.fields.get("recurring") == Some(&Value::Bool(true))).collect();
        let ids: Vec<String> = series.iter().map(|record| record.at.id.clone()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for (record, item) in series.into_iter().zip(self.items(cx, principal, Kind::Event, &ids, &[])?) {
            if let Some(item) = item {
                *record = self.record(Kind::Event, &item, Some(tree), &[]);
            }
        }
        Ok(())
    }

    /// Filters that find the values, where Graph can search for them.
    fn filters(&self, kind: Kind, request: &FindRequest) -> Option<Vec<String>> {
        let test: fn(&str) -> String = if request.by.is_empty() {
            |key| property::filter(KEY, key)
        } else if kind == Kind::Contact && request.by.iter().all(|name| &**name == "uid") {
            |uid| property::filter(UID, uid)
        } else if kind == Kind::Contact && request.by.iter().all(|name| name.starts_with("emailAddresses/")) {
            |mail| format!("emailAddresses/any(a:a/address eq '{}')", property::quoted(mail))
        } else {
            return None;
        };
        let any = |values: &[String]| values.iter().map(|value| test(value)).collect::<Vec<_>>().join(" or ");
        Some(request.values.chunks(FILTERED).map(any).collect())
    }
}

/// The paths of the folders that a scope names, for messages and cursors.
pub(crate) fn folders_of(tree: &Tree, kind: Kind, scope: &Scope) -> Result<Vec<Folder>> {
    Ok(tree.scope(kind, scope)?.into_iter().cloned().collect())
}

/// What an item holds in the fields that are compared.
fn values(item: &Json, record: &Record, by: &[Name]) -> Vec<String> {
    if by.is_empty() {
        return record::own(item, KEY).into_iter().collect();
    }
    let value = |name: &Name| match &**name {
        "uid" => record.uid.clone(),
        name => record.fields.get(name).filter(|value| !value.is_empty()).map(Value::to_string),
    };
    by.iter().filter_map(value).collect()
}
