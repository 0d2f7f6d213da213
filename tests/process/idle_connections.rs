//! Connections to nodes while no client calls.

use crate::support::node::{Node, ScriptedReply};
use crate::support::process::{ServerProcess, configuration, path};
use crate::support::raw::Client;
use crate::support::rpc::{call, text};
use serde_json::json;

#[test]
fn connection_to_a_node_is_closed_although_no_call_follows() {
    let node = Node::start(|_| ScriptedReply::data("[]"));
    let config = configuration("s", &[("lab", &node.endpoint().to_string())]);
    let server = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    let mut client = Client::to(server.address());
    for round in 1..3 {
        let answer = client.post("/mcp", &call(1, "proxmox_api_get", json!({"path": "/cluster/tasks"}))).json();
        assert_eq!(text(&answer), "no rows");
        assert!(node.open_connections() > 0, "kept for the next call");
        node.wait_for_closed(node.connections());
        assert_eq!(node.open_connections(), 0, "round {round}");
    }
}
