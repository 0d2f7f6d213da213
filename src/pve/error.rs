//! What can go wrong between us and a cluster, in words for a model or an operator.

use std::fmt;
use std::time::Duration;

use crate::pve::knowledge::messages::find_hint;
pub use crate::pve::tls_error::{TlsError, TlsErrorKind};

/// Why a call brought no answer. `Display` is the outside text, one line: what failed, why, what to do next.
/// It never holds a secret; where the cause has more to say to whoever reads the log, [`PveError::detail`] has it.
#[non_exhaustive]
#[derive(Debug)]
pub enum PveError {
    /// No node could be reached: the name did not resolve, the address refused or did not answer, or the connection
    /// ended during the TLS handshake. Where several were tried, some may have failed as in [`PveError::Tls`]. Nothing was
    /// sent.
    ConnectionFailed {
        /// Each node tried (`host:port`) and why it failed, in order.
        attempts: Vec<(String, ConnectError)>,
    },
    /// The only node tried was reached, but the TLS handshake failed for a reason that trying again won't mend: its
    /// certificate is not trusted, or it doesn't speak TLS. Nothing was sent.
    Tls {
        /// The node, `host:port`.
        node: String,
        /// What failed, and the certificate seen.
        error: Box<TlsError>,
    },
    /// A request that changes nothing was sent and not answered in time.
    TimedOut {
        /// The node, `host:port`.
        node: String,
        /// The cluster's time limit for one call.
        timeout: Duration,
    },
    /// A request that changes nothing was sent, and the connection was lost before an answer came; a second attempt
    /// met the same end.
    ConnectionLost {
        /// The node asked last, `host:port`.
        node: String,
        /// The operating system's words.
        detail: String,
    },
    /// 401: the cluster doesn't know who is asking.
    Unauthorized {
        /// Proxmox's words.
        message: String,
        /// The user of clusters.json.
        user: String,
        /// The token's name in clusters.json.
        token_id: String,
    },
    /// 403: the token lacks a privilege, or the operation refuses every token.
    Forbidden {
        /// Proxmox's words.
        message: String,
        /// The ACL path and the privilege(s) that would do (`A|B`: either), as far as Proxmox named them.
        missing_privilege: Option<(String, String)>,
    },
    /// 400 with an explanation per parameter.
    ParametersRejected {
        /// Parameter and explanation, sorted by parameter.
        parameters: Vec<(String, String)>,
    },
    /// Any other status than success.
    Failed {
        /// The HTTP status.
        status: u16,
        /// Proxmox's words: the body's message, else the status line's reason phrase.
        message: String,
        /// Method and path of the call.
        call: String,
    },
    /// A request that changes nothing was answered with something that can't be read: not Proxmox's JSON, truncated,
    /// too large, broken gzip.
    MalformedResponse {
        /// The node, `host:port`.
        node: String,
        /// What is wrong with it.
        reason: String,
        /// The library's own words, or empty.
        detail: String,
    },
    /// A request that changes something was sent, and no readable answer came back: lost, timed out, cancelled or
    /// unreadable, between us and the node asked or (596 to 599) between that one and the node it concerns. It may have
    /// taken effect; it is never sent again.
    OutcomeUnknown {
        /// Method and path of the call.
        call: String,
        /// What became of the answer.
        reason: String,
        /// The library's own words, or empty.
        detail: String,
    },
    /// The parameters don't fit into one request. Nothing was sent.
    RequestTooLarge {
        /// Their size in bytes as they would be sent.
        bytes: usize,
        /// The most that fits.
        limit: usize,
    },
    /// As many calls to this cluster as allowed are in flight, and as many wait, or none ended in time. Nothing was
    /// sent.
    Busy {
        /// `max_calls_per_cluster`.
        limit: usize,
    },
    /// The call was cancelled. If it would have changed something, it was not sent (else: [`PveError::OutcomeUnknown`]).
    Cancelled,
}

/// Why one node could not be asked.
#[derive(Debug)]
pub enum ConnectError {
    /// There is no connection to it: a clause that says why.
    Network(String),
    /// There is no TLS with it.
    Tls(Box<TlsError>),
}

/// A node that could not be asked, and why, as a clause.
pub(super) struct NodeConnectError<'a>(pub(super) &'a str, pub(super) &'a ConnectError);

impl fmt::Display for NodeConnectError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            ConnectError::Network(why) => write!(f, "{}: {why}", self.0),
            ConnectError::Tls(failure) => failure.write_cause(f, self.0),
        }
    }
}

impl PveError {
    /// That none of these nodes could be asked.
    pub(super) fn from_attempts(mut tried: Vec<(String, ConnectError)>) -> Self {
        match (tried.pop(), tried.is_empty()) {
            (Some((node, ConnectError::Tls(failure))), true) => PveError::Tls { node, error: failure },
            (last, _) => {
                tried.extend(last);
                PveError::ConnectionFailed { attempts: tried }
            }
        }
    }

    /// The same error where the call was to change something. A node that passes a request on to another and loses that
    /// one after it connected answers 596 to 599 (AnyEvent's own statuses): the other may have done it all the same.
    /// 595 is a connection that was never made.
    pub(super) fn into_write_error(self) -> Self {
        let PveError::Failed { status: status @ 596..=599, message: said, call } = self else { return self };
        let space = if said.is_empty() { "" } else { " " };
        let mut why = format!(
            "the node asked lost its connection to the node this concerns ({status}{space}{})",
            said.trim_end_matches('.')
        );
        if status == 596 {
            why.push_str(
                " (a node name that does not exist also ends so: names are case-sensitive, GET /nodes lists them)",
            );
        }
        PveError::OutcomeUnknown { call, reason: why, detail: status.to_string() }
    }

    /// A short machine word for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            PveError::ConnectionFailed { .. } => "connect",
            PveError::Tls { .. } => "tls",
            PveError::TimedOut { .. } => "timeout",
            PveError::ConnectionLost { .. } => "lost",
            PveError::Unauthorized { .. } => "unauthorized",
            PveError::Forbidden { .. } => "forbidden",
            PveError::ParametersRejected { .. } => "rejected",
            PveError::Failed { .. } => "failed",
            PveError::MalformedResponse { .. } => "unreadable",
            PveError::OutcomeUnknown { .. } => "outcome_unknown",
            PveError::RequestTooLarge { .. } => "too_large",
            PveError::Busy { .. } => "busy",
            PveError::Cancelled => "cancelled",
        }
    }

    /// The HTTP status, where that is what failed the call.
    pub fn status(&self) -> Option<u16> {
        match self {
            PveError::Unauthorized { .. } => Some(401),
            PveError::Forbidden { .. } => Some(403),
            PveError::ParametersRejected { .. } => Some(400),
            PveError::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The inside text, for the log: the cause in the words of whoever met it, without the call's parameters.
    pub fn detail(&self) -> Option<&str> {
        match self {
            PveError::Tls { error: failure, .. } => Some(&failure.detail),
            PveError::ConnectionFailed { attempts: tried } => tried.first().map(|(_, why)| match why {
                ConnectError::Tls(failure) => &failure.detail,
                ConnectError::Network(why) => why,
            }),
            PveError::ConnectionLost { detail: inside, .. }
            | PveError::MalformedResponse { detail: inside, .. }
            | PveError::OutcomeUnknown { detail: inside, .. } => Some(inside),
            _ => None,
        }
        .map(String::as_str)
        .filter(|text| !text.is_empty())
    }
}

impl std::error::Error for PveError {}

impl fmt::Display for PveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PveError::ConnectionFailed { attempts: tried } => {
                match tried.as_slice() {
                    [(node, why)] => write!(f, "could not connect to {}", NodeConnectError(node, why))?,
                    nodes => {
                        f.write_str("could not connect to any node of the cluster")?;
                        for (i, (node, why)) in nodes.iter().enumerate() {
                            write!(f, "{}{}", if i == 0 { ": " } else { "; " }, NodeConnectError(node, why))?;
                        }
                    }
                }
                f.write_str(
                    ". Nothing was changed. Check that the node is up, that its address and port in clusters.json are \
                     right and that no firewall is in the way",
                )?;
                if tried
                    .iter()
                    .any(|(_, why)| matches!(why, ConnectError::Tls(failure) if failure.fingerprint.is_some()))
                {
                    f.write_str(
                        ". A certificate seen that the node's own page (System, Certificates) shows too can be pinned: \
                         list every node's in \"fingerprint\", or name the cluster's CA certificate in `ca_file`; one \
                         that it does not show may be somebody in between",
                    )?;
                }
                Ok(())
            }
            PveError::Tls { node, error: failure } => failure.explain(f, node),
            PveError::TimedOut { node, timeout: after } => write!(
                f,
                "{node} did not answer within {} s. It may be overloaded or wait for a storage: try again, ask for \
                 less, or raise `timeout_seconds` in clusters.json",
                after.as_secs_f32()
            ),
            PveError::ConnectionLost { node, .. } => write!(
                f,
                "the connection to {node} was lost before it answered, on a second attempt too. It may be restarting: \
                 try again in a moment"
            ),
            PveError::Unauthorized { message: said, user, token_id } => write!(
                f,
                "the cluster did not accept the API token (401 {said}). Check in Proxmox that user `{user}` exists and \
                 is enabled and that its token `{token_id}` exists and has not expired, and in clusters.json that the \
                 secret is that token's: Proxmox shows it only once, when the token is made"
            ),
            PveError::Forbidden { message: said, missing_privilege: Some((path, privilege)) } => {
                write!(f, "no permission (403 {said}): the API token needs {} ", privilege.replace('|', " or "))?;
                match path.as_str() {
                    "" => {
                        f.write_str("on a path Proxmox did not name (a misspelt node or object name also ends here)")?
                    }
                    path => write!(f, "on {path}")?,
                }
                f.write_str(
                    ". With privilege separation, the default, a token needs an ACL entry of its own beside its user's; \
                     GET /access/permissions shows what it may do",
                )
            }
            PveError::Forbidden { message: said, missing_privilege: None } => write!(
                f,
                "no permission (403 {said}). {}",
                if said.contains("ticket") {
                    "Proxmox does this for a login with a password only, never for an API token"
                } else {
                    "GET /access/permissions shows what the API token may do"
                }
            ),
            PveError::ParametersRejected { parameters } => {
                f.write_str("Proxmox rejected the parameters")?;
                for (i, (name, text)) in parameters.iter().enumerate() {
                    write!(f, "{}`{name}`: {text}", if i == 0 { ": " } else { "; " })?;
                }
                f.write_str(". Nothing was changed: correct them and call again")
            }
            PveError::Failed { status, message: said, call } => {
                write!(f, "`{call}` failed ({status})")?;
                if !said.is_empty() {
                    write!(f, ": {}", said.trim_end_matches('.'))?;
                }
                match find_hint(*status, said) {
                    "" => Ok(()),
                    hint => write!(f, ". {hint}"),
                }
            }
            PveError::MalformedResponse { node, reason: why, .. } => {
                write!(f, "the answer of {node} can't be read: {why}")
            }
            PveError::OutcomeUnknown { call, reason: why, .. } => write!(
                f,
                "it is unknown whether `{call}` took effect: {why}. It may have happened and was not sent again. Before \
                 you repeat it, look: read the object it concerns, or the latest tasks (GET /cluster/tasks)"
            ),
            PveError::RequestTooLarge { bytes, limit } => write!(
                f,
                "the parameters are {bytes} bytes, and Proxmox takes at most {limit} in such a request. Nothing was \
                 sent: shorten them or split the call"
            ),
            PveError::Busy { limit } => write!(
                f,
                "the cluster is busy: {limit} calls to it are in flight and others wait. Nothing was sent: try again in \
                 a moment (the limit is `max_calls_per_cluster`)"
            ),
            PveError::Cancelled => f.write_str("the call was cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Fingerprint;

    fn all_errors() -> Vec<PveError> {
        let node = || "pve1:8006".to_string();
        let seen = Some(Fingerprint([0xAB; 32]));
        let tls = |problem| {
            let failure = Box::new(TlsError { kind: problem, fingerprint: seen, detail: "inside".into() });
            PveError::Tls { node: node(), error: failure }
        };
        let failed = |status, said: &str| PveError::Failed { status, message: said.into(), call: "GET /nope".into() };
        vec![
            PveError::ConnectionFailed { attempts: vec![(node(), ConnectError::Network("connection refused".into()))] },
            PveError::ConnectionFailed {
                attempts: vec![
                    (node(), ConnectError::Network("a".into())),
                    (
                        "pve2:8006".into(),
                        ConnectError::Tls(Box::new(TlsError {
                            kind: TlsErrorKind::Untrusted,
                            fingerprint: seen,
                            detail: "inside".into(),
                        })),
                    ),
                ],
            },
            tls(TlsErrorKind::NotTls),
            tls(TlsErrorKind::Untrusted),
            tls(TlsErrorKind::Expired),
            tls(TlsErrorKind::NotYetValid),
            tls(TlsErrorKind::WrongName { presented: vec!["pve9".into()] }),
            tls(TlsErrorKind::PinMismatch { expected: vec![Fingerprint([1; 32])] }),
            tls(TlsErrorKind::PinMismatch { expected: vec![Fingerprint([1; 32]), Fingerprint([2; 32])] }),
            tls(TlsErrorKind::Handshake),
            PveError::TimedOut { node: node(), timeout: Duration::from_secs(30) },
            PveError::ConnectionLost { node: node(), detail: "reset".into() },
            PveError::Unauthorized {
                message: "Authentication failed!".into(),
                user: "root@pam".into(),
                token_id: "mcp".into(),
            },
            PveError::Forbidden {
                message: "x".into(),
                missing_privilege: Some(("/vms/100".into(), "VM.Audit|VM.Config".into())),
            },
            PveError::Forbidden { message: "need proper ticket".into(), missing_privilege: None },
            PveError::ParametersRejected { parameters: vec![("a".into(), "bad".into()), ("b".into(), "worse".into())] },
            failed(501, "Method 'GET /nope' not implemented"),
            failed(595, ""),
            failed(999, ""),
            PveError::MalformedResponse { node: node(), reason: "it is not JSON".into(), detail: String::new() },
            PveError::OutcomeUnknown {
                call: "POST /x".into(),
                reason: "the connection was lost".into(),
                detail: String::new(),
            },
            PveError::RequestTooLarge { bytes: 600_000, limit: 524_288 },
            PveError::Busy { limit: 64 },
            PveError::Cancelled,
        ]
    }

    #[test]
    fn every_error_is_one_plain_line() {
        for error in all_errors() {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains("::") && !text.contains("Error"), "{text}");
            assert!(text.len() > 15 && !text.ends_with('.') && !text.contains("  "), "{text}");
            assert!(error.kind().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn inside_text_is_kept_for_the_log() {
        assert_eq!(all_errors()[3].detail(), Some("inside"));
        assert_eq!(PveError::Cancelled.detail(), None);
    }
}
