//! A configuration folder with two folders of people, and the program run on it as a person would.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A configuration folder that lives as long as the test.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
}

/// What became of one run of the program.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl World {
    /// A configuration folder with nothing in it.
    #[must_use]
    pub fn empty() -> World {
        World { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Two empty folders of cards, `left` and `right`, and the profile `people` that pairs them by this preset.
    #[must_use]
    pub fn of_folders(preset: &str) -> World {
        let world = World::paired(preset, "plugin = \"vdir\"\nsettings = { path = \"right\" }");
        fs::create_dir(world.right()).expect("a folder");
        world
    }

    /// A folder `left` and, as `right`, a mock with this script, paired as `people`. The mock keeps its records in
    /// `crm/records.json`, its journal in `crm/journal.jsonl`.
    #[must_use]
    pub fn with_mock(preset: &str, script: &str) -> World {
        let settings = "settings = { script = \"crm.toml\", state_dir = \"crm\" }";
        let world = World::paired(preset, &format!("plugin = \"mock\"\n{settings}"));
        world.put("crm.toml", script);
        world
    }

    fn paired(preset: &str, right: &str) -> World {
        let world = World::empty();
        fs::create_dir(world.left()).expect("a folder");
        let left = "plugin = \"vdir\"\nsettings = { path = \"left\" }";
        world.put("pairwise.toml", &format!("[connections.left]\n{left}\n\n[connections.right]\n{right}\n"));
        let profile = format!("preset  = \"{preset}\"\nleft    = \"left\"\nright   = \"right\"\nenabled = true\n");
        world.put("profiles/people.toml", &profile);
        world
    }

    /// The place of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of cards on the left.
    #[must_use]
    pub fn left(&self) -> PathBuf {
        self.path("left")
    }

    /// The folder of cards on the right.
    #[must_use]
    pub fn right(&self) -> PathBuf {
        self.path("right")
    }

    /// Writes a file, and the folders on the way to it.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program with its configuration, ready for arguments of your own.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(crate::program());
        command.arg("--config").arg(self.folder.path()).env_remove("PAIRWISE_CONFIG").env("NO_COLOR", "1");
        command
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command();
        command.args(args);
        Ran::of(command)
    }

    /// Runs a command for its JSON.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> (Ran, Value) {
        let mut command = self.command();
        command.args(["--format", "json"]).args(args);
        let ran = Ran::of(command);
        let json = ran.json();
        (ran, json)
    }

    /// Starts a command and does not wait for it.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program starts")
    }

    /// The requests that the mock got, oldest first.
    #[must_use]
    pub fn journal(&self) -> Vec<Value> {
        let text = self.text("crm/journal.jsonl");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of the journal")).collect()
    }
}

impl Ran {
    fn of(mut command: Command) -> Ran {
        let output = command.stdin(Stdio::null()).output().expect("the program starts");
        let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        Ran {
            command: format!("pairwise {}", args.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, once its exit code is what was expected.
    ///
    /// # Panics
    /// With all that was printed, if it is not.
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        self
    }

    /// What was printed, as JSON.
    ///
    /// # Panics
    /// With all that was printed, if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: no JSON: {error}\n{}\n{}", self.command, self.stdout, self.stderr))
    }
}

/// The cards in a folder: file name and text, sorted; hidden files left out.
#[must_use]
pub fn cards(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cards: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| {
            let text = fs::read(entry.path()).unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
            (entry.file_name().to_string_lossy().into_owned(), String::from_utf8_lossy(&text).into_owned())
        })
        .collect();
    cards.sort();
    cards
}
