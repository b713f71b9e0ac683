//! Who a login is, and which version of the product answers.

use pairwise_http::{Effect, Json, Method, Request, json};
use pairwise_plugin_api::{Class, Context, Failure, Result};

use crate::login::Login;
use crate::query::{entry, url};
use crate::server::Server;
use crate::settings::Expected;
use crate::wire::text;

/// A login as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The key of its user.
    pub(crate) user: String,
    /// What people call the user.
    pub(crate) name: String,
    pub(crate) edition: Edition,
    /// The version as far as the server tells it.
    pub(crate) version: String,
    pub(crate) admin: bool,
}

/// The versions whose ways differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    /// Groups can be read only.
    V754,
    /// Groups can be written.
    V8,
}

/// The key of the user that every installation has for its administrator.
const ADMIN: &str = "ADMIN";

/// Asks once for each login.
pub(crate) fn identity(server: &Server, cx: &Context, login: &Login) -> Result<Identity> {
    if let Some(identity) = &login.known().identity {
        return Ok(identity.clone());
    }
    let doing = "asking who is logged in";
    let service = url(&server.place.system("$service/getCurrentUser"), &[]);
    let request = server.request(Method::Post, &service, &json!({}), Effect::None);
    let answer = server.send(cx, login, &request)?;
    let answer = server.json(login, &answer, doing)?;
    let Some(me) = answer.get("response").unwrap_or(&answer).as_object() else {
        return Err(Failure::new(Class::Protocol, format!("{doing}: the server's answer makes no sense")));
    };
    let user = text(me, "userId")
        .ok_or_else(|| Failure::new(Class::Protocol, format!("{doing}: the server did not tell the user's id")))?;
    let roles = me.get("roles").and_then(Json::as_array).into_iter().flatten();
    let admin = user == ADMIN || roles.filter_map(Json::as_str).any(|role| role.eq_ignore_ascii_case("administrator"));
    // The vendor's own test: only version 8 and later tell what the user may do.
    let told = if me.contains_key("securedActions") { Edition::V8 } else { Edition::V754 };
    let (edition, version) = match version(server, cx, login)? {
        Some(version) => (supported(server, &version, told)?, version),
        None => (told, if told == Edition::V8 { "8" } else { "7.5.4" }.to_owned()),
    };
    let expected = match server.config.edition {
        Expected::Auto => edition,
        Expected::V754 => Edition::V754,
        Expected::V8 => Edition::V8,
    };
    if expected != edition {
        let text = format!("the server is version {version}, `edition` says otherwise: correct it, or leave it out");
        return Err(Failure::config("edition", text));
    }
    let name = text(me, "prettyName").or_else(|| text(me, "userName")).unwrap_or_default().to_owned();
    let identity = Identity { user: user.to_owned(), name, edition, version, admin };
    login.known().identity = Some(identity.clone());
    Ok(identity)
}

/// The version of the database, where the login may read it. 7.5.4 does not tell.
fn version(server: &Server, cx: &Context, login: &Login) -> Result<Option<String>> {
    let option = url(&entry(&server.place.system("systemOptions"), "DatabaseVersion"), &[]);
    let answer = server.send(cx, login, &Request::get(option))?;
    if [403, 404, 405, 410].contains(&answer.status) {
        return Ok(None);
    }
    let option = server.json(login, &answer, "asking for the version")?;
    let value = option.as_object().and_then(|option| text(option, "value").or_else(|| text(option, "Value")));
    Ok(value.map(str::to_owned))
}

fn supported(server: &Server, version: &str, told: Edition) -> Result<Edition> {
    let parts: Vec<u32> = version.split('.').map_while(|part| part.trim().parse().ok()).collect();
    match parts.as_slice() {
        [8, ..] => Ok(Edition::V8),
        [7, 5, 4, ..] => Ok(Edition::V754),
        // No number at all: then the other sign counts.
        [] => Ok(told),
        _ if server.config.allow_unsupported => Ok(told),
        _ => {
            let text = format!(
                "the server is version {version}; only 7.5.4 and 8 are supported: `allow_unsupported = true` tries it all the \
                 same"
            );
            Err(Failure::config("allow_unsupported", text))
        }
    }
}
