//! A token's secret is sent to its node only. No log, answer, error or text of the program contains it or a part of it,
//! even if a node sends it back.

use crate::support::canary::{CANARY, assert_unseen};
use crate::support::node::{Node, Request, ScriptedReply, closed_endpoint};
use crate::support::process::{ServerProcess, configuration, path, program};
use crate::support::raw::{Client, Sse};
use crate::support::rpc::{call, modern, request};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use tempfile::NamedTempFile;

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:";

/// Returns the Authorization header of a request. A request for the description of the API has none.
fn token(request: &Request) -> String {
    let public = request.path().ends_with("/apidoc.js");
    assert_eq!(request.header("authorization").is_none(), public, "{}", request.path());
    request.header("authorization").unwrap_or(CANARY).to_owned()
}

/// Starts nodes that echo the token in every part of an answer, by the name of their cluster.
fn start_nodes() -> Vec<(&'static str, Node)> {
    let json_error = |token: &str| format!(r#"{{"data":null,"message":"{token}\n","errors":{{"{token}":"{token}"}}}}"#);
    vec![
        (
            "errors",
            Node::start(move |r| ScriptedReply::refusal(400, "Parameter verification failed.", &json_error(&token(r)))),
        ),
        (
            "escaped",
            Node::start(move |r| ScriptedReply::refusal(500, "x", &json_error(&token(r).replace('-', "\\u002d")))),
        ),
        ("phrase", Node::start(|r| ScriptedReply::refusal(500, &token(r), ""))),
        (
            "denied",
            Node::start(|r| ScriptedReply::refusal(403, &format!("Permission check failed ({})", token(r)), "")),
        ),
        ("unauthorized", Node::start(|r| ScriptedReply::refusal(401, &token(r), &token(r)))),
        ("page", Node::start(|r| ScriptedReply::body(format!("<html>{}</html>", token(r))))),
        ("string", Node::start(|r| ScriptedReply::body(format!("{:?}", token(r))))),
        ("late", Node::start(|r| ScriptedReply::body(format!("{}{}", "x".repeat(980), token(r))))),
        (
            "cut",
            Node::start(|r| ScriptedReply::answer(200, "OK", &[("Content-Length", "9999")], token(r)).then_close()),
        ),
        (
            "redirect",
            Node::start(|r| ScriptedReply::answer(302, "Found", &[("Location", &format!("/{}", token(r)))], "")),
        ),
        (
            "header",
            Node::start(|r| ScriptedReply::answer(500, "x", &[("X-Echo", &token(r)), ("Set-Cookie", &token(r))], "")),
        ),
        ("not-http", Node::start(|r| ScriptedReply::raw(format!("{}\r\n\r\n", token(r))).then_close())),
        (
            "right",
            Node::start(|r| {
                ScriptedReply::data(if r.path().ends_with("version") { r#"{"version":"9"}"# } else { "[]" })
            }),
        ),
    ]
}

/// Writes a configuration of these nodes and of a closed port. Returns it with the clusters' names.
fn write_configuration(nodes: &[(&'static str, Node)]) -> (NamedTempFile, Vec<&'static str>) {
    let mut clusters: Vec<_> = nodes.iter().map(|(name, node)| (*name, node.endpoint().to_string())).collect();
    clusters.push(("down", closed_endpoint().to_string()));
    let entries: Vec<_> = clusters.iter().map(|(name, address)| (*name, address.as_str())).collect();
    (configuration(CANARY, &entries), clusters.iter().map(|(name, _)| *name).collect())
}

/// Returns valid and invalid calls of every tool on every cluster, as names and arguments.
fn calls(clusters: &[&str]) -> Vec<(&'static str, Value)> {
    let mut calls = vec![
        ("list_clusters", json!({})),
        ("list_clusters", json!({"check": true})),
        ("list_nodes", json!({})),
        ("get_cluster_resources", json!({"type": "vm"})),
        ("get_cluster_resources", json!({"token_secret": 1})),
        ("list_nodes", json!({"cluster": "none"})),
        ("find_guest", json!({"query": "100"})),
        ("wait_for_task", json!({"upid": UPID, "timeout": "1"})),
        ("no_such_tool", json!({})),
    ];
    for cluster in clusters {
        calls.push(("list_nodes", json!({"cluster": cluster})));
        calls.push(("get_cluster_resources", json!({"cluster": cluster})));
        calls.push(("find_guest", json!({"cluster": cluster, "query": "100"})));
        calls.push(("wait_for_task", json!({"cluster": cluster, "upid": UPID, "timeout": "1"})));
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let arguments = json!({"cluster": cluster, "path": "/nodes/pve1/qemu", "method": method, "data": {"a": 1}});
            calls.push(("proxmox_api_call", arguments));
        }
    }
    calls
}

/// Asserts that the nodes received the secret. Otherwise these tests prove nothing.
fn assert_sent(nodes: &[(&'static str, Node)]) {
    for (name, node) in nodes {
        let requests = node.requests();
        assert!(!requests.is_empty() && requests.iter().all(|r| token(r).ends_with(CANARY)), "{name}");
    }
}

/// Ends a server and returns its output after the first line.
fn stop_and_read(process: ServerProcess) -> String {
    process.signal(Signal::TERM);
    read_rest(process)
}

/// Returns the rest of the output of a process that ends.
fn read_rest(mut process: ServerProcess) -> String {
    process.wait_for_exit();
    process.stdout.iter().chain(process.stderr.iter()).collect::<Vec<_>>().join("\n")
}

#[test]
fn canary_search_finds_every_form() {
    let is_found = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        std::panic::catch_unwind(move || assert_unseen("a test", &bytes)).is_err()
    };
    let secret = CANARY.as_bytes();
    assert!(is_found(CANARY.to_uppercase().as_bytes()) && is_found(&secret[5..13]));
    assert!(is_found(format!("{secret:?}").as_bytes()) && is_found(format!("{secret:02x?}").as_bytes()));
    for separator in ["", " ", ":", ", 0x", "\n"] {
        let dump: Vec<_> = secret.iter().map(|b| format!("{b:02X}")).collect();
        assert!(is_found(dump.join(separator).as_bytes()), "{separator:?}");
    }
    assert!(!is_found(b"9f3b7c2 and -6d5e-4") && !is_found(b""));
}

#[test]
fn http_answers_and_log_do_not_show_the_secret() {
    let nodes = start_nodes();
    let (config, clusters) = write_configuration(&nodes);
    let process = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0", "--log", "trace"]);
    let address = process.address();
    let connect = || Client::new(TcpStream::connect(&address).expect("connect"));
    let mut client = connect();
    let mut answers = client.ask("GET /healthz", "").body;
    for (tool, arguments) in calls(&clusters) {
        answers += &client.mcp(&call(1, tool, arguments.clone())).body;
        answers += &client.mcp_modern(&modern(1, "tools/call", json!({"name": tool, "arguments": arguments}))).body;
    }
    answers += &client.mcp(&request(1, "tools/list", json!({}))).body;
    assert_sent(&nodes);
    assert!(answers.contains("(secret)"), "what the nodes sent back is in the answers: {answers}");
    assert_unseen("an answer over POST /mcp", answers.as_bytes());
    let printed = stop_and_read(process);
    assert!(printed.contains("TRACE") || printed.contains("DEBUG"), "{printed}");
    assert_unseen("the log of a server", printed.as_bytes());
}

#[test]
fn events_and_log_do_not_show_the_secret() {
    let nodes = start_nodes();
    let (config, clusters) = write_configuration(&nodes);
    let process = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0", "--log", "trace"]);
    let address = process.address();
    let connect = || Client::new(TcpStream::connect(&address).expect("connect"));
    let (mut sse, mut poster) = (Sse::open(connect()), connect());
    let mut events = String::new();
    for (tool, arguments) in calls(&clusters) {
        assert_eq!(poster.post(&sse.path, &call(1, tool, arguments)).status, 202);
        events += &sse.message();
    }
    assert_sent(&nodes);
    assert!(events.contains("(secret)"), "{events}");
    assert_unseen("an event", events.as_bytes());
    let printed = stop_and_read(process);
    assert!(!printed.contains(&sse.path), "nor the session's id, which is as good as a password");
    assert_unseen("the log of a server", printed.as_bytes());
}

#[test]
fn client_token_is_sent_to_no_node_and_shown_nowhere() {
    // Nodes that echo each request in their answers.
    let echo = |r: &Request| format!("{} {:?} {}", r.target, r.headers, r.body);
    let nodes = vec![
        ("right", Node::start(move |r| ScriptedReply::data(&format!("{:?}", echo(r))))),
        ("errors", Node::start(move |r| ScriptedReply::refusal(500, "x", &echo(r)))),
    ];
    let clusters: Vec<_> = nodes.iter().map(|(name, node)| (*name, node.endpoint().to_string())).collect();
    let clusters: Vec<_> = clusters.iter().map(|(name, address)| (*name, address.as_str())).collect();
    let config = configuration("s3cret", &clusters);
    let mut command = program(&["--config", path(&config), "--listen", "127.0.0.1:0", "--log", "trace"]);
    let process = ServerProcess::of(command.env("MCP_AUTH_TOKEN", CANARY));
    let address = process.address();
    let connect = || Client::new(TcpStream::connect(&address).expect("connect"));
    let right = format!("Authorization: Bearer {CANARY}\r\n");
    let (mut sse, mut poster) = (Sse::open_with(connect(), &right), connect());
    let mut answers = String::new();
    for (tool, arguments) in calls(&["right", "errors"]) {
        let message = call(1, tool, arguments);
        let reply = poster.post_with("/mcp", &format!("{right}Accept: application/json\r\n"), &message);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(poster.post_with(&sse.path, &right, &message).status, 202);
        answers += &(reply.body + &sse.message());
    }
    // Misspellings of the valid token: each is rejected, and the answer does not repeat it.
    for wrong in [
        format!("Authorization: Bearer {CANARY}x\r\n"),
        format!("Authorization: Bearer {}\r\n", &CANARY[1..]),
        format!("Authorization: Basic {CANARY}\r\n"),
        right.repeat(2),
        format!("Host: {CANARY}\r\nAuthorization: Bearer {CANARY}\r\n"),
    ] {
        let reply = connect().post_with("/mcp", &wrong, &request(1, "ping", json!({})));
        assert!(matches!(reply.status, 400 | 401), "{}", reply.head);
        answers += &(reply.head + &reply.body);
    }
    let mut sent = String::new();
    for (name, node) in &nodes {
        assert!(!node.requests().is_empty(), "{name}");
        node.requests().iter().for_each(|request| sent += &echo(request));
    }
    assert_unseen("a request to a node", sent.as_bytes());
    assert_unseen("an answer", answers.as_bytes());
    let pid = process.child.id();
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the arguments");
    assert_unseen("the arguments of the process", &arguments);
    let printed = stop_and_read(process);
    assert!(printed.contains("wrong client token") && printed.contains("DEBUG"), "{printed}");
    assert_unseen("the log of a server", printed.as_bytes());
}

#[test]
fn stdio_pipes_do_not_show_the_secret() {
    let nodes = start_nodes();
    let (config, clusters) = write_configuration(&nodes);
    let mut process = ServerProcess::start(&["stdio", "--config", path(&config), "--log", "trace"]);
    let mut lines = String::new();
    for (tool, arguments) in calls(&clusters) {
        lines += &process.ask(&call(1, tool, arguments)).to_string();
    }
    assert_sent(&nodes);
    process.end_input();
    assert!(lines.contains("(secret)"), "{lines}");
    assert_unseen("a line on stdout", lines.as_bytes());
    assert_unseen("stderr", read_rest(process).as_bytes());
}

#[test]
fn check_does_not_show_the_secret() {
    let nodes = start_nodes();
    let (config, _) = write_configuration(&nodes);
    let output = program(&["check", "--config", path(&config), "--log", "trace"]).output().expect("run");
    assert_sent(&nodes);
    assert_eq!(output.status.code(), Some(1));
    assert_unseen("check", &[output.stdout, output.stderr].concat());
}

#[test]
fn banner_and_help_do_not_show_the_secret() {
    let nodes = start_nodes();
    let (config, _) = write_configuration(&nodes);
    let process = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    process.address();
    assert_unseen("the start", stop_and_read(process).as_bytes());
    for args in [&["--help"][..], &["-h"], &["stdio", "--help"], &["check", "--help"], &["--version"], &["--nope"]] {
        // Like a shell with left-over variables.
        let variables =
            ["PROXMOX_MCP_CONFIG", "MCP_ALLOWED_HOSTS", "PVE_TOKEN", "MCP_AUTH_TOKEN", "MCP_AUTH_TOKEN_FILE"]
                .map(|name| (name, CANARY));
        let output = program(args).envs(variables).output().expect("run");
        assert_unseen(&format!("{args:?}"), &[output.stdout, output.stderr].concat());
    }
}

#[test]
fn secret_from_a_file_or_variable_is_not_shown() {
    let node = Node::start(|r| ScriptedReply::refusal(500, &token(r), &token(r)));
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "{CANARY}").expect("write");
    for source in [json!({"token_secret_file": path(&file)}), json!({"token_secret_env": "PVE_TOKEN"})] {
        let mut cluster = json!({"url": format!("http://{}", node.endpoint()), "user": "mcp@pve", "token_id": "ro"});
        cluster.as_object_mut().expect("an object").extend(source.as_object().expect("an object").clone());
        let config = written(&json!({"clusters": {"lab": cluster}}).to_string());
        let mut check = program(&["check", "--config", path(&config), "--log", "trace"]);
        let output = check.env("PVE_TOKEN", CANARY).output().expect("run");
        assert_eq!(output.status.code(), Some(1), "{source}");
        assert_unseen(&source.to_string(), &[output.stdout, output.stderr].concat());
    }
    assert!(node.requests().iter().all(|r| token(r).ends_with(CANARY)));
}

fn written(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("write");
    file
}

/// Returns invalid configurations that contain the secret.
fn wrong_configurations() -> Vec<String> {
    let here = format!("http://{}", closed_endpoint());
    let right = json!({"url": here, "user": "mcp@pve", "token_id": "ro", "token_secret": CANARY});
    let with = |field: &str, value: Value| {
        let mut cluster = right.clone();
        cluster[field] = value;
        json!({"clusters": {"lab": cluster}}).to_string()
    };
    let without = |field: &str| with(field, Value::Null);
    let mut all = vec![
        without("url"),
        with("token_secret", json!([CANARY])),
        with("token_secret", json!({CANARY: CANARY})),
        with("token_secret", format!("{CANARY}\n").into()),
        with("token_secret", format!("mcp@pve!ro={CANARY}").into()),
        with("token_secret", format!("PVEAPIToken=mcp@pve!ro={CANARY}").into()),
        with(CANARY, true.into()),
        with("verify_ssl", CANARY.into()),
        with("timeout_seconds", CANARY.into()),
        with("_url", CANARY.into()).replace("\"lab\"", &format!("\"{CANARY}\": 1, \"lab\"")),
        json!({"clusters": {"lab": right.clone()}, "default": CANARY}).to_string(),
        json!({"clusters": {"lab": right.clone()}, CANARY: 1}).to_string(),
        json!({"clusters": {"lab": right.clone()}, "clients": CANARY}).to_string(),
        json!({"clusters": {"lab": right.clone()}, "clients": {CANARY: {"access": "full"}}}).to_string(),
        json!({"clusters": {"lab": right.clone()}, "clients": {"ada": {"token_sha256": CANARY}}}).to_string(),
        json!({"clusters": {"lab": right.clone()}, "clients": {"ada": {CANARY: CANARY}}}).to_string(),
        json!({"clusters": {"lab": right.clone()}, "clients": {"ada": {"access": CANARY}}}).to_string(),
        json!({"clusters": CANARY}).to_string(),
        json!({"clusters": [CANARY]}).to_string(),
        json!(CANARY).to_string(),
        CANARY.to_owned(),
    ];
    for field in ["url", "user", "token_id", "token_secret_file", "token_secret_env", "ca_file", "fingerprint", "urls"]
    {
        for value in [
            json!(CANARY),
            json!(format!("mcp@pve!ro={CANARY}")),
            json!(format!("https://mcp:{CANARY}@pve1:8006/")),
            json!([CANARY]),
        ] {
            let text = with(field, value);
            // The two other sources conflict with `token_secret`, which is a different error.
            all.push(if field.starts_with("token_secret_") {
                text.replacen(&format!("\"token_secret\":\"{CANARY}\""), "\"token_secret\":null", 1)
            } else {
                text
            });
        }
    }
    // Syntax errors just before, in and after the secret, which a parser's error might quote.
    let text = json!({"clusters": {"lab": right}}).to_string();
    let at = text.find(CANARY).expect("the secret");
    for cut in [at - 1, at, at + 12, at + CANARY.len(), at + CANARY.len() + 1] {
        let (before, after) = text.split_at(cut);
        all.extend([
            format!("{before}#{after}"),
            format!("{before}\n{after}"),
            format!("{before}\\x{after}"),
            before.into(),
        ]);
    }
    all
}

#[test]
fn configuration_errors_do_not_show_the_secret() {
    for text in wrong_configurations() {
        let config = written(&text);
        let output = program(&["check", "--config", path(&config), "--log", "trace"]).output().expect("run");
        let message = [output.stdout, output.stderr].concat();
        assert_unseen(&format!("the error of {text}"), &message);
        // A few of them are valid, and fail only because no node listens.
        assert_ne!(output.status.code(), Some(0), "{text}");
    }
}
