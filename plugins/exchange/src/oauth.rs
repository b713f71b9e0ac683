//! Logins by token: an application shows the organisation's login server its secret, and Exchange the token that it gets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_http::{Client, Json, Request, Token, base_url};
use pairwise_plugin_api::{Class, Context, Failure, Result};

use crate::settings::Config;

/// Where tokens come from, and the present one.
#[derive(Debug)]
pub(crate) struct OAuth {
    address: String,
    client_id: String,
    scope: String,
    token: Mutex<Option<Token>>,
}

impl OAuth {
    /// As the settings say; `url` is that of Exchange Web Services.
    pub(crate) fn of(config: &Config, url: &str) -> Result<OAuth> {
        let needed = |name: &'static str, value: &Option<String>| {
            let given = value.clone().filter(|value| !value.trim().is_empty());
            given.ok_or_else(|| Failure::config(name, format!("logins by token (`auth = \"oauth\"`) need `{name}`")))
        };
        let site = url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| &url[..at + 3 + slash]));
        Ok(OAuth {
            address: base_url("token_url", &needed("token_url", &config.token_url)?)?,
            client_id: needed("client_id", &config.client_id)?,
            scope: config.scope.clone().unwrap_or_else(|| format!("{}/.default", site.unwrap_or(url))),
            token: Mutex::default(),
        })
    }

    fn token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request bears: the present token, or a new one.
    pub(crate) fn authorization(&self, cx: &Context, client: &Client, secret: &str) -> Result<String> {
        // Whoever comes meanwhile waits for the same token.
        let mut held = self.token();
        if let Some(token) = held.as_ref().and_then(Token::usable) {
            client.secrets().add(token);
            return Ok(bearer(token));
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", secret),
            ("scope", self.scope.as_str()),
        ];
        // A token that is granted twice does no harm.
        let request = Request::post(&self.address).form(form).header("Accept", "application/json").reads();
        let answer = client.send(cx, &request)?;
        let said: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(token) = Token::granted(&said).filter(|_| answer.is_success()) else {
            let why = [&said["error_description"], &said["error"]].into_iter().find_map(Json::as_str);
            let why = client.secrets().hide(why.and_then(|why| why.lines().next()).unwrap_or_default());
            return Err(match said["error"].as_str() {
                Some("invalid_client" | "unauthorized_client" | "invalid_grant") => Failure::new(
                    Class::Auth,
                    format!("the login server refuses `client_id` or the secret `client_secret` ({why})"),
                ),
                Some("invalid_scope" | "invalid_resource") => {
                    Failure::config("scope", format!("the login server gives no tokens for `{}` ({why})", self.scope))
                }
                Some(_) => answer.failure_saying(format!("asking for a token: {} ({why})", answer.spelled())),
                None if answer.is_success() || answer.status == 404 => Failure::config(
                    "token_url",
                    format!("{} did not answer as a login server does: correct `token_url`", answer.asked),
                ),
                None => answer.failure("asking for a token"),
            });
        };
        client.secrets().add(token.text());
        let header = bearer(token.text());
        if let Some(old) = held.replace(token) {
            client.secrets().forget(old.text());
        }
        Ok(header)
    }

    /// Exchange refused the present one.
    pub(crate) fn refused(&self) {
        self.token().take();
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
