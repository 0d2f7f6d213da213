//! CORS over raw sockets: pages of listed origins, and of others.

use crate::support::raw::{Client, Reply, Sse, ping};
use crate::support::rpc::{ACCEPT, call_with_progress};
use crate::support::server::{TestServer, caller};
use crate::support::test_tools::TestTools;
use serde_json::json;

const LISTED: [&str; 4] = ["https://app.example", "app://obsidian.md", "tauri://localhost", "vscode-file://vscode-app"];

fn server() -> TestServer {
    TestServer::builder()
        .origins(&LISTED)
        .hosts(&["mcp.example"])
        .clients(vec![caller("ada", None)])
        .mcp(TestTools::new().server())
        .start()
}

/// Returns the value of a header.
fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut values =
        reply.head.lines().filter_map(|line| line.split_once(": ")).filter(|(n, _)| n.eq_ignore_ascii_case(name));
    let first = values.next().map(|(_, value)| value);
    assert!(values.next().is_none(), "{name} twice: {}", reply.head);
    first
}

fn assert_readable(reply: &Reply, origin: &str) {
    assert_eq!(header(reply, "Access-Control-Allow-Origin"), Some(origin), "{}", reply.head);
    assert!(header(reply, "Vary").is_some_and(|vary| vary.contains("Origin")), "{}", reply.head);
    let exposed = header(reply, "Access-Control-Expose-Headers").expect("exposed headers");
    assert!(exposed.contains("Mcp-Session-Id") && exposed.contains("WWW-Authenticate"), "{exposed}");
    assert!(header(reply, "Access-Control-Allow-Credentials").is_none(), "{}", reply.head);
}

fn preflight(server: &TestServer, path: &str, origin: &str, more: &str) -> Reply {
    let headers = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n{more}");
    server.connect().ask(&format!("OPTIONS {path}"), &headers)
}

#[test]
fn preflight_of_a_listed_origin_is_answered_without_a_token() {
    let server = server();
    for origin in LISTED {
        for path in ["/mcp", "/mcp/", "/sse", "/messages", "/.well-known/oauth-protected-resource"] {
            let requested = "Access-Control-Request-Headers: authorization,content-type, Mcp-Param-Node,mcp-param-vm_id,x-other\r\n";
            let reply = preflight(&server, path, origin, requested);
            assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{path}");
            assert_readable(&reply, origin);
            let allowed = header(&reply, "Access-Control-Allow-Headers").expect("allowed headers").to_ascii_lowercase();
            let allowed: Vec<_> = allowed.split(", ").collect();
            for name in [
                "authorization",
                "content-type",
                "accept",
                "mcp-protocol-version",
                "mcp-session-id",
                "mcp-method",
                "mcp-name",
                "mcp-param-node",
                "mcp-param-vm_id",
                "last-event-id",
            ] {
                assert!(allowed.contains(&name), "{name}: {allowed:?}");
            }
            assert!(!allowed.contains(&"x-other") && !allowed.contains(&"*"), "{allowed:?}");
            let methods = header(&reply, "Access-Control-Allow-Methods").expect("methods");
            assert!(["GET", "POST", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
            assert!(header(&reply, "Access-Control-Allow-Private-Network").is_none());
        }
        let reply = preflight(&server, "/mcp", origin, "Access-Control-Request-Private-Network: true\r\n");
        assert_eq!(header(&reply, "Access-Control-Allow-Private-Network"), Some("true"));
    }
}

#[test]
fn answers_and_errors_are_readable_for_a_listed_origin() {
    let server = server();
    let token = "Authorization: Bearer ada\r\n";
    for origin in LISTED {
        let with_origin = format!("Origin: {origin}\r\n");
        let ask = |line: &str, headers: &str| server.connect().ask(line, &format!("{with_origin}{headers}"));
        for (reply, status) in [
            (server.connect().post_with("/mcp", &format!("{with_origin}{token}"), &ping(1)), 200),
            (server.connect().post_with("/mcp", &format!("{with_origin}{token}"), "nope"), 400),
            (server.connect().post_with("/mcp", &with_origin, &ping(1)), 401),
            (server.connect().post_with("/mcp", &format!("{with_origin}{token}Content-Encoding: gzip\r\n"), "x"), 415),
            (ask("POST /register", ""), 404),
            (ask("GET /mcp", token), 405),
            (ask("OPTIONS /mcp", token), 405),
            (ask("POST /mcp", &format!("{token}Content-Length: 99999999\r\n")), 413),
            (ask("GET /healthz", ""), 200),
        ] {
            assert_eq!(reply.status, status, "{}", reply.head);
            assert_readable(&reply, origin);
        }
        let sse = Sse::open_with(server.connect(), &format!("{with_origin}{token}"));
        assert!(sse.head.contains(&format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n")), "{}", sse.head);
        let mut client = server.connect();
        let headers = format!("{ACCEPT}{with_origin}{token}");
        client.send_post_with("/mcp", &headers, &call_with_progress(1, "steps", json!({}), "t"));
        let events = client.events();
        assert!(events.head.contains(&format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n")), "{}", events.head);
    }
    let mut client = server.connect();
    client.send("GET /sse HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://app.example\r\n\r\n");
    let reply = client.reply().expect("an answer");
    assert_eq!(reply.status, 421);
    assert_readable(&reply, LISTED[0]);
}

#[test]
fn an_origin_that_is_not_listed_gets_no_cors_header() {
    let server = server();
    let assert_none = |mut client: Client, request: String, status: u16| {
        client.send(&request);
        let reply = client.reply().expect("an answer");
        assert_eq!(reply.status, status, "{request}");
        assert!(!reply.head.to_ascii_lowercase().contains("access-control"), "{}", reply.head);
    };
    for (origin, allowed) in [
        ("http://localhost:5173", true),
        ("https://mcp.example", true),
        ("https://evil.example", false),
        ("https://app.example:444", false),
        ("app://other", false),
        ("null", false),
        ("https://app.example, https://evil.example", false),
    ] {
        let request =
            |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{more}\r\n");
        let expected = |status| if allowed { status } else { 403 };
        assert_none(server.connect(), request("GET /healthz", ""), expected(200));
        assert_none(
            server.connect(),
            request("OPTIONS /mcp", "Access-Control-Request-Method: POST\r\n"),
            expected(401),
        );
    }
    let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\nOrigin: https://app.example\r\n\r\n";
    assert_none(server.connect(), twice.into(), 403);
    assert_none(server.connect(), "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 401);
}

#[test]
fn every_origin_is_listed_by_a_star_if_a_token_is_needed_and_null_is_not_one() {
    for (clients, expected) in [(vec![caller("ada", None)], true), (Vec::new(), false)] {
        let server = TestServer::builder().origins(&["*"]).clients(clients).start();
        let reply = preflight(&server, "/mcp", "https://evil.example", "");
        assert_eq!(reply.status == 200, expected, "{}", reply.head);
        match expected {
            true => assert_readable(&reply, "https://evil.example"),
            false => assert!(header(&reply, "Access-Control-Allow-Origin").is_none(), "{}", reply.head),
        }
        let reply = preflight(&server, "/mcp", "null", "");
        assert_eq!(reply.status, 403);
        assert!(header(&reply, "Access-Control-Allow-Origin").is_none(), "{}", reply.head);
        assert!(!reply.body.contains("MCP_ALLOWED_ORIGINS"), "advice that cannot help: {}", reply.body);
    }
    let server = TestServer::builder().origins(&["*"]).insecure_no_auth().start();
    assert_readable(&preflight(&server, "/mcp", "https://evil.example", ""), "https://evil.example");
}
