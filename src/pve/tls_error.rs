//! What is wrong with a node's TLS, and what to write into clusters.json about it.

use crate::settings::Fingerprint;
use std::fmt;

/// A TLS handshake that failed.
#[derive(Debug)]
pub struct TlsFailure {
    /// What is wrong.
    pub problem: TlsProblem,
    /// SHA-256 of the certificate that the node showed, where that is what is wrong.
    pub seen: Option<Fingerprint>,
    /// The TLS library's own words.
    pub inside: String,
}

impl fmt::Display for TlsFailure {
    /// The inside text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inside)
    }
}

impl std::error::Error for TlsFailure {}

/// What is wrong with a node's TLS.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsProblem {
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

impl TlsFailure {
    /// The outside text: what is wrong with `node`'s TLS and how to mend it.
    pub(super) fn explain(&self, f: &mut fmt::Formatter<'_>, node: &str) -> fmt::Result {
        self.state(f, node)?;
        let Some(seen) = &self.seen else { return Ok(()) };
        match &self.problem {
            TlsProblem::PinMismatch { expected } if expected.len() > 1 => write!(
                f,
                ". If it was renewed and the node's own page (System, Certificates) shows the same, put \"{seen}\" into \
                 the list \"fingerprint\" in clusters.json; if not, somebody may be in between"
            ),
            TlsProblem::PinMismatch { .. } => write!(
                f,
                ". If it was renewed and the node's own page (System, Certificates) shows the same, put \
                 \"fingerprint\": \"{seen}\" into clusters.json (where there are several nodes, a list with each node's \
                 own); if not, somebody may be in between"
            ),
            TlsProblem::NotTls | TlsProblem::Handshake => Ok(()),
            _ => write!(
                f,
                ". If the node's own page (System, Certificates) shows the same, put \"fingerprint\": \"{seen}\" into its \
                 entry in clusters.json to pin it, or the cluster's CA certificate (/etc/pve/pve-root-ca.pem) as \
                 `ca_file`, or, for a test only, \"verify_ssl\": false"
            ),
        }
    }

    /// What is wrong with `node`'s TLS, and the certificate seen.
    pub(super) fn state(&self, f: &mut fmt::Formatter<'_>, node: &str) -> fmt::Result {
        match &self.problem {
            TlsProblem::NotTls => write!(
                f,
                "{node} answers, but does not speak TLS: check the port in clusters.json (Proxmox's API listens on 8006)"
            )?,
            TlsProblem::Handshake => write!(
                f,
                "the TLS handshake with {node} failed: the two ends have no version or cipher in common, or something \
                 is in between. Check the address and port in clusters.json"
            )?,
            TlsProblem::Untrusted => {
                write!(f, "the certificate of {node} is not signed by an authority that is trusted here")?;
            }
            TlsProblem::Expired => write!(f, "the certificate of {node} has expired: renew it on the node")?,
            TlsProblem::NotYetValid => {
                write!(
                    f,
                    "the certificate of {node} is not valid yet: compare the clocks of the node and of this machine"
                )?;
            }
            TlsProblem::WrongName { presented } => {
                write!(f, "the certificate of {node} is for another name")?;
                if !presented.is_empty() {
                    write!(f, " ({})", presented.join(", "))?;
                }
                f.write_str(": write a name or address it is for into clusters.json")?;
            }
            TlsProblem::PinMismatch { expected } => match expected.as_slice() {
                [one] => write!(f, "the certificate of {node} is not the pinned one (expected {one})")?,
                several => write!(f, "the certificate of {node} is none of the {} pinned ones", several.len())?,
            },
        }
        match (&self.seen, &self.problem) {
            (None, _) | (_, TlsProblem::NotTls | TlsProblem::Handshake) => Ok(()),
            (Some(seen), _) => write!(f, "; seen: {seen}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::error::Error;

    fn text(problem: TlsProblem) -> String {
        let failure = TlsFailure { problem, seen: Some(Fingerprint([0xAB; 32])), inside: "inside".into() };
        Error::Tls { node: "pve1:8006".into(), failure: Box::new(failure) }.to_string()
    }

    #[test]
    fn a_certificate_that_is_not_trusted_comes_with_the_three_remedies() {
        let text = text(TlsProblem::Untrusted);
        for hint in ["pve1:8006", "\"fingerprint\": \"AB:AB:", "`ca_file`", "\"verify_ssl\": false"] {
            assert!(text.contains(hint), "{text}");
        }
    }

    #[test]
    fn a_changed_certificate_is_no_reason_to_stop_checking() {
        let text = text(TlsProblem::PinMismatch { expected: vec![Fingerprint([1; 32])] });
        assert!(text.contains("expected 01:01:") && text.contains("seen: AB:AB:"), "{text}");
        assert!(!text.contains("verify_ssl"), "{text}");
    }
}
