//! A client's way to a server, whatever the transport.
#![allow(dead_code)]

use super::process::Process;
use super::raw::{Client, Sse};
use super::rpc::{ACCEPT, call, cancelled, modern, modern_headers};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};

/// A way to a server. What ends it, or is no message, panics.
pub trait Link {
    /// Calls a tool.
    fn send(&mut self, id: usize, tool: &str, arguments: Value);

    /// The next answer.
    fn receive(&mut self) -> Value;

    /// Gives a call up, as the transport has it; its answer may come all the same.
    fn give_up(&mut self, id: usize);
}

fn connect(address: SocketAddr) -> Client {
    Client::new(TcpStream::connect(address).expect("connect"))
}

/// GET /sse and POST /messages.
pub struct OverSse {
    sse: Sse,
    poster: Client,
}

impl OverSse {
    pub fn open(address: SocketAddr) -> Self {
        Self { sse: Sse::open(connect(address)), poster: connect(address) }
    }

    fn post(&mut self, message: &str) {
        let reply = self.poster.post(&self.sse.path, message);
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
}

impl Link for OverSse {
    fn send(&mut self, id: usize, tool: &str, arguments: Value) {
        self.post(&call(id, tool, arguments));
    }

    fn receive(&mut self) -> Value {
        self.sse.json()
    }

    fn give_up(&mut self, id: usize) {
        self.post(&cancelled(id));
    }
}

/// POST /mcp, one connection; what is sent before an answer has come is sent ahead.
pub struct OverHttp {
    address: SocketAddr,
    client: Client,
    /// Speaks the newest version.
    modern: bool,
}

impl OverHttp {
    pub fn open(address: SocketAddr, modern: bool) -> Self {
        Self { address, client: connect(address), modern }
    }
}

impl Link for OverHttp {
    fn send(&mut self, id: usize, tool: &str, arguments: Value) {
        if self.modern {
            let message = modern(id, "tools/call", json!({"name": tool, "arguments": arguments}));
            self.client.send_post_with("/mcp", &modern_headers(&message), &message);
        } else {
            self.client.send_post_with("/mcp", ACCEPT, &call(id, tool, arguments));
        }
    }

    fn receive(&mut self) -> Value {
        self.client.reply().expect("an answer").json()
    }

    /// There is no session: who hangs up gives up.
    fn give_up(&mut self, _: usize) {
        self.client = connect(self.address);
    }
}

impl Link for Process {
    fn send(&mut self, id: usize, tool: &str, arguments: Value) {
        self.say(&call(id, tool, arguments));
    }

    fn receive(&mut self) -> Value {
        self.message()
    }

    fn give_up(&mut self, id: usize) {
        self.say(&cancelled(id));
    }
}
