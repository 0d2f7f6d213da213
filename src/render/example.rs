//! Examples of calls: the smallest useful one of each operation.

use crate::pve::Method;
use crate::pve::knowledge::examples::{find_call, find_value, need};
use crate::pve::schema::{Operation, ParameterSpec};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Returns a call of the operation on one line, as a client writes it.
pub fn render_example(operation: &Operation<'_>) -> String {
    let method = operation.method();
    let (tool, data) = match method {
        Method::Get => ("proxmox_api_get", "params"),
        _ => ("proxmox_api_call", "data"),
    };
    let mut text = format!("example: {tool}(path: \"{}\"", shorten_path(&build_path(operation)));
    if method != Method::Get {
        let _ = write!(text, ", method: \"{method}\"");
    }
    let example = build_data(operation);
    if !example.is_empty() {
        let mut example: Vec<_> = example.into_iter().collect();
        example.sort_by_key(|(name, _)| need(name).unwrap_or(usize::MAX));
        let members: Vec<String> =
            example.iter().map(|(name, value)| format!("{}: {value}", Value::from(&**name))).collect();
        let _ = write!(text, ", {data}: {{{}}}", members.join(", "));
    }
    if operation.starts_task() {
        text.push_str(", wait: true");
    }
    text.push_str(")\n");
    text
}

/// Returns the path of an example.
fn build_path(operation: &Operation<'_>) -> String {
    let template = operation.template();
    let vmid = if template.starts_with("/nodes/{node}/lxc") { "200" } else { "100" };
    let segments =
        template.split('/').map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some("vmid") => vmid,
            Some(name) => find_value(name).unwrap_or("example"),
            None => segment,
        });
    segments.collect::<Vec<_>>().join("/")
}

/// Leaves out the node of a guest, which the server finds.
fn shorten_path(path: &str) -> &str {
    let of_guest = path.strip_prefix("/nodes/pve1").filter(|rest| {
        let mut segments = rest.split('/').skip(1);
        matches!(segments.next(), Some("qemu" | "lxc")) && segments.next().is_some()
    });
    of_guest.unwrap_or(path)
}

/// Returns the data of an example: that of a known call, else a value of each required parameter.
fn build_data(operation: &Operation<'_>) -> Map<String, Value> {
    let known = find_call(&format!("{} {}", operation.method(), operation.template()));
    let mut data: Map<String, Value> =
        known.map(|call| serde_json::from_str(call).expect("a known call is an object")).unwrap_or_default();
    // The API of another version may not have all of them.
    data.retain(|name, _| operation.parameter(name).is_some());
    // The first round chooses the type, and the second one gives what it requires.
    for _ in 0..2 {
        let chosen = operation.find_instance_type(&data);
        let required = operation.parameters().filter(|p| p.is_required_with(chosen) && p.family().is_none());
        for parameter in required.filter(|p| !operation.is_path_parameter(p.name())) {
            if !data.contains_key(parameter.name()) {
                data.insert(parameter.name().to_owned(), build_value(&parameter));
            }
        }
    }
    data
}

fn build_value(parameter: &ParameterSpec<'_>) -> Value {
    if let Some(word) = parameter.allowed_values().next() {
        return word.into();
    }
    let value = find_value(parameter.name());
    let number = || value.unwrap_or_default().parse().ok().or_else(|| parameter.minimum().parse::<u64>().ok());
    match parameter.kind() {
        "boolean" => true.into(),
        "integer" | "number" => number().unwrap_or(1).into(),
        "array" => value.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_else(|| vec!["example"].into()),
        _ => value.unwrap_or("example").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;
    use crate::pve::schema::parameter_check::check_parameters;

    #[test]
    fn every_example_passes_the_check_of_parameters() {
        let schema = embedded_schema();
        let mut wrong = Vec::new();
        for operation in schema.operations() {
            let path = build_path(&operation);
            let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            let found = schema.match_path(&segments);
            let same = found.as_ref().ok().and_then(|found| found.operation(operation.method()));
            assert_eq!(same.map(|same| same.template()), Some(operation.template()), "{path}");
            let data = build_data(&operation);
            if let Err(errors) = check_parameters(&operation, &found.expect("a path"), &data) {
                wrong.push(format!("{} {}: {errors}", operation.method(), operation.template()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_known_call_is_of_an_operation_that_has_its_parameters() {
        for operation in embedded_schema().operations() {
            let key = format!("{} {}", operation.method(), operation.template());
            let Some(call) = find_call(&key) else { continue };
            let data: Map<String, Value> = serde_json::from_str(call).expect("an object");
            for name in data.keys() {
                assert!(operation.parameter(name).is_some(), "{key}: {name}");
            }
        }
    }
}
