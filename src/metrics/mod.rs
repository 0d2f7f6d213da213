//! What is counted: calls, connections, requests, and what clusters answered, in Prometheus' text format.
//!
//! Counting costs a relaxed addition. The labels are few and known before anybody calls: tools by the catalog, clients
//! and clusters by the configuration, reasons by this program. Nothing that a client or a node says becomes one.

mod api;
mod front;
mod process;
mod text;

pub use api::Api;
pub use front::{Front, Refusal, Traffic};
pub use text::{gauge, head, label, sample};

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Clients that are counted by name. The names of clients that are no more keep their place, so that the counts of a
/// configuration that changes every minute stay bounded; who finds no place is counted under [`OTHER`].
const CLIENTS: usize = 64;

/// Whoever or whatever has no name among the labels.
const OTHER: &str = "other";

/// The buckets of a call's time, in milliseconds.
const BUCKETS: [u64; 8] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000];

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
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

impl Outcome {
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
    on: AtomicBool,
    started: SystemTime,
    tools: Box<[&'static str]>,
    clients: [OnceLock<Box<str>>; CLIENTS],
    /// By tool, client and outcome.
    calls: Box<[AtomicU64]>,
    /// By tool.
    times: Box<[Times]>,
    begun: AtomicU64,
    ended: AtomicU64,
    /// What the HTTP front counts.
    pub front: Front,
}

/// How long the calls of one tool took.
#[derive(Default)]
struct Times {
    buckets: [AtomicU64; BUCKETS.len()],
    /// Those that took longer than the last bucket's.
    longer: AtomicU64,
    micros: AtomicU64,
}

impl Metrics {
    /// Nothing has happened yet. The tools are numbered as they stand here.
    pub fn new(tools: Vec<&'static str>) -> Self {
        let rows = tools.len() + 1;
        let metrics = Self {
            on: AtomicBool::new(false),
            started: SystemTime::now(),
            tools: tools.into(),
            clients: [const { OnceLock::new() }; CLIENTS],
            calls: (0..rows * (CLIENTS + 1) * Outcome::ALL.len()).map(|_| AtomicU64::new(0)).collect(),
            times: (0..rows).map(|_| Times::default()).collect(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            front: Front::default(),
        };
        metrics.know("anyone");
        metrics.know("stdio");
        metrics
    }

    /// From here on the times of calls are measured too.
    pub fn switch_on(&self) {
        self.on.store(true, Relaxed);
    }

    /// Whether anybody may ask for them.
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// From here on this client is counted by its name, if there is a place for it.
    pub fn know(&self, client: &str) {
        for place in &self.clients {
            if **place.get_or_init(|| client.into()) == *client {
                return;
            }
        }
    }

    /// Counts a call in; to be followed by [`Metrics::end`].
    pub fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// Counts a call out. `tool` is its number, any other where it has none.
    pub fn end(&self, tool: usize, client: &str, outcome: Outcome, took: Option<Duration>) {
        self.ended.fetch_add(1, Relaxed);
        self.count(tool, client, outcome);
        if let (Some(took), Some(times)) = (took, self.times.get(tool.min(self.tools.len()))) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            times.micros.fetch_add(micros, Relaxed);
            let bucket = BUCKETS.iter().zip(&times.buckets).find(|(most, _)| micros <= **most * 1000);
            bucket.map_or(&times.longer, |(_, bucket)| bucket).fetch_add(1, Relaxed);
        }
    }

    /// Counts a call that was not begun.
    pub fn count(&self, tool: usize, client: &str, outcome: Outcome) {
        let known = self.clients.iter().map_while(OnceLock::get);
        let client = known.into_iter().position(|name| **name == *client).unwrap_or(CLIENTS);
        let row = tool.min(self.tools.len()) * (CLIENTS + 1) + client;
        if let Some(count) = self.calls.get(row * Outcome::ALL.len() + outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn tool(&self, number: usize) -> &'static str {
        self.tools.get(number).unwrap_or(&OTHER)
    }

    /// Writes what is counted here, and what the system says of the process.
    pub fn write(&self, out: &mut String) {
        head(out, "proxmox_mcp_calls_total", "counter", "Tool calls by tool, client and outcome.");
        for (number, count) in self.calls.iter().enumerate() {
            let (row, outcome) = (number / Outcome::ALL.len(), number % Outcome::ALL.len());
            let (tool, client) = (row / (CLIENTS + 1), row % (CLIENTS + 1));
            let (count, outcome) = (count.load(Relaxed), Outcome::ALL.get(outcome));
            if let (1.., Some(outcome)) = (count, outcome) {
                let client = self.clients.get(client).and_then(OnceLock::get).map_or(OTHER, |name| name);
                let labels = [("tool", self.tool(tool)), ("client", client), ("outcome", outcome.name())];
                sample(out, "proxmox_mcp_calls_total", &labels, count);
            }
        }
        head(out, "proxmox_mcp_call_seconds", "histogram", "Time of tool calls, the wait for Proxmox included.");
        for (tool, times) in self.times.iter().enumerate() {
            self.write_times(out, self.tool(tool), times);
        }
        // Read in this order, no call has ended that had not begun.
        let ended = self.ended.load(Relaxed);
        let running = self.begun.load(Relaxed).saturating_sub(ended);
        gauge(out, "proxmox_mcp_calls_in_flight", "Tool calls at work.", running);
        process::write(out, self.started);
    }

    fn write_times(&self, out: &mut String, tool: &str, times: &Times) {
        let mut so_far = 0;
        let (bucket, mut rows) = ("proxmox_mcp_call_seconds_bucket", String::new());
        for (most, count) in BUCKETS.iter().zip(&times.buckets) {
            so_far += count.load(Relaxed);
            sample(&mut rows, bucket, &[("tool", tool), ("le", &text::seconds(*most * 1000))], so_far);
        }
        so_far += times.longer.load(Relaxed);
        if so_far == 0 {
            return;
        }
        out.push_str(&rows);
        sample(out, bucket, &[("tool", tool), ("le", "+Inf")], so_far);
        let sum = text::seconds(times.micros.load(Relaxed));
        sample(out, "proxmox_mcp_call_seconds_sum", &[("tool", tool)], sum);
        sample(out, "proxmox_mcp_call_seconds_count", &[("tool", tool)], so_far);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut out = String::new();
        metrics.write(&mut out);
        out
    }

    #[test]
    fn calls_are_counted_by_tool_client_and_outcome() {
        let metrics = Metrics::new(vec!["read", "write"]);
        metrics.know("laptop");
        for (tool, client, outcome) in [
            (0, "laptop", Outcome::Ok),
            (0, "laptop", Outcome::Ok),
            (1, "stdio", Outcome::Refused),
            (7, "a stranger", Outcome::Failed),
        ] {
            metrics.begin();
            metrics.end(tool, client, outcome, Some(Duration::from_millis(3)));
        }
        metrics.begin();
        metrics.count(1, "anyone", Outcome::Busy);
        let text = text(&metrics);
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
        for number in 0..10 * CLIENTS {
            metrics.know(&format!("client{number}"));
            metrics.count(0, &format!("client{number}"), Outcome::Ok);
        }
        let text = text(&metrics);
        assert_eq!(text.lines().filter(|line| line.starts_with("proxmox_mcp_calls_total")).count(), CLIENTS - 1);
        assert!(text.contains(r#"client="client61""#) && !text.contains("client62"), "{text}");
        assert!(text.contains(&format!(r#"client="other",outcome="ok"}} {}"#, 9 * CLIENTS + 2)), "{text}");
    }

    #[test]
    fn a_call_that_lasts_is_in_no_bucket_but_the_last() {
        let metrics = Metrics::new(vec!["wait"]);
        metrics.begin();
        metrics.end(0, "stdio", Outcome::Ok, Some(Duration::from_secs(61)));
        let text = text(&metrics);
        assert!(text.contains(r#"le="60"} 0"#) && text.contains(r#"le="+Inf"} 1"#), "{text}");
    }
}
