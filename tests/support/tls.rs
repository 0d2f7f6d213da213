//! Certificates of the server, and clients that accept any certificate.
#![allow(dead_code)]

use proxmox_mcp::http::ServerCertificate;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A certificate and its key.
pub struct Pair(CertifiedKey<KeyPair>);

impl Pair {
    /// Creates a pair for localhost.
    pub fn new() -> Self {
        Self(generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate"))
    }

    pub fn cert(&self) -> String {
        self.0.cert.pem()
    }

    pub fn key(&self) -> String {
        self.0.signing_key.serialize_pem()
    }

    /// Returns the certificate that a client receives.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.0.cert.der()
    }
}

/// The files of a certificate and its key.
pub struct Files {
    folder: TempDir,
}

impl Files {
    pub fn of(pair: &Pair) -> Self {
        let files = Self { folder: TempDir::new().expect("a folder") };
        files.hold(&pair.cert(), &pair.key());
        files
    }

    /// Replaces both files, as most programs that renew certificates do.
    pub fn hold(&self, cert: &str, key: &str) {
        for (path, text) in [(self.cert(), cert), (self.key(), key)] {
            let new = path.with_extension("new");
            fs::write(&new, text).expect("to write");
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("to change the mode");
            fs::rename(&new, path).expect("to rename");
        }
    }

    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    pub fn identity(&self) -> ServerCertificate {
        ServerCertificate::load(&self.cert(), &self.key()).expect("a pair that fits")
    }
}

/// Returns the configuration of a client that accepts any certificate.
pub fn trusting_any_certificate() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(any_certificate())
        .with_no_client_auth();
    Arc::new(config)
}

/// Returns a verifier that accepts any certificate.
pub fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyCertificate)
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
