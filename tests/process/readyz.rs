//! `GET /readyz`: the clusters that answer. Nodes are queried at most every few seconds.

use crate::support::canary::{CANARY, assert_unseen};
use crate::support::node::{Node, ScriptedReply, closed_endpoint};
use crate::support::process::{ServerProcess, configuration, path};
use crate::support::raw::{Client, Reply};
use crate::support::server::{TestServer, caller};
use crate::support::test_tools::TestTools;
use proxmox_mcp::http::HealthSources;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Returns the answer of the program about these clusters.
fn request_readiness(clusters: &[(&str, String)]) -> Reply {
    let clusters: Vec<_> = clusters.iter().map(|(name, address)| (*name, address.as_str())).collect();
    let config = configuration(CANARY, &clusters);
    let process = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    let reply = Client::to(process.address()).ask("GET /readyz", "");
    assert_unseen("the answer", reply.body.as_bytes());
    reply
}

#[test]
fn server_is_ready_with_one_answering_cluster_and_names_the_others() {
    let good = Node::start(|_| ScriptedReply::data(r#"{"version":"9.2.11"}"#));
    let bad = Node::start(|_| ScriptedReply::refusal(401, &format!("no such token '{CANARY}'"), ""));
    let clusters = [
        ("good", good.endpoint().to_string()),
        ("bad", bad.endpoint().to_string()),
        ("gone", closed_endpoint().to_string()),
    ];
    let reply = request_readiness(&clusters);
    let expected = json!({"status": "ready", "clusters": {"good": "ok", "bad": "unauthorized", "gone": "connect"}});
    assert_eq!((reply.status, reply.json()), (200, expected));
}

#[test]
fn server_is_not_ready_if_no_cluster_answers() {
    let reply = request_readiness(&[("gone", closed_endpoint().to_string())]);
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json(), json!({"status": "not ready", "clusters": {"gone": "connect"}}));
    assert!(reply.has_header("Retry-After: 5"), "{}", reply.head);
}

#[test]
fn readiness_does_not_wait_for_a_hanging_cluster() {
    let silent = Node::start(|_| ScriptedReply::hang());
    let good = Node::start(|_| ScriptedReply::data(r#"{"version":"9.2.11"}"#));
    let reply = request_readiness(&[("silent", silent.endpoint().to_string()), ("good", good.endpoint().to_string())]);
    let expected = json!({"status": "ready", "clusters": {"silent": "timeout", "good": "ok"}});
    assert_eq!((reply.status, reply.json()), (200, expected));
}

#[test]
fn parallel_probes_query_the_clusters_once() {
    let times = Arc::new(AtomicUsize::new(0));
    let count = times.clone();
    let ask = move || {
        count.fetch_add(1, Ordering::SeqCst);
        vec![("lab".to_owned(), None)]
    };
    let probes = HealthSources { readiness: Some(Box::new(ask)), metrics: None };
    let server = TestServer::builder().mcp(TestTools::new().server()).probes(probes).start();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.connect();
                (0..50).for_each(|_| assert_eq!(client.ask("GET /readyz", "").status, 200));
            });
        }
    });
    // On a busy machine, the probes may take longer than an answer is cached.
    assert!(times.load(Ordering::SeqCst) <= 3, "{times:?}");
}

#[test]
fn readiness_requires_a_token_and_lists_only_the_clusters_of_the_client() {
    let clients = vec![caller("of_the_lab", Some(&["lab"])), caller("of_all", None)];
    let ask = || vec![("lab".to_owned(), Some("timeout")), ("prod".to_owned(), None)];
    let probes = HealthSources { readiness: Some(Box::new(ask)), metrics: None };
    let server = TestServer::builder().clients(clients).mcp(TestTools::new().server()).probes(probes).start();
    let get = |name: &str| server.get("/readyz", name);
    assert_eq!(get("of_all").json()["clusters"], json!({"lab": "timeout", "prod": "ok"}));
    let reply = get("of_the_lab");
    assert_eq!((reply.status, reply.json()["clusters"].clone()), (503, json!({"lab": "timeout"})));
    assert_eq!(get("of_unknown").status, 401);
    assert_eq!(server.connect().ask("GET /readyz", "").status, 401);
    assert_eq!(server.connect().ask("GET /healthz", "").status, 200);
    assert_eq!(get("of_all").json()["status"], Value::from("ready"));
}
