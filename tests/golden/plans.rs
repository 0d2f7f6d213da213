//! Calls that are rejected before they are sent: paths, methods, parameters, placeholders and look-ups.

use crate::document::Document;
use crate::support::node::{ScriptedReply, closed_endpoint};
use crate::support::policy::{RecordingNode, open_policy};
use crate::support::proxmox::gzipped_facts;
use crate::support::test_tools::product;
use crate::support::tool::ToolServer;
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};

fn server() -> ToolServer {
    server_over(RecordingNode::start())
}

fn server_over(node: RecordingNode) -> ToolServer {
    let cluster = node.cluster("test", open_policy());
    ToolServer::new(node, vec![cluster])
}

fn put(data: Value) -> Value {
    json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": data})
}

#[test]
fn plan_errors() {
    let server = server();
    let mut document = Document::new();
    document.section("Arguments");
    for arguments in [
        json!({}),
        json!({"paht": "/version"}),
        json!({"path": 7}),
        json!({"path": "/version", "data": "a=b"}),
        json!({"path": "/version", "wait": "perhaps"}),
        json!({"path": "/version", "confirm": 7}),
        json!({"path": "/version", "limit": -1, "format": "xml"}),
    ] {
        document.call(&server.server, "proxmox_api_call", arguments);
    }
    document.section("Paths");
    for path in [
        "/nodes/pve1/qemu/100/confg",
        "/node/pve1/status",
        "/nodes/pve1/qemu/100/status/strat",
        "/cluster/nothing/of/the/kind",
        "/storage/nas/content",
        "/qemu",
        "/ha/resources",
        "/nodes/pve1/qemu/100/status/current/x",
        "/nodes/pve1/hardware/pci/1/2/3",
        "/nodes/pve1/qemu/7/config",
        "https://pve1:8006/api2/json/nodes",
        "/nodes#v1",
        "/nodes/%zz",
        "/nodes/%ff",
        "/nodes/a%00b",
        "/nodes/../access",
        "/nodes/./x",
        "/api2/extjs/nodes",
        "/api2",
        "/api2/json/api2/json/nodes",
        "/nodes/pve1/qemu/{vmid}/config",
        "/nodes/pve1/storage/<storage>/content",
        "",
    ] {
        document.call(&server.server, "proxmox_api_call", json!({"path": path}));
    }
    document.call(&server.server, "proxmox_api_call", json!({"path": format!("/nodes/{}", "a".repeat(5_000))}));
    document.section("Methods");
    for arguments in [
        json!({"path": "/nodes/pve1/qemu/100/status/start"}),
        json!({"path": "/nodes/pve1/qemu/100/config", "method": "DELETE"}),
        json!({"path": "/nodes/pve1/qemu/100/status", "method": "POST"}),
        json!({"path": "GET /nodes", "method": "POST"}),
        json!({"path": "PATCH /nodes"}),
        json!({"path": "/version", "method": "PATCH"}),
    ] {
        document.call(&server.server, "proxmox_api_call", arguments);
    }
    document.section("Parameters");
    for data in [
        json!({"memroy": 1024}),
        json!({"nothing-like-it": 1}),
        json!({"cores": 0}),
        json!({"cores": "many"}),
        json!({"cores": 2.5}),
        json!({"cores": true}),
        json!({"cores": [1, 2]}),
        json!({"cpuunits": 262_145}),
        json!({"onboot": "perhaps"}),
        json!({"bios": "uefi"}),
        json!({"net0": {"bridge": "vmbr0", "vlan": 5}}),
        json!({"net0": {"model": "virtio", "tag": 5000}}),
        json!({"net0": {"bridge": "vmbr0"}}),
        json!({"tags": null}),
        json!({"name": {"a": 1}}),
        json!({"name": "bad name!"}),
        json!({"name": "web_01"}),
        json!({}),
        json!({"digest": "0".repeat(40)}),
        json!({"memory": "+1024"}),
        json!({"cpulimit": "+1"}),
        json!({"cores": "-1"}),
        json!({"description": "x".repeat(8_193)}),
        json!({"vmid": 101}),
        json!({"": 1}),
        json!({"memroy": 1, "cores": 0, "onboot": "maybe"}),
        json!({"delete": [{"a": 1}]}),
        json!({"delete": []}),
        json!({"cores": ""}),
        json!({"cores": null}),
        json!({"net0": 5}),
        json!({"net0": {"model": "virtio", "bridge": "a,b"}}),
        json!({"numa": "2"}),
    ] {
        document.call(&server.server, "proxmox_api_call", put(data));
    }
    for (path, data) in [
        ("/nodes/pve1/qemu/100/snapshot", json!({"snapname": "before upgrade"})),
        ("/nodes/pve1/qemu/100/snapshot", json!({"snapname": "a"})),
        ("/access/users/bob@pve/token/x", json!({})),
        ("/nodes/pve1/vzdump", json!({"vmid": "100", "job-id": "nightly"})),
        ("/storage", json!({"storage": "n", "type": "dir"})),
        ("/nodes/pve1/qemu/100/snapshot/my snap/rollback", json!({})),
        ("/access/roles", json!({"roleid": "VM operator"})),
        ("/access/users/bob@pve/token/my token", json!({})),
        ("/cluster/backup", json!({"id": "1st", "schedule": "02:00"})),
    ] {
        document.call(&server.server, "proxmox_api_call", json!({"path": path, "method": "POST", "data": data}));
    }
    for (path, data) in [
        ("/cluster/options", json!({})),
        ("/cluster/firewall/options", json!({"digest": "0".repeat(40)})),
        ("/nodes/pve1/lxc/200/config", json!({"digest": "0".repeat(40)})),
        ("/nodes/pve1/qemu/100/firewall/options", json!({})),
        ("/storage/nas", json!({"digest": "0".repeat(40)})),
        ("/pools/prod", json!({"allow-move": true})),
        ("/pools", json!({"poolid": "prod"})),
        ("/cluster/sdn/vnets/net1", json!({"lock-token": "x"})),
        // These act without a parameter, or replace all by nothing.
        ("/cluster/sdn", json!({})),
        ("/nodes/pve1/network", json!({})),
        ("/access/roles/VMOperator", json!({})),
    ] {
        document.call(
            &server.server,
            "proxmox_api_call",
            json!({"path": path, "method": "PUT", "data": data, "dry_run": true}),
        );
    }
    let many: Value = (0..1_001).map(|n| (format!("p{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    document.call(&server.server, "proxmox_api_call", put(many));
    document.call(&server.server, "proxmox_api_call", put(json!({"description": "x".repeat(3 << 20)})));
    for arguments in [
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "data": {"memory": "512"}}),
        json!({"path": "/access/users", "method": "POST", "data": {"userid": "ada", "password": "x"}}),
        json!({"path": "/nodes/pve1/tasks?limit=5", "data": {"limit": 6}}),
        json!({"path": "/nodes/pve1/tasks?limit=5&limit=6"}),
        json!({"path": "/nodes/pve1/tasks?limti=5"}),
        json!({"path": "/nodes/pve1/tasks?=5"}),
        json!({"path": "/version", "data": {"x": 1}}),
        json!({"path": "/nodes/pve1/qemu/100/config", "data": {"memory": 1024}}),
        json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "wbe01"}}),
        json!({"path": "/access/password", "method": "PUT", "data": {"userid": "a@pve", "password": {"a": "secret"}}}),
    ] {
        document.call(&server.server, "proxmox_api_call", arguments);
    }
    document.section("An API that the cluster does not describe");
    let server = server_over(RecordingNode::with(ScriptedReply::refusal(500, "no such file", ""), |_| None));
    for arguments in [
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"a": true, "b": [1, 2]}, "dry_run": true}),
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"a": {"b": 1}}}),
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"": 1}}),
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"a": []}}),
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"a": [[1]]}}),
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"a": null}}),
        json!({"path": "/cluster/brand/new"}),
        put(json!({"brand-new": 1, "cores": "x"})),
    ] {
        document.call(&server.server, "proxmox_api_call", arguments);
    }
    document.assert("plan_errors");
}

#[test]
fn lookup_errors_and_notes() {
    let mut document = Document::new();
    document.redact(r"since \d+ s, failed \d+ times?, next try in \d+ s", "since N s, failed N times, next try in N s");
    let server = server();
    document.section("Guests");
    for (method, path) in [
        ("GET", "/qemu/web01/config"),
        ("GET", "/nodes/pve2/qemu/100/config"),
        ("GET", "/nodes/pve1/lxc/100/config"),
        ("GET", "/nodes/pve2/lxc/100/interfaces"),
        ("POST", "/nodes/pve2/qemu/100/status/start"),
        ("POST", "/nodes/pve1/qemu/999/status/start"),
        ("GET", "/nodes/pve1/qemu/999/config"),
        ("GET", "/qemu/twin/config"),
        ("POST", "/qemu/twin/status/start"),
        ("GET", "/qemu/wbe01/config"),
        ("GET", "/qemu/102/config"),
        ("GET", "/qemu/nothing-like-it/config"),
        ("GET", "/qemu/thin/config"),
        ("POST", "/qemu/300/status/start"),
        ("DELETE", "/nodes/pve2/qemu/100"),
        ("DELETE", "/nodes/pve1/lxc/100"),
    ] {
        document.call(&server.server, "proxmox_api_call", json!({"path": path, "method": method}));
    }
    document.section("Nodes and tasks");
    for path in [
        "/nodes/{node}/status",
        "/nodes/localhost/status",
        "/nodes/pve9/status",
        "/nodes/pve2/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:/status",
        "/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:/status",
        "/tasks/nope/status",
    ] {
        document.call(&server.server, "proxmox_api_get", json!({"path": path}));
    }
    document.section("Look-ups that fail");
    for (about, list) in [
        ("the list of guests is refused", ScriptedReply::refusal(403, "Permission check failed (/vms, VM.Audit)", "")),
        ("the list of guests is no list", ScriptedReply::data("7")),
        ("the list of guests is empty", ScriptedReply::data("[]")),
        (
            "a node with an impossible name",
            ScriptedReply::data(r#"[{"id":"qemu/100","vmid":100,"node":"{node}","name":"web01"}]"#),
        ),
    ] {
        let node = RecordingNode::with(gzipped_facts(), move |request| match request.target.as_str() {
            "/api2/json/cluster/resources?type=vm" => Some(list.clone()),
            "/api2/json/nodes" => Some(ScriptedReply::data("[]")),
            _ => None,
        });
        let server = server_over(node);
        document.section(about);
        for (method, path) in
            [("GET", "/qemu/web01/config"), ("POST", "/qemu/web01/status/start"), ("GET", "/nodes/{node}/status")]
        {
            document.call(&server.server, "proxmox_api_call", json!({"path": path, "method": method}));
        }
        document.call(&server.server, "find_guest", json!({"query": "web01"}));
    }
    document.section("A cluster that is down");
    let down = ClusterConfig { endpoints: vec![closed_endpoint()], ..server.node.cluster("down", open_policy()) };
    let server = product(vec![down]);
    for (tool, arguments) in [
        ("proxmox_api_call", json!({"path": "/qemu/web01/status/start", "method": "POST"})),
        ("proxmox_api_get", json!({"path": "/qemu/web01/config"})),
        ("proxmox_api_get", json!({"path": "/nodes/{node}/status"})),
        ("find_guest", json!({"query": "web01"})),
        ("get_cluster_resources", json!({})),
        ("list_clusters", json!({"check": true})),
        ("wait_for_task", json!({"upid": "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:", "timeout": 1})),
        ("describe_api", json!({"path": "/version"})),
    ] {
        document.call(&server, tool, arguments);
    }
    document.assert("lookups");
}
