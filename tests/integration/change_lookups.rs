//! The requests that a change costs beside its own: which objects the server looks up, and which it need not.

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{RecordingNode, confirmation_code_in, confirming_policy, open_policy, protected};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::tool::{ToolResult, ToolServer};
use proxmox_mcp::policy::ClusterPolicy;
use serde_json::json;

const CONFIG: &str = r#"{"name":"web01","tags":"db;critical","scsi0":"local-lvm:vm-100-disk-0","digest":"d"}"#;
const START: &str = "POST /nodes/pve1/qemu/100/status/start";
/// The read of the state that may exclude a start.
const STATE: &str = "GET /nodes/pve1/qemu/100/status/current";

/// Starts a server over a cluster with these rules. Guest 100 has a config, and `first` answers before.
fn start(rules: ClusterPolicy, first: fn(&Request) -> Option<ScriptedReply>) -> ToolServer {
    let node = RecordingNode::with(gzipped_facts(), move |request| match request.target.as_str() {
        _ if first(request).is_some() => first(request),
        "/api2/json/nodes/pve1/qemu/100/config" if request.method == "GET" => Some(ScriptedReply::data(CONFIG)),
        _ => None,
    });
    let cluster = node.cluster("prod", rules);
    ToolServer::new(node, vec![cluster])
}

fn protecting(guests: &[&str]) -> ClusterPolicy {
    ClusterPolicy { protect: protected(guests), ..open_policy() }
}

/// Calls an operation, and returns the requests at the node up to the change. The state after it is read too.
fn requests_of(server: &ToolServer, path: &str, confirm: Option<&str>) -> (ToolResult, Vec<String>) {
    let result = server.call("proxmox_api_call", json!({"path": path, "confirm": confirm}));
    let mut requests = server.node.requests();
    let change = requests.iter().position(|request| request.method != "GET");
    requests.truncate(change.map_or(requests.len(), |change| change + 1));
    let line = |request: &Request| format!("{} {}", request.method, request.target.replace("/api2/json", ""));
    (result, requests.iter().map(line).collect())
}

#[track_caller]
fn assert_requests(server: &ToolServer, path: &str, wanted: &[&str]) -> ToolResult {
    let (result, requests) = requests_of(server, path, None);
    assert_eq!(requests, wanted, "{path}: {result:?}");
    result
}

#[test]
fn change_of_a_whole_path_reads_the_guest_s_own_config_and_no_list() {
    for rules in [open_policy(), protecting(&["101"]), protecting(&["tag:other"]), protecting(&["101", "tag:x"])] {
        let server = start(rules, |_| None);
        let result = assert_requests(&server, START, &["GET /nodes/pve1/qemu/100/config", STATE, START]);
        assert!(!result.failed, "{result:?}");
    }
}

#[test]
fn list_that_can_t_be_read_does_not_hinder_a_change_of_a_whole_path() {
    let server = start(protecting(&["tag:other"]), |request| {
        request.path().ends_with("/cluster/resources").then(|| server_error("the list is too long"))
    });
    assert!(!server.call("proxmox_api_call", json!({"path": START})).failed);
    assert!(server.call("proxmox_api_call", json!({"path": "POST /qemu/web01/status/start"})).failed);
}

#[test]
fn tag_in_the_guest_s_own_config_protects_it() {
    for tags in [&["tag:critical"][..], &["tag:DB"], &["tag:other", "tag:Critical", "300"]] {
        let server = start(protecting(tags), |_| None);
        let result = assert_requests(&server, START, &["GET /nodes/pve1/qemu/100/config"]);
        assert!(result.failed && result.text.contains("protected"), "{result:?}");
    }
}

#[test]
fn number_protects_before_anything_but_the_guest_is_read() {
    let server = start(protecting(&["100"]), |_| None);
    let result = assert_requests(&server, START, &["GET /nodes/pve1/qemu/100/config"]);
    assert!(result.failed && result.text.contains("protected"), "{result:?}");
}

#[test]
fn pool_is_looked_up_in_the_list() {
    let server = start(protecting(&["pool:prod"]), |_| None);
    let (result, requests) = requests_of(&server, START, None);
    for wanted in ["GET /cluster/resources?type=vm", "GET /access/permissions"] {
        assert!(requests.iter().any(|line| line == wanted), "{requests:?}");
    }
    assert!(!result.failed, "{result:?}");
}

#[test]
fn other_guest_of_the_parameters_is_looked_up_in_the_list() {
    let server = start(protecting(&["tag:other"]), |_| None);
    let path = "POST /nodes/pve1/qemu/100/config";
    let data = json!({"scsi1": "local-lvm:vm-101-disk-0"});
    let result = server.call("proxmox_api_call", json!({"path": path, "data": data}));
    let requests = server.node.requests();
    assert!(requests.iter().any(|request| request.path().ends_with("/cluster/resources")), "{requests:?}");
    assert!(!result.failed, "{result:?}");
}

#[test]
fn guest_without_a_readable_config_is_looked_up_in_the_list() {
    for answer in [
        |request: &Request| {
            let is_config = request.method == "GET" && request.path().ends_with("/config");
            is_config.then(|| ScriptedReply::refusal(403, "Permission check failed", r#"{"data":null}"#))
        },
        |request: &Request| {
            let is_config = request.method == "GET" && request.path().ends_with("/config");
            is_config.then(|| ScriptedReply::data(r#"{"tags":""}"#))
        },
    ] {
        let server = start(protecting(&["tag:other"]), answer);
        let (_, requests) = requests_of(&server, START, None);
        assert!(requests.iter().any(|line| line == "GET /cluster/resources?type=vm"), "{requests:?}");
    }
}

#[test]
fn name_is_believed_without_a_config_only_by_a_dry_run() {
    let server = start(open_policy(), |request| {
        let is_config = request.method == "GET" && request.path().ends_with("/config");
        is_config.then(|| ScriptedReply::refusal(403, "Permission check failed", r#"{"data":null}"#))
    });
    for is_dry_run in [true, false] {
        let change = json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"memory": 512}});
        for mut arguments in [change.clone(), json!({"calls": [change]})] {
            arguments["dry_run"] = is_dry_run.into();
            let result = server.call("proxmox_api_call", arguments);
            let text = result.all_text();
            assert_eq!(result.failed, !is_dry_run, "{result:?}");
            assert_eq!(text.contains("web01 is qemu/100 on pve1, by the list of guests"), is_dry_run, "{result:?}");
            assert_eq!(text.contains("can't be confirmed"), !is_dry_run, "{result:?}");
            assert!(server.node.writes().is_empty(), "{result:?}");
        }
    }
}

#[test]
fn guest_on_another_node_is_found_in_the_list() {
    let server = start(open_policy(), |_| None);
    let (result, requests) = requests_of(&server, "POST /nodes/pve3/qemu/100/status/start", None);
    let wanted = ["GET /nodes/pve3/qemu/100/config", "GET /cluster/resources?type=vm", STATE, START];
    assert_eq!(requests, wanted, "{result:?}");
    assert!(result.all_text().contains("pve1"), "{result:?}");
}

#[test]
fn question_and_its_confirmation_read_each_object_once() {
    let server = start(confirming_policy(), |_| None);
    let path = "DELETE /nodes/pve1/qemu/100";
    let guest = "GET /nodes/pve1/qemu/100";
    let [config, status, snapshots] = ["/config", "/status/current", "/snapshot"].map(|part| format!("{guest}{part}"));
    let (storages, jobs) = ("GET /nodes/pve1/storage?content=backup&enabled=1", "GET /cluster/backup");
    let question = assert_requests(&server, path, &[&config, &status, &snapshots, storages, jobs]);
    assert!(question.text.contains("vm-100-disk-0"), "{question:?}");
    let code = confirmation_code_in(&question.text);
    let (result, requests) = requests_of(&server, path, Some(&code));
    // The state before the change is told with the state after it.
    let wanted = ["/config", "/status/current"].map(|part| format!("{guest}{part}"));
    assert_eq!(requests, [&wanted[0], &wanted[1], path], "{result:?}");
}

#[test]
fn name_of_a_node_is_looked_up_once_in_a_minute() {
    let server = start(open_policy(), |_| None);
    let path = "POST /nodes/pve1/apt/update";
    assert_requests(&server, path, &["GET /nodes", path]);
    assert_requests(&server, path, &[path]);
    let other = assert_requests(&server, "POST /nodes/pve9/apt/update", &["GET /nodes"]);
    assert!(other.failed && other.text.contains("pve9"), "{other:?}");
}
