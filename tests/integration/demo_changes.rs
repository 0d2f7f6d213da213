//! Changes of the simulated cluster whose effects a real node shows late, elsewhere or not at all.

use crate::demo::{assert_error, call, demo, demo_with, errors, get, run_task, task, wait_until};
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::pve::demo::Demo;
use serde_json::{Value, json};
use std::time::Duration;

/// Starts a demo whose tasks and services act at once.
fn prompt_demo() -> Demo {
    demo_with(|options| {
        options.task_step = Duration::from_millis(1);
        options.lag = Duration::ZERO;
    })
}

/// Returns the settings of a new token of `bob@pve` with these roles.
fn token_with(cluster: &ClusterConfig, roles: &[(&str, &str)]) -> ClusterConfig {
    let made = call(cluster, "POST", "/access/users/bob@pve/token/tt", "").data();
    for (path, role) in roles {
        for subject in ["users=bob@pve", "tokens=bob@pve!tt"] {
            call(cluster, "PUT", "/access/acl", &format!("path={path}&roles={role}&{subject}")).data();
        }
    }
    let mut settings = cluster.clone();
    (settings.user, settings.token_id) = ("bob@pve".into(), "tt".into());
    settings.token_secret = Secret::new(made["value"].as_str().unwrap().into());
    settings
}

fn resource(cluster: &ClusterConfig, id: &str) -> Value {
    let rows = get(cluster, "/cluster/resources");
    rows.as_array().unwrap().iter().find(|row| row["id"] == id).cloned().unwrap_or_default()
}

#[test]
fn guest_of_ha_is_stopped_later_by_another_task() {
    let demo = demo_with(|options| {
        options.task_step = Duration::from_millis(1);
        options.lag = Duration::from_millis(300);
    });
    let cluster = demo.cluster();
    let status = "/nodes/pve2/qemu/104/status/current";
    assert_eq!(get(&cluster, status)["ha"], json!({"managed": 1, "state": "started"}));
    let log = run_task(&cluster, "POST", "/nodes/pve2/qemu/104/status/stop", "");
    assert_eq!(log[0], "Requesting HA stop for VM 104");
    let now = get(&cluster, status);
    assert_eq!((&now["status"], &now["ha"]["state"]), (&json!("running"), &json!("stopped")));
    wait_until("the stop by HA", || (get(&cluster, status)["status"] == "stopped").then_some(()));
    let tasks = get(&cluster, "/nodes/pve2/tasks?vmid=104&limit=2");
    assert_eq!((&tasks[0]["type"], &tasks[0]["user"]), (&json!("qmshutdown"), &json!("root@pam")));
    assert_eq!(tasks[1]["type"], "hastop");
}

#[test]
fn guest_of_ha_is_started_and_moved_on_request() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    call(&cluster, "PUT", "/cluster/ha/resources/vm:104", "state=stopped").data();
    wait_until("the stop", || {
        (get(&cluster, "/nodes/pve2/qemu/104/status/current")["status"] == "stopped").then_some(())
    });
    run_task(&cluster, "POST", "/nodes/pve2/qemu/104/status/start", "");
    wait_until("the start", || {
        (get(&cluster, "/nodes/pve2/qemu/104/status/current")["status"] == "running").then_some(())
    });
    call(&cluster, "PUT", "/cluster/ha/resources/vm:104", "failback=0").data();
    let log = run_task(&cluster, "POST", "/nodes/pve2/qemu/104/migrate", "target=pve1&online=1");
    assert_eq!(log[0], "Requesting HA migration for VM 104 to node pve1");
    wait_until("the move", || (resource(&cluster, "qemu/104")["node"] == "pve1").then_some(()));
    let back = call(&cluster, "POST", "/cluster/ha/resources/vm:104/migrate", "node=pve2").data();
    assert_eq!(back, json!({"sid": "vm:104", "requested-node": "pve2"}));
    wait_until("the way back", || (resource(&cluster, "qemu/104")["node"] == "pve2").then_some(()));
}

#[test]
fn guest_of_ha_returns_to_the_node_of_its_rule() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve2/qemu/104/migrate", "target=pve1&online=1");
    let moves = wait_until("the way back", || {
        let ended = |node: &str| {
            let tasks = get(&cluster, &format!("/nodes/{node}/tasks?typefilter=qmigrate"));
            tasks.as_array().unwrap().iter().filter(|task| task["endtime"].is_i64()).count()
        };
        let moves = [ended("pve2"), ended("pve1")];
        (moves == [1, 1]).then_some(moves)
    });
    assert_eq!((moves, &resource(&cluster, "qemu/104")["node"]), ([1, 1], &json!("pve2")));
}

#[test]
fn purge_removes_a_guest_from_jobs_and_ha() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    call(&cluster, "POST", "/cluster/replication", "id=104-0&target=pve1&type=local").data();
    call(&cluster, "POST", "/cluster/backup", "id=own&vmid=104&storage=nas&schedule=daily").data();
    call(&cluster, "PUT", "/cluster/ha/resources/vm:104", "state=ignored").data();
    run_task(&cluster, "POST", "/nodes/pve2/qemu/104/status/stop", "");
    call(&cluster, "DELETE", "/cluster/ha/resources/vm:104", "").data();
    let refused = call(&cluster, "DELETE", "/nodes/pve2/qemu/104", "");
    assert_error_line(&refused, "500 There is a replication job '104-0' for guest '104' - Please remove that first.");
    call(&cluster, "POST", "/cluster/ha/resources", "sid=vm:104&state=stopped").data();
    run_task(&cluster, "DELETE", "/nodes/pve2/qemu/104?purge=1", "");
    let jobs = get(&cluster, "/cluster/backup");
    let lists: Vec<&Value> = jobs.as_array().unwrap().iter().map(|job| &job["vmid"]).collect();
    assert_eq!(lists, ["100,101,102,103,200,201,202,203"]);
    assert_eq!(get(&cluster, "/cluster/replication"), json!([]));
    assert_eq!(get(&cluster, "/cluster/ha/resources"), json!([]));
    assert_eq!(get(&cluster, "/cluster/ha/rules"), json!([]));
}

#[test]
fn pending_changes_are_in_no_snapshot_and_lost_by_a_rollback() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let at = "/nodes/pve1/qemu/100";
    let memory = |query: &str| get(&cluster, &format!("{at}/config{query}"))["memory"].clone();
    let before = memory("");
    call(&cluster, "PUT", &format!("{at}/config"), "memory=1024").data();
    run_task(&cluster, "POST", &format!("{at}/snapshot"), "snapname=s1");
    assert_eq!([memory(""), memory("?snapshot=s1")], [json!("1024"), before.clone()]);
    run_task(&cluster, "POST", &format!("{at}/snapshot/s1/rollback"), "");
    assert_eq!(memory(""), before);
}

#[test]
fn restored_guest_has_its_firewall_again() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let rules = || get(&cluster, "/nodes/pve1/qemu/100/firewall/rules").as_array().unwrap().len();
    let before = rules();
    run_task(&cluster, "POST", "/nodes/pve1/vzdump", "vmid=100&storage=local");
    let backups = get(&cluster, "/nodes/pve1/storage/local/content?content=backup");
    let backup = backups[0]["volid"].as_str().unwrap();
    run_task(&cluster, "POST", "/nodes/pve1/qemu/100/status/stop", "");
    run_task(&cluster, "DELETE", "/nodes/pve1/qemu/100", "");
    run_task(&cluster, "POST", "/nodes/pve1/qemu", &format!("vmid=100&archive={backup}"));
    assert_eq!(rules(), before);
}

#[test]
fn full_clone_uses_as_much_as_its_source() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let used = || get(&cluster, "/nodes/pve2/storage/local-lvm/status")["used"].as_u64().unwrap();
    let size = resource(&cluster, "qemu/106")["maxdisk"].as_u64().unwrap();
    let before = used();
    run_task(&cluster, "POST", "/nodes/pve2/qemu/106/clone", "newid=120&full=1");
    let added = used() - before;
    assert!((size / 10..=size).contains(&added), "{added} of {size}");
}

#[test]
fn measurements_of_a_container_have_the_use_of_its_disk() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let last_disk = |guest: &str| {
        let rows = get(&cluster, &format!("/nodes/pve1/{guest}/rrddata?timeframe=hour"));
        rows.as_array().unwrap().last().unwrap()["disk"].clone()
    };
    assert_eq!(last_disk("lxc/200"), get(&cluster, "/nodes/pve1/lxc/200/status/current")["disk"]);
    assert!(last_disk("lxc/200").as_u64() > Some(0));
    assert_eq!(last_disk("qemu/100"), 0);
}

#[test]
fn some_parameters_of_a_backup_are_for_root_alone() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    for (name, path) in
        [("job-id", "/nodes/pve1/vzdump"), ("tmpdir", "/nodes/pve1/vzdump"), ("script", "/cluster/backup")]
    {
        let refused = call(&cluster, "POST", path, &format!("vmid=100&storage=nas&{name}=x"));
        assert_eq!(errors(&refused), json!({name: "Only root may set this parameter."}));
    }
}

#[test]
fn rules_of_ha_are_checked_by_their_type() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let at = "/cluster/ha/rules";
    let create = |form: &str| call(&cluster, "POST", at, form);
    create("rule=r2&type=node-affinity&resources=vm:104&nodes=pve1,pve2").data();
    assert_eq!(get(&cluster, at).as_array().unwrap().len(), 2);
    assert_eq!(
        errors(&create("rule=r3&type=node-affinity&resources=vm:104"))["nodes"],
        "property is missing and it is not optional"
    );
    assert_error_line(
        &create("rule=r3&type=resource-affinity&resources=vm:104&affinity=negative"),
        "500 create ha rule failed: 400 Rule 'r3' is invalid.",
    );
    call(&cluster, "PUT", &format!("{at}/r2"), "type=node-affinity&comment=two").data();
    assert_eq!(get(&cluster, &format!("{at}/r2"))["comment"], "two");
    call(&cluster, "DELETE", &format!("{at}/r2"), "").data();
    assert_error(&call(&cluster, "GET", &format!("{at}/r2"), ""), "500 no such ha rule 'r2'");
    let group = call(&cluster, "POST", "/cluster/ha/groups", "group=g1&nodes=pve1");
    assert_error(&group, "500 cannot create group: ha groups have been migrated to rules");
}

fn assert_error_line(answer: &crate::demo::Answer, line: &str) {
    assert_eq!(answer.line, format!("HTTP/1.1 {line}"));
}

#[test]
fn lists_of_the_cluster_learn_names_late() {
    let demo = demo_with(|options| {
        options.task_step = Duration::from_millis(1);
        options.lag = Duration::from_millis(400);
    });
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve1/qemu", "vmid=150&name=fresh");
    let row = resource(&cluster, "qemu/150");
    assert_eq!((&row["name"], &row["status"]), (&Value::Null, &json!("unknown")));
    assert_eq!(get(&cluster, "/nodes/pve1/qemu/150/config")["name"], "fresh");
    wait_until("the name", || (resource(&cluster, "qemu/150")["name"] == "fresh").then_some(()));
    call(&cluster, "PUT", "/nodes/pve1/qemu/150/config", "name=renamed").data();
    assert_eq!(resource(&cluster, "qemu/150")["name"], "fresh");
    wait_until("the new name", || (resource(&cluster, "qemu/150")["name"] == "renamed").then_some(()));
}

#[test]
fn sdn_filter_selects_nothing_and_zones_are_networks() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    assert_eq!(get(&cluster, "/cluster/resources?type=sdn"), json!([]));
    let zone = resource(&cluster, "network/pve1/zone/localnetwork");
    assert_eq!((&zone["type"], &zone["network-type"]), (&json!("network"), &json!("zone")));
}

#[test]
fn backup_prunes_by_the_retention_of_its_storage_unless_told_not_to() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let backups = || {
        let list = get(&cluster, "/nodes/pve1/storage/nas/content?content=backup&vmid=200");
        list.as_array().unwrap().iter().map(|volume| volume["volid"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let before = backups();
    run_task(&cluster, "POST", "/nodes/pve1/vzdump", "vmid=200&storage=nas&remove=0");
    assert_eq!(backups().len(), before.len() + 1);
    let log = run_task(&cluster, "POST", "/nodes/pve1/vzdump", "vmid=200&storage=nas&prune-backups=keep-last%3D2");
    assert!(log.iter().any(|line| line == "INFO: prune older backups with retention: keep-last=2"), "{log:?}");
    assert_eq!(backups().len(), 2);
    let marks = get(&cluster, "/nodes/pve1/storage/nas/prunebackups?vmid=200&prune-backups=keep-last%3D1");
    let mut marks: Vec<&str> = marks.as_array().unwrap().iter().map(|row| row["mark"].as_str().unwrap()).collect();
    marks.sort_unstable();
    assert_eq!(marks, ["keep", "remove"]);
    run_task(&cluster, "DELETE", "/nodes/pve1/storage/nas/prunebackups?vmid=200&prune-backups=keep-last%3D1", "");
    assert_eq!(backups().len(), 1);
}

#[test]
fn filters_and_schedules_have_the_forms_of_a_node() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let wrong = errors(&call(&cluster, "GET", "/nodes/pve1/tasks?statusfilter=failed", ""));
    assert_eq!(wrong, json!({"statusfilter": "invalid format - invalid status 'failed'\n"}));
    let failed = get(&cluster, "/nodes/pve1/tasks?statusfilter=error,warning&limit=1");
    assert_eq!(failed.as_array().unwrap().len(), 1);
    let since = failed[0]["starttime"].as_i64().unwrap();
    let earlier = get(&cluster, &format!("/nodes/pve1/tasks?statusfilter=error&until={}", since - 1));
    assert!(earlier.as_array().unwrap().iter().all(|task| task["starttime"].as_i64().unwrap() < since));
    for event in ["sometimes", "99:99"] {
        let form = format!("id=j1&schedule={event}&storage=nas&vmid=100");
        let complaint =
            format!("invalid format - invalid calendar event '{event}' - unable to parse calendar event '{event}'\n\n");
        assert_eq!(errors(&call(&cluster, "POST", "/cluster/backup", &form)), json!({"schedule": complaint}));
    }
}

#[test]
fn pools_have_children_and_keep_their_members() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    call(&cluster, "POST", "/pools", "poolid=stage/web").data();
    assert_error(&call(&cluster, "GET", "/pools/stage/web", ""), "501 Method 'GET /pools/stage/web' not implemented");
    assert_eq!(get(&cluster, "/pools?poolid=stage/web"), json!([{"members": [], "poolid": "stage/web"}]));
    let moved = call(&cluster, "PUT", "/pools", "poolid=stage/web&vms=106");
    assert_error(&moved, "500 update pools failed: VM 106 belongs already to pool 'stage' and 'allow-move' is not set");
    call(&cluster, "PUT", "/pools", "poolid=stage/web&vms=106&allow-move=1&storage=local").data();
    assert_eq!(get(&cluster, "/pools?poolid=stage/web")[0]["members"].as_array().unwrap().len(), 2);
    let full = call(&cluster, "DELETE", "/pools?poolid=stage", "");
    assert_error(&full, "500 delete pool failed: pool 'stage' is not empty (contains pool 'stage/web')");
}

#[test]
fn each_option_needs_its_privilege() {
    let demo = prompt_demo();
    let full = demo.cluster();
    call(&full, "POST", "/access/roles", "roleid=Cpu&privs=VM.Audit,VM.Config.CPU").data();
    let token = token_with(&full, &[("/vms/102", "Cpu")]);
    let config = "/nodes/pve1/qemu/102/config";
    call(&token, "PUT", config, "cores=6").data();
    for (form, privilege) in [
        ("memory=4096", "VM.Config.Memory"),
        ("cores=2&name=x", "VM.Config.Options"),
        ("delete=net0", "VM.Config.Network"),
    ] {
        assert_error(
            &call(&token, "PUT", config, form),
            &format!("403 Permission check failed (/vms/102, {privilege})"),
        );
    }
    assert_error(&call(&full, "PUT", config, "args=-nographic"), "500 only root can set 'args' config");
    let skip = errors(&call(&full, "PUT", config, "cores=2&skiplock=1"));
    assert_eq!(skip, json!({"skiplock": "Only root may use this option."}));
}

#[test]
fn disk_moves_to_another_storage_and_leaves_the_old_volume_unused() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let vm = "/nodes/pve1/qemu/102";
    assert_error(
        &call(&cluster, "POST", &format!("{vm}/move_disk"), "disk=scsi7&storage=nas"),
        "500 disk 'scsi7' does not exist",
    );
    let same = call(&cluster, "POST", &format!("{vm}/move_disk"), "disk=scsi0&storage=local-lvm");
    assert_error(&same, "500 you can't move to the same storage with same format");
    run_task(&cluster, "POST", &format!("{vm}/move_disk"), "disk=scsi0&storage=nas&format=qcow2");
    let config = get(&cluster, &format!("{vm}/config"));
    assert!(config["scsi0"].as_str().unwrap().starts_with("nas:102/vm-102-disk-0.qcow2,"), "{config}");
    assert_eq!(config["unused0"], "local-lvm:vm-102-disk-0");
    call(&cluster, "PUT", &format!("{vm}/unlink"), "idlist=unused0").data();
    assert_eq!(get(&cluster, &format!("{vm}/config"))["unused0"], Value::Null);
    let running = call(&cluster, "POST", "/nodes/pve1/lxc/200/move_volume", "volume=rootfs&storage=nas");
    assert_error(&running, "500 cannot move volumes of a running container");
}

#[test]
fn raw_disk_on_a_directory_has_no_snapshots() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve1/qemu", "vmid=150&scsi0=nas:1");
    assert_eq!(
        task(&cluster, "POST", "/nodes/pve1/qemu/150/snapshot", "snapname=s1").0,
        "snapshot feature is not available"
    );
    let size = errors(&call(&cluster, "POST", "/nodes/pve1/qemu", "vmid=151&memory=2G"));
    assert_eq!(
        size["memory"],
        "invalid format - format error\nmemory.current: type check ('integer') failed - got '2G'\n"
    );
    let line = call(&cluster, "POST", "/nodes/pve1/qemu", "vmid=151&scsi0=local:32G").line;
    assert_eq!(line, "HTTP/1.1 500 unable to parse directory volume name '32G'");
}

#[test]
fn file_is_downloaded_once() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let at = "/nodes/pve1/storage/local/download-url";
    let form = |url: &str| format!("content=iso&filename=new.iso&url={}", url.replace(':', "%3A").replace('/', "%2F"));
    assert_eq!(
        errors(&call(&cluster, "POST", at, &form("ftp://x"))),
        json!({"url": "value does not match the regex pattern"})
    );
    run_task(&cluster, "POST", at, &form("https://example.test/new.iso"));
    let isos = get(&cluster, "/nodes/pve1/storage/local/content?content=iso");
    assert!(isos.as_array().unwrap().iter().any(|volume| volume["volid"] == "local:iso/new.iso"));
    let again = call(&cluster, "POST", at, &form("https://example.test/new.iso"));
    assert_error(&again, "500 refusing to override existing file '/var/lib/vz/template/iso/new.iso'");
}

#[test]
fn storage_is_created_changed_and_removed() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let form = "storage=extra&type=dir&path=%2Fsrv%2Fextra&content=iso";
    assert_eq!(call(&cluster, "POST", "/storage", form).data(), json!({"storage": "extra", "type": "dir"}));
    assert_error(
        &call(&cluster, "POST", "/storage", form),
        "500 create storage failed: storage ID 'extra' already defined",
    );
    let away = call(&cluster, "POST", "/storage", "storage=away&type=nfs&server=203.0.113.9&export=%2Fx");
    assert_error(&away, "500 create storage failed: storage 'away' is not online");
    call(&cluster, "PUT", "/storage/extra", "disable=1&content=iso,backup").data();
    let row = get(&cluster, "/nodes/pve1/storage?storage=extra")[0].clone();
    assert_eq!((&row["enabled"], &row["content"]), (&json!(0), &json!("backup,iso")));
    call(&cluster, "DELETE", "/storage/extra", "").data();
    assert_error(
        &call(&cluster, "DELETE", "/storage/extra", ""),
        "500 delete storage failed: storage 'extra' does not exist",
    );
    let other = call(&cluster, "POST", "/storage", "storage=z&type=zfspool&pool=tank");
    assert_error(
        &other,
        "501 Method 'POST /storage' not implemented (the demo does not simulate storages of type zfspool)",
    );
}

#[test]
fn replication_job_is_created_and_reports_its_failure() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let form = "id=102-0&type=local&target=pve2&schedule=*%2F15";
    call(&cluster, "POST", "/cluster/replication", form).data();
    let status = get(&cluster, "/nodes/pve1/replication/102-0/status");
    assert_eq!((&status["fail_count"], &status["source"]), (&json!(1), &json!("pve1")));
    call(&cluster, "PUT", "/cluster/replication/102-0", "disable=1").data();
    assert_eq!(get(&cluster, "/cluster/replication")[0]["disable"], 1);
    call(&cluster, "DELETE", "/cluster/replication/102-0", "").data();
    assert_eq!(get(&cluster, "/cluster/replication"), json!([]));
}

#[test]
fn agent_keeps_files_in_utf8_and_reads_them_byte_by_byte() {
    let demo = prompt_demo();
    let cluster = demo.cluster();
    let agent = "/nodes/pve1/qemu/100/agent";
    let read = |file: &str| call(&cluster, "GET", &format!("{agent}/file-read?file={file}"), "");
    assert_eq!(read("/etc/hostname").data(), json!({"content": "web01\n", "bytes-read": 6}));
    assert!(read("/nope").line.starts_with("HTTP/1.1 500 Agent error: "), "{}", read("/nope").line);
    // `ü` in base64.
    call(&cluster, "POST", &format!("{agent}/file-write"), "file=/tmp/a&content=w7w%3D&encode=0").data();
    assert_eq!(read("/tmp/a").data()["content"], "\u{c3}\u{bc}");
    let wide = call(&cluster, "POST", &format!("{agent}/file-write"), "file=/tmp/a&content=%E2%9C%93");
    assert!(wide.line.starts_with("HTTP/1.1 500 Wide character"), "{}", wide.line);
}

#[test]
fn service_stops_and_starts() {
    let demo = demo();
    let cluster = demo.cluster();
    let at = "/nodes/pve1/services/postfix";
    run_task(&cluster, "POST", &format!("{at}/stop"), "");
    assert_eq!(get(&cluster, &format!("{at}/state"))["state"], "dead");
    assert_eq!(get(&cluster, "/nodes/pve2/services/postfix/state")["state"], "running");
    run_task(&cluster, "POST", &format!("{at}/start"), "");
    assert_eq!(get(&cluster, &format!("{at}/state"))["state"], "running");
}

#[test]
fn node_in_upper_case_is_not_reached() {
    let demo = demo();
    let answer = call(&demo.cluster(), "GET", "/nodes/PVE1/status", "");
    assert_eq!((answer.line.as_str(), answer.body.len()), ("HTTP/1.1 595 Connection refused", 0));
}
