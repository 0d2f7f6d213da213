//! Calls of tools through the protocol core, without a client's socket and with a node in this process.

use crate::node::{BenchNode, make_resource_rows as rows};
use criterion::{BenchmarkId, Criterion, Throughput};
use proxmox_mcp::audit::AuditLog;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::config::{ClusterConfig, ClustersFile, Limits};
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::mcp::message::{Message, parse_message};
use proxmox_mcp::mcp::{McpServer, TransportContext};
use proxmox_mcp::pve::client::manager::ClusterManager;
use proxmox_mcp::pve::demo::Demo;
use proxmox_mcp::tools;
use proxmox_mcp::tools::ToolState;
use serde_json::{Value, json};
use std::io::BufReader;
use std::net::TcpStream;
use std::sync::Arc;

/// Returns a server for one cluster without a limit on the length of results.
fn new_server(cluster: ClusterConfig) -> McpServer {
    let clusters = ClustersFile { clusters: vec![cluster], ..ClustersFile::default() };
    let manager = ClusterManager::new(&clusters, &Limits::default()).expect("a manager");
    let state = ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), 0).expect("a state");
    McpServer::new(tools::catalog(&Arc::new(state))).expect("a server")
}

/// One call, from the bytes of its message to those of its response.
struct BenchCall {
    server: McpServer,
    caller: Caller,
    message: String,
}

impl BenchCall {
    /// Prepares a call and panics unless its response contains `expected`.
    fn new(cluster: ClusterConfig, tool: &str, arguments: Value, expected: &str) -> Self {
        let params = json!({"name": tool, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let call = Self { server: new_server(cluster), caller: Caller::new_stdio(), message };
        let response = String::from_utf8(call.execute()).expect("UTF-8");
        let start: String = response.chars().take(300).collect();
        assert!(response.contains(expected) && !response.contains(r#""isError":true"#), "{start}");
        call
    }

    fn execute(&self) -> Vec<u8> {
        let Ok(Message::Request(request)) = parse_message(self.message.as_bytes()) else { panic!("{}", self.message) };
        let exchange =
            TransportContext { caller: &self.caller, calls: None, cancel: CancelToken::new(), notify: &|_| () };
        self.server.handle_request(&request, request.parse_params(), &exchange).expect("a response").bytes
    }
}

/// Measures a rendered list for growing numbers of guests. The time of one guest should stay the same. `node_alone` is
/// the part of the node and its connection.
pub fn bench_resources(criterion: &mut Criterion) {
    const PATH: &str = "/api2/json/cluster/resources";
    let mut group = criterion.benchmark_group("get_cluster_resources");
    for guests in [50, 1_000, 10_000] {
        let node = BenchNode::start(PATH, &rows(guests));
        let last = format!("vm-{}", guests - 1);
        let call = BenchCall::new(node.cluster_config(), "get_cluster_resources", json!({}), &last);
        group.throughput(Throughput::Elements(guests));
        group.bench_function(BenchmarkId::new("guests", guests), |bencher| bencher.iter(|| call.execute()));
        let mut stream = BufReader::new(TcpStream::connect(node.address).expect("the node"));
        let mut body = Vec::new();
        group.bench_function(BenchmarkId::new("node_alone", guests), |bencher| {
            bencher.iter(|| BenchNode::get(&mut stream, PATH, &mut body));
        });
    }
    group.finish();
}

/// Measures a response of some 3.4 MB that the server passes on unchanged.
pub fn bench_pass_through(criterion: &mut Criterion) {
    const PATH: &str = "/api2/json/cluster/log";
    let data = rows(10_300);
    let bytes = data.to_string().len() as u64;
    let node = BenchNode::start(PATH, &data);
    let call = BenchCall::new(node.cluster_config(), "proxmox_api_call", json!({"path": "/cluster/log"}), "vm-10299");
    let mut group = criterion.benchmark_group("proxmox_api_call");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("pass_through", |bencher| bencher.iter(|| call.execute()));
    group.finish();
}

/// Measures searches of the API description, with words that it has and with other words.
pub fn bench_search(criterion: &mut Criterion) {
    let demo = Demo::start().expect("the simulated cluster");
    let mut group = criterion.benchmark_group("search_api");
    for (name, query) in
        [("plain", "snapshot a vm"), ("distant", "how do I make a machine forget what it did since yesterday")]
    {
        let call = BenchCall::new(demo.cluster(), "search_api", json!({"query": query}), "/nodes/{node}");
        group.bench_function(name, |bencher| bencher.iter(|| call.execute()));
    }
    group.finish();
}
