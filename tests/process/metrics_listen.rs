//! `--metrics-listen`: the metrics at their own port, with the same access checks.

use crate::support::process::{ServerProcess, program, run};
use crate::support::raw::{Client, LONG, Reply};
use rustix::process::Signal;
use std::net::TcpListener;

const TOKEN: &str = "sixteen_letters_";

/// Starts the program with two ports and a token. Returns it with the address of each port.
fn start_program(more: &[&str]) -> (ServerProcess, String, String) {
    let args = ["--demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let process = ServerProcess::of(program(&[&args, more].concat()).env("MCP_AUTH_TOKEN", TOKEN));
    let main = process.address();
    let watch = loop {
        let line = process.stdout.recv_timeout(LONG).expect("a line about the metrics");
        if let Some(rest) = line.strip_prefix("Metrics: http://") {
            break rest.strip_suffix("/metrics").expect("their path").to_owned();
        }
    };
    assert_ne!(main, watch);
    (process, main, watch)
}

fn ask(address: &str, line: &str) -> Reply {
    Client::to(address).ask(line, &format!("Authorization: Bearer {TOKEN}\r\n"))
}

#[test]
fn each_port_serves_its_own_paths() {
    let (_process, main, watch) = start_program(&[]);
    for (path, on_main, on_watch) in [
        ("/metrics", 404, 200),
        ("/readyz", 200, 200),
        ("/healthz", 200, 200),
        ("/mcp", 405, 404),
        ("/sse//", 404, 404),
        ("/messages", 405, 404),
    ] {
        let status = |address: &str| ask(address, &format!("GET {path}")).status;
        assert_eq!((status(&main), status(&watch)), (on_main, on_watch), "{path}");
    }
    assert_eq!(ask(&watch, "GET /sse").status, 404);
    assert_eq!(ask(&watch, "POST /mcp").status, 404);
    let text = ask(&watch, "GET /metrics").body;
    for sample in [
        r#"proxmox_mcp_requests_total{route="/healthz",status="2xx"} 2"#,
        r#"proxmox_mcp_requests_total{route="/mcp",status="4xx"} 3"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "both ports are counted: {sample}\n{text}");
    }
}

#[test]
fn metrics_port_answers_head_without_a_body() {
    let (_process, main, watch) = start_program(&[]);
    for (address, path, status) in [
        (&main, "/healthz", "200 OK"),
        (&main, "/readyz", "200 OK"),
        (&watch, "/metrics", "200 OK"),
        (&watch, "/readyz", "200 OK"),
        (&main, "/sse", "405 Method Not Allowed"),
    ] {
        let head = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
        let mut client = Client::to(address);
        client.send(format!("HEAD {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n"));
        let answer = client.rest();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")) && body.is_empty(), "{path}: {answer}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        assert!(length.is_some_and(|length| length != "0"), "{path}: {answer}");
    }
}

#[test]
fn metrics_port_has_the_same_guard() {
    let (_process, main, watch) = start_program(&[]);
    for address in [&main, &watch] {
        let status = |request: &str| {
            let mut client = Client::to(address);
            client.send(request);
            client.reply().expect("an answer").status
        };
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(status(&format!("GET /readyz HTTP/1.1\r\nHost: evil.example\r\n{token}\r\n")), 421);
        let origin = "Origin: https://evil.example\r\n";
        assert_eq!(status(&format!("GET /readyz HTTP/1.1\r\nHost: localhost\r\n{origin}{token}\r\n")), 403);
        assert_eq!(status("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401);
        assert_eq!(status("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
        assert_eq!(status("nonsense\r\n\r\n"), 400);
    }
    assert_eq!(Client::to(&watch).ask("GET /metrics", "").status, 401);
    assert_eq!(Client::to(&main).ask("GET /metrics", "").status, 404, "an unknown path requires no token");
}

#[test]
fn connections_in_use_leave_both_ports_to_monitoring() {
    let (_process, main, watch) = start_program(&["--max-connections", "2"]);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let mut held: Vec<_> = (0..2).map(|_| Client::to(&main)).collect();
    for client in &mut held {
        // A connection that shows no client would make room for the next one.
        assert_eq!(client.ask("POST /mcp", &token).status, 415);
    }
    assert_eq!(Client::to(&main).ask("POST /mcp", &token).status, 503);
    for (address, path) in [(&main, "/healthz"), (&main, "/readyz"), (&watch, "/healthz"), (&watch, "/metrics")] {
        assert_eq!(Client::to(address).ask(&format!("GET {path}"), &token).status, 200, "{address} {path}");
    }
    held.pop();
    crate::support::raw::eventually("there is a free place again", || {
        Client::to(&main).ask("POST /mcp", &token).status == 415
    });
}

#[test]
fn stop_closes_both_ports() {
    let (mut process, main, watch) = start_program(&[]);
    let mut idle: Vec<_> = [&main, &watch].into_iter().map(Client::to).collect();
    for client in &mut idle {
        assert_eq!(client.ask("GET /healthz", "").status, 200);
    }
    process.signal(Signal::TERM);
    idle.iter_mut().for_each(Client::assert_ends);
    assert_eq!(process.wait_for_exit().code(), Some(0));
}

#[test]
fn metrics_port_off_loopback_needs_a_token_and_errors_name_its_flag() {
    let start = |address: &str| run(&["--demo", "--listen", "127.0.0.1:0", "--metrics-listen", address]);
    let output = start("0.0.0.0:0");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("any machine that reaches it could read the metrics"), "{text}");
    assert!(text.contains("(--metrics-listen 127.0.0.1:0)"), "{text}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    let output = start(&address);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("cannot listen on {address}: another program uses it"))
            && text.contains("with --metrics-listen"),
        "{text}"
    );
}
