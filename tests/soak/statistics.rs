//! The outcomes of the calls.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The number of wrong answers that are kept for the report.
const MAX_WRONG_SHOWN: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallVerdict {
    /// The right answer.
    Correct,
    /// A clear error during a fault.
    Failed,
    /// Cancelled by its client.
    Abandoned,
    /// Anything else.
    Wrong,
}

/// The counts of all sessions.
#[derive(Default)]
pub struct SoakStatistics(Mutex<StatisticsState>);

#[derive(Default)]
struct StatisticsState {
    calls: BTreeMap<(&'static str, &'static str, CallVerdict), u64>,
    wrong: Vec<String>,
    messages: BTreeMap<String, u64>,
    reconnects: u64,
    slowest: Duration,
    /// The first right answer of each cluster since [`Tally::watch`].
    recovered: BTreeMap<&'static str, Option<Instant>>,
}

impl SoakStatistics {
    /// Records the end of a call over this transport.
    pub fn record_call(&self, transport: &'static str, tool: &'static str, outcome: CallVerdict, begun: Instant) {
        let mut counts = self.0.lock().unwrap();
        *counts.calls.entry((transport, tool, outcome)).or_default() += 1;
        counts.slowest = counts.slowest.max(begun.elapsed());
    }

    pub fn record_wrong(&self, what: String) {
        let mut counts = self.0.lock().unwrap();
        if counts.wrong.len() < MAX_WRONG_SHOWN {
            counts.wrong.push(what);
        }
    }

    /// Records a message of the server. Messages that differ only in numbers count as one.
    pub fn record_message(&self, source: &str, text: &str) {
        *self.0.lock().unwrap().messages.entry(format!("{source}: {}", normalize_message(text))).or_default() += 1;
    }

    /// Records a reconnect of a session.
    pub fn record_reconnect(&self) {
        self.0.lock().unwrap().reconnects += 1;
    }

    /// Starts to wait for the first right answer of this cluster.
    pub fn watch_recovery(&self, cluster: &'static str) {
        self.0.lock().unwrap().recovered.insert(cluster, None);
    }

    /// Records a right answer of the cluster to a call that started at this time.
    pub fn record_success(&self, cluster: &'static str) {
        self.0.lock().unwrap().recovered.entry(cluster).or_default().get_or_insert_with(Instant::now);
    }

    /// Returns the time of the first right answer.
    pub fn recovered_at(&self, cluster: &str) -> Option<Instant> {
        self.0.lock().unwrap().recovered.get(cluster).copied().flatten()
    }

    /// Returns the number of calls, and the number with this outcome.
    pub fn count_calls(&self, outcome: Option<CallVerdict>) -> u64 {
        let counts = self.0.lock().unwrap();
        counts.calls.iter().filter(|((.., o), _)| outcome.is_none_or(|wanted| *o == wanted)).map(|(_, n)| n).sum()
    }

    /// Returns the first wrong answers.
    pub fn wrong_answers(&self) -> Vec<String> {
        self.0.lock().unwrap().wrong.clone()
    }

    /// Formats all counts as a table.
    pub fn format_table(&self) -> String {
        let counts = self.0.lock().unwrap();
        let mut rows = BTreeMap::<_, [u64; 4]>::new();
        for ((transport, tool, outcome), n) in &counts.calls {
            rows.entry((transport, tool)).or_default()[*outcome as usize] += n;
        }
        let mut text =
            format!("{:6} {:22} {:>9} {:>9} {:>9} {:>6}\n", "over", "tool", "right", "error", "given up", "wrong");
        for ((transport, tool), [right, failed, given_up, wrong]) in rows {
            text.push_str(&format!("{transport:6} {tool:22} {right:9} {failed:9} {given_up:9} {wrong:6}\n"));
        }
        text.push_str(&format!("{} sessions reconnected; slowest call {:.1?}\n", counts.reconnects, counts.slowest));
        text
    }

    /// Lists the messages by fault, the most frequent first.
    pub fn messages(&self) -> Vec<(String, u64)> {
        let mut texts: Vec<_> = self.0.lock().unwrap().messages.clone().into_iter().collect();
        // Sorted by fault, then by number.
        let source = |text: &str| text.split(": ").next().unwrap_or_default().to_owned();
        texts.sort_by_key(|(text, n)| (source(text), std::cmp::Reverse(*n)));
        texts
    }
}

/// Returns a text without its numbers, shortened.
fn normalize_message(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars().take(400) {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !shape.ends_with('#') {
            shape.push(c);
        }
    }
    shape.chars().take(220).collect()
}
