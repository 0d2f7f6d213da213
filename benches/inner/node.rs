//! A node in this process and the data of its cluster. It responds with prepared bytes, so that it adds almost nothing
//! to the measured time.

use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{ClusterConfig, Endpoint, TlsVerification};
use proxmox_mcp::policy::ClusterPolicy;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Response to one path.
struct CannedResponse {
    path: &'static str,
    bytes: Vec<u8>,
}

/// A node on plain HTTP that runs until the process ends.
pub struct BenchNode {
    pub address: SocketAddr,
}

impl BenchNode {
    /// Starts a node that responds to `path` with `data`, and to other paths with 501, as a real node does.
    pub fn start(path: &'static str, data: &Value) -> Self {
        let bytes = format_response("200 OK", &json!({"data": data}).to_string());
        let response = Arc::new(CannedResponse { path, bytes });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let response = response.clone();
                thread::spawn(move || serve(stream, &response));
            }
        });
        Self { address }
    }

    /// Returns the configuration of a cluster of this node alone.
    pub fn cluster_config(&self) -> ClusterConfig {
        let endpoint = Endpoint { https: false, host: self.address.ip().to_string(), port: self.address.port() };
        ClusterConfig {
            name: "bench".into(),
            endpoints: vec![endpoint],
            user: "mcp@pve".into(),
            token_id: "bench".into(),
            token_secret: Secret::new("no-secret".into()),
            tls: TlsVerification::PublicRoots,
            timeout: Duration::from_secs(30),
            discover_nodes: false,
            is_simulated: false,
            policy: ClusterPolicy::default(),
        }
    }

    /// Requests a path directly, to measure the node and the connection without the server.
    pub fn get(stream: &mut BufReader<TcpStream>, path: &str, body: &mut Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        stream.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert_ne!(stream.read_line(&mut line).expect("a line"), 0, "the node is gone");
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().expect("a length");
            }
        }
        body.resize(length, 0);
        stream.read_exact(body).expect("a body");
    }
}

fn format_response(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n\r\n{body}")
        .into_bytes()
}

fn serve(mut stream: TcpStream, response: &CannedResponse) {
    let unknown = format_response("501 Not Implemented", r#"{"data":null}"#);
    let _ = stream.set_nodelay(true);
    let Ok(input) = stream.try_clone() else { return };
    let mut lines = BufReader::new(input).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let bytes = if path == response.path { &response.bytes } else { &unknown };
        // A blank line ends a request, because none has a body.
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        if stream.write_all(bytes).is_err() {
            return;
        }
    }
}

/// Returns the rows of `/cluster/resources` for guests on three nodes, as long as real ones.
pub fn make_resource_rows(guests: u64) -> Value {
    let node = |n: u64| {
        json!({"id": format!("node/pve{n}"), "type": "node", "node": format!("pve{n}"), "status": "online",
            "cpu": 0.137_502, "maxcpu": 32, "mem": 51_238_912_000_u64, "maxmem": 137_438_953_472_u64,
            "disk": 10_737_418_240_u64, "maxdisk": 107_374_182_400_u64, "uptime": 1_234_567, "level": ""})
    };
    let guest = |n: u64| {
        json!({"id": format!("qemu/{}", 100 + n), "type": "qemu", "vmid": 100 + n, "name": format!("vm-{n}"),
            "node": format!("pve{}", n % 3 + 1), "status": "running", "cpu": 0.021_7 + n as f64 / 1e6, "maxcpu": 4,
            "mem": 2_147_483_648 + n, "maxmem": 8_589_934_592_u64, "disk": 0, "maxdisk": 34_359_738_368_u64,
            "uptime": 86_400 + n, "template": 0, "netin": 912_345_678_901 + n, "netout": 812_345_678_901 + n,
            "diskread": 712_345_678_901 + n, "diskwrite": 612_345_678_901 + n, "tags": "prod;web"})
    };
    (1..4).map(node).chain((0..guests).map(guest)).collect()
}
