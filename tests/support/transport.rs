//! A client of a server, over any transport.
#![allow(dead_code)]

use super::process::ServerProcess;
use super::raw::{Client, Sse};
use super::rpc::{ACCEPT, call, cancel_notification, modern, modern_headers};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};

/// A client's transport. A closed connection or an invalid message panics.
pub trait Transport {
    /// Calls a tool.
    fn send(&mut self, id: usize, tool: &str, arguments: Value);

    /// Returns the next answer.
    fn receive(&mut self) -> Value;

    /// Cancels a call by the means of the transport. Its answer may still arrive.
    fn cancel(&mut self, id: usize);
}

fn connect(address: SocketAddr) -> Client {
    Client::new(TcpStream::connect(address).expect("connect"))
}

/// GET /sse and POST /messages.
pub struct SseTransport {
    sse: Sse,
    poster: Client,
    headers: String,
}

impl SseTransport {
    /// Opens a session. `headers` (whole lines) are sent with every request.
    pub fn open(address: SocketAddr, headers: &str) -> Self {
        Self { sse: Sse::open_with(connect(address), headers), poster: connect(address), headers: headers.into() }
    }

    fn post(&mut self, message: &str) {
        let reply = self.poster.post_with(&self.sse.path, &self.headers, message);
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
}

impl Transport for SseTransport {
    fn send(&mut self, id: usize, tool: &str, arguments: Value) {
        self.post(&call(id, tool, arguments));
    }

    fn receive(&mut self) -> Value {
        self.sse.json()
    }

    fn cancel(&mut self, id: usize) {
        self.post(&cancel_notification(id));
    }
}

/// POST /mcp on one connection. Requests are pipelined.
pub struct HttpTransport {
    address: SocketAddr,
    client: Client,
    /// Whether the client uses the newest version.
    modern: bool,
    headers: String,
}

impl HttpTransport {
    /// Opens a connection. `headers` (whole lines) are sent with every request.
    pub fn open(address: SocketAddr, modern: bool, headers: &str) -> Self {
        Self { address, client: connect(address), modern, headers: headers.into() }
    }
}

impl Transport for HttpTransport {
    fn send(&mut self, id: usize, tool: &str, arguments: Value) {
        if self.modern {
            let message = modern(id, "tools/call", json!({"name": tool, "arguments": arguments}));
            self.client.send_post_with("/mcp", &format!("{}{}", modern_headers(&message), self.headers), &message);
        } else {
            self.client.send_post_with("/mcp", &format!("{ACCEPT}{}", self.headers), &call(id, tool, arguments));
        }
    }

    fn receive(&mut self) -> Value {
        self.client.reply().expect("an answer").json()
    }

    /// Closes the connection, which cancels the calls if there is no session.
    fn cancel(&mut self, _: usize) {
        self.client = connect(self.address);
    }
}

impl Transport for ServerProcess {
    fn send(&mut self, id: usize, tool: &str, arguments: Value) {
        self.write_line(&call(id, tool, arguments));
    }

    fn receive(&mut self) -> Value {
        self.message()
    }

    fn cancel(&mut self, id: usize) {
        self.write_line(&cancel_notification(id));
    }
}
