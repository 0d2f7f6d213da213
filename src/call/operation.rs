//! The operation that a method and a path mean.

use super::plan_error::{PlanError, UnknownMethod, UnknownPath};
use super::spec::CallSpec;
use crate::base::shorten::shorten;
use crate::policy;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::{self, Operation, PathMatch, Schema};
use serde_json::{Map, Value};

/// Returns the operation of a path in the embedded facts.
///
/// The facts determine the risk, but only where the cluster's own schema has the same operation. Any other operation
/// counts as the most dangerous.
pub(super) fn find_embedded_operation(method: Method, path: &ApiPath) -> Option<Operation<'static>> {
    let segments: Vec<_> = path.segments().collect();
    schema::embedded_schema().match_path(&segments).ok().and_then(|found| found.operation(method))
}

/// Returns method and path of a call. search_api and users write the method in front of the path.
pub(super) fn resolve_method<'a>(spec: &CallSpec<'a>) -> Result<(Method, &'a str), PlanError> {
    let (leading, path) = split_leading_method(spec.path);
    match (leading, spec.method) {
        (Some(leading), Some(method)) if leading != method => Err(PlanError::ContradictoryMethod { leading, method }),
        (leading, method) => Ok((method.or(leading).unwrap_or(Method::Get), path)),
    }
}

/// Returns the methods beside GET of a path, where parameters were given and no method.
pub(super) fn other_methods(spec: &CallSpec<'_>, found: &PathMatch<'_>, data: &Map<String, Value>) -> Vec<Method> {
    let has_method = spec.method.is_some() || split_leading_method(spec.path).0.is_some();
    if has_method || data.is_empty() {
        return Vec::new();
    }
    found.operations().map(|operation| operation.method()).filter(|method| *method != Method::Get).collect()
}

/// Splits a method off the front of a path.
pub fn split_leading_method(path: &str) -> (Option<Method>, &str) {
    match path.trim().split_once(char::is_whitespace) {
        Some((word, rest)) if Method::from_name(word).is_some() => (Method::from_name(word), rest.trim()),
        _ => (None, path),
    }
}

/// Returns the part of the API that a path means.
pub fn find_path<'s>(schema: &'s Schema, path: &ApiPath) -> Result<PathMatch<'s>, PlanError> {
    let segments: Vec<_> = path.segments().collect();
    schema.match_path(&segments).map_err(|mismatch| {
        let known: String = segments.iter().take(mismatch.matched_segments).map(|s| format!("/{s}")).collect();
        PlanError::UnknownPath(UnknownPath {
            known: if known.is_empty() { "/".into() } else { known.into() },
            segment: segments.get(mismatch.matched_segments).map(|segment| shorten(segment).into()),
            suggestion: mismatch.suggestion,
            alternatives: mismatch.alternatives,
            is_newer: schema.is_live() && schema::embedded_schema().match_path(&segments).is_ok(),
            elsewhere: find_elsewhere(schema, path),
        })
    })
}

/// Returns the paths below a node and the cluster that end as a path that the API does not have.
fn find_elsewhere(schema: &Schema, path: &ApiPath) -> Option<Box<str>> {
    let segments: Vec<_> = path.segments().collect();
    let has = |top: &&[&str]| {
        let parts: Vec<&str> = top.iter().copied().chain(segments.iter().map(AsRef::as_ref)).collect();
        schema.match_path(&parts).is_ok_and(|found| found.operations().next().is_some())
    };
    let tops = [&["nodes", "{node}"][..], &["cluster"]].into_iter().filter(|top| !segments.is_empty() && has(top));
    let paths: Vec<String> = tops.map(|top| format!("/{}{}", top.join("/"), shorten(path.as_str()))).collect();
    (!paths.is_empty()).then(|| paths.join(" or ").into())
}

/// Returns the operation of a method on a path.
pub fn find_operation<'s>(found: &PathMatch<'s>, path: &ApiPath, method: Method) -> Result<Operation<'s>, PlanError> {
    found.operation(method).ok_or_else(|| {
        let children = if method == Method::Get { &[][..] } else { &found.children };
        PlanError::UnknownMethod(UnknownMethod {
            path: path.to_string(),
            method,
            available: found.operations().map(|o| format!("{} ({})", o.method(), o.summary())).collect(),
            children: children.iter().map(|child| (*child).to_owned()).collect(),
        })
    })
}

/// Adds the parameters of a path's query to the data. A parameter that repeats becomes a list.
pub(super) fn join_query(data: &mut Map<String, Value>, query: &ApiParams) -> Result<(), PlanError> {
    if let Some((duplicate, _)) = query.iter().find(|(name, _)| data.contains_key(*name)) {
        return Err(PlanError::DuplicateParameter(shorten(duplicate).into_owned()));
    }
    for (name, value) in query.iter() {
        match data.get_mut(name) {
            None => drop(data.insert(name.into(), value.into())),
            Some(Value::Array(list)) => list.push(value.into()),
            Some(single) => *single = Value::Array(vec![single.take(), value.into()]),
        }
    }
    Ok(())
}

/// Completes a path that starts at a guest (`/qemu/web01/config`) or at a task.
pub fn expand_shorthand(path: &ApiPath) -> Result<ApiPath, PlanError> {
    let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    let Some(topic) = segments.first().filter(|_| segments.len() > 1).and_then(|first| policy::expand_shorthand(first))
    else {
        return Ok(path.clone());
    };
    segments.splice(0..1, ["nodes", "{node}", topic].map(str::to_owned));
    build_path(&segments)
}

/// Parses a path that may have placeholders, and its query.
pub fn parse_path(typed: &str) -> Result<(ApiPath, ApiParams), PlanError> {
    Ok(ApiPath::parse_template(typed)?)
}

/// Builds a path from decoded segments.
pub(super) fn build_path(segments: &[String]) -> Result<ApiPath, PlanError> {
    Ok(ApiPath::from_segments(segments)?)
}
