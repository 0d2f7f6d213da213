//! `list_clusters`: the configured clusters, and on request whether they answer.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading, mark_untrusted};
use super::errors::read_failed;
use super::parameters::optional;
use crate::base::json_scan::{find_string, walk};
use crate::call::{ClusterHandle, LookupError, fan_out};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::pve::token_privileges::TokenPrivileges;
use crate::render::cluster_errors::{ErrorText, ReadFailure};
use crate::render::clusters::{ClusterCheck, ClusterHealth, describe_address, render_clusters};

/// `list_clusters(check?)`.
pub(super) const LIST_CLUSTERS: ToolDefinition = ToolDefinition {
    name: "list_clusters",
    title: "List clusters",
    description: "The configured Proxmox VE clusters: name, node addresses, API token, TLS mode, which is the default, \
        and the access. With check: also whether each answers, its version, the nodes online, and the state of each address.",
    parameters: &[optional("check", ParameterKind::Flag, "ask every cluster now (default: false, no network)")],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Trusted,
    loading: ToolLoading::OnDemand { search_hint: "Proxmox PVE clusters servers reachable version which" },
    is_paged: false,
    handler: list_clusters,
};

fn list_clusters(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let list = match call.args.flag("check") {
        false if call.list_form().admits(call.scope.listing()) => call.scope.listing().clone(),
        false => {
            let clusters = call.scope.all_clusters();
            render_clusters(clusters.iter().map(|cluster| cluster.listing_entry(None)), call.list_form())
        }
        true => {
            let clusters = call.scope.all_clusters();
            let checks = fan_out(&clusters, clusters.len(), check_cluster);
            render_clusters(
                clusters.iter().zip(checks).map(|(cluster, check)| cluster.listing_entry(Some(check))),
                call.list_form(),
            )
        }
    };
    let mut output = ToolOutput::from(list);
    match call.args.flag("check") {
        // The version and the errors are words of the clusters.
        true => mark_untrusted(&mut output),
        false => output.notes.push(call.scope.describe_rights()),
    }
    Ok(output)
}

fn check_cluster(cluster: &ClusterHandle<'_>) -> ClusterCheck {
    let health = fetch_health(cluster).map_err(|error| match error {
        HealthError::Lookup(error) => read_failed(cluster, &error),
        error @ HealthError::UnexpectedAnswer(_) => {
            ReadFailure { error: ErrorText(error.to_string()), kind: error.to_string() }
        }
    });
    ClusterCheck { access: cluster.describe_rights(), addresses: describe_addresses(cluster), health }
}

/// Describes each address of a cluster with several, and each node that it named and that does not answer.
fn describe_addresses(cluster: &ClusterHandle<'_>) -> Vec<String> {
    let mut lines: Vec<String> = match cluster.check_addresses() {
        Ok(checks) => checks.into_iter().map(|check| cluster.redact(describe_address(&check))).collect(),
        Err(error) => vec![format!("not asked: {error}")],
    };
    lines.extend(cluster.unreachable_discovered_nodes());
    lines
}

/// The reason why the health of a cluster is not known.
#[derive(Debug, thiserror::Error)]
enum HealthError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("the answer to GET {0} is not as Proxmox returns it")]
    UnexpectedAnswer(&'static str),
}

fn fetch_health(cluster: &ClusterHandle<'_>) -> Result<ClusterHealth, HealthError> {
    let version = cluster.read("/version")?;
    let version = find_string(version.data(), "version").ok_or(HealthError::UnexpectedAnswer("/version"))?;
    let (mut online_nodes, mut nodes) = (0, 0);
    let answer = cluster.read("/nodes")?;
    let is_list_of_objects = walk(answer.data(), &mut |_, row| {
        if row == "null" {
            return true;
        }
        nodes += 1;
        online_nodes += usize::from(find_string(row, "status").is_some_and(|status| status == "online"));
        row.starts_with('{')
    });
    if !is_list_of_objects {
        return Err(HealthError::UnexpectedAnswer("/nodes"));
    }
    let privileges = cluster.read("/access/permissions").ok();
    let privileges = privileges.and_then(|answer| TokenPrivileges::parse(answer.data()));
    let has_privileges = privileges.is_none_or(|privileges| !privileges.is_empty());
    Ok(ClusterHealth { version: version.into_owned(), online_nodes, nodes, has_privileges })
}
