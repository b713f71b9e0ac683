//! The settings of a connection.

use std::path::PathBuf;

use pairwise_plugin_api::schemars::JsonSchema;
use pairwise_plugin_api::serde::Deserialize;

/// Mailboxes of an Exchange Server, by Exchange Web Services.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", deny_unknown_fields)]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub struct Config {
    /// The address of Exchange Web Services: `https://mail.example.com/EWS/Exchange.asmx`.
    pub url: String,
    /// The account that logs in: `DOMAIN\name` or `name@example.com`. Its password is the secret `password`. Not needed where an
    /// application logs in by token.
    #[serde(default)]
    pub username: String,
    /// How it logs in.
    #[serde(default)]
    pub auth: Auth,
    /// Where an application gets its tokens: `https://login.microsoftonline.com/example.com/oauth2/v2.0/token`, or
    /// `https://fs.example.com/adfs/oauth2/token`. Its secret is the secret `client_secret`.
    #[serde(default)]
    pub token_url: Option<String>,
    /// The id of that application.
    #[serde(default)]
    pub client_id: Option<String>,
    /// What its tokens are for. Absent: the server of `url`, `https://mail.example.com/.default`.
    #[serde(default)]
    pub scope: Option<String>,
    /// Whether NTLM logins are tied to the server's certificate, as servers with Extended Protection demand. To be switched off
    /// where something between shows a certificate of its own.
    #[serde(default = "default_binding")]
    pub channel_binding: bool,
    /// How the account gets into the mailboxes of others.
    #[serde(default)]
    pub access: Access,
    /// The mailbox of profiles that name no users, by its primary address. Absent: that of the account itself.
    #[serde(default)]
    pub mailbox: Option<String>,
    /// The version of EWS that is spoken.
    #[serde(default = "default_version")]
    pub server_version: String,
    /// The zone in which days begin and end, by its IANA or Windows name.
    #[serde(default = "default_zone")]
    pub time_zone: String,
    /// Named properties that are fields as well, under `extended/NAME`.
    #[serde(default)]
    pub extended: Vec<String>,
    /// Items in one request.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 500))]
    pub batch: u32,
    /// Connections at the same time.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 20))]
    pub connections: u32,
    /// How changes are announced.
    #[serde(default)]
    pub notifications: Notifications,
    /// Seconds between two questions where notifications are pulled.
    #[serde(default = "default_pull")]
    #[schemars(range(min = 1))]
    pub pull_seconds: u32,
    /// Seconds after which a stream that says nothing counts as broken: the server tells every 45 seconds that it is there.
    #[serde(default = "default_silence")]
    #[schemars(range(min = 1))]
    pub silence_seconds: u32,
    /// A file with further root certificates, as PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A proxy: `http://proxy.example.com:3128`.
    #[serde(default)]
    pub proxy: Option<String>,
}

fn default_version() -> String {
    "Exchange2013_SP1".to_owned()
}

fn default_zone() -> String {
    "UTC".to_owned()
}

fn default_batch() -> u32 {
    100
}

fn default_pull() -> u32 {
    30
}

fn default_binding() -> bool {
    true
}

fn default_silence() -> u32 {
    120
}

fn default_connections() -> u32 {
    4
}

/// How an account logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum Auth {
    /// As the server offers: NTLM before Basic.
    #[default]
    Auto,
    /// Name and password with each request.
    Basic,
    /// NTLM, version 2.
    Ntlm,
    /// An application's token with each request: OAuth 2.0, as hybrid modern authentication has it. It acts for the owners of
    /// mailboxes, which needs `access = "impersonation"`.
    OAuth,
}

/// How an account gets into other mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum Access {
    /// It acts for their owners: it needs the management role ApplicationImpersonation.
    #[default]
    Impersonation,
    /// The owners have given it rights on their folders.
    Delegate,
    /// Not at all: each mailbox comes with a login of its own.
    Own,
}

/// How changes are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum Notifications {
    /// The server tells, over a connection that stays open.
    #[default]
    Streaming,
    /// The server is asked from time to time: for proxies that cut long connections.
    Pull,
}
