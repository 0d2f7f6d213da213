//! Packs the facts about the Proxmox VE API (`src/pve/schema/facts/`) into the form in which a node serves its own API
//! description: a gzip-compressed script whose only value is the list of paths. So one reader serves both.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::{env, fs};

const FACTS: &str = "src/pve/schema/facts";
const RISKS: &str = "src/policy/operation_risks.tsv";

fn main() {
    // The relocations of a static binary are read at start and so stay in memory. In this form they have a fiftieth of
    // the size.
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    for file in ["operations.json", "summaries.tsv", "parameters.tsv"] {
        println!("cargo::rerun-if-changed={FACTS}/{file}");
    }
    println!("cargo::rerun-if-changed={RISKS}");
    let read = |file: &str| fs::read_to_string(Path::new(FACTS).join(file)).expect(file);
    let risks = fs::read_to_string(RISKS).expect(RISKS);
    let operations = read("operations.json");
    let paths = pack(&operations, &read("summaries.tsv"), &read("parameters.tsv"), &risks);
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let write = |file: &str, content: &[u8]| {
        fs::write(Path::new(&out_dir).join(file), content).expect("OUT_DIR is writable");
    };
    write("flag_parameters.txt", find_flag_parameters(&operations).join("\n").as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    writeln!(gzip, "const apiSchema = {paths};").expect("a Vec accepts every write");
    write("apidoc.js.gz", &gzip.finish().expect("a Vec accepts every write"));
}

/// Returns the names of the parameters that are truth values in every change that has them.
fn find_flag_parameters(operations: &str) -> Vec<String> {
    /// Collects the types of the parameters of a form, and of the keys within their formats.
    fn collect(form: &Value, types: &mut BTreeMap<String, BTreeSet<String>>) {
        for (name, property) in form.as_object().into_iter().flatten() {
            if let Some(kind) = property["type"].as_str() {
                types.entry(name.clone()).or_default().insert(kind.to_owned());
            }
            collect(&property["format"], types);
        }
    }
    fn collect_forms(form: &Value, types: &mut BTreeMap<String, BTreeSet<String>>) {
        collect(&form["properties"], types);
        for further in ["allOf", "oneOf"].iter().filter_map(|key| form[*key].as_array()).flatten() {
            collect_forms(further, types);
        }
    }
    let file: Value = serde_json::from_str(operations).expect("operations.json is JSON");
    let mut types = BTreeMap::new();
    for operation in file["operations"].as_array().expect("operations is a list") {
        if operation["method"] == "PUT" || operation["method"] == "POST" {
            collect(&operation["params"], &mut types);
            collect_forms(&operation["typed_params"], &mut types);
        }
    }
    types.into_iter().filter(|(_, kinds)| kinds.iter().eq(["boolean"])).map(|(name, _)| name).collect()
}

/// The lines of `summaries.tsv` and `operation_risks.tsv` about one operation, without method and path.
struct Summary<'a> {
    rank: &'a str,
    text: &'a str,
    risk: &'a str,
    reason: &'a str,
}

/// The risks that the program knows (`Risk::from_code`).
const RISK_CODES: [&str; 14] = ["R", "S", "O", "O!", "O~", "O>", "F", "F!", "F~", "F>", "F!>", "X", "X!", "X>"];

/// Returns the list of paths, each with its methods, as in `apidoc.js`. In addition each method has `risk`, `rank`,
/// `summary` and, unless it is a plain read, `reason`. Common parameters have a `description`.
fn pack(operations: &str, summaries: &str, parameters: &str, risks: &str) -> Value {
    // By name and type, each with the part of a path to which it belongs.
    let mut descriptions: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
    for line in parameters.lines() {
        let (name, kind, text, place) = match line.split('\t').collect::<Vec<_>>()[..] {
            [name, kind, text] => (name, kind, text, ""),
            [name, kind, text, place] => (name, kind, text, place),
            _ => panic!("parameters.tsv: {line}"),
        };
        descriptions.entry((name, kind)).or_default().push((place, text));
    }
    let mut risk_by_operation: BTreeMap<(&str, &str), (&str, &str)> = BTreeMap::new();
    for line in risks.lines() {
        let [method, path, risk, reason] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{RISKS}: {line}") };
        assert!(RISK_CODES.contains(&risk) && !reason.is_empty(), "{RISKS}: {line}");
        risk_by_operation.insert((path, method), (risk, reason));
    }
    let mut summary_by_operation: BTreeMap<(&str, &str), Summary> = BTreeMap::new();
    for line in summaries.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [method, path, rank @ ("low" | "-"), text] = columns[..] else { panic!("summaries.tsv: {line}") };
        let (risk, reason) = risk_by_operation
            .remove(&(path, method))
            .unwrap_or_else(|| panic!("{RISKS} has no line for {method} {path}"));
        summary_by_operation.insert((path, method), Summary { rank, text, risk, reason });
    }
    let file: Value = serde_json::from_str(operations).expect("operations.json is JSON");
    let mut paths: Vec<(String, Map<String, Value>)> = Vec::new();
    for operation in file["operations"].as_array().expect("operations is a list") {
        let text = |key: &str| operation[key].as_str().unwrap_or_else(|| panic!("{key} of {operation} is a text"));
        let (path, method) = (text("path"), text("method"));
        let summary = summary_by_operation
            .remove(&(path, method))
            .unwrap_or_else(|| panic!("summaries.tsv has no line for {method} {path}"));
        let mut info = json!({
            "name": operation["name"],
            "parameters": {"properties": operation["params"]},
            "returns": {"type": operation["returns"]},
            "risk": summary.risk,
            "rank": summary.rank,
            "summary": summary.text,
        });
        // Parameters that depend on a type, by `allOf` and `oneOf`.
        if let Some(typed) = operation.get("typed_params") {
            info["parameters"] = typed.clone();
        }
        for (name, property) in info["parameters"]["properties"].as_object_mut().into_iter().flatten() {
            let known = property["type"].as_str().and_then(|kind| descriptions.get(&(name.as_str(), kind)));
            if let Some((_, text)) = known.into_iter().flatten().find(|(place, _)| path.contains(place)) {
                property["description"] = (*text).into();
            }
        }
        if summary.risk != "R" {
            info["reason"] = summary.reason.into();
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
    assert!(risk_by_operation.is_empty(), "{RISKS} has lines without a summary: {:?}", risk_by_operation.keys());
    assert!(
        summary_by_operation.is_empty(),
        "summaries.tsv has lines for unknown operations: {:?}",
        summary_by_operation.keys()
    );
    paths.into_iter().map(|(path, info)| json!({"path": path, "info": info})).collect()
}
