//! One request's entry in the books: a line in the log, and the counts. Neither costs anything but an addition where
//! nobody wants to know: the clock is asked only where the log or the metrics show the time.

use super::context::Caller;
use super::{McpServer, ProtocolEra};
use crate::base::trace::{CALL_ID_META_KEY, CallId, TraceParent};
use crate::metrics::CallOutcome;
use log::Level;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The log's target of the calls.
const LOG_TARGET: &str = "proxmox_mcp::call";

/// What a tool has learnt of its own call, from any of its threads.
#[derive(Default)]
pub struct CallAttributes {
    denied: AtomicBool,
    waiting: AtomicBool,
    target: OnceLock<String>,
    several_targets: AtomicBool,
}

impl CallAttributes {
    /// Something was not let through.
    pub fn mark_denied(&self) {
        self.denied.store(true, Relaxed);
    }

    /// It takes its time because it was asked to: that is not slow.
    pub fn mark_waiting(&self) {
        self.waiting.store(true, Relaxed);
    }

    /// It concerns this cluster, a name of the settings.
    pub fn set_target(&self, target: &str) {
        if log::log_enabled!(target: LOG_TARGET, Level::Warn) && self.target.get_or_init(|| target.into()) != target {
            self.several_targets.store(true, Relaxed);
        }
    }

    fn target_label(&self) -> &str {
        match self.several_targets.load(Relaxed) {
            true => "several",
            false => self.target.get().map_or("-", |name| name),
        }
    }
}

/// One request, from when it is taken up until it is answered.
pub(super) struct CallSpan<'a> {
    pub(super) id: CallId,
    pub(super) attributes: CallAttributes,
    pub(super) trace: Option<TraceParent>,
    /// The tool's number, once it is known.
    pub(super) tool_index: Cell<usize>,
    pub(super) failed: Cell<bool>,
    caller: &'a Caller,
    /// `None` where nobody wants to know how long it took.
    begun: Option<Instant>,
}

impl<'a> CallSpan<'a> {
    /// A request is taken up; `counts` where it is a call of a tool.
    pub(super) fn start(
        server: &McpServer,
        id: CallId,
        caller: &'a Caller,
        trace: Option<TraceParent>,
        counts: bool,
    ) -> Self {
        let timed = counts && (server.metrics.is_enabled() || log::log_enabled!(target: LOG_TARGET, Level::Warn));
        if counts {
            server.metrics.start_call();
        }
        Self {
            id,
            attributes: CallAttributes::default(),
            trace: trace.or(caller.trace),
            tool_index: Cell::new(usize::MAX),
            failed: Cell::new(false),
            caller,
            begun: timed.then(Instant::now),
        }
    }

    /// The call has ended.
    pub(super) fn end(&self, server: &McpServer, cancelled: bool, broken: bool) {
        let outcome = match (cancelled, broken, self.failed.get()) {
            (true, ..) => CallOutcome::Cancelled,
            (_, false, false) => CallOutcome::Ok,
            (_, false, true) if self.attributes.denied.load(Relaxed) => CallOutcome::Refused,
            _ => CallOutcome::Failed,
        };
        let took = self.begun.map(|begun| begun.elapsed());
        let timed = took.filter(|_| server.metrics.is_enabled());
        server.metrics.end_call(self.tool_index.get(), &self.caller.client.name, outcome, timed);
        if let Some(took) = took {
            self.log(server, outcome, took);
        }
    }

    fn log(&self, server: &McpServer, outcome: CallOutcome, took: Duration) {
        let slow = took >= server.slow_call && !self.attributes.waiting.load(Relaxed);
        let level = if slow { Level::Warn } else { Level::Info };
        if !log::log_enabled!(target: LOG_TARGET, level) {
            return;
        }
        let mark = if slow { " slow" } else { "" };
        let (tool, cluster) = (server.tool_name(self.tool_index.get()), self.attributes.target_label());
        let what = format_args!("cluster={cluster} outcome={} ms={}{mark}", outcome.name(), took.as_millis());
        write_log_line(level, &self.id, self.caller, self.trace, tool, what);
    }
}

/// Notes a call that was not begun.
pub(super) fn record_busy(server: &McpServer, id: CallId, caller: &Caller, tool: usize) {
    server.metrics.count_call(tool, &caller.client.name, CallOutcome::Busy);
    if log::log_enabled!(target: LOG_TARGET, Level::Info) {
        let what = format_args!("outcome={}", CallOutcome::Busy.name());
        write_log_line(Level::Info, &id, caller, caller.trace, server.tool_name(tool), what);
    }
}

/// No word of it is a stranger's: the names are those of the settings and of the catalog.
fn write_log_line(
    level: Level,
    id: &CallId,
    caller: &Caller,
    trace: Option<TraceParent>,
    tool: &str,
    what: std::fmt::Arguments<'_>,
) {
    let (key, trace) = trace.as_ref().map_or(("", ""), |trace| (" traceparent=", trace.as_str()));
    let address = caller.address.map_or_else(|| "-".into(), |address| address.to_canonical().to_string());
    log::log!(
        target: LOG_TARGET,
        level,
        "id={id} client={} transport={} address={address} tool={tool} {what}{key}{trace}",
        caller.client.name,
        caller.transport,
    );
}

/// What ends a failed result: as [`McpServer::result_tail`], with the call's id.
pub(super) fn write_failed_tail(server: &McpServer, era: ProtocolEra, id: &CallId, out: &mut Vec<u8>) {
    let member = format!("\"{CALL_ID_META_KEY}\":\"{id}\"}}}}");
    let tail = server.result_tail(era, false);
    match tail.strip_suffix(b"}}") {
        Some(open) => {
            out.extend_from_slice(open);
            out.push(b',');
        }
        None => out.extend_from_slice(br#","_meta":{"#),
    }
    out.extend_from_slice(member.as_bytes());
}
