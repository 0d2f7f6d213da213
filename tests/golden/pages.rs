//! The pages for operators: /metrics, /readyz and /healthz.

use crate::document::Document;
use crate::support::canary::CANARY;
use crate::support::node::{Node, ScriptedReply, closed_endpoint};
use crate::support::process::{ServerProcess, configuration, path};
use crate::support::raw::{Client, LONG, Reply};
use crate::support::rpc::call;
use crate::support::server::{TestServer, caller};
use crate::support::test_tools::TestTools;
use proxmox_mcp::http::HealthSources;
use serde_json::json;

fn answer(reply: &Reply) -> String {
    let usual = ["Server:", "Date:", "Content-Length:"];
    let head: Vec<_> = reply.head.lines().filter(|line| !usual.iter().any(|name| line.starts_with(name))).collect();
    format!("{}\n\n{}", head.join("\n"), reply.body)
}

fn start_node() -> Node {
    Node::start(|request| match request.path() {
        "/api2/json/version" => ScriptedReply::data(r#"{"version":"9.2.11"}"#),
        "/api2/json/cluster/status" => ScriptedReply::refusal(403, "Permission check failed", ""),
        _ => ScriptedReply::data("\"fine\""),
    })
}

#[test]
fn metrics_page() {
    let node = start_node();
    let clusters = [("prod", node.endpoint().to_string()), ("down", closed_endpoint().to_string())];
    let clusters = clusters.each_ref().map(|(name, address)| (*name, address.as_str()));
    let config = configuration(CANARY, &clusters);
    let args = ["--config", path(&config), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let process = ServerProcess::start(&args);
    let address = process.address();
    let metrics = loop {
        let line = process.stdout.recv_timeout(LONG).expect("the metrics' address");
        if let Some(rest) = line.strip_prefix("Metrics: http://") {
            break rest.trim_end_matches("/metrics").to_owned();
        }
    };
    let mut client = Client::to(&address);
    for (tool, arguments) in [
        ("proxmox_api_get", json!({"path": "/nodes", "cluster": "prod"})),
        ("proxmox_api_get", json!({"path": "/cluster/status", "cluster": "prod"})),
        ("proxmox_api_get", json!({"path": "/nodes", "cluster": "down"})),
        ("list_clusters", json!({})),
    ] {
        client.mcp(&call(1, tool, arguments));
    }
    let mut document = Document::new();
    document.redact(r"(?m)^((?:proxmox_mcp|process)_\w+(?:\{[^}\n]*\})?) \S+$", "$1 N");
    let mut operator = Client::to(&metrics);
    for path in ["/metrics", "/healthz", "/mcp"] {
        document.case(format_args!("GET {path}"), answer(&operator.ask(&format!("GET {path}"), "")));
    }
    document.assert("metrics");
}

#[test]
fn readiness_pages() {
    let mut document = Document::new();
    let unauthorized = Node::start(|_| ScriptedReply::refusal(401, "no such token", ""));
    let (good, gone) = (start_node(), closed_endpoint());
    for names in [&["good", "unauthorized", "gone"][..], &["gone"]] {
        let clusters: Vec<_> = names
            .iter()
            .map(|name| match *name {
                "good" => (*name, good.endpoint().to_string()),
                "gone" => (*name, gone.to_string()),
                _ => (*name, unauthorized.endpoint().to_string()),
            })
            .collect();
        let clusters: Vec<_> = clusters.iter().map(|(name, address)| (*name, address.as_str())).collect();
        let config = configuration(CANARY, &clusters);
        let process = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
        let mut client = Client::to(process.address());
        document.case(format_args!("GET /readyz, {}", names.join(", ")), answer(&client.ask("GET /readyz", "")));
        document.case("GET /healthz", answer(&client.ask("GET /healthz", "")));
        document.case("GET /metrics, without --metrics", answer(&client.ask("GET /metrics", "")));
    }
    let clients = vec![caller("of_the_lab", Some(&["lab"]))];
    let health = HealthSources {
        readiness: Some(Box::new(|| vec![("lab".to_owned(), Some("timeout")), ("prod".to_owned(), None)])),
        metrics: Some(Box::new(|_| ())),
    };
    let server = TestServer::builder().clients(clients).mcp(TestTools::new().server()).probes(health).start();
    document.section("A client of one cluster");
    document.case("GET /readyz", answer(&server.get("/readyz", "of_the_lab")));
    document.case("GET /metrics", answer(&server.get("/metrics", "of_the_lab")));
    document.case("GET /readyz, without a token", answer(&server.connect().ask("GET /readyz", "")));
    document.assert("readiness");
}
