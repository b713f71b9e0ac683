//! Histories drawn from seeds, judged by what people typed. `PAIRWISE_SIM` plays one again: a seed, or a script as printed.
//!
//! `PAIRWISE_SIM_COUNT` says how many, `PAIRWISE_SIM_BASE` from which seed on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_tests::sim::{Broken, Script, Verdict, play, shrink};

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
        let short = shrink(script, first.property);
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

#[test]
fn fresh_histories() {
    let count = number("PAIRWISE_SIM_COUNT").unwrap_or(200);
    let base = number("PAIRWISE_SIM_BASE").unwrap_or(1);
    let told = number("PAIRWISE_SIM_TELL").unwrap_or(5);
    let started = std::time::Instant::now();
    let (mut failed, mut runs) = (0, 0);
    for seed in base..base + count {
        let script = Script::of(seed);
        let verdict = play(&script);
        runs += verdict.runs;
        if let Some(first) = verdict.broken.first() {
            failed += 1;
            if failed <= told {
                println!("{}", explain(&script, &verdict));
            } else {
                println!("seed {seed}: {}: {}", first.property, first.found);
            }
        }
        if seed % 10 == 0 {
            assert_eq!(verdict.trace, play(&script).trace, "seed {seed} does not play the same twice");
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} histories from {base}, {runs} runs, {seconds:.1} s, {:.0} a second", count as f64 / seconds);
    assert_eq!(failed, 0, "of {count} histories from {base}");
}

#[test]
fn one_history() {
    let Ok(line) = std::env::var("PAIRWISE_SIM") else { return };
    let script = Script::read(&line).unwrap();
    let verdict = play(&script);
    assert!(verdict.broken.is_empty(), "{}", explain(&script, &verdict));
}
