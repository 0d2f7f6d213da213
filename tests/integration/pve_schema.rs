//! The schema of a cluster: its own description, from any node and in any state, or the embedded facts.

use crate::support::log;
use crate::support::log::capture;
use crate::support::node::{Identity, Node, Request, SECRET, ScriptedReply, closed_endpoint};
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
const PATIENCE: Duration = Duration::from_secs(600);

/// A description of the API as a node of version 9 has it, without its words.
static PROXMOX: LazyLock<String> = LazyLock::new(|| {
    let mut script = String::new();
    GzDecoder::new(facts::APIDOC).read_to_string(&mut script).unwrap();
    script + "\nExt.onReady(function() { var x = [1]; });\n"
});

/// The same as a list to change.
fn paths() -> Vec<Value> {
    let list = PROXMOX.split_once(" = ").unwrap().1.split_once(";\n").unwrap().0;
    serde_json::from_str(list).unwrap()
}

fn script(paths: &[Value]) -> String {
    format!("const apiSchema = {};\n", json!(paths))
}

/// One that differs from every other by this word.
fn marked(word: &str) -> String {
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

/// A node that answers the request for its description so, and any other as it should be.
fn node(describe: impl Fn(&Request) -> ScriptedReply + Send + Sync + 'static) -> Node {
    Node::start(move |request| match request.path() {
        SCRIPT => describe(request),
        "/api2/json/version" => ScriptedReply::data(VERSION),
        _ => ScriptedReply::data(r#""fine""#),
    })
}

fn serving(script: impl Into<Vec<u8>>) -> Node {
    let reply = ScriptedReply::body(script.into());
    node(move |_| reply.clone())
}

/// The name of a cluster in the log, which no other module's cluster has.
fn log_name(name: &str) -> String {
    format!("schema {name}")
}

/// A client of this name, which patient tests never see ask again.
fn client(name: &str, settings: config::ClusterConfig) -> Cluster {
    capture();
    let settings = config::ClusterConfig { name: log_name(name), timeout: PATIENCE, ..settings };
    Cluster::new(settings, &Limits::default()).unwrap().with_schema_timings(patient())
}

/// Timings with which a slow machine reads even the longest description.
fn patient() -> SchemaTimings {
    SchemaTimings { fetch_timeout: PATIENCE, ..SchemaTimings::default() }
}

/// One that asks again at every use.
fn eager(name: &str, node: &Node) -> Cluster {
    let times = SchemaTimings { version_interval: Duration::ZERO, retry_interval: Duration::ZERO, ..patient() };
    client(name, node.cluster_settings()).with_schema_timings(times)
}

fn schema(cluster: &Cluster) -> Arc<Schema> {
    cluster.schema(&CancelToken::new())
}

fn is_embedded(schema: &Arc<Schema>) -> bool {
    assert_eq!(schema.is_live(), !Arc::ptr_eq(schema, embedded_schema()));
    !schema.is_live()
}

fn asked(node: &Node, path: &str) -> usize {
    node.requests().iter().filter(|r| r.path() == path).count()
}

/// The warnings about the description; that a node is passed over is another matter.
fn warnings(name: &str) -> Vec<String> {
    log::warnings(&log_name(name)).into_iter().filter(|line| !line.contains("this node is asked last")).collect()
}

fn works(cluster: &Cluster) {
    let answer =
        cluster.call(Method::Get, &ApiPath::parse("/nodes").unwrap().0, &ApiParams::new(), &CancelToken::new());
    assert_eq!(answer.unwrap().data(), r#""fine""#);
}

/// With this description the cluster has the embedded facts, is asked for it once, and works on. What the one warning
/// says.
#[track_caller]
fn refused(name: &str, reply: ScriptedReply) -> String {
    let node = node(move |_| reply.clone());
    let cluster = client(name, node.cluster_settings());
    works(&cluster);
    assert!(is_embedded(&schema(&cluster)), "{name}");
    works(&cluster);
    assert!(is_embedded(&schema(&cluster)), "{name}");
    assert_eq!(asked(&node, SCRIPT), 1, "{name}");
    let warnings = warnings(name);
    let [warning] = &warnings[..] else { panic!("{name}: {warnings:?}") };
    assert!(warning.contains("using the built-in one of Proxmox VE 9: "), "{warning}");
    warning.clone()
}

#[test]
fn a_clusters_own_description_is_its_schema_plain_or_compressed() {
    for (name, reply) in [("plain", ScriptedReply::body(&*PROXMOX)), ("gzip", gzipped(PROXMOX.as_bytes()))] {
        let node = node(move |_| reply.clone());
        let cluster = client(name, node.cluster_settings());
        let live = schema(&cluster);
        assert!(live.is_live() && live.len() == embedded_schema().len());
        assert!(Arc::ptr_eq(&live, &schema(&cluster)));
        assert_eq!((asked(&node, SCRIPT), asked(&node, "/api2/json/version")), (1, 1));
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
fn it_is_asked_for_without_the_token_and_compressed() {
    let node = serving(&**PROXMOX);
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
fn a_description_read_whole_leaves_its_connection_usable() {
    let node = serving(&**PROXMOX);
    let cluster = client("kept", node.cluster_settings());
    schema(&cluster);
    works(&cluster);
    assert_eq!(node.connections(), 1);
}

#[test]
fn it_comes_over_tls_too() {
    let node = Node::start_as(Identity::Trusted, |request| match request.path() {
        SCRIPT => ScriptedReply::body(&*PROXMOX),
        _ => ScriptedReply::data(VERSION),
    });
    assert!(schema(&client("tls", node.cluster_settings())).is_live());
}

#[test]
fn a_node_that_is_down_is_passed_over() {
    let node = serving(&**PROXMOX);
    let endpoints = vec![closed_endpoint(), node.endpoint()];
    assert!(schema(&client("one down", config::ClusterConfig { endpoints, ..node.cluster_settings() })).is_live());
}

#[test]
fn a_kept_connection_that_was_lost_is_no_failure() {
    let node = node(|request| if request.nth > 0 { ScriptedReply::close() } else { ScriptedReply::body(&*PROXMOX) });
    let cluster = client("stale", node.cluster_settings());
    works(&cluster);
    assert!(schema(&cluster).is_live());
}

#[test]
fn what_is_no_description_is_refused() {
    let html = "<!DOCTYPE html><html><body>Sign in</body></html>";
    for (name, body, why) in [
        ("html", html, "has no list of operations"),
        ("empty", "", "has no list of operations"),
        ("no schema", "const apiSchema = {};", "has no list of operations"),
        ("empty list", "const apiSchema = [];", "has no operations"),
        ("no paths", "const apiSchema = [1, 2];", "a path of the API"),
        ("one", r#"const apiSchema = [{"path":"/nodes","info":{"GET":{}}}];"#, "it has 1 of the 661 known operations"),
    ] {
        let warning = refused(name, ScriptedReply::body(body));
        assert!(warning.contains(why), "{warning}");
    }
}

#[test]
fn what_lacks_the_basic_operations_is_refused() {
    let without = |path: &str| paths().into_iter().filter(|p| p["path"] != path).collect::<Vec<_>>();
    assert!(refused("no nodes", ScriptedReply::body(script(&without("/nodes")))).contains("not the API description"));
    assert!(
        refused("no version", ScriptedReply::body(script(&without("/version")))).contains("not the API description")
    );
    assert!(refused("a part", ScriptedReply::body(script(&paths()[..150]))).contains("not the API description"));
}

#[test]
fn what_is_cut_short_is_refused() {
    let whole = PROXMOX.as_bytes();
    refused("cut", ScriptedReply::body(&whole[..whole.len() / 2]));
    let compressed = gzip(whole);
    let gzip = [("Content-Encoding", "gzip")];
    refused("cut gzip", ScriptedReply::answer(200, "OK", &gzip, &compressed[..compressed.len() / 2]));
    // The list is whole, the rest is not.
    refused("cut end", ScriptedReply::answer(200, "OK", &gzip, &compressed[..compressed.len() - 4]));
    refused("no gzip", ScriptedReply::answer(200, "OK", &gzip, whole));
    let lost = ScriptedReply::answer(200, "OK", &[("Content-Length", "900000")], &whole[..100_000]).then_close();
    assert!(refused("lost", lost).contains("the connection was lost in the middle of it"));
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    for (name, unit) in [("lists", "["), ("paths", r#"{"children":["#), ("values", r#"{"info":{"GET":["#)] {
        refused(name, ScriptedReply::body(format!("const apiSchema = [{}", unit.repeat(500_000))));
    }
    refused("value", ScriptedReply::body(format!(r#"[{{"info":{{"GET":{}"#, "[".repeat(500_000))));
}

#[test]
fn what_is_too_large_is_refused() {
    let many = format!("[{}", r#"{"text":"a path without a name"},"#.repeat(600_000));
    assert!(many.len() > 17 << 20);
    assert!(refused("17 MB", ScriptedReply::body(&many)).contains("more than 16 MiB"));
    let after = format!("{}{}", *PROXMOX, " ".repeat(17 << 20));
    assert!(refused("bomb", gzipped(after.as_bytes())).contains("larger than any description"));
    assert!(
        refused("one text", ScriptedReply::body(format!("[{{\"path\":\"{}", "x".repeat(2 << 20))))
            .contains("a path of more than 1 MiB")
    );
    let small = format!(r#"[{{"info":{{"GET":[{}0]}},"path":"/x"}}]"#, r#"{"":0},"#.repeat(100_000));
    assert!(
        refused("small objects", ScriptedReply::body(small)).contains("a path that takes more than 8 MiB of memory")
    );
}

#[test]
fn compressed_nothing_without_an_end_is_refused() {
    // The head of a member, and blocks of no bytes (RFC 1951, 3.2.4), of which none is the last.
    let mut nothing = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    nothing.extend([0, 0, 0, 0xff, 0xff].repeat(4 << 20));
    let reply = ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], nothing);
    let warning = refused("nothing", reply);
    assert!(warning.contains("larger than any description"), "{warning}");
}

#[test]
fn paths_without_an_end_are_refused() {
    let path = |n: usize| json!({"path": format!("/{n}{}", "/x".repeat(400)), "info": {"GET": {}}});
    let many: Vec<Value> = (0..2_000).map(path).collect();
    assert!(refused("parts", ScriptedReply::body(script(&many))).contains("more than 20000 different segments"));
}

#[test]
fn wrong_types_are_passed_over() {
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
fn of_two_that_say_they_are_the_same_the_first_counts() {
    let twice = r#"[{"path":"/x","info":{"GET":{"name":"first"}}},{"path":"/x","info":{"GET":{"name":"second"}}}]"#;
    assert_eq!(
        read_description(twice.as_bytes()).ok().unwrap().find_by_template(Method::Get, "/x").unwrap().name(),
        "first"
    );
}

#[test]
fn what_does_not_end_in_time_is_refused() {
    let hang = ScriptedReply::hang();
    for (name, reply) in [("hang", hang), ("drip", ScriptedReply::body(&*PROXMOX).dripping(Duration::from_millis(1)))] {
        let node = node(move |_| reply.clone());
        let times = SchemaTimings { fetch_timeout: Duration::from_millis(150), ..SchemaTimings::default() };
        let cluster = client(name, node.cluster_settings()).with_schema_timings(times);
        assert!(is_embedded(&schema(&cluster)));
        let warnings = warnings(name);
        assert!(warnings.len() == 1 && warnings[0].contains("did not arrive completely in time"), "{warnings:?}");
        works(&cluster);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = serving(&**PROXMOX);
    let location = format!("http://{}{SCRIPT}", elsewhere.endpoint());
    let warning = refused("redirect", ScriptedReply::answer(302, "Found", &[("Location", &location)], &**PROXMOX));
    assert!(warning.contains("failed (302)") && elsewhere.requests().is_empty(), "{warning}");
    refused("no content", ScriptedReply::answer(206, "Partial Content", &[], &**PROXMOX));
    refused("unauthorized", ScriptedReply::refusal(401, "No ticket", ""));
}

#[test]
fn a_cluster_that_is_down_has_the_embedded_facts() {
    let node = Node::start(|_| ScriptedReply::hang());
    let cluster =
        client("down", config::ClusterConfig { endpoints: vec![closed_endpoint()], ..node.cluster_settings() });
    assert!(is_embedded(&schema(&cluster)));
    assert!(is_embedded(&schema(&cluster)));
    let warnings = warnings("down");
    assert!(warnings.len() == 1 && warnings[0].contains("connection refused"), "{warnings:?}");
}

#[test]
fn a_description_that_has_our_secret_in_it_is_refused() {
    assert!(
        refused("mirror", ScriptedReply::body(marked(&format!("say {SECRET} twice"))))
            .contains("the secret of the API token")
    );
}

#[test]
fn a_failure_is_one_warning_until_it_goes_well() {
    let node =
        node(|request| if request.index < 3 { ScriptedReply::body("?") } else { ScriptedReply::body(&*PROXMOX) });
    let cluster = eager("three", &node);
    (0..3).for_each(|_| assert!(is_embedded(&schema(&cluster))));
    assert!(schema(&cluster).is_live());
    assert_eq!(warnings("three").len(), 1);
}

/// A node whose version is the second number of `state`, and its description the one of the first.
fn changing(state: &Arc<[AtomicUsize; 2]>) -> Node {
    let state = state.clone();
    let now = move |which: usize| state[which].load(Ordering::SeqCst);
    let scripts = [marked("one"), marked("two"), "broken".to_owned()];
    Node::start(move |request| match request.path() {
        SCRIPT => ScriptedReply::body(&scripts[now(0)]),
        "/api2/json/version" if now(1) == 0 => ScriptedReply::refusal(401, "No ticket", ""),
        _ => ScriptedReply::data(&format!(r#"{{"version":"9.{}"}}"#, now(1))),
    })
}

fn says(schema: &Schema) -> String {
    schema.operations().next().unwrap().description().to_owned()
}

#[test]
fn a_new_version_is_a_new_description() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(1)]);
    let node = changing(&state);
    let cluster = eager("upgraded", &node);
    assert_eq!(says(&schema(&cluster)), "one");
    assert_eq!(says(&schema(&cluster)), "one");
    assert_eq!(asked(&node, SCRIPT), 1);
    state[0].store(1, Ordering::SeqCst);
    assert_eq!(says(&schema(&cluster)), "one");
    state[1].store(2, Ordering::SeqCst);
    assert_eq!(says(&schema(&cluster)), "two");
    assert_eq!(asked(&node, SCRIPT), 2);
}

#[test]
fn a_new_description_that_is_broken_leaves_the_old_one() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(1)]);
    let node = changing(&state);
    let cluster = eager("broken", &node);
    assert_eq!(says(&schema(&cluster)), "one");
    state[0].store(2, Ordering::SeqCst);
    state[1].store(2, Ordering::SeqCst);
    assert_eq!(says(&schema(&cluster)), "one");
    assert_eq!(says(&schema(&cluster)), "one");
    let warnings = warnings("broken");
    assert!(warnings.len() == 1 && warnings[0].contains("using the previous one"), "{warnings:?}");
}

#[test]
fn a_version_that_is_not_told_changes_nothing() {
    let state = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let node = changing(&state);
    let cluster = eager("untold", &node);
    assert_eq!(says(&schema(&cluster)), "one");
    assert_eq!(says(&schema(&cluster)), "one");
    assert_eq!(asked(&node, SCRIPT), 1);
    state[1].store(1, Ordering::SeqCst);
    assert_eq!(says(&schema(&cluster)), "one");
    state[1].store(0, Ordering::SeqCst);
    assert_eq!(says(&schema(&cluster)), "one");
    assert_eq!(asked(&node, SCRIPT), 2);
    assert_eq!(warnings("untold"), [""; 0]);
}

#[test]
fn clusters_share_a_schema_where_the_bytes_are_the_same_and_only_there() {
    let (a, b, c) = (serving(marked("same")), node(|_| gzipped(marked("same").as_bytes())), serving(marked("other")));
    let [a, b, c] = [("a", &a), ("b", &b), ("c", &c)].map(|(n, node)| schema(&client(n, node.cluster_settings())));
    assert!(a.is_live() && c.is_live());
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    let longer = serving(marked("same") + " ");
    assert!(!Arc::ptr_eq(&a, &schema(&client("longer", longer.cluster_settings()))), "all bytes count");
}

#[test]
fn while_one_fetches_the_others_get_what_there_is() {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let node = node(move |_| {
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
    assert_eq!(asked(&node, SCRIPT), 1);
}

#[test]
fn a_cancelled_fetch_ends_at_once_and_the_next_call_tries_again() {
    let node = node(|request| if request.index == 0 { ScriptedReply::hang() } else { ScriptedReply::body(&*PROXMOX) });
    let cluster = client("cancelled", node.cluster_settings());
    let cancel = CancelToken::new();
    thread::scope(|s| {
        let first = s.spawn(|| cluster.schema(&cancel));
        node.wait_for_requests(1);
        cancel.cancel(CancelReason::ClientGone);
        assert!(is_embedded(&first.join().unwrap()));
    });
    assert!(is_embedded(&cluster.schema(&cancel)));
    assert_eq!(asked(&node, SCRIPT), 1, "a call that is over sends no request");
    assert!(schema(&cluster).is_live());
    assert_eq!(warnings("cancelled"), [""; 0]);
}

#[test]
fn a_fetch_is_one_of_the_clusters_calls() {
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
    assert_eq!(asked(&node, SCRIPT), 0);
    assert!(warnings("full")[0].contains("the cluster is busy"));
}

/// As large as the largest real ones: each method and each parameter has words of its own, each answer its properties.
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
fn a_large_description_keeps_little() {
    let large = large();
    assert!((3 << 20..5 << 20).contains(&large.len()), "{} bytes", large.len());
    let schema = read_description(large.as_bytes()).ok().unwrap();
    assert!(schema.size_bytes() < 4 << 20, "{} bytes", schema.size_bytes());
    assert!(schema.operations().next().unwrap().description().starts_with("Says number 1."));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_panics_the_reader(
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
