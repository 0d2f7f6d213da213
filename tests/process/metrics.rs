//! `GET /metrics`: the counters in Prometheus' text format, without untrusted input.

use crate::support::canary::{CANARY, assert_unseen};
use crate::support::node::{Node, ScriptedReply, closed_endpoint};
use crate::support::process::{ServerProcess, configuration, path, program};
use crate::support::raw::{Client, ping};
use crate::support::rpc::{ACCEPT, call};
use crate::support::server::{TestServer, caller};
use crate::support::test_tools::TestTools;
use serde_json::json;
use std::collections::BTreeSet;
use tempfile::NamedTempFile;

const TOKEN: &str = "sixteen_letters_";

/// Starts the product, with metrics, over a cluster that answers and one that is down.
fn start_program(node: &Node, token: Option<&str>) -> (ServerProcess, NamedTempFile) {
    let config =
        configuration(CANARY, &[("prod", &node.endpoint().to_string()), ("down", &closed_endpoint().to_string())]);
    let args = ["--config", path(&config), "--listen", "127.0.0.1:0", "--metrics", "--log", "error"];
    let mut command = program(&args);
    if let Some(token) = token {
        command.env("MCP_AUTH_TOKEN", token);
    }
    (ServerProcess::of(&mut command), config)
}

fn start_node() -> Node {
    Node::start(|request| match request.path() {
        "/api2/json/version" => ScriptedReply::refusal(403, "Permission check failed", "{\"data\":null}"),
        _ => ScriptedReply::data("\"fine\""),
    })
}

fn read_call(path: &str, cluster: &str) -> String {
    call(1, "proxmox_api_get", json!({"path": path, "cluster": cluster}))
}

/// Returns the value of a sample, 0 if it is absent.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[test]
fn calls_and_requests_are_counted() {
    let node = start_node();
    let (process, _config) = start_program(&node, None);
    let address = process.address();
    let mut client = Client::to(&address);
    client.mcp(&read_call("/cluster/status", "prod"));
    client.mcp(&read_call("/cluster/tasks", "prod"));
    client.mcp(&read_call("/version", "prod"));
    client.mcp(&read_call("/version", "down"));
    client.mcp(&call(1, "list_clusters", json!({})));
    let reply = client.ask("GET /metrics", "");
    assert_eq!(reply.status, 200);
    assert!(reply.has_header("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{}", reply.head);
    let text = reply.body;
    for (sample, expected) in [
        (r#"proxmox_mcp_calls_total{tool="proxmox_api_get",client="anyone",outcome="ok"}"#, 2.0),
        (r#"proxmox_mcp_calls_total{tool="proxmox_api_get",client="anyone",outcome="failed"}"#, 2.0),
        (r#"proxmox_mcp_calls_total{tool="list_clusters",client="anyone",outcome="ok"}"#, 1.0),
        (r#"proxmox_mcp_call_seconds_bucket{tool="proxmox_api_get",le="+Inf"}"#, 4.0),
        (r#"proxmox_mcp_call_seconds_count{tool="proxmox_api_get"}"#, 4.0),
        ("proxmox_mcp_calls_in_flight", 0.0),
        (r#"proxmox_mcp_requests_total{route="/mcp",status="2xx"}"#, 5.0),
        ("proxmox_mcp_connections_total", 1.0),
        ("proxmox_mcp_connections_open", 1.0),
        ("proxmox_mcp_sessions_open", 0.0),
        (r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="ok"}"#, 2.0),
        (r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="forbidden"}"#, 1.0),
        (r#"proxmox_mcp_api_requests_total{cluster="down",outcome="connect"}"#, 1.0),
        (&format!(r#"proxmox_mcp_node_up{{cluster="prod",node="{}"}}"#, node.endpoint()), 1.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}\n{text}");
    }
    let down = text.lines().find(|line| line.starts_with(r#"proxmox_mcp_node_up{cluster="down","#));
    assert!(down.is_some_and(|line| line.ends_with(" 0")), "{text}");
    let whole = value(&text, r#"proxmox_mcp_call_seconds_sum{tool="proxmox_api_get"}"#);
    let theirs = value(&text, r#"proxmox_mcp_api_seconds_total{cluster="prod"}"#);
    assert!(0.0 < theirs && theirs < whole, "{theirs} of {whole}");
    for sample in ["proxmox_mcp_received_bytes_total", "proxmox_mcp_sent_bytes_total"] {
        assert!(value(&text, sample) > 1000.0, "{text}");
    }
}

#[test]
fn every_sample_has_a_type_and_every_line_is_valid() {
    let node = start_node();
    let (process, _config) = start_program(&node, None);
    let mut client = Client::to(process.address());
    client.mcp(&read_call("/cluster/status", "prod"));
    let text = client.ask("GET /metrics", "").body;
    let mut types = BTreeSet::new();
    for line in text.lines() {
        if let Some(about) = line.strip_prefix("# TYPE ") {
            let (name, kind) = about.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name), "twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            let name = sample.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(types.contains(name) || family.is_some_and(|family| types.contains(family)), "{line}");
            assert!(sample == name || sample.ends_with("\"}"), "{line}");
        }
    }
    assert!(text.ends_with('\n') && types.len() > 10, "{text}");
}

#[test]
fn refusals_are_counted_by_their_reason() {
    let node = start_node();
    let (process, _config) = start_program(&node, Some(TOKEN));
    let address = process.address();
    let status = |request: &str| {
        let mut client = Client::to(&address);
        client.send(request);
        client.reply().expect("an answer").status
    };
    let host = format!("Host: {address}\r\n");
    assert_eq!(status("GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 421);
    assert_eq!(status(&format!("GET /healthz HTTP/1.1\r\n{host}Origin: https://evil.example\r\n\r\n")), 403);
    assert_eq!(status(&format!("GET /mcp HTTP/1.1\r\n{host}\r\n")), 401);
    assert_eq!(status(&format!("GET /metrics HTTP/1.1\r\n{host}Authorization: Bearer wrong\r\n\r\n")), 401);
    assert_eq!(status("nonsense\r\n\r\n"), 400);
    // This is no fault of the client, so no refusal counts it.
    assert_eq!(status(&format!("GET /healthz HTTP/2.0\r\n{host}\r\n")), 505);
    let reply = Client::to(&address).ask("GET /metrics", &format!("Authorization: Bearer {TOKEN}\r\n"));
    for (reason, expected) in [("host", 1.0), ("origin", 1.0), ("token", 2.0), ("bad_request", 1.0), ("threads", 0.0)] {
        let sample = format!("proxmox_mcp_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(value(&reply.body, &sample), expected, "{reason}\n{}", reply.body);
    }
}

#[test]
fn labels_contain_no_secret_and_no_untrusted_input() {
    let word = "zzuntrusted";
    let node = Node::start(move |_| {
        ScriptedReply::refusal(500, word, &format!("{{\"message\":\"{word} {CANARY}\",\"data\":null}}"))
    });
    let (process, _config) = start_program(&node, Some(TOKEN));
    let address = process.address();
    let mut client = Client::to(&address);
    let headers = format!("{ACCEPT}Authorization: Bearer {TOKEN}\r\nUser-Agent: {word}\r\ntraceparent: {word}\r\n");
    for message in [
        call(1, word, json!({})),
        call(1, "proxmox_api_get", json!({"path": format!("/{word}"), "cluster": word})),
        read_call(&format!("/{word}"), "prod"),
        read_call("/cluster/status", "prod"),
    ] {
        client.post_with("/mcp", &headers, &message);
    }
    client.ask(&format!("GET /{word}"), "");
    client.ask(&format!("{} /mcp", word.to_uppercase()), &format!("Authorization: Bearer {word}\r\n"));
    let mut client = Client::to(&address);
    let text = client.ask("GET /metrics", &format!("Authorization: Bearer {TOKEN}\r\n")).body;
    assert_unseen("the metrics", text.as_bytes());
    assert!(!text.to_lowercase().contains(word) && !text.contains(TOKEN), "{text}");
    let other = r#"proxmox_mcp_calls_total{tool="other",client="MCP_AUTH_TOKEN",outcome="failed"}"#;
    assert_eq!(value(&text, other), 1.0, "{text}");
}

#[test]
fn rejected_and_cancelled_calls_are_counted() {
    let test_tools = TestTools::new();
    let probes = proxmox_mcp::http::HealthSources { metrics: Some(Box::new(|_| ())), readiness: None };
    let limits = proxmox_mcp::config::Limits { max_calls: 1, ..crate::support::server::patient_limits() };
    let server = TestServer::builder().limits(limits).mcp(test_tools.server()).probes(probes).start();
    let mut held = server.connect();
    held.send_post_with("/mcp", ACCEPT, &call(1, "hold", json!({"name": "a"})));
    test_tools.wait_for("a");
    let mut client = server.connect();
    let busy = client.mcp(&call(2, "echo", json!({"text": "x"}))).json();
    assert!(busy["error"]["message"].as_str().is_some_and(|why| why.starts_with("busy")), "{busy}");
    let text = client.ask("GET /metrics", "").body;
    assert_eq!(value(&text, "proxmox_mcp_calls_in_flight"), 1.0, "{text}");
    assert_eq!(value(&text, r#"proxmox_mcp_calls_total{tool="echo",client="anyone",outcome="busy"}"#), 1.0, "{text}");
    test_tools.release("a");
    held.reply().expect("an answer");
    let sse = server.sse();
    let text = client.ask("GET /metrics", "").body;
    assert_eq!(value(&text, "proxmox_mcp_sessions_open"), 1.0, "{text}");
    client.post(&sse.path, &call(7, "hold", json!({"name": "b"})));
    test_tools.wait_for("b");
    drop(sse);
    test_tools.wait_for_cancel("b");
    let sample = r#"proxmox_mcp_calls_total{tool="hold",client="anyone",outcome="cancelled"}"#;
    crate::support::raw::eventually("a cancelled call is counted", || {
        value(&client.ask("GET /metrics", "").body, sample) == 1.0
    });
}

#[test]
fn metrics_are_served_only_if_enabled() {
    let server = TestServer::start(crate::support::server::patient_limits());
    let mut client = server.connect();
    assert_eq!(client.ask("GET /metrics", "").status, 404);
    assert_eq!(client.post("/mcp", &ping(1)).status, 200);
}

#[test]
fn client_without_access_to_every_cluster_gets_no_metrics() {
    let clients = vec![caller("of_the_lab", Some(&["lab"])), caller("of_all", None)];
    let probes =
        proxmox_mcp::http::HealthSources { metrics: Some(Box::new(|out| out.push_str("prod 1\n"))), readiness: None };
    let server = TestServer::builder().clients(clients).mcp(TestTools::new().server()).probes(probes).start();
    let status = |name: &str| {
        let reply = server.get("/metrics", name);
        (reply.status, reply.body.contains("prod 1"))
    };
    assert_eq!(status("of_the_lab"), (403, false));
    assert_eq!(status("of_all"), (200, true));
    assert_eq!(status("of_unknown"), (401, false));
}
