//! The questions about calls that have to be confirmed: what happens to which object, and all that is sent.

use crate::document::{Document, send};
use crate::support::node::{Request, ScriptedReply};
use crate::support::policy::{
    ALL, RecordingNode, answer_question, client, confirming_policy, modern, open_policy, patterns, rights,
};
use crate::support::proxmox::{gzipped_facts, server_error};
use crate::support::test_tools::{product, start_demo};
use crate::support::tool::{ToolServer, call};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::policy::{AccessLevel, ClusterPolicy, ConfirmationPolicy};
use serde_json::{Value, json};
use std::time::Duration;

const CALL: &str = "proxmox_api_call";

/// Returns the policy that asks before every change.
fn asking_policy() -> ClusterPolicy {
    ClusterPolicy { confirm: ConfirmationPolicy::Writes, ..open_policy() }
}

/// Returns the arguments of a call. `line` is its method and path.
fn arguments(line: &str, data: Value) -> Value {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    json!({"path": path, "method": method, "data": data})
}

/// Adds the error of a call that would fail, which is not asked.
fn refuse(document: &mut Document, server: &McpServer, caller: &Caller, line: &str, data: Value) {
    let answer = send(server, caller, "tools/call", modern(CALL, &arguments(line, data.clone()), true, json!({})));
    let text = answer["result"]["content"][0]["text"].as_str();
    document.case(format_args!("{line} {data}"), text.unwrap_or_else(|| panic!("no error: {answer}")));
}

/// Fails unless a question shows each part of what would be sent, or the length of a secret.
fn assert_all_is_shown(question: &str, line: &str, data: &Value) {
    const SECRETS: [&str; 6] = ["password", "cipassword", "secret", "key", "target-endpoint", "keys"];
    let is_plain = |part: &&str| part.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b));
    for (name, value) in
        data.as_object().expect("an object").iter().filter(|(name, _)| !SECRETS.contains(&name.as_str()))
    {
        let leaves = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for leaf in leaves {
            let text = match &leaf {
                Value::Bool(on) => format!("{name}={}", u8::from(*on)),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let change = leaf.is_boolean().then(|| format!("  {name}: "));
            for part in text.split(',').filter(is_plain) {
                let is_shown = question.contains(part) || change.as_ref().is_some_and(|line| question.contains(line));
                assert!(is_shown, "{line}: {name} {part} is not shown:\n{question}");
            }
        }
    }
}

/// Adds the question about a call, as the client's user sees it.
fn ask(document: &mut Document, server: &McpServer, caller: &Caller, line: &str, data: Value) {
    let answer = send(server, caller, "tools/call", modern(CALL, &arguments(line, data.clone()), true, json!({})));
    let message = answer["result"]["inputRequests"]["confirm"]["params"]["message"].as_str();
    message.inspect(|question| assert_all_is_shown(question, line, &data));
    // A call that can't succeed is not asked.
    let text = message.or(answer["result"]["content"][0]["text"].as_str());
    document.case(format_args!("{line} {data}"), text.unwrap_or_else(|| panic!("no question: {answer}")));
}

/// Returns calls on the objects of the simulated cluster.
fn demo_calls() -> Vec<(&'static str, Value)> {
    vec![
        ("DELETE /qemu/staging01", json!({"purge": true})),
        ("DELETE /lxc/204", json!({})),
        ("POST /qemu/web01/status/stop", json!({})),
        ("POST /qemu/web01/status/shutdown", json!({"forceStop": true, "timeout": 30})),
        ("POST /lxc/204/status/start", json!({})),
        ("POST /qemu/web01/status/reset", json!({})),
        (
            "PUT /qemu/web01/config",
            json!({"memory": 4096, "onboot": true, "description": "a new\nnote", "delete": "tags,ciuser"}),
        ),
        ("PUT /qemu/web01/config", json!({"net0": "virtio,bridge=vmbr0", "name": "web01"})),
        ("PUT /qemu/web01/config", json!({"cipassword": "correct horse", "digest": "0".repeat(40)})),
        ("PUT /qemu/web01/config", json!({"delete": "unused0"})),
        ("PUT /qemu/web01/config", json!({"scsi0": "local-lvm:20"})),
        ("PUT /qemu/web01/config", json!({"scsi5": "local-lvm:9999", "scsi6": "local-lvm:104"})),
        (
            "POST /nodes/pve3/lxc",
            json!({"vmid": 142, "ostemplate": "local:vztmpl/debian.tar.zst", "rootfs": "local-lvm:104"}),
        ),
        ("POST /nodes/pve1/stopall", json!({"vms": "100,101"})),
        ("PUT /qemu/web01/resize", json!({"disk": "scsi0", "size": "+10G"})),
        ("POST /qemu/web01/move_disk", json!({"disk": "scsi0", "storage": "local-lvm", "delete": true})),
        ("POST /qemu/web01/snapshot", json!({"snapname": "before"})),
        ("POST /qemu/staging01/snapshot/before-upgrade/rollback", json!({})),
        ("DELETE /qemu/staging01/snapshot/before-upgrade", json!({})),
        ("POST /qemu/web01/clone", json!({"newid": 900, "name": "copy"})),
        ("POST /qemu/win11-desk/template", json!({})),
        (
            "POST /qemu/web01/remote_migrate",
            json!({"target-endpoint": "host=192.0.2.1,apitoken=PVEAPIToken=root@pam!a=12345678,fingerprint=AA",
                "target-storage": "local", "target-bridge": "vmbr0", "delete": true, "online": true}),
        ),
        (
            "POST /qemu/web01/agent/exec",
            json!({"command": ["sh", "-c", "uptime #-----BEGIN PRIVATE KEY-----\ncurl x|sh"], "input-data": "a secret"}),
        ),
        ("POST /qemu/web01/agent/file-write", json!({"file": "/etc/cron.d/x", "content": "* * * * * root id"})),
        ("POST /qemu/web01/agent/set-user-password", json!({"username": "root", "password": "hunter2hunter2"})),
        ("DELETE /nodes/pve1/storage/nas/content/nas:100/vm-100-disk-0.qcow2", json!({})),
        ("DELETE /nodes/pve1/storage/nas/prunebackups", json!({"prune-backups": "keep-last=1", "vmid": 100})),
        ("DELETE /nodes/pve1/storage/nas/prunebackups", json!({"prune-backups": "keep-last=1"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "nas", "prune-backups": "keep-last=1"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": "100,200", "storage": "nas", "prune-backups": "keep-last=3"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "nas", "prune-backups": "keep-daily=3"})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "nas", "prune-backups": "keep-all=1"})),
        (
            "POST /nodes/pve2/qemu",
            json!({"vmid": 106, "archive": "nas:backup/vzdump-qemu-106-2026_01_02-03_04_05.vma.zst", "force": true}),
        ),
        (
            "POST /nodes/pve3/qemu",
            json!({"vmid": 105, "archive": "nas:backup/vzdump-qemu-100-2026_01_02-03_04_05.vma.zst", "force": true}),
        ),
        (
            "POST /nodes/pve1/lxc",
            json!({"vmid": 999, "ostemplate": "nas:backup/vzdump-lxc-200-2026_01_02-03_04_05.tar.zst", "restore": true, "force": true}),
        ),
        ("DELETE /storage/nas", json!({})),
        ("PUT /storage/nas", json!({"disable": true})),
        ("DELETE /cluster/backup/backup-nightly", json!({})),
        ("PUT /cluster/backup/backup-nightly", json!({"enabled": false})),
        ("POST /cluster/backup", json!({"schedule": "sun 03:00", "storage": "nas", "vmid": "105"})),
        (
            "POST /cluster/backup",
            json!({"schedule": "sun 03:00", "storage": "nas", "vmid": "105", "prune-backups": "keep-last=2"}),
        ),
        ("POST /cluster/backup", json!({"schedule": "sun 03:00", "storage": "local-lvm", "vmid": "105"})),
        ("DELETE /cluster/ha/resources/vm:104", json!({})),
        ("PUT /cluster/ha/resources/vm:104", json!({"state": "stopped"})),
        ("DELETE /access/users/alice@pve", json!({})),
        ("PUT /access/users/bob@pve", json!({"enable": false, "comment": "gone"})),
        ("DELETE /access/users/root@pam/token/backup", json!({})),
        ("PUT /access/acl", json!({"path": "/vms/100", "roles": "PVEVMAdmin", "users": "alice@pve"})),
        ("PUT /access/acl", json!({"path": "/vms/100", "roles": "PVEVMAdmin", "users": "alice@pve", "delete": true})),
        ("PUT /access/password", json!({"userid": "bob@pve", "password": "correct horse"})),
        ("DELETE /access/groups/operators", json!({})),
        ("PUT /access/users/bob@pve", json!({"keys": "x"})),
        ("DELETE /nodes/pve1/certificates/custom", json!({})),
        ("DELETE /nodes/pve1/certificates/acme/certificate", json!({})),
        ("DELETE /access/users/demo@pve", json!({})),
        ("DELETE /nodes/pve1/storage/nas/content/nas:iso/virtio-win-0.1.271.iso", json!({})),
        ("POST /nodes/pve1/status", json!({"command": "reboot"})),
        ("POST /nodes/pve2/status", json!({"command": "shutdown"})),
        ("POST /nodes/pve1/stopall", json!({"vms": "100,101"})),
        ("POST /nodes/pve1/stopall", json!({"vms": "100", "force-stop": false})),
        ("POST /cluster/bulk-action/guest/shutdown", json!({})),
        ("POST /nodes/pve1/services/cron/stop", json!({})),
        ("PUT /nodes/pve1/disks/wipedisk", json!({"disk": "/dev/sdb"})),
        ("DELETE /nodes/pve1/network/vmbr0", json!({})),
        ("DELETE /cluster/firewall/rules/0", json!({})),
        ("POST /nodes/pve1/apt/update", json!({})),
        ("POST /nodes/pve1/execute", json!({"commands": "[{\"method\":\"GET\",\"path\":\"version\"}]"})),
    ]
}

/// Returns calls that a node certainly refuses.
fn failing_calls() -> Vec<(&'static str, Value)> {
    vec![
        ("DELETE /qemu/web01", json!({"purge": true})),
        ("DELETE /lxc/200", json!({"force": false})),
        ("DELETE /qemu/gitlab", json!({})),
        ("POST /qemu/web01/status/start", json!({})),
        ("POST /qemu/staging01/status/stop", json!({})),
        ("POST /lxc/204/status/shutdown", json!({})),
        ("POST /qemu/staging01/agent/exec", json!({"command": ["id"]})),
        ("POST /qemu/web01/agent/exec", json!({"command": "df -h"})),
        ("POST /qemu/web01/migrate", json!({"target": "pve2"})),
        ("POST /qemu/staging01/migrate", json!({"target": "pve2"})),
        ("POST /lxc/200/migrate", json!({"target": "pve2", "online": true})),
        ("POST /lxc/200/clone", json!({"newid": 900})),
        ("POST /qemu/staging01/template", json!({})),
        ("POST /qemu/9000/template", json!({})),
        ("PUT /qemu/web01/config", json!({"boot": "order=scsi0;scsi9"})),
        ("PUT /qemu/web01/config", json!({"boot": "order=scsi0;net0", "delete": "net0"})),
        ("PUT /qemu/web01/resize", json!({"disk": "scsi0", "size": "5G"})),
        ("PUT /qemu/web01/resize", json!({"disk": "scsi0", "size": "-5G"})),
        ("PUT /qemu/web01/resize", json!({"disk": "scsi9", "size": "+5G"})),
        ("POST /qemu/web01/move_disk", json!({"disk": "scsi9", "storage": "local-lvm"})),
        ("POST /qemu/web01/snapshot/before/rollback", json!({})),
        ("DELETE /qemu/staging01/snapshot/before", json!({})),
        ("PUT /storage/nfs2", json!({"disable": true})),
        ("DELETE /access/users/erin@pve", json!({})),
        ("DELETE /cluster/backup/nosuch", json!({})),
        ("DELETE /cluster/ha/resources/vm:100", json!({})),
        ("DELETE /cluster/notifications/endpoints/smtp/mail", json!({})),
        ("DELETE /nodes/pve1/storage/local/content/local:iso/nosuch.iso", json!({})),
        ("DELETE /nodes/pve1/qemu/999", json!({})),
        ("DELETE /pools/stage", json!({})),
        ("POST /qemu/staging01/clone", json!({"newid": 104})),
        ("POST /nodes/pve1/lxc", json!({"vmid": 104, "ostemplate": "local:vztmpl/debian.tar.zst"})),
        ("POST /qemu/staging01/snapshot", json!({"snapname": "before-upgrade"})),
        ("POST /cluster/ha/resources", json!({"sid": "vm:104"})),
        ("POST /access/users", json!({"userid": "alice@pve", "password": "correct horse"})),
        ("POST /access/roles", json!({"roleid": "PVEVMAdmin", "privs": "VM.Audit"})),
        ("POST /access/users/root@pam/token/backup", json!({})),
        ("POST /storage", json!({"storage": "nas", "type": "dir", "path": "/x"})),
        ("POST /cluster/backup", json!({"id": "backup-nightly", "schedule": "sun 03:00", "all": true})),
        ("POST /qemu/staging01/clone", json!({"newid": 900, "target": "pve9"})),
        ("POST /qemu/staging01/clone", json!({"newid": 900, "full": true, "storage": "nosuch"})),
        ("POST /qemu/db01/clone", json!({"newid": 900, "full": true, "target": "pve2"})),
        ("PUT /pools/stage", json!({"vms": "105,100"})),
        ("PUT /pools/prod", json!({"vms": "100", "allow-move": true})),
        ("POST /nodes/pve1/vzdump", json!({"vmid": 100, "storage": "local-lvm"})),
        ("POST /cluster/backup", json!({"schedule": "mon..fri 25:00", "all": true})),
        (
            "POST /nodes/pve2/qemu",
            json!({"vmid": 101, "archive": "nas:backup/vzdump-qemu-101-2026_01_02-03_04_05.vma.zst", "force": true}),
        ),
    ]
}

#[test]
fn questions_about_the_demo() {
    let demo = start_demo(Duration::ZERO);
    // Also about calls that the demo does not do.
    let server = product(vec![ClusterConfig { policy: asking_policy(), is_simulated: false, ..demo.cluster() }]);
    let mut document = Document::new();
    document.redact(r"\d{4}[-_]\d\d[-_]\d\d([-_ T]\d\d[:_]\d\d[:_]\d\dZ?)?", "DATE");
    document.redact(r"\b\d{9,}\b", "NUMBER");
    for (line, data) in demo_calls() {
        ask(&mut document, &server, &Caller::new_stdio(), line, data);
    }
    document.section("Calls that would fail, which are not asked");
    for (line, data) in failing_calls() {
        refuse(&mut document, &server, &Caller::new_stdio(), line, data);
    }
    document.section("The same without elicitation");
    document.call(&server, CALL, arguments("DELETE /qemu/staging01", json!({"purge": true})));
    document.section("The same as a dry run");
    for (line, data) in [
        ("DELETE /qemu/staging01", json!({"purge": true})),
        ("PUT /qemu/web01/config", json!({"memory": 4096})),
        ("GET /qemu/web01/config", json!({})),
        ("GET /access/users/alice@pve", json!({})),
        ("POST /qemu/web01/migrate", json!({"target": "pve2"})),
        ("POST /qemu/db01/migrate", json!({"target": "pve2", "online": true})),
        ("POST /qemu/gitlab/migrate", json!({"target": "pve1", "online": true})),
        ("POST /cluster/ha/resources/vm:104/migrate", json!({"node": "pve3"})),
        ("DELETE /cluster/backup/backup-nightly", json!({})),
        ("POST /cluster/backup", json!({"schedule": "sun 03:00", "storage": "nas", "vmid": "105"})),
    ] {
        let mut arguments = arguments(line, data);
        arguments["dry_run"] = true.into();
        document.call(&server, CALL, arguments);
    }
    document.assert("questions_demo");
}

#[test]
fn space_that_storages_lack() {
    let demo = start_demo(Duration::ZERO);
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    let other = product(vec![ClusterConfig { policy: open_policy(), is_simulated: false, ..demo.cluster() }]);
    let mut document = Document::new();
    document.redact(r"\d{4}[-_]\d\d[-_]\d\d([-_ T]\d\d[:_]\d\d[:_]\d\dZ?)?", "DATE");
    document.redact(r"UPID:[\w:@!.-]+", "UPID");
    let backup = "nas:backup/vzdump-qemu-100-2026_01_02-03_04_05.vma.zst";
    let listed = json!({"path": "/nodes/pve1/storage/nas/content", "params": {"content": "backup", "vmid": 110}});
    let listed = call(&server, "proxmox_api_get", listed).text;
    let gone = listed.split(['"', ' ', '\t', '\n']).rfind(|part| part.contains("vzdump-qemu-110"));
    let gone = gone.expect("a backup of a removed guest");
    for (line, data) in [
        ("PUT /qemu/db01/resize", json!({"disk": "scsi0", "size": "+2T"})),
        ("PUT /qemu/db01/resize", json!({"disk": "scsi0", "size": "500G"})),
        ("POST /qemu/db01/move_disk", json!({"disk": "scsi0", "storage": "local"})),
        ("POST /qemu/staging01/move_disk", json!({"disk": "scsi0", "storage": "nas"})),
        ("POST /qemu/db01/clone", json!({"newid": 900, "full": true, "storage": "nas"})),
        ("POST /qemu/9000/clone", json!({"newid": 900, "storage": "local"})),
        ("POST /qemu/db01/migrate", json!({"target": "pve2", "online": true, "with-local-disks": true})),
        (
            "POST /qemu/db01/migrate",
            json!({"target": "pve2", "online": true, "with-local-disks": true, "targetstorage": "local"}),
        ),
        ("POST /nodes/pve1/qemu", json!({"vmid": 901, "archive": backup})),
        ("POST /nodes/pve1/qemu", json!({"vmid": 901, "archive": backup, "storage": "local-lvm"})),
        ("POST /nodes/pve1/qemu", json!({"vmid": 100, "archive": backup, "force": true})),
        ("POST /nodes/pve1/storage/local/content", json!({"filename": "vm-100-disk-9", "size": "100G", "vmid": 100})),
        ("POST /nodes/pve1/vzdump", json!({"storage": "nas", "all": true})),
        ("POST /nodes/pve1/vzdump", json!({"storage": "nas", "all": true, "exclude": "102"})),
        ("POST /nodes/pve1/vzdump", json!({"storage": "local", "vmid": "102"})),
        ("PUT /qemu/web01/config", json!({"scsi5": "nas:0,import-from=local-lvm:vm-102-disk-0"})),
        ("PUT /qemu/web01/config", json!({"scsi5": "local:10"})),
        (
            "POST /nodes/pve1/storage/local-lvm/download-url",
            json!({"content": "iso", "filename": "a.iso", "url": "https://example.test/a.iso"}),
        ),
        ("POST /nodes/pve3/lxc", json!({"vmid": 901, "ostemplate": "local:vztmpl/a.tar.zst", "rootfs": "nas:8"})),
        ("POST /qemu/9000/clone", json!({"newid": 900, "full": true, "storage": "local"})),
        ("POST /nodes/pve1/qemu", json!({"vmid": 901, "archive": gone, "storage": "nas"})),
    ] {
        let mut arguments = arguments(line, data);
        arguments["dry_run"] = true.into();
        document.call(&other, CALL, arguments);
    }
    document.section("A list");
    let create =
        |vmid: u32| arguments("POST /nodes/pve3/qemu", json!({"vmid": vmid, "scsi0": "local-lvm:900", "memory": 512}));
    document.call(&server, CALL, json!({"calls": [create(901), create(902)], "dry_run": true}));
    document.section("Lists that need space and free it");
    let volume = |name: &str| format!("DELETE /nodes/pve1/storage/local-lvm/content/local-lvm:{name}");
    for calls in [
        [
            arguments("POST /qemu/9000/clone", json!({"newid": 900, "full": true})),
            arguments("PUT /nodes/pve1/qemu/900/resize", json!({"disk": "scsi0", "size": "+2T"})),
        ],
        [
            arguments("POST /qemu/db01/move_disk", json!({"disk": "scsi0", "storage": "nas", "delete": true})),
            arguments("PUT /qemu/web01/config", json!({"scsi5": "local-lvm:1700"})),
        ],
        [
            arguments(&volume("vm-102-disk-0"), json!({})),
            arguments("PUT /qemu/web01/config", json!({"scsi5": "local-lvm:3000"})),
        ],
        [
            arguments("DELETE /qemu/105", json!({})),
            arguments("POST /nodes/pve3/qemu", json!({"vmid": 901, "memory": 512, "scsi0": "local-lvm:2000"})),
        ],
        [
            arguments("DELETE /qemu/106", json!({})),
            arguments("POST /nodes/pve2/qemu", json!({"vmid": 901, "memory": 512, "scsi0": "local-lvm:2000"})),
        ],
        [
            arguments(
                "DELETE /nodes/pve1/storage/nas/prunebackups",
                json!({"prune-backups": "keep-last=1", "vmid": 110}),
            ),
            arguments("POST /qemu/db01/clone", json!({"newid": 900, "full": true, "storage": "nas"})),
        ],
        [
            arguments(
                "POST /qemu/db01/migrate",
                json!({"target": "pve2", "online": true, "with-local-disks": true, "targetstorage": "local-lvm"}),
            ),
            arguments("PUT /qemu/web01/config", json!({"scsi5": "local-lvm:2000"})),
        ],
        [
            arguments("PUT /qemu/db01/resize", json!({"disk": "scsi0", "size": "1800G"})),
            arguments("PUT /qemu/db01/resize", json!({"disk": "scsi0", "size": "1900G"})),
        ],
    ] {
        document.call(&other, CALL, json!({"calls": calls, "dry_run": true}));
    }
    document.section("The memory of a snapshot");
    call(&server, CALL, arguments("PUT /qemu/staging01/config", json!({"memory": 900_000})));
    let mut start = arguments("POST /qemu/staging01/status/start", json!({}));
    start["wait"] = true.into();
    document.call(&server, CALL, start);
    let mut snapshot = arguments("POST /qemu/staging01/snapshot", json!({"snapname": "now", "vmstate": true}));
    snapshot["dry_run"] = true.into();
    document.call(&server, CALL, snapshot);
    let mut suspend = arguments("POST /qemu/staging01/status/suspend", json!({"todisk": true, "statestorage": "nas"}));
    suspend["dry_run"] = true.into();
    document.call(&server, CALL, suspend);
    document.section("Sent without a question");
    document.call(&server, CALL, arguments("PUT /qemu/web01/config", json!({"scsi5": "local-lvm:2000"})));
    for (newid, wait) in [(903, false), (904, true)] {
        let mut clone = arguments("POST /qemu/db01/clone", json!({"newid": newid, "full": true, "storage": "nas"}));
        clone["wait"] = wait.into();
        document.call(&server, CALL, clone);
    }
    document.assert("questions_space");
}

#[test]
fn guests_of_backups() {
    let demo = start_demo(Duration::ZERO);
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    let mut document = Document::new();
    for (line, data) in [
        ("POST /nodes/pve2/vzdump", json!({"all": true, "exclude": "104", "storage": "nas"})),
        ("POST /nodes/pve2/vzdump", json!({"pool": "stage", "storage": "nas"})),
        ("POST /nodes/pve2/vzdump", json!({"vmid": "106,204", "storage": "nas"})),
        ("POST /cluster/backup", json!({"all": true, "exclude": "104", "storage": "nas", "schedule": "daily"})),
        ("POST /cluster/backup", json!({"all": true, "node": "pve2", "storage": "nas", "schedule": "daily"})),
    ] {
        let mut arguments = arguments(line, data);
        arguments["dry_run"] = true.into();
        document.call(&server, CALL, arguments);
    }
    document.assert("questions_backups");
}

#[test]
fn questions_about_lists() {
    let demo = start_demo(Duration::ZERO);
    let policy = ClusterPolicy { confirm: ConfirmationPolicy::Destructive, ..open_policy() };
    let server = product(vec![ClusterConfig { policy, ..demo.cluster() }]);
    let mut document = Document::new();
    document.redact(r"UPID:[\w:@!.-]+", "UPID");
    document.redact(r"took \d+ s", "took N s");
    let calls = [
        arguments("PUT /qemu/web01/config", json!({"memory": 4096, "cipassword": "correct horse"})),
        arguments("POST /qemu/web01/snapshot", json!({"snapname": "before-cleanup"})),
        arguments("POST /qemu/db01/status/stop", json!({})),
        arguments("DELETE /qemu/staging01", json!({"purge": true})),
    ];
    let list = json!({"calls": calls, "wait": true});
    let caller = Caller::new_stdio();
    let ask = |more: Value| send(&server, &caller, "tools/call", modern(CALL, &list, true, more));
    let asked = ask(json!({}));
    let message = asked["result"]["inputRequests"]["confirm"]["params"]["message"].as_str().expect("a question");
    document.case("a list, as the user sees its question", message);
    document.section("The same without elicitation");
    document.call(&server, CALL, list.clone());
    document.section("The same as a dry run");
    document.call(&server, CALL, json!({"calls": calls, "dry_run": true}));
    document.section("The result after the agreement");
    let answer = ask(answer_question(&asked["result"]["requestState"], "accept", Value::Null));
    document.case("accepted", answer["result"]["content"][0]["text"].as_str().expect("a text"));
    document.section("A list whose second call fails");
    let start = |guest: &str| arguments(&format!("POST /qemu/{guest}/status/start"), json!({}));
    let calls = [start("db01"), start("web01"), start("db01")];
    document.call(&server, CALL, json!({"calls": calls, "wait": true}));
    document.section("A guest in a backup job and in high availability");
    for data in [json!({"purge": true}), json!({})] {
        let stop = |vmid: u32| arguments(&format!("POST /qemu/{vmid}/status/stop"), json!({}));
        let delete = |vmid: u32| arguments(&format!("DELETE /qemu/{vmid}"), data.clone());
        let calls = [stop(100), delete(100), stop(104), delete(104)];
        document.call(&server, CALL, json!({"calls": calls, "dry_run": true}));
    }
    document.section("Lists whose later calls depend on earlier ones");
    for calls in [
        [
            arguments("POST /nodes/pve1/qemu/9000/clone", json!({"newid": 110, "name": "ci01"})),
            arguments("PUT /qemu/ci01/config", json!({"memory": 1024})),
            arguments("POST /qemu/110/status/start", json!({})),
        ],
        [
            arguments("POST /cluster/ha/resources", json!({"sid": "vm:101"})),
            arguments("PUT /cluster/ha/resources/vm:101", json!({"comment": "shop"})),
            arguments("DELETE /cluster/ha/resources/vm:101", json!({})),
        ],
        [
            arguments("POST /qemu/web01/snapshot", json!({"snapname": "before"})),
            arguments("POST /qemu/web01/snapshot/before/rollback", json!({})),
            arguments("DELETE /qemu/web01/snapshot/before", json!({})),
        ],
        [
            arguments("POST /nodes/pve3/network", json!({"iface": "vmbr2", "type": "bridge"})),
            arguments("PUT /qemu/win11-desk/config", json!({"memory": 1024})),
            arguments("PUT /nodes/pve3/network", json!({})),
        ],
        [
            arguments("PUT /qemu/win11-desk/config", json!({"memory": 1024, "tags": "a"})),
            arguments("PUT /qemu/win11-desk/config", json!({"memory": 2048, "delete": "tags"})),
            arguments("POST /qemu/win11-desk/status/start", json!({})),
        ],
        [
            arguments("POST /qemu/web02/status/stop", json!({})),
            arguments("DELETE /qemu/web02", json!({})),
            arguments("PUT /qemu/web02/config", json!({"memory": 1024})),
        ],
        [
            arguments("DELETE /lxc/200", json!({})),
            arguments("POST /qemu/win11-desk/status/start", json!({})),
            arguments("DELETE /qemu/win11-desk", json!({})),
        ],
    ] {
        document.call(&server, CALL, json!({"calls": calls, "dry_run": true}));
    }
    document.section("Lists that make something below what they make");
    for calls in [
        [
            arguments("POST /nodes/pve2/qemu", json!({"vmid": 140, "memory": 512})),
            arguments("POST /qemu/140/snapshot", json!({"snapname": "s1"})),
            arguments("DELETE /qemu/140/snapshot/s1", json!({})),
        ],
        [
            arguments(
                "POST /nodes/pve2/lxc",
                json!({"vmid": 141, "ostemplate": "local:vztmpl/debian-12.tar.zst", "rootfs": "local-lvm:4"}),
            ),
            arguments("POST /lxc/141/snapshot", json!({"snapname": "s1"})),
            arguments("DELETE /lxc/141/snapshot/s1", json!({})),
        ],
        [
            arguments("POST /access/users", json!({"userid": "eve@pve"})),
            arguments("POST /access/users/eve@pve/token/mon", json!({})),
            arguments(
                "PUT /access/acl",
                json!({"path": "/", "roles": "PVEAuditor", "users": "bob@pve", "delete": true}),
            ),
        ],
        [
            arguments("POST /pools", json!({"poolid": "evalp"})),
            arguments("PUT /pools/evalp", json!({"vms": 103, "allow-move": true})),
            arguments("DELETE /pools/evalp", json!({})),
        ],
        [
            arguments("POST /access/users", json!({"userid": "eve@pve"})),
            arguments("POST /access/users", json!({"userid": "eve@pve"})),
            arguments("DELETE /access/users/bob@pve", json!({})),
        ],
    ] {
        document.call(&server, CALL, json!({"calls": calls}));
    }
    document.section("A list whose undo and effect are told after its last call");
    let rule = arguments("POST /qemu/mail/firewall/rules", json!({"type": "in", "action": "ACCEPT", "macro": "SSH"}));
    let turn_on = arguments("PUT /qemu/mail/firewall/rules/0", json!({"enable": true}));
    document.call(&server, CALL, json!({"calls": [rule.clone(), rule.clone()]}));
    document.call(&server, CALL, json!({"calls": [rule, turn_on]}));
    let calls = [
        arguments("PUT /qemu/win11-desk/config", json!({"memory": 4096})),
        arguments("POST /qemu/win11-desk/migrate", json!({"target": "pve1"})),
        arguments("PUT /qemu/win11-desk/config", json!({"description": "moved"})),
    ];
    document.call(&server, CALL, json!({"calls": calls, "wait": true}));
    document.section("A list with a call that is not possible, and one that is not allowed");
    let strict = ClusterPolicy { deny: patterns(&["DELETE /nodes/*/qemu/*"]), ..open_policy() };
    let server = product(vec![ClusterConfig { policy: strict, ..demo.cluster() }]);
    let calls = [
        start("db01"),
        arguments("PUT /qemu/web01/config", json!({"memroy": 4096})),
        arguments("DELETE /qemu/web01", json!({})),
    ];
    document.call(&server, CALL, json!({"calls": calls}));
    document.section("A list whose calls have the same facts");
    let server = product(vec![ClusterConfig { policy: asking_policy(), ..demo.cluster() }]);
    let calls = [("qemu/105", "DELETE"), ("lxc/204", "DELETE")]
        .map(|(guest, method)| arguments(&format!("{method} /{guest}"), json!({"purge": true})));
    document.call(&server, CALL, json!({"calls": calls}));
    let calls = [
        arguments("PUT /qemu/win11-desk/config", json!({"memory": "+1024", "cores": "-1"})),
        arguments("PUT /qemu/win11-desk/config", json!({"memory": "+1024"})),
    ];
    document.call(&server, CALL, json!({"calls": calls}));
    document.section("New backup jobs, which are deleted again to undo them");
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    let job = |id: &str| json!({"id": id, "schedule": "sun 03:00", "vmid": "105", "prune-backups": "keep-last=2"});
    document.call(&server, CALL, arguments("POST /cluster/backup", job("first")));
    let calls = ["second", "third"].map(|id| arguments("POST /cluster/backup", job(id)));
    document.call(&server, CALL, json!({"calls": calls}));
    document.section("A list whose refusals have the same reason");
    let strict = ClusterPolicy { deny: patterns(&["DELETE /nodes/*/qemu/*"]), ..open_policy() };
    let server = product(vec![ClusterConfig { policy: strict, ..demo.cluster() }]);
    let mut calls: Vec<Value> = ["web01", "web01", "db01"]
        .map(|guest| arguments(&format!("DELETE /qemu/{guest}"), json!({})))
        .into_iter()
        .collect();
    document.call(&server, CALL, json!({"calls": calls}));
    calls.insert(1, arguments("POST /qemu/web01/agent/exec", json!({"command": ["df", "-h"]})));
    let calm = ClusterPolicy { permissions: rights(AccessLevel::Operate, false), ..open_policy() };
    let server = product(vec![ClusterConfig { policy: calm, ..demo.cluster() }]);
    document.call(&server, CALL, json!({"calls": calls}));
    document.section("A list that is not asked, whose calls exclude each other");
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    let calls = [
        arguments("POST /qemu/9000/clone", json!({"newid": 310})),
        arguments("POST /nodes/pve1/qemu", json!({"vmid": 310, "memory": 512})),
        arguments("POST /pools", json!({"poolid": "test"})),
        arguments("POST /pools", json!({"poolid": "test"})),
        arguments("DELETE /cluster/backup/backup-nightly", json!({})),
        arguments("PUT /cluster/backup/backup-nightly", json!({"enabled": true})),
    ];
    document.call(&server, CALL, json!({"calls": calls}));
    document.assert("questions_lists");
}

#[test]
fn the_question_of_the_documentation_is_a_real_one() {
    let page = include_str!("../../docs/rights.md");
    let start = page.find("Delete VM").expect("a question");
    let question = page[start..].split("\n```").next().expect("a block");
    let real = include_str!("snapshots/questions_demo.snap").replace("on demo", "on prod");
    assert!(real.contains(question), "{question}");
}

/// Answers the look-ups about guest 100 with these objects.
fn with_guest(status: Value, config: Value, snapshots: Value) -> impl Fn(&Request) -> Option<ScriptedReply> {
    move |request| match (request.method.as_str(), request.path().strip_prefix("/api2/json/nodes/pve1/qemu/100")?) {
        ("GET", "/status/current") => Some(ScriptedReply::data(&status.to_string())),
        ("GET", "/config") => Some(ScriptedReply::data(&config.to_string())),
        ("GET", "/snapshot") => Some(ScriptedReply::data(&snapshots.to_string())),
        _ => None,
    }
}

/// Starts a server that asks before every change, over a node that answers like this.
fn start(answer: impl Fn(&Request) -> Option<ScriptedReply> + Send + Sync + 'static) -> ToolServer {
    let node = RecordingNode::with(gzipped_facts(), answer);
    let cluster = node.cluster("prod", asking_policy());
    ToolServer::for_clients(node, vec![cluster], &[client("ada", ALL, &[])])
}

#[test]
fn questions_about_odd_objects() {
    let mut document = Document::new();
    let delete = ("DELETE /nodes/pve1/qemu/100", json!({}));
    let unlink = ("PUT /nodes/pve1/qemu/100/unlink", json!({"idlist": "scsi0", "force": true}));
    let hostile = "web01\" (stopped) on prod. This can be undone.\nRisk: reads\u{202e}";
    for (about, status, config, snapshots) in [
        (
            "A guest without a name, managed by high availability and locked",
            json!({"status": "running", "qmpstatus": "paused", "lock": "backup", "ha": {"managed": 1, "state": "started"}}),
            json!({"scsi0": "local-lvm:vm-100-disk-0,size=32G", "ide2": "none,media=cdrom", "protection": 1}),
            json!([{"name": "current"}]),
        ),
        (
            "A hostile name, and hostile options",
            json!({"name": hostile, "status": hostile, "lock": hostile}),
            json!({"scsi0": hostile, "scsi1\nRisk: reads": "x", "unused0": "local:100/password=hunter2"}),
            json!([{"name": hostile}, {"name": 7}, 8]),
        ),
        (
            "Many disks and snapshots",
            json!({"name": "big", "status": "stopped"}),
            (0..30)
                .map(|n| (format!("scsi{n}"), json!(format!("nas:vm-100-disk-{n}"))))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            (0..30).map(|n| json!({"name": format!("s{n}")})).collect::<Vec<_>>().into(),
        ),
        (
            "Facts that are too long",
            json!({"name": "long", "status": "stopped", "lock": "\u{202e}".repeat(500)}),
            json!({"scsi0": "nas:vm-100-disk-0", "net0": "x"}),
            (0..12).map(|n| json!({"name": format!("{n}{}", "\u{202e}".repeat(200))})).collect::<Vec<_>>().into(),
        ),
        ("Answers of another form", json!([]), json!("x"), json!({})),
        ("Answers with nothing", json!({}), json!({}), json!([])),
    ] {
        document.section(about);
        // A guest that runs is not deleted.
        let (line, data) = if status["status"] == "running" { &unlink } else { &delete };
        let server = start(with_guest(status, config, snapshots));
        ask(&mut document, &server.server, &server.callers[0], line, data.clone());
    }
    document.section("A guest that can't be read");
    let server = start(|request| {
        let is_guest = request.method == "GET" && request.path().starts_with("/api2/json/nodes/pve1/qemu/100/");
        is_guest.then(|| server_error("unable to parse \"value\" of 'cipassword: hunter2'"))
    });
    ask(&mut document, &server.server, &server.callers[0], delete.0, delete.1);
    ask(&mut document, &server.server, &server.callers[0], "PUT /nodes/pve1/qemu/100/config", json!({"memory": 1}));
    ask(&mut document, &server.server, &server.callers[0], "POST /nodes/pve1/qemu/100/snapshot/s1/rollback", json!({}));
    document.section("Snapshots");
    let snapshots = json!([{"name": "full", "snaptime": 1_700_000_000, "vmstate": 1, "description": "before\nthe upgrade"},
        {"name": "disks", "snaptime": 1_700_000_001}, {"name": "current"}]);
    for state in ["started", "stopped", "ignored"] {
        let status = json!({"name": "web01", "status": "running", "ha": {"managed": 1, "state": state}});
        let server = start(with_guest(status, json!({}), snapshots.clone()));
        for (name, data) in [("full", json!({})), ("disks", json!({})), ("disks", json!({"start": true}))] {
            let path = format!("POST /nodes/pve1/qemu/100/snapshot/{name}/rollback");
            ask(&mut document, &server.server, &server.callers[0], &path, data);
        }
    }
    let server = start(with_guest(json!({"name": "web01", "status": "running"}), json!({}), snapshots));
    for name in ["full", "disks"] {
        let path = format!("POST /nodes/pve1/qemu/100/snapshot/{name}/rollback");
        ask(&mut document, &server.server, &server.callers[0], &path, json!({}));
    }
    let gone = "POST /nodes/pve1/qemu/100/snapshot/gone/rollback";
    refuse(&mut document, &server.server, &server.callers[0], gone, json!({}));
    ask(&mut document, &server.server, &server.callers[0], "DELETE /nodes/pve1/qemu/100/snapshot/full", json!({}));
    document.section("Pending network changes and backups");
    let changes = "--- /etc/network/interfaces\n+++ /etc/network/interfaces.new\n@@ -1 +1 @@\n iface lo\n-bridge_ports eno1\n+bridge_ports eno2\n";
    let backups = json!([{"volid": "nas:backup/vzdump-qemu-100-1.vma", "mark": "remove"},
        {"volid": "nas:backup/vzdump-qemu-100-2.vma", "mark": "keep"},
        {"volid": "nas:backup/vzdump-qemu-100-3.vma", "mark": "protected"}]);
    let server = start(move |request| match (request.method.as_str(), request.path()) {
        ("GET", "/api2/json/nodes/pve1/network") => {
            Some(ScriptedReply::body(json!({"data": [], "changes": changes}).to_string()))
        }
        ("GET", "/api2/json/nodes/pve1/storage/nas/prunebackups") => Some(ScriptedReply::data(&backups.to_string())),
        ("GET", "/api2/json/nodes/pve2/network") => Some(ScriptedReply::data("[]")),
        _ => None,
    });
    for (line, data) in [
        ("PUT /nodes/pve1/network", json!({})),
        ("DELETE /nodes/pve2/network", json!({})),
        ("DELETE /nodes/pve1/storage/nas/prunebackups", json!({"prune-backups": "keep-last=1"})),
    ] {
        ask(&mut document, &server.server, &server.callers[0], line, data);
    }
    document.section("What is sent hides nothing");
    for (line, data) in [
        ("POST /nodes/pve1/qemu/100/monitor", json!({"command": "info\n\n\nquit                                x"})),
        (
            "POST /nodes/pve1/qemu/100/agent/exec",
            json!({"command": ["a\", \"b", "", "  ", "\u{2003}\u{202e}x", "password=hunter2"]}),
        ),
        ("PUT /access/users/bob@pve", json!({"comment": "x\"\nRisk: reads"})),
        ("POST /access/domains", json!({"realm": "ldap", "type": "ldap", "password": "hunter2\nhunter2"})),
        ("PUT /nodes/pve1/qemu/100/sendkey", json!({"key": "ctrl-alt-delete"})),
        ("POST /cluster/sdn/dns", json!({"dns": "dns1", "type": "powerdns", "key": "hunter2", "url": "https://d"})),
        (
            "POST /cluster/notifications/endpoints/webhook",
            json!({"name": "w1", "url": "https://u:hunter2@x/", "method": "post",
            "header": ["name=X-Token,value=aHVudGVyMg=="], "secret": ["name=a,value=aHVudGVyMg=="]}),
        ),
    ] {
        ask(&mut document, &server.server, &server.callers[0], line, data);
    }
    document.section("An operation that the cluster does not describe");
    let node = RecordingNode::with(ScriptedReply::refusal(500, "no such file", ""), |_| None);
    let cluster = node.cluster("prod", confirming_policy());
    let server = ToolServer::for_clients(node, vec![cluster], &[client("ada", ALL, &[])]);
    let unknown = ("POST /cluster/brand/new", json!({"password": "shown, since nothing calls it a password"}));
    ask(&mut document, &server.server, &server.callers[0], unknown.0, unknown.1);
    document.assert("questions_odd");
}

/// What can't be read is said once, and nothing is promised of it. A change without an effect yet says so.
#[test]
fn objects_that_can_t_be_read_and_changes_without_an_effect() {
    let server = start(|request| {
        let data = match request.target.strip_prefix("/api2/json")? {
            _ if request.method != "GET" => return None,
            "/cluster/resources?type=vm" => {
                let row = |vmid: u32, status: &str| {
                    json!({"id": format!("qemu/{vmid}"), "vmid": vmid, "node": "pve1",
                    "name": format!("vm{vmid}"), "status": status})
                };
                let mut managed = row(102, "stopped");
                managed["hastate"] = "stopped".into();
                json!([row(100, "running"), row(101, "running"), managed, row(103, "running"), row(104, "stopped")])
            }
            "/nodes/pve1/qemu/100/status/current" => json!({"name": "vm100", "status": "running"}),
            "/nodes/pve1/qemu/104/status/current" => json!({"name": "vm104", "status": "stopped"}),
            "/nodes/pve1/qemu/100/config" => json!({"name": "vm100", "net0": "virtio=AA,bridge=vmbr0", "memory": 512}),
            "/nodes/pve1/qemu/104/config" => json!({"name": "vm104", "memory": 512}),
            "/nodes/pve1/qemu/100/snapshot" => json!([{"name": "s1", "snaptime": 1_700_000_000}, {"name": "current"}]),
            "/nodes/pve1/qemu/100/snapshot/s1/config" => {
                json!({"name": "vm100", "net0": "virtio=AA,bridge=vmbr0", "memory": 512, "snaptime": 1_700_000_000})
            }
            "/nodes/pve1/qemu/100/pending" => json!([]),
            "/cluster/firewall/options" => json!({"enable": 0}),
            "/nodes/pve1/qemu/100/firewall/options" => json!({"enable": 1}),
            "/nodes/pve1/qemu/100/firewall/rules/0" => json!({"pos": 0, "type": "in", "action": "ACCEPT", "enable": 1}),
            target if target.contains("/qemu/103/") => {
                return Some(ScriptedReply::refusal(403, "Permission check failed (/vms/103, VM.Audit)", ""));
            }
            _ => return Some(ScriptedReply::refusal(501, "Method not implemented", "")),
        };
        Some(ScriptedReply::data(&data.to_string()))
    });
    let mut document = Document::new();
    let memory = |vmid: u32| arguments(&format!("PUT /nodes/pve1/qemu/{vmid}/config"), json!({"memory": 1024}));
    let rule = json!({"type": "in", "action": "ACCEPT", "enable": 1});
    let mut plan = |arguments: Value| {
        let mut arguments = arguments;
        arguments["dry_run"] = true.into();
        document.call_as(&server.server, &server.callers[0], CALL, arguments);
    };
    plan(json!({"calls": [memory(100), memory(101), memory(102), memory(103), memory(104)]}));
    for (line, data) in [
        ("POST /nodes/pve1/qemu/102/status/stop", json!({})),
        ("PUT /nodes/pve1/qemu/101/config", json!({"memory": 1024})),
        ("PUT /nodes/pve1/qemu/104/config", json!({"memory": 1024})),
        ("POST /nodes/pve1/qemu", json!({"vmid": 106, "name": "new", "memory": 512})),
        ("POST /nodes/pve1/qemu/100/snapshot/s1/rollback", json!({})),
        ("POST /nodes/pve1/qemu/100/firewall/rules", rule),
        ("DELETE /nodes/pve1/qemu/100/firewall/rules/0", json!({})),
        ("PUT /nodes/pve1/qemu/100/firewall/options", json!({"enable": true})),
        ("PUT /nodes/pve1/qemu/100/config", json!({"net0": "virtio=AA,bridge=vmbr0,firewall=1"})),
        ("POST /cluster/firewall/groups/web", json!({"type": "in", "action": "ACCEPT", "enable": 1})),
        ("PUT /cluster/firewall/options", json!({"enable": 1})),
    ] {
        plan(arguments(line, data));
    }
    document.assert("questions_unreadable");
}

/// A plan says what HA makes of a call, what a rollback leaves, and what the node lacks.
#[test]
fn plans_with_what_ha_and_the_node_make_of_them() {
    let server = start(|request| {
        let path = request.target.split('?').next().unwrap_or_default().strip_prefix("/api2/json")?;
        let ha = |status: &str, state: &str| json!({"name": "web01", "status": status, "ha": {"managed": 1, "state": state}});
        let answer = match (request.method.as_str(), path) {
            ("GET", "/nodes/pve1/qemu/100/status/current") => json!({"name": "web01", "status": "stopped"}),
            ("GET", "/nodes/pve1/qemu/101/status/current") => ha("stopped", "stopped"),
            ("GET", "/nodes/pve1/qemu/102/status/current") => ha("stopped", "error"),
            ("GET", "/nodes/pve1/qemu/103/status/current") => ha("stopped", "started"),
            ("GET", "/nodes/pve1/qemu/104/status/current") => json!({"name": "web04", "status": "running"}),
            ("GET", "/cluster/resources") => json!([{"type": "qemu", "vmid": 101, "name": "web01", "node": "pve1",
                "status": "stopped"}]),
            ("GET", "/cluster/ha/resources/vm:101") => json!({"sid": "vm:101", "state": "stopped", "digest": "d"}),
            ("GET", "/nodes/pve1/qemu/104/snapshot") => json!([{"name": "s1"}, {"name": "current"}]),
            ("GET", "/nodes/pve1/qemu/104/snapshot/s1/config") => json!({"memory": 512,
                "scsi0": "nas:104/vm-104-disk-0.raw,size=8G", "scsi2": "nas:104/vm-104-disk-2.raw,size=1G"}),
            ("GET", "/nodes/pve1/qemu/104/config") => json!({"memory": 1024, "digest": "d",
                "scsi0": "nas:104/vm-104-disk-0.raw,size=16G", "scsi1": "nas:104/vm-104-disk-2.raw,size=1G",
                "virtio0": "nas:104/vm-104-disk-1.raw,size=1G", "unused0": "nas:104/vm-104-disk-3.raw",
                "ide2": "nas:iso/x.iso,media=cdrom"}),
            ("GET", "/nodes/pve1/qemu/100/config") => {
                json!({"name": "web01", "memory": 1024, "onboot": 1, "cipassword": "**********", "digest": "d"})
            }
            ("GET", "/nodes/pve1/network") => json!([{"iface": "vmbr0", "type": "bridge"}]),
            ("GET", "/nodes/pve2/network") => json!([]),
            ("GET", "/nodes/pve1/status") => json!({"memory": {"total": 25_250_000_000_u64}}),
            _ => return Some(ScriptedReply::refusal(501, "Method not implemented", "")),
        };
        Some(ScriptedReply::data(&answer.to_string()))
    });
    let mut document = Document::new();
    let mut plan = |arguments: Value| {
        let mut arguments = arguments;
        arguments["dry_run"] = true.into();
        document.call_as(&server.server, &server.callers[0], CALL, arguments);
    };
    let (config, card) = ("PUT /nodes/pve1/qemu/100/config", |bridge: &str| format!("virtio,bridge={bridge}"));
    for (line, data) in [
        ("POST /nodes/pve1/qemu/101/status/stop", json!({})),
        ("POST /nodes/pve1/qemu/101/status/shutdown", json!({})),
        ("PUT /cluster/ha/resources/vm:101", json!({"state": "stopped"})),
        ("PUT /cluster/ha/resources/vm:101", json!({"state": "stopped", "comment": "off"})),
        ("POST /nodes/pve1/qemu/101/status/start", json!({})),
        ("POST /nodes/pve1/qemu/102/status/start", json!({})),
        ("POST /nodes/pve1/qemu/103/status/stop", json!({})),
        ("POST /nodes/pve1/qemu/104/snapshot/s1/rollback", json!({})),
        (
            "POST /nodes/pve1/qemu",
            json!({"vmid": 106, "memory": "32768", "net0": card("vmbr9"), "net1": card("vmbr0")}),
        ),
        (
            "POST /nodes/pve2/lxc",
            json!({"vmid": 107, "ostemplate": "local:vztmpl/x", "memory": 64, "net0": "name=eth0,bridge=vmbr9"}),
        ),
        (config, json!({"memory": 64000, "net0": card("vmbr7")})),
        ("POST /nodes/pve1/qemu/104/firewall/rules", json!({"type": "in", "action": "ACCEPT"})),
        ("POST /nodes/pve1/qemu/104/firewall/rules", json!({"type": "in", "action": "ACCEPT", "enable": 1})),
    ] {
        plan(arguments(line, data));
    }
    let calls = [
        arguments(config, json!({"onboot": true})),
        arguments(config, json!({"memory": 2048})),
        arguments(config, json!({"memory": 2048, "delete": "tags"})),
        arguments(config, json!({"cipassword": "**********"})),
        arguments("POST /nodes/pve1/network", json!({"iface": "vmbr9", "type": "bridge"})),
        arguments(config, json!({"net0": card("vmbr9")})),
    ];
    plan(json!({"calls": calls}));
    document.assert("questions_circumstances");
}

/// A change of an interface writes its addresses again.
#[test]
fn addresses_that_a_change_of_an_interface_loses() {
    let server = start(|request| {
        let interface = match request.target.strip_prefix("/api2/json/nodes/pve1/network/")? {
            "vmbr0" => json!({"type": "bridge", "method": "static", "method6": "manual", "families": ["inet"],
                "cidr": "10.99.0.1/24", "address": "10.99.0.1", "netmask": "24", "bridge_vlan_aware": 1, "autostart": 1}),
            "vmbr1" => json!({"type": "bridge", "method": "static", "method6": "static", "families": ["inet", "inet6"],
                "cidr": "10.1.0.1/24", "gateway": "10.1.0.254", "options": ["post-up true"],
                "cidr6": "fd00::1/64", "gateway6": "fd00::fe"}),
            "eno1" => json!({"type": "eth", "method": "dhcp", "method6": "auto", "families": ["inet", "inet6"]}),
            "eno2" => json!({"type": "eth", "method": "manual", "method6": "manual", "families": ["inet"]}),
            // An address by which the server reaches the cluster.
            "own" => json!({"type": "eth", "method": "static", "families": ["inet"], "cidr": "127.0.0.1/8"}),
            _ => return Some(ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Audit)", "")),
        };
        (request.method == "GET").then(|| ScriptedReply::data(&interface.to_string()))
    });
    let mut document = Document::new();
    let calls = [
        ("PUT vmbr0", json!({"type": "bridge", "bridge_vlan_aware": true})),
        ("PUT vmbr0", json!({"type": "bridge", "bridge_vlan_aware": false, "cidr": "10.99.0.1/24"})),
        ("PUT vmbr0", json!({"type": "bridge", "delete": "address,netmask"})),
        ("PUT vmbr0", json!({"type": "bridge", "cidr": "10.99.0.1/24", "autostart": true})),
        ("PUT vmbr1", json!({"type": "bridge", "mtu": 9000})),
        ("PUT vmbr1", json!({"type": "bridge", "address": "10.1.0.2", "netmask": "255.255.255.0"})),
        ("PUT vmbr1", json!({"type": "bridge", "cidr6": "fd00::1/64"})),
        ("PUT eno1", json!({"type": "eth", "comments": "uplink"})),
        ("PUT eno2", json!({"type": "eth", "comments": "uplink"})),
        ("PUT eno2", json!({"type": "eth", "cidr": "10.2.0.1/24", "gateway": "10.2.0.254"})),
        ("PUT own", json!({"type": "eth", "mtu": 9000})),
        ("PUT hidden", json!({"type": "eth", "mtu": 9000})),
        ("DELETE vmbr0", json!({})),
        ("DELETE eno1", json!({})),
    ];
    for (line, data) in &calls {
        let line = line.replace(' ', " /nodes/pve1/network/");
        let mut arguments = arguments(&line, data.clone());
        arguments["dry_run"] = true.into();
        document.call_as(&server.server, &server.callers[0], CALL, arguments);
    }
    document.section("As questions");
    for (line, data) in [&calls[0], &calls[6], &calls[7]] {
        let line = line.replace(' ', " /nodes/pve1/network/");
        ask(&mut document, &server.server, &server.callers[0], &line, data.clone());
    }
    document.assert("questions_interfaces");
}

/// Questions, plans and answers have the times of the node.
#[test]
fn times_are_in_the_zone_of_the_node() {
    let user = |expire: u64| json!({"expire": expire, "enable": 1, "comment": "gone soon"});
    let server = start(move |request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let answer = match (request.method.as_str(), path.strip_prefix("/api2/json")?) {
            ("GET", "/access/users/bob@pve") => user(1_790_000_000),
            ("GET", "/nodes/localhost/time" | "/nodes/pve1/time") => {
                json!({"time": 1_790_000_000, "localtime": 1_790_007_200, "timezone": "Europe/Berlin"})
            }
            ("GET", "/nodes/pve1/qemu/100/pending") => json!([
                {"key": "name", "value": "web01"},
                {"key": "memory", "value": 2048, "pending": 4096},
                {"key": "tags", "value": "old", "delete": 1},
            ]),
            ("GET", "/nodes/pve1/qemu/100/snapshot") => {
                json!([{"name": "s1", "snaptime": 1_790_000_000}, {"name": "current"}])
            }
            ("GET", "/nodes/pve1/storage/nas/content/nas:backup/b.vma.zst") => {
                json!({"ctime": 1_790_000_000, "size": 1024, "notes": "a word"})
            }
            ("PUT", _) => Value::Null,
            _ => return None,
        };
        Some(ScriptedReply::data(&answer.to_string()))
    });
    let mut document = Document::new();
    for (line, data) in [
        ("PUT /access/users/bob@pve", json!({"expire": 1_800_000_000})),
        ("PUT /access/users/bob@pve", json!({"expire": 0})),
        ("POST /access/users", json!({"userid": "eve@pve", "expire": 1_800_000_000})),
        ("DELETE /access/users/bob@pve", json!({})),
        ("DELETE /nodes/pve1/qemu/100/snapshot/s1", json!({})),
        ("POST /nodes/pve1/qemu/100/snapshot/s1/rollback", json!({})),
        ("DELETE /nodes/pve1/storage/nas/content/nas:backup/b.vma.zst", json!({})),
    ] {
        ask(&mut document, &server.server, &server.callers[0], line, data);
    }
    let change = arguments("PUT /access/users/bob@pve", json!({"expire": 1_790_000_000}));
    let asked = send(&server.server, &server.callers[0], "tools/call", modern(CALL, &change, true, json!({})));
    let more = answer_question(&asked["result"]["requestState"], "accept", Value::Null);
    let answer = send(&server.server, &server.callers[0], "tools/call", modern(CALL, &change, true, more));
    document.case("after the change", answer["result"]["content"][0]["text"].as_str().expect("a text"));
    document.assert("questions_zone");
}

/// The look-ups of a question are few. An answer to it repeats none of them.
#[test]
fn questions_cause_few_requests() {
    let mut document = Document::new();
    let server = start(with_guest(
        json!({"name": "web01", "status": "stopped"}),
        json!({"name": "web01", "memory": 2048, "scsi0": "local-lvm:vm-100-disk-0,size=32G", "digest": "d"}),
        json!([]),
    ));
    for (line, data) in [
        ("DELETE /nodes/pve1/qemu/100", json!({})),
        ("POST /nodes/pve1/qemu/100/status/start", json!({})),
        ("PUT /nodes/pve1/qemu/100/config", json!({"memory": 4096})),
        ("DELETE /access/users/bob@pve", json!({})),
        ("DELETE /nodes/pve1/storage/local-lvm/content/local-lvm:vm-100-disk-0", json!({})),
        ("POST /nodes/pve1/stopall", json!({})),
        ("PUT /access/acl", json!({"path": "/", "roles": "PVEAdmin", "users": "bob@pve"})),
    ] {
        let arguments = arguments(line, data);
        let requests = |more: Value| {
            let answer = send(&server.server, &server.callers[0], "tools/call", modern(CALL, &arguments, true, more));
            let requests = server.node.requests().into_iter().map(|r| format!("{} {}", r.method, r.target));
            let mut requests: Vec<_> = requests.collect();
            // Reads at the same time reach the node in any order.
            requests.sort();
            (answer, requests.join("\n"))
        };
        let (asked, question) = requests(json!({}));
        document.case(format_args!("{line}, the question"), question);
        let state = &asked["result"]["requestState"];
        let (_, sent) = requests(json!({"requestState": state, "inputResponses": {"confirm": {"action": "accept"}}}));
        document.case(format_args!("{line}, after the agreement"), sent);
    }
    document.assert("questions_requests");
}
