//! `wait_for_task` as a client sees it; the simulated cluster or a node that misbehaves is at the far end.

use crate::support::node::{Node, Request, ScriptedReply, closed_endpoint};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call, call_with};
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::demo::{Demo, Options};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:";

fn demo(step: Duration) -> Demo {
    let mut options = Options::default();
    options.task_step = step;
    Demo::start_with(options).expect("the demo cluster")
}

fn api(server: &McpServer, arguments: Value) -> Value {
    let said = call(server, "proxmox_api_call", arguments);
    assert!(!said.failed, "{said:?}");
    serde_json::from_str(&said.text).expect("JSON")
}

fn post(server: &McpServer, path: &str, data: Value) -> String {
    api(server, json!({"path": path, "method": "POST", "data": data})).as_str().expect("a UPID").to_owned()
}

fn wait(server: &McpServer, upid: &str) -> ToolResult {
    call(server, "wait_for_task", json!({"upid": upid}))
}

/// A node whose task answers its nth look at the status as `status` says, with a log of these lines.
fn node(status: impl Fn(usize) -> ScriptedReply + Send + Sync + 'static, lines: &'static [&'static str]) -> Node {
    let looks = AtomicUsize::new(0);
    Node::start(move |request| match request.path() {
        path if path.ends_with("/status") => status(looks.fetch_add(1, Ordering::SeqCst)),
        path if path.ends_with("/log") => log(request, lines),
        path if path.ends_with("/tasks") => ScriptedReply::data(r#"[{"upid":"other","endtime":1}]"#),
        path => panic!("unexpected {path}"),
    })
}

fn log(request: &Request, lines: &[&str]) -> ScriptedReply {
    let start = request.target.split("start=").nth(1).and_then(|s| s.split('&').next()).expect("start");
    let rows: Vec<_> = lines.iter().enumerate().skip(start.parse().expect("a number")).take(200).collect();
    let rows: Vec<_> = rows.into_iter().map(|(n, line)| json!({"n": n + 1, "t": line})).collect();
    ScriptedReply::body(json!({"total": lines.len(), "data": rows}).to_string())
}

fn running() -> ScriptedReply {
    ScriptedReply::data(r#"{"status":"running"}"#)
}

fn ended(exit: &str) -> ScriptedReply {
    ScriptedReply::data(&json!({"status": "stopped", "exitstatus": exit}).to_string())
}

fn no_such_task() -> ScriptedReply {
    ScriptedReply::refusal(
        400,
        "Parameter verification failed.",
        r#"{"data":null,"message":"x\n","errors":{"upid":"no such task"}}"#,
    )
}

fn over(node: &Node) -> McpServer {
    product(vec![node.cluster_settings()])
}

#[test]
fn a_task_that_ends_well_is_told_with_its_time_and_its_log() {
    let demo = demo(Duration::from_millis(200));
    let server = product(vec![demo.cluster()]);
    let upid = post(&server, "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before"}));
    let said = wait(&server, &format!("\"{upid}\""));
    assert!(!said.failed && said.text.starts_with("OK: qmsnapshot of guest 100 on pve1 took "), "{said:?}");
    assert_eq!(said.text.lines().last(), Some("TASK OK"), "{said:?}");
    let task = &said.structured;
    assert_eq!((&task["upid"], &task["node"], &task["type"]), (&json!(upid), &json!("pve1"), &json!("qmsnapshot")));
    assert_eq!((&task["status"], &task["exitstatus"], &task["id"]), (&json!("stopped"), &json!("OK"), &json!("100")));
    assert!(task["started"].is_u64() && task["seconds"].is_u64(), "{task}");
    assert_eq!(task["log"].as_array().and_then(|log| log.last()), Some(&json!("TASK OK")));
}

#[test]
fn a_task_of_yesterday_is_told_with_the_time_it_took() {
    let demo = demo(Duration::ZERO);
    let server = product(vec![demo.cluster()]);
    let tasks = api(&server, json!({"path": "/nodes/pve2/tasks", "data": {"typefilter": "vzdump"}}));
    let said = wait(&server, tasks["data"][0]["upid"].as_str().expect("a UPID"));
    assert!(said.text.starts_with("OK: vzdump on pve2 took "), "{said:?}");
    assert!(said.structured["seconds"].as_u64().is_some_and(|s| (60..3_600).contains(&s)), "{said:?}");
}

#[test]
fn a_task_that_failed_is_a_failure_with_its_error_and_its_log() {
    let demo = demo(Duration::ZERO);
    let server = product(vec![demo.cluster()]);
    let said = wait(&server, &post(&server, "/nodes/pve1/qemu/100/status/start", json!({})));
    assert!(said.failed, "{said:?}");
    assert!(said.text.starts_with("FAILED: qmstart of guest 100 on pve1"), "{said:?}");
    assert!(said.text.contains(": VM 100 already running\n"), "{said:?}");
    assert!(said.text.ends_with("\nTASK ERROR: VM 100 already running"), "{said:?}");
}

#[test]
fn warnings_are_no_failure_and_are_said_first() {
    let node = node(|_| ended("WARNINGS: 2"), &["WARN: a", "WARN: b", "TASK WARNINGS: 2"]);
    let said = wait(&over(&node), UPID);
    assert!(!said.failed && said.text.starts_with("WARNINGS: 2"), "{said:?}");
    assert!(said.text.contains("\nWARN: b\n"), "{said:?}");
    assert_eq!((&said.structured["exitstatus"], &said.structured["seconds"]), (&json!("WARNINGS: 2"), &Value::Null));
}

#[test]
fn a_task_that_outlasts_the_wait_goes_on_and_the_text_says_how_to_look_again() {
    let demo = demo(Duration::from_secs(600));
    let server = product(vec![demo.cluster()]);
    let upid = post(&server, "/nodes/pve1/qemu/100/status/shutdown", json!({}));
    let said = call(&server, "wait_for_task", json!({"upid": upid, "timeout": "1"}));
    assert!(!said.failed && said.text.starts_with("RUNNING: qmshutdown of guest 100 on pve1, for "), "{said:?}");
    assert!(said.text.contains("wait_for_task") && said.text.contains(&format!("/tasks/{upid}/log")), "{said:?}");
    assert_eq!((&said.structured["status"], &said.structured["exitstatus"]), (&json!("running"), &Value::Null));
}

#[test]
fn the_end_of_a_call_ends_the_wait_at_once_and_leaves_the_task_alone() {
    let demo = demo(Duration::from_secs(600));
    let server = product(vec![demo.cluster()]);
    let upid = post(&server, "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before"}));
    let cancel = CancelToken::new();
    let arguments = json!({"upid": upid, "timeout": "3600"});
    let said = thread::scope(|scope| {
        let (begun, heard) = std::sync::mpsc::channel();
        let (server, call_cancel) = (&server, cancel.clone());
        let call = scope.spawn(move || {
            call_with(server, "wait_for_task", arguments, call_cancel, &|_| begun.send(()).expect("a test"))
        });
        heard.recv().expect("its first progress");
        cancel.cancel(CancelReason::Shutdown);
        call.join().expect("an answer")
    });
    assert!(!said.failed && said.text.starts_with("RUNNING: qmsnapshot of guest 100"), "{said:?}");
    assert_eq!(api(&server, json!({"path": format!("/nodes/pve1/tasks/{upid}/status")}))["status"], "running");
}

#[test]
fn a_task_that_its_node_does_not_know_yet_is_asked_for_again() {
    let node = node(|look| if look == 0 { no_such_task() } else { ended("OK") }, &["TASK OK"]);
    let said = wait(&over(&node), UPID);
    assert!(!said.failed && said.text.starts_with("OK: "), "{said:?}");
}

#[test]
fn a_task_that_nobody_knows_is_a_failure() {
    let node = node(|_| no_such_task(), &[]);
    let said = wait(&over(&node), UPID);
    assert!(said.failed && said.text.contains("knows no such task") && said.text.contains(UPID), "{said:?}");
    assert!(said.text.contains("GET /nodes/pve1/tasks"), "{said:?}");
}

#[test]
fn a_node_that_is_away_for_a_moment_is_asked_again() {
    let status = |look| match look {
        1..5 => ScriptedReply::close(),
        5 => ScriptedReply::refusal(595, "No route to host", ""),
        6 => ScriptedReply::refusal(500, "got timeout", ""),
        7 => ended("OK"),
        _ => running(),
    };
    let node = node(status, &["TASK OK"]);
    let said = wait(&over(&node), UPID);
    assert!(!said.failed && said.text.starts_with("OK: "), "{said:?}");
}

#[test]
fn a_node_that_stays_away_is_reported_and_the_task_not_given_up() {
    let node = node(
        |look| if look == 0 { running() } else { ScriptedReply::refusal(595, "No route to host", "") },
        &["a line"],
    );
    let said = call(&over(&node), "wait_for_task", json!({"upid": UPID, "timeout": "1"}));
    assert!(
        said.failed && said.text.contains("No route to host") && said.text.contains("continues by itself"),
        "{said:?}"
    );
    assert!(said.text.contains(UPID) && said.text.contains("wait_for_task"), "{said:?}");
}

#[test]
fn what_no_second_look_mends_ends_the_wait() {
    let node = node(|_| ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Audit)", ""), &[]);
    let said = wait(&over(&node), UPID);
    assert!(said.failed && said.text.contains("Sys.Audit"), "{said:?}");
    assert_eq!(node.requests().len(), 1);
}

#[test]
fn the_logs_new_lines_are_the_progress_in_order_and_once() {
    const LINES: &[&str] = &["one", "two\u{1b}[31m", "three", "four", "five", "TASK OK"];
    let log_looks = AtomicUsize::new(0);
    let status_looks = AtomicUsize::new(0);
    let node = Node::start(move |request| match request.path() {
        path if path.ends_with("/status") => match status_looks.fetch_add(1, Ordering::SeqCst) {
            3 => ended("OK"),
            _ => running(),
        },
        path if path.ends_with("/log") => match log_looks.fetch_add(1, Ordering::SeqCst) {
            0 => ScriptedReply::body(r#"{"total":1,"data":[{"n":1,"t":"no content"}]}"#),
            look => log(request, &LINES[..(2 * look).min(LINES.len())]),
        },
        _ => ScriptedReply::data("[]"),
    });
    let said = wait(&over(&node), UPID);
    assert_eq!(said.progress, ["one\ntwo [31m", "three\nfour", "five\nTASK OK"], "{said:?}");
    assert_eq!(said.structured["log"].as_array().map(Vec::len), Some(LINES.len()));
}

#[test]
fn of_a_long_log_the_last_lines_are_told_and_few_are_asked_for() {
    let lines: Vec<&'static str> = (0..10_000).map(|n| &*format!("line {n}").leak()).collect();
    let node = node(|_| ended("it broke"), lines.leak());
    let said = wait(&over(&node), UPID);
    assert!(said.failed && said.text.contains("the last 20 of 10000 lines"), "{said:?}");
    assert!(said.text.contains("\nline 9980\n") && said.text.ends_with("\nline 9999"), "{said:?}");
    assert_eq!(node.requests().iter().filter(|r| r.path().ends_with("/log")).count(), 2);
    assert!(said.progress[0].lines().count() <= 20);
}

#[test]
fn hostile_answers_are_bounded() {
    let node = Node::start(|request| match request.path() {
        path if path.ends_with("/status") => ended(&"\u{7}x\n".repeat(10_000)),
        path if path.ends_with("/log") => {
            let rows = vec![json!({"n": 1, "t": "y".repeat(5_000)}); 1_000];
            ScriptedReply::body(json!({"total": u64::MAX, "data": rows}).to_string())
        }
        _ => ScriptedReply::data(r#"{"not":"a list"}"#),
    });
    let said = wait(&over(&node), UPID);
    assert!(said.failed && said.text.len() < 12_000, "{} bytes", said.text.len());
    assert!(!said.text.contains('\u{7}'));
    for status in ["7", "null", "[]", r#"{"status":7}"#] {
        let node = self::node(move |_| ScriptedReply::data(status), &[]);
        assert!(wait(&over(&node), UPID).failed, "{status}");
    }
}

fn called(name: &str, cluster: ClusterConfig) -> ClusterConfig {
    ClusterConfig { name: name.into(), ..cluster }
}

#[test]
fn of_several_clusters_the_one_that_knows_the_task_is_asked() {
    let (one, two) = (demo(Duration::ZERO), demo(Duration::ZERO));
    let down = ClusterConfig { endpoints: vec![closed_endpoint()], ..called("down", one.cluster()) };
    let clusters = vec![called("one", one.cluster()), down, called("two", two.cluster())];
    let upid = post(&product(vec![two.cluster()]), "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before"}));
    let server = product(clusters);
    let said = wait(&server, &upid);
    assert!(!said.failed && said.text.starts_with("OK: "), "{said:?}");
    assert_eq!(said.structured["cluster"], "two");
    let said = call(&server, "wait_for_task", json!({"upid": upid, "cluster": "two"}));
    assert!(!said.failed, "{said:?}");
}

#[test]
fn a_task_that_no_cluster_knows_names_them_all() {
    let (one, two) = (demo(Duration::ZERO), demo(Duration::ZERO));
    let server = product(vec![called("one", one.cluster()), called("two", two.cluster())]);
    let said = wait(&server, UPID);
    assert!(said.failed && said.text.contains("`cluster`"), "{said:?}");
    assert!(said.text.contains("cluster one: ") && said.text.contains("cluster two: "), "{said:?}");
}

#[test]
fn what_is_no_upid_or_no_time_is_refused_without_a_request() {
    let node = Node::start(|_| ScriptedReply::hang());
    let server = over(&node);
    for upid in ["100", "UPID:pve1", "UPID:../x:1:1:1:a:b:c:"] {
        let said = wait(&server, upid);
        assert!(said.failed && said.text.contains("UPID:pve1:000001C1"), "{said:?}");
    }
    for timeout in ["0", "3601", "-1", "soon", "1e3"] {
        let said = call(&server, "wait_for_task", json!({"upid": UPID, "timeout": timeout}));
        assert!(said.failed && said.text.contains("1 to 3600"), "{said:?}");
    }
    assert!(call(&server, "wait_for_task", json!({})).failed);
    assert!(node.requests().is_empty());
}
