//! The operations of the demo, in one table per topic.
//!
//! Paths, parameters, privileges and daemons are those of a real node's API description. The tables are exempt from
//! rustfmt, which would put each word of a list on a line of its own.

mod access;
mod cluster;
mod described;
mod guest;
mod guest_actions;
mod node;
pub(crate) mod route;
mod storage;

use crate::parameters::RequestParams;
use route::Route;

/// Returns every operation.
pub(crate) fn all_routes() -> impl Iterator<Item = &'static Route> {
    [
        access::ROUTES,
        cluster::ROUTES,
        node::ROUTES,
        storage::ROUTES,
        guest::ROUTES,
        guest_actions::ROUTES,
        described::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// Returns the operation of a request, and the parameters in its path.
pub(crate) fn find_route(method: &str, segments: &[String]) -> Option<(&'static Route, RequestParams)> {
    all_routes().filter(|route| route.method == method).find_map(|route| Some((route, route.match_path(segments)?)))
}

#[cfg(test)]
mod tests {
    //! Compares the tables with the description of a real node's API (`src/pve/schema/facts/operations.json` of the program).

    use super::all_routes;
    use super::route::{Access, Route};
    use crate::parameters::{MAX, MIN, Parameter, ParameterType};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn access_agrees(route: &Route, described: &Value) -> bool {
        let check = &described["check"];
        match route.access {
            // Rules that depend on more than a path and a privilege are left to the handlers.
            Access::Anyone => described["user"].is_string() || !check.is_null() && check[0] != "perm",
            Access::RootOnly => !described["user"].is_string() && check.is_null(),
            Access::Described => unreachable!("the description is the table"),
            Access::TicketOnly => described["allowtoken"] == false,
            Access::Privilege(path, privilege) => {
                let same = |rule: &Value| rule[1] == path && rule[2] == json!([privilege]);
                match check[0].as_str() {
                    // Of two rules that must both hold, the handler checks the second.
                    Some("and") => same(&check[1]),
                    _ => same(check),
                }
            }
            Access::AlternativePrivileges(path, privileges) => {
                check[0] == "or" && {
                    let mut rules = check.as_array().into_iter().flatten().skip(1);
                    rules.all(|rule| {
                        (rule[1] == path || rule[1] == "/") && privileges.iter().any(|p| rule[2] == json!([p]))
                    })
                }
            }
            Access::AnyPrivilege("/access/groups", privileges) if check[0] == "userid-group" => {
                check[1] == json!(privileges)
            }
            Access::AnyPrivilege(path, privileges) => {
                check[1] == path && check[2] == json!(privileges) && check[3] == "any"
            }
        }
    }

    fn parameter_differences(path: &str, parameter: &Parameter, described: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |property: &str, ours: Value, theirs: Value| {
            if ours != theirs {
                differences.push(format!("{property} {ours} instead of {theirs}"));
            }
        };
        if !path.contains(&format!("{{{}}}", parameter.name)) {
            compare("required", parameter.required.into(), (described["optional"] != 1).into());
        }
        compare("type", parameter.kind.type_name().into(), described["type"].clone());
        match parameter.kind {
            ParameterType::Integer(min, max) | ParameterType::Number(min, max) => {
                let bound = |n: i64, none: i64| if n == none { Value::Null } else { n.into() };
                let number = |n: &Value| n.as_f64().or_else(|| n.as_str()?.parse().ok());
                let whole = |n: &Value| number(n).map_or(Value::Null, |n| (n as i64).into());
                compare("minimum", bound(min, MIN), whole(&described["minimum"]));
                compare("maximum", bound(max, MAX), whole(&described["maximum"]));
            }
            ParameterType::Text => compare("maxLength", Value::Null, described["maxLength"].clone()),
            ParameterType::MaxText(max) => compare("maxLength", max.into(), described["maxLength"].clone()),
            _ => {}
        }
        // The handler checks the 257 mount points of a container.
        if described["enum"].as_array().is_none_or(|words| words.len() < 200) {
            let ours = if let ParameterType::OneOf(words) = parameter.kind { json!(words) } else { Value::Null };
            compare("enum", ours, described["enum"].clone());
        }
        differences
    }

    fn route_differences(route: &Route, path: &str, described: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        if !access_agrees(route, described) {
            differences.push(format!("access instead of {}", described["check"]));
        }
        if matches!(route.access, Access::TicketOnly) {
            return differences;
        }
        if route.protected != (described["protected"] == true) {
            differences.push("the other daemon".into());
        }
        let theirs = described["params"].as_object().expect("the parameters of an operation");
        let ours: Vec<&Parameter> = route.parameters.iter().copied().flatten().collect();
        for parameter in &ours {
            match theirs.get(parameter.name) {
                Some(described) => differences.extend(
                    parameter_differences(path, parameter, described)
                        .iter()
                        .map(|difference| format!("{}: {difference}", parameter.name)),
                ),
                None => differences.push(format!("unknown parameter {}", parameter.name)),
            }
        }
        for name in theirs.keys().filter(|name| ours.iter().all(|parameter| parameter.name != name.as_str())) {
            // A path of the demo can be one case of a described path: `groups/webserver` of `groups/{group}`.
            let is_word_in_path = path.contains(name.as_str()) && !route.path.contains(&format!("{{{name}}}"));
            if !is_word_in_path {
                differences.push(format!("no parameter {name}"));
            }
        }
        differences
    }

    /// Returns the paths of a route: `/a/c` and `/b/c` of `/a|b/c`.
    fn alternatives(path: &str) -> Vec<String> {
        path.split('/').skip(1).fold(vec![String::new()], |heads, part| {
            heads.iter().flat_map(|head| part.split('|').map(move |word| format!("{head}/{word}"))).collect()
        })
    }

    #[test]
    fn tables_agree_with_the_description_of_a_real_node() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/pve/schema/facts/operations.json");
        let text = std::fs::read_to_string(file).expect("the description of the API");
        let description: Value = serde_json::from_str(&text).expect("a description in JSON");
        let text_of = |operation: &Value, key: &str| operation[key].as_str().expect("a text").to_string();
        let described: BTreeMap<(String, String), &Value> = description["operations"]
            .as_array()
            .expect("a list of operations")
            .iter()
            .map(|operation| ((text_of(operation, "method"), text_of(operation, "path")), operation))
            .collect();
        let mut differences = String::new();
        for route in all_routes().filter(|route| route.path != "/") {
            let is_described = matches!(route.access, Access::Described);
            for path in alternatives(route.path) {
                let found = match described.get(&(route.method.into(), path.clone())) {
                    Some(_) if is_described => continue,
                    Some(described) => route_differences(route, &path, described),
                    None => vec!["no such operation".into()],
                };
                for difference in found {
                    differences += &format!("{} {path}: {difference}\n", route.method);
                }
            }
        }
        assert!(differences.is_empty(), "{differences}");
    }
}
