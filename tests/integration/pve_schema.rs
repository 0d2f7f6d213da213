//! The schema of a cluster: its own description from any node, or the embedded facts.

use crate::support::log;
use crate::support::log::capture;
use crate::support::node::{Identity, Node, Request, SECRET, ScriptedReply, closed_endpoint};
use crate::support::test_tools::product;
use crate::support::tool::call;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proxmox_mcp::base::cancel::{CancelReason, CancelToken};
use proxmox_mcp::config::{self, Limits};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use proxmox_mcp::pve::schema::facts;
use proxmox_mcp::pve::schema::{Schema, SchemaTimings, embedded_schema, read_description};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

const SCRIPT: &str = "/pve-docs/api-viewer/apidoc.js";
const VERSION: &str = r#"{"version":"9.2.11","release":"9.2","repoid":"ab"}"#;

/// The time limit of a fetch that no test waits for.
const SLOW_MACHINE: Duration = Duration::from_secs(600);

/// Returns a description of the API in the form of a node of version 9, without texts.
static PROXMOX: LazyLock<String> = LazyLock::new(|| {
    let mut script = String::new();
    GzDecoder::new(facts::APIDOC).read_to_string(&mut script).unwrap();
    script + "\nExt.onReady(function() { var x = [1]; });\n"
});

/// Returns the same description as a list that a test can change.
fn paths() -> Vec<Value> {
    let list = PROXMOX.split_once(" = ").unwrap().1.split_once(";\n").unwrap().0;
    serde_json::from_str(list).unwrap()
}

fn script(paths: &[Value]) -> String {
    format!("const apiSchema = {};\n", json!(paths))
}

/// Returns a description that differs from others by this word.
fn description_with(word: &str) -> String {
    let mut paths = paths();
    paths[0]["info"]["GET"]["description"] = word.into();
    script(&paths)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

fn gzipped(data: &[u8]) -> ScriptedReply {
    ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], gzip(data))
}

/// Starts a node that answers the request for its description like this, and others correctly.
fn start_node(describe: impl Fn(&Request) -> ScriptedReply + Send + Sync + 'static) -> Node {
    Node::start(move |request| match request.path() {
        SCRIPT => describe(request),
        "/api2/json/version" => ScriptedReply::data(VERSION),
        _ => ScriptedReply::data(r#""fine""#),
    })
}

fn start_serving(script: impl Into<Vec<u8>>) -> Node {
    let reply = ScriptedReply::body(script.into());
    start_node(move |_| reply.clone())
}

/// Returns a name for a cluster in the log that no other module uses.
fn log_name(name: &str) -> String {
    format!("schema {name}")
}

/// Returns a client of this name that does not retry a fetch during a test.
fn client(name: &str, settings: config::ClusterConfig) -> Cluster {
    capture();
    let settings = config::ClusterConfig { name: log_name(name), timeout: SLOW_MACHINE, ..settings };
    Cluster::new(settings, &Limits::default()).unwrap().with_schema_timings(patient_timings())
}

/// Timings with which a slow machine reads even the longest description.
fn patient_timings() -> SchemaTimings {
    SchemaTimings { fetch_timeout: SLOW_MACHINE, ..SchemaTimings::default() }
}

/// Returns a client that retries a fetch at every use.
fn eager_client(name: &str, node: &Node) -> Cluster {
    let times = SchemaTimings { version_interval: Duration::ZERO, retry_interval: Duration::ZERO, ..patient_timings() };
    client(name, node.cluster_settings()).with_schema_timings(times)
}

fn schema(cluster: &Cluster) -> Arc<Schema> {
    cluster.schema(&CancelToken::new())
}

fn is_embedded(schema: &Arc<Schema>) -> bool {
    assert_eq!(schema.is_live(), !Arc::ptr_eq(schema, embedded_schema()));
    !schema.is_live()
}

fn count_requests(node: &Node, path: &str) -> usize {
    node.requests().iter().filter(|r| r.path() == path).count()
}

/// Returns the warnings about the description, without those about skipped nodes.
fn warnings(name: &str) -> Vec<String> {
    log::warnings(&log_name(name)).into_iter().filter(|line| !line.contains("this node is asked last")).collect()
}

fn assert_works(cluster: &Cluster) {
    let answer =
        cluster.call(Method::Get, &ApiPath::parse("/nodes").unwrap().0, &ApiParams::new(), &CancelToken::new());
    assert_eq!(answer.unwrap().data(), r#""fine""#);
}

/// Asserts that a cluster with this description uses the embedded facts, is queried once, and works. Returns the only
/// warning.
#[track_caller]
fn assert_rejected(name: &str, reply: ScriptedReply) -> String {
    let node = start_node(move |_| reply.clone());
    let cluster = client(name, node.cluster_settings());
    assert_works(&cluster);
    assert!(is_embedded(&schema(&cluster)), "{name}");
    assert_works(&cluster);
    assert!(is_embedded(&schema(&cluster)), "{name}");
    assert_eq!(count_requests(&node, SCRIPT), 1, "{name}");
    let warnings = warnings(name);
    let [warning] = &warnings[..] else { panic!("{name}: {warnings:?}") };
    assert!(warning.contains("using the built-in one of Proxmox VE 9: "), "{warning}");
    warning.clone()
}

#[test]
fn cluster_description_is_its_schema_plain_or_compressed() {
    for (name, reply) in [("plain", ScriptedReply::body(&*PROXMOX)), ("gzip", gzipped(PROXMOX.as_bytes()))] {
        let node = start_node(move |_| reply.clone());
        let cluster = client(name, node.cluster_settings());
        let live = schema(&cluster);
        assert!(live.is_live() && live.len() == embedded_schema().len());
        assert!(Arc::ptr_eq(&live, &schema(&cluster)));
        assert_eq!((count_requests(&node, SCRIPT), count_requests(&node, "/api2/json/version")), (1, 1));
        assert_eq!(warnings(name), [""; 0]);
        // The cluster does not decide the risk of an operation.
        let stop = live.find_by_template(Method::Post, "/nodes/{node}/qemu/{vmid}/status/stop").unwrap();
        assert_eq!((stop.summary(), stop.risk()), {
            let known = embedded_schema().find_by_template(Method::Post, stop.template()).unwrap();
            (known.summary(), known.risk())
        });
    }
}

#[test]
fn description_is_requested_without_the_token_and_compressed() {
    let node = start_serving(&**PROXMOX);
    schema(&client("anonymous", node.cluster_settings()));
    let requests = node.requests();
    let request = requests.iter().find(|r| r.path() == SCRIPT).unwrap();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", SCRIPT));
    assert_eq!((request.header("authorization"), request.header("accept-encoding")), (None, Some("gzip")));
    assert!(!format!("{request:?}").contains(SECRET));
    let version = requests.iter().find(|r| r.path() == "/api2/json/version").unwrap();
    assert!(version.header("authorization").is_some() && version.header("accept-encoding").is_none());
}

#[test]
fn complete_description_leaves_its_connection_usable() {
    let node = start_serving(&**PROXMOX);
    let cluster = client("kept", node.cluster_settings());
    schema(&cluster);
    assert_works(&cluster);
    assert_eq!(node.connections(), 1);
}

#[test]
fn description_is_fetched_over_tls() {
    let node = Node::start_as(Identity::Trusted, |request| match request.path() {
        SCRIPT => ScriptedReply::body(&*PROXMOX),
        _ => ScriptedReply::data(VERSION),
    });
    assert!(schema(&client("tls", node.cluster_settings())).is_live());
}

#[test]
fn unreachable_node_is_skipped_for_the_description() {
    let node = start_serving(&**PROXMOX);
    let endpoints = vec![closed_endpoint(), node.endpoint()];
    assert!(schema(&client("one down", config::ClusterConfig { endpoints, ..node.cluster_settings() })).is_live());
}

#[test]
fn lost_kept_connection_does_not_fail_the_fetch() {
    let node =
        start_node(|request| if request.nth > 0 { ScriptedReply::close() } else { ScriptedReply::body(&*PROXMOX) });
    let cluster = client("stale", node.cluster_settings());
    assert_works(&cluster);
    assert!(schema(&cluster).is_live());
}

#[test]
fn invalid_description_is_rejected() {
    let html = "<!DOCTYPE html><html><body>Sign in</body></html>";
    for (name, body, why) in [
        ("html", html, "has no list of operations"),
        ("empty", "", "has no list of operations"),
        ("no schema", "const apiSchema = {};", "has no list of operations"),
        ("empty list", "const apiSchema = [];", "has no operations"),
        ("no paths", "const apiSchema = [1, 2];", "a path of the API"),
        ("one", r#"const apiSchema = [{"path":"/nodes","info":{"GET":{}}}];"#, "it has 1 of the 661 known operations"),
    ] {
        let warning = assert_rejected(name, ScriptedReply::body(body));
        assert!(warning.contains(why), "{warning}");
    }
}

#[test]
fn description_without_basic_operations_is_rejected() {
    let without = |path: &str| paths().into_iter().filter(|p| p["path"] != path).collect::<Vec<_>>();
    assert!(
        assert_rejected("no nodes", ScriptedReply::body(script(&without("/nodes"))))
            .contains("not the API description")
    );
    assert!(
        assert_rejected("no version", ScriptedReply::body(script(&without("/version"))))
            .contains("not the API description")
    );
    assert!(
        assert_rejected("a part", ScriptedReply::body(script(&paths()[..150]))).contains("not the API description")
    );
}

#[test]
fn truncated_description_is_rejected() {
    let whole = PROXMOX.as_bytes();
    assert_rejected("cut", ScriptedReply::body(&whole[..whole.len() / 2]));
    let compressed = gzip(whole);
    let gzip = [("Content-Encoding", "gzip")];
    assert_rejected("cut gzip", ScriptedReply::answer(200, "OK", &gzip, &compressed[..compressed.len() / 2]));
    // The list is complete, the rest is not.
    assert_rejected("cut end", ScriptedReply::answer(200, "OK", &gzip, &compressed[..compressed.len() - 4]));
    assert_rejected("no gzip", ScriptedReply::answer(200, "OK", &gzip, whole));
    let lost = ScriptedReply::answer(200, "OK", &[("Content-Length", "900000")], &whole[..100_000]).then_close();
    assert!(assert_rejected("lost", lost).contains("the connection was lost in the middle of it"));
}

#[test]
fn too_deep_description_is_rejected() {
    for (name, unit) in [("lists", "["), ("paths", r#"{"children":["#), ("values", r#"{"info":{"GET":["#)] {
        assert_rejected(name, ScriptedReply::body(format!("const apiSchema = [{}", unit.repeat(500_000))));
    }
    assert_rejected("value", ScriptedReply::body(format!(r#"[{{"info":{{"GET":{}"#, "[".repeat(500_000))));
}

#[test]
fn too_large_description_is_rejected() {
    let many = format!("[{}", r#"{"text":"a path without a name"},"#.repeat(600_000));
    assert!(many.len() > 17 << 20);
    assert!(assert_rejected("17 MB", ScriptedReply::body(&many)).contains("larger than any description"));
    let after = format!("{}{}", *PROXMOX, " ".repeat(17 << 20));
    assert!(assert_rejected("bomb", gzipped(after.as_bytes())).contains("larger than any description"));
    assert!(
        assert_rejected("one text", ScriptedReply::body(format!("[{{\"path\":\"{}", "x".repeat(2 << 20))))
            .contains("a path of more than 1 MiB")
    );
    let small = format!(r#"[{{"info":{{"GET":[{}0]}},"path":"/x"}}]"#, r#"{"":0},"#.repeat(100_000));
    assert!(
        assert_rejected("small objects", ScriptedReply::body(small))
            .contains("a path that takes more than 8 MiB of memory")
    );
}

#[test]
fn endless_compressed_description_is_rejected() {
    // The head of a member, and empty blocks (RFC 1951, 3.2.4) that are never marked as the last.
    let mut nothing = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    nothing.extend([0, 0, 0, 0xff, 0xff].repeat(4 << 20));
    let reply = ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], nothing);
    let warning = assert_rejected("nothing", reply);
    assert!(warning.contains("larger than any description"), "{warning}");
}

#[test]
fn endless_paths_are_rejected() {
    let path = |n: usize| json!({"path": format!("/{n}{}", "/x".repeat(400)), "info": {"GET": {}}});
    let many: Vec<Value> = (0..2_000).map(path).collect();
    assert!(
        assert_rejected("parts", ScriptedReply::body(script(&many))).contains("more than 20000 different segments")
    );
}

#[test]
fn values_of_wrong_types_are_ignored() {
    for wrong in [json!(null), json!(7), json!("x"), json!([1]), json!({"x": [{}]}), json!(true)] {
        for key in ["parameters", "returns", "permissions", "name", "allowtoken", "description"] {
            let path =
                json!([{"path": "/x", "info": {"GET": {key: wrong}, "POST": wrong, "HEAD": wrong}, "leaf": wrong}]);
            let read = read_description(path.to_string().as_bytes()).ok().unwrap();
            assert!(read.find_by_template(Method::Get, "/x").is_some(), "{path}");
        }
        let property = json!({"type": wrong, "enum": wrong, "format": wrong, "items": wrong, "properties": wrong,
            "optional": wrong, "minimum": wrong, "requires": wrong, "alias": wrong});
        let info = json!({"parameters": {"properties": {"a": property, "b": wrong}}, "permissions": {"check": wrong}});
        assert!(read_description(json!([{"path": "/x", "info": {"GET": info}}]).to_string().as_bytes()).is_ok());
        assert!(
            read_description(json!([{"path": wrong, "info": wrong, "children": []}]).to_string().as_bytes()).is_err()
        );
    }
}

#[test]
fn first_of_two_duplicate_entries_counts() {
    let twice = r#"[{"path":"/x","info":{"GET":{"name":"first"}}},{"path":"/x","info":{"GET":{"name":"second"}}}]"#;
    assert_eq!(
        read_description(twice.as_bytes()).ok().unwrap().find_by_template(Method::Get, "/x").unwrap().name(),
        "first"
    );
}

#[test]
fn slow_description_is_rejected_at_its_deadline() {
    let hang = ScriptedReply::hang();
    for (name, reply) in [("hang", hang), ("drip", ScriptedReply::body(&*PROXMOX).dripping(Duration::from_millis(1)))] {
        let node = start_node(move |_| reply.clone());
        let times = SchemaTimings { fetch_timeout: Duration::from_millis(150), ..SchemaTimings::default() };
        let cluster = client(name, node.cluster_settings()).with_schema_timings(times);
        assert!(is_embedded(&schema(&cluster)));
        let warnings = warnings(name);
        assert!(warnings.len() == 1 && warnings[0].contains("did not arrive completely in time"), "{warnings:?}");
        assert_works(&cluster);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = start_serving(&**PROXMOX);
    let location = format!("http://{}{SCRIPT}", elsewhere.endpoint());
    let warning =
        assert_rejected("redirect", ScriptedReply::answer(302, "Found", &[("Location", &location)], &**PROXMOX));
    assert!(warning.contains("failed (302)") && elsewhere.requests().is_empty(), "{warning}");
    assert_rejected("no content", ScriptedReply::answer(206, "Partial Content", &[], &**PROXMOX));
    assert_rejected("unauthorized", ScriptedReply::refusal(401, "No ticket", ""));
}

#[test]
fn unreachable_cluster_has_the_embedded_facts() {
    let node = Node::start(|_| ScriptedReply::hang());
    let cluster =
        client("down", config::ClusterConfig { endpoints: vec![closed_endpoint()], ..node.cluster_settings() });
    assert!(is_embedded(&schema(&cluster)));
    assert!(is_embedded(&schema(&cluster)));
    let warnings = warnings("down");
    assert!(warnings.len() == 1 && warnings[0].contains("connection refused"), "{warnings:?}");
}

#[test]
fn description_containing_the_token_secret_is_rejected() {
    assert!(
        assert_rejected("mirror", ScriptedReply::body(description_with(&format!("say {SECRET} twice"))))
            .contains("the secret of the API token")
    );
}

#[test]
fn repeated_failures_are_one_warning_until_a_success() {
    let node =
        start_node(|request| if request.index < 3 { ScriptedReply::body("?") } else { ScriptedReply::body(&*PROXMOX) });
    let cluster = eager_client("three", &node);
    (0..3).for_each(|_| assert!(is_embedded(&schema(&cluster))));
    assert!(schema(&cluster).is_live());
    assert_eq!(warnings("three").len(), 1);
}

/// Starts a node whose description has the first number of `state`, and whose version has the second.
fn start_changing_node(state: &Arc<[AtomicUsize; 2]>) -> Node {
    let state = state.clone();
    let now = move |which: usize| state[which].load(Ordering::SeqCst);
    let scripts = [description_with("one"), description_with("two"), "broken".to_owned()];
    Node::start(move |request| match request.path() {
        SCRIPT => ScriptedReply::body(&scripts[now(0)]),
        "/api2/json/version" if now(1) == 0 => ScriptedReply::refusal(401, "No ticket", ""),
        _ => ScriptedReply::data(&format!(r#"{{"version":"9.{}"}}"#, now(1))),
    })
}

fn word_of(schema: &Schema) -> String {
    schema.operations().next().unwrap().description().to_owned()
}

#[test]
fn new_version_fetches_a_new_description() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(1)]);
    let node = start_changing_node(&state);
    let cluster = eager_client("upgraded", &node);
    assert_eq!(word_of(&schema(&cluster)), "one");
    assert_eq!(word_of(&schema(&cluster)), "one");
    assert_eq!(count_requests(&node, SCRIPT), 1);
    state[0].store(1, Ordering::SeqCst);
    assert_eq!(word_of(&schema(&cluster)), "one");
    state[1].store(2, Ordering::SeqCst);
    assert_eq!(word_of(&schema(&cluster)), "two");
    assert_eq!(count_requests(&node, SCRIPT), 2);
}

#[test]
fn version_that_a_tool_reads_after_an_upgrade_fetches_a_new_description() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(1)]);
    let node = start_changing_node(&state);
    let server = product(vec![node.cluster_settings()]);
    let operation = embedded_schema().operations().next().expect("an operation");
    let describe = || {
        let operation = format!("{} {}", operation.method(), operation.template());
        let result = call(&server, "describe_api", json!({"path": operation}));
        assert!(!result.failed, "{result:?}");
        result.all_text()
    };
    assert!(describe().contains("one"));
    state.iter().zip([1, 2]).for_each(|(part, value)| part.store(value, Ordering::SeqCst));
    assert!(describe().contains("one"), "the version was checked a short time ago");
    let read = call(&server, "proxmox_api_get", json!({"path": "/version"}));
    assert!(read.text.contains("9.2"), "{read:?}");
    assert!(describe().contains("two"));
    assert_eq!(count_requests(&node, SCRIPT), 2);
}

#[test]
fn broken_new_description_keeps_the_old_one() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(1)]);
    let node = start_changing_node(&state);
    let cluster = eager_client("broken", &node);
    assert_eq!(word_of(&schema(&cluster)), "one");
    state[0].store(2, Ordering::SeqCst);
    state[1].store(2, Ordering::SeqCst);
    assert_eq!(word_of(&schema(&cluster)), "one");
    assert_eq!(word_of(&schema(&cluster)), "one");
    let warnings = warnings("broken");
    assert!(warnings.len() == 1 && warnings[0].contains("using the previous one"), "{warnings:?}");
}

#[test]
fn unknown_version_keeps_the_description() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let node = start_changing_node(&state);
    let cluster = eager_client("unversioned", &node);
    assert_eq!(word_of(&schema(&cluster)), "one");
    assert_eq!(word_of(&schema(&cluster)), "one");
    assert_eq!(count_requests(&node, SCRIPT), 1);
    state[1].store(1, Ordering::SeqCst);
    assert_eq!(word_of(&schema(&cluster)), "one");
    state[1].store(0, Ordering::SeqCst);
    assert_eq!(word_of(&schema(&cluster)), "one");
    assert_eq!(count_requests(&node, SCRIPT), 2);
    assert_eq!(warnings("unversioned"), [""; 0]);
}

#[test]
fn clusters_share_a_schema_only_if_the_bytes_are_equal() {
    let (a, b, c) = (
        start_serving(description_with("same")),
        start_node(|_| gzipped(description_with("same").as_bytes())),
        start_serving(description_with("other")),
    );
    let [a, b, c] = [("a", &a), ("b", &b), ("c", &c)].map(|(n, node)| schema(&client(n, node.cluster_settings())));
    assert!(a.is_live() && c.is_live());
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    let longer = start_serving(description_with("same") + " ");
    assert!(!Arc::ptr_eq(&a, &schema(&client("longer", longer.cluster_settings()))), "all bytes count");
}

#[test]
fn calls_use_the_current_schema_during_a_fetch() {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let node = start_node(move |_| {
        wait.lock().unwrap().recv().unwrap();
        ScriptedReply::body(&*PROXMOX)
    });
    let cluster = client("crowd", node.cluster_settings());
    thread::scope(|s| {
        let first = s.spawn(|| schema(&cluster));
        node.wait_for_requests(1);
        for other in (0..8).map(|_| s.spawn(|| schema(&cluster))).collect::<Vec<_>>() {
            assert!(is_embedded(&other.join().unwrap()));
        }
        go.send(()).unwrap();
        assert!(first.join().unwrap().is_live());
    });
    assert!(schema(&cluster).is_live());
    assert_eq!(count_requests(&node, SCRIPT), 1);
}

#[test]
fn cancelled_fetch_ends_at_once_and_the_next_call_retries() {
    let node =
        start_node(|request| if request.index == 0 { ScriptedReply::hang() } else { ScriptedReply::body(&*PROXMOX) });
    let cluster = client("cancelled", node.cluster_settings());
    let cancel = CancelToken::new();
    thread::scope(|s| {
        let first = s.spawn(|| cluster.schema(&cancel));
        node.wait_for_requests(1);
        cancel.cancel(CancelReason::ClientGone);
        assert!(is_embedded(&first.join().unwrap()));
    });
    assert!(is_embedded(&cluster.schema(&cancel)));
    assert_eq!(count_requests(&node, SCRIPT), 1, "a call that is over sends no request");
    assert!(schema(&cluster).is_live());
    assert_eq!(warnings("cancelled"), [""; 0]);
}

#[test]
fn fetch_counts_as_a_call_of_the_cluster() {
    let node =
        Node::start(
            |request| if request.path() == SCRIPT { ScriptedReply::body(&*PROXMOX) } else { ScriptedReply::hang() },
        );
    let limits = Limits { max_calls_per_cluster: 1, ..Limits::default() };
    capture();
    let settings = config::ClusterConfig { name: log_name("full"), ..node.cluster_settings() };
    let times = SchemaTimings { fetch_timeout: Duration::from_millis(50), ..SchemaTimings::default() };
    let cluster = Cluster::new(settings, &limits).unwrap().with_schema_timings(times);
    let cancel = CancelToken::new();
    thread::scope(|s| {
        let path = ApiPath::parse("/nodes").unwrap().0;
        let (cluster, cancel) = (&cluster, &cancel);
        s.spawn(move || cluster.call(Method::Get, &path, &ApiParams::new(), cancel).is_ok());
        node.wait_for_requests(1);
        assert!(is_embedded(&schema(cluster)));
        cancel.cancel(CancelReason::ClientGone);
    });
    assert_eq!(count_requests(&node, SCRIPT), 0);
    assert!(warnings("full")[0].contains("the cluster is busy"));
}

/// Returns a description as large as the largest real ones. Methods and parameters have different texts, and answers
/// have properties.
fn large() -> String {
    let mut paths = paths();
    let mut n = 0;
    let mut words = |length: usize| {
        n += 1;
        format!("Says number {n}. {}", "Some words about it and what it is good for. ".repeat(length))
    };
    for path in &mut paths {
        for info in path["info"].as_object_mut().unwrap().values_mut() {
            info["description"] = words(4).into();
            for property in info["parameters"]["properties"].as_object_mut().into_iter().flatten() {
                property.1["description"] = words(3).into();
                property.1["verbose_description"] = words(14).into();
            }
            let answer = |n: usize| (format!("key{n}"), json!({"type": "string", "description": words(2)}));
            let answers: serde_json::Map<_, _> = (0..9).map(answer).collect();
            info["returns"]["properties"] = answers.into();
        }
    }
    script(&paths)
}

#[test]
fn large_description_uses_little_memory() {
    let large = large();
    assert!((3 << 20..5 << 20).contains(&large.len()), "{} bytes", large.len());
    let schema = read_description(large.as_bytes()).ok().unwrap();
    assert!(schema.size_bytes() < 4 << 20, "{} bytes", schema.size_bytes());
    assert!(schema.operations().next().unwrap().description().starts_with("Says number 1."));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn description_parser_never_panics(
        start in 0..400_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(any::<u8>()), 0..60_usize), 0..12),
    ) {
        static PATHS: LazyLock<Vec<Value>> = LazyLock::new(paths);
        let mut bytes = script(&PATHS[start..start + 6]).into_bytes();
        for (at, byte, cut) in changes {
            if bytes.is_empty() { break }
            let at = at.index(bytes.len());
            match byte {
                Some(byte) => bytes[at] = byte,
                None => drop(bytes.drain(at..(at + cut).min(bytes.len()))),
            }
        }
        if let Ok(schema) = read_description(&bytes[..]) {
            prop_assert!(schema.operations().all(|o| o.parameters().all(|p| p.nested_parameters().count() < 1_000)));
        }
    }
}
