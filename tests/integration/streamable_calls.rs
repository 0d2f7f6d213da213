//! Calls over `POST /mcp` that are slow, report progress, fail or are cancelled, and the product's tools over a
//! simulated cluster.

use crate::support::node::{Node, ScriptedReply};
use crate::support::raw::{Client, LONG, eventually};
use crate::support::rpc::{
    ACCEPT, EVENTS_ONLY, JSON_ONLY, assert_error, call, call_with_progress, cancel_notification, code, modern,
};
use crate::support::rpc::{modern_headers, request, text};
use crate::support::server::{TestServer, patient_limits};
use crate::support::test_tools::{LARGE, TestTools, product, start, start_with};
use proxmox_mcp::config::Limits;
use proxmox_mcp::pve::demo::{Demo, Options};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

// ---- progress

#[test]
fn progress_turns_the_answer_into_a_stream_that_ends_with_it() {
    let (server, _stage) = start();
    for token in [json!("t"), json!(7)] {
        let mut client = server.connect();
        client.send_post_with("/mcp", ACCEPT, &call_with_progress("p", "steps", json!({}), token.clone()));
        let mut events = client.events();
        assert!(events.comment().starts_with(": "), "a first comment, for proxies that hold back the head");
        let messages = events.messages();
        let done: Vec<_> = messages.iter().map(|m| m["params"]["progress"].as_f64()).collect();
        assert_eq!(done, [Some(1.0), Some(2.0), Some(3.0), None], "{messages:?}");
        for note in &messages[..3] {
            assert_eq!(note["method"], "notifications/progress");
            assert_eq!((&note["params"]["progressToken"], &note["params"]["total"]), (&token, &json!(3)));
        }
        assert_eq!((&messages[3]["id"], text(&messages[3])), (&json!("p"), "done"));
    }
}

#[test]
fn progress_is_sent_to_clients_of_2026_07_28_as_well() {
    let (server, _stage) = start();
    let body = modern(1, "tools/call", json!({"name": "steps", "_meta": {"progressToken": "t"}}));
    let mut client = server.connect();
    client.send_post_with("/mcp", &modern_headers(&body), &body);
    let messages = client.events().messages();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert_eq!(messages[3]["result"]["resultType"], "complete");
}

#[test]
fn call_without_a_progress_token_is_answered_with_json() {
    let (server, _stage) = start();
    assert_eq!(text(&server.connect().mcp(&call(1, "steps", json!({}))).json()), "done");
}

#[test]
fn accept_of_json_only_gets_no_progress() {
    let (server, _stage) = start();
    let body = call_with_progress(1, "steps", json!({}), "t");
    assert_eq!(text(&server.connect().post_with("/mcp", JSON_ONLY, &body).json()), "done");
}

#[test]
fn a_stream_is_kept_alive_by_comments_while_the_call_runs() {
    let (server, test_tools) = start_with(Limits { sse_keepalive: Duration::from_millis(10), ..patient_limits() });
    let mut client = server.connect();
    client.send_post_with("/mcp", ACCEPT, &call_with_progress(1, "hold", json!({"name": "quiet"}), "t"));
    let mut events = client.events();
    events.comment();
    assert_eq!(events.json()["method"], "notifications/progress");
    for _ in 0..3 {
        assert_eq!(events.comment(), ": keep-alive");
    }
    test_tools.release("quiet");
    assert_eq!(text(&events.json()), "released quiet");
    assert!(events.event().is_none());
}

/// Returns limits with which a call that waits becomes a stream at the monitor's next look.
fn stream_soon() -> Limits {
    let soon = Duration::from_millis(10);
    Limits { stream_delay: soon, sse_keepalive: soon, ..patient_limits() }
}

#[test]
fn a_call_that_takes_long_becomes_a_stream_with_comments_and_one_event() {
    let (server, test_tools) = start_with(stream_soon());
    let params = |name: &str| json!({"name": "hold", "arguments": {"name": name}});
    let legacy = |name: &str| request(1, "tools/call", params(name));
    let modern = modern(1, "tools/call", params("modern"));
    for (name, headers, body) in [
        ("legacy", ACCEPT.to_owned(), legacy("legacy")),
        ("events", EVENTS_ONLY.to_owned(), legacy("events")),
        ("any", "Accept: */*\r\n".to_owned(), legacy("any")),
        ("modern", modern_headers(&modern), modern),
    ] {
        let mut client = server.connect();
        client.send_post_with("/mcp", &headers, &body);
        let mut events = client.events();
        assert!(events.head.contains("X-Accel-Buffering: no"), "{}", events.head);
        assert_eq!(events.comment(), ": answer follows");
        for _ in 0..3 {
            assert_eq!(events.comment(), ": keep-alive");
        }
        test_tools.release(name);
        assert_eq!(text(&events.json()), format!("released {name}"));
        assert!(events.event().is_none());
    }
}

#[test]
fn a_call_that_takes_long_is_answered_with_json_to_a_client_that_takes_no_events() {
    let (server, test_tools) = start_with(stream_soon());
    // The stream of another call shows that the delay is over.
    let mut other = server.connect();
    other.send_post_with("/mcp", ACCEPT, &call(2, "hold", json!({"name": "other"})));
    let mut pending = Vec::new();
    let hold = call(1, "hold", json!({"name": "json"}));
    for (headers, body) in [
        (JSON_ONLY, hold.clone()),
        ("", hold.clone()),
        ("Accept: application/*\r\n", hold.clone()),
        ("Accept: application/json;q=0.5, text/event-stream; Q=0\r\n", hold.clone()),
        (ACCEPT, format!("[{hold}]")),
    ] {
        let mut client = server.connect();
        client.send_post_with("/mcp", headers, &body);
        pending.push(client);
    }
    test_tools.wait_for("json");
    let mut events = other.events();
    for _ in 0..10 {
        events.comment();
    }
    test_tools.release("json");
    for mut client in pending {
        let reply = client.reply().expect("an answer");
        assert!(reply.has_header("Content-Type: application/json"), "{}", reply.head);
        assert!(reply.body.contains("released json"), "{}", reply.body);
    }
    test_tools.release("other");
    assert_eq!(text(&events.json()), "released other");
}

#[test]
fn progress_after_the_start_of_a_stream_continues_it() {
    let (server, test_tools) = start_with(stream_soon());
    let mut client = server.connect();
    client.send_post_with("/mcp", ACCEPT, &call_with_progress(1, "late_step", json!({"name": "p"}), "t"));
    let mut events = client.events();
    events.comment();
    test_tools.release("p");
    let messages = events.messages();
    assert_eq!(messages.len(), 2, "progress, an answer and no second head: {messages:?}");
    assert_eq!((&messages[0]["method"], text(&messages[1])), (&json!("notifications/progress"), "released p"));
}

#[test]
fn closing_a_stream_that_the_delay_started_cancels_a_modern_call() {
    let (server, test_tools) = start_with(stream_soon());
    let mut events = start_held_call(&test_tools, &server, "gone", true).events();
    events.comment();
    drop(events);
    test_tools.wait_for_cancel("gone");
    server.assert_answers();
}

// ---- calls that are slow, fail or are cancelled

#[test]
fn answer_of_8_mb_is_complete() {
    let (server, _stage) = start_with(patient_limits());
    let reply = server.connect().mcp(&call(1, "large", json!({})));
    assert_eq!(text(&reply.json()).len(), LARGE);
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let (server, test_tools) = start();
    let mut client = server.connect();
    client.send_post_with("/mcp", ACCEPT, &call(1, "hold", json!({"name": "first"})));
    client.send_post_with("/mcp", ACCEPT, &call(2, "echo", json!({"text": "x"})));
    client.send_post_with("/mcp", ACCEPT, &request(3, "ping", json!({})));
    test_tools.wait_for("first");
    test_tools.release("first");
    for id in 1..=3 {
        assert_eq!(client.reply().expect("an answer").json()["id"], id);
    }
}

/// Sends a call of `hold`, of the newest version or an older one, and returns its connection once the call runs.
fn start_held_call(test_tools: &TestTools, server: &TestServer, name: &str, modern_era: bool) -> Client {
    let params = json!({"name": "hold", "arguments": {"name": name}});
    let mut client = server.connect();
    if modern_era {
        let body = modern(1, "tools/call", params);
        client.send_post_with("/mcp", &modern_headers(&body), &body);
    } else {
        client.send_post_with("/mcp", ACCEPT, &request(1, "tools/call", params));
    }
    test_tools.wait_for(name);
    client
}

#[test]
fn closing_the_response_ends_a_read_in_every_version_and_no_other_call() {
    let (server, test_tools) = start();
    let legacy = start_held_call(&test_tools, &server, "legacy", false);
    let modern = start_held_call(&test_tools, &server, "modern", true);
    let other = start_held_call(&test_tools, &server, "other", true);
    drop(legacy);
    drop(modern);
    test_tools.wait_for_cancel("modern");
    test_tools.wait_for_cancel("legacy");
    assert!(!test_tools.was_cancelled("other"));
    test_tools.release("other");
    let mut other = other;
    assert_eq!(text(&other.reply().expect("an answer").json()), "released other");
    server.assert_answers();
}

#[test]
fn notification_cancels_the_only_call_of_its_client_with_the_id() {
    let (server, test_tools) = start();
    let mut first = start_held_call(&test_tools, &server, "first", false);
    let mut canceller = server.connect();
    for id in [json!(2), json!("1"), Value::Null] {
        assert_eq!(canceller.mcp(&cancel_notification(id)).status, 202);
    }
    assert!(!test_tools.was_cancelled("first"));
    assert_eq!(canceller.mcp(&cancel_notification(1)).status, 202);
    test_tools.wait_for_cancel("first");
    let reply = first.reply().expect("an end of the request");
    assert_eq!((reply.status, reply.body.as_str()), (202, ""), "a cancelled call has no answer");
    assert_eq!(text(&first.mcp(&call(1, "echo", json!({"text": "x"}))).json()), "x", "the connection is kept");

    let mut twice = ["one", "two"].map(|name| start_held_call(&test_tools, &server, name, false));
    assert_eq!(canceller.mcp(&cancel_notification(1)).status, 202);
    for (name, client) in ["one", "two"].into_iter().zip(&mut twice) {
        assert!(!test_tools.was_cancelled(name), "two calls fit");
        test_tools.release(name);
        assert_eq!(text(&client.reply().expect("an answer").json()), format!("released {name}"));
    }
}

/// Starts the product over a node that holds each start of a guest until it is released, and never answers a report.
fn start_with_held_starts(max_calls: usize) -> (Node, TestServer, Sender<()>) {
    let (release, released) = channel();
    let released = Mutex::new(released);
    let node = Node::start(move |request| {
        if request.path().ends_with("/report") {
            return ScriptedReply::hang();
        }
        if request.path().ends_with("/start") {
            let _ = released.lock().expect("one at a time").recv_timeout(LONG);
        }
        ScriptedReply::data("[]")
    });
    let limits = Limits { max_calls, ..patient_limits() };
    let server = TestServer::builder().limits(limits).mcp(product(vec![node.cluster_settings()])).start();
    (node, server, release)
}

/// Returns a call that starts a guest.
fn start_call(vmid: u32) -> String {
    let path = format!("/nodes/n/qemu/{vmid}/status/start");
    call(vmid, "proxmox_api_call", json!({"path": path, "method": "POST"}))
}

#[test]
fn change_in_flight_outlasts_its_client_and_a_read_does_not() {
    let (node, server, release) = start_with_held_starts(2);
    let (mut change, mut read) = (server.connect(), server.connect());
    change.send_post_with("/mcp", JSON_ONLY, &start_call(100));
    node.wait_for_path("/100/status/start", 1);
    read.send_post_with("/mcp", JSON_ONLY, &call(1, "proxmox_api_get", json!({"path": "/nodes/n/report"})));
    node.wait_for_path("/report", 1);
    drop(change);
    drop(read);
    // The end of the read shows that the server has noticed both.
    eventually("the read's connection is closed", || node.open_connections() == 1);
    server.assert_answers();
    assert_eq!(node.open_connections(), 1, "the change keeps its connection");
    release.send(()).expect("the node waits");
}

#[test]
fn change_in_flight_of_a_session_outlasts_its_stream_and_a_read_does_not() {
    let (node, server, release) = start_with_held_starts(2);
    let session = server.sse();
    assert_eq!(server.connect().post(&session.path, &start_call(100)).status, 202);
    node.wait_for_path("/100/status/start", 1);
    let read = call(1, "proxmox_api_get", json!({"path": "/nodes/n/report"}));
    assert_eq!(server.connect().post(&session.path, &read).status, 202);
    node.wait_for_path("/report", 1);
    drop(session);
    eventually("the read's connection is closed", || node.open_connections() == 1);
    server.assert_answers();
    assert_eq!(node.open_connections(), 1, "the change keeps its connection");
    release.send(()).expect("the node waits");
}

#[test]
fn no_call_of_a_batch_begins_after_its_client_has_gone() {
    let (node, server, release) = start_with_held_starts(1);
    let mut client = server.connect();
    client.send_post_with("/mcp", JSON_ONLY, &format!("[{},{}]", start_call(100), start_call(101)));
    node.wait_for_path("/100/status/start", 1);
    drop(client);
    release.send(()).expect("the node waits");
    let (mut probe, message) = (server.connect(), call(1, "list_clusters", json!({})));
    eventually("the only place is free", || probe.mcp(&message).json()["result"].is_object());
    assert!(!node.requests().iter().any(|request| request.path().contains("/101/")), "{:?}", node.requests());
}

#[test]
fn wait_for_a_task_ends_with_its_client() {
    let node = Node::start(|request| match request.path() {
        path if path.contains("/tasks/") => ScriptedReply::data(r#"{"status":"running"}"#),
        _ => ScriptedReply::data("[]"),
    });
    let limits = Limits { max_calls: 1, ..patient_limits() };
    let server = TestServer::builder().limits(limits).mcp(product(vec![node.cluster_settings()])).start();
    let mut client = server.connect();
    let upid = "UPID:n:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:";
    client.send_post_with("/mcp", JSON_ONLY, &call(1, "wait_for_task", json!({"upid": upid, "timeout": 600})));
    eventually("a poll", || node.requests().iter().any(|request| request.path().contains("/tasks/")));
    drop(client);
    let (mut probe, message) = (server.connect(), call(1, "list_clusters", json!({})));
    eventually("the only place is free", || probe.mcp(&message).json()["result"].is_object());
}

#[test]
fn closing_a_stream_of_progress_cancels_its_call() {
    let (server, test_tools) = start();
    let params = json!({"name": "hold", "arguments": {"name": "streaming"}, "_meta": {"progressToken": 1}});
    let body = modern(1, "tools/call", params);
    let mut client = server.connect();
    client.send_post_with("/mcp", &modern_headers(&body), &body);
    let mut events = client.events();
    assert_eq!(events.json()["method"], "notifications/progress");
    test_tools.wait_for("streaming");
    drop(events);
    test_tools.wait_for_cancel("streaming");
    server.assert_answers();
}

#[test]
fn cancelled_call_closes_its_connection_to_the_cluster() {
    let node = Node::start(|_| ScriptedReply::hang());
    let server = TestServer::builder().mcp(product(vec![node.cluster_settings()])).start();
    let body = modern(1, "tools/call", json!({"name": "list_nodes", "arguments": {}}));
    let mut client = server.connect();
    client.send_post_with("/mcp", &modern_headers(&body), &body);
    node.wait_for_requests(1);
    drop(client);
    node.wait_for_closed(1);
    assert_eq!(node.requests().len(), 1, "it gets no second request");
    server.assert_answers();
}

#[test]
fn call_over_the_limit_is_rejected_as_busy() {
    let (server, test_tools) = start_with(Limits { max_calls: 2, ..patient_limits() });
    let mut first = start_held_call(&test_tools, &server, "first", false);
    let _second = start_held_call(&test_tools, &server, "second", true);
    let mut client = server.connect();
    let echo = call(3, "echo", json!({"text": "x"}));
    for body in [echo.clone(), format!("[{echo}]")] {
        let reply = client.mcp(&body);
        assert!(reply.status == 200 && reply.body.contains("-32000") && reply.body.contains("busy"), "{}", reply.body);
    }
    assert_eq!(
        client.mcp(&request(4, "ping", json!({}))).json()["result"],
        json!({}),
        "what is answered from memory needs no place"
    );
    test_tools.release("first");
    assert_eq!(text(&first.reply().expect("an answer").json()), "released first");
    eventually("there is a free place again", || client.mcp(&echo).json()["result"].is_object());
}

#[test]
fn panicking_tool_is_an_error_to_its_caller_only() {
    let (server, _stage) = start();
    let mut client = server.connect();
    for reply in [
        client.mcp(&call(1, "panic", json!({}))),
        client.mcp_modern(&modern(1, "tools/call", json!({"name": "panic", "arguments": {}}))),
    ] {
        let answer = assert_error(&reply, 200, -32603, 1.into());
        assert!(!answer.to_string().contains("a test's panic"), "no internals: {answer}");
    }
    assert_eq!(client.mcp(&request(2, "ping", json!({}))).json()["result"], json!({}), "its connection stays open");
}

#[test]
fn a_tool_that_panics_after_progress_ends_its_stream_with_an_error() {
    let (server, _stage) = start();
    let mut client = server.connect();
    client.send_post_with("/mcp", ACCEPT, &call_with_progress(1, "panic", json!({}), "t"));
    let messages = client.events().messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!((code(&messages[1]), &messages[1]["id"]), (-32603, &json!(1)));
}

#[test]
fn a_panic_in_a_batch_leaves_the_other_answers() {
    let (server, _stage) = start();
    let batch = format!(
        "[{},{},{}]",
        request(1, "ping", json!({})),
        call(2, "panic", json!({})),
        request(3, "ping", json!({}))
    );
    let answers = server.connect().mcp(&batch).json();
    assert_eq!((code(&answers[1]), &answers[1]["id"], &answers[2]["id"]), (-32603, &json!(2), &json!(3)));
}

#[test]
fn stop_waits_for_calls_in_flight() {
    let (mut server, test_tools) = start();
    let mut clients =
        [start_held_call(&test_tools, &server, "legacy", false), start_held_call(&test_tools, &server, "modern", true)];
    // A stream too: its comments show that the server still serves its calls during a stop.
    let params = json!({"name": "hold", "arguments": {"name": "stream"}, "_meta": {"progressToken": 1}});
    let body = modern(1, "tools/call", params);
    let mut client = server.connect();
    client.send_post_with("/mcp", &modern_headers(&body), &body);
    let mut events = client.events();
    events.comment();
    assert_eq!(events.json()["method"], "notifications/progress");
    server.begin_stop();
    eventually("the port is closed", || std::net::TcpStream::connect(server.address).is_err());
    for _ in 0..8 {
        events.comment();
    }
    for (name, client) in ["legacy", "modern"].into_iter().zip(&mut clients) {
        assert!(!test_tools.was_cancelled(name), "a stop does not cancel the call");
        test_tools.release(name);
        assert_eq!(text(&client.reply().expect("an answer").json()), format!("released {name}"));
        client.assert_ends();
    }
    test_tools.release("stream");
    assert_eq!(text(&events.json()), "released stream");
    server.wait_for_stop();
}

// ---- the product

/// Starts the product over a simulated cluster.
fn start_product() -> (Demo, TestServer) {
    let mut options = Options::default();
    options.task_step = Duration::from_millis(1);
    let demo = Demo::start_with(options).expect("the demo cluster");
    let server = TestServer::builder().mcp(product(vec![demo.cluster()])).start();
    (demo, server)
}

#[test]
fn every_tool_of_the_product_answers_in_both_eras() {
    let (_demo, server) = start_product();
    let mut client = server.connect();
    for (tool, arguments, expected) in [
        ("list_clusters", json!({"check": true}), "demo"),
        ("list_nodes", json!({}), "pve1"),
        ("get_cluster_resources", json!({"type": "vm"}), "qemu/100"),
        ("proxmox_api_call", json!({"path": "/version"}), "version: "),
    ] {
        let old = client.mcp(&call(1, tool, arguments.clone())).json();
        let new = client.mcp_modern(&modern(1, "tools/call", json!({"name": tool, "arguments": arguments}))).json();
        for answer in [old, new] {
            assert!(text(&answer).contains(expected) && answer["result"]["isError"].is_null(), "{tool}: {answer}");
        }
    }
}

#[test]
fn raw_post_starts_a_guest_and_its_task_finishes() {
    let (_demo, server) = start_product();
    let mut client = server.connect();
    let mut api = |method: &str, path: &str| {
        let answer =
            client.mcp(&call(1, "proxmox_api_call", json!({"path": path, "method": method, "format": "json"}))).json();
        assert!(answer["result"]["isError"].is_null(), "{path}: {answer}");
        serde_json::from_str::<Value>(text(&answer)).expect("JSON")
    };
    let guests = api("GET", "/cluster/resources?type=vm");
    let stopped = |guest: &&Value| guest["status"] == "stopped" && guest["type"] == "qemu" && guest["template"] != 1;
    let guest = guests.as_array().and_then(|all| all.iter().find(stopped)).expect("a stopped VM");
    let node = guest["node"].as_str().expect("a node");
    let guest = format!("/nodes/{node}/qemu/{}/status", guest["vmid"]);
    let upid = api("POST", &format!("{guest}/start"));
    let task = format!("/nodes/{node}/tasks/{}/status", upid.as_str().expect("a UPID"));
    eventually("the task ends", || api("GET", &task)["status"] == "stopped");
    assert_eq!(api("GET", &task)["exitstatus"], "OK");
    assert_eq!(api("GET", &format!("{guest}/current"))["status"], "running");
}

#[test]
fn rejection_by_the_cluster_is_a_result_without_internals() {
    let (_demo, server) = start_product();
    let mut client = server.connect();
    for arguments in [json!({"path": "/nope"}), json!({"path": "/version", "cluster": "other"}), json!({"path": "//x"})]
    {
        let answer = client.mcp(&call(1, "proxmox_api_call", arguments)).json();
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert!(!text(&answer).contains("::") && !text(&answer).contains(".rs"), "{answer}");
    }
}

#[test]
fn call_that_outlasts_the_stop_is_cancelled_and_reports_its_outcome() {
    let node =
        Node::start(|r| if r.path().ends_with("/start") { ScriptedReply::hang() } else { ScriptedReply::data("[]") });
    let limits = Limits { stop_timeout: Duration::from_millis(100), ..patient_limits() };
    let mut server = TestServer::builder().limits(limits).mcp(product(vec![node.cluster_settings()])).start();
    let write = json!({"path": "/nodes/n/qemu/100/status/start", "method": "POST"});
    let (old, new) = (call("old", "proxmox_api_call", write.clone()), {
        modern("new", "tools/call", json!({"name": "proxmox_api_call", "arguments": write}))
    });
    let (mut legacy, mut current, mut sse) = (server.connect(), server.connect(), server.sse());
    legacy.send_post_with("/mcp", JSON_ONLY, &old);
    current.send_post_with("/mcp", &modern_headers(&new), &new);
    let path = sse.path.clone();
    assert_eq!(server.connect().post(&path, &call("sse", "proxmox_api_call", write)).status, 202);
    node.wait_for_path("/start", 3);
    server.begin_stop();
    let answers = [legacy.reply().expect("an answer").json(), current.reply().expect("an answer").json(), sse.json()];
    for answer in answers {
        assert!(text(&answer).contains("it is unknown whether `POST /nodes/n/qemu/100/status/start` took"), "{answer}");
    }
    server.wait_for_stop();
}
