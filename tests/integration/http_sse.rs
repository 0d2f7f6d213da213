//! Routes, access checks and sessions of the HTTP server, as clients see them.

use crate::support::raw::{LONG, Sse, eventually, resolve};
use crate::support::rpc;
use crate::support::server::{TestServer, caller, limits};
use crate::support::test_tools::start_with;
use proxmox_mcp::config::Limits;
use serde_json::json;
use socket2::SockRef;
use std::net::Shutdown;
use std::time::Duration;

const PING: &str = r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;

/// Returns a call that a worker rejects: the server of these tests has no tools.
fn call(id: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"none","arguments":{{}}}}}}"#)
}

#[test]
fn health_is_a_plain_ok() {
    let server = TestServer::start(limits());
    let reply = server.connect().ask("GET /healthz", "");
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    assert!(reply.has_header("Server: proxmox-mcp"), "{}", reply.head);
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    let server = TestServer::start(limits());
    let mut client = server.connect();
    for line in ["GET /.well-known/security.txt", "POST /registered", "GET /", "GET /sse//", "DELETE /mcpx"] {
        let reply = client.ask(line, "");
        assert_eq!(reply.status, 404, "{line}");
        assert!(reply.has_header("Content-Type: text/plain; charset=utf-8"), "{}", reply.head);
    }
    for (line, allow) in [
        ("POST /sse", "Allow: GET"),
        ("GET /messages", "Allow: POST"),
        ("DELETE /messages", "Allow: POST"),
        ("BREW /healthz", "Allow: GET, HEAD"),
    ] {
        client = server.connect();
        let reply = client.ask(line, "");
        assert_eq!(reply.status, 405, "{line}");
        assert!(reply.has_header(allow), "{line}: {}", reply.head);
    }
}

#[test]
fn an_answer_to_head_has_no_body() {
    let server = TestServer::start(limits());
    let mut client = server.connect();
    client.send(
        "HEAD /sse HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let text = client.rest();
    assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("\r\n\r\nHTTP/1.1 404 "), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn unknown_host_is_421_and_names_the_setting_that_allows_it() {
    let server = TestServer::builder().limits(limits()).hosts(&["pve.example"]).insecure_no_auth().start();
    for route in ["GET /readyz", "GET /sse", "POST /messages", "POST /mcp", "GET /nowhere"] {
        let mut client = server.connect();
        client.send(format!("{route} HTTP/1.1\r\nHost: evil.example:8000\r\n\r\n"));
        let reply = client.reply().unwrap();
        assert_eq!(reply.status, 421, "{route}");
        assert!(reply.body.contains("MCP_ALLOWED_HOSTS=evil.example:8000"), "{}", reply.body);
    }
    for host in ["pve.example", "PVE.example.:81", "[::1]:3", &server.address.to_string()] {
        assert_eq!(server.status_of(&format!("GET /sse HTTP/1.1\r\nHost: {host}\r\n\r\n")), 200, "{host}");
    }
}

#[test]
fn health_is_answered_for_every_host_and_in_http_1_0_without_one() {
    let server = TestServer::builder().limits(limits()).clients(vec![caller("ada", None)]).start();
    for host in ["evil.example", "192.0.2.1:8000", "10.0.0.1", "mcp.internal:80", "a b", "", "[::1", "\u{e4}"] {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(server.status_of(&text), 200, "{host:?}");
    }
    let mut client = server.connect();
    client.send("GET /healthz HTTP/1.0\r\n\r\n");
    let text = client.rest();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nok"), "{text}");
    for (text, status) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /readyz HTTP/1.0\r\n\r\n", 400),
        ("GET /nowhere HTTP/1.0\r\n\r\n", 400),
        ("POST /mcp HTTP/1.0\r\nContent-Length: 0\r\n\r\n", 400),
        ("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", 401),
        ("POST /healthz HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", 405),
    ] {
        assert_eq!(server.status_of(text), status, "{text:?}");
    }
}

#[test]
fn foreign_origin_is_forbidden_on_every_route() {
    let server = TestServer::builder().limits(limits()).origins(&["https://app.example"]).start();
    for route in ["GET /healthz", "GET /sse", "POST /messages", "GET /nowhere"] {
        for origin in ["https://evil.example", "null", "file://"] {
            let reply = server.connect().ask(route, &format!("Origin: {origin}\r\n"));
            assert_eq!(reply.status, 403, "{route} {origin}");
            let advice = format!("MCP_ALLOWED_ORIGINS={origin}");
            assert_eq!(reply.body.contains(&advice), origin != "null", "{}", reply.body);
        }
    }
    for origin in ["http://localhost:5173", "https://app.example"] {
        assert_eq!(server.connect().ask("GET /healthz", &format!("Origin: {origin}\r\n")).status, 200, "{origin}");
    }
}

#[test]
fn a_stream_begins_with_the_path_to_post_to() {
    let server = TestServer::start(limits());
    let sse = server.sse();
    for line in [
        "Content-Type: text/event-stream",
        "Cache-Control: no-cache, no-transform",
        "X-Accel-Buffering: no",
        "Connection: close",
    ] {
        assert!(sse.head.contains(line), "{}", sse.head);
    }
    let id = sse.path.strip_prefix("/messages?sessionId=").expect("a path");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_ne!(server.sse().path, sse.path);
}

#[test]
fn endpoint_reference_leads_to_the_posts_of_a_prefix_with_and_without_a_slash() {
    let server = TestServer::start(limits());
    // A proxy that serves `/prefix/` passes the rest of the path on.
    for (requested, public, posts) in [
        ("/sse", "/sse", "/messages"),
        ("/sse/", "/sse/", "/messages"),
        ("/sse?token=x", "/sse?token=x", "/messages"),
        ("/sse/?token=x/y", "/sse/?token=x/y", "/messages"),
        ("/sse", "/prefix/sse", "/prefix/messages"),
        ("/sse/", "/prefix/sse/", "/prefix/messages"),
        ("/sse", "/a/b/sse?x=/y/", "/a/b/messages"),
        ("/sse/", "/a/b/sse/?x", "/a/b/messages"),
    ] {
        let reference = Sse::endpoint_reference(server.connect(), requested);
        let (path, query) = reference.split_once('?').expect("a query");
        assert!(!path.starts_with('/') && !path.contains(':'), "a relative reference: {reference}");
        assert_eq!(resolve(public, &reference), format!("{posts}?{query}"), "{public}");
    }
}

#[test]
fn client_that_resolves_no_references_can_post() {
    let server = TestServer::start(limits());
    let mut sse = server.sse();
    let reference = sse.path.strip_prefix('/').expect("a path").to_owned();
    assert_eq!(server.connect().post(&reference, PING).status, 202);
    assert_eq!(sse.message(), PONG);
    for target in ["messages", "mcp", "messages/?sessionId=1", "./messages?sessionId=1"] {
        assert_eq!(server.connect().post(target, PING).status, 400, "{target}");
    }
}

#[test]
fn routes_with_a_final_slash_are_served() {
    let server = TestServer::start(limits());
    assert_eq!(server.connect().post("/mcp/", PING).body, PONG);
    let mut sse = Sse::open(server.connect());
    let path = sse.path.replace("/messages?", "/messages/?");
    assert_eq!(server.connect().post(&path, PING).status, 202);
    assert_eq!(sse.message(), PONG);
    assert_eq!(server.connect().ask("GET /healthz/", "").body, "ok");
    assert_eq!(server.connect().ask("GET /mcp/", "").status, 405);
}

#[test]
fn requests_are_accepted_and_answered_on_the_stream() {
    let server = TestServer::start(limits());
    let mut sse = server.sse();
    let mut client = server.connect();
    for (json, expected) in [
        (PING, PONG),
        (r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#, r#""tools":["#),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
            r#""protocolVersion":"2024-11-05""#,
        ),
        (&call(3), r#""id":3,"error":{"code":-32602"#),
    ] {
        let reply = client.post(&sse.path, json);
        assert_eq!((reply.status, reply.body.as_str()), (202, "Accepted"), "{json}");
        let message = sse.message();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn notifications_and_responses_are_accepted_and_have_no_answer() {
    let server = TestServer::start(limits());
    let mut sse = server.sse();
    let mut client = server.connect();
    for json in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unknown","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
    ] {
        assert_eq!(client.post(&sse.path, json).status, 202, "{json}");
    }
    client.post(&sse.path, PING);
    assert_eq!(sse.message(), PONG, "the first message is the ping's");
}

#[test]
fn invalid_messages_are_answered_with_a_json_rpc_error() {
    let server = TestServer::start(limits());
    let sse = server.sse();
    for (json, code) in [("", "-32700"), ("{", "-32700"), ("[]", "-32600"), ("42", "-32600"), ("{}", "-32600")] {
        let reply = server.connect().post(&sse.path, json);
        assert_eq!(reply.status, 400, "{json}");
        assert!(reply.has_header("Content-Type: application/json"), "{}", reply.head);
        assert!(reply.body.contains(code), "{json}: {}", reply.body);
    }
}

#[test]
fn post_without_a_known_session_is_rejected_with_a_hint() {
    let server = TestServer::start(limits());
    let mut client = server.connect();
    let reply = client.post("/messages", PING);
    assert!(reply.status == 400 && reply.body.contains("sessionId"), "{}", reply.body);
    for id in ["", "x", "00000000000000000000000000000000"] {
        let reply = client.post(&format!("/messages?sessionId={id}"), PING);
        assert!(reply.status == 404 && reply.body.contains("GET /sse"), "{}", reply.body);
    }
}

#[test]
fn a_post_must_be_json() {
    let server = TestServer::start(limits());
    let sse = server.sse();
    let post = |content_type: &str| {
        let text = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\n{content_type}Content-Length: {}\r\n\r\n{PING}",
            sse.path,
            PING.len()
        );
        server.status_of(&text)
    };
    for (content_type, status) in [
        ("Content-Type: application/json\r\n", 202),
        ("content-type: Application/JSON;charset=utf-8\r\n", 202),
        ("Content-Type: application/json ; charset=utf-8\r\n", 202),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/jsonx\r\n", 415),
        ("Content-Type: application/json\r\nContent-Type: text/plain\r\n", 415),
        ("", 415),
    ] {
        assert_eq!(post(content_type), status, "{content_type:?}");
    }
}

#[test]
fn quiet_stream_gets_comments() {
    let server = TestServer::start(limits());
    let mut sse = server.sse();
    for _ in 0..3 {
        sse.comment();
    }
}

#[test]
fn a_stream_over_http_1_0_is_framed_by_its_end() {
    let server = TestServer::builder().limits(limits()).insecure_no_auth().start();
    let mut client = server.connect();
    client.send("GET /sse HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let head = client.reply().unwrap().head;
    assert!(!head.contains("chunked") && !head.contains("Content-Length"), "{head}");
    let mut sse = Sse { client, head, path: String::new() };
    assert_eq!(sse.event().unwrap().0, "endpoint");
}

#[test]
fn session_ends_at_once_when_its_client_disconnects() {
    let server = TestServer::start(Limits { max_sessions: 1, sse_keepalive: LONG, ..limits() });
    let sse = server.sse();
    let refused = server.connect().ask("GET /sse", "");
    assert_eq!(refused.status, 503);
    assert!(refused.has_header("Retry-After: 5"), "{}", refused.head);
    let path = sse.path.clone();
    drop(sse);
    let mut client = server.connect();
    eventually("the session is unknown", || client.post(&path, PING).status == 404);
    eventually("another can be opened", || server.connect().ask("GET /sse", "").status == 200);
}

#[test]
fn client_among_others_has_half_of_the_sessions() {
    let limits = Limits { max_sessions: 8, sse_keepalive: LONG, ..limits() };
    let server = TestServer::builder().limits(limits).clients(vec![caller("ada", None), caller("bob", None)]).start();
    let token = |name: &str| format!("Authorization: Bearer {name}\r\n");
    let open = |name: &str| Sse::open_with(server.connect(), &token(name));
    let mut first: Vec<_> = (0..4).map(|_| open("ada")).collect();
    let refused = server.connect().ask("GET /sse", &token("ada"));
    assert!(refused.status == 503 && refused.body.contains("half of all sessions"), "{}", refused.body);
    let _others: Vec<_> = (0..4).map(|_| open("bob")).collect();
    assert!(server.connect().ask("GET /sse", &token("bob")).body.contains("half of all sessions"));
    first.pop();
    eventually("its place is free again", || server.connect().ask("GET /sse", &token("ada")).status == 200);
}

#[test]
fn bytes_sent_on_a_stream_are_ignored_within_bounds() {
    let server = TestServer::start(limits());
    let mut sse = server.sse();
    sse.client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.connect().post(&sse.path, PING);
    assert_eq!(sse.message(), PONG);
    for _ in 0..200 {
        sse.client.send([b'x'; 1024]);
    }
    sse.client.assert_ends();
    server.assert_answers();
}

#[test]
fn client_that_does_not_read_its_stream_loses_it_and_delays_no_other() {
    let (server, _tools) = start_with(Limits { body_timeout: LONG, ..limits() });
    let mut good = server.sse();
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let (sse, mut client) = (server.sse(), server.connect());
        SockRef::from(&sse.client.stream).set_recv_buffer_size(4096).unwrap();
        for id in 0..4 {
            client.send_post(&sse.path, &rpc::call(id, "large", json!({})));
        }
        deaf.push((sse, client));
    }
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.post(&good.path, PING).status, 202);
        assert_eq!(good.message(), PONG);
    }
    for (sse, _) in &deaf {
        eventually("the session has ended", || client.post(&sse.path, PING).status == 404);
    }
    assert_eq!(client.post(&good.path, &call(1)).status, 202);
    assert!(good.message().contains("-32602"));
}

/// Returns a session whose call occupies the only worker. The answer does not fit into the connection, so the worker
/// waits until the client reads or disconnects. `limits` must permit that wait.
fn occupy_the_worker(server: &TestServer) -> Sse {
    let deaf = server.sse();
    SockRef::from(&deaf.client.stream).set_recv_buffer_size(4096).unwrap();
    assert_eq!(server.connect().post(&deaf.path, &rpc::call(0, "large", json!({}))).status, 202);
    deaf
}

fn one_worker() -> Limits {
    Limits { max_calls: 1, write_timeout: LONG, body_timeout: LONG, ..limits() }
}

#[test]
fn call_is_rejected_as_busy_if_workers_and_queue_are_full() {
    let (server, _tools) = start_with(one_worker());
    let deaf = occupy_the_worker(&server);
    let (mut sse, mut client) = (server.sse(), server.connect());
    assert_eq!(client.post(&sse.path, &call(1)).status, 202);
    assert_eq!(client.post(&sse.path, &call(2)).status, 202);
    let busy = sse.message();
    assert!(busy.contains("\"id\":2,") && busy.contains("-32000") && busy.contains("busy: the server"), "{busy}");
    client.post(&sse.path, PING);
    assert_eq!(sse.message(), PONG, "a call without a worker is answered");
    drop(deaf);
    assert!(sse.message().contains("\"id\":1,"), "the waiting call is answered");
}

#[test]
fn call_that_waited_too_long_in_the_queue_is_not_run() {
    let (server, _tools) = start_with(Limits { queue_timeout: Duration::ZERO, ..one_worker() });
    let (mut sse, mut client) = (server.sse(), server.connect());
    assert_eq!(client.post(&sse.path, &call(1)).status, 202);
    let answer = sse.message();
    assert!(answer.contains("\"id\":1,") && answer.contains("-32000") && answer.contains("call not begun"), "{answer}");
}

#[test]
fn one_session_cannot_fill_the_queue() {
    let (server, _tools) = start_with(Limits { max_calls_per_session: 1, ..one_worker() });
    let deaf = occupy_the_worker(&server);
    let (mut sse, mut client) = (server.sse(), server.connect());
    assert_eq!(client.post(&sse.path, &call(1)).status, 202);
    assert_eq!(client.post(&sse.path, &call(2)).status, 202);
    let busy = sse.message();
    assert!(busy.contains("\"id\":2,") && busy.contains("busy: this session"), "{busy}");
    drop(deaf);
    assert!(sse.message().contains("\"id\":1,"));
    assert_eq!(client.post(&sse.path, &call(3)).status, 202);
    assert!(sse.message().contains("\"id\":3,"), "there is a free place as soon as the answer arrives");
}

#[test]
fn calls_in_flight_are_answered_before_a_stop_ends_their_streams() {
    let (mut server, _tools) = start_with(one_worker());
    let deaf = occupy_the_worker(&server);
    let mut sse = server.sse();
    assert_eq!(server.connect().post(&sse.path, &call(1)).status, 202);
    server.begin_stop();
    eventually("the port is closed", || std::net::TcpStream::connect(server.address).is_err());
    drop(deaf);
    assert!(sse.message().contains("\"id\":1,"));
    assert!(sse.event().is_none(), "then the stream ends");
    server.wait_for_stop();
}

#[test]
fn stop_waits_no_longer_than_its_time_limit() {
    let (mut server, _tools) = start_with(Limits { stop_timeout: Duration::from_millis(100), ..one_worker() });
    let _deaf = occupy_the_worker(&server);
    server.begin_stop();
    server.wait_for_stop();
}

#[test]
fn parallel_calls_are_each_answered_once() {
    let server = TestServer::start(Limits { max_calls: 4, max_calls_per_session: 1000, ..limits() });
    let mut sse = server.sse();
    let mut client = server.connect();
    for id in 0..200 {
        assert_eq!(client.post(&sse.path, &call(id)).status, 202);
    }
    let mut answered: Vec<_> = (0..200)
        .map(|_| {
            let message = sse.message();
            // The rejection comes from the call itself or from the full queue.
            assert!(message.contains("-32602") || message.contains("-32000"), "{message}");
            let id = message.split("\"id\":").nth(1).unwrap();
            id[..id.find(',').unwrap()].parse::<usize>().unwrap()
        })
        .collect();
    answered.sort();
    assert_eq!(answered, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_stop_ends_streams_and_idle_connections_and_run_returns() {
    let mut server = TestServer::start(limits());
    let mut streams: Vec<_> = (0..3).map(|_| server.sse()).collect();
    let mut idle = server.connect();
    assert_eq!(idle.ask("GET /healthz", "").status, 200);
    let mut half = server.connect();
    half.send("GET /hea");
    server.begin_stop();
    server.wait_for_stop();
    for sse in &mut streams {
        assert!(sse.event().is_none(), "a clean end");
    }
    idle.assert_ends();
    half.assert_ends();
    assert!(std::net::TcpStream::connect(server.address).is_err(), "the port is closed");
    server.begin_stop();
}

#[test]
fn run_returns_at_once_if_stopped_before_the_start() {
    for _ in 0..20 {
        let mut server = TestServer::start(limits());
        server.begin_stop();
        server.wait_for_stop();
    }
}

#[test]
fn half_closed_connection_counts_as_disconnected() {
    let server = TestServer::start(Limits { sse_keepalive: Duration::from_secs(60), ..limits() });
    let mut sse = server.sse();
    sse.client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(sse.event().is_none());
}

#[test]
fn server_does_not_start_with_an_invalid_setting() {
    use proxmox_mcp::http::{AllowListError, HttpConfig, HttpServer, StartError, listen};
    let config = HttpConfig {
        listener: listen("127.0.0.1:0".parse().unwrap()).unwrap(),
        metrics_listener: None,
        limits: limits(),
        allowed_hosts: vec!["http://x".into()],
        allowed_origins: vec![],
        clients: vec![],
        insecure_no_auth: false,
        certificate: None,
        health: Default::default(),
        approvals: None,
    };
    let mcp = proxmox_mcp::mcp::McpServer::new(Default::default()).expect("a server");
    let error = HttpServer::new(config, std::sync::Arc::new(mcp)).err();
    assert!(matches!(error, Some(StartError::AllowList(AllowListError::Host(_)))), "{error:?}");
}
