//! What an answer says of the object after a change, and the wait for a state.

use crate::support::node::ScriptedReply;
use crate::support::policy::open_policy;
use crate::support::proxmox::{gzipped_facts, proxmox_with};
use crate::support::test_tools::{product, start_open_demo};
use crate::support::tool::{ToolResult, call};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use serde_json::{Value, json};

/// Makes a call. `line` is its method and path.
fn make(server: &McpServer, line: &str, data: Value) -> ToolResult {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let arguments = json!({"path": path, "method": method, "data": data, "wait": true});
    let result = call(server, "proxmox_api_call", arguments);
    assert!(!result.failed, "{line}: {result:?}");
    result
}

fn wait(server: &McpServer, state: &str) -> String {
    call(server, "wait_for_task", json!({"upid": state, "timeout": 1})).text
}

#[test]
fn change_ends_with_the_object_as_it_is() {
    let (_demo, server) = start_open_demo();
    for (line, data, expected) in [
        ("POST /qemu/staging01/status/start", json!({}), "VM 106 \"staging01\" is running on pve2"),
        (
            "POST /qemu/staging01/snapshot/before-upgrade/rollback",
            json!({}),
            "VM 106 \"staging01\" is stopped on pve2, because the snapshot has no memory",
        ),
        ("PUT /qemu/106/config", json!({"memory": 2048}), "now has memory 2048; nothing waits for a restart"),
        (
            "PUT /qemu/100/config",
            json!({"memory": 2048}),
            "waits for its next start with memory 2048 (until then 8192)",
        ),
        (
            "PUT /qemu/106/resize",
            json!({"disk": "scsi0", "size": "+1G"}),
            "scsi0 is now local-lvm:vm-106-disk-0,size=33G",
        ),
        ("POST /qemu/106/clone", json!({"newid": 300, "name": "c"}), "VM 300 \"c\" is stopped on pve2"),
        ("DELETE /qemu/300", json!({}), "VM 300 \"c\" is gone"),
        ("POST /qemu/100/migrate", json!({"target": "pve2", "online": true}), "VM 100 \"web01\" is running on pve2"),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 200, "storage": "nas"}), "backup nas:backup/vzdump-lxc-200-"),
        ("PUT /cluster/ha/resources/vm:104", json!({"state": "stopped"}), "VM 104 \"gitlab\" is stopped on pve2"),
        ("DELETE /cluster/ha/resources/vm:104", json!({}), "HA does not manage vm:104 now"),
        ("PUT /pools/prod", json!({"vms": "104"}), "pool prod has 5 members: qemu/100"),
        (
            "PUT /access/acl",
            json!({"path": "/vms/101", "roles": "PVEVMAdmin", "users": "alice@pve"}),
            "On /vms/101 now: alice@pve has PVEVMAdmin (and below)",
        ),
        ("PUT /cluster/backup/backup-nightly", json!({"schedule": "03:00"}), "now has schedule 03:00"),
        ("DELETE /cluster/backup/backup-nightly", json!({}), "/cluster/backup/backup-nightly is gone"),
    ] {
        let result = make(&server, line, data);
        assert!(result.text.contains(expected), "{line}: {result:?}");
        // The line names the guest, so nothing else has to.
        assert!(!result.all_text().contains(" is qemu/"), "{line}: {result:?}");
    }
}

#[test]
fn change_of_many_objects_says_what_became_of_each() {
    let (_demo, server) = start_open_demo();
    for (line, data, expected) in [
        (
            "POST /nodes/pve1/stopall",
            json!({"vms": "100,101"}),
            &["VM 100 \"web01\" is stopped on pve1\n", "VM 101 \"web02\" is running on pve2"][..],
        ),
        ("POST /nodes/pve1/startall", json!({"force": 1}), &["VM 100 \"web01\" is running on pve1\n"]),
        (
            "POST /nodes/pve1/vzdump",
            json!({"vmid": "200,201", "storage": "local"}),
            &[
                "backup local:backup/vzdump-lxc-200-",
                "no new backup of 201 is on local: it is on pve2, and a backup on pve1 skips guests of other nodes",
            ],
        ),
        (
            "POST /cluster/backup",
            json!({"schedule": "sun 02:00", "storage": "nas", "vmid": "100"}),
            &["/cluster/backup/backup-", " is there: ", "storage nas", "\nundo: DELETE /cluster/backup/backup-"],
        ),
    ] {
        let result = make(&server, line, data);
        expected.iter().for_each(|part| assert!(result.text.contains(part), "{line}: {result:?}"));
    }
}

#[test]
fn change_of_a_network_card_says_what_it_lost() {
    let (_demo, server) = start_open_demo();
    for (line, data) in [
        ("PUT /qemu/100/config", json!({"net0": "virtio,bridge=vmbr0"})),
        ("PUT /lxc/200/config", json!({"net0": "name=eth0,bridge=vmbr0,ip=dhcp"})),
    ] {
        let text = make(&server, line, data).text;
        assert!(text.contains("\nnet0 has another MAC address than before (BC:24:11:"), "{text}");
        assert!(text.contains("\nnet0 has no firewall=1 any more"), "{text}");
    }
    let kept =
        make(&server, "PUT /qemu/101/config", json!({"net0": "virtio=BC:24:11:00:00:65,bridge=vmbr0,firewall=1"}));
    assert!(!kept.text.contains("another MAC") && !kept.text.contains("any more"), "{kept:?}");
}

#[test]
fn failed_task_is_followed_by_the_state_of_its_object() {
    let (_demo, server) = start_open_demo();
    let target = json!({"target": "pve2", "online": true});
    let arguments = json!({"path": "/qemu/db01/migrate", "method": "POST", "data": target, "wait": true});
    let result = call(&server, "proxmox_api_call", arguments);
    assert!(result.failed && result.text.contains("\nVM 102 \"db01\" is running on pve1\n"), "{result:?}");
    assert!(!result.text.contains("undo:"), "{result:?}");
}

#[test]
fn undo_of_a_list_is_told_after_its_last_call() {
    let (_demo, server) = start_open_demo();
    let change = |data: Value| json!({"path": "/qemu/web01/config", "method": "PUT", "data": data});
    let calls = [change(json!({"description": "x"})), change(json!({"onboot": false}))];
    let text = call(&server, "proxmox_api_call", json!({"calls": calls})).text;
    let (_, undo) = text.split_once("\n\nundo, in this order:\n").expect("two calls");
    let changed: Vec<bool> = undo.lines().take(2).map(|line| line.contains("onboot")).collect();
    assert!(changed == [true, false] && !undo.contains("digest"), "{text}");
    // The options that earlier calls left pending are said too.
    make(&server, "PUT /qemu/web01/config", json!({"memory": 9000}));
    let text = make(&server, "PUT /qemu/web01/config", json!({"tags": "x"})).text;
    assert!(text.contains("now has tags x; still waiting for its next start: memory"), "{text}");
}

#[test]
fn change_without_an_effect_yet_says_why() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let data = |value: Value| Some(ScriptedReply::data(&value.to_string()));
        let rule = json!([{"pos": 0, "type": "in", "action": "ACCEPT", "enable": 1}]);
        match (request.method.as_str(), request.path().strip_prefix("/api2/json")?) {
            ("GET", "/cluster/firewall/options") => data(json!({"enable": 0})),
            ("GET", "/nodes/pve1/qemu/100/firewall/options") => data(json!({"enable": 1})),
            ("GET", "/nodes/pve1/qemu/100/firewall/rules") => data(rule),
            ("GET", "/nodes/pve1/qemu/100/config") => {
                data(json!({"name": "web01", "digest": "d", "net0": "virtio=AA,bridge=vmbr0"}))
            }
            ("GET", "/nodes/pve1/qemu/100/pending") => {
                data(json!([{"key": "net0", "value": "virtio=AA,bridge=vmbr0"}]))
            }
            ("GET", "/nodes/pve1/time") => data(json!({"time": 1_700_000_000, "localtime": 1_700_003_600})),
            ("GET", "/nodes/pve1/qemu/100/snapshot") => data(json!([{"name": "s1", "snaptime": 1_700_000_000}])),
            ("GET", "/access/users/bob@pve/token/t1") => data(json!({"privsep": 1})),
            ("GET", "/access/acl") => data(json!([{"ugid": "bob@pve", "path": "/", "roleid": "PVEAdmin"}])),
            ("GET", "/nodes/pve1/network") => data(json!([{"iface": "vmbr0", "type": "bridge"}])),
            ("POST" | "PUT", _) => data(Value::Null),
            _ => None,
        }
    });
    let server = product(vec![ClusterConfig { policy: open_policy(), ..node.cluster_settings() }]);
    let rule = json!({"type": "in", "action": "ACCEPT", "enable": 1});
    let text = make(&server, "POST /nodes/pve1/qemu/100/firewall/rules", rule).text;
    assert!(text.contains("no effect yet: the firewall of the data center is off"), "{text}");
    assert!(text.contains("no effect yet: no network card of the guest has firewall=1"), "{text}");
    let card = json!({"net0": "virtio=AA,bridge=vmbr0,tag=5,firewall=1"});
    let text = make(&server, "PUT /nodes/pve1/qemu/100/config", card).text;
    assert!(text.contains("net0: bridge vmbr0 of pve1 is not VLAN-aware"), "{text}");
    assert!(text.contains("no effect yet: the firewall of the data center is off"), "{text}");
    let text = make(&server, "PUT /nodes/pve1/qemu/100/config", json!({"ipconfig0": "ip=dhcp"})).text;
    assert!(text.contains("no effect: the VM has no cloud-init drive"), "{text}");
    let text = make(&server, "POST /access/users/bob@pve/token/t1", json!({})).text;
    assert!(text.contains("the token may do nothing until PUT /access/acl with tokens=bob@pve!t"), "{text}");
    // A time is in the zone of the node.
    let text = make(&server, "POST /nodes/pve1/qemu/100/snapshot", json!({"snapname": "s1"})).text;
    assert!(text.contains(" has snapshot \"s1\" of 2023-11-14T23:13:20+01:00"), "{text}");
}

#[test]
fn guest_is_waited_for_until_it_has_a_state() {
    let (_demo, server) = start_open_demo();
    assert_eq!(wait(&server, "web01 running"), "OK: VM 100 \"web01\" is running on pve1");
    assert_eq!(wait(&server, "106 stopped"), "OK: VM 106 \"staging01\" is stopped on pve2");
    assert_eq!(wait(&server, "web01 unlocked"), "OK: VM 100 \"web01\" is running on pve1, unlocked");
    assert!(
        wait(&server, "gitlab ha started").starts_with("OK: VM 104 \"gitlab\" is running on pve2; HA state started")
    );
    let not_yet = wait(&server, "staging01 running");
    assert!(not_yet.starts_with("NOT YET running: VM 106 \"staging01\" is stopped on pve2."), "{not_yet}");
    make(&server, "POST /qemu/staging01/status/start", json!({}));
    assert_eq!(wait(&server, "staging01 running"), "OK: VM 106 \"staging01\" is running on pve2");
    let unknown = call(&server, "wait_for_task", json!({"upid": "nothing-like-it running"}));
    assert!(unknown.failed && unknown.text.contains("no guest `nothing-like-it`"), "{unknown:?}");
}

#[test]
fn items_are_added_to_a_list_and_removed_from_it() {
    let (_demo, server) = start_open_demo();
    let tags = |server: &McpServer| {
        call(server, "proxmox_api_get", json!({"path": "/qemu/web01/config", "fields": "tags"})).text
    };
    make(&server, "PUT /qemu/web01/config", json!({"tags": "+new,-web"}));
    assert_eq!(tags(&server), "tags: prod;new");
    make(&server, "PUT /qemu/web01/config", json!({"tags": ["-prod", "-new"]}));
    assert_eq!(tags(&server), "tags: not set");
}

#[test]
fn items_of_a_list_option_are_added_by_each_call_to_what_earlier_calls_leave() {
    let (_demo, server) = start_open_demo();
    let make = |calls: &[(&str, &str)]| {
        let to_call = |(path, tags): &(&str, &str)| match *tags {
            "" => json!({"path": path, "method": "POST", "data": {"newid": 140, "name": "copy"}}),
            tags => json!({"path": path, "method": "PUT", "data": {"tags": tags}}),
        };
        let calls: Vec<Value> = calls.iter().map(to_call).collect();
        let plan = call(&server, "proxmox_api_call", json!({"calls": calls, "dry_run": true}));
        assert!(!plan.failed, "{plan:?}");
        let result = call(&server, "proxmox_api_call", json!({"calls": calls}));
        assert!(!result.failed, "{result:?}");
        plan.text
    };
    let tags = |guest: &str| {
        let path = format!("/qemu/{guest}/config");
        call(&server, "proxmox_api_get", json!({"path": path, "fields": "tags"})).text
    };
    let vm = "/qemu/web01/config";
    let plan = make(&[(vm, "+x"), (vm, "+y,-web"), (vm, "-x")]);
    assert!(plan.contains("prod;x;y") && plan.contains("prod;y"), "{plan}");
    assert_eq!(tags("web01"), "tags: prod;y");
    make(&[("/nodes/pve1/qemu/100/clone", ""), ("/qemu/copy/config", "+test"), ("/qemu/140/config", "-prod")]);
    assert_eq!(tags("140"), "tags: y;test");
}

#[test]
fn numbers_are_added_to_the_present_ones() {
    let (_demo, server) = start_open_demo();
    let read = |path: &str, field: &str| call(&server, "proxmox_api_get", json!({"path": path, "fields": field})).text;
    let put = |path: &str, data: Value| json!({"path": path, "method": "PUT", "data": data});
    let mut dry = put("/qemu/staging01/config", json!({"memory": "+1024", "cores": "-1"}));
    dry["dry_run"] = true.into();
    let plan = call(&server, "proxmox_api_call", dry).text;
    assert!(plan.contains("memory: 4096 → 5120") && plan.contains("cores: 2 → 1"), "{plan}");
    assert!(plan.contains("PUT /nodes/pve2/qemu/106/config digest="), "guarded by the digest: {plan}");
    make(&server, "PUT /qemu/staging01/config", json!({"memory": "+1024"}));
    assert_eq!(read("/qemu/staging01/config", "memory"), "memory: 5120");
    make(&server, "PUT /lxc/204/config", json!({"swap": "-256", "cpuunits": 500}));
    assert_eq!(read("/lxc/204/config", "swap"), "swap: 256");
    let calls = json!([
        {"path": "/nodes/pve2/qemu/106/clone", "method": "POST", "data": {"newid": 140, "name": "copy"}},
        put("/qemu/140/config", json!({"memory": "+1G"})),
        put("/qemu/106/config", json!({"memory": "-1024"})),
        put("/qemu/106/config", json!({"memory": "-1024"})),
    ]);
    let plan = call(&server, "proxmox_api_call", json!({"calls": calls, "dry_run": true})).text;
    assert!(plan.contains("5120 → 4096") && plan.contains("4096 → 3072"), "{plan}");
    let result = call(&server, "proxmox_api_call", json!({"calls": calls}));
    assert!(!result.failed && result.text.contains("now has memory 6144"), "{result:?}");
    assert_eq!(read("/qemu/106/config", "memory"), "memory: 3072");
    for (data, reason) in [
        (json!({"memory": "-4096"}), "`memory` would be -1024, and must be at least 16"),
        (json!({"cpulimit": "+1"}), "`cpulimit` is 0 now"),
        (json!({"balloon": "+512"}), "`balloon` has no number now"),
    ] {
        let result = call(&server, "proxmox_api_call", put("/qemu/106/config", data));
        assert!(result.failed && result.text.contains(reason), "{reason}: {result:?}");
    }
}

#[test]
fn misleading_answers_are_set_right() {
    let (_demo, server) = start_open_demo();
    let read = |path: &str| call(&server, "proxmox_api_get", json!({"path": path})).all_text();
    assert!(!read("/cluster/backup-info/not-backed-up").contains("disabled"));
    make(&server, "PUT /cluster/backup/backup-nightly", json!({"enabled": false}));
    let text = read("/cluster/backup-info/not-backed-up");
    assert!(text.contains("job backup-nightly (100,101,102,103,104,200,201,202,203) is disabled"), "{text}");
}
