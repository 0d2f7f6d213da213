//! The overview of clusters: what is wrong, what could not be looked at, and where to look further.

use crate::demo::demo;
use crate::document::Document;
use crate::prompts::prompt_document;
use crate::support::node::{ScriptedReply, closed_endpoint};
use crate::support::policy::{RecordingNode, open_policy};
use crate::support::proxmox::{gzipped_facts, segments};
use crate::support::test_tools::product;
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

fn call(document: &mut Document, clusters: Vec<ClusterConfig>, arguments: Value) {
    document.call(&product(clusters), "get_cluster_resources", arguments);
}

/// Starts a node whose answers are `answer`, else an empty list. It gets the path below `/api2/json`.
fn start_node(answer: impl Fn(&str) -> Option<ScriptedReply> + Send + Sync + 'static) -> RecordingNode {
    RecordingNode::with(gzipped_facts(), move |request| {
        if request.target.contains("apidoc.js") {
            return None;
        }
        Some(answer(&segments(request).join("/")).unwrap_or_else(|| ScriptedReply::data("[]")))
    })
}

/// Starts a node of a cluster in which everything is wrong.
fn start_sick_node() -> RecordingNode {
    const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:vzdump:100:root@pam:";
    let resources = json!([
        {"id": "node/pve1", "type": "node", "node": "pve1", "status": "online", "cpu": 0.97, "maxcpu": 4, "mem": 95, "maxmem": 100, "disk": 93, "maxdisk": 100, "uptime": 400},
        {"id": "node/pve2", "type": "node", "node": "pve2", "status": "offline"},
        {"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "pve1", "name": "web01", "status": "running", "lock": "backup"},
        {"id": "lxc/101", "type": "lxc", "vmid": 101, "node": "pve1", "name": "dns01", "status": "stopped"},
        {"id": "storage/pve1/local", "type": "storage", "storage": "local", "node": "pve1", "status": "available", "content": "backup,iso", "disk": 99, "maxdisk": 100},
        {"id": "storage/pve1/nas", "type": "storage", "storage": "nas", "node": "pve1", "status": "unknown", "content": "images", "shared": 1},
    ]);
    let task = |kind: &str, status: &str| {
        let upid = UPID.replace("6B0293BE:vzdump", &format!("6B0293CF:{kind}"));
        json!({"upid": upid, "endtime": 2, "status": status})
    };
    let tasks = json!([
        task("qmstart", "VM 100 already running"),
        task("qmreset", "VM 100 not running"),
        task("qmstart", "VM 100 already running"),
        {"upid": UPID, "endtime": 1, "status": "job errors"},
    ]);
    let log = json!({"data": [{"n": 1, "t": "INFO: starting"}, {"n": 2, "t": "ERROR: Backup of VM 100 failed - No space left on device"}, {"n": 3, "t": "TASK ERROR: job errors"}], "total": 3});
    let privileges =
        json!({"/": {"Sys.Audit": 1, "Sys.Modify": 1, "VM.Audit": 1, "Datastore.Audit": 1, "Datastore.Allocate": 1}});
    start_node(move |path| {
        let data = |value: Value| Some(ScriptedReply::data(&value.to_string()));
        match path {
            "cluster/resources" => data(resources.clone()),
            "cluster/status" => data(json!([
                {"type": "cluster", "quorate": 0},
                {"type": "node", "name": "pve1", "online": 1},
                {"type": "node", "name": "pve2", "online": 0},
            ])),
            "access/permissions" => data(privileges.clone()),
            "cluster/ha/status/current" => data(json!([
                {"id": "service:vm:100", "type": "service", "state": "error", "status": "vm:100 (pve1, error)"},
                {"id": "service:ct:101", "sid": "ct:101", "type": "service", "state": "started", "request_state": "started",
                    "status": "ct:101 (pve1, started)"},
                {"id": "quorum", "type": "quorum", "quorate": 1, "status": "OK"},
            ])),
            "cluster/replication" => data(json!([{"id": "100-0"}])),
            "nodes/pve1/replication" => data(json!([
                {"id": "100-0", "guest": 100, "target": "pve2", "fail_count": 3, "error": "no route to host"},
            ])),
            "cluster/backup" => data(json!([{"id": "nightly", "enabled": 0, "all": 1, "storage": "local"}])),
            "nodes/pve1/tasks" => data(tasks.clone()),
            path if path.ends_with("/log") => Some(ScriptedReply::body(log.to_string())),
            "nodes/pve1/certificates/info" => {
                data(json!([{"filename": "pve-ssl.pem", "notafter": now() + 5 * 86_400 + 60}]))
            }
            "nodes/pve1/apt/update" => data(json!([{"Package": "pve-manager"}, {"Package": "proxmox-kernel-6.17"}])),
            "nodes/pve1/subscription" => data(json!({"status": "expired"})),
            _ => None,
        }
    })
}

/// Starts a node with a cluster in which nothing is wrong.
fn start_well_node() -> RecordingNode {
    start_node(|path| {
        let data = |value: Value| Some(ScriptedReply::data(&value.to_string()));
        match path {
            "cluster/resources" => data(json!([
                {"id": "node/pve1", "type": "node", "node": "pve1", "status": "online", "cpu": 0.1, "maxcpu": 4, "mem": 1, "maxmem": 2},
            ])),
            "cluster/status" => data(json!([{"type": "node", "name": "pve1", "online": 1}])),
            "access/permissions" => {
                data(json!({"/": {"Sys.Audit": 1, "Sys.Modify": 1, "VM.Audit": 1, "Datastore.Audit": 1}}))
            }
            "nodes/pve1/subscription" => data(json!({"status": "notfound"})),
            _ => None,
        }
    })
}

#[test]
fn overview_says_what_is_wrong_and_what_was_not_seen() {
    let demo = demo();
    let (sick, well) = (start_sick_node(), start_well_node());
    // A token without rights: Proxmox leaves rows out, or refuses.
    let bare = start_node(|path| match path {
        "access/permissions" => Some(ScriptedReply::data("{}")),
        "cluster/resources" => {
            Some(ScriptedReply::data(r#"[{"id":"node/pve1","type":"node","node":"pve1","status":"online"}]"#))
        }
        path if path.ends_with("apt/update") => {
            let text = "Permission check failed (/nodes/pve1, Sys.Modify)";
            Some(ScriptedReply::refusal(403, text, &json!({"message": text, "data": null}).to_string()))
        }
        path if path.ends_with("subscription") => Some(ScriptedReply::data(r#"{"status":"notfound"}"#)),
        "cluster/status" | "cluster/ha/status/current" | "cluster/backup" | "cluster/replication" => {
            let text = "Permission check failed (/, Sys.Audit)";
            Some(ScriptedReply::refusal(403, text, &json!({"message": text, "data": null}).to_string()))
        }
        _ => None,
    });
    let named = |name: &str, cluster: ClusterConfig| ClusterConfig { name: name.into(), ..cluster };
    let down = ClusterConfig { endpoints: vec![closed_endpoint()], ..named("down", demo.cluster()) };

    let mut document = prompt_document();
    document.redact(r"- \d+ more\n", "- N more\n");
    document.redact(r"(CPU|memory) \d+%", "$1 N%");
    let arguments = || json!({"type": "overview"});
    document.section("The demo");
    call(&mut document, vec![demo.cluster()], arguments());
    document.section("The demo, with a token that may only read");
    call(&mut document, vec![demo.auditor()], arguments());
    document.section("A cluster in which everything is wrong");
    call(&mut document, vec![sick.cluster("sick", open_policy())], arguments());
    document.section("A cluster in which nothing is wrong");
    call(&mut document, vec![well.cluster("well", open_policy())], arguments());
    document.section("A token without rights");
    call(&mut document, vec![bare.cluster("bare", open_policy())], arguments());
    document.section("Several clusters, one without an answer");
    let several = || vec![named("demo", demo.cluster()), sick.cluster("sick", open_policy()), down.clone()];
    call(&mut document, several(), arguments());
    call(&mut document, several(), json!({"type": "overview", "cluster": "down"}));
    document.assert("overview");
}
