//! Which test holds which rule. Rules stand in `tests/rules`, one file for each preset; a test holds a rule by its name
//! (`rule_ic_33_…`, `rule_ic_23_to_ic_28_…`) or by naming it in a comment (`IC-33`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository").to_path_buf()
}

/// All files of tests, and of the parts whose own tests may hold a rule.
fn sources() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = ["tests/tests", "host/src", "plugins"].map(|folder| root().join(folder)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("coverage.rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let path = path.strip_prefix(root()).expect("below the root").display().to_string();
                // Of other files than whole tests, only their tests count.
                let tests = match path.starts_with("tests/") {
                    true => text,
                    false => text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()).unwrap_or_default(),
                };
                sources.push((path, tests));
            }
        }
    }
    sources.sort();
    sources
}

/// The numbers of the rules with this prefix that a line names.
fn named(line: &str, prefix: &str) -> Vec<u32> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
    if let Some(name) = line.trim_start().strip_prefix("fn rule_") {
        let name = name.split('(').next().unwrap_or_default();
        let word = format!("{}_", prefix.to_lowercase());
        let mut found: Vec<u32> = Vec::new();
        for (at, _) in name.match_indices(&word) {
            let Some(number) = number(&name[at + word.len()..]) else { continue };
            match found.last() {
                Some(first) if name[..at].ends_with("_to_") => found.extend(first + 1..=number),
                _ => found.push(number),
            }
        }
        return found;
    }
    let word = format!("{prefix}-");
    let comment = line.split_once("//").map(|(_, comment)| comment).unwrap_or_default();
    comment.match_indices(&word).filter_map(|(at, _)| number(&comment[at + word.len()..])).collect()
}

#[test]
fn every_rule_has_a_test_that_names_it_or_a_reason() {
    let sources = sources();
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("tests/rules")).expect("the rules") {
        let file = entry.expect("an entry").path();
        println!("{}", file.file_stem().unwrap_or_default().to_string_lossy());
        let text = fs::read_to_string(&file).expect("a file of rules");
        let rules: Vec<(&str, &str)> =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect();
        let prefix = rules.first().and_then(|(id, _)| id.split_once('-')).expect("a rule").0;
        let mut held: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (path, source) in &sources {
            let mut test = String::new();
            let mut waiting: Vec<u32> = Vec::new();
            for line in source.lines() {
                let here = named(line, prefix);
                // What stands above a test belongs to it.
                if let Some(name) = line.trim_start().strip_prefix("fn ") {
                    test = name.split('(').next().unwrap_or_default().to_owned();
                    waiting.extend(here);
                } else if line.starts_with("///") || line.trim_start().starts_with("#[test]") {
                    waiting.extend(here);
                    continue;
                } else {
                    waiting.extend(here);
                }
                for rule in waiting.drain(..) {
                    let place = format!("{path}: {test}");
                    let places = held.entry(rule).or_default();
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
            }
        }
        for (id, words) in &rules {
            let number: u32 = id.split_once('-').and_then(|(_, number)| number.parse().ok()).expect("a number");
            let words = words.trim();
            let tests = held.get(&number).map(Vec::as_slice).unwrap_or_default();
            println!("  {id:6} {words}");
            tests.iter().for_each(|test| println!("           {test}"));
            if words.starts_with("none: ") != tests.is_empty() {
                missing.push(format!("{id} ({words}): {} test(s) name it", tests.len()));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn names_and_comments_are_read_as_they_are_meant() {
    assert_eq!(named("    fn rule_ic_49_a_start_waits() {", "IC"), [49]);
    assert_eq!(named("fn rule_ic_23_to_ic_26_ic_31_a_missing_account() {", "IC"), [23, 24, 25, 26, 31]);
    assert_eq!(named("/// IC-1, IC-2: edits travel", "IC"), [1, 2]);
    assert_eq!(named("let text = \"IC-1\";", "IC"), Vec::<u32>::new());
}
