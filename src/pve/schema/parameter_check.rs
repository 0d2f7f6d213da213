//! Parameters held against an operation before they are sent: known, complete, of the right type and range, and in the
//! form Proxmox wants them (booleans as 1 and 0, `*-list` values with commas, objects as property strings).
//!
//! What the schema can't know (whether a storage exists, what a Perl pattern means) is sent, and Proxmox judges.

use super::{Operation, ParameterSpec, PathMatch};
use crate::base::suggest::suggest;
use crate::pve::params::{ApiParams, percent_encode_into};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Of what is wrong, so much is said: each costs a look at all names, and tokens.
const MAX_PROBLEMS: usize = 10;

/// What to send for `data` (by name) beside the path. The error has a sentence for each thing that is wrong.
pub fn check_parameters(
    operation: &Operation<'_>,
    found: &PathMatch<'_>,
    data: &Map<String, Value>,
) -> Result<ApiParams, Vec<String>> {
    let mut params = ApiParams::new();
    let mut wrong = Vec::new();
    for (name, value) in &found.values {
        if let Some(parameter) = operation.parameter(name)
            && let Err(why) = convert_values(&parameter, &Value::from(value.as_str()))
        {
            wrong.push(format!("`{name}` in the path {why}"));
        }
    }
    // Storage plugins of others bring types and parameters that no description has.
    let open =
        operation.allows_extra_parameters() || !operation.is_live() || operation.template().starts_with("/storage");
    for (name, value) in data {
        if wrong.len() >= MAX_PROBLEMS {
            wrong.push("and maybe more".into());
            return Err(wrong);
        }
        if operation.is_path_parameter(name) {
            if found.value(name) != Some(format_scalar(value).as_str()) {
                wrong.push(format!(
                    "`{name}` stands in the path already, as `{}`",
                    found.value(name).unwrap_or_default()
                ));
            }
            continue;
        }
        let sent = match operation.parameter(name) {
            Some(parameter) if name == "type" && open && !value.is_object() && !value.is_array() => {
                convert_values(&parameter, value).or_else(|_| Ok(vec![format_scalar(value)]))
            }
            Some(parameter) => convert_values(&parameter, value).inspect(|_| {
                let other = parameter.requires();
                if !other.is_empty() && !data.contains_key(other) {
                    wrong.push(format!("`{name}` needs `{other}` beside it"));
                }
            }),
            // The embedded facts may be older than the cluster: it knows its parameters.
            None if open => {
                let mut alone = Map::new();
                alone.insert(name.clone(), value.clone());
                ApiParams::from_json(&alone)
                    .map(|params| params.iter().map(|(_, value)| value.to_owned()).collect())
                    .map_err(|problems| problems.join("; ").replace(&format!("`{name}` "), ""))
            }
            None => {
                wrong.push(describe_unknown(operation, name));
                continue;
            }
        };
        match sent {
            Ok(values) => values.iter().for_each(|value| params.push(name, value)),
            Err(why) => wrong.push(format!("`{name}` {why}")),
        }
    }
    for missing in operation.parameters().filter(|p| p.is_required() && p.family().is_none()) {
        let name = missing.name();
        if !data.contains_key(name) && !operation.is_path_parameter(name) {
            wrong.push(format!("`{name}` is missing: it must be given ({})", describe_parameter(&missing)));
        }
    }
    if wrong.is_empty() { Ok(params) } else { Err(wrong) }
}

fn describe_unknown(operation: &Operation<'_>, name: &str) -> String {
    let names = || operation.parameters().map(|p| p.name()).filter(|n| !operation.is_path_parameter(n));
    // A number at the end says nothing of what was meant.
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let meant = suggest(name, names()).or_else(|| suggest(stem, names().map(|n| n.trim_end_matches("[n]"))));
    let shown: String = name.chars().take(64).collect();
    let mut text = format!("`{shown}` is no parameter of {} {}", operation.method(), operation.template());
    // Writing into a String can't fail.
    let _ = match (meant, names().count()) {
        (Some(meant), _) => write!(text, ": did you mean `{meant}`?"),
        (None, 0) => write!(text, ", which takes none"),
        (None, 1..=25) => write!(text, ", which takes {}", names().collect::<Vec<_>>().join(", ")),
        (None, _) => write!(text, "; describe_api lists them"),
    };
    text
}

/// The texts to send for one value: several where Proxmox takes an array. The error is a clause: `must be …`.
fn convert_values(parameter: &ParameterSpec<'_>, value: &Value) -> Result<Vec<String>, String> {
    if value.is_null() {
        return Err("is null: leave it out; to unset an option pass its name in `delete`".into());
    }
    if value.as_array().is_some_and(Vec::is_empty) {
        return Err("is an empty list, which can't be sent: leave it out".into());
    }
    let split;
    let items = match (parameter.kind(), value) {
        ("array", Value::Array(items)) => items.as_slice(),
        // Numbers of guests, as other parameters take them: no number has a comma.
        ("array", Value::String(text)) if parameter.format() == "pve-vmid" => {
            split = text.split([',', ';', ' ']).filter(|t| !t.is_empty()).map(Value::from).collect::<Vec<_>>();
            split.as_slice()
        }
        _ => std::slice::from_ref(value),
    };
    items.iter().map(|item| convert_value(parameter, item)).collect()
}

fn convert_value(parameter: &ParameterSpec<'_>, value: &Value) -> Result<String, String> {
    let refused = || format!("must be {}, not {}", describe_parameter(parameter), describe_value(value));
    let text = match (parameter.kind(), value) {
        (_, Value::Null) => return Err(refused()),
        ("boolean", _) => return parse_boolean(value).map(str::to_owned).ok_or_else(refused),
        ("integer" | "number", _) => convert_number(parameter, value).ok_or_else(refused)?,
        // A text without keys of its own is none, whatever an object could be made into.
        ("" | "string", Value::Object(_)) if !has_keys(parameter) => return Err(refused()),
        (_, Value::Object(keys)) => build_property_string(parameter, keys)?,
        ("array", Value::Array(_)) => return Err(refused()),
        (_, Value::Array(items)) => join_list(parameter, items).ok_or_else(refused)?,
        (_, plain) => self::format_scalar(plain),
    };
    let text = match_allowed_value(parameter, text).map_err(|()| refused())?;
    let long = text.chars().count() as f64;
    let bound = |bound: &str| bound.parse::<f64>().ok();
    if bound(parameter.max_length()).is_some_and(|most| long > most) && parameter.kind() == "string" {
        return Err(format!("is longer than {} characters", parameter.max_length()));
    }
    if bound(parameter.min_length()).is_some_and(|least| long < least) && parameter.kind() == "string" {
        return Err(format!("is shorter than {} characters", parameter.min_length()));
    }
    Ok(if parameter.format() == "urlencoded" { encode_once(text) } else { text })
}

/// Whether the values are `key=value,…`: by their keys, or by the name of a format that has some.
fn has_keys(parameter: &ParameterSpec<'_>) -> bool {
    let named = ["pve-vm-cpu-conf", "pve-startup-order", "prune-backups", "backup-fleecing", "backup-performance"];
    let format = parameter.format();
    parameter.nested_parameters().next().is_some()
        || format.starts_with("pve-qm-")
        || format.starts_with("pve-qemu-")
        || named.contains(&format)
}

/// One of the words the parameter takes, in its own spelling, if it takes only such.
fn match_allowed_value(parameter: &ParameterSpec<'_>, text: String) -> Result<String, ()> {
    if parameter.allowed_values().next().is_none() {
        return Ok(text);
    }
    let exact = parameter.allowed_values().find(|word| *word == text);
    let known = exact.or_else(|| parameter.allowed_values().find(|word| word.eq_ignore_ascii_case(&text)));
    known.map(str::to_owned).ok_or(())
}

fn parse_boolean(value: &Value) -> Option<&'static str> {
    let text = format_scalar(value).to_ascii_lowercase();
    match text.as_str() {
        "1" | "true" | "yes" | "on" => Some("1"),
        "0" | "false" | "no" | "off" => Some("0"),
        _ => None,
    }
}

fn convert_number(parameter: &ParameterSpec<'_>, value: &Value) -> Option<String> {
    // A form can't tell `true` from 1, yet whoever says so means no number.
    let text = Some(value).filter(|value| !value.is_boolean()).map(format_scalar)?;
    let text = text.trim();
    let n: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
    let bound = |bound: &str| bound.parse::<f64>().ok();
    let whole = parameter.kind() != "integer" || n.fract() == 0.0;
    let inside = bound(parameter.minimum()).is_none_or(|least| n >= least)
        && bound(parameter.maximum()).is_none_or(|most| n <= most);
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    (whole && inside).then(|| if plain || parameter.kind() == "number" { text.to_owned() } else { format!("{n:.0}") })
}

/// A list as one text: with commas where the format is a list.
fn join_list(parameter: &ParameterSpec<'_>, items: &[Value]) -> Option<String> {
    let simple = items.iter().all(|item| !item.is_array() && !item.is_object() && !item.is_null());
    let texts: Vec<String> = items.iter().map(format_scalar).collect();
    match parameter.format() {
        _ if !simple || texts.is_empty() => None,
        format if format.ends_with("-list") && !texts.iter().any(|t| t.contains(',')) => Some(texts.join(",")),
        // Public keys: one a line.
        "urlencoded" => Some(texts.join("\n")),
        _ => None,
    }
}

/// `key=value,…` of an object, for a parameter whose values are written like that.
fn build_property_string(parameter: &ParameterSpec<'_>, keys: &Map<String, Value>) -> Result<String, String> {
    let mut out = String::new();
    for (key, value) in keys {
        let known = parameter
            .nested_parameters()
            .find(|n| n.name() == key || n.family().is_some_and(|f| is_family_member(key, f)));
        if known.is_none() && parameter.nested_parameters().next().is_some() {
            let names: Vec<&str> = parameter.nested_parameters().map(|n| n.name()).collect();
            let meant = suggest(key, names.iter().copied()).map(|m| format!(": did you mean `{m}`?"));
            let key: String = key.chars().take(64).collect();
            return Err(format!("has no key `{key}`{}", meant.unwrap_or(format!(", only {}", names.join(", ")))));
        }
        let value = match (value, &known) {
            (Value::Array(items), _) => items.iter().map(format_scalar).collect::<Vec<_>>().join(";"),
            (value, Some(known)) => convert_value(known, value).map_err(|why| format!("`{key}` {why}"))?,
            (value, None) => format_scalar(value),
        };
        if value.contains(',') || key.contains([',', '=']) {
            return Err(format!("can't hold `{key}` in an object: write the property string yourself"));
        }
        let _ = write!(out, "{}{key}={value}", if out.is_empty() { "" } else { "," });
    }
    Ok(out)
}

fn is_family_member(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Percent-encoded once, because that is the parameter's own format (PVE: `sshkeys`); what is so already stays.
fn encode_once(text: String) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    if text.contains('%') && text.bytes().all(safe) {
        return text;
    }
    let mut out = String::with_capacity(text.len() * 2);
    percent_encode_into(&mut out, &text, b"");
    out
}

/// A scalar as Proxmox takes it in a form.
fn format_scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "1".into(),
        Value::Bool(false) => "0".into(),
        // A whole number that was written 4096.0.
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 1e15) => {
            format!("{:.0}", n.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// A value, to be shown; never a text, which may be a password in the wrong place.
fn describe_value(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null => "null".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.is_empty() => "an empty text".into(),
        Value::String(_) => "this text".into(),
    }
}

/// What a parameter takes, in a few words: `an integer from 100 to 999999999`, `one of raw, qcow2`.
pub fn describe_parameter(parameter: &ParameterSpec<'_>) -> String {
    let words: Vec<&str> = parameter.allowed_values().collect();
    if !words.is_empty() {
        return format!("one of {}", super::fold_families(&words).join(", "));
    }
    let mut text = String::from(match parameter.kind() {
        "boolean" => "true or false",
        "integer" => "an integer",
        "number" => "a number",
        "array" => "a list",
        _ if parameter.format().ends_with("-list") => "a list",
        _ if parameter.nested_parameters().next().is_some() => "a property string such as key=value,key=value",
        _ => "a text",
    });
    let format = parameter.format();
    if !format.is_empty() {
        let _ = write!(text, " ({format})");
    }
    let _ = match (parameter.minimum(), parameter.maximum()) {
        ("", "") => Ok(()),
        (least, "") => write!(text, " of at least {least}"),
        ("", most) => write!(text, " of at most {most}"),
        (least, most) => write!(text, " from {least} to {most}"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Schema, read_description};
    use super::*;
    use crate::pve::Method;
    use serde_json::json;
    use std::sync::LazyLock;

    fn check_json(method: Method, path: &str, data: Value) -> Result<String, String> {
        static LIVE: LazyLock<Schema> = LazyLock::new(|| {
            read_description(flate2::read::GzDecoder::new(crate::pve::schema::facts::APIDOC)).unwrap()
        });
        let found = LIVE.match_path(&path.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>()).ok().unwrap();
        let operation = found.operation(method).unwrap();
        check_parameters(&operation, &found, data.as_object().unwrap()).map(|p| p.encode()).map_err(|w| w.join("; "))
    }

    fn check_config(data: Value) -> Result<String, String> {
        check_json(Method::Put, "/nodes/pve1/qemu/100/config", data)
    }

    #[test]
    fn values_become_what_proxmox_wants() {
        for (data, sent) in [
            (json!({"onboot": true}), "onboot=1"),
            (json!({"onboot": "no"}), "onboot=0"),
            (json!({"cores": "4"}), "cores=4"),
            (json!({"cores": 4.0}), "cores=4"),
            (json!({"memory": 4096}), "memory=4096"),
            (json!({"delete": ["tags", "net1"]}), "delete=tags%2Cnet1"),
            (json!({"bios": "OVMF"}), "bios=ovmf"),
            (
                json!({"net1": {"model": "virtio", "bridge": "vmbr0", "tag": 20, "firewall": true}}),
                "net1=bridge%3Dvmbr0%2Cfirewall%3D1%2Cmodel%3Dvirtio%2Ctag%3D20",
            ),
            (json!({"sshkeys": "ssh-ed25519 AAAA a@b"}), "sshkeys=ssh-ed25519%2520AAAA%2520a%2540b"),
            (json!({"sshkeys": "ssh-ed25519%20AAAA"}), "sshkeys=ssh-ed25519%2520AAAA"),
            (json!({"vmid": 100, "node": "pve1"}), ""),
        ] {
            assert_eq!(check_config(data.clone()).as_deref(), Ok(sent), "{data}");
        }
        let exec = check_json(Method::Post, "/nodes/pve1/qemu/100/agent/exec", json!({"command": ["ls", "-l"]}));
        assert_eq!(exec.as_deref(), Ok("command=ls&command=-l"));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        for (data, part) in [
            (json!({"memroy": 1}), "did you mean `memory`?"),
            (json!({"network0": 1}), "is no parameter of PUT"),
            (json!({"cores": 0}), "must be an integer of at least 1, not 0"),
            (json!({"cores": 1.5}), "must be an integer"),
            (json!({"cores": "many"}), "must be an integer of at least 1, not this text"),
            (json!({"onboot": 2}), "must be true or false"),
            (json!({"bios": "uefi"}), "must be one of seabios, ovmf"),
            (json!({"net0": {"bridge": "vmbr0", "vlan": 5}}), "has no key `vlan`"),
            (json!({"tags": null}), "`delete`"),
            (json!({"name": ["a"]}), "not a list"),
            (json!({"vmid": 101}), "stands in the path already, as `100`"),
            (json!({"net0": [1]}), "not a list"),
        ] {
            let why = check_config(data.clone()).expect_err(&data.to_string());
            assert!(why.contains(part), "{data}: {why}");
        }
        let create = check_json(Method::Post, "/nodes/pve1/qemu", json!({})).unwrap_err();
        assert!(create.contains("`vmid` is missing: it must be given (an integer"), "{create}");
        let path = check_json(Method::Get, "/nodes/pve1/qemu/99/config", json!({})).unwrap_err();
        assert!(path.contains("`vmid` in the path must be an integer"), "{path}");
        let none = check_json(Method::Get, "/version", json!({"a": 1})).unwrap_err();
        assert!(none.contains("takes none"), "{none}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let why = check_config(json!({"memroy": 1, "cores": 0, "onboot": "maybe"})).unwrap_err();
        assert_eq!(why.matches("; ").count(), 2, "{why}");
    }
}
