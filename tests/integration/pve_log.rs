//! The log line of a failed call, which names the call without its parameters.

use crate::support::log::{self as captured, capture};
use crate::support::node::{Identity, Node, SECRET, ScriptedReply, closed_endpoint};
use log::Level;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::{self, Limits, TlsVerification};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use std::thread;
use std::time::Duration;

const PATH: &str = "/nodes/pve1/qemu/100/config";

/// Returns a name for a cluster in the log that no other module uses.
fn log_name(name: &str) -> String {
    format!("log {name}")
}

/// Returns the log lines about the cluster of this name.
fn lines(name: &str) -> Vec<(Level, String)> {
    captured::lines(&log_name(name))
}

/// Returns a client of `settings` with its own name.
fn named_client(name: &str, settings: config::ClusterConfig) -> Cluster {
    capture();
    Cluster::new(config::ClusterConfig { name: log_name(name), ..settings }, &Limits::default()).unwrap()
}

fn call(cluster: &Cluster, method: Method, cancel: &CancelToken) -> String {
    let mut params = ApiParams::new();
    params.push("cipassword", "data-canary");
    let path = ApiPath::parse(PATH).unwrap().0;
    cluster.call(method, &path, &params, cancel).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn failed_call_is_one_line_without_its_parameters() {
    for (name, reply, expected) in [
        ("failed", ScriptedReply::refusal(500, "got 'data-canary'", ""), "failed 500 after "),
        (
            "rejected",
            ScriptedReply::refusal(400, "", r#"{"errors":{"cipassword":"data-canary"}}"#),
            "rejected 400 after ",
        ),
        ("unauthorized", ScriptedReply::refusal(401, SECRET, ""), "unauthorized 401 after "),
        ("unreadable", ScriptedReply::body("{"), "unreadable (EOF while parsing"),
    ] {
        let node = Node::start(move |_| reply.clone());
        call(&named_client(name, node.cluster_settings()), Method::Get, &CancelToken::new());
        let lines = lines(name);
        let [(Level::Debug, line)] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains(&format!("GET {PATH}: {expected}")) && line.ends_with(" ms"), "{line}");
    }
}

#[test]
fn unanswered_call_logs_the_reason() {
    let node = Node::start(|_| ScriptedReply::hang());
    let settings = config::ClusterConfig { endpoints: vec![closed_endpoint()], ..node.cluster_settings() };
    call(&named_client("refused", settings), Method::Post, &CancelToken::new());
    let lines = lines("refused");
    let [(Level::Warn, node), (Level::Debug, line)] = &lines[..] else { panic!("{lines:?}") };
    assert!(node.contains(": connection refused; this node"), "{node}");
    assert!(line.contains("connect (connection refused)"), "{line}");
}

#[test]
fn a_write_with_an_unknown_outcome_is_a_warning() {
    for (name, reply) in [("lost", ScriptedReply::close()), ("beyond", ScriptedReply::refusal(596, "data-canary", ""))]
    {
        let node = Node::start(move |_| reply.clone());
        call(&named_client(name, node.cluster_settings()), Method::Put, &CancelToken::new());
        let lines = lines(name);
        let (Some((Level::Warn, line)), true) = (lines.last(), lines.len() <= 2) else { panic!("{lines:?}") };
        assert!(line.contains(&format!("PUT {PATH}: outcome_unknown (")), "{line}");
    }
}

#[test]
fn a_write_cancelled_after_it_was_sent_is_a_warning() {
    let node = Node::start(|_| ScriptedReply::hang());
    let timeout = Duration::from_secs(60);
    let cluster = named_client("cancelled", config::ClusterConfig { timeout, ..node.cluster_settings() });
    let cancel = CancelToken::new();
    thread::scope(|s| {
        s.spawn(|| call(&cluster, Method::Post, &cancel));
        node.wait_for_requests(1);
        cancel.cancel(CancelReason::ClientGone);
    });
    let lines = lines("cancelled");
    let [(Level::Warn, line)] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains(&format!("POST {PATH}: outcome_unknown (cancelled)")), "{line}");
}

#[test]
fn skipped_node_is_one_warning() {
    let (good, suspect) =
        (Node::start(|_| ScriptedReply::data("1")), Node::start_as(Identity::SelfSigned, |_| ScriptedReply::hang()));
    let endpoints = vec![closed_endpoint(), suspect.endpoint(), good.endpoint()];
    let cluster = named_client("failover", config::ClusterConfig { endpoints, ..good.cluster_settings() });
    thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| call(&cluster, Method::Get, &CancelToken::new()));
        }
    });
    let lines = lines("failover");
    let [(Level::Warn, refused), (Level::Warn, untrusted)] = &lines[..] else { panic!("{lines:?}") };
    assert!(refused.contains("connection refused; this node is asked last until it answers again"), "{refused}");
    assert!(untrusted.contains(&format!("seen: {}", suspect.fingerprint())), "{untrusted}");
}

#[test]
fn recovered_node_is_logged() {
    let node = Node::start(|request| if request.index < 2 { ScriptedReply::close() } else { ScriptedReply::data("1") });
    let cluster = named_client("back", node.cluster_settings());
    (0..3).for_each(|_| drop(call(&cluster, Method::Get, &CancelToken::new())));
    let lines = lines("back");
    let [(Level::Warn, gone), (Level::Debug, _), (Level::Info, back)] = &lines[..] else { panic!("{lines:?}") };
    assert!(gone.contains(&format!("{}: the connection was lost", node.endpoint())), "{gone}");
    assert!(back.contains(&format!("{} answers again", node.endpoint())), "{back}");
}

#[test]
fn unreachable_cluster_does_not_flood_the_log() {
    let node = Node::start(|_| ScriptedReply::hang());
    let settings = config::ClusterConfig {
        endpoints: vec![closed_endpoint(), closed_endpoint()],
        tls: TlsVerification::Unverified,
        ..node.cluster_settings()
    };
    let cluster = named_client("dead", settings);
    (0..5).for_each(|_| drop(call(&cluster, Method::Get, &CancelToken::new())));
    assert_eq!(lines("dead").iter().filter(|(level, _)| *level == Level::Warn).count(), 2, "one a node");
}
