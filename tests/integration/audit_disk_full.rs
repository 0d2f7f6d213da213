//! The audit log on a full disk, simulated by a limit on the size of files.

use crate::support::log::{capture, take};
use crate::support::own_process::in_own_process;
use log::Level;
use proxmox_mcp::audit::{AuditDecision, AuditEvent, AuditLog, AuditRecord, verify};
use proxmox_mcp::base::hint::render_error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn room(bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: getrlimit(Resource::Fsize).maximum };
    setrlimit(Resource::Fsize, limit).expect("a limit below the maximum");
}

#[test]
fn full_disk_leaves_no_partial_line_and_the_next_write_retries() {
    if !in_own_process(full_disk_leaves_no_partial_line_and_the_next_write_retries) {
        return;
    }
    capture();
    // Without a handler the signal would end the process.
    signal_hook::flag::register(25, Arc::new(AtomicBool::new(false))).expect("a handler for SIGXFSZ");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    let audit = AuditLog::open(&path).expect("open");
    let record = |event| AuditRecord {
        event,
        id: "7f",
        trace: None,
        client: "laptop",
        address: None,
        transport: "stdio",
        tool: "proxmox_api_call",
        cluster: "prod",
        operation: "POST /nodes/pve1/qemu/100/status/stop",
        guest: None,
        arguments: &[],
        decision: AuditDecision::Allowed,
        reason: None,
        upid: None,
        outcome: None,
        duration: None,
    };
    audit.write(&record(AuditEvent::ChangeStarted)).expect("room");
    let before = fs::read(&path).expect("read");
    // The shortest of these lines is two bytes shorter than the first.
    for more in [0, 1, 100, before.len() as u64 - 3] {
        room(Some(before.len() as u64 + more));
        audit.write(&record(AuditEvent::Read)).expect("a read waits for nothing");
        for event in [AuditEvent::ChangeStarted, AuditEvent::ChangeFinished] {
            let error = render_error(&audit.write(&record(event)).expect_err("no room"));
            assert!(error.starts_with("cannot write the audit log: File too large"), "{error}");
            assert!(error.ends_with(". hint: free some space on its disk, then call again"), "{error}");
            assert!(fs::read(&path).expect("read") == before, "{more}");
        }
    }
    let warnings: Vec<_> = take().into_iter().filter(|line| line.level == Level::Warn).collect();
    assert_eq!(warnings.len(), 1, "one per minute: {warnings:?}");
    assert!(warnings[0].text.starts_with("cannot write the audit log: "), "{warnings:?}");
    room(getrlimit(Resource::Fsize).maximum);
    audit.write(&record(AuditEvent::ChangeFinished)).expect("room");
    let after = fs::read(&path).expect("read");
    let report = verify(&mut after.as_slice(), None).expect("read");
    assert_eq!((report.record_count, report.problems.count, report.warnings.count), (2, 0, 0));
}
