//! One cluster: which of its nodes is asked, what may be asked again, and how many calls it may hold.

use crate::base::cancel::CancelToken;
use crate::config::{self, Limits};
use crate::metrics::ClusterMetrics;
use crate::pve::Method;
use crate::pve::client::api_response;
use crate::pve::client::api_response::SecretFilter;
use crate::pve::client::call_semaphore::{AcquireError, CallSemaphore, SemaphorePermit};
use crate::pve::client::discovery::Discovery;
use crate::pve::client::node_health::{NodeChoice, NodeHealth};
use crate::pve::client::transport::{
    AttemptTimeout, BodySink, NodeRequest, NodeResponse, NodeTransport, TransportError,
};
use crate::pve::error::{ConnectError, NodeConnectError, PveError};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::{Schema, SchemaCache, SchemaTimings};
use log::Level;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::http::uri::PathAndQuery;

pub use crate::pve::client::api_response::ApiResponse;
pub use crate::pve::client::node_health::Clock;

/// How long a GET may find out whether a node that hung answers again, while another would answer at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for a connection.
const PROBE_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How an answer's body is read; the second is for the words that an error shows of it.
type ResponseParser<'a> = dyn Fn(String, &SecretFilter<'_>) -> Result<ApiResponse, (String, String)> + 'a;

/// The client of one cluster. Calls may be made from any number of threads.
pub struct Cluster {
    settings: config::ClusterConfig,
    transport: NodeTransport,
    semaphore: CallSemaphore,
    node_health: NodeHealth,
    discovery: Discovery,
    schema_cache: SchemaCache,
    metrics: ClusterMetrics,
}

impl Cluster {
    /// Makes the client; opens no connection. The error is a sentence about what is wrong in `settings`.
    pub fn new(settings: config::ClusterConfig, limits: &Limits) -> Result<Self, String> {
        let wire =
            NodeTransport::new(&settings, limits).map_err(|why| format!("cluster `{}`: {why}", settings.name))?;
        let gate = CallSemaphore::new(limits.max_calls_per_cluster);
        let counts = ClusterMetrics::new(wire.node_count());
        let (nodes, discovery) = (NodeHealth::new(wire.node_count()), Discovery::new(&settings));
        Ok(Self {
            settings,
            transport: wire,
            semaphore: gate,
            node_health: nodes,
            discovery,
            schema_cache: SchemaCache::default(),
            metrics: counts,
        })
    }

    /// The same client with another clock for how long a node is passed over and when nodes are learnt.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { node_health: self.node_health.with_clock(clock), ..self }
    }

    /// The same client with other times for its schema, for who can't wait as long as an administrator.
    pub fn with_schema_timings(self, times: SchemaTimings) -> Self {
        Self { schema_cache: SchemaCache::new(times), ..self }
    }

    /// What clusters.json says of it.
    pub fn settings(&self) -> &config::ClusterConfig {
        &self.settings
    }

    /// What it has answered so far.
    pub fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }

    /// Makes one API call and waits for its answer, at most the cluster's `timeout`, the wait for a free place
    /// included.
    ///
    /// A node that can't be reached or is not trusted is passed over: it was sent nothing. A GET whose connection is
    /// lost before an answer is asked once more, of another node where there is one; so is one whose answer was cut, if
    /// there is one. Nothing else is ever sent twice.
    /// What fails so is passed over by other calls as well, for a time ([`Cluster::node_states`]).
    ///
    /// A failure leaves one line in the log: at `warn` where something may have changed and nobody knows, for a client
    /// that cancelled is told nothing; else at `debug`.
    pub fn call(
        &self,
        method: Method,
        path: &ApiPath,
        params: &ApiParams,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let start = Instant::now();
        let result = self.send(method, path, params, start + self.settings.timeout, cancel);
        self.log_result(start, method, path, result)
    }

    /// The same for a GET of a list whose rows are checked by whoever reads them: of the answer only the outside is looked
    /// at.
    pub fn get_list(&self, path: &ApiPath, params: &ApiParams, cancel: &CancelToken) -> Result<ApiResponse, PveError> {
        let start = Instant::now();
        let result =
            self.send_with(Method::Get, path, params, start + self.settings.timeout, cancel, &ApiResponse::parse_list);
        self.log_result(start, Method::Get, path, result)
    }

    /// A GET that waits no longer than until `deadline`, where that is sooner than the cluster's own time limit.
    pub fn get_with_deadline(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let start = Instant::now();
        let deadline = deadline.min(start + self.settings.timeout);
        let mut result = self.send(Method::Get, path, params, deadline, cancel);
        if let Err(PveError::TimedOut { timeout: after, .. }) = &mut result {
            *after = Duration::from_secs(start.elapsed().as_secs().max(1));
        }
        self.log_result(start, Method::Get, path, result)
    }

    fn log_result(
        &self,
        start: Instant,
        method: Method,
        path: &ApiPath,
        result: Result<ApiResponse, PveError>,
    ) -> Result<ApiResponse, PveError> {
        self.metrics.record_request(result.as_ref().err().map(PveError::kind), start.elapsed());
        if let Err(error) = &result {
            let level = if matches!(error, PveError::OutcomeUnknown { .. }) { Level::Warn } else { Level::Debug };
            // Neither the parameters nor the error's outside text, which may quote them.
            log::log!(
                level,
                "cluster `{}`: {method} {path}: {}{}{} after {} ms",
                self.settings.name,
                error.kind(),
                error.status().map(|status| format!(" {status}")).unwrap_or_default(),
                error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default(),
                start.elapsed().as_millis()
            );
        }
        result
    }

    /// Each node (`host:port`), and why it is passed over where it is: as far as known, for nobody is asked here. Those of
    /// clusters.json in its order, then those learnt.
    pub fn node_states(&self) -> Vec<(String, Option<String>)> {
        let states = self.node_health.states().into_iter().enumerate();
        states
            .filter_map(|(node, state)| {
                let why = state?;
                Some((self.transport.node_label(node).to_owned(), Some(why).filter(|why| !why.is_empty())))
            })
            .collect()
    }

    /// The cluster's API as it describes it, or the embedded facts where it can't be had. Never fails; the one call that
    /// fetches it takes its time (at most [`SchemaTimings::fetch_timeout`]), the others get at once what there is.
    pub fn schema(&self, cancel: &CancelToken) -> Arc<Schema> {
        self.schema_cache.get_or_fetch(self, cancel)
    }

    /// Whether a schema says our secret, which a node knows from our calls and no description holds.
    pub(in crate::pve) fn leaks_secret(&self, schema: &Schema) -> bool {
        self.transport.contains_secret(schema.all_texts())
    }

    /// [`Cluster::call`] with a deadline and without a line in the log.
    pub(in crate::pve) fn send(
        &self,
        method: Method,
        path: &ApiPath,
        params: &ApiParams,
        deadline: Instant,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        self.send_with(method, path, params, deadline, cancel, &ApiResponse::parse)
    }

    /// Makes a call whose answer is read as `parse` does.
    fn send_with(
        &self,
        method: Method,
        path: &ApiPath,
        params: &ApiParams,
        deadline: Instant,
        cancel: &CancelToken,
        parse: &ResponseParser<'_>,
    ) -> Result<ApiResponse, PveError> {
        let encoded = params.encode();
        let target = path.to_request_target(method, &encoded)?;
        let in_body = method.has_form();
        let out = NodeRequest { method, target, form: in_body.then_some(encoded.as_str()), without_token: false };
        let _permit = self.acquire_permit(deadline, cancel)?;
        let (node, reply) = self.try_nodes(method, path, deadline, true, &mut |node, left| {
            self.transport.exchange(node, &out, left, cancel)
        })?;
        let answer = self.parse_response(node, reply, method, path, parse)?;
        if method == Method::Get {
            self.discover_nodes(deadline, cancel);
        }
        Ok(answer)
    }

    /// Learns the cluster's nodes where that is wanted and due. The answer in hand waits for it, within its deadline and
    /// a bound of its own; whoever comes meanwhile does not.
    fn discover_nodes(&self, deadline: Instant, cancel: &CancelToken) {
        if !self.discovery.claim_if_due(&|| self.node_health.now()) {
            return;
        }
        let target = PathAndQuery::from_static("/api2/json/cluster/status");
        let out = NodeRequest { method: Method::Get, target, form: None, without_token: false };
        let path = "/cluster/status";
        let deadline = deadline.min(Instant::now() + Discovery::MAX_WAIT);
        let learnt = self
            .try_nodes(Method::Get, &path, deadline, true, &mut |node, left| {
                self.transport.exchange(node, &out, left.or(AttemptTimeout::from_deadline(deadline)), cancel)
            })
            .and_then(|(node, reply)| self.parse_response(node, reply, Method::Get, &path, &ApiResponse::parse))
            .map_err(|error| error.to_string())
            .and_then(|answer| self.discovery.update_nodes(answer.data(), &self.transport, &self.node_health));
        match learnt {
            Ok(new) if new.is_empty() => {}
            Ok(new) => log::info!("cluster `{}`: learnt of {}", self.settings.name, new.join(", ")),
            Err(why) => log::warn!("cluster `{}`: its nodes can't be learnt: {why}", self.settings.name),
        }
    }

    /// Fetches what a node serves to anybody outside the API, without the token. The body of a 200 goes to `take` as it
    /// comes in. Says which node it was.
    pub(in crate::pve) fn stream_public(
        &self,
        path: &'static str,
        deadline: Instant,
        cancel: &CancelToken,
        take: &mut BodySink,
    ) -> Result<&str, PveError> {
        let out = NodeRequest {
            method: Method::Get,
            target: PathAndQuery::from_static(path),
            form: None,
            without_token: true,
        };
        let _permit = self.acquire_permit(deadline, cancel)?;
        let (node, reply) = self.try_nodes(Method::Get, &path, deadline, false, &mut |node, left| {
            self.transport.stream(node, &out, left, cancel, take)
        })?;
        match (reply.status, reply.body_error) {
            (200, None) => Ok(self.transport.node_label(node)),
            (200, Some(fault)) => Err(self.build_error(node, fault, Method::Get, &path)),
            // Its words are left out: they are not Proxmox's on this path.
            (status, _) => {
                Err(PveError::Failed { status, message: String::new(), call: format_call(Method::Get, &path) })
            }
        }
    }

    fn acquire_permit(&self, deadline: Instant, cancel: &CancelToken) -> Result<SemaphorePermit<'_>, PveError> {
        self.semaphore.acquire(deadline, cancel).map_err(|refusal| match refusal {
            AcquireError::Busy => PveError::Busy { limit: self.semaphore.limit() },
            AcquireError::Cancelled => PveError::Cancelled,
        })
    }

    /// Makes the exchange with one node after the other, as far as that is allowed. `brief`: it can be cut short and be
    /// made once more, where it is a GET.
    fn try_nodes(
        &self,
        method: Method,
        path: &dyn fmt::Display,
        deadline: Instant,
        retryable: bool,
        exchange: &mut dyn FnMut(usize, Option<AttemptTimeout>) -> Result<NodeResponse, TransportError>,
    ) -> Result<(usize, NodeResponse), PveError> {
        let mut again = method == Method::Get;
        let mut tried: Vec<usize> = Vec::new();
        let mut failures: Vec<(String, ConnectError)> = Vec::new();
        // Who took a GET and gave nothing is asked again where nobody else can be.
        let mut last: Option<NodeChoice> = None;
        let mut next = self.node_health.choose(&tried, again && retryable);
        while let Some(choice) = next {
            let start = Instant::now();
            let left = deadline.saturating_duration_since(start);
            // The first request has the cluster's time limit, which the agent knows, unless it had to wait before.
            let waited = !tried.is_empty() || left + Duration::from_millis(50) < self.settings.timeout;
            let limit = match choice.probe {
                true => {
                    let whole = if again && retryable { (left / 2).min(PROBE_TIMEOUT) } else { left };
                    Some(AttemptTimeout { total: whole, connect: Some(PROBE_CONNECT_TIMEOUT) })
                }
                false => waited.then_some(AttemptTimeout { total: left, connect: None }),
            };
            tried.push(choice.node);
            let result = exchange(choice.node, limit);
            if !matches!(result, Err(TransportError::Cancelled { .. })) {
                self.metrics.record_contact(choice.node, matches!(result, Ok(_) | Err(TransportError::Malformed(..))));
            }
            let hung = start.elapsed() >= (self.settings.timeout / 2).min(PROBE_TIMEOUT);
            let fault = match result {
                Ok(mut reply) => {
                    let once_more = again
                        && retryable
                        && match &reply.body_error {
                            Some(TransportError::TimedOut) => choice.probe,
                            // What an error's body has to say is no reason to ask for another one.
                            Some(TransportError::Truncated(_)) => {
                                reply.status < 300 && self.node_health.choose(&tried, false).is_some()
                            }
                            _ => false,
                        };
                    match reply.body_error.take_if(|_| once_more) {
                        Some(fault) => fault,
                        None => {
                            self.record_result(choice, reply.body_error.as_ref().filter(|_| reply.status < 300), hung);
                            return Ok((choice.node, reply));
                        }
                    }
                }
                Err(fault) => fault,
            };
            let time_is_over = deadline <= Instant::now();
            next = match fault {
                TransportError::Connect(why) => {
                    let node = self.transport.node_label(choice.node);
                    self.record_failure(choice, false, &NodeConnectError(node, &why));
                    failures.push((node.to_owned(), why));
                    if time_is_over { None } else { self.node_health.choose(&tried, false).or_else(|| last.take()) }
                }
                TransportError::ConnectionLost(_) | TransportError::Truncated(_) | TransportError::TimedOut
                    if again
                        && !time_is_over
                        && (choice.probe && retryable || !matches!(fault, TransportError::TimedOut)) =>
                {
                    again = false;
                    // Without the library's words: a caller reads this.
                    let why = match fault {
                        TransportError::ConnectionLost(_) => "the connection was lost",
                        TransportError::Truncated(_) => "the connection was lost in the middle of an answer",
                        _ => "it does not answer",
                    };
                    let why = ConnectError::Network(why.to_owned());
                    let other = self.node_health.choose(&tried, false);
                    let same = NodeChoice { probe: false, ..choice };
                    if other.is_some() {
                        let node = self.transport.node_label(choice.node);
                        self.record_failure(choice, true, &NodeConnectError(node, &why));
                        failures.push((node.to_owned(), why));
                        last = Some(same);
                    }
                    other.or(Some(same))
                }
                fault => {
                    self.record_result(choice, Some(&fault), hung);
                    return Err(self.build_error(choice.node, fault, method, path));
                }
            };
        }
        Err(PveError::from_attempts(failures))
    }

    /// What an exchange that is not made once more says of its node. `hung`: it had time enough.
    fn record_result(&self, choice: NodeChoice, fault: Option<&TransportError>, hung: bool) {
        match fault {
            Some(TransportError::ConnectionLost(_)) => self.record_failure(choice, true, &"the connection was lost"),
            Some(TransportError::Truncated(_)) => {
                self.record_failure(choice, true, &"the connection was lost in the middle of an answer")
            }
            Some(TransportError::TimedOut) if hung => self.record_failure(choice, true, &"it did not answer in time"),
            Some(TransportError::TimedOut | TransportError::Cancelled { .. } | TransportError::Connect(_)) => {
                self.node_health.release_probe(choice)
            }
            Some(TransportError::Malformed(..)) | None => self.record_success(choice.node),
        }
    }

    /// Lets other calls pass a node over, and says so once. `why` names the node, or is a clause about it.
    fn record_failure(&self, choice: NodeChoice, took: bool, why: &dyn fmt::Display) {
        let node = self.transport.node_label(choice.node);
        let mut why = why.to_string();
        if !why.contains(node) {
            why.insert_str(0, ": ");
            why.insert_str(0, node);
        }
        if self.node_health.record_failure(choice, took, &why) {
            log::warn!("cluster `{}`: {why}; this node is asked last until it answers again", self.settings.name);
        }
    }

    fn record_success(&self, node: usize) {
        if let Some(ill) = self.node_health.record_success(node) {
            let (name, node) = (&self.settings.name, self.transport.node_label(node));
            log::info!("cluster `{name}`: {node} answers again, after {} s", ill.as_secs());
        }
    }

    fn parse_response(
        &self,
        node: usize,
        reply: NodeResponse,
        method: Method,
        path: &dyn fmt::Display,
        parse: &ResponseParser<'_>,
    ) -> Result<ApiResponse, PveError> {
        if !(200..300).contains(&reply.status) {
            // The status tells enough, whatever became of the body.
            let token = (self.settings.user.as_str(), self.settings.token_id.as_str());
            let call = format_call(method, path);
            let error =
                api_response::parse_error_response(reply.status, &reply.reason, &reply.body, call, token, &|t| {
                    self.transport.redact_secret(t)
                });
            return Err(if method == Method::Get { error } else { error.into_write_error() });
        }
        let result = match reply.body_error {
            Some(fault) => Err(fault),
            // What is not UTF-8 is no answer: of its error only the start is shown, which is scrubbed there.
            None => String::from_utf8(reply.body)
                .map_err(|error| ApiResponse::describe_non_utf8(error.as_bytes(), &|t| self.transport.redact_secret(t)))
                .and_then(|body| parse(self.transport.redact_body(body), &|t| self.transport.redact_secret(t)))
                .map_err(|(why, inside)| TransportError::Malformed(why, inside)),
        };
        result.map_err(|fault| self.build_error(node, fault, method, path))
    }

    fn build_error(&self, node: usize, fault: TransportError, method: Method, path: &dyn fmt::Display) -> PveError {
        let node = self.transport.node_label(node).to_owned();
        let after = self.settings.timeout;
        if method != Method::Get {
            let why = match &fault {
                TransportError::ConnectionLost(_) => Some("the connection was lost before an answer came".to_owned()),
                TransportError::Truncated(_) => Some("the connection was lost in the middle of the answer".to_owned()),
                TransportError::TimedOut => Some(format!("no answer came within {} s", after.as_secs_f32())),
                TransportError::Malformed(why, _) => Some(format!("the answer can't be read: {why}")),
                TransportError::Cancelled { sent: true } => {
                    Some("the call was cancelled before its answer came".to_owned())
                }
                TransportError::Connect(_) | TransportError::Cancelled { sent: false } => None,
            };
            if let Some(why) = why {
                let inside = match fault {
                    TransportError::ConnectionLost(inside)
                    | TransportError::Truncated(inside)
                    | TransportError::Malformed(_, inside) => inside,
                    TransportError::Cancelled { .. } => "cancelled".to_owned(),
                    TransportError::TimedOut | TransportError::Connect(_) => "timed out".to_owned(),
                };
                return PveError::OutcomeUnknown { call: format_call(method, path), reason: why, detail: inside };
            }
        }
        match fault {
            TransportError::Connect(why) => PveError::from_attempts(vec![(node, why)]),
            TransportError::ConnectionLost(inside) => PveError::ConnectionLost { node, detail: inside },
            TransportError::Truncated(inside) => {
                let why = "the connection was lost in the middle of it. Try again".to_owned();
                PveError::MalformedResponse { node, reason: why, detail: inside }
            }
            TransportError::TimedOut => PveError::TimedOut { node, timeout: after },
            TransportError::Malformed(why, inside) => PveError::MalformedResponse { node, reason: why, detail: inside },
            TransportError::Cancelled { .. } => PveError::Cancelled,
        }
    }
}

fn format_call(method: Method, path: &dyn fmt::Display) -> String {
    format!("{method} {path}")
}
