//! Addresses: whether one will do, and how much of it people see.

use pairwise_plugin_api::{Failure, Result};
use url::Url;

/// An address that requests are built on, without a slash at its end.
///
/// # Errors
/// A failure that names the setting, if the text is no address of a web server.
pub fn base_url(setting: &str, text: &str) -> Result<String> {
    let wrong = |what: &str| {
        let text = shown(text.trim());
        let example = "expected an address such as `https://server.example.com/path`";
        Err(Failure::config(setting, format!("`{setting}` is `{text}`, {what}: {example}")))
    };
    let url = match Url::parse(text.trim()) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => return wrong("which has no `https://` in front"),
        Err(error) => return wrong(&format!("which is no address ({error})")),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return wrong(&format!("whose scheme is `{}`", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return wrong("which names no server");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("which holds a login; logins belong under `secrets`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("which has something behind `?` or `#`");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// An address without login, query and fragment: these may hold what nobody should read in a log.
#[must_use]
pub fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => plain.to_owned(),
    }
}
