//! A cluster of several nodes, some of which die, hang and recover: the selected node, the number of requests, and the
//! results of callers.

use crate::support::node::{Identity, Node, ScriptedReply, closed_endpoint};
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::{self, ClustersFile, Endpoint, Limits, TlsVerification};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::{ApiResponse, Cluster};
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use proxmox_mcp::tools;
use proxmox_mcp::tools::ToolState;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The clock of a cluster, in seconds. Only the test advances it.
#[derive(Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Returns a client of these nodes that uses this clock.
    fn cluster(&self, settings: config::ClusterConfig) -> Cluster {
        let (start, passed) = (Instant::now(), self.0.clone());
        Cluster::new(settings, &Limits::default())
            .unwrap()
            .with_clock(Arc::new(move || start + Duration::from_secs(passed.load(Ordering::SeqCst))))
    }

    fn of(&self, endpoints: Vec<Endpoint>, like: &Node) -> Cluster {
        self.cluster(config::ClusterConfig { endpoints, ..like.cluster_settings() })
    }
}

fn answer_one(_: &crate::support::node::Request) -> ScriptedReply {
    ScriptedReply::data("1")
}

fn start_node() -> Node {
    Node::start(answer_one)
}

fn send(cluster: &Cluster, method: Method, path: &str, cancel: &CancelToken) -> Result<ApiResponse, PveError> {
    cluster.call(method, &ApiPath::parse(path).unwrap().0, &ApiParams::new(), cancel)
}

fn ask(cluster: &Cluster, method: Method) -> Result<ApiResponse, PveError> {
    send(cluster, method, "/nodes/pve1/qemu/100/status/start", &CancelToken::new())
}

/// Returns an address that only this test uses, so that a node can die there and recover.
fn own_address(last: u8) -> SocketAddr {
    ([127, 0, 7, last], 0).into()
}

fn address(node: &Node) -> SocketAddr {
    node.endpoint().to_string().parse().unwrap()
}

#[test]
fn node_death_under_load_fails_no_get_and_duplicates_no_write() {
    const CALLS: usize = 400;
    let taken = Arc::new(Mutex::new(Vec::<String>::new()));
    let start = |last| {
        let taken = taken.clone();
        Node::start_at(own_address(last), Identity::Plain, move |request| {
            if request.method == "POST" {
                taken.lock().unwrap().push(request.path().to_owned());
            }
            // Some calls are in flight when the node dies.
            thread::sleep(Duration::from_millis(3));
            ScriptedReply::data("1")
        })
        .unwrap()
    };
    let (first, second, third) = (start(1), start(2), start(3));
    let endpoints = [&first, &second, &third].map(Node::endpoint).to_vec();
    let cluster = Cluster::new(
        config::ClusterConfig { endpoints, ..second.cluster_settings() },
        &Limits { max_calls_per_cluster: 16, ..Limits::default() },
    )
    .unwrap();
    let (next, mut failed) = (AtomicUsize::new(0), BTreeMap::new());
    thread::scope(|s| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                s.spawn(|| {
                    let mut failed = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        if n >= CALLS {
                            return failed;
                        }
                        let method = if n % 2 == 0 { Method::Get } else { Method::Post };
                        if let Err(error) =
                            send(&cluster, method, &format!("/nodes/pve1/qemu/{n}"), &CancelToken::new())
                        {
                            failed.push((n, error));
                        }
                    }
                })
            })
            .collect();
        first.wait_for_requests(100);
        drop(first);
        callers.into_iter().for_each(|caller| failed.extend(caller.join().unwrap()));
    });
    for (n, error) in &failed {
        assert!(n % 2 == 1 && error.kind() == "outcome_unknown", "call {n}: {error}");
    }
    assert!(failed.len() <= 8, "no more than were under way: {failed:?}");
    let taken = taken.lock().unwrap();
    for n in (1..CALLS).step_by(2) {
        let times = taken.iter().filter(|path| path.ends_with(&format!("/{n}"))).count();
        assert!(times == 1 || times == 0 && failed.contains_key(&n), "write {n} came {times} times");
    }
    assert!(third.requests().is_empty(), "the second took over");
}

#[test]
fn recovered_node_is_used_again() {
    let time = Time::default();
    let (first, second) = (Node::start_at(own_address(11), Identity::Plain, answer_one).unwrap(), start_node());
    let (cluster, place) = (time.of(vec![first.endpoint(), second.endpoint()], &second), address(&first));
    ask(&cluster, Method::Get).unwrap();
    drop(first);
    for method in Method::ALL {
        ask(&cluster, method).unwrap();
    }
    let first = Node::start_at(place, Identity::Plain, answer_one).unwrap();
    ask(&cluster, Method::Get).unwrap();
    assert_eq!((first.connections(), second.requests().len()), (0, 5), "its deadline has not passed");
    time.pass(1);
    for _ in 0..3 {
        ask(&cluster, Method::Post).unwrap();
    }
    assert_eq!((first.requests().len(), second.requests().len()), (3, 5));
}

#[test]
fn dead_node_is_tried_by_one_call_per_pause() {
    let time = Time::default();
    let (dead, good) = (Node::start_as(Identity::ClosesInHandshake, answer_one), start_node());
    let cluster = time.of(vec![dead.endpoint(), good.endpoint()], &good);
    let crowd = |passed: u64| {
        time.pass(passed);
        thread::scope(|s| {
            for method in [Method::Get, Method::Post, Method::Get, Method::Delete] {
                let cluster = &cluster;
                s.spawn(move || ask(cluster, method).unwrap());
            }
        });
        dead.connections()
    };
    ask(&cluster, Method::Post).unwrap();
    for (before, pause) in (1..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert_eq!((crowd(pause - 1), crowd(1)), (before, before + 1), "a pause of {pause} s");
    }
}

#[test]
fn get_with_a_truncated_answer_is_retried_on_another_node() {
    for start in ["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"] {
        let (bad, good) = (Node::start(move |_| ScriptedReply::raw(start).then_close()), start_node());
        let cluster = Time::default().of(vec![bad.endpoint(), good.endpoint()], &good);
        assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1");
        assert_eq!((bad.requests().len(), good.requests().len()), (1, 1));
        let cluster = Time::default().of(vec![bad.endpoint(), good.endpoint()], &good);
        let text = ask(&cluster, Method::Post).unwrap_err().to_string();
        assert!(text.contains("unknown") && text.contains("in the middle of the answer"), "{text}");
        assert_eq!((bad.requests().len(), good.requests().len()), (2, 1));
    }
}

#[test]
fn reason_for_skipping_a_node_is_in_plain_words() {
    let node = Node::start_as(Identity::Trusted, |_| ScriptedReply::hang());
    let cluster = Time::default().of(vec![node.endpoint(), closed_endpoint()], &node);
    let place = node.endpoint();
    let error = thread::scope(|scope| {
        let call = scope.spawn(|| ask(&cluster, Method::Get).unwrap_err().to_string());
        node.wait_for_requests(1);
        // During TLS, where the library's error texts are long.
        drop(node);
        call.join().unwrap()
    });
    assert!(error.contains(&format!("{place}: the connection was lost; ")) && !error.contains("://"), "{error}");
}

#[test]
fn lost_get_is_retried_on_the_same_node_if_the_others_are_dead() {
    let first =
        Node::start(|request| if request.index == 0 { ScriptedReply::close() } else { ScriptedReply::data("1") });
    let cluster = Time::default().of(vec![first.endpoint(), closed_endpoint(), closed_endpoint()], &first);
    assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1");
    let bad = Node::start(|_| ScriptedReply::close());
    let cluster = Time::default().of(vec![bad.endpoint(), closed_endpoint()], &bad);
    assert_eq!(ask(&cluster, Method::Get).unwrap_err().kind(), "lost");
    assert_eq!((first.requests().len(), bad.requests().len()), (2, 2));
    assert_eq!(ask(&cluster, Method::Post).unwrap_err().kind(), "outcome_unknown");
    assert_eq!(bad.requests().len(), 3);
}

#[test]
fn if_every_node_is_down_each_call_tries_and_names_all() {
    let time = Time::default();
    let cut = [0, 1].map(|_| Node::start_as(Identity::ClosesInHandshake, answer_one));
    let gone = closed_endpoint();
    let endpoints = vec![cut[0].endpoint(), gone.clone(), cut[1].endpoint()];
    let cluster = time.of(endpoints, &cut[0]);
    for n in 1..=3 {
        let text = ask(&cluster, Method::Post).unwrap_err().to_string();
        for part in [
            format!("{}: it closed the connection during the TLS handshake", cut[0].endpoint()),
            format!("{}: it closed the connection during the TLS handshake", cut[1].endpoint()),
            format!("{gone}: connection refused"),
        ] {
            assert!(text.contains(&part), "{text}");
        }
        assert_eq!(cut.each_ref().map(Node::connections), [n, n]);
    }
    assert_eq!(cluster.node_states().iter().filter(|state| state.backoff.is_some()).count(), 3);
}

#[test]
fn hanging_node_is_tried_by_reads_only_and_fails_none() {
    let time = Time::default();
    let (hung, good) = (Node::start(|_| ScriptedReply::hang()), start_node());
    let timeout = Duration::from_millis(300);
    let endpoints = vec![hung.endpoint(), good.endpoint()];
    let cluster = time.cluster(config::ClusterConfig { endpoints, timeout, ..good.cluster_settings() });
    assert_eq!(ask(&cluster, Method::Get).unwrap_err().kind(), "timeout");
    time.pass(1);
    for method in [Method::Post, Method::Put, Method::Delete] {
        ask(&cluster, method).unwrap();
    }
    assert_eq!(hung.requests().len(), 1, "a write is not sent to a hanging node");
    ask(&cluster, Method::Get).unwrap();
    assert_eq!((hung.requests().len(), good.requests().len()), (2, 4), "it was tried, then another one answered");
    ask(&cluster, Method::Get).unwrap();
    assert_eq!(hung.requests().len(), 2);
}

#[test]
fn node_states_show_down_nodes_with_reasons() {
    let time = Time::default();
    let (good, dead) = (start_node(), closed_endpoint());
    let cluster = time.of(vec![dead.clone(), good.endpoint()], &good);
    let states = || -> Vec<(String, Option<String>)> {
        let states = cluster.node_states().into_iter();
        states.map(|state| (state.node, state.backoff.map(|backoff| backoff.to_string()))).collect()
    };
    let well = |endpoint: &Endpoint| (endpoint.to_string(), None);
    assert_eq!(states(), [well(&dead), well(&good.endpoint())], "no node is marked as down");
    ask(&cluster, Method::Get).unwrap();
    time.pass(12);
    let states = states();
    assert_eq!(states[1], well(&good.endpoint()));
    let why = states[0].1.as_deref().unwrap();
    assert!(why.starts_with(&format!("{dead}: connection refused (since 12 s")), "{why}");
}

/// Starts a node of this cluster, which answers the paths of a check.
fn start_member(cluster: &'static str, node: &'static str) -> Node {
    Node::start(move |request| match request.path() {
        "/api2/json/version" => ScriptedReply::data(r#"{"version":"9.2.11"}"#),
        "/api2/json/cluster/status" => ScriptedReply::data(
            &json!([{"type": "cluster", "name": cluster}, {"type": "node", "name": node}]).to_string(),
        ),
        _ => ScriptedReply::data(&json!([{"node": node, "status": "online"}]).to_string()),
    })
}

#[test]
fn list_clusters_with_check_tells_the_state_of_each_address() {
    let (node, other) = (start_member("prod", "pve1"), start_member("lab", "lab1"));
    let closed = Node::start(|_| ScriptedReply::refusal(401, "No ticket", ""));
    let dead = closed_endpoint();
    let lame = config::ClusterConfig {
        name: "lame".into(),
        endpoints: vec![dead.clone(), node.endpoint(), other.endpoint(), closed.endpoint()],
        ..node.cluster_settings()
    };
    let clusters = ClustersFile { clusters: vec![lame, node.cluster_settings()], ..ClustersFile::default() };
    let manager = ClusterManager::new(&clusters, &Limits::default()).unwrap();
    let state =
        ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), Limits::default().max_result_bytes).unwrap();
    let server = McpServer::new(tools::catalog(&Arc::new(state))).unwrap();
    let result = crate::support::tool::call(&server, "list_clusters", json!({"check": true}));
    let column = result.structured["columns"].as_array().unwrap().iter().position(|c| c == "addresses").unwrap();
    let expected = format!(
        "{dead} fails: connection refused; {} answers; {} is of another cluster (cluster lab of lab1); {} fails: the API \
         token did not arrive at Proxmox (401 \"No ticket\")",
        node.endpoint(),
        other.endpoint(),
        closed.endpoint()
    );
    assert_eq!(result.structured["rows"][0][column], expected);
    assert!(result.structured["rows"][1][column].is_null(), "{}", result.structured);
}

#[test]
fn hanging_cluster_rejects_excess_calls_and_does_not_delay_another() {
    let (hung, good) = (
        Node::start(|_| ScriptedReply::hang()),
        Node::start(|request| ScriptedReply::data(&request.index.to_string())),
    );
    let limits = Limits { max_calls_per_cluster: 2, ..Limits::default() };
    let client = |node: &Node| {
        let timeout = Duration::from_secs(60);
        Cluster::new(config::ClusterConfig { timeout, ..node.cluster_settings() }, &limits).unwrap()
    };
    let (bad, other, cancel) = (client(&hung), client(&good), CancelToken::new());
    thread::scope(|s| {
        let calls: Vec<_> = (0..12)
            .map(|_| s.spawn(|| send(&bad, Method::Post, "/a", &cancel.child_token()).unwrap_err().kind()))
            .collect();
        // Two are in flight and two wait. The scheduler decides which.
        while calls.iter().filter(|call| call.is_finished()).count() < 8 {
            thread::yield_now();
        }
        hung.wait_for_requests(2);
        for n in 0..100 {
            assert_eq!(ask(&other, Method::Get).unwrap().data(), n.to_string());
        }
        assert_eq!(hung.requests().len(), 2);
        cancel.cancel(CancelReason::ClientGone);
        // A call that was about to be cancelled may have used the place of a cancelled one.
        let mut ends = BTreeMap::new();
        calls.into_iter().for_each(|call| *ends.entry(call.join().unwrap()).or_insert(0) += 1);
        assert_eq!(ends.remove("busy"), Some(8));
        assert!(ends.keys().all(|end| ["cancelled", "outcome_unknown"].contains(end)), "{ends:?}");
    });
}

/// Returns a listener that accepts no more connections and drops the packets of clients that connect.
fn black_hole() -> (Endpoint, Socket, Vec<TcpStream>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&own_address(21).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut taken = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        taken.push(stream);
    }
    (Endpoint { https: false, host: address.ip().to_string(), port: address.port() }, listener, taken)
}

#[test]
#[cfg(target_os = "linux")]
fn call_is_cancelled_while_connecting_to_an_address_that_drops_packets() {
    let (hole, _listener, _taken) = black_hole();
    let good = start_node();
    let cluster = Time::default().of(vec![hole.clone(), good.endpoint()], &good);
    // The line in the kernel's table of connections: to that port, state SYN_SENT.
    let connecting = format!(":{:04X} 02 ", hole.port);
    let cancel = CancelToken::new();
    thread::scope(|s| {
        let call = s.spawn(|| ask_with(&cluster, &cancel).unwrap_err());
        while !std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&connecting) {
            assert!(!call.is_finished(), "it did not connect there");
            thread::yield_now();
        }
        let start = Instant::now();
        cancel.cancel(CancelReason::ClientGone);
        // The time to connect is 5 s.
        assert_eq!(call.join().unwrap().kind(), "cancelled");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    });
    assert!(good.requests().is_empty(), "a cancelled call is sent to no other node");
    assert!(cluster.node_states()[0].backoff.is_none(), "a cancellation does not mark the node as down");
}

fn ask_with(cluster: &Cluster, cancel: &CancelToken) -> Result<ApiResponse, PveError> {
    send(cluster, Method::Post, "/nodes/pve1/qemu/100/status/start", cancel)
}

/// Starts two nodes at the same port of two addresses. The first lists both, and a third one that is offline.
fn start_pair(identity: Identity, names: impl Fn(u64) -> bool + Send + Sync + Clone + 'static) -> (Node, Node) {
    loop {
        let names = names.clone();
        let asked = AtomicU64::new(0);
        let first = Node::start_as(identity, move |request| match request.path() {
            "/api2/json/cluster/status" => {
                let online = u8::from(names(asked.fetch_add(1, Ordering::SeqCst)));
                ScriptedReply::data(&format!(
                    r#"[{{"type":"cluster","name":"lab","quorate":1}},
                        {{"type":"node","name":"pve1","ip":"127.0.0.1","online":1,"local":1}},
                        {{"type":"node","name":"pve2","ip":"127.0.0.2","online":{online},"local":0}},
                        {{"type":"node","name":"pve3","ip":"127.0.0.3","online":0}},
                        {{"type":"node","name":"pve4","ip":"192.0.2.256","online":1}}, 7]"#
                ))
            }
            _ => ScriptedReply::data("1"),
        });
        let place = SocketAddr::from(([127, 0, 0, 2], first.endpoint().port));
        if let Ok(second) = Node::start_at(place, identity, |_| ScriptedReply::data("2")) {
            return (first, second);
        }
    }
}

fn start_discovery(node: &Node, tls: TlsVerification) -> config::ClusterConfig {
    config::ClusterConfig { discover_nodes: true, tls, ..node.cluster_settings() }
}

#[test]
fn discovered_nodes_answer_if_the_configured_one_is_down() {
    let (first, second) = start_pair(Identity::Trusted, |_| true);
    let time = Time::default();
    let cluster = time.cluster(start_discovery(&first, first.cluster_settings().tls));
    for _ in 0..3 {
        assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1");
    }
    assert_eq!(first.requests().len(), 4, "the cluster is queried for its nodes once");
    let named: Vec<_> = cluster.node_states().into_iter().map(|state| state.node).collect();
    assert_eq!(named, [first.endpoint().to_string(), second.endpoint().to_string()]);
    drop(first);
    for method in Method::ALL {
        assert_eq!(ask(&cluster, method).unwrap().data(), "2");
    }
}

#[test]
fn discovered_node_is_not_used_once_the_cluster_reports_it_offline() {
    let (first, second) = start_pair(Identity::Plain, |time| time != 1);
    let time = Time::default();
    let cluster = time.cluster(start_discovery(&first, TlsVerification::PublicRoots));
    for known in [2, 1, 2] {
        ask(&cluster, Method::Get).unwrap();
        assert_eq!(cluster.node_states().len(), known);
        time.pass(300);
    }
    assert_eq!(second.connections(), 0);
}

#[test]
fn discovered_node_is_verified_like_a_configured_one() {
    let (first, second) = start_pair(Identity::SelfSigned, |_| true);
    let cluster =
        Time::default().cluster(start_discovery(&first, TlsVerification::Fingerprints(vec![first.fingerprint()])));
    ask(&cluster, Method::Get).unwrap();
    drop(first);
    let text = ask(&cluster, Method::Post).unwrap_err().to_string();
    assert!(text.contains(&format!("the certificate of {} is not the pinned one", second.endpoint())), "{text}");
    assert!(second.requests().is_empty(), "it never saw the token");
}

#[test]
fn node_discovery_happens_only_if_enabled_and_never_on_a_write() {
    let (first, second) = start_pair(Identity::Plain, |_| true);
    let time = Time::default();
    ask(&time.cluster(first.cluster_settings()), Method::Get).unwrap();
    ask(&time.cluster(start_discovery(&first, TlsVerification::PublicRoots)), Method::Post).unwrap();
    assert_eq!((first.requests().len(), second.connections()), (2, 0));
}

#[test]
fn cluster_answers_although_node_discovery_fails() {
    for reply in [
        ScriptedReply::refusal(403, "Permission check failed (/, Sys.Audit)", ""),
        ScriptedReply::data("{\"a\":1}"),
        ScriptedReply::close(),
    ] {
        let node = Node::start(move |request| match request.path() {
            "/api2/json/cluster/status" => reply.clone(),
            _ => ScriptedReply::data("1"),
        });
        let cluster = Time::default().cluster(start_discovery(&node, TlsVerification::PublicRoots));
        for _ in 0..2 {
            assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1");
        }
        assert_eq!(cluster.node_states().len(), 1);
    }
}

#[test]
fn a_node_that_can_do_nothing_is_passed_over_by_every_method() {
    for (status, phrase, body) in [
        (500, "RPCEnvironment init request failed: Unable to load access control list: Connection refused", ""),
        (401, "ipcc_send_rec[1] failed: Connection refused", ""),
        (500, "x", r#"{"data":null,"message":"cluster not ready - no quorum?\n"}"#),
    ] {
        let sick = Node::start(move |_| ScriptedReply::refusal(status, phrase, body));
        let healthy = start_node();
        for method in [Method::Get, Method::Post] {
            let cluster = Time::default().of(vec![sick.endpoint(), healthy.endpoint()], &healthy);
            assert_eq!(ask(&cluster, method).unwrap().data(), "1", "{method} {phrase}");
            let states = cluster.node_states();
            assert!(states[0].backoff.is_some() && states[1].backoff.is_none(), "{states:?}");
        }
        // Without another node that answers, the refusal is the answer.
        let cluster = Time::default().of(vec![sick.endpoint(), closed_endpoint()], &healthy);
        assert_eq!(ask(&cluster, Method::Post).unwrap_err().kind(), "failed");
    }
}

#[test]
fn a_read_continues_at_the_next_address_after_a_proxy_error_and_a_write_does_not() {
    let page = "<html><title>502 Bad Gateway</title></html>";
    let proxy = Node::start(move |_| ScriptedReply::refusal(502, "Bad Gateway", page));
    let healthy = start_node();
    let cluster = || Time::default().of(vec![proxy.endpoint(), healthy.endpoint()], &healthy);
    assert_eq!(ask(&cluster(), Method::Get).unwrap().data(), "1");
    let requests = healthy.requests().len();
    let error = ask(&cluster(), Method::Post).unwrap_err();
    assert_eq!(error.kind(), "outcome_unknown", "{error}");
    assert_eq!(healthy.requests().len(), requests);
}

#[test]
fn a_read_continues_at_the_next_address_after_a_server_that_is_not_proxmox() {
    let healthy = start_node();
    let json = r#"{"status":"ok"}"#;
    for (reply, write_kind) in [
        (ScriptedReply::raw("SSH-2.0-OpenSSH_9.6p1 Debian-3\r\n".to_owned()), "outcome_unknown"),
        (ScriptedReply::body(json), "outcome_unknown"),
        (ScriptedReply::body(""), "outcome_unknown"),
        (ScriptedReply::answer(204, "No Content", &[], ""), "outcome_unknown"),
        (ScriptedReply::answer(200, "OK", &[("Content-Encoding", "br")], "x"), "outcome_unknown"),
    ] {
        let other = Node::start(move |_| reply.clone());
        let cluster = || Time::default().of(vec![other.endpoint(), healthy.endpoint()], &healthy);
        assert_eq!(ask(&cluster(), Method::Get).unwrap().data(), "1");
        let requests = healthy.requests().len();
        let error = ask(&cluster(), Method::Post).unwrap_err();
        assert_eq!(error.kind(), write_kind, "{error}");
        assert_eq!(healthy.requests().len(), requests);
    }
}

#[test]
fn a_backup_server_is_passed_over_by_every_method_since_it_rejects_the_request() {
    let refusal = "authentication failed - no authentication credentials provided.";
    let backup_server =
        Node::start(move |_| ScriptedReply::answer(401, "Unauthorized", &[("Content-Type", "text/plain")], refusal));
    let healthy = start_node();
    for method in Method::ALL {
        let cluster = Time::default().of(vec![backup_server.endpoint(), healthy.endpoint()], &healthy);
        assert_eq!(ask(&cluster, method).unwrap().data(), "1", "{method}");
        let cluster = Time::default().of(vec![backup_server.endpoint()], &healthy);
        let error = ask(&cluster, method).unwrap_err().to_string();
        assert!(error.contains("it seems to be a Proxmox Backup Server"), "{error}");
    }
}

#[test]
fn a_change_has_a_connection_of_its_own() {
    let node = start_node();
    let cluster = Time::default().of(vec![node.endpoint()], &node);
    for method in [Method::Get, Method::Post, Method::Get, Method::Delete] {
        ask(&cluster, method).unwrap();
    }
    // A read may use the connection of a change before.
    let places: Vec<_> = node.requests().iter().map(|request| (request.connection, request.nth)).collect();
    assert_eq!(places, [(0, 0), (1, 0), (1, 1), (2, 0)]);
}

#[test]
fn a_token_that_worked_before_is_tried_on_one_more_node_by_reads() {
    let first = Node::start(|request| match request.index {
        0 => ScriptedReply::data("0"),
        _ => ScriptedReply::refusal(401, "invalid token", ""),
    });
    let second = start_node();
    let cluster = Time::default().of(vec![first.endpoint(), second.endpoint()], &second);
    assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "0");
    assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1");

    // A token that never worked is wrong everywhere.
    let wrong = Node::start(|_| ScriptedReply::refusal(401, "Authentication failed!", ""));
    let cluster = Time::default().of(vec![wrong.endpoint(), second.endpoint()], &second);
    let requests = second.requests().len();
    assert_eq!(ask(&cluster, Method::Get).unwrap_err().kind(), "unauthorized");
    assert_eq!(second.requests().len(), requests);
}

#[test]
fn an_address_of_another_cluster_is_passed_over_at_failover() {
    let nodes = |name: &'static str| {
        move |request: &crate::support::node::Request| match request.path() {
            "/api2/json/nodes" => ScriptedReply::data(&format!(r#"[{{"node":"{name}"}}]"#)),
            _ => ScriptedReply::data("1"),
        }
    };
    let first = Node::start(nodes("pve1"));
    let (stray, second) = (Node::start(nodes("lab1")), Node::start(nodes("pve1")));
    let cluster = Time::default().of(vec![first.endpoint(), stray.endpoint(), second.endpoint()], &second);
    send(&cluster, Method::Get, "/nodes", &CancelToken::new()).unwrap();
    drop(first);
    assert_eq!(ask(&cluster, Method::Post).unwrap().data(), "1");
    let posts = |node: &Node| node.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!((posts(&stray), posts(&second)), (0, 1));
    drop(second);
    let error = ask(&cluster, Method::Post).unwrap_err();
    assert!(error.to_string().contains("another cluster"), "{error}");
    assert_eq!(posts(&stray), 0);
}
