//! The overview of large, sick and many clusters. Its texts are in the golden files.

use crate::support::node::{ScriptedReply, closed_endpoint};
use crate::support::policy::{RecordingNode, open_policy};
use crate::support::proxmox::{gzipped_facts, segments};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::config::ClusterConfig;
use serde_json::{Value, json};
use std::time::Duration;

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
        "failed tasks (1600) /cluster/tasks\n- ",
        "guests without backup (10000) ",
        "certificates (32) ",
        "subscriptions (32) ",
        "locked guests (10000) ",
        "; log: ERROR: no space",
        "not seen: ",
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
        "guests without backup (9950: c000 50, c001 50, c002 50 and 196 more) /cluster/backup-info/not-backed-up",
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
    let (clean, unseen) = (line("looked at, nothing wrong: "), line("not seen: "));
    assert!(clean.contains("subscriptions") && !clean.contains("certificates") && !clean.contains("backup"), "{text}");
    assert!(unseen.contains("certificates of pve1 (") && unseen.contains("guests without backup"), "{text}");
}
