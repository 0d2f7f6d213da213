//! Two clients of one server, each with its own clusters and permissions. Neither sees, reaches or confirms anything of
//! the other. The tests use a real process with a real clusters.json.

use crate::support::node::ScriptedReply;
use crate::support::policy::{RecordingNode, confirmation_code_in, token};
use crate::support::program::ProgramServer;
use crate::support::proxmox::gzipped_facts;
use crate::support::raw::{Client, Reply, Sse};
use crate::support::rpc::{ACCEPT, call, text};
use proxmox_mcp::config::TokenHash;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::thread;

/// Returns the tools, each with arguments that name a cluster (`CLUSTER`).
fn tools(cluster: &str) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("list_nodes", json!({})),
        ("get_cluster_resources", json!({"type": "vm"})),
        ("find_guest", json!({"query": "web"})),
        ("search_api", json!({"query": "start a VM"})),
        ("describe_api", json!({"path": "/version"})),
        ("proxmox_api_get", json!({"path": "/version"})),
        ("proxmox_api_get", json!({"paths": ["/version", "/nodes"]})),
        ("proxmox_api_call", json!({"path": "/version"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100/status/start", "method": "POST"})),
        ("proxmox_api_call", json!({"path": "/nodes/pve1/qemu/100", "method": "DELETE", "dry_run": true})),
        ("wait_for_task", json!({"upid": "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:"})),
    ];
    all.iter_mut().for_each(|(_, arguments)| arguments["cluster"] = cluster.into());
    all
}

/// Starts a node whose guests, nodes and answers contain the name of its cluster.
fn start_node(mark: &'static str) -> RecordingNode {
    RecordingNode::with(gzipped_facts(), move |request| {
        let guest = json!([{"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "pve1", "name": format!("{mark}-web"),
            "status": "running"}]);
        match request.target.as_str() {
            "/api2/json/cluster/resources" | "/api2/json/cluster/resources?type=vm" => {
                Some(ScriptedReply::data(&guest.to_string()))
            }
            "/api2/json/nodes" => {
                Some(ScriptedReply::data(&json!([{"node": format!("{mark}-node"), "status": "online"}]).to_string()))
            }
            target if target.contains("/pools/") => {
                Some(ScriptedReply::data(&json!(format!("{mark} {target}")).to_string()))
            }
            _ => None,
        }
    })
}

/// Starts a process with two clusters, of which `beta` is the default. ada may do all on `alpha`, bob may read on
/// `beta`, eve may operate on both.
struct TwoClusters {
    alpha: RecordingNode,
    beta: RecordingNode,
    server: ProgramServer,
}

impl TwoClusters {
    fn start() -> Self {
        let (alpha, beta) = (start_node("alpha"), start_node("beta"));
        let cluster = |node: &RecordingNode| {
            json!({"url": format!("http://{}", node.node.endpoint()), "user": "root@pam", "token_id": "mcp", "token_secret": "5ec2e7",
                "timeout_seconds": 10, "exec": true})
        };
        let client = |name: &str, access: &str, more: Value| {
            let mut entry =
                json!({"token_sha256": TokenHash::from_token(token(name).as_bytes()).to_string(), "access": access});
            more.as_object().expect("fields").iter().for_each(|(name, value)| entry[name] = value.clone());
            entry
        };
        let config = json!({
            "default": "beta",
            "clusters": {"alpha": cluster(&alpha), "beta": cluster(&beta)},
            "clients": {
                "ada": client("ada", "full", json!({"exec": true, "clusters": ["alpha"]})),
                "bob": client("bob", "read", json!({"clusters": ["beta"]})),
                "eve": client("eve", "operate", json!({})),
            },
        });
        Self { alpha, beta, server: ProgramServer::builder(&config).start() }
    }

    fn call(&self, who: &str, tool: &str, arguments: &Value) -> Value {
        call_on(&mut self.server.connect(), who, tool, arguments)
    }
}

fn bearer(name: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(name))
}

fn post(http: &mut Client, who: &str, message: &str) -> Reply {
    http.post_with("/mcp", &format!("{ACCEPT}{}", bearer(who)), message)
}

fn call_on(http: &mut Client, who: &str, tool: &str, arguments: &Value) -> Value {
    post(http, who, &call(1, tool, arguments.clone())).json()
}

fn is_failed(answer: &Value) -> bool {
    answer["result"]["isError"] == true
}

const OTHERS: [(&str, &str, &str); 2] = [("ada", "alpha", "beta"), ("bob", "beta", "alpha")];

#[test]
fn client_sees_only_its_own_clusters() {
    let clusters = TwoClusters::start();
    for (who, own, other) in OTHERS {
        for (tool, arguments) in [
            ("list_clusters", json!({})),
            ("list_clusters", json!({"check": true})),
            ("list_nodes", json!({})),
            ("get_cluster_resources", json!({})),
            ("find_guest", json!({"query": "web"})),
        ] {
            let answer = clusters.call(who, tool, &arguments);
            assert!(!is_failed(&answer) && !answer.to_string().contains(other), "{who} {tool}: {answer}");
            assert!(answer.to_string().contains(own), "{who} {tool}: {answer}");
        }
    }
    let both = clusters.call("eve", "find_guest", &json!({"query": "web"}));
    assert!(text(&both).contains("alpha-web") && text(&both).contains("beta-web"), "{both}");
}

#[test]
fn cluster_of_another_client_is_unknown_to_every_tool() {
    let clusters = TwoClusters::start();
    for (who, own, other) in OTHERS {
        let node = if own == "alpha" { &clusters.beta } else { &clusters.alpha };
        for ((tool, arguments), (_, nowhere)) in tools(other).iter().zip(tools("gamma")) {
            let answer = clusters.call(who, tool, arguments);
            assert!(
                is_failed(&answer) && text(&answer).contains(&format!("there is no cluster `{other}`")),
                "{answer}"
            );
            // An unknown cluster has the same error, so a client cannot find out cluster names by guessing.
            let unknown = clusters.call(who, tool, &nowhere);
            let content_of = |answer: &Value| answer["result"]["content"].to_string();
            assert_eq!(content_of(&answer).replace(other, "gamma"), content_of(&unknown), "{who} {tool}");
            assert_eq!(node.requests().len(), 0, "{who} {tool}");
        }
    }
}

#[test]
fn call_without_a_cluster_uses_the_only_one_of_the_client_not_the_default() {
    let clusters = TwoClusters::start();
    for (who, own, _) in OTHERS {
        let answer = clusters.call(who, "proxmox_api_get", &json!({"path": "/pools/mine"}));
        assert_eq!(text(&answer), format!("{own} /api2/json/pools/mine"), "{answer}");
    }
    clusters.beta.requests();
    for arguments in tools("").iter_mut().map(|(tool, arguments)| {
        arguments.as_object_mut().expect("an object").remove("cluster");
        (*tool, arguments.clone())
    }) {
        let answer = clusters.call("ada", arguments.0, &arguments.1);
        assert!(!answer.to_string().contains("beta"), "{arguments:?}: {answer}");
        assert_eq!(clusters.beta.requests().len(), 0, "{arguments:?}");
    }
}

#[test]
fn task_is_not_searched_on_clusters_of_another_client() {
    let clusters = TwoClusters::start();
    let upid = "UPID:beta-node:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:";
    let answer = clusters.call("ada", "wait_for_task", &json!({"upid": upid, "timeout": 1}));
    assert!(is_failed(&answer), "{answer}");
    assert_eq!(clusters.beta.requests().len(), 0);
}

#[test]
fn each_client_has_its_own_permissions() {
    let clusters = TwoClusters::start();
    let of = |path: &str, method: &str, cluster: &str| {
        let data = if method == "PUT" { json!({"description": "x"}) } else { json!({}) };
        json!({"path": path, "method": method, "data": data, "cluster": cluster})
    };
    let start = "/nodes/pve1/qemu/100/status/start";
    let config = "/nodes/pve1/qemu/100/config";
    for (who, cluster, path, method, sent) in [
        ("ada", "alpha", start, "POST", true),
        ("ada", "alpha", config, "PUT", true),
        ("bob", "beta", start, "POST", false),
        ("bob", "beta", config, "PUT", false),
        ("eve", "alpha", start, "POST", true),
        ("eve", "beta", start, "POST", true),
        ("eve", "alpha", config, "PUT", false),
    ] {
        let answer = clusters.call(who, "proxmox_api_call", &of(path, method, cluster));
        let writes = [clusters.alpha.writes(), clusters.beta.writes()].concat();
        assert_eq!((is_failed(&answer), writes.len()), (!sent, usize::from(sent)), "{who} {method} {path}: {answer}");
        assert!(sent || text(&answer).contains(&format!("client \"{who}\" has")), "{answer}");
    }
}

#[test]
fn codes_and_sessions_are_bound_to_their_client() {
    let clusters = TwoClusters::start();
    let stop = json!({"path": "/nodes/pve1/qemu/100/status/stop", "method": "POST", "cluster": "alpha"});
    let mut again = stop.clone();
    again["confirm"] = confirmation_code_in(text(&clusters.call("ada", "proxmox_api_call", &stop))).into();
    let answer = clusters.call("eve", "proxmox_api_call", &again);
    assert!(is_failed(&answer) && text(&answer).contains("not for this call"), "{answer}");
    assert_eq!(clusters.alpha.writes(), [""; 0]);

    let mut sse = Sse::open_with(clusters.server.connect(), &bearer("ada"));
    let message = call(7, "proxmox_api_call", again.clone());
    for who in ["bob", "eve"] {
        assert_ne!(clusters.server.connect().post_with(&sse.path, &bearer(who), &message).status, 202, "{who}");
    }
    assert_eq!(clusters.alpha.writes(), [""; 0]);
    assert_eq!(clusters.server.connect().post_with(&sse.path, &bearer("ada"), &message).status, 202);
    let answer = sse.json();
    assert!(answer["id"] == 7 && !is_failed(&answer), "{answer}");
    assert_eq!(clusters.alpha.writes(), ["POST /nodes/pve1/qemu/100/status/stop"]);
}

/// Number of calls on one connection.
const CALLS: usize = 40;

/// Makes many calls of one client and checks that each gets its own answer.
fn make_many_calls(address: &str, (who, own, other): (&str, &str, &str), sse: bool) {
    let connect = || Client::new(TcpStream::connect(address).expect("a connection"));
    let (mut http, mut events) = (connect(), None);
    if sse {
        events = Some(Sse::open_with(connect(), &bearer(who)));
    }
    for n in 0..CALLS {
        let arguments = json!({"path": format!("/pools/{who}-{n}")});
        let mut ask = |arguments: &Value| match &mut events {
            None => call_on(&mut http, who, "proxmox_api_get", arguments),
            Some(events) => {
                let message = call(n, "proxmox_api_get", arguments.clone());
                assert_eq!(http.post_with(&events.path, &bearer(who), &message).status, 202);
                events.json()
            }
        };
        let answer = ask(&arguments);
        assert_eq!(text(&answer), format!("{own} /api2/json/pools/{who}-{n}"), "{answer}");
        let mut wrong = arguments.clone();
        wrong["cluster"] = other.into();
        assert!(is_failed(&ask(&wrong)));
    }
}

#[test]
fn parallel_calls_of_two_clients_are_not_mixed_up() {
    let clusters = TwoClusters::start();
    let address = clusters.server.address.as_str();
    thread::scope(|scope| {
        for (who, own, other) in OTHERS {
            for sse in [false, true] {
                scope.spawn(move || make_many_calls(address, (who, own, other), sse));
            }
        }
    });
    for (node, foreign) in [(&clusters.alpha, "bob"), (&clusters.beta, "ada")] {
        let requests = node.requests();
        assert!(requests.len() >= 2 * CALLS && !requests.iter().any(|r| r.target.contains(foreign)));
    }
}

#[test]
fn kept_connection_uses_the_client_of_each_request() {
    let clusters = TwoClusters::start();
    let mut http = clusters.server.connect();
    for _ in 0..3 {
        for (who, own, _) in OTHERS {
            let answer = call_on(&mut http, who, "proxmox_api_get", &json!({"path": "/pools/x"}));
            assert_eq!(text(&answer), format!("{own} /api2/json/pools/x"), "{answer}");
        }
    }
}
