//! The HTTP server over a loopback socket.

use criterion::{BenchmarkId, Criterion, Throughput};
use proxmox_mcp::config::Limits;
use proxmox_mcp::http::{HealthSources, HttpConfig, HttpServer};
use proxmox_mcp::mcp;
use proxmox_mcp::mcp::catalog::Catalog;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Requests sent at once, so that they share the system calls. All of them fit into the socket's buffers.
const PIPELINED_REQUESTS: usize = 100;

/// Measures heads of requests, as short as a health check's and as long as a browser's. The difference is the time of
/// their lines.
pub fn bench_heads(criterion: &mut Criterion) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = HttpConfig {
        listener,
        metrics_listener: None,
        limits: Limits::default(),
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        clients: Vec::new(),
        insecure_no_auth: false,
        certificate: None,
        health: HealthSources::default(),
        approvals: None,
    };
    let mcp = mcp::McpServer::new(Catalog::default()).expect("a server");
    let server = HttpServer::new(config, Arc::new(mcp)).expect("a server");
    let handle = server.handle();
    let thread = thread::spawn(move || server.run());

    let mut group = criterion.benchmark_group("head");
    for headers in [1, 10, 50] {
        let mut request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n");
        for header in 1..headers {
            request += &format!("X-Header-Number-{header}: of a usual length, as headers go\r\n");
        }
        request += "\r\n";
        let mut stream = TcpStream::connect(address).expect("the server");
        stream.set_nodelay(true).expect("an option");
        let response_bytes = send_one(&mut stream, &request);
        let requests = request.repeat(PIPELINED_REQUESTS);
        let mut responses = vec![0; response_bytes * PIPELINED_REQUESTS];
        group.throughput(Throughput::Elements(PIPELINED_REQUESTS as u64));
        group.bench_function(BenchmarkId::new("headers", headers), |bencher| {
            bencher.iter(|| {
                stream.write_all(requests.as_bytes()).expect("sent");
                stream.read_exact(&mut responses).expect("responses");
            });
        });
    }
    group.finish();
    handle.stop();
    thread.join().expect("the server ends");
}

/// Sends one request and returns the length of the response.
fn send_one(stream: &mut TcpStream, request: &str) -> usize {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = Vec::new();
    // The body is `ok` on the last line.
    while !response.ends_with(b"\r\n\r\nok") {
        let mut bytes = [0; 1024];
        let n = stream.read(&mut bytes).expect("a response");
        assert_ne!(n, 0, "{}", String::from_utf8_lossy(&response));
        response.extend_from_slice(&bytes[..n]);
    }
    assert!(response.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&response));
    response.len()
}
