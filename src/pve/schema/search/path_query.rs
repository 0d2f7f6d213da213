//! Questions that are a path, or a piece of one, or the name an operation has in Proxmox's code.

use super::super::{Method, Schema};

/// The operations that a question names outright, the nearest first; none where it is made of words.
pub(super) fn find_named(schema: &Schema, query: &str) -> Vec<u16> {
    let (method, rest) = split_method(query);
    if rest.contains(char::is_whitespace) {
        return Vec::new();
    }
    if rest.contains('/') {
        return find_by_path(schema, method, rest);
    }
    // Names of one word (`index`, `status`) are many operations' and say nothing.
    if !rest.contains('_') {
        return Vec::new();
    }
    let same = schema.operations().enumerate().filter(|(_, o)| o.name().eq_ignore_ascii_case(rest));
    let mut named: Vec<(bool, u16)> = same.map(|(at, o)| (is_container_path(o.template()), at as u16)).collect();
    named.sort();
    named.into_iter().map(|(_, at)| at).collect()
}

fn split_method(query: &str) -> (Option<Method>, &str) {
    let (first, rest) = query.split_once(char::is_whitespace).unwrap_or(("", query));
    match Method::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(first)) {
        Some(method) => (Some(method), rest.trim()),
        None => (None, query),
    }
}

fn find_by_path(schema: &Schema, method: Option<Method>, path: &str) -> Vec<u16> {
    let path = path.split(['?', '#']).next().unwrap_or("");
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    if let ["api2", _, rest @ ..] = segments.as_slice() {
        segments = rest.to_vec();
    }
    let here = schema.match_path(&segments).ok().and_then(|found| found.operations().next().map(|o| o.template()));
    let mut near: Vec<(usize, bool, usize, bool, usize)> = Vec::new();
    for (at, operation) in schema.operations().enumerate() {
        let template: Vec<&str> = operation.template().split('/').filter(|s| !s.is_empty()).collect();
        let distance = if here == Some(operation.template()) { Some(0) } else { path_distance(&template, &segments) };
        if let Some(distance) = distance {
            let twin = is_container_path(operation.template());
            near.push((distance, twin, template.len(), method.is_some_and(|m| m != operation.method()), at));
        }
    }
    near.sort();
    near.into_iter().map(|(.., at)| at as u16).collect()
}

/// Containers come after VMs.
fn is_container_path(template: &str) -> bool {
    template.starts_with("/nodes/{node}/lxc")
}

/// How far a template is from a piece of a path that it holds: 0 where the piece is its end from the first segment on.
fn path_distance(template: &[&str], piece: &[&str]) -> Option<usize> {
    // A piece that starts with a value says too little.
    let starts = template.windows(piece.len().max(1)).position(|part| {
        let literal = part.first().zip(piece.first()).is_some_and(|(segment, given)| segment == given);
        literal && part.iter().zip(piece).all(|(segment, given)| matches_segment(segment, given))
    })?;
    let after = template.len().saturating_sub(starts + piece.len());
    // What ends with the piece comes before what goes on after it.
    Some(usize::from(starts > 0) + after * 2)
}

fn matches_segment(segment: &str, given: &str) -> bool {
    let parameter = segment.starts_with('{');
    let number = given.bytes().all(|c| c.is_ascii_digit());
    segment.eq_ignore_ascii_case(given)
        || parameter && (given.starts_with(['{', '<', ':']) || (segment != "{vmid}" || number))
}
