//! What goes wrong, and what the host hears of it.

use super::*;

fn check(exchange: &Exchange, mailbox: &str) -> Result<Vec<String>, Failure> {
    let request = CheckRequest {
        principal: Principal(mailbox.into()),
        entities: vec!["contact".into()],
        write: true,
        ..CheckRequest::default()
    };
    let conditions = exchange.check(&Context::detached(), request)?;
    Ok(conditions.into_iter().map(|condition| condition.text).collect())
}

#[test]
fn each_mistake_has_its_own_message() {
    let stage = Stage::new(0);
    assert_eq!(check(&stage.exchange, LEE).unwrap(), Vec::<String>::new());
    assert!(check(&stage.exchange, "").unwrap()[0].contains("mailbox"), "the account itself has none");
    let nobody = check(&stage.exchange, "nobody@example.com").unwrap();
    assert!(nobody[0].contains("no mailbox nobody@example.com"), "{nobody:?}");
    stage.command("impersonation", json!({ "user": LEE, "allowed": false }));
    let denied = check(&stage.exchange, LEE).unwrap();
    assert!(denied[0].contains("ApplicationImpersonation"), "{denied:?}");
    assert!(check(&stage.exchange, KIM).unwrap().is_empty(), "one mailbox's denial is its own");
    stage.command("lose_mailbox", json!({ "user": KIM }));
    assert!(check(&stage.exchange, KIM).unwrap()[0].contains("moved to the cloud"));

    let settings = json!({ "auth": "basic" });
    let wrong = connect(&stage.sandbox, &settings, "not the password");
    let failure = check(&wrong, LEE).unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert!(!failure.text.contains("not the password"), "{failure}");
    let since = stage.now();
    assert_eq!(check(&wrong, KIM).unwrap_err().class, Class::Auth);
    assert!(stage.asked(since).is_empty(), "a refused login is not tried for each mailbox");

    let base = stage.sandbox.info("exchange").base_url;
    let elsewhere = connect(&stage.sandbox, &json!({ "auth": "basic", "url": format!("{base}/owa") }), "svc-secret");
    let failure = check(&elsewhere, LEE).unwrap_err();
    assert_eq!((failure.class, failure.setting.as_deref()), (Class::Config, Some("url")));
    let old = connect(&stage.sandbox, &json!({ "auth": "basic", "server_version": "Exchange2019" }), "svc-secret");
    let failure = check(&old, KIM).unwrap_err();
    assert_eq!((failure.class, failure.setting.as_deref()), (Class::Config, Some("server_version")));
}

#[test]
fn ntlm_logs_a_connection_in_and_not_each_request() {
    let stage = Stage::with(5, &json!({}));
    stage.command("auth", json!({ "basic": false, "ntlm": true }));
    assert!(check(&stage.exchange, LEE).unwrap().is_empty());
    // The first message of NTLM asks what the server takes; then the request itself.
    let statuses = |since| stage.asked(since).into_iter().map(|entry| entry.status.unwrap()).collect::<Vec<_>>();
    assert_eq!(statuses(0), [401, 200]);
    let since = stage.now();
    assert_eq!(records(&stage.changes("contact", None)).len(), 5);
    assert_eq!(statuses(since), [200, 200], "the connection is known");
    let wrong = connect(&stage.sandbox, &json!({ "auth": "ntlm" }), "wrong");
    assert_eq!(check(&wrong, LEE).unwrap_err().class, Class::Auth);
}

#[test]
fn a_server_that_stumbles_over_a_handshake_still_takes_ntlm() {
    let stage = Stage::with(1, &json!({ "auth": "ntlm" }));
    stage.command("auth", json!({ "basic": false, "ntlm": true }));
    for (fault, class) in [
        (json!({ "status": 503 }), Class::Transient),
        (json!({ "status": 429 }), Class::Throttled),
        (json!({ "code": "ErrorServerBusy", "retry_after": 1 }), Class::Throttled),
        (json!({ "drop_connection": true, "after_effect": true }), Class::Transient),
    ] {
        stage.fault(fault.clone());
        let failure = check(&stage.exchange, LEE).unwrap_err();
        assert_eq!((failure.class, failure.certainty), (class, Certainty::NotSent), "{fault}: {failure}");
    }
    assert!(check(&stage.exchange, LEE).unwrap().is_empty());
    stage.command("auth", json!({ "basic": true, "ntlm": false }));
    let never = connect(&stage.sandbox, &json!({ "auth": "ntlm" }), "svc-secret");
    assert_eq!(check(&never, LEE).unwrap_err().class, Class::Config, "there is no NTLM at all");
}

#[test]
fn a_busy_server_is_left_alone_as_long_as_it_asks() {
    let stage = Stage::new(2);
    stage.fault(json!({ "match": { "operation": "SyncFolderItems" }, "code": "ErrorServerBusy", "retry_after": 0 }));
    assert_eq!(records(&stage.changes("contact", None)).len(), 2, "a short pause is waited out");
    stage.fault(json!({ "match": { "operation": "SyncFolderItems" }, "code": "ErrorServerBusy", "retry_after": 90 }));
    let failure = stage.changes_of(request("contact", None)).unwrap_err();
    assert_eq!((failure.class, failure.retry_after_ms), (Class::Throttled, Some(90_000)));
    let since = stage.now();
    assert_eq!(stage.changes_of(request("contact", None)).unwrap_err().class, Class::Throttled);
    assert!(stage.asked(since).is_empty(), "all calls wait");
}

#[test]
fn a_lost_answer_leaves_a_doubt_that_the_key_settles() {
    let stage = Stage::new(0);
    stage.fault(json!({ "match": { "operation": "CreateItem" }, "drop_connection": true, "after_effect": true }));
    let write = create("contact", "KEY1", &[("Surname", "Once".into())]);
    let request = WriteRequest { principal: Principal(LEE.into()), writes: vec![write], ..WriteRequest::default() };
    let failure = stage.exchange.write(&stage.cx, request).unwrap_err();
    assert_eq!(failure.certainty, pairwise_plugin_api::Certainty::Unknown);
    assert_eq!(stage.find("contact", &[], &["KEY1"])[0].len(), 1);
}

#[test]
fn one_item_that_cannot_be_read_does_not_take_the_others_with_it() {
    let stage = Stage::new(3);
    let broken = stage.items("contact")[1].id.clone();
    stage.edit("contact", Some(&broken), json!({ "Unreadable": "yes" }), None);
    let page = stage.changes("contact", None);
    let unreadable: Vec<_> = records(&page).into_iter().filter(|record| !record.conditions.is_empty()).collect();
    assert_eq!((records(&page).len(), unreadable.len(), unreadable[0].at.id == broken), (3, 1, true));
    // A whole batch that the server stumbles over is asked for in parts.
    stage.fault(json!({ "match": { "operation": "GetItem" }, "code": "ErrorInternalServerError" }));
    assert_eq!(records(&stage.changes("contact", None)).len(), 3);
}

#[test]
fn a_server_that_is_out_of_order_says_nothing_of_its_items() {
    let stage = Stage::new(3);
    for fault in
        [json!({ "status": 503 }), json!({ "drop_connection": true }), json!({ "code": "ErrorInternalServerError" })]
    {
        let mut fault = fault;
        fault["match"] = json!({ "operation": "GetItem" });
        fault["times"] = json!(0);
        stage.fault(fault);
        assert_eq!(stage.changes_of(request("contact", None)).unwrap_err().class, Class::Transient);
        stage.sandbox.core("exchange").faults().clear();
    }
}

#[test]
fn what_a_field_cannot_hold_is_refused_by_name() {
    let stage = Stage::new(0);
    let long = "x".repeat(300);
    let writes = vec![
        create("contact", "K1", &[("CompanyName", long.as_str().into())]),
        create("contact", "K2", &[("Surname", "Fine".into())]),
        create("contact", "K3", &[("Birthday", "no day".into())]),
        create("contact", "K4", &[("Shoesize", "44".into()), ("Surname", "Fine".into())]),
    ];
    let outcomes = stage.write(writes);
    let told: Vec<_> =
        outcomes.iter().map(|outcome| (outcome.status, outcome.code.as_str(), outcome.field.as_deref())).collect();
    assert_eq!(told[0], (Status::Refused, "data_size_limit_exceeded", Some("CompanyName")));
    assert_eq!((told[1].0, told[2]), (Status::Applied, (Status::Refused, "no_date", Some("Birthday"))));
    assert_eq!((told[3].0, &*outcomes[3].refused_fields[0]), (Status::Applied, "Shoesize"));
}

#[test]
fn people_may_log_in_by_themselves() {
    let stage = Stage::new(2);
    stage.command("impersonation", json!({ "allowed": false }));
    assert!(!check(&stage.exchange, KIM).unwrap().is_empty());
    let login = |exchange: &Exchange, principal: &str, secrets: &[(&str, &str)]| {
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        exchange.login(&stage.cx, LoginRequest { principal: Principal(principal.into()), secrets }).unwrap();
    };
    // The password of the connection is handed to its mailboxes, and makes no login of their own.
    login(&stage.exchange, LEE, &[("password", "svc-secret")]);
    assert!(!check(&stage.exchange, LEE).unwrap().is_empty());
    login(&stage.exchange, KIM, &[("username", "EXAMPLE\\kim"), ("password", "kim-secret")]);
    let since = stage.now();
    assert!(check(&stage.exchange, KIM).unwrap().is_empty());
    assert!(!stage.asked(since)[0].body.contains("ExchangeImpersonation"));
    login(&stage.exchange, KIM, &[("username", "EXAMPLE\\kim"), ("password", "wrong")]);
    assert_eq!(check(&stage.exchange, KIM).unwrap_err().class, Class::Auth);
    let own = connect(&stage.sandbox, &json!({ "auth": "basic", "access": "own" }), "svc-secret");
    login(&own, KIM, &[("password", "kim-secret")]);
    assert!(check(&own, KIM).unwrap().is_empty());
}

#[test]
fn batches_that_take_too_long_get_smaller() {
    let stage = Stage::new(0);
    let writes = |from: u32| {
        (from..from + 40).map(|number| create("contact", &format!("K{number}"), &[("Surname", "S".into())])).collect()
    };
    stage.write(writes(0));
    let mut at: Vec<RecordRef> =
        stage.changes("contact", None).changes.into_iter().map(|change| change.record.unwrap().at).collect();
    at.truncate(40);
    stage.fault(json!({ "match": { "operation": "GetItem" }, "code": "ErrorTimeoutExpired" }));
    let request = GetRequest { principal: Principal(LEE.into()), at, ..GetRequest::default() };
    let since = stage.now();
    assert!(stage.exchange.get(&stage.cx, request.clone()).unwrap().iter().all(|found| found.record.is_some()));
    assert_eq!(stage.operations(since).len(), 3, "one that took too long, two halves");
    let since = stage.now();
    stage.exchange.get(&stage.cx, request).unwrap();
    assert_eq!(stage.operations(since).len(), 2, "and so it stays");
}

/// Whoever runs the server finds each call in its records, and the server's answers say which call they are to.
#[test]
fn each_request_bears_an_id() {
    let stage = Stage::with(1, &json!({}));
    stage.command("auth", json!({ "basic": false, "ntlm": true }));
    assert_eq!(records(&stage.changes("contact", None)).len(), 1);
    let asked = stage.asked(0);
    let mut ids: Vec<&str> = asked.iter().map(|entry| entry.headers["client-request-id"].as_str()).collect();
    assert!(asked.iter().all(|entry| entry.headers["return-client-request-id"] == "true"));
    assert!(ids.len() > 2 && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), asked.len(), "each its own");

    let client = pairwise_http::Client::new(pairwise_http::Options::default()).unwrap();
    let post = |returns: &str| {
        let url = stage.sandbox.info("exchange").url;
        let request = pairwise_http::Request::post(url).identified().header("return-client-request-id", returns);
        let request = request.header("Authorization", "Basic c3ZjLXBhaXJ3aXNlOnN2Yy1zZWNyZXQ=");
        let answer = client.once(&stage.cx, &request).unwrap();
        (answer.header("client-request-id").map(str::to_owned), request.id().map(str::to_owned))
    };
    stage.command("auth", json!({ "basic": true }));
    let (told, asked) = post("true");
    assert!(told.is_some() && told == asked, "{told:?}");
    assert_eq!(post("false").0, None);
}

/// An application logs in by token, acts for the owners of mailboxes, and renews its token when it ends.
#[test]
fn an_application_logs_in_by_token() {
    let stage = Stage::new(4);
    stage.command("auth", json!({ "basic": false, "ntlm": false, "oauth": true }));
    let base = stage.sandbox.info("exchange").base_url;
    let with = |change: Json, secret: &str| {
        let mut settings = json!({ "auth": "oauth", "url": format!("{base}/EWS/Exchange.asmx"),
            "client_id": "0f0c8a52-6a1e-4c86-9d2b-5a1c9a3b7e44", "token_url": format!("{base}/adfs/oauth2/token") });
        settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let exchange = Exchange::create(serde_json::from_value(settings).unwrap(), &Context::detached())?;
        let secrets = [("client_secret".to_owned(), secret.to_owned())].into();
        exchange.login(&Context::detached(), LoginRequest { principal: Principal::connection(), secrets })?;
        Ok::<_, Failure>(exchange)
    };
    let exchange = with(json!({}), "app-secret").unwrap();
    assert!(exchange.validate(&stage.cx).unwrap().is_empty());
    let since = stage.now();
    for mailbox in [LEE, KIM] {
        assert_eq!(check(&exchange, mailbox).unwrap(), Vec::<String>::new());
    }
    assert_eq!(stage.operations(since), ["token", "GetFolder", "GetFolder"]);
    let page = exchange.changes(&stage.cx, request("contact", None)).unwrap();
    assert_eq!(records(&page).len(), 4);
    stage.command("end_tokens", json!({}));
    let since = stage.now();
    check(&exchange, LEE).unwrap();
    assert_eq!(stage.operations(since), ["GetFolder", "token", "GetFolder"]);

    let denied = check(&with(json!({}), "wrong-secret").unwrap(), LEE).unwrap_err();
    assert!(denied.class == Class::Auth && denied.text.contains("`client_secret`"), "{denied}");
    assert!(!denied.text.contains("wrong-secret"), "{denied}");
    let elsewhere =
        check(&with(json!({ "token_url": format!("{base}/nowhere") }), "app-secret").unwrap(), LEE).unwrap_err();
    assert_eq!((elsewhere.class, elsewhere.setting.as_deref()), (Class::Config, Some("token_url")));
    let scope = check(&with(json!({ "scope": "https://else/.default" }), "app-secret").unwrap(), LEE).unwrap_err();
    assert_eq!((scope.class, scope.setting.as_deref()), (Class::Config, Some("scope")));
    assert_eq!(with(json!({ "client_id": null }), "").unwrap_err().setting.as_deref(), Some("client_id"));
    let own = with(json!({ "access": "own" }), "app-secret").unwrap().validate(&stage.cx).unwrap();
    assert_eq!(own[0].setting, "access");
    // A server that takes no tokens.
    stage.command("auth", json!({}));
    let refused = check(&exchange, LEE).unwrap_err();
    assert!(refused.class == Class::Auth && refused.text.contains("takes no tokens"), "{refused}");
}
