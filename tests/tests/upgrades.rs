//! Plugins that are upgraded and rolled back between two runs: what they had read goes on, or is read again, and nothing is
//! lost or doubled. The versions are real libraries: the mock under another version number.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use pairwise_tests::plugin_path;
use pairwise_tests::world::{World, cards};
use serde_json::{Value, json};

/// People on the right, as the mock makes them up.
const PEOPLE: u64 = 7;

/// The mock as it is in this workspace, and as it would be under these version numbers, installed and locked.
fn world() -> World {
    let world = World::with_mock("mirror", &format!("generate = {{ contacts = {PEOPLE} }}\n"));
    fs::create_dir(world.path("plugins")).unwrap();
    for version in ["0.1.0", "0.1.5", "0.2.0"] {
        let file = world.path(&format!("plugins/mock-{version}.so"));
        fs::write(file, under(version)).unwrap();
    }
    world.put("plugins/vdir.so", "");
    fs::copy(plugin_path("vdir"), world.path("plugins/vdir.so")).unwrap();
    version(&world, "0.1.0", "{ form = 1 }");
    world.run(["plugin", "lock"]).exits(0);
    world
}

/// The library of the mock with another version number in its manifest.
fn under(version: &str) -> Vec<u8> {
    let mut library = fs::read(plugin_path("mock")).unwrap();
    let written = b"\"version\": \"0.1.0\"";
    let places: Vec<usize> =
        library.windows(written.len()).enumerate().filter(|(_, bytes)| bytes == written).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 1, "the manifest stands in a library once");
    let start = places[0] + written.len() - version.len() - 1;
    library[start..start + version.len()].copy_from_slice(version.as_bytes());
    library
}

/// From now on the right side is read by this version, which writes cursors so.
fn version(world: &World, version: &str, cursors: &str) {
    let settings = format!("{{ script = \"crm.toml\", state_dir = \"crm\", cursors = {cursors} }}");
    let right = format!("plugin = \"mock\"\nversion = \"={version}\"\nsettings = {settings}");
    let left = "plugin = \"vdir\"\nsettings = { path = \"left\" }";
    let text = format!("plugin_dir = \"plugins\"\n\n[connections.left]\n{left}\n\n[connections.right]\n{right}\n");
    world.put("pairwise.toml", &text);
}

/// A person changes the records of the right side.
fn edit(world: &World, change: impl FnOnce(&mut Vec<Value>)) {
    let mut state: Value = serde_json::from_str(&world.text("crm/records.json")).unwrap();
    change(state["records"].as_array_mut().unwrap());
    world.put("crm/records.json", &state.to_string());
}

fn rename(world: &World, number: usize, name: &str) {
    edit(world, |records| records[number]["fields"]["FullName"] = json!(name));
}

fn sync(world: &World, code: i32) -> Value {
    let (ran, json) = world.json(["sync"]);
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
    json["runs"][0].clone()
}

/// Records that a run read on the right, and what it then wrote on the left: created, updated, deleted.
fn did(run: &Value) -> (u64, [u64; 3]) {
    let left = |what: &str| run["left"][what].as_u64().unwrap();
    (run["pulled"]["right"].as_u64().unwrap(), ["created", "updated", "deleted"].map(left))
}

fn calls(world: &World, operation: &str) -> usize {
    world.journal().iter().filter(|call| call["operation"] == operation).count()
}

fn notes(run: &Value) -> String {
    run["notes"].to_string()
}

/// The right side holds what it held, and the left the same number of cards: nothing was doubled in either.
fn is_whole(world: &World, people: u64) {
    let state: Value = serde_json::from_str(&world.text("crm/records.json")).unwrap();
    assert_eq!(state["records"].as_array().unwrap().len() as u64, people);
    assert_eq!(cards(&world.left()).len() as u64, people);
    let run = sync(world, 0);
    assert_eq!(did(&run).1, [0, 0, 0]);
}

#[test]
fn a_later_version_goes_on_where_the_earlier_one_was() {
    let world = world();
    assert_eq!(did(&sync(&world, 0)).1, [PEOPLE, 0, 0]);
    rename(&world, 3, "Ada Upgraded");
    version(&world, "0.2.0", "{ form = 2, carries = [1] }");

    // A plan goes the same way, and carries nothing over.
    let (_, plan) = world.json(["plan"]);
    assert_eq!(did(&plan["runs"][0]), (1, [0, 1, 0]));
    let run = sync(&world, 0);
    assert_eq!(did(&run), (1, [0, 1, 0]), "{run}");
    assert!(!notes(&run).contains("listed again"), "{run}");
    assert_eq!(calls(&world, "migrate_state"), 2);
    is_whole(&world, PEOPLE);
    assert_eq!(calls(&world, "migrate_state"), 2, "once is enough");
}

#[test]
fn a_version_that_refuses_lists_the_side_again() {
    let world = world();
    sync(&world, 0);
    rename(&world, 3, "Ada Upgraded");
    edit(&world, |records| drop(records.remove(5)));
    version(&world, "0.2.0", "{ form = 2, carries = [] }");
    let run = sync(&world, 0);
    assert_eq!(did(&run), (PEOPLE - 1, [0, 1, 1]), "what was deleted meanwhile is known, too: {run}");
    let told = "connection `right` (right): plugin mock 0.2.0 cannot go on from where mock 0.1.0 had read";
    assert!(notes(&run).contains(told), "{run}");
    is_whole(&world, PEOPLE - 1);
    assert_eq!(calls(&world, "migrate_state"), 1);
}

#[test]
fn without_the_operation_a_compatible_version_reads_on_and_another_lists() {
    let world = world();
    sync(&world, 0);
    rename(&world, 3, "Ada Upgraded");
    version(&world, "0.1.5", "{ form = 1 }");
    assert_eq!(did(&sync(&world, 0)), (1, [0, 1, 0]));
    rename(&world, 4, "Grace Upgraded");
    version(&world, "0.2.0", "{ form = 1 }");
    let run = sync(&world, 0);
    assert_eq!(did(&run), (PEOPLE, [0, 1, 0]), "{run}");
    assert!(notes(&run).contains("listed again"), "{run}");
    is_whole(&world, PEOPLE);
}

/// The mock refuses a cursor of another form: had it been given one, the run would fail.
#[test]
fn an_earlier_version_never_meets_what_a_later_one_has_written() {
    let world = world();
    sync(&world, 0);
    version(&world, "0.2.0", "{ form = 2, carries = [1] }");
    rename(&world, 3, "Ada Upgraded");
    sync(&world, 0);
    rename(&world, 4, "Grace Downgraded");
    version(&world, "0.1.0", "{ form = 1 }");
    let run = sync(&world, 0);
    assert_eq!(did(&run), (2, [0, 1, 0]), "it goes on from its own cursor: {run}");
    is_whole(&world, PEOPLE);

    // Up again, and then down to a version that never was there.
    version(&world, "0.2.0", "{ form = 2, carries = [1] }");
    sync(&world, 0);
    edit(&world, |records| drop(records.remove(5)));
    version(&world, "0.1.5", "{ form = 3, carries = [1] }");
    let run = sync(&world, 0);
    assert_eq!(did(&run).1, [0, 0, 1], "what the earlier one had left is carried over to it: {run}");
    is_whole(&world, PEOPLE - 1);

    // From here no version before it has left anything that it could read.
    version(&world, "0.1.0", "{ form = 1, carries = [] }");
    let run = sync(&world, 0);
    assert_eq!(did(&run), (PEOPLE - 1, [0, 0, 0]), "{run}");
    assert!(notes(&run).contains("listed again"), "{run}");
    is_whole(&world, PEOPLE - 1);
}

#[test]
fn what_could_not_be_carried_over_for_now_is_carried_over_later() {
    let world = world();
    sync(&world, 0);
    rename(&world, 3, "Ada Upgraded");
    let fault = "faults = [{ operation = \"migrate_state\", does = \"abort\", nth = 1 }]\n";
    world.put("crm.toml", &format!("generate = {{ contacts = {PEOPLE} }}\n{fault}"));
    version(&world, "0.2.0", "{ form = 2, carries = [1] }");
    let failed = sync(&world, 3);
    assert_eq!(did(&failed), (0, [0, 0, 0]), "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("`migrate_state`"), "{failed}");
    assert_eq!(did(&sync(&world, 0)), (1, [0, 1, 0]));
    is_whole(&world, PEOPLE);
}

/// A connection that leads elsewhere through another plugin: its cursor means nothing there.
#[test]
fn another_plugin_reads_from_the_beginning() {
    let world = world();
    sync(&world, 0);
    let right = "plugin = \"vdir\"\nsettings = { path = \"right\", create_path = true }";
    let left = "plugin = \"vdir\"\nsettings = { path = \"left\" }";
    let text = format!("plugin_dir = \"plugins\"\n[connections.left]\n{left}\n[connections.right]\n{right}\n");
    world.put("pairwise.toml", &text);
    let (ran, json) = world.json(["sync"]);
    let run = &json["runs"][0];
    assert!(notes(run).contains("plugin vdir 0.1.0 cannot go on from where mock 0.1.0 had read"), "{}", ran.stdout);
    assert_eq!(did(run).1, [0, 0, 0]);
}
