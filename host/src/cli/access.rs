//! Roles: administrators change things, everybody else runs and looks.

use super::app::App;
use super::args::{Command, ConnectionCommand, PluginCommand, ProfileCommand, StateCommand};
use super::error::{Error, Result};
use crate::config::Config;
use crate::os;

/// Refuses a command that changes things to whoever is no administrator.
pub(super) fn check(app: &App, command: &Command) -> Result<()> {
    let Some(what) = changes(command) else { return Ok(()) };
    // Without a configuration there are no roles yet; one that is broken the command tells itself.
    let Ok(config) = app.config() else { return Ok(()) };
    let caller = os::caller();
    if admits(&config, &caller) {
        return Ok(());
    }
    tracing::warn!(caller, "refused to {what}: no administrator");
    let help = match &config.admins {
        Some(admins) if admins.is_empty() => "`[access] admins` in pairwise.toml names nobody".to_owned(),
        Some(admins) => format!("administrators are named in pairwise.toml, [access]: {}", admins.join(", ")),
        None => "the owner of the configuration folder is its administrator; others are named in pairwise.toml: \
                 [access] admins = [\"…\"]"
            .to_owned(),
    };
    Err(Error::usage(format!("`{caller}` may not {what}: that is for administrators"), help))
}

/// Whether somebody is an administrator.
fn admits(config: &Config, caller: &str) -> bool {
    match &config.admins {
        Some(admins) => admins.iter().any(|admin| admin == caller),
        None => os::is_superuser() || os::owner_of(&config.folder).is_none_or(|owner| owner == caller),
    }
}

/// What a command changes of connections, profiles, plugins, logins or state; `None` if it only runs or looks.
fn changes(command: &Command) -> Option<&'static str> {
    match command {
        Command::Profile(ProfileCommand::New { .. }) => Some("write profiles"),
        Command::Profile(ProfileCommand::Enable { .. } | ProfileCommand::Disable { .. }) => Some("switch profiles"),
        Command::Connection(ConnectionCommand::Add { .. }) => Some("write connections"),
        Command::Connection(ConnectionCommand::Login { .. } | ConnectionCommand::Reset { .. }) => Some("change logins"),
        Command::Plugin(PluginCommand::Lock { .. }) => Some("lock plugins"),
        Command::State(StateCommand::Restore { .. }) => Some("restore the state"),
        _ => None,
    }
}
