//! Long calls over GET /sse and POST /messages: parallel, limited and cancelled. Each is answered to its session.

use crate::support::node::{Node, ScriptedReply};
use crate::support::raw::{Client, LONG, Sse, eventually};
use crate::support::rpc::{call, call_with_progress, cancel_notification, code, request, text};
use crate::support::server::{TestServer, patient_limits};
use crate::support::test_tools::{LARGE, TestTools, product, start, start_with};
use proxmox_mcp::config::{ClusterConfig, Limits};
use proxmox_mcp::pve::demo::Demo;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A session and the connection it posts on.
struct Session {
    sse: Sse,
    poster: Client,
}

impl Session {
    fn open(server: &TestServer) -> Self {
        Self { sse: server.sse(), poster: server.connect() }
    }

    fn post(&mut self, message: &str) {
        let path = self.sse.path.clone();
        let reply = self.poster.post(&path, message);
        assert_eq!((reply.status, reply.body.as_str()), (202, "Accepted"), "{message}");
    }

    /// Calls `hold` and returns when it runs.
    fn hold(&mut self, test_tools: &TestTools, id: impl Into<Value>, name: &str) {
        self.post(&hold(id, name));
        test_tools.wait_for(name);
    }

    /// Posts a request and reads the next message.
    fn ask(&mut self, message: &str) -> Value {
        self.post(message);
        self.sse.json()
    }

    /// Asserts that a ping is answered before anything else.
    fn assert_quiet(&mut self) {
        let pong = self.ask(&request("quiet?", "ping", json!({})));
        assert_eq!(pong["id"], "quiet?", "{pong}");
    }
}

fn hold(id: impl Into<Value>, name: &str) -> String {
    call(id, "hold", json!({"name": name}))
}

fn echo_call(id: impl Into<Value>, text: &str) -> String {
    call(id, "echo", json!({"text": text}))
}

#[test]
fn the_messages_of_a_batch_take_their_share_of_the_memory() {
    let (server, test_tools) = start_with(Limits { max_buffered_bytes: 2 << 20, ..patient_limits() });
    let mut session = Session::open(&server);
    // A member that no method reads makes a message large.
    let large = |id: u32, name: &str| {
        let mut message: Value = serde_json::from_str(&hold(id, name)).unwrap();
        message["params"]["_meta"] = json!({"padding": "x".repeat(450 << 10)});
        message.to_string()
    };
    session.post(&format!("[{},{},{}]", large(1, "first"), large(2, "second"), large(3, "third")));
    for id in [2, 3] {
        let busy = session.sse.json();
        assert_eq!((&busy["id"], &busy["error"]["code"]), (&json!(id), &json!(-32000)), "{busy}");
    }
    test_tools.release("first");
    assert_eq!(session.sse.json()["id"], 1);
}

#[test]
fn the_messages_of_a_batch_are_answered_one_by_one() {
    let (server, test_tools) = start();
    let mut session = Session::open(&server);
    session.post(&format!("[{},{},{}]", hold(1, "h"), cancel_notification(9), request(2, "ping", json!({}))));
    assert_eq!(session.sse.json()["id"], 2, "a slow call delays no other message of its batch");
    test_tools.release("h");
    assert_eq!(session.sse.json()["id"], 1);
    assert_eq!(session.ask("[{\"jsonrpc\":\"2.0\",\"id\":3}]")["id"], 3, "an invalid one is answered as well");
    let path = session.sse.path.clone();
    assert_eq!(session.poster.post(&path, "[]").status, 400);
}

#[test]
fn slow_call_delays_neither_its_session_nor_another() {
    let (server, test_tools) = start();
    let (mut slow, mut other) = (Session::open(&server), Session::open(&server));
    slow.hold(&test_tools, 1, "slow");
    assert_eq!(slow.ask(&request(2, "ping", json!({})))["id"], 2);
    assert_eq!(text(&slow.ask(&echo_call(3, "mine"))), "mine");
    assert_eq!(text(&other.ask(&echo_call(1, "theirs"))), "theirs");
    test_tools.release("slow");
    let answer = slow.sse.json();
    assert_eq!((&answer["id"], text(&answer)), (&json!(1), "released slow"));
    other.assert_quiet();
}

#[test]
fn session_runs_calls_up_to_its_limit_and_the_next_is_busy() {
    let (server, test_tools) = start_with(Limits { max_calls_per_session: 3, ..patient_limits() });
    let (mut session, mut other) = (Session::open(&server), Session::open(&server));
    for id in 0..3 {
        session.hold(&test_tools, id, &format!("call {id}"));
    }
    let busy = session.ask(&echo_call(3, "x"));
    assert_eq!((code(&busy), &busy["id"]), (-32000, &json!(3)));
    assert!(busy["error"]["message"].as_str().is_some_and(|m| m.contains("this session")), "{busy}");
    assert_eq!(text(&other.ask(&echo_call(3, "x"))), "x", "another session has its own");
    test_tools.release("call 1");
    assert_eq!(session.sse.json()["id"], 1);
    assert_eq!(text(&session.ask(&echo_call(4, "y"))), "y", "the place is free once the answer has arrived");
}

#[test]
fn calls_beyond_the_workers_wait_for_their_turn() {
    let (server, test_tools) = start_with(Limits { max_calls: 2, ..patient_limits() });
    let mut session = Session::open(&server);
    session.hold(&test_tools, 1, "first");
    session.hold(&test_tools, 2, "second");
    session.post(&hold(3, "third"));
    session.assert_quiet();
    assert!(!test_tools.has_begun("third"));
    test_tools.release("first");
    assert_eq!(session.sse.json()["id"], 1);
    test_tools.wait_for("third");
    test_tools.release("third");
    assert_eq!(session.sse.json()["id"], 3);
}

#[test]
fn panicking_tool_is_an_error_and_the_session_continues() {
    let (server, _stage) = start_with(Limits { max_calls: 1, ..patient_limits() });
    let mut session = Session::open(&server);
    for id in 0..3 {
        let answer = session.ask(&call(id, "panic", json!({})));
        assert_eq!((code(&answer), &answer["id"]), (-32603, &json!(id)));
        assert!(!answer.to_string().contains("a test's panic"), "no internals: {answer}");
    }
    assert_eq!(text(&session.ask(&echo_call(3, "x"))), "x", "the only worker still runs");
}

#[test]
fn cancelled_call_is_notified_and_not_answered() {
    let (server, test_tools) = start();
    let (mut session, mut other) = (Session::open(&server), Session::open(&server));
    session.hold(&test_tools, 1, "given up");
    session.hold(&test_tools, "1", "a text for an id");
    other.hold(&test_tools, 1, "of another session");
    session.post(&cancel_notification(1));
    test_tools.wait_for_cancel("given up");
    session.assert_quiet();
    for name in ["a text for an id", "of another session"] {
        assert!(!test_tools.was_cancelled(name), "{name}");
        test_tools.release(name);
    }
    let answer = session.sse.json();
    assert_eq!((&answer["id"], text(&answer)), (&json!("1"), "released a text for an id"));
    assert_eq!(text(&other.sse.json()), "released of another session");
    session.assert_quiet();
}

#[test]
fn call_cancelled_in_the_queue_is_never_started() {
    let (server, test_tools) = start_with(Limits { max_calls: 2, ..patient_limits() });
    let mut session = Session::open(&server);
    session.hold(&test_tools, 1, "first");
    session.hold(&test_tools, 2, "second");
    session.post(&hold(3, "waiting"));
    session.post(&hold(4, "next"));
    session.post(&cancel_notification(3));
    test_tools.release("first");
    assert_eq!(session.sse.json()["id"], 1);
    test_tools.wait_for("next");
    assert!(!test_tools.has_begun("waiting"), "calls begin in their order");
    test_tools.release("next");
    assert_eq!(session.sse.json()["id"], 4);
    session.assert_quiet();
}

#[test]
fn cancellation_of_an_unknown_call_is_ignored() {
    let (server, _stage) = start();
    let mut session = Session::open(&server);
    assert_eq!(text(&session.ask(&echo_call(1, "x"))), "x");
    for id in [json!(1), json!(2), json!("1"), Value::Null] {
        session.post(&cancel_notification(id));
    }
    assert_eq!(text(&session.ask(&echo_call(1, "y"))), "y", "the same id again");
}

#[test]
fn closing_the_stream_cancels_the_calls_of_its_session_only() {
    let (server, test_tools) = start();
    let (mut gone, mut other) = (Session::open(&server), Session::open(&server));
    gone.hold(&test_tools, 1, "one");
    gone.hold(&test_tools, 2, "two");
    other.hold(&test_tools, 1, "other");
    drop(gone.sse);
    test_tools.wait_for_cancel("one");
    test_tools.wait_for_cancel("two");
    assert!(!test_tools.was_cancelled("other"));
    test_tools.release("other");
    assert_eq!(text(&other.sse.json()), "released other");
}

#[test]
fn call_that_waits_at_a_stop_is_told_that_it_did_not_begin() {
    let (mut server, test_tools) = start_with(Limits { max_calls: 1, ..patient_limits() });
    let mut session = Session::open(&server);
    session.hold(&test_tools, 1, "running");
    session.post(&hold(2, "waiting"));
    server.begin_stop();
    let answer = session.sse.json();
    assert_eq!((code(&answer), &answer["id"]), (-32000, &json!(2)), "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("not begun")), "{answer}");
    test_tools.release("running");
    assert_eq!(text(&session.sse.json()), "released running");
    assert!(!test_tools.has_begun("waiting"));
    server.wait_for_stop();
}

#[test]
fn a_stop_waits_for_a_running_call_and_then_ends_its_stream() {
    let (mut server, test_tools) = start();
    let mut session = Session::open(&server);
    session.hold(&test_tools, 1, "slow");
    server.begin_stop();
    eventually("the port is closed", || std::net::TcpStream::connect(server.address).is_err());
    assert!(!test_tools.was_cancelled("slow"));
    test_tools.release("slow");
    assert_eq!(text(&session.sse.json()), "released slow");
    assert!(session.sse.event().is_none(), "the stream ends");
    server.wait_for_stop();
}

#[test]
fn an_answer_of_8_mb_is_one_event() {
    let (server, _stage) = start_with(patient_limits());
    let mut session = Session::open(&server);
    assert_eq!(text(&session.ask(&call(1, "large", json!({})))).len(), LARGE);
    session.assert_quiet();
}

#[test]
fn progress_comes_before_the_answer_on_the_same_stream() {
    let (server, _stage) = start();
    let mut session = Session::open(&server);
    session.post(&call_with_progress(1, "steps", json!({}), "a token"));
    for done in 1..=3 {
        let note = session.sse.json();
        assert_eq!((&note["method"], &note["id"]), (&json!("notifications/progress"), &Value::Null));
        assert_eq!(note["params"]["progressToken"], "a token");
        assert_eq!(note["params"]["progress"], done);
    }
    assert_eq!(text(&session.sse.json()), "done");
}

#[test]
fn progress_is_sent_to_the_session_that_requested_it() {
    let (server, test_tools) = start();
    let (mut asking, mut other) = (Session::open(&server), Session::open(&server));
    other.hold(&test_tools, 1, "other");
    asking.post(&call_with_progress(1, "hold", json!({"name": "asked"}), 1));
    assert_eq!(asking.sse.json()["params"]["message"], "asked");
    other.assert_quiet();
}

#[test]
fn sessions_with_the_same_ids_get_only_their_own_answers() {
    let (server, _stage) = start();
    let mut sessions: Vec<_> = (0..8).map(|_| Session::open(&server)).collect();
    for id in 0..10 {
        for (n, session) in sessions.iter_mut().enumerate() {
            session.post(&echo_call(id, &format!("session {n} call {id}")));
        }
    }
    for (n, session) in sessions.iter_mut().enumerate() {
        let answers: HashMap<_, _> = (0..10)
            .map(|_| {
                let answer = session.sse.json();
                (answer["id"].as_i64(), text(&answer).to_owned())
            })
            .collect();
        for id in 0..10 {
            assert_eq!(answers[&Some(id)], format!("session {n} call {id}"));
        }
        session.assert_quiet();
    }
}

#[test]
fn hanging_cluster_delays_no_call_on_another() {
    let (node, demo) = (Node::start(|_| ScriptedReply::hang()), Demo::start().expect("the demo cluster"));
    let hangs = ClusterConfig { name: "hangs".into(), timeout: LONG, ..node.cluster_settings() };
    let server = TestServer::builder().mcp(product(vec![hangs, demo.cluster()])).start();
    let (mut session, mut other) = (Session::open(&server), Session::open(&server));
    let nodes = |id: i32, cluster: &str| call(id, "list_nodes", json!({"cluster": cluster}));
    for id in 0..4 {
        // Identical reads would share a request.
        let path = format!("/storage/s{id}");
        session.post(&call(id, "proxmox_api_get", json!({"cluster": "hangs", "path": path})));
    }
    node.wait_for_requests(4);
    for _ in 0..5 {
        for client in [&mut session, &mut other] {
            assert!(text(&client.ask(&nodes(9, "demo"))).contains("pve1"));
        }
    }
    session.post(&cancel_notification(0));
    node.wait_for_closed(1);
    drop(session.sse);
    node.wait_for_closed(4);
    other.assert_quiet();
}
