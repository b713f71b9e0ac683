//! Commands and what they say, through the real program: the configuration's mistakes, exit codes, JSON, files written.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use pairwise_tests::plugin_path;
use pairwise_tests::stage::fixtures;
use pairwise_tests::world::{Ran, World};
use serde_json::Value;

/// Two mocks, paired as `people`: works without any folder of cards.
fn mocks() -> World {
    let world = World::empty();
    world.put("pairwise.toml", &mock_connections(""));
    world.put("profiles/people.toml", "preset = \"mirror\"\nleft = \"crm\"\nright = \"mail\"\n");
    for folder in ["crm", "mail"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    world
}

fn mock_connections(more: &str) -> String {
    format!(
        "[connections.crm]\nplugin = \"mock\"\nsettings = {{ state_dir = \"crm\", generate = {{ contacts = 12 }} }}\n\
         {more}\n\
         [connections.mail]\nplugin = \"mock\"\nsettings = {{ state_dir = \"mail\", generate = {{ contacts = 8, first = 8 }} }}\n"
    )
}

/// Every file below a folder, with its content.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// `sync` refuses: exit code 2, these words, and not one file is made or changed.
fn refuses(world: &World, words: &[&str]) {
    let before = content(&world.path(""));
    let ran = world.run(["sync"]).exits(2);
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing in:\n{}", ran.stderr);
    }
    assert_eq!(ran.stdout, "");
    assert_eq!(content(&world.path("")), before);
    let (ran, json) = world.json(["sync"]);
    assert_eq!(ran.code, Some(2));
    let problems = json.pointer("/error/problems").or(json.pointer("/problems")).unwrap();
    assert!(problems.as_array().is_some_and(|problems| !problems.is_empty()), "{json}");
    assert_eq!(content(&world.path("")), before);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    let world = mocks();
    world.put("pairwise.toml", &mock_connections("isolatoin = \"worker\""));
    refuses(&world, &["pairwise.toml:4:1", "unknown key `isolatoin`", "did you mean `isolation`?"]);
}

#[test]
fn an_unknown_key_of_a_profile_is_named_with_the_nearest_one() {
    let world = mocks();
    world.put("profiles/people.toml", "preset = \"mirror\"\nlefft = \"crm\"\nleft = \"crm\"\nright = \"mail\"\n");
    refuses(&world, &["profiles/people.toml:2:1", "unknown key `lefft`", "did you mean `left`?"]);
}

#[test]
fn an_unknown_setting_of_a_plugin_is_named_with_the_nearest_one() {
    let world = mocks();
    world.put("pairwise.toml", &mock_connections("").replace("generate = { contacts = 12 }", "genrate = {}"));
    refuses(&world, &["pairwise.toml:3", "unknown key `genrate`", "did you mean `generate`?"]);
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected() {
    let world = mocks();
    world.put("profiles/people.toml", "preset = \"mirror\"\nleft = \"crm\"\nright = \"mail\"\nenabled = \"yes\"\n");
    refuses(&world, &["profiles/people.toml:4:11", "enabled", "true"]);
}

#[test]
fn a_wrong_type_in_a_setting_is_named_with_what_was_expected() {
    let world = mocks();
    world.put("pairwise.toml", &mock_connections("").replace("contacts = 12", "contacts = \"12\""));
    refuses(&world, &["pairwise.toml:3", "contacts"]);
}

#[test]
fn broken_toml_is_shown_at_its_line() {
    let world = mocks();
    world.put("pairwise.toml", "[connections.crm\nplugin = \"mock\"\n");
    refuses(&world, &["pairwise.toml:1", "not valid TOML"]);
}

#[test]
fn a_missing_secret_is_named_with_its_place_and_never_shown() {
    let world = mocks();
    let secrets = "secrets = { password = { env = \"PAIRWISE_TEST_NOT_SET\" } }";
    world.put("pairwise.toml", &mock_connections(secrets));
    refuses(&world, &["pairwise.toml:4", "password", "PAIRWISE_TEST_NOT_SET", "is not set"]);
}

#[test]
fn an_unknown_plugin_is_named_with_the_nearest_one() {
    let world = mocks();
    world.put("pairwise.toml", &mock_connections("").replacen("\"mock\"", "\"mokc\"", 1));
    refuses(&world, &["pairwise.toml:2", "no plugin `mokc`", "did you mean `mock`?", "plugin list"]);
}

#[test]
fn a_version_that_is_not_there_is_told_with_those_that_are() {
    let world = mocks();
    world.put("pairwise.toml", &mock_connections("version = \"^9\""));
    refuses(&world, &["pairwise.toml:4", "^9", "0.1.0"]);
}

#[test]
fn a_plugin_of_another_api_is_refused_with_both_versions() {
    let world = mocks();
    fs::create_dir(world.path("plugins")).unwrap();
    fs::copy(fixtures().join("libfixture_2_0.so"), world.path("plugins/other.so")).unwrap();
    world.put("pairwise.toml", &mock_connections("").replacen("\"mock\"", "\"fixture-2-0\"", 1));
    refuses(&world, &["pairwise.toml:2", "fixture-2-0", "other.so", "2.0.0", "1.0.0"]);
}

#[test]
fn a_truncated_library_is_an_error_and_not_a_crash() {
    let world = mocks();
    let whole = fs::read(plugin_path("mock")).unwrap();
    fs::create_dir(world.path("plugins")).unwrap();
    fs::write(world.path("plugins/acme.so"), &whole[..whole.len() / 3]).unwrap();
    world.put("pairwise.toml", &mock_connections("").replacen("\"mock\"", "\"acme\"", 1));
    refuses(&world, &["pairwise.toml:2", "no plugin `acme`", "acme.so", "damaged"]);
    let ran = world.run(["plugin", "inspect", "plugins/acme.so"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[test]
fn a_text_file_that_calls_itself_a_library_is_told_apart() {
    let world = mocks();
    world.put("plugins/acme.so", "I am a library, believe me.\n");
    world.put("pairwise.toml", &mock_connections("").replacen("\"mock\"", "\"acme\"", 1));
    refuses(&world, &["pairwise.toml:2", "no plugin `acme`", "acme.so", "not a shared library"]);
    let listed = world.run(["plugin", "list"]).exits(0);
    assert!(listed.stdout.contains("acme.so") && listed.stdout.contains("unusable"), "{}", listed.stdout);
}

#[test]
fn two_profiles_on_one_pair_of_connections_are_refused() {
    let world = mocks();
    world.put("profiles/again.toml", "preset = \"mirror\"\nleft = \"mail\"\nright = \"crm\"\n");
    refuses(&world, &["again", "people", "profile disable"]);
}

#[test]
fn two_profiles_on_one_pair_of_folders_are_refused_whatever_they_are_called() {
    let world = World::of_folders("mirror");
    std::os::unix::fs::symlink(world.left(), world.path("alias")).unwrap();
    let more = "\n[connections.a]\nplugin = \"vdir\"\nsettings = { path = \"right\" }\n\
                [connections.b]\nplugin = \"vdir\"\nsettings = { path = \"alias\" }\n";
    world.put("pairwise.toml", &(world.text("pairwise.toml") + more));
    world.put("profiles/again.toml", "preset = \"mirror\"\nleft = \"a\"\nright = \"b\"\n");
    for command in [vec!["sync"], vec!["sync", "people"], vec!["plan", "again"], vec!["profile", "check"]] {
        let ran = world.run(command).exits(2);
        assert!(
            ran.stderr.contains("pair the same stores") && ran.stderr.contains("profile disable"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_folder_is_not_paired_with_itself() {
    let world = World::of_folders("mirror");
    world.put("pairwise.toml", &world.text("pairwise.toml").replace("\"right\"", "\"left\""));
    let ran = world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("with itself"), "{}", ran.stderr);
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named() {
    let world = mocks();
    // Not even the superuser can make a folder below a file.
    world.put("occupied", "a file");
    world.put("pairwise.toml", &format!("state_dir = \"occupied/state\"\n{}", mock_connections("")));
    refuses(&world, &["occupied/state", "state_dir"]);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let world = mocks();
    world.run(["sync"]).exits(0);
    let mut bytes = fs::read(world.path("state/pairwise.db")).unwrap();
    // `user_version` of the file's header.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(world.path("state/pairwise.db"), &bytes).unwrap();
    let ran = world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("schema 99") && ran.stderr.contains("newer pairwise"), "{}", ran.stderr);
    assert_eq!(fs::read(world.path("state/pairwise.db")).unwrap(), bytes);
}

#[test]
fn without_a_configuration_the_places_looked_at_are_told() {
    let world = World::empty();
    let ran = world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("pairwise.toml") && ran.stderr.contains("--config"), "{}", ran.stderr);
}

#[test]
fn names_that_are_not_there_are_told_with_the_nearest_one() {
    let world = mocks();
    for (args, words) in [
        (vec!["sync", "peopel"], "did you mean `people`?"),
        (vec!["sync", "--stream", "contcts"], "did you mean `contacts`?"),
        (vec!["sync", "--user", "lee"], "user `lee`"),
        (vec!["profile", "show", "peple"], "did you mean `people`?"),
        (vec!["connection", "check", "crn"], "did you mean `crm`?"),
        (vec!["conflicts", "show", "7"], "no conflict 7"),
        (vec!["holds", "show", "7"], "no hold 7"),
        (vec!["quarantine", "show", "7"], "no quarantined record 7"),
        (vec!["run", "show", "01X"], "no run `01X`"),
    ] {
        let ran = world.run(&args).exits(2);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn wrong_arguments_are_errors_in_json_too() {
    let (ran, json) = World::empty().json(["sync", "--prefer", "top"]);
    assert_eq!((ran.code, &json["error"]["exit"]), (Some(2), &Value::from(2)));
}

#[test]
fn the_version_tells_api_and_build() {
    let ran = World::empty().run(["--version"]).exits(0);
    assert!(ran.stdout.starts_with("pairwise 0.1.0 (plugin API 1.0.0, build "), "{}", ran.stdout);
}

#[test]
fn json_of_a_run_is_what_scripts_rely_on() {
    let world = mocks();
    let (ran, json) = world.json(["sync"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run = &json["runs"][0];
    let side = ["created", "updated", "deleted", "unlinked", "failed"];
    for key in
        ["profile", "user", "stream", "state", "conflicts", "quarantined", "held", "offers", "adopted", "duration_ms"]
    {
        assert!(!run[key].is_null(), "{key} is missing in {run}");
    }
    for key in side {
        assert!(run["left"][key].is_u64() && run["right"][key].is_u64(), "{key} is missing in {run}");
    }
    assert_eq!((&run["pulled"]["left"], &run["pulled"]["right"]), (&Value::from(12), &Value::from(8)));
    assert_eq!(
        (&run["profile"], &run["stream"], &run["state"]),
        (&"people".into(), &"contacts".into(), &"done".into())
    );
    assert!(run.get("items").is_none());
}

#[test]
fn a_plan_is_what_sync_does_and_writes_nothing() {
    let world = mocks();
    let before = content(&world.path(""));
    let (ran, plan) = world.json(["plan"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // The mock itself keeps a journal of the reads.
    let ours = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(name, _)| !name.contains("/crm/") && !name.contains("/mail/")).collect()
    };
    assert_eq!(ours(content(&world.path(""))), ours(before));
    let items = plan["runs"][0]["items"].as_array().unwrap().clone();
    let first = &items[0];
    for key in ["op", "side", "entity", "id", "other_id", "label", "reason", "held", "fields"] {
        assert!(!first[key].is_null(), "{key} is missing in {first}");
    }
    let (_, mut done) = world.json(["sync"]);
    let mut planned = plan["runs"][0].clone();
    for run in [&mut planned, &mut done["runs"][0]] {
        let run = run.as_object_mut().unwrap();
        run.remove("items");
        run.remove("duration_ms");
    }
    assert_eq!(planned, done["runs"][0]);
    let creates = items.iter().filter(|item| item["op"] == "create").count() as u64;
    assert_eq!(planned["left"]["created"].as_u64().unwrap() + planned["right"]["created"].as_u64().unwrap(), creates);
}

#[test]
fn a_saved_plan_is_done_once_and_then_refused() {
    let world = mocks();
    let file = world.path("plan.json");
    let file = file.to_str().unwrap();
    world.run(["plan", "--out", file]).exits(0);
    let (ran, done) = world.json(["sync", "--plan", file]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(done["runs"][0]["right"]["created"].as_u64().unwrap() > 0, "{done}");
    let ran = world.run(["sync", "--plan", file]).exits(2);
    assert!(ran.stderr.contains("stale") && ran.stderr.contains("people/contacts"), "{}", ran.stderr);
    world.put("plan.json", "{}");
    world.run(["sync", "--plan", file]).exits(2);
}

#[test]
fn a_system_that_does_not_answer_is_exit_code_3() {
    let world = mocks();
    let fault = "{ operation = \"check\", does = \"fail\", class = \"transient\", message = \"out to lunch\" }";
    world.put(
        "pairwise.toml",
        &mock_connections("").replacen("contacts = 12 }", &format!("contacts = 12 }}, faults = [{fault}]"), 1),
    );
    let ran = world.run(["sync"]).exits(3);
    assert!(ran.stdout.contains("out to lunch"), "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn a_refused_login_is_exit_code_3() {
    let world = mocks();
    let login = "login = { secrets = [\"password\"], accepts = { password = \"right\" } }";
    let connections = mock_connections("secrets = { password = { file = \"crm.secret\" } }");
    world.put("crm.secret", "sesame-wrong\n");
    world.put("pairwise.toml", &connections.replacen("contacts = 12 }", &format!("contacts = 12 }}, {login}"), 1));
    let ran = world.run(["-vv", "sync"]).exits(3);
    assert!(ran.stderr.contains("crm") && ran.stderr.contains("connection check crm"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("sesame") && !ran.stdout.contains("sesame"), "{}", ran.stderr);
    world.put("crm.secret", "right\n");
    world.run(["sync"]).exits(0);
}

#[test]
fn profiles_and_connections_are_written_to_start_from() {
    let world = World::empty();
    world.run(["connection", "add", "one", "--plugin", "mock"]).exits(0);
    world.run(["connection", "add", "two", "--plugin", "mock"]).exits(0);
    world.run(["connection", "add", "two", "--plugin", "mock"]).exits(2);
    let ran = world.run(["connection", "add", "three", "--plugin", "mokc"]).exits(2);
    assert!(ran.stderr.contains("did you mean `mock`?"), "{}", ran.stderr);
    world.run(["profile", "new", "pair", "--preset", "mirror", "--left", "one", "--right", "two"]).exits(0);
    world.run(["profile", "new", "pair", "--preset", "mirror", "--left", "one", "--right", "two"]).exits(2);
    let enabled = |expected: bool| {
        let (_, json) = world.json(["profile", "list"]);
        assert_eq!(json["profiles"][0]["enabled"], expected);
    };
    enabled(false);
    world.run(["profile", "check", "pair"]).exits(0);
    world.run(["profile", "fields", "pair"]).exits(0);
    world.run(["profile", "enable", "pair"]).exits(0);
    enabled(true);
    assert!(world.text("profiles/pair.toml").starts_with("# "), "comments stay");
    world.run(["profile", "disable", "pair"]).exits(0);
    enabled(false);
    let ran = world.run(["sync"]).exits(0);
    assert!(ran.stdout.contains("no profile is enabled"), "{}", ran.stdout);
}

#[test]
fn enabling_one_profile_too_many_changes_nothing() {
    let world = mocks();
    world.put(
        "profiles/again.toml",
        "preset = \"mirror\"\nleft = \"mail\"\nright = \"crm\"\nenabled = false   # for now\n",
    );
    world.run(["profile", "enable", "again"]).exits(2);
    assert!(world.text("profiles/again.toml").ends_with("enabled = false   # for now\n"));
}

#[test]
fn a_locked_plugin_is_pinned_to_its_file() {
    let world = mocks();
    let listed = |world: &World| world.run(["plugin", "list"]).exits(0).stdout;
    assert!(listed(&world).contains("unlocked (development)"));
    world.run(["plugin", "lock", "mock"]).exits(0);
    assert!(listed(&world).contains("locked"));
    world.run(["sync"]).exits(0);
    let lock = world.text("plugins.lock");
    let hash = lock.lines().find(|line| line.contains("sha256")).unwrap();
    world.put("plugins.lock", &lock.replace(hash, &format!("sha256 = \"{}\"", "0".repeat(64))));
    let ran = world.run(["sync"]).exits(2);
    assert!(ran.stderr.contains("not the file that was locked"), "{}", ran.stderr);
    let ran = world.run(["doctor"]).exits(2);
    assert!(ran.stdout.contains("not the file that was locked"), "{}", ran.stdout);
}

#[test]
fn a_backup_is_put_back() {
    let world = mocks();
    world.run(["state", "backup", "early.db"]).exits(2);
    world.run(["sync"]).exits(0);
    let backup = world.path("backup.db");
    let backup = backup.to_str().unwrap();
    world.run(["state", "backup", backup]).exits(0);
    let again = world.run(["state", "backup", backup]).exits(2).stderr;
    assert!(again.contains("is there already") && !again.contains("cannot open"), "{again}");
    // What cannot be put back is refused before anybody is asked.
    for (wrong, said) in [("none.db", "there is no such file"), ("pairwise.toml", "this is no state of Pairwise")] {
        let refused = world.run(["state", "restore", world.path(wrong).to_str().unwrap()]).exits(2).stderr;
        assert!(refused.contains(said) && refused.contains(wrong), "{refused}");
    }
    world.run(["state", "restore", backup]).exits(2);
    world.run(["--yes", "state", "restore", backup]).exits(0);
    let (_, json) = world.json(["sync"]);
    let run = &json["runs"][0];
    assert_eq!((&run["left"]["created"], &run["right"]["created"]), (&0.into(), &0.into()), "{run}");
    world.run(["state", "compact"]).exits(0);
}

#[test]
fn the_doctor_says_what_is_well_and_what_to_do() {
    let world = mocks();
    let ran = world.run(["doctor"]).exits(0);
    assert!(ran.stdout.contains("All is well."), "{}", ran.stdout);
    assert!(!world.path("state").exists(), "the doctor leaves nothing behind");
    // Everything opens, and yet no run could start.
    let closed =
        "conditions = [{ code = \"closed\", level = \"stream\", severity = \"error\", text = \"closed today\" }]";
    world.put("pairwise.toml", &mock_connections("").replacen("generate", &format!("{closed}, generate"), 1));
    let ran = world.run(["doctor"]).exits(2);
    assert!(ran.stdout.contains("✗ profile people") && ran.stdout.contains("closed today"), "{}", ran.stdout);
    world.put("pairwise.toml", &mock_connections("").replacen("\"mock\"", "\"mokc\"", 1));
    let (ran, json) = world.json(["doctor"]);
    assert_eq!((ran.code, &json["ok"]), (Some(2), &false.into()));
}

#[test]
fn schemas_and_completions_are_printed() {
    let world = World::empty();
    let schema: Value = serde_json::from_str(&world.run(["config", "schema", "host"]).exits(0).stdout).unwrap();
    assert!(schema["properties"]["connections"].is_object());
    assert!(world.run(["completions", "bash"]).exits(0).stdout.contains("pairwise"));
}

#[test]
fn status_and_runs_tell_what_happened() {
    let world = mocks();
    assert!(world.run(["status"]).exits(0).stdout.contains("Nothing has run yet"));
    assert!(!world.path("state").exists());
    world.run(["sync"]).exits(0);
    let (_, status) = world.json(["status"]);
    assert_eq!(status["lanes"][0]["live"], 16);
    let (_, runs) = world.json(["runs"]);
    let id = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let Ran { stdout, .. } = world.run(["run", "show", &id[..12]]).exits(0);
    assert!(stdout.contains(&id) && stdout.contains("+ create"), "{stdout}");
}

#[test]
fn one_persons_missing_secret_does_not_keep_the_others_out() {
    let world = mocks();
    let users = "[[users]]\nleft = \"lee\"\nright = \"lee@example.com\"\n\n\
                 [[users]]\nleft = \"kim\"\nright = \"kim@example.com\"\n\
                 secrets = { left = { password = { env = \"PAIRWISE_TEST_NOT_SET\" } } }\n";
    world.put("profiles/people.toml", &(world.text("profiles/people.toml") + "\n" + users));
    let (ran, json) = world.json(["sync"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("profiles/people.toml:12:") && ran.stderr.contains("user `kim`"), "{}", ran.stderr);
    let states: Vec<&Value> = json["runs"].as_array().unwrap().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, [&Value::from("done"), &Value::from("misconfigured")]);
}

/// Also a command whose whole answer is a text, and one that ends in a refusal.
#[test]
fn every_command_prints_one_json_document() {
    let world = mocks();
    world.run(["sync"]).exits(0);
    let backup = world.path("b.db").to_str().unwrap().to_owned();
    for (command, code) in [
        ("profile list", 0),
        ("profile show people", 0),
        ("profile fields people", 0),
        ("profile check", 0),
        ("profile disable people", 0),
        ("profile enable people", 0),
        ("plan", 0),
        ("sync", 0),
        ("sync nobody", 2),
        ("status", 0),
        ("runs", 0),
        ("run show nope", 2),
        ("conflicts list", 0),
        ("quarantine list", 0),
        ("holds list", 0),
        ("holds show 7", 2),
        ("history nobody", 0),
        ("connection list", 0),
        ("connection check", 0),
        ("connection add more --plugin vdir", 0),
        ("plugin list", 0),
        ("plugin inspect mock", 0),
        ("plugin inspect nothing", 2),
        ("state compact", 0),
        ("config schema", 0),
        ("completions bash", 0),
        ("completions", 2),
        ("nonsense", 2),
    ] {
        let (ran, json) = world.json(command.split(' '));
        assert_eq!(ran.code, Some(code), "{command}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(json.get("error").is_some(), code == 2, "{command}: {json}");
    }
    let (_, json) = world.json(["state", "backup", &backup]);
    assert_eq!(json["file"], backup.as_str());
}

#[test]
fn a_stream_that_is_misspelt_is_recognised() {
    let world = mocks();
    world.put("profiles/people.toml", &(world.text("profiles/people.toml") + "\n[streams.contact]\nscan = \"full\"\n"));
    refuses(&world, &["people.toml", "no stream `contact`", "did you mean `contacts`?"]);
}
