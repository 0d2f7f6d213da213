//! Answers of a node as tools show them: empty, long, cut, filtered, with secrets.

use crate::document::Document;
use crate::support::node::{Node, ScriptedReply};
use crate::support::proxmox::{gzipped_facts, proxmox_with};
use crate::support::test_tools::{product, tool_state};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::tools;
use serde_json::{Value, json};

/// Starts a node that answers each path below with another form of answer.
fn start_node() -> Node {
    let row = |n: usize| json!({"n": n, "type": if n.is_multiple_of(3) { "vzdump" } else { "qmstart" }, "user": "root@pam", "status": "OK"});
    let rows = Value::from((0..100).map(row).collect::<Vec<_>>());
    let report: String = (0..500).map(|n| format!("line {n} \"ü\"\n")).collect();
    proxmox_with(gzipped_facts(), move |request| {
        let data = |value: Value| Some(ScriptedReply::data(&value.to_string()));
        match (request.method.as_str(), request.path()) {
            ("GET", "/api2/json/nodes/pve1/tasks") => data(rows.clone()),
            ("GET", "/api2/json/nodes/pve1/report") => data(json!(report)),
            ("GET", "/api2/json/pools") => data(json!([])),
            ("GET", "/api2/json/cluster/options") => data(json!({"keyboard": "de", "next-id": {"lower": 100}})),
            ("GET", "/api2/json/cluster/status") => data(json!([7, null, {"name": "lab"}])),
            ("GET", "/api2/json/cluster/log") => data(json!([{"msg": "one", "pid": "a\u{202e}b\u{1b}[31m\tc\nd"}])),
            ("GET", "/api2/json/access/users") => {
                data(json!([{"userid": "a@pve", "password": "secret-word", "comment": "x".repeat(3_000)}]))
            }
            ("GET", "/api2/json/nodes/pve1/dns") => data(Value::Null),
            ("GET", "/api2/json/nodes/pve1/time") => Some(ScriptedReply::body(r#"{"data":1,"total":7,"changes":0}"#)),
            ("PUT" | "POST", path) if path.ends_with("/config") || path.ends_with("/users") => data(Value::Null),
            ("POST", path) if path.ends_with("/snapshot") => {
                data(json!("UPID:pve1:000001C1:00022AEA:6B0293BE:qmsnapshot:100:root@pam:"))
            }
            _ => None,
        }
    })
}

fn start_server(node: &Node, max_result_bytes: usize) -> McpServer {
    McpServer::new(tools::catalog(&tool_state(vec![node.cluster_settings()], max_result_bytes))).expect("a server")
}

#[test]
fn answers_in_their_forms() {
    let node = start_node();
    let mut document = Document::new();
    let list = "/nodes/pve1/tasks";
    document.section("Answers that fit");
    let server = start_server(&node, 100_000);
    for arguments in [
        json!({"path": "/pools"}),
        json!({"path": "/nodes/pve1/dns"}),
        json!({"path": "/nodes/pve1/time"}),
        json!({"path": "/cluster/options", "format": "table"}),
        json!({"path": "/cluster/options", "fields": "keyboard,nope"}),
        json!({"path": "/cluster/options", "filter": "keyboard=de"}),
        json!({"path": "/cluster/options", "sort": "keyboard"}),
        json!({"path": "/cluster/options", "limit": 1}),
        json!({"path": "/cluster/status", "fields": "name"}),
        json!({"path": "/cluster/log"}),
        json!({"path": "/cluster/log", "format": "table"}),
        json!({"path": list, "fields": "n,type", "filter": "type=vzdump,n>10", "sort": "-n", "limit": 2, "offset": 1}),
        json!({"path": list, "fields": "n,type", "limit": 2, "format": "table"}),
        json!({"path": list, "filter": "type=nothing"}),
        json!({"path": list, "filter": "n>x"}),
        json!({"path": list, "filter": "nope=1"}),
        json!({"path": list, "filter": "n>1 type=vzdump"}),
        json!({"path": list, "filter": "n>1 or type=vzdump"}),
        json!({"path": list, "filter": ""}),
        json!({"path": list, "filter": "=1"}),
        json!({"path": list, "filter": "n=\"1"}),
        json!({"path": list, "fields": "\"n"}),
        json!({"path": list, "fields": "\"n\" type"}),
        json!({"path": list, "sort": "\"n"}),
        json!({"path": list, "fields": "tpye"}),
        json!({"path": list, "sort": "nope", "limit": 1}),
        json!({"path": list, "offset": 1_000}),
        json!({"path": list, "limit": 0}),
        json!({"path": "/nodes/pve1/report", "fields": "n"}),
        json!({"path": "/nodes/pve1/report", "limit": 2}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("Answers that are cut");
    let server = start_server(&node, 500);
    for arguments in [
        json!({"path": list}),
        json!({"path": list, "offset": 3, "format": "table"}),
        json!({"path": list, "filter": "type=vzdump"}),
        json!({"path": "/nodes/pve1/report"}),
        json!({"path": "/nodes/pve1/report", "offset": 400}),
        json!({"path": "/access/users"}),
        json!({"paths": [list, "/version", "/nodes/pve1/report"]}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("Answers to changes");
    let server = start_server(&node, 100_000);
    for arguments in [
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"cores": 2}}),
        json!({"path": "/access/users", "method": "POST", "data": {"userid": "a@pve"}}),
        json!({"path": "/access/users", "method": "POST", "data": {"userid": "a@pve"}, "fields": "nope"}),
        json!({"path": "/access/users", "method": "POST", "data": {"userid": "a@pve"}, "wait": true}),
        json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "x1"}}),
        json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "x1"}, "dry_run": true, "wait": true}),
    ] {
        document.call(&server, "proxmox_api_call", arguments);
    }
    document.assert("answers");
}

/// Starts a node that answers the paths of several objects of one kind.
fn start_node_of_many() -> Node {
    proxmox_with(gzipped_facts(), move |request| {
        let segments: Vec<&str> = request.path().split('/').skip(3).collect();
        let value = match segments.as_slice() {
            ["nodes", _, "qemu", "102", "rrddata"] => json!([{"time": 1_795_854_000}]),
            ["nodes", _, "qemu" | "lxc", vmid, "rrddata"] => {
                let size = vmid.parse::<u64>().expect("a number") << 20;
                json!([
                    {"time": 1_795_854_000, "cpu": 0.25, "mem": size, "maxmem": 2 * size, "maxcpu": 2, "netin": 290},
                    {"time": 1_795_855_800, "cpu": 0.75, "mem": size + size / 2, "maxmem": 2 * size, "maxcpu": 2,
                        "netin": 4_096, "pressureiosome": 0.25},
                ])
            }
            ["nodes", node, "rrddata"] => {
                json!([{"time": 1_795_854_000, "cpu": 0.1, "memused": 1_u64 << 34, "roottotal": 1_u64 << 36, "node": node}])
            }
            ["nodes", "pve3", "apt", "update"] => json!([]),
            ["nodes", "pve4", "apt", "update"] => {
                return Some(ScriptedReply::refusal(403, "Permission check failed", ""));
            }
            ["nodes", node, "apt", "update"] => json!([
                {"Package": "openssl", "Version": "3.5.4", "Description": "Secure Sockets Layer toolkit"},
                {"Package": format!("only-on-{node}"), "Version": "1.0", "Description": "A package of this node"},
            ]),
            ["nodes", _, "subscription"] => json!({"status": "notfound", "message": "There is no subscription key"}),
            ["nodes", _, "storage", "nas", "content"] => json!([
                {"volid": "nas:iso/a.iso", "content": "iso", "format": "iso", "size": 1 << 30},
                {"volid": "nas:iso/b.iso", "content": "iso", "format": "iso", "size": 1 << 30},
            ]),
            ["nodes", node, "storage", "local", "content"] => json!([
                {"volid": "local:iso/a.iso", "content": "iso", "format": "iso", "size": 1 << 30},
                {"volid": format!("local:iso/{node}.iso"), "content": "iso", "format": "iso", "size": 1 << 30},
            ]),
            _ => return None,
        };
        Some(ScriptedReply::data(&value.to_string()))
    })
}

/// Starts a node with many backups, a log of tasks, and roles.
fn start_node_of_long_lists() -> Node {
    let backup = |day: u64, vmid: u64| {
        let time = 1_795_854_000 + day * 86_400;
        let volid = format!("nas:backup/vzdump-qemu-{vmid}-day-{day:02}.vma.zst");
        json!({"volid": volid, "content": "backup", "format": "vma.zst", "subtype": "qemu", "vmid": vmid, "ctime": time,
            "size": vmid << 20, "notes": if day == 3 { "before the upgrade" } else { "nightly" },
            "protected": u64::from(day == 3)})
    };
    let backups: Vec<Value> = (0..8).flat_map(|day| [100, 101, 110].map(|vmid| backup(day, vmid))).collect();
    let mark = |at: usize, backup: &Value| {
        json!({"volid": backup["volid"], "vmid": backup["vmid"], "ctime": backup["ctime"], "type": "qemu",
            "mark": if backup["vmid"] == 110 || at < 3 { "remove" } else if backup["protected"] == 1 { "protected" } else { "keep" }})
    };
    let marks = Value::from(backups.iter().enumerate().map(|(at, backup)| mark(at, backup)).collect::<Vec<_>>());
    proxmox_with(gzipped_facts(), move |request| {
        let task = |number: u32| format!("UPID:pve1:0000{number}:00022AEA:6B0293BE:qmstart:100:root@pam:");
        let log_line = |text: String| json!({"id": "1:pve1", "node": "pve1", "user": "root@pam", "msg": text, "time": 1_795_854_000});
        let content: Value = match request.path().strip_prefix("/api2/json/")? {
            "cluster/log" => json!([
                log_line(format!("starting task {}", task(3))),
                log_line(format!("end task {} OK", task(2))),
                log_line(format!("end task {} got timeout", task(1))),
                log_line(format!("starting task {}", task(2))),
                log_line("successful auth for user 'root@pam'".into()),
            ]),
            "access/roles" => json!([
                {"roleid": "Administrator", "special": 1, "privs": "Sys.Audit,VM.Audit,VM.Backup,VM.Clone,VM.Config.CPU,\
                    VM.Config.Disk,VM.Config.Memory,VM.Console,VM.Migrate,VM.PowerMgmt,VM.Snapshot,VM.Snapshot.Rollback,Pool.Audit"},
                {"roleid": "Operator", "special": 0, "privs": "VM.PowerMgmt,VM.Audit,VM.Config.CPU,VM.Config.Disk"},
            ]),
            "access/roles/Operator" => json!({"VM.PowerMgmt": 1, "VM.Audit": 1, "VM.Config.CPU": 1}),
            "access/permissions" => json!({
                "/": {"VM.PowerMgmt": 1, "VM.Audit": 1, "Sys.Audit": 0},
                "/vms": {"VM.Audit": 1, "VM.PowerMgmt": 1},
                "/vms/100": {"VM.PowerMgmt": 1, "VM.Audit": 1},
            }),
            "nodes/pve1/tasks" => list_nightly_tasks("pve1", "OK"),
            "nodes/pve2/tasks" => list_nightly_tasks("pve2", "job errors"),
            "nodes/pve1/syslog" => list_log_lines("pve1"),
            "nodes/pve1/journal" => {
                let cursor = |at: u32| json!(format!("s=0b1c;i={at:x};b=77"));
                let lines =
                    list_log_lines("pve1").as_array().expect("lines").iter().map(|line| line["t"].clone()).collect();
                [vec![cursor(1)], lines, vec![cursor(12)]].concat().into()
            }
            "nodes/pve2/syslog" => list_log_lines("pve2"),
            "nodes/pve1/storage/nas/prunebackups" => marks.clone(),
            "nodes/pve1/storage/nas/content" => {
                let is_chosen = |row: &&Value| !request.target.contains("vmid=101") || row["vmid"] == 101;
                let mut rows: Vec<Value> = backups.iter().filter(is_chosen).cloned().collect();
                rows.push(json!({"volid": "nas:iso/a.iso", "content": "iso", "format": "iso", "size": 1 << 30}));
                rows.into()
            }
            _ => return None,
        };
        Some(ScriptedReply::data(&content.to_string()))
    })
}

/// Returns a backup of each of some nights, the last with `status`, and a task that runs.
fn list_nightly_tasks(node: &str, status: &str) -> Value {
    let task = |kind: &str, id: &str, started: u64, number: u64| {
        let upid = format!("UPID:{node}:{number:08X}:00022AEA:{started:08X}:{kind}:{id}:root@pam:");
        json!({"node": node, "type": kind, "id": id, "user": "root@pam", "starttime": started, "upid": upid, "pid": number})
    };
    let nights = (0..6).map(|night| {
        let started = 1_795_824_000 - night * 86_400 + night;
        let mut row = task("vzdump", "", started, night);
        row["endtime"] = (started + 300 + 10 * night).into();
        row["status"] = if night == 0 { status } else { "OK" }.into();
        row
    });
    let mut rows: Vec<Value> = nights.collect();
    rows.push(task("qmmigrate", "100", 1_795_830_000, 9));
    rows.into()
}

/// Returns lines of which some are equal but for their numbers, and two failures.
fn list_log_lines(node: &str) -> Value {
    let line = |minute: u32, text: &str| format!("Nov 28 08:{minute:02}:00 {node} {text}");
    let mut lines: Vec<String> = (0..6)
        .map(|at| line(10 * at, &format!("pvestatd[1100]: status update time (0.{} seconds)", 640 + 7 * at)))
        .chain((0..3).map(|at| line(10 * at + 1, &format!("CRON[{}]: (root) CMD (run-parts hourly)", 2_000 + at))))
        .chain([7, 8].map(|sector| line(30 + sector, &format!("kernel: I/O error, dev sda, sector {sector}"))))
        .collect();
    lines.sort();
    lines.into_iter().enumerate().map(|(at, line)| json!({"n": at + 1, "t": line})).collect()
}

#[test]
fn answers_with_a_short_form() {
    let node = start_node_of_long_lists();
    let server = start_server(&node, 100_000);
    let content = "/nodes/pve1/storage/nas/content";
    let mut document = Document::new();
    document.section("Backups");
    for arguments in [
        json!({"path": content}),
        json!({"path": format!("{content}?vmid=101")}),
        json!({"path": content, "filter": "vmid=100,protected=yes", "fields": "volid,ctime"}),
        json!({"path": content, "fields": "volid", "limit": 2}),
        json!({"path": "/nodes/pve1/storage/nas/prunebackups?prune-backups=keep-last%3D7"}),
        json!({"paths": [content, "/nodes/pve1/storage/nas/content?content=backup"]}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("The log of the cluster");
    document.call(&server, "proxmox_api_get", json!({"path": "/cluster/log"}));
    document.call(&server, "proxmox_api_get", json!({"path": "/cluster/log", "fields": "msg"}));
    document.call(
        &server,
        "proxmox_api_get",
        json!({"path": "/cluster/log", "params": {"max": 5}, "filter": "duration>5m"}),
    );
    document.section("Tasks and logs of nodes");
    for arguments in [
        json!({"path": "/nodes/pve2/tasks"}),
        json!({"path": "/nodes/pve2/tasks", "filter": "status=OK"}),
        json!({"path": "/nodes/pve2/tasks", "format": "table", "limit": 2}),
        json!({"path": "/nodes/pve2/tasks", "filter": "duration>5m20s", "sort": "-duration", "fields": "starttime,duration"}),
        json!({"paths": ["/nodes/pve1/tasks", "/nodes/pve2/tasks"]}),
        json!({"path": "/nodes/pve1/syslog"}),
        json!({"path": "/nodes/pve1/syslog", "filter": "text~pvestatd"}),
        json!({"paths": ["/nodes/pve1/syslog", "/nodes/pve2/syslog"]}),
        json!({"paths": ["/nodes/pve1/syslog", "/nodes/pve2/syslog"], "filter": "text~CRON"}),
        json!({"path": "/nodes/pve1/syslog", "sort": "-t", "limit": 2}),
        json!({"path": "/nodes/pve1/journal", "limit": 2}),
        json!({"path": "/nodes/pve1/journal", "limit": 2, "offset": 10}),
        json!({"path": "/nodes/pve1/journal", "sort": "-text", "limit": 2, "format": "json"}),
        json!({"path": "/nodes/pve1/journal", "filter": "unit~pveproxy"}),
        json!({"path": "/nodes/pve1/journal", "params": {"since": "2026-11-28T06:00"}, "filter": "text~sda"}),
        json!({"path": "/nodes/pve1/journal", "params": {"since": "2026-11-28T07:55", "until": "2026-11-27 24:00"}, "filter": "text~sda"}),
        json!({"path": "/nodes/pve1/syslog", "params": {"since": "2026-11-27 24:00"}, "filter": "text~sda"}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("Privileges");
    for path in ["/access/roles", "/access/roles/Operator", "/access/permissions"] {
        document.call(&server, "proxmox_api_get", json!({"path": path}));
    }
    document.call(&server, "proxmox_api_get", json!({"path": "/access/roles", "fields": "privs"}));
    document.assert("answers_short");
}

#[test]
fn answers_of_several_paths_say_common_things_once() {
    let node = start_node_of_many();
    let server = start_server(&node, 100_000);
    let guests = ["/qemu/web01/rrddata", "/nodes/pve1/qemu/101/rrddata", "/nodes/pve1/qemu/102/rrddata"];
    let updates = ["pve1", "pve2", "pve3", "pve4"].map(|node| format!("/nodes/{node}/apt/update"));
    let on_nodes = |rest: &str| ["pve1", "pve2", "pve3"].map(|node| format!("/nodes/{node}/{rest}"));
    let mut document = Document::new();
    document.section("Time series");
    for arguments in [
        json!({"paths": guests, "params": {"timeframe": "day"}}),
        json!({"paths": guests, "params": {"timeframe": "day"}, "fields": "mem,maxcpu"}),
        json!({"paths": guests, "params": {"timeframe": "day"}, "fields": "mme"}),
        json!({"paths": guests, "params": {"timeframe": "day"}, "limit": 1}),
        json!({"paths": guests[..2], "params": {"timeframe": "day"}}),
        json!({"paths": on_nodes("rrddata?timeframe=day")}),
        json!({"paths": ["/nodes/pve1/qemu/101/rrddata?timeframe=day", "/nodes/pve1/qemu/101/rrddata?timeframe=hour", "/nodes/pve1/qemu/101/rrddata?timeframe=week"]}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("Lists");
    for arguments in [
        json!({"paths": updates}),
        json!({"paths": updates, "fields": "Package"}),
        json!({"paths": updates, "limit": 1}),
        json!({"paths": updates, "format": "json"}),
        json!({"paths": on_nodes("storage/local/content")}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("Equal answers");
    for arguments in [
        json!({"paths": on_nodes("subscription")}),
        json!({"paths": on_nodes("subscription"), "format": "json"}),
        json!({"paths": on_nodes("storage/nas/content")}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.assert("answers_paths");
}

#[test]
fn answers_about_many_guests() {
    let mut document = Document::new();
    let row = |vmid: u32| json!({"id": format!("qemu/{vmid}"), "type": "qemu", "vmid": vmid, "node": "pve1", "name": format!("web-{vmid}"), "status": "running"});
    let rows = Value::from((1_000..1_060).map(row).collect::<Vec<_>>()).to_string();
    let node = Node::start(move |_| ScriptedReply::data(&rows));
    document.call(&product(vec![node.cluster_settings()]), "find_guest", json!({"query": "web"}));
    let odd = json!([7, null, [], {"id": "qemu/"}, {"vmid": 100}, {"id": "qemu/100", "type": "qemu", "name": "a\tb\nc", "node": ".."}]);
    for (about, answer) in [("rows of other forms", odd), ("no list", json!({})), ("no guest", json!([]))] {
        document.section(about);
        let answer = answer.to_string();
        let node = Node::start(move |_| ScriptedReply::data(&answer));
        let server = product(vec![node.cluster_settings()]);
        document.call(&server, "find_guest", json!({"query": "100"}));
        document.call(&server, "get_cluster_resources", json!({}));
        document.call(&server, "list_nodes", json!({}));
        document.call(&server, "list_clusters", json!({"check": true}));
    }
    document.section("A node without numbers");
    let node = Node::start(|_| ScriptedReply::data(r#"[{"node":"pve1","status":"online"}]"#));
    document.call(&product(vec![node.cluster_settings()]), "list_nodes", json!({}));
    document.section("A token without privileges");
    let node = proxmox_with(gzipped_facts(), |request| match request.path() {
        "/api2/json/access/permissions" => Some(ScriptedReply::data(r#"{"/nodes/pve1":{}}"#)),
        "/api2/json/nodes/pve1/status" => {
            Some(ScriptedReply::refusal(403, "Permission check failed (/nodes/pve1, Sys.Audit)", ""))
        }
        _ => None,
    });
    document.call(&product(vec![node.cluster_settings()]), "proxmox_api_get", json!({"path": "/nodes/pve1/status"}));
    document.section("A task that cannot be waited for");
    let node = proxmox_with(gzipped_facts(), |request| match (request.method.as_str(), request.path()) {
        ("POST", _) => Some(ScriptedReply::data(r#""UPID:../x:1:1:1:a:b:c:""#)),
        _ => None,
    });
    document.call(
        &product(vec![node.cluster_settings()]),
        "proxmox_api_call",
        json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST", "wait": true}),
    );
    document.assert("answers_guests");
}
