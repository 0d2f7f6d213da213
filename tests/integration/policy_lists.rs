//! What an operator has ruled out by `deny` and `allow`: refused in whichever tool would do it for the caller, however it
//! is written.

use crate::support::node::Act;
use crate::support::policy::{Watched, open, patterns};
use crate::support::proxmox::{gzipped_facts, is_lookup};
use crate::support::stage::product;
use crate::support::tool::{Said, call};
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::policy::ClusterPolicy;
use serde_json::{Value, json};

const UPID: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:";

struct Setup {
    server: McpServer,
    node: Watched,
}

fn denying(list: &[&str]) -> Setup {
    over(Watched::start(), ClusterPolicy { deny: patterns(list), ..open() })
}

fn allowing(list: &[&str]) -> Setup {
    over(Watched::start(), ClusterPolicy { allow: Some(patterns(list)), ..open() })
}

fn over(node: Watched, rules: ClusterPolicy) -> Setup {
    let server = product(vec![node.cluster("test", rules)]);
    call(&server, "describe_api", json!({"path": "/version"}));
    Setup { server, node }
}

impl Setup {
    fn call(&self, tool: &str, arguments: Value) -> Said {
        call(&self.server, tool, arguments)
    }

    /// It is refused, and no request of it reached the node.
    #[track_caller]
    fn refused(&self, tool: &str, arguments: Value, denied: &str) -> Said {
        self.node.requests();
        let said = self.call(tool, arguments.clone());
        assert!(said.failed && said.text.contains("refused: "), "{tool} {arguments}: {said:?}");
        let requests = self.node.requests();
        assert!(!requests.iter().any(|r| r.path().ends_with(denied)), "{tool} {arguments}: {requests:?}");
        said
    }

    #[track_caller]
    fn passes(&self, tool: &str, arguments: Value) {
        let said = self.call(tool, arguments.clone());
        assert!(!said.failed, "{tool} {arguments}: {said:?}");
    }
}

#[test]
fn a_denied_list_is_denied_to_every_tool_that_shows_it() {
    let setup = denying(&["GET /nodes"]);
    setup.refused("list_nodes", json!({}), "/nodes");
    setup.refused("proxmox_api_get", json!({"path": "/nodes"}), "/nodes");
    setup.refused("proxmox_api_call", json!({"path": "//nodes/"}), "/nodes");
    let said = setup.call("list_clusters", json!({"check": true}));
    assert!(said.text.contains("refused: "), "{said:?}");
    assert!(!setup.node.requests().iter().any(|r| r.path().ends_with("/nodes")));
    setup.passes("proxmox_api_get", json!({"path": "/nodes/pve1/status"}));

    let setup = denying(&["* /cluster/resources"]);
    for (tool, arguments) in [
        ("find_guest", json!({"query": "web"})),
        ("get_cluster_resources", json!({})),
        ("get_cluster_resources", json!({"type": "storage"})),
        ("proxmox_api_get", json!({"path": "/cluster/resources?type=vm"})),
    ] {
        setup.refused(tool, arguments, "/cluster/resources");
    }
    setup.passes("list_nodes", json!({}));
}

#[test]
fn of_several_paths_the_denied_ones_alone_are_refused() {
    let setup = denying(&["GET /pools/**", "GET /nodes/*/status"]);
    let said =
        setup.call("proxmox_api_get", json!({"paths": ["/version", "/pools", "/pools/x", "/nodes/pve1/status"]}));
    let refused: Vec<bool> = [&said.text].into_iter().chain(&said.more).map(|t| t.contains("refused: ")).collect();
    assert_eq!(refused, [false, true, true, true], "{said:?}");
    let asked: Vec<_> = setup.node.requests().iter().filter(|r| !is_lookup(r)).map(|r| r.target.clone()).collect();
    assert_eq!(asked, [""; 0]);
}

#[test]
fn a_denied_path_is_denied_in_every_spelling() {
    let setup = denying(&["* /nodes/pve1/qemu/100/**"]);
    for path in [
        "/nodes/pve1/qemu/100/config",
        "/nodes/pve1/%71emu/100/config",
        "//nodes//pve1/qemu/100//config/",
        "/api2/json/nodes/pve1/qemu/100/config",
        "nodes%2Fpve1%2Fqemu%2F100%2Fconfig",
        "GET /nodes/pve1/qemu/100/config",
        "/qemu/web01/config",
        "/vm/100/config",
        "/lxc/WEB01/config",
        "/nodes/{node}/qemu/100/config",
        "/nodes/localhost/qemu/100/config",
        "/nodes/pve2/qemu/web01/config",
    ] {
        setup.refused("proxmox_api_get", json!({"path": path}), "/100/config");
        setup.refused("proxmox_api_call", json!({"path": path}), "/100/config");
        let path = path.trim_start_matches("GET ");
        setup.refused("proxmox_api_call", json!({"path": path, "method": "PUT"}), "/100/config");
    }
    // Asked for where it is not, Proxmox says so, and it is not asked for where it is.
    for path in ["/nodes/pve2/qemu/100/config", "/nodes/pve3/lxc/100/config"] {
        assert!(setup.call("proxmox_api_get", json!({"path": path})).failed);
        setup.refused("proxmox_api_call", json!({"path": path, "method": "PUT"}), "/100/config");
    }
    assert!(!setup.node.requests().iter().any(|r| r.path().ends_with("/pve1/qemu/100/config")));
    setup.passes("proxmox_api_get", json!({"path": "/qemu/db01/config"}));
}

#[test]
fn a_volume_of_many_slashes_is_denied_as_one() {
    for pattern in ["DELETE /nodes/*/storage/*/content/*", "* /nodes/*/storage/local/**"] {
        let setup = denying(&[pattern]);
        for volume in ["local:iso/a.iso", "local%3Aiso%2Fa.iso", "iso/a.iso", "local:100/vm-100-disk-0.raw", "x"] {
            let path = format!("/nodes/pve1/storage/local/content/{volume}");
            setup.refused("proxmox_api_call", json!({"path": path, "method": "DELETE"}), ".iso");
            assert_eq!(setup.node.writes(), [""; 0]);
        }
    }
}

#[test]
fn a_node_that_is_denied_is_not_asked_under_another_name() {
    let only = Act::data(r#"[{"node":"pve1","status":"online"}]"#);
    let node = Watched::with(gzipped_facts(), move |r| (r.path() == "/api2/json/nodes").then(|| only.clone()));
    let setup = over(node, ClusterPolicy { deny: patterns(&["* /nodes/pve1/**"]), ..open() });
    for path in
        ["/nodes/localhost/status", "/nodes/LocalHost/status", "/nodes/{node}/status", "/nodes/%6cocalhost/status"]
    {
        setup.refused("proxmox_api_get", json!({"path": path}), "/status");
    }
}

#[test]
fn an_allow_list_lets_nothing_else_through() {
    let setup = allowing(&["GET /version", "GET /nodes/*/qemu/*/config", "POST /nodes/*/qemu/*/status/start"]);
    for (tool, arguments) in [
        ("list_nodes", json!({})),
        ("find_guest", json!({"query": "web"})),
        ("get_cluster_resources", json!({})),
        ("wait_for_task", json!({"upid": UPID})),
        ("proxmox_api_get", json!({"path": "/nodes/pve1/status"})),
        ("proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/config/x"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/lxc/200/config"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100/config", "method": "PUT"})),
        ("proxmox_api_call", json!({"path": "/qemu/web01/status/stop", "method": "POST"})),
        ("proxmox_api_call", json!({"path": "/version/x"})),
    ] {
        let said = setup.call(tool, arguments.clone());
        let sent: Vec<_> = setup.node.requests().into_iter().filter(|r| !is_lookup(r)).collect();
        assert!(said.failed && sent.is_empty(), "{tool} {arguments}: {said:?} {sent:?}");
    }
    setup.passes("proxmox_api_get", json!({"path": "/version"}));
    setup.passes("proxmox_api_get", json!({"path": "/nodes/pve1/qemu/100/config"}));
    setup.passes("proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"}));
    // What finds a guest by its name is a read as any other.
    let said = setup.call("proxmox_api_get", json!({"path": "/qemu/web01/config"}));
    assert!(said.failed && said.text.contains("GET /cluster/resources"), "{said:?}");
    setup.passes("search_api", json!({"query": "start a VM"}));
    setup.passes("describe_api", json!({"path": "/nodes"}));
}

#[test]
fn a_denied_log_is_not_read_while_a_task_is_waited_for() {
    for pattern in ["GET /nodes/*/tasks/*/log", "GET /nodes/*/tasks/*/status", "* /nodes/*/tasks/**"] {
        let setup = denying(&[pattern]);
        setup.refused("wait_for_task", json!({"upid": UPID}), "");
    }
}

#[test]
fn a_task_that_may_not_be_watched_is_begun_and_said_to_be() {
    let node = Watched::with(gzipped_facts(), |r| (r.method == "POST").then(|| Act::data(&format!("\"{UPID}\""))));
    let setup = over(node, ClusterPolicy { deny: patterns(&["GET /nodes/*/tasks/**"]), ..open() });
    let arguments = json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST", "wait": true});
    let said = setup.call("proxmox_api_call", arguments);
    assert!(!said.failed && said.text.contains(UPID), "{said:?}");
    assert!(said.more.iter().any(|note| note.contains("was begun") && note.contains("\"deny\" list")), "{said:?}");
    assert!(!setup.node.requests().iter().any(|r| r.path().contains("/tasks/")));
}
