//! The permissions of each level: every operation with every tool and spelling, limited by the client or by the
//! cluster. Unknown operations, and parameters that raise the risk of a call. The table is
//! `tests/policy/operations.tsv` (`UPDATE=1` rewrites it).

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{
    LEVELS, RecordingNode, client, concrete_path, confirming_policy, open_policy, patterns, protected,
};
use crate::support::proxmox::{
    facts_list, gzipped_facts, is_lookup, is_question_lookup, operation, required, script, segments, server_error,
};
use crate::support::test_tools::product_for;
use crate::support::tool::{ToolResult, ToolServer, call_as};
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::policy::ClusterPolicy;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::schema::{Operation, embedded_schema};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A well-formed confirmation code that this server did not issue.
const MADE_UP: &str = "12c-00112233445566ff-0123456789abcdef01234567";

/// Starts a server with a client and a cluster of each level, all on one node. The cluster `ask` requires confirmation
/// of irreversible changes.
fn server_of_levels(node: RecordingNode) -> ToolServer {
    let mut clusters: Vec<_> = LEVELS
        .iter()
        .map(|(name, rights)| node.cluster(name, ClusterPolicy { permissions: *rights, ..open_policy() }))
        .collect();
    clusters.push(node.cluster("ask", confirming_policy()));
    let clients: Vec<_> = LEVELS.iter().map(|(name, rights)| client(name, *rights, &[])).collect();
    ToolServer::for_clients(node, clusters, &clients)
}

/// Makes a call with the level limited by the client, and one limited by the cluster.
fn call_from_both_sides(
    server: &ToolServer,
    level: usize,
    tool: &str,
    arguments: &Value,
    mut see: impl FnMut(ToolResult, &str),
) {
    for (client, cluster) in [(level, "X"), (3, LEVELS[level].0)] {
        let mut arguments = arguments.clone();
        arguments["cluster"] = cluster.into();
        let text = server.call_as(client, tool, arguments);
        see(text, &format!("client {}, cluster {cluster}", LEVELS[client].0));
    }
}

/// Returns whether a request is the check of the version that follows every minute, and not the call of this line.
fn is_version_check(line: &str, request: &Request) -> bool {
    request.target == "/api2/json/version" && !line.contains("\t/version")
}

/// Returns whether an operation has reached the node since its requests were last read.
fn has_reached(server: &ToolServer, wanted: &Operation<'_>) -> bool {
    let of = |method: &str, segments: &[String]| operation(method, segments).1 == Some(wanted.template());
    server.node.requests().iter().any(|r| r.method == wanted.method().as_str() && of(&r.method, &segments(r)))
}

/// Returns the ways to write a call, as tool and arguments.
fn call_forms(wanted: &Operation<'_>, data: &Map<String, Value>) -> Vec<(&'static str, Value)> {
    let (path, method) = (concrete_path(wanted), wanted.method().as_str());
    let encoded =
        |s: &str| -> String { s.bytes().map(|b| if b == b'/' { "/".into() } else { format!("%{b:02x}") }).collect() };
    let call = |path: &str| json!({"path": path, "method": method, "data": data});
    let mut all = vec![call(&path)];
    for odd in [
        encoded(&path),
        path.replace("/qemu", "/%71emu").replacen('/', "//", 3),
        path.replace('/', "%2f"),
        format!("/api2/json{path}/"),
        format!("api2//json//{}", path.trim_start_matches('/')),
    ] {
        all.push(call(&odd));
    }
    all.push(json!({"path": path, "method": method.to_lowercase(), "data": data}));
    all.push(json!({"path": format!("{} {path}", method.to_lowercase()), "data": data}));
    let mut made_up = call(&path);
    made_up["confirm"] = MADE_UP.into();
    all.push(made_up);
    if let Some(rest) = path.strip_prefix("/nodes/pve1/qemu/100") {
        for start in
            ["/qemu/web01", "vm/100", "/nodes/{node}/qemu/100", "/nodes/pve3/lxc/WEB01", "/nodes/localhost/qemu/100"]
        {
            all.push(call(&format!("{start}{rest}")));
        }
    } else if let Some(rest) = path.strip_prefix("/nodes/pve2/lxc/200") {
        for start in ["/lxc/dns01", "ct/200", "/nodes/<node>/lxc/dns01", "/nodes/pve2/%6cxc/%32%30%30"] {
            all.push(call(&format!("{start}{rest}")));
        }
    } else if let Some(rest) = path.strip_prefix("/nodes/pve1/tasks/UPID") {
        all.push(call(&format!("/tasks/UPID{rest}")));
    }
    // A wrong kind is not corrected for a change that cannot be undone easily.
    if wanted.method() != Method::Get && wanted.risk().is_sensitive() {
        all.retain(|arguments| !arguments["path"].as_str().unwrap().contains("/lxc/WEB01"));
    }
    let mut all: Vec<_> = all.into_iter().map(|arguments| ("proxmox_api_call", arguments)).collect();
    if wanted.risk().is_read_only() && wanted.method() == Method::Get {
        all.push(("proxmox_api_get", json!({"path": path, "params": data})));
        all.push(("proxmox_api_get", json!({"path": encoded(&path), "params": data})));
        all.push(("proxmox_api_get", json!({"paths": [path, format!("get {path}")], "params": data})));
    }
    all
}

#[test]
fn every_operation_requires_its_level_with_every_tool() {
    let all: Vec<_> = embedded_schema().operations().collect();
    assert_eq!(all.len(), 661);
    let parts = all.chunks(all.len().div_ceil(4));
    let table: String = std::thread::scope(|scope| {
        let parts: Vec<_> = parts.map(|part| scope.spawn(|| rows(part))).collect();
        parts.into_iter().map(|part| part.join().expect("rows")).collect()
    });
    golden(&table);
}

/// Returns the rows of these operations. Each operation is tried with every tool.
fn rows(operations: &[Operation<'_>]) -> String {
    let server = server_of_levels(RecordingNode::start());
    let mut table = String::new();
    for wanted in operations {
        let (line, data) = (format!("{}\t{}", wanted.method(), wanted.template()), required(wanted));
        let doors = call_forms(wanted, &data);
        let mut lowest = None;
        for (level, (letter, _)) in LEVELS.iter().enumerate() {
            let (tool, plain) = &doors[0];
            let mut let_through = Vec::new();
            call_from_both_sides(&server, level, tool, plain, |result, who| {
                let passed = !result.failed;
                let requests = server.node.requests();
                assert!(
                    passed || result.text.contains("refused: ") && requests.iter().all(|r| is_version_check(&line, r)),
                    "{line} {who}: {result:?} {requests:?}"
                );
                let_through.push(passed);
            });
            assert_eq!(let_through[0], let_through[1], "{line}: client and cluster differ at {letter}");
            assert!(let_through[0] || lowest.is_none(), "{line}: {letter} permits less than the level below");
            if let_through[0] && lowest.is_none() {
                lowest = Some(level);
            }
            for (tool, arguments) in &doors[1..] {
                if !let_through[0] {
                    call_from_both_sides(&server, level, tool, arguments, |result, who| {
                        let requests = server.node.requests();
                        // An invalid path is looked up first: a container has no agent.
                        let silent = match arguments["path"].as_str() {
                            Some(path) if path.contains("/lxc/WEB01") => requests.iter().all(is_lookup),
                            _ => requests.iter().all(|r| is_version_check(&line, r)),
                        };
                        assert!(result.failed && silent, "{line} {who} {arguments}: {result:?} {requests:?}");
                        assert!(result.text.contains("refused: "), "{line} {who} {arguments}: {result:?}");
                    });
                } else if lowest == Some(level) {
                    let mut arguments = arguments.clone();
                    arguments["cluster"] = LEVELS[level].0.into();
                    let result = server.call_as(level, tool, arguments.clone());
                    assert!(!result.failed && has_reached(&server, wanted), "{line} {arguments}: {result:?}");
                }
            }
        }
        let lowest = lowest.unwrap_or_else(|| panic!("{line}: no level may"));
        let asks = needs_confirmation(&server, wanted, &doors);
        table.push_str(&format!("{line}\t{}\t{}\n", LEVELS[lowest].0, if asks { "asks" } else { "-" }));
    }
    table
}

/// Returns whether a call must be confirmed. Every tool must agree.
fn needs_confirmation(server: &ToolServer, wanted: &Operation<'_>, doors: &[(&str, Value)]) -> bool {
    let mut all = doors.iter().map(|(tool, arguments)| {
        let mut arguments = arguments.clone();
        arguments["cluster"] = "ask".into();
        server.node.requests();
        let result = server.call_as(3, tool, arguments.clone());
        let reached = has_reached(server, wanted);
        assert_eq!(result.failed, !reached, "{arguments}: {result:?}");
        assert!(reached || result.text.contains("has to be confirmed"), "{arguments}: {result:?}");
        !reached
    });
    let first = all.next().expect("a door");
    assert!(all.all(|other| other == first), "{} {}: doors differ", wanted.method(), wanted.template());
    first
}

fn golden(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/operations.tsv");
    let head = concat!(
        "# method, path, lowest level that permits it (R read, O operate, F full, X full with exec), ",
        "whether it requires confirmation\n"
    );
    let now = format!("{head}{table}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let before = std::fs::read_to_string(&path).expect("tests/policy/operations.tsv");
    for (old, new) in before.lines().zip(now.lines()) {
        assert_eq!(new, old, "tests/policy/operations.tsv is stale: look at the difference, then run with UPDATE=1");
    }
    assert_eq!(before.lines().count(), now.lines().count());
}

// ---- unknown operations

/// Returns the lowest level that permits a call, from both sides, and whether it must be confirmed. Fails if a refused
/// call sends anything.
#[track_caller]
fn lowest_level(server: &ToolServer, tool: &str, arguments: &Value) -> (&'static str, bool) {
    let is_read = tool == "proxmox_api_get"
        || arguments["method"] == "GET"
        || arguments["path"].as_str().is_some_and(|path| path.starts_with("GET "));
    // A question reads the object that the call changes.
    let is_call =
        |r: &Request| !is_lookup(r) && !is_question_lookup(r) && !is_state_lookup(r) && (is_read || r.method != "GET");
    let mut lowest = None;
    for (level, (letter, _)) in LEVELS.iter().enumerate() {
        call_from_both_sides(server, level, tool, arguments, |result, who| {
            let sent = server.node.requests().iter().any(is_call);
            assert_eq!(sent, !result.failed, "{who} {arguments}: {result:?}");
            assert!(sent || result.text.contains("refused: "), "{who} {arguments}: {result:?}");
            assert!(sent || lowest.is_none(), "{who} {arguments}: {result:?}");
            if sent {
                lowest = lowest.or(Some(*letter));
            }
        });
    }
    let mut arguments = arguments.clone();
    arguments["cluster"] = "ask".into();
    let result = server.call_as(3, tool, arguments.clone());
    let sent = server.node.requests().iter().any(is_call);
    // A call under a name in use fails in the place of its question.
    let is_asked = ["has to be confirmed", " would fail: "].iter().any(|text| result.text.contains(text));
    assert!(sent != result.failed && (sent || is_asked), "{arguments}: {result:?}");
    (lowest.unwrap_or_else(|| panic!("no level may: {arguments}")), !sent)
}

/// Checks that proxmox_api_get sends a call at no level.
#[track_caller]
fn assert_never_sent(server: &ToolServer, arguments: &Value) {
    for level in 0..LEVELS.len() {
        call_from_both_sides(server, level, "proxmox_api_get", arguments, |result, who| {
            let requests = server.node.requests();
            assert!(result.failed && requests.iter().all(is_lookup), "{who} {arguments}: {result:?} {requests:?}");
        });
    }
}

#[test]
fn get_that_is_more_than_a_read_needs_the_tool_for_changes() {
    let server = server_of_levels(RecordingNode::start());
    let mut count = 0;
    for wanted in embedded_schema().operations() {
        if wanted.method() == Method::Get && !wanted.risk().is_read_only() {
            assert_never_sent(&server, &json!({"path": concrete_path(&wanted), "params": required(&wanted)}));
            count += 1;
        }
    }
    assert_eq!(count, 15);
}

#[test]
fn operation_known_only_to_the_cluster_has_the_highest_risk() {
    let mut paths = facts_list();
    let info = json!({"description": "Reads a list.", "permissions": {"user": "all"}, "risk": "R",
        "parameters": {"additionalProperties": 0, "properties": {}}, "returns": {"type": "array"}});
    for path in ["/cluster/brand", "/nodes/{node}/brand", "/nodes/{node}/qemu/{vmid}/brand"] {
        paths.push(json!({"path": path, "leaf": 1, "info": {"GET": info, "POST": info, "PUT": info, "DELETE": info}}));
    }
    let server = server_of_levels(RecordingNode::with(ScriptedReply::body(script(&paths)), |_| None));
    for path in ["/cluster/brand", "/nodes/pve1/brand", "/nodes/pve1/qemu/100/brand", "/qemu/web01/brand"] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let arguments = json!({"path": path, "method": method, "confirm": MADE_UP});
            assert_eq!(lowest_level(&server, "proxmox_api_call", &arguments), ("X", true), "{method} {path}");
        }
        assert_never_sent(&server, &json!({"path": path}));
        assert_never_sent(&server, &json!({"paths": [path, path]}));
    }
}

#[test]
fn undescribed_path_has_the_highest_risk() {
    let server = server_of_levels(RecordingNode::with(ScriptedReply::refusal(500, "no such file", ""), |_| None));
    for path in ["/cluster/brand/new", "/nodes/pve1/brand", "/nodes/pve1/qemu/100/status/halt", "/x"] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let arguments = json!({"path": path, "method": method});
            assert_eq!(lowest_level(&server, "proxmox_api_call", &arguments), ("X", true), "{method} {path}");
        }
        assert_never_sent(&server, &json!({"path": path}));
    }
    assert_eq!(lowest_level(&server, "proxmox_api_get", &json!({"path": "/nodes/pve1/status"})), ("R", false));
}

/// Returns false descriptions of a path: the same path with harmless facts, or another template that matches it.
fn false_descriptions(template: &str) -> Vec<String> {
    let (parent, _) = template.rsplit_once('/').expect("a path");
    vec![
        template.to_owned(),
        template.replace("{vmid}", "{id}").replace("{node}", "{host}"),
        template.replace("{node}", "pve1").replace("{vmid}", "100"),
        template.replace("/qemu/", "/{what}/"),
        format!("{parent}/{{name}}"),
        format!("{parent}/{{volume}}"),
        "/{volume}".into(),
        "/nodes/{volume}".into(),
    ]
}

#[test]
fn false_description_lowers_no_risk() {
    let harmless = json!({"description": "Reads a harmless list.", "risk": "R", "summary": "List nothing",
        "permissions": {"user": "all"}, "parameters": {"additionalProperties": 1, "properties": {}}});
    let info = json!({"GET": harmless, "POST": harmless, "PUT": harmless, "DELETE": harmless});
    for (method, template, least, asks) in [
        ("POST", "/nodes/{node}/qemu/{vmid}/status/stop", "O", true),
        ("DELETE", "/nodes/{node}/qemu/{vmid}", "F", true),
        ("POST", "/nodes/{node}/qemu/{vmid}/agent/exec", "X", true),
        ("POST", "/nodes/{node}/status", "F", true),
        ("POST", "/nodes/{node}/qemu/{vmid}/status/start", "O", false),
        ("GET", "/nodes/{node}/qemu/{vmid}/config", "R", false),
    ] {
        let path = template.replace("{node}", "pve1").replace("{vmid}", "100");
        for lie in false_descriptions(template) {
            let server = server_of_levels(RecordingNode::with(
                ScriptedReply::body(script(&[json!({"path": lie, "info": info})])),
                |_| None,
            ));
            let call = json!({"path": path, "method": method});
            let places = |letter: &str| LEVELS.iter().position(|(l, _)| *l == letter);
            // The risk is the embedded one or the highest. There is no risk if the false description lacks the path.
            for cluster in ["X", "ask"] {
                for (level, (letter, _)) in LEVELS.iter().enumerate() {
                    let mut call = call.clone();
                    call["cluster"] = cluster.into();
                    let result = server.call_as(level, "proxmox_api_call", call);
                    let sent = server.node.requests().iter().any(|r| !is_lookup(r) && !is_question_lookup(r));
                    let may = places(letter) >= places(least) && (cluster == "X" || !asks);
                    assert!(
                        may || !sent && result.failed,
                        "{method} {path} as {lie}, {letter} on {cluster}: {result:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn renamed_paths_stay_in_the_deny_list() {
    let info = json!({"description": "x", "parameters": {"additionalProperties": 1, "properties": {}}});
    let info = json!({"POST": info, "DELETE": info});
    let paths = ["/nodes/{a}/storage/{b}/content/{volume}", "/nodes/{a}/{b}", "/nodes/{a}/qemu/{b}/status/{c}"];
    let paths: Vec<_> = paths.iter().map(|path| json!({"path": path, "info": info})).collect();
    let node = RecordingNode::with(ScriptedReply::body(script(&paths)), |_| None);
    let denying = ClusterPolicy { deny: patterns(&["DELETE /nodes/*/storage/*/content/*"]), ..open_policy() };
    let allowing = ClusterPolicy { allow: Some(patterns(&["POST /nodes/*/qemu"])), ..open_policy() };
    let guarding = ClusterPolicy { protect: protected(&["100"]), ..open_policy() };
    let server = product_for(
        vec![node.cluster("denying", denying), node.cluster("allowing", allowing), node.cluster("guarding", guarding)],
        &[],
    );
    for (cluster, method, path) in [
        ("denying", "DELETE", "/nodes/pve1/storage/local/content/local:iso/a/b.iso"),
        ("allowing", "POST", "/nodes/pve1/qemu/101/status/stop"),
        ("guarding", "POST", "/nodes/pve1/stopall"),
        ("guarding", "POST", "/nodes/pve2/brand"),
        ("guarding", "POST", "/nodes/pve1/qemu/100/status/stop"),
        ("guarding", "POST", "/nodes/pve2/qemu/101/status/brand"),
    ] {
        let result = call_as(
            &server,
            &Caller::new_stdio(),
            "proxmox_api_call",
            json!({"cluster": cluster, "method": method, "path": path}),
        );
        assert!(result.failed && result.text.contains("refused: "), "{cluster} {path}: {result:?}");
        assert_eq!(node.writes(), [""; 0], "{cluster} {path}");
    }
}

// ---- parameters that raise the risk

#[test]
fn parameters_raise_the_required_level_and_confirmation() {
    let server = server_of_levels(RecordingNode::start());
    let (config, shutdown) = ("/nodes/pve1/qemu/100/config", "/nodes/pve1/qemu/100/status/shutdown");
    for (line, data, level) in [
        ("POST /nodes/pve1/qemu", json!({"vmid": 500, "archive": "local:backup/x.vma.zst"}), ("F", false)),
        (
            "POST /nodes/pve1/qemu",
            json!({"vmid": 500, "archive": "local:backup/x.vma.zst", "force": true}),
            ("F", true),
        ),
        ("POST /nodes/pve1/lxc", json!({"vmid": 500, "ostemplate": "local:vztmpl/x.tar", "force": "yes"}), ("F", true)),
        (shutdown, json!({}), ("O", false)),
        (shutdown, json!({"forceStop": true}), ("O", true)),
        (shutdown, json!({"forceStop": "on"}), ("O", true)),
        (shutdown, json!({"forceStop": false}), ("O", false)),
        ("/nodes/pve1/qemu/100/status/shutdown?forceStop=1", json!({}), ("O", true)),
        ("/nodes/pve2/lxc/200/status/shutdown", json!({"forceStop": 1}), ("O", true)),
        (config, json!({"delete": "tags"}), ("F", false)),
        (config, json!({"delete": "unused0"}), ("F", true)),
        (config, json!({"delete": "tags,unused12"}), ("F", true)),
        (config, json!({"delete": "tags unused0"}), ("F", true)),
        (config, json!({"delete": ["tags", "unused0"]}), ("F", true)),
        (config, json!({"delete": "scsi1", "force": 1}), ("F", true)),
        (config, json!({"args": "-S"}), ("X", true)),
        (config, json!({"hookscript": "local:snippets/x.sh"}), ("X", true)),
        ("PUT /nodes/pve2/lxc/200/config", json!({"hookscript": "local:snippets/x.sh"}), ("X", true)),
        ("POST /nodes/pve1/qemu", json!({"vmid": 500, "args": "-S"}), ("X", true)),
        ("/nodes/pve1/vzdump", json!({"vmid": "100"}), ("O", false)),
        ("/nodes/pve1/vzdump", json!({"vmid": "100", "remove": false}), ("O", false)),
        ("/nodes/pve1/vzdump", json!({"vmid": "100", "remove": true}), ("F", true)),
        ("/nodes/pve1/vzdump", json!({"vmid": "100", "prune-backups": "keep-last=1"}), ("F", true)),
        ("/cluster/backup", json!({"vmid": "100", "prune-backups": {"keep-last": 1}}), ("F", true)),
        ("/nodes/pve1/qemu/100/move_disk", json!({"disk": "scsi0", "storage": "x1"}), ("F", false)),
        ("/nodes/pve1/qemu/100/move_disk", json!({"disk": "scsi0", "storage": "x1", "delete": true}), ("F", true)),
    ] {
        let arguments = match line.split_once(' ') {
            Some(_) => json!({"path": line, "data": data}),
            None => json!({"path": line, "method": "POST", "data": data}),
        };
        assert_eq!(lowest_level(&server, "proxmox_api_call", &arguments), level, "{line} {data}");
    }
}

/// Starts a node with permissions of users, groups and tokens, and with options of guests. The token of the server is
/// `root@pam!mcp`.
fn start_with_state() -> RecordingNode {
    let grant = |path: &str, kind: &str, id: &str, role: &str| json!({"path": path, "type": kind, "ugid": id, "roleid": role, "propagate": 1});
    let acl = json!([
        grant("/", "user", "ada@pve", "PVEAdmin"),
        grant("/", "group", "operators", "PVEVMUser"),
        grant("/vms", "token", "ci@pve!run", "PVEVMAdmin"),
        grant("/vms", "token", "root@pam!mcp", "Own"),
        {"path": "/", "type": "user", "ugid": "eve@pve", "roleid": "PVEAdmin", "propagate": 0},
    ]);
    let users = json!([
        {"userid": "bob@pve", "groups": "operators,guests"},
        {"userid": "eve@pve", "groups": ""},
        {"userid": "root@pam", "groups": "owners"},
    ]);
    let roles = json!([
        {"roleid": "PVEAdmin", "privs": "VM.Audit,VM.PowerMgmt,VM.Allocate"},
        {"roleid": "PVEVMAdmin", "privs": "VM.Audit,VM.PowerMgmt,VM.Allocate"},
        {"roleid": "PVEVMUser", "privs": "VM.Audit,VM.PowerMgmt"},
        {"roleid": "PVEAuditor", "privs": "VM.Audit"},
    ]);
    let (vm, container) = (
        json!({"name": "web01", "digest": "x", "net0": "virtio=AA,bridge=vmbr0,firewall=1", "net1": "virtio=BB,bridge=vmbr1",
            "scsi0": "local-lvm:vm-100-disk-0,size=32G", "ide2": "local:iso/a.iso,media=cdrom"}),
        json!({"hostname": "dns01", "digest": "x", "net0": "name=eth0,bridge=vmbr0,ip=192.0.2.5/24", "mp0": "local:8,mp=/data,backup=1", "mp1": "local:8,mp=/tmp"}),
    );
    let storage = json!({"storage": "x1", "type": "dir", "content": "iso,images", "nodes": "pve1"});
    RecordingNode::with(gzipped_facts(), move |request| {
        let answer = match (request.method.as_str(), request.target.strip_prefix("/api2/json")?) {
            ("GET", "/access/acl") => &acl,
            ("GET", "/access/users?full=1") => &users,
            ("GET", "/access/roles") => &roles,
            ("GET", "/nodes/pve1/qemu/100/config") => &vm,
            ("GET", "/nodes/pve2/lxc/200/config") => &container,
            ("GET", "/storage/x1") => &storage,
            _ => return None,
        };
        Some(ScriptedReply::data(&answer.to_string()))
    })
}

/// Returns the reads by which the server judges a change by the state of the cluster.
fn is_state_lookup(request: &Request) -> bool {
    let of_access = ["/access/acl", "/access/users?full=1", "/access/roles"];
    request.method == "GET" && of_access.iter().any(|path| request.target.strip_prefix("/api2/json") == Some(path))
}

#[test]
fn change_that_takes_away_what_it_does_not_name_is_asked() {
    let server = server_of_levels(start_with_state());
    let acl = |path: &str, kind: &str, id: &str, role: &str| json!({"path": path, "roles": role, kind: id});
    let (config, lxc) = ("PUT /nodes/pve1/qemu/100/config", "PUT /nodes/pve2/lxc/200/config");
    for (line, data, asks) in [
        // A permission on a deeper path replaces the inherited one.
        ("PUT /access/acl", acl("/vms/100", "users", "ada@pve", "PVEAuditor"), true),
        ("PUT /access/acl", acl("vms//100/", "users", "ada@pve", "PVEAuditor"), true),
        ("PUT /access/acl", acl("/pool/web", "users", "carl@pve,ada@pve", "PVEVMUser"), true),
        ("PUT /access/acl", acl("/vms/100", "users", "bob@pve", "PVEAuditor"), true),
        ("PUT /access/acl", acl("/", "users", "bob@pve", "PVEAuditor"), true),
        ("PUT /access/acl", acl("/vms/100", "groups", "operators", "PVEAuditor"), true),
        ("PUT /access/acl", acl("/vms/100", "groups", "guests", "PVEAuditor"), true),
        ("PUT /access/acl", acl("/vms/100", "tokens", "ci@pve!run", "PVEAuditor"), true),
        // The new role has all of it, or nothing is inherited.
        ("PUT /access/acl", acl("/vms/100", "users", "ada@pve", "PVEVMAdmin"), false),
        ("PUT /access/acl", acl("/vms/100", "users", "bob@pve", "PVEAdmin"), false),
        ("PUT /access/acl", acl("/vms/100", "users", "carl@pve", "PVEAuditor"), false),
        ("PUT /access/acl", acl("/vms/100", "users", "eve@pve", "PVEAuditor"), false),
        ("PUT /access/acl", acl("/", "users", "ada@pve", "PVEAuditor"), false),
        ("PUT /access/acl", acl("/storage/x1", "tokens", "ci@pve!run", "PVEAuditor"), false),
        // The firewall of an interface, or the backup of a volume, is off without its part.
        (config, json!({"net0": "virtio=AA,bridge=vmbr0"}), true),
        (config, json!({"net0": "virtio=AA,bridge=vmbr0,firewall=1,rate=5"}), false),
        (config, json!({"net1": "virtio=BB,bridge=vmbr1,mtu=1"}), false),
        // The guest leaves a network.
        (config, json!({"net1": "virtio=BB,bridge=vmbr0"}), true),
        (config, json!({"net1": "virtio=BB,bridge=vmbr1,tag=7"}), true),
        (config, json!({"net1": "virtio=BB,bridge=vmbr1,link_down=1"}), true),
        (config, json!({"delete": "tags,net1"}), true),
        (config, json!({"delete": "net2"}), false),
        // The guest loses a disk, but no optical one.
        (config, json!({"delete": "scsi0"}), true),
        (config, json!({"delete": "scsihw"}), false),
        (config, json!({"scsi0": "local-lvm:8"}), true),
        (config, json!({"scsi0": "none,media=cdrom"}), true),
        (config, json!({"scsi0": "file=local-lvm:vm-100-disk-0,iothread=1"}), false),
        (config, json!({"scsi1": "local-lvm:8"}), false),
        (config, json!({"delete": "ide2"}), false),
        (config, json!({"ide2": "local:iso/b.iso,media=cdrom"}), false),
        ("PUT /nodes/pve1/qemu/100/unlink", json!({"idlist": "scsi0"}), true),
        ("PUT /nodes/pve1/qemu/100/unlink", json!({"idlist": "scsi9"}), false),
        (lxc, json!({"net0": "name=eth0,bridge=vmbr0,ip=192.0.2.6/24"}), true),
        (lxc, json!({"net0": "name=eth0,bridge=vmbr0,ip=192.0.2.5/24,mtu=1400"}), false),
        (lxc, json!({"delete": "mp1"}), true),
        (lxc, json!({"mp1": "other:8,mp=/tmp"}), true),
        // A storage loses a kind or a node.
        ("PUT /storage/x1", json!({"content": "iso,images,backup"}), false),
        ("PUT /storage/x1", json!({"content": "iso"}), true),
        ("PUT /storage/x1", json!({"nodes": "pve1,pve2"}), false),
        ("PUT /storage/x1", json!({"nodes": "pve2"}), true),
        (config, json!({"net2": "virtio,bridge=vmbr0"}), false),
        (lxc, json!({"mp0": "local:8,mp=/data"}), true),
        // A size makes a new volume.
        (lxc, json!({"mp0": "local:8,mp=/srv,backup=1"}), true),
        (lxc, json!({"mp1": "local:8,mp=/srv"}), true),
        (lxc, json!({"mp2": "local:8,mp=/srv"}), false),
    ] {
        let verdict = lowest_level(&server, "proxmox_api_call", &json!({"path": line, "data": data}));
        assert_eq!(verdict, ("F", asks), "{line} {data}");
    }
}

#[test]
fn change_that_gives_rights_to_the_token_of_the_server_is_asked() {
    let server = server_of_levels(start_with_state());
    let acl = |kind: &str, id: &str| json!({"path": "/pool/web", "roles": "PVEAdmin", kind: id});
    for (line, data, asks) in [
        ("PUT /access/acl", acl("tokens", "root@pam!mcp"), true),
        ("PUT /access/acl", acl("users", "root@pam"), true),
        ("PUT /access/acl", acl("groups", "owners"), true),
        ("PUT /access/acl", acl("tokens", "root@pam!other"), false),
        ("PUT /access/users/root@pam", json!({"groups": "admins", "append": 1}), true),
        ("PUT /access/users/carl@pve", json!({"groups": "admins", "append": 1}), false),
        ("PUT /access/users/root@pam/token/mcp", json!({"privsep": 0}), true),
        ("PUT /access/users/root@pam/token/mcp", json!({"expire": 0}), true),
        ("PUT /access/users/root@pam/token/other", json!({"privsep": 0}), false),
        ("POST /access/users/root@pam/token/second", json!({"privsep": 0}), true),
        ("POST /access/users/carl@pve/token/first", json!({}), false),
        ("PUT /access/roles/Own", json!({"privs": "VM.Allocate", "append": 1}), true),
        ("PUT /access/roles/PVEAuditor", json!({"privs": "VM.Allocate", "append": 1}), false),
    ] {
        let verdict = lowest_level(&server, "proxmox_api_call", &json!({"path": line, "data": data}));
        assert_eq!(verdict, ("F", asks), "{line} {data}");
    }
}

#[test]
fn change_whose_state_is_not_seen_is_asked() {
    let blind = RecordingNode::with(gzipped_facts(), |request| {
        let path = request.target.strip_prefix("/api2/json")?;
        // The token sees a part of the permissions, without a word about the rest.
        match (request.method.as_str(), path) {
            ("GET", "/access/permissions") => Some(ScriptedReply::data(r#"{"/vms":{"VM.Audit":1}}"#)),
            ("GET", "/access/acl" | "/access/users?full=1") => Some(ScriptedReply::data("[]")),
            ("GET", "/nodes/pve1/qemu/100/config") => Some(server_error("got timeout")),
            _ => None,
        }
    });
    let server = server_of_levels(blind);
    for (line, data) in [
        ("PUT /access/acl", json!({"path": "/vms/100", "roles": "PVEAuditor", "users": "ada@pve"})),
        ("PUT /access/roles/x", json!({"privs": "VM.Audit", "append": 1})),
        ("PUT /nodes/pve1/qemu/100/config", json!({"net0": "virtio,bridge=vmbr0"})),
    ] {
        let verdict = lowest_level(&server, "proxmox_api_call", &json!({"path": line, "data": data}));
        assert_eq!(verdict, ("F", true), "{line} {data}");
    }
}

#[test]
fn service_is_judged_by_its_name() {
    let server = server_of_levels(RecordingNode::start());
    let (never, again) = ("This can't be undone.", "Starting it again undoes this.");
    for (service, action, level, undo) in [
        ("corosync", "stop", "F", never),
        ("pve-cluster", "stop", "F", never),
        ("pveproxy", "stop", "F", never),
        ("pvedaemon", "stop", "F", never),
        ("sshd", "stop", "F", never),
        ("corosync", "restart", "F", never),
        ("pveproxy", "reload", "F", never),
        ("postfix", "stop", "F", again),
        ("chrony", "stop", "F", again),
        ("pve-firewall", "stop", "F", again),
        ("postfix", "restart", "O", ""),
        ("chrony", "reload", "O", ""),
    ] {
        let arguments = json!({"path": format!("/nodes/pve1/services/{service}/{action}"), "method": "POST"});
        assert_eq!(lowest_level(&server, "proxmox_api_call", &arguments), (level, true), "{service} {action}");
        let mut arguments = arguments;
        (arguments["dry_run"], arguments["cluster"]) = (true.into(), "X".into());
        let text = server.call_as(3, "proxmox_api_call", arguments).text;
        assert!(text.contains(undo) && (undo == never || !text.contains(never)), "{service} {action}: {text}");
    }
}

#[test]
fn same_effect_has_the_same_verdict() {
    let server = server_of_levels(start_with_state());
    let rule = |more: Value| {
        let mut rule = json!({"pos": 0});
        more.as_object().expect("a rule").iter().for_each(|(name, value)| rule[name] = value.clone());
        rule
    };
    let (config, lxc) = ("PUT /nodes/pve1/qemu/100/config", "PUT /nodes/pve2/lxc/200/config");
    for (line, data, level) in [
        // A folder, a file or a device of the node in a guest, by whichever way.
        (config, json!({"hostpci0": "0000:01:00.0"}), ("X", true)),
        (config, json!({"usb0": "host=1-2"}), ("X", true)),
        (config, json!({"virtiofs0": "data"}), ("X", true)),
        (config, json!({"scsi1": "/dev/sda"}), ("X", true)),
        (config, json!({"ide2": "cdrom,media=cdrom"}), ("X", true)),
        (config, json!({"ide2": "none,media=cdrom"}), ("F", false)),
        (config, json!({"ide2": "local:iso/cdrom.iso,media=cdrom"}), ("F", false)),
        (config, json!({"args": "-S"}), ("X", true)),
        ("POST /nodes/pve1/qemu/100/status/start", json!({"force-cpu": "host"}), ("X", true)),
        ("POST /cluster/mapping/dir", json!({"id": "x1", "map": ["node=pve1,path=/etc"]}), ("X", true)),
        ("POST /cluster/mapping/pci", json!({"id": "x1", "map": ["node=pve1,path=01:00,id=1:1"]}), ("X", true)),
        ("PUT /cluster/mapping/usb/x1", json!({"map": ["node=pve1,id=1234:5678"]}), ("X", true)),
        (lxc, json!({"dev0": "/dev/kvm"}), ("X", true)),
        (lxc, json!({"mp0": "/etc,mp=/x"}), ("X", true)),
        ("POST /nodes/pve2/lxc", json!({"vmid": 500, "ostemplate": "x:vztmpl/x.tar", "unprivileged": 0}), ("X", true)),
        ("POST /storage", json!({"storage": "x1", "type": "dir", "path": "/etc"}), ("X", true)),
        (
            "POST /storage",
            json!({"storage": "x1", "type": "dir", "path": "/mnt/x", "content-dirs": "iso=../x"}),
            ("X", true),
        ),
        ("POST /storage", json!({"storage": "x1", "type": "dir", "path": "/mnt/x"}), ("F", false)),
        // Older backups are removed.
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "remove": 1}), ("F", true)),
        ("PUT /cluster/backup/x1", json!({"remove": 1}), ("F", true)),
        ("POST /cluster/backup", json!({"vmid": "100", "remove": 1}), ("F", true)),
        ("PUT /cluster/backup/x1", json!({"delete": "remove"}), ("F", true)),
        ("PUT /cluster/backup/x1", json!({"prune-backups": "keep-last=1"}), ("F", true)),
        ("PUT /storage/x1", json!({"prune-backups": "keep-last=1"}), ("F", true)),
        ("PUT /storage/x1", json!({"prune-backups": "keep-all=1"}), ("F", false)),
        // The firewall opens, or cuts off.
        ("PUT /cluster/firewall/options", json!({"enable": 0}), ("F", true)),
        ("PUT /cluster/firewall/options", json!({"policy_in": "ACCEPT"}), ("F", true)),
        ("PUT /cluster/firewall/options", json!({"policy_in": "DROP"}), ("F", true)),
        ("PUT /nodes/pve1/qemu/100/firewall/options", json!({"policy_in": "ACCEPT"}), ("F", true)),
        ("PUT /nodes/pve1/qemu/100/firewall/options", json!({"dhcp": 1}), ("F", false)),
        ("DELETE /cluster/firewall/rules/0", json!({}), ("F", true)),
        ("PUT /cluster/firewall/rules/0", rule(json!({"enable": 0})), ("F", true)),
        ("PUT /cluster/firewall/rules/0", rule(json!({"enable": 1})), ("F", true)),
        ("POST /cluster/firewall/rules", json!({"action": "ACCEPT", "type": "in", "enable": 1}), ("F", true)),
        ("POST /cluster/firewall/rules", json!({"action": "DROP", "type": "in", "enable": 1}), ("F", true)),
        ("POST /nodes/pve1/qemu/100/firewall/rules", json!({"action": "DROP", "type": "in", "enable": 1}), ("F", true)),
        ("POST /cluster/firewall/groups/web", json!({"action": "ACCEPT", "type": "in", "enable": 1}), ("F", true)),
        // A new rule is off by default.
        ("POST /cluster/firewall/rules", json!({"action": "DROP", "type": "in"}), ("F", false)),
        ("POST /nodes/pve1/qemu/100/firewall/rules", json!({"action": "ACCEPT", "type": "in"}), ("F", false)),
        ("POST /cluster/firewall/ipset/blacklist", json!({"cidr": "192.0.2.0/24"}), ("F", true)),
        ("DELETE /cluster/firewall/ipset/lan/192.0.2.0%2F24", json!({}), ("F", true)),
        ("PUT /nodes/pve1/qemu/100/firewall/options", json!({"enable": 1}), ("F", true)),
        ("PUT /nodes/pve1/qemu/100/firewall/options", json!({"policy_in": "DROP"}), ("F", true)),
        ("PUT /nodes/pve2/lxc/200/firewall/options", json!({"policy_out": "REJECT"}), ("F", true)),
        ("PUT /cluster/firewall/rules/0", rule(json!({"action": "ACCEPT"})), ("F", true)),
        ("PUT /cluster/firewall/rules/0", rule(json!({"source": "192.0.2.0/24"})), ("F", true)),
        ("PUT /cluster/firewall/rules/0", rule(json!({"comment": "x"})), ("F", false)),
        ("DELETE /cluster/firewall/aliases/lan", json!({}), ("F", true)),
        ("PUT /cluster/firewall/aliases/lan", json!({"cidr": "192.0.2.0/24"}), ("F", true)),
        (config, json!({"net0": "virtio,bridge=vmbr0,firewall=0"}), ("F", true)),
        (config, json!({"net0": "virtio,bridge=vmbr0,firewall=1"}), ("F", false)),
        // A guest is cut off from its network or a disk, or sleeps.
        (config, json!({"delete": "net0"}), ("F", true)),
        (config, json!({"net0": "virtio,bridge=vmbr0,firewall=1,link_down=1"}), ("F", true)),
        (config, json!({"net0": "virtio,bridge=vmbr9,firewall=1"}), ("F", true)),
        (config, json!({"delete": "scsi0"}), ("F", true)),
        (config, json!({"scsi0": "none,media=cdrom"}), ("F", true)),
        ("PUT /nodes/pve1/qemu/100/unlink", json!({"idlist": "scsi0"}), ("F", true)),
        ("POST /nodes/pve1/qemu/100/move_disk", json!({"disk": "scsi0", "target-vmid": 101}), ("F", true)),
        ("POST /nodes/pve1/qemu/100/agent/fsfreeze-freeze", json!({}), ("O", true)),
        ("POST /nodes/pve1/qemu/100/agent", json!({"command": "fsfreeze-freeze"}), ("O", true)),
        ("POST /nodes/pve1/qemu/100/agent/suspend-ram", json!({}), ("O", true)),
        ("POST /nodes/pve1/qemu/100/agent", json!({"command": "suspend-disk"}), ("O", true)),
        ("POST /nodes/pve1/qemu/100/agent", json!({"command": "fsfreeze-thaw"}), ("O", false)),
        // Access is taken away.
        ("PUT /access/acl", json!({"path": "/", "roles": "PVEAdmin", "users": "a@pve", "delete": 1}), ("F", true)),
        ("PUT /access/acl", json!({"path": "/", "roles": "PVEAdmin", "users": "a@pve", "propagate": 0}), ("F", true)),
        ("PUT /access/acl", json!({"path": "/", "roles": "PVEAdmin", "users": "a@pve"}), ("F", false)),
        ("PUT /access/roles/x", json!({"privs": "VM.Audit"}), ("F", true)),
        ("PUT /access/roles/x", json!({}), ("F", true)),
        ("PUT /access/roles/x", json!({"privs": "VM.Audit", "append": 1}), ("F", false)),
        ("PUT /access/users/a@pve", json!({"enable": 0}), ("F", true)),
        // A guest is stopped on the way.
        ("POST /cluster/ha/resources/ct:200/relocate", json!({"node": "pve1"}), ("O", true)),
        ("POST /nodes/pve2/lxc/200/migrate", json!({"target": "pve1", "restart": 1}), ("O", true)),
        ("POST /nodes/pve2/lxc/200/migrate", json!({"target": "pve1"}), ("O", false)),
        ("POST /cluster/ha/resources/ct:200/migrate", json!({"node": "pve1"}), ("O", true)),
        ("POST /cluster/ha/resources/200/migrate", json!({"node": "pve1"}), ("O", true)),
        ("POST /cluster/ha/resources/vm:100/migrate", json!({"node": "pve2"}), ("O", false)),
        ("PUT /cluster/ha/resources/vm:100", json!({"state": "stopped"}), ("F", true)),
        ("POST /nodes/pve1/startall", json!({}), ("O", true)),
        ("POST /nodes/pve1/startall", json!({"vms": "100"}), ("O", false)),
        // A state is lost.
        (config, json!({"delete": "vmstate"}), ("F", true)),
        (config, json!({"delete": "unused0"}), ("F", true)),
        (
            "POST /storage",
            json!({"storage": "x1", "type": "lvm", "vgname": "x", "base": "san:0.0.0.scsi-1"}),
            ("F", true),
        ),
        ("POST /storage", json!({"storage": "x1", "type": "lvm", "vgname": "x"}), ("F", false)),
        // The network of a node may be cut off.
        ("PUT /nodes/pve1/network", json!({}), ("F", true)),
        ("PUT /cluster/options", json!({"webauthn": "rp=x"}), ("F", true)),
        // Notifications no longer arrive.
        ("PUT /cluster/notifications/matchers/x1", json!({"disable": 1}), ("F", true)),
        ("PUT /cluster/options", json!({"notify": "fencing=never"}), ("F", true)),
        // Guests no longer have copies, or are no longer backed up.
        ("DELETE /cluster/replication/100-0", json!({}), ("F", true)),
        ("PUT /cluster/replication/100-0", json!({"remove_job": "full"}), ("F", true)),
        ("PUT /cluster/replication/100-0", json!({"disable": 1}), ("F", true)),
        ("PUT /cluster/replication/100-0", json!({"schedule": "2099-01-01 00:00"}), ("F", true)),
        ("PUT /cluster/replication/100-0", json!({"schedule": "*/30"}), ("F", false)),
        ("PUT /cluster/backup/x1", json!({"enabled": 0}), ("F", true)),
        ("PUT /cluster/backup/x1", json!({"schedule": "2099-01-01"}), ("F", true)),
        ("PUT /cluster/backup/x1", json!({"schedule": "mon..fri 22:00"}), ("F", false)),
        (config, json!({"scsi0": "local-lvm:vm-100-disk-0,backup=0"}), ("F", true)),
        (config, json!({"scsi0": "local-lvm:vm-100-disk-0,replicate=no"}), ("F", true)),
        (lxc, json!({"mp0": "local:8,mp=/data,backup=0"}), ("F", true)),
        ("DELETE /storage/x1", json!({}), ("F", true)),
        ("PUT /storage/x1", json!({"disable": 1}), ("F", true)),
        ("PUT /storage/x1", json!({"delete": "content"}), ("F", true)),
        // Undone easily.
        ("POST /cluster/backup", json!({"vmid": "100"}), ("F", false)),
        ("POST /cluster/backup", json!({"vmid": "100", "prune-backups": "keep-all=1"}), ("F", false)),
        ("PUT /pools", json!({"poolid": "x", "vms": "100"}), ("F", false)),
        // Permissions on a pool, and its backup jobs, are taken away from a guest.
        ("PUT /pools", json!({"poolid": "x", "vms": "100", "delete": 1}), ("F", true)),
        ("PUT /pools/x", json!({"vms": "100", "delete": 1}), ("F", true)),
        ("PUT /pools", json!({"poolid": "x", "vms": "100", "allow-move": 1}), ("F", true)),
    ] {
        assert_eq!(
            lowest_level(&server, "proxmox_api_call", &json!({"path": line, "data": data})),
            level,
            "{line} {data}"
        );
    }
}

#[test]
fn words_of_the_caller_leave_the_cluster_only_after_a_question() {
    let server = server_of_levels(RecordingNode::start());
    for (line, data) in [
        ("GET /cluster/acme/tos", json!({"directory": "https://x.example"})),
        ("GET /cluster/acme/meta", json!({"directory": "https://x.example"})),
        ("GET /nodes/pve1/query-url-metadata", json!({"url": "http://169.254.169.254/"})),
        ("GET /nodes/pve1/query-oci-repo-tags", json!({"reference": "x.example/x"})),
        ("GET /nodes/pve1/scan/nfs", json!({"server": "DATA.x.example"})),
        ("GET /nodes/pve1/scan/cifs", json!({"server": "DATA.x.example"})),
        ("GET /nodes/pve1/scan/iscsi", json!({"portal": "DATA.x.example"})),
        ("POST /storage", json!({"storage": "x1", "type": "nfs", "server": "x.example", "export": "/x"})),
        ("PUT /storage/x1", json!({"server": "x.example"})),
        ("PUT /storage/x1", json!({"port": 8007})),
        ("PUT /cluster/options", json!({"http_proxy": "http://x.example"})),
        ("PUT /nodes/pve1/dns", json!({"search": "x.example", "dns1": "192.0.2.1"})),
        ("PUT /access/users/root@pam", json!({"email": "x@x.example"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "mailto": "x@x.example"})),
        ("PUT /cluster/backup/x1", json!({"mailto": "x@x.example"})),
        ("PUT /cluster/notifications/endpoints/webhook/x1", json!({"url": "https://x.example"})),
        ("PUT /cluster/metrics/server/x1", json!({"server": "x.example", "port": 1})),
    ] {
        let (level, asks) = lowest_level(&server, "proxmox_api_call", &json!({"path": line, "data": data}));
        assert!(level != "R" && asks, "{line} {data}: {level}");
        if line.starts_with("GET ") {
            assert_never_sent(&server, &json!({"path": line.trim_start_matches("GET "), "params": data}));
        }
    }
}
