//! The client of one cluster: chooses the node of a call, fails over, and bounds the calls in flight.

use crate::base::cancel::CancelToken;
use crate::base::json_scan::find_string;
use crate::base::memory::{MemoryError, MemoryWait};
use crate::base::workers::WorkerPool;
use crate::config::{ClusterConfig, Limits};
use crate::metrics::ClusterMetrics;
use crate::pve::client::address_check::{AddressCheck, ClusterIdentity, compare_addresses};
use crate::pve::client::api_response::{self, SentCall, SharedResponse, answer_memory};
use crate::pve::client::call_semaphore::{AcquireError, CallSemaphore, SemaphorePermit};
use crate::pve::client::cluster_members::ClusterMembers;
use crate::pve::client::discovery::{Discovery, DiscoveryError};
use crate::pve::client::node_health::{NodeChoice, NodeHealth, NodeStatus};
use crate::pve::client::recent_value::RecentValue;
use crate::pve::client::retry::{self, Attempt, AttemptEnd, Decision, RetryPolicy};
use crate::pve::client::row_compactor::KeepMember;
use crate::pve::client::secret_filter::SecretFilter;
use crate::pve::client::shared_reads::{
    BegunRead, JoinedRead, ReadCaller, ReadKey, ReadSender, ReadWaitError, SharedReads,
};
use crate::pve::client::transport::{
    AttemptTimeout, NodeRequest, NodeResponse, NodeTransport, TransportError, TransportSetupError,
};
use crate::pve::error::{
    ConnectError, EnvelopeError, FailedAttempt, MalformedCause, NetworkError, PveError, UnknownOutcome,
};
use crate::pve::guests::{GuestList, is_guest_member};
use crate::pve::knowledge::messages::classify;
use crate::pve::knowledge::other_servers::recognize_version;
use crate::pve::method::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::{Schema, SchemaCache, SchemaSource, SchemaTimings};
use crate::pve::token_privileges::TokenPrivileges;
use log::Level;
use std::fmt;
use std::io::{self, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use ureq::http::uri::PathAndQuery;
use ureq::http::{HeaderName, HeaderValue};

pub use crate::pve::client::api_response::ApiResponse;
pub use crate::pve::client::node_health::{BackoffStatus, Clock, NodeState};

/// Time limit of a GET that probes a node which hung, while another node would answer at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time after which the connections of a cluster without calls are closed. They are too old for a call before.
const MAX_UNUSED: Duration = Duration::from_secs(5);

/// Time limit of such a probe's connection.
const PROBE_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Idle connections to all clusters together, of which each cluster has at least one.
const MAX_IDLE_CONNECTIONS: usize = 256;

/// The maximum time for which a shared read waits for a place. Its callers leave before.
const MAX_PERMIT_WAIT: Duration = Duration::from_secs(3_600);

/// The most guests that are kept as recently changed.
const MAX_CHANGED_GUESTS: usize = 16;

/// Least time of a read that waits for others. A shorter one would have too little left for its own request.
const MIN_SHARED_TIME: Duration = Duration::from_secs(3);

/// Client of one cluster, for calls from any number of threads.
pub struct Cluster {
    /// Shared with the threads that send shared reads.
    core: Arc<ClusterCore>,
    reads: SharedReads<Result<SharedResponse, PveError>>,
    read_workers: WorkerPool<SharedReadJob>,
}

/// The state of a [`Cluster`], and its calls without sharing.
pub struct ClusterCore {
    settings: ClusterConfig,
    transport: NodeTransport,
    semaphore: CallSemaphore,
    node_health: NodeHealth,
    discovery: Discovery,
    schema_cache: SchemaCache,
    metrics: ClusterMetrics,
    /// The cluster accepted the token in the last answer that tells.
    token_accepted: AtomicBool,
    /// The cluster accepted the token since the start.
    token_was_accepted: AtomicBool,
    token_privileges: RecentValue<Arc<TokenPrivileges>>,
    node_names: RecentValue<Arc<[String]>>,
    /// The numbers of guests whose config was changed, the newest last.
    changed_guests: RecentValue<Arc<[u32]>>,
    /// The offset of the nodes' zone from UTC in seconds.
    utc_offset: RecentValue<Option<i32>>,
    members: ClusterMembers,
}

/// Time limit of one call.
#[derive(Clone, Copy)]
struct CallTimeLimit {
    deadline: Instant,
    /// The whole time of the call, as its error shows it.
    total: Duration,
}

/// Request as its errors describe it.
#[derive(Clone, Copy)]
struct SentRequest<'a> {
    method: Method,
    path: &'a dyn fmt::Display,
    limit: CallTimeLimit,
}

impl CallTimeLimit {
    /// Returns the limit of a call that ends at `deadline`, if that is before the end of the cluster's own limit.
    fn until(deadline: Instant, start: Instant, timeout: Duration) -> Self {
        let left = deadline.saturating_duration_since(start);
        if left >= timeout {
            return Self { deadline: start + timeout, total: timeout };
        }
        // In whole seconds, for the text of the error.
        let seconds = (left + Duration::from_millis(500)).as_secs().max(1);
        Self { deadline, total: Duration::from_secs(seconds) }
    }
}

/// Outage of all nodes of a cluster.
pub enum ClusterOutage {
    /// The nodes should not be asked yet.
    BackingOff(PveError),
    /// A node should be asked again.
    RetryDue,
}

/// Answer of a read that may be shared.
enum ReadAnswer {
    Own(ApiResponse),
    Shared(Arc<Result<SharedResponse, PveError>>),
}

/// Reader of an answer.
#[derive(Clone, Copy)]
struct AnswerReader {
    parse: fn(String, &SecretFilter) -> Result<ApiResponse, EnvelopeError>,
    keep_member: Option<KeepMember>,
    /// The rows are parsed once for all callers.
    shares_rows: bool,
    /// Returns the memory that is reserved for an answer of this many bytes.
    answer_memory: fn(usize) -> usize,
}

impl AnswerReader {
    const OBJECT: Self = Self { parse: ApiResponse::parse, keep_member: None, shares_rows: false, answer_memory };
    const GUESTS: Self = Self { shares_rows: true, ..Self::list(is_guest_member) };

    /// Returns the reader of a list of rows with the members of `keep`.
    const fn list(keep: KeepMember) -> Self {
        Self { parse: ApiResponse::parse_list, keep_member: Some(keep), shares_rows: false, answer_memory }
    }

    /// Returns the key of reads of a path with this reader.
    fn read_key(self, target: &PathAndQuery) -> ReadKey {
        let keep_member = self.keep_member.map_or(0, |keep_member| keep_member as usize);
        ReadKey { target: target.as_str().to_owned(), readers: [self.parse as usize, keep_member] }
    }
}

/// A shared read for another thread to send, so that no caller waits longer than its own call lasts.
struct SharedReadJob {
    core: Arc<ClusterCore>,
    sender: ReadSender<Result<SharedResponse, PveError>>,
    request: SharedRequest,
}

/// The request of a read.
struct SharedRequest {
    path: ApiPath,
    target: PathAndQuery,
    reader: AnswerReader,
}

/// Configuration that no client can be made of.
#[derive(Debug, Error)]
pub enum ClusterSetupError {
    #[error("cluster `{cluster}`: {cause}")]
    Cluster { cluster: String, cause: TransportSetupError },
    #[error("`default` is `{name}`, but there is no such cluster")]
    UnknownDefault { name: String },
}

impl Deref for Cluster {
    type Target = ClusterCore;

    fn deref(&self) -> &ClusterCore {
        &self.core
    }
}

impl Cluster {
    /// Creates the client. Opens no connection.
    pub fn new(settings: ClusterConfig, limits: &Limits) -> Result<Self, ClusterSetupError> {
        Self::new_among(1, settings, limits)
    }

    /// Creates the client of one of `clusters` clusters. Each keeps its share of idle connections.
    pub fn new_among(clusters: usize, settings: ClusterConfig, limits: &Limits) -> Result<Self, ClusterSetupError> {
        // Half of them may wait for a permit.
        let max_threads = 2 * limits.max_calls_per_cluster;
        let core = Arc::new(ClusterCore::new(clusters, settings, limits)?);
        let read_workers =
            WorkerPool::new(max_threads, |job: SharedReadJob| job.core.send_shared(job.sender, &job.request));
        Ok(Self { core, reads: SharedReads::default(), read_workers })
    }

    /// Replaces the clock by which nodes are skipped and discovered.
    pub fn with_clock(self, clock: Clock) -> Self {
        self.map_core(|core| ClusterCore { node_health: core.node_health.with_clock(clock), ..core })
    }

    /// Replaces the intervals and time limits of the schema.
    pub fn with_schema_timings(self, timings: SchemaTimings) -> Self {
        self.map_core(|core| ClusterCore { schema_cache: SchemaCache::new(timings), ..core })
    }

    /// Sends no API token, as before a login.
    pub fn without_token(self) -> Self {
        self.with_credentials(Vec::new())
    }

    /// Sends these headers instead of the API token.
    pub(super) fn with_credentials(self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        self.map_core(|core| ClusterCore { transport: core.transport.with_credentials(headers), ..core })
    }

    fn map_core(self, change: impl FnOnce(ClusterCore) -> ClusterCore) -> Self {
        let core = Arc::into_inner(self.core).expect("a client that is being built has no reads");
        Self { core: Arc::new(change(core)), ..self }
    }

    /// Makes a GET call that ends at `deadline` or at the cluster's own time limit, whichever is earlier. Identical calls
    /// share requests, so the operation must be a plain read.
    pub fn get_shared(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        self.read_response(deadline, path, params, AnswerReader::OBJECT, cancel)
    }

    /// Makes a GET call for a list, which ends like that of [`Cluster::get_shared`]. Only the envelope is checked; the
    /// caller must check the rows. Of a list above the limit of an answer, the rows have only the members of `keep`.
    pub fn get_list(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        keep: KeepMember,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        self.read_response(deadline, path, params, AnswerReader::list(keep), cancel)
    }

    /// Makes a GET call for a list of guests, which ends like that of [`Cluster::get_shared`].
    pub fn get_guests(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        cancel: &CancelToken,
    ) -> Result<GuestList, PveError> {
        match self.read_shared(deadline, path, params, AnswerReader::GUESTS, cancel)? {
            ReadAnswer::Own(response) => response.guests(),
            ReadAnswer::Shared(result) => result.as_ref().as_ref().map_err(Clone::clone)?.guests(),
        }
    }

    /// Makes a GET call for an answer of the caller's own.
    fn read_response(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        reader: AnswerReader,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let start = Instant::now();
        let shared = match self.read_shared(deadline, path, params, reader, cancel)? {
            ReadAnswer::Own(response) => return Ok(response),
            ReadAnswer::Shared(result) => result,
        };
        let wait = MemoryWait { deadline, is_cancelled: &|| cancel.is_cancelled() };
        let response = shared.as_ref().as_ref().map_err(Clone::clone)?.to_response(cancel.memory(), &wait);
        response.or_else(|error| {
            let error = if cancel.is_cancelled() { PveError::Cancelled } else { no_memory(error) };
            self.log_result(start, Method::Get, path, Err(error))
        })
    }

    fn read_shared(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        reader: AnswerReader,
        cancel: &CancelToken,
    ) -> Result<ReadAnswer, PveError> {
        let start = Instant::now();
        let limit = CallTimeLimit::until(deadline, start, self.settings.timeout);
        let send_alone = || {
            let result = self.read(path, params, limit, cancel, reader);
            self.log_result(start, Method::Get, path, result).map(ReadAnswer::Own)
        };
        if limit.deadline < start + MIN_SHARED_TIME {
            return send_alone();
        }
        let target = path.to_request_target(Method::Get, &params.encode())?;
        let client = cancel.memory().client().unwrap_or_default();
        let caller = ReadCaller { cancel: cancel.clone(), deadline: limit.deadline, total: limit.total };
        let key = reader.read_key(&target);
        let (ticket, sender) = match self.reads.join(key, caller, || self.semaphore.try_acquire(&client)) {
            JoinedRead::Alone(alone, _permit) => {
                let request = SharedRequest { path: path.clone(), target, reader };
                let result = self.send_read(&request, limit, cancel);
                // The next read may begin.
                drop(alone);
                return self.log_result(start, Method::Get, path, result.and_then(reserve_rows)).map(ReadAnswer::Own);
            }
            JoinedRead::Shared { ticket, sender } => (ticket, sender),
        };
        if let Some(sender) = sender {
            let reader = AnswerReader { answer_memory: |bytes| bytes, ..reader };
            let request = SharedRequest { path: path.clone(), target, reader };
            let job = SharedReadJob { core: self.core.clone(), sender, request };
            if self.read_workers.submit(job).is_err() {
                // The sender was dropped with the job, which ended the shared read.
                drop(ticket);
                return send_alone();
            }
        }
        let error = match ticket.wait() {
            Ok(_) if !cancel.may_send() => PveError::NotPermitted,
            Ok(result) => match &*result {
                // The memory of another client was in use.
                Err(PveError::MalformedResponse { cause: MalformedCause::NoMemory(_), .. }) => return send_alone(),
                // An error has a line in the log.
                _ => return Ok(ReadAnswer::Shared(result)),
            },
            Err(ReadWaitError::Failed) => return send_alone(),
            Err(ReadWaitError::Cancelled) => PveError::Cancelled,
            Err(ReadWaitError::NotBegun) => PveError::Busy { limit: self.semaphore.limit() },
            Err(ReadWaitError::NotAnswered) => {
                PveError::TimedOut { node: "the node asked".into(), timeout: limit.total }
            }
        };
        self.log_result(start, Method::Get, path, Err(error)).map(ReadAnswer::Own)
    }
}

impl ClusterCore {
    fn new(clusters: usize, settings: ClusterConfig, limits: &Limits) -> Result<Self, ClusterSetupError> {
        let max_idle = (MAX_IDLE_CONNECTIONS / clusters.max(1)).clamp(1, limits.max_calls_per_cluster.max(1));
        let transport = NodeTransport::new(&settings, limits, max_idle)
            .map_err(|cause| ClusterSetupError::Cluster { cluster: settings.name.clone(), cause })?;
        Ok(Self {
            semaphore: CallSemaphore::new(limits.max_calls_per_cluster),
            node_health: NodeHealth::new(transport.node_count()),
            discovery: Discovery::new(&settings),
            schema_cache: SchemaCache::default(),
            metrics: ClusterMetrics::new(transport.node_count()),
            token_accepted: AtomicBool::new(false),
            token_was_accepted: AtomicBool::new(false),
            token_privileges: RecentValue::default(),
            node_names: RecentValue::default(),
            changed_guests: RecentValue::default(),
            utc_offset: RecentValue::default(),
            members: ClusterMembers::default(),
            settings,
            transport,
        })
    }

    /// Sends a shared read.
    fn send_shared(&self, mut sender: ReadSender<Result<SharedResponse, PveError>>, request: &SharedRequest) {
        if !sender.wait_for_turn() {
            return;
        }
        // Each caller has a deadline of its own, and the last one to leave cancels this.
        let far = Instant::now() + MAX_PERMIT_WAIT;
        let permit = match self.semaphore.acquire_for(sender.clients(), far, sender.cancel()) {
            Ok(permit) => permit,
            Err(AcquireError::Cancelled) => return,
            Err(AcquireError::Busy) => {
                sender.end(Err(PveError::Busy { limit: self.semaphore.limit() }), |_| ());
                return;
            }
        };
        let Some(BegunRead { deadline, total, memory, trace }) = sender.begin(permit.client()) else { return };
        let start = Instant::now();
        let cancel = sender.cancel().clone().with_memory(memory).with_trace(trace);
        let cancel = cancel.with_send_check(Arc::new(sender.send_check()));
        let result = self.send_read(request, CallTimeLimit { deadline, total }, &cancel);
        drop(permit);
        let result = if request.reader.shares_rows { result.and_then(reserve_rows) } else { result };
        let result = self.log_result(start, Method::Get, &request.path, result);
        sender.end(result.map(ApiResponse::into_shared), |callers| {
            self.metrics.record_shared_reads(callers.saturating_sub(1));
        });
    }

    /// Sends a read for which there is a permit.
    fn send_read(
        &self,
        request: &SharedRequest,
        limit: CallTimeLimit,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let SharedRequest { path, target, reader } = request;
        self.send_permitted(Method::Get, path, target.clone(), None, limit, cancel, *reader)
    }

    /// Closes the connections that no call has used for some seconds. A node closes them too, and its end of a connection
    /// would stay in the way until the next call.
    pub fn close_idle_connections(&self) {
        self.transport.close_idle_connections(MAX_UNUSED);
    }

    /// Returns the entry in clusters.json.
    pub fn settings(&self) -> &ClusterConfig {
        &self.settings
    }

    /// Returns the counters of this cluster.
    pub fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }

    /// Makes one API call and waits for its answer, at most the cluster's `timeout`. The time includes the wait for a
    /// permit.
    ///
    /// A node that cannot be reached or is not trusted is skipped: it was sent nothing. A GET whose connection is lost
    /// before an answer is sent once more, to another node if there is one. A GET whose answer is truncated is sent once
    /// more if there is another node, and so is one that a proxy answers with an error. A node that says that it can do
    /// nothing is passed over by every method. Nothing else is ever sent twice. Other calls skip a failed node for a time
    /// as well ([`ClusterCore::node_states`]).
    ///
    /// A failure writes one line to the log, at `debug`. If the outcome of a change is unknown, the level is `warn`,
    /// because a client that cancelled gets no answer.
    pub fn call(
        &self,
        method: Method,
        path: &ApiPath,
        params: &ApiParams,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let start = Instant::now();
        let result = self.send(method, path, params, self.time_limit(start), cancel);
        let result = match method {
            Method::Get => result.and_then(reserve_rows),
            _ => {
                self.forget_changed(path);
                result
            }
        };
        self.log_result(start, method, path, result)
    }

    /// Forgets what a change of this path may have made wrong.
    fn forget_changed(&self, path: &ApiPath) {
        let segments: Vec<_> = path.segments().collect();
        match segments.iter().map(AsRef::as_ref).collect::<Vec<&str>>()[..] {
            ["access", ..] => self.token_privileges.forget(),
            ["nodes", _, "time"] => self.utc_offset.forget(),
            _ => {}
        }
    }

    /// Makes a GET call that ends at `deadline` or at the cluster's own time limit, whichever is earlier.
    pub fn get_with_deadline(
        &self,
        deadline: Instant,
        path: &ApiPath,
        params: &ApiParams,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let start = Instant::now();
        let limit = CallTimeLimit::until(deadline, start, self.settings.timeout);
        self.log_result(start, Method::Get, path, self.read(path, params, limit, cancel, AnswerReader::OBJECT))
    }

    /// Makes a GET call without a line in the log.
    fn read(
        &self,
        path: &ApiPath,
        params: &ApiParams,
        limit: CallTimeLimit,
        cancel: &CancelToken,
        reader: AnswerReader,
    ) -> Result<ApiResponse, PveError> {
        self.send_with(Method::Get, path, params, limit, cancel, reader).and_then(reserve_rows)
    }

    /// Returns the outage of the cluster: none of its nodes answered at last, and a try would take time.
    pub fn outage(&self) -> Option<ClusterOutage> {
        let states = self.node_states();
        let backoffs: Vec<&BackoffStatus> = states.iter().filter_map(|state| state.backoff.as_ref()).collect();
        if backoffs.len() < states.len() || !backoffs.iter().any(|backoff| backoff.is_slow()) {
            return None;
        }
        if backoffs.iter().any(|backoff| backoff.is_over()) {
            return Some(ClusterOutage::RetryDue);
        }
        let states: Vec<String> = backoffs.iter().map(ToString::to_string).collect();
        Some(ClusterOutage::BackingOff(PveError::BackingOff { states: states.join("; ") }))
    }

    /// Returns the privileges of the token if they were read within the last minute. They explain an answer, and decide
    /// nothing.
    pub fn recent_token_privileges(&self) -> Option<Arc<TokenPrivileges>> {
        self.token_privileges.get()
    }

    /// Keeps the privileges of the token for a minute.
    pub fn keep_token_privileges(&self, privileges: Arc<TokenPrivileges>) {
        self.token_privileges.keep(privileges);
    }

    /// Returns whether a list of nodes had this name within the last minute. It shows that a name is no typing error,
    /// and decides no right.
    pub fn has_recent_node(&self, name: &str) -> bool {
        self.node_names.get().is_some_and(|names| names.iter().any(|known| known == name))
    }

    /// Keeps the names of a list of nodes for a minute.
    pub fn keep_node_names(&self, names: Arc<[String]>) {
        self.node_names.keep(names);
    }

    /// Returns the guests whose config was changed a short time ago. The list of guests may have their old names.
    pub fn recently_changed_guests(&self) -> Arc<[u32]> {
        self.changed_guests.get().unwrap_or_default()
    }

    /// Keeps the number of a guest whose config was changed, for a minute.
    pub fn keep_changed_guest(&self, vmid: u32) {
        let known = self.recently_changed_guests();
        let others = known.iter().copied().filter(|known| *known != vmid);
        let mut guests: Vec<u32> = others.chain([vmid]).collect();
        guests.drain(..guests.len().saturating_sub(MAX_CHANGED_GUESTS));
        self.changed_guests.keep(guests.into());
    }

    /// Returns the offset of the nodes' zone from UTC, if it was asked for a short time ago. The inner value is `None` if
    /// no node said it.
    pub fn recent_utc_offset(&self) -> Option<Option<i32>> {
        self.utc_offset.get()
    }

    /// Keeps the offset of the nodes' zone from UTC, `None` for one that can't be read.
    pub fn keep_utc_offset(&self, offset: Option<i32>) {
        self.utc_offset.keep(offset);
    }

    /// Returns the time limit of a call without a deadline of its own.
    fn time_limit(&self, start: Instant) -> CallTimeLimit {
        CallTimeLimit { deadline: start + self.settings.timeout, total: self.settings.timeout }
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
            // Without the error's text, which may quote parameters.
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

    /// Returns the state of each node. Nodes of clusters.json come first, in their order, then discovered ones. Makes no
    /// request.
    pub fn node_states(&self) -> Vec<NodeState> {
        let statuses = self.node_health.statuses().into_iter().enumerate();
        statuses
            .filter_map(|(node, status)| {
                let backoff = match status {
                    NodeStatus::Removed => return None,
                    NodeStatus::Healthy => None,
                    NodeStatus::BackingOff(backoff) => Some(backoff),
                };
                Some(NodeState { node: self.transport.node_label(node).to_owned(), backoff })
            })
            .collect()
    }

    /// Returns the cluster's description of its API, or the embedded facts if it is not available. Never fails. The one
    /// call that fetches it takes at most [`SchemaTimings::fetch_timeout`]; other calls get the current schema at once.
    pub fn schema(&self, cancel: &CancelToken) -> Arc<Schema> {
        self.schema_cache.get_or_fetch(self, cancel)
    }

    /// Makes a call like [`Cluster::call`], with a time limit and without a line in the log.
    fn send(
        &self,
        method: Method,
        path: &ApiPath,
        params: &ApiParams,
        limit: CallTimeLimit,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        self.send_with(method, path, params, limit, cancel, AnswerReader::OBJECT)
    }

    fn send_with(
        &self,
        method: Method,
        path: &ApiPath,
        params: &ApiParams,
        limit: CallTimeLimit,
        cancel: &CancelToken,
        reader: AnswerReader,
    ) -> Result<ApiResponse, PveError> {
        let encoded = params.encode();
        let target = path.to_request_target(method, &encoded)?;
        let form = method.has_form().then_some(encoded.as_str());
        let _permit = self.acquire_permit(limit.deadline, cancel)?;
        self.send_permitted(method, path, target, form, limit, cancel, reader)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn send_permitted(
        &self,
        method: Method,
        path: &ApiPath,
        target: PathAndQuery,
        form: Option<&str>,
        limit: CallTimeLimit,
        cancel: &CancelToken,
        reader: AnswerReader,
    ) -> Result<ApiResponse, PveError> {
        let AnswerReader { keep_member, answer_memory, .. } = reader;
        let request = NodeRequest { method, target, form, is_public: false, keep_member, answer_memory };
        let (node, response) = self.try_nodes(method, path, limit, true, cancel, &mut |node, timeout| {
            self.transport.exchange(node, &request, timeout, cancel)
        })?;
        let response = self.parse_response(node, response, SentRequest { method, path, limit }, reader.parse)?;
        if method == Method::Get {
            match path.as_str() {
                "/nodes" if self.transport.node_count() > 1 => self.members.learn(node, response.data()),
                "/version" => {
                    let release = find_string(response.data(), "release").unwrap_or_default();
                    if let Some(server) = recognize_version(&release) {
                        let (node, message) = (self.transport.node_label(node).to_owned(), String::new());
                        return Err(PveError::OtherServer { node, server, message, is_refused_change: false });
                    }
                    self.schema_cache.observe_version(response.data());
                }
                _ => {}
            }
            self.discover_nodes(limit.deadline, cancel);
        }
        Ok(response)
    }

    /// Discovers the cluster's nodes if that is enabled and due. The current call waits for it, within its deadline and
    /// [`Discovery::MAX_WAIT`]; other calls do not wait.
    fn discover_nodes(&self, deadline: Instant, cancel: &CancelToken) {
        if !self.discovery.claim_if_due(&|| self.node_health.now()) {
            return;
        }
        let name = &self.settings.name;
        match self.fetch_and_update_nodes(deadline.min(Instant::now() + Discovery::MAX_WAIT), cancel) {
            Ok(new) if new.is_empty() => {}
            Ok(new) => log::info!("cluster `{name}`: discovered {}", new.join(", ")),
            Err(error) => log::warn!("cluster `{name}`: cannot discover its nodes: {error}"),
        }
    }

    fn fetch_and_update_nodes(&self, deadline: Instant, cancel: &CancelToken) -> Result<Vec<String>, DiscoveryError> {
        let target = PathAndQuery::from_static("/api2/json/cluster/status");
        let request =
            NodeRequest { method: Method::Get, target, form: None, is_public: false, keep_member: None, answer_memory };
        let path = "/cluster/status";
        let limit = CallTimeLimit { deadline, total: self.settings.timeout };
        let (node, response) = self.try_nodes(Method::Get, &path, limit, true, cancel, &mut |node, timeout| {
            self.transport.exchange(node, &request, timeout, cancel)
        })?;
        let response = self.parse_response(
            node,
            response,
            SentRequest { method: Method::Get, path: &path, limit },
            ApiResponse::parse,
        )?;
        self.discovery.update_nodes(response.data(), &self.transport, &self.node_health)
    }

    fn acquire_permit(&self, deadline: Instant, cancel: &CancelToken) -> Result<SemaphorePermit<'_>, PveError> {
        self.semaphore.acquire(deadline, cancel).map_err(|error| match error {
            AcquireError::Busy => PveError::Busy { limit: self.semaphore.limit() },
            AcquireError::Cancelled => PveError::Cancelled,
        })
    }

    /// Sends a request to one node after the other, as [`RetryPolicy`] decides. `can_discard_answer`: the caller keeps
    /// nothing of an answer that is cut short.
    fn try_nodes(
        &self,
        method: Method,
        path: &dyn fmt::Display,
        limit: CallTimeLimit,
        can_discard_answer: bool,
        cancel: &CancelToken,
        exchange: &mut dyn FnMut(usize, Option<AttemptTimeout>) -> Result<NodeResponse, TransportError>,
    ) -> Result<(usize, NodeResponse), PveError> {
        let mut policy = RetryPolicy::new(method, can_discard_answer);
        let mut tried: Vec<usize> = Vec::new();
        let mut failures: Vec<FailedAttempt> = Vec::new();
        // An answer is worth more than the failure to connect to another node.
        let mut refusal: Option<(usize, NodeResponse)> = None;
        let mut next = self.node_health.choose(&tried, policy.can_cut_short());
        while let Some(choice) = next {
            let start = Instant::now();
            let timeout = self.attempt_timeout(choice, limit.deadline, tried.is_empty(), policy.can_cut_short());
            tried.push(choice.node);
            if self.members.is_unchecked(choice.node) && !self.is_same_cluster(choice.node, timeout, cancel) {
                let cause = ConnectError::Network(NetworkError::OtherCluster);
                failures.push(self.record_failure(choice, false, cause));
                next = self.node_health.choose(&tried, false);
                continue;
            }
            let result = exchange(choice.node, timeout);
            if !matches!(result, Err(TransportError::Cancelled { .. } | TransportError::NotPermitted)) {
                self.metrics.record_contact(choice.node, matches!(result, Ok(_) | Err(TransportError::Malformed(_))));
            }
            let hung = start.elapsed() >= (self.settings.timeout / 2).min(PROBE_TIMEOUT);
            let end = match result.as_ref().map_or_else(TransportError::attempt_end, NodeResponse::attempt_end) {
                // Another node is asked only if the token was good: a wrong token is wrong everywhere.
                AttemptEnd::TokenRejected if !self.token_accepted.load(Ordering::Relaxed) => AttemptEnd::Answered,
                end => end,
            };
            let other = (end != AttemptEnd::Answered).then(|| self.node_health.choose(&tried, false)).flatten();
            let decision = policy.decide(
                end,
                Attempt {
                    node: choice.node,
                    is_probe: choice.probe,
                    has_other_node: other.is_some(),
                    has_time: Instant::now() < limit.deadline,
                },
            );
            next = match decision {
                Decision::TryNextNode => other,
                Decision::RetryNode(node) => Some(NodeChoice { node, probe: false }),
                Decision::Return | Decision::Fail | Decision::ReportUnknownOutcome => None,
            };
            match result {
                // The node is as well as before.
                Err(TransportError::Connect(cause @ ConnectError::Network(NetworkError::NoDescriptor))) => {
                    self.node_health.release_probe(choice);
                    let node = self.transport.node_label(choice.node).to_owned();
                    failures.push(FailedAttempt { node, cause });
                }
                Err(TransportError::Connect(cause)) => failures.push(self.record_failure(choice, false, cause)),
                _ if decision == Decision::TryNextNode => {
                    // A caller reads this, so it has no library's message.
                    let cause = match end {
                        AttemptEnd::LostBeforeAnswer => NetworkError::LostBeforeAnswer,
                        AttemptEnd::LostInAnswer => NetworkError::LostInAnswer,
                        AttemptEnd::NodeDisabled => NetworkError::Disabled,
                        AttemptEnd::OtherServer => NetworkError::OtherServer,
                        AttemptEnd::Unintelligible => NetworkError::NotHttp,
                        AttemptEnd::ProxyAnswered => NetworkError::ProxyAnswered,
                        AttemptEnd::TokenRejected => NetworkError::TokenRejected,
                        _ => NetworkError::NoAnswer,
                    };
                    failures.push(self.record_failure(choice, true, ConnectError::Network(cause)));
                    refusal = result.ok().map(|response| (choice.node, response)).or(refusal);
                }
                _ if next.is_some() => {}
                Ok(response) => {
                    match end {
                        AttemptEnd::NodeDisabled => {
                            self.record_failure(choice, true, ConnectError::Network(NetworkError::Disabled));
                        }
                        _ => self.record_result(choice, response.relevant_error(), hung),
                    }
                    self.record_token_check(response.status, end);
                    return Ok((choice.node, response));
                }
                Err(error) => {
                    self.record_result(choice, Some(&error), hung);
                    return Err(self.build_error(choice.node, error, SentRequest { method, path, limit }));
                }
            }
        }
        refusal.ok_or_else(|| PveError::from_attempts(failures))
    }

    /// Asks each address of clusters.json by itself, until `deadline`.
    pub fn check_addresses(&self, deadline: Instant, cancel: &CancelToken) -> Vec<AddressCheck> {
        let total = deadline.saturating_duration_since(Instant::now()).min(self.settings.timeout);
        let limit = CallTimeLimit { deadline: Instant::now() + total, total };
        let answers = thread::scope(|scope| {
            let reads: Vec<_> = (0..self.settings.endpoints.len())
                .map(|node| scope.spawn(move || self.fetch_identity(node, limit, cancel)))
                .collect();
            reads.into_iter().map(|read| read.join().expect("a read does not panic")).collect::<Vec<_>>()
        });
        let addresses = self.settings.endpoints.iter().map(ToString::to_string);
        compare_addresses(addresses.zip(answers).collect())
    }

    /// Asks one address for its cluster. A token without Sys.Audit sees the names of the nodes alone.
    fn fetch_identity(
        &self,
        node: usize,
        limit: CallTimeLimit,
        cancel: &CancelToken,
    ) -> Result<Option<ClusterIdentity>, PveError> {
        let rows = match self.read_from(node, "/cluster/status", limit, cancel) {
            Err(PveError::Forbidden { .. }) => self.read_from(node, "/nodes", limit, cancel),
            rows => rows,
        }?;
        Ok(ClusterIdentity::parse(rows.data()))
    }

    /// Reads a path from one address, without failover.
    fn read_from(
        &self,
        node: usize,
        path: &'static str,
        limit: CallTimeLimit,
        cancel: &CancelToken,
    ) -> Result<ApiResponse, PveError> {
        let target = ApiPath::from_static(path).to_request_target(Method::Get, "")?;
        let request =
            NodeRequest { method: Method::Get, target, form: None, is_public: false, keep_member: None, answer_memory };
        let _permit = self.acquire_permit(limit.deadline, cancel)?;
        let sent = SentRequest { method: Method::Get, path: &path, limit };
        let exchange = || {
            let left = limit.deadline.saturating_duration_since(Instant::now());
            let timeout = Some(AttemptTimeout { total: left, connect: None });
            self.transport.exchange(node, &request, timeout, cancel)
        };
        let result = match exchange() {
            // The node may have closed a connection that was idle.
            Err(TransportError::ConnectionLost(_)) => exchange(),
            result => result,
        };
        match result {
            Ok(response) => self.parse_response(node, response, sent, ApiResponse::parse),
            Err(error) => Err(self.build_error(node, error, sent)),
        }
    }

    /// Asks an address for its nodes, before it is used in the place of another one.
    fn is_same_cluster(&self, node: usize, timeout: Option<AttemptTimeout>, cancel: &CancelToken) -> bool {
        let target = PathAndQuery::from_static("/api2/json/nodes");
        let request =
            NodeRequest { method: Method::Get, target, form: None, is_public: false, keep_member: None, answer_memory };
        let answer = self.transport.exchange(node, &request, timeout, cancel).ok().filter(NodeResponse::is_success);
        let filter = self.transport.secret_filter();
        let nodes = answer.and_then(|NodeResponse { body, memory, .. }| {
            Some(ApiResponse::parse_bytes(body, filter, ApiResponse::parse).ok()?.with_memory(memory))
        });
        self.members.check(node, nodes.as_ref().map(ApiResponse::data))
    }

    fn record_token_check(&self, status: u16, end: AttemptEnd) {
        let is_accepted = (200..300).contains(&status);
        if end != AttemptEnd::ProxyAnswered && (is_accepted || status == 401) {
            self.token_accepted.store(is_accepted, Ordering::Relaxed);
            self.token_was_accepted.fetch_or(is_accepted, Ordering::Relaxed);
        }
    }

    /// Returns the time limits of the next attempt. `None`: the agent's own, which are the cluster's.
    fn attempt_timeout(
        &self,
        choice: NodeChoice,
        deadline: Instant,
        is_first: bool,
        can_cut_short: bool,
    ) -> Option<AttemptTimeout> {
        let left = deadline.saturating_duration_since(Instant::now());
        if choice.probe {
            let total = if can_cut_short { (left / 2).min(PROBE_TIMEOUT) } else { left };
            return Some(AttemptTimeout { total, connect: Some(PROBE_CONNECT_TIMEOUT) });
        }
        // The first attempt has the cluster's time limit, unless it had to wait before.
        let waited = !is_first || left + Duration::from_millis(50) < self.settings.timeout;
        waited.then_some(AttemptTimeout { total: left, connect: None })
    }

    /// Records the result of the final attempt in the node's health. `hung`: the node had enough time to answer.
    fn record_result(&self, choice: NodeChoice, error: Option<&TransportError>, hung: bool) {
        let cause = match error {
            Some(TransportError::ConnectionLost(_)) => NetworkError::LostBeforeAnswer,
            Some(TransportError::Truncated(_)) => NetworkError::LostInAnswer,
            Some(TransportError::TimedOut) if hung => NetworkError::TimedOut,
            Some(
                TransportError::TimedOut
                | TransportError::Cancelled { .. }
                | TransportError::NotPermitted
                | TransportError::Connect(_),
            ) => {
                return self.node_health.release_probe(choice);
            }
            Some(TransportError::Malformed(_)) | None => return self.record_success(choice.node),
        };
        self.record_failure(choice, true, ConnectError::Network(cause));
    }

    /// Records the failure of a node, so that other calls skip it, and logs the first one. Returns the failure.
    fn record_failure(&self, choice: NodeChoice, request_sent: bool, cause: ConnectError) -> FailedAttempt {
        let failure = FailedAttempt { node: self.transport.node_label(choice.node).to_owned(), cause };
        if self.node_health.record_failure(choice, request_sent, &failure) {
            log::warn!("cluster `{}`: {failure}; this node is asked last until it answers again", self.settings.name);
        }
        failure
    }

    fn record_success(&self, node: usize) {
        if let Some(downtime) = self.node_health.record_success(node) {
            let (name, node) = (&self.settings.name, self.transport.node_label(node));
            log::info!("cluster `{name}`: {node} answers again, after {} s", downtime.as_secs());
        }
    }

    fn parse_response(
        &self,
        node: usize,
        mut response: NodeResponse,
        request: SentRequest<'_>,
        parse: fn(String, &SecretFilter) -> Result<ApiResponse, EnvelopeError>,
    ) -> Result<ApiResponse, PveError> {
        let filter = self.transport.secret_filter();
        if let Some(status) = response.find_replaced_status() {
            response.status = status;
        }
        if !response.is_success() {
            // The status suffices, even if the body is cut short.
            let call = SentCall {
                method: request.method,
                node: self.transport.node_label(node),
                is_https: self.transport.is_https(node),
                call: format_call(request.method, request.path),
                user: &self.settings.user,
                token_id: &self.settings.token_id,
                was_accepted: self.token_was_accepted.load(Ordering::Relaxed),
                elapsed: response.elapsed,
            };
            return Err(api_response::parse_error_response(&response, call, filter));
        }
        let memory = std::mem::take(&mut response.memory);
        let result = match response.body_error {
            Some(error) => Err(error),
            // The error of a body that is not UTF-8 shows its start, redacted.
            None => match ApiResponse::from_file(&response, filter) {
                Some(file) => Ok(file.with_memory(memory)),
                None => ApiResponse::parse_bytes(response.body, filter, parse)
                    .map_err(|error| TransportError::Malformed(error.into()))
                    .map(|response| response.with_memory(memory)),
            },
        };
        result.map_err(|error| self.build_error(node, error, request))
    }

    fn build_error(&self, node: usize, error: TransportError, request: SentRequest<'_>) -> PveError {
        let SentRequest { method, path, limit: CallTimeLimit { total: timeout, .. } } = request;
        if retry::settle(method, error.attempt_end()) == Decision::ReportUnknownOutcome {
            let cause = match error {
                TransportError::ConnectionLost(detail) => UnknownOutcome::ConnectionLost { detail },
                TransportError::Truncated(detail) => UnknownOutcome::Truncated { detail },
                TransportError::TimedOut => UnknownOutcome::TimedOut { timeout },
                TransportError::Malformed(cause) => UnknownOutcome::Malformed(cause),
                TransportError::Cancelled { .. } | TransportError::NotPermitted | TransportError::Connect(_) => {
                    UnknownOutcome::Cancelled
                }
            };
            return PveError::OutcomeUnknown { call: format_call(method, path), cause };
        }
        let node = self.transport.node_label(node).to_owned();
        match error {
            TransportError::Connect(cause) => PveError::from_attempts(vec![FailedAttempt { node, cause }]),
            TransportError::ConnectionLost(detail) => PveError::ConnectionLost { node, detail },
            TransportError::Truncated(detail) => {
                PveError::MalformedResponse { node, cause: MalformedCause::Truncated { detail } }
            }
            TransportError::TimedOut => PveError::TimedOut { node, timeout },
            TransportError::Malformed(cause) => PveError::MalformedResponse { node, cause },
            TransportError::Cancelled { .. } => PveError::Cancelled,
            TransportError::NotPermitted => PveError::NotPermitted,
        }
    }
}

impl SchemaSource for ClusterCore {
    fn cluster_name(&self) -> &str {
        &self.settings.name
    }

    fn get_version(&self, deadline: Instant, cancel: &CancelToken) -> Result<String, PveError> {
        let path = ApiPath::from_static("/version");
        let limit = CallTimeLimit { deadline, total: self.settings.timeout };
        let response = self.send(Method::Get, &path, &ApiParams::new(), limit, cancel)?;
        Ok(response.data().to_owned())
    }

    fn stream_description(
        &self,
        path: &'static str,
        max_bytes: u64,
        deadline: Instant,
        cancel: &CancelToken,
        sink: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<String, PveError> {
        let target = PathAndQuery::from_static(path);
        let request =
            NodeRequest { method: Method::Get, target, form: None, is_public: true, keep_member: None, answer_memory };
        let _permit = self.acquire_permit(deadline, cancel)?;
        let limit = CallTimeLimit { deadline, total: self.settings.timeout };
        let (node, response) = self.try_nodes(Method::Get, &path, limit, false, cancel, &mut |node, timeout| {
            self.transport.stream(node, &request, timeout, cancel, max_bytes, sink)
        })?;
        match (response.status, response.body_error) {
            (200, None) => Ok(self.transport.node_label(node).to_owned()),
            (200, Some(error)) => {
                Err(self.build_error(node, error, SentRequest { method: Method::Get, path: &path, limit }))
            }
            // Without a message: on this path it is not Proxmox's.
            (status, _) => Err(PveError::Failed {
                status,
                message: String::new(),
                call: format_call(Method::Get, &path),
                diagnosis: classify(status, ""),
                is_refused_change: false,
            }),
        }
    }

    fn contains_secret(&self, text: &str) -> bool {
        self.transport.secret_filter().contains_secret(text)
    }
}

/// Reserves the memory of what a caller makes of the rows of a read.
fn reserve_rows(mut response: ApiResponse) -> Result<ApiResponse, PveError> {
    response.reserve_rows().map_err(no_memory)?;
    Ok(response)
}

fn no_memory(error: MemoryError) -> PveError {
    PveError::MalformedResponse { node: "the node asked".into(), cause: MalformedCause::NoMemory(error) }
}

fn format_call(method: Method, path: &dyn fmt::Display) -> String {
    format!("{method} {path}")
}
