//! The connector on a real folder: listings, point reads, writes and what they leave behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use pairwise_plugin_api::ops::{
    ContainersRequest, EnsureContainerRequest, FindRequest, GetRequest, ListDetail, ListRequest, WriteRequest,
};
use pairwise_plugin_api::{
    Absent, Action, Class, Condition, Connector, Context, Cursor, Fields, Found, Outcome, Page, Record, RecordRef,
    Status, Value, Write,
};
use tempfile::TempDir;

use super::fixture;
use crate::{Config, Vdir};

/// A folder and its connector.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) vdir: Vdir,
}

pub(super) fn config(path: &Path) -> Config {
    Config { path: path.to_owned(), create_path: false, trash: None, version: crate::CardVersion::default() }
}

pub(super) fn open(config: Config) -> Vdir {
    Vdir::create(config, &Context::detached()).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let vdir = open(config(dir.path()));
        World { dir, vdir }
    }

    fn with_trash() -> (Self, std::path::PathBuf) {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("cards")).unwrap();
        let trash = dir.path().join("cards/deleted");
        let config = Config { trash: Some(trash.clone()), ..config(&dir.path().join("cards")) };
        (World { vdir: open(config), dir }, trash)
    }

    pub(super) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn page(&self, request: ListRequest) -> Page {
        let request = ListRequest { entities: vec!["contact".into()], limit: 1_000, ..request };
        self.vdir.list(&Context::detached(), request).unwrap()
    }

    /// Ids and versions, and the cursor for the next time.
    pub(super) fn ids(&self, previous: Option<&Cursor>) -> (BTreeMap<String, String>, Cursor) {
        let page =
            self.page(ListRequest { detail: ListDetail::Ids, previous: previous.cloned(), ..ListRequest::default() });
        assert!(page.complete && !page.more);
        let ids: Vec<_> = page.changes.into_iter().map(|change| change.record.unwrap()).collect();
        assert!(ids.is_sorted_by_key(|record| record.at.id.clone()));
        (ids.into_iter().map(|record| (record.at.id, record.version.unwrap())).collect(), page.next.unwrap())
    }

    fn find(&self, id: &str) -> Found {
        let request = GetRequest { at: vec![RecordRef::new("contact", id)], ..GetRequest::default() };
        self.vdir.get(&Context::detached(), request).unwrap().remove(0)
    }

    pub(super) fn get(&self, id: &str) -> Record {
        self.find(id).record.unwrap_or_else(|| panic!("no {id}"))
    }

    fn write(&self, writes: Vec<Write>) -> Vec<Outcome> {
        let request = WriteRequest { writes, ..WriteRequest::default() };
        self.vdir.write(&Context::detached(), request).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    names.push(entry.path().strip_prefix(self.dir.path()).unwrap().display().to_string());
                }
            }
        }
        names.sort();
        names
    }
}

pub(super) fn card(uid: &str, name: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nEND:VCARD\r\n")
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().copied().collect()
}

pub(super) fn create(key: &str, uid: Option<&str>, list: &[(&str, &str)]) -> Write {
    Write {
        action: Action::Create,
        at: RecordRef::new("contact", ""),
        key: key.into(),
        uid: uid.map(str::to_owned),
        fields: fields(list),
        ..Write::default()
    }
}

fn update(record: &Record, list: &[(&str, &str)]) -> Write {
    Write {
        action: Action::Update,
        at: record.at.clone(),
        expect: record.version.clone(),
        key: "UPDATE".into(),
        fields: fields(list),
        ..Write::default()
    }
}

fn delete(record: &Record) -> Write {
    Write { action: Action::Delete, fields: Fields::new(), ..update(record, &[]) }
}

#[test]
fn a_listing_opens_no_file_that_it_knows() {
    let world = World::new();
    world.put("a.vcf", card("1", "A"));
    world.put("sub/b.VCF", card("2", "B"));
    for hidden in [".hidden.vcf", "x.tmp", "notes.txt", ".git/c.vcf", ".pairwise-x-0.tmp"] {
        world.put(hidden, card("3", "C"));
    }
    settle();
    let (first, cursor) = world.ids(None);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["a.vcf", "sub/b.VCF"]);
    // A file that may not be read is listed all the same: nobody looked into it.
    fs::set_permissions(world.dir.path().join("a.vcf"), fs::Permissions::from_mode(0o000)).unwrap();
    let (second, _) = world.ids(Some(&cursor));
    assert_eq!(first["sub/b.VCF"], second["sub/b.VCF"]);
    assert_ne!(first["a.vcf"], second["a.vcf"], "its change time is another one");
}

#[test]
fn pages_follow_each_other_and_survive_a_restart() {
    let world = World::new();
    for number in 0..25 {
        world.put(&format!("{number:02}.vcf"), card(&number.to_string(), "X"));
    }
    world.put("07.vcf", [card("a", "A"), card("b", "B")].concat());
    let ask = |vdir: &Vdir, page: Option<Cursor>, detail| {
        let request =
            ListRequest { entities: vec!["contact".into()], limit: 10, page, detail, ..ListRequest::default() };
        vdir.list(&Context::detached(), request).unwrap()
    };
    for detail in [ListDetail::Ids, ListDetail::Full] {
        let mut ids = Vec::new();
        let mut next = None;
        loop {
            // A new instance each time: the worker was restarted.
            let page = ask(&open(config(world.dir.path())), next, detail);
            ids.extend(page.changes.into_iter().map(|change| change.record.unwrap().at.id));
            assert_eq!(page.complete, !page.more);
            next = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(ids.len(), 26);
        assert!(ids.is_sorted() && ids.contains(&"07.vcf#b".to_owned()), "{ids:?}");
    }
}

/// New files are looked into when they are read, however they fall into pages and threads.
#[test]
fn whole_records_and_ids_tell_the_same_listing() {
    let world = World::new();
    for number in 0..120 {
        let cards = if number % 10 == 3 { 3 } else { 1 };
        let text: String = (0..cards).map(|part| card(&format!("{number}-{part}"), "Ada")).collect();
        world.put(&format!("{number}.vcf"), text);
    }
    world.put("none.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n");
    settle();
    let entities = vec!["contact".to_owned(), "event".to_owned()];
    for limit in [7, 50, 500] {
        let (mut whole, mut page) = (BTreeMap::new(), None);
        let cursor = loop {
            let detail = ListDetail::Full;
            let request = ListRequest { detail, entities: entities.clone(), limit, page, ..ListRequest::default() };
            let told = world.vdir.list(&Context::detached(), request).unwrap();
            assert!(told.changes.len() <= limit as usize);
            let records = told.changes.into_iter().map(|change| change.record.unwrap());
            whole.extend(records.map(|record| (record.at.id, record.version.unwrap())));
            if !told.more {
                assert!(told.complete);
                break told.next.unwrap();
            }
            page = told.next;
        };
        assert_eq!(whole.len(), 108 + 3 * 12);
        let previous = Some(cursor);
        let request = ListRequest {
            detail: ListDetail::Ids,
            entities: entities.clone(),
            limit: 500,
            previous,
            ..Default::default()
        };
        let ids = world.vdir.list(&Context::detached(), request).unwrap().changes.into_iter();
        let ids = ids.map(|change| change.record.map(|record| (record.at.id, record.version.unwrap())).unwrap());
        assert_eq!(ids.collect::<BTreeMap<_, _>>(), whole);
    }
}

#[test]
fn same_store_is_the_folder_itself() {
    let world = World::new();
    world.put("a.vcf", card("1", "A"));
    let (_, cursor) = world.ids(None);
    let list = |previous| world.page(ListRequest { previous, detail: ListDetail::Ids, ..ListRequest::default() });
    assert!(list(Some(cursor.clone())).same_store && !list(None).same_store);
    let other = World::new();
    let page = other.page(ListRequest { previous: Some(cursor), ..ListRequest::default() });
    assert!(!page.same_store && page.complete);
}

#[test]
fn versions_tell_each_change() {
    let world = World::new();
    world.put("a.vcf", card("1", "A"));
    settle();
    let (before, cursor) = world.ids(None);
    assert_eq!(world.get("a.vcf").version.as_ref(), Some(&before["a.vcf"]));
    let path = world.dir.path().join("a.vcf");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, card("1", "B")).unwrap();
    // Same size, same modification time: only the change time tells.
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let (after, _) = world.ids(Some(&cursor));
    assert_ne!(before["a.vcf"], after["a.vcf"]);
    settle();
    let (settled, _) = world.ids(Some(&cursor));
    assert!(after["a.vcf"] == settled["a.vcf"] || after["a.vcf"].contains('~'));
}

/// Waits until files written before are settled, whatever the file system.
fn settle() {
    let end = SystemTime::now() + Duration::from_millis(2_100);
    let probe = TempDir::new().unwrap();
    let root = crate::folder::Root::open(probe.path(), None).unwrap();
    fs::write(probe.path().join("x"), "x").unwrap();
    let stamp = root.read_into("x", &mut Vec::new()).unwrap();
    while root.is_unsettled(&stamp) && SystemTime::now() < end {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_with_several_cards_is_several_records() {
    let world = World::new();
    world.put("all.vcf", [fixture("android-2.1.vcf"), card("u/1", "With UID").into_bytes()].concat());
    let (ids, cursor) = world.ids(None);
    let names: BTreeMap<String, String> =
        ids.keys().map(|id| (world.get(id).fields.text("name/full").unwrap().to_owned(), id.clone())).collect();
    assert_eq!(names.keys().collect::<Vec<_>>(), ["Aunt May", "Plumber", "With UID", "Ольга Иванов"]);
    assert_eq!(names["With UID"], "all.vcf#u%2F1");
    for (id, version) in &ids {
        assert_eq!(world.get(id).version.as_ref(), Some(version));
    }
    // One is changed, one is deleted: the other two keep ids, versions and every byte.
    let plumber = world.get(&names["Plumber"]);
    let may = world.get(&names["Aunt May"]);
    let outcomes = world.write(vec![update(&plumber, &[("phones/home/number", "1")]), delete(&may)]);
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied), "{outcomes:?}");
    let (after, cursor) = world.ids(Some(&cursor));
    assert_eq!(after.len(), 3);
    assert_eq!(after[&names["With UID"]], ids[&names["With UID"]]);
    let now = outcomes[0].record.as_ref().unwrap();
    assert_eq!(now.version.as_ref(), Some(&after[&names["Plumber"]]));
    let original = String::from_utf8(fixture("android-2.1.vcf")).unwrap();
    let text = world.text("all.vcf");
    assert!(text.starts_with(&original[..original.find("BEGIN:VCARD\r\nVERSION:2.1\r\nN:Plumber").unwrap()]));
    assert!(text.contains("TEL;HOME:1\r\n") && !text.contains("Aunt May") && text.ends_with(&card("u/1", "With UID")));
    assert_eq!(world.find(&names["Aunt May"]).absent, Absent::Gone);
    // The bare path may be any of them: nobody can say that it is gone.
    assert_eq!(world.find("all.vcf"), Found::default());
    // Down to one card: it keeps its id as long as the cursor remembers.
    let writes: Vec<Write> =
        after.keys().filter(|id| **id != names["With UID"]).map(|id| delete(&world.get(id))).collect();
    world.write(writes);
    let (one, cursor) = world.ids(Some(&cursor));
    assert_eq!(one.keys().collect::<Vec<_>>(), ["all.vcf#u%2F1"]);
    assert_eq!(world.get("all.vcf#u%2F1").version.as_ref(), Some(&one["all.vcf#u%2F1"]));
    let outcome = world.write(vec![update(&world.get("all.vcf#u%2F1"), &[("notes/1", "n")])]).remove(0);
    let now = outcome.record.unwrap();
    let (one, _) = world.ids(Some(&cursor));
    assert_eq!((now.at.id.as_str(), now.version.as_ref()), ("all.vcf#u%2F1", Some(&one["all.vcf#u%2F1"])));
    assert_eq!(world.ids(None).0.keys().collect::<Vec<_>>(), ["all.vcf"]);
    world.write(vec![delete(&now)]);
    assert!(world.files().is_empty());
}

#[test]
fn a_broken_file_is_one_record_that_says_where() {
    let world = World::new();
    world.put("good.vcf", card("1", "A"));
    world.put("cut.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Cut off");
    world.put("latin.vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:M\xfcller\r\nEND:VCARD\r\n");
    world.put("empty.vcf", "");
    world.put("binary.vcf", [0_u8, 159, 146, 150].repeat(100));
    let page = world.page(ListRequest::default());
    assert_eq!(page.changes.len(), 5);
    for change in page.changes {
        let record = change.record.unwrap();
        let texts: Vec<&str> = record.conditions.iter().map(|condition| condition.text.as_str()).collect();
        let expected = match record.at.id.as_str() {
            "cut.vcf" => "cut.vcf: line 3: the card ends without END:VCARD",
            "latin.vcf" => "latin.vcf: line 3: bytes that are not UTF-8",
            "empty.vcf" => "empty.vcf: line 1: no BEGIN:VCARD",
            "binary.vcf" => "binary.vcf: line 1: ",
            _ => {
                assert!(texts.is_empty() && record.fields.text("name/full") == Some("A"));
                continue;
            }
        };
        assert!(texts[0].contains(expected) && record.conditions[0].code == Condition::UNREADABLE, "{texts:?}");
        let outcome = world.write(vec![update(&record, &[("name/full", "B")])]).remove(0);
        assert_eq!((outcome.status, outcome.code.as_str()), (Status::Refused, "unreadable"));
    }
}

#[test]
fn what_is_too_large_or_not_permitted_is_a_broken_record_too() {
    let world = World::new();
    world.put("good.vcf", card("1", "A"));
    world.put("huge.vcf", "");
    let huge = fs::File::options().write(true).open(world.dir.path().join("huge.vcf")).unwrap();
    huge.set_len(65 * 1024 * 1024).unwrap();
    let photo = "A".repeat(11 * 1024 * 1024);
    world.put("photo.vcf", format!("BEGIN:VCARD\nVERSION:3.0\nPHOTO;ENCODING=b:{photo}\nEND:VCARD\n"));
    world.put("secret.vcf", card("2", "B"));
    fs::set_permissions(world.dir.path().join("secret.vcf"), fs::Permissions::from_mode(0o000)).unwrap();
    let (ids, _) = world.ids(None);
    let text = |id: &String| world.get(id).conditions.first().map(|condition| condition.text.clone());
    let texts: BTreeMap<&str, Option<String>> = ids.keys().map(|id| (id.as_str(), text(id))).collect();
    assert_eq!(texts["good.vcf"], None);
    assert!(texts["huge.vcf"].as_ref().unwrap().contains("huge.vcf: 68157440 bytes; at most 67108864 are read"));
    assert!(texts["photo.vcf"].as_ref().unwrap().contains("photo.vcf: line 1: a card of 11534388 bytes"), "{texts:?}");
    // The superuser may read it all the same.
    assert!(texts["secret.vcf"].as_ref().is_none_or(|text| text.contains("secret.vcf: cannot be read")));
}

#[test]
fn creates_are_named_after_their_uid_or_key_and_happen_once() {
    let world = World::new();
    let writes = || {
        vec![
            create("K1", Some("abc-1"), &[("name/full", "A")]),
            create("K2", Some("odd/../uid:ü"), &[("name/full", "B")]),
            create("K3", None, &[("name/full", "C")]),
        ]
    };
    let first = world.write(writes());
    assert!(first.iter().all(|outcome| outcome.status == Status::Applied), "{first:?}");
    let files = world.files();
    assert_eq!(files.len(), 3);
    assert!(files.contains(&"K3.vcf".into()) && files.contains(&"abc-1.vcf".into()));
    assert!(files.iter().any(|name| name.starts_with("odd_.._uid__-")), "{files:?}");
    assert!(!world.text("K3.vcf").contains("UID") && world.text("abc-1.vcf").contains("UID:abc-1\r\n"));
    settle();
    let again = world.write(writes());
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(again.status, Status::Exists);
        let (first, again) = (first.record.as_ref().unwrap(), again.record.as_ref().unwrap());
        assert_eq!((&first.at, &first.version, &first.uid), (&again.at, &again.version, &again.uid));
        assert!(again.fields.text("name/full").is_some());
    }
    assert_eq!(world.files(), files);
    // Another record under the name that the UID would give.
    world.put("taken.vcf", card("somebody else", "X"));
    let outcome = world.write(vec![create("K4", Some("taken"), &[])]).remove(0);
    assert_eq!(outcome.record.unwrap().at.id, "taken-K4.vcf");
    assert_eq!(world.write(vec![create("K4", Some("taken"), &[])])[0].status, Status::Exists);
}

#[test]
fn what_was_written_is_not_a_change_in_the_next_listing() {
    let world = World::new();
    let writes =
        (0..50).map(|number| create(&format!("K{number}"), Some(&format!("u{number}")), &[("name/full", "A")]));
    let outcomes = world.write(writes.collect());
    settle();
    let (ids, _) = world.ids(None);
    for outcome in outcomes {
        let record = outcome.record.unwrap();
        assert_eq!(record.version.as_ref(), Some(&ids[&record.at.id]));
        let outcome = world.write(vec![update(&record, &[("name/full", "B")])]).remove(0);
        assert_eq!(outcome.status, Status::Applied);
        let after = outcome.record.unwrap();
        assert_eq!((&after.at, &after.uid, &after.incarnation), (&record.at, &record.uid, &record.uid));
    }
}

#[test]
fn a_write_that_expects_another_version_is_a_conflict() {
    let world = World::new();
    world.put("a.vcf", card("1", "A"));
    let seen = world.get("a.vcf");
    world.put("a.vcf", card("1", "Somebody was here"));
    for write in [update(&seen, &[("name/full", "B")]), delete(&seen)] {
        let outcome = world.write(vec![write]).remove(0);
        assert_eq!(outcome.status, Status::Conflict);
        assert_eq!(outcome.record.unwrap().fields.text("name/full"), Some("Somebody was here"));
    }
    world.put("two.vcf", [card("1", "A"), card("2", "B")].concat());
    let (first, second) = (world.get("two.vcf#1"), world.get("two.vcf#2"));
    world.put("two.vcf", [card("1", "A changed"), card("2", "B")].concat());
    let outcomes = world.write(vec![update(&first, &[("name/full", "X")]), update(&second, &[("name/full", "Y")])]);
    assert_eq!((outcomes[0].status, outcomes[1].status), (Status::Conflict, Status::Applied));
    assert_eq!(world.text("two.vcf"), [card("1", "A changed"), card("2", "Y")].concat());
    fs::remove_file(world.dir.path().join("a.vcf")).unwrap();
    assert_eq!(world.write(vec![delete(&seen)])[0].status, Status::Gone);
    assert_eq!(world.find("a.vcf").absent, Absent::Gone);
}

#[test]
fn deleted_files_go_to_the_trash() {
    let (world, trash) = World::with_trash();
    world.put("cards/a.vcf", card("1", "A"));
    world.put("cards/sub/a.vcf", card("2", "B"));
    world.put("cards/two.vcf", [card("3", "C"), card("4", "D")].concat());
    let trashed = |id: &str| Write { action: Action::Trash, ..delete(&world.get(id)) };
    let outcomes = world.write(vec![trashed("a.vcf"), trashed("sub/a.vcf"), trashed("two.vcf#3")]);
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied), "{outcomes:?}");
    let mut names: Vec<_> = fs::read_dir(&trash).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a-2.vcf", "a.vcf", "two.vcf"]);
    assert_eq!(fs::read_to_string(trash.join("two.vcf")).unwrap(), card("3", "C"));
    // The trash lies inside the folder and is no container.
    assert_eq!(world.ids(None).0.keys().collect::<Vec<_>>(), ["two.vcf"]);
    let containers = world.vdir.containers(&Context::detached(), ContainersRequest::default()).unwrap();
    assert_eq!(containers.iter().map(|container| container.id.as_str()).collect::<Vec<_>>(), ["", "sub"]);
    // Deleting for good is something else.
    world.write(vec![delete(&world.get("two.vcf"))]);
    assert_eq!(world.files().len(), 3);
}

#[test]
fn left_overs_of_a_killed_process_are_removed() {
    let world = World::new();
    world.put(".pairwise-KEY1-0.tmp", "half a car");
    world.put("sub/.pairwise-KEY2-7.tmp", "");
    world.put(".other.tmp", "");
    world.write(vec![create("K", None, &[]), Write { container: Some("sub".into()), ..create("L", None, &[]) }]);
    assert_eq!(world.files(), [".other.tmp", "K.vcf", "sub/L.vcf"]);
}

#[test]
fn an_edit_keeps_the_rights_of_the_file() {
    let world = World::new();
    world.put("a.vcf", card("1", "A"));
    let path = world.dir.path().join("a.vcf");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    world.write(vec![update(&world.get("a.vcf"), &[("name/full", "B")])]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn containers_are_subfolders() {
    let world = World::new();
    let cx = Context::detached();
    let ensure = |path: &str| {
        world
            .vdir
            .ensure_container(&cx, EnsureContainerRequest { path: path.into(), ..EnsureContainerRequest::default() })
    };
    assert_eq!(ensure("Team/Köln").unwrap().id, "Team/Köln");
    assert_eq!(ensure("Team/Köln").unwrap().id, "Team/Köln");
    assert_eq!(ensure("../out").unwrap_err().class, Class::Refused);
    let outcome =
        world.write(vec![Write { container: Some("Team/Köln".into()), ..create("K", Some("u"), &[]) }]).remove(0);
    let record = outcome.record.unwrap();
    assert_eq!((record.at.id.as_str(), record.container.as_deref()), ("Team/Köln/u.vcf", Some("Team/Köln")));
    let bad = world.write(vec![Write { container: Some("../x".into()), ..create("K", None, &[]) }]).remove(0);
    assert_eq!((bad.status, bad.code.as_str()), (Status::Refused, "bad_container"));
    // Moving: the id changes with the folder.
    let moved = world.write(vec![Write {
        container: Some(String::new()),
        ..update(&world.get("Team/Köln/u.vcf"), &[("name/full", "New")])
    }]);
    assert_eq!(moved[0].record.as_ref().unwrap().at.id, "u.vcf");
    assert_eq!(world.get("u.vcf").fields.text("name/full"), Some("New"));
    assert_eq!(world.files(), ["u.vcf"]);
    // A scope that names a container sees that one only.
    world.put("Team/a.vcf", card("1", "A"));
    let scope = [("container".to_owned(), Value::from("Team"))].into_iter().collect();
    let page = world.page(ListRequest { scope, ..ListRequest::default() });
    assert_eq!(page.changes.len(), 1);
}

#[test]
fn finds_by_field_uid_and_key() {
    let world = World::new();
    world.put("a.vcf", fixture("gmail-3.0.vcf"));
    world.put("b.vcf", card("u-7", "Bea"));
    world.write(vec![create("K9", None, &[("name/full", "Cy")])]);
    let find = |by: &[&str], values: &[&str]| {
        let request = FindRequest {
            entity: "contact".into(),
            by: by.iter().map(|&name| name.into()).collect(),
            values: values.iter().map(|&value| value.into()).collect(),
            ..FindRequest::default()
        };
        let found = world.vdir.find(&Context::detached(), request).unwrap();
        found.iter().map(|list| list.iter().map(|record| record.at.id.clone()).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let emails = ["emails/1/address", "emails/2/address"];
    assert_eq!(find(&emails, &["RAVI.S@mail.example", "x"]), [vec!["a.vcf".to_owned()], vec![]]);
    assert_eq!(find(&["uid"], &["u-7"]), [["b.vcf"]]);
    assert_eq!(find(&[], &["K9", "K8"]), [vec!["K9.vcf".to_owned()], vec![]]);
}

#[test]
fn names_that_are_no_utf8_are_records_too() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let path = world.dir.path().join(std::ffi::OsStr::from_bytes(b"M\xfcller 100%25 #1.vcf"));
    fs::write(&path, card("1", "A")).unwrap();
    let (ids, _) = world.ids(None);
    let id = ids.keys().next().unwrap();
    assert_eq!(id, "M%FCller 100%25 #1.vcf");
    let outcome = world.write(vec![update(&world.get(id), &[("name/full", "B")])]).remove(0);
    assert_eq!(outcome.record.unwrap().at.id, *id);
    assert!(fs::read_to_string(&path).unwrap().contains("FN:B"));
    world.put("M%C3%BCller.vcf", card("2", "C"));
    assert_eq!(world.get("M%C3%BCller.vcf").fields.text("name/full"), Some("C"));
}

#[test]
fn many_writes_to_one_file_are_one_rewrite() {
    let (world, trash) = World::with_trash();
    let cards = (0..300).map(|number| card(&format!("u{number}"), &format!("N{number}")));
    world.put("cards/all.vcf", cards.collect::<String>());
    let write = |number: usize| {
        let record = world.get(&format!("all.vcf#u{number}"));
        match number % 3 {
            0 => Write { action: Action::Trash, ..delete(&record) },
            1 => update(&record, &[("titles/1/name", "T")]),
            _ => update(&record, &[("name/full", "Longer than before")]),
        }
    };
    // The last one twice: the second write meets what the first one left.
    let mut writes: Vec<Write> = (0..300).map(write).collect();
    writes.push(Write { expect: None, ..update(&world.get("all.vcf#u299"), &[("notes/1", "again")]) });
    let outcomes = world.write(writes);
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied), "{outcomes:?}");
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 100);
    let (ids, _) = world.ids(None);
    assert_eq!(ids.len(), 200);
    let mut last = BTreeMap::new();
    for record in outcomes.into_iter().filter_map(|outcome| outcome.record) {
        last.insert(record.at.id.clone(), record.version.unwrap());
    }
    assert_eq!(last.len(), 200);
    for (id, version) in &ids {
        assert!(last[id] == *version || id == "all.vcf#u299", "{id}");
    }
    assert_eq!(world.get("all.vcf#u299").fields.text("notes/1"), Some("again"));
    // All of them at once: the file goes, its cards are in the trash.
    let rest: Vec<Write> = ids.keys().map(|id| Write { action: Action::Trash, ..delete(&world.get(id)) }).collect();
    assert!(world.write(rest).iter().all(|outcome| outcome.status == Status::Applied));
    assert_eq!((world.ids(None).0.len(), fs::read_dir(&trash).unwrap().count()), (0, 300));
    assert_eq!(world.files().len(), 300);
}
