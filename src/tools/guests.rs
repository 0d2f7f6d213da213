//! `find_guest`: the location of a guest, by any of its properties.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading};
use super::errors::read_failed;
use super::parameters::{CLUSTER_OR_ALL, required};
use crate::call::{ClusterHandle, fan_out};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::pve::guests::{self, Guest, GuestSearchTexts};
use crate::render::cluster_errors::{ClusterErrors, ClusterFailure, ReadFailure};
use crate::render::guests::{ListedGuest, render_matches};
use crate::sanitize;
use std::borrow::Cow;
use std::collections::HashMap;

/// The most characters of a query. Names have 63 at most, tags 124.
const MAX_QUERY_CHARS: usize = 200;

/// `find_guest(query, cluster?)`.
pub(super) const FIND_GUEST: ToolDefinition = ToolDefinition {
    name: "find_guest",
    title: "Find a guest",
    description: "Finds VMs and containers by number, name or a part of it, tag, pool, \
        node, type (vm, ct) or state; of several words all must fit. Best first, at most 50, each with the API path for \
        the next call, such as /nodes/pve1/qemu/100.",
    parameters: &[required("query", ParameterKind::Words, "such as 100, web, or \"ct prod running\""), CLUSTER_OR_ALL],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::Always,
    is_paged: false,
    handler: find_guest,
};

fn find_guest(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let query = call.args.text("query").expect("a required parameter").trim().to_lowercase();
    if query.is_empty() || query.chars().nth(MAX_QUERY_CHARS).is_some() {
        return Err(call.reject(format_args!(
            "query must have 1 to {MAX_QUERY_CHARS} characters: a guest's number, or a part of its name; \
             get_cluster_resources lists all"
        )));
    }
    let clusters = call.scope.select_all(call.args.text("cluster"))?;
    let answers = fan_out(&clusters, clusters.len(), |cluster: &ClusterHandle<'_>| -> Result<_, ReadFailure> {
        let guests = cluster.read_guests().map_err(|error| read_failed(cluster, &error))?;
        // The list has some names late.
        let is_open = cluster.has_late_names(&guests) && !has_match(&guests, &query, cluster.needs_redaction());
        let names = if is_open { cluster.read_missing_names(&guests) } else { HashMap::new() };
        Ok((guests, names))
    });
    let mut failures = ClusterErrors::new();
    let mut all = Vec::new();
    for (cluster_index, (cluster, answer)) in clusters.iter().zip(&answers).enumerate() {
        match answer {
            Ok((guests, names)) => {
                let needs_redaction = cluster.needs_redaction();
                let cluster = cluster.name();
                all.extend(guests.iter().map(|guest| {
                    let mut guest = Cow::Borrowed(guest);
                    if let Some(name) = names.get(&guest.vmid) {
                        guest.to_mut().name.clone_from(name);
                    }
                    if needs_redaction {
                        redact_guest(&mut guest);
                    }
                    ListedGuest { cluster_index, cluster, guest }
                }));
            }
            Err(failure) => {
                failures.push(ClusterFailure {
                    name: cluster.name(),
                    label: cluster.label(),
                    failure: failure.clone(),
                });
            }
        }
    }
    Ok(render_matches(&query, &all, &failures, clusters.len(), call.list_form())?.into())
}

/// Returns whether a guest matches every word of the query, also without secrets if they are removed.
fn has_match(guests: &[Guest], query: &str, needs_redaction: bool) -> bool {
    let words = guests::sort_words(query.split_whitespace());
    let fits = |guest: &Guest| GuestSearchTexts::new(guest).rank_all(&words).is_some();
    guests.iter().filter(|guest| fits(guest)).any(|guest| {
        let mut guest = Cow::Borrowed(guest);
        if needs_redaction {
            redact_guest(&mut guest);
        }
        fits(&guest)
    })
}

/// Removes secrets from a guest's texts before the search, which could otherwise be used to guess them.
fn redact_guest(guest: &mut Cow<'_, Guest>) {
    let Guest { name, node, status, tags, pool, lock, .. } = &**guest;
    let is_clean = |text: &String| matches!(sanitize::redact_text(text), Cow::Borrowed(_));
    if [name, node, status, tags, pool, lock].into_iter().all(is_clean) {
        return;
    }
    let Guest { name, node, status, tags, pool, lock, .. } = guest.to_mut();
    for text in [name, node, status, tags, pool, lock] {
        *text = sanitize::redact_text(text).into_owned();
    }
}
