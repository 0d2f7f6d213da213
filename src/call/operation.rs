//! Which operation is meant by what was typed: method and path, with what is there where it is none.

use crate::call::plan::CallSpec;
use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::{self, Operation, PathMatch, PathMismatch, Schema};
use serde_json::{Map, Value};
use std::fmt::Write;

/// The operation of a path in the facts of this program. They say what it can do, and only where they find the same one
/// there as the cluster's own schema: whatever else it may be is as dangerous as can be.
pub(crate) fn find_embedded_operation(method: Method, path: &ApiPath) -> Option<Operation<'static>> {
    let segments: Vec<_> = path.segments().collect();
    schema::embedded_schema().match_path(&segments).ok().and_then(|found| found.operation(method))
}

/// How, and where: search_api and people write the method in front of the path.
pub(crate) fn resolve_method(typed: &str, given: Option<Method>) -> Result<(Method, &str), String> {
    let (leading, typed) = split_leading_method(typed);
    match (leading, given) {
        (Some(leading), Some(method)) if leading != method => {
            Err(format!("the path starts with {leading}, but the method is {method}"))
        }
        (leading, method) => Ok((method.or(leading).unwrap_or(Method::Get), typed)),
    }
}

/// What to say where parameters were given and no method.
pub(crate) fn hint_missing_method(spec: &CallSpec<'_>, found: &PathMatch<'_>, data: &Map<String, Value>) -> String {
    let others: Vec<&str> = found.operations().map(|o| o.method().as_str()).filter(|m| *m != "GET").collect();
    if spec.method.is_some() || split_leading_method(spec.path).0.is_some() || others.is_empty() || data.is_empty() {
        return String::new();
    }
    format!(". No method was given, which means GET; this path also has {}", others.join(", "))
}

/// A method in front of a path, as search_api writes it.
pub(crate) fn split_leading_method(typed: &str) -> (Option<Method>, &str) {
    match typed.trim().split_once(char::is_whitespace) {
        Some((word, rest)) if Method::from_name(word).is_some() => (Method::from_name(word), rest.trim()),
        _ => (None, typed),
    }
}

/// What is on a path. The error says where it leaves the API, and what is there.
pub(crate) fn find_path<'s>(schema: &'s Schema, path: &ApiPath) -> Result<PathMatch<'s>, String> {
    let segments: Vec<_> = path.segments().collect();
    schema.match_path(&segments).map_err(
        |PathMismatch { matched_segments: known, suggestion: meant, alternatives: there }| {
            let before: String = segments.iter().take(known).map(|s| format!("/{s}")).collect();
            let before = if before.is_empty() { "/" } else { &before };
            let mut text = match segments.get(known) {
                Some(segment) => {
                    let segment: String = segment.chars().take(64).collect();
                    format!("there is no `{segment}` below {before} in the API")
                }
                None => format!("{before} alone is nothing that can be called"),
            };
            if let Some(meant) = meant {
                let _ = write!(text, "; did you mean `{meant}`");
            }
            if there.is_empty() {
                text.push_str(", nor anything else");
            } else {
                let _ = write!(text, "; there is {}", there.join(", "));
            }
            text + ". search_api finds operations by plain words"
        },
    )
}

/// The operation of a method. The error names those that are there.
pub(crate) fn find_operation<'s>(
    found: &PathMatch<'s>,
    path: &ApiPath,
    method: Method,
) -> Result<Operation<'s>, String> {
    found.operation(method).ok_or_else(|| {
        let there: Vec<String> = found.operations().map(|o| format!("{} ({})", o.method(), o.summary())).collect();
        let below = if found.children.is_empty() || method == Method::Get {
            String::new()
        } else {
            format!("; below it are {}", found.children.join(", "))
        };
        format!("{path} has no {method}, it has {}{below}", there.join(", "))
    })
}

/// Puts the parameters of a path's query among the data; one that repeats is a list.
pub(crate) fn join_query(data: &mut Map<String, Value>, query: &ApiParams) -> Result<(), String> {
    if let Some((twice, _)) = query.iter().find(|(name, _)| data.contains_key(*name)) {
        return Err(format!("`{twice}` is given twice, in the path's query and beside the path: give it once"));
    }
    for (name, value) in query.iter() {
        match data.get_mut(name) {
            None => drop(data.insert(name.into(), value.into())),
            Some(Value::Array(list)) => list.push(value.into()),
            Some(one) => *one = Value::Array(vec![one.take(), value.into()]),
        }
    }
    Ok(())
}
