//! What happens to every request of every system before and after the simulator sees it.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::connection::Connection;
use crate::faults::{Asked, Fault};
use crate::journal::{Entry, Number};
use crate::sandbox::Running;
use crate::system::About;

/// No client sends more than this at once.
const LARGEST_BODY: usize = 64 << 20;
/// Headers that carry a login, and stay out of the journal.
const SECRET: [&str; 4] = ["authorization", "x-authorization", "cookie", "proxy-authorization"];

pub(crate) async fn handle(
    State(system): State<Running>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let about = system.system.about(&parts, &body);
    let number = system.core.journal().begin(entry(&system, &parts, &body, &about));
    parts.extensions.insert(Number(number));
    let path = percent_decode_str(parts.uri.path_and_query().map_or("/", |path| path.as_str())).decode_utf8_lossy();
    let asked = Asked {
        method: parts.method.as_str(),
        path: &path,
        operation: about.operation.as_deref(),
        user: about.user.as_deref(),
    };
    let fault = system.core.faults().take(asked);
    if let Some(wait) = fault.as_ref().map(|fault| fault.delay_ms).filter(|wait| *wait > 0) {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    drop(path);
    let failing = fault.as_ref().filter(|fault| fault.fails());
    let work = Request::from_parts(parts, Body::from(body));
    let mut answer = match failing {
        Some(fault) if !fault.after_effect => fail(&system, fault, &about, &connection),
        Some(fault) => {
            next.run(work).await;
            fail(&system, fault, &about, &connection)
        }
        None => next.run(work).await,
    };
    let dropped = failing.is_some_and(|fault| fault.drop_connection);
    let status = (!dropped).then(|| answer.status().as_u16());
    system.core.journal().end(number, status, fault.is_some());
    if let Ok(date) = HeaderValue::from_str(&http_date(system.core.now())) {
        answer.headers_mut().insert(header::DATE, date);
    }
    answer
}

fn fail(system: &Running, fault: &Fault, about: &About, connection: &Connection) -> Response {
    if fault.drop_connection {
        connection.cut();
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    system.system.refuse(fault, about)
}

fn entry(system: &Running, parts: &Parts, body: &Bytes, about: &About) -> Entry {
    let headers = parts.headers.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Entry {
        time: system.core.now(),
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        operation: about.operation.clone(),
        user: about.user.clone(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(body).into_owned(),
        ..Entry::default()
    }
}

fn http_date(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
