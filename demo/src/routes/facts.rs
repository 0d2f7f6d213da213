//! The tables against the facts of a real node's API description (`src/pve/schema/facts/operations.json` of the program).

use super::super::check::{Kind, MAX, MIN, Param};
use super::{Access, Route, all};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rules that the tables leave to the handlers, because they depend on more than a path and a privilege.
fn by_handler(fact: &Value) -> bool {
    let check = &fact["check"];
    fact["user"].is_string() || check.is_null() || check[0] != "perm"
}

fn access(route: &Route, fact: &Value) -> bool {
    let check = &fact["check"];
    match route.access {
        Access::All => by_handler(fact),
        Access::Ticket => fact["allowtoken"] == false,
        Access::Need(path, privilege) => {
            let same = |rule: &Value| rule[1] == path && rule[2] == json!([privilege]);
            match check[0].as_str() {
                // Of two rules that must both hold, the first is the table's and the second the handler's.
                Some("and") => same(&check[1]),
                // Rights pass on downwards, so the lower of two paths is the weaker rule.
                Some("or") => same(&check[2]),
                _ => same(check),
            }
        }
        Access::Any(path, privileges) if check[0] == "or" => {
            let rules = check.as_array().into_iter().flatten().skip(1);
            rules.clone().all(|rule| rule[1] == path && privileges.iter().any(|p| rule[2] == json!([p])))
        }
        Access::Any("/access/groups", privileges) if check[0] == "userid-group" => check[1] == json!(privileges),
        Access::Any(path, privileges) => check[1] == path && check[2] == json!(privileges) && check[3] == "any",
    }
}

fn differences(path: &str, param: &Param, fact: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let mut differ = |what: &str, ours: Value, theirs: &Value| {
        if ours != *theirs {
            all.push(format!("{what} {ours} for {theirs}"));
        }
    };
    if !path.contains(&format!("{{{}}}", param.name)) {
        differ("required", param.required.into(), &(fact["optional"] != 1).into());
    }
    differ("type", param.kind.type_name().into(), &fact["type"]);
    let bound = |n: i64, none: i64| if n == none { Value::Null } else { n.into() };
    match param.kind {
        Kind::Int(from, to) | Kind::Num(from, to) => {
            let number = |n: &Value| n.as_f64().or_else(|| n.as_str()?.parse().ok());
            let whole = |n: &Value| number(n).map_or(Value::Null, |n| (n as i64).into());
            differ("minimum", bound(from, MIN), &whole(&fact["minimum"]));
            differ("maximum", bound(to, MAX), &whole(&fact["maximum"]));
        }
        Kind::Text(max) => differ("maxLength", bound(max as i64, 0), &fact["maxLength"]),
        Kind::OneOf(_) | Kind::Bool | Kind::Form(_) | Kind::Vmid | Kind::List => {}
    }
    // The 257 mount points of a container are left to its handler.
    if fact["enum"].as_array().is_none_or(|all| all.len() < 200) {
        let ours = if let Kind::OneOf(all) = param.kind { json!(all) } else { Value::Null };
        differ("enum", ours, &fact["enum"]);
    }
    all
}

#[test]
fn the_tables_agree_with_the_facts_of_a_real_node() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/pve/schema/facts/operations.json");
    let text = std::fs::read_to_string(file).expect("the facts");
    let facts: Value = serde_json::from_str(&text).expect("JSON");
    let key = |method: &str, path: &str| format!("{method} {path}");
    let known: BTreeMap<String, &Value> = facts["operations"]
        .as_array()
        .expect("the operations")
        .iter()
        .map(|fact| (key(fact["method"].as_str().unwrap(), fact["path"].as_str().unwrap()), fact))
        .collect();
    let mut wrong = String::new();
    for route in all() {
        for path in alternatives(route.path) {
            let path = path.replace("groups/webserver", "groups/{group}").replace("ipset/management", "ipset/{name}");
            let name = key(route.method, &path);
            let mut say = |what: &str| wrong.push_str(&format!("{name}: {what}\n"));
            let Some(fact) = known.get(&name) else {
                if path != "/" {
                    say("no such operation");
                }
                continue;
            };
            if !access(&route, fact) {
                say(&format!("access is {}", fact["check"]));
            }
            if matches!(route.access, Access::Ticket) {
                continue;
            }
            if route.daemon != (fact["protected"] == true) {
                say("the wrong daemon");
            }
            let theirs = fact["params"].as_object().expect("parameters");
            let ours: Vec<&Param> = route.params.iter().flat_map(|group| group.iter()).collect();
            for param in &ours {
                match theirs.get(param.name) {
                    None => say(&format!("{} is unknown", param.name)),
                    Some(fact) => {
                        differences(&path, param, fact).iter().for_each(|d| say(&format!("{}: {d}", param.name)));
                    }
                }
            }
            // A path of ours may be one case of theirs: `groups/webserver` for `groups/{group}`.
            let elsewhere =
                |name: &&String| !route.path.contains(&format!("{{{name}}}")) && path.contains(name.as_str());
            let unknown = |name: &&String| !ours.iter().any(|p| p.name == name.as_str());
            for name in theirs.keys().filter(unknown).filter(|name| !elsewhere(name)) {
                say(&format!("{name} is missing"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// `/a|b/c` is `/a/c` and `/b/c`.
fn alternatives(path: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for part in path.split('/').skip(1) {
        all = all.iter().flat_map(|head| part.split('|').map(move |p| format!("{head}/{p}"))).collect();
    }
    all
}
