//! The demo, as a newcomer meets it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::Command;

use pairwise_tests::world::World;
use pairwise_tests::{plugin_path, program};
use serde_json::Value;

/// Sums a count over both lanes of an act.
fn sum(act: &Value, pointer: &str) -> u64 {
    act["runs"].as_array().unwrap().iter().map(|run| run.pointer(pointer).unwrap().as_u64().unwrap()).sum()
}

fn writes(act: &Value) -> u64 {
    let counts = ["created", "updated", "deleted"];
    counts.iter().map(|what| sum(act, &format!("/left/{what}")) + sum(act, &format!("/right/{what}"))).sum()
}

#[test]
fn two_systems_come_into_step_and_stay_there() {
    let world = World::empty();
    let folder = world.path("office");
    let (ran, json) = world.json(["demo", "--contacts", "60", "--dir", folder.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let acts = json["acts"].as_array().unwrap();
    let [plan, first, day, echo, quiet] = acts.as_slice() else { panic!("five acts: {json}") };
    assert!(acts.iter().all(|act| act["runs"].as_array().unwrap().len() == 2), "two people: {json}");
    // Of sixty contacts 48 are in the CRM, and 12 of them in the mailboxes, too. Some share their address with others.
    let (planned, done) = (sum(plan, "/right/created"), sum(first, "/right/created"));
    assert!(planned == done && (36..42).contains(&done), "{planned} planned, {done} done: {first}");
    assert!(sum(first, "/adopted") > 6 && sum(first, "/left/created") > 8, "{first}");
    assert!(sum(day, "/left/updated") > 0 && sum(day, "/right/updated") > 0, "{day}");
    assert_eq!(sum(echo, "/left/created") + sum(echo, "/right/created"), 0, "{echo}");
    assert_eq!((writes(quiet), sum(quiet, "/held")), (0, 0), "{quiet}");
    // With more people, some contacts are in both groups, and the day reaches them twice.
    let (ran, json) = world.json(["demo", "--dir", world.path("more").to_str().unwrap()]);
    let acts = json["acts"].as_array().unwrap();
    assert_eq!((ran.code, writes(acts.last().unwrap())), (Some(0), 0), "{json}");
    world.run(["demo", "--contacts", "20", "--dir", folder.to_str().unwrap()]).exits(0);
}

#[test]
fn it_shows_what_moves_what_waits_and_that_a_quiet_run_writes_nothing() {
    let world = World::empty();
    let folder = world.path("playground");
    let (ran, json) = world.json(["demo", "--folders", "--contacts", "60", "--dir", folder.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let acts = json["acts"].as_array().unwrap();
    let [first, day, accident, quiet] = acts.as_slice() else { panic!("four acts: {json}") };

    // Of sixty people 36 are in both books; three of them differ; 25 come from the pretended CRM.
    assert_eq!((sum(first, "/adopted"), sum(first, "/conflicts"), sum(first, "/quarantined")), (36, 3, 2), "{first}");
    assert_eq!((sum(first, "/left/created"), sum(first, "/right/created")), (12, 12 + 25));
    assert_eq!(sum(first, "/held"), 3);

    // A title, a note, a deletion.
    assert_eq!((sum(day, "/left/updated"), sum(day, "/right/updated"), sum(day, "/left/deleted")), (1, 1, 1), "{day}");
    assert_eq!((writes(accident), sum(accident, "/held") > 5), (0, true), "{accident}");
    assert_eq!(writes(quiet), 0, "{quiet}");

    // What a demo made, a demo may make again.
    let folder = folder.to_str().unwrap();
    world.run(["demo", "--folders", "--contacts", "20", "--dir", folder]).exits(0);
}

/// The program in a folder of its own with its plugins beside it, which nobody has locked.
#[test]
fn it_works_where_the_program_is_installed() {
    let world = World::empty();
    let bin = world.path("bin");
    fs::create_dir(&bin).unwrap();
    let pairwise = bin.join("pairwise");
    fs::hard_link(program(), &pairwise).or_else(|_| fs::copy(program(), &pairwise).map(drop)).unwrap();
    for id in ["vdir", "mock"] {
        fs::copy(plugin_path(id), bin.join(format!("{id}.so"))).unwrap();
    }
    let playground = world.path("playground");
    let mut demo = Command::new(&pairwise);
    demo.args(["demo", "--folders", "--contacts", "20", "--dir"]).arg(&playground).env_remove("PAIRWISE_CONFIG");
    let ran = demo.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(world.text("playground/plugins.lock").contains("vdir"));
}

#[test]
fn a_playground_is_a_configuration_folder() {
    let world = World::empty();
    let folder = world.path("");
    // The world's own folder is empty, so the demo takes it.
    world.run(["demo", "--folders", "--contacts", "20", "--dir", folder.to_str().unwrap()]).exits(0);
    for args in [vec!["plan"], vec!["status"], vec!["doctor"], vec!["holds", "list"], vec!["conflicts", "list"]] {
        world.run(args).exits(0);
    }
}

#[test]
fn a_folder_that_holds_anything_else_is_left_alone() {
    let world = World::empty();
    world.put("mine/thesis.txt", "forty-two");
    let ran = world.run(["demo", "--dir", world.path("mine").to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("is not empty"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(world.path("mine")).unwrap().count(), 1);
}
