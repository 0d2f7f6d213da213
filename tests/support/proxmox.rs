//! A scripted Proxmox node, and its reading of a request. It describes its API, lists its guests, rejects guests of
//! other nodes, and answers anything else with `"fine"`.
#![allow(dead_code)]

use super::node::{Node, Request, ScriptedReply};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::schema::facts;
use proxmox_mcp::pve::schema::{Operation, embedded_schema};
use serde_json::{Map, Value, json};

/// The path of a node's description of its API.
pub const SCRIPT: &str = "/pve-docs/api-viewer/apidoc.js";

/// The nodes of the cluster.
pub const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

/// Returns its guests. Two are called `twin`, and the node of `thin` is not visible to the token.
pub fn guests() -> Value {
    json!([
        {"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "pve1", "name": "web01", "status": "running"},
        {"id": "qemu/101", "type": "qemu", "vmid": 101, "node": "pve2", "name": "db01", "status": "running"},
        {"id": "lxc/200", "type": "lxc", "vmid": 200, "node": "pve2", "name": "dns01", "status": "stopped"},
        {"id": "qemu/110", "type": "qemu", "vmid": 110, "node": "pve1", "name": "twin", "status": "stopped"},
        {"id": "lxc/210", "type": "lxc", "vmid": 210, "node": "pve3", "name": "twin", "status": "stopped"},
        {"id": "qemu/300", "type": "qemu", "vmid": 300, "name": "thin"},
    ])
}

/// Starts such a node, with [`guests`].
pub fn proxmox() -> Node {
    proxmox_with(gzipped_facts(), |_| None)
}

/// Returns the embedded facts as a node serves its description, compressed.
pub fn gzipped_facts() -> ScriptedReply {
    ScriptedReply::answer(200, "OK", &[("Content-Encoding", "gzip")], facts::APIDOC)
}

/// Returns the embedded facts as a list that a test can change.
pub fn facts_list() -> Vec<Value> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(facts::APIDOC), &mut text).unwrap();
    let list = text.split_once(" = ").unwrap().1.trim_end().trim_end_matches(';');
    serde_json::from_str(list).unwrap()
}

/// Returns these paths as a node serves its description.
pub fn script(paths: &[Value]) -> Vec<u8> {
    format!("const apiSchema = {};\n", json!(paths)).into_bytes()
}

/// Starts such a node with this description, for requests that `first` does not answer.
pub fn proxmox_with(
    script: ScriptedReply,
    first: impl Fn(&Request) -> Option<ScriptedReply> + Send + Sync + 'static,
) -> Node {
    let rows = guests();
    Node::start(move |request| first(request).unwrap_or_else(|| answer(&script, &rows, request)))
}

fn answer(script: &ScriptedReply, rows: &Value, request: &Request) -> ScriptedReply {
    let nodes = NODES.map(|node| json!({"node": node, "status": "online", "type": "node"}));
    match (request.method.as_str(), request.target.as_str()) {
        ("GET", SCRIPT) => return script.clone(),
        ("GET", "/api2/json/version") => return ScriptedReply::data(r#"{"version":"9.2.11"}"#),
        ("GET", "/api2/json/cluster/resources?type=vm") => return ScriptedReply::data(&rows.to_string()),
        ("GET", "/api2/json/access/permissions") => {
            return ScriptedReply::data(r#"{"/":{"VM.Audit":1,"Pool.Audit":1,"Sys.Audit":1}}"#);
        }
        ("GET", "/api2/json/access/acl" | "/api2/json/access/users?full=1" | "/api2/json/access/roles") => {
            return ScriptedReply::data("[]");
        }
        // A member of an IP set.
        ("GET", target) if target.ends_with("/192.0.2.0") => return ScriptedReply::data(r#"{"cidr":"192.0.2.0"}"#),
        ("GET", "/api2/json/nodes") => return ScriptedReply::data(&json!(nodes).to_string()),
        _ => {}
    }
    let segments = segments(request);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["nodes", node, rest @ ..] = segments.as_slice() {
        if !NODES.contains(node) {
            let why = format!("hostname lookup '{node}' failed - failed to get address info for: {node}");
            return server_error(&why);
        }
        if let [kind @ ("qemu" | "lxc"), vmid, ..] = rest
            && !is_at(rows, node, kind, vmid)
        {
            let folder = if *kind == "qemu" { "qemu-server" } else { "lxc" };
            return server_error(&format!("Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist"));
        }
        if let ("GET", [kind, vmid, "status", "current"]) = (request.method.as_str(), rest)
            && let Some(row) = find_row(rows, kind, vmid)
        {
            // The node refuses no call for this state.
            let mut status = row.clone();
            status["status"] = "unknown".into();
            return ScriptedReply::data(&status.to_string());
        }
        // The name alone: without a digest it is no config that shows the place of the guest.
        if let ("GET", [kind, vmid, "config"]) = (request.method.as_str(), rest)
            && let Some(row) = find_row(rows, kind, vmid)
        {
            return ScriptedReply::data(&json!({"name": row["name"], "hostname": row["name"]}).to_string());
        }
    }
    ScriptedReply::data("\"fine\"")
}

/// Returns a 500 in the form of Proxmox.
pub fn server_error(why: &str) -> ScriptedReply {
    let why: String = why.chars().filter(char::is_ascii).collect();
    ScriptedReply::refusal(500, &why, &json!({"message": format!("{why}\n"), "data": null}).to_string())
}

fn is_at(rows: &Value, node: &str, kind: &str, vmid: &str) -> bool {
    let here = |row: &Value| row["node"] == *node || row.get("node").is_none() && node == "pve3";
    find_row(rows, kind, vmid).is_some_and(here)
}

fn find_row<'r>(rows: &'r Value, kind: &str, vmid: &str) -> Option<&'r Value> {
    rows.as_array().unwrap().iter().find(|row| row["id"] == format!("{kind}/{vmid}"))
}

/// Returns whether a request is a look-up of the server itself, before or after the call.
pub fn is_lookup(request: &Request) -> bool {
    let about = ["/version", "/nodes", "/cluster/resources?type=vm", "/access/permissions"];
    request.method == "GET"
        && (request.target == SCRIPT
            || request.target.starts_with("/api2/json/access/permissions?path=")
            // The config confirms the name of a guest, and the version tells of a cluster of two.
            || (["/config", "/version"].iter().any(|end| request.target.ends_with(end)) && request.target.starts_with("/api2/json/nodes/"))
            || about.iter().any(|path| request.target.strip_prefix("/api2/json") == Some(path)))
}

/// Returns whether a request is one that the server makes itself to describe a guest in a question.
pub fn is_question_lookup(request: &Request) -> bool {
    let segments = segments(request);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    request.method == "GET"
        && matches!(
            segments.as_slice(),
            ["nodes", _, "qemu" | "lxc", _, "config" | "snapshot"]
                | ["nodes", _, "storage"]
                | ["cluster", "backup" | "replication"]
                | ["nodes", _, "qemu" | "lxc", _, "status", "current"]
        )
}

/// Returns the segments below `/api2/json` as Proxmox reads them. The path is decoded once, and empty segments are
/// dropped.
pub fn segments(request: &Request) -> Vec<String> {
    assert!(request.target.bytes().all(|b| b.is_ascii_graphic() && b != b'#'), "{request:?}");
    let all = read(request.path());
    assert_eq!(all[..2], ["api2", "json"], "{request:?}");
    all[2..].to_vec()
}

/// Returns a path as Proxmox reads it.
pub fn read(path: &str) -> Vec<String> {
    decode_percent(path).split('/').filter(|s| !s.is_empty()).map(String::from).collect()
}

/// Returns a text with its `%XX` decoded.
pub fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |b: &u8| (*b as char).to_digit(16).unwrap() as u8;
                bytes.push(digit(high) << 4 | digit(low));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the method and the template of a request, by the embedded facts. An unknown path has no template.
pub fn operation(method: &str, segments: &[String]) -> (String, Option<&'static str>) {
    let named = Method::from_name(method).unwrap();
    let found = embedded_schema().match_path(segments).ok();
    (method.to_owned(), found.and_then(|found| found.operation(named)).map(|o| o.template()))
}

/// Settings whose change adds no risk, of which each object with settings has one.
const HARMLESS_SETTINGS: [&str; 14] = [
    "comment",
    "description",
    "alias",
    "log_level_in",
    "log_level_forward",
    "log_ratelimit",
    "validation-delay",
    "ttl",
    "mtu",
    "asn",
    "bwlimit",
    "level",
    "gateway",
    "section",
];

/// Returns values for the required parameters of an operation that are not in its path.
pub fn required(operation: &Operation<'_>) -> Map<String, Value> {
    let value = |p: &proxmox_mcp::pve::schema::ParameterSpec<'_>| match p.kind() {
        "boolean" => json!(true),
        // Guests under HA.
        _ if matches!(p.name(), "resources" | "sid") => json!("vm:101"),
        _ if p.name() == "node" => json!("pve1"),
        // The first command of the guest agent stops what the guest writes.
        _ if p.allowed_values().any(|word| word == "ping") => json!("ping"),
        "integer" | "number" if p.minimum().is_empty() => json!(1),
        "integer" | "number" => json!(p.minimum().parse::<f64>().unwrap()),
        "array" => json!([p.allowed_values().next().unwrap_or("x")]),
        _ => match p.allowed_values().next() {
            Some(word) => json!(word),
            None if p.name() == "size" => json!("1G"),
            None => json!("x".repeat(p.min_length().parse().unwrap_or(3))),
        },
    };
    let values = |chosen: Option<&str>| {
        let wanted = operation.parameters().filter(|p| p.is_required_with(chosen));
        let wanted = wanted.filter(|p| !operation.is_path_parameter(p.name()));
        wanted.map(|p| (p.name().replace("[n]", "0"), value(&p))).collect::<Map<_, _>>()
    };
    let mut values = values(operation.find_instance_type(&values(None)));
    // A change of settings without one is refused.
    let is_config = operation.template().ends_with("/{vmid}/config") && operation.method() != Method::Get;
    if operation.method() == Method::Put && operation.parameter("delete").is_some() || is_config {
        let setting = HARMLESS_SETTINGS.iter().find_map(|name| operation.parameter(name));
        values.extend(setting.map(|setting| (setting.name().to_owned(), value(&setting))));
    }
    values
}
