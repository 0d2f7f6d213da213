//! Failures of a node, as a model reads them.

use crate::document::{Document, send_cancellable, visible};
use crate::support::node::{Identity, Node, ScriptedReply, closed_endpoint};
use crate::support::proxmox::proxmox_with;
use crate::support::test_tools::product;
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::{ClusterConfig, ClustersFile, Fingerprint, Limits, TlsVerification};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::tools::{self, ToolState};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const TARGET: &str = "/nodes/pve1/qemu/100/status/current";

fn get() -> Value {
    json!({"path": TARGET})
}

fn post() -> Value {
    json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"})
}

/// Starts a node that answers every request about the status of guest 100 like this.
fn start_node(reply: ScriptedReply) -> Node {
    // The node does not describe its API: the program knows these operations, and reading a description takes time.
    let description = ScriptedReply::refusal(500, "no such file", "");
    proxmox_with(description, move |request| request.path().contains("/qemu/100/status/").then(|| reply.clone()))
}

fn refusal(status: u16, phrase: &str, body: &str) -> ScriptedReply {
    ScriptedReply::refusal(status, phrase, body)
}

#[test]
fn node_statuses() {
    let mut document = Document::new();
    let message = |text: &str| json!({"message": text, "data": null}).to_string();
    for (status, phrase, body) in [
        (301, "Moved", String::new()),
        (400, "Bad Request", String::new()),
        (
            400,
            "Parameter verification failed.",
            json!({"data": null, "errors": {"cores": "type check ('integer') failed\n", "bogus": "not defined"}})
                .to_string(),
        ),
        (401, "No ticket", String::new()),
        (401, "Authentication failed!", String::new()),
        (401, "authentication failed - no authentication credentials provided.", String::new()),
        (403, "Permission check failed (/vms/100, VM.Audit|VM.Config.CPU)", String::new()),
        (403, "Permission check failed (, Sys.Audit)", String::new()),
        (403, "Permission check failed", String::new()),
        (403, "Permission check failed - need proper ticket", String::new()),
        (404, "Not Found", String::new()),
        (500, "it broke", String::new()),
        (500, "VM is locked (backup)", message("VM is locked (backup)\n")),
        (500, "", message("a long story\nof two lines\n")),
        (500, "hostname lookup 'pve1' failed - failed to get address info for: pve1", String::new()),
        (500, "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist", String::new()),
        (500, "checksum mismatch (file change by other user?)", String::new()),
        (501, "Method 'GET /x' not implemented", String::new()),
        (503, "Service Unavailable", String::new()),
        (595, "No route to host", String::new()),
        (596, "Broken pipe", String::new()),
        (597, "Connection reset", String::new()),
        (599, "Too many redirections", String::new()),
        (999, "", String::new()),
    ] {
        let reply = refusal(status, phrase, &body);
        // A node that rejects the token answers nothing.
        let node = if status == 401 { Node::start(move |_| reply.clone()) } else { start_node(reply) };
        let server = product(vec![node.cluster_settings()]);
        document.section(&format!("{status} {phrase}"));
        document.call(&server, "proxmox_api_get", get());
        document.call(&server, "proxmox_api_call", post());
    }
    document.assert("node_statuses");
}

#[test]
fn node_connections() {
    let mut document = Document::new();
    document.redact(r"\d+ bytes were read|after \d+ bytes", "N bytes");
    let whole = r#"{"data":{"status":"running"}}"#;
    let flood = || {
        ScriptedReply::answer(200, "OK", &[("Content-Length", "")], "{\"data\":\"").then_flood(17 << 20).then_close()
    };
    let short = Duration::from_secs(1);
    let long = Duration::from_secs(30);
    for (about, timeout, reply) in [
        ("no answer in time", short, ScriptedReply::hang()),
        ("the connection ends without an answer", long, ScriptedReply::close()),
        ("the answer is not HTTP", long, ScriptedReply::raw("what?\r\n\r\n").then_close()),
        ("the head is cut", long, ScriptedReply::raw("HTTP/1.1 200 O").then_close()),
        (
            "the body is cut",
            long,
            ScriptedReply::raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\":").then_close(),
        ),
        (
            "the body hangs",
            short,
            ScriptedReply::raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\":").then_hang(),
        ),
        ("the body is HTML", long, ScriptedReply::body("<html>")),
        ("the body is no object", long, ScriptedReply::body("7")),
        ("the body is cut short", long, ScriptedReply::body(r#"{"data":{"status":"runn"#)),
        ("the body is invalid in the middle", long, ScriptedReply::body(r#"{"data":{"status":}}"#)),
        ("the body has no data", long, ScriptedReply::body("{}")),
        ("the body is not UTF-8", long, ScriptedReply::body(b"{\"data\":\"\xff\"}")),
        ("the gzip is broken", long, ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], whole)),
        ("the body is too large", long, flood()),
    ] {
        let node = start_node(reply);
        let settings = ClusterConfig { timeout, ..node.cluster_settings() };
        let server = product(vec![settings]);
        document.section(about);
        document.call(&server, "proxmox_api_get", get());
        document.call(&server, "proxmox_api_call", post());
    }
    document.section("the headers are too large");
    let headers = start_node(ScriptedReply::answer(200, "OK", &[("X", &"x".repeat(20 << 10))], whole));
    document.call(&product(vec![headers.cluster_settings()]), "proxmox_api_get", get());
    document.section("nothing listens");
    let any = start_node(ScriptedReply::hang());
    let unreachable = |endpoints| ClusterConfig { endpoints, ..any.cluster_settings() };
    let server = product(vec![unreachable(vec![closed_endpoint()])]);
    document.call(&server, "proxmox_api_get", get());
    document.call(&server, "proxmox_api_call", post());
    document.section("nothing listens on two nodes");
    let server = product(vec![unreachable(vec![closed_endpoint(), closed_endpoint()])]);
    document.call(&server, "proxmox_api_get", get());
    document.section("a name that does not resolve");
    let mut endpoint = closed_endpoint();
    endpoint.host = "pve1.invalid".into();
    document.redact(r"pve1\.invalid:\d+", "pve1.invalid:PORT");
    document
        .redact(r"\((?:Temporary failure in name resolution|Name or service not known|No address[^)]*)\)", "(REASON)");
    let server = product(vec![unreachable(vec![endpoint])]);
    document.call(&server, "proxmox_api_get", get());
    document.assert("node_connections");
}

#[test]
fn node_certificates() {
    let mut document = Document::new();
    let other = || TlsVerification::Fingerprints(vec![Fingerprint([1; 32])]);
    for (about, identity, tls) in [
        ("expired", Identity::Expired, None),
        ("not yet valid", Identity::NotYetValid, None),
        ("another name", Identity::WrongName, None),
        ("self-signed", Identity::SelfSigned, None),
        ("of a backup server", Identity::BackupServer, None),
        ("the public roots", Identity::Trusted, Some(TlsVerification::PublicRoots)),
        ("another fingerprint", Identity::Trusted, Some(other())),
        (
            "other fingerprints",
            Identity::Trusted,
            Some(TlsVerification::Fingerprints(vec![Fingerprint([1; 32]), Fingerprint([2; 32])])),
        ),
        ("plain HTTP", Identity::PlainOnTlsPort, None),
        ("the handshake is cut", Identity::ClosesInHandshake, None),
        ("the handshake hangs", Identity::HangsInHandshake, None),
        ("closed at once", Identity::ClosesAtOnce, None),
    ] {
        let node = Node::start_as(identity, |_| ScriptedReply::data("1"));
        let seconds = if identity == Identity::HangsInHandshake { 1 } else { 30 };
        let mut settings = ClusterConfig { timeout: Duration::from_secs(seconds), ..node.cluster_settings() };
        if let Some(tls) = tls {
            settings.tls = tls;
        }
        document.section(about);
        let two = ClusterConfig { endpoints: vec![closed_endpoint(), node.endpoint()], ..settings.clone() };
        document.call(&product(vec![settings]), "proxmox_api_get", json!({"path": "/version"}));
        if matches!(identity, Identity::SelfSigned | Identity::BackupServer) {
            document.call(&product(vec![two]), "proxmox_api_get", json!({"path": "/version"}));
        }
    }
    document.assert("node_certificates");
}

#[test]
fn node_calls_that_are_not_sent() {
    let mut document = Document::new();
    let node = start_node(ScriptedReply::hang());
    document.section("cancelled");
    let server = product(vec![node.cluster_settings()]);
    let cancel = CancelToken::new();
    cancel.cancel(CancelReason::Shutdown);
    let params = json!({"name": "proxmox_api_get", "arguments": get()});
    let answer = send_cancellable(&server, &Caller::new_stdio(), "tools/call", params, cancel);
    document.case("tools/call", visible(&serde_json::from_str(&answer).expect("JSON")));

    document.section("too large");
    let undescribed = proxmox_with(ScriptedReply::refusal(500, "no such file", ""), |_| None);
    let undescribed = product(vec![undescribed.cluster_settings()]);
    for (method, bytes) in [("POST", 600 << 10), ("GET", 100 << 10)] {
        let data = json!({"a": "x".repeat(bytes)});
        let large = json!({"path": "/cluster/brand/new", "method": method, "data": data});
        document.call(&undescribed, "proxmox_api_call", large);
    }

    document.section("busy");
    let limits = Limits { max_calls_per_cluster: 1, ..Limits::default() };
    let settings = ClusterConfig { timeout: Duration::from_secs(1), ..node.cluster_settings() };
    let clusters = ClustersFile { clusters: vec![settings], ..ClustersFile::default() };
    let manager = ClusterManager::new(&clusters, &limits).expect("clients");
    let state = ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), 0).expect("a state");
    let server = McpServer::new(tools::catalog(&Arc::new(state))).expect("a server");
    let answers: Vec<String> = std::thread::scope(|scope| {
        let call = || {
            let params = json!({"name": "proxmox_api_get", "arguments": get()});
            send_cancellable(&server, &Caller::new_stdio(), "tools/call", params, CancelToken::new())
        };
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    let busy = answers.iter().find(|answer| answer.contains("busy")).expect("a busy cluster");
    document.case("proxmox_api_get", visible(&serde_json::from_str(busy).expect("JSON")));
    document.assert("node_not_sent");
}
