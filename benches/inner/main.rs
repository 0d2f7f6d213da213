//! Benchmarks of the inner parts, each through its nearest public function.
//!
//! `cargo bench` runs all of them, `cargo bench -- WORD` those with the word in their name. `benches/compare` measures
//! whole calls against other servers.

mod http;
mod node;
mod tools;

use criterion::{Criterion, Throughput};
use proxmox_mcp::mcp::message::{Message, parse_message};
use std::hint::black_box;
use std::time::Duration;

fn main() {
    let criterion = Criterion::default().sample_size(30).warm_up_time(Duration::from_secs(1));
    let mut criterion = criterion.measurement_time(Duration::from_secs(3)).configure_from_args();
    http::bench_heads(&mut criterion);
    bench_messages(&mut criterion);
    tools::bench_resources(&mut criterion);
    tools::bench_pass_through(&mut criterion);
    tools::bench_search(&mut criterion);
    criterion.final_summary();
}

/// Measures parsing a JSON-RPC message and its parameters, legacy and modern.
fn bench_messages(criterion: &mut Criterion) {
    const CALL: &str = r#""name":"proxmox_api_get","arguments":{"path":"/cluster/resources","fields":["vmid","name"]}"#;
    const META: &str = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let mut group = criterion.benchmark_group("message");
    for (era, meta) in [("legacy", ""), ("modern", META)] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{CALL}{meta}}}}}"#);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(era, |bencher| {
            bencher.iter(|| {
                let Ok(Message::Request(request)) = parse_message(black_box(text.as_bytes())) else { panic!("{text}") };
                black_box(request.parse_params().expect("parameters"));
            });
        });
    }
    group.finish();
}
