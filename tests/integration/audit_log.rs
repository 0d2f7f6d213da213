//! Without a file the audit lines go to the log.

use crate::support::log::{LogLine, capture, take};
use crate::support::own_process::in_own_process;
use log::{Level, LevelFilter};
use proxmox_mcp::audit::{AuditDecision, AuditEvent, AuditLog, AuditRecord};

#[test]
fn without_a_file_changes_are_logged_at_info_and_reads_at_debug() {
    if !in_own_process(without_a_file_changes_are_logged_at_info_and_reads_at_debug) {
        return;
    }
    let audit = AuditLog::without_file();
    capture();
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
        let lines = take();
        assert_eq!(lines.len(), wanted);
        for LogLine { level, target, text } in lines {
            assert_eq!(target, "audit");
            let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(level, if line["event"] == "call" { Level::Debug } else { Level::Info });
            assert!(line["time"].is_string() && line["seq"].is_null() && line["prev"].is_null(), "{line}");
            assert_eq!(line["why"], "the client may only read");
        }
    }
}
