//! The audit log: the findings of `proxmox-mcp audit verify`, and the creation of the file by the server.

use crate::support::process::{program, run};
use proptest::prelude::*;
use proxmox_mcp::audit::{AuditDecision, AuditEvent, AuditLog, AuditOutcome, AuditRecord, verify};
use ring::digest::{SHA256, digest};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    (folder, path)
}

fn record<'a>(id: &'a str, event: AuditEvent, arguments: &'a [(&'a str, String)]) -> AuditRecord<'a> {
    let ended = matches!(event, AuditEvent::Read | AuditEvent::ChangeFinished);
    AuditRecord {
        event,
        id,
        trace: None,
        client: "laptop",
        address: Some([192, 0, 2, 7].into()),
        transport: "http",
        tool: "proxmox_api_call",
        cluster: "prod",
        operation: "POST /nodes/pve1/qemu/100/status/stop",
        guest: Some("100 (web01, \"é\u{202e}\")"),
        arguments,
        decision: AuditDecision::Allowed,
        reason: None,
        upid: ended.then_some("UPID:pve1:0001:0002:65F0:qmstop:100:mcp@pve!admin:"),
        outcome: ended.then_some(AuditOutcome::Failed("can't lock file")),
        duration: ended.then_some(Duration::from_millis(42)),
    }
}

/// Returns six lines of every kind, as a server writes them.
fn log() -> &'static [String] {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let (_folder, path) = folder();
        let audit = AuditLog::open(&path).expect("open");
        let arguments = [("timeout", "30".to_owned()), ("forceStop", "1".to_owned())];
        for event in [
            AuditEvent::Read,
            AuditEvent::ConfirmationRequested,
            AuditEvent::ChangeStarted,
            AuditEvent::ChangeFinished,
            AuditEvent::Denied,
            AuditEvent::Read,
        ] {
            audit.write(&record("7f", event, &arguments)).expect("write");
        }
        drop(audit);
        fs::read_to_string(&path).expect("UTF-8").split_inclusive('\n').map(str::to_owned).collect()
    })
}

fn hash(line: &str) -> String {
    digest(&SHA256, line.trim_end().as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run_program(path: &Path, more: &[&str]) -> Output {
    program(&["audit", "verify"]).arg(path).args(more).output().expect("run")
}

/// Verifies a file of these bytes. Returns stdout if the exit code is 0, else stderr.
fn run_verify(bytes: impl AsRef<[u8]>, more: &[&str], code: i32) -> String {
    let (_folder, path) = folder();
    fs::write(&path, bytes).expect("write");
    let output = run_program(&path, more);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    if code == 0 { out } else { err }
}

fn run_verify_on_lines(lines: &[&String], code: i32) -> String {
    run_verify(lines.iter().map(|line| line.as_str()).collect::<String>(), &[], code)
}

// ---- valid logs

#[test]
fn log_written_by_a_server_is_verified() {
    let last = hash(&log()[5]);
    for (bytes, more) in [(log().concat(), vec![]), (log().concat(), vec!["--expect", &last])] {
        let text = run_verify(bytes, &more, 0);
        assert!(text.contains(": 6 records, 20") && text.contains("Z, all unchanged\n"), "{text}");
        assert!(text.contains(&format!("last line: {last}\n(keep it elsewhere")), "{text}");
    }
    // The hash of an earlier line, in upper case.
    run_verify(log().concat(), &["--expect", &hash(&log()[2]).to_uppercase()], 0);
    assert!(run_verify("", &[], 0).contains("no records"));
}

#[test]
fn line_is_json_with_its_members_in_order() {
    let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&log()[3]).expect("JSON");
    assert_eq!((&line["seq"], &line["event"], &line["ms"]), (&4.into(), &"end".into(), &42.into()));
    assert_eq!(line["prev"], hash(&log()[2]));
    assert_eq!(line["guest"], "100 (web01, \"é\u{202e}\")");
    let mut rest = log()[3].as_str();
    for member in [
        "{\"seq\"",
        "time",
        "id",
        "event",
        "client",
        "address",
        "transport",
        "tool",
        "cluster",
        "operation",
        "guest",
        "arguments",
        "decision",
        "upid",
        "outcome",
        "ms",
        "prev",
    ] {
        rest = rest.split_once(member).unwrap_or_else(|| panic!("{member}")).1;
    }
    assert!(log()[3].contains(r#""arguments":{"timeout":"30","forceStop":"1"}"#) && !log()[3].contains('\u{202e}'));
}

#[test]
fn threads_write_one_chain() {
    let (_folder, path) = folder();
    let (audit, start) = (Arc::new(AuditLog::open(&path).expect("open")), Arc::new(Barrier::new(8)));
    let writers = (0..8).map(|thread| {
        let (audit, start) = (audit.clone(), start.clone());
        thread::spawn(move || {
            start.wait();
            for call in 0..50 {
                let event = if call % 10 == 0 { AuditEvent::ChangeStarted } else { AuditEvent::Read };
                audit.write(&record(&format!("{thread}-{call}"), event, &[])).expect("write");
            }
        })
    });
    writers.collect::<Vec<_>>().into_iter().for_each(|writer| writer.join().expect("a writer"));
    let output = run_program(&path, &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(": 400 records"), "{output:?}");
}

// ---- problems

#[test]
fn change_in_any_part_of_a_line_is_detected() {
    let lines = log();
    let whole = lines.concat();
    let kept = hash(&lines[5]);
    let mut start = 0;
    for line in lines {
        for part in
            ["{\"seq\":", ",\"time", "laptop", "arguments\":{", "30", "é", "\\u202e", ",\"prev\":\"", "\"}\n", "\n"]
        {
            let at = start + line.find(part).unwrap_or_else(|| panic!("{part}")) + part.len() - 1;
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            run_verify(bytes, &["--expect", &kept], 1);
        }
        start += line.len();
    }
}

#[test]
fn change_of_any_byte_is_detected() {
    let lines = log();
    let whole = lines.concat().into_bytes();
    let (kept, last) = (hash(&lines[5]), whole.len() - lines[5].len());
    for at in 0..whole.len() - 1 {
        for other in [whole[at] ^ 1, whole[at] ^ 0x20, whole[at] ^ 0x80, b'\n', b' ', 0] {
            let mut bytes = whole.clone();
            bytes[at] = other;
            if bytes == whole {
                continue;
            }
            let found = |expect| verify(&mut bytes.as_slice(), expect).expect("read").problems.count > 0;
            assert!(found(Some(&kept)), "{at} {other}");
            // A change of the last line is found only if its hash is kept elsewhere.
            assert!(at >= last || found(None), "{at} {other}");
        }
        let (mut less, mut more) = (whole.clone(), whole.clone());
        less.remove(at);
        more.insert(at, b'0');
        for bytes in [less, more] {
            assert!(verify(&mut bytes.as_slice(), Some(&kept)).expect("read").problems.count > 0, "{at}");
        }
    }
}

#[test]
fn missing_line_is_detected() {
    for without in 0..5 {
        let lines: Vec<_> = log().iter().enumerate().filter(|(place, _)| *place != without).map(|(_, l)| l).collect();
        let text = run_verify_on_lines(&lines, 1);
        let expected = match without {
            0 => "line 1 has the number 2: the lines before it are missing".to_owned(),
            n => format!("line {} has the number {}, expected {}: 1 missing after line {n}", n + 1, n + 2, n + 1),
        };
        assert!(text.contains("1 problem\n") && text.contains(&expected), "{text}");
    }
}

#[test]
fn reordered_or_duplicate_lines_are_detected() {
    let [a, b, c, d, ..] = log() else { panic!() };
    assert!(run_verify_on_lines(&[a, c, b, d], 1).contains("it is out of order"));
    assert!(run_verify_on_lines(&[b, a, c, d], 1).contains("line 1 has the number 2"));
    assert!(run_verify_on_lines(&[a, b, b, c], 1).contains("line 3 has the number 2, expected 3"));
}

#[test]
fn truncated_end_is_detected_with_a_hash_kept_elsewhere() {
    let (cut, kept) = (log()[..4].concat(), hash(&log()[5]));
    run_verify(&cut, &[], 0);
    assert!(
        run_verify(&cut, &["--expect", &kept], 1).contains(&format!("no line has the hash {kept}: the end was cut"))
    );
    assert!(run_verify("", &["--expect", &kept], 1).contains("the end was cut off"));
    assert!(run_verify(&cut, &["--expect", "12ab"], 2).contains("expected the 64 hex digits"));
}

#[test]
fn torn_line_is_a_warning_and_the_chain_continues_after_it() {
    let (_folder, path) = folder();
    let torn = format!("{}{}{}", log()[0], log()[1], &log()[2][..40]);
    fs::write(&path, &torn).expect("write");
    let expected = "warning: line 3 was cut off (a crash or a full disk), the chain continues";
    assert!(run_verify(&torn, &[], 0).contains(expected));
    let audit = AuditLog::open(&path).expect("open");
    (0..2).for_each(|_| audit.write(&record("8a", AuditEvent::ChangeStarted, &[])).expect("write"));
    let text = fs::read_to_string(&path).expect("UTF-8");
    let message = run_verify(&text, &[], 0);
    assert!(message.contains(": 4 records") && message.contains(expected), "{message}");
    // Neither that line nor the one before it can be changed afterwards.
    for (from, to) in [("\"seq\":3,\"t", "\"seq\":3,\"T"), ("\"asked\"", "\"askeD\"")] {
        run_verify(text.replacen(from, to, 1), &[], 1);
    }
}

#[test]
fn file_that_is_not_an_audit_log_has_problems() {
    let junk: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(run_verify(junk, &[], 1).contains("no records, 1 problem\n  line 1 is not a record"));
    assert!(run_verify("root:x:0:0\n", &[], 1).contains("line 1 is not a record"));
    let long = format!("{}{{\"seq\":2,\"{}\n{}", log()[0], "x".repeat(10 << 20), log()[1]);
    assert!(run_verify(long, &[], 1).contains("line 2 is not a record, and line 3 does not follow from it"));
}

#[test]
fn only_the_first_problems_are_listed() {
    let lines: Vec<_> = std::iter::repeat_n(&log()[1], 50).collect();
    let text = run_verify_on_lines(&lines, 1);
    assert!(
        text.contains(", 50 problems\n") && text.contains("  and 30 more\n") && text.lines().count() == 22,
        "{text}"
    );
}

#[test]
fn unreadable_file_has_its_own_error() {
    let (folder, path) = folder();
    for path in [folder.path(), &path] {
        let output = run_program(path, &[]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.starts_with("error: cannot read "), "{text}");
    }
    assert_eq!(run(&["audit", "verify"]).status.code(), Some(2));
    assert_eq!(run(&["audit", "delete", "x"]).status.code(), Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn verification_handles_any_bytes(pieces in proptest::collection::vec(prop_oneof![
        (0..6_usize).prop_map(|line| log()[line].clone().into_bytes()),
        (0..6_usize, 0..400_usize).prop_map(|(line, end)| log()[line].as_bytes()[..end.min(log()[line].len())].to_vec()),
        proptest::collection::vec(any::<u8>(), 0..60),
        Just(b"\n".to_vec()),
        Just(b"{\"seq\":18446744073709551615,\"time\":\"".to_vec()),
    ], 0..8)) {
        let bytes = pieces.concat();
        let report = verify(&mut bytes.as_slice(), None).expect("read");
        // A file without a problem consists of the first lines of the log, and at most one partial line after them.
        if report.problems.count == 0 {
            let whole = log()[..usize::try_from(report.record_count).unwrap()].concat();
            prop_assert!(bytes.starts_with(whole.trim_end().as_bytes()));
        }
    }
}

// ---- the server

#[test]
fn server_creates_the_audit_file_or_does_not_start() {
    let (folder, path) = folder();
    let file = path.to_str().expect("UTF-8");
    let output = run(&["--demo", "stdio", "--audit-log", file]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let held = AuditLog::open(&path).expect("the lock went with the server");
    for (file, expected) in
        [(file, "is written by another proxmox-mcp"), (folder.path().to_str().unwrap(), "is a directory")]
    {
        for task in [&["--demo", "stdio"][..], &["--demo", "--listen", "127.0.0.1:0"]] {
            let output = program(task).env("MCP_AUDIT_LOG", file).output().expect("run");
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(2) && text.contains(expected), "{text}");
        }
    }
    drop(held);
}
