//! Packs the facts about the Proxmox VE API (`src/pve/schema/facts/`) into the form of a node's API description: a
//! gzip-compressed script whose only value is the list of operations. So one parser reads both.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    for file in ["operations.json", "summaries.tsv", "parameters.tsv"] {
        println!("cargo::rerun-if-changed=src/pve/schema/facts/{file}");
    }
    let read = |file: &str| fs::read_to_string(Path::new("src/pve/schema/facts").join(file)).expect(file);
    let script = pack(&read("operations.json"), &read("summaries.tsv"), &read("parameters.tsv"));
    let script = format!("const apiSchema = {script};\n");
    let out = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join("apidoc.js.gz");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(script.as_bytes()).expect("memory");
    fs::write(out, gzip.finish().expect("memory")).expect("cargo's own directory");
}

/// Builds the list of paths, each with its methods, as in `apidoc.js`. Each method also has `risk`, `summary` and an
/// optional `reason`. Common parameters have a `description`.
fn pack(operations: &str, summaries: &str, parameters: &str) -> Value {
    let explained: BTreeMap<(&str, &str), &str> = parameters
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|columns| ((columns[0], columns[1]), columns[2]))
        .collect();
    let mut said: BTreeMap<(&str, &str), Vec<&str>> = summaries
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|columns| ((columns[1], columns[0]), columns[2..].to_vec()))
        .collect();
    let file: Value = serde_json::from_str(operations).expect("operations.json is JSON");
    let mut paths: Vec<(String, Map<String, Value>)> = Vec::new();
    for operation in file["operations"].as_array().expect("a list") {
        let (path, method) = (operation["path"].as_str().expect("a path"), operation["method"].as_str().expect("one"));
        let words = said.remove(&(path, method)).unwrap_or_else(|| panic!("no summary of {method} {path}"));
        let mut info = json!({
            "name": operation["name"],
            "parameters": {"properties": operation["params"]},
            "returns": {"type": operation["returns"]},
            "risk": words[0],
            "summary": words[1],
        });
        for (name, facts) in info["parameters"]["properties"].as_object_mut().expect("parameters") {
            if let Some(words) = facts["type"].as_str().and_then(|kind| explained.get(&(name.as_str(), kind))) {
                facts["description"] = (*words).into();
            }
        }
        if let Some(reason) = words.get(2) {
            info["reason"] = (*reason).into();
        }
        if operation.get("additional_params").is_some() {
            info["parameters"]["additionalProperties"] = 1.into();
        }
        for key in ["protected", "proxyto", "allowtoken"] {
            if let Some(value) = operation.get(key) {
                info[key] = value.clone();
            }
        }
        for key in ["user", "check"] {
            if let Some(value) = operation.get(key) {
                info["permissions"][key] = value.clone();
            }
        }
        match paths.last_mut() {
            Some((last, methods)) if last == path => drop(methods.insert(method.into(), info)),
            _ => paths.push((path.into(), Map::from_iter([(method.to_owned(), info)]))),
        }
    }
    assert!(said.is_empty(), "summaries of operations that are not there: {:?}", said.keys());
    paths.into_iter().map(|(path, info)| json!({"path": path, "info": info})).collect()
}
