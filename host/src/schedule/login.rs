//! A person's login to one connection: tried first, then kept; and forgotten again.

use std::collections::BTreeMap;

use pairwise_plugin_api::Principal;
use pairwise_plugin_api::ops::CheckRequest;
use secrecy::SecretString;

use super::inspect::{blocks, unable};
use super::ready::{self, Unready};
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

/// Logs a principal in with secrets that were typed, and keeps these once the system took them.
///
/// # Errors
/// If the login is refused, or cannot be kept. Then nothing was.
pub fn log_in(
    config: &Config,
    plugins: &Plugins,
    connection: &str,
    principal: &Principal,
    typed: &BTreeMap<String, SecretString>,
) -> Result<(), Unready> {
    let scratch = Scratch::new(config);
    let ready = ready::check_login(config, plugins, connection, principal, typed)?;
    let opened = ready.open(config, scratch.path())?;
    let session = opened.of(principal)?;
    let request = CheckRequest { principal: principal.clone(), ..CheckRequest::default() };
    let conditions = session.check(&request).map_err(|failure| unable(config, connection, &failure))?;
    if let Some(condition) = conditions.iter().find(|condition| blocks(condition)) {
        return Err(Problem::new(format!("connection `{connection}`: {}", condition.text)).into());
    }
    let (kept, keeper) = (config.vault(), ready.keeper_of(principal));
    for (name, secret) in typed {
        kept.kept().put(connection, &keeper, name, secret).map_err(|error| {
            let text = format!("the secret `{name}` cannot be kept under {}: {error}", kept.kept().folder().display());
            Unready { state: LaneState::Failed, problems: Problem::new(text).into() }
        })?;
    }
    Ok(())
}
