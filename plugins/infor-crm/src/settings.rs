//! The settings of a connection, and the address that they lead to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pairwise_http::base_url;
use pairwise_plugin_api::schemars::JsonSchema;
use pairwise_plugin_api::serde::Deserialize;
use pairwise_plugin_api::{Failure, Result};

/// Access to Infor CRM (SalesLogix) over SData.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", deny_unknown_fields)]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub struct Config {
    /// The site, `https://crm.example.com`, or any longer form of its SData address. In the cloud as on premises.
    pub url: String,
    /// The user of the connection itself. People with a login of their own are named by the profile.
    #[serde(default)]
    pub username: Option<String>,
    /// The version that is expected: `auto`, `7.5.4` or `8`.
    #[serde(default)]
    pub edition: Expected,
    /// How logins are sent. `auto`: Basic at once over https, Digest where the server asks for it. `basic` sends Basic over
    /// plain http, too, where everybody on the way can read it.
    #[serde(default)]
    pub login: LoginKind,
    /// Work with a version that was never tried. Expect surprises.
    #[serde(default)]
    pub allow_unsupported: bool,
    /// Refuse logins without administrator rights.
    #[serde(default)]
    pub require_admin: bool,
    /// Records in one page.
    #[serde(default = "default_page")]
    #[schemars(range(min = 1, max = 500))]
    pub page: u32,
    /// Records in one batch of writes.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 500))]
    pub batch: u32,
    /// Characters of the longest address that a request may have: not every server and proxy on the way takes more.
    #[serde(default = "default_longest_url")]
    #[schemars(range(min = 1_000, max = 16_000))]
    pub longest_url: u32,
    /// Seconds by which two looks for changes overlap, for servers whose clocks differ and for work that takes its time.
    #[serde(default = "default_overlap")]
    pub overlap_seconds: u32,
    /// Seconds that one request may take.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: u64,
    /// Seconds for which a server that says it is in trouble is left alone, where it does not say for how long itself.
    #[serde(default = "default_backoff")]
    pub backoff_seconds: u32,
    /// Requests at the same time for one login.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 8))]
    pub parallel: u32,
    /// The text property of contacts that keeps who belongs to a group in version 7.5.4, whose groups cannot be written.
    #[serde(default = "default_marker")]
    pub sync_marker_property: String,
    /// What a new history record is, where the profile does not say: `atNote` or `atEMail`.
    #[serde(default = "default_history")]
    pub history_type: String,
    /// Keep the shipping address of contacts and accounts, too, as fields `ShippingAddress/…`: the other address of a mailbox.
    #[serde(default)]
    pub shipping_address: bool,
    /// Text properties that a site has added, by entity: `{ contacts = ["Region"] }`.
    #[serde(default)]
    pub extra_fields: BTreeMap<String, Vec<String>>,
    /// A file with root certificates of the organisation's own, as PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A proxy: `http://proxy.example.com:3128`.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// The version that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum Expected {
    /// Whichever supported one it is.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 7.5.4.
    #[serde(rename = "7.5.4")]
    V754,
    /// 8.0 to 8.x.
    #[serde(rename = "8")]
    V8,
}

/// How logins are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", rename_all = "snake_case")]
#[schemars(crate = "pairwise_plugin_api::schemars")]
pub enum LoginKind {
    /// What the server asks for; Basic only where nobody can read it.
    #[default]
    Auto,
    /// Basic with each request.
    Basic,
    /// Digest only.
    Digest,
}

fn default_page() -> u32 {
    100
}
fn default_batch() -> u32 {
    50
}
fn default_longest_url() -> u32 {
    1_950
}
fn default_overlap() -> u32 {
    120
}
fn default_timeout() -> u64 {
    60
}
fn default_backoff() -> u32 {
    30
}
fn default_parallel() -> u32 {
    2
}
fn default_marker() -> String {
    "Categories".to_owned()
}
fn default_history() -> String {
    "atNote".to_owned()
}

impl Config {
    /// How long one request may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.max(1))
    }
}

/// The root of a site's SData feeds: `https://crm.example.com/sdata/slx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    root: String,
}

/// The web client's own way to the feeds: its login counts there.
const WEB_CLIENT: &str = "slxdata.ashx";
/// Path segments under which an SData application lies.
const PORTALS: &[&str] = &["sdata", WEB_CLIENT];
/// The application of this product.
const APPLICATION: &str = "slx";

impl Place {
    /// From what a person typed: the site, `…/sdata`, and every longer form.
    pub(crate) fn of(url: &str) -> Result<Self> {
        let url = base_url("url", url)?;
        let (site, path) = match url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| at + 3 + slash)) {
            Some(slash) => url.split_at(slash),
            None => (url.as_str(), ""),
        };
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let is = |segment: &str, names: &[&str]| names.iter().any(|name| segment.eq_ignore_ascii_case(name));
        let kept = match segments.iter().position(|segment| is(segment, PORTALS)) {
            Some(portal) => {
                if let Some(other) = segments.get(portal + 1).filter(|next| !is(next, &[APPLICATION])) {
                    let text = format!(
                        "`url` names the SData application `{other}`; expected `{APPLICATION}`: give the site alone, or \
                         `…/{}/{APPLICATION}`",
                        segments[portal]
                    );
                    return Err(Failure::config("url", text));
                }
                segments[..=portal].join("/")
            }
            None => segments.iter().copied().chain([PORTALS[0]]).collect::<Vec<_>>().join("/"),
        };
        Ok(Place { root: format!("{site}/{kept}/{APPLICATION}") })
    }

    /// For people.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// A feed with the site's records.
    pub(crate) fn dynamic(&self, feed: &str) -> String {
        format!("{}/dynamic/-/{feed}", self.root)
    }

    /// A feed of the platform: groups, options, services.
    pub(crate) fn system(&self, feed: &str) -> String {
        format!("{}/system/-/{feed}", self.root)
    }

    /// The feeds are those of the web client, which knows whoever has logged in by a cookie.
    pub(crate) fn is_web_client(&self) -> bool {
        self.root.rsplit('/').nth(1).is_some_and(|portal| portal.eq_ignore_ascii_case(WEB_CLIENT))
    }

    /// Nobody can read what is sent there: it is encrypted, or never leaves the machine.
    pub(crate) fn is_private(&self) -> bool {
        self.root.starts_with("https://")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_address_leads_to_the_same_place() {
        let forms = [
            "http://crm.example.com",
            "http://crm.example.com/",
            "http://crm.example.com/sdata",
            "http://crm.example.com/sdata/slx",
            "http://crm.example.com/sdata/slx/dynamic",
            "http://crm.example.com/sdata/slx/dynamic/-/",
            "http://crm.example.com/sdata/slx/system/-/groups",
        ];
        for form in forms {
            assert_eq!(Place::of(form).unwrap().root(), "http://crm.example.com/sdata/slx", "{form}");
        }
        let client = Place::of("http://crm.example.com:81/slxclient/slxdata.ashx/slx/dynamic/-").unwrap();
        assert_eq!(
            client.dynamic("contacts"),
            "http://crm.example.com:81/slxclient/slxdata.ashx/slx/dynamic/-/contacts"
        );
        let cloud = Place::of("https://company.example.net").unwrap();
        assert_eq!(cloud.root(), "https://company.example.net/sdata/slx");
        assert!(client.is_web_client() && !cloud.is_web_client());
    }

    #[test]
    fn another_application_is_told() {
        let failure = Place::of("http://crm.example.com/sdata/accounts50/gcrm").unwrap_err();
        assert_eq!(failure.setting.as_deref(), Some("url"));
        assert!(failure.text.contains("`accounts50`"), "{failure}");
    }
}
