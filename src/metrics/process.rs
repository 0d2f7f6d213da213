//! The metrics of the process, under the names that Prometheus' own libraries use.

use super::prometheus::{write_gauge, write_header, write_label};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes the metrics that the system provides.
pub(super) fn write(out: &mut String, started: SystemTime) {
    let version = env!("CARGO_PKG_VERSION");
    write_header(out, "proxmox_mcp_build_info", "gauge", "The running version.");
    out.push_str("proxmox_mcp_build_info{");
    write_label(out, "version", version);
    out.push_str("} 1\n");
    if let Ok(since) = started.duration_since(UNIX_EPOCH) {
        write_gauge(out, "process_start_time_seconds", "Start time of the process, in Unix time.", since.as_secs());
    }
    if let Some(bytes) = read_resident_bytes() {
        write_gauge(out, "process_resident_memory_bytes", "Resident memory of the process.", bytes);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // One of them belongs to this listing.
        write_gauge(out, "process_open_fds", "Open file descriptors.", (descriptors.count() as u64).saturating_sub(1));
    }
}

/// Reads VmRSS, which is in kB for any page size.
fn read_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_memory_and_descriptors() {
        let mut out = String::new();
        write(&mut out, SystemTime::now());
        for name in ["process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"] {
            let line = out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {out}"));
            assert!(line.rsplit(' ').next().unwrap().parse::<u64>().unwrap() > 0, "{line}");
        }
    }
}
