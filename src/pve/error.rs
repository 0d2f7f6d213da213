//! Errors of an API call.
//!
//! `Display` is the text for a caller, without secrets. [`PveError::detail`] adds the cause for the log, and
//! [`Hint`] the next step.

use crate::base::hint::Hint;
use crate::base::json_scan::{find_string, unquote, walk};
use crate::base::memory::MemoryError;
use crate::pve::knowledge::messages::{Diagnosis, Meaning, MissingPrivilege, classify};
use crate::pve::knowledge::other_servers::{self, OtherServer};
use crate::pve::knowledge::text::{decode_twice_encoded, to_one_line};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

pub use crate::pve::tls_error::{TlsError, TlsErrorKind};

/// Failure of an API call.
#[non_exhaustive]
#[derive(Clone, Debug, Error)]
pub enum PveError {
    /// No connection to any node: its name did not resolve, its address refused or did not answer, or the connection
    /// ended during the TLS handshake. If several nodes were tried, some may have failed as in [`PveError::Tls`].
    /// Nothing was sent.
    #[error("could not connect to {}. Nothing was changed", DisplayAttempts(attempts))]
    ConnectionFailed { attempts: Vec<FailedAttempt> },
    /// The TLS handshake with the only node tried failed for a lasting reason: its certificate is not trusted, or it does
    /// not speak TLS. Nothing was sent.
    #[error("{}", DisplayTlsError { node, error })]
    Tls { node: String, error: Box<TlsError> },
    /// A request that changes nothing was sent and not answered in time.
    #[error("{node} did not answer within {} s", timeout.as_secs_f32())]
    TimedOut { node: String, timeout: Duration },
    /// A request that changes nothing was sent, and the connection was lost before an answer came, twice.
    #[error("the connection to {node} was lost before it answered, on a second attempt too")]
    ConnectionLost {
        /// `host:port` of the node asked last.
        node: String,
        detail: String,
    },
    /// 401: the cluster does not accept the token.
    #[error("{} (401{}){}", match has_no_ticket {
        true => "the API token did not arrive at Proxmox",
        false => "the cluster did not accept the API token",
    }, DisplayMessage(" ", message), describe_refused_change(*is_refused_change))]
    Unauthorized {
        message: String,
        user: String,
        token_id: String,
        /// Proxmox saw no token at all.
        has_no_ticket: bool,
        /// The cluster accepted the token before.
        was_accepted: bool,
        /// The next step, if the message names the cause.
        next_step: Option<&'static str>,
        /// The call would have changed something.
        is_refused_change: bool,
    },
    /// 403: the token lacks a privilege, or the operation rejects every token.
    #[error(
        "no permission (403{}){}{}",
        DisplayMessage(" ", message),
        DisplayMissingPrivilege(missing_privilege.as_ref(), diagnosis.meaning),
        describe_refused_change(*is_refused_change)
    )]
    Forbidden {
        message: String,
        /// The privileges that suffice, as far as Proxmox named them.
        missing_privilege: Option<MissingPrivilege>,
        diagnosis: Diagnosis,
        /// The call would have changed something.
        is_refused_change: bool,
    },
    /// 400 with an explanation for each parameter.
    #[error(
        "Proxmox rejected the parameters{}{}",
        DisplayParameters(parameters),
        describe_refused_change(*is_refused_change)
    )]
    ParametersRejected {
        /// Parameter and explanation, sorted by parameter.
        parameters: Vec<(String, String)>,
        /// The meaning of the first explanation that the table knows.
        diagnosis: Diagnosis,
        /// The call would have changed something.
        is_refused_change: bool,
    },
    /// Any other error status.
    #[error("`{call}` failed ({status}){}{}", DisplayMessage(": ", message), describe_refused_change(*is_refused_change))]
    Failed {
        status: u16,
        /// Proxmox's message: that of the body, else the reason phrase of the status line.
        message: String,
        call: String,
        diagnosis: Diagnosis,
        /// The call would have changed something, and the message shows that the node refused it before.
        is_refused_change: bool,
    },
    /// The address belongs to a server that is not Proxmox VE, and that refused the request.
    #[error("{node} is not a Proxmox VE node: it seems to be {}{}{}", server.name, DisplayMessage(": ", message), describe_refused_change(*is_refused_change))]
    OtherServer {
        node: String,
        server: &'static OtherServer,
        /// The text of its answer.
        message: String,
        /// The call would have changed something.
        is_refused_change: bool,
    },
    /// A request that changes nothing got an unreadable answer: not Proxmox's JSON, truncated, too large, or broken
    /// gzip.
    #[error("the answer of {node} can't be read: {cause}")]
    MalformedResponse { node: String, cause: MalformedCause },
    /// A request that changes something was sent, and no readable answer came back. It may have taken effect. It is
    /// never sent again.
    #[error("it is unknown whether `{call}` took effect: {cause}. It may have happened and was not sent again")]
    OutcomeUnknown { call: String, cause: UnknownOutcome },
    /// The parameters do not fit into one request. Nothing was sent.
    #[error(
        "the parameters are {bytes} bytes, and Proxmox accepts at most {limit} in such a request. Nothing was sent"
    )]
    RequestTooLarge {
        /// Encoded size of the parameters.
        bytes: usize,
        /// The largest size that fits.
        limit: usize,
    },
    /// The path cannot be part of a URL. Nothing was sent.
    #[error("`{call}` cannot be sent: its path does not fit into a URL. Nothing was sent")]
    UnsendablePath { call: String },
    /// No node of the cluster answered a short time ago, so a call to all clusters did not ask it. Nothing was sent.
    #[error("not asked again so soon: {states}")]
    BackingOff {
        /// Each node with its failure, the age of the failure and the time of the next try.
        states: String,
    },
    /// Too many calls to this cluster are in flight or waiting, or none ended in time. Nothing was sent.
    #[error(
        "the cluster is busy: {limit} calls (`max_calls_per_cluster`) are in flight and others wait. Nothing was sent"
    )]
    Busy { limit: usize },
    /// The call was cancelled. A call that changes something was not sent (else: [`PveError::OutcomeUnknown`]).
    #[error("the call was cancelled")]
    Cancelled,
    /// The caller's rights changed while the call waited, and no longer allow it. Nothing was sent.
    #[error("the operator changed the rights of this client, which no longer allow it. Nothing was sent")]
    NotPermitted,
}

/// Failure to connect to one node.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    pub node: String,
    pub cause: ConnectError,
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            ConnectError::Network(error) => write!(f, "{}: {error}", self.node),
            ConnectError::Tls(error) => error.write_cause(f, &self.node),
        }
    }
}

/// Reason for giving up on one node.
#[derive(Clone, Debug, Error)]
pub enum ConnectError {
    /// Failure of the network.
    #[error(transparent)]
    Network(NetworkError),
    /// Failure of TLS.
    #[error(transparent)]
    Tls(Box<TlsError>),
}

/// Failure of the network on the way to a node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    #[error("there is no host of that name")]
    HostNotFound,
    #[error("no name server answers, so its address is not known")]
    NoNameServer,
    #[error("it did not answer in time")]
    TimedOut,
    #[error("connection refused")]
    Refused,
    #[error("there is no route to it")]
    NoRoute,
    #[error("it closed the connection during the TLS handshake")]
    ClosedInHandshake,
    #[error("the connection was lost")]
    LostBeforeAnswer,
    #[error("the connection was lost in the middle of an answer")]
    LostInAnswer,
    #[error("it does not answer")]
    NoAnswer,
    #[error("it can do nothing: its cluster file system is down, or it is cut off from the cluster")]
    Disabled,
    #[error("it belongs to another cluster than the other addresses of this entry: remove it from clusters.json")]
    OtherCluster,
    #[error("it is not a Proxmox VE node")]
    OtherServer,
    #[error("it does not speak Proxmox's HTTP")]
    NotHttp,
    #[error("a proxy answers in its place")]
    ProxyAnswered,
    #[error("it rejects the API token that the cluster accepted before (a wrong clock, or stale data)")]
    TokenRejected,
    #[error("not tried: this server has no file descriptor left for a connection")]
    NoDescriptor,
    #[error("{0}")]
    Other(String),
}

/// Defect of a node's answer.
#[derive(Clone, Debug, Error)]
pub enum MalformedCause {
    #[error("it is larger than {limit} bytes (the limit is `max_answer_bytes`)")]
    BodyTooLarge { limit: u64 },
    #[error("{0}")]
    NoMemory(MemoryError),
    #[error("it is larger than any description of the API")]
    DescriptionTooLarge,
    #[error("its headers are larger than 16 KiB, which no Proxmox node sends")]
    HeadTooLarge,
    #[error("it claims to be gzip, but is broken or cut short")]
    BrokenGzip { detail: String },
    #[error("it is compressed as {encoding:?}, which no request of this server asks for")]
    UnknownEncoding { encoding: String },
    #[error("it is not HTTP{}", DisplayMessage(" and starts with ", start))]
    NotHttp {
        /// The start of the answer, if it is text, without the token's secret.
        start: String,
        detail: String,
    },
    #[error("the connection was lost in the middle of it")]
    Truncated { detail: String },
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("it is not Proxmox's JSON")]
    NotJson { detail: String },
    #[error("it is not a list")]
    NotAList { detail: String },
    #[error("it does not name the state of the task")]
    NoTaskStatus,
    #[error("it did not come whole in time")]
    DescriptionTimedOut,
    #[error("{0}")]
    Description(Arc<dyn std::error::Error + Send + Sync>),
}

/// Body that is not Proxmox's envelope around `data`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    #[error("it is empty")]
    Empty,
    #[error("it is a web page{}", match title {
        Some(title) => format!(" with the title {title:?}"),
        None => String::new(),
    })]
    WebPage {
        /// The title, without the token's secret.
        title: Option<String>,
    },
    #[error("it has no `data`, which every answer of Proxmox has; it starts with {start:?}")]
    NoData {
        /// The start of the body, without the token's secret.
        start: String,
    },
    #[error("it is not Proxmox's JSON; it starts with {start:?}")]
    NotProxmoxJson {
        /// The start of the body, without the token's secret.
        start: String,
        detail: String,
    },
    #[error("it begins as JSON and ends too early, after {bytes} bytes")]
    CutShort { bytes: usize, detail: String },
    #[error("it begins as JSON and is invalid at byte {at} of {bytes}")]
    InvalidJson { at: usize, bytes: usize, detail: String },
    #[error("it is not UTF-8; it starts with {start:?}")]
    NotUtf8 {
        /// The start of the body, without the token's secret.
        start: String,
    },
}

/// Event that lost the answer to a request that changes something.
#[derive(Clone, Debug, Error)]
pub enum UnknownOutcome {
    #[error("the connection was lost before an answer came")]
    ConnectionLost { detail: String },
    #[error("the connection was lost in the middle of the answer")]
    Truncated { detail: String },
    #[error("no answer came within {} s", timeout.as_secs_f32())]
    TimedOut { timeout: Duration },
    #[error("the answer can't be read: {0}")]
    Malformed(MalformedCause),
    #[error("the call was cancelled before its answer came")]
    Cancelled,
    #[error(
        "the node asked lost its connection to the node this concerns ({status}{}){}",
        DisplayMessage(" ", message),
        DisplayPeerNote(*status, *timed_out)
    )]
    PeerLost {
        status: u16,
        message: String,
        /// The other node took longer than Proxmox waits.
        timed_out: bool,
    },
    #[error("a proxy or load balancer answered in the place of Proxmox ({status}{})", DisplayMessage(" ", message))]
    ProxyAnswered { status: u16, message: String },
    #[error("Proxmox failed and hid its message (a bare {status}, which is no error of a parameter)")]
    HiddenError { status: u16 },
}

impl PveError {
    /// Builds the error for a call that could not connect to any of these nodes.
    pub(in crate::pve) fn from_attempts(mut attempts: Vec<FailedAttempt>) -> Self {
        match attempts.pop() {
            Some(FailedAttempt { node, cause: ConnectError::Tls(error) }) if attempts.is_empty() => {
                PveError::Tls { node, error }
            }
            last => {
                attempts.extend(last);
                PveError::ConnectionFailed { attempts }
            }
        }
    }

    /// Builds the error that an answer of the guest agent holds. (PVE: status 200, with `result.error`.)
    pub(crate) fn from_agent_answer(data: &str, call: String) -> Option<Self> {
        let error = find_member(find_member(data, "result").unwrap_or(data), "error")?;
        let message = find_string(error, "desc").or_else(|| find_string(error, "class"));
        let message = message.as_deref().map(decode_twice_encoded);
        let message = to_one_line(message.as_deref().unwrap_or(error), 300);
        let diagnosis = Some(classify(500, &message)).filter(|found| found.hint.is_some());
        let hint = Some("the guest agent answered with an error: the command failed inside the guest");
        let diagnosis = diagnosis.unwrap_or(Diagnosis { meaning: Meaning::Unclassified, hint });
        Some(Self::Failed { status: 200, message, call, diagnosis, is_refused_change: false })
    }

    /// Builds the error for an API description that was rejected.
    pub(in crate::pve) fn rejected_description(
        node: String,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        PveError::MalformedResponse { node, cause: MalformedCause::Description(Arc::from(cause.into())) }
    }

    /// Returns the error kind as a short word for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            PveError::ConnectionFailed { .. } | PveError::BackingOff { .. } => "connect",
            PveError::Tls { .. } => "tls",
            PveError::TimedOut { .. } => "timeout",
            PveError::ConnectionLost { .. } => "lost",
            PveError::Unauthorized { .. } => "unauthorized",
            PveError::Forbidden { .. } => "forbidden",
            PveError::ParametersRejected { .. } => "rejected",
            PveError::Failed { .. } | PveError::OtherServer { .. } | PveError::UnsendablePath { .. } => "failed",
            PveError::MalformedResponse { cause: MalformedCause::NoMemory(_), .. } | PveError::Busy { .. } => "busy",
            PveError::MalformedResponse { .. } => "unreadable",
            PveError::OutcomeUnknown { .. } => "outcome_unknown",
            PveError::RequestTooLarge { .. } => "too_large",
            PveError::Cancelled => "cancelled",
            PveError::NotPermitted => "not_permitted",
        }
    }

    /// Returns the HTTP status that failed the call, if any.
    pub fn status(&self) -> Option<u16> {
        match self {
            PveError::Unauthorized { .. } => Some(401),
            PveError::Forbidden { .. } => Some(403),
            PveError::ParametersRejected { .. } => Some(400),
            PveError::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns the meaning of Proxmox's message.
    pub fn meaning(&self) -> Meaning {
        match self {
            PveError::Failed { diagnosis, .. }
            | PveError::Forbidden { diagnosis, .. }
            | PveError::ParametersRejected { diagnosis, .. } => diagnosis.meaning,
            _ => Meaning::Unclassified,
        }
    }

    /// Returns whether the error shows that nothing was sent.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            PveError::ConnectionFailed { .. }
                | PveError::Tls { .. }
                | PveError::RequestTooLarge { .. }
                | PveError::UnsendablePath { .. }
                | PveError::BackingOff { .. }
                | PveError::Busy { .. }
                | PveError::NotPermitted
        )
    }

    /// Returns the cause for the log, without the parameters of the call.
    pub fn detail(&self) -> Option<Cow<'_, str>> {
        let detail = match self {
            PveError::Tls { error, .. } => Cow::from(&error.detail),
            PveError::ConnectionFailed { attempts } => Cow::from(attempts.first()?.cause.to_string()),
            PveError::ConnectionLost { detail, .. } => Cow::from(detail),
            PveError::MalformedResponse { cause, .. } => cause.detail()?,
            PveError::OutcomeUnknown { cause, .. } => cause.detail()?,
            _ => return None,
        };
        Some(detail).filter(|detail| !detail.is_empty())
    }
}

impl MalformedCause {
    fn detail(&self) -> Option<Cow<'_, str>> {
        match self {
            MalformedCause::BodyTooLarge { .. } | MalformedCause::HeadTooLarge => Some(self.to_string().into()),
            MalformedCause::BrokenGzip { detail }
            | MalformedCause::NotHttp { detail, .. }
            | MalformedCause::Truncated { detail }
            | MalformedCause::NotJson { detail }
            | MalformedCause::NotAList { detail }
            | MalformedCause::Envelope(
                EnvelopeError::NotProxmoxJson { detail, .. }
                | EnvelopeError::CutShort { detail, .. }
                | EnvelopeError::InvalidJson { detail, .. },
            ) => Some(detail.into()),
            _ => None,
        }
    }

    /// Returns the server other than Proxmox VE that sent the answer, as far as it is recognized.
    fn recognize_server(&self) -> Option<&'static OtherServer> {
        match self {
            MalformedCause::Envelope(EnvelopeError::WebPage { title: Some(title) }) => {
                other_servers::recognize_name(title.as_bytes())
            }
            MalformedCause::NotHttp { start, .. } => other_servers::recognize_greeting(start),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'static, str>> {
        if let Some(OtherServer { name, hint }) = self.recognize_server() {
            return Some(format!("it seems to be {name}: {hint}").into());
        }
        match self {
            MalformedCause::BodyTooLarge { .. } => Some("read a narrower path, or raise `max_answer_bytes`".into()),
            MalformedCause::Truncated { .. } => Some("try again".into()),
            MalformedCause::NoMemory(MemoryError::InUse) => Some("try again in a few seconds".into()),
            MalformedCause::NoMemory(MemoryError::TooLarge { .. }) => {
                Some("read a narrower path, or raise `max_buffered_bytes`".into())
            }
            MalformedCause::Envelope(EnvelopeError::Empty) => {
                Some("Proxmox never answers so: a proxy before it did, or the node is stopping. Try again".into())
            }
            MalformedCause::UnknownEncoding { .. } => Some(
                "a proxy in front of Proxmox compresses its answers: its operator switches that off, or put the node's own \
                 address (port 8006) into clusters.json"
                    .into(),
            ),
            MalformedCause::Envelope(EnvelopeError::WebPage { .. }) => Some(
                "another device or program has this address, or a login page or proxy is in front of Proxmox: put the \
                 node's own address (port 8006) into clusters.json"
                    .into(),
            ),
            // The address is right: no other program sends half of such an object.
            MalformedCause::Envelope(EnvelopeError::CutShort { .. }) => Some(
                "ask for less (limit, or a narrower path). If it lasts, the node or a proxy before it cuts long answers"
                    .into(),
            ),
            MalformedCause::Envelope(EnvelopeError::InvalidJson { .. }) => {
                Some("try again. If it lasts, the node or a proxy before it writes it so: read a part of it".into())
            }
            MalformedCause::NotHttp { .. } | MalformedCause::Envelope(_) => {
                Some("check the address and port in clusters.json (Proxmox VE's API listens on 8006)".into())
            }
            _ => None,
        }
    }
}

impl UnknownOutcome {
    fn detail(&self) -> Option<Cow<'_, str>> {
        match self {
            UnknownOutcome::ConnectionLost { detail } | UnknownOutcome::Truncated { detail } => Some(detail.into()),
            UnknownOutcome::TimedOut { .. } => Some("timed out".into()),
            UnknownOutcome::Malformed(cause) => cause.detail(),
            UnknownOutcome::Cancelled => Some("cancelled".into()),
            UnknownOutcome::PeerLost { status, .. }
            | UnknownOutcome::ProxyAnswered { status, .. }
            | UnknownOutcome::HiddenError { status } => Some(status.to_string().into()),
        }
    }
}

impl Hint for PveError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            PveError::ConnectionFailed { attempts } => hint_for_attempts(attempts).into(),
            PveError::Tls { error, node } => {
                let port = other_servers::describe_port(node);
                let steps = [port.or(error.remedy()).map(Cow::from), error.trust_hint().map(Cow::from)];
                return join_steps(steps.into_iter().flatten());
            }
            PveError::TimedOut { .. } => "it may be overloaded or wait for a storage: try again, ask for less, or raise \
                                          `timeout_seconds` in clusters.json"
                .into(),
            PveError::ConnectionLost { .. } => "it may be restarting: try again in a moment".into(),
            PveError::Unauthorized { has_no_ticket: true, .. } => {
                "a proxy in front of Proxmox removed the header `Authorization`: make it pass the header on, or put the \
                 node's own address (port 8006) into clusters.json. A Proxmox Mail Gateway, which takes no such token, \
                 answers so too"
                    .into()
            }
            PveError::Unauthorized { next_step: Some(next_step), .. } => (*next_step).into(),
            PveError::Unauthorized { user, token_id, was_accepted: true, .. } => format!(
                "the cluster accepted this token before. Either the node asked has a wrong clock or stale data: try again \
                 in a minute. Or user `{user}` or its token `{token_id}` was disabled, deleted or has expired since then"
            )
            .into(),
            PveError::Unauthorized { user, token_id, .. } => format!(
                "check in Proxmox that user `{user}` exists and is enabled and that its token `{token_id}` exists and \
                 has not expired, and in clusters.json that the secret is that token's: Proxmox shows it only once, when \
                 the token is made"
            )
            .into(),
            PveError::Forbidden { missing_privilege: Some(_), .. } => {
                "with privilege separation, the default, a token needs an ACL entry of its own beside its user's; GET \
                 /access/permissions shows its privileges"
                    .into()
            }
            PveError::Forbidden { diagnosis, .. } => {
                diagnosis.hint.unwrap_or("GET /access/permissions shows the privileges of the API token").into()
            }
            PveError::ParametersRejected { diagnosis, .. } => diagnosis.hint.unwrap_or("correct them and call again").into(),
            PveError::Failed { diagnosis, .. } => diagnosis.hint?.into(),
            PveError::OtherServer { server, .. } => server.hint.into(),
            PveError::MalformedResponse { cause, .. } => cause.hint()?,
            PveError::OutcomeUnknown { .. } => "look before you repeat it: read the object it concerns, or the latest \
                                                tasks (GET /cluster/tasks)"
                .into(),
            PveError::RequestTooLarge { .. } => "shorten them or split the call".into(),
            PveError::Busy { .. } => "try again in a moment".into(),
            PveError::BackingOff { .. } => "a call with `cluster` asks it at once".into(),
            PveError::UnsendablePath { .. } | PveError::Cancelled | PveError::NotPermitted => return None,
        })
    }
}

/// Returns the object of this name in a JSON object.
fn find_member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    walk(object, &mut |key, value| {
        if unquote(key) == name {
            found = Some(value);
        }
        true
    });
    found.filter(|value| value.trim_start().starts_with('{'))
}

fn hint_for_attempts(attempts: &[FailedAttempt]) -> String {
    let is_ours = |attempt: &FailedAttempt| matches!(attempt.cause, ConnectError::Network(NetworkError::NoDescriptor));
    if attempts.iter().any(is_ours) {
        return "the nodes may be well: try again in some seconds, or raise the limit of this server's open files \
                (LimitNOFILE)"
            .into();
    }
    let mut hint =
        "check that the node is up, that its address and port in clusters.json are right and that no firewall \
                    is in the way"
            .to_owned();
    let tls_errors = || {
        attempts.iter().filter_map(|attempt| match &attempt.cause {
            ConnectError::Tls(error) => Some((&attempt.node, error)),
            ConnectError::Network(_) => None,
        })
    };
    for (node, remedy) in tls_errors().filter_map(|(node, error)| Some((node, error.remedy()?))) {
        hint += &format!("; for {node}, {remedy}");
    }
    for note in attempts.iter().filter_map(|attempt| other_servers::describe_port(&attempt.node)) {
        hint += &format!("; {note}");
    }
    if tls_errors().any(|(_, error)| error.trust_hint().is_some()) {
        hint += "; a certificate seen that the node's own page (System, Certificates) shows too can be pinned: list every \
                 node's in \"fingerprint\", or name the cluster's CA certificate in `ca_file`; one that the page does not \
                 show may be an attacker's";
    }
    hint
}

fn join_steps<'a>(steps: impl Iterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    steps.reduce(|all, step| format!("{all}; {step}").into())
}

struct DisplayAttempts<'a>(&'a [FailedAttempt]);

impl fmt::Display for DisplayAttempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0 {
            return write!(f, "{only}");
        }
        f.write_str("any node of the cluster")?;
        for (i, attempt) in self.0.iter().enumerate() {
            write!(f, "{}{attempt}", if i == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

struct DisplayTlsError<'a> {
    node: &'a str,
    error: &'a TlsError,
}

impl fmt::Display for DisplayTlsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.write_cause(f, self.node)
    }
}

struct DisplayMissingPrivilege<'a>(Option<&'a MissingPrivilege>, Meaning);

impl fmt::Display for DisplayMissingPrivilege<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(MissingPrivilege { acl_path, privileges }) => {
                write!(f, ": the API token needs {} ", privileges.replace('|', " or "))?;
                match acl_path.as_str() {
                    "" => f.write_str("on a path Proxmox did not name (a misspelt node or object name also ends here)"),
                    path => write!(f, "on {path}"),
                }
            }
            None if self.1 == Meaning::TicketRequired => {
                f.write_str(": Proxmox allows this to a login with a password only, never to an API token")
            }
            None if self.1 == Meaning::RootRequired => {
                f.write_str(": Proxmox allows this to root@pam with a password only, never to an API token")
            }
            None => Ok(()),
        }
    }
}

/// Returns the sentence about a call that the node refused before it changed anything.
fn describe_refused_change(is_refused_change: bool) -> &'static str {
    if is_refused_change { ". Nothing was changed" } else { "" }
}

struct DisplayParameters<'a>(&'a [(String, String)]);

impl fmt::Display for DisplayParameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, text)) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`{}", if i == 0 { ": " } else { "; " }, DisplayMessage(": ", text))?;
        }
        Ok(())
    }
}

/// A separator and Proxmox's message in quotes, without its full stop; nothing for an empty message. The message is data:
/// a guest or a user may have chosen its words.
struct DisplayMessage<'a>(&'static str, &'a str);

impl fmt::Display for DisplayMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            "" => Ok(()),
            message => {
                let message = message.trim_end_matches('.').replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "{}\"{message}\"", self.0)
            }
        }
    }
}

/// Note on 596, the status to which an unknown node name and a slow node also lead.
struct DisplayPeerNote(u16, bool);

impl fmt::Display for DisplayPeerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            _ if self.1 => f.write_str(" (that node, or a storage, took longer than Proxmox waits)"),
            596 => f.write_str(
                " (a node name that does not exist also ends so: names are case-sensitive, GET /nodes lists them)",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use crate::config::Fingerprint;
    use crate::metrics::OUTCOME_LABELS;
    use std::collections::BTreeSet;

    fn tls_error(kind: TlsErrorKind) -> Box<TlsError> {
        Box::new(TlsError { kind, fingerprint: Some(Fingerprint([0xAB; 32])), server: None, detail: "inside".into() })
    }

    fn tls(kind: TlsErrorKind) -> PveError {
        PveError::Tls { node: "pve1:8006".into(), error: tls_error(kind) }
    }

    fn all_errors() -> Vec<PveError> {
        let node = || "pve1:8006".to_string();
        let attempt = |cause| FailedAttempt { node: node(), cause };
        let refused = || attempt(ConnectError::Network(NetworkError::Refused));
        let failed = |status, message: &str| PveError::Failed {
            status,
            message: message.into(),
            call: "GET /nope".into(),
            diagnosis: classify(status, message),
            is_refused_change: false,
        };
        let forbidden = |message: &str| PveError::Forbidden {
            message: message.into(),
            missing_privilege: MissingPrivilege::parse(message),
            diagnosis: classify(403, message),
            is_refused_change: false,
        };
        vec![
            PveError::ConnectionFailed { attempts: vec![refused()] },
            PveError::ConnectionFailed {
                attempts: vec![refused(), attempt(ConnectError::Tls(tls_error(TlsErrorKind::Expired)))],
            },
            tls(TlsErrorKind::NotTls { start: "SSH-2.0-x".into() }),
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
                has_no_ticket: false,
                was_accepted: false,
                next_step: None,
                is_refused_change: false,
            },
            PveError::Unauthorized {
                message: "No ticket".into(),
                user: "root@pam".into(),
                token_id: "mcp".into(),
                has_no_ticket: true,
                was_accepted: true,
                next_step: None,
                is_refused_change: true,
            },
            forbidden("Permission check failed (/vms/100, VM.Audit|VM.Config)"),
            forbidden("need proper ticket"),
            forbidden("x"),
            PveError::ParametersRejected {
                parameters: vec![("a".into(), "bad".into()), ("b".into(), "worse".into())],
                diagnosis: classify(400, ""),
                is_refused_change: true,
            },
            PveError::OtherServer {
                node: node(),
                server: other_servers::recognize_name(b"Proxmox Backup Server").expect("a server"),
                message: String::new(),
                is_refused_change: true,
            },
            failed(501, "Method 'GET /nope' not implemented"),
            failed(595, ""),
            failed(999, ""),
            PveError::MalformedResponse { node: node(), cause: MalformedCause::BodyTooLarge { limit: 9 } },
            PveError::MalformedResponse { node: node(), cause: EnvelopeError::Empty.into() },
            PveError::MalformedResponse {
                node: node(),
                cause: EnvelopeError::CutShort { bytes: 9, detail: String::new() }.into(),
            },
            PveError::MalformedResponse {
                node: node(),
                cause: EnvelopeError::InvalidJson { at: 7, bytes: 9, detail: String::new() }.into(),
            },
            PveError::OutcomeUnknown {
                call: "POST /x".into(),
                cause: UnknownOutcome::ConnectionLost { detail: String::new() },
            },
            PveError::OutcomeUnknown {
                call: "POST /x".into(),
                cause: UnknownOutcome::PeerLost { status: 596, message: "Broken pipe.".into(), timed_out: false },
            },
            PveError::OutcomeUnknown {
                call: "POST /x".into(),
                cause: UnknownOutcome::ProxyAnswered { status: 502, message: "Bad Gateway".into() },
            },
            PveError::OutcomeUnknown { call: "POST /x".into(), cause: UnknownOutcome::HiddenError { status: 400 } },
            PveError::RequestTooLarge { bytes: 600_000, limit: 524_288 },
            PveError::UnsendablePath { call: "GET /x".into() },
            PveError::Busy { limit: 64 },
            PveError::Cancelled,
            PveError::NotPermitted,
        ]
    }

    #[test]
    fn every_error_is_one_plain_line() {
        for error in all_errors() {
            for text in [error.to_string(), render_error(&error)] {
                assert!(!text.contains('\n') && !text.contains("::") && !text.contains("Error"), "{text}");
                assert!(text.len() > 15 && !text.ends_with('.') && !text.contains("  "), "{text}");
            }
            assert!(error.kind().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn the_words_of_a_node_are_quoted() {
        let hostile = "no\" (ok) \\";
        for error in [
            PveError::Unauthorized {
                message: hostile.into(),
                user: String::new(),
                token_id: String::new(),
                has_no_ticket: false,
                was_accepted: false,
                next_step: None,
                is_refused_change: false,
            },
            PveError::ParametersRejected {
                parameters: vec![("a".into(), hostile.into())],
                diagnosis: classify(400, hostile),
                is_refused_change: true,
            },
            PveError::Failed {
                status: 500,
                message: hostile.into(),
                call: String::new(),
                diagnosis: classify(500, hostile),
                is_refused_change: false,
            },
        ] {
            assert!(error.to_string().contains(r#" "no\" (ok) \\""#), "{error}");
        }
    }

    #[test]
    fn each_kind_is_a_label_of_the_metrics_and_the_other_way_round() {
        let kinds: BTreeSet<&str> = all_errors().iter().map(PveError::kind).chain(["ok", "other"]).collect();
        assert_eq!(kinds, BTreeSet::from(OUTCOME_LABELS));
    }

    #[test]
    fn the_cause_is_kept_for_the_log() {
        assert_eq!(all_errors()[3].detail().as_deref(), Some("inside"));
        assert_eq!(PveError::Cancelled.detail(), None);
    }

    #[test]
    fn an_untrusted_certificate_comes_with_the_three_remedies() {
        let text = render_error(&tls(TlsErrorKind::Untrusted));
        for hint in ["pve1:8006", "\"fingerprint\": \"AB:AB:", "`ca_file`", "\"verify_ssl\": false"] {
            assert!(text.contains(hint), "{text}");
        }
    }

    #[test]
    fn a_changed_certificate_is_no_reason_to_stop_checking() {
        let text = render_error(&tls(TlsErrorKind::PinMismatch { expected: vec![Fingerprint([1; 32])] }));
        assert!(text.contains("expected 01:01:") && text.contains("seen: AB:AB:"), "{text}");
        assert!(!text.contains("verify_ssl"), "{text}");
    }

    #[test]
    fn errors_before_the_request_are_unsent() {
        for error in all_errors() {
            let sent = !matches!(error.kind(), "connect" | "tls" | "too_large" | "busy")
                && !matches!(error, PveError::UnsendablePath { .. } | PveError::NotPermitted);
            assert_eq!(error.is_unsent(), !sent, "{error}");
        }
    }
}
