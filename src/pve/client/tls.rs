//! TLS to a node: one rustls configuration per cluster, four ways to trust a certificate, and errors that name the
//! certificate presented.

use crate::config::{Fingerprint, TlsVerification};
use crate::pve::error::{TlsError, TlsErrorKind};
use crate::pve::knowledge::other_servers::{OtherServer, recognize_name};
use crate::pve::knowledge::text::{to_one_line, to_visible_start};
use ring::digest;
use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::sync::Arc;
use thiserror::Error;

thread_local! {
    /// The certificate that a verifier on this thread rejected last. rustls passes on the error without its certificate,
    /// and a handshake runs on the thread of its call.
    static REJECTED_CERTIFICATE: Cell<Option<RejectedCertificate>> = const { Cell::new(None) };
}

/// Facts of a certificate that a verifier rejected.
struct RejectedCertificate {
    fingerprint: Fingerprint,
    server: Option<&'static OtherServer>,
}

/// The bytes of an answer that are kept, in case it is not TLS.
const MAX_START_BYTES: usize = 64;

/// Socket that keeps the start of what it receives.
struct StartRecorder<'a, S> {
    socket: &'a mut S,
    start: Vec<u8>,
}

impl<S: Read> Read for StartRecorder<'_, S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let amount = self.socket.read(bytes)?;
        let room = MAX_START_BYTES.saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(amount.min(room)));
        Ok(amount)
    }
}

impl<S: Write> Write for StartRecorder<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Failure to set TLS up.
#[derive(Debug, Error)]
pub enum TlsSetupError {
    #[error("`ca_file` has a certificate that can't serve as an authority: {0}")]
    UnusableCa(rustls::Error),
    #[error("`ca_file` has no certificate that can serve as an authority: {0}")]
    NoUsableCa(VerifierBuilderError),
    #[error("TLS can't be set up: {0}")]
    Protocol(rustls::Error),
}

/// Builds the TLS configuration for a server that is verified in this way.
pub fn build_client_config(tls: &TlsVerification) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = match tls {
        TlsVerification::PublicRoots => TrustMode::Roots(build_verifier(
            RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            &provider,
        )?),
        TlsVerification::Ca(certificates) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                roots.add(certificate.clone()).map_err(TlsSetupError::UnusableCa)?;
            }
            TrustMode::Roots(build_verifier(roots, &provider)?)
        }
        TlsVerification::Fingerprints(pins) => TrustMode::Pins(pins.as_slice().into()),
        TlsVerification::Unverified => TrustMode::Unverified,
    };
    let verifier = NodeCertVerifier { trust, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Protocol)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn build_verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsSetupError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(TlsSetupError::NoUsableCa)
}

/// Completes a handshake with `host` (a name, or an address without brackets) over `socket`.
///
/// A failure of the socket is returned unchanged. A failure of TLS is a [`TlsError`] inside the `io::Error`.
pub(in crate::pve) fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    socket: &mut (impl Read + Write),
) -> io::Result<ClientConnection> {
    REJECTED_CERTIFICATE.set(None);
    let tls_error = |error: &rustls::Error, start: &[u8]| {
        let rejected = REJECTED_CERTIFICATE.take();
        io::Error::other(TlsError {
            kind: classify_error(error, start),
            server: rejected.as_ref().and_then(|rejected| rejected.server),
            fingerprint: rejected.map(|rejected| rejected.fingerprint),
            detail: error.to_string(),
        })
    };
    let mut recorder = StartRecorder { socket, start: Vec::new() };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(config.clone(), name).map_err(|e| tls_error(&e, &[]))?;
    match connection.complete_io(&mut recorder) {
        Ok(_) => Ok(connection),
        Err(error) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => tls_error(error, &recorder.start),
            None => error,
        }),
    }
}

fn classify_error(error: &rustls::Error, start: &[u8]) -> TlsErrorKind {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => TlsErrorKind::NotTls { start: to_visible_start(start) },
            _ => TlsErrorKind::Handshake,
        };
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsErrorKind::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsErrorKind::NotYetValid,
        CertificateError::NotValidForName => TlsErrorKind::WrongName { presented: Vec::new() },
        CertificateError::NotValidForNameContext { presented, .. } => TlsErrorKind::WrongName {
            presented: presented.iter().take(8).map(|name| strip_name_wrapper(name)).collect(),
        },
        CertificateError::Other(other) => match other.0.downcast_ref::<PinMismatchError>() {
            Some(PinMismatchError(pins)) => TlsErrorKind::PinMismatch { expected: pins.to_vec() },
            None => TlsErrorKind::Untrusted,
        },
        _ => TlsErrorKind::Untrusted,
    }
}

/// Returns the name in `DnsName("pve1")` or `IpAddress(10.0.0.1)`, the forms of the TLS library.
fn strip_name_wrapper(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    to_one_line(inner.trim_matches('"'), 100)
}

#[derive(Debug)]
enum TrustMode {
    /// Trusts a chain to one of these roots, for the right name, valid now.
    Roots(Arc<WebPkiServerVerifier>),
    /// Trusts a certificate with one of these SHA-256 fingerprints, regardless of its issuer, names and dates.
    Pins(Arc<[Fingerprint]>),
    /// Trusts every certificate.
    Unverified,
}

/// Rejection of a certificate that is not a pinned one, passed through rustls. Has the expected fingerprints.
#[derive(Debug)]
struct PinMismatchError(Arc<[Fingerprint]>);

impl std::fmt::Display for PinMismatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not the pinned certificate")?;
        for (i, pin) in self.0.iter().enumerate() {
            write!(f, "{} {pin}", if i == 0 { "" } else { " or" })?;
        }
        Ok(())
    }
}

impl std::error::Error for PinMismatchError {}

#[derive(Debug)]
struct NodeCertVerifier {
    trust: TrustMode,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for NodeCertVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result = match &self.trust {
            TrustMode::Roots(roots) => roots.verify_server_cert(leaf, intermediates, name, ocsp, now),
            TrustMode::Pins(pins) if !pins.contains(&compute_fingerprint(leaf)) => {
                Err(CertificateError::Other(OtherError(Arc::new(PinMismatchError(pins.clone())))).into())
            }
            TrustMode::Pins(_) | TrustMode::Unverified => Ok(ServerCertVerified::assertion()),
        };
        if result.is_err() {
            let (fingerprint, server) = (compute_fingerprint(leaf), recognize_name(leaf));
            REJECTED_CERTIFICATE.set(Some(RejectedCertificate { fingerprint, server }));
        }
        result
    }

    // In every mode the node must prove that it holds the certificate's key. Otherwise a pin, which an attacker can read
    // off the network, would prove nothing.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Returns the SHA-256 of the whole certificate, as Proxmox shows it.
fn compute_fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, certificate);
    Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_an_authority_is_named() {
        for certificates in [vec![], vec![CertificateDer::from(b"junk".to_vec())]] {
            assert!(
                build_client_config(&TlsVerification::Ca(certificates)).unwrap_err().to_string().contains("`ca_file`")
            );
        }
    }

    #[test]
    fn every_mode_has_a_configuration() {
        for tls in [
            TlsVerification::PublicRoots,
            TlsVerification::Fingerprints(vec![Fingerprint([0; 32])]),
            TlsVerification::Unverified,
        ] {
            assert!(build_client_config(&tls).is_ok());
        }
    }

    #[test]
    fn a_fingerprint_is_the_sha256_of_the_certificate() {
        let empty = compute_fingerprint(&CertificateDer::from(&[][..])).to_string();
        assert!(empty.starts_with("E3:B0:C4:42:98:FC:1C:14:"), "{empty}");
    }

    #[test]
    fn names_lose_their_wrapper() {
        assert_eq!(strip_name_wrapper("DnsName(\"pve1.lan\")"), "pve1.lan");
        assert_eq!(strip_name_wrapper("IpAddress(10.0.0.1)"), "10.0.0.1");
        assert_eq!(strip_name_wrapper("pve1"), "pve1");
    }
}
