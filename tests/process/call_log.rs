//! The log line of a call, and the id that is in the log, the audit log and a failed result.

use crate::support::canary::{CANARY, assert_unseen};
use crate::support::node::{Node, ScriptedReply};
use crate::support::process::{ServerProcess, configuration, path, program};
use crate::support::raw::{Client, LONG};
use crate::support::rpc::{ACCEPT, call, modern, modern_headers, request};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use tempfile::NamedTempFile;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Starts the product over a node that answers everything with `"fine"` and rejects `/version`.
fn start_program(args: &[&str]) -> (ServerProcess, Client, (Node, NamedTempFile)) {
    let node = Node::start(|request| match request.target.as_str() {
        "/api2/json/version" => ScriptedReply::refusal(403, "Permission check failed", "{\"data\":null}"),
        _ => ScriptedReply::data("\"fine\""),
    });
    let config = configuration(CANARY, &[("prod", &node.endpoint().to_string())]);
    let mut all = vec!["--config", path(&config), "--listen", "127.0.0.1:0"];
    all.extend(args);
    let process = ServerProcess::of(&mut program(&all));
    let client = connect(&process);
    (process, client, (node, config))
}

fn connect(process: &ServerProcess) -> Client {
    Client::to(process.address())
}

/// Returns the next log line that contains all of these words.
fn line(process: &ServerProcess, words: &[&str]) -> String {
    loop {
        let line = process.stderr.recv_timeout(LONG).unwrap_or_else(|_| panic!("no line with {words:?}"));
        assert_unseen("the log", line.as_bytes());
        if words.iter().all(|word| line.contains(word)) {
            return line;
        }
    }
}

/// Returns the value of `key=`.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split(' ').find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

fn read_call(path: &str) -> String {
    call(1, "proxmox_api_get", json!({"path": path}))
}

#[test]
fn each_call_has_a_line_and_a_failed_result_has_its_id() {
    let (process, mut client, _world) = start_program(&[]);
    client.mcp(&read_call("/cluster/status"));
    let good = line(&process, &["proxmox_mcp::call"]);
    for (key, value) in [
        ("client", "anyone"),
        ("transport", "http"),
        ("address", "127.0.0.1"),
        ("tool", "proxmox_api_get"),
        ("cluster", "prod"),
        ("outcome", "ok"),
    ] {
        assert_eq!(field(&good, key), Some(value), "{good}");
    }
    assert!(good.contains(" INFO ") && field(&good, "ms").is_some_and(|ms| ms.parse::<u64>().is_ok()), "{good}");
    assert_eq!(field(&good, "traceparent"), None, "{good}");

    let answer = client.mcp(&read_call("/version")).json();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let bad = line(&process, &["proxmox_mcp::call"]);
    assert_eq!(field(&bad, "outcome"), Some("failed"), "{bad}");
    assert_eq!(answer["result"]["_meta"]["proxmox-mcp/callId"].as_str(), field(&bad, "id"), "{bad}");
    let (process_half, number) = field(&bad, "id").and_then(|id| id.split_once('-')).expect("an id");
    assert!(process_half.len() == 4 && good.contains(process_half), "{bad}");
    assert!(u64::from_str_radix(number, 16).is_ok(), "{bad}");

    let message = modern(2, "tools/call", json!({"name": "proxmox_api_get", "arguments": {"path": "/version"}}));
    let answer = client.post_with("/mcp", &modern_headers(&message), &message).json();
    let meta = &answer["result"]["_meta"];
    assert!(meta["io.modelcontextprotocol/serverInfo"].is_object(), "{answer}");
    assert_eq!(meta["proxmox-mcp/callId"].as_str(), field(&line(&process, &["proxmox_mcp::call"]), "id"));
}

#[test]
fn unknown_tool_name_is_not_logged() {
    let (process, mut client, _world) = start_program(&[]);
    let answer = client.mcp(&call(1, "x outcome=ok\nid=1", json!({}))).json();
    let line = line(&process, &["proxmox_mcp::call"]);
    assert_eq!((field(&line, "tool"), field(&line, "outcome")), (Some("-"), Some("failed")), "{line}");
    assert_eq!(answer["error"]["data"]["proxmox-mcp/callId"].as_str(), field(&line, "id"), "{answer}");
}

#[test]
fn the_audit_has_the_same_id_and_the_trace() {
    let (process, mut client, _world) = start_program(&["--log", "info,audit=debug"]);
    client.post_with("/mcp", &format!("{ACCEPT}traceparent: {TRACE}\r\n"), &read_call("/cluster/status"));
    let audit = line(&process, &[" audit ", "/cluster/status"]);
    let of_call = line(&process, &["proxmox_mcp::call"]);
    let audit: Value = serde_json::from_str(&audit[audit.find('{').expect("JSON")..]).expect("JSON");
    assert_eq!(audit["id"].as_str(), field(&of_call, "id"), "{audit}");
    assert_eq!((audit["trace"].as_str(), field(&of_call, "traceparent")), (Some(TRACE), Some(TRACE)), "{of_call}");
}

#[test]
fn trace_is_read_from_the_message_first_and_invalid_ones_are_ignored() {
    let (process, mut client, _world) = start_program(&[]);
    let with = |trace: &str| {
        let params = json!({"name": "list_clusters", "arguments": {}, "_meta": {"traceparent": trace}});
        request(1, "tools/call", params)
    };
    let other = TRACE.replace("4b", "5c");
    client.post_with("/mcp", &format!("{ACCEPT}traceparent: {other}\r\n"), &with(TRACE));
    assert_eq!(field(&line(&process, &["proxmox_mcp::call"]), "traceparent"), Some(TRACE));
    client.mcp(&with("00-x y\n"));
    let line = line(&process, &["proxmox_mcp::call"]);
    assert!(!line.contains("traceparent") && !line.contains("00-x"), "{line}");
}

#[test]
fn trace_is_sent_to_the_nodes_with_one_span_per_request() {
    let (process, mut client, (node, _config)) = start_program(&[]);
    let read_with = |meta: Value| {
        let arguments = json!({"paths": ["/cluster/status", "/cluster/tasks"]});
        request(1, "tools/call", json!({"name": "proxmox_api_get", "arguments": arguments, "_meta": meta}))
    };
    // The first call of all fetches the cluster's description of its API.
    client.mcp(&read_with(json!({})));
    let others = [TRACE.to_uppercase(), TRACE.replace("00-", "01-"), format!("{TRACE}\r\nX-Evil: 1"), "\u{7f}".into()];
    for other in others {
        client.mcp(&read_with(json!({"traceparent": other})));
    }
    let before = node.requests();
    assert!(before.len() > 10 && before.iter().all(|request| request.header("traceparent").is_none()), "{before:?}");

    client.mcp(&read_with(json!({"traceparent": TRACE})));
    let header = format!("{ACCEPT}traceparent: {}\r\ntracestate: a=b\r\n", TRACE.replace("-01", "-fd"));
    client.post_with("/mcp", &header, &read_with(json!({})));
    let requests = &node.requests()[before.len()..];
    let mut spans = std::collections::BTreeSet::from([&TRACE[36..52]]);
    for request in requests {
        let sent = request.header("traceparent").unwrap_or_else(|| panic!("none: {request:?}"));
        assert_eq!((sent.len(), &sent[..36], &sent[52..]), (55, &TRACE[..36], "-01"), "{sent}");
        assert!(spans.insert(&sent[36..52]), "a span of its own: {sent}");
        assert_eq!(request.header("tracestate"), None);
    }
    assert_eq!(requests.len(), 4, "{requests:?}");
    drop(process);
}

#[test]
fn denied_call_is_logged_and_counted_as_denied() {
    let entry = json!({"url": "http://127.0.0.1:1", "user": "mcp@pve", "token_id": "ro", "token_secret": CANARY,
        "access": "read"});
    let mut config = NamedTempFile::new().expect("a file");
    write!(config, "{}", json!({"clusters": {"prod": entry}})).expect("write");
    let mut command = program(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    let process = ServerProcess::of(command.env("MCP_METRICS", "true"));
    let mut client = connect(&process);
    let delete = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"});
    let answer = client.mcp(&call(1, "proxmox_api_call", delete)).json();
    let line = line(&process, &["proxmox_mcp::call"]);
    assert_eq!((field(&line, "outcome"), field(&line, "cluster")), (Some("refused"), Some("prod")), "{answer}");
    let counted = r#"proxmox_mcp_calls_total{tool="proxmox_api_call",client="anyone",outcome="refused"} 1"#;
    let text = client.ask("GET /metrics", "").body;
    assert!(text.lines().any(|line| line == counted), "{text}");
}

#[test]
fn a_slow_call_is_a_warning() {
    let node = Node::start(|_| ScriptedReply::data("\"fine\"").dripping(Duration::from_millis(1)));
    let config = configuration(CANARY, &[("prod", &node.endpoint().to_string())]);
    let limit = ["--slow-call", "0.01", "--log", "warn"];
    let process = ServerProcess::start(&[&["--config", path(&config), "--listen", "127.0.0.1:0"], &limit[..]].concat());
    connect(&process).mcp(&read_call("/cluster/status"));
    let warned = line(&process, &["proxmox_mcp::call"]);
    assert!(warned.contains(" WARN ") && warned.ends_with(" slow"), "{warned}");
}

#[test]
fn requested_wait_is_not_slow() {
    let process = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0", "--slow-call", "0.01"]);
    let snapshot =
        json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "before"}, "wait": true});
    let answer = connect(&process).mcp(&call(1, "proxmox_api_call", snapshot)).json();
    assert!(answer["result"]["isError"].is_null(), "{answer}");
    let line = line(&process, &["proxmox_mcp::call"]);
    assert!(line.contains(" INFO ") && !line.contains("slow"), "{line}");
}

#[test]
fn json_log_has_one_object_per_line() {
    let (process, mut client, _world) = start_program(&["--log-format", "json"]);
    client.mcp(&read_call("/version"));
    let of_call = line(&process, &["proxmox_mcp::call"]);
    let object: Value = serde_json::from_str(&of_call).expect("JSON");
    let names: Vec<&String> = object.as_object().expect("an object").keys().collect();
    assert_eq!(names.len(), 4, "{object}");
    assert_eq!((&object["level"], &object["target"]), (&json!("INFO"), &json!("proxmox_mcp::call")));
    assert!(object["message"].as_str().is_some_and(|m| m.contains(" outcome=failed ")), "{object}");
    assert!(object["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{object}");
}

#[test]
fn json_log_begins_with_the_facts_of_the_start() {
    let mut command = program(&["--demo", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut process = ServerProcess::of(command.env("MCP_AUTH_TOKEN", "sixteen_letters_"));
    let first = process.stdout.recv_timeout(LONG).expect("a first line");
    process.signal(rustix::process::Signal::TERM);
    process.wait_for_exit();
    let lines: Vec<Value> = std::iter::once(first)
        .chain(process.stdout.iter())
        .chain(process.stderr.iter())
        .map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for start in ["proxmox-mcp ", "Cluster: demo (default)  ", "Clients, each with its own TOKEN: MCP_AUTH_TOKEN "] {
        let has_start = |line: &Value| line["message"].as_str().is_some_and(|message| message.starts_with(start));
        assert!(lines.iter().any(has_start), "{start}: {lines:?}");
    }
}

#[test]
fn line_of_a_call_has_its_operation_and_guest() {
    let process = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0", "--log", "info,audit=off"]);
    let mut client = connect(&process);
    let change = |path: &str, method: &str| json!({"path": path, "method": method});
    let paths = |paths: Value| ("proxmox_api_get", json!({"paths": paths}));
    let vmid = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100", "storage": "local"}});
    for ((tool, arguments), words) in [
        (("proxmox_api_get", json!({"path": "/nodes/pve1/status"})), r#"operation="GET /nodes/pve1/status""#),
        // One of them, whichever is planned first.
        (paths(json!(["/nodes/pve1/status", "/nodes/pve2/status"])), r#"/status" and=others"#),
        (
            ("proxmox_api_call", change("/qemu/web01/status/reboot", "POST")),
            r#"outcome=ok ms=_ operation="POST /nodes/pve1/qemu/100/status/reboot" guest=100"#,
        ),
        (
            ("proxmox_api_call", change("/qemu/staging01", "DELETE")),
            r#"outcome=asked ms=_ operation="DELETE /nodes/pve2/qemu/106" guest=106"#,
        ),
        (("proxmox_api_call", vmid), r#"operation="POST /nodes/pve1/vzdump" guest=100"#),
        // Words of a client are in quotes, so that they add none to the line.
        (
            ("proxmox_api_get", json!({"path": "/access/users/x outcome=ok"})),
            r#"operation="GET /access/users/x%20outcome=ok""#,
        ),
    ] {
        client.mcp(&call(1, tool, arguments));
        let line = line(&process, &[" proxmox_mcp"]);
        let ms = format!(" ms={} ", field(&line, "ms").unwrap_or_default());
        assert!(line.contains("proxmox_mcp::call ") && line.replace(&ms, " ms=_ ").ends_with(words), "{line}");
    }
}
