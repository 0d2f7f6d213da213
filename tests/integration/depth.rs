//! The deepest call stack of a call, on the threads of the server: TLS, an answer at the nesting limit, and a list made
//! from it. An overflow would end the process and so the test.

use crate::support::node::{Identity, Node, Request, ScriptedReply};
use crate::support::rpc::{call, modern, text};
use crate::support::server::TestServer;
use crate::support::test_tools::product;
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};

/// The parser's limit is 128 levels. It accepts all but the last.
const DEEPEST: usize = 127;

/// Starts a node that answers every request with a list of one row, nested `levels` deep in total.
fn nested_answer(levels: usize) -> impl Fn(&Request) -> ScriptedReply {
    // The envelope, the list and the row.
    let inner = levels - 3;
    let deep = format!("{}{}", "[".repeat(inner), "]".repeat(inner));
    let row = format!(r#"{{"id":"qemu/100","type":"qemu","node":"pve1","vmid":100,"status":"running","deep":{deep}}}"#);
    move |_| ScriptedReply::data(&format!("[{row}]"))
}

fn start_node(levels: usize) -> Node {
    Node::start_as(Identity::Trusted, nested_answer(levels))
}

fn calls(cluster: Option<&str>) -> Vec<(&'static str, Value)> {
    let named = |mut arguments: Value| {
        if let Some(cluster) = cluster {
            arguments["cluster"] = cluster.into();
        }
        arguments
    };
    vec![
        ("get_cluster_resources", named(json!({}))),
        ("list_nodes", named(json!({}))),
        ("find_guest", named(json!({"query": "100"}))),
        ("wait_for_task", named(json!({"upid": "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:"}))),
        ("list_clusters", json!({"check": true})),
        (
            "proxmox_api_call",
            json!({"cluster": cluster.unwrap_or("test"), "path": "/cluster/resources", "format": "json"}),
        ),
    ]
}

/// Makes every call on a connection thread and on a session's worker. Returns the answers in pairs.
fn ask(server: &TestServer, cluster: Option<&str>) -> Vec<Value> {
    let (mut sse, mut poster, mut client) = (server.sse(), server.connect(), server.connect());
    let mut answers = Vec::new();
    for (tool, arguments) in calls(cluster) {
        assert_eq!(poster.post(&sse.path, &call(1, tool, arguments.clone())).status, 202);
        answers.push(sse.json());
        answers.push(client.mcp_modern(&modern(1, "tools/call", json!({"name": tool, "arguments": arguments}))).json());
    }
    answers
}

#[test]
fn deepest_valid_answer_is_read_on_every_thread() {
    let node = start_node(DEEPEST);
    let server = TestServer::builder().mcp(product(vec![node.cluster_settings()])).start();
    let answers = ask(&server, None);
    for resources in &answers[..2] {
        assert!(text(resources).contains("qemu/100"), "{resources}");
    }
    assert!(text(&answers[4]).contains("/nodes/pve1/qemu/100"), "{}", answers[4]);
    for raw in &answers[10..] {
        assert!(text(raw).contains(&"[".repeat(DEEPEST - 3)), "{raw}");
    }
    server.assert_answers();
}

#[test]
fn several_clusters_in_parallel_have_enough_stack() {
    let (one, two) = (start_node(DEEPEST), start_node(DEEPEST));
    let other = ClusterConfig { name: "other".into(), ..two.cluster_settings() };
    let server = TestServer::builder().mcp(product(vec![one.cluster_settings(), other])).start();
    for resources in &ask(&server, None)[..2] {
        assert_eq!(text(resources).matches("qemu/100").count(), 2, "{resources}");
    }
    server.assert_answers();
}

#[test]
fn too_deep_answer_does_not_end_the_process() {
    for levels in [DEEPEST + 1, DEEPEST + 2, 100_000] {
        let node = start_node(levels);
        let server = TestServer::builder().mcp(product(vec![node.cluster_settings()])).start();
        for answer in ask(&server, Some("test")) {
            assert!(!text(&answer).is_empty(), "{answer}");
        }
        server.assert_answers();
    }
}
