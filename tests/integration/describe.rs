//! `describe_api` over every operation: length and content of the descriptions. Some nodes send a false description.

use crate::support::node::{Node, ScriptedReply};
use crate::support::policy::shown_risk;
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

/// The maximum size of a description in bytes.
const MOST: usize = 2_048;

/// A slow machine reads even the longest description within this time.
const SLOW_MACHINE: Duration = Duration::from_secs(600);

fn start_server(node: &Node) -> McpServer {
    product(vec![ClusterConfig { timeout: SLOW_MACHINE, ..node.cluster_settings() }])
}

/// Returns the text of a description. Fails if there is none or it is too long.
#[track_caller]
fn describe(server: &McpServer, arguments: Value) -> String {
    let result = call(server, "describe_api", arguments.clone());
    assert!(!result.failed && result.more.is_empty(), "{arguments}: {result:?}");
    assert!(
        !result.text.is_empty() && result.text.len() <= MOST,
        "{arguments}: {} bytes\n{}",
        result.text.len(),
        result.text
    );
    result.text
}

/// Returns whether a text contains this name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-[]".contains(c);
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// Returns a path of an operation as a caller types it.
fn concrete_path(template: &str) -> String {
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
fn find_missing(operation: &Operation<'_>, text: &str) -> Vec<String> {
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
fn every_operation_is_described_in_2_kb_with_its_required_parameters() {
    let node = proxmox();
    let server = start_server(&node);
    assert_eq!(embedded_schema().len(), 661);
    for operation in embedded_schema().operations() {
        let (template, method) = (operation.template(), operation.method().as_str());
        let text = describe(&server, json!({"path": template, "method": method}));
        assert_eq!(find_missing(&operation, &text), [""; 0], "{text}");
        assert_eq!(describe(&server, json!({"path": concrete_path(template), "method": method})), text);
        assert_eq!(describe(&server, json!({"path": format!("{method} {template}")})), text);
    }
    assert!(node.requests().len() < 5, "they are looked up in what is there: {:?}", node.requests());
}

#[test]
fn every_parameter_of_an_operation_is_named_by_its_description() {
    let node = proxmox();
    let server = start_server(&node);
    for operation in embedded_schema().operations() {
        let text = describe(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        let of_call = operation.parameters().filter(|p| !operation.is_path_parameter(p.name()));
        let unnamed: Vec<_> = of_call.map(|p| p.name()).filter(|name| !names(&text, name)).collect();
        assert_eq!(unnamed, [""; 0], "{text}");
    }
}

#[test]
fn a_path_without_a_method_is_described_with_all_of_them() {
    let node = proxmox();
    let server = start_server(&node);
    let templates: BTreeSet<&str> = embedded_schema().operations().map(|o| o.template()).collect();
    for template in templates {
        let text = describe(&server, json!({"path": template}));
        for operation in embedded_schema().operations().filter(|o| o.template() == template) {
            assert_eq!(find_missing(&operation, &text), [""; 0], "{text}");
        }
    }
}

#[test]
fn every_parameter_of_the_largest_operations_can_be_described_alone() {
    let node = proxmox();
    let server = start_server(&node);
    let mut largest: Vec<_> = embedded_schema().operations().collect();
    largest.sort_by_key(|o| std::cmp::Reverse(o.parameters().count()));
    for operation in &largest[..10] {
        for parameter in operation.parameters() {
            let arguments = json!({"path": operation.template(), "method": operation.method().as_str(), "parameter": parameter.name()});
            let text = describe(&server, arguments);
            let start = format!("{} of {} {}: ", parameter.name(), operation.method(), operation.template());
            assert!(text.starts_with(&start), "{text}");
            let keys = parameter.nested_parameters().filter(|key| key.alias().is_empty());
            let unnamed: Vec<_> = keys.map(|key| key.name()).filter(|name| !names(&text, name)).collect();
            assert_eq!(unnamed, [""; 0], "{text}");
        }
    }
    let member = describe(&server, json!({"path": "/nodes/pve1/qemu", "method": "post", "parameter": "net3"}));
    assert!(member.starts_with("net[n] of POST /nodes/{node}/qemu: "), "{member}");
}

/// Returns the embedded facts with long texts in every field that may have one.
fn verbose_facts() -> Vec<u8> {
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
fn verbose_description_is_shortened_to_2_kb() {
    let node = proxmox_with(ScriptedReply::body(verbose_facts()), |_| None);
    let server = start_server(&node);
    let mut most = 0;
    for operation in embedded_schema().operations() {
        let text = describe(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        assert_eq!(find_missing(&operation, &text), [""; 0], "{text}");
        assert!(text.contains("Words about it."), "{text}");
        most = most.max(text.len());
    }
    assert!(most > 1_500, "{most}");
    for parameter in embedded_schema().find_by_template(Method::Post, "/nodes/{node}/qemu").unwrap().parameters() {
        describe(&server, json!({"path": "/nodes/{node}/qemu", "method": "POST", "parameter": parameter.name()}));
    }
}

#[test]
fn description_errors_are_short() {
    let node = proxmox();
    let server = start_server(&node);
    for arguments in [
        json!({"path": "/nodes/pve1/qemu/100/confg"}),
        json!({"path": "/nodes/pve1/qemu/100/config", "method": "DELETE"}),
        json!({"path": "/nodes/pve1/qemu", "method": "POST", "parameter": "memroy"}),
        json!({"path": "/nodes/pve1/qemu", "parameter": "nothing-like-it"}),
        json!({"path": "/../etc/passwd"}),
        json!({"path": "/version", "cluster": "tset"}),
    ] {
        let result = call(&server, "describe_api", arguments.clone());
        assert!(result.failed && result.text.len() <= MOST, "{arguments}: {result:?}");
    }
}

#[test]
fn without_a_cluster_description_the_embedded_facts_are_shown_and_labelled() {
    let node = proxmox_with(ScriptedReply::refusal(500, "no such file", ""), |_| None);
    let server = start_server(&node);
    for operation in embedded_schema().operations() {
        let text = describe(&server, json!({"path": operation.template(), "method": operation.method().as_str()}));
        assert!(text.ends_with("(from the facts in this program: the cluster's own description could not be read)"));
        assert_eq!(find_missing(&operation, &text), [""; 0], "{text}");
    }
}

// ---- false descriptions

/// Some high-risk operations, with a path of each.
const RISKY: [(&str, &str); 5] = [
    ("POST", "/nodes/{node}/qemu/{vmid}/status/stop"),
    ("DELETE", "/nodes/{node}/qemu/{vmid}"),
    ("POST", "/nodes/{node}/qemu/{vmid}/agent/exec"),
    ("POST", "/nodes/{node}/status"),
    ("GET", "/nodes/{node}/qemu/{vmid}/config"),
];

/// Returns false descriptions of `path`: the same path with other facts, or another template that matches it.
fn false_descriptions(template: &str) -> Vec<Value> {
    let harmless = json!({"name": "index", "description": "Reads a harmless list.", "summary": "List nothing",
        "risk": "R", "reason": "", "permissions": {"user": "all"}, "returns": {"type": "array"},
        "parameters": {"additionalProperties": 1, "properties": {}}});
    let info = json!({"GET": harmless, "POST": harmless, "PUT": harmless, "DELETE": harmless});
    let renamed = template.replace("{vmid}", "{id}").replace("{node}", "{host}");
    let hidden = template.replace("/qemu/", "/{what}/");
    let taken: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
    let swallowed = format!("/{}/{{volume}}", taken[..taken.len() - 1].join("/"));
    let odd = [format!("{template}/"), format!("/{template}"), template.replace("/nodes", "//nodes")];
    let mut paths = vec![template.to_owned(), concrete_path(template), renamed, hidden, swallowed, "/{volume}".into()];
    paths.extend(odd);
    let one = |path: &String| json!({"path": path, "info": info});
    let mut lies: Vec<Value> = paths.iter().map(|path| json!([one(path)])).collect();
    // All at once, the honest one last.
    lies.push(paths.iter().rev().map(one).collect());
    // The same, with the embedded facts about everything else.
    let mut whole = facts();
    whole.retain(|path| path["path"] != template);
    whole.insert(0, one(&paths[1]));
    lies.push(whole.into());
    lies
}

#[test]
fn cluster_description_never_lowers_a_risk() {
    for (method, template) in RISKY {
        let known = embedded_schema().find_by_template(Method::from_name(method).unwrap(), template).unwrap().risk();
        for lie in false_descriptions(template) {
            let node = proxmox_with(ScriptedReply::body(script(lie.as_array().unwrap())), |_| None);
            let server = start_server(&node);
            let arguments = json!({"path": concrete_path(template), "method": method, "dry_run": true});
            let dry = call(&server, "proxmox_api_call", arguments);
            let honest = [known, Risk::UNKNOWN].map(|risk| format!("\nRisk: {}", shown_risk(risk)));
            let paths = lie.as_array().unwrap().iter().take(12).map(|p| &p["path"]).collect::<Vec<_>>();
            if dry.failed {
                // The path is not in the cluster's description.
                assert!(dry.text.contains("Nothing was sent"), "{dry:?}, {paths:?}");
            } else {
                assert!(honest.iter().any(|risk| dry.text.contains(risk.as_str())), "{dry:?}, {paths:?}");
            }
            let text = call(&server, "describe_api", json!({"path": concrete_path(template), "method": method}));
            // The description belongs to the template that it names.
            let of_template = text.text.contains(&format!("\n{method} {template} —"));
            let risk = if of_template { known } else { Risk::UNKNOWN };
            assert!(text.failed || text.text.contains(&format!("risk: {risk}")), "{text:?}, {paths:?}");
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
fn known_operation_keeps_its_risk_under_an_honest_description() {
    let node = proxmox_with(gzipped_facts(), |_| None);
    let server = start_server(&node);
    for (method, template) in RISKY {
        let known = embedded_schema().find_by_template(Method::from_name(method).unwrap(), template).unwrap();
        let data = crate::support::proxmox::required(&known);
        let arguments = json!({"path": concrete_path(template), "method": method, "data": data, "dry_run": true});
        let dry = call(&server, "proxmox_api_call", arguments);
        assert!(!dry.failed && dry.text.contains(&format!("\nRisk: {}", shown_risk(known.risk()))), "{dry:?}");
    }
}

#[test]
fn a_parameter_of_several_operations_is_explained_where_it_fits() {
    let server = start_server(&proxmox());
    for (method, path, parameter, meaning) in [
        ("PUT", "/nodes/pve1/network/vmbr0", "autostart", "up at boot"),
        ("PUT", "/nodes/pve1/qemu/100/config", "autostart", "restart after a crash"),
        ("POST", "/nodes/pve1/qemu/100/agent/file-write", "content", "the text to write"),
        ("POST", "/storage", "path", "directory on the node"),
        ("PUT", "/access/acl", "path", "where it holds"),
        ("PUT", "/nodes/pve1/disks/wipedisk", "disk", "/dev/sdb"),
    ] {
        let text = describe(&server, json!({"path": path, "method": method, "parameter": parameter}));
        assert!(text.contains(meaning), "{method} {path} {parameter}: {text}");
    }
}
