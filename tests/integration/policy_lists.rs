//! Operations that `deny` and `allow` exclude. Every tool rejects them in every spelling.

use crate::support::node::ScriptedReply;
use crate::support::policy::{RecordingNode, open_policy, patterns};
use crate::support::proxmox::{gzipped_facts, is_lookup};
use crate::support::tool::{ToolResult, ToolServer};
use proxmox_mcp::policy::ClusterPolicy;
use serde_json::{Value, json};

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:";

fn start_with_deny_list(list: &[&str]) -> ToolServer {
    start_server(RecordingNode::start(), ClusterPolicy { deny: patterns(list), ..open_policy() })
}

fn start_with_allow_list(list: &[&str]) -> ToolServer {
    start_server(RecordingNode::start(), ClusterPolicy { allow: Some(patterns(list)), ..open_policy() })
}

fn start_server(node: RecordingNode, rules: ClusterPolicy) -> ToolServer {
    let cluster = node.cluster("test", rules);
    ToolServer::new(node, vec![cluster])
}

/// Asserts that a call is denied and no request of it reached the node.
#[track_caller]
fn assert_refused(server: &ToolServer, tool: &str, arguments: Value, denied: &str) -> ToolResult {
    server.node.requests();
    let result = server.call(tool, arguments.clone());
    assert!(result.failed && result.text.contains("refused: "), "{tool} {arguments}: {result:?}");
    let requests = server.node.requests();
    assert!(!requests.iter().any(|r| r.path().ends_with(denied)), "{tool} {arguments}: {requests:?}");
    result
}

#[track_caller]
fn assert_passes(server: &ToolServer, tool: &str, arguments: Value) {
    let result = server.call(tool, arguments.clone());
    assert!(!result.failed, "{tool} {arguments}: {result:?}");
}

#[test]
fn denied_list_is_denied_to_every_tool_that_shows_it() {
    let server = start_with_deny_list(&["GET /nodes"]);
    assert_refused(&server, "list_nodes", json!({}), "/nodes");
    assert_refused(&server, "proxmox_api_get", json!({"path": "/nodes"}), "/nodes");
    assert_refused(&server, "proxmox_api_call", json!({"path": "//nodes/"}), "/nodes");
    let result = server.call("list_clusters", json!({"check": true}));
    assert!(result.text.contains("refused: "), "{result:?}");
    assert!(!server.node.requests().iter().any(|r| r.path().ends_with("/nodes")));
    assert_passes(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/status"}));

    let server = start_with_deny_list(&["* /cluster/resources"]);
    for (tool, arguments) in [
        ("find_guest", json!({"query": "web"})),
        ("get_cluster_resources", json!({})),
        ("get_cluster_resources", json!({"type": "storage"})),
        ("proxmox_api_get", json!({"path": "/cluster/resources?type=vm"})),
    ] {
        assert_refused(&server, tool, arguments, "/cluster/resources");
    }
    assert_passes(&server, "list_nodes", json!({}));
}

#[test]
fn only_the_denied_paths_of_several_are_rejected() {
    let server = start_with_deny_list(&["GET /pools/**", "GET /nodes/*/status"]);
    let result =
        server.call("proxmox_api_get", json!({"paths": ["/version", "/pools", "/pools/x", "/nodes/pve1/status"]}));
    let refused: Vec<bool> = result.text.split("\n\n").map(|t| t.contains("refused: ")).collect();
    assert_eq!(refused, [false, true, true, true], "{result:?}");
    let asked: Vec<_> = server.node.requests().iter().filter(|r| !is_lookup(r)).map(|r| r.target.clone()).collect();
    assert_eq!(asked, [""; 0]);
}

#[test]
fn denied_path_is_denied_in_every_spelling() {
    let server = start_with_deny_list(&["* /nodes/pve1/qemu/100/**"]);
    for path in [
        "/nodes/pve1/qemu/100/config",
        "/nodes/pve1/%71emu/100/config",
        "//nodes//pve1/qemu/100//config/",
        "/api2/json/nodes/pve1/qemu/100/config",
        "nodes%2Fpve1%2Fqemu%2F100%2Fconfig",
        "GET /nodes/pve1/qemu/100/config",
        "/qemu/web01/config",
        "/vm/100/config",
        "/lxc/WEB01/config",
        "/nodes/{node}/qemu/100/config",
        "/nodes/localhost/qemu/100/config",
        "/nodes/pve2/qemu/web01/config",
    ] {
        assert_refused(&server, "proxmox_api_get", json!({"path": path}), "/100/config");
        assert_refused(&server, "proxmox_api_call", json!({"path": path}), "/100/config");
        let path = path.trim_start_matches("GET ");
        assert_refused(&server, "proxmox_api_call", json!({"path": path, "method": "PUT"}), "/100/config");
    }
    // Proxmox reports that the guest is elsewhere. The request is not repeated on the guest's node, which is denied.
    for path in ["/nodes/pve2/qemu/100/config", "/nodes/pve3/lxc/100/config"] {
        assert!(server.call("proxmox_api_get", json!({"path": path})).failed);
        let arguments = json!({"path": path, "method": "PUT"});
        assert_refused(&server, "proxmox_api_call", arguments, "/pve1/qemu/100/config");
    }
    assert!(!server.node.requests().iter().any(|r| r.path().ends_with("/pve1/qemu/100/config")));
    assert_passes(&server, "proxmox_api_get", json!({"path": "/qemu/db01/config"}));
}

/// Returns a call of `proxmox_api_call`.
fn call(method: &str, path: &str, data: Value) -> Value {
    json!({"path": path, "method": method, "data": data})
}

#[test]
fn denied_operation_is_denied_by_each_call_that_does_the_same() {
    let stop = "POST /nodes/*/qemu/*/status/stop";
    let (delete, prune) = ("DELETE /nodes/*/qemu/*", "DELETE /nodes/*/storage/*/content/*");
    for (pattern, denied) in [
        ("PUT /nodes/*/qemu/*/config", call("POST", "/qemu/web01/config", json!({"memory": 512}))),
        ("POST /nodes/*/qemu/*/config", call("PUT", "/qemu/web01/config", json!({"memory": 512}))),
        ("PUT /nodes/*/qemu/*/config", call("PUT", "/qemu/100/unlink", json!({"idlist": "scsi1"}))),
        ("PUT /nodes/*/qemu/*/unlink", call("PUT", "/qemu/100/config", json!({"delete": "scsi1"}))),
        ("POST /nodes/*/qemu/*/agent/shutdown", call("POST", "/qemu/web01/agent", json!({"command": "shutdown"}))),
        ("POST /nodes/*/qemu/*/status/shutdown", call("POST", "/qemu/web01/agent", json!({"command": "shutdown"}))),
        ("PUT /pools/*", call("PUT", "/pools", json!({"comment": "x", "poolid": "lab"}))),
        (stop, call("POST", "/qemu/100/status/shutdown", json!({"forceStop": 1}))),
        (stop, call("POST", "/qemu/100/status/reset", json!({}))),
        ("POST /nodes/*/vzdump", call("PUT", "/cluster/backup/b1", json!({"enabled": 1}))),
        (
            "POST /nodes/*/qemu/*/clone",
            call("POST", "/nodes/pve1/qemu", json!({"vmid": 900, "scsi0": "local:0,import-from=local:vm-100-disk-0"})),
        ),
        (
            "POST /cluster/firewall/rules",
            call("POST", "/cluster/firewall/groups/web", json!({"action": "ACCEPT", "type": "in"})),
        ),
        (prune, call("DELETE", "/qemu/100", json!({}))),
        (stop, call("POST", "/nodes/pve1/stopall", json!({}))),
        (stop, call("POST", "/nodes/pve1/stopall", json!({"vms": "100"}))),
        (stop, call("POST", "/cluster/bulk-action/guest/shutdown", json!({"vms": "100"}))),
        (stop, call("PUT", "/cluster/ha/resources/vm:100", json!({"state": "stopped"}))),
        (stop, call("POST", "/cluster/ha/resources", json!({"sid": "vm:100", "state": "disabled"}))),
        (stop, call("POST", "/cluster/ha/resources/vm:100/relocate", json!({"node": "pve2"}))),
        (stop, call("POST", "/nodes/pve1/status", json!({"command": "reboot"}))),
        ("POST /nodes/*/qemu/100/status/shutdown", call("POST", "/qemu/100/status/stop", json!({}))),
        (
            "POST /nodes/*/lxc/*/status/shutdown",
            call("POST", "/nodes/pve2/vzdump", json!({"vmid": "200", "mode": "stop"})),
        ),
        ("POST /nodes/*/qemu/*/migrate", call("POST", "/nodes/pve1/migrateall", json!({"target": "pve2"}))),
        ("POST /nodes/*/qemu/*/status/start", call("POST", "/cluster/ha/resources", json!({"sid": "vm:100"}))),
        (delete, call("POST", "/nodes/pve1/qemu", json!({"vmid": 100, "archive": "local:backup/x.vma", "force": 1}))),
        (prune, call("DELETE", "/nodes/pve1/storage/local/prunebackups", json!({}))),
        (prune, call("POST", "/nodes/pve1/vzdump", json!({"vmid": "100", "remove": 1}))),
        (prune, call("PUT", "/storage/local", json!({"prune-backups": "keep-last=1"}))),
        (prune, call("PUT", "/qemu/100/config", json!({"delete": "unused0"}))),
        ("DELETE /storage/*", call("PUT", "/storage/local", json!({"disable": 1}))),
        ("DELETE /cluster/backup/*", call("PUT", "/cluster/backup/b1", json!({"schedule": "2020-01-01"}))),
        (
            "DELETE /cluster/firewall/ipset/*",
            call("POST", "/cluster/firewall/ipset", json!({"name": "new", "rename": "old"})),
        ),
        ("PUT /access/acl", call("PUT", "/access/users/a@pve", json!({"groups": "admins"}))),
        ("POST /nodes/*/execute", call("POST", "/nodes/pve1/termproxy", json!({}))),
        ("PUT /nodes/*/network", call("PUT", "/cluster/sdn", json!({}))),
        ("* /nodes/*/qemu/100/**", call("POST", "/nodes/pve1/vzdump", json!({"vmid": "100"}))),
        ("POST /nodes/*/qemu/*/agent/exec", call("POST", "/qemu/100/termproxy", json!({}))),
        ("POST /nodes/*/qemu/*/agent/exec", call("PUT", "/qemu/100/sendkey", json!({"key": "ret"}))),
        (
            "POST /cluster/notifications/endpoints/webhook",
            call("PUT", "/cluster/notifications/endpoints/gotify/g1", json!({"server": "http://x.example"})),
        ),
        ("DELETE /nodes/*/qemu/*/snapshot/*", call("DELETE", "/qemu/100", json!({}))),
        ("DELETE /cluster/replication/*", call("DELETE", "/qemu/100", json!({"purge": 1}))),
        (stop, call("POST", "/qemu/100/monitor", json!({"command": "system_powerdown"}))),
        ("DELETE /cluster/firewall/rules/*", call("PUT", "/cluster/firewall/options", json!({"enable": 0}))),
        (
            "PUT /nodes/*/qemu/*/firewall/options",
            call("PUT", "/qemu/100/config", json!({"net0": "virtio,bridge=vmbr0"})),
        ),
        ("* /nodes/pve2/**", call("DELETE", "/cluster/config/nodes/pve2", json!({}))),
        ("* /nodes/*/qemu/100/**", call("DELETE", &format!("/nodes/pve1/tasks/{UPID}"), json!({}))),
        (
            "* /pools/prod/**",
            call("PUT", "/access/acl", json!({"path": "/pool/prod", "users": "a@pve", "roles": "PVEVMAdmin"})),
        ),
        ("* /nodes/*/storage/local/**", call("POST", "/nodes/pve1/vzdump", json!({"vmid": "100", "storage": "local"}))),
    ] {
        let server = start_with_deny_list(&[pattern]);
        let result = assert_refused(&server, "proxmox_api_call", denied.clone(), pattern);
        assert!(result.text.contains(pattern), "{pattern} {denied}: {result:?}");
        let calls =
            json!({"calls": [{"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "s1"}}, denied]});
        let result = server.call("proxmox_api_call", calls);
        assert!(result.failed && result.text.contains(pattern), "{result:?}");
        assert_eq!(server.node.writes(), [""; 0], "{pattern}");
    }
}

#[test]
fn calls_that_do_something_else_than_the_denied_one_pass() {
    let stop = "POST /nodes/*/qemu/*/status/stop";
    for (pattern, free) in [
        ("PUT /nodes/*/qemu/*/config", call("PUT", "/lxc/dns01/config", json!({"memory": 512}))),
        (stop, call("POST", "/qemu/100/status/shutdown", json!({"timeout": 60}))),
        (stop, call("POST", "/qemu/100/status/shutdown", json!({"forceStop": 0}))),
        (stop, call("POST", "/nodes/pve1/stopall", json!({"vms": "100", "force-stop": 0}))),
        (stop, call("PUT", "/cluster/ha/resources/vm:100", json!({"state": "started"}))),
        (stop, call("PUT", "/cluster/ha/resources/ct:200", json!({"state": "stopped"}))),
        ("POST /nodes/*/qemu/100/status/stop", call("POST", "/nodes/pve1/stopall", json!({"vms": "300"}))),
        ("POST /nodes/pve2/qemu/*/status/stop", call("POST", "/nodes/pve1/stopall", json!({}))),
        ("DELETE /nodes/*/storage/*/content/*", call("POST", "/nodes/pve1/vzdump", json!({"vmid": "100"}))),
        ("DELETE /storage/*", call("PUT", "/storage/local", json!({"disable": 0}))),
        ("PUT /nodes/*/network", call("POST", "/nodes/pve1/services/pvestatd/restart", json!({}))),
        ("* /qemu/101/**", call("POST", "/nodes/pve1/vzdump", json!({"vmid": "100"}))),
        ("POST /nodes/*/qemu/*/agent/exec", call("POST", "/qemu/100/agent/ping", json!({}))),
        ("DELETE /nodes/*/qemu/*", call("PUT", "/cluster/ha/resources/vm:100", json!({"state": "ignored"}))),
    ] {
        let server = start_with_deny_list(&[pattern]);
        assert_passes(&server, "proxmox_api_call", free);
    }
}

#[test]
fn allow_list_has_what_a_parameter_brings_about() {
    let ha = [
        "PUT /cluster/ha/resources/*",
        "POST /nodes/*/qemu/*/status/shutdown",
        "PUT /nodes/*/qemu/*/config",
        "GET /**",
    ];
    let server = start_with_allow_list(&ha);
    for denied in [
        call("PUT", "/cluster/ha/resources/vm:100", json!({"state": "stopped"})),
        call("POST", "/nodes/pve1/qemu/100/status/shutdown", json!({"forceStop": 1})),
        call("PUT", "/nodes/pve1/qemu/100/config", json!({"net0": "virtio,bridge=vmbr0,firewall=0"})),
        call("POST", "/nodes/pve1/qemu/100/config", json!({"memory": 512})),
    ] {
        let result = assert_refused(&server, "proxmox_api_call", denied.clone(), "allow");
        assert!(result.text.contains("\"allow\" list"), "{result:?}");
        assert_eq!(server.node.writes(), [""; 0], "{denied}");
    }
    let shutdown = call("POST", "/nodes/pve1/qemu/100/status/shutdown", json!({}));
    assert_passes(&server, "proxmox_api_call", shutdown);
    let more = ["POST /nodes/*/qemu/*/status/*", "PUT /cluster/ha/resources/*", "GET /**"];
    let stop = call("PUT", "/cluster/ha/resources/vm:100", json!({"state": "stopped"}));
    assert_passes(&start_with_allow_list(&more), "proxmox_api_call", stop);
    // Several patterns together have all that the call may be.
    let either = call("PUT", "/cluster/ha/resources/100", json!({"state": "stopped"}));
    assert_refused(&start_with_allow_list(&more), "proxmox_api_call", either.clone(), "allow");
    let both = [&more[..], &["POST /nodes/*/lxc/*/status/stop", "POST /nodes/*/lxc/*/status/shutdown"]].concat();
    assert_passes(&start_with_allow_list(&both), "proxmox_api_call", either);
}

#[test]
fn volume_with_many_slashes_is_denied_as_one() {
    for pattern in ["DELETE /nodes/*/storage/*/content/*", "* /nodes/*/storage/local/**"] {
        let server = start_with_deny_list(&[pattern]);
        for volume in ["local:iso/a.iso", "local%3Aiso%2Fa.iso", "iso/a.iso", "local:100/vm-100-disk-0.raw", "x"] {
            let path = format!("/nodes/pve1/storage/local/content/{volume}");
            assert_refused(&server, "proxmox_api_call", json!({"path": path, "method": "DELETE"}), ".iso");
            assert_eq!(server.node.writes(), [""; 0]);
        }
    }
}

#[test]
fn denied_node_is_not_reached_under_another_name() {
    let only = ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#);
    let node = RecordingNode::with(gzipped_facts(), move |r| (r.path() == "/api2/json/nodes").then(|| only.clone()));
    let server = start_server(node, ClusterPolicy { deny: patterns(&["* /nodes/pve1/**"]), ..open_policy() });
    for path in
        ["/nodes/localhost/status", "/nodes/LocalHost/status", "/nodes/{node}/status", "/nodes/%6cocalhost/status"]
    {
        assert_refused(&server, "proxmox_api_get", json!({"path": path}), "/status");
    }
}

#[test]
fn allow_list_permits_nothing_else() {
    let server =
        start_with_allow_list(&["GET /version", "GET /nodes/*/qemu/*/config", "POST /nodes/*/qemu/*/status/start"]);
    for (tool, arguments) in [
        ("list_nodes", json!({})),
        ("find_guest", json!({"query": "web"})),
        ("get_cluster_resources", json!({})),
        ("wait_for_task", json!({"upid": UPID})),
        ("proxmox_api_get", json!({"path": "/nodes/pve1/status"})),
        ("proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/config/x"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/lxc/200/config"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT"})),
        ("proxmox_api_call", json!({"path": "/qemu/web01/status/stop", "method": "POST"})),
        ("proxmox_api_call", json!({"path": "/version/x"})),
    ] {
        let result = server.call(tool, arguments.clone());
        let sent: Vec<_> = server.node.requests().into_iter().filter(|r| !is_lookup(r)).collect();
        assert!(result.failed && sent.is_empty(), "{tool} {arguments}: {result:?} {sent:?}");
    }
    assert_passes(&server, "proxmox_api_get", json!({"path": "/version"}));
    assert_passes(&server, "proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/config"}));
    assert_passes(&server, "proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"}));
    // The look-up of a guest by name is a read like any other.
    let result = server.call("proxmox_api_get", json!({"path": "/qemu/web01/config"}));
    assert!(result.failed && result.text.contains("GET /cluster/resources"), "{result:?}");
    assert_passes(&server, "search_api", json!({"query": "start a VM"}));
    assert_passes(&server, "describe_api", json!({"path": "/nodes"}));
}

#[test]
fn waiting_for_a_task_does_not_read_a_denied_log() {
    for pattern in ["GET /nodes/*/tasks/*/log", "GET /nodes/*/tasks/*/status", "* /nodes/*/tasks/**"] {
        let server = start_with_deny_list(&[pattern]);
        assert_refused(&server, "wait_for_task", json!({"upid": UPID}), "");
    }
}

#[test]
fn task_with_a_denied_status_is_started_and_reported() {
    let node = RecordingNode::with(gzipped_facts(), |r| {
        (r.method == "POST").then(|| ScriptedReply::data(&format!("\"{UPID}\"")))
    });
    let server = start_server(node, ClusterPolicy { deny: patterns(&["GET /nodes/*/tasks/**"]), ..open_policy() });
    let arguments = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST", "wait": true});
    let result = server.call("proxmox_api_call", arguments);
    assert!(!result.failed && result.text.contains(UPID), "{result:?}");
    assert!(result.more.iter().any(|note| note.contains("was begun") && note.contains("\"deny\" list")), "{result:?}");
    assert!(!server.node.requests().iter().any(|r| r.path().contains("/tasks/")));
}
