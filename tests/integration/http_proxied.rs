//! Requests that a proxy handled, to a server on loopback without client tokens and to others.

use crate::support::raw::{Reply, ping};
use crate::support::rpc::ACCEPT;
use crate::support::server::{TestServer, caller};

/// Headers and versions as proxies, tunnels and content delivery networks send them.
const PROXIED: [&str; 15] = [
    "HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nx-forwarded-proto: https\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: mcp.example\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nForwarded: for=203.0.113.9\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nForwarded:\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nX-Real-IP: 203.0.113.9\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nVia: 1.1 varnish\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nCF-Connecting-IP: 203.0.113.9\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nCf-Ray: 8a\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nTrue-Client-IP: 203.0.113.9\r\n",
    "HTTP/1.1\r\nHost: localhost\r\nTailscale-User-Login: ada@example\r\n",
    // nginx, `proxy_pass http://127.0.0.1:8000` and nothing else.
    "HTTP/1.0\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n",
    // A proxy that passes the Host of its clients on.
    "HTTP/1.1\r\nHost: mcp.example\r\n",
    "HTTP/1.1\r\nHost: mcp.example:443\r\n",
    "HTTP/1.1\r\nHost: 192.0.2.7\r\n",
];
const LOCAL: &str = "HTTP/1.1\r\nHost: localhost\r\nUser-Agent: mcp\r\ntraceparent: x\r\n";
const ROUTES: [&str; 4] = ["POST /mcp", "GET /sse", "POST /messages", "GET /readyz"];

fn ask(server: &TestServer, line: &str, version_and_headers: &str, more: &str) -> Reply {
    let body = if line.starts_with("POST") { ping(1) } else { String::new() };
    let length = body.len();
    let mut client = server.connect();
    client.send(format!(
        "{line} {version_and_headers}{ACCEPT}Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    ));
    client.reply().expect("an answer")
}

#[test]
fn without_client_tokens_a_request_through_a_proxy_is_refused_with_the_cure() {
    let server = TestServer::builder().hosts(&["mcp.example", "192.0.2.7"]).start();
    for proxied in PROXIED {
        for route in ROUTES {
            for token in ["", "Authorization: Bearer some-token\r\n"] {
                let reply = ask(&server, route, proxied, token);
                assert_eq!(reply.status, 403, "{route} {proxied}");
                for cure in ["`proxmox-mcp token`", "MCP_AUTH_TOKEN", "--insecure-no-auth"] {
                    assert!(reply.body.contains(cure), "{}", reply.body);
                }
            }
        }
        assert_eq!(ask(&server, "GET /healthz", proxied, "").status, 200, "{proxied}");
        assert_eq!(ask(&server, "POST /register", proxied, "").status, 404, "{proxied}");
    }
    assert_eq!(ask(&server, "POST /mcp", LOCAL, "").status, 200);
}

#[test]
fn with_client_tokens_a_request_through_a_proxy_needs_one_like_any_other() {
    let server = TestServer::builder().hosts(&["mcp.example", "192.0.2.7"]).clients(vec![caller("ada", None)]).start();
    for proxied in PROXIED {
        assert_eq!(ask(&server, "POST /mcp", proxied, "").status, 401, "{proxied}");
        assert_eq!(ask(&server, "POST /mcp", proxied, "Authorization: Bearer ada\r\n").status, 200, "{proxied}");
    }
}

#[test]
fn with_insecure_no_auth_a_request_through_a_proxy_needs_no_token() {
    let server = TestServer::builder().hosts(&["*"]).insecure_no_auth().start();
    for proxied in PROXIED {
        assert_eq!(ask(&server, "POST /mcp", proxied, "").status, 200, "{proxied}");
    }
}
