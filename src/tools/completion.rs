//! The completion of arguments: clusters, nodes, guests, storages, pools and paths that the caller may see.

use super::facts::{FactReader, Lookup, rows};
use super::resources::PATH_TEMPLATE;
use crate::call::{CallScope, ClusterHandle, expand_shorthand, fan_out};
use crate::mcp::catalog::{CompletionReference, CompletionRequest};
use crate::pve::Method;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::inventory::Inventory;
use crate::pve::path::ApiPath;
use crate::pve::schema::embedded_schema;
use crate::render::cluster_errors::ErrorText;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The time for one completion. A user waits for it between two keys.
const COMPLETION_TIME: Duration = Duration::from_secs(3);

/// The most clusters that are asked for one completion.
const MAX_CLUSTERS: usize = 8;

/// Returns all values that fit an argument, the best first.
pub(super) fn complete(scope: CallScope<'_>, request: &CompletionRequest<'_>) -> Vec<String> {
    let values = match (request.reference, request.argument) {
        (_, "cluster") => scope.all_clusters().iter().map(|cluster| cluster.name().to_owned()).collect(),
        (CompletionReference::Template(PATH_TEMPLATE), "path") => complete_path(scope, request),
        (_, "guest") => merge(read_clusters(scope, request, list_guests)),
        (_, "node") => merge(read_clusters(scope, request, list_nodes)),
        (_, "storage") => merge(read_clusters(scope, request, |reader| list_storages(reader, request))),
        (_, "pool") => merge(read_clusters(scope, request, list_pools)),
        _ => Vec::new(),
    };
    rank(values, request.value)
}

/// Returns the values that contain the text, ignoring case: first those that begin with it, each group in its order.
fn rank(values: Vec<String>, typed: &str) -> Vec<String> {
    let typed = typed.to_lowercase();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for value in values {
        match value.to_lowercase().find(&typed) {
            Some(0) => first.push(value),
            Some(_) => others.push(value),
            None => {}
        }
    }
    first.append(&mut others);
    first
}

fn merge(lists: Vec<Vec<String>>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    lists.into_iter().flatten().filter(|value| is_plain(value) && seen.insert(value.clone())).collect()
}

/// Returns whether a value arrives as it is: an escape of its characters would make it another value.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric())
}

/// Returns the cluster that is chosen already, or all clusters of the caller up to a limit.
fn select_clusters<'a>(scope: CallScope<'a>, request: &CompletionRequest<'_>) -> Vec<ClusterHandle<'a>> {
    let chosen = request.chosen.get("cluster").and_then(Value::as_str).filter(|name| !name.is_empty());
    let mut clusters = scope.select_all(chosen).unwrap_or_else(|error| {
        log::debug!("completion: {error}");
        Vec::new()
    });
    clusters.truncate(MAX_CLUSTERS);
    clusters
}

/// Reads a list of each cluster in parallel. A cluster that fails has no values.
fn read_clusters(
    scope: CallScope<'_>,
    request: &CompletionRequest<'_>,
    list: impl Fn(&FactReader<'_>) -> Result<Vec<String>, ErrorText> + Sync,
) -> Vec<Vec<String>> {
    let clusters = select_clusters(scope, request);
    let deadline = Instant::now() + COMPLETION_TIME;
    fan_out(&clusters, MAX_CLUSTERS, |cluster| {
        list(&FactReader { cluster, deadline }).unwrap_or_else(|error| {
            log::info!("completion on cluster `{}` failed: {error}", cluster.name());
            Vec::new()
        })
    })
}

/// Returns the names of the guests in their order, then the numbers.
fn list_guests(reader: &FactReader<'_>) -> Result<Vec<String>, ErrorText> {
    let inventory = reader.read_inventory()?;
    Ok(guest_values(reader, inventory.guests.iter()))
}

fn guest_values<'g>(reader: &FactReader<'_>, guests: impl Iterator<Item = &'g Guest> + Clone) -> Vec<String> {
    // A name may hold a secret by mistake. A redacted name names no guest.
    let is_shown = |name: &String| reader.cluster.redact(name.clone()) == *name;
    let mut names: Vec<String> = guests.clone().map(|guest| guest.name.clone()).filter(is_shown).collect();
    names.sort();
    names.into_iter().chain(guests.map(|guest| guest.vmid.to_string())).collect()
}

fn list_nodes(reader: &FactReader<'_>) -> Result<Vec<String>, ErrorText> {
    Ok(reader.read_inventory()?.nodes.into_iter().map(|node| node.name).collect())
}

/// Returns the storages, of the chosen node if there is one.
fn list_storages(reader: &FactReader<'_>, request: &CompletionRequest<'_>) -> Result<Vec<String>, ErrorText> {
    let inventory = reader.read_inventory()?;
    Ok(match request.chosen.get("node").and_then(Value::as_str).filter(|node| !node.is_empty()) {
        Some(node) => inventory.storages_on(node).map(|storage| storage.name.clone()).collect(),
        None => inventory.storages.into_iter().map(|storage| storage.name).collect(),
    })
}

fn list_pools(reader: &FactReader<'_>) -> Result<Vec<String>, ErrorText> {
    let mut pools = rows(&reader.read(&Lookup::new(&["pools"])), |row| Some(row.text("poolid")))?;
    pools.sort();
    Ok(pools)
}

/// Returns the paths one step below the typed one that can be read or lead on.
fn complete_path(scope: CallScope<'_>, request: &CompletionRequest<'_>) -> Vec<String> {
    let parent = request.value.rfind('/').map_or("", |end| &request.value[..=end]);
    let Ok((path, _)) = ApiPath::parse_template(parent) else { return Vec::new() };
    let segments: Vec<String> = path.segments().map(|segment| segment.into_owned()).collect();
    let steps = match segments.as_slice() {
        // A path may begin at a guest.
        [kind] if matches!(kind.as_str(), "qemu" | "lxc") => vec!["{vmid}".to_owned()],
        _ => list_steps(&path),
    };
    let mut values = Vec::new();
    for step in &steps {
        if !step.starts_with('{') {
            values.push(format!("{parent}{step}"));
            continue;
        }
        let lists = read_clusters(scope, request, |reader| list_step_values(reader, step, &segments));
        values.extend(merge(lists).into_iter().map(|value| format!("{parent}{value}")));
    }
    values
}

/// Returns the steps below a path, as the embedded facts know them.
fn list_steps(path: &ApiPath) -> Vec<String> {
    let schema = embedded_schema();
    let Ok(path) = expand_shorthand(path) else { return Vec::new() };
    let segments: Vec<String> = path.segments().map(|segment| segment.into_owned()).collect();
    let steps: Vec<String> = match schema.match_path(&segments) {
        Ok(found) => found.children.iter().map(ToString::to_string).collect(),
        Err(mismatch) if mismatch.matched_segments == segments.len() => mismatch.alternatives,
        Err(_) => Vec::new(),
    };
    let can_be_read = |step: &String| {
        let below: Vec<&str> = segments.iter().chain([step]).map(String::as_str).collect();
        schema
            .match_path(&below)
            .map_or(true, |found| found.operation(Method::Get).is_some() || !found.children.is_empty())
    };
    steps.into_iter().filter(can_be_read).collect()
}

/// Returns the names that a cluster has for a variable step below these segments.
fn list_step_values(reader: &FactReader<'_>, step: &str, parent: &[String]) -> Result<Vec<String>, ErrorText> {
    let parent: Vec<&str> = parent.iter().map(String::as_str).collect();
    let inventory = || -> Result<Inventory, ErrorText> { reader.read_inventory() };
    Ok(match (step, parent.as_slice()) {
        ("{node}", _) => list_nodes(reader)?,
        ("{poolid}", _) => list_pools(reader)?,
        ("{vmid}", [.., kind]) => {
            let kind = if *kind == "qemu" { GuestKind::Qemu } else { GuestKind::Lxc };
            let node = (parent.len() > 1).then(|| parent[1]);
            let inventory = inventory()?;
            let is_there = |guest: &&Guest| guest.kind == kind && node.is_none_or(|node| guest.node == node);
            guest_values(reader, inventory.guests.iter().filter(is_there))
        }
        ("{storage}", ["nodes", node, ..]) => {
            inventory()?.storages_on(node).map(|storage| storage.name.clone()).collect()
        }
        ("{storage}", _) => inventory()?.storages.into_iter().map(|storage| storage.name).collect(),
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_begin_with_the_text_come_first() {
        let values = || ["web01", "db-web", "WEB02", "mail", "100"].map(String::from).to_vec();
        for (typed, expected) in [
            ("", &["web01", "db-web", "WEB02", "mail", "100"][..]),
            ("web", &["web01", "WEB02", "db-web"]),
            ("WEB0", &["web01", "WEB02"]),
            ("0", &["web01", "WEB02", "100"]),
            ("x", &[]),
        ] {
            assert_eq!(rank(values(), typed), expected, "{typed}");
        }
    }

    #[test]
    fn steps_can_be_read_or_lead_on() {
        let steps = |path: &str| list_steps(&ApiPath::parse_template(path).expect(path).0);
        let top = steps("/");
        assert!(["nodes", "cluster", "version"].iter().all(|step| top.contains(&(*step).to_owned())), "{top:?}");
        let guest = steps("/nodes/pve1/qemu/100");
        assert!(guest.contains(&"config".to_owned()) && !guest.contains(&"clone".to_owned()), "{guest:?}");
        assert_eq!(steps("/qemu/web01"), guest);
        assert_eq!((steps("/nodes"), steps("/nope"), steps("/version/x")), (vec!["{node}".to_owned()], vec![], vec![]));
    }

    #[test]
    fn values_with_characters_that_would_be_escaped_are_left_out() {
        let lists = vec![vec!["a b".into(), "x\u{202e}y".into(), String::new(), "ä-1".into()], vec!["a b".into()]];
        assert_eq!(merge(lists), ["a b", "ä-1"]);
    }
}
