//! The API as the description of a node tells it: privileges and parameters of operations.
//!
//! The demo has no table of an operation's privileges and parameters if the description tells them.

use crate::error::{ApiError, ApiResult};
use crate::options::Release;
use crate::parameters::ParameterType::{Boolean, Integer, List, Number, Text, Vmid};
use crate::parameters::{
    MAX, MIN, Parameter, RequestParams, UNKNOWN_PARAMETER, check_format, validate_with, value_text,
};
use crate::permissions::{Caller, has_privilege};
use crate::pve8::{downgrade, is_new};
use crate::state::ClusterState;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// An operation in the description.
pub(crate) struct DescribedOperation {
    info: Value,
    /// Parameters in the path of the request.
    pub(crate) path_params: RequestParams,
}

/// The description of a release.
pub(crate) enum Description {
    /// gzip-compressed, as a node serves it. It is read at each call, since such calls are rare and its parts would take
    /// megabytes of memory.
    Compressed(&'static [u8]),
    /// In parts.
    Parsed(Vec<DescribedPath>),
}

/// A path with its operations by method.
#[derive(Deserialize)]
pub(crate) struct DescribedPath {
    pub(crate) path: String,
    pub(crate) info: Map<String, Value>,
}

/// A path whose operations are not read yet.
#[derive(Deserialize)]
struct PathEntry<'a> {
    path: &'a str,
    #[serde(borrow)]
    info: BTreeMap<&'a str, &'a RawValue>,
}

/// Returns the list in a gzip-compressed description.
fn read_list(description: &[u8]) -> Option<String> {
    let mut text = String::new();
    GzDecoder::new(description).read_to_string(&mut text).ok()?;
    Some(text[text.find('[')?..=text.rfind(']')?].into())
}

/// Returns the parts of the description of a release, from that of 9.2.
pub(crate) fn parse_description(description: &[u8], release: Release) -> Vec<DescribedPath> {
    let list = read_list(description).unwrap_or_else(|| "[]".into());
    let mut paths: Vec<DescribedPath> = serde_json::from_str(&list).unwrap_or_default();
    if release == Release::Pve8 {
        paths.retain(|path| !is_new(&path.path));
        paths.iter_mut().for_each(|path| downgrade(&path.path, &mut path.info));
    }
    paths
}

/// Returns the gzip-compressed script with these parts.
pub(crate) fn compress_description(paths: &[DescribedPath]) -> Vec<u8> {
    let list: Value = paths.iter().map(|path| json!({"path": path.path, "info": path.info})).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    write!(encoder, "const apiSchema = {list};").expect("a Vec accepts every write");
    encoder.finish().expect("a Vec accepts every write")
}

impl Description {
    /// Creates the description of a release from that of 9.2.
    pub(crate) fn new(description: &'static [u8], release: Release) -> Self {
        // Unit tests make thousands of such calls.
        if release == Release::Pve9 && !cfg!(test) {
            Self::Compressed(description)
        } else {
            Self::Parsed(parse_description(description, release))
        }
    }

    /// Finds the operation of a request.
    pub(crate) fn find_operation(&self, method: &str, segments: &[String]) -> Option<DescribedOperation> {
        match self {
            Self::Parsed(paths) => {
                let matching = paths.iter().filter_map(|path| {
                    let (path_params, literals) = match_template(&path.path, segments)?;
                    Some((literals, path_params, path.info.get(method)?))
                });
                let (_, path_params, info) = matching.max_by_key(|(literals, ..)| *literals)?;
                Some(DescribedOperation { info: info.clone(), path_params })
            }
            Self::Compressed(bytes) => {
                let list = read_list(bytes)?;
                let paths: Vec<PathEntry<'_>> = serde_json::from_str(&list).ok()?;
                let matching = paths.iter().filter_map(|path| {
                    let (path_params, literals) = match_template(path.path, segments)?;
                    Some((literals, path_params, path.info.get(method)?))
                });
                let (_, path_params, info) = matching.max_by_key(|(literals, ..)| *literals)?;
                Some(DescribedOperation { info: serde_json::from_str(info.get()).ok()?, path_params })
            }
        }
    }
}

/// Returns the parameters in a path that fits the template, and the number of its literal segments.
fn match_template(template: &str, segments: &[String]) -> Option<(RequestParams, usize)> {
    let mut params = RequestParams::new();
    let (mut rest, mut literals) = (segments, 0);
    for part in template.split('/').filter(|part| !part.is_empty()) {
        let (first, others) = rest.split_first()?;
        rest = others;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            // The name of a volume and a network are the rest of the path.
            Some(name @ ("volume" | "cidr")) => {
                params.insert(name.into(), segments[segments.len() - others.len() - 1..].join("/").into());
                rest = &[];
            }
            Some(name) => drop(params.insert(name.into(), first.as_str().into())),
            None if part == first => literals += 1,
            None => return None,
        }
    }
    rest.is_empty().then_some((params, literals))
}

impl DescribedOperation {
    /// Fails unless the caller has the privileges that the operation requires.
    pub(crate) fn check_access(&self, state: &ClusterState, caller: &Caller, params: &RequestParams) -> ApiResult<()> {
        let permissions = &self.info["permissions"];
        match (permissions["user"].as_str(), &permissions["check"]) {
            (None, Value::Null) if caller.id == "root@pam" => Ok(()),
            (None, Value::Null) => Err(ApiError::Forbidden("user != root@pam".into())),
            (Some(_), Value::Null) => Ok(()),
            (_, rule) => self.check_rule(state, caller, params, rule),
        }
    }

    /// Returns true if the operation refuses API tokens.
    pub(crate) fn refuses_tokens(&self) -> bool {
        matches!(&self.info["allowtoken"], Value::Bool(false)) || self.info["allowtoken"] == 0
    }

    /// Returns true if the privileged daemon performs the operation.
    pub(crate) fn is_protected(&self) -> bool {
        self.info["protected"] == true || self.info["protected"] == 1
    }

    fn check_rule(&self, state: &ClusterState, caller: &Caller, params: &RequestParams, rule: &Value) -> ApiResult<()> {
        let rules = || rule.as_array().into_iter().flatten().skip(1);
        match rule[0].as_str() {
            Some("and") => rules().try_for_each(|rule| self.check_rule(state, caller, params, rule)),
            Some("or") if rules().any(|rule| self.check_rule(state, caller, params, rule).is_ok()) => Ok(()),
            Some("or") => Err(ApiError::Forbidden(String::new())),
            Some("perm") => {
                let path = fill_path(rule[1].as_str().unwrap_or_default(), &self.path_params, params);
                let privileges: Vec<&str> =
                    rule[2].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let lacks = |privilege: &&&str| !has_privilege(state, caller, &path, privilege);
                let lacking = match rule[3] == "any" {
                    true if privileges.iter().all(|privilege| lacks(&privilege)) => privileges.join("|"),
                    true => return Ok(()),
                    false => match privileges.iter().find(lacks) {
                        Some(privilege) => (*privilege).into(),
                        None => return Ok(()),
                    },
                };
                Err(ApiError::Forbidden(format!("{path}, {lacking}")))
            }
            // The handlers check the other rules.
            _ => Ok(()),
        }
    }

    /// Checks the parameters of a request as [`crate::parameters::validate`] does.
    pub(crate) fn validate(&self, request: RequestParams) -> ApiResult<RequestParams> {
        let parameters = &self.info["parameters"];
        let kind = |name: &str| request.get(name).map(value_text);
        let mut properties = BTreeMap::new();
        add_properties(parameters, &kind, &mut properties);
        let takes_any = parameters["additionalProperties"] == 1;
        let check = |key: &str, value: Value| {
            let family = || properties.iter().find(|(name, _)| Parameter::is_family_member(name, key));
            match properties.get(key).or_else(|| family().map(|(_, schema)| schema)) {
                Some(schema) => check_described(schema, value),
                None if takes_any => Ok(value),
                None => Err(UNKNOWN_PARAMETER.into()),
            }
        };
        let required = properties.iter().filter(|(_, schema)| schema["optional"] != 1).map(|(name, _)| *name);
        validate_with(&self.path_params, request.clone(), check, required)
    }
}

/// Adds the properties of a schema: its own, those of all parts of `allOf`, and those of the form of `oneOf` that the
/// type property selects.
fn add_properties<'v>(
    schema: &'v Value,
    kind: &impl Fn(&str) -> Option<String>,
    properties: &mut BTreeMap<&'v str, &'v Value>,
) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        properties.insert(name, property);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        add_properties(part, kind, properties);
    }
    let Some(type_property) = schema["type-property"].as_str() else { return };
    properties.insert(type_property, &schema["type-property-schema"]);
    let selected = kind(type_property);
    for form in schema["oneOf"].as_array().into_iter().flatten() {
        if form["instance-type"].as_str() == selected.as_deref() {
            add_properties(form, kind, properties);
        }
    }
}

/// Replaces the parameters of an access path. An empty path is one on which no caller has a privilege.
pub(crate) fn fill_path(template: &str, path_params: &RequestParams, params: &RequestParams) -> String {
    let fill_part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(name) => path_params.get(name).or_else(|| params.get(name)).map_or_else(String::new, value_text),
        None => part.into(),
    };
    let path = template.split('/').map(fill_part).collect::<Vec<String>>().join("/");
    let is_valid = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if is_valid { path } else { String::new() }
}

/// Checks a value by the schema of its parameter. Returns it as the API keeps it, or the complaint.
fn check_described(schema: &Value, value: Value) -> Result<Value, String> {
    let number = |key: &str, none: i64| {
        let bound = &schema[key];
        bound.as_f64().or_else(|| bound.as_str()?.parse().ok()).map_or(none, |n| n as i64)
    };
    let format = schema["format"].as_str();
    let kind = match schema["type"].as_str() {
        Some("boolean") => Boolean,
        Some("integer") if format == Some("pve-vmid") => Vmid,
        Some("integer") => Integer(number("minimum", MIN), number("maximum", MAX)),
        Some("number") => Number(number("minimum", MIN), number("maximum", MAX)),
        Some("array") => List,
        _ => Text,
    };
    let value = kind.validate(value)?;
    let Value::String(text) = &value else { return Ok(value) };
    if let Some(format) = format {
        check_format(format, text).map_err(|complaint| format!("invalid format - {complaint}\n"))?;
    }
    let length = text.chars().count() as i64;
    if length < number("minLength", 0) {
        return Err(format!("value must be at least {} characters long", number("minLength", 0)));
    }
    if length > number("maxLength", MAX) {
        return Err(format!("value may only be {} characters long", number("maxLength", MAX)));
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        if !words.contains(&text.as_str()) {
            let list = words.join(", ");
            return Err(format!("value '{text}' does not have a value in the enumeration '{list}'"));
        }
    }
    if schema["pattern"].as_str().is_some_and(|pattern| !fits_pattern(pattern, text)) {
        return Err("value does not match the regex pattern".into());
    }
    Ok(value)
}

/// Returns false if the text does not match one of the patterns that the demo knows. It knows no regular expressions.
fn fits_pattern(pattern: &str, text: &str) -> bool {
    let is_identifier = |more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    match pattern {
        "^https?://.*" | "https?://.*" => text.starts_with("http://") || text.starts_with("https://"),
        r"[A-Za-z][A-Za-z0-9\-\_]+" => text.len() > 1 && is_identifier("-_"),
        r"^/dev/[a-zA-Z0-9\/]+$" => text.starts_with("/dev/"),
        r"[a-zA-Z0-9\.\+\_][a-zA-Z0-9\.\+\_\-]+" => text.len() > 1,
        r"(?^:[a-z0-9][-+.a-z0-9:]+)" => text.len() > 1,
        r"^[A-Za-z0-9_.@:-]+$" => {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@:-".contains(c))
        }
        pattern if pattern.starts_with("^(ceph|mon|mds|osd|mgr)") || pattern.contains(":[0-9a-zA-Z") => {
            text.contains(':')
        }
        _ => true,
    }
}
