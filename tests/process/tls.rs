//! HTTP over TLS: clients, attackers, and certificates that are renewed.

use crate::support::process::{ServerProcess, run};
use crate::support::raw::{Client, LONG, Sse, eventually, ping};
use crate::support::rpc::{ACCEPT, call, call_with_progress, modern, modern_headers, text};
use crate::support::server::{TestServer, limits, patient_limits};
use crate::support::test_tools::TestTools;
use crate::support::tls::{Files, Pair, trusting_any_certificate};
use proxmox_mcp::config::{Client as Caller, Limits, TokenHash};
use rustls::client::Resumption;
use rustls::version::TLS12;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, Stream};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Starts a TLS server. Returns it with the handle of its tools and the files of its certificate.
fn start_with(limits: Limits) -> (TestServer, TestTools, Files) {
    let (test_tools, files) = (TestTools::new(), Files::of(&Pair::new()));
    (TestServer::builder().limits(limits).mcp(test_tools.server()).tls(files.identity()).start(), test_tools, files)
}

fn start() -> (TestServer, TestTools, Files) {
    start_with(patient_limits())
}

/// Returns the certificate that a new client receives.
fn presented_certificate(server: &TestServer) -> CertificateDer<'static> {
    let mut client = server.connect();
    assert_eq!(client.ask("GET /healthz", "").status, 200);
    client.tls.expect("TLS").peer_certificates().expect("a chain")[0].clone()
}

/// Returns a client's configuration with a change.
fn config(change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
    let mut config = Arc::unwrap_or_clone(trusting_any_certificate());
    change(&mut config);
    Arc::new(config)
}

// ---- clients

#[test]
fn consecutive_requests_are_answered_on_a_kept_connection() {
    let (server, ..) = start();
    let mut client = server.connect();
    for n in [1, 100, 5000, 90_000] {
        let words = "i".repeat(n);
        let answer = client.post_with("/mcp", ACCEPT, &call(1, "echo", json!({"text": words}))).json();
        assert!(text(&answer) == words, "{n}");
    }
    assert_eq!(client.ask("GET /nowhere", "").status, 404);
    let answer = client.post_with("/mcp", ACCEPT, &call(1, "echo", json!({"text": "hello"}))).json();
    assert_eq!(text(&answer), "hello");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, ..) = start();
    let mut client = server.connect();
    for n in 1..=5 {
        client.send_post_with("/mcp", ACCEPT, &ping(n));
    }
    for n in 1..=5 {
        let reply = client.reply().expect("an answer");
        assert!(reply.body.contains(&format!("\"{}\"", "i".repeat(n))), "{}", reply.body);
    }
}

#[test]
fn an_answer_to_head_has_no_body() {
    let (server, ..) = start();
    let mut client = server.connect();
    client.send("HEAD /sse HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = client.rest();
    assert!(text.starts_with("HTTP/1.1 405 ") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn the_end_of_a_connection_is_announced() {
    let (server, ..) = start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET /healthz", "Connection: close\r\n").status, 200);
    let mut tls = client.tls.take().expect("TLS");
    // Without the announcement this is an error: an attacker may have truncated the answer.
    assert_eq!(Stream::new(&mut tls, &mut client.stream).read(&mut [0]).expect("an announced end"), 0);
}

#[test]
fn tls_1_2_and_1_3_are_supported_and_http_1_1_is_negotiated() {
    let (server, ..) = start();
    let http = |config: &mut ClientConfig| config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let old = {
        let provider = trusting_any_certificate().crypto_provider().clone();
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS12]);
        let roots = rustls::RootCertStore::empty();
        let mut old = builder.expect("a version").with_root_certificates(roots).with_no_client_auth();
        old.dangerous().set_certificate_verifier(crate::support::tls::any_certificate());
        Arc::new(old)
    };
    for (config, version) in [(config(http), ProtocolVersion::TLSv1_3), (old, ProtocolVersion::TLSv1_2)] {
        let asks_for_http = !config.alpn_protocols.is_empty();
        let mut client = server.connect_without_tls().over(config);
        assert_eq!(client.ask("GET /healthz", "").status, 200);
        let tls = client.tls.expect("TLS");
        assert_eq!(tls.protocol_version(), Some(version));
        assert_eq!(tls.alpn_protocol(), asks_for_http.then_some(&b"http/1.1"[..]));
    }
    let mut other = server.connect_without_tls().over(config(|config| config.alpn_protocols = vec![b"h2".to_vec()]));
    other.send("x");
    assert!(other.reply().is_none(), "nothing but HTTP/1.1 is spoken here");
}

#[test]
fn returning_client_resumes_its_tls_session() {
    let (server, ..) = start();
    let config = config(|config| config.resumption = Resumption::in_memory_sessions(8));
    let kind = || {
        let mut client = server.connect_without_tls().over(config.clone());
        assert_eq!(client.ask("GET /healthz", "").status, 200);
        client.tls.expect("TLS").handshake_kind().expect("shaken")
    };
    assert_eq!((kind(), kind()), (HandshakeKind::Full, HandshakeKind::Resumed));
}

#[test]
fn events_are_written_while_the_connection_waits_for_its_client() {
    let (server, ..) = start();
    let mut sse = server.sse();
    sse.comment();
    thread::scope(|scope| {
        for poster in 0..4 {
            let (server, path) = (&server, sse.path.clone());
            scope.spawn(move || {
                let mut client = server.connect();
                for n in 0..25 {
                    let message = call(poster * 100 + n, "echo", json!({"text": "x".repeat(7 * n as usize)}));
                    // A session may have 16 calls in flight. Excess calls are answered too.
                    assert_eq!(client.post(&path, &message).status, 202);
                }
            });
        }
        let ids: BTreeSet<_> = (0..100).map(|_| sse.json()["id"].as_i64().expect("an id")).collect();
        assert_eq!(ids.len(), 100);
    });
    sse.comment();
}

#[test]
fn a_reply_may_become_a_stream() {
    let (server, ..) = start();
    let mut client = server.connect();
    client.send_post_with("/mcp", ACCEPT, &call_with_progress(1, "steps", json!({}), "p"));
    let text = client.rest();
    assert!(text.contains("text/event-stream") && text.contains("notifications/progress"), "{text}");
    assert!(text.trim_end().ends_with('}'), "{text}");
}

#[test]
fn session_of_one_client_is_unknown_to_another() {
    let caller = |name: &str| Caller {
        name: name.into(),
        token_sha256: TokenHash::from_token(format!("pmcp_{name}").as_bytes()),
        ..Caller::anonymous()
    };
    let bearer = |name: &str| format!("Authorization: Bearer pmcp_{name}\r\n");
    let (test_tools, files) = (TestTools::new(), Files::of(&Pair::new()));
    let clients = vec![caller("ada"), caller("bob")];
    let server = TestServer::builder().clients(clients).mcp(test_tools.server()).tls(files.identity()).start();
    let mut sse = Sse::open_with(server.connect(), &bearer("ada"));
    assert_eq!(server.connect().post_with(&sse.path, &bearer("bob"), &ping(1)).status, 404);
    assert_eq!(server.connect().post(&sse.path, &ping(1)).status, 401);
    assert_eq!(server.connect().post_with(&sse.path, &bearer("ada"), &ping(2)).status, 202);
    assert_eq!(sse.json()["id"], "ii");
}

#[test]
fn a_stop_ends_connections_and_streams_when_calls_are_done() {
    let (mut server, test_tools, _files) = start();
    let (mut idle, mut sse, mut busy) = (server.connect(), server.sse(), server.connect());
    assert_eq!(idle.ask("GET /healthz", "").status, 200);
    busy.send_post_with("/mcp", ACCEPT, &call(1, "hold", json!({"name": "h"})));
    test_tools.wait_for("h");
    server.begin_stop();
    idle.assert_ends();
    test_tools.release("h");
    assert_eq!(busy.reply().expect("the answer of a call in flight").status, 200);
    assert!(sse.event().is_none());
    server.wait_for_stop();
}

// ---- attacks

#[test]
fn plain_http_is_answered_with_a_hint_to_https() {
    let (server, ..) = start();
    for request in ["GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /mcp HTTP/1.1\r\n", "G"] {
        let mut client = server.connect_without_tls();
        client.send(request);
        let reply = client.reply().expect("an answer");
        assert_eq!(reply.status, 400, "{request}");
        assert!(reply.body.contains("https://") && reply.has_header("Connection: close"), "{}", reply.head);
        client.assert_ends();
    }
    server.assert_answers();
}

#[test]
fn invalid_handshake_ends_the_connection_with_an_alert() {
    let (server, ..) = start();
    for garbage in [
        &[0; 64][..],
        &[0xff; 5000],
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\x00\x02",
        b"\x15\x03\x03\x00\x02\x02\x50",
    ] {
        let mut client = server.connect_without_tls();
        client.send(garbage);
        client.stream.shutdown(Shutdown::Write).expect("to end");
        let mut received = Vec::new();
        let _ = client.stream.read_to_end(&mut received);
        assert!(received.is_empty() || received.starts_with(&[0x15, 3]), "{received:x?}");
    }
    server.assert_answers();
}

#[test]
fn stalling_or_dripping_handshake_is_cut_by_its_total_deadline() {
    let (server, ..) = start_with(limits());
    for start in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut client = server.connect_without_tls();
        client.send(start);
        client.assert_ends();
    }
    let mut client = server.connect_without_tls();
    client.send(b"\x16\x03\x01\x40\x00");
    client.stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    eventually("the connection is cut", || {
        client.send([1]);
        matches!(client.stream.read(&mut [0; 64]), Ok(0)) || client.stream.write_all(&[0]).is_err()
    });
    server.assert_answers();
}

#[test]
fn silence_after_a_partial_record_is_cut_like_a_partial_head() {
    let (server, ..) = start_with(Limits { idle_timeout: Duration::from_millis(300), ..limits() });
    for begun in ["", "GET /hea"] {
        let mut client = server.connect();
        assert_eq!(client.ask("GET /healthz", "").status, 200);
        client.send(begun);
        let tls = client.tls.as_mut().expect("TLS");
        tls.writer().write_all(b"GET /healthz HTTP/1.1\r\n").expect("room");
        let mut record = Vec::new();
        tls.write_tls(&mut record).expect("a record");
        client.stream.write_all(&record[..record.len() / 2]).expect("to send");
        client.assert_ends();
    }
    server.assert_answers();
}

#[test]
fn modified_record_ends_the_connection() {
    let (server, ..) = start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET /healthz", "").status, 200);
    client.stream.write_all(b"\x17\x03\x03\x00\x20thirty-two bytes, never encrypted").expect("to send");
    client.assert_ends();
    server.assert_answers();
}

#[test]
fn client_that_stops_reading_loses_its_session_and_delays_no_other() {
    let (server, ..) = start_with(Limits { body_timeout: LONG, ..limits() });
    let (stuck, mut other) = (server.sse(), server.sse());
    let mut client = server.connect();
    eventually("the session is ended", || client.post(&stuck.path, &call(1, "large", json!({}))).status == 404);
    assert_eq!(client.post(&other.path, &ping(1)).status, 202);
    assert_eq!(other.json()["id"], "i");
    drop(stuck);
}

#[test]
fn client_that_closes_without_close_notify_is_detected_at_once() {
    let (server, test_tools, _files) = start();
    let mut sse = server.sse();
    let mut client = server.connect();
    assert_eq!(client.post(&sse.path, &call(1, "hold", json!({"name": "h"}))).status, 202);
    test_tools.wait_for("h");
    let path = sse.path.clone();
    sse.client.tls = None;
    drop(sse);
    test_tools.wait_for_cancel("h");
    eventually("the session has ended", || client.post(&path, &ping(1)).status == 404);

    let message = modern(1, "tools/call", json!({"name": "hold", "arguments": {"name": "m"}}));
    let mut lost = server.connect();
    lost.send_post_with("/mcp", &modern_headers(&message), &message);
    test_tools.wait_for("m");
    drop(lost);
    test_tools.wait_for_cancel("m");
}

#[test]
fn request_of_a_client_that_half_closes_is_still_answered() {
    let (server, ..) = start();
    let mut client = server.connect();
    client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).expect("to end");
    assert_eq!(client.reply().expect("an answer").status, 200);
}

#[test]
fn a_flood_of_new_keys_or_of_bytes_ends_a_stream() {
    let (server, ..) = start();
    for new_keys in [true, false] {
        let mut sse = server.sse();
        let mut tls = sse.client.tls.take().expect("TLS");
        eventually("the stream ends", || {
            if new_keys {
                tls.refresh_traffic_keys().expect("new keys");
            } else {
                tls.writer().write_all(&[b'x'; 1000]).expect("room");
            }
            let mut sent = Ok(0);
            while sent.is_ok() && tls.wants_write() {
                sent = tls.write_tls(&mut sse.client.stream);
            }
            sent.is_err()
        });
        server.assert_answers();
    }
}

#[test]
fn connection_over_the_limit_is_answered_over_tls() {
    let (server, ..) = start_with(Limits { max_connections: 1, ..patient_limits() });
    let mut first = server.connect();
    assert_eq!(first.ask("POST /mcp", "").status, 415);
    assert_eq!(server.connect().ask("POST /mcp", "").status, 503);
    assert_eq!(server.connect().ask("GET /healthz", "").status, 200);
}

// ---- renewal

#[test]
fn renewed_certificate_is_used_for_new_clients_and_others_continue() {
    let (old, new) = (Pair::new(), Pair::new());
    let (files, test_tools) = (Files::of(&old), TestTools::new());
    let server = TestServer::builder().mcp(test_tools.server()).tls(files.identity()).start();
    let (mut kept, mut sse) = (server.connect(), server.sse());
    assert_eq!(kept.ask("GET /healthz", "").status, 200);
    assert_eq!(&presented_certificate(&server), old.der());
    files.hold(&new.cert(), &new.key());
    eventually("the new certificate", || &presented_certificate(&server) == new.der());
    assert_eq!(kept.post(&sse.path, &ping(3)).status, 202);
    assert_eq!(sse.json()["id"], "iii");
}

#[test]
fn invalid_certificate_files_keep_the_current_pair() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = Files::of(&old);
    let (server, log) = start_program(&files);
    let healthy = || run(&["health", "--listen", &server]).status.success();
    for (cert, key) in [("", ""), (&*new.cert(), &*old.key()), (&new.cert()[..300], &new.key()), (&new.cert(), "key")] {
        files.hold(cert, key);
        eventually("a log line about the bad files", || {
            assert!(healthy());
            log.stderr
                .try_iter()
                .any(|line| line.contains("cannot load the renewed TLS certificate, keeping the current one: "))
        });
    }
    files.hold(&new.cert(), &new.key());
    eventually("a log line about the good files", || {
        assert!(healthy());
        log.stderr.try_iter().any(|line| line.contains("was renewed"))
    });
}

// ---- the program

/// Starts the program over TLS. Returns it with its address.
fn start_program(files: &Files) -> (String, ServerProcess) {
    let (cert, key) = (files.cert(), files.key());
    let flags = ["--demo", "--listen", "127.0.0.1:0", "--tls-cert", cert.to_str().unwrap(), "--tls-key"];
    let server = ServerProcess::start(&[&flags[..], &[key.to_str().unwrap()]].concat());
    let line = server.stdout.recv_timeout(LONG).expect("a first line");
    let address = line.rsplit_once(" listening on https://").expect("an address").1.to_owned();
    (address, server)
}

fn expect_failure(output: Output) -> String {
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[test]
fn banner_says_https_and_health_works_over_tls() {
    let files = Files::of(&Pair::new());
    let (address, server) = start_program(&files);
    assert!(run(&["health", "--listen", &address]).status.success());
    let mut client = Client::new(TcpStream::connect(&address).expect("connect")).over(trusting_any_certificate());
    let listed: Value = client.post_with("/mcp", ACCEPT, &call(1, "list_clusters", json!({}))).json();
    assert_eq!(listed["id"], 1);
    server.signal(rustix::process::Signal::TERM);
    let printed: Vec<_> = server.stdout.iter().collect();
    assert!(printed.iter().any(|line| line.ends_with(&format!("https://{address}/mcp"))), "{printed:?}");
    assert!(!printed.iter().any(|line| line.contains("http://") && line.contains("/mcp")), "{printed:?}");
    let token = run(&["token", "--tls-cert", "c", "--tls-key", "k"]);
    assert!(String::from_utf8(token.stdout).expect("UTF-8").contains("https://127.0.0.1:8000/mcp"));
}

#[test]
fn metrics_port_speaks_tls() {
    let files = Files::of(&Pair::new());
    let (cert, key) = (files.cert(), files.key());
    let ports = ["--demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let pair = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = ServerProcess::start(&[&ports[..], &pair].concat());
    let address = loop {
        let line = server.stdout.recv_timeout(LONG).expect("a line about the metrics");
        if let Some(rest) = line.strip_prefix("Metrics: https://") {
            break rest.strip_suffix("/metrics").expect("their path").to_owned();
        }
    };
    assert_eq!(Client::to(&address).over(trusting_any_certificate()).ask("GET /metrics", "").status, 200);
    assert_eq!(Client::to(&address).ask("GET /metrics", "").status, 400, "plain HTTP");
}

#[test]
fn program_does_not_start_with_an_invalid_certificate_pair() {
    let (pair, other) = (Pair::new(), Pair::new());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (cert, key) in [
        (&*pair.cert(), &*other.key()),
        ("", &pair.key()),
        (&pair.key(), &pair.key()),
        (&pair.cert()[..100], &pair.key()),
        (junk, &pair.key()),
        (&pair.cert(), ""),
        (&pair.cert(), &pair.cert()),
        (&pair.cert(), encrypted),
        (&pair.cert(), &encrypted.replace("ENCRYPTED ", "")),
    ] {
        let files = Files::of(&pair);
        files.hold(cert, key);
        let (cert, key) = (files.cert(), files.key());
        for task in [None, Some("check")] {
            let flags = ["--demo", "--listen", "127.0.0.1:0", "--tls-cert", cert.to_str().unwrap(), "--tls-key"];
            let text = expect_failure(run(&[task.as_slice(), &flags, &[key.to_str().unwrap()]].concat()));
            assert!(!text.contains(".pem"), "{text}");
        }
    }
}

#[test]
fn key_readable_by_others_is_a_warning_and_by_the_group_is_not() {
    let files = Files::of(&Pair::new());
    for (mode, warned) in [(0o640, false), (0o644, true)] {
        fs::set_permissions(files.key(), fs::Permissions::from_mode(mode)).expect("to change the mode");
        let (_, mut server) = start_program(&files);
        server.signal(rustix::process::Signal::TERM);
        server.wait_for_exit();
        assert_eq!(server.stderr.iter().any(|line| line.contains("other users can read")), warned, "{mode:o}");
    }
}

#[test]
fn two_hundred_sessions_leak_no_descriptor() {
    let files = Files::of(&Pair::new());
    let (address, server) = start_program(&files);
    let open = || fs::read_dir(format!("/proc/{}/fd", server.child.id())).expect("its descriptors").count();
    let connect = || Client::new(TcpStream::connect(&address).expect("connect")).over(trusting_any_certificate());
    let before = open();
    let sessions: Vec<_> = (0..200).map(|_| Sse::open(connect())).collect();
    assert!(open() >= 200);
    drop(sessions);
    eventually("all descriptors are free again", || open() <= before);
}
