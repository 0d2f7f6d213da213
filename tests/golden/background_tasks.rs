//! A call that continues as a task: every state of the task, and the errors of requests about it.

use crate::document::{Document, pretty};
use crate::support::node::ScriptedReply;
use crate::support::policy::{ALL, client, confirming_policy, open_policy, rights};
use crate::support::raw::Reply;
use crate::support::rpc::{MODERN, request};
use crate::support::server::TestServer;
use crate::support::tasks::{HeldTask, INTERRUPTED, TaskClient, UPID};
use crate::support::test_tools::product_for;
use proxmox_mcp::policy::AccessLevel;
use serde_json::json;

fn answer(reply: &Reply) -> String {
    format!("{}\n{}", reply.status, pretty(&reply.body, 3))
}

#[test]
fn states_and_errors_of_tasks() {
    let mut document = Document::new();
    document.redact(r#""taskId":\s*"[A-Za-z0-9_-]{40,}""#, r#""taskId": "ID""#);
    document.redact(r"Mcp-Name is \\+.[A-Za-z0-9_-]{40,}\\+.", "Mcp-Name is ID");
    document.redact(r"the body has \\+.[A-Za-z0-9_-]{20,}…\\+.", "the body has ID");
    document.redact(r"the body has \\+.[A-Za-z0-9_-]{40,}\\+.", "the body has ID");
    let task = HeldTask::default();
    let node = task.start_node();
    let clients =
        [client("ada", ALL, &[]), client("bob", ALL, &[]), client("rea", rights(AccessLevel::Read, false), &["open"])];
    let clusters = vec![node.cluster("open", open_policy()), node.cluster("asks", confirming_policy())];
    let server = TestServer::builder().clients(clients.to_vec()).mcp(product_for(clusters, &clients)).start();
    let ada = TaskClient::new(server.address, "ada");
    let start = |cluster: &str| {
        let arguments = json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "s1"},
            "wait": true, "cluster": cluster});
        let reply = ada.send("tools/call", json!({"name": "proxmox_api_call", "arguments": arguments}));
        (reply.json()["result"]["taskId"].as_str().expect("an id").to_owned(), answer(&reply))
    };
    let (id, text) = start("open");
    document.case("tools/call with wait", text);

    document.section("tasks/get");
    let params = json!({"taskId": id});
    let mut get = |title: &str| document.case(title, answer(&ada.send("tasks/get", params.clone())));
    get("without a log");
    task.log("INFO: 10%\u{1b}[0m");
    get("with a log");
    task.answer_status_with(Some(ScriptedReply::refusal(595, "No route to host", "")));
    get("its node is away");
    task.answer_status_with(Some(ScriptedReply::refusal(403, "Permission check failed (/, Sys.Audit)", "")));
    get("it must not be read");
    let unknown = r#"{"data":null,"message":"x\n","errors":{"upid":"no such task"}}"#;
    task.answer_status_with(Some(ScriptedReply::refusal(400, "Parameter verification failed.", unknown)));
    get("its node has forgotten it");
    task.answer_status_with(None);
    for exit in ["OK", "WARNINGS: 1", "it broke", INTERRUPTED] {
        task.end(exit);
        get(exit);
    }

    document.section("tasks/update and tasks/cancel");
    let answers = json!({"taskId": id, "inputResponses": {"x": {"action": "accept"}}});
    document.case("tasks/update", answer(&ada.send("tasks/update", answers)));
    document.case("tasks/cancel", answer(&ada.send("tasks/cancel", params.clone())));
    task.run();
    let (asking, _) = start("asks");
    document.case("a confirmation is needed", answer(&ada.send("tasks/cancel", json!({"taskId": asking}))));
    let rea = TaskClient::new(server.address, "rea");
    let waiting = rea.call("wait_for_task", json!({"upid": UPID}));
    let reading = json!({"taskId": waiting["taskId"]});
    document.case("with the level read", answer(&rea.send("tasks/cancel", reading)));

    document.section("Errors");
    let bob = TaskClient::new(server.address, "bob");
    document.case("the task of another client", answer(&bob.send("tasks/get", params.clone())));
    document.case("no task", answer(&ada.send("tasks/get", json!({"taskId": "no-such-task"}))));
    document.case("no taskId", answer(&ada.send("tasks/get", json!({}))));
    let plain = TaskClient::new(server.address, "ada").with_capabilities(json!({}));
    document.case("without the extension", answer(&plain.send("tasks/get", params.clone())));
    document.case("tasks/list", answer(&ada.send("tasks/list", json!({}))));
    let message = ada.request("tasks/get", params.clone());
    let headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tasks/get\r\n");
    document.case("without Mcp-Name", answer(&ada.send_with_headers(&headers, &message)));
    let legacy = request(1, "tasks/get", params);
    document.case("before 2026-07-28", answer(&ada.send_with_headers("", &legacy)));
    document.assert("background_tasks");
}
