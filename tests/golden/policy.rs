//! Denials of the policy, confirmations and their rejections.

use crate::document::{Document, send, visible};
use crate::support::node::ScriptedReply;
use crate::support::policy::{
    ALL, RecordingNode, answer_question, caller, client, confirmation_code_in, confirming_policy, modern, open_policy,
    patterns, protected, rights,
};
use crate::support::proxmox::{guests, gzipped_facts, server_error};
use crate::support::test_tools::{ManualClock, product_for, product_with};
use crate::support::tool::ToolServer;
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::call::CODE_LIFETIME;
use proxmox_mcp::policy::{AccessLevel, ClusterPolicy, ConfirmationPolicy, Permissions};
use serde_json::{Value, json};
use std::time::Duration;

const CALL: &str = "proxmox_api_call";
const LIST: &str = "/api2/json/cluster/resources?type=vm";

fn start_server(rules: ClusterPolicy) -> ToolServer {
    let node = RecordingNode::start();
    let cluster = node.cluster("prod", rules);
    ToolServer::new(node, vec![cluster])
}

fn start() -> Value {
    json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"})
}

fn delete() -> Value {
    json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE", "data": {"purge": true}})
}

fn exec() -> Value {
    json!({"path": "/nodes/pve1/qemu/100/agent/exec", "method": "POST", "data": {"command": ["id"]}})
}

/// Returns calls of rising risk.
fn calls() -> [Value; 6] {
    [
        json!({"path": "/nodes/pve1/qemu/100/agent/file-read", "data": {"file": "/etc/shadow"}}),
        start(),
        json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": {"cores": 2}}),
        delete(),
        exec(),
        json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": {"hookscript": "local:snippets/x.sh"}}),
    ]
}

#[test]
fn policy_denials() {
    let mut document = Document::new();
    let node = RecordingNode::start();
    let (read, operate, full) =
        (rights(AccessLevel::Read, false), rights(AccessLevel::Operate, false), rights(AccessLevel::Full, false));
    document.section("Access of a client");
    let clusters = vec![node.cluster("prod", open_policy()), node.cluster("lab", open_policy())];
    let clients =
        [client("reader", read, &["prod"]), client("operator", operate, &["prod"]), client("writer", full, &["prod"])];
    let server = product_for(clusters, &clients);
    for client in &clients {
        document.section(&client.name);
        for arguments in calls() {
            document.call_as(&server, &caller(client), CALL, arguments);
        }
    }
    document.section("Another client's cluster");
    let reader = caller(&clients[0]);
    for (tool, arguments) in [
        ("proxmox_api_get", json!({"path": "/version", "cluster": "lab"})),
        ("list_nodes", json!({"cluster": "lab"})),
        ("list_clusters", json!({})),
    ] {
        document.call_as(&server, &reader, tool, arguments);
    }
    document.section("Access to a cluster");
    for permissions in [read, operate, full] {
        document.section(&permissions.to_string());
        let server = start_server(ClusterPolicy { permissions, ..open_policy() });
        for arguments in calls() {
            document.call(&server.server, CALL, arguments);
        }
    }
    document
        .section("\"deny\": GET /nodes, * /cluster/resources, POST /nodes/*/qemu/*/status/*, GET /nodes/*/tasks/**");
    let server = start_server(ClusterPolicy {
        deny: patterns(&[
            "GET /nodes",
            "* /cluster/resources",
            "POST /nodes/*/qemu/*/status/*",
            "GET /nodes/*/tasks/**",
        ]),
        ..open_policy()
    });
    for (tool, arguments) in [
        ("list_nodes", json!({})),
        ("list_clusters", json!({"check": true})),
        ("get_cluster_resources", json!({})),
        ("find_guest", json!({"query": "web"})),
        ("proxmox_api_get", json!({"path": "/nodes"})),
        ("proxmox_api_get", json!({"paths": ["/version", "/nodes"]})),
        ("proxmox_api_get", json!({"path": "/qemu/web01/config"})),
        ("proxmox_api_get", json!({"path": "/nodes/{node}/status"})),
        (CALL, start()),
        ("wait_for_task", json!({"upid": "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:"})),
        ("describe_api", json!({"path": "/nodes", "method": "GET"})),
    ] {
        document.call(&server.server, tool, arguments);
    }
    document.section("\"allow\": GET /version, GET /nodes/**");
    let server =
        start_server(ClusterPolicy { allow: Some(patterns(&["GET /version", "GET /nodes/**"])), ..open_policy() });
    for arguments in [start(), json!({"path": "/cluster/status"}), json!({"path": "/qemu/web01/config"})] {
        document.call(&server.server, CALL, arguments);
    }
    document.assert("policy_denials");
}

/// Returns the guests of the cluster. Guest 100 is in a pool and has a tag.
fn rows() -> Value {
    let mut rows = guests();
    let list = rows.as_array_mut().expect("a list");
    list.retain(|row| row["vmid"] != 300);
    list[0]["pool"] = "prod/web".into();
    list[0]["tags"] = "db;critical".into();
    rows
}

#[test]
fn policy_protection() {
    let mut document = Document::new();
    let protecting = |protect: &[&str], list: ScriptedReply| {
        let node = RecordingNode::with(gzipped_facts(), move |request| (request.target == LIST).then(|| list.clone()));
        let rules = ClusterPolicy { protect: protected(protect), ..open_policy() };
        let cluster = node.cluster("prod", rules);
        ToolServer::new(node, vec![cluster])
    };
    let list = || ScriptedReply::data(&rows().to_string());
    for protect in [&["100"][..], &["pool:prod"], &["tag:critical"]] {
        document.section(&format!("\"protect\": {}", protect.join(", ")));
        let server = protecting(protect, list());
        for (line, data) in [
            ("POST /nodes/pve1/qemu/100/status/start", json!({})),
            ("POST /nodes/pve2/qemu/101/clone", json!({"newid": 100})),
            ("PUT /nodes/pve2/qemu/101/config", json!({"scsi1": "local-lvm:vm-100-disk-0"})),
            // A new disk on a storage with the name `vm`.
            ("PUT /nodes/pve2/qemu/101/config", json!({"scsi1": "vm:100"})),
            ("DELETE /nodes/pve1/storage/local-lvm/content/local-lvm:vm-100-disk-0", json!({})),
            ("DELETE /nodes/pve2/storage/local/prunebackups", json!({"prune-backups": "keep-last=1"})),
            ("POST /cluster/ha/resources", json!({"sid": "vm:100"})),
            ("POST /nodes/pve1/vzdump", json!({"all": true})),
            ("PUT /pools", json!({"poolid": "prod", "vms": "101"})),
            ("POST /nodes/pve1/stopall", json!({})),
            ("POST /cluster/bulk-action/guest/shutdown", json!({})),
            ("POST /nodes/pve1/status", json!({"command": "reboot"})),
            ("POST /nodes/pve2/qemu/777/status/start", json!({})),
        ] {
            let (method, path) = line.split_once(' ').expect("a method");
            document.call(&server.server, CALL, json!({"path": path, "method": method, "data": data}));
        }
        document.call(&server.server, "proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/config"}));
    }
    for (about, protect, list) in [
        ("a guest that the list lacks", "555", list()),
        (
            "a list that is refused",
            "pool:prod",
            ScriptedReply::refusal(403, "Permission check failed (/vms, VM.Audit)", ""),
        ),
    ] {
        document.section(&format!("\"protect\": {protect}, {about}"));
        let server = protecting(&[protect], list);
        for path in ["/nodes/pve1/qemu/100/status/start", "/nodes/pve1/stopall", "/nodes/pve9/stopall"] {
            document.call(&server.server, CALL, json!({"path": path, "method": "POST"}));
        }
    }
    document.assert("policy_protection");
}

fn with_argument(mut arguments: Value, name: &str, value: impl Into<Value>) -> Value {
    arguments[name] = value.into();
    arguments
}

fn code(answer: &Value) -> String {
    confirmation_code_in(answer["result"]["content"][0]["text"].as_str().expect("a text"))
}

#[test]
fn confirmations_by_code() {
    let mut document = Document::new();
    let node = RecordingNode::with(gzipped_facts(), |r| {
        (r.path().ends_with("/101")).then(|| server_error("VM is locked (backup)"))
    });
    let clients = [client("ada", ALL, &[]), client("bob", ALL, &[])];
    let clusters = vec![node.cluster("prod", confirming_policy()), node.cluster("lab", confirming_policy())];
    let server = ToolServer::for_clients(node, clusters, &clients);
    let (ada, bob) = (&server.callers[0], &server.callers[1]);
    let delete = with_argument(delete(), "cluster", "prod");
    let mut call = |about: &str, who, arguments: Value| {
        document.section(about);
        document.call_as(&server.server, who, CALL, arguments)
    };
    let asked = call("The question", ada, delete.clone());
    let right = with_argument(delete.clone(), "confirm", code(&asked));
    call("Another client's code", bob, right.clone());
    call("Other data", ada, with_argument(right.clone(), "data", json!({})));
    call("Another cluster", ada, with_argument(right.clone(), "cluster", "lab"));
    call("A made-up code", ada, with_argument(delete.clone(), "confirm", "yes"));
    call("A dry run", ada, with_argument(right.clone(), "dry_run", true));
    call("The right code", ada, right.clone());
    call("The same code again", ada, right);
    let locked = with_argument(delete.clone(), "path", "/nodes/pve2/qemu/101");
    let asked = call("A call that fails: the question", ada, locked.clone());
    let locked = with_argument(locked, "confirm", code(&asked));
    call("A call that fails: the right code", ada, locked.clone());
    call("A call that fails: the same code again", ada, locked);
    call("Several guests", ada, json!({"path": "/nodes/pve1/stopall", "method": "POST", "cluster": "prod"}));
    call(
        "A rollback",
        ada,
        json!({"path": "/nodes/pve1/qemu/100/snapshot/x1/rollback", "method": "POST", "cluster": "lab"}),
    );
    call(
        "A change of the network",
        ada,
        with_argument(
            json!({"path": "/nodes/pve1/network/vmbr0", "method": "DELETE", "cluster": "prod"}),
            "data",
            json!({}),
        ),
    );
    let long = "x".repeat(8_000);
    call(
        "A call that is too long to read",
        ada,
        json!({"path": "/access/acl", "method": "PUT", "cluster": "prod", "data": {"path": "/", "roles": "Administrator", "users": long, "delete": true}}),
    );
    document.section("Guests that cannot be listed");
    let node = RecordingNode::with(gzipped_facts(), |r| {
        (r.target == LIST).then(|| ScriptedReply::refusal(403, "Permission check failed (/vms, VM.Audit)", ""))
    });
    let cluster = node.cluster("prod", confirming_policy());
    let blind = ToolServer::new(node, vec![cluster]);
    document.call(&blind.server, CALL, json!({"path": "/nodes/pve1/stopall", "method": "POST"}));
    document.section("A tool that cannot ask");
    document.call_as(
        &server.server,
        ada,
        "proxmox_api_get",
        json!({"path": "/nodes/pve1/qemu/100/vncwebsocket?port=5900&vncticket=x", "cluster": "prod"}),
    );
    document.assert("confirmations_by_code");
}

#[test]
fn confirmations_by_form() {
    let mut document = Document::new();
    let node = RecordingNode::start();
    let client = client("ada", ALL, &[]);
    let clock = ManualClock::new();
    let rules = ClusterPolicy { confirm: ConfirmationPolicy::Writes, ..open_policy() };
    let clients = std::slice::from_ref(&client);
    let server = product_with(vec![node.cluster("prod", rules)], clients, &clock, AuditLog::without_file());
    let ada = caller(&client);
    let mut ask = |about: &str, arguments: &Value, form: bool, more: Value| {
        let answer = send(&server, &ada, "tools/call", modern(CALL, arguments, form, more));
        document.case(about, visible(&answer));
        answer
    };
    let state = |answer: &Value| answer["result"]["requestState"].clone();
    let (second, almost) = (Duration::from_secs(1), Duration::from_millis(999));
    let asked = ask("the question", &start(), true, json!({}));
    ask("a client without forms", &start(), false, json!({}));
    for (about, action, after) in [
        ("declined by the user", "decline", second),
        ("closed by the user", "cancel", second),
        ("declined by the client", "decline", Duration::ZERO),
        ("cancelled by the client", "cancel", almost),
    ] {
        let asked = ask("the question", &start(), true, json!({}));
        clock.advance(after);
        ask(about, &start(), true, answer_question(&state(&asked), action, Value::Null));
    }
    let other = with_argument(start(), "path", "/nodes/pve2/qemu/101/status/start");
    ask("an answer to another question", &other, true, answer_question(&state(&asked), "accept", json!({})));
    ask("a state that was changed", &start(), true, answer_question(&json!("made up"), "accept", json!({})));
    ask("no answer", &start(), true, json!({"requestState": state(&asked)}));
    ask("an answer that the protocol does not know", &start(), true, answer_question(&state(&asked), "yes", json!({})));
    let asked = ask("the question", &start(), true, json!({}));
    ask("accepted", &start(), true, answer_question(&state(&asked), "accept", json!({})));
    ask("accepted twice", &start(), true, answer_question(&state(&asked), "accept", json!({})));
    let asked = ask("the question", &start(), true, json!({}));
    clock.advance(CODE_LIFETIME + second);
    ask("accepted too late", &start(), true, answer_question(&state(&asked), "accept", json!({})));
    ask("answers that are no object", &start(), true, json!({"requestState": state(&asked), "inputResponses": []}));
    document.assert("confirmations_by_form");
}

#[test]
fn permissions_have_names() {
    let mut document = Document::new();
    for access in [AccessLevel::Read, AccessLevel::Operate, AccessLevel::Full] {
        for exec in [false, true] {
            let permissions = Permissions { access, exec };
            let policy = ClusterPolicy { permissions, ..confirming_policy() };
            document.case(format_args!("{access:?} {exec}"), format_args!("{permissions}\n{policy}"));
        }
    }
    let lists = ClusterPolicy {
        deny: patterns(&["GET /nodes"]),
        allow: Some(patterns(&["GET /**", "POST /**"])),
        protect: protected(&["100", "pool:prod"]),
        ..open_policy()
    };
    document.case("with lists", lists);
    document.assert("permissions");
}
