//! One HTTP exchange with one node: a request out, its answer in, and what went wrong told apart.

use crate::base::cancel::CancelToken;
use crate::base::secret::Secret;
use crate::base::trace::TraceParent;
use crate::config::{ClusterConfig, Endpoint, Limits};
use crate::pve::Method;
use crate::pve::client::host_resolver::HostResolver;
use crate::pve::client::node_connection::{DeferredResolver, ExchangeInfo, ExchangeScope, NodeConnector};
use crate::pve::client::tls;
use crate::pve::error::{ConnectError, TlsError};
use crate::pve::schema;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::uri::{Authority, PathAndQuery, Scheme};
use ureq::http::{HeaderValue, Request, Uri, header};
use ureq::{Agent, AsSendBody, Body};

/// A node on the same network answers in milliseconds; one that is gone should not eat the whole call's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Proxmox closes an idle connection after 5.0 s; one that we would take at that moment could be lost under a request.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// A pooled connection keeps its buffers, so they are small; answers larger than that take several reads.
const BUFFER_BYTES: usize = 16 << 10;

/// Of an error only Proxmox's words are read; they are a few hundred bytes.
const MAX_ERROR_BYTES: usize = 512 << 10;

/// A secret shorter than this stands in any answer; every one that Proxmox makes is a UUID.
const MIN_SECRET_LEN: usize = 8;

/// Nodes learnt from a cluster; its own stack ends at about as many.
const MAX_DISCOVERED: usize = 32;

/// The agent of one cluster, its nodes and its token.
pub(in crate::pve) struct NodeTransport {
    agent: Agent,
    nodes: Vec<NodeAddress>,
    /// Nodes that the cluster named itself, each put in once; indexes go on where `nodes` ends.
    discovered: [OnceLock<NodeAddress>; MAX_DISCOVERED],
    authorization: HeaderValue,
    secret: Secret,
    max_answer_bytes: usize,
}

struct NodeAddress {
    scheme: Scheme,
    authority: Authority,
    label: String,
}

impl NodeAddress {
    fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let shown = endpoint.to_string();
        let authority = shown.parse().map_err(|_| format!("`{shown}` is not an address"))?;
        let scheme = if endpoint.https { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Self { scheme, authority, label: shown })
    }
}

/// What an exchange may take, where that is less than the cluster's time limit.
#[derive(Clone, Copy)]
pub(in crate::pve) struct AttemptTimeout {
    /// From end to end.
    pub(in crate::pve) total: Duration,
    /// Until there is a connection.
    pub(in crate::pve) connect: Option<Duration>,
}

impl AttemptTimeout {
    /// All that is left.
    pub(in crate::pve) fn from_deadline(deadline: Instant) -> Option<Self> {
        Some(Self { total: deadline.saturating_duration_since(Instant::now()), connect: None })
    }
}

/// A request, whichever node it goes to.
pub(in crate::pve) struct NodeRequest<'a> {
    pub(in crate::pve) method: Method,
    pub(in crate::pve) target: PathAndQuery,
    /// A form; `None` for methods that have none.
    pub(in crate::pve) form: Option<&'a str>,
    /// Anybody may read it: it goes out without the token, and may come back compressed, for it is large.
    pub(in crate::pve) without_token: bool,
}

/// What takes a body as it comes in. It hands the reader's error on; what it thinks of the body is its own.
pub(in crate::pve) type BodySink<'a> = dyn FnMut(&mut dyn Read) -> io::Result<()> + 'a;

/// The most of an answer, and the clause that says it was more.
struct BodyLimit<'a> {
    max_bytes: u64,
    describe_excess: &'a dyn Fn() -> String,
}

/// A node's answer.
pub(in crate::pve) struct NodeResponse {
    pub(in crate::pve) status: u16,
    /// The status line's reason phrase; empty for 200.
    pub(in crate::pve) reason: String,
    pub(in crate::pve) body: Vec<u8>,
    /// Why the body is not all of it.
    pub(in crate::pve) body_error: Option<TransportError>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::pve) enum TransportError {
    /// There is no connection, or no TLS; nothing was sent.
    Connect(ConnectError),
    /// The connection was lost after the request was (perhaps partly) sent and before an answer's head came.
    ConnectionLost(String),
    /// The connection was lost after an answer's head came and before all of its body did.
    Truncated(String),
    /// Time ran out after the request was sent.
    TimedOut,
    /// Something came that can't be read: why, and the library's words.
    Malformed(String, String),
    /// The call was cancelled, before or after the request was sent.
    Cancelled { sent: bool },
}

impl NodeTransport {
    /// Makes the agent; opens no connection. The error is a sentence without the secret.
    pub(in crate::pve) fn new(cluster: &ClusterConfig, limits: &Limits) -> Result<Self, String> {
        let tls = tls::build_client_config(&cluster.tls)?;
        let token =
            Secret::new(format!("PVEAPIToken={}!{}={}", cluster.user, cluster.token_id, cluster.token_secret.expose()));
        let mut authorization = HeaderValue::from_str(token.expose()).map_err(|_| {
            "`user`, `token_id` or the token's secret has a character that can't be sent (a line break?)".to_owned()
        })?;
        authorization.set_sensitive(true);
        let nodes = cluster.endpoints.iter().map(NodeAddress::new).collect::<Result<Vec<_>, String>>()?;
        if nodes.is_empty() {
            return Err("it has no address".into());
        }

        let idle = limits.max_calls_per_cluster;
        let config = Config::builder()
            // Proxmox's own words come with the errors.
            .http_status_as_error(false)
            // Where a node points is not where the token may go.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The default reads the environment: a node is on the local network, and a proxy would see the token.
            .proxy(None)
            .timeout_global(Some(cluster.timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT.min(cluster.timeout)))
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(idle)
            .max_idle_connections_per_host(idle)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            // A head must fit into the buffer; one that doesn't is reported as such only if the limit is below it.
            .max_response_header_size(BUFFER_BYTES - 1)
            .user_agent(concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")))
            // Compressing costs a node more than a local network does.
            .accept_encoding(AutoHeaderValue::None)
            .build();
        let connect = NodeConnector { tls, resolver: HostResolver::default() };
        Ok(Self {
            agent: Agent::with_parts(config, connect, DeferredResolver),
            nodes,
            discovered: [const { OnceLock::new() }; MAX_DISCOVERED],
            authorization,
            secret: cluster.token_secret.clone(),
            max_answer_bytes: limits.max_answer_bytes,
        })
    }

    /// How many nodes there are, those learnt included.
    pub(in crate::pve) fn node_count(&self) -> usize {
        self.nodes.len() + self.discovered.iter().take_while(|node| node.get().is_some()).count()
    }

    fn address(&self, index: usize) -> Option<&NodeAddress> {
        self.nodes.get(index).or_else(|| self.discovered.get(index.checked_sub(self.nodes.len())?)?.get())
    }

    /// `host:port` of a node.
    pub(in crate::pve) fn node_label(&self, index: usize) -> &str {
        self.address(index).map_or("", |node| &node.label)
    }

    /// Adds a node, unless there are as many as there may be: whether it did. Called by one thread at a time.
    pub(in crate::pve) fn add_node(&self, endpoint: &Endpoint) -> bool {
        let free = self.discovered.iter().find(|node| node.get().is_none());
        free.zip(NodeAddress::new(endpoint).ok()).is_some_and(|(free, node)| free.set(node).is_ok())
    }

    /// A stranger's words, safe to show: without our secret, should a node (or what poses as one) echo it.
    pub(in crate::pve) fn redact_secret(&self, text: String) -> String {
        if self.secret.is_empty() || !text.contains(self.secret.expose()) {
            return text;
        }
        text.replace(self.secret.expose(), "(secret)")
    }

    /// An answer's body, safe to hand on: without our secret, unless that is too short.
    pub(in crate::pve) fn redact_body(&self, body: String) -> String {
        if self.secret.expose().len() < MIN_SECRET_LEN { body } else { self.redact_secret(body) }
    }

    /// Whether a text that can't be scrubbed holds our secret; never where [`NodeTransport::redact_body`] would let it pass.
    pub(in crate::pve) fn contains_secret(&self, text: &str) -> bool {
        self.secret.expose().len() >= MIN_SECRET_LEN && text.contains(self.secret.expose())
    }

    /// Sends `out` to one node and reads the answer. `time_left` where it is less than the cluster's time limit.
    pub(in crate::pve) fn exchange(
        &self,
        node: usize,
        out: &NodeRequest,
        time_left: Option<AttemptTimeout>,
        cancel: &CancelToken,
    ) -> Result<NodeResponse, TransportError> {
        let too_large = || {
            format!(
                "it is larger than {} bytes (the limit is `max_answer_bytes`). Ask for less, for example with `limit` \
                 or a narrower path",
                self.max_answer_bytes
            )
        };
        let bound = BodyLimit { max_bytes: self.max_answer_bytes as u64, describe_excess: &too_large };
        let mut bytes = Vec::new();
        let mut reply = self.exchange_inner(node, out, time_left, cancel, &bound, &mut |status, body| {
            let limit = match status {
                200..=299 => self.max_answer_bytes,
                _ => self.max_answer_bytes.min(MAX_ERROR_BYTES),
            };
            read_body(body, limit, &mut bytes)
        })?;
        reply.body = bytes;
        Ok(reply)
    }

    /// The same for a description of the API: what comes with a 200 goes to `take` as it comes in, decompressed; nothing
    /// is kept here, and a body of another status is left unread, which closes the connection.
    pub(in crate::pve) fn stream(
        &self,
        node: usize,
        out: &NodeRequest,
        time_left: Option<AttemptTimeout>,
        cancel: &CancelToken,
        take: &mut BodySink,
    ) -> Result<NodeResponse, TransportError> {
        let too_large = || "it is larger than any description of the API".to_owned();
        let bound = BodyLimit { max_bytes: schema::MAX_DESCRIPTION_BYTES, describe_excess: &too_large };
        self.exchange_inner(node, out, time_left, cancel, &bound, &mut |status, mut body| match status {
            200 => take(&mut body.with_config().limit(schema::MAX_DESCRIPTION_BYTES).reader()),
            _ => Ok(()),
        })
    }

    /// One exchange: the request out, the answer's body to `body`.
    fn exchange_inner(
        &self,
        node: usize,
        out: &NodeRequest,
        time_left: Option<AttemptTimeout>,
        cancel: &CancelToken,
        bound: &BodyLimit,
        take: &mut dyn FnMut(u16, Body) -> io::Result<()>,
    ) -> Result<NodeResponse, TransportError> {
        let listening = ExchangeScope::start(cancel, bound.max_bytes);
        if cancel.is_cancelled() {
            return Err(TransportError::Cancelled { sent: false });
        }
        let fault = |error, heard: &ExchangeInfo| to_transport_error(error, heard, cancel, bound.describe_excess);
        let (status, body) = match out.form {
            Some(form) => self.send_request(node, out, form, time_left, cancel),
            None => self.send_request(node, out, (), time_left, cancel),
        }
        .map_err(|error| fault(error, &listening.take_info()))?;
        let broken = take(status, body).err().map(ureq::Error::from);
        let heard = listening.take_info();
        let broken = broken.map(|error| fault(error, &heard));
        Ok(NodeResponse { status, reason: heard.reason, body: Vec::new(), body_error: broken })
    }

    fn send_request(
        &self,
        node: usize,
        out: &NodeRequest,
        body: impl AsSendBody,
        time_left: Option<AttemptTimeout>,
        call: &CancelToken,
    ) -> Result<(u16, Body), ureq::Error> {
        let Some(node) = self.address(node) else { return Err(ureq::Error::HostNotFound) };
        let uri = Uri::builder()
            .scheme(node.scheme.clone())
            .authority(node.authority.clone())
            .path_and_query(out.target.clone())
            .build()?;
        let request = Request::builder().method(out.method.as_str()).uri(uri);
        let mut request = match out.without_token {
            true => request.header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            false => request.header(header::AUTHORIZATION, self.authorization.clone()),
        };
        if out.form.is_some() {
            request =
                request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(trace) = call.trace().and_then(TraceParent::new_child) {
            request = request.header("traceparent", trace.as_str());
        }
        let mut request = request.body(body)?;
        if let Some(left) = time_left {
            // Copies the whole configuration, which is why the usual call goes without.
            let mut config = self.agent.configure_request(request).timeout_global(Some(left.total));
            if let Some(connect) = left.connect {
                config = config.timeout_connect(Some(connect));
            }
            request = config.build();
        }
        let (head, body) = self.agent.run(request)?.into_parts();
        Ok((head.status.as_u16(), body))
    }
}

/// As much of a body as comes, at most `limit` bytes, and the error that ended it.
fn read_body(mut body: Body, limit: usize, into: &mut Vec<u8>) -> io::Result<()> {
    // What the node says of its length is a hint, not a promise.
    let hint = body.content_length().unwrap_or(0).min(1 << 20).min(limit as u64);
    into.reserve_exact(hint as usize);
    body.with_config().limit(limit as u64).reader().read_to_end(into).map(drop)
}

fn to_transport_error(
    error: ureq::Error,
    heard: &ExchangeInfo,
    cancel: &CancelToken,
    too_large: &dyn Fn() -> String,
) -> TransportError {
    use ureq::Error;
    // A cancelled call's socket is shut down, which looks like any loss.
    if cancel.is_cancelled() {
        return TransportError::Cancelled { sent: heard.sent };
    }
    let error = match error {
        Error::Io(e) => match e.downcast::<TlsError>() {
            Ok(failure) => return TransportError::Connect(ConnectError::Tls(Box::new(failure))),
            Err(e) => Error::Io(e),
        },
        other => other,
    };
    if !heard.sent {
        return TransportError::Connect(ConnectError::Network(describe_connect_error(&error)));
    }
    let inside = error.to_string();
    let unreadable = |why: &str| TransportError::Malformed(why.to_owned(), inside.clone());
    match error {
        Error::Timeout(_) => TransportError::TimedOut,
        Error::BodyExceedsLimit(_) => unreadable(&too_large()),
        Error::LargeResponseHeader(..) => unreadable("its headers are larger than 16 KiB, which no Proxmox node sends"),
        Error::Decompress(..) => unreadable("it claims to be gzip, but is broken or cut short"),
        Error::Io(_) if !heard.head_received => TransportError::ConnectionLost(inside),
        Error::Io(_) | Error::BodyStalled => TransportError::Truncated(inside),
        _ => unreadable("it is not HTTP as Proxmox speaks it. Check the address and port in clusters.json"),
    }
}

fn describe_connect_error(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "there is no host of that name".into(),
        ureq::Error::Timeout(_) => "it did not answer in time".into(),
        ureq::Error::Io(e) => match e.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".into(),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "there is no route to it".into(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                "it closed the connection during the TLS handshake".into()
            }
            _ => e.to_string(),
        },
        other => other.to_string(),
    }
}
