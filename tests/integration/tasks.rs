//! `wait_for_task` as a client sees it, over the simulated cluster or a misbehaving node.

use crate::support::node::{Node, Request, ScriptedReply, closed_endpoint};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, as_json, call, call_with};
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
    let result = call(server, "proxmox_api_call", as_json(arguments));
    assert!(!result.failed, "{result:?}");
    serde_json::from_str(&result.text).expect("JSON")
}

fn post(server: &McpServer, path: &str, data: Value) -> String {
    api(server, json!({"path": path, "method": "POST", "data": data})).as_str().expect("a UPID").to_owned()
}

fn wait(server: &McpServer, upid: &str) -> ToolResult {
    call(server, "wait_for_task", json!({"upid": upid}))
}

/// Starts a node with a task. `status` returns the answer to the nth status request. The task's log has these lines.
fn start_node(status: impl Fn(usize) -> ScriptedReply + Send + Sync + 'static, lines: &'static [&'static str]) -> Node {
    let looks = AtomicUsize::new(0);
    Node::start(move |request| match request.path() {
        path if path.ends_with("/status") => status(looks.fetch_add(1, Ordering::SeqCst)),
        path if path.ends_with("/log") => log(request, lines),
        path if path.ends_with("/nodes") => ScriptedReply::data(r#"[{"node":"pve1"}]"#),
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

fn start_server(node: &Node) -> McpServer {
    product(vec![node.cluster_settings()])
}

#[test]
fn successful_task_is_reported_with_its_duration_and_log() {
    let demo = demo(Duration::from_millis(200));
    let server = product(vec![demo.cluster()]);
    let upid = post(&server, "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before"}));
    let result = wait(&server, &format!("\"{upid}\""));
    assert!(!result.failed && result.text.starts_with("OK: qmsnapshot of guest 100 on pve1 took "), "{result:?}");
    assert_eq!(result.text.lines().last(), Some("TASK OK"), "{result:?}");
    let task = &result.structured;
    assert_eq!((&task["upid"], &task["node"], &task["type"]), (&json!(upid), &json!("pve1"), &json!("qmsnapshot")));
    assert_eq!((&task["status"], &task["exitstatus"], &task["id"]), (&json!("stopped"), &json!("OK"), &json!("100")));
    assert!(task["started"].is_u64() && task["seconds"].is_u64(), "{task}");
    assert_eq!(task["log"].as_array().and_then(|log| log.last()), Some(&json!("TASK OK")));
}

#[test]
fn finished_task_is_reported_with_its_duration() {
    let demo = demo(Duration::ZERO);
    let server = product(vec![demo.cluster()]);
    let tasks = api(&server, json!({"path": "/nodes/pve2/tasks", "data": {"typefilter": "vzdump"}}));
    let result = wait(&server, tasks["data"][0]["upid"].as_str().expect("a UPID"));
    assert!(result.text.starts_with("OK: vzdump on pve2 took "), "{result:?}");
    assert!(result.structured["seconds"].as_u64().is_some_and(|s| (60..3_600).contains(&s)), "{result:?}");
}

#[test]
fn failed_task_is_an_error_with_its_reason_and_log() {
    let demo = demo(Duration::ZERO);
    let server = product(vec![demo.cluster()]);
    let result =
        wait(&server, &post(&server, "/nodes/pve1/qemu/102/migrate", json!({"target": "pve2", "online": true})));
    let reason = "can't live migrate attached local disks without with-local-disks option";
    assert!(result.failed, "{result:?}");
    assert!(result.text.starts_with("FAILED: qmigrate of guest 102 on pve1"), "{result:?}");
    assert!(result.text.contains(&format!(": \"{reason}\". hint: ")), "{result:?}");
    assert!(result.text.ends_with(&format!("\nTASK ERROR: {reason}")), "{result:?}");
}

#[test]
fn task_with_warnings_succeeds_and_the_warnings_are_first() {
    let node = start_node(|_| ended("WARNINGS: 2"), &["WARN: a", "WARN: b", "TASK WARNINGS: 2"]);
    let result = wait(&start_server(&node), UPID);
    assert!(!result.failed && result.text.starts_with("WARNINGS: 2"), "{result:?}");
    assert!(result.text.contains("\nWARN: b\n"), "{result:?}");
    assert_eq!(
        (&result.structured["exitstatus"], &result.structured["seconds"]),
        (&json!("WARNINGS: 2"), &Value::Null)
    );
}

#[test]
fn task_that_outlasts_the_wait_continues_and_the_text_has_a_hint() {
    let demo = demo(Duration::from_secs(600));
    let server = product(vec![demo.cluster()]);
    let upid = post(&server, "/nodes/pve1/qemu/100/status/shutdown", json!({}));
    let result = call(&server, "wait_for_task", json!({"upid": upid, "timeout": "1"}));
    assert!(!result.failed && result.text.starts_with("RUNNING: qmshutdown of guest 100 on pve1, for "), "{result:?}");
    assert!(result.text.contains("wait_for_task") && result.text.contains(&format!("/tasks/{upid}/log")), "{result:?}");
    assert_eq!((&result.structured["status"], &result.structured["exitstatus"]), (&json!("running"), &Value::Null));
}

#[test]
fn cancelled_wait_ends_at_once_and_does_not_stop_the_task() {
    let demo = demo(Duration::from_secs(600));
    let server = product(vec![demo.cluster()]);
    let upid = post(&server, "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before"}));
    let cancel = CancelToken::new();
    let arguments = json!({"upid": upid, "timeout": "3600"});
    let result = thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (server, call_cancel) = (&server, cancel.clone());
        let call = scope.spawn(move || {
            call_with(server, "wait_for_task", arguments, call_cancel, &|_| sender.send(()).expect("a test"))
        });
        receiver.recv().expect("its first progress");
        cancel.cancel(CancelReason::Shutdown);
        call.join().expect("an answer")
    });
    assert!(!result.failed && result.text.starts_with("RUNNING: qmsnapshot of guest 100"), "{result:?}");
    assert_eq!(api(&server, json!({"path": format!("/nodes/pve1/tasks/{upid}/status")}))["status"], "running");
}

#[test]
fn task_not_yet_known_to_its_node_is_polled_again() {
    let node = start_node(|look| if look == 0 { no_such_task() } else { ended("OK") }, &["TASK OK"]);
    let result = wait(&start_server(&node), UPID);
    assert!(!result.failed && result.text.starts_with("OK: "), "{result:?}");
}

#[test]
fn unknown_task_is_an_error() {
    let node = start_node(|_| no_such_task(), &[]);
    let result = wait(&start_server(&node), UPID);
    assert!(result.failed && result.text.contains("knows no such task") && result.text.contains(UPID), "{result:?}");
    assert!(result.text.contains("GET /nodes/pve1/tasks"), "{result:?}");
}

#[test]
fn briefly_unreachable_node_is_polled_again() {
    let status = |look| match look {
        1..5 => ScriptedReply::close(),
        5 => ScriptedReply::refusal(595, "No route to host", ""),
        6 => ScriptedReply::refusal(500, "got timeout", ""),
        7 => ended("OK"),
        _ => running(),
    };
    let node = start_node(status, &["TASK OK"]);
    let result = wait(&start_server(&node), UPID);
    assert!(!result.failed && result.text.starts_with("OK: "), "{result:?}");
}

#[test]
fn unreachable_node_is_reported_and_the_task_is_not_stopped() {
    let node = start_node(
        |look| if look == 0 { running() } else { ScriptedReply::refusal(595, "No route to host", "") },
        &["a line"],
    );
    let result = call(&start_server(&node), "wait_for_task", json!({"upid": UPID, "timeout": "1"}));
    assert!(
        result.failed && result.text.contains("No route to host") && result.text.contains("continues by itself"),
        "{result:?}"
    );
    assert!(result.text.contains(UPID) && result.text.contains("wait_for_task"), "{result:?}");
}

#[test]
fn permanent_error_ends_the_wait() {
    let node = start_node(|_| ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Audit)", ""), &[]);
    let result = wait(&start_server(&node), UPID);
    assert!(result.failed && result.text.contains("Sys.Audit"), "{result:?}");
    assert_eq!(node.requests().iter().filter(|request| request.path().ends_with("/status")).count(), 1);
}

#[test]
fn new_log_lines_are_sent_as_progress_in_order_and_once() {
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
    let result = wait(&start_server(&node), UPID);
    assert_eq!(
        result.progress,
        ["\"one\"\n\"two\u{241b}[31m\"", "\"three\"\n\"four\"", "\"five\"\n\"TASK OK\""],
        "{result:?}"
    );
    assert_eq!(result.structured["log"].as_array().map(Vec::len), Some(LINES.len()));
}

#[test]
fn long_log_is_reported_by_its_last_lines_with_few_requests() {
    let lines: Vec<&'static str> = (0..10_000).map(|n| &*format!("line {n}").leak()).collect();
    let node = start_node(|_| ended("it broke"), lines.leak());
    let result = wait(&start_server(&node), UPID);
    assert!(result.failed && result.text.contains("the last 20 of 10000 lines"), "{result:?}");
    assert!(result.text.contains("\nline 9980\n") && result.text.ends_with("\nline 9999"), "{result:?}");
    assert_eq!(node.requests().iter().filter(|r| r.path().ends_with("/log")).count(), 2);
    assert!(result.progress[0].lines().count() <= 20);
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
    let result = wait(&start_server(&node), UPID);
    assert!(result.failed && result.text.len() < 12_000, "{} bytes", result.text.len());
    assert!(!result.text.contains('\u{7}'));
    for status in ["7", "null", "[]", r#"{"status":7}"#] {
        let node = start_node(move |_| ScriptedReply::data(status), &[]);
        assert!(wait(&start_server(&node), UPID).failed, "{status}");
    }
}

fn rename_cluster(name: &str, cluster: ClusterConfig) -> ClusterConfig {
    ClusterConfig { name: name.into(), ..cluster }
}

#[test]
fn task_is_polled_on_the_cluster_that_knows_it() {
    let (one, two) = (demo(Duration::ZERO), demo(Duration::ZERO));
    let down = ClusterConfig { endpoints: vec![closed_endpoint()], ..rename_cluster("down", one.cluster()) };
    let clusters = vec![rename_cluster("one", one.cluster()), down, rename_cluster("two", two.cluster())];
    let upid = post(&product(vec![two.cluster()]), "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before"}));
    let server = product(clusters);
    let result = wait(&server, &upid);
    assert!(!result.failed && result.text.starts_with("OK: "), "{result:?}");
    assert_eq!(result.structured["cluster"], "two");
    assert_eq!(result.more, ["on cluster two"], "{result:?}");
    let result = call(&server, "wait_for_task", json!({"upid": upid, "cluster": "two"}));
    assert!(!result.failed, "{result:?}");
}

#[test]
fn task_unknown_to_every_cluster_is_an_error_that_names_all() {
    let (one, two) = (demo(Duration::ZERO), demo(Duration::ZERO));
    let server = product(vec![rename_cluster("one", one.cluster()), rename_cluster("two", two.cluster())]);
    let result = wait(&server, UPID);
    assert!(result.failed && result.text.contains("`cluster`"), "{result:?}");
    assert!(result.text.contains("cluster one: ") && result.text.contains("cluster two: "), "{result:?}");
}

#[test]
fn invalid_upid_or_time_is_rejected_without_a_request() {
    let node = Node::start(|_| ScriptedReply::hang());
    let server = start_server(&node);
    for upid in ["100", "UPID:pve1", "UPID:../x:1:1:1:a:b:c:"] {
        let result = wait(&server, upid);
        assert!(result.failed && result.text.contains("a task's UPID"), "{upid}: {result:?}");
    }
    for timeout in ["0", "3601", "-1", "soon", "1.5"] {
        let result = call(&server, "wait_for_task", json!({"upid": UPID, "timeout": timeout}));
        assert!(result.failed && result.text.contains("1 to 3600"), "{result:?}");
    }
    assert!(call(&server, "wait_for_task", json!({})).failed);
    assert!(node.requests().is_empty());
}

/// Starts a node with the VMs 100 and 101. `status` returns the answer to the nth read of the state of VM 100, and whether
/// the list still has it.
fn start_guest_node(status: impl Fn(usize) -> (ScriptedReply, bool) + Send + Sync + 'static) -> Node {
    let reads = AtomicUsize::new(0);
    Node::start(move |request| {
        let read = || status(reads.fetch_add(1, Ordering::SeqCst));
        match request.path() {
            path if path.ends_with("/cluster/resources") => {
                let mut rows = vec![json!({"type": "qemu", "vmid": 101, "node": "pve1", "name": "other"})];
                if status(reads.load(Ordering::SeqCst)).1 {
                    rows.push(json!({"type": "qemu", "vmid": 100, "node": "pve1", "name": "web01"}));
                }
                ScriptedReply::data(&Value::from(rows).to_string())
            }
            path if path.ends_with("/qemu/100/status/current") => read().0,
            _ => ScriptedReply::refusal(501, "not implemented", r#"{"data":null}"#),
        }
    })
}

fn guest_runs() -> ScriptedReply {
    ScriptedReply::data(r#"{"vmid":100,"name":"web01","status":"running","qmpstatus":"running"}"#)
}

fn wait_for(node: &Node, state: &str) -> ToolResult {
    call(&product(vec![node.cluster_settings()]), "wait_for_task", json!({"upid": state, "timeout": 1}))
}

#[test]
fn wait_for_a_state_accepts_the_words_of_people_and_names_those_it_knows() {
    let node = start_guest_node(|_| (guest_runs(), true));
    for state in
        ["web01 running", "VM 100 is started", "web01 Running", "100 on", "vm:100 started", "/qemu/100 running"]
    {
        let result = wait_for(&node, state);
        assert!(!result.failed && result.text.starts_with("OK: VM 100"), "{state}: {result:?}");
    }
    for state in ["web01 happy", "100", "100 ha happy"] {
        let result = wait_for(&node, state);
        assert!(result.failed && result.text.contains("running, stopped, paused"), "{state}: {result:?}");
    }
    let result = wait_for(&node, "100 ha started");
    assert!(result.failed && result.text.contains("does not manage the guest: VM 100"), "{result:?}");
}

#[test]
fn wait_for_a_template_to_run_is_an_error() {
    let template = || ScriptedReply::data(r#"{"vmid":100,"name":"web01","status":"stopped","template":1}"#);
    let node = start_guest_node(move |_| (template(), true));
    let result = wait_for(&node, "100 running");
    assert!(result.failed && result.text.contains("guest 100 is a template"), "{result:?}");
    let result = wait_for(&node, "100 stopped");
    assert!(!result.failed, "{result:?}");
}

#[test]
fn wait_for_a_guest_that_is_deleted_meanwhile_ends() {
    let missing = || {
        let message = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist";
        ScriptedReply::refusal(500, message, r#"{"data":null}"#)
    };
    let delete_after_a_read = move |nth| if nth == 0 { (guest_runs(), true) } else { (missing(), false) };
    let result = wait_for(&start_guest_node(delete_after_a_read), "100 stopped");
    assert!(result.failed && result.text.contains("guest 100 was deleted while the call waited"), "{result:?}");
    let result = wait_for(&start_guest_node(delete_after_a_read), "100 gone");
    assert!(!result.failed && result.text.starts_with("OK: guest 100 does not exist"), "{result:?}");
    let result = wait_for(&start_guest_node(|_| (guest_runs(), true)), "100 gone");
    assert!(!result.failed && result.text.starts_with("NOT YET gone: VM 100"), "{result:?}");
}

#[test]
fn wait_for_a_state_that_may_not_be_read_ends_after_one_read() {
    let node = start_guest_node(|_| {
        let message = "Permission check failed (/vms/100, VM.Audit)";
        (ScriptedReply::refusal(403, message, r#"{"data":null}"#), true)
    });
    let result = wait_for(&node, "100 stopped");
    assert!(result.failed && result.text.contains("the API token needs VM.Audit on /vms/100"), "{result:?}");
    let reads = node.requests().into_iter().filter(|request| request.path().ends_with("/status/current"));
    assert_eq!(reads.count(), 1);
}
