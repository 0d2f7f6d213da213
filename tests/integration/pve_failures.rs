//! Lost connections, hanging nodes, dead nodes, cancellations and excess load: the requests that are retried, and the
//! errors that callers get.

use crate::support::node::{Identity, Node, ScriptedReply, closed_endpoint};
use crate::support::raw::LONG;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::config::{self, Endpoint, Limits};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::{ApiResponse, Cluster};
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const WRITES: [Method; 3] = [Method::Post, Method::Put, Method::Delete];
const SHORT: Duration = Duration::from_secs(1);

fn client(settings: config::ClusterConfig) -> Cluster {
    Cluster::new(settings, &Limits::default()).unwrap()
}

fn cluster(node: &Node) -> Cluster {
    client(node.cluster_settings())
}

fn cluster_with_short_timeout(node: &Node) -> Cluster {
    client(config::ClusterConfig { timeout: SHORT, ..node.cluster_settings() })
}

fn cluster_of(endpoints: Vec<Endpoint>, any: &Node) -> Cluster {
    client(config::ClusterConfig { endpoints, ..any.cluster_settings() })
}

fn send(cluster: &Cluster, method: Method, cancel: &CancelToken) -> Result<ApiResponse, PveError> {
    let path = ApiPath::parse("/nodes/pve1/qemu/100/status/start").unwrap().0;
    cluster.call(method, &path, &ApiParams::new(), cancel)
}

fn ask(cluster: &Cluster, method: Method) -> Result<ApiResponse, PveError> {
    send(cluster, method, &CancelToken::new())
}

#[track_caller]
fn assert_unknown(error: &PveError, why: &str) {
    let text = render_error(error);
    assert_eq!(error.kind(), "outcome_unknown", "{text}");
    for part in [why, "/nodes/pve1/qemu/100/status/start`", "was not sent again", "/cluster/tasks"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn get_is_retried_once_after_a_lost_connection() {
    let node =
        Node::start(|request| if request.index == 0 { ScriptedReply::close() } else { ScriptedReply::data("1") });
    assert_eq!(ask(&cluster(&node), Method::Get).unwrap().data(), "1");
    assert_eq!(node.requests().len(), 2);
}

#[test]
fn get_is_retried_once_after_a_lost_kept_connection() {
    let node =
        Node::start(|request| if request.index == 1 { ScriptedReply::close() } else { ScriptedReply::data("1") });
    let cluster = cluster(&node);
    ask(&cluster, Method::Get).unwrap();
    ask(&cluster, Method::Get).unwrap();
    assert_eq!(node.requests().iter().map(|r| (r.connection, r.nth)).collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 0)]);
}

#[test]
fn get_is_not_sent_a_third_time() {
    let node = Node::start(|_| ScriptedReply::close());
    let error = ask(&cluster(&node), Method::Get).unwrap_err();
    assert_eq!(error.kind(), "lost");
    assert!(error.to_string().contains(&node.endpoint().to_string()), "{error}");
    assert_eq!(node.requests().len(), 2);
}

#[test]
fn get_is_not_retried_once_its_answer_has_begun() {
    for start in
        ["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\":"]
    {
        let node = Node::start(move |_| ScriptedReply::raw(start).then_close());
        assert_eq!(ask(&cluster(&node), Method::Get).unwrap_err().kind(), "unreadable");
        assert_eq!(node.requests().len(), 1);
    }
}

#[test]
fn lost_write_is_never_retried_and_its_outcome_is_unknown() {
    for method in WRITES {
        let node = Node::start(|_| ScriptedReply::close());
        assert_unknown(&ask(&cluster(&node), method).unwrap_err(), "the connection was lost before an answer came");
        assert_eq!(node.requests().len(), 1);
    }
}

#[test]
fn write_with_a_truncated_or_invalid_answer_has_an_unknown_outcome() {
    for reply in [
        ScriptedReply::raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\":").then_close(),
        ScriptedReply::raw("HTTP/1.1 200 O").then_close(),
        ScriptedReply::raw("what?\r\n\r\n").then_close(),
        ScriptedReply::body("<html>"),
    ] {
        let node = Node::start(move |_| reply.clone());
        assert_unknown(&ask(&cluster(&node), Method::Post).unwrap_err(), "");
        assert_eq!(node.requests().len(), 1);
    }
}

#[test]
fn rejected_write_has_a_known_outcome() {
    let node = Node::start(|_| ScriptedReply::refusal(500, "VM is locked (backup)", ""));
    let error = ask(&cluster(&node), Method::Post).unwrap_err();
    assert!(error.to_string().contains("VM is locked (backup)"), "{error}");
    assert_eq!(error.kind(), "failed");
}

#[test]
fn write_cut_off_behind_a_proxy_has_an_unknown_outcome() {
    for method in WRITES {
        for (status, phrase) in [(596, "Broken pipe"), (597, "Broken pipe"), (598, ""), (599, "")] {
            let node = Node::start(move |_| ScriptedReply::refusal(status, phrase, ""));
            let error = ask(&cluster(&node), method).unwrap_err();
            let message = if phrase.is_empty() { String::new() } else { format!(" \"{phrase}\"") };
            assert_unknown(&error, &format!("({status}{message}"));
            assert_eq!(error.to_string().contains("case-sensitive"), status == 596, "{error}");
            assert_eq!(node.requests().len(), 1);
        }
        // The proxy never connected to the second node.
        let node = Node::start(|_| ScriptedReply::refusal(595, "Connection refused", ""));
        assert_eq!(ask(&cluster(&node), method).unwrap_err().kind(), "failed");
    }
    let node = Node::start(|_| ScriptedReply::refusal(596, "Connection timed out", ""));
    assert_eq!(ask(&cluster(&node), Method::Get).unwrap_err().kind(), "failed", "a GET changes nothing");
}

#[test]
fn hanging_node_costs_no_more_than_the_time_limit() {
    for reply in [
        ScriptedReply::hang(),
        ScriptedReply::raw("HTTP/1.1 2").then_hang(),
        ScriptedReply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").then_hang(),
    ] {
        let node = Node::start(move |_| reply.clone());
        let start = Instant::now();
        let error = ask(&cluster_with_short_timeout(&node), Method::Get).unwrap_err();
        assert!(error.kind() == "timeout" && error.to_string().contains("within 1 s"), "{error}");
        assert_unknown(&ask(&cluster_with_short_timeout(&node), Method::Put).unwrap_err(), "no answer came within 1 s");
        assert!(start.elapsed() >= 2 * SHORT && start.elapsed() < LONG);
        assert_eq!(node.requests().len(), 2);
    }
}

#[test]
fn dripping_node_costs_no_more_than_the_time_limit() {
    let node = Node::start(|_| ScriptedReply::data(&"1".repeat(2_000)).dripping(Duration::from_millis(20)));
    let start = Instant::now();
    assert_eq!(ask(&cluster_with_short_timeout(&node), Method::Get).unwrap_err().kind(), "timeout");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn closed_port_refuses_the_connection_for_every_method() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    for method in Method::ALL {
        let error = ask(&cluster_of(vec![closed_endpoint()], &node), method).unwrap_err();
        assert_eq!(error.kind(), "connect");
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
}

#[test]
fn unknown_host_name_is_reported() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    // RFC 6761: a name under `invalid` never exists.
    let endpoint = Endpoint { host: "pve1.invalid".into(), ..node.endpoint() };
    let error = ask(&cluster_of(vec![endpoint], &node), Method::Get).unwrap_err();
    assert_eq!(error.kind(), "connect");
    assert!(error.to_string().contains("pve1.invalid"), "{error}");
}

#[test]
fn node_that_refuses_connections_is_skipped_and_the_next_call_starts_at_the_live_one() {
    for method in Method::ALL {
        let node = Node::start(|_| ScriptedReply::data("1"));
        let cut = Node::start_as(Identity::ClosesInHandshake, |_| ScriptedReply::hang());
        let cluster = cluster_of(vec![closed_endpoint(), cut.endpoint(), node.endpoint()], &node);
        assert_eq!(ask(&cluster, method).unwrap().data(), "1");
        ask(&cluster, method).unwrap();
        assert_eq!((cut.connections(), node.requests().len()), (1, 2));
    }
}

#[test]
fn if_no_node_is_reachable_each_is_named() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    let dead = [closed_endpoint(), closed_endpoint()];
    let text = ask(&cluster_of(dead.to_vec(), &node), Method::Get).unwrap_err().to_string();
    assert!(dead.iter().all(|d| text.contains(&format!("{d}: connection refused"))), "{text}");
}

#[test]
fn lost_get_is_retried_on_the_next_node() {
    let (bad, good) = (Node::start(|_| ScriptedReply::close()), Node::start(|_| ScriptedReply::data("1")));
    let cluster = cluster_of(vec![bad.endpoint(), good.endpoint()], &good);
    for _ in 0..2 {
        assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1");
    }
    assert_eq!((bad.requests().len(), good.requests().len()), (1, 2));
}

#[test]
fn lost_write_is_not_sent_to_the_next_node() {
    let (bad, good) = (Node::start(|_| ScriptedReply::close()), Node::start(|_| ScriptedReply::data("1")));
    let cluster = cluster_of(vec![bad.endpoint(), good.endpoint()], &good);
    assert_unknown(&ask(&cluster, Method::Post).unwrap_err(), "lost");
    assert!(good.requests().is_empty());
    ask(&cluster, Method::Post).unwrap();
    assert_eq!(bad.requests().len(), 1, "the next call starts elsewhere");
}

#[test]
fn all_nodes_share_one_time_limit() {
    let (slow, good) = (Node::start(|_| ScriptedReply::hang()), Node::start(|_| ScriptedReply::data("1")));
    let settings = config::ClusterConfig {
        endpoints: vec![slow.endpoint(), good.endpoint()],
        timeout: SHORT,
        ..good.cluster_settings()
    };
    let cluster = client(settings);
    assert_eq!(ask(&cluster, Method::Get).unwrap_err().kind(), "timeout");
    assert_eq!(ask(&cluster, Method::Get).unwrap().data(), "1", "the next call starts elsewhere");
}

#[test]
fn node_that_closes_every_connection_is_a_connection_error() {
    let node = Node::start_as(Identity::ClosesAtOnce, |_| ScriptedReply::hang());
    assert_eq!(ask(&cluster(&node), Method::Get).unwrap_err().kind(), "lost");
    assert_eq!(ask(&cluster(&node), Method::Post).unwrap_err().kind(), "outcome_unknown");
}

/// Cancels a call that waits for its answer. Returns the error and the time since the cancellation.
fn cancel_waiting_call(node: &Node, method: Method) -> (PveError, Duration) {
    let cluster = client(config::ClusterConfig { timeout: Duration::from_secs(30), ..node.cluster_settings() });
    let cancel = CancelToken::new();
    thread::scope(|s| {
        let call = s.spawn(|| send(&cluster, method, &cancel));
        if node.endpoint().https {
            node.wait_for_connections(1);
        } else {
            node.wait_for_requests(1);
        }
        let start = Instant::now();
        cancel.cancel(CancelReason::ClientGone);
        (call.join().unwrap().unwrap_err(), start.elapsed())
    })
}

#[test]
fn a_cancelled_get_returns_at_once() {
    for reply in
        [ScriptedReply::hang(), ScriptedReply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").then_hang()]
    {
        let node = Node::start(move |_| reply.clone());
        let (error, took) = cancel_waiting_call(&node, Method::Get);
        assert_eq!(error.kind(), "cancelled");
        assert!(took < Duration::from_secs(5), "{took:?}");
        node.wait_for_closed(1);
        assert_eq!(node.requests().len(), 1, "a cancelled call is not retried");
    }
}

#[test]
fn a_cancelled_write_returns_at_once_with_an_unknown_outcome() {
    let (error, took) = cancel_waiting_call(&Node::start(|_| ScriptedReply::hang()), Method::Post);
    assert_unknown(&error, "the call was cancelled");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_call_cancelled_in_the_handshake_sent_nothing() {
    // The handshake hangs: the hook must reach the socket before TLS is up. The time to connect is 5 s.
    let (error, took) =
        cancel_waiting_call(&Node::start_as(Identity::HangsInHandshake, |_| ScriptedReply::hang()), Method::Post);
    assert_eq!(error.kind(), "cancelled");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_call_cancelled_before_it_starts_sends_nothing() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    let cancel = CancelToken::new();
    cancel.cancel(CancelReason::ClientGone);
    assert_eq!(send(&cluster(&node), Method::Post, &cancel).unwrap_err().kind(), "cancelled");
    assert_eq!(node.connections(), 0);
}

#[test]
fn late_cancellation_does_not_close_the_kept_connection() {
    let node = Node::start(|_| ScriptedReply::data("1"));
    let (cluster, cancel) = (cluster(&node), CancelToken::new());
    send(&cluster, Method::Get, &cancel).unwrap();
    cancel.cancel(CancelReason::ClientGone);
    ask(&cluster, Method::Get).unwrap();
    assert_eq!(node.connections(), 1);
}

#[test]
fn excess_calls_wait_and_beyond_the_queue_fail_at_once() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let node = Node::start(move |_| {
        let _ = gate.lock().unwrap().recv();
        ScriptedReply::data("1")
    });
    let limits = Limits { max_calls_per_cluster: 2, ..Limits::default() };
    let cluster = Cluster::new(node.cluster_settings(), &limits).unwrap();
    thread::scope(|s| {
        // Two run, two wait, and the others are rejected. The scheduler decides which.
        let calls: Vec<_> = (0..6).map(|_| s.spawn(|| ask(&cluster, Method::Post).map(drop))).collect();
        while calls.iter().filter(|c| c.is_finished()).count() < 2 {
            thread::yield_now();
        }
        node.wait_for_requests(2);
        assert_eq!(node.requests().len(), 2);
        drop(release);
        let errors: Vec<_> = calls.into_iter().filter_map(|c| c.join().unwrap().err()).collect();
        assert_eq!(errors.len(), 2);
        for error in errors {
            assert!(error.kind() == "busy" && error.to_string().contains("`max_calls_per_cluster`"), "{error}");
        }
    });
    ask(&cluster, Method::Post).unwrap();
}

#[test]
fn hanging_cluster_delays_no_other() {
    let (hung, good) = (Node::start(|_| ScriptedReply::hang()), Node::start(|_| ScriptedReply::data("1")));
    let limits = Limits { max_calls_per_cluster: 1, ..Limits::default() };
    let bad = Cluster::new(hung.cluster_settings(), &limits).unwrap();
    let cancel = CancelToken::new();
    thread::scope(|s| {
        let call = s.spawn(|| send(&bad, Method::Get, &cancel).map(drop));
        hung.wait_for_requests(1);
        assert_eq!(ask(&Cluster::new(good.cluster_settings(), &limits).unwrap(), Method::Get).unwrap().data(), "1");
        cancel.cancel(CancelReason::ClientGone);
        assert!(call.join().unwrap().is_err());
    });
}

#[test]
fn parallel_calls_each_get_their_own_answer() {
    let node = Node::start(|request| ScriptedReply::data(&format!("{:?}", request.target)));
    let cluster = cluster(&node);
    thread::scope(|s| {
        for t in 0..8 {
            let cluster = &cluster;
            s.spawn(move || {
                for i in 0..50 {
                    let path = ApiPath::parse(&format!("/{t}/{i}")).unwrap().0;
                    let answer = cluster.call(Method::Get, &path, &ApiParams::new(), &CancelToken::new()).unwrap();
                    assert_eq!(answer.data(), format!("\"/api2/json/{t}/{i}\""));
                }
            });
        }
    });
    assert!(node.connections() <= 8, "{}", node.connections());
}

#[test]
fn a_request_that_is_not_allowed_any_more_once_it_has_its_place_or_connection_is_not_sent() {
    for identity in [Identity::Plain, Identity::Trusted] {
        for method in [Method::Get, Method::Post] {
            let node = Node::start_as(identity, |_| ScriptedReply::data("1"));
            for (allowed_checks, connections) in [(0, 0), (1, 1)] {
                let checks = AtomicUsize::new(0);
                let check = move || checks.fetch_add(1, Ordering::SeqCst) < allowed_checks;
                let cancel = CancelToken::new().with_send_check(Arc::new(check));
                let error = send(&cluster(&node), method, &cancel.child_token()).unwrap_err();
                assert!(matches!(error, PveError::NotPermitted), "{error:?}");
                node.wait_for_connections(connections);
                assert_eq!((node.connections(), node.requests().len()), (connections, 0), "{identity:?} {method}");
            }
        }
    }
}

#[test]
fn a_request_that_is_not_allowed_any_more_after_its_wait_for_other_calls_is_not_sent() {
    let node = Node::start(|_| ScriptedReply::hang());
    let limits = Limits { max_calls_per_cluster: 1, ..Limits::default() };
    let cluster = Cluster::new(node.cluster_settings(), &limits).unwrap();
    let (first, is_allowed) = (CancelToken::new(), Arc::new(AtomicBool::new(true)));
    thread::scope(|scope| {
        let holder = scope.spawn(|| send(&cluster, Method::Get, &first));
        node.wait_for_requests(1);
        let check = is_allowed.clone();
        let waiting = CancelToken::new().with_send_check(Arc::new(move || check.load(Ordering::SeqCst)));
        let waiter_cluster = &cluster;
        let waiter = scope.spawn(move || send(waiter_cluster, Method::Post, &waiting));
        is_allowed.store(false, Ordering::SeqCst);
        first.cancel(CancelReason::ClientGone);
        assert!(holder.join().unwrap().is_err());
        assert!(matches!(waiter.join().unwrap(), Err(PveError::NotPermitted)));
    });
    assert_eq!(node.requests().len(), 1);
}
