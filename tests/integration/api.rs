//! `proxmox_api_call` against a recording node: checks before sending, the request byte for byte, guest look-ups, and
//! dry runs.

use crate::support::canary::{CANARY, assert_unseen};
use crate::support::node::{Request, ScriptedReply, closed_endpoint};
use crate::support::policy::{RecordingNode, confirming_policy, open_policy, shown_risk};
use crate::support::proxmox::{gzipped_facts, is_lookup, proxmox, proxmox_with, required};
use crate::support::test_tools::product;
use crate::support::tool::{ToolResult, ToolServer, call};

use proxmox_mcp::pve::schema::embedded_schema;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

fn start_server() -> ToolServer {
    start_server_over(RecordingNode::start())
}

fn start_server_over(node: RecordingNode) -> ToolServer {
    let cluster = node.cluster("test", open_policy());
    ToolServer::new(node, vec![cluster])
}

/// Makes a call and returns its result and the requests it caused.
fn record(server: &ToolServer, arguments: Value) -> (ToolResult, Vec<Request>) {
    let before = server.node.node.requests().len();
    let text = server.call("proxmox_api_call", arguments);
    (text, server.node.node.requests().split_off(before))
}

/// Makes a call that must succeed. Returns its result, and method and target of each request.
#[track_caller]
fn succeed(server: &ToolServer, arguments: Value) -> (ToolResult, Vec<String>) {
    let (result, requests) = record(server, arguments);
    assert!(!result.failed, "{result:?}");
    (result, requests.iter().map(line).collect())
}

/// Makes a call that must succeed and returns its last request.
#[track_caller]
fn sent_request(server: &ToolServer, arguments: Value) -> Request {
    let (result, requests) = record(server, arguments);
    assert!(!result.failed, "{result:?}");
    // The object of a change is read before and after it, and the zone of a node after a read.
    let is_change = |request: &&Request| request.method != "GET";
    let is_own = |request: &&Request| !is_lookup(request) && !request.path().ends_with("/time");
    requests.iter().find(is_change).or_else(|| requests.iter().rfind(is_own)).expect("a request").clone()
}

/// Returns the reason of a refused call. Fails if a request was sent for it.
#[track_caller]
fn refusal(server: &ToolServer, arguments: Value) -> String {
    let (result, requests) = record(server, arguments.clone());
    assert!(result.failed && requests.iter().all(is_lookup), "{arguments}: {result:?}, {requests:?}");
    assert!(!result.text.contains('\n'), "{result:?}");
    result.text
}

/// Returns `METHOD /path?query` below `/api2/json`.
fn line(request: &Request) -> String {
    format!("{} {}", request.method, request.target.strip_prefix("/api2/json").unwrap_or(&request.target))
}

const LOOK: &str = "GET /cluster/resources?type=vm";

fn config(data: Value) -> Value {
    json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": data})
}

// ---- checks before sending

#[test]
fn unknown_path_is_rejected_with_the_nearest_one() {
    let server = start_server();
    for (path, part) in [
        ("/nodes/pve1/qemu/100/confg", "did you mean `config`"),
        ("/node/pve1/status", "did you mean `nodes`"),
        ("/nodes/pve1/qemu/100/status/strat", "did you mean `start`"),
        ("/cluster/nothing/of/the/kind", "there is no `nothing` below /cluster in the API; there is "),
        ("/nodes/pve1/qemu/100/status/current/x", "nor anything else"),
        ("/access/tickets", "`ticket`"),
        ("/nodes/pve1/hardware/pci/1/2/3", "below /nodes/pve1/hardware/pci/1"),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let why = refusal(&server, json!({"path": path, "method": method}));
            assert!(why.contains(part) && why.contains("Nothing was sent"), "{path}: {why}");
        }
    }
}

#[test]
fn unknown_method_is_rejected_with_the_methods_of_the_path() {
    let server = start_server();
    let why = refusal(&server, json!({"path": "/nodes/pve1/qemu/100/status/start"}));
    assert!(why.contains("has no GET, it has POST (") && why.contains("Nothing was sent"), "{why}");
    let why = refusal(&server, json!({"path": "/nodes/pve1/qemu/100/config", "method": "DELETE"}));
    assert!(["GET (", "POST (", "PUT ("].iter().all(|method| why.contains(method)), "{why}");
    let why = refusal(&server, json!({"path": "/nodes/pve1/qemu/100/status", "method": "POST"}));
    assert!(why.contains("below it are") && why.contains("start"), "{why}");
    let why = refusal(&server, json!({"path": "GET /nodes", "method": "POST"}));
    assert!(why.contains("starts with GET") && why.contains("POST"), "{why}");
}

#[test]
fn invalid_parameters_are_rejected_with_the_valid_form() {
    let server = start_server();
    for (data, part) in [
        (
            json!({"memroy": 1024}),
            "`memroy` is no parameter of PUT /nodes/{node}/qemu/{vmid}/config (did you mean `memory`?)",
        ),
        (json!({"cores": 0}), "`cores` must be an integer of at least 1, not 0"),
        (json!({"cores": "many"}), "`cores` must be an integer of at least 1, not this text"),
        (json!({"cores": 2.5}), "not 2.5"),
        (json!({"cores": true}), "`cores` must be an integer"),
        (json!({"cores": [1, 2]}), "not a list"),
        (json!({"cpuunits": 262_145}), "`cpuunits` must be an integer from 1 to 262144"),
        (json!({"onboot": "perhaps"}), "`onboot` must be true or false"),
        (json!({"bios": "uefi"}), "`bios` must be one of seabios, ovmf"),
        (json!({"net0": {"bridge": "vmbr0", "vlan": 5}}), "`net0` has no key `vlan`"),
        (json!({"net0": {"model": "virtio", "tag": 5000}}), "`tag` must be an integer from 1 to 4094, not 5000"),
        (json!({"tags": null}), "`delete`"),
        (json!({"name": {"a": 1}}), "`name` must be a text (dns-name), not an object"),
        (json!({"description": "x".repeat(8_193)}), "longer than 8192"),
        (json!({"vmid": 101}), "`vmid` is already set by the path, as `100`"),
        (json!({"": 1}), "is no parameter"),
    ] {
        let why = refusal(&server, config(data.clone()));
        assert!(why.contains(part) && why.contains("Nothing was sent"), "{data}: {why}");
    }
    let create = refusal(&server, json!({"path": "/nodes/pve1/qemu", "method": "POST", "data": {"memory": "512"}}));
    assert!(create.contains("`vmid` is missing: it must be given (an integer"), "{create}");
    let all = refusal(&server, config(json!({"memroy": 1, "cores": 0, "onboot": "maybe"})));
    assert!(["memroy", "cores", "onboot"].iter().all(|name| all.contains(name)), "{all}");
    let path = refusal(&server, json!({"path": "/nodes/pve1/qemu/7/config"}));
    assert!(path.contains("`vmid` in the path must be an integer"), "{path}");
}

#[test]
fn missing_required_parameters_are_reported_for_every_operation() {
    let server = start_server();
    let wanting = embedded_schema().operations().filter(|o| {
        o.parameters().any(|p| p.is_required_with(None) && p.family().is_none() && !o.is_path_parameter(p.name()))
            && !o.template().contains('{')
    });
    let mut seen = 0;
    for operation in wanting {
        let why = refusal(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        let parameters = operation.parameters().filter(|p| p.is_required_with(None) && p.family().is_none());
        for parameter in parameters {
            assert!(why.contains(&format!("`{}` is missing", parameter.name())), "{}: {why}", operation.template());
        }
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn query_and_data_are_merged_and_duplicates_rejected() {
    let server = start_server();
    let path = "/nodes/pve1/tasks?limit=5&source=all";
    let sent = sent_request(&server, json!({"path": path, "data": {"errors": true}}));
    assert_eq!((line(&sent).as_str(), sent.body.as_str()), ("GET /nodes/pve1/tasks?errors=1&limit=5&source=all", ""));
    let why = refusal(&server, json!({"path": path, "data": {"limit": 6}}));
    assert!(why.contains("`limit` is given twice"), "{why}");
    let why = refusal(&server, json!({"path": "/nodes/pve1/tasks?limit=5&limit=6"}));
    assert!(why.contains("`limit` must be an integer") && why.contains("not a list"), "{why}");
    let why = refusal(&server, json!({"path": "/nodes/pve1/tasks?limti=5"}));
    assert!(why.contains("did you mean `limit`?"), "{why}");
    let sent =
        sent_request(&server, json!({"path": "/qemu/100/config?onboot=yes", "method": "PUT", "data": {"cores": 2}}));
    assert_eq!((line(&sent).as_str(), sent.body.as_str()), ("PUT /nodes/pve1/qemu/100/config", "cores=2&onboot=1"));
}

// ---- the request

#[test]
fn values_are_sent_in_the_form_of_proxmox_byte_for_byte() {
    let server = start_server();
    for (data, body) in [
        (json!({"onboot": true, "tablet": "no", "acpi": 0}), "acpi=0&onboot=1&tablet=0"),
        (json!({"cores": "4", "sockets": 2.0}), "cores=4&sockets=2"),
        (json!({"delete": ["tags", "net1"]}), "delete=tags%2Cnet1"),
        (json!({"bios": "OVMF"}), "bios=ovmf"),
        (json!({"description": "a+b;c&d=e ä\n%20"}), "description=a%2Bb%3Bc%26d%3De%20%C3%A4%0A%2520"),
        (
            json!({"net0": {"model": "virtio", "bridge": "vmbr0", "firewall": true, "tag": "20"}}),
            "net0=bridge%3Dvmbr0%2Cfirewall%3D1%2Cmodel%3Dvirtio%2Ctag%3D20",
        ),
        (json!({"scsi1": "local-lvm:8,iothread=1"}), "scsi1=local-lvm%3A8%2Ciothread%3D1"),
        (json!({"sshkeys": "ssh-ed25519 AAAA a@b"}), "sshkeys=ssh-ed25519%2520AAAA%2520a%2540b"),
        (json!({"vmid": 100, "node": "pve1", "name": "x"}), "name=x"),
    ] {
        let sent = sent_request(&server, config(data.clone()));
        assert_eq!(sent.body, body, "{data}");
        assert_eq!(line(&sent), "PUT /nodes/pve1/qemu/100/config");
    }
    let exec =
        json!({"path": "/nodes/pve1/qemu/100/agent/exec", "method": "post", "data": {"command": ["ls", "-l a"]}});
    assert_eq!(sent_request(&server, exec).body, "command=ls&command=-l%20a");
    let delete = json!({"path": "DELETE /nodes/pve1/qemu/100", "data": {"purge": true, "skiplock": false}});
    let sent = sent_request(&server, delete);
    assert_eq!((line(&sent).as_str(), sent.body.as_str()), ("DELETE /nodes/pve1/qemu/100?purge=1&skiplock=0", ""));
    let volume = json!({"path": "/nodes/pve1/storage/local/content/local:iso/a b.iso", "method": "DELETE"});
    assert_eq!(line(&sent_request(&server, volume)), "DELETE /nodes/pve1/storage/local/content/local:iso/a%20b.iso");
}

#[test]
fn unknown_operation_without_a_description_is_left_to_the_cluster() {
    let server = start_server_over(RecordingNode::with(ScriptedReply::refusal(500, "no such file", ""), |_| None));
    let sent = sent_request(
        &server,
        json!({"path": "/cluster/brand/new", "method": "POST", "data": {"a": true, "b": [1, 2]}}),
    );
    assert_eq!((line(&sent).as_str(), sent.body.as_str()), ("POST /cluster/brand/new", "a=1&b=1&b=2"));
    let sent = sent_request(&server, config(json!({"brand-new": 1, "onboot": true})));
    assert_eq!(sent.body, "brand-new=1&onboot=1");
    assert!(refusal(&server, config(json!({"cores": "x"}))).contains("must be an integer"));
    let dry = succeed(&server, json!({"path": "/cluster/brand/new", "method": "POST", "dry_run": true})).0;
    assert!(dry.text.contains("Risk: unknown, may do anything"), "{dry:?}");
}

// ---- guests

#[test]
fn guest_is_found_by_name_or_number_and_looked_up_only_if_needed() {
    let server = start_server();
    // The names of the nodes are known from now on.
    succeed(&server, json!({"path": "/nodes/pve1/version"}));
    let right = "GET /nodes/pve1/qemu/100/config";
    for (path, requests) in [
        ("/nodes/pve1/qemu/100/config", &[right][..]),
        ("/qemu/100/config", &[LOOK, right]),
        ("/qemu/web01/config", &[LOOK, right]),
        ("qemu/WEB01/config", &[LOOK, right]),
        ("/nodes/{node}/qemu/web01/config", &[LOOK, right]),
        ("/nodes/<node>/qemu/100/config", &[LOOK, right]),
        ("/nodes/pve1/qemu/web01/config", &[LOOK, right]),
    ] {
        let (result, sent) = succeed(&server, json!({"path": path}));
        assert_eq!(sent, requests, "{path}");
        assert_eq!((result.text.as_str(), result.more.len()), ("name: web01\nhostname: web01", 0), "{path}");
    }
}

#[test]
fn wrong_node_or_kind_of_a_guest_is_corrected_and_noted() {
    let server = start_server();
    succeed(&server, json!({"path": "/nodes/pve1/version"}));
    let (right, note) = ("GET /nodes/pve1/qemu/100/config", "100 is qemu/100 on pve1, so it was asked for there");
    // A number with its node is used as given until Proxmox reports that the guest is elsewhere.
    for (path, wrong) in [
        ("/nodes/pve2/qemu/100/config", "GET /nodes/pve2/qemu/100/config"),
        ("/nodes/pve1/lxc/100/config", "GET /nodes/pve1/lxc/100/config"),
    ] {
        let (result, sent) = succeed(&server, json!({"path": path}));
        assert_eq!(sent, [wrong, LOOK, right], "{path}");
        assert_eq!(result.more, [note], "{path}");
    }
    // A node that the cluster does not have is not asked for.
    let (result, sent) = succeed(&server, json!({"path": "/nodes/pve9/qemu/100/config"}));
    assert_eq!((sent, result.more), (vec!["GET /nodes".to_owned(), LOOK.into(), right.into()], vec![note.to_owned()]));
    for path in ["/nodes/pve2/qemu/web01/config", "/nodes/pve1/lxc/web01/config", "/lxc/web01/config"] {
        let (result, sent) = succeed(&server, json!({"path": path}));
        assert_eq!(sent, [LOOK, right], "{path}");
        assert_eq!(result.more, [note.replacen("100", "web01", 1)], "{path}");
    }
    let why = record(&server, json!({"path": "/nodes/pve2/lxc/100/interfaces"}));
    assert!(why.0.failed && why.0.text.contains("100 is qemu/100 on pve1"), "{why:?}");
    assert!(!why.1.iter().any(|r| r.path().ends_with("/qemu/100/interfaces")), "a VM has no such thing: {why:?}");
}

#[test]
fn change_looks_up_the_guest_first_and_is_sent_once_to_its_node() {
    let server = start_server();
    for path in ["/nodes/pve1/qemu/100", "/nodes/pve2/qemu/100", "/nodes/pve3/lxc/100", "/qemu/web01", "/lxc/100"] {
        let arguments = json!({"path": format!("{path}/status/reboot"), "method": "POST"});
        let (result, sent) = succeed(&server, arguments);
        // A guest of a whole path is looked up by its config, which this node does not have. A name is confirmed by it.
        let own = format!("GET {path}/config");
        let own = path.starts_with("/nodes/").then_some(own.as_str());
        let confirmation = (path == "/qemu/web01").then_some("GET /nodes/pve1/qemu/100/config");
        let expected: Vec<_> = own.into_iter().chain([LOOK]).chain(confirmation).collect();
        // The state of the guest may exclude the action, and is read again afterwards.
        let state = "GET /nodes/pve1/qemu/100/status/current";
        let after = [state, "POST /nodes/pve1/qemu/100/status/reboot", state];
        assert_eq!(sent, [&expected[..], &after].concat(), "{path}");
        let right = path == "/nodes/pve1/qemu/100" || path == "/qemu/web01";
        assert_eq!(
            result.more.iter().any(|more| more.contains("on pve1, so it was asked for there")),
            !right,
            "{result:?}"
        );
    }
    // A number that is not in the list may be new. One request asks Proxmox.
    let (result, requests) = record(&server, json!({"path": "/nodes/pve1/qemu/999/status/start", "method": "POST"}));
    let posts = requests.iter().filter(|r| r.method == "POST").count();
    assert!(result.failed && posts == 1 && result.text.contains("There is no guest `999` among the 6"), "{result:?}");
}

#[test]
fn ambiguous_or_unknown_guest_name_is_rejected_with_candidates() {
    let server = start_server();
    for (method, end) in [("GET", "config"), ("POST", "status/start")] {
        let refused = |path: &str| refusal(&server, json!({"path": format!("{path}/{end}"), "method": method}));
        for path in ["/qemu/twin", "/lxc/TWIN", "/nodes/pve1/qemu/twin"] {
            let why = refused(path);
            assert!(why.contains("110 on pve1; 210 on pve3") && why.contains("give the number"), "{path}: {why}");
        }
        assert!(refused("/qemu/wbe01").contains("did you mean `web01`?"));
        assert!(refused("/qemu/102").contains("`101 (db01)`"));
        for path in ["/qemu/300", "/qemu/thin", "/nodes/{node}/qemu/300", "/nodes/pve3/qemu/thin"] {
            let why = refused(path);
            assert!(why.contains("VM.Audit") && why.contains("on which node"), "{path}: {why}");
        }
    }
    let (_, sent) = succeed(&server, json!({"path": "/nodes/pve3/qemu/300/status/start", "method": "POST"}));
    let own = "GET /nodes/pve3/qemu/300/config";
    let state = "GET /nodes/pve3/qemu/300/status/current";
    assert_eq!(sent, [own, LOOK, state, "POST /nodes/pve3/qemu/300/status/start", state], "a caller may name its node");
}

#[test]
fn failed_lookup_before_a_change_reports_once_that_nothing_was_done() {
    let node = proxmox();
    let mut settings = node.cluster_settings();
    settings.endpoints = vec![closed_endpoint()];
    let arguments = json!({"path": "/qemu/web01/status/start", "method": "POST"});
    let result = call(&product(vec![settings]), "proxmox_api_call", arguments);
    assert!(result.failed && result.text.contains("connection refused"), "{}", result.text);
    assert_eq!(result.text.matches("Nothing was").count(), 1, "{}", result.text);
}

#[test]
fn node_names_from_a_cluster_cannot_alter_a_path() {
    for name in ["", "pve1/qemu/101", "..", "pve1/..", "a\nb", "{node}", "pve1/qemu/100/status/stop?x="] {
        let rows = json!([{"id": "qemu/100", "vmid": 100, "node": name, "name": "web01"}]).to_string();
        let nodes = json!([{"node": name, "status": "online"}]).to_string();
        let server =
            start_server_over(RecordingNode::with(gzipped_facts(), move |request| match request.target.as_str() {
                "/api2/json/cluster/resources?type=vm" => Some(ScriptedReply::data(&rows)),
                "/api2/json/nodes" => Some(ScriptedReply::data(&nodes)),
                _ => None,
            }));
        for path in ["/qemu/web01/status/shutdown", "/nodes/{node}/qemu/100/status/shutdown", "/nodes/{node}/vzdump"] {
            refusal(&server, json!({"path": path, "method": "POST"}));
        }
        refusal(&server, json!({"path": "/nodes/{node}/status"}));
    }
}

#[test]
fn guest_parameters_accept_names() {
    let server = start_server();
    let sent = |path: &str, data: Value| {
        let (result, requests) = record(&server, json!({"path": path, "method": "POST", "data": data}));
        assert!(!result.failed, "{result:?}");
        let looks = requests.iter().filter(|r| line(r) == LOOK).count();
        (requests.iter().find(|r| r.method != "GET").unwrap().body.clone(), looks)
    };
    for data in [json!("web01,db01"), json!(["web01", "db01"]), json!(["web01", 101]), json!("100, DB01")] {
        assert_eq!(sent("/nodes/pve1/vzdump", json!({"vmid": data})), ("vmid=100%2C101&remove=0".into(), 1), "{data}");
    }
    // The list tells which guests are on another node.
    assert_eq!(sent("/nodes/pve1/vzdump", json!({"vmid": "100,101"})), ("vmid=100%2C101&remove=0".into(), 1));
    assert_eq!(sent("/cluster/bulk-action/guest/start", json!({"vms": ["web01", 101]})).0, "vms=100&vms=101");
    let moved = json!({"disk": "scsi1", "target-vmid": "db01", "target-disk": "scsi1"});
    assert!(sent("/qemu/100/move_disk", moved).0.contains("target-vmid=101"));

    let refused = |path: &str, data: Value| refusal(&server, json!({"path": path, "method": "POST", "data": data}));
    let why = refused("/nodes/pve1/vzdump", json!({"vmid": "web01,twin"}));
    assert!(why.contains("`vmid`: 2 guests are called `twin`") && why.contains("110 on pve1"), "{why}");
    let why = refused("/nodes/pve1/vzdump", json!({"vmid": ["wbe01"]}));
    assert!(why.contains("did you mean `web01`?"), "{why}");
}

#[test]
fn names_of_one_call_cost_a_bounded_number_of_reads() {
    let name = |vmid: u32| format!("vm-{vmid}");
    let rows: Vec<Value> = (100..200)
        .map(|vmid| json!({"id": format!("qemu/{vmid}"), "node": "pve1", "name": name(vmid), "status": "stopped"}))
        .collect();
    let list = Value::from(rows).to_string();
    let node = proxmox_with(gzipped_facts(), move |request| match request.path() {
        "/api2/json/cluster/resources" => Some(ScriptedReply::data(&list)),
        path => path
            .strip_suffix("/config")
            .and_then(|path| path.rsplit('/').next())
            .map(|vmid| ScriptedReply::data(&json!({"name": format!("vm-{vmid}"), "digest": "0"}).to_string())),
    });
    let server = product(vec![node.cluster_settings()]);
    let back_up = |names: Vec<String>| {
        let data = json!({"vmid": names.join(",")});
        let before = node.requests().len();
        let arguments = json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": data, "dry_run": true});
        let result = call(&server, "proxmox_api_call", arguments);
        let is_config = |request: &&Request| request.path().ends_with("/config");
        (result, node.requests()[before..].iter().filter(is_config).count())
    };
    let (result, reads) = back_up((100..164).chain(100..164).map(name).collect());
    assert!(!result.failed && reads == 64, "{reads}: {result:?}");
    let (result, reads) = back_up((100..200).map(name).collect());
    assert!(result.failed && result.text.contains("more than 64 guests are given by name"), "{result:?}");
    assert_eq!(reads, 64);
}

#[test]
fn new_guest_never_gets_the_number_of_another() {
    let server = start_server();
    for (path, name) in [
        ("/qemu/100/clone", "newid"),
        ("/lxc/200/clone", "newid"),
        ("/nodes/pve1/qemu", "vmid"),
        ("/nodes/pve1/lxc", "vmid"),
        ("/qemu/100/remote_migrate", "target-vmid"),
    ] {
        let schema_path =
            path.replace("/qemu/100", "/nodes/{node}/qemu/{vmid}").replace("/lxc/200", "/nodes/{node}/lxc/{vmid}");
        let schema_path = schema_path.replace("pve1", "{node}");
        let operation = embedded_schema().find_by_template(proxmox_mcp::pve::Method::Post, &schema_path).unwrap();
        let mut data = required(&operation);
        data.insert(name.into(), "web01".into());
        let why = refusal(&server, json!({"path": path, "method": "POST", "data": data}));
        assert!(why.contains(&format!("`{name}` must be an integer")), "{path}: {why}");
    }
}

#[test]
fn path_without_a_node_uses_the_only_node_or_lists_them() {
    let server = start_server();
    let why = refusal(&server, json!({"path": "/nodes/{node}/status"}));
    assert!(why.contains("pve1, pve2, pve3"), "{why}");
    let one = RecordingNode::with(gzipped_facts(), |request| {
        (request.target == "/api2/json/nodes").then(|| ScriptedReply::data(r#"[{"node":"pve2","status":"online"}]"#))
    });
    let (_, sent) = succeed(&start_server_over(one), json!({"path": "/nodes/{node}/status"}));
    assert_eq!(sent, ["GET /nodes", "GET /nodes/pve2/status"]);
    let why = refusal(&server, json!({"path": "/storage/{storage}"}));
    assert!(why.contains("`{storage}` is a placeholder"), "{why}");
}

#[test]
fn node_of_a_task_comes_from_its_upid() {
    let server = start_server();
    succeed(&server, json!({"path": "/nodes/pve1/version"}));
    let upid = "UPID:pve2:000001C1:00022AEA:6B0293BE:qmstart:101:root@pam!admin:";
    for node in ["{node}", "pve1", "pve2"] {
        let (result, sent) = succeed(&server, json!({"path": format!("/nodes/{node}/tasks/{upid}/status")}));
        assert_eq!(sent, [format!("GET /nodes/pve2/tasks/{upid}/status")]);
        assert_eq!(result.more.len(), usize::from(node == "pve1"), "{result:?}");
    }
}

// ---- dry runs

#[test]
fn dry_run_sends_nothing_and_shows_the_request_and_its_risk() {
    let server = start_server();
    let (result, requests) =
        record(&server, json!({"path": "/qemu/web01", "method": "DELETE", "data": {"purge": true}, "dry_run": true}));
    assert!(!result.failed && requests.iter().all(|request| request.method == "GET"), "{result:?}, {requests:?}");
    let first = "Nothing was sent, so Proxmox has not checked it. This would be:\nDelete VM 100 \"web01\" (unknown, pve1) and its disks on test.";
    assert!(result.text.starts_with(first), "{result:?}");
    assert!(result.text.contains("\nDELETE /nodes/pve1/qemu/100 purge=1\n"), "{result:?}");
    assert!(result.text.contains("\nRisk: changes, destructive (the guest, its disks and its snapshots are lost); needs VM.Allocate on /vms/100"), "{result:?}");
    let (result, _) =
        succeed(&server, json!({"path": "/nodes/pve2/qemu/100/status/stop", "method": "POST", "dry_run": true}));
    assert!(
        result.text.contains("/nodes/pve1/qemu/100/") && result.more[0].contains("is qemu/100 on pve1"),
        "{result:?}"
    );
}

#[test]
fn dry_run_of_a_call_with_confirmation_sends_nothing() {
    let node = RecordingNode::start();
    let cluster = node.cluster("test", confirming_policy());
    let server = ToolServer::new(node, vec![cluster]);
    server.call("proxmox_api_get", json!({"path": "/version"}));
    let reboot = json!({"path": "/nodes/pve1/status", "method": "POST", "data": {"command": "reboot"}});
    let mut dry = reboot.clone();
    dry["dry_run"] = true.into();
    let (said, sent) = succeed(&server, dry);
    assert!(said.text.contains("has to be confirmed") && said.text.contains("VM 100"), "{said:?}");
    // The name of the node is checked before a change, and each guest shows its own state.
    let states = [100, 110].map(|vmid| format!("GET /nodes/pve1/qemu/{vmid}/status/current"));
    let read_guests = [&["GET /cluster/resources?type=vm".to_owned()][..], &states].concat();
    let sort = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sent[0], "GET /nodes");
    assert_eq!(sort(sent[1..].to_vec()), read_guests);
    // The question names the guests. The name of the node was seen a short time ago.
    let (said, sent) = record(&server, reboot);
    assert!(said.failed && said.text.contains("VM 100 \"web01\" (unknown, pve1)"), "{said:?}");
    assert_eq!(sort(sent.iter().map(line).collect()), read_guests);
}

#[test]
fn console_is_not_opened_by_a_tool_that_only_reads() {
    let node = RecordingNode::start();
    let cluster = node.cluster("test", confirming_policy());
    let server = ToolServer::new(node, vec![cluster]);
    server.call("proxmox_api_get", json!({"path": "/nodes/pve1/version"}));
    let before = server.node.node.requests().len();
    let console = json!({"path": "/nodes/pve1/qemu/100/vncwebsocket?port=5900&vncticket=x"});
    let said = server.call("proxmox_api_get", console);
    assert!(said.failed && said.text.contains("more than a read (runs commands)"), "{said:?}");
    assert_eq!(server.node.node.requests().len(), before);
}

#[test]
fn failure_is_explained_with_new_lists_of_the_cluster() {
    // The guest moves after the first look at the list.
    let lists = AtomicUsize::new(0);
    let node = RecordingNode::with(gzipped_facts(), move |request| match request.target.as_str() {
        "/api2/json/cluster/resources?type=vm" => {
            let node = if lists.fetch_add(1, Ordering::SeqCst) == 0 { "pve1" } else { "pve2" };
            Some(ScriptedReply::data(&json!([{"id": "qemu/100", "vmid": 100, "node": node}]).to_string()))
        }
        "/api2/json/nodes/pve1/qemu/100/status/start" => {
            Some(ScriptedReply::refusal(500, "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist", ""))
        }
        _ => None,
    });
    let server = start_server_over(node);
    let (said, _) = record(&server, json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"}));
    assert!(said.failed && said.text.contains("100 is qemu/100 on pve2"), "{said:?}");
}

#[test]
fn dry_run_of_every_operation_shows_the_risk_and_sends_nothing() {
    let server = start_server();
    for operation in embedded_schema().operations() {
        let fill = |segment: &'static str| match segment {
            "{node}" => "pve1",
            "{vmid}" if operation.template().contains("/lxc/") => "200",
            "{vmid}" => "100",
            "{id}" if operation.template().contains("/replication/") => "100-0",
            s if s.starts_with('{') => {
                let parameter = operation.parameter(&s[1..s.len() - 1]);
                let begins_with_letter = parameter.as_ref().is_some_and(|p| {
                    matches!(p.format(), "pve-configid" | "pve-realm" | "pve-storage-id")
                        || p.pattern().contains("[A-Za-z]")
                        || p.pattern().contains("[a-zA-Z]")
                });
                let name = if begins_with_letter { "a12" } else { "12" };
                parameter.and_then(|p| p.allowed_values().next()).unwrap_or(name)
            }
            s => s,
        };
        let path = operation.template().split('/').map(fill).collect::<Vec<_>>().join("/");
        let data = required(&operation);
        let arguments = json!({"path": path, "method": operation.method().as_str(), "data": data, "dry_run": true});
        let (result, requests) = record(&server, arguments.clone());
        let is_harmless =
            |request: &Request| request.method == "GET" && (is_lookup(request) || !operation.risk().is_read_only());
        assert!(requests.iter().all(is_harmless), "{requests:?}");
        // A required parameter, such as the path of a mapping, may raise the risk of its operation.
        let is_raised = result.text.contains(&format!("{}; ", operation.risk_reason()));
        let has_risk = result.text.contains(&format!("\nRisk: {}", shown_risk(operation.risk())));
        // The names of the call are those of no object.
        let would_fail = result.text.contains(" would fail: ");
        assert!(has_risk || is_raised || would_fail, "{arguments}: {result:?}");
    }
}

/// Parameters that the API calls a password or another secret.
const SECRETS: [&str; 15] = [
    "password",
    "cipassword",
    "confirmation-password",
    "secret",
    "token",
    "otp",
    "totp",
    "ticket",
    "vncticket",
    "key",
    "client-key",
    "encryption-key",
    "eab-hmac-key",
    "keyring",
    "target-endpoint",
];

#[test]
fn dry_run_shows_no_secret_of_any_operation() {
    let server = start_server();
    let mut seen = std::collections::BTreeSet::new();
    for operation in embedded_schema().operations() {
        for parameter in operation.parameters().filter(|p| SECRETS.contains(&p.name()) && p.kind() != "boolean") {
            // The key to press is not a secret, and neither is the key of a subscription.
            let is_other_key = parameter.name() == "key"
                && ["/sendkey", "/subscription"].iter().any(|end| operation.template().ends_with(end));
            if parameter.allowed_values().next().is_some() || parameter.kind() == "integer" || is_other_key {
                continue;
            }
            let mut data = required(&operation);
            let value = match (parameter.name(), parameter.kind()) {
                ("target-endpoint", _) => json!(format!("apitoken=PVEAPIToken=root@pam!a={CANARY},host=192.0.2.1")),
                (_, "array") => json!([format!("name=Authorization,value={CANARY}")]),
                _ => json!(CANARY),
            };
            data.insert(parameter.name().into(), value);
            if !parameter.requires().is_empty() {
                data.insert(parameter.requires().into(), "x".into());
            }
            let path = operation.template().replace("{node}", "pve1").replace("{vmid}", "100");
            let path = path.split('/').map(|s| if s.starts_with('{') { "x1" } else { s }).collect::<Vec<_>>().join("/");
            let arguments = json!({"path": path, "method": operation.method().as_str(), "data": data, "dry_run": true});
            let (result, _) = record(&server, arguments);
            assert_unseen(&format!("{} {}", operation.method(), operation.template()), result.all_text().as_bytes());
            if !result.failed {
                let hidden = ["(password, ", "(secret, "].iter().any(|kind| result.text.contains(kind));
                assert!(hidden && result.text.contains(" characters)"), "{}: {result:?}", parameter.name());
                seen.insert(parameter.name());
            }
        }
    }
    let unseen: Vec<_> = SECRETS.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(unseen.is_empty(), "never seen: {unseen:?}");
}

#[test]
fn invalid_secret_is_not_repeated_in_the_error() {
    let server = start_server();
    let long = CANARY.repeat(300);
    for (path, method, data) in [
        (
            "/nodes/pve1/qemu/100/config",
            "PUT",
            json!({"cores": CANARY, "bios": CANARY, "onboot": CANARY, "smbios1": long}),
        ),
        ("/access/users", "POST", json!({"userid": "a@pve", "password": CANARY.repeat(10), "pasword": CANARY})),
        ("/access/password", "PUT", json!({"userid": "a@pve", "password": {"a": CANARY}})),
        ("/access/password", "PUT", json!({"userid": "a@pve", "password": [[CANARY]]})),
    ] {
        let why = refusal(&server, json!({"path": path, "method": method, "data": data}));
        assert_unseen(path, why.as_bytes());
    }
    let path = format!("/access/password?userid=a@pve&password={CANARY}");
    let (text, _) = succeed(&server, json!({"path": path, "method": "PUT", "dry_run": true}));
    assert_unseen("a query", text.all_text().as_bytes());
}
