//! What can go wrong between us and a cluster, in words for a model or an operator.

use std::fmt;
use std::time::Duration;

pub use super::tls_error::{TlsFailure, TlsProblem};
use super::words::hint;

/// Why a call brought no answer. `Display` is the outside text, one line: what failed, why, what to do next.
/// It never holds a secret; where the cause has more to say to whoever reads the log, [`Error::detail`] has it.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// No node could be reached: the name did not resolve, the address refused or did not answer, or the connection
    /// ended during the TLS handshake. Where several were tried, some may have failed as in [`Error::Tls`]. Nothing was
    /// sent.
    Connect {
        /// Each node tried (`host:port`) and why it failed, in order.
        tried: Vec<(String, NoConnection)>,
    },
    /// The only node tried was reached, but the TLS handshake failed for a reason that trying again won't mend: its
    /// certificate is not trusted, or it doesn't speak TLS. Nothing was sent.
    Tls {
        /// The node, `host:port`.
        node: String,
        /// What failed, and the certificate seen.
        failure: Box<TlsFailure>,
    },
    /// A request that changes nothing was sent and not answered in time.
    TimedOut {
        /// The node, `host:port`.
        node: String,
        /// The cluster's time limit for one call.
        after: Duration,
    },
    /// A request that changes nothing was sent, and the connection was lost before an answer came; a second attempt
    /// met the same end.
    Lost {
        /// The node asked last, `host:port`.
        node: String,
        /// The operating system's words.
        inside: String,
    },
    /// 401: the cluster doesn't know who is asking.
    Unauthorized {
        /// Proxmox's words.
        said: String,
        /// The user of clusters.json.
        user: String,
        /// The token's name in clusters.json.
        token_id: String,
    },
    /// 403: the token lacks a privilege, or the operation refuses every token.
    Forbidden {
        /// Proxmox's words.
        said: String,
        /// The ACL path and the privilege(s) that would do (`A|B`: either), as far as Proxmox named them.
        needs: Option<(String, String)>,
    },
    /// 400 with an explanation per parameter.
    Rejected {
        /// Parameter and explanation, sorted by parameter.
        parameters: Vec<(String, String)>,
    },
    /// Any other status than success.
    Failed {
        /// The HTTP status.
        status: u16,
        /// Proxmox's words: the body's message, else the status line's reason phrase.
        said: String,
        /// Method and path of the call.
        call: String,
    },
    /// A request that changes nothing was answered with something that can't be read: not Proxmox's JSON, truncated,
    /// too large, broken gzip.
    Unreadable {
        /// The node, `host:port`.
        node: String,
        /// What is wrong with it.
        why: String,
        /// The library's own words, or empty.
        inside: String,
    },
    /// A request that changes something was sent, and no readable answer came back: lost, timed out, cancelled or
    /// unreadable, between us and the node asked or (596 to 599) between that one and the node it concerns. It may have
    /// taken effect; it is never sent again.
    OutcomeUnknown {
        /// Method and path of the call.
        call: String,
        /// What became of the answer.
        why: String,
        /// The library's own words, or empty.
        inside: String,
    },
    /// The parameters don't fit into one request. Nothing was sent.
    TooLarge {
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
    /// The call was cancelled. If it would have changed something, it was not sent (else: [`Error::OutcomeUnknown`]).
    Cancelled,
}

/// Why one node could not be asked.
#[derive(Debug)]
pub enum NoConnection {
    /// There is no connection to it: a clause that says why.
    Net(String),
    /// There is no TLS with it.
    Tls(Box<TlsFailure>),
}

/// A node that could not be asked, and why, as a clause.
pub(super) struct NotAsked<'a>(pub(super) &'a str, pub(super) &'a NoConnection);

impl fmt::Display for NotAsked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            NoConnection::Net(why) => write!(f, "{}: {why}", self.0),
            NoConnection::Tls(failure) => failure.state(f, self.0),
        }
    }
}

impl Error {
    /// That none of these nodes could be asked.
    pub(super) fn no_node(mut tried: Vec<(String, NoConnection)>) -> Self {
        match (tried.pop(), tried.is_empty()) {
            (Some((node, NoConnection::Tls(failure))), true) => Error::Tls { node, failure },
            (last, _) => {
                tried.extend(last);
                Error::Connect { tried }
            }
        }
    }

    /// The same error where the call was to change something. A node that passes a request on to another and loses that
    /// one after it connected answers 596 to 599 (AnyEvent's own statuses): the other may have done it all the same.
    /// 595 is a connection that was never made.
    pub(super) fn of_a_write(self) -> Self {
        let Error::Failed { status: status @ 596..=599, said, call } = self else { return self };
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
        Error::OutcomeUnknown { call, why, inside: status.to_string() }
    }

    /// A short machine word for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Connect { .. } => "connect",
            Error::Tls { .. } => "tls",
            Error::TimedOut { .. } => "timeout",
            Error::Lost { .. } => "lost",
            Error::Unauthorized { .. } => "unauthorized",
            Error::Forbidden { .. } => "forbidden",
            Error::Rejected { .. } => "rejected",
            Error::Failed { .. } => "failed",
            Error::Unreadable { .. } => "unreadable",
            Error::OutcomeUnknown { .. } => "outcome_unknown",
            Error::TooLarge { .. } => "too_large",
            Error::Busy { .. } => "busy",
            Error::Cancelled => "cancelled",
        }
    }

    /// The HTTP status, where that is what failed the call.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Unauthorized { .. } => Some(401),
            Error::Forbidden { .. } => Some(403),
            Error::Rejected { .. } => Some(400),
            Error::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The inside text, for the log: the cause in the words of whoever met it, without the call's parameters.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Error::Tls { failure, .. } => Some(&failure.inside),
            Error::Connect { tried } => tried.first().map(|(_, why)| match why {
                NoConnection::Tls(failure) => &failure.inside,
                NoConnection::Net(why) => why,
            }),
            Error::Lost { inside, .. } | Error::Unreadable { inside, .. } | Error::OutcomeUnknown { inside, .. } => {
                Some(inside)
            }
            _ => None,
        }
        .map(String::as_str)
        .filter(|text| !text.is_empty())
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect { tried } => {
                match tried.as_slice() {
                    [(node, why)] => write!(f, "could not connect to {}", NotAsked(node, why))?,
                    nodes => {
                        f.write_str("could not connect to any node of the cluster")?;
                        for (i, (node, why)) in nodes.iter().enumerate() {
                            write!(f, "{}{}", if i == 0 { ": " } else { "; " }, NotAsked(node, why))?;
                        }
                    }
                }
                f.write_str(
                    ". Nothing was changed. Check that the node is up, that its address and port in clusters.json are \
                     right and that no firewall is in the way",
                )?;
                if tried.iter().any(|(_, why)| matches!(why, NoConnection::Tls(failure) if failure.seen.is_some())) {
                    f.write_str(
                        ". A certificate seen that the node's own page (System, Certificates) shows too can be pinned: \
                         list every node's in \"fingerprint\", or name the cluster's CA certificate in `ca_file`; one \
                         that it does not show may be somebody in between",
                    )?;
                }
                Ok(())
            }
            Error::Tls { node, failure } => failure.explain(f, node),
            Error::TimedOut { node, after } => write!(
                f,
                "{node} did not answer within {} s. It may be overloaded or wait for a storage: try again, ask for \
                 less, or raise `timeout_seconds` in clusters.json",
                after.as_secs_f32()
            ),
            Error::Lost { node, .. } => write!(
                f,
                "the connection to {node} was lost before it answered, on a second attempt too. It may be restarting: \
                 try again in a moment"
            ),
            Error::Unauthorized { said, user, token_id } => write!(
                f,
                "the cluster did not accept the API token (401 {said}). Check in Proxmox that user `{user}` exists and \
                 is enabled and that its token `{token_id}` exists and has not expired, and in clusters.json that the \
                 secret is that token's: Proxmox shows it only once, when the token is made"
            ),
            Error::Forbidden { said, needs: Some((path, privilege)) } => {
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
            Error::Forbidden { said, needs: None } => write!(
                f,
                "no permission (403 {said}). {}",
                if said.contains("ticket") {
                    "Proxmox does this for a login with a password only, never for an API token"
                } else {
                    "GET /access/permissions shows what the API token may do"
                }
            ),
            Error::Rejected { parameters } => {
                f.write_str("Proxmox rejected the parameters")?;
                for (i, (name, text)) in parameters.iter().enumerate() {
                    write!(f, "{}`{name}`: {text}", if i == 0 { ": " } else { "; " })?;
                }
                f.write_str(". Nothing was changed: correct them and call again")
            }
            Error::Failed { status, said, call } => {
                write!(f, "`{call}` failed ({status})")?;
                if !said.is_empty() {
                    write!(f, ": {}", said.trim_end_matches('.'))?;
                }
                match hint(*status, said) {
                    "" => Ok(()),
                    hint => write!(f, ". {hint}"),
                }
            }
            Error::Unreadable { node, why, .. } => write!(f, "the answer of {node} can't be read: {why}"),
            Error::OutcomeUnknown { call, why, .. } => write!(
                f,
                "it is unknown whether `{call}` took effect: {why}. It may have happened and was not sent again. Before \
                 you repeat it, look: read the object it concerns, or the latest tasks (GET /cluster/tasks)"
            ),
            Error::TooLarge { bytes, limit } => write!(
                f,
                "the parameters are {bytes} bytes, and Proxmox takes at most {limit} in such a request. Nothing was \
                 sent: shorten them or split the call"
            ),
            Error::Busy { limit } => write!(
                f,
                "the cluster is busy: {limit} calls to it are in flight and others wait. Nothing was sent: try again in \
                 a moment (the limit is `max_calls_per_cluster`)"
            ),
            Error::Cancelled => f.write_str("the call was cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Fingerprint;

    fn all() -> Vec<Error> {
        let node = || "pve1:8006".to_string();
        let seen = Some(Fingerprint([0xAB; 32]));
        let tls = |problem| {
            let failure = Box::new(TlsFailure { problem, seen, inside: "inside".into() });
            Error::Tls { node: node(), failure }
        };
        let failed = |status, said: &str| Error::Failed { status, said: said.into(), call: "GET /nope".into() };
        vec![
            Error::Connect { tried: vec![(node(), NoConnection::Net("connection refused".into()))] },
            Error::Connect {
                tried: vec![
                    (node(), NoConnection::Net("a".into())),
                    (
                        "pve2:8006".into(),
                        NoConnection::Tls(Box::new(TlsFailure {
                            problem: TlsProblem::Untrusted,
                            seen,
                            inside: "inside".into(),
                        })),
                    ),
                ],
            },
            tls(TlsProblem::NotTls),
            tls(TlsProblem::Untrusted),
            tls(TlsProblem::Expired),
            tls(TlsProblem::NotYetValid),
            tls(TlsProblem::WrongName { presented: vec!["pve9".into()] }),
            tls(TlsProblem::PinMismatch { expected: vec![Fingerprint([1; 32])] }),
            tls(TlsProblem::PinMismatch { expected: vec![Fingerprint([1; 32]), Fingerprint([2; 32])] }),
            tls(TlsProblem::Handshake),
            Error::TimedOut { node: node(), after: Duration::from_secs(30) },
            Error::Lost { node: node(), inside: "reset".into() },
            Error::Unauthorized {
                said: "Authentication failed!".into(),
                user: "root@pam".into(),
                token_id: "mcp".into(),
            },
            Error::Forbidden { said: "x".into(), needs: Some(("/vms/100".into(), "VM.Audit|VM.Config".into())) },
            Error::Forbidden { said: "need proper ticket".into(), needs: None },
            Error::Rejected { parameters: vec![("a".into(), "bad".into()), ("b".into(), "worse".into())] },
            failed(501, "Method 'GET /nope' not implemented"),
            failed(595, ""),
            failed(999, ""),
            Error::Unreadable { node: node(), why: "it is not JSON".into(), inside: String::new() },
            Error::OutcomeUnknown {
                call: "POST /x".into(),
                why: "the connection was lost".into(),
                inside: String::new(),
            },
            Error::TooLarge { bytes: 600_000, limit: 524_288 },
            Error::Busy { limit: 64 },
            Error::Cancelled,
        ]
    }

    #[test]
    fn every_error_is_one_plain_line() {
        for error in all() {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains("::") && !text.contains("Error"), "{text}");
            assert!(text.len() > 15 && !text.ends_with('.') && !text.contains("  "), "{text}");
            assert!(error.kind().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn inside_text_is_kept_for_the_log() {
        assert_eq!(all()[3].detail(), Some("inside"));
        assert_eq!(Error::Cancelled.detail(), None);
    }
}
