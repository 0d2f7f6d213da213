//! What systemd and an operator see of the server: the watchdog, the peak of its memory, and its log.

use crate::support::process::ServerProcess;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The time after which systemd would restart the server, as in the unit.
pub const WATCHDOG: Duration = Duration::from_secs(30);

const UNIT: &str = include_str!("../../deploy/proxmox-mcp.service");

/// Receives the notifications of the server.
pub struct Watchdog {
    longest_gap: Arc<Mutex<(Instant, Duration)>>,
}

impl Watchdog {
    /// Listens at a path, NOTIFY_SOCKET of the server.
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        let longest_gap = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
        let gap = longest_gap.clone();
        thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(length) = socket.recv(&mut bytes) {
                if [&b"READY=1"[..], b"WATCHDOG=1"].contains(&&bytes[..length]) {
                    let mut gap = gap.lock().unwrap();
                    *gap = (Instant::now(), gap.1.max(gap.0.elapsed()));
                }
            }
        });
        Self { longest_gap }
    }

    /// Returns the longest time without a notification.
    pub fn longest_gap(&self) -> Duration {
        let gap = self.longest_gap.lock().unwrap();
        gap.1.max(gap.0.elapsed())
    }
}

/// Returns the limit of the memory in the systemd unit, in MiB.
pub fn memory_limit_mib() -> u64 {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("MemoryMax=")).expect("a limit");
    line.strip_suffix('M').and_then(|max| max.parse().ok()).expect("a limit in MiB")
}

/// Returns the most memory that the process has had at once, in MiB.
pub fn peak_memory_mib(process: &ServerProcess) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()).expect("the server runs") >> 10
}

/// The reader of a log, which can be stalled.
pub struct LogReader {
    is_stalled: Arc<AtomicBool>,
    warnings: Receiver<String>,
}

impl LogReader {
    pub fn start(log: impl Read + Send + 'static) -> Self {
        let is_stalled = Arc::new(AtomicBool::new(false));
        let (sender, warnings) = channel();
        let stalled = is_stalled.clone();
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                while stalled.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                if line.contains(" WARN ") || line.contains(" ERROR ") {
                    let _ = sender.send(line);
                }
            }
        });
        Self { is_stalled, warnings }
    }

    /// Stops reading, or continues.
    pub fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::SeqCst);
    }

    /// Returns the warnings and errors since the last call.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.warnings.try_iter()
    }
}
