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

/// Pipelined requests per round: many share the cost of the system calls, and all fit into the socket's buffers.
const PIPELINED_REQUESTS: usize = 100;

/// Times request heads, short like a health check's and long like a browser's. The difference is the cost of headers.
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
        certificate: None,
        health: HealthSources::default(),
    };
    let mcp = mcp::McpServer::new(Catalog::default()).expect("a server");
    let server = HttpServer::new(config, Arc::new(mcp)).expect("a server");
    let handle = server.handle();
    let serving = thread::spawn(move || server.run());

    let mut group = criterion.benchmark_group("head");
    for headers in [1, 10, 50] {
        let mut request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n");
        for header in 1..headers {
            request += &format!("X-Header-Number-{header}: of a usual length, as headers go\r\n");
        }
        request += "\r\n";
        let mut stream = TcpStream::connect(address).expect("the server");
        stream.set_nodelay(true).expect("an option");
        let answer = send_one(&mut stream, &request);
        let (requests, mut answers) = (request.repeat(PIPELINED_REQUESTS), vec![0; answer * PIPELINED_REQUESTS]);
        group.throughput(Throughput::Elements(PIPELINED_REQUESTS as u64));
        group.bench_function(BenchmarkId::new("headers", headers), |bencher| {
            bencher.iter(|| {
                stream.write_all(requests.as_bytes()).expect("sent");
                stream.read_exact(&mut answers).expect("answers");
            });
        });
    }
    group.finish();
    handle.stop();
    serving.join().expect("the end");
}

/// Sends one request and returns the length of its answer.
fn send_one(stream: &mut TcpStream, request: &str) -> usize {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // The body is the last line, `ok`.
    while !answer.ends_with(b"\r\n\r\nok") {
        let mut bytes = [0; 1024];
        let n = stream.read(&mut bytes).expect("an answer");
        assert_ne!(n, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..n]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    answer.len()
}
