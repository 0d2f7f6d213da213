//! One request's entry in the books: a line in the log, and the counts. Neither costs anything but an addition where
//! nobody wants to know: the clock is asked only where the log or the metrics show the time.

use super::context::Caller;
use super::{Era, Server};
use crate::metrics::Outcome;
use crate::trace::{CALL_ID, CallId, Trace};
use log::Level;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The log's target of the calls.
const TARGET: &str = "proxmox_mcp::call";

/// What a tool has learnt of its own call, from any of its threads.
#[derive(Default)]
pub struct Tally {
    refused: AtomicBool,
    waits: AtomicBool,
    cluster: OnceLock<String>,
    several: AtomicBool,
}

impl Tally {
    /// Something was not let through.
    pub fn refuse(&self) {
        self.refused.store(true, Relaxed);
    }

    /// It takes its time because it was asked to: that is not slow.
    pub fn wait(&self) {
        self.waits.store(true, Relaxed);
    }

    /// It concerns this cluster, a name of the settings.
    pub fn concerns(&self, cluster: &str) {
        if log::log_enabled!(target: TARGET, Level::Warn) && self.cluster.get_or_init(|| cluster.into()) != cluster {
            self.several.store(true, Relaxed);
        }
    }

    fn cluster(&self) -> &str {
        match self.several.load(Relaxed) {
            true => "several",
            false => self.cluster.get().map_or("-", |name| name),
        }
    }
}

/// One request, from when it is taken up until it is answered.
pub(super) struct Record<'a> {
    pub(super) id: CallId,
    pub(super) tally: Tally,
    pub(super) trace: Option<Trace>,
    /// The tool's number, once it is known.
    pub(super) tool: Cell<usize>,
    pub(super) failed: Cell<bool>,
    caller: &'a Caller,
    /// `None` where nobody wants to know how long it took.
    begun: Option<Instant>,
}

impl<'a> Record<'a> {
    /// A request is taken up; `counts` where it is a call of a tool.
    pub(super) fn begin(server: &Server, id: CallId, caller: &'a Caller, trace: Option<Trace>, counts: bool) -> Self {
        let timed = counts && (server.metrics.is_on() || log::log_enabled!(target: TARGET, Level::Warn));
        if counts {
            server.metrics.begin();
        }
        Self {
            id,
            tally: Tally::default(),
            trace: trace.or(caller.trace),
            tool: Cell::new(usize::MAX),
            failed: Cell::new(false),
            caller,
            begun: timed.then(Instant::now),
        }
    }

    /// The call has ended.
    pub(super) fn end(&self, server: &Server, cancelled: bool, broken: bool) {
        let outcome = match (cancelled, broken, self.failed.get()) {
            (true, ..) => Outcome::Cancelled,
            (_, false, false) => Outcome::Ok,
            (_, false, true) if self.tally.refused.load(Relaxed) => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let took = self.begun.map(|begun| begun.elapsed());
        let timed = took.filter(|_| server.metrics.is_on());
        server.metrics.end(self.tool.get(), &self.caller.client.name, outcome, timed);
        if let Some(took) = took {
            self.log(server, outcome, took);
        }
    }

    fn log(&self, server: &Server, outcome: Outcome, took: Duration) {
        let slow = took >= server.slow_call && !self.tally.waits.load(Relaxed);
        let level = if slow { Level::Warn } else { Level::Info };
        if !log::log_enabled!(target: TARGET, level) {
            return;
        }
        let mark = if slow { " slow" } else { "" };
        let (tool, cluster) = (server.tool_name(self.tool.get()), self.tally.cluster());
        let what = format_args!("cluster={cluster} outcome={} ms={}{mark}", outcome.name(), took.as_millis());
        line(level, &self.id, self.caller, self.trace, tool, what);
    }
}

/// Notes a call that was not begun.
pub(super) fn busy(server: &Server, id: CallId, caller: &Caller, tool: usize) {
    server.metrics.count(tool, &caller.client.name, Outcome::Busy);
    if log::log_enabled!(target: TARGET, Level::Info) {
        let what = format_args!("outcome={}", Outcome::Busy.name());
        line(Level::Info, &id, caller, caller.trace, server.tool_name(tool), what);
    }
}

/// No word of it is a stranger's: the names are those of the settings and of the catalog.
fn line(level: Level, id: &CallId, caller: &Caller, trace: Option<Trace>, tool: &str, what: std::fmt::Arguments<'_>) {
    let (key, trace) = trace.as_ref().map_or(("", ""), |trace| (" traceparent=", trace.as_str()));
    let address = caller.address.map_or_else(|| "-".into(), |address| address.to_canonical().to_string());
    log::log!(
        target: TARGET,
        level,
        "id={id} client={} transport={} address={address} tool={tool} {what}{key}{trace}",
        caller.client.name,
        caller.transport,
    );
}

/// What ends a failed result: as [`Server::tail`], with the call's id.
pub(super) fn failed_tail(server: &Server, era: Era, id: &CallId, out: &mut Vec<u8>) {
    let member = format!("\"{CALL_ID}\":\"{id}\"}}}}");
    let tail = server.tail(era, false);
    match tail.strip_suffix(b"}}") {
        Some(open) => {
            out.extend_from_slice(open);
            out.push(b',');
        }
        None => out.extend_from_slice(br#","_meta":{"#),
    }
    out.extend_from_slice(member.as_bytes());
}
