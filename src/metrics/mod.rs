//! What is counted: calls, connections, requests, and what clusters answered, in Prometheus' text format.
//!
//! Counting costs a relaxed addition. The labels are few and known before anybody calls: tools by the catalog, clients
//! and clusters by the configuration, reasons by this program. Nothing that a client or a node says becomes one.

mod cluster;
mod http;
mod process;
mod prometheus;

pub use cluster::ClusterMetrics;
pub use http::{ByteCounters, HttpMetrics, RefusalReason};
pub use prometheus::{write_gauge, write_header, write_label, write_sample};

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Clients that are counted by name. The names of clients that are no more keep their place, so that the counts of a
/// configuration that changes every minute stay bounded; who finds no place is counted under [`OTHER_LABEL`].
const MAX_CLIENTS: usize = 64;

/// Whoever or whatever has no name among the labels.
const OTHER_LABEL: &str = "other";

/// The buckets of a call's time, in milliseconds.
const BUCKET_LIMITS_MS: [u64; 8] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000];

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// With what was asked for.
    Ok,
    /// Not.
    Failed,
    /// It was not let through.
    Refused,
    /// Its client gave it up.
    Cancelled,
    /// It was not begun: too many others were at work.
    Busy,
}

impl CallOutcome {
    const ALL: [Self; 5] = [Self::Ok, Self::Failed, Self::Refused, Self::Cancelled, Self::Busy];

    /// As it stands in the log and in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
        }
    }
}

/// The counts of one server.
pub struct Metrics {
    /// Whether anybody may ask for them: if not, no clock need be asked.
    enabled: AtomicBool,
    process_started: SystemTime,
    tool_names: Box<[&'static str]>,
    clients: [OnceLock<Box<str>>; MAX_CLIENTS],
    /// By tool, client and outcome.
    calls: Box<[AtomicU64]>,
    /// By tool.
    latencies: Box<[LatencyHistogram]>,
    calls_started: AtomicU64,
    calls_ended: AtomicU64,
    /// What the HTTP front counts.
    pub http: HttpMetrics,
}

/// How long the calls of one tool took.
#[derive(Default)]
struct LatencyHistogram {
    buckets: [AtomicU64; BUCKET_LIMITS_MS.len()],
    /// Those that took longer than the last bucket's.
    overflow: AtomicU64,
    total_micros: AtomicU64,
}

impl Metrics {
    /// Nothing has happened yet. The tools are numbered as they stand here.
    pub fn new(tools: Vec<&'static str>) -> Self {
        let rows = tools.len() + 1;
        let metrics = Self {
            enabled: AtomicBool::new(false),
            process_started: SystemTime::now(),
            tool_names: tools.into(),
            clients: [const { OnceLock::new() }; MAX_CLIENTS],
            calls: (0..rows * (MAX_CLIENTS + 1) * CallOutcome::ALL.len()).map(|_| AtomicU64::new(0)).collect(),
            latencies: (0..rows).map(|_| LatencyHistogram::default()).collect(),
            calls_started: AtomicU64::new(0),
            calls_ended: AtomicU64::new(0),
            http: HttpMetrics::default(),
        };
        metrics.register_client("anyone");
        metrics.register_client("stdio");
        metrics
    }

    /// From here on the times of calls are measured too.
    pub fn enable(&self) {
        self.enabled.store(true, Relaxed);
    }

    /// Whether anybody may ask for them.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// From here on this client is counted by its name, if there is a place for it.
    pub fn register_client(&self, client: &str) {
        for place in &self.clients {
            if **place.get_or_init(|| client.into()) == *client {
                return;
            }
        }
    }

    /// Counts a call in; to be followed by [`Metrics::end_call`].
    pub fn start_call(&self) {
        self.calls_started.fetch_add(1, Relaxed);
    }

    /// Counts a call out. `tool` is its number, any other where it has none.
    pub fn end_call(&self, tool: usize, client: &str, outcome: CallOutcome, took: Option<Duration>) {
        self.calls_ended.fetch_add(1, Relaxed);
        self.count_call(tool, client, outcome);
        if let (Some(took), Some(times)) = (took, self.latencies.get(tool.min(self.tool_names.len()))) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            times.total_micros.fetch_add(micros, Relaxed);
            let bucket = BUCKET_LIMITS_MS.iter().zip(&times.buckets).find(|(most, _)| micros <= **most * 1000);
            bucket.map_or(&times.overflow, |(_, bucket)| bucket).fetch_add(1, Relaxed);
        }
    }

    /// Counts a call that was not begun.
    pub fn count_call(&self, tool: usize, client: &str, outcome: CallOutcome) {
        let known = self.clients.iter().map_while(OnceLock::get);
        let client = known.into_iter().position(|name| **name == *client).unwrap_or(MAX_CLIENTS);
        let row = tool.min(self.tool_names.len()) * (MAX_CLIENTS + 1) + client;
        if let Some(count) = self.calls.get(row * CallOutcome::ALL.len() + outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn tool_name(&self, number: usize) -> &'static str {
        self.tool_names.get(number).unwrap_or(&OTHER_LABEL)
    }

    /// Writes what is counted here, and what the system says of the process.
    pub fn write(&self, out: &mut String) {
        write_header(out, "proxmox_mcp_calls_total", "counter", "Tool calls by tool, client and outcome.");
        for (number, count) in self.calls.iter().enumerate() {
            let (row, outcome) = (number / CallOutcome::ALL.len(), number % CallOutcome::ALL.len());
            let (tool, client) = (row / (MAX_CLIENTS + 1), row % (MAX_CLIENTS + 1));
            let (count, outcome) = (count.load(Relaxed), CallOutcome::ALL.get(outcome));
            if let (1.., Some(outcome)) = (count, outcome) {
                let client = self.clients.get(client).and_then(OnceLock::get).map_or(OTHER_LABEL, |name| name);
                let labels = [("tool", self.tool_name(tool)), ("client", client), ("outcome", outcome.name())];
                write_sample(out, "proxmox_mcp_calls_total", &labels, count);
            }
        }
        write_header(
            out,
            "proxmox_mcp_call_seconds",
            "histogram",
            "Time of tool calls, the wait for Proxmox included.",
        );
        for (tool, times) in self.latencies.iter().enumerate() {
            self.write_latency(out, self.tool_name(tool), times);
        }
        // Read in this order, no call has ended that had not begun.
        let ended = self.calls_ended.load(Relaxed);
        let running = self.calls_started.load(Relaxed).saturating_sub(ended);
        write_gauge(out, "proxmox_mcp_calls_in_flight", "Tool calls at work.", running);
        process::write(out, self.process_started);
    }

    fn write_latency(&self, out: &mut String, tool: &str, times: &LatencyHistogram) {
        let mut so_far = 0;
        let (bucket, mut rows) = ("proxmox_mcp_call_seconds_bucket", String::new());
        for (most, count) in BUCKET_LIMITS_MS.iter().zip(&times.buckets) {
            so_far += count.load(Relaxed);
            write_sample(
                &mut rows,
                bucket,
                &[("tool", tool), ("le", &prometheus::format_seconds(*most * 1000))],
                so_far,
            );
        }
        so_far += times.overflow.load(Relaxed);
        if so_far == 0 {
            return;
        }
        out.push_str(&rows);
        write_sample(out, bucket, &[("tool", tool), ("le", "+Inf")], so_far);
        let sum = prometheus::format_seconds(times.total_micros.load(Relaxed));
        write_sample(out, "proxmox_mcp_call_seconds_sum", &[("tool", tool)], sum);
        write_sample(out, "proxmox_mcp_call_seconds_count", &[("tool", tool)], so_far);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(metrics: &Metrics) -> String {
        let mut out = String::new();
        metrics.write(&mut out);
        out
    }

    #[test]
    fn calls_are_counted_by_tool_client_and_outcome() {
        let metrics = Metrics::new(vec!["read", "write"]);
        metrics.register_client("laptop");
        for (tool, client, outcome) in [
            (0, "laptop", CallOutcome::Ok),
            (0, "laptop", CallOutcome::Ok),
            (1, "stdio", CallOutcome::Refused),
            (7, "a stranger", CallOutcome::Failed),
        ] {
            metrics.start_call();
            metrics.end_call(tool, client, outcome, Some(Duration::from_millis(3)));
        }
        metrics.start_call();
        metrics.count_call(1, "anyone", CallOutcome::Busy);
        let text = render(&metrics);
        for line in [
            r#"proxmox_mcp_calls_total{tool="read",client="laptop",outcome="ok"} 2"#,
            r#"proxmox_mcp_calls_total{tool="write",client="stdio",outcome="refused"} 1"#,
            r#"proxmox_mcp_calls_total{tool="other",client="other",outcome="failed"} 1"#,
            r#"proxmox_mcp_calls_total{tool="write",client="anyone",outcome="busy"} 1"#,
            r#"proxmox_mcp_call_seconds_bucket{tool="read",le="0.001"} 0"#,
            r#"proxmox_mcp_call_seconds_bucket{tool="read",le="0.005"} 2"#,
            r#"proxmox_mcp_call_seconds_bucket{tool="read",le="+Inf"} 2"#,
            r#"proxmox_mcp_call_seconds_sum{tool="read"} 0.006"#,
            "proxmox_mcp_calls_in_flight 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("stranger"));
    }

    #[test]
    fn clients_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new(Vec::new());
        for number in 0..10 * MAX_CLIENTS {
            metrics.register_client(&format!("client{number}"));
            metrics.count_call(0, &format!("client{number}"), CallOutcome::Ok);
        }
        let text = render(&metrics);
        assert_eq!(text.lines().filter(|line| line.starts_with("proxmox_mcp_calls_total")).count(), MAX_CLIENTS - 1);
        assert!(text.contains(r#"client="client61""#) && !text.contains("client62"), "{text}");
        assert!(text.contains(&format!(r#"client="other",outcome="ok"}} {}"#, 9 * MAX_CLIENTS + 2)), "{text}");
    }

    #[test]
    fn a_call_that_lasts_is_in_no_bucket_but_the_last() {
        let metrics = Metrics::new(vec!["wait"]);
        metrics.start_call();
        metrics.end_call(0, "stdio", CallOutcome::Ok, Some(Duration::from_secs(61)));
        let text = render(&metrics);
        assert!(text.contains(r#"le="60"} 0"#) && text.contains(r#"le="+Inf"} 1"#), "{text}");
    }
}
