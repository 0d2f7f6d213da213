//! A server that has no descriptor left for a connection.

use crate::support::log::{capture, take};
use crate::support::own_process::in_own_process;
use crate::support::raw::{Client, eventually};
use crate::support::server::{TestServer, limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::net::TcpStream;

#[test]
fn clients_wait_while_no_descriptor_is_free_and_are_served_later() {
    if !in_own_process(clients_wait_while_no_descriptor_is_free_and_are_served_later) {
        return;
    }
    capture();
    let server = TestServer::start(limits());
    // The sockets are created before the descriptors run out: connecting needs no new one.
    let sockets: Vec<_> = (0..3).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..before }).unwrap();
    let hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut clients = Vec::new();
    for socket in sockets {
        socket.connect(&server.address.into()).unwrap();
        let mut client = Client::new(TcpStream::from(socket));
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        clients.push(client);
    }
    let mut failures = 0;
    eventually("accept fails and is retried", || {
        failures += take().iter().filter(|line| line.text.starts_with("cannot accept a connection")).count();
        failures >= 3
    });
    drop(hoard);
    for client in &mut clients {
        assert_eq!(client.reply().unwrap().status, 200);
    }
    setrlimit(Resource::Nofile, before).unwrap();
    server.assert_answers();
}
