//! `list_nodes` and `get_cluster_resources`: Proxmox's own lists as tables.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading};
use super::errors::read_failed;
use super::facts::{FactReader, facts_deadline};
use super::parameters::{CLUSTER_OR_ALL, optional};
use crate::call::{ClusterHandle, fan_out};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::pve::knowledge::answers::KnownAnswer;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::parse_list;
use crate::render::cluster_errors::{AllClustersFailed, ErrorText, ReadFailure, prefix_cluster};
use crate::render::health::describe_health;
use crate::render::labels::now_seconds;
use crate::render::list::{ListForm, RenderedList};
use crate::render::overview::{ClusterView, render_overview};
use crate::render::resources::{ClusterRows, is_shown_member, render_nodes, render_resources};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The most clusters whose nodes are asked at once for an overview.
const MAX_CONCURRENT_CLUSTERS: usize = 8;

/// `list_nodes(cluster?)`.
pub(super) const LIST_NODES: ToolDefinition = ToolDefinition {
    name: "list_nodes",
    title: "List nodes",
    description: "The nodes (hosts) of a cluster, or of every cluster: status, CPU, memory, root disk, uptime.",
    parameters: &[CLUSTER_OR_ALL],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::OnDemand { search_hint: "hosts hypervisor CPU memory load uptime Proxmox PVE" },
    is_paged: false,
    handler: list_nodes,
};

fn list_nodes(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    query_clusters(call, "/nodes", &ApiParams::new(), render_nodes)
}

/// `get_cluster_resources(cluster?, type?)`.
pub(super) const GET_CLUSTER_RESOURCES: ToolDefinition = ToolDefinition {
    name: "get_cluster_resources",
    title: "Get cluster resources",
    description: "What a cluster or every cluster runs: VMs, containers, nodes, storages, pools, with state and \
        use, under a summary. Type overview first: what needs attention.",
    parameters: &[
        CLUSTER_OR_ALL,
        optional(
            "type",
            ParameterKind::Choice(&["overview", "vm", "node", "storage", "sdn"]),
            "vm: VMs and containers; default: everything, pools included",
        ),
    ],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::OnDemand { search_hint: "health problems inventory VM container storage pool Proxmox" },
    is_paged: true,
    handler: get_cluster_resources,
};

fn get_cluster_resources(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    if call.args.text("type") == Some("overview") {
        return overview(call);
    }
    let mut params = ApiParams::new();
    // (PVE 9: networks have the type `network`, and come without a filter only.)
    if let Some(kind) = call.args.text("type").filter(|kind| *kind != "sdn") {
        params.push("type", kind);
    }
    query_clusters(call, "/cluster/resources", &params, render_resources)
}

/// Answers with the problems of the clusters. All reads end at one deadline.
fn overview(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let clusters = call.scope.select_all(call.args.text("cluster"))?;
    let deadline = facts_deadline();
    // Every cluster is asked for the most important facts before any is asked for the others.
    let facts = fan_out(&clusters, clusters.len(), |cluster| FactReader { cluster, deadline }.read_health());
    if let Some(Err(ErrorText(error))) = facts.first().filter(|_| facts.iter().all(Result::is_err)) {
        return Err(ToolError::Failed(prefix_cluster(clusters[0].label(), error)));
    }
    let pairs: Vec<_> = clusters.iter().zip(facts.iter()).collect();
    let sections = fan_out(&pairs, MAX_CONCURRENT_CLUSTERS, |(cluster, facts)| {
        let facts = facts.as_ref().ok()?;
        let reader = FactReader { cluster, deadline };
        let (nodes, backups) = (reader.read_nodes(facts), reader.read_backups(facts));
        Some(describe_health(facts, &nodes, &backups))
    });
    let views: Vec<ClusterView<'_>> = clusters
        .iter()
        .zip(facts.into_iter().zip(sections))
        .map(|(cluster, (facts, sections))| ClusterView {
            name: cluster.name(),
            label: cluster.label().filter(|_| clusters.len() > 1),
            state: facts.map(|facts| (facts, sections.unwrap_or_default())),
        })
        .collect();
    Ok(ToolOutput::text(render_overview(&views, now_seconds(), call.list_form().max_bytes)))
}

/// Reads a list of the clusters in parallel and renders the rows.
fn query_clusters(
    call: &ToolCall<'_>,
    path: &'static str,
    params: &ApiParams,
    render: fn(&[ClusterRows<'_>], ListForm) -> Result<RenderedList, AllClustersFailed>,
) -> Result<ToolOutput, ToolError> {
    let clusters = call.scope.select_all(call.args.text("cluster"))?;
    let kind = call.args.text("type");
    let answer_kind = KnownAnswer::of_path(path, kind == Some("sdn"));
    let answers = fan_out(&clusters, clusters.len(), |cluster: &ClusterHandle<'_>| {
        let response = cluster.read_list(path, params, is_shown_member);
        let response = answer_kind.correct(response.map_err(|error| read_failed(cluster, &error))?);
        let missing_privileges = match response.data() {
            "[]" => cluster.find_missing_privileges(path, &ApiPath::from_static(path), kind),
            _ => None,
        };
        let available = match kind {
            Some("storage") if clusters.len() == 1 => read_available(cluster, response.data()),
            _ => HashMap::new(),
        };
        Ok((response, missing_privileges, available))
    });
    let rows: Vec<_> = clusters
        .iter()
        .zip(&answers)
        .map(|(cluster, answer)| ClusterRows {
            name: cluster.name(),
            label: cluster.label(),
            rows: answer.as_ref().map(|(response, ..)| response.data()).map_err(ReadFailure::clone),
            available: answer.as_ref().map(|(.., available)| available.clone()).unwrap_or_default(),
            missing_privileges: answer.as_ref().ok().and_then(|(_, missing, _)| missing.clone()),
        })
        .collect();
    let form = call.list_form();
    let render = || render(&rows, form);
    let list = match &answers[..] {
        // The list of one cluster, made of nothing that was read for this caller alone. Path and type are the answer's.
        [Ok((response, None, available))] if available.is_empty() => {
            response.make_shared((form, clusters[0].label().is_some()), render)
        }
        _ => render(),
    };
    Ok(list?.into())
}

/// The most nodes that are asked for the free space of their storages.
const MAX_STORAGE_NODES: usize = 16;

/// The time for the free space of all storages.
const STORAGE_TIME: Duration = Duration::from_secs(5);

/// Reads what is available on each storage, by its id in the list of resources. (PVE: this list has the used and the
/// whole size alone. A file system keeps a part for itself, so their difference is not what is available.)
fn read_available(cluster: &ClusterHandle<'_>, rows: &str) -> HashMap<String, u64> {
    let deadline = Instant::now() + STORAGE_TIME;
    let nodes = parse_list(rows, |row| (row.text("status") == "available").then(|| row.text("node")));
    let nodes: BTreeSet<String> = nodes.into_iter().flatten().collect();
    let nodes: Vec<String> = nodes.into_iter().take(MAX_STORAGE_NODES).collect();
    let answers = fan_out(&nodes, nodes.len(), |node| {
        let path = ApiPath::from_segments(&["nodes", node, "storage"]).ok()?;
        let answer = cluster.look_up_until(deadline, path, ApiParams::new()).ok()?;
        parse_list(answer.data(), |row| {
            // A storage that is not active has a size of 0.
            let bytes = row.count("avail").filter(|_| row.flag("active"))?;
            Some((format!("storage/{node}/{}", row.text("storage")), bytes))
        })
    });
    answers.into_iter().flatten().flatten().collect()
}
