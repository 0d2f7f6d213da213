//! Many clients at once on all three transports, all with the same request ids: no client gets the answer of another.

use crate::support::node::{Node, ScriptedReply};
use crate::support::process::{ServerProcess, configuration, path};
use crate::support::rpc::text;
use crate::support::server::TestServer;
use crate::support::test_tools::TestTools;
use crate::support::transport::{HttpTransport, SseTransport, Transport};
use serde_json::json;
use std::collections::BTreeMap;
use std::thread;

const SSE_CLIENTS: usize = 28;
const HTTP_CLIENTS: usize = 28;
/// Each stdio client has its own process.
const STDIO_CLIENTS: usize = 8;
const CLIENTS: usize = SSE_CLIENTS + HTTP_CLIENTS + STDIO_CLIENTS;
const CALLS: usize = 10_000;
/// Calls that a client has in flight.
const WINDOW: usize = 4;

/// Makes a client's share of the calls. One call per window uses the cluster, the others use `echo` if the server has
/// it. Every call has the client's name and its own number.
fn make_calls(name: &str, link: &mut dyn Transport, can_echo: bool) -> usize {
    let share = CALLS.div_ceil(CLIENTS);
    let ids: Vec<usize> = (0..share).collect();
    for window in ids.chunks(WINDOW) {
        let mut awaited = BTreeMap::new();
        for id in window {
            if can_echo && id % WINDOW != 0 {
                let message = format!("{name} says {id}");
                link.send(*id, "echo", json!({"text": message}));
                awaited.insert(*id, message);
            } else {
                let path = format!("/nodes/{name}/qemu/{}/config", 100 + id);
                link.send(*id, "proxmox_api_call", json!({"path": path}));
                awaited.insert(*id, format!("/api2/json{path}"));
            }
        }
        while !awaited.is_empty() {
            let answer = link.receive();
            let id = answer["id"].as_u64().unwrap_or_else(|| panic!("{name}: {answer}")) as usize;
            let expected = awaited.remove(&id).unwrap_or_else(|| panic!("{name} did not await {answer}"));
            assert_eq!(text(&answer), expected, "{name}");
        }
    }
    share
}

#[test]
fn clients_with_the_same_ids_on_all_transports_get_only_their_own_answers() {
    let node = Node::start(|request| ScriptedReply::data(&json!(request.path()).to_string()));
    let config = configuration("s", &[("test", &node.endpoint().to_string())]);
    let test_tools = TestTools::new();
    let server = TestServer::builder().mcp(test_tools.server_over(vec![node.cluster_settings()])).start();

    let mut clients: Vec<(String, Box<dyn Transport + Send>, bool)> = Vec::new();
    for n in 0..SSE_CLIENTS {
        clients.push((format!("sse{n}"), Box::new(SseTransport::open(server.address, "")), true));
    }
    for n in 0..HTTP_CLIENTS {
        let link = HttpTransport::open(server.address, n % 2 == 0, "");
        clients.push((format!("http{n}"), Box::new(link), true));
    }
    for n in 0..STDIO_CLIENTS {
        let link = ServerProcess::start(&["stdio", "--config", path(&config)]);
        clients.push((format!("stdio{n}"), Box::new(link), false));
    }
    let total: usize = thread::scope(|scope| {
        let clients: Vec<_> = clients
            .into_iter()
            .map(|(name, mut link, can_echo)| scope.spawn(move || make_calls(&name, &mut *link, can_echo)))
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    assert!(total >= CALLS, "{total}");
}
