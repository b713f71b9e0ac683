//! The certificate of an application, and what it states with its key instead of sending a secret (RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use serde_json::Value;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;
use webpki::ring::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

/// What a statement is called in a request for a token.
pub(super) const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate(CertificateDer<'static>);

impl Certificate {
    pub(super) fn of_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        EndEntityCert::try_from(&der).is_ok().then_some(Certificate(der))
    }

    /// Whether a statement is signed with the certificate's key, and is this client's, for this address.
    pub(super) fn verify(&self, statement: &str, client: &str, address: &str) -> Result<(), &'static str> {
        let (said, signature) = statement.rsplit_once('.').ok_or("It has no signature.")?;
        let (head, body) = said.split_once('.').ok_or("It has no body.")?;
        let plain = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let json = |part: &str| plain(part).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let (head, body) = json(head).zip(json(body)).ok_or("It cannot be read.")?;
        let algorithm: &dyn SignatureVerificationAlgorithm = match head["alg"].as_str() {
            Some("PS256") => RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            Some("RS256") => RSA_PKCS1_2048_8192_SHA256,
            _ => return Err("Its algorithm is not supported."),
        };
        // Microsoft's own client pads it. Older ones name the certificate by its SHA-1, which is left to the signature.
        let print = URL_SAFE_NO_PAD.encode(Sha256::digest(&self.0));
        if head["x5t#S256"].as_str().is_some_and(|told| told.trim_end_matches('=') != print) {
            return Err("The thumbprint is that of another certificate.");
        }
        let signed = EndEntityCert::try_from(&self.0).ok().zip(plain(signature));
        let holds = signed.is_some_and(|(certificate, signature)| {
            certificate.verify_signature(algorithm, said.as_bytes(), &signature).is_ok()
        });
        if !holds {
            return Err("The signature is invalid.");
        }
        let same = |name: &str| body[name].as_str() == Some(client);
        // Clients insist on https, which ends before this server.
        let place = |address: &str| address.split_once("://").map(|(_, place)| place.to_lowercase());
        if !same("iss") || !same("sub") || body["aud"].as_str().and_then(place) != place(address) {
            return Err("It is not this client's, or for another address.");
        }
        // The client's clock is not the sandbox's.
        let time = |name: &str| body[name].as_f64();
        let (from, until) = (time("nbf").or_else(|| time("iat")).unwrap_or(0.0), time("exp").unwrap_or(0.0));
        if until - from > 86_400.0 || until <= from {
            return Err("It lives too long.");
        }
        Ok(())
    }
}
