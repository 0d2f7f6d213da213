//! Several calls in one call of `proxmox_api_call`: checked together, confirmed by one question, and sent in their order
//! until one fails.

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{
    ALL, RecordingNode, answer_question, caller, client, confirmation_code_in, confirming_policy, modern, open_policy,
    protected,
};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::test_tools::{ManualClock, product_with};
use crate::support::tool::{ToolResult, ToolServer, answer_to, call_with};
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::policy::ClusterPolicy;
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const CALL: &str = "proxmox_api_call";

/// The task that every POST of the node starts.
const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmsnapshot:100:root@pam!mcp:";

fn memory(guest: &str) -> Value {
    json!({"path": format!("/qemu/{guest}/config"), "method": "PUT", "data": {"memory": 4096}})
}

fn stop(guest: &str) -> Value {
    json!({"path": format!("/qemu/{guest}/status/stop"), "method": "POST"})
}

fn snapshot(guest: &str) -> Value {
    json!({"path": format!("/qemu/{guest}/snapshot"), "method": "POST", "data": {"snapname": "before"}})
}

const MEMORY_100: &str = "PUT /nodes/pve1/qemu/100/config";
const MEMORY_101: &str = "PUT /nodes/pve2/qemu/101/config";
const STOP_100: &str = "POST /nodes/pve1/qemu/100/status/stop";
const STOP_101: &str = "POST /nodes/pve2/qemu/101/status/stop";

/// Returns the answer of a node whose changes start a task that ends with `exit`.
fn task_reply(request: &Request, exit: &str) -> Option<ScriptedReply> {
    let path = request.path();
    match request.method.as_str() {
        "POST" => Some(ScriptedReply::data(&json!(UPID).to_string())),
        "PUT" | "DELETE" => Some(ScriptedReply::data("null")),
        _ if path.ends_with("/status") && path.contains("/tasks/") => {
            Some(ScriptedReply::data(&json!({"status": "stopped", "exitstatus": exit}).to_string()))
        }
        _ if path.ends_with("/log") => Some(ScriptedReply::data(r#"[{"n":1,"t":"a line of the log"}]"#)),
        _ => None,
    }
}

fn start(policy: ClusterPolicy) -> ToolServer {
    start_with(policy, |request| task_reply(request, "OK"))
}

fn start_with(
    policy: ClusterPolicy,
    answer: impl Fn(&Request) -> Option<ScriptedReply> + Send + Sync + 'static,
) -> ToolServer {
    let node = RecordingNode::with(gzipped_facts(), answer);
    let clusters = vec![node.cluster("prod", policy)];
    ToolServer::for_clients(node, clusters, &[client("ada", ALL, &[])])
}

fn run(server: &ToolServer, calls: &[Value], more: Value) -> ToolResult {
    let mut arguments = json!({"calls": calls});
    more.as_object().expect("arguments").iter().for_each(|(name, value)| arguments[name] = value.clone());
    server.call_as(0, CALL, arguments)
}

fn code_for(server: &ToolServer, calls: &[Value]) -> String {
    let asked = run(server, calls, json!({}));
    assert!(asked.failed, "{asked:?}");
    assert_eq!(server.node.writes(), [""; 0]);
    confirmation_code_in(&asked.text)
}

#[test]
fn list_is_sent_in_its_order_without_a_question_if_nothing_asks_for_one() {
    let server = start(confirming_policy());
    let result = run(&server, &[memory("101"), snapshot("web01"), memory("100")], json!({}));
    assert!(!result.failed && result.text.starts_with("3 of 3 calls are done"), "{result:?}");
    assert!(result.text.contains("2. POST /nodes/pve1/qemu/100/snapshot:\nOK: qmsnapshot of guest 100"), "{result:?}");
    assert_eq!(server.node.writes(), [MEMORY_101, "POST /nodes/pve1/qemu/100/snapshot", MEMORY_100]);
    assert_eq!(result.structured["calls"][2]["end"], "done", "{result:?}");
}

#[test]
fn one_question_lists_every_call_with_its_guest_and_all_that_is_sent() {
    let server = start(confirming_policy());
    let asked = run(&server, &[memory("100"), stop("101"), stop("web01")], json!({}));
    assert!(asked.failed, "{asked:?}");
    for part in [
        "3 calls on prod, in this order, until one fails:",
        "VM 100 \"web01\"",
        "memory",
        "4096",
        "\n2. Stop VM 101 \"db01\"",
        "\n3. Stop VM 100 \"web01\"",
        "\nPOST /nodes/pve2/qemu/101/status/stop\n",
    ] {
        assert!(asked.text.contains(part), "{part}: {}", asked.text);
    }
    assert_eq!(server.node.writes(), [""; 0]);
}

#[test]
fn code_covers_exactly_the_list() {
    let server = start(confirming_policy());
    let list = [memory("100"), stop("101"), stop("100")];
    let code = code_for(&server, &list);
    let mut other_memory = memory("100");
    other_memory["data"]["memory"] = 8192.into();
    for others in [
        vec![stop("101"), memory("100"), stop("100")],
        vec![memory("100"), stop("101")],
        vec![memory("100"), stop("101"), stop("100"), memory("100")],
        vec![other_memory, stop("101"), stop("100")],
        vec![stop("101")],
    ] {
        let result = run(&server, &others, json!({"confirm": code}));
        assert!(result.failed && result.text.contains("not for this call"), "{result:?}");
        assert_eq!(server.node.writes(), [""; 0], "{others:?}");
    }
    let result = run(&server, &list, json!({"confirm": code}));
    assert!(!result.failed, "{result:?}");
    assert_eq!(server.node.writes(), [MEMORY_100, STOP_101, STOP_100]);
    let again = run(&server, &list, json!({"confirm": code}));
    assert!(again.failed && again.text.contains("was used before"), "{again:?}");
    assert_eq!(server.node.writes(), [""; 0]);
}

#[test]
fn client_that_shows_questions_answers_one_for_the_list() {
    for (action, sent) in [("accept", &[STOP_101, STOP_100][..]), ("decline", &[]), ("cancel", &[])] {
        let server = start(confirming_policy());
        let list = json!({"calls": [stop("101"), stop("100")]});
        let ask = |more| answer_to(&server.server, &server.callers[0], modern(CALL, &list, true, more));
        let asked = ask(json!({}));
        assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
        let message = asked["result"]["inputRequests"]["confirm"]["params"]["message"].as_str().expect("a question");
        assert!(message.contains("2. Stop VM 100 \"web01\""), "{message}");
        assert_eq!(server.node.writes(), [""; 0]);
        let answer = ask(answer_question(&asked["result"]["requestState"], action, Value::Null));
        assert_eq!(answer["result"]["isError"], if action == "accept" { Value::Null } else { true.into() }, "{answer}");
        assert_eq!(server.node.writes(), sent);
    }
}

#[test]
fn nothing_of_a_list_is_sent_if_one_call_is_refused() {
    let policy = ClusterPolicy { protect: protected(&["101"]), ..open_policy() };
    let server = start(policy);
    for (refused, reason) in [
        (memory("101"), "guest 101 is protected"),
        (json!({"path": "/qemu/100/config", "method": "PUT", "data": {"memroy": 1}}), "memory"),
        (json!({"path": "/qemu/999/config", "method": "PUT", "data": {"memory": 1024}}), "999"),
        (json!({"path": "/qemu/100/konfig", "method": "PUT"}), "konfig"),
    ] {
        for list in [[memory("100"), refused.clone()], [refused.clone(), memory("100")]] {
            let result = run(&server, &list, json!({}));
            assert!(result.failed && result.text.contains(reason), "{reason}: {result:?}");
            assert!(result.text.starts_with("no call of the list was sent"), "{result:?}");
            assert_eq!(server.node.writes(), [""; 0], "{reason}");
        }
    }
}

#[test]
fn list_stops_at_the_first_failure() {
    let server = start_with(open_policy(), |request| {
        let is_locked = request.method == "PUT" && request.path().contains("/101/");
        is_locked.then(|| server_error("VM is locked (backup)")).or_else(|| task_reply(request, "OK"))
    });
    let result = run(&server, &[memory("100"), memory("101"), stop("100"), memory("100")], json!({}));
    assert!(result.failed, "{result:?}");
    for part in [
        "1 of 4 calls are done, 1 failed, 2 not begun",
        "\n2. failed: PUT /nodes/pve2/qemu/101/config: ",
        "locked",
        "\n3. not begun: POST /nodes/pve1/qemu/100/status/stop: call 2 failed",
        "\n4. not begun: PUT",
    ] {
        assert!(result.text.contains(part), "{part}: {}", result.text);
    }
    assert_eq!(server.node.writes(), [MEMORY_100, MEMORY_101]);
}

#[test]
fn task_that_fails_ends_the_list_before_a_call_that_depends_on_it() {
    for (waits, next, sent) in [(true, "100", 1), (true, "101", 1), (false, "100", 1), (false, "101", 2)] {
        let server = start_with(open_policy(), |request| task_reply(request, "snapshot feature is not available"));
        let result = run(&server, &[snapshot("100"), memory(next)], json!({"wait": waits}));
        assert!(result.failed && result.text.contains("1. failed: POST"), "{waits} {next}: {result:?}");
        assert_eq!(server.node.writes().len(), sent, "{waits} {next}: {result:?}");
        assert_eq!(result.text.contains("2. not begun: PUT"), sent == 1, "{waits} {next}: {result:?}");
    }
}

#[test]
fn task_that_is_not_followed_has_only_begun() {
    let server = start_with(open_policy(), |request| {
        let is_status = request.path().contains("/tasks/") && request.path().ends_with("/status");
        let running = || ScriptedReply::data(&json!({"status": "running"}).to_string());
        is_status.then(running).or_else(|| task_reply(request, "OK"))
    });
    let result = run(&server, &[snapshot("100"), memory("101")], json!({}));
    assert!(!result.failed && result.text.starts_with("1 of 2 calls are done, 1 begun\n"), "{result:?}");
    assert!(result.text.contains(&format!("1. begun: POST /nodes/pve1/qemu/100/snapshot:\n{UPID}\n")), "{result:?}");
    assert_eq!(result.structured["calls"][0]["end"], "begun", "{result:?}");
}

#[test]
fn call_waits_for_the_task_of_an_earlier_one_on_its_object() {
    let clone = |newid: u32| json!({"path": "/nodes/pve1/qemu/100/clone", "method": "POST", "data": {"newid": newid}});
    let new_vm = json!({"path": "/nodes/pve1/qemu/300/config", "method": "PUT", "data": {"memory": 4096}});
    let backup = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100", "storage": "local"}});
    let download = json!({"path": "/nodes/pve1/storage/local/download-url", "method": "POST",
        "data": {"content": "iso", "filename": "a.iso", "url": "https://example.org/a.iso"}});
    let drive = json!({"path": "/qemu/101/config", "method": "PUT", "data": {"ide2": "local:iso/a.iso,media=cdrom"}});
    let read = |guest: &str| json!({"path": format!("/qemu/{guest}/pending"), "method": "GET"});
    let stop_all = json!({"path": "/nodes/pve1/stopall", "method": "POST"});
    for (calls, waits) in [
        (vec![snapshot("100"), memory("100")], true),
        (vec![snapshot("100"), memory("101")], false),
        (vec![snapshot("100"), snapshot("101")], false),
        (vec![snapshot("100"), read("100")], true),
        (vec![snapshot("100"), read("101")], false),
        (vec![clone(300), new_vm], true),
        (vec![clone(300), clone(301)], false),
        (vec![clone(300), memory("100")], true),
        (vec![backup, memory("100")], true),
        (vec![download.clone(), drive], true),
        (vec![download, memory("101")], false),
        (vec![stop_all.clone(), memory("100")], true),
        (vec![stop_all, json!({"path": "/version", "method": "GET"})], false),
    ] {
        let order: Arc<Mutex<Vec<&str>>> = Arc::default();
        let seen = order.clone();
        let server = start_with(open_policy(), move |request| {
            let path = request.path();
            let step = match request.method.as_str() {
                "GET" if path.contains("/tasks/") && path.ends_with("/status") => "task",
                "GET" if path.ends_with("/pending") || path.ends_with("/version") => "read",
                "GET" => "",
                _ => "change",
            };
            seen.lock().expect("a list").push(step);
            task_reply(request, "OK")
        });
        let result = run(&server, &calls, json!({}));
        let order = order.lock().expect("a list");
        let is_read = calls[1]["method"] == "GET";
        let position = |wanted| order.iter().rposition(|step| *step == wanted);
        let last = if is_read { position("read") } else { position("change") };
        let task = order.iter().position(|step| *step == "task");
        assert!(!result.failed && task.is_some(), "{calls:?}: {result:?}");
        assert_eq!(task < last, waits, "{calls:?}: {result:?} {order:?}");
        assert!(result.text.contains("1. POST"), "{calls:?}: {result:?}");
    }
}

#[test]
fn each_task_is_followed_to_its_end_before_the_next_call() {
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = order.clone();
    let server = start_with(open_policy(), move |request| {
        let path = request.path();
        if request.method != "GET" || (path.contains("/tasks/") && path.ends_with("/status")) {
            seen.lock().expect("a list").push(request.method.clone());
        }
        task_reply(request, "OK")
    });
    let mut second = snapshot("100");
    second["data"]["snapname"] = "after".into();
    let result = run(&server, &[snapshot("100"), memory("100"), second], json!({"wait": true}));
    assert!(!result.failed && result.text.contains("OK: qmsnapshot of guest 100 on pve1"), "{result:?}");
    let mut order = order.lock().expect("a list").clone();
    order.dedup();
    assert_eq!(order, ["POST", "GET", "PUT", "POST", "GET"]);
}

#[test]
fn dry_run_plans_all_and_sends_nothing() {
    let server = start(confirming_policy());
    let result = run(&server, &[memory("100"), stop("101")], json!({"dry_run": true}));
    assert!(!result.failed && result.text.starts_with("Nothing was sent,"), "{result:?}");
    for part in ["1. ", "2. Stop VM 101 \"db01\"", "It has to be confirmed before it is sent"] {
        assert!(result.text.contains(part), "{part}: {}", result.text);
    }
    assert_eq!(server.node.writes(), [""; 0]);
}

#[test]
fn guest_that_an_earlier_call_moved_is_called_on_its_new_node() {
    let moved = Arc::new(Mutex::new(false));
    let server = start_with(open_policy(), move |request| {
        let mut moved = moved.lock().expect("a lock");
        let path = request.path();
        if request.method == "POST" && path.ends_with("/migrate") {
            *moved = true;
        }
        if *moved && path.ends_with("/cluster/resources") {
            let row = json!({"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "pve2", "name": "web01"});
            return Some(ScriptedReply::data(&json!([row]).to_string()));
        }
        task_reply(request, "OK")
    });
    let migrate = json!({"path": "/nodes/pve1/qemu/100/migrate", "method": "POST", "data": {"target": "pve2"}});
    let on_its_node = json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": {"memory": 4096}});
    let result = run(&server, &[migrate, on_its_node], json!({"wait": true}));
    assert!(!result.failed, "{result:?}");
    assert_eq!(server.node.writes(), ["POST /nodes/pve1/qemu/100/migrate", "PUT /nodes/pve2/qemu/100/config"]);
}

#[test]
fn guest_that_becomes_protected_meanwhile_is_not_changed() {
    let tagged = Arc::new(Mutex::new(false));
    let policy = ClusterPolicy { protect: protected(&["tag:critical"]), ..open_policy() };
    let server = start_with(policy, move |request| {
        let mut tagged = tagged.lock().expect("a lock");
        if request.path().ends_with("/cluster/resources") {
            let tags = if *tagged { "critical" } else { "" };
            let row = |vmid: u32| json!({"id": format!("qemu/{vmid}"), "type": "qemu", "vmid": vmid, "node": "pve1", "name": "x", "tags": tags});
            return Some(ScriptedReply::data(&json!([row(100), row(101)]).to_string()));
        }
        *tagged |= request.method != "GET";
        task_reply(request, "OK")
    });
    let result = run(&server, &[memory("100"), memory("101")], json!({}));
    assert!(result.failed && result.text.contains("protected guests: 101"), "{result:?}");
    assert_eq!(server.node.writes(), [MEMORY_100]);
}

#[test]
fn cancelled_list_begins_no_further_call() {
    for (reason, first) in [
        (CancelReason::Disconnected, "1. PUT"),
        // The end of the server does not wait for the answer.
        (CancelReason::Shutdown, "1. unknown"),
    ] {
        let cancel = CancelToken::new();
        let canceller = cancel.clone();
        let node = RecordingNode::with(gzipped_facts(), move |request| {
            if request.method != "GET" {
                canceller.cancel(reason);
            }
            task_reply(request, "OK")
        });
        let clusters = vec![node.cluster("prod", open_policy())];
        let server = ToolServer::new(node, clusters);
        let arguments = json!({"calls": [memory("100"), memory("101")]});
        let result = call_with(&server.server, CALL, arguments, cancel, &|_| ());
        let rest = format!("2. not begun: {MEMORY_101}: ");
        assert!(result.failed && result.text.contains(first) && result.text.contains(&rest), "{reason:?}: {result:?}");
        assert_eq!(server.node.writes(), [MEMORY_100], "{reason:?}");
    }
}

#[test]
fn arguments_of_a_list_are_checked() {
    let server = start(open_policy());
    let many: Vec<Value> = (0..21).map(|_| memory("100")).collect();
    for (arguments, problem) in [
        (json!({"calls": many}), "calls has 21: give 20 at most"),
        (json!({"calls": [memory("100")], "path": "/version"}), "calls and path are both given"),
        (json!({"calls": [memory("100")], "filter": "a=b"}), "calls and filter are both given"),
        (json!({"calls": [{"method": "PUT"}]}), "item 1 of calls: path is missing"),
        (
            json!({"calls": [memory("100"), {"path": "/version", "cluster": "lab"}]}),
            "item 2 of calls: unknown argument \"cluster\"",
        ),
        (json!({"calls": [{"path": "/version", "action": "x"}]}), "item 1 of calls: unknown argument \"action\""),
        (json!({"calls": [{"path": "/version", "method": "PATCH"}]}), "item 1 of calls: method must be one of"),
        (json!({"calls": ["/version"]}), "calls must be a list of objects with path, method, data"),
        (json!({"calls": []}), "path is missing (or several calls in calls)"),
        (json!({}), "path is missing (or several calls in calls)"),
    ] {
        let result = server.call_as(0, CALL, arguments.clone());
        assert!(result.failed && result.text.contains(problem), "{arguments}: {result:?}");
    }
    // A member that is there twice, within JSON text.
    let twice = r#"[{"path":"/qemu/100/config","method":"PUT","data":{"memory":1,"memory":2}}]"#;
    let result = server.call_as(0, CALL, json!({"calls": twice}));
    assert!(result.failed && result.text.contains("memory"), "{result:?}");
    assert_eq!(server.node.writes(), [""; 0]);
    for calls in [
        json!([memory("100")]).to_string().into(),
        json!([memory("100").to_string()]),
        memory("100"),
        json!([{"path": "PUT /qemu/100/config", "method": null, "data": "{\"memory\": 4096}"}]),
    ] {
        let result = server.call_as(0, CALL, json!({"calls": calls}));
        assert!(!result.failed, "{calls}: {result:?}");
        assert_eq!(server.node.writes(), [MEMORY_100], "{calls}");
    }
}

#[test]
fn each_call_of_a_list_has_its_audit_lines() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("audit.log");
    let (node, ada) =
        (RecordingNode::with(gzipped_facts(), |request| task_reply(request, "OK")), client("ada", ALL, &[]));
    let clusters = vec![node.cluster("prod", confirming_policy())];
    let log = AuditLog::open(&path).expect("an audit log");
    let server = product_with(clusters, std::slice::from_ref(&ada), &ManualClock::new(), log);
    let list = json!({"calls": [memory("100"), stop("101")]});
    let ask = |more| answer_to(&server, &caller(&ada), modern(CALL, &list, true, more));
    let asked = ask(json!({}));
    ask(answer_question(&asked["result"]["requestState"], "accept", Value::Null));
    let text = fs::read_to_string(&path).expect("the audit log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line["operation"].as_str().is_some_and(|operation| !operation.starts_with("GET")))
        .map(|line| format!("{} {} {}", line["event"], line["decision"], line["operation"]).replace('"', ""))
        .collect();
    assert_eq!(
        lines,
        [
            format!("asked asked {MEMORY_100}"),
            format!("asked asked {STOP_101}"),
            format!("begin confirmed {MEMORY_100}"),
            format!("end confirmed {MEMORY_100}"),
            format!("begin confirmed {STOP_101}"),
            format!("end confirmed {STOP_101}"),
        ]
    );
}
