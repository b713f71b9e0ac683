//! The server as its clients meet it.

use serde_json::{Value, json};
use ureq::http::Request;

use crate::clock::Start;
use crate::faults::{Fault, Match};
use crate::population::{Options, Spread};
use crate::system::Edit;
use crate::{Sandbox, SystemInfo};

const CRM: &str = "infor-crm";

/// A server with two users, each with this many contacts.
fn start(contacts: u32) -> Sandbox {
    let clock = Start::At(1_800_000_000_000);
    let options = Options { systems: vec![CRM.into()], contacts, spread: Spread::Crm, clock, ..Options::default() };
    Sandbox::start(options).unwrap()
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text))
    }

    fn resources(&self) -> Vec<Value> {
        self.json()["$resources"].as_array().cloned().unwrap_or_else(|| panic!("{}: {}", self.status, self.text))
    }

    fn keys(&self) -> Vec<String> {
        self.resources().iter().map(|entry| entry["$key"].as_str().unwrap().to_owned()).collect()
    }

    fn message(&self) -> String {
        self.json()[0]["message"].as_str().unwrap_or_default().to_owned()
    }
}

struct Client {
    base: String,
    login: (String, String),
    agent: ureq::Agent,
}

impl Client {
    fn new(sandbox: &Sandbox, user: &str) -> Client {
        let SystemInfo { url, logins, .. } = sandbox.info(CRM);
        let password =
            logins.iter().find(|login| login.settings["username"] == user).unwrap().secrets["password"].clone();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Client { base: format!("{url}/slx"), login: (user.into(), password.as_str().unwrap().into()), agent }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        use base64::Engine as _;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", self.login.0, self.login.1));
        let path = path.replace(' ', "%20");
        let mut request = Request::builder().method(method).uri(format!("{}/{path}", self.base));
        request = request.header("Authorization", format!("Basic {login}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = self.agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
    }

    fn get(&self, path: &str) -> Answer {
        let sign = if path.contains('?') { '&' } else { '?' };
        self.send("GET", &format!("{path}{sign}format=json"), &[], "")
    }

    fn write(&self, method: &str, path: &str, etag: Option<&str>, body: &Value) -> Answer {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(etag.map(|etag| ("If-Match", etag)));
        self.send(method, &format!("{path}?format=json"), &headers, &body.to_string())
    }

    /// The first contact, in order of keys.
    fn first(&self) -> Value {
        self.get("dynamic/-/contacts?count=1").resources()[0].clone()
    }

    fn contact(&self, key: &str) -> Value {
        self.get(&format!("dynamic/-/contacts('{key}')?include=Address")).json()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn thousands_keep_to_the_rules() {
    let sandbox = start(1_500);
    let admin = Client::new(&sandbox, "admin");
    assert_eq!(admin.get("dynamic/-/contacts?count=0").json()["$totalResults"], 3_000);
    let kinds = admin.get("dynamic/-/").keys();
    assert!(kinds.contains(&"contacts".to_owned()) && kinds.contains(&"leads".to_owned()), "{kinds:?}");
}

#[test]
fn pages_follow_one_another() {
    let sandbox = start(130);
    let lee = Client::new(&sandbox, "lee");
    let (mut seen, mut next) = (Vec::new(), Some("dynamic/-/contacts?orderBy=ModifyDate,Id&format=json".to_owned()));
    while let Some(path) = next {
        let page = lee.send("GET", &path, &[], "").json();
        assert!(page["$itemsPerPage"].as_u64().unwrap() <= 100);
        seen.extend(page["$resources"].as_array().unwrap().iter().map(|entry| text(entry, "$key").to_owned()));
        next = page["$next"].as_str().map(|url| url.strip_prefix(&format!("{}/", lee.base)).unwrap().to_owned());
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    // Of kim's 130, one in five is kim's alone.
    assert_eq!((seen.len(), distinct.len()), (130 + 104, 130 + 104));
    let large = lee.get("dynamic/-/contacts?count=1000&startIndex=0").json();
    assert_eq!((&large["$itemsPerPage"], &large["$startIndex"]), (&json!(500), &json!(1)));
}

#[test]
fn an_entry_says_what_it_is() {
    let sandbox = start(3);
    let lee = Client::new(&sandbox, "lee");
    let entry = lee.first();
    let key = text(&entry, "$key");
    assert!(key.starts_with("CDEMOA") && key.len() == 12, "{key}");
    assert_eq!(text(&entry, "$url"), format!("{}/dynamic/-/contacts('{key}')", lee.base));
    assert!(text(&entry, "ModifyDate").starts_with("/Date("));
    assert!(text(&entry["Account"], "$key").starts_with('A') && entry["Account"]["AccountName"].is_null());
    assert_eq!(entry["DoNotEmail"], false);
    assert!(text(&entry["Addresses"], "$url").ends_with("/addresses"));
    let read = lee.get(&format!("dynamic/-/CONTACTS(\"{key}\")?select=LastName,Account/AccountName,Address/*"));
    assert_eq!(read.headers["etag"], text(&entry, "$etag"));
    let read = read.json();
    assert!(read["FirstName"].is_null() && read["$etag"].is_string());
    assert!(!text(&read["Account"], "AccountName").is_empty() && !text(&read["Address"], "City").is_empty());
    assert_eq!(lee.get(&format!("dynamic/-/contacts('{key}')/addresses")).resources().len(), 1);
    let account = lee.get(&format!("dynamic/-/contacts('{key}')/account")).json();
    assert_eq!(text(&account, "$key"), text(&entry["Account"], "$key"));
    let unchanged =
        lee.send("GET", &format!("dynamic/-/contacts('{key}')"), &[("If-None-Match", text(&entry, "$etag"))], "");
    assert_eq!(unchanged.status, 304);
    let keys = lee.get("dynamic/-/contacts?precedence=0").resources();
    assert!(keys[0]["LastName"].is_null() && keys[0]["$descriptor"].is_string());
}

#[test]
fn conditions_select() {
    let sandbox = start(20);
    let lee = Client::new(&sandbox, "lee");
    let entry = lee.first();
    let last = text(&entry, "LastName");
    let found = lee.get(&format!("dynamic/-/contacts?where=LastName eq '{last}' and Account.AccountName ne null"));
    assert!(found.keys().contains(&text(&entry, "$key").to_owned()));
    assert_eq!(lee.get(&format!("dynamic/-/contacts(Id eq '{}')", text(&entry, "$key"))).resources().len(), 1);
    assert_eq!(lee.get("dynamic/-/contacts?where=LastName eq 'Nobody'").json()["$totalResults"], 0);
    let refused = lee.get("dynamic/-/contacts?where=LastName+eq+'X'");
    assert_eq!((refused.status, refused.json()[0]["sdataCode"].clone()), (400, json!("BadWhereSyntax")));
    let refused = lee.get("dynamic/-/contacts?where=Colour eq 'X'");
    assert_eq!((refused.status, refused.json()[0]["sdataCode"].clone()), (400, json!("ApplicationDiagnosis")));
    let descending = lee.get("dynamic/-/contacts?orderBy=LastName desc,FirstName&select=LastName").resources();
    let names: Vec<&str> = descending.iter().map(|entry| text(entry, "LastName")).collect();
    assert!(names.is_sorted_by(|a, b| a >= b), "{names:?}");
    let url = format!("{}/dynamic/-/contacts?format=json&where=LastName%20eq%20'{last}'", lee.base);
    let long = lee.send("POST", "dynamic/-/contacts?format=json", &[("X-HTTP-Method-Override", "GET")], &url);
    assert!(!long.resources().is_empty());
}

#[test]
fn contacts_come_and_change_and_go() {
    let sandbox = start(2);
    let lee = Client::new(&sandbox, "lee");
    let account = text(&lee.first()["Account"], "$key").to_owned();
    let body = json!({ "LastName": " Ní Bhriain ", "FirstName": "Aoife", "Account": { "$key": account },
        "WorkPhone": "(602) 555-1234", "Birthday": "/Date(0+0000)/", "Address": { "City": "Cork" } });
    let made = lee.write("POST", "dynamic/-/contacts", None, &body);
    let entry = made.json();
    let key = text(&entry, "$key");
    assert_eq!(made.status, 201, "{entry}");
    assert!(made.headers["location"].to_str().unwrap().ends_with(&format!("contacts('{key}')")));
    // The server spells in its own way, and fills in who owns it.
    assert_eq!((text(&entry, "LastName"), text(&entry, "WorkPhone")), ("Ní Bhriain", "6025551234"));
    assert_eq!((text(&entry["Owner"], "$key"), text(&entry, "NameLF")), ("SDEMOA000001", "Ní Bhriain, Aoife"));
    assert!(!text(&entry, "AccountName").is_empty() && entry["Birthday"] == "/Date(0)/");

    let path = format!("dynamic/-/contacts('{key}')");
    let none = lee.write("PUT", &path, None, &json!({ "Title": "Chair" }));
    assert_eq!((none.status, none.message()), (400, "The header If-Match is missing.".into()));
    let put = lee.write("PUT", &path, Some(text(&entry, "$etag")), &json!({ "Title": "Chair", "FirstName": null }));
    assert_eq!(put.status, 200);
    let changed = put.json();
    assert_eq!((text(&changed, "Title"), &changed["FirstName"]), ("Chair", &Value::Null));
    let stale = lee.write("PUT", &path, Some(text(&entry, "$etag")), &json!({ "Title": "Late" }));
    assert_eq!((stale.status, stale.json()["$etag"].clone()), (412, changed["$etag"].clone()));

    // An address does not move its contact's times.
    let before = text(&changed, "ModifyDate");
    sandbox.advance(std::time::Duration::from_secs(60));
    let etag = format!("\"{}\"", text(&changed, "$etag"));
    let moved = lee.write("PUT", &path, Some(&etag), &json!({ "Address": { "City": "Sligo" } })).json();
    assert_eq!(text(&moved, "ModifyDate"), before);
    assert_eq!(text(&lee.contact(key)["Address"], "City"), "Sligo");
    let since = "@2027-01-15T08:00:30Z@";
    let by_address =
        lee.get(&format!("dynamic/-/contacts?where=ModifyDate gt {since} or Address.ModifyDate gt {since}"));
    assert_eq!(by_address.keys(), [key]);

    assert_eq!(lee.write("DELETE", &path, None, &json!(null)).status, 200);
    assert_eq!((lee.get(&path).status, lee.write("DELETE", &path, None, &json!(null)).status), (404, 404));
}

#[test]
fn rules_refuse() {
    let sandbox = start(2);
    let lee = Client::new(&sandbox, "lee");
    let account = json!({ "$key": text(&lee.first()["Account"], "$key") });
    let refuse = |kind: &str, body: Value| {
        let answer = lee.write("POST", &format!("dynamic/-/{kind}"), None, &body);
        (answer.status, answer.message())
    };
    assert_eq!(refuse("contacts", json!({ "LastName": "X" })), (400, "Account is required for a Contact.".into()));
    assert_eq!(refuse("contacts", json!({ "Account": account })), (400, "LastName is required for a Contact.".into()));
    let long = "x".repeat(33);
    let (status, message) = refuse("leads", json!({ "LastName": long }));
    assert!(status == 400 && message.starts_with("LastName is longer than the 32"), "{message}");
    let (status, message) = refuse("contacts", json!({ "LastName": "X", "Account": { "$key": "ADEMOA999999" } }));
    assert!(status == 400 && message.contains("is not there"), "{message}");
    assert_eq!(refuse("users", json!({ "UserName": "eve" })).0, 405);
}

#[test]
fn parts_of_a_batch_stand_alone() {
    let sandbox = start(2);
    let lee = Client::new(&sandbox, "lee");
    let first = lee.first();
    let late = Match { path: Some("('CDEMOA".into()), method: Some("DELETE".into()), ..Match::default() };
    sandbox.fault(CRM, Fault { matching: late, status: Some(503), ..Fault::default() });
    let body = json!({ "$resources": [
        { "$httpMethod": "POST", "LastName": "Batch", "Account": first["Account"] },
        { "$httpMethod": "PUT", "$url": first["$url"], "$ifMatch": first["$etag"], "Title": "Batched" },
        { "$httpMethod": "PUT", "$url": first["$url"], "$ifMatch": first["$etag"], "Title": "Late" },
        { "$httpMethod": "GET", "$key": "CDEMOA999999" },
        { "$httpMethod": "DELETE", "$url": first["$url"] },
    ] });
    let answer = lee.write("POST", "dynamic/-/contacts/%24batch", None, &body);
    assert_eq!(answer.status, 200);
    let parts = answer.resources();
    let statuses: Vec<u64> = parts.iter().map(|part| part["$httpStatus"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 412, 404, 503]);
    assert!(parts[0]["$location"].is_string() && parts[0]["$etag"].is_string());
    assert_eq!(parts[1]["$etag"], parts[2]["$etag"]);
    assert_eq!(parts[3]["$diagnoses"][0]["severity"], "Error");
    assert_eq!(lee.contact(text(&first, "$key"))["Title"], "Batched");
    let journal = sandbox.requests(CRM, 0);
    let whole = journal.iter().find(|entry| entry.operation.as_deref() == Some("contacts/$batch")).unwrap();
    let inside: Vec<_> = journal.iter().filter(|entry| entry.part_of == Some(whole.number)).collect();
    assert_eq!((inside.len(), inside[4].fault, inside[1].operation.as_deref()), (5, true, Some("contacts")));
}

#[test]
fn groups_are_changed_whole_and_never_in_the_old_edition() {
    let sandbox = start(5);
    let lee = Client::new(&sandbox, "lee");
    let groups = lee.get("system/-/groups?where=isAdHoc&include=adHocIds").resources();
    assert_eq!((groups.len(), text(&groups[0], "name")), (1, "Contact Sync"));
    let ids: Vec<String> = serde_json::from_value(groups[0]["adHocIds"].clone()).unwrap();
    assert_eq!(ids.len(), 5);
    let path = format!("system/-/groups('{}')", text(&groups[0], "$key"));
    let put = lee.write("PUT", &path, Some(text(&groups[0], "$etag")), &json!({ "adHocIds": ids[..2] }));
    assert_eq!(put.status, 200);
    let stale = lee.write("PUT", &path, Some(text(&groups[0], "$etag")), &json!({ "adHocIds": [] }));
    assert_eq!(stale.status, 412);
    let key = text(&groups[0], "$key");
    let members = lee.get(&format!("system/-/groups/$queries/execute?_groupId={key}&orderBy=LastName")).resources();
    assert_eq!(members.len(), 2);
    assert!(text(&members[0], "CONTACTID").starts_with('C') && members[0]["LASTNAME"].is_string());
    assert_eq!(lee.write("DELETE", &format!("dynamic/-/contacts('{}')", ids[0]), None, &json!(null)).status, 200);
    let left = lee.get(&format!("{path}?include=adHocIds")).json();
    assert_eq!(left["adHocIds"], json!(ids[1..2]));
    let made =
        lee.write("POST", "system/-/groups", None, &json!({ "family": "Contact", "name": "New", "adHocIds": [] }));
    assert_eq!(made.status, 201);
    assert_eq!(Client::new(&sandbox, "kim").get(&path).status, 404);

    sandbox.command(CRM, "settings", &json!({ "edition": "7.5.4" })).unwrap();
    assert_eq!(lee.write("PUT", &path, Some(text(&left, "$etag")), &json!({ "adHocIds": [] })).status, 405);
    assert_eq!(lee.get(&path).status, 200);
}

#[test]
fn editions_tell_themselves_apart() {
    let sandbox = start(1);
    let lee = Client::new(&sandbox, "lee");
    let who = || lee.write("POST", "system/-/$service/getCurrentUser", None, &json!({})).json()["response"].clone();
    let new = who();
    assert_eq!((text(&new, "userId").trim(), text(&new, "userName")), ("UDEMOA000001", "lee"));
    assert!(text(&new, "userId").ends_with(' ') && new["securedActions"].is_array());
    let version = || lee.get("system/-/systemOptions('DatabaseVersion')");
    assert_eq!(version().json()["value"], "8.1.0");
    sandbox.command(CRM, "settings", &json!({ "edition": "7.5.4" })).unwrap();
    assert!(who()["securedActions"].is_null());
    let options = sandbox.records(CRM, Some("systemOptions"), None);
    assert_eq!(options[0].fields["value"], "7.5.4.0");
    assert_eq!((version().status, lee.get("dynamic/-/leadAddresses").status), (404, 404));
}

#[test]
fn logins_are_checked() {
    let sandbox = start(1);
    let mut lee = Client::new(&sandbox, "lee");
    lee.login.1 = "wrong".into();
    let denied = lee.get("dynamic/-/contacts");
    let challenges: Vec<_> =
        denied.headers.get_all("www-authenticate").iter().map(|header| header.to_str().unwrap()).collect();
    assert_eq!(denied.status, 401);
    assert!(challenges[0].starts_with("Digest ") && challenges[1].starts_with("Basic "), "{challenges:?}");
    assert_eq!(denied.json()[0]["severity"], "Error");
    let quiet = lee.send("GET", "dynamic/-/contacts?format=json", &[("X-Authorization-Mode", "no-challenge")], "");
    assert!(quiet.status == 401 && !quiet.headers.contains_key("www-authenticate"));

    lee.login.1 = "lee-secret".into();
    sandbox.command(CRM, "user", &json!({ "login": "lee", "sdata": false })).unwrap();
    assert_eq!(lee.get("dynamic/-/contacts").status, 403);
    sandbox.command(CRM, "user", &json!({ "login": "lee", "sdata": true, "expired": true })).unwrap();
    let expired = lee.get("dynamic/-/contacts").json()[0]["stackTrace"].clone();
    assert!(expired.as_str().unwrap().contains("User.Rules.IsValidPassword"));
    sandbox.command(CRM, "user", &json!({ "login": "lee", "expired": false })).unwrap();
    sandbox.command(CRM, "settings", &json!({ "kinds_off": ["leads"] })).unwrap();
    assert_eq!(lee.get("dynamic/-/leads").json()[0]["sdataCode"], "ResourceKindNotFound");
    sandbox.command(CRM, "settings", &json!({ "off": true })).unwrap();
    let off = lee.get("dynamic/-/contacts");
    assert!(off.status == 404 && off.text.starts_with("<h2>"));
}

#[test]
fn a_cookie_of_the_web_client_is_a_login() {
    let sandbox = start(1);
    sandbox.command(CRM, "settings", &json!({ "cookie": true })).unwrap();
    let mut lee = Client::new(&sandbox, "lee");
    lee.base = lee.base.replace("/sdata", "/slxclient/slxdata.ashx");
    let answer = lee.get("dynamic/-/contacts");
    let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(text(&answer.resources()[0], "$url").contains("/slxclient/slxdata.ashx/slx/dynamic"));
    let bare = ureq::get(format!("{}/dynamic/-/contacts?format=json", lee.base)).header("Cookie", cookie).call();
    assert_eq!(bare.unwrap().status(), 200);
}

#[test]
fn rights_limit_what_is_seen_and_written() {
    let sandbox = start(10);
    let (lee, kim) = (Client::new(&sandbox, "lee"), Client::new(&sandbox, "kim"));
    let own = lee.get("dynamic/-/contacts?where=Owner eq 'SDEMOA000001'").keys();
    assert_eq!(own.len(), 2);
    let path = format!("dynamic/-/contacts('{}')", own[0]);
    assert_eq!((lee.get(&path).status, kim.get(&path).status), (200, 404));
    sandbox.command(CRM, "rights", &json!({ "owner": "SDEMOA000001", "user": "kim", "access": "read" })).unwrap();
    let seen = kim.get(&path).json();
    let refused = kim.write("PUT", &path, Some(text(&seen, "$etag")), &json!({ "Title": "X" }));
    assert_eq!(refused.status, 403);

    for (field, access) in [("contacts.WorkPhone", "none"), ("contacts.Title", "read")] {
        sandbox.command(CRM, "field", &json!({ "user": "lee", "field": field, "access": access })).unwrap();
    }
    let shown = lee.get(&path).json();
    assert!(shown.get("WorkPhone").is_none() && shown["Title"].is_string());
    let title = shown["Title"].clone();
    let put = lee.write("PUT", &path, Some(text(&shown, "$etag")), &json!({ "Title": "X", "Spouse": "Y" })).json();
    assert_eq!((&put["Title"], &put["Spouse"]), (&title, &json!("Y")));
    sandbox.command(CRM, "settings", &json!({ "refuse_read_only": true })).unwrap();
    assert_eq!(lee.write("PUT", &path, Some(text(&put, "$etag")), &json!({ "Title": "X" })).status, 403);
    let for_kim = sandbox.records(CRM, Some("contacts"), Some("kim")).len();
    assert_eq!(for_kim, 20);
}

#[test]
fn a_note_changes_whom_it_is_about() {
    let sandbox = start(2);
    let lee = Client::new(&sandbox, "lee");
    let contact = lee.first();
    let key = text(&contact, "$key");
    let note = json!({ "Type": 262_148, "Description": "Lunch", "LongNotes": "long", "ContactId": key });
    let made = lee.write("POST", "dynamic/-/history", None, &note);
    assert_eq!((made.status, text(&made.json(), "Type")), (201, "atNote"));
    let after = lee.contact(key);
    assert_ne!(after["$etag"], contact["$etag"]);
    assert_eq!(text(&after, "LastHistoryBy"), "UDEMOA000001");
    let found = lee
        .get(&format!("dynamic/-/history?where=ContactId eq '{key}' and Type eq 'atNote' and Description eq 'Lunch'"));
    assert_eq!(found.resources().len(), 1);
}

#[test]
fn people_edit_by_hand() {
    let sandbox = start(3);
    let lee = Client::new(&sandbox, "lee");
    let contact = lee.first();
    let key = text(&contact, "$key").to_owned();
    let edit = |edit: Value| sandbox.edit(CRM, serde_json::from_value::<Edit>(edit).unwrap());
    sandbox.advance(std::time::Duration::from_secs(5));
    edit(json!({ "user": "lee", "id": key, "fields": { "WorkPhone": "123", "Address": { "City": "Köln" } } })).unwrap();
    let after = lee.contact(&key);
    assert_eq!((text(&after, "WorkPhone"), text(&after["Address"], "City")), ("123", "Köln"));
    assert_ne!(after["$etag"], contact["$etag"]);
    let account = text(&contact["Account"], "$key");
    let fields = json!({ "LastName": "New", "Account": account });
    let new =
        edit(json!({ "entity": "contacts", "user": "lee", "fields": fields, "container": "Contact Sync" })).unwrap();
    let group =
        || lee.get("system/-/groups?where=name eq 'Contact Sync'&include=adHocIds").resources()[0]["adHocIds"].clone();
    assert_eq!(group().as_array().unwrap().last(), Some(&json!(new)));
    sandbox.command(CRM, "leave", &json!({ "user": "lee", "group": "Contact Sync", "ids": [new] })).unwrap();
    assert_eq!(group().as_array().unwrap().len(), 3);
    edit(json!({ "id": account, "fields": { "AccountName": "Renamed" } })).unwrap();
    assert_eq!(text(&lee.contact(&key), "AccountName"), "Renamed");
    sandbox.delete(CRM, "lee", &key).unwrap();
    assert_eq!(lee.get(&format!("dynamic/-/contacts('{key}')")).status, 404);
    let lead = lee.get("dynamic/-/leads").keys()[0].clone();
    let converted = sandbox.command(CRM, "convert", &json!({ "user": "lee", "id": lead })).unwrap();
    assert!(lee.contact(text(&converted, "id"))["$etag"].is_string());
    assert_eq!(lee.get(&format!("dynamic/-/leads('{lead}')")).status, 404);
    let etag = || lee.contact(&new)["$etag"].clone();
    let before = etag();
    sandbox.command(CRM, "touch", &json!({ "id": new })).unwrap();
    assert_ne!(etag(), before);
}

#[test]
fn atom_says_the_same() {
    let sandbox = start(2);
    let lee = Client::new(&sandbox, "lee");
    let feed = lee.send("GET", "dynamic/-/contacts?include=Address", &[("Accept", "application/json")], "");
    assert_eq!(feed.headers["content-type"], "application/atom+xml;type=feed");
    let document = roxmltree::Document::parse(&feed.text).unwrap();
    assert_eq!(
        document
            .descendants()
            .filter(|node| node.has_tag_name(("http://schemas.sage.com/dynamic/2007", "Contact")))
            .count(),
        4
    );
    let account = text(&lee.first()["Account"], "$key").to_owned();
    let body = format!(
        "\u{feff}<entry xmlns=\"http://www.w3.org/2005/Atom\" xmlns:sdata=\"http://schemas.sage.com/sdata/2008/1\" \
         xmlns:slx=\"http://schemas.sage.com/dynamic/2007\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><sdata:payload>\
         <slx:Contact><slx:LastName>Atom</slx:LastName><slx:FirstName xsi:nil=\"true\"/><slx:DoNotEmail>true</slx:DoNotEmail>\
         <slx:Account sdata:key=\"{account}\"/></slx:Contact></sdata:payload></entry>"
    );
    let made = lee.send("POST", "dynamic/-/contacts", &[("Content-Type", "application/atom+xml;type=entry")], &body);
    assert_eq!(made.status, 201, "{}", made.text);
    let found = lee.get("dynamic/-/contacts?where=LastName eq 'Atom' and DoNotEmail").resources();
    assert_eq!(text(&found[0]["Account"], "$key"), account);
    let wrong = lee.send("GET", "dynamic/-/contacts('nobody')", &[], "");
    assert!(wrong.status == 404 && wrong.text.contains("<sdata:sdataCode>ApplicationDiagnosis</sdata:sdataCode>"));
}
