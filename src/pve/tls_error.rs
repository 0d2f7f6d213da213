//! TLS failures of a node and their remedies in clusters.json.

use crate::config::Fingerprint;
use crate::pve::knowledge::other_servers::{OtherServer, recognize_greeting};
use std::fmt;

/// Failed TLS handshake.
#[derive(Clone, Debug)]
pub struct TlsError {
    pub kind: TlsErrorKind,
    /// SHA-256 of the certificate that the node presented, if the certificate is the cause.
    pub fingerprint: Option<Fingerprint>,
    /// The server other than Proxmox VE that the certificate names.
    pub server: Option<&'static OtherServer>,
    /// The TLS library's message, for the log.
    pub detail: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TlsError {}

/// Kind of a TLS failure.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsErrorKind {
    /// The port answers, but not with TLS.
    NotTls {
        /// The start of the answer, if it is text.
        start: String,
    },
    /// The certificate is malformed or not signed by a trusted authority.
    Untrusted,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for other names than the one in clusters.json.
    WrongName {
        /// The names in the certificate, as far as known.
        presented: Vec<String>,
    },
    /// The certificate is not a pinned one.
    PinMismatch {
        /// The fingerprints in clusters.json.
        expected: Vec<Fingerprint>,
    },
    /// The node and this client did not agree on a version or cipher.
    Handshake,
}

impl TlsError {
    /// Writes the cause for a caller: the failure of `node` and the certificate presented.
    pub(super) fn write_cause(&self, f: &mut fmt::Formatter<'_>, node: &str) -> fmt::Result {
        match &self.kind {
            TlsErrorKind::NotTls { start } => {
                write!(f, "{node} answers, but does not speak TLS")?;
                return match recognize_greeting(start) {
                    Some(server) => write!(f, ": it seems to be {}", server.name),
                    None if start.starts_with("HTTP/") => f.write_str(": it speaks plain http"),
                    None => Ok(()),
                };
            }
            TlsErrorKind::Handshake => {
                return write!(
                    f,
                    "the TLS handshake with {node} failed: no common version or cipher, or a device in between"
                );
            }
            TlsErrorKind::Untrusted => {
                write!(f, "the certificate of {node} is not signed by an authority that is trusted here")?;
            }
            TlsErrorKind::Expired => write!(f, "the certificate of {node} has expired")?,
            TlsErrorKind::NotYetValid => write!(f, "the certificate of {node} is not valid yet")?,
            TlsErrorKind::WrongName { presented } => {
                write!(f, "the certificate of {node} is for another name")?;
                if !presented.is_empty() {
                    write!(f, " ({})", presented.join(", "))?;
                }
            }
            TlsErrorKind::PinMismatch { expected } => match expected.as_slice() {
                [one] => write!(f, "the certificate of {node} is not the pinned one (expected {one})")?,
                several => write!(f, "the certificate of {node} is not one of the {} pinned ones", several.len())?,
            },
        }
        if let Some(server) = self.server {
            write!(f, "; it names {}", server.name)?;
        }
        let is_date = matches!(self.kind, TlsErrorKind::Expired | TlsErrorKind::NotYetValid);
        self.fingerprint.filter(|_| !is_date).map_or(Ok(()), |fingerprint| write!(f, "; seen: {fingerprint}"))
    }

    /// Returns the step that this kind of failure needs on the node or in clusters.json, apart from trusting another
    /// certificate.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        if let Some(server) = self.server {
            return Some(server.hint);
        }
        match &self.kind {
            TlsErrorKind::NotTls { .. } => Some("check the port in clusters.json (Proxmox VE's API listens on 8006)"),
            TlsErrorKind::Handshake => Some("check the address and port in clusters.json"),
            TlsErrorKind::Expired => {
                Some("renew it on the node (`pvecm updatecerts --force`), or correct the clock of this machine")
            }
            TlsErrorKind::NotYetValid => Some("compare the clocks of the node and of this machine"),
            TlsErrorKind::WrongName { .. } => Some("write a name or address of the certificate into clusters.json"),
            TlsErrorKind::Untrusted | TlsErrorKind::PinMismatch { .. } => None,
        }
    }

    /// Returns the entry in clusters.json by which the presented certificate becomes trusted.
    pub(super) fn trust_hint(&self) -> Option<String> {
        let seen = self.fingerprint.filter(|_| self.server.is_none())?;
        match &self.kind {
            TlsErrorKind::PinMismatch { expected } if expected.len() > 1 => Some(format!(
                "if it was renewed and the node's own page (System, Certificates) shows the same, put \"{seen}\" into the \
                 list \"fingerprint\" in clusters.json; if not, an attacker may be in between"
            )),
            TlsErrorKind::PinMismatch { .. } => Some(format!(
                "if it was renewed and the node's own page (System, Certificates) shows the same, put \"fingerprint\": \
                 \"{seen}\" into clusters.json (for several nodes, a list with the fingerprint of each); if not, an \
                 attacker may be in between"
            )),
            // A pin does not mend a date.
            TlsErrorKind::NotTls { .. }
            | TlsErrorKind::Handshake
            | TlsErrorKind::Expired
            | TlsErrorKind::NotYetValid => None,
            _ => Some(format!(
                "if the node's own page (System, Certificates) shows the same, put \"fingerprint\": \"{seen}\" into its \
                 entry in clusters.json to pin it, or the cluster's CA certificate (/etc/pve/pve-root-ca.pem) as \
                 `ca_file`, or, for a test only, \"verify_ssl\": false"
            )),
        }
    }
}
