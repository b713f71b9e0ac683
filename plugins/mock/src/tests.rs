//! The mock seen from outside, as the host sees it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use pairwise_plugin_api::ops::*;
use pairwise_plugin_api::{
    Absent, Action, Certainty, Class, Connector as _, Context, CreateKey, Cursor, Fields, Outcome, Page, Reason,
    RecordRef, Result, Status, Value, Write,
};

use crate::Mock;

fn mock(settings: &str) -> Mock {
    try_mock(settings).unwrap()
}

fn try_mock(settings: &str) -> Result<Mock> {
    Mock::create(toml::from_str(settings).unwrap(), &Context::detached())
}

fn cx() -> Context {
    Context::detached()
}

fn contacts() -> Vec<String> {
    vec!["contact".into()]
}

fn changes(mock: &Mock, cursor: Option<Cursor>) -> Result<Page> {
    mock.changes(&cx(), ChangesRequest { entities: contacts(), cursor, limit: 500, ..ChangesRequest::default() })
}

fn list(mock: &Mock, page: Option<Cursor>, limit: u32) -> Page {
    mock.list(&cx(), ListRequest { entities: contacts(), page, limit, ..ListRequest::default() }).unwrap()
}

fn ids(page: &Page) -> Vec<&str> {
    page.changes.iter().filter_map(|change| change.record.as_ref()).map(|record| record.at.id.as_str()).collect()
}

fn get(mock: &Mock, id: &str) -> pairwise_plugin_api::Found {
    let request = GetRequest { at: vec![RecordRef::new("contact", id)], ..GetRequest::default() };
    mock.get(&cx(), request).unwrap().remove(0)
}

fn create(key: &str, fields: &[(&str, &str)]) -> Write {
    let fields: Fields = fields.iter().map(|(name, value)| (*name, *value)).collect();
    Write { action: Action::Create, at: RecordRef::new("contact", ""), fields, key: key.into(), ..Write::default() }
}

fn change(action: Action, id: &str) -> Write {
    Write { action, at: RecordRef::new("contact", id), key: format!("k-{id}"), ..Write::default() }
}

fn write(mock: &Mock, writes: Vec<Write>) -> Result<Vec<Outcome>> {
    mock.write(&cx(), WriteRequest { writes, ..WriteRequest::default() })
}

fn one(mock: &Mock, one: Write) -> Outcome {
    write(mock, vec![one]).unwrap().remove(0)
}

#[test]
fn the_example_in_the_documentation_works() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("example.toml");
    let mock = mock(&format!("script = {script:?}"));
    assert_eq!(changes(&mock, None).unwrap_err().class, Class::Unimplemented);
    let refused = mock.list(&cx(), ListRequest::default()).unwrap_err();
    assert_eq!((refused.class, refused.text.contains("login")), (Class::Auth, true));
    let missing = mock.login(&cx(), LoginRequest::default()).unwrap_err();
    assert!(missing.class == Class::Auth && missing.text.contains("`password`"), "{missing}");
    let secrets = [("password".to_owned(), "any".to_owned())].into();
    mock.login(&cx(), LoginRequest { secrets, ..LoginRequest::default() }).unwrap();
    assert_eq!(list(&mock, None, 500).changes.len(), 50);
}

#[test]
fn a_listing_tells_each_record_once_and_what_is_empty() {
    let mock = mock("generate = { contacts = 7, events = 3 }\npage_size = 3");
    let (mut seen, mut page) = (Vec::new(), None);
    loop {
        let told = list(&mock, page, 500);
        assert!(told.changes.len() <= 3 && told.complete != told.more);
        seen.extend(ids(&told).into_iter().map(str::to_owned));
        page = told.next;
        if !told.more {
            break;
        }
    }
    assert_eq!(seen, (0..7).map(|n| format!("c-{n:06}")).collect::<Vec<_>>());
    let previous = ListRequest { entities: contacts(), previous: page, ..ListRequest::default() };
    assert!(mock.list(&cx(), previous).unwrap().same_store);
    let record = get(&mock, "c-000001").record.unwrap();
    assert_eq!(record.fields.get("Spouse"), Some(&Value::Null));
    assert!(record.fields.text("FullName").is_some());
}

#[test]
fn made_up_people_are_the_same_everywhere() {
    let (here, there) = (mock("generate = { contacts = 9 }"), mock("generate = { contacts = 9, first = 5 }"));
    let name = |mock: &Mock, id| get(mock, id).record.map(|record| record.fields);
    assert_eq!(name(&here, "c-000008"), name(&there, "c-000008"));
    assert_ne!(name(&here, "c-000008"), name(&mock("generate = { contacts = 9, seed = 1 }"), "c-000008"));
    assert!(get(&there, "c-000001").record.is_none());
}

#[test]
fn the_feed_tells_what_changed_and_what_went() {
    let mock = mock("generate = { contacts = 4 }\npage_size = 3");
    let first = changes(&mock, None).unwrap();
    assert!(first.more && first.changes.len() == 3 && first.server_time.is_some());
    let second = changes(&mock, first.next).unwrap();
    assert!(!second.more && second.changes.len() == 1);
    assert!(changes(&mock, second.next.clone()).unwrap().changes.is_empty());

    let mut update = change(Action::Update, "c-000002");
    update.fields.set("Notes", "new");
    assert_eq!(one(&mock, update).status, Status::Applied);
    assert_eq!(one(&mock, change(Action::Delete, "c-000000")).status, Status::Applied);
    let third = changes(&mock, second.next).unwrap();
    assert_eq!(ids(&third), ["c-000002"]);
    let removed = third.changes[1].removed.as_ref().unwrap();
    assert_eq!((removed.at.id.as_str(), removed.reason), ("c-000000", Reason::Deleted));

    let expired = changes(&mock, Some(Cursor(b"0:feed:memory:99".to_vec()))).unwrap_err();
    assert_eq!(expired.class, Class::CursorExpired);
}

#[test]
fn a_key_makes_one_record() {
    let takes = mock("");
    let made = one(&takes, create("K1", &[("FullName", "Ada")]));
    let again = one(&takes, create("K1", &[("FullName", "Ada")]));
    assert_eq!((made.status, again.status), (Status::Applied, Status::Exists));
    assert_eq!(made.record, again.record);

    let searchable = mock("abilities = { create_key = \"searchable\" }");
    assert_eq!(searchable.describe(&cx()).unwrap().capabilities.create_key, CreateKey::Searchable);
    one(&searchable, create("K1", &[("FullName", "Ada")]));
    let find =
        FindRequest { entity: "contact".into(), values: vec!["K1".into(), "K2".into()], ..FindRequest::default() };
    let found: Vec<usize> = searchable.find(&cx(), find).unwrap().iter().map(Vec::len).collect();
    assert_eq!(found, [1, 0]);
    let by = vec!["Email1".into(), "FullName".into()];
    let find = FindRequest { entity: "contact".into(), by, values: vec!["aDA".into()], ..FindRequest::default() };
    assert_eq!(searchable.find(&cx(), find).unwrap()[0].len(), 1);
}

#[test]
fn a_stale_version_is_refused() {
    let mock = mock("generate = { contacts = 1 }");
    let mut update = change(Action::Update, "c-000000");
    update.fields.set("Notes", "mine");
    update.expect = get(&mock, "c-000000").record.unwrap().version;
    assert_eq!(one(&mock, update.clone()).status, Status::Applied);
    let clash = one(&mock, update);
    assert_eq!(clash.status, Status::Conflict);
    assert_eq!(clash.record.unwrap().fields.text("Notes"), Some("mine"));
    assert_eq!(one(&mock, change(Action::Delete, "nobody")).status, Status::Gone);
}

#[test]
fn values_are_stored_as_the_system_likes() {
    let mock = mock(
        r#"
        respell  = [ { field = "Email1", to = "lower" }, { field = "Notes", length = 3 } ]
        entities = [ { name = "contact", fields = [ { name = "Score", type = "int", read_only = true },
                       { name = "Region", length = 4, required = true } ] } ]"#,
    );
    let mut ada = create("K1", &[("Email1", "ADA@Example.org"), ("Notes", "Ünten"), ("Region", "EMEA")]);
    ada.fields.set("Score", 7_i64);
    let made = one(&mock, ada);
    let fields = made.record.unwrap().fields;
    assert_eq!((fields.text("Email1"), fields.text("Notes")), (Some("ada@example.org"), Some("Ünt")));
    assert_eq!((&*made.refused_fields[0], fields.get("Score")), ("Score", Some(&Value::Null)));
    for (field, value, code) in
        [("Region", "EUROPE", "too_long"), ("Colour", "red", "unknown_field"), ("AllDay", "yes", "unknown_field")]
    {
        let refused = one(&mock, create("K2", &[(field, value)]));
        assert_eq!(
            (refused.status, refused.code.as_str(), refused.field.as_deref()),
            (Status::Refused, code, Some(field))
        );
    }
    assert_eq!(one(&mock, create("K3", &[("FullName", "Bo")])).code, "required");
}

#[test]
fn a_used_id_may_come_back_as_another_record() {
    let mock = mock("generate = { contacts = 2 }\nids = \"reuse\"");
    let before = get(&mock, "c-000001").record.unwrap();
    one(&mock, change(Action::Delete, "c-000001"));
    let made = one(&mock, create("K1", &[("FullName", "Somebody Else")])).record.unwrap();
    assert_eq!(made.at, before.at);
    assert_ne!(made.incarnation, before.incarnation);
}

#[test]
fn faults_strike_when_they_are_told_to() {
    let mock = mock(
        r#"
        generate = { contacts = 8 }
        faults   = [
            { operation = "list", nth = 2, times = 2, does = "fail" },
            { operation = "get", every = 2, does = "fail", class = "throttled", retry_after_ms = 5 },
            { operation = "write", action = "create", times = 1, when = "after", does = "fail", message = "line dropped" },
            { operation = "write", record = "c-000003", does = "outcome", code = "locked" },
        ]"#,
    );
    let listing = || mock.list(&cx(), ListRequest::default()).map_err(|failure| failure.class);
    let listed: Vec<bool> = (0..5).map(|_| listing().is_ok()).collect();
    assert_eq!(listed, [true, false, false, true, true]);

    let reads: Vec<_> =
        (0..4).map(|_| mock.get(&cx(), GetRequest::default()).err().map(|f| f.retry_after_ms)).collect();
    assert_eq!(reads, [None, Some(Some(5)), None, Some(Some(5))]);

    let lost = write(&mock, vec![create("K1", &[("FullName", "Ada")])]).unwrap_err();
    assert_eq!(
        (lost.class, lost.certainty, lost.text.as_str()),
        (Class::Transient, Certainty::Unknown, "line dropped")
    );
    assert_eq!(one(&mock, create("K1", &[("FullName", "Ada")])).status, Status::Exists);

    let outcomes = write(&mock, vec![change(Action::Update, "c-000002"), change(Action::Update, "c-000003")]).unwrap();
    assert_eq!((outcomes[0].status, outcomes[1].code.as_str()), (Status::Applied, "locked"));
}

#[test]
fn a_system_may_tell_less_than_it_has() {
    let mock = mock(
        r#"
        generate = { contacts = 8 }
        faults   = [
            { name = "half", operation = "list", nth = 1, does = "half" },
            { operation = "list", nth = 2, does = "empty", complete = false },
            { operation = "list", nth = 3, does = "omit", share = 0.5 },
            { operation = "get", record = "c-000001", does = "omit", gone = true },
            { operation = "changes", nth = 1, does = "half" },
        ]"#,
    );
    let told: Vec<(usize, bool)> =
        (0..4).map(|_| list(&mock, None, 0)).map(|page| (page.changes.len(), page.complete)).collect();
    assert_eq!((told[0], told[1], told[3]), ((4, true), (0, false), (8, true)));
    assert!(told[2].0 < 8 && told[2].1);
    assert_eq!(get(&mock, "c-000001").absent, Absent::Gone);
    assert!(get(&mock, "c-000002").record.is_some());
    let half = changes(&mock, None).unwrap();
    assert!(!half.more && half.changes.len() == 4);
    assert_eq!(changes(&mock, half.next).unwrap().changes.len(), 4);
}

#[test]
fn a_panic_can_be_ordered() {
    let mock = mock(
        "generate = { contacts = 2 }\nfaults = [ { operation = \"write\", when = \"midway\", does = \"panic\" } ]",
    );
    let writes = || vec![change(Action::Delete, "c-000000"), change(Action::Delete, "c-000001")];
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| write(&mock, writes())));
    assert!(caught.is_err());
    assert_eq!(ids(&list(&mock, None, 0)), ["c-000001"]);
}

#[test]
fn the_state_outlives_the_worker_and_may_be_edited() {
    let folder = tempfile::tempdir().unwrap();
    let (state_dir, state) = (folder.path().join("crm"), folder.path().join("crm/records.json"));
    let settings = format!(
        "generate = {{ contacts = 3 }}\nstate_dir = {state_dir:?}\n\
         faults = [ {{ name = \"once\", operation = \"list\", nth = 1, does = \"fail\" }} ]"
    );
    let first = mock(&settings);
    assert!(first.list(&cx(), ListRequest::default()).is_err());
    let cursor = changes(&first, None).unwrap().next;
    one(&first, create("K1", &[("FullName", "Ada")]));
    drop(first);

    // Another worker: the record is there, the key is known, and the fault has struck.
    let second = mock(&settings);
    assert_eq!(list(&second, None, 0).changes.len(), 4);
    assert_eq!(one(&second, create("K1", &[("FullName", "Ada")])).status, Status::Exists);
    let page = changes(&second, cursor).unwrap();
    assert_eq!(page.changes.len(), 1);

    // A person edits one record, takes one out and adds one, while the worker lives.
    let mut kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    let records = kept["records"].as_array_mut().unwrap();
    records[0]["fields"]["Notes"] = "by hand".into();
    records.remove(1);
    records.push(serde_json::json!({ "entity": "contact", "id": "new", "fields": { "FullName": "Neu" } }));
    std::fs::write(&state, serde_json::to_string(&kept).unwrap()).unwrap();
    let page = changes(&second, page.next).unwrap();
    assert_eq!(ids(&page), ["c-000000", "new"]);
    assert_eq!(page.changes[2].removed.as_ref().unwrap().at.id, "c-000001");
    assert!(changes(&second, page.next).unwrap().changes.is_empty());

    let journal = std::fs::read_to_string(state_dir.join("journal.jsonl")).unwrap();
    let calls: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls[0]["struck"][0], "once");
    assert_eq!(calls[2]["writes"][0]["fields"]["FullName"], "Ada");
    let numbers: Vec<u64> = calls.iter().filter_map(|call| call["call"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn mistakes_are_named() {
    let problem = |settings: &str| try_mock(settings).unwrap_err();
    assert!(problem("faults = [ { operation = \"lst\", does = \"fail\" } ]").text.contains("`lst`"));
    assert!(problem("latency_ms = { rite = 3 }").text.contains("`rite`"));
    assert!(problem("page_size = 0").text.contains("page_size"));
    assert_eq!(problem("faults = [ { nth = 0, does = \"fail\" } ]").setting.as_deref(), Some("faults[0]"));
    assert!(problem("script = \"/nowhere/crm.toml\"").text.contains("/nowhere/crm.toml"));
    let misspelt =
        toml::from_str::<crate::settings::Config>("faults = [ { does = \"outcome\", status = \"refuzed\" } ]");
    assert!(misspelt.unwrap_err().to_string().contains("refuzed"));
}

const FATE: &str = "PAIRWISE_MOCK_FATE";

#[test]
#[ignore = "ends its process; the next test runs it in one of its own"]
fn meets_its_fate() {
    let fate = std::env::var(FATE).unwrap();
    let mock = mock(&format!("faults = [ {{ operation = \"list\", {fate} }} ]"));
    let _ = mock.list(&cx(), ListRequest::default());
}

#[test]
fn deadly_faults_kill_as_they_say() {
    use std::os::unix::process::ExitStatusExt as _;
    let fates = [
        ("does = \"segfault\"", Err(11)),
        ("does = \"abort\"", Err(6)),
        ("does = \"overflow\"", Err(6)),
        ("does = \"exit\"", Ok(0)),
        ("does = \"exit\", exit_code = 3", Ok(3)),
        ("does = \"leak\", mebibytes = 1", Ok(0)),
    ];
    for (fate, expected) in fates {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "tests::meets_its_fate"]).env(FATE, fate);
        let status = child.output().unwrap().status;
        assert_eq!(status.code().ok_or(status.signal().unwrap_or(0)), expected, "{fate}");
    }
}
