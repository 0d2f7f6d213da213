//! Every tool over the answers of a recorded Proxmox VE 9.2 node, as each of its four tokens.

use crate::document::{Document, send, visible};
use crate::support::recorded_node::{RecordedNode, RecordedToken, recorded_calls, recorded_writes};
use crate::support::test_tools::product;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::context::Caller;
use serde_json::{Value, json};

fn prompt(document: &mut Document, server: &McpServer, name: &str, arguments: Value) {
    let answer = send(server, &Caller::new_stdio(), "prompts/get", json!({"name": name, "arguments": arguments}));
    let text = answer["result"]["messages"][0]["content"]["text"].as_str().map(str::to_owned);
    let text = text.unwrap_or_else(|| answer["error"]["message"].as_str().expect("a message").to_owned());
    document.case(format_args!("prompt {name} {arguments}"), text);
}

fn resource(document: &mut Document, server: &McpServer, uri: &str) {
    let answer = send(server, &Caller::new_stdio(), "resources/read", json!({"uri": uri}));
    let text = answer["result"]["contents"][0]["text"].as_str().map(str::to_owned);
    let text = text.unwrap_or_else(|| answer["error"]["message"].as_str().expect("a message").to_owned());
    document.case(format_args!("resource {uri}"), text);
}

/// Runs every tool as one token.
fn run_tools(token: RecordedToken) -> Document {
    let node = RecordedNode::start(token);
    let server = product(vec![node.cluster()]);
    node.set_script(recorded_writes().iter().filter(|exchange| exchange.is_task_read()).cloned().collect());
    let mut document = Document::new();
    document.redact(r"\(\w+ ago\)", "(AGE ago)");
    document.redact(r"the nodes are \S+ (behind|ahead)", "the nodes are AGE $1");
    let full = |path: &str| json!({"path": path});
    for (section, calls) in [
        (
            "Lists",
            vec![
                ("list_clusters", json!({"check": true})),
                ("list_nodes", json!({})),
                ("get_cluster_resources", json!({})),
                ("get_cluster_resources", json!({"type": "vm"})),
                ("get_cluster_resources", json!({"type": "node"})),
                ("get_cluster_resources", json!({"type": "storage"})),
                ("get_cluster_resources", json!({"type": "sdn"})),
                ("find_guest", json!({"query": "web01"})),
                ("find_guest", json!({"query": "ct"})),
                ("find_guest", json!({"query": "104"})),
                ("find_guest", json!({"query": "windows"})),
                ("find_guest", json!({"query": "nosuch"})),
            ],
        ),
        (
            "Tasks",
            vec![
                ("proxmox_api_get", full("/cluster/tasks?limit=3")),
                ("proxmox_api_get", json!({"path": "/nodes/pve1/tasks", "limit": 3})),
                ("proxmox_api_get", json!({"path": "/nodes/pve1/tasks?errors=1", "limit": 3})),
                (
                    "wait_for_task",
                    json!({"upid": "UPID:pve1:0000080C:00053CE9:6B0A2D99:qmcreate:400:root@pam!full:", "timeout": 1}),
                ),
            ],
        ),
        (
            "Reads",
            vec![
                ("proxmox_api_get", full("/qemu/100/config")),
                ("proxmox_api_get", full("/qemu/web01/status/current")),
                ("proxmox_api_get", full("/qemu/100/pending")),
                ("proxmox_api_get", full("/qemu/100/snapshot")),
                ("proxmox_api_get", full("/qemu/100/rrddata?timeframe=hour")),
                ("proxmox_api_get", full("/qemu/100/agent/get-osinfo")),
                ("proxmox_api_get", full("/qemu/104/config")),
                ("proxmox_api_get", full("/lxc/200/config")),
                ("proxmox_api_get", full("/lxc/200/status/current")),
                ("proxmox_api_get", full("/nodes/pve1/status")),
                ("proxmox_api_get", full("/nodes/pve1/storage")),
                ("proxmox_api_get", full("/nodes/pve1/storage/nas/content?content=backup")),
                ("proxmox_api_get", full("/nodes/pve1/storage/nas/content")),
                ("proxmox_api_get", full("/nodes/pve1/qemu")),
                ("proxmox_api_get", full("/nodes/pve1/lxc")),
                ("proxmox_api_get", full("/nodes/pve1/certificates/info")),
                ("proxmox_api_get", full("/nodes/pve1/network")),
                ("proxmox_api_get", full("/nodes/pve1/disks/list")),
                ("proxmox_api_get", full("/nodes/pve1/services")),
                ("proxmox_api_get", full("/nodes/pve1/apt/update")),
                ("proxmox_api_get", json!({"path": "/nodes/pve1/syslog", "limit": 5})),
                ("proxmox_api_get", full("/nodes/pve1/subscription")),
                ("proxmox_api_get", full("/nodes/pve1/time")),
                ("proxmox_api_get", full("/nodes/pve1/hosts")),
                ("proxmox_api_get", full("/cluster/status")),
                ("proxmox_api_get", full("/cluster/options")),
                ("proxmox_api_get", full("/cluster/backup")),
                ("proxmox_api_get", full("/cluster/backup-info/not-backed-up")),
                ("proxmox_api_get", full("/cluster/replication")),
                ("proxmox_api_get", full("/cluster/ha/resources")),
                ("proxmox_api_get", full("/cluster/ha/rules")),
                ("proxmox_api_get", full("/cluster/ha/groups")),
                ("proxmox_api_get", full("/cluster/ha/status/current")),
                ("proxmox_api_get", full("/cluster/firewall/options")),
                ("proxmox_api_get", full("/cluster/firewall/aliases")),
                ("proxmox_api_get", json!({"path": "/cluster/log", "limit": 3})),
                ("proxmox_api_get", full("/pools")),
                ("proxmox_api_get", full("/pools/lab/web")),
                ("proxmox_api_get", full("/storage")),
                ("proxmox_api_get", full("/access/users")),
                ("proxmox_api_get", full("/access/users/ops@pve")),
                ("proxmox_api_get", full("/access/roles/PVEVMAdmin")),
                ("proxmox_api_get", full("/access/acl")),
                ("proxmox_api_get", full("/access/domains")),
                ("proxmox_api_get", full("/cluster/ceph/status")),
                (
                    "proxmox_api_get",
                    json!({"paths": ["/qemu/100/config", "/lxc/200/config", "/qemu/999/config", "/pools", "/version"]}),
                ),
            ],
        ),
        (
            "Plans",
            vec![
                ("proxmox_api_call", json!({"path": "/qemu/web01/status/shutdown", "method": "POST", "dry_run": true})),
                (
                    "proxmox_api_call",
                    json!({"path": "/qemu/100/config", "method": "PUT", "data": {"memory": 512, "delete": "tags"}, "dry_run": true}),
                ),
                ("proxmox_api_call", json!({"path": "/lxc/200", "method": "DELETE", "dry_run": true})),
                // The file system holds back more than half of its free space.
                (
                    "proxmox_api_call",
                    json!({"path": "/nodes/pve1/qemu", "method": "POST", "data": {"vmid": 500, "scsi0": "nas:100"}, "dry_run": true}),
                ),
                (
                    "proxmox_api_call",
                    json!({"path": "/cluster/ha/rules", "method": "POST", "dry_run": true,
                        "data": {"rule": "r1", "type": "node-affinity", "resources": "vm:100", "nodes": "pve1"}}),
                ),
            ],
        ),
    ] {
        document.section(section);
        for (tool, arguments) in calls {
            document.call(&server, tool, arguments);
        }
    }
    document.section("Prompts and resources");
    prompt(&mut document, &server, "health", json!({}));
    prompt(&mut document, &server, "backup-report", json!({}));
    prompt(&mut document, &server, "troubleshoot", json!({"guest": "web01"}));
    prompt(&mut document, &server, "troubleshoot", json!({"guest": "200"}));
    prompt(&mut document, &server, "plan-change", json!({"guest": "web01", "what": "2 GiB of memory"}));
    resource(&mut document, &server, "pve://lab");
    resource(&mut document, &server, "pve://lab/nodes/pve1/qemu/100/config");
    document
}

#[test]
fn tools_as_the_token_with_all_privileges() {
    run_tools(RecordedToken::Full).assert("recorded_node_full");
}

#[test]
fn tools_as_the_token_that_reads() {
    run_tools(RecordedToken::Reader).assert("recorded_node_reader");
}

#[test]
fn tools_as_the_token_of_two_guests() {
    run_tools(RecordedToken::Operator).assert("recorded_node_operator");
}

#[test]
fn tools_as_the_token_without_privileges() {
    run_tools(RecordedToken::Blind).assert("recorded_node_blind");
}

#[test]
fn changes_with_the_answers_of_the_node() {
    let mut document = Document::new();
    let nodes = RecordedToken::ALL.map(|token| {
        let node = RecordedNode::start(token);
        let server = product(vec![node.cluster()]);
        (token, node, server)
    });
    for (call, reads) in recorded_calls() {
        let token = call.tokens[0];
        let (_, node, server) = nodes.iter().find(|(other, ..)| *other == token).expect("a node for each token");
        let has_end = !reads.is_empty() && !call.is_ha_request();
        node.set_call(call, reads);
        let mut arguments = json!({"path": call.target, "method": call.method, "wait": has_end});
        if !call.parameters.is_empty() {
            arguments["data"] = call.data().into();
        }
        let answer = send(
            server,
            &Caller::new_stdio(),
            "tools/call",
            json!({"name": "proxmox_api_call", "arguments": arguments}),
        );
        let text = visible(&answer);
        let title = format!("{} {} {} {}", token.name(), call.method, call.target, Value::from(call.data()));
        document.case(title, format_args!("(node: {} {})\n{text}", call.status, call.words().trim_end()));
    }
    document.assert("recorded_changes");
}
