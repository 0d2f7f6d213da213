//! The texts that a client gets before it calls a tool.

use crate::document::{Document, pretty, send_for_text};
use crate::support::policy;
use crate::support::test_tools::product;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::pve::demo::Demo;
use serde_json::{Value, json};

fn modern(params: Value) -> Value {
    let mut params = params;
    params["_meta"] = policy::modern("", &json!({}), true, json!({}))["_meta"].clone();
    params
}

#[test]
fn protocol_answers_before_calls() {
    let demo = Demo::start().expect("the demo cluster");
    let server = product(vec![demo.cluster()]);
    let stdio = Caller::new_stdio();
    let mut document = Document::new();
    let client = json!({"name": "test", "version": "1"});
    for (method, params, depth) in [
        ("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client.clone()}), 4),
        ("initialize", json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}), 2),
        ("server/discover", modern(json!({})), 4),
        ("ping", json!({}), 2),
        ("tools/call", json!({"name": "list_clusters", "arguments": {}}), 3),
        ("tools/call", json!({"name": "list_clusters", "arguments": {"chekc": true}}), 3),
        ("tools/call", modern(json!({"name": "list_clusters", "arguments": {}})), 3),
        ("tools/call", json!({"name": "proxmox_api_get", "arguments": {"path": "/version"}}), 3),
    ] {
        let answer = send_for_text(&server, &stdio, method, params.clone());
        document.case(format_args!("{method} {params}"), pretty(&answer, depth));
    }
    document.assert("protocol");
}

#[test]
fn tools_list_is_as_clients_see_it() {
    let demo = Demo::start().expect("the demo cluster");
    let server = product(vec![demo.cluster()]);
    let mut document = Document::new();
    let answer = send_for_text(&server, &Caller::new_stdio(), "tools/list", json!({}));
    document.case("tools/list", pretty(&answer, 6));
    document.assert("tools_list");
}
