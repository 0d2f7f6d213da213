//! The memory of the built program at its default limits, with the worst clients and a large cluster.

use crate::support::node::{Identity, Node, ScriptedReply};
use crate::support::program::{HttpEndpoint, OPERATOR, ProgramServer, READER, lab, texts};
use crate::support::raw::{Reply, eventually};
use crate::support::rpc::call;
use proxmox_mcp::config::Limits;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
/// A debug build takes many times as long for each byte, so the load and the budget are smaller.
const SCALE: usize = if cfg!(debug_assertions) { 8 } else { 1 };
const GUESTS: usize = 16_000 / SCALE;
const BUDGET_MIB: u64 = 256 / SCALE as u64;
/// The program itself, and the stacks and buffers of [`CLIENTS`] connections.
const FIXED_MIB: u64 = 64;
/// The most memory of an open connection beside the budget: stack, buffers, TLS, and the part that is not counted.
const CONNECTION_KIB: u64 = 64;

/// The memory that may stay after a burst: code that has run, caches, and pages that are partly in use.
const RETAINED_KIB: u64 = 8 << 10;

/// Returns the list of resources of a cluster with many guests.
fn resources() -> String {
    let rows = (0..GUESTS).map(|n| {
        json!({"id": format!("qemu/{}", 100 + n), "vmid": 100 + n, "type": "qemu", "name": format!("web-{n}.shop.example"),
            "node": format!("pve{}", n % 16), "status": "running", "cpu": 0.031, "maxcpu": 4, "mem": 1_613_840_384_u64,
            "maxmem": 4_294_967_296_u64, "disk": 0, "maxdisk": 34_359_738_368_u64, "diskread": 1_287_168_u64,
            "diskwrite": 93_184, "netin": 8_123_456, "netout": 1_234_567, "uptime": 86_400 + n, "pool": "shop",
            "tags": "prod;web", "template": 0})
        .to_string()
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}

/// Returns a figure of the program's memory in KiB: `VmRSS`, the present one, or `VmHWM`, the most at once.
fn memory_kib(server: &ProgramServer, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.child.id())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).expect("the figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Returns large calls: one that the server accepts, one of too many values, and one text.
fn large_calls() -> [String; 3] {
    let members = |count: usize| (0..count).map(|n| (n.to_string(), json!({"": 0}))).collect::<serde_json::Map<_, _>>();
    let objects = |count| json!({"path": "/version", "data": {"a": members(count)}});
    [
        call(1, "proxmox_api_call", objects(6_000 / SCALE)),
        call(1, "proxmox_api_call", objects(160_000 / SCALE)),
        call(1, "proxmox_api_call", json!({"path": "/version", "data": {"a": "x".repeat((3 << 20) / SCALE)}})),
    ]
}

/// Posts a message and waits long, since all clients share the cores. The answer is no stream.
fn post(server: &HttpEndpoint, token: &str, message: &str) -> Reply {
    let mut client = server.connect();
    client.stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
    client.post_with("/mcp", &format!("Accept: application/json\r\nAuthorization: Bearer {token}\r\n"), message)
}

#[test]
fn the_memory_of_the_unit_is_the_sum_of_the_default_limits() {
    let unit =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/proxmox-mcp.service")).expect("the unit");
    let line = unit.lines().find_map(|line| line.strip_prefix("MemoryMax=")).expect("a limit");
    let max: u64 = line.strip_suffix('M').expect("in MiB").parse().expect("a number");
    let limits = Limits::default();
    let connections = (limits.max_connections as u64 * CONNECTION_KIB) >> 10;
    let sum = FIXED_MIB + connections + (limits.max_buffered_bytes >> 20) as u64;
    assert!(sum <= max && max <= sum + sum / 4, "{sum} MiB, the unit has {max} MiB");
}

#[test]
fn the_worst_requests_of_many_clients_stay_within_the_budget() {
    let resources = resources();
    let log = format!("\"{}\"", "x".repeat((4 << 20) / SCALE));
    let node = Node::start_as(Identity::Plain, move |request| match request.path() {
        "/api2/json/cluster/resources" => ScriptedReply::data(&resources),
        "/api2/json/nodes/pve1/syslog" => ScriptedReply::data(&log),
        _ => ScriptedReply::data("{}"),
    });
    let budget = (BUDGET_MIB << 20).to_string();
    let cluster = json!({"timeout_seconds": 120});
    let server = ProgramServer::builder(&lab(&node, &cluster))
        .flags(&["--max-buffered-bytes", &budget, "--stream-delay", "120"])
        .start();
    let large = large_calls();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, large) = (&server.endpoint, &large);
            scope.spawn(move || {
                let token = if client % 2 == 0 { READER } else { OPERATOR };
                let answered = |tool, arguments| {
                    let reply = post(server, token, &call(1, tool, arguments));
                    assert!(
                        reply.status == 200 && !reply.body.contains("\"isError\":true"),
                        "{client}: {}",
                        reply.body
                    );
                    reply.body
                };
                answered("get_cluster_resources", json!({}));
                for message in large {
                    // The body is too large for the free memory, or the tool refuses the arguments.
                    let reply = post(server, token, message);
                    assert!([200, 503].contains(&reply.status), "{client}: {} {}", reply.status, reply.body);
                }
                answered("proxmox_api_get", json!({"path": "/nodes/pve1/syslog"}));
                let found = answered("find_guest", json!({"query": "web-1999"}));
                assert!(found.contains("qemu/2099"), "{client}: {found}");
            });
        }
    });
    let peak = memory_kib(&server, "VmHWM") >> 10;
    assert!(peak <= BUDGET_MIB + FIXED_MIB, "{peak} MiB with a budget of {BUDGET_MIB} MiB");
    println!("peak memory: {peak} MiB with a budget of {BUDGET_MIB} MiB");
}

#[test]
fn memory_is_returned_within_a_minute_of_a_burst() {
    let resources = resources();
    let log = format!("\"{}\"", "x".repeat(4 << 20));
    let node = Node::start_as(Identity::Plain, move |request| match request.path() {
        "/api2/json/cluster/resources" => ScriptedReply::data(&resources),
        "/api2/json/nodes/pve1/syslog" => ScriptedReply::data(&log),
        _ => ScriptedReply::data("{}"),
    });
    let cluster = json!({"timeout_seconds": 120});
    let server = ProgramServer::builder(&lab(&node, &cluster)).flags(&["--stream-delay", "120"]).start();
    let before = memory_kib(&server, "VmRSS");
    let large = large_calls();
    thread::scope(|scope| {
        for client in 0..CLIENTS / 2 {
            let (server, large) = (&server.endpoint, &large);
            scope.spawn(move || {
                let token = if client % 2 == 0 { READER } else { OPERATOR };
                for message in [
                    &call(1, "get_cluster_resources", json!({})),
                    &call(2, "find_guest", json!({"query": "web-1999"})),
                    &call(3, "proxmox_api_get", json!({"path": "/nodes/pve1/syslog"})),
                ]
                .into_iter()
                .chain(large)
                {
                    post(server, token, message);
                }
            });
        }
    });
    let peak = memory_kib(&server, "VmHWM");
    assert!(peak > before + 4 * RETAINED_KIB, "the burst takes memory: {before} KiB, then {peak} KiB");
    let begun = Instant::now();
    let mut now = memory_kib(&server, "VmRSS");
    while now > before + RETAINED_KIB {
        assert!(begun.elapsed() < Duration::from_secs(60), "{before} KiB before the burst, {now} KiB after it");
        thread::sleep(Duration::from_millis(50));
        now = memory_kib(&server, "VmRSS");
    }
    println!("memory: {before} KiB, at most {peak} KiB, {now} KiB after {:.1?}", begun.elapsed());
}

#[test]
fn guests_of_very_many_tags_take_little_more_memory_than_their_text() {
    let text = "a;".repeat(5_000);
    let rows = (100..1_600 / SCALE as u32 + 100).map(|vmid| {
        json!({"id": format!("qemu/{vmid}"), "vmid": vmid, "type": "qemu", "name": text.replace(';', "-"), "tags": text})
            .to_string()
    });
    let resources = format!("[{}]", rows.collect::<Vec<_>>().join(","));
    let size = resources.len() as u64 >> 10;
    let node = Node::start(move |_| ScriptedReply::data(&resources));
    let server = ProgramServer::start_lab(&node, &json!({}));
    let before = memory_kib(&server, "VmHWM");
    let found = server.call(READER, "find_guest", json!({"query": "zz-99999"}));
    assert!(texts(&found).contains("no guest fits"), "{found}");
    let more = memory_kib(&server, "VmHWM") - before;
    assert!(more < 8 * size, "{more} KiB for an answer of {size} KiB");
}

#[test]
fn one_client_cannot_use_the_memory_of_another() {
    let node = Node::start(|_| ScriptedReply::data("{}"));
    let server = ProgramServer::builder(&lab(&node, &json!({}))).flags(&["--max-buffered-bytes", "1048576"]).start();
    const BODY: usize = 300 << 10;
    let head = |token: &str, length: usize| {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
    };
    let status = |token: &str, length: usize| {
        let mut client = server.connect();
        client.send(head(token, length) + &" ".repeat(length));
        client.reply().map(|reply| reply.status)
    };
    let hold = || {
        let mut held = server.connect();
        held.send(head(READER, BODY) + &" ".repeat(BODY - 1));
        held
    };
    // On a loaded machine the other body may be read before the held one.
    let held = RefCell::new(hold());
    eventually("the reader's other body is refused", || {
        let is_refused = status(READER, BODY) == Some(503);
        if !is_refused {
            held.replace(hold());
        }
        is_refused
    });
    let mut held = held.into_inner();
    // The memory of a refused body is given back after its response.
    eventually("another client is served", || status(OPERATOR, BODY) == Some(400));
    eventually("a body above the share is refused", || status(OPERATOR, 2 * BODY) == Some(413));
    held.send(" ");
    // The memory of the bodies that were refused just before may not be given back yet.
    let end = held.reply().map(|reply| reply.status);
    assert!(matches!(end, Some(400 | 503)), "{end:?}");
    eventually("the memory is given back", || status(READER, BODY) == Some(400));
}

#[test]
fn arguments_are_measured_before_they_become_a_tree() {
    let node = Node::start(|_| ScriptedReply::data("{}"));
    let server = ProgramServer::builder(&lab(&node, &json!({}))).start();
    let error = |arguments: Value| texts(&server.call(OPERATOR, "proxmox_api_call", arguments));
    let many = json!({"path": "/version", "data": {"a": vec![json!({"": 0}); 30_000]}});
    assert!(error(many.clone()).contains("values: give 20000 at most"));
    let as_text = json!({"path": "/version", "data": many["data"].to_string()});
    assert!(error(as_text).contains("values: give 20000 at most"));
    let blanks = json!({"path": "/version", "filter": format!("a=x{}y", " ".repeat(200_000))});
    assert!(error(blanks).contains("filter is longer than"));
    let unknown: Map<String, Value> = (0..10_000).map(|n| (format!("{n}{}", "x".repeat(200)), json!(1))).collect();
    let echo = error(Value::Object(unknown));
    assert!(echo.len() < 4_000 && echo.contains("9990 more unknown arguments"), "{echo}");
}
