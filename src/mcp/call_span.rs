//! The record of one request: a line in the log, and for a tool call its metrics. The clock is read only if the log or the
//! metrics use the time.

use super::catalog::ToolEffect;
use super::context::{CallAttributes, Caller, LOG_TARGET};
use super::recent_calls::RecentCall;
use super::server_state::ServerState;
use crate::base::trace::{CallId, TraceParent};
use crate::metrics::CallOutcome;
use log::Level;
use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

/// The method whose requests are counted.
const TOOL_CALL: &str = "tools/call";

/// One request, from its start to its answer.
pub(super) struct CallSpan<'a> {
    pub id: CallId,
    pub attributes: CallAttributes,
    pub trace: Option<TraceParent>,
    /// Index of the tool, once it is known.
    pub tool_index: Cell<Option<usize>>,
    /// True if the tool failed.
    pub failed: Cell<bool>,
    server: &'a ServerState,
    caller: &'a Caller,
    /// Method, if its requests have a line in the log.
    method: Option<&'static str>,
    /// `None` if the log and the metrics do not use the time.
    started: Option<Instant>,
}

impl<'a> CallSpan<'a> {
    /// Starts the record. A request without `method` is not logged. Only a tool call is counted.
    pub fn start(
        server: &'a ServerState,
        caller: &'a Caller,
        trace: Option<TraceParent>,
        method: Option<&'static str>,
    ) -> Self {
        let is_timed =
            method.is_some() && (server.metrics.is_enabled() || log::log_enabled!(target: LOG_TARGET, Level::Warn));
        let is_tool_call = method == Some(TOOL_CALL);
        if is_tool_call {
            server.metrics.start_call();
        }
        let is_kept = is_tool_call && server.keeps_recent_calls();
        Self {
            id: server.next_id(),
            attributes: if is_kept { CallAttributes::kept() } else { CallAttributes::default() },
            trace: trace.or(caller.trace),
            tool_index: Cell::new(None),
            failed: Cell::new(false),
            server,
            caller,
            method,
            started: is_timed.then(Instant::now),
        }
    }

    /// Returns true if the tool can change nothing.
    pub fn is_read_only(&self) -> bool {
        let tool = self.tool_index.get().map(|index| &self.server.catalog.tools[index]);
        tool.is_none_or(|tool| tool.effect == ToolEffect::ReadOnly)
    }

    /// Ends the record. `is_error` is true if the answer is a JSON-RPC error.
    pub fn end(&self, is_cancelled: bool, is_error: bool) {
        let Some(method) = self.method else { return };
        let is_tool_call = method == TOOL_CALL;
        let outcome = match (is_cancelled, is_error, self.failed.get()) {
            (true, ..) => CallOutcome::Cancelled,
            (_, false, _) if let Some(outcome) = self.attributes.outcome() => outcome,
            (_, false, false) => CallOutcome::Ok,
            // Only a tool reports its failure in a result.
            (_, false, true) | (_, true, _) if is_error != is_tool_call && self.attributes.is_denied() => {
                CallOutcome::Refused
            }
            _ => CallOutcome::Failed,
        };
        let duration = self.started.map(|started| started.elapsed());
        if is_tool_call {
            let metrics = &self.server.metrics;
            let metrics_duration = duration.filter(|_| metrics.is_enabled());
            metrics.end_call(metrics_index(self.tool_index.get()), &self.caller.client.name, outcome, metrics_duration);
            if self.server.keeps_recent_calls() {
                self.keep(method, outcome);
            }
        }
        if let Some(duration) = duration {
            self.log(method, outcome, duration);
        }
    }

    /// Adds the call to the list of recent calls.
    fn keep(&self, method: &'static str, outcome: CallOutcome) {
        let call = RecentCall {
            ended: Instant::now(),
            is_read: self.is_read_only(),
            tool: logged_tool(self.server, method, self.tool_index.get()),
            cluster: self.attributes.target().map(str::to_owned),
            has_more_clusters: self.attributes.has_several_targets(),
            operation: self.attributes.operation_text(),
            outcome: outcome.name(),
            transport: self.caller.transport,
        };
        self.server.recent_calls.record(&self.caller.client.name, call);
    }

    fn log(&self, method: &'static str, outcome: CallOutcome, duration: Duration) {
        let is_slow = duration >= self.server.slow_call && !self.attributes.is_waiting();
        let level = if is_slow { Level::Warn } else { Level::Info };
        if !log::log_enabled!(target: LOG_TARGET, level) {
            return;
        }
        let slow = if is_slow { " slow" } else { "" };
        let (cluster, outcome, ms) = (self.attributes.target_label(), outcome.name(), duration.as_millis());
        let operation = self.attributes.operation_words();
        let details = format_args!("cluster={cluster} outcome={outcome} ms={ms}{operation}{slow}");
        let tool = logged_tool(self.server, method, self.tool_index.get());
        write_log_line(level, &self.id, self.caller, self.trace, tool, details);
    }
}

/// Records a request that was not run because the server is busy.
pub(super) fn record_busy(
    server: &ServerState,
    caller: &Caller,
    method: Option<&'static str>,
    tool_index: Option<usize>,
) {
    let Some(method) = method else { return };
    if method == TOOL_CALL {
        server.metrics.count_call(metrics_index(tool_index), &caller.client.name, CallOutcome::Busy);
    }
    if log::log_enabled!(target: LOG_TARGET, Level::Info) {
        let details = format_args!("outcome={}", CallOutcome::Busy.name());
        let tool = logged_tool(server, method, tool_index);
        write_log_line(Level::Info, &server.next_id(), caller, caller.trace, tool, details);
    }
}

/// Returns the index of a tool in the metrics, which count every index beyond their last under another name.
fn metrics_index(tool_index: Option<usize>) -> usize {
    tool_index.unwrap_or(usize::MAX)
}

/// Returns the name of a call in its line: the tool, or the method of any other request.
fn logged_tool(server: &ServerState, method: &'static str, tool_index: Option<usize>) -> &'static str {
    match tool_index {
        Some(index) => server.catalog.tools[index].name,
        None if method == TOOL_CALL => "-",
        None => method,
    }
}

/// Writes the line of one call. Its names are those of the configuration and the catalog. Only the operation comes from
/// the caller. It is in quotes, after all other words.
fn write_log_line(
    level: Level,
    id: &CallId,
    caller: &Caller,
    trace: Option<TraceParent>,
    tool: &str,
    details: fmt::Arguments<'_>,
) {
    let (trace_key, trace) = trace.as_ref().map_or(("", ""), |trace| (" traceparent=", trace.as_str()));
    let address = caller.address.map_or_else(|| "-".into(), |address| address.to_canonical().to_string());
    log::log!(
        target: LOG_TARGET,
        level,
        "id={id} client={} transport={} address={address} tool={tool} {details}{trace_key}{trace}",
        caller.client.name,
        caller.transport,
    );
}
