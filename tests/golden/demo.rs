//! Every tool over the simulated cluster.

use crate::document::Document;
use crate::support::node::closed_endpoint;
use crate::support::policy::open_policy;
use crate::support::test_tools::{product, start_demo};
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::pve::demo::{Demo, Options, Release};
use proxmox_mcp::pve::schema::facts::APIDOC;
use serde_json::{Value, json};
use std::time::Duration;

/// Starts a simulated cluster whose tasks take no time.
pub fn demo() -> Demo {
    start_demo(Duration::ZERO)
}

/// Returns a document without the values that the simulation takes from the clock.
pub fn document() -> Document {
    let mut document = Document::new();
    for (pattern, word) in [
        (r"\b\d+d ?\d+h\b|\b\d+[dhm] ?\d+[hms]\b", "AGE"),
        (r"\d{4}[-_]\d\d[-_]\d\d[-_ T]\d\d[:_]\d\d[:_]\d\dZ?", "DATE"),
        (r"\b\d\d?\.\d%", "PERCENT"),
        (r"(/pool/\w+\tPERCENT\t\d+\t)[\d.]+[GM]iB", "${1}SIZE"),
        (r"(PERCENT\t\d+\t)[\d.]+[GM]iB(\t[\d.]+[GM]iB\t)(?:([\d.]+[GM]iB|0)|(-\t))", "${1}SIZE${2}SIZE${4}"),
        (r"CPU [\d.]+ of", "CPU N of"),
        (r"memory [\d.]+GiB of", "memory N of"),
        (r"\b0\.\d{4,}", "FRACTION"),
        (r"\b\d{5,}\b", "NUMBER"),
        (r"\b(took|for) \d+ s\b", "$1 N s"),
        (r#""seconds": \d+"#, "\"seconds\": N"),
        (r"since \d+ s, failed \d+ times?, next try in \d+ s", "since N s, failed N times, next try in N s"),
    ] {
        document.redact(pattern, word);
    }
    document
}

fn lists(document: &mut Document, server: &McpServer) {
    document.section("Lists");
    for (tool, arguments) in [
        ("list_clusters", json!({})),
        ("list_clusters", json!({"check": true})),
        ("list_nodes", json!({})),
        ("get_cluster_resources", json!({})),
        ("get_cluster_resources", json!({"type": "vm"})),
        ("get_cluster_resources", json!({"type": "NODE", "cluster": "demo"})),
        ("get_cluster_resources", json!({"type": "storage"})),
        ("get_cluster_resources", json!({"type": "sdn"})),
        ("find_guest", json!({"query": "100"})),
        ("find_guest", json!({"query": "web"})),
        ("find_guest", json!({"query": "ct running"})),
        ("find_guest", json!({"query": "wbe01"})),
        ("find_guest", json!({"query": "nothing-like-it"})),
    ] {
        document.call(server, tool, arguments);
    }
    document.section("Lists: errors");
    for (tool, arguments) in [
        ("list_nodes", json!({"cluster": "dmeo"})),
        ("list_nodes", json!({"clusters": "demo", "limit": 0})),
        ("list_clusters", json!({"check": "perhaps"})),
        ("get_cluster_resources", json!({"type": "disk"})),
        ("find_guest", json!({})),
        ("find_guest", json!({"query": ""})),
        ("find_guest", json!({"query": "x", "qurey": "y"})),
    ] {
        document.call(server, tool, arguments);
    }
}

fn descriptions(document: &mut Document, server: &McpServer) {
    document.section("search_api");
    for arguments in [
        json!({"query": "snapshot a vm"}),
        json!({"query": "resize disk", "limit": 2}),
        json!({"query": "/nodes/{node}/qemu/{vmid}/status"}),
        json!({"query": "bakcup"}),
        json!({"query": "qwertyuiop"}),
        json!({"query": ""}),
        json!({"query": "vm", "limit": 0}),
        json!({}),
    ] {
        document.call(server, "search_api", arguments);
    }
    document.section("describe_api");
    for arguments in [
        json!({"path": "/version"}),
        json!({"path": "/nodes/{node}/vzdump", "method": "POST", "parameter": "script"}),
        json!({"path": "/nodes/pve1/qemu/100/config"}),
        json!({"path": "/nodes/{node}/qemu/{vmid}/status/shutdown", "method": "POST"}),
        json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE"}),
        json!({"path": "/nodes/{node}/qemu", "method": "POST", "parameter": "memory"}),
        json!({"path": "/nodes/{node}/qemu", "method": "POST", "parameter": "net0"}),
        json!({"path": "/qemu/web01/snapshot", "method": "POST"}),
        json!({"path": "/nodes/pve1/qemu/100/status"}),
        json!({"path": "/nodes/pve1/storage/local/content/local:iso/x.iso"}),
        json!({"path": "/nodes/pve1/qemu/100/confg"}),
        json!({"path": "/nodes/pve1/qemu/100/config", "method": "DELETE"}),
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "parameter": "memroy"}),
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "parameter": "nothing-like-it"}),
        json!({"path": "/nodes/pve1/qemu", "parameter": "nothing-like-it"}),
        json!({"path": "/access/ticket"}),
        json!({"path": "/access/password", "method": "PUT"}),
        json!({"path": "/nodes/pve1/qemu/100/monitor"}),
        json!({"path": "/"}),
        json!({"path": "/../etc/passwd"}),
        json!({"path": "/version", "cluster": "dmeo"}),
        json!({"path": "/version", "method": "PATCH"}),
        json!({}),
    ] {
        document.call(server, "describe_api", arguments);
    }
}

fn reads(document: &mut Document, server: &McpServer) {
    document.section("proxmox_api_get");
    for arguments in [
        json!({"path": "/version"}),
        json!({"path": "GET /version"}),
        json!({"path": "/nodes/pve1/qemu/100/config"}),
        json!({"path": "/qemu/web01/config", "fields": "name,memory,cores"}),
        json!({"path": "/qemu/web01/status/current", "fields": "status,name,vmid"}),
        json!({"path": "/nodes/{node}/qemu/web01/config", "fields": "name"}),
        json!({"path": "/nodes/pve2/qemu/100/config", "fields": "name"}),
        json!({"path": "/lxc/web01/config", "fields": "name"}),
        json!({"path": "/nodes/pve1/storage", "format": "table", "fields": "storage,type,content", "sort": "storage"}),
        json!({"path": "/nodes/pve1/storage", "filter": "type=dir", "fields": "storage"}),
        json!({"path": "/nodes/pve1/tasks", "params": {"limit": 2}, "fields": "type,status,user"}),
        json!({"path": "/nodes/pve1/tasks?limit=1&start=1", "fields": "type"}),
        json!({"path": "/cluster/resources", "params": {"type": "vm"}, "filter": "status=stopped,vmid>105", "sort": "-vmid", "fields": "vmid,name"}),
        json!({"path": "/cluster/resources?type=vm", "filter": "status=nothing", "fields": "vmid"}),
        json!({"path": "/cluster/resources?type=vm", "limit": 2, "offset": 1, "fields": "vmid", "format": "table"}),
        json!({"path": "/cluster/nextid"}),
        json!({"path": "/pools"}),
        json!({"path": "/cluster/ha/resources"}),
        json!({"paths": ["/version", "/nodes/pve1/nope", "/qemu/web01/config?current=1", "/nodes/pve9/status"], "fields": "name,version"}),
        json!({"paths": ["/nodes/pve1/nope", "/nodes/pve9/status"]}),
        json!({"path": "/nodes/pve1/storage", "limit": 1, "fields": "storage"}),
        json!({"path": "/nodes/pve1/storage", "offset": 100}),
        json!({"path": "/nodes/pve1/storage", "sort": "nope", "fields": "storage"}),
    ] {
        document.call(server, "proxmox_api_get", arguments);
    }
    document.section("proxmox_api_get: values as tables show them");
    for filter in [
        "template=yes",
        "template=no and status=stopped",
        "tags=web",
        "tags!=infra, pool=-",
        "maxmem>=16GiB",
        "maxmem<=500MB",
        "status=runing",
        "name=web",
        "name=web*",
        "mem>abc",
        "vmid=web01",
        "cpu>150",
        "name>5",
        "status=running type=lxc",
    ] {
        let arguments = json!({"path": "/cluster/resources?type=vm", "filter": filter, "fields": "vmid,name"});
        document.call(server, "proxmox_api_get", arguments);
    }
    for arguments in [
        json!({"path": "/cluster/resources?type=storage", "filter": "disk>90%", "fields": "id"}),
        json!({"path": "/nodes/pve1/qemu", "filter": "maxmem>90%"}),
        json!({"path": "/nodes/pve1/storage/nas/content", "filter": "ctime<2020-01-01", "fields": "vmid"}),
        json!({"path": "/nodes/pve1/storage/nas/content", "filter": "vmid=100|vmid=101"}),
        json!({"path": "/nodes/pve1/storage/nas/content", "filter": "ctime>=1999-01", "fields": "vmid", "limit": 1}),
        json!({"path": "/cluster/tasks", "filter": "starttime>24h"}),
        json!({"paths": ["/version", "/nodes", "/cluster/backup"], "filter": "node=pve1", "fields": "node,vmid"}),
        json!({"path": "/qemu/web02/migrate"}),
        json!({"path": "/pools/stage"}),
        json!({"path": "/nodes/pve1/network"}),
        json!({"path": "/access/permissions"}),
        json!({"path": "/qemu/web/config"}),
    ] {
        document.call(server, "proxmox_api_get", arguments);
    }
    document.section("proxmox_api_get: errors");
    for arguments in [
        json!({}),
        json!({"path": "/version", "paths": ["/version"]}),
        json!({"paths": []}),
        json!({"paths": vec!["/version"; 21]}),
        json!({"paths": [7]}),
        json!({"path": "/version", "method": "POST"}),
        json!({"path": "POST /nodes/pve1/qemu/100/status/stop"}),
        json!({"path": "/nodes/pve1/qemu/100/status/stop"}),
        json!({"path": "/nodes/pve1/storage", "filter": "n"}),
        json!({"path": "/nodes/pve1/storage", "fields": "tpye"}),
        json!({"path": "/version", "filter": "a=b"}),
        json!({"path": "/version", "format": "xml"}),
        json!({"path": "/version", "limit": "many"}),
        json!({"path": "/nodes/pve1/tasks?start=5", "params": {"start": 6}}),
        json!({"path": "/nodes/pve1/tasks", "params": {"strat": 6}}),
        json!({"path": "/version", "params": "a=b"}),
        json!({"path": "/nodes/pve9/status"}),
        json!({"path": "/nodes/pve1/qemu/107/config"}),
        json!({"path": "/qemu/107/config"}),
        json!({"path": "/qemu/wbe01/config"}),
        json!({"path": "/nodes/pve1/storage/tape/content"}),
        json!({"path": "/qemu/102/agent/get-osinfo"}),
        json!({"path": "/nodes/{node}/status"}),
        json!({"path": "/nodes/localhost/status"}),
        json!({"path": "/nodes/pve1/qemu/{vmid}/config"}),
        json!({"path": "/cluster/metrics/server"}),
    ] {
        document.call(server, "proxmox_api_get", arguments);
    }
}

fn changes(document: &mut Document, server: &McpServer) {
    document.section("proxmox_api_call");
    for arguments in [
        json!({"path": "/version"}),
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"description": "a word", "onboot": true}}),
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"description": "a word"}, "dry_run": true}),
        json!({"path": "/nodes/pve2/qemu/106", "method": "DELETE", "data": {"purge": true}, "dry_run": true}),
        json!({"path": "/access/password", "method": "PUT", "data": {"userid": "a@pve", "password": "secret-word"}, "dry_run": true}),
        json!({"path": "/nodes/pve1/qemu/100/agent/exec", "method": "POST", "data": {"command": ["id"]}, "dry_run": true}),
        json!({"path": "/qemu/staging01/status/start", "method": "POST", "wait": true}),
        json!({"path": "/nodes/pve1/qemu/106/status/shutdown", "method": "POST", "wait": true}),
        json!({"path": "/qemu/web01/status/start", "method": "POST", "wait": true}),
        json!({"path": "/qemu/web01/snapshot", "method": "POST", "data": {"snapname": "before"}}),
        json!({"path": "/nodes/pve1/vzdump", "method": "POST", "data": {"vmid": "web01", "storage": "nas"}, "wait": true}),
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"cores": 2, "digest": "0".repeat(40)}}),
        json!({"path": "/nodes/pve1/qemu/107/status/start", "method": "POST", "wait": true}),
        json!({"path": "/nodes/pve2/qemu/100", "method": "DELETE"}),
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "data": {"vmid": 100}}),
        json!({"path": "/nodes/pve1/qemu/100/agent/exec", "method": "POST", "data": {"command": ["id"]}}),
        json!({"path": "/version", "method": "PATCH"}),
        json!({"path": "/nodes/pve1/tasks", "method": "GET", "data": {"limit": 1}, "fields": "type"}),
    ] {
        document.call(server, "proxmox_api_call", arguments);
    }
}

#[test]
fn demo_reads() {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    let mut document = document();
    lists(&mut document, &server);
    descriptions(&mut document, &server);
    reads(&mut document, &server);
    document.assert("demo_reads");
}

/// Makes changes, each with its dry run before it, which has the undo that the answer has.
#[test]
fn demo_undos() {
    let demo = demo();
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    let mut document = document();
    for (section, changes) in [
        (
            "A role",
            vec![
                ("/access/roles/VMOperator", json!({"privs": "VM.Backup", "append": true})),
                ("/access/roles/VMOperator", json!({"privs": "VM.Audit"})),
                ("/access/users/alice@pve", json!({"groups": "admins", "append": true})),
            ],
        ),
        (
            "Options that are not set",
            vec![
                ("/qemu/web01/config", json!({"protection": true})),
                ("/qemu/web02/config", json!({"onboot": false, "protection": true})),
                ("/qemu/gitlab/config", json!({"onboot": false, "protection": true, "startup": "order=2"})),
                ("/lxc/dns01/config", json!({"onboot": false, "protection": true})),
            ],
        ),
        (
            "Pools",
            vec![
                ("/pools/prod", json!({"vms": 106})),
                ("/pools/prod", json!({"vms": 106, "allow-move": true})),
                ("/pools", json!({"poolid": "prod", "vms": "103,106", "allow-move": true})),
                ("/pools/prod", json!({"vms": "100,101", "delete": true})),
                ("/pools/prod", json!({"storage": "nas"})),
                ("/pools/prod", json!({"comment": "the shop"})),
                ("/pools", json!({"poolid": "stage", "vms": "103,105,106", "storage": "nas", "allow-move": true})),
            ],
        ),
        (
            "High availability",
            vec![
                ("/cluster/ha/resources/vm:104", json!({"state": "stopped"})),
                ("/cluster/ha/resources/vm:104", json!({"state": "started"})),
            ],
        ),
    ] {
        document.section(section);
        for (path, data) in changes {
            let mut call = json!({"path": path, "method": "PUT", "data": data, "dry_run": true});
            document.call(&server, "proxmox_api_call", call.clone());
            call["dry_run"] = false.into();
            document.call(&server, "proxmox_api_call", call);
        }
    }
    document.section("A list with a call that has no undo");
    let call = |path: &str, method: &str, data: Value| json!({"path": path, "method": method, "data": data});
    let calls = [
        call("/qemu/web02/config", "PUT", json!({"description": "a word"})),
        call("/qemu/web02/config", "PUT", json!({"description": "a word"})),
        call("/qemu/web02/status/stop", "POST", json!({})),
        call("/pools", "POST", json!({"poolid": "short"})),
        call("/pools/short", "PUT", json!({"vms": 106, "allow-move": true})),
        call("/pools/short", "PUT", json!({"vms": 106, "delete": true})),
        call("/pools/short", "DELETE", json!({})),
    ];
    document.call(&server, "proxmox_api_call", json!({"calls": calls, "wait": true}));
    document.section("A list with guests of several pools");
    let calls = [
        call("/pools", "POST", json!({"poolid": "test"})),
        call("/pools/test", "PUT", json!({"vms": "102,103", "allow-move": true})),
    ];
    document.call(&server, "proxmox_api_call", json!({"calls": calls}));
    document.assert("demo_undos");
}

#[test]
fn demo_changes() {
    let demo = demo();
    let server = product(vec![demo.cluster()]);
    let mut document = document();
    changes(&mut document, &server);
    document.section("States that are there already");
    for path in ["/qemu/win11-desk/status/shutdown", "/qemu/win11-desk/status/stop", "/lxc/204/status/shutdown"] {
        document.call(&server, "proxmox_api_call", json!({"path": path, "method": "POST"}));
    }
    document.call(&server, "wait_for_task", json!({"upid": "web01 unlocked"}));
    document.section("A read-only API token");
    let server = product(vec![demo.auditor()]);
    for arguments in
        [json!({"path": "/qemu/web01/status/reboot", "method": "POST"}), json!({"path": "/nodes/pve1/apt/update"})]
    {
        document.call(&server, "proxmox_api_call", arguments);
    }
    document.assert("demo_changes");
}

#[test]
fn demo_of_several_clusters() {
    let demo = demo();
    let named = |name: &str, cluster: ClusterConfig| ClusterConfig { name: name.into(), ..cluster };
    let down = ClusterConfig { endpoints: vec![closed_endpoint()], ..named("down", demo.cluster()) };
    let server = product(vec![named("lab", demo.cluster()), down]);
    let mut document = document();
    for (tool, arguments) in [
        ("list_clusters", json!({})),
        ("list_clusters", json!({"check": true})),
        ("list_nodes", json!({})),
        ("list_nodes", json!({"cluster": "down"})),
        ("list_nodes", json!({"cluster": "lab"})),
        ("get_cluster_resources", json!({"type": "node"})),
        ("find_guest", json!({"query": "web01"})),
        ("find_guest", json!({"query": "web01", "cluster": "down"})),
        ("proxmox_api_get", json!({"path": "/version"})),
        ("proxmox_api_get", json!({"path": "/version", "cluster": "lab"})),
        ("proxmox_api_get", json!({"path": "/version", "cluster": "lba"})),
        ("proxmox_api_get", json!({"path": "/version", "cluster": "down"})),
        ("proxmox_api_call", json!({"path": "/qemu/web01/status/start", "method": "POST", "cluster": "down"})),
        ("proxmox_api_call", json!({"path": "/qemu/107/status/start", "method": "POST", "cluster": "lab"})),
        ("describe_api", json!({"path": "/version", "cluster": "down"})),
        ("search_api", json!({"query": "version", "limit": 1})),
    ] {
        document.call(&server, tool, arguments);
    }
    document.assert("demo_clusters");
}

/// Records a page that ends before its list does, and a truncated text.
#[test]
fn demo_of_long_answers() {
    let demo = demo();
    let tools = proxmox_mcp::tools::catalog(&crate::support::test_tools::tool_state(vec![demo.cluster()], 500));
    let server = McpServer::new(tools).expect("a server");
    let mut document = document();
    let cases: [(&str, Value); 4] = [
        ("proxmox_api_get", json!({"path": "/nodes/pve1/storage", "fields": "storage,type,content"})),
        ("proxmox_api_get", json!({"path": "/cluster/resources", "fields": "id,type,status", "format": "table"})),
        ("proxmox_api_get", json!({"paths": ["/version", "/nodes/pve1/storage"], "fields": "storage,version,content"})),
        ("proxmox_api_get", json!({"path": "/qemu/web01/config"})),
    ];
    for (tool, arguments) in cases {
        document.call(&server, tool, arguments);
    }
    document.assert("demo_pages");
}

/// Starts a simulated cluster of Proxmox VE 8, or one that is upgraded to 9 node by node.
fn older_demo(other: Option<Release>) -> Demo {
    let mut options = Options::default();
    (options.task_step, options.lag, options.apidoc) = (Duration::ZERO, Duration::ZERO, Some(APIDOC.into()));
    match other {
        None => options.release = Release::Pve8,
        other => options.other_release = other,
    }
    Demo::start_with(options).expect("the demo cluster")
}

/// Records every tool over a cluster of Proxmox VE 8: errors in the status line only, HA groups, `VM.Monitor`.
#[test]
fn demo_of_release_8() {
    let demo = older_demo(None);
    let open = |cluster: ClusterConfig| ClusterConfig { policy: open_policy(), ..cluster };
    let server = product(vec![open(demo.cluster()), open(demo.auditor())]);
    let mut document = document();
    document.section("Lists");
    for (tool, arguments) in [
        ("list_clusters", json!({"check": true})),
        ("list_nodes", json!({"cluster": "demo"})),
        ("get_cluster_resources", json!({"cluster": "demo", "type": "vm"})),
        ("get_cluster_resources", json!({"cluster": "demo", "type": "sdn"})),
        ("find_guest", json!({"cluster": "demo", "query": "web01"})),
    ] {
        document.call(&server, tool, arguments);
    }
    document.section("The API");
    for (tool, arguments) in [
        ("search_api", json!({"cluster": "demo", "query": "ha group", "limit": 3})),
        ("describe_api", json!({"cluster": "demo", "path": "/cluster/ha/groups", "method": "POST"})),
        ("describe_api", json!({"cluster": "demo", "path": "/cluster/ha/rules", "method": "POST"})),
        ("describe_api", json!({"cluster": "demo", "path": "/nodes/pve1/qemu/100/agent/exec", "method": "POST"})),
        ("describe_api", json!({"cluster": "demo", "path": "/nodes/pve1/query-oci-repo-tags"})),
    ] {
        document.call(&server, tool, arguments);
    }
    document.section("Reads");
    for arguments in [
        json!({"cluster": "demo", "paths": ["/version", "/cluster/ha/groups", "/cluster/ha/resources"]}),
        json!({"cluster": "demo", "path": "/cluster/ha/rules"}),
        json!({"cluster": "demo", "path": "/nodes/pve1/qemu/107/config"}),
        json!({"cluster": "demo", "path": "/nodes/pve1/tasks", "params": {"statusfilter": "failed"}}),
        json!({"cluster": "demo", "path": "/nodes/pve9/status"}),
        json!({"cluster": "demo-audit", "path": "/nodes/pve1/qemu/100/agent/get-osinfo"}),
        json!({"cluster": "demo-audit", "path": "/access/permissions", "params": {"path": "/vms/100"}}),
        json!({"cluster": "demo", "path": "/access/roles/PVEVMUser"}),
    ] {
        document.call(&server, "proxmox_api_get", arguments);
    }
    document.section("Changes");
    for arguments in [
        json!({"path": "/cluster/ha/groups", "method": "POST", "data": {"group": "west", "nodes": "pve1,pve2"}}),
        json!({"path": "/cluster/ha/rules", "method": "POST", "data": {"rule": "r1", "type": "node-affinity"}}),
        json!({"path": "/cluster/ha/resources", "method": "POST", "data": {"sid": "vm:web01", "group": "east"}}),
        json!({"path": "/cluster/ha/resources", "method": "POST", "data": {"sid": "vm:web01", "failback": true}}),
        json!({"path": "/cluster/bulk-action/guest/start", "method": "POST"}),
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"allow-ksm": true}}),
        json!({"path": "/access/roles", "method": "POST", "data": {"roleid": "r", "privs": "VM.GuestAgent.Audit"}}),
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"onboot": false}}),
        json!({"path": "/qemu/web01/config", "method": "PUT", "data": {"cores": 2, "digest": "0".repeat(40)}}),
        json!({"path": "/qemu/staging01/status/start", "method": "POST", "wait": true}),
        json!({"path": "/qemu/web01/status/start", "method": "POST", "wait": true}),
        json!({"path": "/qemu/web01/agent/exec", "method": "POST", "data": {"command": ["hostname"]}, "wait": true}),
        json!({"path": "/lxc/dns01/status/start", "method": "POST"}),
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "data": {"vmid": 100}}),
    ] {
        let mut arguments = arguments;
        arguments["cluster"] = "demo".into();
        document.call(&server, "proxmox_api_call", arguments);
    }
    let stop = json!({"cluster": "demo-audit", "path": "/qemu/web01/status/stop", "method": "POST"});
    document.call(&server, "proxmox_api_call", stop);
    let last = json!({"cluster": "demo", "path": "/nodes/pve2/tasks?limit=1", "fields": "upid"});
    let tasks = document.call(&server, "proxmox_api_get", last).to_string();
    let start = tasks.find("UPID:").expect("a task");
    let upid = tasks[start..].split(['"', '\\', ' ']).next().expect("a first part");
    document.call(&server, "wait_for_task", json!({"cluster": "demo", "upid": upid}));
    document.assert("demo_release_8");
}

/// Records calls to a node of another release than that of the node that is asked.
#[test]
fn demo_of_two_releases() {
    let demo = older_demo(Some(Release::Pve8));
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    let mut document = document();
    for (tool, arguments) in [
        ("proxmox_api_get", json!({"paths": ["/version", "/nodes/pve1/version", "/nodes/pve3/version"]})),
        ("proxmox_api_get", json!({"path": "/nodes/pve3/qemu/107/config"})),
        (
            "proxmox_api_call",
            json!({"path": "/nodes/pve3/query-oci-repo-tags", "method": "GET", "data": {"reference": "x"}}),
        ),
        (
            "proxmox_api_call",
            json!({"path": "/nodes/pve3/qemu/103/config", "method": "PUT", "data": {"allow-ksm": true}}),
        ),
        (
            "proxmox_api_call",
            json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT", "data": {"allow-ksm": true}}),
        ),
        (
            "proxmox_api_call",
            json!({"path": "/nodes/pve3/qemu/103/config", "method": "PUT", "data": {"onboot": false}}),
        ),
        (
            "proxmox_api_call",
            json!({"path": "/nodes/pve3/qemu/103/agent/exec", "method": "POST", "data": {"command": ["id"]}}),
        ),
    ] {
        document.call(&server, tool, arguments);
    }
    document.assert("demo_two_releases");
}

/// Returns a call of a list.
fn listed(method: &str, path: &str, data: Value) -> Value {
    json!({"path": path, "method": method, "data": data})
}

#[test]
fn demo_states() {
    // The tasks of this cluster do not end while the test runs.
    let slow = start_demo(Duration::from_secs(3600));
    let server = product(vec![ClusterConfig { policy: open_policy(), ..slow.cluster() }]);
    let mut document = document();
    document.section("Tasks that run");
    let calls = [
        listed("POST", "/qemu/staging01/snapshot", json!({"snapname": "s4"})),
        listed("POST", "/nodes/pve1/vzdump", json!({"vmid": 200, "storage": "nas"})),
        listed("POST", "/qemu/gitlab/snapshot", json!({"snapname": "s4"})),
    ];
    document.call(&server, "proxmox_api_call", json!({"calls": calls}));
    document.call(&server, "wait_for_task", json!({"upid": "gitlab running"}));
    for data in [json!({}), json!({"start": true})] {
        let path = "/qemu/staging01/snapshot/before-upgrade/rollback";
        let call = json!({"path": path, "method": "POST", "data": data, "dry_run": true});
        document.call(&server, "proxmox_api_call", call);
    }
    let path = "/qemu/staging01/snapshot/before-upgrade/rollback";
    document.call(&server, "proxmox_api_call", json!({"path": path, "method": "POST", "wait": true}));
    // The HA manager of this cluster does not act while the test runs.
    let mut options = Options::default();
    (options.task_step, options.lag) = (Duration::ZERO, Duration::from_secs(3600));
    options.apidoc = Some(APIDOC.into());
    let late = Demo::start_with(options).expect("the demo cluster");
    let server = product(vec![ClusterConfig { policy: open_policy(), ..late.cluster() }]);
    document.section("A snapshot without memory of a guest that HA wants to run");
    let snapshot = json!({"path": "/qemu/gitlab/snapshot", "method": "POST", "data": {"snapname": "s5"}, "wait": true});
    document.call(&server, "proxmox_api_call", snapshot);
    let mut call =
        json!({"path": "/qemu/gitlab/snapshot/s5/rollback", "method": "POST", "dry_run": true, "wait": true});
    document.call(&server, "proxmox_api_call", call.clone());
    call["dry_run"] = false.into();
    document.call(&server, "proxmox_api_call", call);
    document.section("Guests that HA gets or has");
    let demo = demo();
    let server = product(vec![ClusterConfig { policy: open_policy(), ..demo.cluster() }]);
    for data in [
        json!({"sid": "vm:106"}),
        json!({"sid": "vm:106", "state": "started"}),
        json!({"sid": "vm:106", "state": "stopped"}),
        json!({"sid": "vm:100", "state": "stopped"}),
        json!({"sid": "vm:200"}),
        json!({"sid": "ct:100"}),
    ] {
        let call = json!({"path": "/cluster/ha/resources", "method": "POST", "data": data, "dry_run": true});
        document.call(&server, "proxmox_api_call", call);
    }
    let calls = [
        listed("PUT", "/cluster/ha/resources/vm:104", json!({"state": "stopped"})),
        listed("DELETE", "/nodes/pve2/qemu/104", json!({"purge": true})),
    ];
    document.call(&server, "proxmox_api_call", json!({"calls": calls, "wait": true}));
    let calls = [
        listed("PUT", "/pools/prod", json!({"vms": 105, "allow-move": true})),
        listed("PUT", "/pools/prod", json!({"comment": "short"})),
        listed("DELETE", "/nodes/pve3/qemu/105", json!({})),
    ];
    document.call(&server, "proxmox_api_call", json!({"calls": calls, "wait": true}));
    document.section("The firewall of a guest and its network card");
    for (path, data) in [
        ("/qemu/staging01/config", json!({"net0": "virtio=BC:24:11:00:00:6A,bridge=vmbr1"})),
        ("/qemu/staging01/firewall/options", json!({"enable": true, "policy_in": "REJECT"})),
        ("/qemu/staging01/config", json!({"net0": "virtio=BC:24:11:00:00:6A,bridge=vmbr1,firewall=1"})),
        ("/qemu/staging01/firewall/options", json!({"enable": true, "policy_in": "DROP"})),
    ] {
        let mut call = json!({"path": path, "method": "PUT", "data": data, "dry_run": true});
        document.call(&server, "proxmox_api_call", call.clone());
        call["dry_run"] = false.into();
        document.call(&server, "proxmox_api_call", call);
    }
    document.assert("demo_states");
}
