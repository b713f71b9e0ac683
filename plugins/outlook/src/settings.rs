//! The settings of a connection.

use std::path::PathBuf;

use pairwise_plugin_api::schemars::JsonSchema;
use pairwise_plugin_api::serde::Deserialize;

/// Access to the mailboxes of one organisation through Microsoft Graph.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", deny_unknown_fields)]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub struct Config {
    /// The organisation: its id, or one of its domains.
    pub tenant: String,
    /// The id of the application's registration.
    pub client_id: String,
    /// Who signs in.
    #[serde(default)]
    pub sign_in: SignIn,
    /// The mailbox of a profile that names no users. Absent: that of the person who signed in.
    #[serde(default)]
    pub mailbox: Option<String>,
    /// Where Microsoft Graph is; national clouds have addresses of their own.
    #[serde(default = "graph")]
    pub url: String,
    /// Where Graph can tell of changes: the public address of this host, with https. Absent: it is asked for them.
    #[serde(default)]
    pub notification_url: Option<String>,
    /// Minutes that a subscription to changes is to live. It is renewed when half of what was granted is over.
    #[serde(default = "subscription")]
    #[schemars(range(min = 45, max = 10_080))]
    pub subscription_minutes: u32,
    /// Where logins are.
    #[serde(default = "login")]
    pub login_url: String,
    /// Names of further fields of contacts, kept as named properties: each becomes the field `extended/NAME`.
    #[serde(default)]
    pub extended: Vec<String>,
    /// How far back calendars are read, in days.
    #[serde(default = "past")]
    pub past_days: u32,
    /// How far ahead calendars are read, in days.
    #[serde(default = "future")]
    pub future_days: u32,
    /// A file with further root certificates, as PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A proxy on the way: `http://proxy.example.com:3128`.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// Who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", rename_all = "snake_case")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum SignIn {
    /// The application itself, with `client_secret` or `client_certificate`: it reaches every mailbox that it was permitted.
    #[default]
    Application,
    /// A person, whose consent is in `refresh_token`: it reaches what that person reaches.
    Delegated,
}

fn graph() -> String {
    "https://graph.microsoft.com".to_owned()
}

fn login() -> String {
    "https://login.microsoftonline.com".to_owned()
}

/// Longer lives are refused in some clouds.
fn subscription() -> u32 {
    4_230
}

fn past() -> u32 {
    365
}

fn future() -> u32 {
    730
}
