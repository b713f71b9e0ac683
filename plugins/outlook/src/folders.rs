//! Folders of a mailbox: the tree of contact folders or calendars, and the part of it that a scope names.
//!
//! A folder is known to the host by its path. The default folder's path is empty; those within it are `CRM`, `CRM/Leads`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pairwise_http::{Json, Method, Request, json};
use pairwise_plugin_api::ops::{Container, Scope};
use pairwise_plugin_api::{Class, Context, Failure, Principal, Result, Value};

use crate::batch::Part;
use crate::graph::{Graph, PREFER, segment};
use crate::kind::Kind;

/// The selector of a scope.
pub(crate) const FOLDER: &str = "folder";

/// Folders below folders are read so deep.
const DEEPEST: usize = 10;

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) writable: bool,
}

/// All folders of one kind in one mailbox, the default one first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) folders: Vec<Folder>,
}

impl Tree {
    pub(crate) fn by_id(&self, id: &str) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.id == id)
    }

    pub(crate) fn by_path(&self, path: &str) -> Option<&Folder> {
        let path = path.trim_matches('/');
        self.folders.iter().find(|folder| folder.path == path)
    }

    fn default_folder(&self) -> Option<&Folder> {
        self.folders.first()
    }

    /// The folders that a scope names, by path, by id, or by the name of the default folder; an empty scope is all of them.
    pub(crate) fn scope(&self, kind: Kind, scope: &Scope) -> Result<Vec<&Folder>> {
        let Some(named) = named(scope)? else { return Ok(self.folders.iter().collect()) };
        let folder = |name: &String| {
            let found = if is_default(kind, name) {
                self.default_folder()
            } else {
                self.by_path(name).or_else(|| self.by_id(name))
            };
            found.ok_or_else(|| {
                let known: Vec<&str> = self.folders.iter().skip(1).map(|folder| folder.path.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let text = format!(
                    "there is no folder `{name}` in the mailbox: make it, or correct `scope.…{FOLDER}`; beside the default \
                     folder `{}` there are: {known}",
                    kind.default_name()
                );
                Failure::new(Class::Config, text)
            })
        };
        named.iter().map(folder).collect()
    }
}

/// The folders that a scope names, as they are written; `None` for all.
pub(crate) fn named(scope: &Scope) -> Result<Option<Vec<String>>> {
    if let Some(unknown) = scope.keys().find(|key| *key != FOLDER) {
        let text = format!("a mailbox has no selector `{unknown}`; it has `{FOLDER}`");
        return Err(Failure::new(Class::Config, text));
    }
    match scope.get(FOLDER) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(name)) => Ok(Some(vec![name.to_string()])),
        Some(Value::List(list)) => Ok(Some(list.iter().map(ToString::to_string).collect())),
        Some(other) => {
            let text = format!("`{FOLDER}` is `{other}`; expected the path of a folder, or a list of such paths");
            Err(Failure::new(Class::Config, text))
        }
    }
}

/// True for the names of the folder that every mailbox has.
fn is_default(kind: Kind, name: &str) -> bool {
    let name = name.trim_matches('/');
    name.is_empty() || name.eq_ignore_ascii_case(kind.default_name())
}

/// The trees that were read, by mailbox and kind.
#[derive(Debug, Default)]
pub(crate) struct Trees(Mutex<BTreeMap<(Principal, Kind), Arc<Tree>>>);

impl Trees {
    /// The tree as it was when it was last read.
    pub(crate) fn get(&self, graph: &Graph, cx: &Context, principal: &Principal, kind: Kind) -> Result<Arc<Tree>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(principal.clone(), kind)).cloned();
        match known {
            Some(tree) => Ok(tree),
            None => self.read(graph, cx, principal, kind),
        }
    }

    /// The tree as it is now.
    pub(crate) fn read(&self, graph: &Graph, cx: &Context, principal: &Principal, kind: Kind) -> Result<Arc<Tree>> {
        let tree = Arc::new(read(graph, cx, principal, kind)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((principal.clone(), kind), Arc::clone(&tree));
        Ok(tree)
    }

    /// Finds a folder by its path, or makes what is missing of it.
    pub(crate) fn ensure(
        &self,
        graph: &Graph,
        cx: &Context,
        principal: &Principal,
        kind: Kind,
        path: &str,
    ) -> Result<Folder> {
        let mut tree = self.read(graph, cx, principal, kind)?;
        if is_default(kind, path) {
            return tree.default_folder().cloned().ok_or_else(|| no_default(kind));
        }
        let mut at = String::new();
        for name in path.trim_matches('/').split('/') {
            let above = tree.by_path(&at).map(|folder| folder.id.clone());
            at = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
            if tree.by_path(&at).is_none() {
                make(graph, cx, principal, kind, above.as_deref(), name)?;
                tree = self.read(graph, cx, principal, kind)?;
            }
        }
        tree.by_path(&at).cloned().ok_or_else(|| {
            Failure::new(Class::Other, format!("the folder `{at}` was made, but the mailbox does not list it"))
        })
    }
}

fn no_default(kind: Kind) -> Failure {
    Failure::new(Class::Other, format!("the mailbox does not tell where its folder `{}` is", kind.default_name()))
}

fn make(graph: &Graph, cx: &Context, principal: &Principal, kind: Kind, above: Option<&str>, name: &str) -> Result<()> {
    let mailbox = graph.mailbox(principal);
    let at = match (kind, above) {
        (Kind::Contact, Some(id)) => format!("{mailbox}/contactFolders/{}/childFolders", segment(id)),
        (Kind::Contact, None) => format!("{mailbox}/contactFolders"),
        (Kind::Event, _) => format!("{mailbox}/calendars"),
    };
    let body = match kind {
        Kind::Contact => json!({ "displayName": name }),
        Kind::Event => json!({ "name": name }),
    };
    let request = Request::new(Method::Post, at).body("application/json", body.to_string()).header("Prefer", PREFER);
    let _permit = graph.pass(cx, principal, 1)?;
    let answer = graph.send(cx, principal, request)?;
    graph.json(&answer, principal, "making a folder").map(drop)
}

fn read(graph: &Graph, cx: &Context, principal: &Principal, kind: Kind) -> Result<Tree> {
    match kind {
        Kind::Contact => read_contact_folders(graph, cx, principal),
        Kind::Event => read_calendars(graph, cx, principal),
    }
}

/// The default folder and what lies in it. Assumption: the default folder answers to its well-known name, which is not
/// documented; a mailbox that does not know it tells the id as the parent of its other folders.
fn read_contact_folders(graph: &Graph, cx: &Context, principal: &Principal) -> Result<Tree> {
    let doing = "reading the contact folders";
    let mailbox = graph.mailbox(principal);
    let select = "$select=id,displayName,parentFolderId&$top=250";
    let parts = [
        Part::get(format!("{mailbox}/contactFolders/contacts?$select=id")),
        Part::get(format!("{mailbox}/contactFolders?{select}")),
        Part::get(format!("{mailbox}/contacts?$top=1&$select=id,parentFolderId")),
    ];
    let replies = graph.read_all(cx, principal, &parts, doing)?;
    if let Some(refused) = replies[1..].iter().find(|reply| !reply.is_success()) {
        return Err(Failure::new(Class::Other, format!("{doing}: {}", refused.problem().said())));
    }
    let first = |reply: &Json, member: &str| reply["value"][0][member].as_str().map(str::to_owned);
    let default = replies[0].body["id"].as_str().map(str::to_owned).filter(|_| replies[0].is_success());
    let default = default.or_else(|| first(&replies[1].body, "parentFolderId"));
    let default = default.or_else(|| first(&replies[2].body, "parentFolderId")).unwrap_or_default();
    let mut tree = Tree { folders: vec![Folder { id: default, path: String::new(), writable: true }] };
    let mut level = listed(graph, cx, principal, replies[1].body.clone(), "")?;
    for _ in 0..DEEPEST {
        if level.is_empty() {
            break;
        }
        let child = |folder: &Folder| {
            Part::get(format!("{mailbox}/contactFolders/{}/childFolders?{select}", segment(&folder.id)))
        };
        let parts: Vec<Part> = level.iter().map(child).collect();
        let replies = graph.read_all(cx, principal, &parts, doing)?;
        let mut next = Vec::new();
        for (folder, reply) in level.iter().zip(replies) {
            next.extend(listed(graph, cx, principal, reply.body, &folder.path)?);
        }
        tree.folders.append(&mut level);
        level = next;
    }
    Ok(tree)
}

/// The folders of a listing, its further pages included.
fn listed(graph: &Graph, cx: &Context, principal: &Principal, mut body: Json, above: &str) -> Result<Vec<Folder>> {
    let mut folders = Vec::new();
    loop {
        for folder in body["value"].as_array().into_iter().flatten() {
            let (Some(id), Some(name)) = (folder["id"].as_str(), folder["displayName"].as_str()) else { continue };
            let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
            folders.push(Folder { id: id.to_owned(), path, writable: true });
        }
        let Some(next) = body["@odata.nextLink"].as_str().map(str::to_owned) else { return Ok(folders) };
        body = graph.get(cx, principal, &next, PREFER, "reading the contact folders")?.0;
    }
}

fn read_calendars(graph: &Graph, cx: &Context, principal: &Principal) -> Result<Tree> {
    let doing = "reading the calendars";
    let mut tree = Tree::default();
    let mut at = format!("{}/calendars?$select=id,name,isDefaultCalendar,canEdit&$top=100", graph.mailbox(principal));
    loop {
        let (body, _) = graph.get(cx, principal, &at, PREFER, doing)?;
        for calendar in body["value"].as_array().into_iter().flatten() {
            let (Some(id), Some(name)) = (calendar["id"].as_str(), calendar["name"].as_str()) else { continue };
            let writable = calendar["canEdit"].as_bool().unwrap_or(true);
            if calendar["isDefaultCalendar"].as_bool() == Some(true) {
                tree.folders.insert(0, Folder { id: id.to_owned(), path: String::new(), writable });
            } else {
                tree.folders.push(Folder { id: id.to_owned(), path: name.to_owned(), writable });
            }
        }
        let Some(next) = body["@odata.nextLink"].as_str() else { break };
        at = next.to_owned();
    }
    match tree.folders.first() {
        Some(first) if first.path.is_empty() => Ok(tree),
        _ => Err(no_default(Kind::Event)),
    }
}

/// As the host knows it.
pub(crate) fn container(folder: &Folder) -> Container {
    Container { id: folder.path.clone(), path: folder.path.clone(), columns: Vec::new(), writable: folder.writable }
}
