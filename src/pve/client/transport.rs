//! One HTTP exchange with one node: sends a request, reads the answer and classifies failures.

use crate::base::cancel::CancelToken;
use crate::base::heartbeat::Heartbeat;
use crate::base::memory::{MemoryError, MemoryReservation, MemoryWait};
use crate::base::secret::Secret;
use crate::base::trace::TraceParent;
use crate::config::{ClusterConfig, Endpoint, Limits};
use crate::pve::client::answer_origin::{self, AnswerOrigin};
use crate::pve::client::host_resolver::{HostResolver, NoNameServerError};
use crate::pve::client::node_connection::{
    DeferredResolver, ExchangeInfo, ExchangeScope, LastAddresses, NodeConnector,
};
use crate::pve::client::retry::AttemptEnd;
use crate::pve::client::row_compactor::{KeepMember, RowCompactor};
use crate::pve::client::secret_filter::SecretFilter;
use crate::pve::client::tls::{self, TlsSetupError};
use crate::pve::error::{ConnectError, MalformedCause, NetworkError, TlsError};
use crate::pve::knowledge::text::to_one_line;
use crate::pve::method::Method;
use rustix::io::Errno;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use thiserror::Error;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::uri::{Authority, PathAndQuery, Scheme};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
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
    /// Replaced to close its connections, and after a panic, which may have poisoned the lock of its pool.
    agent: RwLock<Agent>,
    new_agent: Box<dyn Fn() -> Agent + Send + Sync>,
    /// The time of the last exchange.
    last_use: Heartbeat,
    /// True if the agent may have connections.
    is_used: AtomicBool,
    nodes: Vec<NodeAddress>,
    /// Nodes that the cluster named, each set once. Their indexes follow those of `nodes`.
    discovered: [OnceLock<NodeAddress>; MAX_DISCOVERED],
    /// The headers that prove the caller's identity: the API token, or the ticket of a login.
    credentials: Vec<(HeaderName, HeaderValue)>,
    secret_filter: SecretFilter,
    max_answer_bytes: usize,
    /// Time limit of an exchange without a shorter one.
    timeout: Duration,
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
    /// The members of its rows that the reader of a list needs. `None` for any other answer.
    pub(in crate::pve) keep_member: Option<KeepMember>,
    /// Returns the memory that is reserved for an answer of this many bytes.
    pub(in crate::pve) answer_memory: fn(usize) -> usize,
}

/// Limit on the whole of a list, as a multiple of the limit on what is kept of it.
const MAX_LIST_FACTOR: u64 = 16;

/// Limit on a body.
#[derive(Clone, Copy)]
enum BodyLimit {
    Answer(u64),
    /// The limit on what is kept of a list.
    List(u64),
    Description(u64),
}

impl BodyLimit {
    fn max_bytes(self) -> u64 {
        match self {
            BodyLimit::Answer(max) | BodyLimit::Description(max) => max,
            BodyLimit::List(max) => max.saturating_mul(MAX_LIST_FACTOR),
        }
    }

    fn exceeded(self) -> MalformedCause {
        match self {
            BodyLimit::Answer(limit) | BodyLimit::List(limit) => MalformedCause::BodyTooLarge { limit },
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
    /// The memory of the body and of what is made of it.
    pub(in crate::pve) memory: MemoryReservation,
    /// The failure that cut the body short.
    pub(in crate::pve) body_error: Option<TransportError>,
    pub(in crate::pve) headers: AnswerHeaders,
    /// The time from the start of the exchange to the end of the answer.
    pub(in crate::pve) elapsed: Duration,
}

/// The most characters that an error shows of the name of a compression.
const MAX_ENCODING_CHARS: usize = 20;

/// Headers of an answer that say what the body is. Empty if the answer has none.
#[derive(Debug, Default)]
pub(in crate::pve) struct AnswerHeaders {
    pub(in crate::pve) content_type: String,
    pub(in crate::pve) location: String,
    /// The compression of the body, if this client can't read it.
    pub(in crate::pve) unknown_encoding: Option<String>,
    /// The body of a success is a file for the caller, as the node or the request says.
    pub(in crate::pve) is_attachment: bool,
}

impl AnswerHeaders {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self {
            content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
            location: text(header::LOCATION).unwrap_or_default(),
            unknown_encoding: text(header::CONTENT_ENCODING)
                .filter(|encoding| !["", "gzip", "identity"].contains(&encoding.to_ascii_lowercase().as_str()))
                .map(|encoding| to_one_line(&encoding, MAX_ENCODING_CHARS)),
            is_attachment: text(header::CONTENT_DISPOSITION).is_some_and(|kind| kind.starts_with("attachment")),
        }
    }
}

impl NodeResponse {
    pub(in crate::pve) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the status of an error that a proxy made a success.
    pub(in crate::pve) fn find_replaced_status(&self) -> Option<u16> {
        let is_answer = self.is_success() && self.body_error.is_none() && !self.headers.is_attachment;
        is_answer.then(|| answer_origin::find_replaced_status(&self.body)).flatten()
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
        match self.is_success() && self.headers.is_attachment {
            true => AnswerOrigin::Proxmox,
            false => answer_origin::determine(self.status, &self.reason, &self.headers.content_type, &self.body),
        }
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
    /// The caller's rights no longer allow the request. Nothing was sent.
    NotPermitted,
}

impl TransportError {
    /// Returns the end of the attempt that failed so.
    pub(in crate::pve) fn attempt_end(&self) -> AttemptEnd {
        match self {
            TransportError::Connect(_) => AttemptEnd::ConnectFailed,
            TransportError::ConnectionLost(_) => AttemptEnd::LostBeforeAnswer,
            TransportError::Truncated(_) => AttemptEnd::LostInAnswer,
            TransportError::TimedOut => AttemptEnd::TimedOut,
            TransportError::Malformed(
                MalformedCause::NotHttp { .. }
                | MalformedCause::UnknownEncoding { .. }
                | MalformedCause::BrokenGzip { .. }
                | MalformedCause::HeadTooLarge,
            ) => AttemptEnd::Unintelligible,
            TransportError::Malformed(_) => AttemptEnd::Malformed,
            TransportError::Cancelled { sent: false } | TransportError::NotPermitted => {
                AttemptEnd::CancelledBeforeSending
            }
            TransportError::Cancelled { sent: true } => AttemptEnd::CancelledAfterSending,
        }
    }
}

impl NodeTransport {
    /// Creates the agent. Opens no connection. `max_idle` is the number of connections that are kept for the next calls.
    pub(in crate::pve) fn new(
        cluster: &ClusterConfig,
        limits: &Limits,
        max_idle: usize,
    ) -> Result<Self, TransportSetupError> {
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
        let connector =
            NodeConnector { tls, resolver: HostResolver::default(), last_addresses: LastAddresses::default() };
        let new_agent = Box::new(move || Agent::with_parts(config.clone(), connector.clone(), DeferredResolver));
        Ok(Self {
            agent: RwLock::new(new_agent()),
            new_agent,
            last_use: Heartbeat::default(),
            is_used: AtomicBool::new(false),
            nodes,
            discovered: [const { OnceLock::new() }; MAX_DISCOVERED],
            credentials: vec![(header::AUTHORIZATION, authorization)],
            secret_filter: SecretFilter::new(cluster.token_secret.clone()),
            max_answer_bytes: limits.max_answer_bytes,
            timeout: cluster.timeout,
        })
    }

    fn agent(&self) -> Agent {
        self.agent.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the API token.
    pub(in crate::pve) fn with_credentials(self, credentials: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { credentials, ..self }
    }

    fn replace_agent(&self) {
        let agent = (self.new_agent)();
        let replaced = std::mem::replace(&mut *self.agent.write().unwrap_or_else(PoisonError::into_inner), agent);
        // Outside of the lock, since it closes connections. An exchange that runs keeps its own.
        drop(replaced);
    }

    /// Closes the kept connections if the last exchange began longer than `idle` ago. The pool itself notices that a node
    /// has closed a connection, or that it is too old, with the next exchange only.
    pub(in crate::pve) fn close_idle_connections(&self, idle: Duration) {
        if self.last_use.age() >= idle && self.is_used.swap(false, Ordering::Relaxed) {
            self.replace_agent();
        }
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

    /// Returns whether the address of a node has https.
    pub(in crate::pve) fn is_https(&self, index: usize) -> bool {
        self.address(index).is_some_and(|node| node.scheme == Scheme::HTTPS)
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
        let kind = if request.keep_member.is_some() { BodyLimit::List } else { BodyLimit::Answer };
        let limit = kind(self.max_answer_bytes as u64);
        let deadline = Instant::now() + timeout.map_or(self.timeout, |timeout| timeout.total);
        self.exchange_inner(node, request, timeout, cancel, limit, &mut |status, body| {
            let limit = match status {
                200..=299 => self.max_answer_bytes,
                _ => self.max_answer_bytes.min(MAX_ERROR_BYTES),
            };
            let compactor = request.keep_member.filter(|_| status == 200).map(RowCompactor::new);
            read_body(body, limit, compactor, request.answer_memory, deadline, cancel)
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
            ReceivedBody { error: result.err().map(BodyError::Io), ..ReceivedBody::default() }
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
        cancel.record_progress();
        if cancel.is_cancelled() {
            return Err(TransportError::Cancelled { sent: false });
        }
        if !cancel.may_send() {
            return Err(TransportError::NotPermitted);
        }
        let cancel = &match request.method {
            Method::Get => cancel.clone(),
            _ => cancel.child_token_for_change(),
        };
        let scope = ExchangeScope::start(cancel, limit.max_bytes());
        self.last_use.beat();
        self.is_used.store(true, Ordering::Relaxed);
        let agent = self.agent();
        let exchange = || -> Result<_, ureq::Error> {
            let (status, headers, body) = match request.form {
                Some(form) => self.send_request(&agent, node, request, form, timeout, cancel),
                None => self.send_request(&agent, node, request, (), timeout, cancel),
            }?;
            Ok((status, headers, receive(status, body)))
        };
        let result = catch_unwind(AssertUnwindSafe(exchange)).unwrap_or_else(|_| {
            self.replace_agent();
            Err(io::Error::other("internal error").into())
        });
        cancel.record_progress();
        let mut info = scope.take_info();
        info.start = to_one_line(&self.secret_filter.redact_message(info.start), MAX_START_CHARS);
        let (status, headers, ReceivedBody { bytes, memory, error }) =
            result.map_err(|error| to_transport_error(error, &info, cancel, limit))?;
        let body_error = error.map(|error| match error {
            BodyError::Io(error) => to_transport_error(error.into(), &info, cancel, limit),
            BodyError::NoMemory(_) if cancel.is_cancelled() => TransportError::Cancelled { sent: true },
            BodyError::NoMemory(error) => TransportError::Malformed(MalformedCause::NoMemory(error)),
        });
        let (reason, elapsed) = (info.reason, start.elapsed());
        let (body, body_error) = match &headers.unknown_encoding {
            Some(encoding) => {
                let cause = MalformedCause::UnknownEncoding { encoding: encoding.clone() };
                (Vec::new(), body_error.or(Some(TransportError::Malformed(cause))))
            }
            None => (without_byte_order_mark(bytes), body_error),
        };
        Ok(NodeResponse { status, reason, body, memory, body_error, headers, elapsed })
    }

    fn send_request(
        &self,
        agent: &Agent,
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
            false => self.credentials.iter().fold(builder, |builder, (name, value)| builder.header(name, value)),
        };
        if request.form.is_some() {
            builder =
                builder.header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(trace) = cancel.trace().and_then(TraceParent::new_child) {
            builder = builder.header("traceparent", trace.as_str());
        }
        let mut http_request = builder.body(body)?;
        // This copies the whole configuration, so a usual read goes without.
        let is_change = request.method != Method::Get;
        if is_change || timeout.is_some() {
            let mut config = agent.configure_request(http_request);
            if let Some(timeout) = timeout {
                config = config.timeout_global(Some(timeout.total));
            }
            if let Some(connect) = timeout.and_then(|timeout| timeout.connect) {
                config = config.timeout_connect(Some(connect));
            }
            // The other end may close a kept connection at the same moment. A read is sent once more then, but the outcome
            // of a change would be unknown, so that a change has a connection of its own.
            if is_change {
                config = config.max_idle_age(Duration::ZERO);
            }
            http_request = config.build();
        }
        let (head, body) = agent.run(http_request)?.into_parts();
        let mut headers = AnswerHeaders::read(&head.headers);
        // An older node answers the request for a log with its rows.
        let is_json = headers.content_type.starts_with("application/json");
        headers.is_attachment |= !is_json && is_download(&request.target);
        Ok((head.status.as_u16(), headers, body))
    }
}

/// Removes the mark that some proxies put before a text in UTF-8.
fn without_byte_order_mark(mut body: Vec<u8>) -> Vec<u8> {
    if body.starts_with("\u{feff}".as_bytes()) {
        body.drain(.."\u{feff}".len());
    }
    body
}

/// Returns whether a request is for a file. (PVE: from a backup, without a header that says so, or a task log.)
fn is_download(target: &PathAndQuery) -> bool {
    let wants_log = || target.query().is_some_and(|query| query.split('&').any(|part| part == "download=1"));
    target.path().ends_with("/file-restore/download") || (target.path().ends_with("/log") && wants_log())
}

/// Body as far as it was received and kept.
#[derive(Default)]
struct ReceivedBody {
    bytes: Vec<u8>,
    memory: MemoryReservation,
    /// The failure that cut the body short.
    error: Option<BodyError>,
}

enum BodyError {
    Io(io::Error),
    NoMemory(MemoryError),
}

/// The most characters that an error shows of an answer that is not HTTP.
const MAX_START_CHARS: usize = 64;

/// Bytes of a body without a length that are read before more memory is reserved.
const PIECE_BYTES: usize = 256 << 10;

/// Reads a body of at most `limit` bytes, or a list of which `compactor` keeps as many. An answer with a length waits for
/// its memory until `deadline`.
fn read_body(
    mut body: Body,
    limit: usize,
    mut compactor: Option<RowCompactor>,
    answer_memory: fn(usize) -> usize,
    deadline: Instant,
    cancel: &CancelToken,
) -> ReceivedBody {
    let mut received = ReceivedBody::default();
    let announced = body.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX).min(limit));
    let wait = MemoryWait { deadline, is_cancelled: &|| cancel.is_cancelled() };
    match cancel.memory().reserve_within(answer_memory(announced.unwrap_or(0)), &wait) {
        Ok(memory) => received.memory = memory,
        Err(error) => return ReceivedBody { error: Some(BodyError::NoMemory(error)), ..received },
    }
    let kind = if compactor.is_some() { BodyLimit::List } else { BodyLimit::Answer };
    let mut reader = body.with_config().limit(kind(limit as u64).max_bytes()).reader();
    loop {
        if let Some(compactor) = compactor.as_mut().filter(|_| received.bytes.len() >= limit) {
            compactor.compact(&mut received.bytes);
            // Each reduction must make room, so that there are few of them.
            if received.bytes.len() > limit - limit / 16 {
                let error = ureq::Error::BodyExceedsLimit(limit as u64).into_io();
                return ReceivedBody { error: Some(BodyError::Io(error)), ..received };
            }
        }
        let (len, bytes) = (received.bytes.len(), &mut received.bytes);
        let end = announced.unwrap_or(len + PIECE_BYTES).min(limit).max(len);
        if let Err(error) = received.memory.grow_to(answer_memory(end)) {
            return ReceivedBody { error: Some(BodyError::NoMemory(error)), ..received };
        }
        bytes.reserve_exact(end - len);
        // One more byte shows the end of the body, or that it is too large.
        match reader.by_ref().take((end - len).max(1) as u64).read_to_end(bytes) {
            Ok(0) => return received,
            Ok(_) => {}
            Err(error) => return ReceivedBody { error: Some(BodyError::Io(error)), ..received },
        }
    }
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
    if info.is_refused {
        return TransportError::NotPermitted;
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
        // A body whose form is broken, such as that of a chunk.
        _ if info.head_received => return TransportError::Truncated(detail),
        _ => MalformedCause::NotHttp { start: info.start.clone(), detail },
    })
}

fn to_network_error(error: &ureq::Error) -> NetworkError {
    match error {
        ureq::Error::HostNotFound => NetworkError::HostNotFound,
        ureq::Error::Timeout(_) => NetworkError::TimedOut,
        ureq::Error::Io(e) if e.get_ref().is_some_and(|inner| inner.is::<NoNameServerError>()) => {
            NetworkError::NoNameServer
        }
        ureq::Error::Io(e) if is_out_of_descriptors(e) => NetworkError::NoDescriptor,
        ureq::Error::Io(e) => match e.kind() {
            io::ErrorKind::ConnectionRefused => NetworkError::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => NetworkError::NoRoute,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => NetworkError::ClosedInHandshake,
            _ => NetworkError::Other(e.to_string()),
        },
        other => NetworkError::Other(other.to_string()),
    }
}

/// Returns whether this process, or the machine, may open no further file or socket.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| code == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use crate::config::TlsVerification;
    use crate::policy::ClusterPolicy;
    use crate::pve::client::api_response::answer_memory;
    use crate::pve::error::{FailedAttempt, PveError};
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

    /// A connection that answers every request, and panics when the pool asks for its state, under the pool's lock.
    #[derive(Debug)]
    struct PanickingConnection {
        buffers: LazyBuffers,
        is_pooled: bool,
    }

    impl Transport for PanickingConnection {
        fn buffers(&mut self) -> &mut dyn Buffers {
            &mut self.buffers
        }
        fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), ureq::Error> {
            Ok(())
        }
        fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            self.buffers.input_append_buf()[..answer.len()].copy_from_slice(answer);
            self.buffers.input_appended(answer.len());
            Ok(true)
        }
        fn is_open(&mut self) -> bool {
            assert!(!std::mem::replace(&mut self.is_pooled, true), "a test's panic");
            true
        }
    }

    #[derive(Debug)]
    struct PanickingConnector(Arc<AtomicUsize>);

    impl Connector<()> for PanickingConnector {
        type Out = PanickingConnection;

        fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<PanickingConnection>, ureq::Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            let buffers = LazyBuffers::new(BUFFER_BYTES, BUFFER_BYTES);
            Ok(Some(PanickingConnection { buffers, is_pooled: false }))
        }
    }

    fn transport_to(host: &str, port: u16) -> NodeTransport {
        let settings = ClusterConfig {
            name: "lab".into(),
            endpoints: vec![Endpoint { https: false, host: host.into(), port }],
            user: "root@pam".into(),
            token_id: "mcp".into(),
            token_secret: Secret::new("s".into()),
            tls: TlsVerification::Unverified,
            timeout: Duration::from_secs(20),
            discover_nodes: false,
            is_simulated: false,
            policy: ClusterPolicy::default(),
        };
        NodeTransport::new(&settings, &Limits::default(), 64).unwrap()
    }

    fn exchange(transport: &NodeTransport) -> Result<NodeResponse, TransportError> {
        let target = PathAndQuery::from_static("/");
        let request =
            NodeRequest { method: Method::Get, target, form: None, is_public: false, keep_member: None, answer_memory };
        transport.exchange(0, &request, None, &CancelToken::new())
    }

    #[test]
    fn a_panic_under_the_lock_of_the_pool_fails_one_exchange_only() {
        let connections = Arc::new(AtomicUsize::new(0));
        let connector = connections.clone();
        let new_agent = move || {
            Agent::with_parts(Config::builder().build(), PanickingConnector(connector.clone()), DeferredResolver)
        };
        let agent = RwLock::new(new_agent());
        let transport = NodeTransport { agent, new_agent: Box::new(new_agent), ..transport_to("127.0.0.1", 1) };
        for round in 1..4 {
            assert_eq!(exchange(&transport).unwrap().body, b"ok", "a new connection");
            // The kept connection panics when it is taken out of the pool.
            let error = exchange(&transport).err().unwrap();
            assert!(matches!(error, TransportError::Connect(_)), "nothing was sent: {error:?}");
            assert_eq!(connections.load(Ordering::SeqCst), round);
        }
    }

    #[test]
    fn an_idle_connection_is_closed_without_another_exchange() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let transport = transport_to("127.0.0.1", listener.local_addr().unwrap().port());
        thread::scope(|scope| {
            let node = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                stream.read(&mut [0]).unwrap()
            });
            assert_eq!(exchange(&transport).unwrap().body, b"ok");
            transport.close_idle_connections(Duration::from_secs(600));
            assert!(!node.is_finished(), "the connection was used just now");
            transport.close_idle_connections(Duration::ZERO);
            assert_eq!(node.join().unwrap(), 0, "the connection has ended");
        });
    }

    #[test]
    fn a_shortage_of_descriptors_is_the_server_s_own() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(to_network_error(&ureq::Error::Io(errno.into())), NetworkError::NoDescriptor);
        }
        let error = PveError::from_attempts(vec![FailedAttempt {
            node: "pve1:8006".into(),
            cause: ConnectError::Network(NetworkError::NoDescriptor),
        }]);
        let text = render_error(&error);
        assert!(text.contains("this server has no file descriptor left") && text.contains("LimitNOFILE"), "{text}");
        assert!(!text.contains("check that the node"), "{text}");
    }
}
