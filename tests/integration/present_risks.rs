//! Changes whose risk depends on the present state: what they take away by leaving it out.

use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{RecordingNode, confirming_policy, open_policy, patterns, protected};
use crate::support::proxmox::gzipped_facts;
use crate::support::tool::ToolServer;
use proxmox_mcp::policy::ClusterPolicy;
use serde_json::{Value, json};

/// Returns the answer to a read of an object that calls of the tests replace.
fn present(request: &Request) -> Option<ScriptedReply> {
    let data = match request.target.strip_prefix("/api2/json")? {
        "/access/roles/Ops" => json!({"VM.Audit": 1, "VM.PowerMgmt": 1, "VM.Backup": 0}),
        "/access/users/ada@pve" => json!({"groups": ["ops", "backup"]}),
        "/cluster/backup/daily" => json!({"id": "daily", "vmid": "100,101", "schedule": "daily"}),
        "/cluster/backup/all" => json!({"id": "all", "all": 1, "schedule": "daily"}),
        "/cluster/firewall/ipset/web/192.0.2.1" => json!({"cidr": "192.0.2.1", "nomatch": 1}),
        "/cluster/firewall/ipset/web/192.0.2.2" => json!({"cidr": "192.0.2.2"}),
        "/cluster/firewall/options" => json!({"enable": 1, "policy_in": "DROP"}),
        "/nodes/pve1/qemu/100/config" => {
            json!({"name": "web01", "net0": "virtio,bridge=vmbr0,firewall=1", "digest": "d"})
        }
        _ => return None,
    };
    (request.method == "GET").then(|| ScriptedReply::data(&data.to_string()))
}

fn start(policy: ClusterPolicy, answer: fn(&Request) -> Option<ScriptedReply>) -> ToolServer {
    let node = RecordingNode::with(gzipped_facts(), answer);
    let cluster = node.cluster("prod", policy);
    ToolServer::new(node, vec![cluster])
}

/// Calls PUT, and returns whether it was sent. Otherwise it was asked.
#[track_caller]
fn is_sent(server: &ToolServer, path: &str, data: Value) -> bool {
    let result = server.call("proxmox_api_call", json!({"path": path, "method": "PUT", "data": data}));
    let sent = server.node.writes().len() == 1;
    assert!(sent != result.failed, "{path} {data}: {result:?}");
    assert!(sent || result.text.contains("has to be confirmed"), "{path} {data}: {result:?}");
    sent
}

#[test]
fn list_that_keeps_every_item_is_sent_and_one_that_drops_an_item_is_asked() {
    let server = start(confirming_policy(), present);
    for (path, data, sent) in [
        ("/access/roles/Ops", json!({"privs": "VM.PowerMgmt VM.Audit,VM.Console"}), true),
        ("/access/roles/Ops", json!({"privs": "VM.Audit"}), false),
        ("/access/roles/Ops", json!({"privs": "VM.Console", "append": 1}), true),
        ("/access/roles/Ops", json!({"privs": "VM.Console", "append": 0}), false),
        ("/access/users/ada@pve", json!({"groups": "web,backup,ops"}), true),
        ("/access/users/ada@pve", json!({"groups": "web,ops"}), false),
        ("/access/users/ada@pve", json!({"groups": ""}), false),
        ("/cluster/backup/daily", json!({"vmid": "101,100,200"}), true),
        ("/cluster/backup/daily", json!({"vmid": "100"}), false),
        ("/cluster/backup/daily", json!({"delete": "vmid"}), false),
        ("/cluster/backup/all", json!({"vmid": "100,101"}), false),
    ] {
        assert_eq!(is_sent(&server, path, data.clone()), sent, "{path} {data}");
    }
}

#[test]
fn list_that_can_t_be_read_is_asked() {
    let server = start(confirming_policy(), |request| {
        let is_object = request.method == "GET" && request.path().contains("/Ops");
        is_object.then(|| ScriptedReply::refusal(403, "Permission check failed", r#"{"data":null}"#))
    });
    assert!(!is_sent(&server, "/access/roles/Ops", json!({"privs": "VM.Audit,VM.PowerMgmt,VM.Backup"})));
}

#[test]
fn firewall_options_that_keep_their_values_are_not_asked() {
    const PATH: &str = "/cluster/firewall/options";
    let server = start(confirming_policy(), present);
    for (data, sent) in [
        (json!({"enable": 1, "policy_in": "DROP", "log_ratelimit": "enable=1"}), true),
        (json!({"enable": 0}), false),
        (json!({"policy_out": "DROP"}), false),
        (json!({"delete": "policy_in"}), false),
    ] {
        assert_eq!(is_sent(&server, PATH, data.clone()), sent, "{data}");
    }
    let data = json!({"enable": 1, "policy_in": "ACCEPT"});
    let text = server.call("proxmox_api_call", json!({"path": PATH, "method": "PUT", "data": data})).text;
    assert!(
        text.contains("policy_in: allows all incoming traffic") && !text.contains("enable: the firewall"),
        "{text}"
    );

    let hidden = start(confirming_policy(), |request| {
        let is_object = request.method == "GET" && request.path().ends_with(PATH);
        is_object.then(|| ScriptedReply::refusal(403, "Permission check failed", r#"{"data":null}"#))
    });
    assert!(!is_sent(&hidden, PATH, json!({"enable": 1})));
}

/// Returns whether guests are under HA. Of guest 110 that can't be read.
fn ha_states(request: &Request) -> Option<ScriptedReply> {
    let managed = match request.path().strip_prefix("/api2/json/nodes/")?.strip_suffix("/status/current")? {
        "pve1/qemu/100" => json!({"status": "running", "ha": {"managed": 1}}),
        "pve2/qemu/101" => json!({"status": "running", "ha": {"managed": 0}}),
        "pve2/lxc/200" => json!({"status": "running", "ha": {"managed": 1}}),
        _ => return Some(ScriptedReply::refusal(403, "Permission check failed", r#"{"data":null}"#)),
    };
    Some(ScriptedReply::data(&managed.to_string()))
}

#[test]
fn guest_under_ha_is_asked_where_the_ha_manager_stops_it() {
    let server = start(confirming_policy(), ha_states);
    for (path, data, sent) in [
        ("/nodes/pve1/qemu/100/status/shutdown", json!({}), false),
        ("/nodes/pve2/qemu/101/status/shutdown", json!({}), true),
        ("/nodes/pve1/qemu/110/status/shutdown", json!({}), false),
        ("/nodes/pve1/qemu/100/status/reboot", json!({}), true),
        ("/nodes/pve1/qemu/100/migrate", json!({"target": "pve2"}), true),
        ("/nodes/pve2/lxc/200/migrate", json!({"target": "pve1"}), false),
    ] {
        let result = server.call("proxmox_api_call", json!({"path": path, "method": "POST", "data": data}));
        assert_eq!(server.node.writes().len(), usize::from(sent), "{path}: {result:?}");
        assert!(sent || result.text.contains("HA manager"), "{path}: {result:?}");
    }
}

#[test]
fn denied_stop_is_denied_where_the_ha_manager_stops_the_guest() {
    let deny = patterns(&["POST /nodes/*/qemu/*/status/stop", "POST /nodes/*/lxc/*/status/shutdown"]);
    let server = start(ClusterPolicy { deny, ..open_policy() }, ha_states);
    for (path, data, sent) in [
        ("/nodes/pve1/qemu/100/status/shutdown", json!({}), false),
        // One that is asked for another reason too.
        ("/nodes/pve1/qemu/100/status/shutdown", json!({"skiplock": 1}), false),
        ("/nodes/pve1/qemu/110/status/shutdown", json!({}), false),
        ("/nodes/pve2/qemu/101/status/shutdown", json!({}), true),
        ("/nodes/pve2/lxc/200/migrate", json!({"target": "pve1"}), false),
    ] {
        let result = server.call("proxmox_api_call", json!({"path": path, "method": "POST", "data": data}));
        assert_eq!(server.node.writes().len(), usize::from(sent), "{path}: {result:?}");
        assert!(sent || result.text.contains("refused: "), "{path}: {result:?}");
    }
}

#[test]
fn member_of_an_ip_set_that_loses_nomatch_is_asked() {
    let server = start(confirming_policy(), present);
    for (member, data, sent) in [
        ("192.0.2.1", json!({"comment": "x"}), false),
        ("192.0.2.2", json!({"comment": "x"}), true),
        ("192.0.2.2", json!({"nomatch": 1}), false),
    ] {
        let path = format!("/cluster/firewall/ipset/web/{member}");
        assert_eq!(is_sent(&server, &path, data.clone()), sent, "{path} {data}");
    }
}

#[test]
fn interface_that_loses_its_address_is_asked() {
    let server = start(confirming_policy(), |request| {
        let data = match request.target.strip_prefix("/api2/json/nodes/pve1/network/")? {
            "vmbr0" => json!({"type": "bridge", "method": "static", "method6": "static", "families": ["inet", "inet6"],
                "cidr": "10.0.0.1/24", "address": "10.0.0.1", "netmask": "24", "cidr6": "fd00::1/64"}),
            "vmbr1" => json!({"type": "bridge", "method": "manual", "method6": "manual", "families": ["inet"]}),
            "eno1" => json!({"type": "eth", "method": "dhcp", "method6": "manual", "families": ["inet"]}),
            _ => return Some(ScriptedReply::refusal(403, "Permission check failed", r#"{"data":null}"#)),
        };
        (request.method == "GET").then(|| ScriptedReply::data(&data.to_string()))
    });
    let both = json!({"type": "bridge", "cidr": "10.0.0.1/24", "cidr6": "FD00::1/64"});
    for (interface, data, sent) in [
        ("vmbr0", json!({"type": "bridge", "mtu": 9000}), false),
        ("vmbr0", json!({"type": "bridge", "cidr": "10.0.0.1/24"}), false),
        ("vmbr0", json!({"type": "bridge", "cidr6": "fd00::1/64"}), false),
        ("vmbr0", json!({"type": "bridge", "cidr": "10.0.0.2/24", "cidr6": "fd00::1/64"}), false),
        ("vmbr0", json!({"type": "bridge", "cidr6": "fd00::1/64", "delete": "cidr"}), false),
        ("vmbr0", both, true),
        ("vmbr1", json!({"type": "bridge", "mtu": 9000}), true),
        ("vmbr1", json!({"type": "bridge", "cidr": "10.1.0.1/24"}), true),
        ("eno1", json!({"type": "eth", "autostart": true}), false),
        ("eno9", json!({"type": "eth", "autostart": true}), false),
    ] {
        let path = format!("/nodes/pve1/network/{interface}");
        assert_eq!(is_sent(&server, &path, data.clone()), sent, "{path} {data}");
    }
}

#[test]
fn change_of_an_interface_that_is_not_asked_says_what_it_loses() {
    let server = start(open_policy(), |request| {
        let is_read = request.method == "GET" && request.path().ends_with("/network/vmbr0");
        let interface = json!({"type": "bridge", "method": "static", "families": ["inet"], "cidr": "10.0.0.1/24"});
        is_read.then(|| ScriptedReply::data(&interface.to_string()))
    });
    let call = |data: Value| {
        let arguments = json!({"path": "/nodes/pve1/network/vmbr0", "method": "PUT", "data": data});
        server.call("proxmox_api_call", arguments).all_text()
    };
    let text = call(json!({"type": "bridge", "mtu": 9000}));
    assert!(
        text.contains("method: static → manual") && text.contains(r#"undo: PUT /nodes/pve1/network/vmbr0 {"cidr""#),
        "{text}"
    );
    let text = call(json!({"type": "bridge", "mtu": 9000, "cidr": "10.0.0.1/24"}));
    assert!(!text.contains("manual"), "{text}");
}

#[test]
fn firewall_of_a_guest_is_asked_where_it_begins_to_act() {
    let card = json!({"net0": "virtio,bridge=vmbr0,firewall=1"});
    for (about, of_cluster, of_guest, is_under, is_unasked) in [
        ("the policy drops", json!({"enable": 1}), Some(json!({"enable": 1})), false, false),
        (
            "outgoing traffic is dropped",
            json!({"enable": 1}),
            Some(json!({"enable": 1, "policy_in": "ACCEPT", "policy_out": "DROP"})),
            false,
            false,
        ),
        ("the policy accepts", json!({"enable": 1}), Some(json!({"enable": 1, "policy_in": "ACCEPT"})), false, true),
        ("the guest's firewall is off", json!({"enable": 1}), Some(json!({"enable": 0})), false, true),
        ("the firewall of the data center is off", json!({"enable": 0}), Some(json!({"enable": 1})), false, true),
        ("the options can't be read", json!({"enable": 1}), None, false, false),
        ("the card is under the firewall", json!({"enable": 1}), Some(json!({"enable": 0})), true, true),
    ] {
        let node = RecordingNode::with(gzipped_facts(), move |request: &Request| {
            let config = if is_under { "virtio,bridge=vmbr0,firewall=1" } else { "virtio,bridge=vmbr0" };
            let data = match request.target.strip_prefix("/api2/json")? {
                _ if request.method != "GET" => return None,
                "/cluster/firewall/options" => of_cluster.clone(),
                "/nodes/pve1/qemu/100/firewall/options" => match &of_guest {
                    Some(options) => options.clone(),
                    None => {
                        let body = r#"{"data":null}"#;
                        return Some(ScriptedReply::refusal(403, "Permission check failed", body));
                    }
                },
                "/nodes/pve1/qemu/100/config" => json!({"name": "web01", "net0": config, "digest": "d"}),
                _ => return None,
            };
            Some(ScriptedReply::data(&data.to_string()))
        });
        let cluster = node.cluster("prod", confirming_policy());
        let server = ToolServer::new(node, vec![cluster]);
        assert_eq!(is_sent(&server, "/nodes/pve1/qemu/100/config", card.clone()), is_unasked, "{about}");
    }
}

#[test]
fn config_that_the_plan_read_is_not_read_again_before_the_change() {
    for policy in [confirming_policy(), ClusterPolicy { protect: protected(&["tag:x"]), ..open_policy() }] {
        let server = start(policy, present);
        let data = json!({"net0": "virtio,bridge=vmbr0,firewall=1,rate=5", "description": "x"});
        let call = json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": data});
        let result = server.call("proxmox_api_call", call);
        assert!(!result.failed, "{result:?}");
        let requests = server.node.requests();
        let change = requests.iter().position(|request| request.method == "PUT").expect("a change");
        let reads = requests[..change].iter().filter(|request| request.path().ends_with("/qemu/100/config")).count();
        assert_eq!(reads, 1, "{requests:?}");
    }
}

#[test]
fn each_call_of_a_list_is_undone_to_the_config_right_before_it() {
    let server = start(open_policy(), |request| {
        static MEMORY: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1024);
        use std::sync::atomic::Ordering;
        match (request.method.as_str(), request.path()) {
            ("PUT", _) => {
                MEMORY.fetch_add(1024, Ordering::SeqCst);
                Some(ScriptedReply::data("null"))
            }
            ("GET", path) if path.ends_with("/qemu/100/config") => {
                let memory = MEMORY.load(Ordering::SeqCst);
                Some(ScriptedReply::data(&json!({"name": "web01", "memory": memory, "digest": "d"}).to_string()))
            }
            ("GET", path) if path.ends_with("/qemu/100/pending") => {
                let memory = MEMORY.load(Ordering::SeqCst);
                Some(ScriptedReply::data(&json!([{"key": "memory", "value": memory}]).to_string()))
            }
            _ => None,
        }
    });
    let change =
        |memory: u32| json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": {"memory": memory}});
    let result = server.call("proxmox_api_call", json!({"calls": [change(2048), change(3072)]}));
    assert!(!result.failed, "{result:?}");
    let (_, undo) = result.text.split_once("\nundo, in this order:\n").expect("several calls");
    let undone: Vec<_> = undo.lines().collect();
    assert!(undone[0].contains("2048") && undone[1].contains("1024"), "{}", result.text);
    assert!(!undo.contains("digest"), "{}", result.text);
}

#[test]
fn later_calls_of_a_list_are_rated_on_what_earlier_ones_make() {
    let new_vm = || ("POST /nodes/pve1/qemu", json!({"vmid": 300, "scsi0": "local:8", "net0": "virtio,bridge=vmbr0"}));
    let clone = || ("POST /nodes/pve1/qemu/100/clone", json!({"newid": 300}));
    let config = "PUT /nodes/pve1/qemu/300/config";
    let (start_it, shut_down) = ("POST /nodes/pve1/qemu/300/status/start", "POST /nodes/pve1/qemu/300/status/shutdown");
    let storage = || ("POST /storage", json!({"storage": "nfs2", "type": "dir", "path": "/x", "content": "iso"}));
    for (calls, is_destructive) in [
        (vec![new_vm(), (config, json!({"scsi1": "local:8", "net1": "virtio,bridge=vmbr1"}))], false),
        (vec![new_vm(), (config, json!({"scsi0": "local:8"}))], true),
        (vec![new_vm(), (config, json!({"scsi1": "local:8"})), (config, json!({"delete": "scsi1"}))], true),
        (vec![clone(), (config, json!({"scsi1": "local:8"}))], false),
        (vec![clone(), (config, json!({"net0": "virtio,bridge=vmbr0"}))], true),
        (vec![new_vm(), (start_it, json!({})), (shut_down, json!({}))], false),
        (vec![storage(), ("PUT /storage/nfs2", json!({"content": "iso,backup"}))], false),
        (vec![storage(), ("PUT /storage/nfs2", json!({"content": "backup"}))], true),
    ] {
        let server = start(confirming_policy(), present);
        let list = |(line, data): &(&str, Value)| {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            json!({"path": path, "method": method, "data": data})
        };
        let list: Vec<Value> = calls.iter().map(list).collect();
        let result = server.call("proxmox_api_call", json!({"calls": list, "dry_run": true}));
        let (_, later) = result.text.split_once("\n2. ").expect("two calls");
        assert!(!result.failed && later.contains("destructive") == is_destructive, "{calls:?}: {result:?}");
        assert!(!later.contains("may affect any"), "{calls:?}: {result:?}");
    }
}
