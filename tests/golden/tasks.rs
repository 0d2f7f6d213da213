//! Outcomes of `wait_for_task`.

use crate::document::Document;
use crate::support::node::{Node, Request, ScriptedReply};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:";

/// Starts a node with a task. `status` returns the answer to the nth status request. The task's log has these lines.
fn start_node(status: impl Fn(usize) -> ScriptedReply + Send + Sync + 'static, lines: Vec<String>) -> Node {
    let looks = AtomicUsize::new(0);
    Node::start(move |request| match request.path() {
        path if path.ends_with("/status") => status(looks.fetch_add(1, Ordering::SeqCst)),
        path if path.ends_with("/log") => log(request, &lines),
        path if path.ends_with("/tasks") => ScriptedReply::data(r#"[{"upid":"other","endtime":1}]"#),
        _ => ScriptedReply::data("[]"),
    })
}

fn log(request: &Request, lines: &[String]) -> ScriptedReply {
    let start = request.target.split("start=").nth(1).and_then(|s| s.split('&').next()).expect("start");
    let rows = lines.iter().enumerate().skip(start.parse().expect("a number")).take(200);
    let rows: Vec<_> = rows.map(|(n, line)| json!({"n": n + 1, "t": line})).collect();
    ScriptedReply::body(json!({"total": lines.len(), "data": rows}).to_string())
}

fn ended(exit: &str) -> ScriptedReply {
    ScriptedReply::data(&json!({"status": "stopped", "exitstatus": exit}).to_string())
}

fn running() -> ScriptedReply {
    ScriptedReply::data(r#"{"status":"running"}"#)
}

fn no_such_task() -> ScriptedReply {
    let body = r#"{"data":null,"message":"x\n","errors":{"upid":"no such task"}}"#;
    ScriptedReply::refusal(400, "Parameter verification failed.", body)
}

fn format_result(result: &ToolResult) -> String {
    let mut text = format!("{}{}\n", if result.failed { "[error]\n" } else { "" }, result.text);
    for more in &result.more {
        let _ = writeln!(text, "--\n{more}");
    }
    if result.structured != Value::Null {
        let _ = writeln!(text, "-- structuredContent\n{}", result.structured);
    }
    for message in &result.progress {
        let _ = writeln!(text, "-- progress\n{message}");
    }
    text
}

#[test]
fn task_outcomes() {
    let mut document = Document::new();
    document.redact(r", for [^.]+\. It", ", for AGE. It");
    document.redact(r"took \d+ s", "took N s");
    document.redact(r#""seconds":\d+"#, "\"seconds\":N");
    let lines = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let cases: Vec<(&str, Node)> = vec![
        ("ends well", start_node(|_| ended("OK"), lines(&["one", "TASK OK"]))),
        ("without a log", start_node(|_| ended("OK"), Vec::new())),
        ("warnings", start_node(|_| ended("WARNINGS: 2"), lines(&["WARN: a", "WARN: b", "TASK WARNINGS: 2"]))),
        ("fails", start_node(|_| ended("it broke"), lines(&["one", "TASK ERROR: it broke"]))),
        ("fails after a long log", start_node(|_| ended("it broke"), (0..300).map(|n| format!("line {n}")).collect())),
        ("ends with an unexpected status", start_node(|_| ended("unexpected status"), lines(&["one"]))),
        (
            "progress",
            start_node(
                |look| if look == 0 { running() } else { ended("OK") },
                lines(&["one", "two\u{1b}[31m", "TASK OK"]),
            ),
        ),
        ("is unknown", start_node(|_| no_such_task(), Vec::new())),
        (
            "is refused",
            start_node(
                |_| ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Audit)", ""),
                Vec::new(),
            ),
        ),
        (
            "ends without an exit status",
            start_node(|_| ScriptedReply::data(r#"{"status":"stopped"}"#), lines(&["one"])),
        ),
        ("status is no object", start_node(|_| ScriptedReply::data("7"), Vec::new())),
        ("status has another type", start_node(|_| ScriptedReply::data(r#"{"status":7}"#), Vec::new())),
    ];
    for (about, node) in &cases {
        let text = call(&product(vec![node.cluster_settings()]), "wait_for_task", json!({"upid": UPID}));
        document.case(about, format_result(&text));
    }
    let silent = start_node(|_| ScriptedReply::hang(), Vec::new());
    let settings = ClusterConfig { timeout: Duration::from_secs(1), ..silent.cluster_settings() };
    let text = call(&product(vec![settings]), "wait_for_task", json!({"upid": UPID, "timeout": 1}));
    document.case("no status in time", format_result(&text));
    let endless = start_node(|_| running(), lines(&["one"]));
    let server = product(vec![endless.cluster_settings()]);
    let text = call(&server, "wait_for_task", json!({"upid": UPID, "timeout": 1}));
    document.case("outlasts the wait", format_result(&text));
    let quiet = start_node(|_| running(), Vec::new());
    let text = call(&product(vec![quiet.cluster_settings()]), "wait_for_task", json!({"upid": UPID, "timeout": 1}));
    document.case("outlasts the wait without a log", format_result(&text));
    document.section("Arguments");
    for arguments in [
        json!({}),
        json!({"upid": "100"}),
        json!({"upid": "UPID:pve1"}),
        json!({"upid": "UPID:../x:1:1:1:a:b:c:"}),
        json!({"upid": UPID, "timeout": 0}),
        json!({"upid": UPID, "timeout": 3601}),
        json!({"upid": UPID, "timeout": "soon"}),
        json!({"upid": UPID, "cluster": "tset"}),
    ] {
        document.call(&server, "wait_for_task", arguments);
    }
    document.section("Several clusters");
    let named = |name: &str, node: &Node| ClusterConfig { name: name.into(), ..node.cluster_settings() };
    let (one, two) = (start_node(|_| no_such_task(), Vec::new()), start_node(|_| no_such_task(), Vec::new()));
    let broken = Node::start(|_| ScriptedReply::refusal(500, "it broke", ""));
    let server = product(vec![named("one", &one), named("two", &two), named("broken", &broken)]);
    document.call(&server, "wait_for_task", json!({"upid": UPID}));
    document.assert("tasks");
}
