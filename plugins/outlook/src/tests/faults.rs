//! What goes wrong: logins, lost tokens, throttling, lost answers.

use pairwise_plugin_api::ops::{CheckRequest, EnsureContainerRequest, INTERACTIVE, LoginRequest, Scope};
use pairwise_plugin_api::{Certainty, Class, Connector, Context, Fields, Status, Write};
use pairwise_sandbox::faults::{Fault, Match};
use serde_json::json;

use super::world::{LEE, World, class, config, create, lee, update};
use crate::Outlook;

fn fault(world: &World, operation: &str, fault: Fault) {
    let matching = Match { operation: Some(operation.into()), ..Match::default() };
    world.sandbox.fault("outlook", Fault { matching, ..fault });
}

#[test]
fn each_wrong_login_says_what_is_wrong() {
    let world = World::of(0);
    let attempt = |setting: &str, value: &str, secret: &str| {
        let config = config(&world.sandbox, |settings| settings[setting] = json!(value));
        let outlook = Outlook::create(config, &Context::detached()).unwrap();
        let other = World {
            sandbox: pairwise_sandbox::Sandbox::start(pairwise_sandbox::Options {
                systems: vec!["outlook".into()],
                contacts: 0,
                ..pairwise_sandbox::Options::default()
            })
            .unwrap(),
            outlook,
            cx: Context::detached(),
        };
        class(other.log_in(&[("client_secret", secret)]))
    };
    let right = "pairwise~sandbox~secret";
    let (kind, text) = attempt("tenant", "elsewhere.com", right);
    assert!(kind == Class::Config && text.contains("no organisation `elsewhere.com`"), "{text}");
    let (kind, text) = attempt("client_id", "nobody", right);
    assert!(kind == Class::Config && text.contains("no application `nobody`"), "{text}");
    let (kind, text) = attempt("tenant", "example.com", "wrong-secret-that-nobody-may-read");
    assert!(
        kind == Class::Auth && text.contains("`client_secret` is wrong") && !text.contains("nobody-may-read"),
        "{text}"
    );
    let (kind, text) = class(world.log_in(&[]));
    assert!(kind == Class::Auth && text.contains("no `client_secret`"), "{text}");
}

#[test]
fn each_mailbox_that_does_not_answer_says_why() {
    let world = World::of(0);
    let check = |state: &str| {
        world.command("mailbox", json!({ "user": LEE, "state": state }));
        let request = CheckRequest { principal: lee(), entities: vec!["contact".into()], ..CheckRequest::default() };
        class(world.outlook.check(&world.cx, request))
    };
    let (kind, text) = check("on_premises");
    assert!(kind == Class::Config && text.contains("`exchange`"), "{text}");
    let (kind, text) = check("missing");
    assert!(kind == Class::Config && text.contains("no mailbox `lee@example.com`"), "{text}");
    let (kind, text) = check("forbidden");
    assert!(kind == Class::Auth && text.contains("Contacts.ReadWrite"), "{text}");
}

#[test]
fn a_token_that_ended_is_renewed_once() {
    let world = World::of(1);
    world.command("expire_tokens", json!({}));
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 1);
    world.command("expire_tokens", json!({}));
    world.command("secret", json!({ "value": "another-secret" }));
    let (kind, text) = class(world.changes("contact", &Scope::new(), None));
    assert!(kind == Class::Auth && text.contains("client_secret"), "{text}");
}

/// The server wants tokens to say more than they did: the login server is told, and the request made again.
#[test]
fn a_claims_challenge_is_passed_on() {
    let world = World::of(1);
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;
    let tokens = |since: u64| {
        let asked = world.requests(since);
        let token = asked.iter().filter(|entry| entry.operation.as_deref() == Some("token"));
        token.map(|entry| entry.body.contains("claims=%7B%22access_token%22")).collect::<Vec<_>>()
    };
    world.command("demand_claims", json!({ "claims": claims }));
    let since = world.last();
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 1);
    assert_eq!(tokens(since), [true], "one token more");
    // The next one is asked for as always, and that answer is the last word.
    world.command("expire_tokens", json!({}));
    let since = world.last();
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 1);
    assert_eq!(tokens(since), [false, true]);

    world.command(
        "demand_claims",
        json!({ "claims": r#"{"access_token":{"acrs":{"value":"c1"}}}"#, "interactive": true }),
    );
    let (kind, text) = class(world.changes("contact", &Scope::new(), None));
    assert!(kind == Class::Auth && text.contains("sign in again"), "{text}");
}

/// Instead of a secret the application may have a certificate.
#[test]
fn the_application_signs_in_with_its_certificate() {
    const PEM: &str = include_str!("application.pem");
    let world = World::with(1, |settings| settings["mailbox"] = json!(LEE));
    let signs_in = |secrets: &[(&str, &str)]| {
        let outlook = Outlook::create(config(&world.sandbox, |_| {}), &world.cx).unwrap();
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        outlook.login(&world.cx, LoginRequest { principal: lee(), secrets }).map(|_| outlook)
    };
    let (kind, text) = class(signs_in(&[("client_certificate", PEM)]));
    assert!(kind == Class::Auth && text.contains("does not know the certificate"), "{text}");
    world.command("certificate", json!({ "pem": PEM }));
    let since = world.last();
    let outlook = signs_in(&[("client_certificate", PEM), ("client_secret", "an old one")]).unwrap();
    let asked = world.requests(since);
    assert!(!asked[0].body.contains("client_secret") && !asked[0].body.contains("PRIVATE"), "{}", asked[0].body);
    let check = CheckRequest { principal: lee(), entities: vec!["contact".into()], ..CheckRequest::default() };
    assert!(outlook.check(&world.cx, check).unwrap().is_empty());
    let (kind, text) = class(signs_in(&[("client_certificate", "nonsense")]));
    assert!(kind == Class::Auth && text.contains("expected PEM") && !text.contains("nonsense"), "{text}");
}

/// The calls that Graph gets can be found in its records.
#[test]
fn each_request_bears_an_id() {
    let world = World::of(1);
    world.changes("contact", &Scope::new(), None).unwrap();
    let asked = world.requests(0);
    let graph = asked.iter().filter(|entry| entry.operation.as_deref() != Some("token"));
    let ids: Vec<&String> = graph.filter_map(|entry| entry.headers.get("client-request-id")).collect();
    assert!(ids.len() + 1 == asked.len() && ids.len() > 1 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn a_person_signs_in_and_the_token_rotates() {
    let world = World::with(1, |settings| settings["sign_in"] = json!("delegated"));
    world.command("strict_refresh", json!({}));
    let (kind, text) = class(world.log_in(&[]));
    assert!(kind == Class::Auth && text.contains("connection login"), "{text}");
    let token = world.command("sign_in", json!({ "user": LEE }))["refresh_token"].as_str().unwrap().to_owned();
    let keep = world.log_in(&[("refresh_token", &token)]).unwrap();
    assert!(keep["refresh_token"] != token);
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 1);
    world.command("withdraw_consent", json!({}));
    world.command("expire_tokens", json!({}));
    let (kind, text) = class(world.changes("contact", &Scope::new(), None));
    assert!(kind == Class::Auth && text.contains("sign in again"), "{text}");
}

#[test]
fn a_dropped_delta_token_asks_for_a_listing() {
    let world = World::of(3);
    let first = world.changes("contact", &Scope::new(), None).unwrap();
    world.command("drop_tokens", json!({}));
    assert_eq!(class(world.changes("contact", &Scope::new(), first.cursor)).0, Class::CursorExpired);
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 3);
}

#[test]
fn an_empty_page_is_not_the_end() {
    let world = World::of(3);
    world.command("empty_pages", json!({}));
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 3);
}

#[test]
fn parts_that_were_throttled_are_sent_again_alone() {
    let world = World::of(0);
    fault(
        &world,
        "POST contacts",
        Fault { status: Some(429), retry_after: Some(0), skip: 1, times: Some(2), ..Fault::default() },
    );
    let outcomes = world.write((0..4).map(|number| create(&format!("K{number}"), &[("surname", "Meitner")])).collect());
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied), "{outcomes:?}");
    assert_eq!(world.sandbox.records("outlook", Some("contact"), Some(LEE)).len(), 4);
}

/// What is moved is made anew before the others are sent.
#[test]
fn what_was_moved_is_told_though_the_others_were_lost() {
    let world = World::of(2);
    let request =
        EnsureContainerRequest { principal: lee(), entity: "contact".into(), path: "CRM".into(), ..Default::default() };
    world.outlook.ensure_container(&world.cx, request).unwrap();
    let there = world.changes("contact", &Scope::new(), None).unwrap().records;
    let moved = Write { container: Some("CRM".into()), ..update(&there[0], Fields::new()) };
    let others = (0..25).map(|number| create(&format!("K{number}"), &[("surname", "Meitner")]));
    let lost = Fault { drop_connection: true, after_effect: true, skip: 2, ..Fault::default() };
    fault(&world, "batch write", lost);
    let outcomes = world.write([moved].into_iter().chain(others).collect());
    assert_eq!(outcomes[0].record.as_ref().unwrap().container.as_deref(), Some("CRM"));
    let of = |status: Status| outcomes.iter().filter(|outcome| outcome.status == status).count();
    assert_eq!((of(Status::Applied), of(Status::Unknown), of(Status::NotSent)), (1, 20, 5), "{outcomes:?}");
    assert_eq!(world.sandbox.records("outlook", Some("contact"), Some(LEE)).len(), 22);
}

/// A mailbox has ten thousand requests in ten minutes, and refused ones count.
#[test]
fn a_mailbox_that_wants_to_be_left_alone_is_not_asked() {
    let world = World::of(0);
    let limit = Fault { status: Some(429), retry_after: Some(300), skip: 25, times: Some(0), ..Fault::default() };
    fault(&world, "POST contacts", limit);
    let some =
        |count: usize| (0..count).map(|number| create(&format!("K{number}"), &[("surname", "Meitner")])).collect();
    let outcomes = world.write(some(80));
    let of = |status: Status| outcomes.iter().filter(|outcome| outcome.status == status).count();
    assert_eq!((of(Status::Applied), of(Status::Throttled)), (25, 55), "{outcomes:?}");
    let posts = |requests: &[pairwise_sandbox::journal::Entry]| {
        requests.iter().filter(|request| request.operation.as_deref() == Some("POST contacts")).count()
    };
    assert_eq!(posts(&world.sandbox.requests("outlook", 0)), 40, "two batches, and none after the refusal");

    let before = world.requests(0).len();
    let request = pairwise_plugin_api::ops::WriteRequest { principal: lee(), writes: some(1), ..Default::default() };
    let failure = world.outlook.write(&world.cx, request).unwrap_err();
    assert_eq!((failure.class, failure.certainty), (Class::Throttled, Certainty::NotSent));
    assert!(failure.retry_after_ms.is_some_and(|pause| pause > 200_000), "{failure}");
    assert_eq!(world.requests(0).len(), before);
}

#[test]
fn a_lost_answer_leaves_the_write_unknown_and_its_key_tells() {
    let world = World::of(0);
    fault(&world, "POST contacts", Fault { status: Some(504), after_effect: true, ..Fault::default() });
    let outcome = world.write(vec![create("KEY", &[("surname", "Hopper")])]).remove(0);
    assert_eq!(outcome.status, Status::Unknown);
    let find = pairwise_plugin_api::ops::FindRequest {
        principal: lee(),
        entity: "contact".into(),
        values: vec!["KEY".into()],
        ..Default::default()
    };
    assert_eq!(world.outlook.find(&world.cx, find).unwrap()[0].len(), 1);

    fault(&world, "batch write", Fault { drop_connection: true, after_effect: true, ..Fault::default() });
    let request = pairwise_plugin_api::ops::WriteRequest {
        principal: lee(),
        writes: vec![create("KEY2", &[("surname", "Hopper")])],
        ..Default::default()
    };
    let failure = world.outlook.write(&world.cx, request).unwrap_err();
    assert_eq!((failure.class, failure.certainty), (Class::Transient, Certainty::Unknown));
}

#[test]
fn requests_of_one_mailbox_stay_within_its_row() {
    let world = World::of(5);
    let slow = Fault { delay_ms: 20, times: Some(0), ..Fault::default() };
    world.sandbox.fault("outlook", slow);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| world.changes("contact", &Scope::new(), None).unwrap().records.len()))
            .collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 5));
    });
    let most = world.requests(0).iter().filter(|entry| entry.user.is_some()).map(|entry| entry.in_flight).max();
    assert!(most.is_some_and(|most| most <= 4), "{most:?}");
}

#[test]
fn a_person_signs_in_on_another_device() {
    let world = World::with(1, |settings| settings["sign_in"] = json!("delegated"));
    let login = |secrets: &[(&str, &str)]| {
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let request = LoginRequest { principal: lee(), secrets: secrets.collect() };
        world.outlook.login(&world.cx, request).unwrap()
    };
    let begun = login(&[(INTERACTIVE, "")]).ask.unwrap();
    assert!(begun.text.contains("enter the code") && begun.wait_ms > 0, "{begun:?}");
    let code = begun.secrets["device_code"].as_str();
    assert!(!format!("{begun:?}").contains(code));
    let pending = login(&[(INTERACTIVE, ""), ("device_code", code)]);
    assert!(pending.keep.is_empty() && pending.ask.is_some_and(|ask| ask.text.is_empty()));
    world.command("approve_device", json!({ "user": LEE }));
    let done = login(&[(INTERACTIVE, ""), ("device_code", code)]);
    assert!(done.ask.is_none());
    world.log_in(&[("refresh_token", &done.keep["refresh_token"])]).unwrap();
    assert_eq!(world.changes("contact", &Scope::new(), None).unwrap().records.len(), 1);
}
