//! Whole runs over real folders of cards: the answers that are known beforehand, and every guard.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use pairwise_tests::people::{Crowd, Person};
use pairwise_tests::world::{World, cards};
use serde_json::Value;

const CROWD: Crowd = Crowd::tidy(1);

/// The person with this number under a UID that only this side knows.
fn person(side: &str, number: u32) -> Person {
    Person { uid: format!("{side}-{number}"), ..CROWD.person(number) }
}

fn put(folder: &Path, person: &Person) {
    fs::write(folder.join(person.file_name()), person.card()).unwrap();
}

/// The same hundred people on both sides, already in step.
fn settled() -> World {
    let world = World::of_folders("mirror");
    for number in 0..100 {
        put(&world.left(), &person("left", number));
        put(&world.right(), &person("right", number));
    }
    world.run(["sync"]).exits(0);
    world
}

/// One run, which ends with this exit code; what it says of the only lane.
fn sync(world: &World, code: i32) -> Value {
    let (ran, json) = world.json(["sync"]);
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
    json["runs"][0].clone()
}

/// Whatever was written to either side.
fn writes(run: &Value) -> u64 {
    let count = |side: &str, what: &str| run[side][what].as_u64().unwrap();
    ["left", "right"].iter().flat_map(|side| ["created", "updated", "deleted"].map(|what| count(side, what))).sum()
}

fn count(folder: &Path) -> usize {
    cards(folder).len()
}

/// The value of the first line of a card that starts so.
fn line(folder: &Path, person: &Person, property: &str) -> String {
    let text = fs::read_to_string(folder.join(person.file_name())).unwrap().replace("\r\n ", "");
    let start = format!("{property}:");
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
}

/// Replaces a line of a card, as a person does in an address book program.
fn edit(folder: &Path, person: &Person, property: &str, value: &str) {
    let path = folder.join(person.file_name());
    let text = fs::read_to_string(&path).unwrap().replace("\r\n ", "");
    let start = format!("{property}:");
    let lines: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with(&start) { format!("{start}{value}") } else { line.to_owned() })
        .collect();
    fs::write(path, lines.join("\r\n") + "\r\n").unwrap();
}

fn remove(folder: &Path, person: &Person) {
    fs::remove_file(folder.join(person.file_name())).unwrap();
}

/// Names and texts of the files of a folder.
type Cards = Vec<(String, String)>;

/// The state as it is, so that a run that writes nothing can be told.
fn both(world: &World) -> (Cards, Cards) {
    (cards(&world.left()), cards(&world.right()))
}

#[test]
fn the_same_hundred_people_under_other_uids_stay_a_hundred() {
    let world = settled();
    assert_eq!((count(&world.left()), count(&world.right())), (100, 100));
    let (_, status) = world.json(["status"]);
    assert_eq!(status["lanes"][0]["live"], 100);
}

#[test]
fn a_quiet_second_run_writes_nothing() {
    let world = settled();
    let before = both(&world);
    let run = sync(&world, 0);
    assert_eq!((writes(&run), &run["pulled"]["left"], &run["pulled"]["right"]), (0, &0.into(), &0.into()), "{run}");
    assert_eq!(both(&world), before);
}

#[test]
fn what_is_on_one_side_only_arrives_on_the_other() {
    let world = World::of_folders("mirror");
    for number in 0..30 {
        put(&world.left(), &person("left", number));
        put(&world.right(), &person("right", number + 20));
    }
    let run = sync(&world, 0);
    assert_eq!(
        (&run["left"]["created"], &run["right"]["created"], &run["adopted"]),
        (&20.into(), &20.into(), &10.into())
    );
    assert_eq!((count(&world.left()), count(&world.right())), (50, 50));
    assert_eq!(writes(&sync(&world, 0)), 0);
}

#[test]
fn a_title_changed_on_one_side_and_a_note_on_the_other_both_survive() {
    let world = settled();
    edit(&world.left(), &person("left", 7), "TITLE", "Chief Executive");
    edit(&world.right(), &person("right", 7), "NOTE", "Prefers the new number.");
    let run = sync(&world, 0);
    assert_eq!(writes(&run), 2, "{run}");
    for (folder, person) in [(world.left(), person("left", 7)), (world.right(), person("right", 7))] {
        assert_eq!(line(&folder, &person, "TITLE"), "Chief Executive");
        assert_eq!(line(&folder, &person, "NOTE"), "Prefers the new number.");
        assert_eq!(line(&folder, &person, "X-ADDRESS-BOOK-ENTRY"), "7");
    }
    assert_eq!(writes(&sync(&world, 0)), 0);
}

#[test]
fn of_two_edits_of_one_field_the_later_wins_and_the_other_is_in_history() {
    let world = settled();
    // By hand, so that `REV` stays as it was; the right one first, so that the order of the writes tells nothing.
    for (folder, side, title, hours_ago) in [(world.right(), "right", "Late", 1), (world.left(), "left", "Early", 2)] {
        edit(&folder, &person(side, 7), "TITLE", title);
        let file = fs::File::options().write(true).open(folder.join(person(side, 7).file_name())).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours_ago * 3_600)).unwrap();
    }
    sync(&world, 0);
    assert_eq!(line(&world.left(), &person("left", 7), "TITLE"), "Late");
    assert_eq!(line(&world.right(), &person("right", 7), "TITLE"), "Late");
    let ran = world.run(["history", "left-7.vcf"]).exits(0);
    assert!(ran.stdout.contains("Early") && ran.stdout.contains("Late"), "{}", ran.stdout);
    let told: Vec<&str> = ran.stdout.lines().map(|line| line.split_whitespace().nth(2).unwrap_or_default()).collect();
    assert_eq!(told[0], "pair", "it begins with how the two came together: {}", ran.stdout);
}

#[test]
fn history_tells_who_was_made_by_which_run() {
    let world = World::of_folders("mirror");
    put(&world.left(), &person("left", 7));
    put(&world.right(), &person("right", 8));
    let run = sync(&world, 0);
    assert_eq!((&run["left"]["created"], &run["right"]["created"]), (&1.into(), &1.into()));
    let (_, runs) = world.json(["runs"]);
    for (file, side) in [("left-7.vcf", "right"), ("right-8.vcf", "left")] {
        let (_, json) = world.json(["history", file]);
        let rows = json["history"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{json}");
        assert_eq!(
            (&rows[0]["op"], &rows[0]["side"], &rows[0]["record"]),
            (&"create".into(), &side.into(), &file.into())
        );
        assert_eq!(rows[0]["run"], runs["runs"][0]["id"], "{json}");
    }
    let ran = world.run(["history", "nobody.vcf"]).exits(0);
    assert!(ran.stdout.contains("Nothing was ever done to `nobody.vcf`"), "{}", ran.stdout);
}

#[test]
fn a_few_deletions_travel() {
    let world = settled();
    for number in 0..3 {
        remove(&world.left(), &person("left", number));
    }
    let run = sync(&world, 0);
    assert_eq!(run["right"]["deleted"], 3, "{run}");
    assert_eq!((count(&world.left()), count(&world.right())), (97, 97));
}

#[test]
fn an_edit_beats_a_deletion() {
    let world = settled();
    remove(&world.left(), &person("left", 7));
    edit(&world.right(), &person("right", 7), "TITLE", "Still here");
    sync(&world, 0);
    assert_eq!((count(&world.left()), count(&world.right())), (100, 100));
    assert_eq!(line(&world.right(), &person("right", 7), "TITLE"), "Still here");
}

/// Removes so many on one side: nothing is deleted on the other, and the run says why and how to go on.
fn held(world: &World, gone: u32) {
    for number in 0..gone {
        remove(&world.left(), &person("left", number));
    }
    let before = both(world);
    let run = sync(world, 4);
    assert_eq!((writes(&run), &run["state"], &run["held"]), (0, &"guarded".into(), &gone.into()), "{run}");
    let why = run["notes"].to_string();
    let counted =
        if gone == 100 { "held 100 linked record(s) and now lists none".into() } else { format!("{gone} of 100") };
    assert!(why.contains(&counted) && why.contains("holds release"), "{why}");
    assert_eq!(both(world), before);
    let listed = world.run(["holds", "list"]).exits(0);
    assert!(listed.stdout.contains(&gone.to_string()), "{}", listed.stdout);
}

#[test]
fn ninety_nine_of_a_hundred_deleted_deletes_nothing_and_says_why() {
    let world = settled();
    held(&world, 99);
    assert_eq!(writes(&sync(&world, 0)), 0);
}

#[test]
fn all_deleted_deletes_nothing_and_says_why() {
    held(&settled(), 100);
}

#[test]
fn a_held_deletion_is_carried_out_once_it_is_released_and_no_other() {
    let world = settled();
    held(&world, 99);
    let (_, holds) = world.json(["holds", "list"]);
    let id = holds["holds"][0]["id"].to_string();
    world.run(["holds", "release", &id]).exits(2);
    world.run(["--yes", "holds", "release", &id]).exits(0);
    remove(&world.left(), &person("left", 99));
    sync(&world, 1);
    assert_eq!(count(&world.right()), 1);
}

#[test]
fn a_dropped_hold_keeps_what_went_missing() {
    let world = settled();
    held(&world, 99);
    let (_, holds) = world.json(["holds", "list"]);
    world.run(["--yes", "holds", "drop", &holds["holds"][0]["id"].to_string()]).exits(0);
    assert_eq!(writes(&sync(&world, 0)), 0);
    assert_eq!((count(&world.left()), count(&world.right())), (1, 100));
}

#[test]
fn a_person_may_allow_so_many_deletions_once() {
    let world = settled();
    for number in 0..40 {
        remove(&world.left(), &person("left", number));
    }
    let (ran, json) = world.json(["sync", "--allow-deletes", "40"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(json["runs"][0]["right"]["deleted"], 40);
}

#[test]
fn one_unreadable_file_does_not_keep_the_others() {
    let world = World::of_folders("mirror");
    for number in 0..99 {
        put(&world.left(), &person("left", number));
    }
    fs::write(world.left().join("broken.vcf"), b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Jos\xe9\r\nTEL;TY").unwrap();
    let run = sync(&world, 1);
    assert_eq!((&run["right"]["created"], &run["quarantined"]), (&99.into(), &1.into()), "{run}");
    assert_eq!(count(&world.right()), 99);
    let listed = world.run(["quarantine", "list"]).exits(0);
    assert!(listed.stdout.contains("broken.vcf"), "{}", listed.stdout);
    // Put right, it takes part.
    fs::write(world.left().join("broken.vcf"), person("left", 99).card()).unwrap();
    assert_eq!(sync(&world, 0)["right"]["created"], 1);
}

#[test]
fn values_that_differ_at_the_first_meeting_wait_for_a_person() {
    let world = World::of_folders("mirror");
    for number in 0..10 {
        put(&world.left(), &person("left", number));
        put(&world.right(), &Person { title: "Somebody else".into(), ..person("right", number) });
    }
    let run = sync(&world, 1);
    assert_eq!((&run["conflicts"], &run["adopted"]), (&10.into(), &10.into()), "{run}");
    let (_, listed) = world.json(["conflicts", "list"]);
    let first = listed["conflicts"][0]["id"].to_string();
    world.run(["conflicts", "resolve", &first, "--prefer", "right"]).exits(0);
    world.run(["--yes", "conflicts", "resolve", "--all", "--prefer", "left"]).exits(0);
    sync(&world, 0);
    for number in 0..10 {
        assert_eq!(
            line(&world.right(), &person("right", number), "TITLE"),
            person("left", number).title.replace(',', "\\,")
        );
    }
    let (_, listed) = world.json(["conflicts", "list"]);
    assert_eq!(listed["conflicts"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_doubtful_match_is_decided_by_a_person() {
    let world = World::of_folders("mirror");
    let shared = |uid: &str, given: &str| Person {
        uid: uid.into(),
        given: given.into(),
        emails: vec!["family@home.example".into()],
        ..person("", given.len() as u32)
    };
    put(&world.left(), &shared("one", "Kim"));
    put(&world.right(), &shared("two", "Charlie"));
    put(&world.right(), &shared("three", "Alexandra"));
    let run = sync(&world, 1);
    assert_eq!((writes(&run), &run["held"]), (0, &3.into()), "{run}");
    let (_, holds) = world.json(["holds", "list"]);
    let id = holds["holds"][0]["id"].to_string();
    let shown = world.run(["holds", "show", &id]).exits(0);
    assert!(shown.stdout.contains("Kim") && shown.stdout.contains("holds pair"), "{}", shown.stdout);
    world.run(["holds", "pair", &id, "one.vcf", "no-such.vcf"]).exits(2);
    world.run(["holds", "pair", &id, "one.vcf", "two.vcf"]).exits(0);
    sync(&world, 1);
    assert_eq!((count(&world.left()), count(&world.right())), (2, 2));
}

#[test]
fn a_copy_leaves_its_source_alone() {
    let world = World::of_folders("copy");
    for number in 0..20 {
        put(&world.left(), &person("left", number));
    }
    sync(&world, 0);
    let source = cards(&world.left());
    edit(&world.right(), &person("left", 3), "TITLE", "Changed in the copy");
    edit(&world.left(), &person("left", 4), "TITLE", "Changed at the source");
    sync(&world, 0);
    assert_eq!(line(&world.right(), &person("left", 4), "TITLE"), "Changed at the source");
    let now = cards(&world.left());
    let changed: BTreeSet<&String> = source.iter().zip(&now).filter(|(a, b)| a != b).map(|(a, _)| &a.0).collect();
    assert_eq!(changed, BTreeSet::from([&"left-4.vcf".to_owned()]));
}

#[test]
fn a_broken_connection_does_not_stop_the_other_profiles() {
    let world = settled();
    edit(&world.left(), &person("left", 7), "TITLE", "Chief Executive");
    let more = "\n[connections.gone]\nplugin = \"vdir\"\nsettings = { path = \"no-such-folder\" }\n\
                [connections.mock]\nplugin = \"mock\"\n";
    world.put("pairwise.toml", &(world.text("pairwise.toml") + more));
    world.put("profiles/broken.toml", "preset = \"mirror\"\nleft = \"gone\"\nright = \"mock\"\n");
    let (ran, json) = world.json(["sync"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let states: Vec<&Value> = json["runs"].as_array().unwrap().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, [&Value::from("misconfigured"), &Value::from("done")]);
    assert_eq!(line(&world.right(), &person("right", 7), "TITLE"), "Chief Executive");
}

#[test]
fn a_saved_plan_does_what_it_shows_and_nothing_else() {
    let world = World::of_folders("mirror");
    for number in 0..5 {
        put(&world.left(), &person("left", number));
    }
    let file = world.path("plan.json");
    let file = file.to_str().unwrap();
    world.run(["plan", "--out", file]).exits(0);
    assert_eq!((count(&world.right()), world.path("state").exists()), (0, false));
    put(&world.left(), &person("left", 5));
    let (ran, json) = world.json(["sync", "--plan", file]);
    // The sixth one is not in the plan: it waits.
    assert_eq!((ran.code, &json["runs"][0]["right"]["created"]), (Some(1), &5.into()), "{}\n{json}", ran.stderr);
    assert_eq!(sync(&world, 0)["right"]["created"], 1);
}

#[test]
fn a_run_can_be_told_which_side_wins() {
    let world = settled();
    edit(&world.left(), &person("left", 7), "TITLE", "Left");
    edit(&world.right(), &person("right", 7), "TITLE", "Right");
    let (ran, _) = world.json(["sync", "--prefer", "right"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(line(&world.left(), &person("left", 7), "TITLE"), "Right");
}

#[test]
fn a_full_run_lists_both_sides_whole_and_writes_nothing() {
    let world = settled();
    let (ran, json) = world.json(["sync", "--full"]);
    assert_eq!((ran.code, writes(&json["runs"][0])), (Some(0), 0));
}

#[test]
fn unknown_properties_survive_an_edit_of_another_field() {
    let world = settled();
    let path = world.left().join("left-7.vcf");
    let text = fs::read_to_string(&path).unwrap();
    let odd = "item7.X-ODD;X-PARAM=\"a;b\":some,thing;else\r\n";
    fs::write(&path, text.replace("END:VCARD", &format!("{odd}END:VCARD"))).unwrap();
    sync(&world, 0);
    edit(&world.right(), &person("right", 7), "TITLE", "New title");
    sync(&world, 0);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(odd) && text.contains("TITLE:New title"), "{text}");
}

#[test]
fn a_renamed_file_keeps_its_counterpart() {
    let world = settled();
    let name = cards(&world.left())[0].0.clone();
    let before = cards(&world.right());
    fs::rename(world.left().join(&name), world.left().join("renamed.vcf")).unwrap();
    let run = sync(&world, 0);
    assert_eq!(writes(&run), 0, "{run}");
    assert_eq!(cards(&world.right()), before);
    assert_eq!(writes(&sync(&world, 0)), 0);
}
