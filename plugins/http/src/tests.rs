//! The client against a server of a few lines that answers by a script.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pairwise_plugin_api::{Certainty, Class, Context};

use crate::{Client, Effect, Gate, Method, Options, Patience, Request, Secrets, base_url, shown};

/// A server that gives one answer after the other, and keeps what it was asked. An empty answer closes the connection.
struct Server {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn saying(answers: &[&str]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = hear(&mut stream) {
                    keep.lock().unwrap().push(request);
                    let answer = answers.next().unwrap_or_default();
                    if answer.is_empty() {
                        break;
                    }
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        Server { url, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn hear(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        request += &line;
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(request + &String::from_utf8(body).unwrap())
}

fn says(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn client() -> Client {
    let patience =
        Patience { tries: 3, pause: Duration::from_millis(1), longest: Duration::from_secs(2), ..Patience::default() };
    Client::new(Options { patience, ..Options::default() }).unwrap()
}

#[test]
fn an_answer_comes_back_whole_over_one_connection() {
    let one = says("200 OK", "ETag: \"7\"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "first");
    let server = Server::saying(&[&one, &says("204 No Content", "", "")]);
    let client = client();
    let answer = client.send(&Context::detached(), &Request::get(format!("{}/a", server.url))).unwrap();
    assert_eq!((answer.status, answer.header("etag"), &*answer.text()), (200, Some("\"7\""), "first"));
    assert_eq!(answer.server_time(), Some(784_111_777_000));
    let form = Request::post(format!("{}/b", server.url)).form([("a", "1 &"), ("b", "ü")]);
    assert!(client.send(&Context::detached(), &form).unwrap().is_success());
    let heard = server.heard();
    assert!(heard[0].starts_with("GET /a HTTP/1.1\r\n") && heard[0].contains("Pairwise/"), "{}", heard[0]);
    assert!(heard[1].ends_with("\r\n\r\na=1+%26&b=%C3%BC"), "{}", heard[1]);
}

#[test]
fn a_busy_server_is_asked_again_after_its_own_pause() {
    let busy = says("429 Too Many Requests", "Retry-After: 1\r\n", "");
    let server = Server::saying(&[&busy, &says("201 Created", "", "x")]);
    let begun = std::time::Instant::now();
    let answer = client().send(&Context::detached(), &Request::post(&server.url).body("text/plain", "x")).unwrap();
    assert_eq!((answer.status, server.heard().len()), (201, 2));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_server_that_wants_much_time_gets_it_from_the_host() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:51:37 GMT\r\n";
    let server = Server::saying(&[&says("429 Too Many Requests", date, "{}")]);
    let answer = client().send(&Context::detached(), &Request::get(&server.url)).unwrap();
    let failure = answer.failure("reading");
    assert_eq!((failure.class, failure.retry_after_ms), (Class::Throttled, Some(120_000)));
    assert_eq!((failure.certainty, server.heard().len()), (Certainty::NotSent, 1));
}

#[test]
fn only_what_may_be_repeated_is_repeated() {
    let down = says("502 Bad Gateway", "", "");
    let tries = |request: fn(String) -> Request| {
        let server = Server::saying(&[&down, "", &down, &down]);
        let got = client().send(&Context::detached(), &request(server.url.clone()));
        let failure = got.map_or_else(|failure| failure, |answer| answer.failure("writing"));
        (server.heard().len(), failure.class, failure.certainty)
    };
    let body = |request: Request| request.body("text/plain", "x");
    assert_eq!(tries(Request::get), (3, Class::Transient, Certainty::NotSent));
    assert_eq!(tries(|url| Request::new(Method::Delete, url)), (3, Class::Transient, Certainty::Unknown));
    assert_eq!(tries(|url| Request::post(url).body("text/plain", "x")), (1, Class::Transient, Certainty::Unknown));
    let server = Server::saying(&[""]);
    let lost = client().send(&Context::detached(), &body(Request::post(&server.url))).unwrap_err();
    assert_eq!((lost.class, lost.certainty, server.heard().len()), (Class::Transient, Certainty::Unknown, 1));
    assert!(lost.text.contains("closed the connection"), "{lost}");
}

#[test]
fn a_server_that_is_not_there_was_certainly_not_asked() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let request = Request::post(format!("http://127.0.0.1:{port}/x?token=secret")).body("text/plain", "x");
    let failure = client().send(&Context::detached(), &request).unwrap_err();
    assert_eq!((failure.class, failure.certainty), (Class::Transient, Certainty::NotSent));
    assert!(failure.text.starts_with(&format!("http://127.0.0.1:{port}/x cannot be reached")), "{failure}");
    let nobody = Request::get("http://nobody.invalid/");
    let failure = client().once(&Context::detached(), &nobody.effect(Effect::Once)).unwrap_err();
    assert!(failure.text.contains("no server of this name") && failure.certainty == Certainty::NotSent, "{failure}");
}

#[test]
fn an_answer_may_be_late_or_too_large() {
    let large = says("200 OK", "", &"x".repeat(2000));
    let server = Server::saying(&[&large, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxx"]);
    let options = Options { max_body: 1000, patience: Patience::NONE, ..Options::default() };
    let client = Client::new(options).unwrap();
    let failure = client.send(&Context::detached(), &Request::get(&server.url)).unwrap_err();
    assert_eq!(failure.class, Class::Refused);
    let late = Request::new(Method::Put, &server.url).body("text/plain", "x").timeout(Duration::from_millis(50));
    let failure = client.send(&Context::detached(), &late).unwrap_err();
    assert_eq!((failure.class, failure.certainty), (Class::Transient, Certainty::Unknown));
    assert!(failure.text.contains("in time"), "{failure}");
}

#[test]
fn statuses_have_their_classes() {
    let class = |status: &str, body: &str| {
        let server = Server::saying(&[&says(status, "", body)]);
        let client = Client::new(Options { patience: Patience::NONE, ..Options::default() }).unwrap();
        let answer = client.send(&Context::detached(), &Request::get(format!("{}/c?q", server.url))).unwrap();
        let failure = answer.failure("reading the contacts");
        (failure.class, failure.text.replace(&server.url, ""))
    };
    assert_eq!(class("401 Unauthorized", "<html>").0, Class::Auth);
    assert_eq!(class("404 Not Found", "").1, "reading the contacts: GET /c answered 404 Not Found");
    assert_eq!(class("302 Found", "").0, Class::Config);
    assert_eq!(class("403 Forbidden", "no\n right").1, "reading the contacts: GET /c answered 403 Forbidden: no right");
    assert_eq!(class("501 Not Implemented", "").0, Class::Refused);
    assert_eq!(class("503 Service Unavailable", "").0, Class::Transient);
}

#[test]
fn addresses_are_looked_at_before_they_are_used() {
    assert_eq!(base_url("url", " https://crm.example.com/sdata/ ").unwrap(), "https://crm.example.com/sdata");
    let refused = |text: &str| {
        let failure = base_url("url", text).unwrap_err();
        assert_eq!((failure.class, failure.setting.as_deref()), (Class::Config, Some("url")));
        failure.text
    };
    assert!(refused("crm.example.com").contains("no `https://`"));
    assert!(refused("ftp://crm").contains("`ftp`"));
    let login = refused("https://lee:pass@crm/x?key=hush");
    assert!(login.contains("secrets") && !login.contains("pass@") && !login.contains("hush"), "{login}");
    assert_eq!(shown("https://a:b@c.d/e?f=g#h"), "https://c.d/e");
}

#[test]
fn secrets_are_taken_out_of_texts() {
    let secrets = Secrets::default();
    for secret in ["", "abc", "longer-secret", "longer-secret-still"] {
        secrets.add(secret);
    }
    assert_eq!(secrets.hide("abc abcd (abc) longer-secret-still!"), "… abcd (…) …!");
    secrets.forget("abc");
    assert_eq!(secrets.hide("abc"), "abc");
    assert_eq!(format!("{secrets:?}"), "Secrets(2)");
}

#[test]
fn a_gate_lets_so_many_through() {
    let (gate, cx) = (Gate::new(4), Context::detached());
    let three = gate.pass(&cx, "lee", 3).unwrap();
    let _other = gate.pass(&cx, "kim", 20).unwrap();
    let one = gate.pass(&cx, "lee", 1).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| gate.pass(&cx, "lee", 4).is_ok());
        drop((three, one));
        assert!(waiting.join().unwrap());
    });
    assert!(gate.pass(&cx, "lee", 4).is_ok());
}

#[test]
fn a_file_of_certificates_must_hold_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let refused = || {
        let options = Options { ca_file: Some(file.clone()), ..Options::default() };
        let failure = Client::new(options).unwrap_err();
        assert_eq!(failure.setting.as_deref(), Some("ca_file"));
        failure.text
    };
    assert!(refused().contains("ca.pem"));
    std::fs::write(&file, "nothing").unwrap();
    assert!(refused().contains("BEGIN CERTIFICATE"));
}

#[test]
fn what_a_request_does_follows_from_its_method() {
    assert_eq!(Request::post("x").effect, Effect::Once);
    assert_eq!(Request::post("x").reads().effect, Effect::None);
    assert_eq!(Request::new(Method::Put, "x").effect, Effect::Repeatable);
    let request = Request::get("https://h/p?secret").header("Authorization", "Bearer x");
    assert_eq!(format!("{request:?}"), "GET https://h/p");
}
