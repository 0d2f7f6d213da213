//! What the system says of this process, under the names that Prometheus' own libraries use.

use super::prometheus::{write_gauge, write_header, write_label};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// What can't be found out is left out.
pub(super) fn write(out: &mut String, started: SystemTime) {
    let version = env!("CARGO_PKG_VERSION");
    write_header(out, "proxmox_mcp_build_info", "gauge", "The version that runs.");
    out.push_str("proxmox_mcp_build_info{");
    write_label(out, "version", version);
    out.push_str("} 1\n");
    if let Ok(since) = started.duration_since(UNIX_EPOCH) {
        write_gauge(out, "process_start_time_seconds", "When it was started, in Unix time.", since.as_secs());
    }
    if let Some(bytes) = read_resident_bytes() {
        write_gauge(out, "process_resident_memory_bytes", "Memory that it holds.", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the look at them.
        write_gauge(out, "process_open_fds", "Open descriptors.", (open.count() as u64).saturating_sub(1));
    }
}

/// `status` has it in kB, whatever the size of a page is.
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
