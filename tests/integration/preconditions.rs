//! Calls that a node certainly refuses by the state of their object: an error before any question, and nothing is sent.

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{ALL, RecordingNode, client, confirming_policy};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::test_tools::start_open_demo;
use crate::support::tool::{self, ToolResult, ToolServer};
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
            "GET" if path == "/api2/json/pools" => {
                Some(ScriptedReply::data(r#"[{"poolid":"web","members":[{"id":"qemu/100"}]}]"#))
            }
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
    let off_in_ha = json!({"status": "stopped", "ha": {"managed": 1, "state": "stopped"}});
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
        (&off_in_ha, &none, &vm("/status/stop"), &none, true),
        (&off_in_ha, &none, &vm("/status/start"), &none, false),
        (&off_in_ha, &none, &container("/status/shutdown"), &none, true),
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
        ("DELETE /pools", json!({"poolid": "web"})),
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

#[test]
fn name_that_is_in_use_is_refused_unless_the_list_frees_it() {
    let clone = |number: u32| ("POST /qemu/106/clone", json!({"newid": number}));
    let snapshot = || ("POST /qemu/106/snapshot", json!({"snapname": "before-upgrade"}));
    let user = |name: &str| ("POST /access/users", json!({"userid": name}));
    let pool = |name: &str| ("POST /pools", json!({"poolid": name}));
    let restore = json!({"vmid": 106, "force": true,
        "archive": "nas:backup/vzdump-qemu-106-2026_01_02-03_04_05.vma.zst"});
    let none = || json!({});
    for (calls, refused) in [
        (vec![clone(104)], &["104"][..]),
        (vec![clone(900)], &[]),
        (vec![clone(900), clone(900)], &["call 2", "call 1 of the list"]),
        (vec![("DELETE /qemu/106", none()), ("POST /nodes/pve1/qemu", json!({"vmid": 106}))], &[]),
        (vec![("POST /nodes/pve2/qemu", restore)], &[]),
        (vec![snapshot()], &["exists already"]),
        (vec![("POST /qemu/106/snapshot", json!({"snapname": "other"}))], &[]),
        (vec![("DELETE /qemu/106/snapshot/before-upgrade", none()), snapshot()], &[]),
        (vec![user("alice@pve")], &["exists already"]),
        (vec![user("new@pve")], &[]),
        (vec![user("new@pve"), user("alice@pve")], &["call 2"]),
        (vec![("DELETE /access/users/alice@pve", none()), user("alice@pve")], &[]),
        (vec![pool("prod")], &["exists already"]),
        (vec![pool("new"), pool("new")], &["call 2"]),
        (vec![("DELETE /pools/prod", none())], &["not empty"]),
        (vec![pool("new"), ("DELETE /pools/new", none())], &[]),
        (vec![("POST /qemu/106/migrate", json!({"target": "pve9"}))], &["no node pve9"]),
        (vec![("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "nosuch"}))], &["no storage nosuch"]),
        (vec![("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "nas"}))], &[]),
    ] {
        let (_demo, server) = start_open_demo();
        let lines: Vec<Value> = calls.iter().map(|(line, data)| call(line, data)).collect();
        let mut arguments = match lines.as_slice() {
            [only] => only.clone(),
            _ => json!({"calls": lines}),
        };
        arguments["dry_run"] = true.into();
        let result = tool::call(&server, CALL, arguments);
        assert_eq!(result.failed, !refused.is_empty(), "{calls:?}: {result:?}");
        for part in refused {
            assert!(result.text.contains(part), "{part}: {result:?}");
        }
    }
}

#[test]
fn question_says_that_the_server_may_lose_its_own_access() {
    let (_demo, server) = start_open_demo();
    for (line, data, is_own) in [
        ("DELETE /access/users/demo@pve", json!({}), true),
        ("PUT /access/users/demo@pve", json!({"enable": false}), true),
        ("PUT /access/users/demo@pve", json!({"comment": "x"}), false),
        ("DELETE /access/users/alice@pve", json!({}), false),
        ("DELETE /access/users/demo@pve/token/full", json!({}), true),
        ("DELETE /access/users/root@pam/token/backup", json!({}), false),
    ] {
        let mut arguments = call(line, &data);
        arguments["dry_run"] = true.into();
        let result = tool::call(&server, CALL, arguments);
        assert!(!result.failed, "{line}: {result:?}");
        assert_eq!(result.text.contains("own access of this server"), is_own, "{line} {data}: {result:?}");
    }
}
