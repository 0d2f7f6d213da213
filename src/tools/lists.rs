//! `list_nodes` and `get_cluster_resources`: Proxmox's own lists as tables.

use super::definition::{OutputTrust, ToolCall, ToolDefinition};
use super::errors::read_failed;
use super::parameters::{CLUSTER_OR_ALL, optional};
use crate::call::{ClusterHandle, fan_out};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::pve::knowledge::answers::KnownAnswer;
use crate::pve::params::ApiParams;
use crate::render::cluster_errors::{AllClustersFailed, ErrorText};
use crate::render::list::RenderedList;
use crate::render::resources::{ClusterRows, render_nodes, render_resources};

/// `list_nodes(cluster?)`.
pub(super) const LIST_NODES: ToolDefinition = ToolDefinition {
    name: "list_nodes",
    title: "List nodes",
    description: "The nodes (hosts) of a cluster, or of every cluster: status, CPU, memory, root disk, uptime.",
    parameters: &[CLUSTER_OR_ALL],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    handler: list_nodes,
};

fn list_nodes(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    query_clusters(call, "/nodes", &ApiParams::new(), render_nodes)
}

/// `get_cluster_resources(cluster?, type?)`.
pub(super) const GET_CLUSTER_RESOURCES: ToolDefinition = ToolDefinition {
    name: "get_cluster_resources",
    title: "Get cluster resources",
    description: "Everything a cluster (or every cluster) runs: VMs (qemu/<vmid>), containers (lxc/<vmid>), nodes, \
        storages, pools, with state and use, under a summary of guests, CPU, memory and storage.",
    parameters: &[
        CLUSTER_OR_ALL,
        optional(
            "type",
            ParameterKind::Choice(&["vm", "node", "storage", "sdn"]),
            "only these; vm means VMs and containers; leave it out for everything, pools included",
        ),
    ],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    handler: get_cluster_resources,
};

fn get_cluster_resources(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let mut params = ApiParams::new();
    // (PVE 9: networks have the type `network`, and come without a filter only.)
    if let Some(kind) = call.args.text("type").filter(|kind| *kind != "sdn") {
        params.push("type", kind);
    }
    query_clusters(call, "/cluster/resources", &params, render_resources)
}

/// Reads a list of the clusters in parallel and renders the rows.
fn query_clusters(
    call: &ToolCall<'_>,
    path: &'static str,
    params: &ApiParams,
    render: fn(&[ClusterRows<'_>]) -> Result<RenderedList, AllClustersFailed>,
) -> Result<ToolOutput, ToolError> {
    let clusters = call.scope.select_all(call.args.text("cluster"))?;
    let kind = call.args.text("type");
    let answer_kind = KnownAnswer::of_path(path, kind == Some("sdn"));
    let answers = fan_out(&clusters, clusters.len(), |cluster: &ClusterHandle<'_>| {
        let response = cluster.read_list(path, params).map_err(|error| read_failed(cluster, &error))?;
        Ok(answer_kind.correct(response))
    });
    let rows: Vec<_> = clusters
        .iter()
        .zip(&answers)
        .map(|(cluster, answer)| ClusterRows {
            name: cluster.name(),
            label: cluster.label(),
            rows: answer.as_ref().map(|response| response.data()).map_err(ErrorText::clone),
            missing_privileges: match answer {
                Ok(response) if response.data() == "[]" => cluster.find_missing_privileges(path, "", kind),
                _ => None,
            },
        })
        .collect();
    Ok(render(&rows)?.into())
}
