//! The overview of large, sick and many clusters. Its texts are in the golden files.

use crate::support::node::{ScriptedReply, closed_endpoint};
use crate::support::policy::{RecordingNode, open_policy};
use crate::support::proxmox::{gzipped_facts, segments};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The limit of an overview, with the notice.
const MAX_BYTES: usize = 2_048;

/// Starts a node of a cluster with this many nodes and guests, each of which has a problem.
fn start_troubled_node(nodes: usize, guests: usize) -> RecordingNode {
    let long = "x".repeat(60);
    let mut rows: Vec<Value> = (0..nodes)
        .map(|n| json!({"type": "node", "node": format!("n{n}-{long}"), "status": "online", "cpu": 0.99, "maxcpu": 4, "mem": 99, "maxmem": 100}))
        .collect();
    rows.extend((0..nodes).map(|n| {
        json!({"type": "storage", "storage": format!("s{n}-{long}"), "node": format!("n{n}-{long}"), "status": "available",
               "content": "backup", "disk": 99, "maxdisk": 100})
    }));
    rows.extend((100..100 + guests).map(|vmid| {
        json!({"type": "qemu", "vmid": vmid, "node": format!("n0-{long}"), "name": format!("g-{long}"), "lock": "backup"})
    }));
    let rows = Value::from(rows).to_string();
    let task = |n: u32| json!({"upid": format!("UPID:n0:000001C1:00022AEA:6B02{n:04X}:vzdump:{n}:root@pam:"), "endtime": 7, "status": long});
    let tasks = Value::from((0..50).map(task).collect::<Vec<_>>()).to_string();
    RecordingNode::with(gzipped_facts(), move |request| {
        if request.target.contains("apidoc.js") {
            return None;
        }
        Some(match segments(request).join("/").as_str() {
            "cluster/resources" => ScriptedReply::data(&rows),
            "cluster/status" => ScriptedReply::data(r#"[{"type":"cluster","quorate":0}]"#),
            "access/permissions" => ScriptedReply::data(r#"{"/":{"VM.Audit":1}}"#),
            path if path.ends_with("/tasks") => ScriptedReply::data(&tasks),
            path if path.ends_with("/log") => {
                ScriptedReply::body(r#"{"data":[{"n":1,"t":"ERROR: no space"}],"total":1}"#)
            }
            path if path.ends_with("/subscription") => ScriptedReply::data(r#"{"status":"expired"}"#),
            path if path.ends_with("/certificates/info") => ScriptedReply::data(r#"[{"filename":"a","notafter":7}]"#),
            _ => ScriptedReply::data("[]"),
        })
    })
}

/// Returns the overview after a check of its size.
fn overview(clusters: Vec<ClusterConfig>) -> ToolResult {
    let result = call(&product(clusters), "get_cluster_resources", json!({"type": "overview"}));
    let text = result.all_text();
    assert!(!result.failed && text.len() <= MAX_BYTES, "{} bytes: {text}", text.len());
    result
}

#[test]
fn overview_of_a_huge_cluster_has_each_topic_in_2_kb() {
    let node = start_troubled_node(40, 10_000);
    let cluster = ClusterConfig { timeout: Duration::from_secs(60), ..node.cluster("huge", open_policy()) };
    let text = overview(vec![cluster]).all_text();
    for part in [
        "nodes (41) ",
        "storages (40) ",
        "failed tasks (1600) /nodes/{node}/tasks?errors=1\n- ",
        "backups (10000) ",
        "certificates (32) ",
        "subscriptions (32) ",
        "guest states (10000) ",
        "; log: ERROR: no space",
        "not or only partly read: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("nothing wrong: nodes"), "{text}");
    let writes: Vec<_> = node.requests().into_iter().filter(|request| request.method != "GET").collect();
    assert!(writes.is_empty(), "{writes:?}");
}

#[test]
fn overview_of_200_clusters_counts_them_in_2_kb() {
    let node = start_troubled_node(2, 50);
    let mut clusters: Vec<ClusterConfig> = (0..199)
        .map(|n| ClusterConfig {
            name: format!("c{n:03}"),
            timeout: Duration::from_secs(60),
            ..node.cluster("", open_policy())
        })
        .collect();
    clusters.push(ClusterConfig { endpoints: vec![closed_endpoint()], ..node.cluster("down", open_policy()) });
    let text = overview(clusters).all_text();
    for part in [
        "199 of 200 clusters answer, ",
        "398 of 398 nodes online; 9950 guests",
        "backups (9950: c000 50, c001 50, c002 50 and 196 more) /cluster/backup-info/not-backed-up",
        "clusters without an answer (1: down 1) list_clusters check",
        "everything of down (no answer)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn overview_says_which_part_a_sick_node_does_not_answer() {
    let node = RecordingNode::with(gzipped_facts(), |request| {
        let path = segments(request).join("/");
        match path.as_str() {
            _ if request.target.contains("apidoc.js") => None,
            "cluster/resources" => {
                Some(ScriptedReply::data(r#"[{"type":"node","node":"pve1","status":"online","mem":1,"maxmem":2}]"#))
            }
            path if path.ends_with("/certificates/info") => Some(ScriptedReply::hang()),
            "cluster/backup" => Some(ScriptedReply::data("7")),
            path if path.ends_with("/subscription") => Some(ScriptedReply::data(r#"{"status":"notfound"}"#)),
            _ => Some(ScriptedReply::data("[]")),
        }
    });
    let cluster = ClusterConfig { timeout: Duration::from_secs(1), ..node.cluster("sick", open_policy()) };
    let text = overview(vec![cluster]).all_text();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    let (clean, unseen) = (line("looked at, nothing wrong: "), line("not or only partly read: "));
    assert!(clean.contains("subscriptions") && !clean.contains("certificates") && !clean.contains("backup"), "{text}");
    assert!(unseen.contains("certificates of pve1 (") && unseen.contains("backups"), "{text}");
}

/// Starts a cluster of three nodes, the last one offline, and 30 guests without backups. `answer` has further answers.
fn start_odd_cluster(answer: impl Fn(&str) -> Option<ScriptedReply> + Send + Sync + 'static) -> RecordingNode {
    let node = |name: &str, status: &str| json!({"type": "node", "node": name, "status": status, "cpu": 0.5, "maxcpu": 4, "mem": 1, "maxmem": 2});
    let mut rows = vec![node("pve1", "online"), node("pve2", "online"), node("pve3", "offline")];
    rows.extend((100..130).map(
        |vmid| json!({"type": "qemu", "vmid": vmid, "node": "pve1", "name": format!("g{vmid}"), "status": "running"}),
    ));
    let rows = Value::from(rows).to_string();
    RecordingNode::with(gzipped_facts(), move |request| {
        let path = segments(request).join("/");
        match path.as_str() {
            _ if request.target.contains("apidoc.js") => None,
            "cluster/resources" => Some(ScriptedReply::data(&rows)),
            "access/permissions" => {
                Some(ScriptedReply::data(r#"{"/":{"VM.Audit":1,"Sys.Audit":1,"Sys.Modify":1,"Datastore.Audit":1}}"#))
            }
            path if path.ends_with("/subscription") => Some(ScriptedReply::data(r#"{"status":"notfound"}"#)),
            path if path.ends_with("/time") => {
                answer(path).or_else(|| Some(ScriptedReply::data(&json!({"time": seconds_now()}).to_string())))
            }
            path => answer(path).or_else(|| Some(ScriptedReply::data("[]"))),
        }
    })
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

#[test]
fn overview_has_one_line_for_many_guests_with_the_same_problem() {
    let node = start_odd_cluster(|_| None);
    let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
    assert!(text.contains("backups (30) "), "{text}");
    assert!(text.contains("- no backup seen, in no backup job: 100 \"g100\", 101 \"g101\", "), "{text}");
    assert!(text.contains("subscriptions of pve3 (offline)"), "{text}");
}

#[test]
fn overview_shows_no_figures_of_a_node_that_is_offline() {
    let node = start_odd_cluster(|_| None);
    let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
    assert!(text.contains("- pve3: offline\n"), "{text}");
    assert!(text.contains("load, highest first: pve1 CPU 50% memory 50%, pve2 CPU 50% memory 50% /nodes\n"), "{text}");
}

#[test]
fn overview_tells_what_ceph_warns_of() {
    let warning = r#"{"health":{"status":"HEALTH_WARN","checks":{"OSD_DOWN":{"summary":{"message":"1 osds down"}}}}}"#;
    for (reply, expected) in [
        (ScriptedReply::data(warning), "Ceph (1) /cluster/ceph/status\n- HEALTH_WARN: 1 osds down\n"),
        (ScriptedReply::data(r#"{"health":{"status":"HEALTH_ERR"}}"#), "- HEALTH_ERR\n"),
        (ScriptedReply::data(r#"{"health":{"status":"HEALTH_OK"}}"#), "HA and replication, Ceph, storages"),
        (
            ScriptedReply::refusal(500, "rados_connect failed", r#"{"data":null}"#),
            "Ceph (`GET /cluster/ceph/status` failed",
        ),
    ] {
        let node = start_odd_cluster(move |path| (path == "cluster/ceph/status").then(|| reply.clone()));
        let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let node = start_odd_cluster(|path| {
        let missing = "binary not installed: /usr/bin/ceph-mon";
        (path == "cluster/ceph/status").then(|| ScriptedReply::refusal(500, missing, r#"{"data":null}"#))
    });
    let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
    assert!(!text.contains("Ceph"), "{text}");
}

#[test]
fn overview_finds_clocks_that_are_apart() {
    let node = start_odd_cluster(|path| {
        let ahead = if path == "nodes/pve2/time" { 400 } else { 0 };
        path.ends_with("/time").then(|| ScriptedReply::data(&json!({"time": seconds_now() + ahead}).to_string()))
    });
    let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
    assert!(text.contains("clocks (1) /nodes/{node}/time\n- pve2 is 6m ahead of the other nodes"), "{text}");
    let node = start_odd_cluster(|path| {
        path.ends_with("/time").then(|| ScriptedReply::data(&json!({"time": seconds_now() - 7_200}).to_string()))
    });
    let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
    assert!(text.contains(" behind the clock of the machine with this MCP server"), "{text}");
}

#[test]
fn overview_keeps_what_was_read_if_the_privileges_could_not_be_read() {
    let upid =
        |kind: &str, age: u64| format!("UPID:pve1:000001C1:00022AEA:{:08X}:{kind}:7:root@pam:", seconds_now() - age);
    let tasks = json!([
        {"upid": upid("vzdump", 60), "node": "pve1", "endtime": 7, "status": "job errors"},
        {"upid": upid("qmstart", 200_000), "node": "pve1", "endtime": 7, "status": "too old"},
    ]);
    let rows = json!([
        {"type": "node", "node": "pve1", "status": "online", "cpu": 0.5, "maxcpu": 4, "mem": 1, "maxmem": 2},
        {"type": "storage", "storage": "nas", "node": "pve1", "status": "available", "content": "iso", "disk": 1, "maxdisk": 9},
        {"type": "qemu", "vmid": 7, "node": "pve1", "name": "busy", "status": "running", "cpu": 0.83, "maxcpu": 1},
        {"type": "qemu", "vmid": 8, "node": "pve1", "name": "held", "status": "paused", "cpu": 0, "maxcpu": 1, "pool": "lab"},
    ]);
    let jobs = json!([
        {"id": "all", "all": 1, "enabled": 0, "storage": "nas"},
        {"id": "lab", "pool": "lab", "enabled": 0, "storage": "nas"},
    ]);
    let replication = json!([{"id": "7-0", "guest": 7, "target": "pve9", "fail_count": 2, "error": "no route"}]);
    let node = RecordingNode::with(gzipped_facts(), move |request| {
        Some(match segments(request).join("/").as_str() {
            _ if request.target.contains("apidoc.js") => return None,
            "cluster/resources" => ScriptedReply::data(&rows.to_string()),
            "access/permissions" => ScriptedReply::body(r#"{"data":{"/vms/8":{"VM.Au"#),
            "nodes/pve1/tasks" => ScriptedReply::refusal(500, "broken", r#"{"data":null}"#),
            "cluster/tasks" => ScriptedReply::data(&tasks.to_string()),
            "cluster/backup" => ScriptedReply::data(&jobs.to_string()),
            "nodes/pve1/replication" => ScriptedReply::data(&replication.to_string()),
            "cluster/replication" => ScriptedReply::data("[{}]"),
            _ => ScriptedReply::data("[]"),
        })
    });
    let text = overview(vec![node.cluster("odd", open_policy())]).all_text();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    for part in [
        "guests that use most of their CPU now: 7 \"busy\" CPU 83%",
        "failed tasks (1) /nodes/{node}/tasks?errors=1\n- ",
        ": job errors",
        "- job 7-0 of guest 7 to pve9, which is not in the cluster, failed 2 times: no route",
        "in no enabled backup job (disabled: all)",
        "in no enabled backup job (disabled: all, lab)",
        "guest states (1) ",
        "- 8 \"held\" is paused",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("too old"), "{text}");
    let (doubt, unread) = (line("may lack "), line("not or only partly read: "));
    assert!(doubt.contains("/access/permissions could not be read (") && doubt.contains("ends too early"), "{text}");
    assert!(doubt.contains("HA and replication, storages, "), "{text}");
    assert!(unread.contains("failed tasks of pve1 (") && !unread.contains("storages"), "{text}");
}
