//! Protected guests: no change that affects one is sent. Reads, and changes of other guests, are sent.

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{RecordingNode, open_policy, protected};
use crate::support::proxmox::{guests, gzipped_facts, read, required, server_error};
use crate::support::tool::{ToolResult, ToolServer};
use proxmox_mcp::policy::ClusterPolicy;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::schema::embedded_schema;
use serde_json::{Value, json};

const LIST: &str = "/api2/json/cluster/resources?type=vm";

/// Ways to protect guest 100 (`web01`, on pve1), some with other guests.
const WAYS: [&[&str]; 4] = [&["100"], &["pool:prod"], &["tag:critical"], &["pool:other", "tag:CRITICAL"]];

/// Returns the guests of the cluster. Guest 100 is in a pool and has a tag. The token does not see guest 300.
fn rows() -> Value {
    let mut rows = guests();
    let list = rows.as_array_mut().expect("a list");
    list.retain(|row| row["vmid"] != 300);
    list[0]["pool"] = "prod/web".into();
    list[0]["tags"] = "db;critical".into();
    list[1]["pool"] = "lab".into();
    rows
}

/// Returns a server over a cluster with protected guests.
fn start_protecting(protect: &[&str]) -> ToolServer {
    start_protecting_with_list(protect, ScriptedReply::data(&rows().to_string()))
}

fn start_protecting_with_list(protect: &[&str], list: ScriptedReply) -> ToolServer {
    let rows = rows();
    let node = RecordingNode::with(gzipped_facts(), move |request| match request.target.as_str() {
        LIST => Some(list.clone()),
        _ => answer_config(&rows, request),
    });
    let rules = ClusterPolicy { protect: protected(protect), ..open_policy() };
    let cluster = node.cluster("prod", rules);
    ToolServer::new(node, vec![cluster])
}

/// Answers a read of the config of one of these guests. A config has name and tags.
fn answer_config(rows: &Value, request: &Request) -> Option<ScriptedReply> {
    let place = request.target.strip_prefix("/api2/json/nodes/")?.strip_suffix("/config")?;
    let is_at =
        |row: &&Value| format!("{}/{}", row["node"].as_str().unwrap_or_default(), row["id"].as_str().unwrap()) == place;
    let row = rows.as_array()?.iter().find(is_at).filter(|_| request.method == "GET")?;
    let image = format!("local:iso/of-{}.iso,media=cdrom", row["vmid"]);
    let lun = format!("san:0.0.{}.scsi-3600,size=8G", row["vmid"]);
    let config = json!({"name": row["name"], "tags": row["tags"], "ide2": image, "scsi3": lun, "digest": "d"});
    Some(ScriptedReply::data(&config.to_string()))
}

/// Calls `METHOD /path`. Required parameters that are not given are filled in.
fn call_operation(server: &ToolServer, line: &str, given: Value) -> ToolResult {
    let (method, path) = line.split_once(' ').expect("a method");
    let top = path.replacen("/qemu/", "/nodes/pve1/qemu/", usize::from(path.starts_with("/qemu/")));
    let segments = read(&top);
    let found = embedded_schema().match_path(&segments).unwrap_or_else(|_| panic!("{line} is nowhere"));
    let operation = found.operation(Method::from_name(method).unwrap()).unwrap_or_else(|| panic!("no {line}"));
    let mut data = required(&operation);
    given
        .as_object()
        .expect("parameters")
        .iter()
        .for_each(|(name, value)| drop(data.insert(name.clone(), value.clone())));
    server.call("proxmox_api_call", json!({"path": path, "method": method, "data": data}))
}

#[track_caller]
fn assert_refused(server: &ToolServer, line: &str, given: &Value) -> String {
    let result = call_operation(server, line, given.clone());
    let writes = server.node.writes();
    assert!(result.failed && writes.is_empty(), "{line} {given}: {result:?} {writes:?}");
    assert!(result.text.contains("refused: ") && result.text.contains("protected"), "{line} {given}: {result:?}");
    result.text
}

#[track_caller]
fn assert_sent(server: &ToolServer, line: &str, given: &Value) {
    let result = call_operation(server, line, given.clone());
    assert!(!result.failed && server.node.writes().len() == 1, "{line} {given}: {result:?}");
}

/// Returns calls that affect guest 100.
fn calls_on_guest_100() -> Vec<(&'static str, Value)> {
    let none = || json!({});
    vec![
        // Through the path.
        ("POST /nodes/pve1/qemu/100/status/start", none()),
        ("POST /nodes/pve1/qemu/100/status/stop", none()),
        ("POST /qemu/web01/status/shutdown", none()),
        ("POST /qemu/100/snapshot", none()),
        ("POST /nodes/pve3/qemu/100/status/reboot", none()),
        ("POST /nodes/localhost/qemu/100/status/reboot", none()),
        ("POST /nodes/pve1/qemu/WEB01/migrate", json!({"target": "pve2"})),
        ("PUT /nodes/pve1/qemu/100/config", json!({"tags": ""})),
        ("POST /nodes/pve1/%71emu/%31%30%30/config", json!({"memory": "512"})),
        ("DELETE /nodes/pve1/qemu/100", none()),
        ("DELETE //nodes//pve1/qemu/100/snapshot/x1", none()),
        ("POST /nodes/pve1/qemu/100/agent/exec", json!({"command": ["id"]})),
        ("POST /nodes/pve1/qemu/100/firewall/rules", json!({"action": "DROP", "type": "in"})),
        ("POST /nodes/pve1/qemu/100/clone", json!({"newid": 900})),
        ("POST /nodes/pve1/qemu/100/move_disk", json!({"disk": "scsi0", "target-vmid": 101})),
        ("POST /nodes/pve1/qemu/100/vncproxy", none()),
        ("GET /nodes/pve1/qemu/100/vncwebsocket", json!({"port": 5900, "vncticket": "x"})),
        // Through the guest's own resources.
        ("POST /nodes/pve2/qemu", json!({"vmid": 100, "archive": "local:backup/x.vma.zst", "force": true})),
        ("POST /nodes/pve1/qemu", json!({"vmid": 100})),
        ("POST /nodes/pve3/lxc", json!({"vmid": 100, "ostemplate": "local:vztmpl/x.tar", "force": true})),
        ("POST /nodes/pve2/qemu/101/clone", json!({"newid": 100})),
        // Through its volumes.
        ("PUT /nodes/pve2/qemu/101/config", json!({"scsi1": "local-lvm:vm-100-disk-0"})),
        ("POST /nodes/pve2/qemu/101/config", json!({"scsi1": "local:100/any.qcow2"})),
        ("PUT /nodes/pve2/lxc/200/config", json!({"mp0": "zfs:subvol-100-disk-1,mp=/x"})),
        ("PUT /nodes/pve2/qemu/101/config", json!({"unused3": "nfs:9000/base-9000-disk-0.qcow2/100/x.qcow2"})),
        ("PUT /nodes/pve2/qemu/101/config", json!({"scsi1": "file=san:0.0.100.scsi-3600"})),
        ("POST /nodes/pve2/qemu", json!({"vmid": 900, "scsi0": "san:0.0.100.scsi-3600,iothread=1"})),
        ("POST /nodes/pve2/qemu/101/move_disk", json!({"disk": "scsi1", "target-vmid": "web01"})),
        ("POST /nodes/pve2/lxc/200/move_volume", json!({"volume": "mp0", "target-vmid": 100})),
        ("DELETE /nodes/pve1/storage/local-lvm/content/local-lvm:vm-100-disk-0", none()),
        ("DELETE /nodes/pve1/storage/local-lvm/content/vm-100-disk-0", none()),
        ("DELETE /nodes/pve2/storage/local/content/local:100/any.qcow2", none()),
        ("DELETE /nodes/pve2/storage/local/content/local%3A100%2Fany.qcow2", none()),
        ("DELETE /nodes/pve2/storage/local/content/100/any.raw", none()),
        ("DELETE /nodes/pve2/storage/local/content/local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst", none()),
        ("PUT /nodes/pve2/storage/pbs/content/pbs:backup/vm/100/2026-01-01T00:00:00Z", json!({"protected": false})),
        ("POST /nodes/pve2/storage/local/content", json!({"vmid": 100, "filename": "x.raw", "size": "1G"})),
        ("POST /nodes/pve2/storage/local/content/local:101/x.raw", json!({"target": "local:100/y.raw"})),
        ("DELETE /nodes/pve2/storage/local/prunebackups", json!({"vmid": 100, "prune-backups": "keep-last=1"})),
        ("DELETE /nodes/pve2/storage/local/prunebackups", json!({"prune-backups": "keep-last=1"})),
        ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:qmmigrate:100:root@pam:", none()),
        ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:vzdump::root@pam:", none()),
        ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:imgdel:100@local-lvm:root@pam:", none()),
        ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:srvrestart:networking:root@pam:", none()),
        ("DELETE /nodes/pve2/tasks/UPID:pve2:000001C1:00022AEA:6B0293BE:cephdestroypool:rbd:root@pam:", none()),
        ("DELETE /nodes/pve2/storage/local/content/local:iso/of-100.iso", none()),
        ("DELETE /nodes/pve2/storage/local/content/iso%2Fof-100.iso", none()),
        // Through its pool.
        ("POST /cluster/ha/resources", json!({"sid": "vm:100"})),
        ("POST /cluster/ha/resources", json!({"sid": "100"})),
        ("PUT /cluster/ha/resources/vm:100", json!({"state": "stopped"})),
        ("DELETE /cluster/ha/resources/vm%3a100", none()),
        ("POST /cluster/ha/resources/100/relocate", json!({"node": "pve2"})),
        ("POST /cluster/ha/rules", json!({"rule": "x1", "type": "node-affinity", "resources": "ct:200,vm:100"})),
        ("POST /cluster/ha/status/disarm-ha", none()),
        ("POST /cluster/replication", json!({"id": "100-0", "target": "pve2", "type": "local"})),
        ("PUT /cluster/replication/100-0", json!({"disable": true})),
        ("DELETE /cluster/replication/100-1", none()),
        ("POST /nodes/pve1/replication/100-0/schedule_now", none()),
        ("PUT /pools", json!({"poolid": "lab", "vms": "100"})),
        ("PUT /pools/lab", json!({"vms": "101,100", "delete": true})),
        ("PUT /pools", json!({"poolid": "prod", "vms": "101"})),
        ("DELETE /pools", json!({"poolid": "prod"})),
        ("DELETE /pools/prod", none()),
        // Together with other guests.
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "101,100"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": ["101", "web01"]})),
        ("POST /nodes/pve1/vzdump", json!({"all": true})),
        ("POST /nodes/pve1/vzdump", json!({"all": true, "exclude": "101"})),
        ("POST /nodes/pve1/vzdump", json!({"all": true, "storage": "x1x", "notes-template": "vm-101-disk-0"})),
        ("POST /nodes/pve2/vzdump", json!({"pool": "prod"})),
        ("POST /nodes/pve2/vzdump", json!({"pool": "prod/web"})),
        ("POST /cluster/backup", json!({"vmid": "101,100"})),
        ("POST /cluster/backup", json!({"all": true, "exclude": "101"})),
        ("POST /cluster/backup", json!({"pool": "prod"})),
        ("PUT /cluster/backup/x1", json!({"all": true})),
        ("POST /nodes/pve1/stopall", none()),
        ("POST /nodes/pve1/stopall", json!({"vms": "101,100"})),
        ("POST /nodes/pve2/stopall", json!({"vms": ["100"]})),
        ("POST /nodes/pve1/startall", json!({"force": true})),
        ("POST /nodes/pve1/suspendall", none()),
        ("POST /nodes/pve1/migrateall", json!({"target": "pve2"})),
        ("POST /cluster/bulk-action/guest/shutdown", none()),
        ("POST /cluster/bulk-action/guest/shutdown", json!({"vms": [101, 100]})),
        ("POST /cluster/bulk-action/guest/start", json!({"vms": ["web01"]})),
        ("POST /cluster/bulk-action/guest/migrate", json!({"target": "vm-101"})),
        ("POST /cluster/bulk-action/guest/suspend", none()),
        // Through its node.
        ("POST /nodes/pve1/status", json!({"command": "reboot"})),
        ("PUT /nodes/pve1/network", none()),
        ("PUT /nodes/pve1/network/vmbr0", json!({"type": "bridge", "bridge_ports": "eno2"})),
        ("POST /nodes/pve1/network", json!({"iface": "vmbr9", "type": "bridge", "bridge_ports": "eno1"})),
        ("PUT /nodes/pve1/config", json!({"ballooning-target": 10})),
        ("PUT /nodes/pve1/config", json!({"delete": "description,ballooning-target"})),
        ("PUT /nodes/pve1/firewall/options", json!({"nf_conntrack_max": 32768})),
        ("PUT /nodes/pve2/disks/wipedisk", json!({"disk": "/dev/sdb"})),
        ("PUT /nodes/pve1/disks/wipedisk", json!({"disk": "/dev/sdb"})),
        ("DELETE /nodes/pve1/disks/zfs/tank", none()),
        ("DELETE /nodes/pve2/ceph/pool/rbd", none()),
        ("POST /nodes/pve2/termproxy", none()),
        ("POST /nodes/pve2/execute", json!({"commands": "[]"})),
        ("PUT /nodes/pve2/qemu/101/config", json!({"hookscript": "local:snippets/x.sh"})),
        ("PUT /nodes/pve2/qemu/101/config", json!({"scsi1": "/dev/sda"})),
        ("PUT /nodes/pve2/qemu/101/config", json!({"hostpci0": "0000:01:00.0"})),
        ("PUT /nodes/pve2/qemu/101/config", json!({"virtiofs0": "data"})),
        ("POST /nodes/pve2/qemu/101/monitor", json!({"command": "info block"})),
        ("PUT /nodes/pve2/lxc/200/config", json!({"mp0": "/var/lib/vz,mp=/x"})),
        ("POST /cluster/mapping/dir", json!({"id": "x1", "map": ["node=pve2,path=/var/lib/vz"]})),
        ("POST /cluster/mapping/pci", json!({"id": "x1", "map": ["node=pve1,path=01:00,id=1:1"]})),
        ("POST /storage", json!({"storage": "x1", "type": "dir", "path": "/var/lib/pve"})),
        ("DELETE /storage/local-lvm", none()),
        ("PUT /storage/local-lvm", json!({"disable": true})),
        ("PUT /storage/local-lvm", json!({"nodes": "pve2"})),
        ("PUT /storage/local-lvm", json!({"content": "iso"})),
        ("DELETE /cluster/config/nodes/pve1", none()),
        ("PUT /cluster/sdn", none()),
        ("POST /nodes/pve2/services/corosync/stop", none()),
        ("POST /nodes/pve2/services/pve-ha-crm/restart", none()),
    ]
}

#[test]
fn every_call_that_reaches_a_protected_guest_is_denied() {
    for protect in WAYS {
        let server = start_protecting(protect);
        for (line, given) in calls_on_guest_100() {
            assert_refused(&server, line, &given);
        }
    }
}

#[test]
fn calls_that_reach_other_guests_are_sent() {
    for protect in WAYS {
        let server = start_protecting(protect);
        for (line, given) in [
            ("POST /nodes/pve2/qemu/101/status/stop", json!({})),
            ("POST /qemu/db01/status/reboot", json!({})),
            (
                "PUT /nodes/pve2/qemu/101/config",
                json!({"scsi1": "local-lvm:vm-101-disk-7", "description": "10.0.0.0/24"}),
            ),
            ("PUT /nodes/pve2/qemu/101/config", json!({"scsi1": "san:0.0.101.scsi-3600", "scsi2": "san:8"})),
            ("DELETE /nodes/pve1/qemu/110", json!({})),
            ("POST /nodes/pve1/qemu", json!({"vmid": 900})),
            ("POST /nodes/pve2/qemu/101/clone", json!({"newid": 1000})),
            ("POST /nodes/pve2/qemu/101/agent/exec", json!({"command": ["id"]})),
            ("DELETE /nodes/pve2/storage/local-lvm/content/local-lvm:vm-101-disk-0", json!({})),
            ("DELETE /nodes/pve1/storage/local/content/local:iso/debian-100.iso", json!({})),
            ("DELETE /nodes/pve1/storage/local/content/local:iso/of-101.iso", json!({})),
            ("DELETE /nodes/pve1/storage/local/content/local:vztmpl/of-100.iso", json!({})),
            ("POST /nodes/pve1/storage/local/download-url", json!({"content": "iso", "filename": "a.iso"})),
            ("POST /nodes/pve1/aplinfo", json!({})),
            ("PUT /nodes/pve2/network/vmbr0", json!({"type": "bridge"})),
            ("PUT /nodes/pve1/config", json!({"description": "rack 4"})),
            ("DELETE /nodes/pve2/storage/local/prunebackups", json!({"vmid": 101, "prune-backups": "keep-last=1"})),
            ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:qmmigrate:101:root@pam:", json!({})),
            ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:download:a.iso:root@pam:", json!({})),
            ("POST /cluster/ha/resources", json!({"sid": "vm:101"})),
            ("POST /cluster/replication", json!({"id": "101-0", "target": "pve1", "type": "local"})),
            ("PUT /pools", json!({"poolid": "lab", "vms": "110"})),
            ("POST /nodes/pve1/vzdump", json!({"vmid": "110"})),
            ("POST /nodes/pve2/vzdump", json!({"all": true})),
            ("POST /cluster/backup", json!({"vmid": "101"})),
            ("POST /cluster/backup", json!({"vmid": "101", "schedule": "*:0/15"})),
            ("POST /storage", json!({"storage": "x1", "type": "lvm", "vgname": "x"})),
            ("POST /nodes/pve1/stopall", json!({"vms": "110"})),
            ("POST /nodes/pve2/stopall", json!({})),
            ("POST /cluster/bulk-action/guest/shutdown", json!({"vms": [101]})),
            ("POST /nodes/pve3/status", json!({"command": "reboot"})),
            ("POST /nodes/pve1/ceph/osd/1/in", json!({})),
            ("POST /nodes/pve1/apt/update", json!({})),
            ("PUT /cluster/options", json!({"description": "see https://pve1:8006/ for more"})),
        ] {
            assert_sent(&server, line, &given);
        }
    }
}

#[test]
fn protected_guest_can_be_read() {
    for protect in WAYS {
        let server = start_protecting(protect);
        for path in [
            "/nodes/pve1/qemu/100/config",
            "/qemu/web01/status/current",
            "/nodes/pve1/qemu/100/snapshot",
            "/nodes/pve1/storage/local-lvm/content/local-lvm:vm-100-disk-0",
            "/cluster/ha/resources/vm:100",
            "/pools/prod",
        ] {
            let result = server.call("proxmox_api_get", json!({"path": path}));
            assert!(!result.failed, "{path}: {result:?}");
        }
        assert!(!server.call("find_guest", json!({"query": "web01"})).failed);
        let result = call_operation(&server, "POST /nodes/pve1/qemu/100/agent/ping", json!({}));
        assert!(!result.failed, "a POST that only looks: {result:?}");
    }
}

#[test]
fn dry_run_of_a_denied_call_is_denied() {
    let server = start_protecting(&["100"]);
    let arguments = json!({"path": "/nodes/pve1/stopall", "method": "POST", "dry_run": true});
    let result = server.call("proxmox_api_call", arguments);
    assert!(result.failed && result.text.contains("protected"), "{result:?}");
}

#[test]
fn unlisted_guest_may_be_in_a_protected_pool() {
    let over = json!({"vmid": 300, "archive": "local:backup/x.vma.zst", "force": true});
    for protect in [&["pool:prod"][..], &["tag:critical"], &["100", "tag:x"]] {
        let server = start_protecting(protect);
        for (line, given) in [
            ("POST /nodes/pve3/qemu/300/status/stop", json!({})),
            ("POST /nodes/pve3/vzdump", json!({"vmid": "300"})),
            ("DELETE /nodes/pve3/storage/local/content/local:300/any.qcow2", json!({})),
            ("POST /cluster/ha/resources", json!({"sid": "vm:300"})),
            ("POST /nodes/pve3/qemu", over.clone()),
        ] {
            let why = assert_refused(&server, line, &given);
            assert!(why.contains("300") && why.contains("VM.Audit"), "{why}");
        }
        assert_sent(&server, "POST /nodes/pve3/qemu", &json!({"vmid": 300}));
    }
    assert_sent(&start_protecting(&["100"]), "POST /nodes/pve3/qemu/300/status/stop", &json!({}));
}

#[test]
fn unlisted_protected_guest_may_be_on_any_node() {
    let server = start_protecting(&["300"]);
    for line in ["POST /nodes/pve1/stopall", "POST /nodes/pve2/status", "POST /cluster/bulk-action/guest/suspend"] {
        assert!(assert_refused(&server, line, &json!({})).contains("VM.Audit"));
    }
    assert_sent(&server, "POST /nodes/pve2/qemu/101/status/stop", &json!({}));
    // A listed guest without a node may be on any node.
    let server = start_protecting_with_list(&["300"], ScriptedReply::data(&guests().to_string()));
    assert_refused(&server, "POST /nodes/pve2/stopall", &json!({}));
}

#[test]
fn without_a_guest_list_calls_that_could_reach_a_protected_guest_are_denied() {
    let lists = [
        ScriptedReply::data("{}"),
        ScriptedReply::data("null"),
        ScriptedReply::body("<html>"),
        server_error("cluster not ready - no quorum?"),
    ];
    for list in lists {
        for protect in WAYS {
            let server = start_protecting_with_list(protect, list.clone());
            for line in ["POST /nodes/pve1/stopall", "POST /nodes/pve2/status", "POST /nodes/pve2/termproxy"] {
                assert_refused(&server, line, &json!({}));
            }
            let stop = call_operation(&server, "POST /nodes/pve1/qemu/100/status/stop", json!({}));
            let other = call_operation(&server, "PUT /pools", json!({"poolid": "lab", "vms": "110"}));
            assert!(stop.failed && (other.failed || protect == ["100"]), "{stop:?} {other:?}");
            let sent = server.node.writes();
            assert!(sent.iter().all(|line| protect == ["100"] && line == "PUT /pools"), "{protect:?}: {sent:?}");
        }
    }
}

#[test]
fn localhost_as_node_is_rejected_with_the_node_names() {
    let server = start_protecting(&["100"]);
    for path in ["/nodes/localhost/stopall", "/nodes/LOCALHOST/status", "/nodes/%6cocalhost/vzdump"] {
        let result = server.call("proxmox_api_call", json!({"path": path, "method": "POST"}));
        assert!(result.failed && result.text.contains("which node? Put one of pve1, pve2, pve3"), "{result:?}");
        assert_eq!(server.node.writes(), [""; 0]);
    }
}

// ---- objects that guests share

/// Returns a server over a cluster with guest 100 protected, whose API answers these objects.
fn start_with_objects(protect: &[&str], objects: &[(&'static str, Value)]) -> ToolServer {
    let objects: Vec<(String, Value)> =
        objects.iter().map(|(path, object)| (format!("/api2/json{path}"), object.clone())).collect();
    let node = RecordingNode::with(gzipped_facts(), move |request| {
        if request.target == LIST {
            return Some(ScriptedReply::data(&rows().to_string()));
        }
        let object = objects.iter().find(|(path, _)| request.method == "GET" && request.target == *path);
        object.map(|(_, object)| ScriptedReply::data(&object.to_string()))
    });
    let rules = ClusterPolicy { protect: protected(protect), ..open_policy() };
    let cluster = node.cluster("prod", rules);
    ToolServer::new(node, vec![cluster])
}

#[test]
fn change_of_an_object_that_guests_share_reaches_every_guest() {
    for protect in WAYS {
        let server = start_protecting(protect);
        for (line, given) in [
            ("PUT /storage/ceph", json!({"content": "iso"})),
            ("PUT /storage/ceph", json!({"comment": "x"})),
            ("PUT /nodes/pve3/ceph/pool/rbd", json!({"size": 1})),
            ("PUT /cluster/ceph/flags/pause", json!({"value": true})),
            ("PUT /cluster/firewall/options", json!({"enable": 1})),
            ("POST /cluster/firewall/rules", json!({"action": "DROP", "type": "in"})),
            ("POST /cluster/firewall/groups/web", json!({"action": "DROP", "type": "in"})),
            ("PUT /cluster/firewall/aliases/lan", json!({"cidr": "10.0.0.0/8"})),
            ("DELETE /cluster/firewall/ipset/lan/10.0.0.0%2F8", json!({})),
            ("PUT /cluster/mapping/pci/gpu", json!({"map": ["node=pve1,path=01:00"]})),
            ("DELETE /cluster/mapping/usb/key", json!({})),
            ("PUT /cluster/sdn/vnets/lan", json!({"tag": 7})),
            ("DELETE /cluster/sdn/zones/z1", json!({})),
            ("PUT /cluster/sdn/vnets/lan/firewall/options", json!({"policy_forward": "DROP"})),
            ("PUT /cluster/options", json!({"fencing": "hardware"})),
            ("PUT /cluster/qemu/custom-cpu-models/custom-x", json!({"flags": "+aes"})),
            ("DELETE /cluster/ha/groups/all", json!({})),
            ("POST /storage", json!({"storage": "x1", "type": "lvm", "vgname": "x", "base": "san:0.0.0.scsi-1"})),
            ("DELETE /nodes/pve3/storage/local/content/local:snippets/start.sh", json!({})),
            ("DELETE /nodes/pve3/storage/local/content/snippets/start.sh", json!({})),
            ("PUT /cluster/options", json!({"ha": "shutdown_policy=freeze"})),
            ("PUT /cluster/options", json!({"delete": "crs"})),
            ("POST /nodes/pve1/services/corosync/restart", json!({})),
            ("DELETE /nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:bulkshutdown::root@pam:", json!({})),
            ("POST /cluster/ha/status/disarm-ha", json!({"resource-mode": "freeze"})),
        ] {
            assert_refused(&server, line, &given);
        }
    }
}

#[test]
fn job_and_rule_reach_the_guests_that_they_have() {
    let job = |vmids: &str| json!({"id": "nightly", "vmid": vmids, "storage": "local", "enabled": 1});
    let rule = |resources: &str| json!({"rule": "pair", "type": "resource-affinity", "resources": resources});
    let (job_path, rule_path) = ("/cluster/backup/nightly", "/cluster/ha/rules/pair");
    let changes = [
        ("PUT /cluster/backup/nightly", json!({"enabled": false})),
        ("PUT /cluster/backup/nightly", json!({"vmid": "101"})),
        ("PUT /cluster/backup/nightly", json!({"mode": "stop"})),
        ("PUT /cluster/backup/nightly", json!({"prune-backups": "keep-last=1"})),
        ("DELETE /cluster/backup/nightly", json!({})),
        ("PUT /cluster/ha/rules/pair", json!({"disable": true, "type": "resource-affinity"})),
        ("DELETE /cluster/ha/rules/pair", json!({})),
    ];
    for protect in WAYS {
        for (object, rule_object) in [
            (job("100"), rule("vm:101,vm:100")),
            (job("101, 100"), rule("ct:110 vm:100")),
            (json!({"id": "nightly", "all": 1}), json!({"rule": "pair"})),
            (json!({"id": "nightly", "pool": "prod"}), json!({"rule": "pair", "resources": ""})),
            (json!("odd"), json!(null)),
        ] {
            let server = start_with_objects(protect, &[(job_path, object), (rule_path, rule_object)]);
            for (line, given) in &changes {
                assert_refused(&server, line, given);
            }
        }
        // The job or rule has other guests only, before and after.
        let server = start_with_objects(protect, &[(job_path, job("101,110")), (rule_path, rule("vm:101"))]);
        for (line, given) in &changes {
            assert_sent(&server, line, given);
        }
        assert_refused(&server, "PUT /cluster/backup/nightly", &json!({"vmid": "101,100"}));
        assert_refused(&server, "PUT /cluster/backup/nightly", &json!({"all": true}));
        assert_refused(&server, "PUT /cluster/ha/rules/pair", &json!({"resources": "vm:100", "type": "node-affinity"}));
        // An object that can't be read may have any guest.
        let server = start_protecting(protect);
        for (line, given) in &changes {
            assert_refused(&server, line, given);
        }
    }
}

/// Returns a server over a cluster whose token has these privileges. Without Pool.Audit no row has a pool.
fn start_with_token(protect: &[&str], permissions: Value) -> ToolServer {
    let sees_pools = permissions.to_string().contains("Pool.Audit");
    let node = RecordingNode::with(gzipped_facts(), move |request| {
        let mut list = rows();
        if !sees_pools {
            let rows = list.as_array_mut().expect("a list");
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().expect("a row").remove("pool")));
        }
        match request.target.as_str() {
            LIST => Some(ScriptedReply::data(&list.to_string())),
            "/api2/json/access/permissions" => Some(ScriptedReply::data(&permissions.to_string())),
            _ => None,
        }
    });
    let rules = ClusterPolicy { protect: protected(protect), ..open_policy() };
    let cluster = node.cluster("prod", rules);
    ToolServer::new(node, vec![cluster])
}

#[test]
fn pool_that_the_token_does_not_see_protects_every_guest() {
    let blind = json!({"/": {"VM.Audit": 1}});
    let server = start_with_token(&["pool:prod"], blind.clone());
    for line in ["DELETE /nodes/pve1/qemu/100", "POST /nodes/pve2/qemu/101/status/stop", "POST /nodes/pve1/stopall"] {
        let why = assert_refused(&server, line, &json!({}));
        assert!(why.contains("Pool.Audit on /pool/prod"), "{why}");
    }
    // A number needs no pool, but the guests of a pool that is backed up or pruned do.
    let server = start_with_token(&["100"], blind);
    assert_sent(&server, "POST /nodes/pve2/qemu/101/status/stop", &json!({}));
    assert_refused(&server, "POST /nodes/pve2/vzdump", &json!({"pool": "prod"}));
    assert_refused(&server, "PUT /pools", &json!({"poolid": "prod", "storage": "local", "delete": 1}));
    let server = start_with_token(&["pool:prod"], json!({"/vms": {"VM.Audit": 1}, "/pool/prod": {"Pool.Audit": 1}}));
    assert_refused(&server, "DELETE /nodes/pve1/qemu/100", &json!({}));
    assert_sent(&server, "POST /nodes/pve2/qemu/101/status/stop", &json!({}));
}

#[test]
fn guests_that_the_token_does_not_see_are_protected_by_pool_and_tag() {
    for permissions in [
        json!({"/pool": {"Pool.Audit": 1}, "/vms/100": {"VM.Audit": 1}}),
        json!({"/pool": {"Pool.Audit": 1}, "/vms": {"VM.Audit": 0}}),
        json!({"/pool": {"Pool.Audit": 1}, "/vms": {"VM.Audit": 1}, "/vms/300": {"VM.Backup": 1}}),
    ] {
        for protect in [&["pool:other"][..], &["tag:other"]] {
            let server = start_with_token(protect, permissions.clone());
            for (line, given) in [
                ("POST /nodes/pve2/status", json!({"command": "reboot"})),
                ("DELETE /storage/local", json!({})),
                ("PUT /nodes/pve2/network", json!({})),
                ("PUT /cluster/firewall/options", json!({"enable": 1})),
            ] {
                let why = assert_refused(&server, line, &given);
                assert!(why.contains("VM.Audit on /vms"), "{why}");
            }
            assert_sent(&server, "POST /nodes/pve2/qemu/101/status/stop", &json!({}));
        }
    }
    let server = start_with_token(&["tag:other"], json!({"/": {"VM.Audit": 1}}));
    assert_sent(&server, "POST /nodes/pve2/status", &json!({"command": "reboot"}));
}

#[test]
fn change_that_would_lift_a_protection_is_denied() {
    for protect in WAYS {
        let server = start_protecting(protect);
        for (line, given) in [
            ("PUT /pools", json!({"poolid": "prod/web", "vms": "100", "delete": 1})),
            ("PUT /pools", json!({"poolid": "lab", "vms": "100", "allow-move": 1})),
            ("PUT /nodes/pve1/qemu/100/config", json!({"tags": "db"})),
            ("PUT /nodes/pve1/qemu/100/config", json!({"delete": "tags"})),
            ("PUT /nodes/pve1/qemu/100/config", json!({"delete": "protection"})),
        ] {
            assert_refused(&server, line, &given);
        }
    }
}
