//! Folders: a scope's names and paths, and the ids behind them.
//!
//! A folder is named by its path from the folder where new records go: empty for that folder itself, `CRM/Leads` for one
//! beneath it; `/Archive` begins at the top of the mailbox. `contacts` and `calendar` name the folders that every mailbox has.

use pairwise_plugin_api::ops::{Container, Scope};
use pairwise_plugin_api::{Class, Failure, Result, Value};

use crate::desk::{Desk, Folder};
use crate::kind::{FOLDER, Kind};
use crate::read::next_offset;
use crate::xml::{Node, Writer};

/// Folders on one page.
const PAGE: &str = "1000";

/// A folder of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// Its path, as records and writes name it.
    pub(crate) path: String,
    pub(crate) folder: Folder,
}

/// A folder of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) class: String,
}

/// The paths that a scope names, without those that stand for the same.
pub(crate) fn paths(kind: Kind, scope: &Scope) -> Result<Vec<String>> {
    if let Some(unknown) = scope.keys().find(|key| *key != FOLDER) {
        let text = format!("a mailbox has no selector `{unknown}`; it has `{FOLDER}`");
        return Err(Failure::new(Class::Config, text));
    }
    let mut paths: Vec<String> = match scope.get(FOLDER) {
        None | Some(Value::Null) => vec![String::new()],
        Some(Value::Text(path)) => vec![plain(kind, path)],
        Some(Value::List(list)) => list.iter().map(|path| plain(kind, &path.to_string())).collect(),
        Some(other) => {
            let text = format!("`{FOLDER}` is `{other}`; expected the path of a folder, or a list of such paths");
            return Err(Failure::new(Class::Config, text));
        }
    };
    paths.dedup();
    Ok(paths)
}

fn plain(kind: Kind, path: &str) -> String {
    let path = path.trim().trim_end_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if first.eq_ignore_ascii_case(kind.home()) { rest.to_owned() } else { path.to_owned() }
}

impl Desk<'_> {
    /// The folders of a scope.
    pub(crate) fn places(&self, kind: Kind, scope: &Scope) -> Result<Vec<Place>> {
        paths(kind, scope)?.into_iter().map(|path| self.place(kind, path)).collect()
    }

    /// The folder of a path.
    pub(crate) fn place(&self, kind: Kind, path: String) -> Result<Place> {
        if path.is_empty() {
            return Ok(Place { kind, path, folder: Folder::home(kind) });
        }
        let known = self.exchange.folder_ids().get(&(self.mailbox.clone(), kind, path.clone())).cloned();
        let id = match known {
            Some(id) => Some(id),
            None => self
                .tree(kind, &path)?
                .into_iter()
                .find(|found| found.path.eq_ignore_ascii_case(&path))
                .map(|found| found.id),
        };
        let id = id.ok_or_else(|| {
            Failure::new(
                Class::NotFound,
                format!("the mailbox {} has no folder `{path}`: make it, or correct `{FOLDER}`", self.name()),
            )
        })?;
        self.exchange.folder_ids().insert((self.mailbox.clone(), kind, path.clone()), id.clone());
        Ok(Place { kind, path, folder: Folder::Id(id) })
    }

    /// The folders of a kind beneath the one that a path begins at.
    pub(crate) fn tree(&self, kind: Kind, path: &str) -> Result<Vec<Found>> {
        let (top, prefix) =
            if path.starts_with('/') { (Folder::Known("msgfolderroot"), "/") } else { (Folder::home(kind), "") };
        let mut folders = Vec::new();
        let mut offset = Some(0);
        while let Some(from) = offset {
            offset = self.folders_from(from, &top, &mut folders)?;
        }
        let parent_of: Vec<(&str, &str, &str)> =
            folders.iter().map(|[id, parent, name, _]| (id.as_str(), parent.as_str(), name.as_str())).collect();
        let path_of = |of: &str| {
            let mut names: Vec<&str> = Vec::new();
            let mut at = of;
            while let Some((_, parent, name)) = parent_of.iter().find(|(id, ..)| *id == at) {
                names.push(name);
                if names.len() > parent_of.len() {
                    break;
                }
                at = parent;
            }
            names.reverse();
            format!("{prefix}{}", names.join("/"))
        };
        let found =
            folders.iter().map(|[id, _, _, class]| Found { path: path_of(id), id: id.clone(), class: class.clone() });
        Ok(found.collect())
    }

    /// A page of the folders beneath one: id, parent, name and class of each; where the next one begins.
    fn folders_from(&self, from: u64, top: &Folder, folders: &mut Vec<[String; 4]>) -> Result<Option<u64>> {
        let mut body = Writer::new();
        body.start_with("m:FindFolder", &[("Traversal", "Deep")]).start("m:FolderShape").leaf("t:BaseShape", "IdOnly");
        body.start("t:AdditionalProperties");
        for uri in ["folder:DisplayName", "folder:ParentFolderId", "folder:FolderClass"] {
            body.empty("t:FieldURI", &[("FieldURI", uri)]);
        }
        body.end().end();
        body.empty(
            "m:IndexedPageFolderView",
            &[("MaxEntriesReturned", PAGE), ("Offset", &from.to_string()), ("BasePoint", "Beginning")],
        );
        body.start("m:ParentFolderIds");
        self.write_folder(&mut body, top);
        let answer = self.read(&body.done())?;
        let message = answer.one().map_err(|trouble| self.fail(&trouble))?;
        let Some(root) = message.child("RootFolder") else { return Ok(None) };
        let id = |folder: Node<'_>, name: &str| folder.child(name).and_then(|id| id.attribute("Id")).map(str::to_owned);
        let text = |folder: Node<'_>, name: &str| folder.text_of(name).unwrap_or_default().to_owned();
        for folder in root.child("Folders").into_iter().flat_map(Node::children) {
            let Some(own) = id(folder, "FolderId") else { continue };
            let parent = id(folder, "ParentFolderId").unwrap_or_default();
            folders.push([own, parent, text(folder, "DisplayName"), text(folder, "FolderClass")]);
        }
        Ok(next_offset(root).filter(|next| *next > from))
    }

    /// All folders of a kind, for people to choose from.
    pub(crate) fn containers(&self, kind: Kind) -> Result<Vec<Container>> {
        let home =
            Container { id: String::new(), path: kind.home().to_owned(), writable: true, ..Container::default() };
        let beneath = self.tree(kind, "")?.into_iter().filter(|found| found.class == kind.folder_class());
        let beneath = beneath.map(|found| Container {
            id: found.path.clone(),
            path: format!("{}/{}", kind.home(), found.path),
            writable: true,
            ..Container::default()
        });
        Ok([home].into_iter().chain(beneath).collect())
    }

    /// Finds a folder by its path, or makes what is missing of it.
    pub(crate) fn ensure(&self, kind: Kind, path: &str) -> Result<Place> {
        let path = plain(kind, path);
        if path.is_empty() {
            return self.place(kind, path);
        }
        let known = self.tree(kind, &path)?;
        let rooted = path.starts_with('/');
        let mut parent = if rooted { Folder::Known("msgfolderroot") } else { Folder::home(kind) };
        let mut at = String::new();
        for name in path.trim_start_matches('/').split('/').filter(|name| !name.is_empty()) {
            at = match (at.as_str(), rooted) {
                ("", true) => format!("/{name}"),
                ("", false) => name.to_owned(),
                (before, _) => format!("{before}/{name}"),
            };
            let id = match known.iter().find(|found| found.path.eq_ignore_ascii_case(&at)) {
                Some(found) => found.id.clone(),
                None => self.make(kind, &parent, &at, name)?,
            };
            parent = Folder::Id(id);
        }
        if let Folder::Id(id) = &parent {
            self.exchange.folder_ids().insert((self.mailbox.clone(), kind, path.clone()), id.clone());
        }
        Ok(Place { kind, path, folder: parent })
    }

    fn make(&self, kind: Kind, parent: &Folder, path: &str, name: &str) -> Result<String> {
        let element = match kind {
            Kind::Contact => "t:ContactsFolder",
            Kind::Event => "t:CalendarFolder",
        };
        let mut body = Writer::new();
        body.start("m:CreateFolder").start("m:ParentFolderId");
        self.write_folder(&mut body, parent);
        body.end().start("m:Folders").start(element).leaf("t:DisplayName", name);
        let answer = self.write(&body.done())?;
        match answer.one() {
            Ok(message) => {
                let folder = message.child("Folders").and_then(Node::first);
                let id = folder.and_then(|folder| folder.child("FolderId")).and_then(|id| id.attribute("Id"));
                id.map(str::to_owned).ok_or_else(|| Failure::new(Class::Protocol, "a new folder has no id"))
            }
            // Somebody else was faster.
            Err(trouble) if trouble.is("ErrorFolderExists") => {
                let found = self.tree(kind, path)?.into_iter().find(|found| found.path.eq_ignore_ascii_case(path));
                found.map(|found| found.id).ok_or_else(|| self.fail(&trouble))
            }
            Err(trouble) => Err(self.fail(&trouble)),
        }
    }

    /// Whether the folders are there. What is wrong is a failure of the first one.
    pub(crate) fn look_at(&self, places: &[Place]) -> Result<()> {
        let mut body = Writer::new();
        body.start("m:GetFolder").start("m:FolderShape").leaf("t:BaseShape", "IdOnly").end().start("m:FolderIds");
        for place in places {
            self.write_folder(&mut body, &place.folder);
        }
        let answer = self.read(&body.done())?;
        for (message, place) in answer.messages().into_iter().zip(places) {
            let message = message.fine().map_err(|trouble| self.fail(&trouble))?;
            let folder = message.child("Folders").and_then(Node::first);
            let id = folder.and_then(|folder| folder.child("FolderId")).and_then(|id| id.attribute("Id"));
            if let Some(id) = id {
                let key = (self.mailbox.clone(), id.to_owned());
                self.exchange.folder_paths().insert(key, place.path.clone());
            }
        }
        Ok(())
    }

    /// The id of a folder.
    pub(crate) fn id_of(&self, folder: &Folder) -> Result<Option<String>> {
        let mut body = Writer::new();
        body.start("m:GetFolder").start("m:FolderShape").leaf("t:BaseShape", "IdOnly").end().start("m:FolderIds");
        self.write_folder(&mut body, folder);
        let answer = self.read(&body.done())?;
        let message = answer.one().map_err(|trouble| self.fail(&trouble))?;
        let found = message.child("Folders").and_then(Node::first);
        Ok(found.and_then(|found| found.child("FolderId")).and_then(|id| id.attribute("Id")).map(str::to_owned))
    }

    /// The path of the folder with this id, as far as it was looked at.
    pub(crate) fn path_of(&self, id: Option<&str>) -> Option<String> {
        self.exchange.folder_paths().get(&(self.mailbox.clone(), id?.to_owned())).cloned()
    }
}
