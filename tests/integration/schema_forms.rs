//! Parameters that depend on a type (`allOf` and `oneOf` in the description of a cluster), or on the version of a node.

use crate::support::node::{Node, ScriptedReply};
use crate::support::proxmox::{SCRIPT, facts_list, gzipped_facts, proxmox_with, script};
use crate::support::test_tools::product;
use crate::support::tool::call;
use proxmox_mcp::mcp::McpServer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RULES: &str = "/cluster/ha/rules";

/// Returns the entry of a path in a list of paths.
fn find<'v>(paths: &'v mut [Value], path: &str) -> Option<&'v mut Value> {
    for entry in paths {
        if entry["path"] == path {
            return Some(entry);
        }
        if let Some(children) = entry.get_mut("children").and_then(Value::as_array_mut)
            && let Some(found) = find(children, path)
        {
            return Some(found);
        }
    }
    None
}

/// Starts a node that describes the parameters of `POST /cluster/ha/rules` so.
fn start(parameters: Value) -> (Node, McpServer) {
    let mut paths = facts_list();
    find(&mut paths, RULES).expect("the rules")["info"]["POST"]["parameters"] = parameters;
    let node = proxmox_with(ScriptedReply::body(script(&paths)), |_| None);
    let server = product(vec![node.cluster_settings()]);
    (node, server)
}

/// Returns the form of Proxmox VE 9.2.
fn typed_forms() -> Value {
    json!({"allOf": [
        {"additionalProperties": 0, "properties": {
            "rule": {"type": "string", "format": "pve-configid"},
            "resources": {"type": "string", "format": "pve-ha-resource-id-list"},
            "comment": {"type": "string", "optional": 1},
        }},
        {"type-property": "type", "type-property-schema": {"type": "string", "enum": ["node-affinity", "resource-affinity"]},
         "oneOf": [
            {"instance-type": "node-affinity", "additionalProperties": 0, "properties": {
                "nodes": {"type": "string", "format": "pve-ha-node-list"},
                "strict": {"type": "boolean", "optional": 1},
                "disable": {"type": "boolean", "optional": 1},
            }},
            {"instance-type": "resource-affinity", "additionalProperties": 0, "properties": {
                "affinity": {"type": "string", "enum": ["positive", "negative"]},
                "disable": {"type": "boolean", "optional": 1},
            }},
        ]},
    ]})
}

/// Returns the same, with the types at the properties.
fn typed_properties() -> Value {
    json!({"additionalProperties": 0, "properties": {
        "rule": {"type": "string"},
        "resources": {"type": "string"},
        "type": {"type": "string", "enum": ["node-affinity", "resource-affinity"]},
        "nodes": {"type": "string", "type-property": "type", "instance-types": ["node-affinity"]},
        "strict": {"type": "boolean", "optional": 1, "instance-types": ["node-affinity"]},
        "affinity": {"type-property": "type", "oneOf": [
            {"instance-types": ["resource-affinity"], "type": "string", "enum": ["positive", "negative"]},
        ]},
    }})
}

#[test]
fn parameters_are_checked_by_their_type() {
    for parameters in [typed_forms(), typed_properties()] {
        let (_node, server) = start(parameters);
        let plan = |data: Value| {
            let result = call(
                &server,
                "proxmox_api_call",
                json!({"path": RULES, "method": "POST", "data": data, "dry_run": true}),
            );
            (result.failed, result.all_text())
        };
        for (data, problem) in [
            (
                json!({"rule": "r1", "type": "node-affinity", "resources": "vm:100", "nodes": "pve1", "strict": true}),
                "",
            ),
            (json!({"rule": "r1", "type": "resource-affinity", "resources": "vm:100", "affinity": "negative"}), ""),
            (json!({"rule": "r1", "type": "node-affinity", "resources": "vm:100"}), "`nodes` is missing"),
            (json!({"rule": "r1", "type": "resource-affinity", "resources": "vm:100"}), "`affinity` is missing"),
            (
                json!({"rule": "r1", "type": "resource-affinity", "resources": "vm:100", "affinity": "negative", "nodes": "pve1"}),
                "`nodes` belongs to type node-affinity alone",
            ),
            (
                json!({"rule": "r1", "type": "resource-affinity", "resources": "vm:100", "affinity": "apart"}),
                "`affinity` must be one of positive, negative",
            ),
            (json!({"rule": "r1", "type": "both", "resources": "vm:100"}), "`type` must be one of node-affinity"),
            (json!({"rule": "r1", "resources": "vm:100"}), "`type` is missing"),
            (
                json!({"rule": "r1", "type": "node-affinity", "resources": "vm:100", "nodes": "pve1", "bogus": 1}),
                "`bogus` is no parameter",
            ),
        ] {
            let (failed, text) = plan(data.clone());
            assert_eq!(failed, !problem.is_empty(), "{data}: {text}");
            assert!(text.contains(problem), "{data}: {text}");
        }
    }
}

#[test]
fn parameters_are_described_with_their_type() {
    for parameters in [typed_forms(), typed_properties()] {
        let (_node, server) = start(parameters);
        let text = call(&server, "describe_api", json!({"path": RULES, "method": "POST"})).text;
        for line in ["nodes", "affinity", "type", "rule", "(only node-affinity)", "(only resource-affinity)"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let text =
            call(&server, "describe_api", json!({"path": RULES, "method": "POST", "parameter": "affinity"})).text;
        assert!(text.contains("(only resource-affinity)") && text.contains("positive|negative"), "{text}");
    }
}

#[test]
fn parameters_of_an_unknown_form_are_not_checked() {
    for parameters in
        [json!({"$ref": "#/rules"}), json!({"if": {}, "then": {}}), json!([]), json!({"properties": {}, "not": {}})]
    {
        let (_node, server) = start(parameters.clone());
        let data = json!({"rule": "r1", "bogus": 1});
        let result =
            call(&server, "proxmox_api_call", json!({"path": RULES, "method": "POST", "data": data, "dry_run": true}));
        assert!(!result.failed, "{parameters}: {}", result.all_text());
        let text = call(&server, "describe_api", json!({"path": RULES, "method": "POST"})).text;
        assert!(text.contains("takes parameters beyond these"), "{text}");
    }
    let (_node, server) = start(json!({"additionalProperties": 0}));
    let result = call(
        &server,
        "proxmox_api_call",
        json!({"path": RULES, "method": "POST", "data": {"bogus": 1}, "dry_run": true}),
    );
    assert!(result.failed && result.all_text().contains("which takes none"), "{}", result.all_text());
}

/// Returns the facts, in which `PUT /cluster/options` has one more parameter.
fn newer_script() -> ScriptedReply {
    let mut paths = facts_list();
    let options = find(&mut paths, "/cluster/options").expect("the options of the cluster");
    options["info"]["PUT"]["parameters"]["properties"]["newer"] = json!({"type": "string", "optional": 1});
    ScriptedReply::body(script(&paths))
}

#[test]
fn a_rejected_call_is_checked_again_after_an_upgrade() {
    let is_upgraded = Arc::new(AtomicBool::new(false));
    let (upgraded, newer) = (is_upgraded.clone(), newer_script());
    let node = proxmox_with(gzipped_facts(), move |request| match request.path() {
        _ if !upgraded.load(Ordering::SeqCst) => None,
        SCRIPT => Some(newer.clone()),
        "/api2/json/version" => Some(ScriptedReply::data(r#"{"version":"9.3.1"}"#)),
        _ => None,
    });
    let server = product(vec![node.cluster_settings()]);
    let change = || call(&server, "proxmox_api_call", json!({"path": "PUT /cluster/options", "data": {"newer": "x"}}));
    assert!(change().text.contains("`newer` is no parameter"));
    is_upgraded.store(true, Ordering::SeqCst);
    let result = change();
    assert!(!result.failed, "{result:?}");
    assert_eq!(node.requests().iter().filter(|request| request.method == "PUT").count(), 1);
}

#[test]
fn a_path_of_a_node_of_another_version_is_left_to_the_node() {
    let node = proxmox_with(gzipped_facts(), |request| {
        let is_far = request.path() == "/api2/json/nodes/pve2/version";
        is_far.then(|| ScriptedReply::data(r#"{"version":"9.9.1"}"#))
    });
    let server = product(vec![node.cluster_settings()]);
    let read = |path: &str| call(&server, "proxmox_api_call", json!({"path": path, "method": "GET"}));
    let far = read("/nodes/pve2/futures").all_text();
    assert!(far.contains("fine") && far.contains("pve2 runs Proxmox VE 9.9.1"), "{far}");
    let near = read("/nodes/pve1/futures").all_text();
    assert!(near.contains("there is no `futures` below /nodes/pve1"), "{near}");
}
