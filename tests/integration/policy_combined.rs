//! Rules of a client beside those of its cluster: the stricter of both decides, whichever side has it.

use crate::support::policy::{
    ALL, RecordingNode, client, confirmation_code_in, open_policy, patterns, protected, rights,
};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::tool::{ToolResult, ToolServer};
use proxmox_mcp::config::Client;
use proxmox_mcp::policy::{AccessLevel, ClientRules, ClusterPolicy, ConfirmationPolicy};
use serde_json::{Value, json};

/// Starts a server for two clients: `ada` has these rules, `bob` has none.
fn start(cluster: ClusterPolicy, rules: ClientRules) -> ToolServer {
    let node = RecordingNode::start();
    let clusters = vec![node.cluster("prod", cluster)];
    let ada = Client { rules, ..client("ada", ALL, &[]) };
    ToolServer::for_clients(node, clusters, &[ada, client("bob", ALL, &[])])
}

const ADA: usize = 0;
const BOB: usize = 1;

fn post(path: &str) -> Value {
    json!({"path": path, "method": "POST"})
}

fn start_guest(vmid: u32) -> Value {
    post(&format!("/qemu/{vmid}/status/start"))
}

fn stop_guest(vmid: u32) -> Value {
    post(&format!("/qemu/{vmid}/status/stop"))
}

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End<'a> {
    Sent,
    Asked,
    /// Refused with this text.
    Refused(&'a str),
}

use End::{Asked, Refused, Sent};

#[track_caller]
fn assert_end(server: &ToolServer, who: usize, arguments: &Value, end: End<'_>) -> ToolResult {
    let result = server.call_as(who, "proxmox_api_call", arguments.clone());
    let writes = server.node.writes();
    let is_right = match end {
        Sent => !result.failed && !writes.is_empty(),
        Asked => result.failed && writes.is_empty() && result.text.contains("has to be confirmed"),
        Refused(reason) => result.failed && writes.is_empty() && result.text.contains(reason),
    };
    assert!(is_right, "{arguments} should be {end:?}: {result:?} {writes:?}");
    result
}

#[test]
fn both_allow_lists_have_to_have_a_call() {
    let cluster = ClusterPolicy {
        allow: Some(patterns(&["GET /**", "POST /nodes/*/qemu/*/status/start", "POST /nodes/*/vzdump"])),
        ..open_policy()
    };
    let rules = ClientRules {
        allow: Some(patterns(&["GET /nodes/**", "GET /cluster/**", "POST /nodes/*/qemu/**"])),
        ..ClientRules::default()
    };
    let server = start(cluster, rules);
    assert_end(&server, ADA, &start_guest(100), Sent);
    assert_end(&server, ADA, &stop_guest(100), Refused("this cluster has an \"allow\" list"));
    let backup = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "100"}});
    assert_end(&server, ADA, &backup, Refused("client \"ada\" has an \"allow\" list"));
    assert_end(&server, BOB, &backup, Sent);
    let read = server.call_as(ADA, "proxmox_api_get", json!({"path": "/version"}));
    assert!(read.failed && read.text.contains("client \"ada\""), "{read:?}");
    assert!(!server.call_as(BOB, "proxmox_api_get", json!({"path": "/version"})).failed);
}

#[test]
fn denial_of_one_side_holds_against_the_allowance_of_the_other() {
    let start_alone = || patterns(&["POST /nodes/*/qemu/*/status/start"]);
    let denied = ClusterPolicy { deny: start_alone(), ..open_policy() };
    let allowing = ClientRules { allow: Some(patterns(&["POST /**", "GET /**"])), ..ClientRules::default() };
    let server = start(denied, allowing);
    assert_end(&server, ADA, &start_guest(100), Refused("\"deny\" list of this cluster"));
    let allowing = ClusterPolicy { allow: Some(patterns(&["POST /**", "GET /**"])), ..open_policy() };
    let server = start(allowing, ClientRules { deny: start_alone(), ..ClientRules::default() });
    assert_end(&server, ADA, &start_guest(100), Refused("\"deny\" list of client \"ada\""));
    assert_end(&server, BOB, &start_guest(100), Sent);
    // A list with one denied call is not sent at all.
    let list = json!({"calls": [stop_guest(101), start_guest(100)]});
    assert_end(&server, ADA, &list, Refused("\"deny\" list of client \"ada\""));
    assert_end(
        &server,
        ADA,
        &json!({"path": "/qemu/100/status/start", "method": "POST", "dry_run": true}),
        Refused("deny"),
    );
}

#[test]
fn guests_of_both_protect_lists_are_protected() {
    let cluster = ClusterPolicy { protect: protected(&["tag:critical", "100"]), ..open_policy() };
    let rules = ClientRules { protect: protected(&["101", "pool:prod"]), ..ClientRules::default() };
    let server = start(cluster, rules);
    for vmid in [100, 101] {
        assert_end(&server, ADA, &stop_guest(vmid), Refused("is protected"));
    }
    assert_end(&server, BOB, &stop_guest(101), Sent);
    assert_end(&server, BOB, &stop_guest(100), Refused("is protected"));
    assert_end(&server, ADA, &stop_guest(110), Sent);
    // 101 is on pve2, 100 on pve1.
    assert_end(&server, ADA, &post("/nodes/pve2/stopall"), Refused("101"));
    assert_end(&server, BOB, &post("/nodes/pve2/stopall"), Sent);
    assert_end(&server, BOB, &post("/nodes/pve1/stopall"), Refused("100"));
    let list = json!({"calls": [stop_guest(110), stop_guest(101)]});
    assert_end(&server, ADA, &list, Refused("call 2: "));
    assert_end(&server, BOB, &list, Sent);
}

#[test]
fn stricter_confirmation_of_both_sides_asks() {
    use ConfirmationPolicy::{Destructive, Never, Writes};
    for (of_cluster, of_client, start_end, stop_end) in [
        (Never, Never, Sent, Sent),
        (Never, Destructive, Sent, Asked),
        (Destructive, Never, Sent, Asked),
        (Never, Writes, Asked, Asked),
        (Writes, Destructive, Asked, Asked),
        (Destructive, Writes, Asked, Asked),
    ] {
        let server = start(
            ClusterPolicy { confirm: of_cluster, ..open_policy() },
            ClientRules { confirm: of_client, ..ClientRules::default() },
        );
        assert_end(&server, ADA, &start_guest(100), start_end);
        assert_end(&server, ADA, &stop_guest(100), stop_end);
        // The rules of one client do not bind the other.
        assert_end(&server, BOB, &start_guest(100), if of_cluster == Writes { Asked } else { Sent });
    }
}

#[test]
fn code_of_one_client_confirms_no_call_of_another() {
    let rules = ClientRules { confirm: ConfirmationPolicy::Writes, ..ClientRules::default() };
    let cluster = ClusterPolicy { confirm: ConfirmationPolicy::Destructive, ..open_policy() };
    let server = start(cluster, rules);
    let code = confirmation_code_in(&assert_end(&server, BOB, &stop_guest(100), Asked).text);
    let mut stop = stop_guest(100);
    stop["confirm"] = code.into();
    assert_end(&server, ADA, &stop, Asked);
    assert_end(&server, BOB, &stop, Sent);
}

#[test]
fn denied_look_ups_of_a_client_do_not_widen_what_it_may_change() {
    let rules = ClientRules {
        deny: patterns(&["GET /nodes/*/qemu/*/config", "GET /cluster/resources"]),
        protect: protected(&["tag:critical"]),
        ..ClientRules::default()
    };
    let server = start(open_policy(), rules);
    // Neither the guest's tags nor the list can be read for this client.
    assert_end(
        &server,
        ADA,
        &json!({"path": "/nodes/pve1/qemu/100/status/stop", "method": "POST"}),
        Refused("protected"),
    );
    assert_end(&server, BOB, &stop_guest(100), Sent);
}

#[test]
fn name_of_a_host_in_place_of_a_node_reaches_no_name_server() {
    let server = start(open_policy(), ClientRules::default());
    for (tool, arguments) in [
        ("proxmox_api_get", json!({"path": "/nodes/words.example.org/status"})),
        ("proxmox_api_get", json!({"path": "/nodes/words%2eexample.org/status"})),
        ("proxmox_api_get", json!({"path": "/nodes/203.0.113.9/qemu/100/config"})),
        ("proxmox_api_get", json!({"paths": ["/nodes/words.example.org/status", "/nodes/x.example.org/tasks"]})),
        ("proxmox_api_get", json!({"path": "/cluster/sdn/dry-run?node=words.example.org"})),
        (
            "proxmox_api_get",
            json!({"path": "/cluster/metrics/export", "params": {"node-list": "pve1,words.example.org"}}),
        ),
        ("proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/migrate", "params": {"target": "words.example.org"}})),
        (
            "proxmox_api_call",
            json!({"path": "/nodes/words.example.org/qemu/100/config", "method": "PUT", "data": {"memory": 512}}),
        ),
        (
            "proxmox_api_call",
            json!({"path": "/qemu/100/migrate", "method": "POST", "data": {"target": "words.example.org"}}),
        ),
        ("wait_for_task", json!({"upid": "UPID:words.example.org:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:"})),
    ] {
        let result = server.call_as(ADA, tool, arguments.clone());
        assert!(result.failed, "{tool} {arguments}: {result:?}");
        let requests = server.node.requests();
        let told = requests
            .iter()
            .find(|request| ["example.org", "203.0.113"].iter().any(|host| request.target.contains(host)));
        assert!(told.is_none(), "{tool} {arguments}: {told:?}");
    }
    assert!(!server.call_as(ADA, "proxmox_api_get", json!({"path": "/nodes/pve1/status"})).failed);
}

#[test]
fn name_of_a_node_that_can_t_be_checked_is_not_sent() {
    let node = RecordingNode::with(gzipped_facts(), |request| {
        (request.path() == "/api2/json/nodes").then(|| server_error("internal error"))
    });
    let clusters = vec![node.cluster("prod", open_policy())];
    let server = ToolServer::new(node, clusters);
    for path in ["/nodes/words/status", "/cluster/sdn/dry-run?node=words"] {
        let result = server.call("proxmox_api_get", json!({"path": path}));
        assert!(result.failed && result.text.contains("`words` can't be checked"), "{result:?}");
        let requests = server.node.requests();
        assert!(!requests.iter().any(|request| request.target.contains("words")), "{requests:?}");
    }
    // The list of guests has it.
    assert!(!server.call("proxmox_api_get", json!({"path": "/nodes/pve1/status"})).failed);
}

#[test]
fn lower_access_of_both_sides_decides() {
    let exec = json!({"path": "/nodes/pve1/qemu/100/agent/exec", "method": "POST", "data": {"command": ["id"]}});
    for (of_cluster, of_client, end) in [
        (ALL, rights(AccessLevel::Full, false), Refused("\"exec\"")),
        (rights(AccessLevel::Full, false), ALL, Refused("\"exec\"")),
        (rights(AccessLevel::Operate, true), ALL, Refused("needs access \"full\"")),
        (ALL, rights(AccessLevel::Read, true), Refused("needs access \"full\"")),
        (ALL, ALL, Sent),
    ] {
        let node = RecordingNode::start();
        let clusters = vec![node.cluster("prod", ClusterPolicy { permissions: of_cluster, ..open_policy() })];
        let server = ToolServer::for_clients(node, clusters, &[client("ada", of_client, &[])]);
        assert_end(&server, ADA, &exec, end);
    }
}
