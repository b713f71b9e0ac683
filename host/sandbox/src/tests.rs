//! The core, under a system that only echoes and counts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::any};
use serde_json::{Value, json};

use crate::clock::Start;
use crate::core::Core;
use crate::faults::{Fault, Match};
use crate::population::{Options, Population};
use crate::system::{About, Complaint, Edit, Login, System};
use crate::{Sandbox, StartError};

struct Echo(Core);

impl System for Echo {
    fn populate(&self, people: &Population) {
        self.0.write(|store, now| {
            for (index, user) in people.users.iter().enumerate() {
                for contact in people.contacts_of(index) {
                    let fields = [("name".to_owned(), json!(contact.person.full_name()))].into_iter().collect();
                    store.insert(now, &user.login, "contact", &contact.person.uid, None, fields);
                }
            }
        });
    }

    fn url(&self) -> String {
        format!("{}/echo", self.0.base_url())
    }

    fn logins(&self) -> Vec<Login> {
        Vec::new()
    }

    fn router(self: Arc<Self>) -> Router {
        let core = self.0.clone();
        let count = move |body: String| async move {
            core.write(|store, now| {
                let id = format!("n{}", store.next_number());
                store.insert(now, "", "hit", &id, None, serde_json::Map::new());
            });
            body
        };
        Router::new().route("/echo", any(count))
    }

    fn about(&self, _: &Parts, body: &[u8]) -> About {
        About { operation: body.first().map(|first| char::from(*first).to_string()), user: None }
    }

    fn refuse(&self, fault: &Fault, _: &About) -> Response {
        let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
        (status.unwrap_or(StatusCode::IM_A_TEAPOT), fault.code.clone().unwrap_or_default()).into_response()
    }

    fn edit(&self, edit: Edit) -> Result<String, Complaint> {
        let id = edit.id.unwrap_or_default();
        let changed = self.0.write(|store, now| store.change(now, &id, |fields| fields.extend(edit.fields)).is_some());
        if changed { Ok(id) } else { Err(Complaint::NoSuchRecord(id)) }
    }

    fn delete(&self, _: &str, id: &str) -> Result<(), Complaint> {
        self.0.write(|store, now| store.remove(now, id)).map(|_| ()).ok_or(Complaint::NoSuchRecord(id.to_owned()))
    }
}

fn start() -> Sandbox {
    let options = Options { users: 2, contacts: 3, clock: Start::At(1_700_000_000_000), ..Options::default() };
    Sandbox::start_with(options, &[("echo", |core| Arc::new(Echo(core)))]).unwrap()
}

/// Status, head and body of the answer; `None` if the connection ended without one.
fn ask(base: &str, method: &str, path: &str, body: &str) -> Option<(u16, String, String)> {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Basic c2VjcmV0\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_lowercase(), body.to_owned()))
}

fn control(sandbox: &Sandbox, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, _, text) = ask(sandbox.control_url(), method, path, &body.to_string()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn hits(sandbox: &Sandbox) -> usize {
    sandbox.records("echo", Some("hit"), None).len()
}

#[test]
fn the_journal_tells_all_but_the_login() {
    let sandbox = start();
    let base = sandbox.info("echo").base_url;
    assert_eq!(ask(&base, "POST", "/echo?a=1", "hello").unwrap().2, "hello");
    assert_eq!(ask(&base, "GET", "/nowhere", "").unwrap().0, 404);
    let (_, requests) = control(&sandbox, "GET", "/control/echo/requests?since=0", &json!(null));
    assert_eq!(requests[0]["path"], "/echo?a=1");
    assert_eq!((&requests[0]["operation"], &requests[0]["body"]), (&json!("h"), &json!("hello")));
    assert_eq!((&requests[0]["status"], &requests[1]["status"]), (&json!(200), &json!(404)));
    assert!(!requests.to_string().contains("c2VjcmV0"));
}

#[test]
fn faults_strike_before_or_after_the_work() {
    let sandbox = start();
    let base = sandbox.info("echo").base_url;
    let fault = |fault: Value| assert_eq!(control(&sandbox, "POST", "/control/echo/faults", &fault).0, 200);

    fault(json!({ "match": { "operation": "x" }, "status": 503, "code": "Busy" }));
    assert_eq!(ask(&base, "POST", "/echo", "y").unwrap().0, 200);
    assert_eq!(ask(&base, "POST", "/echo", "x").map(|answer| (answer.0, answer.2)), Some((503, "Busy".into())));
    assert_eq!(hits(&sandbox), 1);

    fault(json!({ "status": 500, "after_effect": true }));
    assert_eq!(ask(&base, "POST", "/echo", "x").unwrap().0, 500);
    assert_eq!(hits(&sandbox), 2);

    fault(json!({ "drop_connection": true, "after_effect": true }));
    assert_eq!(ask(&base, "POST", "/echo", "x"), None);
    assert_eq!(hits(&sandbox), 3);

    fault(json!({ "drop_connection": true }));
    assert_eq!(ask(&base, "POST", "/echo", "x"), None);
    assert_eq!((hits(&sandbox), ask(&base, "POST", "/echo", "x").unwrap().0), (3, 200));
    let seen: Vec<_> = sandbox.requests("echo", 0).into_iter().map(|entry| (entry.status, entry.fault)).collect();
    let expected =
        [(Some(200), false), (Some(503), true), (Some(500), true), (None, true), (None, true), (Some(200), false)];
    assert_eq!(seen, expected);
}

#[test]
fn people_edit_through_the_control_api() {
    let sandbox = start();
    let (_, records) = control(&sandbox, "GET", "/control/echo/records?entity=contact&user=kim", &json!(null));
    assert_eq!(records.as_array().unwrap().len(), 3);
    let id = records[1]["id"].as_str().unwrap();
    control(&sandbox, "POST", "/control/clock", &json!({ "advance": "1h" }));
    let edit = json!({ "entity": "contact", "user": "kim", "id": id, "fields": { "name": "New" } });
    assert_eq!(control(&sandbox, "POST", "/control/echo/records", &edit), (200, json!({ "id": id })));
    let item = sandbox.core("echo").read(|store| store.get(id).cloned()).unwrap();
    assert_eq!((item.modified - item.created, &item.fields["name"]), (3_600_000, &json!("New")));
    assert_eq!(control(&sandbox, "DELETE", &format!("/control/echo/records/{id}"), &json!(null)).0, 200);
    assert_eq!(control(&sandbox, "DELETE", &format!("/control/echo/records/{id}"), &json!(null)).0, 404);
    assert_eq!(control(&sandbox, "POST", "/control/echo/commands/dance", &json!({})).0, 404);
    let (status, body) = control(&sandbox, "GET", "/control/moon/records", &json!(null));
    assert_eq!((status, &body["error"]), (404, &json!("there is no system `moon`; there are: echo")));
}

#[test]
fn each_system_has_a_clock_of_its_own_error() {
    let sandbox = start();
    let skew = json!({ "advance": 60, "skew": { "echo": -30 } });
    assert_eq!(control(&sandbox, "POST", "/control/clock", &skew).1, json!({ "now": 1_700_000_060_000_i64 }));
    let (_, head, _) = ask(&sandbox.info("echo").base_url, "GET", "/echo", "").unwrap();
    assert!(head.contains("date: tue, 14 nov 2023 22:13:50 gmt"), "{head}");
    sandbox.advance(Duration::from_secs(1));
    assert_eq!(sandbox.core("echo").now(), 1_700_000_031_000);
}

#[test]
fn a_fault_may_only_take_time() {
    let sandbox = start();
    sandbox.fault("echo", Fault { delay_ms: 1, matching: Match::default(), ..Fault::default() });
    assert_eq!(ask(&sandbox.info("echo").base_url, "GET", "/echo", "").unwrap().0, 200);
    assert!(sandbox.requests("echo", 0)[0].fault);
}

#[test]
fn unknown_systems_are_named() {
    let options = Options { systems: vec!["moon".into()], ..Options::default() };
    let refused = Sandbox::start_with(options, &[("echo", |core| Arc::new(Echo(core)))]);
    assert!(matches!(refused, Err(StartError::NoSuchSystem { name, known }) if name == "moon" && known == "echo"));
}
