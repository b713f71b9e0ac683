//! The client: connections, time limits, repeats.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use pairwise_plugin_api::{Certainty, Class, Context, Failure, Result, tracing};
use ureq::http;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

use crate::answer::{Answer, Refusal};
use crate::request::{Effect, Request};
use crate::secrets::Secrets;
use crate::{shown, transport};

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// A file with further root certificates, as PEM.
    pub ca_file: Option<PathBuf>,
    /// A proxy: `http://proxy.example.com:3128`.
    pub proxy: Option<String>,
    /// How long it may take to get a connection.
    pub connect_timeout: Duration,
    /// How long one request may take, answer included.
    pub timeout: Duration,
    /// The largest body that is read.
    pub max_body: u64,
    /// Connections that are kept open for the next request.
    pub idle_connections: usize,
    /// Redirects that are followed; a login is never sent to another server.
    pub redirects: u32,
    /// When a request is repeated.
    pub patience: Patience,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ca_file: None,
            proxy: None,
            connect_timeout: Duration::from_secs(15),
            timeout: Duration::from_secs(100),
            max_body: 64 << 20,
            idle_connections: 8,
            redirects: 0,
            patience: Patience::default(),
        }
    }
}

/// How often and how long a request is repeated before the host hears of it.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Sendings of one request, the first one included.
    pub tries: u32,
    /// The first pause where the server names none; each further one is twice as long, with some chance in it.
    pub pause: Duration,
    /// The longest pause that is waited out here. A server that asks for more is the host's business.
    pub longest: Duration,
    /// A plain 500 passes like the others from 502 on. False where the system says that it does not.
    pub repeats_500: bool,
}

impl Patience {
    /// Every request is sent once.
    pub const NONE: Patience =
        Patience { tries: 1, pause: Duration::ZERO, longest: Duration::ZERO, repeats_500: false };
}

impl Default for Patience {
    fn default() -> Self {
        Patience { tries: 4, pause: Duration::from_millis(200), longest: Duration::from_secs(20), repeats_500: true }
    }
}

/// Access to web servers. Cheap to share; its connections are used again.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    options: Options,
    secrets: Secrets,
}

/// An answer whose body is read as it comes.
pub struct Streaming {
    /// Status and headers; its body is empty.
    pub answer: Answer,
    body: Body,
}

impl Streaming {
    /// The body. A read ends with an error when the request's time is up.
    pub fn reader(&mut self) -> impl Read + '_ {
        self.body.as_reader()
    }
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Streaming({:?})", self.answer)
    }
}

impl Client {
    /// A client with these options. Sends nothing yet.
    ///
    /// # Errors
    /// If a file of certificates cannot be used, or the address of the proxy is none.
    pub fn new(options: Options) -> Result<Self> {
        let proxy = match &options.proxy {
            Some(text) => {
                let wrong = |error| Failure::config("proxy", format!("`proxy` is `{}`: {error}", shown(text)));
                Some(ureq::Proxy::new(text).map_err(wrong)?)
            }
            None => None,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots(options.ca_file.as_deref())?).build())
            .proxy(proxy)
            .user_agent(concat!("Pairwise/", env!("CARGO_PKG_VERSION")))
            .max_redirects(options.redirects)
            .max_redirects_will_error(false)
            .max_idle_connections(options.idle_connections)
            .max_idle_connections_per_host(options.idle_connections)
            .timeout_connect(Some(options.connect_timeout))
            .timeout_global(Some(options.timeout))
            .build();
        Ok(Client { agent: Agent::new_with_config(config), options, secrets: Secrets::default() })
    }

    /// The secrets that never appear in a text of this client.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends a request, again where that is safe and helps, and reads the answer to its end. A status is no failure here: the
    /// caller knows what it means.
    ///
    /// # Errors
    /// If no answer came, or the host cancelled the call.
    pub fn send(&self, cx: &Context, request: &Request) -> Result<Answer> {
        let patience = self.options.patience;
        let mut sent = 1;
        loop {
            let got = self.once(cx, request);
            let Some(pause) = self.pause(request, &got, sent).filter(|_| sent < patience.tries) else { return got };
            tracing::debug!(request = ?request, pause_ms = pause.as_millis() as u64, "a request is repeated");
            if cx.wait(pause) {
                return got.and(Err(cancelled()));
            }
            sent += 1;
        }
    }

    /// Sends a request once and reads the answer to its end.
    ///
    /// # Errors
    /// If no answer came.
    pub fn once(&self, cx: &Context, request: &Request) -> Result<Answer> {
        let Streaming { mut answer, body } = self.open(cx, request)?;
        let read = body.into_with_config().limit(self.options.max_body).read_to_vec();
        answer.body = read.map_err(|error| self.clean(transport::failure(&error, request, true)))?;
        Ok(answer)
    }

    /// Sends a request once and leaves the body to be read as it comes.
    ///
    /// # Errors
    /// If no answer came.
    pub fn open(&self, cx: &Context, request: &Request) -> Result<Streaming> {
        if cx.cancelled() {
            return Err(cancelled());
        }
        let begun = Instant::now();
        let started = Arc::new(AtomicBool::new(false));
        let got = self.run(request, &started);
        let took_ms = begun.elapsed().as_millis() as u64;
        match got {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let status = parts.status.as_u16();
                tracing::debug!(request = ?request, id = request.id(), status, took_ms, "answered");
                let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                };
                let headers = parts.headers.iter().map(header).collect();
                let asked = format!("{request:?}");
                let answer = Answer { status, headers, body: Vec::new(), asked, effect: request.effect };
                Ok(Streaming { answer, body })
            }
            Err(error) => {
                let failure = self.clean(transport::failure(&error, request, started.load(Ordering::Relaxed)));
                tracing::debug!(request = ?request, id = request.id(), error = %failure, took_ms, "not answered");
                Err(failure)
            }
        }
    }

    fn run(
        &self,
        request: &Request,
        started: &Arc<AtomicBool>,
    ) -> std::result::Result<http::Response<Body>, ureq::Error> {
        let mut builder = http::Request::builder().method(request.method.name()).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let body = match &request.body {
            Some(bytes) => {
                builder = builder.header(http::header::CONTENT_LENGTH, bytes.len());
                SendBody::from_owned_reader(Watched { bytes: Arc::clone(bytes), at: 0, started: Arc::clone(started) })
            }
            None => SendBody::none(),
        };
        let mut built = builder.body(body)?;
        if let Some(timeout) = request.timeout {
            built = self.agent.configure_request(built).timeout_global(Some(timeout)).build();
        }
        self.agent.run(built)
    }

    /// How long to wait before the request is sent again; `None` if it is not.
    fn pause(&self, request: &Request, got: &Result<Answer>, sent: u32) -> Option<Duration> {
        let patience = self.options.patience;
        let (certainty, asked) = match got {
            Ok(answer) if answer.status == 500 && !patience.repeats_500 => return None,
            Ok(answer) => match answer.refusal() {
                refusal @ (Refusal::Throttled | Refusal::Passing) => (refusal.certainty(), answer.retry_after()),
                _ => return None,
            },
            Err(failure) if failure.class == Class::Transient => (failure.certainty, None),
            Err(_) => return None,
        };
        if request.effect == Effect::Once && certainty == Certainty::Unknown {
            return None;
        }
        let own = || {
            let doubled = patience.pause.saturating_mul(1 << (sent - 1).min(6));
            doubled.mul_f64(0.75 + fastrand::f64() / 2.0).min(patience.longest)
        };
        asked.or_else(|| Some(own())).filter(|pause| *pause <= patience.longest)
    }

    fn clean(&self, mut failure: Failure) -> Failure {
        failure.text = self.secrets.hide(&failure.text);
        failure
    }
}

fn cancelled() -> Failure {
    Failure::new(Class::Cancelled, "the host asked to stop")
}

/// A body that knows whether anybody asked for it: until then the request is not one.
struct Watched {
    bytes: Arc<Vec<u8>>,
    at: usize,
    started: Arc<AtomicBool>,
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.started.store(true, Ordering::Relaxed);
        let count = (&self.bytes[self.at..]).read(into)?;
        self.at += count;
        Ok(count)
    }
}

/// The roots of the operating system: many, and read once in a process.
static SYSTEM: LazyLock<Arc<Vec<Certificate<'static>>>> = LazyLock::new(|| {
    let system = rustls_native_certs::load_native_certs();
    Arc::new(system.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
});

/// The roots of the operating system, with those of the file; the ones that come with the program where it has none.
fn roots(ca_file: Option<&Path>) -> Result<RootCerts> {
    let mut certificates = Arc::clone(&SYSTEM);
    if let Some(path) = ca_file {
        let wrong = |what: String| Failure::config("ca_file", format!("`ca_file` is {}: {what}", path.display()));
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let further = Arc::make_mut(&mut certificates);
        let before = further.len();
        for item in parse_pem(&bytes) {
            match item.map_err(|error| wrong(format!("a certificate in it cannot be read: {error}")))? {
                PemItem::Certificate(certificate) => further.push(certificate),
                _ => continue,
            }
        }
        if further.len() == before {
            return Err(wrong(
                "there is no certificate in it; expected PEM text, `-----BEGIN CERTIFICATE-----`".into(),
            ));
        }
    }
    Ok(if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(certificates) })
}
