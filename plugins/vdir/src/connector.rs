//! The connector: settings, and the operations one by one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pairwise_plugin_api::ops::{
    CheckRequest, Container, ContainersRequest, Description, DiscoverRequest, EnsureContainerRequest, FindRequest,
    GetRequest, ListRequest, Problem, Scope, WriteRequest,
};
use pairwise_plugin_api::schemars::JsonSchema;
use pairwise_plugin_api::serde::Deserialize;
use pairwise_plugin_api::{
    Capabilities, Catalogue, Class, Condition, Connector, Context, CreateKey, Failure, Found, Level, Outcome, Page,
    Record, Result, Severity, Value,
};
use rustix::fs::{Access, access};

use crate::catalogue::{CONTAINER, SELECTORS, catalogue};
use crate::content::Kind;
use crate::durable::make_folder;
use crate::folder::{Root, is_safe};
use crate::pages::Pages;
use crate::property::Format;
use crate::records;
use crate::scan::{Look, scan};
use crate::write::{Rules, write};

/// Writes in one call.
const LARGEST_BATCH: u32 = 500;

/// Calls at the same time: one that writes, and one that reads meanwhile.
const PARALLEL: u32 = 2;

/// A folder of vCard and iCalendar files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", deny_unknown_fields)]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub struct Config {
    /// The folder. Its subfolders are containers; hidden ones are left out.
    pub path: PathBuf,
    /// Make the folder if it is not there.
    #[serde(default)]
    pub create_path: bool,
    /// Where deleted files go; on the same file system as `path`. Absent: they are deleted.
    #[serde(default)]
    pub trash: Option<PathBuf>,
    /// The version of new vCards that do not come from another folder of vCards.
    #[serde(default)]
    pub version: CardVersion,
}

/// A version of vCard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum CardVersion {
    /// What old mobile phones and Outlook exchange.
    #[serde(rename = "2.1")]
    V21,
    /// What all programs read.
    #[default]
    #[serde(rename = "3.0")]
    V30,
    /// The present standard, RFC 6350.
    #[serde(rename = "4.0")]
    V40,
}

/// The connector. What a call leaves for the next one can all be made again.
#[derive(Debug)]
pub struct Vdir {
    config: Config,
    pages: Pages,
    /// Folders that were looked through for left-overs. Whoever holds it writes.
    swept: Mutex<HashSet<String>>,
}

impl Vdir {
    fn root(&self) -> Result<Root> {
        Root::open(&self.config.path, self.config.trash.as_deref())
    }

    /// The folder, made if the settings allow it.
    fn root_to_write(&self) -> Result<Root> {
        if self.config.create_path && !self.config.path.exists() {
            std::fs::create_dir_all(&self.config.path).map_err(|error| {
                let text = format!("cannot make the folder {}: {error}", self.config.path.display());
                Failure::config("path", text)
            })?;
        }
        self.root()
    }

    /// What is wrong with the settings as the disk is now: code, setting, text.
    fn problems(&self, write: bool) -> Vec<(&'static str, &'static str, String)> {
        let Config { path, create_path, trash, .. } = &self.config;
        let mut problems = Vec::new();
        if !path.exists() {
            if *create_path {
                return problems;
            }
            let text = format!(
                "{} does not exist: make the folder, correct `path`, or say `create_path = true`",
                path.display()
            );
            return vec![("folder_missing", "path", text)];
        }
        if !path.is_dir() {
            return vec![("not_a_folder", "path", format!("{} is not a folder: `path` must name one", path.display()))];
        }
        if access(path, Access::READ_OK | Access::EXEC_OK).is_err() {
            let text = format!("{} may not be read: give its user the right to read it", path.display());
            problems.push(("folder_unreadable", "path", text));
        }
        if write && access(path, Access::WRITE_OK).is_err() {
            let text = format!(
                "{} may not be written: give its user the right to write, or let records travel only from here",
                path.display()
            );
            problems.push(("folder_read_only", "path", text));
        }
        if let Some(trash) = trash {
            problems.extend(trash_problem(path, trash).map(|text| ("bad_trash", "trash", text)));
        }
        problems
    }
}

/// The kinds that a request asks for.
pub(crate) fn kinds_of(entities: &[String]) -> Result<Vec<Kind>> {
    if entities.is_empty() {
        return Ok(Kind::ALL.to_vec());
    }
    let kind = |entity: &String| {
        Kind::of_entity(entity).ok_or_else(|| {
            let text = format!("a folder of files has no entity `{entity}`; it has `contact` and `event`");
            Failure::new(Class::NotFound, text)
        })
    };
    let wanted: Vec<Kind> = entities.iter().map(kind).collect::<Result<_>>()?;
    Ok(Kind::ALL.into_iter().filter(|kind| wanted.contains(kind)).collect())
}

/// The containers that a scope names; `None` for all.
pub(crate) fn containers_of(scope: &Scope) -> Result<Option<Vec<String>>> {
    if let Some(unknown) = scope.keys().find(|key| !SELECTORS.contains(&key.as_str())) {
        let text = format!("a folder of files has no selector `{unknown}`; it has `{CONTAINER}`");
        return Err(Failure::new(Class::Config, text));
    }
    match SELECTORS.iter().find_map(|name| scope.get(*name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(container)) => Ok(Some(vec![container.trim_matches('/').to_owned()])),
        Some(Value::List(list)) => {
            Ok(Some(list.iter().map(|value| value.to_string().trim_matches('/').to_owned()).collect()))
        }
        Some(other) => {
            let text = format!("`{CONTAINER}` is `{other}`; expected the path of a subfolder, or a list of such paths");
            Err(Failure::new(Class::Config, text))
        }
    }
}

/// What is wrong with a trash folder: files are moved there by renaming.
fn trash_problem(path: &Path, trash: &Path) -> Option<String> {
    let here = rustix::fs::stat(path).ok()?;
    // Where the folder is not there yet, the one that it will be made in counts.
    let there = trash.ancestors().find_map(|folder| rustix::fs::stat(folder).ok())?;
    if trash.exists() && !trash.is_dir() {
        return Some(format!("{} is not a folder: `trash` must name one", trash.display()));
    }
    if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) && trash.exists() {
        return Some(format!("{} is `path` itself: deleted files would come back", trash.display()));
    }
    (here.st_dev != there.st_dev).then(|| {
        format!(
            "{} is on another file system than {}: choose a folder on the same one, or leave `trash` out",
            trash.display(),
            path.display()
        )
    })
}

impl Connector for Vdir {
    type Config = Config;

    fn create(config: Config, _cx: &Context) -> Result<Self> {
        if config.path.as_os_str().is_empty() {
            return Err(Failure::config("path", "`path` is empty: name the folder of the files"));
        }
        Ok(Vdir { config, pages: Pages::default(), swept: Mutex::default() })
    }

    fn describe(&self, _cx: &Context) -> Result<Description> {
        let identity = match self.root() {
            Ok(root) => format!("{}:{}", root.device, root.inode),
            // A folder that is yet to be made is known by its path.
            Err(_) => std::path::absolute(&self.config.path).map_or(String::new(), |path| path.display().to_string()),
        };
        Ok(Description {
            capabilities: Capabilities {
                authoritative_get: true,
                conditional_writes: true,
                create_key: CreateKey::Takes,
                incarnation: true,
                uid: true,
                containers: true,
                create_containers: true,
                trash: self.config.trash.is_some(),
                largest_batch: LARGEST_BATCH,
                max_parallel: PARALLEL,
                // Writes take turns at the folder: a second one would only wait here, with all that it is to write.
                max_parallel_per_principal: 1,
                ..Capabilities::default()
            },
            target: self.config.path.display().to_string(),
            identity,
        })
    }

    fn discover(&self, _cx: &Context, request: DiscoverRequest) -> Result<Catalogue> {
        let only = match &request.entity {
            Some(entity) => Some(kinds_of(std::slice::from_ref(entity))?[0]),
            None => None,
        };
        Ok(catalogue(only))
    }

    fn validate(&self, _cx: &Context) -> Result<Vec<Problem>> {
        let problem = |(_, setting, text): (&str, &str, String)| Problem { setting: setting.to_owned(), text };
        Ok(self.problems(false).into_iter().map(problem).collect())
    }

    fn check(&self, _cx: &Context, request: CheckRequest) -> Result<Vec<Condition>> {
        let condition = |(code, setting, text): (&str, &str, String)| Condition {
            code: code.to_owned(),
            level: Level::Profile,
            severity: Severity::Error,
            subject: setting.to_owned(),
            text,
        };
        let mut conditions: Vec<Condition> = self.problems(request.write).into_iter().map(condition).collect();
        if let Err(failure) = containers_of(&request.scope) {
            conditions
                .push(Condition { level: Level::Stream, ..condition(("unknown_selector", CONTAINER, failure.text)) });
        }
        Ok(conditions)
    }

    fn containers(&self, _cx: &Context, _request: ContainersRequest) -> Result<Vec<Container>> {
        let root = self.root()?;
        let mut complete = true;
        let container = |id: String| Container { path: id.clone(), id, columns: Vec::new(), writable: true };
        Ok(root.folders(&mut complete)?.into_iter().map(container).collect())
    }

    fn ensure_container(&self, _cx: &Context, request: EnsureContainerRequest) -> Result<Container> {
        let folder = request.path.trim_matches('/');
        if !folder.is_empty() && !is_safe(folder) {
            let text =
                format!("`{}` is no subfolder: it must be relative, without `..` and hidden parts", request.path);
            return Err(Failure::new(Class::Refused, text));
        }
        let root = self.root_to_write()?;
        make_folder(&root, folder).map_err(|error| crate::folder::failed("make", &root.show(folder), error))?;
        Ok(Container { id: folder.to_owned(), path: folder.to_owned(), columns: Vec::new(), writable: true })
    }

    fn list(&self, cx: &Context, request: ListRequest) -> Result<Page> {
        let is_new = self.config.create_path && request.page.is_none() && request.previous.is_none();
        if is_new && !self.config.path.exists() {
            // It is made with the first write.
            return Ok(Page { complete: true, ..Page::default() });
        }
        self.pages.next(self.root()?, request, cx)
    }

    fn get(&self, cx: &Context, request: GetRequest) -> Result<Vec<Found>> {
        let root = self.root()?;
        let mut found = records::get(&root, &request.at, &request.fields, cx)?;
        if let Some(scope) = containers_of(&request.scope)? {
            for found in &mut found {
                let is_inside = |record: &Record| record.container.as_ref().is_some_and(|held| scope.contains(held));
                if found.record.as_ref().is_some_and(|record| !is_inside(record)) {
                    *found = Found::default();
                }
            }
        }
        Ok(found)
    }

    fn find(&self, cx: &Context, request: FindRequest) -> Result<Vec<Vec<Record>>> {
        let root = self.root()?;
        let kind = kinds_of(std::slice::from_ref(&request.entity))?[0];
        let scope = containers_of(&request.scope)?;
        let wanted = |folder: &str| scope.as_ref().is_none_or(|scope| scope.iter().any(|held| held == folder));
        if request.by.is_empty() {
            let mut complete = true;
            let folders: Vec<String> =
                root.folders(&mut complete)?.into_iter().filter(|folder| wanted(folder)).collect();
            return records::find_by_key(&root, kind, &folders, &request.values, &request.fields);
        }
        let listing = scan(&root, &[kind], wanted, None, Look::Now, cx)?;
        records::find(&root, kind, listing.after(None).map(|(id, _)| id), &request, cx)
    }

    fn write(&self, cx: &Context, request: WriteRequest) -> Result<Vec<Outcome>> {
        let root = self.root_to_write()?;
        let scope = containers_of(&request.scope)?.unwrap_or_default();
        let home = if let [only] = scope.as_slice() { only.as_str() } else { "" };
        let rules = Rules {
            root: &root,
            trash: self.config.trash.as_deref(),
            version: match self.config.version {
                CardVersion::V21 => Format::V21,
                CardVersion::V30 => Format::V30,
                CardVersion::V40 => Format::V40,
            },
        };
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        write(&rules, &request.writes, home, &mut swept, cx)
    }
}
