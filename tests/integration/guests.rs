//! `find_guest` as a client sees it, over the simulated cluster or a misbehaving node.

use crate::support::node::{Node, ScriptedReply, closed_endpoint};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::demo::Demo;
use serde_json::{Value, json};

fn demo() -> Demo {
    Demo::start().expect("the demo cluster")
}

fn find_guests(server: &McpServer, query: &str) -> ToolResult {
    let result = call(server, "find_guest", json!({"query": query}));
    assert!(!result.failed, "{result:?}");
    result
}

/// Returns the values of one column, top to bottom.
fn column(result: &ToolResult, name: &str) -> Vec<Value> {
    let columns = result.structured["columns"].as_array().expect("columns");
    let at = columns.iter().position(|c| c == name).unwrap_or_else(|| panic!("no {name}: {result:?}"));
    result.structured["rows"].as_array().expect("rows").iter().map(|row| row[at].clone()).collect()
}

fn vmids(server: &McpServer, query: &str) -> Vec<u64> {
    column(&find_guests(server, query), "vmid").iter().map(|v| v.as_u64().expect("a number")).collect()
}

/// Starts a node whose cluster `name` has these rows as resources.
fn start_node(rows: Value) -> Node {
    let rows = rows.to_string();
    Node::start(move |request| {
        assert_eq!(request.target, "/api2/json/cluster/resources?type=vm");
        ScriptedReply::data(&rows)
    })
}

fn start_server(node: &Node) -> McpServer {
    product(vec![node.cluster_settings()])
}

#[test]
fn number_finds_its_guest_first_then_numbers_containing_it() {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    assert_eq!(vmids(&server, "100"), [100]);
    assert_eq!(vmids(&server, "20"), [200, 201, 202, 203, 204]);
    assert_eq!(vmids(&server, "qemu/9000"), [9000]);
}

#[test]
fn guests_are_found_by_name_tag_pool_node_and_kind_best_first() {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    assert_eq!(vmids(&server, " DNS02 "), [201]);
    assert_eq!(vmids(&server, "web"), [100, 101, 106, 202], "all by the tag");
    assert_eq!(vmids(&server, "prox"), [202]);
    assert_eq!(vmids(&server, "stage"), [106, 204], "a tag and a pool");
    assert_eq!(vmids(&server, "vm pve2 dev"), [104]);
    assert_eq!(vmids(&server, "ct stopped"), [204]);
}

#[test]
fn found_guest_has_the_fields_that_the_next_call_needs() {
    let demo = demo();
    let result = find_guests(&product(vec![demo.cluster()]), "db01");
    assert!(result.text.starts_with("vmid\ttype\tname\tnode\tstatus\ttags\tpool\t"), "{result:?}");
    assert!(result.text.contains("102\tqemu\tdb01\tpve1\trunning\tdb;prod\tprod\t8\t32GiB\t"), "{result:?}");
    assert_eq!(column(&result, "path"), ["/nodes/pve1/qemu/102"]);
    assert_eq!((&result.structured["total"], &result.structured["left_out"]), (&json!(1), &Value::Null));
}

#[test]
fn search_covers_every_cluster_and_reports_failed_ones() {
    let demo = demo();
    let down = ClusterConfig { name: "down".into(), endpoints: vec![closed_endpoint()], ..demo.cluster() };
    let other = start_node(json!([{"id": "qemu/100", "node": "other1", "name": "web01", "status": "running"}]));
    let server = product(vec![demo.cluster(), down, other.cluster_settings()]);
    let result = find_guests(&server, "web01");
    assert_eq!(column(&result, "cluster"), ["demo", "test"]);
    assert_eq!(column(&result, "path"), ["/nodes/pve1/qemu/100", "/nodes/other1/qemu/100"]);
    assert!(result.more[0].starts_with("cluster down: "), "{result:?}");
    assert_eq!(result.structured["errors"][0]["cluster"], "down");
    let named = call(&server, "find_guest", json!({"query": "web01", "cluster": "test"}));
    assert_eq!(column(&named, "path"), ["/nodes/other1/qemu/100"]);
    assert!(call(&server, "find_guest", json!({"query": "web01", "cluster": "down"})).failed);
}

#[test]
fn unknown_word_is_answered_with_the_nearest_words() {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    for (query, near) in [("gitlba", "gitlab"), ("dbb", "db"), ("prdo", "prod"), ("windwos pve3", "windows")] {
        let result = find_guests(&server, query);
        assert!(result.text.starts_with(&format!("no guest fits \"{query}\" among 13 seen")), "{result:?}");
        assert!(result.text.contains("Nearest: ") && result.text.contains(near), "{result:?}");
        assert_eq!((&result.structured["total"], &result.structured["rows"]), (&json!(0), &json!([])));
    }
    assert!(find_guests(&server, "\u{1b}qqqqqqqq").text.contains("get_cluster_resources"));
}

#[test]
fn missing_privilege_is_named_if_no_guest_is_visible() {
    let empty = start_node(json!([]));
    assert!(find_guests(&start_server(&empty), "web01").text.contains("VM.Audit"));
    let thin = start_node(json!([{"id": "qemu/100", "type": "qemu", "vmid": 100}]));
    let result = find_guests(&start_server(&thin), "100");
    assert!(result.more[0].contains("VM.Audit") && result.structured["total"] == 1, "{result:?}");
}

#[test]
fn guest_is_found_by_any_of_its_texts() {
    let node = start_node(json!([
        {"id": "lxc/200", "node": "pve1", "name": "a", "status": "running", "ip": "192.0.2.77/24"},
        {"id": "lxc/201", "node": "pve1", "name": "b", "status": "running", "hastate": "fence"},
    ]));
    assert_eq!(vmids(&start_server(&node), "192.0.2.77"), [200]);
    assert_eq!(vmids(&start_server(&node), "Fence"), [201]);
}

#[test]
fn search_returns_the_best_fifty_and_the_number_of_the_rest() {
    let row =
        |vmid: u32| json!({"id": format!("qemu/{vmid}"), "node": "n", "name": format!("web-{vmid}"), "status": "x"});
    let node = start_node((1_000..3_000).chain([100]).map(row).collect());
    let result = find_guests(&start_server(&node), "web");
    assert_eq!((&result.structured["total"], &result.structured["left_out"]), (&json!(2001), &json!(1951)));
    assert!(result.more[0].starts_with("1951 more fit") && column(&result, "vmid")[0] == 100, "{result:?}");
}

#[test]
fn invalid_queries_and_answers_are_rejected() {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    for query in ["", "  ", &"x".repeat(201)] {
        let result = call(&server, "find_guest", json!({"query": query}));
        assert!(result.failed && result.text.contains("query"), "{result:?}");
    }
    for answer in [json!({}), json!("x"), json!(null)] {
        let node = start_node(answer);
        assert!(call(&start_server(&node), "find_guest", json!({"query": "x"})).failed);
    }
    let odd = start_node(
        json!([7, null, [], {"id": "qemu/"}, {"vmid": 100}, {"id": "qemu/100", "name": "a\tb\nc", "node": ".."}]),
    );
    let result = find_guests(&start_server(&odd), "100");
    assert_eq!(result.text.lines().nth(1), Some("100\tqemu\ta\\tb\\nc\t.."), "{result:?}");
}
