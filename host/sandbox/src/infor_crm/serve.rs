//! Between HTTP and what is asked.

use std::sync::Arc;

use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Body, Refusal};
use super::auth::{self, COOKIE, Denied};
use super::model::{self, Entity};
use super::perform::Ask;
use super::settings::{Settings, User};
use super::target::{Query, Target};
use super::{InforCrm, atom};
use crate::faults::Fault;
use crate::journal::Number;
use crate::system::About;

/// What the journal is told.
pub(super) fn about(request: &Parts, body: &[u8]) -> About {
    let (_, path) = asked(request, body);
    About { operation: Target::parse(&path).ok().map(|target| target.operation()), user: auth::named(&request.headers) }
}

/// Method and path: of a long URL they come in the header and body of a POST.
fn asked(request: &Parts, body: &[u8]) -> (String, String) {
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    match text(&request.headers, "x-http-method-override") {
        Some(method) if request.method == "POST" => {
            let url = String::from_utf8_lossy(body).trim().to_owned();
            let local = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
            (method.to_uppercase(), local.unwrap_or(url))
        }
        _ => (request.method.to_string(), path.to_owned()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) async fn serve(crm: Arc<InforCrm>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // It was read once already, within limits.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let settings = crm.settings();
    if settings.off {
        return (
            StatusCode::NOT_FOUND,
            [(header::CONTENT_TYPE, "text/html")],
            "<h2>404 - File or directory not found.</h2>",
        )
            .into_response();
    }
    if settings.forms && parts.uri.path().to_lowercase().starts_with("/slxclient") {
        return (StatusCode::FOUND, [(header::LOCATION, "/slxclient/Login.aspx")]).into_response();
    }
    let (method, path) = asked(&parts, &body);
    let query = Query::parse(path.split_once('?').map_or("", |(_, query)| query));
    let json = query.wants_json() && !settings.is_ancient();
    let uri = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let user = crm.logins.check(&settings, crm.core.now(), parts.method.as_str(), uri, &parts.headers);
    let user = match user {
        Ok(user) => user,
        Err(denied) => return deny(&crm, &settings, denied, &parts.headers, json),
    };
    let answer = answer(&crm, &settings, &user, &parts, &method, &path, &body);
    let (target, answer) = match answer {
        Ok((target, answer)) => (target, answer),
        Err(refusal) => return spell_refusal(&refusal, json),
    };
    let entity = entity(&target);
    let mut response = spell(&answer, entity, json);
    if settings.cookie && target.root.to_lowercase().starts_with("/slxclient") {
        let cookie = format!("{COOKIE}={}; path=/; HttpOnly", crm.logins.session(&user));
        set(&mut response, header::SET_COOKIE, &cookie);
    }
    response
}

fn answer(
    crm: &InforCrm,
    settings: &Settings,
    user: &User,
    parts: &Parts,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<(Target, Answer), Refusal> {
    let target = Target::parse(path)?;
    let body = if ["POST", "PUT"].contains(&method) { read(&parts.headers, body)? } else { Value::Null };
    let ask = Ask {
        core: &crm.core,
        settings,
        user,
        method,
        target: &target,
        if_match: text(&parts.headers, "if-match"),
        if_none_match: text(&parts.headers, "if-none-match"),
        body: &body,
        number: parts.extensions.get::<Number>().map_or(0, |number| number.0),
    };
    let answer = ask.answer()?;
    Ok((target, answer))
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let body = String::from_utf8_lossy(body);
    let written = body.trim_start_matches('\u{feff}').trim();
    if written.is_empty() {
        return Ok(Value::Null);
    }
    let says_json = text(headers, "content-type").is_some_and(|kind| kind.contains("json"));
    if says_json || written.starts_with(['{', '[']) {
        return serde_json::from_str(written).map_err(|wrong| Refusal::rule(format!("The body is no JSON: {wrong}.")));
    }
    atom::read(written)
}

/// The entity that an answer's entries are of.
fn entity(target: &Target) -> Option<&'static Entity> {
    let entity = model::by_path(&target.contract, &target.kind)?;
    let relation = target.rest.first().and_then(|name| entity.relation(name));
    Some(relation.map_or(entity, |relation| model::by_name(&relation.target)))
}

fn deny(crm: &InforCrm, settings: &Settings, denied: Denied, headers: &HeaderMap, json: bool) -> Response {
    let refusal = match denied {
        Denied::Unknown | Denied::Stale => Refusal::new(401, "ApplicationDiagnosis", "The login was refused."),
        Denied::NoRight => Refusal::new(403, "ApplicationDiagnosis", "You may not use SData."),
        Denied::Expired => Refusal {
            stack: Some("at Sage.SalesLogix.User.Rules.IsValidPassword(IUser user, String password)".into()),
            ..Refusal::new(403, "ApplicationDiagnosis", "The password has expired.")
        },
    };
    let mut response = spell_refusal(&refusal, json);
    if refusal.status == 401 && text(headers, "x-authorization-mode") != Some("no-challenge") {
        for challenge in crm.logins.challenges(settings, crm.core.now(), denied == Denied::Stale) {
            set(&mut response, header::WWW_AUTHENTICATE, &challenge);
        }
    }
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
}

fn spell(answer: &Answer, entity: Option<&Entity>, json: bool) -> Response {
    let (kind, text) = match (&answer.body, json) {
        (Body::Empty, _) => (None, String::new()),
        (Body::Plain(value), _) | (Body::Entry(value) | Body::Feed(value), true) => {
            (Some("application/json; charset=utf-8"), value.to_string())
        }
        (Body::Entry(value), false) => (Some("application/atom+xml;type=entry"), atom::entry(entity, value)),
        (Body::Feed(value), false) => (Some("application/atom+xml;type=feed"), atom::feed(entity, value)),
    };
    let mut response = Response::new(HttpBody::from(text));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    if let Some(kind) = kind {
        set(&mut response, header::CONTENT_TYPE, kind);
    }
    if let Some(etag) = &answer.etag {
        set(&mut response, header::ETAG, etag);
    }
    if let Some(location) = &answer.location {
        set(&mut response, header::LOCATION, location);
    }
    response
}

fn spell_refusal(refusal: &Refusal, json: bool) -> Response {
    if let Some(current) = &refusal.current {
        return spell(current, None, json);
    }
    let list = [refusal.diagnosis()];
    let (kind, text) = if json {
        ("application/json; charset=utf-8", json!(list).to_string())
    } else {
        ("application/xml", atom::diagnoses(&list))
    };
    let mut response = Response::new(HttpBody::from(text));
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or_default();
    set(&mut response, header::CONTENT_TYPE, kind);
    response
}

/// The answer to a request that a fault strikes.
pub(super) fn refuse(fault: &Fault) -> Response {
    let status = fault.status.unwrap_or(500);
    let said = match status {
        409 => "The entry conflicts with one that is there.",
        500 => "We're sorry, you've encountered an error. If applicable, please try again.",
        503 => "The service is not available.",
        _ => "The request was refused.",
    };
    let message = fault.message.as_deref().unwrap_or(said);
    let code = fault.code.as_deref().unwrap_or("ApplicationDiagnosis");
    let mut response = spell_refusal(&Refusal::new(status, code, message), true);
    if let Some(seconds) = fault.retry_after {
        set(&mut response, header::RETRY_AFTER, &seconds.to_string());
    }
    response
}
