//! One HTTP exchange with one node: sends a request, reads the answer and classifies failures.

use crate::base::cancel::CancelToken;
use crate::base::secret::Secret;
use crate::base::trace::TraceParent;
use crate::config::{ClusterConfig, Endpoint, Limits};
use crate::pve::client::answer_origin::{self, AnswerOrigin};
use crate::pve::client::host_resolver::{HostResolver, NoNameServerError};
use crate::pve::client::node_connection::{DeferredResolver, ExchangeInfo, ExchangeScope, NodeConnector};
use crate::pve::client::retry::AttemptEnd;
use crate::pve::client::secret_filter::SecretFilter;
use crate::pve::client::tls::{self, TlsSetupError};
use crate::pve::error::{ConnectError, MalformedCause, NetworkError, TlsError};
use crate::pve::method::Method;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use thiserror::Error;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::uri::{Authority, PathAndQuery, Scheme};
use ureq::http::{HeaderMap, HeaderValue, Request, Uri, header};
use ureq::{Agent, AsSendBody, Body};

/// A node on the same network answers in milliseconds. A dead one must not take the time of the whole call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Proxmox closes an idle connection after 5.0 s. A request on a connection of that age could be lost.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// Each pooled connection keeps its buffers, so they are small. Larger answers take several reads.
const BUFFER_BYTES: usize = 16 << 10;

/// Of an error response only Proxmox's message is read, which has a few hundred bytes.
const MAX_ERROR_BYTES: usize = 512 << 10;

/// Proxmox's own cluster stack supports about as many nodes.
const MAX_DISCOVERED: usize = 32;

/// HTTP agent of one cluster, with its nodes and its token.
pub(in crate::pve) struct NodeTransport {
    agent: Agent,
    nodes: Vec<NodeAddress>,
    /// Nodes that the cluster named, each set once. Their indexes follow those of `nodes`.
    discovered: [OnceLock<NodeAddress>; MAX_DISCOVERED],
    authorization: HeaderValue,
    secret_filter: SecretFilter,
    max_answer_bytes: usize,
}

struct NodeAddress {
    scheme: Scheme,
    authority: Authority,
    label: String,
}

impl NodeAddress {
    fn new(endpoint: &Endpoint) -> Result<Self, TransportSetupError> {
        let label = endpoint.to_string();
        let scheme = if endpoint.https { Scheme::HTTPS } else { Scheme::HTTP };
        match label.parse() {
            Ok(authority) => Ok(Self { scheme, authority, label }),
            Err(_) => Err(TransportSetupError::InvalidAddress { address: label }),
        }
    }
}

/// Setting of a cluster that no client can be made of.
#[derive(Debug, Error)]
pub enum TransportSetupError {
    #[error("it has no address")]
    NoAddress,
    #[error("`{address}` is not an address")]
    InvalidAddress { address: String },
    #[error("`user`, `token_id` or the token's secret has a character that can't be sent (a line break?)")]
    UnsendableToken,
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

/// Time limits of an attempt that are shorter than those of the cluster.
#[derive(Clone, Copy)]
pub(in crate::pve) struct AttemptTimeout {
    /// Limit for the whole exchange.
    pub(in crate::pve) total: Duration,
    /// Limit for the connection.
    pub(in crate::pve) connect: Option<Duration>,
}

/// Request, independent of the node it is sent to.
pub(in crate::pve) struct NodeRequest<'a> {
    pub(in crate::pve) method: Method,
    pub(in crate::pve) target: PathAndQuery,
    /// The body, for methods that have one.
    pub(in crate::pve) form: Option<&'a str>,
    /// The resource is public and large: it is requested without the token, and may come compressed.
    pub(in crate::pve) is_public: bool,
}

/// Limit on a body.
#[derive(Clone, Copy)]
enum BodyLimit {
    Answer(u64),
    Description(u64),
}

impl BodyLimit {
    fn max_bytes(self) -> u64 {
        match self {
            BodyLimit::Answer(max) | BodyLimit::Description(max) => max,
        }
    }

    fn exceeded(self) -> MalformedCause {
        match self {
            BodyLimit::Answer(limit) => MalformedCause::BodyTooLarge { limit },
            BodyLimit::Description(_) => MalformedCause::DescriptionTooLarge,
        }
    }
}

/// Answer of a node.
pub(in crate::pve) struct NodeResponse {
    pub(in crate::pve) status: u16,
    /// The reason phrase of the status line; empty for 200.
    pub(in crate::pve) reason: String,
    pub(in crate::pve) body: Vec<u8>,
    /// The failure that cut the body short.
    pub(in crate::pve) body_error: Option<TransportError>,
    pub(in crate::pve) headers: AnswerHeaders,
    /// The time from the start of the exchange to the end of the answer.
    pub(in crate::pve) elapsed: Duration,
}

/// Headers of an answer that say what the body is. Empty if the answer has none.
#[derive(Debug, Default)]
pub(in crate::pve) struct AnswerHeaders {
    pub(in crate::pve) content_type: String,
    pub(in crate::pve) location: String,
}

impl AnswerHeaders {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self {
            content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
            location: text(header::LOCATION).unwrap_or_default(),
        }
    }
}

impl NodeResponse {
    pub(in crate::pve) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the failure of the body, if the caller depends on the body. Of an error response the status suffices.
    pub(in crate::pve) fn relevant_error(&self) -> Option<&TransportError> {
        self.body_error.as_ref().filter(|_| self.status < 300)
    }

    /// Returns the end of the attempt that brought this answer.
    pub(in crate::pve) fn attempt_end(&self) -> AttemptEnd {
        match &self.body_error {
            Some(TransportError::TimedOut) => AttemptEnd::TimedOut,
            _ => self.relevant_error().map_or_else(|| self.origin().attempt_end(), TransportError::attempt_end),
        }
    }

    /// Returns the sender of the answer.
    pub(in crate::pve) fn origin(&self) -> AnswerOrigin {
        answer_origin::determine(self.status, &self.reason, &self.body)
    }
}

/// Failure of an exchange.
#[derive(Debug)]
pub(in crate::pve) enum TransportError {
    /// There is no connection or no TLS. Nothing was sent.
    Connect(ConnectError),
    /// The connection was lost after the request was sent, perhaps in part, and before the head of an answer came.
    ConnectionLost(String),
    /// The connection was lost between the head of an answer and the end of its body.
    Truncated(String),
    /// The time ran out after the request was sent.
    TimedOut,
    /// The answer is unreadable.
    Malformed(MalformedCause),
    /// The call was cancelled.
    Cancelled { sent: bool },
}

impl TransportError {
    /// Returns the end of the attempt that failed so.
    pub(in crate::pve) fn attempt_end(&self) -> AttemptEnd {
        match self {
            TransportError::Connect(_) => AttemptEnd::ConnectFailed,
            TransportError::ConnectionLost(_) => AttemptEnd::LostBeforeAnswer,
            TransportError::Truncated(_) => AttemptEnd::LostInAnswer,
            TransportError::TimedOut => AttemptEnd::TimedOut,
            TransportError::Malformed(_) => AttemptEnd::Malformed,
            TransportError::Cancelled { sent: false } => AttemptEnd::CancelledBeforeSending,
            TransportError::Cancelled { sent: true } => AttemptEnd::CancelledAfterSending,
        }
    }
}

impl NodeTransport {
    /// Creates the agent. Opens no connection.
    pub(in crate::pve) fn new(cluster: &ClusterConfig, limits: &Limits) -> Result<Self, TransportSetupError> {
        let tls = tls::build_client_config(&cluster.tls)?;
        let token =
            Secret::new(format!("PVEAPIToken={}!{}={}", cluster.user, cluster.token_id, cluster.token_secret.expose()));
        let mut authorization =
            HeaderValue::from_str(token.expose()).map_err(|_| TransportSetupError::UnsendableToken)?;
        authorization.set_sensitive(true);
        let nodes = cluster.endpoints.iter().map(NodeAddress::new).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(TransportSetupError::NoAddress);
        }

        let max_idle = limits.max_calls_per_cluster;
        let config = Config::builder()
            // Error responses carry Proxmox's message.
            .http_status_as_error(false)
            // A redirect could send the token elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The default reads the environment. A node is on the local network, and a proxy would see the token.
            .proxy(None)
            .timeout_global(Some(cluster.timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT.min(cluster.timeout)))
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(max_idle)
            .max_idle_connections_per_host(max_idle)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            // A head must fit into the buffer. ureq reports a larger one as such only if the limit is below it.
            .max_response_header_size(BUFFER_BYTES - 1)
            .user_agent(concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")))
            // Compression costs a node more than a local network does.
            .accept_encoding(AutoHeaderValue::None)
            .build();
        let connector = NodeConnector { tls, resolver: HostResolver::default() };
        Ok(Self {
            agent: Agent::with_parts(config, connector, DeferredResolver),
            nodes,
            discovered: [const { OnceLock::new() }; MAX_DISCOVERED],
            authorization,
            secret_filter: SecretFilter::new(cluster.token_secret.clone()),
            max_answer_bytes: limits.max_answer_bytes,
        })
    }

    /// Returns the number of nodes, discovered ones included.
    pub(in crate::pve) fn node_count(&self) -> usize {
        self.nodes.len() + self.discovered.iter().take_while(|node| node.get().is_some()).count()
    }

    fn address(&self, index: usize) -> Option<&NodeAddress> {
        self.nodes.get(index).or_else(|| self.discovered.get(index.checked_sub(self.nodes.len())?)?.get())
    }

    /// Returns `host:port` of a node.
    pub(in crate::pve) fn node_label(&self, index: usize) -> &str {
        self.address(index).map_or("", |node| &node.label)
    }

    /// Adds a node, and returns false if there is no room for it. Must be called by one thread at a time.
    pub(in crate::pve) fn add_node(&self, endpoint: &Endpoint) -> bool {
        let free = self.discovered.iter().find(|node| node.get().is_none());
        free.zip(NodeAddress::new(endpoint).ok()).is_some_and(|(free, node)| free.set(node).is_ok())
    }

    /// Returns the filter for the token's secret.
    pub(in crate::pve) fn secret_filter(&self) -> &SecretFilter {
        &self.secret_filter
    }

    /// Sends `request` to one node and reads the answer. `timeout` is needed only if it is shorter than the cluster's.
    pub(in crate::pve) fn exchange(
        &self,
        node: usize,
        request: &NodeRequest,
        timeout: Option<AttemptTimeout>,
        cancel: &CancelToken,
    ) -> Result<NodeResponse, TransportError> {
        let limit = BodyLimit::Answer(self.max_answer_bytes as u64);
        self.exchange_inner(node, request, timeout, cancel, limit, &mut |status, body| {
            let limit = match status {
                200..=299 => self.max_answer_bytes,
                _ => self.max_answer_bytes.min(MAX_ERROR_BYTES),
            };
            read_body(body, limit)
        })
    }

    /// Sends `request` to one node and passes the decompressed body of a 200, of at most `max_bytes`, to `sink` as it
    /// arrives. The body of another status stays unread, which closes the connection.
    pub(in crate::pve) fn stream(
        &self,
        node: usize,
        request: &NodeRequest,
        timeout: Option<AttemptTimeout>,
        cancel: &CancelToken,
        max_bytes: u64,
        sink: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<NodeResponse, TransportError> {
        let limit = BodyLimit::Description(max_bytes);
        self.exchange_inner(node, request, timeout, cancel, limit, &mut |status, mut body| {
            let result = match status {
                200 => sink(&mut body.with_config().limit(max_bytes).reader()),
                _ => Ok(()),
            };
            ReceivedBody { bytes: Vec::new(), error: result.err() }
        })
    }

    /// Sends the request and passes the body of the answer to `receive`.
    fn exchange_inner(
        &self,
        node: usize,
        request: &NodeRequest,
        timeout: Option<AttemptTimeout>,
        cancel: &CancelToken,
        limit: BodyLimit,
        receive: &mut dyn FnMut(u16, Body) -> ReceivedBody,
    ) -> Result<NodeResponse, TransportError> {
        let start = Instant::now();
        let scope = ExchangeScope::start(cancel, limit.max_bytes());
        if cancel.is_cancelled() {
            return Err(TransportError::Cancelled { sent: false });
        }
        let (status, headers, body) = match request.form {
            Some(form) => self.send_request(node, request, form, timeout, cancel),
            None => self.send_request(node, request, (), timeout, cancel),
        }
        .map_err(|error| to_transport_error(error, &scope.take_info(), cancel, limit))?;
        let ReceivedBody { bytes, error } = receive(status, body);
        let info = scope.take_info();
        let body_error = error.map(|error| to_transport_error(error.into(), &info, cancel, limit));
        let (reason, elapsed) = (info.reason, start.elapsed());
        Ok(NodeResponse { status, reason, body: bytes, body_error, headers, elapsed })
    }

    fn send_request(
        &self,
        node: usize,
        request: &NodeRequest,
        body: impl AsSendBody,
        timeout: Option<AttemptTimeout>,
        cancel: &CancelToken,
    ) -> Result<(u16, AnswerHeaders, Body), ureq::Error> {
        let Some(node) = self.address(node) else { return Err(ureq::Error::HostNotFound) };
        let uri = Uri::builder()
            .scheme(node.scheme.clone())
            .authority(node.authority.clone())
            .path_and_query(request.target.clone())
            .build()?;
        let builder = Request::builder().method(request.method.as_str()).uri(uri);
        let mut builder = match request.is_public {
            true => builder.header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            false => builder.header(header::AUTHORIZATION, self.authorization.clone()),
        };
        if request.form.is_some() {
            builder =
                builder.header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(trace) = cancel.trace().and_then(TraceParent::new_child) {
            builder = builder.header("traceparent", trace.as_str());
        }
        let mut http_request = builder.body(body)?;
        if let Some(timeout) = timeout {
            // This copies the whole configuration, so a call with the cluster's time limit goes without.
            let mut config = self.agent.configure_request(http_request).timeout_global(Some(timeout.total));
            if let Some(connect) = timeout.connect {
                config = config.timeout_connect(Some(connect));
            }
            http_request = config.build();
        }
        let (head, body) = self.agent.run(http_request)?.into_parts();
        Ok((head.status.as_u16(), AnswerHeaders::read(&head.headers), body))
    }
}

/// Body as far as it was received and kept.
struct ReceivedBody {
    bytes: Vec<u8>,
    /// The failure that cut the body short.
    error: Option<io::Error>,
}

/// Reads a body of at most `limit` bytes.
fn read_body(mut body: Body, limit: usize) -> ReceivedBody {
    // The length is an untrusted hint.
    let hint = body.content_length().unwrap_or(0).min(1 << 20).min(limit as u64);
    let mut bytes = Vec::with_capacity(hint as usize);
    let error = body.with_config().limit(limit as u64).reader().read_to_end(&mut bytes).err();
    ReceivedBody { bytes, error }
}

fn to_transport_error(
    error: ureq::Error,
    info: &ExchangeInfo,
    cancel: &CancelToken,
    limit: BodyLimit,
) -> TransportError {
    use ureq::Error;
    // A cancellation shuts the socket down, which looks like a lost connection.
    if cancel.is_cancelled() {
        return TransportError::Cancelled { sent: info.sent };
    }
    let error = match error {
        Error::Io(e) => match e.downcast::<TlsError>() {
            Ok(error) => return TransportError::Connect(ConnectError::Tls(Box::new(error))),
            Err(e) => Error::Io(e),
        },
        other => other,
    };
    if !info.sent {
        return TransportError::Connect(ConnectError::Network(to_network_error(&error)));
    }
    let detail = error.to_string();
    TransportError::Malformed(match error {
        Error::Timeout(_) => return TransportError::TimedOut,
        Error::Io(_) if !info.head_received => return TransportError::ConnectionLost(detail),
        Error::Io(_) | Error::BodyStalled => return TransportError::Truncated(detail),
        Error::BodyExceedsLimit(_) => limit.exceeded(),
        Error::LargeResponseHeader(..) => MalformedCause::HeadTooLarge,
        Error::Decompress(..) => MalformedCause::BrokenGzip { detail },
        _ => MalformedCause::NotHttp { detail },
    })
}

fn to_network_error(error: &ureq::Error) -> NetworkError {
    match error {
        ureq::Error::HostNotFound => NetworkError::HostNotFound,
        ureq::Error::Timeout(_) => NetworkError::TimedOut,
        ureq::Error::Io(e) if e.get_ref().is_some_and(|inner| inner.is::<NoNameServerError>()) => {
            NetworkError::NoNameServer
        }
        ureq::Error::Io(e) => match e.kind() {
            io::ErrorKind::ConnectionRefused => NetworkError::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => NetworkError::NoRoute,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => NetworkError::ClosedInHandshake,
            _ => NetworkError::Other(e.to_string()),
        },
        other => NetworkError::Other(other.to_string()),
    }
}
