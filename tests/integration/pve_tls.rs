//! The four ways to trust a node's certificate, and the errors if none applies.

use crate::support::node::{Identity, Node, ScriptedReply, closed_endpoint};
use crate::support::raw::eventually;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::base::hint::render_error;
use proxmox_mcp::config::{self, Fingerprint, Limits, TlsVerification};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::{ApiResponse, Cluster};
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn start_node(identity: Identity) -> Node {
    Node::start_as(identity, |_| ScriptedReply::data("1"))
}

fn ask(settings: config::ClusterConfig) -> Result<ApiResponse, PveError> {
    let cluster = Cluster::new(settings, &Limits::default()).unwrap();
    cluster.call(Method::Get, &ApiPath::parse("/version").unwrap().0, &ApiParams::new(), &CancelToken::new())
}

fn ask_with(node: &Node, tls: TlsVerification) -> Result<ApiResponse, PveError> {
    ask(config::ClusterConfig { tls, ..node.cluster_settings() })
}

/// Returns the text of a TLS error. Fails if a request was sent, or if the text lacks the certificate.
fn refusal(node: &Node, result: Result<ApiResponse, PveError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), "tls", "{error}");
    assert!(node.requests().is_empty());
    let text = render_error(&error);
    assert!(text.contains(&format!("\"fingerprint\": \"{}\"", node.fingerprint())), "{text}");
    assert!(text.contains(&node.endpoint().to_string()), "{text}");
    text
}

#[test]
fn certificate_signed_by_the_ca_file_is_trusted_and_the_connection_is_kept() {
    let node = start_node(Identity::Trusted);
    let cluster = Cluster::new(node.cluster_settings(), &Limits::default()).unwrap();
    for _ in 0..3 {
        let path = ApiPath::parse("/version").unwrap().0;
        assert_eq!(cluster.call(Method::Get, &path, &ApiParams::new(), &CancelToken::new()).unwrap().data(), "1");
    }
    assert_eq!(node.connections(), 1);
}

#[test]
fn host_name_is_resolved_and_verified_as_a_name() {
    let node = start_node(Identity::Trusted);
    let mut settings = node.cluster_settings();
    settings.endpoints[0].host = "localhost".into();
    assert_eq!(ask(settings).unwrap().data(), "1");
}

#[test]
fn pinned_certificate_is_trusted_with_any_issuer_dates_and_names() {
    for identity in [Identity::SelfSigned, Identity::Expired, Identity::WrongName] {
        let node = start_node(identity);
        assert_eq!(
            ask_with(&node, TlsVerification::Fingerprints(vec![node.fingerprint()])).unwrap().data(),
            "1",
            "{identity:?}"
        );
    }
}

#[test]
fn without_verification_every_certificate_is_accepted() {
    for identity in [Identity::Trusted, Identity::SelfSigned, Identity::Expired, Identity::WrongName] {
        assert_eq!(ask_with(&start_node(identity), TlsVerification::Unverified).unwrap().data(), "1", "{identity:?}");
    }
}

#[test]
fn certificate_without_a_public_root_is_rejected_with_hints() {
    let node = start_node(Identity::Trusted);
    let text = refusal(&node, ask_with(&node, TlsVerification::PublicRoots));
    assert!(text.contains("not signed by an authority") && text.contains("`ca_file`"), "{text}");
    assert!(text.contains("\"verify_ssl\": false"), "{text}");
}

#[test]
fn self_signed_certificate_is_rejected_with_a_ca_file() {
    let node = start_node(Identity::SelfSigned);
    assert!(refusal(&node, ask(node.cluster_settings())).contains("not signed by an authority"));
}

#[test]
fn expired_certificate_is_reported_as_expired() {
    let node = start_node(Identity::Expired);
    let text = render_error(&ask(node.cluster_settings()).unwrap_err());
    assert!(text.contains("renew it on the node") && !text.contains("fingerprint"), "{text}");
}

#[test]
fn certificate_not_yet_valid_hints_at_the_clocks() {
    let node = start_node(Identity::NotYetValid);
    let text = render_error(&ask(node.cluster_settings()).unwrap_err());
    assert!(text.contains("clocks") && !text.contains("fingerprint"), "{text}");
}

#[test]
fn certificate_for_another_name_shows_its_names() {
    let node = start_node(Identity::WrongName);
    let text = refusal(&node, ask(node.cluster_settings()));
    assert!(text.contains("is for another name (pve9.example, 192.0.2.9)"), "{text}");
    let mut settings = node.cluster_settings();
    settings.endpoints[0].host = "localhost".into();
    assert!(ask(settings).unwrap_err().to_string().contains("is for another name"));
}

#[test]
fn unpinned_certificate_is_rejected_with_both_fingerprints() {
    let node = start_node(Identity::Trusted);
    let pin = Fingerprint([0xAB; 32]);
    let text = refusal(&node, ask_with(&node, TlsVerification::Fingerprints(vec![pin])));
    assert!(text.contains(&format!("(expected {pin})")) && text.contains("in between"), "{text}");
    assert!(!text.contains("verify_ssl"), "a changed certificate is no reason to stop checking: {text}");
}

#[test]
fn plain_http_port_is_reported_as_not_speaking_tls() {
    let node = start_node(Identity::PlainOnTlsPort);
    let error = ask_with(&node, TlsVerification::Unverified).unwrap_err();
    assert_eq!(error.kind(), "tls");
    assert!(error.to_string().contains("does not speak TLS") && !error.to_string().contains("fingerprint"), "{error}");
}

#[test]
fn interrupted_handshake_counts_as_no_connection() {
    let node = start_node(Identity::ClosesInHandshake);
    let error = ask(node.cluster_settings()).unwrap_err();
    assert!(error.to_string().contains("closed the connection during the TLS handshake"), "{error}");
    assert_eq!(error.kind(), "connect");
}

#[test]
fn hanging_handshake_ends_with_the_time_limit() {
    let node = start_node(Identity::HangsInHandshake);
    let start = Instant::now();
    let error =
        ask(config::ClusterConfig { timeout: Duration::from_millis(200), ..node.cluster_settings() }).unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn any_of_several_pinned_certificates_is_trusted() {
    let nodes = [start_node(Identity::SelfSigned), start_node(Identity::SelfSigned)];
    let tls = TlsVerification::Fingerprints(nodes.iter().map(Node::fingerprint).collect());
    for node in &nodes {
        assert_eq!(ask_with(node, tls.clone()).unwrap().data(), "1");
    }
    let other = start_node(Identity::SelfSigned);
    let error = ask_with(&other, tls).unwrap_err();
    let text = render_error(&error);
    assert!(error.kind() == "tls" && other.requests().is_empty(), "{text}");
    assert!(text.contains("is not one of the 2 pinned ones") && text.contains("list \"fingerprint\""), "{text}");
    assert!(text.contains(&format!("seen: {}", other.fingerprint())) && !text.contains("verify_ssl"), "{text}");
}

#[test]
fn untrusted_node_is_sent_nothing_and_skipped() {
    let (suspect, other) = (start_node(Identity::SelfSigned), start_node(Identity::Trusted));
    let mut settings = suspect.cluster_settings();
    settings.endpoints = vec![closed_endpoint(), suspect.endpoint(), other.endpoint()];
    let cluster = Cluster::new(settings, &Limits::default()).unwrap();
    for method in [Method::Post, Method::Get] {
        let path = ApiPath::parse("/version").unwrap().0;
        assert_eq!(cluster.call(method, &path, &ApiParams::new(), &CancelToken::new()).unwrap().data(), "1");
    }
    assert!(suspect.requests().is_empty());
    assert_eq!((suspect.connections(), other.requests().len()), (1, 2), "the next call starts at the trusted one");
}

#[test]
fn if_no_node_is_trusted_each_is_named_with_its_certificate() {
    let (pinned, other, dead) = (start_node(Identity::Expired), start_node(Identity::SelfSigned), closed_endpoint());
    let mut settings = pinned.cluster_settings();
    settings.endpoints = vec![pinned.endpoint(), dead.clone(), other.endpoint()];
    let error = ask(settings.clone()).unwrap_err();
    let text = render_error(&error);
    assert!(text.contains(&format!("the certificate of {} has expired", pinned.endpoint())), "{text}");
    assert!(text.contains(&format!("{dead}: connection refused")), "{text}");
    assert!(text.contains(&format!("the certificate of {} is not signed by an authority", other.endpoint())), "{text}");
    assert!(text.contains(&format!("seen: {}", other.fingerprint())), "{text}");
    assert!(pinned.requests().is_empty() && other.requests().is_empty());
    assert!(text.contains("\"fingerprint\"") && error.detail().is_some(), "{text}");

    // One fingerprint for several nodes, each with its own certificate.
    settings.tls = TlsVerification::Fingerprints(vec![Fingerprint([1; 32])]);
    let text = ask(settings).unwrap_err().to_string();
    assert!([&pinned, &other].iter().all(|n| text.contains(&n.fingerprint().to_string())), "{text}");
    assert!(!text.contains("verify_ssl"), "{text}");
}

#[test]
fn renewed_certificate_fails_no_call() {
    const CALLERS: usize = 4;
    let node = start_node(Identity::Trusted);
    let cluster = Cluster::new(node.cluster_settings(), &Limits::default()).unwrap();
    let path = ApiPath::parse("/version").unwrap().0;
    let call = |method| cluster.call(method, &path, &ApiParams::new(), &CancelToken::new());
    let (answered, over): ([AtomicUsize; CALLERS], _) = (Default::default(), AtomicBool::new(false));
    let interrupted_twice = AtomicUsize::new(0);
    thread::scope(|scope| {
        for answered in &answered {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    match call(Method::Get) {
                        Ok(answer) => assert_eq!(answer.data(), "1"),
                        // The node closes its connections one after the other, and the retry may have had the next one.
                        Err(_) => assert!(interrupted_twice.fetch_add(1, Ordering::SeqCst) < 1),
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _ends = Ends(&over);
        for restarts in [false, true, false, true, true] {
            node.renew();
            if restarts {
                node.hang_up();
            }
            // An interrupted call is retried once. The retry must not be interrupted too.
            for answered in &answered {
                let before = answered.load(Ordering::SeqCst);
                eventually("every client is answered again", || answered.load(Ordering::SeqCst) >= before + 2);
            }
        }
    });
    assert!(node.connections() > CALLERS, "the restarts were noticed");
    node.renew();
    node.hang_up();
    // A request that is sent only once is not sent on a closed connection.
    assert_eq!(call(Method::Post).unwrap().data(), "1");
}

/// Sets a flag when dropped, also if the test fails, for the threads that wait for it.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
