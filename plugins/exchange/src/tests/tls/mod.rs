//! The server behind TLS: an entrance that hands each connection on, with a certificate of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;

/// SHA-384 of `server.pem` in DER, by `sha384sum`: its signature has that hash.
const HASH: &str = "3974bdc09c3658e5b3b6c61ae7e41d063dd9223fcea474e7943054c82e83b195f88ccde290c3a409919471e96f110387";

/// Opens an entrance to a port of this machine; its own port.
fn entrance(to: u16) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for outside in listener.incoming().map_while(Result::ok) {
            let inside = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || hand_on(&outside, &inside, &Mutex::new(tls)));
        }
    });
    port
}

/// Carries bytes both ways until one side has enough.
fn hand_on(outside: &TcpStream, inside: &TcpStream, tls: &Mutex<ServerConnection>) {
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut bytes, mut inside, mut outside) = ([0; 16 * 1024], inside, outside);
            while let Ok(count @ 1..) = inside.read(&mut bytes) {
                let mut tls = tls.lock().unwrap();
                tls.writer().write_all(&bytes[..count]).unwrap();
                while tls.wants_write() && tls.write_tls(&mut outside).is_ok_and(|count| count > 0) {}
            }
            let _ = outside.shutdown(Shutdown::Both);
        });
        let (mut bytes, mut inside, mut outside) = ([0; 16 * 1024], inside, outside);
        while let Ok(count @ 1..) = outside.read(&mut bytes) {
            let mut tls = tls.lock().unwrap();
            let mut came = &bytes[..count];
            let mut plain = Vec::new();
            let mut fine = true;
            while !came.is_empty() && fine {
                fine = tls.read_tls(&mut came).is_ok() && tls.process_new_packets().is_ok();
                let _ = tls.reader().read_to_end(&mut plain);
            }
            while tls.wants_write() && tls.write_tls(&mut outside).is_ok_and(|count| count > 0) {}
            if !fine || inside.write_all(&plain).is_err() {
                break;
            }
        }
        let _ = inside.shutdown(Shutdown::Both);
    });
}

/// A server whose NTLM logins must be bound to its certificate, and the connector to it.
fn protected(settings: Json) -> Stage {
    let mut stage = Stage::new(3);
    stage.command("auth", json!({ "basic": false }));
    stage.command("extended_protection", json!({ "hash": HASH }));
    let base = stage.sandbox.info("exchange").base_url;
    let port = entrance(base.rsplit_once(':').unwrap().1.parse().unwrap());
    let mut all = json!({ "url": format!("https://localhost:{port}/EWS/Exchange.asmx"), "auth": "ntlm",
                          "ca_file": concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/tls/ca.pem") });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    stage.exchange = connect(&stage.sandbox, &all, "svc-secret");
    stage
}

#[test]
fn logins_are_bound_to_the_servers_certificate() {
    let stage = protected(json!({}));
    assert_eq!(records(&stage.changes("contact", None)).len(), 3);
    stage.command("extended_protection", json!({ "hash": "00" }));
    let stage = Stage { exchange: connect_again(&stage), ..stage };
    let refused = stage.changes_of(request("contact", None)).unwrap_err();
    assert!(refused.class == Class::Auth && refused.text.contains("Extended Protection"), "{refused}");
}

/// The same settings, and no connection yet.
fn connect_again(stage: &Stage) -> Exchange {
    let settings =
        json!({ "url": stage.exchange.config.url, "auth": "ntlm", "ca_file": stage.exchange.config.ca_file });
    connect(&stage.sandbox, &settings, "svc-secret")
}

#[test]
fn without_the_binding_a_protected_server_refuses() {
    let stage = protected(json!({ "channel_binding": false }));
    let refused = stage.changes_of(request("contact", None)).unwrap_err();
    assert!(refused.class == Class::Auth && refused.text.contains("Extended Protection"), "{refused}");
    // One that does not demand it takes both.
    stage.command("extended_protection", json!({}));
    let stage = Stage { exchange: connect_again(&stage), ..stage };
    assert_eq!(records(&stage.changes("contact", None)).len(), 3);
}

/// A proxy carries the connection, and not the login.
#[test]
fn the_certificate_is_seen_through_a_proxy() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}", proxy.local_addr().unwrap());
    thread::spawn(move || {
        for mut client in proxy.incoming().map_while(Result::ok) {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count > 0) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let Ok(server) = TcpStream::connect(head.split(' ').nth(1).unwrap_or_default()) else { continue };
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    let stage = protected(json!({ "proxy": place }));
    assert_eq!(records(&stage.changes("contact", None)).len(), 3);
}
