//! Clients that disconnect at any moment, and clients that stay connected without a sign. The program frees their
//! resources, and answers well-behaved clients meanwhile.

use crate::support::node::{Node, ScriptedReply};
use crate::support::program::ProgramServer;
use crate::support::raw::{Client, Sse, eventually};
use crate::support::rpc::{ACCEPT, call, modern, modern_headers, request, text};
use serde_json::json;
use socket2::SockRef;
use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Starts the program over a node that hangs at one request.
struct HangingNodeServer {
    server: ProgramServer,
    node: Node,
}

const FINE: &str = "/nodes/pve1/status";
const HANGS: &str = "/nodes/pve2/status";

impl HangingNodeServer {
    fn start(flags: &[&str]) -> Self {
        let node = Node::start(|request| match request.path().strip_prefix("/api2/json") {
            Some(HANGS) => ScriptedReply::hang(),
            _ => ScriptedReply::data("\"fine\""),
        });
        let config = json!({"clusters": {"one": {"url": format!("http://{}", node.endpoint()), "user": "mcp@pve",
            "token_id": "ro", "token_secret": "s", "timeout_seconds": 10}}});
        Self { server: ProgramServer::builder(&config).flags(flags).start(), node }
    }

    /// Counts the descriptors, except those of connections to the node. An idle one is kept for a while.
    fn descriptors(&self) -> usize {
        let all =
            fs::read_dir(format!("/proc/{}/fd", self.server.process.child.id())).expect("its descriptors").count();
        all - self.node.open_connections()
    }

    /// Counts the threads that serve a connection or part of a call. Idle threads for calls of sessions do not count.
    fn threads(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.server.process.child.id())).expect("its threads");
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.flatten().map(name).filter(|name| ["connection\n", "fan-out\n"].contains(&&**name)).count()
    }

    /// Waits until the program has no more descriptors and threads than at the start.
    fn assert_recovers(&self, descriptors: usize) {
        eventually("every thread has ended", || self.threads() == 0);
        eventually("every descriptor is free again", || self.descriptors() <= descriptors);
        self.assert_answers();
    }

    /// Asserts that a well-behaved client is answered.
    fn assert_answers(&self) {
        let reply = self.server.connect().post_with("/mcp", ACCEPT, &call(1, "proxmox_api_get", json!({"path": FINE})));
        assert_eq!(text(&reply.json()), "fine");
    }
}

fn connect(address: &str) -> Client {
    Client::new(TcpStream::connect(address).expect("connect"))
}

/// Makes the connection send a reset when it is closed.
fn reset_on_close(client: &Client) {
    SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

/// Runs the `n`th client: it connects, does something and disconnects.
fn come_and_go(address: &str, n: usize) {
    let mut client = connect(address);
    let asked = json!({"path": FINE});
    let hung = json!({"path": HANGS});
    match n % 10 {
        0 => {}
        1 => client.send("POST /mc"),
        2 => {
            client.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\n");
            reset_on_close(&client);
        }
        3 => client.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\""),
        4 => {
            client.send_post_with("/mcp", ACCEPT, &call(n, "proxmox_api_get", asked));
            reset_on_close(&client);
        }
        5 => {
            for id in 0..3 {
                let reply = client.post_with("/mcp", ACCEPT, &call(n + id, "proxmox_api_get", asked.clone()));
                let answer = reply.json();
                assert_eq!((text(&answer), &answer["id"]), ("fine", &json!(n + id)));
            }
        }
        6 => drop(Sse::open(client)),
        7 => {
            let mut sse = Sse::open(client);
            assert_eq!(connect(address).post(&sse.path, &call(n, "proxmox_api_get", asked)).status, 202);
            assert_eq!(sse.json()["id"], n);
            reset_on_close(&sse.client);
        }
        8 => {
            let sse = Sse::open(client);
            assert_eq!(connect(address).post(&sse.path, &call(n, "proxmox_api_get", hung)).status, 202);
        }
        _ => {
            let message = modern(n, "tools/call", json!({"name": "proxmox_api_get", "arguments": hung}));
            client.send_post_with("/mcp", &modern_headers(&message), &message);
        }
    }
}

#[test]
fn thousand_vanishing_clients_leak_nothing() {
    let program = HangingNodeServer::start(&[]);
    let descriptors = program.descriptors();
    for wave in 0..20 {
        thread::scope(|scope| {
            for n in 0..50 {
                let address = &program.server.address;
                scope.spawn(move || come_and_go(address, wave * 50 + n));
            }
        });
        program.assert_answers();
    }
    program.assert_recovers(descriptors);
}

#[test]
fn half_open_clients_are_disconnected() {
    let short = ["--head-timeout", "--body-timeout", "--idle-timeout", "--write-timeout"].map(|flag| [flag, "0.5"]);
    let program = HangingNodeServer::start(&short.concat());
    let descriptors = program.descriptors();
    // The answer has some ten thousand bytes.
    let tools_list = request(1, "tools/list", json!({}));
    let mut held = Vec::new();
    for n in 0..65 {
        let mut client = program.server.connect();
        match if n < 60 { n % 4 } else { 4 + n % 2 } {
            // No bytes, a partial head, a partial body, or silence after an answer.
            0 => {}
            1 => client.send("GET /healthz HTTP/1.1\r\nHo"),
            2 => client.send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"),
            3 => assert_eq!(client.ask("GET /healthz", "").status, 200),
            // Unread answers that exceed the socket buffers of both sides.
            4 => (0..1_000).for_each(|_| client.send_post_with("/mcp", ACCEPT, &tools_list)),
            _ => {
                let sse = Sse::open(client);
                let mut poster = program.server.connect();
                eventually("the session is ended", || poster.post(&sse.path, &tools_list).status == 404);
                client = sse.client;
            }
        }
        held.push(client);
    }
    program.assert_recovers(descriptors);
    drop(held);
}
