//! A person's login to one connection: tried first, then kept; and forgotten again.

use std::collections::BTreeMap;
use std::path::Path;

use pairwise_plugin_api::Principal;
use pairwise_plugin_api::ops::{Ask, CheckRequest, INTERACTIVE, LoginRequest};
use secrecy::{ExposeSecret, SecretString};

use super::inspect::{blocks, unable};
use super::ready::{self, Ready, Unready};
use super::scratch::Scratch;
use crate::config::{Config, Problem};
use crate::model::{LaneState, Remote};
use crate::plugins::Plugins;

/// The secrets that a person types: name and meaning of each.
///
/// # Errors
/// If there is no such connection or user, or no secret that the host keeps for it.
pub fn typed_secrets(
    config: &Config,
    plugins: &Plugins,
    connection: &str,
    principal: &Principal,
    named: &[String],
) -> Result<Vec<(String, String)>, Unready> {
    ready::typed(config, plugins, connection, principal, named)
}

/// Logs a principal in with secrets that were typed, and keeps these once the system took them. Where the system gives a
/// secret only to who signs in with it, `person` is told what to do, and is asked from time to time whether to go on.
///
/// # Errors
/// If the login is refused, or cannot be kept. Then nothing was.
pub fn log_in(
    config: &Config,
    plugins: &Plugins,
    connection: &str,
    principal: &Principal,
    typed: &BTreeMap<String, SecretString>,
    person: &dyn Fn(&Ask) -> bool,
) -> Result<(), Unready> {
    let scratch = Scratch::new(config);
    let mut ready = ready::check_login(config, plugins, connection, principal, typed)?;
    if let Some((name, secrets)) = ready.sign_in() {
        let name = name.to_owned();
        let secret = sign_in(config, &ready, scratch.path(), principal, &name, &secrets, person)?;
        // The login that follows may renew it.
        keep(config, connection, &ready.keeper_of(principal), &name, &secret)?;
        ready.signed_in(&name, secret);
    }
    let opened = ready.open(config, scratch.path(), None)?;
    let session = opened.of(principal)?;
    let request = CheckRequest { principal: principal.clone(), ..CheckRequest::default() };
    let conditions = session.check(&request).map_err(|failure| unable(config, connection, &failure))?;
    if let Some(condition) = conditions.iter().find(|condition| blocks(condition)) {
        return Err(Problem::new(format!("connection `{connection}`: {}", condition.text)).into());
    }
    let keeper = ready.keeper_of(principal);
    typed.iter().try_for_each(|(name, secret)| keep(config, connection, &keeper, name, secret))
}

fn keep(
    config: &Config,
    connection: &str,
    keeper: &Principal,
    name: &str,
    secret: &SecretString,
) -> Result<(), Unready> {
    let vault = config.vault();
    vault.kept().put(connection, keeper, name, secret).map_err(|error| {
        let text = format!("the secret `{name}` cannot be kept under {}: {error}", vault.kept().folder().display());
        Unready { state: LaneState::Failed, problems: Problem::new(text).into() }
    })
}

/// Has a person sign in, step by step; answers the secret that comes of it.
fn sign_in(
    config: &Config,
    ready: &Ready<'_>,
    scratch: &Path,
    principal: &Principal,
    wanted: &str,
    secrets: &BTreeMap<String, SecretString>,
    person: &dyn Fn(&Ask) -> bool,
) -> Result<SecretString, Unready> {
    let session = ready.start(config, scratch, None, None)?;
    let plain = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose_secret().to_owned()));
    let mut secrets: BTreeMap<String, String> = plain.collect();
    secrets.insert(INTERACTIVE.to_owned(), String::new());
    let connection = &session.spec().connection;
    loop {
        let request = LoginRequest { principal: principal.clone(), secrets: secrets.clone() };
        let mut response = session.login(request).map_err(|failure| unable(config, connection, &failure))?;
        let Some(ask) = response.ask else {
            let given = response.keep.remove(wanted).map(SecretString::from);
            let message = format!("connection `{connection}`: the sign-in gave no `{wanted}`");
            return given.ok_or_else(|| Problem::new(message).into());
        };
        if !person(&ask) {
            return Err(Problem::new("nobody has signed in: no login was kept").into());
        }
        secrets.extend(ask.secrets);
    }
}
