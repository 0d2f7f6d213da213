//! Configuration of one cluster.

use crate::base::secret::Secret;
use crate::policy::ClusterPolicy;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::time::Duration;

/// One cluster of clusters.json.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterConfig {
    pub name: String,
    /// At least one. Every node answers for the whole cluster.
    pub endpoints: Vec<Endpoint>,
    /// `user@realm`.
    pub user: String,
    /// Name of the API token, without the user.
    pub token_id: String,
    pub token_secret: Secret,
    pub tls: TlsVerification,
    /// Time limit of an API call from end to end.
    pub timeout: Duration,
    /// If set, the cluster is asked for more nodes.
    pub discover_nodes: bool,
    /// The cluster is the one of `--demo`.
    pub is_simulated: bool,
    pub policy: ClusterPolicy,
}

impl ClusterConfig {
    /// Returns a short description of the verification of certificates.
    pub fn tls_mode(&self) -> &'static str {
        match self.tls {
            _ if self.endpoints.iter().all(|e| !e.https) => "none (http on loopback)",
            TlsVerification::PublicRoots => "public roots",
            TlsVerification::Ca(_) => "ca_file",
            TlsVerification::Fingerprints(_) => "fingerprint",
            TlsVerification::Unverified => "not verified",
        }
    }
}

/// The address of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// False only for a loopback address.
    pub https: bool,
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    /// 8006 by default.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// Writes `host:port`, IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Verification of a node's certificate.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsVerification {
    /// By the public roots (an ACME certificate).
    PublicRoots,
    /// By the certificates of `ca_file`, at least one.
    Ca(Vec<CertificateDer<'static>>),
    /// By the SHA-256 of the leaf, whatever its issuer. At least one, usually one per node.
    Fingerprints(Vec<Fingerprint>),
    /// No verification (`verify_ssl: false`).
    Unverified,
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    /// Writes upper-case hex pairs with colons, as Proxmox does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}
