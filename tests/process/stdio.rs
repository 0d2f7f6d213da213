//! `proxmox-mcp stdio` as a client starts it: a process with one message per line on its pipes.

use crate::support::node::{Node, ScriptedReply};
use crate::support::process::{ServerProcess, configuration, path, program};
use crate::support::raw::LONG;
use crate::support::rpc::{MODERN, call, cancel_notification, code, modern, notification, request, text};
use rustix::io::ioctl_fionbio;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc::channel;

fn demo() -> ServerProcess {
    ServerProcess::start(&["stdio", "--demo"])
}

fn api(id: impl Into<Value>, path: &str) -> String {
    call(id, "proxmox_api_call", json!({"path": path}))
}

fn initialize_request(version: &str) -> String {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    request(0, "initialize", params)
}

/// Starts a process over one cluster, `node`.
fn start_process(node: &Node, limits: &[&str]) -> (ServerProcess, tempfile::NamedTempFile) {
    let config = configuration("s", &[("test", &node.endpoint().to_string())]);
    let args = [limits, &["stdio", "--config", path(&config)]].concat();
    (ServerProcess::start(&args), config)
}

#[test]
fn client_may_discover_before_initialize() {
    let mut process = demo();
    let discovered = process.ask(&modern("probe", "server/discover", json!({})));
    assert_eq!((&discovered["id"], &discovered["result"]["supportedVersions"]), (&json!("probe"), &json!([MODERN])));
    let bare = process.ask(&request(1, "server/discover", json!({})));
    assert_eq!(code(&bare), -32601, "without _meta it is a method that the older eras don't have");
    let agreed = process.ask(&initialize_request("2025-06-18"));
    assert_eq!(agreed["result"]["protocolVersion"], "2025-06-18", "{agreed}");
    process.write_line(&notification("notifications/initialized", json!({})));
    let tools = process.ask(&request(2, "tools/list", json!({})));
    let listed = tools["result"]["tools"].as_array().expect("a list");
    assert!(listed.iter().any(|tool| tool["name"] == "list_nodes"), "{tools}");
    assert!(text(&process.ask(&call(3, "list_nodes", json!({})))).contains("pve1"));
    let new = process.ask(&modern(4, "tools/call", json!({"name": "list_nodes", "arguments": {}})));
    assert_eq!(new["result"]["resultType"], "complete", "both eras in one process: {new}");
}

#[test]
fn prompts_resources_and_completion_are_answered_beside_calls() {
    let mut process = demo();
    let reference = json!({"type": "ref/prompt", "name": "troubleshoot"});
    let completion = json!({"ref": reference, "argument": {"name": "guest", "value": "web"}});
    process.write_line(&request(1, "prompts/get", json!({"name": "troubleshoot", "arguments": {"guest": "web01"}})));
    process.write_line(&request(2, "resources/read", json!({"uri": "pve://demo"})));
    process.write_line(&request(3, "completion/complete", completion));
    process.write_line(&request(4, "resources/list", json!({})));
    let answers: HashMap<_, _> =
        (0..4).map(|_| process.message()).map(|answer| (answer["id"].as_u64().expect("an id"), answer)).collect();
    let text = |id, pointer: &str| answers[&id].pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
    assert!(text(1, "/result/messages/0/content/text").contains("100 \"web01\" (qemu on pve1, running)"));
    assert!(text(2, "/result/contents/0/text").contains("3 of 3 nodes online"));
    assert_eq!(answers[&3]["result"]["completion"]["values"], json!(["web01", "web02"]));
    assert_eq!(text(4, "/result/resources/0/uri"), "pve://demo");
}

#[test]
fn several_calls_in_parallel_are_each_answered_once() {
    let mut process = demo();
    for id in 0..10 {
        process.write_line(&api(id, &format!("/cluster/resources?type={}", ["vm", "node", "storage"][id % 3])));
    }
    let answers: HashMap<_, _> = (0..10)
        .map(|_| {
            let answer = process.message();
            (answer["id"].as_u64().expect("an id"), text(&answer).to_owned())
        })
        .collect();
    for id in 0..10 {
        let sought = ["qemu/100", "node/pve1", "storage/pve1/local"][id as usize % 3];
        assert!(answers[&id].contains(sought), "{id}: {}", answers[&id]);
    }
}

#[test]
fn hanging_call_delays_neither_others_nor_its_cancellation() {
    let node = Node::start(|request| match request.path() {
        "/api2/json/nodes/pve1/qemu/100/config" => ScriptedReply::hang(),
        _ => ScriptedReply::data("1"),
    });
    let (mut process, _config) = start_process(&node, &[]);
    process.write_line(&api(1, "/nodes/pve1/qemu/100/config"));
    // The first request fetches the description of the API.
    node.wait_for_path("/config", 1);
    assert_eq!(text(&process.ask(&api(2, "/version"))), "1");
    process.write_line(&cancel_notification(1));
    node.wait_for_closed(1);
    assert_eq!(process.ask(&request(3, "ping", json!({})))["id"], 3, "the cancelled call is not answered");
    process.end_input();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    assert_eq!(process.stdout.iter().count(), 0);
}

#[test]
fn stdout_has_only_messages_at_any_log_level() {
    let mut process = ServerProcess::start(&["stdio", "--demo", "--log", "trace"]);
    process.ask(&initialize_request("2024-11-05"));
    process.write_line("not a message");
    for id in 0..5 {
        process.write_line(&api(id, "/nodes"));
        process.write_line(&api(id, "/nope"));
    }
    for _ in 0..11 {
        process.message();
    }
    process.end_input();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    assert_eq!(process.stdout.iter().count(), 0);
    assert!(process.stderr.iter().any(|line| line.contains("initialize")), "the log is on stderr");
}

#[test]
fn invalid_lines_are_answered_with_errors() {
    let mut process = ServerProcess::start(&["--max-body-bytes", "2000", "stdio", "--demo"]);
    for (line, error, id) in [
        ("nope", -32700, Value::Null),
        ("{\"jsonrpc\":\"2.0\",", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        ("42", -32600, Value::Null),
        ("{\"jsonrpc\":\"2.0\",\"id\":9}", -32600, json!(9)),
        (&request("deep", "ping", json!({"x": "x".repeat(2000)})), -32600, Value::Null),
        (&request(1, "nope", json!({})), -32601, json!(1)),
    ] {
        let answer = process.ask(line);
        assert_eq!((code(&answer), &answer["id"]), (error, &id), "{line}");
    }
    // These have no answer.
    for line in ["", "   ", &notification("nope", json!({})), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#] {
        process.write_line(line);
    }
    assert_eq!(process.ask(&request("still there", "ping", json!({})))["id"], "still there");
}

#[test]
fn the_messages_of_a_batch_are_answered_one_by_one() {
    let mut server = demo();
    server.write_line(&format!("[{},{}]", request(1, "ping", json!({})), request("two", "ping", json!({}))));
    assert_eq!((&server.message()["id"], &server.message()["id"]), (&json!(1), &json!("two")));
    assert_eq!(server.ask("[]")["error"]["code"], -32600);
}

#[test]
fn bytes_that_are_not_utf_8_are_a_parse_error() {
    let mut process = demo();
    process.write_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}\n");
    assert!(code(&process.message()) < 0);
    assert_eq!(process.ask(&request(2, "ping", json!({})))["id"], 2);
}

#[test]
fn a_message_nested_ten_thousand_deep_is_answered_with_an_error() {
    let mut process = demo();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(code(&process.ask(&deep)), -32600);
    let message = request(1, "tools/call", json!({"name": "proxmox_api_call", "arguments": "DEEP"}));
    assert_eq!(code(&process.ask(&message.replace("\"DEEP\"", &format!("{{\"path\":{deep}}}")))), -32602);
    assert_eq!(process.ask(&request(2, "ping", json!({})))["id"], 2);
}

#[test]
fn end_of_stdin_waits_for_a_call_in_flight() {
    let node = Node::start(|_| ScriptedReply::data("1").dripping(std::time::Duration::from_millis(1)));
    let (mut process, _config) = start_process(&node, &[]);
    process.write_line(&api(1, "/version"));
    node.wait_for_requests(1);
    process.end_input();
    assert_eq!(text(&process.message()), "1");
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn end_of_stdin_cancels_a_hanging_call_which_reports_its_outcome() {
    let node =
        Node::start(|r| if r.path().ends_with("/start") { ScriptedReply::hang() } else { ScriptedReply::data("[]") });
    let (mut process, _config) = start_process(&node, &["--stop-timeout", "0.1"]);
    let arguments = json!({"path": "/nodes/n/qemu/100/status/start", "method": "POST"});
    process.write_line(&call(1, "proxmox_api_call", arguments));
    node.wait_for_path("/start", 1);
    process.end_input();
    let answer = process.message();
    assert!(
        text(&answer).contains("it is unknown whether `POST /nodes/n/qemu/100/status/start` took effect"),
        "{answer}"
    );
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn signal_finishes_a_call_in_flight_and_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (release, held) = channel::<()>();
        let held = Mutex::new(held);
        let node = Node::start(move |request| {
            if request.path().ends_with("/cluster/tasks") {
                let _ = held.lock().unwrap().recv();
            }
            ScriptedReply::data("1")
        });
        let (mut process, _config) = start_process(&node, &["--stop-timeout", "60"]);
        process.write_line(&api(1, "/cluster/tasks"));
        node.wait_for_path("/cluster/tasks", 1);
        process.signal(signal);
        while !process.stderr.recv_timeout(LONG).expect("a log line").contains("stopping") {}
        release.send(()).expect("the node is waiting");
        assert_eq!(text(&process.message()), "1");
        assert_eq!(process.wait_for_exit().code(), Some(0), "although its stdin is open");
        assert_eq!(process.stdout.iter().count(), 0);
    }
}

#[test]
fn signal_cancels_a_hanging_call_and_a_second_one_does_not_wait() {
    let node = Node::start(|_| ScriptedReply::hang());
    let (mut process, _config) = start_process(&node, &["--stop-timeout", "0.1"]);
    process.write_line(&api(1, "/version"));
    node.wait_for_requests(1);
    process.signal(Signal::TERM);
    assert_eq!(process.message()["result"]["isError"], true, "its client gets the error");
    assert_eq!(process.wait_for_exit().code(), Some(0));

    let node = Node::start(|_| ScriptedReply::hang());
    let (mut process, _config) = start_process(&node, &["--stop-timeout", "60"]);
    process.write_line(&api(1, "/version"));
    node.wait_for_requests(1);
    process.signal(Signal::TERM);
    while !process.stderr.recv_timeout(LONG).expect("a log line").contains("stopping") {}
    process.signal(Signal::TERM);
    assert_eq!(process.wait_for_exit().code(), Some(143));
}

#[test]
fn signal_ends_the_program_although_no_answer_is_read() {
    let mut command = program(&["stdio", "--demo", "--stop-timeout", "0.1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start");
    let mut stdin = child.stdin.take().expect("stdin");
    // Each answer has some kilobytes, and the buffer of the pipe has 64.
    for id in 0..50 {
        writeln!(stdin, "{}", request(id, "tools/list", json!({}))).expect("stdin is read");
    }
    let mut unread = child.stdout.take().expect("stdout");
    unread.read_exact(&mut [0; 100]).expect("the start of an answer");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).expect("signal");
    assert_eq!(child.wait().expect("wait").code(), Some(0));
}

#[test]
fn pipes_in_nonblocking_mode_lose_nothing() {
    let ((stdin, mut input), (output, stdout)) = (pipe().expect("a pipe"), pipe().expect("a pipe"));
    ioctl_fionbio(&stdin, true).expect("nonblocking mode");
    ioctl_fionbio(&stdout, true).expect("nonblocking mode");
    let mut command = program(&["stdio", "--demo"]);
    let mut child = command.stdin(stdin).stdout(stdout).stderr(Stdio::null()).spawn().expect("start");
    drop(command);
    let output = BufReader::new(output);
    // No answer is read before the pipe is full.
    for id in 0..50 {
        writeln!(input, "{}", request(id, "tools/list", json!({}))).expect("stdin is read");
    }
    let answers = output.lines().take(50).map(|line| line.expect("UTF-8"));
    for (id, line) in answers.enumerate() {
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(answer["id"] == id && answer["result"]["tools"].is_array(), "{line}");
    }
    drop(input);
    assert_eq!(child.wait().expect("wait").code(), Some(0));
}

#[test]
fn every_call_is_answered_at_the_end_of_stdin_and_at_a_signal() {
    for signal in [None, Some(Signal::TERM)] {
        let node = Node::start(|_| ScriptedReply::hang());
        let (mut process, _config) = start_process(&node, &["--max-calls", "1", "--stop-timeout", "0.1"]);
        process.write_line(&api(1, "/version"));
        process.write_line(&api(2, "/version"));
        node.wait_for_requests(1);
        assert_eq!(process.ask(&request("p", "ping", json!({})))["id"], "p");
        match signal {
            None => process.end_input(),
            Some(signal) => process.signal(signal),
        }
        let mut answers = [process.message(), process.message()];
        answers.sort_by_key(|answer| answer["id"].as_u64());
        assert_eq!(answers[0]["result"]["isError"], true, "{answers:?}");
        let text = answers[1]["error"]["message"].as_str().unwrap_or_default();
        assert!(text.starts_with("call not begun: "), "{answers:?}");
        assert_eq!(process.wait_for_exit().code(), Some(0));
    }
}

#[test]
fn a_last_line_without_a_line_end_is_answered() {
    let mut process = demo();
    process.write_bytes(request(1, "ping", json!({})).as_bytes());
    process.end_input();
    assert_eq!(process.message()["id"], 1);
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn client_that_stops_reading_does_not_delay_the_exit() {
    let mut process = ServerProcess::start_unread(&["stdio", "--demo"]);
    for id in 0..10 {
        process.write_line(&request(id, "tools/list", json!({})));
    }
    process.end_input();
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn invalid_configuration_exits_with_2_and_the_error_on_stderr() {
    let mut config = tempfile::NamedTempFile::new().expect("a file");
    config.write_all(br#"{"clusters": {"lab": {"url": "pve1", "usr": "mcp@pve"}}}"#).expect("write");
    for args in [["stdio", "--config", path(&config)], ["stdio", "--config", "/nonexistent/clusters.json"]] {
        let output = program(&args).output().expect("run");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text}");
        assert!(text.contains("error: ") && text.contains(args[2]), "{text}");
    }
}

#[test]
fn every_line_is_flushed_when_it_is_written() {
    let mut process = demo();
    for id in 0..50 {
        process.write_line(&request(id, "ping", json!({})));
        let line = process.stdout.recv_timeout(LONG).expect("an answer before the next request");
        assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    }
}
