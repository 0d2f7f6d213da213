//! Approvals by a person outside of the chat: over every transport, from the question to the request at the node.

use crate::support::node::{Node, ScriptedReply};
use crate::support::policy::{ALL, RecordingNode, caller, client as client_of, confirming_policy};
use crate::support::process::{ServerProcess, binary};
use crate::support::program::{HttpEndpoint, ProgramServer};
use crate::support::raw::{LONG, Reply, Sse, eventually};
use crate::support::rpc::{ACCEPT, call, modern_headers, modern_with, request};
use crate::support::test_tools::manager;
use crate::support::tool::call_as;
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::call::{ApprovalDecision, ApprovalError, Approver};
use proxmox_mcp::config::{Client, TokenHash};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::policy::{ClusterPolicy, Confirmer};
use proxmox_mcp::tools::ToolState;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

const ADA: &str = "pmcp_ada-ada-ada-ada-ada";
const BOB: &str = "pmcp_bob-bob-bob-bob-bob";
const EVE: &str = "pmcp_eve-eve-eve-eve-eve";
const CALL: &str = "proxmox_api_call";
const UPID: &str = "\"UPID:pve1:000001C1:00022AEA:6B0293BE:qmdestroy:100:mcp@pve!ro:\"";
const HOSTILE: &str = "<img onerror=alert(1)>";

/// Starts a node with one guest, whose name is hostile.
fn start_node() -> Node {
    Node::start(|request| match request.path().trim_start_matches("/api2/json") {
        _ if request.method != "GET" => ScriptedReply::data(UPID),
        "/cluster/resources" => ScriptedReply::data(&format!(
            r#"[{{"type":"qemu","id":"qemu/100","vmid":100,"node":"pve1","name":"{HOSTILE}","status":"stopped"}}]"#
        )),
        "/nodes/pve1/qemu/100/status/current" => {
            ScriptedReply::data(&format!(r#"{{"vmid":100,"name":"{HOSTILE}","status":"stopped"}}"#))
        }
        "/nodes/pve1/qemu/100/config" => ScriptedReply::data(r#"{"digest":"d","memory":"2048"}"#),
        "/version" => ScriptedReply::data(r#"{"version":"9.1.2","release":"9.1"}"#),
        "/access/permissions" => ScriptedReply::data(r#"{"/":{"VM.Audit":1}}"#),
        path if path.ends_with("/status") => ScriptedReply::data(r#"{"status":"stopped","exitstatus":"OK"}"#),
        _ => ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#),
    })
}

fn client(token: &str, access: &str, approve: bool) -> Value {
    let hash = TokenHash::from_token(token.as_bytes()).to_string();
    json!({"token_sha256": hash, "access": access, "approve": approve})
}

/// Returns a configuration in which ada needs the approval of bob or eve, who may only read.
fn config(node: &Node) -> Value {
    let cluster = json!({"url": format!("http://{}", node.endpoint()), "user": "mcp@pve", "token_id": "ro",
        "token_secret": "s", "timeout_seconds": 20, "confirm_by": "operator"});
    let clients = json!({"ada": client(ADA, "full", true), "bob": client(BOB, "read", true),
        "eve": client(EVE, "read", true), "dan": client("pmcp_dan-dan-dan-dan-dan", "full", false)});
    json!({"clusters": {"prod": cluster}, "clients": clients})
}

fn start(node: &Node) -> ProgramServer {
    ProgramServer::builder(&config(node)).audit_file().start()
}

fn delete() -> Value {
    json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"})
}

fn deletes(node: &Node) -> usize {
    node.requests().iter().filter(|request| request.method == "DELETE").count()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn list(server: &HttpEndpoint, token: &str) -> Reply {
    let line = "GET /approvals";
    server.connect().ask(line, &bearer(token))
}

/// Returns the calls that wait, as bob sees them.
fn waiting(server: &HttpEndpoint) -> Vec<Value> {
    let reply = list(server, BOB);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let list: Value = serde_json::from_str(&reply.body).expect("JSON");
    list["approvals"].as_array().expect("a list").clone()
}

fn decide(server: &HttpEndpoint, token: &str, id: &str, decision: &str) -> u16 {
    let body = json!({"id": id, "decision": decision}).to_string();
    server.connect().post_with("/approvals", &bearer(token), &body).status
}

/// Returns the only id that waits.
fn only_id(server: &HttpEndpoint) -> String {
    let waiting = waiting(server);
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    waiting[0]["id"].as_str().expect("an id").to_owned()
}

fn result_text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

fn ask_legacy(server: &HttpEndpoint, arguments: Value) -> Value {
    server.call(ADA, CALL, arguments)
}

fn ask_modern(server: &HttpEndpoint, capabilities: Value, more: Value) -> Value {
    let mut params = json!({"name": CALL, "arguments": delete()});
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let message = modern_with(1, "tools/call", params, capabilities);
    let headers = format!("{ACCEPT}{}{}", bearer(ADA), modern_headers(&message));
    server.connect().post_with("/mcp", &headers, &message).json()
}

fn ask_sse(server: &HttpEndpoint, arguments: Value) -> Value {
    let messages = server.events(ADA, CALL, arguments);
    serde_json::from_str(messages.last().expect("an answer")).expect("JSON")
}

#[test]
fn approved_call_is_sent_once_on_every_transport() {
    let node = start_node();
    let server = start(&node);
    let transports: [&dyn Fn() -> Value; 3] =
        [&|| ask_legacy(&server, delete()), &|| ask_modern(&server, json!({}), json!({})), &|| {
            ask_sse(&server, delete())
        }];
    for (at, ask) in transports.iter().enumerate() {
        let text = ask();
        assert!(result_text(&text).contains("Not sent yet: a person has to approve this"), "{text}");
        assert_eq!(deletes(&node), at);
        let id = only_id(&server);
        assert!(result_text(&text).contains(&format!("approvals approve {id}")), "{text}");
        assert!(result_text(&text).contains(&format!("http://{}/#approvals", server.address)), "{text}");
        assert!(result_text(&ask()).contains(&id), "the same call waits under one id");
        assert_eq!(decide(&server, BOB, &id, "approve"), 200);
        let done = ask();
        assert!(result_text(&done).contains("UPID:"), "{done}");
        assert_eq!(deletes(&node), at + 1);
        assert!(result_text(&ask()).contains("Not sent yet"), "an approval is used once");
        assert_eq!(decide(&server, BOB, &only_id(&server), "deny"), 200);
        assert!(result_text(&ask()).contains("a person denied it"));
        assert_eq!(deletes(&node), at + 1);
    }
    let lines = server.lines();
    let find = |event: &str, decision: &str| {
        lines.iter().find(|line| line["event"] == event && line["decision"] == decision).expect(decision)
    };
    let approved = find("approval", "approved");
    assert_eq!((&approved["client"], &approved["operation"]), (&json!("bob"), &json!("DELETE /nodes/pve1/qemu/100")));
    assert!(approved["why"].as_str().expect("a reason").ends_with("asked by client ada"), "{approved}");
    assert_eq!(find("approval", "declined")["client"], "bob");
    assert_eq!(find("asked", "asked")["client"], "ada");
    assert!(find("begin", "confirmed")["why"].as_str().expect("a reason").contains("client bob approved it"));
    server.verify_audit_log();
}

#[test]
fn waiting_call_continues_by_itself_after_the_decision() {
    let node = start_node();
    let server = start(&node);
    for (decision, is_error, sent) in [("approve", false, 1), ("deny", true, 1)] {
        let server = &server.endpoint;
        let answer = thread::scope(|scope| {
            let mut arguments = delete();
            arguments["wait"] = true.into();
            let call = scope.spawn(|| ask_legacy(server, arguments));
            eventually("the call waits", || !waiting(server).is_empty());
            assert_eq!(decide(server, EVE, &only_id(server), decision), 200);
            call.join().expect("an answer")
        });
        assert_eq!(answer["result"]["isError"] == true, is_error, "{answer}");
        assert_eq!(result_text(&answer).contains("a person denied it"), is_error, "{answer}");
        assert_eq!(deletes(&node), sent);
    }
}

#[test]
fn only_another_client_with_the_right_decides_once() {
    let node = start_node();
    let server = start(&node);
    ask_legacy(&server, delete());
    let id = only_id(&server);
    assert_eq!(list(&server, "pmcp_dan-dan-dan-dan-dan").status, 403);
    assert_eq!(list(&server, "pmcp_not-a-token-of-any").status, 401);
    assert_eq!(server.connect().ask("GET /approvals?token=pmcp_bob-bob-bob-bob-bob", "").status, 401);
    assert_eq!(decide(&server, "pmcp_dan-dan-dan-dan-dan", &id, "approve"), 403);
    assert_eq!(decide(&server, ADA, &id, "approve"), 403, "the client that asked");
    assert_eq!(decide(&server, BOB, "00000000", "approve"), 404);
    let foreign = format!("{}Origin: https://evil.example\r\n", bearer(BOB));
    let body = json!({"id": id, "decision": "approve"}).to_string();
    assert_eq!(server.connect().post_with("/approvals", &foreign, &body).status, 403);
    for body in ["", "{}", r#"{"id": "x", "decision": "yes"}"#, "[]"] {
        assert_eq!(server.connect().post_with("/approvals", &bearer(BOB), body).status, 400, "{body}");
    }
    let other = server.call("pmcp_dan-dan-dan-dan-dan", CALL, delete());
    assert!(!result_text(&other).contains(&id), "another client's call is another call: {other}");
    let statuses: BTreeSet<u16> = thread::scope(|scope| {
        let decisions = [(BOB, "approve"), (EVE, "deny")].map(|(token, decision)| {
            let (server, id) = (&server.endpoint, &id);
            scope.spawn(move || decide(server, token, id, decision))
        });
        decisions.into_iter().map(|thread| thread.join().expect("a status")).collect()
    });
    assert_eq!(statuses, BTreeSet::from([200, 409]));
    assert_eq!(deletes(&node), 0);
}

#[test]
fn texts_of_a_cluster_are_plain_text_in_the_list() {
    let node = start_node();
    let server = start(&node);
    ask_legacy(&server, delete());
    let reply = list(&server, BOB);
    assert!(reply.has_header("Content-Type: application/json"), "{}", reply.body);
    let list: Value = serde_json::from_str(&reply.body).expect("JSON");
    let entry = &list["approvals"][0];
    assert!(entry["plan"].as_str().expect("a plan").contains(HOSTILE), "{entry}");
    assert_eq!(entry["operations"], json!(["DELETE /nodes/pve1/qemu/100"]));
    assert_eq!(
        (&entry["client"], &entry["cluster"], &entry["state"]),
        (&json!("ada"), &json!("prod"), &json!("waiting"))
    );
}

#[test]
fn calls_of_one_client_that_wait_are_bounded() {
    let node = start_node();
    let server = start(&node);
    let ask = |token, name: usize| {
        let path = format!("/nodes/pve1/qemu/100/snapshot/s{name}");
        server.call(token, CALL, json!({"path": path, "method": "DELETE"}))
    };
    for name in 0..16 {
        assert!(result_text(&ask(ADA, name)).contains("Not sent yet"));
    }
    let refused = ask(ADA, 16);
    assert!(result_text(&refused).contains("too many calls wait"), "{refused}");
    assert!(
        result_text(&ask("pmcp_dan-dan-dan-dan-dan", 0)).contains("Not sent yet"),
        "another client has its own share"
    );
}

#[test]
fn denied_calls_make_room_for_others() {
    let node = start_node();
    let server = start(&node);
    for name in 0..20 {
        let path = format!("/nodes/pve1/qemu/100/snapshot/s{name}");
        let asked = server.call(ADA, CALL, json!({"path": path, "method": "DELETE"}));
        assert!(result_text(&asked).contains("Not sent yet"), "{name}: {asked}");
        assert_eq!(decide(&server, BOB, &only_id(&server), "deny"), 200);
    }
    assert_eq!(deletes(&node), 0);
}

#[test]
fn approval_counts_only_if_it_is_in_the_audit_log() {
    let node = start_node();
    let server = start(&node);
    ask_legacy(&server, delete());
    let id = only_id(&server);
    server.fill_disk(true);
    assert_eq!(decide(&server, BOB, &id, "approve"), 503);
    assert!(result_text(&ask_legacy(&server, delete())).contains(&id), "the call still waits");
    server.fill_disk(false);
    assert_eq!(deletes(&node), 0);
    assert_eq!(decide(&server, BOB, &id, "approve"), 200);
    assert!(result_text(&ask_legacy(&server, delete())).contains("UPID:"));
    let lines = server.lines();
    let place = |event: &str, decision: &str| {
        lines.iter().position(|line| line["event"] == event && line["decision"] == decision).expect(event)
    };
    assert!(place("asked", "asked") < place("approval", "approved"));
    assert!(place("approval", "approved") < place("begin", "confirmed"));
    server.verify_audit_log();
}

#[test]
fn stop_withdraws_and_answers_the_call_that_waits() {
    let node = start_node();
    let mut server = start(&node);
    let endpoint = server.endpoint.clone();
    let call = thread::spawn(move || {
        let mut arguments = delete();
        arguments["wait"] = true.into();
        ask_legacy(&endpoint, arguments)
    });
    eventually("the call waits", || !waiting(&server).is_empty());
    server.process.signal(Signal::TERM);
    let answer = call.join().expect("an answer");
    assert!(answer["result"]["isError"] == true || answer["error"].is_object(), "{answer}");
    assert!(server.process.wait_for_exit().success());
    assert_eq!(deletes(&node), 0);
    let withdrawn = server.lines().into_iter().find(|line| line["decision"] == "withdrawn").expect("a line");
    assert!(withdrawn["why"].as_str().expect("a reason").ends_with("the server stops"), "{withdrawn}");
}

fn reload(server: &ProgramServer, config: &Value) {
    fs::write(&server.config, config.to_string()).expect("write");
    server.process.signal(Signal::HUP);
    loop {
        match server.process.stderr.recv_timeout(LONG) {
            Ok(line) if line.contains("reloaded") => break,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("never reloaded"),
        }
    }
}

#[test]
fn waiting_call_ends_with_the_right_of_its_last_approver() {
    let node = start_node();
    let server = start(&node);
    let endpoint = server.endpoint.clone();
    let call = thread::spawn(move || {
        let mut arguments = delete();
        arguments["wait"] = true.into();
        ask_legacy(&endpoint, arguments)
    });
    eventually("the call waits", || !waiting(&server).is_empty());
    let mut without_approvers = config(&node);
    for name in ["bob", "eve"] {
        without_approvers["clients"][name]["approve"] = false.into();
    }
    reload(&server, &without_approvers);
    let refused = call.join().expect("an answer");
    assert!(result_text(&refused).contains("no other client may approve"), "{refused}");
    assert_eq!(deletes(&node), 0);
}

#[test]
fn no_more_notices_of_a_client_that_asks_too_often() {
    let node = start_node();
    let receiver = Node::start(|_| ScriptedReply::data("{}"));
    let hook = format!("http://{}/hook", receiver.endpoint().to_string().trim_start_matches("http://"));
    let server = ProgramServer::builder(&config(&node)).flags(&["--notify-url", &hook]).start();
    for _ in 0..17 {
        ask_legacy(&server, delete());
        assert_eq!(decide(&server, BOB, &only_id(&server), "deny"), 200);
        assert!(result_text(&ask_legacy(&server, delete())).contains("a person denied it"));
    }
    receiver.wait_for_requests(16);
    assert!(server.stop_and_read().contains("client ada asks too often"));
    assert_eq!(receiver.requests().len(), 16);
}

#[test]
fn reload_without_the_approver_or_the_asker_withdraws() {
    let node = start_node();
    let server = start(&node);
    let reload = |config: &Value| reload(&server, config);
    ask_legacy(&server, delete());
    assert_eq!(decide(&server, EVE, &only_id(&server), "approve"), 200);
    let mut without_eve = config(&node);
    without_eve["clients"].as_object_mut().expect("clients").remove("eve");
    reload(&without_eve);
    assert_eq!(waiting(&server), [Value::Null; 0]);
    let again = ask_legacy(&server, delete());
    assert!(result_text(&again).contains("Not sent yet"), "{again}");
    let mut without_ada = without_eve.clone();
    without_ada["clients"].as_object_mut().expect("clients").remove("ada");
    reload(&without_ada);
    assert_eq!(waiting(&server), [Value::Null; 0]);
    assert_eq!(deletes(&node), 0);
    let withdrawn = || server.lines().iter().filter(|line| line["decision"] == "withdrawn").count();
    eventually("both are recorded", || withdrawn() == 2);
}

#[test]
fn client_without_an_approver_is_refused() {
    let node = start_node();
    let mut alone = config(&node);
    for name in ["bob", "eve"] {
        alone["clients"].as_object_mut().expect("clients").remove(name);
    }
    let server = ProgramServer::builder(&alone).start();
    let refused = ask_legacy(&server, delete());
    assert!(result_text(&refused).contains("no other client may approve"), "{refused}");
    assert_eq!(deletes(&node), 0);
}

#[test]
fn client_that_opens_addresses_gets_the_page() {
    let node = start_node();
    let server = start(&node);
    let url = json!({"elicitation": {"url": {}}});
    let asked = ask_modern(&server, url.clone(), json!({}));
    let params = &asked["result"]["inputRequests"]["confirm"]["params"];
    let page = format!("http://{}/#approvals", server.address);
    assert_eq!((&params["mode"], &params["url"]), (&json!("url"), &json!(page)), "{asked}");
    let answer =
        |action: &str, state: &Value| json!({"requestState": state, "inputResponses": {"confirm": {"action": action}}});
    let declined = ask_modern(&server, url.clone(), answer("decline", &asked["result"]["requestState"]));
    assert!(result_text(&declined).contains("the user declined it"), "{declined}");
    assert_eq!(waiting(&server), [Value::Null; 0]);
    let asked = ask_modern(&server, url.clone(), json!({}));
    assert_eq!(decide(&server, BOB, &only_id(&server), "approve"), 200);
    let done = ask_modern(&server, url, answer("accept", &asked["result"]["requestState"]));
    assert!(result_text(&done).contains("UPID:"), "{done}");
    assert_eq!(deletes(&node), 1);
}

/// Asks for the deletion, approves it, and asks again. Returns both answers.
fn ask_until_approved(server: &HttpEndpoint, mut ask: impl FnMut() -> Value) -> (Value, Value) {
    let first = ask();
    assert_eq!(decide(server, BOB, &only_id(server), "approve"), 200, "{first}");
    (first, ask())
}

#[test]
fn legacy_client_that_opens_addresses_gets_the_page() {
    let node = start_node();
    let server = start(&node);
    let page = format!("http://{}/#approvals", server.address);
    let initialize = |capabilities: Value| {
        let info = json!({"name": "t", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info});
        request(0, "initialize", params)
    };
    let opens = initialize(json!({"elicitation": {"form": {}, "url": {}}}));
    let endpoint = &server.endpoint;
    let post = |session: &str, body: &str| {
        let headers = format!("{ACCEPT}{}{session}", bearer(ADA));
        endpoint.connect().post_with("/mcp", &headers, body)
    };
    let session_of = |reply: &Reply| {
        let id = reply.head.lines().find_map(|line| line.strip_prefix("Mcp-Session-Id: "));
        id.map(|id| format!("Mcp-Session-Id: {}\r\n", id.trim()))
    };
    assert_eq!(session_of(&post("", &initialize(json!({"elicitation": {}})))), None);
    let session = session_of(&post("", &opens)).expect("a session id");
    let sse = |asks: &[&str]| {
        let mut events = Sse::open_with(server.connect(), &bearer(ADA));
        let path = events.path.clone();
        asks.iter()
            .map(|body| {
                assert_eq!(server.connect().post_with(&path, &bearer(ADA), body).status, 202);
                serde_json::from_str(&events.message()).expect("JSON")
            })
            .collect::<Vec<Value>>()
    };
    let delete = call(1, CALL, delete());
    let http = ask_until_approved(&server, || post(&session, &delete).json());
    let over_sse = ask_until_approved(&server, || sse(&[&opens, &delete]).remove(1));
    for (first, done) in [http, over_sse] {
        let elicitation = &first["error"]["data"]["elicitations"][0];
        assert_eq!((&first["error"]["code"], &elicitation["mode"]), (&json!(-32042), &json!("url")), "{first}");
        assert_eq!(elicitation["url"], page);
        assert!(
            elicitation["message"].as_str().expect("a plan").contains("\nDELETE /nodes/pve1/qemu/100\n"),
            "{elicitation}"
        );
        assert_eq!(elicitation["elicitationId"].as_str().map(str::len), Some(8));
        assert!(result_text(&done).contains("UPID:"), "{done}");
    }
    assert_eq!(deletes(&node), 2);
    // The client says that its user has been on the page. Its call still waits, and is not sent.
    assert_eq!(post(&session, &delete).json()["error"]["code"], -32042);
    thread::scope(|scope| {
        let again = scope.spawn(|| post(&session, &delete).json());
        let id = only_id(&server);
        assert_eq!(deletes(&node), 2);
        assert_eq!(decide(&server, BOB, &id, "approve"), 200);
        let done = again.join().expect("an answer");
        assert!(result_text(&done).contains("UPID:"), "{done}");
    });
    assert!(post("", &delete).json()["error"].is_null(), "a client without the session id gets a text");
}

#[test]
fn person_is_notified_without_values() {
    let node = start_node();
    let receiver = Node::start(|_| ScriptedReply::data("{}"));
    let hook = format!("http://{}/hook/secret-part", receiver.endpoint().to_string().trim_start_matches("http://"));
    let server = ProgramServer::builder(&config(&node)).flags(&["--notify-url", &hook, "--log", "debug"]).start();
    let arguments = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE", "data": {"purge": true}});
    let text = ask_legacy(&server, arguments);
    let id = only_id(&server);
    receiver.wait_for_requests(1);
    let sent = receiver.requests().remove(0);
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/hook/secret-part"));
    let body: Value = serde_json::from_str(&sent.body).expect("JSON");
    assert_eq!(body["id"], id, "{text}");
    assert_eq!(body["operations"], json!(["DELETE /nodes/pve1/qemu/100"]));
    assert!(!sent.body.contains("purge"), "{}", sent.body);
    assert!(!server.stop_and_read().contains("secret-part"), "the log has the URL");
}

fn run_approvals(address: &str, token: &str, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.env_clear().env("MCP_APPROVER_TOKEN", token).arg("approvals").args(args);
    command.args(["--url", &format!("http://{address}")]).output().expect("run")
}

#[test]
fn command_lists_and_decides() {
    let node = start_node();
    let server = start(&node);
    let run = |token, args: &[&str]| {
        let output = run_approvals(&server.address, token, args);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
        (output.status.code(), text)
    };
    assert_eq!(run(BOB, &[]), (Some(0), "no call waits\n".to_owned()));
    ask_legacy(&server, delete());
    let id = only_id(&server);
    let (code, text) = run(BOB, &["list"]);
    assert!(code == Some(0) && text.contains(&id) && text.contains("client ada over http"), "{text}");
    assert!(text.contains("DELETE /nodes/pve1/qemu/100"), "{text}");
    let (code, text) = run(ADA, &["approve", &id]);
    assert!(code == Some(1) && text.contains("a client can't decide on its own call"), "{text}");
    assert_eq!(run(BOB, &["approve", &id]).0, Some(0));
    assert_eq!(run(BOB, &["deny", &id]).0, Some(1));
    assert!(result_text(&ask_legacy(&server, delete())).contains("UPID:"));
    assert_eq!(deletes(&node), 1);
    assert_eq!(run("", &[]).0, Some(2));
    assert_eq!(run("pmcp_not-a-token-of-any", &[]).0, Some(1));
}

#[test]
fn command_sends_no_token_in_clear_text() {
    let run = |url: &str, flags: &[&str]| {
        let mut command = Command::new(binary());
        command.env_clear().env("MCP_APPROVER_TOKEN", BOB).args(["approvals", "--url", url]).args(flags);
        let output = command.output().expect("run");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    for host in ["192.0.2.1:9", "mcp.example", "127.0.0.1.example", "[2001:db8::1]:9", "0.0.0.0:9"] {
        let (code, text) = run(&format!("http://{host}/"), &[]);
        assert!(code == Some(2) && text.contains("--insecure-http"), "{host}: {text}");
    }
    for host in ["127.0.0.1", "localhost"] {
        let (code, text) = run(&format!("http://{host}:{free}/"), &[]);
        assert!(code == Some(1) && text.contains("cannot reach the server"), "{host}: {text}");
    }
    let (code, text) = run("http://no-such-host.invalid/", &["--insecure-http"]);
    assert!(code == Some(1) && text.contains("cannot reach the server"), "{text}");
}

#[test]
fn check_warns_of_calls_that_no_client_can_approve() {
    let node = start_node();
    let check = |clients: &[&str]| {
        let mut config = config(&node);
        config["clients"].as_object_mut().expect("clients").retain(|name, _| clients.contains(&name.as_str()));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("clusters.json");
        fs::write(&file, config.to_string()).expect("write");
        let output = Command::new(binary()).env_clear().arg("check").arg("--config").arg(&file).output().expect("run");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(!check(&["ada", "bob", "dan"]).contains("no other client of this cluster may approve"));
    // A client that only reads asks for no approval, and may give one.
    assert!(!check(&["bob", "dan"]).contains("no other client of this cluster may approve"));
    for name in ["ada", "dan"] {
        let text = check(&[name]);
        assert!(text.contains(&format!("client {name}: what has to be confirmed is refused")), "{text}");
    }
}

#[test]
fn last_calls_are_shown_to_approvers_without_values() {
    let node = start_node();
    let server = start(&node);
    let arguments = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE", "data": {"purge": true}});
    ask_legacy(&server, arguments);
    let get = |token: &str| server.connect().ask("GET /calls", &bearer(token));
    assert_eq!((get("pmcp_dan-dan-dan-dan-dan").status, get("pmcp_not-a-token-of-any").status), (403, 401));
    let reply = get(BOB);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let shown = &reply.json()["clients"][0];
    let call = &shown["calls"][0];
    assert_eq!(
        (&shown["client"], &call["tool"], &call["cluster"], &call["transport"]),
        (&json!("ada"), &json!(CALL), &json!("prod"), &json!("http"))
    );
    assert_eq!(call["operation"], "DELETE /nodes/pve1/qemu/100", "{call}");
    assert_eq!(call["outcome"], "asked", "{call}");
    assert!(!reply.body.contains("purge"), "{}", reply.body);
}

#[test]
fn stdio_call_is_approved_on_the_page_listener() {
    let node = start_node();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("clusters.json");
    fs::write(&file, config(&node).to_string()).expect("write");
    let start = |more: &[&str]| {
        let mut command = Command::new(binary());
        ServerProcess::of(command.env_clear().arg("stdio").arg("--config").arg(&file).args(more))
    };
    let initialize = request(
        0,
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"}}),
    );
    let mut alone = start(&[]);
    alone.ask(&initialize);
    let refused = alone.ask(&call(1, CALL, delete()));
    assert!(result_text(&refused).contains("--page-listen"), "{refused}");
    let mut process = start(&["--page-listen", "127.0.0.1:0"]);
    let address = loop {
        let line = process.stderr.recv_timeout(LONG).expect("a log line");
        if let Some((_, address)) = line.split_once("approvals on http://") {
            break address.trim().to_owned();
        }
    };
    process.ask(&initialize);
    let asked = process.ask(&call(1, CALL, delete()));
    let (_, rest) = result_text(&asked).split_once("as approval ").expect("an id");
    let id = &rest[..8];
    let output = run_approvals(&address, BOB, &["approve", id]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let done = process.ask(&call(2, CALL, delete()));
    assert!(result_text(&done).contains("UPID:"), "{done}");
    assert_eq!(deletes(&node), 1);
    process.end_input();
    assert!(process.wait_for_exit().success(), "the page's listener ends with stdin");
    let mut exposed = start(&["--page-listen", "0.0.0.0:0"]);
    assert_eq!(exposed.wait_for_exit().code(), Some(2));
}

#[test]
fn session_of_sse_can_not_approve_its_own_call() {
    let node = start_node();
    let server = start(&node);
    let session = Sse::open_with(server.connect(), &bearer(ADA));
    ask_sse(&server, delete());
    assert_eq!(decide(&server, ADA, &only_id(&server), "approve"), 403, "another session of the same client");
    drop(session);
    assert_eq!(deletes(&node), 0);
}

#[test]
fn approval_expires_before_and_after_the_decision() {
    let start = Instant::now();
    let passed = Arc::new(AtomicU64::new(0));
    let seconds = passed.clone();
    let clients = [client_of("ada", ALL, &[]), Client { approve: true, ..client_of("bob", ALL, &[]) }];
    let node = RecordingNode::start();
    let rules = ClusterPolicy { confirm_by: Confirmer::Operator, ..confirming_policy() };
    let clusters = manager(vec![node.cluster("prod", rules)]);
    let tools = ToolState::new(clusters, &clients, Arc::new(AuditLog::without_file()), 0).expect("a state");
    let clock = move || start + Duration::from_secs(seconds.load(Ordering::SeqCst));
    let tools = Arc::new(tools.with_clock(Arc::new(clock)));
    let server = McpServer::new(proxmox_mcp::tools::catalog(&tools)).expect("a server");
    let (ada, bob) = (caller(&clients[0]), caller(&clients[1]));
    let ask = || call_as(&server, &ada, CALL, delete()).text;
    let first_id = || {
        let list = tools.render_approvals(&bob.client).expect("an approver");
        list["approvals"][0]["id"].as_str().map(str::to_owned)
    };
    assert!(ask().contains("Not sent yet"));
    let undecided = first_id().expect("a call waits");
    passed.store(901, Ordering::SeqCst);
    assert_eq!(first_id(), None);
    assert!(ask().contains("Not sent yet"));
    let id = first_id().expect("a call waits");
    assert_ne!(id, undecided);
    let approver = Approver { client: &bob.client, address: None, transport: "http" };
    let approve = |id: &str| tools.call_service().decide_approval(&approver, id, ApprovalDecision::Approve);
    assert!(matches!(approve(&undecided), Err(ApprovalError::Unknown)));
    approve(&id).expect("approved");
    passed.store(901 + 301, Ordering::SeqCst);
    assert!(ask().contains("Not sent yet"), "the approval is too old");
    assert_eq!(node.writes(), [""; 0]);
    approve(&first_id().expect("a call waits")).expect("approved");
    passed.store(901 + 301 + 300, Ordering::SeqCst);
    assert!(!ask().contains("Not sent yet"));
    assert_eq!(node.writes(), ["DELETE /nodes/pve1/qemu/100"]);
}

#[test]
fn metrics_count_each_step() {
    let node = start_node();
    let server = ProgramServer::builder(&config(&node)).flags(&["--metrics"]).start();
    ask_legacy(&server, delete());
    decide(&server, BOB, &only_id(&server), "approve");
    let metrics = server.connect().ask("GET /metrics", &bearer(BOB)).body;
    for line in [
        "proxmox_mcp_approvals_total{event=\"requested\"} 1",
        "proxmox_mcp_approvals_total{event=\"approved\"} 1",
        "proxmox_mcp_approvals_total{event=\"denied\"} 0",
        "proxmox_mcp_approvals_waiting 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
