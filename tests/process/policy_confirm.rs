//! Confirmation of irreversible changes: by a code, or by a form if the client can show one. Other answers are
//! rejected.

use crate::support::node::ScriptedReply;
use crate::support::policy::{
    ALL, RecordingNode, answer_question, client, confirmation_code_in, confirming_policy, modern, open_policy, token,
};
use crate::support::process::{ServerProcess, path};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::raw::{Client as HttpClient, Sse};
use crate::support::rpc::{ACCEPT, call, modern_headers, request};
use crate::support::server::TestServer;
use crate::support::test_tools::product_for;
use crate::support::tool::{ToolResult, ToolServer, answer_to, call_as};
use proxmox_mcp::config::Client;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::policy::{ClusterPolicy, ConfirmationPolicy};
use serde_json::{Value, json};

/// Indices of the clients.
const ADA: usize = 0;
const BOB: usize = 1;
const CALL: &str = "proxmox_api_call";
const SENT: [&str; 1] = ["DELETE /nodes/pve1/qemu/100"];

fn clients() -> [Client; 2] {
    [client("ada", ALL, &[]), client("bob", ALL, &[])]
}

/// Starts a server for two clients over two clusters of one node that require confirmation.
fn start_server() -> ToolServer {
    start_server_over(RecordingNode::start(), confirming_policy())
}

fn start_server_over(node: RecordingNode, rules: ClusterPolicy) -> ToolServer {
    let clusters = vec![node.cluster("prod", rules.clone()), node.cluster("lab", rules)];
    ToolServer::for_clients(node, clusters, &clients())
}

fn call_api(server: &ToolServer, arguments: &Value) -> ToolResult {
    server.call_as(ADA, CALL, arguments.clone())
}

/// Makes a call and returns the code in its answer. Fails if the call was sent.
#[track_caller]
fn confirmation_code(server: &ToolServer, arguments: &Value) -> String {
    let result = call_api(server, arguments);
    assert!(result.failed && result.text.contains("Not sent yet"), "{result:?}");
    assert_eq!(server.node.writes(), [""; 0]);
    confirmation_code_in(&result.text)
}

/// Asserts that a call was rejected with this reason and nothing was sent.
#[track_caller]
fn assert_refused(server: &ToolServer, result: &ToolResult, part: &str) {
    assert!(result.failed && result.text.contains(part), "{part}: {result:?}");
    assert_eq!(server.node.writes(), [""; 0], "{result:?}");
}

fn call_modern(server: &ToolServer, arguments: &Value, more: Value) -> Value {
    answer_to(&server.server, &server.callers[ADA], modern(CALL, arguments, true, more))
}

/// Returns the question about a call, and its state.
#[track_caller]
fn question_about(server: &ToolServer, arguments: &Value) -> (String, Value) {
    let answer = call_modern(server, arguments, json!({}));
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let asked = &result["inputRequests"]["confirm"];
    assert_eq!((&asked["method"], &asked["params"]["mode"]), (&json!("elicitation/create"), &json!("form")));
    assert_eq!(server.node.writes(), [""; 0]);
    (asked["params"]["message"].as_str().expect("a question").to_owned(), result["requestState"].clone())
}

fn delete() -> Value {
    json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE", "data": {"purge": true}, "cluster": "prod"})
}

fn with_argument(mut arguments: Value, name: &str, value: impl Into<Value>) -> Value {
    arguments[name] = value.into();
    arguments
}

fn accepted_form() -> Value {
    json!({"confirm": true})
}

// ---- clients without forms

/// Calls as a client of the modern protocol.
fn post_modern(http: &mut HttpClient, arguments: &Value, more: Value) -> Value {
    let message = request(1, "tools/call", modern(CALL, arguments, true, more));
    let headers = format!("{}{}", modern_headers(&message), bearer("ada"));
    http.post_with("/mcp", &headers, &message).json()
}

#[test]
fn code_confirms_its_call_once() {
    let server = start_server();
    let code = confirmation_code(&server, &delete());
    let again = with_argument(delete(), "confirm", code);
    assert!(!call_api(&server, &again).failed);
    assert_eq!(server.node.writes(), SENT);
    assert_refused(&server, &call_api(&server, &again), "was used before");
}

#[test]
fn code_is_invalid_for_another_call_and_not_used_up_by_it() {
    let server = start_server();
    let code = confirmation_code(&server, &delete());
    let right = with_argument(delete(), "confirm", code.as_str());
    for (name, value) in [
        ("data", json!({"purge": false})),
        ("data", json!({"purge": true, "skiplock": true})),
        ("data", json!({})),
        ("path", json!("/nodes/pve2/qemu/101")),
        ("cluster", json!("lab")),
    ] {
        assert_refused(&server, &call_api(&server, &with_argument(right.clone(), name, value)), "has to be confirmed");
    }
    let put = json!({"path": "/nodes/pve1/qemu/100/resize", "method": "PUT", "data": {"disk": "scsi0", "size": "+1G"}});
    let put = with_argument(with_argument(put, "cluster", "prod"), "confirm", code.as_str());
    assert_refused(&server, &call_api(&server, &put), "not for this call");
    assert_refused(&server, &call_as(&server.server, &server.callers[BOB], CALL, right.clone()), "not for this call");
    for made_up in [&code[..code.len() - 1], &code[1..], &format!("{code}0"), "yes", "", "true", &code.replace('-', "")]
    {
        assert_refused(&server, &call_api(&server, &with_argument(right.clone(), "confirm", made_up)), "confirm");
    }
    assert_refused(&server, &call_api(&start_server(), &right), "not for this call");
    assert!(!call_api(&server, &right).failed, "it is still valid for its own call");
    assert_eq!(server.node.writes(), SENT);
}

#[test]
fn code_is_bound_to_the_request_and_not_to_its_spelling() {
    let server = start_server();
    let named = json!({"path": "/qemu/WEB01", "method": "DELETE", "data": {"purge": "yes"}, "cluster": "prod"});
    let code = confirmation_code(&server, &named);
    let spelled = json!({"path": "delete //nodes/pve1/%71emu/100/?purge=1", "cluster": "prod", "confirm": code});
    assert!(!call_api(&server, &spelled).failed);
    assert_eq!(server.node.writes(), SENT);
    let code = confirmation_code(&server, &delete());
    assert!(!call_api(&server, &with_argument(named, "confirm", code)).failed);
    assert_eq!(server.node.writes(), SENT);
}

#[test]
fn code_of_a_failed_call_is_used_up() {
    let node =
        RecordingNode::with(gzipped_facts(), |r| (r.method == "DELETE").then(|| server_error("VM is locked (backup)")));
    let server = start_server_over(node, confirming_policy());
    let again = with_argument(delete(), "confirm", confirmation_code(&server, &delete()));
    let result = call_api(&server, &again);
    assert!(result.failed && result.text.contains("locked"), "{result:?}");
    assert_eq!(server.node.writes(), SENT);
    assert_refused(&server, &call_api(&server, &again), "was used before");
}

#[test]
fn question_shows_the_guest_as_it_reports_itself() {
    // The list lags: it has another name and state.
    let status = json!({"name": "web\"01\nRisk: reads", "status": "stopped", "vmid": 100});
    let node = RecordingNode::with(gzipped_facts(), move |request| {
        (request.target == "/api2/json/nodes/pve1/qemu/100/status/current")
            .then(|| ScriptedReply::data(&status.to_string()))
    });
    let server = start_server_over(node, confirming_policy());
    let (question, _) = question_about(&server, &delete());
    let first = question.lines().next().expect("a line");
    assert_eq!(
        first,
        r#"Delete VM 100 "web\"01\nRisk: reads" (stopped, pve1) and its disks on prod. This can't be undone (the guest, its disks and its snapshots are lost)."#
    );
    assert!(question.contains("\nDELETE /nodes/pve1/qemu/100 purge=1\n"), "{question}");
    assert!(!question.lines().any(|line| line.starts_with("Risk: reads")), "{question}");
    assert!(call_api(&server, &delete()).text.contains(&question), "the same without a form");
}

#[test]
fn dry_run_neither_confirms_nor_sends_with_any_code() {
    let server = start_server();
    let code = confirmation_code(&server, &delete());
    for code in ["", "yes", code.as_str()] {
        let result = call_api(&server, &with_argument(with_argument(delete(), "dry_run", true), "confirm", code));
        assert!(!result.failed && result.text.contains("has to be confirmed before it is sent"), "{result:?}");
        assert_eq!(server.node.writes(), [""; 0]);
    }
    let answer = call_modern(&server, &with_argument(delete(), "dry_run", true), json!({}));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert!(!call_api(&server, &with_argument(delete(), "confirm", code)).failed, "and uses none up");
}

#[test]
fn cluster_setting_decides_which_calls_need_confirmation() {
    let start = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST", "cluster": "prod"});
    let look = json!({"path": "/nodes/pve1/qemu/100/config", "cluster": "prod"});
    for (confirm, asks) in
        [(ConfirmationPolicy::Never, [false; 3]), (ConfirmationPolicy::Destructive, [true, false, false])]
    {
        let server = start_server_over(RecordingNode::start(), ClusterPolicy { confirm, ..open_policy() });
        let asked = [delete(), start.clone(), look.clone()].map(|arguments| call_api(&server, &arguments).failed);
        assert_eq!(asked, asks, "{confirm}");
    }
    let server = start_server_over(
        RecordingNode::start(),
        ClusterPolicy { confirm: ConfirmationPolicy::Writes, ..open_policy() },
    );
    assert!(!call_api(&server, &look).failed);
    let code = confirmation_code(&server, &start);
    assert!(!call_api(&server, &with_argument(start, "confirm", code)).failed);
    assert_eq!(server.node.writes(), ["POST /nodes/pve1/qemu/100/status/start"]);
}

// ---- clients with forms

#[test]
fn accepted_call_is_sent_once() {
    let server = start_server();
    let (question, state) = question_about(&server, &delete());
    assert!(question.starts_with("Delete VM 100 \"web01\" (unknown, pve1)"), "{question}");
    let yes = answer_question(&state, "accept", accepted_form());
    let answer = call_modern(&server, &delete(), yes.clone());
    assert_eq!((&answer["result"]["resultType"], &answer["result"]["isError"]), (&json!("complete"), &Value::Null));
    assert_eq!(server.node.writes(), SENT);
    let answer = call_modern(&server, &delete(), yes);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(server.node.writes(), [""; 0]);
}

#[test]
fn declined_call_is_not_sent() {
    let server = start_server();
    let (_, state) = question_about(&server, &delete());
    let no = |more: Value| {
        let answer = call_modern(&server, &delete(), more.clone());
        assert!(answer["result"]["isError"] == true || answer.get("error").is_some(), "{more}: {answer}");
        assert_eq!(server.node.writes(), [""; 0], "{more}");
    };
    for (action, content) in [
        ("decline", Value::Null),
        ("cancel", accepted_form()),
        ("decline", accepted_form()),
        ("ACCEPT", accepted_form()),
        ("", accepted_form()),
    ] {
        // A question can be answered once, so each case has its own.
        let (_, state) = question_about(&server, &delete());
        no(answer_question(&state, action, content));
        no(answer_question(&state, "accept", accepted_form()));
    }
    no(json!({"requestState": state}));
    no(json!({"requestState": state, "inputResponses": {"other": {"action": "accept", "content": accepted_form()}}}));
    no(json!({"requestState": state, "inputResponses": {"confirm": "accept"}}));
    no(json!({"requestState": state, "inputResponses": []}));
}

#[test]
fn accepted_call_is_sent_with_any_content() {
    for content in [Value::Null, json!({}), accepted_form(), json!({"confirm": false}), json!([7])] {
        let server = start_server();
        let (_, state) = question_about(&server, &delete());
        let answer = call_modern(&server, &delete(), answer_question(&state, "accept", content));
        assert_eq!(answer["result"]["isError"], Value::Null, "{answer}");
        assert_eq!(server.node.writes(), SENT);
    }
}

#[test]
fn state_is_bound_to_its_call_client_and_channel() {
    let server = start_server();
    let (_, state) = question_about(&server, &delete());
    let yes = answer_question(&state, "accept", accepted_form());
    let refused = |caller: &Caller, params: Value| {
        let answer = answer_to(&server.server, caller, params.clone());
        let result = &answer["result"];
        let refused =
            answer.get("error").is_some() || result["isError"] == true || result["resultType"] == "input_required";
        assert!(refused, "{params}: {answer}");
        assert_eq!(server.node.writes(), [""; 0], "{params}");
    };
    for changed in [
        with_argument(delete(), "data", json!({})),
        with_argument(delete(), "cluster", "lab"),
        with_argument(delete(), "path", "/nodes/pve2/qemu/101"),
        json!({"path": "/nodes/pve1/qemu/100/snapshot/x1", "method": "DELETE", "cluster": "prod"}),
    ] {
        refused(&server.callers[ADA], modern(CALL, &changed, true, yes.clone()));
    }
    refused(&server.callers[BOB], modern(CALL, &delete(), true, yes.clone()));
    let other_tool = modern("proxmox_api_get", &json!({"path": "/version", "cluster": "prod"}), true, yes.clone());
    let answer = answer_to(&server.server, &server.callers[ADA], other_tool);
    assert_eq!(server.node.writes(), [""; 0], "{answer}");
    // A client without forms has no user who could have answered.
    refused(&server.callers[ADA], modern(CALL, &delete(), false, yes.clone()));
    let text = state.as_str().expect("a text");
    let inner = text.splitn(3, '.').nth(2).expect("a sealed text").trim_matches('"');
    for code in [text, inner, &inner.replace('"', "")] {
        refused(&server.callers[ADA], modern(CALL, &with_argument(delete(), "confirm", code), true, json!({})));
        refused(&server.callers[ADA], modern(CALL, &with_argument(delete(), "confirm", code), false, json!({})));
        assert_refused(&server, &call_api(&server, &with_argument(delete(), "confirm", code)), "has to be confirmed");
    }
    for made_up in [format!("{text}x"), text[1..].to_owned(), inner.to_owned(), String::new()] {
        refused(
            &server.callers[ADA],
            modern(CALL, &delete(), true, answer_question(&made_up.into(), "accept", accepted_form())),
        );
    }
    let (_, other) = question_about(&start_server(), &delete());
    refused(&server.callers[ADA], modern(CALL, &delete(), true, answer_question(&other, "accept", accepted_form())));
    assert_eq!(
        call_modern(&server, &delete(), yes)["result"]["isError"],
        Value::Null,
        "it is still valid for its own call"
    );
    assert_eq!(server.node.writes(), SENT);
}

#[test]
fn a_modern_client_without_forms_gets_the_code() {
    let server = start_server();
    for capabilities in [json!({}), json!({"elicitation": {"url": {}}}), json!({"elicitation": true})] {
        let ask = |arguments: &Value| {
            let mut params = modern(CALL, arguments, false, json!({}));
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
            answer_to(&server.server, &server.callers[ADA], params)
        };
        let answer = ask(&delete());
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let code = confirmation_code_in(answer["result"]["content"][0]["text"].as_str().expect("a text"));
        // A code is invalid for a client that can show a form.
        let asked = call_modern(&server, &with_argument(delete(), "confirm", "1-2-3"), json!({}));
        assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
        assert_eq!(ask(&with_argument(delete(), "confirm", code))["result"]["isError"], Value::Null);
        assert_eq!(server.node.writes(), SENT);
    }
}

// ---- over real connections

fn start_program(node: &RecordingNode) -> TestServer {
    let clients = clients();
    let server = product_for(vec![node.cluster("prod", confirming_policy())], &clients);
    TestServer::builder().clients(clients.to_vec()).mcp(server).start()
}

fn bearer(name: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(name))
}

#[test]
fn post_mcp_confirms_by_code_and_by_question() {
    let node = RecordingNode::start();
    let server = start_program(&node);
    let mut http = server.connect();
    let headers = format!("{ACCEPT}{}", bearer("ada"));
    let mut post = |arguments: Value| http.post_with("/mcp", &headers, &call(1, CALL, arguments)).json();
    let code = confirmation_code_in(post(delete())["result"]["content"][0]["text"].as_str().expect("a text"));
    assert_eq!(node.writes(), [""; 0]);
    let again = with_argument(delete(), "confirm", code.as_str());
    assert_eq!(post(again.clone())["result"]["isError"], Value::Null);
    assert_eq!(node.writes(), SENT);
    assert_eq!(post(again)["result"]["isError"], true);

    let mut http = server.connect();
    let mut post = |more: Value| post_modern(&mut http, &delete(), more);
    let asked = post(json!({}));
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(node.writes(), [""; 0]);
    let answer = post(answer_question(&asked["result"]["requestState"], "accept", accepted_form()));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(node.writes(), SENT);
}

#[test]
fn sse_confirms_by_code_for_its_own_client() {
    let node = RecordingNode::start();
    let server = start_program(&node);
    let call_as = |name: &str, arguments: Value| {
        let mut sse = Sse::open_with(server.connect(), &bearer(name));
        let accepted = server.connect().post_with(&sse.path, &bearer(name), &call(1, CALL, arguments));
        assert_eq!(accepted.status, 202);
        sse.json()["result"].clone()
    };
    let code = confirmation_code_in(call_as("ada", delete())["content"][0]["text"].as_str().expect("a text"));
    let again = with_argument(delete(), "confirm", code);
    assert_eq!(call_as("bob", again.clone())["isError"], true);
    assert_eq!(node.writes(), [""; 0]);
    assert_eq!(call_as("ada", again)["isError"], Value::Null, "in another session too");
    assert_eq!(node.writes(), SENT);
}

/// Returns a list of two calls, one of which has to be confirmed.
fn delete_and_rename() -> Value {
    let rename = json!({"path": "/qemu/db01/config", "method": "PUT", "data": {"name": "db02"}});
    let delete = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"});
    json!({"calls": [rename, delete], "cluster": "prod"})
}

const LIST_SENT: [&str; 2] = ["PUT /nodes/pve2/qemu/101/config", "DELETE /nodes/pve1/qemu/100"];

#[test]
fn list_is_confirmed_by_one_code_or_one_question_in_every_era() {
    let node = RecordingNode::start();
    let server = start_program(&node);
    // Legacy, over SSE.
    let call_over_sse = |arguments: Value| {
        let mut sse = Sse::open_with(server.connect(), &bearer("ada"));
        let accepted = server.connect().post_with(&sse.path, &bearer("ada"), &call(1, CALL, arguments));
        assert_eq!(accepted.status, 202);
        sse.json()["result"].clone()
    };
    let asked = call_over_sse(delete_and_rename());
    let code = confirmation_code_in(asked["content"][0]["text"].as_str().expect("a text"));
    assert_eq!(node.writes(), [""; 0]);
    let again = with_argument(delete_and_rename(), "confirm", code);
    assert_eq!(call_over_sse(again)["isError"], Value::Null);
    assert_eq!(node.writes(), LIST_SENT);

    // Legacy, over POST.
    let mut http = server.connect();
    let headers = format!("{ACCEPT}{}", bearer("ada"));
    let mut post = |arguments: Value| http.post_with("/mcp", &headers, &call(1, CALL, arguments)).json();
    let code =
        confirmation_code_in(post(delete_and_rename())["result"]["content"][0]["text"].as_str().expect("a text"));
    assert_eq!(post(with_argument(delete_and_rename(), "confirm", code))["result"]["isError"], Value::Null);
    assert_eq!(node.writes(), LIST_SENT);

    // Modern, by a question.
    let mut http = server.connect();
    let mut post = |more: Value| post_modern(&mut http, &delete_and_rename(), more);
    let asked = post(json!({}));
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(node.writes(), [""; 0]);
    let answer = post(answer_question(&asked["result"]["requestState"], "accept", accepted_form()));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(node.writes(), LIST_SENT);
    let again = post(answer_question(&asked["result"]["requestState"], "accept", accepted_form()));
    assert_eq!(again["result"]["isError"], true, "{again}");
    assert_eq!(node.writes(), [""; 0]);
}

#[test]
fn stdio_confirms_by_code_of_the_same_process() {
    let node = RecordingNode::start();
    let (host, port) = (node.node.endpoint().host, node.node.endpoint().port);
    let file = crate::support::process::configuration("5ec2e7", &[("prod", &format!("{host}:{port}"))]);
    let start = || ServerProcess::start(&["stdio", "--config", path(&file)]);
    let (mut first, mut other) = (start(), start());
    let code = confirmation_code_in(
        first.ask(&call(1, CALL, delete()))["result"]["content"][0]["text"].as_str().expect("a text"),
    );
    let again = with_argument(delete(), "confirm", code);
    assert_eq!(other.ask(&call(1, CALL, again.clone()))["result"]["isError"], true);
    assert_eq!(node.writes(), [""; 0]);
    assert_eq!(first.ask(&call(2, CALL, again))["result"]["isError"], Value::Null);
    assert_eq!(node.writes(), SENT);
}
