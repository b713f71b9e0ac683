//! The channel binding of NTLM logins (RFC 5929, `tls-server-end-point`): the hash of the certificate that the server shows.
//!
//! Servers with Extended Protection, which is the default since Exchange 2019 CU14, refuse NTLM logins without it. It depends on
//! the certificate alone: one handshake, broken off as soon as the certificate is there, tells it for all connections. Nothing
//! is sent on that connection, so that nobody who answers it gains anything: a certificate that is not the server's makes a
//! binding that the server refuses.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use md5::{Digest, Md5};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Sha256, Sha384, Sha512};

/// The MD5 of the bindings, as a login carries it.
pub(crate) type Binding = [u8; 16];

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer of a proxy before its connection begins.
const LONGEST_ANSWER: usize = 16 << 10;

/// The binding of connections to the server at this address; `None` where the address has no certificate.
pub(crate) fn of_server(url: &str, proxy: Option<&str>) -> io::Result<Option<Binding>> {
    let Some((host, port)) = url.strip_prefix("https://").and_then(|rest| authority(rest, 443)) else {
        return Ok(None);
    };
    let mut socket = match proxy {
        None => connect(host, port)?,
        Some(proxy) => through(proxy, host, port)?,
    };
    let certificate = certificate(&mut socket, host)?;
    Ok(binding(&certificate))
}

/// Host and port of what follows the scheme of an address.
fn authority(rest: &str, usual: u16) -> Option<(&str, u16)> {
    let authority = rest.split('/').next()?.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, usual),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']'), port))
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection that a proxy makes.
fn through(proxy: &str, host: &str, port: u16) -> io::Result<TcpStream> {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let (by, at) = authority(rest, 80).ok_or(io::ErrorKind::InvalidInput)?;
    let mut socket = connect(by, at)?;
    write!(socket, "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        answer.extend_from_slice(&byte);
        if answer.len() > LONGEST_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    match first.split(' ').nth(1) {
        Some("200") => Ok(socket),
        _ => Err(io::Error::other(format!("the proxy answered `{first}`"))),
    }
}

/// The server's certificate. The handshake goes no further than that.
fn certificate(socket: &mut TcpStream, host: &str) -> io::Result<Vec<u8>> {
    let seen = Arc::new(Seen::default());
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let ended = connection.complete_io(socket);
    let seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, ended) {
        (Some(certificate), _) => Ok(certificate),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Looks at the certificate, and trusts none.
#[derive(Debug, Default)]
struct Seen(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate.to_vec());
        Err(Error::General("the certificate is all that was wanted".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("nothing is verified here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_tls12_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The binding of connections with this certificate; `None` if it is none.
pub(crate) fn binding(certificate: &[u8]) -> Option<Binding> {
    let hash = match hash_of(algorithm(certificate)?) {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    };
    let data = [b"tls-server-end-point:".as_slice(), &hash].concat();
    // gss_channel_bindings_struct (RFC 2744): neither side tells an address.
    let mut bindings = vec![0; 16];
    bindings.extend_from_slice(&u32::try_from(data.len()).ok()?.to_le_bytes());
    bindings.extend_from_slice(&data);
    Some(Md5::digest(&bindings).into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The hash that belongs to an algorithm of signatures, with its parameters: that of the signature, and SHA-256 where it is a
/// weaker one.
fn hash_of(algorithm: &[u8]) -> Hash {
    const LONGER: &[(&[u8], Hash)] = &[
        // ecdsa-with-SHA384, ecdsa-with-SHA512
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], Hash::Sha384),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], Hash::Sha512),
        // sha384WithRSAEncryption, sha512WithRSAEncryption
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], Hash::Sha384),
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], Hash::Sha512),
        // SHA-384, SHA-512 as parameters of RSASSA-PSS
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], Hash::Sha384),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03], Hash::Sha512),
    ];
    let names = |id: &[u8]| algorithm.windows(id.len()).any(|window| window == id);
    LONGER.iter().find(|(id, _)| names(id)).map_or(Hash::Sha256, |(_, hash)| *hash)
}

/// The algorithm of a certificate's signature: what stands behind its first part (RFC 5280, 4.1).
fn algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (whole, _) = sequence(certificate)?;
    let (_, rest) = sequence(whole)?;
    sequence(rest).map(|(algorithm, _)| algorithm)
}

/// The content of the sequence that bytes begin with, and what follows it.
fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x30, first, rest @ ..] = der else { return None };
    let (length, rest) = match first & 0x7f {
        short if *first < 0x80 => (usize::from(short), rest),
        count => {
            let (digits, rest) = rest.split_at_checked(usize::from(count)).filter(|_| count <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// The expected bytes are what requests_ntlm 1.3.0 with pyspnego 0.12.4 makes of the same certificate.
    #[test]
    fn the_binding_is_that_of_other_clients() {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tests/tls/server.pem")).unwrap();
        let expected = "0692a60548abe2758537c13abe7536b1";
        let made: String = binding(&certificate).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(made, expected);
        assert_eq!(binding(b"no certificate"), None);
        assert_eq!(binding(&certificate[..40]), None);
    }

    #[test]
    fn weak_hashes_are_replaced() {
        let rsa = |last| [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last, 0x05, 0x00];
        let hashes = [0x04, 0x05, 0x0b, 0x0c, 0x0d].map(|last| hash_of(&rsa(last)));
        assert_eq!(hashes, [Hash::Sha256, Hash::Sha256, Hash::Sha256, Hash::Sha384, Hash::Sha512]);
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        let of = |rest| authority(rest, 443);
        assert_eq!(of("mail.example.com/EWS/Exchange.asmx"), Some(("mail.example.com", 443)));
        assert_eq!(of("mail.example.com:8443/EWS"), Some(("mail.example.com", 8443)));
        assert_eq!(of("[::1]:8443/EWS"), Some(("::1", 8443)));
        assert_eq!(of("[::1]/EWS"), Some(("::1", 443)));
        assert_eq!(of("user:secret@proxy:3128"), Some(("proxy", 3128)));
    }
}
