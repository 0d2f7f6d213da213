//! Calls that continue as tasks (the extension for tasks, 2026-07-28), over HTTP.

use crate::support::node::ScriptedReply;
use crate::support::policy::{ALL, RecordingNode, client, confirming_policy, open_policy, patterns, protected, rights};
use crate::support::proxmox::gzipped_facts;
use crate::support::rpc::{MODERN, modern_headers, request};
use crate::support::server::TestServer;
use crate::support::tasks::{HeldTask, INTERRUPTED, TaskClient, UPID, task_capabilities};
use crate::support::test_tools::product_for;
use proxmox_mcp::config::Client;
use proxmox_mcp::policy::{AccessLevel, ClusterPolicy, ConfirmationPolicy};
use proxmox_mcp::tools::UNTRUSTED_NOTICE;
use serde_json::{Value, json};
use std::thread;

/// A server over the node of a held task, with the clients `ada` and `bob` (all permissions), `oda` (operate) and `rea`
/// (read).
struct Lab {
    task: HeldTask,
    node: RecordingNode,
    server: TestServer,
}

impl Lab {
    fn start() -> Self {
        Self::with_policy(open_policy())
    }

    fn with_policy(policy: ClusterPolicy) -> Self {
        let task = HeldTask::default();
        let node = task.start_node();
        let clients: Vec<Client> = [
            ("ada", ALL),
            ("bob", ALL),
            ("oda", rights(AccessLevel::Operate, false)),
            ("rea", rights(AccessLevel::Read, false)),
        ]
        .map(|(name, permissions)| client(name, permissions, &[]))
        .into();
        let mcp = product_for(vec![node.cluster("lab", policy)], &clients);
        let server = TestServer::builder().clients(clients).mcp(mcp).start();
        Self { task, node, server }
    }

    fn client(&self, name: &str) -> TaskClient {
        TaskClient::new(self.server.address, name)
    }

    /// Returns the client without the extension.
    fn plain_client(&self, name: &str) -> TaskClient {
        self.client(name).with_capabilities(json!({"elicitation": {}}))
    }
}

fn wait_for(client: &TaskClient, more: Value) -> Value {
    let mut arguments = json!({"upid": UPID});
    more.as_object().expect("arguments").iter().for_each(|(name, value)| arguments[name] = value.clone());
    client.call("wait_for_task", arguments)
}

/// Removes what differs from call to call: the id of the call.
fn without_meta(mut result: Value) -> Value {
    result.as_object_mut().expect("an object").remove("_meta");
    result
}

fn texts(result: &Value) -> Vec<&str> {
    result["content"].as_array().unwrap_or_else(|| panic!("no content: {result}")).iter().map(text_of).collect()
}

fn text_of(content: &Value) -> &str {
    content["text"].as_str().expect("a text")
}

#[test]
fn extension_is_announced_by_discover_alone() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let discovered = client.send("server/discover", json!({})).json();
    assert_eq!(discovered["result"]["capabilities"]["extensions"], task_capabilities()["extensions"], "{discovered}");
    assert!(discovered["result"]["capabilities"].get("tasks").is_none(), "{discovered}");
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    let initialized = client.send_with_headers("", &request(1, "initialize", params)).json();
    assert!(initialized["result"]["capabilities"].get("extensions").is_none(), "{initialized}");
}

#[test]
fn call_that_outlasts_two_seconds_continues_as_a_task() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let started = client.back_up();
    assert_eq!((&started["resultType"], &started["status"]), (&json!("task"), &json!("working")), "{started}");
    assert_eq!(started["statusMessage"], format!("vzdump of guest 100 on pve1, task {UPID}"));
    assert!(started["ttlMs"].as_u64() > Some(3_600_000) && started["pollIntervalMs"].as_u64() > Some(0), "{started}");
    assert_eq!(started["createdAt"], started["lastUpdatedAt"]);
    for absent in ["content", "result", "error", "requestState", "inputRequests", "task"] {
        assert!(started.get(absent).is_none(), "{started}");
    }
    let id = started["taskId"].as_str().expect("an id");
    // Claude Code accepts ids of at most 128 characters.
    assert!(id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{id}");

    let working = client.get(id);
    assert_eq!((&working["resultType"], &working["status"]), (&json!("complete"), &json!("working")), "{working}");
    assert_eq!((&working["taskId"], &working["createdAt"]), (&started["taskId"], &started["createdAt"]));
    assert_eq!(working["statusMessage"], "vzdump of guest 100 on pve1 continues");
    assert!(working.get("result").is_none() && working["ttlMs"] == started["ttlMs"], "{working}");
    lab.task.log("INFO: 10%");
    lab.task.log("INFO: 20%\u{1b}[31m");
    assert_eq!(client.get(id)["statusMessage"], "\"INFO: 20%\u{241b}[31m\"");
    lab.task.log("TASK OK");
    lab.task.end("OK");
    let completed = client.get(id);
    assert_eq!((&completed["resultType"], &completed["status"]), (&json!("complete"), &json!("completed")));
    assert_eq!(completed["statusMessage"], "\"TASK OK\"");
    let result = &completed["result"];
    assert!(texts(result)[0].starts_with("OK: vzdump of guest 100 on pve1 took 42 s\n"), "{completed}");
    assert!(texts(result)[0].ends_with(UNTRUSTED_NOTICE), "{completed}");
    assert!(result.get("isError").is_none() && result["resultType"] == "complete", "{completed}");
    assert_eq!(client.get(id), completed, "the state of an ended task does not change");
}

#[test]
fn completed_task_has_the_result_of_a_call_that_waited() {
    let lab = Lab::start();
    let (client, plain) = (lab.client("ada"), lab.plain_client("ada"));
    let by_wait = wait_for(&client, json!({}));
    assert_eq!(by_wait["resultType"], "task", "{by_wait}");
    // The number is corrected by the list of guests, which is a note of the call.
    let named = json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "s1"}, "wait": true});
    let by_call = client.call("proxmox_api_call", named.clone());
    let ids = [&by_wait, &by_call].map(|started| started["taskId"].as_str().expect("an id"));
    for (exit, start, failed) in [
        ("OK", "OK: vzdump of guest 100 on pve1", false),
        ("WARNINGS: 2", "WARNINGS: 2, see the log: vzdump of guest 100 on pve1", false),
        ("job errors", "FAILED: vzdump of guest 100 on pve1", true),
        ("unexpected status", "END UNKNOWN: vzdump of guest 100 on pve1", true),
    ] {
        lab.task.log("INFO: a line");
        lab.task.end(exit);
        let waited = [wait_for(&plain, json!({})), plain.call("proxmox_api_call", named.clone())];
        for (id, waited) in ids.into_iter().zip(waited) {
            let task = client.get(id);
            assert_eq!(task["status"], "completed", "{task}");
            assert_eq!(without_meta(task["result"].clone()), without_meta(waited.clone()), "{exit}");
            assert!(texts(&waited)[0].starts_with(start) && (waited["isError"] == true) == failed, "{waited}");
        }
        assert!(client.get(ids[1])["result"].to_string().contains("web01"), "the note of the call");
    }
}

#[test]
fn only_a_client_that_declares_the_extension_gets_a_task() {
    let lab = Lab::start();
    let arguments =
        json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100", "remove": false}, "wait": true});
    let params = json!({"name": "proxmox_api_call", "arguments": arguments});
    let undeclared = [
        json!({}),
        json!({"extensions": {}}),
        json!({"extensions": {"io.modelcontextprotocol/tasks": true}}),
        json!({"extensions": ["io.modelcontextprotocol/tasks"]}),
        json!({"extensions": {"io.modelcontextprotocol/ui": {}}}),
        json!({"tasks": {}}),
    ];
    thread::scope(|scope| {
        let mut calls: Vec<_> = undeclared
            .into_iter()
            .map(|capabilities| {
                let client = lab.client("ada").with_capabilities(capabilities);
                let params = params.clone();
                scope.spawn(move || client.send("tools/call", params).json())
            })
            .collect();
        // The hint of the era of 2025-11-25 asks for another kind of task.
        let legacy =
            request(1, "tools/call", json!({"name": "proxmox_api_call", "arguments": arguments, "task": {"ttl": 1}}));
        let client = lab.client("ada");
        calls.push(scope.spawn(move || client.send_with_headers("", &legacy).json()));
        // A client that supports tasks is answered meanwhile, so the others have waited for more than two seconds.
        lab.client("ada").start_task();
        lab.task.end("OK");
        for call in calls {
            let answer = call.join().expect("an answer");
            assert!(answer["result"].get("taskId").is_none(), "{answer}");
            assert!(texts(&answer["result"])[0].starts_with("OK: vzdump of guest 100 on pve1"), "{answer}");
        }
    });
}

#[test]
fn task_that_ends_within_two_seconds_is_answered_at_once() {
    let lab = Lab::start();
    lab.task.end_after_reads(2);
    let result = lab.client("ada").back_up();
    assert_eq!(result["resultType"], "complete", "{result}");
    assert!(texts(&result)[0].starts_with("OK: vzdump of guest 100 on pve1"), "{result}");
}

#[test]
fn wait_of_less_than_two_seconds_keeps_its_limit() {
    let lab = Lab::start();
    let result = wait_for(&lab.client("ada"), json!({"timeout": 1}));
    assert!(texts(&result)[0].starts_with("RUNNING: vzdump of guest 100 on pve1"), "{result}");
}

#[test]
fn call_without_wait_is_answered_at_once() {
    let lab = Lab::start();
    let arguments = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100"}});
    let result = lab.client("ada").call("proxmox_api_call", arguments);
    assert!(texts(&result)[0].contains(UPID) && result["resultType"] == "complete", "{result}");
}

#[test]
fn list_of_calls_is_followed_to_its_end_within_its_call() {
    let lab = Lab::start();
    let back_up = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100"}});
    let list = || json!({"calls": [back_up, back_up], "wait": true});
    lab.task.end_after_reads(4);
    let result = lab.client("ada").call("proxmox_api_call", list());
    assert!(result["resultType"] == "complete" && result.get("taskId").is_none(), "{result}");
    let text = texts(&result)[0];
    assert!(text.starts_with("2 of 2 calls are done") && result.get("isError").is_none(), "{text}");
    for number in 1..=2 {
        let end = format!("{number}. POST /nodes/pve1/vzdump: OK: vzdump of guest 100 on pve1");
        assert!(text.contains(&end), "{text}");
    }
    assert_eq!(lab.node.writes().len(), 2);
    // The node's answer decides the end of each call.
    let lab = Lab::start();
    lab.task.end("job errors");
    let result = lab.client("ada").call("proxmox_api_call", list());
    let text = texts(&result)[0];
    assert!(text.starts_with("0 of 2 calls are done, 1 failed, 1 not begun") && result["isError"] == true, "{text}");
    assert!(text.contains("2. not begun: POST /nodes/pve1/vzdump: call 1 failed"), "{text}");
    assert_eq!(lab.node.writes().len(), 1);
}

#[test]
fn task_starts_only_once_it_can_be_read() {
    let lab = Lab::start();
    let client = lab.client("ada");
    lab.task.answer_status_with(Some(ScriptedReply::refusal(595, "No route to host", "")));
    let started = thread::scope(|scope| {
        let call = scope.spawn(|| client.back_up());
        // Two seconds are over by then, as the polls are 0.1 s to 0.8 s apart.
        lab.task.wait_for_reads(9);
        lab.task.answer_status_with(None);
        call.join().expect("an answer")
    });
    assert_eq!(started["resultType"], "task", "{started}");
    // A lasting error is the result of the call.
    lab.task.answer_status_with(Some(ScriptedReply::refusal(403, "Permission check failed (/, Sys.Audit)", "")));
    let result = client.back_up();
    assert!(result["isError"] == true && texts(&result)[0].contains("Sys.Audit"), "{result}");
}

#[test]
fn task_whose_node_hangs_after_the_start_is_answered() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let started = thread::scope(|scope| {
        let call = scope.spawn(|| client.back_up());
        lab.task.wait_for_reads(1);
        lab.task.answer_status_with(Some(ScriptedReply::hang()));
        call.join().expect("an answer")
    });
    assert_eq!(started["resultType"], "task", "{started}");
    lab.task.answer_status_with(None);
    assert_eq!(client.get(started["taskId"].as_str().expect("an id"))["status"], "working");
}

#[test]
fn task_whose_id_would_be_too_long_is_waited_for() {
    let lab = Lab::start();
    let upid = UPID.replace("vzdump:100", &format!("download:{}", "x".repeat(100)));
    let client = lab.client("ada");
    let result = thread::scope(|scope| {
        let call = scope.spawn(|| client.call("wait_for_task", json!({"upid": upid})));
        // Two seconds are over by then, as the polls are 0.1 s to 0.8 s apart.
        lab.task.wait_for_reads(9);
        lab.task.end("OK");
        call.join().expect("an answer")
    });
    assert!(texts(&result)[0].starts_with("OK: download"), "{result}");
}

#[test]
fn question_is_answered_before_the_task_starts() {
    let lab = Lab::with_policy(confirming_policy());
    let mut capabilities = task_capabilities();
    capabilities["elicitation"] = json!({});
    let client = lab.client("ada").with_capabilities(capabilities);
    let arguments = json!({"path": "/nodes/pve1/qemu/110", "method": "DELETE", "wait": true});
    let question = client.call("proxmox_api_call", arguments.clone());
    assert_eq!(question["resultType"], "input_required", "{question}");
    assert!(question.get("taskId").is_none() && lab.node.writes().is_empty(), "{question}");
    let answer = json!({"name": "proxmox_api_call", "arguments": arguments, "requestState": question["requestState"],
        "inputResponses": {"confirm": {"action": "accept", "content": {"confirm": true}}}});
    let started = client.send("tools/call", answer).json();
    assert_eq!(started["result"]["resultType"], "task", "{started}");
    assert!(started["result"].get("requestState").is_none(), "{started}");
    assert_eq!(lab.node.writes(), ["DELETE /nodes/pve1/qemu/110"]);
}

#[test]
fn invalid_ids_of_any_kind_have_one_error() {
    let lab = Lab::start();
    let (ada, bob) = (lab.client("ada"), lab.client("bob"));
    let id = ada.start_task();
    let mut changed = id.clone();
    let middle = id.len() / 2;
    changed.replace_range(middle..=middle, if &id[middle..=middle] == "A" { "B" } else { "A" });
    lab.node.requests();
    let unknown = ada.error("tasks/get", "no-such-task");
    assert_eq!(unknown["code"], -32602, "{unknown}");
    assert!(unknown["message"].as_str().expect("a text").contains("wait_for_task"), "{unknown}");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for (client, id) in [
            (&bob, id.as_str()),
            (&ada, &changed),
            (&ada, &id[1..]),
            (&ada, &format!("{id}A")),
            (&ada, UPID),
            (&ada, "%00"),
            (&ada, "größe"),
            (&ada, &"A".repeat(3_000)),
            (&ada, ""),
        ] {
            let message = client.request(method, json!({"taskId": id}));
            let encoded = id.bytes().all(|b| b.is_ascii_graphic());
            let headers = match encoded && !id.is_empty() {
                true => modern_headers(&message),
                false => format!(
                    "MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\nMcp-Name: =?base64?{}?=\r\n",
                    if id.is_empty() { "" } else { "Z3LDtsOfZQ==" }
                ),
            };
            let reply = client.send_with_headers(&headers, &message);
            assert_eq!(reply.status, 400, "{method} {id}: {}", reply.body);
            let mut error = reply.json()["error"].clone();
            error.as_object_mut().expect("an error").remove("data");
            let mut expected = unknown.clone();
            expected.as_object_mut().expect("an error").remove("data");
            assert_eq!(error, expected, "{method} {id}");
        }
    }
    assert!(lab.node.requests().is_empty(), "nothing was asked of the cluster");
    assert_eq!(ada.get(&id)["status"], "working");
}

#[test]
fn client_without_the_extension_gets_the_missing_capability() {
    let lab = Lab::start();
    let id = lab.client("ada").start_task();
    let plain = lab.plain_client("ada");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for id in [id.as_str(), "no-such-task"] {
            let reply = plain.send(method, json!({"taskId": id}));
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32021)), "{}", reply.body);
            assert_eq!(reply.json()["error"]["data"], json!({"requiredCapabilities": task_capabilities()}));
        }
        let legacy = plain.send_with_headers("", &request(1, method, json!({"taskId": id})));
        assert_eq!((legacy.status, &legacy.json()["error"]["code"]), (200, &json!(-32601)), "{}", legacy.body);
    }
    for method in ["tasks/list", "tasks/result"] {
        let reply = lab.client("ada").send(method, json!({"taskId": id}));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!(-32601)), "{}", reply.body);
    }
}

#[test]
fn headers_must_name_the_task() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let (id, other) = (client.start_task(), client.start_task());
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let message = client.request(method, json!({"taskId": id}));
        let headers =
            |method: &str, name: &str| format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{name}");
        for headers in [
            headers(method, ""),
            headers(method, &format!("Mcp-Name: {other}\r\n")),
            headers(method, &format!("Mcp-Name: {}\r\n", id.to_ascii_lowercase())),
            headers("tools/call", &format!("Mcp-Name: {id}\r\n")),
        ] {
            let reply = client.send_with_headers(&headers, &message);
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32020)), "{headers}");
        }
        let reply = client.send(method, json!({}));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32602)), "{}", reply.body);
        let reply = client.send(method, json!({"taskId": 7}));
        assert_eq!(reply.status, 400, "{}", reply.body);
    }
    assert!(lab.node.writes().iter().all(|write| write.starts_with("POST")), "nothing was stopped");
}

#[test]
fn update_is_acknowledged_and_changes_nothing() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let id = client.start_task();
    for responses in [json!({}), json!({"x": {"action": "accept"}}), Value::Null] {
        let answer = client.send("tasks/update", json!({"taskId": id, "inputResponses": responses})).json();
        assert_eq!(without_meta(answer["result"].clone()), json!({"resultType": "complete"}), "{answer}");
    }
    let answer = client.send("tasks/update", json!({"taskId": id, "inputResponses": 7})).json();
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(client.get(&id)["status"], "working");
}

#[test]
fn cancel_stops_the_task_and_its_state_says_so() {
    let lab = Lab::start();
    for name in ["ada", "oda"] {
        let client = lab.client(name);
        lab.task.run();
        let id = client.start_task();
        lab.task.log("INFO: 10%");
        lab.node.requests();
        for _ in 0..2 {
            let answer = client.send("tasks/cancel", json!({"taskId": id})).json();
            assert_eq!(without_meta(answer["result"].clone()), json!({"resultType": "complete"}), "{answer}");
        }
        assert_eq!(lab.node.writes(), vec![format!("DELETE /nodes/pve1/tasks/{UPID}"); 2]);
        let task = client.get(&id);
        assert_eq!((&task["status"], &task["resultType"]), (&json!("cancelled"), &json!("complete")), "{task}");
        assert_eq!(task["statusMessage"], format!("vzdump of guest 100 on pve1 was stopped: \"{INTERRUPTED}\""));
        assert!(task.get("result").is_none() && task.get("error").is_none(), "{task}");
    }
}

#[test]
fn cancelled_task_that_completes_anyway_is_completed() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let id = client.start_task();
    lab.task.end("OK");
    let answer = client.send("tasks/cancel", json!({"taskId": id})).json();
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(client.get(&id)["status"], "completed");
}

#[test]
fn cancel_is_denied_by_level_and_policy() {
    for (name, policy, expected) in [
        ("rea", open_policy(), "client \"rea\" has"),
        ("ada", confirming_policy(), "has to be confirmed"),
        ("ada", ClusterPolicy { deny: patterns(&["DELETE /nodes/*/tasks/*"]), ..open_policy() }, "deny"),
        ("ada", ClusterPolicy { protect: protected(&["100"]), ..open_policy() }, "protect"),
    ] {
        let lab = Lab::with_policy(policy);
        let client = lab.client(name);
        let started = wait_for(&client, json!({}));
        let id = started["taskId"].as_str().unwrap_or_else(|| panic!("{started}"));
        lab.node.requests();
        let error = client.error("tasks/cancel", id);
        let text = error["message"].as_str().expect("a text");
        assert!(error["code"] == -32602 && text.contains(expected), "{error}");
        assert!(text.contains("Nothing was sent") && lab.node.writes().is_empty(), "{error}");
        assert_eq!(client.get(id)["status"], "working", "{name}");
    }
}

#[test]
fn task_of_the_clients_own_call_is_stopped_without_a_question() {
    let lab = Lab::with_policy(confirming_policy());
    let client = lab.client("ada");
    let id = client.start_task();
    lab.node.requests();
    client.result("tasks/cancel", json!({"taskId": id}));
    assert_eq!(lab.node.writes(), [format!("DELETE /nodes/pve1/tasks/{UPID}")]);
    let lab = Lab::with_policy(ClusterPolicy { confirm: ConfirmationPolicy::Writes, ..open_policy() });
    let client = lab.client("ada");
    let id = wait_for(&client, json!({}))["taskId"].as_str().expect("an id").to_owned();
    assert!(client.error("tasks/cancel", &id)["message"].to_string().contains("has to be confirmed"));
}

#[test]
fn cancel_that_the_node_refuses_is_an_error_with_its_reason() {
    let task = HeldTask::default();
    let script = task.clone();
    let node = RecordingNode::with(gzipped_facts(), move |request| {
        let refuses = request.method == "DELETE";
        let refusal = || ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Modify)", "");
        refuses.then(refusal).or_else(|| script.answer(request))
    });
    let clients = [client("ada", ALL, &[])];
    let mcp = product_for(vec![node.cluster("lab", open_policy())], &clients);
    let server = TestServer::builder().clients(clients.to_vec()).mcp(mcp).start();
    let client = TaskClient::new(server.address, "ada");
    let id = client.start_task();
    let error = client.error("tasks/cancel", &id);
    assert!(error["code"] == -32603 && error["message"].to_string().contains("Sys.Modify"), "{error}");
}

#[test]
fn secrets_in_the_log_are_removed_below_full() {
    const SECRET: &str = "5ec2e7-in-a-log";
    let lab = Lab::start();
    let (ada, rea) = (lab.client("ada"), lab.client("rea"));
    let ids = [&ada, &rea].map(|client| wait_for(client, json!({}))["taskId"].as_str().expect("an id").to_owned());
    lab.task.log(&format!("mount with password={SECRET}"));
    for exit in [None, Some("OK"), Some("mount failed: password=5ec2e7-in-a-log")] {
        if let Some(exit) = exit {
            lab.task.end(exit);
        }
        for (client, id, shows) in [(&ada, &ids[0], true), (&rea, &ids[1], false)] {
            let task = client.get(id);
            assert_eq!(task.to_string().contains(SECRET), shows, "{task}");
        }
    }
}

#[test]
fn failed_read_is_reported_and_not_final() {
    let lab = Lab::start();
    let client = lab.client("ada");
    let id = client.start_task();
    for (reply, reason) in [
        (ScriptedReply::refusal(595, "No route to host", ""), "No route to host"),
        (ScriptedReply::refusal(500, "got timeout", ""), "got timeout"),
        (ScriptedReply::close(), "connection"),
        (ScriptedReply::data("7"), "does not name the state"),
    ] {
        lab.task.answer_status_with(Some(reply));
        let task = client.get(&id);
        let message = task["statusMessage"].as_str().expect("a text");
        assert!(task["status"] == "working" && message.contains(reason), "{reason}: {task}");
        assert!(task.get("result").is_none() && task.get("error").is_none(), "{task}");
    }
    // A wait would have ended with these.
    let unknown = r#"{"data":null,"message":"x\n","errors":{"upid":"no such task"}}"#;
    for (reply, reason) in [
        (ScriptedReply::refusal(403, "Permission check failed (/, Sys.Audit)", ""), "Sys.Audit"),
        (ScriptedReply::refusal(400, "Parameter verification failed.", unknown), "knows no such task"),
    ] {
        lab.task.answer_status_with(Some(reply));
        let task = client.get(&id);
        assert!(task["status"] == "completed" && task["result"]["isError"] == true, "{task}");
        assert!(texts(&task["result"])[0].contains(reason), "{task}");
    }
    lab.task.answer_status_with(None);
    lab.task.end("OK");
    assert_eq!(client.get(&id)["status"], "completed");
}
