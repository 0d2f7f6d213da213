//! Answers of the HTTP server that are not MCP messages.

use crate::document::Document;
use crate::support::own_process::in_own_process;
use crate::support::policy::{ALL, client, token};
use crate::support::raw::Reply;
use crate::support::rpc::{ACCEPT, call, request};
use crate::support::server::{TestServer, limits, patient_limits};
use crate::support::test_tools::{TestTools, start};
use crate::support::tls::{Files, Pair};
use proxmox_mcp::config::Limits;
use serde_json::json;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Returns the status line, the headers that depend on the answer, and the body.
fn answer(reply: &Reply) -> String {
    let usual = ["Server:", "Date:", "Content-Length:"];
    let head: Vec<_> = reply.head.lines().filter(|line| !usual.iter().any(|name| line.starts_with(name))).collect();
    format!("{}\n\n{}", head.join("\n"), reply.body)
}

fn raw(server: &TestServer, text: &str) -> String {
    let mut client = server.connect();
    client.send(text);
    client.reply().map_or_else(|| "(the connection ends)".to_owned(), |reply| answer(&reply))
}

fn title(text: &str) -> String {
    text.trim_end().replace("\r\n", " ⏎ ").replace('\n', " LF ")
}

#[test]
fn http_errors_of_requests() {
    let server = TestServer::start(Limits { max_body_bytes: 64, ..patient_limits() });
    let mut document = Document::new();
    document.section("Malformed requests");
    let post = |headers: &str| format!("POST /messages HTTP/1.1\r\n{headers}\r\n");
    for text in [
        "GET /healthz\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nA\u{1}: b\r\n\r\n".to_owned(),
        post("Content-Length: 2\r\n"),
        post("Host: localhost\r\nHost: localhost\r\nContent-Length: 2\r\n"),
        post("Host: local host\r\nContent-Length: 2\r\n"),
        post("Host: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n"),
        post("Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
        post("Host: localhost\r\nContent-Length: +3\r\n"),
        post("Host: localhost\r\nContent-Length: 2\r\n folded\r\n"),
        post("Host: localhost\nContent-Length: 2\r\n"),
        post("Host: localhost\r\nTransfer-Encoding: gzip\r\n"),
        post("Host: localhost\r\nContent-Length: 2\r\nExpect: a-miracle\r\n"),
        "POST /messages HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        post("Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n")
            + "+3\r\nabc\r\n0\r\n\r\n",
        post("Host: localhost\r\n"),
    ] {
        document.case(title(&text), raw(&server, &text));
    }
    document.section("Too large or too slow");
    for (about, text) in [
        ("Content-Length: 65 where 64 are allowed", post("Host: localhost\r\nContent-Length: 65\r\n")),
        (
            "a chunk of 65 bytes",
            post("Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n") + "41\r\n",
        ),
        ("a target of 16 KiB", format!("GET /{} HTTP/1.1\r\n", "a".repeat(16 << 10))),
        ("a header of 16 KiB", format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(16 << 10))),
        ("65 headers", post(&(0..65).map(|n| format!("A{n}: b\r\n")).collect::<String>())),
    ] {
        document.case(about, raw(&server, &text));
    }
    let hasty = TestServer::start(limits());
    document.case("half a request line", raw(&hasty, "GET /heal"));
    document.case("half a body", raw(&hasty, &(post("Host: localhost\r\nContent-Length: 5\r\n") + "xx")));
    document.section("Paths, methods, hosts and origins");
    let get = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\n{headers}\r\n");
    let json = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    for text in [
        get("GET /healthz", "Host: localhost\r\n"),
        get("GET /nowhere", "Host: localhost\r\n"),
        get("GET /.well-known/oauth-protected-resource", "Host: localhost\r\n"),
        get("POST /register", "Host: localhost\r\n"),
        get("GET /metrics", "Host: localhost\r\n"),
        get("GET /mcp", "Host: localhost\r\n"),
        get("DELETE /mcp", "Host: localhost\r\n"),
        get("POST /healthz", "Host: localhost\r\nContent-Length: 0\r\n"),
        get("OPTIONS /messages", "Host: localhost\r\n"),
        get("GET /healthz", "Host: evil.example\r\n"),
        "GET /healthz HTTP/1.0\r\n\r\n".to_owned(),
        "GET /readyz HTTP/1.0\r\n\r\n".to_owned(),
        get("GET /readyz", "Host: evil.example\r\n"),
        get("GET /readyz", "Host: 192.0.2.7:8000\r\n"),
        get("GET /readyz", "Host: localhost\r\nX-Forwarded-For: 192.0.2.9\r\n"),
        "GET /readyz HTTP/1.0\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n\r\n".to_owned(),
        get("GET /healthz", "Host: localhost\r\nOrigin: https://evil.example\r\n"),
        get("GET /healthz", "Host: localhost\r\nOrigin: null\r\n"),
        get("GET /sse", "Host: localhost\r\nAccept: application/json\r\n"),
        get("POST /mcp", &format!("Host: localhost\r\nAccept: text/html\r\n{json}")) + "{}",
        get("POST /mcp", &format!("Host: localhost\r\n{}", json.replace("application/json", "text/plain"))) + "{}",
        get("POST /messages", &format!("Host: localhost\r\n{}", json.replace("application/json", "text/plain"))) + "{}",
        get("POST /mcp", &format!("Host: localhost\r\nContent-Encoding: gzip\r\n{json}")) + "{}",
        get("POST /messages", &format!("Host: localhost\r\n{json}")) + "{}",
        get("POST /messages?sessionId=nope", &format!("Host: localhost\r\n{json}")) + "{}",
    ] {
        document.case(title(&text), raw(&server, &text));
    }
    document.section("Pages of an origin that the operator listed");
    let server = TestServer::builder().origins(&["app://obsidian.md"]).start();
    for text in [
        get(
            "OPTIONS /mcp",
            "Host: localhost\r\nOrigin: app://obsidian.md\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization, mcp-param-node\r\n\
             Access-Control-Request-Private-Network: true\r\n",
        ),
        get("GET /nowhere", "Host: localhost\r\nOrigin: app://obsidian.md\r\n"),
        get("GET /healthz", "Host: localhost\r\nOrigin: http://localhost:5173\r\n"),
    ] {
        document.case(title(&text), raw(&server, &text));
    }
    document.assert("http_errors");
}

#[test]
fn http_errors_of_clients() {
    let ada = client("ada", ALL, &["lab"]);
    let server = TestServer::builder().clients(vec![ada]).mcp(TestTools::new().server()).start();
    let mut document = Document::new();
    let bearer = format!("Authorization: Bearer {}\r\n", token("ada"));
    for (about, headers) in [
        ("without a token", String::new()),
        ("with a token of no client", "Authorization: Bearer nope\r\n".to_owned()),
        ("with another scheme", "Authorization: Basic nope\r\n".to_owned()),
        ("with two tokens", format!("{bearer}{bearer}")),
    ] {
        let reply = server.connect().post_with("/mcp", &headers, &request(1, "ping", json!({})));
        document.case(about, answer(&reply));
    }
    let mut reply = server.get("/mcp", "nope");
    for _ in 0..1_000 {
        if reply.status == 429 {
            break;
        }
        reply = server.connect().post_with("/mcp", "Authorization: Bearer nope\r\n", "{}");
    }
    document.redact(r"Retry-After: \d+", "Retry-After: N");
    document.case("with many wrong tokens", answer(&reply));
    document.assert("http_clients");
}

#[test]
fn http_errors_of_quotas_and_limits() {
    if !in_own_process(http_errors_of_quotas_and_limits) {
        return;
    }
    let mut document = Document::new();
    document.section("Quotas of a client");
    let ada = client("ada", ALL, &[]);
    let bearer = format!("{ACCEPT}Authorization: Bearer {}\r\n", token("ada"));
    for (about, limits) in [
        ("--max-calls-per-minute 1", Limits { max_calls_per_minute: 1, ..patient_limits() }),
        ("--max-calls-per-client 1", Limits { max_calls_per_client: 1, ..patient_limits() }),
        ("--max-calls 1", Limits { max_calls: 1, ..patient_limits() }),
    ] {
        let tools = TestTools::new();
        let server = TestServer::builder().limits(limits).clients(vec![ada.clone()]).mcp(tools.server()).start();
        let mut first = server.connect();
        first.send_post_with("/mcp", &bearer, &call(1, "hold", json!({"name": "first"})));
        tools.wait_for("first");
        let reply = server.connect().post_with("/mcp", &bearer, &call(2, "echo", json!({"text": "x"})));
        document.redact(r"again in \d+ seconds?", "again in N seconds");
        document.case(about, answer(&reply));
        tools.release("first");
        first.reply();
    }

    let (server, tools) =
        crate::support::test_tools::start_with(Limits { max_calls_per_session: 1, ..patient_limits() });
    let mut session = server.sse();
    let path = session.path.clone();
    server.connect().post(&path, &call(1, "hold", json!({"name": "first"})));
    tools.wait_for("first");
    document.case("POST /messages", answer(&server.connect().post(&path, &call(2, "echo", json!({"text": "x"})))));
    document.case("--max-calls-per-session 1", session.message());
    document.case("POST /messages, an invalid message", answer(&server.connect().post(&path, "nope")));
    tools.release("first");
    session.message();
    document.section("Limits of the server");
    let server = TestServer::start(Limits { max_connections: 1, ..patient_limits() });
    let mut open = server.connect();
    assert_eq!(open.ask("POST /mcp", "").status, 415);
    document.case("--max-connections 1", raw(&server, "POST /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    document.case("GET /healthz", raw(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"));

    let (server, _tools) = crate::support::test_tools::start_with(Limits { max_sessions: 1, ..patient_limits() });
    let _session = server.sse();
    let text = "GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    document.case("--max-sessions 1", raw(&server, text));

    let server = TestServer::start(Limits { max_buffered_bytes: 1 << 20, ..patient_limits() });
    let head = "POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 716800\r\n\r\n";
    // Either may be refused, so both wait for an answer that the other one's bytes cause.
    let (sender, replies) = channel();
    for _ in 0..2 {
        let (mut client, sender) = (server.connect(), sender.clone());
        std::thread::spawn(move || {
            client.send(format!("{head}{}", " ".repeat(716_799)));
            // The test has ended when the other one's connection does.
            let _ = sender.send(client.reply());
        });
    }
    let refusal = replies.recv().expect("a refusal");
    document.case("--max-buffered-bytes", answer(&refusal.expect("a refusal")));

    document.section("A server that stops");
    let (mut server, tools) = start();
    let mut kept = server.connect();
    kept.send_post_with("/mcp", ACCEPT, &call(1, "hold", json!({"name": "last"})));
    tools.wait_for("last");
    let mut session = server.sse();
    server.begin_stop();
    tools.release("last");
    document.case("a call that was in flight", answer(&kept.reply().expect("an answer")));
    assert!(session.event().is_none());
    server.wait_for_stop();
    document.assert("http_limits");
}

#[test]
fn http_errors_of_tls() {
    let files = Files::of(&Pair::new());
    let server = TestServer::builder()
        .limits(Limits { head_timeout: Duration::from_secs(5), ..patient_limits() })
        .tls(files.identity())
        .start();
    let mut document = Document::new();
    let mut plain = server.connect_without_tls();
    plain.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    document.case("plain HTTP on a port that speaks TLS", answer(&plain.reply().expect("an answer")));
    document.case("TLS on a port that speaks plain HTTP", raw(&TestServer::start(patient_limits()), "\u{16}"));
    document.assert("http_tls");
}
