//! The rules of the house that a machine can check: who may import whom, where the sharp tools are kept, and what no file
//! may say. Each rule is a table at the head of its test; a new arrow is a change to the table, and so to be seen.
#![allow(clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the host each of them may use. `model` is what all agree on; nothing points back at whoever uses it.
const ARROWS: &[(&str, &[&str])] = &[
    ("chance", &[]),
    ("gate", &[]),
    ("os", &["model"]),
    ("model", &["model"]),
    ("config", &["config", "model"]),
    ("store", &["store", "model", "chance", "os"]),
    ("plugins", &["plugins", "model", "chance", "gate", "os"]),
    ("pipeline", &["pipeline", "model", "chance", "gate"]),
    ("demo", &["demo"]),
    ("schedule", &["schedule", "pipeline", "plugins", "store", "config", "model", "chance", "os"]),
    ("fuzz", &["schedule", "plugins", "store", "config"]),
    // The outermost layer wires all the others.
    ("cli", &["cli", "demo", "schedule", "pipeline", "plugins", "store", "config", "model", "chance", "os"]),
];

/// Words that only some files may contain, outside of their tests: what it is for, the word, where.
const KEPT_IN: &[(&str, &str, &[&str])] = &[
    ("SQL", "rusqlite", &["host/src/store/"]),
    ("SQL", "SELECT ", &["host/src/store/"]),
    ("SQL", "INSERT ", &["host/src/store/"]),
    ("unsafe code", "unsafe {", &["plugin-api/src/", "host/src/plugins/"]),
    ("unsafe code", "unsafe fn", &["plugin-api/src/", "host/src/plugins/"]),
    ("unsafe code", "unsafe impl", &["plugin-api/src/", "host/src/plugins/"]),
    ("unsafe code", "allow(unsafe_code", &["plugin-api/src/", "host/src/plugins/"]),
    ("the ABI", "abi_stable::", &["plugin-api/src/", "host/src/plugins/"]),
    ("loading libraries", "libloading", &["host/src/plugins/"]),
    ("a runtime", "tokio::", &["plugin-api/src/context.rs", "host/src/schedule/", "host/sandbox/src/"]),
    ("TOML", "toml::", &["host/src/config/", "host/src/cli/", "host/src/plugins/lock.rs", "plugins/mock/src/"]),
    ("the clock", "SystemTime::now", &["host/src/chance.rs", "plugins/"]),
    (
        "printing",
        "println!",
        &[
            "host/build.rs",
            "host/src/cli/",
            "host/tests/",
            "plugins/vdir/build.rs",
            "plugins/vdir/src/tests/",
            "tests/",
        ],
    ),
];

/// Files that may be long, because they are one flat table.
const LONG: &[&str] = &[];
const LINES: usize = 600;

/// A source file, by its path from the root of the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Without its unit tests, which may use what the code may not. They are the last thing in a file.
    fn code(&self) -> &str {
        self.text.split("\n#[cfg(test)]\n").next().unwrap_or(&self.text)
    }

    fn lies_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository").to_path_buf()
}

/// All files with one of these endings; what is built, and frozen copies of old plugin APIs, left out.
fn files(endings: &[&str]) -> Vec<Source> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "abi-fixtures"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).expect("a file");
                let path = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty());
    found
}

fn rust() -> Vec<Source> {
    files(&[".rs"])
}

fn none_of(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// The modules that a file names behind `crate::`, also in `use crate::{a::X, b}`.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => used.extend(top_level_names(list)),
            None => used.extend(first_name(rest)),
        }
    }
    used
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first names of the items in `a::X, b::{c, d}, e}`.
fn top_level_names(list: &str) -> Vec<String> {
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (index, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.extend(first_name(&list[start..index]));
                start = index + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

#[test]
fn arrows_point_one_way() {
    let mut problems = Vec::new();
    for source in rust() {
        let Some(path) = source.path.strip_prefix("host/src/") else { continue };
        let module = path.split(['/', '.']).next().unwrap_or_default();
        if path == "lib.rs" || path == "main.rs" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            problems.push(format!("{}: `{module}` has no line in ARROWS", source.path));
            continue;
        };
        // Of what is no module of the host (a macro, a type of the root) nothing is said.
        for used in modules_used(source.code()) {
            if ARROWS.iter().any(|(name, _)| *name == used) && !allowed.contains(&used.as_str()) {
                problems.push(format!("{}: `{module}` may not use `{used}`", source.path));
            }
        }
    }
    none_of(problems);
}

#[test]
fn arrows_are_seen_in_lists_too() {
    let code = "use crate::model::{Side, crate_x};\nuse crate::{chance::Chance, store::{self, Db}, cli};\nxcrate::no";
    let used: Vec<String> = modules_used(code).into_iter().collect();
    assert_eq!(used, ["chance", "cli", "model", "store"]);
}

#[test]
fn sharp_tools_stay_in_their_drawers() {
    let mut problems = Vec::new();
    for source in rust().iter().filter(|source| !source.lies_in(&["tests/", "host/benches/"])) {
        for (what, word, places) in KEPT_IN {
            let code = source.code().lines().enumerate();
            let uses = code.filter(|(_, line)| !line.trim_start().starts_with("//") && line.contains(word));
            if !source.lies_in(places) {
                problems.extend(uses.map(|(line, _)| {
                    format!("{}:{}: {what} (`{word}`) belongs in {}", source.path, line + 1, places.join(", "))
                }));
            }
        }
    }
    none_of(problems);
}

#[test]
fn plugins_use_nothing_of_the_host() {
    let manifests = files(&["Cargo.toml"]);
    let of_plugins = manifests.iter().filter(|manifest| manifest.path.starts_with("plugins/"));
    let imports = of_plugins.filter(|manifest| manifest.text.contains("pairwise-host"));
    none_of(imports.map(|manifest| format!("{}: a plugin knows `pairwise-plugin-api` alone", manifest.path)).collect());
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    let mut problems = Vec::new();
    for source in rust() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let opens = line.contains("unsafe {") || line.contains("unsafe impl");
            if opens && !line.trim_start().starts_with("//") && source.path != "tests/tests/tidy.rs" {
                let said = lines[index.saturating_sub(6)..=index].iter().any(|line| line.contains("SAFETY:"));
                if !said {
                    problems.push(format!("{}:{}: no `// SAFETY:` above it", source.path, index + 1));
                }
            }
        }
    }
    none_of(problems);
}

#[test]
fn what_is_allowed_has_a_reason() {
    let mut problems = Vec::new();
    for source in rust() {
        for (start, _) in source.text.match_indices("[allow(") {
            let rest = &source.text[start..];
            let attribute = &rest[..rest.find(")]").unwrap_or(rest.len())];
            if !attribute.contains("reason") && source.path != "tests/tests/tidy.rs" {
                let line = source.text[..start].lines().count().max(1);
                problems.push(format!("{}:{line}: `#{attribute})]` gives no reason", source.path));
            }
        }
    }
    none_of(problems);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut problems = Vec::new();
    for source in rust() {
        let lines = source.text.lines().count();
        if lines > LINES && !LONG.contains(&source.path.as_str()) {
            problems.push(format!("{}: {lines} lines; more than {LINES} are hard to keep in mind", source.path));
        }
        if lines > 3 && !source.text.starts_with("//!") {
            problems.push(format!("{}: does not begin with a sentence about itself (`//!`)", source.path));
        }
        if source.text.lines().any(|line| line.ends_with([' ', '\t'])) {
            problems.push(format!("{}: blanks at the end of a line", source.path));
        }
    }
    none_of(problems);
}

#[test]
fn no_file_is_forgotten() {
    let sources = rust();
    let mut problems = Vec::new();
    for source in &sources {
        let path = Path::new(&source.path);
        let (Some(stem), Some(folder)) = (path.file_stem(), path.parent()) else { continue };
        let (stem, folder) = (stem.to_string_lossy(), folder.to_string_lossy().into_owned());
        let in_src = folder.ends_with("/src") || folder.contains("/src/");
        if !in_src || ["lib", "main"].contains(&&*stem) || folder.ends_with("/src/bin") {
            continue;
        }
        // `a/mod.rs` is `a` to the folder above; `a/b.rs` is `b` to `a/mod.rs` or `a.rs`.
        let (name, parents) = if stem == "mod" {
            let (above, own) = folder.rsplit_once('/').unwrap_or(("", &folder));
            (
                own.to_owned(),
                [
                    format!("{above}/lib.rs"),
                    format!("{above}/mod.rs"),
                    format!("{above}/main.rs"),
                    format!("{above}.rs"),
                ],
            )
        } else {
            (
                stem.into_owned(),
                [
                    format!("{folder}/lib.rs"),
                    format!("{folder}/mod.rs"),
                    format!("{folder}/main.rs"),
                    format!("{folder}.rs"),
                ],
            )
        };
        let declared = format!("mod {name};");
        if !sources.iter().any(|other| parents.contains(&other.path) && other.text.contains(&declared)) {
            problems.push(format!("{}: nobody says `{declared}`", source.path));
        }
    }
    none_of(problems);
}

#[test]
fn nothing_is_left_for_later() {
    // Written in two halves, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["to", "do!("], ["unimplement", "ed!("], ["db", "g!("]]
        .map(|w| w.concat());
    let mut problems = Vec::new();
    for source in rust() {
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().find(|word| line.contains(word.as_str()));
            problems.extend(found.map(|word| format!("{}:{}: `{word}`", source.path, index + 1)));
        }
    }
    none_of(problems);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let homes = ["home", "root", "work", "farm", "Users", "mnt"].map(|folder| format!("/{folder}/"));
    let mut problems = Vec::new();
    for source in files(&[".rs", ".toml", ".md", ".py", ".json", "run", ".lock", ".yml", ".yaml"]) {
        for (index, line) in source.text.lines().enumerate() {
            let names = homes.iter().any(|home| {
                // At the start of a path: not `addresses/work/street`.
                line.match_indices(home.as_str())
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "}{*_.-~<>".contains(c)))
            });
            if names {
                problems.push(format!("{}:{}: a path of somebody's machine: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none_of(problems);
}
