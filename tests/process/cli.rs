//! The command as people and containers use it: flags, exit codes, `check`, `health`, signals.

use crate::support::node::{Node, ScriptedReply};
use crate::support::process::{ServerProcess, configuration, path, program, run};
use crate::support::raw::{Client, LONG, Sse, eventually};
use crate::support::rpc::{ACCEPT, call};
use proxmox_mcp::sanitize::looks_like_content;
use rustix::process::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Instant;

const CANARY: &str = "c4a4a4a4-dead-4bee-8f00-5ec4e7000002";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns stderr of a run. Fails unless it ended with `code`.
fn expect_failure(output: &Output, code: i32) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    message
}

// ---- flags and variables

#[test]
fn version_is_one_line() {
    let output = run(&["--version"]);
    assert_eq!(text(&output.stdout), format!("proxmox-mcp {}\n", env!("CARGO_PKG_VERSION")));
    assert!(output.status.success());
}

#[test]
fn short_help_leaves_the_limits_to_long_help() {
    let (short, long) = (text(&run(&["-h"]).stdout), text(&run(&["--help"]).stdout));
    for flag in [
        "--listen",
        "--config",
        "--demo",
        "--allowed-hosts",
        "--allowed-origins",
        "--auth-token-file",
        "--insecure-no-auth",
        "--log",
        "check",
        "token",
        "health",
    ] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}");
    }
    for flag in ["--max-connections-per-address", "--head-timeout", "--stop-timeout"] {
        assert!(!short.contains(flag) && long.contains(flag), "{flag}");
    }
    assert!(short.lines().count() <= 65, "{short}");
    for line in long.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let variables = [
        "PROXMOX_MCP_CONFIG",
        "PROXMOX_MCP_LISTEN",
        "PROXMOX_MCP_LOG",
        "MCP_ALLOWED_HOSTS",
        "MCP_ALLOWED_ORIGINS",
        "MCP_AUTH_TOKEN",
        "MCP_AUTH_TOKEN_FILE",
        "MCP_INSECURE_NO_AUTH",
        "MCP_METRICS_LISTEN",
        "PROXMOX_MCP_MAX_CALLS",
        "PROXMOX_MCP_HEAD_TIMEOUT",
    ];
    // The file does not exist, so that a command line that is accepted ends there.
    let check = || program(&["check", "--config", "/nonexistent/clusters.json"]);
    let text = expect_failure(&check().envs(variables.map(|name| (name, ""))).output().expect("run"), 2);
    assert!(text.contains("/nonexistent/clusters.json: 1 problem\n  the file does not exist"), "{text}");
    for name in variables.into_iter().filter(|name| name.starts_with("PROXMOX_MCP_") && !name.ends_with("CONFIG")) {
        let text = expect_failure(&check().env(name, "no=such=value").output().expect("run"), 2);
        assert!(text.contains("invalid value"), "{name}: {text}");
    }
}

/// Runs `check` on a file that does not exist, so that an accepted command line ends there.
fn check_missing_file(variables: &[(&str, &str)], args: &[&str]) -> String {
    let args = [&["check", "--config", "/nonexistent/clusters.json"], args].concat();
    expect_failure(&program(&args).envs(variables.iter().copied()).output().expect("run"), 2)
}

#[test]
fn flag_overrides_its_variable() {
    let variables = [("PROXMOX_MCP_LOG", "loud"), ("PROXMOX_MCP_MAX_CALLS", "0")];
    let text = check_missing_file(&variables, &["--log", "warn", "--max-calls", "7"]);
    assert!(text.contains("does not exist"), "{text}");
    let text = check_missing_file(&variables, &["--max-calls", "7"]);
    assert!(text.contains("invalid value 'loud' for 'PROXMOX_MCP_LOG (--log <FILTER>)': expected a level"), "{text}");
    let text = check_missing_file(&[("PROXMOX_MCP_LOG", "loud\u{202e}")], &[]);
    assert!(text.contains("invalid value 'loud\\u202e'"), "{text}");
    let text = check_missing_file(&[("PROXMOX_MCP_LOG", "loud\u{1b}[31m\nerror: two")], &[]);
    assert!(text.contains("invalid value '(not shown)'") && !text.contains("two"), "{text}");
}

#[test]
fn a_switch_has_a_value_only_in_its_variable() {
    for name in ["MCP_INSECURE_NO_AUTH", "MCP_METRICS"] {
        for value in ["1", "TRUE", "off", ""] {
            let text = check_missing_file(&[(name, value)], &[]);
            assert!(text.contains("does not exist"), "{name}={value}: {text}");
        }
        let text = check_missing_file(&[(name, "maybe")], &[]);
        assert!(text.contains(name) && text.contains("expected true or false"), "{text}");
    }
    for value in ["1", "on"] {
        let output = program(&["--demo", "--listen", "127.0.0.1:0"])
            .envs([("MCP_INSECURE_NO_AUTH", value), ("MCP_AUTH_TOKEN", "sixteen_letters_")])
            .output()
            .expect("run");
        assert!(expect_failure(&output, 2).contains("--insecure-no-auth (MCP_INSECURE_NO_AUTH) contradicts"));
    }
}

#[test]
fn completions_and_the_man_page_name_every_flag() {
    let help = text(&run(&["--help"]).stdout);
    let flags: Vec<&str> = help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split(' ').next()).collect();
    assert!(flags.len() > 30, "{flags:?}");
    for (args, form) in [
        (&["completions", "bash"][..], "complete -F"),
        (&["completions", "zsh"], "#compdef proxmox-mcp"),
        (&["completions", "fish"], "complete -c proxmox-mcp"),
        (&["completions", "elvish"], "edit:completion"),
        (&["completions", "powershell"], "Register-ArgumentCompleter"),
        (&["man"], ".TH proxmox-mcp 1"),
    ] {
        let output = run(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let printed = text(&output.stdout).replace("\\-", "-");
        assert!(printed.contains(form), "{args:?}: {printed}");
        assert!(args != ["man"] || printed.contains("PROXMOX_MCP_MAX_CALLS"), "{printed}");
        for flag in &flags {
            assert!(printed.contains(flag), "{args:?}: {flag}");
        }
    }
}

#[test]
fn help_of_a_subcommand_equals_its_help_flag() {
    for command in ["stdio", "check", "token", "audit", "health", "completions", "man"] {
        let (by_word, by_flag) = (run(&["help", command]), run(&[command, "--help"]));
        assert!(by_word.status.success() && by_word.stdout == by_flag.stdout, "{command}");
        assert!(text(&by_flag.stdout).contains(&format!("Usage: proxmox-mcp {command}")), "{command}");
    }
    let long = text(&run(&["--help"]).stdout);
    let with_variables = program(&["--help"]).envs([("PROXMOX_MCP_LOG", ""), ("MCP_TLS_KEY", "/secret")]).output();
    assert_eq!(text(&with_variables.expect("run").stdout), long);
}

#[test]
fn health_without_a_server_fails_and_names_the_address() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address").to_string();
    let output = program(&["health"]).env("PROXMOX_MCP_LISTEN", &address).output().expect("run");
    let text = expect_failure(&output, 1);
    assert!(text.contains(&address) && text.contains("nothing listens there"), "{text}");
    assert!(expect_failure(&run(&["health", "--listen", "127.0.0.1:0"]), 2).contains("real port"));
}

// ---- serving

#[test]
fn a_served_demo_is_healthy() {
    let mut server = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0"]);
    let output = run(&["health", "--listen", &server.address()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn an_interrupt_ends_the_server_gracefully() {
    let mut server = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0"]);
    server.address();
    server.signal(Signal::INT);
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn a_server_that_is_paused_keeps_its_connections_and_its_calls() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let node = Node::start(move |r| {
        if r.path().ends_with("/nodes") {
            let _ = held.lock().unwrap().recv();
        }
        ScriptedReply::data("[]")
    });
    let config = configuration(CANARY, &[("lab", &node.endpoint().to_string())]);
    let server = ServerProcess::start(&["--config", path(&config), "--listen", "127.0.0.1:0"]);
    let address = server.address();
    let connect = || Client::new(TcpStream::connect(&address).expect("connect"));
    let (mut idle, mut busy) = (connect(), connect());
    assert_eq!(idle.ask("GET /healthz", "").status, 200);
    busy.send_post_with("/mcp", ACCEPT, &call(1, "list_nodes", json!({})));
    node.wait_for_path("/nodes", 1);
    server.pause();
    assert_eq!(idle.ask("GET /healthz", "").status, 200);
    release.send(()).expect("the node is waiting");
    let answer = busy.reply().expect("an answer").json();
    assert_eq!(answer["result"].get("isError"), None, "{answer}");
    // The empty list is explained by the privileges of the token.
    let lists = node.requests().iter().filter(|request| request.path().ends_with("/nodes")).count();
    assert_eq!(lists, 1, "no request was sent twice");
}

#[test]
fn signal_finishes_calls_in_flight_rejects_new_ones_and_exits_with_0() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let node = Node::start(move |r| {
        if r.path().ends_with("/nodes") {
            let _ = held.lock().unwrap().recv();
        }
        ScriptedReply::data("[]")
    });
    let config = configuration(CANARY, &[("lab", &node.endpoint().to_string())]);
    let limit = ["--stop-timeout", "60"];
    let mut server =
        ServerProcess::start(&[&["--config", path(&config), "--listen", "127.0.0.1:0"], &limit[..]].concat());
    let address = server.address();
    let mut quiet = Sse::open(Client::to(&address));
    let mut stream = Sse::open(Client::to(&address));
    let message = call(1, "list_nodes", json!({}));
    assert_eq!(Client::to(&address).post(&stream.path, &message).status, 202);
    let mut post = Client::to(&address);
    post.send_post_with("/mcp", ACCEPT, &message);
    node.wait_for_path("/nodes", 2);
    server.signal(Signal::TERM);
    eventually("the port is closed", || TcpStream::connect(&address).is_err());
    for _ in 0..2 {
        release.send(()).expect("the node is waiting");
    }
    let reply = post.reply().expect("an answer");
    assert!(reply.has_header("Connection: close") && reply.json()["result"].get("isError").is_none(), "{}", reply.body);
    assert!(stream.message().contains("\"id\":1,"));
    assert!(stream.event().is_none() && quiet.event().is_none(), "then the streams end");
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    // A node that reads the call and never answers, so that the server has to wait.
    let node = TcpListener::bind("127.0.0.1:0").expect("bind");
    let config = configuration(CANARY, &[("silent", &node.local_addr().expect("address").to_string())]);
    let path = path(&config);
    let mut server = ServerProcess::start(&["--config", path, "--listen", "127.0.0.1:0", "--stop-timeout", "60"]);
    let address = server.address();

    let mut stream = TcpStream::connect(&address).expect("connect");
    stream.set_read_timeout(Some(LONG)).expect("deadline");
    write!(stream, "GET /sse HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n").expect("request");
    let mut events = BufReader::new(stream).lines();
    let endpoint = events.find_map(|line| line.expect("an event").strip_prefix("data: ").map(str::to_owned));
    let endpoint = endpoint.expect("an endpoint");
    let mut post = TcpStream::connect(&address).expect("connect");
    for body in [
        r#"{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}"#,
        r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#,
        r#"{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_nodes", "arguments": {}}}"#,
    ] {
        let length = body.len();
        write!(
            post,
            "POST /{endpoint} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .expect("request");
    }
    let _call = node.accept().expect("the call reaches the node");

    server.signal(Signal::TERM);
    while !server.stderr.recv_timeout(LONG).expect("a log line").contains("stopping") {}
    server.signal(Signal::TERM);
    assert_eq!(server.wait_for_exit().code(), Some(143));
}

#[test]
fn closed_stdout_does_not_end_the_server() {
    // The test cannot read the port from a closed pipe. This port is free now, and the kernel does not reuse it soon.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address").to_string();
    let mut server = ServerProcess::start_unread(&["--demo", "--listen", &address]);
    let deadline = Instant::now() + LONG;
    while !run(&["health", "--listen", &address]).status.success() {
        let ended = server.child.try_wait().expect("wait").is_some();
        assert!(!ended && Instant::now() < deadline, "{:?}", server.stderr.try_iter().collect::<Vec<_>>());
    }
}

// ---- check

#[test]
fn check_shows_no_secret_at_any_log_level() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address").to_string();
    let node = Node::start(|request| match request.path() {
        "/api2/json/version" => ScriptedReply::data(r#"{"version": "9.2.11\u001b[31m"}"#),
        _ => ScriptedReply::data("{}"),
    });
    let config = configuration(CANARY, &[("down", &closed), ("powerless", &node.endpoint().to_string())]);
    let output = run(&["check", "--config", path(&config), "--log", "trace"]);
    let (message, log) = (text(&output.stdout), expect_failure(&output, 1));
    assert!(!message.contains(CANARY) && !log.contains(CANARY), "{message}{log}");
}

/// Contents and secrets that an operator may put into a setting that wants a path.
fn misplaced_values() -> Vec<String> {
    let json =
        r#"{"clusters": {"home": {"url": "pve1", "user": "mcp@pve", "token_id": "ro", "token_secret": "CANARY"}}}"#;
    [
        json,
        "  {\"token_secret\":\"CANARY\"}",
        "[\"CANARY\"]",
        "clusters: {home: {token_secret: CANARY}}",
        "clusters:\n  home:\n    token_secret: CANARY\n",
        "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY----- CANARY",
        "eyJjbHVzdGVycyI6CANARY",
        "https://mcp:CANARY@vault.example/clusters.json",
        "pmcp_CANARY",
        "CANARY",
        "mcp@pve!ro=CANARY",
        &format!("CANARY{}", "x".repeat(300)),
        "CANARY\n",
    ]
    .map(|value| value.replace("CANARY", CANARY))
    .to_vec()
}

#[test]
fn contents_in_a_setting_that_wants_a_path_are_rejected_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let fails = |command: &mut Command, about: &str| {
        let output = command.current_dir(&folder).output().expect("run");
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{about}: {shown}");
        assert!(!shown.contains("5ec4e7000002") && !shown.contains("dead-4bee"), "{about}: {shown}");
    };
    for value in misplaced_values() {
        for (flag, variable) in [
            ("--config", "PROXMOX_MCP_CONFIG"),
            ("--auth-token-file", "MCP_AUTH_TOKEN_FILE"),
            ("--tls-cert", "MCP_TLS_CERT"),
            ("--tls-key", "MCP_TLS_KEY"),
        ] {
            let rest: &[&str] = match flag {
                "--config" => &["check"],
                "--auth-token-file" => &["check", "--demo"],
                "--tls-cert" => &["check", "--demo", "--tls-key", "/nonexistent/key"],
                _ => &["check", "--demo", "--tls-cert", "/nonexistent/cert"],
            };
            let log = ["--log", "trace"];
            fails(program(rest).args(log).env(variable, &value), &format!("{variable}={value}"));
            fails(program(rest).args(log).arg(format!("{flag}={value}")), &format!("{flag}={value}"));
        }
        fails(&mut program(&["audit", "verify", "--", &value]), &value);
        // A word without an argument's form, a value of another form, and an unknown flag.
        for word in
            [value.clone(), format!("--listen={value}"), format!("--lisen={value}"), format!("--max-calls={value}")]
        {
            fails(&mut program(&[&word]), &word);
        }
        for variable in ["PROXMOX_MCP_LISTEN", "MCP_METRICS_LISTEN", "PROXMOX_MCP_MAX_CALLS", "PROXMOX_MCP_LOG_FORMAT"]
        {
            fails(program(&["--demo"]).env(variable, &value), &format!("{variable}={value}"));
        }
    }
    let entries = std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(entries, 0, "nothing is created");
}

#[test]
fn contents_in_place_of_an_audit_log_create_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let values = misplaced_values().into_iter().filter(|value| looks_like_content(value.as_bytes()));
    for value in values {
        let (mut variable, mut flag) = (program(&["stdio", "--demo"]), program(&["stdio", "--demo"]));
        variable.env("MCP_AUDIT_LOG", &value);
        flag.arg(format!("--audit-log={value}"));
        for mut command in [variable, flag] {
            let output = command.current_dir(&folder).output().expect("run");
            let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(2), "{value}: {shown}");
            assert!(!shown.contains("5ec4e7000002"), "{value}: {shown}");
        }
    }
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0);
}

#[test]
fn contents_in_members_that_want_a_path_are_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clusters.json");
    for value in misplaced_values() {
        for member in ["ca_file", "token_secret_file", "token_secret_env"] {
            let mut cluster =
                serde_json::json!({"url": "pve1", "user": "mcp@pve", "token_id": "ro", "token_secret": "s"});
            if member.starts_with("token_secret") {
                cluster.as_object_mut().expect("an object").remove("token_secret");
            }
            cluster[member] = value.as_str().into();
            std::fs::write(&path, serde_json::json!({"clusters": {"home": cluster}}).to_string()).expect("write");
            let output = program(&["check", "--log", "trace", "--config"]).arg(&path).output().expect("run");
            let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(2), "{member}={value}: {shown}");
            assert!(!shown.contains("5ec4e7000002") && !shown.contains("dead-4bee"), "{member}={value}: {shown}");
        }
    }
}
