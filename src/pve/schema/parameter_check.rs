//! Checks parameters against an operation before they are sent: known, complete, of the right type and range. Converts
//! them to the form Proxmox wants: booleans as 1 and 0, `*-list` values with commas, objects as property strings. A list
//! or an object may come as JSON text ([`unwrap_values`]).
//!
//! Proxmox decides what the schema can't know, such as whether a storage exists or what a Perl pattern accepts.

use super::load::embedded_schema;
use super::model::{Operation, ParameterSpec, PathMatch, fold_families};
use crate::base::exact_json::{JsonTextError, parse_exact};
use crate::base::suggest::suggest;
use crate::pve::knowledge::formats::{NameForm, ValueFormat, find_form, is_extended_by_plugins};
use crate::pve::knowledge::root_parameters::refuses_tokens;
use crate::pve::parameter_error::{MAX_PROBLEMS, ParameterError, ParameterErrorKind, ParameterErrors};
use crate::pve::params::{ApiParams, percent_encode_into, to_form_values};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Parameters in the form that Proxmox wants.
#[derive(Debug)]
pub struct CheckedParameters {
    pub params: ApiParams,
    /// Differences to the values that the caller gave. They have no values.
    pub notes: Vec<String>,
}

/// Returns the parameters to send for `data` (by name) in addition to the path.
pub fn check_parameters(
    operation: &Operation<'_>,
    path: &PathMatch<'_>,
    data: &Map<String, Value>,
) -> Result<CheckedParameters, ParameterErrors> {
    let mut params = ApiParams::new();
    let (mut errors, mut notes) = (Vec::new(), Vec::new());
    for (name, value) in &path.values {
        if let Some(parameter) = operation.parameter(name)
            && let Err(kind) = convert_values(&parameter, &Value::from(value.as_str()))
        {
            errors.push(ParameterError { name: (*name).to_owned(), in_path: true, kind });
        }
    }
    let instance_type = operation.find_instance_type(data);
    for (name, value) in data {
        if errors.len() >= MAX_PROBLEMS {
            return Err(ParameterErrors { errors, may_have_more: true });
        }
        let result = match path_value(operation, path, name) {
            Some(in_path) => check_path_value(in_path, value).map(|()| Vec::new()),
            None if value.is_null() && means_absent(operation, name) => {
                notes.push(format!("`{name}` is null, so it was left out"));
                Ok(Vec::new())
            }
            None => check_value(operation, data, instance_type, name, value).inspect(|_| {
                let form = operation.parameter(name).and_then(|parameter| converted_form(&parameter, value));
                notes.extend(form.map(|form| format!("`{name}` was sent as {form}")));
            }),
        };
        match result {
            Ok(values) => values.iter().for_each(|value| params.push(name, value)),
            Err(kind) => errors.push(ParameterError { name: name.clone(), in_path: false, kind }),
        }
    }
    for parameter in operation.parameters().filter(|p| p.is_required_with(instance_type) && p.family().is_none()) {
        let name = parameter.name();
        if data.get(name).is_none_or(Value::is_null) && !operation.is_path_parameter(name) {
            let kind = ParameterErrorKind::Missing { expected: describe_parameter(&parameter) };
            errors.push(ParameterError { name: name.to_owned(), in_path: false, kind });
        }
    }
    if errors.is_empty() {
        Ok(CheckedParameters { params, notes })
    } else {
        Err(ParameterErrors { errors, may_have_more: false })
    }
}

/// Returns true if null can only mean that the caller leaves a parameter out. Where options can be unset, it may mean that
/// too.
fn means_absent(operation: &Operation<'_>, name: &str) -> bool {
    operation.parameter(name).is_some() && operation.parameter("delete").is_none()
}

/// Replaces values that came in another form and can mean exactly one thing. These are JSON texts, where the parameter
/// takes what they say, and lists of one for a single value. Any other text stays.
pub fn unwrap_values(operation: &Operation<'_>, data: &mut Map<String, Value>) -> Result<(), ParameterErrors> {
    let mut errors = Vec::new();
    for (name, value) in data {
        let Some(parameter) = operation.parameter(name) else { continue };
        if let Err(kind) = unwrap_value(&parameter, value) {
            errors.push(ParameterError { name: name.clone(), in_path: false, kind });
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ParameterErrors { errors, may_have_more: true }) }
}

fn unwrap_value(parameter: &ParameterSpec<'_>, value: &mut Value) -> Result<(), ParameterErrorKind> {
    let takes_list = parameter.kind() == "array" || list_separator(parameter).is_some();
    // No number, switch or word of an enumeration begins with a bracket or a quote.
    let is_text =
        !matches!(parameter.kind(), "boolean" | "integer" | "number") && parameter.allowed_values().next().is_none();
    if let Value::String(text) = value {
        let is_json = match text.trim_start().bytes().next() {
            Some(b'[') => takes_list || !is_text,
            Some(b'"') => !takes_list && !is_text,
            Some(b'{') => has_keys(parameter),
            _ => false,
        };
        match is_json.then(|| parse_exact(text)) {
            Some(Ok(inner)) => *value = inner,
            // The name of a program, or a key, may begin with a bracket.
            Some(Err(JsonTextError::NotJson)) | None => {}
            Some(Err(error)) => {
                let (expected, actual) = (describe_parameter(parameter), format!("a JSON text that {error}"));
                return Err(ParameterErrorKind::WrongValue { expected, actual });
            }
        }
    }
    if let Value::Array(items) = value
        && let [item] = items.as_mut_slice()
        && !takes_list
        && !matches!(item, Value::Array(_) | Value::Null)
    {
        *value = item.take();
    }
    Ok(())
}

/// Returns the form of a list or an object that is sent as text.
fn converted_form(parameter: &ParameterSpec<'_>, value: &Value) -> Option<&'static str> {
    match value {
        Value::Array(_) if parameter.kind() == "array" => None,
        Value::Array(_) if list_separator(parameter) == Some("\n") => Some("lines"),
        Value::Array(_) => Some("a text with commas"),
        Value::Object(_) => Some("key=value,…"),
        _ => None,
    }
}

/// Returns the value that the path gives to a parameter of the operation. Templates may name the same segment differently,
/// so its place decides.
fn path_value<'p>(operation: &Operation<'_>, path: &'p PathMatch<'_>, name: &str) -> Option<&'p str> {
    let mut names = operation.template().split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let place = names.position(|known| known == name)?;
    path.values.get(place).map(|(_, value)| value.as_str())
}

/// Checks that a parameter of the path has the same value as in the path.
fn check_path_value(in_path: &str, value: &Value) -> Result<(), ParameterErrorKind> {
    if format_scalar(value) == in_path {
        Ok(())
    } else {
        Err(ParameterErrorKind::AlreadyInPath { value: in_path.to_owned() })
    }
}

/// Returns the texts to send for a parameter that is not part of the path.
fn check_value(
    operation: &Operation<'_>,
    data: &Map<String, Value>,
    instance_type: Option<&str>,
    name: &str,
    value: &Value,
) -> Result<Vec<String>, ParameterErrorKind> {
    // The embedded facts may be older than the cluster, and third-party plugins have parameters and types of their own.
    let is_open =
        operation.allows_extra_parameters() || !operation.is_live() || is_extended_by_plugins(operation.template());
    let variants: Vec<ParameterSpec<'_>> = operation.parameter_variants(name).collect();
    if variants.is_empty() {
        return if is_open { to_form_values(name, value) } else { Err(unknown_parameter(operation, name)) };
    }
    let applying: Vec<&ParameterSpec<'_>> = variants.iter().filter(|v| v.may_apply(instance_type)).collect();
    let Some(first) = applying.first() else {
        let types = variants.iter().flat_map(ParameterSpec::instance_types).map(str::to_owned).collect();
        let type_property = operation.type_property().to_owned();
        return Err(ParameterErrorKind::OtherType { type_property, types });
    };
    // The forms of several types may fit where the type is not known.
    let fitting = applying.iter().find(|variant| convert_values(variant, value).is_ok());
    if refuses_tokens(operation.template(), name) {
        return Err(ParameterErrorKind::NeedsRoot);
    }
    let parameter = fitting.unwrap_or(first);
    let values = convert_values(parameter, value);
    if name == "type" && is_open && !value.is_object() && !value.is_array() {
        return values.or_else(|_| Ok(vec![format_scalar(value)]));
    }
    let other = parameter.requires();
    if values.is_ok() && !other.is_empty() && !data.contains_key(other) {
        return Err(ParameterErrorKind::RequiresOther { other: other.to_owned() });
    }
    values
}

fn unknown_parameter(operation: &Operation<'_>, name: &str) -> ParameterErrorKind {
    let names = || operation.parameters().map(|p| p.name()).filter(|n| !operation.is_path_parameter(n));
    // A number at the end hides the similarity to a family's name.
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let suggestion = suggest(name, names()).or_else(|| suggest(stem, names().map(|n| n.trim_end_matches("[n]"))));
    let newer = embedded_schema().find_by_template(operation.method(), operation.template());
    let is_newer = newer.is_some_and(|newer| newer.parameter(name).is_some());
    ParameterErrorKind::Unknown {
        operation: format!("{} {}", operation.method(), operation.template()),
        is_newer,
        suggestion: suggestion.filter(|_| !is_newer).map(str::to_owned),
        accepted: names().map(str::to_owned).collect(),
    }
}

/// Returns the texts to send for one value. An array has several.
fn convert_values(parameter: &ParameterSpec<'_>, value: &Value) -> Result<Vec<String>, ParameterErrorKind> {
    match (parameter.kind(), value) {
        (_, Value::Null) => Err(ParameterErrorKind::Null),
        (_, Value::Array(items)) if items.is_empty() => Err(ParameterErrorKind::EmptyList),
        ("array", Value::Array(items)) => {
            let elements = items.iter().enumerate();
            elements
                .map(|(index, item)| match item {
                    Value::Array(_) | Value::Null => Err(wrong_element(index, item)),
                    _ => convert_value(parameter, item),
                })
                .collect()
        }
        // Other parameters take several guests as one text, so callers write it here too. No number has a comma.
        ("array", Value::String(text)) if ValueFormat::from_name(parameter.format()) == ValueFormat::GuestId => {
            let numbers = text.split([',', ';', ' ']).filter(|number| !number.is_empty());
            numbers.map(|number| convert_value(parameter, &number.into())).collect()
        }
        _ => Ok(vec![convert_value(parameter, value)?]),
    }
}

fn wrong_element(index: usize, element: &Value) -> ParameterErrorKind {
    ParameterErrorKind::WrongElement { index, actual: describe_value(element) }
}

fn convert_value(parameter: &ParameterSpec<'_>, value: &Value) -> Result<String, ParameterErrorKind> {
    let wrong_value =
        || ParameterErrorKind::WrongValue { expected: describe_parameter(parameter), actual: describe_value(value) };
    let text = match (parameter.kind(), value) {
        (_, Value::Null) => return Err(wrong_value()),
        ("boolean", _) => return parse_boolean(value).map(str::to_owned).ok_or_else(wrong_value),
        ("integer" | "number", _) => convert_number(parameter, value).ok_or_else(wrong_value)?,
        // Only a parameter with keys can take an object.
        ("" | "string", Value::Object(_)) if !has_keys(parameter) => return Err(wrong_value()),
        (_, Value::Object(keys)) => build_property_string(parameter, keys)?,
        ("array", Value::Array(_)) => return Err(wrong_value()),
        // A form can't tell `true` from 1, such as 1 MiB of memory.
        ("string", Value::Bool(_)) if !may_be_switch(parameter) => return Err(wrong_value()),
        (_, Value::Array(items)) => join_list(parameter, items)?.ok_or_else(wrong_value)?,
        (_, scalar) => format_scalar(scalar),
    };
    let text = match_allowed_value(parameter, text).ok_or_else(wrong_value)?;
    if parameter.kind() == "string" {
        if let Some(size) = SIZE_PATTERNS.iter().find(|size| size.pattern == parameter.pattern())
            && !size.fits(&text)
        {
            let expected = if size.has_sign { "a size such as 40G, or +10G to add" } else { "a size such as 10G" };
            let (expected, actual) = (expected.to_owned(), describe_value(value));
            return Err(ParameterErrorKind::WrongValue { expected, actual });
        }
        if let Some(form) = NameForm::find(parameter.format(), parameter.pattern()).filter(|form| !form.fits(&text)) {
            return Err(ParameterErrorKind::WrongValue {
                expected: form.text.to_owned(),
                actual: describe_value(value),
            });
        }
        let length = text.chars().count() as f64;
        if parse_limit(parameter.max_length()).is_some_and(|max| length > max) {
            return Err(ParameterErrorKind::TooLong { max: parameter.max_length().to_owned() });
        }
        if parse_limit(parameter.min_length()).is_some_and(|min| length < min) {
            return Err(ParameterErrorKind::TooShort { min: parameter.min_length().to_owned() });
        }
    }
    let is_encoded = ValueFormat::from_name(parameter.format()) == ValueFormat::UrlEncoded;
    Ok(if is_encoded { encode_once(text) } else { text })
}

/// A pattern of the description for the size of a disk or a file.
struct SizePattern {
    pattern: &'static str,
    has_sign: bool,
    has_fraction: bool,
    units: &'static str,
}

/// Any other pattern is one of Perl, which Proxmox checks.
const SIZE_PATTERNS: [SizePattern; 3] = [
    SizePattern { pattern: r"\+?\d+(\.\d+)?[KMGT]?", has_sign: true, has_fraction: true, units: "KMGT" },
    SizePattern { pattern: r"^(\d+(\.\d+)?)([KMGT])?$", has_sign: false, has_fraction: true, units: "KMGT" },
    SizePattern { pattern: r"\d+[MG]?", has_sign: false, has_fraction: false, units: "MG" },
];

impl SizePattern {
    fn fits(&self, text: &str) -> bool {
        let number = text.strip_prefix('+').filter(|_| self.has_sign).unwrap_or(text);
        let number = number.strip_suffix(|c| self.units.contains(c)).unwrap_or(number);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match number.split_once('.') {
            Some((whole, fraction)) => self.has_fraction && is_number(whole) && is_number(fraction),
            None => is_number(number),
        }
    }
}

fn parse_limit(limit: &str) -> Option<f64> {
    limit.parse().ok()
}

/// Returns whether the values are property strings, by their keys or by the name of the format.
fn has_keys(parameter: &ParameterSpec<'_>) -> bool {
    parameter.nested_parameters().next().is_some()
        || ValueFormat::from_name(parameter.format()) == ValueFormat::PropertyString
}

/// Returns whether true or false can be meant: the first key of a property string may be a number or a text.
fn may_be_switch(parameter: &ParameterSpec<'_>) -> bool {
    parameter.nested_parameters().find(ParameterSpec::is_default_key).is_none_or(|key| key.kind() == "boolean")
}

/// Returns an enumeration's value in its own spelling, `None` if it does not have the value, and the text of a
/// parameter without an enumeration.
fn match_allowed_value(parameter: &ParameterSpec<'_>, text: String) -> Option<String> {
    if parameter.allowed_values().next().is_none() {
        return Some(text);
    }
    let exact = parameter.allowed_values().find(|word| *word == text);
    exact.or_else(|| parameter.allowed_values().find(|word| word.eq_ignore_ascii_case(&text))).map(str::to_owned)
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
    // A form can't tell `true` from 1. A caller that writes `true` or `yes` means a number only of a switch.
    let is_switch = parameter.maximum() == "1" || parameter.name() == "enable";
    if let Some(number) = parse_boolean(value).filter(|_| is_switch) {
        return Some(number.to_owned());
    }
    let text = Some(value).filter(|value| !value.is_boolean()).map(format_scalar)?;
    let text = text.trim();
    let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
    let has_type = parameter.kind() != "integer" || number.fract() == 0.0;
    let in_range = parse_limit(parameter.minimum()).is_none_or(|min| number >= min)
        && parse_limit(parameter.maximum()).is_none_or(|max| number <= max);
    let is_plain = parameter.kind() == "number" || text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    (has_type && in_range).then(|| if is_plain { text.to_owned() } else { format!("{number:.0}") })
}

/// Returns the separator of a list in one text. Returns `None` if the format allows only one value.
fn list_separator(parameter: &ParameterSpec<'_>) -> Option<&'static str> {
    match ValueFormat::from_name(parameter.format()) {
        ValueFormat::List => Some(","),
        // Public keys are lines.
        ValueFormat::UrlEncoded => Some("\n"),
        _ => None,
    }
}

/// Joins a list to one text. Returns `None` if the format allows only one value.
fn join_list(parameter: &ParameterSpec<'_>, items: &[Value]) -> Result<Option<String>, ParameterErrorKind> {
    let Some(separator) = list_separator(parameter).filter(|_| !items.is_empty()) else { return Ok(None) };
    if let Some(index) = items.iter().position(|item| item.is_array() || item.is_object() || item.is_null()) {
        return Err(wrong_element(index, &items[index]));
    }
    let texts: Vec<String> = items.iter().map(format_scalar).collect();
    match texts.iter().position(|text| separator == "," && text.contains(',')) {
        Some(index) => Err(ParameterErrorKind::CommaInElement { index }),
        None => Ok(Some(texts.join(separator))),
    }
}

/// Returns an object as `key=value,…`.
fn build_property_string(
    parameter: &ParameterSpec<'_>,
    object: &Map<String, Value>,
) -> Result<String, ParameterErrorKind> {
    let mut pairs = Vec::new();
    // A property string has only the keys that are set.
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let spec = parameter
            .nested_parameters()
            .find(|n| n.name() == key || n.family().is_some_and(|family| is_family_member(key, family)));
        if spec.is_none() && parameter.nested_parameters().next().is_some() {
            let names: Vec<&str> = parameter.nested_parameters().map(|n| n.name()).collect();
            return Err(ParameterErrorKind::UnknownKey {
                key: key.clone(),
                suggestion: suggest(key, names.iter().copied()).map(str::to_owned),
                accepted: names.into_iter().map(str::to_owned).collect(),
            });
        }
        let value = match (value, &spec) {
            (Value::Object(_), _) => return Err(ParameterErrorKind::UnwritableKey { key: key.clone() }),
            (Value::Array(items), _)
                if items.iter().any(|item| item.is_object() || item.is_array() || item.is_null()) =>
            {
                return Err(ParameterErrorKind::UnwritableKey { key: key.clone() });
            }
            (Value::Array(items), _) => items.iter().map(format_scalar).collect::<Vec<_>>().join(";"),
            (value, Some(spec)) => convert_value(spec, value)
                .map_err(|kind| ParameterErrorKind::Key { key: key.clone(), kind: Box::new(kind) })?,
            (value, None) => format_scalar(value),
        };
        if value.contains(',') || key.contains([',', '=']) {
            return Err(ParameterErrorKind::UnwritableKey { key: key.clone() });
        }
        pairs.push(format!("{key}={value}"));
    }
    if pairs.is_empty() {
        let expected = describe_parameter(parameter);
        return Err(ParameterErrorKind::WrongValue { expected, actual: "an empty object".into() });
    }
    Ok(pairs.join(","))
}

fn is_family_member(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Percent-encodes a text unless it is already encoded. The parameter's own format requires it (PVE: `sshkeys`).
fn encode_once(text: String) -> String {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    if text.contains('%') && text.bytes().all(is_safe) {
        return text;
    }
    let mut out = String::with_capacity(text.len() * 2);
    percent_encode_into(&mut out, &text, b"");
    out
}

/// Returns a scalar as Proxmox takes it in a form.
fn format_scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "1".into(),
        Value::Bool(false) => "0".into(),
        Value::Number(number) => match number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0) {
            // An integer that the caller wrote as 4096.0.
            Some(n) if n.abs() < 1e15 => format!("{n:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Describes a value for an error. A text is never repeated, because it may be a password in the wrong place.
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

/// Describes the values of a parameter: `an integer from 100 to 999999999`, `one of raw, qcow2`.
pub fn describe_parameter(parameter: &ParameterSpec<'_>) -> String {
    let words: Vec<&str> = parameter.allowed_values().collect();
    if !words.is_empty() {
        return format!("one of {}", fold_families(&words).join(", "));
    }
    let format = parameter.format();
    let mut text = String::from(match parameter.kind() {
        "boolean" => "true or false",
        "integer" => "an integer",
        "number" => "a number",
        "array" => "a list",
        _ if ValueFormat::from_name(format) == ValueFormat::List => "a list",
        _ if parameter.nested_parameters().next().is_some() => "a property string such as key=value,key=value",
        _ => "a text",
    });
    if !format.is_empty() {
        let form = find_form(format).map(|form| format!(": {form}")).unwrap_or_default();
        let _ = write!(text, " ({format}{form})");
    }
    let _ = match (parameter.minimum(), parameter.maximum()) {
        ("", "") => Ok(()),
        (min, "") => write!(text, " of at least {min}"),
        ("", max) => write!(text, " of at most {max}"),
        (min, max) => write!(text, " from {min} to {max}"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::super::load::read_description;
    use super::super::searchable::Schema;
    use super::*;
    use crate::pve::method::Method;
    use serde_json::json;
    use std::sync::LazyLock;

    fn check_json(method: Method, path: &str, data: Value) -> Result<String, String> {
        static LIVE: LazyLock<Schema> = LazyLock::new(|| {
            read_description(flate2::read::GzDecoder::new(crate::pve::schema::facts::APIDOC)).unwrap()
        });
        let found = LIVE.match_path(&path.split('/').filter(|s| !s.is_empty()).collect::<Vec<_>>()).ok().unwrap();
        let operation = found.operation(method).unwrap();
        let mut data = data.as_object().unwrap().clone();
        unwrap_values(&operation, &mut data)
            .and_then(|()| check_parameters(&operation, &found, &data))
            .map(|checked| [vec![checked.params.encode()], checked.notes].concat().join(" | "))
            .map_err(|errors| errors.to_string())
    }

    fn check_config(data: Value) -> Result<String, String> {
        check_json(Method::Put, "/nodes/pve1/qemu/100/config", data)
    }

    #[test]
    fn values_are_converted_to_what_proxmox_wants() {
        for (data, sent) in [
            (json!({"onboot": true}), "onboot=1"),
            (json!({"onboot": "no"}), "onboot=0"),
            (json!({"cores": "4"}), "cores=4"),
            (json!({"cores": 4.0}), "cores=4"),
            (json!({"memory": 4096}), "memory=4096"),
            (json!({"memory": [4096]}), "memory=4096"),
            (json!({"cores": [4]}), "cores=4"),
            (json!({"cores": "[4]"}), "cores=4"),
            (json!({"cores": r#""4""#}), "cores=4"),
            (json!({"onboot": [true]}), "onboot=1"),
            (json!({"bios": ["ovmf"]}), "bios=ovmf"),
            (json!({"bios": r#""ovmf""#}), "bios=ovmf"),
            (json!({"name": ["a"]}), "name=a"),
            (json!({"description": r#"["a"]"#}), "description=%5B%22a%22%5D"),
            (json!({"net1": ["virtio,bridge=vmbr0"]}), "net1=virtio%2Cbridge%3Dvmbr0"),
            (json!({"agent": true}), "agent=1"),
            (json!({"hotplug": false}), "hotplug=0"),
            (json!({"delete": ["tags", "net1"]}), "delete=tags%2Cnet1 | `delete` was sent as a text with commas"),
            (json!({"delete": r#"["tags", "net1"]"#}), "delete=tags%2Cnet1 | `delete` was sent as a text with commas"),
            (json!({"delete": "tags,net1"}), "delete=tags%2Cnet1"),
            (json!({"description": r#"{"a": 1}"#}), "description=%7B%22a%22%3A%201%7D"),
            (json!({"name": "007"}), "name=007"),
            (json!({"tags": "[x"}), "tags=%5Bx"),
            (json!({"bios": "OVMF"}), "bios=ovmf"),
            (
                json!({"net1": {"model": "virtio", "bridge": "vmbr0", "tag": 20, "firewall": true}}),
                "net1=bridge%3Dvmbr0%2Cfirewall%3D1%2Cmodel%3Dvirtio%2Ctag%3D20 | `net1` was sent as key=value,…",
            ),
            (
                json!({"net1": r#"{"model":"virtio","bridge":"vmbr0","tag":null}"#}),
                "net1=bridge%3Dvmbr0%2Cmodel%3Dvirtio | `net1` was sent as key=value,…",
            ),
            (
                json!({"sshkeys": ["ssh-a b", "ssh-c d"]}),
                "sshkeys=ssh-a%2520b%250Assh-c%2520d | `sshkeys` was sent as lines",
            ),
            (json!({"sshkeys": "ssh-ed25519 AAAA a@b"}), "sshkeys=ssh-ed25519%2520AAAA%2520a%2540b"),
            (json!({"sshkeys": "ssh-ed25519%20AAAA"}), "sshkeys=ssh-ed25519%2520AAAA"),
            (json!({"vmid": 100, "node": "pve1"}), ""),
        ] {
            assert_eq!(check_config(data.clone()).as_deref(), Ok(sent), "{data}");
        }
        let exec = check_json(Method::Post, "/nodes/pve1/qemu/100/agent/exec", json!({"command": ["ls", "-l"]}));
        assert_eq!(exec.as_deref(), Ok("command=ls&command=-l"));
        let text = check_json(Method::Post, "/nodes/pve1/qemu/100/agent/exec", json!({"command": r#"["ls", "-l"]"#}));
        assert_eq!(text.as_deref(), Ok("command=ls&command=-l"));
        let switch = check_json(Method::Put, "/cluster/firewall/options", json!({"enable": true}));
        assert_eq!(switch.as_deref(), Ok("enable=1"));
        let switch = check_json(Method::Put, "/cluster/firewall/options", json!({"enable": "off"}));
        assert_eq!(switch.as_deref(), Ok("enable=0"));
        let create = json!({"vmid": 200, "name": null});
        let create = check_json(Method::Post, "/nodes/pve1/qemu", create);
        assert_eq!(create.as_deref(), Ok("vmid=200 | `name` is null, so it was left out"));
        let nested = check_json(Method::Post, "/nodes/pve1/qemu/100/agent/exec", json!({"command": ["ls", ["-l"]]}));
        assert!(nested.unwrap_err().contains("element 1 (counted from 0) is a list"));
    }

    #[test]
    fn an_error_says_what_to_write() {
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
            (json!({"cores": true}), "must be an integer of at least 1, not true"),
            (json!({"net0": {"bridge": {"name": "vmbr0"}}}), "can't hold `bridge` in an object"),
            (json!({"net0": {}}), "not an empty object"),
            (json!({"net0": r#"{"model":"e1000","mod\u0065l":"virtio"}"#}), "has the member \"model\" twice"),
            (json!({"delete": r#"[{"a":1,"a":2}]"#}), "has the member \"a\" twice"),
            (json!({"name": ["a", "b"]}), "not a list"),
            (json!({"name": [null]}), "not a list"),
            (json!({"name": [["a"]]}), "not a list"),
            (json!({"cores": "[2, 3]"}), "must be an integer of at least 1, not a list"),
            (json!({"cores": r#"{"cores": 2}"#}), "not this text"),
            (json!({"cores": r#"[{"a": 1, "a": 2}]"#}), "has the member \"a\" twice"),
            (json!({"memory": true}), "must be a property string such as key=value,key=value, not true"),
            (json!({"vmid": 101}), "is already set by the path, as `100`"),
            (json!({"net0": ["virtio", "bridge=vmbr0"]}), "not a list"),
            (json!({"delete": ["tags", {"a": 1}]}), "element 1 (counted from 0) is an object"),
            (json!({"delete": [["tags"]]}), "element 0 (counted from 0) is a list"),
            (json!({"delete": ["tags,net1"]}), "has a comma in element 0"),
            (json!({"name": "web 01"}), "must be letters, digits, - and dots"),
            (json!({"name": "web_01"}), "without blanks or _, not this text"),
        ] {
            let error = check_config(data.clone()).expect_err(&data.to_string());
            assert!(error.contains(part), "{data}: {error}");
        }
        let create = check_json(Method::Post, "/nodes/pve1/qemu", json!({})).unwrap_err();
        assert!(create.contains("`vmid` is missing: it must be given (an integer"), "{create}");
        let path = check_json(Method::Get, "/nodes/pve1/qemu/99/config", json!({})).unwrap_err();
        assert!(path.contains("`vmid` in the path must be an integer"), "{path}");
        let none = check_json(Method::Get, "/version", json!({"a": 1})).unwrap_err();
        assert!(none.contains("takes none"), "{none}");
    }

    #[test]
    fn a_path_parameter_is_known_by_its_place() {
        let get = |template: &str, name: &str| {
            let parameters = json!({"properties": {name: {"type": "string"}}});
            json!({"path": template, "info": {"GET": {"description": "x", "parameters": parameters}}})
        };
        let script = format!("const apiSchema = {};", json!([get("/a/{x}", "x"), get("/a/{y}/b", "y")]));
        let schema = read_description(script.as_bytes()).unwrap();
        let found = schema.match_path(&["a", "1", "b"]).ok().unwrap();
        let check = |y: u32| {
            let data = json!({ "y": y });
            check_parameters(&found.operation(Method::Get).unwrap(), &found, data.as_object().unwrap())
        };
        assert_eq!(check(1).unwrap().params.encode(), "");
        assert!(check(2).unwrap_err().to_string().contains("is already set by the path, as `1`"));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let error = check_config(json!({"memroy": 1, "cores": 0, "onboot": "maybe"})).unwrap_err();
        assert_eq!(error.matches("; ").count(), 2, "{error}");
    }
}
