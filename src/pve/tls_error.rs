//! What is wrong with a node's TLS, and what to write into clusters.json about it.

use crate::config::Fingerprint;
use std::fmt;

/// A TLS handshake that failed.
#[derive(Debug)]
pub struct TlsError {
    /// What is wrong.
    pub kind: TlsErrorKind,
    /// SHA-256 of the certificate that the node showed, where that is what is wrong.
    pub fingerprint: Option<Fingerprint>,
    /// The TLS library's own words.
    pub detail: String,
}

impl fmt::Display for TlsError {
    /// The inside text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TlsError {}

/// What is wrong with a node's TLS.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsErrorKind {
    /// The port answers, but not with TLS.
    NotTls,
    /// The certificate isn't signed by an authority trusted here, or is malformed.
    Untrusted,
    /// The certificate has expired.
    Expired,
    /// The certificate is of the future.
    NotYetValid,
    /// The certificate is for other names than the one in clusters.json.
    WrongName {
        /// The names it is for, as far as known.
        presented: Vec<String>,
    },
    /// The certificate isn't the pinned one, or none of those.
    PinMismatch {
        /// The fingerprints in clusters.json.
        expected: Vec<Fingerprint>,
    },
    /// The two ends did not agree.
    Handshake,
}

impl TlsError {
    /// The outside text: what is wrong with `node`'s TLS and how to mend it.
    pub(super) fn explain(&self, f: &mut fmt::Formatter<'_>, node: &str) -> fmt::Result {
        self.write_cause(f, node)?;
        let Some(seen) = &self.fingerprint else { return Ok(()) };
        match &self.kind {
            TlsErrorKind::PinMismatch { expected } if expected.len() > 1 => write!(
                f,
                ". If it was renewed and the node's own page (System, Certificates) shows the same, put \"{seen}\" into \
                 the list \"fingerprint\" in clusters.json; if not, somebody may be in between"
            ),
            TlsErrorKind::PinMismatch { .. } => write!(
                f,
                ". If it was renewed and the node's own page (System, Certificates) shows the same, put \
                 \"fingerprint\": \"{seen}\" into clusters.json (where there are several nodes, a list with each node's \
                 own); if not, somebody may be in between"
            ),
            TlsErrorKind::NotTls | TlsErrorKind::Handshake => Ok(()),
            _ => write!(
                f,
                ". If the node's own page (System, Certificates) shows the same, put \"fingerprint\": \"{seen}\" into its \
                 entry in clusters.json to pin it, or the cluster's CA certificate (/etc/pve/pve-root-ca.pem) as \
                 `ca_file`, or, for a test only, \"verify_ssl\": false"
            ),
        }
    }

    /// What is wrong with `node`'s TLS, and the certificate seen.
    pub(super) fn write_cause(&self, f: &mut fmt::Formatter<'_>, node: &str) -> fmt::Result {
        match &self.kind {
            TlsErrorKind::NotTls => write!(
                f,
                "{node} answers, but does not speak TLS: check the port in clusters.json (Proxmox's API listens on 8006)"
            )?,
            TlsErrorKind::Handshake => write!(
                f,
                "the TLS handshake with {node} failed: the two ends have no version or cipher in common, or something \
                 is in between. Check the address and port in clusters.json"
            )?,
            TlsErrorKind::Untrusted => {
                write!(f, "the certificate of {node} is not signed by an authority that is trusted here")?;
            }
            TlsErrorKind::Expired => write!(f, "the certificate of {node} has expired: renew it on the node")?,
            TlsErrorKind::NotYetValid => {
                write!(
                    f,
                    "the certificate of {node} is not valid yet: compare the clocks of the node and of this machine"
                )?;
            }
            TlsErrorKind::WrongName { presented } => {
                write!(f, "the certificate of {node} is for another name")?;
                if !presented.is_empty() {
                    write!(f, " ({})", presented.join(", "))?;
                }
                f.write_str(": write a name or address it is for into clusters.json")?;
            }
            TlsErrorKind::PinMismatch { expected } => match expected.as_slice() {
                [one] => write!(f, "the certificate of {node} is not the pinned one (expected {one})")?,
                several => write!(f, "the certificate of {node} is none of the {} pinned ones", several.len())?,
            },
        }
        match (&self.fingerprint, &self.kind) {
            (None, _) | (_, TlsErrorKind::NotTls | TlsErrorKind::Handshake) => Ok(()),
            (Some(seen), _) => write!(f, "; seen: {seen}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::error::PveError;

    fn render_error(problem: TlsErrorKind) -> String {
        let failure = TlsError { kind: problem, fingerprint: Some(Fingerprint([0xAB; 32])), detail: "inside".into() };
        PveError::Tls { node: "pve1:8006".into(), error: Box::new(failure) }.to_string()
    }

    #[test]
    fn a_certificate_that_is_not_trusted_comes_with_the_three_remedies() {
        let text = render_error(TlsErrorKind::Untrusted);
        for hint in ["pve1:8006", "\"fingerprint\": \"AB:AB:", "`ca_file`", "\"verify_ssl\": false"] {
            assert!(text.contains(hint), "{text}");
        }
    }

    #[test]
    fn a_changed_certificate_is_no_reason_to_stop_checking() {
        let text = render_error(TlsErrorKind::PinMismatch { expected: vec![Fingerprint([1; 32])] });
        assert!(text.contains("expected 01:01:") && text.contains("seen: AB:AB:"), "{text}");
        assert!(!text.contains("verify_ssl"), "{text}");
    }
}
