//! Identical reads of one cluster that share requests: what they share, and what stays each caller's own.

use crate::support::node::{Node, ScriptedReply};
use crate::support::policy::{caller, client, modern, open_policy, rights};
use crate::support::raw::eventually;
use crate::support::test_tools::product_for;
use crate::support::tool::{answer_to, call_as, call_with};
use proptest::prelude::*;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::{ClusterConfig, Limits};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::policy::AccessLevel;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A gate before the answers of a node.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |is_open| !*is_open).unwrap());
    }
}

/// Opens a gate at the end of a test, also of one that fails.
struct OpenAtEnd(Gate);

impl Drop for OpenAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn start_gated(answer: &'static str) -> (Node, Gate, OpenAtEnd) {
    start_gated_at("", answer)
}

/// Starts a node whose answers to paths with this end wait at the gate.
fn start_gated_at(end: &'static str, answer: &'static str) -> (Node, Gate, OpenAtEnd) {
    let gate = Gate::default();
    let held = gate.clone();
    let node = Node::start(move |request| {
        if request.path().ends_with(end) && !request.path().ends_with("apidoc.js") {
            held.pass();
        }
        ScriptedReply::data(answer)
    });
    (node, gate.clone(), OpenAtEnd(gate))
}

fn read(cluster: &Cluster, path: &str, cancel: &CancelToken) -> Result<String, PveError> {
    let deadline = Instant::now() + Duration::from_secs(600);
    let path = ApiPath::parse(path).unwrap().0;
    cluster.get_shared(deadline, &path, &ApiParams::new(), cancel).map(|answer| answer.data().to_owned())
}

fn patient_cluster(node: &Node) -> Cluster {
    let settings = ClusterConfig { timeout: Duration::from_secs(600), ..node.cluster_settings() };
    Cluster::new(settings, &Limits::default()).unwrap()
}

/// Returns the number of reads that were answered by the request of another one.
fn shared_reads(cluster: &Cluster) -> u64 {
    use proxmox_mcp::metrics::{ClusterMetrics, ClusterSample};
    let mut page = String::new();
    let sample = ClusterSample { cluster: "test", nodes: Vec::new(), metrics: cluster.metrics() };
    ClusterMetrics::write(&mut page, &[sample]);
    let line =
        page.lines().find_map(|line| line.strip_prefix(r#"proxmox_mcp_api_shared_reads_total{cluster="test"} "#));
    line.expect("the metric").parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The node is a register that counts its writes. A read must return at least the value of the newest write that was
    /// answered before the read began, and never one that was not written.
    #[test]
    fn no_read_is_older_than_a_write_that_was_answered_before_it(
        readers in 2..12_usize,
        writers in 1..4_usize,
        rounds in 3..12_usize,
        byte_micros in 0..60_u64,
    ) {
        let register = Arc::new(AtomicU64::new(0));
        let value = register.clone();
        let node = Node::start(move |request| {
            let value = match request.method.as_str() {
                "GET" => value.load(Ordering::SeqCst),
                _ => value.fetch_add(1, Ordering::SeqCst) + 1,
            };
            // The value is fixed, and takes its time to arrive.
            ScriptedReply::data(&value.to_string()).dripping(Duration::from_micros(byte_micros))
        });
        let cluster = patient_cluster(&node);
        let answered = AtomicU64::new(0);
        let are_writing = AtomicU64::new(writers as u64);
        thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let path = ApiPath::parse("/nodes/pve1/config").unwrap().0;
                        let answer = cluster.call(Method::Put, &path, &ApiParams::new(), &CancelToken::new()).unwrap();
                        answered.fetch_max(answer.data().parse().unwrap(), Ordering::SeqCst);
                    }
                    are_writing.fetch_sub(1, Ordering::SeqCst);
                });
            }
            for _ in 0..readers {
                scope.spawn(|| {
                    let mut is_last = false;
                    while !is_last {
                        is_last = are_writing.load(Ordering::SeqCst) == 0;
                        let newest = answered.load(Ordering::SeqCst);
                        let read: u64 = read(&cluster, "/nodes/pve1/config", &CancelToken::new()).unwrap().parse().unwrap();
                        assert!(newest <= read, "read {read} after a write of {newest} was answered");
                        assert!(read <= register.load(Ordering::SeqCst));
                    }
                });
            }
        });
        let writes = node.requests().iter().filter(|request| request.method == "PUT").count();
        prop_assert_eq!(writes, writers * rounds, "each write is sent by itself");
    }
}

#[test]
fn many_identical_reads_cost_the_node_few_requests() {
    let (node, gate, _end) = start_gated("7");
    let cluster = patient_cluster(&node);
    let begun = AtomicU64::new(0);
    thread::scope(|scope| {
        let first = scope.spawn(|| read(&cluster, "/nodes", &CancelToken::new()));
        node.wait_for_requests(1);
        for _ in 0..32 {
            scope.spawn(|| {
                begun.fetch_add(1, Ordering::SeqCst);
                assert_eq!(read(&cluster, "/nodes", &CancelToken::new()).unwrap(), "7");
            });
        }
        eventually("32 callers", || begun.load(Ordering::SeqCst) == 32);
        gate.open();
        assert_eq!(first.join().unwrap().unwrap(), "7");
    });
    let requests = node.requests().len();
    assert!(requests <= 16, "{requests} requests for 33 reads");
    assert_eq!(shared_reads(&cluster), 33 - requests as u64);
}

#[test]
fn cancelled_caller_returns_while_the_request_goes_on_for_the_others() {
    let (node, gate, _end) = start_gated("7");
    let cluster = patient_cluster(&node);
    let cancel = CancelToken::new();
    thread::scope(|scope| {
        scope.spawn(|| read(&cluster, "/nodes", &CancelToken::new()).unwrap());
        node.wait_for_requests(1);
        let cancelled = scope.spawn(|| read(&cluster, "/nodes", &cancel));
        let other = scope.spawn(|| read(&cluster, "/nodes", &CancelToken::new()));
        // The first request hangs, so the shared one is sent after a second.
        node.wait_for_requests(2);
        cancel.cancel(CancelReason::ClientGone);
        assert!(matches!(cancelled.join().unwrap(), Err(PveError::Cancelled)));
        assert!(!other.is_finished());
        gate.open();
        assert_eq!(other.join().unwrap().unwrap(), "7");
    });
}

#[test]
fn error_is_shared_and_not_kept() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (gate, well) = (Gate::default(), is_well.clone());
    let (held, _end) = (gate.clone(), OpenAtEnd(gate.clone()));
    let node = Node::start(move |_| {
        held.pass();
        match well.load(Ordering::SeqCst) {
            true => ScriptedReply::data("7"),
            false => ScriptedReply::refusal(500, "locked", ""),
        }
    });
    let cluster = patient_cluster(&node);
    thread::scope(|scope| {
        let reads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| read(&cluster, "/nodes", &CancelToken::new()).unwrap_err())).collect();
        node.wait_for_requests(1);
        gate.open();
        for read in reads {
            assert_eq!(read.join().unwrap().status(), Some(500));
        }
    });
    is_well.store(true, Ordering::SeqCst);
    assert_eq!(read(&cluster, "/nodes", &CancelToken::new()).unwrap(), "7");
}

#[test]
fn reads_that_differ_in_path_or_parameters_share_nothing() {
    let node = Node::start(|request| ScriptedReply::data(&json!(request.target).to_string()));
    let cluster = patient_cluster(&node);
    thread::scope(|scope| {
        for n in 0..16 {
            let cluster = &cluster;
            scope.spawn(move || {
                for _ in 0..10 {
                    let mut params = ApiParams::new();
                    params.push("n", &n.to_string());
                    let deadline = Instant::now() + Duration::from_secs(600);
                    let path = ApiPath::parse("/nodes").unwrap().0;
                    let answer = cluster.get_shared(deadline, &path, &params, &CancelToken::new()).unwrap();
                    assert_eq!(answer.data(), json!(format!("/api2/json/nodes?n={n}")).to_string());
                }
            });
        }
    });
}

/// Makes twelve calls at once, in turns of a client with full access and one that reads, while the node holds its answers
/// until all have begun. Returns the results, and the number of requests for paths that end like this.
fn call_at_once<T: Send>(
    data: &'static str,
    end: &'static str,
    call: impl Fn(&McpServer, &Caller, usize) -> T + Sync,
) -> (Vec<T>, usize) {
    let (node, gate, _end) = start_gated_at(end, data);
    let clients =
        [client("admin", rights(AccessLevel::Full, true), &[]), client("guest", rights(AccessLevel::Read, false), &[])];
    let settings =
        ClusterConfig { policy: open_policy(), timeout: Duration::from_secs(600), ..node.cluster_settings() };
    let server = product_for(vec![settings], &clients);
    let results = thread::scope(|scope| {
        let calls: Vec<_> = (0..12)
            .map(|n| {
                let (server, call, caller) = (&server, &call, caller(&clients[n % 2]));
                scope.spawn(move || call(server, &caller, n))
            })
            .collect();
        node.wait_for_path(end, 1);
        gate.open();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    (results, node.requests().iter().filter(|request| request.path().ends_with(end)).count())
}

#[test]
fn redaction_stays_each_caller_s_own() {
    const CONFIG: &str = r#"{"name":"web01","cipassword":"canary-password","digest":"d"}"#;
    let arguments = json!({"path": "/nodes/pve1/qemu/100/config"});
    let (results, _) = call_at_once(CONFIG, "/qemu/100/config", |server, caller, _| {
        call_as(server, caller, "proxmox_api_get", arguments.clone())
    });
    for (n, result) in results.iter().enumerate() {
        assert!(!result.failed && result.text.contains("web01"), "{result:?}");
        assert_eq!(result.text.contains("canary-password"), n % 2 == 0, "{result:?}");
    }
}

#[test]
fn shared_table_is_redacted_for_each_caller() {
    const ROWS: &str =
        r#"[{"id":"qemu/100","type":"qemu","name":"web01","status":"running","tags":"password=canary"}]"#;
    let (results, requests) = call_at_once(ROWS, "/cluster/resources", |server, caller, _| {
        call_as(server, caller, "get_cluster_resources", json!({}))
    });
    assert!(requests < 12, "some shared a request");
    for (n, result) in results.iter().enumerate() {
        assert!(!result.failed && result.text.contains("web01"), "{result:?}");
        assert_eq!(result.text.contains("canary"), n % 2 == 0, "{result:?}");
    }
}

#[test]
fn shared_table_has_json_only_for_those_who_ask() {
    const ROWS: &str = r#"[{"node":"pve1","status":"online","type":"node","id":"node/pve1"}]"#;
    let (results, _) = call_at_once(ROWS, "/nodes", |server, caller, n| {
        // The session of a legacy call has a client that shows user interfaces.
        let legacy = json!({"name": "list_nodes", "arguments": {}});
        let params = if n / 2 % 2 == 0 { legacy } else { modern("list_nodes", &json!({}), false, json!(null)) };
        answer_to(server, caller, params)["result"].clone()
    });
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["content"][0]["text"], results[0]["content"][0]["text"]);
        assert_eq!(result["structuredContent"]["rows"].is_array(), n / 2 % 2 == 0, "{n}: {result}");
    }
}

#[test]
fn reads_with_an_effect_are_each_sent() {
    // Only the full client may make them.
    for (path, end) in [
        ("/nodes/pve1/qemu/100/agent/exec-status?pid=7", "/agent/exec-status"),
        ("/nodes/pve1/query-url-metadata?url=http://192.0.2.1/", "/query-url-metadata"),
    ] {
        let arguments = json!({"path": path, "method": "GET"});
        let (results, requests) =
            call_at_once("{}", end, |server, caller, _| call_as(server, caller, "proxmox_api_call", arguments.clone()));
        let sent = results.iter().filter(|result| !result.failed).count();
        assert_eq!((requests, sent), (6, 6), "{results:?}");
    }
}

#[test]
fn stop_of_the_server_ends_a_shared_read() {
    let (node, _, _end) = start_gated("[]");
    let server = product_for(vec![node.cluster_settings()], &[]);
    let cancels: Vec<CancelToken> = (0..4).map(|_| CancelToken::new()).collect();
    thread::scope(|scope| {
        let calls: Vec<_> = cancels
            .iter()
            .map(|cancel| scope.spawn(|| call_with(&server, "list_nodes", json!({}), cancel.clone(), &|_| ())))
            .collect();
        node.wait_for_path("/nodes", 1);
        cancels.iter().for_each(|cancel| cancel.cancel(CancelReason::Shutdown));
        calls.into_iter().for_each(|call| assert!(!call.join().unwrap().text.is_empty()));
    });
}
