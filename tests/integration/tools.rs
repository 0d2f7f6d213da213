//! The tools through the protocol core, without a client socket, over the simulated cluster.

use crate::support::rpc::split_notes;
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::config::{ClusterConfig, ClustersFile, Endpoint, Limits};
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::mcp::{McpServer, TransportContext, message};
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::demo::Demo;
use proxmox_mcp::tools;
use proxmox_mcp::tools::ToolState;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn server(clusters: Vec<ClusterConfig>) -> McpServer {
    let default = match clusters.as_slice() {
        [one] => Some(one.name.clone()),
        _ => None,
    };
    let manager =
        ClusterManager::new(&ClustersFile { clusters, default, ..ClustersFile::default() }, &Limits::default())
            .expect("clients");
    let state = ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), Limits::default().max_result_bytes)
        .expect("the state of the tools");
    McpServer::new(tools::catalog(&Arc::new(state))).expect("a server").with_structured(true)
}

fn request(server: &McpServer, method: &str, params: Value) -> Value {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let Ok(message::Message::Request(request)) = message::parse_message(text.as_bytes()) else { panic!("{text}") };
    let exchange =
        TransportContext { caller: &Caller::new_stdio(), calls: None, cancel: CancelToken::new(), notify: &|_| () };
    let answer = server.handle_request(&request, request.parse_params(), &exchange).expect("an answer");
    serde_json::from_slice(&answer.bytes).expect("JSON")
}

/// Returns the text of a successful call.
fn call(server: &McpServer, tool: &str, arguments: Value) -> String {
    let answer = request(server, "tools/call", json!({"name": tool, "arguments": arguments}));
    assert_eq!(answer["result"].get("isError"), None, "{answer}");
    split_notes(answer["result"]["content"][0]["text"].as_str().expect("text")).0.to_owned()
}

/// Returns the text of a failed call.
fn failure(server: &McpServer, tool: &str, arguments: Value) -> String {
    let answer = request(server, "tools/call", json!({"name": tool, "arguments": arguments}));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().expect("text").to_owned()
}

fn structured(server: &McpServer, tool: &str, arguments: Value) -> Value {
    request(server, "tools/call", json!({"name": tool, "arguments": arguments}))["result"]["structuredContent"].clone()
}

/// Returns a cluster at a closed port.
fn unreachable_cluster(like: &ClusterConfig) -> ClusterConfig {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port();
    ClusterConfig {
        name: "down".into(),
        endpoints: vec![Endpoint { https: false, host: "127.0.0.1".into(), port }],
        ..like.clone()
    }
}

#[test]
fn tool_list_is_small_and_describes_each_tool() {
    let demo = Demo::start().expect("the demo cluster");
    let answer = request(&server(vec![demo.cluster()]), "tools/list", json!({}));
    let bytes = answer["result"].to_string().len();
    assert!(bytes < 9_000, "tools/list is {bytes} bytes; every user pays for it in every conversation");
    let tools = answer["result"]["tools"].as_array().expect("a list");
    let names: Vec<_> = tools.iter().map(|t| t["name"].as_str().expect("a name")).collect();
    assert_eq!(
        names,
        [
            "list_clusters",
            "list_nodes",
            "get_cluster_resources",
            "find_guest",
            "search_api",
            "describe_api",
            "proxmox_api_get",
            "proxmox_api_call",
            "wait_for_task"
        ]
    );
    for tool in tools {
        let name = tool["name"].as_str().expect("a name");
        let description = tool["description"].as_str().expect("a description");
        assert!((40..=400).contains(&description.len()), "{name}: {} characters", description.len());
        assert_eq!(tool["annotations"]["title"], tool["title"], "{name}");
        assert_eq!(tool["annotations"]["readOnlyHint"], name != "proxmox_api_call", "{name}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
        for (param, schema) in tool["inputSchema"]["properties"].as_object().expect("properties") {
            assert!(schema["description"].is_string() && schema["type"].is_string(), "{name}.{param}");
        }
    }
    assert_eq!(tools[7]["inputSchema"]["properties"]["calls"]["items"]["required"], json!(["path"]));
}

#[test]
fn list_clusters_needs_no_network_and_check_queries_every_cluster() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster(), unreachable_cluster(&demo.cluster())]);
    let text = call(&server, "list_clusters", json!({}));
    assert!(text.starts_with("name\tnodes\ttoken\ttls"), "{text}");
    assert!(text.contains("demo@pve!full") && !text.contains("status"), "{text}");
    let checked = structured(&server, "list_clusters", json!({"check": true}));
    let column =
        |name: &str| checked["columns"].as_array().unwrap().iter().position(|c| c == name).expect("the column");
    let rows = checked["rows"].as_array().expect("rows");
    assert_eq!((&rows[0][column("status")], &rows[0][column("online")]), (&json!("ok"), &json!("3/3")));
    assert!(rows[0][column("version")].as_str().expect("a version").starts_with('9'));
    assert_eq!(rows[1][column("status")], "error");
    assert!(rows[1][column("error")].as_str().expect("why").contains("127.0.0.1"), "{checked}");
}

#[test]
fn lists_are_tables_in_text_and_in_json() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster()]);
    let text = call(&server, "list_nodes", json!({}));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("node\tstatus\tcpu\tmaxcpu\tmem\tmaxmem\tdisk\tmaxdisk\tuptime"));
    assert_eq!(lines.map(|l| l.split('\t').next().unwrap_or_default()).collect::<Vec<_>>(), ["pve1", "pve2", "pve3"]);
    let nodes = structured(&server, "list_nodes", json!({}));
    assert_eq!((nodes["total"].as_u64(), &nodes["columns"][0]), (Some(3), &json!("node")));
}

#[test]
fn resources_have_a_summary_and_can_be_filtered_by_type() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster()]);
    let text = call(&server, "get_cluster_resources", json!({}));
    assert!(text.starts_with("guests: ") && text.contains(" VMs (") && text.contains(" containers ("), "{text}");
    assert!(text.contains("capacity: 3 of 3 nodes online, CPU ") && text.contains("storage "), "{text}");
    for id in ["qemu/100", "lxc/", "node/pve1", "storage/pve1/local"] {
        assert!(text.contains(id), "{id} in {text}");
    }
    let guests = structured(&server, "get_cluster_resources", json!({"type": "VM"}));
    let ids: Vec<_> = guests["rows"].as_array().expect("rows").iter().map(|r| r[0].as_str().expect("an id")).collect();
    assert!(ids.len() > 5 && ids.iter().all(|id| id.starts_with("qemu/") || id.starts_with("lxc/")), "{ids:?}");
    assert!(guests["summary"].as_str().expect("a summary").starts_with("guests: "));
}

#[test]
fn lists_without_a_cluster_query_all_and_report_failed_ones() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster(), unreachable_cluster(&demo.cluster())]);
    let text = call(&server, "list_nodes", json!({}));
    assert!(text.starts_with("cluster\tnode\t") && text.contains("demo\tpve1\t"), "{text}");
    let json = structured(&server, "list_nodes", json!({}));
    assert!(json["notes"][0].as_str().expect("a note").starts_with("cluster down: "), "{json}");
    assert_eq!((json["total"].as_u64(), &json["errors"][0]["cluster"]), (Some(3), &json!("down")));
    assert!(failure(&server, "list_nodes", json!({"cluster": "down"})).contains("127.0.0.1"));
    assert!(call(&server, "list_nodes", json!({"cluster": "demo"})).starts_with("node\t"));
}

#[test]
fn raw_post_starts_a_vm_and_its_task_finishes() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster()]);
    let resources = structured(&server, "get_cluster_resources", json!({"type": "vm"}));
    let column =
        |name: &str| resources["columns"].as_array().unwrap().iter().position(|c| c == name).expect("the column");
    let stopped = resources["rows"].as_array().expect("rows").iter().find(|r| {
        r[column("status")] == "stopped"
            && r[0].as_str().is_some_and(|id| id.starts_with("qemu/"))
            && resources["columns"].as_array().unwrap().iter().position(|c| c == "template").is_none_or(|t| r[t] != 1)
    });
    let stopped = stopped.expect("a stopped VM");
    let guest = format!("/nodes/{}/{}", stopped[column("node")].as_str().unwrap(), stopped[0].as_str().unwrap());
    let upid = call(&server, "proxmox_api_call", json!({"path": format!("{guest}/status/start"), "method": "post"}));
    let upid = upid.trim_matches('"');
    assert!(upid.starts_with("UPID:pve"), "{upid}");
    let node = upid.split(':').nth(1).expect("a node");
    let status = json!({"path": format!("nodes/{node}/tasks/{upid}/status"), "format": "json"});
    let deadline = Instant::now() + Duration::from_secs(30);
    let end = loop {
        let status: Value = serde_json::from_str(&call(&server, "proxmox_api_call", status.clone())).expect("JSON");
        if status["status"] == "stopped" {
            break status;
        }
        assert!(Instant::now() < deadline, "the task does not end: {status}");
        std::thread::yield_now();
    };
    assert_eq!(end["exitstatus"], "OK");
    let current: Value = serde_json::from_str(&call(
        &server,
        "proxmox_api_call",
        json!({"path": format!("/api2/json{guest}/status/current"), "format": "json"}),
    ))
    .expect("JSON");
    assert_eq!(current["status"], "running");
}

#[test]
fn unknown_tools_and_malformed_arguments_are_protocol_errors() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster()]);
    for params in
        [json!({}), json!({"name": "list_nodes", "arguments": "x"}), json!({"name": "nope"}), json!({"name": 7})]
    {
        let answer = request(&server, "tools/call", params.clone());
        assert_eq!(answer["error"]["code"], -32602, "{params}: {answer}");
    }
}

#[test]
fn initialize_answers_with_the_requested_version_or_the_newest_of_its_era() {
    let demo = Demo::start().expect("the demo cluster");
    let server = server(vec![demo.cluster()]);
    let version = |asked: &str| {
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer = request(&server, "initialize", params);
        assert!(answer["result"]["capabilities"]["tools"].is_object() && answer["result"]["instructions"].is_string());
        assert_eq!(answer["result"]["serverInfo"]["name"], "proxmox-mcp");
        answer["result"]["protocolVersion"].as_str().expect("a version").to_owned()
    };
    for spoken in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        assert_eq!(version(spoken), spoken);
    }
    for unknown in ["1.0", "", "2099-01-01", "2026-07-28", "2024-10-07"] {
        assert_eq!(version(unknown), "2025-11-25", "{unknown}");
    }
    assert_eq!(request(&server, "initialize", json!({}))["error"]["code"], -32602);
    assert_eq!(request(&server, "ping", json!({}))["result"], json!({}));
    assert_eq!(request(&server, "resources/subscribe", json!({}))["error"]["code"], -32601);
}
