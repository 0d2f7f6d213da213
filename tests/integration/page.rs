//! The page for people: `GET /`, and the view of MCP Apps.

use crate::support::rpc::{call, modern_with, request};
use crate::support::server::{TestServer, caller};
use crate::support::test_tools::{product, product_for, tool_state};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proxmox_mcp::config::{Client, ClusterConfig};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::demo::Demo;
use proxmox_mcp::tools;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

const VIEW: &str = "ui://proxmox/overview";

/// The capabilities of a client that shows views.
fn views() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}})
}

fn start() -> (Demo, TestServer) {
    let demo = Demo::start().expect("the demo cluster");
    let server = TestServer::builder().mcp(product(vec![demo.cluster()])).hosts(&["mcp.example"]).start();
    (demo, server)
}

/// Returns the names of the tools that name the view, in both forms.
fn tools_with_view(list: &Value) -> Vec<&str> {
    let tools = list["result"]["tools"].as_array().expect("tools");
    let named = tools.iter().filter(|tool| tool["_meta"]["ui"]["resourceUri"] == VIEW);
    named
        .filter(|tool| tool["_meta"]["ui/resourceUri"] == VIEW)
        .map(|tool| tool["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn page_needs_no_token_and_has_a_policy_for_its_own_script() {
    let demo = Demo::start().expect("the demo cluster");
    let clients = vec![caller("ada", None)];
    let server = TestServer::builder().mcp(product(vec![demo.cluster()])).clients(clients).start();
    let reply = server.connect().ask("GET /", "");
    assert_eq!(reply.status, 200, "{}", reply.head);
    let between = |start: &str, end: &str| {
        let (_, rest) = reply.body.split_once(start).expect("a start");
        rest.split_once(end).expect("an end").0.to_owned()
    };
    let source = |text: String| format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())));
    let script = source(between("<script>", "</script>"));
    let style = source(between("<style>", "</style>"));
    let policy = format!(
        "Content-Security-Policy: default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    for line in [
        policy.as_str(),
        "Content-Type: text/html; charset=utf-8",
        "X-Frame-Options: DENY",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Opener-Policy: same-origin",
        "Cross-Origin-Resource-Policy: same-origin",
    ] {
        assert!(reply.has_header(line), "{line}\n{}", reply.head);
    }
    assert!(!reply.head.to_ascii_lowercase().contains("set-cookie"), "{}", reply.head);
    assert_eq!(server.connect().ask("GET /mcp", "").status, 401);
}

#[test]
fn page_is_for_an_allowed_host_and_origin_only() {
    let (_demo, server) = start();
    let status = |headers: &str| server.status_of(&format!("GET / HTTP/1.1\r\n{headers}\r\n"));
    for (headers, expected) in [
        ("Host: localhost\r\n", 200),
        ("Host: mcp.example\r\n", 200),
        ("Host: evil.example\r\n", 421),
        ("Host: localhost\r\nOrigin: https://evil.example\r\n", 403),
        ("Host: localhost\r\nAccept: text/event-stream\r\n", 404),
        ("Host: localhost\r\nAccept: application/json, text/event-stream\r\n", 404),
        ("Host: localhost\r\nAccept: text/html,*/*\r\n", 200),
    ] {
        assert_eq!(status(headers), expected, "{headers}");
    }
    let posted = server.connect().post("/", &request(1, "ping", json!({})));
    assert_eq!(posted.status, 404);
    assert!(posted.body.contains("POST /mcp"), "{}", posted.body);
}

#[test]
fn server_without_the_page_answers_404_and_names_no_view() {
    let demo = Demo::start().expect("the demo cluster");
    let mut catalog = tools::catalog(&tool_state(vec![demo.cluster()], 0));
    catalog.page = None;
    let server = TestServer::builder().mcp(McpServer::new(catalog).expect("a server")).start();
    assert_eq!(server.connect().ask("GET /", "").status, 404);
    let list = server.connect().mcp_modern(&modern_with(1, "tools/list", json!({}), views())).json();
    assert_eq!(tools_with_view(&list), [""; 0]);
    let read = server.connect().mcp(&request(1, "resources/read", json!({"uri": VIEW}))).json();
    assert_eq!(read["error"]["code"], -32002, "{read}");
}

#[test]
fn view_is_the_same_document_as_the_page() {
    let (_demo, server) = start();
    let page = server.connect().ask("GET /", "").body;
    let read = server.connect().mcp(&request(1, "resources/read", json!({"uri": VIEW}))).json();
    let contents = &read["result"]["contents"][0];
    assert_eq!(
        (contents["uri"].as_str(), contents["mimeType"].as_str()),
        (Some(VIEW), Some("text/html;profile=mcp-app"))
    );
    assert_eq!(contents["text"].as_str(), Some(page.as_str()));
    assert!(page.len() <= 80 << 10, "{} bytes", page.len());
}

#[test]
fn tools_name_the_view_for_clients_that_show_views() {
    let (_demo, server) = start();
    let modern = |capabilities: Value| {
        server.connect().mcp_modern(&modern_with(1, "tools/list", json!({}), capabilities)).json()
    };
    assert_eq!(tools_with_view(&modern(views())), ["get_cluster_resources"]);
    assert_eq!(tools_with_view(&modern(json!({}))), [""; 0]);
    let length = modern(views()).to_string().len();
    // The whole message, with the view.
    assert!(length <= 9 << 10, "{length}");
}

#[test]
fn session_id_of_a_legacy_client_says_that_it_shows_views() {
    let (_demo, server) = start();
    let initialize = |capabilities: Value| {
        let info = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info});
        let reply = server.connect().mcp(&request(1, "initialize", params));
        let line = reply.head.lines().find_map(|line| line.strip_prefix("Mcp-Session-Id: ").map(ToOwned::to_owned));
        (reply.status, line)
    };
    assert_eq!(initialize(json!({})), (200, None));
    let (status, id) = initialize(views());
    let id = id.expect("a session id");
    assert_eq!((status, id.len()), (200, "views-".len() + 32));
    assert_ne!(initialize(views()).1, Some(id.clone()));
    let ask = |body: &str, id: &str| {
        let headers = format!("Accept: application/json, text/event-stream\r\nMcp-Session-Id: {id}\r\n");
        server.connect().post_with("/mcp", &headers, body).json()
    };
    let list = request(1, "tools/list", json!({}));
    assert_eq!(tools_with_view(&ask(&list, &id)), ["get_cluster_resources"]);
    assert_eq!(tools_with_view(&ask(&list, "other")), [""; 0]);
    for (arguments, expected) in [
        (json!({"path": "/nodes/pve1/qemu/100/rrddata", "params": {"timeframe": "hour"}}), json!(VIEW)),
        (json!({"path": "/qemu/web01/rrddata", "params": {"timeframe": "hour"}}), json!(VIEW)),
        (json!({"path": "/nodes/pve1/qemu/100/config"}), Value::Null),
        (json!({"path": "/nodes/pve1/rrddata", "params": {"timeframe": "hour"}}), Value::Null),
    ] {
        let answer = ask(&call(1, "proxmox_api_get", arguments.clone()), &id);
        assert_eq!(answer["result"]["_meta"]["ui"]["resourceUri"], expected, "{arguments}");
        assert!(answer["result"]["structuredContent"].is_object(), "{answer}");
        let answer = ask(&call(1, "proxmox_api_get", arguments.clone()), "other");
        assert_eq!(answer["result"]["_meta"], Value::Null, "{arguments}");
    }
}

#[test]
fn last_calls_are_shown_on_the_clusters_of_the_approver() {
    let demo = Demo::start().expect("the demo cluster");
    let approver = |name: &str, clusters: Option<&[&str]>| Client { approve: true, ..caller(name, clusters) };
    let clients = vec![
        caller("agent", None),
        approver("ada", None),
        approver("bob", Some(&["other"])),
        approver("eve", Some(&["demo"])),
    ];
    let clusters = vec![demo.cluster(), ClusterConfig { name: "other".into(), ..demo.cluster() }];
    let server = TestServer::builder().mcp(product_for(clusters, &clients)).clients(clients).start();
    let ask = |tool: &str, arguments: Value| {
        let headers = "Authorization: Bearer agent\r\nAccept: application/json\r\n";
        assert_eq!(server.connect().post_with("/mcp", headers, &call(1, tool, arguments)).status, 200);
    };
    ask("list_clusters", json!({}));
    ask("proxmox_api_get", json!({"cluster": "demo", "path": "/version", "fields": "secret-word"}));
    ask("get_cluster_resources", json!({"type": "overview"}));
    let shown = |token: &str| -> Vec<Value> {
        let reply = server.get("/calls", token);
        assert!(!reply.body.contains("secret-word"), "{}", reply.body);
        let list = reply.json();
        let clients = list["clients"].as_array().expect("clients");
        assert!(clients.iter().all(|client| client["client"] == "agent"), "{list}");
        let calls = clients.iter().flat_map(|client| client["calls"].as_array().expect("calls"));
        calls.map(|call| call["tool"].clone()).collect()
    };
    assert_eq!(shown("ada"), ["get_cluster_resources", "proxmox_api_get", "list_clusters"]);
    assert_eq!(shown("eve"), ["proxmox_api_get"]);
    assert_eq!(shown("bob"), [""; 0]);
}

#[test]
fn server_without_the_page_keeps_no_calls() {
    let demo = Demo::start().expect("the demo cluster");
    let clients = vec![Client { approve: true, ..caller("ada", None) }];
    let mut catalog = tools::catalog(&tool_state(vec![demo.cluster()], 0));
    catalog.page = None;
    let server = TestServer::builder().mcp(McpServer::new(catalog).expect("a server")).clients(clients).start();
    assert_eq!(server.get("/calls", "ada").status, 404);
}
