//! What an administrator meets: logins, addresses, versions, rights, slow and broken servers.

use pairwise_plugin_api::{Certainty, Class, Status};
use pairwise_sandbox::faults::{Fault, Match};

use super::*;

/// The check of the connection alone, as `connection check` makes it.
fn visit(world: &World) -> Result<Vec<String>> {
    let request = CheckRequest { principal: lee(), ..CheckRequest::default() };
    Ok(world.crm.check(&world.cx, request)?.into_iter().map(|condition| condition.text).collect())
}

#[test]
fn a_good_connection_says_what_answers() {
    for (edition, told) in [("8.1", "Infor CRM 8.1.0"), ("8.0", "Infor CRM 8.0.0"), ("7.5.4", "Infor CRM 7.5.4")] {
        let world = World::of(1);
        world.server(json!({ "edition": edition }));
        let text = visit(&world).unwrap().join("\n");
        assert!(text.starts_with(told) && text.contains("`lee`"), "{edition}: {text}");
    }
}

#[test]
fn both_ways_to_log_in_work() {
    for (auth, login) in
        [("basic", "basic"), ("digest", "auto"), ("digest", "digest"), ("both", "basic"), ("both", "auto")]
    {
        let world = World::with(1, json!({ "login": login }));
        world.server(json!({ "auth": auth }));
        assert!(visit(&world).is_ok(), "{auth} {login}");
        // The number of a digest runs out.
        world.sandbox.advance(std::time::Duration::from_secs(3_600));
        assert!(visit(&world).is_ok(), "{auth} {login} later");
    }
}

/// On the web client's path its cookie goes in the place of the login, until the session is over.
#[test]
fn the_web_client_knows_who_has_logged_in() {
    for cookie in [true, false] {
        let world = World::of(5);
        world.server(json!({ "cookie": cookie }));
        let web = format!("{}/slxclient/slxdata.ashx", world.sandbox.info(CRM).base_url);
        let world = World { crm: connect(&web, json!({})), ..world };
        world.log_in("lee", "lee-secret");
        assert!(visit(&world).is_ok());
        assert_eq!(world.pull(&in_group(), "contacts", None).unwrap().0.len(), 5);
        let logins = |since: u64| {
            let asked = world.sandbox.requests(CRM, since);
            asked.iter().filter(|request| request.user.is_some() && request.status == Some(200)).count()
        };
        assert_eq!(logins(0) == 1, cookie, "{} requests with a login", logins(0));
        world.command("end_sessions", json!({}));
        let before = world.sandbox.core(CRM).journal().last();
        assert_eq!(world.pull(&in_group(), "contacts", None).unwrap().0.len(), 5);
        assert_eq!(logins(before) == 1, cookie, "{} requests with a login", logins(before));

        // Where a form is all that counts, the way that is left is told.
        world.server(json!({ "forms": true }));
        let told = failure(visit(&world));
        assert_eq!((told.class, told.setting.as_deref()), (Class::Config, Some("url")), "{told}");
        assert!(told.text.contains("give the site alone"), "{told}");
    }
}

/// IC-10: each person's own login.
#[test]
fn rule_ic_10_each_principal_has_its_own_login() {
    let world = World::of(5);
    world.log_in("kim", "kim-secret");
    let pull = |user: &str| {
        let request = ChangesRequest {
            principal: Principal(user.into()),
            scope: in_group(),
            entities: vec!["contacts".into()],
            limit: 100,
            ..ChangesRequest::default()
        };
        world.crm.changes(&world.cx, request).unwrap().changes
    };
    assert_ne!(ids(&pull("lee")), ids(&pull("kim")));
    let requests = world.sandbox.requests(CRM, 0);
    assert!(requests.iter().all(|request| request.user.is_some() || request.status == Some(401)));
    assert!(["lee", "kim"].iter().all(|user| requests.iter().any(|request| request.user.as_deref() == Some(*user))));
}

#[test]
fn a_wrong_login_is_told_and_nothing_is_written() {
    let world = World::of(1);
    let told = |password: &str, change: Json| {
        world.log_in("lee", password);
        if !change.is_null() {
            world.command("user", change);
        }
        failure(visit(&world))
    };
    let wrong = told("nonsense-password", json!(null));
    assert_eq!(wrong.class, Class::Auth);
    assert!(wrong.text.contains("`lee`") && !wrong.text.contains("nonsense"), "{wrong}");
    let expired = told("lee-secret", json!({ "login": "lee", "expired": true }));
    assert_eq!(expired.class, Class::Auth);
    assert!(expired.text.contains("run out"), "{expired}");
    let no_right = told("lee-secret", json!({ "login": "lee", "expired": false, "sdata": false }));
    assert_eq!(no_right.class, Class::Auth);
    assert!(no_right.text.contains("no right"), "{no_right}");
    assert_eq!(failure(world.pull(&in_group(), "contacts", None)).class, Class::Auth);
    assert_eq!(world.writes(), [""; 0]);

    // Where only a readable password would do, none is sent.
    world.log_in("lee", "lee-secret");
    world.server(json!({ "auth": "basic" }));
    let readable = failure(visit(&world));
    assert!(readable.class == Class::Auth && readable.text.contains("https"), "{readable}");
}

/// AO-4: nothing at the address, or no SData there.
#[test]
fn a_wrong_address_is_told() {
    let world = World::of(1);
    let base = world.sandbox.info(CRM).base_url;
    let at = |url: &str| {
        let world = World { crm: connect(url, json!({})), cx: Context::detached(), sandbox: World::of(0).sandbox };
        world.log_in("lee", "lee-secret");
        failure(visit(&world))
    };
    let elsewhere = at(&format!("{base}/nowhere/sdata"));
    assert_eq!((elsewhere.class, elsewhere.setting.as_deref()), (Class::Config, Some("url")), "{elsewhere}");
    let nobody = at("http://127.0.0.1:9");
    assert_eq!((nobody.class, nobody.certainty), (Class::Transient, Certainty::NotSent));
    world.server(json!({ "off": true }));
    let off = failure(visit(&world));
    assert_eq!(off.class, Class::Config);
    assert!(off.text.contains("SData is not enabled at this address"), "{off}");
    // Every form of the address leads to the feeds.
    world.server(json!({ "off": false }));
    for form in ["", "/", "/sdata", "/sdata/slx/dynamic/-", "/slxclient/slxdata.ashx/slx/dynamic/-"] {
        let crm = connect(&format!("{base}{form}"), json!({}));
        let secrets = BTreeMap::from([("password".to_owned(), "lee-secret".to_owned())]);
        crm.login(&world.cx, LoginRequest { principal: lee(), secrets }).unwrap();
        let request = CheckRequest { principal: lee(), ..CheckRequest::default() };
        assert!(crm.check(&world.cx, request).is_ok(), "{form}");
    }
}

#[test]
fn an_unsupported_version_is_refused() {
    for edition in ["9.0", "7.5.2", "10.1"] {
        let world = World::of(1);
        world.server(json!({ "edition": edition }));
        let failure = failure(world.pull(&in_group(), "contacts", None));
        assert_eq!(failure.class, Class::Config, "{edition}: {failure}");
        assert!(failure.text.contains("7.5.4 and 8"), "{edition}: {failure}");
        assert_eq!(world.writes(), [""; 0]);
    }
    let world = World::with(1, json!({ "allow_unsupported": true }));
    world.server(json!({ "edition": "9.0" }));
    assert!(world.pull(&in_group(), "contacts", None).is_ok());
    let world = World::with(1, json!({ "edition": "7.5.4" }));
    let other = failure(world.pull(&in_group(), "contacts", None));
    assert_eq!(other.setting.as_deref(), Some("edition"));
}

/// IC-50: without its group nothing begins. AO-3: without rights, either.
#[test]
fn conditions_stand_in_the_way() {
    let world = World::of(1);
    let group = |name: &str| Scope::from([("group".to_owned(), Value::from(name))]);
    assert_eq!(world.check(group("Nobody's")).unwrap(), ["group_missing"]);
    assert_eq!(world.check(group("contact sync")).unwrap(), ["group_missing"], "names are exact");
    assert_eq!(world.check(Scope::from([("folder".to_owned(), "x".into())])).unwrap(), ["unknown_selector"]);
    world.server(json!({ "kinds_off": ["contacts"] }));
    assert_eq!(world.check(Scope::new()).unwrap(), ["entity_not_enabled"]);
    let lost = failure(world.pull(&group("Nobody's"), "contacts", None));
    assert!([Class::Config, Class::NotFound].contains(&lost.class), "{lost}");

    let world = World::with(1, json!({ "require_admin": true }));
    assert_eq!(world.check(in_group()).unwrap(), ["not_admin"]);
    assert_eq!(world.writes(), [""; 0]);
}

/// A server that asks for patience, and one that stumbles: reads are made again, writes only if that is safe.
#[test]
fn a_busy_server_is_asked_again() {
    let world = World::of(10);
    for fault in [
        Fault { status: Some(503), retry_after: Some(0), ..Fault::default() },
        Fault { drop_connection: true, ..Fault::default() },
    ] {
        let matching = Match { method: Some("GET".into()), ..Match::default() };
        world.sandbox.fault(CRM, Fault { matching, ..fault });
        assert_eq!(world.pull(&in_group(), "contacts", None).unwrap().0.len(), 10);
    }
    let later = Fault { status: Some(503), retry_after: Some(300), times: Some(0), ..Fault::default() };
    world.sandbox.fault(CRM, later);
    let failure = failure(world.pull(&in_group(), "contacts", None));
    assert_eq!((failure.class, failure.retry_after_ms), (Class::Transient, Some(300_000)));
}

/// A server error is not asked about again at once: it does not pass, or it does when the server is left alone.
#[test]
fn a_server_in_trouble_is_left_alone() {
    let world = World::with(10, json!({ "backoff_seconds": 2 }));
    let get = || Match { method: Some("GET".into()), ..Match::default() };
    let sees = || world.pull(&in_group(), "contacts", None).map(|(changes, _)| changes.len());
    sees().unwrap();
    let lasting = Fault { status: Some(500), message: Some("Object reference not set".into()), ..Fault::default() };
    world.sandbox.fault(CRM, Fault { matching: get(), ..lasting.clone() });
    let before = world.asked();
    let told = failure(sees());
    assert_eq!(
        (told.class, told.certainty, told.retry_after_ms),
        (Class::Protocol, Certainty::NotSent, None),
        "{told}"
    );
    assert_eq!(world.asked() - before, 1);

    // "We're sorry": nobody asks this site before the pause is over, whoever it is for.
    world.log_in("kim", "kim-secret");
    world.sandbox.fault(CRM, Fault { matching: get(), message: None, ..lasting.clone() });
    let (before, begun) = (world.asked(), std::time::Instant::now());
    let told = failure(sees());
    assert_eq!((told.class, told.retry_after_ms), (Class::Throttled, Some(2_000)), "{told}");
    assert_eq!(world.asked() - before, 1);
    let kim = CheckRequest { principal: Principal("kim".into()), ..CheckRequest::default() };
    world.crm.check(&world.cx, kim).unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(sees().unwrap(), 10);

    // A part of a batch says the same.
    let pair: Vec<Record> = world.members()[..2].iter().map(|id| world.get(id).unwrap()).collect();
    let matching = Match { method: Some("PUT".into()), ..Match::default() };
    let sorry = Some("We're sorry, you've encountered an error.".to_owned());
    world.sandbox.fault(CRM, Fault { matching, message: sorry, ..lasting.clone() });
    let begun = std::time::Instant::now();
    let writes = pair.iter().map(|record| update(record, fields([("Title", "Dr")]))).collect();
    let outcomes = world.write(&in_group(), writes).unwrap();
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Unknown, Status::Applied]);
    assert_eq!(sees().unwrap(), 10);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "{:?}", begun.elapsed());

    // As long as the server says; the host has other work meanwhile. Of a write nobody knows whether it was done.
    let record = world.get(&world.members()[0]).unwrap();
    let matching = Match { method: Some("PUT".into()), ..Match::default() };
    world.sandbox.fault(CRM, Fault { matching, message: None, retry_after: Some(300), ..lasting });
    assert_eq!(world.one(update(&record, fields([("Title", "Dr")]))).status, Status::Unknown);
    let before = world.asked();
    let told = failure(sees());
    assert!(told.class == Class::Throttled && told.retry_after_ms > Some(200_000), "{told:?}");
    assert_eq!(world.asked(), before, "nothing was sent");
}

/// Parts of a batch fail on their own.
#[test]
fn a_batch_fails_in_parts() {
    let world = World::of(4);
    let (changes, _) = world.pull(&in_group(), "contacts", None).unwrap();
    let records = upserts(&changes);
    for (status, outcome) in [(503, Status::Unknown), (429, Status::Throttled), (403, Status::Refused)] {
        let matching = Match { method: Some("PUT".into()), path: Some(records[1].at.id.clone()), ..Match::default() };
        world.sandbox.fault(CRM, Fault { matching, status: Some(status), ..Fault::default() });
        let now: Vec<Record> = records.iter().map(|record| world.get(&record.at.id).unwrap()).collect();
        let title = format!("Title {status}");
        let writes = now.iter().map(|record| update(record, fields([("Title", title.as_str())]))).collect();
        let outcomes = world.write(&in_group(), writes).unwrap();
        let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
        assert_eq!(statuses, [Status::Applied, outcome, Status::Applied, Status::Applied], "{status}");
    }
}

/// What a server says will pass is no refusal for good.
#[test]
fn a_transient_diagnosis_is_tried_again_later() {
    let diagnosis = json!({ "$diagnoses": [{ "severity": "Transient", "sdataCode": "ApplicationDiagnosis",
                                             "message": "try again" }], "$httpStatus": 409 });
    let done = crate::batch::done(serde_json::from_value(diagnosis).unwrap()).unwrap();
    assert_eq!((done.status, done.diagnosis.severity.as_str()), (409, "Transient"));
    assert_eq!(crate::write::of_diagnosis(&done).map(|outcome| outcome.status), Some(Status::NotSent));
}
