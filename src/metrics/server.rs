//! The metrics of one server: its tool calls by tool, client and outcome.

use super::http::HttpMetrics;
use super::prometheus::{OTHER_LABEL, format_seconds, write_gauge, write_header, write_sample};
use super::{lost_lines, process};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Maximum clients that are counted by name. Removed clients keep their entry, so that frequent changes of the
/// configuration cannot grow the metrics. Clients without an entry are counted as [`OTHER_LABEL`].
const MAX_CLIENTS: usize = 64;

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKET_LIMITS_MS: [u64; 8] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000];

/// Outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    Ok,
    Failed,
    /// Refused by the policy.
    Refused,
    /// Not sent yet: a confirmation was requested.
    Asked,
    /// Not sent: the user did not confirm it.
    Declined,
    /// Not sent: the client did not confirm it before a person could read the question.
    Unattended,
    /// Cancelled by the client.
    Cancelled,
    /// Not started: too many calls were in flight.
    Busy,
}

impl CallOutcome {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Failed,
        Self::Refused,
        Self::Asked,
        Self::Declined,
        Self::Unattended,
        Self::Cancelled,
        Self::Busy,
    ];

    /// Returns the name in the log and in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Asked => "asked",
            Self::Declined => "declined",
            Self::Unattended => "unattended",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
        }
    }
}

pub struct Metrics {
    /// True if the metrics are served. Otherwise durations are not measured.
    enabled: AtomicBool,
    process_started: SystemTime,
    tool_names: Box<[&'static str]>,
    clients: [OnceLock<Box<str>>; MAX_CLIENTS],
    /// Counts by tool, client and outcome.
    calls: Box<[AtomicU64]>,
    /// Histograms by tool.
    latencies: Box<[LatencyHistogram]>,
    calls_started: AtomicU64,
    calls_ended: AtomicU64,
    pub http: HttpMetrics,
}

/// Durations of the calls of one tool.
#[derive(Default)]
struct LatencyHistogram {
    buckets: [AtomicU64; BUCKET_LIMITS_MS.len()],
    /// Calls longer than the last bucket's bound.
    overflow: AtomicU64,
    total_micros: AtomicU64,
}

impl Metrics {
    /// Creates the metrics. The index of a tool in `tools` is its number in the other methods.
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

    /// Enables the measurement of durations.
    pub fn enable(&self) {
        self.enabled.store(true, Relaxed);
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Adds a client that is counted by its name, while entries are free.
    pub fn register_client(&self, client: &str) {
        for entry in &self.clients {
            if **entry.get_or_init(|| client.into()) == *client {
                return;
            }
        }
    }

    /// Counts a started call. [`Metrics::end_call`] must follow.
    pub fn start_call(&self) {
        self.calls_started.fetch_add(1, Relaxed);
    }

    /// Counts an ended call. Any number out of range stands for an unknown tool.
    pub fn end_call(&self, tool: usize, client: &str, outcome: CallOutcome, duration: Option<Duration>) {
        self.calls_ended.fetch_add(1, Relaxed);
        self.count_call(tool, client, outcome);
        if let Some(duration) = duration {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let latency = &self.latencies[tool.min(self.tool_names.len())];
            latency.total_micros.fetch_add(micros, Relaxed);
            let bucket = BUCKET_LIMITS_MS.iter().zip(&latency.buckets).find(|(limit, _)| micros <= **limit * 1000);
            bucket.map_or(&latency.overflow, |(_, bucket)| bucket).fetch_add(1, Relaxed);
        }
    }

    /// Counts a call that was not started.
    pub fn count_call(&self, tool: usize, client: &str, outcome: CallOutcome) {
        let known = self.clients.iter().map_while(OnceLock::get);
        let client = known.into_iter().position(|name| **name == *client).unwrap_or(MAX_CLIENTS);
        let row = tool.min(self.tool_names.len()) * (MAX_CLIENTS + 1) + client;
        self.calls[row * CallOutcome::ALL.len() + outcome as usize].fetch_add(1, Relaxed);
    }

    fn tool_name(&self, number: usize) -> &'static str {
        self.tool_names.get(number).unwrap_or(&OTHER_LABEL)
    }

    /// Writes the metrics of calls and of the process.
    pub fn write(&self, out: &mut String) {
        write_header(out, "proxmox_mcp_calls_total", "counter", "Tool calls by tool, client and outcome.");
        for (number, count) in self.calls.iter().enumerate() {
            let (row, outcome) = (number / CallOutcome::ALL.len(), number % CallOutcome::ALL.len());
            let (tool, client) = (row / (MAX_CLIENTS + 1), row % (MAX_CLIENTS + 1));
            if let count @ 1.. = count.load(Relaxed) {
                let client = self.clients.get(client).and_then(OnceLock::get).map_or(OTHER_LABEL, |name| name);
                let outcome = CallOutcome::ALL[outcome].name();
                let labels = [("tool", self.tool_name(tool)), ("client", client), ("outcome", outcome)];
                write_sample(out, "proxmox_mcp_calls_total", &labels, count);
            }
        }
        write_header(
            out,
            "proxmox_mcp_call_seconds",
            "histogram",
            "Duration of tool calls, including the wait for Proxmox.",
        );
        for (tool, latency) in self.latencies.iter().enumerate() {
            self.write_latency(out, self.tool_name(tool), latency);
        }
        // In this order no call is counted as ended before it is counted as started.
        let ended = self.calls_ended.load(Relaxed);
        let running = self.calls_started.load(Relaxed).saturating_sub(ended);
        write_gauge(out, "proxmox_mcp_calls_in_flight", "Tool calls in flight.", running);
        lost_lines::write(out);
        process::write(out, self.process_started);
    }

    fn write_latency(&self, out: &mut String, tool: &str, latency: &LatencyHistogram) {
        let mut total = 0;
        let (name, mut buckets) = ("proxmox_mcp_call_seconds_bucket", String::new());
        for (limit, count) in BUCKET_LIMITS_MS.iter().zip(&latency.buckets) {
            total += count.load(Relaxed);
            write_sample(&mut buckets, name, &[("tool", tool), ("le", &format_seconds(*limit * 1000))], total);
        }
        total += latency.overflow.load(Relaxed);
        if total == 0 {
            return;
        }
        out.push_str(&buckets);
        write_sample(out, name, &[("tool", tool), ("le", "+Inf")], total);
        let sum = format_seconds(latency.total_micros.load(Relaxed));
        write_sample(out, "proxmox_mcp_call_seconds_sum", &[("tool", tool)], sum);
        write_sample(out, "proxmox_mcp_call_seconds_count", &[("tool", tool)], total);
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
            (7, "an unknown client", CallOutcome::Failed),
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
        assert!(!text.contains("unknown"));
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
