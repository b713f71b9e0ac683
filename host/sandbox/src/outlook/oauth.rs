//! The login server: tokens by client secret, certificate, device code and refresh token, as a directory of Microsoft Entra gives them.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::call::{Answer, Reply};
use super::certificate::{self, Certificate};
use crate::form::Form;

/// The one organisation: a domain, and an id that means the same.
pub(super) const TENANT: &str = "example.com";
pub(super) const TENANT_ID: &str = "5f2b6c1e-7a55-4d0e-9a53-0f5b1f6f0d11";
/// The one application.
pub(super) const CLIENT: &str = "7d1f5a3c-2b64-4f0c-8d25-6a9b0c3e1f22";
pub(super) const SECRET: &str = "pairwise~sandbox~secret";

/// How long an access token lives.
const LIFETIME: i64 = 3_599_000;
/// How long a person has to type a device code.
const DEVICE: i64 = 900_000;

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bearer {
    /// The application itself: every mailbox.
    Application,
    /// A person, by mailbox.
    Person(String),
}

/// A device that waits for a person.
#[derive(Debug)]
struct Device {
    user_code: String,
    until: i64,
    approved: Option<String>,
}

/// What the login server remembers.
#[derive(Debug)]
pub(super) struct Issued {
    tokens: HashMap<String, (Bearer, i64)>,
    refresh: HashMap<String, String>,
    devices: HashMap<String, Device>,
    count: u64,
    pub(super) secret: String,
    /// An old refresh token ends when it is used.
    pub(super) strict: bool,
    /// The application's certificate.
    pub(super) certificate: Option<Certificate>,
    /// What tokens must say: a claims challenge is answered to those that do not.
    demanded: Option<String>,
    /// Whether a person must be there to have them say it.
    interactive: bool,
    saying: HashSet<String>,
}

impl Default for Issued {
    fn default() -> Self {
        Issued {
            tokens: HashMap::new(),
            refresh: HashMap::new(),
            devices: HashMap::new(),
            count: 0,
            secret: SECRET.to_owned(),
            strict: false,
            certificate: None,
            demanded: None,
            interactive: false,
            saying: HashSet::new(),
        }
    }
}

impl Issued {
    /// Who comes with this token, if it is good.
    pub(super) fn bearer(&self, token: &str, now: i64) -> Option<Bearer> {
        self.tokens.get(token).filter(|(_, until)| *until > now).map(|(bearer, _)| bearer.clone())
    }

    /// Tokens must say this from now on; nothing, if it is empty.
    pub(super) fn demand(&mut self, claims: String, interactive: bool) {
        self.demanded = Some(claims).filter(|claims| !claims.is_empty());
        self.interactive = interactive;
        self.saying.clear();
    }

    /// What is wrong with a good token: it does not say what is demanded.
    pub(super) fn challenge(&self, token: &str) -> Option<String> {
        let demanded = self.demanded.as_ref().filter(|_| !self.saying.contains(token))?;
        Some(format!(
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
             error=\"insufficient_claims\", claims=\"{}\"",
            STANDARD.encode(demanded)
        ))
    }

    /// Whose token this is or was.
    pub(super) fn holder(&self, token: &str) -> Option<String> {
        match &self.tokens.get(token)?.0 {
            Bearer::Person(user) => Some(user.clone()),
            Bearer::Application => None,
        }
    }

    /// All access tokens end now.
    pub(super) fn end_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Consents are withdrawn.
    pub(super) fn end_consents(&mut self) {
        self.refresh.clear();
    }

    /// A person has consented before.
    pub(super) fn consent(&mut self, user: &str) -> String {
        let token = self.next("refresh");
        self.refresh.insert(token.clone(), user.to_owned());
        token
    }

    /// A person types a device's code.
    pub(super) fn approve(&mut self, user_code: &str, user: &str) -> bool {
        let device = self.devices.values_mut().find(|device| user_code.is_empty() || device.user_code == user_code);
        device.map(|device| device.approved = Some(user.to_owned())).is_some()
    }

    fn next(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}-{:08}-{:016x}", self.count, self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn access(&mut self, bearer: Bearer, now: i64, refresh: Option<String>) -> Reply {
        let token = self.next("access");
        self.tokens.insert(token.clone(), (bearer.clone(), now + LIFETIME));
        let mut body = json!({
            "token_type": "Bearer",
            "expires_in": LIFETIME / 1000,
            "ext_expires_in": LIFETIME / 1000,
            "access_token": token,
        });
        if let Bearer::Person(user) = bearer {
            body["refresh_token"] = json!(refresh);
            body["scope"] = json!("Contacts.ReadWrite Calendars.ReadWrite MailboxSettings.Read");
            body["client_info"] = json!(base64_url(&json!({ "uid": user, "utid": TENANT_ID }).to_string()));
        }
        Reply::ok(body)
    }

    /// `POST /{tenant}/oauth2/v2.0/token` and `/devicecode`, and what a client reads first.
    pub(super) fn handle(&mut self, tenant: &str, what: &str, body: &[u8], base: &str, now: i64) -> Answer {
        let known =
            [TENANT, TENANT_ID, "common", "organizations"].iter().any(|known| tenant.eq_ignore_ascii_case(known));
        if !known {
            let message =
                format!("AADSTS90002: Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
            return Err(denied(400, "invalid_request", 90_002, &message));
        }
        let form = Form::read(body);
        match what {
            "openid-configuration" => Ok(Reply::ok(configuration(tenant, base))),
            "devicecode" => {
                form.client()?;
                let (device_code, number) = (self.next("device"), self.count);
                let user_code = format!("PW{number:06}");
                let device = Device { user_code: user_code.clone(), until: now + DEVICE, approved: None };
                self.devices.insert(device_code.clone(), device);
                let page = format!("{base}/devicelogin");
                Ok(Reply::ok(json!({
                    "device_code": device_code,
                    "user_code": user_code,
                    "verification_uri": page,
                    "expires_in": DEVICE / 1000,
                    "interval": 1,
                    "message": format!("To sign in, open {page} and enter the code {user_code} to authenticate."),
                })))
            }
            _ => self.token(&form, base, tenant, now),
        }
    }

    fn token(&mut self, form: &Form, base: &str, tenant: &str, now: i64) -> Answer {
        form.client()?;
        let claims = form.get("claims");
        if self.interactive && !claims.is_empty() {
            let message = "AADSTS50076: Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication.";
            return Err(denied(400, "interaction_required", 50_076, message));
        }
        let granted = self.granted(form, base, tenant, now)?;
        if let Some(token) = granted.body["access_token"].as_str().filter(|_| self.demanded.as_deref() == Some(claims))
        {
            self.saying.insert(token.to_owned());
        }
        Ok(granted)
    }

    fn granted(&mut self, form: &Form, base: &str, tenant: &str, now: i64) -> Answer {
        let secret = form.get("client_secret");
        if !secret.is_empty() && secret != self.secret {
            let message = format!("AADSTS7000215: Invalid client secret provided for app '{CLIENT}'.");
            return Err(denied(401, "invalid_client", 7_000_215, &message));
        }
        let asserted = !form.get("client_assertion").is_empty();
        if asserted {
            let kind = form.get("client_assertion_type");
            let address = format!("{base}/{tenant}/oauth2/v2.0/token");
            let known = self.certificate.as_ref().filter(|_| kind == certificate::KIND);
            known
                .ok_or("The certificate is not known.")
                .and_then(|known| known.verify(form.get("client_assertion"), CLIENT, &address))
                .map_err(|why| {
                    denied(
                        401,
                        "invalid_client",
                        700_027,
                        &format!("AADSTS700027: Client assertion failed signature validation. {why}"),
                    )
                })?;
        }
        match form.get("grant_type") {
            "client_credentials" if secret.is_empty() && !asserted => Err(denied(
                401,
                "invalid_client",
                7_000_216,
                "AADSTS7000216: 'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
            )),
            "client_credentials" if !form.get("scope").ends_with("/.default") => Err(denied(
                400,
                "invalid_scope",
                1_002_012,
                "AADSTS1002012: The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed.",
            )),
            "client_credentials" => Ok(self.access(Bearer::Application, now, None)),
            "refresh_token" => {
                let old = form.get("refresh_token").to_owned();
                let Some(user) = self.refresh.get(&old).cloned() else {
                    return Err(denied(
                        400,
                        "invalid_grant",
                        700_082,
                        "AADSTS700082: The refresh token has expired due to inactivity.",
                    ));
                };
                if self.strict {
                    self.refresh.remove(&old);
                }
                let new = self.consent(&user);
                Ok(self.access(Bearer::Person(user), now, Some(new)))
            }
            "urn:ietf:params:oauth:grant-type:device_code" | "device_code" => self.device(form, now),
            other => {
                let message = format!("AADSTS70003: The app requested an unsupported grant type '{other}'.");
                Err(denied(400, "unsupported_grant_type", 70_003, &message))
            }
        }
    }

    fn device(&mut self, form: &Form, now: i64) -> Answer {
        let code = form.get("device_code");
        let user = match self.devices.get(code) {
            None => {
                return Err(denied(400, "bad_verification_code", 70_018, "AADSTS70018: Invalid verification code."));
            }
            Some(device) if device.until <= now => {
                return Err(denied(400, "expired_token", 70_020, "AADSTS70020: The device code has expired."));
            }
            Some(device) => device.approved.clone(),
        };
        let Some(user) = user else {
            let message = "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
            return Err(denied(400, "authorization_pending", 70_016, message));
        };
        self.devices.remove(code);
        let refresh = self.consent(&user);
        Ok(self.access(Bearer::Person(user), now, Some(refresh)))
    }
}

fn configuration(tenant: &str, base: &str) -> Value {
    // MSAL insists on https; whoever tests it rewrites the scheme.
    let secure = base.replacen("http://", "https://", 1);
    json!({
        "issuer": format!("{secure}/{TENANT_ID}/v2.0"),
        "token_endpoint": format!("{secure}/{tenant}/oauth2/v2.0/token"),
        "authorization_endpoint": format!("{secure}/{tenant}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{secure}/{tenant}/oauth2/v2.0/devicecode"),
        "jwks_uri": format!("{secure}/{tenant}/discovery/v2.0/keys"),
        "response_types_supported": ["code", "id_token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

fn denied(status: u16, error: &str, code: u32, description: &str) -> Reply {
    Reply::json(
        status,
        json!({ "error": error, "error_description": description, "error_codes": [code], "correlation_id": TENANT_ID }),
    )
}

impl Form {
    fn client(&self) -> Result<(), Reply> {
        let client = self.get("client_id");
        if client == CLIENT {
            return Ok(());
        }
        let message =
            format!("AADSTS700016: Application with identifier '{client}' was not found in the directory '{TENANT}'.");
        Err(denied(400, "unauthorized_client", 700_016, &message))
    }
}

/// Base64 for URLs, without padding.
fn base64_url(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Base64 as properties have it.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
