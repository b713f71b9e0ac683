//! What an error on the way means: whether the request was sent, what to tell people, what helps.

use std::io;

use pairwise_plugin_api::{Certainty, Class, Failure};
use ureq::{Error, Timeout};

use crate::request::{Effect, Request};
use crate::shown;

/// The failure of a request that got no answer. `started` says that its body was asked for.
pub(crate) fn failure(error: &Error, request: &Request, started: bool) -> Failure {
    let at = shown(&request.url);
    let (class, text) = match error {
        Error::HostNotFound => (Class::Transient, unknown_name(&at)),
        Error::ConnectionFailed => (Class::Transient, format!("{at} cannot be reached: no connection could be made")),
        Error::Timeout(timeout) => (Class::Transient, format!("{at} {}", lateness(*timeout))),
        Error::BadUri(_) | Error::Http(_) => {
            (Class::Config, format!("{at}: this request cannot be written down: {error}"))
        }
        Error::Io(error) => io_text(&at, error),
        Error::Rustls(_) | Error::Tls(_) | Error::TlsRequired => (Class::Config, tls_text(&at, &error.to_string())),
        Error::InvalidProxyUrl => (Class::Config, "the address of the proxy is not one".to_owned()),
        Error::ConnectProxyFailed(text) => {
            (Class::Transient, format!("{at} cannot be reached: the proxy answered {text}"))
        }
        Error::BodyExceedsLimit(limit) => {
            (Class::Refused, format!("{at}: the answer is larger than {} MiB, which no answer should be", limit >> 20))
        }
        other => (Class::Transient, format!("{at}: the answer could not be read: {other}")),
    };
    let mut failure = Failure::new(class, text);
    failure.certainty = certainty(error, request, started);
    failure
}

/// Whether the request may have had an effect although no answer came.
fn certainty(error: &Error, request: &Request, started: bool) -> Certainty {
    let before_sending = match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::BadUri(_)
        | Error::Http(_)
        | Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | Error::InvalidProxyUrl
        | Error::ConnectProxyFailed(_)
        | Error::TlsRequired => true,
        Error::Io(error) => {
            error.kind() == io::ErrorKind::ConnectionRefused || is_certificate(error) || is_lookup(error)
        }
        _ => false,
    };
    // A body that nobody asked for has not been sent, and such a request is nothing without it.
    let unsent = request.body.is_some() && !started;
    if request.effect == Effect::None || before_sending || unsent { Certainty::NotSent } else { Certainty::Unknown }
}

fn lateness(timeout: Timeout) -> &'static str {
    match timeout {
        Timeout::Resolve => "cannot be reached: the name service did not answer in time",
        Timeout::Connect => "cannot be reached: it did not take the connection in time",
        _ => "did not answer in time",
    }
}

fn io_text(at: &str, error: &io::Error) -> (Class, String) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (Class::Transient, format!("{at} cannot be reached: the server takes no connections on this port"))
        }
        io::ErrorKind::PermissionDenied => (
            Class::Config,
            format!("{at} may not be reached from here: its port is not one that this connection's settings name"),
        ),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            (Class::Transient, format!("{at}: the server closed the connection before it had answered"))
        }
        _ if is_lookup(error) => (Class::Transient, unknown_name(at)),
        _ if is_certificate(error) => (Class::Config, tls_text(at, &error.to_string())),
        _ => (Class::Transient, format!("{at} cannot be reached: {error}")),
    }
}

fn unknown_name(at: &str) -> String {
    format!("{at}: no server of this name was found; check the name in the address and the name service")
}

/// What the standard library says when the name service has no answer; it has no kind of its own for that.
fn is_lookup(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address")
}

/// A certificate is looked at before anything is sent.
fn is_certificate(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("certificate")
}

fn tls_text(at: &str, error: &str) -> String {
    format!(
        "{at}: the server's certificate is not trusted ({error}); if your organisation issues its own certificates, name the \
         file with its root certificate in `ca_file`"
    )
}
