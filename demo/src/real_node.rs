//! Compares the answers of the demo with those of a real node.
//!
//! `real_node/*.tsv` has what a node of Proxmox VE 9.2 answered to four tokens: its status, its words, and the members
//! of its data with their types. Guests, storages and pools are mapped to those of the demo. One line is one request:
//! callers, method, path, form, status, message or parameter errors, and the form of the data.
//! `real_node/differences.txt` lists where the demo answers otherwise. `UPDATE=1 cargo test -p proxmox-mcp-demo` writes it.

use crate::dispatch::Api;
use crate::http::{ParsedHead, Response, parse_head};
use crate::model::accounts::{AclEntry, Token, User};
use crate::options::Options;
use crate::seed::accounts::Secrets;
use crate::seed::new_cluster;
use crate::state::ClusterState;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A caller of the files.
struct Caller {
    name: &'static str,
    token: &'static str,
    /// Path and role of the access entries of the user and the token.
    entries: &'static [(&'static str, &'static str)],
}

const CALLERS: [Caller; 4] = [
    Caller { name: "full", token: "root@pam!terraform", entries: &[] },
    Caller { name: "reader", token: "mcp@pve!reader", entries: &[("/", "PVEAuditor")] },
    Caller { name: "blind", token: "mcp@pve!blind", entries: &[] },
    Caller {
        name: "ops",
        token: "ops@pve!ops",
        entries: &[("/vms/100", "PVEVMAdmin"), ("/vms/101", "PVEVMAdmin"), ("/storage/local", "PVEDatastoreUser")],
    },
];

/// Returns a cluster whose tasks end at once, with the accounts of the real node.
fn cluster() -> ClusterState {
    let secrets = Secrets { full: "s".into(), audit: "s".into(), root_password: "password".into() };
    let options = Options { task_step: Duration::ZERO, lag: Duration::ZERO, ..Options::default() };
    let mut state = new_cluster(&options, &secrets).expect("a cluster");
    let enabled = json!({"enable": 1, "expire": 0});
    for Caller { token: id, entries, .. } in CALLERS {
        let (user, _) = id.split_once('!').expect("a token id");
        let properties = enabled.as_object().expect("an object").clone();
        state.accounts.users.entry(user.into()).or_insert_with(|| User { properties, ..User::default() });
        let token =
            Token { secret: "s".into(), privilege_separation: user != "root@pam", comment: String::new(), expire: 0 };
        state.accounts.tokens.insert(id.into(), token);
        for (path, role) in entries {
            for subject in [user, id] {
                let (path, subject, role) = ((*path).into(), subject.into(), (*role).into());
                state.accounts.acl.push(AclEntry { path, subject, role, propagate: true });
            }
        }
    }
    state
}

/// Returns the facts about the API of the program in the form of a description.
fn description() -> &'static [u8] {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/pve/schema/facts/operations.json");
    let facts: Value = serde_json::from_str(&fs::read_to_string(file).expect("the facts")).expect("facts in JSON");
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in facts["operations"].as_array().expect("a list of operations") {
        let mut info = operation.clone();
        info["parameters"] = json!({"properties": operation["params"]});
        if let Some(typed) = operation.get("typed_params") {
            info["parameters"] = typed.clone();
        }
        if operation["additional_params"] == true {
            info["parameters"]["additionalProperties"] = 1.into();
        }
        info["permissions"] = json!({"user": operation["user"], "check": operation["check"]});
        let text = |key: &str| operation[key].as_str().expect("a text");
        paths.entry(text("path")).or_default().insert(text("method").into(), info);
    }
    let list: Value = paths.into_iter().map(|(path, info)| json!({"path": path, "info": info})).collect();
    let script = format!("const apiSchema = {list};");
    let mut encoder = flate2::read::GzEncoder::new(script.as_bytes(), flate2::Compression::fast());
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut encoder, &mut bytes).expect("compression in memory");
    bytes.leak()
}

/// The form of an answer as in the files.
struct Outcome {
    status: String,
    words: String,
    shape: String,
}

/// Sends a request. Returns the response as on the wire, without its headers.
fn respond(api: &Api, caller: &str, method: &str, path: &str, form: &str) -> Response {
    let token = CALLERS.iter().find(|known| known.name == caller).expect("a caller of the table").token;
    let length = form.len();
    let mut head = format!("{method} /api2/json{path} HTTP/1.1\r\nAuthorization: PVEAPIToken={token}=s\r\n");
    if length > 0 {
        head += &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n");
    }
    let ParsedHead::Complete(head) = parse_head(format!("{head}\r\n").as_bytes()) else { panic!("{head}") };
    match api.check_head(&head) {
        Ok(caller) => api.respond(&head, form.as_bytes(), &caller),
        Err(response) => response,
    }
}

fn outcome(api: &Api, caller: &str, method: &str, path: &str, form: &str) -> Outcome {
    let response = respond(api, caller, method, path, form);
    let body: Value = serde_json::from_slice(&decoded(&response)).unwrap_or_default();
    let status = response.status.to_string();
    let reason = response.reason.lines().next().unwrap_or("").to_string();
    let words = match body.get("errors") {
        Some(errors) => errors.to_string(),
        None if response.status == 200 => String::new(),
        None => reason,
    };
    let mut shape = if response.status == 200 { shape(path, &body["data"]) } else { String::new() };
    if let Some(upid) = body["data"].as_str().filter(|text| text.starts_with("UPID:")) {
        let node = upid.split(':').nth(1).expect("a node");
        let task = respond(api, "full", "GET", &format!("/nodes/{node}/tasks/{upid}/status"), "");
        let task: Value = serde_json::from_slice(&task.body).expect("a status in JSON");
        shape += &format!(": {}", task["data"]["exitstatus"].as_str().expect("an ended task"));
    }
    Outcome { status, words, shape }
}

fn decoded(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    if response.gzip {
        let mut decoder = flate2::read::GzDecoder::new(response.body.as_slice());
        std::io::Read::read_to_end(&mut decoder, &mut bytes).expect("a compressed body");
        bytes
    } else {
        response.body.clone()
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Returns the members of rows with their types. A `?` follows a name that not every row has.
fn members(rows: &[&Map<String, Value>]) -> String {
    let mut types: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (name, value) in rows.iter().flat_map(|row| row.iter()) {
        let (count, types) = types.entry(name).or_default();
        *count += 1;
        types.insert(type_name(value));
    }
    let member = |(name, (count, mut types)): (&str, (usize, BTreeSet<&str>))| {
        if types.len() > 1 {
            types.remove("null");
        }
        let optional = if count < rows.len() { "?" } else { "" };
        format!("{name}{optional}:{}", types.into_iter().collect::<Vec<_>>().join("/"))
    };
    types.into_iter().map(member).collect::<Vec<_>>().join(" ")
}

/// Returns the form of the data of an answer.
fn shape(path: &str, data: &Value) -> String {
    match data {
        Value::Array(rows) => match rows.first() {
            None => "[]".into(),
            Some(Value::Object(_)) => {
                let rows: Vec<_> = rows.iter().map(|row| row.as_object().expect("a list of objects")).collect();
                format!("[{}]", members(&rows))
            }
            Some(other) => format!("[{}]", type_name(other)),
        },
        Value::Object(_) if path.starts_with("/access/permissions") || path.starts_with("/access/roles/") => {
            "{...}".into()
        }
        Value::Object(object) => format!("{{{}}}", members(&[object])),
        Value::String(text) if text.starts_with("UPID:") => {
            format!("task {}", text.split(':').nth(5).expect("a type of tasks"))
        }
        other => type_name(other).into(),
    }
}

/// Returns the members of a form, each with its types.
fn parse_members(shape: &str) -> Vec<(&str, bool, &str)> {
    let inner = shape.trim_matches(['[', ']', '{', '}']);
    inner
        .split(' ')
        .filter_map(|member| member.split_once(':'))
        .map(|(name, types)| (name.trim_end_matches('?'), name.ends_with('?'), types))
        .collect()
}

/// Returns the differences of two forms: members that the demo lacks, and members of another type.
///
/// An empty list has no members to compare. The demo may have more members, since those depend on the objects.
fn shape_differences(real: &str, demo: &str) -> Vec<String> {
    if real == demo || real == "..." {
        return Vec::new();
    }
    let is_list = |shape: &str| shape.starts_with('[');
    if is_list(real) && is_list(demo) && (real == "[]" || demo == "[]") {
        return Vec::new();
    }
    let has_members = |shape: &str| shape.starts_with(['[', '{']) && (shape.contains(':') || shape == "{}");
    if !has_members(real) || !has_members(demo) || is_list(real) != is_list(demo) {
        return vec![format!("{demo} instead of {real}")];
    }
    let ours = parse_members(demo);
    let mut differences = Vec::new();
    for (name, is_optional, types) in parse_members(real) {
        match ours.iter().find(|(own, ..)| *own == name) {
            None if !is_optional => differences.push(format!("no {name}")),
            None => {}
            Some((.., own)) if *own == "null" || types == "null" => {}
            Some((.., own)) if own.split('/').any(|kind| !types.split('/').any(|other| other == kind)) => {
                differences.push(format!("{name} is a {own} instead of a {types}"));
            }
            Some(_) => {}
        }
    }
    differences
}

/// Returns the differences of all requests of a file, one per line.
fn compare(api: &Api, file: &str) -> String {
    let mut differences = String::new();
    for line in file.lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or("");
        let (callers, method, path, form) = (column(), column(), column(), column());
        let (status, words, real_shape) = (column(), column(), column());
        let words = match serde_json::from_str::<Value>(words) {
            Ok(errors) if status == "400" => errors.to_string(),
            _ => words.into(),
        };
        for caller in callers.split(',') {
            let demo = outcome(api, caller, method, path, form);
            let found = if demo.status != status || demo.words != words {
                vec![format!("{} {} instead of {status} {words}", demo.status, demo.words)]
            } else {
                shape_differences(real_shape, &demo.shape)
            };
            for difference in found {
                differences += format!("{caller} {method} {path} {form}").trim_end();
                differences += &format!(": {difference}\n");
            }
        }
    }
    differences
}

#[test]
fn demo_answers_as_a_real_node_except_for_the_listed_differences() {
    let options = Options { description: description(), ..Options::default() };
    let reads = compare(&Api::new(cluster(), &options), include_str!("../real_node/reads.tsv"));
    let writes = compare(&Api::new(cluster(), &options), include_str!("../real_node/writes.tsv"));
    let found = format!("{reads}{writes}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("real_node/differences.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &found).expect("a writable file");
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    let new: Vec<&str> = found.lines().filter(|line| !listed.lines().any(|other| other == *line)).collect();
    let gone: Vec<&str> = listed.lines().filter(|line| !found.lines().any(|other| other == *line)).collect();
    assert!(new.is_empty() && gone.is_empty(), "new:\n{}\ngone:\n{}", new.join("\n"), gone.join("\n"));
}
