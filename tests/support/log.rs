//! The log of the test process, which every test of the program shares. A test finds its own lines by the name of its
//! cluster.
#![allow(dead_code)]

use super::node::SECRET;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, Once};

/// A captured line.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub level: Level,
    pub target: String,
    pub text: String,
}

struct CapturedLog(Mutex<Vec<LogLine>>);

static LOG: CapturedLog = CapturedLog(Mutex::new(Vec::new()));

impl Log for CapturedLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("proxmox_mcp") || metadata.target() == "audit"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (level, target, text) = (record.level(), record.target().to_owned(), record.args().to_string());
            self.0.lock().unwrap().push(LogLine { level, target, text });
        }
    }

    fn flush(&self) {}
}

/// Captures every line from now on.
pub fn capture() {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&LOG).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
}

/// Removes and returns all lines. Only a test that runs in its own process may call it.
pub fn take() -> Vec<LogLine> {
    std::mem::take(&mut *LOG.0.lock().unwrap())
}

/// Returns the lines about the cluster of this name. Panics if a secret is in them.
pub fn lines(name: &str) -> Vec<(Level, String)> {
    let start = format!("cluster `{name}`: ");
    let log = LOG.0.lock().unwrap();
    let own = log.iter().filter(|line| line.text.starts_with(&start));
    let own = own.map(|line| (line.level, line.text.clone())).collect::<Vec<_>>();
    assert!(own.iter().all(|(_, line)| !line.contains(SECRET) && !line.contains("canary")), "{own:?}");
    own
}

/// Returns the warnings about the cluster of this name.
pub fn warnings(name: &str) -> Vec<String> {
    lines(name).into_iter().filter(|(level, _)| *level == Level::Warn).map(|(_, line)| line).collect()
}
