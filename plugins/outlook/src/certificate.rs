//! Logins of the application by its certificate: instead of a secret it sends a statement that its key has signed (RFC 7523).

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pairwise_http::{Json, json, uuid};
use pairwise_plugin_api::{Class, Failure, Result};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use sha2::{Digest, Sha256};

use crate::auth::CLIENT_CERTIFICATE;

/// What the statement is called in a request for a token.
pub(crate) const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds that a statement is good for.
const LIFE: i64 = 600;

/// A certificate whose key is known.
pub(crate) struct Certificate {
    key: Arc<dyn SigningKey>,
    /// By which the login server finds it among those of the application.
    thumbprint: String,
}

/// The key is not for eyes.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.thumbprint)
    }
}

impl Certificate {
    /// From PEM that holds both.
    pub(crate) fn read(pem: &str) -> Result<Certificate> {
        let wrong = |what: &str| {
            let text = format!(
                "the secret `{CLIENT_CERTIFICATE}` {what}: expected PEM with the certificate of the application's registration \
                 and its private key, which is not encrypted"
            );
            Failure::new(Class::Auth, text)
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong("holds no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong("holds no private key"))?;
        let key = any_supported_type(&key).map_err(|_| wrong("holds a private key of no known kind"))?;
        if key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).is_none() {
            return Err(wrong("holds a key that is not one of RSA"));
        }
        Ok(Certificate { key, thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)) })
    }

    /// The statement that whoever sends it is this application, for this address and for a short time from `now` on, in seconds.
    pub(crate) fn statement(&self, client: &str, audience: &str, now: i64) -> Result<String> {
        let head = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let body = json!({
            "aud": audience, "iss": client, "sub": client, "jti": uuid(), "nbf": now, "exp": now + LIFE,
        });
        let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let said = format!("{}.{}", part(&head), part(&body));
        let signed = self.key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]);
        let signed = signed.and_then(|signer| signer.sign(said.as_bytes()).ok());
        let signed = signed.ok_or_else(|| {
            Failure::new(Class::Auth, format!("the key in the secret `{CLIENT_CERTIFICATE}` cannot sign"))
        })?;
        Ok(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signed)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// `openssl x509 -outform DER | openssl dgst -sha256 -binary`, in base64 for addresses.
    const THUMBPRINT: &str = "YKbacF9mFl-Eb_uHZmlL_FD9X5vyW3fBqtCGdGZ5SDY";
    const BOTH: &str = include_str!("tests/application.pem");

    #[test]
    fn a_statement_names_who_and_for_whom() {
        let certificate = Certificate::read(BOTH).unwrap();
        let statement = certificate.statement("app", "https://login.example.com/token", 1_000).unwrap();
        let parts: Vec<Vec<u8>> = statement.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let [head, body] = [0, 1].map(|at| serde_json::from_slice::<Json>(&parts[at]).unwrap());
        assert_eq!((head["alg"].as_str(), head["x5t#S256"].as_str()), (Some("PS256"), Some(THUMBPRINT)));
        assert_eq!((body["iss"].as_str(), body["sub"].as_str()), (Some("app"), Some("app")));
        assert_eq!((body["nbf"].as_i64(), body["exp"].as_i64()), (Some(1_000), Some(1_600)));
        assert_eq!(body["aud"].as_str(), Some("https://login.example.com/token"));
        assert_eq!(parts[2].len(), 256);
        assert_ne!(statement, certificate.statement("app", "https://login.example.com/token", 1_000).unwrap());
    }

    #[test]
    fn a_file_without_its_key_is_told() {
        let (certificate, key) = BOTH.split_at(BOTH.find("-----BEGIN PRIVATE KEY").unwrap());
        let told = |pem: &str| Certificate::read(pem).unwrap_err();
        assert!(told(certificate).text.contains("no private key"));
        assert!(told(key).text.contains("no certificate"));
        let said = told("secret words");
        assert!(said.class == Class::Auth && !said.text.contains("secret words"), "{said}");
    }
}
