//! The log of a scripted run: starts, calls, denials, a node that is down, reloads and a stop.

use crate::document::Document;
use crate::support::node::{Node, SECRET, ScriptedReply, closed_endpoint};
use crate::support::process::ServerProcess;
use crate::support::program::{ADMIN, ProgramServer, READER, lab};
use crate::support::proxmox::{facts_list, proxmox, proxmox_with, script};
use crate::support::raw::{Client, LONG};
use crate::support::rpc::{ACCEPT, call, request};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The lines of one step, up to the one that ends it.
struct LogSteps<'a> {
    document: &'a mut Document,
    process: &'a ServerProcess,
}

impl LogSteps<'_> {
    /// Adds the lines up to each of these words, in any order.
    fn add(&mut self, title: &str, ends: &[&str]) {
        let mut lines = Vec::new();
        let mut missing: Vec<&str> = ends.to_vec();
        while !missing.is_empty() {
            let line =
                self.process.stderr.recv_timeout(LONG).unwrap_or_else(|_| panic!("{title}: {missing:?} {lines:?}"));
            if let Some(at) = missing.iter().position(|end| line.contains(end)) {
                missing.remove(at);
            }
            lines.push(line);
        }
        // Threads of the server log at the same time.
        lines.sort_by_key(|line| without_times(line));
        self.document.case(title, lines.join("\n"));
    }
}

/// Returns a line of the log without its times. Lines of the same millisecond have no order in it.
fn without_times(line: &str) -> String {
    let (_, rest) = line.split_once(' ').unwrap_or_default();
    match rest.split_once("{\"time\":\"") {
        Some((target, record)) => format!("{target}{}", record.split_once('"').map_or("", |(_, members)| members)),
        None => rest.to_owned(),
    }
}

fn post(client: &mut Client, token: &str, message: &str) {
    client.post_with("/mcp", &format!("{ACCEPT}Authorization: Bearer {token}\r\n"), message);
}

fn document() -> Document {
    let mut document = Document::new();
    document.redact(r#""(ms|seq)":\d+"#, "\"$1\":N");
    document.redact(r"after \d+ s", "after N s");
    document.redact(r"after \d+ ms", "after N ms");
    document.redact(r"\d+ bytes in", "N bytes in");
    document
}

/// Returns a configuration of the clusters `lab` and `down`, and a client of each level.
fn config(node: &Node) -> Value {
    let mut config = lab(node, &json!({"deny": ["GET /nodes/*/network"]}));
    config["clusters"]["down"] = json!({"urls": [format!("http://{}", closed_endpoint()), format!("http://{}", node.endpoint())],
        "user": "mcp@pve", "token_id": "ro", "token_secret": SECRET, "timeout_seconds": 10});
    config["default"] = "lab".into();
    config
}

/// Replaces a file at once, so that the server reads a complete file when it sees the change.
fn replace(path: &Path, contents: &str) {
    let new = path.with_extension("new");
    fs::write(&new, contents).expect("write");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::rename(&new, path).expect("rename");
}

#[test]
fn log_of_a_run() {
    let node = proxmox();
    let config = config(&node);
    let server = ProgramServer::builder(&config).flags(&["--log", "debug"]).start();
    let mut document = document();
    let mut log = LogSteps { document: &mut document, process: &server.process };
    let mut client = server.connect();
    let done = "POST \"/mcp\" 200";

    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    post(&mut client, READER, &request(1, "initialize", params));
    log.add("initialize", &[done]);
    post(&mut client, READER, &request(1, "tools/list", json!({})));
    log.add("tools/list", &[done]);
    post(&mut client, READER, &call(2, "list_clusters", json!({})));
    log.add("list_clusters", &[done]);
    post(&mut client, READER, &call(3, "proxmox_api_get", json!({"path": "/nodes/pve1/status"})));
    log.add("a read", &[done]);
    let start = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"});
    post(&mut client, READER, &call(4, "proxmox_api_call", start.clone()));
    log.add("a denied call", &[done]);
    post(&mut client, READER, &call(5, "proxmox_api_get", json!({"path": "/nodes/pve1/network"})));
    log.add("a call that \"deny\" rules out", &[done]);
    post(&mut client, ADMIN, &call(6, "proxmox_api_call", start));
    log.add("a change", &[done]);
    post(&mut client, ADMIN, &call(7, "proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"})));
    log.add("a change that has to be confirmed", &[done]);
    post(&mut client, READER, &call(8, "proxmox_api_get", json!({"path": "/version", "cluster": "down"})));
    log.add("a node that is down", &[done]);
    post(&mut client, READER, &call(9, "nope", json!({})));
    log.add("an unknown tool", &[done]);
    post(&mut client, "nope", &call(9, "nope", json!({})));
    log.add("a wrong token", &["POST \"/mcp\" 401"]);
    server.connect().ask("GET /healthz", "Origin: https://evil.example\r\n");
    log.add("an Origin that is not allowed", &["GET \"/healthz\" 403"]);
    let mut other = server.connect();
    other.send("GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    other.reply().expect("an answer");
    log.add("a Host that is not allowed", &["GET \"/readyz\" 421"]);
    other = server.connect();
    other.send("nonsense\r\n\r\n");
    other.reply().expect("an answer");
    log.add("a request that is not HTTP", &["400"]);

    let mut changed = config.clone();
    changed["clients"].as_object_mut().expect("clients").remove("operator");
    replace(&server.config, &changed.to_string());
    log.add("a reload", &["proxmox_mcp::command::reload"]);
    replace(&server.config, r#"{"clusters": {"lab": {}}}"#);
    log.add("a reload of an invalid file", &["proxmox_mcp::command::reload"]);
    server.process.signal(Signal::TERM);
    log.add("a stop", &["proxmox_mcp::command::server"]);
    document.assert("log");
}

#[test]
fn log_of_a_start_without_protection() {
    let mut document = document();
    for (title, args) in [
        ("without clients", &["--demo", "--listen", "0.0.0.0:0", "--insecure-no-auth"][..]),
        ("as JSON", &["--demo", "--listen", "0.0.0.0:0", "--insecure-no-auth", "--log-format", "json"]),
        ("SIGHUP without a file", &["--demo", "--listen", "127.0.0.1:0"]),
    ] {
        let mut process = ServerProcess::start(args);
        process.stdout.recv_timeout(LONG).expect("a first line");
        if !args.contains(&"--insecure-no-auth") {
            process.signal(Signal::HUP);
            let line = process.stderr.recv_timeout(LONG).expect("a line");
            document.case("SIGHUP", line);
        }
        process.signal(Signal::TERM);
        process.wait_for_exit();
        document.case(title, process.stderr.iter().collect::<Vec<_>>().join("\n"));
    }
    let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut process =
        ServerProcess::of_with_stdin(&mut crate::support::process::program(&["--demo"]), OwnedFd::from(socket));
    process.stdout.recv_timeout(LONG).expect("a first line");
    process.signal(Signal::TERM);
    process.wait_for_exit();
    document.case("with a listening socket at stdin", process.stderr.iter().collect::<Vec<_>>().join("\n"));
    let token = [("MCP_AUTH_TOKEN", "sixteen_letters_")];
    let mut command = crate::support::process::program(&["--demo", "--listen", "0.0.0.0:0"]);
    let mut process = ServerProcess::of(command.envs(token));
    process.stdout.recv_timeout(LONG).expect("a first line");
    process.signal(Signal::TERM);
    process.wait_for_exit();
    document.case("without TLS", process.stderr.iter().collect::<Vec<_>>().join("\n"));
    document.redact(r"0\.0\.0\.0:\d{4,5}", "0.0.0.0:PORT");
    document.assert("log_starts");
}

/// Records the log of requests that are refused before any work is done for them.
#[test]
fn log_of_refused_requests() {
    let mut document = document();
    document.redact(r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:PORT");
    let request = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\n{headers}\r\n");
    let proxied = request("GET /readyz", "Host: localhost\r\nX-Forwarded-For: 192.0.2.9\r\n");
    let wrong = request("GET /readyz", "Host: localhost\r\nAuthorization: Bearer wrong\r\n");
    let refused = [
        ("an unknown Host", request("GET /readyz", "Host: evil.example\r\n")),
        ("an unknown Origin", request("GET /readyz", "Host: localhost\r\nOrigin: https://evil.example\r\n")),
        ("TLS on a plain port", "\u{16}".to_owned()),
    ];
    let no_clients = [&refused[..], &[("a proxy without a client token", proxied)]].concat();
    let missing = request("GET /readyz", "Host: localhost\r\n");
    let clients = [("no token", missing.clone()), ("no token again", missing), ("a wrong token", wrong)];
    for (token, requests) in [(None, &no_clients[..]), (Some("sixteen_letters_"), &clients)] {
        let args = ["--demo", "--listen", "127.0.0.1:0", "--allowed-hosts", "mcp.example"];
        let mut command = crate::support::process::program(&args);
        command.envs(token.map(|token| ("MCP_AUTH_TOKEN", token)));
        let mut process = ServerProcess::of(&mut command);
        let address = process.address();
        for (_, text) in requests {
            let mut client = Client::to(&address);
            client.send(text);
            client.reply().expect("an answer");
        }
        process.signal(Signal::TERM);
        process.wait_for_exit();
        let about = requests.iter().map(|(about, _)| *about).collect::<Vec<_>>().join(", ");
        document.case(about, process.stderr.iter().collect::<Vec<_>>().join("\n"));
    }
    document.assert("log_refusals");
}

/// Records the log of a node whose description of its API cannot be used.
#[test]
fn log_of_descriptions() {
    let mut document = document();
    let operation = json!([{"path": "/version", "info": {"GET": {"description": "x"}}}]);
    let mut with_secret = facts_list();
    with_secret.push(json!({"path": format!("/{SECRET}"), "info": {"GET": {"description": SECRET}}}));
    for (about, description) in [
        ("refused", ScriptedReply::refusal(500, "no such file", "")),
        ("empty", ScriptedReply::body("")),
        ("no list", ScriptedReply::body("const apiSchema = 7;\n")),
        ("an empty list", ScriptedReply::body("const apiSchema = [];\n")),
        ("cut", ScriptedReply::body("const apiSchema = [{\"path\":")),
        ("of other forms", ScriptedReply::body("const apiSchema = [7];\n")),
        ("of another program", ScriptedReply::body(format!("const apiSchema = {operation};\n"))),
        ("with the secret", ScriptedReply::body(script(&with_secret))),
        ("lost", ScriptedReply::close()),
    ] {
        let node = proxmox_with(description, |_| None);
        let server = ProgramServer::builder(&lab(&node, &json!({}))).flags(&["--log", "info"]).start();
        let mut log = LogSteps { document: &mut document, process: &server.process };
        post(&mut server.connect(), READER, &call(1, "describe_api", json!({"path": "/version"})));
        log.add(about, &["proxmox_mcp::call"]);
    }
    document.assert("log_descriptions");
}

/// Records the log of a node that stops and recovers.
#[test]
fn log_of_a_node_that_comes_back() {
    let answers = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = answers.clone();
    let node = Node::start(move |_| match up.load(std::sync::atomic::Ordering::SeqCst) {
        true => ScriptedReply::data("[]"),
        false => ScriptedReply::close(),
    });
    let server = ProgramServer::builder(&lab(&node, &json!({}))).flags(&["--log", "info"]).start();
    let mut document = document();
    let mut log = LogSteps { document: &mut document, process: &server.process };
    let mut client = server.connect();
    post(&mut client, READER, &call(1, "list_nodes", json!({})));
    log.add("the node closes connections", &["proxmox_mcp::call"]);
    answers.store(true, std::sync::atomic::Ordering::SeqCst);
    post(&mut client, READER, &call(2, "list_nodes", json!({})));
    log.add("the node answers again", &["proxmox_mcp::call"]);
    document.assert("log_node");
}
