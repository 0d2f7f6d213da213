//! The log of a test's process. A test knows its own lines by its cluster's name.
#![allow(dead_code)]

use super::node::SECRET;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, Once};

struct Kept(Mutex<Vec<(Level, String)>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().starts_with("proxmox_mcp")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// From now on every line is kept.
pub fn keep() {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&KEPT).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
}

/// The lines about the cluster of this name; panics if a secret is in them.
pub fn lines(name: &str) -> Vec<(Level, String)> {
    let start = format!("cluster `{name}`: ");
    let kept = KEPT.0.lock().unwrap();
    let mine = kept.iter().filter(|(_, line)| line.starts_with(&start)).cloned().collect::<Vec<_>>();
    assert!(mine.iter().all(|(_, line)| !line.contains(SECRET) && !line.contains("canary")), "{mine:?}");
    mine
}

/// The warnings among them.
pub fn warnings(name: &str) -> Vec<String> {
    lines(name).into_iter().filter(|(level, _)| *level == Level::Warn).map(|(_, line)| line).collect()
}
