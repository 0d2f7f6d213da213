//! `describe_api` over every operation there is: short enough to be read, and with all that a call needs; and a node
//! that lies about its API.

use crate::support::node::{Node, ScriptedReply};
use crate::support::proxmox::{facts_list as facts, gzipped_facts, proxmox, proxmox_with, script};
use crate::support::test_tools::product;
use crate::support::tool::call;
use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::mcp::McpServer;
use proxmox_mcp::policy::Risk;
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::schema::{Operation, embedded_schema};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The most bytes of a description.
const MOST: usize = 2_048;

/// A slow machine reads even the longest description within this time.
const PATIENCE: Duration = Duration::from_secs(600);

fn over(node: &Node) -> McpServer {
    product(vec![ClusterConfig { timeout: PATIENCE, ..node.cluster_settings() }])
}

/// The text of a description that there is, short enough.
#[track_caller]
fn described(server: &McpServer, arguments: Value) -> String {
    let said = call(server, "describe_api", arguments.clone());
    assert!(!said.failed && said.more.is_empty(), "{arguments}: {said:?}");
    assert!(!said.text.is_empty() && said.text.len() <= MOST, "{arguments}: {} bytes\n{}", said.text.len(), said.text);
    said.text
}

/// Returns whether a text contains this name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-[]".contains(c);
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// Returns a path of it as a caller types it.
fn concrete(template: &str) -> String {
    let value = |segment: &str| match segment {
        "{node}" => "pve1",
        "{vmid}" => "100",
        s if s.starts_with('{') => "x1",
        _ => "",
    };
    let segments = template.split('/').map(|s| if s.starts_with('{') { value(s) } else { s });
    segments.collect::<Vec<_>>().join("/")
}

/// Returns what is missing in the description of an operation.
fn missing(operation: &Operation<'_>, text: &str) -> Vec<String> {
    let heading = format!("{} {} — {}\n", operation.method(), operation.template(), operation.summary());
    let mut needed = vec![heading, format!("risk: {}", operation.risk())];
    if !operation.privileges().is_empty() {
        needed.push(format!("needs {}", operation.privileges()));
    }
    if operation.refuses_tokens() {
        needed.push("refuses API tokens".into());
    }
    let mut missing: Vec<String> = needed.into_iter().filter(|part| !text.contains(part.as_str())).collect();
    let required = operation.parameters().filter(|p| p.is_required() && !operation.is_path_parameter(p.name()));
    missing.extend(required.map(|p| p.name().to_owned()).filter(|name| !names(text, name)));
    missing
}

#[test]
fn every_operation_is_described_in_2_kb_with_what_a_call_needs() {
    let node = proxmox();
    let server = over(&node);
    assert_eq!(embedded_schema().len(), 661);
    for operation in embedded_schema().operations() {
        let (template, method) = (operation.template(), operation.method().as_str());
        let text = described(&server, json!({"path": template, "method": method}));
        assert_eq!(missing(&operation, &text), [""; 0], "{text}");
        assert_eq!(described(&server, json!({"path": concrete(template), "method": method})), text);
        assert_eq!(described(&server, json!({"path": format!("{method} {template}")})), text);
    }
    assert!(node.requests().len() < 5, "they are looked up in what is there: {:?}", node.requests());
}

#[test]
fn every_parameter_of_an_operation_is_named_by_its_description() {
    let node = proxmox();
    let server = over(&node);
    for operation in embedded_schema().operations() {
        let text = described(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        let of_call = operation.parameters().filter(|p| !operation.is_path_parameter(p.name()));
        let unnamed: Vec<_> = of_call.map(|p| p.name()).filter(|name| !names(&text, name)).collect();
        assert_eq!(unnamed, [""; 0], "{text}");
    }
}

#[test]
fn a_path_without_a_method_is_described_with_all_of_them() {
    let node = proxmox();
    let server = over(&node);
    let templates: BTreeSet<&str> = embedded_schema().operations().map(|o| o.template()).collect();
    for template in templates {
        let text = described(&server, json!({"path": template}));
        for operation in embedded_schema().operations().filter(|o| o.template() == template) {
            assert_eq!(missing(&operation, &text), [""; 0], "{text}");
        }
    }
}

#[test]
fn every_parameter_of_the_largest_operations_is_described_alone() {
    let node = proxmox();
    let server = over(&node);
    let mut largest: Vec<_> = embedded_schema().operations().collect();
    largest.sort_by_key(|o| std::cmp::Reverse(o.parameters().count()));
    for operation in &largest[..10] {
        for parameter in operation.parameters() {
            let arguments = json!({"path": operation.template(), "method": operation.method().as_str(), "parameter": parameter.name()});
            let text = described(&server, arguments);
            let start = format!("{} of {} {}: ", parameter.name(), operation.method(), operation.template());
            assert!(text.starts_with(&start), "{text}");
            let keys = parameter.nested_parameters().filter(|key| key.alias().is_empty());
            let unnamed: Vec<_> = keys.map(|key| key.name()).filter(|name| !names(&text, name)).collect();
            assert_eq!(unnamed, [""; 0], "{text}");
        }
    }
    let member = described(&server, json!({"path": "/nodes/pve1/qemu", "method": "post", "parameter": "net3"}));
    assert!(member.starts_with("net[n] of POST /nodes/{node}/qemu: "), "{member}");
}

/// The facts as a cluster of many words has them: a long one at every place that has room for one.
fn wordy() -> Vec<u8> {
    let mut paths = facts();
    let words = |n: usize| "Words about it. ".to_owned() + &"And more of them, with what it is good for. ".repeat(n);
    for path in &mut paths {
        for info in path["info"].as_object_mut().unwrap().values_mut() {
            info["description"] = words(30).into();
            for (_, parameter) in info["parameters"]["properties"].as_object_mut().into_iter().flatten() {
                parameter["description"] = words(40).into();
                for (_, key) in parameter["format"].as_object_mut().into_iter().flatten() {
                    key["description"] = words(20).into();
                }
            }
        }
    }
    script(&paths)
}

#[test]
fn a_cluster_of_many_words_is_described_as_briefly() {
    let node = proxmox_with(ScriptedReply::body(wordy()), |_| None);
    let server = over(&node);
    let mut most = 0;
    for operation in embedded_schema().operations() {
        let text = described(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        assert_eq!(missing(&operation, &text), [""; 0], "{text}");
        assert!(text.contains("Words about it."), "{text}");
        most = most.max(text.len());
    }
    assert!(most > 1_500, "{most}");
    for parameter in embedded_schema().find_by_template(Method::Post, "/nodes/{node}/qemu").unwrap().parameters() {
        described(&server, json!({"path": "/nodes/{node}/qemu", "method": "POST", "parameter": parameter.name()}));
    }
}

#[test]
fn what_cannot_be_described_is_answered_in_short() {
    let node = proxmox();
    let server = over(&node);
    for arguments in [
        json!({"path": "/nodes/pve1/qemu/100/confg"}),
        json!({"path": "/nodes/pve1/qemu/100/config", "method": "DELETE"}),
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "parameter": "memroy"}),
        json!({"path": "/nodes/pve1/qemu", "parameter": "nothing-like-it"}),
        json!({"path": "/../etc/passwd"}),
        json!({"path": "/version", "cluster": "tset"}),
    ] {
        let said = call(&server, "describe_api", arguments.clone());
        assert!(said.failed && said.text.len() <= MOST, "{arguments}: {said:?}");
    }
}

#[test]
fn without_the_clusters_own_description_the_facts_are_described_and_said_to_be_ours() {
    let node = proxmox_with(ScriptedReply::refusal(500, "no such file", ""), |_| None);
    let server = over(&node);
    for operation in embedded_schema().operations() {
        let text = described(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        assert!(
            text.ends_with("(from the facts in this program: the cluster's own API description could not be fetched)")
        );
        assert_eq!(missing(&operation, &text), [""; 0], "{text}");
    }
}

// ---- a cluster that lies about itself

/// Some operations of great risk, and a path of each.
const RISKY: [(&str, &str); 5] = [
    ("POST", "/nodes/{node}/qemu/{vmid}/status/stop"),
    ("DELETE", "/nodes/{node}/qemu/{vmid}"),
    ("POST", "/nodes/{node}/qemu/{vmid}/agent/exec"),
    ("POST", "/nodes/{node}/status"),
    ("GET", "/nodes/{node}/qemu/{vmid}/config"),
];

/// Descriptions that a node may give of `path`: itself with other facts, or another template that matches it.
fn lies(template: &str) -> Vec<Value> {
    let harmless = json!({"name": "index", "description": "Reads a harmless list.", "summary": "List nothing",
        "risk": "R", "reason": "", "permissions": {"user": "all"}, "returns": {"type": "array"},
        "parameters": {"additionalProperties": 1, "properties": {}}});
    let info = json!({"GET": harmless, "POST": harmless, "PUT": harmless, "DELETE": harmless});
    let renamed = template.replace("{vmid}", "{id}").replace("{node}", "{host}");
    let hidden = template.replace("/qemu/", "/{what}/");
    let taken: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
    let swallowed = format!("/{}/{{volume}}", taken[..taken.len() - 1].join("/"));
    let odd = [format!("{template}/"), format!("/{template}"), template.replace("/nodes", "//nodes")];
    let mut paths = vec![template.to_owned(), concrete(template), renamed, hidden, swallowed, "/{volume}".into()];
    paths.extend(odd);
    let one = |path: &String| json!({"path": path, "info": info});
    let mut lies: Vec<Value> = paths.iter().map(|path| json!([one(path)])).collect();
    // All at once, the honest one last.
    lies.push(paths.iter().rev().map(one).collect());
    // The same, beside what the facts have of everything else.
    let mut whole = facts();
    whole.retain(|path| path["path"] != template);
    whole.insert(0, one(&paths[1]));
    lies.push(whole.into());
    lies
}

#[test]
fn a_clusters_own_description_never_lowers_a_risk() {
    for (method, template) in RISKY {
        let known = embedded_schema().find_by_template(Method::from_name(method).unwrap(), template).unwrap().risk();
        for lie in lies(template) {
            let node = proxmox_with(ScriptedReply::body(script(lie.as_array().unwrap())), |_| None);
            let server = over(&node);
            let arguments = json!({"path": concrete(template), "method": method, "dry_run": true});
            let dry = call(&server, "proxmox_api_call", arguments);
            let honest = [format!("\nRisk: {known}"), format!("\nRisk: {}", Risk::UNKNOWN)];
            let shown = lie.as_array().unwrap().iter().take(12).map(|p| &p["path"]).collect::<Vec<_>>();
            if dry.failed {
                // It was not among what the cluster says it has.
                assert!(dry.text.contains("Nothing was sent"), "{dry:?}, {shown:?}");
            } else {
                assert!(honest.iter().any(|risk| dry.text.contains(risk.as_str())), "{dry:?}, {shown:?}");
            }
            let text = call(&server, "describe_api", json!({"path": concrete(template), "method": method}));
            // The description is that of the template it names.
            let of_template = text.text.starts_with(&format!("{method} {template} —"));
            let risk = if of_template { known } else { Risk::UNKNOWN };
            assert!(text.failed || text.text.contains(&format!("risk: {risk}")), "{text:?}, {shown:?}");
            for word in ["List nothing", "risk: reads"] {
                assert!(
                    known.is_read_only() || !text.text.contains(word) && !dry.text.contains(word),
                    "{text:?} {dry:?}"
                );
            }
        }
    }
}

#[test]
fn what_the_facts_know_keeps_its_risk_under_an_honest_description() {
    let node = proxmox_with(gzipped_facts(), |_| None);
    let server = over(&node);
    for (method, template) in RISKY {
        let known = embedded_schema().find_by_template(Method::from_name(method).unwrap(), template).unwrap();
        let data = crate::support::proxmox::required(&known);
        let arguments = json!({"path": concrete(template), "method": method, "data": data, "dry_run": true});
        let dry = call(&server, "proxmox_api_call", arguments);
        assert!(!dry.failed && dry.text.contains(&format!("\nRisk: {}", known.risk())), "{dry:?}");
        assert!(dry.text.contains(&format!("It is: {}\n", known.summary())), "{dry:?}");
    }
}
