//! Limits of one client in flight and per minute, over all its connections and both transports. Other clients are
//! served meanwhile.

use crate::support::raw::{Client, Sse, eventually};
use crate::support::rpc::{ACCEPT, call, call_with_progress, cancel_notification, code, modern, modern_headers, text};
use crate::support::server::{TestServer, patient_limits};
use crate::support::test_tools::{TestTools, start_with};
use proxmox_mcp::config::{Client as Caller, Limits, TokenHash};
use serde_json::{Value, json};

const BUSY: i64 = -32000;

/// Starts a server with two clients, ada and bob. Returns it with the handle of its tools.
fn start(limits: Limits) -> (TestServer, TestTools) {
    let caller = |name: &str| Caller {
        name: name.into(),
        token_sha256: TokenHash::from_token(format!("pmcp_{name}").as_bytes()),
        ..Caller::anonymous()
    };
    let test_tools = TestTools::new();
    (
        TestServer::builder()
            .limits(limits)
            .clients(vec![caller("ada"), caller("bob")])
            .mcp(test_tools.server())
            .start(),
        test_tools,
    )
}

fn limits_in_flight(max_calls_per_client: usize) -> Limits {
    Limits { max_calls_per_client, ..patient_limits() }
}

fn limits_per_minute(max_calls_per_minute: usize) -> Limits {
    Limits { max_calls_per_minute, ..patient_limits() }
}

fn bearer(name: &str) -> String {
    format!("{ACCEPT}Authorization: Bearer pmcp_{name}\r\n")
}

fn hold_call(name: &str) -> String {
    call(name, "hold", json!({"name": name}))
}

fn echo_call() -> String {
    call(1, "echo", json!({"text": "hello"}))
}

/// Makes a call on a new connection and returns its answer.
fn ask(server: &TestServer, name: &str, message: &str) -> Value {
    server.connect().post_with("/mcp", &bearer(name), message).json()
}

fn is_served(server: &TestServer, name: &str) -> bool {
    let answer = ask(server, name, &echo_call());
    answer.get("error").is_none() && text(&answer) == "hello"
}

/// Returns the text of a rejection.
fn refusal(answer: &Value) -> &str {
    assert_eq!(code(answer), BUSY, "{answer}");
    answer["error"]["message"].as_str().expect("a text")
}

/// Calls `hold` and returns the connection once the call runs.
fn start_hold(server: &TestServer, test_tools: &TestTools, name: &str, call: &str) -> Client {
    let mut client = server.connect();
    client.send_post_with("/mcp", &bearer(name), &hold_call(call));
    test_tools.wait_for(call);
    client
}

#[test]
fn client_over_its_limit_in_flight_is_rejected_and_another_served() {
    let (server, test_tools) = start(limits_in_flight(2));
    let mut calls = [start_hold(&server, &test_tools, "ada", "a"), start_hold(&server, &test_tools, "ada", "b")];
    let answer = ask(&server, "ada", &echo_call());
    let text = refusal(&answer);
    for part in ["2 calls in flight", "--max-calls-per-client", "1 second"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(ask(&server, "ada", r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#)["id"], 9, "a ping needs no place");
    assert!(is_served(&server, "bob"));
    test_tools.release("a");
    assert_eq!(calls[0].reply().expect("an answer").status, 200);
    assert!(is_served(&server, "ada"), "the place was freed before the answer was sent");
    test_tools.release("b");
    assert_eq!(calls[1].reply().expect("an answer").status, 200);
}

#[test]
fn both_transports_and_all_sessions_count_together() {
    let (server, test_tools) = start(limits_in_flight(2));
    let open = || Sse::open_with(server.connect(), &bearer("ada"));
    let (mut one, mut other) = (open(), open());
    let mut poster = server.connect();
    assert_eq!(poster.post_with(&one.path, &bearer("ada"), &hold_call("a")).status, 202);
    test_tools.wait_for("a");
    let mut client = start_hold(&server, &test_tools, "ada", "b");
    assert_eq!(poster.post_with(&other.path, &bearer("ada"), &echo_call()).status, 202);
    refusal(&other.json());
    refusal(&ask(&server, "ada", &format!("[{}]", echo_call()))[0]);
    test_tools.release("a");
    assert_eq!(one.json()["id"], "a");
    assert_eq!(poster.post_with(&other.path, &bearer("ada"), &echo_call()).status, 202);
    assert_eq!(text(&other.json()), "hello");
    test_tools.release("b");
    assert_eq!(client.reply().expect("an answer").status, 200);
}

#[test]
fn cancelled_call_frees_its_place() {
    let (server, test_tools) = start(limits_in_flight(1));
    let sse = Sse::open_with(server.connect(), &bearer("ada"));
    let mut poster = server.connect();
    assert_eq!(poster.post_with(&sse.path, &bearer("ada"), &hold_call("a")).status, 202);
    test_tools.wait_for("a");
    assert!(!is_served(&server, "ada"));
    assert_eq!(poster.post_with(&sse.path, &bearer("ada"), &cancel_notification("a")).status, 202);
    test_tools.wait_for_cancel("a");
    eventually("the place is free again", || is_served(&server, "ada"));
}

#[test]
fn disconnected_client_frees_its_place() {
    let (server, test_tools) = start(limits_in_flight(1));
    let sse = Sse::open_with(server.connect(), &bearer("ada"));
    assert_eq!(server.connect().post_with(&sse.path, &bearer("ada"), &hold_call("a")).status, 202);
    test_tools.wait_for("a");
    drop(sse);
    test_tools.wait_for_cancel("a");
    eventually("the session's place is free again", || is_served(&server, "ada"));

    let message = modern(1, "tools/call", json!({"name": "hold", "arguments": {"name": "m"}}));
    let mut lost = server.connect();
    let headers = format!("{}Authorization: Bearer pmcp_ada\r\n", modern_headers(&message));
    lost.send_post_with("/mcp", &headers, &message);
    test_tools.wait_for("m");
    assert!(!is_served(&server, "ada"));
    drop(lost);
    test_tools.wait_for_cancel("m");
    eventually("the request's place is free again", || is_served(&server, "ada"));
}

#[test]
fn consecutive_calls_never_reach_the_limit() {
    let (server, _stage) = start(limits_in_flight(1));
    for n in 0..50 {
        let mut client = server.connect();
        let message = match n % 2 {
            0 => echo_call(),
            _ => call_with_progress(n, "steps", json!({}), "p"),
        };
        client.send_post_with("/mcp", &bearer("ada"), &message);
        let answered = if n % 2 == 0 { client.reply().expect("an answer").body } else { client.rest() };
        assert!(answered.contains("\"result\""), "{n}: {answered}");
    }
}

#[test]
fn client_over_its_limit_per_minute_gets_the_time_to_retry() {
    let (server, _stage) = start(limits_per_minute(3));
    for _ in 0..2 {
        assert!(is_served(&server, "ada"));
    }
    let batch = ask(&server, "ada", &format!("[{},{}]", echo_call(), echo_call()));
    assert_eq!(text(&batch[0]), "hello", "each call of a batch counts");
    let reason = refusal(&batch[1]);
    for part in ["the 3 calls", "in a minute", "--max-calls-per-minute", "again in ", " second"] {
        assert!(reason.contains(part), "{reason}");
    }
    let mut sse = Sse::open_with(server.connect(), &bearer("ada"));
    assert_eq!(server.connect().post_with(&sse.path, &bearer("ada"), &echo_call()).status, 202);
    refusal(&sse.json());
    assert!(is_served(&server, "bob"));
}

#[test]
fn without_clients_all_callers_share_the_limit_per_minute_only() {
    let (server, test_tools) =
        start_with(Limits { max_calls_per_client: 1, max_calls_per_minute: 2, ..patient_limits() });
    let post = |message: &str| {
        let mut client = server.connect();
        client.send_post_with("/mcp", ACCEPT, message);
        client
    };
    let mut calls = ["a", "b"].map(|name| {
        let client = post(&hold_call(name));
        test_tools.wait_for(name);
        client
    });
    let answer = post(&echo_call()).reply().expect("an answer").json();
    assert!(refusal(&answer).contains("--max-calls-per-minute"), "{answer}");
    ["a", "b"].iter().for_each(|name| test_tools.release(name));
    assert!(calls.iter_mut().all(|client| client.reply().expect("an answer").status == 200));
}
