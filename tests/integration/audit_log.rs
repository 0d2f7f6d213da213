//! Without a file the audit lines go to the log.

use crate::support::own_process::in_own_process;
use log::{Level, LevelFilter, Log, Metadata};
use proxmox_mcp::audit::{AuditDecision, AuditEvent, AuditLog, AuditRecord};
use std::sync::Mutex;

struct Kept(Mutex<Vec<(Level, String)>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target() == "audit"
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "audit");
        self.0.lock().unwrap().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

#[test]
fn without_a_file_changes_are_told_at_info_and_reads_at_debug() {
    if !in_own_process(without_a_file_changes_are_told_at_info_and_reads_at_debug) {
        return;
    }
    let audit = AuditLog::without_file();
    log::set_logger(&KEPT).expect("no other logger");
    let record = |event| AuditRecord {
        event,
        id: "7f",
        trace: None,
        client: "anyone",
        address: None,
        transport: "stdio",
        tool: "proxmox_api_call",
        cluster: "prod",
        operation: "PUT /nodes/pve1/qemu/100/config",
        guest: None,
        arguments: &[],
        decision: AuditDecision::Denied,
        reason: Some("the client may only read"),
        upid: None,
        outcome: None,
        duration: None,
    };
    for (level, wanted) in [(LevelFilter::Off, 0), (LevelFilter::Info, 4), (LevelFilter::Debug, 5)] {
        log::set_max_level(level);
        let events = [
            AuditEvent::Read,
            AuditEvent::ChangeStarted,
            AuditEvent::ChangeFinished,
            AuditEvent::Denied,
            AuditEvent::ConfirmationRequested,
        ];
        assert_eq!(events.iter().filter(|event| audit.is_enabled(**event)).count(), wanted);
        events.iter().for_each(|event| audit.write(&record(*event)).expect("the log"));
        let kept = std::mem::take(&mut *KEPT.0.lock().unwrap());
        assert_eq!(kept.len(), wanted);
        for (level, line) in kept {
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(level, if line["event"] == "call" { Level::Debug } else { Level::Info });
            assert!(line["time"].is_string() && line["seq"].is_null() && line["prev"].is_null(), "{line}");
            assert_eq!(line["why"], "the client may only read");
        }
    }
}
