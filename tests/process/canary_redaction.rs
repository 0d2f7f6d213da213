//! A secret in a call or in a cluster's answers, in every field and form that Proxmox uses. No client below `full`
//! receives it. No log and no audit line contains it at any level, apart from the commands that a caller runs. A question
//! and a dry run show what the caller sends, except for passwords.

use crate::support::canary::{CANARY, assert_unseen};
use crate::support::node::{Node, Request, SECRET, ScriptedReply};
use crate::support::process::{ServerProcess, path, run};
use crate::support::program::{ADMIN, OPERATOR, ProgramServer, READER, code, configuration, texts};
use crate::support::proxmox::{gzipped_facts, proxmox_with};
use crate::support::rpc::call;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:";

/// Fields of Proxmox's answers whose value is always a secret.
const FIELDS: [&str; 30] = [
    "password",
    "cipassword",
    "confirmation-password",
    "bindpw-password",
    "smtp_password",
    "secret",
    "client-secret",
    "token",
    "influx-token",
    "CSRFPreventionToken",
    "ticket",
    "vncticket",
    "PVEAuthCookie",
    "client-key",
    "eab-hmac-key",
    "encryption-key",
    "private-key",
    "api_key",
    "apikey",
    "passphrase",
    "passwd",
    "otp",
    "totp",
    "recovery",
    "challenge",
    "keys",
    "keyring",
    "header",
    "otel-headers",
    "Authorization",
];

/// Returns the forms of a secret in untrusted text.
fn forms() -> Vec<String> {
    vec![
        format!("password={CANARY}"),
        format!("cifs: username=backup,password={CANARY},vers=3"),
        format!("PASSWORD: '{CANARY}'"),
        format!("PVEAPIToken=root@pam!mcp={CANARY}"),
        format!("the token root@pam!mcp={CANARY} of May"),
        format!("Authorization: Bearer {CANARY}"),
        format!("mysql://admin:{CANARY}@db/x"),
        format!("otpauth://totp/pve?secret={CANARY}&issuer=x"),
        format!("PVE:root@pam:4EEC61E2::{CANARY}"),
        format!("root:$6$saltsalt${CANARY}:19000"),
        format!("pmcp_{CANARY}"),
        format!("{{\"secret\": \"{CANARY}\"}}"),
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n{CANARY}\n-----END OPENSSH PRIVATE KEY-----\n"),
    ]
}

/// Returns an object with all these fields and forms.
fn everything() -> Value {
    let mut all: Map<String, Value> = FIELDS.iter().map(|field| ((*field).to_owned(), CANARY.into())).collect();
    all.insert("nested".into(), json!({"password": {"deep": [CANARY, {"x": CANARY}]}}));
    all.insert("full-tokenid".into(), "root@pam!new".into());
    all.insert("value".into(), CANARY.into());
    for (n, form) in forms().into_iter().enumerate() {
        all.insert(format!("note{n}"), form.into());
    }
    all.insert("description".into(), forms().join("\n").into());
    all.insert("cores".into(), 4.into());
    Value::Object(all)
}

/// Returns the guests, one for each form.
fn guests() -> Value {
    let row = |(n, form): (usize, &String)| {
        json!({"id": format!("qemu/{}", 100 + n), "type": "qemu", "vmid": 100 + n, "node": "pve1", "status": "running",
            "name": form, "tags": form, "pool": form, "lock": form, "password": CANARY})
    };
    forms().iter().enumerate().map(row).collect()
}

/// Returns the log of a task with a key over several lines.
fn task_log() -> Value {
    let all = forms().join("\n");
    all.lines().enumerate().map(|(n, line)| json!({"n": n + 1, "t": line})).collect()
}

/// Starts a node whose answers all contain the secret.
fn start_leaky_node() -> Node {
    let looks = AtomicUsize::new(0);
    proxmox_with(gzipped_facts(), move |request| answer(request, &looks))
}

fn answer(request: &Request, looks: &AtomicUsize) -> Option<ScriptedReply> {
    let text = forms().join(" ").replace('\n', " ");
    Some(match (request.method.as_str(), request.path().strip_prefix("/api2/json")?) {
        ("GET", "/version") => {
            ScriptedReply::data(&json!({"version": format!("9.2.11 password={CANARY}")}).to_string())
        }
        ("GET", "/nodes") => ScriptedReply::data(
            &json!([{"node": "pve1", "status": "online", "level": text, "token": CANARY}]).to_string(),
        ),
        ("GET", "/cluster/resources") => ScriptedReply::data(&guests().to_string()),
        ("GET", path) if path.ends_with("/status") && path.contains("/tasks/") => {
            match looks.fetch_add(1, Ordering::Relaxed) % 3 {
                0 | 1 => ScriptedReply::data(r#"{"status":"running"}"#),
                _ => ScriptedReply::data(&json!({"status": "stopped", "exitstatus": text}).to_string()),
            }
        }
        ("GET", path) if path.ends_with("/log") => {
            ScriptedReply::body(json!({"data": task_log(), "total": 20}).to_string())
        }
        ("GET", path) if path.ends_with("/dns") => ScriptedReply::refusal(
            400,
            "x",
            &json!({"data": null, "message": text,
            "errors": {"search": text}})
            .to_string(),
        ),
        ("GET", path) if path.ends_with("/time") => ScriptedReply::refusal(500, &text, ""),
        ("GET", path) if path.ends_with("/hosts") => ScriptedReply::refusal(403, &format!("no ({text})"), &text),
        ("GET", path) if path.ends_with("/netstat") => ScriptedReply::body(&text),
        ("GET", _) => ScriptedReply::data(&everything().to_string()),
        ("POST", path) if path.ends_with("/start") => ScriptedReply::data(&format!("\"{UPID}\"")),
        ("POST", path) if path.ends_with("/reboot") => ScriptedReply::refusal(500, &text, &text),
        ("PUT", _) => ScriptedReply::refusal(595, &text, &text),
        _ => ScriptedReply::data(&everything().to_string()),
    })
}

/// Returns calls of every tool that shows texts of a cluster.
fn reads() -> Vec<(&'static str, Value)> {
    let get = |path: &str| ("proxmox_api_get", json!({"path": path}));
    let config = "/nodes/pve1/qemu/100/config";
    let log = format!("/nodes/pve1/tasks/{UPID}/log");
    vec![
        ("list_clusters", json!({"check": true})),
        ("list_nodes", json!({})),
        ("get_cluster_resources", json!({})),
        ("get_cluster_resources", json!({"type": "vm"})),
        ("find_guest", json!({"query": "100"})),
        ("find_guest", json!({"query": "running"})),
        ("find_guest", json!({"query": "passwort"})),
        ("search_api", json!({"query": "password"})),
        ("describe_api", json!({"path": config})),
        ("wait_for_task", json!({"upid": UPID})),
        get(config),
        get(&log),
        get("/nodes/pve1/dns"),
        get("/nodes/pve1/time"),
        get("/nodes/pve1/hosts"),
        get("/nodes/pve1/netstat"),
        get("/qemu/passwort/config"),
        get("/qemu/999/config"),
        ("proxmox_api_get", json!({"paths": [config, &log, "/nodes/pve1/dns", "/nodes/pve1/hosts", "/version"]})),
        ("proxmox_api_get", json!({"path": config, "format": "json"})),
        ("proxmox_api_get", json!({"path": config, "fields": ["cipassword", "description"]})),
        ("proxmox_api_get", json!({"path": "/cluster/resources", "filter": "name~password", "sort": "tags"})),
        ("proxmox_api_call", json!({"path": config})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/time"})),
    ]
}

/// Returns changes that send the secret as the API wants a password, or that send none.
fn changes_with_passwords() -> Vec<Value> {
    let config = "/nodes/pve1/qemu/100/config";
    vec![
        json!({"path": config, "method": "PUT", "data": {"cipassword": CANARY}}),
        json!({"path": format!("{config}?cipassword={CANARY}"), "method": "PUT"}),
        json!({"path": config, "method": "PUT", "data": {"cipassword": [CANARY, {"x": CANARY}]}}),
        json!({"path": config, "method": "PUT", "data": {"cipasswort": CANARY}}),
        json!({"path": "/access/password", "method": "PUT", "data": {"userid": "a@pve", "password": CANARY}}),
        json!({"path": "/storage", "method": "POST", "data": {"storage": "c1", "type": "cifs", "password": CANARY}}),
        json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST", "wait": true}),
        json!({"path": "/nodes/pve1/qemu/100/status/reboot", "method": "POST"}),
        json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"}),
    ]
}

/// Returns changes that send the secret within other values. The user who confirms them sees it.
fn changes_with_other_secrets() -> Vec<Value> {
    let config = "/nodes/pve1/qemu/100/config";
    vec![
        json!({"path": config, "method": "PUT", "data": {"description": forms().join("\n")}}),
        json!({"path": config, "method": "PUT", "data": {"cipassword": CANARY, "memory": format!("password={CANARY}")}}),
        json!({"path": "/cluster/notifications/endpoints/webhook", "method": "POST",
            "data": {"name": "w1", "url": format!("https://u:{CANARY}@x/"), "method": "post", "header": [format!("name=X,value={CANARY}")]}}),
        json!({"path": "/access/users", "method": "POST", "data": {"userid": format!("password={CANARY}"), "password": CANARY}}),
    ]
}

/// Returns commands that hold the secret. They are shown and recorded whole.
fn changes_with_commands() -> Vec<Value> {
    let agent = "/nodes/pve1/qemu/100/agent";
    vec![
        json!({"path": format!("{agent}/exec"), "method": "POST",
            "data": {"command": ["mysql", &format!("--password={CANARY}")], "input-data": CANARY}}),
        json!({"path": format!("{agent}/file-write"), "method": "POST", "data": {"file": "/x", "content": CANARY}}),
    ]
}

/// Returns changes that each send the secret.
fn changes() -> Vec<Value> {
    [changes_with_passwords(), changes_with_other_secrets()].concat()
}

/// Asserts that a text contains neither the secret, nor the cluster's own, nor a client's token.
fn assert_clean(what: &str, text: &str) {
    assert_unseen(what, text.as_bytes());
    for token in [SECRET, READER, OPERATOR, ADMIN] {
        assert!(!text.contains(token), "{what} shows a token: {text}");
    }
}

#[test]
fn no_client_below_full_receives_a_secret_from_any_tool() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    for token in [READER, OPERATOR] {
        for (tool, arguments) in reads() {
            let what = format!("{tool} {arguments}");
            assert_clean(&what, &server.call(token, tool, arguments.clone()).to_string());
            assert_clean(&what, &server.ask(token, tool, arguments.clone(), json!({})).to_string());
            assert_clean(&what, &server.events(token, tool, arguments).join("\n"));
        }
        for arguments in changes().into_iter().chain(changes_with_commands()) {
            let what = arguments.to_string();
            assert_clean(&what, &server.call(token, "proxmox_api_call", arguments).to_string());
        }
    }
    let waited = server.events(OPERATOR, "wait_for_task", json!({"upid": UPID})).join("\n");
    assert!(waited.contains("notifications/progress") && waited.contains("(hidden)"), "{waited}");
    assert_clean("an audit line", &std::fs::read_to_string(&server.audit).unwrap());
    server.verify_audit_log();
    let printed = server.stop_and_read();
    assert!(printed.contains("DEBUG"), "{printed}");
    assert_clean("the log", &printed);
}

#[test]
fn search_and_filter_do_not_reveal_a_secret() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    for (tool, arguments, nothing) in [
        ("find_guest", json!({"query": &CANARY[..4]}), "no guest fits"),
        (
            "proxmox_api_get",
            json!({"path": "/cluster/resources", "filter": format!("name~{}", &CANARY[..4])}),
            "no rows",
        ),
        ("proxmox_api_get", json!({"path": "/cluster/resources", "filter": format!("password={CANARY}")}), "no rows"),
    ] {
        let (reader, admin) = (server.call(READER, tool, arguments.clone()), server.call(ADMIN, tool, arguments));
        assert!(texts(&reader).starts_with(nothing) && !texts(&admin).starts_with(nothing), "{reader} {admin}");
    }
}

#[test]
fn cluster_below_full_reveals_a_secret_to_no_client() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({"access": "operate"}));
    for (tool, arguments) in reads() {
        assert_clean(&format!("{tool} {arguments}"), &server.call(ADMIN, tool, arguments.clone()).to_string());
    }
}

#[test]
fn stdio_reveals_a_secret_only_if_its_cluster_permits() {
    let node = start_leaky_node();
    let config = configuration(&node, &json!({"access": "read"}));
    let mut process = ServerProcess::start(&["stdio", "--config", path(&config), "--log", "trace"]);
    for (tool, arguments) in reads() {
        let answer = process.ask(&call(1, tool, arguments.clone()));
        assert_clean(&format!("{tool} {arguments}"), &answer.to_string());
    }
    process.end_input();
    process.wait_for_exit();
    assert_clean("stderr", &process.stderr.iter().collect::<Vec<_>>().join("\n"));
}

/// Asks about a change, checks the texts, and confirms it in both ways. The secret is then sent as given.
fn ask_and_confirm(server: &ProgramServer, arguments: &Value, check: impl Fn(&str, &str)) {
    let with = |name: &str, value: Value| {
        let mut arguments = arguments.clone();
        arguments[name] = value;
        arguments
    };
    let dry_run = server.call(ADMIN, "proxmox_api_call", with("dry_run", true.into()));
    let asked = server.call(ADMIN, "proxmox_api_call", arguments.clone());
    let elicited = server.ask(ADMIN, "proxmox_api_call", arguments.clone(), json!({}));
    check(&format!("a dry run of {arguments}"), &dry_run.to_string());
    check(&format!("the question of {arguments}"), &asked.to_string());
    check(&format!("the elicitation of {arguments}"), &elicited.to_string());
    if elicited["result"]["resultType"] == "input_required" {
        let _ = server.call(ADMIN, "proxmox_api_call", with("confirm", code(&asked).into()));
        let answers = json!({"confirm": {"action": "accept"}});
        let more = json!({"inputResponses": answers, "requestState": elicited["result"]["requestState"]});
        let _ = server.ask(ADMIN, "proxmox_api_call", arguments.clone(), more);
    }
}

#[test]
fn questions_hide_passwords_and_audit_lines_hide_every_secret_at_any_level() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({"confirm": "writes"}));
    for arguments in changes_with_passwords() {
        ask_and_confirm(&server, &arguments, assert_clean);
    }
    // Whatever the caller writes into another value is shown to the user who confirms it. The node knows every name, so a
    // call that makes an object is rejected without a question.
    for arguments in changes_with_other_secrets() {
        ask_and_confirm(&server, &arguments, |what, text| {
            assert!(text.contains(CANARY) || text.contains("exists already"), "{what}: {text}");
        });
    }
    for (tool, arguments) in reads() {
        let _ = server.call(ADMIN, tool, arguments);
    }
    let sent = node.requests().iter().filter(|r| r.method == "PUT" && r.body.contains(CANARY)).count();
    assert!(sent >= 4, "the node was sent what was confirmed: {sent}");
    let audit = std::fs::read_to_string(&server.audit).unwrap();
    for event in ["\"asked\"", "\"begin\"", "\"end\"", "\"call\"", "(hidden)"] {
        assert!(audit.contains(event), "{event}: {audit}");
    }
    assert_clean("an audit line", &audit);
    server.verify_audit_log();
    assert_clean("the log", &server.stop_and_read());
}

#[test]
fn questions_and_audit_lines_have_commands_whole() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    for (count, arguments) in (1..).zip(changes_with_commands()) {
        ask_and_confirm(&server, &arguments, |what, text| assert!(text.contains(CANARY), "{what}: {text}"));
        let audit = std::fs::read_to_string(&server.audit).unwrap();
        let begun = audit.lines().filter(|line| line.contains("\"begin\"") && line.contains(CANARY)).count();
        assert_eq!(begun, 2 * count, "{audit}");
    }
    server.verify_audit_log();
}

#[test]
fn audit_lines_in_the_log_have_no_secret() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab_without_audit_file(&node, &json!({"confirm": "never"}));
    for arguments in changes() {
        let _ = server.call(ADMIN, "proxmox_api_call", arguments);
    }
    let printed = server.stop_and_read();
    assert!(printed.contains(" INFO  audit {") && printed.contains("(hidden)"), "{printed}");
    assert_clean("the log", &printed);
}

#[test]
fn full_access_receives_answers_unredacted() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    let answer = server.call(ADMIN, "proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/config"}));
    assert_eq!(answer["result"]["structuredContent"]["data"], everything());
    let found = server.call(ADMIN, "find_guest", json!({"query": "100"}));
    assert_eq!(found["result"]["structuredContent"]["rows"][0][2], forms()[0], "{found}");
    let log = server.call(ADMIN, "proxmox_api_get", json!({"path": format!("/nodes/pve1/tasks/{UPID}/log")}));
    assert!(texts(&log).contains(CANARY), "{log}");
    let ended = server.call(ADMIN, "wait_for_task", json!({"upid": UPID}));
    assert!(ended.to_string().contains(CANARY), "{ended}");
    let failed = server.call(ADMIN, "proxmox_api_get", json!({"path": "/nodes/pve1/time"}));
    assert!(texts(&failed).contains(CANARY), "{failed}");
}

#[test]
fn headers_and_queries_of_a_request_are_not_echoed_or_logged() {
    let node = start_leaky_node();
    let server = ProgramServer::start_lab(&node, &json!({}));
    let mut text = String::new();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for headers in [
        format!("Authorization: Bearer {CANARY}\r\n"),
        format!("Authorization: {CANARY}\r\n"),
        format!("X-Api-Key: {CANARY}\r\nAuthorization: Bearer {READER}\r\n"),
        format!("Cookie: token={CANARY}\r\nAuthorization: Bearer {READER}\r\n"),
        format!("Proxy-Authorization: Basic {CANARY}\r\nAuthorization: Bearer {READER}\r\n"),
        format!("Mcp-Session-Id: {CANARY}\r\nAuthorization: Bearer {READER}\r\n"),
    ] {
        for path in ["/mcp", &format!("/mcp?token={CANARY}"), &format!("/messages?sessionId={CANARY}")] {
            let reply = server.connect().post_with(path, &headers, ping);
            text += &(reply.head + &reply.body);
        }
    }
    assert_clean("an answer", &text);
    let process = server.process.child.id();
    let read =
        |what: &str| String::from_utf8_lossy(&std::fs::read(format!("/proc/{process}/{what}")).unwrap()).into_owned();
    assert_clean("the arguments", &read("cmdline"));
    assert_clean("the environment", &read("environ"));
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let children = thread.unwrap().path().join("children");
        // A thread may end while it is read, and not every kernel has the file.
        assert_eq!(std::fs::read_to_string(children).unwrap_or_default(), "", "no program is started");
    }
    assert_clean("the log", &server.stop_and_read());
    for args in [&["--help"][..], &["stdio", "--help"], &["audit", "--help"], &["check", "--help"]] {
        let output = run(args);
        assert_clean("the help", &String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
}
