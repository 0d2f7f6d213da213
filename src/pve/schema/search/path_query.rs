//! Queries that are a path, a part of a path, or the name of an operation in Proxmox's code.

use crate::pve::method::Method;
use crate::pve::schema::model::{Operation, SchemaModel};

/// Order of operations that a query names by a path. The smallest fits best.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PathRank {
    distance: usize,
    is_container: bool,
    depth: usize,
    has_other_method: bool,
    index: usize,
}

/// Returns the indexes of the operations that a query names by path or name, the best first. A query of words names
/// none.
pub(super) fn find_named(model: &SchemaModel, query: &str) -> Vec<usize> {
    let (method, rest) = split_method(query);
    if rest.contains(char::is_whitespace) {
        return Vec::new();
    }
    if rest.contains('/') {
        return find_by_path(model, method, rest);
    }
    // Names of one word (`index`, `status`) belong to many operations.
    if !rest.contains('_') {
        return Vec::new();
    }
    let named = model.operations().enumerate().filter(|(_, operation)| operation.name().eq_ignore_ascii_case(rest));
    let mut named: Vec<(bool, usize)> = named.map(|(index, operation)| (is_container(&operation), index)).collect();
    named.sort();
    named.into_iter().map(|(_, index)| index).collect()
}

fn split_method(query: &str) -> (Option<Method>, &str) {
    let (first, rest) = query.split_once(char::is_whitespace).unwrap_or(("", query));
    match Method::from_name(first) {
        Some(method) => (Some(method), rest.trim()),
        None => (None, query),
    }
}

fn find_by_path(model: &SchemaModel, method: Option<Method>, path: &str) -> Vec<usize> {
    let path = path.split(['?', '#']).next().expect("a split has a first part");
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    if let ["api2", _, rest @ ..] = segments.as_slice() {
        segments = rest.to_vec();
    }
    let exact = model.match_path(&segments).ok().and_then(|found| found.operations().next().map(|o| o.template()));
    let mut ranks = Vec::new();
    for (index, operation) in model.operations().enumerate() {
        let template: Vec<&str> = operation.template().split('/').filter(|s| !s.is_empty()).collect();
        let is_exact = exact == Some(operation.template());
        if let Some(distance) = if is_exact { Some(0) } else { path_distance(&template, &segments) } {
            ranks.push(PathRank {
                distance,
                is_container: is_container(&operation),
                depth: template.len(),
                has_other_method: method.is_some_and(|method| method != operation.method()),
                index,
            });
        }
    }
    ranks.sort();
    ranks.into_iter().map(|rank| rank.index).collect()
}

/// Returns whether an operation belongs to containers, which come after VMs.
fn is_container(operation: &Operation<'_>) -> bool {
    operation.template().starts_with("/nodes/{node}/lxc")
}

/// Returns the distance of a template from a part of a path that it contains: 0 if the part is the whole template.
fn path_distance(template: &[&str], part: &[&str]) -> Option<usize> {
    // A part that starts with a value fits too many templates.
    let start = template.windows(part.len().max(1)).position(|window| {
        let is_literal = window.first().zip(part.first()).is_some_and(|(segment, typed)| segment == typed);
        is_literal && window.iter().zip(part).all(|(segment, typed)| matches_segment(segment, typed))
    })?;
    let after = template.len().saturating_sub(start + part.len());
    // A template that ends with the part comes before one that continues.
    Some(usize::from(start > 0) + after * 2)
}

fn matches_segment(segment: &str, typed: &str) -> bool {
    let is_parameter = segment.starts_with('{');
    let is_number = typed.bytes().all(|c| c.is_ascii_digit());
    segment.eq_ignore_ascii_case(typed)
        || is_parameter && (typed.starts_with(['{', '<', ':']) || (segment != "{vmid}" || is_number))
}
