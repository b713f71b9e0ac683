//! What is installed, what is locked, and which file a connection gets.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pairwise_plugin_api::compat::TARGET;
use pairwise_plugin_api::manifest::{Manifest, Stamp};
use semver::{Version, VersionReq};
use serde::Serialize;

use super::cache;
use super::error::{LoadError, PluginName};
use super::find::{self, Candidate, Places, sha256_of};
use super::health::{Health, Standing};
use super::lock::{Artifact, LockFile, Locked};
use crate::chance::{Chance, Real};
use crate::lock;

/// Where an installation keeps its plugins.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The configured folder of plugins, if there is one.
    pub plugin_dir: Option<PathBuf>,
    /// `plugins.lock`.
    pub lock_file: PathBuf,
    /// The folder of copies that are opened.
    pub cache_dir: PathBuf,
    /// The folder of the executable, in which plugins are looked for, too.
    pub beside: Option<PathBuf>,
}

impl Installation {
    /// With this executable's folder.
    #[must_use]
    pub fn new(plugin_dir: Option<PathBuf>, lock_file: PathBuf, cache_dir: PathBuf) -> Self {
        let executable = std::env::current_exe().ok();
        let beside = executable.as_deref().and_then(Path::parent).map(Path::to_owned);
        Installation { plugin_dir, lock_file, cache_dir, beside }
    }
}

/// The plugins of an installation. Made by looking at files; none of their code runs.
#[derive(Debug)]
pub struct Plugins {
    installation: Installation,
    lock: LockFile,
    found: Vec<Candidate>,
    /// The hashes of files that were asked for: several connections mostly have the same plugin. Its copy in the cache is
    /// compared with its hash before each use.
    hashes: Mutex<HashMap<PathBuf, Arc<Mutex<Option<String>>>>>,
}

/// A plugin that may be used: found, and the file that was locked.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// What it says about itself.
    pub manifest: Manifest,
    /// What the compiler said about it.
    pub stamp: Stamp,
    /// Where it was found.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// How it came to be accepted.
    pub lock: LockState,
}

/// Whether a plugin is locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LockState {
    /// The lock file names this very file.
    Locked,
    /// It lies in a cargo target folder, beside the executable: accepted without a lock.
    Development,
    /// Nobody has locked it: refused.
    Unlocked,
    /// The lock file names another file for this version: refused.
    OtherFile {
        /// Its hash there.
        locked: String,
    },
}

impl std::fmt::Display for LockState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LockState::Locked => "locked",
            LockState::Development => "unlocked (development)",
            LockState::Unlocked => "unlocked",
            LockState::OtherFile { .. } => "not the locked file",
        })
    }
}

/// One line of `plugin list`, and the head of `plugin inspect`.
#[derive(Debug, Clone, Serialize)]
pub struct PluginStatus {
    /// Where it was found.
    pub file: PathBuf,
    /// Why it cannot be used; `None`: it can.
    pub problem: Option<String>,
    /// SHA-256 of the file, if it could be read.
    pub sha256: Option<String>,
    /// Whether it is locked; `None` if it is no plugin.
    pub lock: Option<LockState>,
    /// What the compiler said about it.
    pub stamp: Option<Stamp>,
    /// What it says about itself, with its config schema.
    pub manifest: Option<Manifest>,
}

/// What `plugin lock` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockChange {
    /// Id of the plugin.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// Where it was found.
    pub file: PathBuf,
    /// Its hash.
    pub sha256: String,
    /// False if the lock file said so before.
    pub changed: bool,
}

impl Plugin {
    /// Id and version.
    #[must_use]
    pub fn name(&self) -> PluginName {
        *name_of(&self.manifest)
    }
}

fn name_of(manifest: &Manifest) -> Box<PluginName> {
    Box::new(PluginName { id: manifest.id.clone(), version: manifest.version.clone() })
}

impl Plugins {
    /// Looks at an installation.
    ///
    /// # Errors
    /// If the lock file cannot be read.
    pub fn open(installation: Installation) -> Result<Self, LoadError> {
        let lock = LockFile::read(&installation.lock_file)?;
        let found = places(&installation).scan();
        Ok(Plugins { installation, lock, found, hashes: Mutex::default() })
    }

    /// The installation.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The plugin for a connection: among the versions that satisfy the requirement, the newest one that is locked; without
    /// any lock line for this id, the newest one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn resolve(&self, id: &str, requirement: &VersionReq) -> Result<Plugin, LoadError> {
        let locked = self.lock.plugins.iter().filter(|locked| locked.id == id && requirement.matches(&locked.version));
        if let Some(locked) = locked.max_by(|one, two| one.version.cmp(&two.version)) {
            return self.locked(locked);
        }
        let installed = self.found.iter().filter_map(|candidate| Some((candidate, candidate.content.as_ref().ok()?)));
        let of_id: Vec<_> = installed.filter(|(_, (_, manifest))| manifest.id == id).collect();
        let fitting = of_id.iter().filter(|(_, (_, manifest))| requirement.matches(&manifest.version));
        let Some((candidate, (stamp, manifest))) = fitting.max_by_key(|(_, (_, manifest))| &manifest.version) else {
            return Err(self.nothing_for(id, requirement, of_id.iter().map(|(_, (_, manifest))| manifest)));
        };
        find::check(&candidate.file, stamp, manifest)?;
        if !candidate.development {
            return Err(LoadError::NotLocked { name: name_of(manifest), file: candidate.file.clone() });
        }
        Ok(Plugin {
            manifest: manifest.clone(),
            stamp: stamp.clone(),
            file: candidate.file.clone(),
            sha256: self.hash_of(&candidate.file)?,
            lock: LockState::Development,
        })
    }

    /// The file of a lock line: where it was found, else its copy in the cache.
    fn locked(&self, locked: &Locked) -> Result<Plugin, LoadError> {
        let name = Box::new(PluginName { id: locked.id.clone(), version: locked.version.clone() });
        let lock = self.installation.lock_file.clone();
        let Some(hash) = locked.hash(TARGET) else {
            let targets = locked.artifacts.iter().map(|artifact| artifact.target.clone()).collect();
            return Err(LoadError::NoArtifact { name, lock, target: TARGET.to_owned(), targets });
        };
        let of_name =
            |candidate: &&Candidate| candidate.content.as_ref().is_ok_and(|(_, manifest)| name_of(manifest) == name);
        let file = match self.found.iter().find(of_name) {
            Some(candidate) => {
                let found = self.hash_of(&candidate.file)?;
                if found != hash {
                    let (file, locked) = (candidate.file.clone(), hash.to_owned());
                    return Err(LoadError::OtherFile { name, file, lock, found, locked });
                }
                candidate.file.clone()
            }
            None => cache::holds(&self.installation.cache_dir, hash).ok_or_else(|| LoadError::Missing {
                name,
                lock,
                places: places(&self.installation).all(),
            })?,
        };
        let (stamp, manifest) = find::read(&file)?;
        find::check(&file, &stamp, &manifest)?;
        Ok(Plugin { manifest, stamp, file, sha256: hash.to_owned(), lock: LockState::Locked })
    }

    fn hash_of(&self, file: &Path) -> Result<String, LoadError> {
        let hash = Arc::clone(lock(&self.hashes).entry(file.to_owned()).or_default());
        let mut hash = lock(&hash);
        Ok(match &mut *hash {
            Some(hash) => hash.clone(),
            none => none.insert(sha256_of(file)?).clone(),
        })
    }

    fn nothing_for<'a>(&self, id: &str, wanted: &VersionReq, of_id: impl Iterator<Item = &'a Manifest>) -> LoadError {
        let mut available: Vec<Version> = of_id.map(|manifest| manifest.version.clone()).collect();
        available
            .extend(self.lock.plugins.iter().filter(|locked| locked.id == id).map(|locked| locked.version.clone()));
        available.sort();
        available.dedup();
        if !available.is_empty() {
            return LoadError::NoVersion { id: id.to_owned(), wanted: wanted.clone(), available };
        }
        let nearest = self.ids().into_iter().map(|other| (strsim::damerau_levenshtein(id, &other), other)).min();
        let nearest = nearest.filter(|(distance, _)| *distance <= 1 + id.len() / 3).map(|(_, name)| name);
        LoadError::Unknown { id: id.to_owned(), nearest, places: places(&self.installation).all() }
    }

    /// All ids, each once.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let found = self.found.iter().filter_map(|candidate| Some(candidate.content.as_ref().ok()?.1.id.clone()));
        let locked = self.lock.plugins.iter().map(|locked| locked.id.clone());
        let ids: std::collections::BTreeSet<String> = found.chain(locked).collect();
        ids.into_iter().collect()
    }

    /// Everything that was found, usable or not.
    #[must_use]
    pub fn list(&self) -> Vec<PluginStatus> {
        self.found.iter().map(|candidate| self.status(candidate)).collect()
    }

    /// One file, wherever it lies.
    #[must_use]
    pub fn inspect(&self, file: &Path) -> PluginStatus {
        match self.found.iter().find(|candidate| candidate.file == file) {
            Some(candidate) => self.status(candidate),
            None => self.status(&Candidate { file: file.to_owned(), development: false, content: find::read(file) }),
        }
    }

    fn status(&self, candidate: &Candidate) -> PluginStatus {
        let file = candidate.file.clone();
        let sha256 = sha256_of(&file);
        let (stamp, manifest) = match &candidate.content {
            Ok(content) => content,
            Err(error) => {
                let problem = Some(error.to_string());
                return PluginStatus { file, problem, sha256: sha256.ok(), lock: None, stamp: None, manifest: None };
            }
        };
        let (lock, problem) = match &sha256 {
            Err(error) => (None, Some(error.to_string())),
            Ok(found) => {
                let lock = self.lock_state(candidate, manifest, found);
                let problem = self.problem(candidate, stamp, manifest, &lock, found);
                (Some(lock), problem.map(|error| error.to_string()))
            }
        };
        let (stamp, manifest) = (Some(stamp.clone()), Some(manifest.clone()));
        PluginStatus { file, problem, sha256: sha256.ok(), lock, stamp, manifest }
    }

    fn lock_state(&self, candidate: &Candidate, manifest: &Manifest, found: &str) -> LockState {
        match self.lock.of(&manifest.id, &manifest.version).and_then(|locked| locked.hash(TARGET)) {
            Some(locked) if locked == found => LockState::Locked,
            Some(locked) => LockState::OtherFile { locked: locked.to_owned() },
            None if candidate.development => LockState::Development,
            None => LockState::Unlocked,
        }
    }

    fn problem(
        &self,
        candidate: &Candidate,
        stamp: &Stamp,
        manifest: &Manifest,
        lock: &LockState,
        found: &str,
    ) -> Option<LoadError> {
        let (name, file) = (name_of(manifest), candidate.file.clone());
        if let Err(error) = find::check(&file, stamp, manifest) {
            return Some(error);
        }
        match lock {
            LockState::Unlocked => return Some(LoadError::NotLocked { name, file }),
            LockState::OtherFile { locked } => {
                let (lock, found, locked) = (self.installation.lock_file.clone(), found.to_owned(), locked.clone());
                return Some(LoadError::OtherFile { name, file, lock, found, locked });
            }
            LockState::Locked | LockState::Development => {}
        }
        match Health::of(&self.installation.cache_dir, found).standing(Real::new().now()) {
            Standing::Quarantined { failures, last } => Some(LoadError::Quarantined { name, failures, last }),
            Standing::Usable { .. } => None,
        }
    }

    /// Writes down what is installed as what is meant to be, and gives plugins that were set aside another chance. With `ids`,
    /// only those; without, copies in the cache that the lock file does not mention are removed.
    ///
    /// # Errors
    /// If an id is not installed, or the file cannot be written.
    pub fn lock(&mut self, ids: &[String]) -> Result<Vec<LockChange>, LoadError> {
        if let Some(id) = ids.iter().find(|id| !self.ids().contains(id)) {
            return Err(self.nothing_for(id, &VersionReq::STAR, std::iter::empty()));
        }
        let mut changes = Vec::new();
        for candidate in &self.found {
            let Ok((stamp, manifest)) = &candidate.content else { continue };
            let wanted = ids.is_empty() || ids.contains(&manifest.id);
            if !wanted || find::check(&candidate.file, stamp, manifest).is_err() {
                continue;
            }
            let sha256 = sha256_of(&candidate.file)?;
            let changed = self.lock.put(Locked {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                source: candidate.file.display().to_string(),
                plugin_api: stamp.plugin_api.clone(),
                abi_epoch: stamp.abi_epoch,
                artifacts: vec![Artifact { target: stamp.target.clone(), sha256: sha256.clone() }],
            });
            Health::of(&self.installation.cache_dir, &sha256).reset();
            let PluginName { id, version } = *name_of(manifest);
            changes.push(LockChange { id, version, file: candidate.file.clone(), sha256, changed });
        }
        if changes.iter().any(|change| change.changed) {
            self.lock.write(&self.installation.lock_file)?;
        }
        if ids.is_empty() {
            self.sweep();
        }
        Ok(changes)
    }
}

impl Plugins {
    fn sweep(&self) {
        let artifacts = self.lock.plugins.iter().flat_map(|locked| &locked.artifacts);
        let locked: Vec<&str> = artifacts.map(|artifact| artifact.sha256.as_str()).collect();
        match cache::sweep(&self.installation.cache_dir, |hash| locked.contains(&hash)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "old copies of plugins cannot be removed");
            }
            _ => {}
        }
    }
}

fn places(installation: &Installation) -> Places {
    Places { plugin_dir: installation.plugin_dir.clone(), beside: installation.beside.clone() }
}
