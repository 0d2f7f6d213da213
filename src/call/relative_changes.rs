//! Changes of an option relative to its present value, without a read by the caller: `tags=+web,-old`, `memory=+1024`.
//! The value is read, and the digest of what was read guards the change.

use super::corrections::{MEBIBYTE_PARAMETERS, parse_size};
use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::plan_error::PlanError;
use super::planned_call::CallPurpose;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::{Operation, ParameterSpec};
use crate::render::object_state::to_text;
use crate::render::question::names_an_option;
use serde_json::{Map, Value};

/// The items to add to a list and those to remove from it.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListChange {
    added: Vec<String>,
    removed: Vec<String>,
}

impl ListChange {
    /// Parses `+web,-old` or a JSON list of such items. Returns `None` if an item has no sign.
    fn parse(value: &Value) -> Option<Self> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","),
            _ => return None,
        };
        let mut change = Self::default();
        for item in list_items(&text) {
            match (item.strip_prefix('+'), item.strip_prefix('-')) {
                (Some(name), _) if !name.is_empty() => change.added.push(name.to_owned()),
                (_, Some(name)) if !name.is_empty() => change.removed.push(name.to_owned()),
                _ => return None,
            }
        }
        (change != Self::default()).then_some(change)
    }

    /// Returns a list with the change, in its own order.
    fn apply(&self, now: &str, separator: &str) -> String {
        let now = list_items(now);
        let mut items: Vec<&str> = now.filter(|item| !self.removed.iter().any(|removed| removed == item)).collect();
        for added in &self.added {
            if !items.contains(&added.as_str()) {
                items.push(added);
            }
        }
        items.join(separator)
    }
}

/// Options whose 0 is no amount: no limit, off, or as many as there are cores.
const ZERO_IS_NO_AMOUNT: [&str; 5] = ["balloon", "bwlimit", "cpulimit", "migrate_speed", "vcpus"];

/// No option has a larger number.
const MAX_AMOUNT: f64 = 1e12;

/// A number to add to the present one, or to take off it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct NumberChange(f64);

impl NumberChange {
    /// Parses `+1024`, `-1` or, for memory, `+1G`. Returns `None` for a number without a sign, and for a negative one
    /// that the parameter accepts itself.
    fn parse(parameter: &ParameterSpec<'_>, value: &Value) -> Option<Self> {
        let text = value.as_str()?.trim();
        let (sign, amount) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(amount), _) => (1.0, amount),
            (_, Some(amount)) if minimum(parameter).is_some_and(|min| min >= 0.0) => (-1.0, amount),
            _ => return None,
        };
        let is_number = amount.starts_with(|c: char| c.is_ascii_digit());
        let plain = || amount.parse::<f64>().ok().filter(|amount| *amount < MAX_AMOUNT);
        let mebibytes = || {
            let bytes = MEBIBYTE_PARAMETERS.contains(&parameter.name()).then(|| parse_size(amount)).flatten()?;
            Some(bytes / f64::from(1 << 20)).filter(|mebibytes| mebibytes.fract() == 0.0)
        };
        is_number.then(|| plain().or_else(mebibytes)).flatten().map(|amount| Self(sign * amount))
    }

    /// Returns the sum with the present value, or with the default of an option that is not set.
    fn apply(self, parameter: &ParameterSpec<'_>, now: Option<&Value>) -> Result<Value, PlanError> {
        let name = || parameter.name().to_owned();
        let now = match now {
            Some(now) => read_number(&to_text(now)).ok_or_else(|| PlanError::NoPresentNumber(name()))?,
            None => default(parameter).ok_or_else(|| PlanError::NoPresentNumber(name()))?,
        };
        if now == 0.0 && ZERO_IS_NO_AMOUNT.contains(&parameter.name()) {
            return Err(PlanError::ZeroIsNoAmount(name()));
        }
        // The digits that a sum of fractions has too many.
        let sum = ((now + self.0) * 1e6).round() / 1e6;
        if minimum(parameter).is_some_and(|min| sum < min) {
            let minimum = minimum(parameter).unwrap_or_default().to_string();
            return Err(PlanError::NumberTooSmall { parameter: name(), sum: sum.to_string(), minimum });
        }
        Ok(if sum.fract() == 0.0 { Value::from(sum as i64) } else { Value::from(sum) })
    }
}

/// Returns the parameter itself if it is a number, or the only key of a property string. (PVE: `memory` of a VM.)
fn number_spec<'s>(parameter: &ParameterSpec<'s>) -> Option<ParameterSpec<'s>> {
    let is_number = |spec: &ParameterSpec<'_>| matches!(spec.kind(), "integer" | "number");
    if is_number(parameter) {
        return Some(*parameter);
    }
    let mut keys = parameter.nested_parameters();
    let (only, None) = (keys.next()?, keys.next()) else { return None };
    Some(only).filter(is_number)
}

fn minimum(parameter: &ParameterSpec<'_>) -> Option<f64> {
    number_spec(parameter)?.minimum().parse().ok()
}

fn default(parameter: &ParameterSpec<'_>) -> Option<f64> {
    number_spec(parameter)?.default().parse().ok()
}

/// Returns the number of a present value: `2048`, `current=2048`.
fn read_number(text: &str) -> Option<f64> {
    let first = text.split(',').next()?.trim();
    first.strip_prefix("current=").unwrap_or(first).parse().ok()
}

/// A change relative to the present value of an option.
enum RelativeChange {
    List(ListChange),
    Number(NumberChange),
}

impl RelativeChange {
    fn parse(operation: &Operation<'_>, name: &str, value: &Value) -> Option<Self> {
        let parameter = operation.parameter(name).filter(|_| names_an_option(name))?;
        if parameter.format().ends_with("-list") {
            return ListChange::parse(value).map(Self::List);
        }
        number_spec(&parameter)?;
        NumberChange::parse(&parameter, value).map(Self::Number)
    }
}

/// Replaces the changes that are relative by whole values, where a digest guards the operation. Returns the names of the
/// options.
pub(super) fn apply_relative_changes(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    path: &ApiPath,
    data: &mut Map<String, Value>,
) -> Result<Vec<String>, PlanError> {
    if !matches!(operation.method(), Method::Put | Method::Post) || operation.parameter("digest").is_none() {
        return Ok(Vec::new());
    }
    let changes: Vec<(String, RelativeChange)> = data
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), RelativeChange::parse(operation, name, value)?)))
        .collect();
    let Some((first, _)) = changes.first() else { return Ok(Vec::new()) };
    let read = |path: &ApiPath| -> Result<Map<String, Value>, LookupError> {
        let response = cluster.authorize_read(CallPurpose::Lookup, path.clone(), ApiParams::new())?.send_read()?;
        Ok(serde_json::from_str(response.data()).unwrap_or_default())
    };
    let has_numbers = changes.iter().any(|(_, change)| matches!(change, RelativeChange::Number(_)));
    let object = match cluster.forecast_options(path, &read) {
        Ok(object) => object,
        // The call is planned again with the list that the object has when it is sent.
        Err(_) if cluster.is_made_before(path) && !has_numbers => Map::new(),
        Err(error) => {
            return Err(PlanError::UnreadableValue { parameter: first.clone(), error: Box::new(error) });
        }
    };
    for (name, change) in &changes {
        let value = match change {
            RelativeChange::List(change) => {
                let separator = if name == "tags" { ";" } else { "," };
                change.apply(&object.get(name).map(to_text).unwrap_or_default(), separator).into()
            }
            RelativeChange::Number(change) => {
                let parameter = operation.parameter(name).expect("only known parameters have changes");
                change.apply(&parameter, object.get(name))?
            }
        };
        match value {
            Value::String(list) if list.is_empty() => {
                data.remove(name);
                let deleted = data.entry("delete").or_insert_with(|| "".into());
                let names = to_text(deleted);
                *deleted = if names.is_empty() { name.as_str().into() } else { format!("{names},{name}").into() };
            }
            value => drop(data.insert(name.clone(), value)),
        }
    }
    if let Some(digest) = object.get("digest").filter(|digest| digest.is_string()) {
        data.entry("digest").or_insert_with(|| digest.clone());
    }
    Ok(changes.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;
    use serde_json::json;

    #[test]
    fn items_with_signs_change_a_list() {
        for (value, now, list) in [
            (json!("+web"), "prod", Some("prod;web")),
            (json!("+web"), "prod;web", Some("prod;web")),
            (json!("-prod,+a"), "prod;web", Some("web;a")),
            (json!(["+a", "-web"]), "prod,web", Some("prod;a")),
            (json!("-prod"), "prod", Some("")),
            (json!("+a"), "", Some("a")),
            (json!("web"), "prod", None),
            (json!("+web,old"), "prod", None),
            (json!("+"), "prod", None),
            (json!(""), "prod", None),
            (json!(["+a", 1]), "prod", None),
            (json!(7), "prod", None),
        ] {
            let changed = ListChange::parse(&value).map(|change| change.apply(now, ";"));
            assert_eq!(changed.as_deref(), list, "{value} on {now}");
        }
    }

    #[test]
    fn numbers_with_signs_are_added_to_the_present_one() {
        let vm = "/nodes/{node}/qemu/{vmid}/config";
        let container = "/nodes/{node}/lxc/{vmid}/config";
        for (template, name, value, now, sum) in [
            (vm, "memory", json!("+1024"), json!("2048"), Some(json!(3072))),
            (vm, "memory", json!("+1024"), json!("current=2048"), Some(json!(3072))),
            (vm, "memory", json!(" +1.5G "), json!(2048), Some(json!(3584))),
            (vm, "memory", json!("+512"), Value::Null, Some(json!(1024))),
            (vm, "memory", json!("-1024"), json!("2048"), Some(json!(1024))),
            (vm, "memory", json!("-2040"), json!("2048"), None),
            (vm, "balloon", json!("+512"), json!(1024), Some(json!(1536))),
            (vm, "balloon", json!("+512"), Value::Null, None),
            (vm, "balloon", json!("-512"), json!(0), None),
            (vm, "cores", json!("+2"), Value::Null, Some(json!(3))),
            (vm, "sockets", json!("-1"), json!(1), None),
            (vm, "cpuunits", json!("+100"), Value::Null, None),
            (vm, "cpulimit", json!("+0.2"), json!("0.1"), Some(json!(0.3))),
            (vm, "cpulimit", json!("+1"), Value::Null, None),
            (container, "swap", json!("+512"), json!(512), Some(json!(1024))),
            (container, "memory", json!("+1"), json!("many"), None),
        ] {
            let operation = embedded_schema().find_by_template(Method::Put, template).expect("an operation");
            let parameter = operation.parameter(name).expect("a parameter");
            let change = NumberChange::parse(&parameter, &value).expect("a change");
            let result = change.apply(&parameter, Some(&now).filter(|now| !now.is_null()));
            assert_eq!(result.ok(), sum, "{name} {value} on {now}");
        }
    }

    #[test]
    fn only_a_number_with_a_sign_is_relative() {
        let vm = "/nodes/{node}/qemu/{vmid}/config";
        for (template, name, value) in [
            (vm, "memory", json!("1024")),
            (vm, "memory", json!("+")),
            (vm, "memory", json!("+many")),
            (vm, "memory", json!("+10%")),
            (vm, "memory", json!("+-1")),
            (vm, "memory", json!("++1")),
            (vm, "memory", json!(-1)),
            (vm, "memory", json!("+1e300")),
            (vm, "memory", json!("+inf")),
            (vm, "cores", json!("+1G")),
            (vm, "name", json!("+1")),
            (vm, "onboot", json!("+1")),
            (vm, "description", json!("-1")),
            (vm, "background_delay", json!("+1")),
            // -1 is a value of its own.
            ("/storage/{storage}", "max-protected-backups", json!("-1")),
        ] {
            let method = if name == "background_delay" { Method::Post } else { Method::Put };
            let operation = embedded_schema().find_by_template(method, template).expect("an operation");
            assert!(RelativeChange::parse(&operation, name, &value).is_none(), "{name} {value}");
        }
    }
}
