//! Attacks on the HTTP server over raw sockets. After each attack, a valid request must be answered.

use crate::support::own_process::in_own_process;
use crate::support::raw::{Client, LONG, Reply, eventually, ping};
use crate::support::rpc::{ACCEPT, call};
use crate::support::server::{TestServer, caller, limits, patient_limits};
use crate::support::test_tools::start_with;
use crate::support::tls::trusting_any_certificate;
use proxmox_mcp::config::Limits;
use proxmox_mcp::http::HealthSources;
use serde_json::json;
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lock of the tests that open thousands of sockets.
static ALONE: Mutex<()> = Mutex::new(());

fn request(headers: &str, body: &str) -> String {
    format!("POST /messages HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

/// The size of a body of which one fits into the budget of these tests, and two don't.
const LARGE_BODY: usize = 700 << 10;

fn start_with_small_budget() -> TestServer {
    TestServer::start(Limits { max_buffered_bytes: 1 << 20, body_timeout: LONG, ..limits() })
}

fn large_head() -> String {
    request(&format!("Content-Type: application/json\r\nContent-Length: {LARGE_BODY}\r\n"), "")
}

/// Posts a large body as a whole.
fn post_large(server: &TestServer) -> Option<Reply> {
    let mut client = server.connect();
    client.send(large_head() + &" ".repeat(LARGE_BODY));
    client.reply()
}

#[test]
fn incomplete_large_bodies_share_one_budget() {
    let server = start_with_small_budget();
    let mut first = server.connect();
    first.send(large_head() + &" ".repeat(LARGE_BODY - 1));
    eventually("another one is refused", || {
        post_large(&server).is_some_and(|reply| reply.status == 503 && reply.has_header("Retry-After: 5"))
    });
    server.assert_answers();
    drop(first);
    eventually("the first one's share is free again", || post_large(&server).is_some_and(|reply| reply.status == 400));
}

#[test]
fn announced_bodies_hold_no_memory_before_they_arrive() {
    let server = start_with_small_budget();
    let begun: Vec<Client> = (0..32)
        .map(|n| {
            let chunked = request("Transfer-Encoding: chunked\r\n", "10\r\n0123456789");
            let mut client = server.connect();
            client.send(if n % 2 == 0 { chunked } else { large_head() + "{" });
            client
        })
        .collect();
    assert_eq!(post_large(&server).map(|reply| reply.status), Some(400));
    drop(begun);
}

#[test]
fn huge_content_length_is_rejected_before_the_body_is_read() {
    let server = TestServer::start(limits());
    for length in ["1000000000000", "99999999999999999999999999", "4194305"] {
        let mut client = server.connect();
        client.send(request(&format!("Content-Length: {length}\r\n"), "xx"));
        let reply = client.reply().unwrap();
        assert_eq!(reply.status, 413, "{length}");
        assert!(reply.has_header("Connection: close"));
        client.assert_ends();
    }
    server.assert_answers();
}

#[test]
fn unsupported_http_versions_leak_no_connection() {
    // With a low limit on connections, a single leaked one makes the test fail.
    let server = TestServer::start(Limits { max_connections: 8, ..limits() });
    for _ in 0..300 {
        eventually("a 505", || server.status_of("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n") == 505);
    }
    eventually("an answer", || server.status_of("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200);
}

#[test]
fn burst_of_64_open_connections_is_answered() {
    let server = TestServer::start(limits());
    let mut clients: Vec<_> = (0..64).map(|_| server.connect()).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.reply().unwrap().body, "ok", "round {round}");
        }
    }
    server.assert_answers();
}

#[test]
fn server_survives_three_thousand_reset_requests() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = TestServer::start(limits());
    for _ in 0..3000 {
        let mut client = server.connect();
        SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    server.assert_answers();
}

/// Returns the resident memory of this process, in KiB.
fn resident_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn pipelining_client_that_does_not_read_fills_only_its_own_socket() {
    if !in_own_process(pipelining_client_that_does_not_read_fills_only_its_own_socket) {
        return;
    }
    let server = TestServer::start(limits());
    let mut client = server.connect();
    let before = resident_memory();
    let many = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    // It ends when the server closes, because the client did not read the answers within the write timeout.
    let begun = Instant::now();
    while client.stream.write_all(many.as_bytes()).is_ok() {
        assert!(begun.elapsed() < LONG, "the server still reads requests of a client that reads no answer");
    }
    assert!(resident_memory() < before + (200 << 10), "{before} KiB, then {} KiB", resident_memory());
    server.assert_answers();
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let server = TestServer::start(limits());
    let mut client = server.connect();
    let text = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(text.repeat(100));
    for _ in 0..100 {
        assert_eq!(client.reply().unwrap().status, 200);
        assert_eq!(client.reply().unwrap().status, 404);
    }
}

#[test]
fn endless_request_line_is_cut() {
    let server = TestServer::start(limits());
    let mut client = server.connect();
    client.send("GET /");
    let mut sent = 0;
    while sent < 64 << 20 && client.stream.write_all(&[b'a'; 4096]).is_ok() {
        sent += 4096;
    }
    assert!(sent < 64 << 20, "everything was accepted");
    server.assert_answers();
    assert_eq!(server.status_of(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(16 << 10))), 431);
    assert_eq!(server.status_of(&format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(16 << 10))), 431);
    let headers = (0..65).map(|n| format!("A{n}: b\r\n")).collect::<String>();
    assert_eq!(server.status_of(&request(&headers, "")), 431);
}

#[test]
fn thousand_partial_request_lines_are_cut_and_free_their_threads() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = TestServer::start(Limits { max_connections: 1000, ..limits() });
    let mut clients: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /heal");
    }
    for client in &mut clients {
        // 408, or 503 for a connection made before the first ones were cut. Some only see the end of the connection.
        if let Some(reply) = client.reply() {
            assert!(matches!(reply.status, 408 | 503), "{}", reply.head);
        }
        client.assert_ends();
    }
    // Each ended thread frees its permit: 1,000 connections are available again.
    let open = std::cell::RefCell::new(Vec::new());
    for _ in 0..1000 {
        eventually("a connection", || {
            let mut client = server.connect();
            client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answered = client.reply().is_some_and(|reply| reply.status == 200);
            open.borrow_mut().push(client);
            answered
        });
    }
}

#[test]
fn dripping_head_or_body_is_cut_by_its_total_deadline() {
    let server = TestServer::start(limits());
    for start in ["GET /", "POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n"] {
        let mut client = server.connect();
        client.send(start);
        client.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let begun = Instant::now();
        loop {
            client.send("a");
            // Each byte arrives long before the timeout of a single read.
            match std::io::Read::read(&mut client.stream, &mut [0; 12]) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => break,
            }
            assert!(begun.elapsed() < LONG, "never cut");
        }
        assert!(begun.elapsed() >= Duration::from_millis(400), "cut too early");
    }
    server.assert_answers();
}

#[test]
fn missing_body_is_408() {
    let server = TestServer::start(limits());
    assert_eq!(server.status_of(&request("Content-Length: 5\r\n", "xx")), 408);
    assert_eq!(server.status_of(&request("Transfer-Encoding: chunked\r\n", "5\r\nxx")), 408);
}

#[test]
fn silent_connection_is_closed() {
    let server = TestServer::start(Limits { idle_timeout: Duration::from_millis(50), ..limits() });
    let mut silent = server.connect();
    silent.assert_ends();
    let mut idle = server.connect();
    assert_eq!(idle.ask("GET /healthz", "").status, 200);
    idle.assert_ends();
    server.assert_answers();
}

#[test]
fn clients_that_do_not_read_a_large_answer_delay_no_other_client() {
    let (server, _tools) = start_with(Limits { body_timeout: LONG, ..limits() });
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut client = server.connect();
        // Each is answered with megabytes.
        for id in 0..8 {
            client.send_post_with("/mcp", ACCEPT, &call(id, "large", json!({})));
        }
        slow.push(client);
        server.assert_answers();
    }
    // The answers stay unread: the server must close the connections, which a failing write shows.
    for client in &mut slow {
        eventually("the connection is cut", || client.stream.write_all(b"x").is_err());
    }
    server.assert_answers();
}

#[test]
fn ambiguous_requests_are_rejected() {
    let server = TestServer::start(limits());
    for (headers, status) in [
        ("Host: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n", 400),
        ("Host: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n", 400),
        ("Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", 400),
        ("Host: localhost\r\nContent-Length: 0x1a\r\n", 400),
        ("Host: localhost\r\nContent-Length: +3\r\n", 400),
        ("Host: localhost\r\nContent-Length: 2\r\n folded\r\n", 400),
        ("Host: localhost\nContent-Length: 2\r\n", 400),
        ("Content-Length: 2\r\n", 400),
        ("Host: localhost\r\nHost: localhost\r\nContent-Length: 2\r\n", 400),
        ("Host: localhost\r\nTransfer-Encoding: gzip\r\n", 501),
        ("Host: localhost\r\nTransfer-Encoding: xchunked\r\n", 501),
    ] {
        let mut client = server.connect();
        // A server that parsed the first request differently would see a second one here. It must not be answered.
        client.send(format!(
            "POST /messages HTTP/1.1\r\n{headers}\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let reply = client.reply().unwrap();
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(client.reply().is_none(), "{headers:?} smuggles a request");
    }
    server.assert_answers();
}

#[test]
fn the_target_is_a_path_and_the_version_1_0_or_1_1() {
    let server = TestServer::start(limits());
    for (line, status) in [
        ("GET http://localhost/healthz HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("CONNECT localhost:80 HTTP/1.1", 400),
        ("GET /healthz", 400),
        ("GET /healthz HTTP/1.2", 505),
        ("GET /healthz HTTP/1.0", 200),
        ("GET /healthz?x=y HTTP/1.1", 200),
    ] {
        assert_eq!(server.status_of(&format!("{line}\r\nHost: localhost\r\n\r\n")), status, "{line}");
    }
}

#[test]
fn large_answer_on_a_kept_connection_is_not_delayed() {
    let (server, _tools) = start_with(limits());
    let mut client = server.connect();
    let begun = Instant::now();
    for id in 0..100 {
        let message = call(id, "echo", json!({"text": "x".repeat(3000)}));
        let reply = client.post_with("/mcp", ACCEPT, &message);
        assert!(reply.status == 200 && reply.body.len() > 3000);
    }
    // Two writes, or Nagle's algorithm, would wait 40 ms for an acknowledgement each time.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Opens connections that have shown their client and keep their places.
fn occupy(server: &TestServer, count: usize) -> Vec<Client> {
    let mut open: Vec<_> = (0..count).map(|_| server.connect()).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.ask("POST /mcp", "").status, 415));
    open
}

#[test]
fn too_many_connections_get_503() {
    let server = TestServer::start(Limits { max_connections: 4, ..limits() });
    let mut open = occupy(&server, 4);
    for _ in 0..40 {
        let reply = server.connect().ask("POST /mcp", "");
        assert_eq!(reply.status, 503);
        assert!(reply.has_header("Retry-After: 5") && reply.has_header("Connection: close"), "{}", reply.head);
    }
    assert_eq!(open[0].ask("POST /mcp", "").status, 415, "open connections are served");
    drop(open);
    eventually("an answer", || server.connect().ask("POST /mcp", "").status == 415);
}

#[test]
fn one_address_cannot_use_all_connections() {
    let server = TestServer::start(Limits { max_connections: 8, max_connections_per_address: 2, ..limits() });
    let _open = occupy(&server, 2);
    assert_eq!(server.connect().ask("POST /mcp", "").status, 503);
    // Linux gives all of 127.0.0.0/8 to the loopback interface: another address of the client.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.9:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut other = Client::new(TcpStream::from(socket));
    assert_eq!(other.ask("POST /mcp", "").status, 415);
}

#[test]
fn monitoring_is_answered_although_all_connections_are_in_use() {
    let by_address = Limits { max_connections: 8, max_connections_per_address: 2, ..patient_limits() };
    for limits in [Limits { max_connections: 2, ..patient_limits() }, by_address] {
        let server = TestServer::builder().limits(limits).clients(vec![caller("ada", None)]).start();
        let mut open: Vec<_> = (0..2).map(|_| server.connect()).collect();
        open.iter_mut().for_each(|client| assert_eq!(ping_as(client, "ada").status, 200));
        // More silent and slow clients than there are reserved places.
        let mut waiting: Vec<_> = (0..100).map(|_| server.connect()).collect();
        waiting[50..].iter_mut().for_each(|client| client.send("GET /healthz HTTP/1.1\r\nHost: local"));
        for _ in 0..20 {
            let reply = server.connect().ask("GET /healthz", "");
            assert!(reply.status == 200 && reply.has_header("Connection: close"), "{}", reply.head);
            assert_eq!(server.get("/readyz", "ada").status, 503, "no cluster is ready");
            assert!(server.get("/readyz", "ada").body.contains("not ready"));
            let reply = ping_as(&mut server.connect(), "ada");
            assert!(reply.status == 503 && reply.body.contains("too many connections"), "{}", reply.body);
        }
        assert_eq!(server.get("/readyz", "eve").status, 401);
        waiting.truncate(50);
        waiting.iter_mut().for_each(|client| assert_eq!(client.reply().map(|reply| reply.status), Some(503)));
        assert_eq!(ping_as(&mut open[0], "ada").status, 200);
    }
}

#[test]
fn slow_readiness_checks_leave_reserved_places_for_health_checks() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let readiness = move || {
        let _ = wait.lock().unwrap().recv();
        vec![("lab".to_owned(), None)]
    };
    let probes = HealthSources { readiness: Some(Box::new(readiness)), metrics: None };
    let server = TestServer::builder().limits(Limits { max_connections: 1, ..patient_limits() }).probes(probes).start();
    let _open = occupy(&server, 1);
    let readyz = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut waiting: Vec<_> = (0..40).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(readyz));
    let mut answered = vec![false; waiting.len()];
    eventually("all but half of the reserved places are answered", || {
        for (client, answered) in waiting.iter_mut().zip(&mut answered).filter(|(_, answered)| !**answered) {
            client.stream.set_nonblocking(true).unwrap();
            *answered = client.stream.peek(&mut [0]).is_ok();
        }
        answered.iter().filter(|answered| **answered).count() == waiting.len() - 8
    });
    server.assert_answers();
    drop(release);
    eventually("the places are free again", || server.status_of(readyz) == 200);
}

/// Posts a ping with a token.
fn ping_as(client: &mut Client, token: &str) -> Reply {
    client.post_with("/mcp", &format!("{ACCEPT}Authorization: Bearer {token}\r\n"), &ping(1))
}

#[test]
fn silent_connections_keep_no_client_out() {
    let clients = || vec![caller("ada", None), caller("bob", None)];
    let ask = |client: &mut Client, token: &str| ping_as(client, token).status;
    for more in [Limits { max_connections: 20, ..limits() }, Limits { max_connections_per_address: 20, ..limits() }] {
        let server = TestServer::builder().limits(Limits { head_timeout: LONG, ..more }).clients(clients()).start();
        let mut kept = server.connect();
        assert_eq!(ask(&mut kept, "ada"), 200);
        let mut silent: Vec<_> = (0..40).map(|_| server.connect()).collect();
        silent.iter_mut().for_each(|client| client.send("GET /sse HTTP/1.1\r\nHost: localhost\r\n"));
        assert_eq!(ask(&mut server.connect(), "bob"), 200);
        // A wrong token proves nothing.
        let wrong: Vec<_> = (0..40)
            .map(|_| {
                let mut client = server.connect();
                client.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer eve\r\n\r\n");
                client
            })
            .collect();
        assert_eq!(ask(&mut server.connect(), "bob"), 200);
        assert_eq!(ask(&mut kept, "ada"), 200, "a connection that has shown its client is kept");
        drop((silent, wrong));
    }
}

#[test]
fn client_among_others_has_half_of_the_connections() {
    let limits = Limits { max_connections: 8, ..limits() };
    let server = TestServer::builder().limits(limits).clients(vec![caller("ada", None), caller("bob", None)]).start();
    let ask = ping_as;
    let mut open: Vec<_> = (0..4).map(|_| server.connect()).collect();
    open.iter_mut().for_each(|client| assert_eq!(ask(client, "ada").status, 200));
    let refused = ask(&mut server.connect(), "ada");
    assert!(refused.status == 503 && refused.body.contains("half of all connections"), "{}", refused.body);
    let mut other: Vec<_> = (0..4).map(|_| server.connect()).collect();
    other.iter_mut().for_each(|client| assert_eq!(ask(client, "bob").status, 200));
    drop(open);
    eventually("its places are free again", || ask(&mut server.connect(), "ada").status == 200);
}

#[test]
fn thousand_connects_at_once_are_served() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = TestServer::start(Limits { head_timeout: LONG, ..limits() });
    let mut clients: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.reply().unwrap().status, 200);
    }
}

#[test]
fn a_body_in_chunks_is_read_and_bounded() {
    let server = TestServer::start(Limits { max_body_bytes: 64, ..limits() });
    let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let mut client = server.connect();
    client.send(request(headers, "3\r\n{\"a\r\n2\r\n\":\r\n0\r\n\r\n"));
    assert_eq!(client.reply().unwrap().status, 400, "no session is named");
    assert_eq!(client.ask("GET /healthz", "").status, 200, "the following bytes are the next request");
    assert_eq!(server.status_of(&request(headers, "41\r\n")), 413);
    assert_eq!(server.status_of(&request(headers, "+3\r\nabc\r\n0\r\n\r\n")), 400);
}

#[test]
fn continue_is_sent_only_if_the_body_would_be_accepted() {
    let server = TestServer::start(limits());
    let sse = server.sse();
    let json = ping(1);
    let head = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut client = server.connect();
    client.send(head(&sse.path, json.len()));
    assert_eq!(client.reply().unwrap().status, 100);
    client.send(&json);
    assert_eq!(client.reply().unwrap().status, 202);
    assert_eq!(server.status_of(&head("/nowhere", 5)), 404);
    assert_eq!(server.status_of(&head(&sse.path, 5 << 20)), 413);
    assert_eq!(server.status_of(&head(&sse.path, 5).replace("localhost", "evil.example")), 421);
}

#[test]
fn tls_on_a_plain_port_is_answered_at_once_and_closed() {
    // A wait for the rest of the head would fail the test.
    let server = TestServer::start(Limits { head_timeout: Duration::from_secs(3600), ..limits() });
    for hello in [&b"\x16"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\r\n\r\n"] {
        let mut client = server.connect();
        client.send(hello);
        let reply = client.reply().expect("an answer");
        assert_eq!(reply.status, 400);
        assert!(reply.has_header("Connection: close") && reply.body.contains("http://"), "{}", reply.body);
        client.assert_ends();
    }
    let mut client = server.connect().over(trusting_any_certificate());
    client.send("GET /healthz HTTP/1.1\r\n\r\n");
    assert!(client.reply().is_none(), "a real TLS client fails at once");
    server.assert_answers();
}
