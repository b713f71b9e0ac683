//! Whole configuration folders: what they mean, and the exact words of each complaint.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;

use serde_json::json;

use super::*;
use crate::model::{Direction, LaneKey, Matching, Pick, Removal, Repair, Side, Sides, Winner};

const HOST: &str = r#"
[connections.crm]
plugin   = "infor-crm"
version  = "^1.0"
settings = { url = "https://crm.example.com/sdata/slx", cards = "crm cards" }
secrets  = { password = { env = "CRM_PASSWORD" } }
isolation = "worker"

[connections.office]
plugin   = "outlook"
secrets  = { client_secret = { file = "office.secret" } }
limits   = { memory = "1 GiB", soft_deadline = "5 s" }
"#;

/// Loads a folder of these files.
fn load(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Config, Problems>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let config = Config::load(folder.path());
    (folder, config)
}

fn profile(text: &str) -> Profile {
    load(&[("pairwise.toml", HOST), ("profiles/sales.toml", text)]).1.unwrap().profiles.remove(0)
}

/// `complaints.txt` holds folders with mistakes, each followed by what is said about them. With `PAIRWISE_BLESS` set, the file is
/// written anew.
#[test]
fn every_mistake_is_told_with_its_place_and_the_way_out() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/complaints.txt");
    let text = fs::read_to_string(&file).unwrap();
    let mut told = String::new();
    for case in text.split("\n######## ").skip(1) {
        let (input, _) = case.split_once("\n==== says\n").unwrap();
        let mut parts = input.split("\n==== ");
        let title = parts.next().unwrap();
        let files: Vec<(&str, &str)> = parts.map(|part| part.split_once('\n').unwrap()).collect();
        let (folder, config) = load(&files);
        let says = config.map_or_else(|problems| problems.to_string(), |_| "nothing".into());
        let says = says.replace(&folder.path().display().to_string(), "DIR");
        write!(told, "\n######## {title}").unwrap();
        for (name, text) in &files {
            write!(told, "\n==== {name}\n{text}").unwrap();
        }
        write!(told, "\n==== says\n{says}\n").unwrap();
    }
    if std::env::var_os("PAIRWISE_BLESS").is_some() {
        fs::write(&file, &told).unwrap();
    }
    assert_eq!(told, text);
}

#[test]
fn problems_can_be_read_by_programs() {
    let (_folder, config) = load(&[("pairwise.toml", "stat_dir = 'x'\n")]);
    let expected = json!([{
        "message": "unknown key `stat_dir` in this file", "file": "pairwise.toml", "line": 1, "column": 1,
        "expected": "did you mean `state_dir`?",
        "help": "known keys: access, connections, guard, history, plugin_dir, state_dir",
    }]);
    assert_eq!(serde_json::to_value(config.unwrap_err()).unwrap(), expected);
}

#[test]
fn the_host_file_is_read_as_meant() {
    let (folder, config) = load(&[("pairwise.toml", HOST)]);
    let config = config.unwrap();
    assert_eq!(config.state_dir, folder.path().join("state"));
    assert_eq!(config.plugin_dir, folder.path().join("plugins"));
    assert_eq!(config.keep_history, Duration::from_secs(90 * 86_400));
    let office = config.connection("office").unwrap();
    assert_eq!(office.limits, Limits { memory: 1 << 30, soft_deadline: Duration::from_secs(5), ..Limits::default() });
    assert_eq!(office.secrets["client_secret"], Secret::File("office.secret".into()));
    let crm = config.connection("crm").unwrap();
    assert!(
        crm.version.matches(&semver::Version::new(1, 4, 0)) && !crm.version.matches(&semver::Version::new(2, 0, 0))
    );
    assert_eq!(config.connection("cm").unwrap_err().help.as_deref(), Some("did you mean `crm`?"));
    assert_eq!(config.profile("x").unwrap_err().help.as_deref(), Some("make one with `pairwise profile new`"));
}

#[test]
fn settings_are_checked_against_the_plugins_schema_and_paths_made_absolute() {
    let schema = json!({
        "type": "object",
        "properties": {
            "url": {"type": "string"},
            "cards": {"$ref": "#/$defs/Folder"},
        },
        "required": ["url"],
        "additionalProperties": false,
        "$defs": {"Folder": {"anyOf": [{"type": "string", "format": "path"}, {"type": "null"}]}},
    });
    let (folder, config) = load(&[("pairwise.toml", HOST)]);
    let config = config.unwrap();
    let settings = config.connection("crm").unwrap().settings(&schema).unwrap();
    assert_eq!(settings["cards"], folder.path().join("crm cards").to_str().unwrap());
    assert_eq!(settings["url"], "https://crm.example.com/sdata/slx");
    assert_eq!(
        config.connection("office").unwrap().settings(&schema).unwrap_err().to_string(),
        "\
error: connection `office` has no setting `url`
 --> pairwise.toml:9:14
  |
9 | [connections.office]
  |              ^^^^^^
  |
  = help: plugin `outlook` needs it: add settings = { url = … }"
    );
    let schema = json!({"properties": {"card": {}, "url": {"enum": ["x"]}}, "additionalProperties": false});
    assert_eq!(
        config.connection("crm").unwrap().settings(&schema).unwrap_err().to_string(),
        "\
error: `connections.crm.settings.url` cannot be `https://crm.example.com/sdata/slx`
 --> pairwise.toml:5:20
  |
5 | settings = { url = \"https://crm.example.com/sdata/slx\", cards = \"crm cards\" }
  |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected `x`

error: unknown key `cards` in `connections.crm.settings`
 --> pairwise.toml:5:57
  |
5 | settings = { url = \"https://crm.example.com/sdata/slx\", cards = \"crm cards\" }
  |                                                         ^^^^^ did you mean `card`?
  |
  = help: known keys: card, url"
    );
}

#[test]
fn mirror_means_what_the_blueprint_says() {
    let profile = profile("preset = 'mirror'\nleft = 'crm'\nright = 'office'\n");
    let [lane] = profile.lanes() else { panic!("{:?}", profile.lanes()) };
    assert_eq!(lane.key.to_string(), "sales/contacts");
    assert_eq!(lane.direction, Direction::Both);
    assert_eq!((lane.create, lane.update), (Sides { left: true, right: true }, Sides { left: true, right: true }));
    let Matching::Keys(keys) = &lane.matching else { panic!("{:?}", lane.matching) };
    let texts: Vec<String> = keys.keys.iter().map(|key| key.join(" + ")).collect();
    assert_eq!(texts, ["uid", "emails/*/address", "name/full + phones/*/number"]);
    assert_eq!((keys.several.left.pick, keys.differ, keys.case_sensitive), (Pick::Hold, Winner::Hold, false));
    assert_eq!(
        (lane.conflict.winner, lane.conflict.tie, lane.conflict.max_skew_ms),
        (Winner::Latest, Side::Left, 300_000)
    );
    for side in Side::BOTH {
        assert_eq!((lane.removed[side].deleted, lane.removed[side].beats_edit), (Removal::Trash, false));
    }
    assert_eq!((lane.guard.removals_share, lane.guard.removals_above), (0.25, 5));
    assert!(lane.map.join);
}

#[test]
fn copy_means_what_the_blueprint_says() {
    let profile = profile("preset = 'copy'\nleft = 'crm'\nright = 'office'\nstreams.calendar.enabled = true\n");
    let streams: Vec<&str> = profile.lanes().iter().map(|lane| lane.key.stream.as_str()).collect();
    assert_eq!(streams, ["calendar", "contacts"]);
    let lane = &profile.lanes()[1];
    assert_eq!((lane.direction, lane.repair), (Direction::LeftToRight, Repair::OnChange));
    assert_eq!((lane.create, lane.update), (Sides { left: false, right: true }, Sides { left: false, right: true }));
    assert_eq!((lane.removed.left.deleted, lane.removed.right.deleted), (Removal::Trash, Removal::Restore));
}

#[test]
fn users_make_lanes_and_bring_their_own_logins() {
    let profile = profile(
        r#"preset = "mirror"
           left = "crm"
           right = "office"
           schedule = { every = "30 minutes" }
           [directory]
           login.left = "own"
           [[users]]
           left = "lee"
           right = "lee@example.com"
           secrets = { left = { password = { env = "CRM_LEE" } } }
           [[users]]
           left = "kim"
           active = false
           [streams.contacts]
           scope.left.group = "Contact Sync"
           fields = [ { left = "UserField1", right = "extended/region", direction = "left_to_right" } ]"#,
    );
    let [lane] = profile.lanes() else { panic!("{:?}", profile.lanes()) };
    assert_eq!(lane.key.to_string(), "sales/lee/contacts");
    assert_eq!(lane.principals.right.0, "lee@example.com");
    assert_eq!(lane.scope.left["group"], "Contact Sync".into());
    assert_eq!(lane.map.rows[0].direction, Direction::LeftToRight);
    assert_eq!(profile.own_secrets(&lane.key, Side::Left).unwrap()["password"], Secret::Env("CRM_LEE".into()));
    assert_eq!(profile.own_secrets(&lane.key, Side::Right), None);
    assert_eq!(profile.schedules["contacts"].every.as_deref(), Some("30 minutes"));
    let problem = profile.problem("contacts", Side::Left, "UserField1", "there is no such field");
    assert_eq!(problem.mark.unwrap().line_column(), (16, 32));
}

#[test]
fn different_streams_of_one_pair_may_stand_in_two_profiles() {
    let contacts = "preset = 'mirror'\nleft = 'crm'\nright = 'office'\n";
    let calendar = format!("{contacts}streams.contacts.enabled = false\nstreams.calendar.enabled = true\n");
    let files = [("pairwise.toml", HOST), ("profiles/a.toml", contacts), ("profiles/b.toml", &calendar)];
    assert_eq!(load(&files).1.unwrap().profiles.len(), 2);
}

#[test]
fn a_secret_typed_into_the_file_is_never_shown() {
    for host in [
        "[connections.a]\nplugin = 'vdir'\nsecrets = { password = 'hunter2' }\n",
        "[connections.a]\nplugin = 'vdir'\nsecrets.password = { value = 'hunter2' }\n",
        "[connections.a]\nplugin = 'vdir'\nsecrets.password = ['hunter2']\n",
        "[connections.a]\nplugin = 'vdir'\nsecrets.password = hunter2\n",
        "[connections.a]\nplugin = 'vdir'\nsecrets.password = \"hunter2\n",
    ] {
        let problems = load(&[("pairwise.toml", host)]).1.unwrap_err();
        let said = format!("{problems} {problems:?} {}", serde_json::to_string(&problems).unwrap());
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// The profile that lies beside the preset is one: two people, of whom one was not granted what the preset asks for.
#[test]
fn the_sample_profile_is_read_as_meant() {
    let profile = profile(include_str!("../../presets/infor-crm-outlook.profile.toml"));
    let lanes: Vec<&LaneKey> = profile.lanes().iter().map(|lane| &lane.key).collect();
    assert_eq!(lanes.iter().map(|key| key.user.as_str()).collect::<Vec<_>>(), ["lee", "kim"]);
    assert!(profile.denied(lanes[0]).is_none());
    let denied = profile.denied(lanes[1]).unwrap();
    assert_eq!(denied.message, "`kim` lacks the grant `contact_sync`");
    assert_eq!(profile.interlock.action, InterlockAction::Block);
    assert_eq!(profile.schedules["contacts"].blackout.len(), 1);
    assert_eq!(profile.lanes()[0].scope.left["group"], "Contact Sync".into());
    assert_eq!(profile.lanes()[0].references[0].tries[0].entity, "accounts");
}
