//! The real process, killed or stopped in the middle of a run, and run again.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pairwise_tests::people::{Crowd, write_cards};
use pairwise_tests::world::{World, cards};

const PEOPLE: u32 = 2_000;
/// Longer than anything takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(300);

fn world() -> World {
    let world = World::of_folders("mirror");
    write_cards(&world.left(), Crowd::tidy(9), 0..PEOPLE).unwrap();
    world
}

/// Names in a folder, whatever they are.
fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Waits until it is so, or the run is over.
fn until(child: &mut Child, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        std::thread::yield_now();
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").arg(name).arg(child.id().to_string()).status().unwrap().success());
}

/// Every person is on both sides once, and nothing else lies about.
fn whole(world: &World) {
    for folder in [world.left(), world.right()] {
        assert_eq!(names(&folder), PEOPLE as usize, "stray files in {}", folder.display());
        let mut uids: Vec<String> = cards(&folder)
            .into_iter()
            .filter_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("UID:")).map(str::to_owned))
            .collect();
        uids.sort();
        uids.dedup();
        assert_eq!(uids.len(), PEOPLE as usize, "duplicates in {}", folder.display());
    }
    let (ran, json) = world.json(["sync"]);
    let run = &json["runs"][0];
    assert_eq!((ran.code, &run["left"]["created"], &run["right"]["created"]), (Some(0), &0.into(), &0.into()), "{run}");
    let (_, status) = world.json(["status"]);
    assert_eq!((&status["lanes"][0]["live"], &status["lanes"][0]["open_intents"]), (&PEOPLE.into(), &0.into()));
}

#[test]
fn a_first_run_that_is_killed_again_and_again_ends_whole() {
    let world = world();
    for reached in [0, 1, 150, 700, 701, 1_400, 1_999] {
        let mut run = world.start(["sync"]);
        until(&mut run, || names(&world.right()) >= reached && world.path("state/pairwise.db").exists());
        signal(&run, "-KILL");
        run.wait().unwrap();
    }
    world.run(["sync"]).exits(0);
    whole(&world);
}

#[test]
fn a_first_run_whose_plugins_are_killed_ends_whole() {
    let world = world();
    let mut run = world.start(["sync"]);
    for reached in [200, 900] {
        until(&mut run, || names(&world.right()) >= reached);
        let workers = Command::new("pgrep").arg("-P").arg(run.id().to_string()).output().unwrap().stdout;
        for worker in String::from_utf8(workers).unwrap().split_whitespace() {
            // It may be gone by itself meanwhile.
            let _ = Command::new("kill").args(["-KILL", worker]).status().unwrap();
        }
    }
    run.wait().unwrap();
    world.run(["sync"]).exits(0);
    whole(&world);
}

#[test]
fn ctrl_c_finishes_the_batch_and_gives_the_lane_back() {
    let world = world();
    let mut run = world.start(["sync"]);
    until(&mut run, || names(&world.right()) >= 100);
    signal(&run, "-INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let (_, status) = world.json(["status"]);
    let lane = &status["lanes"][0];
    assert_eq!((&lane["holder"], &lane["last"]["report"]["state"]), (&serde_json::Value::Null, &"cancelled".into()));
    let done = names(&world.right());
    assert!(done < PEOPLE as usize, "it went on to the end");
    world.run(["sync"]).exits(0);
    whole(&world);
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let world = world();
    let mut first = world.start(["sync"]);
    until(&mut first, || names(&world.right()) >= 1);
    let ran = world.run(["sync"]);
    if first.try_wait().unwrap().is_none() {
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stdout.contains("another run is active") && ran.stdout.contains(&first.id().to_string()),
            "{}",
            ran.stdout
        );
    }
    assert!(first.wait().unwrap().success());
    whole(&world);
}

/// The lane belongs to a run that waits for its system. Another one leaves it alone and says who has it; what would pull the
/// ground from under it is refused.
#[test]
fn a_lane_that_is_worked_on_is_left_alone() {
    let world = World::with_mock("mirror", "faults = [{ operation = \"changes\", does = \"hang\", nth = 1 }]\n");
    let mut first = world.start(["sync"]);
    let journal = world.path("crm/journal.jsonl");
    until(&mut first, || fs::read_to_string(&journal).is_ok_and(|calls| calls.contains("\"changes\"")));
    let (second, json) = world.json(["sync"]);
    assert_eq!(second.code, Some(1), "{}{}", second.stdout, second.stderr);
    let run = &json["runs"][0];
    assert_eq!((&run["state"], &run["pulled"]["left"]), (&"busy".into(), &0.into()));
    assert!(run["error"].as_str().unwrap().contains(&format!("process {}", first.id())), "{run}");
    let reset = world.run(["connection", "reset", "right", "--yes"]).exits(2);
    assert!(reset.stderr.contains("another run is active"), "{}", reset.stderr);
    signal(&first, "-KILL");
    first.wait().unwrap();
    world.run(["sync"]).exits(0);
}

/// Its plugin has fallen over lately, so that the run waits before it starts it; nobody has to wait with it.
#[test]
fn ctrl_c_ends_the_pause_before_a_plugin_is_started_again() {
    let world = World::with_mock("mirror", "");
    world.run(["sync"]).exits(0);
    let (_, list) = world.json(["plugin", "list"]);
    let mock = list["plugins"].as_array().unwrap().iter().find(|plugin| plugin["manifest"]["id"] == "mock").unwrap();
    let health = format!("state/cache/{}/health.json", mock["sha256"].as_str().unwrap());
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let falls: Vec<String> = (0..4).map(|_| format!("{{ \"at\": {now}, \"text\": \"signal 11\" }}")).collect();
    world.put(&health, &format!("{{ \"failures\": [{}] }}", falls.join(", ")));
    let mut run = world.command();
    let mut run = run.args(["-v", "sync"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("fell over lately and is started again in")), "it says that it waits");
    signal(&run, "-INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

/// Stops a run with its workers where it holds no lock on the state, and lets its lease run out: the database says so at once.
/// False if it was over before.
fn sleeps_through_its_lease(world: &World, run: &mut Child) -> bool {
    let state = rusqlite::Connection::open(world.path("state/pairwise.db")).unwrap();
    state.busy_timeout(Duration::ZERO).unwrap();
    let begun = Instant::now();
    loop {
        signal(run, "-STOP");
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        match state.execute("UPDATE lane SET renewed = 0 WHERE holder IS NOT NULL", []) {
            Ok(held) => return held == 1,
            // It was stopped within a transaction.
            Err(_) => signal(run, "-CONT"),
        }
        assert!(begun.elapsed() < PATIENCE, "it never lets go of the state");
        std::thread::yield_now();
    }
}

/// P18: one host sleeps through its lease in the middle of a run, another takes the lane and finishes it, and the first one
/// wakes up. It learns that the lane is not its own any more, and changes nothing.
#[test]
fn two_hosts_and_one_of_them_slept_through_its_lease() {
    let mut slept = 0;
    for reached in [1, 900] {
        let world = world();
        let mut first = world.command();
        let mut first = first.arg("sync").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        until(&mut first, || names(&world.right()) >= reached);
        if !sleeps_through_its_lease(&world, &mut first) {
            continue;
        }
        slept += 1;
        world.run(["sync"]).exits(0);
        signal(&first, "-CONT");
        let ended = first.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.code() == Some(5) && said.contains("was taken over by another run"), "{said}");
        whole(&world);
    }
    assert!(slept > 0, "no run could be put to sleep");
}

/// The system on the right falls over in the middle of a batch, in each of these ways: what had been done is found again, and
/// nobody is there twice.
#[test]
fn a_plugin_that_falls_over_in_the_middle_of_a_batch_makes_no_double() {
    for does in ["panic", "abort", "exit", "segfault", "hang"] {
        let fault =
            format!("[[faults]]\noperation = \"write\"\nnth = 2\ntimes = 1\nwhen = \"midway\"\ndoes = \"{does}\"\n");
        let world = World::with_mock("mirror", &fault);
        let limits = "[connections.right.limits]\nsoft_deadline = \"500 ms\"\nhard_deadline = \"1 s\"\n";
        let usual = world.text("pairwise.toml");
        world.put("pairwise.toml", &format!("{usual}\n{limits}"));
        write_cards(&world.left(), Crowd::tidy(9), 0..250).unwrap();
        let first = world.run(["sync"]);
        assert!([0, 1, 3].contains(&first.code.unwrap()), "{does}: {:?}\n{}{}", first.code, first.stdout, first.stderr);
        world.put("crm.toml", "");
        // What a hang needs to be found soon is too short for a busy machine.
        world.put("pairwise.toml", &usual);
        world.run(["sync"]).exits(0);
        let (_, quiet) = world.json(["sync"]);
        assert_eq!(quiet["runs"][0]["right"]["created"], 0, "{does}: {quiet}");
        let (_, status) = world.json(["status"]);
        assert_eq!(status["lanes"][0]["live"], 250, "{does}");
        let held = world.text("crm/records.json");
        assert_eq!(held.matches("\"uid\"").count(), 250, "{does}");
    }
}
