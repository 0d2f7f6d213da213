//! The lines that the log and the audit log could not write. Both belong to the process, and so do these counts.

use super::prometheus::{write_header, write_sample};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static LOG: AtomicU64 = AtomicU64::new(0);
static AUDIT: AtomicU64 = AtomicU64::new(0);

/// Counts lines that are missing in the log.
pub fn count_lost_log_lines(lines: u64) {
    LOG.fetch_add(lines, Relaxed);
}

/// Counts lines that are missing in the audit log.
pub fn count_lost_audit_lines(lines: u64) {
    AUDIT.fetch_add(lines, Relaxed);
}

pub(super) fn write(out: &mut String) {
    for (name, help, count) in [
        ("proxmox_mcp_log_lines_lost_total", "Lines of the log that stderr did not accept in time.", &LOG),
        ("proxmox_mcp_audit_lines_lost_total", "Lines of the audit log that its disk did not accept in time.", &AUDIT),
    ] {
        write_header(out, name, "counter", help);
        write_sample(out, name, &[], count.load(Relaxed));
    }
}
