//! Tasks of the extension for tasks (2026-07-28) over the life of the program: a reload, a restart, the audit log, stdio.

use crate::support::process::ServerProcess;
use crate::support::program::{ADMIN, OPERATOR, ProgramServer, READER, lab};
use crate::support::raw::{LONG, eventually};
use crate::support::rpc::modern_with;
use crate::support::tasks::{HeldTask, TaskClient, UPID, task_capabilities};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;

/// Starts the server of [`lab`] over the node of a held task, with its audit log.
fn start(config: &Value) -> ProgramServer {
    ProgramServer::builder(config).audit_file().start()
}

fn client(server: &ProgramServer, token: &str) -> TaskClient {
    TaskClient::with_token(&server.address, token)
}

/// Changes the configuration, which the server then reloads.
fn change(server: &ProgramServer, config: &Value) {
    fs::write(&server.config, config.to_string()).expect("write");
    server.process.signal(Signal::HUP);
}

#[test]
fn reload_applies_to_running_tasks() {
    let task = HeldTask::default();
    let node = task.start_node();
    let config = lab(&node.node, &json!({"confirm": "never"}));
    let server = start(&config);
    let (operator, admin) = (client(&server, OPERATOR), client(&server, ADMIN));
    let id = operator.start_task();
    let with = |pointer: &str, value: Value| {
        let mut changed = config.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        changed.pointer_mut(parent).expect("a member")[name] = value;
        changed
    };
    change(&server, &with("/clients/operator/access", json!("read")));
    while !server.process.stderr.recv_timeout(LONG).expect("a line about the reload").contains("operator (read)") {}
    assert_eq!(operator.get(&id)["status"], "working");
    let error = operator.error("tasks/cancel", &id);
    assert!(error["code"] == -32602 && error["message"].to_string().contains("read"), "{error}");

    change(&server, &with("/clusters/lab/deny", json!(["GET /nodes/*/tasks/*/log"])));
    let ask = || operator.send("tasks/get", json!({"taskId": id}));
    eventually("the denial", || ask().json()["error"]["message"].to_string().contains("deny"));
    assert_eq!(operator.error("tasks/get", &id)["code"], -32602);

    let mut other = with("/clients/operator/clusters", json!(["other"]));
    other["clusters"]["other"] = config["clusters"]["lab"].clone();
    change(&server, &other);
    eventually("the loss of the cluster", || ask().json()["error"]["message"].to_string().contains("not valid"));
    for method in ["tasks/get", "tasks/cancel"] {
        let (no_access, no_task) = (operator.error(method, &id), operator.error(method, "no-such-task"));
        assert_eq!((&no_access["code"], &no_access["message"]), (&json!(-32602), &no_task["message"]), "{method}");
    }

    let mut removed = config.clone();
    removed["clients"].as_object_mut().expect("clients").remove("operator");
    change(&server, &removed);
    eventually("the loss of the token", || ask().status == 401);
    assert_eq!(admin.error("tasks/get", &id)["code"], -32602);

    change(&server, &config);
    task.end("OK");
    eventually("the end", || ask().status == 200);
    assert_eq!(operator.get(&id)["status"], "completed");
    assert!(!node.writes().iter().any(|write| write.starts_with("DELETE")), "nothing was stopped");
}

#[test]
fn task_of_an_earlier_run_is_unknown_and_found_by_its_upid() {
    let task = HeldTask::default();
    let node = task.start_node();
    let mut server = start(&lab(&node.node, &json!({})));
    let started = client(&server, OPERATOR).back_up();
    let id = started["taskId"].as_str().expect("an id");
    server.kill_and_start();
    let client = client(&server, OPERATOR);
    let error = client.error("tasks/get", id);
    assert!(error["code"] == -32602 && error["message"].to_string().contains("earlier run"), "{error}");
    // The first message has what the hint asks for.
    assert!(error["message"].to_string().contains("wait_for_task with the UPID"), "{error}");
    let message = started["statusMessage"].as_str().expect("a message");
    let upid = &message[message.find("UPID:").expect("a UPID")..];
    task.end("OK");
    let result = client.call("wait_for_task", json!({"upid": upid}));
    assert!(result["content"][0]["text"].to_string().contains("OK: vzdump of guest 100 on pve1"), "{result}");
}

#[test]
fn stop_of_the_server_answers_a_waiting_call_with_the_upid() {
    let task = HeldTask::default();
    let node = task.start_node();
    let config = lab(&node.node, &json!({}));
    let server = ProgramServer::builder(&config).flags(&["--stop-timeout", "0.1"]).start();
    let client = client(&server, OPERATOR);
    let answer = std::thread::scope(|scope| {
        let call = scope.spawn(|| client.back_up());
        task.wait_for_reads(1);
        server.process.signal(Signal::TERM);
        call.join().expect("an answer")
    });
    let text = answer["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"));
    assert!(text.starts_with("RUNNING: ") && text.contains(UPID), "{answer}");
}

#[test]
fn requests_about_tasks_are_audited() {
    let task = HeldTask::default();
    let node = task.start_node();
    let server = start(&lab(&node.node, &json!({"confirm": "never"})));
    let (operator, reader) = (client(&server, OPERATOR), client(&server, READER));
    let id = operator.start_task();
    operator.get(&id);
    let waits = reader.call("wait_for_task", json!({"upid": UPID}));
    reader.error("tasks/cancel", waits["taskId"].as_str().expect("an id"));
    operator.send("tasks/cancel", json!({"taskId": id}));
    let status = format!("GET /nodes/pve1/tasks/{UPID}/status");
    let stop = format!("DELETE /nodes/pve1/tasks/{UPID}");
    let lines = server.lines();
    let about: Vec<_> = lines
        .iter()
        .filter(|line| line["tool"].as_str().is_some_and(|tool| tool.starts_with("tasks/")))
        .map(|line| ["event", "client", "tool", "operation"].map(|field| line[field].as_str().expect("a text")))
        .collect();
    assert_eq!(
        about,
        [
            ["call", "operator", "tasks/get", status.as_str()],
            ["refused", "reader", "tasks/cancel", stop.as_str()],
            ["begin", "operator", "tasks/cancel", stop.as_str()],
            ["end", "operator", "tasks/cancel", stop.as_str()],
        ],
        "{lines:?}"
    );
    let refused = lines.iter().find(|line| line["event"] == "refused").expect("a denial");
    assert!(refused["decision"] == "refused" && refused["cluster"] == "lab", "{refused}");
    server.verify_audit_log();
}

#[test]
fn stop_that_needs_a_confirmation_is_audited_as_denied() {
    let task = HeldTask::default();
    let node = task.start_node();
    // The default asks before a task is stopped that the client's own call did not start.
    let server = start(&lab(&node.node, &json!({})));
    let admin = client(&server, ADMIN);
    let started = admin.call("wait_for_task", json!({"upid": UPID}));
    let error = admin.error("tasks/cancel", started["taskId"].as_str().expect("an id"));
    let text = error["message"].as_str().expect("a text");
    assert!(text.contains("has to be confirmed") && text.contains("proxmox_api_call"), "{error}");
    let lines = server.lines();
    let last = lines.last().expect("a line");
    assert_eq!((&last["event"], &last["tool"]), (&json!("refused"), &json!("tasks/cancel")), "{last}");
    assert!(last["why"].to_string().contains("confirmed"), "{last}");
    assert!(!node.writes().iter().any(|write| write.starts_with("DELETE")), "nothing was stopped");
}

#[test]
fn task_is_followed_over_stdio() {
    let mut process = ServerProcess::start(&["stdio", "--demo"]);
    let mut ask = |method: &str, params: Value| {
        process.ask(&modern_with(1, method, params, task_capabilities()))["result"].clone()
    };
    let arguments = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "wait": true,
        "data": {"vmid": "100", "storage": "nas"}});
    let started = ask("tools/call", json!({"name": "proxmox_api_call", "arguments": arguments}));
    assert_eq!(started["resultType"], "task", "{started}");
    let params = json!({"taskId": started["taskId"]});
    let working = ask("tasks/get", params.clone());
    assert!(working["status"] == "working" && working["statusMessage"].to_string().contains("INFO: "), "{working}");
    let end = std::iter::repeat_with(|| ask("tasks/get", params.clone())).find(|task| task["status"] != "working");
    let end = end.expect("an end");
    assert_eq!(end["status"], "completed", "{end}");
    assert!(end["result"]["content"][0]["text"].to_string().contains("OK: vzdump of guest 100 on pve1"), "{end}");
}
