//! The recipes of docs/rights.md: each file loads, and its client may do what the page says. The requests at the node
//! are counted.

use crate::support::policy::RecordingNode;
use crate::support::tool::ToolServer;
use proxmox_mcp::config::{self, ClusterConfig};
use serde_json::{Value, json};
use std::path::Path;

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Sent,
    Asked,
    Refused,
}
use Verdict::{Asked, Refused, Sent};

/// Starts the server of a recipe with a node in place of its clusters.
fn start_recipe(name: &str) -> ToolServer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rights").join(name);
    let file = config::load(&path).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    let node = RecordingNode::start();
    let clusters = file.clusters.into_iter().map(|cluster| ClusterConfig {
        name: cluster.name,
        policy: cluster.policy,
        ..node.node.cluster_settings()
    });
    let clusters = clusters.collect();
    ToolServer::for_clients(node, clusters, &file.clients)
}

#[track_caller]
fn assert_verdicts(name: &str, cluster: &str, calls: &[(&str, Value, Verdict)]) {
    let server = start_recipe(name);
    for (line, data, wanted) in calls {
        server.node.requests();
        let result = server.call_as(0, "proxmox_api_call", json!({"cluster": cluster, "path": line, "data": data}));
        let (method, path) = line.split_once(' ').expect("a method");
        let sent = server.node.requests().iter().filter(|r| r.method == method && r.path().ends_with(path)).count();
        let verdict = match (sent, result.failed) {
            (1, false) => Sent,
            (0, true) if result.text.contains("has to be confirmed") => Asked,
            (0, true) if result.text.contains("refused: ") => Refused,
            _ => panic!("{name}: {line} {data}: sent {sent} times: {result:?}"),
        };
        assert_eq!(verdict, *wanted, "{name}: {line} {data}: {result:?}");
    }
}

#[test]
fn reader_only_reads() {
    let calls = [
        ("GET /nodes/pve1/qemu/100/config", json!({}), Sent),
        ("GET /nodes/pve1/qemu/100/agent/file-read", json!({"file": "/etc/shadow"}), Refused),
        ("GET /nodes/pve1/query-url-metadata", json!({"url": "http://192.0.2.1/"}), Refused),
        ("POST /nodes/pve1/qemu/100/status/start", json!({}), Refused),
        ("DELETE /nodes/pve1/qemu/100", json!({}), Refused),
    ];
    assert_verdicts("reader.json", "prod", &calls);
}

#[test]
fn operator_restarts_and_does_not_delete() {
    let calls = [
        ("GET /nodes/pve1/qemu/100/config", json!({}), Sent),
        ("POST /nodes/pve1/qemu/100/status/reboot", json!({}), Sent),
        ("POST /nodes/pve2/lxc/200/status/start", json!({}), Sent),
        ("POST /nodes/pve1/qemu/100/status/stop", json!({}), Asked),
        ("POST /nodes/pve1/qemu/100/status/shutdown", json!({"forceStop": true}), Asked),
        ("POST /nodes/pve1/qemu/100/migrate", json!({"target": "pve2"}), Refused),
        ("POST /nodes/pve1/stopall", json!({}), Refused),
        ("DELETE /nodes/pve1/qemu/100", json!({}), Refused),
        ("PUT /nodes/pve1/qemu/100/config", json!({"memory": "512"}), Refused),
    ];
    assert_verdicts("operator.json", "prod", &calls);
}

#[test]
fn client_of_one_pool_changes_guests_alone() {
    let calls = [
        ("PUT /nodes/pve1/qemu/100/config", json!({"memory": "512"}), Sent),
        ("POST /nodes/pve1/qemu/100/snapshot", json!({"snapname": "s1"}), Sent),
        ("DELETE /nodes/pve1/qemu/100", json!({}), Asked),
        ("PUT /nodes/pve1/qemu/100/firewall/options", json!({"enable": false}), Refused),
        ("PUT /nodes/pve1/qemu/100/config", json!({"args": "-S"}), Refused),
        ("PUT /storage/local", json!({"disable": true}), Refused),
        ("PUT /pools", json!({"poolid": "web", "vms": "100"}), Refused),
        ("PUT /access/acl", json!({"path": "/", "roles": "PVEAdmin", "users": "a@pve"}), Refused),
        ("POST /nodes/pve1/status", json!({"command": "reboot"}), Refused),
    ];
    assert_verdicts("one-pool.json", "prod", &calls);
}

#[test]
fn lab_is_full_and_production_is_read() {
    let change = |verdicts: [Verdict; 4]| {
        let [read, start, delete, exec] = verdicts;
        [
            ("GET /nodes/pve1/qemu/100/config", json!({}), read),
            ("POST /nodes/pve1/qemu/100/status/start", json!({}), start),
            ("DELETE /nodes/pve1/qemu/100", json!({}), delete),
            ("POST /nodes/pve1/qemu/100/agent/exec", json!({"command": ["id"]}), exec),
        ]
    };
    assert_verdicts("lab-and-production.json", "lab", &change([Sent, Sent, Asked, Asked]));
    assert_verdicts("lab-and-production.json", "prod", &change([Sent, Refused, Refused, Refused]));
}

#[test]
fn backup_agent_takes_backups_and_removes_none() {
    let calls = [
        ("GET /cluster/backup", json!({}), Sent),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100", "storage": "nas"}), Sent),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100", "mode": "stop"}), Asked),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100", "mailto": "x@x.example"}), Asked),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100", "remove": true}), Refused),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100", "prune-backups": "keep-last=1"}), Refused),
        ("DELETE /nodes/pve1/storage/nas/prunebackups", json!({"prune-backups": "keep-last=1"}), Refused),
        ("POST /nodes/pve1/qemu/100/status/start", json!({}), Refused),
        ("GET /access/users", json!({}), Refused),
    ];
    assert_verdicts("backup-agent.json", "prod", &calls);
}
