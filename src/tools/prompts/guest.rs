//! The guest of a prompt: found on the caller's clusters, and read.

use super::{MAX_CONCURRENT_CLUSTERS, PromptCall, invalid_argument};
use crate::base::hint::render_error;
use crate::call::{ClusterHandle, fan_out};
use crate::mcp::catalog::ToolError;
use crate::pve::guests::{FindGuestError, Guest, find_guest};
use crate::pve::inventory::Inventory;
use crate::render::cluster_errors::{ErrorText, prefix_cluster};
use crate::render::guest_report::{GuestFacts, PendingChange};
use crate::tools::facts::{FactReader, Lookup, object, rows};

/// A guest that one cluster of the caller has.
pub(super) struct FoundGuest<'a> {
    pub(super) cluster: ClusterHandle<'a>,
    guest: Guest,
    inventory: Inventory,
    /// Clusters that could not be searched.
    unsearched: Vec<String>,
}

/// Finds the guest that the arguments name, on the named cluster or on all clusters of the caller.
pub(super) fn find_prompt_guest<'a>(call: &PromptCall<'a>) -> Result<FoundGuest<'a>, ToolError> {
    let query = call.text("guest").expect("a required argument");
    let (clusters, rest) = call.select_clusters()?;
    let answers = fan_out(&clusters, MAX_CONCURRENT_CLUSTERS, |cluster| {
        let mut inventory = FactReader { cluster, deadline: call.deadline }.read_inventory()?;
        let mut guest = find_guest(&inventory.guests, query).cloned();
        if matches!(guest, Err(FindGuestError::Unknown { .. })) {
            // The list has some names late.
            let names = cluster.read_missing_names(&inventory.guests);
            for guest in &mut inventory.guests {
                if let Some(name) = names.get(&guest.vmid) {
                    guest.name.clone_from(name);
                }
            }
            guest = find_guest(&inventory.guests, query).cloned();
        }
        Ok::<_, ErrorText>((guest, inventory))
    });
    let mut found: Vec<(usize, Guest, Inventory)> = Vec::new();
    let (mut failures, mut problems) = (Vec::new(), Vec::new());
    let mut unsearched: Vec<String> = rest.iter().map(ToString::to_string).collect();
    for (index, (cluster, answer)) in clusters.iter().zip(answers).enumerate() {
        let describe = |error: &FindGuestError| cluster.redact(prefix_cluster(cluster.label(), &render_error(error)));
        match answer {
            Ok((Ok(guest), inventory)) => found.push((index, guest, inventory)),
            Ok((Err(error @ FindGuestError::Ambiguous { .. }), _)) => return Err(invalid_argument(describe(&error))),
            Ok((Err(error), _)) => problems.push(describe(&error)),
            Err(error) => {
                failures.push(prefix_cluster(cluster.label(), &error));
                unsearched.push(cluster.name().to_owned());
            }
        }
    }
    if found.len() > 1 {
        let places = found.iter().map(|(index, guest, _)| {
            let place = if guest.node.is_empty() { "an unknown node" } else { &guest.node };
            format!("`{}` ({} on {place})", clusters[*index].name(), guest.id())
        });
        let places: Vec<String> = places.collect();
        let text =
            format!("several clusters have that guest: {}. hint: name the cluster in `cluster`", places.join(", "));
        return Err(invalid_argument(text));
    }
    let Some((index, guest, inventory)) = found.pop() else {
        problems.splice(0..0, failures.iter().cloned());
        let text = problems.join("\n");
        return Err(if failures.is_empty() { invalid_argument(text) } else { ToolError::Failed(text) });
    };
    if guest.node.is_empty() {
        let text = format!("the node of guest {} is not known: the API token needs VM.Audit on /vms", guest.vmid);
        return Err(ToolError::Failed(text));
    }
    let cluster = clusters.into_iter().nth(index).expect("the cluster that has the guest");
    Ok(FoundGuest { cluster, guest, inventory, unsearched })
}

/// Reads the guest and its cluster.
pub(super) fn read_guest(reader: &FactReader<'_>, found: &FoundGuest<'_>) -> GuestFacts {
    let FoundGuest { guest, inventory, unsearched, .. } = found;
    let lookup = |rest: &[&str]| Lookup::guest(&guest.node, guest.kind.as_str(), guest.vmid, rest);
    let [status, config, pending, snapshots] = reader.read_all([
        lookup(&["status", "current"]),
        lookup(&["config"]),
        lookup(&["pending"]),
        lookup(&["snapshot"]),
    ]);
    GuestFacts {
        cluster: reader.read_cluster(inventory.clone()),
        status: object(&status),
        config: object(&config),
        pending: rows(&pending, PendingChange::from_row),
        snapshots: rows(&snapshots, |row| Some(row.clone())),
        is_protected: reader.cluster.is_protected(guest),
        unsearched: unsearched.clone(),
        guest: guest.clone(),
    }
}
