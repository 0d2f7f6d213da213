//! A scripted assistant: the calls of everyday tasks on the demo, how many they are, how long the answers are, and that
//! the fact that the user needs is in them. The scripts are `benches/agent/tasks.json`.

use crate::demo::demo;
use crate::document::{Document, send};
use crate::support::node::ScriptedReply;
use crate::support::policy::{RecordingNode, confirmation_code_in, open_policy, rights};
use crate::support::proxmox::{gzipped_facts, segments};
use crate::support::test_tools::product;
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::mcp::context::Caller;
use proxmox_mcp::policy::{AccessLevel, ClusterPolicy};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A size in the table is rounded up to a multiple of this, because times and figures differ from run to run.
const ROUNDED_BYTES: usize = 100;

#[derive(Deserialize)]
struct Task {
    task: String,
    calls: Vec<ScriptedCall>,
    /// The limit of all answers together. The run fails if they are longer, or much shorter.
    bytes: usize,
}

#[derive(Deserialize)]
struct ScriptedCall {
    tool: String,
    arguments: Map<String, Value>,
    /// Texts that must be in the answer.
    facts: Vec<String>,
    /// The call may ask for a confirmation, which the user of the script gives.
    #[serde(default)]
    confirms: bool,
    /// The answer is an error of the tool.
    #[serde(default)]
    fails: bool,
    save: Option<Saved>,
}

/// A part of an answer for later calls, which name it as `{name}`.
#[derive(Deserialize)]
struct Saved {
    name: String,
    /// The beginning of the part.
    from: String,
    /// The end of the part.
    to: String,
}

/// The answer of a call, as a model reads it.
struct Answer {
    text: String,
    failed: bool,
}

fn call(server: &McpServer, tool: &str, arguments: &Value) -> Answer {
    let answer = send(server, &Caller::new_stdio(), "tools/call", json!({"name": tool, "arguments": arguments}));
    let texts = answer["result"]["content"].as_array().unwrap_or_else(|| panic!("{tool} {arguments}: {answer}"));
    let text = texts.iter().map(|content| content["text"].as_str().expect("a text")).collect::<Vec<_>>().join("\n");
    Answer { text, failed: answer["result"]["isError"] == true }
}

/// Runs the calls of a task. Returns the number of calls and the bytes of their answers, or the first wrong answer.
fn run_task(server: &McpServer, task: &Task) -> Result<(usize, usize), String> {
    let (mut calls, mut bytes) = (0, 0);
    let mut saved: Vec<(String, String)> = Vec::new();
    for step in &task.calls {
        let mut arguments = Value::Object(step.arguments.clone()).to_string();
        for (name, value) in &saved {
            arguments = arguments.replace(&format!("{{{name}}}"), value);
        }
        let mut arguments: Value = serde_json::from_str(&arguments).expect("JSON");
        let mut answer = call(server, &step.tool, &arguments);
        (calls, bytes) = (calls + 1, bytes + answer.text.len());
        if step.confirms && answer.failed && answer.text.contains("confirm: \"") {
            arguments["confirm"] = confirmation_code_in(&answer.text).into();
            answer = call(server, &step.tool, &arguments);
            (calls, bytes) = (calls + 1, bytes + answer.text.len());
        }
        if answer.failed != step.fails {
            return Err(format!("{arguments}: {}", answer.text));
        }
        if let Some(fact) = step.facts.iter().find(|fact| !answer.text.contains(fact.as_str())) {
            return Err(format!("{fact} is not in the answer to {arguments}:\n{}", answer.text));
        }
        if let Some(Saved { name, from, to }) = &step.save {
            let start = answer.text.find(from.as_str()).unwrap_or_else(|| panic!("{from} is not in {}", answer.text));
            let rest = &answer.text[start..];
            let end = rest.find(to.as_str()).expect("an end") + to.len();
            saved.push((name.clone(), rest[..end].to_owned()));
        }
    }
    Ok((calls, bytes))
}

fn read_tasks() -> Vec<Task> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/agent/tasks.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the scripts")).expect("scripts")
}

#[test]
fn agent_finds_the_fact_of_every_task() {
    let (mut table, mut all_calls, mut all_bytes) = (String::new(), 0, 0);
    let mut problems = String::new();
    let tasks = read_tasks();
    for task in &tasks {
        // Each task finds the cluster as it is at the start.
        let demo = demo();
        let policy = ClusterPolicy { permissions: rights(AccessLevel::Full, true), ..demo.cluster().policy };
        let cluster = ClusterConfig { policy, ..demo.cluster() };
        let (calls, bytes) = match run_task(&product(vec![cluster]), task) {
            Ok(measured) => measured,
            Err(wrong) => {
                writeln!(problems, "{}: {wrong}", task.task).expect("a text");
                continue;
            }
        };
        writeln!(table, "{calls} calls, at most {} bytes: {}", task.bytes, task.task).expect("a text");
        println!("{calls} calls, {bytes} bytes: {}", task.task);
        if bytes > task.bytes || bytes < task.bytes / 2 {
            writeln!(problems, "{}: {bytes} bytes, not {}", task.task, task.bytes).expect("a text");
        }
        (all_calls, all_bytes) = (all_calls + calls, all_bytes + task.bytes);
    }
    assert!(problems.is_empty(), "{problems}");
    writeln!(table, "{all_calls} calls, at most {all_bytes} bytes: {} tasks", tasks.len()).expect("a text");
    let mut document = Document::new();
    document.case("tasks of an assistant on the demo", table);
    document.assert("agent_tasks");
}

/// Starts a node of a cluster of 200 guests.
fn start_large_cluster() -> RecordingNode {
    let guests = (100..300).map(|vmid| {
        json!({"type": if vmid % 4 == 0 { "lxc" } else { "qemu" }, "id": format!("qemu/{vmid}"), "vmid": vmid,
               "name": format!("guest-{vmid}.example"), "node": format!("pve{}", vmid % 8 + 1), "status": "running",
               "cpu": 0.0123, "maxcpu": 4, "mem": 4_294_967_296_u64, "maxmem": 8_589_934_592_u64, "disk": 0,
               "maxdisk": 34_359_738_368_u64, "uptime": 864_000, "tags": "prod;web", "pool": "prod"})
    });
    let nodes = (1..9).map(|n| {
        json!({"type": "node", "id": format!("node/pve{n}"), "node": format!("pve{n}"), "status": "online", "cpu": 0.2,
               "maxcpu": 32, "mem": 1, "maxmem": 2, "disk": 1, "maxdisk": 2, "uptime": 864_000})
    });
    let rows: Vec<Value> = nodes.chain(guests).collect();
    let node_rows = Value::from(rows[..8].to_vec()).to_string();
    let rows = Value::from(rows).to_string();
    RecordingNode::with(gzipped_facts(), move |request| {
        if request.target.contains("apidoc.js") {
            return None;
        }
        Some(match segments(request).join("/").as_str() {
            "cluster/resources" => ScriptedReply::data(&rows),
            "nodes" => ScriptedReply::data(&node_rows),
            "version" => ScriptedReply::data(r#"{"version":"9.2.1"}"#),
            path if path.ends_with("/status/start") => {
                ScriptedReply::data(r#""UPID:pve5:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:""#)
            }
            path if path.ends_with("/status") => ScriptedReply::data(r#"{"status":"stopped","exitstatus":"OK"}"#),
            path if path.ends_with("/log") => {
                let lines: Vec<Value> =
                    (1..=500).map(|n| json!({"n": n, "t": format!("line {n} of the log of a task")})).collect();
                ScriptedReply::body(json!({"data": lines, "total": 500}).to_string())
            }
            path if path.ends_with("/subscription") => ScriptedReply::data(r#"{"status":"notfound"}"#),
            "access/permissions" => ScriptedReply::data(r#"{"/":{"VM.Audit":1,"Sys.Audit":1}}"#),
            path if path.ends_with("/config") => {
                let vmid = path.split('/').nth(3).expect("a number");
                ScriptedReply::data(&json!({"name": format!("guest-{vmid}.example"), "digest": "x"}).to_string())
            }
            _ => ScriptedReply::data("[]"),
        })
    })
}

#[test]
fn agent_reads_answers_of_bounded_size_from_200_guests() {
    let node = start_large_cluster();
    let server = product(vec![node.cluster("large", open_policy())]);
    let mut table = String::new();
    for (tool, arguments) in [
        ("list_clusters", json!({"check": true})),
        ("list_nodes", json!({})),
        ("get_cluster_resources", json!({})),
        ("get_cluster_resources", json!({"type": "overview"})),
        ("find_guest", json!({"query": "running"})),
        ("search_api", json!({"query": "vm"})),
        ("describe_api", json!({"path": "/nodes/{node}/qemu", "method": "POST"})),
        ("proxmox_api_get", json!({"path": "/cluster/resources"})),
        ("proxmox_api_get", json!({"path": "/cluster/resources", "format": "table"})),
        ("proxmox_api_call", json!({"path": "/qemu/guest-101.example/status/start", "method": "POST"})),
        ("wait_for_task", json!({"upid": "UPID:pve5:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:"})),
    ] {
        let answer = call(&server, tool, &arguments);
        assert!(!answer.failed, "{tool} {arguments}: {}", answer.text);
        let bytes = answer.text.len().next_multiple_of(ROUNDED_BYTES);
        writeln!(table, "at most {bytes} bytes: {tool} {arguments}").expect("a text");
    }
    let mut document = Document::new();
    document.case("answers about a cluster of 200 guests", table);
    document.assert("agent_sizes");
}

/// Returns whether a text has the parts of a pattern, which `…` separates, in their order.
fn matches(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('…').all(|part| match rest.find(part) {
        Some(start) => {
            rest = &rest[start + part.len()..];
            true
        }
        None => false,
    })
}

/// Replaces the values with `…` by the confirmation code, or by the part of the answer that begins and ends like the value.
fn fill_in(arguments: &mut Value, answer: &str) {
    for (name, value) in arguments.as_object_mut().expect("an object") {
        let Some((begin, end)) = value.as_str().and_then(|text| text.split_once('…')) else { continue };
        *value = match name.as_str() {
            "confirm" => confirmation_code_in(answer).into(),
            _ => {
                let rest = &answer[answer.find(begin).unwrap_or_else(|| panic!("{begin} is not in {answer}"))..];
                rest[..rest.find(end).expect("an end") + end.len()].into()
            }
        };
    }
}

#[test]
fn conversations_of_the_page_happen_on_the_demo() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md");
    let page = fs::read_to_string(path).expect("the page");
    let conversations: Vec<&str> =
        page.split("```conversation\n").skip(1).map(|rest| rest.split("```").next().expect("an end")).collect();
    assert_eq!(conversations.len(), 3);
    for conversation in conversations {
        let demo = demo();
        let server = product(vec![demo.cluster()]);
        let mut last = String::new();
        for step in conversation.split("> ").filter(|step| !step.is_empty()) {
            let (line, pattern) = step.split_once('\n').expect("a call and its answer");
            let (tool, arguments) = line.split_once(' ').expect("a tool and its arguments");
            let mut arguments = serde_json::from_str(arguments).unwrap_or_else(|error| panic!("{line}: {error}"));
            fill_in(&mut arguments, &last);
            last = call(&server, tool, &arguments).text;
            assert!(matches(&last, pattern.trim_end()), "{line}\nwanted:\n{pattern}\nfound:\n{last}");
        }
    }
}
