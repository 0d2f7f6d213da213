//! The texts of the program's commands: help, usage errors, banner, `check`, `token`, `audit verify`, `health`.

use crate::document::Document;
use crate::support::node::{Node, SECRET, ScriptedReply, closed_endpoint};
use crate::support::process::{ServerProcess, binary, configuration, path, program};
use crate::support::program::{ProgramServer, lab};
use crate::support::tls::{Files, Pair};
use proxmox_mcp::audit::{AuditDecision, AuditEvent, AuditLog, AuditOutcome, AuditRecord};

use proxmox_mcp::pve::demo::Demo;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};

/// Returns the exit code of an ended program, with stdout and stderr.
fn format_output(output: &Output) -> String {
    let code = output.status.code().expect("an exit code");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let (out, err) = (out.trim_end(), err.trim_end());
    match (out.is_empty(), err.is_empty()) {
        (_, true) => format!("exit {code}\n{out}"),
        (true, false) => format!("exit {code}, stderr\n{err}"),
        (false, false) => format!("exit {code}\n{out}\n-- stderr\n{err}"),
    }
}

fn run_command(document: &mut Document, command: &mut Command) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let variables: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={} ", name.to_str()?, value?.to_str()?.escape_debug())))
        .collect();
    document.case(
        format_args!("{}proxmox-mcp {}", variables.concat(), words.join(" ")),
        format_output(&command.output().expect("run")),
    );
}

fn run(document: &mut Document, args: &[&str]) {
    run_command(document, &mut program(args));
}

#[test]
fn command_help() {
    let mut document = Document::new();
    run(&mut document, &["-h"]);
    run(&mut document, &["--help"]);
    for command in ["serve", "stdio", "setup", "check", "token", "audit", "approvals", "health", "completions", "man"] {
        run(&mut document, &[command, "--help"]);
    }
    run(&mut document, &["audit", "verify", "--help"]);
    run(&mut document, &["--version"]);
    document.assert("help");
}

#[test]
fn command_usage_errors() {
    let mut document = Document::new();
    document.section("Arguments");
    for args in [
        &["--listen", "8000"][..],
        &["--listen", "127.0.0.1:65536"],
        &["--listen", "::1:8000"],
        &["--listen", "127.0.0.1:http"],
        &["--listen", "no-such-host.invalid:8000"],
        &["--listen"],
        &["--max-calls", "0"],
        &["--max-calls", "many"],
        &["--head-timeout", "soon"],
        &["--allowed-hosts", "[\"a\""],
        &["--log", "verbose"],
        &["--log-format", "xml"],
        &["--demo", "--config", "x.json"],
        &["check", "--demo", "--config", "x.json"],
        &["--lisen", ":0"],
        &["chek"],
        &["token", "my laptop"],
        &["token", "a", "b"],
        &["audit"],
        &["audit", "verify"],
        &["completions"],
        &["completions", "tcsh"],
        &["--demo", "--tls-cert", "c.pem"],
        &["--demo", "--listen", "127.0.0.1:0", "--allowed-hosts", "http://a/b"],
        &["--demo", "--listen", "127.0.0.1:0", "--allowed-origins", "a b"],
        &["--demo", "--listen", "0.0.0.0:8000"],
        &["--demo", "--listen", "127.0.0.1:0", "--metrics-listen", "0.0.0.0:9000"],
        &["health", "--listen", "127.0.0.1:0"],
        &["--config", "/nonexistent/clusters.json"],
        &["--config", "hunter2hunter2hunter2"],
        &["--demo", "--audit-log", "/nonexistent/audit.log"],
    ] {
        run(&mut document, args);
    }
    document.section("Variables");
    for variables in [
        &[("PROXMOX_MCP_LOG", "loud\u{1b}[31m\nerror: two")][..],
        &[("PROXMOX_MCP_MAX_CALLS", "0")],
        &[("MCP_METRICS", "maybe")],
        &[("MCP_INSECURE_NO_AUTH", "1"), ("MCP_AUTH_TOKEN", "sixteen_letters_")],
        &[("PROXMOX_MCP_CONFIG", r#"{"clusters": {"home": {"token_secret": "s3cret"}}}"#)],
        &[("MCP_AUDIT_LOG", "token\n")],
        &[("MCP_AUTH_TOKEN", "")],
        &[("MCP_AUTH_TOKEN_FILE", "")],
        &[("MCP_AUTH_TOKEN", "hunter2_hunter2")],
        &[("MCP_AUTH_TOKEN", "hunter2 hunter2 hunter2")],
        &[("MCP_AUTH_TOKEN_FILE", "/nonexistent")],
        &[("MCP_AUTH_TOKEN_FILE", "/nonexistent"), ("MCP_AUTH_TOKEN", "sixteen_letters_")],
        &[("MCP_TLS_KEY", "k.pem")],
    ] {
        run_command(&mut document, program(&["--demo", "--listen", "127.0.0.1:0"]).envs(variables.iter().copied()));
    }
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "two words that are no token").expect("write");
    run_command(&mut document, program(&["check", "--demo"]).env("MCP_AUTH_TOKEN_FILE", path(&file)));
    let mut command = program(&["check", "--demo"]);
    command.env("MCP_AUTH_TOKEN", OsStr::from_bytes(b"sixteen_letters_\xff"));
    document.case("MCP_AUTH_TOKEN that is not UTF-8", format_output(&command.output().expect("run")));
    document.section("Inherited sockets");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --demo", binary()]).env_clear().stdin(Stdio::null());
    document.case("LISTEN_FDS=1 proxmox-mcp --demo", format_output(&shell.output().expect("run")));
    let socket = TempDir::new().expect("a folder");
    let socket = UnixListener::bind(socket.path().join("socket")).expect("bind");
    let output = program(&["--demo"]).stdin(OwnedFd::from(socket)).output().expect("run");
    document.case("proxmox-mcp --demo, with a Unix socket at stdin", format_output(&output));
    document.section("Addresses");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    document.redact(r"sport = :\d+", "sport = :PORT");
    run(&mut document, &["--demo", "--listen", &address]);
    run(&mut document, &["--demo", "--listen", "192.0.2.1:8000", "--insecure-no-auth"]);
    document.assert("usage_errors");
}

#[test]
fn command_without_a_configuration() {
    // The file exists on the machine of a developer who runs the program.
    if fs::exists("/etc/proxmox-mcp/clusters.json").expect("an answer") {
        return;
    }
    let mut document = Document::new();
    let folder = TempDir::new().expect("a folder");
    run_command(&mut document, program(&["check"]).current_dir(&folder));
    document.assert("no_configuration");
}

#[test]
fn command_certificate_errors() {
    let mut document = Document::new();
    let (pair, other) = (Pair::new(), Pair::new());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (about, cert, key) in [
        ("another key", &*pair.cert(), &*other.key()),
        ("no certificate", "", &pair.key()),
        ("a key as the certificate", &pair.key(), &pair.key()),
        ("half a certificate", &pair.cert()[..100], &pair.key()),
        ("a certificate of nothing", junk, &pair.key()),
        ("no key", &pair.cert(), ""),
        ("a certificate as the key", &pair.cert(), &pair.cert()),
        ("an encrypted key", &pair.cert(), encrypted),
        ("a key of nothing", &pair.cert(), &encrypted.replace("ENCRYPTED ", "")),
    ] {
        let files = Files::of(&pair);
        files.hold(cert, key);
        let output =
            program(&["check", "--demo", "--tls-cert"]).arg(files.cert()).arg("--tls-key").arg(files.key()).output();
        document.case(about, format_output(&output.expect("run")));
    }
    run(&mut document, &["check", "--demo", "--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"]);
    let files = Files::of(&pair);
    let mut fitting = program(&["check", "--demo", "--tls-cert"]);
    run_command(&mut document, fitting.arg(files.cert()).arg("--tls-key").arg(files.key()));
    document.assert("certificate_errors");
}

/// Stops a program that serves, and returns all that it printed on stdout.
fn banner(mut process: ServerProcess) -> String {
    let address = process.address();
    process.signal(Signal::TERM);
    process.wait_for_exit();
    let rest: Vec<_> = process.stdout.iter().collect();
    format!("proxmox-mcp {} listening on http://{address}\n{}", env!("CARGO_PKG_VERSION"), rest.join("\n"))
}

#[test]
fn command_banner() {
    let mut document = Document::new();
    document.case("--demo", banner(ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0"])));
    let args = ["--demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let with_token = ServerProcess::of(program(&args).env("MCP_AUTH_TOKEN", "sixteen_letters_"));
    document.case("--demo --metrics-listen, MCP_AUTH_TOKEN", banner(with_token));
    let node = Node::start(|_| ScriptedReply::data("[]"));
    let mut config = lab(&node, &json!({"protect": [100], "deny": ["GET /nodes"], "allow": ["GET /**"]}));
    config["clusters"]["other"] = json!({"urls": ["pve1", "pve2"], "user": "a@pam", "token_id": "b",
        "token_secret": "s", "verify_ssl": false, "access": "read", "confirm": "never"});
    config["clusters"]["pinned"] = json!({"url": "pve1", "user": "a@pam", "token_id": "b", "token_secret": "s",
        "fingerprint": "ab".repeat(32)});
    config["clients"]["reader"]["clusters"] = json!(["lab", "other"]);
    let server = ProgramServer::builder(&config).start();
    let ProgramServer { process, endpoint, .. } = server;
    let (mut process, address) = (process, endpoint.address);
    process.signal(Signal::TERM);
    process.wait_for_exit();
    let rest: Vec<_> = process.stdout.iter().collect();
    document.case("three clusters and three clients", format_args!("http://{address}\n{}", rest.join("\n")));
    document.assert("banner");
}

/// Starts a node that answers GET /version, and GET /access/permissions with `permissions`.
fn start_node(permissions: &'static str) -> Node {
    Node::start(move |request| match request.path() {
        "/api2/json/version" => ScriptedReply::data(r#"{"version":"9.2.11\u001b[31m","release":"9.2"}"#),
        "/api2/json/access/permissions" => ScriptedReply::data(permissions),
        _ => ScriptedReply::data("null"),
    })
}

/// Starts a node of this cluster, whose token sees all guests and no pool.
fn start_member(cluster: &'static str) -> Node {
    Node::start(move |request| match request.path() {
        "/api2/json/version" => ScriptedReply::data(r#"{"version":"9.2.11","release":"9.2"}"#),
        "/api2/json/access/permissions" => ScriptedReply::data(r#"{"/vms": {"VM.Audit": 1}}"#),
        "/api2/json/cluster/status" => ScriptedReply::data(&format!(
            r#"[{{"type":"cluster","name":"{cluster}"}},{{"type":"node","name":"pve2"}},{{"type":"node","name":"pve1"}}]"#
        )),
        "/api2/json/cluster/resources" => ScriptedReply::data(
            r#"[{"id":"qemu/100","type":"qemu","vmid":100,"node":"pve1","name":"web01","tags":"critical"},
                {"id":"qemu/101","type":"qemu","vmid":101,"node":"pve1","name":"db01","tags":"critical;db"}]"#,
        ),
        _ => ScriptedReply::data("null"),
    })
}

#[test]
fn command_check() {
    let mut document = Document::new();
    run(&mut document, &["check", "--demo"]);
    let many =
        r#"{"/": {"Sys.Audit": 1, "VM.Audit": 1}, "/vms/100": {"A": 1, "B": 0, "C": 1, "D": 1, "E": 1}, "/x": {}}"#;
    let (right, some) = (start_node(many), start_node(r#"{"/vms/100": {"A": 1, "B": 0, "C": 1, "D": 1, "E": 1}}"#));
    let (powerless, odd) = (start_node("{}"), start_node("\"<html>\""));
    let wrong = Node::start(|_| ScriptedReply::refusal(401, "no such token", ""));
    let no_version = Node::start(|_| ScriptedReply::data("7"));
    let nodes = [
        ("down", closed_endpoint().to_string()),
        ("right", right.endpoint().to_string()),
        ("some", some.endpoint().to_string()),
        ("powerless", powerless.endpoint().to_string()),
        ("odd", odd.endpoint().to_string()),
        ("wrong", wrong.endpoint().to_string()),
        ("no-version", no_version.endpoint().to_string()),
    ];
    let clusters: Vec<_> = nodes.iter().map(|(name, address)| (*name, address.as_str())).collect();
    let config = configuration(SECRET, &clusters);
    run(&mut document, &["check", "--config", path(&config)]);
    fs::set_permissions(config.path(), fs::Permissions::from_mode(0o644)).expect("chmod");
    document.section("A file that others can read");
    let one = configuration(SECRET, &clusters[1..2]);
    fs::set_permissions(one.path(), fs::Permissions::from_mode(0o644)).expect("chmod");
    run(&mut document, &["check", "--config", path(&one)]);
    document.section("Clients");
    let mut file = NamedTempFile::new().expect("a file");
    write!(file, "{}", lab(&right, &json!({}))).expect("write");
    run(&mut document, &["check", "--config", path(&file)]);
    let reader = crate::support::program::READER;
    run_command(&mut document, program(&["check", "--config", path(&file)]).env("MCP_AUTH_TOKEN", reader));
    document.section("Addresses and rules");
    let (one, two, other) = (start_member("prod"), start_member("prod"), start_member("lab"));
    let mut config = lab(&one, &json!({}));
    let addresses = [one.endpoint(), two.endpoint(), other.endpoint(), closed_endpoint()].map(|e| e.to_string());
    config["clusters"]["lab"].as_object_mut().expect("a cluster").remove("url");
    config["clusters"]["lab"]["urls"] = json!(addresses.map(|address| format!("http://{address}")));
    config["clusters"]["lab"]["deny"] = json!(["DELETE /nodes/*/qemu/*", "* /qemu/200/**"]);
    config["clusters"]["lab"]["allow"] = json!(["* /nodes/**"]);
    config["clusters"]["lab"]["protect"] = json!([100, "pool:prod", "tag:critical", "tag:absent"]);
    config["clients"]["reader"]["deny"] = json!(["GET /access/**"]);
    config["clients"]["reader"]["protect"] = json!([101, 777]);
    config["clients"]["reader"]["confirm"] = json!("writes");
    let mut file = NamedTempFile::new().expect("a file");
    write!(file, "{config}").expect("write");
    run(&mut document, &["check", "--config", path(&file)]);
    document.section("Operator, exec, and rules without effect");
    let mut config = lab(&right, &json!({}));
    let cluster = &mut config["clusters"]["lab"];
    cluster["exec"] = json!(true);
    cluster["confirm_by"] = json!("operator");
    cluster["deny"] = json!(["POST /nodes/*/qemu/*/status/stop", "POST /nodes/*/termproxy"]);
    config["clients"]["runner"] = json!({"token_sha256": "1".repeat(64), "access": "full", "exec": true});
    config["clients"]["reader"]["allow"] = json!(["GET /nodes/**", "POST /access/users", "POST /nodes/*/vncshell"]);
    let mut rules = NamedTempFile::new().expect("a file");
    write!(rules, "{config}").expect("write");
    run(&mut document, &["check", "--config", path(&rules)]);
    document.section("A person who approves");
    config["clients"]["person"] = json!({"token_sha256": "2".repeat(64), "access": "read", "approve": true});
    let mut rules = NamedTempFile::new().expect("a file");
    write!(rules, "{config}").expect("write");
    run(&mut document, &["check", "--config", path(&rules)]);
    document.section("Exec without full");
    config["clusters"]["lab"]["access"] = json!("operate");
    config["clients"]["reader"]["exec"] = json!(true);
    let mut rules = NamedTempFile::new().expect("a file");
    write!(rules, "{config}").expect("write");
    run(&mut document, &["check", "--config", path(&rules)]);
    document.section("Addresses of two clusters at a start");
    run(&mut document, &["stdio", "--config", path(&file)]);
    run(&mut document, &["--listen", "127.0.0.1:0", "--config", path(&file)]);
    document.section("Errors");
    let mut wrong = NamedTempFile::new().expect("a file");
    write!(wrong, r#"{{"clusters": {{"a": {{}}}}, "colour": 1}}"#).expect("write");
    run(&mut document, &["check", "--config", path(&wrong)]);
    document.assert("check");
}

/// Runs a command with these lines as its stdin.
fn run_answered(document: &mut Document, command: &mut Command, lines: &[&str]) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let mut stdin = child.stdin.take().expect("stdin");
    lines.iter().for_each(|line| writeln!(stdin, "{line}").expect("the program reads its stdin"));
    drop(stdin);
    document
        .case(format_args!("proxmox-mcp {}", words.join(" ")), format_output(&child.wait_with_output().expect("run")));
}

#[test]
fn command_setup() {
    let mut document = Document::new();
    document.redact(r"mcp-[0-9a-f]{6}\b", "mcp-ID");
    document.redact(r"/[^ ]*/proxmox-mcp\b", "/usr/bin/proxmox-mcp");
    let demo = Demo::start().expect("the demo starts");
    let url = format!("http://{}", demo.cluster().endpoints[0]);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("clusters.json");
    let mut setup = |args: &[&str], last: &[&str]| {
        let mut command = program(&["setup"]);
        command.args(args).arg("--config").arg(&file).env("HOME", folder.path());
        run_answered(&mut document, &mut command, &[&["root@pam", demo.root_password()], last].concat());
    };
    let to = ["--url", &url];
    let with = |args: &[&'static str]| [&to[..], args].concat();
    setup(&with(&["--access", "operate", "--dry-run"]), &[]);
    setup(&with(&["--access", "operate", "--client", "gemini"]), &["y"]);
    setup(&with(&["--access", "read", "--client", "claude-code", "--write-client", "--yes"]), &[]);
    setup(&["demo", "--access", "full", "--client", "claude-desktop", "--yes"], &[]);
    setup(&["lab", "--url", &url, "--yes"], &[]);
    setup(&["--remove", "lab", "--yes"], &[]);
    setup(&["--remove", "demo", "--client", "claude-code", "--dry-run"], &[]);
    setup(&["--remove", "demo"], &["no"]);
    setup(&["--remove", "demo"], &["yes"]);
    setup(&with(&["--yes"]), &[]);
    document.assert("setup");
}

#[test]
fn command_token() {
    let mut document = Document::new();
    run(&mut document, &["token"]);
    run(&mut document, &["token", "ada.laptop", "--listen", "0.0.0.0:8000"]);
    run(&mut document, &["token", "--tls-cert", "c.pem", "--tls-key", "k.pem"]);
    run(&mut document, &["token", "--env"]);
    run(&mut document, &["token", "ada", "--json", "--url", "https://mcp.example.com"]);
    run(&mut document, &["token", "--url", "https://mcp.example.com/prefix/mcp"]);
    run(&mut document, &["token", "--url", "mcp.example.com"]);
    run(&mut document, &["token", "--env", "--json"]);
    document.assert("token");
}

#[test]
fn command_health() {
    let mut document = Document::new();
    let server = ServerProcess::start(&["--demo", "--listen", "127.0.0.1:0"]);
    run(&mut document, &["health", "--listen", &server.address()]);
    run(&mut document, &["health", "--listen", &closed_endpoint().to_string()]);
    for answer in ["HTTP/1.1 503 Busy\r\n\r\n", "SSH-2.0-x\r\n", ""] {
        let other = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = other.local_addr().expect("an address").to_string();
        std::thread::spawn(move || {
            for mut stream in other.incoming().flatten() {
                let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        run(&mut document, &["health", "--listen", &address]);
    }
    document.assert("health");
}

fn record(event: AuditEvent) -> AuditRecord<'static> {
    let ended = matches!(event, AuditEvent::Read | AuditEvent::ChangeFinished);
    AuditRecord {
        event,
        id: "7f",
        trace: None,
        client: "laptop",
        address: Some([192, 0, 2, 7].into()),
        transport: "http",
        tool: "proxmox_api_call",
        cluster: "prod",
        operation: "POST /nodes/pve1/qemu/100/status/stop",
        guest: Some("100 (web01)"),
        arguments: &[],
        decision: AuditDecision::Allowed,
        reason: None,
        upid: ended.then_some("UPID:pve1:0001:0002:65F0:qmstop:100:mcp@pve!admin:"),
        outcome: ended.then_some(AuditOutcome::Failed("can't lock file")),
        duration: ended.then_some(Duration::from_millis(42)),
    }
}

#[test]
fn command_audit_verify() {
    let mut document = Document::new();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("audit.log");
    let audit = AuditLog::open(&file).expect("open");
    for event in [
        AuditEvent::Read,
        AuditEvent::ConfirmationRequested,
        AuditEvent::ChangeStarted,
        AuditEvent::ChangeFinished,
        AuditEvent::Denied,
    ] {
        audit.write(&record(event)).expect("write");
    }
    let text = fs::read_to_string(&file).expect("UTF-8");
    document.section("The file");
    document.redact(r#""ms":\d+"#, r#""ms":N"#);
    document.case("audit.log", &text);
    document.section("audit verify");
    let [a, b, c, d, e] = text.split_inclusive('\n').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let changed = b.replace("laptop", "lapdog");
    let long = format!("{}\n", "x".repeat(200_000));
    let second = b.replace("\"seq\":2", "\"seq\":1");
    let cases: [(&str, Vec<&str>, Vec<&str>); 15] = [
        ("a first line that follows another", vec![&second, c], vec![]),
        ("unchanged", vec![a, b, c, d, e], vec![]),
        ("one line", vec![a], vec![]),
        ("empty", vec![], vec![]),
        ("a changed line", vec![a, &changed, c, d, e], vec![]),
        ("a removed line", vec![a, c, d, e], vec![]),
        ("the first lines are missing", vec![c, d], vec![]),
        ("a line twice", vec![a, b, b, c], vec![]),
        ("two lines swapped", vec![a, c, b, d], vec![]),
        ("a line of something else", vec![a, b, "x\n", c], vec![]),
        ("a last line of something else", vec![a, b, "x"], vec![]),
        ("a last line that is cut off", vec![a, b, &c[..20]], vec![]),
        ("a long line", vec![a, &long, b], vec![]),
        (
            "another hash",
            vec![a, b],
            vec!["--expect", "0000000000000000000000000000000000000000000000000000000000000000"],
        ),
        ("a hash of three digits", vec![a, b], vec!["--expect", "xyz"]),
    ];
    for (about, lines, more) in cases {
        fs::write(&file, lines.concat()).expect("write");
        let output = program(&["audit", "verify"]).arg(&file).args(more).output().expect("run");
        document.case(about, format_output(&output));
    }
    run(&mut document, &["audit", "verify", "/nonexistent/audit.log"]);
    document.assert("audit");
}

#[test]
fn command_inputs_are_not_shown() {
    let mut document = Document::new();
    let value: Value =
        json!({"clusters": {"a": {"url": "a", "user": "b@pve", "token_id": "c", "token_secret_env": "MY_TOKEN"}}});
    let mut file = NamedTempFile::new().expect("a file");
    write!(file, "{value}").expect("write");
    for variable in [None, Some(""), Some("c4a4a4a4-dead-4bee-8f00-5ec4e7000001 ")] {
        let mut command = program(&["check", "--config", path(&file)]);
        if let Some(value) = variable {
            command.env("MY_TOKEN", value);
        }
        document.case(format_args!("MY_TOKEN={variable:?}"), format_output(&command.output().expect("run")));
    }
    document.assert("secret_variables");
}
