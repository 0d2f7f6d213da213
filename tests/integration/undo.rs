//! The undo that a plan and the answer of a change offer: sent as it is, it brings the old state back.

use crate::support::test_tools::start_open_demo;
use crate::support::tool::{as_json, call};
use proxmox_mcp::mcp::McpServer;
use serde_json::{Value, json};

/// Returns the arguments of a call. `line` is its method and path.
fn arguments(line: &str, data: &Value) -> Value {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    json!({"path": path, "method": method, "data": data, "wait": true})
}

/// Returns the object of a path without what changes with every change.
fn read(server: &McpServer, path: &str, fields: &str) -> Value {
    let result = call(server, "proxmox_api_get", as_json(json!({"path": path, "fields": fields})));
    assert!(!result.failed, "{result:?}");
    let mut value: Value = serde_json::from_str(&result.text).expect("JSON");
    let rows = if let Value::Array(rows) = &mut value { rows.iter_mut().collect() } else { vec![&mut value] };
    for row in rows.into_iter().filter_map(Value::as_object_mut) {
        row.remove("digest");
        // (PVE: an option may be a number or a text.)
        row.values_mut().filter(|value| value.is_number()).for_each(|value| *value = value.to_string().into());
        // (PVE: the options of a disk have an order of their own.)
        for (_, disk) in row.iter_mut().filter(|(name, _)| name.starts_with("scsi") || name.starts_with("ide")) {
            let mut parts: Vec<&str> = disk.as_str().unwrap_or_default().split(',').collect();
            parts.sort_unstable();
            *disk = parts.join(",").into();
        }
    }
    value
}

/// Returns the line of a text that begins with this word.
fn line_of<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(start))
}

/// Parses an undo, as a model reads it.
fn parse_undo(text: &str) -> (String, Value) {
    let text = text.rsplit_once(" (").filter(|(_, end)| end.ends_with(')')).map_or(text, |(text, _)| text);
    match text.split_once(" {") {
        Some((line, data)) => (line.to_owned(), serde_json::from_str(&format!("{{{data}")).expect("JSON")),
        None => (text.to_owned(), json!({})),
    }
}

/// Changes, each with the path and the fields of the object that it changes.
fn changes() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let backup_job = json!({"id": "weekly", "schedule": "sun 03:00", "vmid": "106", "storage": "nas"});
    let grant = json!({"path": "/vms/100", "roles": "PVEVMAdmin", "users": "alice@pve"});
    let rule = json!({"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "22"});
    vec![
        ("PUT /qemu/web01/config", json!({"memory": 4096, "onboot": false}), "/qemu/web01/config", "*"),
        ("PUT /qemu/web01/config", json!({"description": "x", "delete": "tags"}), "/qemu/web01/config", "*"),
        ("PUT /qemu/web01/config", json!({"net0": "virtio,bridge=vmbr0"}), "/qemu/web01/config", "*"),
        ("PUT /qemu/web01/config", json!({"ciuser": "ada", "cores": 2}), "/qemu/web01/config", "*"),
        ("POST /qemu/web01/config", json!({"cores": 2, "name": "other"}), "/qemu/100/config", "*"),
        ("PUT /lxc/200/config", json!({"memory": 1024, "cpulimit": 2}), "/lxc/200/config", "*"),
        ("POST /qemu/web01/snapshot", json!({"snapname": "s1"}), "/qemu/web01/snapshot", "name,parent"),
        ("POST /qemu/staging01/status/start", json!({}), "/qemu/106/status/current", "status"),
        ("POST /qemu/web01/status/shutdown", json!({}), "/qemu/100/status/current", "status"),
        ("POST /qemu/staging01/clone", json!({"newid": 900}), "/cluster/resources?type=vm", "vmid,name,node"),
        ("POST /nodes/pve1/qemu", json!({"vmid": 901, "memory": 512}), "/cluster/resources?type=vm", "vmid,name,node"),
        (
            "POST /qemu/web01/migrate",
            json!({"target": "pve2", "online": true}),
            "/cluster/resources?type=vm",
            "vmid,node,status",
        ),
        ("POST /cluster/ha/resources", json!({"sid": "vm:100"}), "/cluster/ha/resources", "sid,state"),
        ("PUT /qemu/staging01/config", json!({"delete": "scsi0"}), "/qemu/106/config", "*"),
        ("PUT /qemu/staging01/unlink", json!({"idlist": "scsi0"}), "/qemu/106/config", "*"),
        ("PUT /qemu/staging01/config", json!({"ide2": "none,media=cdrom"}), "/qemu/106/config", "*"),
        ("PUT /cluster/ha/resources/vm:104", json!({"comment": "x"}), "/cluster/ha/resources/vm:104", "*"),
        ("PUT /pools/prod", json!({"vms": "104"}), "/cluster/resources?type=vm", "vmid,pool"),
        ("PUT /access/acl", grant, "/access/acl", "*"),
        ("POST /cluster/backup", backup_job, "/cluster/backup", "*"),
        ("PUT /cluster/backup/backup-nightly", json!({"schedule": "03:00"}), "/cluster/backup", "id,schedule"),
        ("POST /qemu/web01/firewall/rules", rule, "/qemu/web01/firewall/rules", "*"),
    ]
}

#[test]
fn undo_brings_the_old_state_back() {
    for (change, data, path, fields) in changes() {
        let (_demo, server) = start_open_demo();
        let before = read(&server, path, fields);
        let mut plan = arguments(change, &data);
        plan["dry_run"] = true.into();
        let plan = call(&server, "proxmox_api_call", plan);
        let planned = line_of(&plan.text, "Undo: ").unwrap_or_else(|| panic!("{change}: no undo in {plan:?}"));
        let result = call(&server, "proxmox_api_call", arguments(change, &data));
        assert!(!result.failed, "{change}: {result:?}");
        assert_ne!(read(&server, path, fields), before, "{change} changes nothing");
        let offered = line_of(&result.text, "undo: ").unwrap_or_else(|| panic!("{change}: no undo in {result:?}"));
        let (line, mut undo) = parse_undo(offered);
        let undone = call(&server, "proxmox_api_call", arguments(&line, &undo));
        assert!(!undone.failed, "{offered}: {undone:?}");
        assert_eq!(read(&server, path, fields), before, "{offered}");
        undo.as_object_mut().expect("an object").remove("digest");
        assert_eq!(parse_undo(planned), (line, undo), "the plan says the same");
    }
}

/// Sends a change of a VM's disks that must succeed.
fn change_disks(server: &McpServer, line: &str, data: Value) -> String {
    let result = call(server, "proxmox_api_call", arguments(line, &data));
    assert!(!result.failed, "{line} {data}: {result:?}");
    result.text
}

#[test]
fn undo_of_an_attached_disk_detaches_it() {
    let (_demo, server) = start_open_demo();
    let config = "PUT /qemu/106/config";
    change_disks(&server, "POST /qemu/106/config", json!({"scsi1": "local-lvm:4"}));
    let disk = read(&server, "/qemu/106/config", "*")["scsi1"].clone();
    change_disks(&server, config, json!({"delete": "scsi1"}));
    let detached = read(&server, "/qemu/106/config", "*");
    let text = change_disks(&server, config, json!({"scsi1": disk}));
    let (line, undo) = parse_undo(line_of(&text, "undo: ").expect("an undo"));
    assert_eq!(read(&server, "/qemu/106/config", "*")["unused0"], Value::Null);
    change_disks(&server, &line, undo);
    assert_eq!(read(&server, "/qemu/106/config", "*"), detached);
}

#[test]
fn undo_of_a_moved_disk_says_that_the_copy_stays() {
    let (_demo, server) = start_open_demo();
    let before = read(&server, "/qemu/106/config", "*");
    let text = change_disks(&server, "POST /qemu/106/move_disk", json!({"disk": "scsi0", "storage": "nas"}));
    let offered = line_of(&text, "undo: ").expect("an undo");
    assert!(offered.ends_with("(the new copy stays as an unused disk)"), "{offered}");
    let (line, undo) = parse_undo(offered);
    change_disks(&server, &line, undo);
    let after = read(&server, "/qemu/106/config", "*");
    assert_eq!(after["scsi0"], before["scsi0"]);
    assert_eq!(after["unused1"], "nas:106/vm-106-disk-0.raw");
}

#[test]
fn undo_is_refused_after_a_later_change() {
    let (_demo, server) = start_open_demo();
    let change = |data: Value| call(&server, "proxmox_api_call", arguments("PUT /qemu/web01/config", &data));
    let first = change(json!({"memory": 4096}));
    assert!(!change(json!({"memory": 2048})).failed);
    let (line, undo) = parse_undo(line_of(&first.text, "undo: ").expect("an undo"));
    let undone = call(&server, "proxmox_api_call", arguments(&line, &undo));
    assert!(undone.failed && undone.text.contains("Nothing was changed"), "{undone:?}");
}

#[test]
fn no_undo_is_offered_where_a_part_is_lost() {
    let (_demo, server) = start_open_demo();
    for (change, data) in [
        ("PUT /qemu/web01/config", json!({"cipassword": "correct horse"})),
        ("PUT /qemu/web01/config", json!({"scsi1": "local-lvm:8"})),
        ("PUT /qemu/web01/config", json!({"scsi0": "local-lvm:8"})),
        ("PUT /lxc/200/config", json!({"delete": "mp0"})),
        ("PUT /qemu/staging01/resize", json!({"disk": "scsi0", "size": "+1G"})),
        ("POST /qemu/web01/move_disk", json!({"disk": "scsi0", "storage": "local-lvm"})),
        ("POST /qemu/staging01/move_disk", json!({"disk": "scsi0", "storage": "nas", "delete": true})),
        ("PUT /qemu/web01/config", json!({"memory": 8192})),
        ("POST /qemu/web01/status/stop", json!({})),
        ("DELETE /qemu/staging01", json!({})),
        ("DELETE /qemu/staging01/snapshot/before-upgrade", json!({})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "nas"})),
        (
            "PUT /access/acl",
            json!({"path": "/pool/stage", "roles": "PVEVMAdmin", "groups": "operators", "delete": true}),
        ),
    ] {
        let mut plan = arguments(change, &data);
        plan["dry_run"] = true.into();
        let plan = call(&server, "proxmox_api_call", plan);
        assert!(!plan.failed && line_of(&plan.text, "Undo: ").is_none(), "{change} {data}: {plan:?}");
    }
}

#[test]
fn undo_of_a_list_leaves_out_what_the_list_removes_again() {
    let (_demo, server) = start_open_demo();
    for (calls, undone) in [
        (
            &[
                ("POST /qemu/web01/snapshot", json!({"snapname": "bb"})),
                ("DELETE /nodes/pve1/qemu/100/snapshot/bb", json!({})),
            ][..],
            &[][..],
        ),
        (
            &[
                ("POST /lxc/200/snapshot", json!({"snapname": "bb"})),
                ("PUT /nodes/pve1/lxc/200/snapshot/bb/config", json!({"description": "x"})),
                ("DELETE /nodes/pve1/lxc/200/snapshot/bb", json!({})),
            ],
            &[],
        ),
        (
            &[
                ("POST /access/users", json!({"userid": "zed@pve"})),
                ("PUT /access/users/zed@pve", json!({"comment": "x"})),
                ("DELETE /access/users/zed@pve", json!({})),
                ("PUT /qemu/106/config", json!({"description": "x"})),
            ],
            &["PUT /nodes/pve2/qemu/106/config"],
        ),
        (
            &[
                ("POST /cluster/ha/resources", json!({"sid": "106", "state": "ignored"})),
                ("DELETE /cluster/ha/resources/vm:106", json!({})),
            ],
            &[],
        ),
        (
            &[
                ("POST /pools", json!({"poolid": "p1", "comment": "a"})),
                ("POST /pools", json!({"poolid": "p2"})),
                ("DELETE /pools/p2", json!({})),
            ],
            &["DELETE /pools/p1"],
        ),
    ] {
        let list: Vec<Value> = calls.iter().map(|(line, data)| arguments(line, data)).collect();
        let list: Vec<Value> = list
            .iter()
            .map(|call| json!({"path": call["path"], "method": call["method"], "data": call["data"]}))
            .collect();
        let text = call(&server, "proxmox_api_call", json!({"calls": list, "wait": true})).text;
        let all = format!("{0} of {0} calls are done", calls.len());
        let undo = text.split_once("\n\nundo").map_or("", |(_, undo)| undo);
        let lines = undo.lines().filter(|line| line.contains(" /")).count();
        assert!(text.starts_with(&all) && lines == undone.len(), "{text}");
        assert!(undone.iter().all(|line| undo.contains(line)), "{text}");
    }
}

#[test]
fn undo_of_a_new_guest_deletes_it_with_a_password_and_when_it_runs() {
    let (_demo, server) = start_open_demo();
    let template = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
    let container =
        |start: bool| json!({"vmid": 901, "ostemplate": template, "password": "correct horse", "start": start});
    for (line, data, undo) in [
        ("POST /nodes/pve1/lxc", container(false), "DELETE /nodes/pve1/lxc/901"),
        ("POST /nodes/pve1/lxc", container(true), "DELETE /nodes/pve1/lxc/901 {\"force\":\"1\"}"),
        (
            "POST /nodes/pve1/qemu",
            json!({"vmid": 901, "start": true}),
            "DELETE /nodes/pve1/qemu/901 (stop the VM first: POST …/status/stop)",
        ),
        (
            "POST /access/users",
            json!({"userid": "new@pve", "password": "correct horse"}),
            "DELETE /access/users/new@pve",
        ),
    ] {
        let mut plan = arguments(line, &data);
        plan["dry_run"] = true.into();
        let plan = call(&server, "proxmox_api_call", plan);
        assert_eq!(line_of(&plan.text, "Undo: "), Some(undo), "{line} {data}: {plan:?}");
    }
}
