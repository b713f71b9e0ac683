//! Histories drawn from seeds, judged by what people typed. `PAIRWISE_SIM` plays one again: a seed, or a script as printed.
//!
//! `PAIRWISE_SIM_COUNT` says how many, `PAIRWISE_SIM_BASE` from which seed on, `PAIRWISE_SIM_THREADS` on how many cores,
//! `PAIRWISE_SIM_MUTANTS` how many are made of those that failed once, `PAIRWISE_SIM_STEPPED` how many histories are killed at
//! every point, `PAIRWISE_SIM_SWITCHES` with how many seeds each mechanism is taken away; of the one that is played again,
//! `PAIRWISE_SIM_ALOUD` says that what happens is told, and `PAIRWISE_SIM_WITHOUT` which mechanisms are missing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pairwise_tests::sim::dice::Dice;
use pairwise_tests::sim::script::{Step, Twist};
use pairwise_tests::sim::switch::{GUARDS, Switch};
use pairwise_tests::sim::{
    Broken, Script, Verdict, is_promised, mutant, needs_all, play, play_as, play_without, shrink,
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What is broken, and the shortest script that shows it, on one line.
fn explain(script: &Script, verdict: &Verdict) -> String {
    let mut told = format!("seed {}:\n", script.seed);
    for Broken { property, found } in verdict.broken.iter().take(6) {
        told.push_str(&format!("  {property}: {found}\n"));
    }
    if let Some(first) = verdict.broken.first() {
        let short = shrink(script, first.property, &[]);
        let again = play(&short);
        let found: Vec<String> = again.broken.iter().map(|it| format!("{}: {}", it.property, it.found)).collect();
        told.push_str(&format!(
            "  in {} steps: {}\n  PAIRWISE_SIM='{}'\n",
            short.steps.len(),
            found.join("; "),
            short.line()
        ));
    }
    told
}

/// How many cores the histories may take.
fn threads() -> usize {
    number("PAIRWISE_SIM_THREADS")
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// Seeds that nobody has played before, told so that they can be played again.
fn fresh_base() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs() % 100_000_000 * 1_000
}

/// Plays as many as asked for, beginning with the number `base`, and tells what failed. What guards have met is counted.
fn play_all(what: &str, base: u64, count: u64, script: impl Fn(u64) -> Script + Sync) {
    let told = number("PAIRWISE_SIM_TELL").unwrap_or(5);
    println!("{count} {what} from PAIRWISE_SIM_BASE={base}");
    let started = std::time::Instant::now();
    let marks: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let (next, runs) = (AtomicU64::new(base), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= base + count {
                return;
            }
            let script = script(place);
            let verdict = play(&script);
            runs.fetch_add(verdict.runs.into(), Ordering::Relaxed);
            for (mark, count) in &verdict.marks {
                *marks.lock().unwrap().entry(mark.clone()).or_default() += count;
            }
            if place % 10 == 0 {
                assert_eq!(verdict.trace, play(&script).trace, "{what}: {place} does not play the same twice");
            }
            if let Some(first) = verdict.broken.first() {
                let failures = {
                    let mut failed = failed.lock().unwrap();
                    failed.push(place);
                    failed.len() as u64
                };
                if failures <= told {
                    println!("{}", explain(&script, &verdict));
                } else {
                    println!("{place}: {}: {}", first.property, first.found);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(work);
        }
    });
    let (seconds, runs) = (started.elapsed().as_secs_f64(), runs.load(Ordering::Relaxed));
    println!("{count} {what}, {runs} runs, {seconds:.1} s, {:.0} a second", count as f64 / seconds);
    let marks = marks.into_inner().unwrap();
    let met: Vec<String> = marks.iter().map(|(mark, count)| format!("{mark} {count}")).collect();
    println!("met: {}", met.join(", "));
    if count >= 2_000 {
        let never: Vec<_> = GUARDS.iter().filter(|guard| !marks.contains_key(&format!("{guard:?}"))).collect();
        println!("guards that none has met: {never:?}");
    }
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} {what} from {base} fail: {failed:?}", failed.len());
}

#[test]
fn fresh_histories() {
    let count = number("PAIRWISE_SIM_COUNT").unwrap_or(200);
    let base = number("PAIRWISE_SIM_BASE").unwrap_or_else(fresh_base);
    play_all("histories", base, count, Script::of);
}

/// Scripts that failed once, with other times, deaths and faults. Where chance met a defect once, another is often near.
#[test]
fn mutants_of_histories_that_failed_once() {
    let count = number("PAIRWISE_SIM_MUTANTS").unwrap_or(50);
    let base = number("PAIRWISE_SIM_BASE").unwrap_or_else(fresh_base);
    let known: Vec<Script> = scripts("scripts.txt").into_iter().map(|(_, script)| script).filter(is_promised).collect();
    play_all("mutants", base, count, |place| {
        let mut dice = Dice::new(place);
        mutant(&known[dice.below(known.len() as u32) as usize], &mut dice)
    });
}

#[test]
fn one_history() {
    let Ok(line) = std::env::var("PAIRWISE_SIM") else { return };
    let script = Script::read(&line).unwrap();
    let missing = std::env::var("PAIRWISE_SIM_WITHOUT").map(|line| switches(&line)).unwrap_or_default();
    let verdict = play_as(&script, &missing, number("PAIRWISE_SIM_ALOUD").is_some());
    if !missing.is_empty() {
        return println!("without {missing:?}: {:?}", verdict.broken);
    }
    assert!(verdict.broken.is_empty(), "{}", explain(&script, &verdict));
}

/// The scripts of a file of `seeds/`, each with the line before it.
fn scripts(file: &str) -> Vec<(String, Script)> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(file);
    let text = std::fs::read_to_string(file).unwrap();
    let (mut found, mut why) = (Vec::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(words) => why = words.to_owned(),
            None => found.push((why.clone(), Script::read(line).unwrap_or_else(|error| panic!("{why}: {error}")))),
        }
    }
    found
}

#[test]
fn histories_that_failed_once() {
    let scripts = scripts("scripts.txt");
    assert!(!scripts.is_empty());
    for (why, script) in scripts {
        let verdict = play(&script);
        assert!(verdict.broken.is_empty(), "{why}\n{}", explain(&script, &verdict));
        assert_eq!(Script::read(&script.line()).unwrap(), script, "a script is read as it is written");
    }
}

/// A fixed history whose last run dies at its first point, then at its second, and so on until it is through.
#[test]
fn a_run_that_dies_at_every_point() {
    let histories = number("PAIRWISE_SIM_STEPPED").unwrap_or(20);
    let mut stepped = 0;
    for seed in 1..=histories {
        let mut script = Script::of(seed * 7_919);
        script.steps.retain(|step| !matches!(step, Step::Disk(_) | Step::Restore));
        let last = script.steps.iter().rposition(|step| matches!(step, Step::Run(_)));
        let Some(last) = last else { continue };
        script.steps.truncate(last + 1);
        script.steps[last] = Step::Run(Vec::new());
        let points = play(&script).points;
        for point in 1..=points {
            script.steps[last] = Step::Run(vec![(point, Twist::Die)]);
            let verdict = play(&script);
            assert!(verdict.broken.is_empty(), "killed at point {point}\n{}", explain(&script, &verdict));
            stepped += 1;
        }
    }
    println!("{stepped} deaths in {histories} histories");
}

/// Mechanisms that a script misses where they are taken away together, by the line before it. Defences overlap: the first of
/// two is missed only where the second is missing, too.
fn switches(line: &str) -> Vec<Switch> {
    let named = |name| Switch::named(name).unwrap_or_else(|| panic!("there is no mechanism `{name}`"));
    line.split(" with ").map(named).collect()
}

/// Each mechanism has a script that goes well with it, and breaks something where it is taken away.
#[test]
fn each_mechanism_is_missed_by_its_script() {
    let scripts = scripts("switches.txt");
    let mut shown = Vec::new();
    for (line, script) in scripts {
        let missing = switches(&line);
        let verdict = play(&script);
        assert!(verdict.broken.is_empty(), "{line}\n{}", explain(&script, &verdict));
        assert!(needs_all(&script, &missing), "{line}: one of them alone is missed");
        assert!(!play_without(&script, &missing).broken.is_empty(), "the script of {line} does not miss it");
        shown.push(missing[0]);
    }
    let unshown: Vec<_> = Switch::all().filter(|switch| !shown.contains(switch)).collect();
    assert!(unshown.is_empty(), "no script misses {unshown:?}");
}

/// Each mechanism that is taken away is missed by some seed, alone or together with the one that covers for it.
#[test]
fn every_mechanism_is_missed() {
    let Some(count) = number("PAIRWISE_SIM_SWITCHES") else { return };
    let base = number("PAIRWISE_SIM_BASE").unwrap_or(1);
    let pairs: Vec<Vec<Switch>> = scripts("switches.txt").iter().map(|(line, _)| switches(line)).collect();
    let of = |switch: Switch| pairs.iter().find(|set| set[0] == switch).cloned().unwrap_or_else(|| vec![switch]);
    let only = std::env::var("PAIRWISE_SIM_ONLY").ok();
    let sets = match &only {
        Some(lines) => lines.split(',').map(switches).collect(),
        None => Switch::all().map(of).collect(),
    };
    let wanted: Mutex<Vec<Vec<Switch>>> = Mutex::new(sets);
    // What failed once comes first, and what is kept for this.
    let known = [scripts("scripts.txt"), scripts("switches.txt")].concat();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let left = wanted.lock().unwrap().clone();
                    if place >= known.len() as u64 + count || left.is_empty() {
                        return;
                    }
                    let fresh = || Script::of(base + place - known.len() as u64);
                    let script = known.get(place as usize).map_or_else(fresh, |(_, script)| script.clone());
                    let verdict = play(&script);
                    // What no guard has met goes the same way without it.
                    let met = |set: &&Vec<Switch>| set[0].was_met(&verdict.marks);
                    for set in left.iter().filter(|set| verdict.broken.is_empty() && met(set)) {
                        let broken = play_without(&script, set).broken.into_iter().next();
                        let Some(first) = broken.filter(|_| set.len() == 1 || needs_all(&script, set)) else {
                            continue;
                        };
                        let mut wanted = wanted.lock().unwrap();
                        let before = wanted.len();
                        wanted.retain(|other| other != set);
                        if wanted.len() == before {
                            continue;
                        }
                        drop(wanted);
                        let short = number("PAIRWISE_SIM_TELL").map(|_| shrink(&script, first.property, set).line());
                        let names: Vec<String> = set.iter().map(|switch| switch.name()).collect();
                        let (seed, names, short) = (script.seed, names.join(" with "), short.unwrap_or_default());
                        println!("{names}: seed {seed}: {}: {}\n{short}", first.property, first.found);
                    }
                }
            });
        }
    });
    let unmissed = wanted.into_inner().unwrap();
    assert!(unmissed.is_empty(), "nobody misses {unmissed:?} in {count} seeds");
}

/// The page names tests that are there.
#[test]
fn the_page_names_tests_that_are_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("CORRECTNESS.md")).unwrap();
    let mut named = 0;
    for name in page.split('`').skip(1).step_by(2) {
        let Some((file, test)) = name.split_once("::").filter(|(file, _)| file.chars().all(char::is_lowercase)) else {
            continue;
        };
        if file == "file" {
            continue;
        }
        let source = std::fs::read_to_string(root.join(format!("tests/{file}.rs"))).unwrap_or_default();
        assert!(source.contains(&format!("fn {test}()")), "the page names `{name}`, which is not there");
        named += 1;
    }
    assert!(named > 20, "the page names {named} tests");
    for property in 1..=20 {
        assert!(page.contains(&format!("| P{property} |")), "the page has no line for P{property}");
    }
}
