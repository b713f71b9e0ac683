//! What a worker leaves behind in `state_dir`: the records, and a journal of every request.
//!
//! `records.json` holds the records; people may edit its `records` between calls, and what they changed is a change like any
//! other: see [`crate::world::State`]. `journal.jsonl` gets one line for each call, before the call has any effect, and is
//! where the counts of faults come from. Take either away to start anew.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pairwise_plugin_api::{Action, Failure, Participant, Principal, RecordRef, Result, Value, Write};
use serde::{Deserialize, Serialize};

use crate::faults::Armed;
use crate::world::State;

/// One line of the journal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The number of the call, from 1.
    pub call: u64,
    /// The operation's name.
    pub operation: String,
    /// On whose behalf.
    pub principal: Principal,
    /// The records that it names, of `get` and `acknowledge`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<RecordRef>,
    /// The writes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<WriteLine>,
    /// The faults that counted it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selected: Vec<String>,
    /// The faults that struck.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub struck: Vec<String>,
}

/// One write as it was asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the members of `pairwise_plugin_api::Write`")]
pub struct WriteLine {
    pub action: Action,
    pub entity: String,
    pub id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<Participant>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    pub key: String,
}

impl Entry {
    /// A call that names no records.
    pub fn new(operation: &str, principal: &Principal) -> Entry {
        Entry { operation: operation.into(), principal: principal.clone(), ..Entry::default() }
    }

    /// With records.
    pub fn at(mut self, at: impl IntoIterator<Item = RecordRef>) -> Entry {
        self.at = at.into_iter().collect();
        self
    }

    /// With writes.
    pub fn writes(mut self, writes: &[Write]) -> Entry {
        self.writes = writes.iter().map(WriteLine::from).collect();
        self
    }
}

impl From<&Write> for WriteLine {
    fn from(write: &Write) -> Self {
        WriteLine {
            action: write.action,
            entity: write.at.entity.clone(),
            id: write.at.id.clone(),
            fields: write.fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            participants: write.participants.clone(),
            container: write.container.clone(),
            expect: write.expect.clone(),
            uid: write.uid.clone(),
            key: write.key.clone(),
        }
    }
}

impl WriteLine {
    /// Whether a value that is written has this text in it.
    pub fn has(&self, part: &str) -> bool {
        self.fields.values().any(|value| value.to_string().contains(part))
    }
}

/// The two files of a connection.
#[derive(Debug)]
pub struct Keeper {
    state: PathBuf,
    journal: PathBuf,
    lines: File,
    /// What the state file looked like when it was last read or written.
    known: Option<(SystemTime, u64)>,
}

impl Keeper {
    /// Opens both in a folder, which is made if it is not there.
    pub fn open(folder: &Path) -> Result<Keeper> {
        let journal = folder.join("journal.jsonl");
        let opened =
            fs::create_dir_all(folder).and_then(|()| OpenOptions::new().create(true).append(true).open(&journal));
        let lines = opened.map_err(|error| {
            let text = format!("cannot write {}: {error}; name a folder that may be written", journal.display());
            Failure::config("state_dir", text)
        })?;
        Ok(Keeper { state: folder.join("records.json"), journal, lines, known: None })
    }

    /// Takes the counts over that the journal holds; the number of calls so far is returned.
    pub fn count(&self, faults: &mut [Armed]) -> Result<u64> {
        let text = fs::read_to_string(&self.journal).map_err(|error| self.problem("read", &error))?;
        let mut calls = 0;
        for line in text.lines() {
            // A worker that died while it wrote leaves half a line.
            let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
            calls = entry.call;
            for armed in faults.iter_mut() {
                armed.seen += u64::from(entry.selected.contains(&armed.name));
                armed.struck += u64::from(entry.struck.contains(&armed.name));
            }
        }
        Ok(calls)
    }

    /// Adds a line.
    pub fn note(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).map_err(|error| self.problem("write", &error))?;
        line.push(b'\n');
        self.lines.write_all(&line).map_err(|error| self.problem("write", &error))
    }

    /// The state, if the file is there and is not what it was when we last looked.
    pub fn edited(&mut self) -> Result<Option<State>> {
        let Ok(found) = fs::metadata(&self.state) else { return Ok(None) };
        let looks = found.modified().ok().map(|time| (time, found.len()));
        if looks == self.known {
            return Ok(None);
        }
        let text = fs::read_to_string(&self.state).map_err(|error| self.problem("read", &error))?;
        let state = serde_json::from_str(&text).map_err(|error| self.problem("read", &error))?;
        self.known = looks;
        Ok(Some(state))
    }

    /// Writes the state: whole or not at all for whoever reads it. Not made durable: a mock need not survive a power cut.
    pub fn keep(&mut self, state: &State) -> Result<()> {
        let text = serde_json::to_vec_pretty(state).map_err(|error| self.problem("write", &error))?;
        let draft = self.state.with_extension("json.tmp");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, &self.state))
            .map_err(|error| self.problem("write", &error))?;
        self.known = fs::metadata(&self.state).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
        Ok(())
    }

    fn problem(&self, verb: &str, error: &dyn std::fmt::Display) -> Failure {
        Failure::config("state_dir", format!("cannot {verb} {}: {error}", self.state.display()))
    }
}
