//! Large inventories, many clusters and clusters that do not answer, as a client sees them.

use crate::support::node::{Node, Request, ScriptedReply, closed_endpoint};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::config::{ClusterConfig, Limits};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::tools::{self, ToolState};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of notes that an answer may have beside its rows.
const NOTES: usize = 8 << 10;

fn guest_rows(count: usize) -> String {
    let row = |n: usize| {
        format!(
            r#"{{"cpu":0.0123456789,"disk":0,"diskread":123456789012,"diskwrite":123456789012,"id":"qemu/{0}","level":"","maxcpu":4,"maxdisk":34359738368,"maxmem":8589934592,"mem":4294967296,"memhost":4294967296,"name":"guest-{0}.example","netin":123456789012,"netout":123456789012,"node":"pve{1}","status":"running","tags":"prod;web","template":0,"type":"qemu","uptime":864000,"vmid":{0}}}"#,
            100 + n,
            n % 9 + 1
        )
    };
    format!("[{}]", (0..count).map(row).collect::<Vec<_>>().join(","))
}

fn inventory_node(guests: usize) -> Node {
    let rows = guest_rows(guests);
    Node::start(move |request| match request.path() {
        "/api2/json/cluster/resources" => ScriptedReply::data(&rows),
        "/api2/json/nodes" => ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#),
        path if path.ends_with("/50099/config") => ScriptedReply::data(r#"{"name":"guest-50099.example"}"#),
        _ => ScriptedReply::data("{}"),
    })
}

fn assert_bounded(result: &ToolResult) {
    let max = Limits::default().max_result_bytes + NOTES;
    assert!(!result.failed, "{result:?}");
    assert!(result.all_text().len() <= max, "{} bytes of text", result.all_text().len());
    let json = result.structured.to_string().len();
    assert!(json <= max + NOTES, "{json} bytes of JSON");
}

#[test]
fn list_of_many_guests_is_cut_at_whole_rows_under_the_sums_of_all() {
    let node = inventory_node(3_000);
    let result = call(&product(vec![node.cluster_settings()]), "get_cluster_resources", json!({"type": "vm"}));
    assert_bounded(&result);
    assert!(result.text.starts_with("guests: 3000 VMs (3000 running)\n"), "{}", &result.text[..200]);
    let rows = result.structured["rows"].as_array().expect("rows").len();
    assert_eq!(result.structured["total"], 3_000);
    assert_eq!(result.structured["left_out"], json!(3_000 - rows));
    let note = format!("{} of 3000 rows are left out", 3_000 - rows);
    assert!(rows > 50 && result.all_text().contains(&note), "{}", result.all_text());
    assert!(result.all_text().contains("proxmox_api_get /cluster/resources"), "{}", result.all_text());
}

#[test]
fn rows_left_out_are_counted_by_cluster() {
    let nodes = [inventory_node(400), inventory_node(300)];
    let clusters = nodes.iter().enumerate();
    let clusters = clusters.map(|(n, node)| ClusterConfig { name: format!("c{n}"), ..node.cluster_settings() });
    let result = call(&product(clusters.collect()), "get_cluster_resources", json!({}));
    assert_bounded(&result);
    assert!(result.text.starts_with("guests: 700 VMs"), "{result:?}");
    assert!(result.all_text().contains(", 300 of c1"), "{}", result.all_text());
}

#[test]
fn clusters_that_fail_alike_share_one_error() {
    let node = inventory_node(1);
    let mut clusters: Vec<ClusterConfig> = (0..60)
        .map(|n| ClusterConfig {
            name: format!("c{n:03}"),
            endpoints: vec![closed_endpoint()],
            ..node.cluster_settings()
        })
        .collect();
    clusters.push(ClusterConfig { name: "well".into(), ..node.cluster_settings() });
    let server = product(clusters);
    for tool in ["get_cluster_resources", "list_nodes"] {
        let result = call(&server, tool, json!({}));
        assert_bounded(&result);
        let text = result.all_text();
        assert_eq!(text.matches("connection refused").count(), 1, "{text}");
        assert!(text.contains("(59 more clusters failed in the same way: c001, c002, "), "{text}");
        assert_eq!(result.structured["errors"][59], json!({"cluster": "c059", "same_as": "c000"}));
    }
    let text = call(&server, "get_cluster_resources", json!({})).all_text();
    assert!(text.contains("not in these sums: 60 of 61 clusters (c000, "), "{text}");
    let checked = call(&server, "list_clusters", json!({"check": true}));
    assert_eq!(checked.all_text().matches("check that the node is up").count(), 1, "{checked:?}");
}

#[test]
fn inventory_above_the_limit_of_an_answer_is_read() {
    let node = inventory_node(50_000);
    // A loaded machine takes its time for 50,000 guests.
    let server = product(vec![ClusterConfig { timeout: Duration::from_secs(120), ..node.cluster_settings() }]);
    let found = call(&server, "find_guest", json!({"query": "guest-50099.example"}));
    assert!(found.text.contains("/nodes/pve5/qemu/50099"), "{found:?}");
    let list = call(&server, "get_cluster_resources", json!({"type": "vm"}));
    assert_bounded(&list);
    assert_eq!(list.structured["total"], 50_000);
    let path = "/qemu/guest-50099.example/status/start";
    let plan = call(&server, "proxmox_api_call", json!({"method": "POST", "path": path, "dry_run": true}));
    assert!(plan.all_text().contains("/nodes/pve5/qemu/50099/status/start"), "{plan:?}");
}

/// Returns a server whose clusters see no time pass.
fn start_at_one_moment(clusters: Vec<ClusterConfig>) -> McpServer {
    let now = Instant::now();
    let clients = clusters.into_iter().map(|settings| {
        let cluster = Cluster::new(settings, &Limits::default()).expect("a client");
        Arc::new(cluster.with_clock(Arc::new(move || now)))
    });
    let manager = ClusterManager::from_clients(clients.collect(), None).expect("a manager");
    let state = ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), Limits::default().max_result_bytes);
    McpServer::new(tools::catalog(&Arc::new(state.expect("the state of the tools")))).expect("a server")
}

#[test]
fn cluster_that_hung_a_moment_ago_is_not_waited_for_again() {
    let well = inventory_node(1);
    let hanging = Node::start(|_: &Request| ScriptedReply::hang());
    let hung = ClusterConfig { name: "hung".into(), timeout: Duration::from_millis(300), ..hanging.cluster_settings() };
    let server = start_at_one_moment(vec![ClusterConfig { name: "well".into(), ..well.cluster_settings() }, hung]);
    let first = call(&server, "list_nodes", json!({}));
    assert!(first.all_text().contains("did not answer within"), "{first:?}");
    let asked = hanging.requests().len();
    for tool in ["list_nodes", "get_cluster_resources"] {
        let again = call(&server, tool, json!({}));
        assert!(again.all_text().contains("cluster hung: not asked again so soon: "), "{again:?}");
        assert!(again.all_text().contains("next try in 1 s"), "{again:?}");
        assert!(again.structured["rows"].as_array().is_some_and(|rows: &Vec<Value>| !rows.is_empty()), "{again:?}");
    }
    assert_eq!(hanging.requests().len(), asked, "it was not asked");
    let named = call(&server, "list_nodes", json!({"cluster": "hung"}));
    assert!(named.failed && hanging.requests().len() > asked, "a call for this cluster asks it: {named:?}");
}
