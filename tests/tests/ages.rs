//! Plugins that were built against an older, a newer and a too new plugin API, and a host that is newer than its plugins.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs::read, thread};

use pairwise_host::plugins::{Isolation, LoadError, OpenError, Plugin, Session, probe};
use pairwise_plugin_api::ops::{Get, GetRequest, WatchRequest};
use pairwise_tests::stage::{Stage, fixtures};
use pairwise_tests::world::World;
use semver::{Version, VersionReq};
use serde_json::{Value, json};

/// Installs and locks the fixture of an API version.
fn fixture(stage: &Stage, api: &str) -> Plugin {
    let api = api.replace('.', "_");
    stage.install(&format!("{api}.so"), &read(fixtures().join(format!("libfixture_{api}.so"))).unwrap());
    stage.installed().lock(&[]).unwrap();
    stage.installed().resolve(&format!("fixture-{}", api.replace('_', "-")), &VersionReq::STAR).unwrap()
}

fn told(stage: &Stage, api: &str, settings: Value) -> String {
    let session = Session::open(stage.spec(fixture(stage, api), settings)).unwrap();
    session.description().target.clone()
}

#[test]
fn a_plugin_of_1_0_runs_here() {
    assert!(told(&Stage::new(), "1.0", json!({})).contains("allowed"));
}

#[test]
fn a_plugin_of_1_1_runs_here_and_does_without_what_is_new() {
    assert!(told(&Stage::new(), "1.1", json!({})).contains("host function of 1.1: None"));
}

#[test]
fn plugins_of_two_ages_run_side_by_side_in_one_process() {
    let stage = Stage::new();
    for api in ["1.1", "1.0", "1.1"] {
        let mut spec = stage.spec(fixture(&stage, api), json!({}));
        spec.isolation = Isolation::InProcess;
        assert!(Session::open(spec).is_ok(), "{api}");
    }
}

#[test]
fn a_plugin_of_2_0_is_refused_before_it_runs() {
    let stage = Stage::new();
    stage.install("two.so", &read(fixtures().join("libfixture_2_0.so")).unwrap());
    let mut plugins = stage.installed();
    let problem = plugins.list().remove(0).problem.unwrap();
    assert!(problem.contains("plugin API 2.0.0, this host has 1.") && problem.contains("1.x is needed"), "{problem}");
    assert_eq!(plugins.lock(&[]).unwrap(), [], "what cannot be used is not locked");
    let error = plugins.resolve("fixture-2-0", &VersionReq::STAR).unwrap_err();
    assert!(matches!(error, LoadError::Incompatible { .. }), "{error}");
}

/// The loader of this repository, compiled against 1.1, opens plugins of 1.0 and 1.1.
#[test]
fn a_host_of_1_1_runs_a_plugin_of_1_0() {
    let run = |library: &str| {
        let output = Command::new(fixtures().join("fixture-host")).arg(fixtures().join(library)).output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (said, _) = run("libfixture_1_0.so");
    assert!(said.contains("root field of 1.1: None") && said.contains("slot of 1.1: 11"), "{said}");
    let (said, _) = run("libfixture_1_1.so");
    assert!(said.contains("root field of 1.1: Some(12)") && said.contains("host function of 1.1: Some(13)"), "{said}");
    let (_, said) = run("libfixture_2_0.so");
    assert!(said.contains("Incompatible"), "{said}");
}

/// The file is what was locked, but calls itself something else than the one who opens it expects.
#[test]
fn a_library_must_be_who_it_was_taken_for() {
    let stage = Stage::new();
    for wrong in ["id", "version"] {
        let mut plugin = fixture(&stage, "1.0");
        match wrong {
            "id" => plugin.manifest.id = "somebody-else".into(),
            _ => plugin.manifest.version = Version::new(9, 9, 9),
        }
        let error = Session::open(stage.spec(plugin, json!({}))).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OpenError::Load(_)) && text.contains("calls itself `fixture-1-0` 1.0.0"), "{text}");
    }
}

/// The manifest asks for the file that `allowed` names, for nothing else.
#[test]
fn a_worker_reaches_what_its_manifest_asks_for_and_nothing_else() {
    let stage = Stage::new();
    fs::write(stage.path("wanted.txt"), "yes").unwrap();
    fs::write(stage.path("secret.txt"), "no").unwrap();
    let denied = stage.path("secret.txt");
    let plugin = fixture(&stage, "1.0");
    let session =
        Session::open(stage.spec(plugin.clone(), json!({ "allowed": "wanted.txt", "denied": denied }))).unwrap();
    let (told, sandbox) = (&session.description().target, session.sandbox().unwrap());
    assert!(told.contains("allowed: done") && told.contains("secret of the host: None"), "{told}");
    assert!(told.contains("program: permission denied"), "{told}: {sandbox}");
    if sandbox.is_full() {
        assert!(told.contains("denied: permission denied") && told.contains("socket: permission denied"), "{told}");
    }
    // What it comes to can be asked without a connection.
    let mut spec = stage.spec(plugin, json!({}));
    spec.connection = "probe".into();
    assert_eq!(probe(spec).unwrap(), sandbox);
}

#[test]
fn a_plugin_that_never_gets_ready_is_ended() {
    let stage = Stage::new();
    let mut spec = stage.spec(fixture(&stage, "1.0"), json!({ "never_ready": true }));
    spec.deadlines.startup = Duration::from_millis(300);
    let error = Session::open(spec).unwrap_err().to_string();
    assert!(error.contains("`fixture-1-0` 1.0.0 did not start") && error.contains("not ready after 300ms"), "{error}");
}

/// Nothing is wrong with the configuration: trying again may help.
#[test]
fn a_run_whose_plugin_never_gets_ready_ends_as_if_its_system_were_down() {
    let world = World::with_mock("mirror", "");
    fs::create_dir(world.path("plugins")).unwrap();
    fs::copy(fixtures().join("libfixture_1_0.so"), world.path("plugins/fixture.so")).unwrap();
    let right = "plugin = \"fixture-1-0\"\nsettings = { never_ready = true }\nlimits = { start_deadline = \"300 ms\" }";
    let left = "plugin = \"mock\"";
    world.put(
        "pairwise.toml",
        &format!("plugin_dir = \"plugins\"\n[connections.left]\n{left}\n[connections.right]\n{right}\n"),
    );
    world.run(["plugin", "lock", "fixture-1-0"]).exits(0);
    for command in [["sync", "people"], ["connection", "check"]] {
        let ran = world.run(command).exits(3);
        assert!(ran.stderr.contains("not ready after 300ms") && ran.stderr.contains("`fixture-1-0`"), "{}", ran.stderr);
    }
}

#[test]
fn a_call_that_makes_progress_is_left_alone() {
    for isolation in [Isolation::Worker, Isolation::InProcess] {
        let stage = Stage::new();
        let mut spec = stage.spec(fixture(&stage, "1.0"), json!({}));
        (spec.isolation, spec.deadlines.soft) = (isolation, Duration::from_secs(1));
        let session = Session::open(spec).unwrap();
        assert_eq!(session.send::<Get>(&GetRequest::default()), Ok(Vec::new()));
    }
}

/// Everything that this test program logs.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_plugin_logs_is_in_the_log_of_the_host() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let stage = Stage::new();
    let mut spec = stage.spec(fixture(&stage, "1.0"), json!({}));
    spec.connection = "logged".into();
    drop(Session::open(spec).unwrap());
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.find(|line| line["fields"]["connection"] == "logged").unwrap();
    assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!("plugin")));
    assert_eq!(line["fields"]["message"], "created");
    assert_eq!(
        (&line["fields"]["plugin.id"], &line["fields"]["fields"]),
        (&json!("fixture-1-0"), &json!("{\"answer\":42}"))
    );
}

#[test]
fn announcements_are_heard_until_the_session_is_cancelled() {
    for isolation in [Isolation::Worker, Isolation::InProcess] {
        let stage = Stage::new();
        let mut spec = stage.spec(fixture(&stage, "1.0"), json!({}));
        spec.isolation = isolation;
        let session = Session::open(spec).unwrap();
        let (heard, hear) = channel();
        thread::scope(|scope| {
            let watching = scope.spawn(|| {
                session
                    .watch(&WatchRequest::default(), |announcement| heard.send(announcement.at[0].id.clone()).unwrap())
            });
            assert_eq!([hear.recv().unwrap(), hear.recv().unwrap()], ["1", "2"]);
            session.cancel();
            assert_eq!(watching.join().unwrap(), Ok(()));
        });
    }
}
