//! Calls that a node certainly refuses by the state of their object: an error before any question, and nothing is sent.

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{ALL, RecordingNode, client, confirming_policy};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::tool::{ToolResult, ToolServer};
use serde_json::{Value, json};

const CALL: &str = "proxmox_api_call";
const VM: &str = "/nodes/pve1/qemu/100";
const CONTAINER: &str = "/nodes/pve1/lxc/200";

/// Starts a server over a node whose guests all have this status and this config. There is no storage.
fn start(status: Value, config: Value) -> ToolServer {
    let mut config = config;
    config["digest"] = "d".into();
    let node = RecordingNode::with(gzipped_facts(), move |request: &Request| {
        let path = request.path();
        match request.method.as_str() {
            "GET" if path.ends_with("/snapshot/new/config") => Some(server_error("snapshot 'new' does not exist")),
            "GET" if path.ends_with("/status/current") => Some(ScriptedReply::data(&status.to_string())),
            "GET" if path.ends_with("/config") => Some(ScriptedReply::data(&config.to_string())),
            "GET" if path.ends_with("/snapshot") => {
                Some(ScriptedReply::data(&json!([{"name": "old"}, {"name": "current"}]).to_string()))
            }
            "GET" if path.starts_with("/api2/json/storage/") => Some(server_error("storage 'nfs2' does not exist")),
            "GET" if path == "/api2/json/storage" => Some(ScriptedReply::data(r#"[{"storage":"local"}]"#)),
            _ => None,
        }
    });
    let clusters = vec![node.cluster("prod", confirming_policy())];
    ToolServer::for_clients(node, clusters, &[client("ada", ALL, &[])])
}

fn call(line: &str, data: &Value) -> Value {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    json!({"path": path, "method": method, "data": data})
}

fn dry_run(server: &ToolServer, line: &str, data: &Value) -> ToolResult {
    let mut arguments = call(line, data);
    arguments["dry_run"] = true.into();
    server.call_as(0, CALL, arguments)
}

fn dry_run_list(server: &ToolServer, calls: &[(&str, Value)]) -> ToolResult {
    let calls: Vec<Value> = calls.iter().map(|(line, data)| call(line, data)).collect();
    server.call_as(0, CALL, json!({"calls": calls, "dry_run": true}))
}

#[test]
fn state_of_the_guest_refuses_a_call_unless_a_parameter_or_ha_lifts_it() {
    let (running, stopped) = (json!({"status": "running"}), json!({"status": "stopped"}));
    let paused = json!({"status": "running", "qmpstatus": "paused"});
    let with_ha = |status: &Value| json!({"status": status["status"], "ha": {"managed": 1, "state": "started"}});
    let suspended = json!({"status": "stopped", "lock": "suspended"});
    let unknown = json!({"name": "web01"});
    let (vm, container) = (|rest: &str| format!("POST {VM}{rest}"), |rest: &str| format!("POST {CONTAINER}{rest}"));
    let remove = [format!("DELETE {VM}"), format!("DELETE {CONTAINER}")];
    let (none, online) = (json!({}), json!({"target": "pve2", "online": true}));
    let to_pve2 = json!({"target": "pve2"});
    for (status, config, line, data, is_refused) in [
        (&running, &none, &remove[0], &none, true),
        (&stopped, &none, &remove[0], &none, false),
        (&unknown, &none, &remove[0], &none, false),
        (&stopped, &json!({"protection": 1}), &remove[0], &none, true),
        (&stopped, &json!({"protection": "0"}), &remove[0], &none, false),
        (&with_ha(&stopped), &none, &remove[0], &none, true),
        (&with_ha(&stopped), &none, &remove[0], &json!({"purge": true}), false),
        (&running, &none, &remove[1], &none, true),
        (&running, &none, &remove[1], &json!({"force": true}), false),
        (&running, &none, &vm("/status/start"), &none, true),
        (&with_ha(&running), &none, &vm("/status/start"), &none, false),
        (&stopped, &none, &vm("/status/start"), &none, false),
        (&stopped, &json!({"template": 1}), &vm("/status/start"), &none, true),
        (&stopped, &none, &vm("/status/stop"), &none, true),
        (&suspended, &none, &vm("/status/stop"), &none, false),
        (&with_ha(&stopped), &none, &vm("/status/stop"), &none, false),
        (&stopped, &none, &container("/status/shutdown"), &none, true),
        (&paused, &none, &vm("/status/shutdown"), &none, true),
        (&paused, &none, &vm("/status/shutdown"), &json!({"forceStop": true}), false),
        (&stopped, &none, &vm("/status/resume"), &none, true),
        (&suspended, &none, &vm("/status/resume"), &none, false),
        (&stopped, &none, &vm("/agent/fsfreeze-freeze"), &none, true),
        (&running, &none, &vm("/migrate"), &to_pve2, true),
        (&running, &none, &vm("/migrate"), &online, false),
        (&stopped, &none, &vm("/migrate"), &to_pve2, false),
        (&stopped, &none, &vm("/migrate"), &json!({"target": "pve1"}), true),
        (&running, &none, &container("/migrate"), &to_pve2, true),
        (&running, &none, &container("/migrate"), &online, true),
        (&running, &none, &container("/migrate"), &json!({"target": "pve2", "restart": true}), false),
        (&running, &none, &container("/clone"), &json!({"newid": 900}), true),
        (&running, &none, &container("/clone"), &json!({"newid": 900, "snapname": "old"}), false),
        (&running, &none, &vm("/clone"), &json!({"newid": 900}), false),
        (&running, &none, &vm("/template"), &none, true),
        (&stopped, &none, &vm("/template"), &none, true),
        (&running, &none, &vm("/snapshot/new/rollback"), &none, true),
        (&running, &none, &vm("/snapshot/old/rollback"), &none, false),
    ] {
        let server = start(status.clone(), config.clone());
        let result = dry_run(&server, line, data);
        assert_eq!(result.failed, is_refused, "{status} {config} {line} {data}: {result:?}");
        assert_eq!(result.text.contains(" would "), is_refused || !result.failed, "{result:?}");
        assert_eq!(server.node.writes(), [""; 0]);
    }
}

#[test]
fn disk_that_is_absent_or_would_shrink_is_refused() {
    let config = json!({"scsi0": "local-lvm:vm-100-disk-0,size=32G"});
    let resize = format!("PUT {VM}/resize");
    for (disk, size, is_refused) in [
        ("scsi0", "+1G", false),
        ("scsi0", "32G", false),
        ("scsi0", "1T", false),
        ("scsi0", "31G", true),
        ("scsi0", "32767M", true),
        ("scsi0", "32768M", false),
        ("scsi1", "+1G", true),
        ("scsi0", "-1G", true),
        ("scsi0", "+G", true),
        ("scsi0", "1.5.2G", true),
    ] {
        let server = start(json!({"status": "running"}), config.clone());
        let result = dry_run(&server, &resize, &json!({"disk": disk, "size": size}));
        assert_eq!(result.failed, is_refused, "{disk} {size}: {result:?}");
    }
}

#[test]
fn call_that_would_fail_is_an_error_and_no_question() {
    let server = start(json!({"status": "running"}), json!({}));
    let remove = format!("DELETE {VM}");
    for (line, data) in [
        (remove.as_str(), json!({})),
        ("DELETE /storage/nfs2", json!({})),
        ("PUT /storage/nfs2", json!({"disable": true})),
    ] {
        let result = server.call_as(0, CALL, call(line, &data));
        assert!(result.failed && result.text.contains("would fail"), "{line}: {result:?}");
        assert!(!result.text.contains("confirm"), "{line}: {result:?}");
        assert_eq!(server.node.writes(), [""; 0]);
    }
}

#[test]
fn calls_of_a_list_are_judged_after_those_before_them() {
    let (stop, start_it) = (format!("POST {VM}/status/stop"), format!("POST {VM}/status/start"));
    let (remove, options) = (format!("DELETE {VM}"), format!("PUT {VM}/config"));
    let rollback = format!("POST {VM}/snapshot/new/rollback");
    let snapshot = format!("POST {VM}/snapshot");
    let none = || json!({});
    let memory = || json!({"memory": 1024});
    let rule = format!("DELETE {VM}/firewall/rules/0");
    let storage = || json!({"storage": "nfs2", "type": "dir", "path": "/x"});
    let container_snapshot = format!("POST {CONTAINER}/snapshot");
    let (describe, container_describe) =
        (format!("PUT {VM}/snapshot/new/config"), format!("PUT {CONTAINER}/snapshot/new/config"));
    let description = || json!({"description": "x"});
    let remove_snapshot = format!("DELETE {VM}/snapshot/old");
    let describe_old = format!("PUT {VM}/snapshot/old/config");
    for (status, calls, refused) in [
        ("running", vec![(stop.as_str(), none()), (&remove, none())], &[][..]),
        ("running", vec![(&options, memory()), (&remove, none())], &["call 2"]),
        ("stopped", vec![(&start_it, none()), (&remove, none())], &["call 2", "by then"]),
        ("stopped", vec![(&remove, none()), (&options, memory())], &["call 2", "call 1 removes it"]),
        ("running", vec![(&snapshot, json!({"snapname": "new"})), (&rollback, none())], &[]),
        ("running", vec![(&snapshot, json!({"snapname": "other"})), (&rollback, none())], &["call 2"]),
        ("running", vec![(&snapshot, json!({"snapname": "new"})), (&describe, description())], &[]),
        ("running", vec![(&container_snapshot, json!({"snapname": "new"})), (&container_describe, description())], &[]),
        ("running", vec![(&snapshot, json!({"snapname": "other"})), (&describe, description())], &["call 2"]),
        ("running", vec![(&remove_snapshot, none()), (&describe_old, description())], &["call 2", "call 1 removes it"]),
        ("running", vec![("POST /storage", storage()), ("PUT /storage/nfs2", json!({"content": "iso"}))], &[]),
        ("running", vec![("PUT /storage/nfs2", json!({"content": "iso"})), (&remove, none())], &["call 1", "call 2"]),
        ("running", vec![(&rule, none()), (&rule, none())], &[]),
        ("running", vec![("POST /cluster/bulk-action/guest/shutdown", none()), (&remove, none())], &[]),
    ] {
        let server = start(json!({"status": status}), json!({}));
        let result = dry_run_list(&server, &calls);
        assert_eq!(result.failed, !refused.is_empty(), "{calls:?}: {result:?}");
        for part in refused {
            assert!(result.text.contains(part), "{part}: {result:?}");
        }
        assert_eq!(server.node.writes(), [""; 0]);
    }
}
